//! One session, from the question to the end.
//!
//! ```text
//! asking ──accept/waive──▶ open (connecting → active) ──▶ ended
//!    └── declined · cancelled · expired · visitor_gone ──▶ ended
//! ```
//!
//! Decides who may enter, who hears what, and when it is over. Does not carry frames (see
//! [`super::relay`]) and does not know sockets: it speaks to connections by id, and the hub delivers.

mod asking;
mod room;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use super::request::{Admission, Question, Request, Ticket};
use super::ticket::{Chance, Secret};
use crate::clock::{Now, Tick, Wall};
use crate::ids::{AgentId, ConnectionId, ParticipantId, RequestId, SessionId, VisitorId};
use crate::limits;
use crate::wire::agent::RequestState;
use crate::wire::close::Close;
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::session::{Codec, Here, Input as InputEvents, ParticipantView, Role, Side, ToParticipant};
use crate::wire::visitor::{OfferOutcome, SessionKind};

/// An agent who wants in, at the connection it asked from.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Where it asked, and where it hears of the request.
    pub connection: ConnectionId,
    /// Who it is.
    pub agent: AgentId,
    /// Name for people.
    pub name: Arc<str>,
}

/// Everything a new session starts from.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What is shared.
    pub kind: SessionKind,
    /// Whose screen it is to be.
    pub visitor: VisitorId,
    /// What is asked.
    pub question: Question,
    /// Who asks first.
    pub asker: Asker,
    /// Whether control may be asked for.
    pub control: bool,
    /// The visitor's focused connection, if it has one now.
    pub focus: Option<ConnectionId>,
}

/// What may happen to a session.
#[derive(Debug, Clone)]
pub enum Input {
    /// An agent wants in: it is told where the request stands, or gets its ticket.
    Join(Asker),
    /// An agent's connection is gone.
    AgentLost(ConnectionId),
    /// The visitor's focus is at this connection, or nowhere while it may still come back.
    Focus(Option<ConnectionId>),
    /// The visitor is absent.
    VisitorGone,
    /// The offer is on the visitor's screen.
    Displayed {
        /// Which offer.
        request: RequestId,
        /// Who says so.
        by: ConnectionId,
    },
    /// The visitor's answer.
    Answer {
        /// To which offer.
        request: RequestId,
        /// From which connection.
        by: ConnectionId,
        /// Yes or no.
        accepted: bool,
        /// The version that was shown, if the page names it.
        version: Option<String>,
    },
    /// An agent takes the question back.
    Cancel {
        /// Which question.
        request: RequestId,
        /// Who.
        by: ConnectionId,
    },
    /// Somebody attaches with a ticket.
    Attach {
        /// The ticket's secret.
        secret: Secret,
        /// Its connection.
        connection: ConnectionId,
        /// What it decodes; `None`: everything.
        decodes: Option<Vec<Codec>>,
    },
    /// Somebody comes back with a resume token.
    Return {
        /// The token's secret.
        secret: Secret,
        /// Its connection.
        connection: ConnectionId,
        /// What it decodes; `None`: everything.
        decodes: Option<Vec<Codec>>,
    },
    /// A participant's connection is gone.
    Lost {
        /// Whose.
        participant: ParticipantId,
        /// Which, so that an old connection's end does not hurt its successor.
        connection: ConnectionId,
    },
    /// A participant says something.
    Say {
        /// Who.
        participant: ParticipantId,
        /// What.
        what: Say,
    },
    /// An agent (by its agent connection), an operator or a limit ends it.
    End(EndReason),
}

/// What a participant may say.
#[derive(Debug, Clone)]
pub enum Say {
    /// Goes.
    Leave,
    /// Ends the session; a publisher may tell that its capture was refused.
    End {
        /// The reason it gave.
        reason: Option<String>,
    },
    /// Stops showing.
    Pause,
    /// Shows again.
    Resume,
    /// Asks for control.
    RequestControl,
    /// Gives control.
    GrantControl(ParticipantId),
    /// Refuses control.
    RejectControl(ParticipantId),
    /// Takes control back.
    RevokeControl,
    /// Gives control back.
    ReleaseControl,
    /// Input for the publisher.
    Input(InputEvents),
    /// Words.
    Chat(Arc<str>),
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The guest ended it.
    GuestEnded,
    /// The guest left or did not come back.
    GuestLeft,
    /// The guest's browser refused to capture, or the guest did.
    CaptureDenied,
    /// The guest's browser or system could not go on.
    Failed,
    /// An agent ended it.
    AgentEnded,
    /// An operator ended it.
    OperatorEnded,
    /// The other side never came.
    Expired,
    /// It ran for as long as a session may.
    TimeLimit,
    /// The node went away.
    Drained,
    /// The visitor said no.
    Declined,
    /// The agents took the question back.
    Cancelled,
    /// The visitor went before answering.
    VisitorGone,
}

