//! `load lamps`: from a visitor's change to the agent who watches.
//!
//! Every agent watches every visitor. Visitors connect (lamp lit), then hide and show their page at a rate,
//! each change with a number in the presence data, then leave (lamp dark). A push tells an agent about one
//! numbered change and, by that, about all before it: each counts once per agent, at the first push that
//! makes it known. So nothing is left out of the percentiles because the server merged it.
//!
//! Connections that end come back: a visitor's page with the presence it has by then, an agent's with all that it
//! watches. An agent that is told of an absence meanwhile, although the visitor did not leave, saw a flicker.

mod people;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

use super::comeback::Comebacks;
use super::messages::{self, SeenData, SeenVisitor};
use super::pace::{Schedule, parse_duration, parse_rate};
use super::process::{Usage, make_room};
use super::report::{Latency, Live, Percentiles, Report, Tally, per_second, row};
use super::socket::Fault;
use super::target::TargetArgs;
use crate::limits;

pub(super) use people::agent_connect;
use people::{Page, arrive, watch_all};

/// How long the last pushes may take before they count as missing.
const SETTLE: Duration = Duration::from_secs(10);

/// Arguments of `load lamps`.
#[derive(Debug, clap::Args)]
pub(super) struct LampsArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Presence changes per second, over all visitors
    #[arg(long, default_value = "1000", value_parser = parse_rate)]
    pub(super) changes_per_second: f64,
    /// How many visitors change; at most what one agent may watch
    #[arg(long, default_value_t = 500)]
    pub(super) visitors: usize,
    /// How many agent connections watch all of them; accounts take turns
    #[arg(long, default_value_t = 4)]
    pub(super) agents: usize,
    /// How long changes go on
    #[arg(long, default_value = "20s", value_parser = parse_duration)]
    pub(super) duration: Duration,
    /// Reach the rate linearly over this time
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub(super) ramp: Duration,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LampsReport {
    visitors: usize,
    agents: usize,
    changes: u64,
    changes_per_second: f64,
    /// Changes, arrivals and departures, times agents.
    pub(super) expected: u64,
    /// Those that a push made known.
    pub(super) received: u64,
    /// Those among them that a later change's push made known.
    pub(super) merged: u64,
    /// Pairs of agent and visitor where the last state never came.
    pub(super) missing_final: u64,
    /// Pushes older than one that came before.
    pub(super) stale: u64,
    /// Pushes that told nothing new.
    repeated: u64,
    /// Absences that an agent was told although the visitor had not left.
    flickers: u64,
    /// Connections that ended and were made anew, by whose and why.
    pub(super) reconnects: Tally,
    reconnect_latency: Percentiles,
    /// From the `connect` message to the agents.
    lit_latency: Percentiles,
    /// From the planned moment of the change to the agents.
    pub(super) change_latency: Percentiles,
    /// The same from when visitor and agent both had a connection: what is left is the server's doing.
    connected_latency: Percentiles,
    /// From the planned moment of `leave` to the agents.
    dark_latency: Percentiles,
    /// How late the generator itself was; contained in the latencies.
    own_lag: Percentiles,
    pub(super) errors: Tally,
    pub(super) server_cpu_us_per_push: Option<f64>,
}

/// One visitor's history, as sent.
#[derive(Debug, Default)]
struct History {
    /// When each change was due, by its number; number 0 is the arrival.
    due: Vec<Instant>,
    /// When the visitor began to connect last.
    back: Option<Instant>,
    /// Whether the last number is the departure.
    left: bool,
}

#[derive(Debug)]
struct Lamps {
    histories: Box<[Mutex<History>]>,
    lit: Latency,
    changed: Latency,
    connected: Latency,
    dark: Latency,
    lag: Latency,
    received: AtomicU64,
    merged: AtomicU64,
    stale: AtomicU64,
    repeated: AtomicU64,
    flickers: AtomicU64,
    comebacks: Comebacks,
    /// Pairs of agent and visitor whose arrival, or departure, is known.
    known_lit: AtomicUsize,
    known_dark: AtomicUsize,
    progress: Notify,
    /// Sockets may end without blame from here on.
    over: AtomicBool,
    errors: Tally,
}

