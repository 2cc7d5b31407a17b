//! What the person in front of the terminal reads, in the words of its system.
//!
//! Decides the sentences. Does not decide when they are shown.

use crate::wire::permission::Step;

/// What typing does, told at the beginning.
pub(super) const HELP: &str =
    "Type pause, resume, revoke (takes control back), say and some words, or end, and press Enter.";

/// A step, in the words of a system.
pub(super) fn step(step: Step, platform: &str) -> &'static str {
    let mac = platform == "macos";
    match step {
        Step::Download => "Download the app.",
        Step::Open if mac => {
            "Open the app. macOS asks whether to open what came from the internet: choose Open."
        }
        Step::Open => "Open the app.",
        Step::AllowScreenRecording if mac => {
            "Open System Settings, Privacy & Security, Screen Recording, and switch this app on."
        }
        Step::AllowScreenRecording => "Allow this app to see the screen.",
        Step::ChooseLater if mac => "macOS offers to quit the app now or later: choose Later.",
        Step::ChooseLater => "Do not quit the app yet.",
        Step::Reenter => "Come in again by the same link or code, which starts the app anew.",
        Step::Allow => "Accept once more.",
        Step::AllowAccessibility if mac => {
            "Open System Settings, Privacy & Security, Accessibility, and switch this app on."
        }
        Step::AllowAccessibility => "Allow this app to move the pointer and to type.",
    }
}

/// An end, by its reason.
pub(super) fn ending(reason: &str) -> String {
    match reason {
        "guest_ended" => "You ended the session.".to_owned(),
        "agent_ended" => "The agent ended the session.".to_owned(),
        "operator_ended" => "An operator ended the session.".to_owned(),
        "expired" => "Nobody came within the time allowed.".to_owned(),
        "time_limit" => "The session reached its longest duration.".to_owned(),
        "drained" => "The server is being restarted.".to_owned(),
        other => format!("The session is over ({}).", other.replace('_', " ")),
    }
}
