//! A node that drains while others are up: its sessions go on there, and nobody is told of an end.

use super::*;
use crate::common::{Client, Heard};

/// Heard as the node goes: to come back, and nothing of an end.
async fn sent_away(client: &mut Client) {
    let mut asked_back = false;
    loop {
        match client.hear().await {
            Heard::Text(text) => {
                let kind = text["type"].as_str().unwrap();
                assert!(!["ended", "sessionEnded"].contains(&kind), "{text}");
                if kind == "reconnect" {
                    assert_eq!((&text["reason"], &text["afterMs"]), (&json!("drain"), &json!(0)));
                    asked_back = true;
                }
            }
            Heard::Frame(_) => {}
            Heard::Closed(code) => break assert_eq!(code, Some(4000)),
        }
    }
    assert!(asked_back, "it was told to come back");
}

impl Nodes {
    /// The first node goes away.
    fn drain(&self) -> tokio::task::JoinHandle<()> {
        let hub = Arc::clone(self.hub(0));
        tokio::spawn(async move { hub.drain(Duration::from_secs(2)).await })
    }
}

impl Engaged {
    async fn sent_away(&mut self) {
        for client in [
            &mut self.publisher.client,
            &mut self.viewer.client,
            &mut self.visitor.client,
            &mut self.agent.client,
        ] {
            sent_away(client).await;
        }
    }
}

async fn is_handed_over(vault: Arc<dyn Vault>) {
    let nodes = Nodes::start(vault, Limits::default()).await;
    let mut engaged = nodes.engage().await;
    let session = engaged.session;
    let mut witness = nodes.cluster.agent_as(1, 1).await;
    assert_eq!(witness.watch("C-1").await["state"], "present");
    let mut picture = Picture::new();
    let frame = picture.key(500);
    engaged.publisher.send_frame(frame.clone()).await;
    assert_eq!(engaged.viewer.expect_frame().await, frame);

    let drain = nodes.drain();
    engaged.sent_away().await;
    assert!(nodes.hub(0).sessions().is_empty());
    let mut publisher = nodes.attach(1, "publisher", resume(&engaged.publisher)).await;
    let mut viewer = nodes.attach(1, "viewer", resume(&engaged.viewer)).await;
    assert_eq!((publisher.id(), viewer.id()), (engaged.publisher.id(), engaged.viewer.id()));
    assert_eq!(viewer.hello["sessionId"], session.to_string());
    let mut visitor = nodes.cluster.visitor(1, "C-1").await;
    visitor.expect_where("focus", |focus| focus["focused"] == true).await;
    publisher.expect("keyFrameRequest").await;
    for frame in [picture.key(500), picture.delta(100), picture.delta(100)] {
        publisher.send_frame(frame.clone()).await;
        assert_eq!(viewer.expect_frame().await, frame);
    }
    assert_eq!(
        publisher.settled("keyFrameRequest").await,
        Vec::<Value>::new(),
        "one key frame is all that was lost"
    );
    within("the end of the drain", drain).await.unwrap();
    for told in witness.settled("presence").await {
        assert_eq!(told["visitor"]["state"], "present", "{told}");
    }
    assert_eq!(witness.look("C-1").await["state"], "present");
    assert_eq!(nodes.told(session, |what| matches!(what, What::Ended(_))).await, 0);

    publisher.send(json!({"type": "end"})).await;
    viewer.expect("ended").await;
    assert_eq!(visitor.expect("sessionEnded").await["sessionId"], session.to_string());
    assert_eq!(nodes.written_end(session).await, EndReason::GuestEnded);
    for (count, what) in [
        nodes.told(session, |what| matches!(what, What::Ended(_))).await,
        nodes.told(session, |what| matches!(what, What::Accepted(_))).await,
        nodes.told(session, |what| matches!(what, What::Started)).await,
    ]
    .into_iter()
    .zip(["ended", "accepted", "started"])
    {
        assert_eq!(count, 1, "{what}");
    }
    nodes.gone_from_the_vault(session).await;
}

#[tokio::test]
async fn a_session_is_handed_over() {
    is_handed_over(Arc::<MemoryVault>::default()).await;
}

#[tokio::test]
async fn a_session_is_handed_over_through_redis() {
    let redis = Redis::start().await;
    let link = redis.link().await;
    is_handed_over(Arc::new(RedisVault::new(link, Duration::from_secs(3600)))).await;
}

