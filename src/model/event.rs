//! What happens, as it is written down: one event, told once, for everybody who should know.
//!
//! Decides which kinds of event there are and what each says. Does not decide where they are kept
//! ([`crate::store::EventLog`]) or who reads them. Written by the hub and by what works on sessions after
//! their end; see [`told`] for which words of a session become which events.
//!
//! No event holds a secret, a frame, a page's address or custom data of a visitor.

pub mod told;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::session::{EndReason, Person};
use crate::clock::Wall;
use crate::ids::{
    AgentId, EventId, GroupId, KeyId, ParticipantId, ReceiptId, RequestId, SessionId, VisitorId,
};
use crate::wire::agent::Record;
use crate::wire::visitor::SessionKind;

/// Something that happened in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Names it for good: who gets it twice can tell.
    pub id: EventId,
    /// Where it happened.
    pub group: GroupId,
    /// When.
    pub at: Wall,
    /// The session it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The request that opened the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// Who did it.
    pub actor: Actor,
    /// The CRM record that the agent had open when it pressed Join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// An event in its place in the group's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Counts the group's events from 1, without gaps.
    pub sequence: u64,
    /// What happened.
    pub event: Event,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "id", rename_all = "camelCase")]
pub enum Actor {
    /// The server itself, or the passing of time.
    Server,
    /// The visitor.
    Visitor(VisitorId),
    /// A guest who is no visitor.
    Guest(ParticipantId),
    /// An agent.
    Agent(AgentId),
    /// The operator of the server.
    Operator,
    /// A back end, by its API key.
    ApiKey(KeyId),
}

impl Actor {
    /// Reads how the audit of settings names who made a change: `operator`, `key <id>`, `agent <id>`.
    /// Anything else was the server's own doing.
    pub fn of_audit(by: &str) -> Self {
        match by.split_once(' ') {
            Some(("key", id)) => KeyId::new(id).map_or(Self::Server, Self::ApiKey),
            Some(("agent", id)) => AgentId::new(id).map_or(Self::Server, Self::Agent),
            _ if by == "operator" => Self::Operator,
            _ => Self::Server,
        }
    }
}

/// Declares [`What`] and its [`Kind`]s: variant, name on every wire, details.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $(($details:ty))?;)*) => {
        /// What happened, with its details.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", content = "details")]
        pub enum What {
            $($(#[$doc])* #[serde(rename = $name)] $variant $(($details))?,)*
        }

        /// The name of what happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Kind {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Kind {
            /// Every kind there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name on every wire, such as `session.started`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Reads a name.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }

        impl What {
            /// Its name.
            pub const fn kind(&self) -> Kind {
                match self { $(kinds!(@pattern $variant $(($details))?) => Kind::$variant,)* }
            }
        }
    };
    (@pattern $variant:ident) => { Self::$variant };
    (@pattern $variant:ident ($details:ty)) => { Self::$variant(_) };
}

