//! Frames of screen share with the 32-byte header of the wire contract.

use bytes::{BufMut as _, Bytes, BytesMut};
use porchlight::wire::frame::{FrameHeader, FrameType, flag};

/// A publisher's picture: counts sequence and group as the contract asks.
pub struct Picture {
    pub kind: FrameType,
    pub stream: u32,
    pub sequence: u32,
    pub group: u32,
}

impl Picture {
    pub fn new() -> Self {
        Self { kind: FrameType::Image, stream: 0, sequence: 0, group: 0 }
    }

    pub fn of_stream(stream: u32) -> Self {
        Self { stream, ..Self::new() }
    }

    /// A page instead: snapshots and changes.
    pub fn of_page() -> Self {
        Self { kind: FrameType::Dom, ..Self::new() }
    }

    /// The next frame, a key frame.
    pub fn key(&mut self, size: usize) -> Bytes {
        self.group += 1;
        self.next(flag::KEY, 0, size)
    }

    /// The next frame, a delta of the base layer.
    pub fn delta(&mut self, size: usize) -> Bytes {
        self.next(0, 0, size)
    }

    /// The next frame, a delta that nothing depends on, of a higher temporal layer.
    pub fn layer(&mut self, size: usize) -> Bytes {
        self.next(flag::DROPPABLE, 1, size)
    }

    fn next(&mut self, flags: u8, layer: u8, size: usize) -> Bytes {
        let header = FrameHeader {
            kind: self.kind,
            flags,
            layer,
            stream: self.stream,
            sequence: self.sequence,
            group: self.group,
            captured_us: 1_767_225_600_000_000 + u64::from(self.sequence),
            width: 1280,
            height: 720,
            config_len: 0,
        };
        let mut out = BytesMut::with_capacity(32 + size);
        header.encode(&mut out);
        // Bytes that differ from frame to frame and place to place, so that a mix-up shows.
        for at in 0..size {
            out.put_u8((self.sequence as usize).wrapping_mul(31).wrapping_add(at) as u8);
        }
        self.sequence += 1;
        out.freeze()
    }
}

/// The header of a frame that was received.
pub fn header(frame: &[u8]) -> FrameHeader {
    porchlight::wire::frame::parse(frame).expect("the server relays valid frames only")
}

/// The sequence numbers of frames.
pub fn sequences(frames: &[Bytes]) -> Vec<u32> {
    frames.iter().map(|frame| header(frame).sequence).collect()
}
