//! Pointing: an agent shows the guest where to look, without touching anything.
//!
//! Decides who may, and how often. Does not decide how it looks: the publisher's page shows a mark that goes by itself.

use super::{Output, Session, SessionError};
use crate::clock::Now;
use crate::ids::ParticipantId;
use crate::limits;
use crate::wire::session::{Point, Role, Side, ToParticipant};

impl Session {
    /// Passes the place on to the publisher; one that comes too soon after the last is left out, as a newer one follows.
    pub(super) fn point(
        &mut self,
        now: Now,
        id: ParticipantId,
        Point { x, y }: Point,
        out: &mut Vec<Output>,
    ) -> Result<(), SessionError> {
        let shown_to =
            |p: &&mut super::Participant| p.id == id && p.role == Role::Viewer && p.side == Side::Agent;
        let Some(agent) = self.participants.iter_mut().find(shown_to) else {
            return Err(SessionError::Forbidden("only an agent that watches may point"));
        };
        if self.paused || agent.pointed.is_some_and(|last| now.tick < last.after(limits::POINT_SPACING)) {
            return Ok(());
        }
        agent.pointed = Some(now.tick);
        let to = self.connections(|p| p.role == Role::Publisher);
        if !to.is_empty() {
            out.push(Output::Tell { to, message: ToParticipant::Point { participant_id: id, x, y } });
        }
        Ok(())
    }
}
