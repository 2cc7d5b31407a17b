//! One publisher: frames at a pace, a key frame first and whenever one is asked for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

use crate::cli::load::messages::{self, SessionHears};
use crate::cli::load::pace::Due;
use crate::cli::load::report::Latency;
use crate::cli::load::socket::{Fault, Socket, hear_text, say};
use crate::wire::frame::{self, FrameHeader, FrameType, flag};

use super::SETTLE;
use super::stage::{Attached, Seat};
use super::viewer::Flow;

/// How long the server may take to end a session that its publisher ended.
const ENDING: Duration = Duration::from_secs(5);

/// The config block of key frames.
const CONFIG: &[u8] = br#"{"codec":"vp8","width":1280,"height":720}"#;

/// What decides when the next frame goes.
#[derive(Debug)]
pub(super) enum Pace {
    /// A rate, whatever the viewers do.
    Rate {
        /// When each frame is due.
        ticks: mpsc::Receiver<Due>,
        /// How late frames were sent.
        lag: Arc<Latency>,
    },
    /// As fast as the slowest reading viewer gets them.
    Max {
        /// Frames on their way to it.
        window: u64,
        /// When it is over.
        until: Instant,
    },
}

/// What a publisher did.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) sent: u64,
    pub(super) key_frame_requests: u64,
    /// When the last frame had reached every reading viewer, or patience was over.
    pub(super) settled: Instant,
    /// Why it ended before its time.
    pub(super) fault: Option<Fault>,
}

/// Makes frames of one size: the payload is the same noise each time, which the relay never reads.
#[derive(Debug)]
struct Maker {
    noise: Box<[u8]>,
    sent: u64,
    group: u32,
}

impl Maker {
    fn new(bytes: usize) -> Self {
        // Any bytes do; these are cheap to make and do not compress.
        let mut state = 0x9e37_79b9_u32;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_be_bytes()[0]
        });
        Self { noise: noise.take(bytes).collect(), sent: 0, group: 0 }
    }

    /// The next frame, captured at the given microsecond.
    fn next(&mut self, key: bool, captured_us: u64) -> Bytes {
        if key {
            self.group = self.group.wrapping_add(1);
        }
        let config: &[u8] = if key { CONFIG } else { &[] };
        let header = FrameHeader {
            kind: FrameType::Video,
            flags: if key { flag::KEY | flag::CONFIG } else { 0 },
            layer: 0,
            stream: 0,
            sequence: u32::try_from(self.sent & u64::from(u32::MAX)).expect("masked"),
            group: self.group,
            captured_us,
            width: 1280,
            height: 720,
            config_len: u16::try_from(config.len()).expect("a short constant"),
        };
        let mut frame = BytesMut::with_capacity(self.noise.len());
        header.encode(&mut frame);
        frame.put_slice(config);
        frame.put_slice(&self.noise[frame::HEADER + config.len()..]);
        self.sent += 1;
        frame.freeze()
    }
}

/// Listens until it is told to start, publishes at the pace, waits for the viewers and ends the session; on one
/// connection after the other, where one ends.
pub(super) async fn publish(
    seat: Seat,
    mut attached: Attached,
    frame_bytes: usize,
    start: oneshot::Receiver<Pace>,
    flow: Arc<Flow>,
) -> Published {
    let mut show =
        Show { maker: Maker::new(frame_bytes), requests: 0, start, pace: None, key: true, done: None };
    let fault = loop {
        match show.go_on(&mut attached, &flow).await {
            Ok(()) => break None,
            Err(fault) => match seat.back(&attached, fault).await {
                Ok(back) => {
                    attached = back;
                    show.skip_what_was_due();
                    flow.interrupted.store(true, Ordering::Release);
                }
                Err(fault) => break Some(fault),
            },
        }
    };
    let settled = Instant::now();
    flow.lost.fetch_or(fault.is_some(), Ordering::AcqRel);
    flow.over.store(true, Ordering::Release);
    if fault.is_none() {
        end(&mut attached.socket).await;
    }
    Published { sent: show.maker.sent, key_frame_requests: show.requests, settled, fault }
}

/// What a publisher shows, whichever connection it has.
#[derive(Debug)]
struct Show {
    maker: Maker,
    requests: u64,
    start: oneshot::Receiver<Pace>,
    pace: Option<Pace>,
    /// The next frame is to be a key frame.
    key: bool,
    /// When the last frame was sent.
    done: Option<Instant>,
}

