//! Speaks just enough of the contract to test the load generator against: no rules, no limits, no clean-up.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::target::TargetArgs;

/// How the server misbehaves.
#[derive(Debug, Clone, Default)]
pub(super) struct Conduct {
    /// From this visitor connection on each is closed as overload.
    pub(super) refuse_from: Option<usize>,
    /// Withholds the frame with this sequence from the last viewer.
    pub(super) lose_frame: Option<u32>,
    /// Ends a session at the frame with this sequence.
    pub(super) end_at: Option<u32>,
    /// So many visitor connections are sent away as by a node that drains, right after they were let in.
    pub(super) drain_first: usize,
    /// Asks for a key frame with each frame that is relayed.
    pub(super) ask_key_frames: bool,
}

type Out = UnboundedSender<Message>;

#[derive(Default)]
struct World {
    conduct: Conduct,
    connects: usize,
    visitors: HashMap<String, Visitor>,
    watchers: Vec<Out>,
    issued: usize,
    tickets: HashMap<String, (String, bool)>,
    kinds: Vec<(u32, bool)>,
}

struct Visitor {
    out: Out,
    version: u64,
    data: Value,
    /// Agents that wait for the visitor's consent.
    asking: Vec<Out>,
    shares: bool,
    publisher: Option<Out>,
    viewers: Vec<Out>,
}

pub(super) struct TestServer {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
}

impl TestServer {
    pub(super) async fn start(conduct: Conduct) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let world = Arc::new(Mutex::new(World { conduct, ..World::default() }));
        let shared = Arc::clone(&world);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, world }
    }

    /// Arguments that point at it, with two agents to sign in as.
    pub(super) fn target_args(&self) -> TargetArgs {
        let folder = tempfile::tempdir().unwrap().keep();
        let agents =
            [json!({"address": "alice", "password": "a"}), json!({"address": "bob", "password": "b"})];
        let text = json!({"public": self.address.to_string(), "group": "demo", "agents": agents}).to_string();
        let file = folder.join("dev.json");
        std::fs::write(&file, text).unwrap();
        TargetArgs { dev_json: Some(file), sources: 2, json: true, ..TargetArgs::default() }
    }

    pub(super) fn connects(&self) -> usize {
        self.world.lock().connects
    }

    pub(super) fn visitor_ids(&self) -> BTreeSet<String> {
        self.world.lock().visitors.keys().cloned().collect()
    }

    /// Sequence and key flag of each frame that was published.
    pub(super) fn published(&self) -> Vec<(u32, bool)> {
        self.world.lock().kinds.clone()
    }
}

async fn serve(mut stream: TcpStream, world: Arc<Mutex<World>>) {
    stream.set_nodelay(true).unwrap();
    let mut first = [0; 4];
    stream.peek(&mut first).await.unwrap();
    if first == *b"POST" {
        let mut request = vec![0; 4_096];
        let read = stream.read(&mut request).await.unwrap();
        assert!(String::from_utf8_lossy(&request[..read]).contains("/v1/auth/agent"));
        let body = json!({"token": "t", "expiresAt": "x", "agent": {}}).to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        return;
    }
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let check = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        path = request.uri().path().to_owned();
        assert!(request.headers().contains_key("origin"));
        let protocol = request.headers()["sec-websocket-protocol"].clone();
        assert_eq!(protocol, "porchlight.v1");
        response.headers_mut().insert("sec-websocket-protocol", protocol);
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, check).await else { return };
    let (mut sink, mut incoming) = socket.split();
    let (out, mut outgoing) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = outgoing.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut name = String::new();
    while let Some(Ok(message)) = incoming.next().await {
        match message {
            Message::Text(text) => {
                let told: Value = serde_json::from_str(&text).unwrap();
                let world = &mut *world.lock();
                match path.as_str() {
                    "/v1/visitor" => world.visitor(&mut name, &told, &out),
                    "/v1/agent" => world.agent(&told, &out),
                    "/v1/session" => world.participant(&mut name, &told, &out),
                    other => panic!("no socket at {other}"),
                }
            }
            Message::Binary(frame) => world.lock().frame(&name, &frame),
            _ => {}
        }
    }
}

fn tell(out: &Out, message: &Value) {
    // Whoever is gone hears nothing.
    let _ = out.send(Message::text(message.to_string()));
}

fn close(out: &Out, code: u16) {
    let _ = out.send(Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() })));
}

fn text(told: &Value, field: &str) -> String {
    told[field].as_str().unwrap_or_else(|| panic!("no {field} in {told}")).to_owned()
}

