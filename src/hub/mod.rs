//! The only door for the edges: live connections, presence, requests and sessions.

pub mod driver;
pub mod outbox;
pub mod registry;
pub mod relay;
pub mod timers;
