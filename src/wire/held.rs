//! Input that a publisher does not apply though control is granted, and why.

use serde::{Deserialize, Serialize};

/// Why it is not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldReason {
    /// The person at the device uses it: for about a second nobody else does.
    OwnInput,
    /// A password, or what is masked or blocked.
    Hidden,
    /// A list that only a real click opens.
    List,
    /// A choice of files.
    File,
    /// A page of another origin in a frame.
    Frame,
}

/// Input is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputHeld {
    /// Why.
    pub reason: HeldReason,
}
