//! What may have been missed is read again, until that succeeds.
//!
//! Decides what is read of a group, and that groups take turns. Does not decide when something may have been missed, or
//! what is done with what was read.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::cluster::DirectoryError;
use crate::hub::Hub;
use crate::ids::{GroupId, VisitorId, VisitorKey};
use crate::limits;
use crate::model::visitor::State;

/// The groups that wait to be read again.
#[derive(Debug, Default)]
pub(super) struct Rereads(Mutex<Turns>);

#[derive(Debug, Default)]
struct Turns {
    waiting: BTreeSet<GroupId>,
    /// Could not be read; soon they wait again.
    put_off: BTreeSet<GroupId>,
    running: bool,
}

impl Rereads {
    /// These wait from now on. True if nobody reads yet.
    fn begin(&self, groups: impl IntoIterator<Item = GroupId>) -> bool {
        let mut turns = self.0.lock();
        turns.waiting.extend(groups);
        !turns.waiting.is_empty() && !std::mem::replace(&mut turns.running, true)
    }

    /// The next one; with `None` nobody reads any more.
    fn next(&self) -> Option<GroupId> {
        let mut turns = self.0.lock();
        let next = turns.waiting.pop_first();
        turns.running = next.is_some();
        next
    }

    /// True if it was not put off already.
    fn put_off(&self, group: &GroupId) -> bool {
        self.0.lock().put_off.insert(group.clone())
    }

    fn no_longer_put_off(&self, group: &GroupId) {
        self.0.lock().put_off.remove(group);
    }
}

impl Hub {
    pub(super) fn reread_all(self: &Arc<Self>) {
        let mut groups: BTreeSet<GroupId> = self.elsewhere.groups().into_iter().collect();
        groups.extend(self.watchers.groups());
        groups.extend(self.operators.groups());
        groups.extend(self.operators.session_groups());
        self.reread(groups);
    }

    /// Reads what is watched of these groups again: one group at a time, each once however often it is asked for, and
    /// again where that fails.
    pub(in crate::hub) fn reread(self: &Arc<Self>, groups: impl IntoIterator<Item = GroupId>) {
        if self.elsewhere.rereads.begin(groups) {
            let hub = Arc::clone(self);
            self.runtime.spawn(async move {
                while let Some(group) = hub.elsewhere.rereads.next() {
                    hub.meters.rereads.increment(1);
                    let sessions = !hub.operators.has_sessions(&group)
                        || is_read(&group, hub.read_far_sessions(&group).await);
                    if !is_read(&group, hub.reread_group(&group).await) || !sessions {
                        hub.reread_later(group);
                    }
                }
            });
        }
    }

    fn reread_later(self: &Arc<Self>, group: GroupId) {
        if self.elsewhere.rereads.put_off(&group) {
            let hub = Arc::downgrade(self);
            self.runtime.spawn(async move {
                tokio::time::sleep(limits::REREAD_RETRY).await;
                if let Some(hub) = hub.upgrade() {
                    hub.elsewhere.rereads.no_longer_put_off(&group);
                    hub.reread([group]);
                }
            });
        }
    }

    async fn reread_group(self: &Arc<Self>, group: &GroupId) -> Result<(), DirectoryError> {
        let key = |visitor: &VisitorId| VisitorKey { group: group.clone(), visitor: visitor.clone() };
        let mut wanted: HashSet<VisitorId> = self.watchers.named(group).into_iter().collect();
        wanted.extend(self.operators.named(group));
        let there = self.elsewhere.all(group).into_iter().filter(|word| word.state() != State::Absent);
        wanted.extend(there.map(|word| word.key().visitor.clone()));
        if self.watchers.has_live(group) || self.operators.has_whole(group) {
            let began = self.elsewhere.moment();
            let sight = self.directory.list(self.node, group).await?;
            for word in sight.visitors.iter().flatten().filter(|word| !self.is_here(word.key())) {
                wanted.remove(&word.key().visitor);
                let is_new = self.elsewhere.get(word.key()).is_none();
                let held = self.take_read(began, Arc::clone(word));
                if is_new && held.state() != State::Absent {
                    self.tell_here(&held);
                }
            }
        }
        // Whoever is not found is read by name: it may have come meanwhile.
        let wanted: Vec<VisitorId> =
            wanted.into_iter().filter(|visitor| !self.is_here(&key(visitor))).collect();
        for visitors in wanted.chunks(limits::DIRECTORY_BATCH) {
            let began = self.elsewhere.moment();
            let sight = Ok(self.directory.lookup(self.node, group, visitors).await?);
            for (at, visitor) in visitors.iter().enumerate() {
                let key = key(visitor);
                if !self.is_here(&key) {
                    self.take_read(began, self.word(&key, &sight, at));
                }
            }
        }
        Ok(())
    }
}

fn is_read<T, E: std::error::Error + 'static>(group: &GroupId, read: Result<T, E>) -> bool {
    if let Err(error) = &read {
        tracing::debug!(%group, error = error as &dyn std::error::Error, "what other nodes have is not read");
    }
    read.is_ok()
}
