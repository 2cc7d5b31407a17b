//! What operators ask for: a span for each call, in the trace that its caller began.

use std::collections::HashMap;

use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use tonic::Request;
use tonic::transport::Channel;

use super::*;
use crate::common::desk::with_key;
use crate::common::http::exchange;

async fn client(site: &Site) -> AdminClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{}", site.running.admin)).unwrap();
    AdminClient::new(within("a gRPC connection", endpoint.connect()).await.unwrap())
}

fn key(site: &Site) -> String {
    let demo = site.running.demo.as_ref().unwrap();
    format!("{}.{}", demo.api_key.0, demo.api_key.1)
}

/// A call by a key in a trace of the caller's.
fn call<T>(key: &str, traceparent: &str, message: T) -> Request<T> {
    let mut request = with_key(key, message);
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    request
}

fn attributes(span: &Span) -> HashMap<String, String> {
    pairs(&span.attributes).into_iter().collect()
}

#[track_caller]
fn is_told(span: &Span, door: &str, group: Option<&str>, outcome: &str) {
    let mut expected = HashMap::from([("porchlight.door", door), ("porchlight.outcome", outcome)]);
    expected.extend(group.map(|group| ("porchlight.group", group)));
    let expected: HashMap<String, String> =
        expected.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    assert_eq!(attributes(span), expected, "{}", span.name);
}

fn is_in(span: &Span, traceparent: &str) {
    let place = (hex(&span.trace_id), hex(&span.parent_span_id));
    assert_eq!(place, (traceparent[3..35].to_owned(), traceparent[36..52].to_owned()), "{}", span.name);
}

#[tokio::test]
async fn a_call_is_a_span_of_its_callers_trace_by_either_door() {
    let (collector, addr, _running) = Collector::start().await;
    let mut site = site_telling(addr, |_| ()).await;
    let (mut asking, key) = (client(&site).await, key(&site));
    let alice = site.token("demo", "alice").await;

    let visitors = vec!["C-secret-visitor".to_owned()];
    let asked = v1::LookupVisitorsRequest { visitor_ids: visitors.clone(), ..Default::default() };
    asking.lookup_visitors(call(&key, PAGE, asked)).await.unwrap();
    // In no trace: one begins here.
    asking.list_groups(with_key(&key, v1::ListGroupsRequest::default())).await.unwrap();
    // What is refused is told with its reason, and a group that is not there is not named.
    let lost = v1::GetSettingsRequest { group: "secret-group".to_owned() };
    asking.get_settings(call(&key, PAGE, lost)).await.unwrap_err();
    let nobodys = v1::EndSessionRequest { session_id: "nonsense".to_owned(), ..Default::default() };
    asking.end_session(call(&key, PAGE, nobodys)).await.unwrap_err();
    // A credential that is not good decides over nothing.
    let stranger = call("secret-key", PAGE, v1::ListSessionsRequest::default());
    asking.list_sessions(stranger).await.unwrap_err();
    // A stream is told when it is over.
    let watched = v1::WatchPresenceRequest { visitor_ids: visitors, ..Default::default() };
    let mut words = asking.watch_presence(call(&key, PAGE, watched)).await.unwrap().into_inner();
    within("a first word", words.message()).await.unwrap().unwrap();
    drop(words);
    let body = "{}";
    let request = format!(
        "POST /v1/admin/ListAgents HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         authorization: Bearer {alice}\r\ntraceparent: {COLLEAGUE}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(exchange(site.running.public, &request).await.status, 200);
    collector.hears("WatchPresence", 1).await;
    end(&mut site).await;

    let spans = collector.spans();
    let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    let all = ["EndSession", "GetSettings", "ListAgents", "ListGroups", "LookupVisitors", "WatchPresence"];
    assert_eq!(names, all);
    for (name, door, group, outcome) in [
        ("LookupVisitors", "grpc", Some("demo"), "ok"),
        ("GetSettings", "grpc", None, "not_found"),
        ("EndSession", "grpc", Some("demo"), "bad_field"),
        ("WatchPresence", "grpc", Some("demo"), "cancelled"),
    ] {
        is_told(named(&spans, name), door, group, outcome);
        is_in(named(&spans, name), PAGE);
    }
    is_told(named(&spans, "ListAgents"), "json", Some("demo"), "ok");
    is_in(named(&spans, "ListAgents"), COLLEAGUE);
    is_told(named(&spans, "ListGroups"), "grpc", None, "ok");
    assert!(named(&spans, "ListGroups").parent_span_id.is_empty());
    let all = format!("{:?}", collector.0.lock());
    for private in ["C-secret-visitor", "secret", "nonsense", "alice", "127.0.0.1"] {
        assert!(!all.contains(private), "{private} in {all}");
    }
    canary::told("what the collector is sent", &all);
}

#[tokio::test]
async fn a_session_that_an_operator_ends_leads_to_the_call_on_whichever_node_it_came_in() {
    let (collector, addr, _running) = Collector::start().await;
    let redis = Redis::start().await;
    let [mut home, mut edge] = nodes(&redis, addr).await;
    let key = key(&home);
    for (visitor, asked) in [("C-1", &home), ("C-2", &edge)] {
        let engagement = home.engage(visitor, with_trace(PAGE)).await;
        let session_id = engagement.session.as_str().unwrap().to_owned();
        let over = v1::EndSessionRequest { session_id, ..Default::default() };
        let answer = client(asked).await.end_session(call(&key, COLLEAGUE, over)).await.unwrap();
        assert!(answer.into_inner().ended_now);
    }
    // Each session is told when it ends, with both nodes up.
    let sessions = collector.hears("session", 2).await;
    let calls = collector.hears("EndSession", 2).await;
    let names = [&home, &edge].map(|site| site.running.hub.node().to_string());
    let mut by: Vec<String> = collector.by_node("EndSession").into_iter().map(|(node, _)| node).collect();
    by.sort_unstable();
    let mut both = names.to_vec();
    both.sort_unstable();
    assert_eq!(by, both);
    assert!(collector.by_node("session").iter().all(|(node, _)| *node == names[0]));
    for session in &sessions {
        assert_eq!(told(session, "porchlight.end").as_deref(), Some("operator_ended"));
        let [link] = &session.links[..] else { panic!("{session:#?}") };
        let leads =
            calls.iter().filter(|call| call.span_id == link.span_id && call.trace_id == link.trace_id);
        assert_eq!(leads.count(), 1);
    }
    end(&mut edge).await;
    end(&mut home).await;
}
