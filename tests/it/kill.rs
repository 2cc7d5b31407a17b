//! A server that is killed in the middle of anything: what it acknowledged is there afterwards, nothing is there
//! by half, and a call that is made again with its request ID is answered as it was.
//!
//! `PORCHLIGHT_KILLS` says how often the server is killed (25), `PORCHLIGHT_KILL_SEED` where chance begins; both are
//! printed.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use porchlight::limits;
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use prost_types::FieldMask;
use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::common::rng::Rng;
use crate::common::{DEADLINE, Value, canary, within};

const KILLS: u64 = 25;

/// Fewer than so many changes are made for certain before each kill, and then it comes within this time.
const CERTAIN: usize = 4;
const WORK_US: usize = 30_000;

pub fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// A process of the server, killed when it is dropped.
pub struct Node {
    pub child: Child,
    pub client: AdminClient<Channel>,
    key: String,
    group: String,
    /// What `dev.json` says.
    pub facts: Value,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Node {
    async fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[]).await
    }

    /// The same with these settings of the process.
    pub async fn start_with(dir: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_porchlight")), dir, settings).await
    }

    /// The same with no more than so many file descriptors, of which few are given at first.
    pub async fn start_with_files(dir: &Path, files: u64, settings: &[(&str, &str)]) -> Self {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -S -n 64 && ulimit -H -n {files} && exec \"$0\" \"$@\"");
        shell.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_porchlight"));
        Self::start_by(shell, dir, settings).await
    }

    async fn start_by(mut command: Command, dir: &Path, settings: &[(&str, &str)]) -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
        command.arg("dev").arg("--data-dir").arg(dir.join("data")).envs(settings.iter().copied());
        for listener in ["--public-addr", "--ops-addr", "--admin-addr"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let told = BufReader::new(child.stdout.take().unwrap());
        // The last line is there when everything is.
        let ready = tokio::task::spawn_blocking(move || {
            told.lines().map_while(Result::ok).any(|line| line.contains("Ctrl+C"))
        });
        assert!(within("the server's start", ready).await.unwrap(), "the server did not start");
        let facts: Value =
            serde_json::from_slice(&std::fs::read(dir.join("data/dev.json")).unwrap()).unwrap();
        canary::learn(&facts);
        let text = |name: &str| facts[name].as_str().unwrap().to_owned();
        let admin: SocketAddr = text("admin").parse().unwrap();
        let endpoint = Channel::from_shared(format!("http://{admin}")).unwrap();
        let channel = within("a gRPC connection", endpoint.connect()).await.unwrap();
        let (key, group) = (text("adminKey"), text("group"));
        Self { child, client: AdminClient::new(channel), key, group, facts }
    }

    /// Where a listener is.
    pub fn addr(&self, listener: &str) -> SocketAddr {
        self.facts[listener].as_str().unwrap().parse().unwrap()
    }

    pub fn ask<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.key).parse().unwrap());
        request.set_timeout(DEADLINE);
        request
    }

    /// Makes a change; its answer as text, to be compared.
    async fn make(&mut self, change: &Change) -> Result<String, Status> {
        fn shown(answer: impl std::fmt::Debug) -> String {
            format!("{answer:?}")
        }
        let mut client = self.client.clone();
        Ok(match change.clone() {
            Change::Settings(message) => shown(client.update_settings(self.ask(message)).await?.into_inner()),
            Change::Agent(message) => shown(client.upsert_agent(self.ask(message)).await?.into_inner()),
            Change::Permissions(message) => {
                shown(client.set_permissions(self.ask(message)).await?.into_inner())
            }
            Change::Key(message) => {
                let answer = client.create_api_key(self.ask(message)).await?.into_inner();
                canary::learn_text(&answer.secret);
                shown(answer)
            }
        })
    }

    async fn state(&mut self) -> State {
        let group = self.group.clone();
        let mut client = self.client.clone();
        let message = v1::GetSettingsRequest { group: group.clone() };
        let told = client.get_settings(self.ask(message)).await.unwrap().into_inner();
        let settings = told.settings.unwrap();
        let message = v1::ListAgentsRequest { group: group.clone(), ..Default::default() };
        let agents = client.list_agents(self.ask(message)).await.unwrap().into_inner().agents;
        let message = v1::ListApiKeysRequest { group: group.clone() };
        let keys = client.list_api_keys(self.ask(message)).await.unwrap().into_inner().api_keys;
        State {
            version: told.version,
            text: settings.terms.as_ref().unwrap().text.clone(),
            name: agents.iter().find(|one| one.agent_id == "kate").map(|one| one.name.clone()),
            admin: settings.permission_set.unwrap().admin.contains(&"bob".to_owned()),
            labels: keys.into_iter().map(|key| key.label).collect(),
        }
    }

    /// The history, which must be whole: each version once, each change beginning where the one before ended.
    async fn check_history(&mut self, state: &State) {
        let (mut changes, mut page_token) = (Vec::new(), String::new());
        loop {
            let message =
                v1::ListSettingsChangesRequest { group: self.group.clone(), page_size: 0, page_token };
            let request = self.ask(message);
            let page = self.client.list_settings_changes(request).await.unwrap().into_inner();
            changes.extend(page.changes);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let versions: Vec<u64> = changes.iter().map(|change| change.version).collect();
        let wanted: Vec<u64> = (1..=state.version).rev().collect();
        assert_eq!(versions, wanted, "each version once");
        for pair in changes.windows(2) {
            assert_eq!(
                pair[0].before, pair[1].after,
                "version {} begins where the one before ended",
                pair[0].version
            );
        }
        let newest = changes[0].after.as_ref().unwrap();
        assert_eq!(newest.terms.as_ref().unwrap().text, state.text, "the history ends with what is so");
    }
}

