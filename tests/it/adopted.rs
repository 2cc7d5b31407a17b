//! A session outlives its node: who was in it comes to another node and goes on, and one that nobody comes back to
//! ends all the same.

mod handed_over;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use porchlight::auth::opaque::Digest;
use porchlight::cluster::memory::MemoryDirectory;
use porchlight::cluster::redis::vault::RedisVault;
use porchlight::cluster::vault::{Held, MemoryVault, Place, Put, SavedSession, Seen, Vault, VaultError};
use porchlight::cluster::{
    Directory, DirectoryError, Follow, Home, Inherited, Neighbour, NodeId, PresenceSource, Sight, Sink,
};
use porchlight::hub::Hub;
use porchlight::hub::guests::{Knock, NotLetIn, Way};
use porchlight::ids::{GroupId, SessionId, VisitorId, VisitorKey};
use porchlight::limits::Limits;
use porchlight::model::event::What;
use porchlight::model::lead::Guest;
use porchlight::model::session::EndReason;
use porchlight::model::visitor::Snapshot;
use porchlight::store::sqlite::SqliteStore;
use porchlight::store::{EventLog, SessionRecords};

use crate::common::frames::Picture;
use crate::common::redis::Redis;
use crate::common::{AgentClient, ParticipantClient, Value, VisitorClient, json, within};
use crate::guests::let_in;
use crate::two_nodes::{Cluster, Common};

/// Whether the first node is cut off from what nodes share.
type Cut = Arc<AtomicBool>;

/// A directory in which the first node is dead while it is cut off.
struct Thinned {
    inner: MemoryDirectory,
    cut: Cut,
    first: std::sync::OnceLock<NodeId>,
}

impl Thinned {
    /// Whether this node is dead to the others.
    fn is_dead(&self, node: NodeId) -> bool {
        self.cut.load(Ordering::SeqCst) && self.first.get() == Some(&node)
    }
}

#[async_trait]
impl Directory for Thinned {
    fn enroll(&self, node: NodeId, source: Weak<dyn PresenceSource>, sink: Weak<Sink>) {
        self.first.get_or_init(|| node);
        self.inner.enroll(node, source, sink);
    }

    async fn claim(&self, node: NodeId, key: &VisitorKey) -> Result<Home, DirectoryError> {
        Ok(match self.inner.claim(node, key).await? {
            Home::There(other) if self.is_dead(other) => Home::Here(Inherited::default()),
            home => home,
        })
    }

    async fn home(&self, asking: NodeId, key: &VisitorKey) -> Result<Option<NodeId>, DirectoryError> {
        Ok(self.inner.home(asking, key).await?.filter(|node| !self.is_dead(*node)))
    }

    fn release(&self, node: NodeId, key: &VisitorKey) {
        self.inner.release(node, key);
    }

    fn is_read(&self, node: NodeId, group: &GroupId) -> bool {
        self.inner.is_read(node, group)
    }

    fn publish(&self, node: NodeId, snapshot: &Arc<Snapshot>) {
        self.inner.publish(node, snapshot);
    }

    fn confirms(&self, node: NodeId, group: &GroupId) -> bool {
        self.inner.confirms(node, group)
    }

    async fn announce(&self, node: NodeId) {
        self.inner.announce(node).await;
    }

    async fn follow(&self, node: NodeId, group: &GroupId) -> Follow {
        self.inner.follow(node, group).await
    }

    async fn tell_session(
        &self,
        node: NodeId,
        group: &GroupId,
        session: SessionId,
    ) -> Result<(), DirectoryError> {
        self.inner.tell_session(node, group, session).await
    }

    fn pass_on(&self, node: NodeId, key: &VisitorKey, message: &Bytes) {
        self.inner.pass_on(node, key, message);
    }

    async fn lookup(
        &self,
        asking: NodeId,
        group: &GroupId,
        visitors: &[VisitorId],
    ) -> Result<Sight, DirectoryError> {
        self.inner.lookup(asking, group, visitors).await
    }

    async fn list(&self, asking: NodeId, group: &GroupId) -> Result<Sight, DirectoryError> {
        self.inner.list(asking, group).await
    }

    async fn nodes(&self, asking: NodeId) -> Result<Vec<Neighbour>, DirectoryError> {
        let mut nodes = self.inner.nodes(asking).await?;
        nodes.retain(|other| !self.is_dead(other.facts.node));
        Ok(nodes)
    }
}

/// The first node's way to the vault.
struct Cuttable {
    inner: Arc<dyn Vault>,
    cut: Cut,
}

impl Cuttable {
    fn way(&self) -> Result<&dyn Vault, VaultError> {
        if self.cut.load(Ordering::SeqCst) {
            Err(VaultError::Away("cut off".into()))
        } else {
            Ok(&*self.inner)
        }
    }
}

