//! Webhooks by the Standard Webhooks specification: one request for one letter, signed with HMAC-SHA256.
//!
//! Decides where a request may go, how it is signed and which answers count. Follows no redirect: what is
//! not an answer of the 200s was not taken. Keeps no connection: a sink that is asked rarely would find it
//! closed, and the address is looked up and checked anew each time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Trouble;
use super::guard::Guard;
use super::letter::Letter;
use crate::clock::Wall;
use crate::hub::sync::check_url;
use crate::limits;

/// How we call ourselves.
const AGENT: &str = concat!("porchlight/", env!("CARGO_PKG_VERSION"));

/// Why a webhook was not taken, in words for the history. None of them holds a secret.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("address {0}")]
    Url(&'static str),
    #[error("host can't be found")]
    Lookup(#[source] io::Error),
    #[error("host has no address")]
    Nowhere,
    #[error("{0} is not an address that webhooks may lead to")]
    Forbidden(IpAddr),
    #[error("host can't be reached: {0}")]
    Connect(io::Error),
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("request failed: {0}")]
    Request(#[from] hyper::Error),
    #[error("no answer within {0:?}")]
    Late(Duration),
}

/// Finds the addresses of a name.
#[async_trait]
trait Lookup: Send + Sync {
    async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// As the system does.
struct System;

#[async_trait]
impl Lookup for System {
    async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// Sends webhooks.
pub(super) struct Webhooks {
    guard: Guard,
    tls: TlsConnector,
    within: Duration,
    names: Box<dyn Lookup>,
}

impl Webhooks {
    /// Sends where the guard allows it, and waits for an answer no longer than that.
    pub(super) fn new(guard: Guard, within: Duration) -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { guard, tls: TlsConnector::from(Arc::new(config)), within, names: Box::new(System) }
    }

    /// Sends one letter, signed with each of the keys.
    pub(super) async fn send(
        &self,
        url: &str,
        keys: &[[u8; 32]],
        letter: &Letter,
        now: Wall,
    ) -> Result<(), Trouble> {
        let sent = tokio::time::timeout(self.within, self.exchange(url, keys, letter, now)).await;
        match sent.unwrap_or(Err(Failed::Late(self.within))) {
            Ok((status, _)) if status.is_success() => Ok(()),
            Ok((StatusCode::GONE, _)) => Err(Trouble::Gone("answered 410 Gone".to_owned())),
            Ok((status, wait)) => Err(Trouble::Later(format!("answered {status}"), wait)),
            Err(error) => Err(Trouble::Later(error.to_string(), None)),
        }
    }

    async fn exchange(
        &self,
        url: &str,
        keys: &[[u8; 32]],
        letter: &Letter,
        now: Wall,
    ) -> Result<(StatusCode, Option<Duration>), Failed> {
        let uri = check_url(url).map_err(Failed::Url)?;
        let encrypted = uri.scheme_str() == Some("https");
        let authority = uri.authority().ok_or(Failed::Nowhere)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let stream = self.connect(host, port, encrypted).await?;
        let request = request(&uri, authority.as_str(), keys, letter, now);
        if encrypted {
            let name = ServerName::try_from(host.to_owned()).map_err(|_| Failed::Url("names no host"))?;
            let stream = self.tls.connect(name, stream).await.map_err(Failed::Tls)?;
            ask(stream, request).await
        } else {
            ask(stream, request).await
        }
    }

    /// Connects to an address that was checked. One bad address among a name's spoils them all: a name that
    /// leads inside is no mistake.
    async fn connect(&self, host: &str, port: u16, encrypted: bool) -> Result<TcpStream, Failed> {
        let found = self.names.lookup(host, port).await.map_err(Failed::Lookup)?;
        if let Some(bad) = found.iter().find(|found| !self.guard.admits(found.ip(), encrypted)) {
            return Err(Failed::Forbidden(bad.ip()));
        }
        let mut last = Failed::Nowhere;
        for address in found {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Failed::Connect(error),
            }
        }
        Err(last)
    }
}

/// The signature of what is sent: `v1,` and the HMAC of `id.timestamp.body`.
fn signature(key: &[u8; 32], id: &str, seconds: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut signed = hmac::Context::with_key(&key);
    signed.update(format!("{id}.{seconds}.").as_bytes());
    signed.update(body.as_bytes());
    format!("v1,{}", STANDARD.encode(signed.sign()))
}

fn request(uri: &Uri, host: &str, keys: &[[u8; 32]], letter: &Letter, now: Wall) -> Request<Full<Bytes>> {
    let seconds = now.unix_seconds();
    let signatures: Vec<_> =
        keys.iter().map(|key| signature(key, &letter.id, seconds, &letter.body)).collect();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Request::post(path)
        .header(HOST, host)
        .header(USER_AGENT, AGENT)
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", &letter.id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", signatures.join(" "))
        .body(Full::new(Bytes::from(letter.body.clone())))
        .expect("an address that was parsed, names and base64 fit a request")
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Option<Duration>), Failed> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        // Read so that the peer can finish; whatever it says, the status has said it.
        let _ = Limited::new(answer.into_body(), limits::WEBHOOK_ANSWER).collect().await;
        Ok((status, wait.map(Duration::from_secs)))
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        answered = &mut exchange => answered,
        ended = &mut connection => {
            ended?;
            // The connection is over and what it brought is on its way.
            exchange.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_the_specifications() {
        // The example of the Standard Webhooks libraries.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let mut key = [0; 32];
        key[..24].copy_from_slice(&secret);
        let body = r#"{"test": 2432232314}"#;
        // A key shorter than the block is filled with zeros, so that these are the same key.
        assert_eq!(
            signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    const FORBIDDEN: &str = "not an address that webhooks may lead to";

    /// Why a letter to this address was not taken.
    async fn refused(hooks: &Webhooks, url: &str) -> String {
        match hooks.send(url, &[], &Letter::test(Wall(0), 1), Wall(0)).await {
            Err(Trouble::Later(why, None)) => why,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_inside_is_not_reached() {
        let hooks = Webhooks::new(Guard::default(), limits::WEBHOOK_TIME);
        // However it is written: as a name, in short, octal, hexadecimal or as one number, mapped, translated,
        // with whatever port.
        for host in [
            "127.0.0.1",
            "localhost",
            "169.254.169.254",
            "127.1",
            "0177.0.0.1",
            "0x7f000001",
            "2130706433",
            "0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[fe80::1]",
            "[fd00::1]",
        ] {
            for port in ["", ":22", ":8443"] {
                let why = refused(&hooks, &format!("https://{host}{port}/")).await;
                assert!(why.contains(FORBIDDEN), "{host}{port}: {why}");
            }
        }
    }

    /// Answers each question with the next of these addresses.
    struct Told(parking_lot::Mutex<std::collections::VecDeque<Vec<SocketAddr>>>);

    #[async_trait]
    impl Lookup for Told {
        async fn lookup(&self, _host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            let mut found = self.0.lock().pop_front().expect("it is asked once for each letter");
            found.iter_mut().for_each(|addr| addr.set_port(port));
            Ok(found)
        }
    }

    #[tokio::test]
    async fn a_name_that_changes_its_mind_leads_nowhere_else() {
        // One address of this machine stands for what may be reached, the other for what may not.
        let (open, inside) = (IpAddr::from([127, 0, 0, 2]), IpAddr::from([127, 0, 0, 1]));
        let (good, bad) = (SocketAddr::new(open, 0), SocketAddr::new(inside, 0));
        let socket = tokio::net::TcpListener::bind(good).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let trap = tokio::net::TcpListener::bind((inside, port)).await.unwrap();
        let answers = [vec![good], vec![bad], vec![good, bad], vec![bad, good], vec![]];
        let hooks = Webhooks {
            names: Box::new(Told(parking_lot::Mutex::new(answers.into()))),
            ..Webhooks::new(Guard::new(vec!["127.0.0.2/32".parse().unwrap()]), limits::WEBHOOK_TIME)
        };
        let url = format!("http://hook.example:{port}/");
        let receiver = async {
            let (mut stream, _) = socket.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .unwrap();
            stream
        };
        let letter = Letter::test(Wall(0), 1);
        // Looked up once: what was checked is what is connected to.
        let (sent, _stream) = tokio::join!(hooks.send(&url, &[], &letter, Wall(0)), receiver);
        assert_eq!(sent, Ok(()));
        // One bad address among good ones spoils them all, wherever it stands.
        for _ in 0..3 {
            let why = refused(&hooks, &url).await;
            assert!(why.contains(FORBIDDEN), "{why}");
        }
        assert!(refused(&hooks, &url).await.contains("no address"));
        let nobody = futures_util::FutureExt::now_or_never(trap.accept());
        assert!(nobody.is_none(), "nothing came to where it must not");
    }
}
