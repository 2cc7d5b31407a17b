//! The operators' edge: gRPC on a listener of its own.
//!
//! Decides who may call and how answers look on the wire. What the answers are comes from an
//! [`AdminHub`]; the types here are that seam, free of protobuf. Built and run by `server`.

mod again;
mod agents;
mod convert;
mod events;
mod feed;
mod gate;
mod groups;
mod json;
mod keys;
mod live;
mod mask;
mod nodes;
mod once;
mod page;
mod presence;
mod readers;
mod receipts;
mod records;
mod refusal;
mod serve;
mod service;
mod sessions;
mod standing;
mod status;
mod sync;
mod traced;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use crate::clock::Wall;
use crate::hub::feed::NewPost;
use crate::ids::{AgentId, EventId, GroupId, ParticipantId, SessionId, VisitorId};
use crate::model::feed::{Item, Place};
use crate::store::feed::{LeadRow, Posts, PostsQuery};
use crate::store::{EventLog, ReceiptLog, SessionRecords};
use crate::telemetry::Parent;
use crate::wire::agent::{Delivery, PresenceState};
use crate::wire::session::Role;
use crate::wire::visitor::SessionKind;

pub use live::Operated;
pub use serve::AdminListener;
pub use service::AdminService;
pub use status::{AdminError, Details, Reason, details_of, reason_of};
pub use sync::Syncing;

/// A field of a request that can't be used.
fn bad(field: &'static str, problem: impl ToString) -> AdminError {
    AdminError::BadField { field: field.into(), problem: problem.to_string() }
}

/// What is kept of what happened, for operators to read.
#[derive(Clone)]
pub struct Archive {
    /// The log of events.
    pub events: Arc<dyn EventLog>,
    /// The records of sessions.
    pub records: Arc<dyn SessionRecords>,
    /// The chains of consent receipts.
    pub receipts: Arc<dyn ReceiptLog>,
}

/// What the hub does for operators. Each call concerns one group that exists and that the caller's key
/// reaches.
#[async_trait]
pub trait AdminHub: Send + Sync + 'static {
    /// The presence of these visitors, in this order. A visitor nobody has heard of is absent.
    async fn lookup_visitors(
        &self,
        group: &GroupId,
        visitors: &[VisitorId],
    ) -> Result<Vec<VisitorRow>, AdminError>;

    /// Every visitor of the group who is not absent and passes the filter, at about one moment.
    async fn list_visitors(
        &self,
        group: &GroupId,
        filter: VisitorFilter,
    ) -> Result<BoxStream<'static, VisitorRow>, AdminError>;

    /// The sessions that have not ended, oldest first; only those of one visitor when named.
    async fn list_sessions(
        &self,
        group: &GroupId,
        visitor: Option<&VisitorId>,
    ) -> Result<Vec<SessionRow>, AdminError>;

    /// Ends a session with reason `operator_ended`.
    async fn end_session(
        &self,
        group: &GroupId,
        session: SessionId,
        trace: Option<Parent>,
    ) -> Result<Ended, AdminError>;

    /// The presence of these visitors, or without any of all who are not absent; then each again whenever
    /// it changes, as it then is. One that left is told as absent, once.
    async fn watch_presence(
        &self,
        group: &GroupId,
        visitors: &[VisitorId],
    ) -> Result<BoxStream<'static, VisitorRow>, AdminError>;

    /// Hands a signal to the visitor's page that has the focus.
    async fn signal_visitor(
        &self,
        group: &GroupId,
        visitor: &VisitorId,
        signal: SignalRow,
    ) -> Result<Delivery, AdminError>;

    /// Closes a visitor's connections, and returns how many there were.
    async fn disconnect_visitor(&self, group: &GroupId, visitor: &VisitorId) -> Result<u32, AdminError>;

    /// One session, also when it has ended lately.
    async fn session(&self, group: &GroupId, session: SessionId) -> Result<SessionRow, AdminError>;

    /// The sessions that have not ended, only those of one visitor when named; then each again whenever it
    /// changes, as it then is. One that ended is told as ended, once.
    async fn watch_sessions(
        &self,
        group: &GroupId,
        visitor: Option<&VisitorId>,
    ) -> Result<BoxStream<'static, SessionRow>, AdminError>;

    /// Posts of a record's feed; none when the post to read on from is not there.
    async fn feed(
        &self,
        group: &GroupId,
        place: &Place,
        query: PostsQuery,
    ) -> Result<Option<Posts>, AdminError>;

    /// One post.
    async fn feed_post(&self, group: &GroupId, id: EventId) -> Result<Option<Item>, AdminError>;

    /// Posts to a record's feed, once however often it is asked for with the same id.
    async fn post_feed(&self, group: &GroupId, id: EventId, post: NewPost) -> Result<Item, AdminError>;

    /// Leads behind a place, oldest first, at most so many.
    async fn leads(&self, group: &GroupId, after: u64, most: usize) -> Result<Vec<LeadRow>, AdminError>;

    /// This node, now.
    async fn node(&self) -> NodeRow;

    /// All nodes that are up, by name.
    async fn nodes(&self) -> Result<Vec<NodeRow>, AdminError>;

    /// Lets the node go away, as a signal to its process would.
    fn drain(&self);

    /// Takes another log filter, or without one that of the settings; back to that by itself after a time, if one is named.
    fn set_log_filter(&self, filter: Option<&str>, time: Option<Duration>) -> Result<LogRow, AdminError>;

    /// Whether the node takes no new work: it has too little memory or too few files.
    fn is_full(&self) -> bool;

    /// Ends when the node begins to go away.
    fn draining(&self) -> CancellationToken;
}

