//! One server at a time: the one of an address, or the primary that Sentinels know.
//!
//! Decides when a connection is given up: when it broke, when it did not answer in time, and when its server says
//! that it is no primary (any more). The next command makes another one, and asks the Sentinels again; commands
//! that wait for it share the attempt and its failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, FromRedisValue, RedisError, ServerErrorKind,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::call::{Door, Work};
use super::plan::{Plan, Servers};
use super::sentinel::Sentinels;
use super::{OpenError, late};
use crate::limits;
use crate::telemetry::{Meters, RedisUse};

/// One server's connection, while it is good.
pub(super) struct Single {
    plan: Plan,
    place: Place,
    held: ArcSwapOption<MultiplexedConnection>,
    /// One attempt at a time, with when and how the newest one failed.
    turn: Mutex<Option<(Instant, RedisError)>>,
    /// Attempts that have ended.
    attempts: AtomicU64,
    meters: Option<Arc<Meters>>,
}

/// How the server is found.
enum Place {
    Known(ConnectionInfo),
    Named(Sentinels),
}

impl Single {
    pub(super) fn new(plan: &Plan, meters: Option<Arc<Meters>>) -> Result<Self, OpenError> {
        let place = match &plan.servers {
            Servers::Sentinels { nodes, master, user, password } => {
                Place::Named(Sentinels::new(plan, nodes, master, user.as_deref(), password.as_ref())?)
            }
            Servers::Url(url) => {
                let info = plan.of_address(url)?;
                plan.client(info.clone()).map_err(OpenError::Address)?;
                Place::Known(info)
            }
            Servers::Cluster(_) => unreachable!("a cluster is more than one server"),
        };
        let attempts = AtomicU64::new(0);
        let plan = plan.clone();
        Ok(Self { plan, place, held: ArcSwapOption::empty(), turn: Mutex::new(None), attempts, meters })
    }

    /// A client of the server.
    pub(super) async fn client(&self) -> Result<Client, RedisError> {
        self.plan.client(self.info().await?)
    }

    /// A client of the server whose connections may subscribe.
    pub(super) async fn listener(&self) -> Result<Client, RedisError> {
        self.plan.listener(self.info().await?)
    }

    async fn info(&self) -> Result<ConnectionInfo, RedisError> {
        match &self.place {
            Place::Known(info) => Ok(info.clone()),
            Place::Named(sentinels) => sentinels.primary().await,
        }
    }

    /// Does something through the connection, and gives it up when it is no good.
    pub(super) async fn through<T: FromRedisValue>(&self, work: Work<'_>) -> Result<T, RedisError> {
        let mut used = None;
        let doing = async {
            let held = self.connection().await?;
            work.done(Door::One(MultiplexedConnection::clone(used.insert(held)))).await
        };
        let done = tokio::time::timeout(limits::REDIS_ANSWER, doing).await.unwrap_or_else(|_| Err(late()));
        if let (Err(error), Some(used)) = (&done, used)
            && is_over(error)
        {
            // Unless another one has taken its place.
            self.held.compare_and_swap(&used, None);
        }
        done
    }

    async fn connection(&self) -> Result<Arc<MultiplexedConnection>, RedisError> {
        if let Some(held) = self.held.load_full() {
            return Ok(held);
        }
        let attempts = self.attempts.load(Ordering::Acquire);
        let mut turn = self.turn.lock().await;
        if let Some(held) = self.held.load_full() {
            return Ok(held);
        }
        if let Some((at, error)) = &*turn {
            if self.attempts.load(Ordering::Acquire) != attempts {
                return Err(error.clone());
            }
            // However many want something: who comes back is not stormed.
            tokio::time::sleep_until(*at + limits::REDIS_RECONNECT.0).await;
        }
        let connected = self.connect().await;
        self.attempts.fetch_add(1, Ordering::Release);
        match connected {
            Ok(connection) => {
                let connection = Arc::new(connection);
                self.held.store(Some(Arc::clone(&connection)));
                *turn = None;
                if let Some(meters) = &self.meters {
                    meters.redis_connected(RedisUse::Commands);
                }
                Ok(connection)
            }
            Err(error) => {
                *turn = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let client = self.client().await?;
        // Whoever waits has a limit of its own.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limits::REDIS_ANSWER))
            .set_response_timeout(None);
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        if let Place::Named(_) = self.place {
            let role: Vec<redis::Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
            let role = role.into_iter().next().map(redis::from_redis_value::<String>).transpose()?;
            if role.as_deref() != Some("master") {
                return Err(RedisError::from((ErrorKind::Io, "the server is no primary")));
            }
        }
        Ok(connection)
    }
}

/// Whether nothing more is to be expected of a connection.
fn is_over(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_timeout()
        || matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown))
}
