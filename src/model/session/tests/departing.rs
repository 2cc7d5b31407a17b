//! A session whose node goes away while others are there.

use super::*;

impl Stage {
    fn departs(&mut self) -> bool {
        let mut out = Vec::new();
        let departs = self.session.depart(&mut out);
        self.perform(out);
        departs
    }
}

#[test]
fn who_departs_takes_no_step_more() {
    let mut stage = Stage::controlled();
    assert!(stage.departs());
    stage.told(["departs"]).noted([]);
    let before = serde_json::to_value(stage.session.save(stage.now)).unwrap();
    assert!(stage.departs(), "it is on its way");
    stage.told([]);
    let resume = stage.seats[&SHARE].resume.clone();
    for input in [
        Input::Return { secret: resume, connection: SHARE2, decodes: None },
        Input::Lost { participant: stage.id(SHARE), connection: SHARE },
        Input::End(EndReason::OperatorEnded),
        Input::VisitorGone,
        join(CAROL),
    ] {
        stage.when(input).refused(SessionError::Moved);
    }
    assert_eq!(stage.session.next_deadline(), None);
    stage.after(limits::SESSION_LENGTH).told([]).noted([]);
    let mut after = serde_json::to_value(stage.session.save(stage.now)).unwrap();
    after["ends"] = before["ends"].clone();
    assert_eq!(after, before, "it is saved as it was");
    assert_eq!(stage.ended(), None);
}

#[test]
fn a_question_is_answered_and_not_taken_along() {
    let mut stage = Stage::asked();
    assert!(!stage.departs());
    stage.told(["offer ended tab: Failed", "request alice: failed"]);
    stage.noted([Noted::Refused(RequestState::Failed)]).ends(EndReason::Drained);
    assert!(!stage.departs(), "it is over");
    stage.told([]).noted([]);
}

#[test]
fn who_cannot_depart_ends() {
    let mut stage = Stage::active();
    assert!(stage.departs());
    let mut out = Vec::new();
    stage.session.strand(&mut out);
    stage.perform(out);
    stage.noted([Noted::Ended(EndReason::Drained)]).ends(EndReason::Drained);
}

#[test]
fn a_page_that_follows_hears_of_the_end_and_gets_no_ticket() {
    let mut stage = Stage::shared();
    stage.moves(Duration::from_secs(1), 0);
    stage.comes_back(SHARE, SHARE2).comes_back(VIEW_A, VIEW_A2);
    stage.when(Input::Follows(asker(ALICE))).told([]);
    assert!(matches!(stage.answer, Ok(Answer::Request(RequestState::Active))), "{:?}", stage.answer);
    stage.when(Input::Follows(asker(ALICE))).in_vain();
    stage.when(Input::End(EndReason::NodeLost));
    assert!(stage.told.contains(&"over alice: node_lost".to_owned()), "{:?}", stage.told);
    stage.when(Input::Follows(asker(BOB))).refused(SessionError::Ended(EndReason::NodeLost));
}
