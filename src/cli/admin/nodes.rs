//! Nodes.

use std::time::Duration;

use clap::Subcommand;

use super::super::Failure;
use super::Server;
use super::rows::{self, NODES};
use crate::pb::v1;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Describes the node that answers.
    Node,
    /// Lists every node that is up.
    ListNodes,
    /// Makes the node that answers take no more work, send its connections elsewhere and end.
    Drain,
    /// Makes the node that answers write more to its log, or less, until it reads its settings again (SIGHUP).
    LogLevel {
        /// Levels, overall and by module: `info,porchlight::redis=debug`. Without it those of the settings, at once.
        filter: Option<String>,
        /// For so long only, such as `10m`.
        #[arg(long = "for", value_name = "TIME", value_parser = humantime_serde::re::humantime::parse_duration, requires = "filter")]
        time: Option<Duration>,
    },
}

impl Command {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        match self {
            Self::Node => node(server).await,
            Self::ListNodes => list(server).await,
            Self::Drain => drain(server).await,
            Self::LogLevel { filter, time } => log_level(server, filter, time).await,
        }
    }
}

async fn node(server: &Server) -> Result<(), Failure> {
    let message = v1::GetNodeRequest {};
    let found = server.ask(message, async |mut client, request| client.get_node(request).await).await?;
    server.print(&found.node.unwrap_or_default(), rows::node)
}

async fn list(server: &Server) -> Result<(), Failure> {
    let message = v1::ListNodesRequest {};
    let found = server.ask(message, async |mut client, request| client.list_nodes(request).await).await?;
    server.print_list(&found.nodes, &NODES)
}

async fn drain(server: &Server) -> Result<(), Failure> {
    let message = v1::DrainRequest { request_id: server.request_id.clone() };
    // Not asked twice: behind one address, another node or the next process could answer.
    let done = server.change_once(message, async |mut client, request| client.drain(request).await).await?;
    server.print(&done.node.unwrap_or_default(), rows::node)
}

async fn log_level(server: &Server, filter: Option<String>, time: Option<Duration>) -> Result<(), Failure> {
    let message = v1::SetLogFilterRequest {
        request_id: server.request_id.clone(),
        filter: filter.unwrap_or_default(),
        // Less than a second is one: 0 is no certain time.
        seconds: time.map_or(0, |time| u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)),
    };
    // Not asked twice, as a drain is not: another node could answer.
    let done =
        server.change_once(message, async |mut client, request| client.set_log_filter(request).await).await?;
    server.print(&done, rows::log_filter)
}
