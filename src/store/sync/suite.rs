//! The obligations of every [`SyncStore`], as tests over a factory. [`obligations!`] runs them all.

use std::sync::Arc;
use std::time::Duration;

use super::{Cause, DeadLetter, LaneKey, Progress, RunCursor, RunRow, Sink, SinkRun, SyncStore};
use crate::clock::Wall;
use crate::ids::{GroupId, RunId, SessionId, SinkId};
use crate::limits;
use crate::model::event::{Ended, Event, What, samples};
use crate::model::session::EndReason;
use crate::model::settings::Settings;
use crate::model::sink::{Lane, Takes, Target};
use crate::store::events::Retention;
use crate::store::records::{LetGo, RecordQuery};
use crate::store::sqlite::SqliteStore;
use crate::store::{EventLog, SessionRecords, Store, StoreError};

/// Declares a test per obligation: `obligations!(name, async || (store, what must outlive it))`.
macro_rules! obligations {
    ($name:ident, $fresh:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "a factory uses what it needs")]
            use super::*;

            crate::store::sync::suite::obligations!(@each $fresh;
                sinks_are_kept_as_they_were_put, sinks_are_few, places_move_from_where_they_are,
                what_is_buried_moves_on, a_deleted_sink_leaves_nothing, ended_sessions_keep_their_places,
                runs_are_listed_newest_first, lost_runs_are_ended,
                old_records_are_let_go_of, records_wait_for_their_sinks, old_dead_letters_are_forgotten);
        }
    };
    (@each $fresh:expr; $($obligation:ident),*) => {
        $(
            #[tokio::test]
            async fn $obligation() {
                let (store, _keep) = ($fresh)().await;
                crate::store::sync::suite::$obligation(std::sync::Arc::new(store)).await;
            }
        )*
    };
}
pub(crate) use obligations;

/// All that these obligations are about: records come of events.
pub(crate) trait Subject: Send + Sync + 'static {
    fn groups(&self) -> &dyn Store;
    fn log(&self) -> &dyn EventLog;
    fn records(&self) -> &dyn SessionRecords;
    fn sync(&self) -> &dyn SyncStore;
}

impl Subject for SqliteStore {
    fn groups(&self) -> &dyn Store {
        self
    }

    fn log(&self) -> &dyn EventLog {
        self
    }

    fn records(&self) -> &dyn SessionRecords {
        self
    }

    fn sync(&self) -> &dyn SyncStore {
        self
    }
}

fn gid(name: &str) -> GroupId {
    GroupId::new(name).unwrap()
}

fn sink(group: &str, id: &str) -> Sink {
    Sink {
        group: gid(group),
        id: SinkId::new(id).unwrap(),
        target: Target::Webhook { url: "https://example.com/hook".to_owned() },
        takes: Takes { records: true, ..Takes::default() },
        enabled: true,
    }
}

fn lane(group: &str, id: &str, lane: Lane) -> LaneKey {
    LaneKey { group: gid(group), sink: SinkId::new(id).unwrap(), lane }
}

fn letter(id: &str) -> DeadLetter {
    DeadLetter { number: 0, id: id.to_owned(), body: "{}".to_owned(), at: Wall(5), error: "no".to_owned() }
}

async fn group(store: &Arc<impl Subject>, name: &str) {
    store.groups().put_group(&gid(name), &Settings::default(), None, "it", Wall(1)).await.unwrap();
}

