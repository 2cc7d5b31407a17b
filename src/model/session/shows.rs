//! What is shown in a session: the visitor makes a screen of its page, and a page again.
//!
//! Decides who may and when, and what ends with it. Does not decide what the visitor has to agree to: its browser asks
//! which screen, and the visitor alone can bring this about. No agent can ask for it by a message.

use super::{Happened, Output, Session, SessionError};
use crate::model::control::Control;
use crate::wire::session::ToParticipant;
use crate::wire::visitor::SessionKind;

/// What a session is, and what its publisher's frames are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// What was agreed to.
    pub kind: SessionKind,
    /// What is shown.
    pub now: SessionKind,
}

impl Shown {
    /// The publisher says that its frames are of this kind from now on; whether they were not before.
    pub fn becomes(&mut self, shows: SessionKind) -> Result<bool, SessionError> {
        if self.kind != SessionKind::Cobrowse {
            let kind = self.kind.as_str();
            return Err(SessionError::WrongState(format!("a session of kind {kind} stays what it is")));
        }
        if !matches!(shows, SessionKind::Cobrowse | SessionKind::Screen) {
            return Err(SessionError::Forbidden("a visitor shows its page or a screen"));
        }
        Ok(std::mem::replace(&mut self.now, shows) != shows)
    }
}

impl Session {
    /// Frames are of this kind from now on. Control ends: what was pointed at is not there any more.
    pub(super) fn show_as(&mut self, shows: SessionKind, out: &mut Vec<Output>) -> Result<(), SessionError> {
        let mut shown = Shown { kind: self.kind, now: self.shows };
        if !shown.becomes(shows)? {
            return Ok(());
        }
        self.shows = shown.now;
        self.end_control(Control::suspend, out);
        let to = self.connections(|_| true);
        out.push(Output::Tell { to, message: ToParticipant::Shows { kind: shows } });
        out.push(Output::Happened(Happened::Shows(shows)));
        out.push(Output::Moved);
        Ok(())
    }

    /// What its publisher's frames are.
    pub fn shown_kind(&self) -> SessionKind {
        self.shows
    }

    /// What is shown, where it is not what the session began as.
    pub(super) fn shows_otherwise(&self) -> Option<SessionKind> {
        (self.shows != self.kind).then_some(self.shows)
    }
}