impl World {
    fn visitor(&mut self, name: &mut String, told: &Value, out: &Out) {
        let kind = text(told, "type");
        if kind == "connect" {
            self.connects += 1;
            if self.conduct.refuse_from.is_some_and(|from| self.connects > from) {
                return close(out, 4003);
            }
            *name = text(told, "visitorId");
            let visitor = Visitor {
                out: out.clone(),
                version: 1,
                data: told["data"].clone(),
                asking: Vec::new(),
                shares: false,
                publisher: None,
                viewers: Vec::new(),
            };
            self.visitors.insert(name.clone(), visitor);
            tell(out, &json!({"type": "connected", "visitorId": name, "heartbeat": 60}));
            self.push(name, "present");
            if self.connects <= self.conduct.drain_first {
                tell(out, &json!({"type": "reconnect", "afterMs": 1, "reason": "drain"}));
                close(out, 4000);
            }
            return;
        }
        let visitor = self.visitors.get_mut(name).unwrap();
        visitor.version += 1;
        match kind.as_str() {
            "presence" => {
                if let Some(data) = told.get("data") {
                    visitor.data = data.clone();
                }
                let hidden = told["visibility"] == "hidden";
                self.push(name, if hidden { "hidden" } else { "present" });
            }
            "leave" => self.push(name, "absent"),
            "offerDisplayed" => {}
            "terms" => {
                assert_eq!((&told["requestId"], &told["termsVersion"]), (&json!("r"), &json!("2")));
                visitor.shares = true;
                let asking = std::mem::take(&mut visitor.asking);
                let visitor_out = visitor.out.clone();
                let ticket = self.ticket(name, true);
                tell(
                    &visitor_out,
                    &json!({"type": "ready", "sessionId": name, "role": "publisher", "ticket": ticket}),
                );
                for agent in asking {
                    self.ready(name, &agent);
                }
            }
            other => panic!("visitor said {other}"),
        }
    }

    fn push(&self, name: &str, state: &str) {
        let visitor = &self.visitors[name];
        let seen =
            json!({"visitorId": name, "state": state, "version": visitor.version, "data": visitor.data});
        for watcher in &self.watchers {
            tell(watcher, &json!({"type": "presence", "visitor": seen}));
        }
    }

    fn ticket(&mut self, name: &str, publisher: bool) -> String {
        let ticket = format!("ticket-{}", self.issued);
        self.issued += 1;
        self.tickets.insert(ticket.clone(), (name.to_owned(), publisher));
        ticket
    }

    fn ready(&mut self, name: &str, agent: &Out) {
        let ticket = self.ticket(name, false);
        tell(agent, &json!({"type": "ready", "sessionId": name, "role": "viewer", "ticket": ticket}));
    }

    fn agent(&mut self, told: &Value, out: &Out) {
        match text(told, "type").as_str() {
            "connect" => tell(out, &json!({"type": "connected", "connectionId": "c1"})),
            "watch" => {
                self.watchers.push(out.clone());
                tell(out, &json!({"type": "watching", "id": told["id"], "visitors": []}));
            }
            "join" => {
                let name = text(told, "visitorId");
                let request = json!({"type": "request", "id": told["id"], "requestId": "r", "sessionId": name, "state": "offered"});
                tell(out, &request);
                let visitor = self.visitors.get_mut(&name).unwrap();
                if visitor.shares {
                    return self.ready(&name, out);
                }
                visitor.asking.push(out.clone());
                let terms = json!({"required": true, "version": "2", "text": "…"});
                tell(
                    &visitor.out,
                    &json!({"type": "offer", "requestId": "r", "sessionId": name, "terms": terms}),
                );
            }
            other => panic!("agent said {other}"),
        }
    }

    fn participant(&mut self, name: &mut String, told: &Value, out: &Out) {
        match text(told, "type").as_str() {
            "attach" => {
                let (visitor_id, publisher) =
                    self.tickets.remove(&text(told, "ticket")).expect("a fresh ticket");
                let visitor = self.visitors.get_mut(&visitor_id).unwrap();
                tell(out, &json!({"type": "attached", "sessionId": visitor_id}));
                if publisher {
                    visitor.publisher = Some(out.clone());
                    *name = visitor_id;
                } else {
                    visitor.viewers.push(out.clone());
                    if let Some(publisher) = &visitor.publisher {
                        tell(publisher, &json!({"type": "keyFrameRequest", "stream": 0}));
                    }
                }
            }
            "ack" => {}
            "end" => {
                let visitor = &self.visitors[name.as_str()];
                for participant in visitor.viewers.iter().chain(&visitor.publisher) {
                    tell(participant, &json!({"type": "ended", "reason": "guest_ended"}));
                    close(participant, 4409);
                }
            }
            other => panic!("participant said {other}"),
        }
    }

    fn frame(&mut self, name: &str, frame: &bytes::Bytes) {
        let header = crate::wire::frame::parse(frame).unwrap();
        self.kinds.push((header.sequence, header.is_key()));
        let visitor = &self.visitors[name];
        if self.conduct.end_at == Some(header.sequence) {
            for participant in visitor.viewers.iter().chain(&visitor.publisher) {
                tell(participant, &json!({"type": "ended", "reason": "node_lost"}));
                close(participant, 4409);
            }
            return;
        }
        for (at, viewer) in visitor.viewers.iter().enumerate() {
            let last = at + 1 == visitor.viewers.len();
            if !(last && self.conduct.lose_frame == Some(header.sequence)) {
                let _ = viewer.send(Message::Binary(frame.clone()));
            }
        }
        if self.conduct.ask_key_frames
            && let Some(publisher) = &visitor.publisher
        {
            tell(publisher, &json!({"type": "keyFrameRequest", "stream": 0}));
        }
    }
}
