//! Ending what an agent began: questions are taken back, sessions ended.

use super::AgentSeat;
use crate::hub::sessions::LiveSession;
use crate::model::session::{EndReason, Input};
use crate::wire::agent::{Cancel, EndSession, ToAgent};
use crate::wire::error::Refusal;
use crate::wire::message::Text;

impl AgentSeat {
    pub(super) fn cancel(&self, cancel: Cancel, id: Option<u64>) -> Result<Text, Refusal> {
        let session = self
            .hub
            .sessions
            .by_request(&self.identity.group, cancel.request_id)
            .ok_or_else(|| Refusal::not_found("request"))?;
        let input = Input::Cancel { request: cancel.request_id, by: self.connection.id };
        self.hub.drive(&session, input)?;
        Ok(Text::answer(id, &ToAgent::Ok {}))
    }

    pub(super) fn end_session(&self, end: EndSession, id: Option<u64>) -> Result<Text, Refusal> {
        self.may_help()?;
        let session = self
            .hub
            .sessions
            .get(&self.identity.group, end.session_id)
            .filter(|session| self.takes_part(session))
            .ok_or_else(|| Refusal::not_found("session"))?;
        self.hub.end_session(&session, EndReason::AgentEnded);
        Ok(Text::answer(id, &ToAgent::Ok {}))
    }

    /// Whether this agent asked for the session or is in it: others' sessions are not its to end.
    pub(super) fn takes_part(&self, session: &LiveSession) -> bool {
        let view = session.view();
        view.ended.is_none() && view.agents.contains(&self.identity.agent)
    }
}
