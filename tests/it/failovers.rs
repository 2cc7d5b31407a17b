//! F6: the Redis that nodes share changes places: a primary dies and Sentinels name another, slots of a cluster
//! move, a primary of a cluster dies. Two nodes go on: an agent on one is told the truth of the other's visitors,
//! and what it sees of a visitor's screen goes on.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use porchlight::config::Config;

use crate::common::redis::cluster::RedisCluster;
use crate::common::redis::sentinels::{MASTER, Sentinels};
use crate::common::{AgentClient, Heard, ParticipantClient, Picture, Site, Value, VisitorClient, json};

/// Longer than a failover, a lease and a look take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often something is tried that is to succeed at last.
const LOOK: Duration = Duration::from_millis(200);

async fn sites(change: impl Fn(&mut Config)) -> [Site; 2] {
    let start = async || {
        Site::with(|config| {
            config.limits.node_lease = Duration::from_secs(4);
            config.limits.node_beat = Duration::from_millis(400);
            change(config);
            assert_eq!(config.check(), []);
        })
        .await
    };
    [start().await, start().await]
}

/// An agent, and all that it was told of visitors.
struct Witness {
    agent: AgentClient,
    told: HashMap<String, Vec<(String, u64)>>,
}

impl Witness {
    async fn of(site: &Site, visitors: &[&str]) -> Self {
        let mut agent = site.agent("bob").await;
        let watching = agent.ask(json!({"type": "watch", "visitorIds": visitors}), "watching").await;
        let mut witness = Self { agent, told: HashMap::new() };
        for visitor in watching["visitors"].as_array().unwrap() {
            witness.note(visitor);
        }
        witness
    }

    fn note(&mut self, visitor: &Value) {
        let id = visitor["visitorId"].as_str().unwrap().to_owned();
        let (state, version) = (visitor["state"].as_str().unwrap(), visitor["version"].as_u64().unwrap());
        let told = self.told.entry(id.clone()).or_default();
        if let Some((before, older)) = told.last() {
            assert!(version >= *older, "{id}: {state} of version {version} after {before} of {older}");
        }
        told.push((state.to_owned(), version));
    }

    fn states(&self, id: &str) -> Vec<&str> {
        self.told[id].iter().map(|(state, _)| state.as_str()).collect()
    }

    /// Listens until this is what was told last, and is answered as well.
    async fn sees(&mut self, id: &str, state: &str) {
        let seen = tokio::time::timeout(PATIENCE, async {
            loop {
                while self.states(id).last() != Some(&state) {
                    match self.agent.hear().await {
                        Heard::Text(text) if text["type"] == "presence" => self.note(&text["visitor"]),
                        Heard::Closed(code) => panic!("the agent's connection ended: {code:?}"),
                        _ => {}
                    }
                }
                let answer = self.agent.call(json!({"type": "lookup", "visitorIds": [id]})).await;
                if answer["visitors"][0]["state"] == state {
                    return;
                }
                let pushed = tokio::time::timeout(LOOK, self.agent.hear()).await;
                if let Ok(Heard::Text(text)) = pushed
                    && text["type"] == "presence"
                {
                    self.note(&text["visitor"]);
                }
            }
        });
        if seen.await.is_err() {
            panic!("{id} is not {state}: {:?}", self.told);
        }
    }
}

/// A visitor on the first node whose screen an agent on the second one sees.
struct Met {
    _visitor: VisitorClient,
    _agent: AgentClient,
    publisher: ParticipantClient,
    viewer: ParticipantClient,
    token: Value,
    pictures: Picture,
}

impl Met {
    async fn at([here, there]: &[Site; 2]) -> Self {
        let (mut visitor, mut agent) = (here.visitor("shown").await, there.agent("alice").await);
        let join = json!({"type": "join", "visitorId": "shown", "kind": "screen"});
        agent.ask(join, "request").await;
        let offer = visitor.expect("offer").await;
        visitor.accept(&offer).await;
        let (ready, ticket) = (visitor.expect("ready").await, agent.expect("ready").await);
        let publisher = here.attach("publisher", &ready).await;
        let viewer = there.attach("viewer", &ticket).await;
        let token = viewer.token();
        Self { _visitor: visitor, _agent: agent, publisher, viewer, token, pictures: Picture::new() }
    }

