//! How somebody else's server is asked over HTTP: only at addresses that were checked.
//!
//! Decides where a request may go and how long it may take. Follows no redirect. Keeps no connection: a sink
//! that is asked rarely would find it closed, and the address is looked up and checked anew each time. What
//! is asked and what an answer means, the callers decide (`webhook`, `salesforce`).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::guard::Guard;
use crate::hub::sync::check_url;

/// How we call ourselves.
const AGENT: &str = concat!("porchlight/", env!("CARGO_PKG_VERSION"));

/// Why there was no answer, in words for the history. None of them holds a secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("address {0}")]
    Url(&'static str),
    #[error("host can't be found")]
    Lookup(#[source] io::Error),
    #[error("host has no address")]
    Nowhere,
    #[error("{0} is not an address that sinks may lead to")]
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

impl Failed {
    /// Whether the request may have arrived all the same.
    #[cfg(feature = "salesforce")]
    pub(super) fn is_unsure(&self) -> bool {
        matches!(self, Self::Request(_) | Self::Late(_))
    }
}

/// Bounds of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// From the look-up of the name to the end of the answer.
    pub(super) time: Duration,
    /// Bytes of the answer that are read.
    pub(super) answer: usize,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// How long it asks to be left alone.
    pub(super) wait: Option<Duration>,
    /// What it says; none when that is too long, or torn.
    #[cfg_attr(not(feature = "salesforce"), allow(dead_code, reason = "webhooks read the status alone"))]
    pub(super) body: Option<Bytes>,
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

/// Reaches servers.
pub(super) struct Reach {
    guard: Guard,
    tls: TlsConnector,
    names: Box<dyn Lookup>,
}

impl Reach {
    pub(super) fn new(guard: Guard) -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { guard, tls: TlsConnector::from(Arc::new(config)), names: Box::new(System) }
    }

    /// Asks for what lies at an address; the request says all but where and by whom.
    pub(super) async fn ask(
        &self,
        url: &str,
        request: Request<Full<Bytes>>,
        asked: Asked,
    ) -> Result<Answer, Failed> {
        let answered = tokio::time::timeout(asked.time, self.exchange(url, request, asked.answer)).await;
        answered.unwrap_or(Err(Failed::Late(asked.time)))
    }

    async fn exchange(
        &self,
        url: &str,
        mut request: Request<Full<Bytes>>,
        most: usize,
    ) -> Result<Answer, Failed> {
        let uri = check_url(url).map_err(Failed::Url)?;
        let encrypted = uri.scheme_str() == Some("https");
        let authority = uri.authority().ok_or(Failed::Nowhere)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().map_err(|_| Failed::Url("is no URL"))?;
        let named = HeaderValue::from_str(authority.as_str()).map_err(|_| Failed::Url("names no host"))?;
        request.headers_mut().insert(HOST, named);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let stream = self.connect(host, port, encrypted).await?;
        if encrypted {
            let name = ServerName::try_from(host.to_owned()).map_err(|_| Failed::Url("names no host"))?;
            let stream = self.tls.connect(name, stream).await.map_err(Failed::Tls)?;
            speak(stream, request, most).await
        } else {
            speak(stream, request, most).await
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

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    most: usize,
) -> Result<Answer, Failed> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        // Read so that the peer can finish, too; a body that ends early leaves the status what it was.
        let body = Limited::new(answer.into_body(), most).collect().await;
        let body = body.ok().map(|body| body.to_bytes());
        Ok(Answer { status, wait: wait.map(Duration::from_secs), body })
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

    const FORBIDDEN: &str = "not an address that sinks may lead to";

    const ASKED: Asked = Asked { time: Duration::from_secs(10), answer: 1_024 };

    async fn ask(reach: &Reach, url: &str) -> Result<Answer, Failed> {
        reach.ask(url, Request::post("/").body(Full::default()).unwrap(), ASKED).await
    }

    /// Why this address was not asked.
    async fn refused(reach: &Reach, url: &str) -> String {
        match ask(reach, url).await {
            Err(error) => error.to_string(),
            Ok(answer) => panic!("{url}: {answer:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_inside_is_not_reached() {
        let reach = Reach::new(Guard::default());
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
                let why = refused(&reach, &format!("https://{host}{port}/")).await;
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
        let reach = Reach {
            names: Box::new(Told(parking_lot::Mutex::new(answers.into()))),
            ..Reach::new(Guard::new(vec!["127.0.0.2/32".parse().unwrap()]))
        };
        let url = format!("http://hook.example:{port}/");
        let receiver = async {
            let (mut stream, _) = socket.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .unwrap();
            stream
        };
        // Looked up once: what was checked is what is connected to.
        let (sent, _stream) = tokio::join!(ask(&reach, &url), receiver);
        assert_eq!(sent.unwrap().status, StatusCode::NO_CONTENT);
        // One bad address among good ones spoils them all, wherever it stands.
        for _ in 0..3 {
            let why = refused(&reach, &url).await;
            assert!(why.contains(FORBIDDEN), "{why}");
        }
        assert!(refused(&reach, &url).await.contains("no address"));
        let nobody = futures_util::FutureExt::now_or_never(trap.accept());
        assert!(nobody.is_none(), "nothing came to where it must not");
    }
}
