//! The queue beside logs that fail as disks do.

use super::*;
use crate::clock::Wall;
use crate::ids::SessionId;
use crate::model::event::{Created, Logged, samples};
use crate::store::Undone;
use crate::store::events::{After, Page, Retention};
use crate::store::sqlite::SqliteStore;
use crate::wire::visitor::SessionKind;
use async_trait::async_trait;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// A log that fails when told to.
#[derive(Default)]
struct Flaky {
    written: Mutex<Vec<Event>>,
    /// How many appends fail before the next goes through.
    failures: AtomicUsize,
    /// An event that is never taken.
    poison: Option<EventId>,
    tries: watch::Sender<usize>,
}

#[async_trait]
impl EventLog for Flaky {
    async fn append(&self, events: Vec<Event>) -> Result<Vec<u64>, StoreError> {
        self.tries.send_modify(|tries| *tries += 1);
        let failing = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if failing.is_ok() {
            return Err(Undone.into());
        }
        if events.iter().any(|event| Some(event.id) == self.poison) {
            return Err(StoreError::Unreadable { what: "it".into(), why: "poison".into() });
        }
        let count = events.len() as u64;
        self.written.lock().extend(events);
        Ok((1..=count).collect())
    }

    async fn read(&self, _: &GroupId, _: After) -> Result<Page, StoreError> {
        Err(StoreError::Closed)
    }

    async fn timeline(&self, _: &GroupId, _: SessionId, _: u64) -> Result<Page, StoreError> {
        Err(StoreError::Closed)
    }

    fn newest(&self, _: &GroupId) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    async fn trim(&self, _: &GroupId, _: Retention, _: Wall) -> Result<u64, StoreError> {
        Ok(0)
    }
}

fn event(number: u64) -> Event {
    samples::event("g", u128::from(number), What::Paused)
}

fn numbers(log: &Flaky) -> Vec<u64> {
    log.written.lock().iter().map(|event| event.at.0 - 1_893_456_000_000).collect()
}

fn refused(scrape: &metrics_exporter_prometheus::PrometheusHandle) -> bool {
    let text = scrape.render();
    let mut counts = text.lines().filter(|line| line.starts_with("porchlight_events_refused_total{"));
    counts.any(|line| !line.ends_with(" 0"))
}

fn assert_refused(scrape: &metrics_exporter_prometheus::PrometheusHandle, reason: &str, count: u64) {
    let wanted = format!("porchlight_events_refused_total{{reason=\"{reason}\"}} {count}\n");
    assert!(scrape.render().contains(&wanted), "{wanted}{}", scrape.render());
}

#[tokio::test]
async fn events_wait_for_a_disk_that_is_full_and_keep_their_order() {
    let log = Arc::new(Flaky { failures: 2.into(), ..Flaky::default() });
    let (meters, scrape) = Meters::new();
    let events = Events::start(Arc::clone(&log) as _, meters);
    for number in 1..=600 {
        events.write(event(number));
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    log.tries.subscribe().wait_for(|tries| *tries >= 3).await.unwrap();
    events.close().await;
    assert_eq!(numbers(&log), (1..=600).collect::<Vec<_>>());
    assert!(!refused(&scrape));
}

#[test]
fn pauses_grow_to_a_bound() {
    let pauses: Vec<_> =
        std::iter::successors(Some(limits::EVENT_RETRY.0), |p| Some(next_pause(*p))).take(9).collect();
    assert!(pauses.is_sorted() && pauses[1] == 2 * pauses[0]);
    assert_eq!(pauses.last(), Some(&limits::EVENT_RETRY.1));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_counted() {
    let log = Arc::new(Flaky { failures: usize::MAX.into(), ..Flaky::default() });
    let (meters, scrape) = Meters::new();
    let events = Events::start(Arc::clone(&log) as _, meters);
    for number in 0..limits::EVENT_QUEUE as u64 {
        assert_eq!(events.is_busy(), number >= limits::EVENT_QUEUE_BUSY as u64, "{number}");
        events.write(event(number));
    }
    assert!(!refused(&scrape));
    events.write(event(1));
    events.write(event(2));
    assert_refused(&scrape, "full", 2);
}

#[tokio::test]
async fn an_event_that_is_never_taken_holds_nobody_up() {
    let log = Arc::new(Flaky { poison: Some(EventId::from_u128(5)), ..Flaky::default() });
    let (meters, scrape) = Meters::new();
    let events = Events::start(Arc::clone(&log) as _, meters);
    (1..=9).for_each(|number| events.write(event(number)));
    events.close().await;
    assert_eq!(numbers(&log), [1, 2, 3, 4, 6, 7, 8, 9]);
    assert_refused(&scrape, "unwritable", 1);
}

#[tokio::test]
async fn an_end_that_cannot_write_is_told() {
    let log = Arc::new(Flaky { failures: usize::MAX.into(), ..Flaky::default() });
    let (meters, scrape) = Meters::new();
    let events = Events::start(Arc::clone(&log) as _, meters);
    (1..=3).for_each(|number| events.write(event(number)));
    events.close_within(limits::EVENT_RETRY.0).await;
    events.write(event(4));
    assert_refused(&scrape, "ended", 4);
}

#[tokio::test]
async fn a_flood_of_refusals_is_counted_not_told() {
    let log = Arc::new(Flaky::default());
    let events = Events::start(Arc::clone(&log) as _, Meters::new().0);
    let (group, start) = (GroupId::new("g").unwrap(), Now::default());
    let told = u64::from(limits::AUTH_REFUSED_EVENTS);
    for _ in 0..told + 70 {
        events.refused(&group, start, Door::SignIn, "wrong");
    }
    events.refused(&group, start.after(limits::AUTH_REFUSED_WINDOW), Door::Visitor, "no token");
    events.close().await;
    let written = log.written.lock();
    assert_eq!(written.len() as u64, told + 1);
    let What::AuthRefused(last) = &written.last().unwrap().what else { panic!("{written:?}") };
    assert_eq!((last.untold, last.door), (70, Door::Visitor));
}

#[tokio::test]
async fn sessions_of_a_dead_node_are_ended_once() {
    let store = SqliteStore::in_memory().unwrap();
    let created = What::Created(Created { kind: SessionKind::Screen, visitor: None, agent: None });
    for session in 1..=3u128 {
        let event = Event {
            session: Some(SessionId::from_u128(session)),
            ..samples::event("g", session, created.clone())
        };
        store.append(vec![event]).await.unwrap();
    }
    assert_eq!(end_lost(&store, &store).await.unwrap(), 3);
    assert_eq!(end_lost(&store, &store).await.unwrap(), 0);
    let group = GroupId::new("g").unwrap();
    let record = store.session_record(&group, SessionId::from_u128(2)).await.unwrap().unwrap();
    assert_eq!((record.end_reason, record.ended), (Some(EndReason::NodeLost), Some(record.created)));
    let events: Vec<Logged> = store.read(&group, After::Sequence(3)).await.unwrap().events;
    assert_eq!(events.len(), 6);
}

#[tokio::test]
async fn no_events_are_none_refused() {
    let events = Events::start(Arc::new(Flaky::default()), Meters::new().0);
    events.close().await;
    events.write_together(Vec::new());
    assert!(!events.inner.queue.lock().overflowing);
    events.write_together(vec![event(1)]);
    assert!(events.inner.queue.lock().overflowing);
}
