//! The obligations of every store of the sync over a real Redis, and what becomes of several that write there.

use super::super::server::Redis;
use super::super::{RedisLog, RedisStore};
use super::*;
use crate::model::settings::Settings;
use crate::model::sink::Takes;
use crate::store::sync::suite;
use crate::store::{EventLog, SessionRecords};

/// Sinks on Redis, beside the log that feeds them and the records.
struct Subject {
    sync: Arc<RedisSync>,
    log: RedisLog,
    node: Arc<RedisStore>,
}

async fn fresh() -> (Subject, Redis) {
    let redis = Redis::start().await;
    let node = Arc::new(RedisStore::new(redis.link().await));
    let log = RedisLog::open(Arc::clone(&node)).await.unwrap();
    let sync = Arc::new(open(&redis, &node).await);
    node.wait_for_sinks(Arc::clone(&sync) as _);
    (Subject { sync, log, node }, redis)
}

async fn open(redis: &Redis, node: &Arc<RedisStore>) -> RedisSync {
    let link = redis.link().await;
    RedisSync::new(link, Arc::clone(node) as _, Arc::clone(node) as _)
}

suite::obligations!(sync, fresh);

impl suite::Subject for Subject {
    fn groups(&self) -> &dyn Store {
        &*self.node
    }

    fn log(&self) -> &dyn EventLog {
        &self.log
    }

    fn records(&self) -> &dyn SessionRecords {
        &*self.node
    }

    fn sync(&self) -> &dyn SyncStore {
        &*self.sync
    }
}

fn group() -> GroupId {
    GroupId::new("g").unwrap()
}

fn sink(group: &GroupId, id: &str) -> Sink {
    Sink {
        group: group.clone(),
        id: SinkId::new(id).unwrap(),
        target: Target::Webhook { url: "https://example.com/hook".to_owned() },
        takes: Takes { records: true, ..Takes::default() },
        enabled: true,
    }
}

fn lane(sink: &str) -> LaneKey {
    LaneKey { group: group(), sink: SinkId::new(sink).unwrap(), lane: Lane::Records }
}

async fn with_sink() -> (Subject, Redis) {
    let (subject, redis) = fresh().await;
    subject.node.put_group(&group(), &Settings::default(), None, "it", Wall(1)).await.unwrap();
    subject.sync.put_sink(&sink(&group(), "a"), false, Wall(1)).await.unwrap();
    (subject, redis)
}

fn letter() -> DeadLetter {
    DeadLetter { number: 0, id: "e".into(), body: "{}".into(), at: Wall(5), error: "no".into() }
}

fn run(number: u128) -> RunRow {
    RunRow {
        id: RunId::from_u128(number),
        group: group(),
        cause: Cause::Asked,
        started_at: Wall(number as u64),
        ended_at: None,
        sinks: Vec::new(),
        lost: false,
    }
}

#[tokio::test]
async fn an_older_lease_moves_nothing_any_more() {
    let (Subject { sync, .. }, _redis) = with_sink().await;
    let (old, new) = (sync.held_by(7).unwrap(), sync.held_by(8).unwrap());
    let key = lane("a");
    assert!(old.advance(&key, 0, 1).await.unwrap());
    old.put_run(&run(1)).await.unwrap();
    assert_eq!(new.end_lost_runs(Wall(9)).await.unwrap(), 1);
    let refused = |outcome: Result<bool, StoreError>| {
        let error = outcome.unwrap_err();
        assert!(error.is_passing() && format!("{error:?}").contains("SUPERSEDED"), "{error:?}");
    };
    refused(old.advance(&key, 1, 2).await);
    refused(old.bury(&key, 1, 2, &letter()).await);
    let failed = Progress { after: 1, failures: 1, ..Progress::default() };
    refused(old.note_failure(&key, &failed).await.map(|()| true));
    let done = RunRow { ended_at: Some(Wall(20)), ..run(1) };
    refused(old.put_run(&done).await.map(|()| true));
    assert_eq!(sync.progress(&key).await.unwrap(), Some(Progress { after: 1, ..Progress::default() }));
    assert_eq!(sync.count_dead_letters(&group(), &key.sink).await.unwrap(), 0);
    assert!(sync.runs(&group(), None, 9).await.unwrap()[0].lost, "as the newer one wrote it");
    assert!(new.advance(&key, 1, 2).await.unwrap());
    assert!(new.bury(&key, 2, 3, &letter()).await.unwrap());
    // In another group the newer one has not written yet.
    let other = GroupId::new("h").unwrap();
    old.put_run(&RunRow { group: other, ..run(2) }).await.unwrap();
}

