//! The accept loop and one HTTP/1.1 connection.
//!
//! Admits connections, reads their requests within limits, and hands the three socket paths to the hook
//! before any routing. Ends politely when told to stop: open requests are answered, idle connections
//! closed; upgraded sockets have left by then and are drained by their own edge. Run by `server` for the
//! public and the ops listener.

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::admission::{Admission, Refused};
use super::error::ApiError;
use super::proxied::{self, BadHeader};
use super::{ConnectionGuard, Peer, UpgradeHook};
use crate::arrivals::{Arrival, Arrivals};
use crate::limits;
use crate::telemetry::{Meters, SocketKind};
use crate::tls::{Certificates, HandshakeFailed, Stream};

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
    /// With a request head, and with what a proxy says before it.
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
    /// Whether connections come from trusted proxies, which say for whom (PROXY protocol).
    pub proxied: bool,
    /// What the listener proves itself with; none speaks plain text.
    pub tls: Option<Arc<Certificates>>,
    /// What is counted.
    pub meters: Arc<Meters>,
}

/// Why a connection through a proxy is refused.
#[derive(Debug, thiserror::Error)]
enum BadProxy {
    #[error("it does not come from one of public.trusted_proxies")]
    Stranger,
    #[error(transparent)]
    Header(#[from] BadHeader),
}

impl Listener {
    /// Accepts until `stop`, then waits for the open requests, or until `force`.
    pub async fn run(self, stop: CancellationToken, force: CancellationToken) {
        let Self { socket, edge, admission, timing, proxied, tls, meters } = self;
        // Sockets are for the public, and only operators' machines ask where there are none.
        let serves_by_spare = edge.upgrade.is_none();
        let (name, spares) = match serves_by_spare {
            true => ("ops", limits::OPERATOR_SPARES),
            false => ("public", limits::PUBLIC_SPARES),
        };
        let mut arrivals = Arrivals::new(name, socket, spares, Arc::clone(&meters));
        let admitting = Arc::clone(&admission);
        let shared = Arc::new(Shared {
            edge,
            http: http(timing),
            timing,
            proxied,
            tls,
            stop,
            force,
            admission: admitting,
            meters,
            warned: Mutex::new(None),
        });
        let tasks = TaskTracker::new();
        loop {
            let Arrival { stream, from, by_spare } = tokio::select! {
                biased;
                () = shared.stop.cancelled() => break,
                arrival = arrivals.next() => arrival,
            };
            // The last descriptor is for telling one after the other, unless it was kept to serve.
            if by_spare && !serves_by_spare {
                shared.refuse(&stream, Refused::Files);
                continue;
            }
            match admission.admit(from.ip()) {
                Ok(guard) => {
                    tasks.spawn(Arc::clone(&shared).serve(stream, from.ip().to_canonical(), guard));
                }
                Err(refused) => shared.refuse(&stream, refused),
            }
        }
        drop(arrivals);
        tasks.close();
        tasks.wait().await;
    }
}

/// What the connections of one listener have in common.
struct Shared {
    edge: Edge,
    http: http1::Builder,
    timing: Timing,
    proxied: bool,
    tls: Option<Arc<Certificates>>,
    stop: CancellationToken,
    force: CancellationToken,
    admission: Arc<Admission>,
    meters: Arc<Meters>,
    /// When a refused connection was last warned of.
    warned: Mutex<Option<Instant>>,
}

impl Shared {
    async fn serve(self: Arc<Self>, stream: TcpStream, ip: IpAddr, guard: ConnectionGuard) {
        let entered = tokio::select! {
            biased;
            () = self.stop.cancelled() => return,
            // What it takes is given back before the connection is served.
            entered = Box::pin(self.enter(stream, ip, guard)) => entered,
        };
        let Some((stream, peer)) = entered else { return };
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

    /// Finds out who is there and shakes hands, before a request is read. None: they were refused.
    async fn enter(&self, mut tcp: TcpStream, ip: IpAddr, guard: ConnectionGuard) -> Option<(Stream, Peer)> {
        let peer = self.peer(&mut tcp, ip, guard).await?;
        let Some(tls) = &self.tls else { return Some((Stream::Plain(tcp), peer)) };
        match tls.accept(tcp).await {
            Ok(stream) => Some((Stream::Secured(Box::new(stream)), peer)),
            Err(error @ HandshakeFailed::Challenge) => {
                tracing::debug!(%error, "a connection is over");
                None
            }
            Err(error) => {
                // Ordinary on the open internet, as other early ends are.
                self.meters.refusal("tls");
                tracing::debug!(%error, cause = error.source().map(tracing::field::display), "no TLS");
                None
            }
        }
    }

    /// Who is there, by what a proxy says first where there is one.
    async fn peer(&self, stream: &mut TcpStream, ip: IpAddr, guard: ConnectionGuard) -> Option<Peer> {
        let mut peer = Peer { ip, guard: Arc::new(guard), share: None };
        if !self.proxied {
            return Some(peer);
        }
        let told = if self.admission.trusts(ip) {
            proxied::client(stream, self.timing.header).await.map_err(BadProxy::from)
        } else {
            Err(BadProxy::Stranger)
        };
        match told {
            // The proxy itself asks how things are.
            Ok(None) => {}
            Ok(Some(client)) => {
                peer.ip = client;
                match self.admission.share(client) {
                    Ok(share) => peer.share = share.map(Arc::new),
                    Err(refused) => {
                        self.refuse(stream, refused);
                        return None;
                    }
                }
            }
            Err(error) => {
                self.meters.refusal("proxy_header");
                self.warn(ip, &error);
                return None;
            }
        }
        Some(peer)
    }

    /// Turns a connection away that there is no room for. Over TLS that can't be told in one write.
    fn refuse(&self, stream: &TcpStream, refused: Refused) {
        self.meters.refusal(refused.name());
        if self.tls.is_none() {
            turn_away(stream, refused);
        }
    }

    /// Says why a connection was refused, unless one was a moment ago.
    fn warn(&self, from: IpAddr, error: &BadProxy) {
        let now = Instant::now();
        let mut warned = self.warned.lock();
        if warned.is_none_or(|at| now.duration_since(at) >= limits::REFUSAL_WARNING) {
            *warned = Some(now);
            tracing::warn!(%from, %error, "refused a connection: public.proxy_protocol is on");
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, mut peer: Peer) -> Response<Body> {
        if let Some(client) = self.admission.client(peer.ip, request.headers()) {
            peer.ip = client;
            if socket_kind(request.uri().path()).is_some() {
                match self.admission.share(client) {
                    Ok(share) => peer.share = share.map(Arc::new),
                    Err(refused) => {
                        self.meters.refusal(refused.name());
                        return ApiError::too_many_connections().respond();
                    }
                }
            }
        }
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

/// Tells a connection that is not admitted, as far as one write goes: nothing is waited for on its
/// behalf.
fn turn_away(stream: &TcpStream, refused: Refused) {
    let (status, code) = match refused {
        Refused::Files | Refused::Total => ("503 Service Unavailable", "overload"),
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
    use super::super::forwarded::Proxies;
    use super::*;
    use crate::config::Public;
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
        listen(edge, ceilings, timing, false)
    }

    fn listen(edge: Edge, ceilings: Ceilings, timing: Timing, proxied: bool) -> Site {
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = socket.local_addr().unwrap();
        let admission = Admission::new(ceilings);
        let (stop, force) = (CancellationToken::new(), CancellationToken::new());
        let (meters, scrape) = Meters::new();
        let listener =
            Listener { socket, edge, admission: Arc::clone(&admission), timing, proxied, tls: None, meters };
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
        let proxies = Proxies::default();
        let ceilings = Ceilings { total: 10, per_ip: 1, exempt_loopback: false, proxies };
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
    async fn clients_of_a_trusted_proxy_have_shares_of_their_own() {
        let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let peers = Arc::clone(&seen);
        // Keeps what it is given, as a socket does.
        let hook: UpgradeHook = Arc::new(move |_, _, peer| {
            peers.lock().push(peer);
            let answer = ApiError::unavailable("sockets are not served").respond();
            Box::pin(std::future::ready(answer))
        });
        let public = Public { trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()], ..Public::default() };
        let proxies = Proxies::from(&public);
        let ceilings = Ceilings { total: 10, per_ip: 1, exempt_loopback: false, proxies };
        let site = open(plain(Some(hook)), ceilings, Timing::default());
        let ask = async |forwarded: &str| {
            let head = format!("GET /v1/visitor HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{forwarded}\r\n");
            status(&say(site.addr, &head).await).to_owned()
        };
        assert_eq!(ask("x-forwarded-for: 198.51.100.7\r\n").await, "503");
        let made_up = "x-forwarded-for: 203.0.113.9\r\nx-forwarded-for: 198.51.100.7\r\n";
        assert_eq!(ask(made_up).await, "429", "one is all that it may have");
        assert_eq!(ask("x-forwarded-for: 198.51.100.8\r\n").await, "503");
        let addresses: Vec<_> = seen.lock().iter().map(|peer: &Peer| peer.ip.to_string()).collect();
        assert_eq!(addresses, ["198.51.100.7", "198.51.100.8"]);
        seen.lock().clear();
        assert_eq!(ask(made_up).await, "503", "its share is given back");
    }

    #[tokio::test]
    async fn a_proxy_says_for_whom_it_connects() {
        let trusted = |networks: &[&str]| {
            let trusted_proxies = networks.iter().map(|network| network.parse().unwrap()).collect();
            let proxies = Proxies::from(&Public { trusted_proxies, ..Public::default() });
            Ceilings { total: 10, per_ip: 1, exempt_loopback: false, proxies }
        };
        let hello = get("/hello");
        let site = listen(plain(None), trusted(&["127.0.0.1/32"]), Timing::default(), true);
        let told = async |header: &str| say(site.addr, &format!("{header}{hello}")).await;
        for header in ["PROXY TCP4 198.51.100.7 192.0.2.1 1 2\r\n", "PROXY UNKNOWN\r\n"] {
            assert_eq!(status(&told(header).await), "200", "{header}");
        }
        // Two at once from one address are too many here, whatever port and proxy they come by.
        let mut first = TcpStream::connect(site.addr).await.unwrap();
        let header = "PROXY TCP4 198.51.100.7 192.0.2.1 1 2\r\n";
        first.write_all(format!("{header}GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut byte = [0];
        within(first.read_exact(&mut byte)).await.unwrap();
        assert_eq!(status(&told(header).await), "429");
        assert_eq!(status(&told("PROXY TCP4 198.51.100.8 192.0.2.1 1 2\r\n").await), "200");
        // In clear words, and with a header of HTTP that would say so elsewhere.
        assert_eq!(say(site.addr, &hello).await, "");
        assert_eq!(told("PROXY TCP4 nobody\r\n").await, "");
        let refused = site.scrape.render();
        assert!(refused.contains(r#"porchlight_refusals_total{limit="proxy_header"} 2"#), "{refused}");

        let strangers = listen(plain(None), trusted(&["192.0.2.0/24"]), Timing::default(), true);
        assert_eq!(say(strangers.addr, &format!("{header}{hello}")).await, "");
        let hasty = Timing { header: Duration::from_millis(50) };
        let slow = listen(plain(None), trusted(&["127.0.0.1/32"]), hasty, true);
        assert_eq!(say(slow.addr, "PROXY TCP4 198.").await, "");
        // One that asks for none gets none.
        let open = open(plain(None), trusted(&["127.0.0.1/32"]), Timing::default());
        assert_eq!(status(&say(open.addr, &format!("{header}{hello}")).await), "400");
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
