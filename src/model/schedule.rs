//! When a group's sync runs.
//!
//! Decides the moments: the group's creation and every whole period after it, in plain UTC arithmetic, so
//! that neither daylight saving nor a server that was down moves the phase. Does not decide what a run does;
//! `sinks` asks.

use std::time::Duration;

use super::settings::SyncFrequency;
use crate::clock::Wall;

const HOUR: Duration = Duration::from_secs(3600);

/// The time between two runs; none for a group that is never synced by itself.
pub fn period(frequency: SyncFrequency) -> Option<Duration> {
    match frequency {
        SyncFrequency::Hourly => Some(HOUR),
        SyncFrequency::EveryTwoHours => Some(2 * HOUR),
        SyncFrequency::Daily => Some(24 * HOUR),
        SyncFrequency::Never => None,
    }
}

/// The first moment after `now` at which a run begins. The first of all is a whole period after `installed`.
pub fn next(installed: Wall, frequency: SyncFrequency, now: Wall) -> Option<Wall> {
    let period = u64::try_from(period(frequency)?.as_millis()).ok()?;
    // A clock behind the creation waits for the first run.
    let passed = now.0.saturating_sub(installed.0) / period;
    let next = passed.checked_add(1)?.checked_mul(period)?;
    installed.0.checked_add(next).map(Wall)
}

/// The last moment at or before `now` at which a run should have begun; none before the first.
pub fn last(installed: Wall, frequency: SyncFrequency, now: Wall) -> Option<Wall> {
    let period = u64::try_from(period(frequency)?.as_millis()).ok()?;
    let passed = now.0.checked_sub(installed.0)? / period;
    (passed > 0).then(|| Wall(installed.0 + passed * period))
}

/// Whether a run is owed: a moment has passed since the last run began. A clock that was set ahead owes one
/// run, not one for each moment skipped. One that was set back owes none until it has passed that run again;
/// but a run that lies further ahead than a period was noted by a clock that was wrong, and counts for
/// nothing: else a clock that was a year ahead for a minute would stop the sync for a year.
pub fn is_due(installed: Wall, frequency: SyncFrequency, ran: Option<Wall>, now: Wall) -> bool {
    let believed = |ran: &Wall| period(frequency).is_some_and(|period| *ran <= now.after(period));
    match (last(installed, frequency, now), ran.filter(believed)) {
        (Some(due), Some(ran)) => ran < due,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Wall {
        serde_json::from_value(text.into()).unwrap()
    }

    #[test]
    fn runs_keep_the_phase_of_the_installation() {
        use SyncFrequency::{Daily, EveryTwoHours, Hourly, Never};
        let installed = at("2026-03-28T13:14:00Z");
        for (frequency, now, wanted) in [
            (Hourly, "2026-03-28T13:14:00Z", Some("2026-03-28T14:14:00Z")),
            (Hourly, "2026-03-28T14:13:59Z", Some("2026-03-28T14:14:00Z")),
            (Hourly, "2026-03-28T14:14:00Z", Some("2026-03-28T15:14:00Z")),
            (EveryTwoHours, "2026-03-28T14:14:00Z", Some("2026-03-28T15:14:00Z")),
            (EveryTwoHours, "2026-03-28T15:14:00Z", Some("2026-03-28T17:14:00Z")),
            // Over the night in which much of Europe loses an hour.
            (Daily, "2026-03-28T13:15:00Z", Some("2026-03-29T13:14:00Z")),
            (Daily, "2026-03-29T13:14:00Z", Some("2026-03-30T13:14:00Z")),
            // A clock set back to before the installation.
            (Hourly, "2025-01-01T00:00:00Z", Some("2026-03-28T14:14:00Z")),
            (Never, "2026-03-28T14:14:00Z", None),
        ] {
            assert_eq!(next(installed, frequency, at(now)), wanted.map(at), "{frequency:?} at {now}");
        }
    }

    #[test]
    fn a_run_is_owed_once() {
        let installed = at("2026-01-01T13:14:00Z");
        let due = |ran: Option<&str>, now| is_due(installed, SyncFrequency::Hourly, ran.map(at), at(now));
        assert!(!due(None, "2026-01-01T14:13:00Z"));
        assert!(due(None, "2026-01-01T14:14:00Z"));
        assert!(!due(Some("2026-01-01T14:14:00Z"), "2026-01-01T15:13:00Z"));
        // Down for a week: one run, then the next moment.
        assert!(due(Some("2026-01-01T14:14:00Z"), "2026-01-08T10:00:00Z"));
        assert!(!due(Some("2026-01-08T10:00:00Z"), "2026-01-08T10:13:00Z"));
        assert!(due(Some("2026-01-08T10:00:00Z"), "2026-01-08T10:14:00Z"));
        // The clock was set back: by less than a period it repeats nothing, by a day it goes on from there.
        assert!(!due(Some("2026-01-08T10:14:00Z"), "2026-01-08T10:13:59Z"));
        assert!(!due(Some("2026-01-08T10:14:00Z"), "2026-01-08T09:14:30Z"));
        assert!(due(Some("2026-01-08T10:00:00Z"), "2026-01-07T10:14:00Z"));
        assert!(!due(Some("2026-01-07T10:14:00Z"), "2026-01-07T10:15:00Z"));
        assert!(!is_due(installed, SyncFrequency::Never, None, at("2027-01-01T00:00:00Z")));
    }

    proptest! {
        #[test]
        fn the_next_run_is_ahead_by_a_period_at_most_and_in_phase(
            installed in 0..4_000_000_000_000u64,
            now in 0..4_000_000_000_000u64,
            frequency in prop::sample::select(
                &[SyncFrequency::Hourly, SyncFrequency::EveryTwoHours, SyncFrequency::Daily][..]
            ),
        ) {
            let period = u64::try_from(period(frequency).unwrap().as_millis()).unwrap();
            let next = next(Wall(installed), frequency, Wall(now)).unwrap().0;
            prop_assert!(next > now && next > installed);
            prop_assert_eq!((next - installed) % period, 0);
            prop_assert!(next - now.max(installed) <= period);
            prop_assert!(is_due(Wall(installed), frequency, None, Wall(next)));
            prop_assert!(!is_due(Wall(installed), frequency, Some(Wall(next)), Wall(next + period - 1)));
        }
    }
}
