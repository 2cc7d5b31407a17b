//! Why sessions end, by the names that everybody is told.

use serde::{Deserialize, Serialize};

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The guest ended it.
    GuestEnded,
    /// The guest left or did not come back.
    GuestLeft,
    /// The guest's browser refused to capture, or the guest did.
    CaptureDenied,
    /// The guest's browser or system could not go on.
    Failed,
    /// An agent ended it.
    AgentEnded,
    /// The agent whose screen it was left or did not come back.
    AgentLeft,
    /// An operator ended it.
    OperatorEnded,
    /// The other side never came.
    Expired,
    /// It ran for as long as a session may.
    TimeLimit,
    /// The node went away.
    Drained,
    /// The visitor said no.
    Declined,
    /// The agents took the question back.
    Cancelled,
    /// The visitor went before answering.
    VisitorGone,
    /// The node died with it; said by the node that finds it.
    NodeLost,
}

impl EndReason {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GuestEnded => "guest_ended",
            Self::GuestLeft => "guest_left",
            Self::CaptureDenied => "capture_denied",
            Self::Failed => "failed",
            Self::AgentEnded => "agent_ended",
            Self::AgentLeft => "agent_left",
            Self::OperatorEnded => "operator_ended",
            Self::Expired => "expired",
            Self::TimeLimit => "time_limit",
            Self::Drained => "drained",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::VisitorGone => "visitor_gone",
            Self::NodeLost => "node_lost",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// Every reason there is.
    pub const ALL: [Self; 14] = [
        Self::GuestEnded,
        Self::GuestLeft,
        Self::CaptureDenied,
        Self::Failed,
        Self::AgentEnded,
        Self::AgentLeft,
        Self::OperatorEnded,
        Self::Expired,
        Self::TimeLimit,
        Self::Drained,
        Self::Declined,
        Self::Cancelled,
        Self::VisitorGone,
        Self::NodeLost,
    ];
}
