//! The pages by which guests come in: their addresses, whose they are, and which are this server's own.

use std::net::IpAddr;
use std::sync::Arc;

use super::NotLetIn;
use crate::hub::Hub;
use crate::hub::sessions::LiveSession;
use crate::ids::{AgentKey, GroupId};
use crate::model::origin::Origin;

impl Hub {
    /// The name of the agent whose page an address is, in this group. Who asks for addresses that nobody has is locked
    /// out as by wrong keys.
    pub async fn agent_name_at(
        &self,
        group: Option<&GroupId>,
        address: &str,
        from: IpAddr,
    ) -> Result<Option<Arc<str>>, NotLetIn> {
        let locked = |retry_after| NotLetIn::Locked { retry_after };
        self.accounts.may_guess(None, from).map_err(locked)?;
        let Some(group) = group else { return Ok(None) };
        let found = self.accounts.agent_at(group, address).await.map_err(|error| {
            tracing::warn!(%error, "it is not known whose page an address is");
            NotLetIn::Unavailable
        })?;
        if found.is_none() {
            let locked = self.accounts.wrong_guess(None, from).await;
            tracing::info!(by = "address", locked, "an address leads nowhere");
        }
        Ok(found.map(|row| Arc::from(row.agent.name)))
    }

    /// Whether a page was served by this server: it was sent to the same host, or is the one that the settings
    /// name.
    pub fn is_own_page(&self, page: Origin<'_>, host: &str) -> bool {
        page.is_of(host) || Origin::parse(&self.public_url).is_some_and(|own| own == page)
    }

    /// The address of an agent's own page.
    pub(in crate::hub) fn address_page(&self, group: &GroupId, address: &str) -> String {
        format!("{}/at/{address}?group={group}", self.public_url)
    }

    /// The link by which guests come into a session: the page that shows, or that of the agent who asks to see.
    pub(in crate::hub) fn guest_link(&self, session: &LiveSession, invite: &str) -> String {
        let key = AgentKey { group: session.group.clone(), agent: session.asker.clone() };
        match self.accounts.address_of(&key).filter(|_| session.guest.is_some()) {
            Some(address) => format!("{}#{invite}", self.address_page(&key.group, &address)),
            None => self.invite_link(invite),
        }
    }

    /// The address of the page behind an invite. The invite is in the fragment, which no server is ever sent.
    fn invite_link(&self, invite: &str) -> String {
        format!("{}/join#{invite}", self.public_url)
    }
}
