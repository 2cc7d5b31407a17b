//! One WebSocket client with a memory: what it heard and was not asked for yet waits in order.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::transcript::Transcript;
use super::{DEADLINE, canary, within};

/// What came from the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Text(Value),
    Frame(Bytes),
    /// The server closed with this code, or the stream ended without one.
    Closed(Option<u16>),
}

impl Heard {
    fn is(&self, kind: &str) -> bool {
        matches!(self, Self::Text(text) if text["type"] == kind)
    }

    fn answers(&self, id: u64) -> bool {
        matches!(self, Self::Text(text) if text["id"] == id)
    }
}

/// A handshake request for a socket, as a browser-less client sends it.
pub fn request(addr: SocketAddr, path: &str, origin: Option<&str>) -> Request {
    let mut request = format!("ws://{addr}{path}").into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", "porchlight.v1".parse().unwrap());
    headers.insert("user-agent", "it/1".parse().unwrap());
    if let Some(origin) = origin {
        headers.insert("origin", origin.parse().unwrap());
    }
    request
}

pub struct Client {
    pub name: String,
    pub transcript: Transcript,
    socket: WebSocketStream<TcpStream>,
    /// Heard and not yet asked for.
    stash: VecDeque<Heard>,
    next_id: u64,
    closed: Option<Option<u16>>,
    /// The sentence of the server's close.
    pub reason: String,
}

impl Client {
    /// Opens a socket; nothing is said on it yet.
    pub async fn open(transcript: &Transcript, name: &str, addr: SocketAddr, path: &str) -> Self {
        let stream = within("a TCP connection", TcpStream::connect(addr)).await.unwrap();
        Self::over(transcript, name, stream, request(addr, path, None)).await
    }

    /// The same over a TCP connection that the test made itself.
    pub async fn over(transcript: &Transcript, name: &str, stream: TcpStream, request: Request) -> Self {
        stream.set_nodelay(true).unwrap();
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let opening = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        let (socket, response) = match within("a handshake", opening).await {
            Ok(opened) => opened,
            Err(error) => transcript.fail(format!("{name}: handshake failed: {error}")),
        };
        assert_eq!(response.headers()["sec-websocket-protocol"], "porchlight.v1");
        Self {
            name: name.to_owned(),
            transcript: transcript.clone(),
            socket,
            stash: VecDeque::new(),
            next_id: 1,
            closed: None,
            reason: String::new(),
        }
    }

    pub fn fail(&self, why: impl std::fmt::Display) -> ! {
        self.transcript.fail(format!("{}: {why}", self.name))
    }

    // ── Saying ─────────────────────────────────────────────────────────────────────────────────

    pub async fn send(&mut self, message: Value) {
        self.transcript.note(&self.name, format_args!("→ {message}"));
        canary::learn(&message);
        self.raw(Message::text(message.to_string())).await;
    }

    pub async fn send_frame(&mut self, frame: Bytes) {
        self.transcript.note(&self.name, format_args!("→ frame of {} bytes", frame.len()));
        self.raw(Message::Binary(frame)).await;
    }

    /// Sends any message. A peer that is gone is no failure here: what the test expects next tells.
    pub async fn raw(&mut self, message: Message) {
        let sent = within("room to send", self.socket.send(message)).await;
        if let Err(error) = sent {
            self.transcript.note(&self.name, format_args!("→ failed: {error}"));
        }
    }

    /// Sends a request with an id and returns the answer that carries it.
    pub async fn call(&mut self, mut message: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        message["id"] = json!(id);
        let what = format!("an answer to {}", message["type"]);
        self.send(message).await;
        match self.find(&what, |heard| heard.answers(id)).await {
            Heard::Text(mut answer) => {
                answer.as_object_mut().unwrap().remove("id");
                answer
            }
            _ => unreachable!("only text carries an id"),
        }
    }

    /// Sends a request that must be answered with a message of this type.
    pub async fn ask(&mut self, message: Value, answer: &str) -> Value {
        let got = self.call(message.clone()).await;
        if got["type"] != answer {
            self.fail(format_args!("{message} was to be answered with {answer}, not {got}"));
        }
        got
    }

    /// Sends a request that must be refused, and returns with which code.
    pub async fn refused(&mut self, message: Value) -> String {
        let got = self.ask(message, "error").await;
        assert!(!got["message"].as_str().unwrap().is_empty(), "people are told why");
        got["code"].as_str().unwrap().to_owned()
    }

    // ── Hearing ────────────────────────────────────────────────────────────────────────────────

    /// The next message of this type; what comes before it waits.
    pub async fn expect(&mut self, kind: &str) -> Value {
        self.expect_where(kind, |_| true).await
    }

    /// The next message of this type that also fits; what comes before it waits.
    pub async fn expect_where(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let wanted = |heard: &Heard| heard.is(kind) && matches!(heard, Heard::Text(text) if fits(text));
        match self.find(kind, wanted).await {
            Heard::Text(text) => text,
            _ => unreachable!("only text has a type"),
        }
    }

    /// The next frame, byte for byte.
    pub async fn expect_frame(&mut self) -> Bytes {
        match self.find("a frame", |heard| matches!(heard, Heard::Frame(_))).await {
            Heard::Frame(frame) => frame,
            _ => unreachable!("only frames were looked for"),
        }
    }

