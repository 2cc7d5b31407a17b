//! What the rules for visitors of other nodes, and the directory, ask of a node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::world::{GROUPS, group, name_of};
use super::{Ledger, Node};
use crate::clock::Wall;
use crate::cluster::{Directory, NodeFacts, NodeId, PresenceSource};
use crate::hub::elsewhere::{Elsewhere, Near};
use crate::hub::tracker::Forgotten;
use crate::ids::{GroupId, VisitorId, VisitorKey};
use crate::model::visitor::{Snapshot, State};
use crate::redis::played::net::told;

impl Near for Node {
    fn elsewhere(&self) -> &Elsewhere {
        &self.elsewhere
    }

    fn directory(&self) -> &Arc<dyn Directory> {
        &self.directory
    }

    fn node(&self) -> NodeId {
        self.id
    }

    fn wall(&self) -> Wall {
        Wall(told(self.start, self.ahead.load(Ordering::Relaxed)))
    }

    fn is_here(&self, key: &VisitorKey) -> bool {
        self.tracker.look(key, |_| ()).is_some()
    }

    fn is_arriving(&self, key: &VisitorKey) -> bool {
        self.arriving.lock().contains_key(key)
    }

    fn own(&self, key: &VisitorKey) -> Option<Snapshot> {
        self.tracker.snapshot(key)
    }

    fn is_watched(&self, key: &VisitorKey) -> bool {
        let wishes = self.wishes.lock();
        wishes.named.contains(key) || wishes.whole.contains(&key.group)
    }

    fn is_named(&self, key: &VisitorKey) -> bool {
        self.wishes.lock().named.contains(key)
    }

    fn named(&self, group: &GroupId) -> BTreeSet<VisitorId> {
        let wishes = self.wishes.lock();
        wishes.named.iter().filter(|key| key.group == *group).map(|key| key.visitor.clone()).collect()
    }

    fn has_whole(&self, group: &GroupId) -> bool {
        self.wishes.lock().whole.contains(group)
    }

    fn wanted(&self) -> BTreeSet<GroupId> {
        let wishes = self.wishes.lock();
        wishes.named.iter().map(|key| key.group.clone()).chain(wishes.whole.iter().cloned()).collect()
    }

    fn is_leaving(&self, _: &VisitorKey) -> bool {
        self.is_draining()
    }

    fn forget(self: &Arc<Self>, key: &VisitorKey) {
        if let Some(Forgotten { last, connections, .. }) = self.tracker.forget(key) {
            self.tabs.lock().remove(key);
            self.homeless.lock().extend(connections);
            if Near::is_watched(&**self, key) {
                self.elsewhere.note(&Arc::new(last));
            }
        }
    }

    fn tell_here(self: &Arc<Self>, word: &Arc<Snapshot>) {
        if self.is_dead() || !Near::is_watched(&**self, word.key()) {
            return;
        }
        let (version, state) = (word.version(), word.state());
        self.note(format_args!("tells {} {state:?} {version}", word.key().visitor));
        let before = self.ledger.lock().insert(word.key().clone(), Ledger { version, state });
        if let Some(before) = before
            && before.version > version
        {
            let (name, visitor) = (name_of(self.id), &word.key().visitor);
            let before = before.version;
            self.diary.broken(format_args!("{name} told {visitor} in version {version} after {before}"));
        }
        if state == State::Absent {
            self.diary.told_absent.lock().push((self.id, word.key().clone()));
        }
    }

    async fn rereads(self: &Arc<Self>, _: &GroupId) -> bool {
        true
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(work);
    }
}

impl PresenceSource for Node {
    fn facts(&self) -> NodeFacts {
        NodeFacts {
            node: self.id,
            version: "0".into(),
            started: Wall(0),
            draining: self.is_draining(),
            connections: [0; 3],
            visitors: self.tracker.len() as u64,
            sessions: 0,
        }
    }

    fn snapshot(&self, key: &VisitorKey) -> Option<Snapshot> {
        self.tracker.snapshot(key)
    }

    fn snapshots(&self, group: &GroupId) -> Vec<Arc<Snapshot>> {
        let mut all = Vec::new();
        self.tracker.each(group, |visitor| all.push(Arc::new(visitor.snapshot())));
        all.sort_by(|one, other| one.key().cmp(other.key()));
        all
    }

    fn keys(&self) -> Vec<VisitorKey> {
        let mut keys = self.tracker.keys();
        keys.sort();
        keys
    }

    fn groups(&self) -> Vec<GroupId> {
        (0..GROUPS).map(group).collect()
    }

    fn is_home(&self, key: &VisitorKey) -> bool {
        Near::is_here(self, key)
    }
}
