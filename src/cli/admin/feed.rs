//! Feeds of records, and leads.

use clap::{Args, Subcommand};

use super::super::Failure;
use super::Server;
use super::call::Next;
use super::rows::{FEED, LEADS, table};
use crate::pb::v1;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lists the posts of a record's feed, newest first.
    ListFeed {
        #[command(flatten)]
        record: Record,
    },
    /// Posts to a record's feed; agents that follow it are told at once.
    PostFeed {
        #[command(flatten)]
        record: Record,
        /// What the post says.
        text: String,
        /// Where it leads: an address, or a path on the server.
        #[arg(long, default_value = "")]
        link: String,
    },
    /// Lists the guests who became leads, oldest first.
    ListLeads,
}

/// A record of the CRM.
#[derive(Debug, Args)]
pub(super) struct Record {
    /// The record's object, such as Case.
    object: String,
    /// The record's ID there.
    id: String,
}

impl From<Record> for v1::RecordReference {
    fn from(record: Record) -> Self {
        Self { object: record.object, id: record.id, ..Self::default() }
    }
}

impl Command {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        match self {
            Self::ListFeed { record } => list_feed(server, record.into()).await,
            Self::PostFeed { record, text, link } => post_feed(server, record.into(), text, link).await,
            Self::ListLeads => list_leads(server).await,
        }
    }
}

async fn list_feed(server: &Server, record: v1::RecordReference) -> Result<(), Failure> {
    let items = server
        .collect(async |page_token| {
            let (group, record) = (server.group.clone(), Some(record.clone()));
            let message = v1::ListFeedRequest { group, record, page_size: 0, page_token };
            let page = async |mut client: super::Client, request| client.list_feed(request).await;
            let page = server.ask(message, page).await?;
            Ok((page.items, page.next_page_token, Next::More))
        })
        .await?;
    server.print_list(&items, &FEED)
}

async fn post_feed(
    server: &Server,
    record: v1::RecordReference,
    text: String,
    link: String,
) -> Result<(), Failure> {
    let (group, request_id) = (server.group.clone(), server.request_id.clone());
    let message = v1::PostFeedRequest { group, record: Some(record), text, link, request_id };
    let done = server.change(message, async |mut client, request| client.post_feed(request).await).await?;
    server.print(&done.item.unwrap_or_default(), |item| table(FEED.heading, &[(FEED.row)(item)]))
}

async fn list_leads(server: &Server) -> Result<(), Failure> {
    let leads = server
        .collect(async |page_token| {
            let message = v1::ListLeadsRequest { group: server.group.clone(), page_size: 0, page_token };
            let page = async |mut client: super::Client, request| client.list_leads(request).await;
            let page = server.ask(message, page).await?;
            Ok((page.leads, page.next_page_token, Next::More))
        })
        .await?;
    server.print_list(&leads, &LEADS)
}
