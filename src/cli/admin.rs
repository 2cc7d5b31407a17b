//! `porchlight admin …`: the operator's service from a terminal or a script.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::dev::DevFile;
use super::rows::{self, Print};
use super::tls::TlsArgs;
use crate::admin::reason_of;
use crate::limits;
use crate::pb::v1;
use crate::pb::v1::admin_client::AdminClient;

/// Asks a running server. Without an address and a key, those of `porchlight dev` in the data directory
/// are used.
#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    #[command(subcommand)]
    command: AdminCommand,
    /// The server's admin listener.
    #[arg(long, global = true, value_name = "ADDR", env = "PORCHLIGHT_ADMIN_ADDR")]
    addr: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
    /// The admin key. Better in a file, where other users of the machine don't see it.
    #[arg(long, global = true, hide = true, env = "PORCHLIGHT_ADMIN_KEY", hide_env_values = true)]
    key: Option<String>,
    /// File that holds the admin key.
    #[arg(long, global = true, value_name = "FILE", env = "PORCHLIGHT_ADMIN_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Data directory of a `porchlight dev` to take address, key and group from.
    #[arg(long, global = true, value_name = "DIR", default_value = super::dev::DATA_DIR)]
    data_dir: PathBuf,
    /// The group; needed with an operator's key.
    #[arg(long, global = true)]
    group: Option<String>,
    /// One JSON object a line instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Tells the presence of visitors by their IDs.
    Lookup {
        /// Visitor IDs.
        #[arg(required = true)]
        visitors: Vec<String>,
    },
    /// Lists the visitors who are here.
    ListVisitors {
        /// Only visitors in this state; may be repeated.
        #[arg(long)]
        state: Vec<State>,
        /// Only visitors whose page's address contains this text.
        #[arg(long, default_value = "")]
        page: String,
    },
    /// Lists the sessions that have not ended.
    ListSessions {
        /// Only the sessions of this visitor.
        #[arg(long, default_value = "")]
        visitor: String,
    },
    /// Ends a session for everybody in it.
    EndSession {
        /// The session ID.
        session: String,
    },
    /// Describes the node that answers.
    Node,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Present,
    Hidden,
    Unknown,
}

impl From<State> for v1::PresenceState {
    fn from(state: State) -> Self {
        match state {
            State::Present => Self::Present,
            State::Hidden => Self::Hidden,
            State::Unknown => Self::Unknown,
        }
    }
}

/// A server to ask, with the key to do so.
struct Server {
    client: AdminClient<Channel>,
    authorization: MetadataValue<Ascii>,
    group: String,
    print: Print,
}

impl AdminArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut server = self.connect().await?;
        match self.command {
            AdminCommand::Lookup { visitors } => server.lookup(visitors).await,
            AdminCommand::ListVisitors { state, page } => server.list_visitors(&state, page).await,
            AdminCommand::ListSessions { visitor } => server.list_sessions(visitor).await,
            AdminCommand::EndSession { session } => server.end_session(session).await,
            AdminCommand::Node => server.node().await,
        }
    }

    async fn connect(&self) -> anyhow::Result<Server> {
        let dev = DevFile::read(&self.data_dir);
        let addr = self.addr.clone().or_else(|| dev.as_ref().map(|dev| dev.admin.to_string()));
        let addr = addr.unwrap_or_else(|| format!("127.0.0.1:{}", limits::ADMIN_PORT));
        let key = match (&self.key, &self.key_file) {
            (_, Some(file)) => read_key(file)?,
            (Some(key), None) => key.clone(),
            (None, None) => dev.as_ref().map(|dev| dev.admin_key.clone()).with_context(|| {
                format!(
                    "no admin key: name its file with --key-file ({} has no dev.json)",
                    self.data_dir.display()
                )
            })?,
        };
        let channel = self
            .tls
            .endpoint(&addr)?
            .connect()
            .await
            .with_context(|| format!("no server answers at {addr}"))?;
        let mut authorization: MetadataValue<Ascii> =
            format!("Bearer {key}").parse().context("the admin key has characters no key has")?;
        authorization.set_sensitive(true);
        Ok(Server {
            client: AdminClient::new(channel),
            authorization,
            group: self.group.clone().or_else(|| dev.map(|dev| dev.group)).unwrap_or_default(),
            print: if self.json { Print::Json } else { Print::Table },
        })
    }
}

