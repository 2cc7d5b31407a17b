//! Subscriptions: what agents hear of visitors, and how much of it.

use std::collections::{BTreeMap, BTreeSet};

use socket2::SockRef;
use tokio::net::TcpSocket;

use crate::common::client::{Client, request};
use crate::common::{AgentClient, Heard, Site, Value, VisitorClient, json};

/// IDs of the greatest length, all different.
fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{n:0>62}")).collect()
}

#[tokio::test]
async fn an_agent_watches_up_to_a_thousand_visitors() {
    let site = Site::start().await;
    let mut agent = site.agent("alice").await;
    let watch = |ids: Vec<String>| json!({"type": "watch", "visitorIds": ids});
    assert_eq!(
        agent.refused(watch(ids(0..1_001)[..1_000].iter().cloned().chain(["x".into()]).collect())).await,
        "too_many"
    );
    let watching = agent.ask(watch(ids(0..1_000)), "watching").await;
    let told: Vec<_> =
        watching["visitors"].as_array().unwrap().iter().map(|v| v["visitorId"].clone()).collect();
    assert_eq!(json!(told), json!(ids(0..1_000)), "in the order asked");
    assert_eq!(agent.refused(watch(ids(1_000..1_001))).await, "too_many");
    agent.ask(watch(ids(0..10)), "watching").await;
    agent.ask(json!({"type": "unwatch", "visitorIds": ids(0..1)}), "ok").await;
    agent.ask(watch(ids(1_000..1_001)), "watching").await;

    let lookup = |ids: Vec<String>| json!({"type": "lookup", "visitorIds": ids});
    let found = agent.ask(lookup(ids(0..1_000)), "visitors").await;
    assert_eq!(found["visitors"].as_array().unwrap().len(), 1_000);
    let mut too_many: Vec<_> = (0..1_001).map(|n| n.to_string()).collect();
    assert_eq!(agent.refused(lookup(too_many.clone())).await, "too_many");
    too_many.truncate(1);
    agent.ask(lookup(too_many), "visitors").await;
    assert_eq!(agent.refused(lookup(vec!["not an id".into()])).await, "bad_message");
    agent.expect_nothing().await;
}

#[tokio::test]
async fn only_what_is_watched_is_told_and_only_while_it_is() {
    let site = Site::start().await;
    let mut agent = site.agent("alice").await;
    agent.watch("C-1").await;
    let _other = site.visitor("C-2").await;
    let mut visitor = site.visitor("C-1").await;
    agent.expect_state("C-1", "present").await;
    agent.look("C-2").await;
    agent.expect_nothing().await;
    agent.ask(json!({"type": "unwatch", "visitorIds": ["C-1", "C-9"]}), "ok").await;
    visitor.ask(json!({"type": "presence", "data": {"a": 1}}), "ok").await;
    agent.expect_nothing().await;
    assert_eq!(agent.watch("C-1").await["data"], json!({"a": 1}));
}

#[tokio::test]
async fn versions_strictly_increase() {
    let site = Site::start().await;
    site.settings(|settings| settings.grace_seconds = 0).await;
    let mut agent = site.agent("alice").await;
    let mut last = agent.watch("C-1").await["version"].as_u64().unwrap();
    for round in 0..3 {
        let mut visitor = site.visitor("C-1").await;
        for n in 0..10 {
            visitor.send(json!({"type": "presence", "data": {"n": n, "round": round}})).await;
        }
        visitor.settle().await;
        visitor.go().await;
        loop {
            let push = agent.expect("presence").await["visitor"].clone();
            let version = push["version"].as_u64().unwrap();
            assert!(version > last, "{version} after {last}");
            last = version;
            if push["state"] == "absent" {
                break;
            }
        }
    }
    assert_eq!(agent.look("C-1").await["state"], "absent");
}

/// A page that tells the most it may, again and again.
async fn chatter(visitor: &mut VisitorClient, rounds: usize) {
    for n in 0..rounds {
        let data: BTreeMap<_, _> = (0..7).map(|k| (format!("k{k}"), "v".repeat(500))).collect();
        let mut data = json!(data);
        data["n"] = json!(n);
        visitor.send(json!({"type": "presence", "data": data})).await;
    }
}

#[tokio::test]
async fn pushes_to_an_agent_that_does_not_read_are_coalesced_and_the_last_word_arrives() {
    const VISITORS: usize = 60;
    const ROUNDS: usize = 15;
    let site = Site::start().await;
    let token = site.token("demo", "alice").await;
    let socket = TcpSocket::new_v4().unwrap();
    SockRef::from(&socket).set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(site.running.public).await.unwrap();
    let request = request(site.running.public, "/v1/agent", None);
    let client = Client::over(&site.transcript, "slow", stream, request).await;
    let mut agent = AgentClient::connect(client, &token).await;
    let ids: Vec<_> = (0..VISITORS).map(|n| format!("C-{n}")).collect();
    agent.ask(json!({"type": "watch", "visitorIds": ids}), "watching").await;
    let mut visitors = Vec::new();
    for id in &ids {
        visitors.push(site.visitor(id).await);
    }
    for visitor in &mut visitors {
        chatter(visitor, ROUNDS).await;
        visitor.settle().await;
    }
    let mut pushes = 0;
    let mut last: BTreeMap<String, Value> = BTreeMap::new();
    for heard in agent.settle().await {
        let Heard::Text(text) = heard else { panic!("{heard:?}") };
        assert_eq!(text["type"], "presence");
        pushes += 1;
        last.insert(text["visitor"]["visitorId"].as_str().unwrap().to_owned(), text["visitor"].clone());
    }
    assert_eq!(last.len(), VISITORS);
    for (id, visitor) in &last {
        assert_eq!(visitor["data"]["n"], ROUNDS - 1, "{id}");
    }
    assert!(pushes < VISITORS * ROUNDS, "{pushes} pushes of {} changes", VISITORS * ROUNDS);
}