impl LampsArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let json = self.target.json;
        let report = self.measure().await?;
        report.print(json)?;
        ensure!(
            report.missing_final == 0,
            "{} last states of {} never came",
            report.missing_final,
            report.visitors * report.agents
        );
        ensure!(report.flickers == 0, "agents were told of {} absences that were none", report.flickers);
        ensure!(report.errors.total() == 0, "errors: {}", report.errors);
        Ok(())
    }

    pub(super) async fn measure(&self) -> anyhow::Result<LampsReport> {
        self.check()?;
        let target = self.target.resolve().await?;
        make_room(self.visitors + self.agents)?;
        let lamps = Arc::new(Lamps::new(self.visitors));
        let pairs = self.visitors * self.agents;
        let shown = Arc::clone(&lamps);
        let live = Live::start(self.target.json, self.duration, move |elapsed| shown.line(elapsed));

        watch_all(&self.target.resolve_agents().await?, &lamps, self.agents).await?;
        let pages = arrive(&target, &lamps).await?;
        lamps.wait_for(&lamps.known_lit, pairs).await;

        let server = || Usage::of_all(&self.target.server_pid);
        let (before, before_pushes) = (server()?, lamps.received.load(Ordering::Acquire));
        let started = Instant::now();
        let changes = self.change(&lamps, &pages).await?;
        let over = started.elapsed();
        let (after, after_pushes) = (server()?, lamps.received.load(Ordering::Acquire));
        self.depart(&lamps, &pages).await?;
        lamps.wait_for(&lamps.known_dark, pairs).await;
        lamps.over.store(true, Ordering::Release);
        drop(live);

        let known = lamps.known_dark.load(Ordering::Acquire);
        let pushes = u32::try_from(after_pushes - before_pushes).unwrap_or(u32::MAX);
        Ok(LampsReport {
            visitors: self.visitors,
            agents: self.agents,
            changes,
            changes_per_second: per_second(changes, over),
            expected: (changes + 2 * u64::try_from(self.visitors)?) * u64::try_from(self.agents)?,
            received: lamps.received.load(Ordering::Acquire),
            merged: lamps.merged.load(Ordering::Acquire),
            missing_final: u64::try_from(pairs - known)?,
            stale: lamps.stale.load(Ordering::Acquire),
            repeated: lamps.repeated.load(Ordering::Acquire),
            flickers: lamps.flickers.load(Ordering::Acquire),
            reconnects: lamps.comebacks.take(),
            reconnect_latency: lamps.comebacks.took().percentiles(),
            lit_latency: lamps.lit.percentiles(),
            change_latency: lamps.changed.percentiles(),
            connected_latency: lamps.connected.percentiles(),
            dark_latency: lamps.dark.percentiles(),
            own_lag: lamps.lag.percentiles(),
            errors: lamps.take_errors(),
            server_cpu_us_per_push: before.zip(after).map(|(before, after)| {
                (after.cpu_seconds - before.cpu_seconds) * 1e6 / f64::from(pushes.max(1))
            }),
        })
    }

    /// Refuses what the server's own limits would turn into errors.
    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.visitors > 0 && self.agents > 0, "lamps need at least one visitor and one agent");
        ensure!(
            self.visitors <= limits::WATCHED,
            "{} visitors are more than the {} that one agent may watch",
            self.visitors,
            limits::WATCHED
        );
        let allowed = f64::from(limits::VISITOR_RATE.0) * f64::from(u32::try_from(self.visitors)?);
        ensure!(
            self.changes_per_second <= allowed,
            "{} visitors may send {allowed} messages a second, not {}; raise --visitors",
            self.visitors,
            self.changes_per_second
        );
        Ok(())
    }

    /// Hides and shows pages at the rate, visitor by visitor.
    async fn change(&self, lamps: &Lamps, pages: &[Arc<Page>]) -> anyhow::Result<u64> {
        let schedule = Schedule { rate: self.changes_per_second, ramp: self.ramp };
        let changes = schedule.count_within(self.duration);
        let mut ticks = schedule.start(changes);
        while let Some(due) = ticks.recv().await {
            let visitor = usize::try_from(due.n % u64::try_from(pages.len())?)?;
            let number = lamps.histories[visitor].lock().note(due.at);
            lamps.lag.since(due.at);
            pages[visitor].send(lamps, messages::change(number)).await;
        }
        Ok(changes)
    }

    /// Lets everybody leave, at the same rate.
    async fn depart(&self, lamps: &Lamps, pages: &[Arc<Page>]) -> anyhow::Result<()> {
        let mut ticks = Schedule::flat(self.changes_per_second).start(u64::try_from(pages.len())?);
        while let Some(due) = ticks.recv().await {
            let visitor = usize::try_from(due.n)?;
            {
                let mut history = lamps.histories[visitor].lock();
                history.note(due.at);
                history.left = true;
            }
            pages[visitor].send(lamps, messages::bare("leave")).await;
        }
        Ok(())
    }
}

