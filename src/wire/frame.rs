//! The clear header in front of each frame of screen share: the only part that the relay reads.
//!
//! Does not decide whether a frame may be relayed; see `model::relay`.

use bytes::{Buf, BufMut};

/// Bytes of the fixed part.
pub const HEADER: usize = 32;

/// The format version this server speaks.
pub const VERSION: u8 = 1;

/// Longest config block.
pub const CONFIG_MAX: usize = 1_024;

/// What a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameType {
    /// One encoded chunk (WebCodecs).
    Video,
    /// One whole image.
    Image,
    /// Changed tiles of an image.
    Tiles,
    /// Reserved for sound; relayed alike.
    Audio,
    /// A DOM snapshot (key) or its changes (delta).
    Dom,
}

impl FrameType {
    /// The number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Video => 1,
            Self::Image => 2,
            Self::Tiles => 3,
            Self::Audio => 4,
            Self::Dom => 5,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Video,
            2 => Self::Image,
            3 => Self::Tiles,
            4 => Self::Audio,
            5 => Self::Dom,
            _ => return None,
        })
    }
}

/// Where a frame comes from. Each source of a session has its own publisher and its own bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The publisher's screen or page, with whatever streams it announces beside it.
    Screen,
    /// The camera of an agent.
    Camera,
}

impl Source {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Screen, Self::Camera];

    /// The stream that every session may have of it.
    pub const fn stream(self) -> u32 {
        match self {
            Self::Screen => 0,
            Self::Camera => 1,
        }
    }

    /// What a stream is of.
    pub const fn of(stream: u32) -> Self {
        if stream == Self::Camera.stream() { Self::Camera } else { Self::Screen }
    }
}

/// Bits of the flags byte.
pub mod flag {
    /// Decodable by itself.
    pub const KEY: u8 = 1;
    /// A config block follows the fixed part.
    pub const CONFIG: u8 = 2;
    /// Nothing later depends on it.
    pub const DROPPABLE: u8 = 4;
    /// The last before the picture stands still.
    pub const LAST: u8 = 8;
    /// The payload is end-to-end encrypted.
    pub const ENCRYPTED: u8 = 16;
    /// Bits that must be zero.
    pub const UNKNOWN: u8 = !(KEY | CONFIG | DROPPABLE | LAST | ENCRYPTED);
}

/// The fixed part of a frame, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the payload is.
    pub kind: FrameType,
    /// See [`flag`].
    pub flags: u8,
    /// Temporal layer, 0 is the base.
    pub layer: u8,
    /// 0 screen, 1 camera.
    pub stream: u32,
    /// Counts each frame of the stream before any drop; wraps.
    pub sequence: u32,
    /// Raised at each key frame; a delta is valid only inside its group.
    pub group: u32,
    /// Microseconds of the publisher's clock.
    pub captured_us: u64,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// Bytes of config block behind the fixed part.
    pub config_len: u16,
}

impl FrameHeader {
    /// Whether it can be decoded by itself.
    pub const fn is_key(&self) -> bool {
        self.flags & flag::KEY != 0
    }

    /// Whether nothing later depends on it.
    pub const fn is_droppable(&self) -> bool {
        self.flags & flag::DROPPABLE != 0
    }

    /// Writes the fixed part.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(VERSION);
        out.put_u8(self.kind.code());
        out.put_u8(self.flags);
        out.put_u8(self.layer);
        out.put_u32(self.stream);
        out.put_u32(self.sequence);
        out.put_u32(self.group);
        out.put_u64(self.captured_us);
        out.put_u16(self.width);
        out.put_u16(self.height);
        out.put_u16(self.config_len);
        out.put_u16(0);
    }
}

