//! What a guest's computer has to offer: its screen, its pointer and keys, and what it asks its owner about.
//!
//! Decides what the guest needs to know of a computer, and nothing of how any computer does it. There is one for X11
//! ([`super::x11`]), which asks its owner nothing, and one for macOS (`mac`), which nobody has run; tests bring one that plays a
//! Mac.

use crate::wire::permission::{Facts, Permission};
use crate::wire::session::InputEvent;

/// Something that a computer did not do.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct PlatformError {
    what: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl PlatformError {
    /// That something cannot be done here.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }

    /// That something failed, and by what.
    pub fn by(what: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { what: what.into(), source: Some(source.into()) }
    }
}

/// A picture of a screen: rows without gaps, four bytes a pixel, blue first, the fourth without meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// The rows.
    pub bytes: Vec<u8>,
}

impl Picture {
    /// Half as wide and half as high, each pixel the mean of four.
    pub(super) fn halved(&self) -> Self {
        let (width, height) = (usize::from(self.width), usize::from(self.height));
        let mut bytes = Vec::with_capacity(width.div_ceil(2) * height.div_ceil(2) * 4);
        for y in (0..height).step_by(2) {
            for x in (0..width).step_by(2) {
                let (right, below) = ((x + 1).min(width - 1), (y + 1).min(height - 1));
                let four = [(x, y), (right, y), (x, below), (right, below)].map(|(x, y)| (y * width + x) * 4);
                for channel in 0..4 {
                    let sum: u16 = four.iter().map(|at| u16::from(self.bytes[at + channel])).sum();
                    bytes.push(u8::try_from(sum / 4).unwrap_or(u8::MAX));
                }
            }
        }
        Self { width: self.width.div_ceil(2), height: self.height.div_ceil(2), bytes }
    }

    /// What an area of it shows. Panics where that is outside.
    pub(super) fn cropped(&self, area: Area) -> Self {
        let line = usize::from(self.width) * 4;
        let (left, right) = (usize::from(area.x) * 4, usize::from(area.x + area.width) * 4);
        let rows = self.bytes.chunks_exact(line).skip(usize::from(area.y)).take(usize::from(area.height));
        let bytes = rows.flat_map(|row| &row[left..right]).copied().collect();
        Self { width: area.width, height: area.height, bytes }
    }

    /// Takes rows of `per_row` bytes, of which the last are a gap.
    ///
    /// # Errors
    /// When the rows are shorter or fewer than the picture, or this is larger than a frame can say.
    pub fn packed(width: usize, height: usize, per_row: usize, rows: Vec<u8>) -> Result<Self, PlatformError> {
        let unfit = || PlatformError::new("the picture has another size than its screen");
        let length = |pixels: usize| u16::try_from(pixels).map_err(|_| unfit());
        let (line, wide, high) = (width * 4, length(width)?, length(height)?);
        let fits = line > 0 && per_row >= line && rows.len() >= per_row * height;
        if !fits {
            return Err(unfit());
        }
        let bytes = rows.chunks(per_row).take(height).flat_map(|row| &row[..line]).copied().collect();
        Ok(Self { width: wide, height: high, bytes })
    }
}

/// A rectangle of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: u16,
    pub(super) y: u16,
    pub(super) width: u16,
    pub(super) height: u16,
}

/// A screen that may be seen.
pub trait Screen: Send {
    /// What it shows by now.
    ///
    /// # Errors
    /// When it can be seen no longer.
    fn picture(&mut self) -> Result<Picture, PlatformError>;
}

/// Pointer and keys that may be moved.
pub trait Hands: Send {
    /// Does what an agent in control did.
    ///
    /// # Errors
    /// When pointer and keys can be moved no longer; what this computer has no key for is no error.
    fn apply(&mut self, event: &InputEvent) -> Result<(), PlatformError>;

    /// Lets go of every key and button that is held.
    ///
    /// # Errors
    /// As [`Self::apply`].
    fn release(&mut self) -> Result<(), PlatformError>;

    /// Where the pointer is, in pixels, whoever moved it; none where that is not to be had.
    ///
    /// # Errors
    /// As [`Self::apply`].
    fn pointer(&mut self) -> Result<Option<(i16, i16)>, PlatformError> {
        Ok(None)
    }
}

/// A computer.
pub trait Platform: Send {
    /// What it is called on the wire.
    fn name(&self) -> &'static str;

    /// The name of this device, where there is anything to remember of it.
    fn device(&self) -> Option<String>;

    /// What its owner allows by now; none where there is nothing to allow.
    fn facts(&mut self) -> Option<Facts>;

    /// Has the system ask its owner.
    fn ask(&mut self, permission: Permission);

    /// The screen, where it may be seen.
    ///
    /// # Errors
    /// When it may not, or cannot.
    fn screen(&mut self) -> Result<Box<dyn Screen>, PlatformError>;

    /// Pointer and keys, where they may be moved.
    ///
    /// # Errors
    /// When they may not, or cannot.
    fn hands(&mut self) -> Result<Box<dyn Hands>, PlatformError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_behind_rows_are_left_out_and_rows_that_are_missing_are_an_error() {
        let rows: Vec<u8> = (0..24).collect();
        let picture = Picture::packed(2, 2, 12, rows.clone()).unwrap();
        let bytes = (0..8).chain(12..20).collect();
        assert_eq!(picture, Picture { width: 2, height: 2, bytes });
        assert_eq!(Picture::packed(3, 2, 12, rows.clone()).unwrap().bytes, rows);
        for (width, height, per_row) in [(2, 3, 12), (4, 1, 12), (0, 0, 0), (70_000, 0, 280_000)] {
            assert!(
                Picture::packed(width, height, per_row, rows.clone()).is_err(),
                "{width} {height} {per_row}"
            );
        }
    }
}
