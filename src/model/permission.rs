//! What a guest's device allows, and what its guest has to do next.
//!
//! Decides the step that a guest is on, from what its app tells, from its comings and goings, and from whether an agent
//! wants control. Does not decide who may tell it, whether there is a session, or how a step reads; and lets nobody do
//! anything: whoever skips a step shows nothing, because its system does not let it.
//!
//! A system that learns that an app may see the screen lets it do so from its next start on. So an app that is allowed to
//! while it runs has to be started anew: its guest chooses *Later*, comes in again by the same link, and accepts again.

use serde::{Deserialize, Serialize};

use crate::wire::permission::{Fact, Facts, Permission, Step};

impl Fact {
    /// Whether somebody has to do something about it.
    fn is_missing(self) -> bool {
        matches!(self, Self::Prompt | Self::Denied)
    }
}

impl Facts {
    /// Takes one fact.
    pub fn set(&mut self, name: Permission, state: Fact) {
        *match name {
            Permission::Install => &mut self.install,
            Permission::ScreenRecording => &mut self.screen_recording,
            Permission::Accessibility => &mut self.accessibility,
        } = state;
    }

    /// These facts, and what was told of them since.
    pub fn with(mut self, told: impl IntoIterator<Item = (Permission, Fact)>) -> Self {
        told.into_iter().for_each(|(name, state)| self.set(name, state));
        self
    }
}

/// What may happen to a guest's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Its guest is at the door; where it was before, its app was started anew.
    Knocks(Facts),
    /// It is in the session.
    Enters,
    /// Its app tells how something stands.
    Tells(Permission, Fact),
    /// It is away.
    Goes,
    /// Whether an agent asks for control or has it.
    Control(bool),
}

/// Whether an app has to be started anew, and how far that is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Restart {
    #[default]
    No,
    /// It was allowed to see the screen while it ran.
    Needed,
    /// It is away.
    Away,
    /// It is at the door again.
    Back,
}

/// One guest's device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    facts: Facts,
    restart: Restart,
    #[serde(skip)]
    control: bool,
}

impl Permissions {
    /// What it allows, as far as it told.
    pub fn facts(&self) -> Facts {
        self.facts
    }

    /// Takes one input.
    pub fn handle(&mut self, input: Input) {
        match input {
            Input::Knocks(facts) => {
                self.restart = match self.restart {
                    // Whoever left before it was allowed anything has nothing of a restart behind it.
                    Restart::No => Restart::No,
                    _ if facts.screen_recording.is_missing() => Restart::No,
                    Restart::Needed | Restart::Away | Restart::Back => Restart::Back,
                };
                self.facts = facts;
            }
            Input::Enters => {
                // By its resume token it comes without having been started anew.
                self.restart = match self.restart {
                    Restart::Needed | Restart::Away => Restart::Needed,
                    Restart::No | Restart::Back => Restart::No,
                };
            }
            Input::Tells(name, state) => {
                if name == Permission::ScreenRecording {
                    let was_missing = self.facts.screen_recording.is_missing();
                    self.restart = match (was_missing, state) {
                        (true, Fact::Granted) => Restart::Needed,
                        (false, Fact::Granted) => self.restart,
                        _ => Restart::No,
                    };
                }
                self.facts.set(name, state);
            }
            Input::Goes => {
                if self.restart == Restart::Needed {
                    self.restart = Restart::Away;
                }
            }
            Input::Control(wanted) => self.control = wanted,
        }
    }