fn read_key(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    Ok(text.trim_end().to_owned())
}

impl Server {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }

    async fn lookup(&mut self, visitor_ids: Vec<String>) -> anyhow::Result<()> {
        let request = self.request(v1::LookupVisitorsRequest { group: self.group.clone(), visitor_ids });
        let visitors = self.client.lookup_visitors(request).await.map_err(told)?.into_inner().visitors;
        self.print_rows(&visitors, rows::VISITOR_HEADING, rows::visitor_row, rows::visitor_json);
        Ok(())
    }

    async fn list_visitors(&mut self, states: &[State], page_contains: String) -> anyhow::Result<()> {
        let states = states.iter().map(|state| v1::PresenceState::from(*state).into()).collect();
        let message = v1::ListVisitorsRequest { group: self.group.clone(), states, page_contains };
        let request = self.request(message);
        let mut stream = self.client.list_visitors(request).await.map_err(told)?.into_inner();
        let mut visitors = Vec::new();
        while let Some(answer) = stream.message().await.map_err(told)? {
            let Some(visitor) = answer.visitor else { continue };
            match self.print {
                // A line as soon as it is known: the list may be long and the reader a program.
                Print::Json => println!("{}", rows::visitor_json(&visitor)),
                Print::Table => visitors.push(visitor),
            }
        }
        if self.print == Print::Table {
            self.print_rows(&visitors, rows::VISITOR_HEADING, rows::visitor_row, rows::visitor_json);
        }
        Ok(())
    }

    async fn list_sessions(&mut self, visitor_id: String) -> anyhow::Result<()> {
        let request = self.request(v1::ListSessionsRequest { group: self.group.clone(), visitor_id });
        let sessions = self.client.list_sessions(request).await.map_err(told)?.into_inner().sessions;
        self.print_rows(&sessions, rows::SESSION_HEADING, rows::session_row, rows::session_json);
        Ok(())
    }

    async fn end_session(&mut self, session_id: String) -> anyhow::Result<()> {
        let request_id = uuid::Uuid::now_v7().to_string();
        let message = v1::EndSessionRequest { group: self.group.clone(), session_id, request_id };
        let request = self.request(message);
        let ended_now = self.client.end_session(request).await.map_err(told)?.into_inner().ended_now;
        match self.print {
            Print::Json => println!("{}", serde_json::json!({"endedNow": ended_now})),
            Print::Table => println!("{}", if ended_now { "ended" } else { "had ended before" }),
        }
        Ok(())
    }

    async fn node(&mut self) -> anyhow::Result<()> {
        let request = self.request(v1::GetNodeRequest {});
        let node = self.client.get_node(request).await.map_err(told)?.into_inner().node.unwrap_or_default();
        match self.print {
            Print::Json => println!("{}", rows::node_json(&node)),
            Print::Table => print!("{}", rows::table(["NODE", ""], &rows::node_rows(&node))),
        }
        Ok(())
    }

    fn print_rows<T, const N: usize>(
        &self,
        items: &[T],
        heading: [&str; N],
        row: fn(&T) -> [String; N],
        json: fn(&T) -> serde_json::Value,
    ) {
        match self.print {
            Print::Json => items.iter().for_each(|item| println!("{}", json(item))),
            Print::Table => {
                print!("{}", rows::table(heading, &items.iter().map(row).collect::<Vec<_>>()));
            }
        }
    }
}

/// A status as a sentence with its reason.
fn told(status: Status) -> anyhow::Error {
    match reason_of(&status) {
        Some(reason) => anyhow::anyhow!("{} ({reason})", status.message()),
        None => anyhow::anyhow!("the call failed: {}", status.message()),
    }
}
