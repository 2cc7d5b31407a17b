//! A vault for the hubs of one process: the default of a single node, and the reference that others are held to.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Held, Place, Put, SavedSession, Seen, Vault, VaultError};
use crate::auth::opaque::Digest;
use crate::cluster::NodeId;
use crate::ids::{GroupId, SessionId, VisitorKey};
use crate::limits;

/// Keeps sessions as they would be written, for as long as the process lives.
#[derive(Debug)]
pub struct MemoryVault {
    life: Duration,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    sessions: HashMap<SessionId, Entry>,
    of: HashMap<VisitorKey, SessionId>,
    /// Sessions that ended, the earliest first.
    over: VecDeque<(Instant, SessionId)>,
    /// On which nodes they did.
    last: HashMap<SessionId, (NodeId, GroupId, Option<Seen>)>,
    /// What guests type, and until when it is kept.
    keys: HashMap<Digest, (SessionId, Instant)>,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    fence: u64,
    text: String,
    seen: Option<Seen>,
    until: Instant,
}

impl Default for MemoryVault {
    fn default() -> Self {
        Self::new(limits::SESSION_LENGTH + limits::SAVED_MARGIN)
    }
}

impl MemoryVault {
    /// One that keeps each session for so long after it was saved.
    pub fn new(life: Duration) -> Self {
        Self { life, kept: Mutex::default() }
    }
}

impl Kept {
    fn sweep(&mut self, now: Instant) {
        let late = self.sessions.iter().filter(|(_, entry)| entry.until <= now).map(|(id, _)| *id);
        for id in late.take(limits::SAVED_SWEEP).collect::<Vec<_>>() {
            self.forget(id);
        }
        while let Some((_, over)) = self.over.pop_front_if(|(until, _)| *until <= now) {
            self.last.remove(&over);
        }
    }

    fn forget(&mut self, id: SessionId) {
        let Some(entry) = self.sessions.remove(&id) else { return };
        if let Some(key) = key_of(&entry.place)
            && self.of.get(&key) == Some(&id)
        {
            self.of.remove(&key);
        }
    }

    fn live(&self, id: SessionId) -> Option<&Entry> {
        self.sessions.get(&id).filter(|entry| entry.until > Instant::now())
    }
}

fn key_of(place: &Place) -> Option<VisitorKey> {
    let visitor = place.visitor.clone()?;
    Some(VisitorKey { group: place.group.clone(), visitor })
}

#[async_trait]
impl Vault for MemoryVault {
    async fn put(&self, saved: &SavedSession, owner: NodeId, fence: u64) -> Result<Put, VaultError> {
        let text = saved.write()?;
        let now = Instant::now();
        let (id, visitor) = (saved.id(), saved.machine.visitor().cloned());
        let mut kept = self.kept.lock();
        if kept.last.contains_key(&id) {
            return Ok(Put::Over);
        }
        if let Some(entry) = kept.live(id) {
            if entry.place.owner != Some(owner) {
                return Ok(Put::Foreign(entry.place.owner));
            }
            if entry.fence > fence {
                return Ok(Put::Stale);
            }
        } else {
            // Looked for only when a session is new, so that saving costs nothing more with many of them.
            kept.sweep(now);
        }
        let place = Place { group: saved.group.clone(), visitor, owner: Some(owner) };
        if let Some(key) = key_of(&place) {
            kept.of.insert(key, id);
        }
        kept.sessions.insert(id, Entry { place, fence, text, seen: saved.seen(), until: now + self.life });
        Ok(Put::Kept)
    }

    async fn find(&self, session: SessionId) -> Result<Option<Place>, VaultError> {
        Ok(self.kept.lock().live(session).map(|entry| entry.place.clone()))
    }

    async fn ended_on(&self, session: SessionId) -> Result<Option<NodeId>, VaultError> {
        Ok(self.kept.lock().last.get(&session).map(|(node, ..)| *node))
    }

    async fn adopt(
        &self,
        session: SessionId,
        from: Option<NodeId>,
        to: NodeId,
    ) -> Result<Option<SavedSession>, VaultError> {
        let mut kept = self.kept.lock();
        let now = Instant::now();
        let Some(entry) = kept.sessions.get_mut(&session) else { return Ok(None) };
        if entry.until <= now || entry.place.owner != from {
            return Ok(None);
        }
        let saved = SavedSession::read(&entry.text)?;
        if from != Some(to) {
            entry.place.owner = Some(to);
            entry.fence = 0;
        }
        Ok(Some(saved))
    }

