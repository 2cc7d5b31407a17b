//! Where everything is kept: in the database of the node, or in the Redis that all nodes share when the settings
//! name one.

use std::sync::Arc;

use super::redis::Reach;
use super::{StartError, Stores};
use crate::auth::secret::MasterSecret;
use crate::http::{Health, PartState};
use crate::hub::feed::FeedStores;
use crate::redis::Link;
use crate::redis::lease::Lease;
use crate::sinks::Turns;
use crate::store::redis::{RedisLog, RedisReceipts, RedisState, RedisStore, RedisSync, Stage};
use crate::store::sqlite::SqliteStore;
use crate::store::{Feed, Leads, Store, SyncStore};

/// The lease of the node that runs the sync, hands over and lets go of what is old.
const RUNNER: &str = "runner";

/// Who is who, what happened, and what is written by appends to the log.
pub(super) struct Log {
    pub(super) store: Arc<dyn Store>,
    pub(super) stores: Stores,
    feed: Arc<dyn Feed>,
    leads: Arc<dyn Leads>,
    redis: Option<Arc<RedisLog>>,
    /// The connection for whatever else the nodes share.
    pub(super) link: Option<Link>,
}

impl Log {
    pub(super) async fn open(
        reach: Option<&Reach>,
        node: &Arc<SqliteStore>,
        master: &MasterSecret,
    ) -> Result<Self, StartError> {
        let Some(reach) = reach else {
            let stores = Stores {
                events: node.clone(),
                records: node.clone(),
                receipts: node.clone(),
                sync: node.clone(),
            };
            let (feed, leads) = (node.clone() as _, node.clone() as _);
            return Ok(Self { store: node.clone(), stores, feed, leads, redis: None, link: None });
        };
        let link = reach.connect().await?;
        let store = Arc::new(RedisStore::new(link.clone()));
        if store.moved().await?.is_some_and(|moved| moved.stage != Stage::Done) {
            return Err(StartError::HalfMoved);
        }
        if !store.agrees(master).await? {
            return Err(StartError::OtherSecret);
        }
        let sync: Arc<dyn SyncStore> =
            Arc::new(RedisSync::new(link.clone(), store.clone() as _, store.clone() as _));
        store.wait_for_sinks(Arc::clone(&sync));
        let redis = Arc::new(RedisLog::open(Arc::clone(&store)).await?);
        let receipts = Arc::new(RedisReceipts::new(link.clone()));
        let stores = Stores { events: redis.clone(), records: store.clone(), receipts, sync };
        let (feed, leads) = (redis.clone() as _, redis.clone() as _);
        Ok(Self { store, stores, feed, leads, redis: Some(redis), link: Some(link) })
    }

    pub(super) fn feeds(&self) -> FeedStores {
        let (feed, leads) = (Arc::clone(&self.feed), Arc::clone(&self.leads));
        FeedStores { feed, leads, log: Arc::clone(&self.stores.events) }
    }

    /// Whether other nodes use it too: what is open there may be theirs.
    pub(super) fn is_shared(&self) -> bool {
        self.redis.is_some()
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

    pub(super) async fn close(&self) {
        if let Some(redis) = &self.redis {
            redis.close();
        }
        self.store.close().await;
    }
}
