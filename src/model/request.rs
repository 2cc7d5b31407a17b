//! The question put to a visitor, and the gate behind it.
//!
//! ```text
//! offered → displayed → accepted      side exits: declined · cancelled · expired · visitor_gone
//! ```
//!
//! A [`Request`] is consumed by its answer. Only [`Request::accept`] and [`Request::waive`] make an
//! [`Admission`], and without an `Admission` no ticket into a session about a guest's screen can be made: the
//! terms cannot be skipped. Who asks and who is told is decided in [`super::session`].
//!
//! An agent's own screen is the agent's to show, and nobody has to accept anything: that is an [`OwnScreen`].
//! It makes one kind of publisher only, that very agent, so that no guest's screen is ever shown under it.

#![expect(clippy::result_large_err, reason = "a request that was not answered is handed back whole")]

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ticket::{Chance, Lock, Secret, Token};
use crate::clock::{Now, Tick, Wall};
use crate::ids::{AgentId, ConnectionId, ParticipantId, RequestId, SessionId};
use crate::wire::session::{Role, Side};
use crate::wire::visitor::TermsShown;

/// What the visitor is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// Tells this question from every other.
    pub request: RequestId,
    /// The session that a yes leads to.
    pub session: SessionId,
    /// What must be accepted, or that nothing must.
    pub terms: TermsShown,
    /// How long it stands.
    pub deadline: Duration,
}

/// A question that waits for its answer.
#[derive(Debug)]
pub struct Request {
    question: Question,
    expires: Tick,
    expires_at: Wall,
    displayed: Option<Wall>,
}

/// Why an answer is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It answers another request.
    #[error("the answer names another request")]
    OtherRequest,
    /// The deadline has passed.
    #[error("the request has expired")]
    Late,
    /// The version accepted is not the version asked.
    #[error("the accepted terms are not the ones that were asked")]
    OtherTerms,
}

impl Request {
    /// Puts the question.
    pub fn new(question: Question, now: Now) -> Self {
        let end = now.after(question.deadline);
        Self { question, expires: end.tick, expires_at: end.wall, displayed: None }
    }

    /// What is saved of it.
    pub(super) fn save(&self) -> SavedRequest {
        SavedRequest {
            terms: self.question.terms.clone(),
            deadline_ms: u64::try_from(self.question.deadline.as_millis()).unwrap_or(u64::MAX),
            expires_at: self.expires_at,
            displayed: self.displayed,
        }
    }

    /// The question as it was saved: it stands for what is left of its time, however the clocks of the two
    /// nodes differ never for longer than when it was put.
    pub(super) fn restored(saved: SavedRequest, request: RequestId, session: SessionId, now: Now) -> Self {
        let deadline = Duration::from_millis(saved.deadline_ms);
        let end = now.after(now.left_until(saved.expires_at, deadline));
        let question = Question { request, session, terms: saved.terms, deadline };
        Self { question, expires: end.tick, expires_at: end.wall, displayed: saved.displayed }
    }

    /// The question itself.
    pub(super) fn question(&self) -> &Question {
        &self.question
    }

    /// The request's id.
    pub fn id(&self) -> RequestId {
        self.question.request
    }

    /// What is asked.
    pub fn terms(&self) -> &TermsShown {
        &self.question.terms
    }

    /// When it ends, for the driver's timer.
    pub fn expires(&self) -> Tick {
        self.expires
    }

    /// When it ends, for people.
    pub fn expires_at(&self) -> Wall {
        self.expires_at
    }

    /// Whether it was shown.
    pub fn displayed(&self) -> Option<Wall> {
        self.displayed
    }

    /// Notes that it is on the visitor's screen; true the first time.
    pub fn show(&mut self, now: Now) -> bool {
        let first = self.displayed.is_none();
        self.displayed.get_or_insert(now.wall);
        first
    }

    /// Checks whether an answer is for this request and in time.
    pub fn check(&self, now: Now, request: RequestId) -> Result<(), NotTaken> {
        if request != self.question.request {
            Err(NotTaken::OtherRequest)
        } else if now.tick >= self.expires {
            Err(NotTaken::Late)
        } else {
            Ok(())
        }
    }

    /// The visitor says yes to the version it saw. Consumes the request: it cannot be answered again.
    ///
    /// A client that names no version accepts what it was offered; a client that names another one
    /// has seen another text, and gets the request back unanswered.
    pub fn accept(
        self,
        now: Now,
        request: RequestId,
        version: Option<&str>,
        by: Option<ConnectionId>,
    ) -> Result<Admission, (NotTaken, Self)> {
        if let Err(why) = self.check(now, request) {
            return Err((why, self));
        }
        if version.is_some_and(|version| version != &*self.question.terms.version) {
            return Err((NotTaken::OtherTerms, self));
        }
        let outcome = Outcome::Accepted {
            version: Arc::clone(&self.question.terms.version),
            displayed: self.displayed,
            by,
        };
        Ok(Admission { session: self.question.session, at: now.wall, outcome })
    }