#[async_trait]
impl Vault for Cuttable {
    async fn put(&self, saved: &SavedSession, owner: NodeId, fence: u64) -> Result<Put, VaultError> {
        self.way()?.put(saved, owner, fence).await
    }

    async fn find(&self, session: SessionId) -> Result<Option<Place>, VaultError> {
        self.way()?.find(session).await
    }

    async fn adopt(
        &self,
        session: SessionId,
        from: Option<NodeId>,
        to: NodeId,
    ) -> Result<Option<SavedSession>, VaultError> {
        self.way()?.adopt(session, from, to).await
    }

    async fn ended_on(&self, session: SessionId) -> Result<Option<NodeId>, VaultError> {
        self.way()?.ended_on(session).await
    }

    async fn release(&self, session: SessionId, owner: NodeId) -> Result<bool, VaultError> {
        self.way()?.release(session, owner).await
    }

    async fn end(
        &self,
        group: &GroupId,
        session: SessionId,
        owner: NodeId,
        last: Option<&Seen>,
    ) -> Result<bool, VaultError> {
        self.way()?.end(group, session, owner, last).await
    }

    async fn seen(&self, group: &GroupId, session: SessionId) -> Result<Option<Seen>, VaultError> {
        self.way()?.seen(group, session).await
    }

    async fn all_seen(&self, group: &GroupId) -> Result<Vec<Seen>, VaultError> {
        self.way()?.all_seen(group).await
    }

    async fn of_visitor(&self, key: &VisitorKey) -> Result<Option<SessionId>, VaultError> {
        self.way()?.of_visitor(key).await
    }

    async fn hold_key(&self, key: &Digest, session: SessionId, most: u64) -> Result<Held, VaultError> {
        self.way()?.hold_key(key, session, most).await
    }

    async fn find_key(&self, key: &Digest) -> Result<Option<SessionId>, VaultError> {
        self.way()?.find_key(key).await
    }

    async fn free_key(&self, key: &Digest, session: SessionId) -> Result<(), VaultError> {
        self.way()?.free_key(key, session).await
    }

    async fn groups(&self) -> Result<Vec<GroupId>, VaultError> {
        self.way()?.groups().await
    }

    async fn orphans(
        &self,
        group: &GroupId,
        alive: &[NodeId],
        most: usize,
    ) -> Result<Vec<(SessionId, Option<NodeId>)>, VaultError> {
        self.way()?.orphans(group, alive, most).await
    }
}

/// Two nodes, and everybody around one visitor on the first of them.
struct Nodes {
    cluster: Cluster,
    store: Arc<SqliteStore>,
    vault: Arc<dyn Vault>,
    cut: Cut,
}

impl Nodes {
    async fn start(vault: Arc<dyn Vault>, limits: Limits) -> Self {
        let cut = Cut::default();
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let directory =
            Thinned { inner: MemoryDirectory::default(), cut: Arc::clone(&cut), first: Default::default() };
        let first = Cuttable { inner: Arc::clone(&vault), cut: Arc::clone(&cut) };
        let vaults: Vec<Arc<dyn Vault>> = vec![Arc::new(first), Arc::clone(&vault)];
        let common = Common {
            directory: Arc::new(directory),
            vaults,
            limits: Arc::new(limits),
            ..Common::new(Arc::clone(&store), 2)
        };
        let cluster = Cluster::of(common).await;
        let group = cluster.accounts.group(&cluster.demo.group.id).unwrap();
        let mut settings = group.settings.clone();
        settings.log_sessions_outside_crm = true;
        cluster.accounts.update_settings(&group.id, &settings, group.version, "it").await.unwrap();
        Self { cluster, store, vault, cut }
    }

    fn group(&self) -> &GroupId {
        &self.cluster.demo.group.id
    }

    fn hub(&self, node: usize) -> &Arc<Hub> {
        self.cluster.hub(node)
    }

    /// Everything that the first node knows is in the vault, and then the node is dead to the others.
    async fn cut_off(&self) {
        let hub = self.hub(0);
        hub.saved(&hub.sessions().all()).await;
        self.cut.store(true, Ordering::SeqCst);
    }

    async fn attach(&self, node: usize, name: &str, credential: Value) -> ParticipantClient {
        ParticipantClient::attach(self.cluster.session(node, name).await, credential).await
    }

    /// What a credential is answered with where it does not let in.
    async fn turned_away(&self, node: usize, mut credential: Value, code: u16) {
        credential["type"] = json!("attach");
        let mut client = self.cluster.session(node, "turned away").await;
        client.send(credential).await;
        client.expect_close(code).await;
    }

