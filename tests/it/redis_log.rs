//! With the log on Redis whoever reads Redis gets every event once and in order, and what happens there, a death
//! of the server or of Redis, loses nothing that was acknowledged.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use porchlight::clock::Wall;
use porchlight::config::Secret;
use porchlight::hub::events::Events;
use porchlight::ids::{EventId, SessionId};
use porchlight::model::event::{Actor, Event, Kind, What};
use porchlight::model::session_record::Status;
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use porchlight::server::{Options, Server, StorePlace};
use porchlight::store::EventLog;
use porchlight::store::events::After;
use porchlight::store::events::protobuf::kind_of;
use porchlight::store::redis::{RedisLog, RedisState, RedisStore};
use porchlight::telemetry::Meters;
use prost::Message as _;
use redis::aio::MultiplexedConnection;
use rustix::process::{Pid, Signal, kill_process};
use tonic::Request;
use tonic::transport::Channel;

use crate::common::redis::Redis;
use crate::common::rng::Rng;
use crate::common::site::{DEMO, config, group_id};
use crate::common::{DEADLINE, Site, Value, canary, http, json, within};

const STREAM: &str = "pl:{demo}:events";

/// Longer than Redis is given to answer, with the beat that notices it.
const PATIENCE: Duration = Duration::from_secs(60);

/// An entry of a stream: id and fields.
type Entry = (String, HashMap<String, Vec<u8>>);

async fn site(redis: &Redis) -> Site {
    let url = redis.url();
    Site::with(|config| config.redis.url = Some(Secret::from(url))).await
}

async fn open(redis: &Redis) -> RedisLog {
    let link = redis.link().await;
    RedisLog::open(Arc::new(RedisStore::new(link))).await.unwrap()
}

fn event(number: u64) -> Event {
    Event {
        id: EventId::from_u128(u128::from(number)),
        group: group_id(DEMO),
        at: Wall(number),
        session: Some(SessionId::from_u128(u128::from(number / 10))),
        request: None,
        actor: Actor::Server,
        record: None,
        what: What::Paused,
    }
}

fn of_entry((id, fields): &Entry) -> v1::SessionEvent {
    let event = v1::SessionEvent::decode(&*fields["e"]).unwrap();
    assert_eq!(*id, format!("{}-0", event.sequence));
    assert_eq!(fields["k"], kind_of(event.kind()).unwrap().as_str().as_bytes());
    assert_eq!(fields["s"], event.session_id.as_bytes());
    event
}

/// The whole stream, each event in its place.
async fn stream(connection: &mut MultiplexedConnection) -> Vec<v1::SessionEvent> {
    let mut look = redis::cmd("XRANGE");
    let entries: Vec<Entry> = look.arg(STREAM).arg("-").arg("+").query_async(connection).await.unwrap();
    let events: Vec<_> = entries.iter().map(of_entry).collect();
    let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>(), "no gap, no twin");
    let ids: BTreeSet<&String> = events.iter().map(|event| &event.id).collect();
    assert_eq!(ids.len(), events.len(), "each event once");
    events
}

/// The numbers of the events that [`event`] made, in the log's order.
async fn numbers(connection: &mut MultiplexedConnection) -> Vec<u64> {
    let number = |event: v1::SessionEvent| EventId::parse(&event.id).unwrap();
    let ids = stream(connection).await.into_iter().map(number);
    ids.map(|id| u64::try_from(u128::from_be_bytes(id.bytes())).unwrap()).collect()
}

async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Waits for a fact.
async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !fact().await {
            tokio::task::yield_now().await;
        }
    };
    soon(what, waited).await;
}