    /// So many frames.
    pub async fn expect_frames(&mut self, count: usize) -> Vec<Bytes> {
        let mut frames = Vec::with_capacity(count);
        while frames.len() < count {
            frames.push(self.expect_frame().await);
        }
        frames
    }

    /// The server closes with this code; what comes before it waits.
    pub async fn expect_close(&mut self, code: u16) {
        let heard = self.find_even_closed("the close", |heard| matches!(heard, Heard::Closed(_))).await;
        if heard != Heard::Closed(Some(code)) {
            self.fail(format_args!("was to be closed with {code}, not {heard:?}"));
        }
    }

    /// Everything that the server had to say up to now: a round trip that nothing overtakes. News of
    /// visitors ranks below answers, hence two of them.
    pub async fn settle(&mut self) -> Vec<Heard> {
        for _ in 0..2 {
            let code = self.refused(json!({"type": "ping"})).await;
            assert!(matches!(code.as_str(), "unknown_type" | "rate_limited"), "{code}");
        }
        self.stash.drain(..).collect()
    }

    /// Forgets what was heard so far.
    pub async fn skip(&mut self) {
        self.settle().await;
    }

    /// Nothing is left that the server had to say and that was not asked for. Feedback comes by the clock.
    pub async fn expect_nothing(&mut self) {
        let mut heard = self.settle().await;
        heard.retain(|heard| !heard.is("feedback"));
        if !heard.is_empty() {
            self.fail(format_args!("nothing was to come, but {heard:?}"));
        }
    }

    /// The texts of one type in what the server had to say up to now; frames and other types are dropped.
    pub async fn settled(&mut self, kind: &str) -> Vec<Value> {
        let heard = self.settle().await;
        heard
            .into_iter()
            .filter_map(|heard| match heard {
                Heard::Text(text) if text["type"] == kind => Some(text),
                _ => None,
            })
            .collect()
    }

    /// What comes next, whatever it is.
    pub async fn hear(&mut self) -> Heard {
        match self.stash.pop_front() {
            Some(heard) => heard,
            None => self.read("anything").await,
        }
    }

    async fn find(&mut self, what: &str, wanted: impl Fn(&Heard) -> bool) -> Heard {
        let heard = self.find_even_closed(what, |heard| wanted(heard) || matches!(heard, Heard::Closed(_)));
        match heard.await {
            Heard::Closed(code) => self.fail(format_args!("waited for {what}, but was closed: {code:?}")),
            heard => heard,
        }
    }

    async fn find_even_closed(&mut self, what: &str, wanted: impl Fn(&Heard) -> bool) -> Heard {
        if let Some(at) = self.stash.iter().position(&wanted) {
            return self.stash.remove(at).expect("it was just seen");
        }
        loop {
            let heard = self.read(what).await;
            if wanted(&heard) {
                return heard;
            }
            self.stash.push_back(heard);
        }
    }

    async fn read(&mut self, what: &str) -> Heard {
        if let Some(code) = self.closed {
            return Heard::Closed(code);
        }
        loop {
            let Ok(next) = tokio::time::timeout(DEADLINE, self.socket.next()).await else {
                self.fail(format_args!("waited for {what} in vain; unasked: {:?}", self.stash));
            };
            let heard = match next {
                Some(Ok(Message::Text(text))) => {
                    self.transcript.note(&self.name, format_args!("← {text}"));
                    let message: Value = serde_json::from_str(&text).expect("the server speaks JSON");
                    canary::learn(&message);
                    if message["type"] == "error" {
                        canary::told("an error", &text);
                    }
                    Heard::Text(message)
                }
                Some(Ok(Message::Binary(frame))) => {
                    self.transcript.note(&self.name, format_args!("← frame of {} bytes", frame.len()));
                    Heard::Frame(frame)
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(close))) => {
                    let code = close.as_ref().map(|close| u16::from(close.code));
                    self.transcript.note(&self.name, format_args!("← close {close:?}"));
                    self.reason = close.map(|close| close.reason.to_string()).unwrap_or_default();
                    canary::told("the sentence of a close", &self.reason);
                    self.closed = Some(code);
                    // The answer to the close goes out with the next poll.
                    let _over = tokio::time::timeout(DEADLINE, self.socket.next()).await;
                    Heard::Closed(code)
                }
                None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => {
                    self.closed = Some(None);
                    Heard::Closed(None)
                }
                Some(Err(error)) => {
                    self.transcript.note(&self.name, format_args!("← lost: {error}"));
                    self.closed = Some(None);
                    Heard::Closed(None)
                }
            };
            return heard;
        }
    }

    // ── Going ──────────────────────────────────────────────────────────────────────────────────

    /// Closes as a page does that is left.
    pub async fn go(mut self) {
        self.transcript.note(&self.name, "goes");
        let _closed = self.socket.close(None).await;
        within("the server's goodbye", async { while let Some(Ok(_)) = self.socket.next().await {} }).await;
    }

    /// Drops the TCP connection without a word.
    pub fn vanish(self) {
        self.transcript.note(&self.name, "vanishes");
    }
}