kinds! {
    /// The question was put to the visitor.
    Offered = "request.offered" (Offered);
    /// It was on the visitor's screen.
    Displayed = "request.displayed";
    /// The visitor accepted, or nothing was required.
    Accepted = "request.accepted" (Accepted);
    /// The visitor said no.
    Declined = "request.declined" (Asking);
    /// The agents took it back.
    Cancelled = "request.cancelled" (Asking);
    /// Nobody answered in time.
    Expired = "request.expired" (Asking);
    /// The visitor went before answering.
    VisitorGone = "request.visitor_gone" (Asking);
    /// The server could not go on.
    Failed = "request.failed" (Asking);
    /// A session came to be. Exactly one `session.ended` follows.
    Created = "session.created" (Created);
    /// Both sides have their tickets; it waits for them to connect.
    Waiting = "session.waiting";
    /// The publisher is there.
    Started = "session.started";
    /// A participant came.
    Joined = "session.joined" (Person);
    /// A participant went while the session went on.
    Left = "session.left" (Person);
    /// The publisher pauses.
    Paused = "session.paused";
    /// The publisher goes on.
    Resumed = "session.resumed";
    /// An agent has control.
    ControlGranted = "session.control_granted" (Person);
    /// It has no longer.
    ControlRevoked = "session.control_revoked";
    /// The visitor shows something else from now on.
    Shows = "session.shows" (Shows);
    /// It is over; nothing about this session's course follows.
    Ended = "session.ended" (Ended);
    /// A post stands in a record's feed.
    FeedPosted = "feed.posted" (Post);
    /// A guest became a lead.
    LeadCreated = "lead.created" (Lead);
    /// The session's record is complete and may be handed on.
    RecordLogged = "record.logged";
    /// Handing ended sessions to a sink began.
    SyncStarted = "sync.started" (Sync);
    /// It went through.
    SyncFinished = "sync.finished" (Sync);
    /// It did not.
    SyncFailed = "sync.failed" (Sync);
    /// The group's settings are others now.
    SettingsChanged = "settings.changed" (SettingsChanged);
    /// Somebody was not let in.
    AuthRefused = "auth.refused" (AuthRefused);
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offered {
    /// Whether terms must be accepted.
    pub required: bool,
    /// Which version of them; empty where the group has none.
    pub version: Arc<str>,
    /// Whether the agent may ask for control.
    pub control: bool,
}

/// How the terms were met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The version that was accepted; none: nothing was required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Arc<str>>,
    /// The receipt of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptRef>,
    /// From which connection of its node the yes came; none where nothing was required, and of a guest, who
    /// accepts at the door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Arc<str>>,
    /// The agents that were asking.
    pub agents: Vec<AgentId>,
}

/// Names a consent receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptRef {
    /// Its id.
    pub id: ReceiptId,
    /// Its place in the group's chain, from 1.
    pub number: u64,
}

/// Who was asking when a request ended without a session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asking {
    /// The agents.
    pub agents: Vec<AgentId>,
    /// From which connection of its node the no came, where a visitor said no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Arc<str>>,
}

/// What a new session is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    /// Whose screen, and how.
    pub kind: SessionKind,
    /// The visitor, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor: Option<VisitorId>,
    /// The agent that asked first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
}

/// What a visitor shows from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shows {
    /// What its frames are.
    pub kind: SessionKind,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// Why.
    pub reason: EndReason,
    /// What was relayed.
    #[serde(flatten)]
    pub relayed: Relayed,
}

/// What a session relayed from its publisher, however many watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Relayed {
    /// Frames.
    pub frames: u64,
    /// Their bytes, with headers.
    pub bytes: u64,
}

/// A post in a record's feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Post {
    /// Its id.
    pub post: String,
    /// What it says.
    pub text: String,
    /// Where it leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Its author's name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

/// A guest who became a lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lead {
    /// The lead's id.
    pub lead: String,
    /// Its email, as the guest gave it.
    pub email: String,
    /// Its name, if the guest gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A run of a sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sync {
    /// The run's id.
    pub run: String,
    /// The sink it feeds.
    pub sink: String,
    /// Session records handed over so far.
    pub count: u64,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Which settings changed; their values are in the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettingsChanged {
    /// The version that the change made.
    pub version: u64,
    /// The names of what changed, as in the settings' JSON.
    pub fields: Vec<String>,
}

/// Who was not let in. A flood is told by its first few, and then by its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthRefused {
    /// Where.
    pub door: Door,
    /// Why.
    pub reason: String,
    /// Refusals of this group that were not told one by one since the event before this one.
    pub untold: u64,
}

/// Where somebody shows a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// An agent's sign-in.
    SignIn,
    /// An agent's socket.
    Agent,
    /// A visitor's socket.
    Visitor,
    /// The operators' service.
    Admin,
    /// The door of guests, who come by a key or a link.
    Guest,
}