    async fn release(&self, session: SessionId, owner: NodeId) -> Result<bool, VaultError> {
        let mut kept = self.kept.lock();
        let entry = kept.sessions.get_mut(&session).filter(|entry| entry.place.owner == Some(owner));
        Ok(entry.map(|entry| entry.place.owner = None).is_some())
    }

    async fn end(
        &self,
        group: &GroupId,
        session: SessionId,
        owner: NodeId,
        last: Option<&Seen>,
    ) -> Result<bool, VaultError> {
        let now = Instant::now();
        let mut kept = self.kept.lock();
        let known = kept.live(session).map(|entry| entry.place.owner);
        if known.is_some_and(|known| known != Some(owner)) {
            return Ok(false);
        }
        kept.forget(session);
        kept.sweep(now);
        if kept.last.insert(session, (owner, group.clone(), last.cloned())).is_none() {
            kept.over.push_back((now + limits::SAVED_MARGIN.min(self.life), session));
        }
        Ok(known.is_some())
    }

    async fn seen(&self, group: &GroupId, session: SessionId) -> Result<Option<Seen>, VaultError> {
        let kept = self.kept.lock();
        let live = kept.live(session).filter(|entry| entry.place.group == *group);
        let over = || {
            let (_, of, seen) = kept.last.get(&session)?;
            seen.clone().filter(|_| of == group)
        };
        Ok(live.and_then(|entry| entry.seen.clone()).or_else(over))
    }

    async fn all_seen(&self, group: &GroupId) -> Result<Vec<Seen>, VaultError> {
        let (kept, now) = (self.kept.lock(), Instant::now());
        let of_group = |entry: &&Entry| entry.place.group == *group && entry.until > now;
        Ok(kept.sessions.values().filter(of_group).filter_map(|entry| entry.seen.clone()).collect())
    }

    async fn of_visitor(&self, key: &VisitorKey) -> Result<Option<SessionId>, VaultError> {
        let kept = self.kept.lock();
        Ok(kept.of.get(key).copied().filter(|id| kept.live(*id).is_some()))
    }

    async fn hold_key(&self, key: &Digest, session: SessionId, most: u64) -> Result<Held, VaultError> {
        let now = Instant::now();
        let mut kept = self.kept.lock();
        match kept.keys.get(key) {
            Some((other, until)) if *until > now && *other != session => return Ok(Held::Taken),
            Some(_) => {}
            None => {
                kept.keys.retain(|_, (_, until)| *until > now);
                if kept.keys.len() as u64 >= most {
                    return Ok(Held::Full);
                }
            }
        }
        kept.keys.insert(*key, (session, now + self.life));
        Ok(Held::Held)
    }

    async fn find_key(&self, key: &Digest) -> Result<Option<SessionId>, VaultError> {
        let kept = self.kept.lock();
        Ok(kept.keys.get(key).filter(|(_, until)| *until > Instant::now()).map(|(session, _)| *session))
    }

    async fn free_key(&self, key: &Digest, session: SessionId) -> Result<(), VaultError> {
        let mut kept = self.kept.lock();
        if kept.keys.get(key).is_some_and(|(owner, _)| *owner == session) {
            kept.keys.remove(key);
        }
        Ok(())
    }

    async fn groups(&self) -> Result<Vec<GroupId>, VaultError> {
        let kept = self.kept.lock();
        let mut groups: Vec<_> = kept.sessions.values().map(|entry| entry.place.group.clone()).collect();
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }

    async fn orphans(
        &self,
        group: &GroupId,
        alive: &[NodeId],
        most: usize,
    ) -> Result<Vec<(SessionId, Option<NodeId>)>, VaultError> {
        let now = Instant::now();
        let kept = self.kept.lock();
        let lost = kept.sessions.iter().filter(|(_, entry)| {
            let lives = entry.place.owner.is_some_and(|owner| alive.contains(&owner));
            entry.place.group == *group && entry.until > now && !lives
        });
        Ok(lost.map(|(id, entry)| (*id, entry.place.owner)).take(most).collect())
    }
}
