//! Going away: politely, in time, and at once when forced.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use porchlight::config::Secret;
use tokio::net::TcpStream;

use crate::common::raw::{RawClient, SUBPROTOCOL, handshake};
use crate::common::redis::Redis;
use crate::common::{Client, Site, Value, http, json, within};
use crate::everywhere::until;

#[tokio::test]
async fn a_drain_asks_everybody_to_come_back_elsewhere() {
    let mut site = Site::with(|config| config.limits.drain = Duration::from_secs(4)).await;
    let engagement = site.engage("C-1", json!({})).await;
    assert_eq!(http::get(site.running.ops, "/readyz").await.status, 200);
    site.running.drain();
    let ready = http::get(site.running.ops, "/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "draining"));
    assert_eq!(http::get(site.running.ops, "/livez").await.status, 200, "it lives to the end");
    // A session lives in this process alone: it is over, and nobody waits for it elsewhere.
    for mut client in [engagement.publisher.client, engagement.viewer.client] {
        assert_eq!(client.expect("ended").await["reason"], "drained");
        client.expect_close(4409).await;
    }
    for mut client in [engagement.visitor.client, engagement.agent.client] {
        assert_eq!(client.expect("sessionEnded").await["reason"], "drained");
        let reconnect = client.expect("reconnect").await;
        assert_eq!(reconnect["reason"], "drain");
        assert!(reconnect["afterMs"].is_u64());
        client.expect_close(4000).await;
    }
    within("the end", site.running.wait()).await.unwrap();
    for addr in [site.running.public, site.running.ops, site.running.admin] {
        assert!(TcpStream::connect(addr).await.is_err(), "{addr}");
    }
}

#[tokio::test]
async fn a_drain_ends_in_time_whoever_lingers() {
    let mut site = Site::with(|config| config.limits.drain = Duration::from_secs(4)).await;
    let mut lingering = RawClient::upgraded(site.running.public, "/v1/visitor").await;
    lingering.frame(0x81, br#"{"type":"connect","group":"demo","visitorId":"C-1"}"#).await;
    let _half = TcpStream::connect(site.running.public).await.unwrap();
    site.running.drain();
    within("the end", site.running.wait()).await.unwrap();
    lingering.dropped().await;
}

#[tokio::test]
async fn nobody_comes_in_while_a_node_drains() {
    let mut site = Site::with(|config| config.limits.drain = Duration::from_secs(4)).await;
    // A connection made before, whose request comes after: the doors are closed to new ones.
    let visitor = site.visitor("C-1").await;
    let mut early = TcpStream::connect(site.running.public).await.unwrap();
    http::get(site.running.public, "/livez").await;
    site.running.drain();
    let head = handshake("/v1/visitor", SUBPROTOCOL);
    let answer = within("an answer or the end", async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let _sent = early.write_all(head.as_bytes()).await;
        let mut answer = String::new();
        let _read = early.read_to_string(&mut answer).await;
        answer
    })
    .await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503"), "{answer}");
    let mut visitor = visitor;
    visitor.expect_close(4000).await;
    within("the end", site.running.wait()).await.unwrap();
}

#[tokio::test]
async fn force_ends_at_once() {
    let mut site = Site::start().await;
    let mut engagement = site.engage("C-1", json!({})).await;
    let begun = Instant::now();
    site.running.drain();
    site.running.force();
    within("the end", site.running.wait()).await.unwrap();
    assert!(begun.elapsed() < porchlight::limits::DRAIN / 2, "it did not wait for the drain");
    while !matches!(engagement.viewer.hear().await, crate::common::Heard::Closed(_)) {}
}

/// Connections that a drain lets go at once.
const STEP: usize = 20;

/// Two nodes of one Redis. A drain's next turn, and the grace of who has left, come later than any test waits, so that
/// whatever is heard is heard before.
async fn slow_to_drain(redis: &Redis) -> [Site; 2] {
    let start = async || {
        let url = redis.url();
        let site = Site::with(|config| {
            config.redis.url = Some(Secret::from(url));
            config.limits.drain = Duration::from_secs(7_200);
        });
        let site = site.await;
        site.settings(|settings| settings.grace_seconds = 60).await;
        site
    };
    [start().await, start().await]
}

/// Of one more than go at once, the one that is left.
async fn who_is_left(clients: impl Iterator<Item = &mut Client>) -> usize {
    let closed: FuturesUnordered<_> = clients
        .enumerate()
        .map(async |(n, client)| {
            client.expect_close(4000).await;
            n
        })
        .collect();
    let gone: BTreeSet<usize> = closed.take(STEP).collect().await;
    (0..=STEP).find(|n| !gone.contains(n)).unwrap()
}

fn told(n: u32) -> impl Fn(&Value) -> bool {
    move |push| push["visitor"]["data"] == json!({"n": n})
}

#[tokio::test]
async fn an_agent_that_waits_for_its_turn_hears_of_who_has_moved() {
    let redis = Redis::start().await;
    let [leaving, staying] = slow_to_drain(&redis).await;
    let mut agents = Vec::new();
    for _ in 0..=STEP {
        let mut agent = leaving.agent("alice").await;
        agent.watch("C-1").await;
        agents.push(agent);
    }
    // Between two pages.
    leaving.visitor("C-1").await.go().await;
    until("its socket is gone", async || leaving.running.hub.registry().len() == STEP + 1).await;
    leaving.running.drain();
    let left = who_is_left(agents.iter_mut().map(|agent| &mut agent.client)).await;
    let mut agent = agents.swap_remove(left);
    let before = agent.look("C-1").await;
    assert_eq!(before["state"], "present");

    let mut visitor = staying.visitor("C-1").await;
    visitor.ask(json!({"type": "presence", "data": {"n": 1}}), "ok").await;
    let heard = agent.expect_where("presence", told(1)).await;
    assert!(heard["visitor"]["version"].as_u64() > before["version"].as_u64());
    assert_eq!(agent.look("C-1").await, heard["visitor"], "lookup and push say the same");
    visitor.ask(json!({"type": "presence", "data": {"n": 2}, "visibility": "hidden"}), "ok").await;
    assert_eq!(agent.expect_where("presence", told(2)).await["visitor"]["state"], "hidden");
    assert_eq!(leaving.running.hub.visitors(), 0, "nothing waits there for its turn");

    // An agent that has moved finds it as it is, and hears how it goes on.
    let mut moved = staying.agent("alice").await;
    assert_eq!(moved.watch("C-1").await["data"], json!({"n": 2}));
    visitor.ask(json!({"type": "presence", "data": {"n": 3}, "visibility": "visible"}), "ok").await;
    for agent in [&mut agent, &mut moved] {
        assert_eq!(agent.expect_where("presence", told(3)).await["visitor"]["state"], "present");
        let rest = agent.settled("presence").await;
        assert!(rest.iter().all(|push| push["visitor"]["state"] != "absent"), "{rest:?}");
    }
}

#[tokio::test]
async fn agents_elsewhere_hear_of_who_waits_for_its_turn_and_of_who_has_moved() {
    let redis = Redis::start().await;
    let [leaving, staying] = slow_to_drain(&redis).await;
    let names: Vec<String> = (0..=STEP).map(|n| format!("C-{n}")).collect();
    let mut agent = staying.agent("alice").await;
    agent.ask(json!({"type": "watch", "visitorIds": names}), "watching").await;
    let mut visitors = Vec::new();
    for name in &names {
        visitors.push(leaving.visitor(name).await);
        agent.expect_state(name, "present").await;
    }
    leaving.running.drain();
    let left = who_is_left(visitors.iter_mut().map(|visitor| &mut visitor.client)).await;
    visitors[left].ask(json!({"type": "presence", "data": {"n": 1}}), "ok").await;
    assert_eq!(agent.expect_where("presence", told(1)).await["visitor"]["visitorId"], names[left]);
    let other = (left + 1) % names.len();
    let mut moved = staying.visitor(&names[other]).await;
    moved.ask(json!({"type": "presence", "data": {"n": 2}}), "ok").await;
    assert_eq!(agent.expect_where("presence", told(2)).await["visitor"]["visitorId"], names[other]);
    let rest = agent.settled("presence").await;
    assert!(rest.iter().all(|push| push["visitor"]["state"] == "present"), "{rest:?}");
}
