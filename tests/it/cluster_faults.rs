//! Nodes that die and a Redis that cannot be reached, as agents see it: the ledger of each agent holds every word
//! it was told of every visitor, and what it says must be true in the end and never a false `present` before.
//!
//! Nodes are processes of their own, so that they can be killed; their way to Redis is a network that can fail.
//! How long it took is printed, and asserted nowhere.

mod namespace;
mod rolling;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::proxy::{Network, Way};
use crate::common::redis::Redis;
use crate::common::transcript::Transcript;
use crate::common::{AgentClient, Client, Heard, Value, VisitorClient, http, json, within};
use crate::kill::Node;

/// A lease, several beats and what clients need, on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(45);

/// How often an agent that hears nothing looks whether what is waited for is there.
const LOOK: Duration = Duration::from_millis(100);

const MASTER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Nodes over one Redis.
struct Cluster<N = Proxies> {
    /// The Redis, and what lies before it.
    net: N,
    nodes: Vec<Option<Node>>,
    folder: tempfile::TempDir,
    transcript: Transcript,
}

/// A Redis to which each node has a way of its own, by a proxy.
struct Proxies {
    redis: Redis,
    ways: Vec<Way>,
}

impl Cluster {
    async fn start(count: usize) -> Self {
        let redis = Redis::start().await;
        let mut cluster = Self::over(Proxies { redis, ways: Vec::new() });
        for _ in 0..count {
            cluster.join().await;
        }
        cluster
    }

    /// One node more.
    async fn join(&mut self) -> usize {
        let way = Way::to(&self.net.redis).await;
        let node = self.add(&way.url()).await;
        self.net.ways.push(way);
        node
    }
}

impl<N> Cluster<N> {
    /// Without nodes.
    fn over(net: N) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { net, nodes: Vec::new(), folder, transcript: Transcript::new() }
    }

    /// Starts a node over the Redis of an address.
    async fn add(&mut self, url: &str) -> usize {
        let name = self.nodes.len();
        self.nodes.push(Some(start(&self.folder.path().join(name.to_string()), url).await));
        name
    }

    fn node(&self, node: usize) -> &Node {
        self.nodes[node].as_ref().expect("the node was not killed")
    }

    fn public(&self, node: usize) -> SocketAddr {
        self.node(node).facts["public"].as_str().unwrap().parse().unwrap()
    }

    fn ops(&self, node: usize) -> SocketAddr {
        self.node(node).facts["ops"].as_str().unwrap().parse().unwrap()
    }

    /// Ends a node at once.
    fn kill(&mut self, node: usize) {
        drop(self.nodes[node].take());
    }

    fn signal(&self, node: usize, signal: Signal) {
        kill_process(Pid::from_child(&self.node(node).child), signal).unwrap();
    }

    async fn visitor(&self, node: usize, id: &str) -> VisitorClient {
        let client =
            Client::open(&self.transcript, &format!("{id}@{node}"), self.public(node), "/v1/visitor").await;
        VisitorClient::connect(client, json!({"type": "connect", "group": "demo", "visitorId": id})).await
    }

    async fn visitors(&self, node: usize, ids: &[String]) -> Vec<VisitorClient> {
        let mut all = Vec::new();
        for id in ids {
            all.push(self.visitor(node, id).await);
        }
        all
    }

    /// An agent who watches these visitors from a node.
    async fn witness(&self, node: usize, ids: &[String]) -> Witness {
        let facts = &self.node(node).facts["agents"][0];
        let body = json!({"group": "demo", "address": facts["address"], "password": facts["password"]});
        let answer = http::post(self.public(node), "/v1/auth/agent", &body).await.json();
        let client =
            Client::open(&self.transcript, &format!("alice@{node}"), self.public(node), "/v1/agent").await;
        let mut agent = AgentClient::connect(client, answer["token"].as_str().unwrap()).await;
        let watching = agent.ask(json!({"type": "watch", "visitorIds": ids}), "watching").await;
        let mut witness = Witness { agent, told: HashMap::new() };
        for visitor in watching["visitors"].as_array().unwrap() {
            witness.note(visitor);
        }
        witness
    }
}

async fn start(folder: &Path, url: &str) -> Node {
    std::fs::create_dir_all(folder).unwrap();
    let settings = [
        ("PORCHLIGHT__REDIS__URL", url),
        ("PORCHLIGHT__AUTH__MASTER_SECRET", MASTER),
        ("PORCHLIGHT__LIMITS__NODE_LEASE", "4s"),
        ("PORCHLIGHT__LIMITS__NODE_BEAT", "400ms"),
    ];
    Node::start_with(folder, &settings).await
}

/// An agent and all that it was told, in order.
struct Witness {
    agent: AgentClient,
    told: HashMap<String, Vec<(String, u64)>>,
}

