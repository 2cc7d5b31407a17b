//! Sinks, how far each was handed what it takes, what could not be handed over, and the runs of the sync.
//!
//! Decides that a place, once moved, was accepted: [`SyncStore::advance`] is called after the sink took
//! what lies before, so that a death in between repeats it under the same ids and never skips. No secret is
//! kept: a webhook's follows from the master secret and [`SinkRow::generation`].

mod form;
#[cfg(test)]
pub(crate) mod suite;

use std::sync::Arc;

use async_trait::async_trait;
pub(super) use form::SinkBody;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::clock::Wall;
use crate::ids::{GroupId, RunId, SinkId};
use crate::model::session_record::SessionRecord;
use crate::model::sink::{Lane, Takes, Target};

/// A sink as an administrator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// Whose.
    pub group: GroupId,
    /// Its name.
    pub id: SinkId,
    /// Where it leads.
    pub target: Target,
    /// What it is handed.
    pub takes: Takes,
    /// Whether anything is handed over at present.
    pub enabled: bool,
}

/// A sink as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkRow {
    /// What the administrator wrote.
    pub sink: Sink,
    /// When it was created.
    pub created_at: Wall,
    /// Counts its secrets, from 1.
    pub generation: u64,
    /// When the secret was changed last.
    pub rotated_at: Option<Wall>,
    /// Why the server switched it off by itself.
    pub disabled: Option<String>,
}

/// How far a sink was handed what it takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// The place of the last that was accepted, put aside or not wanted.
    pub after: u64,
    /// Failures in a row of what comes next.
    pub failures: u32,
    /// Since when.
    pub failing_since: Option<Wall>,
    /// When it is tried again.
    pub retry_at: Option<Wall>,
    /// What went wrong.
    pub error: Option<String>,
}

/// What a sink did not take in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its place among the sink's dead letters, from 1; given by the store.
    pub number: u64,
    /// The name under which the receiver would know it.
    pub id: String,
    /// What it says.
    pub body: String,
    /// When it was put aside.
    pub at: Wall,
    /// What went wrong.
    pub error: String,
}

/// Why a run was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its time had come.
    Schedule,
    /// Somebody asked.
    Asked,
    /// A sink had failed.
    Retry,
}

/// What a run did for one sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkRun {
    /// Which.
    pub sink: SinkId,
    /// Records it accepted.
    pub count: u64,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A run of a group's sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// Whose.
    pub group: GroupId,
    /// Why.
    pub cause: Cause,
    /// When it began.
    pub started_at: Wall,
    /// When it was over; none while it runs.
    pub ended_at: Option<Wall>,
    /// What it did.
    pub sinks: Vec<SinkRun>,
    /// Whether the process ended before the run did.
    pub lost: bool,
}

/// A place in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunCursor {
    /// When the run began.
    pub started_at: Wall,
    /// Which.
    pub run: RunId,
}

/// Names a lane of a sink.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LaneKey {
    /// Whose.
    pub group: GroupId,
    /// Which sink.
    pub sink: SinkId,
    /// Which of its lanes.
    pub lane: Lane,
}

/// What the sync needs of the records of sessions: the order in which they ended. Where it is kept apart from the
/// records, a place is given by whatever writes the record that ends, in the same commit: one more than the newest
/// that was given, once for each session. So none is ever given behind one that was read, and the newest is never
/// forgotten.
#[async_trait]
pub trait EndedRecords: Send + Sync + 'static {
    /// Records of sessions that ended, behind a place, each with its place, which never changes.
    async fn ended_records(
        &self,
        group: &GroupId,
        after: u64,
        most: usize,
    ) -> Result<Vec<(u64, SessionRecord)>, StoreError>;
}

/// Sinks and the sync, apart by group.
#[async_trait]
pub trait SyncStore: Send + Sync + 'static {
    /// Creates a sink or changes its description; `rotate` gives it another secret. A new one is handed the
    /// events from now on and the records from the first that is kept. A sink that is put is no longer
    /// switched off by the server. At most [`crate::limits::SINKS`] ([`StoreError::Taken`] `sinks`) and one
    /// for Redis (`redis`) in a group.
    async fn put_sink(&self, sink: &Sink, rotate: bool, at: Wall) -> Result<SinkRow, StoreError>;

    /// All sinks of a group, by name; of all groups without one.
    async fn sinks(&self, group: Option<&GroupId>) -> Result<Vec<SinkRow>, StoreError>;

    /// One sink.
    async fn sink(&self, group: &GroupId, id: &SinkId) -> Result<Option<SinkRow>, StoreError>;

    /// Removes a sink with its places and dead letters; says whether there was one.
    async fn delete_sink(&self, group: &GroupId, id: &SinkId) -> Result<bool, StoreError>;

    /// Switches a sink off.
    async fn disable_sink(&self, group: &GroupId, id: &SinkId, why: &str) -> Result<(), StoreError>;

    /// How far a lane is; none without the sink.
    async fn progress(&self, key: &LaneKey) -> Result<Option<Progress>, StoreError>;

    /// Moves a lane's place from one to a later one and forgets its failures. False when it was not there:
    /// somebody else moved it, or the sink is gone.
    async fn advance(&self, key: &LaneKey, from: u64, to: u64) -> Result<bool, StoreError>;

    /// Notes that a lane failed where it is.
    async fn note_failure(&self, key: &LaneKey, progress: &Progress) -> Result<(), StoreError>;

    /// Puts a letter aside and moves the lane's place behind it, both or neither. At most
    /// [`crate::limits::DEAD_LETTERS`] are kept.
    async fn bury(&self, key: &LaneKey, from: u64, to: u64, letter: &DeadLetter) -> Result<bool, StoreError>;

    /// Dead letters behind a number, oldest first.
    async fn dead_letters(
        &self,
        group: &GroupId,
        sink: &SinkId,
        after: u64,
        most: usize,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// How many dead letters a sink has.
    async fn count_dead_letters(&self, group: &GroupId, sink: &SinkId) -> Result<u64, StoreError>;

    /// Forgets a dead letter that was delivered after all.
    async fn forget_dead_letter(&self, group: &GroupId, sink: &SinkId, number: u64)
    -> Result<(), StoreError>;

    /// Records of sessions that ended, behind a place, each with its place, which never changes.
    async fn ended_records(
        &self,
        group: &GroupId,
        after: u64,
        most: usize,
    ) -> Result<Vec<(u64, SessionRecord)>, StoreError>;

    /// Writes a run, anew or as it is by now, and forgets the oldest beyond [`crate::limits::SYNC_RUNS`].
    async fn put_run(&self, run: &RunRow) -> Result<(), StoreError>;

    /// Runs before a place, newest first.
    async fn runs(
        &self,
        group: &GroupId,
        before: Option<RunCursor>,
        most: usize,
    ) -> Result<Vec<RunRow>, StoreError>;

    /// The newest run that its schedule caused.
    async fn last_scheduled_run(&self, group: &GroupId) -> Result<Option<RunRow>, StoreError>;

    /// Ends the runs that the process did not outlive; says how many.
    async fn end_lost_runs(&self, at: Wall) -> Result<u64, StoreError>;

    /// Forgets what was put aside for the sinks of a group before a time; says how many letters.
    async fn forget_dead_letters(&self, group: &GroupId, before: Wall) -> Result<u64, StoreError>;

    /// This store in the hands of whoever holds the runner's lease of this number: once it moved a place, noted a
    /// failure or wrote a run of a group, holders of earlier leases are refused these. None where only one process
    /// writes.
    fn held_by(&self, _lease: u64) -> Option<Arc<dyn SyncStore>> {
        None
    }
}
