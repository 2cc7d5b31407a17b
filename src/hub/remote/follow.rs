//! Agents' pages whose sessions have lost their nodes: each hears from where its session goes on, or that it is over.
//!
//! The page's own node looks after it, since nobody else knows the page. Does not decide which node goes on with a
//! session, or whether one does.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::edge::{Asked, End, Request};
use crate::cluster::NodeId;
use crate::cluster::post::{Door, JoinFacts};
use crate::hub::Hub;
use crate::hub::registry::Connection;
use crate::hub::sessions::LiveSession;
use crate::ids::{RequestId, SessionId, VisitorId};
use crate::limits;
use crate::model::session::{Answer, Asker, EndReason, Input, SessionError};
use crate::wire::agent::ToAgent;
use crate::wire::message::Text;

/// An agent's page, and the session that it is in.
pub(super) struct Page {
    door: Door,
    connection: Arc<Connection>,
    request: RequestId,
    session: SessionId,
    visitor: Option<VisitorId>,
}

/// Where a session is.
enum Sought {
    Here(Arc<LiveSession>),
    /// On a node that is up, or it ended there.
    There(NodeId),
    /// Nobody has it yet, or nobody can say.
    Nowhere,
    Over,
}

impl Page {
    pub(super) fn of(door: &Door, connection: &Arc<Connection>, request: RequestId, of: Request) -> Self {
        let (door, connection) = (door.clone(), Arc::clone(connection));
        Self { door, connection, request, session: of.session, visitor: of.visitor }
    }

    fn asker(&self) -> Option<Asker> {
        let Door::Agent { agent, name, .. } = &self.door else { return None };
        Some(Asker { connection: self.connection.id, agent: agent.clone(), name: Arc::clone(name) })
    }

    fn ended(&self, reason: EndReason) {
        self.connection.outbox.push(Text::of(&ToAgent::SessionEnded {
            session_id: self.session,
            visitor_id: self.visitor.clone(),
            reason: reason.as_str(),
        }));
    }
}

impl Hub {
    /// Looks for a page's session until that is somewhere, or over.
    pub(super) fn go_after(self: &Arc<Self>, page: Page) {
        let hub = Arc::downgrade(self);
        // By then whoever was in it has come back, or it was found by those that look for lost ones.
        let most = self.limits.node_lease + self.limits.resume_window + 2 * limits::REAP;
        self.runtime.spawn(async move {
            let until = Instant::now() + most;
            while Instant::now() < until {
                tokio::time::sleep(limits::FOLLOW_LOOK).await;
                let Some(hub) = hub.upgrade().filter(|hub| hub.is_open(&page)) else { return };
                match hub.seek(page.session).await {
                    Sought::Here(session) => {
                        if hub.follow_here(&page, &session).await {
                            return;
                        }
                    }
                    Sought::There(node) => return hub.follow_there(page, node).await,
                    Sought::Nowhere => {}
                    Sought::Over => break,
                }
            }
            page.ended(EndReason::NodeLost);
        });
    }

    fn is_open(&self, page: &Page) -> bool {
        self.registry.get(page.connection.id).is_some()
    }

    async fn seek(&self, id: SessionId) -> Sought {
        if let Some(session) = self.sessions.routed(id) {
            return Sought::Here(session);
        }
        let (Ok(found), Ok(nodes)) = (self.standing_of(id).await, self.directory.nodes(self.node).await)
        else {
            return Sought::Nowhere;
        };
        let is_up = |node: NodeId| nodes.iter().any(|up| up.facts.node == node && !up.facts.draining);
        match found {
            Some((owner, _)) if owner.is_some_and(is_up) => owner.map_or(Sought::Nowhere, Sought::There),
            Some((_, false)) => Sought::Nowhere,
            _ => Sought::Over,
        }
    }

    /// The session is on this node. False where it is about to leave.
    async fn follow_here(self: &Arc<Self>, page: &Page, session: &Arc<LiveSession>) -> bool {
        let Some(asker) = page.asker() else { return true };
        match self.drive(session, Input::Follows(asker)) {
            Ok(Answer::Request(state)) => {
                page.connection.outbox.push(self.request_text(session, state, None, None));
            }
            Err(SessionError::Ended(reason)) => {
                page.ended(reason);
                return true;
            }
            Ok(_) | Err(_) => return false,
        }
        while self.is_open(page) {
            if session.is_foreign() || session.view().ended.is_some() {
                return true;
            }
            tokio::time::sleep(limits::FOLLOW_LOOK).await;
        }
        if let Err(error) = self.drive(session, Input::AgentLost(page.connection.id)) {
            tracing::debug!(session = %session.id, %error, "an agent was lost after the end");
        }
        true
    }

    /// The session is on another node. When that is lost too, the page is looked after again.
    async fn follow_there(self: &Arc<Self>, page: Page, node: NodeId) {
        let asked = Asked::within(page.request, page.session, page.visitor.clone());
        let end = End::Agent(page.door.clone(), Mutex::new(asked));
        let far = self.open_wire(node, &page.connection, end, page.door.clone());
        let join = serde_json::json!({"type": "join", "sessionId": page.session}).to_string();
        far.send(&join, 0, Some(Box::new(JoinFacts { follows: true, ..JoinFacts::default() })));
        while far.is_open() && far.leads_to(page.session) && self.is_open(&page) {
            tokio::time::sleep(limits::FOLLOW_LOOK).await;
        }
    }
}
