//! The admin service as the settings page speaks it: JSON on the public listener.

use std::net::SocketAddr;

use serde_json::Value;

use crate::common::http::{Answer, exchange};
use crate::common::{Site, json};

/// A call with headers of one's own, each ended by a line break.
async fn call(addr: SocketAddr, method: &str, headers: &str, body: &str) -> Answer {
    let request = format!(
        "POST /v1/admin/{method} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(addr, &request).await
}

async fn ask(site: &Site, token: &str, method: &str, body: &Value) -> Answer {
    let headers = format!("content-type: application/json\r\nauthorization: Bearer {token}\r\n");
    call(site.running.public, method, &headers, &body.to_string()).await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn an_admin_agent_asks_what_grpc_clients_ask() {
    let site = Site::start().await;
    let _visitor = site.visitor_as("C-1", json!({"visitorId": "C-1", "data": {"age": 7}})).await;
    let alice = site.token("demo", "alice").await;
    let answer = ask(&site, &alice, "LookupVisitors", &json!({"visitorIds": ["C-1", "C-2"]})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let visitors = &answer.json()["visitors"];
    assert_eq!(visitors[0]["state"], "PRESENCE_STATE_PRESENT");
    assert_eq!(visitors[0]["data"]["age"], 7.0);
    assert_eq!(visitors[1]["state"], "PRESENCE_STATE_ABSENT");
    assert_eq!(visitors[1]["connections"], 0, "every field is told");
    assert!(visitors[0]["since"].as_str().unwrap().ends_with('Z'), "{visitors}");
}

#[tokio::test]
async fn who_may_not_is_refused_with_the_codes_of_the_service() {
    let site = Site::start().await;
    let (alice, bob) = (site.token("demo", "alice").await, site.token("demo", "bob").await);
    let demo = site.running.demo.as_ref().unwrap();
    let (id, secret) = &demo.api_key;
    let own = json!({});
    assert_eq!(code(&ask(&site, &bob, "ListSessions", &own).await), refused(403, "forbidden"));
    for key in ["", "x", &demo.admin_key, &format!("{id}.{secret}")] {
        assert_eq!(code(&ask(&site, key, "ListSessions", &own).await), refused(401, "unauthorized"));
    }
    assert_eq!(code(&ask(&site, &alice, "GetNode", &own).await), refused(403, "forbidden"));
    let mut answers = Vec::new();
    for group in ["other", "not a group"] {
        let answer = ask(&site, &alice, "ListSessions", &json!({"group": group})).await;
        let mut error = answer.json()["error"].clone();
        error["requestId"].take();
        answers.push((answer.status, error));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0, 404);
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let site = Site::start().await;
    let alice = site.token("demo", "alice").await;
    let authorized = format!("authorization: Bearer {alice}\r\n");
    let json_type = format!("{authorized}content-type: application/json\r\n");
    let table = [
        ("ListSessions", &authorized, "{}", refused(415, "bad_message")),
        ("ListSessions", &json_type, "{", refused(400, "bad_message")),
        ("ListSessions", &json_type, "{}{}", refused(400, "bad_message")),
        ("ListSessions", &json_type, r#"{"visitor":"x"}"#, refused(400, "bad_message")),
        ("ListSessions", &json_type, r#"{"visitorId":"not an id"}"#, refused(400, "bad_field")),
        ("ListVisitors", &json_type, "{}", refused(501, "unsupported")),
        ("DropTables", &json_type, "{}", refused(404, "not_found")),
    ];
    for (method, headers, body, expected) in table {
        let answer = call(site.running.public, method, headers, body).await;
        assert_eq!(code(&answer), expected, "{method} {body}: {answer:?}");
    }
    let answer = ask(&site, &alice, "ListSessions", &json!({"visitorId": "not an id"})).await;
    assert_eq!(answer.json()["error"]["metadata"]["field"], "visitor_id");
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_may_not_ask() {
    let site = Site::start().await;
    let alice = site.token("demo", "alice").await;
    for (origin, status) in [("http://localhost:1", 200), ("https://evil.example", 403), ("null", 403)] {
        let headers = format!(
            "content-type: application/json\r\nauthorization: Bearer {alice}\r\norigin: {origin}\r\n"
        );
        let answer = call(site.running.public, "ListSessions", &headers, "{}").await;
        assert_eq!(answer.status, status, "{origin}: {answer:?}");
    }
}
