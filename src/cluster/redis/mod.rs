//! The directory on Redis: every visitor has one home, and what its home told is there for every node.
//!
//! Truth lies in leases and entries, never in messages. A node renews one lease; an entry names its home's node
//! and epoch and counts only as long as that lease does, so that nothing of a visitor is ever refreshed and a dead
//! node's visitors end together. What is told on channels are hints. In parts:
//!
//! - `beat`: a script a second renews the own lease and tells who else is up (`table`).
//! - `writes`: what this node tells of its visitors, in batches, fenced by its epoch.
//! - `listen`: a connection of its own for what the others tell.
//! - `read`: what all of them told.
//! - `aside`: that a session changed, and what visitors say.
//! - here: claims.
//!
//! After any failure this node does not know what Redis holds of its visitors. It then takes a new epoch and tells
//! all of them anew; what it told before is in doubt for everybody until it has. A visitor who meanwhile has another
//! home is left to that one.

mod aside;
mod beat;
mod claims;
mod entry;
mod listen;
mod read;
mod session_keys;
mod table;
#[cfg(test)]
mod tests;
pub mod vault;
mod writes;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use redis::{FromRedisValue, Pipeline, RedisError, Script, ScriptInvocation};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use self::beat::live_nodes;

use self::beat::Own;
use self::listen::Wishes;
use self::table::{Standing, Table};
use self::writes::Queue;
use super::{
    Directory, DirectoryError, Follow, Hint, Home, Inherited, Neighbour, NodeId, PresenceSource, Sight, Sink,
};
use crate::clock::{self, Wall};
use crate::ids::{GroupId, SessionId, VisitorId, VisitorKey};
use crate::limits::{self, Limits};
use crate::model::visitor::Snapshot;
use crate::redis::Link;
use crate::telemetry::Meters;

static SWEEP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/sweep.lua")));

/// The directory of one node. Its tasks end with it, and nothing is said: the lease runs out.
pub struct RedisDirectory {
    inner: Arc<Inner>,
    /// What visitors say, until somebody tells it.
    said: Mutex<Option<mpsc::Receiver<aside::Said>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for RedisDirectory {
    fn drop(&mut self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
    }
}

/// How long things take.
#[derive(Debug, Clone, Copy)]
struct Pace {
    lease: Duration,
    beat: Duration,
}

impl Pace {
    /// Without an answer for this long nothing is known of other nodes.
    fn silence(&self) -> Duration {
        self.lease / 2
    }
}

/// The node whose directory this is.
struct Me {
    node: NodeId,
    source: Weak<dyn PresenceSource>,
    sink: Weak<Sink>,
}

struct Inner {
    link: Link,
    /// The wall clock.
    wall: Box<dyn Fn() -> Wall + Send + Sync>,
    meters: Arc<Meters>,
    pace: Pace,
    me: OnceLock<Me>,
    /// What the first beat waits for.
    ready: Mutex<Option<watch::Receiver<bool>>>,
    /// Whether it may be found.
    found: AtomicBool,
    own: Mutex<Own>,
    /// One beat at a time.
    turn: tokio::sync::Mutex<()>,
    /// Redis is known not to answer, or not to have answered in time: nobody waits for it until a beat went through.
    cut: AtomicBool,
    table: RwLock<Table>,
    /// A beat is wanted before its time.
    hurry: Notify,
    /// A beat went through.
    beaten: Notify,
    queue: Mutex<Queue>,
    /// Something waits in the queue.
    queued: Notify,
    wishes: Mutex<Wishes>,
    /// The greatest version that was read of each group: a lesser one is that of a Redis that has forgotten.
    floors: Mutex<HashMap<GroupId, u64>>,
    /// Other channels are wanted.
    wanted: Notify,
    /// Groups in which somebody spoke whose standing only the next beat tells.
    doubtful: Mutex<BTreeSet<GroupId>>,
    /// A node died, and this one is to take out what it had told.
    swept: Notify,
    /// What this node's visitors say to other nodes' agents.
    said: mpsc::Sender<aside::Said>,
}

/// Redis was not asked, because it is known not to answer.
#[derive(Debug, thiserror::Error)]
#[error("Redis is away")]
struct Away;

fn unreachable(error: impl std::error::Error + Send + Sync + 'static) -> DirectoryError {
    DirectoryError(Box::new(error))
}

impl RedisDirectory {
    /// Over a connection. Nothing is told before a node is enrolled.
    pub fn new(link: Link, limits: &Limits, meters: Arc<Meters>) -> Self {
        Self::with_wall(link, limits, meters, Box::new(clock::wall))
    }

