//! What operators see as it happens, and what they do to visitors, sessions and the node.

use std::collections::HashMap;
use std::time::Duration;

use porchlight::admin::reason_of;
use porchlight::ids::AgentId;
use porchlight::limits::Rate;
use porchlight::pb::v1;
use porchlight::pb::v1::PresenceState::{Absent, Hidden, Present};
use porchlight::pb::v1::admin_client::AdminClient;
use prost_types::value::Kind;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::admin::{channel, group_key, operator, with_key};
use crate::common::site::{DEMO, group_id};
use crate::common::{Site, json, within};

async fn client(site: &Site) -> AdminClient<Channel> {
    AdminClient::new(channel(site).await)
}

fn visitors(ids: &[&str]) -> v1::WatchPresenceRequest {
    v1::WatchPresenceRequest {
        group: DEMO.into(),
        visitor_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    }
}

/// A stream's next message.
async fn next<T>(stream: &mut Streaming<T>) -> T {
    within("a message", stream.message()).await.expect("it goes on").expect("it goes on")
}

/// How a stream ends; what was still on its way comes first.
async fn end<T>(stream: &mut Streaming<T>) -> Status {
    loop {
        match within("the end", stream.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a word"),
            Err(status) => return status,
        }
    }
}

/// A stream's messages until one of this visitor in this state, with versions that never go back.
struct Presence {
    stream: Streaming<v1::WatchPresenceResponse>,
    seen: HashMap<String, u64>,
}

impl Presence {
    async fn of(site: &Site, key: &str, ids: &[&str]) -> Self {
        let stream = client(site).await.watch_presence(with_key(key, visitors(ids))).await.unwrap();
        Self { stream: stream.into_inner(), seen: HashMap::new() }
    }

    async fn next(&mut self) -> v1::Visitor {
        let visitor = next(&mut self.stream).await.visitor.unwrap();
        let before = self.seen.insert(visitor.visitor_id.clone(), visitor.version);
        assert!(before.is_none_or(|before| before < visitor.version), "{visitor:?} after {before:?}");
        visitor
    }

    async fn until(&mut self, id: &str, state: v1::PresenceState) -> v1::Visitor {
        loop {
            let visitor = self.next().await;
            if visitor.visitor_id == id && visitor.state() == state {
                return visitor;
            }
        }
    }
}

#[tokio::test]
async fn visitors_named_are_told_as_they_are_and_as_they_change() {
    let site = Site::start().await;
    site.settings(|settings| settings.grace_seconds = 0).await;
    let mut page = site.visitor("C-1").await;
    let mut watch = Presence::of(&site, &group_key(&site), &["C-1", "C-2"]).await;
    let first = [watch.next().await, watch.next().await];
    assert_eq!(
        first.each_ref().map(|v| (v.visitor_id.as_str(), v.state())),
        [("C-1", Present), ("C-2", Absent)]
    );
    let _other = site.visitor("C-3").await;
    page.send(json!({"type": "presence", "visibility": "hidden"})).await;
    assert_eq!(watch.next().await.state(), Hidden, "nobody else was named");
    page.go().await;
    let gone = watch.next().await;
    assert_eq!((gone.visitor_id.as_str(), gone.state(), gone.connections), ("C-1", Absent, 0));
    let _back = site.visitor("C-1").await;
    watch.until("C-1", Present).await;
}

#[tokio::test]
async fn a_whole_group_is_told_and_those_who_leave_once() {
    let site = Site::start().await;
    site.settings(|settings| settings.grace_seconds = 0).await;
    site.add_group("other").await;
    let first = site.visitor("C-1").await;
    let mut watch = Presence::of(&site, &operator(&site), &[]).await;
    assert_eq!(watch.next().await.visitor_id, "C-1");
    let _foreign = site.visitor_as("foreign", json!({"group": "other", "visitorId": "C-9"})).await;
    let _second = site.visitor("C-2").await;
    assert_eq!(watch.next().await.visitor_id, "C-2");
    first.go().await;
    watch.until("C-1", Absent).await;
    // Of the one that left nothing more comes, and all that comes is of this group.
    let _third = site.visitor("C-3").await;
    let third = watch.next().await;
    assert_eq!((third.visitor_id.as_str(), third.state()), ("C-3", Present));
}

