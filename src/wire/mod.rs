//! What goes over the WebSockets: messages, frame headers, close codes. Bytes only; no rules of the domain.

pub mod agent;
pub mod close;
pub mod error;
pub mod feed;
pub mod frame;
pub mod guest;
pub mod held;
pub mod live;
pub mod message;
pub mod permission;
pub mod record;
pub mod session;
pub mod visitor;
