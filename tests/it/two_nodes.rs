//! Two hubs of one process that share a directory: what one holds the other's agents see.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use porchlight::auth::secret::MasterSecret;
use porchlight::clock::Clock;
use porchlight::cluster::memory::MemoryDirectory;
use porchlight::cluster::post::Post;
use porchlight::cluster::post::memory::MemoryPost;
use porchlight::cluster::vault::{MemoryVault, Vault};
use porchlight::cluster::{
    Directory, DirectoryError, Follow, Home, Neighbour, NodeId, PresenceSource, Sight, Sink,
};
use porchlight::http::{
    Admission, ApiError, Ceilings, Edge, Health, Listener, PublicState, Timing, bind, public_router,
};
use porchlight::hub::accounts::{Accounts, Demo};
use porchlight::hub::events::Events;
use porchlight::hub::feed::FeedStores;
use porchlight::hub::{Hub, Parts};
use porchlight::ids::{GroupId, SessionId, VisitorId, VisitorKey};
use porchlight::limits::Limits;
use porchlight::model::visitor::Snapshot;
use porchlight::store::ReceiptLog;
use porchlight::store::sqlite::SqliteStore;
use porchlight::telemetry::Meters;
use porchlight::ws::Sockets;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::common::transcript::Transcript;
use crate::common::{AgentClient, Client, VisitorClient, http, json};

/// A node with nothing but its public listener.
pub struct Node {
    pub addr: SocketAddr,
    sockets: Sockets,
    hub: Arc<Hub>,
    stop: DropGuard,
}

pub struct Cluster {
    nodes: Vec<Option<Node>>,
    pub demo: Demo,
    pub accounts: Arc<Accounts>,
    pub transcript: Transcript,
}

/// What the nodes of a cluster have in common.
pub struct Common {
    pub directory: Arc<dyn Directory>,
    pub receipts: Arc<dyn ReceiptLog>,
    pub store: Arc<SqliteStore>,
    /// One for each node, or one that all share.
    pub posts: Vec<Arc<dyn Post>>,
    /// The same.
    pub vaults: Vec<Arc<dyn Vault>>,
    pub limits: Arc<Limits>,
    pub grace_seconds: u32,
}

impl Common {
    /// Everything in memory, for so many nodes.
    pub fn new(store: Arc<SqliteStore>, count: usize) -> Self {
        let vault: Arc<dyn Vault> = Arc::<MemoryVault>::default();
        Self {
            directory: Arc::<MemoryDirectory>::default(),
            receipts: Arc::clone(&store) as _,
            store,
            posts: vec![Arc::<MemoryPost>::default() as _; count],
            vaults: vec![vault; count],
            limits: Arc::default(),
            grace_seconds: 0,
        }
    }
}

impl Cluster {
    async fn start(count: usize) -> Self {
        Self::over(Arc::<MemoryDirectory>::default(), count).await
    }

    async fn over(directory: Arc<dyn Directory>, count: usize) -> Self {
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        Self::with(directory, Arc::clone(&store) as _, store, count).await
    }

    /// Nodes that keep their receipts elsewhere than the rest.
    pub async fn with(
        directory: Arc<dyn Directory>,
        receipts: Arc<dyn ReceiptLog>,
        store: Arc<SqliteStore>,
        count: usize,
    ) -> Self {
        Self::of(Common { directory, receipts, ..Common::new(store, count) }).await
    }

    /// A node for each post.
    pub async fn of(common: Common) -> Self {
        let Common { directory, receipts, store, posts, vaults, limits, grace_seconds } = common;
        let clock = Clock::start();
        let accounts =
            Arc::new(Accounts::open(Arc::clone(&store) as _, MasterSecret::fresh(), clock).await.unwrap());
        let demo = accounts.ensure_demo().await.unwrap();
        let mut settings = demo.group.settings.clone();
        settings.grace_seconds = grace_seconds;
        accounts.update_settings(&demo.group.id, &settings, demo.group.version, "it").await.unwrap();
        let mut nodes = Vec::new();
        for (post, vault) in posts.into_iter().zip(vaults) {
            let meters = Meters::new().0;
            let hub = Hub::new(Parts {
                clock,
                accounts: Arc::clone(&accounts),
                directory: directory.clone(),
                vault,
                post,
                events: Events::start(Arc::clone(&store) as _, Arc::clone(&meters)),
                receipts: Arc::clone(&receipts),
                feeds: FeedStores {
                    feed: Arc::clone(&store) as _,
                    leads: Arc::clone(&store) as _,
                    log: Arc::clone(&store) as _,
                },
                meters: Arc::clone(&meters),
                limits: Arc::clone(&limits),
                public_url: "".into(),
                cobrowse: false,
            });
            nodes.push(Some(Node::start(hub, Arc::clone(&accounts), meters)));
        }
        Self { nodes, demo, accounts, transcript: Transcript::new() }
    }