    /// Goes on without a question, where the group asks for none; gives the request back where it does.
    pub fn waive(self, now: Now) -> Result<Admission, Self> {
        if self.question.terms.required {
            return Err(self);
        }
        Ok(Admission { session: self.question.session, at: now.wall, outcome: Outcome::NotRequired })
    }
}

/// What is saved of a question that stands. Nothing but a [`Request`], or what was written of one, makes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedRequest {
    terms: TermsShown,
    deadline_ms: u64,
    expires_at: Wall,
    displayed: Option<Wall>,
}

/// What is saved of a gate that was opened. Nothing but an [`Admission`], or what was written of one, makes it:
/// so a restored session has an admission only because the saved one had it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedAdmission {
    at: Wall,
    /// Absent: nothing had to be accepted.
    accepted: Option<SavedYes>,
}

/// The visitor's yes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SavedYes {
    version: Arc<str>,
    displayed: Option<Wall>,
    /// A connection of the node that saved it, if the yes came over one.
    by: Option<u64>,
}

/// How the terms were met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The visitor accepted this version.
    Accepted {
        /// Of the terms.
        version: Arc<str>,
        /// When they were on the screen, if the page told.
        displayed: Option<Wall>,
        /// From which connection; a guest at the door has none yet.
        by: Option<ConnectionId>,
    },
    /// The group asks for none.
    NotRequired,
}

/// The proof that a session may start. Nothing outside this module can make one, but for the restore of a
/// session that had one.
#[derive(Debug)]
pub struct Admission {
    session: SessionId,
    at: Wall,
    outcome: Outcome,
}

impl Admission {
    /// What is saved of it.
    pub(super) fn save(&self) -> SavedAdmission {
        let accepted = match &self.outcome {
            Outcome::Accepted { version, displayed, by } => {
                Some(SavedYes { version: Arc::clone(version), displayed: *displayed, by: by.map(|by| by.0) })
            }
            Outcome::NotRequired => None,
        };
        SavedAdmission { at: self.at, accepted }
    }

    /// The admission of a session that had one when it was saved. For [`super::session::Session::restore`]
    /// alone: what it takes is made of an admission, so nothing is admitted here that was not admitted before.
    pub(super) fn restored(saved: SavedAdmission, session: SessionId) -> Self {
        let outcome = match saved.accepted {
            Some(SavedYes { version, displayed, by }) => {
                Outcome::Accepted { version, displayed, by: by.map(ConnectionId) }
            }
            None => Outcome::NotRequired,
        };
        Self { session, at: saved.at, outcome }
    }

    /// How the terms were met.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// When.
    pub fn at(&self) -> Wall {
        self.at
    }

    /// The version that was accepted; absent: nothing had to be.
    pub fn version(&self) -> Option<&Arc<str>> {
        match &self.outcome {
            Outcome::Accepted { version, .. } => Some(version),
            Outcome::NotRequired => None,
        }
    }

    /// The ticket of whoever accepted, to show its screen; good until `end`.
    pub fn publisher(&self, end: Now, sharer: Sharer, chance: &mut dyn Chance) -> (Token, Ticket) {
        let Sharer { name, requester, seat } = sharer;
        let holder = Holder { role: Role::Publisher, side: Side::Guest, name, agent: None, requester };
        let (token, ticket) = ticket(self.session, end, holder, chance);
        (token, Ticket { participant: seat.unwrap_or(ticket.participant), ..ticket })
    }

    /// A ticket to watch, good until `end`.
    pub fn viewer(&self, end: Now, watcher: Watcher, chance: &mut dyn Chance) -> (Token, Ticket) {
        ticket(self.session, end, watcher.into(), chance)
    }
}

/// An agent's right to show its own screen. Nothing is accepted, for nobody else's screen can be shown under it.
#[derive(Debug)]
pub struct OwnScreen {
    session: SessionId,
    agent: AgentId,
    name: Arc<str>,
}

impl OwnScreen {
    /// Who shows, by its name for people.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The right of this agent in this session.
    pub fn of(session: SessionId, agent: AgentId, name: Arc<str>) -> Self {
        Self { session, agent, name }
    }

    /// The ticket of the agent itself, to show its screen; good until `end`.
    pub fn publisher(&self, end: Now, requester: ConnectionId, chance: &mut dyn Chance) -> (Token, Ticket) {
        let holder = Holder {
            role: Role::Publisher,
            side: Side::Agent,
            name: Arc::clone(&self.name),
            agent: Some(self.agent.clone()),
            requester: Some(requester),
        };
        ticket(self.session, end, holder, chance)
    }

