//! What is left of a session when its node is gone: its saved form, and the session that another node makes of it.
//!
//! Decides what survives. Who is in the session, what they may do, the gate and the tickets survive; connections
//! do not, and with them go control, an agent's camera and whoever only waited at a connection. Does not decide where the form is
//! kept or who may restore it: the hub asks [`crate::cluster`].
//!
//! Moments are saved as times of day, since another node counts other ticks, and what is left of them is bounded
//! by what there was at first: a clock that is wrong by some seconds makes a time that much shorter, or no longer
//! than it ever was. Secrets are saved as their locks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::awaiting::Door;
use super::device::Guided;
use super::{Gate, Happened, Host, Output, Participant, Phase, Session};
use crate::clock::{Now, Wall};
use crate::ids::{AgentId, ParticipantId, RequestId, SessionId, VisitorId};
use crate::limits::Limits;
use crate::model::control::Control;
use crate::model::request::{Admission, Holder, OwnScreen, Request, SavedAdmission, SavedRequest, Ticket};
use crate::model::session::Person;
use crate::model::ticket::Lock;
use crate::wire::agent::RequestState;
use crate::wire::session::{Codec, Role, Side};
use crate::wire::visitor::SessionKind;

/// A session that has not ended, without its connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    session: SessionId,
    request: RequestId,
    kind: SessionKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shows: Option<SessionKind>,
    visitor: Option<VisitorId>,
    host: Option<AgentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    door: Option<SavedDoor>,
    phase: SavedPhase,
    created: Wall,
    started: Option<Wall>,
    asked_by: Arc<str>,
    asking: Vec<AgentId>,
    tickets: Vec<SavedTicket>,
    participants: Vec<SavedParticipant>,
    control: SavedControl,
    #[serde(default, skip_serializing_if = "Guided::is_plain")]
    guided: Guided,
    paused: bool,
    waiting: Option<Wall>,
    ends: Wall,
}

