//! Going on with sessions whose node is gone: who may, and how.
//!
//! A session lives where its visitor's home is, and one node wins it. Whoever comes for a session that is not here is
//! told where it is, or finds it here from then on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dashmap::Entry;

use super::{About, Begun, LiveSession};
use crate::cluster::vault::{SavedSession, VaultError};
use crate::cluster::{Home, NodeId};
use crate::hub::Hub;
use crate::hub::guests::Invites;
use crate::ids::{GroupId, SessionId, VisitorKey};
use crate::limits;
use crate::model::presence;
use crate::model::session::{EndReason, Input, Session};
use crate::telemetry::Parent;
use crate::wire::close::{Close, CloseCode};

/// Where somebody finds the session that it comes for.
pub(in crate::hub) enum Whereabouts {
    /// On this node, perhaps from now on.
    Here(Arc<LiveSession>),
    /// On another, which is up.
    There(NodeId),
}

/// Whoever is told this may try again.
pub(in crate::hub) const UNREACHED: Close =
    Close::new(CloseCode::Overload, "the session cannot be reached now");

/// Why a session is not gone on with here.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Its node is up, or another that is up is its visitor's home.
    #[error("the session lives on {0}")]
    Alive(NodeId),
    /// Another node goes on with it, or this one is going away.
    #[error("the session is gone on with elsewhere")]
    Elsewhere,
    /// Nobody can say which nodes are alive.
    #[error("it is not known whether the session's node is alive")]
    Unsure,
    /// The vault did not do it.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Hub {
    /// The nodes that are up, this one included; none where nobody can say.
    async fn alive(&self) -> Option<Vec<NodeId>> {
        let others = self.directory.nodes(self.node).await.ok()?;
        Some(others.iter().map(|other| other.facts.node).chain([self.node]).collect())
    }

    /// Goes on with a session whose node is gone. None: there is no such session, or it has ended.
    pub async fn adopt(self: &Arc<Self>, id: SessionId) -> Result<Option<Arc<LiveSession>>, AdoptError> {
        self.adopt_and(id, true).await
    }

    /// The same; a question is put again only if that is wanted.
    async fn adopt_and(
        self: &Arc<Self>,
        id: SessionId,
        asks: bool,
    ) -> Result<Option<Arc<LiveSession>>, AdoptError> {
        let _turn = self.saves.adopting[usize::from(id.bytes()[15] % 16)].lock().await;
        if let Some(here) = self.sessions.routed(id) {
            return Ok(Some(here));
        }
        let Some(place) = self.saves.vault.find(id).await? else { return Ok(None) };
        if self.is_draining() {
            return Err(AdoptError::Elsewhere);
        }
        match place.owner {
            // It was here and is not any more: it has ended, and the vault is still to be told.
            Some(owner) if owner == self.node => return Ok(None),
            Some(owner) => {
                let alive = self.alive().await.ok_or(AdoptError::Unsure)?;
                if alive.contains(&owner) {
                    return Err(AdoptError::Alive(owner));
                }
            }
            None => {}
        }
        // A session lives where its visitor does.
        if let Some(visitor) = place.visitor.clone() {
            let key = VisitorKey { group: place.group.clone(), visitor };
            let _arriving = self.arriving(&key);
            match self.home_of(&key).await {
                Home::There(node) => return Err(AdoptError::Alive(node)),
                Home::Here(inherited) => self.inherit(&key, &inherited),
            }
        }
        match self.saves.vault.adopt(id, place.owner, self.node).await? {
            Some(saved) => Ok(Some(self.go_on(saved, asks))),
            None => Err(AdoptError::Elsewhere),
        }
    }

    /// Goes on with a visitor's session while nobody waits for it. The visitor is not shown in one that does not
    /// come here.
    pub(in crate::hub) fn adopt_later(self: &Arc<Self>, id: SessionId, key: VisitorKey) {
        let hub = Arc::clone(self);
        self.runtime.spawn(async move {
            if let Err(error) = hub.adopt(id).await {
                tracing::info!(session = %id, %error, "a session is not gone on with here");
            }
            if hub.sessions.of_visitor(&key).is_none() {
                hub.presence(&key, presence::Input::Session { session: None });
            }
        });
    }

    /// Goes on with the session of a visitor whose node is gone, and so puts a question again that was not
    /// answered. For whoever makes this node the visitor's home.
    pub async fn adopt_of(
        self: &Arc<Self>,
        key: &VisitorKey,
    ) -> Result<Option<Arc<LiveSession>>, AdoptError> {
        match self.saves.vault.of_visitor(key).await? {
            Some(id) => self.adopt(id).await,
            None => Ok(None),
        }
    }

    /// The session of somebody who comes with a ticket or token of a session that is not here.
    pub(in crate::hub) async fn whereabouts(self: &Arc<Self>, id: SessionId) -> Result<Whereabouts, Close> {
        match self.adopt(id).await {
            Ok(Some(session)) => Ok(Whereabouts::Here(session)),
            Ok(None) => match self.ended_elsewhere(id).await {
                Some(node) => Ok(Whereabouts::There(node)),
                None => Err(Close::new(CloseCode::NotFound, "no such session")),
            },
            Err(AdoptError::Alive(node)) => Ok(Whereabouts::There(node)),
            Err(error) => {
                tracing::info!(session = %id, %error, "a session is not gone on with here");
                Err(UNREACHED)
            }
        }
    }

    /// Another node that is up and knows how a session ended.
    async fn ended_elsewhere(&self, id: SessionId) -> Option<NodeId> {
        let node = self.saves.vault.ended_on(id).await.ok()?.filter(|node| *node != self.node)?;
        self.alive().await?.contains(&node).then_some(node)
    }

    /// The node on which a session lives, or lived last.
    pub(in crate::hub) async fn owner_of(&self, id: SessionId) -> Result<Option<NodeId>, VaultError> {
        Ok(self.standing_of(id).await?.and_then(|(owner, _)| owner))
    }

    /// The node on which a session lives, or ended, and whether it has ended. None: nobody knows it.
    pub(in crate::hub) async fn standing_of(
        &self,
        id: SessionId,
    ) -> Result<Option<(Option<NodeId>, bool)>, VaultError> {
        match self.saves.vault.find(id).await? {
            Some(place) => Ok(Some((place.owner, false))),
            None => Ok(self.saves.vault.ended_on(id).await?.map(|node| (Some(node), true))),
        }
    }

    /// Makes an adopted session one of this node.
    fn go_on(self: &Arc<Self>, saved: SavedSession, asks: bool) -> Arc<LiveSession> {
        let visitor_key = saved.visitor_key();
        let SavedSession {
            group,
            machine,
            kind,
            terms,
            control,
            record,
            asker,
            logged,
            title,
            chatter,
            invites,
            relayed,
            steps,
            view: _,
            key,
            trace,
        } = saved;
        let about = About {
            id: machine.session(),
            request: machine.request(),
            group,
            visitor: machine.visitor().cloned(),
            kind,
            terms,
            control,
            record,
            asker: (asker, Arc::from("")),
            logged,
            title,
            trace: Begun::OnNode(trace.as_deref().and_then(Parent::parse)),
        };
        let mut out = Vec::new();
        let machine = Session::restore(machine, self.clock.now(), Arc::clone(&self.limits), &mut out);
        let session = self.live(about, machine, out);
        *session.chatter.lock() = chatter;
        *session.invites.lock() = Invites::restore(invites);
        session.relay.go_on_from(relayed);
        session.steps.store(steps, Ordering::Relaxed);
        if let Some(key) = key {
            self.session_keys.lock().keep(session.id, key);
        }
        session.saving.known.store(true, Ordering::SeqCst);
        session.saving.proven.store(true, Ordering::SeqCst);
        session.adopted.store(true, Ordering::Relaxed);
        tracing::info!(
            target: "porchlight::session",
            group = %session.group, session = %session.id, request = %session.request, happened = "adopted"
        );
        let only = match visitor_key.clone().map(|key| self.sessions.of_visitor.entry(key)) {
            Some(Entry::Vacant(entry)) => {
                entry.insert(Arc::clone(&session));
                true
            }
            Some(Entry::Occupied(_)) => false,
            None => true,
        };
        self.sessions.list_open(&session);
        self.drive_with(&session, |_, _| ());
        if !only || (!asks && session.view().is_question()) {
            // The visitor has begun another one here meanwhile, and nobody has two; or whoever asked was told that
            // the question failed.
            self.end_session(&session, EndReason::NodeLost);
        } else if let Some(key) = &visitor_key {
            let focus = self.tracker.look(key, |presence| presence.focused()).flatten();
            if let Some(focus) = focus
                && let Err(error) = self.drive(&session, Input::Focus(Some(focus)))
            {
                tracing::debug!(session = %session.id, %error, "an adopted session was over");
            }
        }
        self.operators.tell_session(&session);
        session
    }

    /// Looks for sessions whose node is gone, and goes on with those that nobody came back to in time: their own
    /// rules end them, so that what is written down of them has an end.
    pub async fn reap(self: &Arc<Self>) {
        if self.is_draining() {
            return;
        }
        let looked = async {
            let Some(alive) = self.alive().await else { return Ok(()) };
            let mut found = Vec::new();
            for group in self.saves.vault.groups().await? {
                found.extend(self.overdue(&group, &alive).await?);
            }
            let now = self.clock.tick();
            let due: Vec<SessionId> = {
                let mut lost = self.saves.lost.lock();
                lost.retain(|id, _| found.contains(id));
                let window = self.limits.resume_window;
                found.retain(|id| now.since(*lost.entry(*id).or_insert(now)) >= window);
                found
            };
            for id in due {
                match self.adopt_and(id, false).await {
                    Ok(_) | Err(AdoptError::Alive(_) | AdoptError::Elsewhere | AdoptError::Unsure) => {}
                    Err(AdoptError::Vault(error @ VaultError::Away(_))) => return Err(error),
                    Err(error) => tracing::warn!(session = %id, %error, "a lost session cannot be ended"),
                }
            }
            Ok::<(), VaultError>(())
        };
        if let Err(error) = looked.await {
            tracing::debug!(%error, "lost sessions are looked for later");
        }
    }

    async fn overdue(&self, group: &GroupId, alive: &[NodeId]) -> Result<Vec<SessionId>, VaultError> {
        let lost = self.saves.vault.orphans(group, alive, limits::REAPED).await?;
        Ok(lost.into_iter().map(|(id, _)| id).collect())
    }
}
