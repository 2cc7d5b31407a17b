//! The obligations of every [`SessionRecords`], as tests over a factory that is an [`EventLog`] as well.

use super::{RecordQuery, SessionRecords};
use crate::clock::Wall;
use crate::ids::{AgentId, EventId, GroupId, SessionId, VisitorId};
use crate::model::event::{Accepted, Actor, Asking, Created, Ended, Event, Offered, Relayed, What};
use crate::model::session::EndReason;
use crate::model::session_record::{Outcome, SessionRecord, Status};
use crate::store::EventLog;
use crate::wire::agent::Record;
use crate::wire::visitor::SessionKind;

/// Declares a test per obligation: `obligations!(name, async || (store, what must outlive it))`.
macro_rules! obligations {
    ($name:ident, $fresh:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "a factory uses what it needs")]
            use super::*;

            crate::store::records::suite::obligations!(@each $fresh;
                records_follow_their_events, records_are_found_by_what_is_asked, lists_come_in_pages,
                days_and_agents_add_up, open_records_are_found, a_repeated_append_changes_no_record);
        }
    };
    (@each $fresh:expr; $($obligation:ident),*) => {
        $(
            #[tokio::test]
            async fn $obligation() {
                let (store, _keep) = ($fresh)().await;
                crate::store::records::suite::$obligation(&store).await;
            }
        )*
    };
}
pub(crate) use obligations;

/// What keeps both.
pub(crate) trait Subject: SessionRecords + EventLog {}

impl<T: SessionRecords + EventLog> Subject for T {}

const DAY: u64 = 24 * 3600 * 1000;

fn gid(name: &str) -> GroupId {
    GroupId::new(name).unwrap()
}

