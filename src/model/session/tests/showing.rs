//! An agent shows its own screen: stories, and the laws under inputs in any order.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
fn showing(viewers: usize) -> Showing {
    let limits = Limits { viewers, ..Limits::default() };
    Showing { session: SESSION, request: REQUEST, host: asker(ALICE), limits: Arc::new(limits) }
}

fn guest(call: u64, name: &str) -> Input {
    Input::Guest(Entrant { call, name: name.into(), terms: None, device: None })
}

impl Stage {
    /// Alice's session is open; she has not attached.
    pub(super) fn opened() -> Self {
        let (now, mut chance, mut out) = (Now::default(), Count::default(), Vec::new());
        let (session, ticket) = Session::show(showing(3), now, &mut chance, &mut out);
        let mut stage = Self::of(session, now, chance, out);
        stage.tickets.insert(ALICE, secret_of(&ticket.text));
        stage
    }

    /// Alice shows, Ann and Ben watch.
    pub(super) fn shown() -> Self {
        let mut stage = Self::opened();
        stage.attach(ALICE, SHARE);
        stage.when(guest(1, "Ann")).enters(1, ANN);
        stage.when(guest(2, "Ben")).enters(2, BEN);
        stage
    }

    /// Uses a guest's ticket.
    fn enters(&mut self, call: u64, connection: ConnectionId) -> &mut Self {
        let secret = self.calls[&call].clone();
        self.when(Input::Attach { secret, connection, decodes: None }).seated(connection)
    }
}

#[test]
fn guests_see_what_an_agent_shows() {
    let mut stage = Stage::opened();
    stage.told([]).noted([Noted::Opened]);
    stage.attach(ALICE, SHARE).told(["publisher share"]);
    assert_eq!((stage.state(), stage.session.may_publish(SHARE)), (RequestState::Active, true));
    stage.when(guest(1, "Ann")).told(["ready guest 1"]).noted([]);
    stage.enters(1, ANN).told(["share < guest Joined"]);
    stage.when(guest(2, "Ben"));
    stage.enters(2, BEN).told(["share+ann < guest Joined"]);
    let view = stage.session.view();
    let people: Vec<_> = view.participants.iter().map(|p| (&*p.name, p.role, p.side)).collect();
    let wanted = [
        ("Alice", Role::Publisher, Side::Agent),
        ("Ann", Role::Viewer, Side::Guest),
        ("Ben", Role::Viewer, Side::Guest),
    ];
    assert_eq!(people, wanted);
    assert_eq!((view.visitor, view.accepted, view.agents.len()), (None, None, 1));
}

#[test]
fn a_colleague_watches_too() {
    let mut stage = Stage::shown();
    stage.when(join(BOB)).told(["ready bob"]);
    stage.attach(BOB, VIEW_B);
    assert_eq!(stage.viewers(), 3);
    stage.when(join(CAROL)).refused(SessionError::Full(3));
    stage.when(guest(3, "Cem")).refused(SessionError::Full(3));
    stage.says(VIEW_B, Say::RequestControl).refused(SessionError::Forbidden("this session is view-only"));
    stage.says(VIEW_B, Say::Leave).when(guest(3, "Cem")).told(["ready guest 3"]);
    // A place is taken by a ticket already, and free again when the ticket was not used in time.
    stage.when(guest(4, "Dan")).refused(SessionError::Full(3));
    stage.after(limits::TICKET_LIFE).when(guest(4, "Dan")).told(["ready guest 4"]);
}

#[test]
fn a_guest_leaves_and_ends_nothing() {
    let mut stage = Stage::shown();
    let forbidden = SessionError::Forbidden("a guest who watches may leave, not end");
    for reason in [None, Some("guest_ended".to_owned()), Some("failed".to_owned())] {
        stage.says(ANN, Say::End { reason }).refused(forbidden.clone());
    }
    stage.says(ANN, Say::RequestControl);
    assert!(matches!(stage.answer, Err(SessionError::Forbidden(_))));
    let ann = stage.id(ANN);
    stage.says(ANN, Say::Leave).noted([Noted::Left(ann)]);
    assert_eq!(stage.ended(), None);
    let told = stage.says(SHARE, Say::End { reason: None });
    told.ends(EndReason::AgentEnded);
}