#[tokio::test]
async fn operators_of_several_nodes_put_no_sink_too_many() {
    let (Subject { sync, node, .. }, redis) = with_sink().await;
    let mut putting = Vec::new();
    for number in 0..2 * limits::SINKS {
        let store = open(&redis, &node).await;
        putting.push(async move {
            let mut put = sink(&group(), &format!("s{number}"));
            if number % 4 == 0 {
                put.target = Target::Redis;
            }
            store.put_sink(&put, false, Wall(1)).await
        });
    }
    let put = futures_util::future::join_all(putting).await;
    let taken = put.iter().filter(|put| matches!(put, Err(StoreError::Taken { .. }))).count();
    let made = put.iter().filter(|put| put.is_ok()).count();
    assert_eq!((made, taken), (limits::SINKS - 1, limits::SINKS + 1), "{put:?}");
    let sinks = sync.sinks(Some(&group())).await.unwrap();
    assert_eq!(sinks.len(), limits::SINKS);
    assert!(sinks.iter().filter(|row| row.sink.target == Target::Redis).count() <= 1);
}

#[tokio::test]
async fn a_deleted_sink_leaves_no_key() {
    let (Subject { sync, .. }, redis) = with_sink().await;
    let kept = async || {
        let keys: Vec<String> =
            redis::cmd("KEYS").arg("*").query_async(&mut redis.connect().await).await.unwrap();
        // The group itself stays.
        keys.into_iter()
            .filter(|key| !matches!(&**key, "pl:groups" | "pl:{g}:group" | "pl:{g}:changes"))
            .collect()
    };
    let key = lane("a");
    let failed = Progress {
        after: 0,
        failures: 1,
        failing_since: Some(Wall(2)),
        retry_at: Some(Wall(3)),
        error: Some("no".into()),
    };
    sync.note_failure(&key, &failed).await.unwrap();
    sync.put_sink(&sink(&group(), "a"), false, Wall(4)).await.unwrap();
    assert_eq!(sync.progress(&key).await.unwrap(), Some(Progress { retry_at: None, ..failed.clone() }));
    sync.note_failure(&key, &failed).await.unwrap();
    assert!(sync.bury(&LaneKey { lane: Lane::Events, ..key.clone() }, 0, 1, &letter()).await.unwrap());
    assert!(sync.delete_sink(&group(), &key.sink).await.unwrap());
    let keys: Vec<String> = kept().await;
    assert_eq!(keys, [""; 0]);
}

#[tokio::test]
async fn few_dead_letters_are_kept() {
    let (Subject { sync, .. }, redis) = with_sink().await;
    let key = lane("a");
    let count = limits::DEAD_LETTERS as u64 + 5;
    for place in 0..count {
        assert!(sync.bury(&key, place, place + 1, &letter()).await.unwrap());
    }
    assert_eq!(sync.count_dead_letters(&group(), &key.sink).await.unwrap(), limits::DEAD_LETTERS as u64);
    assert_eq!(sync.dead_letters(&group(), &key.sink, 0, 1).await.unwrap()[0].number, 6);
    let times: usize = redis::cmd("ZCARD")
        .arg(dead_keys(&group(), &key.sink).1)
        .query_async(&mut redis.connect().await)
        .await
        .unwrap();
    assert_eq!(times, limits::DEAD_LETTERS);
    let old = sync.forget_dead_letters(&group(), Wall(6)).await.unwrap();
    assert_eq!(old, limits::DEAD_LETTERS as u64);
    assert_eq!(sync.count_dead_letters(&group(), &key.sink).await.unwrap(), 0);
}

#[tokio::test]
async fn runs_beyond_those_kept_are_forgotten() {
    let (Subject { sync, .. }, redis) = with_sink().await;
    for number in 1..=limits::SYNC_RUNS as u128 + 3 {
        sync.put_run(&run(number)).await.unwrap();
    }
    let mut redis = redis.connect().await;
    for (what, name) in [("ZCARD", "runs"), ("HLEN", "run-rows"), ("SCARD", "runs-open")] {
        let count: usize = redis::cmd(what).arg(named(&group(), name)).query_async(&mut redis).await.unwrap();
        assert_eq!(count, limits::SYNC_RUNS, "{name}");
    }
    assert_eq!(sync.runs(&group(), None, 1).await.unwrap(), [run(limits::SYNC_RUNS as u128 + 3)]);
}
