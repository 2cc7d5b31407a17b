//! Groups.

use clap::Subcommand;

use super::super::Failure;
use super::Server;
use super::call::Next;
use super::rows::{GROUPS, table};
use crate::pb::v1;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Makes a group with default settings.
    CreateGroup {
        /// Its name: letters, digits and `._~-`.
        name: String,
    },
    /// Lists the groups within reach of the key.
    ListGroups,
}

impl Command {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        match self {
            Self::CreateGroup { name } => create(server, name).await,
            Self::ListGroups => list(server).await,
        }
    }
}

async fn create(server: &Server, group: String) -> Result<(), Failure> {
    let message = v1::CreateGroupRequest { group, request_id: server.request_id.clone() };
    let made = server.change(message, async |mut client, request| client.create_group(request).await).await?;
    server.print(&made.group.unwrap_or_default(), |group| table(GROUPS.heading, &[(GROUPS.row)(group)]))
}

async fn list(server: &Server) -> Result<(), Failure> {
    let groups = server
        .collect(async |page_token| {
            let message = v1::ListGroupsRequest { page_size: 0, page_token };
            let page = server.ask(message, async |mut client, request| client.list_groups(request).await);
            page.await.map(|page| (page.groups, page.next_page_token, Next::More))
        })
        .await?;
    server.print_list(&groups, &GROUPS)
}