#[test]
fn the_host_tells_why_there_is_no_picture() {
    for (reason, wanted) in [
        (Some("capture_denied"), EndReason::CaptureDenied),
        (Some("failed"), EndReason::Failed),
        (Some("guest_left"), EndReason::AgentEnded),
        (None, EndReason::AgentEnded),
    ] {
        let mut stage = Stage::shown();
        stage.says(SHARE, Say::End { reason: reason.map(str::to_owned) }).ends(wanted);
    }
}

#[test]
fn a_host_that_does_not_attach_or_come_back_ends_it() {
    let mut stage = Stage::opened();
    stage.when(guest(1, "Ann")).enters(1, ANN);
    stage.after(limits::TICKET_LIFE - SECOND);
    assert_eq!(stage.ended(), None);
    stage.after(SECOND).ends(EndReason::Expired);
    let mut stage = Stage::shown();
    stage.loses(SHARE);
    stage.after(limits::RESUME_WINDOW - SECOND);
    assert_eq!(stage.ended(), None);
    stage.after(SECOND).ends(EndReason::AgentLeft);
}

#[test]
fn it_waits_ten_minutes_for_somebody_to_show_to() {
    let mut stage = Stage::opened();
    stage.after(SECOND).attach(ALICE, SHARE);
    stage.after(limits::WAITING - SECOND);
    assert_eq!(stage.ended(), None);
    stage.when(guest(1, "Ann")).enters(1, ANN);
    stage.after(limits::WAITING);
    assert_eq!(stage.ended(), None, "somebody is here");
    stage.says(ANN, Say::Leave).after(limits::WAITING - SECOND);
    assert_eq!(stage.ended(), None, "it waits anew");
    stage.after(SECOND).ends(EndReason::Expired);
    stage.told.retain(|line| line.starts_with("over"));
    stage.told(["over alice: expired"]);
    stage.when(guest(2, "Ben")).refused(SessionError::Ended(EndReason::Expired));
}

#[test]
fn the_hosts_page_hears_of_the_end_while_it_is_there() {
    let mut stage = Stage::opened();
    stage.when(Input::End(EndReason::OperatorEnded)).told(["picture off", "over alice: operator_ended"]);
    let mut stage = Stage::opened();
    stage.when(Input::AgentLost(ALICE)).in_vain();
    stage.when(Input::End(EndReason::OperatorEnded)).told(["picture off"]).ends(EndReason::OperatorEnded);
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Join(ConnectionId),
    AgentLost(ConnectionId),
    Guest,
    Attach(Index),
    Return(Index),
    Lost(Index),
    Say(Index, u8),
    /// What is said of visitors: none of it concerns this session.
    Visitor(u8),
    /// The node dies, and another one goes on.
    Move,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let agent = || select(vec![ALICE, BOB, CAROL]);
    let step = prop_oneof![
        3 => select(vec![0u64, 500, 5_000, 30_000, 60_000, 300_000]).prop_map(Step::Wait),
        2 => agent().prop_map(Step::Join),
        1 => agent().prop_map(Step::AgentLost),
        6 => Just(Step::Guest),
        10 => any::<Index>().prop_map(Step::Attach),
        3 => any::<Index>().prop_map(Step::Return),
        2 => any::<Index>().prop_map(Step::Lost),
        4 => (any::<Index>(), 0..9u8).prop_map(|(who, what)| Step::Say(who, what)),
        1 => (0..5u8).prop_map(Step::Visitor),
        2 => Just(Step::Move),
    ];
    proptest::collection::vec(step, 1..80)
}

