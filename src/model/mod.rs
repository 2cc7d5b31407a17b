//! The rules of the domain, without I/O: time, ids and chance are arguments.
//!
//! One shape for every rule: `handle(&mut self, now, input, &mut Vec<Output>)`, `next_deadline(&self)` and
//! `on_deadline(&mut self, now, &mut Vec<Output>)`. No tokio, lock, clock, randomness, log or metric.

pub mod buttons;
pub mod codes;
pub mod control;
pub mod event;
pub mod facts;
pub mod feed;
pub mod lead;
pub mod lease;
pub mod live;
pub mod origin;
pub mod permission;
pub mod presence;
pub mod receipt;
pub mod relay;
pub mod request;
pub mod schedule;
pub mod session;
pub mod session_key;
pub mod session_record;
pub mod settings;
pub mod signal;
pub mod sink;
pub mod ticket;
pub mod visitor;
