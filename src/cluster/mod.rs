//! What the nodes know of each other: who is up, and which of them speaks for which visitor.
//!
//! A hub is the truth about the visitors whose home it is. The [`Directory`] answers for those of other nodes,
//! and tells by [`Hint`]s that something changed; hints may be lost, and what was lost is made up for by
//! [`Hint::Reread`]. There are two implementations: memory joins the hubs of one process and is all that a single
//! node needs, Redis joins processes. Both are held to `suite`.
//!
//! Letters and frames go from node to node by the [`post`]; sessions are saved in a [`vault`], so that one may go on
//! where its visitor comes back.

pub mod memory;
pub mod post;
pub mod redis;
#[cfg(test)]
pub(crate) mod suite;
pub mod vault;

use std::any::Any;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::clock::Wall;
use crate::ids::{GroupId, SessionId, VisitorId, VisitorKey};
use crate::model::visitor::Snapshot;

/// Names a running node; a restarted process is another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u128);

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "n{:032x}", self.0)
    }
}

/// A node at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its name.
    pub node: NodeId,
    /// The version it runs.
    pub version: Box<str>,
    /// When it started.
    pub started: Wall,
    /// Whether it is on its way out.
    pub draining: bool,
    /// Open connections of visitors, agents and session participants.
    pub connections: [u64; 3],
    /// Visitors with a live connection to it, those within grace included.
    pub visitors: u64,
    /// Sessions not yet ended.
    pub sessions: u64,
}

/// Another node that is up, and for how long that is certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The node as it was lately.
    pub facts: NodeFacts,
    /// What is left of its lease; renewed while it lives.
    pub left: Duration,
}

/// A node and its own visitors, as the directory may ask for them.
pub trait PresenceSource: Send + Sync {
    /// The node.
    fn facts(&self) -> NodeFacts;

    /// A visitor with a lease here, or within grace.
    fn snapshot(&self, key: &VisitorKey) -> Option<Snapshot>;

    /// Every visitor of a group that is here.
    fn snapshots(&self, group: &GroupId) -> Vec<Arc<Snapshot>>;

    /// Every visitor that is here, of all groups.
    fn keys(&self) -> Vec<VisitorKey>;

    /// Every group there is.
    fn groups(&self) -> Vec<GroupId>;

    /// Whether this node speaks for a visitor: it is here, or its session is.
    fn is_home(&self, key: &VisitorKey) -> bool;
}

/// Which node speaks for a visitor: its tabs, its focus, its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// The node that asked, from now on.
    Here(Inherited),
    /// Another one that is up.
    There(NodeId),
}

/// What a node takes over with a visitor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inherited {
    /// The greatest version that may have been told of it: its next one is greater, whatever the clock says.
    pub version: u64,
    /// The session it was in when its former home fell silent.
    pub session: Option<SessionId>,
    /// How it was when its former home, which drains, let go of it: nobody was told that it is absent.
    pub word: Option<Arc<Snapshot>>,
}

/// What cannot be said about other nodes' visitors just now.
#[derive(Debug, thiserror::Error)]
#[error("the directory cannot be reached")]
pub struct DirectoryError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What the directory says of visitors on other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sight {
    /// Those that were asked for, in that order; or all. One whose home is not certain to be up is in the state
    /// `unknown`. `None` is one that no other node has.
    pub visitors: Vec<Option<Arc<Snapshot>>>,
    /// What `None` means: absent since long, and below any version to come.
    pub floor: u64,
    /// Set while some node may not have said all that it has: then `None` is not absent but unknown, since when.
    pub doubt: Option<Wall>,
}

