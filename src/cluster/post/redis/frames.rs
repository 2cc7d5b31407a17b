//! Frames through the pub/sub of Redis, on connections that carry nothing else.
//!
//! A channel for each session, heard by the nodes with viewers of it. Frames may be lost: on the way, while Redis
//! is away, or here, where more wait than may. Their numbers tell, and [`Heard::Open`] tells that some may be.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use parking_lot::Mutex;
use redis::{ErrorKind, RedisError, cmd};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::super::{FarFrame, FrameSink, Heard, Hearing};
use crate::auth::random;
use crate::ids::SessionId;
use crate::limits::{self, Most};
use crate::redis::{Ear, Heard as Word, Link, within};
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

async fn write(shared: Arc<Shared>) {
    let mut pause = limits::REDIS_RECONNECT.0;
    loop {
        if let Err(error) = write_once(&shared, &mut pause).await {
            tracing::debug!(%error, "frames for other nodes are lost");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::REDIS_RECONNECT.1);
    }
}

async fn write_once(shared: &Shared, pause: &mut Duration) -> Result<(), RedisError> {
    // Any member of a cluster publishes to all of it.
    let mut connection = shared.link.own("pl:frames").await?;
    *pause = limits::REDIS_RECONNECT.0;
    loop {
        let mut sending = redis::pipe();
        {
            let mut out = shared.out.lock();
            for (session, waiting) in out.iter_mut() {
                let channel = channel(*session);
                while let Some(frame) = waiting.pop() {
                    sending.cmd("PUBLISH").arg(&channel).arg(packed(&frame)).ignore();
                }
            }
            out.clear();
        }
        if sending.is_empty() {
            shared.work.notified().await;
            continue;
        }
        let () = within(limits::REDIS_ANSWER, sending.query_async(&mut connection)).await?;
    }
}

/// The listening task's life: one connection after the other.
async fn listen(shared: Arc<Shared>) {
    let mut pause = limits::REDIS_RECONNECT.0;
    loop {
        // Nobody listens where nothing is to be heard.
        while shared.ears.is_empty() {
            shared.changed.notified().await;
        }
        if let Err(error) = listen_once(&shared, &mut pause).await {
            tracing::debug!(%error, "frames of other nodes are not heard");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::REDIS_RECONNECT.1);
    }
}

/// One connection's life; it ends with an error.
async fn listen_once(shared: &Shared, pause: &mut Duration) -> Result<(), RedisError> {
    let mut ear = shared.link.ear(Listener::Frames, shared.most).await?;
    let probe = format!("pl:probe:{:016x}", u64::from_be_bytes(random::bytes()));
    ear.subscribe(&[&probe]).await?;
    // Each session's channel, and the newest sink that was told that it hears.
    let mut channels = HashMap::new();
    follow(shared, &mut ear, &mut channels).await?;
    *pause = limits::REDIS_RECONNECT.0;
    let (mut heard, mut beat) = (Instant::now(), tokio::time::interval(limits::REDIS_PROBE));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            word = ear.next() => {
                let Some(word) = word else { return Err(gone("the connection ended")) };
                heard = Instant::now();
                match word {
                    Word::Said(said) => {
                        if let Some((session, _)) = channels.get(said.channel())
                            && let Some(frame) = unpacked(said.payload())
                        {
                            shared.tell(*session, &Heard::Frame(frame));
                        }
                    }
                    Word::Missed => {
                        for (session, _) in channels.values() {
                            shared.tell(*session, &Heard::Open);
                        }
                    }
                }
            }
            () = shared.changed.notified() => follow(shared, &mut ear, &mut channels).await?,
            _ = beat.tick() => {
                if heard.elapsed() > limits::REDIS_SILENCE {
                    return Err(gone("nothing was heard"));
                }
                let _heard: u64 = shared.link.ask(cmd("PUBLISH").arg(&probe).arg("")).await?;
            }
        }
    }
}

impl Shared {
    /// Tells all sinks of a session.
    fn tell(&self, session: SessionId, heard: &Heard) {
        let ears: Vec<_> = self.sinks(session, 0).into_iter().map(|(_, sink)| sink).collect();
        ears.iter().for_each(|sink| sink(heard.clone()));
    }

    /// The sinks of a session from this one on.
    fn sinks(&self, session: SessionId, from: u64) -> Vec<(u64, Arc<FrameSink>)> {
        let ears = self.ears.get(&session);
        let later =
            |ears: &Vec<(u64, Arc<FrameSink>)>| ears.iter().filter(|(id, _)| *id >= from).cloned().collect();
        ears.map(|ears| later(&ears)).unwrap_or_default()
    }
}

/// Subscribes to what is to be heard by now, and no longer to what is not.
async fn follow(
    shared: &Shared,
    ear: &mut Ear,
    channels: &mut HashMap<String, (SessionId, u64)>,
) -> Result<(), RedisError> {
    let wanted: HashMap<String, SessionId> =
        shared.ears.iter().map(|ears| (channel(*ears.key()), *ears.key())).collect();
    let over: Vec<String> = channels.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
    for name in over {
        ear.unsubscribe(&name).await?;
        channels.remove(&name);
    }
    for (name, session) in wanted {
        if !channels.contains_key(&name) {
            ear.subscribe(&[&name]).await?;
        }
        let (_, told) = channels.entry(name).or_insert((session, 0));
        for (id, sink) in shared.sinks(session, *told) {
            *told = (*told).max(id + 1);
            sink(Heard::Open);
        }
    }
    Ok(())
}

fn gone(why: &'static str) -> RedisError {
    RedisError::from((ErrorKind::Io, why))
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
