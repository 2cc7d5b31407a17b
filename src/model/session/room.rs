//! The second half of a session: who is in it, what they may say, and how they come and go.

use super::{Answer, EndReason, Gate, Happened, Output, Participant, Phase, Say, Session, SessionError};
use crate::clock::{Now, Tick};
use crate::ids::{ConnectionId, ParticipantId};
use crate::model::control::{Control, ControlError};
use crate::model::ticket::{Chance, Lock, Secret, Token};
use crate::wire::agent::RequestState;
use crate::wire::close::{Close, CloseCode};
use crate::wire::session::{Change, Codec, Input, Role, Side, ToParticipant};

impl From<ControlError> for SessionError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::ViewOnly => Self::Forbidden("this session is view-only"),
            other => Self::WrongState(other.to_string()),
        }
    }
}

impl Session {
    pub(super) fn publisher(&self) -> Option<&Participant> {
        self.participants.iter().find(|p| p.role == Role::Publisher)
    }

    /// A ticket is used: once.
    pub(super) fn attach(
        &mut self,
        now: Now,
        secret: &Secret,
        connection: ConnectionId,
        decodes: Option<Vec<Codec>>,
        chance: &mut dyn Chance,
        out: &mut Vec<Output>,
    ) -> Result<Answer, SessionError> {
        let at = self
            .tickets
            .iter()
            .position(|ticket| ticket.lock.opens_to(secret) && now.tick < ticket.expires)
            .ok_or(SessionError::NoSuchTicket)?;
        let ticket = self.tickets.swap_remove(at);
        let resume = Secret::new(chance.secret());
        let before = self.participants.iter().position(|p| p.id == ticket.participant);
        let participant = Participant {
            id: ticket.participant,
            role: ticket.holder.role,
            side: ticket.holder.side,
            name: ticket.holder.name,
            agent: ticket.holder.agent,
            requester: ticket.holder.requester,
            connection: Some(connection),
            resume: Lock::of(&resume),
            resumes_until: None,
            lost_until: None,
            decodes,
            pointed: None,
        };
        let (id, role, view) = (participant.id, participant.role, participant.view());
        let person = participant.person();
        let change = match before {
            Some(before) => self.sits_down_again(before, participant, out),
            None => {
                self.participants.push(participant);
                Change::Joined
            }
        };
        self.tell_others(id, ToParticipant::Participant { participant: view, change }, out);
        if before.is_none() {
            out.push(Output::Happened(Happened::Joined(person)));
        }
        if role == Role::Publisher && before.is_some() {
            out.push(Output::Publisher(connection));
            out.push(Output::Moved);
        } else if role == Role::Publisher {
            out.push(Output::Publisher(connection));
            if matches!(self.phase, Phase::Open(Gate::Own(_))) {
                // It was the host that was waited for; now it is the others, for longer.
                self.waiting = None;
            }
            self.started = Some(now.wall);
            out.push(Output::Happened(Happened::Started));
            self.move_to(RequestState::Active, out);
        } else {
            out.push(Output::Moved);
        }
        self.guest_is_here(role, true);
        self.agree_on_codecs(out);
        self.look_who_is_missing(now);
        self.attached(now, id, resume)
    }

    /// Whoever had the place comes in anew, by key or link. A connection that still held the place is closed.
    fn sits_down_again(&mut self, at: usize, again: Participant, out: &mut Vec<Output>) -> Change {
        let (id, role) = (again.id, again.role);
        let before = std::mem::replace(&mut self.participants[at], again);
        if let Some(old) = before.connection {
            let close = Close::new(CloseCode::Replaced, "the participant came in again");
            out.push(Output::Close { connection: old, close });
            self.drop_control(id, role, out);
            self.stop_camera(id, out);
        }
        Change::Back
    }

