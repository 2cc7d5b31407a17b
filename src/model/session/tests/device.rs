//! What a guest has to do on its device, and who hears of it: the six scenarios, as everybody in the session sees them.

use super::*;
use crate::wire::permission::Fact::{Denied, Granted, Prompt};
use crate::wire::permission::{Fact, Facts, Permission, PermissionFact, Step};
use crate::wire::visitor::TermsAnswer;

/// Steps as one line.
pub(super) fn todo(steps: &[Step]) -> String {
    let name = |step: &Step| match serde_json::to_value(step) {
        Ok(serde_json::Value::String(name)) => name,
        other => panic!("{other:?}"),
    };
    if steps.is_empty() { "nothing".into() } else { steps.iter().map(name).collect::<Vec<_>>().join(", ") }
}

const ON_A_MAC: &str = "mac-1";

fn facts(install: Fact, screen_recording: Fact, accessibility: Fact) -> Facts {
    Facts { install, screen_recording, accessibility }
}

fn waiting(control: bool) -> Stage {
    let question = Question { deadline: limits::WAITING, ..setup(true, control, None).question };
    Stage::start(Setup { kind: SessionKind::View, visitor: None, question, ..setup(true, control, None) })
}

impl Stage {
    /// The guest is at the door, and sees what it is asked.
    fn at_the_door(&mut self, call: u64, facts: Facts) -> &mut Self {
        self.knock(call, facts, None)
    }

    fn knock(&mut self, call: u64, facts: Facts, terms: Option<TermsAnswer>) -> &mut Self {
        let device = Some(Device { id: Some(ON_A_MAC.into()), facts });
        self.when(Input::Guest(Entrant { call, name: "Gina".into(), terms, device }))
    }

    /// It accepts, and sits down.
    fn comes_in(&mut self, call: u64, facts: Facts, connection: ConnectionId) -> &mut Self {
        let yes = TermsAnswer { request_id: REQUEST, accepted: true, terms_version: Some("v1".into()) };
        self.knock(call, facts, Some(yes));
        let secret = self.calls[&call].clone();
        self.when(Input::Attach { secret, connection, decodes: None }).seated(connection)
    }

    fn tells(&mut self, connection: ConnectionId, name: Permission, state: Fact) -> &mut Self {
        self.says(connection, Say::Permission(PermissionFact { name, state }))
    }

    #[track_caller]
    fn remembers(&mut self, facts: Facts) -> &mut Self {
        assert_eq!(self.kept, Some(Device { id: Some(ON_A_MAC.into()), facts }));
        self
    }

    /// The guest is on its way through scenario 1, up to where its screen is shown. The session and its seat stay.
    fn first_view(control: bool) -> Self {
        let mut stage = waiting(control);
        let (session, seat) = (stage.session.id(), stage.session.guest_seat());
        let all = "download, open, allow_screen_recording, choose_later, reenter, allow";
        stage.at_the_door(1, facts(Prompt, Prompt, Prompt));
        stage.told(["request alice: displayed", "request alice: displayed"]);
        assert_eq!(todo(&stage.session.view().steps), all);
        stage.at_the_door(2, facts(Denied, Prompt, Prompt)).told(["request alice: displayed"]);
        assert_eq!(todo(&stage.session.view().steps), &all["download, ".len()..]);
        stage.comes_in(3, facts(Granted, Prompt, Prompt), SHARE).attach(ALICE, VIEW_A);
        assert_eq!(todo(&stage.session.view().steps), "allow_screen_recording, choose_later, reenter, allow");
        stage.tells(SHARE, Permission::ScreenRecording, Granted);
        let told = "share+view-a < guest has to choose_later, reenter, allow";
        stage.told(["request alice: active", told]).remembers(facts(Granted, Granted, Prompt));
        // It quits, and the session waits for it to come by the same way.
        stage.loses(SHARE);
        stage.told([
            "view-a < guest Reconnecting",
            "request alice: active",
            "view-a < guest has to reenter, allow",
        ]);
        stage.after(Duration::from_secs(300)).told([]);
        stage.at_the_door(4, facts(Granted, Granted, Prompt));
        stage.told(["request alice: active", "view-a < guest has to allow"]);
        stage.comes_in(5, facts(Granted, Granted, Prompt), SHARE2);
        let told = "view-a+share2 < guest has to nothing";
        stage.told_by_anybody(told);
        assert_eq!((stage.session.id(), Some(stage.id(SHARE2))), (session, seat));
        assert!(stage.session.may_publish(SHARE2) && !stage.session.may_publish(SHARE));
        stage
    }

    /// Among what was said is this line, whatever the order of those who hear it.
    #[track_caller]
    fn told_by_anybody(&mut self, line: &str) -> &mut Self {
        let split = |line: &str| {
            let (to, what) = line.split_once(" < ").unwrap_or(("", line));
            let mut to: Vec<_> = to.split('+').map(str::to_owned).collect();
            to.sort();
            (to, what.to_owned())
        };
        assert!(self.told.iter().any(|told| split(told) == split(line)), "{line} is not in {:?}", self.told);
        self
    }
}