fn aid(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

fn sid(session: u64) -> SessionId {
    SessionId::from_u128(u128::from(session))
}

/// One session's story; `number` is its id and, in minutes, its time.
struct Story {
    group: &'static str,
    number: u64,
    agent: &'static str,
    visitor: &'static str,
    record: Option<&'static str>,
    end: Option<Outcome>,
}

const STORY: Story = Story {
    group: "a",
    number: 1,
    agent: "alice",
    visitor: "C-1",
    record: None,
    end: Some(Outcome::Accepted),
};

impl Story {
    fn events(&self) -> Vec<Event> {
        let Self { group, number, agent, visitor, record, end } = self;
        let asking = || Asking { agents: vec![aid(agent)], connection: Some("c7".into()) };
        let mut words = vec![
            What::Created(Created {
                kind: SessionKind::Screen,
                visitor: Some(VisitorId::new(visitor).unwrap()),
                agent: Some(aid(agent)),
            }),
            What::Offered(Offered { required: true, version: "v1".into(), control: false }),
        ];
        let relayed = match end {
            Some(Outcome::Accepted) => {
                let agents = vec![aid(agent), aid("helper")];
                let accepted = Accepted {
                    version: Some("v1".into()),
                    receipt: None,
                    connection: Some("c6".into()),
                    agents,
                };
                words.extend([What::Accepted(accepted), What::Started]);
                Relayed { frames: 10, bytes: 1_000 }
            }
            Some(_) => {
                words.push(What::Declined(asking()));
                Relayed::default()
            }
            None => Relayed::default(),
        };
        if end.is_some() {
            words.extend([What::Ended(Ended { reason: EndReason::GuestEnded, relayed }), What::RecordLogged]);
        }
        let words = words.into_iter().zip(0u64..);
        words
            .map(|(what, step)| Event {
                id: EventId::from_u128(u128::from(number * 100 + step)),
                group: gid(group),
                at: Wall(number * 60_000 + step),
                session: Some(sid(*number)),
                request: None,
                actor: Actor::Agent(aid(agent)),
                record: record.map(|id| Record {
                    object: "Case".into(),
                    id: id.into(),
                    name: None,
                    url: None,
                }),
                what,
            })
            .collect()
    }

    async fn tell(self, store: &impl Subject) -> Vec<Event> {
        let events = self.events();
        store.append(events.clone()).await.unwrap();
        events
    }
}

/// What happens to sessions of the group `a`: three that ended, one of them after a refusal, and one that goes on.
pub(crate) fn stories() -> Vec<Event> {
    let stories = [
        Story { number: 5_000, record: Some("500"), ..STORY },
        Story { number: 5_001, agent: "bob", visitor: "C-2", end: Some(Outcome::Declined), ..STORY },
        Story { number: 5_002, visitor: "C-2", end: None, ..STORY },
        Story { number: 5_003, ..STORY },
    ];
    stories.iter().flat_map(Story::events).collect()
}

async fn found(store: &impl Subject, query: RecordQuery) -> Vec<u64> {
    let page = store.session_records(&gid("a"), query).await.unwrap();
    page.records.iter().map(|record| record.created.0 / 60_000).collect()
}

pub(crate) async fn records_follow_their_events(store: &impl Subject) {
    let events = Story { record: Some("500"), ..STORY }.events();
    let mut last = None;
    for event in events {
        store.append(vec![event]).await.unwrap();
        let record = store.session_record(&gid("a"), sid(1)).await.unwrap().unwrap();
        assert_ne!(last.as_ref(), Some(&record));
        last = Some(record);
    }
    let record: SessionRecord = last.unwrap();
    assert_eq!((record.status, record.outcome), (Status::Ended, Outcome::Accepted));
    assert_eq!((record.agents.len(), record.relayed.frames), (2, 10));
    assert_eq!(store.session_record(&gid("b"), sid(1)).await.unwrap(), None);
    assert_eq!(store.session_record(&gid("a"), sid(2)).await.unwrap(), None);
}

pub(crate) async fn records_are_found_by_what_is_asked(store: &impl Subject) {
    Story { record: Some("500"), ..STORY }.tell(store).await;
    Story { number: 2, agent: "bob", visitor: "C-2", ..STORY }.tell(store).await;
    Story { number: 3, visitor: "C-2", end: Some(Outcome::Declined), ..STORY }.tell(store).await;
    Story { number: 4, end: None, ..STORY }.tell(store).await;
    Story { group: "b", number: 5, ..STORY }.tell(store).await;
    let all = RecordQuery::default;
    assert_eq!(found(store, all()).await, [4, 3, 2, 1]);
    let agent = |name| RecordQuery { agent: Some(aid(name)), ..all() };
    assert_eq!(found(store, agent("alice")).await, [4, 3, 1]);
    assert_eq!(found(store, agent("helper")).await, [2, 1]);
    let visitor = VisitorId::new("C-2").ok();
    assert_eq!(found(store, RecordQuery { visitor: visitor.clone(), ..all() }).await, [3, 2]);
    assert_eq!(found(store, RecordQuery { visitor, ..agent("bob") }).await, [2]);
    let record = |id: &str| RecordQuery { record: Some(("Case".to_owned(), id.to_owned())), ..all() };
    assert_eq!(found(store, record("500")).await, [1]);
    assert!(found(store, record("501")).await.is_empty());
    assert_eq!(found(store, RecordQuery { outcome: Some(Outcome::Declined), ..all() }).await, [3]);
    assert_eq!(found(store, RecordQuery { status: Some(Status::Requested), ..all() }).await, [4]);
    assert_eq!(found(store, RecordQuery { kind: Some(SessionKind::Screen), ..all() }).await.len(), 4);
    assert!(found(store, RecordQuery { kind: Some(SessionKind::Show), ..all() }).await.is_empty());
    let span = RecordQuery { from: Some(Wall(120_000)), until: Some(Wall(240_000)), ..all() };
    assert_eq!(found(store, span.clone()).await, [3, 2]);
    assert_eq!(found(store, RecordQuery { agent: Some(aid("bob")), ..span }).await, [2]);
}

pub(crate) async fn lists_come_in_pages(store: &impl Subject) {
    for number in 1..=5 {
        Story { number, ..STORY }.tell(store).await;
    }
    let whole = || RecordQuery { limit: Some(2), ..RecordQuery::default() };
    let span = || RecordQuery { from: Some(Wall(60_000)), until: Some(Wall(360_000)), ..whole() };
    for asked in [whole(), span()] {
        for agent in [None, Some(aid("alice"))] {
            let (mut after, mut seen) = (None, Vec::new());
            loop {
                let query = RecordQuery { after, agent: agent.clone(), ..asked.clone() };
                let page = store.session_records(&gid("a"), query).await.unwrap();
                assert!(page.records.len() <= 2);
                seen.extend(page.records.iter().map(|record| record.created.0 / 60_000));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(seen, [5, 4, 3, 2, 1]);
        }
    }
    // A place of one question asks no further than the span of another.
    let first = store.session_records(&gid("a"), whole()).await.unwrap();
    let earlier = RecordQuery { after: first.next, until: Some(Wall(180_000)), ..whole() };
    let page = store.session_records(&gid("a"), earlier).await.unwrap();
    assert_eq!(page.records.iter().map(|record| record.created.0 / 60_000).collect::<Vec<_>>(), [2, 1]);
}

pub(crate) async fn days_and_agents_add_up(store: &impl Subject) {
    let (first, second) = (DAY / 60_000, 2 * DAY / 60_000);
    Story { number: first, ..STORY }.tell(store).await;
    Story { number: first + 1, end: Some(Outcome::Declined), ..STORY }.tell(store).await;
    Story { number: second, agent: "bob", ..STORY }.tell(store).await;
    let rows = store.statistics(&gid("a"), Wall(0), Wall(3 * DAY)).await.unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.day.as_str(), row.agent.as_str(), row.asked, row.accepted, row.declined, row.started))
        .collect();
    assert_eq!(
        told,
        [
            ("1970-01-02", "alice", 2, 1, 1, 1),
            ("1970-01-02", "helper", 1, 1, 0, 1),
            ("1970-01-03", "bob", 1, 1, 0, 1),
            ("1970-01-03", "helper", 1, 1, 0, 1),
        ]
    );
    assert_eq!((rows[0].duration_ms, rows[0].frames, rows[0].bytes), (1, 10, 1_000));
    let one = store.statistics(&gid("a"), Wall(2 * DAY), Wall(3 * DAY)).await.unwrap();
    assert_eq!(one.len(), 2);
    assert!(store.statistics(&gid("b"), Wall(0), Wall(3 * DAY)).await.unwrap().is_empty());
}

pub(crate) async fn open_records_are_found(store: &impl Subject) {
    Story { number: 1, ..STORY }.tell(store).await;
    Story { number: 2, end: None, ..STORY }.tell(store).await;
    Story { group: "b", number: 3, end: None, ..STORY }.tell(store).await;
    let open = store.open_session_records().await.unwrap();
    assert_eq!(open.iter().map(|record| record.session).collect::<Vec<_>>(), [sid(2), sid(3)]);
}

pub(crate) async fn a_repeated_append_changes_no_record(store: &impl Subject) {
    let events = STORY.tell(store).await;
    let before = store.session_record(&gid("a"), sid(1)).await.unwrap();
    store.append(events).await.unwrap();
    assert_eq!(store.session_record(&gid("a"), sid(1)).await.unwrap(), before);
}