    async fn engage(&self) -> Engaged {
        let (mut visitor, mut agent) = (self.cluster.visitor(0, "C-1").await, self.cluster.agent(0).await);
        agent.join("C-1").await;
        let offer = visitor.expect("offer").await;
        visitor.accept(&offer).await;
        let (ready, ticket) = (visitor.expect("ready").await, agent.expect("ready").await);
        let publisher = self.attach(0, "publisher", json!({"ticket": ready["ticket"]})).await;
        let viewer = self.attach(0, "viewer", json!({"ticket": ticket["ticket"]})).await;
        let session = SessionId::parse(ready["sessionId"].as_str().unwrap()).unwrap();
        Engaged { session, visitor, agent, publisher, viewer }
    }

    /// The session's end as it is written down, once it is.
    async fn written_end(&self, session: SessionId) -> EndReason {
        within("the end in the record", async {
            loop {
                let record = self.store.session_record(self.group(), session).await.unwrap();
                if let Some(reason) = record.and_then(|record| record.end_reason) {
                    return reason;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// How many events of the session are such.
    async fn told(&self, session: SessionId, what: impl Fn(&What) -> bool) -> usize {
        let page = self.store.timeline(self.group(), session, 0).await.unwrap();
        page.events.iter().filter(|logged| what(&logged.event.what)).count()
    }

    async fn gone_from_the_vault(&self, session: SessionId) {
        within("the session to be dropped from the vault", async {
            while self.vault.find(session).await.unwrap().is_some() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// A session that is shown and watched.
struct Engaged {
    session: SessionId,
    visitor: VisitorClient,
    agent: AgentClient,
    publisher: ParticipantClient,
    viewer: ParticipantClient,
}

fn resume(client: &ParticipantClient) -> Value {
    json!({"resumeToken": client.token()})
}

async fn goes_on(vault: Arc<dyn Vault>) {
    let nodes = Nodes::start(vault, Limits::default()).await;
    let Engaged { session, visitor: _visitor, mut agent, mut publisher, mut viewer } = nodes.engage().await;
    agent.join("C-1").await;
    let ready = agent.expect_where("ready", |_| true).await;
    let mut stays = nodes.attach(0, "stays", json!({"ticket": ready["ticket"]})).await;
    let mut picture = Picture::new();
    let frame = picture.key(500);
    publisher.send_frame(frame.clone()).await;
    assert_eq!(viewer.expect_frame().await, frame);
    nodes.cut_off().await;
    let (publishes, watches) = (resume(&publisher), resume(&viewer));
    let (publisher_id, viewer_id) = (publisher.id(), viewer.id());
    publisher.vanish();
    viewer.vanish();

    let mut publisher = nodes.attach(1, "publisher", publishes.clone()).await;
    assert_eq!((publisher.id(), &publisher.hello["role"]), (publisher_id, &json!("publisher")));
    assert_eq!(publisher.hello["participants"].as_array().unwrap().len(), 3);
    assert_eq!(publisher.expect("keyFrameRequest").await["stream"], 0);
    let mut viewer = nodes.attach(1, "viewer", watches).await;
    assert_eq!((viewer.id(), &viewer.hello["role"]), (viewer_id, &json!("viewer")));
    publisher.expect_change("back", &viewer.id()).await;
    for frame in [picture.key(500), picture.delta(100), picture.delta(100)] {
        publisher.send_frame(frame.clone()).await;
        assert_eq!(viewer.expect_frame().await, frame);
    }
    viewer.ask(json!({"type": "chat", "text": "here again"}), "ok").await;
    assert_eq!(publisher.expect("chat").await["text"], "here again");
    nodes.turned_away(1, publishes, 4401).await;

    // The first node finds that the session is no longer its own, and sends away who is still there.
    nodes.cut.store(false, Ordering::SeqCst);
    stays.expect_close(4000).await;
    assert_eq!(nodes.hub(0).sessions().len(), 0);

    publisher.send(json!({"type": "end"})).await;
    viewer.expect("ended").await;
    assert_eq!(nodes.written_end(session).await, EndReason::GuestEnded);
    assert_eq!(nodes.told(session, |what| matches!(what, What::Ended(_))).await, 1);
    assert_eq!(nodes.told(session, |what| matches!(what, What::Accepted(_))).await, 1);
    assert_eq!(nodes.told(session, |what| matches!(what, What::Started)).await, 1);
    nodes.gone_from_the_vault(session).await;
}

#[tokio::test]
async fn a_session_goes_on_where_its_people_come_back() {
    goes_on(Arc::<MemoryVault>::default()).await;
}

#[tokio::test]
async fn a_session_goes_on_over_redis() {
    let redis = Redis::start().await;
    let link = redis.link().await;
    goes_on(Arc::new(RedisVault::new(link, Duration::from_secs(3600)))).await;
}

#[tokio::test]
async fn a_session_key_leads_to_the_session_wherever_it_goes_on() {
    let redis = Redis::start().await;
    let link = redis.link().await;
    let vault: Arc<dyn Vault> = Arc::new(RedisVault::new(link, Duration::from_secs(3600)));
    let nodes = Nodes::start(Arc::clone(&vault), Limits::default()).await;
    let mut agent = nodes.cluster.agent(0).await;
    let ready = agent.ask(json!({"type": "show"}), "ready").await;
    let host = nodes.attach(0, "host", json!({"ticket": ready["ticket"]})).await;
    let session = SessionId::parse(ready["sessionId"].as_str().unwrap()).unwrap();
    nodes.cut_off().await;
    let knock = || Knock {
        way: Way::Key { group: None, key: ready["sessionKey"].as_str().unwrap().to_owned() },
        guest: Guest::default(),
        terms: None,
        device: Default::default(),
        from: "127.0.0.1".parse().unwrap(),
        origin: None,
    };
    // A guest who comes first makes the node go on with it.
    let hub = nodes.hub(1);
    assert_eq!(let_in(hub.guest(knock()).await.unwrap()).session, session);
    assert!(hub.sessions().routed(session).is_some());
    let token = resume(&host);
    host.vanish();
    let mut host = nodes.attach(1, "host", token).await;
    let let_in = let_in(hub.guest(knock()).await.unwrap());
    let guest = nodes.attach(1, "guest", json!({"ticket": let_in.ticket.ticket})).await;
    host.expect_change("joined", &guest.id()).await;
    hub.end_session(&hub.sessions().routed(session).unwrap(), EndReason::OperatorEnded);
    nodes.gone_from_the_vault(session).await;
    assert_eq!(hub.guest(knock()).await.unwrap_err(), NotLetIn::NotFound);
}

#[tokio::test]
async fn a_session_that_nobody_comes_back_to_ends_once() {
    let limits = Limits { resume_window: Duration::from_millis(100), ..Limits::default() };
    let mut nodes = Nodes::start(Arc::<MemoryVault>::default(), limits).await;
    let Engaged { session, visitor, agent, publisher, viewer } = nodes.engage().await;
    nodes.cut_off().await;
    // It serves no deadline any more either.
    nodes.cluster.kill(0);
    publisher.vanish();
    viewer.vanish();
    drop((visitor, agent));
    let hub = Arc::clone(nodes.hub(1));
    within("the session to be gone on with", async {
        while hub.sessions().routed(session).is_none() {
            hub.reap().await;
        }
    })
    .await;
    assert_eq!(nodes.written_end(session).await, EndReason::NodeLost);
    assert_eq!(nodes.told(session, |what| matches!(what, What::Ended(_))).await, 1);
    nodes.gone_from_the_vault(session).await;
    assert!(hub.sessions().is_empty());
}

#[tokio::test]
async fn a_question_is_put_again_by_the_visitors_new_home() {
    let nodes = Nodes::start(Arc::<MemoryVault>::default(), Limits::default()).await;
    let (mut before, mut agent) = (nodes.cluster.visitor(0, "C-1").await, nodes.cluster.agent(0).await);
    agent.join("C-1").await;
    let offer = before.expect("offer").await;
    nodes.cut_off().await;
    let mut visitor = nodes.cluster.visitor(1, "C-1").await;
    visitor.expect("focus").await;
    let key = VisitorKey { group: nodes.group().clone(), visitor: VisitorId::new("C-1").unwrap() };
    let adopted = nodes.hub(1).adopt_of(&key).await.unwrap().expect("it is saved");
    let again = visitor.expect("offer").await;
    for same in ["requestId", "sessionId", "terms", "kind", "agent"] {
        assert_eq!(again[same], offer[same], "{same}");
    }
    let mut agent = nodes.cluster.agent(1).await;
    assert_eq!(agent.join("C-1").await["requestId"], offer["requestId"], "nobody is asked anew");
    visitor.accept(&again).await;
    let (ready, ticket) = (visitor.expect("ready").await, agent.expect("ready").await);
    let mut publisher = nodes.attach(1, "publisher", json!({"ticket": ready["ticket"]})).await;
    let viewer = nodes.attach(1, "viewer", json!({"ticket": ticket["ticket"]})).await;
    publisher.expect_change("joined", &viewer.id()).await;
    assert!(adopted.view().accepted.is_some());
    assert_eq!(nodes.told(adopted.id, |what| matches!(what, What::Accepted(_))).await, 1);
}
