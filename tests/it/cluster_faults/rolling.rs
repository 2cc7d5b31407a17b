//! All nodes are replaced, one by one, while people use them: agents hear of no absence that was none, and sessions
//! go on.

use std::process::ExitStatus;

use porchlight::limits;
use porchlight::pb::v1;

use super::*;
use crate::common::frames::header;
use crate::common::{ParticipantClient, Picture};

/// Beyond the drain a process has this long to end.
const LAST_STEPS: Duration = Duration::from_secs(2);

/// How a node is told to go.
#[derive(Debug, Clone, Copy)]
enum Told {
    Signal,
    Call,
}

/// A session whose publisher and viewer come and go.
struct Shared {
    session: Value,
    agent: AgentClient,
    publisher: ParticipantClient,
    viewer: ParticipantClient,
    picture: Picture,
}

impl Cluster {
    /// Ends a node as its operator does. What is returned waits for its end, which must come in time.
    async fn end(&mut self, node: usize, told: Told) -> tokio::task::JoinHandle<ExitStatus> {
        match told {
            Told::Signal => self.signal(node, Signal::TERM),
            Told::Call => {
                let node = self.node(node);
                let drain = v1::DrainRequest { request_id: format!("drain {}", node.child.id()) };
                node.client.clone().drain(node.ask(drain)).await.unwrap();
            }
        }
        let mut going = self.nodes[node].take().expect("the node was not killed");
        let ended = tokio::task::spawn_blocking(move || (going.child.wait().unwrap(), going));
        tokio::spawn(async move {
            let ended = tokio::time::timeout(limits::DRAIN + LAST_STEPS, ended).await;
            ended.expect("it ends when the drain is over at the latest").unwrap().0
        })
    }

    async fn participant(&self, node: usize, name: &str, credential: Value) -> ParticipantClient {
        let name = format!("{name}@{node}");
        let client = Client::open(&self.transcript, &name, self.public(node), "/v1/session").await;
        ParticipantClient::attach(client, credential).await
    }

    /// An agent of a node is shown a visitor's screen, whose socket is where its tab is.
    async fn share(&self, at: usize, visitor: &mut VisitorClient, node: usize) -> Shared {
        let mut agent = self.witness(node, &[]).await.agent;
        let record = json!({"object": "Contact", "id": "1"});
        let fields = json!({"visitorId": visitor.id()});
        agent.ask(json!({"type": "openRecord", "record": record, "fields": fields}), "record").await;
        agent.ask(json!({"type": "join", "record": record, "kind": "screen"}), "request").await;
        let offer = visitor.expect("offer").await;
        visitor.accept(&offer).await;
        let (ready, ticket) = (visitor.expect("ready").await, agent.expect("ready").await);
        let publisher = self.participant(at, "publisher", json!({"ticket": ready["ticket"]})).await;
        let viewer = self.participant(node, "viewer", json!({"ticket": ticket["ticket"]})).await;
        agent.expect_request("active").await;
        let mut shared =
            Shared { session: ready["sessionId"].clone(), agent, publisher, viewer, picture: Picture::new() };
        shared.shows().await;
        shared
    }

    /// Everybody who was sent away comes to another node, as pages do.
    async fn come(&self, tabs: Vec<VisitorClient>, node: usize) -> Vec<VisitorClient> {
        let mut come = Vec::new();
        for mut tab in tabs {
            assert_eq!(tab.expect("reconnect").await["reason"], "drain");
            tab.expect_close(4000).await;
            come.push(self.visitor(node, tab.id()).await);
        }
        come
    }

    /// What is written down of a session: the names of its events.
    async fn written(&self, node: usize, session: &Value) -> Vec<String> {
        let node = self.node(node);
        let message = v1::ListSessionEventsRequest {
            group: "demo".to_owned(),
            session_id: session.as_str().unwrap().to_owned(),
            ..Default::default()
        };
        let told = node.client.clone().list_session_events(node.ask(message)).await.unwrap().into_inner();
        told.events.iter().map(|event| event.kind().as_str_name().to_owned()).collect()
    }
}

impl Shared {
    /// The publisher shows a key frame, and another when it is asked. What the viewer sees begins with one, goes on
    /// with what follows, and then nobody asks for more.
    async fn shows(&mut self) {
        let key = self.picture.key(400);
        self.publisher.send_frame(key).await;
        let first = loop {
            tokio::select! {
                heard = self.publisher.hear() => match heard {
                    Heard::Text(text) if text["type"] == "keyFrameRequest" => {
                        let key = self.picture.key(400);
                        self.publisher.send_frame(key).await;
                    }
                    Heard::Text(_) | Heard::Frame(_) => {}
                    Heard::Closed(code) => panic!("the publisher was sent away: {code:?}"),
                },
                frame = self.viewer.hear() => match frame {
                    Heard::Frame(frame) => break frame,
                    Heard::Text(_) => {}
                    Heard::Closed(code) => panic!("the viewer was sent away: {code:?}"),
                },
            }
        };
        assert!(header(&first).is_key(), "the first picture needs no other");
        let last = self.picture.delta(50);
        self.publisher.send_frame(last.clone()).await;
        loop {
            let frame = self.viewer.expect_frame().await;
            if frame == last {
                break;
            }
            assert!(header(&frame).is_key(), "nothing but what was asked for comes between");
        }
        let more = self.publisher.settled("keyFrameRequest").await;
        assert!(more.is_empty(), "one key frame was not enough: {more:?}");
    }

