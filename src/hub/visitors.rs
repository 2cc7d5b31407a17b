//! The visitor's door: who may claim to be whom, and what a visitor's page may ask for.

mod opened;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub(super) use self::opened::Opened;
use self::opened::Waiting;
use super::Hub;
use super::accounts::Group;
use super::registry::Connection;
use super::remote::edge::Far;
use super::timers::Due;
use crate::auth::random;
use crate::cluster::post;
use crate::cluster::{Home, Inherited};
use crate::ids::{ConnectionId, VisitorId, VisitorKey};
use crate::limits;
use crate::model::codes::{Codes, Issued};
use crate::model::event::Door;
use crate::model::facts::Facts;
use crate::model::lease;
use crate::model::presence::Input;
use crate::model::session;
use crate::model::settings::{Audience, VisitorIdentity};
use crate::model::signal::Signal;
use crate::wire::agent::ToAgent;
use crate::wire::close::{Close, CloseCode};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::message::{Raw, Text};
use crate::wire::visitor::{
    AgentName, Connect, FromVisitor, Named, PresenceUpdate, TermsAnswer, ToVisitor, Visibility,
};

/// A visitor's connection that has said who it is. Dropping it is the loss of the connection.
pub struct VisitorSeat {
    hub: Arc<Hub>,
    key: VisitorKey,
    connection: ConnectionId,
    /// What leads to the visitor's home, if that is another node.
    far: Option<Box<Far>>,
}

/// A visitor's tab that may come in: who it is was checked.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) key: VisitorKey,
    pub(super) verified: bool,
    /// Whether the id is one of the server's own.
    pub(super) unique: bool,
    /// Whether the id was issued just now.
    pub(super) issued: bool,
    pub(super) visibility: Visibility,
    pub(super) facts: Facts,
}

/// The one answer to an unknown group and to a foreign page: who asks learns nothing.
const REFUSED: Close = Close::new(CloseCode::Forbidden, "not allowed here");

/// What an upgrade request told about its page.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The page's origin, as its browser says.
    pub origin: Option<Box<str>>,
    /// The browser's own name.
    pub user_agent: Box<str>,
    /// The client's own address, seen through trusted proxies.
    pub from: IpAddr,
}

impl Hub {
    /// Whether any group would let a page of this origin in; asked before an upgrade.
    pub fn origin_known(&self, audience: Audience, origin: &str) -> bool {
        self.accounts.groups().iter().any(|group| group.settings.origin_allowed(audience, origin))
    }

    /// A visitor's page says who is there.
    pub async fn arrive(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        caller: &Caller,
        hello: Connect,
    ) -> Result<VisitorSeat, Close> {
        let group = self.accounts.group(&hello.group).ok_or(REFUSED)?;
        let origin_fits = |origin: &str| group.settings.origin_allowed(Audience::Visitor, origin);
        if !caller.origin.as_deref().is_none_or(origin_fits) {
            return Err(REFUSED);
        }
        if !group.settings.presence_enabled {
            connection.outbox.push(self.presence_is_off());
            return Err(Close::new(CloseCode::Ended, "presence is switched off"));
        }
        let identity = self.identify(&group, &hello).inspect_err(|_| {
            self.events.refused(
                &group.id,
                self.clock.now(),
                Door::Visitor,
                "visitor ID without a valid credential",
            );
        })?;
        let mut client = hello.client.unwrap_or_default();
        client.user_agent = Some(caller.user_agent.to_string());
        let arrival = Arrival {
            key: VisitorKey { group: hello.group, visitor: identity.visitor },
            verified: identity.verified,
            unique: identity.unique,
            issued: identity.issued,
            visibility: hello.visibility.unwrap_or(Visibility::Visible),
            facts: Facts { page: hello.page, client: Some(client), data: hello.data },
        };
        self.arrive_as(connection, arrival).await
    }

    /// A visitor's tab comes in where the visitor's home is. A tab that another node sent here, and that has
    /// its home elsewhere by now, comes back.
    pub(super) async fn arrive_as(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        arrival: Arrival,
    ) -> Result<VisitorSeat, Close> {
        let _arriving = self.arriving(&arrival.key);
        match self.home_of(&arrival.key).await {
            Home::Here(inherited) => {
                let key = arrival.key.clone();
                let seat = self.settle(connection, arrival, &inherited)?;
                if let Some(session) = inherited.session {
                    self.adopt_later(session, key);
                }
                Ok(seat)
            }
            Home::There(_) if connection.is_stub() => {
                let reconnect = ToVisitor::Reconnect { after_ms: 0, reason: CloseCode::Drain.name() };
                connection.outbox.push(Text::of(&reconnect));
                Err(Close::new(CloseCode::Drain, "the visitor is on another node"))
            }
            Home::There(node) => {
                let Arrival { key, verified, unique, issued, visibility, facts } = arrival;
                let facts = serde_json::to_string(&facts).expect("facts are plain values");
                let door =
                    post::Door::Visitor { key: key.clone(), verified, unique, issued, visibility, facts };
                let far = Some(Box::new(self.wire_visitor(node, connection, door)));
                Ok(VisitorSeat { hub: Arc::clone(self), key, connection: connection.id, far })
            }
        }
    }

