//! Stories from the open gate to the end.

use super::*;
use crate::wire::session::ControlState;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn who_is_in_hears_who_comes_and_goes() {
    let mut stage = Stage::active();
    stage.when(join(BOB));
    stage.attach(BOB, VIEW_B).told(["share+view-a < bob Joined"]);
    assert_eq!(stage.seats[&VIEW_B].people, ["guest Here", "alice Here", "bob Here"]);
    stage.loses(VIEW_A).told(["share+view-b < alice Reconnecting"]).noted([]);
    assert_eq!(stage.viewers(), 1);
    stage.comes_back(VIEW_A, VIEW_A2).told(["share+view-b < alice Back"]).noted([]);
    stage.loses(SHARE).told(["view-a2+view-b < guest Reconnecting"]);
    stage.comes_back(SHARE, SHARE2).told(["view-a2+view-b < guest Back", "publisher share2"]).noted([]);
    let bob = stage.id(VIEW_B);
    stage
        .says(VIEW_B, Say::Leave)
        .told(["share2+view-a2 < bob Left", "close view-b: ended"])
        .noted([Noted::Left(bob)]);
    stage.says(VIEW_B, Say::Leave).refused(SessionError::NoSuchTicket);
    // Its socket closes only now.
    stage.loses(VIEW_B).in_vain();
}

#[test]
fn who_joins_while_another_is_away_sees_it_away() {
    let mut stage = Stage::active();
    stage.loses(VIEW_A).when(join(BOB));
    stage.attach(BOB, VIEW_B).told(["share < bob Joined"]);
    assert_eq!(stage.seats[&VIEW_B].people, ["guest Here", "alice Reconnecting", "bob Here"]);
}

#[test]
fn a_resume_token_is_replaced_at_each_use() {
    let mut stage = Stage::active();
    stage.loses(VIEW_A).comes_back(VIEW_A, VIEW_A2).told(["share < alice Back"]);
    stage.comes_back(VIEW_A, VIEW_B).refused(SessionError::NoSuchTicket);
    stage.loses(VIEW_A2);
    stage.comes_back(VIEW_A, VIEW_B).refused(SessionError::NoSuchTicket);
    stage.comes_back(VIEW_A2, VIEW_B).told(["share < alice Back"]);
    assert_eq!(stage.id(VIEW_B), stage.id(VIEW_A));
}

#[test]
fn coming_back_before_the_loss_was_noticed_replaces_the_connection() {
    let mut stage = Stage::active();
    stage.comes_back(VIEW_A, VIEW_A2).told(["close view-a: replaced"]).noted([]);
    stage.loses(VIEW_A).in_vain();
    stage.comes_back(SHARE, SHARE2).told(["close share: replaced", "publisher share2"]);
    stage.loses(SHARE).in_vain();
    assert!(stage.session.may_publish(SHARE2) && !stage.session.may_publish(SHARE));
}

#[test]
fn a_viewer_has_a_minute_to_come_back() {
    let mut stage = Stage::shared();
    stage.loses(VIEW_A);
    assert_eq!(stage.session.next_deadline(), Some(stage.now.tick.after(limits::RESUME_WINDOW)));
    stage.after(limits::RESUME_WINDOW - SECOND).told([]);
    let alice = stage.id(VIEW_A);
    stage.after(SECOND).told(["share+view-b < alice Left"]).noted([Noted::Left(alice)]);
    stage.comes_back(VIEW_A, VIEW_A2).refused(SessionError::NoSuchTicket);
    assert_eq!(stage.state(), RequestState::Active);
}

#[test]
fn coming_back_late_is_refused_even_before_the_timer_calls() {
    let mut stage = Stage::shared();
    stage.loses(VIEW_A).pass(limits::RESUME_WINDOW).comes_back(VIEW_A, VIEW_A2);
    assert_eq!(stage.answer.as_ref().unwrap_err(), &SessionError::NoSuchTicket);
    stage.told(["share+view-b < alice Left"]);
}

