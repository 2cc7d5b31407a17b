//! The laws of a session's frames under inputs in any order: what a viewer is given, on the session's node and on
//! another one that hears of it late.
//!
//! Both relays of both nodes are told what to do as the hub tells them. Every frame has a number of its own; beside them
//! is noted which may be seen.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::clock::Tick;
use crate::hub::registry::{Admitted, Registry};
use crate::hub::relay::Watching;
use crate::hub::remote::replica::direct;
use crate::telemetry::{Meters, SocketKind};
use crate::wire::frame::{FrameHeader, FrameType, flag};

const THERE: NodeId = NodeId(2);
/// How many connections each node has.
const SEATS: usize = 3;
/// More than all frames of a run.
const ALL: usize = 1 << 20;

#[derive(Debug, Clone)]
enum Step {
    /// A connection publishes a source from now on.
    Publishes(Source, bool, usize),
    /// An agent's camera is shown no longer.
    CameraStops,
    Pauses(bool),
    /// What the session says at its end, whatever comes after it.
    Ends,
    /// A frame of a connection, let through or not.
    Frame {
        source: Source,
        there: bool,
        from: usize,
        page: bool,
        key: bool,
    },
    /// The next word of the session's node arrives at the other.
    Word(Source),
    /// A frame on its way between the nodes arrives, or is lost.
    Arrives(Index),
    IsLost(Index),
    /// Somebody comes to look.
    Comes(bool, usize),
    Leaves(Index),
    Looks(Index, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let source = || select(Source::ALL.to_vec());
    let step = prop_oneof![
        6 => (source(), any::<bool>(), 0..SEATS).prop_map(|(s, there, by)| Step::Publishes(s, there, by)),
        2 => Just(Step::CameraStops),
        3 => any::<bool>().prop_map(Step::Pauses),
        1 => Just(Step::Ends),
        30 => (source(), any::<bool>(), 0..SEATS, any::<bool>(), any::<bool>())
            .prop_map(|(source, there, from, page, key)| Step::Frame { source, there, from, page, key }),
        12 => source().prop_map(Step::Word),
        12 => any::<Index>().prop_map(Step::Arrives),
        1 => any::<Index>().prop_map(Step::IsLost),
        5 => (any::<bool>(), 0..SEATS).prop_map(|(there, who)| Step::Comes(there, who)),
        2 => any::<Index>().prop_map(Step::Leaves),
        12 => (any::<Index>(), 1..ALL).prop_map(|(who, budget)| Step::Looks(who, budget)),
    ];
    proptest::collection::vec(step, 1..150)
}

/// The relays of one node, and the frames that may be seen there.
struct Node {
    relays: [Arc<Relay>; 2],
    connections: Vec<Admitted>,
    /// By source.
    visible: [HashSet<u32>; 2],
}

impl Node {
    fn new(registry: &Arc<Registry>) -> Self {
        Self {
            relays: Source::ALL.map(|source| Arc::new(Relay::new(source, Arc::default()))),
            connections: (0..SEATS).map(|_| registry.admit(SocketKind::Session, Tick(0))).collect(),
            visible: [HashSet::new(), HashSet::new()],
        }
    }

    fn has_nothing(&self) {
        for relay in &self.relays {
            assert_eq!(relay.kept_bytes(), 0, "kept after the end");
            assert!(relay.live_edges().is_empty() && relay.stale_streams(Tick(0)).is_empty());
        }
    }
}

/// A frame between the nodes.
struct Sent {
    /// Whether it goes to the other one.
    there: bool,
    source: Source,
    /// When it was shown.
    turn: u32,
    stamp: Stamp,
    frame: Frame,
}

/// A session's frames on two nodes.
struct Play {
    stages: [Stage; 2],
    /// Who publishes each source, and on which node.
    by: [Option<(bool, usize)>; 2],
    here: Node,
    there: Node,
    /// Words of the session's node, and the one that each source was told last.
    words: [VecDeque<(u32, StageFacts)>; 2],
    sent: [Option<StageFacts>; 2],
    told: [Option<StageFacts>; 2],
    /// How often each source began anew: with another publisher, a pause, or its end. As the session's node has it, and as
    /// the other one was told.
    turns: [u32; 2],
    told_turns: [u32; 2],
    /// Frames between the nodes.
    on_their_way: Vec<Sent>,
    seats: Vec<(bool, Watching)>,
    meters: Arc<Meters>,
    frames: u32,
    groups: u32,
    over: bool,
}

impl Play {
    fn new() -> Self {
        let registry = Arc::new(Registry::new(Arc::default()));
        let mut play = Self {
            stages: Source::ALL.map(Stage::new),
            by: [None; 2],
            here: Node::new(&registry),
            there: Node::new(&registry),
            words: [VecDeque::new(), VecDeque::new()],
            sent: [None; 2],
            told: [None; 2],
            turns: [0; 2],
            told_turns: [0; 2],
            on_their_way: Vec::new(),
            seats: Vec::new(),
            meters: Meters::new().0,
            frames: 0,
            groups: 0,
            over: false,
        };
        for stage in &mut play.stages {
            stage.viewers = 1;
            let post = Outpost { participants: 1, viewers: 1, ..Outpost::default() };
            stage.nodes.insert(THERE, post);
        }
        play
    }