impl EndReason {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GuestEnded => "guest_ended",
            Self::GuestLeft => "guest_left",
            Self::CaptureDenied => "capture_denied",
            Self::Failed => "failed",
            Self::AgentEnded => "agent_ended",
            Self::OperatorEnded => "operator_ended",
            Self::Expired => "expired",
            Self::TimeLimit => "time_limit",
            Self::Drained => "drained",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::VisitorGone => "visitor_gone",
        }
    }
}

/// What the hub is to do.
#[derive(Debug)]
pub enum Output {
    /// Put the question to the visitor.
    Offer {
        /// Where.
        to: ConnectionId,
        /// Who asks, for people.
        agent: Arc<str>,
        /// When it ends.
        expires_at: Wall,
    },
    /// Take the question off the visitor's screen.
    OfferEnded {
        /// Where.
        to: ConnectionId,
        /// Why.
        outcome: OfferOutcome,
    },
    /// Hand a ticket to the visitor.
    VisitorReady {
        /// Where.
        to: ConnectionId,
        /// The ticket's text.
        ticket: String,
        /// When it ends.
        expires_at: Wall,
    },
    /// Tell the visitor's page that the session is over.
    VisitorEnded {
        /// Where.
        to: ConnectionId,
        /// Why.
        reason: EndReason,
    },
    /// Tell agents where the request stands.
    Request {
        /// Where.
        to: Vec<ConnectionId>,
        /// The state.
        state: RequestState,
    },
    /// Hand a ticket to an agent.
    AgentReady {
        /// Where.
        to: ConnectionId,
        /// The ticket's text.
        ticket: String,
        /// When it ends.
        expires_at: Wall,
    },
    /// Tell agents that the session is over.
    AgentEnded {
        /// Where.
        to: Vec<ConnectionId>,
        /// Why.
        reason: EndReason,
    },
    /// Tell participants.
    Tell {
        /// Where.
        to: Vec<ConnectionId>,
        /// What.
        message: ToParticipant,
    },
    /// Close a participant's connection.
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why.
        close: Close,
    },
    /// The publisher pauses (what is cached is dropped) or goes on.
    Paused(bool),
    /// A fresh publisher is there: its frames start anew.
    Publisher(ConnectionId),
    /// Something for the record.
    Happened(Happened),
    /// Where the session stands for buttons and lists has changed.
    Moved,
}

/// What is worth writing down, as `product.md` 11 names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// The question was put.
    Offered,
    /// It was on the visitor's screen.
    Displayed,
    /// The visitor accepted this version, or none was required.
    Accepted {
        /// The version; `None`: none was required.
        version: Option<Arc<str>>,
    },
    /// The request ended otherwise.
    Refused(RequestState),
    /// The publisher is attached for the first time.
    Started,
    /// A participant came.
    Joined(ParticipantId),
    /// A participant went.
    Left(ParticipantId),
    /// The publisher pauses.
    Paused,
    /// The publisher goes on.
    Resumed,
    /// An agent has control.
    ControlGranted(ParticipantId),
    /// It has no longer.
    ControlRevoked,
    /// Input without a grant was dropped.
    InputRefused,
    /// It is over.
    Ended(EndReason),
}

/// What the asker of an input is told at once.
#[derive(Debug)]
pub enum Answer {
    /// It was done.
    Done,
    /// A join: where the request stands.
    Request(RequestState),
    /// An attach or return: who the connection is now, and its first message.
    Attached {
        /// Its participant.
        participant: ParticipantId,
        /// Its role.
        role: Role,
        /// Its side.
        side: Side,
        /// The `attached` message but for what the relay adds (`live`) and the heartbeat.
        message: Box<ToParticipant>,
    },
}

