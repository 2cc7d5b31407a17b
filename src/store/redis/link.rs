//! The connection to Redis: every command has a time limit, and nothing is kept where keys may vanish.
//!
//! A command that fails may have been done: whoever repeats it must be able to. Connections are made again by
//! the next command that needs one.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig, PubSub};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo as _, RedisError, Script, ScriptInvocation,
};

use super::super::StoreError;
use crate::ids::{GroupId, SessionId};
use crate::limits;
use crate::model::feed::Place;

/// Why the log cannot be kept in a Redis.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is none.
    #[error("events.redis is no address of a Redis")]
    Address(#[source] RedisError),
    /// It does not answer, or refuses the credentials.
    #[error("Redis does not answer")]
    Away(#[source] RedisError),
    /// It lets go of keys when memory is short, and so of events.
    #[error("maxmemory-policy of Redis is {0}, under which events may vanish; it must be noeviction")]
    Evicts(String),
    /// What is there already cannot be gone on with.
    #[error("can't go on with what is in Redis")]
    Store(#[from] StoreError),
}

/// The scripts, each behind what all of them know.
pub(super) struct Scripts {
    pub(super) append: Script,
    pub(super) read: Script,
    pub(super) timeline: Script,
    pub(super) trim: Script,
    pub(super) posts: Script,
}

/// A connection that comes back by itself. A clone is the same one.
#[derive(Clone)]
pub(super) struct Link {
    client: Client,
    connection: ConnectionManager,
    pub(super) scripts: Arc<Scripts>,
}

impl Link {
    /// Connects to an address such as `redis://user:password@host:port/`, if events may be kept there.
    pub(super) async fn open(url: &str) -> Result<Self, OpenError> {
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
        macro_rules! script {
            ($name:literal) => {
                Script::new(concat!(
                    include_str!("lua/stream.lua"),
                    include_str!(concat!("lua/", $name, ".lua"))
                ))
            };
        }
        let scripts = Scripts {
            append: script!("append"),
            read: script!("read"),
            timeline: script!("timeline"),
            trim: script!("trim"),
            posts: script!("posts"),
        };
        let link = Self { client, connection, scripts: Arc::new(scripts) };
        match link.policy().await.map_err(OpenError::Away)? {
            Policy::Keeps => Ok(link),
            Policy::Evicts(policy) => Err(OpenError::Evicts(policy)),
        }
    }

    /// Runs a script.
    pub(super) async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        let mut connection = self.connection.clone();
        Ok(within(limits::REDIS_ANSWER, call.invoke_async(&mut connection)).await?)
    }

    /// Runs a command.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut connection = self.connection.clone();
        within(limits::REDIS_ANSWER, command.query_async(&mut connection)).await
    }

    /// A connection of its own for what Redis says by itself.
    pub(super) async fn listen(&self) -> Result<PubSub, RedisError> {
        within(limits::REDIS_ANSWER, self.client.get_async_pubsub()).await
    }

    /// What Redis does when memory is short. Read from `INFO`, which is open to users that may not `CONFIG`.
    pub(super) async fn policy(&self) -> Result<Policy, RedisError> {
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
pub(super) enum Policy {
    /// It refuses writes.
    Keeps,
    /// It lets keys go, by the policy of this name.
    Evicts(String),
}

/// Gives an answer this long.
pub(super) async fn within<T>(
    time: Duration,
    answer: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    let late = |_| RedisError::from((ErrorKind::Io, "no answer in time"));
    tokio::time::timeout(time, answer).await.map_err(late)?
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        Self::Failed(Arc::new(error))
    }
}

/// Whether the same command may go through later. Nearly all that Redis says is about its state; what it will
/// not take at any time is a key that somebody else uses for something else.
pub(in super::super) fn is_passing(error: &RedisError) -> bool {
    error.code() != Some("WRONGTYPE") && error.kind() != ErrorKind::UnexpectedReturnType
}

/// The names of a group's keys. All of a group have one hash tag, so that one script may use them.
pub(super) struct Keys<'a>(pub(super) &'a GroupId);

impl Keys<'_> {
    fn named(&self, name: &str) -> String {
        format!("pl:{{{}}}:{name}", self.0)
    }

    /// The stream of events; public.
    pub(super) fn stream(&self) -> String {
        self.named("events")
    }

    /// The channel of events as they happen; public.
    pub(super) fn live(&self) -> String {
        self.named("live")
    }

    /// The feed of a record; public. What is not plain in the record's names is escaped as in a URL, so that no
    /// two records share a key.
    pub(super) fn feed(&self, place: &Place) -> String {
        self.named(&format!("feed:{}:{}", escaped(&place.object), escaped(&place.id)))
    }

    /// The sequence of each event id.
    pub(super) fn ids(&self) -> String {
        self.named("ids")
    }

    /// The sequences of a session's events.
    pub(super) fn timeline(&self, session: SessionId) -> String {
        self.named(&format!("timeline:{session}"))
    }

    /// The sequence and the feed of each post's id.
    pub(super) fn posts(&self) -> String {
        self.named("posts")
    }

    /// The sequence of the post of each agent on each session.
    pub(super) fn posted(&self) -> String {
        self.named("posted")
    }

    /// The stream of leads.
    pub(super) fn leads(&self) -> String {
        self.named("leads")
    }

    /// The sequence of the lead of each email.
    pub(super) fn emails(&self) -> String {
        self.named("emails")
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'~' | b'-' => escaped.push(byte.into()),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_records_share_a_key() {
        let group = GroupId::new("g").unwrap();
        let key = |object: &str, id: &str| Keys(&group).feed(&Place { object: object.into(), id: id.into() });
        assert_eq!(key("Case", "500-1.A"), "pl:{g}:feed:Case:500-1.A");
        let names = ["a", "a:b", "b", "a%3Ab", "a{b}", "é", "a\0", ""];
        let keys: std::collections::HashSet<String> = names
            .iter()
            .flat_map(|object| names.iter().map(move |id| (object, id)))
            .map(|(o, i)| key(o, i))
            .collect();
        assert_eq!(keys.len(), names.len() * names.len());
        assert!(keys.iter().all(|key| key.starts_with("pl:{g}:feed:") && key.matches(":").count() == 4));
    }

    #[test]
    fn only_a_foreign_key_fails_for_ever() {
        let told = |code: &str| redis::make_extension_error(code.to_owned(), None);
        for code in ["OOM", "READONLY", "LOADING", "MISCONF", "FOREIGN", "BUSY", "NOAUTH", "ERR"] {
            assert!(StoreError::from(told(code)).is_passing(), "{code}");
        }
        assert!(StoreError::from(RedisError::from((ErrorKind::Io, "x"))).is_passing());
        assert!(!StoreError::from(told("WRONGTYPE")).is_passing());
    }
}
