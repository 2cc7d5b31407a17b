//! Pictures of the screen, on a thread of their own: what is shown is compared, encoded as JPEG and framed.
//!
//! Decides when a picture is taken, whether it is worth sending, how sharp it is and how it is numbered. Does not decide
//! where it goes: each connection brings a queue of one frame, and while that is full no picture is taken. A screen that
//! stands still sends nothing, after one last picture that is sharper than those of a moving one.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut as _, Bytes, BytesMut};
use jpeg_encoder::{ColorType, Encoder};
use tokio::sync::mpsc as queue;

use super::pace::{Feedback, Pace};
use super::platform::{Picture, PlatformError, Screen};
use crate::clock::{Clock, Tick};
use crate::limits;
use crate::wire::frame::{FrameHeader, FrameType, HEADER, flag};

/// What the camera is told.
#[derive(Debug)]
pub(super) enum Order {
    /// A connection takes frames from now on; the first of them is a new picture.
    Send(queue::Sender<Bytes>),
    /// Nobody takes frames, or the guest pauses.
    Rest,
    /// Somebody needs a picture, though nothing has changed.
    Again,
    /// What viewers take.
    Heard(Feedback),
}

/// The camera's handle. It stops when this is dropped.
#[derive(Debug)]
pub(super) struct Camera {
    orders: mpsc::Sender<Order>,
    failed: queue::Receiver<PlatformError>,
}

impl Camera {
    /// Begins to look at a screen, and sends nothing yet.
    pub(super) fn start(screen: Box<dyn Screen>, clock: Clock) -> std::io::Result<Self> {
        let (orders, told) = mpsc::channel();
        let (failing, failed) = queue::channel(1);
        std::thread::Builder::new().name("camera".into()).spawn(move || {
            let pace = Pace::new(clock.tick());
            let film = Film { screen, clock, pace, last: None, sharp: false, sequence: 0, group: 0 };
            if let Err(error) = film.run(&told) {
                // Whoever dropped the handle does not want to know.
                let _unheard = failing.blocking_send(error);
            }
        })?;
        Ok(Self { orders, failed })
    }

    /// Tells it something. A camera that failed says so in [`Self::failed`].
    pub(super) fn tell(&self, order: Order) {
        let _failed = self.orders.send(order);
    }

    /// Waits until it can see the screen no longer; for ever, if that does not happen.
    pub(super) async fn failed(&mut self) -> PlatformError {
        match self.failed.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }
}

struct Film {
    screen: Box<dyn Screen>,
    clock: Clock,
    pace: Pace,
    /// What was sent last, and since when the screen shows that.
    last: Option<(Picture, Tick)>,
    /// It was sent as sharp as it gets.
    sharp: bool,
    sequence: u32,
    group: u32,
}

impl Film {
    fn run(mut self, told: &mpsc::Receiver<Order>) -> Result<(), PlatformError> {
        let mut to: Option<queue::Sender<Bytes>> = None;
        let (mut again, mut rest) = (false, Duration::ZERO);
        loop {
            let order = match &to {
                Some(_) => told.recv_timeout(rest),
                None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(Order::Send(sender)) => (to, again, rest) = (Some(sender), true, Duration::ZERO),
                Ok(Order::Rest) => to = None,
                Ok(Order::Again) => (again, rest) = (true, limits::GUEST_PICTURE_EVERY),
                Ok(Order::Heard(feedback)) => self.pace.heard(feedback, self.clock.tick()),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    let Some(sender) = &to else { continue };
                    rest = match self.shoot(again)? {
                        None => limits::GUEST_PICTURE_EVERY,
                        Some(frame) => {
                            again = false;
                            let rest = self.pace.rest(frame.len());
                            if !self.hands_over(sender, frame) {
                                to = None;
                            }
                            rest
                        }
                    };
                }
            }
        }
    }

    /// False when the connection is gone. A queue that is still full tells that the line is.
    fn hands_over(&mut self, to: &queue::Sender<Bytes>, frame: Bytes) -> bool {
        match to.try_send(frame) {
            Ok(()) => {
                self.pace.quiet(self.clock.tick());
                true
            }
            Err(queue::error::TrySendError::Full(frame)) => {
                self.pace.congested(self.clock.tick());
                to.blocking_send(frame).is_ok()
            }
            Err(queue::error::TrySendError::Closed(_)) => false,
        }
    }

    /// The next frame, if there is anything to send.
    fn shoot(&mut self, again: bool) -> Result<Option<Bytes>, PlatformError> {
        let now = self.clock.tick();
        let picture = self.screen.picture()?;
        let stands = self.last.as_ref().filter(|(last, _)| *last == picture).map(|(_, since)| *since);
        let still = stands.is_some_and(|since| now.since(since) >= limits::GUEST_STILL);
        if stands.is_some() && !again && (!still || self.sharp) {
            return Ok(None);
        }
        let frame = self.frame(&picture, still)?;
        self.sharp = still;
        self.last = Some((picture, stands.unwrap_or(now)));
        Ok(Some(frame))
    }

    fn frame(&mut self, picture: &Picture, still: bool) -> Result<Bytes, PlatformError> {
        let quality = if still { limits::GUEST_QUALITY_STILL } else { limits::GUEST_QUALITY };
        let (width, height, image) = fitting(picture, quality, limits::FRAME - HEADER)?;
        self.group = self.group.wrapping_add(1);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let header = FrameHeader {
            kind: FrameType::Image,
            flags: if still { flag::KEY | flag::LAST } else { flag::KEY },
            layer: 0,
            stream: 0,
            sequence: self.sequence,
            group: self.group,
            captured_us: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
            width,
            height,
            config_len: 0,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut frame = BytesMut::with_capacity(HEADER + image.len());
        header.encode(&mut frame);
        frame.put_slice(&image);
        Ok(frame.freeze())
    }
}

