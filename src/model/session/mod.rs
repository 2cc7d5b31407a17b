//! One session, from the question to the end.
//!
//! ```text
//! asking ──accept/waive──▶ open (connecting → active) ──▶ ended
//!    └── declined · cancelled · expired · visitor_gone ──▶ ended
//! own screen of an agent ─▶ open ─▶ …
//! waiting for a guest ──accept/waive──▶ open ──comes back, accepts anew──▶ open ─▶ …
//! ```
//!
//! Decides who may enter, who hears what, and when it is over. Does not carry frames (see
//! [`super::relay`]) and does not know sockets: it speaks to connections by id, and the hub delivers.

mod asking;
mod awaiting;
mod camera;
mod departing;
mod device;
mod ending;
mod error;
mod held;
mod inout;
mod pointing;
mod room;
mod saved;
mod showing;
mod shows;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use awaiting::{Asks, Entrant};
pub use camera::{CameraRight, NoCamera};
pub use device::Device;
pub use ending::EndReason;
pub use error::SessionError;
pub use inout::{Accepted, Answer, Asker, Happened, Input, Output, Person, Say, Setup, Showing, View};
pub use saved::Saved;
pub use showing::HostTicket;
pub use shows::Shown;

use self::awaiting::Door;
use self::device::Guided;
use super::control::Control;
use super::request::{Admission, OwnScreen, Request, Ticket, Watcher};
use super::ticket::{Chance, Lock, Token};
use crate::clock::{Now, Tick, Wall};
use crate::ids::{AgentId, ConnectionId, ParticipantId, RequestId, SessionId, VisitorId};
use crate::limits::{self, Limits};
use crate::wire::agent::RequestState;
use crate::wire::session::{Codec, Here, ParticipantView, Role, Side};
use crate::wire::visitor::{OfferOutcome, SessionKind};

/// Somebody in the session.
#[derive(Debug)]
struct Participant {
    id: ParticipantId,
    role: Role,
    side: Side,
    name: Arc<str>,
    agent: Option<AgentId>,
    /// Where it asked to come in, and hears of the end. A guest has no such place.
    requester: Option<ConnectionId>,
    /// Its session socket while it has one.
    connection: Option<ConnectionId>,
    /// What it comes back with.
    resume: Lock,
    /// Until when it may come back with that, while it has no connection.
    resumes_until: Option<Tick>,
    /// When it is given up, while it has no connection: later, if it can come back by a key as well.
    lost_until: Option<Tick>,
    decodes: Option<Vec<Codec>>,
    /// When it pointed at something last.
    pointed: Option<Tick>,
}

impl Participant {
    fn person(&self) -> Person {
        Person {
            participant: self.id,
            role: self.role,
            side: self.side,
            name: Arc::clone(&self.name),
            agent: self.agent.clone(),
        }
    }

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
    Open(Gate),
    /// Over.
    Ended(EndReason),
    /// Only while a phase is consumed.
    Moving,
}

/// What opened the gate. Nobody's screen is shown but by one of these.
#[derive(Debug)]
enum Gate {
    /// The terms were met by the one whose screen it is.
    Met(Admission),
    /// It is the screen of the agent that opened the session.
    Own(OwnScreen),
}

impl Gate {
    fn viewer(&self, end: Now, watcher: Watcher, chance: &mut dyn Chance) -> (Token, Ticket) {
        match self {
            Self::Met(admission) => admission.viewer(end, watcher, chance),
            Self::Own(own) => own.viewer(end, watcher, chance),
        }
    }
}

/// The agent that shows its own screen, as far as its page goes.
#[derive(Debug)]
struct Host {
    agent: AgentId,
    /// Its page, which hears of the end; none any more when it is gone.
    connection: Option<ConnectionId>,
}

/// One session. Driven by the hub under one lock; see the module.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    request: RequestId,
    kind: SessionKind,
    /// What its publisher shows: of a `cobrowse` the visitor may make a screen, and a page again.
    shows: SessionKind,
    visitor: Option<VisitorId>,
    /// The agent whose own screen it is, if it is.
    host: Option<Host>,
    /// Where the guest comes in whose screen it is, if it is one's.
    door: Option<Door>,
    phase: Phase,
    state: RequestState,
    /// When the gate opened, and the version accepted; the record needs it after the end too.
    accepted: Option<(Wall, Option<Arc<str>>)>,
    started: Option<Wall>,
    created: Wall,
    askers: Vec<Asker>,
    /// Who asks, as the visitor is told; kept while no agent is left to ask.
    asked_by: Arc<str>,
    /// Agents that asked on a node that is gone, and have not asked here again.
    missing: Vec<AgentId>,
    /// When the question is dropped because nobody is left to ask it.
    abandoned: Option<Tick>,
    /// When it is given up because nobody came back since it was restored.
    alone: Option<Tick>,
    /// Grows with each step that changes what is saved.
    revision: u64,
    /// Another node goes on with it: it takes no more steps here.
    departing: bool,
    focus: Option<ConnectionId>,
    /// Where the offer, and later the publisher's ticket, was sent.
    offered_to: Option<ConnectionId>,
    tickets: Vec<Ticket>,
    participants: Vec<Participant>,
    control: Control,
    /// Whose camera is shown.
    camera: Option<ParticipantId>,
    /// What its guest has to do on its device.
    guided: Guided,
    paused: bool,
    /// When it ends because one side is missing.
    waiting: Option<Tick>,
    ends: Tick,
    codecs: Vec<Codec>,
    limits: Arc<Limits>,
}

