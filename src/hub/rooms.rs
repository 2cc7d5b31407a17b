//! The participant's door: attaching, frames, and what is said in a session.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Hub;
use super::registry::Connection;
use super::relay::{Relay, Taken, Watching};
use super::remote::edge::Far;
use super::remote::replica::Place;
use super::sessions::{LiveSession, UNREACHED, Whereabouts};
use crate::cluster::NodeId;
use crate::cluster::post::Door;
use crate::ids::{ConnectionId, ParticipantId, SessionId};
use crate::limits;
use crate::model::relay::Frame;
use crate::model::session::{Answer, Input, Say, SessionError, Shown};
use crate::model::ticket::Token;
use crate::wire::close::{Close, CloseCode};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::frame::{self, FrameHeader, FrameType, Source};
use crate::wire::message::{Text, clip};
use crate::wire::session::{Attach, Codec, FromParticipant, Role, Side, ToParticipant};
use crate::wire::visitor::SessionKind;

/// A participant's connection. Dropping it is the loss of the connection.
pub struct Participant {
    hub: Arc<Hub>,
    room: Room,
    role: Role,
    side: Side,
    connection: ConnectionId,
}

/// Where the session lives.
enum Room {
    /// On this node.
    Here(Arc<LiveSession>, ParticipantId),
    /// On another: what leads there, its frames, those of an agent's camera, and what is shown, by what its own publisher
    /// said here.
    There(Far, Place, Place, Mutex<Option<Shown>>),
}

impl Hub {
    /// Somebody attaches with a ticket, or comes back with a resume token.
    pub async fn attach(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        attach: Attach,
        id: Option<u64>,
    ) -> Result<(Participant, Option<Watching>), Close> {
        let refused = || Close::new(CloseCode::Unauthorized, "ticket or token is wrong, used or expired");
        let (text, first) = match (&attach.ticket, &attach.resume_token) {
            (Some(ticket), None) => (ticket, true),
            (None, Some(token)) => (token, false),
            _ => {
                return Err(Close::new(CloseCode::BadMessage, "attach takes a ticket or a resume token"));
            }
        };
        let token = Token::parse(text).ok_or_else(refused)?;
        let session = match self.sessions.routed(token.session) {
            Some(session) => session,
            None => match self.whereabouts(token.session).await? {
                Whereabouts::Here(session) => session,
                Whereabouts::There(node) => {
                    return self.attach_far(connection, node, token.session, attach, id).await;
                }
            },
        };
        let (secret, connection_id, decodes) = (token.secret, connection.id, attach.decodes);
        let input = if first {
            Input::Attach { secret, connection: connection_id, decodes }
        } else {
            Input::Return { secret, connection: connection_id, decodes }
        };
        let (participant, role, side, mut message) = match self.drive(&session, input) {
            Ok(Answer::Attached { participant, role, side, message }) => (participant, role, side, message),
            Ok(_) | Err(SessionError::NoSuchTicket) => return Err(refused()),
            Err(error @ SessionError::Moved) => {
                return Err(Close::told(CloseCode::Drain, error.to_string()));
            }
            Err(SessionError::Ended(reason)) => return Err(Close::new(CloseCode::Ended, reason.as_str())),
            Err(error) => return Err(Close::told(CloseCode::Forbidden, error.to_string())),
        };
        if let ToParticipant::Attached { live, title, agent_video, .. } = &mut *message {
            *live = session.relay.live_edges();
            live.extend(session.relay_of(Source::Camera).live_edges());
            title.clone_from(&session.title);
            *agent_video = self.agent_video(&session, participant).map(Box::new);
        }
        connection.outbox.push_first(Text::answer(id, &*message));
        self.stage_enters(&session, connection.id, role);
        let sources = Source::ALL.map(|source| session.relay_of(source));
        let seat = (!connection.is_stub()).then(|| self.watching(connection, role, sources));
        let adopted = session.adopted.load(Ordering::Relaxed);
        let participant = Participant {
            hub: Arc::clone(self),
            room: Room::Here(session, participant),
            role,
            side,
            connection: connection_id,
        };
        if role == Role::Publisher && adopted {
            // Nothing that it showed on the other node is here.
            participant.want_key_frame(0);
        }
        if seat.is_some() {
            for source in Source::ALL {
                if role == Role::Viewer || source == Source::Camera {
                    for stream in participant.relay_of(source).stale_streams(self.clock.tick()) {
                        participant.want_key_frame(stream);
                    }
                }
            }
        }
        Ok((participant, seat))
    }