/// When an agent heard of a visitor.
#[derive(Debug, Clone, Copy)]
struct Moment {
    now: Instant,
    /// Since when it had a connection.
    since: Instant,
}

/// What one agent knows of one visitor.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// How many numbers, from 0, have become known.
    numbers: usize,
    version: u64,
}

impl History {
    /// The number that a new connection begins with: that of the last change, and of the arrival if there is none.
    fn arrive(&mut self) -> u64 {
        self.back = Some(Instant::now());
        match self.due.len() {
            0 => self.note(Instant::now()),
            known => u64::try_from(known - 1).expect("a length"),
        }
    }

    /// What there is to say on a connection that began with a number: the last change since, or that the visitor left.
    fn after(&self, said: u64) -> Option<String> {
        let last = u64::try_from(self.due.len()).expect("a length") - 1;
        if self.left {
            return Some(messages::bare("leave"));
        }
        (last > said).then(|| messages::change(last))
    }

    /// Adds a change and returns its number.
    fn note(&mut self, due: Instant) -> u64 {
        self.due.push(due);
        u64::try_from(self.due.len() - 1).expect("a length")
    }

    /// Which number a push tells about; none when it matches nothing that was sent.
    fn number(&self, visitor: &SeenVisitor, known: Known) -> Option<usize> {
        let last = self.due.len().checked_sub(1)?;
        if visitor.state == "absent" {
            return self.left.then_some(last);
        }
        let told = visitor.data.as_ref().and_then(SeenData::number);
        // Without data the state must do: it alternates, so it tells the next one from the last.
        let number = told.unwrap_or(known.numbers);
        let state = if number.is_multiple_of(2) { "present" } else { "hidden" };
        (number <= last && visitor.state == state).then_some(number)
    }
}

impl Lamps {
    fn new(visitors: usize) -> Self {
        Self {
            histories: (0..visitors).map(|_| Mutex::default()).collect(),
            lit: Latency::default(),
            changed: Latency::default(),
            connected: Latency::default(),
            dark: Latency::default(),
            lag: Latency::default(),
            received: AtomicU64::new(0),
            merged: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            flickers: AtomicU64::new(0),
            comebacks: Comebacks::default(),
            known_lit: AtomicUsize::new(0),
            known_dark: AtomicUsize::new(0),
            progress: Notify::new(),
            over: AtomicBool::new(false),
            errors: Tally::default(),
        }
    }

