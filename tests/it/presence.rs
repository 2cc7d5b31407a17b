//! Presence: leases and grace, hidden tabs, focus, data, held signals, unique visitors, identity.

use crate::common::raw::RawClient;
use crate::common::{Site, json};

#[tokio::test]
async fn a_visitor_is_present_while_a_tab_is_open_and_absent_after_grace() {
    let site = Site::start().await;
    site.settings(|settings| settings.grace_seconds = 1).await;
    let mut agent = site.agent("alice").await;
    assert_eq!(agent.watch("C-1").await["state"], "absent");
    let page =
        json!({"url": "https://shop.example/cart#secret", "title": "Cart", "referrer": "https://a.example/"});
    let client = json!({"platform": "Linux", "language": "en", "screen": "1280x720"});
    let hello =
        json!({"visitorId": "C-1", "page": page, "client": client, "data": {"plan": "gold", "age": 7}});
    let visitor = site.visitor_as("C-1", hello).await;
    assert_eq!(visitor.hello["visitorId"], "C-1");
    assert_eq!(visitor.hello["grace"], 1.0);
    assert_eq!(visitor.hello["heartbeat"], 60);
    assert_eq!(visitor.hello["focused"], true);
    assert_eq!(visitor.hello["presence"], true);
    for only_unique in ["uniqueSecret", "code", "codeExpiresAt"] {
        assert!(visitor.hello.get(only_unique).is_none(), "{only_unique}");
    }
    let seen = agent.expect_state("C-1", "present").await;
    assert_eq!(seen["connections"], 1);
    assert_eq!(seen["verified"], false);
    assert_eq!(seen["data"], json!({"plan": "gold", "age": 7}));
    let page = json!({"url": "https://shop.example/cart", "title": "Cart", "referrer": "https://a.example/"});
    assert_eq!(seen["focused"]["page"], page, "without the fragment");
    assert_eq!(seen["focused"]["client"]["userAgent"], "it/1");
    assert_eq!(seen["focused"]["client"]["screen"], "1280x720");
    visitor.go().await;
    // Within grace nothing changes.
    assert_eq!(agent.look("C-1").await["state"], "present");
    let gone = agent.expect_state("C-1", "absent").await;
    assert!(gone["version"].as_u64() > seen["version"].as_u64());
    assert_eq!(gone["connections"], 0);
    assert_eq!(gone["data"], json!({}));
}

#[tokio::test]
async fn a_visitor_is_hidden_while_all_its_tabs_are() {
    let site = Site::start().await;
    let mut agent = site.agent("alice").await;
    agent.watch("C-1").await;
    let mut first = site.visitor_as("tab 1", json!({"visitorId": "C-1", "visibility": "hidden"})).await;
    agent.expect_state("C-1", "hidden").await;
    let second = site.visitor_as("tab 2", json!({"visitorId": "C-1"})).await;
    assert_eq!(agent.expect_state("C-1", "present").await["connections"], 2);
    second.go().await;
    assert_eq!(agent.expect_state("C-1", "hidden").await["connections"], 1);
    first.ask(json!({"type": "presence", "visibility": "visible"}), "ok").await;
    agent.expect_state("C-1", "present").await;
    first.ask(json!({"type": "presence", "visibility": "hidden"}), "ok").await;
    agent.expect_state("C-1", "hidden").await;
    assert_eq!(first.refused(json!({"type": "presence", "visibility": "blurred"})).await, "bad_message");
}

#[tokio::test]
async fn leaving_is_immediate_and_closes_every_tab() {
    let site = Site::start().await;
    // Far beyond what the test waits for: absence must not come by grace.
    site.settings(|settings| settings.grace_seconds = 60).await;
    let mut agent = site.agent("alice").await;
    agent.watch("C-1").await;
    let (mut one, mut two) = (site.visitor("C-1").await, site.visitor("C-1").await);
    one.ask(json!({"type": "leave"}), "ok").await;
    one.expect_close(4409).await;
    two.expect_close(4409).await;
    agent.expect_state("C-1", "absent").await;
    // Who comes back brings nothing along.
    site.visitor("C-1").await;
    assert_eq!(agent.expect_state("C-1", "present").await["connections"], 1);
}

