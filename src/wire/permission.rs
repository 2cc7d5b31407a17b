//! What a guest's device has to allow before its screen can be shown or controlled, as clients tell it and are told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Something that a device may have to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// The app is there and may be opened.
    Install,
    /// The screen may be seen (macOS: Screen Recording).
    ScreenRecording,
    /// The pointer may be moved and text be typed (macOS: Accessibility).
    Accessibility,
}

/// How a device stands to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// Allowed.
    Granted,
    /// Asked, and not allowed; an app that was downloaded, and not opened.
    Denied,
    /// Not asked yet; an app that is not there.
    Prompt,
    /// The platform knows no such thing.
    #[default]
    NotNeeded,
}

/// What a device allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Facts {
    /// See [`Permission::Install`].
    pub install: Fact,
    /// See [`Permission::ScreenRecording`].
    pub screen_recording: Fact,
    /// See [`Permission::Accessibility`].
    pub accessibility: Fact,
}

/// What a guest tells at the door: some of the facts.
pub type Told = BTreeMap<Permission, Fact>;

/// One fact, from the guest in a session.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct PermissionFact {
    /// Of what.
    pub name: Permission,
    /// How it stands.
    pub state: Fact,
}

/// One thing that a guest has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Download the app.
    Download,
    /// Open it, which the system asks about.
    Open,
    /// Allow it to see the screen.
    AllowScreenRecording,
    /// Choose *Later* where the system offers to quit the app at once.
    ChooseLater,
    /// Come in again by the same link or key, which starts the app anew.
    Reenter,
    /// Accept once more what was asked at first.
    Allow,
    /// Allow it to move the pointer and to type.
    AllowAccessibility,
}
