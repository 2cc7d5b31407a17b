//! Agents' cameras in the sessions of this node: who may show one, and who may no longer.

use std::sync::Arc;

use super::LiveSession;
use crate::hub::Hub;
use crate::hub::accounts::Group;
use crate::ids::{AgentId, AgentKey, ParticipantId};
use crate::model::session::{CameraRight, Input, NoCamera, Session};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::session::AgentVideo;

impl LiveSession {
    /// The agent that a participant is.
    pub(in crate::hub) fn agent_of(&self, participant: ParticipantId) -> Option<AgentId> {
        self.driver.read(|session| session.agent_of(participant).cloned())
    }
}

impl Hub {
    /// A participant's right to show its camera, by the settings of this moment.
    pub(in crate::hub) fn camera_right(
        &self,
        session: &LiveSession,
        participant: ParticipantId,
    ) -> Result<CameraRight, Refusal> {
        let forbidden = |why: &'static str| Refusal::new(ErrorCode::Forbidden, why);
        let agent = session.agent_of(participant);
        let agent = agent.ok_or_else(|| forbidden("only an agent may show its camera"))?;
        let group = self.accounts.group(&session.group).ok_or_else(|| Refusal::not_found("group"))?;
        CameraRight::of(&group.settings, &agent).map_err(|NoCamera| forbidden(NoCamera::MESSAGE))
    }

    /// What an agent is told of its camera as it comes in; nothing where it is none.
    pub(in crate::hub) fn agent_video(
        &self,
        session: &LiveSession,
        participant: ParticipantId,
    ) -> Option<AgentVideo> {
        let agent = session.agent_of(participant)?;
        let group = self.accounts.group(&session.group)?;
        Some(match CameraRight::of(&group.settings, &agent) {
            Ok(_) => AgentVideo {
                allowed: true,
                starts: self.starts_camera(&group, agent),
                reason: None,
                message: None,
            },
            Err(NoCamera) => AgentVideo {
                allowed: false,
                starts: false,
                reason: Some(NoCamera::REASON),
                message: Some(NoCamera::MESSAGE),
            },
        })
    }

    /// Whether an agent's profile starts its camera with the session.
    fn starts_camera(&self, group: &Group, agent: AgentId) -> bool {
        let profile = self.profile_of(&AgentKey { group: group.id.clone(), agent });
        let named = |name: &Arc<str>| group.settings.profiles.iter().find(|profile| *profile.name == **name);
        profile.as_ref().and_then(named).is_some_and(|profile| profile.start_agent_video)
    }

    /// A group's settings are others: whoever shows its camera and may no longer, stops.
    pub(in crate::hub) fn recheck_cameras(self: &Arc<Self>, group: &Group) {
        for session in self.sessions.all() {
            if session.group != group.id {
                continue;
            }
            let shown = session.driver.read(|machine: &Session| machine.camera_of().cloned());
            if shown.is_some_and(|agent| CameraRight::of(&group.settings, &agent).is_err())
                && let Err(error) = self.drive(&session, Input::EndCamera)
            {
                tracing::debug!(session = %session.id, %error, "a camera's session went elsewhere");
            }
        }
    }
}
