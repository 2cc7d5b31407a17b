//! The participant's door: attaching, frames, and what is said in a session.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Hub;
use super::registry::Connection;
use super::relay::{Seat, Taken};
use super::sessions::LiveSession;
use crate::ids::{ConnectionId, ParticipantId};
use crate::limits;
use crate::model::relay::Frame;
use crate::model::session::{Answer, Input, Say, SessionError};
use crate::model::ticket::Token;
use crate::wire::close::{Close, CloseCode};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::frame;
use crate::wire::message::{Text, clip};
use crate::wire::session::{Attach, FromParticipant, Role, Side, ToParticipant};

/// A participant's connection. Dropping it is the loss of the connection.
pub struct Participant {
    hub: Arc<Hub>,
    session: Arc<LiveSession>,
    id: ParticipantId,
    role: Role,
    side: Side,
    connection: ConnectionId,
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
            None => self.elsewhere(token.session).await?,
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
            Err(SessionError::Ended(reason)) => return Err(Close::new(CloseCode::Ended, reason.as_str())),
            Err(error) => return Err(Close::told(CloseCode::Forbidden, error.to_string())),
        };
        if let ToParticipant::Attached { live, title, .. } = &mut *message {
            *live = session.relay.live_edges();
            title.clone_from(&session.title);
        }
        connection.outbox.push_first(Text::answer(id, &*message));
        let seat = (role == Role::Viewer)
            .then(|| session.relay.watch(Arc::clone(connection), Arc::clone(&self.meters)));
        let participant = Participant {
            hub: Arc::clone(self),
            session,
            id: participant,
            role,
            side,
            connection: connection_id,
        };
        if role == Role::Publisher && participant.session.adopted.load(Ordering::Relaxed) {
            // Nothing that it showed on the other node is here.
            self.ask_for_key_frame(&participant.session, 0);
        }
        if seat.is_some() {
            for stream in participant.session.relay.stale_streams(self.clock.tick()) {
                self.want_key_frame(&participant.session, stream);
            }
        }
        Ok((participant, seat))
    }
}

impl Participant {
    /// What it may do.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether a message of its ends its own connection. A guest who watches may leave, but not end.
    pub fn is_goodbye(&self, message: &FromParticipant) -> bool {
        match message {
            FromParticipant::Leave(_) => true,
            FromParticipant::End(_) => self.role == Role::Publisher || self.side == Side::Agent,
            _ => false,
        }
    }

    /// The session it is in.
    pub fn session(&self) -> &Arc<LiveSession> {
        &self.session
    }

    /// Takes a frame of the publisher. What is refused closes the connection: a client that sends wrong
    /// frames would go on doing so.
    pub fn publish(&self, bytes: Bytes) -> Result<(), Close> {
        if self.role != Role::Publisher {
            return Err(Close::new(CloseCode::Forbidden, "only the publisher may send frames"));
        }
        let header =
            frame::parse(&bytes).map_err(|error| Close::told(CloseCode::BadMessage, error.to_string()))?;
        let meters = &self.hub.meters;
        meters.frames_in.increment(1);
        meters.frame_bytes_in.increment(bytes.len() as u64);
        let frame = Frame { header, bytes, at: self.hub.clock.tick() };
        match self.session.relay.publish(self.connection, frame) {
            Taken::Relayed => Ok(()),
            Taken::Dropped => Ok(()),
            Taken::Orphan => {
                self.hub.want_key_frame(&self.session, header.stream);
                Ok(())
            }
            Taken::TooManyStreams => {
                let limit = limits::STREAMS;
                Err(Close::told(CloseCode::BadMessage, format!("session exceeds {limit} streams")))
            }
        }
    }

    /// Takes one text message; what it is answered with goes to the same connection.
    pub fn take(&self, message: FromParticipant, seat: Option<&mut Seat>) -> Result<(), Refusal> {
        let what = match message {
            FromParticipant::Attach(_) => {
                return Err(Refusal::new(ErrorCode::WrongState, "this connection is attached already"));
            }
            FromParticipant::KeyFrameRequest(wanted) => {
                self.only(Role::Viewer, "only a viewer may ask for key frames")?;
                self.hub.want_key_frame(&self.session, wanted.stream);
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
            FromParticipant::Pause(_) => Say::Pause,
            FromParticipant::Resume(_) => Say::Resume,
            FromParticipant::Chat(chat) => Say::Chat(Arc::from(clip(&chat.text, limits::CHAT_BYTES))),
            FromParticipant::Leave(_) => Say::Leave,
            FromParticipant::End(end) => Say::End { reason: end.reason },
        };
        self.hub.drive(&self.session, Input::Say { participant: self.id, what })?;
        Ok(())
    }

    /// This viewer has lost frames: it is told once, and the publisher is asked for a key frame.
    pub fn lost(&self, seat: &Seat, streams: &[u32]) {
        self.lagging(seat, streams.first().copied().unwrap_or_default());
        for &stream in streams {
            self.hub.want_key_frame(&self.session, stream);
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
        let lost = Input::Lost { participant: self.id, connection: self.connection };
        if let Err(error) = self.hub.drive(&self.session, lost) {
            tracing::debug!(session = %self.session.id, %error, "a connection was lost after the end");
        }
    }
}
