//! The accept loop and one HTTP/1.1 connection.
//!
//! Admits connections, reads their requests within limits, and hands the three socket paths to the hook
//! before any routing. Ends politely when told to stop: open requests are answered, idle connections
//! closed; upgraded sockets have left by then and are drained by their own edge. Run by `server` for the
//! public and the ops listener.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::admission::{Admission, Refused};
use super::error::ApiError;
use super::{Peer, UpgradeHook};
use crate::limits;
use crate::telemetry::{Meters, SocketKind};

/// A listener that can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {addr}")]
pub struct BindError {
    addr: SocketAddr,
    source: io::Error,
}

/// Opens a listening socket. The address may be taken again at once after a restart.
pub fn bind(addr: SocketAddr) -> Result<TcpListener, BindError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // Inherited by accepted sockets, which saves a system call for each.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&addr.into())?;
        socket.listen(limits::BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|source| BindError { addr, source })
}

/// What answers the requests of a listener.
#[derive(Clone)]
pub struct Edge {
    /// Everything but sockets.
    pub router: Router,
    /// The three socket paths; absent on listeners without sockets.
    pub upgrade: Option<UpgradeHook>,
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge").field("upgrade", &self.upgrade.is_some()).finish_non_exhaustive()
    }
}

impl Edge {
    async fn answer(&self, mut request: Request<Incoming>, peer: Peer) -> Response<Body> {
        if let (Some(upgrade), Some(kind)) = (&self.upgrade, socket_kind(request.uri().path())) {
            if request.method() != Method::GET {
                return ApiError::method_not_allowed().respond();
            }
            return upgrade(kind, request, peer).await;
        }
        request.extensions_mut().insert(peer);
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Which socket a path names, if any.
fn socket_kind(path: &str) -> Option<SocketKind> {
    match path {
        "/v1/visitor" => Some(SocketKind::Visitor),
        "/v1/agent" => Some(SocketKind::Agent),
        "/v1/session" => Some(SocketKind::Session),
        _ => None,
    }
}

/// How patient a listener is.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// With a request head.
    pub header: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { header: limits::HTTP_HEADER }
    }
}

/// One listening socket with all that serves it.
#[derive(Debug)]
pub struct Listener {
    /// The open socket.
    pub socket: TcpListener,
    /// What answers.
    pub edge: Edge,
    /// Who may come in.
    pub admission: Arc<Admission>,
    /// How long a request may take to arrive.
    pub timing: Timing,
    /// What is counted.
    pub meters: Arc<Meters>,
}

/// The loop's next step.
enum Next {
    Accepted(io::Result<(TcpStream, SocketAddr)>),
    Stop,
}

impl Listener {
    /// Accepts until `stop`, then waits for the open requests, or until `force`.
    pub async fn run(self, stop: CancellationToken, force: CancellationToken) {
        let Self { socket, edge, admission, timing, meters } = self;
        let shared = Arc::new(Shared { edge, http: http(timing), stop, force });
        let tasks = TaskTracker::new();
        loop {
            let next = tokio::select! {
                biased;
                () = shared.stop.cancelled() => Next::Stop,
                accepted = socket.accept() => Next::Accepted(accepted),
            };
            let (stream, addr) = match next {
                Next::Stop => break,
                Next::Accepted(Ok(accepted)) => accepted,
                Next::Accepted(Err(error)) if is_about_the_peer(&error) => continue,
                Next::Accepted(Err(error)) => {
                    tracing::warn!(%error, "can't accept connections, waiting a moment");
                    meters.refusal("files");
                    tokio::select! {
                        () = shared.stop.cancelled() => break,
                        () = tokio::time::sleep(limits::ACCEPT_BACK_OFF) => continue,
                    }
                }
            };
            match admission.admit(addr.ip()) {
                Ok(guard) => {
                    let peer = Peer { addr, guard: Arc::new(guard) };
                    tasks.spawn(Arc::clone(&shared).serve(stream, peer));
                }
                Err(refused) => {
                    meters.refusal(refused.name());
                    turn_away(&stream, refused);
                }
            }
        }
        drop(socket);
        tasks.close();
        tasks.wait().await;
    }
}