pub(crate) async fn sinks_are_kept_as_they_were_put(store: Arc<impl Subject>) {
    group(&store, "g").await;
    store.log().append(vec![samples::event("g", 1, What::Paused)]).await.unwrap();
    let first = store.sync().put_sink(&sink("g", "a"), true, Wall(7)).await.unwrap();
    assert_eq!((first.generation, first.created_at, first.rotated_at), (1, Wall(7), None));
    assert_eq!(store.sync().progress(&lane("g", "a", Lane::Events)).await.unwrap().unwrap().after, 1);
    assert_eq!(
        store.sync().progress(&lane("g", "a", Lane::Records)).await.unwrap(),
        Some(Progress::default())
    );
    assert_eq!(store.sync().progress(&lane("g", "b", Lane::Records)).await.unwrap(), None);
    store.sync().disable_sink(&gid("g"), &first.sink.id, "gone").await.unwrap();
    let off = store.sync().sink(&gid("g"), &first.sink.id).await.unwrap().unwrap();
    assert!(!off.sink.enabled && off.disabled.as_deref() == Some("gone"));
    let changed = Sink { takes: Takes { every_event: true, ..Takes::default() }, ..sink("g", "a") };
    let second = store.sync().put_sink(&changed, true, Wall(9)).await.unwrap();
    assert_eq!((second.generation, second.created_at, second.rotated_at), (2, Wall(7), Some(Wall(9))));
    assert_eq!((second.disabled.clone(), &second.sink), (None, &changed));
    let third = store.sync().put_sink(&changed, false, Wall(10)).await.unwrap();
    assert_eq!(third, second);
    assert_eq!(store.sync().sinks(None).await.unwrap(), std::slice::from_ref(&third));
    assert_eq!(store.sync().sinks(Some(&gid("g"))).await.unwrap(), [third]);
    assert_eq!(store.sync().sinks(Some(&gid("h"))).await.unwrap(), []);
    let nowhere = store.sync().put_sink(&sink("nowhere", "a"), false, Wall(1)).await;
    assert!(matches!(nowhere, Err(StoreError::NoGroup(_))), "{nowhere:?}");
}

pub(crate) async fn sinks_are_few(store: Arc<impl Subject>) {
    group(&store, "g").await;
    let redis = |id: &str| Sink { target: Target::Redis, ..sink("g", id) };
    store.sync().put_sink(&redis("0"), false, Wall(1)).await.unwrap();
    let twin = store.sync().put_sink(&redis("1"), false, Wall(1)).await;
    assert!(matches!(twin, Err(StoreError::Taken { what: "redis" })), "{twin:?}");
    for number in 1..limits::SINKS {
        store.sync().put_sink(&sink("g", &number.to_string()), false, Wall(1)).await.unwrap();
    }
    let more = store.sync().put_sink(&sink("g", "more"), false, Wall(1)).await;
    assert!(matches!(more, Err(StoreError::Taken { what: "sinks" })), "{more:?}");
    store.sync().put_sink(&sink("g", "1"), false, Wall(1)).await.unwrap();
}

pub(crate) async fn places_move_from_where_they_are(store: Arc<impl Subject>) {
    group(&store, "g").await;
    store.sync().put_sink(&sink("g", "a"), false, Wall(1)).await.unwrap();
    let key = lane("g", "a", Lane::Records);
    let failed = Progress {
        after: 0,
        failures: 3,
        failing_since: Some(Wall(5)),
        retry_at: Some(Wall(9)),
        error: Some("no route".to_owned()),
    };
    store.sync().note_failure(&key, &failed).await.unwrap();
    assert_eq!(store.sync().progress(&key).await.unwrap(), Some(failed.clone()));
    assert!(store.sync().advance(&key, 0, 3).await.unwrap());
    assert_eq!(
        store.sync().progress(&key).await.unwrap(),
        Some(Progress { after: 3, ..Progress::default() })
    );
    assert!(!store.sync().advance(&key, 0, 4).await.unwrap(), "it is not there");
    assert!(!store.sync().advance(&key, 3, 2).await.unwrap(), "it never goes back");
    store.sync().note_failure(&key, &failed).await.unwrap();
    assert_eq!(
        store.sync().progress(&key).await.unwrap().unwrap().failures,
        0,
        "a failure elsewhere is past"
    );
}

