//! What becomes of open connections when settings, agents or credentials change.
//!
//! Nobody keeps what they were let in by: a revoked token closes its sockets, presence switched off ends
//! the group's visitors, and every open record is told its buttons anew.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::broadcast::error::RecvError;

use super::Hub;
use super::accounts::{Changed, Group};
use super::registry::Connection;
use super::sessions::LiveSession;
use super::watch::RecordWatch;
use crate::ids::{AgentKey, GroupId};
use crate::model::buttons;
use crate::model::presence::Input;
use crate::wire::agent::{AgentSettings, ToAgent};
use crate::wire::close::{Close, CloseCode};
use crate::wire::message::Text;

/// An agent's open connection and the token that opened it.
#[derive(Debug)]
pub struct SignedIn {
    /// Its connection.
    pub connection: Arc<Connection>,
    /// Who it is.
    pub key: AgentKey,
    /// What it showed.
    pub token: SecretString,
}

impl Hub {
    /// Acts on a change, or on all that may have been missed.
    pub(super) fn on_change(self: &Arc<Self>, changed: Result<Changed, RecvError>) {
        match changed {
            Ok(Changed::Group(group)) => self.group_changed(&group),
            Ok(Changed::Agent(agent)) => self.agent_changed(|key| *key == agent),
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "changes came too fast, looking at everything");
                self.agent_changed(|_| true);
                for group in self.accounts.groups() {
                    self.group_changed(&group.id);
                }
            }
            Err(RecvError::Closed) => {}
        }
    }

    fn group_changed(self: &Arc<Self>, id: &GroupId) {
        self.agent_changed(|key| key.group == *id);
        let Some(group) = self.accounts.group(id) else { return };
        if !group.settings.presence_enabled {
            let mut keys = Vec::new();
            self.tracker.each(id, |visitor| keys.push(visitor.key.clone()));
            for key in keys {
                self.presence(&key, Input::Ended);
            }
        }
        self.recheck_cameras(&group);
        let settings = Text::of(&ToAgent::Settings { settings: agent_settings(&group) });
        for agent in self.agents.iter().filter(|agent| agent.key.group == *id) {
            agent.connection.outbox.push(settings.clone());
        }
        let mut led = false;
        for record in self.watchers.open_records(id) {
            led |= self.lead_anew(&group, &record);
            self.push_record(&record, None);
        }
        if led {
            // Of who they lead to now nothing may be known yet.
            self.reread([id.clone()]);
        }
    }

    /// Closes the connections of agents whose token no longer holds, and tells the others their buttons.
    fn agent_changed(self: &Arc<Self>, concerned: impl Fn(&AgentKey) -> bool) {
        for agent in self.agents.iter().filter(|agent| concerned(&agent.key)) {
            if self.accounts.verify_agent(agent.token.expose_secret()).is_err() {
                agent.connection.outbox.close(Close::new(CloseCode::Unauthorized, "the token was revoked"));
                continue;
            }
            for record in self.watchers.open_records(&agent.key.group) {
                if record.connection.id == agent.connection.id {
                    self.push_record(&record, None);
                }
            }
        }
    }

    /// The settings may name another field now, and the record lead to another visitor.
    fn lead_anew(&self, group: &Group, record: &Arc<RecordWatch>) -> bool {
        let now = buttons::visitor_of(&group.settings, &record.open).ok();
        let before = {
            let mut visitor = record.visitor.lock();
            if *visitor == now {
                return false;
            }
            std::mem::replace(&mut *visitor, now)
        };
        self.watchers.lead(record, before);
        true
    }

    /// An agent's profile at this moment.
    pub(super) fn profile_of(&self, agent: &AgentKey) -> Option<Arc<str>> {
        self.accounts.member(agent).and_then(|member| member.profile.clone())
    }
}

impl Hub {
    /// Where a session opens that an agent joins, by its profile at this moment.
    pub(super) fn join_in(&self, agent: &AgentKey) -> &'static str {
        let (group, profile) = (self.accounts.group(&agent.group), self.profile_of(agent));
        let of = |name: &str| group.as_ref().and_then(|group| group.settings.profile(name));
        profile.as_deref().and_then(of).map(|profile| profile.join_in).unwrap_or_default().as_str()
    }

    /// Whether an agent's page is to open a session's record as it joins: the group says so, and the session is
    /// written down at all.
    pub(super) fn opens_record(&self, session: &LiveSession) -> bool {
        let group = self.accounts.group(&session.group);
        session.logged && group.is_some_and(|group| group.settings.open_session_records)
    }
}

/// The settings that an agent's page acts on.
pub(super) fn agent_settings(group: &Group) -> AgentSettings {
    AgentSettings {
        open_session_records: group.settings.open_session_records,
        presence_enabled: group.settings.presence_enabled,
    }
}
