//! Nodes.

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
}

impl Command {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        match self {
            Self::Node => node(server).await,
            Self::ListNodes => list(server).await,
            Self::Drain => drain(server).await,
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
