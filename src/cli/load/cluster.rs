//! `load cluster`: what it costs when the agent is on another node than the visitor.
//!
//! The same load within the first node and then from the first to the second, round by round, so that whatever
//! else the machine does meets both. Says figures and their ratios; nothing expected may be missing in any.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;

use super::lamps::LampsArgs;
use super::pace::{parse_duration, parse_rate};
use super::relay::RelayArgs;
use super::report::{Report, row};
use super::target::TargetArgs;

/// Arguments of `load cluster`.
#[derive(Debug, clap::Args)]
pub(super) struct ClusterArgs {
    /// `dev.json` of a node, or its data directory; the visitor's node first, then the agents'
    #[arg(long, value_name = "PATH", num_args = 2, required = true)]
    nodes: Vec<PathBuf>,
    /// Processes whose CPU time counts: both nodes and their Redis
    #[arg(long, value_name = "PID", num_args = 1..)]
    pids: Vec<u32>,
    /// Rounds of each comparison
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Presence changes per second
    #[arg(long, default_value = "500", value_parser = parse_rate)]
    changes_per_second: f64,
    /// Bytes of a frame
    #[arg(long, default_value_t = 16_384)]
    frame_bytes: usize,
    /// Viewers of the session whose frames are relayed
    #[arg(long, default_value_t = 4)]
    viewers: usize,
    /// Frames per second
    #[arg(long, default_value_t = 300.0, value_parser = parse_rate)]
    fps: f64,
    /// How long each load of a round goes on
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    duration: Duration,
    /// Authority that vouches for nodes with TLS (PEM) [default: those that this system trusts]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Print one JSON object instead of progress and a table
    #[arg(long)]
    json: bool,
}

/// One kind of figure, within a node and across.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pair {
    within: Vec<f64>,
    across: Vec<f64>,
}

/// What came of it, each figure round by round.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterReport {
    /// From a visitor's change to the agents, µs.
    lamp_p50_us: Pair,
    lamp_p99_us: Pair,
    /// CPU of all named processes for each push, µs.
    lamp_cpu_us: Pair,
    /// From the publisher to the viewers, µs.
    frame_p50_us: Pair,
    frame_p99_us: Pair,
    /// CPU of all named processes for each delivered GB, s.
    frame_cpu_s_per_gb: Pair,
}

impl ClusterArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut report = ClusterReport::default();
        let agents = self.target(1).resolve().await?;
        let across = agents.url("");
        for round in 0..self.rounds {
            for elsewhere in [None, Some(across.clone())] {
                let name = if elsewhere.is_some() { "across nodes" } else { "within a node" };
                let target = TargetArgs { agents_url: elsewhere, ..self.target(0) };
                self.round(target, &mut report)
                    .await
                    .with_context(|| format!("round {} {name}", round + 1))?;
            }
        }
        report.print(self.json)
    }

    fn target(&self, node: usize) -> TargetArgs {
        TargetArgs {
            dev_json: Some(self.nodes[node].clone()),
            server_pid: self.pids.clone(),
            ca_file: self.ca_file.clone(),
            json: true,
            sources: 1,
            ..TargetArgs::default()
        }
    }

    async fn round(&self, target: TargetArgs, report: &mut ClusterReport) -> anyhow::Result<()> {
        let across = target.agents_url.is_some();
        let lamps = LampsArgs {
            target: target.clone(),
            changes_per_second: self.changes_per_second,
            visitors: 200,
            agents: 4,
            duration: self.duration,
            ramp: Duration::ZERO,
        };
        let lamps = lamps.measure().await.context("lamps")?;
        ensure!(lamps.missing_final == 0, "{} last states never came", lamps.missing_final);
        ensure!(lamps.errors.total() == 0, "lamps: {}", lamps.errors);
        ensure!(lamps.reconnects.total() == 0, "lamps: connections were lost: {}", lamps.reconnects);
        let relay = RelayArgs {
            target,
            sessions: 1,
            viewers: self.viewers,
            stalled: 0,
            frame_bytes: self.frame_bytes,
            fps: self.fps,
            rate: None,
            duration: self.duration,
            ramp: Duration::ZERO,
            ack_every: Duration::from_millis(250),
        };
        let relay = relay.measure().await.context("relay")?;
        ensure!(relay.missing_frames == 0, "{} frames never came", relay.missing_frames);
        ensure!(relay.errors.total() == 0, "relay: {}", relay.errors);
        ensure!(relay.reconnects.total() == 0, "relay: connections were lost: {}", relay.reconnects);

        #[expect(clippy::cast_precision_loss, reason = "microseconds of a run stay far below 2^52")]
        let us = |us: u64| us as f64;
        report.lamp_p50_us.add(across, us(lamps.change_latency.p50_us));
        report.lamp_p99_us.add(across, us(lamps.change_latency.p99_us));
        report.frame_p50_us.add(across, us(relay.latency.p50_us));
        report.frame_p99_us.add(across, us(relay.latency.p99_us));
        if let Some(cpu) = lamps.server_cpu_us_per_push {
            report.lamp_cpu_us.add(across, cpu);
        }
        if let Some(server) = relay.server {
            report.frame_cpu_s_per_gb.add(across, server.cpu_seconds_per_gb);
        }
        Ok(())
    }
}

impl Pair {
    fn add(&mut self, across: bool, figure: f64) {
        if across { self.across.push(figure) } else { self.within.push(figure) }
    }

    /// Both medians and their ratio.
    fn told(&self) -> String {
        match (median(&self.within), median(&self.across)) {
            (Some(within), Some(across)) => {
                format!("{within:.2} within, {across:.2} across: {:.2} times", across / within.max(1e-9))
            }
            _ => "–".to_owned(),
        }
    }
}

fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

impl Report for ClusterReport {
    fn rows(&self) -> Vec<(String, String)> {
        [
            ("lamp, p50 µs", &self.lamp_p50_us),
            ("lamp, p99 µs", &self.lamp_p99_us),
            ("lamp, CPU µs per push", &self.lamp_cpu_us),
            ("frame, p50 µs", &self.frame_p50_us),
            ("frame, p99 µs", &self.frame_p99_us),
            ("frames, CPU s per GB", &self.frame_cpu_s_per_gb),
        ]
        .map(|(name, pair)| row(name, pair.told()))
        .to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testserver::{Conduct, TestServer};
    use super::*;

    #[tokio::test]
    async fn both_nodes_are_measured_in_each_round() {
        let server = TestServer::start(Conduct::default()).await;
        let node = server.target_args().dev_json.unwrap();
        let args = ClusterArgs {
            nodes: vec![node.clone(), node],
            pids: vec![std::process::id()],
            rounds: 1,
            changes_per_second: 100.0,
            frame_bytes: 2_000,
            viewers: 2,
            fps: 50.0,
            duration: Duration::from_millis(100),
            ca_file: None,
            json: true,
        };
        args.run().await.unwrap();
    }

    #[test]
    fn ratios_are_of_medians() {
        let pair = Pair { within: vec![9.0, 2.0, 1.0], across: vec![4.0, 100.0, 3.0] };
        assert_eq!(pair.told(), "2.00 within, 4.00 across: 2.00 times");
        assert_eq!(Pair::default().told(), "–");
    }
}
