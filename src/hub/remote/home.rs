//! The home's side of wires: a stub in the registry and a task for each, which lets what was said far away be
//! heard at a seat here, and sends back what the stub's outbox holds.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use crate::cluster::NodeId;
use crate::cluster::post::{Door, JoinFacts, Letter, WireId};
use crate::hub::Hub;
use crate::hub::accounts::AgentIdentity;
use crate::hub::agents::AgentSeat;
use crate::hub::outbox::Item;
use crate::hub::registry::Admitted;
use crate::hub::visitors::Arrival;
use crate::limits;
use crate::telemetry::SocketKind;
use crate::wire::agent::FromAgent;
use crate::wire::close::{Close, CloseCode};
use crate::wire::error::Refusal;
use crate::wire::frame::Source;
use crate::wire::message::{Incoming, Text, Unread, read};
use crate::wire::session::{Attach, FromParticipant};
use crate::wire::visitor::FromVisitor;

/// What was said on a wire.
#[derive(Debug)]
pub(in crate::hub) struct Said {
    pub(super) text: String,
    pub(super) ask: u64,
    pub(super) join: Option<Box<JoinFacts>>,
}

/// A wire's end here.
struct Line {
    hub: Arc<Hub>,
    node: NodeId,
    wire: WireId,
    connection: Admitted,
    said: mpsc::Receiver<Said>,
}

impl Hub {
    pub(super) fn wire_opens(self: &Arc<Self>, node: NodeId, wire: WireId, door: Door) {
        if self.registry.stubs() >= limits::WIRES_PER_NODE {
            self.meters.refusal("wires_per_node");
            let (code, reason) = (CloseCode::Overload.code(), "the node has no room".to_owned());
            return self.write_to(node, Letter::End { wire, code, reason });
        }
        let kind = match &door {
            Door::Visitor { .. } => SocketKind::Visitor,
            Door::Agent { .. } => SocketKind::Agent,
            Door::Participant { .. } => SocketKind::Session,
        };
        let (sender, said) = mpsc::channel(limits::WIRE_SAID);
        let connection = self.registry.admit_stub(kind);
        self.wires.lines.insert((node, wire), sender);
        self.wires.stubs.insert(connection.id, (node, wire));
        self.meters.wires.increment(1.0);
        let line = Line { hub: Arc::clone(self), node, wire, connection, said };
        self.runtime.spawn(line.run(door));
    }

    pub(super) fn wire_says(&self, line: (NodeId, WireId), said: Said) {
        let Some(sender) = self.wires.lines.get(&line).map(|sender| sender.clone()) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(said) {
            self.wires.lines.remove(&line);
            let reason = "too many messages are waiting".to_owned();
            let end = Letter::End { wire: line.1, code: CloseCode::TooSlow.code(), reason };
            self.write_to(line.0, end);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.hub.wires.lines.remove(&(self.node, self.wire));
        self.hub.wires.stubs.remove(&self.connection.id);
        self.hub.meters.wires.decrement(1.0);
    }
}

impl Line {
    async fn run(mut self, door: Door) {
        match door {
            Door::Visitor { key, verified, unique, issued, visibility, facts } => {
                let facts = serde_json::from_str(&facts).unwrap_or_default();
                let arrival = Arrival { key, verified, unique, issued, visibility, facts };
                self.visitor(arrival).await;
            }
            Door::Agent { group, agent, name } => {
                let identity = AgentIdentity {
                    group,
                    agent,
                    name,
                    profile: None,
                    permissions: crate::auth::permissions::Permissions::default(),
                    expires_at: crate::clock::Wall(u64::MAX),
                };
                self.agent(identity).await;
            }
            Door::Participant { attach, id, .. } => match serde_json::from_str(&attach) {
                Ok(attach) => self.participant(attach, id).await,
                Err(_) => self.close(Close::new(CloseCode::BadMessage, "attach cannot be read")),
            },
        }
    }

    async fn visitor(&mut self, arrival: Arrival) {
        let seat = match self.hub.arrive_as(&self.connection, arrival).await {
            Ok(seat) => seat,
            Err(close) => return self.close(close),
        };
        while let Some(said) = self.next().await {
            match self.read::<FromVisitor>(&said.text) {
                Ok((id, message)) => seat.hear(&self.connection, message, id),
                Err(text) => self.connection.outbox.push(text),
            }
        }
    }

    async fn agent(&mut self, identity: AgentIdentity) {
        let mut seat = AgentSeat::new(&self.hub, &self.connection, identity, None);
        while let Some(said) = self.next().await {
            let answer = match self.read::<FromAgent>(&said.text) {
                Ok((id, message)) => seat
                    .take_far(message, said.join.map(|facts| *facts), id)
                    .await
                    .unwrap_or_else(|refusal| Text::refusal(id, &refusal)),
                Err(text) => text,
            };
            // What the request led to goes first, as it does on a socket.
            if self.forward() {
                return;
            }
            self.tell(answer, said.ask);
        }
    }

    async fn participant(&mut self, attach: Attach, id: Option<u64>) {
        let participant = match self.hub.attach(&self.connection, attach, id).await {
            Ok((participant, _)) => participant,
            Err(close) => return self.close(close),
        };
        let (role, side) = (participant.role(), participant.side());
        let streams = participant.relay_of(Source::Screen).streams();
        let shown = participant.shown();
        self.hub.write_to(self.node, Letter::Attached { wire: self.wire, role, side, streams, shown });
        while let Some(said) = self.next().await {
            match self.read::<FromParticipant>(&said.text) {
                Ok((id, message)) => participant.hear(&self.connection, message, id, None),
                Err(text) => self.connection.outbox.push(text),
            }
        }
    }

    /// A message that the edge could read; what this node cannot is refused here.
    fn read<M: Incoming>(&self, text: &str) -> Result<(Option<u64>, M), Text> {
        let read = read::<M>(text);
        read.message.map(|message| (read.id, message)).map_err(|unread| {
            let (Unread::NotAMessage(refusal) | Unread::Refused(refusal)) = unread;
            Text::refusal(read.id, &Refusal::new(refusal.code, refusal.message))
        })
    }

    /// What is said next; none when the wire is over. What waits to be told is sent meanwhile.
    async fn next(&mut self) -> Option<Said> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Said>> {
        self.connection.outbox.register(cx.waker());
        if self.connection.outbox.is_cut() || self.forward() {
            return Poll::Ready(None);
        }
        self.said.poll_recv(cx)
    }

    /// Sends what the outbox holds; true when that was the end.
    fn forward(&self) -> bool {
        while let Some(item) = self.connection.outbox.pop() {
            match item {
                Item::Text(text) => self.tell(text, 0),
                Item::Ping => {}
                Item::Close(close) => {
                    let (wire, code, reason) = (self.wire, close.code.code(), close.reason.into_owned());
                    self.hub.write_to(self.node, Letter::End { wire, code, reason });
                    return true;
                }
            }
        }
        false
    }

    fn tell(&self, text: Text, ask: u64) {
        let text = text.bytes().clone();
        self.hub.write_to(self.node, Letter::Tell { wire: self.wire, text, ask });
    }

    fn close(&self, close: Close) {
        self.connection.outbox.close(close);
        self.forward();
    }
}
