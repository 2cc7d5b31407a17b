//! `load visitors`: many visitors arrive at a rate, stay, reload and navigate.
//!
//! Each is one task that holds one socket with a 512-byte read buffer; what connecting needed is boxed and
//! freed. Whose connection ends comes back as the contract says, which is counted by cause; who can't is lost.

mod life;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;
use tokio::sync::{Notify, mpsc};

use super::comeback::Comebacks;
use super::messages::{self, Presence, VisitorHears};
use super::pace::{Due, Schedule, parse_duration, parse_rate};
use super::process::{Usage, make_room};
use super::report::{Latency, Live, Percentiles, Report, Tally, per_second, row};
use super::socket::{Audience, Fault, Incoming, Socket, hear_text, open, say};
use super::target::{Target, TargetArgs};
use crate::limits;

use life::visit;

/// From so many visitors on, what the process itself grew by is theirs and not the runtime's.
const ENOUGH_TO_DIVIDE: usize = 1_000;

/// Arguments of `load visitors`.
#[derive(Debug, clap::Args)]
pub(super) struct VisitorsArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// How many visitors
    #[arg(long, default_value_t = 1_000)]
    pub(super) count: usize,
    /// Connects per second; latency counts from the planned moment of each
    #[arg(long, default_value = "500", value_parser = parse_rate)]
    pub(super) rate: f64,
    /// Reach the rate linearly over this time
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub(super) ramp: Duration,
    /// Hold the visitors for this long once all have connected or failed
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    pub(super) hold: Duration,
    /// Bytes of presence data of each visitor: page, client facts and custom data as JSON
    #[arg(long, default_value_t = 200)]
    pub(super) data_bytes: usize,
    /// Page reloads per second during the hold: one visitor disconnects and comes back
    #[arg(long, value_name = "PER_SECOND", value_parser = parse_rate)]
    pub(super) churn: Option<f64>,
    /// Page changes per second during the hold
    #[arg(long, value_name = "PER_SECOND", value_parser = parse_rate)]
    pub(super) navigate: Option<f64>,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VisitorsReport {
    asked: usize,
    connected: u64,
    pub(super) still_connected: usize,
    failed: u64,
    lost: u64,
    connect_seconds: f64,
    connects_per_second: f64,
    /// From the planned moment to `connected`.
    connect_latency: Percentiles,
    pub(super) reloads: u64,
    reload_latency: Percentiles,
    pub(super) navigations: u64,
    /// Connections that ended and were made anew, by cause.
    reconnects: Tally,
    reconnect_latency: Percentiles,
    errors: Tally,
    held_seconds: f64,
    own_bytes_per_visitor: Option<u64>,
    server: Option<ServerUsage>,
}

/// What the server used, when its process was named.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerUsage {
    before: Usage,
    connected: Usage,
    held: Usage,
    bytes_per_visitor: u64,
    connect_cpu_us_per_visitor: f64,
    /// Share of one core during the hold.
    held_cpu_share: f64,
}

/// What a visitor is asked to do besides staying.
#[derive(Debug, Default)]
struct Slot {
    wake: Notify,
    /// Microseconds after the start at which a reload was due; 0 is none.
    reload_due: AtomicU64,
    navigate: AtomicBool,
    stop: AtomicBool,
    /// Nobody is here to follow what is asked.
    gone: AtomicBool,
}

#[derive(Debug)]
struct Crowd {
    target: Target,
    data_bytes: usize,
    start: Instant,
    slots: Box<[Slot]>,
    connects: Latency,
    reloads: Latency,
    present: AtomicUsize,
    /// Visitors whose first connect succeeded or failed.
    settled: AtomicUsize,
    all_settled: Notify,
    /// Reloads that were asked for and have not ended, and visitors that come back.
    moving: AtomicUsize,
    comebacks: Comebacks,
    navigations: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
    errors: Tally,
}

