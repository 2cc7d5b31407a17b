//! Presence across nodes over a real Redis: whatever dies, nobody is told that somebody is here who is not, nor that
//! somebody has gone who has not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use porchlight::auth::secret::MasterSecret;
use porchlight::clock::Clock;
use porchlight::cluster::post::Post;
use porchlight::cluster::post::memory::MemoryPost;
use porchlight::cluster::redis::RedisDirectory;
use porchlight::cluster::vault::{MemoryVault, Vault};
use porchlight::hub::accounts::{Accounts, Demo};
use porchlight::hub::events::Events;
use porchlight::hub::feed::FeedStores;
use porchlight::hub::{Hub, Parts};
use porchlight::ids::{GroupId, VisitorId};
use porchlight::limits::Limits;
use porchlight::redis::Link;
use porchlight::store::sqlite::SqliteStore;
use porchlight::telemetry::Meters;
use tokio::runtime::Runtime;

use crate::common::redis::Redis;
use crate::common::transcript::Transcript;
use crate::common::{AgentClient, Client, Heard, Site, Value, VisitorClient, http, json, within};
use crate::everywhere::until;
use crate::two_nodes::Node;

/// Nodes that share accounts and a Redis, each in a runtime of its own, with which it dies.
struct Cluster {
    redis: Redis,
    nodes: Vec<Option<Member>>,
    demo: Demo,
    transcript: Transcript,
    accounts: Arc<Accounts>,
}

struct Member {
    runtime: Runtime,
    hub: Arc<Hub>,
    node: Node,
}

fn quick() -> Limits {
    let (node_lease, node_beat) = (Duration::from_secs(3), Duration::from_millis(100));
    Limits { node_lease, node_beat, ..Limits::default() }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in 0..self.nodes.len() {
            self.crash(node);
        }
    }
}

impl Cluster {
    async fn start(count: usize) -> Self {
        let redis = Redis::start().await;
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let clock = Clock::start();
        let accounts =
            Arc::new(Accounts::open(Arc::clone(&store) as _, MasterSecret::fresh(), clock).await.unwrap());
        let demo = accounts.ensure_demo().await.unwrap();
        let (vault, post) = (Arc::<MemoryVault>::default(), Arc::<MemoryPost>::default());
        let mut nodes = Vec::new();
        for _ in 0..count {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let (accounts, store, url) = (Arc::clone(&accounts), Arc::clone(&store), redis.url());
            let (vault, post): (Arc<dyn Vault>, Arc<dyn Post>) = (vault.clone(), post.clone());
            let started = runtime.spawn(async move {
                let meters = Meters::new().0;
                let limits = quick();
                let link = Link::open(&url).await.unwrap();
                let directory = RedisDirectory::new(link, &limits, Arc::clone(&meters));
                let hub = Hub::new(Parts {
                    clock,
                    accounts: Arc::clone(&accounts),
                    directory: Arc::new(directory),
                    vault,
                    post,
                    events: Events::start(Arc::clone(&store) as _, Arc::clone(&meters)),
                    receipts: Arc::clone(&store) as _,
                    feeds: FeedStores {
                        feed: Arc::clone(&store) as _,
                        leads: Arc::clone(&store) as _,
                        log: Arc::clone(&store) as _,
                    },
                    meters: Arc::clone(&meters),
                    limits: Arc::new(limits),
                    public_url: "".into(),
                    cobrowse: false,
                });
                let node = Node::start(Arc::clone(&hub), accounts, meters);
                (hub, node)
            });
            let (hub, node) = within("the start of a node", started).await.unwrap();
            nodes.push(Some(Member { runtime, hub, node }));
        }
        Self { redis, nodes, demo, transcript: Transcript::new(), accounts }
    }

    async fn grace(&self, seconds: u32) {
        let mut settings = self.demo.group.settings.clone();
        settings.grace_seconds = seconds;
        self.accounts
            .update_settings(&self.demo.group.id, &settings, self.demo.group.version, "it")
            .await
            .unwrap();
    }

    fn member(&self, node: usize) -> &Member {
        self.nodes[node].as_ref().unwrap()
    }

    fn hub(&self, node: usize) -> &Arc<Hub> {
        &self.member(node).hub
    }

    /// Dies: sockets, tasks and the connections to Redis end, and nothing is said.
    fn crash(&mut self, node: usize) {
        if let Some(member) = self.nodes[node].take() {
            member.runtime.shutdown_background();
        }
    }

