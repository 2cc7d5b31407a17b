//! What may happen to a session, and what comes of it.
//!
//! Only names and their meaning; what leads to what is decided beside this file. The hub makes the inputs
//! and performs the outputs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Asks, CameraRight, Device, EndReason, Entrant};
use crate::clock::Wall;
use crate::ids::{AgentId, ConnectionId, ParticipantId, RequestId, SessionId, VisitorId};
use crate::limits::Limits;
use crate::model::request::Question;
use crate::model::ticket::Secret;
use crate::wire::agent::RequestState;
use crate::wire::close::Close;
use crate::wire::held::InputHeld;
use crate::wire::permission::{PermissionFact, Step};
use crate::wire::session::{Codec, Input as InputEvents, ParticipantView, Point, Role, Side, ToParticipant};
use crate::wire::visitor::{OfferOutcome, SessionKind};

/// An agent who wants in, at the connection it asked from.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Where it asked, and where it hears of the request.
    pub connection: ConnectionId,
    /// Who it is.
    pub agent: AgentId,
    /// Name for people.
    pub name: Arc<str>,
}

/// Everything a new session starts from.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What is shared.
    pub kind: SessionKind,
    /// Whose screen it is to be; absent: that of the guest who comes by key or link.
    pub visitor: Option<VisitorId>,
    /// What is asked.
    pub question: Question,
    /// Who asks first.
    pub asker: Asker,
    /// Whether control may be asked for.
    pub control: bool,
    /// The visitor's focused connection, if it has one now.
    pub focus: Option<ConnectionId>,
    /// What it is bounded by.
    pub limits: Arc<Limits>,
}

/// What a session of an agent's own screen starts from.
#[derive(Debug, Clone)]
pub struct Showing {
    /// The session.
    pub session: SessionId,
    /// The call that opened it.
    pub request: RequestId,
    /// Who shows.
    pub host: Asker,
    /// What it is bounded by.
    pub limits: Arc<Limits>,
}

/// What may happen to a session.
#[derive(Debug, Clone)]
pub enum Input {
    /// An agent wants in: it is told where the request stands, or gets its ticket.
    Join(Asker),
    /// The page of an agent that asked, or is in it, is at this connection since the session came here: it hears of
    /// the end.
    Follows(Asker),
    /// A guest who was let in wants its ticket.
    Guest(Entrant),
    /// An agent's connection is gone.
    AgentLost(ConnectionId),
    /// The visitor's focus is at this connection, or nowhere while it may still come back.
    Focus(Option<ConnectionId>),
    /// The visitor is absent.
    VisitorGone,
    /// The offer is on the visitor's screen.
    Displayed {
        /// Which offer.
        request: RequestId,
        /// Who says so.
        by: ConnectionId,
    },
    /// The visitor's answer.
    Answer {
        /// To which offer.
        request: RequestId,
        /// From which connection.
        by: ConnectionId,
        /// Yes or no.
        accepted: bool,
        /// The version that was shown, if the page names it.
        version: Option<String>,
    },
    /// An agent takes the question back.
    Cancel {
        /// Which question.
        request: RequestId,
        /// Who.
        by: ConnectionId,
    },
    /// Somebody attaches with a ticket.
    Attach {
        /// The ticket's secret.
        secret: Secret,
        /// Its connection.
        connection: ConnectionId,
        /// What it decodes; `None`: everything.
        decodes: Option<Vec<Codec>>,
    },
    /// Somebody comes back with a resume token.
    Return {
        /// The token's secret.
        secret: Secret,
        /// Its connection.
        connection: ConnectionId,
        /// What it decodes; `None`: everything.
        decodes: Option<Vec<Codec>>,
    },
    /// A participant's connection is gone.
    Lost {
        /// Whose.
        participant: ParticipantId,
        /// Which, so that an old connection's end does not hurt its successor.
        connection: ConnectionId,
    },
    /// A participant says something.
    Say {
        /// Who.
        participant: ParticipantId,
        /// What.
        what: Say,
    },
    /// The agent whose camera is shown may show it no longer.
    EndCamera,
    /// An agent (by its agent connection), an operator or a limit ends it.
    End(EndReason),
}

impl Input {
    /// Whether somebody is there who has to do with the session.
    pub(super) fn tells_of_somebody(&self) -> bool {
        matches!(
            self,
            Self::Join(_) | Self::Guest(_) | Self::Focus(Some(_)) | Self::Attach { .. } | Self::Return { .. }
        )
    }
}

