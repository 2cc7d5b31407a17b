//! Laws of lists and statistics, over random sessions: what a query finds is what fits, however it is paged and
//! whatever is added meanwhile; days and agents add up to the records.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::suite::Subject;
use super::{DayStatistics, RecordCursor, RecordQuery};
use crate::clock::Wall;
use crate::ids::{AgentId, EventId, GroupId, SessionId, VisitorId};
use crate::model::event::{Accepted, Actor, Asking, Created, Ended, Event, Logged, Relayed, What};
use crate::model::session::EndReason;
use crate::model::session_record::{Outcome, SessionRecord, Status};
use crate::store::sqlite::SqliteStore;
use crate::wire::agent::Record;
use crate::wire::visitor::SessionKind;

const HOUR: u64 = 3_600_000;

fn group() -> GroupId {
    GroupId::new("g").unwrap()
}

fn agent(number: u8) -> AgentId {
    AgentId::new(["alice", "bob", "carol"][usize::from(number)]).unwrap()
}

fn visitor(number: u8) -> VisitorId {
    VisitorId::new(&format!("C-{number}")).unwrap()
}

fn kind(number: u8) -> SessionKind {
    [SessionKind::Screen, SessionKind::View][usize::from(number)]
}

/// How a session went.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    hour: u64,
    agent: u8,
    helper: Option<u8>,
    visitor: u8,
    record: Option<u8>,
    kind: u8,
    how: u8,
    frames: u64,
}

fn story() -> impl Strategy<Value = Story> {
    let who = (0..3u8, prop::option::of(0..3u8), 0..3u8, prop::option::of(0..2u8));
    // Few hours, so that some sessions begin at the same time.
    (0..60u64, who, 0..2u8, 0..5u8, 0..1_000u64).prop_map(
        |(hour, (agent, helper, visitor, record), kind, how, frames)| Story {
            hour: hour * 2,
            agent,
            helper,
            visitor,
            record,
            kind,
            how,
            frames,
        },
    )
}

impl Story {
    fn events(&self, number: u64) -> Vec<Event> {
        let mut agents = vec![agent(self.agent)];
        agents.extend(self.helper.map(agent).filter(|helper| *helper != agents[0]));
        let created = Created {
            kind: kind(self.kind),
            visitor: Some(visitor(self.visitor)),
            agent: Some(agent(self.agent)),
        };
        let mut words = vec![What::Created(created)];
        let accepted = |version: Option<&str>, agents: &[AgentId]| {
            What::Accepted(Accepted {
                version: version.map(Into::into),
                receipt: None,
                connection: version.map(|_| "c1".into()),
                agents: agents.to_vec(),
            })
        };
        match self.how {
            0 => words.extend([accepted(Some("v1"), &agents), What::Started]),
            1 => words.extend([accepted(None, &agents), What::Started]),
            2 => words.push(What::Declined(Asking { agents: agents.clone(), connection: None })),
            3 => words.push(What::Expired(Asking { agents: agents.clone(), connection: None })),
            _ => {}
        }
        if self.how < 4 {
            let frames = if self.how < 2 { self.frames } else { 0 };
            let relayed = Relayed { frames, bytes: frames * 100 };
            words.push(What::Ended(Ended { reason: EndReason::GuestEnded, relayed }));
        }
        let words = words.into_iter().zip(0u64..);
        let record = self.record.map(|id| Record {
            object: "Case".into(),
            id: id.to_string().into(),
            name: None,
            url: None,
        });
        words
            .map(|(what, step)| Event {
                id: EventId::from_u128(u128::from(number * 10 + step)),
                group: group(),
                at: Wall(self.hour * HOUR + step * 700),
                session: Some(SessionId::from_u128(u128::from(number))),
                request: None,
                actor: Actor::Agent(agent(self.agent)),
                record: record.clone(),
                what,
            })
            .collect()
    }

    fn folded(&self, number: u64) -> SessionRecord {
        let events = self.events(number).into_iter().zip(1..);
        let fold = |before, (event, sequence)| SessionRecord::apply(before, &Logged { sequence, event });
        events.fold(None, fold).expect("it was created")
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    from: Option<u64>,
    until: Option<u64>,
    agent: Option<u8>,
    visitor: Option<u8>,
    record: Option<u8>,
    kind: Option<u8>,
    outcome: Option<usize>,
    ended: Option<bool>,
}

const OUTCOMES: [Outcome; 5] =
    [Outcome::Accepted, Outcome::NotRequired, Outcome::Declined, Outcome::Expired, Outcome::Pending];

fn wanted() -> impl Strategy<Value = Wanted> {
    let some = |most: u8| prop::option::weighted(0.3, 0..most);
    let times = (prop::option::weighted(0.3, 0..120u64), prop::option::weighted(0.3, 0..120u64));
    let state = prop::option::weighted(0.3, any::<bool>());
    (times, some(3), some(3), some(2), some(2), prop::option::weighted(0.3, 0..5usize), state).prop_map(
        |((from, until), agent, visitor, record, kind, outcome, ended)| Wanted {
            from,
            until,
            agent,
            visitor,
            record,
            kind,
            outcome,
            ended,
        },
    )
}

impl Wanted {
    fn query(&self) -> RecordQuery {
        RecordQuery {
            from: self.from.map(|hour| Wall(hour * HOUR)),
            until: self.until.map(|hour| Wall(hour * HOUR)),
            agent: self.agent.map(agent),
            visitor: self.visitor.map(visitor),
            record: self.record.map(|id| ("Case".to_owned(), id.to_string())),
            kind: self.kind.map(kind),
            outcome: self.outcome.map(|at| OUTCOMES[at]),
            status: self.ended.map(|ended| if ended { Status::Ended } else { Status::Requested }),
            after: None,
            limit: None,
        }
    }

