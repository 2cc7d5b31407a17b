//! Sessions of other nodes, as operators are told of them.
//!
//! The vault has what lists show of every session; its node tells that one changed, and whoever is asked about it reads
//! the vault. Keeps the newest word on each session that an operator watches here, so that no older one comes after
//! it, and what was missed is found by reading all again. Sessions of this node speak for themselves.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dashmap::DashMap;

use super::Hub;
use super::newest::Word as _;
use super::operators::SessionWord;
use crate::clock::Tick;
use crate::cluster::vault::{Seen, VaultError};
use crate::ids::{GroupId, SessionId, VisitorId};
use crate::limits;
use crate::model::session::{EndReason, View};
use crate::wire::agent::RequestState;

/// The newest word on each, and when it was heard.
#[derive(Debug, Default)]
pub(super) struct FarSessions(DashMap<GroupId, HashMap<SessionId, (SessionWord, Tick)>>);

impl FarSessions {
    /// Takes a word; true if it is news.
    fn take(&self, now: Tick, group: &GroupId, word: &SessionWord) -> bool {
        let mut known = self.0.entry(group.clone()).or_default();
        let is_old = |known: &SessionWord| known.is_over() || known.step >= word.step;
        if known.get(&word.view.id).is_some_and(|(known, _)| is_old(known)) {
            return false;
        }
        known.insert(word.view.id, (word.clone(), now));
        true
    }

    /// Those that have not ended.
    fn live(&self, group: &GroupId) -> Vec<SessionWord> {
        let Some(known) = self.0.get(group) else { return Vec::new() };
        known.values().map(|(word, _)| word).filter(|word| !word.is_over()).cloned().collect()
    }

    /// This node goes on with it.
    fn forget(&self, group: &GroupId, session: SessionId) {
        if let Some(mut known) = self.0.get_mut(group) {
            known.remove(&session);
        }
    }

    /// Forgets what nobody watches, and what ended a while ago.
    fn tidy(&self, now: Tick, is_watched: impl Fn(&GroupId) -> bool) {
        self.0.retain(|group, known| {
            known.retain(|_, (word, heard)| !word.is_over() || now.since(*heard) < limits::FAR_ENDED);
            is_watched(group) && !known.is_empty()
        });
    }
}

impl Hub {
    /// A session of a group on any node, also one that ended lately.
    pub async fn session_view(
        &self,
        group: &GroupId,
        session: SessionId,
    ) -> Result<Option<View>, VaultError> {
        match self.sessions.get(group, session) {
            Some(here) => Ok(Some(here.view())),
            None => Ok(self.saves.vault.seen(group, session).await?.map(|seen| seen.view)),
        }
    }

    /// The sessions of a group, or of one visitor, on all nodes that have not ended.
    pub async fn session_views(
        &self,
        group: &GroupId,
        visitor: Option<&VisitorId>,
    ) -> Result<Vec<View>, VaultError> {
        // Those of others first: one that moves here meanwhile is there twice, and then once.
        let elsewhere = self.saves.vault.all_seen(group).await?;
        let mut views: Vec<View> = self.sessions.list(group).iter().map(|session| session.view()).collect();
        let here: HashSet<SessionId> = views.iter().map(|view| view.id).collect();
        views.extend(elsewhere.into_iter().map(|seen| seen.view).filter(|view| !here.contains(&view.id)));
        views.retain(|view| {
            view.ended.is_none() && visitor.is_none_or(|wanted| view.visitor.as_ref() == Some(wanted))
        });
        views.sort_unstable_by_key(|view| view.id);
        Ok(views)
    }

    /// Reads what operators are told of other nodes' sessions.
    pub(super) async fn read_far_sessions(
        self: &Arc<Self>,
        group: &GroupId,
    ) -> Result<Vec<SessionWord>, VaultError> {
        let mut found = HashSet::new();
        for seen in self.saves.vault.all_seen(group).await? {
            found.insert(seen.view.id);
            self.take_far_session(group, seen);
        }
        // What is not found has ended, or began meanwhile.
        for word in self.far_sessions.live(group) {
            let id = word.view.id;
            if found.contains(&id) || self.sessions.get(group, id).is_some() {
                continue;
            }
            let lost = || {
                let mut view = word.view.clone();
                (view.state, view.ended) = (RequestState::Ended, Some(EndReason::NodeLost));
                Seen { view, step: word.step + 1 }
            };
            let seen = self.saves.vault.seen(group, id).await?.unwrap_or_else(lost);
            self.take_far_session(group, seen);
        }
        Ok(self.far_sessions.live(group))
    }

    fn take_far_session(&self, group: &GroupId, seen: Seen) {
        let Seen { view, step } = seen;
        if self.sessions.get(group, view.id).is_some() {
            return self.far_sessions.forget(group, view.id);
        }
        let word = SessionWord { view, step };
        if self.far_sessions.take(self.clock.tick(), group, &word) {
            self.operators.tell_session_word(group, &word);
        }
    }

    /// A session changed, perhaps on another node.
    pub(super) fn hear_of_session(self: &Arc<Self>, group: GroupId, session: SessionId) {
        if !self.operators.has_sessions(&group) || self.sessions.get(&group, session).is_some() {
            return;
        }
        let hub = Arc::clone(self);
        self.runtime.spawn(async move {
            while hub.operators.has_sessions(&group) {
                match hub.saves.vault.seen(&group, session).await {
                    Ok(Some(seen)) => return hub.take_far_session(&group, seen),
                    Ok(None) => return,
                    Err(error @ VaultError::Away(_)) => {
                        tracing::debug!(%error, "a session of another node is read later");
                        tokio::time::sleep(limits::SAVE_RETRY).await;
                    }
                    Err(error) => {
                        return tracing::warn!(%session, %error, "a session of another node can't be shown");
                    }
                }
            }
        });
    }

    pub(super) fn tidy_far_sessions(&self) {
        self.far_sessions.tidy(self.clock.tick(), |group| self.operators.has_sessions(group));
    }
}
