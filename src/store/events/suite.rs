//! The obligations of every [`EventLog`], as tests over a factory. [`obligations!`] runs them all.

use std::sync::Arc;
use std::time::Duration;

use super::{After, EventLog, Page, Retention, Tail};
use crate::clock::Wall;
use crate::ids::{EventId, GroupId, SessionId};
use crate::limits;
use crate::model::event::{Event, Kind, What, samples};

/// Declares a test per obligation: `obligations!(name, async || (log, what must outlive it))`.
macro_rules! obligations {
    ($name:ident, $fresh:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "a factory uses what it needs")]
            use super::*;

            crate::store::events::suite::obligations!(@each $fresh;
                every_kind_comes_back_as_it_was, sequences_have_no_gap_and_no_twin,
                groups_are_apart, an_append_may_be_repeated, a_reader_resumes_from_any_place,
                pages_are_bounded, what_is_trimmed_is_told, trimming_keeps_what_is_young_and_few,
                a_place_that_never_was_is_told, a_tail_misses_nothing, a_tail_tells_of_a_gap,
                a_timeline_holds_one_session, concurrent_appends_do_not_mix);
        }
    };
    (@each $fresh:expr; $($obligation:ident),*) => {
        $(
            #[tokio::test]
            async fn $obligation() {
                let (log, _keep) = ($fresh)().await;
                crate::store::events::suite::$obligation(std::sync::Arc::new(log)).await;
            }
        )*
    };
}
pub(crate) use obligations;

type Subject = Arc<dyn EventLog>;

fn gid(name: &str) -> GroupId {
    GroupId::new(name).unwrap()
}

fn event(group: &str, number: u64) -> Event {
    samples::event(group, u128::from(number), What::Paused)
}

fn numbers(page: &Page) -> Vec<u64> {
    page.events.iter().map(|logged| logged.event.at.0 - 1_893_456_000_000).collect()
}

async fn fill(log: &Subject, group: &str, numbers: std::ops::RangeInclusive<u64>) {
    log.append(numbers.map(|number| event(group, number)).collect()).await.unwrap();
}

/// Everything behind a place, page by page.
async fn read_all(log: &Subject, group: &str, mut after: After) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let page = log.read(&gid(group), after).await.unwrap();
        if page.events.is_empty() {
            return all;
        }
        all.extend(numbers(&page));
        after = After::Sequence(page.cursor);
    }
}

const ALL: Retention = Retention { age: Duration::MAX, count: u64::MAX };

pub(crate) async fn every_kind_comes_back_as_it_was(log: Subject) {
    let events: Vec<Event> =
        samples::everything().into_iter().zip(1..).map(|(what, n)| samples::event("a", n, what)).collect();
    log.append(events.clone()).await.unwrap();
    let page = log.read(&gid("a"), After::Start).await.unwrap();
    assert_eq!(page.events.iter().map(|logged| logged.event.clone()).collect::<Vec<_>>(), events);
    assert_eq!(page.events.len(), Kind::ALL.len());
    let bare = Event { session: None, request: None, record: None, ..event("a", 99) };
    log.append(vec![bare.clone()]).await.unwrap();
    let page = log.read(&gid("a"), After::Sequence(page.cursor)).await.unwrap();
    assert_eq!(page.events[0].event, bare);
}

