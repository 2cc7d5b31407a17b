//! What ends by itself: places, sessions, codes, connections without a sign of life, and room.

use std::time::Duration;

use crate::common::raw::RawClient;
use crate::common::site::Engagement;
use crate::common::{Site, http, json, within};

const SOON: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_place_is_kept_for_a_while_and_then_given_up() {
    let site = Site::with(|config| config.limits.resume_window = SOON).await;
    let Engagement { mut publisher, viewer, visitor: mut page, agent: _agent, .. } =
        site.engage("C-1", json!({})).await;
    let (id, token) = (viewer.id(), viewer.token());
    viewer.vanish();
    publisher.expect_change("reconnecting", &id).await;
    publisher.expect_change("left", &id).await;
    site.attach_refused("late", json!({"resumeToken": token}), 4401).await;
    // Without its publisher a session is over.
    publisher.vanish();
    assert_eq!(page.expect("sessionEnded").await["reason"], "guest_left");
}

#[tokio::test]
async fn a_session_whose_other_side_never_comes_expires() {
    let site = Site::with(|config| config.limits.waiting = SOON).await;
    let (mut visitor, mut agent) = (site.visitor("C-1").await, site.agent("alice").await);
    agent.join("C-1").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    let ready = agent.expect("ready").await;
    let mut viewer = site.attach("viewer", &ready).await;
    assert_eq!(viewer.expect("ended").await["reason"], "expired");
    viewer.expect_close(4409).await;
    assert_eq!(agent.expect("sessionEnded").await["reason"], "expired");
    assert_eq!(visitor.expect("sessionEnded").await["reason"], "expired");
}

#[tokio::test]
async fn a_session_has_its_longest_length() {
    let site = Site::with(|config| config.limits.session_length = Duration::from_secs(3)).await;
    let mut engagement = site.engage("C-1", json!({})).await;
    assert_eq!(engagement.viewer.expect("ended").await["reason"], "time_limit");
    engagement.viewer.expect_close(4409).await;
}

#[tokio::test]
async fn a_code_ends_and_another_may_be_had() {
    let site = Site::with(|config| config.limits.code_life = SOON).await;
    let mut agent = site.agent("alice").await;
    let mut visitor = site.visitor_as("unique", json!({})).await;
    let id = visitor.id().to_owned();
    if agent.watch(&id).await.get("code").is_some() {
        agent.expect_where("presence", |push| push["visitor"].get("code").is_none()).await;
    }
    let code = visitor.ask(json!({"type": "extendCode"}), "code").await["code"].clone();
    agent.expect_where("presence", |push| push["visitor"]["code"] == code).await;
}

#[tokio::test]
async fn a_connection_without_a_sign_of_life_is_closed_and_its_visitor_is_gone() {
    let site = Site::with(|config| {
        config.limits.heartbeat = Duration::from_millis(500);
        config.limits.dead_after = Duration::from_secs(2);
    })
    .await;
    site.settings(|settings| settings.grace_seconds = 0).await;
    let mut agent = site.agent("alice").await;
    agent.watch("C-1").await;
    let mut silent = RawClient::upgraded(site.running.public, "/v1/visitor").await;
    silent.frame(0x81, br#"{"type":"connect","group":"demo","visitorId":"C-1"}"#).await;
    agent.expect_state("C-1", "present").await;
    agent.expect_state("C-1", "absent").await;
    assert_eq!(silent.close_code().await, Some(4002));
    // The agent's client answers pings, as every WebSocket does, and stays.
    agent.look("C-1").await;
}

#[tokio::test]
async fn a_session_has_room_for_so_many_viewers() {
    let site = Site::with(|config| config.limits.viewers = 2).await;
    let Engagement { visitor: _visitor, mut agent, publisher: _publisher, viewer: _viewer, .. } =
        site.engage("C-1", json!({})).await;
    let mut bob = site.agent("bob").await;
    let second = site.another_viewer("bob", &mut bob, "C-1").await;
    assert_eq!(agent.refused(json!({"type": "join", "visitorId": "C-1"})).await, "too_many");
    let mut second = second;
    second.ask(json!({"type": "leave"}), "ok").await;
    second.expect_close(4409).await;
    site.another_viewer("alice", &mut agent, "C-1").await;
}

#[tokio::test]
async fn a_node_without_room_says_so_over_http() {
    let site = Site::with(|config| config.limits.connections = Some(2)).await;
    let _full = [site.visitor("C-1").await, site.visitor("C-2").await];
    // It is told before it has asked.
    assert_eq!(http::exchange(site.running.public, "").await.status, 503);
    // Short of that, sockets are told by a code that scripts can read, and requests are answered.
    let site = Site::with(|config| config.limits.connections = Some(20)).await;
    let mut full = Vec::new();
    for n in 0..19 {
        full.push(site.visitor(&format!("C-{n}")).await);
    }
    let mut late = site.open("late", "/v1/visitor").await;
    late.expect_close(4003).await;
    late.go().await;
    assert_eq!(http::get(site.running.public, "/livez").await.status, 200);
    let site = Site::with(|config| config.limits.connections_per_ip = 2).await;
    let full = [site.visitor("C-1").await, site.visitor("C-2").await];
    assert_eq!(http::exchange(site.running.public, "").await.status, 429);
    assert_eq!(http::get(site.running.ops, "/livez").await.status, 200);
    for visitor in full {
        visitor.go().await;
    }
    site.visitor("C-3").await;
}

#[tokio::test]
async fn wrong_tries_lock_as_the_operator_says() {
    let site = Site::with(|config| {
        config.limits.wrong_tries = 2;
        config.limits.lock_time = SOON;
    })
    .await;
    let sign_in = |password: &'static str| {
        let body = json!({"group": "demo", "address": "alice", "password": password});
        let public = site.running.public;
        async move { http::post(public, "/v1/auth/agent", &body).await.status }
    };
    assert_eq!((sign_in("wrong-1").await, sign_in("wrong-2").await), (401, 401));
    assert_eq!(sign_in("wrong-3").await, 429);
    // A try that is turned away does not prolong it.
    within("the end of the lock", async { while sign_in("wrong-4").await == 429 {} }).await;
}
