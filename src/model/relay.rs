//! The frames of a session: what is kept, and what each viewer is given.
//!
//! One [`Stream`] keeps the newest frames of one source, once, whoever watches. Each viewer is a
//! [`Cursor`] into it and decides for itself what to take next, so a slow viewer costs the others nothing
//! and memory is bounded by the stream, not by the number of viewers.
//!
//! Does not decide who may publish or watch; see [`super::session`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Tick;
use crate::limits::{self, Limits};
use crate::wire::frame::{FrameHeader, FrameType};

/// One frame as it came, shared by everybody who still needs it.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The clear header, read once.
    pub header: FrameHeader,
    /// The whole message: header, config and payload, unchanged.
    pub bytes: Bytes,
    /// When it arrived.
    pub at: Tick,
}

/// The newest frames of one source.
///
/// Keeps the newest group from its key frame on, up to [`Limits::cache_bytes`] and
/// [`Limits::cache_span`], and older frames as long as a slow viewer may still take them. The span is
/// counted between frames, not up to now: the picture of a still page stays good for ever. Changes of a page
/// ([`FrameType::Dom`]) are bounded in number and not in time: they are applied at once, however old they are.
#[derive(Debug)]
pub struct Stream {
    limits: Arc<Limits>,
    kept: VecDeque<Kept>,
    /// Index of the first kept frame; indexes count every frame that was ever kept.
    first: u64,
    /// Bytes of every frame that was ever kept.
    pushed: u64,
    /// Index of the newest key frame, while everything after it is kept too.
    key: Option<u64>,
}

/// A frame, and the bytes that came before it: the difference of two says what lies between.
#[derive(Debug)]
struct Kept {
    frame: Frame,
    before: u64,
}

/// What a late joiner finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// A short or exact group: shown at once, and current.
    Fresh,
    /// A group too long to be worth decoding: a new key frame serves better.
    Stale,
    /// Nothing that can be decoded.
    Empty,
}

impl Stream {
    /// Nothing is kept yet.
    pub fn new(limits: Arc<Limits>) -> Self {
        Self { limits, kept: VecDeque::new(), first: 0, pushed: 0, key: None }
    }

    /// Takes a frame of the publisher. A delta without its key frame can help nobody and is not kept;
    /// returns whether the frame was.
    pub fn push(&mut self, frame: Frame) -> bool {
        if frame.header.is_key() {
            self.key = Some(self.end());
        } else if self.kept.back().is_none_or(|last| last.frame.header.group != frame.header.group) {
            return false;
        }
        let before = self.pushed;
        self.pushed += frame.bytes.len() as u64;
        self.kept.push_back(Kept { frame, before });
        self.trim();
        true
    }

    /// Forgets everything: a paused publisher's picture is not shown to anybody.
    pub fn clear(&mut self) {
        self.first = self.end();
        self.kept.clear();
        self.key = None;
    }

    /// Sequence of the newest frame.
    pub fn live_edge(&self) -> Option<u32> {
        self.kept.back().map(|last| last.frame.header.sequence)
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes_from(self.first)
    }

    /// What a viewer that comes now would find.
    pub fn cache(&self, now: Tick) -> Cache {
        let Some(key) = self.key else { return Cache::Empty };
        let (Some(first), Some(last)) = (self.get(key), self.kept.back()) else { return Cache::Empty };
        if is_dom(first) {
            let changes = self.bytes_from(key) - first.bytes.len();
            return if changes <= limits::DOM_FRESH_BYTES { Cache::Fresh } else { Cache::Stale };
        }
        let short = last.frame.at.since(first.at) <= limits::FRESH_SPAN
            && self.bytes_from(key) <= limits::FRESH_BYTES;
        let still = now.since(last.frame.at) >= limits::FRESH_SPAN;
        if short || still { Cache::Fresh } else { Cache::Stale }
    }

