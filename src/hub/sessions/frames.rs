//! The sources of a session's frames, and the key frames that are asked of who publishes them.

use std::sync::Arc;

use parking_lot::Mutex;

use super::LiveSession;
use crate::hub::Hub;
use crate::hub::relay::Relay;
use crate::hub::remote::stage::Stage;
use crate::hub::timers::Due;
use crate::ids::SessionId;
use crate::wire::frame::Source;
use crate::wire::message::Text;
use crate::wire::session::ToParticipant;

impl LiveSession {
    /// The frames of a source.
    pub(in crate::hub) fn relay_of(&self, source: Source) -> &Arc<Relay> {
        match source {
            Source::Screen => &self.relay,
            Source::Camera => &self.camera.0,
        }
    }

    /// Who publishes a source, and watches it on which node.
    pub(in crate::hub) fn stage_of(&self, source: Source) -> &Mutex<Stage> {
        match source {
            Source::Screen => &self.stage,
            Source::Camera => &self.camera.1,
        }
    }
}

impl Hub {
    pub(in crate::hub) fn key_frame_due(self: &Arc<Self>, id: SessionId) {
        let Some(session) = self.sessions.routed(id) else { return self.replica_key_due(id) };
        for relay in Source::ALL.map(|source| session.relay_of(source)) {
            if let Some(stream) = relay.due_key_frame(self.clock.tick()) {
                self.ask_for_key_frame(&session, stream);
            }
        }
    }

    /// Somebody needs a key frame: the publisher is asked, but not too often.
    pub(in crate::hub) fn want_key_frame(self: &Arc<Self>, session: &Arc<LiveSession>, stream: u32) {
        let (now, later) = session.relay_of(Source::of(stream)).want_key_frame(stream, self.clock.tick());
        if now {
            self.ask_for_key_frame(session, stream);
        } else if let Some(at) = later {
            self.timers.at(at, Due::KeyFrame(session.id));
        }
    }

    pub(in crate::hub) fn ask_for_key_frame(&self, session: &LiveSession, stream: u32) {
        let Some(publisher) = session.relay_of(Source::of(stream)).publisher() else { return };
        if let Some(connection) = self.registry.get(publisher) {
            self.meters.key_frame_requests.increment(1);
            connection.outbox.push(Text::of(&ToParticipant::KeyFrameRequest { stream }));
        }
    }
}
