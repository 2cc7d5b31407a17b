//! The guest's door: who comes into a session by a key or by a link, without being a visitor or an agent.
//!
//! Decides whether a key or an invite leads anywhere, whether the page that shows it may, and what the guest becomes a
//! lead by, on whichever node the session is. Whether there is room, and what it may do in there, the session says.
//! Unknown, foreign, wrong and over are one answer; wrong ones are counted, and who makes too many is not listened to.

mod pages;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Hub;
use super::accounts::Group;
use super::devices::DeviceTold;
use super::sessions::{LiveSession, Whereabouts};
use crate::auth::opaque::Digest;
use crate::auth::random;
use crate::clock::Wall;
use crate::cluster::vault::SavedInvite;
use crate::ids::{EventId, GroupId, ParticipantId, SessionId};
use crate::limits;
use crate::model::event::{Actor, Door, Event, What};
use crate::model::lead::{self, Guest};
use crate::model::session::{Answer, Asks, Device, Entrant, Input, SessionError};
use crate::model::settings::Audience;
use crate::model::ticket::{Lock, Secret, Token};
use crate::wire::close::{Close, CloseCode};
use crate::wire::permission::Step;
use crate::wire::session::Role;
use crate::wire::visitor::{SessionKind, TermsAnswer};

/// What a guest shows to come in.
#[derive(Debug)]
pub enum Way {
    /// The digits of a session key, and the group if the page knows it.
    Key {
        /// The group.
        group: Option<GroupId>,
        /// What was typed.
        key: String,
    },
    /// What stands in a link.
    Invite(String),
    /// A key that was typed on another node.
    Kept {
        /// The group.
        group: Option<GroupId>,
        /// What is kept of the key.
        key: Digest,
    },
}

/// Somebody at the door.
#[derive(Debug)]
pub struct Knock {
    /// What it shows.
    pub way: Way,
    /// What it tells of itself.
    pub guest: Guest,
    /// Its answer to the terms, where it was asked before.
    pub terms: Option<TermsAnswer>,
    /// Its device.
    pub device: DeviceTold,
    /// Where it asks from.
    pub from: IpAddr,
    /// The page it asks from, unless it is one of this server's own or there is none.
    pub origin: Option<String>,
}

/// What somebody at the door is told who showed what leads in.
#[derive(Debug)]
pub enum Welcome {
    /// Come in.
    In(LetIn),
    /// Accept this first.
    Asked(Asked),
    /// It declined, and that was taken.
    Declined,
}

/// What a guest has to accept before it shows its screen.
#[derive(Debug)]
pub struct Asked {
    /// The session.
    pub session: SessionId,
    /// What is shared there.
    pub kind: SessionKind,
    /// The question.
    pub asks: Asks,
    /// What it has to do on its device.
    pub steps: Vec<Step>,
}

/// A guest that was let in.
#[derive(Debug)]
pub struct LetIn {
    /// The session.
    pub session: SessionId,
    /// What is shown there.
    pub kind: SessionKind,
    /// What the agent wrote above it.
    pub title: Option<Arc<str>>,
    /// Its ticket.
    pub ticket: GuestTicket,
    /// What it has to do on its device.
    pub steps: Vec<Step>,
}

/// A guest's ticket.
#[derive(Debug)]
pub struct GuestTicket {
    /// Who it will be.
    pub participant: ParticipantId,
    /// What it will do.
    pub role: Role,
    /// The ticket's text.
    pub ticket: String,
    /// When it ends.
    pub expires_at: Wall,
}

/// Why a guest is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotLetIn {
    /// What it tells of itself cannot be taken.
    #[error("{0}")]
    BadValue(&'static str),
    /// Too many were wrong: from its address, in the group or altogether.
    #[error("too many wrong tries")]
    Locked {
        /// When the next may be made.
        retry_after: Duration,
    },
    /// It leads nowhere, or not for this page.
    #[error("the key or link leads nowhere")]
    NotFound,
    /// The session has its viewers.
    #[error("session has its {0} viewers")]
    Full(usize),
    /// Another guest shows its screen there.
    #[error("somebody shows their screen in this session already")]
    Taken,
    /// The terms it accepted are not the ones that are asked.
    #[error("the accepted terms are not the ones that were asked")]
    TermsChanged,
    /// Its answer names another question.
    #[error("the answer names another request")]
    OtherRequest,
    /// The node is going away, or could not do it.
    #[error("the node cannot do it now")]
    Unavailable,
}

