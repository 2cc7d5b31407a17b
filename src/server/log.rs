//! Where what happens is kept: in the database, or in Redis when the settings name one.

use std::sync::Arc;

use super::StartError;
use crate::config;
use crate::http::{Health, PartState};
use crate::hub::feed::FeedStores;
use crate::redis::Link;
use crate::redis::lease::Lease;
use crate::sinks::Turns;
use crate::store::redis::{OpenError, RedisLog, RedisReceipts, RedisState, RedisSync};
use crate::store::sqlite::SqliteStore;
use crate::store::{EventLog, Feed, Leads, ReceiptLog, SyncStore};

/// The lease of the node that runs the sync, hands over and lets go of what is old.
const RUNNER: &str = "runner";

/// The log of events, with what is written by its appends.
pub(super) struct Log {
    pub(super) events: Arc<dyn EventLog>,
    feed: Arc<dyn Feed>,
    leads: Arc<dyn Leads>,
    redis: Option<Arc<RedisLog>>,
    /// The connection for whatever else the nodes share.
    pub(super) link: Option<Link>,
}

impl Log {
    pub(super) async fn open(settings: &config::Redis, store: &Arc<SqliteStore>) -> Result<Self, StartError> {
        let Some(url) = &settings.url else {
            let (events, feed, leads) = (store.clone() as _, store.clone() as _, store.clone() as _);
            return Ok(Self { events, feed, leads, redis: None, link: None });
        };
        let redis = Arc::new(RedisLog::open(url.expose(), Arc::clone(store)).await?);
        let link = Link::open(url.expose()).await.map_err(OpenError::Redis)?;
        let (events, feed, leads) = (redis.clone() as _, redis.clone() as _, redis.clone() as _);
        Ok(Self { events, feed, leads, redis: Some(redis), link: Some(link) })
    }

    pub(super) fn feeds(&self) -> FeedStores {
        let (feed, leads) = (Arc::clone(&self.feed), Arc::clone(&self.leads));
        FeedStores { feed, leads, log: Arc::clone(&self.events) }
    }

    /// Receipts, and sinks with their sync, beside the log; records stay where they are folded.
    pub(super) fn beside(&self, store: &Arc<SqliteStore>) -> (Arc<dyn ReceiptLog>, Arc<dyn SyncStore>) {
        let Some(link) = &self.link else { return (store.clone(), store.clone()) };
        let sync = RedisSync::new(link.clone(), store.clone(), store.clone());
        (Arc::new(RedisReceipts::new(link.clone())), Arc::new(sync))
    }

    /// What one node of all does: the lease of it, and the turns of the sync.
    pub(super) fn turns(&self) -> Option<(Arc<Lease>, Turns)> {
        let link = self.link.as_ref()?;
        let lease = Arc::new(Lease::hold(link.clone(), RUNNER));
        Some((Arc::clone(&lease), Turns::new(lease, link.clone(), RUNNER)))
    }

    /// Probes are told how Redis is: without it sessions go on, and what happens waits.
    pub(super) fn watched_by(&self, health: &Health) {
        let Some(redis) = self.redis.clone() else { return };
        health.watch("events", move || match redis.state() {
            RedisState::Fine => PartState::Ok,
            RedisState::Away => PartState::Degraded("Redis is away, events wait"),
            RedisState::Evicts => PartState::Degraded("Redis may let events go, see its maxmemory-policy"),
        });
    }

    pub(super) fn close(&self) {
        if let Some(redis) = &self.redis {
            redis.close();
        }
    }
}
