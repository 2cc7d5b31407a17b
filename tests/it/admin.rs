//! The operators' service over a real gRPC client.

use futures_util::StreamExt as _;
use porchlight::admin::reason_of;
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use prost::Message as _;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::common::site::group_id;
use crate::common::{Site, json, within};

pub async fn channel(site: &Site) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", site.running.admin)).unwrap();
    within("a gRPC connection", endpoint.connect()).await.unwrap()
}

pub fn with_key<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !key.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    request
}

pub fn operator(site: &Site) -> String {
    site.running.demo.as_ref().unwrap().admin_key.clone()
}

pub fn group_key(site: &Site) -> String {
    let (id, secret) = &site.running.demo.as_ref().unwrap().api_key;
    format!("{id}.{secret}")
}

fn lookup(group: &str) -> v1::LookupVisitorsRequest {
    v1::LookupVisitorsRequest {
        group: group.to_owned(),
        visitor_ids: vec!["C-1".to_owned(), "C-2".to_owned()],
    }
}

fn list(group: &str) -> v1::ListVisitorsRequest {
    v1::ListVisitorsRequest { group: group.to_owned(), ..Default::default() }
}

fn sessions(group: &str) -> v1::ListSessionsRequest {
    v1::ListSessionsRequest { group: group.to_owned(), ..Default::default() }
}

fn end(group: &str, session: &str) -> v1::EndSessionRequest {
    v1::EndSessionRequest {
        group: group.to_owned(),
        session_id: session.to_owned(),
        request_id: String::new(),
    }
}

#[tokio::test]
async fn visitors_are_looked_up_and_listed() {
    let site = Site::start().await;
    let hello = json!({"visitorId": "C-1", "data": {"plan": "gold", "age": 7, "vip": true},
                       "page": {"url": "https://shop.example/cart", "title": "Cart"}, "client": {"screen": "1280x720"}});
    let _visitor = site.visitor_as("C-1", hello).await;
    let _hidden = site.visitor_as("C-3", json!({"visitorId": "C-3", "visibility": "hidden"})).await;
    let mut client = AdminClient::new(channel(&site).await);
    for key in [operator(&site), group_key(&site)] {
        let found =
            client.lookup_visitors(with_key(&key, lookup("demo"))).await.unwrap().into_inner().visitors;
        let [here, away] = &found[..] else { panic!("{found:?}") };
        assert_eq!((here.visitor_id.as_str(), here.state()), ("C-1", v1::PresenceState::Present));
        assert_eq!((here.connections, here.verified), (1, false));
        assert_eq!(here.page.as_ref().unwrap().title, "Cart");
        assert_eq!(here.client.as_ref().unwrap().screen, "1280x720");
        let data = &here.data.as_ref().unwrap().fields;
        assert_eq!(data["plan"].kind, Some(prost_types::value::Kind::StringValue("gold".into())));
        assert_eq!(data["age"].kind, Some(prost_types::value::Kind::NumberValue(7.0)));
        assert_eq!(data["vip"].kind, Some(prost_types::value::Kind::BoolValue(true)));
        assert_eq!((away.visitor_id.as_str(), away.state()), ("C-2", v1::PresenceState::Absent));
    }
    let mut listed = async |message: v1::ListVisitorsRequest| {
        let stream = client.list_visitors(with_key(&group_key(&site), message)).await.unwrap().into_inner();
        let mut ids: Vec<_> = stream.map(|row| row.unwrap().visitor.unwrap().visitor_id).collect().await;
        ids.sort();
        ids
    };
    assert_eq!(listed(list("")).await, ["C-1", "C-3"]);
    let hidden = v1::ListVisitorsRequest { states: vec![v1::PresenceState::Hidden.into()], ..list("") };
    assert_eq!(listed(hidden).await, ["C-3"]);
    let cart = v1::ListVisitorsRequest { page_contains: "/cart".into(), ..list("") };
    assert_eq!(listed(cart).await, ["C-1"]);
}

