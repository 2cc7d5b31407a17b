//! The records of sessions: what lists, exports and statistics are made of.
//!
//! Written by [`super::EventLog::append`] alone, in the same commit as the events they are folded from (or,
//! on Redis, before the append is acknowledged and read), so that the two never disagree. Records outlive the events: trimming the log leaves them.

#[cfg(test)]
pub(crate) mod laws;
pub mod protobuf;
#[cfg(test)]
pub(crate) mod suite;

use async_trait::async_trait;

use super::StoreError;
use super::events::Retention;
use crate::clock::Wall;
use crate::ids::{AgentId, GroupId, SessionId, VisitorId};
use crate::model::session_record::{Outcome, SessionRecord, Status};
use crate::wire::visitor::SessionKind;

/// Which records; all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordQuery {
    /// Created at or after.
    pub from: Option<Wall>,
    /// Created before.
    pub until: Option<Wall>,
    /// This agent asked or watched.
    pub agent: Option<AgentId>,
    /// Of this visitor.
    pub visitor: Option<VisitorId>,
    /// Of this CRM record: object and id.
    pub record: Option<(String, String)>,
    /// Of this kind.
    pub kind: Option<SessionKind>,
    /// With this answer.
    pub outcome: Option<Outcome>,
    /// This far.
    pub status: Option<Status>,
    /// Behind this one.
    pub after: Option<RecordCursor>,
    /// At most this many; [`crate::limits::RECORD_PAGE`] at most, and when absent.
    pub limit: Option<usize>,
}

/// A place in a list of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordCursor {
    /// When the record was created.
    pub created: Wall,
    /// Whose it is.
    pub session: SessionId,
}

/// A page of records, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPage {
    /// The records.
    pub records: Vec<SessionRecord>,
    /// Where to read on; none at the end.
    pub next: Option<RecordCursor>,
}

/// What one agent did on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayStatistics {
    /// The day in UTC, `2026-01-31`, by when the sessions were created.
    pub day: String,
    /// The agent.
    pub agent: AgentId,
    /// Sessions it asked for or watched.
    pub asked: u64,
    /// Of these, accepted or with nothing to accept.
    pub accepted: u64,
    /// Declined.
    pub declined: u64,
    /// Started.
    pub started: u64,
    /// How long they ran, together.
    pub duration_ms: u64,
    /// Frames relayed.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What was let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LetGo {
    /// Records, and the places of their sessions.
    pub records: u64,
    /// How many of these a sink had not been handed.
    pub unsent: u64,
}

/// Records of sessions, apart by group.
#[async_trait]
pub trait SessionRecords: Send + Sync + 'static {
    /// Records that a query finds, newest first. A page may hold fewer than asked for and yet be followed by
    /// another.
    async fn session_records(&self, group: &GroupId, query: RecordQuery) -> Result<RecordPage, StoreError>;

    /// One record.
    async fn session_record(
        &self,
        group: &GroupId,
        session: SessionId,
    ) -> Result<Option<SessionRecord>, StoreError>;

    /// Records of all groups whose session has not ended, at most [`crate::limits::RECORD_PAGE`].
    async fn open_session_records(&self) -> Result<Vec<SessionRecord>, StoreError>;

    /// Days and agents of the sessions created from one time until another, by day and agent.
    async fn statistics(
        &self,
        group: &GroupId,
        from: Wall,
        until: Wall,
    ) -> Result<Vec<DayStatistics>, StoreError>;

    /// Lets go of the oldest records beyond the retention, at most [`crate::limits::RECORD_TRIM`] of them, in the
    /// order in which their sessions ended and by when they did. A session that has not ended stays. So does one
    /// that a sink which takes records and is switched on has not been handed, until it is twice as old, or there
    /// are twice as many, as the retention says. Call it again while it lets go of that many.
    async fn trim_records(&self, group: &GroupId, keep: Retention, now: Wall) -> Result<LetGo, StoreError>;
}
