//! The home's side of the frames of a session's sources: who publishes on which node, and which nodes want to see it.
//!
//! Frames go from the publisher's node straight to the nodes with viewers, and only while there are such. The
//! home decides; its letters carry a term that grows with each change, and frames carry the term, so that none
//! of an earlier publisher, or from before a pause, is shown after its end.

#[cfg(test)]
mod laws;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::MutexGuard;

use crate::cluster::NodeId;
use crate::cluster::post::{FarFrame, FrameSink, Heard, Hearing, Letter, StageFacts, ViewerFacts, WireId};
use crate::hub::Hub;
use crate::hub::relay::{Relay, Stamp, Taken};
use crate::hub::sessions::LiveSession;
use crate::ids::{ConnectionId, SessionId};
use crate::model::relay::Frame;
use crate::wire::frame::{self, Source};
use crate::wire::session::Role;

/// Who publishes a source, and who watches it on which node.
#[derive(Debug)]
pub(in crate::hub) struct Stage {
    source: Source,
    term: u64,
    paused: bool,
    publisher: Option<Place>,
    /// Viewers on this node.
    viewers: usize,
    /// Other nodes with participants.
    nodes: HashMap<NodeId, Outpost>,
    /// While frames of another node's publisher are wanted here.
    hearing: Option<Hearing>,
}

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Here,
    There(NodeId, WireId),
}

/// Another node with participants of the session.
#[derive(Debug, Default)]
struct Outpost {
    participants: usize,
    viewers: usize,
    told: Option<StageFacts>,
    seen: Vec<ViewerFacts>,
}

impl Stage {
    /// Nobody is there yet.
    pub(in crate::hub) fn new(source: Source) -> Self {
        Self {
            source,
            term: 0,
            paused: false,
            publisher: None,
            viewers: 0,
            nodes: HashMap::new(),
            hearing: None,
        }
    }

    /// Whether nothing may be seen: it is paused, or there is no camera.
    fn is_quiet(&self) -> bool {
        self.paused || self.source == Source::Camera && self.publisher.is_none()
    }

    /// Whether somebody in this role watches. A camera is for everybody.
    fn shows_to(&self, role: Role) -> usize {
        usize::from(role == Role::Viewer || self.source == Source::Camera)
    }

    /// Frames from now on are none of those before.
    fn next_term(&mut self, now: u64) {
        self.term = now.max(self.term + 1);
    }

    /// This connection publishes from now on, or nobody does.
    fn published_by(&mut self, by: Option<(ConnectionId, Place)>, relay: &Relay, now: u64) {
        match by {
            Some((by, _)) => relay.set_publisher(by),
            None => relay.no_publisher(),
        }
        self.publisher = by.map(|(_, place)| place);
        self.next_term(now);
        if self.source == Source::Camera {
            relay.begin_anew();
            relay.set_paused(self.is_quiet());
        }
    }

    /// The publisher pauses, goes on, or everything is over.
    fn pauses(&mut self, paused: bool, relay: &Relay, now: u64) {
        self.paused = paused;
        relay.set_paused(self.is_quiet());
        self.next_term(now);
    }

    /// Tells the relay here where frames come from and go to. True: those of other nodes are to be heard.
    fn directs(&self, relay: &Relay) -> bool {
        let on = !self.is_quiet();
        let (here, there) = match self.publisher {
            Some(Place::Here) => (on, false),
            Some(Place::There(..)) => (false, on),
            None => (false, false),
        };
        relay.set_wanted((here && self.elsewhere(None) > 0).then_some(self.term));
        relay.set_far(there.then_some(self.term));
        there && self.viewers > 0
    }

    /// Viewers on other nodes than this one.
    fn elsewhere(&self, node: Option<NodeId>) -> usize {
        self.nodes.iter().filter(|(other, _)| Some(**other) != node).map(|(_, post)| post.viewers).sum()
    }

    /// What a node is told.
    fn facts(&self, node: NodeId) -> StageFacts {
        let publisher = match self.publisher {
            Some(Place::There(at, wire)) if at == node => Some(wire),
            _ => None,
        };
        let wanted = publisher.is_some() && self.viewers + self.elsewhere(Some(node)) > 0;
        StageFacts { term: self.term, paused: self.is_quiet(), publisher, wanted }
    }

