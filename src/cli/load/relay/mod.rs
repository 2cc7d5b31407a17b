//! `load relay`: sessions with one publisher and several viewers, counted frame by frame.
//!
//! Each session is opened as people do it: the visitor connects, an agent joins, the visitor accepts the
//! terms, both attach with their tickets; the other viewers join the running session from connections of
//! their own. Frames begin once all viewers are attached, so every viewer must get every frame. Participants whose
//! connection ends come back by their resume token; then frames may be missing, up to a key frame and no further.
//!
//! With `--rate max` a publisher keeps at most [`WINDOW_BYTES`] on their way to its slowest reading viewer
//! (viewers live in this process, so it sees their counts directly). That is less than a viewer's outbox on
//! the server, so nothing has a reason to be shed; latency then measures the full pipe, not the server.

mod agents;
mod publisher;
mod stage;
mod viewer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::comeback::Comebacks;
use super::pace::{Schedule, parse_duration, parse_rate};
use super::process::{Usage, make_room};
use super::report::{Latency, Live, Percentiles, Report, Tally, per_second, row};
use super::target::TargetArgs;
use crate::limits;

use agents::Desk;
use publisher::Pace;
use stage::{Casting, Played, Stage};
use viewer::Seen;

/// Bytes on their way to the slowest viewer with `--rate max`: half of a viewer's outbox.
const WINDOW_BYTES: usize = limits::OUTBOX_BYTES / 2;

/// Frames on their way at least, however large they are, so that publisher and viewers overlap.
const SMALLEST_WINDOW: usize = 2;

/// Smallest frame: header and config block of a key frame fit.
const SMALLEST_FRAME: usize = 128;

/// Viewers that get a row of their own in the table; JSON has them all.
const SHOWN_VIEWERS: usize = 16;

/// How long the last frames may take to arrive once the last is sent.
const SETTLE: Duration = Duration::from_secs(10);

/// Sessions that are opened at the same time.
const OPENING: usize = 8;

/// Between two readings of the server's memory.
const SAMPLE: Duration = Duration::from_millis(250);

/// Arguments of `load relay`.
#[derive(Debug, clap::Args)]
pub(super) struct RelayArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// How many sessions, each with a publisher of its own
    #[arg(long, default_value_t = 1)]
    pub(super) sessions: usize,
    /// Viewers of each session that read and acknowledge
    #[arg(long, default_value_t = 4)]
    pub(super) viewers: usize,
    /// Further viewers of each session that attach and never read
    #[arg(long, default_value_t = 0)]
    pub(super) stalled: usize,
    /// Bytes of a frame, header included
    #[arg(long, default_value_t = 16_384)]
    pub(super) frame_bytes: usize,
    /// Frames per second of each session; latency counts from the planned moment of each
    #[arg(long, default_value_t = 30.0, value_parser = parse_rate, conflicts_with = "rate")]
    pub(super) fps: f64,
    /// `max` sends as fast as the slowest viewer reads
    #[arg(long, value_parser = ["max"])]
    pub(super) rate: Option<String>,
    /// How long frames are sent
    #[arg(long, default_value = "20s", value_parser = parse_duration)]
    pub(super) duration: Duration,
    /// Reach the frame rate linearly over this time
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub(super) ramp: Duration,
    /// Time between two acknowledgements of a viewer
    #[arg(long, default_value = "250ms", value_parser = parse_duration)]
    pub(super) ack_every: Duration,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RelayReport {
    sessions: usize,
    viewers_per_session: usize,
    stalled_per_session: usize,
    frame_bytes: usize,
    seconds: f64,
    pub(super) sent_frames: u64,
    /// Sent frames times the viewers that read.
    pub(super) expected_frames: u64,
    pub(super) delivered_frames: u64,
    pub(super) missing_frames: u64,
    /// Frames that came after a later one, or twice.
    disordered_frames: u64,
    delivered_bytes: u64,
    /// 10^9 bytes.
    delivered_gb: f64,
    gb_per_second: f64,
    key_frame_requests: u64,
    /// Connections that ended and were made anew, by whose and why.
    pub(super) reconnects: Tally,
    reconnect_latency: Percentiles,
    /// Sessions that ended before their publisher ended them, or that a participant could not come back to.
    sessions_lost: u64,
    /// Over all viewers that read.
    pub(super) latency: Percentiles,
    /// How late the generator itself was with `--fps`; contained in the latency.
    own_lag: Percentiles,
    pub(super) errors: Tally,
    pub(super) server: Option<ServerUsage>,
    pub(super) viewers: Vec<ViewerReport>,
}

