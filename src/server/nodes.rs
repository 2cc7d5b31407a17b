//! How this node knows of others: not at all, or over Redis when the settings name one.

use std::sync::Arc;

use super::StartError;
use crate::cluster::Directory;
use crate::cluster::memory::MemoryDirectory;
use crate::cluster::redis::RedisDirectory;
use crate::config::Config;
use crate::http::{Health, PartState};
use crate::limits;
use crate::telemetry::Meters;

/// The directory of visitors.
pub(super) enum Nodes {
    Alone(Arc<MemoryDirectory>),
    Shared(Arc<RedisDirectory>),
}

impl Nodes {
    pub(super) async fn open(config: &Config, meters: &Arc<Meters>) -> Result<Self, StartError> {
        let Some(url) = &config.redis.url else { return Ok(Self::Alone(Arc::default())) };
        let directory = RedisDirectory::open(url.expose(), &config.limits, Arc::clone(meters)).await?;
        Ok(Self::Shared(Arc::new(directory)))
    }

    pub(super) fn directory(&self) -> Arc<dyn Directory> {
        match self {
            Self::Alone(directory) => Arc::clone(directory) as _,
            Self::Shared(directory) => Arc::clone(directory) as _,
        }
    }

    /// Probes are told whether other nodes are heard: without them local work goes on.
    pub(super) fn watched_by(&self, health: &Health) {
        let Self::Shared(directory) = self else { return };
        let directory = Arc::downgrade(directory);
        health.watch("presence", move || match directory.upgrade() {
            Some(directory) if !directory.is_heard() => {
                PartState::Degraded("Redis is away, other nodes' visitors are unknown")
            }
            _ => PartState::Ok,
        });
    }

    /// Tells the others that this node has ended; without an answer its lease tells them.
    pub(super) async fn leave(&self) {
        if let Self::Shared(directory) = self {
            let _told = tokio::time::timeout(limits::CLAIM_WAIT, directory.leave()).await;
        }
    }
}
