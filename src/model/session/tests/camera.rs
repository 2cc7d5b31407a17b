//! Stories of an agent's camera.

use super::*;
use crate::model::settings::Settings;

/// What the settings make where these agents hold the permission.
fn right(agent: &str) -> CameraRight {
    let (agent, mut settings) = (AgentId::new(agent).unwrap(), Settings::default());
    assert_eq!(CameraRight::of(&settings, &agent), Err(NoCamera), "nobody has it unasked");
    settings.permission_set.agent_video.insert(agent.clone());
    CameraRight::of(&settings, &agent).unwrap()
}

/// This agent's camera.
pub(super) fn starts(agent: &str) -> Say {
    Say::StartCamera(right(agent))
}

const NOT_AN_AGENT: SessionError = SessionError::Forbidden("only an agent may show its camera");

#[test]
fn one_camera_is_shown_at_a_time_and_everybody_is_told() {
    let mut stage = Stage::shared();
    let revision = stage.session.revision();
    stage.says(VIEW_A, starts("alice")).told(["camera view-a", "share+view-a+view-b < camera of alice"]);
    stage.noted([Noted::CameraStarted(stage.id(VIEW_A))]);
    stage.says(VIEW_A, starts("alice")).in_vain();
    let taken = || SessionError::WrongState("another agent shows its camera".to_owned());
    stage.says(VIEW_B, starts("bob")).refused(taken());
    stage.says(VIEW_B, Say::StopCamera).in_vain();
    assert_eq!(stage.session.camera_of().map(AgentId::as_str), Some("alice"));
    stage.says(VIEW_A, Say::StopCamera).told(["camera off", "share+view-a+view-b < camera of nobody"]);
    stage.noted([Noted::CameraStopped]);
    stage.says(VIEW_B, starts("bob")).told(["camera view-b", "share+view-a+view-b < camera of bob"]);
    assert_eq!(stage.session.revision(), revision, "nothing that is saved has changed");
}

#[test]
fn a_right_is_of_one_agent_and_of_no_guest() {
    let mut stage = Stage::shared();
    stage.says(VIEW_B, starts("alice")).refused(NOT_AN_AGENT);
    stage.says(SHARE, starts("alice")).refused(NOT_AN_AGENT);
    assert_eq!(stage.session.camera_of(), None);
}

#[test]
fn a_camera_ends_with_its_agents_connection_and_does_not_come_back_by_itself() {
    let mut stage = Stage::shared();
    stage.says(VIEW_A, starts("alice")).loses(VIEW_A);
    stage.told(["share+view-b < alice Reconnecting", "camera off", "share+view-b < camera of nobody"]);
    stage.comes_back(VIEW_A, VIEW_A2).told(["share+view-b < alice Back"]);
    stage.says(VIEW_A2, starts("alice"));
    // Taken over by another of its sockets before the loss was noticed.
    stage.comes_back(VIEW_A2, VIEW_A).told([
        "close view-a2: replaced",
        "camera off",
        "share+view-a+view-b < camera of nobody",
    ]);
    stage.says(VIEW_A, starts("alice")).says(VIEW_A, Say::Leave).told([
        "share+view-b < alice Left",
        "camera off",
        "share+view-b < camera of nobody",
        "close view-a: ended",
    ]);
}

#[test]
fn a_camera_ends_with_its_right() {
    let mut stage = Stage::shared();
    stage.when(Input::EndCamera).in_vain();
    stage.says(VIEW_A, starts("alice"));
    stage.when(Input::EndCamera).told(["camera off", "share+view-a+view-b < camera of nobody"]);
    stage.when(Input::EndCamera).in_vain();
}

#[test]
fn an_agent_that_shows_its_screen_may_show_its_camera_too() {
    let mut stage = Stage::shown();
    stage.says(SHARE, starts("alice")).told(["camera share", "share+ann+ben < camera of alice"]);
    stage.says(ANN, starts("alice")).refused(NOT_AN_AGENT);
}

#[test]
fn a_camera_does_not_outlive_its_node() {
    let mut stage = Stage::shared();
    stage.says(VIEW_A, starts("alice"));
    stage.moves(Duration::from_secs(1), 0);
    assert_eq!(stage.session.camera_of(), None);
    stage.comes_back(VIEW_A, VIEW_A2).says(VIEW_A2, starts("alice"));
    stage.told(["camera view-a2", "view-a2 < camera of alice"]);
}