/// Somebody who is not let in.
struct Turned {
    why: NotLetIn,
    /// Whether what was shown counts as a wrong try.
    is_wrong: bool,
}

impl Turned {
    fn of(why: NotLetIn) -> Self {
        let is_wrong = why == NotLetIn::NotFound;
        Self { why, is_wrong }
    }
}

/// What a guest brings that was let in as far as its key or link goes.
#[derive(Debug, Clone)]
pub(super) struct Coming {
    /// What it tells of itself.
    pub(super) guest: Guest,
    /// Its answer to the terms, where it was asked before.
    pub(super) terms: Option<TermsAnswer>,
    /// Its device.
    pub(super) device: DeviceTold,
}

/// What a session hands to a guest at its door.
enum Handed {
    Ticket(GuestTicket),
    Question(Asks),
    /// It declined.
    Nothing,
}

/// The links into one session; they end with it.
#[derive(Debug, Default)]
pub(super) struct Invites(Vec<Invite>);

/// A link, and whom it is for if that is known.
#[derive(Debug)]
struct Invite {
    lock: Lock,
    guest: Guest,
}

impl Invites {
    /// Makes a link's secret part; none when there are as many as there may be.
    pub(super) fn make(&mut self, session: SessionId, guest: Guest) -> Option<String> {
        if self.0.len() >= limits::INVITES {
            return None;
        }
        let secret = Secret::new(random::bytes());
        self.0.push(Invite { lock: Lock::of(&secret), guest });
        Some(Token { session, secret }.text())
    }

    /// The links as they are saved.
    pub(super) fn save(&self) -> Vec<SavedInvite> {
        let saved = |invite: &Invite| SavedInvite { lock: invite.lock.clone(), guest: invite.guest.clone() };
        self.0.iter().map(saved).collect()
    }

    /// The links as they were saved.
    pub(super) fn restore(saved: Vec<SavedInvite>) -> Self {
        Self(saved.into_iter().map(|SavedInvite { lock, guest }| Invite { lock, guest }).collect())
    }

    /// Whom the link is for; none when it is none of these.
    fn find(&self, secret: &Secret) -> Option<Guest> {
        // Each is compared, so that the time tells nothing.
        let mut found = None;
        for invite in &self.0 {
            if invite.lock.opens_to(secret) {
                found = Some(invite.guest.clone());
            }
        }
        found
    }
}

/// Calls of guests that wait for their tickets.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    next: AtomicU64,
    calls: Mutex<HashMap<u64, oneshot::Sender<GuestTicket>>>,
}

impl Waiting {
    fn begin(&self) -> (u64, oneshot::Receiver<GuestTicket>) {
        let (sender, receiver) = oneshot::channel();
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        self.calls.lock().insert(call, sender);
        (call, receiver)
    }

    fn end(&self, call: u64) -> Option<oneshot::Sender<GuestTicket>> {
        self.calls.lock().remove(&call)
    }
}

impl LiveSession {
    /// Hands a ticket to the call that waits for it. Who gave up meanwhile leaves it to expire.
    pub(super) fn hand_over(&self, call: u64, ticket: GuestTicket) {
        if let Some(sender) = self.waiting.end(call)
            && sender.send(ticket).is_err()
        {
            tracing::debug!(session = %self.id, "a guest went before its ticket came");
        }
    }
}