#[tokio::test]
async fn a_slow_reader_is_told_how_things_are_not_how_they_were() {
    let fast = Rate { per_second: 100_000, burst: 100_000 };
    let site = Site::with(|config| config.limits.visitor_rate = fast).await;
    let mut page = site.visitor("C-1").await;
    // A reader with little room, so that what it does not take piles up at the server.
    let endpoint = Channel::from_shared(format!("http://{}", site.running.admin)).unwrap();
    let endpoint = endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let mut client = AdminClient::new(within("a connection", endpoint.connect()).await.unwrap());
    let stream = client.watch_presence(with_key(&group_key(&site), visitors(&["C-1"]))).await.unwrap();
    let mut watch = Presence { stream: stream.into_inner(), seen: HashMap::new() };
    let changes = 2_000;
    let long = "x".repeat(1_900);
    for n in 0..changes {
        page.send(json!({"type": "presence", "page": {"url": format!("https://shop.test/{n}/{long}")}}))
            .await;
    }
    page.ask(json!({"type": "presence", "page": {"url": "https://shop.test/last"}}), "ok").await;
    let mut told = 0;
    while watch.next().await.page.unwrap().url != "https://shop.test/last" {
        told += 1;
    }
    assert!(told < changes / 2, "{told} of {changes} were told");
}

#[tokio::test]
async fn a_signal_reaches_the_page_or_is_held_or_refused() {
    let site = Site::start().await;
    let mut page = site.visitor("C-1").await;
    let mut client = client(&site).await;
    let mut signal = async |key: &str, visitor: &str, data: Option<prost_types::Struct>| {
        let message = v1::SignalVisitorRequest {
            group: DEMO.into(),
            visitor_id: visitor.into(),
            name: "offer".into(),
            data,
            request_id: String::new(),
        };
        let answer = client.signal_visitor(with_key(key, message)).await;
        answer
            .map(|answer| answer.into_inner().delivery())
            .map_err(|status| (status.code(), reason_of(&status).unwrap_or_default()))
    };
    let refused = |code, reason: &str| Err((code, reason.to_owned()));
    let value = |text: &str| prost_types::Value { kind: Some(Kind::StringValue(text.into())) };
    let data = |text: &str| Some(prost_types::Struct { fields: [("sku".to_owned(), value(text))].into() });
    let key = group_key(&site);
    assert_eq!(signal(&key, "C-1", data("4711")).await, Ok(v1::SignalDelivery::Delivered));
    let told = page.expect("signal").await;
    assert_eq!(
        (&told["name"], &told["data"], &told["agent"]["name"]),
        (&json!("offer"), &json!({"sku": "4711"}), &json!(DEMO))
    );
    site.settings(|settings| {
        settings.permission_set.admin.insert(AgentId::new("alice").unwrap());
    })
    .await;
    let alice = site.token(DEMO, "alice").await;
    assert_eq!(signal(&alice, "C-1", None).await, Ok(v1::SignalDelivery::Delivered));
    let told = page.expect("signal").await;
    assert_eq!((&told["data"], &told["agent"]["name"]), (&json!(null), &json!("Alice")));
    assert_eq!(
        signal(&key, "C-1", data(&"x".repeat(5_000))).await,
        refused(Code::InvalidArgument, "BAD_FIELD")
    );
    let not_here = refused(Code::FailedPrecondition, "VISITOR_NOT_PRESENT");
    assert_eq!(signal(&key, "C-2", None).await, not_here);
    page.go().await;
    assert_eq!(signal(&key, "C-1", data("held")).await, Ok(v1::SignalDelivery::Held));
    let mut back = site.visitor("C-1").await;
    assert_eq!(back.expect("signal").await["data"], json!({"sku": "held"}));
    site.settings(|settings| settings.presence_enabled = false).await;
    assert_eq!(signal(&key, "C-1", None).await, refused(Code::FailedPrecondition, "PRESENCE_DISABLED"));
}

