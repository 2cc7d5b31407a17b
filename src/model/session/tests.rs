//! Sessions told as stories, and their laws under random inputs.
//!
//! A [`Stage`] has one session on it, a clock that moves only when told, and chance that counts. What the
//! session says is rendered as short lines, so that a story reads as what each side sees.

mod asking;
mod awaiting;
mod camera;
mod departing;
mod device;
mod held;
mod laws;
mod noted;
mod plan;
mod pointing;
mod room;
mod saved;
mod showing;
mod shows;

use std::collections::HashMap;

use self::device::todo;
use self::noted::Noted;
use super::*;
use crate::model::request::Question;
use crate::model::ticket::{Secret, Token};
use crate::wire::session::{ControlView, Input as InputEvents, ToParticipant};
use crate::wire::visitor::TermsShown;

/// Connections of the visitor's page.
const TAB: ConnectionId = ConnectionId(1);
const TAB2: ConnectionId = ConnectionId(2);
/// Connections of agents' pages.
const ALICE: ConnectionId = ConnectionId(11);
const BOB: ConnectionId = ConnectionId(12);
const CAROL: ConnectionId = ConnectionId(13);
/// Session sockets.
const SHARE: ConnectionId = ConnectionId(21);
const SHARE2: ConnectionId = ConnectionId(22);
const VIEW_A: ConnectionId = ConnectionId(31);
const VIEW_A2: ConnectionId = ConnectionId(32);
const VIEW_B: ConnectionId = ConnectionId(33);
const VIEW_C: ConnectionId = ConnectionId(34);
/// Session sockets of guests who watch.
const ANN: ConnectionId = ConnectionId(41);
const BEN: ConnectionId = ConnectionId(42);

const REQUEST: RequestId = RequestId::from_u128(1);
const SESSION: SessionId = SessionId::from_u128(2);
const OTHER_REQUEST: RequestId = RequestId::from_u128(9);
const DEADLINE: Duration = Duration::from_secs(60);

fn name(connection: ConnectionId) -> String {
    match connection {
        TAB => "tab".into(),
        TAB2 => "tab2".into(),
        ALICE => "alice".into(),
        BOB => "bob".into(),
        CAROL => "carol".into(),
        SHARE => "share".into(),
        SHARE2 => "share2".into(),
        VIEW_A => "view-a".into(),
        VIEW_A2 => "view-a2".into(),
        VIEW_B => "view-b".into(),
        VIEW_C => "view-c".into(),
        ANN => "ann".into(),
        BEN => "ben".into(),
        other => other.to_string(),
    }
}

fn names(connections: &[ConnectionId]) -> String {
    connections.iter().map(|c| name(*c)).collect::<Vec<_>>().join("+")
}

/// Chance that counts: no value comes twice, and each run is the same.
#[derive(Debug, Default)]
struct Count(u128);

impl Chance for Count {
    fn secret(&mut self) -> [u8; 16] {
        self.0 += 1;
        self.0.to_be_bytes()
    }

    fn participant(&mut self) -> ParticipantId {
        self.0 += 1;
        ParticipantId::from_u128(self.0)
    }
}

fn setup(required: bool, control: bool, focus: Option<ConnectionId>) -> Setup {
    Setup {
        kind: SessionKind::Screen,
        visitor: Some(VisitorId::new("C-1").unwrap()),
        question: Question {
            request: REQUEST,
            session: SESSION,
            terms: TermsShown { required, version: "v1".into(), text: None, url: None },
            deadline: DEADLINE,
        },
        asker: asker(ALICE),
        control,
        focus,
        limits: Arc::default(),
    }
}

fn asker(connection: ConnectionId) -> Asker {
    let (id, name) = match connection {
        ALICE => ("alice".into(), "Alice".into()),
        BOB => ("bob".into(), "Bob".into()),
        CAROL => ("carol".into(), "Carol".into()),
        other => (format!("agent-{}", other.0), format!("Agent {}", other.0)),
    };
    Asker { connection, agent: AgentId::new(&id).unwrap(), name: Arc::from(name) }
}

