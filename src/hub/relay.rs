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
    far: Far,
}

/// What goes to other nodes and comes from them.
#[derive(Debug, Default)]
struct Far {
    /// The term under which frames are taken of another node; `None` while none are.
    term: Option<u64>,
    /// Whether they are heard by now.
    open: bool,
    /// The number that the next of them has, if none is lost.
    next: Option<u64>,
    /// Streams of which nothing was lost since their last key frame came.
    whole: SmallVec<[u32; 1]>,
    /// What is told of frames that go to other nodes; `None` while none go.
    out: Option<Out>,
    /// Viewers on other nodes.
    viewers: Vec<(ConnectionId, u64, bool)>,
}

/// The frames that go to other nodes.
#[derive(Debug)]
struct Out {
    term: u64,
    next: u64,
    /// Streams whose key frame went: before it the others would be of no use.
    begun: SmallVec<[u32; 1]>,
}

/// What a frame is sent to other nodes under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The term of the stage.
    pub term: u64,
    /// Its number among those sent under that term.
    pub number: u64,
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
            far: Far::default(),
        };
        Self { limits, state: Mutex::new(state), viewers: RwLock::default() }
    }

    /// Takes a frame of a connection. Wakes the viewers, waits for none.
    pub fn publish(&self, from: ConnectionId, frame: Frame) -> Taken {
        self.publish_on(from, frame).0
    }

    /// The same, and tells whether other nodes want the frame, and as which.
    pub fn publish_on(&self, from: ConnectionId, frame: Frame) -> (Taken, Option<Stamp>) {
        let stamp = {
            let mut state = self.state.lock();
            if state.paused || state.publisher != Some(from) {
                return (Taken::Dropped, None);
            }
            let (id, key, bytes) = (frame.header.stream, frame.header.is_key(), frame.bytes.len());
            match state.push(frame, &self.limits) {
                Taken::Relayed => {}
                other => return (other, None),
            }
            state.relayed.frames += 1;
            state.relayed.bytes += bytes as u64;
            state.far.out.as_mut().and_then(|out| out.stamp(id, key))
        };
        self.wake();
        (Taken::Relayed, stamp)
    }

    /// Takes a frame that another node sent. After one that was lost nothing is taken of a stream but a key
    /// frame; [`Taken::Orphan`] tells that one is needed.
    pub fn publish_far(&self, stamp: Stamp, frame: Frame) -> Taken {
        {
            let mut state = self.state.lock();
            if state.paused || state.far.term != Some(stamp.term) {
                return Taken::Dropped;
            }
            if state.far.next != Some(stamp.number) {
                state.far.whole.clear();
            }
            state.far.next = Some(stamp.number + 1);
            let (id, key) = (frame.header.stream, frame.header.is_key());
            if !key && !state.far.whole.contains(&id) {
                return Taken::Orphan;
            }
            match state.push(frame, &self.limits) {
                Taken::Relayed => {}
                other => return other,
            }
            if key && !state.far.whole.contains(&id) {
                state.far.whole.push(id);
            }
        }
        self.wake();
        Taken::Relayed
    }

    fn wake(&self) {
        for viewer in self.viewers.read().iter() {
            viewer.connection.outbox.wake();
        }
    }

    /// Makes a connection the only one whose frames are taken. What an earlier one sent stays in view
    /// until the new one's first key frame.
    pub fn set_publisher(&self, connection: ConnectionId) {
        self.state.lock().publisher = Some(connection);
    }

    /// Nobody on this node publishes.
    pub fn no_publisher(&self) {
        self.state.lock().publisher = None;
    }

    /// Takes frames that another node sends under this term, or none at all.
    pub fn set_far(&self, term: Option<u64>) {
        let mut state = self.state.lock();
        if state.far.term != term {
            state.far.term = term;
            state.far.next = None;
            state.far.whole.clear();
        }
    }

    /// Frames of other nodes are heard from here on, or no longer. Some may have been missed: nothing is taken but
    /// key frames until one came.
    pub fn set_hearing(&self, open: bool) {
        let mut state = self.state.lock();
        state.far.open = open;
        state.far.next = None;
        state.far.whole.clear();
    }

    /// Whether other nodes want the frames published here, and under which term.
    pub fn set_wanted(&self, term: Option<u64>) {
        let out = &mut self.state.lock().far.out;
        if out.as_ref().map(|out| out.term) != term {
            *out = term.map(|term| Out { term, next: 0, begun: SmallVec::new() });
        }
    }

    /// What other nodes say of their viewers.
    pub fn set_far_viewers(&self, viewers: Vec<(ConnectionId, u64, bool)>) {
        self.state.lock().far.viewers = viewers;
    }

    /// Counts frames that another node took of the publisher.
    pub fn add_relayed(&self, frames: u64, bytes: u64) {
        let relayed = &mut self.state.lock().relayed;
        relayed.frames += frames;
        relayed.bytes += bytes;
    }

    /// The streams there are.
    pub fn streams(&self) -> Vec<u32> {
        self.state.lock().streams.iter().map(|(id, _)| *id).collect()
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
        // A key frame that nobody here would hear is asked for when it would be.
        if state.paused || state.far.term.is_some() && !state.far.open {
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

    /// Bytes sent so far and whether it is lagging, of each viewer on any node.
    pub fn viewers(&self) -> Vec<(ConnectionId, u64, bool)> {
        let mut all = self.viewers_here();
        all.extend_from_slice(&self.state.lock().far.viewers);
        all
    }

    /// The same of the viewers on this node.
    pub fn viewers_here(&self) -> Vec<(ConnectionId, u64, bool)> {
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

    /// Keeps a frame.
    fn push(&mut self, frame: Frame, limits: &Arc<Limits>) -> Taken {
        let (id, key) = (frame.header.stream, frame.header.is_key());
        let at = match self.position(id) {
            Some(at) => at,
            None if self.streams.len() < limits::STREAMS => {
                self.streams.push((id, Stream::new(Arc::clone(limits))));
                self.streams.len() - 1
            }
            None => return Taken::TooManyStreams,
        };
        if !self.streams[at].1.push(frame) {
            return Taken::Orphan;
        }
        if key {
            self.requests.served(id);
        }
        Taken::Relayed
    }
}

impl Out {
    fn stamp(&mut self, stream: u32, key: bool) -> Option<Stamp> {
        if !self.begun.contains(&stream) {
            if !key {
                return None;
            }
            self.begun.push(stream);
        }
        self.next += 1;
        Some(Stamp { term: self.term, number: self.next - 1 })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::registry::Registry;
    use crate::telemetry::{Meters, SocketKind};
    use crate::wire::frame::{FrameHeader, FrameType, flag};

    fn frame(sequence: u32, group: u32, key: bool) -> Frame {
        let header = FrameHeader {
            kind: FrameType::Image,
            flags: if key { flag::KEY } else { 0 },
            layer: 0,
            stream: 0,
            sequence,
            group,
            captured_us: 0,
            width: 1,
            height: 1,
            config_len: 0,
        };
        Frame { header, bytes: bytes::Bytes::from_static(b"x"), at: Tick(0) }
    }

    fn stamp(number: u64) -> Stamp {
        Stamp { term: 5, number }
    }

    #[test]
    fn after_a_gap_nothing_is_taken_of_another_node_but_a_key_frame() {
        let relay = Arc::new(Relay::new(Arc::default()));
        let registry = Arc::new(Registry::new(Arc::default()));
        let viewer = registry.admit(SocketKind::Session, Tick(0));
        let mut seat = relay.watch(Arc::clone(&viewer), Meters::new().0);
        assert_eq!(relay.publish_far(stamp(0), frame(0, 1, true)), Taken::Dropped, "no term is on");
        relay.set_far(Some(5));
        assert_eq!(relay.publish_far(stamp(3), frame(0, 1, false)), Taken::Orphan);
        assert_eq!(relay.publish_far(stamp(4), frame(1, 1, true)), Taken::Relayed);
        assert_eq!(relay.publish_far(stamp(5), frame(2, 1, false)), Taken::Relayed);
        // The sixth is lost, though the seventh is of the same group.
        assert_eq!(relay.publish_far(stamp(7), frame(4, 1, false)), Taken::Orphan);
        assert_eq!(relay.publish_far(stamp(8), frame(5, 1, false)), Taken::Orphan);
        assert_eq!(relay.publish_far(stamp(9), frame(6, 2, true)), Taken::Relayed);
        let told = Stamp { term: 4, number: 10 };
        assert_eq!(relay.publish_far(told, frame(7, 2, false)), Taken::Dropped, "of a term that is over");
        let mut taken = Vec::new();
        loop {
            let look = seat.look(Tick(0), 1_000);
            if look.frames.is_empty() {
                break;
            }
            taken.extend(look.frames.iter().map(|frame| frame.header.sequence));
        }
        assert_eq!(taken, [6], "who comes late starts at the newest key frame");
        assert_eq!(relay.relayed(), Relayed::default(), "the node of the publisher counts");
        relay.set_paused(true);
        assert_eq!(relay.publish_far(stamp(10), frame(7, 3, true)), Taken::Dropped);
    }

    #[test]
    fn frames_go_to_other_nodes_from_a_key_frame_on() {
        let relay = Relay::new(Arc::default());
        let publisher = ConnectionId(1);
        relay.set_publisher(publisher);
        let publish = |sequence, group, key| relay.publish_on(publisher, frame(sequence, group, key)).1;
        assert_eq!(publish(0, 1, true), None, "nobody wants them");
        relay.set_wanted(Some(9));
        assert_eq!(publish(1, 1, false), None);
        assert_eq!(publish(2, 2, true), Some(Stamp { term: 9, number: 0 }));
        assert_eq!(publish(3, 2, false), Some(Stamp { term: 9, number: 1 }));
        relay.set_wanted(Some(9));
        assert_eq!(publish(4, 2, false), Some(Stamp { term: 9, number: 2 }));
        relay.set_wanted(None);
        assert_eq!(publish(5, 2, false), None);
        relay.set_wanted(Some(10));
        assert_eq!(publish(6, 3, true), Some(Stamp { term: 10, number: 0 }));
    }
}