/// Where the guest comes in whose screen it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SavedDoor {
    seat: ParticipantId,
    asked: SavedRequest,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum SavedPhase {
    Asking(SavedRequest),
    Met(SavedAdmission),
    Own { agent: AgentId, name: Arc<str> },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedTicket {
    lock: Lock,
    participant: ParticipantId,
    role: Role,
    side: Side,
    name: Arc<str>,
    agent: Option<AgentId>,
    expires_at: Wall,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SavedParticipant {
    #[serde(flatten)]
    person: Person,
    resume: Lock,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SavedControl {
    allowed: bool,
    granted: bool,
    epoch: u64,
}

impl Saved {
    /// The session it is.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The request that opened it.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The visitor whose screen it is, if it is one's.
    pub fn visitor(&self) -> Option<&VisitorId> {
        self.visitor.as_ref()
    }
}

impl Session {
    /// What another node needs to go on with it; nothing of a session that is over.
    pub fn save(&self, now: Now) -> Option<Saved> {
        let phase = match &self.phase {
            Phase::Asking(request) => SavedPhase::Asking(request.save()),
            Phase::Open(Gate::Met(admission)) => SavedPhase::Met(admission.save()),
            Phase::Open(Gate::Own(own)) => {
                let agent = self.host.as_ref()?.agent.clone();
                SavedPhase::Own { agent, name: Arc::clone(own.name()) }
            }
            Phase::Ended(_) | Phase::Moving => return None,
        };
        let mut asking = self.asking_agents();
        asking.sort_unstable();
        asking.dedup();
        Some(Saved {
            session: self.id,
            request: self.request,
            kind: self.kind,
            shows: self.shows_otherwise(),
            visitor: self.visitor.clone(),
            host: self.host.as_ref().map(|host| host.agent.clone()),
            door: self.door.as_ref().map(|door| {
                let (seat, asked) = door.save(now);
                SavedDoor { seat, asked }
            }),
            phase,
            created: self.created,
            started: self.started,
            asked_by: Arc::clone(&self.asked_by),
            asking,
            tickets: self.tickets.iter().map(save_ticket).collect(),
            participants: self.participants.iter().map(save_participant).collect(),
            control: SavedControl {
                allowed: self.control.allowed(),
                granted: self.control.is_granted(),
                epoch: self.control.view().epoch,
            },
            guided: self.guided.clone(),
            paused: self.paused,
            waiting: self.waiting.map(|at| now.wall_of(at)),
            ends: now.wall_of(self.ends),
        })
    }

    /// Goes on with a session that another node saved. Nobody is connected: who was in it has the time of a
    /// resume to come back, counted from now, since nobody could while it had no node. What is put on paper by
    /// that is in `out`; the hub tells the session where its visitor is.
    pub fn restore(saved: Saved, now: Now, limits: Arc<Limits>, out: &mut Vec<Output>) -> Self {
        let Saved { session: id, request, started, .. } = saved;
        let back_until = now.tick.after(limits.resume_window);
        let left = |at, most| now.tick.after(now.left_until(at, most));
        let door = saved.door.map(|SavedDoor { seat, asked }| {
            Door::restored(seat, &Request::restored(asked, request, id, now))
        });
        let (phase, state, accepted, abandoned) = match saved.phase {
            SavedPhase::Asking(asked) => {
                let asked = Request::restored(asked, request, id, now);
                let state = asked.displayed().map_or(RequestState::Offered, |_| RequestState::Displayed);
                // Whoever asked has to come back too, or nobody is left to ask; a guest may still come all the same.
                let abandoned = door.is_none().then_some(back_until);
                (Phase::Asking(asked), state, None, abandoned)
            }
            SavedPhase::Met(admission) => {
                let admission = Admission::restored(admission, id);
                let accepted = Some((admission.at(), admission.version().cloned()));
                (Phase::Open(Gate::Met(admission)), open_state(started), accepted, None)
            }
            SavedPhase::Own { agent, name } => {
                let own = OwnScreen::of(id, agent, name);
                (Phase::Open(Gate::Own(own)), open_state(started), None, None)
            }
        };
        let open = matches!(phase, Phase::Open(_));
        let tickets = saved.tickets.into_iter().map(|ticket| restore_ticket(ticket, now, &limits));
        let restored = |SavedParticipant { person, resume }| Participant {
            id: person.participant,
            role: person.role,
            side: person.side,
            name: person.name,
            agent: person.agent,
            requester: None,
            connection: None,
            resume,
            resumes_until: Some(back_until),
            lost_until: Some(back_until),
            decodes: None,
            pointed: None,
        };
        // Who may take its time while nobody is there does not have to show that it is alive.
        let alone = (open || door.is_none()).then_some(back_until);
        let mut session = Self {
            id,
            request,
            kind: saved.kind,
            shows: saved.shows.unwrap_or(saved.kind),
            visitor: saved.visitor,
            host: saved.host.map(|agent| Host { agent, connection: None }),
            door,
            phase,
            state,
            accepted,
            started,
            created: saved.created,
            askers: Vec::new(),
            asked_by: saved.asked_by,
            missing: saved.asking,
            abandoned,
            alone,
            revision: 0,
            departing: false,
            focus: None,
            offered_to: None,
            tickets: tickets.filter(|ticket| now.tick < ticket.expires).collect(),
            participants: saved.participants.into_iter().map(restored).collect(),
            control: Control::restored(saved.control.allowed, saved.control.epoch),
            camera: None,
            guided: saved.guided,
            paused: saved.paused,
            waiting: saved.waiting.map(|at| left(at, limits.waiting)),
            ends: left(saved.ends, limits.session_length),
            codecs: Codec::ALL.to_vec(),
            limits,
        };
        if open {
            session.look_who_is_missing(now);
        }
        let waits = session.waits_for(Role::Publisher, now);
        for publisher in session.participants.iter_mut().filter(|p| p.role == Role::Publisher) {
            publisher.lost_until = Some(waits);
        }
        if session.paused {
            out.push(Output::Paused(true));
        }
        if saved.control.granted {
            out.push(Output::Happened(Happened::ControlRevoked));
        }
        out.push(Output::Moved);
        session
    }
}

/// Where a session with an open gate stands: it is connecting until its publisher came for the first time.
fn open_state(started: Option<Wall>) -> RequestState {
    if started.is_some() { RequestState::Active } else { RequestState::Connecting }
}

fn save_ticket(ticket: &Ticket) -> SavedTicket {
    let Holder { role, side, name, agent, requester: _ } = ticket.holder.clone();
    let (participant, expires_at) = (ticket.participant, ticket.expires_at);
    SavedTicket { lock: ticket.lock.clone(), participant, role, side, name, agent, expires_at }
}

fn restore_ticket(saved: SavedTicket, now: Now, limits: &Limits) -> Ticket {
    let SavedTicket { lock, participant, role, side, name, agent, expires_at } = saved;
    let end = now.after(now.left_until(expires_at, limits.ticket_life));
    let holder = Holder { role, side, name, agent, requester: None };
    Ticket { lock, participant, holder, expires: end.tick, expires_at: end.wall }
}

fn save_participant(participant: &Participant) -> SavedParticipant {
    SavedParticipant { person: participant.person(), resume: participant.resume.clone() }
}
