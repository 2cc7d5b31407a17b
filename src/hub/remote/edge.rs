//! The edge's side of wires: what clients here say goes to their homes, and what homes say goes to the clients.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::oneshot;

use super::HOME_GONE;
use super::follow::Page;
use crate::cluster::NodeId;
use crate::cluster::post::{Door, JoinFacts, Letter, WireId};
use crate::hub::Hub;
use crate::hub::registry::Connection;
use crate::hub::timers::Due;
use crate::ids::{RequestId, SessionId, VisitorId};
use crate::limits;
use crate::model::session::Shown;
use crate::wire::agent::{RequestState, ToAgent};
use crate::wire::close::{Close, CloseCode};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::message::Text;
use crate::wire::session::{Role, Side};
use crate::wire::visitor::ToVisitor;

/// A wire whose socket is here.
#[derive(Debug)]
pub(in crate::hub) struct EdgeWire {
    /// Its home.
    pub(super) node: NodeId,
    /// Its socket.
    pub(super) connection: Arc<Connection>,
    pub(super) end: End,
}

/// What is at this end of a wire.
#[derive(Debug)]
pub(super) enum End {
    Visitor,
    /// An agent's page: as it is let in, and what it has asked.
    Agent(Door, Mutex<Asked>),
    /// A participant, and who waits for its being let in.
    Participant(Mutex<Option<oneshot::Sender<Result<Confirmed, Close>>>>),
}

/// A participant was let in.
#[derive(Debug)]
pub(in crate::hub) struct Confirmed {
    /// What it may do.
    pub(in crate::hub) role: Role,
    /// Whose side it is on.
    pub(in crate::hub) side: Side,
    /// The streams that the home has seen.
    pub(in crate::hub) streams: Vec<u32>,
    /// What is shown, where the home tells.
    pub(in crate::hub) shown: Option<Shown>,
}

/// What an agent has asked of another node.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Questions without an answer, and the ids that their answers carry.
    waiting: HashMap<u64, Option<u64>>,
    /// Requests that are not over.
    requests: HashMap<RequestId, Request>,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) session: SessionId,
    pub(super) visitor: Option<VisitorId>,
    /// Whether the question is not answered.
    is_asked: bool,
}

/// What is read of a message to an agent on its way through.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Passing<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    request_id: Option<RequestId>,
    #[serde(default)]
    session_id: Option<SessionId>,
    #[serde(default)]
    visitor_id: Option<VisitorId>,
    #[serde(default, borrow)]
    state: Option<Cow<'a, str>>,
}

impl Asked {
    /// An agent that is in a session.
    pub(super) fn within(request: RequestId, session: SessionId, visitor: Option<VisitorId>) -> Self {
        let requests = HashMap::from([(request, Request { session, visitor, is_asked: false })]);
        Self { requests, ..Self::default() }
    }

    /// Learns from a message where requests stand.
    fn note(&mut self, text: &[u8]) {
        let Ok(passing) = serde_json::from_slice::<Passing<'_>>(text) else { return };
        match (&*passing.kind, passing.request_id, passing.session_id) {
            ("request", Some(request), Some(session)) => {
                let state = passing.state.unwrap_or_default();
                let is = |states: &[RequestState]| states.iter().any(|other| other.as_str() == state);
                let is_asked = is(&[RequestState::Offered, RequestState::Displayed]);
                if is_asked || is(&[RequestState::Accepted, RequestState::Connecting, RequestState::Active]) {
                    let visitor = passing.visitor_id;
                    self.requests.insert(request, Request { session, visitor, is_asked });
                } else {
                    self.requests.remove(&request);
                }
            }
            ("sessionEnded", _, Some(session)) => {
                self.requests.retain(|_, request| request.session != session);
            }
            _ => {}
        }
    }
}

/// A wire that is open for as long as this lives.
pub(in crate::hub) struct Far {
    hub: Arc<Hub>,
    id: WireId,
    wire: Arc<EdgeWire>,
}

impl Drop for Far {
    fn drop(&mut self) {
        if self.hub.wires.edge.remove(&self.id).is_some() {
            self.hub.write_to(self.wire.node, Letter::Closed(self.id));
        }
    }
}

