//! The obligations of every log, feed and records over a real Redis, and what only Redis can do to them.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use prost::Message as _;

use super::server::Redis;
use super::*;
use crate::ids::{AgentId, VisitorId};
use crate::model::event::{Ended, What, samples};
use crate::model::session::EndReason;
use crate::model::session_record::SessionRecord;
use crate::redis::{Link, OpenError};
use crate::store::records::{DayStatistics, LetGo, RecordPage, RecordQuery, SessionRecords, laws};
use crate::store::sync::EndedRecords as _;
use crate::store::{Store, StoreNews, feed};

async fn fresh() -> (RedisLog, Redis) {
    let redis = Redis::start().await;
    (open(&redis).await, redis)
}

async fn store(redis: &Redis) -> Arc<RedisStore> {
    Arc::new(RedisStore::new(redis.link().await))
}

async fn open(redis: &Redis) -> RedisLog {
    RedisLog::open(store(redis).await).await.unwrap()
}

crate::store::events::suite::obligations!(events, fresh);
crate::store::feed::suite::obligations!(feeds, fresh);
crate::store::records::suite::obligations!(records, fresh);
crate::store::suite::obligations!(rows, async || {
    let redis = Redis::start().await;
    (RedisStore::new(redis.link().await), redis)
});

impl feed::suite::Subject for RedisLog {
    fn agents(&self) -> &dyn Store {
        &*self.inner.store
    }
}

/// The records that this log is folded into.
#[async_trait]
impl SessionRecords for RedisLog {
    async fn session_records(&self, group: &GroupId, query: RecordQuery) -> Result<RecordPage, StoreError> {
        self.inner.store.session_records(group, query).await
    }

    async fn session_record(
        &self,
        group: &GroupId,
        session: SessionId,
    ) -> Result<Option<SessionRecord>, StoreError> {
        self.inner.store.session_record(group, session).await
    }

    async fn open_session_records(&self) -> Result<Vec<SessionRecord>, StoreError> {
        self.inner.store.open_session_records().await
    }

    async fn statistics(
        &self,
        group: &GroupId,
        from: Wall,
        until: Wall,
    ) -> Result<Vec<DayStatistics>, StoreError> {
        self.inner.store.statistics(group, from, until).await
    }

    async fn trim_records(&self, group: &GroupId, keep: Retention, now: Wall) -> Result<LetGo, StoreError> {
        self.inner.store.trim_records(group, keep, now).await
    }
}

fn group() -> GroupId {
    GroupId::new("g").unwrap()
}

fn events(numbers: std::ops::RangeInclusive<u64>) -> Vec<Event> {
    numbers.map(|number| samples::event("g", u128::from(number), What::Paused)).collect()
}

fn sequences(page: &Page) -> Vec<u64> {
    page.events.iter().map(|logged| logged.sequence).collect()
}

fn session_id() -> SessionId {
    SessionId::from_u128(2)
}

/// Waits for a fact.
async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !fact().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.unwrap_or_else(|_| panic!("{what}"));
}

async fn ask<T: ::redis::FromRedisValue>(redis: &Redis, words: &[&str]) -> T {
    let mut command = ::redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    command.query_async(&mut redis.connect().await).await.unwrap()
}

/// An append to a real Redis waits for the disk: fewer cases than without one.
#[test]
fn lists_find_what_fits_and_statistics_add_up() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let redis = runtime.block_on(Redis::start());
    let mut cases = proptest::test_runner::TestRunner::new(proptest::test_runner::Config::with_cases(12));
    cases
        .run(&laws::case(), |case| {
            let _: () = runtime.block_on(ask(&redis, &["FLUSHALL"]));
            laws::hold(&runtime, &runtime.block_on(open(&redis)), case)
        })
        .unwrap();
}