impl Door {
    /// The name on every wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Agent => "agent",
            Self::Visitor => "visitor",
            Self::Admin => "admin",
            Self::Guest => "guest",
        }
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! One event of each kind, for the tests of everything that carries events.

    use super::*;
    use crate::wire::session::{Role, Side};

    pub(crate) fn person(number: u128) -> Person {
        Person {
            participant: ParticipantId::from_u128(number),
            role: Role::Viewer,
            side: Side::Agent,
            name: "Alice".into(),
            agent: Some(AgentId::new("alice").unwrap()),
        }
    }

    /// What there is to say, once of each kind.
    pub(crate) fn everything() -> Vec<What> {
        let asking =
            || Asking { agents: vec![AgentId::new("alice").unwrap()], connection: Some("c1".into()) };
        let sync = |error: Option<&str>| Sync {
            run: "r1".into(),
            sink: "s1".into(),
            count: 3,
            error: error.map(str::to_owned),
        };
        let receipt = Some(ReceiptRef { id: ReceiptId::from_u128(7), number: 4 });
        vec![
            What::Offered(Offered { required: true, version: "v1".into(), control: true }),
            What::Displayed,
            What::Accepted(Accepted {
                version: Some("v1".into()),
                receipt,
                connection: Some("c1f".into()),
                agents: asking().agents,
            }),
            What::Declined(asking()),
            What::Cancelled(asking()),
            What::Expired(asking()),
            What::VisitorGone(asking()),
            What::Failed(asking()),
            What::Created(Created {
                kind: SessionKind::Screen,
                visitor: Some(VisitorId::new("C-1").unwrap()),
                agent: Some(AgentId::new("alice").unwrap()),
            }),
            What::Waiting,
            What::Started,
            What::Joined(person(5)),
            What::Left(person(5)),
            What::Paused,
            What::Resumed,
            What::ControlGranted(person(5)),
            What::ControlRevoked,
            What::Shows(Shows { kind: SessionKind::Screen }),
            What::Ended(Ended {
                reason: EndReason::GuestEnded,
                relayed: Relayed { frames: 10, bytes: 1 << 40 },
            }),
            What::FeedPosted(Post {
                post: "p1".into(),
                text: "Hello".into(),
                link: Some("/s/1".into()),
                author: Some("Alice".into()),
            }),
            What::LeadCreated(Lead { lead: "l1".into(), email: "a@b.c".into(), name: None }),
            What::RecordLogged,
            What::SyncStarted(sync(None)),
            What::SyncFinished(sync(None)),
            What::SyncFailed(sync(Some("no route"))),
            What::SettingsChanged(SettingsChanged { version: 2, fields: vec!["showTerms".into()] }),
            What::AuthRefused(AuthRefused { door: Door::SignIn, reason: "wrong".into(), untold: 9 }),
        ]
    }

    /// An event of a group.
    pub(crate) fn event(group: &str, number: u128, what: What) -> Event {
        Event {
            id: EventId::from_u128(number),
            group: GroupId::new(group).unwrap(),
            at: Wall(1_893_456_000_000 + number as u64),
            session: Some(SessionId::from_u128(2)),
            request: Some(RequestId::from_u128(3)),
            actor: Actor::Agent(AgentId::new("alice").unwrap()),
            record: Some(Record { object: "Case".into(), id: "500".into(), name: None, url: None }),
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_sample_and_one_name() {
        let kinds: Vec<Kind> = samples::everything().iter().map(What::kind).collect();
        assert_eq!(kinds, Kind::ALL);
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(*kind));
            let (family, rest) = kind.as_str().split_once('.').unwrap();
            assert!(
                ["request", "session", "feed", "lead", "record", "sync", "settings", "auth"]
                    .contains(&family)
            );
            assert!(rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{kind:?}");
        }
        assert_eq!(Kind::parse("session"), None);
    }

    #[test]
    fn json_keeps_everything() {
        for (number, what) in samples::everything().into_iter().enumerate() {
            let kind = what.kind();
            let event = samples::event("g", number as u128, what);
            let text = serde_json::to_string(&event).unwrap();
            assert!(text.contains(&format!("\"kind\":\"{}\"", kind.as_str())), "{text}");
            assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event, "{text}");
        }
    }

    #[test]
    fn the_audit_names_who_did_it() {
        assert_eq!(Actor::of_audit("operator"), Actor::Operator);
        assert_eq!(Actor::of_audit("key k1"), Actor::ApiKey(KeyId::new("k1").unwrap()));
        assert_eq!(Actor::of_audit("agent a@b"), Actor::Agent(AgentId::new("a@b").unwrap()));
        for other in ["", "key ", "agent ä", "setup"] {
            assert_eq!(Actor::of_audit(other), Actor::Server, "{other}");
        }
    }
}
