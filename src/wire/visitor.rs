//! Messages of the visitor socket, both ways.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::message::{Empty, Raw, incoming};
use crate::clock::Wall;
use crate::ids::{ConnectionId, GroupId, RequestId, SessionId, VisitorId};

incoming! {
    /// What a website's presence script may send.
    FromVisitor {
        /// Comes first: who is here.
        "connect" => Connect(Connect),
        /// What changed about it.
        "presence" => Presence(PresenceUpdate),
        /// The offer is on the screen.
        "offerDisplayed" => OfferDisplayed(OfferDisplayed),
        /// The visitor's answer.
        "terms" => Terms(TermsAnswer),
        /// To the agents that watch this visitor.
        "message" => Message(Named),
        /// Renews a unique code.
        "extendCode" => ExtendCode(Empty),
        /// Opens a session that waits for an agent.
        "startSession" => StartSession(StartSession),
        /// Waits for an agent no longer.
        "cancelSession" => CancelSession(Empty),
        /// Logout: absent at once.
        "leave" => Leave(Empty),
    }
}

/// The page that a tab shows, as the tab tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Page {
    /// Its address; the fragment is never kept.
    pub url: String,
    /// Its title.
    pub title: Option<String>,
    /// Where the visitor came from; the first to go when room is short.
    pub referrer: Option<String>,
}

/// What runs the page.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Client {
    /// The operating system's name.
    pub platform: Option<String>,
    /// The preferred language, as a BCP 47 tag.
    pub language: Option<String>,
    /// Width and height of the screen: `1280x720`.
    pub screen: Option<String>,
    /// The browser's own name for itself.
    pub user_agent: Option<String>,
}

/// Whether the tab can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// It can.
    Visible,
    /// It is in the background.
    Hidden,
}

/// The first message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connect {
    /// The company's group.
    pub group: GroupId,
    /// The company's name for the visitor; absent: the server issues a unique one.
    #[serde(default)]
    pub visitor_id: Option<VisitorId>,
    /// To come back as a unique visitor.
    #[serde(default)]
    pub unique_secret: Option<String>,
    /// A visitor token minted by the company's back end.
    #[serde(default)]
    pub token: Option<String>,
    /// Where it is.
    #[serde(default)]
    pub page: Option<Page>,
    /// What its browser is.
    #[serde(default)]
    pub client: Option<Client>,
    /// Custom data.
    #[serde(default)]
    pub data: Option<Value>,
    /// Whether the tab can be seen; visible when absent.
    #[serde(default)]
    pub visibility: Option<Visibility>,
}

/// A change of presence.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct PresenceUpdate {
    /// The page is another one.
    #[serde(default)]
    pub page: Option<Page>,
    /// The tab came to the front or went behind.
    #[serde(default)]
    pub visibility: Option<Visibility>,
    /// The visitor does something here: takes focus.
    #[serde(default)]
    pub active: bool,
    /// Merged into the custom data.
    #[serde(default)]
    pub data: Option<Value>,
}

/// The offer is on the screen.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferDisplayed {
    /// Which one.
    pub request_id: RequestId,
}

/// The visitor's answer to an offer, or a guest's to the terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TermsAnswer {
    /// Which offer.
    pub request_id: RequestId,
    /// Yes or no.
    pub accepted: bool,
    /// The version that was shown.
    #[serde(default)]
    pub terms_version: Option<String>,
}

/// A named message with free data, between page and agent.
#[derive(Debug, Deserialize)]
pub struct Named {
    /// Its name, for the receiver's switch.
    pub name: String,
    /// Anything.
    #[serde(default)]
    pub data: Option<Raw>,
}

/// The visitor opens a session that waits for an agent.
#[derive(Debug, Deserialize)]
pub struct StartSession {
    /// What is to be shared; the group's setting when absent.
    #[serde(default)]
    pub kind: Option<SessionKind>,
    /// `random` digits or the visitor ID itself as the session key.
    #[serde(default)]
    pub key: Option<KeyChoice>,
}

/// How a session's key is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyChoice {
    /// Digits.
    Random,
    /// The visitor ID.
    VisitorId,
}