/// What a participant may say.
#[derive(Debug, Clone)]
pub enum Say {
    /// Goes.
    Leave,
    /// Ends the session; a publisher may tell that its capture was refused.
    End {
        /// The reason it gave.
        reason: Option<String>,
    },
    /// Stops showing.
    Pause,
    /// Shows again.
    Resume,
    /// Shows this from now on.
    Shows(SessionKind),
    /// Asks for control.
    RequestControl,
    /// Gives control.
    GrantControl(ParticipantId),
    /// Refuses control.
    RejectControl(ParticipantId),
    /// Takes control back.
    RevokeControl,
    /// Gives control back.
    ReleaseControl,
    /// Input for the publisher.
    Input(InputEvents),
    /// Does not apply it.
    InputHeld(InputHeld),
    /// The publisher's device allows something, or does not.
    Permission(PermissionFact),
    /// Points at something.
    Point(Point),
    /// Shows its camera.
    StartCamera(CameraRight),
    /// Shows it no longer.
    StopCamera,
    /// Words.
    Chat(Arc<str>),
}

/// What the hub is to do.
#[derive(Debug)]
pub enum Output {
    /// Put the question to the visitor.
    Offer {
        /// Where.
        to: ConnectionId,
        /// Who asks, for people.
        agent: Arc<str>,
        /// When it ends.
        expires_at: Wall,
    },
    /// Take the question off the visitor's screen.
    OfferEnded {
        /// Where.
        to: ConnectionId,
        /// Why.
        outcome: OfferOutcome,
    },
    /// Hand a ticket to the visitor.
    VisitorReady {
        /// Where.
        to: ConnectionId,
        /// The ticket's text.
        ticket: String,
        /// When it ends.
        expires_at: Wall,
    },
    /// Tell the visitor's page that the session is over.
    VisitorEnded {
        /// Where.
        to: ConnectionId,
        /// Why.
        reason: EndReason,
    },
    /// Tell agents where the request stands.
    Request {
        /// Where.
        to: Vec<ConnectionId>,
        /// The state.
        state: RequestState,
    },
    /// Hand a ticket to an agent.
    AgentReady {
        /// Where.
        to: ConnectionId,
        /// Whose.
        agent: AgentId,
        /// The ticket's text.
        ticket: String,
        /// When it ends.
        expires_at: Wall,
    },
    /// Hand a ticket to the guest whose call waits for it.
    GuestReady {
        /// Which call.
        call: u64,
        /// Who it will be.
        participant: ParticipantId,
        /// What it will do.
        role: Role,
        /// The ticket's text.
        ticket: String,
        /// When it ends.
        expires_at: Wall,
    },
    /// Tell agents that the session is over.
    AgentEnded {
        /// Where.
        to: Vec<ConnectionId>,
        /// Why.
        reason: EndReason,
    },
    /// Tell participants.
    Tell {
        /// Where.
        to: Vec<ConnectionId>,
        /// What.
        message: ToParticipant,
    },
    /// Close a participant's connection.
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why.
        close: Close,
    },
    /// The publisher pauses or the session ends (true: what is cached is dropped, no frame is relayed), or
    /// the publisher goes on.
    Paused(bool),
    /// A fresh publisher is there: its frames start anew.
    Publisher(ConnectionId),
    /// The camera frames of this connection are relayed from now on, or nobody's.
    Camera(Option<ConnectionId>),
    /// Something for the record.
    Happened(Happened),
    /// What is known of the guest's device by now.
    Device(Device),
    /// Where the session stands for buttons and lists has changed.
    Moved,
    /// It takes no more steps on this node, and all that it said before was done.
    Departs,
}

impl Output {
    /// Whether what is saved of the session is another for it: all but words between participants.
    pub(super) fn tells_of_change(&self) -> bool {
        !matches!(
            self,
            Self::Tell {
                message: ToParticipant::Input(_)
                    | ToParticipant::InputHeld(_)
                    | ToParticipant::Point { .. }
                    | ToParticipant::Camera { .. }
                    | ToParticipant::Chat { .. },
                ..
            } | Self::Camera(_)
                | Self::Happened(
                    Happened::InputRefused | Happened::CameraStarted(_) | Happened::CameraStopped
                )
        )
    }
}

