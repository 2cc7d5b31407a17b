//! A guest shows its screen to agents that wait for it: stories, and the law under inputs in any order.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::laws::heard_input;
use super::*;
use crate::wire::visitor::TermsAnswer;

const SECOND: Duration = Duration::from_secs(1);
/// Where the guest's seat is in the order of chances.
const SEAT: ParticipantId = ParticipantId::from_u128(1);

fn awaiting(required: bool) -> Setup {
    let question = Question { deadline: limits::WAITING, ..setup(required, true, None).question };
    Setup { kind: SessionKind::View, visitor: None, question, ..setup(required, true, None) }
}

fn answer(accepted: bool, version: &str) -> Option<TermsAnswer> {
    Some(TermsAnswer { request_id: REQUEST, accepted, terms_version: Some(version.into()) })
}

fn comes(call: u64, terms: Option<TermsAnswer>) -> Input {
    Input::Guest(Entrant { call, name: "Gina".into(), terms, device: None })
}

fn accepted() -> Noted {
    Noted::Accepted { version: Some("v1".into()) }
}

impl Stage {
    /// Alice waits for a guest, who must accept terms.
    pub(super) fn awaited() -> Self {
        Self::start(awaiting(true))
    }

    /// The guest came, accepted and shows; Alice watches.
    pub(super) fn viewed() -> Self {
        let mut stage = Self::awaited();
        stage.when(comes(1, None)).when(comes(1, answer(true, "v1")));
        stage.sits(1, SHARE).attach(ALICE, VIEW_A);
        stage
    }

    fn sits(&mut self, call: u64, connection: ConnectionId) -> &mut Self {
        let secret = self.calls[&call].clone();
        self.when(Input::Attach { secret, connection, decodes: None }).seated(connection)
    }

    #[track_caller]
    fn asks(&mut self) -> &mut Self {
        let Ok(Answer::Asks(asks)) = &self.answer else { panic!("{:?}", self.answer) };
        assert_eq!((asks.request, &*asks.terms.version, &*asks.asked_by), (REQUEST, "v1", "Alice"));
        assert!(asks.terms.required && asks.control);
        self
    }
}

#[test]
fn a_guest_accepts_and_then_shows() {
    let mut stage = Stage::awaited();
    stage.told([]).noted([Noted::Offered]);
    assert_eq!(stage.state(), RequestState::Offered);
    assert!(!stage.session.view().is_question(), "nobody was asked who could be waited for");
    stage.when(comes(1, None)).asks().told(["request alice: displayed"]).noted([Noted::Displayed]);
    stage.when(comes(1, None)).asks().told([]).noted([]);
    stage.when(comes(1, answer(true, "v1"))).noted([accepted()]);
    stage.told(["request alice: accepted", "ready alice", "request alice: connecting", "ready guest 1"]);
    stage.sits(1, SHARE).told(["publisher share", "request alice: active"]);
    stage.noted([Noted::Joined(SEAT), Noted::Started]);
    stage.attach(ALICE, VIEW_A).told(["share < alice Joined"]);
    assert!(stage.session.may_publish(SHARE));
    let view = stage.session.view();
    assert_eq!((view.kind, view.visitor, view.agents.len()), (SessionKind::View, None, 1));
    let guest = &view.participants[0];
    assert_eq!((&*guest.name, guest.role, guest.side), ("Gina", Role::Publisher, Side::Guest));
    stage.when(join(BOB)).told(["ready bob"]).attach(BOB, VIEW_B);
    assert_eq!(stage.viewers(), 2);
    stage.says(SHARE, Say::End { reason: None }).ends(EndReason::GuestEnded);
    stage.when(comes(2, None)).refused(SessionError::Ended(EndReason::GuestEnded));
}

#[test]
fn where_nothing_is_required_nothing_is_asked() {
    let mut stage = Stage::start(awaiting(false));
    stage.when(comes(1, None)).noted([Noted::Accepted { version: None }]);
    assert_eq!(stage.told.last().unwrap(), "ready guest 1");
    stage.sits(1, SHARE);
    assert!(stage.session.may_publish(SHARE));
}

#[test]
fn a_no_ends_what_nobody_accepted() {
    let mut stage = Stage::awaited();
    stage.when(comes(1, None)).when(comes(1, answer(false, "v1")));
    stage.told(["request alice: declined"]).noted([Noted::Refused(RequestState::Declined)]);
    stage.ends(EndReason::Declined);
    // Later it is only that of whoever came then.
    let mut stage = Stage::viewed();
    stage.loses(SHARE).when(comes(2, answer(false, "v1"))).in_vain();
    assert_eq!(stage.ended(), None);
}

