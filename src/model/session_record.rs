//! The record of one session: what is left of it for lists, exports and statistics.
//!
//! Decides what a session's events add up to. Applying an event twice, or again after later ones, changes
//! nothing: the record remembers how far it has read. Kept by the store in the very transaction that
//! appends the events, so that the log and the records never disagree.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::{Actor, Kind, Logged, ReceiptRef, Relayed, What};
use super::session::{EndReason, Person};
use crate::clock::Wall;
use crate::ids::{AgentId, GroupId, ParticipantId, RequestId, SessionId, VisitorId};
use crate::limits;
use crate::wire::agent::Record;
use crate::wire::session::Side;
use crate::wire::visitor::SessionKind;

/// How far a session came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The question stands.
    Requested,
    /// Somebody's turn to connect.
    Connecting,
    /// The publisher is there.
    Active,
    /// Over.
    Ended,
}

/// What came of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not answered yet.
    Pending,
    /// The visitor accepted the terms.
    Accepted,
    /// Nothing had to be accepted.
    NotRequired,
    /// The visitor said no.
    Declined,
    /// The agents took it back.
    Cancelled,
    /// Nobody answered in time.
    Expired,
    /// The visitor went before answering.
    VisitorGone,
    /// The server could not go on.
    Failed,
}

/// Declares the names of an enum that is written in snake case.
macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal),* $(,)? }) => {
        impl $type {
            /// The name on every wire and in the store.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Reads a name.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

names!(Status { Requested = "requested", Connecting = "connecting", Active = "active", Ended = "ended" });
names!(Outcome {
    Pending = "pending",
    Accepted = "accepted",
    NotRequired = "not_required",
    Declined = "declined",
    Cancelled = "cancelled",
    Expired = "expired",
    VisitorGone = "visitor_gone",
    Failed = "failed",
});

/// Somebody who took part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attendance {
    /// Who.
    #[serde(flatten)]
    pub person: Person,
    /// When it came.
    pub joined: Wall,
    /// When it went; at the latest the session's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Wall>,
}

/// A time in which an agent had control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlUse {
    /// Whose.
    pub participant: ParticipantId,
    /// The agent it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// From.
    pub granted: Wall,
    /// To.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Wall>,
}

/// A time in which something else was shown than the session's kind says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// What.
    pub kind: SessionKind,
    /// From.
    pub shown: Wall,
    /// To.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Wall>,
}

/// What is left of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRecord {
    /// Its id.
    pub session: SessionId,
    /// The request that opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// Whose.
    pub group: GroupId,
    /// Whose screen, and how.
    pub kind: SessionKind,
    /// How far it came.
    pub status: Status,
    /// The CRM record it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// The visitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor: Option<VisitorId>,
    /// Every agent that asked or watched, in the order in which each was first heard of.
    pub agents: Vec<AgentId>,
    /// Who took part, in the order of coming: agents and guests.
    pub attendance: Vec<Attendance>,
    /// What came of the question.
    pub outcome: Outcome,
    /// The version of the terms that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms_version: Option<Arc<str>>,
    /// When the terms were on the screen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub displayed: Option<Wall>,
    /// When the question was answered or dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Wall>,
    /// From which connection of its node the visitor answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Arc<str>>,
    /// The receipt of the acceptance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptRef>,
    /// When agents had control.
    pub control: Vec<ControlUse>,
    /// What was shown instead of what the kind says; at most [`limits::ALSO_SHOWN`] times, of which the last one lasts
    /// as long as those that would follow it: what was shown is never told as less than it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_shown: Vec<Shown>,
    /// When it was asked for.
    pub created: Wall,
    /// When the publisher came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Wall>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Wall>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// What was relayed.
    pub relayed: Relayed,
    /// The time of the newest event in it.
    pub touched: Wall,
    /// The sequence of the newest event in it.
    pub read: u64,
}