    pub fn addr(&self, node: usize) -> SocketAddr {
        self.nodes[node].as_ref().expect("it was not killed").addr
    }

    /// The hub of a node.
    pub fn hub(&self, node: usize) -> &Arc<Hub> {
        &self.nodes[node].as_ref().expect("it was not killed").hub
    }

    /// Ends a node without a word to anybody.
    pub fn kill(&mut self, node: usize) {
        let Node { sockets, stop, .. } = self.nodes[node].take().expect("it was not killed before");
        drop(stop);
        sockets.cut();
    }

    pub async fn agent(&self, node: usize) -> AgentClient {
        self.agent_as(node, 0).await
    }

    /// One of the two agents of the demo group.
    pub async fn agent_as(&self, node: usize, agent: usize) -> AgentClient {
        let addr = self.addr(node);
        let alice = &self.demo.agents[agent];
        let body = json!({"group": "demo", "address": alice.address, "password": alice.password});
        let answer = http::post(addr, "/v1/auth/agent", &body).await.json();
        let client =
            Client::open(&self.transcript, &format!("{}@{node}", alice.address), addr, "/v1/agent").await;
        AgentClient::connect(client, answer["token"].as_str().unwrap()).await
    }

    /// A session socket on which nothing was said yet.
    pub async fn session(&self, node: usize, name: &str) -> Client {
        let name = format!("{name}@{node}");
        Client::open(&self.transcript, &name, self.addr(node), "/v1/session").await
    }

    pub async fn visitor(&self, node: usize, id: &str) -> VisitorClient {
        let name = format!("{id}@{node}");
        let client = Client::open(&self.transcript, &name, self.addr(node), "/v1/visitor").await;
        VisitorClient::connect(client, json!({"type": "connect", "group": "demo", "visitorId": id})).await
    }
}

impl Node {
    pub fn start(hub: Arc<Hub>, accounts: Arc<Accounts>, meters: Arc<Meters>) -> Self {
        let stop = CancellationToken::new();
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = socket.local_addr().unwrap();
        let health = Arc::new(Health::default());
        let state = PublicState { health, accounts, meters: Arc::clone(&meters), demo: true };
        let sockets = Sockets::new(Arc::clone(&hub), usize::MAX);
        let (cut, held) = (sockets.clone(), Arc::clone(&hub));
        let upgrade = move |kind,
                            request,
                            peer: porchlight::http::Peer|
              -> futures_util::future::BoxFuture<'static, _> {
            let answer = sockets.upgrade(kind, request, peer.ip, peer.guard);
            let answer = answer.unwrap_or_else(|_| ApiError::internal().respond());
            Box::pin(std::future::ready(answer))
        };
        let listener = Listener {
            socket,
            edge: Edge { router: public_router(state), upgrade: Some(Arc::new(upgrade)) },
            admission: Admission::new(Ceilings::none()),
            timing: Timing::default(),
            proxied: false,
            tls: None,
            meters,
        };
        tokio::spawn(Arc::clone(&hub).run(stop.clone()));
        tokio::spawn(listener.run(stop.clone(), stop.clone()));
        Self { addr, sockets: cut, hub: held, stop: stop.drop_guard() }
    }
}

#[tokio::test]
async fn an_agent_sees_visitors_of_the_other_node() {
    let cluster = Cluster::start(2).await;
    let (mut here, mut there) = (cluster.agent(0).await, cluster.agent(1).await);
    for agent in [&mut here, &mut there] {
        assert_eq!(agent.watch("C-1").await["state"], "absent");
        agent.ask(json!({"type": "watchLive"}), "live").await;
    }
    let mut visitor = cluster.visitor(0, "C-1").await;
    for agent in [&mut here, &mut there] {
        let seen = agent.expect_state("C-1", "present").await;
        assert_eq!(agent.look("C-1").await, seen, "lookup and push say the same");
        let diff = agent.expect("liveDiff").await;
        assert_eq!((&diff["joined"][0]["visitorId"], &diff["total"]), (&json!("C-1"), &json!(1)));
    }
    visitor.ask(json!({"type": "presence", "data": {"n": 1}, "visibility": "hidden"}), "ok").await;
    let seen = there.expect_state("C-1", "hidden").await;
    assert_eq!(seen["data"], json!({"n": 1}));
    assert_eq!(there.expect("liveDiff").await["changed"][0]["state"], "hidden");
    visitor.go().await;
    for agent in [&mut here, &mut there] {
        agent.expect_state("C-1", "absent").await;
        agent.expect_where("liveDiff", |diff| diff["left"] == json!(["C-1"])).await;
    }
}

