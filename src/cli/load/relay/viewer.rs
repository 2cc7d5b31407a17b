//! One viewer: reads, counts, times and acknowledges frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use crate::cli::load::messages::{self, SessionHears};
use crate::cli::load::report::{Latency, Tally};
use crate::cli::load::socket::{Fault, Heard, Socket, hear, say};
use crate::wire::frame;

/// How far each reading viewer of a session has come; the publisher waits on it.
#[derive(Debug)]
pub(super) struct Flow {
    /// What capture times count from.
    pub(super) epoch: Instant,
    /// For each reading viewer the number of the frame it expects next.
    next: Box<[AtomicU64]>,
    /// Somebody has moved.
    pub(super) moved: Notify,
    /// The publisher has ended the session.
    pub(super) over: AtomicBool,
}

impl Flow {
    pub(super) fn new(viewers: usize) -> Self {
        Self {
            epoch: Instant::now(),
            next: (0..viewers).map(|_| AtomicU64::new(0)).collect(),
            moved: Notify::new(),
            over: AtomicBool::new(false),
        }
    }

    /// What the slowest reading viewer expects next; those that are gone hold nobody up.
    pub(super) fn slowest(&self) -> u64 {
        self.next.iter().map(|next| next.load(Ordering::Acquire)).min().unwrap_or(u64::MAX)
    }

    fn reach(&self, viewer: usize, next: u64) {
        self.next[viewer].store(next, Ordering::Release);
        self.moved.notify_one();
    }
}

/// What one viewer has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) session: usize,
    pub(super) viewer: usize,
    /// Frames in order.
    pub(super) frames: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Frames that came after a later one, or twice, or that were none.
    pub(super) disordered: AtomicU64,
    pub(super) lagging: AtomicU64,
    pub(super) latency: Latency,
}

/// Reads until the session ends.
pub(super) async fn view(
    mut socket: Socket,
    seen: Arc<Seen>,
    flow: Arc<Flow>,
    every: Duration,
    errors: Arc<Tally>,
) {
    let mut acks = tokio::time::interval(every);
    acks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut next, mut acked) = (0, 0);
    let fault = loop {
        tokio::select! {
            biased;
            heard = hear::<SessionHears>(&mut socket) => match heard {
                Ok(Heard::Frame(frame)) => {
                    next = seen.take(&frame, next, &flow);
                    flow.reach(seen.viewer, next);
                }
                Ok(Heard::Text(SessionHears::Lagging {})) => {
                    seen.lagging.fetch_add(1, Ordering::AcqRel);
                }
                Ok(Heard::Text(SessionHears::Error { code, .. })) => errors.add(format!("viewer: error {code}")),
                Ok(Heard::Text(_)) => {}
                Err(fault) => break fault,
            },
            _ = acks.tick(), if next != acked => {
                acked = next;
                let last = u32::try_from((next - 1) & u64::from(u32::MAX)).expect("masked");
                if let Err(fault) = say(&mut socket, messages::ack(last)).await {
                    break fault;
                }
            }
        }
    };
    flow.reach(seen.viewer, u64::MAX);
    let ended = matches!(fault, Fault::Closed { code: 1000 | 4409, .. } | Fault::Lost);
    if !(ended && flow.over.load(Ordering::Acquire)) {
        errors.add(format!("viewer: {}", fault.cause()));
    }
}

impl Seen {
    /// Counts a frame and returns the number expected next.
    fn take(&self, bytes: &[u8], next: u64, flow: &Flow) -> u64 {
        let header = match frame::parse(bytes) {
            Ok(header) if u64::from(header.sequence) >= next => header,
            _ => {
                self.disordered.fetch_add(1, Ordering::AcqRel);
                return next;
            }
        };
        let captured = flow.epoch + Duration::from_micros(header.captured_us);
        self.latency.since(captured);
        self.frames.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(u64::try_from(bytes.len()).expect("a length"), Ordering::AcqRel);
        u64::from(header.sequence) + 1
    }
}
