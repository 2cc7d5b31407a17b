//! What happens: visitors, agents and trouble, as chance has it.

mod trouble;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Arguments;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use self::trouble::Trouble;
use super::laws::{self, Laws};
use super::node::{Node, Tab};
use super::{Outcome, times};
use crate::cluster::NodeId;
use crate::ids::{ConnectionId, GroupId, VisitorId, VisitorKey};
use crate::redis::played::Patch;
use crate::redis::played::net::{Chance, Server};

/// Nodes at one time.
const NODES: usize = 5;
pub(super) const GROUPS: usize = 2;
/// Visitors of each group.
const VISITORS: usize = 4;
/// Lines of the diary that are shown of a seed that failed.
const SHOWN: usize = 400;

pub(super) fn group(at: usize) -> GroupId {
    GroupId::new(&format!("g{at}")).unwrap()
}

pub(super) fn everybody() -> Vec<VisitorKey> {
    let key = |at: usize| {
        let visitor = VisitorId::new(&format!("v{at}")).unwrap();
        VisitorKey { group: group(at / VISITORS), visitor }
    };
    (0..GROUPS * VISITORS).map(key).collect()
}

/// How long visitors of a group are not absent when their last tab has gone.
pub(super) fn grace(group: &GroupId) -> Duration {
    if group.as_str() == "g0" { Duration::ZERO } else { Duration::from_secs(1) }
}

/// A node's name, in short.
pub(super) fn name_of(node: NodeId) -> String {
    format!("n{}", node.0)
}

/// What happened.
pub(super) struct Diary {
    pub(super) start: Instant,
    pub(super) chance: Chance,
    written: Mutex<Written>,
    /// Who was told just now that a visitor is absent.
    pub(super) told_absent: Mutex<Vec<(NodeId, VisitorKey)>>,
    /// Who said something of a visitor last, and when.
    pub(super) said: Mutex<BTreeMap<VisitorKey, (NodeId, Instant)>>,
}

#[derive(Default)]
struct Written {
    hash: u64,
    events: usize,
    last: VecDeque<String>,
    broken: Option<String>,
}

