//! Opening the three kinds of WebSocket and signing agents in, with every way to fail told apart.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use super::target::{Account, Target};
use super::tls::TlsFault;
use crate::limits;
use crate::wire::close::CloseCode;

/// A connection, in clear or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + fmt::Debug + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + fmt::Debug + Send + Sync + Unpin> Stream for S {}

/// A WebSocket of the load generator.
pub(super) type Socket = WebSocketStream<Box<dyn Stream>>;

const SUBPROTOCOL: &str = "porchlight.v1";

/// How long a step of a conversation may take. Longer than any deadline of the server that it should meet,
/// so that a server which hangs is told apart from one which refuses.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Which socket, and so which path and how large its buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    Visitor,
    Agent,
    Publisher,
    Viewer,
}

impl Audience {
    fn path(self) -> &'static str {
        match self {
            Self::Visitor => "/v1/visitor",
            Self::Agent => "/v1/agent",
            Self::Publisher | Self::Viewer => "/v1/session",
        }
    }

    /// Read buffers decide what an idle connection costs this process; a viewer's decides how many reads
    /// a frame takes.
    fn config(self) -> WebSocketConfig {
        let read_buffer = match self {
            Self::Visitor => 512,
            Self::Agent | Self::Publisher => 4 * 1024,
            Self::Viewer => 64 * 1024,
        };
        WebSocketConfig::default()
            .read_buffer_size(read_buffer)
            .write_buffer_size(0)
            .max_write_buffer_size(2 * limits::FRAME)
            .max_message_size(Some(2 * limits::FRAME))
            .max_frame_size(Some(2 * limits::FRAME))
    }
}

/// Why a connection did not come about or did not last.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("no free source port; raise --sources")]
    SourcePorts,
    #[error("tcp: {0}")]
    Tcp(io::Error),
    #[error(transparent)]
    Tls(TlsFault),
    #[error("http {0}")]
    Http(u16),
    #[error("closed with {code} {reason}")]
    Closed { code: u16, reason: String },
    #[error("error {code}: {message}")]
    Told { code: String, message: String },
    #[error("connection lost")]
    Lost,
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("offer ended: {0}")]
    Offer(String),
    #[error("request ended: {0}")]
    Request(String),
    #[error("unexpected: {0}")]
    Unexpected(String),
}

impl Fault {
    /// A short name to count by.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::Closed { code, .. } => {
                let known = CloseCode::ALL.iter().find(|known| known.code() == *code);
                known.map_or_else(|| format!("close {code}"), |known| format!("{code} {}", known.name()))
            }
            Self::Told { code, .. } => format!("error {code}"),
            Self::Tcp(error) => format!("tcp {}", error.kind()),
            other => other.to_string(),
        }
    }

    /// Whether a client should try again: after a *no* it never does.
    pub(super) fn may_return(&self) -> bool {
        match self {
            Self::Closed { code, .. } => CloseCode::of(*code).is_none_or(CloseCode::reconnect),
            // What a proxy says while it has no node, and a node that lets nobody in.
            Self::Http(status) => matches!(status, 502..=504),
            Self::Told { code, .. } => code == "unavailable",
            Self::Tcp(_) | Self::Lost | Self::Silent => true,
            // What a certificate and a protocol are now, they are at the next try.
            Self::SourcePorts | Self::Tls(_) | Self::Offer(_) | Self::Request(_) | Self::Unexpected(_) => {
                false
            }
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrNotAvailable => Self::SourcePorts,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
                Self::Lost
            }
            _ => Self::Tcp(error),
        }
    }
}

impl From<TlsFault> for Fault {
    fn from(fault: TlsFault) -> Self {
        match fault {
            TlsFault::Connection(error) => error.into(),
            refused => Self::Tls(refused),
        }
    }
}

impl From<tungstenite::Error> for Fault {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Io(error) => error.into(),
            tungstenite::Error::Http(response) => Self::Http(response.status().as_u16()),
            tungstenite::Error::ConnectionClosed
            | tungstenite::Error::AlreadyClosed
            | tungstenite::Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake
                | tungstenite::error::ProtocolError::HandshakeIncomplete,
            ) => Self::Lost,
            other => Self::Unexpected(other.to_string()),
        }
    }
}

/// Waits for a step, but not for ever.
pub(super) async fn patiently<T>(step: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    tokio::time::timeout(PATIENCE, step).await.unwrap_or(Err(Fault::Silent))
}

async fn connect(target: &Target, n: usize) -> Result<Box<dyn Stream>, Fault> {
    let stream = match target.source(n) {
        None => TcpStream::connect(target.address).await?,
        Some(source) => {
            let socket = TcpSocket::new_v4()?;
            socket.bind(source)?;
            socket.connect(target.address).await?
        }
    };
    stream.set_nodelay(true)?;
    match &target.tls {
        None => Ok(Box::new(stream)),
        Some(tls) => Ok(Box::new(tls.secure(stream).await?)),
    }
}

