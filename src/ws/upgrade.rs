//! The handshake: from an HTTP request to a WebSocket on a task of its own.
//!
//! Refuses before any state exists: a page of an unknown origin, a client that does not offer our
//! subprotocol, a node that is going away. The handshake's future is dropped before the conversation
//! begins, so that an idle connection does not carry it.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::task::TaskTracker;

use super::conversation::{End, end};
use super::link::Link;
use super::socket::{Sizes, Socket};
use crate::hub::Hub;
use crate::hub::visitors::Caller;
use crate::model::origin::Origin;
use crate::model::settings::Audience;
use crate::room::Supply;
use crate::telemetry::SocketKind;
use crate::tls::Stream;
use crate::wire::close::{Close, CloseCode};

/// The subprotocol that clients offer and the server echoes.
const SUBPROTOCOL: &str = "porchlight.v1";

/// Read buffer of a connection that is mostly idle: its messages are short.
const SMALL_READ: usize = 512;

/// Read buffer of a session connection: a few frames of a publisher in one read. Only touched pages count.
const LARGE_READ: usize = 64 * 1024;

/// Unsent bytes in the kernel at which a session's socket counts as full. More would hide a slow viewer
/// from the rules that shed for it, and make its picture older.
const UNSENT: u32 = 128 * 1024;

/// Runs the sockets of a node.
#[derive(Clone)]
pub struct Sockets {
    hub: Arc<Hub>,
    tasks: TaskTracker,
    /// How many there may be at once.
    room: usize,
}

/// Why a handshake is refused, before any state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeError {
    /// Not a WebSocket handshake of version 13 (RFC 6455, 4.2.1).
    NotAHandshake,
    /// The subprotocol was not offered.
    Subprotocol,
    /// No group knows this origin.
    Origin,
    /// The node is going away.
    Draining,
    /// The node has too little of something.
    Full(Supply),
}

impl HandshakeError {
    /// The HTTP status it is answered with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotAHandshake | Self::Subprotocol => StatusCode::BAD_REQUEST,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Draining | Self::Full(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The `code` of the error body.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotAHandshake | Self::Subprotocol => "bad_message",
            Self::Origin => "forbidden",
            Self::Draining => "drain",
            Self::Full(_) => CloseCode::Overload.name(),
        }
    }

    /// A sentence for people.
    pub const fn message(self) -> &'static str {
        match self {
            Self::NotAHandshake => "this path takes a WebSocket handshake",
            Self::Subprotocol => "the client must offer the subprotocol porchlight.v1",
            Self::Origin => "pages of this origin are not allowed here",
            Self::Draining => "this node is going away",
            Self::Full(_) => "the node has no room",
        }
    }

    /// Whether coming back later helps.
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::Draining | Self::Full(_))
    }
}

impl Sockets {
    /// Sockets over a hub, with room for so many.
    pub fn new(hub: Arc<Hub>, room: usize) -> Self {
        Self { hub, tasks: TaskTracker::new(), room }
    }

    /// Answers a handshake of whoever has this address and runs the socket. `guard` lives as long as the connection.
    pub fn upgrade<B: Default>(
        &self,
        kind: SocketKind,
        mut request: Request<Incoming>,
        from: IpAddr,
        guard: impl Send + Sync + 'static,
    ) -> Result<Response<B>, HandshakeError> {
        let meters = self.hub.meters();
        let accept = self.check(kind, request.headers()).inspect_err(|error| {
            meters.connect(kind, error.code());
        })?;
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(Box::from);
        // A task outlives by far what is asked of its caller.
        let caller = Box::new(Caller {
            origin: text(header::ORIGIN),
            user_agent: text(header::USER_AGENT).unwrap_or_default(),
            from,
        });
        let upgrade = hyper::upgrade::on(&mut request);
        let sockets = self.clone();
        self.tasks.spawn(async move {
            let opened = Box::pin(sockets.open(kind, upgrade)).await;
            let full = sockets.hub.registry().len() > sockets.room;
            match opened {
                Some(link) if full => {
                    // A browser's script cannot read an HTTP refusal; a close code it can.
                    sockets.hub.meters().connect(kind, CloseCode::Overload.name());
                    let close = Close::new(CloseCode::Overload, "the node has no room");
                    Box::pin(end(&sockets.hub, link, End::Close(close))).await;
                }
                Some(link) => {
                    sockets.hub.meters().connect(kind, "accepted");
                    sockets.hub.meters().connections(kind).increment(1.0);
                    match kind {
                        SocketKind::Visitor => super::visitor::run(&sockets.hub, link, caller).await,
                        SocketKind::Agent => Box::pin(super::agent::run(&sockets.hub, link, *caller)).await,
                        SocketKind::Session => Box::pin(super::session::run(&sockets.hub, link)).await,
                    }
                    sockets.hub.meters().connections(kind).decrement(1.0);
                }
                None => tracing::debug!(%from, "the peer left during the handshake"),
            }
            drop(guard);
        });
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        Ok(response)
    }