    /// A resume token is used. It is replaced, and a connection that still held the place is closed.
    pub(super) fn come_back(
        &mut self,
        secret: &Secret,
        now: Now,
        connection: ConnectionId,
        decodes: Option<Vec<Codec>>,
        chance: &mut dyn Chance,
        out: &mut Vec<Output>,
    ) -> Result<Answer, SessionError> {
        let participant = self
            .participants
            .iter_mut()
            .find(|p| p.resume.opens_to(secret) && p.resumes_until.is_none_or(|until| now.tick < until))
            .ok_or(SessionError::NoSuchTicket)?;
        let resume = Secret::new(chance.secret());
        participant.resume = Lock::of(&resume);
        participant.resumes_until = None;
        participant.lost_until = None;
        participant.decodes = decodes;
        let before = participant.connection.replace(connection);
        let (id, role, view) = (participant.id, participant.role, participant.view());
        match before {
            Some(old) => {
                let close = Close::new(CloseCode::Replaced, "the resume token was used elsewhere");
                out.push(Output::Close { connection: old, close });
                // Whoever comes back, even this fast, has to give or be given control again.
                self.drop_control(id, role, out);
                self.stop_camera(id, out);
            }
            None => {
                let message = ToParticipant::Participant { participant: view, change: Change::Back };
                self.tell_others(id, message, out);
            }
        }
        if role == Role::Publisher {
            out.push(Output::Publisher(connection));
            // It is here: nobody comes in its place by a ticket that was handed out meanwhile.
            self.tickets.retain(|ticket| ticket.holder.role != Role::Publisher);
        }
        out.push(Output::Moved);
        self.guest_is_here(role, true);
        self.agree_on_codecs(out);
        self.look_who_is_missing(now);
        self.attached(now, id, resume)
    }

    fn attached(&self, now: Now, id: ParticipantId, resume: Secret) -> Result<Answer, SessionError> {
        let me = self.participant(id)?;
        let token = Token { session: self.id, secret: resume };
        let message = ToParticipant::Attached {
            session_id: self.id,
            participant_id: id,
            role: me.role,
            kind: self.kind,
            shows: self.shows_otherwise(),
            title: None,
            resume_token: token.text(),
            control: self.control.view(),
            control_allowed: self.allows_control(),
            paused: self.paused,
            participants: self.participants.iter().map(Participant::view).collect(),
            permissions: self.guided.facts(),
            steps: self.guided.steps(),
            live: Vec::new(),
            camera: self.camera,
            agent_video: None,
            codecs: self.codecs.clone(),
            heartbeat: self.limits.dead_after.as_secs(),
            server_time: now.wall,
        };
        Ok(Answer::Attached { participant: id, role: me.role, side: me.side, message: Box::new(message) })
    }

    /// A connection is gone; its participant may come back for a while.
    pub(super) fn lost(
        &mut self,
        now: Now,
        id: ParticipantId,
        connection: ConnectionId,
        out: &mut Vec<Output>,
    ) -> Result<Answer, SessionError> {
        let here = |p: &Participant| p.id == id && p.connection == Some(connection);
        let Some(at) = self.participants.iter().position(here) else { return Ok(Answer::Done) };
        let lost_until = self.waits_for(self.participants[at].role, now);
        let participant = &mut self.participants[at];
        participant.connection = None;
        participant.resumes_until = Some(now.tick.after(self.limits.resume_window));
        participant.lost_until = Some(lost_until);
        let (role, view) = (participant.role, participant.view());
        self.tell_others(
            id,
            ToParticipant::Participant { participant: view, change: Change::Reconnecting },
            out,
        );
        self.drop_control(id, role, out);
        self.stop_camera(id, out);
        self.guest_is_here(role, false);
        self.agree_on_codecs(out);
        self.look_who_is_missing(now);
        out.push(Output::Moved);
        Ok(Answer::Done)
    }

    /// The participant whose time to come back is over is gone.
    pub(super) fn give_up_lost(&mut self, due: Tick, now: Now, out: &mut Vec<Output>) {
        let overdue = |p: &&Participant| p.lost_until.is_some_and(|until| due >= until);
        if let Some(id) = self.participants.iter().find(overdue).map(|p| p.id) {
            self.remove(now, id, out);
        }
    }

    /// A participant is gone for good. Without its publisher a session is over.
    fn remove(&mut self, now: Now, id: ParticipantId, out: &mut Vec<Output>) {
        let Some(at) = self.participants.iter().position(|p| p.id == id) else { return };
        let gone = self.participants.remove(at);
        let view = gone.view();
        self.tell_others(id, ToParticipant::Participant { participant: view, change: Change::Left }, out);
        out.push(Output::Happened(Happened::Left(gone.person())));
        self.drop_control(id, gone.role, out);
        self.stop_camera(id, out);
        if let Some(connection) = gone.connection {
            let close = Close::new(CloseCode::Ended, "you left the session");
            out.push(Output::Close { connection, close });
        }
        self.askers.retain(|asker| Some(asker.connection) != gone.requester);
        if gone.role == Role::Publisher {
            let reason = if gone.side == Side::Agent { EndReason::AgentLeft } else { EndReason::GuestLeft };
            self.end(reason, out);
        } else {
            self.agree_on_codecs(out);
            self.look_who_is_missing(now);
            out.push(Output::Moved);
        }
    }