    /// The same by another wall clock than the system's.
    pub(crate) fn with_wall(
        link: Link,
        limits: &Limits,
        meters: Arc<Meters>,
        wall: Box<dyn Fn() -> Wall + Send + Sync>,
    ) -> Self {
        let pace = Pace { lease: limits.node_lease, beat: limits.node_beat };
        let (said, to_say) = mpsc::channel(limits::MESSAGES_OUT);
        let inner = Inner {
            said,
            link,
            wall,
            meters,
            pace,
            me: OnceLock::new(),
            ready: Mutex::default(),
            found: AtomicBool::new(false),
            own: Mutex::new(Own::default()),
            turn: tokio::sync::Mutex::default(),
            cut: AtomicBool::new(false),
            table: RwLock::new(Table::new(pace.lease)),
            hurry: Notify::new(),
            beaten: Notify::new(),
            queue: Mutex::default(),
            queued: Notify::new(),
            wishes: Mutex::default(),
            floors: Mutex::default(),
            wanted: Notify::new(),
            doubtful: Mutex::default(),
            swept: Notify::new(),
        };
        Self { inner: Arc::new(inner), said: Mutex::new(Some(to_say)), tasks: Mutex::default() }
    }

    /// The node is not found by others before this becomes true: from then on it answers them.
    #[must_use]
    pub fn after(self, ready: watch::Receiver<bool>) -> Self {
        *self.inner.ready.lock() = Some(ready);
        self
    }

    /// Whether other nodes' visitors can be told of.
    pub fn is_heard(&self) -> bool {
        !self.inner.cut.load(Ordering::Relaxed) && !self.inner.is_silent()
    }

    /// The node leaves: what it still spoke for is absent at once, and not only when its lease ends.
    pub async fn leave(&self) {
        self.inner.leave().await;
    }
}

#[cfg(test)]
impl RedisDirectory {
    /// Ends at once and without a word.
    pub(crate) fn die(&self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
    }

    /// Who is up, as far as is known.
    pub(crate) fn table(&self) -> String {
        format!("{:?} {:?}", self.inner.table.read(), self.inner.own.lock())
    }

    /// How many words wait, how many groups are followed, in doubt and known.
    pub(crate) fn waiting(&self) -> [usize; 4] {
        let inner = &self.inner;
        let [wishes, doubtful] = [inner.wishes.lock().len(), inner.doubtful.lock().len()];
        [inner.queue.lock().len(), wishes, doubtful, inner.floors.lock().len()]
    }
}

impl Inner {
    fn me(&self) -> Option<&Me> {
        self.me.get()
    }

    fn source(&self) -> Option<Arc<dyn PresenceSource>> {
        self.me()?.source.upgrade()
    }

    fn tell(&self, hint: Hint) {
        if let Some(sink) = self.me().and_then(|me| me.sink.upgrade()) {
            sink(hint);
        }
    }

    /// Whether Redis may be waited for.
    fn up(&self) -> Result<(), DirectoryError> {
        if self.cut.load(Ordering::Relaxed) || self.is_silent() { Err(unreachable(Away)) } else { Ok(()) }
    }

    fn is_silent(&self) -> bool {
        let heard = self.own.lock().heard;
        heard.is_some_and(|heard| heard.elapsed() > self.pace.silence())
    }

    /// Redis did not answer in time: nobody waits for it until a beat went through.
    fn trip(&self) {
        if !self.cut.swap(true, Ordering::Relaxed) {
            tracing::warn!("Redis does not answer in time, visitors are served without it");
        }
        self.hurry.notify_one();
    }

    async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, RedisError> {
        crate::redis::within(limits::DIRECTORY_ANSWER, self.link.run(call)).await
    }

    async fn read<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, DirectoryError> {
        self.up()?;
        crate::redis::within(limits::DIRECTORY_ANSWER, self.link.ask_all(commands)).await.map_err(|error| {
            self.trip();
            unreachable(error)
        })
    }
}

/// The sweeper's life.
async fn sweep(inner: Arc<Inner>) {
    loop {
        inner.swept.notified().await;
        inner.sweep_all().await;
    }
}

/// A group's hints are wanted by one more, for as long as this lives.
struct Following {
    inner: Weak<Inner>,
    group: GroupId,
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.upgrade() {
            inner.unfollow(&self.group);
        }
    }
}

