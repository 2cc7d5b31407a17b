//! Questions that one node asks another once, on behalf of operators and guests, and their answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::auth::opaque::Digest;
use crate::clock::Wall;
use crate::cluster::NodeId;
use crate::cluster::post::Letter;
use crate::hub::Hub;
use crate::hub::devices::DeviceTold;
use crate::hub::guests::{Asked, Coming, GuestTicket, LetIn, NotLetIn, Way, Welcome};
use crate::hub::sessions::Whereabouts;
use crate::ids::{GroupId, ParticipantId, RequestId, SessionId, VisitorId, VisitorKey};
use crate::limits;
use crate::model::lead::Guest;
use crate::model::session::{Asks, EndReason};
use crate::telemetry::Parent;
use crate::wire::agent::Delivery;
use crate::wire::close::{Close, CloseCode};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::message::Raw;
use crate::wire::permission::Step;
use crate::wire::session::Role;
use crate::wire::visitor::{SessionKind, TermsAnswer, TermsShown};

/// What a node may ask. Checked where it was asked; what only the other node knows is checked there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::hub) enum Question {
    /// An operator ends a session.
    End {
        group: GroupId,
        session: SessionId,
        /// The span of the operator's call, as `traceparent` writes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<Box<str>>,
    },
    /// An operator's signal.
    Signal { group: GroupId, visitor: VisitorId, name: Box<str>, data: Option<Raw>, from: String },
    /// An operator ends a visitor's presence.
    Disconnect { group: GroupId, visitor: VisitorId },
    /// A guest typed the key of a session.
    Key {
        key: Digest,
        within: Option<GroupId>,
        name: Option<String>,
        email: Option<String>,
        origin: Option<String>,
        #[serde(default)]
        terms: Option<TermsAnswer>,
        #[serde(default)]
        device: DeviceTold,
    },
    /// A guest comes by a link.
    Guest {
        invite: String,
        name: Option<String>,
        email: Option<String>,
        origin: Option<String>,
        #[serde(default)]
        terms: Option<TermsAnswer>,
        #[serde(default)]
        device: DeviceTold,
    },
}

/// What it is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::hub) enum Reply {
    /// There is no such thing.
    NotFound,
    /// It cannot be done now, or the other node does not know the question.
    Unavailable,
    /// Whether it was this call that ended the session.
    Ended { now: bool },
    /// The signal is held, or was delivered.
    Signalled { held: bool },
    /// It was refused, with this code.
    Refused { code: String, message: String },
    /// So many connections were closed.
    Disconnected { connections: u32 },
    /// The session has its viewers.
    Full { limit: usize },
    /// The guest has to accept this first.
    Asks {
        session: SessionId,
        kind: SessionKind,
        request: RequestId,
        terms: TermsShown,
        asked_by: String,
        control: bool,
        #[serde(default)]
        steps: Vec<Step>,
    },
    /// The guest declined, and that was taken.
    Declined,
    /// The guest's ticket.
    LetIn {
        session: SessionId,
        kind: SessionKind,
        title: Option<String>,
        participant: ParticipantId,
        role: Role,
        ticket: String,
        expires_at: u64,
        #[serde(default)]
        steps: Vec<Step>,
    },
}

/// Takes a question off the list however its asker ends.
struct Asking<'a>(&'a Hub, u64);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.wires.asking.remove(&self.1);
    }
}

impl Hub {
    /// Asks another node; without an answer in time it is [`Reply::Unavailable`].
    pub(in crate::hub) async fn ask_node(&self, node: NodeId, question: &Question) -> Reply {
        let (sender, reply) = oneshot::channel();
        let ask = self.wires.fresh();
        self.wires.asking.insert(ask, (node, sender));
        let _asking = Asking(self, ask);
        let text = serde_json::to_string(question).expect("a question is plain values");
        self.write_to(node, Letter::Ask(ask, text));
        match tokio::time::timeout(limits::WIRE_ANSWER, reply).await {
            Ok(Ok(reply)) => reply,
            _ => Reply::Unavailable,
        }
    }

    pub(super) fn asked(self: &Arc<Self>, from: NodeId, ask: u64, text: String) {
        let hub = Arc::clone(self);
        self.runtime.spawn(async move {
            let reply = match serde_json::from_str(&text) {
                Ok(question) => hub.reply(question).await,
                Err(_) => Reply::Unavailable,
            };
            let text = serde_json::to_string(&reply).expect("a reply is plain values");
            hub.write_to(from, Letter::Answer(ask, text));
        });
    }

