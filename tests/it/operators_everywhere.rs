//! Operators ask any node, and see the sessions of all; agents hear visitors of all nodes.

use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::admin::{channel, operator, with_key};
use crate::common::redis::Redis;
use crate::common::site::DEMO;
use crate::common::{Site, json, within};
use crate::everywhere::{sites, until};

struct Operator {
    client: AdminClient<Channel>,
    key: String,
}

impl Operator {
    async fn at(site: &Site) -> Self {
        Self { client: AdminClient::new(channel(site).await), key: operator(site) }
    }

    async fn list(&mut self, visitor: &str) -> Vec<v1::Session> {
        let message = v1::ListSessionsRequest { group: DEMO.into(), visitor_id: visitor.into() };
        self.client.list_sessions(with_key(&self.key, message)).await.unwrap().into_inner().sessions
    }

    async fn get(&mut self, group: &str, id: &str) -> Result<v1::Session, Code> {
        let message = v1::GetSessionRequest { group: group.into(), session_id: id.into() };
        let answer = self.client.get_session(with_key(&self.key, message)).await;
        answer.map(|answer| answer.into_inner().session.unwrap()).map_err(|status| status.code())
    }

    async fn watch(&mut self, visitor: &str) -> Watch {
        let message = v1::WatchSessionsRequest { group: DEMO.into(), visitor_id: visitor.into() };
        Watch(self.client.watch_sessions(with_key(&self.key, message)).await.unwrap().into_inner())
    }
}

struct Watch(Streaming<v1::WatchSessionsResponse>);

impl Watch {
    async fn next(&mut self) -> v1::Session {
        let message = within("a session", self.0.message()).await;
        message.expect("it goes on").expect("it goes on").session.unwrap()
    }

    /// The first word that fits.
    async fn until(&mut self, fits: impl Fn(&v1::Session) -> bool) -> v1::Session {
        loop {
            let session = self.next().await;
            if fits(&session) {
                return session;
            }
        }
    }
}

fn connected(session: &v1::Session) -> usize {
    session.participants.iter().filter(|participant| participant.connected).count()
}

#[tokio::test]
async fn the_sessions_of_all_nodes_are_seen_on_each() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let (mut here, mut there) = (Operator::at(&one).await, Operator::at(&other).await);
    let (mut all, mut others) = (there.watch("").await, there.watch("C-2").await);
    let engagement = one.engage("C-1", json!({})).await;
    let id = engagement.session.as_str().unwrap().to_owned();
    let session = all.until(|session| connected(session) == 2).await;
    assert_eq!((session.session_id.as_str(), session.state()), (id.as_str(), v1::SessionState::Active));
    assert_eq!(there.get(DEMO, &id).await.unwrap(), session);
    assert_eq!(here.get(DEMO, &id).await.unwrap(), session);
    assert_eq!(there.list("").await, std::slice::from_ref(&session));
    assert_eq!(there.list("C-1").await, here.list("C-1").await);
    assert_eq!(there.list("C-2").await, []);
    // Who opens a watch later is told how it is.
    let mut late = there.watch("C-1").await;
    assert_eq!(late.next().await, session);
    engagement.viewer.vanish();
    for watch in [&mut all, &mut late] {
        watch.until(|session| connected(session) == 1).await;
    }
    // A session of each node.
    let _second = other.engage("C-2", json!({})).await;
    assert_eq!(others.next().await.visitor_id, "C-2");
    for operator in [&mut here, &mut there] {
        until("both are listed", async || operator.list("").await.len() == 2).await;
    }
    one.add_group("second").await;
    until("the group is known", async || there.get("second", &id).await == Err(Code::NotFound)).await;
    let unknown = "00000000-0000-0000-0000-000000000000";
    assert_eq!(there.get(DEMO, unknown).await.unwrap_err(), Code::NotFound);
    // Ended from where it is not.
    let end = v1::EndSessionRequest { group: DEMO.into(), session_id: id.clone(), ..Default::default() };
    let ended = there.client.end_session(with_key(&there.key, end)).await.unwrap();
    assert!(ended.into_inner().ended_now);
    for watch in [&mut all, &mut late] {
        watch.until(|session| session.session_id == id && session.state() == v1::SessionState::Ended).await;
    }
    assert_eq!(there.get(DEMO, &id).await.unwrap().state(), v1::SessionState::Ended);
    for operator in [&mut here, &mut there] {
        until("one is listed", async || operator.list("").await.len() == 1).await;
    }
}

#[tokio::test]
async fn what_became_of_sessions_while_redis_was_away_is_told_when_it_is_back() {
    let mut redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let mut there = Operator::at(&other).await;
    let mut all = there.watch("").await;
    let (first, second) = (one.engage("C-1", json!({})).await, one.engage("C-2", json!({})).await);
    for engagement in [&first, &second] {
        let id = engagement.session.as_str().unwrap();
        all.until(|session| session.session_id == id && connected(session) == 2).await;
    }
    redis.kill();
    first.viewer.vanish();
    let mut publisher = second.publisher;
    publisher.send(json!({"type": "end"})).await;
    publisher.expect("ended").await;
    redis.revive().await;
    let (mut lost, mut ended) = (false, false);
    while !(lost && ended) {
        let session = all.next().await;
        lost |= session.session_id == first.session && connected(&session) == 1;
        ended |= session.session_id == second.session && session.state() == v1::SessionState::Ended;
    }
}

#[tokio::test]
async fn agents_of_all_nodes_hear_what_a_visitor_says() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let mut visitor = one.visitor("C-1").await;
    let (mut alice, mut bob) = (one.agent("alice").await, other.agent("bob").await);
    for agent in [&mut alice, &mut bob] {
        until("it is here", async || agent.watch("C-1").await["state"] == "present").await;
    }
    // A page on another node than the visitor's home says it through that.
    let mut second = other.visitor("C-1").await;
    for number in 0..4 {
        let page = if number % 2 == 0 { &mut visitor } else { &mut second };
        page.ask(json!({"type": "message", "name": "step", "data": {"number": number}}), "ok").await;
        for agent in [&mut alice, &mut bob] {
            let heard = agent.expect("message").await;
            assert_eq!((&heard["visitorId"], &heard["name"]), (&json!("C-1"), &json!("step")));
            assert_eq!(heard["data"], json!({"number": number}));
        }
    }
    bob.ask(json!({"type": "unwatch", "visitorIds": ["C-1"]}), "ok").await;
    visitor.ask(json!({"type": "message", "name": "last"}), "ok").await;
    assert_eq!(alice.expect("message").await["name"], "last");
    assert!(bob.settled("message").await.is_empty(), "and each was told once");
    assert!(alice.settled("message").await.is_empty());
}
