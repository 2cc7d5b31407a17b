//! What the nodes know of each other: the directory of visitors and the bus of hints.
//!
//! A hub is the truth about the visitors connected to it. The [`Directory`] answers for those of other
//! nodes; the [`Bus`] carries hints that something changed, and may lose them. Both have a memory
//! implementation, which joins the hubs of one process and is all that a single node needs.
//!
//! Sessions are saved in a [`vault`], so that one may go on where its visitor comes back.

pub mod memory;
pub mod post;
pub mod redis;
pub mod vault;

use std::sync::{Arc, Weak};

use async_trait::async_trait;

use crate::clock::Wall;
use crate::ids::{GroupId, SessionId, VisitorId, VisitorKey};
use crate::model::visitor::Snapshot;

/// Names a running node; a restarted process is another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u128);

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "n{:032x}", self.0)
    }
}

/// A node at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its name.
    pub node: NodeId,
    /// The version it runs.
    pub version: Box<str>,
    /// When it started.
    pub started: Wall,
    /// Whether it is on its way out.
    pub draining: bool,
    /// Open connections of visitors, agents and session participants.
    pub connections: [u64; 3],
    /// Visitors with a live connection to it, those within grace included.
    pub visitors: u64,
    /// Sessions not yet ended.
    pub sessions: u64,
}

/// A node and its own visitors, as the directory may ask for them.
pub trait PresenceSource: Send + Sync {
    /// The node.
    fn facts(&self) -> NodeFacts;

    /// A visitor with a lease here, or within grace.
    fn snapshot(&self, key: &VisitorKey) -> Option<Snapshot>;

    /// Every visitor of a group that is here.
    fn snapshots(&self, group: &GroupId) -> Vec<Arc<Snapshot>>;

    /// Whether this node speaks for a visitor: it is here, or its session is.
    fn is_home(&self, key: &VisitorKey) -> bool;
}

/// Which node speaks for a visitor: its tabs, its focus, its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// The node that asked, from now on.
    Here(Inherited),
    /// Another one that is up.
    There(NodeId),
}

/// What a node takes over with a visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inherited {
    /// The greatest version that may have been told of it: its next one is greater, whatever the clock says.
    pub version: u64,
    /// The session it was in when its former home fell silent.
    pub session: Option<SessionId>,
}

/// What cannot be said about other nodes' visitors just now.
#[derive(Debug, thiserror::Error)]
#[error("the directory cannot be reached")]
pub struct DirectoryError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where the visitors of all nodes are found.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// Makes a node's visitors findable for as long as the source lives.
    fn enroll(&self, node: NodeId, source: Weak<dyn PresenceSource>);

    /// Makes `node` the home of a visitor unless another node that is up is. While a visitor is not published
    /// as absent it stays where it is, as long as that node is up and is not draining.
    async fn claim(&self, node: NodeId, key: &VisitorKey) -> Result<Home, DirectoryError>;

    /// The other node than `asking` that speaks for a visitor, if one does. Claims nothing.
    async fn home(&self, asking: NodeId, key: &VisitorKey) -> Result<Option<NodeId>, DirectoryError>;

    /// The visitors of other nodes than `asking`, in the order asked; `None` for one that no other node
    /// has. With several nodes having one, the newest version is returned.
    async fn lookup(
        &self,
        asking: NodeId,
        group: &GroupId,
        visitors: &[VisitorId],
    ) -> Result<Vec<Option<Arc<Snapshot>>>, DirectoryError>;

    /// All visitors of a group on other nodes than `asking`.
    async fn list(&self, asking: NodeId, group: &GroupId) -> Result<Vec<Arc<Snapshot>>, DirectoryError>;

    /// The nodes that are up, other than `asking`.
    async fn nodes(&self, asking: NodeId) -> Result<Vec<NodeFacts>, DirectoryError>;
}

/// Something happened that other nodes may want to know. A hint is not the truth and may be lost.
#[derive(Debug, Clone)]
pub enum Hint {
    /// A visitor changed, and is now like this.
    Visitor(Arc<Snapshot>),
}

/// What a node does with a hint.
pub type Sink = dyn Fn(Hint) + Send + Sync;

/// Carries hints from each node to every other.
pub trait Bus: Send + Sync + 'static {
    /// Hands hints of other nodes to the sink for as long as it lives.
    fn subscribe(&self, node: NodeId, sink: Weak<Sink>);

    /// Tells the other nodes. Never waits.
    fn publish(&self, from: NodeId, hint: &Hint);

    /// Whether anybody would hear, so that a hint nobody hears need not be made.
    fn has_listeners(&self, from: NodeId) -> bool;
}