/// What one viewer got.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ViewerReport {
    session: usize,
    viewer: usize,
    pub(super) frames: u64,
    bytes: u64,
    missing: u64,
    disordered: u64,
    lagging: u64,
    /// Times at which frames were missing.
    gaps: u64,
    /// Gaps after which something other than a key frame came.
    broken: u64,
    /// Whether the last frame sent was the last got, none out of order, and none missing but before a key frame
    /// in a session to which somebody came back.
    pub(super) complete: bool,
    latency: Percentiles,
}

/// What the server used while frames were sent, when its process was named.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerUsage {
    before: Usage,
    after: Usage,
    most_rss_kib: u64,
    cpu_seconds: f64,
    pub(super) cpu_seconds_per_gb: f64,
}

impl RelayArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let json = self.target.json;
        let report = self.measure().await?;
        report.print(json)?;
        ensure!(report.sessions_lost == 0, "{} sessions were lost", report.sessions_lost);
        let incomplete = report.viewers.iter().filter(|viewer| !viewer.complete).count();
        ensure!(
            incomplete == 0,
            "{incomplete} of {} viewers did not get every frame in order",
            report.viewers.len()
        );
        ensure!(report.errors.total() == 0, "errors: {}", report.errors);
        Ok(())
    }

    pub(super) async fn measure(&self) -> anyhow::Result<RelayReport> {
        self.check()?;
        let (target, agents) = (self.target.resolve().await?, self.target.resolve_agents().await?);
        let all_viewers = self.viewers + self.stalled;
        // A visitor, a publisher and viewers in each session; one connection of an agent for each viewer.
        make_room(self.sessions * (2 + all_viewers) + all_viewers)?;
        let (errors, comebacks) = (Arc::new(Tally::default()), Arc::new(Comebacks::default()));
        let desk = Desk::open(&agents, all_viewers).await?;
        let stages: Vec<Stage> =
            stream::iter(0..self.sessions)
                .map(|n| {
                    let casting = Casting {
                        target: &target,
                        agents: &agents,
                        desk: &desk,
                        errors: &errors,
                        comebacks: &comebacks,
                        args: self,
                    };
                    async move {
                        casting.open(n).await.with_context(|| format!("session {n} does not come about"))
                    }
                })
                .buffered(OPENING)
                .try_collect()
                .await?;

        let shown = line(stages.iter().flat_map(Stage::seen).collect());
        let live = Live::start(self.target.json, self.duration, shown);
        let pids = &self.target.server_pid;
        let memory = (!pids.is_empty()).then(|| Memory::watch(pids.clone()));
        let server = || Usage::of_all(&self.target.server_pid);
        let before = server()?;
        let lag = Arc::new(Latency::default());
        let started = Instant::now();
        let playing: Vec<_> =
            stages.into_iter().map(|stage| tokio::spawn(stage.play(self.pace(&lag)))).collect();
        let mut played = Vec::new();
        for session in playing {
            played.push(session.await.context("a session's task panicked")?);
        }
        let after = server()?;
        drop(live);

        let settled = played.iter().map(|played| played.settled).max().unwrap_or(started);
        let mut report = self.report(&played, settled - started);
        report.own_lag = lag.percentiles();
        report.reconnects = comebacks.take();
        report.reconnect_latency = comebacks.took().percentiles();
        report.errors.take_from(&errors);
        report.server = before.zip(after).map(|(before, after)| {
            let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
            let most = memory.map_or(0, |memory| memory.most.load(Ordering::Acquire));
            ServerUsage {
                before,
                after,
                most_rss_kib: most.max(before.rss_kib).max(after.rss_kib),
                cpu_seconds,
                cpu_seconds_per_gb: cpu_seconds / report.delivered_gb.max(1e-9),
            }
        });
        Ok(report)
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.sessions > 0 && self.viewers > 0, "a relay needs at least one session and one viewer");
        ensure!(
            self.viewers + self.stalled <= limits::VIEWERS,
            "{} viewers are more than the {} of a session",
            self.viewers + self.stalled,
            limits::VIEWERS
        );
        ensure!(
            (SMALLEST_FRAME..=limits::FRAME).contains(&self.frame_bytes),
            "frame of {} bytes is not within {SMALLEST_FRAME} and {}",
            self.frame_bytes,
            limits::FRAME
        );
        Ok(())
    }

    /// What sets one publisher's pace, from now on.
    fn pace(&self, lag: &Arc<Latency>) -> Pace {
        if self.rate.is_some() {
            let window = u64::try_from((WINDOW_BYTES / self.frame_bytes).max(SMALLEST_WINDOW))
                .expect("a small number");
            return Pace::Max { window, until: Instant::now() + self.duration };
        }
        let schedule = Schedule { rate: self.fps, ramp: self.ramp };
        let ticks = schedule.start(schedule.count_within(self.duration));
        Pace::Rate { ticks, lag: Arc::clone(lag) }
    }

    fn report(&self, played: &[Played], over: Duration) -> RelayReport {
        let viewers: Vec<_> = played.iter().flat_map(Played::reports).collect();
        let latency = Latency::default();
        for seen in played.iter().flat_map(|played| &played.seen) {
            latency.add(&seen.latency);
        }
        let sent_frames = played.iter().map(|played| played.sent).sum();
        let delivered_frames = viewers.iter().map(|viewer| viewer.frames).sum();
        let delivered_bytes = viewers.iter().map(|viewer| viewer.bytes).sum();
        let expected_frames = sent_frames * u64::try_from(self.viewers).expect("at most a session's viewers");
        RelayReport {
            sessions: self.sessions,
            viewers_per_session: self.viewers,
            stalled_per_session: self.stalled,
            frame_bytes: self.frame_bytes,
            seconds: over.as_secs_f64(),
            sent_frames,
            expected_frames,
            delivered_frames,
            missing_frames: viewers.iter().map(|viewer| viewer.missing).sum(),
            disordered_frames: viewers.iter().map(|viewer| viewer.disordered).sum(),
            delivered_bytes,
            delivered_gb: gigabytes(delivered_bytes),
            gb_per_second: gigabytes(delivered_bytes) / over.as_secs_f64().max(1e-9),
            key_frame_requests: played.iter().map(|played| played.key_frame_requests).sum(),
            reconnects: Tally::default(),
            reconnect_latency: Percentiles::default(),
            sessions_lost: count(played.iter().filter(|played| played.lost).count()),
            latency: latency.percentiles(),
            own_lag: Percentiles::default(),
            errors: Tally::default(),
            server: None,
            viewers,
        }
    }
}

