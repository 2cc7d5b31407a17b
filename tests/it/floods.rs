//! Clients that begin and never end, or send far too much: each is cut off in its time, and nobody else feels it.

use std::net::SocketAddr;
use std::time::Duration;

use porchlight::limits;
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Request;
use tonic::transport::Channel;

use crate::common::raw::{SUBPROTOCOL, handshake};
use crate::common::{Site, within};
use crate::public_tls::{self, Pair};

/// Soon enough for a test, and long enough for an honest client on a busy machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection with or without TLS.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}
type Line = Box<dyn Duplex>;

/// The public listener as clients come to it.
struct Door {
    addr: SocketAddr,
    tls: Option<TlsConnector>,
}

impl Door {
    async fn dial(&self) -> Line {
        match &self.tls {
            None => Box::new(TcpStream::connect(self.addr).await.unwrap()),
            Some(tls) => Box::new(public_tls::shake(self.addr, tls).await.unwrap()),
        }
    }

    /// What it says to these bytes until it hangs up, in whatever way it does.
    async fn told(&self, bytes: &[u8]) -> String {
        let mut line = self.dial().await;
        let _ = line.write_all(bytes).await;
        rest(line).await
    }

    async fn serves(&self) {
        let told = self.told(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    }
}

async fn rest(mut line: Line) -> String {
    let mut told = Vec::new();
    let _ = within("the server to hang up", line.read_to_end(&mut told)).await;
    String::from_utf8_lossy(&told).into_owned()
}

/// Servers with either kind of door, of little patience.
async fn sites() -> [(Site, Door, Option<tempfile::TempDir>); 2] {
    let change = |config: &mut porchlight::config::Config| {
        config.limits.http_header = PATIENCE;
        config.limits.first_message = PATIENCE;
    };
    let plain = Site::with(change).await;
    let door = Door { addr: plain.running.public, tls: None };
    let pair = Pair::new();
    let (secured, dir) = public_tls::site(&pair, change).await;
    let tls = Some(public_tls::client(&pair, rustls::DEFAULT_VERSIONS, &[]));
    let tls = Door { addr: secured.running.public, tls };
    [(plain, door, None), (secured, tls, Some(dir))]
}

#[tokio::test]
async fn heads_that_do_not_end_are_cut_off() {
    for (_site, door, _dir) in sites().await {
        // Silent, in the middle of a line, between two lines, and after a whole request.
        let begun: [&[u8]; 4] = [
            b"",
            b"GET /livez HT",
            b"GET /livez HTTP/1.1\r\nhost: x\r\n",
            b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n",
        ];
        let mut slow = Vec::new();
        for at in 0..200 {
            let mut line = door.dial().await;
            line.write_all(begun[at % begun.len()]).await.unwrap();
            slow.push(line);
        }
        door.serves().await;
        for (at, line) in slow.into_iter().enumerate() {
            let told = rest(line).await;
            assert_eq!(told.starts_with("HTTP/1.1 200"), at % begun.len() == 3, "{at}: {told}");
        }
    }
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_cut_off_too() {
    for (_site, door, _dir) in sites().await {
        let (mut from, mut into) = tokio::io::split(door.dial().await);
        let drip = async {
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            into.write_all(b"GET /livez HTTP/1.1\r\nx: ").await.unwrap();
            while into.write_all(b"x").await.is_ok() && into.flush().await.is_ok() {
                pace.tick().await;
            }
        };
        let mut told = Vec::new();
        let end = async {
            tokio::select! {
                _ = from.read_to_end(&mut told) => {}
                () = drip => {}
            }
        };
        within("the server to hang up", end).await;
        assert!(!told.starts_with(b"HTTP/1.1 200"), "{told:?}");
    }
}

#[tokio::test]
async fn heads_of_too_much_are_refused() {
    for (_site, door, _dir) in sites().await {
        let many = "x: y\r\n".repeat(101);
        let long = format!("x: {}\r\n", "y".repeat(limits::HTTP_HEAD_BYTES));
        let address = "x".repeat(limits::HTTP_HEAD_BYTES);
        for head in [
            format!("GET /livez HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
            format!("GET /livez HTTP/1.1\r\nhost: x\r\n{long}\r\n"),
            // No end in sight.
            format!("GET /livez HTTP/1.1\r\nhost: x\r\n{long}"),
        ] {
            let told = door.told(head.as_bytes()).await;
            assert!(told.starts_with("HTTP/1.1 431"), "{told}");
        }
        let told = door.told(format!("GET /{address} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await;
        assert!(told.starts_with("HTTP/1.1 4"), "{told}");
        door.serves().await;
    }
}

#[tokio::test]
async fn a_socket_that_says_nothing_is_closed() {
    for (_site, door, _dir) in sites().await {
        let mut silent = Vec::new();
        for _ in 0..50 {
            for path in ["/v1/visitor", "/v1/agent", "/v1/session"] {
                let mut line = door.dial().await;
                line.write_all(handshake(path, SUBPROTOCOL).as_bytes()).await.unwrap();
                silent.push(line);
            }
        }
        door.serves().await;
        for mut line in silent {
            let mut told = Vec::new();
            // A close frame, and then the end: nobody answers it.
            let _ = within("the server to hang up", line.read_to_end(&mut told)).await;
            assert!(told.starts_with(b"HTTP/1.1 101"), "{told:?}");
            assert!(told.windows(2).any(|two| two == 4002_u16.to_be_bytes()), "{told:?}");
        }
    }
}

#[tokio::test]
async fn handshakes_that_are_not_finished_hold_nobody_up() {
    let pair = Pair::new();
    let (site, _dir) = public_tls::site(&pair, |_| ()).await;
    let tls = Some(public_tls::client(&pair, rustls::DEFAULT_VERSIONS, &[]));
    let door = Door { addr: site.running.public, tls };
    let mut begun = Vec::new();
    for at in 0..200 {
        let mut line = TcpStream::connect(door.addr).await.unwrap();
        // Nothing, and the beginning of a record.
        line.write_all(&[22, 3, 1][..at % 4]).await.unwrap();
        begun.push(line);
    }
    door.serves().await;
    for line in begun {
        assert_eq!(rest(Box::new(line)).await, "");
    }
    assert!(site.metric(r#"porchlight_refusals_total{limit="tls"}"#).await >= 200.0);
}

// ── HTTP/2 on the admin listener ────────────────────────────────────────────────────────────────

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a call that is not finished by it: more of its message is to come.
fn call() -> Vec<u8> {
    let mut head = vec![0x83, 0x86];
    for (name, value) in [(4, "/porchlight.v1.Admin/GetNode"), (1, "x"), (15, "")] {
        if name == 15 {
            // content-type, by name.
            head.extend([0, 12]);
            head.extend(b"content-type");
            head.push(16);
            head.extend(b"application/grpc");
        } else {
            head.extend([name, u8::try_from(value.len()).unwrap()]);
            head.extend(value.as_bytes());
        }
    }
    head
}

/// An HTTP/2 connection of bare bytes.
struct Two {
    line: TcpStream,
    rest: Vec<u8>,
}

impl Two {
    async fn open(addr: SocketAddr) -> Self {
        let mut line = TcpStream::connect(addr).await.unwrap();
        line.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
        Self { line, rest: Vec::new() }
    }

    /// The next frame: kind, stream and payload; none at the end.
    async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        within("a frame", async {
            loop {
                if self.rest.len() >= 9 {
                    let length = usize::from(self.rest[0]) << 16
                        | usize::from(self.rest[1]) << 8
                        | usize::from(self.rest[2]);
                    if self.rest.len() >= 9 + length {
                        let frame: Vec<u8> = self.rest.drain(..9 + length).collect();
                        let stream = u32::from_be_bytes(frame[5..9].try_into().unwrap());
                        return Some((frame[3], stream, frame[9..].to_vec()));
                    }
                }
                match self.line.read_buf(&mut self.rest).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        })
        .await
    }

    /// With which error the server says that it is over; none when it hung up without a word.
    async fn farewell(mut self) -> Option<u32> {
        while let Some((kind, _, payload)) = self.next().await {
            if kind == GO_AWAY {
                return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
        }
        None
    }
}

/// An operator whose calls must go on.
struct Operator {
    client: AdminClient<Channel>,
    key: String,
}

impl Operator {
    async fn of(site: &Site) -> Self {
        let endpoint = Channel::from_shared(format!("http://{}", site.running.admin)).unwrap();
        let client = AdminClient::new(within("a gRPC connection", endpoint.connect()).await.unwrap());
        Self { client, key: site.running.demo.as_ref().unwrap().admin_key.clone() }
    }

    async fn is_served(&mut self) {
        let mut request = Request::new(v1::GetNodeRequest {});
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.key).parse().unwrap());
        within("an answer", self.client.get_node(request)).await.unwrap();
    }
}

#[tokio::test]
async fn a_flood_over_http_2_ends_its_own_connection_only() {
    let site = Site::start().await;
    let addr = site.running.admin;
    let mut operator = Operator::of(&site).await;
    let mut visitor = site.visitor("C-1").await;

    // Rapid reset: each call is taken back before it is served.
    let mut flood = Two::open(addr).await;
    let mut bytes = Vec::new();
    for at in 0..2_000 {
        bytes.extend(frame(HEADERS, END_HEADERS, 2 * at + 1, &call()));
        bytes.extend(frame(RESET, 0, 2 * at + 1, &8_u32.to_be_bytes()));
    }
    let _ = flood.line.write_all(&bytes).await;
    // ENHANCE_YOUR_CALM (RFC 9113, 7), unless the rest of the flood met a connection that is over already.
    assert!(matches!(flood.farewell().await, Some(11) | None), "it is over");
    operator.is_served().await;

    // A head without an end.
    let mut flood = Two::open(addr).await;
    let mut bytes = frame(HEADERS, 0, 1, &call());
    let more = [&[0, 1][..], b"x", &[100], &[b'y'; 100]].concat().repeat(100);
    for _ in 0..2_000 {
        bytes.extend(frame(CONTINUATION, 0, 1, &more));
    }
    let _ = flood.line.write_all(&bytes).await;
    assert!(flood.farewell().await.is_none_or(|error| error != 0), "it is over");
    operator.is_served().await;

    // More calls at once than a connection may have: the others are refused, and those go on.
    let mut many = Two::open(addr).await;
    let calls = limits::ADMIN_CALLS + 5;
    for at in 0..calls {
        many.line.write_all(&frame(HEADERS, END_HEADERS, 2 * at + 1, &call())).await.unwrap();
    }
    let mut refused = Vec::new();
    while refused.len() < 5 {
        let (kind, stream, payload) = many.next().await.expect("the connection stays");
        assert_ne!(kind, GO_AWAY, "{payload:?}");
        // REFUSED_STREAM.
        if kind == RESET && payload == 7_u32.to_be_bytes() {
            refused.push(stream);
        }
    }
    assert!(refused.iter().all(|stream| *stream > 2 * limits::ADMIN_CALLS), "{refused:?}");
    operator.is_served().await;
    visitor.settle().await;
}

#[tokio::test]
async fn silent_connections_do_not_keep_operators_out() {
    let site = Site::start().await;
    let addr = site.running.admin;
    let mut operator = Operator::of(&site).await;
    let mut silent = Vec::new();
    for at in 0..limits::ADMIN_CONNECTIONS - 1 {
        let mut line = TcpStream::connect(addr).await.unwrap();
        line.write_all(&PREFACE[..at % PREFACE.len()]).await.unwrap();
        silent.push(line);
    }
    // No more than so many: one beyond is let go at once, and who is there is served.
    let beyond = TcpStream::connect(addr).await.unwrap();
    assert_eq!(rest(Box::new(beyond)).await, "");
    assert!(site.metric(r#"porchlight_refusals_total{limit="admin_connections"}"#).await >= 1.0);
    operator.is_served().await;
    for line in silent {
        rest(Box::new(line)).await;
    }
    Operator::of(&site).await.is_served().await;
}