#[tokio::test]
async fn what_was_appended_and_not_folded_is_folded_by_the_next_start() {
    let (log, redis) = fresh().await;
    let node = Arc::clone(&log.inner.store);
    log.append(events(5..=5)).await.unwrap();
    let created = What::Created(crate::model::event::Created {
        kind: crate::wire::visitor::SessionKind::Screen,
        visitor: None,
        agent: None,
    });
    // The process dies between the two.
    log.inner.log.append(&group(), &[samples::event("g", 1, created)], 0).await.unwrap();
    assert_eq!(node.folded(&group()).await.unwrap(), 1);
    assert_eq!(node.session_record(&group(), session_id()).await.unwrap(), None);
    drop(log);
    let log = open(&redis).await;
    assert!(node.session_record(&group(), session_id()).await.unwrap().is_some());
    assert_eq!(node.folded(&group()).await.unwrap(), 2);
    assert_eq!(log.append(events(2..=3)).await.unwrap(), [3, 4]);
    assert_eq!(node.folded(&group()).await.unwrap(), 4);
}

#[tokio::test]
async fn no_sequence_is_given_twice_when_redis_forgets() {
    let (log, redis) = fresh().await;
    log.append(events(1..=5)).await.unwrap();
    let mut newest = log.newest(&group());
    let _: () = ask(&redis, &["FLUSHALL"]).await;
    assert_eq!(log.append(events(6..=7)).await.unwrap(), [6, 7]);
    let page = log.read(&group(), After::Sequence(5)).await.unwrap();
    assert_eq!((page.recovered, sequences(&page)), (true, vec![6, 7]));
    let page = log.read(&group(), After::Sequence(3)).await.unwrap();
    assert_eq!((page.recovered, sequences(&page)), (false, vec![6, 7]));
    newest.wait_for(|newest| *newest == 7).await.unwrap();
    // The fold fell back to the start, and came forward again.
    assert_eq!(log.inner.store.folded(&group()).await.unwrap(), 7);
    // A process that starts knows it from Redis, even without the stream.
    drop(log);
    let _: u64 = ask(&redis, &["DEL", "pl:{g}:events"]).await;
    assert_eq!(open(&redis).await.append(events(8..=8)).await.unwrap(), [8]);
}

#[tokio::test]
async fn a_hole_in_the_stream_is_told_to_whoever_reads_over_it() {
    let (log, redis) = fresh().await;
    log.append(events(1..=6)).await.unwrap();
    let _: u64 = ask(&redis, &["XDEL", "pl:{g}:events", "3-0", "4-0"]).await;
    let first = log.read(&group(), After::Start).await.unwrap();
    assert_eq!((first.recovered, sequences(&first), first.cursor), (true, vec![1, 2], 2));
    let second = log.read(&group(), After::Sequence(2)).await.unwrap();
    assert_eq!((second.recovered, sequences(&second)), (false, vec![5, 6]));
}

#[tokio::test]
async fn what_others_write_is_passed_over_and_a_foreign_stream_is_not_gone_on_with() {
    let (log, redis) = fresh().await;
    log.append(events(1..=2)).await.unwrap();
    let _: String = ask(&redis, &["XADD", "pl:{g}:events", "3-0", "e", "junk"]).await;
    assert_eq!(log.append(events(3..=3)).await.unwrap(), [4]);
    let page = log.read(&group(), After::Sequence(2)).await.unwrap();
    assert_eq!((page.recovered, sequences(&page)), (false, vec![4]), "what stands between is no event");
    let _: String = ask(&redis, &["XADD", "pl:{h}:events", "*", "e", "junk"]).await;
    let other = Event { group: GroupId::new("h").unwrap(), ..events(1..=1).remove(0) };
    let refused = log.append(vec![other]).await.unwrap_err();
    assert!(refused.is_passing(), "it can be mended: {refused:?}");
    let _: String = ask(&redis, &["SET", "pl:{i}:events", "x"]).await;
    let other = Event { group: GroupId::new("i").unwrap(), ..events(1..=1).remove(0) };
    assert!(!log.append(vec![other]).await.unwrap_err().is_passing());
}