impl Hub {
    /// Lets a guest into a session, if what it shows leads to one and it accepted what it has to.
    pub async fn guest(self: &Arc<Self>, knock: Knock) -> Result<Welcome, NotLetIn> {
        let Knock { way, guest, terms, device, from, origin } = knock;
        let guest = Coming { guest: checked(guest)?, terms, device };
        if self.is_draining() {
            return Err(NotLetIn::Unavailable);
        }
        let guessed = match &way {
            Way::Key { group, .. } => Some(group.clone()),
            Way::Invite(_) | Way::Kept { .. } => None,
        };
        let guessed = guessed.as_ref().map(Option::as_ref);
        let by = way.name();
        let locked = |retry_after| NotLetIn::Locked { retry_after };
        self.accounts.may_guess(guessed, from).map_err(locked)?;
        let let_in = match self.let_in_here(&way, guest.clone(), origin.as_deref()).await {
            Err(NotLetIn::NotFound) => match self.leads_beyond(way).await {
                Ok((session, way)) => {
                    self.let_in_beyond(session, way, guest, origin.as_deref()).await.map_err(Turned::of)
                }
                // Where nobody can say whether a key is right, it is a guess all the same.
                Err(why) => Err(Turned { why, is_wrong: true }),
            },
            let_in => let_in.map_err(Turned::of),
        };
        if let_in.as_ref().is_err_and(|turned| turned.is_wrong) {
            let locked = self.accounts.wrong_guess(guessed, from).await;
            tracing::info!(by, locked, "a guest is not let in");
            if let Some(group) = guessed.flatten().filter(|group| self.accounts.group(group).is_some()) {
                self.events.refused(group, self.clock.now(), Door::Guest, "key or link leads nowhere");
            }
        }
        let_in.map_err(|turned| turned.why)
    }

    /// The session of another node that a key or link names, and what is shown there for it.
    async fn leads_beyond(&self, way: Way) -> Result<(SessionId, Way), NotLetIn> {
        match way {
            Way::Invite(text) => {
                let token = Token::parse(&text).ok_or(NotLetIn::NotFound)?;
                Ok((token.session, Way::Invite(text)))
            }
            Way::Key { group, key } => {
                let key = self.session_keys.lock().digest_of(&key);
                let found = self.saves.vault.find_key(&key).await.map_err(|error| {
                    tracing::warn!(%error, "it is not known where a session key leads");
                    NotLetIn::Unavailable
                })?;
                Ok((found.ok_or(NotLetIn::NotFound)?, Way::Kept { group, key }))
            }
            Way::Kept { .. } => Err(NotLetIn::NotFound),
        }
    }

    /// A key or link may lead to a session of another node.
    async fn let_in_beyond(
        self: &Arc<Self>,
        session: SessionId,
        way: Way,
        guest: Coming,
        origin: Option<&str>,
    ) -> Result<Welcome, NotLetIn> {
        if self.sessions.routed(session).is_some() {
            return Err(NotLetIn::NotFound);
        }
        match self.whereabouts(session).await {
            Ok(Whereabouts::Here(_)) => self.let_in_here(&way, guest, origin).await,
            Ok(Whereabouts::There(node)) => self.let_in_elsewhere(node, way, guest, origin).await,
            Err(Close { code: CloseCode::NotFound, .. }) => Err(NotLetIn::NotFound),
            Err(_) => Err(NotLetIn::Unavailable),
        }
    }

    /// Lets a guest into a session of this node, whose guesses were counted where it asked.
    pub(super) async fn let_in_here(
        self: &Arc<Self>,
        way: &Way,
        coming: Coming,
        origin: Option<&str>,
    ) -> Result<Welcome, NotLetIn> {
        let (session, group, known) = self.leads_to(way, origin).ok_or(NotLetIn::NotFound)?;
        let Coming { guest, terms, device } = coming;
        let guest = Guest { name: guest.name.or(known.name), email: guest.email.or(known.email) };
        let name = guest.name.as_deref().map_or_else(|| Arc::from(limits::GUEST_NAME), Arc::from);
        let device = self.devices.known(&session.group, device);
        let handed = self.ticket_for(&session, name, terms, device).await?;
        let steps = session.view().steps;
        let ticket = match handed {
            Handed::Ticket(ticket) => ticket,
            Handed::Question(asks) => {
                return Ok(Welcome::Asked(Asked { session: session.id, kind: session.kind, asks, steps }));
            }
            Handed::Nothing => return Ok(Welcome::Declined),
        };
        self.make_lead(&session, &group, &guest, ticket.participant);
        let title = session.title.clone();
        Ok(Welcome::In(LetIn { session: session.id, kind: session.kind, title, ticket, steps }))
    }

