//! `porchlight migrate`: moves the database of a server into the Redis that its settings name.
//!
//! Decides what is printed, group by group, and that a difference between the two sides is a failure. What is moved
//! and when it may be is [`crate::server::Move`]'s.

use anyhow::anyhow;
use clap::Args;

use super::settings::{self, SettingsArgs};
use super::{Failure, block_on};
use crate::config::Config;
use crate::ids::GroupId;
use crate::server::{Move, MoveError};
use crate::store::redis::{Counted, Stage};
use crate::telemetry;

/// Moves the database in the data directory into the Redis that the settings name: groups, agents, keys, sessions,
/// events, feeds, leads, receipts and sinks. No server may run on either. A move that died is made again by the same
/// command. Exit codes: 0 moved, and both sides are the same; 1 refused, failed or different; 2 wrong arguments or
/// settings.
#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Only counts what is on both sides, and tells whether the move would be made.
    #[arg(long)]
    check: bool,
}

impl MigrateArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let loaded = self.settings.load()?;
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        let config = settings::checked(loaded.config)?;
        if !config.redis.is_named() {
            return Err(Failure::Settings(MoveError::NoRedis.into()));
        }
        Ok(block_on(run(config, self.check))?)
    }
}

async fn run(config: Config, check: bool) -> anyhow::Result<()> {
    telemetry::init_log(config.log.format, &config.log.filter)?;
    let mut moving = Move::open(&config).await?;
    let before = moving.stage();
    match before {
        Some(Stage::Done) => {
            let (_, differ) = each(&moving, false).await?;
            if differ > 0 {
                return Err(anyhow!(
                    "this database was moved before; {differ} counts have become others since"
                ));
            }
            println!("this database was moved before, and nothing differs");
            return Ok(());
        }
        _ if check => {
            moving.alone().await?;
            let (groups, differ) = each(&moving, false).await?;
            println!("{groups} groups would be moved; {differ} counts differ now");
            return Ok(());
        }
        Some(Stage::Whole) => {}
        Some(Stage::Begun) | None => {
            if before.is_some() {
                println!("goes on with a move that was begun");
            }
            moving.begin().await?;
            let (_, differ) = each(&moving, true).await?;
            if differ > 0 {
                return Err(anyhow!(
                    "{differ} counts differ; no server starts on this Redis until the move is whole"
                ));
            }
        }
    }
    let lost = moving.finish().await?;
    if lost > 0 {
        println!("{lost} sessions did not outlive the last server, they are ended");
    }
    println!("moved; nothing differs, and servers may be started on this Redis. The database is as it was.");
    Ok(())
}

/// Moves or only counts group after group, and prints what was counted. Answers how many groups there are, and how
/// many counts differ.
async fn each(moving: &Move, moves: bool) -> anyhow::Result<(u64, usize)> {
    let work = async |group: Option<GroupId>| match moves {
        true => moving.group(group.as_ref()).await,
        false => moving.count(group.as_ref()).await,
    };
    println!("{:<32} {:<28} {:>12} {:>12}", "GROUP", "WHAT", "DATABASE", "REDIS");
    let (mut after, mut groups) = (None, 0);
    let mut differ = print("(operators)", &work(None).await?);
    loop {
        let page = moving.groups_behind(after.as_ref()).await?;
        let Some(last) = page.last() else { return Ok((groups, differ)) };
        after = Some(last.clone());
        for group in &page {
            differ += print(group.as_str(), &work(Some(group.clone())).await?);
            groups += 1;
        }
    }
}

/// One line for whatever there is of a group; answers how many differ.
fn print(group: &str, counted: &[Counted]) -> usize {
    let mut differ = 0;
    for Counted { what, from, to } in counted.iter().filter(|counted| counted.from.max(counted.to) > 0) {
        let mark = if from == to { "" } else { "  differs" };
        println!("{group:<32} {what:<28} {from:>12} {to:>12}{mark}");
        differ += usize::from(from != to);
    }
    differ
}
