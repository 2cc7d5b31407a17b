//! What of a session outlives its node, told as stories. The laws of a session hold across the cut as well: see
//! the runs in [`super::laws`] and [`super::showing`].

use super::*;

const SECOND: Duration = Duration::from_secs(1);

impl Stage {
    /// The node dies; another one, whose ticks count from elsewhere and whose clock is wrong by so many seconds,
    /// goes on after a while.
    pub(super) fn moves(&mut self, outage: Duration, wrong: i64) -> &mut Self {
        let saved = serde_json::to_string(&self.session.save(self.now).expect("it has not ended")).unwrap();
        for secret in self.seats.values().map(|seat| &seat.resume).chain(self.tickets.values()) {
            let text = Token { session: SESSION, secret: secret.clone() }.text();
            assert!(!saved.contains(&text[22..]), "a secret lies in the clear");
        }
        let wall = self.now.wall.after(outage).0.saturating_add_signed(wrong * 1_000);
        self.now = Now { tick: Tick(self.now.tick.0 * 3 + 77_000), wall: Wall(wall) };
        let limits = Arc::clone(&self.session.limits);
        let mut out = Vec::new();
        self.session = Session::restore(serde_json::from_str(&saved).unwrap(), self.now, limits, &mut out);
        self.answer = Ok(Answer::Done);
        self.perform(out);
        self
    }
}

#[test]
fn everybody_comes_back() {
    let mut stage = Stage::shared();
    stage.moves(10 * SECOND, 0).told([]).noted([]);
    assert_eq!((stage.state(), stage.viewers(), stage.ended()), (RequestState::Active, 0, None));
    stage.comes_back(SHARE, SHARE2).told(["publisher share2"]);
    assert_eq!(stage.seats[&SHARE2].people, ["guest Here", "alice Reconnecting", "bob Reconnecting"]);
    assert!(stage.session.may_publish(SHARE2));
    stage.comes_back(VIEW_A, VIEW_A2).told(["share2 < alice Back"]);
    assert_eq!(stage.id(VIEW_A2), stage.id(VIEW_A), "the same participant");
    // Bob does not.
    stage.after(limits::RESUME_WINDOW).told(["share2+view-a2 < bob Left"]);
    stage.says(SHARE2, Say::End { reason: None }).ends(EndReason::GuestEnded);
}

#[test]
fn a_token_used_before_is_not_usable_after() {
    let mut stage = Stage::active();
    let (ticket, old) = (stage.tickets[&TAB].clone(), stage.seats[&SHARE].resume.clone());
    stage.loses(SHARE).comes_back(SHARE, SHARE2);
    stage.moves(SECOND, 0);
    let again = Input::Attach { secret: ticket, connection: VIEW_C, decodes: None };
    stage.when(again).refused(SessionError::NoSuchTicket);
    let again = Input::Return { secret: old, connection: VIEW_C, decodes: None };
    stage.when(again).refused(SessionError::NoSuchTicket);
    stage.comes_back(SHARE2, SHARE).told(["publisher share"]);
}

#[test]
fn tickets_are_good_until_their_end_and_once() {
    let mut stage = Stage::accepted();
    stage.moves(20 * SECOND, 0).after(39 * SECOND).attach(TAB, SHARE);
    let share = stage.id(SHARE);
    stage.told(["publisher share"]).noted([Noted::Joined(share), Noted::Started]);
    let (used, missed) = (stage.tickets[&TAB].clone(), stage.tickets[&ALICE].clone());
    let again = |secret| Input::Attach { secret, connection: VIEW_A, decodes: None };
    stage.when(again(used)).refused(SessionError::NoSuchTicket);
    stage.after(SECOND).when(again(missed)).refused(SessionError::NoSuchTicket);
}

#[test]
fn control_is_let_go_of_and_has_to_be_given_anew() {
    let mut stage = Stage::controlled();
    let epoch = stage.session.control.view().epoch;
    stage.moves(SECOND, 0).told([]).noted([Noted::ControlRevoked]);
    stage.comes_back(SHARE, SHARE2).comes_back(VIEW_A, VIEW_A2);
    let now = stage.seats[&VIEW_A2].control;
    assert_eq!((now.state, now.participant_id), (crate::wire::session::ControlState::Off, None));
    assert!(now.epoch > epoch);
    for late in [epoch, now.epoch] {
        stage.input(VIEW_A2, late).refused(SessionError::ControlNotGranted);
    }
    stage.says(VIEW_A2, Say::RequestControl);
    stage.says(SHARE2, Say::GrantControl(stage.id(VIEW_A2)));
    stage.input(VIEW_A2, epoch).refused(SessionError::ControlNotGranted);
    stage.input(VIEW_A2, now.epoch + 1);
    assert!(stage.answer.is_ok());
}

#[test]
fn a_pause_lasts() {
    let mut stage = Stage::active();
    stage.says(SHARE, Say::Pause).moves(SECOND, 0).told(["picture off"]).noted([]);
    stage.comes_back(SHARE, SHARE2);
    assert!(stage.seats[&SHARE2].paused && !stage.session.may_publish(SHARE2));
}

#[test]
fn a_question_is_put_again_where_the_visitor_is() {
    let mut stage = Stage::asked();
    stage.when(displayed(TAB)).moves(20 * SECOND, 0).told([]).noted([]);
    assert_eq!(stage.state(), RequestState::Displayed);
    stage.when(accept(TAB)).refused(SessionError::RequestOver);
    stage.when(Input::Focus(Some(TAB2))).told(["offer tab2 from Alice"]);
    stage.when(join(ALICE)).told([]);
    stage.when(accept(TAB2));
    let ready = ["request alice: accepted", "ready tab2", "ready alice", "request alice: connecting"];
    stage.told(ready).noted([Noted::Accepted { version: Some("v1".into()) }]);
}

