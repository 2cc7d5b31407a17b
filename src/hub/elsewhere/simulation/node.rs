//! A node of the simulation: what a hub does with visitors and hints, without sockets.

mod near;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use super::super::reread::{reread, reread_all};
use super::super::{Elsewhere, Near};
use super::world::{Diary, grace, name_of};
use crate::clock::{Now, Tick, Wall};
use crate::cluster::redis::RedisDirectory;
use crate::cluster::{
    Directory, DirectoryError, Follow, Hint, Home, Inherited, NodeId, PresenceSource, Sink,
};
use crate::hub::tracker::{Told as Output, Tracker};
use crate::ids::{ConnectionId, GroupId, VisitorKey};
use crate::limits::{self, Limits};
use crate::model::facts::Facts;
use crate::model::presence::{Input, Output as Presence};
use crate::model::visitor::{Snapshot, State, VisitorView};
use crate::redis::played;
use crate::redis::played::net::{Client, Line, Server, told};
use crate::telemetry::Meters;
use crate::wire::visitor::{PresenceUpdate, Visibility};

/// What an agent of a node was last told of a visitor.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    pub(super) version: u64,
    pub(super) state: State,
}

/// What is watched.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) named: BTreeSet<VisitorKey>,
    pub(super) whole: BTreeSet<GroupId>,
    /// Groups whose first reading was answered.
    pub(super) shown: BTreeSet<GroupId>,
    follows: BTreeMap<GroupId, Follow>,
}

/// A tab, and the node that its socket is on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tab {
    pub(super) connection: ConnectionId,
    pub(super) edge: NodeId,
}

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) line: Arc<Line>,
    pub(super) redis: Arc<RedisDirectory>,
    directory: Arc<dyn Directory>,
    pub(super) ahead: Arc<AtomicI64>,
    start: Instant,
    pub(super) tracker: Tracker,
    pub(super) elsewhere: Elsewhere,
    pub(super) wishes: Mutex<Wishes>,
    pub(super) ledger: Mutex<BTreeMap<VisitorKey, Ledger>>,
    /// The tabs of visitors whose home is here.
    tabs: Mutex<BTreeMap<VisitorKey, Vec<Tab>>>,
    /// Tabs that were asked to come back.
    pub(super) homeless: Mutex<Vec<ConnectionId>>,
    /// Visitors whose home is being made here, and how many of their tabs wait for that.
    arriving: Mutex<BTreeMap<VisitorKey, usize>>,
    dead: AtomicBool,
    draining: AtomicBool,
    /// It drains, and others are there to go on with what it has.
    hands_over: AtomicBool,
    /// Since when nothing has gone wrong with it.
    pub(super) well: Mutex<Instant>,
    diary: Arc<Diary>,
    sink: OnceLock<Arc<Sink>>,
}

/// One for all: what is counted is of no interest here.
fn meters() -> Arc<Meters> {
    static METERS: OnceLock<Arc<Meters>> = OnceLock::new();
    Arc::clone(METERS.get_or_init(|| Meters::new().0))
}

fn claimed(home: &Result<Home, DirectoryError>) -> String {
    match home {
        Ok(Home::Here(inherited)) => {
            let shown = inherited.word.as_ref().map(|word| word.state());
            format!("here above {}, shown as {shown:?}", inherited.version)
        }
        Ok(Home::There(node)) => format!("on {}", name_of(*node)),
        Err(error) => error.to_string(),
    }
}

fn visibility(hidden: bool) -> Visibility {
    if hidden { Visibility::Hidden } else { Visibility::Visible }
}

impl Node {
    pub(super) fn start(server: &Arc<Server>, id: NodeId, ahead: i64, diary: &Arc<Diary>) -> Arc<Self> {
        let (line, ahead) = (Line::new(server), Arc::new(AtomicI64::new(ahead)));
        let (start, clock) = (diary.start, Arc::clone(&ahead));
        let wall = Box::new(move || Wall(told(start, clock.load(Ordering::Relaxed))));
        let limits = Arc::new(Limits::default());
        let link = played::link(Arc::new(Client(Arc::clone(&line))));
        let redis = Arc::new(RedisDirectory::with_wall(link, &limits, meters(), wall));
        let node = Arc::new(Self {
            id,
            line,
            directory: Arc::clone(&redis) as _,
            redis,
            ahead,
            start,
            tracker: Tracker::new(limits),
            elsewhere: Elsewhere::default(),
            wishes: Mutex::default(),
            ledger: Mutex::default(),
            tabs: Mutex::default(),
            homeless: Mutex::default(),
            arriving: Mutex::default(),
            dead: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            hands_over: AtomicBool::new(false),
            well: Mutex::new(Instant::now()),
            diary: Arc::clone(diary),
            sink: OnceLock::new(),
        });
        let source: Arc<dyn PresenceSource> = Arc::clone(&node) as _;
        let hears = Arc::downgrade(&node);
        let sink: Arc<Sink> = Arc::new(move |hint| {
            if let Some(node) = Weak::upgrade(&hears) {
                node.heed(hint);
            }
        });
        node.directory.enroll(id, Arc::downgrade(&source), Arc::downgrade(&sink));
        let _first = node.sink.set(sink);
        node
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.line.die();
        self.redis.die();
    }

