//! The log of what happened: each group's events in one order, for whoever reads from any place in it.
//!
//! Decides what an append promises and what a reader is told. When [`EventLog::append`] returns `Ok`, the
//! events are kept as durably as the store's flush says, each once, with sequences that follow each other
//! without a gap. Whoever resumes gets everything from there on, or is told that something is missing.
//! Does not decide what is written (the hub does) or who may read.

pub mod protobuf;
#[cfg(test)]
pub(crate) mod suite;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::StoreError;
use crate::clock::Wall;
use crate::ids::{EventId, GroupId, SessionId};
use crate::model::event::{Event, Logged};

/// Where a reader starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// With the oldest that is kept.
    Start,
    /// With what is appended from now on.
    End,
    /// Behind this sequence.
    Sequence(u64),
    /// Behind this event.
    Id(EventId),
}

/// A piece of a group's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The events, in order; at most [`crate::limits::EVENT_PAGE`] and about
    /// [`crate::limits::EVENT_PAGE_BYTES`].
    pub events: Vec<Logged>,
    /// Read on behind this sequence.
    pub cursor: u64,
    /// False when events behind the asked place are no longer kept, or the place was never in this log:
    /// the page then starts with the oldest that is kept.
    pub recovered: bool,
}

/// How much of a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// No longer than this.
    pub age: Duration,
    /// And no more of one group than this.
    pub count: u64,
}

/// A log of events, apart by group.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Appends events in the order given, all or none, and returns their sequences. An event whose id is
    /// there already is not appended again: it keeps its sequence, so that an append whose answer was lost
    /// may be repeated. Nor is one that would post or make a lead once more ([`super::feed`]): it is answered
    /// with the sequence of the first.
    async fn append(&self, events: Vec<Event>) -> Result<Vec<u64>, StoreError>;

    /// Reads on from a place.
    async fn read(&self, group: &GroupId, after: After) -> Result<Page, StoreError>;

    /// The events of one session behind a sequence.
    async fn timeline(&self, group: &GroupId, session: SessionId, after: u64) -> Result<Page, StoreError>;

    /// The newest sequence known to be in the log; changes after each append. Never ahead of what
    /// [`Self::read`] returns. Zero until something is appended.
    fn newest(&self, group: &GroupId) -> watch::Receiver<u64>;

    /// Lets go of the oldest events beyond the retention, a bounded number of them, and says how many. Call
    /// it again while there are any.
    async fn trim(&self, group: &GroupId, keep: Retention, now: Wall) -> Result<u64, StoreError>;
}

/// A reader that follows a group's log: first what is there, then what comes. It misses nothing between
/// the two, because both are one sequence.
pub struct Tail {
    log: Arc<dyn EventLog>,
    group: GroupId,
    place: After,
    newest: watch::Receiver<u64>,
}

impl Tail {
    /// Starts behind a place.
    pub fn new(log: Arc<dyn EventLog>, group: GroupId, after: After) -> Self {
        let newest = log.newest(&group);
        Self { log, group, place: after, newest }
    }

    /// The next events; waits for some. The first answer comes at once when the place cannot be resumed
    /// from: `recovered` is false then, and may be so later when this reader is slower than the retention.
    ///
    /// Cancel safe: what was not returned is returned by the next call.
    pub async fn next(&mut self) -> Result<Page, StoreError> {
        loop {
            // Looked at before the read: what is appended after it wakes the wait below.
            self.newest.borrow_and_update();
            let page = self.log.read(&self.group, self.place).await?;
            self.place = After::Sequence(page.cursor);
            if !page.events.is_empty() || !page.recovered {
                return Ok(page);
            }
            if self.newest.changed().await.is_err() {
                return Err(StoreError::Closed);
            }
        }
    }
}
