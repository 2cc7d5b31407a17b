//! The guest's way to the server: HTTP for the door, a WebSocket for the session, both over TLS where the address says so.
//!
//! Decides how the server is reached and how a connection that breaks is told from one that is closed. Does not decide what
//! is said. It is the way of any client: the public listener, no `Origin`, the subprotocol of the contract.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::limits;

/// A connection, in clear or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A session socket.
pub(super) type Socket = WebSocketStream<Box<dyn Stream>>;

/// Where the server is.
#[derive(Clone)]
pub(super) struct Server {
    host: String,
    port: u16,
    /// What stands between the host and the paths of the contract, where a proxy serves them below one.
    prefix: String,
    tls: Option<TlsConnector>,
}

impl Server {
    /// Reads an address; `ca` vouches for a server that no public authority does.
    pub(super) fn parse(url: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no address of a server"))?;
        let host = uri.host().with_context(|| format!("{url} names no host"))?.to_owned();
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if ca.is_none() => false,
            Some("http") => bail!("{url} is not https, so --ca would protect nothing"),
            _ => bail!("{url} begins neither with https:// nor with http://"),
        };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = if secure { Some(connector(ca)?) } else { None };
        Ok(Self { host, port, prefix: uri.path().trim_end_matches('/').to_owned(), tls })
    }

    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    async fn connect(&self) -> anyhow::Result<Box<dyn Stream>> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned()).context("the host's name is none")?;
                Ok(Box::new(tls.connect(name, stream).await?))
            }
        }
    }

    /// Sends JSON to a path, and reads the answer; an empty one is null.
    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<(StatusCode, Value)> {
        tokio::time::timeout(limits::GUEST_ANSWER, self.exchange(path, body))
            .await
            .context("the server gave no answer")?
    }

    async fn exchange(&self, path: &str, body: &Value) -> anyhow::Result<(StatusCode, Value)> {
        let stream = self.connect().await.context("the server cannot be reached")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::post(format!("{}{path}", self.prefix))
            .header(HOST, self.authority())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let bytes = Limited::new(answer.into_body(), limits::HTTP_BODY_BYTES).collect().await;
        connection.abort();
        let bytes = bytes.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        let json = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? };
        Ok((status, json))
    }

    /// Opens a session socket, up to the end of the upgrade.
    pub(super) async fn open(&self) -> anyhow::Result<Socket> {
        let opening = async {
            let stream = self.connect().await?;
            let url = format!("ws://{}{}/v1/session", self.authority(), self.prefix);
            let mut request = url.into_client_request()?;
            let offered = HeaderValue::from_static("porchlight.v1");
            request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offered);
            let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
            Ok(socket)
        };
        tokio::time::timeout(limits::GUEST_ANSWER, opening).await.context("the server gave no answer")?
    }
}

fn connector(ca: Option<&Path>) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = ca {
        let unread = || format!("{} holds no certificate", file.display());
        for certificate in CertificateDer::pem_file_iter(file).with_context(unread)? {
            roots.add(certificate.with_context(unread)?)?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_whole() {
        let server = Server::parse("http://127.0.0.1:7400", None).unwrap();
        assert_eq!((server.authority().as_str(), server.prefix.as_str()), ("127.0.0.1:7400", ""));
        assert!(server.tls.is_none());
        let server = Server::parse("https://help.example.com/support/", None).unwrap();
        assert_eq!(
            (server.authority().as_str(), server.prefix.as_str()),
            ("help.example.com:443", "/support")
        );
        assert!(server.tls.is_some());
        for wrong in ["", "help.example.com", "ftp://help.example.com", "http://"] {
            assert!(Server::parse(wrong, None).is_err(), "{wrong}");
        }
        assert!(Server::parse("http://127.0.0.1", Some(Path::new("ca.pem"))).is_err());
    }
}