    /// One past the newest index.
    fn end(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    fn kept(&self, index: u64) -> Option<&Kept> {
        self.kept.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    fn get(&self, index: u64) -> Option<&Frame> {
        self.kept(index).map(|kept| &kept.frame)
    }

    /// Bytes of the kept frames from this index on.
    fn bytes_from(&self, index: u64) -> usize {
        self.kept(index).map_or(0, |kept| (self.pushed - kept.before) as usize)
    }

    fn trim(&mut self) {
        let Some((newest, dom)) = self.kept.back().map(|last| (last.frame.at, is_dom(&last.frame))) else {
            return;
        };
        if let Some(key) = self.key
            && key + 1 < self.end()
            && (self.bytes_from(key) > self.limits.cache_bytes
                || if dom {
                    self.end() - key > limits::DOM_CHANGES
                } else {
                    self.get(key).is_some_and(|first| newest.since(first.at) > self.limits.cache_span)
                })
        {
            // The group is too long to be a cache. From here on it only feeds viewers that keep up.
            self.key = None;
        }
        let patience = Patience::with(dom, &self.limits);
        // What lies before the newest key frame, or everything when there is none, is for slow viewers.
        while self.kept.len() > 1 && self.key != Some(self.first) {
            let spare = self.bytes() - self.key.map_or(0, |key| self.bytes_from(key));
            let old = newest.since(self.kept[0].frame.at) > patience.age;
            if !old && spare <= patience.bytes {
                break;
            }
            self.kept.pop_front();
            self.first += 1;
        }
    }
}

fn is_dom(frame: &Frame) -> bool {
    frame.header.kind == FrameType::Dom
}

/// How far a viewer may be behind before it waits for a key frame.
struct Patience {
    age: Duration,
    acknowledged: Duration,
    bytes: usize,
}

impl Patience {
    fn with(dom: bool, limits: &Limits) -> Self {
        if dom {
            Self { age: limits::DOM_LATE, acknowledged: limits::DOM_LATE, bytes: limits.cache_bytes }
        } else {
            Self { age: limits.outbox_age, acknowledged: ACK_LOST, bytes: limits.outbox_bytes }
        }
    }
}

/// What a viewer does next.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends this frame.
    Send(Frame),
    /// Everything is sent, or it waits for a key frame.
    Wait,
    /// It has just lost frames and needs a key frame. Told once per loss.
    Lost,
}

/// How many frames were taken from a viewer, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shed {
    /// Higher temporal layers and droppable frames.
    pub layer: u64,
    /// Everything up to the next key frame.
    pub lagging: u64,
}

/// Sent and not yet acknowledged.
#[derive(Debug, Clone, Copy)]
struct InFlight {
    index: u64,
    sequence: u32,
    sent: Tick,
}

/// Where one viewer stands in one stream.
#[derive(Debug)]
pub struct Cursor {
    next: u64,
    /// Nothing is sent but a key frame.
    needs_key: bool,
    /// Only the base layer is sent.
    base_only: bool,
    /// From when on lateness counts: a joiner is not late for what was there before it.
    since: Tick,
    /// Frames below are the cache it joined with; they count by age only.
    caught_up: u64,
    shed: Shed,
    /// Sent and not acknowledged, oldest first.
    in_flight: VecDeque<InFlight>,
    last_acked: Option<u32>,
    /// Since when it was sent frames and acknowledged nothing new.
    stalled_since: Option<Tick>,
    /// It lags until all below this index is drawn.
    behind: Option<u64>,
}

/// Lateness of acknowledgements: a viewer acknowledges every 250 ms and may be a continent away, so
/// its bounds are wider than those of frames that wait here.
const ACK_SHED: Duration = Duration::from_millis(1_000);
const ACK_LOST: Duration = Duration::from_millis(3_000);

/// Unacknowledged frames remembered; more are judged by the oldest kept.
const IN_FLIGHT: usize = 256;

/// Sequence numbers wrap; what lies less than half the circle ahead is later (RFC 1982).
fn is_after(sequence: u32, other: u32) -> bool {
    sequence != other && sequence.wrapping_sub(other) <= u32::MAX / 2
}

impl Cursor {
    /// A viewer that comes now: it starts at the newest key frame if that is fresh, and otherwise
    /// waits for the next one.
    pub fn join(stream: &Stream, now: Tick) -> Self {
        let fresh = stream.cache(now) == Cache::Fresh;
        Self {
            next: stream.key.filter(|_| fresh).unwrap_or_else(|| stream.end()),
            needs_key: true,
            base_only: false,
            since: now,
            caught_up: stream.end(),
            shed: Shed::default(),
            in_flight: VecDeque::new(),
            last_acked: None,
            stalled_since: None,
            behind: None,
        }
    }