#[test]
fn other_terms_and_other_questions_are_no_yes() {
    let mut stage = Stage::awaited();
    for mut stage in [Stage::awaited(), Stage::viewed()] {
        if stage.state() == RequestState::Active {
            stage.loses(SHARE);
        }
        stage.when(comes(2, answer(true, "v0"))).refused(SessionError::TermsChanged);
        let other = TermsAnswer { request_id: OTHER_REQUEST, accepted: true, terms_version: None };
        stage.when(comes(2, Some(other))).refused(SessionError::RequestOver);
        stage.when(comes(2, None)).asks();
    }
    stage.after(limits::WAITING - SECOND);
    assert_eq!(stage.ended(), None);
    stage.after(SECOND).told(["request alice: expired"]).ends(EndReason::Expired);
}

#[test]
fn it_waits_though_the_agent_loads_its_page_anew() {
    let mut stage = Stage::awaited();
    stage.when(Input::AgentLost(ALICE)).after(limits::GRACE);
    assert_eq!(stage.ended(), None);
    stage.when(join(BOB)).told([]).when(comes(1, answer(true, "v1")));
    stage.told(["request bob: accepted", "ready bob", "request bob: connecting", "ready guest 1"]);
}

#[test]
fn a_guest_who_starts_anew_has_its_place_and_accepts_again() {
    let mut stage = Stage::viewed();
    stage.loses(SHARE).told(["view-a < guest Reconnecting"]);
    // Longer than a resume token lives, which is of no use then.
    stage.after(limits::RESUME_WINDOW).told([]);
    let secret = stage.seats[&SHARE].resume.clone();
    stage.when(Input::Return { secret, connection: SHARE2, decodes: None });
    stage.refused(SessionError::NoSuchTicket);
    assert!(!stage.session.may_publish(SHARE2));
    stage.when(comes(2, None)).asks().told([]).noted([]);
    stage.when(comes(2, answer(true, "v1"))).told(["ready guest 2"]).noted([accepted()]);
    stage.sits(2, SHARE2).told(["view-a < guest Back", "publisher share2"]).noted([]);
    assert_eq!(stage.id(SHARE2), SEAT);
    assert!(stage.session.may_publish(SHARE2) && !stage.session.may_publish(SHARE));
    assert_eq!(stage.session.view().participants.len(), 2);
    // Nobody else comes in its place while it is there.
    stage.when(comes(3, answer(true, "v1"))).refused(SessionError::Taken);
    stage.loses(SHARE2).after(limits::WAITING - SECOND);
    assert_eq!(stage.ended(), None);
    stage.after(SECOND).ends(EndReason::GuestLeft);
}

#[test]
fn who_comes_back_by_itself_is_not_taken_for_another() {
    let mut stage = Stage::viewed();
    stage.loses(SHARE).when(comes(2, answer(true, "v1")));
    stage.comes_back(SHARE, SHARE2);
    let secret = stage.calls[&2].clone();
    stage.when(Input::Attach { secret, connection: ANN, decodes: None });
    stage.refused(SessionError::NoSuchTicket);
    assert!(stage.session.may_publish(SHARE2));
    // Of two who accept at once the last one gets in.
    let mut stage = Stage::awaited();
    stage.when(comes(1, answer(true, "v1"))).when(comes(2, answer(true, "v1")));
    let secret = stage.calls[&1].clone();
    stage.when(Input::Attach { secret, connection: SHARE, decodes: None });
    stage.refused(SessionError::NoSuchTicket);
    stage.sits(2, SHARE2);
    assert!(stage.session.may_publish(SHARE2));
}

#[test]
fn another_node_goes_on_waiting() {
    let mut stage = Stage::awaited();
    stage.moves(SECOND, 0).after(limits::RESUME_WINDOW);
    assert_eq!(stage.ended(), None, "nobody had to come back");
    stage.when(join(ALICE)).when(comes(1, None)).asks();
    stage.when(comes(1, answer(true, "v1"))).sits(1, SHARE);
    assert_eq!(stage.id(SHARE), SEAT);
    stage.attach(ALICE, VIEW_A).moves(SECOND, 0).comes_back(VIEW_A, VIEW_A2);
    stage.after(limits::RESUME_WINDOW);
    assert_eq!(stage.ended(), None, "the guest may come by its key");
    stage
        .when(comes(2, answer(true, "v1")))
        .sits(2, SHARE2)
        .told(["view-a2 < guest Back", "publisher share2"]);
    assert_eq!(stage.id(SHARE2), SEAT);
}

