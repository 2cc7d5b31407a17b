//! `porchlight admin …`: the operator's service from a terminal or a script.
//!
//! Decides where the server is and with which key it is asked. What is asked is in the modules of each
//! subject, one command for each call of the service; how it is asked, and what becomes of a refusal, in
//! `call` and `refusal`.

mod agents;
mod call;
mod csv;
mod diff;
mod document;
mod events;
mod feed;
mod groups;
mod keys;
mod nodes;
mod presence;
mod receipts;
mod records;
mod refusal;
mod rows;
mod sessions;
mod settings;
mod sync;
mod value;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use self::rows::Print;
use super::dev::DevFile;
use super::tls::TlsArgs;
use super::{Failure, secret};
use crate::limits;
use crate::pb::v1::admin_client::AdminClient;

/// The environment's variable for the key itself. There is no argument for it: other users of the machine
/// see arguments.
const KEY_VARIABLE: &str = "PORCHLIGHT_ADMIN_KEY";

/// Asks a running server. Without an address and a key, those of `porchlight dev` in the data directory
/// are used.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct AdminArgs {
    #[command(subcommand)]
    command: AdminCommand,
    /// The server's admin listener.
    #[arg(long, global = true, value_name = "ADDR", env = "PORCHLIGHT_ADMIN_ADDR")]
    addr: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
    /// File that holds the admin key, an API key as `ID.SECRET`, or an admin's token; `-` for standard
    /// input. Without it the variable `PORCHLIGHT_ADMIN_KEY` may hold the key.
    #[arg(long, global = true, value_name = "FILE", env = "PORCHLIGHT_ADMIN_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Data directory of a `porchlight dev` to take address, key and group from [default: .porchlight].
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The group; needed with an operator's key.
    #[arg(long, global = true)]
    group: Option<String>,
    /// One JSON object a line instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// Names a change, so that making it again with the same ID does nothing again.
    #[arg(long, global = true, value_name = "ID")]
    request_id: Option<String>,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 refused or failed, 2 wrong arguments or file, \
    3 no answer, 4 somebody else changed it first.";

#[derive(Debug, Subcommand)]
enum AdminCommand {
    #[command(flatten)]
    Groups(groups::Command),
    #[command(flatten)]
    Settings(settings::Command),
    #[command(flatten)]
    Keys(keys::Command),
    #[command(flatten)]
    Agents(agents::Command),
    #[command(flatten)]
    Presence(presence::Command),
    #[command(flatten)]
    Sessions(sessions::Command),
    #[command(flatten)]
    Events(events::Command),
    #[command(flatten)]
    Records(records::Command),
    #[command(flatten)]
    Receipts(receipts::Command),
    #[command(flatten)]
    Feed(feed::Command),
    #[command(flatten)]
    Sync(sync::Command),
    #[command(flatten)]
    Nodes(nodes::Command),
}

/// The generated client.
type Client = AdminClient<Channel>;

/// A server to ask, with the key to do so.
struct Server {
    endpoint: Endpoint,
    client: Client,
    authorization: MetadataValue<Ascii>,
    group: String,
    request_id: String,
    print: Print,
}

impl AdminArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let server = self.connect().await?;
        match self.command {
            AdminCommand::Groups(command) => command.run(&server).await,
            AdminCommand::Settings(command) => command.run(&server).await,
            AdminCommand::Keys(command) => command.run(&server).await,
            AdminCommand::Agents(command) => command.run(&server).await,
            AdminCommand::Presence(command) => command.run(&server).await,
            AdminCommand::Sessions(command) => command.run(&server).await,
            AdminCommand::Events(command) => command.run(&server).await,
            AdminCommand::Records(command) => command.run(&server).await,
            AdminCommand::Receipts(command) => command.run(&server).await,
            AdminCommand::Feed(command) => command.run(&server).await,
            AdminCommand::Sync(command) => command.run(&server).await,
            AdminCommand::Nodes(command) => command.run(&server).await,
        }
    }

    /// The file of a trial. One that merely lies in the folder is for those who name no other server: its key
    /// and group belong to its address.
    fn dev(&self) -> Option<DevFile> {
        match &self.data_dir {
            Some(dir) => DevFile::read(dir),
            None if self.addr.is_none() => DevFile::read(super::dev::DATA_DIR.as_ref()),
            None => None,
        }
    }

    fn key(&self, dev: Option<&DevFile>) -> anyhow::Result<String> {
        if let Some(file) = &self.key_file {
            return secret::read(file);
        }
        let set = std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty());
        set.or_else(|| dev.map(|dev| dev.admin_key.clone()))
            .with_context(|| format!("no admin key: name its file with --key-file or set {KEY_VARIABLE}"))
    }

    async fn connect(&self) -> Result<Server, Failure> {
        let dev = self.dev();
        let addr = self.addr.clone().or_else(|| dev.as_ref().map(|dev| dev.admin.to_string()));
        let addr = addr.unwrap_or_else(|| format!("127.0.0.1:{}", limits::ADMIN_PORT));
        let key = self.key(dev.as_ref()).map_err(Failure::Settings)?;
        let authorization =
            format!("Bearer {key}").parse().context("the admin key has characters no key has");
        let mut authorization: MetadataValue<Ascii> = authorization.map_err(Failure::Settings)?;
        authorization.set_sensitive(true);
        let endpoint = self.tls.endpoint(&addr).map_err(Failure::Settings)?;
        // The server gives up first, and says so.
        let endpoint = endpoint.timeout(limits::ADMIN_CALL + limits::ADMIN_KEEPALIVE_TIMEOUT);
        let channel = endpoint
            .connect()
            .await
            .with_context(|| format!("no server answers at {addr}"))
            .map_err(Failure::NoAnswer)?;
        Ok(Server {
            endpoint,
            client: AdminClient::new(channel),
            authorization,
            group: self.group.clone().or_else(|| dev.map(|dev| dev.group)).unwrap_or_default(),
            request_id: self.request_id.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
            print: if self.json { Print::Json } else { Print::Table },
        })
    }
}
