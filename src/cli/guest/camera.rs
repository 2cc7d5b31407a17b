//! Pictures of the screen, on a thread of their own: what changed is encoded as JPEG and framed.
//!
//! Decides when a picture is taken, how sharp it is and how it is numbered. Does not decide what of it is worth sending
//! (`shown.rs`), nor where it goes: each connection brings a queue of one frame, and while that is full no picture is taken. A
//! key frame is a whole image; what follows it are tiles of what changed, and of what stands still, sharper. A screen that
//! stands still sends nothing.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut as _, Bytes, BytesMut};
use jpeg_encoder::{ColorType, Encoder};
use tokio::sync::mpsc as queue;

use super::pace::{Feedback, Pace};
use super::platform::{Area, Picture, PlatformError, Screen};
use super::shown::{Next, Shown};
use crate::clock::Clock;
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
            if let Err(error) = Film::new(screen, clock, limits::GUEST_TILES_BYTES).run(&told) {
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
    shown: Option<Shown>,
    /// Longest payload of tiles.
    room: usize,
    sequence: u32,
    group: u32,
}

impl Film {
    fn new(screen: Box<dyn Screen>, clock: Clock, room: usize) -> Self {
        let pace = Pace::new(clock.tick());
        Self { screen, clock, pace, shown: None, room, sequence: 0, group: 0 }
    }

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

