//! The connection to Redis: every command has a time limit, and nothing is kept where keys may vanish.
//!
//! Decides how Redis is reached, alone, behind Sentinels or as a cluster, and how it is known to be fit. Does not
//! decide what is kept there: the store and the cluster of nodes do, each with scripts and keys of its own. A
//! command that fails may have been done: whoever repeats it must be able to. The link itself repeats only what a
//! member of a Redis Cluster refused before it did anything. Connections are made again by the next command that
//! needs one.

mod call;
mod cluster;
mod ear;
mod fit;
pub mod lease;
mod plan;
#[cfg(test)]
pub(crate) mod played;
mod sentinel;
#[cfg(test)]
#[path = "../../tests/it/common/redis.rs"]
#[allow(dead_code, unreachable_pub, reason = "tests of whole servers use it too")]
pub(crate) mod server;
mod shards;
mod single;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, ScriptInvocation, Value,
};

pub use ear::{Ear, Heard, Said};
pub use fit::OpenError;
pub use plan::{Plan, Servers, Tls};
pub use shards::{Shards, Told};

use self::call::Work;
use self::cluster::Cluster;
use self::single::Single;
use crate::limits;
use crate::telemetry::{Listener, Meters, RedisUse};

/// A connection that comes back by itself. A clone is the same one.
#[derive(Clone)]
pub struct Link {
    way: Way,
    meters: Option<Arc<Meters>>,
}

/// How the servers are reached.
#[derive(Clone)]
enum Way {
    /// All keys are on one server, which may be another one after the next look.
    Single(Arc<Single>),
    /// Keys are where their slot is.
    Cluster(Cluster),
    /// There is none: somebody plays it.
    #[cfg(test)]
    Played(Arc<dyn played::Played>),
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its address holds a password.
        f.write_str("Link(…)")
    }
}