impl VisitorsArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let json = self.target.json;
        let report = self.measure().await?;
        report.print(json)?;
        let wanted = report.asked;
        ensure!(
            report.failed == 0 && report.lost == 0 && report.still_connected == wanted,
            "{} of {wanted} visitors are connected at the end",
            report.still_connected
        );
        Ok(())
    }

    pub(super) async fn measure(&self) -> anyhow::Result<VisitorsReport> {
        ensure!(self.count > 0, "no visitors to connect");
        ensure!(
            self.data_bytes <= limits::PRESENCE_DATA,
            "presence data of {} bytes exceeds {}",
            self.data_bytes,
            limits::PRESENCE_DATA
        );
        let target = self.target.resolve().await?;
        make_room(self.count)?;
        let server = || Usage::of_all(&self.target.server_pid);
        let (before, own_before) = (server()?, Usage::own());
        let crowd = Arc::new(Crowd::new(target, self.count, self.data_bytes));
        let shown = Arc::clone(&crowd);
        let (schedule, count) = (Schedule { rate: self.rate, ramp: self.ramp }, u64::try_from(self.count)?);
        let planned = schedule.offset(count) + self.hold;
        let live = Live::start(self.target.json, planned, move |elapsed| shown.line(elapsed));

        let started = Instant::now();
        let mut ticks = schedule.start(count);
        while let Some(due) = ticks.recv().await {
            tokio::spawn(visit(Arc::clone(&crowd), due));
        }
        while crowd.settled.load(Ordering::Acquire) < self.count {
            crowd.all_settled.notified().await;
        }
        let connecting = started.elapsed();
        let (connected, own) = (server()?, Usage::own());

        let holding = Instant::now();
        self.keep(&crowd).await?;
        let held_for = holding.elapsed();
        let held = server()?;
        drop(live);
        let report = crowd.report(connecting, held_for);
        let count = u64::try_from(self.count)?;
        let per_visitor =
            |before: Usage, after: Usage| after.rss_kib.saturating_sub(before.rss_kib) * 1_024 / count;
        crowd.stop();
        Ok(VisitorsReport {
            own_bytes_per_visitor: own_before
                .zip(own)
                .filter(|_| self.count >= ENOUGH_TO_DIVIDE)
                .map(|(before, after)| per_visitor(before, after)),
            server: before.zip(connected).zip(held).map(|((before, connected), held)| ServerUsage {
                before,
                connected,
                held,
                bytes_per_visitor: per_visitor(before, held),
                connect_cpu_us_per_visitor: (connected.cpu_seconds - before.cpu_seconds) * 1e6
                    / f64::from(u32::try_from(self.count).unwrap_or(u32::MAX)),
                held_cpu_share: (held.cpu_seconds - connected.cpu_seconds) / held_for.as_secs_f64().max(1e-9),
            }),
            ..report
        })
    }

    /// Holds everybody, with reloads and page changes as asked, until the time is over or Ctrl-C.
    async fn keep(&self, crowd: &Arc<Crowd>) -> anyhow::Result<()> {
        let mut reloads = self.churn.map(|rate| Schedule::flat(rate).start(u64::MAX));
        let mut moves = self.navigate.map(|rate| Schedule::flat(rate).start(u64::MAX));
        let end = tokio::time::sleep(self.hold);
        tokio::pin!(end);
        loop {
            tokio::select! {
                biased;
                () = &mut end => break,
                stopped = tokio::signal::ctrl_c() => { stopped?; break }
                Some(due) = next(&mut reloads) => crowd.ask_reload(due),
                Some(due) = next(&mut moves) => crowd.ask_navigate(due),
            }
        }
        // Who reloads or comes back is neither here nor lost; both end within their patience.
        while crowd.moving.load(Ordering::SeqCst) > 0 {
            crowd.all_settled.notified().await;
        }
        Ok(())
    }
}

async fn next(ticks: &mut Option<mpsc::Receiver<Due>>) -> Option<Due> {
    match ticks {
        Some(ticks) => ticks.recv().await,
        None => std::future::pending().await,
    }
}

