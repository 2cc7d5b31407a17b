//! Feeds of records and who follows them, and the leads.
//!
//! Posts and leads are written by [`super::EventLog::append`] alone, in the same commit as the events they
//! are folded from, so that each is there exactly if its event was appended. They outlive the events. An
//! event whose post or lead is there already is not appended again: an agent posts once on each session, and
//! an email becomes a lead once for ever.

#[cfg(test)]
pub(crate) mod suite;

use async_trait::async_trait;

use super::StoreError;
use crate::clock::Wall;
use crate::ids::{AgentKey, EventId, GroupId, SessionId};
use crate::model::event::Lead;
use crate::model::feed::{Item, Place};

/// Which posts of a record to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PostsQuery {
    /// Only those older than this post. The newest of them are read.
    pub before: Option<EventId>,
    /// Only those newer than this post. Without `before` the oldest of them are read, so that whoever was
    /// away can go on page by page.
    pub after: Option<EventId>,
    /// At most so many, and no more than [`crate::limits::FEED_PAGE`] says.
    pub most: usize,
}

/// A page of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posts {
    /// The posts, newest first.
    pub items: Vec<Item>,
    /// Whether there are more behind them, in the direction that was read.
    pub more: bool,
}

/// What a wish to follow came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// The agent follows the record.
    Follows,
    /// It follows [`crate::limits::FOLLOWS`] others.
    TooMany,
}

/// Feeds, apart by group.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// Posts of a record; none when the post to read on from is not there (any more). The newest
    /// [`crate::limits::FEED_POSTS`] of each record are kept.
    async fn posts(
        &self,
        group: &GroupId,
        place: &Place,
        query: PostsQuery,
    ) -> Result<Option<Posts>, StoreError>;

    /// One post.
    async fn post(&self, group: &GroupId, id: EventId) -> Result<Option<Item>, StoreError>;

    /// An agent follows a record from now on.
    async fn follow(&self, agent: &AgentKey, place: &Place) -> Result<Follow, StoreError>;

    /// It no longer does.
    async fn unfollow(&self, agent: &AgentKey, place: &Place) -> Result<(), StoreError>;

    /// What an agent follows. An agent that is removed follows nothing, nor does the next of its name.
    async fn followed(&self, agent: &AgentKey) -> Result<Vec<Place>, StoreError>;
}

/// A lead as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadRow {
    /// Its place in the list.
    pub number: u64,
    /// When it was made.
    pub at: Wall,
    /// The session that the guest was in.
    pub session: Option<SessionId>,
    /// What it told.
    pub lead: Lead,
}

/// Leads, apart by group.
#[async_trait]
pub trait Leads: Send + Sync + 'static {
    /// Leads behind a place, oldest first, at most so many.
    async fn leads(&self, group: &GroupId, after: u64, most: usize) -> Result<Vec<LeadRow>, StoreError>;
}
