//! Directory and bus for the hubs of one process: the default of a single node, and the reference that
//! other implementations are held to.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use parking_lot::RwLock;

use super::{Bus, Directory, DirectoryError, Hint, Home, Inherited, NodeFacts, NodeId, PresenceSource, Sink};
use crate::ids::{GroupId, VisitorId, VisitorKey};
use crate::model::visitor::Snapshot;

/// Asks the hubs of this process directly; keeps nothing itself.
#[derive(Default)]
pub struct MemoryDirectory {
    nodes: RwLock<HashMap<NodeId, Weak<dyn PresenceSource>>>,
}

impl MemoryDirectory {
    fn others(&self, asking: NodeId) -> Vec<Arc<dyn PresenceSource>> {
        let nodes = self.nodes.read();
        nodes.iter().filter(|(node, _)| **node != asking).filter_map(|(_, source)| source.upgrade()).collect()
    }
}

#[async_trait]
impl Directory for MemoryDirectory {
    fn enroll(&self, node: NodeId, source: Weak<dyn PresenceSource>) {
        let mut nodes = self.nodes.write();
        nodes.retain(|_, source| source.strong_count() > 0);
        nodes.insert(node, source);
    }

    async fn claim(&self, node: NodeId, key: &VisitorKey) -> Result<Home, DirectoryError> {
        let others = self.others(node);
        let home = others.iter().find(|source| source.is_home(key)).map(|source| source.facts());
        Ok(match home {
            Some(facts) if !facts.draining => Home::There(facts.node),
            _ => Home::Here(Inherited::default()),
        })
    }

    async fn home(&self, asking: NodeId, key: &VisitorKey) -> Result<Option<NodeId>, DirectoryError> {
        Ok(self.others(asking).iter().find(|source| source.is_home(key)).map(|source| source.facts().node))
    }

    async fn lookup(
        &self,
        asking: NodeId,
        group: &GroupId,
        visitors: &[VisitorId],
    ) -> Result<Vec<Option<Arc<Snapshot>>>, DirectoryError> {
        let others = self.others(asking);
        let find = |visitor: &VisitorId| {
            let key = VisitorKey { group: group.clone(), visitor: visitor.clone() };
            others
                .iter()
                .filter_map(|source| source.snapshot(&key))
                .max_by_key(Snapshot::version)
                .map(Arc::new)
        };
        Ok(visitors.iter().map(find).collect())
    }

    async fn list(&self, asking: NodeId, group: &GroupId) -> Result<Vec<Arc<Snapshot>>, DirectoryError> {
        Ok(self.others(asking).iter().flat_map(|source| source.snapshots(group)).collect())
    }

    async fn nodes(&self, asking: NodeId) -> Result<Vec<NodeFacts>, DirectoryError> {
        Ok(self.others(asking).iter().map(|source| source.facts()).collect())
    }
}

/// Calls the other hubs of this process directly.
#[derive(Default)]
pub struct MemoryBus {
    sinks: RwLock<Vec<(NodeId, Weak<Sink>)>>,
}

impl Bus for MemoryBus {
    fn subscribe(&self, node: NodeId, sink: Weak<Sink>) {
        let mut sinks = self.sinks.write();
        sinks.retain(|(_, sink)| sink.strong_count() > 0);
        sinks.push((node, sink));
    }

    fn publish(&self, from: NodeId, hint: &Hint) {
        let sinks: Vec<_> = {
            let sinks = self.sinks.read();
            sinks.iter().filter(|(node, _)| *node != from).filter_map(|(_, sink)| sink.upgrade()).collect()
        };
        for sink in sinks {
            sink(hint.clone());
        }
    }

    fn has_listeners(&self, from: NodeId) -> bool {
        self.sinks.read().iter().any(|(node, sink)| *node != from && sink.strong_count() > 0)
    }
}