    /// The next frame, if there is anything to send; if it is `asked` for, a whole picture.
    fn shoot(&mut self, asked: bool) -> Result<Option<Bytes>, PlatformError> {
        let now = self.clock.tick();
        let picture = self.screen.picture()?;
        let shown = match self.shown.take() {
            Some(mut shown) => {
                shown.becomes(picture, now);
                shown
            }
            None => Shown::new(picture, now),
        };
        let shown = self.shown.insert(shown);
        let (tiles, sharp) = match shown.next(now, asked) {
            Next::Nothing => return Ok(None),
            Next::Whole { sharp } => (None, sharp),
            // Tiles that are too much are a whole picture, which is made to fit.
            Next::Parts { coarse, sharp } => {
                let tiles = tiles(shown.picture(), &coarse, &sharp, self.room)?;
                (tiles, shown.mostly_stands(now))
            }
        };
        let size = |picture: &Picture| (picture.width, picture.height);
        let (kind, mut flags, (width, height), payload) = if let Some(tiles) = tiles {
            shown.sends_parts(now);
            (FrameType::Tiles, 0, size(shown.picture()), tiles)
        } else {
            let quality = if sharp { limits::GUEST_QUALITY_STILL } else { limits::GUEST_QUALITY };
            let (width, height, image) = fitting(shown.picture(), quality, limits::FRAME - HEADER)?;
            shown.sends_whole(sharp, (width, height) == size(shown.picture()));
            self.group = self.group.wrapping_add(1);
            (FrameType::Image, flag::KEY, (width, height), image)
        };
        if shown.is_settled(now) {
            flags |= flag::LAST;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let header = FrameHeader {
            kind,
            flags,
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
        let mut frame = BytesMut::with_capacity(HEADER + payload.len());
        header.encode(&mut frame);
        frame.put_slice(&payload);
        Ok(Some(frame.freeze()))
    }
}

/// The payload of a frame of tiles: where each begins, its length and its JPEG. None if that is more than there is room for.
fn tiles(
    picture: &Picture,
    coarse: &[Area],
    sharp: &[Area],
    room: usize,
) -> Result<Option<Vec<u8>>, PlatformError> {
    if coarse.len() + sharp.len() > limits::GUEST_TILES {
        return Ok(None);
    }
    let coarse = coarse.iter().map(|area| (area, limits::GUEST_QUALITY));
    let sharp = sharp.iter().map(|area| (area, limits::GUEST_QUALITY_STILL));
    let mut payload = Vec::new();
    for (area, quality) in coarse.chain(sharp) {
        let image = jpeg(&picture.cropped(*area), quality)?;
        payload.put_u16(area.x);
        payload.put_u16(area.y);
        payload.put_u32(u32::try_from(image.len()).unwrap_or(u32::MAX));
        payload.put_slice(&image);
        if payload.len() > room {
            return Ok(None);
        }
    }
    Ok(Some(payload))
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

    use bytes::Buf as _;
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

    async fn take(frames: &mut queue::Receiver<Bytes>) -> Bytes {
        let frame = tokio::time::timeout(Duration::from_secs(30), frames.recv()).await;
        frame.expect("a frame in time").expect("the camera goes on")
    }

    async fn next(frames: &mut queue::Receiver<Bytes>) -> frame::FrameHeader {
        let frame = take(frames).await;
        let header = frame::parse(&frame).unwrap();
        assert_eq!(header.kind, FrameType::Image);
        assert_eq!(&frame[HEADER..HEADER + 3], [0xff, 0xd8, 0xff], "a JPEG");
        header
    }

    /// The next frame of a picture so wide.
    async fn of_width(frames: &mut queue::Receiver<Bytes>, width: u16) -> frame::FrameHeader {
        loop {
            let header = frame::parse(&take(frames).await).unwrap();
            if header.width == width {
                return header;
            }
        }
    }

    /// A screen on which a test paints.
    #[derive(Debug, Clone)]
    struct Board(Arc<Mutex<Picture>>);

    impl Board {
        /// Text, more or less: what an encoder can neither leave out nor make small.
        fn new(width: u16, height: u16) -> Self {
            let mut noise = 1_u32;
            let mut next = || {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            };
            let bytes = (0..usize::from(width) * usize::from(height) * 4).map(|_| next()).collect();
            Self(Arc::new(Mutex::new(Picture { width, height, bytes })))
        }

        fn inverts(&self, x: usize, y: usize) {
            let mut picture = self.0.lock();
            let at = (y * usize::from(picture.width) + x) * 4;
            picture.bytes[at] ^= 0xff;
        }
    }

    impl Screen for Board {
        fn picture(&mut self) -> Result<Picture, PlatformError> {
            Ok(self.0.lock().clone())
        }
    }

    /// Where each tile of a frame begins, and its size as its JPEG tells it.
    fn tiles_of(frame: &[u8]) -> Vec<Area> {
        let mut at = &frame[HEADER..];
        let mut areas = Vec::new();
        while !at.is_empty() {
            let (x, y, length) = (at.get_u16(), at.get_u16(), at.get_u32() as usize);
            let (jpeg, rest) = at.split_at(length);
            assert_eq!(jpeg[..2], [0xff, 0xd8]);
            // Segments up to the one that begins a frame of the JPEG.
            let mut segment = &jpeg[2..];
            while segment[1] != 0xc0 {
                segment = &segment[2 + usize::from(u16::from_be_bytes([segment[2], segment[3]]))..];
            }
            let side = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
            areas.push(Area { x, y, width: side(7), height: side(5) });
            at = rest;
        }
        areas
    }

    #[test]
    fn what_is_too_large_for_a_frame_is_shown_coarser_and_then_smaller() {
        let picture = Board::new(601, 403).0.lock().clone();
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

    #[test]
    fn tiles_that_are_too_large_or_too_many_are_none() {
        let picture = Board::new(128, 64).0.lock().clone();
        let left = Area { x: 0, y: 0, width: 64, height: 64 };
        let right = Area { x: 64, ..left };
        let both = tiles(&picture, &[left], &[right], usize::MAX).unwrap().unwrap();
        assert_eq!(tiles_of(&[vec![0; HEADER], both.clone()].concat()), [left, right]);
        assert_eq!(tiles(&picture, &[left], &[right], both.len()).unwrap(), Some(both.clone()));
        assert_eq!(tiles(&picture, &[left], &[right], both.len() - 1).unwrap(), None);
        let many = vec![left; limits::GUEST_TILES];
        assert_eq!(tiles(&picture, &many, &[right], usize::MAX).unwrap(), None);
    }

    #[test]
    fn what_is_too_much_for_tiles_is_a_whole_picture() {
        let board = Board::new(320, 200);
        let mut films =
            [usize::MAX, 1_000].map(|room| Film::new(Box::new(board.clone()), Clock::start(), room));
        let mut shoots = |at: usize| {
            let frame = films[at].shoot(false).unwrap().expect("a frame");
            let header = frame::parse(&frame).unwrap();
            (header.kind, header.is_key(), header.group, header.sequence)
        };
        assert_eq!([shoots(0), shoots(1)], [(FrameType::Image, true, 1, 0); 2]);
        board.inverts(100, 100);
        assert_eq!(shoots(0), (FrameType::Tiles, false, 1, 1));
        assert_eq!(shoots(1), (FrameType::Image, true, 2, 1));
    }

    #[tokio::test]
    async fn what_changes_of_a_picture_is_sent_as_tiles_of_it() {
        let board = Board::new(320, 200);
        let camera = Camera::start(Box::new(board.clone()), Clock::start()).unwrap();
        let (sender, mut frames) = queue::channel(1);
        camera.tell(Order::Send(sender));
        assert_eq!(next(&mut frames).await.flags, flag::KEY);
        let key = take(&mut frames).await;
        let whole = frame::parse(&key).unwrap();
        assert_eq!((whole.kind, whole.flags), (FrameType::Image, flag::KEY | flag::LAST));
        board.inverts(319, 199);
        let last = Area { x: 256, y: 192, width: 64, height: 8 };
        for (flags, sequence) in [(0, 2), (flag::LAST, 3)] {
            let frame = take(&mut frames).await;
            let header = frame::parse(&frame).unwrap();
            assert_eq!((header.kind, header.flags, header.sequence), (FrameType::Tiles, flags, sequence));
            assert_eq!((header.group, header.width, header.height), (whole.group, 320, 200));
            assert_eq!(tiles_of(&frame), [last]);
            assert!(frame.len() * 10 < key.len(), "{} of {} bytes", frame.len(), key.len());
        }
        // Who needs a picture gets the whole of it, and what changes then depends on that.
        camera.tell(Order::Again);
        let again = next(&mut frames).await;
        assert_eq!((again.flags, again.group), (flag::KEY | flag::LAST, whole.group + 1));
        board.inverts(0, 0);
        let frame = take(&mut frames).await;
        assert_eq!(frame::parse(&frame).unwrap().group, again.group);
        assert_eq!(tiles_of(&frame), [Area { x: 0, y: 0, width: 64, height: 64 }]);
        // Another size begins anew.
        *board.0.lock() = Board::new(200, 320).0.lock().clone();
        let turned = of_width(&mut frames, 200).await;
        assert!(turned.is_key() && turned.height == 320);
    }
}
