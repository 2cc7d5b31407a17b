//! The frames of one source of a live session: the publisher's task puts them in, each viewer's task takes them out.
//!
//! Wraps the rules of [`crate::model::relay`] in one short lock. Nothing here waits for anybody.

mod seat;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
pub use seat::{Look, Seat, Watching};
use smallvec::SmallVec;

use super::registry::Connection;
use crate::clock::Tick;
use crate::ids::ConnectionId;
use crate::limits::{self, Limits};
use crate::model::event::Relayed;
use crate::model::relay::{Cache, Frame, KeyFrameRequests, Stream};
use crate::telemetry::Meters;
use crate::wire::frame::Source;
use crate::wire::session::LiveEdge;

/// The streams of one source of a session, and who watches them.
#[derive(Debug)]
pub struct Relay {
    source: Source,
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
    /// Connections whose frames were taken before: what they still send was on its way.
    former: SmallVec<[ConnectionId; 1]>,
    paused: bool,
    /// Raised whenever the frames are of another camera, which counts its own from the start.
    era: u64,
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
    /// Nobody publishes and nobody watches yet. Without anybody's camera there is nothing that could be seen of one.
    pub fn new(source: Source, limits: Arc<Limits>) -> Self {
        let requests = KeyFrameRequests::new(limits.key_frame_spacing);
        let state = State {
            streams: SmallVec::new(),
            requests,
            publisher: None,
            former: SmallVec::new(),
            paused: source == Source::Camera,
            era: 0,
            relayed: Relayed::default(),
            far: Far::default(),
        };
        Self { source, limits, state: Mutex::new(state), viewers: RwLock::default() }
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
        let mut state = self.state.lock();
        state.step_down();
        state.former.retain(|former| *former != connection);
        state.publisher = Some(connection);
    }

    /// Nobody on this node publishes.
    pub fn no_publisher(&self) {
        self.state.lock().step_down();
    }