#[test]
fn a_guest_that_does_not_come_back_ends_the_session() {
    let mut stage = Stage::active();
    stage.loses(SHARE);
    let guest = stage.id(SHARE);
    // The page is gone too, but the guest may still come back.
    stage.when(Input::VisitorGone).in_vain();
    stage.after(limits::RESUME_WINDOW - SECOND).told([]);
    stage
        .after(SECOND)
        .told([
            "view-a < guest Left",
            "picture off",
            "view-a < ended guest_left",
            "over tab: guest_left",
            "over alice: guest_left",
            "close view-a: ended",
        ])
        .noted([Noted::Left(guest), Noted::Ended(EndReason::GuestLeft)])
        .ends(EndReason::GuestLeft);
}

#[test]
fn two_who_are_both_overdue_leave_no_words_after_the_end() {
    let mut stage = Stage::shared();
    stage.loses(SHARE).pass(SECOND).loses(VIEW_A).loses(VIEW_B);
    let guest = stage.id(SHARE);
    stage
        .after(limits::WAITING * 2)
        .noted([Noted::Left(guest), Noted::Ended(EndReason::GuestLeft)])
        .ends(EndReason::GuestLeft);
}

#[test]
fn what_is_due_first_happens_first_though_the_timer_is_late() {
    let mut stage = Stage::active();
    stage.loses(VIEW_A).pass(limits::WAITING - SECOND).loses(SHARE);
    // Nobody watched for ten minutes; the guest had most of its minute left.
    stage.after(limits::WAITING).ends(EndReason::Expired);
    assert_eq!(stage.noted.last(), Some(&Noted::Ended(EndReason::Expired)));
}

#[test]
fn a_guest_that_leaves_ends_the_session() {
    let mut stage = Stage::active();
    stage.says(SHARE, Say::Leave);
    stage
        .told([
            "view-a < guest Left",
            "close share: ended",
            "picture off",
            "view-a < ended guest_left",
            "over tab: guest_left",
            "over alice: guest_left",
            "close view-a: ended",
        ])
        .ends(EndReason::GuestLeft);
}

#[test]
fn the_last_viewer_that_leaves_leaves_the_guest_waiting() {
    let mut stage = Stage::active();
    stage.after(limits::WAITING).told([]);
    stage.says(VIEW_A, Say::Leave).told(["share < alice Left", "close view-a: ended"]);
    assert_eq!(stage.session.next_deadline(), Some(stage.now.tick.after(limits::WAITING)));
    stage.after(limits::WAITING - SECOND).when(join(BOB));
    stage.attach(BOB, VIEW_B).after(limits::WAITING).told([]);
    stage.says(VIEW_B, Say::Leave).after(limits::WAITING).ends(EndReason::Expired);
}

#[test]
fn a_lonely_wait_does_not_start_anew_with_each_event() {
    let mut stage = Stage::active();
    let start = stage.now.tick;
    stage.loses(VIEW_A).after(limits::RESUME_WINDOW).told(["share < alice Left"]);
    stage.loses(SHARE).after(SECOND).comes_back(SHARE, SHARE2);
    assert_eq!(stage.session.next_deadline(), Some(start.after(limits::WAITING)));
}

#[test]
fn only_the_publisher_pauses() {
    let mut stage = Stage::active();
    stage.says(VIEW_A, Say::Pause).refused(SessionError::Forbidden("only the publisher may pause"));
    stage.says(VIEW_A, Say::Resume).refused(SessionError::Forbidden("only the publisher may resume"));
    stage.says(SHARE, Say::Resume).in_vain();
    stage.says(SHARE, Say::Pause).told(["picture off", "share+view-a < paused true"]).noted([Noted::Paused]);
    assert!(!stage.session.may_publish(SHARE) && stage.session.view().paused);
    stage.says(SHARE, Say::Pause).in_vain();
    stage.when(join(BOB));
    stage.attach(BOB, VIEW_B);
    assert!(stage.seats[&VIEW_B].paused);
    // A loss does not end the pause.
    stage.loses(SHARE).comes_back(SHARE, SHARE2);
    assert!(stage.seats[&SHARE2].paused && !stage.session.may_publish(SHARE2));
    stage
        .says(SHARE2, Say::Resume)
        .told(["picture on", "share2+view-a+view-b < paused false"])
        .noted([Noted::Resumed]);
    assert!(stage.session.may_publish(SHARE2));
}

