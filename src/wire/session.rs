//! Text messages of the session socket, both ways. Frames are in [`super::frame`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::held::InputHeld;
use super::message::{Empty, incoming};
use super::permission::{Facts, PermissionFact, Step};
use super::visitor::SessionKind;
use crate::clock::Wall;
use crate::ids::{AgentId, ParticipantId, SessionId};

incoming! {
    /// What a participant may send; its role decides what is acted on.
    FromParticipant {
        /// Comes first.
        "attach" => Attach(Attach),
        /// A viewer needs a key frame.
        "keyFrameRequest" => KeyFrameRequest(StreamRef),
        /// The last frame drawn.
        "ack" => Ack(Ack),
        /// An agent asks for control.
        "requestControl" => RequestControl(Empty),
        /// The publisher's side gives it.
        "grantControl" => GrantControl(ParticipantRef),
        /// The publisher's side refuses it.
        "rejectControl" => RejectControl(ParticipantRef),
        /// The publisher's side takes it back.
        "revokeControl" => RevokeControl(Empty),
        /// The agent gives it back.
        "releaseControl" => ReleaseControl(Empty),
        /// Input of the agent in control.
        "input" => Input(Input),
        /// The publisher does not apply it, though control is granted.
        "inputHeld" => InputHeld(InputHeld),
        /// The publisher's device allows something, or does not.
        "permission" => Permission(PermissionFact),
        /// The publisher stops showing for a while.
        "pause" => Pause(Empty),
        /// The publisher shows again.
        "resume" => Resume(Empty),
        /// The visitor shows a screen instead of its page, or its page again.
        "shows" => Shows(Shows),
        /// An agent points at something.
        "point" => Point(Point),
        /// An agent shows its camera from now on.
        "startCamera" => StartCamera(Empty),
        /// It shows it no longer.
        "stopCamera" => StopCamera(Empty),
        /// Words.
        "chat" => Chat(Chat),
        /// Goes, the session may go on.
        "leave" => Leave(Empty),
        /// Ends the session.
        "end" => End(End),
    }
}

/// Who publishes and who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Shows its screen.
    Publisher,
    /// Watches.
    Viewer,
}

/// Whose side a participant is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// An agent.
    Agent,
    /// The visitor or an invited guest.
    Guest,
}

/// The first message: exactly one of the two credentials.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attach {
    /// For the first time.
    #[serde(default)]
    pub ticket: Option<String>,
    /// After a loss.
    #[serde(default)]
    pub resume_token: Option<String>,
    /// Codec families a viewer decodes; absent: all.
    #[serde(default)]
    pub decodes: Option<Vec<Codec>>,
}

/// A codec family that a viewer may decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// H.264.
    Avc1,
    /// VP9.
    Vp09,
    /// VP8.
    Vp8,
    /// AV1.
    Av01,
    /// Whole images and tiles.
    Jpeg,
    /// One this server has no name for; ignored.
    #[serde(other, skip_serializing)]
    Other,
}

impl Codec {
    /// All that have a name.
    pub const ALL: [Self; 5] = [Self::Avc1, Self::Vp09, Self::Vp8, Self::Av01, Self::Jpeg];
}

/// Names a stream; the screen when absent.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct StreamRef {
    /// 0 screen, 1 camera.
    #[serde(default)]
    pub stream: u32,
}

/// The last frame that a viewer drew.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Ack {
    /// Of this stream.
    #[serde(default)]
    pub stream: u32,
    /// Its sequence.
    pub seq: u32,
}

/// Names a participant.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantRef {
    /// Who.
    pub participant_id: ParticipantId,
}

/// What a visitor shows in a session of kind `cobrowse`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Shows {
    /// `cobrowse` or `screen`.
    pub kind: SessionKind,
}

/// A place in the frame; coordinates are 0–65535 of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Point {
    /// From the left.
    pub x: u16,
    /// From the top.
    pub y: u16,
}

/// Words to everyone in the session.
#[derive(Debug, Deserialize)]
pub struct Chat {
    /// The words.
    pub text: String,
}

/// Ends the session.
#[derive(Debug, Deserialize)]
pub struct End {
    /// Why, if it is one of the reasons a participant may give.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Input of an agent in control.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Input {
    /// The grant it was made under.
    pub epoch: u64,
    /// What happened, in order.
    pub events: Vec<InputEvent>,
}

/// What kind of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// The pointer moved.
    Move,
    /// A button went down.
    Down,
    /// A button went up.
    Up,
    /// The wheel turned.
    Wheel,
    /// A key went down.
    Keydown,
    /// A key went up.
    Keyup,
    /// Text was entered.
    Text,
}

/// One input event; coordinates are 0–65535 of the frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InputEvent {
    /// What kind.
    pub t: InputKind,
    /// From the left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<u16>,
    /// From the top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<u16>,
    /// 0 main, 1 middle, 2 second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub button: Option<u8>,
    /// Wheel, to the right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dx: Option<f64>,
    /// Wheel, down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dy: Option<f64>,
    /// The key's meaning (UI Events `key`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<str>>,
    /// The key's place (UI Events `code`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Box<str>>,
    /// Bits: 1 shift, 2 control, 4 alt, 8 meta.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modifiers: Option<u8>,
    /// The text entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Box<str>>,
}

/// The stream that is meant where none is named.
fn is_screen(stream: &u32) -> bool {
    *stream == StreamRef::default().stream
}

/// Whether a participant has a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Here {
    /// It has.
    Here,
    /// It lost it and may come back.
    Reconnecting,
}

