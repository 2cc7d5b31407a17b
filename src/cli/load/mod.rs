//! `porchlight load …`: visitors, lamps and relays on demand, counted exactly and timed honestly.
//!
//! Speaks the wire contract from the outside, like any client, against any address that the caller owns.
//! Decides nothing about the server and reads nothing of it but its answers (and, when told its process
//! id, its CPU time and memory). Called by the command line; the macro benches run it as a process.
//!
//! Connections that end come back as the contract says and are counted, so that nodes can be replaced under load.
//!
//! A run ends with an error, and so with a failing exit code, when anything expected did not arrive.

mod cluster;
mod comeback;
mod lamps;
mod messages;
mod pace;
mod process;
mod relay;
mod report;
mod socket;
mod target;
#[cfg(test)]
mod testserver;
mod tls;
mod visitors;

pub use process::Usage;

/// The load generator.
#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    #[command(subcommand)]
    command: LoadCommand,
}

#[derive(Debug, clap::Subcommand)]
enum LoadCommand {
    /// Connects visitors at a rate, holds them, and says how many stayed.
    Visitors(visitors::VisitorsArgs),
    /// Changes visitors' presence at a rate and times each change until each watching agent knows.
    Lamps(lamps::LampsArgs),
    /// Publishes frames into sessions and times and counts them at each viewer.
    Relay(relay::RelayArgs),
    /// Compares two nodes with one: lamps and frames within a node, and across, in the same run.
    Cluster(cluster::ClusterArgs),
}

impl LoadArgs {
    /// Runs the chosen load to its end and prints what happened.
    ///
    /// # Errors
    /// When the run can't start, or when something expected did not arrive; the report is printed first.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            LoadCommand::Visitors(args) => args.run().await,
            LoadCommand::Lamps(args) => args.run().await,
            LoadCommand::Relay(args) => args.run().await,
            LoadCommand::Cluster(args) => args.run().await,
        }
    }
}
