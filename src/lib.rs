//! Porchlight: a self-hosted, real-time presence and session relay server.
//!
//! The tree is layered; a module uses lower layers and its own folder, never higher ones (the `tidy`
//! test says so): names, numbers and credentials (0), wire formats and configuration (1), rules without
//! I/O (2), storage and cluster (3), the hub (4), the edges (5), the assembled server and the command
//! line (6). See ARCHITECTURE.md.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

// Tests beside the code use what the tests of whole servers use, which name the crate.
#[cfg(test)]
extern crate self as porchlight;

pub mod auth;
pub mod clock;
pub mod ids;
pub mod limits;
pub mod room;
pub mod telemetry;

pub mod config;
pub mod pb;
pub mod redis;
pub mod wire;

pub mod arrivals;
pub mod model;
pub mod tls;

pub mod cluster;
pub mod store;

pub mod hub;

pub mod admin;
pub mod http;
pub mod sinks;
pub mod ws;

pub mod cli;
pub mod server;
