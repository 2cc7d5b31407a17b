//! Show: an agent's own screen, and the links by which guests come to see it.

use std::sync::Arc;

use super::join::Press;
use super::{AgentSeat, unsupported};
use crate::hub::accounts::Group;
use crate::hub::guests;
use crate::hub::sessions::{DrawnKey, LiveSession, Showcase};
use crate::ids::{AgentId, AgentKey};
use crate::limits;
use crate::model::feed;
use crate::model::lead::Guest;
use crate::telemetry::Parent;
use crate::wire::agent::{Invite, Show, ToAgent};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::message::Text;
use crate::wire::session::Role;
use crate::wire::visitor::SessionKind;

impl AgentSeat {
    pub(super) async fn show(&mut self, show: Show, id: Option<u64>) -> Result<Text, Refusal> {
        self.may_show(&show)?;
        let key = self.hub.draw_key(&self.me()).await?;
        // Whatever changed meanwhile counts.
        self.show_with(show, key, id)
    }

    /// Whether the agent may show a screen now.
    fn may_show(&self, show: &Show) -> Result<Arc<Group>, Refusal> {
        let group = self.group()?;
        let object = show.record.as_ref().map(|record| &*record.object);
        self.may_press(&group, Press::Show, object)?;
        if show
            .title
            .as_deref()
            .map(str::trim)
            .is_some_and(|title| title.len() > limits::TITLE_BYTES || title.contains(char::is_control))
        {
            let limit = limits::TITLE_BYTES;
            let message = format!("a title must be one line of at most {limit} bytes");
            return Err(Refusal::new(ErrorCode::BadValue, message));
        }
        let showing = self.hub.sessions.opened_by(&group.id, &self.identity.agent, SessionKind::Show);
        if showing >= limits::SHOWS_PER_AGENT {
            let message = format!("{showing} screens of yours are shown already");
            return Err(Refusal::new(ErrorCode::TooMany, message));
        }
        Ok(group)
    }

    fn show_with(&mut self, show: Show, key: DrawnKey, id: Option<u64>) -> Result<Text, Refusal> {
        let group = self.may_show(&show)?;
        let record = match &show.record {
            Some(record) => Some(self.open(record)?.open.record.clone()),
            None => None,
        };
        let title = show.title.as_deref().map(str::trim).filter(|title| !title.is_empty());
        let logged = record.is_some() || group.settings.log_sessions_outside_crm;
        let trace = show.traceparent.as_deref().and_then(Parent::parse);
        let title = title.map(Arc::from);
        let showcase = Showcase { group: group.id.clone(), record, logged, title, trace };
        let shown = self.hub.show(showcase, self.asker(), key)?;
        self.asked.insert(shown.session.id);
        let ready = ToAgent::Ready {
            request_id: None,
            session_id: shown.session.id,
            role: Role::Publisher,
            ticket: &shown.ticket.text,
            ticket_expires_at: shown.ticket.expires_at,
            kind: shown.session.kind,
            visitor_id: None,
            session_key: shown.key.as_deref(),
            link: Some(&self.hub.guest_link(&shown.session, &shown.invite)),
            join_in: None,
            open_record: self.hub.opens_record(&shown.session),
        };
        Ok(Text::answer(id, &ready))
    }

    pub(super) fn invite(&self, invite: Invite, id: Option<u64>) -> Result<Text, Refusal> {
        self.may_help()?;
        let session = self
            .hub
            .sessions
            .get(&self.identity.group, invite.session_id)
            .filter(|session| self.takes_part(session))
            .ok_or_else(|| Refusal::not_found("session"))?;
        if let Some(agent) = invite.agent_id {
            if invite.guest.is_some() {
                let message = "an invite is for an agent or for a guest";
                return Err(Refusal::new(ErrorCode::BadMessage, message));
            }
            return self.invite_agent(&session, agent, id);
        }
        if !matches!(session.kind, SessionKind::Show | SessionKind::View) {
            return Err(unsupported("inviting guests into this kind of session"));
        }
        let guest = invite.guest.map(|guest| Guest { name: guest.name, email: guest.email });
        let guest = guests::checked(guest.unwrap_or_default())
            .map_err(|error| Refusal::new(ErrorCode::BadValue, error.to_string()))?;
        let made = session.invites.lock().make(session.id, guest);
        let made = made.ok_or_else(|| {
            let limit = limits::INVITES;
            Refusal::new(ErrorCode::TooMany, format!("the session has its {limit} links"))
        })?;
        self.hub.changed(&session);
        Ok(self.invited(&session, &self.hub.guest_link(&session, &made), id))
    }

    /// Invites a colleague, who may then be left alone with the session. The link is no credential: it leads to the page
    /// where the colleague signs in and joins by its own rights.
    fn invite_agent(&self, session: &LiveSession, agent: AgentId, id: Option<u64>) -> Result<Text, Refusal> {
        let colleague = AgentKey { group: session.group.clone(), agent };
        if self.hub.accounts.member(&colleague).is_none() {
            return Err(Refusal::not_found("agent"));
        }
        if !self.group()?.settings.permissions_of(&colleague.agent).user {
            let message = "that agent may not take part in sessions";
            return Err(Refusal::new(ErrorCode::Forbidden, message));
        }
        let link = format!("{}{}", self.hub.public_url, feed::link(session.id));
        Ok(self.invited(session, &link, id))
    }

    fn invited(&self, session: &LiveSession, link: &str, id: Option<u64>) -> Text {
        let expires_at = session.view().created.after(self.hub.limits.session_length);
        Text::answer(id, &ToAgent::Invite { link, expires_at })
    }
}
