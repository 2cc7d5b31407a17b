//! The only door for the edges: live connections, presence, requests and sessions.
//!
//! Drives the machines of [`crate::model`] and performs what they say. The edges hold seats
//! ([`visitors::VisitorSeat`], [`agents::AgentSeat`], [`rooms::Participant`]) whose end, however it comes,
//! gives back whatever was admitted. Nothing here waits for a socket.

pub mod accounts;
pub mod agents;
pub mod changes;
pub mod devices;
mod drain;
pub mod driver;
mod elsewhere;
pub mod events;
mod far_sessions;
pub mod feed;
pub mod guests;
pub mod newest;
mod notes;
pub mod operators;
pub mod outbox;
pub mod records;
pub mod registry;
pub mod relay;
mod remote;
pub mod retention;
pub mod rooms;
pub mod sessions;
pub mod sync;
pub mod timers;
pub mod tracker;
pub mod visitors;
pub mod watch;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::auth::random;
use crate::clock::{Clock, Wall};
use crate::cluster::post::Post;
use crate::cluster::vault::Vault;
use crate::cluster::{Directory, DirectoryError, NodeFacts, NodeId, PresenceSource, Sink};
use crate::hub::accounts::Accounts;
use crate::hub::changes::SignedIn;
use crate::hub::devices::Devices;
use crate::hub::elsewhere::Elsewhere;
use crate::hub::events::Events;
use crate::hub::far_sessions::FarSessions;
use crate::hub::feed::{FeedStores, Feeds};
use crate::hub::operators::OperatorWishes;
use crate::hub::registry::Registry;
use crate::hub::remote::Wires;
use crate::hub::sessions::{Saves, Sessions};
use crate::hub::timers::{Due, Timers};
use crate::hub::tracker::{Lazy, Told, Tracker};
use crate::hub::visitors::Opened;
use crate::hub::watch::Watchers;
use crate::ids::{ConnectionId, GroupId, ParticipantId, VisitorKey};
use crate::limits::{self, Limits};
use crate::model::codes::Codes;
use crate::model::presence::{Input, Output};
use crate::model::session_key::SessionKeys;
use crate::model::ticket::{Chance, SECRET};
use crate::model::visitor::{Snapshot, VisitorView};
use crate::room::Room;
use crate::store::ReceiptLog;
use crate::telemetry::{Meters, SocketKind, Traces};
use crate::wire::close::{Close, CloseCode};
use crate::wire::error::ErrorCode;
use crate::wire::message::Text;
use crate::wire::visitor::ToVisitor;

/// What a hub is made of.
pub struct Parts {
    /// The process's clocks.
    pub clock: Clock,
    /// Groups, agents and their credentials.
    pub accounts: Arc<Accounts>,
    /// Where other nodes' visitors are found, and how those nodes are told.
    pub directory: Arc<dyn Directory>,
    /// Where sessions are saved and found, so that they outlive this node.
    pub vault: Arc<dyn Vault>,
    /// What carries letters and frames to other nodes.
    pub post: Arc<dyn Post>,
    /// Where it is written down what happens.
    pub events: Events,
    /// Where proofs of consent are kept.
    pub receipts: Arc<dyn ReceiptLog>,
    /// Where feeds and leads are kept.
    pub feeds: FeedStores,
    /// What is counted.
    pub meters: Arc<Meters>,
    /// What everything is bounded by.
    pub limits: Arc<Limits>,
    /// How browsers reach the public listener, `https://help.example.com`; empty where that is not known.
    pub public_url: Box<str>,
    /// Whether there is what visitors share their pages with.
    pub cobrowse: bool,
}

