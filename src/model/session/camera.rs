//! An agent's camera: its face beside what is shared, for everybody else in the session.
//!
//! Decides who may, that one is shown at a time, and when it ends: with the agent's own word, its connection, its
//! right or the session. Frames carry no sender, so that two cameras could not be told apart. Does not carry frames, and
//! does not know when the settings change: the hub tells.

use super::{Happened, Output, Session, SessionError};
use crate::ids::{AgentId, ParticipantId};
use crate::model::settings::Settings;
use crate::wire::session::{Side, ToParticipant};

/// An agent's right to show its camera. Nothing but the settings of its group make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraRight(AgentId);

/// Why an agent may not show its camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("you do not have the permission to show your camera")]
pub struct NoCamera;

impl NoCamera {
    /// The reason for programs.
    pub const REASON: &'static str = "no_agent_video";
    /// The reason for people.
    pub const MESSAGE: &'static str = "You do not have the permission to show your camera.";
}

impl CameraRight {
    /// The right of this agent, if the settings give it: nobody has it unasked.
    pub fn of(settings: &Settings, agent: &AgentId) -> Result<Self, NoCamera> {
        if settings.permissions_of(agent).agent_video { Ok(Self(agent.clone())) } else { Err(NoCamera) }
    }
}

impl Session {
    /// An agent shows its camera from now on.
    pub(super) fn start_camera(
        &mut self,
        id: ParticipantId,
        right: &CameraRight,
        out: &mut Vec<Output>,
    ) -> Result<(), SessionError> {
        let me = self.participant(id)?;
        let Some(connection) =
            me.connection.filter(|_| me.side == Side::Agent && me.agent.as_ref() == Some(&right.0))
        else {
            return Err(SessionError::Forbidden("only an agent may show its camera"));
        };
        match self.camera {
            Some(shown) if shown == id => return Ok(()),
            Some(_) => return Err(SessionError::WrongState("another agent shows its camera".to_owned())),
            None => {}
        }
        let person = me.person();
        self.camera = Some(id);
        out.push(Output::Camera(Some(connection)));
        self.tell_camera(out);
        out.push(Output::Happened(Happened::CameraStarted(person)));
        Ok(())
    }

    /// An agent shows its camera no longer. Of another's nothing is changed.
    pub(super) fn stop_camera(&mut self, id: ParticipantId, out: &mut Vec<Output>) {
        if self.camera == Some(id) {
            self.end_camera(out);
        }
    }

    /// Whoever's camera is shown, it is no longer. The picture goes first.
    pub(super) fn end_camera(&mut self, out: &mut Vec<Output>) {
        if self.camera.take().is_some() {
            out.push(Output::Camera(None));
            self.tell_camera(out);
            out.push(Output::Happened(Happened::CameraStopped));
        }
    }

    fn tell_camera(&self, out: &mut Vec<Output>) {
        let to = self.connections(|_| true);
        if !to.is_empty() {
            out.push(Output::Tell { to, message: ToParticipant::Camera { participant_id: self.camera } });
        }
    }

    /// The agent whose camera is shown.
    pub fn camera_of(&self) -> Option<&AgentId> {
        self.agent_of(self.camera?)
    }

    /// The agent that a participant is.
    pub fn agent_of(&self, id: ParticipantId) -> Option<&AgentId> {
        self.participant(id).ok()?.agent.as_ref()
    }
}