#[tokio::test]
async fn focus_is_unique_and_follows_activity() {
    let site = Site::start().await;
    let mut agent = site.agent("alice").await;
    let page =
        |name: &str| json!({"visitorId": "C-1", "page": {"url": format!("https://shop.example/{name}")}});
    let mut one = site.visitor_as("tab 1", page("one")).await;
    assert_eq!(one.expect("focus").await["focused"], true);
    let mut two = site.visitor_as("tab 2", page("two")).await;
    assert_eq!(two.hello["focused"], true);
    assert_eq!(two.expect("focus").await["focused"], true);
    assert_eq!(one.expect("focus").await["focused"], false);
    assert_eq!(agent.look("C-1").await["focused"]["page"]["url"], "https://shop.example/two");

    let mut hidden = site.visitor_as("tab 3", json!({"visitorId": "C-1", "visibility": "hidden"})).await;
    assert_eq!(hidden.hello["focused"], false, "a tab in the background takes no focus");

    one.ask(json!({"type": "presence", "active": true}), "ok").await;
    assert_eq!(one.expect("focus").await["focused"], true);
    assert_eq!(two.expect("focus").await["focused"], false);
    assert_eq!(agent.look("C-1").await["focused"]["page"]["url"], "https://shop.example/one");

    let signal = json!({"type": "signal", "visitorId": "C-1", "name": "hi", "data": {"n": 1}});
    assert_eq!(agent.ask(signal, "signalled").await["delivery"], "delivered");
    let heard = one.expect("signal").await;
    assert_eq!((&heard["name"], &heard["data"]), (&json!("hi"), &json!({"n": 1})));
    assert_eq!(heard["agent"]["name"], "Alice");
    two.expect_nothing().await;
    hidden.expect_nothing().await;

    one.go().await;
    assert_eq!(two.expect("focus").await["focused"], true, "focus moves on");
    hidden.expect_nothing().await;
}

#[tokio::test]
async fn data_is_merged_and_its_caps_are_told() {
    let site = Site::start().await;
    let mut agent = site.agent("alice").await;
    let mut visitor = site.visitor_as("C-1", json!({"visitorId": "C-1", "data": {"a": 1, "b": "x"}})).await;
    let update = |data| json!({"type": "presence", "data": data});
    visitor.ask(update(json!({"a": null, "c": true})), "ok").await;
    assert_eq!(agent.look("C-1").await["data"], json!({"b": "x", "c": true}));
    let many: serde_json::Map<_, _> = (0..40).map(|n| (format!("k{n}"), json!(n))).collect();
    let table = [
        (json!([1]), "bad_value"),
        (json!({"": 1}), "bad_value"),
        (json!({"a": {"b": 1}}), "bad_value"),
        (json!({"a": [1]}), "bad_value"),
        (json!({"k".repeat(65): 1}), "data_too_large"),
        (json!({"a": "v".repeat(513)}), "data_too_large"),
        (json!(many), "data_too_large"),
    ];
    for (data, code) in table {
        assert_eq!(visitor.refused(update(data.clone())).await, code, "{data}");
    }
    assert_eq!(agent.look("C-1").await["data"], json!({"b": "x", "c": true}), "nothing of it was taken");
    let large: serde_json::Map<_, _> = (0..10).map(|n| (format!("k{n}"), json!("v".repeat(500)))).collect();
    assert_eq!(visitor.refused(update(json!(large))).await, "data_too_large");
    // What is good beside what is refused is taken.
    let mixed = json!({"type": "presence", "data": 7, "page": {"url": "https://shop.example/next"}});
    assert_eq!(visitor.refused(mixed).await, "bad_value");
    assert_eq!(agent.look("C-1").await["focused"]["page"]["url"], "https://shop.example/next");
    visitor.expect("focus").await;
    visitor.expect_nothing().await;
}

#[tokio::test]
async fn bad_data_on_arrival_is_told_and_costs_no_presence() {
    let site = Site::start().await;
    let mut visitor = site.visitor_as("C-1", json!({"visitorId": "C-1", "data": [1]})).await;
    assert_eq!(visitor.expect("error").await["code"], "bad_value");
    let mut agent = site.agent("alice").await;
    assert_eq!(agent.look("C-1").await["state"], "present");
}

