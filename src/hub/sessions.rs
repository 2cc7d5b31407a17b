//! Requests and sessions of this node: finding them, driving them, performing what they say.

mod adopted;
mod camera;
mod frames;
mod perform;
mod room;
mod saved;
mod show;
mod traced;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::{DashMap, Entry};
use parking_lot::Mutex;

pub use adopted::AdoptError;
pub(super) use adopted::{UNREACHED, Whereabouts};
pub(super) use saved::Saves;
pub(super) use show::{DrawnKey, Showcase};
use traced::{Begun, Course};
pub(super) use view::Wanted;

use super::driver::Driver;
use super::guests::{Invites, Waiting};
use super::operators::SessionWord;
use super::relay::Relay;
use super::remote::stage::Stage;
use super::timers::Due;
use super::{Hub, SystemChance};
use crate::clock::Tick;
use crate::ids::{
    AgentId, ConnectionId, GroupId, ParticipantId, RequestId, SessionId, VisitorId, VisitorKey,
};
use crate::limits;
use crate::model::feed::Chatter;
use crate::model::request::Question;
use crate::model::session::{Answer, Asker, EndReason, Input, Output, Session, SessionError, Setup, View};
use crate::telemetry::Parent;
use crate::wire::agent::{Record, RequestState};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::frame::Source;
use crate::wire::visitor::{SessionKind, TermsShown};

/// A session and its frames.
#[derive(Debug)]
pub struct LiveSession {
    /// Its id.
    pub id: SessionId,
    /// The request that opened it.
    pub request: RequestId,
    /// Where.
    pub group: GroupId,
    /// The visitor whose screen it is, if it is one's.
    pub visitor: Option<VisitorId>,
    /// The guest whose screen it is, if it is one's.
    pub guest: Option<ParticipantId>,
    /// What is shared.
    pub kind: SessionKind,
    /// What the visitor or guest is asked, where anybody is.
    pub terms: Option<TermsShown>,
    /// Whether control may be asked for.
    pub control: bool,
    /// The CRM record that the agent had open when it pressed Join.
    pub record: Option<Record>,
    /// The agent that asked first.
    pub asker: AgentId,
    /// Whether its course becomes events and a record.
    pub logged: bool,
    /// Its frames.
    pub relay: Arc<Relay>,
    /// Who publishes and watches on which node.
    stage: Mutex<Stage>,
    /// The same of an agent's camera.
    camera: (Arc<Relay>, Mutex<Stage>),
    /// What it posts to the record's feed.
    pub(super) chatter: Mutex<Chatter>,
    /// What guests read above the screen.
    pub title: Option<Arc<str>>,
    /// Links by which guests come in.
    pub(super) invites: Mutex<Invites>,
    /// Guests whose calls wait for their tickets.
    pub(super) waiting: Waiting,
    /// Its consent could not be proven: no ticket is handed out any more.
    pub(super) barred: AtomicBool,
    /// It began on another node.
    pub(super) adopted: AtomicBool,
    saving: saved::Saving,
    /// What its trace tells.
    pub(super) course: Mutex<Course>,
    driver: Driver<Session, Output>,
    /// Steps taken so far; written under the driver's lock.
    steps: AtomicU64,
    /// The earliest call asked of the timer that has not come yet.
    scheduled: AtomicU64,
}

impl LiveSession {
    /// The visitor whose screen it is, by its full name.
    pub fn visitor_key(&self) -> Option<VisitorKey> {
        let visitor = self.visitor.clone()?;
        Some(VisitorKey { group: self.group.clone(), visitor })
    }

    /// The session as lists and buttons see it.
    pub fn view(&self) -> View {
        self.driver.read(Session::view)
    }

    /// The connections of everybody who is in it.
    pub(super) fn seats(&self) -> Vec<ConnectionId> {
        self.driver.read(Session::seats)
    }

    /// The same, with the number of steps that led to it.
    pub(super) fn word(&self) -> SessionWord {
        let step = || self.steps.load(Ordering::Relaxed);
        self.driver.read(|session| SessionWord { view: session.view(), step: step() })
    }
}