    /// A visitor's tab has its seat on this node.
    fn settle(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        arrival: Arrival,
        inherited: &Inherited,
    ) -> Result<VisitorSeat, Close> {
        let Arrival { key, verified, unique, issued: fresh, visibility, facts } = arrival;
        let group = self.accounts.group(&key.group).ok_or(REFUSED)?;
        let issued = unique.then(|| self.issue_code(&key, self.limits.code_life)).flatten();
        self.inherit(&key, inherited);
        let arrived = Input::Arrived { connection: connection.id, verified, visibility, facts };
        let came = self.presence_above(self.above(&key, inherited), &key, arrived);
        for reason in &came.refused {
            connection.outbox.push(Text::refusal(None, &refusal(reason)));
        }
        let here = |presence: &crate::model::presence::Presence| {
            presence.connections().any(|other| other == connection.id)
        };
        if !self.tracker.look(&key, here).unwrap_or(false) {
            if self.tracker.look(&key, |_| ()).is_none() {
                self.directory.release(self.node, &key);
            }
            return Err(Close::new(CloseCode::RateLimited, "this visitor has too many connections"));
        }
        let seat = VisitorSeat { hub: Arc::clone(self), key, connection: connection.id, far: None };
        if let Some(issued) = issued {
            self.presence(&seat.key, Input::Coded { code: Some(issued.code) });
        }
        let secret = fresh.then(|| self.accounts.unique_secret(&seat.key.group, &seat.key.visitor));
        let code = issued.map(|issued| issued.code.to_string());
        let now = self.clock.now();
        let waiting = self.waiting(&seat.key);
        let connected = ToVisitor::Connected {
            connection_id: connection.id,
            visitor_id: &seat.key.visitor,
            unique_secret: secret.as_deref(),
            code: code.as_deref(),
            code_expires_at: issued.map(|issued| now.wall_of(issued.expires)),
            session_key: waiting.as_ref().map(|waiting| &*waiting.key),
            session_key_expires_at: waiting.as_ref().map(|waiting| waiting.expires_at),
            heartbeat: self.limits.dead_after.as_secs(),
            grace: group.settings.grace().as_secs_f64(),
            server_time: now.wall,
            focused: came.focused == Some(connection.id),
            presence: true,
        };
        connection.outbox.push_first(Text::of(&connected));
        Ok(seat)
    }

