//! What goes over the WebSockets: messages, frame headers, close codes. Bytes only; no rules of the domain.

pub mod close;
pub mod frame;