impl Diary {
    pub(super) fn note(&self, what: Arguments<'_>) {
        let line = format!("{:>7} {what}", self.start.elapsed().as_millis());
        let mut written = self.written.lock();
        written.events += 1;
        for byte in line.bytes() {
            written.hash = (written.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if written.broken.is_none() {
            if written.last.len() == SHOWN {
                written.last.pop_front();
            }
            written.last.push_back(line);
        }
    }

    /// A law was broken; the first is what counts.
    pub(super) fn broken(&self, law: Arguments<'_>) {
        let mut written = self.written.lock();
        if written.broken.is_none() {
            let at = self.start.elapsed().as_millis();
            let lines: Vec<String> = written.last.iter().cloned().collect();
            written.broken = Some(format!("{law} (at {at})\n{}", lines.join("\n")));
        }
    }

    fn is_broken(&self) -> bool {
        self.written.lock().broken.is_some()
    }
}

/// A tab of a visitor, as the visitor sees it.
#[derive(Debug, Clone)]
struct Page {
    key: VisitorKey,
    /// Where its socket is.
    edge: NodeId,
    /// Where it is served, once it is.
    home: Option<NodeId>,
    hidden: bool,
}

pub(super) struct World {
    pub(super) server: Arc<Server>,
    pub(super) diary: Arc<Diary>,
    nodes: Mutex<Vec<Arc<Node>>>,
    pages: Mutex<BTreeMap<ConnectionId, Page>>,
    next: Mutex<u64>,
    /// Since when nothing has gone wrong with Redis.
    pub(super) well: Mutex<Instant>,
    laws: Mutex<Laws>,
    trouble: Mutex<Vec<(Instant, Trouble)>>,
}

impl World {
    pub(super) fn new(seed: u64, patch: Option<Patch>) -> Arc<Self> {
        let chance = Chance::new(seed);
        let diary = Diary {
            start: Instant::now(),
            chance: chance.clone(),
            written: Mutex::default(),
            told_absent: Mutex::default(),
            said: Mutex::default(),
        };
        let world = Arc::new(Self {
            server: Server::new(chance, patch),
            diary: Arc::new(diary),
            nodes: Mutex::default(),
            pages: Mutex::default(),
            next: Mutex::new(0),
            well: Mutex::new(Instant::now()),
            laws: Mutex::default(),
            trouble: Mutex::default(),
        });
        for _ in 0..NODES {
            world.node_starts();
        }
        world
    }

    fn chance(&self) -> &Chance {
        &self.diary.chance
    }

    pub(super) fn note(&self, what: Arguments<'_>) {
        self.diary.note(what);
    }

    fn fresh(&self) -> u64 {
        let mut next = self.next.lock();
        *next += 1;
        *next
    }

    fn node_starts(&self) {
        let ahead = match self.chance().below(4) {
            0 => 3_600_000 - self.chance().below(7_200_000) as i64,
            1 => 500 - self.chance().below(1_000) as i64,
            _ => 0,
        };
        let node = Node::start(&self.server, NodeId(self.fresh().into()), ahead, &self.diary);
        self.note(format_args!("{} starts, {ahead} ms ahead", name_of(node.id)));
        self.nodes.lock().push(node);
    }

    pub(super) fn up(&self) -> Vec<Arc<Node>> {
        self.nodes.lock().iter().filter(|node| !node.is_dead()).cloned().collect()
    }

    fn find(&self, id: NodeId) -> Option<Arc<Node>> {
        self.nodes.lock().iter().find(|node| node.id == id && !node.is_dead()).cloned()
    }

    fn any(&self) -> Arc<Node> {
        let up = self.up();
        let open: Vec<_> = up.iter().filter(|node| !node.is_draining()).cloned().collect();
        Arc::clone(self.chance().of(&open).or_else(|| self.chance().of(&up)).expect("one is up"))
    }

    /// Everything, from the beginning to the end.
    pub(super) async fn live(self: &Arc<Self>) {
        sleep(Duration::from_secs(2)).await;
        let begin = Instant::now();
        let troubled = self.chance().below(10);
        while begin.elapsed() < times::LIFE && !self.diary.is_broken() {
            sleep(self.chance().millis(250)).await;
            match self.chance().below(12) {
                0..7 => self.visit(),
                7..9 => self.ask(),
                _ if self.chance().below(10) < troubled => self.harm(),
                // To replace a node is no trouble.
                _ if self.chance().once_in(10) => self.drain(&self.any()),
                _ => {}
            }
            self.mend(false);
            self.goes_on();
        }
        self.mend(true);
        let begin = Instant::now();
        while begin.elapsed() < times::QUIET && !self.diary.is_broken() {
            sleep(Duration::from_millis(100)).await;
            self.goes_on();
        }
        if !self.diary.is_broken() {
            self.note(format_args!("the end"));
            laws::agree(self).await;
        }
    }

    fn goes_on(self: &Arc<Self>) {
        self.serve();
        self.laws.lock().check(self);
    }

    pub(super) fn outcome(&self) -> Outcome {
        let written = self.diary.written.lock();
        Outcome { hash: written.hash, events: written.events, broken: written.broken.clone() }
    }

    // ── Visitors ───────────────────────────────────────────────────────────────────────────────

    fn visit(self: &Arc<Self>) {
        let pages: Vec<(ConnectionId, Page)> =
            self.pages.lock().iter().map(|(tab, page)| (*tab, page.clone())).collect();
        match self.chance().below(10) {
            0..4 => {
                let everybody = everybody();
                let key = self.chance().of(&everybody).expect("there are some");
                if pages.iter().filter(|(_, page)| page.key == *key).count() < 3 {
                    self.opens(key.clone());
                }
            }
            4..7 => {
                let Some((tab, page)) = self.chance().of(&pages) else { return };
                self.pages.lock().remove(tab);
                self.note(format_args!("{} closes a tab", page.key.visitor));
                if let Some(home) = page.home.and_then(|home| self.find(home)) {
                    home.lose(&page.key, *tab);
                }
            }
            _ => {
                let Some((tab, page)) = self.chance().of(&pages) else { return };
                let hidden = !page.hidden;
                if let Some(page) = self.pages.lock().get_mut(tab) {
                    page.hidden = hidden;
                }
                if let Some(home) = page.home.and_then(|home| self.find(home)) {
                    home.turn(&page.key, *tab, hidden);
                }
            }
        }
    }

    fn opens(self: &Arc<Self>, key: VisitorKey) {
        let (tab, edge) = (ConnectionId(self.fresh()), self.any());
        let hidden = self.chance().once_in(4);
        self.note(format_args!("{} opens a tab on {}", key.visitor, name_of(edge.id)));
        self.pages.lock().insert(tab, Page { key, edge: edge.id, home: None, hidden });
        self.connect(tab);
    }

    /// A tab looks for its home until it has one.
    fn connect(self: &Arc<Self>, tab: ConnectionId) {
        let world = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let Some(page) = world.pages.lock().get(&tab).cloned() else { return };
                if let Some(home) = world.find_home(tab, &page).await {
                    let is_closed = match world.pages.lock().get_mut(&tab) {
                        Some(page) => {
                            page.home = Some(home.id);
                            false
                        }
                        None => true,
                    };
                    if is_closed {
                        home.lose(&page.key, tab);
                    }
                    return;
                }
                sleep(Duration::from_millis(100) + world.chance().millis(900)).await;
                let edge = world.any().id;
                if let Some(page) = world.pages.lock().get_mut(&tab) {
                    page.edge = edge;
                }
            }
        });
    }

    async fn find_home(&self, tab: ConnectionId, page: &Page) -> Option<Arc<Node>> {
        let edge = self.find(page.edge)?;
        let tab = Tab { connection: tab, edge: edge.id };
        let Some(there) = edge.arrive(&page.key, tab, page.hidden).await else {
            return self.find(edge.id);
        };
        // By the post, which takes a while.
        sleep(self.chance().millis(20)).await;
        let home = self.find(there)?;
        match home.arrive(&page.key, tab, page.hidden).await {
            None => self.find(home.id),
            Some(_) => None,
        }
    }

    /// Tabs whose node is no more, or whose home wants them no more, come back.
    fn serve(self: &Arc<Self>) {
        let mut homeless = Vec::new();
        for node in &*self.nodes.lock() {
            homeless.append(&mut node.homeless.lock());
        }
        let up: Vec<NodeId> = self.up().iter().map(|node| node.id).collect();
        let mut again = Vec::new();
        for (tab, page) in &*self.pages.lock() {
            let Some(home) = page.home else { continue };
            if !up.contains(&home) || !up.contains(&page.edge) || homeless.contains(tab) {
                again.push((*tab, page.clone()));
            }
        }
        for (tab, page) in again {
            // The home hears of the end of an edge by itself.
            self.comes_back(tab, page);
        }
    }

    fn comes_back(self: &Arc<Self>, tab: ConnectionId, page: Page) {
        if self.pages.lock().remove(&tab).is_some() {
            let (fresh, edge) = (ConnectionId(self.fresh()), self.any().id);
            self.pages.lock().insert(fresh, Page { edge, home: None, ..page });
            self.connect(fresh);
        }
    }

    // ── Agents ─────────────────────────────────────────────────────────────────────────────────

    fn ask(&self) {
        // Agents ask on nodes that drain, too, until they are sent away.
        let (up, everybody) = (self.up(), everybody());
        let node = Arc::clone(self.chance().of(&up).expect("one is up"));
        let key = self.chance().of(&everybody).expect("there are some").clone();
        match self.chance().below(8) {
            0..3 => {
                tokio::spawn(async move { node.watch(key).await });
            }
            3..5 => {
                tokio::spawn(async move { node.watch_whole(key.group).await });
            }
            5..7 => {
                tokio::spawn(async move {
                    super::super::lookup(&node, &key.group, std::slice::from_ref(&key.visitor)).await;
                });
            }
            _ => node.unwatch(),
        }
    }
}
