//! What all nodes share on Redis: rows ([`RedisStore`]), and the event log with feeds and leads ([`RedisLog`]),
//! for consumers that read Redis themselves as well.
//!
//! Decides how events become keys. The stream of a group carries its sequences as ids, so that reading behind
//! one is a range; one script appends, so that an append of a group is done or not. Events of several groups
//! are appended group by group: an error may leave some groups done, and repeating does only what is left.
//!
//! Session records are folded from the log by whoever reads on: each group has a place up to which it was folded,
//! and a fold writes the records of a page and the place behind it in one script, if the place is still where
//! the folder began. [`EventLog::append`] answers when what it appended is folded too, and reads end where the
//! fold ends, so that whoever reads the log here finds the records as far as what it read; a crash between the
//! two is made up for by the next fold, on whichever node.
//!
//! Every node knows the newest sequence that it saw: none is given again while one that knows it lives, even if
//! Redis lost its last writes or all of them. What is lost shows as a gap, and readers are told so.

mod fold;
mod import;
mod keys;
mod live;
mod log;
mod moved;
mod receipts;
mod records;
mod rows;
mod shared;
mod store;
mod sync;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use dashmap::DashMap;
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;

pub use import::{Counted, Import};
pub use live::RedisState;
pub use moved::{Moved, Stage};
pub use receipts::RedisReceipts;
pub use store::RedisStore;
pub use sync::RedisSync;

use self::live::Live;
use self::log::Log;
use super::StoreError;
use super::events::{After, EventLog, Page, Retention};
use super::feed::{Feed, Follow, LeadRow, Leads, Posts, PostsQuery};
use crate::clock::Wall;
use crate::ids::{AgentKey, EventId, GroupId, SessionId};
use crate::limits;
use crate::model::event::Event;
use crate::model::feed::{Item, Place};
#[cfg(test)]
use crate::redis::server;

/// A log on Redis, folded into the records of a [`RedisStore`] there.
pub struct RedisLog {
    inner: Arc<Inner>,
    live: Live,
}

struct Inner {
    log: Log,
    store: Arc<RedisStore>,
    groups: DashMap<GroupId, Arc<Folded>>,
    closed: CancellationToken,
}

/// One group's log as far as it was folded.
struct Folded {
    /// One fold at a time.
    turn: tokio::sync::Mutex<()>,
    /// Known once it was read.
    known: OnceCell<()>,
    place: watch::Sender<u64>,
    /// The newest sequence that was given to anybody, as far as this process knows.
    given: AtomicU64,
    /// Whether somebody waits for what comes.
    followed: std::sync::Once,
}

impl Default for Folded {
    fn default() -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            known: OnceCell::new(),
            place: watch::Sender::new(0),
            given: AtomicU64::new(0),
            followed: std::sync::Once::new(),
        }
    }
}

impl RedisLog {
    /// A log where the store is. Folds what was appended but not folded yet. From now on the store hears what
    /// other nodes change.
    pub async fn open(store: Arc<RedisStore>) -> Result<Self, StoreError> {
        let log = Log::new(store.link.clone());
        let live = Live::start(log.clone(), Arc::clone(&store));
        let inner = Inner { log, store, groups: DashMap::new(), closed: CancellationToken::new() };
        for group in inner.store.group_ids().await? {
            inner.fold(&group, None).await?;
        }
        Ok(Self { inner: Arc::new(inner), live })
    }

    /// How Redis is.
    pub fn state(&self) -> RedisState {
        self.live.state()
    }

    /// Refuses new work and tells readers that nothing comes any more.
    pub fn close(&self) {
        self.inner.closed.cancel();
        self.inner.groups.clear();
    }
}

impl Inner {
    fn group(&self, group: &GroupId) -> Arc<Folded> {
        Arc::clone(&self.groups.entry(group.clone()).or_default())
    }

    /// A group's state, with its place.
    async fn known(&self, group: &GroupId) -> Result<Arc<Folded>, StoreError> {
        if self.closed.is_cancelled() {
            return Err(StoreError::Closed);
        }
        let folded = self.group(group);
        let load = async || -> Result<(), StoreError> {
            self.store.note_group(group).await?;
            folded.reached(self.store.folded(group).await?);
            Ok(())
        };
        folded.known.get_or_try_init(load).await?;
        Ok(folded)
    }

    /// Folds what is in the log, at least until a sequence that is there, or else until its end.
    async fn fold(&self, group: &GroupId, until: Option<u64>) -> Result<(), StoreError> {
        let folded = self.known(group).await?;
        let _turn = folded.turn.lock().await;
        let mut place = *folded.place.borrow();
        loop {
            if until.is_some_and(|until| place >= until) {
                return Ok(());
            }
            let page = self.log.read(group, After::Sequence(place)).await?;
            if page.cursor <= place {
                if page.cursor < place {
                    let ends = page.cursor;
                    tracing::error!(%group, ends, folded = place, "the log in Redis ends before what was folded");
                }
                return Ok(());
            }
            if !page.recovered {
                tracing::error!(%group, behind = place, "events are missing in Redis, no record holds them");
            }
            // Where others have come meanwhile, or whereto Redis has fallen back: it goes on from there.
            place = self.store.fold(group, place, page.events, page.cursor).await?;
            folded.reached(place);
        }
    }