#[tokio::test]
async fn a_disconnected_visitor_is_gone_at_once() {
    let site = Site::start().await;
    let mut pages = [site.visitor("C-1").await, site.visitor("C-1").await];
    let mut bystander = site.visitor("C-2").await;
    let mut agent = site.agent("alice").await;
    agent.watch("C-1").await;
    let mut client = client(&site).await;
    let mut disconnect = async || {
        let message = v1::DisconnectVisitorRequest { visitor_id: "C-1".into(), ..Default::default() };
        let answer = client.disconnect_visitor(with_key(&group_key(&site), message)).await.unwrap();
        answer.into_inner().connections
    };
    assert_eq!(disconnect().await, 2);
    agent.expect_state("C-1", "absent").await;
    for page in &mut pages {
        page.expect_close(4409).await;
    }
    assert_eq!(disconnect().await, 0);
    bystander.settle().await;
}

#[tokio::test]
async fn operators_see_what_a_visitor_shows_instead_of_its_page() {
    let site = Site::with_cobrowse().await;
    let (mut client, key) = (client(&site).await, group_key(&site));
    let engagement = site.engage("C-1", json!({})).await;
    let watch = v1::WatchSessionsRequest { group: DEMO.into(), visitor_id: "C-1".into() };
    let mut told = client.watch_sessions(with_key(&key, watch)).await.unwrap().into_inner();
    let before = next(&mut told).await.session.unwrap();
    assert_eq!((before.kind(), before.shows()), (v1::SessionKind::Cobrowse, v1::SessionKind::Unspecified));
    let mut publisher = engagement.publisher;
    for (kind, shows) in [("screen", v1::SessionKind::Screen), ("cobrowse", v1::SessionKind::Unspecified)] {
        publisher.ask(json!({"type": "shows", "kind": kind}), "ok").await;
        let mut session = next(&mut told).await.session.unwrap();
        while session.shows() != shows {
            session = next(&mut told).await.session.unwrap();
        }
        assert_eq!(session.kind(), v1::SessionKind::Cobrowse);
    }
}

#[tokio::test]
async fn sessions_are_told_from_the_question_to_the_end() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    let key = group_key(&site);
    let watch = |visitor: &str| v1::WatchSessionsRequest { group: DEMO.into(), visitor_id: visitor.into() };
    let mut all = client.watch_sessions(with_key(&key, watch(""))).await.unwrap().into_inner();
    let mut others = client.watch_sessions(with_key(&key, watch("C-2"))).await.unwrap().into_inner();
    let engagement = site.engage("C-1", json!({})).await;
    let id = engagement.session.as_str().unwrap().to_owned();
    let mut session = next(&mut all).await.session.unwrap();
    assert_eq!((session.session_id.as_str(), session.visitor_id.as_str()), (id.as_str(), "C-1"));
    while session.state() != v1::SessionState::Active || session.participants.len() < 2 {
        session = next(&mut all).await.session.unwrap();
    }
    let get = |id: &str| v1::GetSessionRequest { group: DEMO.into(), session_id: id.into() };
    let got = client.get_session(with_key(&key, get(&id))).await.unwrap().into_inner().session.unwrap();
    assert_eq!(got, session);
    // Who opens a watch later is told how it is, and of each loss.
    let mut late = client.watch_sessions(with_key(&key, watch("C-1"))).await.unwrap().into_inner();
    assert_eq!(next(&mut late).await.session.unwrap(), session);
    engagement.viewer.vanish();
    let lost = next(&mut late).await.session.unwrap();
    assert_eq!(lost.participants.iter().filter(|participant| participant.connected).count(), 1);
    let end = v1::EndSessionRequest { session_id: id.clone(), ..Default::default() };
    client.end_session(with_key(&key, end)).await.unwrap();
    while next(&mut late).await.session.unwrap().state() != v1::SessionState::Ended {}
    let got = client.get_session(with_key(&key, get(&id))).await.unwrap().into_inner().session.unwrap();
    assert_eq!(got.state(), v1::SessionState::Ended);
    // Nothing follows the end, and the other watch heard of its own visitor only.
    let _second = site.engage("C-2", json!({})).await;
    assert_eq!(next(&mut others).await.session.unwrap().visitor_id, "C-2");
    let unknown = get("00000000-0000-0000-0000-000000000000");
    assert_eq!(client.get_session(with_key(&key, unknown)).await.unwrap_err().code(), Code::NotFound);
    site.add_group("other").await;
    let foreign = v1::GetSessionRequest { group: "other".into(), session_id: id };
    let foreign = client.get_session(with_key(&operator(&site), foreign)).await.unwrap_err();
    assert_eq!(foreign.code(), Code::NotFound);
}