    /// Seats at a session's relays: everybody sees a camera, and viewers the screen.
    fn watching(&self, connection: &Arc<Connection>, role: Role, relays: [&Arc<Relay>; 2]) -> Watching {
        let watch = |relay: &Arc<Relay>| relay.watch(Arc::clone(connection), Arc::clone(&self.meters));
        let [screen, camera] = relays;
        Watching::new((role == Role::Viewer).then(|| watch(screen)), watch(camera))
    }

    /// The same at a session of another node. Nothing is shown before that node has let the participant in.
    async fn attach_far(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        node: NodeId,
        session: SessionId,
        mut attach: Attach,
        id: Option<u64>,
    ) -> Result<(Participant, Option<Watching>), Close> {
        if connection.is_stub() {
            // The node that asks will find the way itself when it asks again.
            return Err(UNREACHED);
        }
        if let Some(decodes) = &mut attach.decodes {
            decodes.retain(|codec| *codec != Codec::Other);
        }
        let attach = serde_json::to_string(&attach).expect("what has no name was taken out");
        let mut place = self.replica_place(session, Source::Screen, node);
        let mut camera = self.replica_place(session, Source::Camera, node);
        let door = Door::Participant { session, attach, id };
        let (far, confirmed) = self.wire_participant(node, connection, door).await?;
        let (role, side) = (confirmed.role, confirmed.side);
        let relays = [&place.replica().relay, &camera.replica().relay];
        let seat = self.watching(connection, role, relays);
        place.let_in(role, &confirmed.streams);
        camera.let_in(role, &[]);
        let room = Room::There(far, place, camera, Mutex::new(confirmed.shown));
        Ok((Participant { hub: Arc::clone(self), room, role, side, connection: connection.id }, Some(seat)))
    }
}

impl Participant {
    /// What it may do.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whose side it is on.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Whether a message of its ends its own connection. A guest who watches may leave, but not end.
    fn is_goodbye(&self, message: &FromParticipant) -> bool {
        match message {
            FromParticipant::Leave(_) => true,
            FromParticipant::End(_) => self.role == Role::Publisher || self.side == Side::Agent,
            _ => false,
        }
    }

    /// The frames of a source of its session, as this node has them.
    pub fn relay_of(&self, source: Source) -> &Arc<Relay> {
        match (&self.room, source) {
            (Room::Here(session, _), source) => session.relay_of(source),
            (Room::There(_, screen, ..), Source::Screen) => &screen.replica().relay,
            (Room::There(_, _, camera, _), Source::Camera) => &camera.replica().relay,
        }
    }

    /// Whether frames of a source are taken of it now.
    pub fn publishes(&self, source: Source) -> bool {
        match source {
            Source::Screen => self.role == Role::Publisher,
            Source::Camera => self.relay_of(source).publisher() == Some(self.connection),
        }
    }

    fn session(&self) -> SessionId {
        match &self.room {
            Room::Here(session, _) => session.id,
            Room::There(_, screen, ..) => screen.replica().session,
        }
    }

    fn want_key_frame(&self, stream: u32) {
        match &self.room {
            Room::Here(session, _) => self.hub.want_key_frame(session, stream),
            Room::There(_, screen, camera, _) => {
                let place = if Source::of(stream) == Source::Camera { camera } else { screen };
                self.hub.replica_wants_key(place.replica(), stream);
            }
        }
    }

    /// Tells other nodes what was taken and shown here. Called about once a second.
    pub fn figures(&self) {
        match &self.room {
            Room::Here(session, _) => {
                if self.role == Role::Viewer {
                    self.hub.viewers_here_changed(session, Source::Screen);
                }
                self.hub.viewers_here_changed(session, Source::Camera);
            }
            Room::There(_, screen, camera, _) => {
                self.hub.replica_figures(screen.replica());
                self.hub.replica_figures(camera.replica());
            }
        }
    }

