//! Requests about visitors and sessions of other nodes: what the agent's own node cannot decide is passed on to
//! the home, which answers later through the same connection.

use super::AgentSeat;
use crate::cluster::NodeId;
use crate::cluster::post::{Door, JoinFacts};
use crate::hub::remote::edge::Far;
use crate::ids::{SessionId, VisitorId};
use crate::model::session::{Answer, EndReason, Input, SessionError};
use crate::wire::agent::{FromAgent, Join, ToAgent};
use crate::wire::close::{Close, CloseCode};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::message::Text;

impl AgentSeat {
    /// The other node that has to take a message, where that is plain from the message alone.
    pub(super) async fn node_of(&self, message: &FromAgent) -> Option<NodeId> {
        // Who came over a wire is at the home already.
        if self.connection.is_stub() {
            return None;
        }
        match message {
            FromAgent::Join(join) if join.visitor_id.is_none() && join.record.is_none() => {
                self.node_of_session(join.session_id.filter(|_| join.session_key.is_none())?).await
            }
            FromAgent::Cancel(cancel) => {
                let here = self.hub.sessions.by_request(&self.identity.group, cancel.request_id);
                let knows = |(_, far): &(&NodeId, &Far)| far.knows(cancel.request_id);
                self.far.iter().find(knows).map(|(node, _)| *node).filter(|_| here.is_none())
            }
            FromAgent::EndSession(end) => self.node_of_session(end.session_id).await,
            FromAgent::Invite(invite) => self.node_of_session(invite.session_id).await,
            FromAgent::Signal(signal) => {
                let key = self.key(&signal.visitor_id);
                if self.is_here(&key) { None } else { self.hub.visitor_elsewhere(&key).await }
            }
            _ => None,
        }
    }

    async fn node_of_session(&self, session: SessionId) -> Option<NodeId> {
        if self.hub.sessions.routed(session).is_some() {
            return None;
        }
        self.hub.session_elsewhere(session).await
    }

    /// Asks another node, which is answered for by the connection's outbox.
    pub(super) fn pass_on(
        &mut self,
        node: NodeId,
        text: &str,
        id: Option<u64>,
        facts: JoinFacts,
    ) -> Result<(), Refusal> {
        // Asked here as well, so that what nobody may is refused without another node's help.
        self.may_help()?;
        if !self.far.get(&node).is_some_and(Far::is_open) {
            self.far.retain(|_, far| far.is_open());
            let door = Door::Agent {
                group: self.identity.group.clone(),
                agent: self.identity.agent.clone(),
                name: self.identity.name.clone(),
            };
            let far = self.hub.wire_agent(node, &self.connection, door);
            self.far.insert(node, far);
        }
        self.far[&node].ask(text, id, facts)
    }

    /// Takes a message that another node passed on.
    pub(in crate::hub) async fn take_far(
        &mut self,
        message: FromAgent,
        facts: Option<JoinFacts>,
        id: Option<u64>,
    ) -> Result<Text, Refusal> {
        match message {
            FromAgent::Join(Join { session_id: Some(session), .. })
                if facts.as_ref().is_some_and(|facts| facts.follows) =>
            {
                self.follow_far(session, id).await
            }
            FromAgent::Join(join) => self.join_far(&join, facts.unwrap_or_default(), id),
            FromAgent::Cancel(_) | FromAgent::EndSession(_) | FromAgent::Invite(_) | FromAgent::Signal(_) => {
                self.take_here(message, id).await
            }
            _ => Err(Refusal::new(ErrorCode::Unsupported, "another node does not take this")),
        }
    }

    /// The session that this agent is in came here: its page hears of it again, or that it is over.
    async fn follow_far(&mut self, wanted: SessionId, id: Option<u64>) -> Result<Text, Refusal> {
        let Ok(found) = self.hub.adopt(wanted).await else {
            // The agent's node looks again where it is.
            self.connection.outbox.close(Close::new(CloseCode::Drain, "the session is not here"));
            return Err(Refusal::not_found("session"));
        };
        let ended = |reason: EndReason, visitor: Option<VisitorId>| {
            let reason = reason.as_str();
            Ok(Text::answer(id, &ToAgent::SessionEnded { session_id: wanted, visitor_id: visitor, reason }))
        };
        let Some(session) = found.filter(|session| session.group == self.identity.group) else {
            return ended(EndReason::NodeLost, None);
        };
        let view = session.view();
        if let Some(reason) = view.ended {
            return ended(reason, session.visitor.clone());
        }
        if !view.agents.contains(&self.identity.agent) {
            return Err(Refusal::not_found("session"));
        }
        self.asked.insert(session.id);
        match self.hub.drive(&session, Input::Follows(self.asker())) {
            Ok(Answer::Request(state)) => Ok(self.hub.request_text(&session, state, id, None)),
            Ok(_) => Err(Refusal::not_found("session")),
            Err(SessionError::Ended(reason)) => ended(reason, session.visitor.clone()),
            Err(error) => {
                self.connection.outbox.close(Close::new(CloseCode::Drain, "the session moves"));
                Err(error.into())
            }
        }
    }
}