/// What is worth writing down, as `product.md` 11 names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// The question was put.
    Offered,
    /// An agent opened it to show its own screen: nobody is asked anything.
    Opened,
    /// It was on the visitor's screen.
    Displayed,
    /// The visitor accepted, or nothing was required. No ticket is handed out before this was acted on.
    Accepted(Accepted),
    /// The request ended otherwise: how, and the connection that said no, where one did.
    Refused(RequestState, Option<ConnectionId>),
    /// The publisher is attached for the first time.
    Started,
    /// A participant came.
    Joined(Person),
    /// A participant went.
    Left(Person),
    /// The publisher pauses.
    Paused,
    /// The publisher goes on.
    Resumed,
    /// The visitor shows this from now on.
    Shows(SessionKind),
    /// An agent has control.
    ControlGranted(Person),
    /// It has no longer.
    ControlRevoked,
    /// Input without a grant was dropped.
    InputRefused,
    /// An agent shows its camera.
    CameraStarted(Person),
    /// Nobody does any more.
    CameraStopped,
    /// It is over.
    Ended(EndReason),
}

impl Happened {
    /// Its name in the log of the process.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Opened => "opened",
            Self::Displayed => "displayed",
            Self::Accepted(_) => "accepted",
            Self::Refused(state, _) => state.as_str(),
            Self::Started => "started",
            Self::Joined(_) => "joined",
            Self::Left(_) => "left",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Shows(_) => "shows",
            Self::ControlGranted(_) => "control_granted",
            Self::ControlRevoked => "control_revoked",
            Self::InputRefused => "input_refused",
            Self::CameraStarted(_) => "camera_started",
            Self::CameraStopped => "camera_stopped",
            Self::Ended(reason) => reason.as_str(),
        }
    }
}

/// How the terms were met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The version; `None`: none was required.
    pub version: Option<Arc<str>>,
    /// When the terms were on the screen, if the page told.
    pub displayed: Option<Wall>,
    /// From which connection the yes came.
    pub by: Option<ConnectionId>,
    /// How the guest calls itself who accepted at the door; a visitor accepts on its page.
    pub guest: Option<Arc<str>>,
    /// When.
    pub at: Wall,
    /// Who asked, as the visitor was told.
    pub asked_by: Arc<str>,
    /// The agents that were asking.
    pub agents: Vec<AgentId>,
}

/// Who a participant is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// Its id in the session.
    pub participant: ParticipantId,
    /// What it does there.
    pub role: Role,
    /// Whose side it is on.
    pub side: Side,
    /// Name for people.
    pub name: Arc<str>,
    /// The agent it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
}

/// What the asker of an input is told at once.
#[derive(Debug)]
pub enum Answer {
    /// It was done.
    Done,
    /// A join: where the request stands.
    Request(RequestState),
    /// A guest has to accept this before it may show its screen.
    Asks(Asks),
    /// An attach or return: who the connection is now, and its first message.
    Attached {
        /// Its participant.
        participant: ParticipantId,
        /// Its role.
        role: Role,
        /// Its side.
        side: Side,
        /// The `attached` message but for what the relay adds (`live`) and the heartbeat.
        message: Box<ToParticipant>,
    },
}

/// A session as lists and buttons see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Its id.
    pub id: SessionId,
    /// The request that opened it.
    pub request: RequestId,
    /// What is shared.
    pub kind: SessionKind,
    /// What is shown, where the visitor shows something else by now.
    #[serde(default)]
    pub shows: Option<SessionKind>,
    /// The visitor whose screen it is, if it is one's.
    pub visitor: Option<VisitorId>,
    /// Where it stands.
    pub state: RequestState,
    /// When it was asked for.
    pub created: Wall,
    /// When the publisher first attached.
    pub started: Option<Wall>,
    /// When the terms were accepted, and which version.
    pub accepted: Option<(Wall, Option<Arc<str>>)>,
    /// Agents that asked or watch.
    pub agents: Vec<AgentId>,
    /// Who is in it.
    pub participants: Vec<ParticipantView>,
    /// Why it ended.
    pub ended: Option<EndReason>,
    /// Whether the publisher pauses.
    pub paused: bool,
    /// What the guest who shows has to do, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
}

impl View {
    /// Whether it is a question that was not answered.
    pub fn is_question(&self) -> bool {
        // Where a guest is awaited nobody was asked yet who could wait for an answer.
        self.visitor.is_some() && matches!(self.state, RequestState::Offered | RequestState::Displayed)
    }
}
