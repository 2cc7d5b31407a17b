//! The presence of this node's visitors: many small machines behind a few ordered drivers.
//!
//! A visitor belongs to one shard, and a shard performs its outputs in order, so that a tab hears of focus
//! and a watcher of presence in the order in which they happened.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::driver::{Driver, Flow};
use crate::clock::{Now, Tick};
use crate::ids::{ConnectionId, GroupId, VisitorKey};
use crate::limits::Limits;
use crate::model::lease::Refusal;
use crate::model::presence::{Input, Output, Presence};
use crate::model::signal::{Delivery, Signal};
use crate::model::visitor::{Snapshot, State, VisitorView};

/// More shards than cores can be at work on, so that they seldom meet.
const SHARDS: usize = 64;

/// A presence output, and whose it is.
pub type Told = (VisitorKey, Output);

type Shard = HashMap<VisitorKey, Presence>;

/// All visitors with a lease on this node, or within grace.
#[derive(Debug)]
pub struct Tracker {
    shards: Box<[Driver<Shard, Told>]>,
    hasher: RandomState,
    count: AtomicUsize,
    limits: Arc<Limits>,
    /// The greatest version of a visitor that was forgotten: who comes back starts above it, even within
    /// the millisecond.
    forgotten: AtomicU64,
}

/// What is left of a visitor that another node speaks for.
#[derive(Debug)]
pub struct Forgotten {
    /// Its last words here.
    pub last: Snapshot,
    /// Its connections.
    pub connections: Vec<ConnectionId>,
    /// The signals that waited for it.
    pub held: Vec<Signal>,
}

/// What an input came to, beside its outputs.
#[derive(Debug, Clone, Default)]
pub struct Came {
    /// What became of a signal.
    pub delivery: Option<Delivery>,
    /// What was not taken of what a page told, for the answer to the page.
    pub refused: Vec<Refusal>,
    /// When the machine wants to be called.
    pub deadline: Option<Tick>,
    /// Connections that were asked to go.
    pub dismissed: u32,
    /// Whether the visitor has focus on the connection that the input was about.
    pub focused: Option<ConnectionId>,
}

impl Tracker {
    /// Nobody is here yet.
    pub fn new(limits: Arc<Limits>) -> Self {
        let shards = (0..SHARDS).map(|_| Driver::new(Shard::new(), Vec::new())).collect();
        Self {
            shards,
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
            forgotten: AtomicU64::new(0),
            limits,
        }
    }

    /// Hands an input to a visitor's machine; makes one only for an arrival.
    pub fn handle(&self, now: Now, key: &VisitorKey, input: Input, perform: impl FnMut(Told)) -> Came {
        self.handle_above(0, now, key, input, perform)
    }

    /// The same with the greatest version that anybody may have been told of the visitor: what is told from now on
    /// is above it.
    pub fn handle_above(
        &self,
        above: u64,
        now: Now,
        key: &VisitorKey,
        input: Input,
        mut perform: impl FnMut(Told),
    ) -> Came {
        let step = |shard: &mut Shard, out: &mut Vec<Told>| {
            let arrival = matches!(input, Input::Arrived { .. } | Input::Inherited { .. });
            let signal = matches!(input, Input::Signal { .. });
            if !arrival && !shard.contains_key(key) {
                return Came { delivery: signal.then_some(Delivery::NotPresent), ..Came::default() };
            }
            let before = shard.len();
            let last = self.forgotten.load(Ordering::Relaxed).max(above);
            let presence = shard.entry(key.clone()).or_insert_with(|| Presence::new(last));
            let mut told = Vec::new();
            presence.handle(now, &self.limits, Input::Raised { above }, &mut told);
            presence.handle(now, &self.limits, input, &mut told);
            let came = self.collect(shard, key, told, out);
            self.recount(before, shard.len());
            came
        };
        self.shard(key).drive(step, |told| {
            perform(told);
            Flow::On
        })
    }

    /// Lets a visitor's machine act on its deadline.
    pub fn on_deadline(&self, now: Now, key: &VisitorKey, mut perform: impl FnMut(Told)) -> Option<Tick> {
        let step = |shard: &mut Shard, out: &mut Vec<Told>| {
            let before = shard.len();
            let presence = shard.get_mut(key)?;
            let mut told = Vec::new();
            presence.on_deadline(now, &mut told);
            let came = self.collect(shard, key, told, out);
            self.recount(before, shard.len());
            came.deadline
        };
        self.shard(key).drive(step, |told| {
            perform(told);
            Flow::On
        })
    }

