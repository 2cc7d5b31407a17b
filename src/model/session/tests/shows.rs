//! Stories of a page that becomes a screen, and a page again.

use super::*;
use crate::wire::visitor::SessionKind::{Cobrowse, Screen, View};

/// As [`Stage::controlled`], of a page.
fn cobrowsing() -> Stage {
    let mut stage = Stage::start(Setup { kind: Cobrowse, ..setup(true, true, Some(TAB)) });
    stage.when(accept(TAB));
    stage.attach(TAB, SHARE).attach(ALICE, VIEW_A).when(join(BOB)).attach(BOB, VIEW_B);
    let alice = stage.id(VIEW_A);
    stage.says(VIEW_A, Say::RequestControl).says(SHARE, Say::GrantControl(alice));
    stage
}

#[test]
fn the_visitor_shows_a_screen_and_its_page_again() {
    let mut stage = cobrowsing();
    stage
        .says(SHARE, Say::Shows(Screen))
        .told(["share+view-a+view-b < control Off nobody 2", "share+view-a+view-b < shows screen"])
        .noted([Noted::ControlRevoked, Noted::Shows(Screen)]);
    assert_eq!(stage.session.shown_kind(), Screen);
    let view = stage.session.view();
    assert_eq!((view.kind, view.shows, stage.moved), (Cobrowse, Some(Screen), true));
    stage.says(SHARE, Say::Shows(Screen)).in_vain();
    stage.input(VIEW_A, 1);
    assert_eq!(stage.answer.as_ref().unwrap_err(), &SessionError::ControlNotGranted);
    // Who comes back, and who goes on with it elsewhere, knows what is shown.
    stage.loses(SHARE).comes_back(SHARE, SHARE2);
    let Ok(Answer::Attached { message, .. }) = &stage.answer else { panic!() };
    assert!(matches!(&**message, ToParticipant::Attached { kind: Cobrowse, shows: Some(Screen), .. }));
    let saved = stage.session.save(stage.now).unwrap();
    let restored = Session::restore(saved, stage.now, Arc::default(), &mut Vec::new());
    assert_eq!(restored.shown_kind(), Screen);
    stage
        .says(SHARE2, Say::Shows(Cobrowse))
        .told(["share2+view-a+view-b < shows cobrowse"])
        .noted([Noted::Shows(Cobrowse)]);
    assert_eq!(stage.session.shows_otherwise(), None);
}

#[test]
fn nobody_else_changes_what_is_shown_and_nothing_else_is_shown() {
    let mut stage = cobrowsing();
    let forbidden = SessionError::Forbidden("only the publisher may say what it shows");
    stage.says(VIEW_A, Say::Shows(Screen)).refused(forbidden);
    stage
        .says(SHARE, Say::Shows(View))
        .refused(SessionError::Forbidden("a visitor shows its page or a screen"));
    assert_eq!(stage.session.shown_kind(), Cobrowse);
    let stays = SessionError::WrongState("a session of kind screen stays what it is".into());
    Stage::active().says(SHARE, Say::Shows(Cobrowse)).refused(stays);
}