    /// Whether frames of a connection are taken, or were.
    pub fn has_published(&self, connection: ConnectionId) -> bool {
        let state = self.state.lock();
        state.publisher == Some(connection) || state.former.contains(&connection)
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

    /// What it relays.
    pub fn source(&self) -> Source {
        self.source
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

    /// Forgets all that was shown, and how far each viewer was with it: what comes is of another camera.
    pub fn begin_anew(&self) {
        let mut state = self.state.lock();
        state.streams.clear();
        state.era += 1;
    }

    /// Lets a connection watch until the returned seat is dropped.
    pub fn watch(self: &Arc<Self>, connection: Arc<Connection>, meters: Arc<Meters>) -> Seat {
        let viewer =
            Arc::new(Viewer { connection, sent: AtomicU64::new(0), lagging: AtomicBool::new(false) });
        self.viewers.write().push(Arc::clone(&viewer));
        Seat::new(Arc::clone(self), viewer, meters)
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

    /// Whether a viewer that comes now should ask for key frames, and of which streams: the one there always is if
    /// nothing is there yet, and every stream whose cache is not worth showing.
    pub fn stale_streams(&self, now: Tick) -> SmallVec<[u32; 1]> {
        let state = self.state.lock();
        // A key frame that nobody here would hear is asked for when it would be.
        if state.paused || state.far.term.is_some() && !state.far.open {
            return SmallVec::new();
        }
        if state.streams.is_empty() {
            return SmallVec::from_slice(&[self.source.stream()]);
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
        // Who shows a camera is there to see those of others, but not its own.
        let publisher = self.publisher();
        all.retain(|(id, ..)| Some(*id) != publisher);
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
    fn step_down(&mut self) {
        if let Some(before) = self.publisher.take()
            && !self.former.contains(&before)
        {
            if self.former.len() >= limits::VIEWERS {
                self.former.remove(0);
            }
            self.former.push(before);
        }
    }

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let relay = Arc::new(Relay::new(Source::Screen, Arc::default()));
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

    /// What may come in any order.
    #[derive(Debug, Clone)]
    enum Step {
        Publisher(Option<u64>),
        /// Of a connection: whether it is a key frame.
        Frame(u64, bool),
        /// Of another node, under this term.
        FarFrame(u64, bool),
        Term(Option<u64>),
        Paused(bool),
        /// Somebody comes to watch.
        Watch,
        /// What a session does with both of its sources when it is over.
        End,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            2 => proptest::option::weighted(0.9, 1..3_u64).prop_map(Step::Publisher),
            9 => (1..3_u64, proptest::bool::weighted(0.4)).prop_map(|(from, key)| Step::Frame(from, key)),
            5 => (1..3_u64, proptest::bool::weighted(0.4)).prop_map(|(term, key)| Step::FarFrame(term, key)),
            2 => proptest::option::weighted(0.9, 1..3_u64).prop_map(Step::Term),
            2 => any::<bool>().prop_map(Step::Paused),
            2 => Just(Step::Watch),
            1 => Just(Step::End),
        ];
        proptest::collection::vec(step, 1..60)
    }

    proptest! {
        /// Of a screen and of a camera: nobody is sent a picture while it is paused, or after the end, not even who comes
        /// then; and nobody's but the publisher's, or those of the node that has it.
        #[test]
        fn nothing_is_shown_while_paused_or_after_the_end(
            source in proptest::sample::select(Source::ALL.to_vec()),
            steps in steps(),
        ) {
            let relay = Arc::new(Relay::new(source, Arc::default()));
            relay.set_paused(false);
            let registry = Arc::new(Registry::new(Arc::default()));
            let mut seats = Vec::new();
            let (mut publisher, mut term, mut paused, mut over) = (None, None, false, false);
            let mut allowed = std::collections::HashSet::new();
            for (sequence, step) in (0..).zip(steps) {
                let shown = |key| Frame {
                    header: FrameHeader { stream: source.stream(), ..frame(sequence, sequence, key).header },
                    ..frame(sequence, sequence, key)
                };
                match step {
                    Step::Publisher(by) => {
                        publisher = by;
                        match by {
                            Some(by) => relay.set_publisher(ConnectionId(by)),
                            None => relay.no_publisher(),
                        }
                    }
                    Step::Frame(from, key) => {
                        let may = publisher == Some(from) && !paused;
                        let taken = relay.publish(ConnectionId(from), shown(key));
                        prop_assert!(may || taken == Taken::Dropped);
                        allowed.extend(may.then_some(sequence));
                    }
                    Step::FarFrame(of, key) => {
                        let may = term == Some(of) && !paused;
                        let stamp = Stamp { term: of, number: sequence.into() };
                        let taken = relay.publish_far(stamp, shown(key));
                        prop_assert!(may || taken == Taken::Dropped);
                        allowed.extend(may.then_some(sequence));
                    }
                    Step::Term(now) => {
                        term = now;
                        relay.set_far(now);
                    }
                    Step::Paused(now) => {
                        paused = now || over;
                        relay.set_paused(paused);
                    }
                    Step::Watch => {
                        let viewer = registry.admit(SocketKind::Session, Tick(0));
                        seats.push((relay.watch(Arc::clone(&viewer), Meters::new().0), viewer));
                    }
                    Step::End => {
                        (paused, over) = (true, true);
                        relay.set_paused(true);
                    }
                }
                prop_assert!(!paused || (relay.kept_bytes() == 0 && relay.live_edges().is_empty()));
                for (seat, _) in &mut seats {
                    for frame in seat.look(Tick(0), 1_000).frames {
                        prop_assert!(!paused, "a picture while nothing may be shown");
                        prop_assert!(allowed.contains(&frame.header.sequence));
                    }
                }
            }
        }
    }

    #[test]
    fn frames_go_to_other_nodes_from_a_key_frame_on() {
        let relay = Relay::new(Source::Screen, Arc::default());
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