#[async_trait]
impl Directory for RedisDirectory {
    fn enroll(&self, node: NodeId, source: Weak<dyn PresenceSource>, sink: Weak<Sink>) {
        if self.inner.me.set(Me { node, source, sink }).is_err() {
            tracing::error!(%node, "a directory is one node's");
            return;
        }
        let tasks = [
            tokio::spawn(beat::run(Arc::clone(&self.inner))),
            tokio::spawn(writes::run(Arc::clone(&self.inner))),
            tokio::spawn(listen::run(Arc::clone(&self.inner))),
            tokio::spawn(sweep(Arc::clone(&self.inner))),
        ];
        self.tasks.lock().extend(tasks);
        if let Some(said) = self.said.lock().take() {
            self.tasks.lock().push(tokio::spawn(aside::run(Arc::clone(&self.inner), said)));
        }
    }

    async fn claim(&self, _: NodeId, key: &VisitorKey) -> Result<Home, DirectoryError> {
        self.inner.first_beat().await;
        if let Err(away) = self.inner.up() {
            self.inner.meters.claim("unclaimed");
            return Err(away);
        }
        // Who is here already was claimed, or will be found to be somebody else's by the next write.
        if self.inner.source().is_some_and(|source| source.is_home(key)) {
            return Ok(Home::Here(Inherited::default()));
        }
        let (answer, asked) = oneshot::channel();
        let (inner, key) = (Arc::clone(&self.inner), key.clone());
        tokio::spawn(async move {
            let home = inner.claim(&key).await;
            let is_here = matches!(home, Ok(Home::Here(_)));
            // Whoever asked has gone, or is served already.
            if answer.send(home).is_err()
                && is_here
                && inner.source().is_some_and(|source| !source.is_home(&key))
            {
                inner.release(&key).await;
            }
        });
        match tokio::time::timeout(limits::CLAIM_WAIT, asked).await {
            Ok(Ok(Ok(home))) => Ok(home),
            Ok(Ok(Err(error))) => {
                self.inner.meters.claim("unclaimed");
                Err(error)
            }
            Ok(Err(_)) | Err(_) => {
                self.inner.trip();
                self.inner.meters.claim("unclaimed");
                Err(unreachable(Away))
            }
        }
    }

    async fn home(&self, _: NodeId, key: &VisitorKey) -> Result<Option<NodeId>, DirectoryError> {
        self.inner.first_beat().await;
        self.inner.home(key).await
    }

    fn release(&self, _: NodeId, key: &VisitorKey) {
        if self.inner.up().is_ok() {
            let (inner, key) = (Arc::clone(&self.inner), key.clone());
            tokio::spawn(async move { inner.release(&key).await });
        }
    }

    fn is_read(&self, _: NodeId, _: &GroupId) -> bool {
        true
    }

    fn publish(&self, _: NodeId, snapshot: &Arc<Snapshot>) {
        self.inner.publish(snapshot);
    }

    fn confirms(&self, _: NodeId, group: &GroupId) -> bool {
        self.is_heard() && self.inner.hears(group)
    }

    async fn announce(&self, _: NodeId) {
        let told = tokio::time::timeout(limits::CLAIM_WAIT, self.inner.refresh(Instant::now())).await;
        if told.is_err() {
            tracing::debug!("the other nodes were not told in time");
        }
    }

    async fn follow(&self, _: NodeId, group: &GroupId) -> Follow {
        // Whoever gives up waiting wishes no more.
        let guard = Following { inner: Arc::downgrade(&self.inner), group: group.clone() };
        self.inner.follow(group).await;
        Follow::new(guard)
    }

    async fn tell_session(
        &self,
        _: NodeId,
        group: &GroupId,
        session: SessionId,
    ) -> Result<(), DirectoryError> {
        self.inner.tell_session(group, session).await
    }

    fn pass_on(&self, node: NodeId, key: &VisitorKey, message: &Bytes) {
        self.inner.pass_on(node, key, message);
    }

    fn outbid(&self, group: &GroupId, told: Vec<(VisitorId, u64)>) {
        if !told.is_empty() && self.inner.up().is_ok() {
            let (inner, group) = (Arc::clone(&self.inner), group.clone());
            tokio::spawn(async move { inner.outbid(&group, &told).await });
        }
    }

    async fn lookup(
        &self,
        _: NodeId,
        group: &GroupId,
        visitors: &[VisitorId],
    ) -> Result<Sight, DirectoryError> {
        self.inner.first_beat().await;
        self.inner.lookup(group, visitors).await
    }

    async fn list(&self, _: NodeId, group: &GroupId) -> Result<Sight, DirectoryError> {
        self.inner.first_beat().await;
        self.inner.list(group).await
    }

    async fn nodes(&self, _: NodeId) -> Result<Vec<Neighbour>, DirectoryError> {
        self.inner.first_beat().await;
        self.inner.up()?;
        let age = self.inner.own.lock().heard.map(|heard| heard.elapsed()).unwrap_or_default();
        Ok(self.inner.table.read().up(age))
    }
}