#[test]
fn everybody_gets_the_reason_of_the_end() {
    type Ending = fn(&mut Stage) -> &mut Stage;
    let endings: [(Ending, EndReason); 9] = [
        (|s| s.says(SHARE, Say::End { reason: None }), EndReason::GuestEnded),
        (|s| s.says(SHARE, Say::End { reason: Some("whatever".into()) }), EndReason::GuestEnded),
        (|s| s.says(SHARE, Say::End { reason: Some("capture_denied".into()) }), EndReason::CaptureDenied),
        (|s| s.says(SHARE, Say::End { reason: Some("guest_left".into()) }), EndReason::GuestLeft),
        (|s| s.says(SHARE, Say::End { reason: Some("failed".into()) }), EndReason::Failed),
        (|s| s.says(VIEW_B, Say::End { reason: Some("capture_denied".into()) }), EndReason::AgentEnded),
        (|s| s.when(Input::End(EndReason::AgentEnded)), EndReason::AgentEnded),
        (|s| s.when(Input::End(EndReason::OperatorEnded)), EndReason::OperatorEnded),
        (|s| s.after(limits::SESSION_LENGTH), EndReason::TimeLimit),
    ];
    for (end, reason) in endings {
        let mut stage = Stage::shared();
        end(&mut stage);
        let why = reason.as_str();
        let lines = [
            "picture off".to_owned(),
            format!("share+view-a+view-b < ended {why}"),
            format!("over tab: {why}"),
            format!("over alice+bob: {why}"),
            "close share: ended".to_owned(),
            "close view-a: ended".to_owned(),
            "close view-b: ended".to_owned(),
        ];
        assert_eq!(stage.told, lines);
        stage.noted([Noted::Ended(reason)]).ends(reason);
        assert_eq!(stage.state(), RequestState::Ended);
    }
}

#[test]
fn an_agent_that_left_is_not_told_of_the_end() {
    let mut stage = Stage::shared();
    stage.says(VIEW_B, Say::Leave).when(Input::End(EndReason::AgentEnded));
    assert!(stage.told.contains(&"over alice: agent_ended".to_owned()), "{:?}", stage.told);
}

#[test]
fn an_agent_that_waits_for_its_ticket_or_lost_its_page_is_told_of_the_end() {
    let mut stage = Stage::shared();
    stage.when(join(CAROL)).when(Input::AgentLost(BOB)).when(Input::End(EndReason::AgentEnded));
    assert!(stage.told.contains(&"over alice+bob+carol: agent_ended".to_owned()), "{:?}", stage.told);
}

#[test]
fn with_no_agent_there_is_none_to_tell() {
    let mut stage = Stage::asked();
    stage.when(Input::AgentLost(ALICE)).when(accept(TAB));
    stage.when(Input::End(EndReason::OperatorEnded)).told(["picture off", "over tab: operator_ended"]);
}

