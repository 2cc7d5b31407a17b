//! Going away: what a node has goes to the others, where there are any, and otherwise ends with it.
//!
//! A session is given up for others before those in it are asked to go, so that they find it; a visitor stays as it
//! is shown until another node speaks for it. Does not decide how long all may take, or when the process ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dashmap::Entry;
use futures_util::future::join_all;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::registry::Connection;
use super::sessions::LiveSession;
use super::{Hub, elsewhere};
use crate::cluster::Inherited;
use crate::ids::{ConnectionId, VisitorKey};
use crate::limits;
use crate::model::presence::Input;
use crate::model::session::EndReason;
use crate::model::signal::Signal;
use crate::telemetry::SocketKind;
use crate::wire::close::{Close, CloseCode};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::message::{Raw, Text};
use crate::wire::visitor::ToVisitor;

/// Steps in which a drain lets connections go.
const DRAIN_STEPS: u32 = 50;

/// Connections in one step at the least: few go at once.
const STEP: usize = 20;

/// What goes at the same time: a session, its sockets and its visitor's tabs, or one connection.
struct Unit {
    session: Option<Arc<LiveSession>>,
    connections: Vec<Arc<Connection>>,
}

impl Hub {
    /// Goes away: sessions are handed over, and every connection is asked to come back elsewhere and closed. Few go
    /// at once; many are spread over the grace, so that the nodes they go to are not stormed. Then waits, for as
    /// long again at most, until visitors are somewhere else, or were not for long enough to be absent.
    pub async fn drain(self: &Arc<Self>, grace: Duration) {
        let begun = Instant::now();
        self.draining.store(true, Ordering::Relaxed);
        // From now on others take over the visitors that come to them.
        self.directory.announce(self.node).await;
        let hands_over = self.has_heirs().await;
        self.hands_over.store(hands_over, Ordering::Relaxed);
        let sessions = self.sessions.all();
        for session in sessions.iter().filter(|session| !hands_over || session.view().is_question()) {
            // Whoever is in one, or waits for an answer, is told that it is over, and not to wait.
            self.end_session(session, EndReason::Drained);
        }
        let units = self.units();
        let connections = units.iter().map(|unit| unit.connections.len()).sum::<usize>();
        let step = connections.div_ceil(DRAIN_STEPS as usize).max(STEP);
        let mut units = units.into_iter().peekable();
        while units.peek().is_some() {
            let (mut batch, mut count) = (Vec::new(), 0);
            while count < step
                && let Some(unit) = units.next()
            {
                count += unit.connections.len().max(1);
                batch.push(unit);
            }
            join_all(batch.iter().filter_map(|unit| unit.session.as_ref()).map(|it| self.hand_over(it)))
                .await;
            // Only now: who is in a session that ends instead hears so before its connection goes.
            batch.iter().flat_map(|unit| &unit.connections).for_each(|connection| send_away(connection));
            if units.peek().is_some() {
                tokio::time::sleep(grace / DRAIN_STEPS).await;
            }
        }
        // The vault is told too, or another node would end them again.
        self.saved(&sessions).await;
        if hands_over {
            self.until_taken_over(begun + grace + grace * 3 / 4).await;
            self.forwards.close();
            if tokio::time::timeout(limits::WIRE_ANSWER, self.forwards.wait()).await.is_err() {
                tracing::warn!(visitors = self.forwards.len(), "held signals do not follow in time");
            }
        }
    }

    /// Whether another node is up to go on with what this one has.
    async fn has_heirs(&self) -> bool {
        let others = self.directory.nodes(self.node).await.unwrap_or_default();
        others.iter().any(|other| !other.facts.draining)
    }

    /// Whether visitors of this node are on their way to another.
    pub(super) fn is_handing_over(&self) -> bool {
        self.hands_over.load(Ordering::Relaxed)
    }