    /// The session ends. The picture goes first: nobody sees a frame after the word that it is over.
    pub(super) fn close_room(&mut self, reason: EndReason, out: &mut Vec<Output>) {
        self.phase = Phase::Ended(reason);
        self.state = RequestState::Ended;
        self.camera = None;
        out.push(Output::Paused(true));
        let to = self.connections(|_| true);
        if !to.is_empty() {
            out.push(Output::Tell { to, message: ToParticipant::Ended { reason: reason.as_str() } });
        }
        if let Some(to) = self.focus.or(self.offered_to) {
            out.push(Output::VisitorEnded { to, reason });
        }
        let mut to: Vec<_> = self.askers.iter().map(|asker| asker.connection).collect();
        to.extend(self.host.iter().filter_map(|host| host.connection));
        to.extend(self.participants.iter().filter(|p| p.side == Side::Agent).filter_map(|p| p.requester));
        to.sort_unstable();
        to.dedup();
        if !to.is_empty() {
            out.push(Output::AgentEnded { to, reason });
        }
        for participant in &mut self.participants {
            if let Some(connection) = participant.connection.take() {
                let close = Close::new(CloseCode::Ended, reason.as_str());
                out.push(Output::Close { connection, close });
            }
        }
        out.push(Output::Happened(Happened::Ended(reason)));
        out.push(Output::Moved);
    }

    pub(super) fn say(
        &mut self,
        now: Now,
        id: ParticipantId,
        what: Say,
        out: &mut Vec<Output>,
    ) -> Result<Answer, SessionError> {
        let me = self.participant(id)?;
        if me.connection.is_none() {
            return Err(SessionError::NoSuchTicket);
        }
        let (role, side) = (me.role, me.side);
        let publishes =
            |why| if role == Role::Publisher { Ok(()) } else { Err(SessionError::Forbidden(why)) };
        match what {
            Say::Leave => self.remove(now, id, out),
            Say::End { reason } => {
                let reason = match (role, side, reason.as_deref()) {
                    (Role::Publisher, _, Some("capture_denied")) => EndReason::CaptureDenied,
                    (Role::Publisher, _, Some("failed")) => EndReason::Failed,
                    (Role::Publisher, Side::Guest, Some("guest_left")) => EndReason::GuestLeft,
                    (Role::Publisher, Side::Guest, _) => EndReason::GuestEnded,
                    // It is one of many who were shown something: the others go on watching.
                    (Role::Viewer, Side::Guest, _) => {
                        return Err(SessionError::Forbidden("a guest who watches may leave, not end"));
                    }
                    (_, Side::Agent, _) => EndReason::AgentEnded,
                };
                self.end(reason, out);
            }
            Say::Pause => {
                publishes("only the publisher may pause")?;
                self.pause(true, out);
            }
            Say::Resume => {
                publishes("only the publisher may resume")?;
                self.pause(false, out);
            }
            Say::Shows(kind) => {
                publishes("only the publisher may say what it shows")?;
                self.show_as(kind, out)?;
            }
            Say::RequestControl => {
                if side != Side::Agent || role != Role::Viewer {
                    return Err(SessionError::Forbidden("only an agent that watches may ask for control"));
                }
                if self.control.request(id)? {
                    self.tell_control(out);
                }
            }
            Say::GrantControl(to) => {
                publishes("only the publisher's side may grant control")?;
                self.control.grant(to)?;
                let person = self.participant(to)?.person();
                out.push(Output::Happened(Happened::ControlGranted(person)));
                self.tell_control(out);
            }
            Say::RejectControl(to) => {
                publishes("only the publisher's side may reject control")?;
                self.control.reject(to)?;
                self.tell_control(out);
            }
            Say::RevokeControl => {
                publishes("only the publisher's side may revoke control")?;
                self.control.revoke()?;
                out.push(Output::Happened(Happened::ControlRevoked));
                self.tell_control(out);
            }
            Say::ReleaseControl => {
                let granted = self.control.is_granted();
                self.control.release(id)?;
                if granted {
                    out.push(Output::Happened(Happened::ControlRevoked));
                }
                self.tell_control(out);
            }
            Say::Input(input) => self.input(id, input, out)?,
            Say::InputHeld(held) => {
                publishes("only the publisher says what input it holds back")?;
                self.input_held(held, out);
            }
            Say::Permission(fact) => {
                publishes("only the publisher tells what its device allows")?;
                self.permits(fact, out);
            }
            Say::Point(at) => self.point(now, id, at, out)?,
            Say::StartCamera(right) => self.start_camera(id, &right, out)?,
            Say::StopCamera => self.stop_camera(id, out),
            Say::Chat(text) => {
                let to = self.connections(|_| true);
                out.push(Output::Tell { to, message: ToParticipant::Chat { participant_id: id, text } });
            }
        }
        Ok(Answer::Done)
    }

