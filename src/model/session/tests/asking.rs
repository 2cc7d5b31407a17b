//! Stories from the question to the open gate.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn from_the_question_to_a_picture() {
    let mut stage = Stage::asked();
    stage.told(["offer tab from Alice"]).noted([Noted::Offered]);
    stage.when(displayed(TAB)).told(["request alice: displayed"]).noted([Noted::Displayed]);
    stage
        .when(accept(TAB))
        .told(["request alice: accepted", "ready tab", "ready alice", "request alice: connecting"])
        .noted([Noted::Accepted { version: Some("v1".into()) }]);
    stage.attach(TAB, SHARE).told(["publisher share", "request alice: active"]);
    stage.noted([Noted::Joined(stage.id(SHARE)), Noted::Started]);
    assert_eq!(stage.seats[&SHARE].people, ["guest Here"]);
    stage.attach(ALICE, VIEW_A).told(["share < alice Joined"]);
    stage.noted([Noted::Joined(stage.id(VIEW_A))]);
    assert_eq!(stage.seats[&VIEW_A].people, ["guest Here", "alice Here"]);
    assert_eq!(stage.state(), RequestState::Active);
}

#[test]
fn the_view_tells_what_was_accepted_and_when_also_after_the_end() {
    let mut stage = Stage::asked();
    assert_eq!(stage.session.view().accepted, None);
    stage.pass(SECOND).when(accept(TAB));
    let accepted = Some((stage.now.wall, Some("v1".into())));
    assert_eq!(stage.session.view().accepted, accepted);
    stage.pass(SECOND).attach(TAB, SHARE);
    assert_eq!(stage.session.view().started, Some(stage.now.wall));
    stage.pass(SECOND).when(Input::End(EndReason::AgentEnded));
    assert_eq!(stage.session.view().accepted, accepted);
    assert_eq!(stage.session.view().created, Wall(0));
}

#[test]
fn without_terms_it_goes_straight_on() {
    let mut stage = Stage::start(setup(false, true, Some(TAB)));
    stage
        .told([
            "offer tab from Alice",
            "request alice: accepted",
            "ready tab",
            "ready alice",
            "request alice: connecting",
        ])
        .noted([Noted::Offered, Noted::Accepted { version: None }]);
    stage.when(accept(TAB)).refused(SessionError::RequestOver);
    stage.attach(TAB, SHARE).told(["publisher share", "request alice: active"]);
}

#[test]
fn without_terms_it_goes_on_as_soon_as_the_visitor_is_somewhere() {
    let mut stage = Stage::start(setup(false, true, None));
    stage.told([]);
    stage.when(Input::Focus(Some(TAB2))).told([
        "offer tab2 from Alice",
        "request alice: accepted",
        "ready tab2",
        "ready alice",
        "request alice: connecting",
    ]);
}

#[test]
fn no_is_told_to_those_who_asked_and_ends_it() {
    let mut stage = Stage::asked();
    stage
        .when(decline(TAB))
        .told(["request alice: declined"])
        .noted([Noted::Refused(RequestState::Declined)])
        .ends(EndReason::Declined);
    stage.when(accept(TAB)).refused(SessionError::RequestOver);
    stage.when(decline(TAB)).refused(SessionError::RequestOver);
    stage.when(join(BOB)).refused(SessionError::Ended(EndReason::Declined));
}

#[test]
fn no_counts_only_from_where_it_was_asked_and_for_what_was_asked() {
    let mut stage = Stage::asked();
    stage.when(decline(TAB2)).refused(SessionError::RequestOver);
    let other = Input::Answer { request: OTHER_REQUEST, by: TAB, accepted: false, version: None };
    stage.when(other).refused(SessionError::RequestOver);
    stage.when(accept(TAB));
    stage.when(decline(TAB)).refused(SessionError::RequestOver);
    assert_eq!(stage.state(), RequestState::Connecting);
}

#[test]
fn the_deadline_takes_the_question_away() {
    let mut stage = Stage::asked();
    assert_eq!(stage.session.next_deadline(), Some(Tick::default().after(DEADLINE)));
    stage.after(DEADLINE - SECOND).told([]);
    stage
        .after(SECOND)
        .told(["offer ended tab: Expired", "request alice: expired"])
        .noted([Noted::Refused(RequestState::Expired)])
        .ends(EndReason::Expired);
}

