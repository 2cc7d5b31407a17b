//! What listeners prove themselves with, taken anew when its files change.
//!
//! Decides when files are looked at and which certificate new connections are shown: the last that was good. A file
//! that can't be used any more changes nothing but the log and a counter, and connections that are open go on with what
//! they began with. Does not read files itself, `config` does, nor what is said over a connection. Built by `server`,
//! asked by the public and the admin listener.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::config::{TlsError, TlsFiles, TlsPaths};
use crate::limits;
use crate::telemetry::Meters;

/// What a listener speaks over its TLS, as clients name it (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1 and, by it, WebSockets.
    Http1,
    /// HTTP/2, which is gRPC's.
    Http2,
}

impl Speaks {
    const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// A handshake that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeFailed {
    /// The two can't agree, or the peer went.
    #[error("the TLS handshake failed")]
    Failed(#[from] io::Error),
    /// It took too long.
    #[error("the TLS handshake was not over after {:?}", limits::TLS_HANDSHAKE)]
    Late,
}

/// What came of a look at the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// They are what they were.
    Same,
    /// New connections are shown what is in them now.
    Taken,
    /// They can't be used, and what was taken before holds.
    Refused,
}

/// The certificate of one listener.
pub struct Certificates {
    /// The listener's name in log and metrics.
    listener: &'static str,
    speaks: Speaks,
    paths: TlsPaths,
    meters: Arc<Meters>,
    current: ArcSwap<ServerConfig>,
    /// What the last look saw: the files, or why they can't be used.
    seen: Mutex<Result<[u8; 32], String>>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads the files for the first time.
    pub fn open(
        listener: &'static str,
        speaks: Speaks,
        paths: TlsPaths,
        meters: Arc<Meters>,
    ) -> Result<Arc<Self>, TlsError> {
        let files = paths.read()?;
        meters.certificate_expires(listener, files.expires);
        Ok(Arc::new(Self {
            listener,
            speaks,
            paths,
            meters,
            seen: Mutex::new(Ok(files.digest)),
            current: ArcSwap::from_pointee(server_config(files, speaks)),
        }))
    }

    /// Looks at the files. What can't be used is told once, and again when it was `asked` for.
    pub fn look(&self, asked: bool) -> Look {
        let mut seen = self.seen.lock();
        let read = self.paths.read();
        let found = read.as_ref().map(|files| files.digest).map_err(ToString::to_string);
        if found == *seen && (found.is_ok() || !asked) {
            return Look::Same;
        }
        let look = match read {
            Ok(files) => {
                self.meters.certificate_expires(self.listener, files.expires);
                self.current.store(Arc::new(server_config(files, self.speaks)));
                tracing::info!(listener = self.listener, "took the certificate anew");
                self.meters.certificate_read(self.listener, "ok");
                Look::Taken
            }
            Err(error) => {
                let key = error.key();
                tracing::error!(listener = self.listener, key, %error, "the certificate stays as it is");
                self.meters.certificate_read(self.listener, "failed");
                Look::Refused
            }
        };
        *seen = found;
        look
    }

    /// Looks at the files again and again, until `ended`.
    pub async fn watch(self: Arc<Self>, ended: CancellationToken) {
        let mut tick = tokio::time::interval(limits::CERTIFICATE_LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                _ = tick.tick() => {}
            }
            let looking = Arc::clone(&self);
            let _looked = tokio::task::spawn_blocking(move || looking.look(false)).await;
        }
    }

    /// Shakes hands with a client, TLS 1.2 or 1.3.
    pub async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, HandshakeFailed> {
        let accepting = TlsAcceptor::from(self.current.load_full())
            .accept_with(stream, |session| session.set_buffer_limit(Some(limits::TLS_BUFFER)));
        tokio::time::timeout(limits::TLS_HANDSHAKE, accepting)
            .await
            .map_err(|_| HandshakeFailed::Late)?
            .map_err(HandshakeFailed::from)
    }
}

/// TLS 1.2 or 1.3, whatever of it the library holds safe.
fn server_config(files: TlsFiles, speaks: Speaks) -> ServerConfig {
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("the provider has suites for both versions");
    let config = match files.clients {
        Some(verifier) => config.with_client_cert_verifier(verifier),
        None => config.with_no_client_auth(),
    };
    let mut config = config.with_cert_resolver(Arc::new(SingleCertAndKey::from(files.certified)));
    config.alpn_protocols = vec![speaks.alpn().to_vec()];
    config
}

/// A connection to the public listener, with or without TLS.
#[derive(Debug)]
pub enum Stream {
    /// In clear.
    Plain(TcpStream),
    /// Over TLS; boxed, for most of what an idle connection holds would be room for it.
    Secured(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The socket below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Secured(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Secured(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Secured(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Self::Secured(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Secured(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Secured(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Secured(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
