//! The only door for the edges: live connections, presence, requests and sessions.

pub mod accounts;