    fn now(&self) -> Now {
        Now { tick: Tick(self.start.elapsed().as_millis() as u64), wall: self.wall() }
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.diary.note(format_args!("{} {what}", name_of(self.id)));
    }

    // ── Visitors ───────────────────────────────────────────────────────────────────────────────

    fn presence(self: &Arc<Self>, above: u64, key: &VisitorKey, input: Input) {
        let now = self.now();
        let came = self.tracker.handle_above(above, now, key, input, |told| self.perform(told));
        if let Some(at) = came.deadline {
            self.due(at, key.clone());
        }
    }

    /// Lets a visitor's grace end.
    fn due(self: &Arc<Self>, at: Tick, key: VisitorKey) {
        let node = Arc::clone(self);
        tokio::spawn(async move {
            let mut next = Some(at);
            while let Some(at) = next {
                sleep_until(node.start + Duration::from_millis(at.0)).await;
                if node.is_dead() {
                    return;
                }
                next = node.tracker.on_deadline(node.now(), &key, |told| node.perform(told));
            }
        });
    }

    fn perform(self: &Arc<Self>, (key, output): Output) {
        match output {
            Presence::Changed { .. } => {
                if let Some(word) = self.tracker.snapshot(&key) {
                    self.changed(&Arc::new(word));
                }
            }
            Presence::Gone { version, .. } => {
                let absent = VisitorView::absent(&key, self.wall(), version).snapshot();
                self.changed(&Arc::new(absent));
                self.tabs.lock().remove(&key);
            }
            _ => {}
        }
    }

    fn changed(self: &Arc<Self>, word: &Arc<Snapshot>) {
        let key = word.key();
        self.diary.said.lock().insert(key.clone(), (self.id, Instant::now()));
        self.note(format_args!("says {} {:?} {}", key.visitor, word.state(), word.version()));
        if Near::is_watched(&**self, key) {
            super::super::tell_own(self, word, self.is_draining());
        }
        self.directory.publish(self.id, word);
    }

    /// A tab comes; what is returned is where it is to go instead.
    pub(super) async fn arrive(self: &Arc<Self>, key: &VisitorKey, tab: Tab, hidden: bool) -> Option<NodeId> {
        *self.arriving.lock().entry(key.clone()).or_default() += 1;
        let there = self.arrive_at_home(key, tab, hidden).await;
        let mut arriving = self.arriving.lock();
        if let Some(tabs) = arriving.get_mut(key) {
            *tabs -= 1;
        }
        arriving.retain(|_, tabs| *tabs > 0);
        there
    }

    async fn arrive_at_home(self: &Arc<Self>, key: &VisitorKey, tab: Tab, hidden: bool) -> Option<NodeId> {
        let home = self.directory.claim(self.id, key).await;
        self.note(format_args!("claims {}: {}", key.visitor, claimed(&home)));
        match home.unwrap_or_else(|_| Home::Here(Inherited::default())) {
            Home::There(node) => Some(node),
            Home::Here(inherited) => {
                if !self.is_dead() {
                    let above = inherited.version.max(super::super::told(&**self, key));
                    if let Some(shown) = inherited.word {
                        self.presence(above, key, Input::Inherited { shown, grace: limits::HANDOVER_GRACE });
                    }
                    self.tabs.lock().entry(key.clone()).or_default().push(tab);
                    let arrived = Input::Arrived {
                        connection: tab.connection,
                        verified: false,
                        visibility: visibility(hidden),
                        facts: Facts::default(),
                    };
                    self.presence(above, key, arrived);
                }
                None
            }
        }
    }

    pub(super) fn turn(self: &Arc<Self>, key: &VisitorKey, connection: ConnectionId, hidden: bool) {
        let update = PresenceUpdate { visibility: Some(visibility(hidden)), ..PresenceUpdate::default() };
        self.presence(0, key, Input::Updated { connection, update });
    }

    pub(super) fn lose(self: &Arc<Self>, key: &VisitorKey, connection: ConnectionId) {
        if let Some(tabs) = self.tabs.lock().get_mut(key) {
            tabs.retain(|tab| tab.connection != connection);
        }
        let hands_over = self.hands_over.load(Ordering::Relaxed);
        let grace = if hands_over { limits::HANDOVER_GRACE } else { grace(&key.group) };
        self.presence(0, key, Input::Lost { connection, grace });
    }

    // ── Going away ─────────────────────────────────────────────────────────────────────────────

