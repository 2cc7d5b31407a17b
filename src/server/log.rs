//! Where everything is kept: in the database of the node, or in the Redis that all nodes share when the settings
//! name one.

use std::sync::Arc;

use super::{StartError, Stores};
use crate::auth::secret::MasterSecret;
use crate::config;
use crate::http::{Health, PartState};
use crate::hub::feed::FeedStores;
use crate::redis::Link;
use crate::store::redis::{RedisLog, RedisState, RedisStore};
use crate::store::sqlite::SqliteStore;
use crate::store::{Feed, Leads, Store, SyncStore};

/// Who is who, what happened, and what is written by appends to the log.
pub(super) struct Log {
    pub(super) store: Arc<dyn Store>,
    pub(super) stores: Stores,
    feed: Arc<dyn Feed>,
    leads: Arc<dyn Leads>,
    redis: Option<Arc<RedisLog>>,
}

impl Log {
    pub(super) async fn open(
        settings: &config::Redis,
        node: &Arc<SqliteStore>,
        master: &MasterSecret,
    ) -> Result<Self, StartError> {
        let Some(url) = &settings.url else {
            let stores = Stores {
                events: node.clone(),
                records: node.clone(),
                receipts: node.clone(),
                sync: node.clone(),
            };
            let (feed, leads) = (node.clone() as _, node.clone() as _);
            return Ok(Self { store: node.clone(), stores, feed, leads, redis: None });
        };
        let store = Arc::new(RedisStore::new(Link::open(url.expose()).await?));
        if !store.agrees(master).await? {
            return Err(StartError::OtherSecret);
        }
        let sync: Arc<dyn SyncStore> = node.clone();
        store.wait_for_sinks(Arc::clone(&sync));
        let redis = Arc::new(RedisLog::open(Arc::clone(&store)).await?);
        let stores = Stores { events: redis.clone(), records: store.clone(), receipts: node.clone(), sync };
        let (feed, leads) = (redis.clone() as _, redis.clone() as _);
        Ok(Self { store, stores, feed, leads, redis: Some(redis) })
    }

    pub(super) fn feeds(&self) -> FeedStores {
        let (feed, leads) = (Arc::clone(&self.feed), Arc::clone(&self.leads));
        FeedStores { feed, leads, log: Arc::clone(&self.stores.events) }
    }

    /// Whether other nodes use it too: what is open there may be theirs.
    pub(super) fn is_shared(&self) -> bool {
        self.redis.is_some()
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