#[test]
fn ended_stays_ended() {
    let mut stage = Stage::controlled();
    stage.when(join(CAROL));
    stage.when(Input::End(EndReason::AgentEnded)).ends(EndReason::AgentEnded);
    let over = SessionError::Ended(EndReason::AgentEnded);
    let say = |stage: &Stage, what| Input::Say { participant: stage.id(SHARE), what };
    for what in
        [Say::Leave, Say::Pause, Say::RevokeControl, Say::Chat("hi".into()), Say::End { reason: None }]
    {
        let input = say(&stage, what);
        stage.when(input).refused(over.clone()).noted([]);
    }
    stage.input(VIEW_A, 1).refused(over.clone()).noted([]);
    stage.when(join(ALICE)).refused(over.clone()).noted([]);
    stage.when(join(BOB)).refused(over.clone());
    for input in [displayed(TAB), accept(TAB), decline(TAB), cancel(ALICE)] {
        stage.when(input).refused(SessionError::RequestOver).noted([]);
    }
    stage.attach(CAROL, VIEW_C).refused(over.clone()).noted([]);
    stage.comes_back(VIEW_A, VIEW_A2).refused(over).noted([]);
    let wrong = Input::Attach { secret: Secret::new([7; 16]), connection: VIEW_C, decodes: None };
    stage.when(wrong).refused(SessionError::NoSuchTicket);
    let wrong = Input::Return { secret: Secret::new([7; 16]), connection: VIEW_A2, decodes: None };
    stage.when(wrong).refused(SessionError::NoSuchTicket);
    stage.loses(SHARE).in_vain();
    for input in [
        Input::AgentLost(ALICE),
        Input::Focus(Some(TAB2)),
        Input::Focus(None),
        Input::VisitorGone,
        Input::End(EndReason::OperatorEnded),
    ] {
        stage.when(input).in_vain();
    }
    stage.after(limits::SESSION_LENGTH).in_vain();
    assert_eq!(stage.ended(), Some(EndReason::AgentEnded));
    assert!(!stage.session.may_publish(SHARE));
}

#[test]
fn the_publisher_hears_what_every_viewer_decodes() {
    let mut stage = Stage::accepted();
    let decodes = |codecs: &[Codec]| Some(codecs.to_vec());
    stage.attach(TAB, SHARE);
    assert_eq!(stage.seats[&SHARE].codecs, Codec::ALL);
    stage
        .attach_decoding(ALICE, VIEW_A, decodes(&[Codec::Jpeg, Codec::Vp8, Codec::Avc1, Codec::Other]))
        .told(["share < alice Joined", "share < codecs [Avc1, Vp8, Jpeg]"]);
    stage.when(join(BOB));
    stage
        .attach_decoding(BOB, VIEW_B, decodes(&[Codec::Jpeg, Codec::Vp8, Codec::Av01]))
        .told(["share+view-a < bob Joined", "share < codecs [Vp8, Jpeg]"]);
    stage.when(join(CAROL));
    stage.attach(CAROL, VIEW_C).told(["share+view-a+view-b < carol Joined"]);
    assert_eq!(stage.seats[&VIEW_C].codecs, [Codec::Vp8, Codec::Jpeg]);
    stage
        .loses(VIEW_A)
        .told(["share+view-b+view-c < alice Reconnecting", "share < codecs [Vp8, Av01, Jpeg]"]);
    stage.says(VIEW_B, Say::Leave).told([
        "share+view-c < bob Left",
        "close view-b: ended",
        "share < codecs [Avc1, Vp09, Vp8, Av01, Jpeg]",
    ]);
}

#[test]
fn a_publisher_that_comes_last_finds_what_its_viewers_decode() {
    let mut stage = Stage::accepted();
    stage.attach_decoding(ALICE, VIEW_A, Some(vec![Codec::Vp8])).told([]);
    stage.attach(TAB, SHARE).told(["view-a < guest Joined", "publisher share", "request alice: active"]);
    assert_eq!(stage.seats[&SHARE].codecs, [Codec::Vp8]);
}

#[test]
fn words_go_to_everyone() {
    let mut stage = Stage::shared();
    stage.says(VIEW_A, Say::Chat("hello".into())).told(["share+view-a+view-b < alice: hello"]);
    stage.loses(VIEW_B).says(SHARE, Say::Chat("hi".into())).told(["share+view-a < guest: hi"]);
    stage.when(Input::Say { participant: ParticipantId::from_u128(99), what: Say::Chat("?".into()) });
    stage.refused(SessionError::NoSuchTicket);
}

#[test]
fn who_has_no_connection_says_nothing() {
    let mut stage = Stage::shared();
    stage.loses(VIEW_A).says(VIEW_A, Say::RequestControl).refused(SessionError::NoSuchTicket);
    stage.says(VIEW_A, Say::End { reason: None }).refused(SessionError::NoSuchTicket);
}

// ── Control ────────────────────────────────────────────────────────────────────────────────────────