/// Where the visitors of all nodes are found, and how nodes hear of them.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// Makes a node's visitors findable for as long as the source lives, and hands hints to the sink for as long
    /// as that lives.
    fn enroll(&self, node: NodeId, source: Weak<dyn PresenceSource>, sink: Weak<Sink>);

    /// Makes `node` the home of a visitor unless another node that is up is. While a visitor is not published
    /// as absent it stays where it is, as long as that node is up and is not draining. Never waits long.
    async fn claim(&self, node: NodeId, key: &VisitorKey) -> Result<Home, DirectoryError>;

    /// The other node than `asking` that speaks for a visitor, if one does. Claims nothing.
    async fn home(&self, asking: NodeId, key: &VisitorKey) -> Result<Option<NodeId>, DirectoryError>;

    /// A visitor that was claimed did not come to be here.
    fn release(&self, node: NodeId, key: &VisitorKey);

    /// Whether [`Self::publish`] is of use: somebody reads it, or might.
    fn is_read(&self, node: NodeId, group: &GroupId) -> bool;

    /// Tells how a visitor of `node` is now. Never waits; a newer word replaces one that still waits. A visitor
    /// that is absent has no home any more.
    fn publish(&self, node: NodeId, snapshot: &Arc<Snapshot>);

    /// Whether an absence that is published now while the node drains comes back as a hint, once it is certain that
    /// nobody has taken the visitor over.
    fn confirms(&self, node: NodeId, group: &GroupId) -> bool;

    /// Tells at once how the node itself is now, that it drains above all. Never waits long.
    async fn announce(&self, node: NodeId);

    /// Hands hints about a group's visitors to the node's sink until what is returned is dropped. From its return
    /// on none is missed, or [`Hint::Reread`] tells so.
    async fn follow(&self, node: NodeId, group: &GroupId) -> Follow;

    /// Tells the nodes that follow a group that one of its sessions is another than it was in the vault.
    async fn tell_session(
        &self,
        node: NodeId,
        group: &GroupId,
        session: SessionId,
    ) -> Result<(), DirectoryError>;

    /// Passes what a visitor of `node` says on to the nodes that follow its group: in order, but what is said while they
    /// cannot hear is lost. Never waits.
    fn pass_on(&self, node: NodeId, key: &VisitorKey, message: &Bytes);

    /// Somebody was told greater versions of these visitors than their homes speak in: those go on above them. Never
    /// waits. Where all nodes have one clock and nothing is forgotten, that does not happen.
    fn outbid(&self, _group: &GroupId, _told: Vec<(VisitorId, u64)>) {}

    /// The visitors of other nodes than `asking`, in the order asked.
    async fn lookup(
        &self,
        asking: NodeId,
        group: &GroupId,
        visitors: &[VisitorId],
    ) -> Result<Sight, DirectoryError>;

    /// All visitors of a group on other nodes than `asking`.
    async fn list(&self, asking: NodeId, group: &GroupId) -> Result<Sight, DirectoryError>;

    /// The nodes that are up, other than `asking`.
    async fn nodes(&self, asking: NodeId) -> Result<Vec<Neighbour>, DirectoryError>;
}

/// A wish for hints, counted. Dropping it ends it.
pub struct Follow(#[expect(dead_code, reason = "its drop is all that it does")] Box<dyn Any + Send + Sync>);

impl Follow {
    /// One whose end is the drop of a guard.
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self(Box::new(guard))
    }
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Follow(…)")
    }
}

/// Something happened that a node may want to know. A hint is not the truth and may be lost.
#[derive(Debug, Clone)]
pub enum Hint {
    /// A visitor of another node changed, and is now like this. Of the own node only an absence, while it drains.
    Visitor(Arc<Snapshot>),
    /// Hints may have been lost, or nodes came or went: what is watched of this group, or of all, is to be read
    /// again.
    Reread(Option<GroupId>),
    /// Another node is a visitor's home now.
    Displaced(VisitorKey),
    /// Somebody was told a version of a visitor of this node that is as great: the visitor's must be above it.
    Raise(VisitorKey, u64),
    /// A visitor of this node was told to the others in this version, which is greater than its own: it goes on above it.
    ToldAs(VisitorKey, u64),
    /// A session changed, perhaps one of this node: the vault has it.
    Session(GroupId, SessionId),
    /// A visitor of another node says something to the agents that watch it: the message that they are told.
    Message(VisitorKey, Bytes),
    /// A node's lease ended, or it left.
    NodeGone(NodeId),
    /// The node speaks in a new term of its own, which counts from 1: what it said in earlier ones is over.
    Term(u64),
    /// The directory was not heard for too long: since when nothing is known of other nodes.
    Away(Wall),
    /// It is heard again.
    Back,
}

/// What a node does with a hint. It must not wait.
pub type Sink = dyn Fn(Hint) + Send + Sync;
