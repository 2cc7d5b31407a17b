//! Time as a value. Rules receive a [`Tick`]; only drivers own a [`Clock`].
//!
//! Deadlines and ages use the monotonic side, so that a step of the wall clock expires nothing.
//! The wall clock is read only where people or tokens need it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds of the process's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// The tick `by` later.
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A moment on the wall clock, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall(pub u64);

impl Wall {
    /// Whole seconds since the Unix epoch, as tokens count.
    pub fn unix_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// The moment `by` later.
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// This long before; the epoch at the earliest.
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }
}

impl std::fmt::Display for Wall {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nanos = i128::from(self.0) * 1_000_000;
        let moment = time::OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(|_| std::fmt::Error)?;
        let (date, at) = (moment.date(), moment.time());
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        )
    }
}

impl serde::Serialize for Wall {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Wall {
    /// Reads RFC 3339; what is finer than a millisecond is dropped.
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        let moment = time::OffsetDateTime::parse(&text, &time::format_description::well_known::Rfc3339);
        let nanos = moment.map_err(serde::de::Error::custom)?.unix_timestamp_nanos();
        Ok(Self(u64::try_from(nanos / 1_000_000).unwrap_or(0)))
    }
}

/// Both clocks at one moment, as handed to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// For deadlines and ages.
    pub tick: Tick,
    /// For people and for versions that outlive the process.
    pub wall: Wall,
}

impl Now {
    /// The wall time of a tick, seen from this moment.
    pub fn wall_of(self, tick: Tick) -> Wall {
        if tick >= self.tick {
            Wall(self.wall.0.saturating_add(tick.0 - self.tick.0))
        } else {
            Wall(self.wall.0.saturating_sub(self.tick.0 - tick.0))
        }
    }

    /// What is left until a moment that another process wrote down: nothing once it has passed, and never more
    /// than `most`, whatever that process's clock said.
    pub fn left_until(self, then: Wall, most: Duration) -> Duration {
        Duration::from_millis(then.0.saturating_sub(self.wall.0)).min(most)
    }

    /// The moment `by` later on both clocks.
    pub fn after(self, by: Duration) -> Self {
        Self { tick: self.tick.after(by), wall: self.wall.after(by) }
    }
}

/// The process's clocks. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts counting ticks now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The monotonic side.
    pub fn tick(&self) -> Tick {
        Tick(millis(self.start.elapsed()))
    }

    /// Both sides.
    pub fn now(&self) -> Now {
        Now { tick: self.tick(), wall: wall() }
    }

    /// The runtime's instant of a tick, for sleeping until it.
    pub fn instant(&self, tick: Tick) -> Instant {
        self.start + Duration::from_millis(tick.0)
    }
}

/// The wall clock now. A clock before 1970 reads as zero.
pub fn wall() -> Wall {
    Wall(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_prints_rfc_3339() {
        assert_eq!(Wall(1_893_456_000_123).to_string(), "2030-01-01T00:00:00.123Z");
    }

    #[test]
    fn wall_reads_what_it_prints() {
        for wall in [Wall(0), Wall(1_893_456_000_123)] {
            let text = serde_json::to_string(&wall).unwrap();
            assert_eq!(serde_json::from_str::<Wall>(&text).unwrap(), wall);
        }
        assert!(serde_json::from_str::<Wall>("\"yesterday\"").is_err());
    }

    #[test]
    fn what_is_left_is_bounded_on_both_sides() {
        let now = Now { tick: Tick(7), wall: Wall(50_000) };
        let left = |then| now.left_until(Wall(then), Duration::from_secs(60)).as_millis();
        assert_eq!(
            [0, 50_000, 50_001, 110_000, 110_001, u64::MAX].map(left),
            [0, 0, 1, 60_000, 60_000, 60_000]
        );
    }

    #[test]
    fn ticks_map_to_wall_in_both_directions() {
        let now = Now { tick: Tick(1_000), wall: Wall(50_000) };
        assert_eq!(now.wall_of(Tick(1_500)), Wall(50_500));
        assert_eq!(now.wall_of(Tick(400)), Wall(49_400));
    }
}