#[tokio::test]
async fn a_session_is_told_in_the_stream_and_on_the_channel() {
    let redis = Redis::start().await;
    let mut connection = redis.connect().await;
    let site = site(&redis).await;
    let mut live = redis::Client::open(redis.url()).unwrap().get_async_pubsub().await.unwrap();
    live.subscribe("pl:{demo}:live").await.unwrap();
    let mut engagement = site.engage("C-1", json!({})).await;
    engagement.publisher.send(json!({"type": "end"})).await;
    engagement.agent.expect("sessionEnded").await;
    let session = engagement.session.as_str().unwrap().to_owned();
    let mut channel = live.on_message();
    let mut told = Vec::new();
    loop {
        let message = within("the next event", channel.next()).await.unwrap();
        told.push(v1::SessionEvent::decode(message.get_payload_bytes()).unwrap());
        if kind_of(told[told.len() - 1].kind()) == Some(Kind::RecordLogged) {
            break;
        }
    }
    let all = stream(&mut connection).await;
    assert_eq!(all[all.len() - told.len()..], told);
    let kinds: Vec<Kind> = told
        .iter()
        .filter(|event| event.session_id == session)
        .filter_map(|event| kind_of(event.kind()))
        .collect();
    assert_eq!((kinds[0], kinds[kinds.len() - 1]), (Kind::Created, Kind::RecordLogged));
    for kind in [Kind::Offered, Kind::Accepted, Kind::Started, Kind::Joined, Kind::Ended] {
        assert!(kinds.contains(&kind), "{kind:?} in {kinds:?}");
    }
    // Whoever reads the log by the server finds the record as far as the events.
    let stores = &site.running.stores;
    let session = SessionId::parse(&session).unwrap();
    let page = stores.events.timeline(&group_id(DEMO), session, 0).await.unwrap();
    assert_eq!(page.events.len(), kinds.len());
    let newest = all[all.len() - 1].sequence;
    let page = stores.events.read(&group_id(DEMO), After::Sequence(newest - 1)).await.unwrap();
    assert_eq!(page.cursor, newest);
    let record = stores.records.session_record(&group_id(DEMO), session).await.unwrap().unwrap();
    assert_eq!((record.status, record.relayed.frames), (Status::Ended, 0));
    assert!(
        http::get(site.running.ops, "/readyz?verbose").await.body.contains(r#""events":{"status":"ok"}"#)
    );
}

/// A member of a consumer group.
struct Consumer {
    connection: MultiplexedConnection,
    name: &'static str,
    acknowledged: Vec<u64>,
}

impl Consumer {
    async fn of(redis: &Redis, name: &'static str) -> Self {
        Self { connection: redis.connect().await, name, acknowledged: Vec::new() }
    }

    /// Takes a share of what nobody has.
    async fn take(&mut self) -> Vec<Entry> {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP")
            .arg("workers")
            .arg(self.name)
            .arg("COUNT")
            .arg(10)
            .arg("STREAMS")
            .arg(STREAM)
            .arg(">");
        type Streams = Option<Vec<(String, Vec<Entry>)>>;
        let streams: Streams = read.query_async(&mut self.connection).await.unwrap();
        streams.into_iter().flatten().flat_map(|(_, entries)| entries).collect()
    }

    /// Takes over what another one had and never acknowledged.
    async fn claim(&mut self) -> Vec<Entry> {
        let mut claim = redis::cmd("XAUTOCLAIM");
        claim.arg(STREAM).arg("workers").arg(self.name).arg(0).arg("0-0").arg("COUNT").arg(100);
        let answer: (String, Vec<Entry>, Vec<String>) =
            claim.query_async(&mut self.connection).await.unwrap();
        answer.1
    }

    async fn acknowledge(&mut self, entries: &[Entry]) {
        for entry in entries {
            let acknowledged: u64 = redis::cmd("XACK")
                .arg(STREAM)
                .arg("workers")
                .arg(&entry.0)
                .query_async(&mut self.connection)
                .await
                .unwrap();
            assert_eq!(acknowledged, 1);
            self.acknowledged.push(of_entry(entry).sequence);
        }
    }
}

#[tokio::test]
async fn consumers_share_the_work_and_take_over_from_one_that_dies() {
    const EVENTS: u64 = 2_000;
    let redis = Redis::start().await;
    let log = open(&redis).await;
    let mut connection = redis.connect().await;
    let mut create = redis::cmd("XGROUP");
    create.arg("CREATE").arg(STREAM).arg("workers").arg("0").arg("MKSTREAM");
    let _: String = create.query_async(&mut connection).await.unwrap();
    let writing = async {
        for first in (1..=EVENTS).step_by(50) {
            log.append((first..first + 50).map(event).collect()).await.unwrap();
        }
    };
    let dying = async {
        let mut consumer = Consumer::of(&redis, "first").await;
        while consumer.acknowledged.len() < EVENTS as usize / 4 {
            let taken = consumer.take().await;
            consumer.acknowledge(&taken).await;
            tokio::task::yield_now().await;
        }
        // In the middle of its work: what it holds is acknowledged by nobody.
        let mut held = Vec::new();
        while held.is_empty() {
            held = consumer.take().await;
            tokio::task::yield_now().await;
        }
        consumer.acknowledge(&held[..held.len() / 2]).await;
        (consumer.acknowledged, held.len() - held.len() / 2)
    };
    let mut second = Consumer::of(&redis, "second").await;
    let surviving = async {
        while second.acknowledged.len() < EVENTS as usize / 4 {
            let taken = second.take().await;
            second.acknowledge(&taken).await;
            tokio::task::yield_now().await;
        }
    };
    let ((), (first, left), ()) = soon("their work", async { tokio::join!(writing, dying, surviving) }).await;
    loop {
        let taken = second.take().await;
        if taken.is_empty() {
            break;
        }
        second.acknowledge(&taken).await;
    }
    let claimed = second.claim().await;
    assert_eq!(claimed.len(), left, "what the dead one held");
    second.acknowledge(&claimed).await;
    let mut all: Vec<u64> = first.iter().chain(&second.acknowledged).copied().collect();
    all.sort_unstable();
    assert_eq!(all, (1..=EVENTS).collect::<Vec<_>>(), "each once");
    let mut pending = redis::cmd("XPENDING");
    let pending: (u64, Unseen, Unseen, Unseen) =
        pending.arg(STREAM).arg("workers").query_async(&mut connection).await.unwrap();
    assert_eq!(pending.0, 0);
}

/// What a test does not look at.
type Unseen = redis::Value;

/// Writes events as the hub does, from its queue, until told to stop; returns how many.
async fn flow(events: &Events, stop: &tokio::sync::Notify) -> u64 {
    let mut number = 0;
    let stopped = stop.notified();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            biased;
            () = &mut stopped => return number,
            () = tokio::task::yield_now() => {
                // Some room is left: what does not fit would be refused.
                if !events.is_busy() {
                    number += 1;
                    events.write(event(number));
                }
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_lost_when_redis_dies_while_events_flow() {
    let mut redis = Redis::start().await;
    let log = Arc::new(open(&redis).await);
    let (meters, _) = Meters::new();
    let events = Events::start(log.clone(), meters);
    let mut newest = log.newest(&group_id(DEMO));
    let stop = Arc::new(tokio::sync::Notify::new());
    let flowing = {
        let (events, stop) = (events.clone(), Arc::clone(&stop));
        tokio::spawn(async move { flow(&events, &stop).await })
    };
    for _ in 0..4 {
        let before = *newest.borrow();
        soon("events", newest.wait_for(|newest| *newest > before + 300)).await.unwrap();
        redis.kill();
        redis.revive().await;
    }
    let before = *newest.borrow();
    soon("events", newest.wait_for(|newest| *newest > before + 300)).await.unwrap();
    stop.notify_one();
    let written = flowing.await.unwrap();
    soon("the last event", newest.wait_for(|newest| *newest == written)).await.unwrap();
    let mut connection = redis.connect().await;
    assert_eq!(
        numbers(&mut connection).await,
        (1..=written).collect::<Vec<_>>(),
        "none lost, in their order"
    );
}

#[tokio::test]
async fn a_redis_that_stands_still_holds_up_nobody() {
    let redis = Redis::start().await;
    let site = site(&redis).await;
    let log = Arc::clone(&site.running.stores.events);
    let end = log.read(&group_id(DEMO), After::End).await.unwrap().cursor;
    // The receipt of its consent is in Redis; from then on a session needs none.
    let mut engagement = site.engage("C-1", json!({})).await;
    redis.pause();
    // It goes on meanwhile and ends, and probes are told.
    engagement.publisher.send(json!({"type": "end"})).await;
    engagement.agent.expect("sessionEnded").await;
    let health = async || http::get(site.running.ops, "/readyz?verbose").await;
    until("it is noticed", async || health().await.body.contains("Redis is away")).await;
    let answer = health().await;
    assert!(answer.status == 200 && answer.body.contains(r#""status":"degraded""#), "{answer:?}");
    redis.resume();
    until("it is back", async || health().await.body.contains(r#""events":{"status":"ok"}"#)).await;
    let session = SessionId::parse(engagement.session.as_str().unwrap()).unwrap();
    let ended = async || {
        let record = site.running.stores.records.session_record(&group_id(DEMO), session).await.unwrap();
        record.is_some_and(|record| record.status == Status::Ended)
    };
    until("what happened meanwhile is written", ended).await;
    let page = log.read(&group_id(DEMO), After::Sequence(end)).await.unwrap();
    let kinds: Vec<Kind> = page.events.iter().map(|logged| logged.event.what.kind()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::Ended).count(), 1, "{kinds:?}");
    stream(&mut redis.connect().await).await;
}

#[tokio::test]
async fn a_redis_that_may_let_events_go_is_refused() {
    let redis = Redis::start().await;
    let mut set = redis::cmd("CONFIG");
    let mut connection = redis.connect().await;
    let _: String =
        set.arg("SET").arg("maxmemory-policy").arg("allkeys-lfu").query_async(&mut connection).await.unwrap();
    let mut config = config();
    config.redis.url = Some(Secret::from(redis.url()));
    let refused =
        Server::start(config, Options { store: StorePlace::Memory, ..Options::default() }).await.unwrap_err();
    let error = anyhow::Error::from(refused);
    let text = format!("{error:#}");
    assert!(text.contains("allkeys-lfu") && text.contains("noeviction"), "{text}");
}

/// A process of the server with its log on Redis, killed when it is dropped.
struct Node {
    child: Child,
    client: AdminClient<Channel>,
    key: String,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Node {
    async fn start(dir: &Path, redis: &Redis) -> Self {
        let url = dir.join("redis-url");
        std::fs::write(&url, redis.url()).unwrap();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_porchlight"));
        command.arg("dev").arg("--data-dir").arg(dir.join("data"));
        command.env("PORCHLIGHT__REDIS__URL_FILE", &url);
        for listener in ["--public-addr", "--ops-addr", "--admin-addr"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let told = BufReader::new(child.stdout.take().unwrap());
        let ready = tokio::task::spawn_blocking(move || {
            told.lines().map_while(Result::ok).any(|line| line.contains("Ctrl+C"))
        });
        assert!(within("the server's start", ready).await.unwrap(), "the server did not start");
        let facts: Value =
            serde_json::from_slice(&std::fs::read(dir.join("data/dev.json")).unwrap()).unwrap();
        canary::learn(&facts);
        let admin: SocketAddr = facts["admin"].as_str().unwrap().parse().unwrap();
        let endpoint = Channel::from_shared(format!("http://{admin}")).unwrap();
        let channel = within("a gRPC connection", endpoint.connect()).await.unwrap();
        Self { child, client: AdminClient::new(channel), key: facts["adminKey"].as_str().unwrap().to_owned() }
    }

    /// Posts, which is an event; returns its id once it is acknowledged.
    async fn post(&self, text: &str) -> Option<String> {
        let record = v1::RecordReference { object: "Case".into(), id: "500".into(), ..Default::default() };
        let message = v1::PostFeedRequest {
            group: DEMO.into(),
            record: Some(record),
            text: text.into(),
            link: String::new(),
            request_id: text.into(),
        };
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.key).parse().unwrap());
        request.set_timeout(DEADLINE);
        let answer = self.client.clone().post_feed(request).await.ok()?;
        Some(answer.into_inner().item.unwrap().post_id)
    }
}

/// Ends the claims of calls that are being made.
async fn forget_claims(connection: &mut MultiplexedConnection) {
    let claims: Vec<String> = redis::cmd("KEYS").arg("pl:*:call:*").query_async(connection).await.unwrap();
    for claim in claims {
        let _: u64 = redis::cmd("DEL").arg(claim).query_async(connection).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_once_after_the_server_is_killed() {
    const KILLS: usize = 12;
    let redis = Redis::start().await;
    let mut connection = redis.connect().await;
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng::new(0x5ed1);
    let mut acknowledged: Vec<(String, String)> = Vec::new();
    let mut unanswered: Option<String> = None;
    for round in 0..=KILLS {
        let node = Node::start(dir.path(), &redis).await;
        if let Some(text) = unanswered.take() {
            // As if its time had passed already: a killed node does not give back what it claimed.
            forget_claims(&mut connection).await;
            let id = node.post(&text).await.expect("nobody has killed it yet");
            acknowledged.push((text, id));
        }
        let events = stream(&mut connection).await;
        let posts: Vec<(String, String)> = events
            .iter()
            .filter_map(|event| match &event.details {
                Some(v1::session_event::Details::Post(post)) => Some((post.text.clone(), event.id.clone())),
                _ => None,
            })
            .collect();
        assert_eq!(posts, acknowledged, "round {round}: what was acknowledged is there once, in its order");
        if round == KILLS {
            break;
        }
        let (pid, delay) = (Pid::from_child(&node.child), Duration::from_micros(rng.below(40_000) as u64));
        let killer = tokio::task::spawn_blocking(move || {
            // The moment is anywhere in the work, to the microsecond.
            let begun = Instant::now();
            while begun.elapsed() < delay {
                std::thread::yield_now();
            }
            kill_process(pid, Signal::KILL).unwrap();
        });
        for step in 0.. {
            let text = format!("post {round}-{step}");
            match node.post(&text).await {
                Some(id) => acknowledged.push((text, id)),
                None => {
                    unanswered = Some(text);
                    break;
                }
            }
        }
        killer.await.unwrap();
    }
    assert!(acknowledged.len() > KILLS, "it was killed before it did anything, each time");
    canary::told("the log", &std::fs::read_to_string(dir.path().join("log")).unwrap());
}

#[tokio::test]
async fn state_is_told_while_redis_is_away() {
    let mut redis = Redis::start().await;
    let log = open(&redis).await;
    assert_eq!(log.state(), RedisState::Fine);
    redis.kill();
    until("it is away", async || log.state() == RedisState::Away).await;
    redis.revive().await;
    until("it is back", async || log.state() == RedisState::Fine).await;
}