impl SessionRecord {
    /// Applies one event to what its session's record was before. Events of other kinds than a session's
    /// and its request's leave it as it is; only `session.created` makes one.
    pub fn apply(before: Option<Self>, logged: &Logged) -> Option<Self> {
        let event = &logged.event;
        let session = event.session?;
        let mut record = match (before, &event.what) {
            (Some(record), _) if logged.sequence <= record.read => return Some(record),
            (Some(record), _) => record,
            (None, What::Created(created)) => Self {
                session,
                request: event.request,
                group: event.group.clone(),
                kind: created.kind,
                status: Status::Requested,
                record: event.record.clone(),
                visitor: created.visitor.clone(),
                agents: created.agent.iter().cloned().collect(),
                attendance: Vec::new(),
                // Whoever shows its own screen asks nobody.
                outcome: if created.kind == SessionKind::Show {
                    Outcome::NotRequired
                } else {
                    Outcome::Pending
                },
                terms_version: None,
                displayed: None,
                answered: None,
                connection: None,
                receipt: None,
                control: Vec::new(),
                also_shown: Vec::new(),
                created: event.at,
                started: None,
                ended: None,
                end_reason: None,
                relayed: Relayed::default(),
                touched: event.at,
                read: logged.sequence,
            },
            (None, _) => return None,
        };
        record.read = logged.sequence;
        record.touched = record.touched.max(event.at);
        record.take(event.at, &event.what, &event.actor);
        Some(record)
    }

    /// How long it ran: from the publisher's coming to the end.
    pub fn duration_ms(&self) -> u64 {
        match (self.started, self.ended) {
            (Some(started), Some(ended)) => ended.0.saturating_sub(started.0),
            _ => 0,
        }
    }

    /// Those who took part on one side.
    pub fn side(&self, side: Side) -> impl Iterator<Item = &Attendance> {
        self.attendance.iter().filter(move |attendance| attendance.person.side == side)
    }

    fn take(&mut self, at: Wall, what: &What, actor: &Actor) {
        match what {
            What::Offered(offered) => {
                if offered.required {
                    self.terms_version = Some(Arc::clone(&offered.version));
                }
                if let Actor::Agent(agent) = actor {
                    self.know(agent);
                }
            }
            What::Displayed => self.displayed = self.displayed.or(Some(at)),
            What::Accepted(accepted) => {
                let met = if accepted.version.is_some() { Outcome::Accepted } else { Outcome::NotRequired };
                self.answer(met, at, &accepted.agents);
                self.connection.clone_from(&accepted.connection);
                self.receipt = accepted.receipt;
                self.status = Status::Connecting;
            }
            What::Declined(asking) => {
                self.answer(Outcome::Declined, at, &asking.agents);
                self.connection.clone_from(&asking.connection);
            }
            What::Cancelled(asking) => self.answer(Outcome::Cancelled, at, &asking.agents),
            What::Expired(asking) => self.answer(Outcome::Expired, at, &asking.agents),
            What::VisitorGone(asking) => self.answer(Outcome::VisitorGone, at, &asking.agents),
            What::Failed(asking) => self.answer(Outcome::Failed, at, &asking.agents),
            What::Started => {
                self.started = self.started.or(Some(at));
                self.status = Status::Active;
            }
            What::Joined(person) => {
                if let Some(agent) = &person.agent {
                    self.know(agent);
                }
                self.attendance.push(Attendance { person: person.clone(), joined: at, left: None });
            }
            What::Left(person) => {
                let here =
                    |a: &&mut Attendance| a.person.participant == person.participant && a.left.is_none();
                if let Some(attendance) = self.attendance.iter_mut().find(here) {
                    attendance.left = Some(at);
                }
            }
            What::ControlGranted(person) => {
                self.end_control(at);
                self.control.push(ControlUse {
                    participant: person.participant,
                    agent: person.agent.clone(),
                    granted: at,
                    ended: None,
                });
            }
            What::ControlRevoked => self.end_control(at),
            What::Shows(shows) => self.show(shows.kind, at),
            What::Ended(ended) => {
                self.end_control(at);
                self.show(self.kind, at);
                self.attendance
                    .iter_mut()
                    .for_each(|attendance| attendance.left = attendance.left.or(Some(at)));
                if self.outcome == Outcome::Pending {
                    self.answer(Outcome::Failed, at, &[]);
                }
                self.status = Status::Ended;
                self.ended = Some(at);
                self.end_reason = Some(ended.reason);
                self.relayed = ended.relayed;
            }
            What::Waiting if self.status == Status::Requested => self.status = Status::Connecting,
            What::Created(_)
            | What::Waiting
            | What::Paused
            | What::Resumed
            | What::FeedPosted(_)
            | What::LeadCreated(_)
            | What::RecordLogged
            | What::SyncStarted(_)
            | What::SyncFinished(_)
            | What::SyncFailed(_)
            | What::SettingsChanged(_)
            | What::AuthRefused(_) => {}
        }
    }