/// Everything live on this node.
pub struct Hub {
    clock: Clock,
    node: NodeId,
    started: Wall,
    accounts: Arc<Accounts>,
    registry: Arc<Registry>,
    tracker: Tracker,
    watchers: Watchers,
    operators: OperatorWishes,
    agents: DashMap<ConnectionId, SignedIn>,
    sessions: Sessions,
    saves: Arc<Saves>,
    /// What guests type to come into a session.
    session_keys: Mutex<SessionKeys>,
    /// What stands before the path in links for people; empty where the server does not know.
    public_url: Box<str>,
    /// Whether pages may be shared: what records and shows them was built in.
    cobrowse: bool,
    /// Where spans go; nowhere until that is known.
    traces: OnceLock<Traces>,
    codes: DashMap<GroupId, Arc<Mutex<Codes>>>,
    /// Sessions that visitors of this node opened and no agent has come to.
    opened: DashMap<VisitorKey, Opened>,
    devices: Devices,
    timers: Timers,
    directory: Arc<dyn Directory>,
    wires: Wires,
    elsewhere: Elsewhere,
    far_sessions: FarSessions,
    events: Events,
    receipts: Arc<dyn ReceiptLog>,
    feeds: Feeds,
    /// Where work runs that has to wait.
    runtime: Handle,
    meters: Arc<Meters>,
    limits: Arc<Limits>,
    room: Arc<Room>,
    draining: AtomicBool,
    /// It drains, and others are there to go on with what it has.
    hands_over: AtomicBool,
    /// Signals on their way to visitors' new homes.
    forwards: TaskTracker,
    /// Visitors whose home is being made here, and how many of their tabs wait for that.
    arriving: DashMap<VisitorKey, usize>,
    /// Keeps the directory's sink alive.
    sink: Mutex<Option<Arc<Sink>>>,
    /// The tasks that save sessions and look for lost ones; they end with the hub.
    keepers: Mutex<Option<[AbortOnDropHandle<()>; 2]>>,
}

impl Hub {
    /// Builds a hub on the current runtime and makes it known to the other nodes.
    pub fn new(parts: Parts) -> Arc<Self> {
        let node = NodeId(random::u128());
        let session_keys = SessionKeys::new(&parts.accounts.session_key_pepper());
        let hub = Arc::new(Self {
            node,
            started: crate::clock::wall(),
            clock: parts.clock,
            accounts: parts.accounts,
            registry: Arc::new(Registry::new(Arc::clone(&parts.limits))),
            tracker: Tracker::new(Arc::clone(&parts.limits)),
            watchers: Watchers::default(),
            operators: OperatorWishes::default(),
            agents: DashMap::new(),
            sessions: Sessions::default(),
            saves: Saves::new(parts.vault),
            session_keys: Mutex::new(session_keys),
            public_url: parts.public_url,
            cobrowse: parts.cobrowse,
            traces: OnceLock::new(),
            codes: DashMap::new(),
            opened: DashMap::new(),
            devices: Devices::default(),
            timers: Timers::default(),
            directory: parts.directory,
            wires: Wires::new(node, parts.post),
            elsewhere: Elsewhere::default(),
            far_sessions: FarSessions::default(),
            events: parts.events,
            receipts: parts.receipts,
            feeds: Feeds::new(parts.feeds),
            runtime: Handle::current(),
            room: Arc::new(Room::new(Arc::clone(&parts.limits), Arc::clone(&parts.meters))),
            meters: parts.meters,
            limits: parts.limits,
            draining: AtomicBool::new(false),
            hands_over: AtomicBool::new(false),
            forwards: TaskTracker::new(),
            arriving: DashMap::new(),
            sink: Mutex::new(None),
            keepers: Mutex::new(None),
        });
        let source: Arc<dyn PresenceSource> = Arc::clone(&hub) as _;
        let listening = Arc::downgrade(&hub);
        let sink: Arc<Sink> = Arc::new(move |hint| {
            if let Some(hub) = listening.upgrade() {
                hub.hear(hint);
            }
        });
        hub.directory.enroll(hub.node, Arc::downgrade(&source), Arc::downgrade(&sink));
        *hub.sink.lock() = Some(sink);
        *hub.keepers.lock() = Some(hub.keep_sessions());
        hub
    }