impl Show {
    /// Nothing is captured between two connections; the next frame needs no earlier one.
    fn skip_what_was_due(&mut self) {
        self.key = true;
        if let Some(Pace::Rate { ticks, .. }) = &mut self.pace {
            while ticks.try_recv().is_ok() {}
        }
    }

    /// Shows on one connection, to the end or until the connection ends.
    async fn go_on(&mut self, attached: &mut Attached, flow: &Flow) -> Result<(), Fault> {
        let Self { maker, requests, start, pace, key, done } = self;
        let Attached { socket, told, .. } = attached;
        loop {
            tokio::select! {
                biased;
                heard = hear_text::<SessionHears>(socket) => match heard? {
                    SessionHears::KeyFrameRequest {} => {
                        *requests += 1;
                        *key = true;
                    }
                    SessionHears::Reconnect { after_ms } => *told = Some(Duration::from_millis(after_ms)),
                    SessionHears::Error { code, message } => return Err(Fault::Told { code, message }),
                    SessionHears::Ended { reason } => return Err(Fault::Unexpected(format!("session ended: {reason}"))),
                    _ => {}
                },
                started = &mut *start, if pace.is_none() => match started {
                    Ok(started) => *pace = Some(started),
                    Err(_) => return Ok(()),
                },
                () = settle(maker.sent, *done, flow), if done.is_some() => return Ok(()),
                due = turn(pace, maker.sent, *key, flow), if done.is_none() => match due {
                    Some(due) => {
                        let captured = due.saturating_duration_since(flow.epoch).as_micros();
                        let frame = maker.next(*key, u64::try_from(captured).unwrap_or(u64::MAX));
                        *key = false;
                        socket.send(Message::Binary(frame)).await?;
                    }
                    None => *done = Some(Instant::now()),
                },
            }
        }
    }
}

/// When the next frame is due, once it may go; none when it was the last.
async fn turn(pace: &mut Option<Pace>, sent: u64, key: bool, flow: &Flow) -> Option<Instant> {
    match pace {
        None => std::future::pending().await,
        Some(Pace::Rate { ticks, lag }) => {
            let due = ticks.recv().await?;
            lag.since(due.at);
            Some(due.at)
        }
        Some(Pace::Max { window, until }) => loop {
            let now = Instant::now();
            if now >= *until {
                return None;
            }
            // A key frame that was asked for goes out at once: a viewer that lost its place needs it to
            // move on at all.
            if key || sent.saturating_sub(flow.slowest()) < *window {
                return Some(now);
            }
            // Time out at the end, whatever the viewers do.
            let _ = tokio::time::timeout_at((*until).into(), flow.moved.notified()).await;
        },
    }
}

/// Waits until every reading viewer has the last frame, but not for ever.
async fn settle(sent: u64, since: Option<Instant>, flow: &Flow) {
    let deadline = since.unwrap_or_else(Instant::now) + SETTLE;
    while flow.slowest() < sent {
        if tokio::time::timeout_at(deadline.into(), flow.moved.notified()).await.is_err() {
            return;
        }
    }
}

/// Ends the session and waits for the server to say so.
async fn end(socket: &mut Socket) {
    let ended = async {
        say(socket, messages::bare("end")).await?;
        loop {
            hear_text::<SessionHears>(socket).await?;
        }
    };
    // Closed is what should happen; a server that does not close shows in the viewers' report.
    let _: Result<Result<std::convert::Infallible, Fault>, _> = tokio::time::timeout(ENDING, ended).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_of_one_size_and_in_order() {
        let mut maker = Maker::new(300);
        let frames: Vec<_> = [true, false, true].map(|key| maker.next(key, 7)).into();
        let headers: Vec<_> = frames.iter().map(|frame| frame::parse(frame).unwrap()).collect();
        assert!(frames.iter().all(|frame| frame.len() == 300));
        assert_eq!(headers.iter().map(|header| header.sequence).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(headers.iter().map(|header| header.group).collect::<Vec<_>>(), [1, 1, 2]);
        assert_eq!(headers.iter().map(FrameHeader::is_key).collect::<Vec<_>>(), [true, false, true]);
    }
}