    /// Cuts every connection off, without a word.
    pub fn cut(&self) {
        for connection in self.hub.registry().all() {
            connection.outbox.cut();
        }
    }

    /// Waits until every connection's task has ended.
    pub async fn closed(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn check(&self, kind: SocketKind, headers: &HeaderMap) -> Result<HeaderValue, HandshakeError> {
        let has = |name, wanted: &str| {
            headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(wanted)))
        };
        let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
        let (Some(key), true, true, true) = (
            key,
            has(header::CONNECTION, "upgrade"),
            has(header::UPGRADE, "websocket"),
            has(header::SEC_WEBSOCKET_VERSION, "13"),
        ) else {
            return Err(HandshakeError::NotAHandshake);
        };
        if self.hub.is_draining() {
            return Err(HandshakeError::Draining);
        }
        if let Some(supply) = self.hub.room().refuses() {
            self.hub.meters().refusal(supply.name());
            return Err(HandshakeError::Full(supply));
        }
        if let Some(origin) = headers.get(header::ORIGIN) {
            let origin = origin.to_str().map_err(|_| HandshakeError::Origin)?;
            let audiences: &[Audience] = match kind {
                SocketKind::Visitor => &[Audience::Visitor],
                SocketKind::Agent => &[Audience::Agent],
                SocketKind::Session => &[Audience::Visitor, Audience::Agent],
            };
            // A guest comes to its session from a page of this server, whatever groups know.
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
            let own = || Origin::parse(origin).is_some_and(|page| self.hub.is_own_page(page, host));
            let known = audiences.iter().any(|audience| self.hub.origin_known(*audience, origin));
            let guests = kind == SocketKind::Session && own();
            if !known && !guests {
                return Err(HandshakeError::Origin);
            }
        }
        if !has(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
            return Err(HandshakeError::Subprotocol);
        }
        let accept = derive_accept_key(key.as_bytes());
        HeaderValue::from_str(&accept).map_err(|_| HandshakeError::NotAHandshake)
    }

    /// Takes the stream back from HTTP once the answer is out.
    async fn open(&self, kind: SocketKind, upgrade: hyper::upgrade::OnUpgrade) -> Option<Link<Stream>> {
        let upgraded = upgrade.await.ok()?;
        let parts = upgraded.downcast::<TokioIo<Stream>>().ok()?;
        let (stream, read_ahead): (Stream, Bytes) = (parts.io.into_inner(), parts.read_buf);
        let limits = self.hub.limits();
        let sizes = match kind {
            SocketKind::Visitor => Sizes { message: limits.visitor_message, read_buffer: SMALL_READ },
            SocketKind::Agent => Sizes { message: limits.agent_message, read_buffer: SMALL_READ },
            SocketKind::Session => {
                if let Err(error) = SockRef::from(stream.tcp()).set_tcp_notsent_lowat(UNSENT) {
                    tracing::debug!(%error, "the kernel keeps its own idea of a full socket");
                }
                // Until it has attached; a publisher may then send frames.
                Sizes { message: limits.session_text, read_buffer: LARGE_READ }
            }
        };
        let connection = self.hub.registry().admit(kind, self.hub.clock().tick());
        Some(Link::new(Socket::new(stream, &read_ahead, sizes), connection, *self.hub.clock()))
    }
}
