//! The edge's side of the frames of a session's sources: one relay of each for all participants of this node, fed once.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::Tick;
use crate::cluster::NodeId;
use crate::cluster::post::{FrameSink, Heard, Hearing, Letter, StageFacts, ViewerFacts};
use crate::hub::Hub;
use crate::hub::relay::Relay;
use crate::hub::timers::Due;
use crate::ids::{ConnectionId, SessionId};
use crate::limits;
use crate::model::event::Relayed;
use crate::wire::frame::Source;
use crate::wire::session::Role;

/// The frames of another node's session, for the participants that are here.
#[derive(Debug)]
pub(in crate::hub) struct Replica {
    /// The session.
    pub(in crate::hub) session: SessionId,
    /// Its node.
    pub(super) home: NodeId,
    /// Its frames.
    pub(in crate::hub) relay: Arc<Relay>,
    /// Streams that the home has told of and that were not asked for yet.
    streams: Mutex<Vec<u32>>,
    inner: Mutex<Inner>,
}

impl Replica {
    fn key(&self) -> (SessionId, Source) {
        (self.session, self.relay.source())
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// Participants here, those included that wait to be let in.
    participants: usize,
    /// Viewers that were let in.
    viewers: usize,
    facts: Option<StageFacts>,
    hearing: Option<Hearing>,
    /// When figures were told last, and which.
    told_at: Option<Tick>,
    told: Vec<ViewerFacts>,
    relayed: Relayed,
}

/// A participant's place at a replica. The last one takes the replica with it.
pub(in crate::hub) struct Place {
    hub: Arc<Hub>,
    replica: Arc<Replica>,
    watches: bool,
}

impl Place {
    /// The source's frames.
    pub(in crate::hub) fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// It was let in, and may watch if it is a viewer.
    pub(in crate::hub) fn let_in(&mut self, role: Role, streams: &[u32]) {
        let source = self.replica.relay.source();
        if role != Role::Viewer && source == Source::Screen || self.watches {
            return;
        }
        self.watches = true;
        self.replica.streams.lock().extend_from_slice(streams);
        let mut inner = self.replica.inner.lock();
        inner.viewers += 1;
        self.hub.replica_settles(&self.replica, &mut inner);
        drop(inner);
        for stream in self.replica.relay.stale_streams(self.hub.clock.tick()) {
            self.hub.replica_wants_key(&self.replica, stream);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let hub = &self.hub;
        let last = {
            let mut inner = self.replica.inner.lock();
            inner.participants -= 1;
            inner.viewers -= usize::from(self.watches);
            hub.replica_settles(&self.replica, &mut inner);
            inner.participants == 0
        };
        if last {
            let nobody = |_: &(SessionId, Source), listed: &Arc<Replica>| {
                Arc::ptr_eq(listed, &self.replica) && listed.inner.lock().participants == 0
            };
            hub.wires.replicas.remove_if(&self.replica.key(), nobody);
        }
    }
}

/// Tells a relay what its home said before and says now, and which connection here the publisher is.
pub(super) fn direct(
    relay: &Relay,
    before: Option<StageFacts>,
    facts: StageFacts,
    publisher: Option<ConnectionId>,
) {
    if relay.source() == Source::Camera && before.is_some_and(|before| before.term != facts.term) {
        relay.begin_anew();
    }
    relay.set_paused(facts.paused);
    match publisher {
        Some(publisher) => relay.set_publisher(publisher),
        None => relay.no_publisher(),
    }
    let on = (!facts.paused).then_some(facts.term);
    relay.set_wanted(on.filter(|_| facts.wanted));
    relay.set_far(on.filter(|_| facts.publisher.is_none()));
}

impl Hub {
    /// A place for a participant at a source of another node's session.
    pub(in crate::hub) fn replica_place(
        self: &Arc<Self>,
        session: SessionId,
        source: Source,
        home: NodeId,
    ) -> Place {
        let fresh = || {
            let relay = Arc::new(Relay::new(source, Arc::clone(&self.limits)));
            Arc::new(Replica { session, home, relay, streams: Mutex::default(), inner: Mutex::default() })
        };
        let mut entry = self.wires.replicas.entry((session, source)).or_insert_with(fresh);
        if entry.home != home {
            // It has moved; whoever is still at the old one is on its way out.
            *entry = fresh();
        }
        entry.inner.lock().participants += 1;
        Place { hub: Arc::clone(self), replica: Arc::clone(&entry), watches: false }
    }

    fn replica(&self, session: SessionId, source: Source) -> Option<Arc<Replica>> {
        self.wires.replicas.get(&(session, source)).map(|replica| Arc::clone(&replica))
    }