    /// An agent heard about a visitor.
    fn push(&self, n: usize, known: &mut Known, visitor: &SeenVisitor, at: Moment) {
        if visitor.version.is_some_and(|version| version < known.version) {
            self.stale.fetch_add(1, Ordering::AcqRel);
            return;
        }
        known.version = visitor.version.unwrap_or(known.version);
        let history = self.histories[n].lock();
        if visitor.state == "absent" && known.numbers > 0 && !history.left {
            self.flickers.fetch_add(1, Ordering::AcqRel);
            return;
        }
        let Some(number) = history.number(visitor, *known).filter(|number| *number >= known.numbers) else {
            self.repeated.fetch_add(1, Ordering::AcqRel);
            return;
        };
        let dark = history.left && number + 1 == history.due.len();
        let took = |from: Instant| at.now.saturating_duration_since(from);
        let connected = history.back.map_or(at.since, |back| back.max(at.since));
        for earlier in known.numbers..=number {
            let due = history.due[earlier];
            match earlier {
                0 => self.lit.record(took(due)),
                _ if dark && earlier == number => self.dark.record(took(due)),
                _ => {
                    self.changed.record(took(due));
                    self.connected.record(took(due.max(connected)));
                }
            }
        }
        drop(history);
        let news = number + 1 - known.numbers;
        if known.numbers == 0 {
            self.known_lit.fetch_add(1, Ordering::AcqRel);
        }
        if dark {
            self.known_dark.fetch_add(1, Ordering::AcqRel);
        }
        known.numbers = number + 1;
        let news = u64::try_from(news).expect("a difference of lengths");
        self.received.fetch_add(news, Ordering::AcqRel);
        self.merged.fetch_add(news - 1, Ordering::AcqRel);
        self.progress.notify_one();
    }

    fn ended(&self, who: &str, fault: &Fault) {
        if !self.over.load(Ordering::Acquire) && !self.may_close(fault) {
            self.errors.add(format!("{who}: {}", fault.cause()));
        }
    }

    /// A server may end the connection of a visitor that has left.
    fn may_close(&self, fault: &Fault) -> bool {
        let leaving = self.histories.iter().any(|history| history.lock().left);
        leaving && matches!(fault, Fault::Lost | Fault::Closed { code: 1000 | 4409, .. })
    }

    /// Waits until a count is reached, but not longer than [`SETTLE`].
    async fn wait_for(&self, count: &AtomicUsize, wanted: usize) {
        let reached = async {
            while count.load(Ordering::Acquire) < wanted {
                self.progress.notified().await;
            }
        };
        // Too late means missing, which the report counts.
        let _ = tokio::time::timeout(SETTLE, reached).await;
    }

    fn take_errors(&self) -> Tally {
        let errors = Tally::default();
        errors.take_from(&self.errors);
        errors
    }

    fn line(&self, elapsed: Duration) -> String {
        let received = self.received.load(Ordering::Relaxed);
        let latency = self.changed.percentiles();
        format!(
            "{received} received ({:.0}/s), p50 {} µs, p99 {} µs, {} merged",
            per_second(received, elapsed),
            latency.p50_us,
            latency.p99_us,
            self.merged.load(Ordering::Relaxed)
        )
    }
}