    pub(super) fn answered(&self, from: NodeId, ask: u64, text: &str) {
        if let Some((_, (_, asker))) = self.wires.asking.remove_if(&ask, |_, (node, _)| *node == from) {
            // Whoever asked may have given up.
            let _heard = asker.send(serde_json::from_str(text).unwrap_or(Reply::Unavailable));
        }
    }

    async fn reply(self: &Arc<Self>, question: Question) -> Reply {
        match question {
            Question::End { group, session, trace } => {
                match self.end_here(&group, session, trace.as_deref().and_then(Parent::parse)) {
                    Some(now) => Reply::Ended { now },
                    None => Reply::NotFound,
                }
            }
            Question::Signal { group, visitor, name, data, from } => {
                match self.signal_visitor(&VisitorKey { group, visitor }, name, data.as_ref(), &from) {
                    Ok(delivery) => Reply::Signalled { held: delivery == Delivery::Held },
                    Err(Refusal { code, message }) => {
                        Reply::Refused { code: code.as_str().to_owned(), message: message.into_owned() }
                    }
                }
            }
            Question::Disconnect { group, visitor } => {
                let connections = self.disconnect_visitor(&VisitorKey { group, visitor });
                Reply::Disconnected { connections }
            }
            Question::Guest { invite, name, email, origin, terms, device } => {
                let coming = Coming { guest: Guest { name, email }, terms, device };
                self.let_in_from_afar(Way::Invite(invite), coming, origin).await
            }
            Question::Key { key, within, name, email, origin, terms, device } => {
                let coming = Coming { guest: Guest { name, email }, terms, device };
                self.let_in_from_afar(Way::Kept { group: within, key }, coming, origin).await
            }
        }
    }

    async fn let_in_from_afar(self: &Arc<Self>, way: Way, coming: Coming, origin: Option<String>) -> Reply {
        let refused = |code: ErrorCode, why: &NotLetIn| Reply::Refused {
            code: code.as_str().to_owned(),
            message: why.to_string(),
        };
        match self.let_in_here(&way, coming, origin.as_deref()).await {
            Ok(Welcome::Asked(Asked { session, kind, asks, steps })) => Reply::Asks {
                session,
                kind,
                request: asks.request,
                terms: asks.terms,
                asked_by: asks.asked_by.to_string(),
                control: asks.control,
                steps,
            },
            Ok(Welcome::Declined) => Reply::Declined,
            Ok(Welcome::In(let_in)) => Reply::LetIn {
                session: let_in.session,
                kind: let_in.kind,
                title: let_in.title.map(|title| title.to_string()),
                participant: let_in.ticket.participant,
                role: let_in.ticket.role,
                ticket: let_in.ticket.ticket,
                expires_at: let_in.ticket.expires_at.0,
                steps: let_in.steps,
            },
            Err(NotLetIn::Full(limit)) => Reply::Full { limit },
            Err(NotLetIn::Unavailable) => Reply::Unavailable,
            Err(why @ NotLetIn::Taken) => refused(ErrorCode::TooMany, &why),
            Err(why @ NotLetIn::TermsChanged) => refused(ErrorCode::TermsChanged, &why),
            Err(why @ NotLetIn::OtherRequest) => refused(ErrorCode::RequestOver, &why),
            Err(_) => Reply::NotFound,
        }
    }

    /// Ends a session of this node for an operator. Whether it had not ended before; none where there is none.
    fn end_here(
        self: &Arc<Self>,
        group: &GroupId,
        session: SessionId,
        trace: Option<Parent>,
    ) -> Option<bool> {
        let session = self.sessions.get(group, session)?;
        let now = session.view().ended.is_none();
        if now {
            session.called(trace);
            self.end_session(&session, EndReason::OperatorEnded);
        }
        Some(now)
    }