fn join(connection: ConnectionId) -> Input {
    Input::Join(asker(connection))
}

fn displayed(by: ConnectionId) -> Input {
    Input::Displayed { request: REQUEST, by }
}

fn accept(by: ConnectionId) -> Input {
    Input::Answer { request: REQUEST, by, accepted: true, version: Some("v1".into()) }
}

fn decline(by: ConnectionId) -> Input {
    Input::Answer { request: REQUEST, by, accepted: false, version: None }
}

fn cancel(by: ConnectionId) -> Input {
    Input::Cancel { request: REQUEST, by }
}

fn secret_of(text: &str) -> Secret {
    let token = Token::parse(text).unwrap();
    assert_eq!(token.session, SESSION);
    token.secret
}

/// Who sits at a session socket, as it was told when it attached.
#[derive(Debug, Clone)]
struct Seat {
    participant: ParticipantId,
    resume: Secret,
    codecs: Vec<Codec>,
    paused: bool,
    control: ControlView,
    people: Vec<String>,
}

/// One session and everybody around it.
#[derive(Debug)]
struct Stage {
    session: Session,
    now: Now,
    chance: Count,
    answer: Result<Answer, SessionError>,
    told: Vec<String>,
    noted: Vec<Noted>,
    moved: bool,
    /// The newest ticket handed to each page.
    tickets: HashMap<ConnectionId, Secret>,
    /// The ticket of each guest's call.
    calls: HashMap<u64, Secret>,
    seats: HashMap<ConnectionId, Seat>,
    people: HashMap<ParticipantId, String>,
    /// What was last known of the guest's device.
    kept: Option<Device>,
}

impl Stage {
    fn start(setup: Setup) -> Self {
        let (now, mut chance, mut out) = (Now::default(), Count::default(), Vec::new());
        let session = Session::start(setup, now, &mut chance, &mut out);
        Self::of(session, now, chance, out)
    }

    fn of(session: Session, now: Now, chance: Count, out: Vec<Output>) -> Self {
        let mut stage = Self {
            session,
            now,
            chance,
            answer: Ok(Answer::Done),
            told: Vec::new(),
            noted: Vec::new(),
            moved: false,
            tickets: HashMap::new(),
            calls: HashMap::new(),
            seats: HashMap::new(),
            people: HashMap::new(),
            kept: None,
        };
        stage.perform(out);
        stage
    }

    /// Alice asks a visitor who must accept terms and looks at one tab.
    fn asked() -> Self {
        Self::start(setup(true, true, Some(TAB)))
    }

    /// As [`Self::asked`], and the visitor has accepted.
    fn accepted() -> Self {
        let mut stage = Self::asked();
        stage.when(accept(TAB));
        stage
    }

    /// The visitor shows, Alice watches.
    fn active() -> Self {
        let mut stage = Self::accepted();
        stage.attach(TAB, SHARE);
        stage.attach(ALICE, VIEW_A);
        stage
    }

    /// The visitor shows, Alice and Bob watch.
    fn shared() -> Self {
        let mut stage = Self::active();
        stage.when(join(BOB));
        stage.attach(BOB, VIEW_B);
        stage
    }

    /// As [`Self::shared`], and Alice is in control.
    fn controlled() -> Self {
        let mut stage = Self::shared();
        stage.says(VIEW_A, Say::RequestControl);
        stage.says(SHARE, Say::GrantControl(stage.id(VIEW_A)));
        stage
    }

    fn when(&mut self, input: Input) -> &mut Self {
        let mut out = Vec::new();
        self.answer = self.session.handle(self.now, input, &mut self.chance, &mut out);
        self.perform(out);
        self
    }

