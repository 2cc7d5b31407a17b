//! When things are due: an open-loop schedule, kept by a thread of its own.
//!
//! The runtime's timers are a millisecond coarse, which is more than a lamp may take; a sleeping thread
//! with a tight timer slack is late by some tens of microseconds. Each tick carries the moment it was due,
//! and latencies count from there: a generator that falls behind must not hide the wait it caused
//! (coordinated omission).

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

/// Ticks that may wait for a slow consumer. When full the thread waits; the due moments stay as planned.
const WAITING_TICKS: usize = 4_096;

/// How late the kernel may wake the pacing thread, in nanoseconds. Its default is 50 µs.
const TIMER_SLACK: NonZeroU64 = NonZeroU64::new(1_000).expect("not zero");

/// Events at a rate that rises linearly from zero during a ramp.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// Events per second once the ramp is over.
    pub(super) rate: f64,
    /// How long the rise takes.
    pub(super) ramp: Duration,
}

/// One event's turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// Which one, from 0.
    pub(super) n: u64,
    /// The moment it was planned for.
    pub(super) at: Instant,
}

impl Schedule {
    /// A rate without a ramp.
    pub(super) fn flat(rate: f64) -> Self {
        Self { rate, ramp: Duration::ZERO }
    }

    /// When the nth event is due, from the start.
    pub(super) fn offset(&self, n: u64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let n = n as f64;
        let ramp = self.ramp.as_secs_f64();
        let in_ramp = self.rate * ramp / 2.0;
        let seconds =
            if n < in_ramp { (2.0 * n * ramp / self.rate).sqrt() } else { ramp + (n - in_ramp) / self.rate };
        Duration::from_secs_f64(seconds)
    }

    /// How many events are due before the time is over.
    pub(super) fn count_within(&self, time: Duration) -> u64 {
        let (time, ramp) = (time.as_secs_f64(), self.ramp.as_secs_f64());
        let events = if time < ramp {
            self.rate * time * time / (2.0 * ramp)
        } else {
            self.rate * (time - ramp / 2.0)
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, far below 2^52"
        )]
        let events = events.ceil() as u64;
        events
    }

    /// Starts the clock. Ticks end after `count`; the thread ends with its receiver.
    pub(super) fn start(self, count: u64) -> mpsc::Receiver<Due> {
        let (ticks, receiver) = mpsc::channel(WAITING_TICKS);
        std::thread::Builder::new()
            .name("pace".to_owned())
            .spawn(move || {
                // Refused only by a sandbox; then the default slack applies and shows as lag.
                let _ = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK));
                let start = Instant::now();
                for n in 0..count {
                    let at = start + self.offset(n);
                    std::thread::sleep(at.saturating_duration_since(Instant::now()));
                    if ticks.blocking_send(Due { n, at }).is_err() {
                        return;
                    }
                }
            })
            .expect("a process that serves load can start one thread");
        receiver
    }
}

/// A command-line duration: `30s`, `2m`, `500ms`.
pub(super) use humantime_serde::re::humantime::parse_duration;

/// A command-line rate per second: positive and finite.
pub(super) fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err(format!("{text} is not a positive rate per second")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_rate_is_even() {
        let schedule = Schedule::flat(100.0);
        assert_eq!(schedule.offset(0), Duration::ZERO);
        assert_eq!(schedule.offset(50), Duration::from_millis(500));
    }

    #[test]
    fn a_ramp_rises_and_never_runs_back() {
        let schedule = Schedule { rate: 100.0, ramp: Duration::from_secs(10) };
        // Half the full rate on average: 500 events during the ramp, then 100 a second.
        assert_eq!(schedule.offset(500), Duration::from_secs(10));
        assert_eq!(schedule.offset(600), Duration::from_secs(11));
        assert_eq!(schedule.count_within(Duration::from_secs(11)), 600);
        assert_eq!(schedule.count_within(Duration::from_secs(5)), 125);
        assert_eq!(Schedule::flat(30.0).count_within(Duration::from_millis(50)), 2);
        assert!((0..700).all(|n| schedule.offset(n) <= schedule.offset(n + 1)));
    }

    #[tokio::test]
    async fn every_tick_comes_once_and_in_order() {
        let mut ticks = Schedule::flat(100_000.0).start(500);
        let mut seen = 0;
        while let Some(due) = ticks.recv().await {
            assert_eq!(due.n, seen);
            seen += 1;
        }
        assert_eq!(seen, 500);
    }

    #[test]
    fn durations_and_rates_are_read() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_duration("soon").is_err() && parse_duration("30").is_err());
        assert!(parse_rate("0").is_err() && parse_rate("inf").is_err() && parse_rate("2.5").is_ok());
    }
}
