//! Nodes that share a directory, and whose letters go one of several ways.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use porchlight::cluster::NodeId;
use porchlight::cluster::post::memory::MemoryPost;
use porchlight::cluster::post::redis::RedisPost;
use porchlight::cluster::post::{FarFrame, FrameSink, Heard, Hearing, Letter, Mailbox, Post};
use porchlight::ids::SessionId;
use porchlight::model::settings::Settings;
use porchlight::store::Agent;
use porchlight::store::sqlite::SqliteStore;

use crate::common::redis::Redis;
use crate::common::site::{PASSWORD, agent_key, group_id};
use crate::common::{AgentClient, Client, ParticipantClient, Value, VisitorClient, http, json, within};
use crate::two_nodes::{Cluster, Common};

pub struct World {
    pub cluster: Cluster,
    pub post: Arc<Lossy>,
    _redis: Option<Redis>,
}

/// A post that loses what it is told to.
pub struct Lossy {
    posts: Vec<Arc<dyn Post>>,
    next: AtomicUsize,
    /// Frames still to be lost.
    pub frames: AtomicUsize,
    /// Letters that were sent, and frames.
    pub sent: [AtomicUsize; 2],
    nodes: parking_lot::Mutex<Vec<(NodeId, usize)>>,
    /// Sinks that hear frames by now.
    hearing: Arc<AtomicUsize>,
}

/// A sink that hears, or is about to.
struct Counted {
    _hearing: Hearing,
    open: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.open.load(Ordering::SeqCst) {
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Lossy {
    pub fn over(posts: Vec<Arc<dyn Post>>) -> Arc<Self> {
        let nodes = parking_lot::Mutex::default();
        let (next, frames) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { posts, next, frames, sent: Default::default(), nodes, hearing: Arc::default() })
    }

    fn of(&self, node: NodeId) -> &Arc<dyn Post> {
        let at = self.nodes.lock().iter().find(|(other, _)| *other == node).expect("it enrolled").1;
        &self.posts[at]
    }

    pub fn frames_sent(&self) -> usize {
        self.sent[1].load(Ordering::Relaxed)
    }
}

impl Post for Lossy {
    fn enroll(&self, node: NodeId) -> Mailbox {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        self.nodes.lock().push((node, at));
        self.posts[at].enroll(node)
    }

    fn send(&self, from: NodeId, to: NodeId, letter: Letter) {
        self.sent[0].fetch_add(1, Ordering::Relaxed);
        self.of(from).send(from, to, letter);
    }

    fn send_frame(&self, from: NodeId, session: SessionId, frame: FarFrame) {
        self.sent[1].fetch_add(1, Ordering::Relaxed);
        let lose = |left: usize| left.checked_sub(1);
        if self.frames.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lose).is_err() {
            self.of(from).send_frame(from, session, frame);
        }
    }

    fn hear_frames(&self, node: NodeId, session: SessionId, sink: Arc<FrameSink>) -> Hearing {
        let (open, count) = (Arc::<AtomicBool>::default(), Arc::clone(&self.hearing));
        let (opens, counts) = (Arc::clone(&open), Arc::clone(&count));
        let counted: Arc<FrameSink> = Arc::new(move |heard| {
            let begins = matches!(heard, Heard::Open);
            sink(heard);
            if begins && !opens.swap(true, Ordering::SeqCst) {
                counts.fetch_add(1, Ordering::SeqCst);
            }
        });
        let hearing = self.of(node).hear_frames(node, session, counted);
        Hearing::new(Counted { _hearing: hearing, open, count })
    }
}

/// A visitor of node 0, an agent of node 1, and their sockets in the session.
pub struct Met {
    pub visitor: VisitorClient,
    pub agent: AgentClient,
    pub publisher: ParticipantClient,
    pub viewer: ParticipantClient,
    pub session: Value,
}

impl World {
    pub async fn memory(nodes: usize) -> Self {
        let post: Arc<dyn Post> = Arc::<MemoryPost>::default();
        Self::over(vec![post; nodes], None).await
    }

    /// Letters and frames go through a Redis of the world's own.
    pub async fn redis(nodes: usize) -> Self {
        let redis = Redis::start().await;
        // Letters need not outlive Redis, and so need not wait for its disk.
        let mut quick = redis::cmd("CONFIG");
        quick.arg("SET").arg("appendfsync").arg("no");
        let () = quick.query_async(&mut redis.connect().await).await.unwrap();
        let mut posts = Vec::new();
        for _ in 0..nodes {
            let post = RedisPost::new(redis.link().await, redis.link().await);
            posts.push(Arc::new(post) as Arc<dyn Post>);
        }
        Self::over(posts, Some(redis)).await
    }