const NO_CONTROL: SessionError = SessionError::ControlNotGranted;

#[test]
fn an_agent_asks_the_guest_grants_and_takes_back() {
    let mut stage = Stage::shared();
    let alice = stage.id(VIEW_A);
    stage.input(VIEW_A, 0).refused(NO_CONTROL).noted([Noted::InputRefused]);
    stage
        .says(VIEW_A, Say::RequestControl)
        .told(["share+view-a+view-b < control Requested alice 0"])
        .noted([]);
    stage.says(VIEW_A, Say::RequestControl).in_vain();
    stage.input(VIEW_A, 0).refused(NO_CONTROL);
    stage
        .says(SHARE, Say::GrantControl(alice))
        .told(["share+view-a+view-b < control Granted alice 1"])
        .noted([Noted::ControlGranted(alice)]);
    stage.input(VIEW_A, 1).told(["share < input 1"]).noted([]);
    for (who, epoch) in [(VIEW_A, 0), (VIEW_A, 2), (VIEW_B, 1), (SHARE, 1)] {
        stage.input(who, epoch).refused(NO_CONTROL).noted([Noted::InputRefused]);
    }
    stage
        .says(SHARE, Say::RevokeControl)
        .told(["share+view-a+view-b < control Revoked alice 2"])
        .noted([Noted::ControlRevoked]);
    for epoch in 0..4 {
        stage.input(VIEW_A, epoch).refused(NO_CONTROL);
    }
}

#[test]
fn control_that_is_granted_in_a_pause_begins_when_it_is_over() {
    let mut stage = Stage::shared();
    let alice = stage.id(VIEW_A);
    stage.says(SHARE, Say::Pause).says(VIEW_A, Say::RequestControl);
    stage
        .says(SHARE, Say::GrantControl(alice))
        .told(["share+view-a+view-b < control Granted alice 1"])
        .noted([Noted::ControlGranted(alice)]);
    stage.input(VIEW_A, 1).refused(NO_CONTROL).noted([Noted::InputRefused]);
    stage.says(SHARE, Say::Resume);
    stage.input(VIEW_A, 1).told(["share < input 1"]).noted([]);
}

#[test]
fn the_guest_refuses_and_may_be_asked_again() {
    let mut stage = Stage::shared();
    let (alice, bob) = (stage.id(VIEW_A), stage.id(VIEW_B));
    stage.says(VIEW_A, Say::RequestControl);
    stage.says(SHARE, Say::RejectControl(bob));
    stage.refused(SessionError::WrongState("that participant has not asked for control".into()));
    stage
        .says(SHARE, Say::RejectControl(alice))
        .told(["share+view-a+view-b < control Rejected alice 0"])
        .noted([]);
    stage.says(SHARE, Say::GrantControl(alice));
    stage.refused(SessionError::WrongState("that participant has not asked for control".into()));
    stage.says(VIEW_B, Say::RequestControl).told(["share+view-a+view-b < control Requested bob 0"]);
    stage.says(VIEW_A, Say::RequestControl);
    stage.refused(SessionError::WrongState("another agent has asked for control or has it".into()));
}

#[test]
fn an_agent_gives_control_back() {
    let mut stage = Stage::controlled();
    let wrong = SessionError::WrongState("control is not granted".into());
    stage.says(VIEW_B, Say::ReleaseControl).refused(wrong.clone());
    stage
        .says(VIEW_A, Say::ReleaseControl)
        .told(["share+view-a+view-b < control Off nobody 2"])
        .noted([Noted::ControlRevoked]);
    stage.says(VIEW_A, Say::ReleaseControl).refused(wrong.clone()).noted([]);
    stage.says(SHARE, Say::RevokeControl).refused(wrong).noted([]);
}

#[test]
fn a_question_for_control_taken_back_is_no_end_of_a_grant() {
    let mut stage = Stage::shared();
    stage.says(VIEW_A, Say::RequestControl);
    stage.says(VIEW_A, Say::ReleaseControl).told(["share+view-a+view-b < control Off nobody 0"]).noted([]);
}