pub(crate) async fn what_is_buried_moves_on(store: Arc<impl Subject>) {
    group(&store, "g").await;
    store.sync().put_sink(&sink("g", "a"), false, Wall(1)).await.unwrap();
    let key = lane("g", "a", Lane::Events);
    assert!(store.sync().bury(&key, 0, 1, &letter("e1")).await.unwrap());
    assert!(!store.sync().bury(&key, 0, 1, &letter("e1")).await.unwrap(), "once");
    assert!(store.sync().bury(&key, 1, 2, &letter("e2")).await.unwrap());
    let dead = store.sync().dead_letters(&key.group, &key.sink, 0, 10).await.unwrap();
    assert_eq!(dead.iter().map(|letter| &*letter.id).collect::<Vec<_>>(), ["e1", "e2"]);
    assert_eq!(dead[0], DeadLetter { number: 1, ..letter("e1") });
    store.sync().forget_dead_letter(&key.group, &key.sink, 1).await.unwrap();
    assert_eq!(store.sync().count_dead_letters(&key.group, &key.sink).await.unwrap(), 1);
    let rest = store.sync().dead_letters(&key.group, &key.sink, 1, 10).await.unwrap();
    assert_eq!(rest, [DeadLetter { number: 2, ..letter("e2") }]);
    assert_eq!(store.sync().progress(&key).await.unwrap().unwrap().after, 2);
}

pub(crate) async fn a_deleted_sink_leaves_nothing(store: Arc<impl Subject>) {
    group(&store, "g").await;
    let row = store.sync().put_sink(&sink("g", "a"), false, Wall(1)).await.unwrap();
    let key = lane("g", "a", Lane::Records);
    store.sync().bury(&key, 0, 9, &letter("r")).await.unwrap();
    assert!(store.sync().delete_sink(&gid("g"), &row.sink.id).await.unwrap());
    assert!(!store.sync().delete_sink(&gid("g"), &row.sink.id).await.unwrap());
    assert!(!store.sync().advance(&key, 9, 10).await.unwrap());
    store.sync().put_sink(&sink("g", "a"), false, Wall(2)).await.unwrap();
    assert_eq!(store.sync().progress(&key).await.unwrap(), Some(Progress::default()));
    assert_eq!(store.sync().count_dead_letters(&gid("g"), &row.sink.id).await.unwrap(), 0);
}

fn of_session(session: u128, number: u128, what: What) -> Event {
    Event { session: Some(SessionId::from_u128(session)), ..samples::event("g", number, what) }
}

pub(crate) async fn ended_sessions_keep_their_places(store: Arc<impl Subject>) {
    let created = |session| {
        let what = samples::everything().into_iter().find(|what| matches!(what, What::Created(_))).unwrap();
        of_session(session, 100 + session, what)
    };
    let ended = |session| {
        let relayed = crate::model::event::Relayed::default();
        of_session(session, 200 + session, What::Ended(Ended { reason: EndReason::AgentEnded, relayed }))
    };
    store.log().append(vec![created(1), created(2), created(3)]).await.unwrap();
    assert_eq!(store.sync().ended_records(&gid("g"), 0, 10).await.unwrap(), []);
    store.log().append(vec![ended(2)]).await.unwrap();
    store.log().append(vec![of_session(2, 300, What::RecordLogged), ended(1)]).await.unwrap();
    store.log().append(vec![ended(2)]).await.unwrap();
    let places = async |after, most| -> Vec<(u64, SessionId)> {
        let records = store.sync().ended_records(&gid("g"), after, most).await.unwrap();
        records.into_iter().map(|(place, record)| (place, record.session)).collect()
    };
    let session = SessionId::from_u128;
    assert_eq!(places(0, 10).await, [(1, session(2)), (2, session(1))]);
    assert_eq!(places(0, 1).await, [(1, session(2))]);
    store.log().append(vec![ended(3)]).await.unwrap();
    assert_eq!(places(2, 10).await, [(3, session(3))]);
    assert_eq!(store.sync().ended_records(&gid("h"), 0, 10).await.unwrap(), []);
}

fn run(number: u64, cause: Cause) -> RunRow {
    RunRow {
        id: RunId::from_u128(u128::from(number)),
        group: gid("g"),
        cause,
        started_at: Wall(number * 10),
        ended_at: None,
        sinks: Vec::new(),
        lost: false,
    }
}

