//! The frames of one live session: the publisher's task puts them in, each viewer's task takes them out.
//!
//! Wraps the rules of [`crate::model::relay`] in one short lock. Nothing here waits for anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

use super::registry::Connection;
use crate::clock::Tick;
use crate::ids::ConnectionId;
use crate::limits::{self, Limits};
use crate::model::event::Relayed;
use crate::model::relay::{Cache, Cursor, Frame, KeyFrameRequests, Shed, Step, Stream};
use crate::telemetry::Meters;
use crate::wire::session::LiveEdge;

/// The streams of one session and who watches them.
#[derive(Debug)]
pub struct Relay {
    limits: Arc<Limits>,
    state: Mutex<State>,
    viewers: RwLock<Vec<Arc<Viewer>>>,
}

#[derive(Debug)]
struct State {
    streams: SmallVec<[(u32, Stream); 1]>,
    requests: KeyFrameRequests,
    /// Whose frames are taken; nobody's while the publisher is away, paused or the session is over.
    publisher: Option<ConnectionId>,
    paused: bool,
    relayed: Relayed,
}

/// What everybody may see of a viewer, and how its task is woken.
#[derive(Debug)]
pub struct Viewer {
    connection: Arc<Connection>,
    /// Bytes of frames handed to its socket.
    sent: AtomicU64,
    lagging: AtomicBool,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is relayed.
    Relayed,
    /// Nobody may see it now: paused, or not this connection's turn.
    Dropped,
    /// It cannot be decoded by anybody: its key frame never came.
    Orphan,
    /// The session has as many streams as it may.
    TooManyStreams,
}

impl Relay {
    /// Nobody publishes and nobody watches yet.
    pub fn new(limits: Arc<Limits>) -> Self {
        let requests = KeyFrameRequests::new(limits.key_frame_spacing);
        let state = State {
            streams: SmallVec::new(),
            requests,
            publisher: None,
            paused: false,
            relayed: Relayed::default(),
        };
        Self { limits, state: Mutex::new(state), viewers: RwLock::default() }
    }

    /// Takes a frame of a connection. Wakes the viewers, waits for none.
    pub fn publish(&self, from: ConnectionId, frame: Frame) -> Taken {
        {
            let mut state = self.state.lock();
            if state.paused || state.publisher != Some(from) {
                return Taken::Dropped;
            }
            let id = frame.header.stream;
            let (key, bytes, at) = (frame.header.is_key(), frame.bytes.len(), state.position(id));
            let at = match at {
                Some(at) => at,
                None if state.streams.len() < limits::STREAMS => {
                    state.streams.push((id, Stream::new(Arc::clone(&self.limits))));
                    state.streams.len() - 1
                }
                None => return Taken::TooManyStreams,
            };
            if !state.streams[at].1.push(frame) {
                return Taken::Orphan;
            }
            state.relayed.frames += 1;
            state.relayed.bytes += bytes as u64;
            if key {
                state.requests.served(id);
            }
        }
        for viewer in self.viewers.read().iter() {
            viewer.connection.outbox.wake();
        }
        Taken::Relayed
    }

    /// Makes a connection the only one whose frames are taken. What an earlier one sent stays in view
    /// until the new one's first key frame.
    pub fn set_publisher(&self, connection: ConnectionId) {
        self.state.lock().publisher = Some(connection);
    }

    /// Whose frames are taken.
    pub fn publisher(&self) -> Option<ConnectionId> {
        self.state.lock().publisher
    }

    /// Pauses or goes on. A pause drops what is kept: a paused screen is shown to nobody.
    pub fn set_paused(&self, paused: bool) {
        let mut state = self.state.lock();
        state.paused = paused;
        if paused {
            state.streams.iter_mut().for_each(|(_, stream)| stream.clear());
        }
    }

    /// Lets a connection watch until the returned seat is dropped.
    pub fn watch(self: &Arc<Self>, connection: Arc<Connection>, meters: Arc<Meters>) -> Seat {
        let viewer =
            Arc::new(Viewer { connection, sent: AtomicU64::new(0), lagging: AtomicBool::new(false) });
        self.viewers.write().push(Arc::clone(&viewer));
        Seat { relay: Arc::clone(self), viewer, meters, cursors: SmallVec::new() }
    }

    /// The newest frame of each stream.
    pub fn live_edges(&self) -> Vec<LiveEdge> {
        let state = self.state.lock();
        let edge = |(id, stream): &(u32, Stream)| Some(LiveEdge { stream: *id, seq: stream.live_edge()? });
        state.streams.iter().filter_map(edge).collect()
    }

    /// Somebody needs a key frame. True: ask the publisher now; otherwise at the returned tick, if any.
    pub fn want_key_frame(&self, stream: u32, now: Tick) -> (bool, Option<Tick>) {
        let mut state = self.state.lock();
        let ask = state.requests.want(stream, now);
        (ask, state.requests.next_deadline())
    }