#[test]
fn a_node_that_goes_hands_it_on() {
    let mut stage = Stage::awaited();
    let mut out = Vec::new();
    assert!(stage.session.depart(&mut out));
    stage.perform(out);
    stage.told(["departs"]);
    stage.when(comes(1, None)).refused(SessionError::Moved);
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Comes(Option<bool>, bool),
    Attach(Index),
    Return(Index),
    Lost(Index),
    Say(Index, u8),
    Join(ConnectionId),
    AgentLost(ConnectionId),
    Visitor(u8),
    Move,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => prop_oneof![0..5_000u64, 0..700_000u64].prop_map(Step::Wait),
        5 => (prop::option::weighted(0.8, prop::bool::weighted(0.8)), prop::bool::weighted(0.8))
            .prop_map(|(accepts, right)| Step::Comes(accepts, right)),
        6 => any::<Index>().prop_map(Step::Attach),
        2 => any::<Index>().prop_map(Step::Return),
        3 => any::<Index>().prop_map(Step::Lost),
        12 => (any::<Index>(), 0..12u8).prop_map(|(who, what)| Step::Say(who, what)),
        3 => select(vec![ALICE, BOB, CAROL]).prop_map(Step::Join),
        1 => select(vec![ALICE, BOB, CAROL]).prop_map(Step::AgentLost),
        1 => (0..4u8).prop_map(Step::Visitor),
        1 => Just(Step::Move),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// No frame without acceptance: whoever may publish sits in the guest's one seat, by a ticket that was handed to a
    /// call that accepted these very terms, or by a resume token that came of such a ticket. No ticket works twice,
    /// agents never publish, and nothing is said after the end. And no input without a live grant: it reaches the guest's
    /// socket alone, from whom the guest granted, under the epoch of that grant.
    #[test]
    fn nobody_shows_who_did_not_accept(steps in steps()) {
        let (mut now, mut chance, mut out) = (Now::default(), Count::default(), Vec::new());
        let mut session = Session::start(awaiting(true), now, &mut chance, &mut out);
        // Secrets, and whether their holder accepted.
        let mut handed: Vec<(Secret, bool)> = Vec::new();
        let mut tokens: Vec<(Secret, bool)> = Vec::new();
        let mut seats: Vec<(ParticipantId, ConnectionId, bool)> = Vec::new();
        let mut used: Vec<Secret> = Vec::new();
        let (mut asks, mut granted, mut epoch): (Option<ParticipantId>, Option<ParticipantId>, u64) = (None, None, 0);
        let mut paused = false;
        let (mut sockets, mut calls) = (100, 0);
        for step in steps {
            let over = session.is_ended();
            let (mut entering, mut yes) = (None, false);
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
                        let text = serde_json::to_string(&saved).unwrap();
                        let (saved, limits) = (serde_json::from_str(&text).unwrap(), Arc::clone(&session.limits));
                        session = Session::restore(saved, now, limits, &mut Vec::new());
                        // Control is to be given anew.
                        granted = None;
                    }
                    None
                }
                Step::Comes(accepts, right) => {
                    calls += 1;
                    yes = accepts == Some(true) && right;
                    let version = if right { "v1" } else { "v0" };
                    Some(comes(calls, accepts.and_then(|accepted| answer(accepted, version))))
                }
                Step::Attach(at) if !handed.is_empty() => {
                    let (secret, accepted) = at.get(&handed).clone();
                    let connection = socket();
                    entering = Some((secret.clone(), connection, accepted, true));
                    Some(Input::Attach { secret, connection, decodes: None })
                }
                Step::Return(at) if !tokens.is_empty() => {
                    let (secret, accepted) = at.get(&tokens).clone();
                    let connection = socket();
                    entering = Some((secret.clone(), connection, accepted, false));
                    Some(Input::Return { secret, connection, decodes: None })
                }
                Step::Lost(at) if !seats.is_empty() => {
                    let (participant, connection, _) = *at.get(&seats);
                    Some(Input::Lost { participant, connection })
                }
                Step::Say(at, what) if !seats.is_empty() => {
                    let (anybody, _, _) = *at.get(&seats);
                    let input = |epoch| Say::Input(InputEvents { epoch, events: Vec::new() });
                    let (participant, what) = match what {
                        0 => (anybody, Say::Leave),
                        1 => (anybody, Say::Pause),
                        2 => (SEAT, Say::Resume),
                        3 | 4 => (anybody, Say::RequestControl),
                        5 | 6 => (SEAT, Say::GrantControl(asks.unwrap_or(anybody))),
                        7 => (anybody, Say::GrantControl(asks.unwrap_or(SEAT))),
                        8 => (SEAT, Say::RevokeControl),
                        9 => (anybody, input(epoch)),
                        10 => (granted.unwrap_or(anybody), input(epoch)),
                        _ => (granted.unwrap_or(anybody), input(epoch.wrapping_sub(1))),
                    };
                    Some(Input::Say { participant, what })
                }
                Step::Join(agent) => Some(join(agent)),
                Step::AgentLost(agent) => Some(Input::AgentLost(agent)),
                // Nobody accepts in a guest's place.
                Step::Visitor(what) => Some(match what {
                    0 => Input::Focus(Some(TAB)),
                    1 => displayed(TAB),
                    2 => Input::Answer { request: REQUEST, by: ALICE, accepted: true, version: None },
                    _ => accept(TAB),
                }),
                _ => None,
            };
            // A visitor's page has nothing to do with it; what the rules make of one must not open anything.
            if matches!(input, Some(Input::Focus(_))) {
                continue;
            }
            let mut out = Vec::new();
            let said = match &input {
                Some(Input::Say { participant, what }) => Some((*participant, what.clone())),
                _ => None,
            };
            let answered = match input {
                Some(input) => session.handle(now, input, &mut chance, &mut out),
                None => {
                    session.on_deadline(now, &mut out);
                    Ok(Answer::Done)
                }
            };
            prop_assert!(!over || out.is_empty(), "after the end: {out:?}");
            let reached = out.iter().filter_map(heard_input).collect::<Vec<_>>();
            match said {
                Some((who, Say::Input(input))) => {
                    let passes = !over && !paused && granted == Some(who) && epoch == input.epoch;
                    prop_assert_eq!(answered.is_ok(), passes, "{:?} {:?}", input, granted);
                    let guest = seats.iter().map(|(_, socket, _)| *socket).find(|socket| session.may_publish(*socket));
                    let expected: Vec<Vec<ConnectionId>> = if passes { vec![vec![guest.unwrap()]] } else { vec![] };
                    prop_assert_eq!(reached, expected);
                }
                said => {
                    prop_assert_eq!(reached, Vec::<Vec<ConnectionId>>::new(), "input from nobody");
                    match said {
                        Some((who, Say::RequestControl)) if answered.is_ok() => asks = Some(who),
                        Some((who, Say::GrantControl(to))) if answered.is_ok() => {
                            prop_assert!(who == SEAT && asks == Some(to), "granted by another, or unasked");
                            granted = Some(to);
                        }
                        _ => {}
                    }
                }
            }
            for output in &out {
                match output {
                    Output::Tell { message: ToParticipant::Control(control), .. } => epoch = control.epoch,
                    Output::Tell { message: ToParticipant::Paused { paused: now }, .. } => paused = *now,
                    Output::Happened(Happened::ControlRevoked) => granted = None,
                    Output::GuestReady { role, ticket, participant, .. } => {
                        prop_assert!(yes, "a ticket without a yes");
                        prop_assert_eq!((*role, *participant), (Role::Publisher, SEAT));
                        handed.push((secret_of(ticket), true));
                    }
                    Output::AgentReady { ticket, .. } => handed.push((secret_of(ticket), false)),
                    Output::VisitorReady { .. } | Output::Offer { .. } => {
                        prop_assert!(false, "no visitor is asked: {output:?}");
                    }
                    Output::Happened(Happened::Accepted(_)) => prop_assert!(yes, "nobody accepted"),
                    _ => {}
                }
            }
            if let (Some((secret, connection, accepted, first)), Ok(Answer::Attached { participant, role, message, .. })) =
                (entering, answered)
            {
                prop_assert_eq!(role == Role::Publisher, accepted, "a role is its ticket's");
                if first {
                    prop_assert!(!used.iter().any(|old| old.matches(&secret)), "used twice");
                    used.push(secret);
                }
                let ToParticipant::Attached { resume_token, .. } = *message else { panic!() };
                tokens.push((secret_of(&resume_token), accepted));
                seats.push((participant, connection, accepted));
            }
            let publishing = seats.iter().filter(|(_, connection, _)| session.may_publish(*connection));
            for (participant, _, accepted) in publishing {
                prop_assert!(*accepted && *participant == SEAT, "somebody shows who did not accept");
            }
            let shown = session.view().participants.iter().filter(|p| p.role == Role::Publisher).count();
            prop_assert!(shown <= 1, "two show");
        }
    }
}