    /// The viewers of all other nodes but one.
    fn seen_but(&self, node: Option<NodeId>) -> Vec<ViewerFacts> {
        let others = self.nodes.iter().filter(|(other, _)| Some(**other) != node);
        others.flat_map(|(_, post)| post.seen.iter().copied()).collect()
    }
}

impl Hub {
    fn place_of(&self, connection: ConnectionId) -> Place {
        match self.wires.stubs.get(&connection) {
            Some(stub) => Place::There(stub.0, stub.1),
            None => Place::Here,
        }
    }

    /// A connection is the publisher of a source from now on, or nobody is.
    pub(in crate::hub) fn stage_publisher(
        self: &Arc<Self>,
        session: &Arc<LiveSession>,
        source: Source,
        by: Option<ConnectionId>,
    ) {
        let relay = session.relay_of(source);
        let mut stage = session.stage_of(source).lock();
        stage.published_by(by.map(|by| (by, self.place_of(by))), relay, self.clock.now().wall.0);
        self.stage_settles(session, stage);
    }

    /// The publisher pauses, goes on, or everything is over.
    pub(in crate::hub) fn stage_paused(self: &Arc<Self>, session: &Arc<LiveSession>, paused: bool) {
        for source in Source::ALL {
            let mut stage = session.stage_of(source).lock();
            stage.pauses(paused, session.relay_of(source), self.clock.now().wall.0);
            self.stage_settles(session, stage);
        }
    }

    /// A participant is let in.
    pub(in crate::hub) fn stage_enters(
        self: &Arc<Self>,
        session: &Arc<LiveSession>,
        connection: ConnectionId,
        role: Role,
    ) {
        for source in Source::ALL {
            let mut stage = session.stage_of(source).lock();
            let viewers = stage.shows_to(role);
            match self.place_of(connection) {
                Place::Here => stage.viewers += viewers,
                Place::There(node, _) => {
                    let post = stage.nodes.entry(node).or_default();
                    post.participants += 1;
                    post.viewers += viewers;
                }
            }
            self.stage_settles(session, stage);
        }
    }

    /// It is gone.
    pub(in crate::hub) fn stage_leaves(
        self: &Arc<Self>,
        session: &Arc<LiveSession>,
        connection: ConnectionId,
        role: Role,
    ) {
        for source in Source::ALL {
            let mut stage = session.stage_of(source).lock();
            let viewers = stage.shows_to(role);
            match self.place_of(connection) {
                Place::Here => stage.viewers = stage.viewers.saturating_sub(viewers),
                Place::There(node, _) => {
                    if let Some(post) = stage.nodes.get_mut(&node) {
                        post.participants = post.participants.saturating_sub(1);
                        post.viewers = post.viewers.saturating_sub(viewers);
                        if post.participants == 0 {
                            stage.nodes.remove(&node);
                        }
                    }
                }
            }
            self.viewers_settle(session, &stage);
            self.stage_settles(session, stage);
        }
    }

    /// Acts on how the stage is now: tells the nodes that were told otherwise.
    fn stage_settles(self: &Arc<Self>, session: &Arc<LiveSession>, mut stage: MutexGuard<'_, Stage>) {
        let source = stage.source;
        let relay = session.relay_of(source);
        if !stage.directs(relay) {
            stage.hearing = None;
            relay.set_hearing(false);
        } else if stage.hearing.is_none() {
            stage.hearing = Some(self.hear_session(session, source));
        }
        let nodes: Vec<NodeId> = stage.nodes.keys().copied().collect();
        for node in nodes {
            let facts = stage.facts(node);
            let news = |told: Option<StageFacts>| match told {
                // There never was a camera that a node could have to hear of.
                None => source == Source::Screen || !facts.paused,
                told => told != Some(facts),
            };
            if let Some(post) = stage.nodes.get_mut(&node)
                && news(post.told)
            {
                post.told = Some(facts);
                // Under the lock, so that no older word comes after it.
                self.write_to(node, Letter::Stage(session.id, source, facts));
            }
        }
    }

