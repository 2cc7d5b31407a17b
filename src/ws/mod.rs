//! The three WebSockets: visitor, agent, session. One task per connection.

pub mod socket;
