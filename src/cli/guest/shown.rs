//! What viewers have of a screen, and what of it is no longer true, in squares of 64 pixels.
//!
//! Decides what is sent next: nothing, the whole picture, or the areas of it that changed and those that stood still since
//! they were sent coarse. Does not decide when it is asked, nor how any of it is encoded (`camera.rs`). Pure; the time is an
//! argument.

use super::platform::{Area, Picture};
use crate::clock::Tick;
use crate::limits;

const SIDE: u16 = limits::GUEST_TILE;

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// All of it was sent, as sharp as it gets.
    Nothing,
    /// The picture, which everything after it depends on.
    Whole { sharp: bool },
    /// What changed, coarse, and what stands still, sharp.
    Parts { coarse: Vec<Area>, sharp: Vec<Area> },
}

/// How a square was sent as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Not,
    Coarse,
    Sharp,
}

#[derive(Debug, Clone, Copy)]
struct Square {
    sent: Sent,
    /// When it changed last.
    since: Tick,
}

impl Square {
    fn stands(&self, now: Tick) -> bool {
        now.since(self.since) >= limits::GUEST_STILL
    }

    fn is_new(&self) -> bool {
        self.sent == Sent::Not
    }

    fn wants_sharpness(&self, now: Tick) -> bool {
        self.sent == Sent::Coarse && self.stands(now)
    }
}

/// What the screen shows, and what was sent of it.
#[derive(Debug)]
pub(super) struct Shown {
    picture: Picture,
    /// Squares in a row.
    across: usize,
    squares: Vec<Square>,
    /// Viewers have a picture of this size, which areas can be drawn onto.
    takes_parts: bool,
}

impl Shown {
    /// Nothing of it was sent yet.
    pub(super) fn new(picture: Picture, now: Tick) -> Self {
        let across = usize::from(picture.width.div_ceil(SIDE));
        let down = usize::from(picture.height.div_ceil(SIDE));
        let squares = vec![Square { sent: Sent::Not, since: now }; across * down];
        Self { picture, across, squares, takes_parts: false }
    }

    /// The screen shows this by now.
    pub(super) fn becomes(&mut self, picture: Picture, now: Tick) {
        if (picture.width, picture.height) != (self.picture.width, self.picture.height) {
            *self = Self::new(picture, now);
            return;
        }
        let side = usize::from(SIDE);
        let line = usize::from(picture.width).max(1) * 4;
        let lines = self.picture.bytes.chunks_exact(line).zip(picture.bytes.chunks_exact(line));
        for (y, (old, new)) in lines.enumerate().filter(|(_, (old, new))| old != new) {
            let row = &mut self.squares[y / side * self.across..][..self.across];
            let pieces = old.chunks(side * 4).zip(new.chunks(side * 4));
            for (square, _) in row.iter_mut().zip(pieces).filter(|(_, (old, new))| old != new) {
                *square = Square { sent: Sent::Not, since: now };
            }
        }
        self.picture = picture;
    }

    /// What the screen shows.
    pub(super) fn picture(&self) -> &Picture {
        &self.picture
    }

    /// What to send of it; if it is `asked` for, the whole of it, whatever was sent.
    pub(super) fn next(&self, now: Tick, asked: bool) -> Next {
        let count = |is: &dyn Fn(&Square) -> bool| self.squares.iter().filter(|square| is(square)).count();
        let all = self.squares.len();
        let (new, blurred) = (count(&Square::is_new), count(&|square| square.wants_sharpness(now)));
        let whole = Next::Whole { sharp: self.mostly_stands(now) };
        let stands_coarse = blurred > 0 && self.squares.iter().all(|square| square.stands(now));
        if asked || new * 2 > all || (blurred == all && all > 0) {
            whole
        } else if !self.takes_parts {
            if new > 0 || stands_coarse { whole } else { Next::Nothing }
        } else if new + blurred == 0 {
            Next::Nothing
        } else {
            let sharp = self.areas(|square| square.wants_sharpness(now));
            Next::Parts { coarse: self.areas(Square::is_new), sharp }
        }
    }

    /// Whether the whole of it is worth sending sharp: the little that moves as well, or all the rest would be sent again.
    pub(super) fn mostly_stands(&self, now: Tick) -> bool {
        self.squares.iter().filter(|square| square.stands(now)).count() * 2 > self.squares.len()
    }

    /// The whole picture is sent, in its own size or in a smaller one.
    pub(super) fn sends_whole(&mut self, sharp: bool, own_size: bool) {
        let sent = if sharp { Sent::Sharp } else { Sent::Coarse };
        self.squares.iter_mut().for_each(|square| square.sent = sent);
        self.takes_parts = own_size;
    }

    /// The areas are sent that are due now.
    pub(super) fn sends_parts(&mut self, now: Tick) {
        for square in &mut self.squares {
            if square.is_new() {
                square.sent = Sent::Coarse;
            } else if square.wants_sharpness(now) {
                square.sent = Sent::Sharp;
            }
        }
    }