/// A binary message that is not a frame of this format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than the fixed part or than its config block.
    #[error("frame of {len} bytes is shorter than the {need} its header needs")]
    Short {
        /// Bytes there.
        len: usize,
        /// Bytes needed.
        need: usize,
    },
    /// Another format.
    #[error("frame version {0} is not {VERSION}")]
    Version(u8),
    /// A payload type nobody knows.
    #[error("frame type {0} is unknown")]
    Type(u8),
    /// Reserved bits or bytes are set.
    #[error("frame sets reserved bits")]
    Reserved,
    /// A key video frame that nobody could decode.
    #[error("key video frame has no config block")]
    KeyWithoutConfig,
    /// Config flag and length disagree.
    #[error("frame's config flag and config length {0} disagree")]
    ConfigFlag(u16),
    /// Config block over the limit.
    #[error("frame's config of {0} bytes exceeds {CONFIG_MAX}")]
    ConfigTooLong(u16),
}

/// Reads the header of a whole frame and checks what must hold for every frame.
pub fn parse(frame: &[u8]) -> Result<FrameHeader, FrameError> {
    if frame.len() < HEADER {
        return Err(FrameError::Short { len: frame.len(), need: HEADER });
    }
    let mut at = frame;
    let version = at.get_u8();
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let code = at.get_u8();
    let kind = FrameType::from_code(code).ok_or(FrameError::Type(code))?;
    let flags = at.get_u8();
    let layer = at.get_u8();
    let header = FrameHeader {
        kind,
        flags,
        layer,
        stream: at.get_u32(),
        sequence: at.get_u32(),
        group: at.get_u32(),
        captured_us: at.get_u64(),
        width: at.get_u16(),
        height: at.get_u16(),
        config_len: at.get_u16(),
    };
    if at.get_u16() != 0 || flags & flag::UNKNOWN != 0 {
        return Err(FrameError::Reserved);
    }
    if (flags & flag::CONFIG != 0) != (header.config_len > 0) {
        return Err(FrameError::ConfigFlag(header.config_len));
    }
    let config_len = usize::from(header.config_len);
    if config_len > CONFIG_MAX {
        return Err(FrameError::ConfigTooLong(header.config_len));
    }
    if frame.len() < HEADER + config_len {
        return Err(FrameError::Short { len: frame.len(), need: HEADER + config_len });
    }
    if kind == FrameType::Video && header.is_key() && config_len == 0 {
        return Err(FrameError::KeyWithoutConfig);
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> FrameHeader {
        FrameHeader {
            kind: FrameType::Video,
            flags: flag::KEY | flag::CONFIG,
            layer: 0,
            stream: 0,
            sequence: 7,
            group: 3,
            captured_us: 0x0102_0304_0506_0708,
            width: 1280,
            height: 720,
            config_len: 2,
        }
    }

    #[test]
    fn bytes_are_pinned() {
        let mut out = Vec::new();
        sample().encode(&mut out);
        out.extend_from_slice(b"{}");
        assert_eq!(
            out[..HEADER],
            [
                1, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 5, 0, 2, 208, 0, 2,
                0, 0
            ]
        );
        assert_eq!(parse(&out), Ok(sample()));
    }

    #[test]
    fn each_fault_has_its_name() {
        let mut good = Vec::new();
        sample().encode(&mut good);
        good.extend_from_slice(b"{}");
        let with = |at: usize, byte: u8| {
            let mut bad = good.clone();
            bad[at] = byte;
            parse(&bad).unwrap_err()
        };
        assert_eq!(parse(&good[..31]).unwrap_err(), FrameError::Short { len: 31, need: 32 });
        assert_eq!(parse(&good[..33]).unwrap_err(), FrameError::Short { len: 33, need: 34 });
        assert_eq!(with(0, 2), FrameError::Version(2));
        assert_eq!(with(1, 9), FrameError::Type(9));
        assert_eq!(with(2, 0x83), FrameError::Reserved);
        assert_eq!(with(31, 1), FrameError::Reserved);
        assert_eq!(with(2, flag::KEY), FrameError::ConfigFlag(2));
        assert_eq!(with(28, 5), FrameError::ConfigTooLong(0x0502));
        let mut bare = Vec::new();
        FrameHeader { flags: flag::KEY, config_len: 0, ..sample() }.encode(&mut bare);
        assert_eq!(parse(&bare).unwrap_err(), FrameError::KeyWithoutConfig);
    }

    proptest! {
        #[test]
        fn junk_never_panics(junk in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&junk);
        }
    }
}