    /// Takes a frame of the publisher. What is refused closes the connection: a client that sends wrong
    /// frames would go on doing so.
    pub fn publish(&self, bytes: Bytes) -> Result<(), Close> {
        let header = frame::parse(&bytes);
        let source = header.as_ref().map_or(Source::Screen, |header| Source::of(header.stream));
        if self.role != Role::Publisher && source == Source::Screen {
            return Err(Close::new(CloseCode::Forbidden, "only the publisher may send frames"));
        }
        let header = header.map_err(|error| Close::told(CloseCode::BadMessage, error.to_string()))?;
        match source {
            Source::Screen => self.only_what_was_agreed(header.kind)?,
            Source::Camera => self.only_its_camera(&header, bytes.len())?,
        }
        let meters = &self.hub.meters;
        meters.frames_in.increment(1);
        meters.frame_bytes_in.increment(bytes.len() as u64);
        let frame = Frame { header, bytes, at: self.hub.clock.tick() };
        let whole = frame.bytes.clone();
        let (taken, stamp) = self.relay_of(source).publish_on(self.connection, frame);
        if let Some(stamp) = stamp {
            self.hub.send_far(self.session(), stamp, whole);
        }
        match taken {
            Taken::Relayed => Ok(()),
            Taken::Dropped => Ok(()),
            Taken::Orphan => {
                self.want_key_frame(header.stream);
                Ok(())
            }
            Taken::TooManyStreams => {
                let limit = limits::STREAMS;
                Err(Close::told(CloseCode::BadMessage, format!("session exceeds {limit} streams")))
            }
        }
    }

    /// What is shown in the session; none where it lives on a node that does not tell.
    pub fn shown(&self) -> Option<Shown> {
        match &self.room {
            Room::Here(session, _) => Some(Shown { kind: session.kind, now: session.shows() }),
            Room::There(.., shown) => *shown.lock(),
        }
    }

    /// Who agreed to share a page shares nothing else, and nobody shares a page unasked.
    fn only_what_was_agreed(&self, frame: FrameType) -> Result<(), Close> {
        let Some(Shown { now, .. }) = self.shown() else { return Ok(()) };
        if (frame == FrameType::Dom) == (now == SessionKind::Cobrowse) {
            return Ok(());
        }
        let kind = now.as_str();
        Err(Close::told(CloseCode::BadMessage, format!("no such frames where {kind} is shown")))
    }

    /// A camera's frames are taken of who was let show it. What was on its way when that ended does no harm.
    fn only_its_camera(&self, header: &FrameHeader, bytes: usize) -> Result<(), Close> {
        if !self.relay_of(Source::Camera).has_published(self.connection) {
            self.hub.meters.refusal("camera");
            return Err(Close::new(CloseCode::Forbidden, "only an agent that shows its camera may send it"));
        }
        if !matches!(header.kind, FrameType::Video | FrameType::Image) {
            return Err(Close::new(CloseCode::BadMessage, "a camera has video chunks and images alone"));
        }
        let limit = limits::CAMERA_FRAME;
        if bytes > limit {
            let reason = format!("frame of {bytes} bytes of a camera exceeds {limit}");
            return Err(Close::told(CloseCode::BadMessage, reason));
        }
        Ok(())
    }

    /// Passes a message on if the session lives on another node, which answers it; false where it is to be taken
    /// here, as everything about frames is.
    pub fn passes_on(&self, message: &FromParticipant, text: &str) -> bool {
        let Room::There(far, place, _, shown) = &self.room else { return false };
        let about_frames = matches!(message, FromParticipant::KeyFrameRequest(_) | FromParticipant::Ack(_));
        if let (FromParticipant::Shows(shows), Some(shown)) = (message, &mut *shown.lock()) {
            // What may not be is refused by its home.
            let _may = shown.becomes(shows.kind);
        }
        if !about_frames {
            // What it leads to may be the end: whoever writes down what was relayed is to know it first.
            self.hub.replica_relayed(place.replica());
            far.say(text);
        }
        !about_frames
    }

    /// Takes one message and answers it on its connection.
    pub fn hear(
        &self,
        connection: &Connection,
        message: FromParticipant,
        id: Option<u64>,
        seat: Option<&mut Watching>,
    ) {
        let ok = || {
            if id.is_some() {
                connection.outbox.push(Text::answer(id, &ToParticipant::Ok {}));
            }
        };
        // A goodbye closes this very connection, so its answer goes first.
        let goodbye = self.is_goodbye(&message);
        if goodbye {
            ok();
        }
        match self.take(message, seat) {
            Ok(()) if goodbye => {}
            Ok(()) => ok(),
            Err(refusal) => connection.outbox.push(Text::refusal(id, &refusal)),
        }
    }