/// A message to a visitor's page.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalRow {
    /// What it is about.
    pub name: String,
    /// Its content; none for none.
    pub data: Option<serde_json::Map<String, serde_json::Value>>,
    /// Who the page is told it comes from.
    pub from: String,
}

/// What ending a session came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It has ended through this call.
    Now,
    /// It had ended before.
    Before,
}

/// Which visitors to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VisitorFilter {
    /// Only these states; empty means all.
    pub states: Vec<PresenceState>,
    /// Only those whose focused page's address contains this text; empty means all.
    pub page_contains: String,
}

impl VisitorFilter {
    /// Whether a visitor passes.
    pub fn admits(&self, visitor: &VisitorRow) -> bool {
        (self.states.is_empty() || self.states.contains(&visitor.state))
            && visitor.page.url.contains(&self.page_contains)
    }
}

/// A visitor's presence at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct VisitorRow {
    /// Who.
    pub visitor: VisitorId,
    /// Whether here.
    pub state: PresenceState,
    /// Since when.
    pub since: Wall,
    /// Rises with each change.
    pub version: u64,
    /// Live connections.
    pub connections: u32,
    /// The page with focus.
    pub page: PageRow,
    /// The client with focus.
    pub client: ClientRow,
    /// Custom data.
    pub data: serde_json::Map<String, serde_json::Value>,
    /// Whether a token vouches for the ID.
    pub verified: bool,
    /// The session in progress.
    pub session: Option<SessionId>,
}

impl VisitorRow {
    /// A visitor nobody has heard of.
    pub fn absent(visitor: VisitorId, since: Wall) -> Self {
        Self {
            visitor,
            state: PresenceState::Absent,
            since,
            version: 0,
            connections: 0,
            page: PageRow::default(),
            client: ClientRow::default(),
            data: serde_json::Map::new(),
            verified: false,
            session: None,
        }
    }
}

/// What a visitor looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRow {
    /// Address.
    pub url: String,
    /// Title.
    pub title: String,
    /// Where the visitor came from.
    pub referrer: String,
}

/// What a visitor looks with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientRow {
    /// Operating system.
    pub platform: String,
    /// Preferred language.
    pub language: String,
    /// Screen size.
    pub screen: String,
    /// The browser's user agent.
    pub user_agent: String,
}

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// The visitor has been asked.
    Requested,
    /// Somebody's turn to connect.
    Connecting,
    /// Publisher and viewers are together.
    Active,
    /// Over.
    Ended,
}

/// One engagement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Which.
    pub session: SessionId,
    /// Whose screen, and how.
    pub kind: SessionKind,
    /// What is shown, where the visitor shows something else by now.
    pub shows: Option<SessionKind>,
    /// How far.
    pub state: SessionState,
    /// The visitor, if it has one.
    pub visitor: Option<VisitorId>,
    /// When it was made.
    pub created: Wall,
    /// When the first frame could flow.
    pub started: Option<Wall>,
    /// Who is in it.
    pub participants: Vec<ParticipantRow>,
    /// Whether the publisher has paused.
    pub paused: bool,
}

/// Somebody in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantRow {
    /// Which.
    pub participant: ParticipantId,
    /// Which way frames go.
    pub role: Role,
    /// The agent, unless a guest.
    pub agent: Option<AgentId>,
    /// The name shown to the others.
    pub name: String,
    /// Whether the connection is up.
    pub connected: bool,
}

/// What a node writes to its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// The filter in force.
    pub filter: String,
    /// That of the settings.
    pub configured: String,
}

/// One process of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name.
    pub node: String,
    /// The version it runs.
    pub version: String,
    /// When it started.
    pub started: Wall,
    /// Whether it is on its way out.
    pub draining: bool,
    /// Open connections of visitors, agents and session participants.
    pub connections: [u64; 3],
    /// Visitors with a live connection to it.
    pub visitors_present: u64,
    /// Sessions not yet ended.
    pub sessions: u64,
}
