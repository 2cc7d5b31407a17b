//! How many bits and pictures a second: what viewers can take, tried upwards when it was quiet for a while.
//!
//! The same rule as of guests in browsers (`web/lib/adapt.js`). Pure; the time is an argument.

use std::time::Duration;

use crate::clock::Tick;
use crate::limits;

/// Viewers, as the server tells of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Feedback {
    pub(super) kbps: u64,
    #[serde(default)]
    pub(super) median_kbps: u64,
    pub(super) lagging: usize,
    pub(super) viewers: usize,
}

/// A rate, and when it last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    kbps: u64,
    ceiling: u64,
    changed: Tick,
}

impl Pace {
    pub(super) fn new(now: Tick) -> Self {
        Self { kbps: limits::GUEST_KBPS_MAX, ceiling: limits::GUEST_KBPS_MAX, changed: now }
    }

    /// Some viewers cannot take it. While only a minority lags, the median is the measure: the relay drops for the
    /// slow ones already, and one of them must not slow the picture for all.
    pub(super) fn heard(&mut self, feedback: Feedback, now: Tick) {
        let Feedback { kbps, median_kbps, lagging, viewers } = feedback;
        let minority = lagging * 2 < viewers;
        let measured = if minority { median_kbps } else { kbps };
        if lagging == 0 || (minority && (measured == 0 || measured >= self.kbps)) {
            return;
        }
        let fall = self.kbps * 7 / 10;
        self.falls(if measured > 0 { fall.min(measured * 85 / 100) } else { fall }, now);
    }

    /// The line to the server is full.
    pub(super) fn congested(&mut self, now: Tick) {
        self.falls(self.kbps * 7 / 10, now);
    }

    /// Tries upwards after a quiet time.
    pub(super) fn quiet(&mut self, now: Tick) {
        if self.kbps < self.ceiling && now.since(self.changed) >= limits::GUEST_RISE {
            self.kbps = (self.kbps * 6 / 5).min(self.ceiling);
            self.changed = now;
        }
    }

    fn falls(&mut self, wanted: u64, now: Tick) {
        if now.since(self.changed) >= limits::GUEST_FALL && self.kbps > limits::GUEST_KBPS_MIN {
            self.kbps = wanted.max(limits::GUEST_KBPS_MIN);
            self.changed = now;
        }
    }

    /// How long to wait behind a picture of so many bytes. Pictures have no rate control: their bytes decide how many
    /// a second the line carries.
    pub(super) fn rest(&self, bytes: usize) -> Duration {
        let line =
            Duration::from_millis(u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(8) / self.kbps);
        line.clamp(limits::GUEST_PICTURE_EVERY, limits::GUEST_PICTURE_WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lagging(kbps: u64, median_kbps: u64, lagging: usize, viewers: usize) -> Feedback {
        Feedback { kbps, median_kbps, lagging, viewers }
    }

    fn at(seconds: u64) -> Tick {
        Tick(seconds * 1_000)
    }

    #[test]
    fn it_falls_to_what_viewers_take_and_tries_upwards_again() {
        let mut pace = Pace::new(at(0));
        let full = limits::GUEST_KBPS_MAX;
        pace.heard(lagging(0, 900, 0, 2), at(9));
        assert_eq!(pace.kbps, full, "nobody lags");
        pace.heard(lagging(1_000, 1_000, 1, 1), at(10));
        assert_eq!(pace.kbps, 850);
        pace.heard(lagging(100, 100, 1, 1), at(10));
        assert_eq!(pace.kbps, 850, "not twice for one moment");
        pace.congested(at(12));
        assert_eq!(pace.kbps, 595);
        pace.quiet(at(13));
        assert_eq!(pace.kbps, 595);
        pace.quiet(at(15));
        assert_eq!(pace.kbps, 714);
        for second in 0..100 {
            pace.quiet(at(20 + 3 * second));
        }
        assert_eq!(pace.kbps, full);
    }

    #[test]
    fn one_slow_viewer_of_many_slows_nobody() {
        let mut pace = Pace::new(at(0));
        pace.heard(lagging(50, limits::GUEST_KBPS_MAX, 1, 5), at(10));
        assert_eq!(pace.kbps, limits::GUEST_KBPS_MAX);
        for second in 0..60 {
            pace.heard(lagging(1, 1, 5, 5), at(20 + 2 * second));
        }
        assert_eq!(pace.kbps, limits::GUEST_KBPS_MIN, "never to nothing");
    }

    #[test]
    fn large_pictures_are_rarer_ones() {
        let mut pace = Pace::new(at(0));
        assert_eq!(pace.rest(100), limits::GUEST_PICTURE_EVERY);
        let fast = pace.rest(200_000);
        pace.heard(lagging(1_000, 1_000, 1, 1), at(10));
        assert!(pace.rest(200_000) > fast);
        assert_eq!(pace.rest(usize::MAX), limits::GUEST_PICTURE_WITHIN);
    }
}