impl Crowd {
    fn new(target: Target, count: usize, data_bytes: usize) -> Self {
        Self {
            target,
            data_bytes,
            start: Instant::now(),
            slots: (0..count).map(|_| Slot::default()).collect(),
            connects: Latency::default(),
            reloads: Latency::default(),
            present: AtomicUsize::new(0),
            settled: AtomicUsize::new(0),
            all_settled: Notify::new(),
            moving: AtomicUsize::new(0),
            comebacks: Comebacks::default(),
            navigations: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            errors: Tally::default(),
        }
    }

    fn slot(&self, due: Due) -> &Slot {
        let count = u64::try_from(self.slots.len()).expect("a count of slots");
        &self.slots[usize::try_from(due.n % count).expect("below the count of slots")]
    }

    /// Visitors take turns. Two orders before the first is begun are one reload.
    fn ask_reload(&self, due: Due) {
        let slot = self.slot(due);
        let micros =
            u64::try_from(due.at.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX);
        self.moving.fetch_add(1, Ordering::SeqCst);
        if slot.reload_due.swap(micros.max(1), Ordering::SeqCst) != 0 {
            self.end_move();
        }
        if slot.gone.load(Ordering::SeqCst) {
            self.forget_reload(slot);
        }
        slot.wake.notify_one();
    }

    /// Whoever takes the due moment out of the slot ends the reload; so each ends once.
    fn forget_reload(&self, slot: &Slot) {
        if slot.reload_due.swap(0, Ordering::SeqCst) != 0 {
            self.end_move();
        }
    }

    fn leave_slot(&self, slot: &Slot) {
        slot.gone.store(true, Ordering::SeqCst);
        self.forget_reload(slot);
    }

    fn ask_navigate(&self, due: Due) {
        let slot = self.slot(due);
        slot.navigate.store(true, Ordering::Release);
        slot.wake.notify_one();
    }

    fn stop(&self) {
        for slot in &self.slots {
            slot.stop.store(true, Ordering::Release);
            slot.wake.notify_one();
        }
    }

    fn line(&self, elapsed: Duration) -> String {
        let settled = self.settled.load(Ordering::Relaxed);
        format!(
            "{} of {} visitors present, {:.0} connects/s, {} failed, {} lost",
            self.present.load(Ordering::Relaxed),
            self.slots.len(),
            per_second(u64::try_from(settled).unwrap_or(u64::MAX), elapsed),
            self.failed.load(Ordering::Relaxed),
            self.lost.load(Ordering::Relaxed),
        )
    }

    fn report(self: &Arc<Self>, connecting: Duration, held: Duration) -> VisitorsReport {
        let connect_latency = self.connects.percentiles();
        let errors = Tally::default();
        errors.take_from(&self.errors);
        let reload_latency = self.reloads.percentiles();
        VisitorsReport {
            asked: self.slots.len(),
            connected: connect_latency.count,
            still_connected: self.present.load(Ordering::Acquire),
            failed: self.failed.load(Ordering::Acquire),
            lost: self.lost.load(Ordering::Acquire),
            connect_seconds: connecting.as_secs_f64(),
            connects_per_second: per_second(connect_latency.count, connecting),
            connect_latency,
            reloads: reload_latency.count,
            reload_latency,
            navigations: self.navigations.load(Ordering::Acquire),
            reconnects: self.comebacks.take(),
            reconnect_latency: self.comebacks.took().percentiles(),
            errors,
            held_seconds: held.as_secs_f64(),
            own_bytes_per_visitor: None,
            server: None,
        }
    }

    /// From nothing to present.
    async fn enter(&self, n: usize) -> Result<Socket, Fault> {
        let mut socket = open(&self.target, Audience::Visitor, n).await?;
        let presence = Presence::sized(n, self.data_bytes);
        let visitor_id = format!("load-{n:06}");
        say(&mut socket, messages::visitor_connect(&self.target.group, &visitor_id, &presence)).await?;
        connected(&mut socket).await?;
        Ok(socket)
    }
}

/// Waits until the server has taken a visitor in.
pub(super) async fn connected(socket: &mut (impl Incoming + Unpin)) -> Result<(), Fault> {
    loop {
        match hear_text(socket).await? {
            VisitorHears::Connected {} => return Ok(()),
            VisitorHears::Error { code, message } => return Err(Fault::Told { code, message }),
            _ => {}
        }
    }
}