    /// The node that speaks for a visitor. Where nobody can be asked, this one does.
    pub(super) async fn home_of(&self, key: &VisitorKey) -> Home {
        self.directory.claim(self.node, key).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "a visitor's home is not known, it is here");
            Home::Here(Inherited::default())
        })
    }

    /// Who a visitor is, by the group's rule: a company's ID takes the company's word, an ID of ours
    /// takes its own secret, and none at all gets a fresh one.
    fn identify(&self, group: &Group, hello: &Connect) -> Result<Identity, Close> {
        let unauthorized = || Close::new(CloseCode::Unauthorized, "this visitor ID needs a valid credential");
        let Some(visitor) = hello.visitor_id.clone() else {
            let visitor = VisitorId::unique(random::u128());
            return Ok(Identity { visitor, verified: true, unique: true, issued: true });
        };
        if visitor.is_unique() {
            let secret = hello.unique_secret.as_deref().ok_or_else(unauthorized)?;
            if !self.accounts.verify_unique(&group.id, &visitor, secret) {
                return Err(unauthorized());
            }
            return Ok(Identity { visitor, verified: true, unique: true, issued: false });
        }
        let verified = match (&hello.token, group.settings.visitor_identity) {
            (Some(token), _) => {
                self.accounts.verify_visitor(group, &visitor, token).map_err(|_| unauthorized())?;
                true
            }
            (None, VisitorIdentity::Open) => false,
            (None, VisitorIdentity::Signed) => return Err(unauthorized()),
        };
        Ok(Identity { visitor, verified, unique: false, issued: false })
    }

    // ── Codes ──────────────────────────────────────────────────────────────────────────────────

    fn codes_of(&self, key: &VisitorKey) -> Arc<Mutex<Codes>> {
        Arc::clone(self.codes.entry(key.group.clone()).or_default().value())
    }

    /// The visitor's code, or a fresh one that lives so long. `None` when the group has no code to spare: presence works
    /// without.
    fn issue_code(self: &Arc<Self>, key: &VisitorKey, life: Duration) -> Option<Issued> {
        let digits = self.accounts.group(&key.group)?.settings.session_key_digits;
        let chance = u64::from_be_bytes(random::bytes());
        let mut expired = Vec::new();
        let codes = self.codes_of(key);
        let issued = codes.lock().issue(self.clock.tick(), &key.visitor, digits, life, chance, &mut expired);
        self.codes_expired(key, expired);
        match issued {
            Ok(issued) => {
                self.timers.at(issued.expires, Due::Codes(key.group.clone()));
                Some(issued)
            }
            Err(error) => {
                self.meters.refusal("codes_per_group");
                tracing::warn!(group = %key.group, %error, "no code for a unique visitor");
                None
            }
        }
    }

    /// Lets the visitor's code live so long from now, if it has one.
    fn extend_code(&self, key: &VisitorKey, life: Duration) -> Option<Issued> {
        let issued = self.codes_of(key).lock().extend(self.clock.tick(), &key.visitor, life)?;
        self.timers.at(issued.expires, Due::Codes(key.group.clone()));
        Some(issued)
    }

    /// The visitor is gone, and with it what it read out.
    pub(super) fn forget_code(&self, key: &VisitorKey) {
        let waited = self.opened.remove(key).is_some();
        if (waited || key.visitor.is_unique())
            && let Some(codes) = self.codes.get(&key.group).map(|codes| Arc::clone(&codes))
        {
            codes.lock().forget(&key.visitor);
        }
    }

    pub(super) fn codes_due(self: &Arc<Self>, group: &crate::ids::GroupId) {
        let Some(codes) = self.codes.get(group).map(|codes| Arc::clone(&codes)) else { return };
        let mut expired = Vec::new();
        let next = {
            let mut codes = codes.lock();
            codes.on_deadline(self.clock.tick(), &mut expired);
            codes.next_deadline()
        };
        if let Some(at) = next {
            self.timers.at(at, Due::Codes(group.clone()));
        }
        if let Some(first) = expired.first() {
            let key = VisitorKey { group: group.clone(), visitor: first.visitor.clone() };
            self.codes_expired(&key, expired);
        }
    }

    fn codes_expired(self: &Arc<Self>, key: &VisitorKey, expired: Vec<crate::model::codes::Expired>) {
        for over in expired {
            let key = VisitorKey { group: key.group.clone(), visitor: over.visitor };
            self.presence(&key, Input::Coded { code: None });
        }
    }

    /// Gives a signal to a tab.
    pub(super) fn deliver_signal(&self, connection: ConnectionId, signal: &Signal) {
        let Some(tab) = self.registry.get(connection) else { return };
        let data: Option<Raw> = serde_json::from_str(&signal.data).ok();
        tab.outbox.push(Text::of(&ToVisitor::Signal {
            name: &signal.name,
            data: data.as_ref(),
            agent: AgentName { name: Arc::from(&*signal.agent) },
        }));
    }
}

struct Identity {
    visitor: VisitorId,
    verified: bool,
    /// Whether it is one of the server's own ids.
    unique: bool,
    /// Whether the id was issued just now.
    issued: bool,
}

impl VisitorSeat {
    /// Who it is.
    pub fn key(&self) -> &VisitorKey {
        &self.key
    }

    /// Passes a message on if the visitor's home is another node, which answers it; false where it is this one.
    pub fn passes_on(&self, text: &str) -> bool {
        self.far.as_ref().inspect(|far| far.say(text)).is_some()
    }

    /// Takes one message and answers it on its connection.
    pub fn hear(&self, connection: &Connection, message: FromVisitor, id: Option<u64>) {
        match self.take(message) {
            Ok(answer) => {
                if let Some(text) = answer.text(&self.hub, id) {
                    connection.outbox.push(text);
                }
                if matches!(answer, VisitorAnswer::Leave) {
                    connection.outbox.close(Close::new(CloseCode::Ended, "the visitor left"));
                }
            }
            Err(refusal) => connection.outbox.push(Text::refusal(id, &refusal)),
        }
    }