    fn answer(&mut self, outcome: Outcome, at: Wall, agents: &[AgentId]) {
        self.outcome = outcome;
        self.answered = Some(at);
        agents.iter().for_each(|agent| self.know(agent));
    }

    fn know(&mut self, agent: &AgentId) {
        if !self.agents.contains(agent) {
            self.agents.push(agent.clone());
        }
    }

    /// From now on this is shown.
    fn show(&mut self, kind: SessionKind, at: Wall) {
        if let Some(open) = self.also_shown.last_mut().filter(|shown| shown.ended.is_none()) {
            open.ended = Some(at);
        }
        if kind == self.kind {
            return;
        }
        let full = self.also_shown.len() == limits::ALSO_SHOWN;
        match self.also_shown.last_mut().filter(|_| full) {
            Some(last) => last.ended = None,
            None => self.also_shown.push(Shown { kind, shown: at, ended: None }),
        }
    }

    fn end_control(&mut self, at: Wall) {
        if let Some(open) = self.control.last_mut().filter(|control| control.ended.is_none()) {
            open.ended = Some(at);
        }
    }
}

/// Whether events of a kind may change a session's record.
pub fn concerns(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::FeedPosted
            | Kind::LeadCreated
            | Kind::SyncStarted
            | Kind::SyncFinished
            | Kind::SyncFailed
            | Kind::SettingsChanged
            | Kind::AuthRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Accepted, Asking, Created, Ended, Shows, samples};
    use proptest::prelude::*;

    fn logged(sequence: u64, what: What) -> Logged {
        Logged { sequence, event: samples::event("g", u128::from(sequence), what) }
    }

    fn created() -> What {
        made(SessionKind::Screen)
    }

    fn made(kind: SessionKind) -> What {
        What::Created(Created {
            kind,
            visitor: Some(VisitorId::new("C-1").unwrap()),
            agent: Some(AgentId::new("alice").unwrap()),
        })
    }

    fn fold(events: &[Logged]) -> Option<SessionRecord> {
        events.iter().fold(None, SessionRecord::apply)
    }

    fn story(words: Vec<What>) -> SessionRecord {
        let events: Vec<_> =
            words.into_iter().zip(1..).map(|(what, sequence)| logged(sequence, what)).collect();
        fold(&events).unwrap()
    }

    fn ended(reason: EndReason) -> What {
        What::Ended(Ended { reason, relayed: Relayed { frames: 3, bytes: 300 } })
    }

    #[test]
    fn a_session_from_the_question_to_the_end() {
        let (alice, agents) = (samples::person(5), vec![AgentId::new("bob").unwrap()]);
        let receipt = Some(ReceiptRef { id: crate::ids::ReceiptId::from_u128(1), number: 1 });
        let record = story(vec![
            created(),
            What::Displayed,
            What::Accepted(Accepted {
                version: Some("v1".into()),
                receipt,
                connection: Some("c1".into()),
                agents,
            }),
            What::Started,
            What::Joined(alice.clone()),
            What::ControlGranted(alice.clone()),
            What::ControlRevoked,
            What::ControlGranted(alice.clone()),
            What::Left(alice.clone()),
            What::Joined(samples::person(6)),
            ended(EndReason::GuestEnded),
            What::RecordLogged,
        ]);
        let at = |sequence: u64| Wall(1_893_456_000_000 + sequence);
        assert_eq!((record.status, record.outcome), (Status::Ended, Outcome::Accepted));
        assert_eq!(record.connection.as_deref(), Some("c1"));
        assert_eq!(record.agents.iter().map(AgentId::as_str).collect::<Vec<_>>(), ["alice", "bob"]);
        assert_eq!(
            (record.displayed, record.answered, record.started),
            (Some(at(2)), Some(at(3)), Some(at(4)))
        );
        assert_eq!((record.duration_ms(), record.relayed.frames, record.receipt), (7, 3, receipt));
        let stays: Vec<_> = record.side(Side::Agent).map(|a| (a.joined, a.left)).collect();
        assert_eq!(stays, [(at(5), Some(at(9))), (at(10), Some(at(11)))]);
        let control: Vec<_> = record.control.iter().map(|c| (c.granted, c.ended)).collect();
        assert_eq!(control, [(at(6), Some(at(7))), (at(8), Some(at(11)))]);
        assert_eq!(record.record.unwrap().id.as_ref(), "500");
    }

    #[test]
    fn a_question_without_a_session() {
        let no = Asking { connection: Some("c2".into()), ..Asking::default() };
        let record = story(vec![created(), What::Declined(no), ended(EndReason::Declined)]);
        assert_eq!((record.status, record.outcome), (Status::Ended, Outcome::Declined));
        assert_eq!(record.connection.as_deref(), Some("c2"));
        assert_eq!((record.started, record.duration_ms()), (None, 0));
        let lost = story(vec![created(), ended(EndReason::NodeLost)]);
        assert_eq!((lost.outcome, lost.end_reason), (Outcome::Failed, Some(EndReason::NodeLost)));
    }

    #[test]
    fn what_was_shown_instead_of_the_page_is_told_with_its_times() {
        let begun = || vec![made(SessionKind::Cobrowse), What::Started];
        let shows = |kind| What::Shows(Shows { kind });
        let at = |sequence: u64| Wall(1_893_456_000_000 + sequence);
        let told = |words: Vec<What>| {
            let record = story(begun().into_iter().chain(words).collect());
            assert_eq!(record.kind, SessionKind::Cobrowse);
            assert!(record.also_shown.iter().all(|shown| shown.kind == SessionKind::Screen));
            record.also_shown.iter().map(|shown| (shown.shown, shown.ended)).collect::<Vec<_>>()
        };
        let (screen, page) = (shows(SessionKind::Screen), shows(SessionKind::Cobrowse));
        assert_eq!(told(vec![]), []);
        assert_eq!(told(vec![page.clone()]), []);
        assert_eq!(told(vec![screen.clone()]), [(at(3), None)]);
        let twice = vec![screen.clone(), page.clone(), What::Paused, screen.clone()];
        assert_eq!(told(twice.clone()), [(at(3), Some(at(4))), (at(6), None)]);
        let over = told([twice, vec![ended(EndReason::GuestEnded)]].concat());
        assert_eq!(over, [(at(3), Some(at(4))), (at(6), Some(at(7)))]);

        // Back and forth without end: the record stays small, and a screen that is shown is told as one.
        let often: Vec<_> = std::iter::repeat_n([screen.clone(), page], 500).flatten().collect();
        let (first, last) = (told(often.clone()), told([often, vec![screen]].concat()));
        assert_eq!((first.len(), last.len()), (limits::ALSO_SHOWN, limits::ALSO_SHOWN));
        let from = at(1 + 2 * limits::ALSO_SHOWN as u64);
        assert_eq!(first.last(), Some(&(from, Some(at(1_002)))));
        assert_eq!(last.last(), Some(&(from, None)));
    }

    #[test]
    fn nothing_makes_a_record_but_its_creation() {
        for what in samples::everything() {
            let makes = matches!(what, What::Created(_));
            assert_eq!(fold(&[logged(1, what.clone())]).is_some(), makes, "{what:?}");
        }
    }

    #[test]
    fn what_does_not_concern_a_record_leaves_it() {
        let before = story(vec![created()]);
        for what in samples::everything().into_iter().filter(|what| !concerns(what.kind())) {
            let after = SessionRecord::apply(Some(before.clone()), &logged(2, what)).unwrap();
            assert_eq!(SessionRecord { read: before.read, touched: before.touched, ..after }, before);
        }
    }

    #[test]
    fn json_keeps_everything() {
        let record = story(samples::everything().into_iter().rev().chain([created()]).rev().collect());
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<SessionRecord>(&text).unwrap(), record);
    }

    proptest! {
        #[test]
        fn replaying_any_prefix_twice_changes_nothing(
            picks in prop::collection::vec(0..samples::everything().len(), 0..40),
            cut in 0usize..41,
        ) {
            let all = samples::everything();
            let words = std::iter::once(created()).chain(picks.into_iter().map(|pick| all[pick].clone()));
            let events: Vec<_> = words.zip(1..).map(|(what, sequence)| logged(sequence, what)).collect();
            let once = fold(&events);
            let cut = cut.min(events.len());
            let twice: Vec<_> = events[..cut].iter().chain(&events).chain(&events[..cut]).cloned().collect();
            prop_assert_eq!(fold(&twice), once);
        }
    }
}
