//! The whole server under load, beside a named baseline in the same run:
//! `cargo bench --bench macro -- [idle|relay|lamps|all] [--visitors 15000] [--seconds 10] [--json FILE]`.
//!
//! Starts the release binary as `porchlight dev --ephemeral` on free ports and loads it with the same
//! binary's `load` commands, each a process of its own, so that server and client are told apart. Decides
//! nothing about pass or fail except that every expected delivery must have happened; figures stand beside
//! their bars. Ends by itself, and ends only processes that it started.

mod measures;
mod process;
mod table;
mod tcp;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};

use table::Table;

/// The server's allocator, so that the baseline does not differ by it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Memory and processor time of connected visitors
    Idle,
    /// Processor time per delivered gigabyte, and latency
    Relay,
    /// From a visitor's change to the watching agents
    Lamps,
    /// All of them
    All,
}

/// Measures the server as a whole.
#[derive(Debug, Parser)]
struct Args {
    #[arg(value_enum, default_value = "all")]
    what: What,
    /// Visitors that are present at once
    #[arg(long, default_value_t = 15_000)]
    visitors: usize,
    /// How long each measurement lasts
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(3..=600))]
    seconds: u64,
    /// Also write the figures to this file as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Be the baseline's server instead
    #[arg(long, hide = true)]
    tcp_baseline: bool,
    /// Cargo says this to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if args.tcp_baseline {
        return tcp::serve();
    }
    let seconds = Duration::from_secs(args.seconds);
    let mut table = Table::start();
    let wanted = |what| args.what == what || args.what == What::All;
    if wanted(What::Idle) {
        measures::idle(&mut table, args.visitors, seconds).context("idle visitors")?;
    }
    if wanted(What::Relay) {
        measures::relay(&mut table, seconds).context("relay")?;
    }
    if wanted(What::Lamps) {
        measures::lamps(&mut table, seconds).context("lamps")?;
    }
    table.print()?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&table)?;
        std::fs::write(path, text + "\n").with_context(|| format!("{} is not writable", path.display()))?;
    }
    ensure!(table.failures().is_empty(), "loads failed: {}", table.failures().join("; "));
    Ok(())
}