    /// Both sockets are sent away and come back, and one key frame is all that it takes.
    async fn comes(&mut self, cluster: &Cluster, (publisher, viewer): (usize, usize)) {
        for client in [&mut self.publisher.client, &mut self.viewer.client] {
            client.expect_close(4000).await;
        }
        let resume = |client: &ParticipantClient| json!({"resumeToken": client.token()});
        let before = (self.publisher.id(), self.viewer.id());
        self.publisher = cluster.participant(publisher, "publisher", resume(&self.publisher)).await;
        self.viewer = cluster.participant(viewer, "viewer", resume(&self.viewer)).await;
        assert_eq!((self.publisher.id(), self.viewer.id()), before);
        assert_eq!(self.publisher.hello["sessionId"], self.session);
        self.publisher.expect("keyFrameRequest").await;
        self.shows().await;
    }
}

/// Nobody who stayed was told to be anything but here.
fn assert_here(witness: &Witness, ids: &[String]) {
    for id in ids {
        let states = witness.states(id);
        assert!(states.iter().all(|state| *state == "present"), "{id}: {states:?}");
    }
}

async fn replaces(told: Told) {
    let mut cluster = Cluster::start(2).await;
    let (idle, near) = (ids("idle", 20), ids("near", 10));
    let mut tabs = cluster.visitors(0, &idle).await;
    let mut others = cluster.visitors(1, &near).await;
    let mut sharing = cluster.visitor(0, "sharing").await;
    let mut shared = cluster.share(0, &mut sharing, 1).await;
    let all = [idle.clone(), near.clone(), vec!["sharing".to_owned()]].concat();
    let mut witness = cluster.witness(1, &all).await;
    witness.sees(&all, "present").await;

    // The home of the session goes; the agent's node stays.
    let fresh = cluster.join().await;
    let ended = cluster.end(0, told).await;
    shared.comes(&cluster, (fresh, 1)).await;
    sharing = cluster.come(vec![sharing], fresh).await.remove(0);
    tabs = cluster.come(tabs, fresh).await;
    assert_eq!(shared.agent.expect_request("active").await["sessionId"], shared.session);
    assert!(ended.await.unwrap().success());
    // A word that came after the node had gone would be heard by now.
    witness.asks(&all, "present").await;
    witness.agent.skip().await;
    assert_here(&witness, &all);

    // The agent's node goes, with its tabs; the home stays.
    let last = cluster.join().await;
    let mut witness = cluster.witness(fresh, &all).await;
    witness.sees(&all, "present").await;
    let ended = cluster.end(1, told).await;
    others = cluster.come(others, last).await;
    shared.agent.expect_close(4000).await;
    shared.viewer.expect_close(4000).await;
    let back = json!({"resumeToken": shared.viewer.token()});
    shared.viewer = cluster.participant(last, "viewer", back).await;
    assert!(ended.await.unwrap().success());
    shared.shows().await;
    witness.asks(&all, "present").await;
    witness.agent.skip().await;
    assert_here(&witness, &all);

    // And the home once more, to a node that was there.
    let mut witness = cluster.witness(last, &all).await;
    witness.sees(&all, "present").await;
    let ended = cluster.end(fresh, told).await;
    shared.comes(&cluster, (last, last)).await;
    sharing = cluster.come(vec![sharing], last).await.remove(0);
    tabs = cluster.come(tabs, last).await;
    assert!(ended.await.unwrap().success());
    witness.asks(&all, "present").await;
    witness.agent.skip().await;
    assert_here(&witness, &all);

    let written = cluster.written(last, &shared.session).await;
    assert!(written.iter().any(|name| name.ends_with("STARTED")), "{written:?}");
    assert!(!written.iter().any(|name| name.ends_with("ENDED")), "{written:?}");
    shared.publisher.send(json!({"type": "end"})).await;
    assert_eq!(shared.viewer.expect("ended").await["reason"], "guest_ended");
    assert_eq!(sharing.expect("sessionEnded").await["sessionId"], shared.session);
    drop((tabs, others));
}

#[tokio::test]
async fn nodes_are_replaced_by_signal_and_nobody_is_told_an_absence() {
    replaces(Told::Signal).await;
}

#[tokio::test]
async fn nodes_are_replaced_by_a_call_and_nobody_is_told_an_absence() {
    replaces(Told::Call).await;
}
