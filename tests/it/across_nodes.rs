//! Sessions whose visitor, agents and sockets are on different nodes, over each way that letters may take.

mod deaths;
mod drains;
mod frames;
mod requests;
mod visitors;
mod world;

/// Declares tests that run over each kind of post, with so many nodes.
macro_rules! over_each_post {
    ($($(#[$meta:meta])* $name:ident($nodes:literal);)*) => {
        mod over_memory {
            $($(#[$meta])* #[tokio::test]
            async fn $name() {
                super::$name($crate::across_nodes::world::World::memory($nodes).await).await;
            })*
        }

        mod over_redis {
            $($(#[$meta])* #[tokio::test]
            async fn $name() {
                super::$name($crate::across_nodes::world::World::redis($nodes).await).await;
            })*
        }
    };
}
pub(crate) use over_each_post;
