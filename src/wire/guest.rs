//! What an agent says of sessions with guests: to show, to view, to invite.

use serde::Deserialize;

use super::record::Record;
use crate::ids::{AgentId, SessionId};

/// Starts an agent's own screen share.
#[derive(Debug, Deserialize)]
pub struct Show {
    /// On behalf of this record.
    #[serde(default)]
    pub record: Option<Record>,
    /// What guests read above it.
    #[serde(default)]
    pub title: Option<String>,
    /// The span of the agent's page that this belongs to (W3C Trace Context).
    #[serde(default)]
    pub traceparent: Option<Box<str>>,
}

/// Waits for a guest's screen.
#[derive(Debug, Deserialize)]
pub struct View {
    /// On behalf of this record.
    #[serde(default)]
    pub record: Option<Record>,
    /// Whether control may be asked for later.
    #[serde(default)]
    pub control: bool,
    /// The span of the agent's page that this belongs to (W3C Trace Context).
    #[serde(default)]
    pub traceparent: Option<Box<str>>,
}

/// Invites somebody into a session.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invite {
    /// Which session.
    pub session_id: SessionId,
    /// An agent.
    #[serde(default)]
    pub agent_id: Option<AgentId>,
    /// Or a guest.
    #[serde(default)]
    pub guest: Option<GuestName>,
}

/// What is known of an invited guest.
#[derive(Debug, Deserialize)]
pub struct GuestName {
    /// Name for people.
    #[serde(default)]
    pub name: Option<String>,
    /// Where to write to.
    #[serde(default)]
    pub email: Option<String>,
}