    /// A ticket to watch, good until `end`.
    pub fn viewer(&self, end: Now, watcher: Watcher, chance: &mut dyn Chance) -> (Token, Ticket) {
        ticket(self.session, end, watcher.into(), chance)
    }
}

/// The one place where tickets are made. Whoever calls it holds an [`Admission`] or an [`OwnScreen`].
fn ticket(session: SessionId, end: Now, holder: Holder, chance: &mut dyn Chance) -> (Token, Ticket) {
    let token = Token { session, secret: Secret::new(chance.secret()) };
    let ticket = Ticket {
        lock: Lock::of(&token.secret),
        participant: chance.participant(),
        holder,
        expires: end.tick,
        expires_at: end.wall,
    };
    (token, ticket)
}

/// A guest who shows its screen.
#[derive(Debug, Clone)]
pub struct Sharer {
    /// Name for people.
    pub name: Arc<str>,
    /// Where it hears of the session's end, if it has such a connection.
    pub requester: Option<ConnectionId>,
    /// Who it is in the session, where that is settled before it comes; absent: somebody new.
    pub seat: Option<ParticipantId>,
}

/// Somebody who watches.
#[derive(Debug, Clone)]
pub struct Watcher {
    /// Name for people.
    pub name: Arc<str>,
    /// The agent it is; absent: a guest.
    pub agent: Option<AgentId>,
    /// Where it asked to come in, if it has such a connection.
    pub requester: Option<ConnectionId>,
}

impl From<Watcher> for Holder {
    fn from(watcher: Watcher) -> Self {
        let Watcher { name, agent, requester } = watcher;
        let side = if agent.is_some() { Side::Agent } else { Side::Guest };
        Self { role: Role::Viewer, side, name, agent, requester }
    }
}

/// For whom a ticket is.
#[derive(Debug, Clone)]
pub struct Holder {
    /// What it may do in the session.
    pub role: Role,
    /// Whose side it is on.
    pub side: Side,
    /// Name for people.
    pub name: Arc<str>,
    /// The agent it is.
    pub agent: Option<AgentId>,
    /// The connection it was asked from, which hears of the session's end. A guest has none.
    pub requester: Option<ConnectionId>,
}

/// A single-use right to attach. Its token is with whom it was handed to.
#[derive(Debug)]
pub struct Ticket {
    /// What opens to the secret that the client shows.
    pub lock: Lock,
    /// Who it will be.
    pub participant: ParticipantId,
    /// For whom it is.
    pub holder: Holder,
    /// When it ends, for the driver.
    pub expires: Tick,
    /// When it ends, for people.
    pub expires_at: Wall,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn request(required: bool) -> Request {
        let terms = TermsShown { required, version: "v1".into(), text: None, url: None };
        let question = Question {
            request: RequestId::from_u128(1),
            session: SessionId::from_u128(2),
            terms,
            deadline: Duration::from_secs(60),
        };
        Request::new(question, Now::default())
    }

    fn at(seconds: u64) -> Now {
        Now::default().after(Duration::from_secs(seconds))
    }

    const BY: Option<ConnectionId> = Some(ConnectionId(5));

    #[test]
    fn yes_in_time_to_the_same_version_admits() {
        let id = RequestId::from_u128(1);
        let admission = request(true).accept(at(59), id, Some("v1"), BY).unwrap();
        assert!(matches!(admission.outcome(), Outcome::Accepted { .. }));
        assert!(request(true).accept(at(1), id, None, BY).is_ok());
    }

    #[test]
    fn late_foreign_and_changed_are_refused() {
        let id = RequestId::from_u128(1);
        let why = |r: Result<Admission, (NotTaken, Request)>| r.unwrap_err().0;
        assert_eq!(why(request(true).accept(at(60), id, None, BY)), NotTaken::Late);
        assert_eq!(
            why(request(true).accept(at(1), RequestId::from_u128(9), None, BY)),
            NotTaken::OtherRequest
        );
        assert_eq!(why(request(true).accept(at(1), id, Some("v0"), BY)), NotTaken::OtherTerms);
    }

    #[test]
    fn only_groups_without_terms_go_on_unasked() {
        assert!(request(true).waive(at(0)).is_err());
        assert_eq!(*request(false).waive(at(0)).unwrap().outcome(), Outcome::NotRequired);
    }

    #[test]
    fn shown_counts_once() {
        let mut request = request(true);
        assert!(request.show(at(1)));
        assert!(!request.show(at(2)));
        assert_eq!(request.displayed(), Some(at(1).wall));
    }
}