#[tokio::test]
async fn an_operator_ends_a_session() {
    let site = Site::start().await;
    let mut engagement = site.engage("C-1", json!({})).await;
    let session = engagement.session.as_str().unwrap().to_owned();
    let mut client = AdminClient::new(channel(&site).await);
    let key = operator(&site);
    let listed = client.list_sessions(with_key(&key, sessions("demo"))).await.unwrap().into_inner().sessions;
    let [only] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((&only.session_id, only.visitor_id.as_str()), (&session, "C-1"));
    assert_eq!((only.kind(), only.state()), (v1::SessionKind::Screen, v1::SessionState::Active));
    assert!(only.created_at.is_some() && only.started_at.is_some() && !only.paused);
    let mut people: Vec<_> =
        only.participants.iter().map(|p| (p.role(), p.agent_id.as_str(), p.connected)).collect();
    people.sort();
    assert_eq!(
        people,
        [(v1::ParticipantRole::Publisher, "", true), (v1::ParticipantRole::Viewer, "alice", true)]
    );
    let of_other = v1::ListSessionsRequest { visitor_id: "C-2".into(), ..sessions("demo") };
    assert!(client.list_sessions(with_key(&key, of_other)).await.unwrap().into_inner().sessions.is_empty());

    let ended = client.end_session(with_key(&key, end("demo", &session))).await.unwrap().into_inner();
    assert!(ended.ended_now);
    for participant in [&mut engagement.publisher, &mut engagement.viewer] {
        assert_eq!(participant.expect("ended").await["reason"], "operator_ended");
        participant.expect_close(4409).await;
    }
    assert_eq!(engagement.visitor.expect("sessionEnded").await["reason"], "operator_ended");
    assert_eq!(engagement.agent.expect("sessionEnded").await["reason"], "operator_ended");
    let again = client.end_session(with_key(&key, end("demo", &session))).await.unwrap().into_inner();
    assert!(!again.ended_now, "ending it again changes nothing");
    assert!(
        client
            .list_sessions(with_key(&key, sessions("demo")))
            .await
            .unwrap()
            .into_inner()
            .sessions
            .is_empty()
    );
}

#[tokio::test]
async fn a_node_describes_itself() {
    let site = Site::start().await;
    let _engagement = site.engage("C-1", json!({})).await;
    let mut client = AdminClient::new(channel(&site).await);
    let node = client
        .get_node(with_key(&operator(&site), v1::GetNodeRequest {}))
        .await
        .unwrap()
        .into_inner()
        .node
        .unwrap();
    assert_eq!(node.version, env!("CARGO_PKG_VERSION"));
    let connections = node.connections.unwrap();
    assert_eq!((connections.visitor, connections.agent, connections.session), (1, 1, 2));
    assert_eq!((node.visitors_present, node.sessions, node.draining), (1, 1, false));
    assert!(!node.node_id.is_empty() && node.started_at.is_some());
}

