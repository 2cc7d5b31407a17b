//! Frames through the pub/sub of Redis, on connections that carry nothing else.
//!
//! A channel of a shard for each session, heard by the nodes with viewers of it and only as long as they have any, so
//! that no server of a cluster but the one that the channel is on has to do with it. Frames may be lost: on the way,
//! while Redis is away, or here, where more wait than may. Their numbers tell, and [`Heard::Open`] tells that some may
//! be. A session whose server is slow or away keeps those of others waiting for nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dashmap::DashMap;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use redis::Pipeline;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::super::{FarFrame, FrameSink, Heard, Hearing};
use crate::ids::SessionId;
use crate::limits::{self, Most};
use crate::redis::{Link, Shards, Told};
use crate::telemetry::Listener;
use crate::wire::frame;

/// The frames of a node, both ways. The tasks do not outlive this.
pub(super) struct Frames {
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

struct Shared {
    link: Link,
    /// How many frames of others may wait.
    most: Most,
    out: Mutex<HashMap<SessionId, Waiting>>,
    work: Notify,
    ears: DashMap<SessionId, Vec<(u64, Arc<FrameSink>)>>,
    next: AtomicU64,
    /// Other sessions are heard.
    changed: Notify,
}

/// Frames of one session that wait to be sent.
#[derive(Default)]
struct Waiting {
    frames: VecDeque<FarFrame>,
    bytes: usize,
}

impl Waiting {
    /// Adds a frame. Where there is no room the oldest go, up to the next key frame: what lies between would be of
    /// no use to anybody.
    fn push(&mut self, frame: FarFrame) {
        self.bytes += frame.bytes.len();
        self.frames.push_back(frame);
        while self.frames.len() > limits::FAR_FRAMES.0 || self.bytes > limits::FAR_FRAMES.1 {
            self.pop();
            while self.frames.front().is_some_and(|frame| !is_key(frame)) {
                self.pop();
            }
        }
    }

    fn pop(&mut self) -> Option<FarFrame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.bytes.len();
        Some(frame)
    }
}

fn is_key(frame: &FarFrame) -> bool {
    frame::parse(&frame.bytes).is_ok_and(|header| header.is_key())
}

fn channel(session: SessionId) -> String {
    format!("pl:frames:{session}")
}

/// A frame as it travels: term and number, then the frame.
fn packed(frame: &FarFrame) -> Vec<u8> {
    let mut packed = Vec::with_capacity(16 + frame.bytes.len());
    packed.extend(frame.term.to_be_bytes());
    packed.extend(frame.number.to_be_bytes());
    packed.extend_from_slice(&frame.bytes);
    packed
}

fn unpacked(bytes: &[u8]) -> Option<FarFrame> {
    let (term, rest) = bytes.split_first_chunk()?;
    let (number, frame) = rest.split_first_chunk()?;
    let (term, number) = (u64::from_be_bytes(*term), u64::from_be_bytes(*number));
    Some(FarFrame { term, number, bytes: Bytes::copy_from_slice(frame) })
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A sink that hears.
struct Listening(Arc<Shared>, SessionId, u64);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.ears.remove_if_mut(&self.1, |_, ears| {
            ears.retain(|(id, _)| *id != self.2);
            ears.is_empty()
        });
        self.0.changed.notify_one();
    }
}

impl Frames {
    pub(super) fn start(link: Link, most: Most) -> Self {
        let shared = Arc::new(Shared {
            link,
            most,
            out: Mutex::default(),
            work: Notify::new(),
            ears: DashMap::new(),
            next: AtomicU64::new(0),
            changed: Notify::new(),
        });
        let tasks = [tokio::spawn(write(Arc::clone(&shared))), tokio::spawn(listen(Arc::clone(&shared)))];
        Self { shared, tasks }
    }

    pub(super) fn send(&self, session: SessionId, frame: FarFrame) {
        self.shared.out.lock().entry(session).or_default().push(frame);
        self.shared.work.notify_one();
    }

    pub(super) fn hear(&self, session: SessionId, sink: Arc<FrameSink>) -> Hearing {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        self.shared.ears.entry(session).or_default().push((id, sink));
        self.shared.changed.notify_one();
        Hearing::new(Listening(Arc::clone(&self.shared), session, id))
    }
}

/// Sends what waits, of each session at once, and of one after the other.
async fn write(shared: Arc<Shared>) {
    let (mut sending, mut busy) = (FuturesUnordered::new(), HashSet::new());
    loop {
        for (session, frames) in shared.take(&busy) {
            busy.insert(session);
            let link = &shared.link;
            sending.push(async move { (session, link.ask_all::<()>(&frames).await) });
        }
        tokio::select! {
            () = shared.work.notified() => {}
            Some((session, sent)) = sending.next() => {
                busy.remove(&session);
                if let Err(error) = sent {
                    tracing::debug!(%error, %session, "frames for other nodes are lost");
                }
            }
        }
    }
}