fn count(things: usize) -> u64 {
    u64::try_from(things).expect("a count")
}

fn gigabytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let bytes = bytes as f64;
    bytes / 1e9
}

/// Watches the memory of processes until it is dropped.
struct Memory {
    most: Arc<AtomicU64>,
    watching: tokio::task::JoinHandle<()>,
}

impl Memory {
    fn watch(pids: Vec<u32>) -> Self {
        let most = Arc::new(AtomicU64::new(0));
        let kept = Arc::clone(&most);
        let watching = tokio::spawn(async move {
            let mut sample = tokio::time::interval(SAMPLE);
            loop {
                sample.tick().await;
                let Ok(Some(usage)) = Usage::of_all(&pids) else { return };
                kept.fetch_max(usage.rss_kib, Ordering::AcqRel);
            }
        });
        Self { most, watching }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// The live line over all viewers.
fn line(seen: Vec<Arc<Seen>>) -> impl Fn(Duration) -> String {
    move |elapsed| {
        let sum = |count: fn(&Seen) -> &AtomicU64| -> u64 {
            seen.iter().map(|seen| count(seen).load(Ordering::Relaxed)).sum()
        };
        let (frames, bytes) = (sum(|seen| &seen.frames), sum(|seen| &seen.bytes));
        format!(
            "{frames} frames to {} viewers ({:.0}/s), {:.2} GB ({:.1} MB/s)",
            seen.len(),
            per_second(frames, elapsed),
            gigabytes(bytes),
            gigabytes(bytes) * 1e3 / elapsed.as_secs_f64().max(1e-9)
        )
    }
}

impl Report for RelayReport {
    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![
            row("sessions / viewers", format!("{} / {}", self.sessions, self.viewers.len())),
            row(
                "frames",
                format!(
                    "{} of {} B sent; {} of {} delivered, {} missing, {} out of order",
                    self.sent_frames,
                    self.frame_bytes,
                    self.delivered_frames,
                    self.expected_frames,
                    self.missing_frames,
                    self.disordered_frames
                ),
            ),
            row(
                "delivered",
                format!(
                    "{:.3} GB in {:.1} s, {:.3} GB/s",
                    self.delivered_gb, self.seconds, self.gb_per_second
                ),
            ),
            row("latency", self.latency),
            row("generator's own lag", self.own_lag),
            row("key frame requests", self.key_frame_requests),
            row("sessions lost", self.sessions_lost),
            row("reconnects", &self.reconnects),
            row("errors", &self.errors),
        ];
        if self.reconnect_latency.count > 0 {
            rows.push(row("time away", self.reconnect_latency));
        }
        if let Some(server) = &self.server {
            let cost = format!("{:.2} CPU s, {:.3} CPU s/GB", server.cpu_seconds, server.cpu_seconds_per_gb);
            rows.push(row("server", cost));
            let memory = format!("{} KiB before, {} at most", server.before.rss_kib, server.most_rss_kib);
            rows.push(row("server memory", memory));
        }
        for viewer in self.viewers.iter().take(SHOWN_VIEWERS) {
            let name = format!("session {} viewer {}", viewer.session, viewer.viewer);
            let frames = format!("{} frames, {} missing, {}", viewer.frames, viewer.missing, viewer.latency);
            rows.push((name, frames));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::super::testserver::{Conduct, TestServer};
    use super::*;

    fn args(server: &TestServer) -> RelayArgs {
        RelayArgs {
            target: server.target_args(),
            sessions: 2,
            viewers: 3,
            stalled: 0,
            frame_bytes: 2_000,
            fps: 100.0,
            rate: None,
            duration: Duration::from_millis(200),
            ramp: Duration::ZERO,
            ack_every: Duration::from_millis(20),
        }
    }

    #[tokio::test]
    async fn every_viewer_gets_every_frame() {
        let server = TestServer::start(Conduct::default()).await;
        let report = args(&server).measure().await.unwrap();
        assert_eq!((report.sent_frames, report.viewers.len()), (40, 6));
        assert_eq!((report.delivered_frames, report.expected_frames), (120, 120));
        assert_eq!(report.delivered_bytes, 120 * 2_000);
        assert_eq!((report.missing_frames, report.disordered_frames, report.errors.total()), (0, 0, 0));
        assert_eq!((report.sessions_lost, report.reconnects.total()), (0, 0));
        assert_eq!(report.latency.count, 120);
        assert!(report.viewers.iter().all(|viewer| viewer.complete && viewer.frames == 20));
        let published = server.published();
        assert_eq!(published.iter().filter(|(sequence, key)| *sequence == 0 && *key).count(), 2);
        assert_eq!(published.iter().filter(|(_, key)| *key).count(), 2);
    }

    #[tokio::test]
    async fn at_full_speed_nobody_is_left_behind() {
        let server = TestServer::start(Conduct::default()).await;
        let fast = RelayArgs { rate: Some("max".to_owned()), sessions: 1, stalled: 1, ..args(&server) };
        let report = fast.measure().await.unwrap();
        assert!(report.sent_frames > 0);
        assert_eq!(report.delivered_frames, 3 * report.sent_frames);
        assert_eq!((report.viewers.len(), report.missing_frames, report.errors.total()), (3, 0, 0));
    }

    #[tokio::test]
    async fn a_lost_frame_is_found_and_fails_the_run() {
        let server = TestServer::start(Conduct { lose_frame: Some(5), ..Conduct::default() }).await;
        let report = args(&server).measure().await.unwrap();
        assert_eq!((report.missing_frames, report.disordered_frames), (2, 0));
        let incomplete: Vec<_> = report.viewers.iter().filter(|viewer| !viewer.complete).collect();
        assert!(incomplete.len() == 2 && incomplete.iter().all(|viewer| viewer.viewer == 2));
        assert!(incomplete.iter().all(|viewer| (viewer.gaps, viewer.broken) == (1, 1)));
        let server = TestServer::start(Conduct { lose_frame: Some(5), ..Conduct::default() }).await;
        assert!(args(&server).run().await.unwrap_err().to_string().contains("2 of 6 viewers"));
    }

    #[tokio::test]
    async fn a_session_that_ends_before_its_time_is_lost() {
        let server = TestServer::start(Conduct { end_at: Some(5), ..Conduct::default() }).await;
        let report = args(&server).measure().await.unwrap();
        assert_eq!((report.sessions_lost, report.reconnects.total()), (2, 0), "{}", report.errors);
        let server = TestServer::start(Conduct { end_at: Some(5), ..Conduct::default() }).await;
        assert!(args(&server).run().await.unwrap_err().to_string().contains("2 sessions were lost"));
    }

    #[tokio::test]
    async fn a_key_frame_follows_each_request() {
        let server = TestServer::start(Conduct { ask_key_frames: true, ..Conduct::default() }).await;
        let report = RelayArgs { sessions: 1, ..args(&server) }.measure().await.unwrap();
        assert!(report.key_frame_requests >= 19, "{}", report.key_frame_requests);
        assert!(server.published().iter().filter(|(_, key)| *key).count() > 1);
    }

    #[tokio::test]
    async fn impossible_loads_are_refused_beforehand() {
        let server = TestServer::start(Conduct::default()).await;
        for bad in [
            RelayArgs { viewers: 65, ..args(&server) },
            RelayArgs { viewers: 0, ..args(&server) },
            RelayArgs { frame_bytes: 100, ..args(&server) },
            RelayArgs { frame_bytes: limits::FRAME + 1, ..args(&server) },
        ] {
            assert!(bad.measure().await.is_err());
        }
    }
}