#[tokio::test]
async fn a_later_versions_events_are_passed_over_and_nothing_is_missing() {
    use crate::model::event::Logged;
    use crate::pb::v1::SessionEvent;
    use crate::store::events::protobuf::encode;
    use prost::Message as _;

    let (log, redis) = fresh().await;
    log.append(events(1..=2)).await.unwrap();
    let mut connection = redis.connect().await;
    let last = 2 + 2 * limits::EVENT_PAGE as u64;
    for sequence in 3..=last {
        let [event] = <[Event; 1]>::try_from(events(sequence..=sequence)).unwrap();
        let known = encode(&Logged { sequence, event });
        let mut bytes = SessionEvent { kind: 9_999, details: None, ..known }.encode_to_vec();
        // Field 100, a number.
        bytes.extend([0xa0, 0x06, 0x01]);
        let mut add = ::redis::cmd("XADD");
        add.arg("pl:{g}:events").arg(format!("{sequence}-0")).arg("e").arg(bytes).arg("later").arg("1");
        let _: String = add.query_async(&mut connection).await.unwrap();
    }
    let page = log.read(&group(), After::Start).await.unwrap();
    assert_eq!((page.recovered, sequences(&page)), (true, vec![1, 2]));
    let page = log.read(&group(), After::Sequence(2)).await.unwrap();
    assert_eq!((page.recovered, sequences(&page), page.cursor), (true, vec![], last));
    // What is known here comes behind it, and is folded.
    assert_eq!(log.append(events(last + 1..=last + 1)).await.unwrap(), [last + 1]);
    let page = log.read(&group(), After::Sequence(2)).await.unwrap();
    assert_eq!((page.recovered, sequences(&page)), (true, vec![last + 1]));
    assert_eq!(log.inner.store.folded(&group()).await.unwrap(), last + 1);
}

#[tokio::test]
async fn an_append_that_cannot_be_done_whole_is_not_done() {
    let (log, redis) = fresh().await;
    log.append(events(1..=1)).await.unwrap();
    let _: String = ask(&redis, &["SET", "pl:{g}:feed:Case:500", "x"]).await;
    let posted = samples::everything().into_iter().find(|what| matches!(what, What::FeedPosted(_))).unwrap();
    let mut both = events(2..=2);
    both.push(samples::event("g", 3, posted));
    assert!(log.append(both).await.is_err());
    let page = log.read(&group(), After::Start).await.unwrap();
    assert_eq!(sequences(&page), [1]);
    assert_eq!(log.append(events(4..=4)).await.unwrap(), [2]);
}

#[tokio::test]
async fn events_are_the_same_bytes_in_the_stream_and_on_the_channel() {
    let (log, redis) = fresh().await;
    let client = ::redis::Client::open(redis.url()).unwrap();
    let mut live = client.get_async_pubsub().await.unwrap();
    live.subscribe("pl:{g}:live").await.unwrap();
    // Numbers of one, two and three bytes.
    for numbers in [1..=127, 128..=400, 401..=16_500] {
        for number in numbers.clone().step_by(500) {
            let last = (*numbers.end()).min(number + 499);
            log.append(events(number..=last)).await.unwrap();
        }
    }
    type Entry = (String, std::collections::HashMap<String, Vec<u8>>);
    let entries: Vec<Entry> = ask(&redis, &["XRANGE", "pl:{g}:events", "-", "+"]).await;
    assert_eq!(entries.len(), 16_500);
    let mut told = live.on_message();
    for ((id, fields), sequence) in entries.iter().zip(1u64..) {
        let event = crate::pb::v1::SessionEvent::decode(&*fields["e"]).unwrap();
        assert_eq!((event.sequence, id), (sequence, &format!("{sequence}-0")));
        assert_eq!(
            (&fields["k"][..], &fields["s"][..]),
            (&b"session.paused"[..], event.session_id.as_bytes())
        );
        let message = tokio::time::timeout(Duration::from_secs(20), told.next()).await.unwrap().unwrap();
        assert_eq!(message.get_payload_bytes(), fields["e"]);
    }
}