/// A JPEG that has so much room, and its size: at this quality, else at the lowest, else of half the width and height until
/// it fits.
fn fitting(picture: &Picture, quality: u8, room: usize) -> Result<(u16, u16, Vec<u8>), PlatformError> {
    let mut smaller = None;
    let mut quality = quality;
    loop {
        let picture = smaller.as_ref().unwrap_or(picture);
        let image = jpeg(picture, quality)?;
        if image.len() <= room || picture.width.max(picture.height) == 1 {
            return Ok((picture.width, picture.height, image));
        }
        if quality > limits::GUEST_QUALITY_LOW {
            quality = limits::GUEST_QUALITY_LOW;
        } else {
            smaller = Some(picture.halved());
        }
    }
}

fn jpeg(picture: &Picture, quality: u8) -> Result<Vec<u8>, PlatformError> {
    let mut image = Vec::new();
    Encoder::new(&mut image, quality)
        .encode(&picture.bytes, picture.width, picture.height, ColorType::Bgra)
        .map_err(|error| PlatformError::by("the picture cannot be encoded", error))?;
    Ok(image)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::wire::frame;

    /// A screen of one colour, which a test paints; it breaks when there is none.
    #[derive(Debug, Clone, Default)]
    struct Wall(Arc<Mutex<Option<u8>>>);

    impl Screen for Wall {
        fn picture(&mut self) -> Result<Picture, PlatformError> {
            let colour = self.0.lock().ok_or(PlatformError::new("the wall is down"))?;
            Ok(Picture { width: 16, height: 8, bytes: vec![colour; 16 * 8 * 4] })
        }
    }

    async fn next(frames: &mut queue::Receiver<Bytes>) -> frame::FrameHeader {
        let frame = tokio::time::timeout(Duration::from_secs(30), frames.recv()).await;
        let frame = frame.expect("a frame in time").expect("the camera goes on");
        let header = frame::parse(&frame).unwrap();
        assert_eq!(&frame[HEADER..HEADER + 3], [0xff, 0xd8, 0xff], "a JPEG");
        header
    }

    #[test]
    fn what_is_too_large_for_a_frame_is_shown_coarser_and_then_smaller() {
        // Noise, which no encoder makes small.
        let mut noise = 1_u32;
        let mut next = || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        };
        let bytes = (0..601 * 403 * 4).map(|_| next()).collect();
        let picture = Picture { width: 601, height: 403, bytes };
        let whole = fitting(&picture, limits::GUEST_QUALITY, usize::MAX).unwrap();
        let coarse = fitting(&picture, limits::GUEST_QUALITY, whole.2.len() - 1).unwrap();
        let half = fitting(&picture, limits::GUEST_QUALITY, coarse.2.len() - 1).unwrap();
        let size = |(width, height, _): &(u16, u16, Vec<u8>)| (*width, *height);
        assert_eq!([size(&whole), size(&coarse), size(&half)], [(601, 403), (601, 403), (301, 202)]);
        let tiny = fitting(&picture, limits::GUEST_QUALITY, 1_500).unwrap();
        assert!(tiny.2.len() <= 1_500 && tiny.0 > 1, "{:?}", size(&tiny));
        // Four pixels become one; at an odd edge two do, or one.
        let bytes = [0, 40, 80].into_iter().flat_map(|grey| [grey; 4]).collect();
        let halved = Picture { width: 3, height: 1, bytes }.halved();
        assert_eq!((halved.width, halved.height, halved.bytes), (2, 1, [[20; 4], [80; 4]].concat()));
    }

    #[tokio::test]
    async fn what_changes_is_sent_and_what_stands_still_once_more() {
        let wall = Wall(Arc::new(Mutex::new(Some(7))));
        let mut camera = Camera::start(Box::new(wall.clone()), Clock::start()).unwrap();
        let (sender, mut frames) = queue::channel(1);
        camera.tell(Order::Send(sender));
        let first = next(&mut frames).await;
        assert!(first.is_key() && (first.width, first.height, first.sequence) == (16, 8, 0));
        let still = next(&mut frames).await;
        assert!(still.flags & flag::LAST != 0 && still.group > first.group);
        // Nothing more but what is asked for, and what changes.
        camera.tell(Order::Again);
        assert_eq!(next(&mut frames).await.sequence, 2);
        *wall.0.lock() = Some(200);
        let moved = next(&mut frames).await;
        assert_eq!((moved.sequence, moved.flags), (3, flag::KEY));
        // Another connection goes on counting, and begins with a picture.
        let (sender, mut frames) = queue::channel(1);
        camera.tell(Order::Send(sender));
        assert!(next(&mut frames).await.sequence >= 4);
        *wall.0.lock() = None;
        let failed = tokio::time::timeout(Duration::from_secs(30), camera.failed()).await.unwrap();
        assert_eq!(failed.to_string(), "the wall is down");
    }
}