#[tokio::test]
async fn a_session_comes_with_its_visitor() {
    let nodes = Nodes::start(Arc::<MemoryVault>::default(), Limits::default()).await;
    let mut engaged = nodes.engage().await;
    let drain = nodes.drain();
    engaged.sent_away().await;
    let _visitor = nodes.cluster.visitor(1, "C-1").await;
    let hub = Arc::clone(nodes.hub(1));
    within("the session to be gone on with", async {
        while hub.sessions().routed(engaged.session).is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let publisher = nodes.attach(1, "publisher", resume(&engaged.publisher)).await;
    assert_eq!(publisher.id(), engaged.publisher.id());
    within("the end of the drain", drain).await.unwrap();
}

#[tokio::test]
async fn a_session_that_cannot_be_saved_ends_with_its_node() {
    let nodes = Nodes::start(Arc::<MemoryVault>::default(), Limits::default()).await;
    let mut engaged = nodes.engage().await;
    nodes.cut.store(true, Ordering::SeqCst);
    let drain = nodes.drain();
    for client in [&mut engaged.publisher.client, &mut engaged.viewer.client] {
        assert_eq!(client.expect("ended").await["reason"], "drained");
        client.expect_close(4409).await;
    }
    for client in [&mut engaged.visitor.client, &mut engaged.agent.client] {
        assert_eq!(client.expect("sessionEnded").await["reason"], "drained");
        client.expect_close(4000).await;
    }
    within("the end of the drain", drain).await.unwrap();
    assert_eq!(nodes.written_end(engaged.session).await, EndReason::Drained);
}

#[tokio::test]
async fn nothing_begins_on_a_node_that_goes() {
    let nodes = Nodes::start(Arc::<MemoryVault>::default(), Limits::default()).await;
    let (mut visitor, mut agent) = (nodes.cluster.visitor(0, "C-1").await, nodes.cluster.agent(0).await);
    agent.join("C-1").await;
    visitor.expect("offer").await;
    let drain = nodes.drain();
    agent.expect_request("failed").await;
    assert_eq!(visitor.expect("offerEnded").await["outcome"], "failed");
    sent_away(&mut visitor.client).await;
    sent_away(&mut agent.client).await;
    within("the end of the drain", drain).await.unwrap();
    assert!(nodes.hub(0).sessions().is_empty());
}

/// The home of a session dies, and nobody comes back: the page of an agent of another node hears that it is over.
#[tokio::test]
async fn an_agent_elsewhere_hears_that_its_session_is_lost() {
    let limits = Limits { resume_window: Duration::from_millis(100), ..Limits::default() };
    let mut nodes = Nodes::start(Arc::<MemoryVault>::default(), limits).await;
    let (mut visitor, mut agent) = (nodes.cluster.visitor(0, "C-1").await, nodes.cluster.agent(1).await);
    agent.join("C-1").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    let (ready, _ticket) = (visitor.expect("ready").await, agent.expect("ready").await);
    let publisher = nodes.attach(0, "publisher", json!({"ticket": ready["ticket"]})).await;
    agent.expect_request("active").await;
    nodes.cut_off().await;
    nodes.cluster.kill(0);
    drop((publisher, visitor));
    let session = SessionId::parse(ready["sessionId"].as_str().unwrap()).unwrap();
    let hub = Arc::clone(nodes.hub(1));
    within("the session to be gone on with", async {
        while hub.sessions().routed(session).is_none() {
            hub.reap().await;
        }
    })
    .await;
    let ended = agent.expect("sessionEnded").await;
    assert_eq!((&ended["sessionId"], &ended["reason"]), (&ready["sessionId"], &json!("node_lost")));
}

/// The home of a question dies: it is not put a second time once it was found.
#[tokio::test]
async fn a_lost_question_is_not_put_again() {
    let limits = Limits { resume_window: Duration::from_millis(100), ..Limits::default() };
    let mut nodes = Nodes::start(Arc::<MemoryVault>::default(), limits).await;
    let (mut before, mut agent) = (nodes.cluster.visitor(0, "C-1").await, nodes.cluster.agent(1).await);
    let request = agent.join("C-1").await;
    before.expect("offer").await;
    nodes.cut_off().await;
    nodes.cluster.kill(0);
    agent.expect_request("failed").await;
    let mut visitor = nodes.cluster.visitor(1, "C-1").await;
    let session = SessionId::parse(request["sessionId"].as_str().unwrap()).unwrap();
    let hub = Arc::clone(nodes.hub(1));
    within("the question to be found", async {
        while hub.sessions().routed(session).is_none() {
            hub.reap().await;
        }
    })
    .await;
    nodes.gone_from_the_vault(session).await;
    assert_eq!(visitor.settled("offer").await, Vec::<Value>::new());
}
