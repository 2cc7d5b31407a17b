//! The public listener over TLS: what it agrees to, and certificates that change under open connections.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use porchlight::config::Config;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::common::client::request;
use crate::common::{DEADLINE, Site, http, json, within};

/// A certificate of its own for this machine with its key, as PEM.
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Pair {
    pub fn new() -> Self {
        Self::of(&["localhost"])
    }

    /// For these names and addresses.
    pub fn of(names: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let cert = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        Self { cert: cert.pem(), key: key.serialize_pem() }
    }

    pub fn lay(&self, dir: &Path) {
        std::fs::write(dir.join("key.pem"), &self.key).unwrap();
        std::fs::write(dir.join("cert.pem"), &self.cert).unwrap();
    }

    /// What a listener with it shows.
    fn shown(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }
}

/// A server whose public listener proves itself with what lies in the folder.
pub async fn site(pair: &Pair, change: impl FnOnce(&mut Config)) -> (Site, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    pair.lay(dir.path());
    let site = Site::with(|config| {
        config.public.tls_cert = Some(dir.path().join("cert.pem"));
        config.public.tls_key = Some(dir.path().join("key.pem"));
        change(config);
    })
    .await;
    (site, dir)
}

pub fn client(trusted: &Pair, versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.shown()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

pub async fn shake(addr: SocketAddr, client: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    within("a TLS handshake", client.connect(name, tcp)).await
}

async fn get(stream: &mut TlsStream<TcpStream>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // To the end that TLS itself tells: one that is cut off would be an error.
    within("an answer", stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Whether the listener shows this certificate now.
async fn shows(addr: SocketAddr, pair: &Pair) -> bool {
    shake(addr, &client(pair, rustls::DEFAULT_VERSIONS, &[])).await.is_ok()
}

async fn metric(site: &Site, line: &str) -> Option<f64> {
    let answer = http::get(site.running.ops, "/metrics").await;
    let value = answer.body.lines().find_map(|found| found.strip_prefix(line))?;
    Some(value.trim().parse().unwrap())
}

/// Waits until something is so.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + DEADLINE;
    while !so().await {
        assert!(tokio::time::Instant::now() < end, "{what}: not within {DEADLINE:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn pages_come_over_tls_alone_in_both_versions_of_it() {
    let pair = Pair::new();
    let (site, _dir) = site(&pair, |_| ()).await;
    for (version, agreed) in [
        (&version::TLS12, rustls::ProtocolVersion::TLSv1_2),
        (&version::TLS13, rustls::ProtocolVersion::TLSv1_3),
    ] {
        let mut stream =
            shake(site.running.public, &client(&pair, &[version], &["h2", "http/1.1"])).await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(agreed));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(get(&mut stream, "/livez").await.starts_with("HTTP/1.1 200"));
    }
    let other = client(&pair, rustls::DEFAULT_VERSIONS, &["h2"]);
    assert!(shake(site.running.public, &other).await.is_err(), "nobody is told what is not spoken");
    assert!(!shows(site.running.public, &Pair::new()).await);
    let plain = http::exchange_bytes(site.running.public, b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(!plain.starts_with(b"HTTP/"), "{plain:?}");
}

/// The first message of a client that knows nothing newer than this version, with a suite of its time.
fn old_hello(minor: u8) -> Vec<u8> {
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    // No session; AES-128-CBC with ECDHE and with RSA; no compression; curves, point formats, signatures.
    hello.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]);
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 4, 0, 2, 4, 3];
    hello.extend([0, extensions.len() as u8]);
    hello.extend(extensions);
    let mut message = vec![1, 0, 0, hello.len() as u8];
    message.extend(hello);
    let mut record = vec![22, 3, 1, 0, message.len() as u8];
    record.extend(message);
    record
}

#[tokio::test]
async fn older_versions_are_refused() {
    let (site, _dir) = site(&Pair::new(), |_| ()).await;
    for minor in [0, 1, 2] {
        let answer = http::exchange_bytes(site.running.public, &old_hello(minor)).await;
        // An alert, fatal: protocol_version (RFC 8446, 6.2).
        assert_eq!(answer.first(), Some(&21), "{answer:?}");
        assert_eq!(answer[5..7], [2, 70], "{answer:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_is_not_finished_is_given_up() {
    let (site, _dir) = site(&Pair::new(), |_| ()).await;
    let answer = http::exchange_bytes(site.running.public, &old_hello(3)[..20]).await;
    assert!(answer.is_empty(), "{answer:?}");
    let refused = r#"porchlight_refusals_total{limit="tls"}"#;
    until("it to be counted", async || metric(&site, refused).await == Some(1.0)).await;
}

type Tab = WebSocketStream<TlsStream<TcpStream>>;

async fn say(tab: &mut Tab, message: serde_json::Value) {
    within("room to send", tab.send(Message::text(message.to_string()))).await.unwrap();
}

async fn hear(tab: &mut Tab) -> serde_json::Value {
    loop {
        match within("a message", tab.next()).await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_open_connections_go_on() {
    let (old, new) = (Pair::new(), Pair::new());
    let (site, dir) = site(&old, |_| ()).await;
    let public = site.running.public;
    let stream = shake(public, &client(&old, rustls::DEFAULT_VERSIONS, &["http/1.1"])).await.unwrap();
    let opening = tokio_tungstenite::client_async(request(public, "/v1/visitor", None), stream);
    let (mut tab, _) = within("a handshake", opening).await.unwrap();
    say(&mut tab, json!({"type": "connect", "group": "demo", "visitorId": "C-1"})).await;
    assert_eq!(hear(&mut tab).await["type"], "connected");
    let expires = r#"porchlight_certificate_expires_timestamp_seconds{listener="public"}"#;
    let year_4090 = 66_900_000_000.0;
    let first = metric(&site, expires).await.unwrap();
    assert!(first > year_4090, "{first}: as long as the library makes them");

    // Noticed by itself.
    new.lay(dir.path());
    until("the new certificate", async || shows(public, &new).await).await;
    assert!(!shows(public, &old).await);
    let taken = r#"porchlight_certificate_reads_total{listener="public",outcome="ok"}"#;
    assert_eq!(metric(&site, taken).await, Some(1.0));

    // A broken one changes nothing, and is told: by itself once, and again when it is asked for.
    std::fs::write(dir.path().join("cert.pem"), "-----BEGIN CERTIFICATE-----\nnonsense\n").unwrap();
    let failed = r#"porchlight_certificate_reads_total{listener="public",outcome="failed"}"#;
    until("the failure to be counted", async || metric(&site, failed).await == Some(1.0)).await;
    site.running.read_certificates().await;
    assert_eq!(metric(&site, failed).await, Some(2.0));
    assert!(shows(public, &new).await);
    // A certificate with the key of another as well.
    std::fs::write(dir.path().join("cert.pem"), &old.cert).unwrap();
    site.running.read_certificates().await;
    assert!(shows(public, &new).await);

    // Asked for, it is taken at once.
    old.lay(dir.path());
    site.running.read_certificates().await;
    assert!(shows(public, &old).await);

    // The tab has noticed nothing of it.
    say(&mut tab, json!({"type": "extendCode", "id": 7})).await;
    while hear(&mut tab).await["id"] != 7 {}
}

#[tokio::test]
async fn much_comes_whole_over_tls() {
    let pair = Pair::new();
    let (site, _dir) = site(&pair, |_| ()).await;
    let mut stream = shake(site.running.public, &client(&pair, rustls::DEFAULT_VERSIONS, &[])).await.unwrap();
    let secured = get(&mut stream, "/agent.js").await;
    let plain = Site::start().await;
    let whole = http::get(plain.running.public, "/agent.js").await;
    assert_eq!(secured.split_once("\r\n\r\n").unwrap().1, whole.body);
}
