//! The sync, its sinks and what they did not take.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::super::Failure;
use super::super::secret::SecretFile;
use super::Server;
use super::rows::{Columns, moment, plain, table};
use crate::model::event::Kind;
use crate::pb::v1;
use crate::pb::v1::sink::Target;
use crate::store::events::protobuf::{kind_number, kind_of};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Begins a run of the sync and does not wait for its end.
    SyncNow,
    /// Lists the runs of the sync, newest first.
    ListSyncRuns {
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Tells when the sync ran last and when it runs next.
    GetSyncStatus,
    /// Makes a sink or changes it. A new webhook's secret is told this once.
    PutSink(PutSink),
    /// Lists the sinks and how far they are.
    ListSinks,
    /// Removes a sink with its secret and its dead letters.
    DeleteSink {
        /// The sink's ID.
        sink: String,
    },
    /// Hands a sink a letter that says nothing.
    TestSink {
        /// The sink's ID.
        sink: String,
    },
    /// Sends a webhook or Salesforce some of its dead letters again.
    ReplayDeadLetters {
        /// The sink's ID.
        sink: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct PutSink {
    /// The sink's ID.
    sink: String,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    org: OrgArgs,
    /// Kinds of events to hand over, such as `session.ended`.
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    events: Vec<Kind>,
    /// Hands every event over.
    #[arg(long)]
    every_event: bool,
    /// Hands the records of ended sessions over.
    #[arg(long)]
    records: bool,
    /// Hands nothing over at present.
    #[arg(long)]
    disabled: bool,
    /// Gives a webhook another secret.
    #[arg(long)]
    rotate_secret: bool,
    /// New file for the secret, which is then not printed.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// Requests to this address.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Files in the directory that the server's settings name.
    #[arg(long)]
    file: bool,
    /// The stream in the Redis that the server's settings name.
    #[arg(long)]
    redis: bool,
    /// A Salesforce org, with the group's key in the server's settings.
    #[arg(long, requires_all = ["client_id", "username"])]
    salesforce: bool,
}

#[derive(Debug, Args)]
struct OrgArgs {
    /// Where to sign in to Salesforce.
    #[arg(long, value_name = "URL", default_value = "https://login.salesforce.com")]
    login_url: String,
    /// The consumer key of the connected app in Salesforce.
    #[arg(long, value_name = "ID", requires = "salesforce")]
    client_id: Option<String>,
    /// The user in Salesforce in whose name everything is written.
    #[arg(long, value_name = "USER", requires = "salesforce")]
    username: Option<String>,
    /// Where agents' browsers reach this server, for links of posts in Salesforce.
    #[arg(long, value_name = "URL", requires = "salesforce")]
    site_url: Option<String>,
}

impl From<OrgArgs> for v1::SalesforceTarget {
    fn from(org: OrgArgs) -> Self {
        Self {
            login_url: org.login_url,
            client_id: org.client_id.unwrap_or_default(),
            username: org.username.unwrap_or_default(),
            site_url: org.site_url.unwrap_or_default(),
        }
    }
}

fn kind(name: &str) -> Result<Kind, String> {
    Kind::parse(name).ok_or_else(|| "no kind of event has this name".to_owned())
}

const SINKS: Columns<v1::SinkState, 7> = Columns {
    heading: ["SINK", "TARGET", "TAKES", "STATE", "EVENTS", "RECORDS", "DEAD"],
    row: |state| {
        let sink = state.sink.clone().unwrap_or_default();
        let lane = |lane: &Option<v1::SinkLane>| {
            lane.as_ref().map_or_else(String::new, |lane| match lane.error.as_str() {
                "" => lane.after.to_string(),
                error => format!("{} ({})", lane.after, plain(error)),
            })
        };
        let state_name = match (sink.disabled, state.disabled_why.as_str()) {
            (false, _) => "on".to_owned(),
            (true, "") => "off".to_owned(),
            (true, why) => format!("off: {}", plain(why)),
        };
        [
            sink.sink_id.clone(),
            target(&sink),
            takes(&sink),
            state_name,
            lane(&state.events),
            lane(&state.session_records),
            state.dead_letters.to_string(),
        ]
    },
};

const RUNS: Columns<v1::SyncRun, 5> = Columns {
    heading: ["RUN", "CAUSE", "STARTED", "ENDED", "SINKS"],
    row: |run| {
        let sinks = run.sinks.iter().map(|sink| match sink.error.as_str() {
            "" => format!("{}: {}", sink.sink_id, sink.count),
            error => format!("{}: {}, {}", sink.sink_id, sink.count, plain(error)),
        });
        let cause = run.cause().as_str_name().trim_start_matches("SYNC_CAUSE_").to_lowercase();
        let mut sinks: Vec<_> = sinks.collect();
        if run.lost {
            sinks.push("lost".to_owned());
        }
        [
            run.run_id.clone(),
            cause,
            moment(run.started_at.as_ref()),
            moment(run.ended_at.as_ref()),
            sinks.join("; "),
        ]
    },
};

const SINK: Columns<v1::Sink, 3> = Columns {
    heading: ["SINK", "TARGET", "TAKES"],
    row: |sink| [sink.sink_id.clone(), target(sink), takes(sink)],
};

fn target(sink: &v1::Sink) -> String {
    match &sink.target {
        Some(Target::Webhook(webhook)) => plain(&webhook.url),
        Some(Target::File(_)) => "file".to_owned(),
        Some(Target::Redis(_)) => "redis".to_owned(),
        Some(Target::Salesforce(org)) => plain(&format!("{} as {}", org.login_url, org.username)),
        None => String::new(),
    }
}

fn takes(sink: &v1::Sink) -> String {
    let mut takes: Vec<_> = sink.event_kinds().filter_map(kind_of).map(Kind::as_str).collect();
    if sink.every_event {
        takes = vec!["every event"];
    }
    if sink.session_records {
        takes.push("records");
    }
    takes.join(",")
}

impl Command {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        let (group, request_id) = (server.group.clone(), server.request_id.clone());
        match self {
            Self::SyncNow => {
                let message = v1::SyncNowRequest { group, request_id };
                let made = server
                    .change(message, async |mut client, request| client.sync_now(request).await)
                    .await?;
                server.print(&made.run.unwrap_or_default(), |run| table(RUNS.heading, &[(RUNS.row)(run)]))
            }
            Self::ListSyncRuns { limit } => {
                let message = v1::ListSyncRunsRequest { group, page_size: limit, page_token: String::new() };
                let call = async |mut client: super::Client, request| client.list_sync_runs(request).await;
                server.print_list(&server.ask(message, call).await?.runs, &RUNS)
            }
            Self::GetSyncStatus => {
                let message = v1::GetSyncStatusRequest { group };
                let call = async |mut client: super::Client, request| client.get_sync_status(request).await;
                let status = server.ask(message, call).await?;
                server.print(&status, |status| {
                    let runs: Vec<_> = status.last_run.iter().map(RUNS.row).collect();
                    let next = status.next_run_at.as_ref();
                    let next = next.map_or_else(|| "never".to_owned(), |at| moment(Some(at)));
                    format!("{}\nnext run  {next}\n", table(RUNS.heading, &runs))
                })
            }
            Self::PutSink(put) => put.run(server).await,
            Self::ListSinks => {
                let message = v1::ListSinksRequest { group };
                let call = async |mut client: super::Client, request| client.list_sinks(request).await;
                server.print_list(&server.ask(message, call).await?.sinks, &SINKS)
            }
            Self::DeleteSink { sink } => {
                let message = v1::DeleteSinkRequest { group, sink_id: sink, request_id };
                let call = async |mut client: super::Client, request| client.delete_sink(request).await;
                let gone = server.change(message, call).await?;
                server.print(&gone, |_| "deleted\n".to_owned())
            }
            Self::TestSink { sink } => {
                let message = v1::TestSinkRequest { group, sink_id: sink, request_id };
                let call = async |mut client: super::Client, request| client.test_sink(request).await;
                let tested = server.change(message, call).await?;
                server.print(&tested, |tested| match tested.error.as_str() {
                    "" => "taken\n".to_owned(),
                    error => format!("not taken: {}\n", plain(error)),
                })
            }
            Self::ReplayDeadLetters { sink } => {
                let message = v1::ReplayDeadLettersRequest { group, sink_id: sink, request_id };
                let call =
                    async |mut client: super::Client, request| client.replay_dead_letters(request).await;
                let replayed = server.change(message, call).await?;
                server.print(&replayed, |told| {
                    let error = plain(&told.error);
                    format!("delivered  {}\nleft  {}\nerror  {error}\n", told.delivered, told.left)
                })
            }
        }
    }
}

impl PutSink {
    async fn run(self, server: &Server) -> Result<(), Failure> {
        let file =
            self.secret_file.as_deref().map(SecretFile::create).transpose().map_err(Failure::Settings)?;
        let target = match self.target {
            TargetArgs { webhook: Some(url), .. } => Target::Webhook(v1::WebhookTarget { url }),
            TargetArgs { file: true, .. } => Target::File(v1::FileTarget {}),
            TargetArgs { salesforce: true, .. } => Target::Salesforce(self.org.into()),
            TargetArgs { .. } => Target::Redis(v1::RedisTarget {}),
        };
        let sink = v1::Sink {
            sink_id: self.sink,
            target: Some(target),
            event_kinds: self.events.into_iter().map(|kind| kind_number(kind).into()).collect(),
            every_event: self.every_event,
            session_records: self.records,
            disabled: self.disabled,
        };
        let (group, request_id) = (server.group.clone(), server.request_id.clone());
        let message =
            v1::PutSinkRequest { group, sink: Some(sink), rotate_secret: self.rotate_secret, request_id };
        // Not asked twice: the second answer would be without the secret.
        let made =
            server.change_once(message, async |mut client, request| client.put_sink(request).await).await;
        let one = |sink: &v1::Sink| table(SINK.heading, &[(SINK.row)(sink)]);
        match (file, made) {
            (None, made) => server.print(&made?, |made| {
                let row = one(&made.sink.clone().unwrap_or_default());
                if made.secret.is_empty() { row } else { format!("{row}\nsecret  {}\n", made.secret) }
            }),
            (Some(file), Ok(made)) => {
                if made.secret.is_empty() {
                    file.discard();
                } else {
                    file.write(&made.secret)?;
                }
                server.print(&made.sink.unwrap_or_default(), one)
            }
            (Some(file), Err(failure)) => {
                file.discard();
                Err(failure)
            }
        }
    }
}