    /// The session that a key or link leads to from this page, and what is known of the guest.
    fn leads_to(&self, way: &Way, origin: Option<&str>) -> Option<(Arc<LiveSession>, Arc<Group>, Guest)> {
        let (session, known) = match way {
            Way::Key { group, .. } | Way::Kept { group, .. } => {
                let id = {
                    let keys = self.session_keys.lock();
                    match way {
                        Way::Kept { key, .. } => keys.lookup(key)?,
                        Way::Key { key, .. } => keys.find(key)?,
                        Way::Invite(_) => return None,
                    }
                };
                let session = self.sessions.routed(id)?;
                if group.as_ref().is_some_and(|group| *group != session.group) {
                    return None;
                }
                (session, Guest::default())
            }
            Way::Invite(text) => {
                let token = Token::parse(text)?;
                let session = self.sessions.routed(token.session)?;
                let known = session.invites.lock().find(&token.secret)?;
                (session, known)
            }
        };
        if session.view().ended.is_some() {
            return None;
        }
        let group = self.accounts.group(&session.group)?;
        let may_ask = |origin: &str| {
            [Audience::Visitor, Audience::Agent]
                .into_iter()
                .any(|audience| group.settings.origin_allowed(audience, origin))
        };
        origin.is_none_or(may_ask).then_some((session, group, known))
    }

    async fn ticket_for(
        self: &Arc<Self>,
        session: &Arc<LiveSession>,
        name: Arc<str>,
        terms: Option<TermsAnswer>,
        device: Option<Device>,
    ) -> Result<Handed, NotLetIn> {
        let declines = terms.as_ref().is_some_and(|answer| !answer.accepted);
        let (call, ticket) = session.waiting.begin();
        let none = match self.drive(session, Input::Guest(Entrant { call, name, terms, device })) {
            Ok(Answer::Asks(asks)) => Some(Ok(Handed::Question(asks))),
            Ok(_) if declines && session.guest.is_some() => Some(Ok(Handed::Nothing)),
            Ok(_) => None,
            Err(SessionError::Full(limit)) => Some(Err(NotLetIn::Full(limit))),
            Err(SessionError::Taken) => Some(Err(NotLetIn::Taken)),
            Err(SessionError::TermsChanged) => Some(Err(NotLetIn::TermsChanged)),
            Err(SessionError::RequestOver) => Some(Err(NotLetIn::OtherRequest)),
            Err(_) => Some(Err(NotLetIn::NotFound)),
        };
        if let Some(none) = none {
            session.waiting.end(call);
            return none;
        }
        let ticket = tokio::time::timeout(limits::GUEST_WAIT, ticket).await;
        session.waiting.end(call);
        ticket.ok().and_then(Result::ok).map(Handed::Ticket).ok_or(NotLetIn::Unavailable)
    }

    /// Writes down that a guest became a lead, where the group wants it. Whether its email is one already the
    /// log decides, which writes it once for ever.
    fn make_lead(&self, session: &LiveSession, group: &Group, guest: &Guest, participant: ParticipantId) {
        let id = EventId::fresh();
        let Some(lead) = lead::lead(group.settings.create_leads, session.kind, guest, id) else { return };
        self.events.write(Event {
            id,
            group: session.group.clone(),
            at: self.clock.now().wall,
            session: Some(session.id),
            request: Some(session.request),
            actor: Actor::Guest(participant),
            record: session.record.clone(),
            what: What::LeadCreated(lead),
        });
    }
}

impl Way {
    const fn name(&self) -> &'static str {
        match self {
            Self::Key { .. } | Self::Kept { .. } => "key",
            Self::Invite(_) => "invite",
        }
    }
}

/// What a guest tells of itself, without margins, where it can be taken.
pub(super) fn checked(guest: Guest) -> Result<Guest, NotLetIn> {
    let plain =
        |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let (name, email) = (plain(guest.name), plain(guest.email));
    let too_long = |name: &String| name.len() > limits::GUEST_NAME_BYTES || name.contains(char::is_control);
    if name.as_ref().is_some_and(too_long) {
        return Err(NotLetIn::BadValue("the name must be one line of at most 128 bytes"));
    }
    if email.as_deref().is_some_and(|email| !lead::is_email(email)) {
        return Err(NotLetIn::BadValue("the email is none, or exceeds 254 bytes"));
    }
    Ok(Guest { name, email })
}