    /// The next picture is seen, at last: frames may be lost meanwhile, and a viewer whose node lost touch with the
    /// other one comes back.
    async fn is_seen(&mut self, there: &Site) {
        let seen = tokio::time::timeout(PATIENCE, async {
            loop {
                let picture = self.pictures.key(100);
                self.publisher.send_frame(picture.clone()).await;
                if self.sees(there, &picture).await {
                    return;
                }
            }
        });
        assert!(seen.await.is_ok(), "no picture is seen any more");
    }

    async fn sees(&mut self, there: &Site, picture: &Bytes) -> bool {
        loop {
            match tokio::time::timeout(LOOK, self.viewer.hear()).await {
                Ok(Heard::Frame(frame)) if frame == *picture => return true,
                Ok(Heard::Closed(_)) => {
                    self.viewer = there.resume("viewer", &self.token).await;
                    self.token = self.viewer.token();
                    return false;
                }
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }
}

/// Whoever stays is never told to be gone, whoever goes or comes while Redis is elsewhere is told in the end.
async fn goes_on(sites: &[Site; 2], witness: &mut Witness, met: &mut Met, disturb: impl AsyncFnOnce()) {
    let stays = sites[0].visitor("stays").await;
    let goes = sites[0].visitor("goes").await;
    witness.sees("stays", "present").await;
    witness.sees("goes", "present").await;
    met.is_seen(&sites[1]).await;
    let begun = Instant::now();
    disturb().await;
    say("the change", begun);
    let changed = Instant::now();
    goes.go().await;
    let comes = sites[0].visitor("comes").await;
    witness.sees("comes", "present").await;
    witness.sees("goes", "absent").await;
    witness.sees("stays", "present").await;
    say("presence is right after it", changed);
    met.is_seen(&sites[1]).await;
    say("pictures go on after it", changed);
    let told = witness.states("stays");
    let since = told.iter().position(|state| *state == "present").unwrap();
    assert!(!told[since..].contains(&"absent"), "{told:?}");
    // What is shared is written again.
    sites[1].settings(|settings| settings.open_session_records = !settings.open_session_records).await;
    for visitor in [stays, comes] {
        let id = visitor.id().to_owned();
        visitor.go().await;
        witness.sees(&id, "absent").await;
    }
    witness.told.clear();
}

#[allow(clippy::print_stderr, reason = "figures for whoever reads the log of the test")]
fn say(what: &str, since: Instant) {
    eprintln!("{what}: {} ms", since.elapsed().as_millis());
}

const WATCHED: [&str; 3] = ["stays", "goes", "comes"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_go_on_with_the_primary_that_sentinels_choose() {
    let mut all = Sentinels::start().await;
    let sites = sites(|config| {
        config.redis.sentinels = all.nodes();
        config.redis.master = Some(MASTER.to_owned());
    })
    .await;
    sites[0].settings(|settings| settings.grace_seconds = 0).await;
    let mut witness = Witness::of(&sites[1], &WATCHED).await;
    let mut met = Met::at(&sites).await;
    goes_on(&sites, &mut witness, &mut met, async || {
        all.kill(0);
        all.promoted(1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_go_on_while_slots_move_and_primaries_of_a_cluster_die() {
    let mut all = RedisCluster::with_replicas(3, 3).await;
    let sites = sites(|config| config.redis.cluster = all.nodes()).await;
    sites[0].settings(|settings| settings.grace_seconds = 0).await;
    let mut met = Met::at(&sites).await;
    let (group, nodes) = ("pl:{demo}:v", "pl:{nodes}:leases");
    for key in [group, nodes] {
        let mut witness = Witness::of(&sites[1], &WATCHED).await;
        let (slot, from) = all.home(key).await;
        goes_on(&sites, &mut witness, &mut met, async || {
            all.move_slot(slot, from, (from + 1) % 3).await;
            all.move_slot(slot, (from + 1) % 3, from).await;
        })
        .await;
    }
    let mut homes = [all.home(group).await.1, all.home(nodes).await.1].to_vec();
    homes.dedup();
    for home in homes {
        let mut witness = Witness::of(&sites[1], &WATCHED).await;
        goes_on(&sites, &mut witness, &mut met, async || {
            all.kill(home);
            all.replaced(home).await;
        })
        .await;
        all.revive(home).await;
    }
}