    fn node(&mut self, there: bool) -> &mut Node {
        if there { &mut self.there } else { &mut self.here }
    }

    /// As the hub does it after each change.
    fn settles(&mut self, source: Source) {
        let at = source as usize;
        let hears = self.stages[at].directs(&self.here.relays[at]);
        self.here.relays[at].set_hearing(hears);
        let facts = self.stages[at].facts(THERE);
        if self.sent[at] != Some(facts) {
            self.sent[at] = Some(facts);
            self.words[at].push_back((self.turns[at], facts));
        }
    }

    fn publishes(&mut self, source: Source, by: Option<(bool, usize)>) {
        let at = source as usize;
        self.by[at] = by;
        let by = by.map(|(there, by)| {
            let place = if there { Place::There(THERE, WireId(by as u64)) } else { Place::Here };
            (self.node(there).connections[by].id, place)
        });
        self.turns[at] += 1;
        self.stages[at].published_by(by, &self.here.relays[at], 0);
        if source == Source::Camera {
            self.here.visible[at].clear();
        }
        self.settles(source);
    }

    fn pauses(&mut self, paused: bool) {
        for source in Source::ALL {
            let at = source as usize;
            self.turns[at] += 1;
            self.stages[at].pauses(paused, &self.here.relays[at], 0);
            if paused {
                self.here.visible[at].clear();
            }
            self.settles(source);
        }
    }

    fn frame(&mut self, source: Source, page: bool, key: bool) -> Frame {
        self.frames += 1;
        self.groups += u32::from(key);
        let header = FrameHeader {
            kind: if page { FrameType::Dom } else { FrameType::Image },
            flags: if key { flag::KEY } else { 0 },
            layer: 0,
            stream: source.stream(),
            sequence: self.frames,
            group: self.groups,
            captured_us: 0,
            width: 1,
            height: 1,
            config_len: 0,
        };
        Frame { header, bytes: Bytes::from_static(b"x"), at: Tick(0) }
    }

    /// A frame of a connection on one of the nodes.
    fn published(&mut self, source: Source, there: bool, from: usize, frame: Frame) {
        let (at, number) = (source as usize, frame.header.sequence);
        // Who publishes, and whether anything is shown, as this node was told last.
        let shows = if there {
            self.told[at].is_some_and(|told| !told.paused && told.publisher == Some(WireId(from as u64)))
        } else {
            !self.over && !self.stages[at].paused && self.by[at] == Some((false, from))
        };
        let node = self.node(there);
        let (taken, stamp) = node.relays[at].publish_on(node.connections[from].id, frame.clone());
        assert_eq!(taken == Taken::Dropped, !shows, "{taken:?}");
        if taken == Taken::Relayed {
            node.visible[at].insert(number);
        }
        if let Some(stamp) = stamp {
            assert_eq!(taken, Taken::Relayed, "sent away and not shown");
            let turn = if there { self.told_turns[at] } else { self.turns[at] };
            self.on_their_way.push(Sent { there: !there, source, turn, stamp, frame });
        }
    }

    /// The other node hears what the session's node said.
    fn word(&mut self, source: Source) {
        let at = source as usize;
        let Some((turn, facts)) = self.words[at].pop_front() else { return };
        self.told_turns[at] = turn;
        let before = self.told[at].replace(facts);
        let publisher = facts.publisher.map(|wire| self.there.connections[wire.0 as usize].id);
        let relay = &self.there.relays[at];
        direct(relay, before, facts, publisher);
        relay.set_hearing(!facts.paused && facts.publisher.is_none());
        let another = source == Source::Camera && before.is_some_and(|before| before.term != facts.term);
        if facts.paused || another {
            self.there.visible[at].clear();
        }
    }