    /// Whether it waits for a key frame.
    pub fn needs_key(&self) -> bool {
        self.needs_key
    }

    /// Takes the count of frames shed since the last call.
    pub fn take_shed(&mut self) -> Shed {
        std::mem::take(&mut self.shed)
    }

    /// Since when the viewer was sent frames and drew nothing new; `None` while it keeps up, or when it
    /// does not acknowledge at all.
    pub fn stalled_since(&self) -> Option<Tick> {
        self.stalled_since
    }

    /// The viewer has drawn this frame.
    pub fn ack(&mut self, sequence: u32, now: Tick) {
        let news = self.last_acked.replace(sequence) != Some(sequence);
        while let Some(oldest) = self.in_flight.front() {
            if is_after(oldest.sequence, sequence) {
                break;
            }
            self.in_flight.pop_front();
        }
        if news {
            self.stalled_since = (!self.in_flight.is_empty()).then_some(now);
        }
    }

    /// The viewer is told that it lags: until it has drawn what was sent to it, or the key frame that it needs.
    pub fn lag(&mut self) {
        self.behind = Some(self.next);
    }

    /// Whether the viewer lagged and lacks nothing any more. Of one that acknowledges nothing, a socket that is
    /// `drained` tells that it has all.
    pub fn catches_up(&mut self, drained: bool) -> bool {
        let Some(behind) = self.behind.filter(|_| !self.needs_key) else { return false };
        let has_drawn = self.in_flight.front().is_none_or(|oldest| oldest.index >= behind);
        let caught_up = if self.last_acked.is_some() { has_drawn } else { drained };
        if caught_up {
            self.behind = None;
        }
        caught_up
    }

    /// Decides what to send next. Called again after each [`Step::Send`], when the socket has room.
    ///
    /// Higher layers may go at any frame and come back only at a base-layer frame; after any other loss
    /// nothing is sent but a key frame; and the newest key frame always fits.
    pub fn next(&mut self, stream: &Stream, now: Tick) -> Step {
        loop {
            if self.next < stream.first {
                let lost = stream.first - self.next;
                self.next = stream.first;
                if let Some(step) = self.lose(stream, lost) {
                    return step;
                }
                continue;
            }
            let Some(frame) = stream.get(self.next) else { return Step::Wait };
            if self.needs_key {
                // Only the newest key frame is worth sending: what lies between is already history.
                match stream.key {
                    Some(key) if key >= self.next => {
                        self.shed.lagging += key - self.next;
                        self.next = key;
                        self.needs_key = false;
                        self.base_only = false;
                        let Some(frame) = stream.get(key).cloned() else { return Step::Wait };
                        // The frames behind a key frame that was waited for are not late either.
                        self.since = self.since.max(frame.at);
                        let step = self.send(frame, now);
                        self.behind = self.behind.map(|_| self.next);
                        return step;
                    }
                    _ => {
                        self.shed.lagging += stream.end() - self.next;
                        self.next = stream.end();
                        return Step::Wait;
                    }
                }
            }
            let newest_key = stream.key == Some(self.next);
            if self.is_lost(stream, frame, now) && !newest_key {
                if let Some(step) = self.lose(stream, 0) {
                    return step;
                }
                continue;
            }
            if self.is_late(stream, frame, now) {
                self.base_only = true;
            } else if frame.header.layer == 0 && !frame.header.is_droppable() {
                self.base_only = false;
            }
            if self.base_only
                && !frame.header.is_key()
                && (frame.header.layer > 0 || frame.header.is_droppable())
            {
                self.shed.layer += 1;
                self.next += 1;
                continue;
            }
            return self.send(frame.clone(), now);
        }
    }

    fn send(&mut self, frame: Frame, now: Tick) -> Step {
        let (index, sequence) = (self.next, frame.header.sequence);
        self.next += 1;
        if self.in_flight.back().is_some_and(|last| !is_after(sequence, last.sequence)) {
            // The publisher counts anew: no acknowledgement of what comes would be one of what was before.
            self.in_flight.clear();
        }
        if self.in_flight.len() == IN_FLIGHT {
            // Keep the oldest: it says how late the viewer is.
            self.in_flight.pop_back();
        }
        self.in_flight.push_back(InFlight { index, sequence, sent: now });
        if self.last_acked.is_some() {
            self.stalled_since.get_or_insert(now);
        }
        Step::Send(frame)
    }

