//! Where what happens is kept: in the database, or in Redis when the settings name one.

use std::sync::Arc;

use super::StartError;
use crate::http::{Health, PartState};
use crate::hub::feed::FeedStores;
use crate::redis::Link;
use crate::store::redis::{RedisLog, RedisState};
use crate::store::sqlite::SqliteStore;
use crate::store::{EventLog, Feed, Leads};

/// The log of events, with what is written by its appends.
pub(super) struct Log {
    pub(super) events: Arc<dyn EventLog>,
    feed: Arc<dyn Feed>,
    leads: Arc<dyn Leads>,
    redis: Option<Arc<RedisLog>>,
}

impl Log {
    pub(super) async fn open(link: Option<Link>, store: &Arc<SqliteStore>) -> Result<Self, StartError> {
        let Some(link) = link else {
            let (events, feed, leads) = (store.clone() as _, store.clone() as _, store.clone() as _);
            return Ok(Self { events, feed, leads, redis: None });
        };
        let redis = Arc::new(RedisLog::over(link, Arc::clone(store)).await?);
        let (events, feed, leads) = (redis.clone() as _, redis.clone() as _, redis.clone() as _);
        Ok(Self { events, feed, leads, redis: Some(redis) })
    }

    pub(super) fn feeds(&self) -> FeedStores {
        let (feed, leads) = (Arc::clone(&self.feed), Arc::clone(&self.leads));
        FeedStores { feed, leads, log: Arc::clone(&self.events) }
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