    /// Time goes by, and the timer calls.
    fn after(&mut self, by: Duration) -> &mut Self {
        self.pass(by);
        let mut out = Vec::new();
        self.session.on_deadline(self.now, &mut out);
        self.answer = Ok(Answer::Done);
        self.perform(out);
        self
    }

    /// Time goes by, and the timer is late.
    fn pass(&mut self, by: Duration) -> &mut Self {
        self.now = self.now.after(by);
        self
    }

    /// Uses the newest ticket of a page.
    fn attach(&mut self, page: ConnectionId, connection: ConnectionId) -> &mut Self {
        self.attach_decoding(page, connection, None)
    }

    fn attach_decoding(
        &mut self,
        page: ConnectionId,
        connection: ConnectionId,
        decodes: Option<Vec<Codec>>,
    ) -> &mut Self {
        let secret = self.tickets[&page].clone();
        self.when(Input::Attach { secret, connection, decodes }).seated(connection)
    }

    /// Uses the resume token of the seat at `old`.
    fn comes_back(&mut self, old: ConnectionId, connection: ConnectionId) -> &mut Self {
        let secret = self.seats[&old].resume.clone();
        self.when(Input::Return { secret, connection, decodes: None }).seated(connection)
    }

    fn loses(&mut self, connection: ConnectionId) -> &mut Self {
        self.when(Input::Lost { participant: self.id(connection), connection })
    }

    fn says(&mut self, connection: ConnectionId, what: Say) -> &mut Self {
        self.when(Input::Say { participant: self.id(connection), what })
    }

    fn input(&mut self, connection: ConnectionId, epoch: u64) -> &mut Self {
        self.says(connection, Say::Input(InputEvents { epoch, events: Vec::new() }))
    }

    fn id(&self, connection: ConnectionId) -> ParticipantId {
        self.seats[&connection].participant
    }

    fn state(&self) -> RequestState {
        self.session.view().state
    }

    /// Viewers with a connection.
    fn viewers(&self) -> usize {
        let people = self.session.view().participants;
        people.iter().filter(|p| p.role == Role::Viewer && p.state == Here::Here).count()
    }

    fn ended(&self) -> Option<EndReason> {
        self.session.view().ended
    }

    /// Exactly this was said, in this order.
    #[track_caller]
    fn told<const N: usize>(&mut self, lines: [&str; N]) -> &mut Self {
        assert_eq!(self.told, lines);
        self
    }

    /// Exactly this was written down, in this order.
    #[track_caller]
    fn noted<const N: usize>(&mut self, happened: [Noted; N]) -> &mut Self {
        assert_eq!(self.noted, happened);
        self
    }

    /// It was refused, and nothing came of it.
    #[track_caller]
    fn refused(&mut self, error: SessionError) -> &mut Self {
        assert_eq!(self.answer.as_ref().unwrap_err(), &error);
        self.told([])
    }

    /// Nothing came of it, but it was no fault.
    #[track_caller]
    fn in_vain(&mut self) -> &mut Self {
        assert!(self.answer.is_ok(), "{:?}", self.answer);
        assert!(!self.moved);
        self.told([]).noted([])
    }

    /// The session ended for this reason.
    #[track_caller]
    fn ends(&mut self, reason: EndReason) -> &mut Self {
        assert_eq!(self.ended(), Some(reason));
        assert_eq!(self.session.next_deadline(), None);
        assert!(self.moved);
        self
    }

    fn seated(&mut self, connection: ConnectionId) -> &mut Self {
        if let Ok(Answer::Attached { participant, role, message, .. }) = &self.answer {
            let ToParticipant::Attached {
                session_id,
                participant_id,
                role: told,
                resume_token,
                codecs,
                paused,
                control,
                participants,
                ..
            } = &**message
            else {
                panic!("{message:?}")
            };
            assert_eq!((*session_id, participant_id, told), (SESSION, participant, role));
            for p in participants {
                let agent = p.agent_id.as_ref().map_or("guest", |agent| agent.as_str());
                self.people.insert(p.participant_id, agent.to_owned());
            }
            let person = |p: &ParticipantView| format!("{} {:?}", self.people[&p.participant_id], p.state);
            let seat = Seat {
                participant: *participant,
                resume: secret_of(resume_token),
                codecs: codecs.clone(),
                paused: *paused,
                control: *control,
                people: participants.iter().map(person).collect(),
            };
            self.seats.insert(connection, seat);
        }
        self
    }

