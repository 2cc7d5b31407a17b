//! What listeners prove themselves with, taken anew when its files change.
//!
//! Decides when files are looked at and which certificate new connections are shown: the last that was good. A file
//! that can't be used any more changes nothing but the log and a counter, and connections that are open go on with what
//! they began with. Does not read files itself, `config` does, nor what is said over a connection. Built by `server`,
//! asked by the public and the admin listener.
//!
//! - `acme`: gets the certificate of the public listener from an authority, and renews it.

#[cfg(feature = "acme")]
mod acme;

#[cfg(feature = "acme")]
pub use acme::Acme;

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
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
    /// An authority looked for its challenge, and saw what is shown for it.
    #[error("an authority looked for its challenge")]
    Challenge,
}

/// What a client speaks who looks for the answer to a challenge (RFC 8737).
const CHALLENGE: &[u8] = b"acme-tls/1";

/// The answers to the challenges of an authority: by the name that it asks for, a certificate to show it.
#[derive(Debug, Default)]
pub struct Challenges(Mutex<HashMap<String, Arc<CertifiedKey>>>);

impl Challenges {
    /// Shows this to whoever looks for the challenge of a name.
    pub fn show(&self, name: String, answer: Arc<CertifiedKey>) {
        self.0.lock().insert(name, answer);
    }

    /// Shows nothing any more.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    fn of(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.0.lock().get(name).cloned()
    }
}

/// What a listener shows its clients.
#[derive(Debug)]
struct Shown {
    /// None as long as none was got.
    certified: Option<Arc<CertifiedKey>>,
    /// Where an authority may look for its challenges.
    challenges: Option<Arc<Challenges>>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Whoever looks for a challenge speaks nothing else.
        let looks = hello
            .alpn()
            .is_some_and(|mut spoken| spoken.next() == Some(CHALLENGE) && spoken.next().is_none());
        match &self.challenges {
            Some(challenges) if looks => challenges.of(hello.server_name()?),
            _ => self.certified.clone(),
        }
    }
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
    challenges: Option<Arc<Challenges>>,
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
            challenges: None,
            meters,
            seen: Mutex::new(Ok(files.digest)),
            current: ArcSwap::from_pointee(server_config(Some(files), speaks, None)),
        }))
    }

    /// Files that are got from an authority, and may be still to come. Until then nobody comes in but the authority, which
    /// looks for its challenges.
    pub fn awaited(
        listener: &'static str,
        speaks: Speaks,
        paths: TlsPaths,
        meters: Arc<Meters>,
    ) -> Arc<Self> {
        let files = paths.read();
        if let Ok(files) = &files {
            meters.certificate_expires(listener, files.expires);
        }
        let seen = files.as_ref().map(|files| files.digest).map_err(ToString::to_string);
        let challenges = Arc::new(Challenges::default());
        let current = server_config(files.ok(), speaks, Some(Arc::clone(&challenges)));
        Arc::new(Self {
            listener,
            speaks,
            paths,
            challenges: Some(challenges),
            meters,
            seen: Mutex::new(seen),
            current: ArcSwap::from_pointee(current),
        })
    }

    /// Looks at the files. What can't be used is told once, and again when it was `asked` for.
    pub fn look(&self, asked: bool) -> Look {
        let mut seen = self.seen.lock();
        let read = self.paths.read();
        // Who awaits its files knows that they are still to come.
        let asked = asked && (self.challenges.is_none() || self.paths.cert().exists());
        let found = read.as_ref().map(|files| files.digest).map_err(ToString::to_string);
        if found == *seen && (found.is_ok() || !asked) {
            return Look::Same;
        }
        let look = match read {
            Ok(files) => {
                self.meters.certificate_expires(self.listener, files.expires);
                let config = server_config(Some(files), self.speaks, self.challenges.clone());
                self.current.store(Arc::new(config));
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
        let entering = async {
            let mut stream = accepting.await?;
            if stream.get_ref().1.alpn_protocol() == Some(CHALLENGE) {
                // The handshake was all that it wanted; it may have gone already.
                let _gone = stream.shutdown().await;
                return Err(HandshakeFailed::Challenge);
            }
            Ok(stream)
        };
        tokio::time::timeout(limits::TLS_HANDSHAKE, entering).await.map_err(|_| HandshakeFailed::Late)?
    }
}

/// TLS 1.2 or 1.3, whatever of it the library holds safe.
fn server_config(
    files: Option<TlsFiles>,
    speaks: Speaks,
    challenges: Option<Arc<Challenges>>,
) -> ServerConfig {
    let (certified, clients) = files.map(|files| (files.certified, files.clients)).unzip();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("the provider has suites for both versions");
    let config = match clients.flatten() {
        Some(verifier) => config.with_client_cert_verifier(verifier),
        None => config.with_no_client_auth(),
    };
    let spoken = challenges.is_some().then_some(CHALLENGE);
    let shown = Shown { certified: certified.map(Arc::new), challenges };
    let mut config = config.with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = std::iter::once(speaks.alpn()).chain(spoken).map(<[u8]>::to_vec).collect();
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
