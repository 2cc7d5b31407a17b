//! Webhooks by the Standard Webhooks specification: one request for one letter, signed with HMAC-SHA256.
//!
//! Decides where a request may go, how it is signed and which answers count. Follows no redirect: what is
//! not an answer of the 200s was not taken. Keeps no connection: a sink that is asked rarely would find it
//! closed, and the address is looked up and checked anew each time.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

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
    Lookup(#[source] std::io::Error),
    #[error("host has no address")]
    Nowhere,
    #[error("{0} is not an address that webhooks may lead to")]
    Forbidden(IpAddr),
    #[error("host can't be reached: {0}")]
    Connect(std::io::Error),
    #[error("TLS failed: {0}")]
    Tls(std::io::Error),
    #[error("request failed: {0}")]
    Request(#[from] hyper::Error),
    #[error("no answer within {0:?}")]
    Late(Duration),
}

/// Sends webhooks.
pub(super) struct Webhooks {
    guard: Guard,
    tls: TlsConnector,
}

impl Webhooks {
    pub(super) fn new(guard: Guard) -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { guard, tls: TlsConnector::from(Arc::new(config)) }
    }

    /// Sends one letter, signed with each of the keys.
    pub(super) async fn send(
        &self,
        url: &str,
        keys: &[[u8; 32]],
        letter: &Letter,
        now: Wall,
    ) -> Result<(), Trouble> {
        let sent = tokio::time::timeout(limits::WEBHOOK_TIME, self.exchange(url, keys, letter, now)).await;
        match sent.unwrap_or(Err(Failed::Late(limits::WEBHOOK_TIME))) {
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
        let found: Vec<SocketAddr> =
            tokio::net::lookup_host((host, port)).await.map_err(Failed::Lookup)?.collect();
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

    #[tokio::test]
    async fn what_is_inside_is_not_reached() {
        let hooks = Webhooks::new(Guard::default());
        let letter = Letter::test(Wall(0), 1);
        for url in ["https://127.0.0.1/", "https://[::1]/", "https://localhost/", "https://169.254.169.254/"]
        {
            let refused = hooks.send(url, &[], &letter, Wall(0)).await.unwrap_err();
            let Trouble::Later(why, None) = &refused else { panic!("{refused:?}") };
            assert!(why.contains("not an address that webhooks may lead to"), "{why}");
        }
    }
}