    /// Whether nothing is left to send while the screen stands still, as it does.
    pub(super) fn is_settled(&self, now: Tick) -> bool {
        self.squares.iter().all(|square| square.sent == Sent::Sharp && square.stands(now))
    }

    /// The squares that are wanted, as rectangles: neighbours in a row are one, and so are rows that begin and end alike.
    fn areas(&self, wanted: impl Fn(&Square) -> bool) -> Vec<Area> {
        let mut areas: Vec<Area> = Vec::new();
        // Of the row above: only its rectangles grow.
        let mut above: Vec<usize> = Vec::new();
        let mut y = 0;
        for row in self.squares.chunks(self.across.max(1)) {
            let height = SIDE.min(self.picture.height - y);
            let mut x = 0;
            let mut here = Vec::new();
            for run in row.chunk_by(|one, other| wanted(one) == wanted(other)) {
                let squares = u16::try_from(run.len()).unwrap_or(u16::MAX);
                let width = squares.saturating_mul(SIDE).min(self.picture.width - x);
                if run.first().is_some_and(&wanted) {
                    let same = |at: &usize| (areas[*at].x, areas[*at].width) == (x, width);
                    if let Some(at) = above.iter().copied().find(same) {
                        areas[at].height += height;
                        here.push(at);
                    } else {
                        here.push(areas.len());
                        areas.push(Area { x, y, width, height });
                    }
                }
                x += width;
            }
            above = here;
            y += height;
        }
        areas
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn grey(width: u16, height: u16) -> Picture {
        Picture { width, height, bytes: vec![128; usize::from(width) * usize::from(height) * 4] }
    }

    fn paint(picture: &Picture, (x, y): (u16, u16)) -> Picture {
        let mut painted = picture.clone();
        painted.bytes[(usize::from(y) * usize::from(picture.width) + usize::from(x)) * 4] ^= 0xff;
        painted
    }

    fn at(millis: u64) -> Tick {
        Tick(millis)
    }

    fn area(x: u16, y: u16, width: u16, height: u16) -> Area {
        Area { x, y, width, height }
    }

    /// Viewers have the whole of it, sharp.
    fn settled(picture: Picture) -> Shown {
        let mut shown = Shown::new(picture, at(0));
        assert_eq!(shown.next(at(0), false), Next::Whole { sharp: false });
        shown.sends_whole(false, true);
        assert_eq!(shown.next(at(100), false), Next::Nothing);
        assert_eq!(shown.next(at(400), false), Next::Whole { sharp: true });
        shown.sends_whole(true, true);
        assert!(shown.is_settled(at(400)) && shown.next(at(500), false) == Next::Nothing);
        shown
    }

    #[test]
    fn what_changes_is_sent_and_what_of_it_stands_still_once_more() {
        let mut shown = settled(grey(640, 480));
        // A caret blinks while a clock elsewhere goes on.
        let blinks = paint(shown.picture(), (70, 70));
        shown.becomes(blinks, at(1_000));
        let square = area(64, 64, 64, 64);
        assert_eq!(shown.next(at(1_000), false), Next::Parts { coarse: vec![square], sharp: vec![] });
        shown.sends_parts(at(1_000));
        assert!(!shown.is_settled(at(1_000)));
        let goes_on = paint(shown.picture(), (639, 479));
        shown.becomes(goes_on, at(1_500));
        let corner = area(576, 448, 64, 32);
        assert_eq!(shown.next(at(1_500), false), Next::Parts { coarse: vec![corner], sharp: vec![square] });
        shown.sends_parts(at(1_500));
        assert_eq!(shown.next(at(1_800), false), Next::Nothing);
        assert_eq!(shown.next(at(1_900), false), Next::Parts { coarse: vec![], sharp: vec![corner] });
        shown.sends_parts(at(1_900));
        assert!(shown.is_settled(at(1_900)));
    }

    #[test]
    fn the_whole_is_sent_where_most_changed_where_it_is_asked_for_and_where_the_size_is_another() {
        let mut shown = settled(grey(128, 256));
        let mut most = shown.picture().clone();
        for y in [0, 64, 128] {
            most = paint(&paint(&most, (0, y)), (127, y));
        }
        shown.becomes(most, at(1_000));
        assert_eq!(shown.next(at(1_000), false), Next::Whole { sharp: false });
        shown.sends_whole(false, true);
        // Asked for while a little moves, it is sharp at once.
        let little = paint(shown.picture(), (0, 0));
        shown.becomes(little, at(2_000));
        assert_eq!(shown.next(at(2_000), true), Next::Whole { sharp: true });
        shown.sends_whole(true, true);
        assert_eq!((shown.next(at(9_000), false), shown.is_settled(at(2_000))), (Next::Nothing, false));
        shown.becomes(grey(128, 255), at(9_000));
        assert_eq!(shown.next(at(9_000), false), Next::Whole { sharp: false });
    }

    #[test]
    fn onto_a_picture_that_was_sent_smaller_no_area_is_drawn() {
        let mut shown = settled(grey(640, 480));
        let asked = shown.next(at(1_000), true);
        assert_eq!(asked, Next::Whole { sharp: true });
        shown.sends_whole(true, false);
        assert_eq!(shown.next(at(2_000), false), Next::Nothing);
        let moved = paint(shown.picture(), (0, 0));
        shown.becomes(moved, at(2_000));
        assert_eq!(shown.next(at(2_000), false), Next::Whole { sharp: true });
        shown.sends_whole(false, false);
        assert_eq!(shown.next(at(2_100), false), Next::Nothing, "as long as a part of it moves");
        assert_eq!(shown.next(at(2_400), false), Next::Whole { sharp: true });
    }

    #[test]
    fn neighbours_are_one_area() {
        let mut shown = settled(grey(64 * 6, 64 * 5));
        let mut picture = shown.picture().clone();
        for (column, row) in [(1, 1), (2, 1), (1, 2), (2, 2), (4, 2), (1, 3), (2, 3), (3, 3), (5, 3), (1, 4)]
        {
            picture = paint(&picture, (column * 64 + 9, row * 64 + 9));
        }
        shown.becomes(picture, at(1_000));
        let coarse = vec![
            area(64, 64, 128, 128),
            area(256, 128, 64, 64),
            area(64, 192, 192, 64),
            area(320, 192, 64, 64),
            area(64, 256, 64, 64),
        ];
        assert_eq!(shown.next(at(1_000), false), Next::Parts { coarse, sharp: vec![] });
    }

    /// The pixels of an area are those of another picture from now on.
    fn draw(onto: &mut Picture, from: &Picture, area: Area) {
        let part = from.cropped(area);
        assert_eq!(part.bytes.len(), usize::from(area.width) * usize::from(area.height) * 4);
        for (y, row) in part.bytes.chunks_exact(usize::from(area.width) * 4).enumerate() {
            let to = ((usize::from(area.y) + y) * usize::from(onto.width) + usize::from(area.x)) * 4;
            onto.bytes[to..to + row.len()].copy_from_slice(row);
        }
    }

    fn is_inside(area: Area, picture: &Picture) -> bool {
        let ends = |at: u16, length: u16| u32::from(at) + u32::from(length);
        area.width > 0
            && area.height > 0
            && ends(area.x, area.width) <= u32::from(picture.width)
            && ends(area.y, area.height) <= u32::from(picture.height)
    }

    fn overlap(one: Area, other: Area) -> bool {
        one.x < other.x + other.width
            && other.x < one.x + one.width
            && one.y < other.y + other.height
            && other.y < one.y + one.height
    }

    proptest! {
        /// Whatever changes and whenever it is looked at, who draws what is sent sees what the screen shows, in the end
        /// all of it sharp, and no pixel is sent twice in one frame.
        #[test]
        fn who_draws_what_is_sent_sees_the_screen(
            (width, height) in (1_u16..300, 1_u16..300),
            moments in proptest::collection::vec(
                (proptest::collection::vec((any::<u16>(), any::<u16>()), 0..5), 0_u64..700, any::<u8>()), 1..20),
        ) {
            let mut screen = grey(width, height);
            let mut shown = Shown::new(screen.clone(), at(0));
            let mut seen = Picture { width, height, bytes: vec![1; screen.bytes.len()] };
            let mut time = 0;
            let quiet = std::iter::repeat_n((Vec::new(), 500, u8::MAX), 3);
            for (pixels, later, asked) in moments.into_iter().chain(quiet) {
                time += later;
                for (x, y) in pixels {
                    screen = paint(&screen, (x % width, y % height));
                }
                shown.becomes(screen.clone(), at(time));
                match shown.next(at(time), asked < 10) {
                    Next::Nothing => {}
                    Next::Whole { sharp } => {
                        seen = screen.clone();
                        shown.sends_whole(sharp, true);
                    }
                    Next::Parts { coarse, sharp } => {
                        let areas = [coarse, sharp].concat();
                        prop_assert!(!areas.is_empty() && areas.len() <= shown.squares.len());
                        for (at, area) in areas.iter().enumerate() {
                            prop_assert!(is_inside(*area, &screen), "{area:?}");
                            prop_assert!(!areas[..at].iter().any(|other| overlap(*area, *other)), "{areas:?}");
                            draw(&mut seen, &screen, *area);
                        }
                        shown.sends_parts(at(time));
                    }
                }
                prop_assert_eq!(&seen, &screen);
            }
            prop_assert!(shown.is_settled(at(time)));
            prop_assert_eq!(shown.next(at(time) .after(Duration::from_secs(1)), false), Next::Nothing);
        }
    }
}
