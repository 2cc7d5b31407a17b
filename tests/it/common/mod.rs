//! What the tests of the whole server stand on: a started server, its clients, and one transcript.
//!
//! Nothing here sleeps. Everything that is awaited has a deadline, and what misses it fails with the
//! transcript of all clients of the test.

pub mod canary;
pub mod cli;
pub mod client;
pub mod desk;
pub mod frames;
pub mod http;
#[cfg(feature = "salesforce")]
pub mod org;
pub mod panics;
pub mod proxy;
pub mod raw;
pub mod redis;
pub mod rng;
pub mod roles;
pub mod site;
pub mod transcript;

pub use client::{Client, Heard};
pub use frames::Picture;
pub use roles::{AgentClient, ParticipantClient, VisitorClient};
pub use serde_json::{Value, json};
pub use site::Site;

use std::time::Duration;

/// Nothing that is awaited takes longer, on the slowest machine that runs these tests.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Awaits work that must not take longer than [`DEADLINE`].
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: did not happen within {DEADLINE:?}"),
    }
}
