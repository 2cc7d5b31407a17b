//! Figures and how they are shown: latencies, counts by cause, a live line, a final table or JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use serde::{Serialize, Serializer};

/// How often the bar and its live line are drawn anew.
const REDRAW: Duration = Duration::from_millis(500);

/// Longer than any run: a day.
const LONGEST_US: u64 = 24 * 3_600 * 1_000_000;

/// Durations in microseconds, each kept with three significant digits however long it was.
#[derive(Debug)]
pub(super) struct Latency(Mutex<Histogram<u32>>);

impl Default for Latency {
    fn default() -> Self {
        Self(Mutex::new(Histogram::new(3).expect("three digits are allowed")))
    }
}

/// What a [`Latency`] comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Percentiles {
    pub(super) count: u64,
    pub(super) p50_us: u64,
    pub(super) p90_us: u64,
    pub(super) p99_us: u64,
    pub(super) max_us: u64,
}

impl Latency {
    pub(super) fn record(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min(LONGEST_US);
        // Never the saturating way: that puts an outlier at the end of what was seen before and hides it.
        self.0.lock().record(micros).expect("a histogram that resizes itself takes any value up to a day");
    }

    /// Records from the moment something was due until now.
    pub(super) fn since(&self, due: Instant) {
        self.record(due.elapsed());
    }

    pub(super) fn add(&self, other: &Self) {
        self.0.lock().add(&*other.0.lock()).expect("a histogram that resizes itself takes another");
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let histogram = self.0.lock();
        if histogram.is_empty() {
            return Percentiles::default();
        }
        Percentiles {
            count: histogram.len(),
            p50_us: histogram.value_at_quantile(0.5),
            p90_us: histogram.value_at_quantile(0.9),
            p99_us: histogram.value_at_quantile(0.99),
            max_us: histogram.max(),
        }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.count == 0 {
            return f.write_str("–");
        }
        write!(
            f,
            "p50 {}  p90 {}  p99 {}  max {}  (n {})",
            Micros(self.p50_us),
            Micros(self.p90_us),
            Micros(self.p99_us),
            Micros(self.max_us),
            self.count
        )
    }
}

struct Micros(u64);

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
        let micros = self.0 as f64;
        if micros < 1e3 {
            write!(f, "{micros:.0} µs")
        } else if micros < 1e6 {
            write!(f, "{:.2} ms", micros / 1e3)
        } else {
            write!(f, "{:.2} s", micros / 1e6)
        }
    }
}

/// Counts by cause.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    pub(super) fn add(&self, cause: impl Into<String>) {
        *self.0.lock().entry(cause.into()).or_default() += 1;
    }

    /// Moves the counts of another tally here.
    pub(super) fn take_from(&self, other: &Self) {
        for (cause, count) in std::mem::take(&mut *other.0.lock()) {
            *self.0.lock().entry(cause).or_default() += count;
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.0.lock().values().sum()
    }
}

impl Serialize for Tally {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.lock().serialize(s)
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = self.0.lock();
        if counts.is_empty() {
            return f.write_str("none");
        }
        let mut rows: Vec<_> = counts.iter().collect();
        rows.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let rows: Vec<_> = rows.iter().map(|(cause, count)| format!("{cause} × {count}")).collect();
        f.write_str(&rows.join(", "))
    }
}

/// Something that is shown either as a table of names and values or as one JSON object.
pub(super) trait Report: Serialize {
    /// The rows, in order.
    fn rows(&self) -> Vec<(String, String)>;

    /// Prints it to standard output.
    fn print(&self, json: bool) -> anyhow::Result<()> {
        let mut text = String::new();
        if json {
            text = serde_json::to_string(self)?;
            text.push('\n');
        } else {
            let rows = self.rows();
            let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
            for (name, value) in rows {
                writeln!(text, "{name:<width$}  {value}")?;
            }
        }
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(())
    }
}

/// A row of a table.
pub(super) fn row(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

/// A bar of the planned time with the live rates beside it, on a terminal; nothing with `--json` or without one.
#[derive(Debug)]
pub(super) struct Live {
    bar: ProgressBar,
    drawing: Option<tokio::task::JoinHandle<()>>,
}

impl Live {
    /// Draws how much of `planned` is over and what `line` says, twice a second, until it is dropped. A run that
    /// takes longer than planned stays at the end of its bar.
    pub(super) fn start(
        json: bool,
        planned: Duration,
        line: impl Fn(Duration) -> String + Send + 'static,
    ) -> Self {
        if json {
            return Self { bar: ProgressBar::hidden(), drawing: None };
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let whole = millis(planned).max(1);
        let style = ProgressStyle::with_template("{bar:24} {percent:>3} % {elapsed:>4}  {msg}");
        let bar = ProgressBar::new(whole).with_style(style.expect("a fixed template"));
        let drawn = bar.clone();
        let start = Instant::now();
        let drawing = tokio::spawn(async move {
            let mut redraw = tokio::time::interval(REDRAW);
            loop {
                redraw.tick().await;
                let elapsed = start.elapsed();
                drawn.set_message(line(elapsed));
                drawn.set_position(millis(elapsed).min(whole));
                drawn.tick();
            }
        });
        Self { bar, drawing: Some(drawing) }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(drawing) = &self.drawing {
            drawing.abort();
        }
        self.bar.finish_and_clear();
    }
}

/// How many per second; zero when no time has passed.
pub(super) fn per_second(count: u64, over: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let count = count as f64;
    if over.is_zero() { 0.0 } else { count / over.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_keep_the_slowest() {
        let latency = Latency::default();
        for micros in 1..=1_000 {
            latency.record(Duration::from_micros(micros));
        }
        latency.record(Duration::from_secs(100));
        let all = latency.percentiles();
        assert_eq!((all.count, all.p50_us, all.p99_us), (1_001, 501, 991));
        assert!(all.max_us.abs_diff(100_000_000) <= 100_000, "{}", all.max_us);
        let sum = Latency::default();
        sum.add(&latency);
        assert_eq!(sum.percentiles(), all);
    }

    #[test]
    fn nothing_measured_is_shown_as_nothing() {
        assert_eq!(Percentiles::default().to_string(), "–");
        assert_eq!(Tally::default().to_string(), "none");
        assert!(per_second(5, Duration::ZERO).abs() < f64::EPSILON);
    }

    #[tokio::test]
    async fn the_bar_follows_the_planned_time_and_stays_at_its_end() {
        for (planned, length) in [(Duration::from_secs(3_600), 3_600_000), (Duration::ZERO, 1)] {
            let (drawn, mut lines) = tokio::sync::mpsc::unbounded_channel();
            let live = Live::start(false, planned, move |_| {
                let _ = drawn.send(());
                "5 a second".to_owned()
            });
            // A line that is asked for is on the bar before its task pauses.
            lines.recv().await.unwrap();
            assert_eq!((live.bar.length(), live.bar.message().as_str()), (Some(length), "5 a second"));
            assert!(live.bar.position() < 3_600_000);
        }
        assert!(Live::start(true, REDRAW, |_| String::new()).drawing.is_none(), "JSON stays alone");
    }

    #[test]
    fn causes_are_counted_apart() {
        let tally = Tally::default();
        for cause in ["timeout", "4003 overload", "timeout"] {
            tally.add(cause);
        }
        assert_eq!((tally.total(), tally.to_string().as_str()), (3, "timeout × 2, 4003 overload × 1"));
    }
}