    /// Folds whatever others append, while anybody waits for it.
    async fn follow(inner: Weak<Self>, group: GroupId, mut newest: watch::Receiver<u64>) {
        while newest.changed().await.is_ok() {
            let until = *newest.borrow_and_update();
            loop {
                let Some(inner) = inner.upgrade() else { return };
                match inner.fold(&group, Some(until)).await {
                    Ok(()) => break,
                    Err(StoreError::Closed) => return,
                    Err(error) => tracing::warn!(%group, %error, "can't fold a log, trying again"),
                }
                drop(inner);
                tokio::time::sleep(limits::EVENT_RETRY.1).await;
            }
        }
    }
}

impl Folded {
    fn reached(&self, place: u64) {
        self.given.fetch_max(place, Ordering::Relaxed);
        self.place.send_if_modified(|known| {
            let later = place > *known;
            *known = (*known).max(place);
            later
        });
    }
}

#[async_trait]
impl EventLog for RedisLog {
    async fn append(&self, events: Vec<Event>) -> Result<Vec<u64>, StoreError> {
        let mut groups: Vec<(GroupId, Vec<usize>)> = Vec::new();
        for (at, event) in events.iter().enumerate() {
            match groups.iter_mut().find(|(group, _)| *group == event.group) {
                Some((_, places)) => places.push(at),
                None => groups.push((event.group.clone(), vec![at])),
            }
        }
        let mut sequences = vec![0; events.len()];
        for (group, places) in groups {
            let folded = self.inner.known(&group).await?;
            let own: Vec<Event> = places.iter().map(|at| events[*at].clone()).collect();
            let given = self.inner.log.append(&group, &own, folded.given.load(Ordering::Relaxed)).await?;
            let newest = given.iter().copied().max().unwrap_or_default();
            folded.given.fetch_max(newest, Ordering::Relaxed);
            for (at, sequence) in places.into_iter().zip(given) {
                sequences[at] = sequence;
            }
            match self.inner.fold(&group, Some(newest)).await {
                Err(error) if error.is_passing() || matches!(error, StoreError::Closed) => return Err(error),
                // The events are in the log and worth more than the records.
                Err(error) => tracing::error!(%group, %error, "a log cannot be folded"),
                Ok(()) => {}
            }
        }
        Ok(sequences)
    }

    async fn read(&self, group: &GroupId, after: After) -> Result<Page, StoreError> {
        let folded = self.inner.known(group).await?;
        let mut page = self.inner.log.read(group, after).await?;
        if page.events.is_empty() {
            return Ok(page);
        }
        if page.cursor > *folded.place.borrow()
            && let Err(error) = self.inner.fold(group, Some(page.cursor)).await
        {
            tracing::debug!(%group, %error, "what is not folded is not read");
        }
        let place = *folded.place.borrow();
        let from = page.events[0].sequence - 1;
        page.events.retain(|logged| logged.sequence <= place);
        page.cursor = page.events.last().map_or(from, |logged| logged.sequence);
        Ok(page)
    }

    async fn timeline(&self, group: &GroupId, session: SessionId, after: u64) -> Result<Page, StoreError> {
        self.inner.known(group).await?;
        self.inner.log.timeline(group, session, after).await
    }

    fn newest(&self, group: &GroupId) -> watch::Receiver<u64> {
        let folded = self.inner.group(group);
        let newest = folded.place.subscribe();
        folded.followed.call_once(|| {
            let follow = Inner::follow(Arc::downgrade(&self.inner), group.clone(), self.live.newest(group));
            tokio::spawn(self.inner.closed.clone().run_until_cancelled_owned(follow));
        });
        newest
    }

    async fn trim(&self, group: &GroupId, keep: Retention, now: Wall) -> Result<u64, StoreError> {
        self.inner.known(group).await?;
        self.inner.log.trim(group, keep, now).await
    }
}

#[async_trait]
impl Feed for RedisLog {
    async fn posts(
        &self,
        group: &GroupId,
        place: &Place,
        query: PostsQuery,
    ) -> Result<Option<Posts>, StoreError> {
        self.inner.log.posts(group, place, query).await
    }

    async fn post(&self, group: &GroupId, id: EventId) -> Result<Option<Item>, StoreError> {
        self.inner.log.post(group, id).await
    }

    async fn follow(&self, agent: &AgentKey, place: &Place) -> Result<Follow, StoreError> {
        let room = self.inner.store.follow(agent, (&place.object, &place.id)).await?;
        Ok(if room { Follow::Follows } else { Follow::TooMany })
    }

    async fn unfollow(&self, agent: &AgentKey, place: &Place) -> Result<(), StoreError> {
        self.inner.store.unfollow(agent, (&place.object, &place.id)).await
    }

    async fn followed(&self, agent: &AgentKey) -> Result<Vec<Place>, StoreError> {
        let places = self.inner.store.followed(agent).await?;
        Ok(places.into_iter().map(|(object, id)| Place { object: object.into(), id: id.into() }).collect())
    }
}

#[async_trait]
impl Leads for RedisLog {
    async fn leads(&self, group: &GroupId, after: u64, most: usize) -> Result<Vec<LeadRow>, StoreError> {
        self.inner.log.leads(group, after, most).await
    }
}

#[cfg(test)]
mod tests;