    /// Takes one message; the answer goes to the same connection.
    fn take(&self, message: FromVisitor) -> Result<VisitorAnswer, Refusal> {
        let ok = Ok(VisitorAnswer::Ok);
        match message {
            FromVisitor::Connect(_) => {
                Err(Refusal::new(ErrorCode::WrongState, "this connection is connected already"))
            }
            FromVisitor::Presence(update) => {
                self.update(update)?;
                ok
            }
            FromVisitor::OfferDisplayed(shown) => {
                let input = session::Input::Displayed { request: shown.request_id, by: self.connection };
                self.hub.answer_offer(&self.key, input)?;
                ok
            }
            FromVisitor::Terms(TermsAnswer { request_id, accepted, terms_version }) => {
                let input = session::Input::Answer {
                    request: request_id,
                    by: self.connection,
                    accepted,
                    version: terms_version,
                };
                self.hub.answer_offer(&self.key, input)?;
                ok
            }
            FromVisitor::Message(message) => {
                self.message(&message)?;
                ok
            }
            FromVisitor::ExtendCode(_) => self.extend_code(),
            FromVisitor::StartSession(wish) => self.start_session(&wish),
            FromVisitor::CancelSession(_) => Ok(self.cancel_session()),
            FromVisitor::Leave(_) => {
                self.hub.presence(&self.key, Input::Left { connection: self.connection });
                Ok(VisitorAnswer::Leave)
            }
        }
    }

    /// What could be taken is taken; the answer tells the first thing that was not.
    fn update(&self, update: PresenceUpdate) -> Result<(), Refusal> {
        let came = self.hub.presence(&self.key, Input::Updated { connection: self.connection, update });
        came.refused.first().map_or(Ok(()), |reason| Err(refusal(reason)))
    }

    fn message(&self, message: &Named) -> Result<(), Refusal> {
        check_named(&message.name, message.data.as_ref())?;
        let text = Text::of(&ToAgent::Message {
            visitor_id: &self.key.visitor,
            name: &message.name,
            data: message.data.as_ref(),
        });
        self.hub.message_of(&self.key, &text);
        if self.hub.directory.is_read(self.hub.node, &self.key.group) {
            self.hub.directory.pass_on(self.hub.node, &self.key, text.bytes());
        }
        Ok(())
    }

    fn extend_code(&self) -> Result<VisitorAnswer, Refusal> {
        if !self.key.visitor.is_unique() {
            return Err(Refusal::new(ErrorCode::WrongState, "only a unique visitor has a code"));
        }
        let life = self.hub.limits.code_life;
        let extended = self.hub.extend_code(&self.key, life);
        let issued = match extended.or_else(|| self.hub.issue_code(&self.key, life)) {
            Some(issued) => issued,
            None => return Err(Refusal::new(ErrorCode::Unavailable, "there is no code to spare just now")),
        };
        self.hub.presence(&self.key, Input::Coded { code: Some(issued.code) });
        Ok(VisitorAnswer::Code(issued))
    }
}

/// What a visitor's message is answered with.
#[derive(Debug)]
enum VisitorAnswer {
    /// Taken.
    Ok,
    /// The code, renewed.
    Code(Issued),
    /// A session waits.
    Waiting(Waiting),
    /// Taken, and the connection is over.
    Leave,
}

impl VisitorAnswer {
    /// The message that says so, if the request had an id or the answer carries something.
    fn text(&self, hub: &Hub, id: Option<u64>) -> Option<Text> {
        match self {
            Self::Ok | Self::Leave => id.map(|_| Text::answer(id, &ToVisitor::Ok {})),
            Self::Waiting(waiting) => Some(waiting.text(id)),
            Self::Code(issued) => {
                let code = issued.code.to_string();
                let code_expires_at = hub.clock.now().wall_of(issued.expires);
                Some(Text::answer(id, &ToVisitor::Code { code: &code, code_expires_at }))
            }
        }
    }
}

impl Drop for VisitorSeat {
    fn drop(&mut self) {
        if self.far.is_some() {
            return;
        }
        let grace = self.hub.grace_of(&self.key, self.hub.is_handing_over());
        self.hub.presence(&self.key, Input::Lost { connection: self.connection, grace });
    }
}

fn refusal(reason: &lease::Refusal) -> Refusal {
    Refusal::new(reason.code(), reason.to_string())
}

/// Bounds what pages and agents send to each other by name.
pub(super) fn check_named(name: &str, data: Option<&Raw>) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > limits::SIGNAL_NAME_BYTES {
        let limit = limits::SIGNAL_NAME_BYTES;
        return Err(Refusal::new(ErrorCode::BadValue, format!("name must have 1 to {limit} bytes")));
    }
    let bytes = data.map_or(0, |data| data.0.get().len());
    if bytes > limits::SIGNAL_BYTES {
        let limit = limits::SIGNAL_BYTES;
        return Err(Refusal::new(ErrorCode::DataTooLarge, format!("data of {bytes} bytes exceeds {limit}")));
    }
    Ok(())
}
