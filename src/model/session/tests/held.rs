//! Stories of input that the publisher holds back.

use super::*;
use crate::wire::held::{HeldReason, InputHeld};

fn held(reason: HeldReason) -> Say {
    Say::InputHeld(InputHeld { reason })
}

#[test]
fn the_agents_hear_what_is_held_back_while_there_is_a_grant() {
    let mut stage = Stage::shared();
    stage.says(SHARE, held(HeldReason::OwnInput)).in_vain();
    let mut stage = Stage::controlled();
    let revision = stage.session.revision();
    stage.says(SHARE, held(HeldReason::OwnInput)).told(["view-a+view-b < held OwnInput"]);
    stage.says(SHARE, held(HeldReason::List)).told(["view-a+view-b < held List"]);
    assert_eq!(stage.session.revision(), revision, "nothing that is saved has changed");
    let refused = SessionError::Forbidden("only the publisher says what input it holds back");
    stage.says(VIEW_A, held(HeldReason::File)).refused(refused);
    stage.says(SHARE, Say::RevokeControl).says(SHARE, held(HeldReason::OwnInput)).in_vain();
}