    fn arrives(&mut self, at: &Index) {
        if self.on_their_way.is_empty() {
            return;
        }
        let sent = self.on_their_way.remove(at.index(self.on_their_way.len()));
        let Sent { there, source, turn, stamp, frame } = sent;
        let (at, number) = (source as usize, frame.header.sequence);
        // The publisher is on the other node, and what it shows is what it shows now.
        let shows = if there {
            let told = self.told[at].is_some_and(|told| !told.paused && told.publisher.is_none());
            told && self.told_turns[at] == turn
        } else {
            let on = !self.over && !self.stages[at].paused;
            on && self.by[at].is_some_and(|(there, _)| there) && self.turns[at] == turn
        };
        let node = self.node(there);
        let taken = node.relays[at].publish_far(stamp, frame);
        assert_eq!(taken == Taken::Dropped, !shows, "{taken:?} of {stamp:?}");
        if taken == Taken::Relayed {
            node.visible[at].insert(number);
        }
    }

    fn comes(&mut self, there: bool, who: usize) {
        let meters = Arc::clone(&self.meters);
        let node = self.node(there);
        let seat = |relay: &Arc<Relay>| relay.watch(Arc::clone(&node.connections[who]), Arc::clone(&meters));
        let [screen, camera] = &node.relays;
        let (me, mut seats) = (node.connections[who].id, Watching::new(Some(seat(screen)), seat(camera)));
        // What is there and is not its own it is given at once.
        let others = node.relays.iter().filter(|relay| relay.publisher() != Some(me));
        let edges: usize = others.map(|relay| relay.live_edges().len()).sum();
        let look = seats.look(Tick(0), ALL);
        let given: HashSet<_> = look.frames.iter().map(|frame| frame.header.stream).collect();
        assert_eq!(given.len(), edges, "given {given:?}");
        self.may_be_seen(there, &look.frames);
        self.seats.push((there, seats));
    }

    fn may_be_seen(&self, there: bool, frames: &[Frame]) {
        let node = if there { &self.there } else { &self.here };
        assert!(there || !self.over || frames.is_empty(), "seen after the end");
        for frame in frames {
            let seen = &node.visible[Source::of(frame.header.stream) as usize];
            assert!(seen.contains(&frame.header.sequence), "a frame that nobody may see: {frame:?}");
        }
    }

    fn takes(&mut self, step: &Step) {
        match step {
            Step::Publishes(source, there, by) => self.publishes(*source, Some((*there, *by))),
            Step::CameraStops => self.publishes(Source::Camera, None),
            // A session that is over pauses and goes on no more.
            Step::Pauses(paused) if !self.over => self.pauses(*paused),
            Step::Pauses(_) => {}
            Step::Ends => {
                self.over = true;
                self.pauses(true);
            }
            Step::Frame { source, there, from, page, key } => {
                let frame = self.frame(*source, *page && *source == Source::Screen, *key);
                self.published(*source, *there, *from, frame);
            }
            Step::Word(source) => self.word(*source),
            Step::Arrives(at) => self.arrives(at),
            Step::IsLost(at) if !self.on_their_way.is_empty() => {
                self.on_their_way.remove(at.index(self.on_their_way.len()));
            }
            Step::Comes(there, who) => self.comes(*there, *who),
            Step::Leaves(at) if !self.seats.is_empty() => {
                self.seats.swap_remove(at.index(self.seats.len()));
            }
            Step::Looks(at, budget) if !self.seats.is_empty() => {
                let at = at.index(self.seats.len());
                let (there, seats) = &mut self.seats[at];
                let (there, look) = (*there, seats.look(Tick(0), *budget));
                self.may_be_seen(there, &look.frames);
            }
            Step::IsLost(_) | Step::Leaves(_) | Step::Looks(..) => {}
        }
        if self.over {
            self.here.has_nothing();
        }
    }

    /// By then the other node has heard all that was said, and every frame that was on its way has come.
    fn runs_out(&mut self) {
        for source in Source::ALL {
            while !self.words[source as usize].is_empty() {
                self.word(source);
            }
        }
        while let Some(Sent { there, source, stamp, frame, .. }) = self.on_their_way.pop() {
            let taken = self.node(there).relays[source as usize].publish_far(stamp, frame);
            assert_eq!(taken, Taken::Dropped, "after the end");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// No picture after the end, of a screen, a page or a camera: neither to who watched nor to who comes late, on the
    /// session's node at once, on another as soon as it has heard. Before it nobody is given a frame but those that were
    /// let through since the last pause, and of a camera since it is this one that is shown.
    #[test]
    fn nothing_is_shown_but_what_was_let_through_and_nothing_after_the_end(
        steps in steps(),
        after in steps(),
    ) {
        let mut play = Play::new();
        for step in &steps {
            play.takes(step);
        }
        play.takes(&Step::Ends);
        play.runs_out();
        for step in &after {
            play.takes(step);
            play.there.has_nothing();
            for at in 0..play.seats.len() {
                let frames = play.seats[at].1.look(Tick(0), ALL).frames;
                prop_assert!(frames.is_empty(), "after the end: {:?}", frames);
            }
        }
    }
}