    /// Ends a session for an operator, on whichever node it lives.
    pub async fn end_anywhere(
        self: &Arc<Self>,
        group: &GroupId,
        session: SessionId,
        trace: Option<Parent>,
    ) -> Result<bool, Refusal> {
        let not_found = || Refusal::not_found("session");
        if let Some(now) = self.end_here(group, session, trace) {
            return Ok(now);
        }
        let node = match self.whereabouts(session).await {
            // Its node is gone, and this one goes on with it to end it.
            Ok(Whereabouts::Here(_)) => return self.end_here(group, session, trace).ok_or_else(not_found),
            Ok(Whereabouts::There(node)) => node,
            Err(Close { code: CloseCode::NotFound, .. }) => return Err(not_found()),
            Err(_) => return Err(silent()),
        };
        let trace = trace.map(|trace| trace.to_string().into());
        match self.ask_node(node, &Question::End { group: group.clone(), session, trace }).await {
            Reply::Ended { now } => Ok(now),
            Reply::NotFound => Err(not_found()),
            _ => Err(silent()),
        }
    }

    /// Hands an operator's signal to a visitor, wherever it is.
    pub async fn signal_anywhere(
        self: &Arc<Self>,
        key: &VisitorKey,
        name: Box<str>,
        data: Option<Raw>,
        from: &str,
    ) -> Result<Delivery, Refusal> {
        let VisitorKey { group, visitor } = key.clone();
        let elsewhere = if self.is_home_of(key) { None } else { self.visitor_elsewhere(key).await };
        let Some(node) = elsewhere else { return self.signal_visitor(key, name, data.as_ref(), from) };
        match self
            .ask_node(node, &Question::Signal { group, visitor, name, data, from: from.to_owned() })
            .await
        {
            Reply::Signalled { held } => Ok(if held { Delivery::Held } else { Delivery::Delivered }),
            Reply::Refused { code, message } => {
                let code = ErrorCode::ALL.iter().find(|known| known.as_str() == code);
                Err(Refusal::new(code.copied().unwrap_or(ErrorCode::Unavailable), message))
            }
            _ => Err(silent()),
        }
    }

    /// Ends a visitor's presence at once, wherever it is. Returns how many connections were closed.
    pub async fn disconnect_anywhere(self: &Arc<Self>, key: &VisitorKey) -> Result<u32, Refusal> {
        let VisitorKey { group, visitor } = key.clone();
        let elsewhere = if self.is_home_of(key) { None } else { self.visitor_elsewhere(key).await };
        let Some(node) = elsewhere else { return Ok(self.disconnect_visitor(key)) };
        match self.ask_node(node, &Question::Disconnect { group, visitor }).await {
            Reply::Disconnected { connections } => Ok(connections),
            _ => Err(silent()),
        }
    }

    /// A guest comes by a key or link into a session of another node.
    pub(in crate::hub) async fn let_in_elsewhere(
        &self,
        node: NodeId,
        way: Way,
        coming: Coming,
        origin: Option<&str>,
    ) -> Result<Welcome, NotLetIn> {
        let Coming { guest: Guest { name, email }, terms, device } = coming;
        let origin = origin.map(str::to_owned);
        let question = match way {
            Way::Invite(invite) => Question::Guest { invite, name, email, origin, terms, device },
            Way::Kept { group: within, key } => {
                Question::Key { key, within, name, email, origin, terms, device }
            }
            Way::Key { .. } => return Err(NotLetIn::NotFound),
        };
        match self.ask_node(node, &question).await {
            Reply::LetIn { session, kind, title, participant, role, ticket, expires_at, steps } => {
                let ticket = GuestTicket { participant, role, ticket, expires_at: Wall(expires_at) };
                Ok(Welcome::In(LetIn { session, kind, title: title.map(Arc::from), ticket, steps }))
            }
            Reply::Asks { session, kind, request, terms, asked_by, control, steps } => {
                let asks = Asks { request, terms, asked_by: asked_by.into(), control };
                Ok(Welcome::Asked(Asked { session, kind, asks, steps }))
            }
            Reply::Declined => Ok(Welcome::Declined),
            Reply::Refused { code, .. } => Err(match code.as_str() {
                "too_many" => NotLetIn::Taken,
                "terms_changed" => NotLetIn::TermsChanged,
                "request_over" => NotLetIn::OtherRequest,
                _ => NotLetIn::Unavailable,
            }),
            Reply::Full { limit } => Err(NotLetIn::Full(limit)),
            Reply::NotFound => Err(NotLetIn::NotFound),
            _ => Err(NotLetIn::Unavailable),
        }
    }

    pub(in crate::hub) fn is_home_of(&self, key: &VisitorKey) -> bool {
        self.tracker.look(key, |_| ()).is_some()
    }
}

fn silent() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "the other node does not answer")
}