impl Far {
    /// Whether it still leads anywhere.
    pub(in crate::hub) fn is_open(&self) -> bool {
        self.hub.wires.edge.contains_key(&self.id)
    }

    /// Passes on what the client said.
    pub(in crate::hub) fn say(&self, text: &str) {
        self.send(text, 0, None);
    }

    /// Passes on an agent's question. It is answered later, whatever becomes of it.
    pub(in crate::hub) fn ask(&self, text: &str, id: Option<u64>, join: JoinFacts) -> Result<(), Refusal> {
        let End::Agent(_, asked) = &self.wire.end else { return Err(gone()) };
        let ask = self.hub.wires.fresh();
        {
            let mut asked = asked.lock();
            if asked.waiting.len() >= limits::WIRE_ASKS {
                let limit = limits::WIRE_ASKS;
                return Err(Refusal::new(ErrorCode::TooMany, format!("{limit} requests wait already")));
            }
            asked.waiting.insert(ask, id);
        }
        if !self.is_open() {
            // It was lost before there was a question to be told of.
            return match asked.lock().waiting.remove(&ask) {
                Some(_) => Err(gone()),
                None => Ok(()),
            };
        }
        self.send(text, ask, Some(Box::new(join)));
        let until = self.hub.clock.tick().after(limits::WIRE_ANSWER);
        self.hub.timers.at(until, Due::Asked(self.id.0, ask));
        Ok(())
    }

    /// Whether a session of this agent is known to live at the other end.
    pub(super) fn leads_to(&self, session: SessionId) -> bool {
        let leads = |asked: &Asked| asked.requests.values().any(|request| request.session == session);
        matches!(&self.wire.end, End::Agent(_, asked) if leads(&asked.lock()))
    }

    /// Whether a request of this agent is known to live at the other end.
    pub(in crate::hub) fn knows(&self, request: RequestId) -> bool {
        matches!(&self.wire.end, End::Agent(_, asked) if asked.lock().requests.contains_key(&request))
    }

    pub(super) fn send(&self, text: &str, ask: u64, join: Option<Box<JoinFacts>>) {
        if self.is_open() {
            let said = Letter::Said { wire: self.id, text: text.to_owned(), ask, join };
            self.hub.write_to(self.wire.node, said);
        }
    }
}

fn gone() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "the visitor's node does not answer")
}

impl Hub {
    /// Opens a wire for a visitor's tab.
    pub(in crate::hub) fn wire_visitor(
        self: &Arc<Self>,
        node: NodeId,
        connection: &Arc<Connection>,
        door: Door,
    ) -> Far {
        self.open_wire(node, connection, End::Visitor, door)
    }

    /// Opens a wire for an agent's requests.
    pub(in crate::hub) fn wire_agent(
        self: &Arc<Self>,
        node: NodeId,
        connection: &Arc<Connection>,
        door: Door,
    ) -> Far {
        self.open_wire(node, connection, End::Agent(door.clone(), Mutex::default()), door)
    }

    /// Opens a wire for a participant, and waits until it is let in.
    pub(in crate::hub) async fn wire_participant(
        self: &Arc<Self>,
        node: NodeId,
        connection: &Arc<Connection>,
        door: Door,
    ) -> Result<(Far, Confirmed), Close> {
        let (sender, confirmed) = oneshot::channel();
        let far = self.open_wire(node, connection, End::Participant(Mutex::new(Some(sender))), door);
        match tokio::time::timeout(limits::WIRE_ANSWER, confirmed).await {
            Ok(Ok(confirmed)) => confirmed.map(|confirmed| (far, confirmed)),
            _ => Err(HOME_GONE),
        }
    }

    pub(super) fn open_wire(
        self: &Arc<Self>,
        node: NodeId,
        connection: &Arc<Connection>,
        end: End,
        door: Door,
    ) -> Far {
        let id = WireId(self.wires.fresh());
        let wire = Arc::new(EdgeWire { node, connection: Arc::clone(connection), end });
        self.wires.edge.insert(id, Arc::clone(&wire));
        self.write_to(node, Letter::Open(id, door));
        Far { hub: Arc::clone(self), id, wire }
    }

    /// A wire of this node to that home.
    pub(super) fn edge_wire(&self, home: NodeId, wire: WireId) -> Option<Arc<EdgeWire>> {
        self.wires.edge.get(&wire).map(|wire| Arc::clone(&wire)).filter(|wire| wire.node == home)
    }

