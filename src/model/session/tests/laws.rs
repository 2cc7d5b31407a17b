//! The laws of a session under inputs in any order.
//!
//! Beside the session runs a [`Plan`]: a plain book-keeper that sees the inputs, and of the outputs only
//! what nobody can know beforehand (secrets and participant ids). It says what must be true; the session
//! must agree after every step.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::camera::starts;
use super::plan::{Guest, Plan};
use super::*;
use crate::wire::session::Point;
use crate::wire::visitor::SessionKind::{self, Cobrowse, Screen, View};

const TABS: [ConnectionId; 3] = [TAB, TAB2, ConnectionId(3)];
const AGENTS: [ConnectionId; 3] = [ALICE, BOB, CAROL];

/// Chooses among what there is by then: where the flag says so, among what fits, so that runs get far.
type Pick = (bool, Index);

/// One step.
#[derive(Debug, Clone)]
enum Step {
    /// Time goes by, with the timer on time.
    Wait(u64),
    /// Time goes by, and the timer does not call.
    Jump(u64),
    /// The node dies, and another one goes on with the session after a while.
    Move(u64),
    Join(ConnectionId),
    AgentLost(ConnectionId),
    /// Somebody comes by a key or link; there is none into a session about a visitor's screen.
    Guest,
    Focus(Option<ConnectionId>),
    VisitorGone,
    Displayed(RequestId, ConnectionId),
    Answer(RequestId, ConnectionId, bool, Option<&'static str>),
    Cancel(RequestId, ConnectionId),
    /// With a ticket ever handed out; one that is valid fits.
    Attach(Pick),
    /// With a resume token ever handed out; the newest of a participant that is away fits.
    Return(Pick),
    /// A session socket ever attached; one that still is fits.
    Lost(Pick),
    /// Whoever ever attached; the one that may say it fits.
    Say(Pick, Words),
    End(EndReason),
}

#[derive(Debug, Clone)]
enum Words {
    Leave,
    End,
    Pause,
    Resume,
    Request,
    /// The one that asks fits.
    Grant(Pick),
    Reject(Pick),
    Revoke,
    Release,
    /// Under the newest epoch, or one beside it.
    Input(i64),
    Chat,
    /// The agents that watch may.
    Point(u16),
    Shows(SessionKind),
    /// By the right of this agent.
    StartCamera(&'static str),
    StopCamera,
}

fn waits() -> impl Strategy<Value = u64> {
    prop_oneof![
        20 => select(vec![0, 1, 100, 500, 2_500]),
        4 => select(vec![4_999, 5_000, 30_000, 55_000]),
        1 => select(vec![59_999, 60_000, 300_000]),
    ]
}

fn requests() -> impl Strategy<Value = RequestId> {
    prop_oneof![9 => Just(REQUEST), 1 => Just(OTHER_REQUEST)]
}

fn pick() -> impl Strategy<Value = Pick> {
    (proptest::bool::weighted(0.8), any::<Index>())
}

/// Chooses among what fits, or among all; there may be nothing to choose.
fn choose<T: Clone>((fitting, at): Pick, all: &[T], fits: impl Fn(&T) -> bool) -> Option<T> {
    let fit: Vec<T> = all.iter().filter(|one| fitting && fits(one)).cloned().collect();
    let from = if fit.is_empty() { all } else { &fit };
    (!from.is_empty()).then(|| at.get(from).clone())
}

fn words() -> impl Strategy<Value = Words> {
    prop_oneof![
        1 => Just(Words::Leave),
        1 => Just(Words::Pause),
        2 => Just(Words::Resume),
        12 => Just(Words::Request),
        16 => pick().prop_map(Words::Grant),
        1 => pick().prop_map(Words::Reject),
        2 => Just(Words::Revoke),
        2 => Just(Words::Release),
        24 => prop_oneof![4 => Just(0), 1 => Just(-1), 1 => Just(1)].prop_map(Words::Input),
        1 => Just(Words::Chat),
        8 => any::<u16>().prop_map(Words::Point),
        8 => select(vec![Cobrowse, Screen, Cobrowse, Screen, View]).prop_map(Words::Shows),
        8 => select(vec!["alice", "bob"]).prop_map(Words::StartCamera),
        2 => Just(Words::StopCamera),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let version = || select(vec![None, Some("v1"), Some("v1"), Some("v0")]);
    let tab = || select(TABS.to_vec());
    let agent = || select(AGENTS.to_vec());
    let step = prop_oneof![
        40 => waits().prop_map(Step::Wait),
        10 => waits().prop_map(Step::Jump),
        4 => waits().prop_map(Step::Move),
        20 => agent().prop_map(Step::Join),
        8 => agent().prop_map(Step::AgentLost),
        4 => Just(Step::Guest),
        12 => proptest::option::weighted(0.8, tab()).prop_map(Step::Focus),
        1 => Just(Step::VisitorGone),
        10 => (requests(), tab()).prop_map(|(request, by)| Step::Displayed(request, by)),
        20 => (requests(), tab(), version()).prop_map(|(request, by, v)| Step::Answer(request, by, true, v)),
        1 => (requests(), tab(), version()).prop_map(|(request, by, v)| Step::Answer(request, by, false, v)),
        4 => (requests(), agent()).prop_map(|(request, by)| Step::Cancel(request, by)),
        40 => pick().prop_map(Step::Attach),
        20 => pick().prop_map(Step::Return),
        15 => pick().prop_map(Step::Lost),
        90 => (pick(), words()).prop_map(|(who, words)| Step::Say(who, words)),
        1 => pick().prop_map(|who| Step::Say(who, Words::End)),
        1 => select(vec![EndReason::AgentEnded, EndReason::Drained]).prop_map(Step::End),
    ];
    proptest::collection::vec(step, 1..120)
}

/// The session, its book-keeper, and what was seen so far.
#[derive(Debug)]
struct Trial {
    session: Session,
    plan: Plan,
    now: Now,
    chance: Count,
    sockets: u64,
    /// Every session socket that was ever attached, and whose it was.
    attached: Vec<(ParticipantId, ConnectionId)>,
    tokens: Vec<Secret>,
    closed: HashSet<ConnectionId>,
    tickets: HashSet<String>,
    here: BTreeMap<ParticipantId, bool>,
    granted: bool,
    /// Whose camera is shown.
    camera: Option<ConnectionId>,
    starts: usize,
}

impl Trial {
    fn new(kind: SessionKind, required: bool, control: bool, focus: Option<ConnectionId>) -> Self {
        let (now, mut chance, mut out) = (Now::default(), Count::default(), Vec::new());
        let setup = Setup { kind, ..setup(required, control, focus) };
        let session = Session::start(setup, now, &mut chance, &mut out);
        let mut trial = Self {
            session,
            plan: Plan::new(kind, required, control, focus),
            now,
            chance,
            sockets: 100,
            attached: Vec::new(),
            tokens: Vec::new(),
            closed: HashSet::new(),
            tickets: HashSet::new(),
            here: BTreeMap::new(),
            granted: false,
            camera: None,
            starts: 0,
        };
        trial.judge(out);
        trial
    }

    /// The input that a step stands for; `None` where there is nobody to do it, or only time passes.
    fn input(&mut self, step: Step) -> Option<Input> {
        Some(match step {
            Step::Wait(millis) => {
                self.wait(millis);
                return None;
            }
            Step::Jump(millis) => {
                self.now = self.now.after(Duration::from_millis(millis));
                return None;
            }
            Step::Move(millis) => {
                self.moves(Duration::from_millis(millis));
                return None;
            }
            Step::Join(agent) => join(agent),
            Step::AgentLost(agent) => Input::AgentLost(agent),
            Step::Guest => Input::Guest(Entrant { call: 1, name: "Ann".into(), terms: None, device: None }),
            Step::Focus(focus) => Input::Focus(focus),
            Step::VisitorGone => Input::VisitorGone,
            Step::Displayed(request, by) => Input::Displayed { request, by },
            Step::Answer(request, by, accepted, version) => {
                Input::Answer { request, by, accepted, version: version.map(str::to_owned) }
            }
            Step::Cancel(request, by) => Input::Cancel { request, by },
            Step::Attach(pick) => {
                let now = self.now.tick;
                let tickets: Vec<_> = (self.plan.handed.iter())
                    .map(|ticket| (ticket.secret.clone(), ticket.valid && now < ticket.expires))
                    .collect();
                let ticket = choose(pick, &tickets, |(_, valid)| *valid);
                let secret = ticket.map_or(Secret::new([0; 16]), |(secret, _)| secret);
                Input::Attach { secret, connection: self.socket(), decodes: None }
            }
            Step::Return(pick) => {
                let away = |token: &Secret| {
                    self.plan.room.values().any(|g| g.connection.is_none() && g.resume.matches(token))
                };
                let secret = choose(pick, &self.tokens, away).unwrap_or(Secret::new([0; 16]));
                Input::Return { secret, connection: self.socket(), decodes: None }
            }
            Step::Lost(pick) => {
                let (participant, connection) = choose(pick, &self.attached, |(id, connection)| {
                    self.plan.room.get(id).is_some_and(|guest| guest.connection == Some(*connection))
                })?;
                Input::Lost { participant, connection }
            }
            Step::Say(pick, words) => {
                let (publisher, plan) = (self.plan.publisher(), &self.plan);
                let (participant, _) = choose(pick, &self.attached, |(id, _)| match words {
                    Words::Pause
                    | Words::Resume
                    | Words::Shows(_)
                    | Words::Grant(_)
                    | Words::Reject(_)
                    | Words::Revoke => publisher == Some(*id),
                    Words::Release | Words::Input(_) => plan.granted == Some(*id),
                    _ => plan.room.contains_key(id) && publisher != Some(*id),
                })?;
                let asks = |pick| choose(pick, &self.attached, |(id, _)| plan.asks == Some(*id));
                let what = match words {
                    Words::Leave => Say::Leave,
                    Words::End => Say::End { reason: None },
                    Words::Pause => Say::Pause,
                    Words::Resume => Say::Resume,
                    Words::Request => Say::RequestControl,
                    Words::Grant(pick) => Say::GrantControl(asks(pick)?.0),
                    Words::Reject(pick) => Say::RejectControl(asks(pick)?.0),
                    Words::Revoke => Say::RevokeControl,
                    Words::Release => Say::ReleaseControl,
                    Words::Input(beside) => Say::Input(InputEvents {
                        epoch: self.plan.epoch.saturating_add_signed(beside),
                        events: Vec::new(),
                    }),
                    Words::Chat => Say::Chat("hello".into()),
                    Words::Point(x) => Say::Point(Point { x, y: 1 }),
                    Words::Shows(kind) => Say::Shows(kind),
                    Words::StartCamera(agent) => starts(agent),
                    Words::StopCamera => Say::StopCamera,
                };
                Input::Say { participant, what }
            }
            Step::End(reason) => Input::End(reason),
        })
    }

    fn socket(&mut self) -> ConnectionId {
        self.sockets += 1;
        ConnectionId(self.sockets)
    }

    /// The timer calls exactly when it was asked to, and each time something comes of it.
    fn wait(&mut self, millis: u64) {
        let end = self.now.after(Duration::from_millis(millis));
        while let Some(due) = self.session.next_deadline().filter(|due| *due <= end.tick) {
            if due > self.now.tick.after(Duration::from_millis(1)) {
                self.now = self.now.after(Tick(due.0 - 1).since(self.now.tick));
                assert_eq!(self.timer(), 0, "something happened before its deadline");
            }
            self.now = self.now.after(due.since(self.now.tick));
            assert_ne!(self.timer(), 0, "nothing happened at a deadline");
            assert!(self.session.next_deadline().is_none_or(|next| next > self.now.tick));
        }
        self.now = end;
        assert_eq!(self.timer(), 0, "something happened after the last deadline");
    }

    /// The session lives on elsewhere, from what was saved of it.
    fn moves(&mut self, outage: Duration) {
        let Some(saved) = self.session.save(self.now) else {
            assert!(self.session.is_ended());
            return;
        };
        assert!(!self.session.is_ended());
        let (saved, limits) = (written(&saved), Arc::clone(&self.session.limits));
        let tick = self.now.tick;
        let overdue = self.session.next_deadline().is_some_and(|due| due <= tick);
        if !overdue && self.session.tickets.iter().all(|ticket| tick < ticket.expires) {
            let same = Session::restore(read(&saved), self.now, Arc::clone(&limits), &mut Vec::new());
            assert_eq!(lasting(&same.save(self.now).unwrap()), lasting(&read(&saved)));
        }
        self.now = self.now.after(outage);
        let mut out = Vec::new();
        self.session = Session::restore(read(&saved), self.now, limits, &mut out);
        self.plan.restored(self.now.tick);
        self.camera = None;
        self.judge(out);
        self.timer();
    }

    fn timer(&mut self) -> usize {
        let mut out = Vec::new();
        let ended = self.session.is_ended();
        self.session.on_deadline(self.now, &mut out);
        assert!(!ended || out.is_empty(), "after the end: {out:?}");
        self.plan.time(self.now.tick);
        let count = out.len();
        self.judge(out);
        count
    }

    fn take(&mut self, input: &Input) -> Vec<Output> {
        let mut out = Vec::new();
        let ended = self.session.is_ended();
        let before = (self.session.revision(), self.session.save(self.now));
        let answer = self.session.handle(self.now, input.clone(), &mut self.chance, &mut out);
        if self.session.revision() == before.0 {
            assert_eq!(
                self.session.save(self.now).as_ref().map(written),
                before.1.as_ref().map(written),
                "it would be saved otherwise, and was not counted: {input:?}"
            );
        }
        assert!(!ended || out.is_empty(), "after the end: {out:?}");
        let now = self.now.tick;
        let showed = self.plan.shows;
        self.plan.takes(now, input);
        let publisher = self.plan.publisher().and_then(|id| self.plan.room[&id].connection);
        let points: Vec<_> = out.iter().filter_map(heard_point).collect();
        let expected: Vec<_> =
            publisher.filter(|_| self.plan.points).map(|to| vec![to]).into_iter().collect();
        assert_eq!(points, expected, "{input:?}");
        let told = out.iter().any(|output| matches!(output, Output::Happened(Happened::Shows(_))));
        assert_eq!(told, showed != self.plan.shows);
        match input {
            Input::Attach { secret, connection, .. } => {
                let opens = self.plan.opens_door(now, secret);
                self.enters(*connection, opens.map(|publisher| (None, publisher)), answer);
            }
            Input::Return { secret, connection, .. } => {
                let over = self.plan.over;
                let found = self.plan.room.iter().find(|(_, guest)| !over && guest.resume.matches(secret));
                let opens = found.map(|(id, guest)| (Some(*id), guest.publisher));
                self.enters(*connection, opens, answer);
            }
            Input::Say { participant, what: Say::Input(input) } => {
                let live = self.plan.granted == Some(*participant) && self.plan.epoch == input.epoch;
                let passes = live && !self.plan.paused;
                assert_eq!(answer.is_ok(), passes, "{answer:?} {:?}", self.plan);
                let to: Vec<_> = out.iter().filter_map(heard_input).collect();
                let expected: Vec<_> = if passes { vec![vec![publisher.unwrap()]] } else { Vec::new() };
                assert_eq!(to, expected);
            }
            Input::Say { participant, what: Say::Point(_) } => {
                assert_eq!(answer.is_ok(), self.plan.may_point(*participant), "{answer:?} {:?}", self.plan);
                assert!(out.iter().all(|output| heard_input(output).is_none()), "pointing touches nothing");
            }
            Input::Guest(_) => {
                assert!(answer.is_err() && out.iter().all(|output| heard_input(output).is_none()))
            }
            _ => assert!(!out.iter().any(|output| heard_input(output).is_some())),
        }
        out
    }

    /// A door opened, or not, as the book-keeper says.
    fn enters(
        &mut self,
        connection: ConnectionId,
        opens: Option<(Option<ParticipantId>, bool)>,
        answer: Result<Answer, SessionError>,
    ) {
        let entered = match answer {
            Ok(Answer::Attached { participant, role, message, .. }) => Some((participant, role, message)),
            Ok(other) => panic!("{other:?}"),
            Err(SessionError::NoSuchTicket | SessionError::Ended(_)) => None,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(entered.is_some(), opens.is_some(), "{:?}", self.plan);
        let (Some((id, role, message)), Some((known, publisher))) = (entered, opens) else { return };
        assert_eq!(role == Role::Publisher, publisher);
        assert!(known.is_none_or(|known| known == id));
        let ToParticipant::Attached { resume_token, paused, control, participants, kind, shows, .. } =
            *message
        else {
            panic!("{message:?}")
        };
        assert_eq!(shows.unwrap_or(kind), self.plan.shows);
        // Replaced before its loss was noticed, it is away for a moment all the same.
        if self.plan.room.get(&id).is_some_and(|guest| guest.connection.is_some()) {
            self.plan.frees_control(id);
        }
        let resume = secret_of(&resume_token);
        assert!(!self.tokens.iter().any(|old| old.matches(&resume)), "a token came twice");
        self.tokens.push(resume.clone());
        self.attached.push((id, connection));
        let guest = Guest { publisher, connection: Some(connection), away_until: None, resume };
        self.plan.room.insert(id, guest);
        self.plan.alone = None;
        self.plan.looks_who_is_missing(self.now.tick);
        assert_eq!((paused, control.epoch), (self.plan.paused, self.plan.epoch));
        let told: HashSet<_> =
            participants.iter().map(|p| (p.participant_id, p.state == Here::Here)).collect();
        let room = self.plan.room.iter();
        assert_eq!(told, room.map(|(id, guest)| (*id, guest.connection.is_some())).collect());
    }

    /// Looks at everything that was said, and then at the session as it is.
    fn judge(&mut self, out: Vec<Output>) {
        let mut ended = false;
        for output in out {
            assert!(!ended || matches!(output, Output::Moved), "after the end: {output:?}");
            match output {
                Output::VisitorReady { to, ticket, .. } => {
                    self.handed(&ticket);
                    assert_eq!(Some(to), self.plan.focus);
                    self.plan.hands(self.now.tick, secret_of(&ticket), to, true);
                }
                Output::AgentReady { to, ticket, .. } => {
                    self.handed(&ticket);
                    self.plan.hands(self.now.tick, secret_of(&ticket), to, false);
                }
                Output::Publisher(connection) => {
                    assert!(self.plan.open, "a picture before the terms are met");
                    assert_eq!(self.attached.last().map(|(_, last)| *last), Some(connection));
                }
                Output::Camera(shown) => self.shows_camera(shown),
                Output::Tell { to, .. } => {
                    assert!(self.plan.open, "words before the terms are met");
                    assert!(!to.is_empty());
                    for to in to {
                        assert!(self.attached.iter().any(|(_, attached)| *attached == to));
                        assert!(!self.closed.contains(&to), "words to a closed connection");
                    }
                }
                Output::Close { connection, .. } => {
                    assert!(self.attached.iter().any(|(_, attached)| *attached == connection));
                    assert!(self.closed.insert(connection), "closed twice");
                }
                Output::Request { to, .. } | Output::AgentEnded { to, .. } => assert!(!to.is_empty()),
                Output::GuestReady { .. } => {
                    panic!("a guest's ticket into a session about a visitor's screen")
                }
                Output::Happened(happened) => ended |= self.happened(&happened.into()),
                Output::Offer { to, .. } => assert_eq!(Some(to), self.plan.offered),
                Output::OfferEnded { .. }
                | Output::VisitorEnded { .. }
                | Output::Paused(_)
                | Output::Moved
                | Output::Device(_)
                | Output::Departs => {}
            }
        }
        let view = self.session.view();
        let plan = &self.plan;
        assert_eq!(self.session.shown_kind(), plan.shows, "{plan:?}");
        assert_eq!(self.session.question().is_some(), plan.asking(), "{plan:?}");
        assert_eq!(self.session.is_ended(), plan.over, "{plan:?}");
        assert_eq!(self.session.next_deadline(), plan.next(), "{plan:?}");
        assert_eq!(self.session.next_deadline().is_none(), self.session.is_ended());
        assert_eq!(view.accepted.is_some(), plan.open);
        assert_eq!(self.granted && !plan.over, plan.granted.is_some(), "what was written down of control");
        let camera = self.camera.filter(|_| !plan.over);
        assert!(camera.is_none_or(|shown| plan.room.values().any(|guest| guest.connection == Some(shown))));
        assert_eq!(self.session.camera_of().is_some(), camera.is_some());
        for (id, guest) in &plan.room {
            let may = guest.publisher && !plan.paused && !plan.over && guest.connection.is_some();
            assert_eq!(guest.connection.is_some_and(|c| self.session.may_publish(c)), may);
            assert!(self.here[id] || plan.over);
        }
    }

    /// One camera at a time, of an agent that holds the right, and only once the terms are met.
    fn shows_camera(&mut self, shown: Option<ConnectionId>) {
        assert!(self.plan.open && !self.plan.over, "a camera before the terms are met, or after the end");
        let before = std::mem::replace(&mut self.camera, shown);
        assert_ne!(before.is_some(), shown.is_some(), "two cameras, or an end of none");
        let Some(connection) = shown else { return };
        let (id, _) = self.attached.iter().find(|(_, attached)| *attached == connection).unwrap();
        assert_eq!(self.plan.room[id].connection, Some(connection));
        let agent = self.session.agent_of(*id).expect("a guest's camera").as_str();
        assert!(["alice", "bob"].contains(&agent), "the camera of {agent}, who holds no right");
    }

    fn handed(&mut self, ticket: &str) {
        assert!(self.plan.open, "a ticket before the terms are met");
        assert!(!self.plan.over, "a ticket after the end");
        assert!(self.tickets.insert(ticket.to_owned()), "a ticket came twice");
    }

    /// Notes what was written down; true for the end.
    fn happened(&mut self, happened: &Noted) -> bool {
        match happened {
            Noted::Joined(id) => assert_eq!(self.here.insert(*id, true), None, "joined twice"),
            Noted::Left(id) => assert_eq!(self.here.insert(*id, false), Some(true), "left twice"),
            Noted::ControlGranted(id) => {
                assert_eq!(Some(*id), self.plan.granted);
                assert!(!std::mem::replace(&mut self.granted, true), "granted twice");
            }
            Noted::ControlRevoked => assert!(std::mem::take(&mut self.granted), "no grant ended"),
            Noted::Started => self.starts += 1,
            Noted::Ended(_) => return true,
            _ => {}
        }
        assert!(self.starts <= 1);
        false
    }
}

/// As it lies in the vault.
fn written(saved: &Saved) -> String {
    serde_json::to_string(saved).unwrap()
}

fn read(text: &str) -> Saved {
    serde_json::from_str(text).unwrap()
}

/// What is the same however often a session moves: not control, and not how long it waits for somebody.
fn lasting(saved: &Saved) -> serde_json::Value {
    let mut saved = serde_json::to_value(saved).unwrap();
    saved["control"] = saved["control"]["allowed"].take();
    saved["waiting"].take();
    saved
}

pub(super) fn heard_input(output: &Output) -> Option<Vec<ConnectionId>> {
    match output {
        Output::Tell { to, message: ToParticipant::Input(_) } => Some(to.clone()),
        _ => None,
    }
}

fn heard_point(output: &Output) -> Option<Vec<ConnectionId>> {
    match output {
        Output::Tell { to, message: ToParticipant::Point { .. } } => Some(to.clone()),
        _ => None,
    }
}

/// Whether taking this input once more must change nothing. Words and input count each time; an agent
/// that joins an open session again gets a new ticket for its old one.
fn counts_once(input: &Input, open: bool) -> bool {
    match input {
        Input::Join(_) => !open,
        Input::Say { what, .. } => !matches!(what, Say::Chat(_) | Say::Input(_)),
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Laws 1, 2 and 4 of a session, and all that the book-keeper knows.
    #[test]
    fn a_session_does_what_its_book_keeper_says(
        kind in select(vec![Cobrowse, Screen]),
        required in proptest::bool::weighted(0.8),
        control in proptest::bool::weighted(0.9),
        focus in proptest::option::weighted(0.8, Just(TAB)),
        straight in proptest::bool::weighted(0.7),
        steps in steps(),
    ) {
        let mut trial = Trial::new(kind, required, control, focus);
        // Most runs begin with a running session, or few would ever get far.
        let beginning = if straight {
            vec![
                Step::Join(BOB),
                Step::Focus(Some(TAB)),
                Step::Answer(REQUEST, TAB, true, Some("v1")),
            ]
        } else {
            Vec::new()
        };
        for step in beginning.into_iter().chain(steps) {
            let Some(input) = trial.input(step) else { continue };
            let out = trial.take(&input);
            trial.judge(out);
            if counts_once(&input, trial.plan.open) {
                let out = trial.take(&input);
                prop_assert!(out.is_empty(), "twice {:?}: {:?}", input, out);
                trial.judge(out);
            }
        }
    }
}
