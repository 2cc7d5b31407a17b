//! What all nodes told of their visitors, judged by who is up; what dead nodes had told is taken out by whoever
//! finds it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::entry::{Entry, Keys};
use super::table::{Standing, Term};
use super::{Inner, SWEEP};
use crate::cluster::{DirectoryError, Sight};
use crate::ids::{GroupId, VisitorId, VisitorKey};
use crate::limits;
use crate::model::visitor::{Snapshot, VisitorView};

/// Fields of a hash with their values.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What an entry comes to.
#[derive(Debug, Clone, Default)]
struct Seen {
    visitor: Option<Arc<Snapshot>>,
    dead: Option<Term>,
    stranger: Option<Term>,
}

impl Inner {
    /// What an entry says of a visitor of another node; `None` where nobody is there, and with it who is to be
    /// swept away.
    fn seen(&self, key: &VisitorKey, bytes: &[u8]) -> Seen {
        let Some(entry) = Entry::read(bytes) else { return Seen::default() };
        let visitor = entry.visitor().filter(|visitor| visitor.key() == key);
        let absent = || {
            let since = visitor.as_ref().map_or_else(|| (self.wall)(), Snapshot::since);
            Some(Arc::new(VisitorView::absent(key, since, entry.version).snapshot()))
        };
        let told = |visitor: &Snapshot| Some(Arc::new(visitor.clone()));
        if self.me().is_some_and(|me| me.node == entry.home.node) {
            return Seen { visitor: absent(), ..Seen::default() };
        }
        match self.table.read().standing(entry.home) {
            Standing::Sure => Seen { visitor: visitor.as_ref().map_or_else(absent, told), ..Seen::default() },
            Standing::Doubt(since) => {
                let unknown =
                    visitor.as_ref().map(|visitor| Arc::new(visitor.view().unknown(since).snapshot()));
                Seen { visitor: unknown.or_else(absent), ..Seen::default() }
            }
            Standing::Gone => Seen { visitor: absent(), dead: Some(entry.home), ..Seen::default() },
            Standing::Stranger => Seen { visitor: absent(), stranger: Some(entry.home), ..Seen::default() },
        }
    }

    /// Judges what was read, after another look at who is up if somebody is new.
    async fn judged(&self, read: &[(VisitorKey, Vec<u8>)]) -> Vec<Seen> {
        let mut seen: Vec<Seen> = read.iter().map(|(key, bytes)| self.seen(key, bytes)).collect();
        if seen.iter().any(|seen| seen.stranger.is_some()) {
            let is_fresh = self.refresh(Instant::now()).await;
            for (seen, (key, bytes)) in seen.iter_mut().zip(read).filter(|(seen, _)| seen.stranger.is_some())
            {
                *seen = self.seen(key, bytes);
                // A node that even a fresh look does not find was forgotten long ago.
                seen.dead = seen.dead.or(seen.stranger.filter(|_| is_fresh));
            }
        }
        seen
    }

    pub(super) async fn lookup(
        &self,
        group: &GroupId,
        visitors: &[VisitorId],
    ) -> Result<Sight, DirectoryError> {
        let keys = Keys(group);
        let mut sight = Sight { floor: u64::MAX, ..Sight::default() };
        for visitors in visitors.chunks(limits::DIRECTORY_BATCH) {
            let mut commands = redis::pipe();
            // The floor first: whoever comes after it is above it.
            commands.cmd("GET").arg(keys.floor()).cmd("HMGET").arg(keys.visitors());
            for visitor in visitors {
                commands.arg(visitor.as_str());
            }
            let (floor, found): (Option<u64>, Vec<Option<Vec<u8>>>) = self.read(&commands).await?;
            sight.floor = sight.floor.min(self.floor(group, floor).await);
            let key = |visitor: &VisitorId| VisitorKey { group: group.clone(), visitor: visitor.clone() };
            let mut read = Vec::new();
            let mut places = Vec::new();
            for (at, (visitor, found)) in visitors.iter().zip(found).enumerate() {
                if let Some(bytes) = found {
                    read.push((key(visitor), bytes));
                    places.push(at);
                }
            }
            let begin = sight.visitors.len();
            sight.visitors.resize(begin + visitors.len(), None);
            let seen = self.judged(&read).await;
            for (at, seen) in places.into_iter().zip(&seen) {
                sight.visitors[begin + at].clone_from(&seen.visitor);
            }
            self.sweep(group, &read, &seen).await;
        }
        self.still_certain(&mut sight)?;
        Ok(sight)
    }