#[test]
fn who_asked_is_known_even_before_it_asks_again() {
    let mut stage = Stage::asked();
    stage.when(join(BOB)).moves(SECOND, 0).when(join(BOB));
    stage.when(Input::Focus(Some(TAB)));
    let mut out = Vec::new();
    stage.session.handle(stage.now, accept(TAB), &mut stage.chance, &mut out).unwrap();
    let accepted = out.iter().find_map(|output| match output {
        Output::Happened(Happened::Accepted(accepted)) => Some(accepted),
        _ => None,
    });
    let agents: Vec<_> = accepted.unwrap().agents.iter().map(AgentId::as_str).collect();
    assert_eq!(agents, ["bob", "alice"]);
    assert_eq!(stage.session.view().agents.len(), 2);
}

#[test]
fn a_question_stands_for_what_was_left() {
    for (outage, wrong, left) in [(20, 0, 40), (20, 40, 0), (20, -40, 60), (0, -4_000, 60), (200, 0, 0)] {
        let mut stage = Stage::asked();
        let (setup, now) = (setup(true, true, Some(TAB)), Now { wall: Wall(1_900_000_000_000), ..stage.now });
        stage.session = Session::start(setup, now, &mut stage.chance, &mut Vec::new());
        stage.now = now;
        stage.moves(SECOND * outage, wrong).when(Input::Focus(Some(TAB)));
        stage.when(join(ALICE));
        if left > 0 {
            stage.after(SECOND * left - Duration::from_millis(1));
            assert_eq!(stage.ended(), None, "{outage} {wrong}");
        }
        stage.after(Duration::from_millis(1));
        assert_eq!(stage.ended(), Some(EndReason::Expired), "{outage} {wrong}");
    }
}

#[test]
fn a_wrong_clock_neither_ends_it_nor_keeps_it_for_ever() {
    for wrong in [-40, 40, -400_000] {
        let mut stage = Stage::active();
        stage.now.wall = Wall(1_900_000_000_000);
        stage.moves(10 * SECOND, wrong).after(limits::RESUME_WINDOW - SECOND);
        assert_eq!(stage.ended(), None, "{wrong}");
        stage.comes_back(SHARE, SHARE2).comes_back(VIEW_A, VIEW_A2).after(SECOND);
        assert_eq!(stage.ended(), None, "{wrong}");
        stage.after(limits::SESSION_LENGTH).ends(EndReason::TimeLimit);
    }
}

#[test]
fn nobody_comes_back() {
    let mut asked = Stage::asked();
    asked.after(30 * SECOND).moves(SECOND, 0).after(29 * SECOND).ends(EndReason::Expired);
    Stage::opened().moves(SECOND, 0).after(limits::TICKET_LIFE - SECOND).ends(EndReason::Expired);
    for mut stage in [Stage::accepted(), Stage::active(), Stage::shown()] {
        stage.moves(SECOND, 0).after(limits::RESUME_WINDOW - SECOND);
        assert_eq!(stage.ended(), None);
        stage.after(SECOND).ends(EndReason::NodeLost);
        assert!(stage.session.save(stage.now).is_none(), "what is over is not saved");
    }
}

#[test]
fn who_asked_does_not_come_back() {
    let mut stage = Stage::start(Setup {
        question: Question { deadline: 10 * limits::RESUME_WINDOW, ..setup(true, true, None).question },
        ..setup(true, true, Some(TAB))
    });
    stage.moves(SECOND, 0).when(Input::Focus(Some(TAB))).told(["offer tab from Alice"]);
    stage.after(limits::RESUME_WINDOW).told(["offer ended tab: Cancelled"]).ends(EndReason::Cancelled);
}

#[test]
fn the_visitor_does_not_come_back() {
    let mut stage = Stage::active();
    stage.moves(SECOND, 0).comes_back(VIEW_A, VIEW_A2).after(limits::RESUME_WINDOW);
    stage.ends(EndReason::GuestLeft);
}

#[test]
fn an_own_screen_is_still_its_agents_alone() {
    let mut stage = Stage::shown();
    stage.moves(SECOND, 0).comes_back(SHARE, SHARE2).told(["publisher share2"]);
    stage.comes_back(ANN, VIEW_A).told(["share2 < guest Back"]);
    assert!(stage.session.may_publish(SHARE2) && !stage.session.may_publish(VIEW_A));
    let view = stage.session.view();
    assert_eq!((view.accepted, view.agents.len()), (None, 1));
    // There may be three who watch, and Ben's place is kept for him.
    stage
        .when(Input::Guest(Entrant { call: 3, name: "Cem".into(), terms: None, device: None }))
        .told(["ready guest 3"]);
    let fourth = Input::Guest(Entrant { call: 4, name: "Dan".into(), terms: None, device: None });
    stage.when(fourth).refused(SessionError::Full(3));
}

#[test]
fn a_form_that_is_not_known_is_told() {
    let stage = Stage::active();
    let mut saved = serde_json::to_value(stage.session.save(stage.now).unwrap()).unwrap();
    saved["later"] = serde_json::json!({"a": 1});
    serde_json::from_value::<Saved>(saved.clone()).expect("a field more is no harm");
    saved["phase"] = serde_json::json!({"later": {}});
    assert!(serde_json::from_value::<Saved>(saved).unwrap_err().to_string().contains("later"));
}