pub(crate) async fn runs_are_listed_newest_first(store: Arc<impl Subject>) {
    for number in 1..=3 {
        let cause = if number == 3 { Cause::Asked } else { Cause::Schedule };
        store.sync().put_run(&run(number, cause)).await.unwrap();
    }
    let sinks = vec![SinkRun { sink: SinkId::new("a").unwrap(), count: 4, error: Some("x".to_owned()) }];
    let done = RunRow { ended_at: Some(Wall(25)), sinks, ..run(2, Cause::Schedule) };
    store.sync().put_run(&done).await.unwrap();
    let listed = store.sync().runs(&gid("g"), None, 2).await.unwrap();
    assert_eq!(listed, [run(3, Cause::Asked), done.clone()]);
    let before = RunCursor { started_at: Wall(20), run: done.id };
    assert_eq!(store.sync().runs(&gid("g"), Some(before), 2).await.unwrap(), [run(1, Cause::Schedule)]);
    assert_eq!(store.sync().last_scheduled_run(&gid("g")).await.unwrap(), Some(done));
    assert_eq!(store.sync().last_scheduled_run(&gid("h")).await.unwrap(), None);
}

pub(crate) async fn lost_runs_are_ended(store: Arc<impl Subject>) {
    group(&store, "g").await;
    store.sync().put_run(&run(1, Cause::Schedule)).await.unwrap();
    let done = RunRow { ended_at: Some(Wall(21)), ..run(2, Cause::Schedule) };
    store.sync().put_run(&done).await.unwrap();
    assert_eq!(store.sync().end_lost_runs(Wall(30)).await.unwrap(), 1);
    let lost = RunRow { ended_at: Some(Wall(30)), lost: true, ..run(1, Cause::Schedule) };
    assert_eq!(store.sync().runs(&gid("g"), None, 9).await.unwrap(), [done, lost]);
    assert_eq!(store.sync().end_lost_runs(Wall(31)).await.unwrap(), 0);
}

/// A session that ended at this second, and by now has a record.
async fn ended_at(store: &Arc<impl Subject>, session: u64, second: u64) {
    let created = samples::everything().into_iter().find(|what| matches!(what, What::Created(_))).unwrap();
    let relayed = crate::model::event::Relayed::default();
    let ended = What::Ended(Ended { reason: EndReason::AgentEnded, relayed });
    let at = |number: u64, what| Event {
        at: Wall(second * 1000),
        ..of_session(u128::from(session), u128::from(number), what)
    };
    store.log().append(vec![at(1_000 + session, created), at(2_000 + session, ended)]).await.unwrap();
}

/// The sessions whose records are there, newest first.
async fn kept(store: &Arc<impl Subject>) -> Vec<u64> {
    let page = store.records().session_records(&gid("g"), RecordQuery::default()).await.unwrap();
    let number = |session: SessionId| u64::from_be_bytes(session.bytes()[8..].try_into().unwrap());
    page.records.iter().map(|record| number(record.session)).collect()
}

const fn keep(seconds: u64, count: u64) -> Retention {
    Retention { age: Duration::from_secs(seconds), count }
}

const fn gone(records: u64, unsent: u64) -> LetGo {
    LetGo { records, unsent }
}

async fn trim(store: &Arc<impl Subject>, keep: Retention, second: u64) -> LetGo {
    store.records().trim_records(&gid("g"), keep, Wall(second * 1000)).await.unwrap()
}

