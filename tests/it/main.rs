//! The whole server over real sockets: one file per promise of the product.
//!
//! Servers run in process on free ports; clients are a WebSocket client, a gRPC client and bare TCP.

#![allow(missing_docs, unreachable_pub, reason = "a test binary has no readers from outside")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

mod across_nodes;
mod admin;
mod admin_accounts;
mod admin_calls;
mod admin_json;
mod admin_live;
mod admin_tls;
mod adopted;
mod bad_input;
mod camera;
mod changes;
mod cli;
mod cli_events;
mod cli_process;
mod cluster_faults;
mod cluster_presence;
mod cluster_script;
mod cobrowse;
mod doctor;
mod drain;
mod event_api;
mod events;
mod everywhere;
mod failovers;
mod feed;
mod floods;
mod full;
mod guests;
mod half_open;
mod identity;
mod identity_login;
mod isolation;
mod join;
mod kill;
mod kill_events;
mod kinds_across_nodes;
mod leads;
mod lease;
mod load_tls;
mod log_levels;
mod matrix_admin;
mod matrix_messages;
#[cfg(target_os = "linux")]
mod memory;
mod migrate;
mod minting;
mod mixed_versions;
mod native_guest;
mod network_cuts;
mod one_runner;
mod opened;
mod operators_everywhere;
#[cfg(feature = "otel")]
mod otel;
mod permissions;
mod presence;
mod proto;
mod proxies;
mod public_tls;
mod receipts;
mod redis_log;
mod redis_topologies;
mod relay;
mod replay;
mod resume;
mod retention;
mod secrets;
mod service_manager;
mod sessions;
mod shared_store;
mod sinks;
#[cfg(feature = "salesforce")]
mod sinks_salesforce;
mod store_faults;
mod subscriptions;
mod sync_schedule;
mod times;
mod token_life;
mod two_nodes;
mod vectors;
mod view;