    /// Serves deadlines and heartbeats until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut wheel = tokio::time::interval(self.registry.turn());
        wheel.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let mut changes = self.accounts.changes();
        let mut turns = 0;
        self.runtime.spawn(Arc::clone(&self).read_mail(stop.clone()));
        let mut tidy = tokio::time::interval(limits::ELSEWHERE_TIDY);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = wheel.tick() => {
                    self.registry.beat(turns, self.clock.tick());
                    turns += 1;
                    self.meters.visitors_present.set(self.tracker.len() as f64);
                }
                _ = tidy.tick() => self.tidy_elsewhere(),
                changed = changes.recv() => self.on_change(changed),
                due = self.timers.next(&self.clock) => self.on_due(due),
            }
        }
    }

    /// Whether there is room for new work.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// From now on spans go there.
    pub fn trace_to(&self, traces: Traces) {
        if self.traces.set(traces).is_err() {
            tracing::warn!("spans go where they went before");
        }
    }

    /// The process's clocks.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Groups, agents and their credentials.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// The live connections.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// What is counted.
    pub fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// What everything is bounded by.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// This node's name.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// When this node started.
    pub fn started(&self) -> Wall {
        self.started
    }

    /// Visitors here, those within grace included.
    pub fn visitors(&self) -> usize {
        self.tracker.len()
    }

    /// Whether the node is going away.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// All nodes that are up, this one included, by name.
    pub async fn nodes(&self) -> Result<Vec<NodeFacts>, DirectoryError> {
        let neighbours = self.directory.nodes(self.node).await?;
        let mut nodes: Vec<NodeFacts> = neighbours.into_iter().map(|neighbour| neighbour.facts).collect();
        nodes.push(self.facts());
        nodes.sort_unstable_by_key(|facts| facts.node);
        Ok(nodes)
    }

    // ── Presence ───────────────────────────────────────────────────────────────────────────────

    /// Hands an input to a visitor's presence and performs what it leads to.
    fn presence(self: &Arc<Self>, key: &VisitorKey, input: Input) -> tracker::Came {
        self.presence_above(0, key, input)
    }

    /// The same with the greatest version that may have been told of the visitor, by this node or another.
    fn presence_above(self: &Arc<Self>, above: u64, key: &VisitorKey, input: Input) -> tracker::Came {
        let now = self.clock.now();
        let came = self.tracker.handle_above(above, now, key, input, |told| self.perform_presence(told));
        if let Some(at) = came.deadline {
            self.timers.at(at, Due::Visitor(key.clone()));
        }
        came
    }

    fn perform_presence(self: &Arc<Self>, (key, output): Told) {
        match output {
            Output::Changed { .. } => {
                self.meters.presence_changes.increment(1);
                self.tell_change(&mut Lazy::new(&self.tracker, &key), &key);
            }
            Output::Gone { version, .. } => {
                self.meters.presence_changes.increment(1);
                self.forget_code(&key);
                let absent = VisitorView::absent(&key, self.clock.now().wall, version).snapshot();
                self.tell_change(&mut Lazy::of(&self.tracker, &key, Arc::new(absent)), &key);
                self.visitor_gone(&key);
            }
            Output::Focus { connection, focused, .. } => {
                if let Some(tab) = self.registry.get(connection) {
                    tab.outbox.push(Text::of(&ToVisitor::Focus { focused }));
                }
                if focused {
                    self.visitor_focus(&key, connection);
                }
            }
            Output::Deliver { connection, signal } => self.deliver_signal(connection, &signal),
            Output::Dismiss { connection } => {
                let Some(tab) = self.registry.get(connection) else { return };
                if self.accounts.group(&key.group).is_some_and(|group| !group.settings.presence_enabled) {
                    tab.outbox.push(self.presence_is_off());
                }
                tab.outbox.close(Close::new(CloseCode::Ended, "the visitor's presence has ended"));
            }
            // Taken out by the tracker, which hands them to whoever they answer.
            Output::Signalled { .. } | Output::Refused { .. } => {}
        }
    }

    /// What a visitor's page is told before it is closed because its group tracks nobody: it may ask again,
    /// for presence is switched on again without anybody loading their page anew.
    fn presence_is_off(&self) -> Text {
        let after_ms = self.limits.presence_retry.as_millis() as u64;
        Text::of(&ToVisitor::Reconnect { after_ms, reason: ErrorCode::PresenceDisabled.as_str() })
    }

    /// A visitor of this node changed: tells this node's agents and operators, and the other nodes.
    fn tell_change(self: &Arc<Self>, snapshot: &mut Lazy<'_>, key: &VisitorKey) {
        if self.is_watched(key)
            && let Some(snapshot) = snapshot.get()
        {
            elsewhere::tell_own(self, snapshot, self.is_draining());
        }
        if self.directory.is_read(self.node, &key.group)
            && let Some(snapshot) = snapshot.get()
        {
            self.directory.publish(self.node, snapshot);
        }
    }

    /// Tells this node's agents and operators of a visitor, wherever it is.
    fn tell_here(self: &Arc<Self>, snapshot: &Arc<Snapshot>) {
        let key = snapshot.key();
        self.operators.tell_presence(snapshot);
        let told = self.watchers.tell_presence(snapshot);
        self.meters.lamp_pushes.increment(told as u64);
        for list in self.watchers.live(&key.group) {
            let due = {
                let mut view = list.view.lock();
                let before = view.next_deadline();
                view.handle(self.clock.tick(), snapshot);
                view.next_deadline().filter(|_| before.is_none())
            };
            if let Some(at) = due {
                self.timers.at(at, Due::Live(list.connection.id));
            }
        }
        for record in self.watchers.records(key) {
            self.push_record(&record, Some(snapshot));
        }
    }

    // ── Deadlines ──────────────────────────────────────────────────────────────────────────────

    fn on_due(self: &Arc<Self>, due: Due) {
        match due {
            Due::Visitor(key) => {
                let now = self.clock.now();
                let next = self.tracker.on_deadline(now, &key, |told| self.perform_presence(told));
                if let Some(at) = next {
                    self.timers.at(at, Due::Visitor(key));
                }
            }
            Due::Live(connection) => {
                if let Some(list) = self.watchers.live_of(connection) {
                    let (diffs, next) = {
                        let mut view = list.view.lock();
                        let mut diffs = Vec::new();
                        view.on_deadline(self.clock.tick(), &mut diffs);
                        (diffs, view.next_deadline())
                    };
                    for diff in &diffs {
                        list.connection.outbox.push(watch::live_diff(diff));
                    }
                    if let Some(at) = next {
                        self.timers.at(at, Due::Live(connection));
                    }
                }
            }
            Due::Codes(group) => self.codes_due(&group),
            Due::Opened(key) => self.opened_due(&key),
            Due::Session(session) => self.session_due(session),
            Due::KeyFrame(session) => self.key_frame_due(session),
            Due::Forget(session) => self.sessions.forget(session),
            Due::Asked(wire, ask) => self.ask_due(wire, ask),
        }
    }
}