    fn perform(&mut self, out: Vec<Output>) {
        self.told.clear();
        self.noted.clear();
        self.moved = false;
        for output in out {
            let line = match output {
                Output::Offer { to, agent, .. } => format!("offer {} from {agent}", name(to)),
                Output::OfferEnded { to, outcome } => format!("offer ended {}: {outcome:?}", name(to)),
                Output::VisitorReady { to, ticket, .. } | Output::AgentReady { to, ticket, .. } => {
                    self.tickets.insert(to, secret_of(&ticket));
                    format!("ready {}", name(to))
                }
                Output::GuestReady { call, ticket, .. } => {
                    self.calls.insert(call, secret_of(&ticket));
                    format!("ready guest {call}")
                }
                Output::VisitorEnded { to, reason } => format!("over {}: {}", name(to), reason.as_str()),
                Output::AgentEnded { to, reason } => format!("over {}: {}", names(&to), reason.as_str()),
                Output::Request { to, state } => format!("request {}: {}", names(&to), state.as_str()),
                Output::Tell { to, message } => format!("{} < {}", names(&to), self.line(&message)),
                Output::Close { connection, close } => {
                    format!("close {}: {}", name(connection), close.code.name())
                }
                Output::Paused(paused) => (if paused { "picture off" } else { "picture on" }).into(),
                Output::Publisher(connection) => format!("publisher {}", name(connection)),
                Output::Camera(connection) => format!("camera {}", connection.map_or("off".into(), name)),
                Output::Happened(happened) => {
                    self.noted.push(happened.into());
                    continue;
                }
                Output::Device(device) => {
                    self.kept = Some(device);
                    continue;
                }
                Output::Departs => "departs".into(),
                Output::Moved => {
                    self.moved = true;
                    continue;
                }
            };
            self.told.push(line);
        }
    }

    fn line(&mut self, message: &ToParticipant) -> String {
        match message {
            ToParticipant::Participant { participant, change } => {
                let agent = participant.agent_id.as_ref().map_or("guest", |agent| agent.as_str());
                self.people.insert(participant.participant_id, agent.to_owned());
                format!("{agent} {change:?}")
            }
            ToParticipant::Codecs { codecs } => format!("codecs {codecs:?}"),
            ToParticipant::Control(view) => {
                let who = view.participant_id.map_or("nobody", |id| &self.people[&id]);
                format!("control {:?} {who} {}", view.state, view.epoch)
            }
            ToParticipant::Input(input) => format!("input {}", input.epoch),
            ToParticipant::InputHeld(held) => format!("held {:?}", held.reason),
            ToParticipant::Paused { paused } => format!("paused {paused}"),
            ToParticipant::Point { participant_id, x, y } => {
                format!("{} points at {x} {y}", self.people[participant_id])
            }
            ToParticipant::Camera { participant_id } => {
                let whose = participant_id.map_or("nobody", |id| &self.people[&id]);
                format!("camera of {whose}")
            }
            ToParticipant::Shows { kind } => format!("shows {}", kind.as_str()),
            ToParticipant::Chat { participant_id, text } => {
                format!("{}: {text}", self.people[participant_id])
            }
            ToParticipant::Steps { participant_id, steps, .. } => {
                let who = self.people.get(participant_id).map_or("guest", String::as_str);
                format!("{who} has to {}", todo(steps))
            }
            ToParticipant::Ended { reason } => format!("ended {reason}"),
            other => panic!("a session never says {other:?}"),
        }
    }
}