#[test]
fn a_late_yes_is_refused_even_before_the_timer_calls() {
    let mut stage = Stage::asked();
    stage.pass(DEADLINE).when(accept(TAB));
    assert_eq!(stage.answer.as_ref().unwrap_err(), &SessionError::RequestOver);
    stage.told(["offer ended tab: Expired", "request alice: expired"]).ends(EndReason::Expired);
    stage.when(accept(TAB)).refused(SessionError::RequestOver);
}

#[test]
fn the_only_agent_takes_its_question_back() {
    let mut stage = Stage::asked();
    stage.when(cancel(BOB)).refused(SessionError::RequestOver);
    stage.when(Input::Cancel { request: OTHER_REQUEST, by: ALICE }).refused(SessionError::RequestOver);
    stage
        .when(cancel(ALICE))
        .told(["offer ended tab: Cancelled", "request alice: cancelled"])
        .noted([Noted::Refused(RequestState::Cancelled)])
        .ends(EndReason::Cancelled);
    stage.when(accept(TAB)).refused(SessionError::RequestOver);
    stage.when(cancel(ALICE)).refused(SessionError::RequestOver);
}

#[test]
fn an_agent_that_asks_from_two_pages_takes_its_question_back_from_either() {
    let again = Input::Join(Asker { connection: SHARE, ..asker(ALICE) });
    let mut stage = Stage::asked();
    stage.when(again.clone()).told([]);
    stage.when(cancel(ALICE)).noted([Noted::Refused(RequestState::Cancelled)]).ends(EndReason::Cancelled);

    let mut stage = Stage::asked();
    stage.when(again).told([]);
    stage.when(join(BOB)).told([]);
    stage.when(cancel(SHARE)).noted([]);
    stage.when(cancel(ALICE)).refused(SessionError::RequestOver);
    stage.when(displayed(TAB)).told(["request bob: displayed"]);
}

#[test]
fn one_of_two_agents_takes_only_its_own_wish_back() {
    let mut stage = Stage::asked();
    stage.when(join(BOB)).told([]);
    stage.when(cancel(ALICE)).told(["request alice: cancelled"]).noted([]);
    stage.when(cancel(ALICE)).refused(SessionError::RequestOver);
    stage.when(displayed(TAB)).told(["request bob: displayed"]);
    stage.when(accept(TAB)).told([
        "request bob: accepted",
        "ready tab",
        "ready bob",
        "request bob: connecting",
    ]);
}

#[test]
fn a_second_agent_never_makes_the_visitor_be_asked_twice() {
    let mut stage = Stage::asked();
    stage.when(displayed(TAB));
    stage.when(join(BOB)).told([]);
    assert!(matches!(stage.answer, Ok(Answer::Request(RequestState::Displayed))));
    assert!(stage.moved, "one more agent");
    stage.when(join(BOB)).in_vain();
    stage.when(join(ALICE)).in_vain();
    stage.when(accept(TAB)).told([
        "request alice+bob: accepted",
        "ready tab",
        "ready alice",
        "ready bob",
        "request alice+bob: connecting",
    ]);
    stage.when(join(CAROL)).told(["ready carol"]);
    assert!(matches!(stage.answer, Ok(Answer::Request(RequestState::Connecting))));
    stage.attach(TAB, SHARE).told(["publisher share", "request alice+bob+carol: active"]);
}

#[test]
fn yes_to_another_request_is_refused_and_the_question_stands() {
    let mut stage = Stage::asked();
    let other = Input::Answer { request: OTHER_REQUEST, by: TAB, accepted: true, version: None };
    stage.when(other).refused(SessionError::RequestOver);
    stage.when(Input::Displayed { request: OTHER_REQUEST, by: TAB }).refused(SessionError::RequestOver);
    assert!(stage.session.question().is_some());
}

