//! The operators' door: presence and sessions of a group as they change, and what may be done to a visitor.
//!
//! A watch is an index entry and the words that wait for its reader; dropping it takes both back. Who may
//! watch, and until when, the admin edge decides.

use std::collections::HashSet;
use std::sync::Arc;

use dashmap::DashMap;

use super::Hub;
use super::newest::{Newest, Scope, Word};
use super::sessions::LiveSession;
use super::visitors::check_named;
use crate::cluster::Follow;
use crate::ids::{GroupId, SessionId, VisitorId, VisitorKey};
use crate::limits;
use crate::model::presence::Input;
use crate::model::session::View;
use crate::model::signal::{Delivery as Outcome, Signal};
use crate::model::visitor::{Snapshot, State};
use crate::wire::agent::Delivery;
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::message::{Raw, Text};

/// Why a watch was not opened.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The node has as many as it may.
    #[error("{} watches are open already", limits::ADMIN_WATCHES)]
    TooMany,
    /// The visitors of other nodes can't be read.
    #[error(transparent)]
    Directory(#[from] crate::cluster::DirectoryError),
    /// The sessions of other nodes can't be read.
    #[error(transparent)]
    Vault(#[from] crate::cluster::vault::VaultError),
}

impl Word for Arc<Snapshot> {
    fn version(&self) -> u64 {
        Snapshot::version(self)
    }

    fn is_over(&self) -> bool {
        self.state() == State::Absent
    }

    /// The directory's doubt, and its end, are words of the same version.
    fn face(&self) -> u8 {
        self.state() as u8
    }
}

/// A session as it was after so many steps.
#[derive(Debug, Clone)]
pub struct SessionWord {
    /// The session.
    pub view: View,
    /// Its steps so far.
    pub step: u64,
}

impl Word for SessionWord {
    fn version(&self) -> u64 {
        self.step
    }

    fn is_over(&self) -> bool {
        self.view.ended.is_some()
    }
}

/// A wish for the presence of a group's visitors.
#[derive(Debug)]
struct PresenceWish {
    /// Only these.
    only: Option<HashSet<VisitorId>>,
    newest: Newest<VisitorId, Arc<Snapshot>>,
}

/// A wish for a group's sessions.
#[derive(Debug)]
struct SessionWish {
    /// Only this visitor's.
    only: Option<VisitorId>,
    newest: Newest<SessionId, SessionWord>,
}

/// All wishes of this node's operators, by group.
#[derive(Debug, Default)]
pub(super) struct OperatorWishes {
    presence: DashMap<GroupId, Vec<Arc<PresenceWish>>>,
    sessions: DashMap<GroupId, Vec<Arc<SessionWish>>>,
}

impl OperatorWishes {
    /// Whether any operator would be told of a change of this visitor.
    pub(super) fn concern(&self, key: &VisitorKey) -> bool {
        self.presence
            .get(&key.group)
            .is_some_and(|wishes| wishes.iter().any(|wish| wish.concerns(&key.visitor)))
    }

    /// The visitors of a group that operators named.
    pub(super) fn named(&self, group: &GroupId) -> Vec<VisitorId> {
        let Some(wishes) = self.presence.get(group) else { return Vec::new() };
        wishes.iter().filter_map(|wish| wish.only.as_ref()).flatten().cloned().collect()
    }

    /// Whether an operator named this visitor.
    pub(super) fn is_named(&self, key: &VisitorKey) -> bool {
        let named =
            |wish: &Arc<PresenceWish>| wish.only.as_ref().is_some_and(|only| only.contains(&key.visitor));
        self.presence.get(&key.group).is_some_and(|wishes| wishes.iter().any(named))
    }

    /// Whether an operator watches all of a group.
    pub(super) fn has_whole(&self, group: &GroupId) -> bool {
        self.presence.get(group).is_some_and(|wishes| wishes.iter().any(|wish| wish.only.is_none()))
    }

    /// The groups whose visitors operators watch.
    pub(super) fn groups(&self) -> Vec<GroupId> {
        self.presence.iter().map(|wishes| wishes.key().clone()).collect()
    }

    /// Tells whoever wants to hear of this visitor.
    pub(super) fn tell_presence(&self, snapshot: &Arc<Snapshot>) {
        let key = snapshot.key();
        let Some(wishes) = self.presence.get(&key.group) else { return };
        for wish in wishes.iter().filter(|wish| wish.concerns(&key.visitor)) {
            wish.newest.push(&key.visitor, Arc::clone(snapshot));
        }
    }

    /// Whether any operator would be told of a change of this session.
    pub(super) fn concern_session(&self, group: &GroupId, visitor: Option<&VisitorId>) -> bool {
        self.sessions.get(group).is_some_and(|wishes| wishes.iter().any(|wish| wish.concerns(visitor)))
    }

    /// Tells whoever wants to hear of this session.
    pub(super) fn tell_session(&self, session: &LiveSession) {
        // The session is read before the index is locked, as it is the other way round elsewhere.
        self.tell_session_word(&session.group, &session.word());
    }

    /// The same of a session of any node.
    pub(super) fn tell_session_word(&self, group: &GroupId, word: &SessionWord) {
        let Some(wishes) = self.sessions.get(group) else { return };
        for wish in wishes.iter().filter(|wish| wish.concerns(word.view.visitor.as_ref())) {
            wish.newest.push(&word.view.id, word.clone());
        }
    }

    /// Whether any operator watches sessions of a group.
    pub(super) fn has_sessions(&self, group: &GroupId) -> bool {
        self.sessions.contains_key(group)
    }

    /// The groups whose sessions operators watch.
    pub(super) fn session_groups(&self) -> Vec<GroupId> {
        self.sessions.iter().map(|wishes| wishes.key().clone()).collect()
    }

    fn len(&self) -> usize {
        let presence: usize = self.presence.iter().map(|wishes| wishes.len()).sum();
        let sessions: usize = self.sessions.iter().map(|wishes| wishes.len()).sum();
        presence + sessions
    }
}

impl PresenceWish {
    fn concerns(&self, visitor: &VisitorId) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(visitor))
    }
}