    /// Frames are lost. Goes on at a key frame that is already there; `Some` tells that there is none.
    fn lose(&mut self, stream: &Stream, lost: u64) -> Option<Step> {
        self.shed.lagging += lost;
        self.needs_key = true;
        self.in_flight.clear();
        match stream.key {
            Some(key) if key > self.next => None,
            _ => {
                self.shed.lagging += stream.end() - self.next;
                self.next = stream.end();
                Some(Step::Lost)
            }
        }
    }

    fn waited(&self, frame: &Frame, now: Tick) -> Duration {
        now.since(frame.at.max(self.since))
    }

    fn waiting_bytes(&self, stream: &Stream) -> usize {
        // The cache a viewer joined with is more than it could have taken yet; its age tells.
        if self.next < self.caught_up { 0 } else { stream.bytes_from(self.next) }
    }

    fn unacknowledged_for(&self, now: Tick) -> Duration {
        // One that never acknowledged is judged by its socket alone.
        let oldest = self.in_flight.front().filter(|_| self.last_acked.is_some());
        oldest.map_or(Duration::ZERO, |oldest| now.since(oldest.sent))
    }

    fn is_lost(&self, stream: &Stream, frame: &Frame, now: Tick) -> bool {
        let patience = Patience::with(is_dom(frame), &stream.limits);
        self.waited(frame, now) > patience.age
            || self.unacknowledged_for(now) > patience.acknowledged
            || self.waiting_bytes(stream) > patience.bytes
    }

    fn is_late(&self, stream: &Stream, frame: &Frame, now: Tick) -> bool {
        self.waited(frame, now) > stream.limits.shed_age && self.next >= self.caught_up
            || self.unacknowledged_for(now) > ACK_SHED
            || self.waiting_bytes(stream) > stream.limits.shed_bytes
    }
}

/// Spaces key-frame requests of one session: one at a time, and not too often.
#[derive(Debug)]
pub struct KeyFrameRequests {
    spacing: Duration,
    last: Option<Tick>,
    wanted: Option<u32>,
}

impl KeyFrameRequests {
    /// Nobody wants one yet.
    pub fn new(spacing: Duration) -> Self {
        Self { spacing, last: None, wanted: None }
    }

    /// Somebody needs a key frame of this stream. True: ask the publisher now. Otherwise it is asked
    /// at [`Self::next_deadline`], unless a key frame comes first.
    pub fn want(&mut self, stream: u32, now: Tick) -> bool {
        if self.last.is_some_and(|last| now < last.after(self.spacing)) {
            self.wanted = Some(stream);
            return false;
        }
        self.last = Some(now);
        self.wanted = None;
        true
    }

    /// A key frame came: who waited for it is served.
    pub fn served(&mut self, stream: u32) {
        if self.wanted == Some(stream) {
            self.wanted = None;
        }
    }