#[test]
fn yes_to_other_terms_is_refused_and_the_question_stands() {
    let mut stage = Stage::asked();
    let other = Input::Answer { request: REQUEST, by: TAB, accepted: true, version: Some("v0".into()) };
    stage.when(other).refused(SessionError::TermsChanged);
    assert!(stage.session.question().is_some());
    let unnamed = Input::Answer { request: REQUEST, by: TAB, accepted: true, version: None };
    stage.when(unnamed).noted([Noted::Accepted { version: Some("v1".into()) }]);
}

#[test]
fn the_question_follows_the_visitor() {
    let mut stage = Stage::asked();
    stage.when(displayed(TAB));
    stage.when(Input::Focus(None)).told([]);
    stage.when(Input::Focus(Some(TAB2))).told(["offer ended tab: Taken", "offer tab2 from Alice"]);
    stage.when(Input::Focus(Some(TAB2))).in_vain();
    stage.when(accept(TAB)).refused(SessionError::RequestOver);
    stage.when(displayed(TAB)).refused(SessionError::RequestOver);
    // It was displayed before: that does not happen twice.
    stage.when(displayed(TAB2)).in_vain();
    stage.when(accept(TAB2)).told([
        "request alice: accepted",
        "ready tab2",
        "ready alice",
        "request alice: connecting",
    ]);
}

#[test]
fn a_visitor_between_two_pages_is_asked_on_the_next_one() {
    let mut stage = Stage::start(setup(true, true, None));
    stage.told([]);
    stage.when(accept(TAB)).refused(SessionError::RequestOver);
    stage.after(DEADLINE / 2).told([]);
    stage.when(Input::Focus(Some(TAB))).told(["offer tab from Alice"]);
    stage.after(DEADLINE / 2).told(["offer ended tab: Expired", "request alice: expired"]);
}

#[test]
fn a_visitor_who_goes_ends_the_question() {
    let mut stage = Stage::asked();
    stage.when(Input::Focus(None));
    stage
        .when(Input::VisitorGone)
        .told(["request alice: visitor_gone"])
        .noted([Noted::Refused(RequestState::VisitorGone)])
        .ends(EndReason::VisitorGone);
    stage.when(Input::VisitorGone).in_vain();
}

#[test]
fn a_question_that_nobody_asks_any_more_is_dropped() {
    let mut stage = Stage::asked();
    stage.when(join(BOB));
    stage.when(Input::AgentLost(ALICE));
    assert!(stage.moved, "one agent less");
    stage.told([]).when(Input::AgentLost(ALICE)).in_vain();
    assert_eq!(stage.session.next_deadline(), Some(Tick::default().after(DEADLINE)));
    stage.when(Input::AgentLost(BOB));
    assert_eq!(stage.session.next_deadline(), Some(stage.now.tick.after(Session::ABANDONED)));
    stage.pass(SECOND).when(Input::AgentLost(BOB)).in_vain();
    stage
        .after(Session::ABANDONED - SECOND)
        .told(["offer ended tab: Cancelled"])
        .noted([Noted::Refused(RequestState::Cancelled)])
        .ends(EndReason::Cancelled);
}

#[test]
fn an_agent_whose_page_reloads_finds_its_question() {
    let mut stage = Stage::asked();
    stage.when(Input::AgentLost(ALICE));
    // Meanwhile the visitor turns a page: it still sees who asks.
    stage.when(Input::Focus(Some(TAB2))).told(["offer ended tab: Taken", "offer tab2 from Alice"]);
    stage.pass(Session::ABANDONED - SECOND).when(join(BOB)).told([]);
    stage.after(SECOND).told([]);
    assert_eq!(stage.session.next_deadline(), Some(Tick::default().after(DEADLINE)));
    stage.when(accept(TAB2)).told([
        "request bob: accepted",
        "ready tab2",
        "ready bob",
        "request bob: connecting",
    ]);
}

#[test]
fn an_agent_that_reloads_while_the_visitor_says_yes_gets_in() {
    let mut stage = Stage::asked();
    stage.when(Input::AgentLost(ALICE));
    stage.when(accept(TAB)).told(["ready tab"]);
    stage.after(Session::ABANDONED).told([]);
    stage.when(join(BOB)).told(["ready bob"]);
}

