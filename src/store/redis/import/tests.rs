//! A group that was moved is in Redis what it was in SQLite, however often the move died.

use std::time::Duration;

use super::super::server::Redis;
use super::super::{RedisLog, RedisReceipts, RedisStore};
use super::*;
use crate::clock::Wall;
use crate::ids::{AgentId, AgentKey, EventId, ReceiptId, RunId, SessionId, SinkId};
use crate::model::event::{Actor, Event, Lead, samples};
use crate::model::settings::Settings;
use crate::model::sink::{Takes, Target};
use crate::store::events::Retention;
use crate::store::feed::PostsQuery;
use crate::store::receipts::suite;
use crate::store::sync::{Cause, DeadLetter, Progress, RunRow, Sink};
use crate::store::{Feed as _, Leads as _, Store as _};

fn group() -> GroupId {
    GroupId::new("a").unwrap()
}

fn sample(wanted: fn(&What) -> bool) -> What {
    samples::everything().into_iter().find(wanted).unwrap()
}

fn event(number: u64, what: What) -> Event {
    Event { at: Wall(number), session: None, ..samples::event("a", number.into(), what) }
}

fn place() -> Place {
    Place { object: "Case".into(), id: "500".into() }
}

fn post(number: u64) -> Event {
    Event {
        session: Some(SessionId::from_u128(number.into())),
        actor: Actor::Agent(AgentId::new("alice").unwrap()),
        ..event(number, sample(|what| matches!(what, What::FeedPosted(_))))
    }
}

fn lead(number: u64) -> Event {
    let What::LeadCreated(lead) = sample(|what| matches!(what, What::LeadCreated(_))) else { unreachable!() };
    event(number, What::LeadCreated(Lead { email: format!("L{number}@example.com"), ..lead }))
}

fn sink() -> Sink {
    Sink {
        group: group(),
        id: SinkId::new("crm").unwrap(),
        target: Target::Webhook { url: "https://example.com/".into() },
        takes: Takes { every_event: true, records: true, ..Takes::default() },
        enabled: true,
    }
}

fn lane(lane: Lane) -> LaneKey {
    LaneKey { group: group(), sink: sink().id, lane }
}

fn run(number: u64, cause: Cause) -> RunRow {
    RunRow {
        id: RunId::from_u128(number.into()),
        group: group(),
        cause,
        started_at: Wall(number),
        ended_at: Some(Wall(number + 1)),
        sinks: Vec::new(),
        lost: number == 2,
    }
}

/// A store with some of everything, of which the oldest was let go of.
async fn opened(redis: &Redis) -> RedisLog {
    let link = Link::open(&redis.url()).await.unwrap();
    RedisLog::open(Arc::new(RedisStore::new(link))).await.unwrap()
}

async fn filled() -> Arc<SqliteStore> {
    let store = Arc::new(SqliteStore::in_memory().unwrap());
    store.put_group(&group(), &Settings::default(), None, "it", Wall(1)).await.unwrap();
    for number in (0..1_500).step_by(3) {
        let events = vec![event(number + 1, What::Paused), post(number + 2), lead(number + 3)];
        store.append(events).await.unwrap();
    }
    let keep = Retention { age: Duration::MAX, count: 700 };
    while store.trim(&group(), keep, Wall(9)).await.unwrap() > 0 {}
    for number in 1..=20 {
        store.append_receipt(&group(), suite::seal("a", number)).await.unwrap();
    }
    assert_eq!(store.let_receipts_go(&group(), Wall(6), suite::cut("a", 30)).await.unwrap(), 5);
    store.put_sink(&sink(), true, Wall(7)).await.unwrap();
    let letter = DeadLetter { number: 0, id: "e".into(), body: "{}".into(), at: Wall(5), error: "no".into() };
    for from in 0..3 {
        assert!(store.bury(&lane(Lane::Records), from, from + 1, &letter).await.unwrap());
    }
    store.forget_dead_letter(&group(), &sink().id, 1).await.unwrap();
    let failed = Progress {
        after: 3,
        failures: 2,
        failing_since: Some(Wall(8)),
        retry_at: Some(Wall(9)),
        error: Some("no route".into()),
    };
    store.note_failure(&lane(Lane::Records), &failed).await.unwrap();
    for (number, cause) in [(1, Cause::Schedule), (2, Cause::Asked), (3, Cause::Retry)] {
        store.put_run(&run(number, cause)).await.unwrap();
    }
    store
}

