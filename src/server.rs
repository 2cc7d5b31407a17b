//! One server: its parts put together, run, drained and stopped.
//!
//! Decides the order in which parts begin and end. Begins: secrets and store, accounts, sockets, then the
//! doors open. Ends: not ready, doors closed, what is open finishes or is cut off after the drain, and only
//! then the ops listener and the store, so that probes and scrapes see the end. Called by the command line
//! and by tests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{AdminListener, AdminService, Archive, Operated, Syncing};
use crate::auth::secret::SecretError;
use crate::clock::{Clock, wall};
use crate::config::{Config, TlsError};
use crate::http::{
    Admission, BindError, Ceilings, Edge, Health, Listener, PublicState, Timing, guest_router, has_cobrowse,
    ops_router, public_router,
};
use crate::hub::accounts::{Accounts, Demo};
use crate::hub::events::{Events, end_lost};
use crate::hub::retention::{Keep, Keeper};
use crate::hub::sync::SyncDoor;
use crate::hub::{Hub, Parts};
use crate::limits;
use crate::redis::lease::Lease;
use crate::room::raise_file_limit;
use crate::sinks::{BadSinks, Courier, Runner, RunnerParts};
use crate::store::sqlite::{OpenError, SqliteStore};
use crate::store::{EventLog, ReceiptLog, SessionRecords, Store as _, StoreError, SyncStore};
use crate::telemetry::{Collector, LogControl, Meters, Traces, TracesError};
use crate::ws::Sockets;

mod data;
mod doors;
mod log;
mod moving;
mod nodes;
mod redis;
mod supplies;

pub use self::data::MASTER_FILE;
use self::data::open_store;
use self::doors::{Proofs, listen, upgrades};
use self::log::Log;
pub use self::moving::{Move, MoveError};
use self::nodes::Nodes;
use self::redis::Reach;
pub use self::redis::plan as redis_plan;
use self::supplies::Supplies;

/// What is decided by the program that starts a server, not by its settings.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the store lies.
    pub store: StorePlace,
    /// Whether visitors may share their pages; absent: where that was built in.
    pub cobrowse: Option<bool>,
    /// The process's log, for operators to change; absent where it is not the server's.
    pub log: Option<LogControl>,
}

