//! The public part of Redis: each group's stream of events, and the channel that tells them as they happen.
//!
//! Where the server's own log is not on Redis: a stream that is one is refused. Decides keys, fields and trimming. One script takes what is new and notes the place beside it, both or
//! neither, so that an event is in the stream once however often it is handed over.

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, RedisError, Script};
use tokio::sync::OnceCell;

use super::letter::Letter;
use crate::clock::Wall;
use crate::ids::{GroupId, SinkId};
use crate::limits;

/// Takes events behind the place that is noted. Keys: stream, place. Arguments: channel, length, oldest id,
/// then place, message, kind and session of each event.
///
/// Ids here are times of the clock, those of a server's log are sequences, which are far smaller.
const TAKE: &str = "
    local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
    if newest and tonumber(string.match(newest[1], '^%d+')) < 1000000000000 then
        return redis.error_reply('OWNED this stream is the log of a server, which writes it')
    end
    local noted = tonumber(redis.call('GET', KEYS[2]) or '0')
    for at = 4, #ARGV, 4 do
        local place = tonumber(ARGV[at])
        if place > noted then
            redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*',
                'e', ARGV[at + 1], 'k', ARGV[at + 2], 's', ARGV[at + 3])
            redis.call('PUBLISH', ARGV[1], ARGV[at + 1])
            noted = place
        end
    end
    redis.call('SET', KEYS[2], noted)
    redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[3])
    return noted";

/// Writes to streams.
pub(super) struct Streams {
    client: Client,
    connection: OnceCell<ConnectionManager>,
    script: Script,
}

impl Streams {
    /// Streams in the Redis of an address such as `redis://127.0.0.1/`. Connects when first used.
    pub(super) fn new(url: &str) -> Result<Self, RedisError> {
        Ok(Self { client: Client::open(url)?, connection: OnceCell::new(), script: Script::new(TAKE) })
    }

    /// Hands events over, in order; returns when Redis has them.
    pub(super) async fn write(
        &self,
        group: &GroupId,
        sink: &SinkId,
        letters: &[Letter],
        now: Wall,
    ) -> Result<(), RedisError> {
        let mut connection = self.connect().await?;
        let oldest = now.before(limits::REDIS_STREAM_AGE).0;
        let mut call = self.script.prepare_invoke();
        call.key(format!("pl:{{{group}}}:events"))
            .key(format!("pl:{{{group}}}:sink:{sink}"))
            .arg(format!("pl:{{{group}}}:live"))
            .arg(limits::REDIS_STREAM_LENGTH)
            .arg(oldest);
        for letter in letters {
            if let Some(event) = &letter.event {
                call.arg(letter.place).arg(&event.message).arg(event.kind).arg(&event.session);
            }
        }
        let _place: u64 = call.invoke_async(&mut connection).await?;
        Ok(())
    }

    /// Whether Redis answers.
    pub(super) async fn test(&self) -> Result<(), RedisError> {
        let mut connection = self.connect().await?;
        let answer: String = redis::cmd("PING").query_async(&mut connection).await?;
        if answer == "PONG" { Ok(()) } else { Err(RedisError::from((ErrorKind::Client, "no pong"))) }
    }

    async fn connect(&self) -> Result<ConnectionManager, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(limits::REDIS_TIME))
            .set_response_timeout(Some(limits::REDIS_TIME));
        let connect = || ConnectionManager::new_with_config(self.client.clone(), config);
        self.connection.get_or_try_init(connect).await.cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Logged, What, samples};
    use futures_util::StreamExt as _;
    use prost::Message as _;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    /// A Redis of its own, killed when it is dropped.
    struct Redis {
        child: Child,
        url: String,
    }

    impl Drop for Redis {
        fn drop(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    impl Redis {
        fn start() -> Self {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let child = Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()])
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server is installed where tests run");
            Self { child, url: format!("redis://127.0.0.1:{port}/") }
        }

        async fn connect(&self) -> redis::aio::MultiplexedConnection {
            let client = Client::open(&*self.url).unwrap();
            let connected = async {
                loop {
                    match client.get_multiplexed_async_connection().await {
                        Ok(connection) => return connection,
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(20), connected).await.expect("Redis starts")
        }
    }

    fn letters(places: std::ops::RangeInclusive<u64>) -> Vec<Letter> {
        let event = |place| samples::event("g", u128::from(place), What::Paused);
        places.map(|sequence| Letter::of_event(&Logged { sequence, event: event(sequence) })).collect()
    }

    #[tokio::test]
    async fn an_event_is_in_the_stream_once_and_told_as_it_happens() {
        let server = Redis::start();
        let mut connection = server.connect().await;
        let mut live = Client::open(&*server.url).unwrap().get_async_pubsub().await.unwrap();
        live.subscribe("pl:{g}:live").await.unwrap();
        let streams = Streams::new(&server.url).unwrap();
        let (group, sink) = (GroupId::new("g").unwrap(), SinkId::new("a").unwrap());
        streams.test().await.unwrap();
        // Handed over, not noted, handed over again.
        for batch in [1..=3, 1..=3, 2..=5] {
            streams.write(&group, &sink, &letters(batch), Wall(0)).await.unwrap();
        }
        let entries: Vec<(String, std::collections::HashMap<String, Vec<u8>>)> = redis::cmd("XRANGE")
            .arg("pl:{g}:events")
            .arg("-")
            .arg("+")
            .query_async(&mut connection)
            .await
            .unwrap();
        let mut told = live.on_message();
        let mut sequences = Vec::new();
        for (_, entry) in &entries {
            let event = crate::pb::v1::SessionEvent::decode(&*entry["e"]).unwrap();
            assert_eq!(
                (&entry["k"][..], &entry["s"][..]),
                (&b"session.paused"[..], event.session_id.as_bytes())
            );
            let live = tokio::time::timeout(Duration::from_secs(20), told.next()).await.unwrap().unwrap();
            assert_eq!(live.get_payload_bytes(), entry["e"]);
            sequences.push(event.sequence);
        }
        assert_eq!(sequences, [1, 2, 3, 4, 5]);
    }

    #[tokio::test]
    async fn the_log_of_a_server_is_left_alone() {
        let server = Redis::start();
        let mut connection = server.connect().await;
        let mut add = redis::cmd("XADD");
        let _id: String =
            add.arg("pl:{g}:events").arg("7-0").arg("e").arg("").query_async(&mut connection).await.unwrap();
        let streams = Streams::new(&server.url).unwrap();
        let (group, sink) = (GroupId::new("g").unwrap(), SinkId::new("a").unwrap());
        let refused = streams.write(&group, &sink, &letters(1..=2), Wall(0)).await.unwrap_err();
        assert_eq!(refused.code(), Some("OWNED"));
        let length: u64 = redis::cmd("XLEN").arg("pl:{g}:events").query_async(&mut connection).await.unwrap();
        assert_eq!(length, 1);
    }

    #[tokio::test]
    async fn a_redis_that_is_down_is_told() {
        let server = Redis::start();
        server.connect().await;
        let url = server.url.clone();
        drop(server);
        assert!(Streams::new(&url).unwrap().test().await.is_err());
        assert!(Streams::new("no address").is_err());
    }
}
