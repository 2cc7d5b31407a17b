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
mod entry;
mod listen;
mod read;
mod session_keys;
mod table;
#[cfg(test)]
mod tests;
pub mod vault;
mod writes;

use std::collections::{HashMap, HashSet};
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
use self::entry::{Entry, Keys};
use self::listen::Wishes;
use self::table::{Standing, Table, Term};
use self::writes::Queue;
use super::{
    Directory, DirectoryError, Follow, Hint, Home, Inherited, Neighbour, NodeId, PresenceSource, Sight, Sink,
};
use crate::clock::wall;
use crate::ids::{GroupId, SessionId, VisitorId, VisitorKey};
use crate::limits::{self, Limits};
use crate::model::visitor::{Snapshot, VisitorView, next_version};
use crate::redis::Link;
use crate::telemetry::Meters;

static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/claim.lua")));
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
    /// Grows with each beat that went through.
    beats: watch::Sender<u64>,
    queue: Mutex<Queue>,
    /// Something waits in the queue.
    queued: Notify,
    wishes: Mutex<Wishes>,
    /// The greatest version that was read of each group: a lesser one is that of a Redis that has forgotten.
    floors: Mutex<HashMap<GroupId, u64>>,
    /// Other channels are wanted.
    wanted: Notify,
    /// Groups in which somebody spoke whose standing only the next beat tells.
    doubtful: Mutex<HashSet<GroupId>>,
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

/// Who may speak for a visitor, as a claim was answered.
enum Claimed {
    Here(Inherited),
    Held(Term),
}

impl RedisDirectory {
    /// Over a connection. Nothing is told before a node is enrolled.
    pub fn new(link: Link, limits: &Limits, meters: Arc<Meters>) -> Self {
        let pace = Pace { lease: limits.node_lease, beat: limits.node_beat };
        let (said, to_say) = mpsc::channel(limits::MESSAGES_OUT);
        let inner = Inner {
            said,
            link,
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
            beats: watch::Sender::new(0),
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

    // ── Claims ─────────────────────────────────────────────────────────────────────────────────

    async fn claim(&self, key: &VisitorKey) -> Result<Home, DirectoryError> {
        let (mut over, mut keeps) = (None, false);
        // Who loses a race for a dead node's visitor finds the winner.
        for _ in 0..3 {
            match self.claim_once(key, over, keeps).await? {
                Claimed::Here(inherited) => {
                    self.meters.claim(if over.is_some() { "taken_over" } else { "here" });
                    return Ok(Home::Here(inherited));
                }
                Claimed::Held(term) if self.may_take(term, Instant::now()).await => {
                    let table = self.table.read();
                    // A node that drains has not said that its visitors are gone; one that is no more has.
                    let is_up = matches!(table.standing(term), Standing::Sure | Standing::Doubt(_));
                    (over, keeps) = (Some(term), is_up && table.is_draining(term.node));
                }
                Claimed::Held(term) => {
                    self.meters.claim("there");
                    return Ok(Home::There(term.node));
                }
            }
        }
        Err(DirectoryError("a visitor's home changes all the time".into()))
    }

    /// With `keeps` the visitor stays shown as it is until this node says otherwise.
    async fn claim_once(
        &self,
        key: &VisitorKey,
        over: Option<Term>,
        keeps: bool,
    ) -> Result<Claimed, DirectoryError> {
        let term = self.own.lock().term().ok_or_else(|| unreachable(Away))?;
        let keys = Keys(&key.group);
        let mut call = CLAIM.key(keys.visitors());
        call.key(keys.floor())
            .arg(key.visitor.as_str())
            .arg(entry::node_name(term.node))
            .arg(term.epoch)
            .arg(over.map(|over| over.to_string()).unwrap_or_default())
            .arg(u8::from(keeps));
        let (here, found, version): (bool, Vec<u8>, String) = self.run(&call).await.map_err(|error| {
            self.trip();
            unreachable(error)
        })?;
        let found = Entry::read(&found);
        if here {
            let shown = found.and_then(|entry| entry.visitor());
            let session = shown.as_ref().and_then(|visitor| visitor.view().session);
            let word = shown.filter(|visitor| keeps && visitor.key() == key).map(Arc::new);
            return Ok(Claimed::Here(Inherited { version: version.parse().unwrap_or(0), session, word }));
        }
        let held = found.ok_or_else(|| DirectoryError("a visitor's entry is none of ours".into()))?;
        Ok(Claimed::Held(held.home))
    }

    /// Whether a visitor may be taken over from another node: it is up no more, or wants to be rid of it.
    async fn may_take(&self, term: Term, since: Instant) -> bool {
        if self.source().is_none_or(|source| source.facts().draining) {
            return false;
        }
        self.refresh(since).await;
        let table = self.table.read();
        match table.standing(term) {
            Standing::Sure | Standing::Doubt(_) => table.is_draining(term.node),
            Standing::Gone | Standing::Stranger => true,
        }
    }

    /// The other node that speaks for a visitor.
    async fn home(&self, key: &VisitorKey) -> Result<Option<NodeId>, DirectoryError> {
        let mut look = redis::pipe();
        look.cmd("HGET").arg(Keys(&key.group).visitors()).arg(key.visitor.as_str());
        let (found,): (Option<Vec<u8>>,) = self.read(&look).await?;
        let home = found.and_then(|bytes| Entry::read(&bytes).map(|entry| entry.home));
        let Some(term) = home.filter(|term| self.me().is_none_or(|me| me.node != term.node)) else {
            return Ok(None);
        };
        if matches!(self.table.read().standing(term), Standing::Sure | Standing::Doubt(_)) {
            return Ok(Some(term.node));
        }
        // It may be newer than the last look at who is up.
        self.refresh(Instant::now()).await;
        let standing = self.table.read().standing(term);
        Ok(matches!(standing, Standing::Sure | Standing::Doubt(_)).then_some(term.node))
    }

    /// Gives up a claim that nothing came of.
    async fn release(&self, key: &VisitorKey) {
        let Some(term) = self.own.lock().term() else { return };
        let keys = Keys(&key.group);
        let mut call = SWEEP.key(keys.visitors());
        call.key(keys.floor()).arg("1").arg(key.visitor.as_str()).arg(term.to_string());
        match self.run::<u64>(&call).await {
            Ok(0) => self.let_down(term, key).await,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "can't give up a claim"),
        }
    }

    /// Who was taken over as it was shown elsewhere, and did not come, is absent.
    async fn let_down(&self, term: Term, key: &VisitorKey) {
        let mut look = redis::pipe();
        look.cmd("HGET").arg(Keys(&key.group).visitors()).arg(key.visitor.as_str());
        let Ok((Some(found),)) = self.read::<(Option<Vec<u8>>,)>(&look).await else { return };
        let Some(entry) = Entry::read(&found).filter(|entry| entry.home == term) else { return };
        if self.source().is_some_and(|source| !source.is_home(key)) {
            let version = next_version(entry.version, wall());
            self.publish(&Arc::new(VisitorView::absent(key, wall(), version).snapshot()));
        }
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