impl Session {
    /// Puts the question, or goes straight on where the group asks none.
    pub fn start(setup: Setup, now: Now, chance: &mut dyn Chance, out: &mut Vec<Output>) -> Self {
        let guest = setup.visitor.is_none();
        let mut session = Self {
            id: setup.question.session,
            request: setup.question.request,
            kind: setup.kind,
            shows: setup.kind,
            door: guest.then(|| Door::new(setup.question.clone(), chance)),
            visitor: setup.visitor,
            host: None,
            state: RequestState::Offered,
            phase: Phase::Asking(Request::new(setup.question, now)),
            accepted: None,
            started: None,
            created: now.wall,
            asked_by: Arc::clone(&setup.asker.name),
            askers: vec![setup.asker],
            missing: Vec::new(),
            abandoned: None,
            alone: None,
            revision: 0,
            departing: false,
            focus: setup.focus,
            offered_to: None,
            tickets: Vec::new(),
            participants: Vec::new(),
            control: Control::new(setup.control),
            camera: None,
            guided: Guided::default(),
            paused: false,
            waiting: None,
            ends: now.tick.after(setup.limits.session_length),
            limits: setup.limits,
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
        if self.departing {
            return Err(SessionError::Moved);
        }
        // A deadline that has passed is acted on first: no input can sneak in behind it.
        self.on_deadline(now, out);
        if let Phase::Ended(reason) = self.phase {
            return self.after_the_end(&input, reason);
        }
        let (before, somebody) = (out.len(), input.tells_of_somebody());
        let answer = self.take(now, input, chance, out);
        if somebody && answer.is_ok() {
            self.alone = None;
        }
        self.tell_steps(out);
        self.count(&out[before..]);
        answer
    }

    fn take(
        &mut self,
        now: Now,
        input: Input,
        chance: &mut dyn Chance,
        out: &mut Vec<Output>,
    ) -> Result<Answer, SessionError> {
        match input {
            Input::Join(asker) => self.join(now, asker, chance, out),
            Input::Guest(entrant) => self.guest(now, entrant, chance, out),
            Input::Follows(asker) => Ok(self.follows(asker, out)),
            Input::AgentLost(connection) => self.agent_lost(now, connection, out),
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
            Input::EndCamera => {
                self.end_camera(out);
                Ok(Answer::Done)
            }
            Input::End(reason) => {
                self.end(reason, out);
                Ok(Answer::Done)
            }
        }
    }

    /// When [`Self::on_deadline`] has something to do.
    pub fn next_deadline(&self) -> Option<Tick> {
        let (phase, absence) = match &self.phase {
            _ if self.departing => return None,
            Phase::Asking(request) => (Some(request.expires()), self.abandoned),
            Phase::Open(_) => (self.waiting, self.participants.iter().filter_map(|p| p.lost_until).min()),
            Phase::Ended(_) | Phase::Moving => return None,
        };
        [phase, absence, self.alone, Some(self.ends)].into_iter().flatten().min()
    }

    /// Acts on every deadline that has passed, in their order, however late the call comes.
    pub fn on_deadline(&mut self, now: Now, out: &mut Vec<Output>) {
        let (before, tickets) = (out.len(), self.tickets.len());
        while let Some(due) = self.next_deadline().filter(|due| now.tick >= *due) {
            self.act_on(due, now, out);
        }
        self.tell_steps(out);
        self.tickets.retain(|ticket| now.tick < ticket.expires);
        self.revision += u64::from(self.tickets.len() < tickets);
        self.count(&out[before..]);
    }

    /// Counts a step by what came of it: nothing that is saved changes without a word.
    fn count(&mut self, out: &[Output]) {
        self.revision += u64::from(out.iter().any(Output::tells_of_change));
    }

    /// Whether somebody accepted terms in it, of which there has to be a receipt.
    pub fn needs_proof(&self) -> bool {
        matches!(&self.phase, Phase::Open(Gate::Met(admission)) if admission.version().is_some())
    }

    /// The connections of everybody who is in it.
    pub fn seats(&self) -> Vec<ConnectionId> {
        self.connections(|_| true)
    }

    /// Grows with each step that changes what is saved.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Acts on one deadline: ends the session, or takes somebody out of it.
    fn act_on(&mut self, due: Tick, now: Now, out: &mut Vec<Output>) {
        let is_due = |deadline: Option<Tick>| deadline.is_some_and(|at| due >= at);
        match &self.phase {
            _ if is_due(self.alone) => self.end(EndReason::NodeLost, out),
            Phase::Asking(request) if is_due(Some(request.expires())) => {
                self.close_request(RequestState::Expired, OfferOutcome::Expired, EndReason::Expired, out);
            }
            Phase::Asking(_) if is_due(self.abandoned) => {
                self.close_request(
                    RequestState::Cancelled,
                    OfferOutcome::Cancelled,
                    EndReason::Cancelled,
                    out,
                );
            }
            Phase::Open(_) if is_due(self.waiting) => self.end(EndReason::Expired, out),
            _ if is_due(Some(self.ends)) => self.end(EndReason::TimeLimit, out),
            _ => self.give_up_lost(due, now, out),
        }
    }

    /// The session as lists and buttons see it.
    pub fn view(&self) -> View {
        let mut agents = self.asking_agents();
        agents.extend(self.host.iter().map(|host| host.agent.clone()));
        agents.extend(self.participants.iter().filter_map(|p| p.agent.clone()));
        agents.sort_unstable();
        agents.dedup();
        View {
            id: self.id,
            request: self.request,
            kind: self.kind,
            shows: self.shows_otherwise(),
            visitor: self.visitor.clone(),
            state: self.state,
            created: self.created,
            started: self.started,
            accepted: self.accepted.clone(),
            agents,
            participants: self.participants.iter().map(Participant::view).collect(),
            ended: if let Phase::Ended(reason) = self.phase { Some(reason) } else { None },
            paused: self.paused,
            steps: self.guided.steps(),
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
        match self.phase {
            Phase::Ended(_) => {}
            Phase::Asking(_) if reason == EndReason::Drained => {
                self.close_request(RequestState::Failed, OfferOutcome::Failed, reason, out);
            }
            Phase::Asking(_) => {
                self.close_request(RequestState::Cancelled, OfferOutcome::Cancelled, reason, out);
            }
            Phase::Open(_) | Phase::Moving => self.close_room(reason, out),
        }
    }

    /// The guest whose screen it is or will be, if it is one's.
    pub fn guest_seat(&self) -> Option<ParticipantId> {
        self.door.as_ref().map(Door::seat)
    }

    fn after_the_end(&self, input: &Input, reason: EndReason) -> Result<Answer, SessionError> {
        match input {
            // Only who had a door of its own learns that the house is gone.
            Input::Return { secret, .. } if self.participants.iter().any(|p| p.resume.opens_to(secret)) => {
                Err(SessionError::Ended(reason))
            }
            Input::Attach { secret, .. } if self.tickets.iter().any(|t| t.lock.opens_to(secret)) => {
                Err(SessionError::Ended(reason))
            }
            Input::Attach { .. } | Input::Return { .. } => Err(SessionError::NoSuchTicket),
            Input::Answer { .. } | Input::Displayed { .. } | Input::Cancel { .. } => {
                Err(SessionError::RequestOver)
            }
            Input::Join(_) | Input::Follows(_) | Input::Guest(_) | Input::Say { .. } => {
                Err(SessionError::Ended(reason))
            }
            Input::AgentLost(_)
            | Input::Focus(_)
            | Input::VisitorGone
            | Input::Lost { .. }
            | Input::EndCamera
            | Input::End(_) => Ok(Answer::Done),
        }
    }

    /// Agents that asked, those included that have not come back since their node went.
    fn asking_agents(&self) -> Vec<AgentId> {
        let asking = self.askers.iter().map(|asker| &asker.agent).chain(&self.missing);
        asking.cloned().collect()
    }

    /// Connections of the participants that match.
    fn connections(&self, which: impl Fn(&Participant) -> bool) -> Vec<ConnectionId> {
        self.participants.iter().filter(|p| which(p)).filter_map(|p| p.connection).collect()
    }

    fn viewers_here(&self) -> usize {
        self.participants.iter().filter(|p| p.role == Role::Viewer && p.connection.is_some()).count()
    }

    /// How long the other side may take, from now.
    fn wait_from(&self, now: Now) -> Tick {
        now.tick.after(self.limits.waiting)
    }

    /// How long an abandoned question stands: long enough for an agent's page to reload.
    const ABANDONED: Duration = limits::GRACE;
}