/// What an agent asks for.
#[derive(Debug)]
pub(super) struct Wish {
    /// Whose screen.
    pub(super) key: VisitorKey,
    /// What is to be shared.
    pub(super) kind: SessionKind,
    /// Whether control may be asked for.
    pub(super) control: bool,
    /// What the visitor is asked.
    pub(super) terms: TermsShown,
    /// How long the question stands.
    pub(super) deadline: std::time::Duration,
    /// The CRM record that the agent has open.
    pub(super) record: Option<Record>,
    /// Whether the session is to become events and a record.
    pub(super) logged: bool,
    /// The agent's span that this belongs to.
    pub(super) trace: Option<Parent>,
}

/// What stays the same of a session for its whole life; see [`LiveSession`].
struct About {
    id: SessionId,
    request: RequestId,
    group: GroupId,
    visitor: Option<VisitorId>,
    kind: SessionKind,
    terms: Option<TermsShown>,
    control: bool,
    record: Option<Record>,
    asker: (AgentId, Arc<str>),
    logged: bool,
    title: Option<Arc<str>>,
    trace: Begun,
}

/// The sessions of this node.
#[derive(Debug, Default)]
pub struct Sessions {
    live: DashMap<SessionId, Arc<LiveSession>>,
    /// Those that have not ended.
    open: DashMap<SessionId, Arc<LiveSession>>,
    /// The pending or running session of each visitor: at most one.
    of_visitor: DashMap<VisitorKey, Arc<LiveSession>>,
    by_request: DashMap<RequestId, Arc<LiveSession>>,
}

impl Sessions {
    /// Finds a session of a group; another group's is not found.
    pub fn get(&self, group: &GroupId, id: SessionId) -> Option<Arc<LiveSession>> {
        self.live.get(&id).map(|session| Arc::clone(&session)).filter(|session| session.group == *group)
    }

    /// Finds a session by what a token names; the token's secret is still to be checked.
    pub fn routed(&self, id: SessionId) -> Option<Arc<LiveSession>> {
        self.live.get(&id).map(|session| Arc::clone(&session))
    }

    /// The pending or running session of a visitor.
    pub fn of_visitor(&self, key: &VisitorKey) -> Option<Arc<LiveSession>> {
        self.of_visitor.get(key).map(|session| Arc::clone(&session))
    }

    /// Finds a session of a group by the request that opened it.
    pub fn by_request(&self, group: &GroupId, request: RequestId) -> Option<Arc<LiveSession>> {
        let found = self.by_request.get(&request).map(|session| Arc::clone(&session));
        found.filter(|session| session.group == *group)
    }

    /// The sessions of a group, those that ended lately included.
    pub fn list(&self, group: &GroupId) -> Vec<Arc<LiveSession>> {
        let of_group = |session: &Arc<LiveSession>| session.group == *group;
        self.live.iter().map(|entry| Arc::clone(entry.value())).filter(of_group).collect()
    }