/// Opens the nth WebSocket, up to the end of the HTTP upgrade.
pub(super) async fn open(target: &Target, audience: Audience, n: usize) -> Result<Socket, Fault> {
    let stream = connect(target, n).await?;
    let mut request = target.url(audience.path()).into_client_request()?;
    let origin = HeaderValue::from_str(&target.origin)
        .map_err(|_| Fault::Unexpected("origin is not a header value".to_owned()))?;
    request.headers_mut().insert(ORIGIN, origin);
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let (socket, _) =
        tokio_tungstenite::client_async_with_config(request, stream, Some(audience.config())).await?;
    Ok(socket)
}

/// Sends one text message.
pub(super) async fn say(socket: &mut Socket, text: String) -> Result<(), Fault> {
    Ok(socket.send(Message::text(text)).await?)
}

/// What came out of a socket.
#[derive(Debug)]
pub(super) enum Heard<T> {
    Text(T),
    Frame(Bytes),
}

/// The next message that is not the WebSocket's own business.
pub(super) async fn hear<T: DeserializeOwned>(
    socket: &mut (impl Incoming + Unpin),
) -> Result<Heard<T>, Fault> {
    loop {
        match socket.next().await.ok_or(Fault::Lost)?? {
            Message::Text(text) => {
                return serde_json::from_str(text.as_str())
                    .map(Heard::Text)
                    .map_err(|error| Fault::Unexpected(format!("message not as in the contract: {error}")));
            }
            Message::Binary(frame) => return Ok(Heard::Frame(frame)),
            Message::Close(Some(close)) => {
                return Err(Fault::Closed { code: close.code.into(), reason: close.reason.to_string() });
            }
            Message::Close(None) => return Err(Fault::Lost),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// The reading side of a socket, whole or split.
pub(super) trait Incoming: futures_util::Stream<Item = Result<Message, tungstenite::Error>> {}

impl<S: futures_util::Stream<Item = Result<Message, tungstenite::Error>>> Incoming for S {}

/// The next text message; a frame where none belongs is a fault.
pub(super) async fn hear_text<T: DeserializeOwned>(socket: &mut (impl Incoming + Unpin)) -> Result<T, Fault> {
    match hear(socket).await? {
        Heard::Text(heard) => Ok(heard),
        Heard::Frame(frame) => Err(Fault::Unexpected(format!("frame of {} bytes", frame.len()))),
    }
}

#[derive(Deserialize)]
struct SignedIn {
    token: SecretString,
}

#[derive(Deserialize)]
struct Refused {
    error: RefusedError,
}

#[derive(Deserialize)]
struct RefusedError {
    code: String,
    #[serde(default)]
    message: String,
}

/// Exchanges an agent's password for a token.
pub(super) async fn sign_in(target: &Target, account: &Account) -> Result<SecretString, Fault> {
    let unexpected = |error: &dyn std::fmt::Display| Fault::Unexpected(error.to_string());
    let stream = connect(target, 0).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unexpected(&error))?;
    let connection = tokio::spawn(connection);
    let body = serde_json::json!({
        "group": target.group,
        "address": account.address,
        "password": account.password.expose_secret(),
    });
    let request = hyper::Request::post(format!("{}/v1/auth/agent", target.prefix))
        .header(hyper::header::HOST, &target.authority)
        .header(ORIGIN, &target.origin)
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(|error| unexpected(&error))?;
    let response = sender.send_request(request).await.map_err(|error| unexpected(&error))?;
    let status = response.status();
    let answer = Limited::new(response.into_body(), limits::HTTP_BODY_BYTES)
        .collect()
        .await
        .map_err(|error| Fault::Unexpected(error.to_string()))?
        .to_bytes();
    connection.abort();
    if status.is_success() {
        let signed: SignedIn = serde_json::from_slice(&answer)
            .map_err(|error| Fault::Unexpected(format!("sign-in not as in the contract: {error}")))?;
        return Ok(signed.token);
    }
    match serde_json::from_slice::<Refused>(&answer) {
        Ok(refused) => Err(Fault::Told { code: refused.error.code, message: refused.error.message }),
        Err(_) => Err(Fault::Http(status.as_u16())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_name_the_close_table() {
        let closed = |code| Fault::Closed { code, reason: String::new() }.cause();
        assert_eq!(closed(4003), "4003 overload");
        assert_eq!(closed(1006), "close 1006");
        assert_eq!(
            Fault::from(io::Error::from(io::ErrorKind::AddrNotAvailable)).cause(),
            Fault::SourcePorts.cause()
        );
    }
}