#[test]
fn the_earliest_deadline_counts_though_the_timer_is_late() {
    let mut stage = Stage::asked();
    stage.when(Input::AgentLost(ALICE));
    stage.after(DEADLINE).ends(EndReason::Cancelled);
}

#[test]
fn the_ticket_follows_a_visitor_who_turns_the_page_before_attaching() {
    let mut stage = Stage::accepted();
    let first = stage.tickets[&TAB].clone();
    stage.when(Input::Focus(None)).told([]);
    stage.when(Input::Focus(Some(TAB2))).told(["ready tab2"]);
    stage.when(Input::Focus(Some(TAB2))).in_vain();
    let old = Input::Attach { secret: first, connection: SHARE, decodes: None };
    stage.when(old).refused(SessionError::NoSuchTicket);
    stage.attach(TAB2, SHARE2).told(["publisher share2", "request alice: active"]);
    // Once there, pages may come and go.
    stage.when(Input::Focus(Some(TAB))).told([]);
}

#[test]
fn yes_between_two_pages_is_kept_for_the_next_one() {
    let mut stage = Stage::asked();
    stage.when(Input::Focus(None));
    stage.when(accept(TAB)).told(["request alice: accepted", "ready alice", "request alice: connecting"]);
    stage.when(Input::Focus(Some(TAB2))).told(["ready tab2"]);
}

#[test]
fn a_ticket_opens_one_door_once() {
    let mut stage = Stage::accepted();
    let wrong = Input::Attach { secret: Secret::new([7; 16]), connection: SHARE, decodes: None };
    stage.when(wrong).refused(SessionError::NoSuchTicket);
    stage.attach(TAB, SHARE);
    stage.attach(TAB, SHARE2).refused(SessionError::NoSuchTicket);
    stage.attach(ALICE, VIEW_A);
    stage.attach(ALICE, VIEW_A2).refused(SessionError::NoSuchTicket);
    // A ticket is no resume token, and the other way round.
    let resume = stage.seats[&VIEW_A].resume.clone();
    let crossed = Input::Attach { secret: resume, connection: VIEW_A2, decodes: None };
    stage.when(crossed).refused(SessionError::NoSuchTicket);
    stage.when(join(BOB));
    let ticket = stage.tickets[&BOB].clone();
    let crossed = Input::Return { secret: ticket, connection: VIEW_B, decodes: None };
    stage.when(crossed).refused(SessionError::NoSuchTicket);
}

#[test]
fn a_ticket_lives_for_a_minute() {
    let mut stage = Stage::accepted();
    stage
        .after(limits::TICKET_LIFE - SECOND)
        .attach(TAB, SHARE)
        .told(["publisher share", "request alice: active"]);
    stage.after(SECOND).attach(ALICE, VIEW_A).refused(SessionError::NoSuchTicket);
    // Asking again is free.
    stage.when(join(ALICE)).told(["ready alice"]);
    stage.attach(ALICE, VIEW_A).told(["share < alice Joined"]);
}

#[test]
fn asking_again_replaces_the_ticket() {
    let mut stage = Stage::accepted();
    let first = stage.tickets[&ALICE].clone();
    stage.when(join(ALICE)).told(["ready alice"]);
    let old = Input::Attach { secret: first, connection: VIEW_A, decodes: None };
    stage.when(old).refused(SessionError::NoSuchTicket);
    stage.attach(ALICE, VIEW_A).told([]);
}

#[test]
fn before_the_answer_nobody_gets_in() {
    let mut stage = Stage::asked();
    stage.when(join(BOB));
    assert!(stage.tickets.is_empty());
    for n in 0..9u128 {
        let secret = Secret::new(n.to_be_bytes());
        let attach = Input::Attach { secret: secret.clone(), connection: SHARE, decodes: None };
        stage.when(attach).refused(SessionError::NoSuchTicket);
        let back = Input::Return { secret, connection: SHARE, decodes: None };
        stage.when(back).refused(SessionError::NoSuchTicket);
    }
}

