//! Messages of the agent socket, both ways.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::feed::FeedItem;
pub use super::guest::{GuestName, Invite, Show, View};
pub use super::live::{LiveFilter, PresenceState, WatchLive};
use super::message::{Empty, Raw, incoming};
pub use super::record::{Fields, OpenRecord, Record, RecordRef};
use super::session::Role;
use super::visitor::SessionKind;
use crate::clock::Wall;
use crate::ids::{AgentId, ConnectionId, GroupId, RequestId, SessionId, VisitorId};

incoming! {
    /// What an agent's page may send.
    FromAgent {
        /// Comes first: the token.
        "connect" => Connect(Connect),
        /// A newer token of the same agent, so that the connection outlives the last one.
        "renew" => Renew(Connect),
        /// Tell me of these visitors from now on.
        "watch" => Watch(VisitorIds),
        /// No longer of these.
        "unwatch" => Unwatch(VisitorIds),
        /// The group's live list, and its changes.
        "watchLive" => WatchLive(WatchLive),
        /// No longer.
        "unwatchLive" => UnwatchLive(Empty),
        /// How are these visitors now?
        "lookup" => Lookup(VisitorIds),
        /// A record is on the screen.
        "openRecord" => OpenRecord(OpenRecord),
        /// It is no longer.
        "closeRecord" => CloseRecord(RecordRef),
        /// Join a visitor's screen.
        "join" => Join(Join),
        /// Take the question back.
        "cancel" => Cancel(Cancel),
        /// Show my own screen.
        "show" => Show(Show),
        /// See a guest's whole screen.
        "view" => View(View),
        /// Invite another agent or a guest.
        "invite" => Invite(Invite),
        /// A message to the visitor's page.
        "signal" => Signal(Signal),
        /// End a session.
        "endSession" => EndSession(EndSession),
        /// Tell me of posts on this record.
        "follow" => Follow(RecordRef),
        /// No longer.
        "unfollow" => Unfollow(RecordRef),
        /// Posts of this record.
        "feed" => Feed(Feed),
    }
}

/// The first message, and the shape of `renew`.
#[derive(Debug, Deserialize)]
pub struct Connect {
    /// An agent token.
    pub token: String,
}

/// Some visitors of the agent's group.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VisitorIds {
    /// Their ids.
    pub visitor_ids: Vec<VisitorId>,
}

/// Whom to join: exactly one of the four; a key may be typed for an open record, which the session then belongs to.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Join {
    /// This visitor.
    #[serde(default)]
    pub visitor_id: Option<VisitorId>,
    /// The visitor of this open record.
    #[serde(default)]
    pub record: Option<Record>,
    /// The session with this key.
    #[serde(default)]
    pub session_key: Option<String>,
    /// This running session.
    #[serde(default)]
    pub session_id: Option<SessionId>,
    /// What to start; the group's setting when absent.
    #[serde(default)]
    pub kind: Option<SessionKind>,
    /// Whether control may be asked for later.
    #[serde(default)]
    pub control: bool,
    /// The span of the agent's page that this belongs to (W3C Trace Context).
    #[serde(default)]
    pub traceparent: Option<Box<str>>,
}

impl Join {
    /// As it reads once its key has led to a session or a visitor, asked under this number.
    pub fn by_name(&self, id: Option<u64>) -> String {
        let Self { visitor_id, session_id, kind, control, traceparent, .. } = self;
        serde_json::json!({"type": "join", "id": id, "visitorId": visitor_id, "sessionId": session_id,
                           "kind": kind, "control": control, "traceparent": traceparent})
        .to_string()
    }
}

/// Takes a question back.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cancel {
    /// Which one.
    pub request_id: RequestId,
}

/// A message to the visitor's page.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signal {
    /// To whom.
    pub visitor_id: VisitorId,
    /// Its name.
    pub name: String,
    /// Its data.
    #[serde(default)]
    pub data: Option<Raw>,
}

/// Ends a session.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndSession {
    /// Which one.
    pub session_id: SessionId,
}

/// A page of posts.
#[derive(Debug, Deserialize)]
pub struct Feed {
    /// Of this record.
    pub record: Record,
    /// Older than this post.
    #[serde(default)]
    pub before: Option<String>,
    /// Newer than this post.
    #[serde(default)]
    pub after: Option<String>,
    /// How many.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// The agent of a connection.
#[derive(Debug, Serialize)]
pub struct AgentView<'a> {
    /// Its id.
    pub id: &'a AgentId,
    /// Name for people.
    pub name: &'a str,
    /// Its profile.
    pub profile: Option<&'a str>,
    /// What it may do.
    pub permissions: Vec<&'static str>,
}

/// Group settings that an agent's page acts on.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentSettings {
    /// Whether the session record is to be opened on join.
    pub open_session_records: bool,
    /// Whether visitors are tracked at all.
    pub presence_enabled: bool,
}

/// How a signal went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// The focused tab has it.
    Delivered,
    /// It waits for the visitor's next page.
    Held,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    /// The question is on its way.
    Offered,
    /// It is on the visitor's screen.
    Displayed,
    /// The visitor said yes, or need not be asked.
    Accepted,
    /// The visitor's page is attaching.
    Connecting,
    /// The session runs.
    Active,
    /// The session is over.
    Ended,
    /// The visitor said no.
    Declined,
    /// An agent took it back.
    Cancelled,
    /// Nobody answered in time.
    Expired,
    /// The visitor went.
    VisitorGone,
    /// It could not go on.
    Failed,
}

impl RequestState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Displayed => "displayed",
            Self::Accepted => "accepted",
            Self::Connecting => "connecting",
            Self::Active => "active",
            Self::Ended => "ended",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::VisitorGone => "visitor_gone",
            Self::Failed => "failed",
        }
    }
}