    pub(super) async fn list(&self, group: &GroupId) -> Result<Sight, DirectoryError> {
        let keys = Keys(group);
        let mut first = redis::pipe();
        first.cmd("GET").arg(keys.floor());
        let (floor,): (Option<u64>,) = self.read(&first).await?;
        let floor = self.floor(group, floor).await;
        let mut found: BTreeMap<VisitorId, Arc<Snapshot>> = BTreeMap::new();
        let mut cursor = 0;
        loop {
            let mut commands = redis::pipe();
            commands.cmd("HSCAN").arg(keys.visitors()).arg(cursor).arg("COUNT").arg(limits::DIRECTORY_BATCH);
            let ((next, page),): ((u64, Fields),) = self.read(&commands).await?;
            let read: Vec<(VisitorKey, Vec<u8>)> = page
                .into_iter()
                .filter_map(|(visitor, bytes)| {
                    let visitor = VisitorId::new(std::str::from_utf8(&visitor).ok()?).ok()?;
                    Some((VisitorKey { group: group.clone(), visitor }, bytes))
                })
                .collect();
            let seen = self.judged(&read).await;
            for ((key, _), seen) in read.iter().zip(&seen) {
                if let Some(visitor) = &seen.visitor {
                    found.insert(key.visitor.clone(), Arc::clone(visitor));
                }
            }
            self.sweep(group, &read, &seen).await;
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        let mut sight = Sight { visitors: found.into_values().map(Some).collect(), floor, doubt: None };
        self.still_certain(&mut sight)?;
        Ok(sight)
    }

    /// The greatest version of a group, as read. Where it was greater before, Redis has forgotten, and another look at
    /// who is up shows whom it has forgotten.
    async fn floor(&self, group: &GroupId, read: Option<u64>) -> u64 {
        let read = read.unwrap_or(0);
        let before = self.floors.lock().insert(group.clone(), read);
        if before.is_some_and(|before| before > read) {
            self.refresh(Instant::now()).await;
        }
        read
    }

    /// What was read holds only if Redis is heard now: a process that stood still knows nothing.
    fn still_certain(&self, sight: &mut Sight) -> Result<(), DirectoryError> {
        self.up()?;
        sight.doubt = self.table.read().doubt();
        if sight.visitors.is_empty() && sight.floor == u64::MAX {
            sight.floor = 0;
        }
        Ok(())
    }

    /// Takes out the entries that were found to be of nodes that are no more.
    async fn sweep(&self, group: &GroupId, read: &[(VisitorKey, Vec<u8>)], seen: &[Seen]) {
        let keys = Keys(group);
        let mut call = SWEEP.key(keys.visitors());
        call.key(keys.floor()).arg("0");
        let mut dead = 0;
        for ((key, _), seen) in read.iter().zip(seen) {
            if let Some(home) = seen.dead {
                call.arg(key.visitor.as_str()).arg(home.to_string());
                dead += 1;
            }
        }
        if dead == 0 {
            return;
        }
        match self.run::<u64>(&call).await {
            Ok(swept) => tracing::debug!(%group, swept, "took out what dead nodes had told"),
            Err(error) => tracing::debug!(%group, %error, "can't take out what dead nodes had told"),
        }
    }

    /// Takes out everything that dead nodes had told, group by group. One node does, or none: what is left is taken
    /// out by whoever reads it.
    pub(super) async fn sweep_all(&self) {
        let Some(source) = self.source() else { return };
        for group in source.groups() {
            if let Err(error) = self.list(&group).await {
                tracing::debug!(%group, %error, "can't look for what dead nodes had told");
                return;
            }
        }
    }
}