pub(crate) async fn sequences_have_no_gap_and_no_twin(log: Subject) {
    assert_eq!(log.append(vec![event("a", 1), event("a", 2)]).await.unwrap(), [1, 2]);
    assert_eq!(log.append(vec![]).await.unwrap(), [0u64; 0]);
    assert_eq!(log.append(vec![event("a", 3)]).await.unwrap(), [3]);
    let page = log.read(&gid("a"), After::Start).await.unwrap();
    assert_eq!(page.events.iter().map(|logged| logged.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((page.cursor, page.recovered), (3, true));
}

pub(crate) async fn groups_are_apart(log: Subject) {
    let mixed = vec![event("a", 1), event("b", 1), event("a", 2), event("b", 9)];
    assert_eq!(log.append(mixed).await.unwrap(), [1, 1, 2, 2]);
    assert_eq!(read_all(&log, "a", After::Start).await, [1, 2]);
    assert_eq!(read_all(&log, "b", After::Start).await, [1, 9]);
    assert!(read_all(&log, "c", After::Start).await.is_empty());
    let foreign = log.read(&gid("b"), After::Id(EventId::from_u128(2))).await.unwrap();
    assert!(!foreign.recovered, "another group's event is no place in this one");
    assert!(log.timeline(&gid("c"), SessionId::from_u128(2), 0).await.unwrap().events.is_empty());
}

pub(crate) async fn an_append_may_be_repeated(log: Subject) {
    fill(&log, "a", 1..=3).await;
    let again = vec![event("a", 2), event("a", 4), event("a", 3), event("a", 5)];
    assert_eq!(log.append(again).await.unwrap(), [2, 4, 3, 5]);
    assert_eq!(log.append(vec![event("a", 6), event("a", 6)]).await.unwrap(), [6, 6]);
    assert_eq!(read_all(&log, "a", After::Start).await, [1, 2, 3, 4, 5, 6]);
}

pub(crate) async fn a_reader_resumes_from_any_place(log: Subject) {
    fill(&log, "a", 1..=5).await;
    for place in 0..=5u64 {
        let page = log.read(&gid("a"), After::Sequence(place)).await.unwrap();
        assert!(page.recovered);
        assert_eq!(numbers(&page), (place + 1..=5).collect::<Vec<_>>());
        if place > 0 {
            let by_id = log.read(&gid("a"), After::Id(EventId::from_u128(place.into()))).await.unwrap();
            assert_eq!(by_id, page);
        }
    }
    let end = log.read(&gid("a"), After::End).await.unwrap();
    assert_eq!((end.events.len(), end.cursor, end.recovered), (0, 5, true));
}

pub(crate) async fn pages_are_bounded(log: Subject) {
    let many = limits::EVENT_PAGE as u64 + 10;
    fill(&log, "a", 1..=many).await;
    let page = log.read(&gid("a"), After::Start).await.unwrap();
    assert_eq!(page.events.len(), limits::EVENT_PAGE);
    assert_eq!(read_all(&log, "a", After::Start).await, (1..=many).collect::<Vec<_>>());
    // Few that are big: a page ends at its bytes, but never before its first event.
    let text = "x".repeat(limits::EVENT_PAGE_BYTES * 2 / 3);
    for number in 1..=3 {
        let post =
            crate::model::event::Post { post: "p".into(), text: text.clone(), link: None, author: None };
        // On no session, where an agent would post once.
        let event = samples::event("b", number, What::FeedPosted(post));
        log.append(vec![Event { session: None, ..event }]).await.unwrap();
    }
    assert_eq!(log.read(&gid("b"), After::Start).await.unwrap().events.len(), 1);
    assert_eq!(read_all(&log, "b", After::Start).await, [1, 2, 3]);
}

pub(crate) async fn what_is_trimmed_is_told(log: Subject) {
    fill(&log, "a", 1..=10).await;
    fill(&log, "b", 1..=10).await;
    let keep = Retention { count: 4, ..ALL };
    assert_eq!(log.trim(&gid("a"), keep, Wall(0)).await.unwrap(), 6);
    assert_eq!(log.trim(&gid("a"), keep, Wall(0)).await.unwrap(), 0);
    // Whoever has read up to the mark has missed nothing.
    for (place, recovered) in [(0, false), (5, false), (6, true), (8, true), (11, false)] {
        let page = log.read(&gid("a"), After::Sequence(place)).await.unwrap();
        assert_eq!(page.recovered, recovered, "{place}");
        let from = if recovered { place } else { 6 };
        assert_eq!(numbers(&page), (from + 1..=10).collect::<Vec<_>>(), "{place}");
    }
    let by_id = log.read(&gid("a"), After::Id(EventId::from_u128(3))).await.unwrap();
    assert_eq!((by_id.recovered, by_id.events.len()), (false, 4));
    assert!(log.read(&gid("a"), After::Start).await.unwrap().recovered);
    assert_eq!(read_all(&log, "b", After::Start).await.len(), 10, "another group keeps its own");
    assert_eq!(log.append(vec![event("a", 11)]).await.unwrap(), [11], "sequences go on");
    let nothing = Retention { count: 0, ..ALL };
    assert_eq!(log.trim(&gid("a"), nothing, Wall(0)).await.unwrap(), 5);
    assert_eq!(log.append(vec![event("a", 12)]).await.unwrap(), [12], "even from an empty log");
}

pub(crate) async fn trimming_keeps_what_is_young_and_few(log: Subject) {
    fill(&log, "a", 1..=10).await;
    let now = Wall(1_893_456_000_010);
    let keep = Retention { age: Duration::from_millis(3), count: u64::MAX };
    assert_eq!(log.trim(&gid("a"), keep, now).await.unwrap(), 6);
    assert_eq!(read_all(&log, "a", After::Start).await, [7, 8, 9, 10]);
    let both = Retention { age: Duration::from_millis(3), count: 2 };
    assert_eq!(log.trim(&gid("a"), both, now).await.unwrap(), 2);
    assert_eq!(log.trim(&gid("a"), ALL, now).await.unwrap(), 0);
    // A bounded number at once.
    let many = limits::EVENT_TRIM as u64 + 5;
    fill(&log, "b", 1..=many).await;
    let nothing = Retention { count: 0, ..ALL };
    assert_eq!(log.trim(&gid("b"), nothing, now).await.unwrap(), limits::EVENT_TRIM as u64);
    assert_eq!(log.trim(&gid("b"), nothing, now).await.unwrap(), 5);
}

pub(crate) async fn a_place_that_never_was_is_told(log: Subject) {
    fill(&log, "a", 1..=2).await;
    for place in [After::Sequence(3), After::Id(EventId::from_u128(77))] {
        let page = log.read(&gid("a"), place).await.unwrap();
        assert_eq!((page.recovered, numbers(&page)), (false, vec![1, 2]), "{place:?}");
    }
    let page = log.read(&gid("empty"), After::Sequence(1)).await.unwrap();
    assert_eq!((page.recovered, page.events.len(), page.cursor), (false, 0, 0));
}

pub(crate) async fn a_tail_misses_nothing(log: Subject) {
    const EVENTS: u64 = 600;
    fill(&log, "a", 1..=20).await;
    let readers: Vec<_> = (0..3)
        .map(|reader| {
            let mut tail = Tail::new(Arc::clone(&log), gid("a"), After::Sequence(reader));
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while seen.last() != Some(&EVENTS) {
                    let page = tail.next().await.unwrap();
                    assert!(page.recovered);
                    seen.extend(numbers(&page));
                }
                assert_eq!(seen, (reader + 1..=EVENTS).collect::<Vec<_>>());
            })
        })
        .collect();
    for number in 21..=EVENTS {
        log.append(vec![event("b", number), event("a", number)]).await.unwrap();
    }
    for reader in readers {
        tokio::time::timeout(Duration::from_secs(60), reader).await.expect("in time").unwrap();
    }
}