#[test]
fn scenario_1_keeps_session_and_seat_through_the_restart() {
    let mut stage = Stage::first_view(false);
    stage.says(VIEW_A, Say::RequestControl).refused(SessionError::Forbidden("this session is view-only"));
}

#[test]
fn scenario_2_asks_for_accessibility_at_the_first_attempt() {
    let mut stage = Stage::first_view(true);
    stage
        .says(VIEW_A, Say::RequestControl)
        .told_by_anybody("share2+view-a < guest has to allow_accessibility");
    stage.tells(SHARE2, Permission::Accessibility, Denied);
    assert_eq!(todo(&stage.session.view().steps), "allow_accessibility");
    stage.tells(SHARE2, Permission::Accessibility, Granted);
    stage.told_by_anybody("share2+view-a < guest has to nothing").remembers(facts(Granted, Granted, Granted));
    stage.says(SHARE2, Say::GrantControl(stage.id(VIEW_A))).says(VIEW_A, Say::ReleaseControl);
    // Once, and never again.
    stage.says(VIEW_A, Say::RequestControl);
    assert!(stage.told.iter().all(|line| !line.contains("has to")), "{:?}", stage.told);
}

#[test]
fn scenario_3_an_app_that_was_kept_needs_nothing() {
    let mut stage = waiting(true);
    stage.at_the_door(1, facts(Granted, Granted, Granted)).told(["request alice: displayed"]);
    stage.comes_in(2, facts(Granted, Granted, Granted), SHARE).attach(ALICE, VIEW_A);
    stage.says(VIEW_A, Say::RequestControl);
    assert!(stage.told.iter().all(|line| !line.contains("has to")), "{:?}", stage.told);
    assert_eq!(stage.session.view().steps, []);
}

#[test]
fn scenario_4_a_copy_that_the_system_finds_is_no_download() {
    // The page did not know of it; the link opens the copy, which knocks itself.
    let mut stage = waiting(true);
    stage.at_the_door(1, facts(Prompt, Granted, Granted));
    assert_eq!(todo(&stage.session.view().steps), "download, open");
    stage.comes_in(2, facts(Granted, Granted, Granted), SHARE).attach(ALICE, VIEW_A);
    assert_eq!(stage.session.view().steps, []);
    stage.says(VIEW_A, Say::RequestControl);
    assert_eq!(stage.session.view().steps, []);
}

#[test]
fn scenario_5_installs_again_without_permission_alerts() {
    let mut stage = waiting(true);
    for (call, install, left) in [(1, Prompt, "download, open"), (2, Denied, "open"), (3, Granted, "nothing")]
    {
        stage.at_the_door(call, facts(install, Granted, Granted));
        assert_eq!(todo(&stage.session.view().steps), left);
    }
    stage.comes_in(4, facts(Granted, Granted, Granted), SHARE).attach(ALICE, VIEW_A);
    stage.says(VIEW_A, Say::RequestControl);
    assert_eq!(stage.session.view().steps, []);
}

#[test]
fn scenario_6_was_view_only_and_asks_for_accessibility_alone() {
    let mut stage = waiting(true);
    stage.comes_in(1, facts(Granted, Granted, Prompt), SHARE).attach(ALICE, VIEW_A);
    assert_eq!(stage.session.view().steps, []);
    stage
        .says(VIEW_A, Say::RequestControl)
        .told_by_anybody("share+view-a < guest has to allow_accessibility");
    // Refused: nothing is to be done, until the next attempt.
    stage.says(SHARE, Say::RejectControl(stage.id(VIEW_A)));
    stage.told_by_anybody("share+view-a < guest has to nothing");
    stage
        .says(VIEW_A, Say::RequestControl)
        .told_by_anybody("share+view-a < guest has to allow_accessibility");
    stage
        .tells(SHARE, Permission::Accessibility, Granted)
        .told_by_anybody("share+view-a < guest has to nothing");
}

#[test]
fn only_the_publisher_tells_of_its_device_and_browsers_have_nothing_to_do() {
    let mut stage = Stage::active();
    stage.tells(VIEW_A, Permission::Install, Granted);
    stage.refused(SessionError::Forbidden("only the publisher tells what its device allows"));
    assert_eq!(stage.session.view().steps, []);
    stage.says(VIEW_A, Say::RequestControl).told(["share+view-a < control Requested alice 0"]);
}

#[test]
fn another_node_goes_on_with_the_steps() {
    let mut stage = waiting(true);
    stage.comes_in(1, facts(Granted, Prompt, Prompt), SHARE);
    stage.tells(SHARE, Permission::ScreenRecording, Granted);
    let saved = serde_json::to_string(&stage.session.save(stage.now).unwrap()).unwrap();
    let saved = serde_json::from_str(&saved).unwrap();
    let restored = Session::restore(saved, stage.now, Arc::default(), &mut Vec::new());
    assert_eq!(todo(&restored.view().steps), "choose_later, reenter, allow");
}
