//! The obligations of every log, feed and records over a real Redis, and what only Redis can do to them.

use std::time::Duration;

use futures_util::StreamExt as _;
use prost::Message as _;

use super::server::Redis;
use super::*;
use crate::model::event::{What, samples};
use crate::model::session_record::SessionRecord;
use crate::store::records::{DayStatistics, LetGo, RecordPage, RecordQuery, SessionRecords};
use crate::store::{Store, feed};

async fn fresh() -> (RedisLog, Redis) {
    let redis = Redis::start().await;
    (open(&redis).await, redis)
}

async fn open(redis: &Redis) -> RedisLog {
    RedisLog::open(&redis.url(), Arc::new(SqliteStore::in_memory().unwrap())).await.unwrap()
}

crate::store::events::suite::obligations!(events, fresh);
crate::store::feed::suite::obligations!(feeds, fresh);
crate::store::records::suite::obligations!(records, fresh);

impl feed::suite::Subject for RedisLog {
    fn agents(&self) -> &dyn Store {
        &*self.inner.node
    }
}

/// The records that this log is folded into.
#[async_trait]
impl SessionRecords for RedisLog {
    async fn session_records(&self, group: &GroupId, query: RecordQuery) -> Result<RecordPage, StoreError> {
        self.inner.node.session_records(group, query).await
    }

    async fn session_record(
        &self,
        group: &GroupId,
        session: SessionId,
    ) -> Result<Option<SessionRecord>, StoreError> {
        self.inner.node.session_record(group, session).await
    }

    async fn open_session_records(&self) -> Result<Vec<SessionRecord>, StoreError> {
        self.inner.node.open_session_records().await
    }

    async fn statistics(
        &self,
        group: &GroupId,
        from: Wall,
        until: Wall,
    ) -> Result<Vec<DayStatistics>, StoreError> {
        self.inner.node.statistics(group, from, until).await
    }

    async fn trim_records(&self, group: &GroupId, keep: Retention, now: Wall) -> Result<LetGo, StoreError> {
        self.inner.node.trim_records(group, keep, now).await
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

#[tokio::test]
async fn what_was_appended_and_not_folded_is_folded_by_the_next_start() {
    let redis = Redis::start().await;
    let node = Arc::new(SqliteStore::in_memory().unwrap());
    node.put_group(&group(), &crate::model::settings::Settings::default(), None, "t", Wall(1)).await.unwrap();
    let log = RedisLog::open(&redis.url(), Arc::clone(&node)).await.unwrap();
    let created = What::Created(crate::model::event::Created {
        kind: crate::wire::visitor::SessionKind::Screen,
        visitor: None,
        agent: None,
    });
    // The process dies between the two.
    log.inner.log.append(&group(), &[samples::event("g", 1, created)], 0).await.unwrap();
    assert_eq!(node.session_record(&group(), session_id()).await.unwrap(), None);
    drop(log);
    let log = RedisLog::open(&redis.url(), Arc::clone(&node)).await.unwrap();
    assert!(node.session_record(&group(), session_id()).await.unwrap().is_some());
    assert_eq!(node.folded(&group()).await.unwrap(), 1);
    assert_eq!(log.append(events(2..=3)).await.unwrap(), [2, 3]);
    assert_eq!(node.folded(&group()).await.unwrap(), 3);
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
    // Another process with the same database knows it too.
    let again = RedisLog::open(&redis.url(), Arc::clone(&log.inner.node)).await.unwrap();
    drop(log);
    let _: () = ask(&redis, &["FLUSHALL"]).await;
    assert_eq!(again.append(events(8..=8)).await.unwrap(), [8]);
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
    assert_eq!(keys, ["pl:{g}:events"], "which remembers the newest sequence");
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
        assert_eq!(log.inner.node.folded(&group()).await.unwrap(), 200);
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
async fn a_redis_that_lets_keys_go_is_refused_and_noticed_later() {
    let redis = Redis::start().await;
    let node = Arc::new(SqliteStore::in_memory().unwrap());
    for policy in ["allkeys-lru", "volatile-ttl", "allkeys-random"] {
        let _: String = ask(&redis, &["CONFIG", "SET", "maxmemory-policy", policy]).await;
        let refused = RedisLog::open(&redis.url(), Arc::clone(&node)).await.err().unwrap();
        assert!(
            matches!(&refused, OpenError::Redis(redis::OpenError::Evicts(found)) if found == policy),
            "{refused:?}"
        );
        assert!(refused.to_string().contains("noeviction") && refused.to_string().contains(policy));
    }
    let _: String = ask(&redis, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    let log = RedisLog::open(&redis.url(), node).await.unwrap();
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
    let away = RedisLog::open(&redis.url(), Arc::new(SqliteStore::in_memory().unwrap())).await.err().unwrap();
    assert!(matches!(away, OpenError::Redis(redis::OpenError::Away(_))), "{away:?}");
    redis.revive().await;
    until("it is back", async || log.append(events(1..=5)).await.is_ok()).await;
    assert_eq!(sequences(&log.read(&group(), After::Start).await.unwrap()), [1, 2, 3, 4, 5]);
    until("it is back", async || log.state() == RedisState::Fine).await;
    let refused =
        RedisLog::open("no address", Arc::new(SqliteStore::in_memory().unwrap())).await.err().unwrap();
    assert!(matches!(refused, OpenError::Redis(redis::OpenError::Address(_))), "{refused:?}");
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