/// What the connections of one listener have in common.
struct Shared {
    edge: Edge,
    http: http1::Builder,
    stop: CancellationToken,
    force: CancellationToken,
}

impl Shared {
    async fn serve(self: Arc<Self>, stream: TcpStream, peer: Peer) {
        let service = service_fn(|request| {
            let answer = Arc::clone(&self).answer(request, peer.clone());
            async { Ok::<_, Infallible>(answer.await) }
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.force.cancelled() => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            // Ordinary on the open internet: a head too large or too slow, a peer that went.
            tracing::debug!(%error, "an HTTP connection ended early");
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        self.edge.answer(request, peer).await
    }
}

fn http(timing: Timing) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(timing.header)
        .max_header_size(limits::HTTP_HEAD_BYTES)
        .max_buf_size(limits::HTTP_BUFFER);
    http
}

/// Errors that say something about one connection, not about the listener.
fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Tells a connection that is not admitted, as far as one write goes: nothing is waited for on its
/// behalf.
fn turn_away(stream: &TcpStream, refused: Refused) {
    let (status, code) = match refused {
        Refused::Total => ("503 Service Unavailable", "overload"),
        Refused::PerIp => ("429 Too Many Requests", "rate_limited"),
    };
    let body = format!(r#"{{"error":{{"code":"{code}","message":"{refused}","requestId":""}}}}"#);
    let answer = format!(
        "HTTP/1.1 {status}\r\nretry-after: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        limits::COME_BACK.as_secs(),
        body.len(),
    );
    let _ = stream.try_write(answer.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::admission::Ceilings;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;

    /// Longest that a test waits for what must happen.
    const DEADLINE: Duration = Duration::from_secs(10);

    struct Site {
        addr: SocketAddr,
        admission: Arc<Admission>,
        stop: CancellationToken,
        force: CancellationToken,
        task: JoinHandle<()>,
        scrape: metrics_exporter_prometheus::PrometheusHandle,
    }

    fn open(edge: Edge, ceilings: Ceilings, timing: Timing) -> Site {
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = socket.local_addr().unwrap();
        let admission = Admission::new(ceilings);
        let (stop, force) = (CancellationToken::new(), CancellationToken::new());
        let (meters, scrape) = Meters::new();
        let listener = Listener { socket, edge, admission: Arc::clone(&admission), timing, meters };
        let task = tokio::spawn(listener.run(stop.clone(), force.clone()));
        Site { addr, admission, stop, force, task, scrape }
    }

    fn plain(upgrade: Option<UpgradeHook>) -> Edge {
        let router = Router::new()
            .route("/hello", axum::routing::get(|| async { "hello" }))
            .fallback(|| async { ApiError::not_found() })
            .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() });
        Edge { router, upgrade }
    }

    async fn within<T>(work: impl Future<Output = T>) -> T {
        tokio::time::timeout(DEADLINE, work).await.expect("it happens in time")
    }

    /// Everything the server says until it closes. A reset after the answer counts as closed.
    async fn say(addr: SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let _ = stream.write_all(text.as_bytes()).await;
        hear(&mut stream).await
    }

    async fn hear(stream: &mut TcpStream) -> String {
        let mut heard = Vec::new();
        let _ = within(stream.read_to_end(&mut heard)).await;
        String::from_utf8(heard).unwrap()
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    }

    fn status(answer: &str) -> &str {
        answer.split(' ').nth(1).unwrap_or("")
    }

    #[tokio::test]
    async fn refusals_are_json() {
        let site = open(plain(None), Ceilings::none(), Timing::default());
        assert_eq!(status(&say(site.addr, &get("/hello")).await), "200");
        let missing = say(site.addr, &get("/nothing")).await;
        assert_eq!(status(&missing), "404");
        assert!(missing.contains("content-type: application/json"), "{missing}");
        assert!(missing.contains(r#"{"error":{"code":"not_found","message":"#), "{missing}");
        let wrong = say(site.addr, "POST /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert_eq!(status(&wrong), "405");
        assert!(wrong.contains(r#""code":"method_not_allowed""#), "{wrong}");
    }

    #[tokio::test]
    async fn a_head_too_large_is_refused() {
        let site = open(plain(None), Ceilings::none(), Timing::default());
        let long = "x".repeat(limits::HTTP_HEAD_BYTES);
        let answer = say(site.addr, &format!("GET /hello HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n")).await;
        assert_eq!(status(&answer), "431");
    }

    #[tokio::test]
    async fn a_slow_head_is_cut_off() {
        let timing = Timing { header: Duration::from_millis(50) };
        let site = open(plain(None), Ceilings::none(), timing);
        let answer = say(site.addr, "GET /hello HTTP/1.1\r\nhost:").await;
        assert!(!answer.contains("200"), "{answer}");
    }

    #[tokio::test]
    async fn an_address_over_its_share_is_told_and_counted() {
        let ceilings = Ceilings { total: 10, per_ip: 1, exempt_loopback: false };
        let site = open(plain(None), ceilings, Timing::default());
        let mut first = TcpStream::connect(site.addr).await.unwrap();
        first.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut byte = [0];
        within(first.read_exact(&mut byte)).await.unwrap();
        let mut second = TcpStream::connect(site.addr).await.unwrap();
        let answer = hear(&mut second).await;
        assert_eq!(status(&answer), "429");
        assert!(answer.contains("retry-after: 5") && answer.contains(r#""code":"rate_limited""#), "{answer}");
        let counted = r#"porchlight_refusals_total{limit="connections_per_ip"} 1"#;
        assert!(site.scrape.render().contains(counted));
    }

    #[tokio::test]
    async fn the_hook_gets_the_socket_paths_and_nothing_else() {
        let calls = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&calls);
        let hook: UpgradeHook = Arc::new(move |kind, request, peer| {
            assert_eq!(request.uri().path(), format!("/v1/{}", kind.name()));
            seen.fetch_add(1, Ordering::Relaxed);
            drop(peer);
            let answer = ApiError::unavailable("sockets are not served").after(limits::COME_BACK).respond();
            Box::pin(std::future::ready(answer))
        });
        let site = open(plain(Some(hook)), Ceilings::none(), Timing::default());
        for path in ["/v1/visitor", "/v1/agent", "/v1/session"] {
            assert_eq!(status(&say(site.addr, &get(path)).await), "503", "{path}");
        }
        for path in ["/v1/visitors", "/v1", "/v1/visitor/"] {
            assert_eq!(status(&say(site.addr, &get(path)).await), "404", "{path}");
        }
        let wrong = say(site.addr, "POST /v1/visitor HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert_eq!(status(&wrong), "405");
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_stop_closes_idle_connections_and_waits_for_open_requests() {
        let asked = Arc::new(tokio::sync::Notify::new());
        let heard = Arc::clone(&asked);
        let mut edge = plain(None);
        edge.router = edge.router.route(
            "/stuck",
            axum::routing::get(async move || {
                heard.notify_one();
                std::future::pending::<()>().await;
            }),
        );
        let site = open(edge, Ceilings::none(), Timing::default());
        let mut idle = TcpStream::connect(site.addr).await.unwrap();
        idle.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut byte = [0];
        within(idle.read_exact(&mut byte)).await.unwrap();
        let mut stuck = TcpStream::connect(site.addr).await.unwrap();
        stuck.write_all(b"GET /stuck HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        within(asked.notified()).await;
        site.stop.cancel();
        assert!(hear(&mut idle).await.ends_with("hello"));
        assert!(!site.task.is_finished());
        site.force.cancel();
        within(site.task).await.unwrap();
        assert_eq!(site.admission.total(), 0);
        assert!(TcpStream::connect(site.addr).await.is_err());
    }
}
