//! Directory for the hubs of one process: the default of a single node, and the reference that other
//! implementations are held to.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;

use super::{
    Directory, DirectoryError, Follow, Hint, Home, Inherited, Neighbour, NodeId, PresenceSource, Sight, Sink,
};
use crate::clock::wall;
use crate::ids::{GroupId, SessionId, VisitorId, VisitorKey};
use crate::model::visitor::{Snapshot, next_version};

/// Asks the hubs of this process directly; keeps nothing of their visitors itself.
#[derive(Default)]
pub struct MemoryDirectory {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    nodes: RwLock<HashMap<NodeId, Enrolled>>,
    follows: RwLock<HashMap<(GroupId, NodeId), usize>>,
}

struct Enrolled {
    source: Weak<dyn PresenceSource>,
    sink: Weak<Sink>,
}

struct Following {
    shared: Arc<Shared>,
    place: (GroupId, NodeId),
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut follows = self.shared.follows.write();
        if let Some(count) = follows.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                follows.remove(&self.place);
            }
        }
    }
}

impl MemoryDirectory {
    fn others(&self, asking: NodeId) -> Vec<Arc<dyn PresenceSource>> {
        let nodes = self.shared.nodes.read();
        nodes
            .iter()
            .filter(|(node, _)| **node != asking)
            .filter_map(|(_, enrolled)| enrolled.source.upgrade())
            .collect()
    }

    /// The sinks of the other nodes that follow a group.
    fn listening(&self, from: NodeId, group: &GroupId) -> Vec<Arc<Sink>> {
        let (nodes, follows) = (self.shared.nodes.read(), self.shared.follows.read());
        nodes
            .iter()
            .filter(|(node, _)| **node != from && follows.contains_key(&(group.clone(), **node)))
            .filter_map(|(_, enrolled)| enrolled.sink.upgrade())
            .collect()
    }
}

/// One below what a visitor's own word of this very millisecond would carry: the nodes share a clock.
fn floor() -> u64 {
    next_version(0, wall()) - 1
}

#[async_trait]
impl Directory for MemoryDirectory {
    fn enroll(&self, node: NodeId, source: Weak<dyn PresenceSource>, sink: Weak<Sink>) {
        let mut nodes = self.shared.nodes.write();
        nodes.retain(|_, enrolled| enrolled.source.strong_count() > 0);
        nodes.insert(node, Enrolled { source, sink });
    }

    async fn claim(&self, node: NodeId, key: &VisitorKey) -> Result<Home, DirectoryError> {
        let others = self.others(node);
        let homes: Vec<_> = others.iter().filter(|source| source.is_home(key)).collect();
        if let Some(facts) = homes.iter().map(|source| source.facts()).find(|facts| !facts.draining) {
            return Ok(Home::There(facts.node));
        }
        let left = homes.iter().filter_map(|source| source.snapshot(key)).max_by_key(Snapshot::version);
        let inherited = |left: Snapshot| Inherited {
            version: left.version(),
            session: left.view().session,
            word: Some(Arc::new(left)),
        };
        Ok(Home::Here(left.map(inherited).unwrap_or_default()))
    }

    fn release(&self, _: NodeId, _: &VisitorKey) {}

    fn is_read(&self, node: NodeId, group: &GroupId) -> bool {
        self.shared.follows.read().keys().any(|(other, follower)| other == group && *follower != node)
    }

    fn publish(&self, node: NodeId, snapshot: &Arc<Snapshot>) {
        let key = snapshot.key();
        // Who was taken over from a draining node is spoken for by the new home.
        let is_draining = |source: &dyn PresenceSource| source.facts().draining;
        let own = self.shared.nodes.read().get(&node).and_then(|enrolled| enrolled.source.upgrade());
        if own.is_some_and(|own| is_draining(&*own))
            && self.others(node).iter().any(|source| source.is_home(key) && !is_draining(&**source))
        {
            return;
        }
        for sink in self.listening(node, &key.group) {
            sink(Hint::Visitor(Arc::clone(snapshot)));
        }
    }

    fn confirms(&self, _: NodeId, _: &GroupId) -> bool {
        false
    }

    async fn announce(&self, _: NodeId) {}

    async fn follow(&self, node: NodeId, group: &GroupId) -> Follow {
        let place = (group.clone(), node);
        *self.shared.follows.write().entry(place.clone()).or_default() += 1;
        Follow::new(Following { shared: Arc::clone(&self.shared), place })
    }

    async fn tell_session(
        &self,
        node: NodeId,
        group: &GroupId,
        session: SessionId,
    ) -> Result<(), DirectoryError> {
        for sink in self.listening(node, group) {
            sink(Hint::Session(group.clone(), session));
        }
        Ok(())
    }

    fn pass_on(&self, node: NodeId, key: &VisitorKey, message: &Bytes) {
        for sink in self.listening(node, &key.group) {
            sink(Hint::Message(key.clone(), message.clone()));
        }
    }

    async fn home(&self, asking: NodeId, key: &VisitorKey) -> Result<Option<NodeId>, DirectoryError> {
        Ok(self.others(asking).iter().find(|source| source.is_home(key)).map(|source| source.facts().node))
    }

    async fn lookup(
        &self,
        asking: NodeId,
        group: &GroupId,
        visitors: &[VisitorId],
    ) -> Result<Sight, DirectoryError> {
        let (floor, others) = (floor(), self.others(asking));
        let find = |visitor: &VisitorId| {
            let key = VisitorKey { group: group.clone(), visitor: visitor.clone() };
            others
                .iter()
                .filter_map(|source| source.snapshot(&key))
                .max_by_key(Snapshot::version)
                .map(Arc::new)
        };
        Ok(Sight { visitors: visitors.iter().map(find).collect(), floor, doubt: None })
    }

    async fn list(&self, asking: NodeId, group: &GroupId) -> Result<Sight, DirectoryError> {
        let (floor, others) = (floor(), self.others(asking));
        let visitors = others.iter().flat_map(|source| source.snapshots(group)).map(Some).collect();
        Ok(Sight { visitors, floor, doubt: None })
    }

    async fn nodes(&self, asking: NodeId) -> Result<Vec<Neighbour>, DirectoryError> {
        let up = |source: &Arc<dyn PresenceSource>| Neighbour { facts: source.facts(), left: Duration::MAX };
        Ok(self.others(asking).iter().map(up).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fresh() -> (impl AsyncFn() -> Arc<dyn Directory>, ()) {
        let directory = Arc::<MemoryDirectory>::default();
        (async move || Arc::clone(&directory) as _, ())
    }

    crate::cluster::suite::obligations!(obligations, fresh);
}