/// Somebody in the session.
#[derive(Debug)]
struct Participant {
    id: ParticipantId,
    role: Role,
    side: Side,
    name: Arc<str>,
    agent: Option<AgentId>,
    /// Where it asked to come in, and hears of the end.
    requester: ConnectionId,
    /// Its session socket while it has one.
    connection: Option<ConnectionId>,
    /// What it comes back with.
    resume: Secret,
    /// When it is given up, while it has no connection.
    lost_until: Option<Tick>,
    decodes: Option<Vec<Codec>>,
}

impl Participant {
    fn view(&self) -> ParticipantView {
        ParticipantView {
            participant_id: self.id,
            role: self.role,
            side: self.side,
            name: Arc::clone(&self.name),
            agent_id: self.agent.clone(),
            state: if self.connection.is_some() { Here::Here } else { Here::Reconnecting },
        }
    }
}

/// Where a session stands. Each phase holds what only it may hold.
#[derive(Debug)]
enum Phase {
    /// The question stands.
    Asking(Request),
    /// The gate is open.
    Open(Admission),
    /// Over.
    Ended(EndReason),
    /// Only while a phase is consumed.
    Moving,
}

/// One session. Driven by the hub under one lock; see the module.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    request: RequestId,
    kind: SessionKind,
    visitor: VisitorId,
    phase: Phase,
    state: RequestState,
    started: Option<Wall>,
    created: Wall,
    askers: Vec<Asker>,
    /// When the question is dropped because nobody is left to ask it.
    abandoned: Option<Tick>,
    focus: Option<ConnectionId>,
    /// Where the offer, and later the publisher's ticket, was sent.
    offered_to: Option<ConnectionId>,
    tickets: Vec<Ticket>,
    participants: Vec<Participant>,
    control: Control,
    paused: bool,
    /// When it ends because one side is missing.
    waiting: Option<Tick>,
    ends: Tick,
    codecs: Vec<Codec>,
}

/// A session as lists and buttons see it.
#[derive(Debug, Clone)]
pub struct View {
    /// Its id.
    pub id: SessionId,
    /// The request that opened it.
    pub request: RequestId,
    /// What is shared.
    pub kind: SessionKind,
    /// Whose screen.
    pub visitor: VisitorId,
    /// Where it stands.
    pub state: RequestState,
    /// When it was asked for.
    pub created: Wall,
    /// When the publisher first attached.
    pub started: Option<Wall>,
    /// When the terms were accepted, and which version.
    pub accepted: Option<(Wall, Option<Arc<str>>)>,
    /// Agents that asked or watch.
    pub agents: Vec<AgentId>,
    /// Who is in it.
    pub participants: Vec<ParticipantView>,
    /// Why it ended.
    pub ended: Option<EndReason>,
    /// Whether the publisher pauses.
    pub paused: bool,
}

impl Session {
    /// Puts the question, or goes straight on where the group asks none.
    pub fn start(setup: Setup, now: Now, chance: &mut dyn Chance, out: &mut Vec<Output>) -> Self {
        let mut session = Self {
            id: setup.question.session,
            request: setup.question.request,
            kind: setup.kind,
            visitor: setup.visitor,
            state: RequestState::Offered,
            phase: Phase::Asking(Request::new(setup.question, now)),
            started: None,
            created: now.wall,
            askers: vec![setup.asker],
            abandoned: None,
            focus: setup.focus,
            offered_to: None,
            tickets: Vec::new(),
            participants: Vec::new(),
            control: Control::new(setup.control),
            paused: false,
            waiting: None,
            ends: now.tick.after(limits::SESSION_LENGTH),
            codecs: Codec::ALL.to_vec(),
        };
        out.push(Output::Happened(Happened::Offered));
        session.ask(now, chance, out);
        session
    }