    /// Awaits that frames are heard by so many nodes.
    pub async fn hearing(&self, nodes: usize) {
        let heard = async {
            while self.post.hearing.load(Ordering::SeqCst) != nodes {
                tokio::task::yield_now().await;
            }
        };
        within("nodes that hear frames", heard).await;
    }

    async fn over(posts: Vec<Arc<dyn Post>>, redis: Option<Redis>) -> Self {
        let count = posts.len();
        let post = Lossy::over(posts);
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let posts = vec![Arc::clone(&post) as _; count];
        let common = Common { posts, grace_seconds: 5, ..Common::new(store, count) };
        Self { cluster: Cluster::of(common).await, post, _redis: redis }
    }

    pub async fn visitor(&self, node: usize, id: &str) -> VisitorClient {
        self.cluster.visitor(node, id).await
    }

    pub async fn agent(&self, node: usize) -> AgentClient {
        self.cluster.agent(node).await
    }

    pub async fn bob(&self, node: usize) -> AgentClient {
        self.cluster.agent_as(node, 1).await
    }

    /// The agent of another group.
    pub async fn carol(&self, node: usize) -> AgentClient {
        let (group, key) = (group_id("other"), agent_key("other", "carol"));
        let accounts = &self.cluster.accounts;
        let settings = Settings::dev(std::slice::from_ref(&key.agent));
        accounts.create_group(&group, &settings, "it").await.unwrap();
        let agent = Agent {
            key: key.clone(),
            address: "carol".to_owned(),
            partner_user_id: None,
            name: "Carol".to_owned(),
            profile: Some("Support".to_owned()),
            subscription: None,
            fixed_key: None,
        };
        accounts.upsert_agent(&agent).await.unwrap();
        accounts.set_password(&key, PASSWORD.to_owned().into()).await.unwrap();
        let addr = self.cluster.addr(node);
        let body = json!({"group": "other", "address": "carol", "password": PASSWORD});
        let answer = http::post(addr, "/v1/auth/agent", &body).await.json();
        let client = Client::open(&self.cluster.transcript, "carol", addr, "/v1/agent").await;
        AgentClient::connect(client, answer["token"].as_str().unwrap()).await
    }

    pub async fn socket(&self, node: usize, name: &str) -> Client {
        let name = format!("{name}@{node}");
        Client::open(&self.cluster.transcript, &name, self.cluster.addr(node), "/v1/session").await
    }

    pub async fn attach(&self, node: usize, name: &str, ready: &Value) -> ParticipantClient {
        let client = self.socket(node, name).await;
        ParticipantClient::attach(client, json!({"ticket": ready["ticket"]})).await
    }

    pub async fn resume(&self, node: usize, name: &str, token: &Value) -> ParticipantClient {
        let client = self.socket(node, name).await;
        ParticipantClient::attach(client, json!({"resumeToken": token})).await
    }

    pub async fn attach_refused(&self, node: usize, mut credential: Value, code: u16) -> String {
        credential["type"] = json!("attach");
        let mut client = self.socket(node, "refused").await;
        client.send(credential).await;
        client.expect_close(code).await;
        client.reason
    }

    /// The agent of one node sees the screen of a visitor of another, whose publisher is on a third.
    pub async fn meet(&self, visitor: usize, agent: usize, publisher: usize, join: Value) -> Met {
        let (page, agent_page) = (self.visitor(visitor, "C-1").await, self.agent(agent).await);
        self.meet_with(page, agent_page, (agent, publisher), join).await
    }

    pub async fn meet_with(
        &self,
        mut visitor: VisitorClient,
        mut agent: AgentClient,
        (viewer_at, publisher_at): (usize, usize),
        mut join: Value,
    ) -> Met {
        join["type"] = json!("join");
        join["visitorId"] = json!(visitor.id());
        let request = agent.ask(join, "request").await;
        let offer = visitor.expect("offer").await;
        assert_eq!(offer["requestId"], request["requestId"]);
        visitor.accept(&offer).await;
        let (ready, ticket) = (visitor.expect("ready").await, agent.expect("ready").await);
        let mut publisher = self.attach(publisher_at, "publisher", &ready).await;
        let viewer = self.attach(viewer_at, "viewer", &ticket).await;
        agent.expect_request("active").await;
        publisher.expect_change("joined", &viewer.id()).await;
        Met { visitor, agent, publisher, viewer, session: ready["sessionId"].clone() }
    }
}

impl Met {
    /// Everybody hears why, and is closed.
    pub async fn expect_end(&mut self, reason: &str) {
        for client in [&mut self.publisher, &mut self.viewer] {
            assert_eq!(client.expect("ended").await["reason"], reason);
            client.expect_close(4409).await;
        }
        for client in [&mut self.visitor.client, &mut self.agent.client] {
            let ended = client.expect("sessionEnded").await;
            assert_eq!((&ended["sessionId"], &ended["reason"]), (&self.session, &json!(reason)));
        }
    }
}
