//! Input that the publisher holds back though control is granted: the agents are told why.
//!
//! Decides who hears of it. What is held back, and when, the publisher decides.

use super::{Output, Session};
use crate::wire::held::InputHeld;
use crate::wire::session::{Role, Side, ToParticipant};

impl Session {
    /// Passes it on while there is a grant; after its end it is of no interest, and no error of a publisher that had not
    /// heard of the end.
    pub(super) fn input_held(&self, held: InputHeld, out: &mut Vec<Output>) {
        if !self.control.is_granted() {
            return;
        }
        let to = self.connections(|p| p.role == Role::Viewer && p.side == Side::Agent);
        if !to.is_empty() {
            out.push(Output::Tell { to, message: ToParticipant::InputHeld(held) });
        }
    }
}