pub(crate) async fn old_records_are_let_go_of(store: Arc<impl Subject>) {
    group(&store, "g").await;
    assert_eq!(trim(&store, keep(1, 1), 9).await, gone(0, 0));
    for session in 1..=6 {
        ended_at(&store, session, 10 * session).await;
    }
    let open = samples::everything().into_iter().find(|what| matches!(what, What::Created(_))).unwrap();
    store.log().append(vec![Event { at: Wall(1), ..of_session(7, 9_999, open) }]).await.unwrap();
    assert_eq!(trim(&store, keep(50, 10), 60).await, gone(0, 0), "as old as is kept");
    assert_eq!(trim(&store, keep(50, 10), 61).await, gone(1, 0), "older");
    assert_eq!(trim(&store, keep(50, 10), 61).await, gone(0, 0));
    assert_eq!(kept(&store).await, [6, 5, 4, 3, 2, 7]);
    assert_eq!(trim(&store, keep(1_000, 3), 61).await, gone(2, 0), "more than are kept");
    assert_eq!(store.records().trim_records(&gid("h"), keep(0, 0), Wall(1 << 40)).await.unwrap(), gone(0, 0));
    assert_eq!(kept(&store).await, [6, 5, 4, 7]);
    let by_agent = RecordQuery { agent: crate::ids::AgentId::new("alice").ok(), ..RecordQuery::default() };
    assert_eq!(store.records().session_records(&gid("g"), by_agent).await.unwrap().records.len(), 4);
    assert_eq!(store.records().statistics(&gid("g"), Wall(0), Wall(61_000)).await.unwrap()[0].asked, 4);

    // Nothing is left but what has not ended, and a place is still given once.
    assert_eq!(trim(&store, keep(1, 0), 100).await, gone(3, 0));
    assert_eq!(trim(&store, keep(1, 0), 100).await, gone(0, 0));
    assert_eq!(kept(&store).await, [7]);
    ended_at(&store, 8, 100).await;
    let places: Vec<u64> = store
        .sync()
        .ended_records(&gid("g"), 0, 9)
        .await
        .unwrap()
        .into_iter()
        .map(|(place, _)| place)
        .collect();
    assert_eq!(places, [7]);
    assert_eq!(trim(&store, keep(1, 9), 200).await, gone(1, 0));

    // In bounded steps.
    let many = limits::RECORD_TRIM as u64 + 5;
    for session in 10..10 + many {
        ended_at(&store, session, 200).await;
    }
    // One place of the step is that of the record that went before.
    assert_eq!(trim(&store, keep(1, 9), 300).await, gone(many - 6, 0));
    assert_eq!(trim(&store, keep(1, 9), 300).await, gone(6, 0));
}

pub(crate) async fn records_wait_for_their_sinks(store: Arc<impl Subject>) {
    group(&store, "g").await;
    store.sync().put_sink(&sink("g", "a"), false, Wall(1)).await.unwrap();
    let events = Takes { every_event: true, ..Takes::default() };
    store.sync().put_sink(&Sink { takes: events, ..sink("g", "b") }, false, Wall(1)).await.unwrap();
    store.sync().put_sink(&Sink { enabled: false, ..sink("g", "c") }, false, Wall(1)).await.unwrap();
    for session in 1..=6 {
        ended_at(&store, session, 10 * session).await;
    }
    assert!(store.sync().advance(&lane("g", "a", Lane::Records), 0, 2).await.unwrap());
    assert_eq!(trim(&store, keep(40, 100), 90).await, gone(2, 0), "what was handed over goes");
    assert_eq!(trim(&store, keep(100, 3), 90).await, gone(0, 0), "the others wait");
    assert_eq!(kept(&store).await, [6, 5, 4, 3]);
    // But not for ever.
    assert_eq!(trim(&store, keep(25, 100), 90).await, gone(1, 1));
    assert_eq!(trim(&store, keep(100, 1), 90).await, gone(1, 1));
    assert_eq!(kept(&store).await, [6, 5]);
    // What is let go of before a sink had it is passed over, and what comes behind is not.
    let rest = store.sync().ended_records(&gid("g"), 2, 9).await.unwrap();
    assert_eq!(rest.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [5, 6]);
    // A sink that is switched off waits for nothing, and holds nothing up.
    store.sync().disable_sink(&gid("g"), &SinkId::new("a").unwrap(), "gone").await.unwrap();
    assert_eq!(trim(&store, keep(40, 1), 90).await, gone(1, 0));
}

pub(crate) async fn old_dead_letters_are_forgotten(store: Arc<impl Subject>) {
    group(&store, "g").await;
    store.sync().put_sink(&sink("g", "a"), false, Wall(1)).await.unwrap();
    let key = lane("g", "a", Lane::Events);
    for (at, place) in [(5, 1), (7, 2)] {
        assert!(
            store
                .sync()
                .bury(&key, place - 1, place, &DeadLetter { at: Wall(at), ..letter("e") })
                .await
                .unwrap()
        );
    }
    assert_eq!(store.sync().forget_dead_letters(&gid("h"), Wall(9)).await.unwrap(), 0);
    assert_eq!(store.sync().forget_dead_letters(&gid("g"), Wall(7)).await.unwrap(), 1);
    let left = store.sync().dead_letters(&gid("g"), &key.sink, 0, 9).await.unwrap();
    assert_eq!(left.iter().map(|letter| letter.at).collect::<Vec<_>>(), [Wall(7)]);
}