    fn units(&self) -> Vec<Unit> {
        let mut rest: HashMap<ConnectionId, Arc<Connection>> =
            self.registry.all().into_iter().map(|connection| (connection.id, connection)).collect();
        let mut units = Vec::new();
        for session in self.sessions.all() {
            let mut seats = session.seats();
            if let Some(key) = session.visitor_key() {
                let tabs = self.tracker.look(&key, |presence| presence.connections().collect::<Vec<_>>());
                seats.extend(tabs.into_iter().flatten());
            }
            let connections = seats.iter().filter_map(|seat| rest.remove(seat)).collect();
            units.push(Unit { session: Some(session), connections });
        }
        units.extend(
            rest.into_values().map(|connection| Unit { session: None, connections: vec![connection] }),
        );
        units
    }

    /// Lets go of visitors that other nodes speak for by now, until none is left.
    async fn until_taken_over(self: &Arc<Self>, until: Instant) {
        while !self.tracker.is_empty() && Instant::now() < until {
            if elsewhere::let_go(self, self.tracker.keys()).await.is_err() {
                return;
            }
            tokio::time::sleep_until((Instant::now() + limits::HANDOVER_LOOK).min(until)).await;
        }
    }

    /// Hands signals that were held for a visitor to the node that speaks for it by now, in their order.
    pub(super) async fn forward(self: Arc<Self>, key: VisitorKey, held: Vec<Signal>) {
        for Signal { name, data, agent } in held {
            let forwarded = match RawValue::from_string(data.into_string()) {
                Ok(data) => self.signal_anywhere(&key, name, Some(Raw(data.into())), &agent).await,
                Err(error) => Err(Refusal::new(ErrorCode::BadValue, error.to_string())),
            };
            if let Err(Refusal { code, message }) = forwarded {
                let code = code.as_str();
                tracing::warn!(group = %key.group, code, %message, "a held signal does not follow its visitor");
            }
        }
    }

    // ── The other side ─────────────────────────────────────────────────────────────────────────

    /// How long a visitor is not absent although no tab of it is here.
    pub(super) fn grace_of(&self, key: &VisitorKey, is_moving: bool) -> Duration {
        let grace = self.accounts.group(&key.group).map(|group| group.settings.grace()).unwrap_or_default();
        if is_moving { grace.max(limits::HANDOVER_GRACE) } else { grace }
    }

    /// Shows a visitor as the node that drains has shown it, until it comes here or its grace is over.
    pub(super) fn inherit(self: &Arc<Self>, key: &VisitorKey, inherited: &Inherited) {
        let Some(shown) = inherited.word.clone() else { return };
        let tracked = self.accounts.group(&key.group).is_some_and(|group| group.settings.presence_enabled);
        if tracked {
            let input = Input::Inherited { shown, grace: self.grace_of(key, true) };
            self.presence_above(self.above(key, inherited), key, input);
        }
    }

    /// What a visitor's versions are to be above from now on. Agents here may have been told more than the directory
    /// could say.
    pub(super) fn above(&self, key: &VisitorKey, inherited: &Inherited) -> u64 {
        inherited.version.max(elsewhere::told(self, key))
    }

    /// A visitor's home may be made here: until what is returned is dropped, that it is not found is no news.
    pub(super) fn arriving(self: &Arc<Self>, key: &VisitorKey) -> Arriving {
        *self.arriving.entry(key.clone()).or_default() += 1;
        Arriving(Arc::clone(self), key.clone())
    }

    /// Whether it is.
    pub(super) fn is_arriving(&self, key: &VisitorKey) -> bool {
        self.arriving.contains_key(key)
    }
}

/// Asks a client to come back elsewhere, and closes its connection.
fn send_away(connection: &Connection) {
    // An agent of another node stays where it is; only its requests here are over.
    let stays = connection.is_stub() && connection.kind == SocketKind::Agent;
    if !stays {
        let reconnect = ToVisitor::Reconnect { after_ms: 0, reason: CloseCode::Drain.name() };
        connection.outbox.push(Text::of(&reconnect));
    }
    connection.outbox.close(Close::new(CloseCode::Drain, "the node is going away"));
}

/// A visitor's home is being made.
pub(super) struct Arriving(Arc<Hub>, VisitorKey);

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Entry::Occupied(mut waiting) = self.0.arriving.entry(self.1.clone()) {
            *waiting.get_mut() -= 1;
            if *waiting.get() == 0 {
                waiting.remove();
            }
        }
    }
}