    pub(super) fn wire_attached(&self, from: NodeId, wire: WireId, confirmed: Confirmed) {
        if let Some(wire) = self.edge_wire(from, wire)
            && let End::Participant(waiting) = &wire.end
            && let Some(waiting) = waiting.lock().take()
        {
            // Whoever waited may have given up.
            let _heard = waiting.send(Ok(confirmed));
        }
    }

    pub(super) fn wire_tells(&self, from: NodeId, wire: WireId, text: Bytes, ask: u64) {
        let Some(wire) = self.edge_wire(from, wire) else { return };
        if let End::Agent(_, asked) = &wire.end {
            let mut asked = asked.lock();
            asked.note(&text);
            if ask != 0 && asked.waiting.remove(&ask).is_none() {
                // It came too late: the agent was told that there is no answer.
                return;
            }
        }
        wire.connection.outbox.push(Text::from_bytes(text));
    }

    pub(super) fn wire_ends(self: &Arc<Self>, from: NodeId, wire: WireId, code: u16, reason: String) {
        let Some(found) = self.edge_wire(from, wire) else { return };
        self.wires.edge.remove(&wire);
        let code = CloseCode::of(code).unwrap_or(CloseCode::Drain);
        self.wire_lost(&found, Close::told(code, reason));
    }

    /// A wire is over, and the client is told as its home would have told it.
    pub(super) fn wire_lost(self: &Arc<Self>, wire: &EdgeWire, close: Close) {
        match &wire.end {
            End::Visitor => {
                if close == HOME_GONE {
                    let reconnect = ToVisitor::Reconnect { after_ms: 0, reason: CloseCode::Drain.name() };
                    wire.connection.outbox.push(Text::of(&reconnect));
                }
                wire.connection.outbox.close(close);
            }
            End::Participant(waiting) => match waiting.lock().take() {
                Some(waiting) => {
                    let _heard = waiting.send(Err(close));
                }
                None => wire.connection.outbox.close(close),
            },
            End::Agent(door, asked) => {
                let Asked { waiting, requests } = std::mem::take(&mut *asked.lock());
                for id in waiting.into_values() {
                    wire.connection.outbox.push(Text::refusal(id, &gone()));
                }
                for (request_id, request) in requests {
                    if request.is_asked {
                        wire.connection.outbox.push(Text::of(&ToAgent::Request {
                            request_id,
                            session_id: request.session,
                            visitor_id: request.visitor,
                            state: RequestState::Failed,
                            steps: &[],
                            reason: None,
                            join_in: None,
                        }));
                    } else {
                        // It may go on on another node.
                        self.go_after(Page::of(door, &wire.connection, request_id, request));
                    }
                }
            }
        }
    }

    /// A question was to be answered by now.
    pub(in crate::hub) fn ask_due(&self, wire: u64, ask: u64) {
        let Some(wire) = self.wires.edge.get(&WireId(wire)).map(|wire| Arc::clone(&wire)) else { return };
        if let End::Agent(_, asked) = &wire.end
            && let Some(id) = asked.lock().waiting.remove(&ask)
        {
            wire.connection.outbox.push(Text::refusal(id, &gone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_tells_which_requests_are_not_over() {
        let (one, two) = (RequestId::from_u128(1), RequestId::from_u128(2));
        let (session, other) = (SessionId::from_u128(3), SessionId::from_u128(4));
        let mut asked = Asked::default();
        let tell = |asked: &mut Asked, request: RequestId, session: SessionId, state: &str| {
            let text = serde_json::json!({"id": 7, "type": "request", "requestId": request,
                "sessionId": session, "visitorId": "C-1", "state": state});
            asked.note(text.to_string().as_bytes());
        };
        tell(&mut asked, one, session, "offered");
        tell(&mut asked, two, other, "displayed");
        assert!(asked.requests.values().all(|request| request.is_asked));
        tell(&mut asked, one, session, "active");
        assert!(!asked.requests[&one].is_asked);
        asked.note(serde_json::json!({"type": "sessionEnded", "sessionId": session}).to_string().as_bytes());
        tell(&mut asked, two, other, "declined");
        assert!(asked.requests.is_empty());
        asked.note(b"{");
    }
}