/// What the server sends to an agent.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ToAgent<'a> {
    /// Answers `connect`.
    Connected {
        /// This connection.
        connection_id: ConnectionId,
        /// Who you are.
        agent: AgentView<'a>,
        /// Your group.
        group: &'a GroupId,
        /// Settings to act on.
        settings: AgentSettings,
        /// Silent seconds after which the client should give up.
        heartbeat: u64,
        /// The server's clock.
        server_time: Wall,
    },
    /// A request was taken.
    Ok {},
    /// Answers `renew`.
    Renewed {
        /// When the connection ends unless it is renewed again.
        expires_at: Wall,
    },
    /// Answers `watch`: how these visitors are now.
    Watching {
        /// In the order asked.
        visitors: Vec<&'a RawValue>,
    },
    /// Answers `lookup`.
    Visitors {
        /// In the order asked.
        visitors: Vec<&'a RawValue>,
    },
    /// A watched visitor changed.
    Presence {
        /// How it is now.
        visitor: &'a RawValue,
    },
    /// Answers `watchLive`.
    Live {
        /// This page.
        visitors: Vec<&'a RawValue>,
        /// All that match.
        total: usize,
        /// Where the next page starts.
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
    },
    /// The live list changed.
    LiveDiff {
        /// New in it.
        joined: Vec<&'a RawValue>,
        /// Still in it, but different.
        changed: Vec<&'a RawValue>,
        /// No longer in it.
        left: Vec<VisitorId>,
        /// All that match now.
        total: usize,
        /// Too much changed: read the list again.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        reset: bool,
    },
    /// A record's buttons; answers `openRecord` and is pushed on any change.
    Record {
        /// Which record.
        record: &'a Record,
        /// The visitor it leads to.
        #[serde(skip_serializing_if = "Option::is_none")]
        visitor_id: Option<&'a VisitorId>,
        /// How that visitor is.
        #[serde(skip_serializing_if = "Option::is_none")]
        visitor: Option<&'a RawValue>,
        /// Show, join and view.
        buttons: &'a RawValue,
        /// The running session of the visitor.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<SessionId>,
        /// Whether who opens the record joins that session without a click.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        auto_join: bool,
        /// Why there are no buttons at all.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    /// A step of a request; answers `join` and is pushed on each step.
    Request {
        /// The request.
        request_id: RequestId,
        /// The session it is about.
        session_id: SessionId,
        /// The visitor asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        visitor_id: Option<VisitorId>,
        /// Where it stands.
        state: RequestState,
        /// What the guest who shows has to do first.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        steps: &'a [super::permission::Step],
        /// Why, where that is not plain from the state.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        /// Where the session will open for the agent that asked: `page`, `browser_tab` or `client`; in answers only.
        #[serde(skip_serializing_if = "Option::is_none")]
        join_in: Option<&'static str>,
    },
    /// The way into a session.
    Ready {
        /// The request that led here.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<RequestId>,
        /// The session.
        session_id: SessionId,
        /// `viewer` or `publisher`.
        role: Role,
        /// What to attach with.
        ticket: &'a str,
        /// When the ticket ends.
        ticket_expires_at: Wall,
        /// What is shared.
        kind: SessionKind,
        /// Whose screen it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        visitor_id: Option<VisitorId>,
        /// What guests type to come in, where they may.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_key: Option<&'a str>,
        /// The page by which guests come in, the invite in its fragment.
        #[serde(skip_serializing_if = "Option::is_none")]
        link: Option<&'a str>,
        /// Where to open it, by the agent's profile: `page`, `browser_tab` or `client`; for who watches.
        #[serde(skip_serializing_if = "Option::is_none")]
        join_in: Option<&'static str>,
        /// The group wants the session's record opened on the agent's page, and there is one.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        open_record: bool,
    },
    /// Answers `view`: a guest may come in. `request` and `ready` follow when one does.
    Waiting {
        /// The request, by which the steps are told.
        request_id: RequestId,
        /// The session.
        session_id: SessionId,
        /// What will be shared.
        kind: SessionKind,
        /// What the guest types.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_key: Option<&'a str>,
        /// The agent's own page, where the guest types it.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<&'a str>,
        /// The page by which the guest comes in, the invite in its fragment.
        link: &'a str,
        /// Until when somebody may come.
        expires_at: Wall,
    },
    /// Answers `invite`.
    Invite {
        /// The page by which a guest comes in, the invite in its fragment.
        link: &'a str,
        /// When the session, and the link with it, ends at the latest.
        expires_at: Wall,
    },
    /// Answers `signal`.
    Signalled {
        /// How it went.
        delivery: Delivery,
    },
    /// A watched visitor's page says something.
    Message {
        /// Who.
        visitor_id: &'a VisitorId,
        /// Its name.
        name: &'a str,
        /// Its data.
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a Raw>,
    },
    /// A session you are in or asked for is over.
    SessionEnded {
        /// Which one.
        session_id: SessionId,
        /// Whose screen it was.
        #[serde(skip_serializing_if = "Option::is_none")]
        visitor_id: Option<VisitorId>,
        /// Why.
        reason: &'static str,
    },
    /// A post in the feed of a record that the agent follows.
    FeedItem {
        /// The post.
        item: FeedItem<'a>,
    },
    /// Answers `feed`.
    Feed {
        /// The posts, newest first.
        items: Vec<FeedItem<'a>>,
        /// Whether there are more in the direction that was read.
        more: bool,
        /// Whether the agent follows the record.
        following: bool,
    },
    /// Settings changed.
    Settings {
        /// What they are now.
        settings: AgentSettings,
    },
    /// Come back after a while.
    Reconnect {
        /// How long to wait; our clients add jitter.
        after_ms: u64,
        /// Why.
        reason: &'a str,
    },
}