    /// From now on others take over the visitors that come to them.
    pub(super) async fn drains(self: &Arc<Self>) {
        self.draining.store(true, Ordering::Relaxed);
        self.directory.announce(self.id).await;
        let others = self.directory.nodes(self.id).await.unwrap_or_default();
        let hands_over = others.iter().any(|other| !other.facts.draining);
        self.hands_over.store(hands_over, Ordering::Relaxed);
    }

    /// Waits, but not for long, until its visitors are somewhere else. Then it is no more.
    pub(super) async fn ends(self: &Arc<Self>) {
        let until = Instant::now() + Duration::from_secs(8);
        while self.hands_over.load(Ordering::Relaxed)
            && !self.tracker.is_empty()
            && !self.is_dead()
            && Instant::now() < until
            && super::super::let_go(self, PresenceSource::keys(&**self)).await.is_ok()
        {
            sleep(limits::HANDOVER_LOOK).await;
        }
        self.redis.leave().await;
    }

    // ── Hints ──────────────────────────────────────────────────────────────────────────────────

    fn heed(self: &Arc<Self>, hint: Hint) {
        if self.is_dead() {
            return;
        }
        match &hint {
            Hint::Visitor(word) => {
                let (visitor, state) = (&word.key().visitor, word.state());
                self.note(format_args!("hears {visitor} {state:?} {}", word.version()));
            }
            other => self.note(format_args!("hint {other:?}")),
        }
        match hint {
            Hint::Visitor(word) => super::super::hear(self, &word),
            Hint::Reread(Some(group)) => reread(self, [group]),
            Hint::Reread(None) | Hint::Back => reread_all(self),
            Hint::Displaced(key) => super::super::displaced(self, key),
            Hint::Raise(key, above) => self.presence(0, &key, Input::Raised { above }),
            Hint::ToldAs(key, version) => self.presence(0, &key, Input::ToldAs { version }),
            Hint::NodeGone(edge) => self.lost(|tab| tab.edge == edge),
            Hint::Away(since) => super::super::all_unknown(self, since),
            Hint::Term(_) | Hint::Session(..) | Hint::Message(..) => {}
        }
    }

    /// These tabs' sockets are gone.
    pub(super) fn lost(self: &Arc<Self>, is_lost: impl Fn(&Tab) -> bool) {
        let mut lost = Vec::new();
        for (key, tabs) in &*self.tabs.lock() {
            lost.extend(tabs.iter().filter(|tab| is_lost(tab)).map(|tab| (key.clone(), tab.connection)));
        }
        for (key, connection) in lost {
            self.lose(&key, connection);
        }
    }

    // ── Agents ─────────────────────────────────────────────────────────────────────────────────

    async fn follow(self: &Arc<Self>, group: &GroupId) {
        if !self.wishes.lock().follows.contains_key(group) {
            let follow = self.directory.follow(self.id, group).await;
            self.wishes.lock().follows.insert(group.clone(), follow);
        }
    }

    /// An agent wants to hear of a visitor.
    pub(super) async fn watch(self: &Arc<Self>, key: VisitorKey) {
        self.follow(&key.group).await;
        self.wishes.lock().named.insert(key.clone());
        for word in super::super::lookup(self, &key.group, std::slice::from_ref(&key.visitor)).await {
            self.answered(&word);
        }
    }

    /// An agent wants to hear of all of a group.
    pub(super) async fn watch_whole(self: &Arc<Self>, group: GroupId) {
        self.follow(&group).await;
        self.wishes.lock().whole.insert(group.clone());
        let mut found = super::super::known_elsewhere(self, &group).await;
        found.extend(PresenceSource::snapshots(&**self, &group));
        for word in found {
            self.answered(&word);
        }
        let mut wishes = self.wishes.lock();
        if wishes.whole.contains(&group) {
            wishes.shown.insert(group);
        }
    }

    /// Nobody wants to hear of anything.
    pub(super) fn unwatch(&self) {
        let follows = {
            let mut wishes = self.wishes.lock();
            let follows = std::mem::take(&mut wishes.follows);
            *wishes = Wishes::default();
            if self.diary.chance.once_in(2) {
                wishes.follows = follows;
                BTreeMap::new()
            } else {
                follows
            }
        };
        drop(follows);
        self.ledger.lock().clear();
        super::super::tidy(self);
    }

    /// What was asked for: agents take of it what is no older than what they were told.
    fn answered(&self, word: &Arc<Snapshot>) {
        if !Near::is_watched(self, word.key()) {
            return;
        }
        let mut ledger = self.ledger.lock();
        if ledger.get(word.key()).is_none_or(|told| told.version < word.version()) {
            self.note(format_args!("answers {} {:?} {}", word.key().visitor, word.state(), word.version()));
            ledger.insert(word.key().clone(), Ledger { version: word.version(), state: word.state() });
        }
    }
}