#[tokio::test]
async fn nothing_is_left_of_what_is_trimmed() {
    let (log, redis) = fresh().await;
    log.append(events(1..=2_500)).await.unwrap();
    let keep = Retention { age: Duration::MAX, count: 0 };
    let mut steps = Vec::new();
    while let trimmed @ 1.. = log.trim(&group(), keep, Wall(0)).await.unwrap() {
        steps.push(trimmed);
    }
    assert_eq!(steps, [1_000, 1_000, 500], "a bounded number at a time");
    let mut keys: Vec<String> = ask(&redis, &["KEYS", "*"]).await;
    keys.sort();
    assert_eq!(keys, ["pl:groups", "pl:{g}:events", "pl:{g}:folded"], "which remember the newest sequence");
    assert_eq!(log.append(events(1..=1)).await.unwrap(), [2_501], "an id that is gone is a new one");
}

#[tokio::test]
async fn several_logs_on_one_redis_hear_of_each_other() {
    let (log, redis) = fresh().await;
    let other = open(&redis).await;
    let mut newest = [log.newest(&group()), other.newest(&group())];
    let write = async |log: &RedisLog, first: u64| {
        for number in first..first + 100 {
            log.append(events(number..=number)).await.unwrap();
        }
    };
    tokio::join!(write(&log, 1), write(&other, 101));
    for (newest, log) in newest.iter_mut().zip([&log, &other]) {
        let all = newest.wait_for(|newest| *newest == 200);
        tokio::time::timeout(Duration::from_secs(20), all).await.expect("in time").unwrap();
        assert_eq!(
            sequences(&log.read(&group(), After::Start).await.unwrap()),
            (1..=200).collect::<Vec<_>>()
        );
        assert_eq!(log.inner.store.folded(&group()).await.unwrap(), 200);
    }
}

#[tokio::test]
async fn a_subscriber_that_was_cut_off_hears_of_what_it_missed() {
    let (log, redis) = fresh().await;
    let other = open(&redis).await;
    let mut newest = other.newest(&group());
    log.append(events(1..=1)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), newest.wait_for(|newest| *newest == 1))
        .await
        .unwrap()
        .unwrap();
    for number in 2..=9u64 {
        let _cut: u64 = ask(&redis, &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        log.append(events(number..=number)).await.unwrap();
        let caught_up = newest.wait_for(|newest| *newest == number);
        tokio::time::timeout(Duration::from_secs(20), caught_up).await.expect("it comes back").unwrap();
    }
}

#[tokio::test]
async fn a_subscriber_that_had_no_room_reads_what_it_missed() {
    use crate::store::events::protobuf::encode;

    let (log, redis) = fresh().await;
    let (mut newest, mut news) = (log.newest(&group()), log.inner.store.news());
    let told = async |newest: &mut tokio::sync::watch::Receiver<u64>, number: u64| {
        let told = newest.wait_for(|newest| *newest == number);
        tokio::time::timeout(Duration::from_secs(20), told).await.expect("in time").unwrap();
    };
    let other = open(&redis).await;
    other.append(events(1..=1)).await.unwrap();
    told(&mut newest, 1).await;
    // It listens, and this it heard as it began to.
    while news.next().now_or_never().is_some() {}
    let link = redis.link().await;
    let words = vec![b'x'; limits::STORE_HEARD.bytes + 1];
    for (number, channel) in [(2, "pl:{g}:live"), (3, "pl:accounts")] {
        // Of this one nobody is told.
        let event =
            crate::model::event::Logged { sequence: number, event: events(number..=number).remove(0) };
        let mut add = ::redis::cmd("XADD");
        add.arg("pl:{g}:events").arg(format!("{number}-0")).arg("e").arg(encode(&event).encode_to_vec());
        let _: String = link.ask(&add).await.unwrap();
        let _: u64 = link.ask(::redis::cmd("PUBLISH").arg(channel).arg(&words)).await.unwrap();
        told(&mut newest, number).await;
        let heard = tokio::time::timeout(Duration::from_secs(20), news.next()).await.expect("in time");
        assert_eq!(heard.unwrap(), StoreNews::All);
    }
}

