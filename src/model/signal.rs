//! A signal from an agent to a visitor's page, and what becomes of it.
//!
//! Only the words. [`super::presence`] decides the delivery; the hub and the agent sockets tell it.

/// A message to the visitor's page. The machine passes it on and reads nothing of it; the edge bounds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// What it is about.
    pub name: Box<str>,
    /// Its content, as JSON text.
    pub data: Box<str>,
    /// The sending agent's name as the visitor sees it.
    pub agent: Box<str>,
}

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Given to the focused connection.
    Delivered,
    /// Kept for the visitor's return within grace.
    Held,
    /// Not taken: the visitor is absent.
    NotPresent,
    /// Not taken: as many signals as may be are held already.
    HeldFull,
}

impl Delivery {
    /// The name on the wire: a `delivery`, or the code of an error.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Held => "held",
            Self::NotPresent => "visitor_not_present",
            Self::HeldFull => "too_many_signals",
        }
    }
}