impl Link {
    /// Connects to an address such as `redis://user:password@host:port/`, if keys stay there.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        Self::connect(&Plan::of_url(url), Duration::ZERO, None).await
    }

    /// Connects as the plan says, if keys stay there. Servers that do not answer are waited for; whatever else is
    /// wrong is told at once.
    pub async fn connect(
        plan: &Plan,
        wait: Duration,
        meters: Option<Arc<Meters>>,
    ) -> Result<Self, OpenError> {
        let until = tokio::time::Instant::now() + wait;
        let mut pause = limits::REDIS_RECONNECT.0;
        let mut said = false;
        loop {
            let error = match Self::connect_once(plan, meters.clone()).await {
                Err(error) if error.is_passing() => error,
                done => return done,
            };
            if tokio::time::Instant::now() + pause > until {
                return Err(error);
            }
            if !said {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, wait = ?wait, "waiting for Redis");
                said = true;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(limits::REDIS_RECONNECT.1);
        }
    }

    async fn connect_once(plan: &Plan, meters: Option<Arc<Meters>>) -> Result<Self, OpenError> {
        let way = match &plan.servers {
            Servers::Url(_) | Servers::Sentinels { .. } => {
                Way::Single(Arc::new(Single::new(plan, meters.clone())?))
            }
            Servers::Cluster(_) => Way::Cluster(Cluster::open(plan, meters.clone()).await?),
        };
        let link = Self { way, meters: meters.clone() };
        match (fit::check(&link, plan).await, plan.of_member()) {
            // One member stands for all.
            (Err(OpenError::Member), Some(plan)) => {
                let way = Way::Cluster(Cluster::open(&plan, meters.clone()).await?);
                let link = Self { way, meters };
                fit::check(&link, &plan).await?;
                Ok(link)
            }
            (checked, _) => checked.map(|()| link),
        }
    }

    /// Runs a script. All its keys have one hash tag.
    pub async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, RedisError> {
        self.through(Work::Script(call)).await
    }

    /// Runs a command.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        self.through(Work::Command(command)).await
    }

    /// Runs several commands in one round trip. All their keys have one hash tag.
    pub async fn ask_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, RedisError> {
        self.through(Work::Commands(commands)).await
    }

    /// A connection of its own to the server that a key is on, for commands that may take long, or that others must
    /// not wait behind. It does not come back by itself, nor follow the key.
    pub async fn own(&self, key: &str) -> Result<MultiplexedConnection, RedisError> {
        let connecting = async {
            match &self.way {
                Way::Single(single) => {
                    let config = AsyncConnectionConfig::new().set_response_timeout(None);
                    single.client().await?.get_multiplexed_async_connection_with_config(&config).await
                }
                Way::Cluster(cluster) => cluster.own(key).await,
                #[cfg(test)]
                Way::Played(_) => Err(played::not_played(key)),
            }
        };
        self.noted(within(limits::REDIS_ANSWER, connecting).await)
    }

    /// A connection of its own for what Redis says by itself. In a cluster it leads to any of the primaries, which
    /// are told whatever is published on one of them. Of what the listener has not taken no more than this is kept.
    pub async fn ear(&self, listener: Listener, most: limits::Most) -> Result<Ear, RedisError> {
        #[cfg(test)]
        if let Way::Played(played) = &self.way {
            return played.ear(most).await;
        }
        Ok(Ear::new(self.listen().await?, listener, most, self.meters.clone()))
    }

    /// The same for channels of shards, on connections to the primaries that tell of them.
    pub fn shards(&self, listener: Listener, most: limits::Most) -> Shards {
        #[cfg(test)]
        let most = match &self.way {
            Way::Played(played) => limits::Most { words: most.words.min(played.room()), ..most },
            _ => most,
        };
        Shards::new(self.clone(), listener, most)
    }

    async fn listen(&self) -> Result<PubSub, RedisError> {
        let listening = async {
            match &self.way {
                Way::Single(single) => single.client().await?.get_async_pubsub().await,
                Way::Cluster(cluster) => cluster.listen().await,
                #[cfg(test)]
                Way::Played(_) => Err(played::not_played("a connection")),
            }
        };
        let listener = self.noted(within(limits::REDIS_ANSWER, listening).await)?;
        if let Some(meters) = &self.meters {
            meters.redis_connected(RedisUse::Subscriptions);
        }
        Ok(listener)
    }

    /// What Redis does when memory is short: what the worst of its primaries does. Read from `INFO`, which is open
    /// to users that may not `CONFIG`.
    pub async fn policy(&self) -> Result<Policy, RedisError> {
        let told = self.told("memory").await?;
        Ok(told
            .iter()
            .map(|told| fit::policy(told))
            .find(|policy| *policy != Policy::Keeps)
            .unwrap_or(Policy::Keeps))
    }

    /// A section of `INFO`, of each primary.
    async fn told(&self, section: &str) -> Result<Vec<String>, RedisError> {
        match self.ask(redis::cmd("INFO").arg(section)).await? {
            Value::Map(primaries) => primaries
                .into_iter()
                .map(|(_, told)| Ok(redis::from_redis_value(told.extract_error()?)?))
                .collect(),
            told => Ok(vec![redis::from_redis_value(told)?]),
        }
    }

    /// Does something through the connection, or through the one that takes its place.
    async fn through<T: FromRedisValue>(&self, work: Work<'_>) -> Result<T, RedisError> {
        let done = match &self.way {
            Way::Single(single) => single.through(work).await,
            Way::Cluster(cluster) => cluster.through(work).await,
            #[cfg(test)]
            Way::Played(played) => work.done(call::Door::Played(Arc::clone(played))).await,
        };
        self.noted(done)
    }

    /// Counts how a command ended.
    fn noted<T>(&self, done: Result<T, RedisError>) -> Result<T, RedisError> {
        if let Some(meters) = &self.meters {
            match &done {
                Err(error) if is_away(error) => meters.redis_failed(fit::kind_of(error)),
                Err(error) => {
                    meters.redis_failed(fit::kind_of(error));
                    meters.redis_answered();
                }
                Ok(_) => meters.redis_answered(),
            }
        }
        done
    }
}

/// What Redis does when memory is short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// It refuses writes.
    Keeps,
    /// It lets keys go, by the policy of this name.
    Evicts(String),
}

/// Gives an answer this long.
pub async fn within<T>(
    time: Duration,
    answer: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    tokio::time::timeout(time, answer).await.map_err(|_| late())?
}

/// That there was no answer in time.
fn late() -> RedisError {
    RedisError::from(std::io::Error::new(std::io::ErrorKind::TimedOut, LATE))
}

/// What [`late`] says.
const LATE: &str = "no answer in time";

/// Whether nothing was heard of a server.
fn is_away(error: &RedisError) -> bool {
    error.is_io_error() || error.kind() == ErrorKind::ClusterConnectionNotFound
}

/// Whether the same command may go through later. Nearly all that Redis says is about its state; what it will
/// not take at any time is a key that somebody else uses for something else.
pub fn is_passing(error: &RedisError) -> bool {
    error.code() != Some("WRONGTYPE") && error.kind() != ErrorKind::UnexpectedReturnType
}

/// A part of a key: what is not plain in it is escaped as in a URL, so that no two names share a key.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'~' | b'-' => escaped.push(byte.into()),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
