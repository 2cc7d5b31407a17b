//! Stories of pointing.

use super::*;
use crate::wire::session::Point;

fn at(x: u16) -> Say {
    Say::Point(Point { x, y: 9 })
}

#[test]
fn the_publisher_sees_what_each_agent_points_at_and_nobody_else_does() {
    let mut stage = Stage::shared();
    let revision = stage.session.revision();
    stage.says(VIEW_A, at(1)).told(["share < alice points at 1 9"]).noted([]);
    stage.says(VIEW_B, at(2)).told(["share < bob points at 2 9"]);
    // Too soon after the last one.
    stage.says(VIEW_A, at(3)).in_vain();
    stage.pass(limits::POINT_SPACING).says(VIEW_A, at(4)).told(["share < alice points at 4 9"]);
    assert_eq!(stage.session.revision(), revision, "nothing that is saved has changed");
    stage.says(SHARE, at(5)).refused(SessionError::Forbidden("only an agent that watches may point"));
    // Nobody sees anything while it is paused, or while the publisher is away.
    stage.says(SHARE, Say::Pause).pass(limits::POINT_SPACING).says(VIEW_A, at(6)).in_vain();
    stage.says(SHARE, Say::Resume).loses(SHARE).says(VIEW_A, at(7)).in_vain();
}