    async fn agent(&self, node: usize) -> AgentClient {
        let addr = self.member(node).node.addr;
        let alice = &self.demo.agents[0];
        let body = json!({"group": "demo", "address": alice.address, "password": alice.password});
        let answer = http::post(addr, "/v1/auth/agent", &body).await.json();
        let client = Client::open(&self.transcript, &format!("alice@{node}"), addr, "/v1/agent").await;
        AgentClient::connect(client, answer["token"].as_str().unwrap()).await
    }

    async fn visitor(&self, node: usize, id: &str) -> VisitorClient {
        let addr = self.member(node).node.addr;
        let client = Client::open(&self.transcript, &format!("{id}@{node}"), addr, "/v1/visitor").await;
        VisitorClient::connect(client, json!({"type": "connect", "group": "demo", "visitorId": id})).await
    }

    /// A visitor as an operator of a node sees it.
    async fn look(&self, node: usize, id: &str) -> String {
        let found =
            self.hub(node).lookup(&GroupId::new("demo").unwrap(), &[VisitorId::new(id).unwrap()]).await;
        found[0].state().as_str().to_owned()
    }
}

/// What an agent was told of visitors, push by push.
#[derive(Default)]
struct Ledger {
    told: HashMap<String, Vec<(String, u64)>>,
}

impl Ledger {
    fn note(&mut self, visitor: &Value) {
        let id = visitor["visitorId"].as_str().unwrap().to_owned();
        let word = (visitor["state"].as_str().unwrap().to_owned(), visitor["version"].as_u64().unwrap());
        let told = self.told.entry(id.clone()).or_default();
        if let Some((_, before)) = told.last() {
            assert!(*before <= word.1, "{id}: versions go back: {told:?} {word:?}");
        }
        told.push(word);
    }

    /// Notes what is told until a visitor is in this state.
    async fn until(&mut self, agent: &mut AgentClient, visitor: &str, state: &str) {
        while self.last(visitor) != Some(state) {
            if let Heard::Text(push) = agent.hear().await
                && push["type"] == "presence"
            {
                self.note(&push["visitor"]);
            }
        }
    }

    fn last(&self, visitor: &str) -> Option<&str> {
        self.told.get(visitor)?.last().map(|(state, _)| state.as_str())
    }

    fn states(&self, visitor: &str) -> Vec<&str> {
        let told = self.told.get(visitor).map(Vec::as_slice).unwrap_or_default();
        told.iter().map(|(state, _)| state.as_str()).collect()
    }
}

fn open(visitor: &str) -> Value {
    json!({"type": "openRecord", "record": {"object": "Contact", "id": visitor}, "fields": {"visitorId": visitor}})
}

