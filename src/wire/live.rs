//! The live list as agents wish for it: which visitors, and how a visitor may be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The live list.
#[derive(Debug, Default, Deserialize)]
pub struct WatchLive {
    /// Which visitors.
    #[serde(default)]
    pub filter: Option<LiveFilter>,
    /// How many in this page.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Where the last page ended.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// Which visitors the live list is to hold; all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct LiveFilter {
    /// A part of the page's address; case does not matter.
    pub page: Option<String>,
    /// Any of these states.
    pub states: Vec<PresenceState>,
    /// Custom data that must be equal, key by key; numbers are compared as numbers.
    pub data: BTreeMap<String, Value>,
    /// A part of the visitor ID, the code, the page's address or title, or of a data value; case does not
    /// matter.
    pub text: Option<String>,
}

/// Whether a visitor is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PresenceState {
    /// At least one tab can be seen.
    Present,
    /// All tabs are in the background.
    Hidden,
    /// No tab is left.
    Absent,
    /// The node that knows cannot be reached.
    Unknown,
}

impl PresenceState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Hidden => "hidden",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
        }
    }
}