impl SessionWish {
    fn concerns(&self, visitor: Option<&VisitorId>) -> bool {
        self.only.as_ref().is_none_or(|only| visitor == Some(only))
    }
}

/// An open watch of presence. Dropping it ends it.
pub struct PresenceWatch {
    hub: Arc<Hub>,
    group: GroupId,
    wish: Arc<PresenceWish>,
    _follow: Follow,
}

impl PresenceWatch {
    /// The next word on a visitor. Cancel-safe.
    pub async fn next(&self) -> Arc<Snapshot> {
        self.wish.newest.next().await
    }
}

impl Drop for PresenceWatch {
    fn drop(&mut self) {
        take_out(&self.hub.operators.presence, &self.group, &self.wish);
        self.hub.count_watches();
    }
}

/// An open watch of sessions. Dropping it ends it.
pub struct SessionWatch {
    hub: Arc<Hub>,
    group: GroupId,
    wish: Arc<SessionWish>,
    _follow: Follow,
}

impl SessionWatch {
    /// The next word on a session. Cancel-safe.
    pub async fn next(&self) -> View {
        self.wish.newest.next().await.view
    }
}

impl Drop for SessionWatch {
    fn drop(&mut self) {
        take_out(&self.hub.operators.sessions, &self.group, &self.wish);
        self.hub.count_watches();
    }
}

fn take_out<W>(wishes: &DashMap<GroupId, Vec<Arc<W>>>, group: &GroupId, wish: &Arc<W>) {
    wishes.remove_if_mut(group, |_, wishes| {
        wishes.retain(|other| !Arc::ptr_eq(other, wish));
        wishes.is_empty()
    });
}