impl PresenceSource for Hub {
    fn facts(&self) -> NodeFacts {
        let count = |kind| self.registry.count(kind);
        NodeFacts {
            node: self.node,
            version: env!("CARGO_PKG_VERSION").into(),
            started: self.started,
            draining: self.is_draining(),
            connections: [SocketKind::Visitor, SocketKind::Agent, SocketKind::Session].map(count),
            visitors: self.visitors() as u64,
            sessions: self.sessions.len() as u64,
        }
    }

    fn snapshot(&self, key: &VisitorKey) -> Option<Snapshot> {
        self.tracker.snapshot(key)
    }

    fn snapshots(&self, group: &GroupId) -> Vec<Arc<Snapshot>> {
        let mut all = Vec::new();
        self.tracker.each(group, |visitor| all.push(Arc::new(visitor.snapshot())));
        all
    }

    fn keys(&self) -> Vec<VisitorKey> {
        self.tracker.keys()
    }

    fn groups(&self) -> Vec<GroupId> {
        self.accounts.groups().iter().map(|group| group.id.clone()).collect()
    }

    fn is_home(&self, key: &VisitorKey) -> bool {
        self.tracker.look(key, |_| ()).is_some() || self.sessions.of_visitor(key).is_some()
    }
}

/// Chance from the system's random source.
#[derive(Debug, Default)]
struct SystemChance;

impl Chance for SystemChance {
    fn secret(&mut self) -> [u8; SECRET] {
        random::bytes()
    }

    fn participant(&mut self) -> ParticipantId {
        ParticipantId::fresh()
    }
}