/// The same questions to both stores.
async fn same(from: &Arc<SqliteStore>, redis: &Redis) {
    let link = Link::open(&redis.url()).await.unwrap();
    // Another database, since a group's log is folded into it.
    let log = opened(redis).await;
    let (receipts, sync) =
        (RedisReceipts::new(link.clone()), RedisSync::new(link.clone(), from.clone(), from.clone()));
    let low = from.ends(&group()).await.unwrap().low;
    let mut place_in = After::Sequence(low);
    loop {
        let (old, new) = (
            from.read(&group(), place_in).await.unwrap(),
            log.inner.log.read(&group(), place_in).await.unwrap(),
        );
        assert_eq!(old.events[..old.events.len().min(new.events.len())], new.events);
        assert!(new.recovered && old.recovered);
        if new.events.is_empty() {
            assert_eq!(old.events, []);
            break;
        }
        place_in = After::Sequence(new.cursor);
    }
    assert_eq!(place_in, After::Sequence(1_500));
    let query = PostsQuery { most: 50, ..PostsQuery::default() };
    let posts = from.posts(&group(), &place(), query).await.unwrap();
    assert_eq!(log.posts(&group(), &place(), query).await.unwrap(), posts);
    let oldest = EventId::from_u128(2);
    assert_eq!(log.post(&group(), oldest).await.unwrap(), from.post(&group(), oldest).await.unwrap());
    assert_eq!(log.leads(&group(), 0, 900).await.unwrap(), from.leads(&group(), 0, 900).await.unwrap());
    assert_eq!(receipts.receipts(&group(), 0).await.unwrap(), from.receipts(&group(), 0).await.unwrap());
    assert_eq!(receipts.beginning(&group()).await.unwrap(), from.beginning(&group()).await.unwrap());
    let id = ReceiptId::from_u128(9);
    assert_eq!(receipts.receipt(&group(), id).await.unwrap(), from.receipt(&group(), id).await.unwrap());
    assert_eq!(receipts.next_receipt(&group()).await.unwrap(), from.next_receipt(&group()).await.unwrap());
    assert_eq!(sync.sinks(Some(&group())).await.unwrap(), from.sinks(Some(&group())).await.unwrap());
    for which in [Lane::Events, Lane::Records] {
        let key = lane(which);
        assert_eq!(sync.progress(&key).await.unwrap(), from.progress(&key).await.unwrap());
    }
    let letters = from.dead_letters(&group(), &sink().id, 0, 9).await.unwrap();
    assert_eq!(sync.dead_letters(&group(), &sink().id, 0, 9).await.unwrap(), letters);
    assert_eq!(sync.runs(&group(), None, 9).await.unwrap(), from.runs(&group(), None, 9).await.unwrap());
    let last = from.last_scheduled_run(&group()).await.unwrap();
    assert_eq!(sync.last_scheduled_run(&group()).await.unwrap(), last);
}

#[tokio::test]
async fn a_group_is_moved_as_it_was_and_goes_on() {
    let (from, redis) = (filled().await, Redis::start().await);
    let import = Import::new(Arc::clone(&from), Link::open(&redis.url()).await.unwrap());
    let counted = import.group(&group()).await.unwrap();
    assert!(counted.iter().all(|counted| counted.from == counted.to), "{counted:?}");
    let counts: Vec<_> = counted.iter().map(|counted| counted.to).collect();
    assert_eq!(counts, [700, 500, 500, 15, 1, 2, 3]);
    same(&from, &redis).await;
    // Once more changes nothing.
    assert_eq!(import.group(&group()).await.unwrap(), counted);
    same(&from, &redis).await;
    // What was posted and whoever is a lead is so once; what is new comes behind.
    let log = opened(&redis).await;
    let again = |event: Event| Event { id: EventId::from_u128(9_999), ..event };
    let appended =
        vec![again(post(2)), again(lead(3)), event(1_499, What::Paused), event(5_000, What::Paused)];
    let given = log.inner.log.append(&group(), &appended, 0).await.unwrap();
    assert_eq!(given[..2], [2, 3]);
    assert_eq!(given[3], 1_501.max(given[2] + 1));
    let receipts = RedisReceipts::new(Link::open(&redis.url()).await.unwrap());
    let sealed = receipts.append_receipt(&group(), suite::seal("a", 21)).await.unwrap();
    assert_eq!(sealed.line, suite::seal("a", 21)(&from.next_receipt(&group()).await.unwrap()).line);
}

#[tokio::test]
async fn a_move_that_died_is_made_again() {
    let (from, mut redis) = (filled().await, Redis::start().await);
    let mut deaths = 0;
    loop {
        let link = Link::open(&redis.url()).await.unwrap();
        let import = Import::new(Arc::clone(&from), link);
        let whose = group();
        let moving = import.group(&whose);
        tokio::pin!(moving);
        // Each time it comes some commands further.
        let mut connection = redis.connect().await;
        let died = async {
            for _ in 0..=deaths * 3 {
                let _: String = redis::cmd("PING").query_async(&mut connection).await.unwrap();
            }
        };
        tokio::select! {
            biased;
            moved = &mut moving => {
                let moved = moved.unwrap();
                assert!(moved.iter().all(|counted| counted.from == counted.to), "{moved:?}");
                break;
            }
            () = died => deaths += 1,
        }
        if deaths == 3 {
            redis.kill();
            redis.revive().await;
        }
    }
    assert!(deaths > 0, "it died at least once");
    same(&from, &redis).await;
}

#[tokio::test]
async fn a_log_of_which_nothing_is_left_keeps_its_end() {
    let (from, redis) = (filled().await, Redis::start().await);
    let keep = Retention { age: Duration::MAX, count: 0 };
    while from.trim(&group(), keep, Wall(9)).await.unwrap() > 0 {}
    let import = Import::new(Arc::clone(&from), Link::open(&redis.url()).await.unwrap());
    assert_eq!(import.group(&group()).await.unwrap()[0], Counted { what: "events", from: 0, to: 0 });
    let log = opened(&redis).await;
    assert_eq!(log.inner.log.append(&group(), &[event(5_000, What::Paused)], 0).await.unwrap(), [1_501]);
    let nobody = AgentKey { group: group(), agent: AgentId::new("nobody").unwrap() };
    assert_eq!(from.agent(&nobody).await.unwrap(), None);
}