#[tokio::test]
async fn a_redis_that_lets_keys_go_is_refused_and_noticed_later() {
    let redis = Redis::start().await;
    for policy in ["allkeys-lru", "volatile-ttl", "allkeys-random"] {
        let _: String = ask(&redis, &["CONFIG", "SET", "maxmemory-policy", policy]).await;
        let refused = Link::open(&redis.url()).await.err().unwrap();
        assert!(matches!(&refused, OpenError::Evicts(found) if found == policy), "{refused:?}");
        assert!(refused.to_string().contains("noeviction") && refused.to_string().contains(policy));
    }
    let _: String = ask(&redis, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    let log = open(&redis).await;
    for (policy, state) in [("allkeys-lru", RedisState::Evicts), ("noeviction", RedisState::Fine)] {
        let _: String = ask(&redis, &["CONFIG", "SET", "maxmemory-policy", policy]).await;
        // Looked at again with each new connection.
        let _cut: u64 = ask(&redis, &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        until("the policy is noticed", async || log.state() == state).await;
    }
    let _: String = ask(&redis, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = log.append(events(1..=1)).await.unwrap_err();
    assert!(refused.is_passing(), "memory comes back: {refused:?}");
}

#[tokio::test]
async fn a_redis_that_is_away_is_told_and_comes_back() {
    let mut redis = Redis::start().await;
    let log = open(&redis).await;
    log.append(events(1..=3)).await.unwrap();
    redis.kill();
    assert!(log.append(events(4..=4)).await.unwrap_err().is_passing());
    until("it is away", async || log.state() == RedisState::Away).await;
    let away = Link::open(&redis.url()).await.err().unwrap();
    assert!(matches!(away, OpenError::Away(_)), "{away:?}");
    redis.revive().await;
    until("it is back", async || log.append(events(1..=5)).await.is_ok()).await;
    assert_eq!(sequences(&log.read(&group(), After::Start).await.unwrap()), [1, 2, 3, 4, 5]);
    until("it is back", async || log.state() == RedisState::Fine).await;
    let refused = Link::open("no address").await.err().unwrap();
    assert!(matches!(refused, OpenError::Address(_)), "{refused:?}");
}

#[tokio::test]
async fn a_log_that_is_closed_says_so() {
    let (log, _redis) = fresh().await;
    let log = Arc::new(log);
    let mut tail = crate::store::events::Tail::new(log.clone(), group(), After::Start);
    log.append(events(1..=1)).await.unwrap();
    assert_eq!(sequences(&tail.next().await.unwrap()), [1]);
    let waiting = tokio::spawn(async move { tail.next().await });
    log.close();
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it ends").unwrap();
    assert!(matches!(waited, Err(StoreError::Closed)), "{waited:?}");
    assert!(matches!(log.append(events(2..=2)).await, Err(StoreError::Closed)));
    assert!(matches!(log.read(&group(), After::Start).await, Err(StoreError::Closed)));
}

/// A session from its creation to its end, at a minute.
fn told(session: u64) -> Vec<Event> {
    let created = crate::model::event::Created {
        kind: crate::wire::visitor::SessionKind::Screen,
        visitor: Some(VisitorId::new("C-1").unwrap()),
        agent: Some(AgentId::new("alice").unwrap()),
    };
    let relayed = crate::model::event::Relayed { frames: session, bytes: 10 };
    let over = Ended { reason: EndReason::GuestEnded, relayed };
    let words = [What::Created(created), What::Started, What::Ended(over), What::RecordLogged];
    let words = words.into_iter().zip(1..);
    let event = |(what, step): (What, u64)| Event {
        at: Wall(session * 60_000 + step),
        session: Some(SessionId::from_u128(u128::from(session))),
        ..samples::event("g", u128::from(session * 10 + step), what)
    };
    words.map(event).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_fold_at_once_make_each_record_once() {
    const SESSIONS: u64 = 60;
    let (log, redis) = fresh().await;
    let logs = [Arc::new(log), Arc::new(open(&redis).await), Arc::new(open(&redis).await)];
    let mut writing = Vec::new();
    for (log, first) in logs.iter().zip(1..) {
        let log = Arc::clone(log);
        writing.push(tokio::spawn(async move {
            for session in (first..=SESSIONS).step_by(3) {
                for event in told(session) {
                    log.append(vec![event]).await.unwrap();
                }
            }
        }));
    }
    for task in writing {
        task.await.unwrap();
    }
    let store = &logs[0].inner.store;
    assert_eq!(store.folded(&group()).await.unwrap(), SESSIONS * 4);
    let whole = logs[0].read(&group(), After::Start).await.unwrap();
    let mut records = std::collections::HashMap::new();
    for logged in &whole.events {
        let session = logged.event.session.unwrap();
        let before = records.remove(&session);
        records.extend(SessionRecord::apply(before, logged).map(|record| (session, record)));
    }
    for (session, record) in &records {
        assert_eq!(store.session_record(&group(), *session).await.unwrap().as_ref(), Some(record));
    }
    let ended = store.ended_records(&group(), 0, 1_000).await.unwrap();
    let numbers: Vec<u64> = ended.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=SESSIONS).collect::<Vec<_>>(), "a number each, without a gap");
    let agents = RecordQuery { agent: Some(AgentId::new("alice").unwrap()), ..RecordQuery::default() };
    assert_eq!(store.session_records(&group(), agents).await.unwrap().records.len(), SESSIONS as usize);
    assert!(store.open_session_records().await.unwrap().is_empty());
}

#[tokio::test]
async fn nothing_is_left_of_a_record_that_is_let_go_of_but_the_newest_number() {
    let (log, redis) = fresh().await;
    for session in 1..=250 {
        log.append(told(session)).await.unwrap();
    }
    let mut open = told(251);
    open.truncate(2);
    log.append(open).await.unwrap();
    let store = &log.inner.store;
    let now = Wall(251 * 60_000);
    let keep = |minutes: u64, count| Retention { age: Duration::from_secs(minutes * 60), count };
    let gone = |records| LetGo { records, unsent: 0 };
    let trim = async |keep| store.trim_records(&group(), keep, now).await.unwrap();
    assert_eq!(trim(keep(9_999, 9_999)).await, gone(0));
    assert_eq!(trim(keep(9_999, 240)).await, gone(10), "beyond the number");
    assert_eq!(trim(keep(231, 9_999)).await, gone(9), "beyond the age");
    // Two nodes at once let go of each record once.
    let (one, other) = tokio::join!(trim(keep(0, 9_999)), trim(keep(0, 9_999)));
    assert_eq!(one.records + other.records + trim(keep(0, 9_999)).await.records, 231);
    assert_eq!(trim(keep(0, 0)).await, gone(0), "what is open stays");
    assert!(store.session_record(&group(), SessionId::from_u128(251)).await.unwrap().is_some());
    let numbers = store.ended_records(&group(), 0, 9).await.unwrap();
    assert!(numbers.is_empty());
    // An event that comes late brings none back.
    let mut late = told(7);
    late[0] = Event { id: EventId::from_u128(9_999), ..late.remove(3) };
    log.append(vec![late.remove(0)]).await.unwrap();
    assert_eq!(store.session_record(&group(), SessionId::from_u128(7)).await.unwrap(), None);
    log.append(told(251)).await.unwrap();
    let next = store.ended_records(&group(), 0, 9).await.unwrap();
    assert_eq!(next.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [251]);
    assert_eq!(trim(keep(0, 0)).await, gone(1));
    let mut keys: Vec<String> = ask(&redis, &["KEYS", "pl:{g}:records*"]).await;
    keys.sort();
    assert_eq!(keys, ["pl:{g}:records:ended"], "which keeps the newest number");
    assert_eq!(ask::<u64>(&redis, &["ZCARD", "pl:{g}:records:ended"]).await, 1);
}

#[tokio::test]
async fn records_wait_for_the_sinks_that_take_them() {
    use crate::model::sink::{Takes, Target};
    use crate::store::SyncStore as _;
    use crate::store::sync::{LaneKey, Sink};
    let (log, _redis) = fresh().await;
    let store = &log.inner.store;
    let sinks = Arc::new(crate::store::sqlite::SqliteStore::in_memory().unwrap());
    sinks.put_group(&group(), &Default::default(), None, "t", Wall(1)).await.unwrap();
    let id = crate::ids::SinkId::new("s").unwrap();
    let takes = Takes { records: true, ..Takes::default() };
    let target = Target::Webhook { url: "https://crm.example/hook".into() };
    let sink = Sink { group: group(), id: id.clone(), target, takes, enabled: true };
    sinks.put_sink(&sink, false, Wall(1)).await.unwrap();
    store.wait_for_sinks(sinks.clone());
    for session in 1..=9 {
        log.append(told(session)).await.unwrap();
    }
    let keep = Retention { age: Duration::MAX, count: 3 };
    let trim = async || store.trim_records(&group(), keep, Wall(600_000)).await.unwrap();
    assert_eq!(trim().await, LetGo { records: 3, unsent: 3 }, "twice as many stay");
    let lane = LaneKey { group: group(), sink: id, lane: crate::model::sink::Lane::Records };
    assert!(sinks.advance(&lane, 0, 5).await.unwrap());
    assert_eq!(trim().await, LetGo { records: 2, unsent: 0 }, "what was handed over goes");
}

#[tokio::test]
async fn what_one_node_changes_the_others_hear() {
    let (log, redis) = fresh().await;
    let other = open(&redis).await;
    let (here, there) = (&log.inner.store, &other.inner.store);
    let mut news = there.news();
    let heard = async |news: &mut crate::store::News| {
        tokio::time::timeout(Duration::from_secs(20), news.next()).await.expect("in time").unwrap()
    };
    let settings = crate::model::settings::Settings::default();
    here.put_group(&group(), &settings, None, "t", Wall(1)).await.unwrap();
    until("both listen", async || {
        let (_, listeners): (String, u64) = ask(&redis, &["PUBSUB", "NUMSUB", "pl:accounts"]).await;
        listeners == 2
    })
    .await;
    let key = AgentKey { group: group(), agent: AgentId::new("alice").unwrap() };
    let agent = crate::store::Agent {
        key: key.clone(),
        address: "alice@x".into(),
        partner_user_id: None,
        name: "Alice".into(),
        profile: None,
        subscription: None,
        fixed_key: None,
    };
    here.upsert_agent(&agent, Wall(1)).await.unwrap();
    // What it heard as it began to listen comes first.
    while heard(&mut news).await != StoreNews::Agent(key.clone()) {}
    here.revoke_tokens(&group(), None).await.unwrap();
    assert_eq!(heard(&mut news).await, StoreNews::Agents(group()));
    here.set_password(&key, None).await.unwrap();
    assert_eq!(heard(&mut news).await, StoreNews::Agent(key.clone()));
    let id = crate::ids::KeyId::new("k").unwrap();
    here.insert_api_key(&group(), &id, "", Wall(1)).await.unwrap();
    here.touch_api_key(&group(), &id, Wall(2)).await.unwrap();
    here.revoke_api_key(&group(), &id, Wall(3)).await.unwrap();
    assert_eq!(heard(&mut news).await, StoreNews::Group(group()));
    assert_eq!(heard(&mut news).await, StoreNews::Group(group()));
    // Its own too: it may not have been answered.
    there.revoke_tokens(&group(), None).await.unwrap();
    assert_eq!(heard(&mut news).await, StoreNews::Agents(group()));
    here.remove_agent(&key).await.unwrap();
    assert_eq!(heard(&mut news).await, StoreNews::Agent(key));
    let _: u64 = ask(&redis, &["PUBLISH", "pl:accounts", "unheard-of"]).await;
    assert_eq!(heard(&mut news).await, StoreNews::All, "what can't be read may be anything");
}