#[tokio::test]
async fn a_signal_within_grace_is_held_and_delivered_on_return() {
    let site = Site::start().await;
    site.settings(|settings| settings.grace_seconds = 60).await;
    let mut agent = site.agent("alice").await;
    let signal = |n: usize| json!({"type": "signal", "visitorId": "C-1", "name": "note", "data": n});
    assert_eq!(agent.refused(signal(0)).await, "visitor_not_present");
    site.visitor("C-1").await.go().await;
    for n in 0..16 {
        assert_eq!(agent.ask(signal(n), "signalled").await["delivery"], "held");
    }
    assert_eq!(agent.refused(signal(16)).await, "too_many");
    let mut visitor = site.visitor("C-1").await;
    for n in 0..16 {
        assert_eq!(visitor.expect("signal").await["data"], n);
    }
    visitor.ask(json!({"type": "leave"}), "ok").await;
    visitor.expect_close(4409).await;
    assert_eq!(agent.refused(signal(17)).await, "visitor_not_present", "nothing is held after a logout");
}

#[tokio::test]
async fn signals_are_checked() {
    let site = Site::start().await;
    site.add_agent("demo", "dave").await;
    let _visitor = site.visitor("C-1").await;
    let mut agent = site.agent("alice").await;
    let signal = |name: &str, data| json!({"type": "signal", "visitorId": "C-1", "name": name, "data": data});
    assert_eq!(agent.refused(signal("", json!(1))).await, "bad_value");
    assert_eq!(agent.refused(signal(&"n".repeat(65), json!(1))).await, "bad_value");
    assert_eq!(agent.refused(signal("n", json!("d".repeat(4096)))).await, "data_too_large");
    assert_eq!(
        agent.refused(json!({"type": "signal", "visitorId": "C 1", "name": "n"})).await,
        "bad_message"
    );
    let mut dave = site.agent("dave").await;
    assert_eq!(dave.refused(signal("n", json!(1))).await, "forbidden", "he does not hold the permission");
}

#[tokio::test]
async fn a_page_speaks_to_the_agents_that_watch_it() {
    let site = Site::start().await;
    let (mut watching, mut other) = (site.agent("alice").await, site.agent("bob").await);
    watching.watch("C-1").await;
    other.watch("C-2").await;
    let mut visitor = site.visitor("C-1").await;
    let say = |name: &str, data| json!({"type": "message", "name": name, "data": data});
    visitor.ask(say("help", json!({"sku": 7})), "ok").await;
    let heard = watching.expect("message").await;
    assert_eq!(heard, json!({"type": "message", "visitorId": "C-1", "name": "help", "data": {"sku": 7}}));
    other.expect_nothing().await;
    assert_eq!(visitor.refused(say("", json!(1))).await, "bad_value");
    assert_eq!(visitor.refused(say("n", json!("d".repeat(4096)))).await, "data_too_large");
}

#[tokio::test]
async fn what_a_visitor_may_not_say_is_refused_and_it_stays() {
    let site = Site::start().await;
    let mut visitor = site.visitor("C-1").await;
    let hello = json!({"type": "connect", "group": "demo", "visitorId": "C-1"});
    assert_eq!(visitor.refused(hello).await, "wrong_state");
    assert_eq!(visitor.refused(json!({"type": "startSession", "kind": "show"})).await, "unsupported");
    assert_eq!(visitor.refused(json!({"type": "extendCode"})).await, "wrong_state");
    let nobody = "00000000-0000-0000-0000-000000000000";
    for kind in ["offerDisplayed", "terms"] {
        let late = json!({"type": kind, "requestId": nobody, "accepted": true});
        assert_eq!(visitor.refused(late).await, "request_over");
        assert_eq!(visitor.refused(json!({"type": kind, "requestId": "x"})).await, "bad_message");
    }
    // A message without an id is taken without a word.
    visitor.send(json!({"type": "presence", "active": true})).await;
    visitor.expect("focus").await;
    visitor.expect_nothing().await;
}

#[tokio::test]
async fn a_page_that_does_not_answer_the_close_is_dropped() {
    let site = Site::start().await;
    let mut stubborn = RawClient::upgraded(site.running.public, "/v1/visitor").await;
    stubborn.frame(0x81, br#"{"type":"connect","group":"demo","visitorId":"C-1"}"#).await;
    let mut agent = site.agent("alice").await;
    if agent.watch("C-1").await["state"] != "present" {
        agent.expect_state("C-1", "present").await;
    }
    // Both are to go; one of them answers nothing.
    let mut other = site.visitor("C-1").await;
    other.ask(json!({"type": "leave"}), "ok").await;
    stubborn.dropped().await;
}