    /// When a request that had to wait is due.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.wanted.and(self.last).map(|last| last.after(self.spacing))
    }

    /// The stream to ask for, if its time has come.
    pub fn on_deadline(&mut self, now: Tick) -> Option<u32> {
        if self.next_deadline().is_some_and(|due| now >= due) {
            self.last = Some(now);
            self.wanted.take()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{FrameType, flag};
    use proptest::prelude::*;

    fn frame(sequence: u32, group: u32, key: bool, layer: u8, size: usize, at: u64) -> Frame {
        let flags = if key { flag::KEY } else { 0 };
        let kind = if key { FrameType::Image } else { FrameType::Tiles };
        let header = FrameHeader {
            kind,
            flags,
            layer,
            stream: 0,
            sequence,
            group,
            captured_us: 0,
            width: 1,
            height: 1,
            config_len: 0,
        };
        Frame { header, bytes: Bytes::from(vec![0; size]), at: Tick(at) }
    }

    fn sent(cursor: &mut Cursor, stream: &Stream, now: u64) -> Vec<u32> {
        let mut out = Vec::new();
        while let Step::Send(frame) = cursor.next(stream, Tick(now)) {
            out.push(frame.header.sequence);
        }
        out
    }

    #[test]
    fn a_late_joiner_starts_at_the_key_frame() {
        let mut stream = Stream::new(Arc::default());
        stream.push(frame(0, 1, true, 0, 10, 0));
        stream.push(frame(1, 1, false, 0, 10, 50));
        stream.push(frame(2, 1, false, 0, 10, 100));
        let mut cursor = Cursor::join(&stream, Tick(150));
        assert_eq!(sent(&mut cursor, &stream, 150), [0, 1, 2]);
        stream.push(frame(3, 1, false, 0, 10, 200));
        assert_eq!(sent(&mut cursor, &stream, 200), [3]);
    }

    #[test]
    fn a_still_page_is_served_for_ever() {
        let mut stream = Stream::new(Arc::default());
        stream.push(frame(0, 1, true, 0, 100_000, 0));
        let hour = 3_600_000;
        let mut cursor = Cursor::join(&stream, Tick(hour));
        assert_eq!(sent(&mut cursor, &stream, hour), [0]);
    }

    #[test]
    fn a_long_moving_group_is_not_served_but_asked_anew() {
        let mut stream = Stream::new(Arc::default());
        stream.push(frame(0, 1, true, 0, 10, 0));
        for n in 1..60 {
            stream.push(frame(n, 1, false, 0, 10, u64::from(n) * 100));
        }
        assert_eq!(stream.cache(Tick(5_950)), Cache::Stale);
        let mut cursor = Cursor::join(&stream, Tick(5_950));
        assert_eq!(sent(&mut cursor, &stream, 5_950), [] as [u32; 0]);
        assert!(cursor.needs_key());
        stream.push(frame(60, 2, true, 0, 10, 6_000));
        assert_eq!(sent(&mut cursor, &stream, 6_000), [60]);
        // And once it stands still, the same long group is exact.
        assert_eq!(stream.cache(Tick(20_000)), Cache::Fresh);
    }

    #[test]
    fn a_new_key_frame_does_not_rob_a_viewer_that_is_a_little_behind() {
        let mut stream = Stream::new(Arc::default());
        stream.push(frame(0, 1, true, 0, 10, 0));
        let mut cursor = Cursor::join(&stream, Tick(0));
        assert_eq!(sent(&mut cursor, &stream, 0), [0]);
        stream.push(frame(1, 1, false, 0, 10, 10));
        stream.push(frame(2, 2, true, 0, 10, 20));
        stream.push(frame(3, 2, false, 0, 10, 30));
        assert_eq!(sent(&mut cursor, &stream, 40), [1, 2, 3]);
    }

    #[test]
    fn layers_go_first_and_come_back_at_a_base_frame() {
        let mut stream = Stream::new(Arc::default());
        stream.push(frame(0, 1, true, 0, 10, 0));
        let mut cursor = Cursor::join(&stream, Tick(0));
        sent(&mut cursor, &stream, 0);
        for n in 1..8 {
            stream.push(frame(n, 1, false, (n % 2) as u8, 10, 0));
        }
        // 200 ms late: base layer only.
        assert_eq!(sent(&mut cursor, &stream, 200), [2, 4, 6]);
        assert_eq!(cursor.take_shed(), Shed { layer: 4, lagging: 0 });
        stream.push(frame(8, 1, false, 1, 10, 210));
        stream.push(frame(9, 1, false, 0, 10, 215));
        stream.push(frame(10, 1, false, 1, 10, 220));
        assert_eq!(sent(&mut cursor, &stream, 221), [9, 10]);
    }

    #[test]
    fn far_behind_means_nothing_until_a_key_frame() {
        let mut stream = Stream::new(Arc::default());
        stream.push(frame(0, 1, true, 0, 10, 0));
        let mut cursor = Cursor::join(&stream, Tick(0));
        sent(&mut cursor, &stream, 0);
        stream.push(frame(1, 1, false, 0, 10, 10));
        assert!(matches!(cursor.next(&stream, Tick(2_100)), Step::Lost));
        assert!(matches!(cursor.next(&stream, Tick(2_100)), Step::Wait));
        stream.push(frame(2, 1, false, 0, 10, 2_110));
        assert!(matches!(cursor.next(&stream, Tick(2_110)), Step::Wait));
        stream.push(frame(3, 2, true, 0, 10, 2_200));
        assert_eq!(sent(&mut cursor, &stream, 2_200), [3]);
    }

    #[test]
    fn one_key_frame_always_fits() {
        let mut stream = Stream::new(Arc::default());
        let mut cursor = Cursor::join(&stream, Tick(0));
        stream.push(frame(0, 1, true, 0, 3 * 1024 * 1024, 0));
        assert_eq!(sent(&mut cursor, &stream, 5_000), [0]);
        stream.push(frame(1, 2, true, 0, 3 * 1024 * 1024, 5_000));
        assert_eq!(sent(&mut cursor, &stream, 9_000), [1]);
    }

    #[test]
    fn a_viewer_that_stops_drawing_is_lost_though_its_socket_takes_all() {
        let mut stream = Stream::new(Arc::default());
        stream.push(frame(0, 1, true, 0, 10, 0));
        let mut cursor = Cursor::join(&stream, Tick(0));
        sent(&mut cursor, &stream, 0);
        cursor.ack(0, Tick(50));
        assert_eq!(cursor.stalled_since(), None);
        stream.push(frame(1, 1, false, 0, 10, 100));
        assert_eq!(sent(&mut cursor, &stream, 100), [1]);
        stream.push(frame(2, 1, false, 0, 10, 3_200));
        assert!(matches!(cursor.next(&stream, Tick(3_200)), Step::Lost));
        // A key frame is sent all the same, but the clock of the stalled viewer goes on.
        stream.push(frame(3, 2, true, 0, 10, 3_300));
        assert_eq!(sent(&mut cursor, &stream, 3_300), [3]);
        assert_eq!(cursor.stalled_since(), Some(Tick(100)));
        cursor.ack(3, Tick(3_400));
        assert_eq!(cursor.stalled_since(), None);
    }

    #[test]
    fn a_viewer_lags_until_it_has_drawn_what_was_sent_though_nothing_more_comes() {
        let mut stream = Stream::new(Arc::default());
        stream.push(frame(0, 1, true, 0, 10, 0));
        let mut cursor = Cursor::join(&stream, Tick(0));
        sent(&mut cursor, &stream, 0);
        cursor.ack(0, Tick(50));
        assert!(!cursor.catches_up(true), "it never lagged");
        stream.push(frame(1, 2, true, 0, 10, 100));
        stream.push(frame(2, 2, false, 0, 10, 100));
        assert_eq!(sent(&mut cursor, &stream, 100), [1, 2]);
        cursor.lag();
        cursor.ack(1, Tick(2_200));
        assert!(!cursor.catches_up(true), "half of it");
        cursor.ack(2, Tick(2_300));
        assert!(cursor.catches_up(false));
        assert!(!cursor.catches_up(false), "once");
    }

    #[test]
    fn a_viewer_that_lost_frames_lags_until_it_has_drawn_the_key_frame_after_them() {
        let mut stream = Stream::new(Arc::default());
        stream.push(frame(0, 1, true, 0, 10, 0));
        let mut cursor = Cursor::join(&stream, Tick(0));
        sent(&mut cursor, &stream, 0);
        cursor.ack(0, Tick(50));
        stream.push(frame(1, 1, false, 0, 10, 100));
        assert!(matches!(cursor.next(&stream, Tick(2_200)), Step::Lost));
        cursor.lag();
        cursor.ack(0, Tick(2_250));
        assert!(!cursor.catches_up(true), "all that was sent is drawn, and something is missing");
        stream.push(frame(2, 2, true, 0, 10, 2_300));
        stream.push(frame(3, 2, false, 0, 10, 2_310));
        assert_eq!(sent(&mut cursor, &stream, 2_310), [2, 3]);
        assert!(!cursor.catches_up(true), "it is sent and not yet drawn");
        cursor.ack(2, Tick(2_400));
        assert!(cursor.catches_up(false));
    }

    #[test]
    fn a_viewer_that_acknowledges_nothing_lags_until_its_socket_has_taken_all() {
        let mut stream = Stream::new(Arc::default());
        stream.push(frame(0, 1, true, 0, 10, 0));
        let mut cursor = Cursor::join(&stream, Tick(0));
        sent(&mut cursor, &stream, 0);
        cursor.lag();
        assert!(!cursor.catches_up(false));
        assert!(cursor.catches_up(true));
    }

    #[test]
    fn a_publisher_that_counts_anew_leaves_nothing_to_acknowledge_behind() {
        let mut stream = Stream::new(Arc::default());
        stream.push(frame(500, 7, true, 0, 10, 0));
        let mut cursor = Cursor::join(&stream, Tick(0));
        sent(&mut cursor, &stream, 0);
        cursor.ack(500, Tick(50));
        stream.push(frame(501, 7, false, 0, 10, 100));
        stream.push(frame(0, 8, true, 0, 10, 110));
        assert_eq!(sent(&mut cursor, &stream, 110), [501, 0]);
        cursor.ack(0, Tick(200));
        assert_eq!(cursor.stalled_since(), None, "nobody draws the old frame any more");
    }

    #[test]
    fn acks_follow_sequence_numbers_round_the_corner() {
        let mut stream = Stream::new(Arc::default());
        stream.push(frame(u32::MAX, 1, true, 0, 10, 0));
        stream.push(frame(0, 1, false, 0, 10, 1));
        let mut cursor = Cursor::join(&stream, Tick(1));
        sent(&mut cursor, &stream, 1);
        cursor.ack(0, Tick(2));
        assert_eq!(cursor.stalled_since(), None);
        assert!(cursor.in_flight.is_empty());
    }

    fn change(sequence: u32, group: u32, key: bool, size: usize, at: u64) -> Frame {
        let mut frame = frame(sequence, group, key, 0, size, at);
        frame.header.kind = FrameType::Dom;
        frame
    }

    #[test]
    fn changes_of_a_page_are_a_cache_however_old_the_snapshot_is() {
        let mut stream = Stream::new(Arc::default());
        stream.push(change(0, 1, true, 300_000, 0));
        for n in 1..600 {
            stream.push(change(n, 1, false, 100, u64::from(n) * 100));
        }
        assert_eq!(stream.cache(Tick(60_000)), Cache::Fresh);
        let mut late = Cursor::join(&stream, Tick(60_000));
        assert_eq!(sent(&mut late, &stream, 60_000).len(), 600);
        // Until they are more than a new snapshot would be.
        stream.push(change(600, 1, false, limits::DOM_FRESH_BYTES, 60_100));
        assert_eq!(stream.cache(Tick(90_000)), Cache::Stale);
    }

    #[test]
    fn changes_of_a_page_are_bounded_in_number() {
        let mut stream = Stream::new(Arc::default());
        stream.push(change(0, 1, true, 10, 0));
        for n in 1..=(limits::DOM_CHANGES as u32) {
            stream.push(change(n, 1, false, 1, u64::from(n)));
        }
        assert_eq!(stream.cache(Tick(10_000)), Cache::Empty);
    }

    #[test]
    fn a_slow_viewer_of_a_page_gets_every_change_while_it_fetches_the_snapshot() {
        let mut stream = Stream::new(Arc::default());
        let mut cursor = Cursor::join(&stream, Tick(0));
        stream.push(change(0, 1, true, 3 * 1024 * 1024, 0));
        assert!(matches!(cursor.next(&stream, Tick(0)), Step::Send(_)));
        for n in 1..80 {
            stream.push(change(n, 1, false, 1_000, u64::from(n) * 100));
        }
        assert_eq!(sent(&mut cursor, &stream, 8_000).len(), 79, "nothing was dropped in 8 s");
        cursor.ack(79, Tick(8_100));
        stream.push(change(80, 1, false, 10, 9_000));
        let late = 9_000 + limits::DOM_LATE.as_millis() as u64;
        assert!(matches!(cursor.next(&stream, Tick(late + 1)), Step::Lost));
    }

    #[test]
    fn paused_means_nothing_is_left() {
        let mut stream = Stream::new(Arc::default());
        stream.push(frame(0, 1, true, 0, 10, 0));
        stream.clear();
        let mut cursor = Cursor::join(&stream, Tick(1));
        assert_eq!(sent(&mut cursor, &stream, 1), [] as [u32; 0]);
        assert_eq!((stream.bytes(), stream.cache(Tick(1))), (0, Cache::Empty));
        assert!(!stream.push(frame(1, 1, false, 0, 10, 2)), "a delta of the forgotten group");
    }

    #[test]
    fn requests_are_coalesced_and_spaced() {
        let mut requests = KeyFrameRequests::new(limits::KEY_FRAME_SPACING);
        assert!(requests.want(0, Tick(0)));
        for at in 1..300 {
            assert!(!requests.want(0, Tick(at)));
        }
        assert_eq!(requests.on_deadline(Tick(299)), None);
        assert_eq!(requests.on_deadline(Tick(300)), Some(0));
        assert_eq!(requests.next_deadline(), None);
        assert!(!requests.want(0, Tick(400)));
        requests.served(0);
        assert_eq!(requests.next_deadline(), None);
    }

    /// A publisher and a viewer that looks now and then.
    #[derive(Debug, Clone)]
    enum Move {
        Key(usize),
        Delta(u8, usize),
        Pause,
        Look(u8),
        Ack,
    }

    fn moves() -> impl Strategy<Value = Vec<(u64, Move)>> {
        let step = prop_oneof![
            1 => (1usize..600_000).prop_map(Move::Key),
            8 => (0u8..3, 1usize..200_000).prop_map(|(layer, size)| Move::Delta(layer, size)),
            1 => Just(Move::Pause),
            6 => (1u8..20).prop_map(Move::Look),
            2 => Just(Move::Ack),
        ];
        proptest::collection::vec((0u64..400, step), 1..200)
    }

    proptest! {
        /// Law 3: never a delta before a key frame, nor anything after a gap but a key frame; gaps inside
        /// a group are higher layers only; and memory stays inside its bounds.
        #[test]
        fn a_viewer_never_gets_what_it_cannot_decode(moves in moves()) {
            let mut stream = Stream::new(Arc::default());
            let mut cursor = Cursor::join(&stream, Tick(0));
            let (mut now, mut sequence, mut group, mut keyed) = (0, 0u32, 0u32, false);
            let mut all: Vec<Frame> = Vec::new();
            let mut last: Option<usize> = None;
            for (wait, step) in moves {
                now += wait;
                match step {
                    Move::Key(size) => {
                        group += 1;
                        keyed = true;
                        let f = frame(sequence, group, true, 0, size, now);
                        stream.push(f.clone());
                        all.push(f);
                        sequence += 1;
                    }
                    Move::Delta(layer, size) if keyed => {
                        let f = frame(sequence, group, false, layer, size, now);
                        stream.push(f.clone());
                        all.push(f);
                        sequence += 1;
                    }
                    Move::Delta(..) => {}
                    Move::Pause => { stream.clear(); keyed = false; }
                    Move::Look(count) => for _ in 0..count {
                        let Step::Send(got) = cursor.next(&stream, Tick(now)) else { break };
                        let at = got.header.sequence as usize;
                        if let Some(last) = last {
                            prop_assert!(at > last, "order");
                        }
                        if !got.header.is_key() {
                            let last = last.expect("a delta before any key frame");
                            prop_assert_eq!(all[last].header.group, got.header.group);
                            for skipped in &all[last + 1..at] {
                                prop_assert!(skipped.header.layer > 0, "a base frame is missing");
                            }
                            // Up only at a base frame: a frame of layer n follows the newest base frame
                            // with nothing of its own or a lower layer missing in between.
                            let base = all[..at].iter().rposition(|f| f.header.layer == 0).unwrap();
                            for skipped in &all[base.max(last) + 1..at] {
                                if base >= last {
                                    prop_assert!(got.header.layer == 0 || skipped.header.layer > 0);
                                }
                            }
                        }
                        last = Some(at);
                    },
                    Move::Ack => if let Some(last) = last { cursor.ack(all[last].header.sequence, Tick(now)) },
                }
                let newest = all.last().map_or(0, |f| f.bytes.len());
                prop_assert!(stream.bytes() <= limits::CACHE_BYTES + limits::OUTBOX_BYTES + newest);
            }
        }
    }

    const _: () = {
        assert!(limits::SHED_BYTES < limits::OUTBOX_BYTES && limits::OUTBOX_BYTES < limits::CACHE_BYTES);
        assert!(limits::FRAME < limits::CACHE_BYTES);
        assert!(limits::SHED_AGE.as_millis() < limits::OUTBOX_AGE.as_millis());
        assert!(limits::OUTBOX_AGE.as_millis() < limits::CACHE_SPAN.as_millis());
        assert!(
            ACK_SHED.as_millis() < ACK_LOST.as_millis() && ACK_LOST.as_millis() < limits::STUCK.as_millis()
        );
        assert!(limits::DOM_LATE.as_millis() < limits::STUCK.as_millis());
    };
}
