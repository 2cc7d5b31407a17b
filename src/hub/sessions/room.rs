//! Whether a node that runs sessions takes one more.

use crate::hub::Hub;
use crate::limits;
use crate::wire::error::{ErrorCode, Refusal};

impl Hub {
    /// Whether one more session may begin.
    pub(in crate::hub) fn has_room(&self) -> Result<(), Refusal> {
        if self.is_draining() {
            return Err(Refusal::new(ErrorCode::Unavailable, "the node is going away"));
        }
        if let Some(supply) = self.room.refuses() {
            self.meters.refusal(supply.name());
            return Err(Refusal::new(ErrorCode::Unavailable, "the node is full"));
        }
        if self.sessions.len() >= limits::SESSIONS_PER_NODE {
            self.meters.refusal("sessions_per_node");
            return Err(Refusal::new(ErrorCode::TooMany, "the node has as many sessions as it may"));
        }
        if self.events.is_busy() {
            self.meters.refusal("events_waiting");
            return Err(Refusal::new(ErrorCode::TooMany, "the node cannot write down what happens"));
        }
        Ok(())
    }
}