#[tokio::test]
async fn the_live_list_holds_the_visitors_of_all_nodes() {
    let cluster = Cluster::start(2).await;
    let _visitors =
        [cluster.visitor(0, "C-1").await, cluster.visitor(1, "C-2").await, cluster.visitor(0, "C-3").await];
    for node in [0, 1] {
        let mut agent = cluster.agent(node).await;
        let live = agent.ask(json!({"type": "watchLive"}), "live").await;
        let mut ids: Vec<_> =
            live["visitors"].as_array().unwrap().iter().map(|v| v["visitorId"].clone()).collect();
        ids.sort_by_key(ToString::to_string);
        assert_eq!((json!(ids), &live["total"]), (json!(["C-1", "C-2", "C-3"]), &json!(3)));
        let found =
            agent.ask(json!({"type": "lookup", "visitorIds": ["C-2", "C-1", "C-9"]}), "visitors").await;
        let states: Vec<_> =
            found["visitors"].as_array().unwrap().iter().map(|v| v["state"].clone()).collect();
        assert_eq!(json!(states), json!(["present", "present", "absent"]));
    }
}

#[tokio::test]
async fn sessions_are_where_their_visitor_is() {
    let cluster = Cluster::start(2).await;
    let mut visitor = cluster.visitor(0, "C-1").await;
    visitor.expect("focus").await;
    let mut there = cluster.agent(1).await;
    assert_eq!(there.refused(json!({"type": "join", "visitorId": "C-2"})).await, "visitor_not_present");
    visitor.expect_nothing().await;
    let request = there.join("C-1").await;
    let offer = visitor.expect("offer").await;
    assert_eq!(offer["sessionId"], request["sessionId"]);
    let count = |node: usize| cluster.hub(node).sessions().len();
    assert_eq!((count(0), count(1)), (1, 0));
}

/// A directory that cannot be reached.
struct Away;

#[async_trait::async_trait]
impl Directory for Away {
    fn enroll(&self, _: NodeId, _: Weak<dyn PresenceSource>, _: Weak<Sink>) {}

    async fn claim(&self, _: NodeId, _: &VisitorKey) -> Result<Home, DirectoryError> {
        Err(DirectoryError("away".into()))
    }

    async fn home(&self, _: NodeId, _: &VisitorKey) -> Result<Option<NodeId>, DirectoryError> {
        Err(DirectoryError("away".into()))
    }

    fn release(&self, _: NodeId, _: &VisitorKey) {}

    fn is_read(&self, _: NodeId, _: &GroupId) -> bool {
        true
    }

    fn publish(&self, _: NodeId, _: &Arc<Snapshot>) {}

    fn confirms(&self, _: NodeId, _: &GroupId) -> bool {
        false
    }

    async fn announce(&self, _: NodeId) {}

    async fn follow(&self, _: NodeId, _: &GroupId) -> Follow {
        Follow::new(())
    }

    async fn tell_session(&self, _: NodeId, _: &GroupId, _: SessionId) -> Result<(), DirectoryError> {
        Err(DirectoryError("away".into()))
    }

    fn pass_on(&self, _: NodeId, _: &VisitorKey, _: &Bytes) {}

    async fn lookup(&self, _: NodeId, _: &GroupId, _: &[VisitorId]) -> Result<Sight, DirectoryError> {
        Err(DirectoryError("away".into()))
    }

    async fn list(&self, _: NodeId, _: &GroupId) -> Result<Sight, DirectoryError> {
        Err(DirectoryError("away".into()))
    }

    async fn nodes(&self, _: NodeId) -> Result<Vec<Neighbour>, DirectoryError> {
        Err(DirectoryError("away".into()))
    }
}

#[tokio::test]
async fn what_other_nodes_hold_is_unknown_while_they_cannot_be_asked() {
    let cluster = Cluster::over(Arc::new(Away), 1).await;
    let _visitor = cluster.visitor(0, "C-1").await;
    let mut agent = cluster.agent(0).await;
    assert_eq!(agent.watch("C-1").await["state"], "present", "this node's own visitors are certain");
    let elsewhere = agent.watch("C-2").await;
    assert_eq!(elsewhere["state"], "unknown");
    assert!(elsewhere["since"].is_string());
    let record = json!({"object": "Contact", "id": "1"});
    let open =
        |visitor: &str| json!({"type": "openRecord", "record": record, "fields": {"visitorId": visitor}});
    assert_eq!(agent.ask(open("C-1"), "record").await["buttons"]["join"]["light"], "lit");
    assert_eq!(agent.ask(open("C-2"), "record").await["buttons"]["join"]["light"], "dim");
}