#[tokio::test]
async fn a_watch_ends_with_its_credential() {
    let site = Site::start().await;
    let accounts = &site.running.accounts;
    let demo = group_id(DEMO);
    site.settings(|settings| {
        settings.permission_set.admin.extend(["alice", "bob"].map(|id| AgentId::new(id).unwrap()));
    })
    .await;
    let doomed = accounts.create_api_key(&demo, "it").await.unwrap();
    let key = format!("{}.{}", doomed.row.id, doomed.secret.expose());
    let (alice, bob) = (site.token(DEMO, "alice").await, site.token(DEMO, "bob").await);
    let mut by_key = Presence::of(&site, &key, &["C-1"]).await;
    let mut by_alice = Presence::of(&site, &alice, &["C-1"]).await;
    let mut by_bob = Presence::of(&site, &bob, &["C-1"]).await;
    let mut stays = Presence::of(&site, &operator(&site), &["C-1"]).await;
    for watch in [&mut by_key, &mut by_alice, &mut by_bob, &mut stays] {
        watch.until("C-1", Absent).await;
    }
    accounts.revoke_api_key(&demo, &doomed.row.id).await.unwrap();
    assert_eq!(end(&mut by_key.stream).await.code(), Code::Unauthenticated);
    accounts.revoke_tokens(&demo, Some(&AgentId::new("alice").unwrap())).await.unwrap();
    assert_eq!(end(&mut by_alice.stream).await.code(), Code::Unauthenticated);
    site.settings(|settings| {
        settings.permission_set.admin.remove(&AgentId::new("bob").unwrap());
    })
    .await;
    assert_eq!(end(&mut by_bob.stream).await.code(), Code::PermissionDenied);
    let _visitor = site.visitor("C-1").await;
    stays.until("C-1", Present).await;
}

#[tokio::test]
async fn a_node_has_room_for_so_many_watches() {
    let site = Site::start().await;
    let key = group_key(&site);
    let mut open = Vec::new();
    for _ in 0..porchlight::limits::ADMIN_WATCHES {
        open.push(Presence::of(&site, &key, &["C-1"]).await);
    }
    let full = client(&site).await.watch_presence(with_key(&key, visitors(&[]))).await.unwrap_err();
    assert_eq!((full.code(), reason_of(&full).as_deref()), (Code::Unavailable, Some("OVERLOAD")));
    assert_eq!(site.metric("porchlight_admin_watches").await, open.len() as f64);
    drop(open);
    // The server learns of the end with the next poll of the stream it serves.
    within("room again", async {
        while client(&site).await.watch_presence(with_key(&key, visitors(&[]))).await.is_err() {}
    })
    .await;
}

#[tokio::test]
async fn nodes_are_listed_and_a_drain_is_one_of_the_process() {
    let mut site = Site::with(|config| config.limits.drain = Duration::from_secs(4)).await;
    let mut page = site.visitor("C-1").await;
    let mut client = client(&site).await;
    let key = operator(&site);
    let nodes = client.list_nodes(with_key(&key, v1::ListNodesRequest {})).await.unwrap().into_inner().nodes;
    let [only] = &nodes[..] else { panic!("{nodes:?}") };
    assert_eq!((only.visitors_present, only.draining), (1, false));
    let mut presence = Presence::of(&site, &group_key(&site), &[]).await;
    presence.until("C-1", Present).await;
    let drain = v1::DrainRequest { request_id: "d1".into() };
    let denied = client.drain(with_key(&group_key(&site), drain.clone())).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let answered = client.drain(with_key(&key, drain)).await.unwrap().into_inner().node.unwrap();
    assert_eq!((answered.node_id.as_str(), answered.draining), (only.node_id.as_str(), true));
    assert_eq!(end(&mut presence.stream).await.code(), Code::Unavailable);
    page.expect_close(4000).await;
    within("the end", site.running.wait()).await.unwrap();
}