impl Witness {
    fn note(&mut self, visitor: &Value) {
        let id = visitor["visitorId"].as_str().unwrap().to_owned();
        let (state, version) =
            (visitor["state"].as_str().unwrap().to_owned(), visitor["version"].as_u64().unwrap());
        let told = self.told.entry(id.clone()).or_default();
        if let Some((_, before)) = told.last() {
            assert!(version >= *before, "{id}: {state} of version {version} after version {before}");
        }
        told.push((state, version));
    }

    fn states(&self, id: &str) -> Vec<&str> {
        self.told[id].iter().map(|(state, _)| state.as_str()).collect()
    }

    fn state(&self, id: &str) -> &str {
        self.states(id).last().copied().unwrap_or_default()
    }

    /// Listens until each of these visitors is in this state.
    async fn sees(&mut self, ids: &[String], state: &str) -> Duration {
        let begun = Instant::now();
        while ids.iter().any(|id| self.state(id) != state) {
            let left: Vec<_> = ids.iter().filter(|id| self.state(id) != state).collect();
            let first = left[0];
            let seen = self.states(first);
            assert!(
                begun.elapsed() < PATIENCE,
                "{} of {} visitors are not {state}, {first} was {seen:?}",
                left.len(),
                ids.len()
            );
            self.listen().await;
        }
        begun.elapsed()
    }

    async fn listen(&mut self) {
        match tokio::time::timeout(LOOK, self.agent.hear()).await {
            Ok(Heard::Text(text)) if text["type"] == "presence" => self.note(&text["visitor"]),
            Ok(Heard::Closed(code)) => panic!("the agent's connection ended: {code:?}"),
            Ok(_) | Err(_) => {}
        }
    }

    /// What it is told when it asks: the same as it was pushed.
    async fn asks(&mut self, ids: &[String], state: &str) {
        let answer = self.agent.call(json!({"type": "lookup", "visitorIds": ids})).await;
        for visitor in answer["visitors"].as_array().unwrap() {
            assert_eq!(visitor["state"], state, "{visitor}");
        }
    }
}

fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n}")).collect()
}

/// Logs out, and waits until the server knows.
async fn leave(mut visitor: VisitorClient) {
    visitor.send(json!({"type": "leave"})).await;
    visitor.expect_close(4409).await;
}

#[allow(clippy::print_stderr, reason = "figures for whoever reads the log of the test")]
fn say(what: &str, took: Duration) {
    eprintln!("{what}: {} ms", took.as_millis());
}

/// F1: one of three nodes is killed.
#[tokio::test]
async fn a_killed_nodes_visitors_are_absent_everywhere_and_nobody_else_is_touched() {
    let mut cluster = Cluster::start(3).await;
    let (lost, near, far) = (ids("lost", 40), ids("near", 40), ids("far", 40));
    let all: Vec<String> = [lost.clone(), near.clone(), far.clone()].concat();
    let gone = cluster.visitors(0, &lost).await;
    let _near = cluster.visitors(1, &near).await;
    let _far = cluster.visitors(2, &far).await;
    let mut witnesses = [cluster.witness(1, &all).await, cluster.witness(2, &all).await];
    for witness in &mut witnesses {
        witness.sees(&all, "present").await;
    }
    let told: Vec<usize> =
        witnesses.iter().map(|one| near.iter().map(|id| one.told[id].len()).sum()).collect();

    cluster.kill(0);
    for witness in &mut witnesses {
        say("absent after a kill", witness.sees(&lost, "absent").await);
        witness.asks(&lost, "absent").await;
        witness.asks(&[near.clone(), far.clone()].concat(), "present").await;
        for id in &lost {
            let states = witness.states(id);
            let after = states.iter().position(|state| *state != "present").unwrap();
            assert!(!states[after..].contains(&"present"), "{id}: a dead node's word: {states:?}");
        }
    }
    for (witness, told) in witnesses.iter().zip(told) {
        let now: usize = near.iter().map(|id| witness.told[id].len()).sum();
        assert_eq!(now, told, "nothing was told of visitors whose nodes live");
    }

    // The pages come back, on nodes that live.
    drop(gone);
    let _back = cluster.visitors(1, &lost).await;
    for witness in &mut witnesses {
        say("present again", witness.sees(&lost, "present").await);
    }
}

/// F4: a network that swallows, both ways and either way, between one of two nodes and Redis.
#[tokio::test]
async fn a_node_that_redis_cannot_be_heard_from_doubts_the_others_and_not_its_own() {
    let cluster = Cluster::start(2).await;
    cut_off(&cluster, |network| cluster.net.ways[0].set(network)).await;
}