    /// The home says where the frames come from.
    pub(super) fn replica_told(
        self: &Arc<Self>,
        from: NodeId,
        session: SessionId,
        source: Source,
        facts: StageFacts,
    ) {
        let Some(replica) = self.replica(session, source).filter(|replica| replica.home == from) else {
            return;
        };
        let mut inner = replica.inner.lock();
        let before = inner.facts.replace(facts);
        let publisher = facts.publisher.and_then(|wire| self.edge_wire(from, wire));
        direct(&replica.relay, before, facts, publisher.map(|publisher| publisher.connection.id));
        self.replica_settles(&replica, &mut inner);
    }

    /// Frames are heard while there is a viewer here and the publisher is elsewhere.
    fn replica_settles(self: &Arc<Self>, replica: &Arc<Replica>, inner: &mut Inner) {
        let shown = inner.facts.is_some_and(|facts| !facts.paused && facts.publisher.is_none());
        if !shown || inner.viewers == 0 {
            inner.hearing = None;
            replica.relay.set_hearing(false);
        } else if inner.hearing.is_none() {
            let (hub, fed) = (Arc::downgrade(self), Arc::downgrade(replica));
            let sink: Arc<FrameSink> = Arc::new(move |heard| {
                let (Some(hub), Some(replica)) = (hub.upgrade(), fed.upgrade()) else { return };
                let begins = matches!(heard, Heard::Open);
                let mut wanted = hub.take_far(&replica.relay, heard);
                if begins {
                    wanted.append(&mut replica.streams.lock());
                    wanted.sort_unstable();
                    wanted.dedup();
                }
                for stream in wanted {
                    hub.replica_wants_key(&replica, stream);
                }
            });
            inner.hearing = Some(self.wires.post.hear_frames(self.node, replica.session, sink));
        }
    }

    /// Somebody here needs a key frame: the home is asked, but not too often.
    pub(in crate::hub) fn replica_wants_key(&self, replica: &Replica, stream: u32) {
        let (now, later) = replica.relay.want_key_frame(stream, self.clock.tick());
        if now {
            self.write_to(replica.home, Letter::Key(replica.session, stream));
        } else if let Some(at) = later {
            self.timers.at(at, Due::KeyFrame(replica.session));
        }
    }

    /// A request that had to wait is due, if it is one of a replica.
    pub(in crate::hub) fn replica_key_due(&self, session: SessionId) {
        for replica in Source::ALL.into_iter().filter_map(|source| self.replica(session, source)) {
            if let Some(stream) = replica.relay.due_key_frame(self.clock.tick()) {
                self.write_to(replica.home, Letter::Key(session, stream));
            }
        }
    }

    /// The home tells of viewers on other nodes.
    pub(super) fn replica_viewers(
        &self,
        from: NodeId,
        session: SessionId,
        source: Source,
        viewers: Vec<ViewerFacts>,
    ) {
        if let Some(replica) = self.replica(session, source).filter(|replica| replica.home == from) {
            let seen = |viewer: ViewerFacts| (ConnectionId(viewer.id), viewer.sent, viewer.lagging);
            replica.relay.set_far_viewers(viewers.into_iter().map(seen).collect());
        }
    }

    /// Tells the home what viewers here have taken, where that is news.
    pub(in crate::hub) fn replica_figures(&self, replica: &Replica) {
        let now = self.clock.tick();
        let mut inner = replica.inner.lock();
        if inner.told_at.is_some_and(|told| now.since(told) < limits::WIRE_FIGURES) {
            return;
        }
        inner.told_at = Some(now);
        let viewers = self.viewer_facts(&replica.relay);
        if viewers != inner.told {
            inner.told.clone_from(&viewers);
            let source = replica.relay.source();
            self.write_to(replica.home, Letter::Viewers(replica.session, source, viewers));
        }
        self.count_relayed(replica, &mut inner);
    }

    /// Tells the home what was taken of a publisher here, so that the record of the session counts it.
    pub(in crate::hub) fn replica_relayed(&self, replica: &Replica) {
        self.count_relayed(replica, &mut replica.inner.lock());
    }

    fn count_relayed(&self, replica: &Replica, inner: &mut Inner) {
        // A record tells of what was shared, which a camera is not.
        if replica.relay.source() == Source::Camera {
            return;
        }
        let relayed = replica.relay.relayed();
        if relayed != inner.relayed {
            let frames = relayed.frames - inner.relayed.frames;
            let bytes = relayed.bytes - inner.relayed.bytes;
            inner.relayed = relayed;
            self.write_to(replica.home, Letter::Relayed(replica.session, frames, bytes));
        }
    }
}
