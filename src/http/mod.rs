//! The HTTP edge: listeners, routes, sign-in, pages and scripts, health.
//!
//! Decides how requests become answers and who may open a connection at all. Does not decide what a
//! WebSocket says: the three socket paths are handed, unparsed, to an [`UpgradeHook`]. Built and run by
//! `server`.

mod admission;
mod assets;
mod auth;
mod error;
mod forwarded;
mod guest;
mod health;
mod listener;
mod ops;
mod proxied;
mod receipts;
mod routes;

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::{Request, Response};

use crate::telemetry::SocketKind;

pub use admission::{Admission, Ceilings, ConnectionGuard, Refused, Share};
pub use assets::has_cobrowse;
pub use error::ApiError;
pub use forwarded::Proxies;
pub use guest::guest_router;
pub use health::{Health, PartState};
pub use listener::{BindError, Edge, Listener, Timing, bind};
pub use ops::ops_router;
pub use routes::{PublicState, public_router};

/// Who is at the other end of a connection. It travels as a request extension as well.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address; behind a trusted proxy, that of the proxy's client.
    pub ip: IpAddr,
    /// Its place among the admitted connections. Whoever takes a connection over keeps this until the
    /// socket is closed.
    pub guard: Arc<ConnectionGuard>,
    /// Its place in its address's share, where that is not part of `guard`: what a trusted proxy brings. Kept as long.
    pub share: Option<Arc<Share>>,
}

/// Takes over a request to one of the three WebSocket paths: checks it, answers it (101 or a refusal)
/// and runs the socket on a task of its own. Called before any routing, for speed.
pub type UpgradeHook =
    Arc<dyn Fn(SocketKind, Request<Incoming>, Peer) -> BoxFuture<'static, Response<Body>> + Send + Sync>;