    fn fits(&self, record: &SessionRecord) -> bool {
        let hour = record.created.0 / HOUR;
        self.from.is_none_or(|from| hour >= from)
            && self.until.is_none_or(|until| hour < until)
            && self.agent.is_none_or(|wanted| record.agents.contains(&agent(wanted)))
            && self.visitor.is_none_or(|wanted| record.visitor == Some(visitor(wanted)))
            && self.record.is_none_or(|id| record.record.as_ref().is_some_and(|at| *at.id == *id.to_string()))
            && self.kind.is_none_or(|wanted| record.kind == kind(wanted))
            && self.outcome.is_none_or(|at| record.outcome == OUTCOMES[at])
            && self.ended.is_none_or(|ended| (record.status == Status::Ended) == ended)
    }
}

/// Sessions by their place in a list, newest first.
fn listed(records: impl IntoIterator<Item = SessionRecord>) -> Vec<SessionId> {
    let mut records: Vec<_> = records.into_iter().map(|record| (record.created, record.session)).collect();
    records.sort_unstable_by(|one, other| other.cmp(one));
    records.into_iter().map(|(_, session)| session).collect()
}

/// What each agent did on each day, from the records alone.
fn counted(records: &[SessionRecord], from: Wall, until: Wall) -> Vec<DayStatistics> {
    let mut days: BTreeMap<(String, AgentId), DayStatistics> = BTreeMap::new();
    for record in records.iter().filter(|record| (from..until).contains(&record.created)) {
        for agent in &record.agents {
            let day = record.created.to_string()[..10].to_owned();
            let row = days.entry((day.clone(), agent.clone())).or_insert_with(|| DayStatistics {
                day,
                agent: agent.clone(),
                asked: 0,
                accepted: 0,
                declined: 0,
                started: 0,
                duration_ms: 0,
                frames: 0,
                bytes: 0,
            });
            row.asked += 1;
            row.accepted += u64::from(matches!(record.outcome, Outcome::Accepted | Outcome::NotRequired));
            row.declined += u64::from(record.outcome == Outcome::Declined);
            row.started += u64::from(record.started.is_some());
            row.duration_ms += record.duration_ms();
            row.frames += record.relayed.frames;
            row.bytes += record.relayed.bytes;
        }
    }
    days.into_values().collect()
}

/// Sessions, those that begin later, what is asked for, how long a page is, and a span in hours.
pub(crate) type Case = (Vec<Story>, Vec<Story>, Vec<Wanted>, usize, (u64, u64));

pub(crate) fn case() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(story(), 1..30),
        prop::collection::vec(story(), 0..10),
        prop::collection::vec(wanted(), 6),
        1..5usize,
        (0..120u64, 0..120u64),
    )
}

/// The laws over one case, in a store where nothing is yet.
pub(crate) fn hold(runtime: &Runtime, store: &impl Subject, case: Case) -> Result<(), TestCaseError> {
    let (stories, late, queries, size, span) = case;
    let add = |story: &Story, number: u64| {
        runtime.block_on(store.append(story.events(number))).unwrap();
    };
    let mut records = Vec::new();
    for (story, number) in stories.iter().zip(1..) {
        add(story, number);
        records.push(story.folded(number));
    }
    for wanted in &queries {
        let page = runtime.block_on(store.session_records(&group(), wanted.query())).unwrap();
        let found: Vec<SessionId> = page.records.iter().map(|record| record.session).collect();
        let fitting = records.iter().filter(|record| wanted.fits(record)).cloned();
        prop_assert_eq!(found, listed(fitting), "{:?}", wanted);
    }
    let (from, until) = (Wall(span.0 * HOUR), Wall(span.1 * HOUR));
    let told = runtime.block_on(store.statistics(&group(), from, until)).unwrap();
    prop_assert_eq!(told, counted(&records, from, until));

    // Sessions that begin while somebody turns pages neither hide nor double what was there.
    for wanted in &queries[..2] {
        let before = listed(records.iter().filter(|record| wanted.fits(record)).cloned());
        let (mut seen, mut after) = (Vec::new(), None::<RecordCursor>);
        let mut late = late.iter();
        loop {
            let query = RecordQuery { after, limit: Some(size), ..wanted.query() };
            let page = runtime.block_on(store.session_records(&group(), query)).unwrap();
            prop_assert!(page.records.len() <= size);
            seen.extend(page.records);
            let Some(next) = page.next else { break };
            after = Some(next);
            if let Some(story) = late.next() {
                let number = records.len() as u64 + 1;
                add(story, number);
                records.push(story.folded(number));
            }
        }
        let sessions: Vec<SessionId> = seen.iter().map(|record| record.session).collect();
        prop_assert_eq!(&sessions, &listed(seen), "in order, and none twice");
        let still: Vec<SessionId> =
            sessions.iter().filter(|session| before.contains(session)).copied().collect();
        prop_assert_eq!(still, before);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn lists_find_what_fits_and_statistics_add_up(case in case()) {
        hold(&Runtime::new().unwrap(), &SqliteStore::in_memory().unwrap(), case)?;
    }
}