impl Report for LampsReport {
    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![
            row("visitors / agents", format!("{} / {}", self.visitors, self.agents)),
            row("changes", format!("{}, {:.0}/s", self.changes, self.changes_per_second)),
            row(
                "received",
                format!("{} of {} expected, {} merged", self.received, self.expected, self.merged),
            ),
            row("missing last states", self.missing_final),
            row("stale / repeated", format!("{} / {}", self.stale, self.repeated)),
            row("flickers", self.flickers),
            row("reconnects", &self.reconnects),
            row("lit latency", self.lit_latency),
            row("change latency", self.change_latency),
            row("– while connected", self.connected_latency),
            row("dark latency", self.dark_latency),
            row("generator's own lag", self.own_lag),
            row("errors", &self.errors),
        ];
        if self.reconnect_latency.count > 0 {
            rows.push(row("time away", self.reconnect_latency));
        }
        if let Some(cpu) = self.server_cpu_us_per_push {
            rows.push(row("server", format!("{cpu:.1} CPU µs per push")));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::super::testserver::{Conduct, TestServer};
    use super::people::visitor_id;
    use super::*;

    fn args(server: &TestServer) -> LampsArgs {
        LampsArgs {
            target: server.target_args(),
            changes_per_second: 50.0,
            visitors: 10,
            agents: 3,
            duration: Duration::from_millis(400),
            ramp: Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn every_change_reaches_every_agent() {
        let server = TestServer::start(Conduct::default()).await;
        let report = args(&server).measure().await.unwrap();
        assert!(report.changes > 0);
        assert_eq!((report.received, report.missing_final), (report.expected, 0));
        assert_eq!((report.stale, report.errors.total()), (0, 0));
        assert_eq!(report.lit_latency.count + report.dark_latency.count, 2 * 10 * 3);
        assert_eq!(report.change_latency.count, report.changes * 3);
        assert_eq!(report.connected_latency.count, report.change_latency.count);
    }

    #[test]
    fn the_time_that_somebody_was_away_is_not_the_servers() {
        let begun = Instant::now();
        let second = |n: u64| begun + Duration::from_secs(n);
        let heard_after = |visitor: u64, agent: u64| {
            let lamps = Lamps::new(1);
            *lamps.histories[0].lock() =
                History { due: vec![second(0), second(1)], back: Some(second(visitor)), left: false };
            let seen = SeenVisitor {
                visitor_id: visitor_id(0),
                state: "hidden".to_owned(),
                version: Some(1),
                data: Some(SeenData { n: Some(1.0) }),
            };
            let at = Moment { now: second(9), since: second(agent) };
            lamps.push(0, &mut Known::default(), &seen, at);
            [&lamps.changed, &lamps.connected]
                .map(|latency| (latency.percentiles().max_us + 500_000) / 1_000_000)
        };
        assert_eq!(heard_after(0, 0), [8, 8]);
        assert_eq!(heard_after(5, 0), [8, 4]);
        assert_eq!(heard_after(5, 7), [8, 2]);
    }

    #[test]
    fn merged_changes_count_at_the_push_that_made_them_known() {
        let lamps = Lamps::new(1);
        let seen = |state: &str, n: Option<f64>, version| SeenVisitor {
            visitor_id: visitor_id(0),
            state: state.to_owned(),
            version: Some(version),
            data: n.map(|n| SeenData { n: Some(n) }),
        };
        for _ in 0..4 {
            lamps.histories[0].lock().note(Instant::now());
        }
        let mut known = Known::default();
        let at = Moment { now: Instant::now(), since: Instant::now() };
        lamps.push(0, &mut known, &seen("present", Some(0.0), 1), at);
        lamps.push(0, &mut known, &seen("hidden", Some(3.0), 4), at);
        lamps.push(0, &mut known, &seen("present", Some(2.0), 3), at);
        lamps.push(0, &mut known, &seen("hidden", Some(3.0), 5), at);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        assert_eq!((read(&lamps.received), read(&lamps.merged)), (4, 2));
        assert_eq!((read(&lamps.stale), read(&lamps.repeated)), (1, 1));
        // A dark lamp that nobody asked for is no departure.
        lamps.push(0, &mut known, &seen("absent", None, 6), at);
        assert_eq!((lamps.known_dark.load(Ordering::Relaxed), read(&lamps.flickers)), (0, 1));
        {
            let mut history = lamps.histories[0].lock();
            history.note(Instant::now());
            history.left = true;
        }
        lamps.push(0, &mut known, &seen("absent", None, 7), at);
        assert_eq!((lamps.known_dark.load(Ordering::Relaxed), lamps.dark.percentiles().count), (1, 1));
        assert_eq!(read(&lamps.flickers), 1);
    }

    #[tokio::test]
    async fn more_than_the_server_allows_is_refused_beforehand() {
        let server = TestServer::start(Conduct::default()).await;
        let fast = LampsArgs { changes_per_second: 60.0, ..args(&server) };
        assert!(fast.measure().await.unwrap_err().to_string().contains("raise --visitors"));
        let many = LampsArgs { visitors: 1_001, ..args(&server) };
        assert!(many.measure().await.unwrap_err().to_string().contains("1001 visitors"));
    }
}