fn names(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|visitor| visitor["visitorId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_live_list_comes_in_pages() {
    let site = Site::start().await;
    let mut visitors = Vec::new();
    for n in 0..5 {
        visitors.push(site.visitor(&format!("C-{n}")).await);
    }
    let mut agent = site.agent("alice").await;
    let mut seen = BTreeSet::new();
    let mut page = json!({"type": "watchLive", "limit": 2});
    for count in [2, 2, 1] {
        let live = agent.ask(page.clone(), "live").await;
        assert_eq!(live["total"], 5);
        let names = names(&live["visitors"]);
        assert_eq!(names.len(), count);
        assert!(names.is_disjoint(&seen), "no visitor is on two pages");
        seen.extend(names);
        page["cursor"] = live["cursor"].clone();
        if count == 1 {
            assert!(live.get("cursor").is_none(), "the last page says so");
        }
    }
    assert_eq!(seen.len(), 5);
    let bad = json!({"type": "watchLive", "cursor": "nonsense"});
    assert_eq!(agent.refused(bad).await, "bad_value");
    let all = agent.ask(json!({"type": "watchLive", "limit": 100_000}), "live").await;
    assert_eq!(names(&all["visitors"]).len(), 5);
}

#[tokio::test]
async fn the_live_list_is_filtered() {
    let site = Site::start().await;
    let visitor = |id: &str, path: &str, plan: &str| {
        json!({"visitorId": id, "page": {"url": format!("https://shop.example{path}"), "title": id},
               "data": {"plan": plan, "age": 7}})
    };
    let _a = site.visitor_as("a", visitor("ann", "/cart", "gold")).await;
    let _b = site.visitor_as("b", visitor("ben", "/CART/pay", "free")).await;
    let mut hidden = visitor("cid", "/home", "gold");
    hidden["visibility"] = json!("hidden");
    let _c = site.visitor_as("c", hidden).await;
    let mut agent = site.agent("alice").await;
    let table = [
        (json!({}), vec!["ann", "ben", "cid"]),
        (json!({"page": "cart"}), vec!["ann", "ben"]),
        (json!({"states": ["hidden"]}), vec!["cid"]),
        (json!({"states": ["present", "hidden"]}), vec!["ann", "ben", "cid"]),
        (json!({"data": {"plan": "gold"}}), vec!["ann", "cid"]),
        (json!({"data": {"plan": "gold", "age": 7.0}, "page": "cart"}), vec!["ann"]),
        (json!({"text": "BEN"}), vec!["ben"]),
        (json!({"text": "gold", "states": ["present"]}), vec!["ann"]),
        (json!({"text": "nobody"}), vec![]),
    ];
    for (filter, wanted) in table {
        let live = agent.ask(json!({"type": "watchLive", "filter": filter}), "live").await;
        assert_eq!(names(&live["visitors"]), wanted.iter().map(|&id| id.to_owned()).collect(), "{filter}");
        assert_eq!(live["total"], wanted.len(), "{filter}");
    }
}

#[tokio::test]
async fn the_live_list_is_kept_current_by_diffs() {
    let site = Site::start().await;
    site.settings(|settings| settings.grace_seconds = 0).await;
    let mut agent = site.agent("alice").await;
    let filter = json!({"states": ["present"]});
    let live = agent.ask(json!({"type": "watchLive", "filter": filter}), "live").await;
    assert_eq!((&live["total"], &live["visitors"]), (&json!(0), &json!([])));
    let mut visitor = site.visitor("C-1").await;
    let diff = agent.expect("liveDiff").await;
    assert_eq!((names(&diff["joined"]), &diff["total"]), (["C-1".to_owned()].into(), &json!(1)));
    visitor.ask(json!({"type": "presence", "data": {"a": 1}}), "ok").await;
    let diff = agent.expect("liveDiff").await;
    assert_eq!(diff["changed"][0]["data"], json!({"a": 1}));
    assert_eq!((&diff["joined"], &diff["left"]), (&json!([]), &json!([])));
    visitor.ask(json!({"type": "presence", "visibility": "hidden"}), "ok").await;
    let diff = agent.expect("liveDiff").await;
    assert_eq!((&diff["left"], &diff["total"]), (&json!(["C-1"]), &json!(0)), "it is off the filtered list");
    visitor.ask(json!({"type": "presence", "visibility": "visible"}), "ok").await;
    assert_eq!(names(&agent.expect("liveDiff").await["joined"]).len(), 1);
    visitor.go().await;
    assert_eq!(agent.expect("liveDiff").await["left"], json!(["C-1"]));
    agent.ask(json!({"type": "unwatchLive"}), "ok").await;
    // A second list proves that the first would have been told by now.
    let mut other = site.agent("bob").await;
    other.ask(json!({"type": "watchLive"}), "live").await;
    let _again = site.visitor("C-1").await;
    other.expect("liveDiff").await;
    agent.expect_nothing().await;
}