/// Everything that the changes here touch.
#[derive(Debug, Clone, PartialEq)]
struct State {
    version: u64,
    text: String,
    name: Option<String>,
    admin: bool,
    labels: Vec<String>,
}

/// A change that is made once.
#[derive(Debug, Clone)]
enum Change {
    Settings(v1::UpdateSettingsRequest),
    Agent(v1::UpsertAgentRequest),
    Permissions(v1::SetPermissionsRequest),
    Key(v1::CreateApiKeyRequest),
}

impl Change {
    fn any(rng: &mut Rng, group: &str, state: &State, name: &str) -> Self {
        let (group, request_id) = (group.to_owned(), name.to_owned());
        // A group may have so many good keys, and one that is refused says nothing about a kill.
        let kinds = if state.labels.len() < limits::API_KEYS / 2 { 4 } else { 3 };
        match rng.below(kinds) {
            0 => {
                let terms = v1::Terms { text: name.to_owned(), ..Default::default() };
                Self::Settings(v1::UpdateSettingsRequest {
                    group,
                    settings: Some(v1::Settings { terms: Some(terms), ..Default::default() }),
                    update_mask: Some(FieldMask { paths: vec!["terms.text".to_owned()] }),
                    expected_version: state.version,
                    request_id,
                })
            }
            1 => {
                let agent = v1::Agent {
                    agent_id: "kate".to_owned(),
                    address: "kate".to_owned(),
                    name: name.to_owned(),
                    ..Default::default()
                };
                Self::Agent(v1::UpsertAgentRequest {
                    group,
                    agent: Some(agent),
                    password: String::new(),
                    request_id,
                })
            }
            2 => {
                let permissions = v1::Permissions { user: true, admin: !state.admin, agent_video: true };
                let agent_id = "bob".to_owned();
                Self::Permissions(v1::SetPermissionsRequest {
                    group,
                    agent_id,
                    permissions: Some(permissions),
                    request_id,
                })
            }
            _ => Self::Key(v1::CreateApiKeyRequest { group, label: name.to_owned(), request_id }),
        }
    }