/// Where the store lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StorePlace {
    /// In the data directory.
    #[default]
    DataDir,
    /// In memory, with fresh secrets unless the settings bring one; nothing is written anywhere.
    Memory,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory can't be made.
    #[error("can't make data directory {}", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The master secret can't be used.
    #[error("no master secret")]
    Secret(#[from] SecretError),
    /// The store can't be opened.
    #[error("can't open the store")]
    Open(#[from] OpenError),
    /// The store can't be read.
    #[error("can't read the store")]
    Store(#[from] StoreError),
    /// Redis can't be used.
    #[error("can't use Redis")]
    Redis(#[from] crate::redis::OpenError),
    /// Other nodes have another master secret: no credential of theirs would hold here.
    #[error("auth.master_secret is not that of the other nodes on this Redis; give all of them the same")]
    OtherSecret,
    /// What is there is there by half.
    #[error("a move of a database into this Redis was begun and is not whole; run porchlight migrate again")]
    HalfMoved,
    /// The settings of sinks can't be used.
    #[error("can't hand anything to sinks")]
    Sinks(#[from] BadSinks),
    /// Certificates can't be used.
    #[error("{key} can't be used")]
    Tls {
        /// The setting to change.
        key: &'static str,
        /// Why.
        source: TlsError,
    },
    /// Traces can't be sent.
    #[error("telemetry.otlp.endpoint can't be used")]
    Traces(#[from] TracesError),
    /// A listener can't be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The runtime is shutting down.
    #[error("the runtime is shutting down")]
    Runtime(#[from] tokio::task::JoinError),
}

/// Why a server ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The admin listener failed.
    #[error("admin listener failed")]
    Admin(#[from] tonic::transport::Error),
    /// A part panicked.
    #[error("a part of the server failed")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Starts servers.
#[derive(Debug)]
pub struct Server;

/// A server at work. Dropping it cuts everything off.
pub struct Running {
    /// Where the public listener is.
    pub public: SocketAddr,
    /// Where the ops listener is.
    pub ops: SocketAddr,
    /// Where the admin listener is.
    pub admin: SocketAddr,
    /// The demo group, when the settings ask for one.
    pub demo: Option<Demo>,
    /// Who is who.
    pub accounts: Arc<Accounts>,
    /// What happened, and what is left of it.
    pub stores: Stores,
    /// Who is connected, and what goes on between them.
    pub hub: Arc<Hub>,
    proofs: Proofs,
    signals: Signals,
    supervisor: JoinHandle<Result<(), RunError>>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("public", &self.public)
            .field("ops", &self.ops)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

/// What can be read of what happened.
#[derive(Clone)]
pub struct Stores {
    /// The log of events.
    pub events: Arc<dyn EventLog>,
    /// The records of sessions.
    pub records: Arc<dyn SessionRecords>,
    /// The chains of consent receipts.
    pub receipts: Arc<dyn ReceiptLog>,
    /// Sinks, and how far they are.
    pub sync: Arc<dyn SyncStore>,
}

/// The two ways to end, each once.
#[derive(Debug, Clone, Default)]
struct Signals {
    /// Take no more work and finish what is open.
    stop: CancellationToken,
    /// Finish nothing.
    force: CancellationToken,
}

impl Server {
    /// Builds a server and opens its doors.
    pub async fn start(config: Config, options: Options) -> Result<Running, StartError> {
        let clock = Clock::start();
        let (meters, scrape) = Meters::new();
        let files = raise_file_limit();
        meters.file_limit(files);

        let proofs = Proofs::open(&config, &meters)?;
        let (master, node) = open_store(&config, options.store).await?;
        let reach = Reach::of(&config.redis, &meters)?;
        let log = Log::open(reach.as_ref(), &node, &master).await?;
        let stores = log.stores.clone();
        if !log.is_shared() {
            match end_lost(&*stores.records, &*stores.events).await {
                Ok(0) => {}
                Ok(sessions) => tracing::warn!(sessions, "sessions did not outlive the node, they are ended"),
                Err(error) => tracing::warn!(%error, "can't end the sessions that did not outlive the node"),
            }
        }
        let events = Events::start(Arc::clone(&stores.events), Arc::clone(&meters));
        let policy = (&config.limits).into();
        let accounts = Arc::new(Accounts::guarded(Arc::clone(&log.store), master, clock, policy).await?);
        accounts.write_to(events.clone());
        let demo = if config.demo.enabled { Some(accounts.ensure_demo().await?) } else { None };

        let courier = Courier::new(&config.sinks, Arc::clone(&accounts))?;
        let (sync, calls) = SyncDoor::new(courier.offers());
        let runner_meters = Arc::clone(&meters);

        let (public, public_addr) = listen(config.public.addr)?;
        let (ops, ops_addr) = listen(config.ops.addr)?;
        let (admin, admin_addr) = listen(config.admin.addr)?;

        let health = Arc::new(Health::default());
        log.watched_by(&health);
        let signals = Signals::default();
        let nodes = Nodes::open(&config, reach.as_ref(), &meters).await?;
        nodes.watched_by(&health);
        let hub = Hub::new(Parts {
            clock,
            accounts: Arc::clone(&accounts),
            directory: Arc::clone(&nodes.directory),
            vault: Arc::clone(&nodes.vault),
            post: Arc::clone(&nodes.post),
            events: events.clone(),
            receipts: Arc::clone(&stores.receipts),
            feeds: log.feeds(),
            meters: Arc::clone(&meters),
            limits: Arc::new(config.limits.clone()),
            public_url: config.public_url(public_addr).into(),
            cobrowse: options.cobrowse.unwrap_or_else(has_cobrowse),
        });
        let traces = match config.telemetry.otlp.endpoint.clone() {
            Some(endpoint) => {
                let (sample, node) = (config.telemetry.otlp.sample, hub.node().to_string());
                Traces::open(&Collector { endpoint, sample, node }, Arc::clone(&meters))?
            }
            None => Default::default(),
        };
        hub.trace_to(traces.clone());
        let ceilings = Ceilings::of(&config, files);
        let sockets = Sockets::new(Arc::clone(&hub), ceilings.sockets());
        let supplies = Supplies { hub: Arc::clone(&hub), sockets: ceilings.sockets() };
        supplies.watched_by(&health);
        let state = PublicState {
            health: Arc::clone(&health),
            accounts: Arc::clone(&accounts),
            meters: Arc::clone(&meters),
            demo: config.demo.enabled,
        };
        let service = AdminService::new(
            Arc::new(Operated { hub: Arc::clone(&hub), stop: signals.stop.clone(), log: options.log }),
            Arc::clone(&accounts),
            Archive {
                events: Arc::clone(&stores.events),
                records: Arc::clone(&stores.records),
                receipts: Arc::clone(&stores.receipts),
            },
            Arc::clone(&meters),
            Syncing { store: Arc::clone(&stores.sync), door: sync },
            traces.clone(),
        );
        let public = Listener {
            socket: public,
            edge: Edge {
                router: public_router(state).merge(service.json_door()).merge(guest_router(Arc::clone(&hub))),
                upgrade: Some(upgrades(sockets.clone())),
            },
            admission: Admission::within(ceilings, Arc::clone(hub.room())),
            timing: Timing { header: config.limits.http_header },
            proxied: config.public.proxy_protocol,
            tls: proofs.public.clone(),
            meters: Arc::clone(&meters),
        };
        let ops = Listener {
            socket: ops,
            edge: Edge { router: ops_router(Arc::clone(&health), scrape.clone()), upgrade: None },
            admission: Admission::new(Ceilings::none()),
            timing: Timing::default(),
            proxied: false,
            tls: None,
            meters: Arc::clone(&meters),
        };
        let tls = proofs.admin.clone();
        let reflection = config.admin.reflection;
        let admin = AdminListener { socket: admin, service, tls, reflection, meters };

        let (lease, turns) = log.turns().unzip();
        let runner = Runner::new(RunnerParts {
            store: Arc::clone(&stores.sync),
            log: Arc::clone(&stores.events),
            accounts: Arc::clone(&accounts),
            events: events.clone(),
            courier,
            clock,
            meters: runner_meters,
            calls,
            turns,
        });
        let syncing = tokio::spawn(runner.run());
        let work = TaskTracker::new();
        let public = work.spawn(public.run(signals.stop.clone(), signals.force.clone()));
        let admin = work.spawn(admin.run(signals.stop.clone(), signals.force.clone()));
        let ended = CancellationToken::new();
        proofs.watch(&ended);
        tokio::spawn(supplies.watch(ended.clone()));
        let beating = tokio::spawn(Arc::clone(&hub).run(ended.clone()));
        let ops = tokio::spawn(ops.run(ended.clone(), ended.clone()));
        let keeper = Keeper {
            accounts: Arc::clone(&accounts),
            events: Arc::clone(&stores.events),
            records: Arc::clone(&stores.records),
            receipts: Arc::clone(&stores.receipts),
            sync: Arc::clone(&stores.sync),
            keep: Keep::of(&config),
            lease: lease.clone(),
        };
        let upkeep = tokio::spawn(upkeep(scrape, keeper));
        let supervisor = Supervisor {
            signals: signals.clone(),
            drain: config.limits.drain,
            health,
            accounts: Arc::clone(&accounts),
            node,
            events,
            log,
            nodes,
            work,
            public,
            admin,
            ops,
            ended,
            upkeep,
            hub: Arc::clone(&hub),
            sockets,
            beating,
            syncing,
            lease,
            traces,
        };
        Ok(Running {
            public: public_addr,
            ops: ops_addr,
            admin: admin_addr,
            demo,
            accounts,
            stores,
            hub,
            proofs,
            signals,
            supervisor: tokio::spawn(supervisor.run()),
        })
    }
}

impl Running {
    /// Takes no more work and ends when what is open has finished, at the latest after the drain.
    pub fn drain(&self) {
        self.signals.stop.cancel();
    }

    /// Ends at once.
    pub fn force(&self) {
        self.signals.stop.cancel();
        self.signals.force.cancel();
    }

    /// Looks at the files of certificates now, which it does by itself every few seconds.
    pub async fn read_certificates(&self) {
        self.proofs.look().await;
    }

    /// Waits for the end. May be dropped and called again until it has answered.
    pub async fn wait(&mut self) -> Result<(), RunError> {
        (&mut self.supervisor).await?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.force();
    }
}

/// The parts of a running server, as far as ending them goes.
struct Supervisor {
    signals: Signals,
    drain: Duration,
    health: Arc<Health>,
    accounts: Arc<Accounts>,
    /// The database of the node.
    node: Arc<SqliteStore>,
    events: Events,
    log: Log,
    nodes: Nodes,
    /// Everything that a drain waits for.
    work: TaskTracker,
    public: JoinHandle<()>,
    admin: JoinHandle<Result<(), tonic::transport::Error>>,
    ops: JoinHandle<()>,
    /// The work is over: the ops listener may go.
    ended: CancellationToken,
    upkeep: JoinHandle<()>,
    hub: Arc<Hub>,
    sockets: Sockets,
    /// The hub's own task: deadlines and heartbeats.
    beating: JoinHandle<()>,
    /// The sync, with all that it hands over.
    syncing: JoinHandle<()>,
    /// What only one node does at a time.
    lease: Option<Arc<Lease>>,
    traces: Traces,
}

impl Supervisor {
    async fn run(mut self) -> Result<(), RunError> {
        let ended = tokio::select! {
            biased;
            () = self.signals.stop.cancelled() => Ok(()),
            // None of them ends by itself but in failure, which takes the others along.
            ended = &mut self.public => ended.map_err(RunError::from),
            ended = &mut self.admin => ended.map_err(RunError::from).and_then(|ended| Ok(ended?)),
            ended = &mut self.ops => ended.map_err(RunError::from),
        };
        self.health.drain();
        self.signals.stop.cancel();
        self.work.close();
        // Sockets are asked to come back elsewhere over the first half of the drain; the rest is theirs.
        let open = async {
            tokio::join!(self.hub.drain(self.drain / 2), self.work.wait());
            self.sockets.closed().await;
        };
        tokio::select! {
            () = open => {}
            () = self.signals.force.cancelled() => {}
            () = tokio::time::sleep(self.drain) => {
                tracing::warn!(after = ?self.drain, "the drain took too long, cutting off what is open");
            }
        }
        self.signals.force.cancel();
        self.sockets.cut();
        self.work.wait().await;
        self.sockets.closed().await;
        self.upkeep.abort();
        self.beating.abort();
        self.syncing.abort();
        if let Some(lease) = &self.lease {
            // Nothing of it goes on when another node begins.
            let _ = tokio::join!(&mut self.syncing, &mut self.upkeep);
            lease.give_up().await;
        }
        if let Err(error) = self.accounts.flush_uses().await {
            tracing::warn!(%error, "can't note when API keys were last used");
        }
        self.nodes.leave().await;
        self.hub.leave_traces();
        self.traces.close().await;
        self.events.close().await;
        self.log.close().await;
        self.node.close().await;
        self.ended.cancel();
        ended
    }
}

/// Tidies the metrics, notes uses of API keys and lets go of what was kept for long enough, for ever.
async fn upkeep(scrape: metrics_exporter_prometheus::PrometheusHandle, keeper: Keeper) {
    let mut tick = tokio::time::interval(limits::UPKEEP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        scrape.run_upkeep();
        if let Err(error) = keeper.accounts.flush_uses().await {
            tracing::warn!(%error, "can't note when API keys were last used");
        }
        keeper.round(wall()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    const DEADLINE: Duration = Duration::from_secs(20);

    fn config() -> Config {
        let mut config = Config::default();
        for addr in [&mut config.public.addr, &mut config.ops.addr, &mut config.admin.addr] {
            *addr = "127.0.0.1:0".parse().unwrap();
        }
        config.demo.enabled = true;
        config
    }

    async fn get(addr: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn within<T>(work: impl Future<Output = T>) -> T {
        tokio::time::timeout(DEADLINE, work).await.expect("it happens in time")
    }

    #[tokio::test]
    async fn a_server_starts_answers_drains_and_ends() {
        let options = Options { store: StorePlace::Memory, ..Options::default() };
        let mut running = Server::start(config(), options).await.unwrap();
        assert!(get(running.public, "/livez").await.ends_with("ok"));
        assert!(get(running.ops, "/readyz?verbose").await.contains(r#""status":"ok""#));
        let metrics = get(running.ops, "/metrics").await;
        assert!(
            metrics.contains("porchlight_build_info") && metrics.contains("porchlight_process_file_limit")
        );
        assert!(get(running.public, "/metrics").await.starts_with("HTTP/1.1 404"));
        assert_eq!(running.demo.as_ref().unwrap().agents.len(), 2);
        running.drain();
        within(running.wait()).await.unwrap();
        for addr in [running.public, running.ops, running.admin] {
            assert!(TcpStream::connect(addr).await.is_err(), "{addr}");
        }
    }

    #[tokio::test]
    async fn what_is_open_is_cut_off_when_forced() {
        let options = Options { store: StorePlace::Memory, ..Options::default() };
        let mut running = Server::start(config(), options).await.unwrap();
        // A request without its body holds the drain up.
        let mut open = TcpStream::connect(running.public).await.unwrap();
        let head = "POST /v1/auth/agent HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                    content-length: 9\r\nexpect: 100-continue\r\n\r\n";
        open.write_all(head.as_bytes()).await.unwrap();
        let mut hint = [0; 12];
        within(open.read_exact(&mut hint)).await.unwrap();
        assert_eq!(&hint, b"HTTP/1.1 100");
        running.drain();
        assert!(get(running.ops, "/readyz").await.starts_with("HTTP/1.1 503"));
        running.force();
        within(running.wait()).await.unwrap();
    }

    #[tokio::test]
    async fn data_and_secrets_are_kept_between_runs() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let mut keys = Vec::new();
        for _ in 0..2 {
            let mut config = config();
            config.store.data_dir.clone_from(&data_dir);
            let mut running = Server::start(config, Options::default()).await.unwrap();
            keys.push(running.demo.as_ref().unwrap().api_key.1.clone());
            running.drain();
            within(running.wait()).await.unwrap();
        }
        assert_eq!(keys[0], keys[1]);
        let mode = std::fs::metadata(&data_dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[tokio::test]
    async fn an_address_in_use_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = config();
        config.public.addr = taken.local_addr().unwrap();
        let error = Server::start(config, Options { store: StorePlace::Memory, ..Options::default() })
            .await
            .unwrap_err();
        assert!(error.to_string().contains(&taken.local_addr().unwrap().to_string()), "{error}");
    }
}
