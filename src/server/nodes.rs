//! How this node knows of others: not at all, or over Redis when the settings name one.

use std::sync::Arc;

use super::StartError;
use super::redis::Reach;
use crate::cluster::Directory;
use crate::cluster::memory::MemoryDirectory;
use crate::cluster::post::Post;
use crate::cluster::post::memory::MemoryPost;
use crate::cluster::post::redis::RedisPost;
use crate::cluster::redis::RedisDirectory;
use crate::cluster::redis::vault::RedisVault;
use crate::cluster::vault::{MemoryVault, Vault};
use crate::config::Config;
use crate::http::{Health, PartState};
use crate::limits;
use crate::telemetry::Meters;

/// What this node has in common with others.
pub(super) struct Nodes {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) post: Arc<dyn Post>,
    pub(super) vault: Arc<dyn Vault>,
    shared: Option<Arc<RedisDirectory>>,
}

impl Nodes {
    pub(super) async fn open(
        config: &Config,
        reach: Option<&Reach>,
        meters: &Arc<Meters>,
    ) -> Result<Self, StartError> {
        let Some(reach) = reach else {
            return Ok(Self {
                directory: Arc::<MemoryDirectory>::default(),
                post: Arc::<MemoryPost>::default(),
                vault: Arc::<MemoryVault>::default(),
                shared: None,
            });
        };
        // Letters do not wait behind what is kept, nor anything behind frames.
        let (letters, frames) = (reach.connect().await?, reach.connect().await?);
        let (presence, link) = (reach.connect().await?, reach.connect().await?);
        let post = RedisPost::new(letters, frames);
        // Who finds this node may write to it at once.
        let directory = RedisDirectory::new(presence, &config.limits, Arc::clone(meters)).after(post.ready());
        let directory = Arc::new(directory);
        let life = config.limits.session_length + limits::SAVED_MARGIN;
        Ok(Self {
            directory: Arc::clone(&directory) as _,
            post: Arc::new(post),
            vault: Arc::new(RedisVault::new(link, life)),
            shared: Some(directory),
        })
    }

    /// Probes are told whether other nodes are heard: without them local work goes on.
    pub(super) fn watched_by(&self, health: &Health) {
        let Some(directory) = self.shared.as_ref().map(Arc::downgrade) else { return };
        health.watch("presence", move || match directory.upgrade() {
            Some(directory) if !directory.is_heard() => {
                PartState::Degraded("Redis is away, other nodes' visitors are unknown")
            }
            _ => PartState::Ok,
        });
    }

    /// Tells the others that this node has ended; without an answer its lease tells them.
    pub(super) async fn leave(&self) {
        if let Some(directory) = &self.shared {
            let _told = tokio::time::timeout(limits::CLAIM_WAIT, directory.leave()).await;
        }
    }
}
