//! What is measured, and how rounds of server and baseline take turns.

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::process::Node;
use crate::table::{Row, Table};
use crate::tcp;

/// Viewers of the relayed session.
const VIEWERS: usize = 4;

/// Server and baseline take turns this often; odd, so that there is a median.
const ROUNDS: usize = 3;

/// Connects per second while visitors arrive.
const CONNECT_RATE: usize = 2_000;

/// Frames per second for latency: 3,000 deliveries a second.
const LATENCY_FPS: usize = 750;

/// Memory and processor time of visitors that do nothing.
pub(crate) fn idle(table: &mut Table, visitors: usize, seconds: Duration) -> anyhow::Result<()> {
    let node = Node::start()?;
    let base = node.usage()?;
    table.add(row("base memory of a node", "MB", kibibytes(base.rss_kib) / 1e6, Some(30.0)));
    let hold = seconds.as_secs();
    // Several source addresses, or the ports of one run out between runs.
    let load = format!(
        "visitors --count {visitors} --rate {CONNECT_RATE} --hold {hold}s --data-bytes 200 --sources 4"
    );
    let connecting = Duration::from_secs(u64::try_from(visitors / CONNECT_RATE)?);
    let (report, failure) = node.load(&load, connecting + seconds)?;
    let server = &report["server"];
    let per_visitor = number(&server["bytesPerVisitor"]).context("bytesPerVisitor")?;
    let connect = number(&server["connectCpuUsPerVisitor"]).context("connectCpuUsPerVisitor")?;
    let share = number(&server["heldCpuShare"]).context("heldCpuShare")?;
    table.add(row(&format!("memory per present visitor of {visitors}"), "B", per_visitor, Some(4_096.0)));
    table.add(row("server CPU per connect", "µs", connect, None));
    table.add(row(&format!("CPU with {visitors} idle"), "% of a core", share * 100.0, None));
    let p99 = number(&report["connectLatency"]["p99Us"]).context("connectLatency")?;
    table.add(row(&format!("connect latency p99 at {CONNECT_RATE}/s"), "ms", p99 / 1e3, None));
    table.keep("visitors", report, failure);
    Ok(())
}

/// Processor time per delivered gigabyte beside the baseline, then latency at a rate.
pub(crate) fn relay(table: &mut Table, seconds: Duration) -> anyhow::Result<()> {
    let node = Node::start()?;
    let rounds = u32::try_from(ROUNDS)?;
    let round = Duration::from_secs((seconds / rounds).as_secs().max(1));
    for frame_bytes in [16 * 1024, 128 * 1024] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let load = format!(
                "relay --viewers {VIEWERS} --frame-bytes {frame_bytes} --rate max --duration {}s",
                round.as_secs()
            );
            let (report, failure) = node.load(&load, round)?;
            ours.push(number(&report["server"]["cpuSecondsPerGb"]).context("cpuSecondsPerGb")?);
            table.keep(&format!("relay {frame_bytes}"), report, failure);
            let baseline = tcp::measure(frame_bytes, VIEWERS, round)?;
            theirs.push(baseline.cpu_seconds_per_gb);
            table.keep(&format!("baseline {frame_bytes}"), serde_json::to_value(baseline)?, None);
        }
        table.add(Row {
            what: format!("relay 1→{VIEWERS} of {} KiB frames", frame_bytes / 1024),
            unit: "CPU s/GB",
            value: median(&mut ours),
            baseline: Some(median(&mut theirs)),
            bar: Some(1.3),
        });
    }
    let load = format!(
        "relay --viewers {VIEWERS} --frame-bytes 16384 --fps {LATENCY_FPS} --duration {}s",
        seconds.as_secs()
    );
    let (report, failure) = node.load(&load, seconds)?;
    for (name, field) in [("p50", "p50Us"), ("p99", "p99Us")] {
        let value = number(&report["latency"][field]).context("latency")?;
        let what = format!("relay latency {name} at {}/s", LATENCY_FPS * VIEWERS);
        table.add(row(&what, "µs", value, None));
    }
    table.keep("relay latency", report, failure);
    Ok(())
}

/// From a visitor's change to four watching agents.
pub(crate) fn lamps(table: &mut Table, seconds: Duration) -> anyhow::Result<()> {
    let node = Node::start()?;
    let load = format!(
        "lamps --changes-per-second 1000 --visitors 500 --agents 4 --duration {}s",
        seconds.as_secs()
    );
    let (report, failure) = node.load(&load, seconds)?;
    for (name, field, bar) in [("p50", "p50Us", None), ("p99", "p99Us", Some(10.0))] {
        let value = number(&report["changeLatency"][field]).context("changeLatency")?;
        table.add(row(&format!("lamp latency {name} at 1,000 changes/s"), "ms", value / 1e3, bar));
    }
    // From the moment a visitor says who it is: what a record's Join button waits for.
    for (name, field, bar) in [("p50", "p50Us", None), ("p99", "p99Us", Some(10.0))] {
        let value = number(&report["litLatency"][field]).context("litLatency")?;
        table.add(row(&format!("lamp latency {name} from connect to push"), "ms", value / 1e3, bar));
    }
    let push = number(&report["serverCpuUsPerPush"]).context("serverCpuUsPerPush")?;
    table.add(row("server CPU per push", "µs", push, None));
    table.keep("lamps", report, failure);
    Ok(())
}

fn row(what: &str, unit: &'static str, value: f64, bar: Option<f64>) -> Row {
    Row { what: what.to_owned(), unit, value, baseline: None, bar }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}

fn kibibytes(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) * 1_024.0
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
