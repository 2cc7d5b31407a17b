//! A viewer's side of a relay: its place, and what it takes when its socket has room.
//!
//! Decides what comes first where two sources share one socket. What is still worth sending is decided in
//! [`crate::model::relay`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::{Relay, Viewer};
use crate::clock::Tick;
use crate::model::relay::{Cursor, Frame, Shed, Step};
use crate::telemetry::Meters;
use crate::wire::frame::Source;

/// A viewer's place: its cursors, and its entry in the list for as long as this lives.
#[derive(Debug)]
pub struct Seat {
    relay: Arc<Relay>,
    viewer: Arc<Viewer>,
    meters: Arc<Meters>,
    /// What the cursors are about.
    era: u64,
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
    pub(super) fn new(relay: Arc<Relay>, viewer: Arc<Viewer>, meters: Arc<Meters>) -> Self {
        Self { relay, viewer, meters, era: 0, cursors: SmallVec::new() }
    }

    /// Takes frames until about `budget` bytes are taken.
    pub fn look(&mut self, now: Tick, budget: usize) -> Look {
        let mut look = Look::default();
        let mut taken = 0;
        let state = self.relay.state.lock();
        if self.era != state.era {
            self.era = state.era;
            self.cursors.clear();
        }
        if state.publisher == Some(self.viewer.connection.id) {
            // Nobody is sent its own frames.
            return look;
        }
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

    /// The viewer has drawn a frame; true when it lagged and does no more.
    pub fn ack(&mut self, stream: u32, sequence: u32, now: Tick) -> bool {
        if let Some(cursor) = self.cursor(stream) {
            cursor.ack(sequence, now);
        }
        self.catches_up(stream, false)
    }

    /// Whether the viewer lagged and does no more; see [`Cursor::catches_up`].
    pub fn catches_up(&mut self, stream: u32, drained: bool) -> bool {
        let caught_up = self.cursor(stream).is_some_and(|cursor| cursor.catches_up(drained));
        if caught_up {
            self.set_lagging(false);
        }
        caught_up
    }

    fn cursor(&mut self, stream: u32) -> Option<&mut Cursor> {
        self.cursors.iter_mut().find_map(|(id, cursor)| (*id == stream).then_some(cursor))
    }

    /// Since when the viewer was sent frames and drew nothing new, over all streams.
    pub fn stalled_since(&self) -> Option<Tick> {
        self.cursors.iter().filter_map(|(_, cursor)| cursor.stalled_since()).min()
    }

    /// Notes that the viewer loses frames of a stream, or takes none; true when that is new.
    pub fn mark_lagging(&mut self, stream: u32) -> bool {
        if let Some(cursor) = self.cursor(stream) {
            cursor.lag();
        }
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

/// What a participant watches: the screen, if it does not show it, and whoever's camera is shown.
#[derive(Debug)]
pub struct Watching {
    screen: Option<Seat>,
    camera: Seat,
}

impl Watching {
    /// Seats at both relays.
    pub fn new(screen: Option<Seat>, camera: Seat) -> Self {
        Self { screen, camera }
    }

    /// Takes frames until about `budget` bytes are taken. The screen goes first: a camera never makes it wait.
    pub fn look(&mut self, now: Tick, budget: usize) -> Look {
        let mut look = self.screen.as_mut().map(|screen| screen.look(now, budget)).unwrap_or_default();
        let taken: usize = look.frames.iter().map(|frame| frame.bytes.len()).sum();
        if taken < budget {
            let more = self.camera.look(now, budget - taken);
            look.frames.extend(more.frames);
            look.lost.extend(more.lost);
        }
        look
    }

    /// The viewer has drawn a frame; true when it lagged and does no more.
    pub fn ack(&mut self, stream: u32, sequence: u32, now: Tick) -> bool {
        self.seat(stream).is_some_and(|seat| seat.ack(stream, sequence, now))
    }

    /// Whether the viewer lagged and does no more; see [`Cursor::catches_up`].
    pub fn catches_up(&mut self, stream: u32, drained: bool) -> bool {
        self.seat(stream).is_some_and(|seat| seat.catches_up(stream, drained))
    }

    fn seat(&mut self, stream: u32) -> Option<&mut Seat> {
        match Source::of(stream) {
            Source::Screen => self.screen.as_mut(),
            Source::Camera => Some(&mut self.camera),
        }
    }

    /// Since when the viewer was sent the screen and drew nothing new. A camera that is not drawn closes nobody.
    pub fn stalled_since(&self) -> Option<Tick> {
        self.screen.as_ref().and_then(Seat::stalled_since)
    }

    /// Notes that the viewer loses frames of a stream, or takes none; true when that is new.
    pub fn mark_lagging(&mut self, stream: u32) -> bool {
        self.seat(stream).is_some_and(|seat| seat.mark_lagging(stream))
    }
}