/// What a session shares, and who publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionKind {
    /// The visitor's page as DOM.
    Cobrowse,
    /// A tab, window or screen of the visitor, as pixels.
    Screen,
    /// A guest's whole screen.
    View,
    /// The agent's screen.
    Show,
}

impl SessionKind {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cobrowse => "cobrowse",
            Self::Screen => "screen",
            Self::View => "view",
            Self::Show => "show",
        }
    }
}

/// The name of an agent as a visitor may see it.
#[derive(Debug, Clone, Serialize)]
pub struct AgentName {
    /// Name for people.
    pub name: Arc<str>,
}

/// The terms as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermsShown {
    /// Whether they must be accepted.
    pub required: bool,
    /// Which version this is.
    pub version: Arc<str>,
    /// The text itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Arc<str>>,
    /// Where to read them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Arc<str>>,
}

/// How an offer ended without a session of this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OfferOutcome {
    /// The agent took it back.
    Cancelled,
    /// The deadline passed.
    Expired,
    /// Another tab of the visitor has it.
    Taken,
    /// The server could not go on.
    Failed,
}

/// What the server sends to a visitor.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ToVisitor<'a> {
    /// Answers `connect`.
    Connected {
        /// This connection.
        connection_id: ConnectionId,
        /// Who the visitor is; for a unique visitor, the issued id.
        visitor_id: &'a VisitorId,
        /// The secret to come back with; only when the id was issued now.
        #[serde(skip_serializing_if = "Option::is_none")]
        unique_secret: Option<&'a str>,
        /// The short code of a unique visitor.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'a str>,
        /// When the code ends.
        #[serde(skip_serializing_if = "Option::is_none")]
        code_expires_at: Option<Wall>,
        /// The key of the session that the visitor waits in.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_key: Option<&'a str>,
        /// When that leads nowhere any more.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_key_expires_at: Option<Wall>,
        /// Silent seconds after which the client should give up.
        heartbeat: u64,
        /// Seconds after which absence is told.
        grace: f64,
        /// The server's clock.
        server_time: Wall,
        /// Whether signals and offers come here.
        focused: bool,
        /// Whether the visitor is tracked.
        presence: bool,
    },
    /// Presence, leave and other requests were taken.
    Ok {},
    /// Signals and offers come here, or no longer.
    Focus {
        /// Whether they do.
        focused: bool,
    },
    /// An agent asks to see the screen.
    Offer {
        /// The request.
        request_id: RequestId,
        /// The session it would become.
        session_id: SessionId,
        /// What would be shared.
        kind: SessionKind,
        /// Whether the agent may ask for control.
        control: bool,
        /// Who asks.
        agent: AgentName,
        /// What must be accepted.
        terms: &'a TermsShown,
        /// When the question ends.
        expires_at: Wall,
    },
    /// The question is over.
    OfferEnded {
        /// Which one.
        request_id: RequestId,
        /// How.
        outcome: OfferOutcome,
    },
    /// The way into the session; answers `startSession` too, then with a key and without a ticket.
    Ready {
        /// The request that led here.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<RequestId>,
        /// The session.
        session_id: SessionId,
        /// `publisher`.
        role: super::session::Role,
        /// What to attach with, once an agent is there and the terms are met.
        #[serde(skip_serializing_if = "Option::is_none")]
        ticket: Option<Cow<'a, str>>,
        /// When the ticket ends.
        #[serde(skip_serializing_if = "Option::is_none")]
        ticket_expires_at: Option<Wall>,
        /// What is shared.
        kind: SessionKind,
        /// What the visitor reads out to an agent.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_key: Option<&'a str>,
        /// When the key leads nowhere any more.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_key_expires_at: Option<Wall>,
    },
    /// An agent's message to the page.
    Signal {
        /// Its name.
        name: &'a str,
        /// Its data.
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a Raw>,
        /// Who sent it.
        agent: AgentName,
    },
    /// The session of this visitor is over.
    SessionEnded {
        /// Which one.
        session_id: SessionId,
        /// Why.
        reason: &'a str,
    },
    /// Answers `extendCode`.
    Code {
        /// The digits.
        code: &'a str,
        /// When they end.
        code_expires_at: Wall,
    },
    /// Come back after a while.
    Reconnect {
        /// How long to wait; our clients add jitter.
        after_ms: u64,
        /// Why.
        reason: &'a str,
    },
}