    /// Takes one text message; what it is answered with goes to the same connection.
    fn take(&self, message: FromParticipant, seat: Option<&mut Watching>) -> Result<(), Refusal> {
        let what = match message {
            FromParticipant::Attach(_) => {
                return Err(Refusal::new(ErrorCode::WrongState, "this connection is attached already"));
            }
            FromParticipant::KeyFrameRequest(wanted) => {
                self.only_viewers(wanted.stream, "only a viewer may ask for key frames")?;
                self.want_key_frame(wanted.stream);
                return Ok(());
            }
            FromParticipant::Ack(ack) => {
                self.only_viewers(ack.stream, "only a viewer acknowledges frames")?;
                if let Some(seat) = seat
                    && seat.ack(ack.stream, ack.seq, self.hub.clock.tick())
                {
                    self.caught_up(ack.stream);
                }
                return Ok(());
            }
            FromParticipant::RequestControl(_) => Say::RequestControl,
            FromParticipant::GrantControl(to) => Say::GrantControl(to.participant_id),
            FromParticipant::RejectControl(to) => Say::RejectControl(to.participant_id),
            FromParticipant::RevokeControl(_) => Say::RevokeControl,
            FromParticipant::ReleaseControl(_) => Say::ReleaseControl,
            FromParticipant::Input(input) => {
                if input.events.len() > limits::INPUT_EVENTS {
                    let limit = limits::INPUT_EVENTS;
                    return Err(Refusal::new(ErrorCode::TooMany, format!("input exceeds {limit} events")));
                }
                Say::Input(input)
            }
            FromParticipant::InputHeld(held) => Say::InputHeld(held),
            FromParticipant::Permission(fact) => Say::Permission(fact),
            FromParticipant::Pause(_) => Say::Pause,
            FromParticipant::Resume(_) => Say::Resume,
            FromParticipant::Shows(shows) => Say::Shows(shows.kind),
            FromParticipant::Point(at) => Say::Point(at),
            FromParticipant::StartCamera(_) => match &self.room {
                Room::Here(session, me) => Say::StartCamera(self.hub.camera_right(session, *me)?),
                Room::There(..) => return Ok(()),
            },
            FromParticipant::StopCamera(_) => Say::StopCamera,
            FromParticipant::Chat(chat) => Say::Chat(Arc::from(clip(&chat.text, limits::CHAT_BYTES))),
            FromParticipant::Leave(_) => Say::Leave,
            FromParticipant::End(end) => Say::End { reason: end.reason },
        };
        if let Room::Here(session, participant) = &self.room {
            self.hub.drive(session, Input::Say { participant: *participant, what })?;
        }
        Ok(())
    }

    /// This viewer has lost frames: it is told once, and the publisher is asked for a key frame.
    pub fn lost(&self, seat: &mut Watching, streams: &[u32]) {
        for &stream in streams {
            self.lagging(seat, stream);
            self.want_key_frame(stream);
        }
    }

    /// This viewer is behind by more than it may be.
    pub fn lagging(&self, seat: &mut Watching, stream: u32) {
        if seat.mark_lagging(stream) {
            let since = self.hub.clock.now().wall;
            self.tell(&ToParticipant::Lagging { since, stream });
        }
    }

    /// This viewer lagged and has all that it lacked.
    pub fn caught_up(&self, stream: u32) {
        self.tell(&ToParticipant::CaughtUp { stream });
    }

    fn tell(&self, message: &ToParticipant) {
        if let Some(connection) = self.hub.registry.get(self.connection) {
            connection.outbox.push(Text::of(message));
        }
    }

    /// A camera is for everybody, and the screen for those who do not show it.
    fn only_viewers(&self, stream: u32, why: &'static str) -> Result<(), Refusal> {
        let watches = self.role == Role::Viewer || Source::of(stream) == Source::Camera;
        if watches { Ok(()) } else { Err(Refusal::new(ErrorCode::Forbidden, why)) }
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        let (session, participant) = match &self.room {
            Room::Here(session, participant) => (session, *participant),
            Room::There(_, screen, ..) => return self.hub.replica_relayed(screen.replica()),
        };
        self.hub.stage_leaves(session, self.connection, self.role);
        let lost = Input::Lost { participant, connection: self.connection };
        if let Err(error) = self.hub.drive(session, lost) {
            tracing::debug!(session = %session.id, %error, "a connection was lost after the end");
        }
    }
}