/// A secret handed out, and whose it is: the host's, or somebody's who watches.
#[derive(Debug, Clone)]
struct Handed {
    secret: Secret,
    hosts: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Nobody but the agent itself ever publishes in a session that nobody accepted anything in; nobody acts
    /// on its screen; no ticket works twice, none is handed out after the end, and there are never more
    /// viewers than there may be.
    #[test]
    fn only_the_agent_shows_what_nobody_accepted(steps in steps()) {
        let (now, mut chance, mut out) = (Now::default(), Count::default(), Vec::new());
        let (mut session, ticket) = Session::show(showing(3), now, &mut chance, &mut out);
        let mut now = now;
        let mut handed = vec![Handed { secret: secret_of(&ticket.text), hosts: true }];
        let mut tokens: Vec<Handed> = Vec::new();
        let mut seats: Vec<(ParticipantId, ConnectionId, bool)> = Vec::new();
        let (mut used, mut sockets, mut calls) = (Vec::new(), 100, 0);
        for step in steps {
            let before = session.is_ended();
            let mut entering = None;
            let mut socket = || {
                sockets += 1;
                ConnectionId(sockets)
            };
            let input = match step {
                Step::Wait(millis) => {
                    now = now.after(Duration::from_millis(millis));
                    None
                }
                Step::Move => {
                    if let Some(saved) = session.save(now) {
                        let limits = Arc::clone(&session.limits);
                        session = Session::restore(saved, now, limits, &mut Vec::new());
                    }
                    for (_, connection, _) in &seats {
                        prop_assert!(!session.may_publish(*connection), "nobody is connected");
                    }
                    None
                }
                Step::Join(agent) => Some(join(agent)),
                Step::AgentLost(agent) => Some(Input::AgentLost(agent)),
                Step::Guest => {
                    calls += 1;
                    Some(guest(calls, "Ann"))
                }
                Step::Attach(at) => {
                    let ticket = at.get(&handed).clone();
                    let connection = socket();
                    entering = Some((ticket.clone(), connection, true));
                    Some(Input::Attach { secret: ticket.secret, connection, decodes: None })
                }
                Step::Return(at) if !tokens.is_empty() => {
                    let token = at.get(&tokens).clone();
                    let connection = socket();
                    entering = Some((token.clone(), connection, false));
                    Some(Input::Return { secret: token.secret, connection, decodes: None })
                }
                Step::Lost(at) if !seats.is_empty() => {
                    let (participant, connection, _) = *at.get(&seats);
                    Some(Input::Lost { participant, connection })
                }
                Step::Say(at, what) if !seats.is_empty() => {
                    let (participant, _, _) = *at.get(&seats);
                    let what = match what {
                        0 => Say::Leave,
                        1 => Say::Pause,
                        2 => Say::Resume,
                        3 => Say::RequestControl,
                        4 => Say::GrantControl(at.get(&seats).0),
                        5 => Say::Input(InputEvents { epoch: 0, events: Vec::new() }),
                        6 => Say::ReleaseControl,
                        7 => Say::End { reason: Some("guest_ended".into()) },
                        _ => Say::Chat("hello".into()),
                    };
                    Some(Input::Say { participant, what })
                }
                Step::Visitor(what) => Some(match what {
                    0 => Input::Focus(Some(TAB)),
                    1 => Input::VisitorGone,
                    2 => displayed(TAB),
                    3 => accept(TAB),
                    _ => cancel(ALICE),
                }),
                _ => None,
            };
            let mut out = Vec::new();
            let answer = match input {
                Some(input) => session.handle(now, input, &mut chance, &mut out),
                None => {
                    session.on_deadline(now, &mut out);
                    Ok(Answer::Done)
                }
            };
            prop_assert!(!before || out.is_empty(), "after the end: {out:?}");
            for output in &out {
                match output {
                    Output::GuestReady { role, ticket, .. } => {
                        prop_assert_eq!(*role, Role::Viewer);
                        handed.push(Handed { secret: secret_of(ticket), hosts: false });
                    }
                    Output::AgentReady { ticket, .. } => {
                        handed.push(Handed { secret: secret_of(ticket), hosts: false });
                    }
                    Output::VisitorReady { .. } | Output::Offer { .. } => {
                        prop_assert!(false, "nobody is asked: {output:?}");
                    }
                    Output::Tell { message: ToParticipant::Input(_), .. } => {
                        prop_assert!(false, "input reached an agent's own screen");
                    }
                    Output::Happened(Happened::Accepted(_)) => {
                        prop_assert!(false, "nobody accepts anything");
                    }
                    _ => {}
                }
            }
            if let (Some((ticket, connection, first)), Ok(Answer::Attached { participant, role, side, message })) =
                (entering, answer)
            {
                prop_assert_eq!(role == Role::Publisher, ticket.hosts, "a role is its ticket's");
                prop_assert!(role == Role::Viewer || side == Side::Agent, "a guest publishes");
                if first {
                    prop_assert!(!used.iter().any(|old: &Secret| old.matches(&ticket.secret)), "used twice");
                    used.push(ticket.secret.clone());
                }
                let ToParticipant::Attached { resume_token, .. } = *message else { panic!() };
                tokens.push(Handed { secret: secret_of(&resume_token), hosts: ticket.hosts });
                seats.push((participant, connection, ticket.hosts));
            }
            for (_, connection, hosts) in &seats {
                prop_assert!(*hosts || !session.may_publish(*connection), "a guest may publish");
            }
            let view = session.view();
            let watching = view.participants.iter().filter(|p| p.role == Role::Viewer).count();
            prop_assert!(watching <= 3);
        }
    }
}