pub(crate) async fn a_tail_tells_of_a_gap(log: Subject) {
    fill(&log, "a", 1..=5).await;
    log.trim(&gid("a"), Retention { count: 0, ..ALL }, Wall(0)).await.unwrap();
    let mut tail = Tail::new(Arc::clone(&log), gid("a"), After::Sequence(2));
    let page = tail.next().await.unwrap();
    assert_eq!(
        (page.recovered, page.events.len()),
        (false, 0),
        "told at once, though there is nothing to read"
    );
    fill(&log, "a", 6..=6).await;
    let page = tail.next().await.unwrap();
    assert_eq!((page.recovered, numbers(&page)), (true, vec![6]));
    // A reader that is slower than the retention.
    fill(&log, "a", 7..=9).await;
    log.trim(&gid("a"), Retention { count: 1, ..ALL }, Wall(0)).await.unwrap();
    let page = tail.next().await.unwrap();
    assert_eq!((page.recovered, numbers(&page)), (false, vec![9]));
}

pub(crate) async fn a_timeline_holds_one_session(log: Subject) {
    let other = |number| Event { session: Some(SessionId::from_u128(50)), ..event("a", number) };
    let none = Event { session: None, ..event("a", 4) };
    log.append(vec![event("a", 1), other(2), event("a", 3), none, event("a", 5)]).await.unwrap();
    let session = SessionId::from_u128(2);
    let page = log.timeline(&gid("a"), session, 0).await.unwrap();
    assert_eq!((numbers(&page), page.cursor), (vec![1, 3, 5], 5));
    assert_eq!(numbers(&log.timeline(&gid("a"), session, 3).await.unwrap()), [5]);
}

pub(crate) async fn concurrent_appends_do_not_mix(log: Subject) {
    let writers: Vec<_> = (0..8u64)
        .map(|writer| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                for round in 0..10 {
                    let first = writer * 1_000 + round * 2 + 1;
                    fill(&log, "a", first..=first + 1).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let all = read_all(&log, "a", After::Start).await;
    assert_eq!(all.len(), 160);
    assert!(all.chunks(2).all(|pair| pair[1] == pair[0] + 1), "each append stays together");
    for writer in 0..8u64 {
        let own: Vec<_> = all.iter().filter(|number| **number / 1_000 == writer).collect();
        assert!(own.is_sorted(), "each writer's order stays");
    }
}