/// The first of two nodes is cut off and heard again, in every way that nobody is told of.
async fn cut_off<N>(cluster: &Cluster<N>, set: impl Fn(Network)) {
    let (here, there) = (ids("here", 10), ids("there", 10));
    let both: Vec<String> = [here.clone(), there.clone()].concat();
    let mut kept = cluster.visitors(0, &here).await;
    let _there = cluster.visitors(1, &there).await;
    let (mut inside, mut outside) = (cluster.witness(0, &both).await, cluster.witness(1, &both).await);
    inside.sees(&both, "present").await;
    outside.sees(&both, "present").await;

    for network in [Network::Swallows, Network::DeafToServer, Network::DeafToRedis] {
        set(network);
        say("unknown when cut off", inside.sees(&there, "unknown").await);
        inside.asks(&here, "present").await;
        // To the others the node is one that died, or one that says nothing certain while it is heard itself.
        let behind = if network == Network::DeafToRedis { "unknown" } else { "absent" };
        say("behind the cut", outside.sees(&here, behind).await);
        outside.asks(&there, "present").await;
        // Here life goes on.
        kept[0].send(json!({"type": "presence", "visibility": "hidden"})).await;
        inside.sees(&here[..1], "hidden").await;
        let late = cluster.visitor(0, "late").await;
        assert_eq!(late.id(), "late");
        late.go().await;

        set(Network::Up);
        kept[0].send(json!({"type": "presence", "visibility": "visible"})).await;
        say("healed here", inside.sees(&both, "present").await);
        say("healed there", outside.sees(&both, "present").await);
    }
    for id in &here {
        let states = inside.states(id);
        assert!(states.iter().all(|state| ["present", "hidden"].contains(state)), "{id}: {states:?}");
    }
}

/// F2: Redis is killed and comes back, with all it knew and with nothing.
#[tokio::test]
async fn redis_may_die_and_come_back_even_empty() {
    let mut cluster = Cluster::start(2).await;
    let (here, there) = (ids("here", 20), ids("there", 20));
    let both: Vec<String> = [here.clone(), there.clone()].concat();
    let _here = cluster.visitors(0, &here).await;
    let mut going = cluster.visitors(1, &there).await;
    let mut witness = cluster.witness(0, &both).await;
    witness.sees(&both, "present").await;
    for empty in [false, true] {
        cluster.net.redis.kill();
        say("unknown without Redis", witness.sees(&there, "unknown").await);
        let answer = http::get(cluster.ops(0), "/readyz?verbose").await;
        assert_eq!(answer.status, 200, "without Redis a node still serves its own: {answer:?}");
        assert!(answer.body.contains("Redis is away"), "{answer:?}");
        // One goes meanwhile; nobody is told a lie about it afterwards.
        let left = going.remove(0);
        let id = left.id().to_owned();
        leave(left).await;
        if empty {
            cluster.net.redis.forget();
        }
        cluster.net.redis.revive().await;
        let rest: Vec<String> = going.iter().map(|visitor| visitor.id().to_owned()).collect();
        say("right again", witness.sees(&rest, "present").await);
        witness.sees(&[id], "absent").await;
        witness.asks(&here, "present").await;
    }
    for id in &here {
        assert_eq!(witness.states(id), ["present"], "{id}");
    }
}

/// F5: only the connections that listen are ended, while visitors come and go.
#[tokio::test]
async fn who_does_not_hear_for_a_moment_misses_no_last_state() {
    let cluster = Cluster::start(2).await;
    let all = ids("v", 30);
    let mut witness = cluster.witness(0, &all).await;
    let mut redis = cluster.net.redis.connect().await;
    for round in 0..5 {
        let visitors = cluster.visitors(1, &all).await;
        let killed: i64 =
            redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").query_async(&mut redis).await.unwrap();
        assert!(killed > 0, "somebody listened");
        witness.sees(&all, "present").await;
        for visitor in visitors {
            leave(visitor).await;
        }
        let _: i64 =
            redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").query_async(&mut redis).await.unwrap();
        say(&format!("absent in round {round}"), witness.sees(&all, "absent").await);
    }
}

/// F12: a node drains without Redis, and a second signal ends it at once.
#[tokio::test]
async fn a_node_drains_with_redis_down() {
    let mut cluster = Cluster::start(2).await;
    let mut visitor = cluster.visitor(0, "v").await;
    cluster.net.redis.kill();
    cluster.signal(0, Signal::TERM);
    assert_eq!(visitor.expect("reconnect").await["reason"], "drain");
    drop(visitor);
    for node in 0..2 {
        let mut going = cluster.nodes[node].take().unwrap();
        if node == 1 {
            kill_process(Pid::from_child(&going.child), Signal::TERM).unwrap();
            kill_process(Pid::from_child(&going.child), Signal::TERM).unwrap();
        }
        let ended = tokio::task::spawn_blocking(move || (going.child.wait().unwrap(), going));
        let (status, _) = within("the end of a drain", ended).await.unwrap();
        assert!(status.success(), "{status:?}");
    }
    assert!(cluster.folder.path().exists());
}