    /// Lets go of a visitor that another node speaks for, and tells nobody.
    pub fn forget(&self, key: &VisitorKey) -> Option<Forgotten> {
        let step = |shard: &mut Shard, _: &mut Vec<Told>| {
            let mut presence = shard.remove(key)?;
            self.recount(shard.len() + 1, shard.len());
            self.forgotten.fetch_max(presence.version(), Ordering::Relaxed);
            let (last, held) = (presence.view(key).snapshot(), presence.take_held());
            Some(Forgotten { last, connections: presence.connections().collect(), held })
        };
        self.shard(key).drive(step, |_| Flow::On)
    }

    /// The names of all that are here, by their versions: who is told of them all in this order never falls behind what
    /// was told a moment ago.
    pub fn keys(&self) -> Vec<VisitorKey> {
        let read = |shard: &Shard| {
            shard.iter().map(|(key, presence)| (presence.version(), key.clone())).collect::<Vec<_>>()
        };
        let mut keys: Vec<_> = self.shards.iter().flat_map(|shard| shard.read(read)).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// Looks at a visitor.
    pub fn look<R>(&self, key: &VisitorKey, look: impl FnOnce(&Presence) -> R) -> Option<R> {
        self.shard(key).read(|shard| shard.get(key).map(look))
    }

    /// What is published of a visitor; `None` for one who is not here.
    pub fn snapshot(&self, key: &VisitorKey) -> Option<Snapshot> {
        self.look(key, |presence| presence.view(key).snapshot())
    }

    /// Shows every visitor of a group, shard by shard.
    pub fn each(&self, group: &GroupId, mut show: impl FnMut(&VisitorView<'_>)) {
        for shard in &self.shards {
            shard.read(|shard| {
                for (key, presence) in shard.iter().filter(|(key, _)| key.group == *group) {
                    if presence.state() != State::Absent {
                        show(&presence.view(key));
                    }
                }
            });
        }
    }

    /// How many visitors are here, those within grace included.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn collect(&self, shard: &mut Shard, key: &VisitorKey, told: Vec<Output>, out: &mut Vec<Told>) -> Came {
        let mut came = Came::default();
        for output in told {
            match output {
                Output::Signalled { delivery } => came.delivery = Some(delivery),
                Output::Refused { reason, .. } => came.refused.push(reason),
                other => {
                    came.dismissed += u32::from(matches!(other, Output::Dismiss { .. }));
                    out.push((key.clone(), other));
                }
            }
        }
        if let Some(presence) = shard.get(key) {
            came.deadline = presence.next_deadline();
            came.focused = presence.focused();
            if presence.state() == State::Absent {
                self.forgotten.fetch_max(presence.version(), Ordering::Relaxed);
                shard.remove(key);
                // After a storm an eighth of the table is enough.
                if shard.len() < shard.capacity() / 8 {
                    shard.shrink_to(shard.len() * 2);
                }
            }
        }
        came
    }

    fn recount(&self, before: usize, after: usize) {
        if after > before {
            self.count.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.count.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    fn shard(&self, key: &VisitorKey) -> &Driver<Shard, Told> {
        &self.shards[(self.hasher.hash_one(key) % SHARDS as u64) as usize]
    }
}

/// A snapshot made at most once, when the first looks.
#[derive(Debug)]
pub struct Lazy<'a> {
    tracker: &'a Tracker,
    key: &'a VisitorKey,
    made: Option<Option<Arc<Snapshot>>>,
}

impl<'a> Lazy<'a> {
    /// Nothing is made yet.
    pub fn new(tracker: &'a Tracker, key: &'a VisitorKey) -> Self {
        Self { tracker, key, made: None }
    }

    /// One that is there already.
    pub fn of(tracker: &'a Tracker, key: &'a VisitorKey, snapshot: Arc<Snapshot>) -> Self {
        Self { tracker, key, made: Some(Some(snapshot)) }
    }

    /// The snapshot; `None` when the visitor has meanwhile gone, which will be told by itself.
    pub fn get(&mut self) -> Option<&Arc<Snapshot>> {
        self.made.get_or_insert_with(|| self.tracker.snapshot(self.key).map(Arc::new)).as_ref()
    }
}