impl Report for VisitorsReport {
    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![
            row("visitors", format!("{} of {} still connected", self.still_connected, self.asked)),
            row(
                "connects",
                format!(
                    "{} in {:.1} s, {:.0}/s",
                    self.connected, self.connect_seconds, self.connects_per_second
                ),
            ),
            row("connect latency", self.connect_latency),
            row("failed / lost", format!("{} / {}", self.failed, self.lost)),
            row("reconnects", &self.reconnects),
            row("errors", &self.errors),
            row("held", format!("{:.1} s", self.held_seconds)),
        ];
        if self.reconnect_latency.count > 0 {
            rows.push(row("time away", self.reconnect_latency));
        }
        if self.reloads > 0 {
            rows.push(row("reload latency", self.reload_latency));
        }
        if self.navigations > 0 {
            rows.push(row("page changes", self.navigations));
        }
        if let Some(bytes) = self.own_bytes_per_visitor {
            rows.push(row("load generator", format!("{bytes} B per visitor")));
        }
        if let Some(server) = &self.server {
            rows.push(row("server memory", format!("{} B per visitor", server.bytes_per_visitor)));
            rows.push(row(
                "server connect",
                format!("{:.1} CPU µs per visitor", server.connect_cpu_us_per_visitor),
            ));
            rows.push(row("server idle", format!("{:.2} % of a core", server.held_cpu_share * 100.0)));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::super::testserver::{Conduct, TestServer};
    use super::*;

    fn args(server: &TestServer, count: usize) -> VisitorsArgs {
        VisitorsArgs {
            target: server.target_args(),
            count,
            rate: 10_000.0,
            ramp: Duration::ZERO,
            hold: Duration::ZERO,
            data_bytes: 200,
            churn: None,
            navigate: None,
        }
    }

    #[tokio::test]
    async fn every_visitor_is_counted_once() {
        let server = TestServer::start(Conduct::default()).await;
        let report = args(&server, 40).measure().await.unwrap();
        assert_eq!((report.asked, report.connected, report.still_connected), (40, 40, 40));
        assert_eq!((report.failed, report.lost, report.errors.total()), (0, 0, 0));
        let ids = server.visitor_ids();
        assert_eq!(ids.len(), 40);
        assert!(ids.contains("load-000000") && ids.contains("load-000039"));
    }

    #[tokio::test]
    async fn refusals_are_told_apart_and_fail_the_run() {
        let server = TestServer::start(Conduct { refuse_from: Some(30), ..Conduct::default() }).await;
        let report = args(&server, 40).measure().await.unwrap();
        assert_eq!((report.connected, report.still_connected, report.failed), (30, 30, 10));
        assert_eq!(report.errors.to_string(), "4003 overload × 10");
        assert!(args(&server, 40).run().await.is_err());
    }

    #[tokio::test]
    async fn who_is_sent_away_comes_back_and_is_counted() {
        let server = TestServer::start(Conduct { drain_first: 7, ..Conduct::default() }).await;
        let hold = Duration::from_secs(1);
        let report = VisitorsArgs { hold, ..args(&server, 10) }.measure().await.unwrap();
        assert_eq!((report.connected, report.still_connected, report.lost), (10, 10, 0));
        assert_eq!(report.reconnects.to_string(), "visitor: 4000 drain × 7");
        assert_eq!((report.reconnect_latency.count, report.errors.total()), (7, 0));
        assert_eq!((server.connects(), server.visitor_ids().len()), (17, 10));
    }

    #[tokio::test]
    async fn reloads_and_page_changes_lose_nobody() {
        let server = TestServer::start(Conduct::default()).await;
        let hold = Duration::from_millis(300);
        let busy = VisitorsArgs { churn: Some(100.0), navigate: Some(100.0), hold, ..args(&server, 10) };
        let report = busy.measure().await.unwrap();
        assert_eq!((report.still_connected, report.lost), (10, 0));
        assert!(report.reloads > 0 && report.navigations > 0);
        assert_eq!(u64::try_from(server.connects()).unwrap(), 10 + report.reloads);
    }
}