    /// A request that had to wait, if its time has come.
    pub fn due_key_frame(&self, now: Tick) -> Option<u32> {
        self.state.lock().requests.on_deadline(now)
    }

    /// Whether a viewer that comes now should ask for key frames, and of which streams: the screen if
    /// nothing is there yet, and every stream whose cache is not worth showing.
    pub fn stale_streams(&self, now: Tick) -> SmallVec<[u32; 1]> {
        let state = self.state.lock();
        if state.paused {
            return SmallVec::new();
        }
        if state.streams.is_empty() {
            return SmallVec::from_slice(&[0]);
        }
        state.streams.iter().filter(|(_, s)| s.cache(now) != Cache::Fresh).map(|(id, _)| *id).collect()
    }

    /// Counts on from what was relayed on another node.
    pub fn go_on_from(&self, relayed: Relayed) {
        self.state.lock().relayed = relayed;
    }

    /// What was taken of publishers so far.
    pub fn relayed(&self) -> Relayed {
        self.state.lock().relayed
    }

    /// Bytes kept now.
    pub fn kept_bytes(&self) -> usize {
        self.state.lock().streams.iter().map(|(_, stream)| stream.bytes()).sum()
    }

    /// Bytes sent so far and whether it is lagging, of each viewer.
    pub fn viewers(&self) -> Vec<(ConnectionId, u64, bool)> {
        let look = |viewer: &Arc<Viewer>| {
            let lagging = viewer.lagging.load(Ordering::Relaxed);
            (viewer.connection.id, viewer.sent.load(Ordering::Relaxed), lagging)
        };
        self.viewers.read().iter().map(look).collect()
    }
}

impl State {
    fn position(&self, id: u32) -> Option<usize> {
        self.streams.iter().position(|(stream, _)| *stream == id)
    }
}

/// A viewer's place: its cursors, and its entry in the list for as long as this lives.
#[derive(Debug)]
pub struct Seat {
    relay: Arc<Relay>,
    viewer: Arc<Viewer>,
    meters: Arc<Meters>,
    cursors: SmallVec<[(u32, Cursor); 1]>,
}

/// What one look into the relay yielded.
#[derive(Debug, Default)]
pub struct Look {
    /// Frames to send, in order.
    pub frames: SmallVec<[Frame; 8]>,
    /// Streams of which frames were just lost.
    pub lost: SmallVec<[u32; 1]>,
    shed: Shed,
}

impl Seat {
    /// Takes frames until about `budget` bytes are taken.
    pub fn look(&mut self, now: Tick, budget: usize) -> Look {
        let mut look = Look::default();
        let mut taken = 0;
        let state = self.relay.state.lock();
        for (id, stream) in &state.streams {
            let at = match self.cursors.iter().position(|(cursor, _)| cursor == id) {
                Some(at) => at,
                None => {
                    self.cursors.push((*id, Cursor::join(stream, now)));
                    self.cursors.len() - 1
                }
            };
            let cursor = &mut self.cursors[at].1;
            while taken < budget {
                match cursor.next(stream, now) {
                    Step::Send(frame) => {
                        taken += frame.bytes.len();
                        look.frames.push(frame);
                    }
                    Step::Wait => break,
                    Step::Lost => look.lost.push(*id),
                }
            }
            let shed = cursor.take_shed();
            look.shed.layer += shed.layer;
            look.shed.lagging += shed.lagging;
        }
        drop(state);
        self.viewer.sent.fetch_add(taken as u64, Ordering::Relaxed);
        self.meters.frames_out.increment(look.frames.len() as u64);
        self.meters.frame_bytes_out.increment(taken as u64);
        self.meters.frames_shed_layer.increment(look.shed.layer);
        self.meters.frames_shed_lagging.increment(look.shed.lagging);
        if look.lost.is_empty() && look.frames.iter().any(|frame| frame.header.is_key()) {
            self.set_lagging(false);
        }
        look
    }

    /// The viewer has drawn a frame.
    pub fn ack(&mut self, stream: u32, sequence: u32, now: Tick) {
        if let Some((_, cursor)) = self.cursors.iter_mut().find(|(id, _)| *id == stream) {
            cursor.ack(sequence, now);
        }
    }

    /// Since when the viewer was sent frames and drew nothing new, over all streams.
    pub fn stalled_since(&self) -> Option<Tick> {
        self.cursors.iter().filter_map(|(_, cursor)| cursor.stalled_since()).min()
    }

    /// Notes that the viewer loses frames; true when that is new.
    pub fn mark_lagging(&self) -> bool {
        self.set_lagging(true)
    }

    /// True when that is a change.
    fn set_lagging(&self, lagging: bool) -> bool {
        let changed = self.viewer.lagging.swap(lagging, Ordering::Relaxed) != lagging;
        if changed {
            self.meters.viewers_lagging.increment(if lagging { 1.0 } else { -1.0 });
        }
        changed
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.set_lagging(false);
        self.relay.viewers.write().retain(|viewer| !Arc::ptr_eq(viewer, &self.viewer));
    }
}
