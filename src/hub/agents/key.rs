//! Join by session key: the digits that somebody reads out to an agent.
//!
//! To an agent a key is a name, not a right: what it leads to is joined like any session, by the agent's permission
//! and buttons. But keys of others lead there too, and so wrong ones are counted, of the agent and of the address.

use std::time::Duration;

use super::AgentSeat;
use crate::cluster::DirectoryError;
use crate::ids::{SessionId, VisitorId};
use crate::limits;
use crate::model::codes::Code;
use crate::model::event::Door;
use crate::model::session_key;
use crate::model::visitor::State;
use crate::wire::agent::Join;
use crate::wire::error::{ErrorCode, Refusal};

impl AgentSeat {
    /// What is wished for, with the session, or the visitor who waits, in place of its key.
    pub(super) async fn keyed(&self, join: Join) -> Result<Join, Refusal> {
        let (None, Some(key), None) = (&join.visitor_id, &join.session_key, &join.session_id) else {
            return Ok(join);
        };
        // Who may not help is told no more of a right key than of a wrong one.
        self.may_help()?;
        let Some(from) = self.from else {
            return Err(Refusal::new(ErrorCode::WrongState, "a key is looked up where it was typed"));
        };
        let me = self.me();
        let locked = |wait: Duration| {
            let seconds = wait.as_secs().max(1);
            let message = format!("too many wrong session keys; try again in {seconds} s");
            Refusal::new(ErrorCode::RateLimited, message)
        };
        self.hub.accounts.may_type_key(&me, from).map_err(locked)?;
        if let Some(session) = self.session_of(key).await? {
            return Ok(Join { session_key: None, session_id: Some(session), record: None, ..join });
        }
        let looked = tokio::time::timeout(limits::KEY_WAIT, self.visitor_of(key)).await;
        let silent = || Refusal::new(ErrorCode::Unavailable, "other nodes' visitors cannot be read now");
        if let Some(visitor) = looked.map_err(|_| silent())?.map_err(|error| {
            tracing::warn!(%error, "it is not known whose code a session key is");
            silent()
        })? {
            return Ok(Join { session_key: None, visitor_id: Some(visitor), ..join });
        }
        let locked = self.hub.accounts.wrong_key(&me, from).await;
        tracing::info!(agent = %me.agent, locked, "a session key that an agent typed leads nowhere");
        self.hub.events.refused(&me.group, self.hub.clock.now(), Door::Agent, "session key leads nowhere");
        Err(Refusal::not_found("session with this key"))
    }

    /// The visitor of this agent's group who reads out this code, or its own ID, and is here.
    async fn visitor_of(&self, key: &str) -> Result<Option<VisitorId>, DirectoryError> {
        let group = &self.identity.group;
        if let Some(code) = Code::parse(&session_key::plain(key))
            && let Some(visitor) = self.hub.visitor_with_code(group, code).await?
        {
            return Ok(Some(visitor));
        }
        let Ok(visitor) = VisitorId::new(key.trim()) else { return Ok(None) };
        let found = self.hub.lookup(group, std::slice::from_ref(&visitor)).await;
        let is_here = found.iter().any(|word| matches!(word.state(), State::Present | State::Hidden));
        Ok(is_here.then_some(visitor))
    }

    /// The session of this agent's group that a key leads to, on any node.
    async fn session_of(&self, key: &str) -> Result<Option<SessionId>, Refusal> {
        let (digest, here) = {
            let keys = self.hub.session_keys.lock();
            let digest = keys.digest_of(key);
            (digest, keys.lookup(&digest))
        };
        let group = &self.identity.group;
        if let Some(session) = here {
            return Ok(self.hub.sessions.get(group, session).map(|session| session.id));
        }
        let silent = || Refusal::new(ErrorCode::Unavailable, "other nodes' session keys cannot be read now");
        let vault = &self.hub.saves.vault;
        let looked = async {
            let Some(session) = vault.find_key(&digest).await? else { return Ok(None) };
            Ok(vault.find(session).await?.filter(|place| place.group == *group).map(|_| session))
        };
        match tokio::time::timeout(limits::KEY_WAIT, looked).await {
            Ok(found) => found.map_err(|error: crate::cluster::vault::VaultError| {
                tracing::warn!(%error, "it is not known where a session key leads");
                silent()
            }),
            Err(_) => Err(silent()),
        }
    }
}