/// What a refusal looks like from outside, byte for byte.
fn face(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

#[tokio::test]
async fn every_call_needs_a_key_that_reaches() {
    let site = Site::start().await;
    site.add_group("other").await;
    let engagement = site.engage("C-1", json!({})).await;
    let session = engagement.session.as_str().unwrap().to_owned();
    let accounts = &site.running.accounts;
    let other = accounts.create_api_key(&group_id("other"), "it").await.unwrap();
    let other_key = format!("{}.{}", other.row.id, other.secret.expose());
    let revoked = accounts.create_api_key(&group_id("demo"), "it").await.unwrap();
    let revoked_key = format!("{}.{}", revoked.row.id, revoked.secret.expose());
    accounts.revoke_api_key(&group_id("demo"), &revoked.row.id).await.unwrap();
    let mixed = format!("{}.{}", site.running.demo.as_ref().unwrap().api_key.0, other.secret.expose());
    let agent_token = site.token("demo", "bob").await;

    let client = AdminClient::new(channel(&site).await);
    let calls = async |key: &str, group: &str| {
        let mut client = client.clone();
        vec![
            client.lookup_visitors(with_key(key, lookup(group))).await.err(),
            client.list_visitors(with_key(key, list(group))).await.err(),
            client.list_sessions(with_key(key, sessions(group))).await.err(),
            client.end_session(with_key(key, end(group, &session))).await.err(),
        ]
    };
    for key in ["", "wrong", ".", &mixed, &revoked_key] {
        let mut faces: Vec<_> =
            calls(key, "demo").await.iter().map(|status| face(status.as_ref().unwrap())).collect();
        let node = client.clone().get_node(with_key(key, v1::GetNodeRequest {})).await.unwrap_err();
        faces.push(face(&node));
        faces.dedup();
        assert_eq!(faces.len(), 1, "one answer for all");
        assert_eq!((node.code(), reason_of(&node).as_deref()), (Code::Unauthenticated, Some("UNAUTHORIZED")));
    }
    // An agent who may not change the group's settings.
    for status in calls(&agent_token, "demo").await {
        let status = status.unwrap();
        assert_eq!(
            (status.code(), reason_of(&status).as_deref()),
            (Code::PermissionDenied, Some("FORBIDDEN"))
        );
    }
    // Another group's key: what is not its own does not exist.
    let foreign: Vec<_> =
        calls(&other_key, "demo").await.iter().map(|status| face(status.as_ref().unwrap())).collect();
    let unknown: Vec<_> =
        calls(&other_key, "nowhere").await.iter().map(|status| face(status.as_ref().unwrap())).collect();
    assert_eq!(foreign, unknown);
    assert_eq!(foreign[0].0, Code::NotFound);
    let mut own = client.clone();
    let by_id = own.end_session(with_key(&other_key, end("", &session))).await.unwrap_err();
    let nobody = own
        .end_session(with_key(&other_key, end("", "00000000-0000-0000-0000-000000000000")))
        .await
        .unwrap_err();
    assert_eq!(face(&by_id), face(&nobody));
    let node = own.get_node(with_key(&other_key, v1::GetNodeRequest {})).await.unwrap_err();
    assert_eq!((node.code(), reason_of(&node).as_deref()), (Code::PermissionDenied, Some("FORBIDDEN")));
    // And nothing happened.
    let listed =
        own.list_sessions(with_key(&operator(&site), sessions("demo"))).await.unwrap().into_inner().sessions;
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn fields_are_checked() {
    let site = Site::start().await;
    let mut client = AdminClient::new(channel(&site).await);
    let key = group_key(&site);
    let many = v1::LookupVisitorsRequest { group: String::new(), visitor_ids: vec!["x".into(); 1_001] };
    let bad = v1::LookupVisitorsRequest { group: String::new(), visitor_ids: vec!["a b".into()] };
    for message in [many, bad] {
        let status = client.lookup_visitors(with_key(&key, message)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason_of(&status).as_deref()),
            (Code::InvalidArgument, Some("BAD_FIELD"))
        );
    }
    let status = client.end_session(with_key(&key, end("", "not a session"))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let long = v1::EndSessionRequest {
        request_id: "r".repeat(65),
        ..end("", "00000000-0000-0000-0000-000000000000")
    };
    assert_eq!(client.end_session(with_key(&key, long)).await.unwrap_err().code(), Code::InvalidArgument);
    let status = client.lookup_visitors(with_key(&operator(&site), lookup(""))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "an operator names the group");
}

#[tokio::test]
async fn health_is_told_to_everybody_and_the_description_only_where_it_is_wanted() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
    for reflection in [false, true] {
        let site = Site::with(|config| config.admin.reflection = reflection).await;
        let channel = channel(&site).await;
        for service in ["", "porchlight.v1.Admin"] {
            let check = HealthCheckRequest { service: service.to_owned() };
            let answer = HealthClient::new(channel.clone()).check(check).await.unwrap().into_inner();
            assert_eq!(answer.status, 1, "serving: {service:?}");
        }
        let asked = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let stream = futures_util::stream::iter([asked]);
        let answer = ServerReflectionClient::new(channel).server_reflection_info(stream).await;
        if !reflection {
            assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
            continue;
        }
        let answer: ServerReflectionResponse = answer.unwrap().into_inner().message().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else {
            panic!("{}", answer.encoded_len());
        };
        assert!(services.service.iter().any(|service| service.name == "porchlight.v1.Admin"));
    }
}
