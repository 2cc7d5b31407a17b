//! View: an agent waits for a guest's screen.

use std::sync::Arc;

use super::AgentSeat;
use super::join::Press;
use crate::hub::accounts::Group;
use crate::hub::sessions::{DrawnKey, Wanted};
use crate::limits;
use crate::telemetry::Parent;
use crate::wire::agent::{ToAgent, View};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::message::Text;
use crate::wire::visitor::SessionKind;

impl AgentSeat {
    pub(super) async fn view(&mut self, view: View, id: Option<u64>) -> Result<Text, Refusal> {
        self.may_view(&view)?;
        let key = self.hub.draw_key(&self.me()).await?;
        // Whatever changed meanwhile counts.
        self.view_with(view, key, id)
    }

    /// Whether the agent may wait for a guest now.
    fn may_view(&self, view: &View) -> Result<Arc<Group>, Refusal> {
        let group = self.group()?;
        let object = view.record.as_ref().map(|record| &*record.object);
        self.may_press(&group, Press::View, object)?;
        let open = self.hub.sessions.opened_by(&group.id, &self.identity.agent, SessionKind::View);
        if open >= limits::VIEWS_PER_AGENT {
            let message = format!("you wait for, or watch, {open} guests already");
            return Err(Refusal::new(ErrorCode::TooMany, message));
        }
        Ok(group)
    }

    fn view_with(&mut self, view: View, key: DrawnKey, id: Option<u64>) -> Result<Text, Refusal> {
        let group = self.may_view(&view)?;
        let record = match &view.record {
            Some(record) => Some(self.open(record)?.open.record.clone()),
            None => None,
        };
        let wanted = Wanted {
            group: group.id.clone(),
            logged: record.is_some() || group.settings.log_sessions_outside_crm,
            record,
            terms: group.settings.terms_shown(),
            control: view.control,
            trace: view.traceparent.as_deref().and_then(Parent::parse),
        };
        let awaited = self.hub.await_guest(wanted, self.asker(), key)?;
        self.asked.insert(awaited.session.id);
        let address = self.hub.accounts.address_of(&self.me());
        let address = address.map(|address| self.hub.address_page(&group.id, &address));
        let waiting = ToAgent::Waiting {
            request_id: awaited.session.request,
            session_id: awaited.session.id,
            kind: SessionKind::View,
            session_key: awaited.key.as_deref(),
            address: address.as_deref(),
            link: &self.hub.guest_link(&awaited.session, &awaited.invite),
            expires_at: awaited.expires_at,
        };
        Ok(Text::answer(id, &waiting))
    }
}
