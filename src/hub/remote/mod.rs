//! Wires: connections whose socket is on one node and whose seat is on another.
//!
//! [`edge`] is the side of the socket, [`home`] that of the seat; [`stage`] and [`replica`] are the two sides of a
//! session's frames. Between them go the letters of [`crate::cluster::post`], which come in order or not at all:
//! where something was lost, both nodes give up every wire between them, as if the connections were lost.

mod ask;
pub(super) mod edge;
mod follow;
pub(super) mod home;
pub(super) mod replica;
pub(super) mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Hub;
use crate::cluster::NodeId;
use crate::cluster::post::{Letter, Mail, Mailbox, Post, WireId};
use crate::ids::{ConnectionId, SessionId, VisitorKey};
use crate::wire::close::{Close, CloseCode};
use crate::wire::frame::Source;

/// The wires of a node, on both their sides.
pub(super) struct Wires {
    post: Arc<dyn Post>,
    /// Until somebody reads it.
    mailbox: Mutex<Option<Mailbox>>,
    next: AtomicU64,
    /// Those whose sockets are here.
    edge: DashMap<WireId, Arc<edge::EdgeWire>>,
    /// Those whose seats are here, by what leads to their tasks.
    lines: DashMap<(NodeId, WireId), mpsc::Sender<home::Said>>,
    /// The wires of the connections that stand for them here.
    stubs: DashMap<ConnectionId, (NodeId, WireId)>,
    /// Questions to other nodes that wait for their answers.
    asking: DashMap<u64, (NodeId, oneshot::Sender<ask::Reply>)>,
    /// The frames of sessions of other nodes, for the viewers that are here.
    replicas: DashMap<(SessionId, Source), Arc<replica::Replica>>,
}

impl Wires {
    pub(super) fn new(node: NodeId, post: Arc<dyn Post>) -> Self {
        Self {
            mailbox: Mutex::new(Some(post.enroll(node))),
            post,
            next: AtomicU64::new(1),
            edge: DashMap::new(),
            lines: DashMap::new(),
            stubs: DashMap::new(),
            asking: DashMap::new(),
            replicas: DashMap::new(),
        }
    }

    fn fresh(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// What a client is told whose home is gone: it may come back at once, and finds another.
const HOME_GONE: Close = Close::new(CloseCode::Drain, "another node went away; come back");

impl Hub {
    /// Acts on the letters of other nodes until told to stop. Its end is the end of the mailbox.
    pub(super) async fn read_mail(self: Arc<Self>, stop: CancellationToken) {
        let Some(mut mailbox) = self.wires.mailbox.lock().take() else { return };
        loop {
            let (from, mail) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                mail = mailbox.next() => mail,
            };
            match mail {
                Mail::Letter(letter) => self.receive(from, letter),
                Mail::Lost => {
                    // The other node may not know.
                    self.write_to(from, Letter::Reset);
                    self.wires_lost(from);
                }
            }
        }
    }

    pub(super) fn write_to(&self, node: NodeId, letter: Letter) {
        self.meters.wire_letters.increment(1);
        self.wires.post.send(self.node, node, letter);
    }

    fn receive(self: &Arc<Self>, from: NodeId, letter: Letter) {
        match letter {
            Letter::Open(wire, door) => self.wire_opens(from, wire, door),
            Letter::Said { wire, text, ask, join } => {
                self.wire_says((from, wire), home::Said { text, ask, join });
            }
            Letter::Closed(wire) => drop(self.wires.lines.remove(&(from, wire))),
            Letter::Attached { wire, role, side, streams, shown } => {
                self.wire_attached(from, wire, edge::Confirmed { role, side, streams, shown });
            }
            Letter::Tell { wire, text, ask } => self.wire_tells(from, wire, text, ask),
            Letter::End { wire, code, reason } => self.wire_ends(from, wire, code, reason),
            Letter::Stage(session, source, facts) => self.replica_told(from, session, source, facts),
            Letter::Key(session, stream) => self.stage_wants_key(session, stream),
            Letter::Viewers(session, source, viewers) => self.viewers_told(from, session, source, viewers),
            Letter::Relayed(session, frames, bytes) => {
                if let Some(session) = self.sessions.routed(session) {
                    session.relay.add_relayed(frames, bytes);
                }
            }
            Letter::Ask(ask, text) => self.asked(from, ask, text),
            Letter::Answer(ask, text) => self.answered(from, ask, &text),
            Letter::Reset => self.wires_lost(from),
        }
    }

    /// No wire between this node and that one goes on.
    pub(super) fn wires_lost(self: &Arc<Self>, node: NodeId) {
        let edge: Vec<WireId> =
            self.wires.edge.iter().filter(|wire| wire.node == node).map(|wire| *wire.key()).collect();
        let lines: Vec<(NodeId, WireId)> =
            self.wires.lines.iter().map(|line| *line.key()).filter(|(from, _)| *from == node).collect();
        // Whoever waits for an answer finds that there is none.
        self.wires.asking.retain(|_, (asked, _)| *asked != node);
        let count = edge.len() + lines.len();
        if count > 0 {
            tracing::warn!(%node, wires = count, "lost touch with a node");
            self.meters.wires_lost.increment(count as u64);
        }
        for wire in edge {
            if let Some((_, wire)) = self.wires.edge.remove(&wire) {
                self.wire_lost(&wire, HOME_GONE);
            }
        }
        for line in lines {
            // Its task finds the way to it closed, and drops its seat.
            self.wires.lines.remove(&line);
        }
    }

    /// The other node that speaks for a visitor. Where nobody can be asked, none does.
    pub(super) async fn visitor_elsewhere(&self, key: &VisitorKey) -> Option<NodeId> {
        let home = self.directory.home(self.node, key).await;
        home.unwrap_or_else(|error| {
            tracing::warn!(%error, "a visitor's home is not known");
            None
        })
    }

    /// The other node where a session lives. Where nobody can be asked, none is known.
    pub(super) async fn session_elsewhere(&self, session: SessionId) -> Option<NodeId> {
        let owner = self.owner_of(session).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "it is not known where a session lives");
            None
        });
        owner.filter(|owner| *owner != self.node)
    }
}