    /// Takes one input. What it leads to is in `out`, in order; what the sender is told is returned.
    pub fn handle(
        &mut self,
        now: Now,
        input: Input,
        chance: &mut dyn Chance,
        out: &mut Vec<Output>,
    ) -> Result<Answer, SessionError> {
        // A deadline that has passed is acted on first: no input can sneak in behind it.
        self.on_deadline(now, out);
        if let Phase::Ended(reason) = self.phase {
            return self.after_the_end(&input, reason);
        }
        match input {
            Input::Join(asker) => self.join(now, asker, chance, out),
            Input::AgentLost(connection) => self.agent_lost(now, connection),
            Input::Focus(focus) => self.refocus(now, focus, chance, out),
            Input::VisitorGone => self.visitor_gone(out),
            Input::Displayed { request, by } => self.displayed(now, request, by, out),
            Input::Answer { request, by, accepted, version } => {
                self.answered(now, request, by, accepted, version.as_deref(), chance, out)
            }
            Input::Cancel { request, by } => self.cancelled(now, request, by, out),
            Input::Attach { secret, connection, decodes } => {
                self.attach(now, &secret, connection, decodes, chance, out)
            }
            Input::Return { secret, connection, decodes } => {
                self.come_back(&secret, now, connection, decodes, chance, out)
            }
            Input::Lost { participant, connection } => self.lost(now, participant, connection, out),
            Input::Say { participant, what } => self.say(now, participant, what, out),
            Input::End(reason) => {
                self.end(reason, out);
                Ok(Answer::Done)
            }
        }
    }

    /// When [`Self::on_deadline`] has something to do.
    pub fn next_deadline(&self) -> Option<Tick> {
        let phase = match &self.phase {
            Phase::Asking(request) => Some(request.expires()),
            Phase::Open(_) => self.waiting,
            Phase::Ended(_) | Phase::Moving => return None,
        };
        let lost = self.participants.iter().filter_map(|p| p.lost_until).min();
        [phase, self.abandoned, lost, Some(self.ends)].into_iter().flatten().min()
    }

    /// Acts on every deadline that has passed.
    pub fn on_deadline(&mut self, now: Now, out: &mut Vec<Output>) {
        let due = |deadline: Option<Tick>| deadline.is_some_and(|at| now.tick >= at);
        match &self.phase {
            Phase::Asking(request) if due(Some(request.expires())) => {
                self.close_request(RequestState::Expired, OfferOutcome::Expired, EndReason::Expired, out);
            }
            Phase::Asking(_) if due(self.abandoned) => {
                self.close_request(
                    RequestState::Cancelled,
                    OfferOutcome::Cancelled,
                    EndReason::Cancelled,
                    out,
                );
            }
            Phase::Open(_) if due(self.waiting) => self.end(EndReason::Expired, out),
            Phase::Ended(_) => return,
            _ => {}
        }
        if due(Some(self.ends)) {
            self.end(EndReason::TimeLimit, out);
        }
        self.give_up_lost(now, out);
        self.tickets.retain(|ticket| now.tick < ticket.expires);
    }

    /// The session as lists and buttons see it.
    pub fn view(&self) -> View {
        let mut agents: Vec<AgentId> = self.askers.iter().map(|asker| asker.agent.clone()).collect();
        agents.extend(self.participants.iter().filter_map(|p| p.agent.clone()));
        agents.sort_unstable();
        agents.dedup();
        View {
            id: self.id,
            request: self.request,
            kind: self.kind,
            visitor: self.visitor.clone(),
            state: self.state,
            created: self.created,
            started: self.started,
            accepted: match &self.phase {
                Phase::Open(admission) => Some((admission.at(), asking::version(admission))),
                _ => None,
            },
            agents,
            participants: self.participants.iter().map(Participant::view).collect(),
            ended: if let Phase::Ended(reason) = self.phase { Some(reason) } else { None },
            paused: self.paused,
        }
    }

    /// Its id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The request that opened it.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// Whether it is over.
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// The terms as asked, while the question stands.
    pub fn question(&self) -> Option<&Request> {
        if let Phase::Asking(request) = &self.phase { Some(request) } else { None }
    }

    /// Whether control may be asked for in this session at all.
    pub fn allows_control(&self) -> bool {
        self.control.allowed()
    }