    /// What its guest has to do, in order; the first is the step that it is on.
    pub fn steps(&self) -> Vec<Step> {
        let Facts { install, screen_recording, accessibility } = self.facts;
        let mut steps = Vec::new();
        match install {
            Fact::Prompt => steps.extend([Step::Download, Step::Open]),
            Fact::Denied => steps.push(Step::Open),
            Fact::Granted | Fact::NotNeeded => {}
        }
        let restart: &[Step] = match self.restart {
            _ if screen_recording.is_missing() => {
                &[Step::AllowScreenRecording, Step::ChooseLater, Step::Reenter, Step::Allow]
            }
            Restart::No => &[],
            Restart::Needed => &[Step::ChooseLater, Step::Reenter, Step::Allow],
            Restart::Away => &[Step::Reenter, Step::Allow],
            Restart::Back => &[Step::Allow],
        };
        steps.extend_from_slice(restart);
        // Asked for when it is first needed, and not before.
        if self.control && accessibility.is_missing() {
            steps.push(Step::AllowAccessibility);
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use Fact::{Denied, Granted, NotNeeded, Prompt};
    use Permission::{Accessibility, Install, ScreenRecording};
    use Step::{Allow, AllowAccessibility, AllowScreenRecording, ChooseLater, Download, Open, Reenter};

    const fn facts(install: Fact, screen_recording: Fact, accessibility: Fact) -> Facts {
        Facts { install, screen_recording, accessibility }
    }

    /// Tells a story: after each input these are the steps that are left.
    #[track_caller]
    fn story(lines: &[(Input, &[Step])]) -> Permissions {
        let mut device = Permissions::default();
        for (at, (input, steps)) in lines.iter().enumerate() {
            device.handle(*input);
            assert_eq!(device.steps(), *steps, "after line {at}, {input:?}: {device:?}");
        }
        device
    }

    /// From nothing to a screen that is shown.
    const FIRST_VIEW: &[(Input, &[Step])] = &[
        (
            Input::Knocks(facts(Prompt, Prompt, Prompt)),
            &[Download, Open, AllowScreenRecording, ChooseLater, Reenter, Allow],
        ),
        (
            Input::Knocks(facts(Denied, Prompt, Prompt)),
            &[Open, AllowScreenRecording, ChooseLater, Reenter, Allow],
        ),
        (Input::Knocks(facts(Granted, Prompt, Prompt)), &[AllowScreenRecording, ChooseLater, Reenter, Allow]),
        (Input::Enters, &[AllowScreenRecording, ChooseLater, Reenter, Allow]),
        (Input::Tells(ScreenRecording, Denied), &[AllowScreenRecording, ChooseLater, Reenter, Allow]),
        (Input::Tells(ScreenRecording, Granted), &[ChooseLater, Reenter, Allow]),
        (Input::Goes, &[Reenter, Allow]),
        (Input::Knocks(facts(Granted, Granted, Prompt)), &[Allow]),
        (Input::Enters, &[]),
    ];

    #[test]
    fn scenario_1_nothing_before_then_view() {
        story(FIRST_VIEW);
    }

    #[test]
    fn scenario_2_nothing_before_then_view_and_control() {
        let mut device = story(FIRST_VIEW);
        for (input, steps) in [
            (Input::Control(true), &[AllowAccessibility] as &[Step]),
            (Input::Tells(Accessibility, Denied), &[AllowAccessibility]),
            (Input::Tells(Accessibility, Granted), &[]),
            (Input::Control(false), &[]),
            (Input::Control(true), &[]),
        ] {
            device.handle(input);
            assert_eq!(device.steps(), steps, "{input:?}");
        }
    }

    #[test]
    fn scenarios_3_and_4_an_app_that_was_kept_or_is_found_again_needs_nothing() {
        story(&[
            (Input::Knocks(facts(Granted, Granted, Granted)), &[]),
            (Input::Enters, &[]),
            (Input::Control(true), &[]),
        ]);
    }

    #[test]
    fn scenario_5_an_app_that_was_deleted_is_installed_again_without_alerts() {
        story(&[
            (Input::Knocks(facts(Prompt, Granted, Granted)), &[Download, Open]),
            (Input::Knocks(facts(Denied, Granted, Granted)), &[Open]),
            (Input::Knocks(facts(Granted, Granted, Granted)), &[]),
            (Input::Enters, &[]),
            (Input::Control(true), &[]),
        ]);
    }

    #[test]
    fn scenario_6_view_only_before_and_control_now() {
        story(&[
            (Input::Knocks(facts(Granted, Granted, Prompt)), &[]),
            (Input::Enters, &[]),
            (Input::Control(true), &[AllowAccessibility]),
            (Input::Control(false), &[]),
            (Input::Control(true), &[AllowAccessibility]),
            (Input::Tells(Accessibility, Granted), &[]),
        ]);
    }

    #[test]
    fn a_lost_connection_is_no_restart_and_a_restart_without_the_permission_begins_anew() {
        story(&[
            (
                Input::Knocks(facts(Granted, Prompt, NotNeeded)),
                &[AllowScreenRecording, ChooseLater, Reenter, Allow],
            ),
            (Input::Enters, &[AllowScreenRecording, ChooseLater, Reenter, Allow]),
            (Input::Tells(ScreenRecording, Granted), &[ChooseLater, Reenter, Allow]),
            (Input::Goes, &[Reenter, Allow]),
            (Input::Enters, &[ChooseLater, Reenter, Allow]),
            (Input::Goes, &[Reenter, Allow]),
            (
                Input::Knocks(facts(Granted, Denied, NotNeeded)),
                &[AllowScreenRecording, ChooseLater, Reenter, Allow],
            ),
        ]);
        // Taken back later.
        story(&[
            (Input::Knocks(facts(Granted, Granted, NotNeeded)), &[]),
            (Input::Enters, &[]),
            (Input::Tells(ScreenRecording, Denied), &[AllowScreenRecording, ChooseLater, Reenter, Allow]),
        ]);
    }

    fn any_facts() -> impl Strategy<Value = Facts> {
        let fact = || select(vec![Granted, Denied, Prompt, NotNeeded]);
        (fact(), fact(), fact())
            .prop_map(|(install, screen, accessibility)| facts(install, screen, accessibility))
    }

    fn any_input() -> impl Strategy<Value = Input> {
        prop_oneof![
            any_facts().prop_map(Input::Knocks),
            Just(Input::Enters),
            Just(Input::Goes),
            any::<bool>().prop_map(Input::Control),
            (
                select(vec![Install, ScreenRecording, Accessibility]),
                select(vec![Granted, Denied, Prompt, NotNeeded])
            )
                .prop_map(|(name, state)| Input::Tells(name, state)),
        ]
    }

    proptest! {
        #[test]
        fn the_laws_of_steps(inputs in prop::collection::vec(any_input(), 0..40)) {
            let order = [Download, Open, AllowScreenRecording, ChooseLater, Reenter, Allow, AllowAccessibility];
            let mut device = Permissions::default();
            let (mut wanted, mut ever_missing) = (false, false);
            for input in inputs {
                if let Input::Control(now) = input {
                    wanted = now;
                }
                device.handle(input);
                let (steps, Facts { install, screen_recording, accessibility }) = (device.steps(), device.facts());
                ever_missing |= screen_recording.is_missing();
                // In order, and each once.
                let places: Vec<_> = steps.iter().map(|step| order.iter().position(|one| one == step)).collect();
                prop_assert!(places.is_sorted_by(|a, b| a < b), "{steps:?}");
                // What is missing is asked for, and nothing else is.
                prop_assert_eq!(steps.contains(&Open), install.is_missing());
                prop_assert_eq!(steps.contains(&AllowScreenRecording), screen_recording.is_missing());
                prop_assert_eq!(steps.contains(&AllowAccessibility), wanted && accessibility.is_missing());
                // Nobody comes again who never lacked anything.
                prop_assert!(ever_missing || !steps.contains(&Allow));
                // The same once more changes nothing.
                let before = device;
                device.handle(input);
                prop_assert_eq!(device.steps(), before.steps());
            }
            // A guest who does everything in order gets through.
            device.handle(Input::Knocks(facts(Granted, Granted, Granted)));
            device.handle(Input::Enters);
            prop_assert_eq!(device.steps(), []);
        }

        #[test]
        fn where_nothing_is_needed_nothing_is_to_be_done(inputs in prop::collection::vec(any_input(), 0..40)) {
            let mut device = Permissions::default();
            for input in inputs {
                device.handle(match input {
                    Input::Knocks(_) => Input::Knocks(Facts::default()),
                    Input::Tells(name, _) => Input::Tells(name, NotNeeded),
                    other => other,
                });
                prop_assert_eq!(device.steps(), []);
            }
        }
    }
}