    /// What is so once it is made.
    fn applied(&self, state: &State) -> State {
        let mut state = state.clone();
        match self {
            Self::Settings(message) => {
                state.text = message.settings.as_ref().unwrap().terms.as_ref().unwrap().text.clone();
                state.version += 1;
            }
            Self::Agent(message) => state.name = Some(message.agent.as_ref().unwrap().name.clone()),
            Self::Permissions(message) => {
                state.admin = message.permissions.unwrap().admin;
                state.version += 1;
            }
            Self::Key(message) => state.labels.push(message.label.clone()),
        }
        state
    }
}

/// Kills a node within these microseconds, to the microsecond anywhere in what it does.
pub fn kill_within(node: &Node, rng: &mut Rng, most_us: usize) -> tokio::task::JoinHandle<()> {
    let pid = Pid::from_child(&node.child);
    let delay = Duration::from_micros(rng.below(most_us) as u64);
    tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        while begun.elapsed() < delay {
            std::thread::yield_now();
        }
        kill_process(pid, Signal::KILL).unwrap();
    })
}

/// Makes changes, at most so many, until the server is gone; returns the one that was not acknowledged.
async fn work(
    node: &mut Node,
    rng: &mut Rng,
    (round, steps): (&str, usize),
    state: &mut State,
    acknowledged: &mut Vec<(Change, String)>,
) -> Option<Change> {
    for step in 0..steps {
        let change = Change::any(rng, &node.group, state, &format!("{round}-{step}"));
        match node.make(&change).await {
            Ok(answer) => {
                *state = change.applied(state);
                acknowledged.push((change, answer));
            }
            Err(status) => {
                let gone = matches!(
                    status.code(),
                    Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
                );
                assert!(gone, "{change:?}: {status:?}");
                return Some(change);
            }
        }
    }
    None
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "whoever runs it again needs the seed")]
async fn what_was_acknowledged_survives_being_killed() {
    let (kills, seed) = (number("PORCHLIGHT_KILLS", KILLS), number("PORCHLIGHT_KILL_SEED", 1));
    eprintln!("{kills} kills, seed {seed}");
    canary::listen();
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng::new(seed);
    let mut acknowledged = Vec::new();
    let mut node = Node::start(dir.path()).await;
    let mut state = node.state().await;
    let mut made = 0;
    for round in 0..kills {
        let before = acknowledged.len();
        let name = format!("c{round}");
        let certain = (name.as_str(), rng.below(CERTAIN));
        let lost = work(&mut node, &mut rng, certain, &mut state, &mut acknowledged).await;
        assert!(lost.is_none(), "nobody has killed it yet: {lost:?}");
        let killer = kill_within(&node, &mut rng, WORK_US);
        let name = format!("r{round}");
        let until_killed = (name.as_str(), usize::MAX);
        let unanswered = work(&mut node, &mut rng, until_killed, &mut state, &mut acknowledged).await;
        let unanswered = unanswered.expect("it works until it is killed");
        made += acknowledged.len() - before;
        killer.await.unwrap();
        drop(node);

        node = Node::start(dir.path()).await;
        let found = node.state().await;
        let whole = unanswered.applied(&state);
        assert!(
            found == state || found == whole,
            "round {round}: {found:?} is neither {state:?} nor {whole:?}"
        );
        node.check_history(&found).await;
        for (change, answer) in acknowledged.iter().rev().take(3) {
            assert_eq!(node.make(change).await.as_ref().unwrap(), answer, "{change:?} is answered as it was");
        }
        assert_eq!(node.state().await, found, "and nothing was done again");
        let answer = node.make(&unanswered).await;
        let answer = answer.unwrap_or_else(|status| panic!("{unanswered:?} again: {status:?}"));
        assert_eq!(node.state().await, whole, "what was not acknowledged is done once, however far it was");
        node.check_history(&whole).await;
        state = whole;
        acknowledged.push((unanswered, answer));
    }
    eprintln!("{made} changes were acknowledged before a kill");
    assert!(made > 0, "it was killed before it did anything, each time");
    drop(node);
    canary::told("the log", &std::fs::read_to_string(dir.path().join("log")).unwrap());
}
