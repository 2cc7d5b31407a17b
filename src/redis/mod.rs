//! The connection to Redis: every command has a time limit, and nothing is kept where keys may vanish.
//!
//! Decides how Redis is reached and how it is known to be fit. Does not decide what is kept there: the store
//! and the cluster do, each with scripts and keys of its own. A command that fails may have been done: whoever
//! repeats it must be able to. Connections are made again by the next command that needs one.

pub mod lease;
#[cfg(test)]
#[path = "../../tests/it/common/redis.rs"]
#[allow(dead_code, unreachable_pub, reason = "tests of whole servers use it too")]
pub(crate) mod server;

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection, PubSub};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo as _, Pipeline,
    RedisError, ScriptInvocation,
};

use crate::limits;

/// Why a Redis can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is none.
    #[error("redis.url is no address of a Redis")]
    Address(#[source] RedisError),
    /// It does not answer, or refuses the credentials.
    #[error("Redis does not answer")]
    Away(#[source] RedisError),
    /// It lets go of keys when memory is short, and so of what was acknowledged.
    #[error("maxmemory-policy of Redis is {0}, under which keys may vanish; it must be noeviction")]
    Evicts(String),
}

/// A connection that comes back by itself. A clone is the same one.
#[derive(Clone)]
pub struct Link {
    client: Client,
    connection: ConnectionManager,
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
        let info = url.into_connection_info().map_err(OpenError::Address)?;
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(
                TcpKeepalive::new().with_time(limits::REDIS_PROBE).with_interval(limits::REDIS_PROBE),
            )
            .set_user_timeout(limits::REDIS_SILENCE);
        let client = Client::open(info.set_tcp_settings(tcp)).map_err(OpenError::Address)?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(limits::REDIS_ANSWER))
            .set_response_timeout(Some(limits::REDIS_ANSWER));
        let connecting = ConnectionManager::new_with_config(client.clone(), config);
        let connection = within(limits::REDIS_ANSWER, connecting).await.map_err(OpenError::Away)?;
        let link = Self { client, connection };
        match link.policy().await.map_err(OpenError::Away)? {
            Policy::Keeps => Ok(link),
            Policy::Evicts(policy) => Err(OpenError::Evicts(policy)),
        }
    }

    /// Runs a script. All its keys have one hash tag.
    pub async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, RedisError> {
        let mut connection = self.connection.clone();
        within(limits::REDIS_ANSWER, call.invoke_async(&mut connection)).await
    }

    /// Runs a command.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut connection = self.connection.clone();
        within(limits::REDIS_ANSWER, command.query_async(&mut connection)).await
    }

    /// Runs several commands in one round trip. All their keys have one hash tag.
    pub async fn ask_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, RedisError> {
        let mut connection = self.connection.clone();
        within(limits::REDIS_ANSWER, commands.query_async(&mut connection)).await
    }

    /// A connection of its own for commands that may take long, or that others must not wait behind. It does not
    /// come back by itself.
    pub async fn own(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        within(limits::REDIS_ANSWER, self.client.get_multiplexed_async_connection_with_config(&config)).await
    }

    /// A connection of its own for what Redis says by itself.
    pub async fn listen(&self) -> Result<PubSub, RedisError> {
        within(limits::REDIS_ANSWER, self.client.get_async_pubsub()).await
    }

    /// What Redis does when memory is short. Read from `INFO`, which is open to users that may not `CONFIG`.
    pub async fn policy(&self) -> Result<Policy, RedisError> {
        let told: String = self.ask(redis::cmd("INFO").arg("memory")).await?;
        let policy = told.lines().find_map(|line| line.trim_end().strip_prefix("maxmemory_policy:"));
        Ok(match policy {
            None | Some("noeviction") => Policy::Keeps,
            Some(other) => Policy::Evicts(other.to_owned()),
        })
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
    let late = |_| RedisError::from((ErrorKind::Io, "no answer in time"));
    tokio::time::timeout(time, answer).await.map_err(late)?
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