#[test]
fn the_side_that_never_comes_ends_it_after_ten_minutes() {
    for (page, connection) in [(TAB, SHARE), (ALICE, VIEW_A)] {
        let mut stage = Stage::accepted();
        stage.attach(page, connection);
        assert_eq!(stage.session.next_deadline(), Some(Tick::default().after(limits::WAITING)));
        stage.after(limits::WAITING - SECOND).told([]);
        stage.after(SECOND).ends(EndReason::Expired);
        let ended = format!("{} < ended expired", name(connection));
        assert!(stage.told.contains(&ended), "{:?}", stage.told);
    }
}

#[test]
fn a_visitor_who_goes_before_attaching_ends_it() {
    let mut stage = Stage::accepted();
    stage.attach(ALICE, VIEW_A);
    stage
        .when(Input::VisitorGone)
        .told([
            "picture off",
            "view-a < ended guest_left",
            "over tab: guest_left",
            "over alice: guest_left",
            "close view-a: ended",
        ])
        .ends(EndReason::GuestLeft);
    stage.attach(TAB, SHARE).refused(SessionError::Ended(EndReason::GuestLeft));
}

#[test]
fn a_question_ended_from_outside_is_a_cancelled_question() {
    for reason in [EndReason::AgentEnded, EndReason::OperatorEnded] {
        let mut stage = Stage::asked();
        stage
            .when(Input::End(reason))
            .told(["offer ended tab: Cancelled", "request alice: cancelled"])
            .noted([Noted::Refused(RequestState::Cancelled)])
            .ends(reason);
    }
    let mut stage = Stage::asked();
    stage
        .when(Input::End(EndReason::Drained))
        .told(["offer ended tab: Failed", "request alice: failed"])
        .noted([Noted::Refused(RequestState::Failed)])
        .ends(EndReason::Drained);
}

fn crowd(n: usize) -> Vec<ConnectionId> {
    (0..n as u64).map(|n| ConnectionId(1_000 + n)).collect()
}

#[test]
fn sixty_four_agents_may_ask_and_no_more() {
    let mut stage = Stage::asked();
    let crowd = crowd(limits::VIEWERS - 1);
    for &agent in &crowd {
        stage.when(join(agent));
        assert!(stage.answer.is_ok());
    }
    stage.when(join(BOB)).refused(SessionError::Full(limits::VIEWERS));
    // Who asks already is not one more.
    stage.when(join(crowd[5])).in_vain();
    stage.when(cancel(crowd[0]));
    stage.when(join(BOB));
    assert!(stage.answer.is_ok());
    stage.when(accept(TAB));
    assert_eq!(stage.tickets.len(), 1 + limits::VIEWERS);
}

#[test]
fn a_session_has_sixty_four_viewers_tickets_included() {
    let mut stage = Stage::active();
    let crowd = crowd(limits::VIEWERS - 1);
    for &agent in &crowd {
        stage.when(join(agent));
    }
    stage.when(join(BOB)).refused(SessionError::Full(limits::VIEWERS));
    // Who holds a ticket may have another one for it; who has a place may not have two.
    stage.when(join(crowd[0]));
    assert_eq!(stage.told.len(), 1);
    for &agent in &crowd {
        stage.attach(agent, ConnectionId(agent.0 + 1_000));
        assert!(stage.answer.is_ok());
    }
    assert_eq!(stage.viewers(), limits::VIEWERS);
    stage.when(join(BOB)).refused(SessionError::Full(limits::VIEWERS));
    stage.when(join(crowd[0])).refused(SessionError::Full(limits::VIEWERS));
    // One that may still come back keeps its place; one that left does not.
    let seat = ConnectionId(crowd[0].0 + 1_000);
    stage.loses(seat).when(join(BOB)).refused(SessionError::Full(limits::VIEWERS));
    stage.comes_back(seat, ConnectionId(9_999)).says(ConnectionId(9_999), Say::Leave);
    stage.when(join(BOB)).told(["ready bob"]);
    stage.when(join(CAROL)).refused(SessionError::Full(limits::VIEWERS));
    stage.after(limits::TICKET_LIFE).when(join(CAROL)).told(["ready carol"]);
    stage.when(join(BOB)).refused(SessionError::Full(limits::VIEWERS));
}