/// The listening task's life.
async fn listen(shared: Arc<Shared>) {
    loop {
        // Nobody listens where nothing is to be heard.
        while shared.ears.is_empty() {
            shared.changed.notified().await;
        }
        let mut shards = shared.link.shards(Listener::Frames, shared.most);
        let mut channels = HashMap::new();
        let mut is_wanted = shared.follow(&shards, &mut channels);
        while is_wanted {
            tokio::select! {
                told = shards.next() => shared.hear(told, &mut channels),
                () = shared.changed.notified() => is_wanted = shared.follow(&shards, &mut channels),
            }
        }
    }
}

/// A session's channel.
struct Channel {
    session: SessionId,
    is_open: bool,
    /// The newest sink that was told that it hears.
    told: u64,
}

impl Shared {
    /// What is to be sent of sessions of which nothing is being sent.
    fn take(&self, busy: &HashSet<SessionId>) -> Vec<(SessionId, Pipeline)> {
        let mut taken = Vec::new();
        self.out.lock().retain(|session, waiting| {
            if busy.contains(session) {
                return true;
            }
            let (channel, mut frames) = (channel(*session), redis::pipe());
            while let Some(frame) = waiting.pop() {
                frames.cmd("SPUBLISH").arg(&channel).arg(packed(&frame)).ignore();
            }
            taken.push((*session, frames));
            false
        });
        taken
    }

    fn hear(&self, told: Told, channels: &mut HashMap<String, Channel>) {
        match told {
            Told::Said(said) => {
                if let Some(Channel { session, .. }) = channels.get(said.channel())
                    && let Some(frame) = unpacked(said.payload())
                {
                    self.tell(*session, 0, &Heard::Frame(frame));
                }
            }
            Told::Missed => {
                for channel in channels.values().filter(|channel| channel.is_open) {
                    self.tell(channel.session, 0, &Heard::Open);
                }
            }
            Told::Open(name) => {
                if let Some(channel) = channels.get_mut(&name) {
                    (channel.is_open, channel.told) = (true, 0);
                    self.open(channel);
                }
            }
            Told::Closed(name) => {
                if let Some(channel) = channels.get_mut(&name) {
                    channel.is_open = false;
                }
            }
        }
    }

    /// Tells the sinks of a channel that they hear, unless they were told.
    fn open(&self, channel: &mut Channel) {
        if let Some(newest) = self.tell(channel.session, channel.told, &Heard::Open) {
            channel.told = newest + 1;
        }
    }

    /// Tells the sinks of a session from this one on; returns the newest.
    fn tell(&self, session: SessionId, from: u64, heard: &Heard) -> Option<u64> {
        let sinks: Vec<_> = {
            let ears = self.ears.get(&session)?;
            ears.iter().filter(|(id, _)| *id >= from).cloned().collect()
        };
        sinks.iter().for_each(|(_, sink)| sink(heard.clone()));
        sinks.iter().map(|(id, _)| *id).max()
    }

    /// Follows what is to be heard by now, and no longer what is not. False when nothing is.
    fn follow(&self, shards: &Shards, channels: &mut HashMap<String, Channel>) -> bool {
        let wanted: HashMap<String, SessionId> =
            self.ears.iter().map(|ears| (channel(*ears.key()), *ears.key())).collect();
        channels.retain(|name, _| {
            let is_wanted = wanted.contains_key(name);
            if !is_wanted {
                shards.leave(name);
            }
            is_wanted
        });
        for (name, session) in wanted {
            let channel = channels.entry(name).or_insert_with_key(|name| {
                shards.follow(name);
                Channel { session, is_open: false, told: 0 }
            });
            if channel.is_open {
                self.open(channel);
            }
        }
        !channels.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{FrameHeader, FrameType, flag};

    fn frame(number: u64, key: bool) -> FarFrame {
        let header = FrameHeader {
            kind: FrameType::Image,
            flags: if key { flag::KEY } else { 0 },
            layer: 0,
            stream: 0,
            sequence: number as u32,
            group: 1,
            captured_us: 0,
            width: 1,
            height: 1,
            config_len: 0,
        };
        let mut bytes = bytes::BytesMut::new();
        header.encode(&mut bytes);
        FarFrame { term: 3, number, bytes: bytes.freeze() }
    }

    #[test]
    fn frames_travel_and_return() {
        let frame = frame(7, true);
        assert_eq!(unpacked(&packed(&frame)), Some(frame));
        assert_eq!(unpacked(b"short"), None);
    }

    #[test]
    fn without_room_the_oldest_go_up_to_the_next_key_frame() {
        let mut waiting = Waiting::default();
        for number in 0..limits::FAR_FRAMES.0 as u64 {
            waiting.push(frame(number, number == 0 || number == 50));
        }
        assert_eq!(waiting.frames.len(), limits::FAR_FRAMES.0);
        waiting.push(frame(1_000, false));
        assert_eq!(waiting.frames.front().map(|frame| frame.number), Some(50));
        for number in 0..200 {
            waiting.push(frame(2_000 + number, false));
        }
        assert!(waiting.frames.len() <= limits::FAR_FRAMES.0);
        while waiting.pop().is_some() {}
        assert_eq!(waiting.bytes, 0);
    }
}
