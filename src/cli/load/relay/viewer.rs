//! One viewer: reads, counts, times and acknowledges frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use crate::cli::load::messages::{self, SessionHears};
use crate::cli::load::report::{Latency, Tally};
use crate::cli::load::socket::{Fault, Heard, hear, say};
use crate::wire::frame;

use super::stage::{Attached, Seat};

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
    /// A participant came back to the session on a new connection.
    pub(super) interrupted: AtomicBool,
    /// A participant could not come back, or was told that the session is over before it was.
    pub(super) lost: AtomicBool,
}

impl Flow {
    pub(super) fn new(viewers: usize) -> Self {
        Self {
            epoch: Instant::now(),
            next: (0..viewers).map(|_| AtomicU64::new(0)).collect(),
            moved: Notify::new(),
            over: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            lost: AtomicBool::new(false),
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
    /// Times at which frames were missing, and those among them that no key frame closed.
    pub(super) gaps: AtomicU64,
    pub(super) broken: AtomicU64,
    /// The number of the frame that it expects next.
    pub(super) next: AtomicU64,
    /// Came back, and got nothing new since: what it is shown first it may have seen.
    pub(super) again: AtomicBool,
    pub(super) latency: Latency,
}

/// Reads until the session ends, on one connection after the other.
pub(super) async fn view(
    seat: Seat,
    mut attached: Attached,
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
            heard = hear::<SessionHears>(&mut attached.socket) => match heard {
                Ok(Heard::Frame(frame)) => {
                    next = seen.take(&frame, next, &flow);
                    flow.reach(seen.viewer, next);
                }
                Ok(Heard::Text(SessionHears::Lagging {})) => {
                    seen.lagging.fetch_add(1, Ordering::AcqRel);
                }
                Ok(Heard::Text(SessionHears::Error { code, .. })) => errors.add(format!("viewer: error {code}")),
                Ok(Heard::Text(SessionHears::Reconnect { after_ms })) => {
                    attached.told = Some(Duration::from_millis(after_ms));
                }
                Ok(Heard::Text(_)) => {}
                Err(fault) if flow.over.load(Ordering::Acquire) => break fault,
                Err(fault) => match seat.back(&attached, fault).await {
                    Ok(back) => {
                        attached = back;
                        seen.again.store(true, Ordering::Release);
                        flow.interrupted.store(true, Ordering::Release);
                    }
                    Err(fault) => break fault,
                },
            },
            _ = acks.tick(), if next != acked => {
                acked = next;
                let last = u32::try_from((next - 1) & u64::from(u32::MAX)).expect("masked");
                if let Err(fault) = say(&mut attached.socket, messages::ack(last)).await {
                    // Reading tells why, after what came before.
                    tracing::debug!(%fault, "an acknowledgement could not be sent");
                }
            }
        }
    };
    flow.reach(seen.viewer, u64::MAX);
    let ended = matches!(fault, Fault::Closed { code: 1000 | 4409, .. } | Fault::Lost);
    if !(ended && flow.over.load(Ordering::Acquire)) {
        flow.lost.store(true, Ordering::Release);
        errors.add(format!("viewer: {}", fault.cause()));
    }
}

impl Seen {
    /// Counts a frame and returns the number expected next.
    fn take(&self, bytes: &[u8], next: u64, flow: &Flow) -> u64 {
        let header = match frame::parse(bytes) {
            Ok(header) if u64::from(header.sequence) >= next => header,
            Ok(_) if self.again.load(Ordering::Acquire) => return next,
            _ => {
                self.disordered.fetch_add(1, Ordering::AcqRel);
                return next;
            }
        };
        self.again.store(false, Ordering::Release);
        if u64::from(header.sequence) > next {
            self.gaps.fetch_add(1, Ordering::AcqRel);
            if !header.is_key() {
                self.broken.fetch_add(1, Ordering::AcqRel);
            }
        }
        let captured = flow.epoch + Duration::from_micros(header.captured_us);
        self.latency.since(captured);
        self.frames.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(u64::try_from(bytes.len()).expect("a length"), Ordering::AcqRel);
        self.next.store(u64::from(header.sequence) + 1, Ordering::Release);
        u64::from(header.sequence) + 1
    }
}
