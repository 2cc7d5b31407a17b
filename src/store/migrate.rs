//! Everything that a store holds, row by row and as it is, for moving it elsewhere.
//!
//! Decides what is read beyond what the stores' own traits tell: places and numbers that nobody asks for while a
//! server runs. Written elsewhere it must mean the same: sequences, numbers, places and times stay as they are.

use async_trait::async_trait;

use super::{CallRow, StoreError};
use crate::clock::Wall;
use crate::ids::{AgentId, GroupId, SessionId};
use crate::model::event::Logged;

/// The ends of a group's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// The newest sequence that was given.
    pub head: u64,
    /// The newest sequence that was let go of.
    pub low: u64,
}

/// What a group is made of, as both sides of a move count it.
pub const PARTS: [&str; 19] = [
    "version of the settings",
    "changes of the settings",
    "agents",
    "passwords",
    "agents with revoked tokens",
    "API keys",
    "remembered calls",
    "followed records",
    "newest event",
    "events",
    "posts",
    "leads",
    "session records",
    "ended sessions",
    "newest receipt",
    "receipts",
    "sinks",
    "dead letters",
    "runs of the sync",
];

/// How many of each of [`PARTS`] there are; of those that are counted through, the newest number.
pub type Counts = [u64; PARTS.len()];

/// What a move reads. Pages hold at most [`crate::limits::MOVE_ROWS`] rows; an empty one is the end.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// The names of groups, behind a name.
    async fn groups_behind(&self, after: Option<&GroupId>) -> Result<Vec<GroupId>, StoreError>;

    /// What a group, or the operator, has.
    async fn counts(&self, group: Option<&GroupId>) -> Result<Counts, StoreError>;

    /// The agents of a group that follow records, behind a name.
    async fn followers_behind(
        &self,
        group: &GroupId,
        after: Option<&AgentId>,
    ) -> Result<Vec<AgentId>, StoreError>;

    /// The ends of a group's log.
    async fn ends(&self, group: &GroupId) -> Result<Ends, StoreError>;

    /// The events of a group's posts, those that the log let go of too, behind a sequence.
    async fn posts_behind(&self, group: &GroupId, after: u64) -> Result<Vec<Logged>, StoreError>;

    /// The events of a group's leads, likewise.
    async fn leads_behind(&self, group: &GroupId, after: u64) -> Result<Vec<Logged>, StoreError>;

    /// The sessions of a group that ended, with their places and when their records were created, behind a place;
    /// those without a record too.
    async fn ended_behind(
        &self,
        group: &GroupId,
        after: u64,
    ) -> Result<Vec<(u64, SessionId, Option<Wall>)>, StoreError>;

    /// The generations of tokens of all agents that ever were, by name, behind a name.
    async fn generations_behind(
        &self,
        group: &GroupId,
        after: Option<&AgentId>,
    ) -> Result<Vec<(AgentId, u64)>, StoreError>;

    /// The calls of a group, or of the operator, in the order in which they are forgotten, behind a number.
    async fn calls_behind(
        &self,
        group: Option<&GroupId>,
        after: u64,
    ) -> Result<Vec<(u64, CallRow)>, StoreError>;
}