fn light(record: &Value) -> &str {
    record["buttons"]["join"]["light"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_tells_the_same_of_every_visitor() {
    let cluster = Cluster::start(3).await;
    cluster.grace(0).await;
    let group = GroupId::new("demo").unwrap();
    let early = cluster.visitor(0, "C-0").await;
    let mut agents = [cluster.agent(0).await, cluster.agent(1).await, cluster.agent(2).await];
    for agent in &mut agents {
        assert_eq!(agent.watch("C-1").await["state"], "absent");
        assert_eq!(light(&agent.ask(open("C-1"), "record").await), "dark");
        let live = agent.ask(json!({"type": "watchLive"}), "live").await;
        assert_eq!(live["total"], 1, "{live}");
    }
    let named = cluster.hub(2).watch_presence(&group, &[VisitorId::new("C-1").unwrap()]).await.unwrap();
    let whole = cluster.hub(1).watch_presence(&group, &[]).await.unwrap();
    assert_eq!(named.next().await.state().as_str(), "absent");
    assert_eq!(whole.next().await.key().visitor.as_str(), "C-0");
    let mut visitor = cluster.visitor(0, "C-1").await;
    for agent in &mut agents {
        agent.expect_state("C-1", "present").await;
        agent.expect_where("record", |record| light(record) == "lit").await;
        agent
            .expect_where("liveDiff", |diff| diff["joined"][0]["visitorId"] == "C-1" && diff["total"] == 2)
            .await;
        assert_eq!(agent.look("C-1").await["state"], "present");
    }
    visitor.ask(json!({"type": "presence", "data": {"n": 1}, "visibility": "hidden"}), "ok").await;
    for agent in &mut agents {
        assert_eq!(agent.expect_state("C-1", "hidden").await["data"], json!({"n": 1}));
        agent.expect_where("record", |record| light(record) == "dim").await;
        agent.expect_where("liveDiff", |diff| diff["changed"][0]["state"] == "hidden").await;
    }
    // Who came and went before an operator looked would not be told at all.
    for watch in [&named, &whole] {
        let hidden = async { while watch.next().await.state().as_str() != "hidden" {} };
        within("an operator is told of the change", hidden).await;
    }
    visitor.go().await;
    for agent in &mut agents {
        agent.expect_state("C-1", "absent").await;
        agent.expect_where("record", |record| light(record) == "dark").await;
        agent.expect_where("liveDiff", |diff| diff["left"] == json!(["C-1"])).await;
    }
    for watch in [&named, &whole] {
        let over = async { while watch.next().await.state().as_str() != "absent" {} };
        within("an operator is told of the end", over).await;
    }
    for node in 0..3 {
        assert_eq!(cluster.look(node, "C-1").await, "absent");
        let all = cluster.hub(node).all_visitors(&group).await.unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(cluster.hub(node).nodes().await.unwrap().len(), 3);
    }
    early.go().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_visitors_of_a_node_that_dies_are_in_doubt_and_then_absent() {
    let mut cluster = Cluster::start(3).await;
    let mut agents = [cluster.agent(1).await, cluster.agent(2).await];
    for agent in &mut agents {
        agent.watch("C-1").await;
        agent.ask(open("C-1"), "record").await;
        agent.ask(json!({"type": "watchLive"}), "live").await;
    }
    let _visitor = cluster.visitor(0, "C-1").await;
    for agent in &mut agents {
        agent.expect_state("C-1", "present").await;
        agent.expect_where("liveDiff", |diff| diff["joined"][0]["visitorId"] == "C-1").await;
    }
    cluster.crash(0);
    for (agent, node) in agents.iter_mut().zip([1, 2]) {
        let mut ledger = Ledger::default();
        ledger.until(agent, "C-1", "absent").await;
        assert_eq!(ledger.states("C-1"), ["unknown", "absent"]);
        let record = agent.ask(open("C-1"), "record").await;
        assert_eq!(light(&record), "dark");
        assert_eq!(agent.ask(json!({"type": "watchLive"}), "live").await["total"], 0);
        assert_eq!(cluster.look(node, "C-1").await, "absent");
    }
    // It comes back elsewhere.
    let _visitor = cluster.visitor(1, "C-1").await;
    for agent in &mut agents {
        agent.expect_state("C-1", "present").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_dies_and_nobody_who_stays_is_told_to_be_gone() {
    for forgets in [false, true] {
        let mut cluster = Cluster::start(3).await;
        cluster.grace(0).await;
        let mut agents = Vec::new();
        for node in 0..3 {
            let mut agent = cluster.agent(node).await;
            agent.ask(json!({"type": "watch", "visitorIds": ["stays", "goes", "comes"]}), "watching").await;
            agents.push(agent);
        }
        let _stays = cluster.visitor(0, "stays").await;
        let goes = cluster.visitor(0, "goes").await;
        let mut ledgers = [Ledger::default(), Ledger::default(), Ledger::default()];
        for (agent, ledger) in agents.iter_mut().zip(&mut ledgers) {
            ledger.until(agent, "stays", "present").await;
            ledger.until(agent, "goes", "present").await;
        }
        cluster.redis.kill();
        for node in [1, 2] {
            for visitor in ["stays", "goes", "comes"] {
                ledgers[node].until(&mut agents[node], visitor, "unknown").await;
            }
            assert_eq!(agents[node].look("stays").await["state"], "unknown");
        }
        goes.go().await;
        let _comes = cluster.visitor(0, "comes").await;
        ledgers[0].until(&mut agents[0], "goes", "absent").await;
        ledgers[0].until(&mut agents[0], "comes", "present").await;
        if forgets {
            cluster.redis.forget();
        }
        cluster.redis.revive().await;
        for node in [1, 2] {
            for (visitor, state) in [("stays", "present"), ("goes", "absent"), ("comes", "present")] {
                ledgers[node].until(&mut agents[node], visitor, state).await;
            }
            assert_eq!(
                ledgers[node].states("stays"),
                ["present", "unknown", "present"],
                "forgets: {forgets}"
            );
            assert_eq!(ledgers[node].states("goes"), ["present", "unknown", "absent"], "forgets: {forgets}");
            assert_eq!(ledgers[node].states("comes"), ["unknown", "present"], "forgets: {forgets}");
        }
        // Where the visitors are nothing was ever in doubt.
        for push in agents[0].settled("presence").await {
            ledgers[0].note(&push["visitor"]);
        }
        assert_eq!(ledgers[0].states("stays"), ["present"]);
        for node in 0..3 {
            for (visitor, state) in [("stays", "present"), ("goes", "absent"), ("comes", "present")] {
                let right = async { while cluster.look(node, visitor).await != state {} };
                within("every node says the same at last", right).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_moves_from_a_draining_node_is_never_told_to_be_absent() {
    let cluster = Cluster::start(3).await;
    cluster.grace(1).await;
    let mut agents = [cluster.agent(1).await, cluster.agent(2).await];
    let names = ["C-1", "C-2", "C-3", "stays-away"];
    for agent in &mut agents {
        agent.ask(json!({"type": "watch", "visitorIds": names}), "watching").await;
    }
    let mut visitors = Vec::new();
    for name in names {
        visitors.push(cluster.visitor(0, name).await);
    }
    let mut ledgers = [Ledger::default(), Ledger::default()];
    for (agent, ledger) in agents.iter_mut().zip(&mut ledgers) {
        for name in names {
            ledger.until(agent, name, "present").await;
        }
    }
    let hub = Arc::clone(cluster.hub(0));
    let drain = cluster.member(0).runtime.spawn(async move { hub.drain(Duration::from_millis(100)).await });
    let mut moved = Vec::new();
    for (visitor, name) in visitors.iter_mut().zip(names) {
        visitor.expect("reconnect").await;
        visitor.expect_close(4000).await;
        if name != "stays-away" {
            moved.push(cluster.visitor(1, name).await);
        }
    }
    within("the drain", drain).await.unwrap();
    for (agent, ledger) in agents.iter_mut().zip(&mut ledgers) {
        // The grace of the draining node is over for all of them by then.
        ledger.until(agent, "stays-away", "absent").await;
        for push in agent.settled("presence").await {
            ledger.note(&push["visitor"]);
        }
        for name in &names[..3] {
            assert!(!ledger.states(name).contains(&"absent"), "{name}: {:?}", ledger.states(name));
            assert_eq!(ledger.last(name), Some("present"));
            assert_eq!(agent.look(name).await["state"], "present");
        }
    }
    for node in 0..3 {
        assert_eq!(cluster.look(node, "C-1").await, "present");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_that_wait_for_a_visitor_follow_it_from_a_draining_node() {
    let cluster = Cluster::start(3).await;
    cluster.grace(60).await;
    let mut agent = cluster.agent(2).await;
    agent.watch("C-1").await;
    cluster.visitor(0, "C-1").await.go().await;
    let signal = |n: u32| json!({"type": "signal", "visitorId": "C-1", "name": "note", "data": {"n": n}});
    for n in 0..3 {
        assert_eq!(agent.ask(signal(n), "signalled").await["delivery"], "held");
    }
    let hub = Arc::clone(cluster.hub(0));
    let drain = cluster.member(0).runtime.spawn(async move { hub.drain(Duration::from_secs(20)).await });
    until("the node drains", async || cluster.hub(0).is_draining()).await;
    let mut visitor = cluster.visitor(1, "C-1").await;
    for n in 0..3 {
        assert_eq!(visitor.expect("signal").await["data"], json!({"n": n}));
    }
    within("the drain", drain).await.unwrap();
    assert!(visitor.settled("signal").await.is_empty(), "each comes once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_with_one_redis_share_presence_and_say_when_they_do_not() {
    let mut redis = Redis::start().await;
    let start = async |url: String| {
        Site::with(|config| {
            config.redis.url = Some(url.into());
            config.limits.node_lease = quick().node_lease;
            config.limits.node_beat = quick().node_beat;
        })
        .await
    };
    let (one, two) = (start(redis.url()).await, start(redis.url()).await);
    let mut agent = two.agent("alice").await;
    agent.watch("C-1").await;
    let _visitor = one.visitor("C-1").await;
    agent.expect_state("C-1", "present").await;
    let parts = async |site: &Site| {
        http::get(site.running.ops, "/readyz?verbose=1").await.json()["parts"]["presence"].clone()
    };
    assert_eq!(parts(&two).await["status"], "ok");
    redis.kill();
    agent.expect_state("C-1", "unknown").await;
    let told = parts(&two).await;
    assert_eq!(
        told,
        json!({"status": "degraded", "detail": "Redis is away, other nodes' visitors are unknown"})
    );
    redis.revive().await;
    agent.expect_state("C-1", "present").await;
    assert_eq!(parts(&two).await["status"], "ok");
}
