//! What may happen to a visitor's presence, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use super::super::codes::Code;
use super::super::facts::Facts;
use super::super::lease::Refusal;
use super::super::signal::{Delivery, Signal};
use super::super::visitor::Snapshot;
use crate::ids::{ConnectionId, SessionId};
use crate::wire::visitor::{PresenceUpdate, Visibility};

/// What happens to a visitor.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A connection claims that its visitor is here. A connection that is already here changes nothing.
    Arrived {
        /// Which.
        connection: ConnectionId,
        /// Whether it proved the visitor ID.
        verified: bool,
        /// Whether its tab can be seen.
        visibility: Visibility,
        /// What it tells.
        facts: Facts,
    },
    /// The visitor was on another node that let go of it, and is awaited here: it is shown as it was there. Of one
    /// who is here: nothing.
    Inherited {
        /// How it was.
        shown: Arc<Snapshot>,
        /// How long absence is kept back.
        grace: Duration,
    },
    /// A page tells news. Of an unknown connection: nothing.
    Updated {
        /// Which.
        connection: ConnectionId,
        /// What changed.
        update: PresenceUpdate,
    },
    /// A connection is gone without a word. Of an unknown connection: nothing.
    Lost {
        /// Which.
        connection: ConnectionId,
        /// How long absence is kept back when it was the last (group setting, may be zero).
        grace: Duration,
    },
    /// The visitor logged out on a connection: absent at once, in all its tabs. Of an unknown connection:
    /// nothing.
    Left {
        /// Which.
        connection: ConnectionId,
    },
    /// The visitor is ended from elsewhere: logged out on another node, disconnected by an operator, presence
    /// switched off. Absent at once, also within grace.
    Ended,
    /// Somebody may have been told this version of the visitor, by another node: what is told from now on is above
    /// it. While absent: nothing.
    Raised {
        /// The version.
        above: u64,
    },
    /// The visitor was told to other nodes in this version: what is told from now on is above it, and nobody here is told
    /// now. While absent: nothing.
    ToldAs {
        /// The version.
        version: u64,
    },
    /// A signal for the visitor.
    Signal {
        /// What to deliver.
        signal: Signal,
    },
    /// The visitor's session began or ended. While absent: nothing.
    Session {
        /// The session it is in now.
        session: Option<SessionId>,
    },
    /// The visitor's code was issued or expired. While absent: nothing.
    Coded {
        /// The code it has now.
        code: Option<Code>,
    },
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// State or facts changed: publish [`super::Presence::view`].
    Changed {
        /// Its version.
        version: u64,
    },
    /// The visitor is absent: publish [`super::Presence::view`] a last time, then forget the visitor.
    Gone {
        /// The final version.
        version: u64,
        /// Held signals that nobody came back for.
        undelivered: usize,
    },
    /// Tell a tab whether it has focus. A connection that is lost or ended is not told.
    Focus {
        /// Which tab.
        connection: ConnectionId,
        /// Whether it has focus now.
        focused: bool,
        /// Grows with each move of the focus; a receiver drops what is older than what it has, because
        /// outputs of two calls may overtake each other.
        step: u32,
    },
    /// Give a signal to a connection.
    Deliver {
        /// Which.
        connection: ConnectionId,
        /// What.
        signal: Signal,
    },
    /// The outcome of the signal just handled.
    Signalled {
        /// What became of it.
        delivery: Delivery,
    },
    /// Close a connection: its visitor was ended on another.
    Dismiss {
        /// Which.
        connection: ConnectionId,
    },
    /// Tell a connection what was not taken.
    Refused {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: Refusal,
    },
}
