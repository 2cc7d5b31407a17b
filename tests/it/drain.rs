//! Going away: politely, in time, and at once when forced.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::common::raw::{RawClient, SUBPROTOCOL, handshake};
use crate::common::{Site, http, json, within};

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