    /// Hears the frames of a publisher on another node, for the viewers here.
    fn hear_session(self: &Arc<Self>, session: &Arc<LiveSession>, source: Source) -> Hearing {
        let (hub, heard_by) = (Arc::downgrade(self), Arc::downgrade(session));
        let sink: Arc<FrameSink> = Arc::new(move |heard| {
            let (Some(hub), Some(session)) = (hub.upgrade(), heard_by.upgrade()) else { return };
            for stream in hub.take_far(session.relay_of(source), heard) {
                hub.want_key_frame(&session, stream);
            }
        });
        self.wires.post.hear_frames(self.node, session.id, sink)
    }

    /// Takes what was heard of another node's frames. Returns the streams that need a key frame.
    pub(super) fn take_far(&self, relay: &Relay, heard: Heard) -> Vec<u32> {
        match heard {
            Heard::Open => {
                relay.set_hearing(true);
                let streams = relay.streams();
                if streams.is_empty() { vec![relay.source().stream()] } else { streams }
            }
            Heard::Frame(FarFrame { term, number, bytes }) => {
                let Ok(header) = frame::parse(&bytes) else { return Vec::new() };
                // All sources of a session travel together.
                if Source::of(header.stream) != relay.source() {
                    return Vec::new();
                }
                self.meters.far_frames_in.increment(1);
                let frame = Frame { header, bytes, at: self.clock.tick() };
                match relay.publish_far(Stamp { term, number }, frame) {
                    Taken::Orphan => vec![header.stream],
                    Taken::Relayed | Taken::Dropped | Taken::TooManyStreams => Vec::new(),
                }
            }
        }
    }

    /// Sends a frame that was published here to the nodes that want it.
    pub(in crate::hub) fn send_far(&self, session: SessionId, stamp: Stamp, bytes: bytes::Bytes) {
        self.meters.far_frames_out.increment(1);
        let Stamp { term, number } = stamp;
        self.wires.post.send_frame(self.node, session, FarFrame { term, number, bytes });
    }

    /// A viewer on another node needs a key frame.
    pub(super) fn stage_wants_key(self: &Arc<Self>, session: SessionId, stream: u32) {
        if let Some(session) = self.sessions.routed(session) {
            self.want_key_frame(&session, stream);
        }
    }

    /// Another node tells of viewers: as their home, or, on the publisher's node, from the session's home.
    pub(super) fn viewers_told(
        self: &Arc<Self>,
        from: NodeId,
        session: SessionId,
        source: Source,
        viewers: Vec<ViewerFacts>,
    ) {
        let Some(live) = self.sessions.routed(session) else {
            return self.replica_viewers(from, session, source, viewers);
        };
        let mut stage = live.stage_of(source).lock();
        let Some(post) = stage.nodes.get_mut(&from) else { return };
        post.seen = viewers;
        self.viewers_settle(&live, &stage);
    }

    /// The viewers here have taken more: a publisher on another node is told.
    pub(in crate::hub) fn viewers_here_changed(self: &Arc<Self>, session: &Arc<LiveSession>, source: Source) {
        let stage = session.stage_of(source).lock();
        if matches!(stage.publisher, Some(Place::There(..))) {
            self.viewers_settle(session, &stage);
        }
    }

    /// Tells the publisher's node what all others have seen.
    fn viewers_settle(&self, session: &LiveSession, stage: &Stage) {
        let seen = |viewers: Vec<ViewerFacts>| {
            viewers.into_iter().map(|viewer| (ConnectionId(viewer.id), viewer.sent, viewer.lagging)).collect()
        };
        let relay = session.relay_of(stage.source);
        relay.set_far_viewers(seen(stage.seen_but(None)));
        if let Some(Place::There(node, _)) = stage.publisher
            && stage.nodes.contains_key(&node)
        {
            let mut viewers = stage.seen_but(Some(node));
            viewers.extend(self.viewer_facts(relay));
            self.write_to(node, Letter::Viewers(session.id, stage.source, viewers));
        }
    }

    /// The viewers of this node as others are told of them.
    pub(super) fn viewer_facts(&self, relay: &Relay) -> Vec<ViewerFacts> {
        let facts = |(id, sent, lagging): (ConnectionId, u64, bool)| ViewerFacts {
            // Nodes are named by chance, so that no two viewers are told by the same name.
            id: (self.node.0 as u64) ^ id.0,
            sent,
            lagging,
        };
        relay.viewers_here().into_iter().map(facts).collect()
    }
}