    /// Input passes only under a live grant for this very agent, and while there is something to see: who is granted control
    /// in a pause has it when that is over.
    fn input(&mut self, id: ParticipantId, input: Input, out: &mut Vec<Output>) -> Result<(), SessionError> {
        if self.paused || !self.control.permits(id, input.epoch) {
            out.push(Output::Happened(Happened::InputRefused));
            return Err(SessionError::ControlNotGranted);
        }
        let to = self.connections(|p| p.role == Role::Publisher);
        out.push(Output::Tell { to, message: ToParticipant::Input(input) });
        Ok(())
    }

    fn pause(&mut self, paused: bool, out: &mut Vec<Output>) {
        if self.paused == paused {
            return;
        }
        self.paused = paused;
        out.push(Output::Paused(paused));
        if paused {
            self.end_control(Control::suspend, out);
        }
        let to = self.connections(|_| true);
        out.push(Output::Tell { to, message: ToParticipant::Paused { paused } });
        let happened = if paused { Happened::Paused } else { Happened::Resumed };
        out.push(Output::Happened(happened));
        out.push(Output::Moved);
    }

    /// While one side has nobody, the other waits, but not for ever. A publisher that lost its
    /// connection has its own, shorter deadline.
    pub(super) fn look_who_is_missing(&mut self, now: Now) {
        let missing = self.publisher().is_none() || self.viewers_here() == 0;
        self.waiting = match (missing, self.waiting) {
            (false, _) => None,
            (true, Some(since)) => Some(since),
            (true, None) => Some(self.wait_from(now)),
        };
    }

    /// The codecs that every viewer here decodes; the publisher is told when they change. With none in
    /// common whole images stay: every browser shows those, whatever one client claims.
    fn agree_on_codecs(&mut self, out: &mut Vec<Output>) {
        let viewers = self.participants.iter().filter(|p| p.role == Role::Viewer && p.connection.is_some());
        let mut codecs = Codec::ALL.to_vec();
        for decodes in viewers.filter_map(|p| p.decodes.as_ref()) {
            codecs.retain(|codec| decodes.contains(codec));
        }
        if codecs.is_empty() {
            codecs.push(Codec::Jpeg);
        }
        if codecs != self.codecs {
            self.codecs.clone_from(&codecs);
            let to = self.connections(|p| p.role == Role::Publisher);
            if !to.is_empty() {
                out.push(Output::Tell { to, message: ToParticipant::Codecs { codecs } });
            }
        }
    }

    pub(super) fn participant(&self, id: ParticipantId) -> Result<&Participant, SessionError> {
        self.participants.iter().find(|p| p.id == id).ok_or(SessionError::NoSuchTicket)
    }

    fn tell_others(&self, but: ParticipantId, message: ToParticipant, out: &mut Vec<Output>) {
        let to = self.connections(|p| p.id != but);
        if !to.is_empty() {
            out.push(Output::Tell { to, message });
        }
    }

    /// A participant's connection is gone: it is no longer in control, nor does it give control.
    fn drop_control(&mut self, id: ParticipantId, role: Role, out: &mut Vec<Output>) {
        match role {
            Role::Publisher => self.end_control(Control::suspend, out),
            Role::Viewer => self.end_control(|control| control.away(id), out),
        }
    }

    /// Ends control; where there was any to end, it is told, and the end of a grant is written down.
    pub(super) fn end_control(&mut self, end: impl FnOnce(&mut Control) -> bool, out: &mut Vec<Output>) {
        let granted = self.control.is_granted();
        if end(&mut self.control) {
            if granted {
                out.push(Output::Happened(Happened::ControlRevoked));
            }
            self.tell_control(out);
        }
    }

    fn tell_control(&self, out: &mut Vec<Output>) {
        let to = self.connections(|_| true);
        if !to.is_empty() {
            out.push(Output::Tell { to, message: ToParticipant::Control(self.control.view()) });
        }
    }

    /// Whether a connection belongs to a publisher that may send frames now: the phase is open and it
    /// is not paused.
    pub fn may_publish(&self, connection: ConnectionId) -> bool {
        matches!(self.phase, Phase::Open(_))
            && !self.paused
            && self.publisher().is_some_and(|p| p.connection == Some(connection))
    }
}
