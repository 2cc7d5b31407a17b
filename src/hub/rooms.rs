//! The participant's door: attaching, frames, and what is said in a session.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Hub;
use super::registry::Connection;
use super::relay::{Relay, Seat, Taken};
use super::remote::edge::Far;
use super::remote::replica::Place;
use super::sessions::{LiveSession, UNREACHED, Whereabouts};
use crate::cluster::NodeId;
use crate::cluster::post::Door;
use crate::ids::{ConnectionId, ParticipantId, SessionId};
use crate::limits;
use crate::model::relay::Frame;
use crate::model::session::{Answer, Input, Say, SessionError};
use crate::model::ticket::Token;
use crate::wire::close::{Close, CloseCode};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::frame::{self, FrameType};
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
    /// On another: what leads there, and its frames.
    There(Far, Place),
}

impl Hub {
    /// Somebody attaches with a ticket, or comes back with a resume token.
    pub async fn attach(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        attach: Attach,
        id: Option<u64>,
    ) -> Result<(Participant, Option<Seat>), Close> {
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
        if let ToParticipant::Attached { live, title, .. } = &mut *message {
            *live = session.relay.live_edges();
            title.clone_from(&session.title);
        }
        connection.outbox.push_first(Text::answer(id, &*message));
        self.stage_enters(&session, connection.id, role);
        let seat = (role == Role::Viewer && !connection.is_stub())
            .then(|| session.relay.watch(Arc::clone(connection), Arc::clone(&self.meters)));
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
            for stream in participant.relay().stale_streams(self.clock.tick()) {
                participant.want_key_frame(stream);
            }
        }
        Ok((participant, seat))
    }

    /// The same at a session of another node. Nothing is shown before that node has let the participant in.
    async fn attach_far(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        node: NodeId,
        session: SessionId,
        mut attach: Attach,
        id: Option<u64>,
    ) -> Result<(Participant, Option<Seat>), Close> {
        if connection.is_stub() {
            // The node that asks will find the way itself when it asks again.
            return Err(UNREACHED);
        }
        if let Some(decodes) = &mut attach.decodes {
            decodes.retain(|codec| *codec != Codec::Other);
        }
        let attach = serde_json::to_string(&attach).expect("what has no name was taken out");
        let mut place = self.replica_place(session, node);
        let door = Door::Participant { session, attach, id };
        let (far, confirmed) = self.wire_participant(node, connection, door).await?;
        let (role, side) = (confirmed.role, confirmed.side);
        let relay = &place.replica().relay;
        let seat =
            (role == Role::Viewer).then(|| relay.watch(Arc::clone(connection), Arc::clone(&self.meters)));
        place.let_in(role, &confirmed.streams);
        let room = Room::There(far, place);
        Ok((Participant { hub: Arc::clone(self), room, role, side, connection: connection.id }, seat))
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

    /// The frames of its session, as this node has them.
    pub fn relay(&self) -> &Arc<Relay> {
        match &self.room {
            Room::Here(session, _) => &session.relay,
            Room::There(_, place) => &place.replica().relay,
        }
    }

    fn session(&self) -> SessionId {
        match &self.room {
            Room::Here(session, _) => session.id,
            Room::There(_, place) => place.replica().session,
        }
    }

    fn want_key_frame(&self, stream: u32) {
        match &self.room {
            Room::Here(session, _) => self.hub.want_key_frame(session, stream),
            Room::There(_, place) => self.hub.replica_wants_key(place.replica(), stream),
        }
    }

    /// Tells other nodes what was taken and shown here. Called about once a second.
    pub fn figures(&self) {
        match &self.room {
            Room::Here(session, _) if self.role == Role::Viewer => self.hub.viewers_here_changed(session),
            Room::Here(..) => {}
            Room::There(_, place) => self.hub.replica_figures(place.replica()),
        }
    }

    /// Takes a frame of the publisher. What is refused closes the connection: a client that sends wrong
    /// frames would go on doing so.
    pub fn publish(&self, bytes: Bytes) -> Result<(), Close> {
        if self.role != Role::Publisher {
            return Err(Close::new(CloseCode::Forbidden, "only the publisher may send frames"));
        }
        let header =
            frame::parse(&bytes).map_err(|error| Close::told(CloseCode::BadMessage, error.to_string()))?;
        self.only_what_was_agreed(header.kind)?;
        let meters = &self.hub.meters;
        meters.frames_in.increment(1);
        meters.frame_bytes_in.increment(bytes.len() as u64);
        let frame = Frame { header, bytes, at: self.hub.clock.tick() };
        let whole = frame.bytes.clone();
        let (taken, stamp) = self.relay().publish_on(self.connection, frame);
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

    /// Who agreed to share a page shares nothing else, and nobody shares a page unasked. Where the session lives on
    /// another node, viewers hold to it alone.
    fn only_what_was_agreed(&self, frame: FrameType) -> Result<(), Close> {
        let Room::Here(session, _) = &self.room else { return Ok(()) };
        let kind = session.shows();
        if (frame == FrameType::Dom) == (kind == SessionKind::Cobrowse) {
            return Ok(());
        }
        let kind = kind.as_str();
        Err(Close::told(CloseCode::BadMessage, format!("no such frames where {kind} is shown")))
    }

    /// Passes a message on if the session lives on another node, which answers it; false where it is to be taken
    /// here, as everything about frames is.
    pub fn passes_on(&self, message: &FromParticipant, text: &str) -> bool {
        let Room::There(far, place) = &self.room else { return false };
        let about_frames = matches!(message, FromParticipant::KeyFrameRequest(_) | FromParticipant::Ack(_));
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
        seat: Option<&mut Seat>,
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
    fn take(&self, message: FromParticipant, seat: Option<&mut Seat>) -> Result<(), Refusal> {
        let what = match message {
            FromParticipant::Attach(_) => {
                return Err(Refusal::new(ErrorCode::WrongState, "this connection is attached already"));
            }
            FromParticipant::KeyFrameRequest(wanted) => {
                self.only(Role::Viewer, "only a viewer may ask for key frames")?;
                self.want_key_frame(wanted.stream);
                return Ok(());
            }
            FromParticipant::Ack(ack) => {
                self.only(Role::Viewer, "only a viewer acknowledges frames")?;
                if let Some(seat) = seat {
                    seat.ack(ack.stream, ack.seq, self.hub.clock.tick());
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
            FromParticipant::Permission(fact) => Say::Permission(fact),
            FromParticipant::Pause(_) => Say::Pause,
            FromParticipant::Resume(_) => Say::Resume,
            FromParticipant::Shows(shows) => Say::Shows(shows.kind),
            FromParticipant::Point(at) => Say::Point(at),
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
    pub fn lost(&self, seat: &Seat, streams: &[u32]) {
        self.lagging(seat, streams.first().copied().unwrap_or_default());
        for &stream in streams {
            self.want_key_frame(stream);
        }
    }

    /// This viewer is behind by more than it may be.
    pub fn lagging(&self, seat: &Seat, stream: u32) {
        if seat.mark_lagging()
            && let Some(connection) = self.hub.registry.get(self.connection)
        {
            let since = self.hub.clock.now().wall;
            connection.outbox.push(Text::of(&ToParticipant::Lagging { since, stream }));
        }
    }

    fn only(&self, role: Role, why: &'static str) -> Result<(), Refusal> {
        if self.role == role { Ok(()) } else { Err(Refusal::new(ErrorCode::Forbidden, why)) }
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        let (session, participant) = match &self.room {
            Room::Here(session, participant) => (session, *participant),
            Room::There(_, place) => return self.hub.replica_relayed(place.replica()),
        };
        self.hub.stage_leaves(session, self.connection, self.role);
        let lost = Input::Lost { participant, connection: self.connection };
        if let Err(error) = self.hub.drive(session, lost) {
            tracing::debug!(session = %session.id, %error, "a connection was lost after the end");
        }
    }
}