#[test]
fn only_agents_ask_and_only_the_publisher_decides() {
    let mut stage = Stage::shared();
    let alice = stage.id(VIEW_A);
    stage
        .says(SHARE, Say::RequestControl)
        .refused(SessionError::Forbidden("only an agent that watches may ask for control"));
    stage.says(VIEW_A, Say::RequestControl);
    for what in [Say::GrantControl(alice), Say::RejectControl(alice), Say::RevokeControl] {
        for who in [VIEW_A, VIEW_B] {
            stage.says(who, what.clone());
            assert!(matches!(stage.answer, Err(SessionError::Forbidden(_))), "{:?}", stage.answer);
            stage.told([]).noted([]);
        }
    }
}

#[test]
fn a_view_only_session_never_forwards_input() {
    let mut stage = Stage::start(setup(true, false, Some(TAB)));
    stage.when(accept(TAB));
    stage.attach(TAB, SHARE).attach(ALICE, VIEW_A);
    let view_only = SessionError::Forbidden("this session is view-only");
    stage.says(VIEW_A, Say::RequestControl).refused(view_only.clone());
    stage.says(SHARE, Say::GrantControl(stage.id(VIEW_A))).refused(view_only);
    stage.input(VIEW_A, 0).refused(NO_CONTROL).noted([Noted::InputRefused]);
    stage.input(VIEW_A, 1).refused(NO_CONTROL);
    assert!(!stage.session.allows_control());
}

#[test]
fn a_grant_never_outlives_a_connection_or_a_pause() {
    type Loss = fn(&mut Stage) -> &mut Stage;
    let losses: [(&str, Loss); 7] = [
        ("the agent's connection", |s| s.loses(VIEW_A)),
        ("the publisher's connection", |s| s.loses(SHARE)),
        ("the agent, replaced", |s| s.comes_back(VIEW_A, VIEW_A2)),
        ("the publisher, replaced", |s| s.comes_back(SHARE, SHARE2)),
        ("the agent leaves", |s| s.says(VIEW_A, Say::Leave)),
        ("the publisher pauses", |s| s.says(SHARE, Say::Pause)),
        ("the agent gives it back", |s| s.says(VIEW_A, Say::ReleaseControl)),
    ];
    for (what, lose) in losses {
        let mut stage = Stage::controlled();
        lose(&mut stage);
        assert!(
            stage.told.iter().any(|line| line.ends_with("control Off nobody 2")),
            "{what}: {:?}",
            stage.told
        );
        let revoked = stage.noted.iter().filter(|h| **h == Noted::ControlRevoked).count();
        assert_eq!(revoked, 1, "{what}: {:?}", stage.noted);
        for connection in [VIEW_A, VIEW_A2] {
            for epoch in 0..3 {
                if stage.seats.contains_key(&connection) {
                    stage.input(connection, epoch);
                    assert!(stage.told.is_empty(), "{what}: {:?}", stage.told);
                }
            }
        }
        if let Some(back) = stage.seats.get(&SHARE2).or(stage.seats.get(&VIEW_A2)) {
            assert_eq!(back.control.state, ControlState::Off, "{what}");
        }
    }
}

#[test]
fn the_loss_of_a_bystander_leaves_a_grant_alone() {
    let mut stage = Stage::controlled();
    stage.loses(VIEW_B).told(["share+view-a < bob Reconnecting"]);
    stage.comes_back(VIEW_B, VIEW_C).told(["share+view-a < bob Back"]);
    let bob = stage.id(VIEW_C);
    stage.says(VIEW_C, Say::Leave).noted([Noted::Left(bob)]);
    stage.input(VIEW_A, 1).told(["share < input 1"]);
}

#[test]
fn the_loss_of_who_only_asked_takes_the_question_back() {
    let mut stage = Stage::shared();
    stage.says(VIEW_A, Say::RequestControl);
    stage
        .loses(VIEW_A)
        .told(["share+view-b < alice Reconnecting", "share+view-b < control Off nobody 0"])
        .noted([]);
}
