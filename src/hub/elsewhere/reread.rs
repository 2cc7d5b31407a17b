//! What may have been missed is read again, until that succeeds.
//!
//! Decides what is read of a group, and that groups take turns. Does not decide when something may have been missed, or
//! what is done with what was read.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Near, keeps, may_be_elsewhere, take_read, word};
use crate::cluster::DirectoryError;
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

/// Reads everything again that is watched.
pub(super) fn reread_all<N: Near>(near: &Arc<N>) {
    let mut groups: BTreeSet<GroupId> = near.elsewhere().groups();
    groups.extend(near.wanted());
    reread(near, groups);
}

/// Reads what is watched of these groups again: one group at a time, each once however often it is asked for, and
/// again where that fails.
pub(super) fn reread<N: Near>(near: &Arc<N>, groups: impl IntoIterator<Item = GroupId>) {
    if near.elsewhere().rereads.begin(groups) {
        let hub = Arc::clone(near);
        near.spawn(async move {
            while let Some(group) = hub.elsewhere().rereads.next() {
                let aside = hub.rereads(&group).await;
                if !is_read(&group, reread_group(&hub, &group).await) || !aside {
                    reread_later(&hub, group);
                }
            }
        });
    }
}

/// Reads what is watched of a group again, but not at once.
pub(super) fn reread_later<N: Near>(near: &Arc<N>, group: GroupId) {
    if near.elsewhere().rereads.put_off(&group) {
        let hub = Arc::downgrade(near);
        near.spawn(async move {
            tokio::time::sleep(limits::REREAD_RETRY).await;
            if let Some(hub) = hub.upgrade() {
                hub.elsewhere().rereads.no_longer_put_off(&group);
                reread(&hub, [group]);
            }
        });
    }
}

async fn reread_group<N: Near>(near: &Arc<N>, group: &GroupId) -> Result<(), DirectoryError> {
    let key = |visitor: &VisitorId| VisitorKey { group: group.clone(), visitor: visitor.clone() };
    let mut wanted: BTreeSet<VisitorId> = near.named(group);
    let there = near.elsewhere().all(group).into_iter().filter(|word| word.state() != State::Absent);
    wanted.extend(there.map(|word| word.key().visitor.clone()));
    let mut told = Vec::new();
    if near.has_whole(group) {
        let began = near.elsewhere().moment();
        let sight = near.directory().list(near.node(), group).await?;
        for word in sight.visitors.iter().flatten().filter(|word| !keeps(near, word)) {
            wanted.remove(&word.key().visitor);
            take_read(near, began, Arc::clone(word), &mut told);
        }
    }
    // Whoever is not found is read by name: it may have come meanwhile.
    let wanted: Vec<VisitorId> =
        wanted.into_iter().filter(|visitor| may_be_elsewhere(&**near, &key(visitor))).collect();
    for visitors in wanted.chunks(limits::DIRECTORY_BATCH) {
        let began = near.elsewhere().moment();
        let sight = Ok(near.directory().lookup(near.node(), group, visitors).await?);
        for (at, visitor) in visitors.iter().enumerate() {
            let word = word(near, &key(visitor), &sight, at);
            if !keeps(near, &word) {
                take_read(near, began, word, &mut told);
            }
        }
    }
    near.directory().outbid(group, told);
    Ok(())
}

/// True if it succeeded; tells why not.
pub(super) fn is_read<T, E: std::error::Error + 'static>(group: &GroupId, read: Result<T, E>) -> bool {
    if let Err(error) = &read {
        tracing::debug!(%group, error = error as &dyn std::error::Error, "what other nodes have is not read");
    }
    read.is_ok()
}
