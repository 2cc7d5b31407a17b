//! The live connections of this node, laid out as the wheel of heartbeats.
//!
//! A connection is admitted once, found by its id, and removed by its guard, so that whatever way its task
//! ends nothing stays behind. Slot by slot, the wheel pings who is silent and closes who is dead; no
//! connection needs a timer of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::outbox::Outbox;
use crate::clock::Tick;
use crate::ids::ConnectionId;
use crate::limits::{self, Limits};
use crate::telemetry::SocketKind;
use crate::wire::close::{Close, CloseCode};

/// One live WebSocket, as everybody but its own task sees it.
#[derive(Debug)]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// Which socket.
    pub kind: SocketKind,
    /// What waits to be sent.
    pub outbox: Outbox,
    /// When the last byte came.
    heard: AtomicU64,
    /// Whether its socket is on another node, which looks after its heartbeats.
    stub: bool,
}

impl Connection {
    /// Notes that the peer is alive.
    pub fn heard(&self, now: Tick) {
        self.heard.store(now.0, Ordering::Relaxed);
    }

    /// Whether its socket is on another node.
    pub fn is_stub(&self) -> bool {
        self.stub
    }
}

type Slot = Mutex<HashMap<ConnectionId, Arc<Connection>>>;

/// All live connections of this node.
#[derive(Debug)]
pub struct Registry {
    limits: Arc<Limits>,
    slots: Box<[Slot]>,
    next: AtomicU64,
    count: AtomicUsize,
    stubs: AtomicUsize,
}

impl Registry {
    /// No connection yet.
    pub fn new(limits: Arc<Limits>) -> Self {
        let slots = (0..limits::WHEEL_SLOTS).map(|_| Slot::default()).collect();
        Self {
            limits,
            slots,
            next: AtomicU64::new(1),
            count: AtomicUsize::new(0),
            stubs: AtomicUsize::new(0),
        }
    }

    /// How long one turn of a slot may take: each is served twice per heartbeat.
    pub fn turn(&self) -> Duration {
        self.limits.heartbeat / 2 / u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// Takes a connection in until its guard is dropped.
    pub fn admit(self: &Arc<Self>, kind: SocketKind, now: Tick) -> Admitted {
        self.take_in(kind, now, false)
    }

    /// Takes in a connection whose socket is on another node: it is found as any other, and neither counted
    /// nor pinged.
    pub fn admit_stub(self: &Arc<Self>, kind: SocketKind) -> Admitted {
        self.take_in(kind, Tick(0), true)
    }

    fn take_in(self: &Arc<Self>, kind: SocketKind, now: Tick, stub: bool) -> Admitted {
        let id = ConnectionId(self.next.fetch_add(1, Ordering::Relaxed));
        let connection = Arc::new(Connection {
            id,
            kind,
            outbox: Outbox::new(self.limits.control_lane),
            heard: AtomicU64::new(now.0),
            stub,
        });
        self.slot(id).lock().insert(id, Arc::clone(&connection));
        self.counter(stub).fetch_add(1, Ordering::Relaxed);
        Admitted { registry: Arc::clone(self), connection }
    }

    /// Finds a live connection.
    pub fn get(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        self.slot(id).lock().get(&id).map(Arc::clone)
    }

    /// How many sockets there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many connections there are whose sockets are on other nodes.
    pub fn stubs(&self) -> usize {
        self.stubs.load(Ordering::Relaxed)
    }

    /// How many sockets there are of one kind.
    pub fn count(&self, kind: SocketKind) -> u64 {
        let counts = |other: &&Arc<Connection>| other.kind == kind && !other.stub;
        let of_kind = |slot: &Slot| slot.lock().values().filter(counts).count() as u64;
        self.slots.iter().map(of_kind).sum()
    }

    fn counter(&self, stub: bool) -> &AtomicUsize {
        if stub { &self.stubs } else { &self.count }
    }

    /// A snapshot of all connections, for drains; those of other nodes' sockets included.
    pub fn all(&self) -> Vec<Arc<Connection>> {
        self.slots.iter().flat_map(|slot| slot.lock().values().cloned().collect::<Vec<_>>()).collect()
    }

    /// Serves one slot of the wheel: closes who was silent for too long and pings who is silent. Each slot
    /// is served twice per heartbeat.
    pub fn beat(&self, turn: u64, now: Tick) {
        let at = (turn % self.slots.len() as u64) as usize;
        let silent: Vec<_> = self.slots[at]
            .lock()
            .values()
            .filter(|connection| !connection.stub)
            .filter_map(|connection| {
                let silence = now.since(Tick(connection.heard.load(Ordering::Relaxed)));
                // Three quarters: between the two visits that fall into one heartbeat.
                (silence >= self.limits.heartbeat * 3 / 4).then(|| (Arc::clone(connection), silence))
            })
            .collect();
        for (connection, silence) in silent {
            if silence >= self.limits.dead_after {
                connection.outbox.close(Close::new(CloseCode::Timeout, "no sign of life"));
            } else {
                connection.outbox.ping();
            }
        }
    }

    fn slot(&self, id: ConnectionId) -> &Slot {
        &self.slots[(id.0 % self.slots.len() as u64) as usize]
    }
}

/// A connection that is in the registry for as long as this lives.
#[derive(Debug)]
pub struct Admitted {
    registry: Arc<Registry>,
    connection: Arc<Connection>,
}

impl std::ops::Deref for Admitted {
    type Target = Arc<Connection>;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut slot = self.registry.slot(self.connection.id).lock();
        slot.remove(&self.connection.id);
        // A wave of connections leaves no empty table behind.
        if slot.is_empty() {
            slot.shrink_to_fit();
        }
        drop(slot);
        self.registry.counter(self.connection.stub).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbox::Item;
    use super::*;

    #[test]
    fn a_guard_releases_what_was_admitted() {
        let registry = Arc::new(Registry::new(Arc::default()));
        let admitted = registry.admit(SocketKind::Visitor, Tick(0));
        let id = admitted.id;
        assert!(registry.get(id).is_some());
        drop(admitted);
        assert!(registry.get(id).is_none());
        assert!(registry.is_empty());
    }

    #[test]
    fn a_stub_is_found_and_neither_counted_nor_pinged() {
        let registry = Arc::new(Registry::new(Arc::default()));
        let stub = registry.admit_stub(SocketKind::Visitor);
        assert!(registry.get(stub.id).is_some_and(|found| found.is_stub()));
        assert_eq!((registry.len(), registry.count(SocketKind::Visitor), registry.stubs()), (0, 0, 1));
        for slot in 0..limits::WHEEL_SLOTS as u64 {
            registry.beat(slot, Tick(600_000));
        }
        assert_eq!(stub.outbox.pop(), None);
        drop(stub);
        assert_eq!(registry.stubs(), 0);
    }

    #[test]
    fn the_silent_are_pinged_and_the_dead_are_closed() {
        let registry = Arc::new(Registry::new(Arc::default()));
        let quiet = registry.admit(SocketKind::Visitor, Tick(0));
        let lively = registry.admit(SocketKind::Visitor, Tick(0));
        let beat = |now: u64| {
            for slot in 0..limits::WHEEL_SLOTS as u64 {
                registry.beat(slot, Tick(now));
            }
        };
        lively.heard(Tick(20_000));
        beat(25_000);
        assert_eq!(quiet.outbox.pop(), Some(Item::Ping));
        assert_eq!(lively.outbox.pop(), None);
        beat(60_000);
        assert!(quiet.outbox.is_closing());
        assert!(!lively.outbox.is_closing());
    }
}