    /// Ends it, whatever the phase. Ended stays ended.
    fn end(&mut self, reason: EndReason, out: &mut Vec<Output>) {
        match std::mem::replace(&mut self.phase, Phase::Ended(reason)) {
            Phase::Ended(first) => {
                self.phase = Phase::Ended(first);
                return;
            }
            Phase::Asking(_) => {
                if let Some(to) = self.offered_to.take() {
                    out.push(Output::OfferEnded { to, outcome: OfferOutcome::Cancelled });
                }
                self.state = RequestState::Cancelled;
                self.tell_request(out);
            }
            Phase::Open(_) | Phase::Moving => {
                self.state = RequestState::Ended;
                let to = self.connections(|_| true);
                if !to.is_empty() {
                    out.push(Output::Tell { to, message: ToParticipant::Ended { reason: reason.as_str() } });
                }
                if let Some(to) = self.focus.or(self.offered_to) {
                    out.push(Output::VisitorEnded { to, reason });
                }
                let mut to: Vec<_> = self.askers.iter().map(|asker| asker.connection).collect();
                to.extend(self.participants.iter().filter(|p| p.side == Side::Agent).map(|p| p.requester));
                to.sort_unstable();
                to.dedup();
                out.push(Output::AgentEnded { to, reason });
                for participant in &mut self.participants {
                    if let Some(connection) = participant.connection.take() {
                        let close = Close::new(crate::wire::close::CloseCode::Ended, reason.as_str());
                        out.push(Output::Close { connection, close });
                    }
                }
            }
        }
        self.tickets.clear();
        out.push(Output::Paused(true));
        out.push(Output::Happened(Happened::Ended(reason)));
        out.push(Output::Moved);
    }

    fn after_the_end(&self, input: &Input, reason: EndReason) -> Result<Answer, SessionError> {
        match input {
            // Only who had a door of its own learns that the house is gone.
            Input::Return { secret, .. } if self.participants.iter().any(|p| p.resume.matches(secret)) => {
                Err(SessionError::Ended(reason))
            }
            Input::Attach { .. } | Input::Return { .. } => Err(SessionError::NoSuchTicket),
            Input::Answer { .. } | Input::Displayed { .. } | Input::Cancel { .. } => {
                Err(SessionError::RequestOver)
            }
            Input::Join(_) | Input::Say { .. } => Err(SessionError::Ended(reason)),
            Input::AgentLost(_)
            | Input::Focus(_)
            | Input::VisitorGone
            | Input::Lost { .. }
            | Input::End(_) => Ok(Answer::Done),
        }
    }

    /// Connections of the participants that match.
    fn connections(&self, which: impl Fn(&Participant) -> bool) -> Vec<ConnectionId> {
        self.participants.iter().filter(|p| which(p)).filter_map(|p| p.connection).collect()
    }

    fn viewers_here(&self) -> usize {
        self.participants.iter().filter(|p| p.role == Role::Viewer && p.connection.is_some()).count()
    }

    /// How long the other side may take, from now.
    fn wait_from(now: Now) -> Tick {
        now.tick.after(limits::WAITING)
    }

    /// How long an abandoned question stands: long enough for an agent's page to reload.
    const ABANDONED: Duration = limits::GRACE;
}

/// Why an input is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The request was answered, taken back or has expired, or is another one.
    #[error("the request is over")]
    RequestOver,
    /// The accepted terms are not the ones that were asked.
    #[error("the accepted terms are not the ones that were asked")]
    TermsChanged,
    /// No ticket or resume token like this: wrong, used and expired look the same.
    #[error("ticket or token is wrong, used or expired")]
    NoSuchTicket,
    /// The session is over.
    #[error("the session has ended: {}", .0.as_str())]
    Ended(EndReason),
    /// The role does not allow it.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The state does not allow it.
    #[error("{0}")]
    WrongState(String),
    /// Input without a live grant.
    #[error("control is not granted to this participant under this epoch")]
    ControlNotGranted,
    /// More viewers than a session may have.
    #[error("session has its {} viewers", limits::VIEWERS)]
    Full,
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        let code = match &error {
            SessionError::RequestOver => ErrorCode::RequestOver,
            SessionError::TermsChanged => ErrorCode::TermsChanged,
            SessionError::NoSuchTicket => ErrorCode::Unauthorized,
            SessionError::Ended(_) => ErrorCode::NotFound,
            SessionError::Forbidden(_) => ErrorCode::Forbidden,
            SessionError::WrongState(_) => ErrorCode::WrongState,
            SessionError::ControlNotGranted => ErrorCode::ControlNotGranted,
            SessionError::Full => ErrorCode::TooMany,
        };
        Self::new(code, error.to_string())
    }
}