/// A participant as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantView {
    /// Its name in this session.
    pub participant_id: ParticipantId,
    /// Publisher or viewer.
    pub role: Role,
    /// Agent or guest.
    pub side: Side,
    /// Name for people.
    pub name: Arc<str>,
    /// The agent it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Whether it has a connection.
    pub state: Here,
}

/// What happened to a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Came.
    Joined,
    /// Went for good.
    Left,
    /// Lost its connection.
    Reconnecting,
    /// Is back.
    Back,
}

/// The state of control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ControlState {
    /// Nobody has or wants it.
    Off,
    /// Somebody asked.
    Requested,
    /// Somebody has it.
    Granted,
    /// The last question was refused.
    Rejected,
    /// The last grant was taken back.
    Revoked,
}

/// Control as participants see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlView {
    /// Its state.
    pub state: ControlState,
    /// Whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant_id: Option<ParticipantId>,
    /// Raised at each grant and at each end of one; input names it.
    pub epoch: u64,
}

/// The newest frame of a stream when a viewer joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LiveEdge {
    /// The stream.
    pub stream: u32,
    /// Its newest sequence.
    pub seq: u32,
}

/// Whether an agent may show its camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentVideo {
    /// Whether it may.
    pub allowed: bool,
    /// Whether its page is to start it by itself.
    pub starts: bool,
    /// Why it may not, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'static str>,
}

/// What the server sends to a participant.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ToParticipant {
    /// Answers `attach`.
    Attached {
        /// The session.
        session_id: SessionId,
        /// Who you are in it.
        participant_id: ParticipantId,
        /// What you may do.
        role: Role,
        /// What is shared.
        kind: SessionKind,
        /// What is shown, where the visitor has changed that.
        #[serde(skip_serializing_if = "Option::is_none")]
        shows: Option<SessionKind>,
        /// What stands above an agent's screen.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<Arc<str>>,
        /// What to come back with after a loss; replaced at each attach.
        resume_token: String,
        /// The state of control.
        control: ControlView,
        /// Whether control may be asked for in this session at all.
        control_allowed: bool,
        /// Whether the publisher pauses.
        paused: bool,
        /// Everyone in it, you included.
        participants: Vec<ParticipantView>,
        /// What the publisher's device allows, where it told.
        #[serde(skip_serializing_if = "Option::is_none")]
        permissions: Option<Facts>,
        /// What its guest has to do, in order.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        steps: Vec<Step>,
        /// The live edge of each stream: frames before it are history.
        live: Vec<LiveEdge>,
        /// Whose camera is shown, if anybody's is.
        #[serde(skip_serializing_if = "Option::is_none")]
        camera: Option<ParticipantId>,
        /// Whether you may show yours; told to agents.
        #[serde(skip_serializing_if = "Option::is_none")]
        agent_video: Option<Box<AgentVideo>>,
        /// What every viewer decodes.
        codecs: Vec<Codec>,
        /// Silent seconds after which the client should give up.
        heartbeat: u64,
        /// The server's clock.
        server_time: Wall,
    },
    /// A request was taken.
    Ok {},
    /// Somebody came, went, was lost or is back.
    Participant {
        /// Who.
        participant: ParticipantView,
        /// What happened.
        change: Change,
    },
    /// The publisher should send a key frame.
    KeyFrameRequest {
        /// Of this stream.
        stream: u32,
    },
    /// What every viewer decodes has changed.
    Codecs {
        /// The families.
        codecs: Vec<Codec>,
    },
    /// Control changed.
    Control(ControlView),
    /// Input for the publisher.
    Input(Input),
    /// The publisher does not apply it.
    InputHeld(InputHeld),
    /// What the guest whose screen it is has to do, in order; the first is the step that it is on.
    Steps {
        /// The guest.
        participant_id: ParticipantId,
        /// What is left.
        steps: Vec<Step>,
        /// What its device allows.
        permissions: Facts,
    },
    /// The publisher pauses or goes on.
    Paused {
        /// Which.
        paused: bool,
    },
    /// Frames are of this kind from now on.
    Shows {
        /// `cobrowse` or `screen`.
        kind: SessionKind,
    },
    /// An agent's camera is shown from now on, or nobody's any more.
    Camera {
        /// Whose.
        #[serde(skip_serializing_if = "Option::is_none")]
        participant_id: Option<ParticipantId>,
    },
    /// What the viewers can take.
    Feedback {
        /// Of this stream.
        #[serde(skip_serializing_if = "is_screen")]
        stream: u32,
        /// Kilobits a second of the slowest viewer that is held back; 0: none is.
        kbps: u64,
        /// The same of the median viewer.
        median_kbps: u64,
        /// Viewers that wait for a key frame.
        lagging: usize,
        /// Viewers in all.
        viewers: usize,
    },
    /// This viewer loses frames, or takes none.
    Lagging {
        /// Since when.
        since: Wall,
        /// Of this stream.
        stream: u32,
    },
    /// This viewer lagged, and has drawn what it lacked.
    CaughtUp {
        /// Of this stream.
        stream: u32,
    },
    /// An agent points at something in the publisher's frame.
    Point {
        /// Who.
        participant_id: ParticipantId,
        /// From the left.
        x: u16,
        /// From the top.
        y: u16,
    },
    /// Words.
    Chat {
        /// Whose.
        participant_id: ParticipantId,
        /// The words.
        text: Arc<str>,
    },
    /// The session is over.
    Ended {
        /// Why.
        reason: &'static str,
    },
    /// Come back after a while.
    Reconnect {
        /// How long to wait.
        after_ms: u64,
        /// Why.
        reason: &'static str,
    },
}