    /// Those that have not ended.
    pub fn all(&self) -> Vec<Arc<LiveSession>> {
        self.open.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// How many have not ended.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is pending or running.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes a session known. Its visitor's entry is the caller's to make.
    fn list_open(&self, session: &Arc<LiveSession>) {
        self.live.insert(session.id, Arc::clone(session));
        self.by_request.insert(session.request, Arc::clone(session));
        self.open.insert(session.id, Arc::clone(session));
    }

    /// Takes a session that ended off the lists of those that have not; true the first time.
    fn close(&self, session: &LiveSession) -> bool {
        if let Some(key) = session.visitor_key() {
            self.of_visitor.remove_if(&key, |_, listed| listed.id == session.id);
        }
        self.open.remove(&session.id).is_some()
    }

    /// Lets go of an ended session.
    pub fn forget(&self, id: SessionId) {
        if let Some((_, session)) = self.live.remove(&id) {
            self.by_request.remove(&session.request);
        }
    }
}

/// How long an ended session answers that it has ended, rather than that nobody knows it.
const REMEMBERED: std::time::Duration = limits::WAITING;

impl Hub {
    /// The sessions of this node.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// An agent wants to see a visitor's screen: joins the visitor's session, or puts the question.
    pub(super) fn ask(
        self: &Arc<Self>,
        wish: Wish,
        asker: Asker,
    ) -> Result<(Arc<LiveSession>, RequestState), Refusal> {
        // At most one round: whoever loses the race for the entry joins the winner's session.
        loop {
            if let Some(session) = self.sessions.of_visitor(&wish.key) {
                match self.drive(&session, Input::Join(asker.clone())) {
                    Ok(Answer::Request(state)) => return Ok((self.came_into(session, wish.trace), state)),
                    Ok(_) => return Err(Refusal::new(ErrorCode::WrongState, "the session cannot be joined")),
                    // It ended this moment and is about to be taken off the list.
                    Err(SessionError::Ended(_)) => {
                        self.sessions.of_visitor.remove_if(&wish.key, |_, listed| listed.id == session.id);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let started = self.start(&wish, asker.clone())?;
            if let Some(session) = started {
                self.drive_with(&session, |_, _| ());
                self.operators.tell_session(&session);
                let state = session.driver.read(|session| session.view().state);
                return Ok((session, state));
            }
        }
    }

    /// An agent wants into this very session. What is over stays over: no other is joined in its place, and
    /// nobody is asked anew.
    pub(super) fn ask_into(
        self: &Arc<Self>,
        group: &GroupId,
        id: SessionId,
        asker: Asker,
        trace: Option<Parent>,
    ) -> Result<(Arc<LiveSession>, RequestState), Refusal> {
        let session = self.sessions.get(group, id).ok_or_else(|| Refusal::not_found("session"))?;
        match self.drive(&session, Input::Join(asker)) {
            Ok(Answer::Request(state)) => Ok((self.came_into(session, trace), state)),
            Ok(_) => Err(Refusal::new(ErrorCode::WrongState, "the session cannot be joined")),
            Err(SessionError::Ended(_)) => Err(Refusal::not_found("session")),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a session unless the visitor has one by now.
    fn start(self: &Arc<Self>, wish: &Wish, asker: Asker) -> Result<Option<Arc<LiveSession>>, Refusal> {
        self.has_room()?;
        let Wish { key, kind, control, terms, deadline, record, logged, trace } = wish;
        let focus = self.tracker.look(key, |presence| presence.focused()).flatten();
        let Entry::Vacant(entry) = self.sessions.of_visitor.entry(key.clone()) else { return Ok(None) };
        // Where the visitor waits for an agent, it has said what it wants to share.
        let opened = self.opened.remove(key).map(|(_, opened)| opened);
        let (id, kind) =
            opened.map_or_else(|| (SessionId::fresh(), *kind), |opened| (opened.session, opened.kind));
        let request = RequestId::fresh();
        let question = Question { request, session: id, terms: terms.clone(), deadline: *deadline };
        let control = *control;
        let (visitor, limits) = (Some(key.visitor.clone()), Arc::clone(&self.limits));
        let first = (asker.agent.clone(), Arc::clone(&asker.name));
        let setup = Setup { kind, visitor, question, asker, control, focus, limits };
        let mut out = Vec::new();
        let machine = Session::start(setup, self.clock.now(), &mut SystemChance, &mut out);
        let about = About {
            id,
            request,
            group: key.group.clone(),
            visitor: Some(key.visitor.clone()),
            kind,
            terms: Some(terms.clone()),
            control,
            record: record.clone(),
            asker: first,
            logged: *logged,
            title: None,
            trace: Begun::ByAgent(*trace),
        };
        let session = self.live(about, machine, out);
        self.sessions.list_open(&session);
        entry.insert(Arc::clone(&session));
        Ok(Some(session))
    }

    /// A session with what belongs to it, its first outputs still to be performed.
    fn live(&self, about: About, machine: Session, out: Vec<Output>) -> Arc<LiveSession> {
        let course = Course::begin(self.traces.get(), &about);
        let About { id, request, group, visitor, kind, terms, control, record, asker, logged, title, .. } =
            about;
        let relay = |source| Arc::new(Relay::new(source, Arc::clone(&self.limits)));
        Arc::new(LiveSession {
            id,
            request,
            guest: machine.guest_seat(),
            chatter: Mutex::new(Chatter::new(id, visitor.clone(), asker.clone())),
            group,
            visitor,
            kind,
            terms,
            control,
            record,
            asker: asker.0,
            logged,
            title,
            invites: Mutex::default(),
            waiting: Waiting::default(),
            barred: AtomicBool::new(false),
            adopted: AtomicBool::new(false),
            saving: saved::Saving::default(),
            relay: relay(Source::Screen),
            stage: Mutex::new(Stage::new(Source::Screen)),
            camera: (relay(Source::Camera), Mutex::new(Stage::new(Source::Camera))),
            course: Mutex::new(course),
            driver: Driver::new(machine, out),
            steps: AtomicU64::new(0),
            scheduled: AtomicU64::new(u64::MAX),
        })
    }

    /// Hands an input to a session and performs what it leads to.
    pub(super) fn drive(
        self: &Arc<Self>,
        session: &Arc<LiveSession>,
        input: Input,
    ) -> Result<Answer, SessionError> {
        let now = self.clock.now();
        self.drive_with(session, |machine, out| machine.handle(now, input, &mut SystemChance, out))
    }

    fn drive_with<R>(
        self: &Arc<Self>,
        session: &Arc<LiveSession>,
        step: impl FnOnce(&mut Session, &mut Vec<Output>) -> R,
    ) -> R {
        let mut next = None;
        let mut changed = false;
        let stepped = |machine: &mut Session, out: &mut Vec<Output>| {
            // Asked under the lock: who begins to watch after this reads the session after the step.
            let before = self
                .operators
                .concern_session(&session.group, session.visitor.as_ref())
                .then(|| machine.view());
            let result = step(machine, out);
            session.steps.fetch_add(1, Ordering::Relaxed);
            self.saves.stepped(session, machine);
            changed = before.is_some_and(|before| before != machine.view());
            next = machine.next_deadline();
            result
        };
        let result = session.driver.drive(stepped, |output| self.perform_session(session, output));
        if changed {
            self.operators.tell_session(session);
        }
        if let Some(at) = next {
            self.schedule(session, at);
        }
        result
    }

    /// What an output was held for is done.
    pub(super) fn resume(self: &Arc<Self>, session: &Arc<LiveSession>) {
        session.driver.resume(|output| self.perform_session(session, output));
    }

    /// Asks the timer for a call unless an earlier one will come anyway.
    fn schedule(&self, session: &LiveSession, at: Tick) {
        if session.scheduled.fetch_min(at.0, Ordering::Relaxed) > at.0 {
            self.timers.at(at, Due::Session(session.id));
        }
    }

    pub(super) fn session_due(self: &Arc<Self>, id: SessionId) {
        let Some(session) = self.sessions.routed(id) else { return };
        session.scheduled.store(u64::MAX, Ordering::Relaxed);
        let now = self.clock.now();
        self.drive_with(&session, |machine, out| machine.on_deadline(now, out));
    }

    /// Ends a session on behalf of an agent or an operator.
    pub fn end_session(self: &Arc<Self>, session: &Arc<LiveSession>, reason: EndReason) {
        // Ending is never refused; ended stays ended.
        let _done = self.drive(session, Input::End(reason));
    }

    // ── What presence tells sessions ───────────────────────────────────────────────────────────

    pub(super) fn visitor_focus(self: &Arc<Self>, key: &VisitorKey, connection: ConnectionId) {
        self.tell_session(key, Input::Focus(Some(connection)));
    }

    pub(super) fn visitor_gone(self: &Arc<Self>, key: &VisitorKey) {
        self.tell_session(key, Input::VisitorGone);
    }

    fn tell_session(self: &Arc<Self>, key: &VisitorKey, input: Input) {
        if let Some(session) = self.sessions.of_visitor(key)
            && let Err(error) = self.drive(&session, input)
        {
            tracing::debug!(session = %session.id, %error, "presence came after the end");
        }
    }

    /// A visitor's page answers an offer.
    pub(super) fn answer_offer(self: &Arc<Self>, key: &VisitorKey, input: Input) -> Result<(), Refusal> {
        let over = || Refusal::new(ErrorCode::RequestOver, "the request is over");
        let session = self.sessions.of_visitor(key).ok_or_else(over)?;
        let answer = match &input {
            Input::Answer { by, accepted, .. } => Some((*by, *accepted)),
            _ => None,
        };
        match self.drive(&session, input) {
            Ok(_) => {
                if let Some((connection, accepted)) = answer {
                    let (id, request) = (session.id, session.request);
                    tracing::info!(
                        target: "porchlight::session",
                        session = %id, %request, %connection, accepted, "the visitor answered"
                    );
                }
                Ok(())
            }
            Err(SessionError::TermsChanged) => {
                Err(Refusal::new(ErrorCode::TermsChanged, SessionError::TermsChanged.to_string()))
            }
            Err(_) => Err(over()),
        }
    }
}
