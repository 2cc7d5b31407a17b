//! Sessions that visitors open themselves: a key to read out, and an agent who types it.
//!
//! Decides who may wait for an agent, by which key, and until when. What waits is a name and no more: when an agent comes
//! by it, the visitor is asked as by any Join, with that agent's name and the group's terms, and nobody has a ticket
//! before. Who may type keys, and how often wrongly, is decided at the agents' door (`hub/agents/key.rs`).
//!
//! There is at most one for each visitor that is here, so presence bounds them. They go with the visitor, and do not
//! follow it to another node.

use std::sync::Arc;

use super::{VisitorAnswer, VisitorSeat};
use crate::clock::{Tick, Wall};
use crate::cluster::DirectoryError;
use crate::hub::Hub;
use crate::hub::timers::Due;
use crate::ids::{GroupId, SessionId, VisitorId, VisitorKey};
use crate::model::codes::Code;
use crate::model::presence::Input;
use crate::model::session::EndReason;
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::message::Text;
use crate::wire::session::Role;
use crate::wire::visitor::{KeyChoice, SessionKind, StartSession, ToVisitor};

/// A session that a visitor opened and no agent has come to.
#[derive(Debug, Clone, Copy)]
pub(in crate::hub) struct Opened {
    /// What it will be called.
    pub(in crate::hub) session: SessionId,
    /// What the visitor wants to share.
    pub(in crate::hub) kind: SessionKind,
    /// Its key is the visitor ID; otherwise the visitor's code.
    by_id: bool,
    expires: Tick,
}

/// What the page is told of it.
#[derive(Debug)]
pub(super) struct Waiting {
    session: SessionId,
    kind: SessionKind,
    /// What the visitor reads out.
    pub(super) key: String,
    /// When it leads nowhere any more.
    pub(super) expires_at: Wall,
}

impl Waiting {
    /// The answer to the page; a ticket comes when an agent has.
    pub(super) fn text(&self, id: Option<u64>) -> Text {
        let ready = ToVisitor::Ready {
            request_id: None,
            session_id: self.session,
            role: Role::Publisher,
            ticket: None,
            ticket_expires_at: None,
            kind: self.kind,
            session_key: Some(&self.key),
            session_key_expires_at: Some(self.expires_at),
        };
        Text::answer(id, &ready)
    }
}

impl VisitorSeat {
    /// The visitor waits for an agent. Asked again while it waits, by any of its pages, the answer is the same.
    pub(super) fn start_session(&self, wish: &StartSession) -> Result<VisitorAnswer, Refusal> {
        let (hub, key) = (&self.hub, &self.key);
        if let Some(waiting) = hub.waiting(key) {
            return Ok(VisitorAnswer::Waiting(waiting));
        }
        let group = hub.accounts.group(&key.group).ok_or_else(|| Refusal::not_found("group"))?;
        let kind = match wish.kind {
            None => group.settings.join_kind(hub.cobrowse),
            Some(SessionKind::Screen) => SessionKind::Screen,
            Some(SessionKind::Cobrowse) if hub.cobrowse => SessionKind::Cobrowse,
            Some(_) => {
                let message = "visitors open sessions of kind screen, and cobrowse where this server has it";
                return Err(Refusal::new(ErrorCode::Unsupported, message));
            }
        };
        hub.has_room()?;
        if hub.sessions.of_visitor(key).is_some() {
            let message = "an agent asks this visitor already, or sees its screen";
            return Err(Refusal::new(ErrorCode::WrongState, message));
        }
        let by_id = wish.key == Some(KeyChoice::VisitorId);
        if by_id && key.visitor.is_unique() {
            return Err(Refusal::new(ErrorCode::BadValue, "an ID of the server's own is no key to read out"));
        }
        let life = hub.limits.waiting;
        if !by_id {
            let issued = hub.issue_code(key, life).and_then(|_| hub.extend_code(key, life));
            let issued = issued.ok_or_else(|| {
                Refusal::new(ErrorCode::Unavailable, "there is no session key to spare just now")
            })?;
            hub.presence(key, Input::Coded { code: Some(issued.code) });
        }
        let expires = hub.clock.tick().after(life);
        hub.opened.insert(key.clone(), Opened { session: SessionId::fresh(), kind, by_id, expires });
        hub.timers.at(expires, Due::Opened(key.clone()));
        let waiting = hub.waiting(key);
        waiting.map(VisitorAnswer::Waiting).ok_or_else(|| Refusal::not_found("session"))
    }

    /// The visitor waits no longer; one that does not wait has what it wants.
    pub(super) fn cancel_session(&self) -> VisitorAnswer {
        if self.hub.opened.contains_key(&self.key) {
            self.hub.end_key(&self.key);
        }
        VisitorAnswer::Ok
    }
}

impl Hub {
    /// The session that a visitor of this node waits in.
    pub(super) fn waiting(&self, key: &VisitorKey) -> Option<Waiting> {
        let Opened { session, kind, by_id, expires } = *self.opened.get(key)?;
        let now = self.clock.now();
        if now.tick >= expires {
            return None;
        }
        let code = || self.codes_of(key).lock().of(now.tick, &key.visitor).map(|issued| issued.code);
        let key = if by_id { key.visitor.to_string() } else { code()?.to_string() };
        Some(Waiting { session, kind, key, expires_at: now.wall_of(expires) })
    }

    /// A session that a visitor opened has begun, or nobody came in time, or it is not wanted any more: its key leads
    /// nowhere.
    pub(in crate::hub) fn end_key(self: &Arc<Self>, key: &VisitorKey) {
        self.opened.remove(key);
        if !key.visitor.is_unique()
            && let Some(codes) = self.codes.get(&key.group).map(|codes| Arc::clone(&codes))
        {
            codes.lock().forget(&key.visitor);
            self.presence(key, Input::Coded { code: None });
        }
    }

    /// Nobody may have come in time.
    pub(in crate::hub) fn opened_due(self: &Arc<Self>, key: &VisitorKey) {
        let now = self.clock.tick();
        let Some((_, over)) = self.opened.remove_if(key, |_, opened| now >= opened.expires) else { return };
        self.end_key(key);
        let focused = self.tracker.look(key, |presence| presence.focused()).flatten();
        if let Some(tab) = focused.and_then(|focused| self.registry.get(focused)) {
            let reason = EndReason::Expired.as_str();
            tab.outbox.push(Text::of(&ToVisitor::SessionEnded { session_id: over.session, reason }));
        }
    }

    /// The visitor of a group who has this code, on any node; none where two have.
    pub(in crate::hub) async fn visitor_with_code(
        self: &Arc<Self>,
        group: &GroupId,
        code: Code,
    ) -> Result<Option<VisitorId>, DirectoryError> {
        let codes = self.codes.get(group).map(|codes| Arc::clone(&codes));
        let here = codes.and_then(|codes| codes.lock().lookup(self.clock.tick(), code).cloned());
        let elsewhere = self.coded_elsewhere(group, code).await?;
        let mut found = here.into_iter().chain(elsewhere);
        let first = found.next();
        Ok(first.filter(|first| found.all(|other| other == *first)))
    }
}