impl Hub {
    /// Watches visitors of a group: those named, or whoever is here when none is.
    pub async fn watch_presence(
        self: &Arc<Self>,
        group: &GroupId,
        visitors: &[VisitorId],
    ) -> Result<PresenceWatch, WatchError> {
        self.room_for_a_watch()?;
        let named = (!visitors.is_empty()).then(|| visitors.iter().cloned().collect::<HashSet<_>>());
        let scope = if named.is_some() { Scope::Named } else { Scope::All };
        let wish = Arc::new(PresenceWish { only: named, newest: Newest::new(scope) });
        // Listen, then read: what changes in between is pushed, and its version tells which is newer.
        let follow = self.directory.follow(self.node, group).await;
        self.operators.presence.entry(group.clone()).or_default().push(Arc::clone(&wish));
        let watch = PresenceWatch { hub: Arc::clone(self), group: group.clone(), wish, _follow: follow };
        self.count_watches();
        let found = match visitors {
            [] => self.all_visitors(group).await?,
            visitors => self.lookup(group, visitors).await,
        };
        for snapshot in found {
            watch.wish.newest.push(&snapshot.key().visitor, Arc::clone(&snapshot));
        }
        watch.wish.newest.open();
        Ok(watch)
    }

    /// Watches the sessions of a group, or of one visitor of it, on all nodes.
    pub async fn watch_sessions(
        self: &Arc<Self>,
        group: &GroupId,
        visitor: Option<&VisitorId>,
    ) -> Result<SessionWatch, WatchError> {
        self.room_for_a_watch()?;
        let wish = Arc::new(SessionWish { only: visitor.cloned(), newest: Newest::new(Scope::All) });
        // Listen, then read: what changes in between is pushed, and its steps tell which is newer.
        let follow = self.directory.follow(self.node, group).await;
        self.operators.sessions.entry(group.clone()).or_default().push(Arc::clone(&wish));
        let watch = SessionWatch { hub: Arc::clone(self), group: group.clone(), wish, _follow: follow };
        self.count_watches();
        for word in self.read_far_sessions(group).await? {
            if watch.wish.concerns(word.view.visitor.as_ref()) {
                watch.wish.newest.push(&word.view.id.clone(), word);
            }
        }
        let mut found = self.sessions.list(group);
        found.retain(|session| watch.wish.concerns(session.visitor.as_ref()));
        found.sort_unstable_by_key(|session| session.id);
        for session in found {
            watch.wish.newest.push(&session.id, session.word());
        }
        watch.wish.newest.open();
        Ok(watch)
    }

    fn room_for_a_watch(&self) -> Result<(), WatchError> {
        if self.operators.len() < limits::ADMIN_WATCHES {
            return Ok(());
        }
        self.meters.refusal("admin_watches");
        Err(WatchError::TooMany)
    }

    fn count_watches(&self) {
        self.meters.admin_watches.set(self.operators.len() as f64);
    }

    /// Tells the agents of this node that watch a visitor what it says.
    pub(super) fn message_of(&self, key: &VisitorKey, message: &Text) {
        for agent in self.watchers.watching(key) {
            agent.outbox.push(message.clone());
        }
    }

    /// Hands a signal to the visitor's focused page, or keeps it for the next one within grace. `from` is
    /// who the page is told it comes from.
    pub fn signal_visitor(
        self: &Arc<Self>,
        key: &VisitorKey,
        name: Box<str>,
        data: Option<&Raw>,
        from: &str,
    ) -> Result<Delivery, Refusal> {
        check_named(&name, data)?;
        let data = data.map_or_else(|| "null".into(), |data| Box::from(data.0.get()));
        let signal = Signal { name, data, agent: from.into() };
        match self.presence(key, Input::Signal { signal }).delivery {
            Some(Outcome::Delivered) => Ok(Delivery::Delivered),
            Some(Outcome::Held) => Ok(Delivery::Held),
            Some(Outcome::HeldFull) => {
                let limit = limits::HELD_SIGNALS;
                Err(Refusal::new(ErrorCode::TooMany, format!("{limit} signals are held already")))
            }
            Some(Outcome::NotPresent) | None => {
                Err(Refusal::new(ErrorCode::VisitorNotPresent, "the visitor is not here"))
            }
        }
    }

    /// Ends a visitor's presence at once: its connections to this node are closed as `ended`. Returns how
    /// many there were.
    pub fn disconnect_visitor(self: &Arc<Self>, key: &VisitorKey) -> u32 {
        self.presence(key, Input::Ended).dismissed
    }
}
