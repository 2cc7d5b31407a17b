//! The three WebSockets: visitor, agent, session. One task per connection.
//!
//! Decides what a conversation looks like: the handshake, the first message and its deadline, what is
//! answered, when a connection closes and with which code. What messages mean is decided by the hub.

mod agent;
mod conversation;
mod link;
mod session;
mod socket;
mod upgrade;
mod visitor;

pub use upgrade::Sockets;
