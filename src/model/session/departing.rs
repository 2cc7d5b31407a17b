//! Leaving a node that goes away: a session takes its last step here, and another node goes on with what was saved.

use super::{EndReason, Output, Phase, Session};

impl Session {
    /// Takes no more steps on this node; false where it ends instead. A question put to a visitor is not taken along:
    /// whoever put it is told so, and asks again. Everything that was said before is performed before [`Output::Departs`].
    pub fn depart(&mut self, out: &mut Vec<Output>) -> bool {
        match self.phase {
            _ if self.departing => {}
            Phase::Open(_) => self.leave_node(out),
            Phase::Asking(_) if self.door.is_some() => self.leave_node(out),
            Phase::Asking(_) => {
                self.end(EndReason::Drained, out);
                self.count(out);
            }
            Phase::Ended(_) | Phase::Moving => {}
        }
        self.departing
    }

    fn leave_node(&mut self, out: &mut Vec<Output>) {
        self.departing = true;
        out.push(Output::Departs);
    }

    /// It could not depart, and ends with its node.
    pub fn strand(&mut self, out: &mut Vec<Output>) {
        self.departing = false;
        self.end(EndReason::Drained, out);
        self.count(out);
    }
}
