//! Sessions that visitors open: a key is read out, an agent types it, and then the visitor is asked like anybody.

use std::time::Duration;

use crate::common::redis::Redis;
use crate::common::site::group_id;
use crate::common::{Picture, Site, Value, VisitorClient, http, json};
use crate::everywhere::sites;
use crate::kinds_across_nodes::all_see;

fn typed(key: &Value) -> Value {
    json!({"type": "join", "sessionKey": key})
}

/// The visitor waits; what its page is told.
async fn opens(visitor: &mut VisitorClient, wish: Value) -> Value {
    let mut message = wish;
    message["type"] = json!("startSession");
    visitor.ask(message, "ready").await
}

#[tokio::test]
async fn an_agent_comes_by_the_key_and_the_visitor_is_asked() {
    let site = Site::start().await;
    let mut visitor = site.visitor("C-1").await;
    let ready = opens(&mut visitor, json!({})).await;
    let key = ready["sessionKey"].as_str().unwrap().to_owned();
    assert!(key.len() == 6 && key.bytes().all(|digit| digit.is_ascii_digit()), "{key}");
    assert_eq!((&ready["role"], &ready["kind"]), (&json!("publisher"), &json!("screen")));
    assert!(ready["sessionKeyExpiresAt"].as_str().unwrap().ends_with('Z'));
    for later in ["ticket", "ticketExpiresAt", "requestId"] {
        assert!(ready.get(later).is_none(), "{later} before anybody was asked");
    }
    // Whichever page of the visitor asks again is told the same, and each is told when it connects.
    assert_eq!(opens(&mut visitor, json!({"kind": "screen"})).await["sessionId"], ready["sessionId"]);
    visitor.go().await;
    let mut visitor = site.visitor("C-1").await;
    assert_eq!(visitor.hello["sessionKey"], ready["sessionKey"]);
    assert!(visitor.hello["sessionKeyExpiresAt"].is_string());
    assert_eq!(opens(&mut visitor, json!({})).await["sessionKey"], ready["sessionKey"]);

    let (mut alice, mut bob) = (site.agent("alice").await, site.agent("bob").await);
    let seen = alice.look("C-1").await;
    assert_eq!((&seen["code"], seen.get("sessionId")), (&ready["sessionKey"], None));
    let spaced = json!(format!("{} {}-{}", &key[..2], &key[2..4], &key[4..]));
    let request = alice.ask(typed(&spaced), "request").await;
    assert_eq!((&request["sessionId"], &request["visitorId"]), (&ready["sessionId"], &json!("C-1")));
    let offer = visitor.expect("offer").await;
    assert_eq!((&offer["agent"]["name"], &offer["terms"]["required"]), (&json!("Alice"), &json!(true)));
    assert!(alice.settled("ready").await.is_empty(), "nobody has a ticket before the visitor said yes");
    visitor.accept(&offer).await;
    let (ticket, viewing) = (visitor.expect("ready").await, alice.expect("ready").await);
    assert_eq!(ticket["sessionId"], ready["sessionId"]);
    let mut publisher = site.attach("publisher", &ticket).await;
    let mut viewer = site.attach("viewer", &viewing).await;
    let frame = Picture::new().key(500);
    publisher.send_frame(frame.clone()).await;
    assert_eq!(viewer.expect_frame().await, frame);
    // A colleague comes by the same key, and nobody is asked again.
    visitor.skip().await;
    assert_eq!(bob.ask(typed(&json!(key)), "request").await["sessionId"], ready["sessionId"]);
    bob.expect("ready").await;
    visitor.expect_nothing().await;

    publisher.send(json!({"type": "end"})).await;
    publisher.expect_close(4409).await;
    assert_eq!(visitor.expect("sessionEnded").await["sessionId"], ready["sessionId"]);
    assert_eq!(bob.refused(typed(&json!(key))).await, "not_found", "ended stays ended");
    assert_eq!(bob.look("C-1").await.get("code"), None);
}

#[tokio::test]
async fn a_key_is_nothing_to_guests_and_to_other_groups() {
    let site = Site::start().await;
    site.add_group("other").await;
    let mut visitor = site.visitor("C-1").await;
    let ready = opens(&mut visitor, json!({})).await;
    for group in [json!("demo"), Value::Null] {
        let knock = json!({"group": group, "sessionKey": ready["sessionKey"]});
        assert_eq!(http::post(site.running.public, "/v1/guest", &knock).await.status, 404);
    }
    let mut carol = site.agent_of("other", "carol").await;
    assert_eq!(carol.refused(typed(&ready["sessionKey"])).await, "not_found");
    site.add_agent("demo", "dave").await;
    let mut dave = site.agent("dave").await;
    assert_eq!(
        dave.refused(typed(&ready["sessionKey"])).await,
        "forbidden",
        "he does not hold the permission"
    );
    visitor.expect("focus").await;
    visitor.expect_nothing().await;
}

#[tokio::test]
async fn a_visitor_waits_no_longer_than_it_wants() {
    let site = Site::start().await;
    let mut visitor = site.visitor("C-1").await;
    let mut alice = site.agent("alice").await;
    let ready = opens(&mut visitor, json!({})).await;
    for _ in 0..2 {
        visitor.ask(json!({"type": "cancelSession"}), "ok").await;
    }
    assert_eq!(alice.refused(typed(&ready["sessionKey"])).await, "not_found");
    assert_eq!(alice.look("C-1").await.get("code"), None);
    let anew = opens(&mut visitor, json!({})).await;
    assert_ne!(anew["sessionId"], ready["sessionId"]);
    // Who goes takes its key along.
    visitor.ask(json!({"type": "leave"}), "ok").await;
    visitor.expect_close(4409).await;
    assert_eq!(alice.refused(typed(&anew["sessionKey"])).await, "not_found");
    assert!(site.visitor("C-1").await.hello.get("sessionKey").is_none());
}

#[tokio::test]
async fn nobody_is_waited_for_longer_than_the_time_allows() {
    let site = Site::with(|config| config.limits.waiting = Duration::from_secs(1)).await;
    let mut visitor = site.visitor("C-1").await;
    let ready = opens(&mut visitor, json!({"key": "random"})).await;
    let ended = visitor.expect("sessionEnded").await;
    assert_eq!((&ended["sessionId"], &ended["reason"]), (&ready["sessionId"], &json!("expired")));
    let mut alice = site.agent("alice").await;
    assert_eq!(alice.refused(typed(&ready["sessionKey"])).await, "not_found");
}

#[tokio::test]
async fn what_cannot_be_opened_is_refused() {
    let site = Site::start().await;
    let mut visitor = site.visitor("C-1").await;
    let start = |fields: Value| {
        let mut start = fields;
        start["type"] = json!("startSession");
        start
    };
    // This server was built without what pages are recorded with.
    for kind in ["show", "view", "cobrowse"] {
        assert_eq!(visitor.refused(start(json!({"kind": kind}))).await, "unsupported", "{kind}");
    }
    for wrong in [json!({"kind": "telepathy"}), json!({"key": "mine"})] {
        assert_eq!(visitor.refused(start(wrong)).await, "bad_message");
    }
    let mut alice = site.agent("alice").await;
    alice.join("C-1").await;
    visitor.expect("offer").await;
    assert_eq!(visitor.refused(start(json!({}))).await, "wrong_state", "it is asked already");
    let mut unique = site.visitor_as("unique", json!({})).await;
    assert_eq!(unique.refused(start(json!({"key": "visitorId"}))).await, "bad_value");
}

#[tokio::test]
async fn the_visitor_says_what_it_shares() {
    let site = Site::with_cobrowse().await;
    site.settings(|settings| settings.show_terms = false).await;
    let mut visitor = site.visitor("C-1").await;
    assert_eq!(opens(&mut visitor, json!({})).await["kind"], "cobrowse", "what Join starts here");
    visitor.ask(json!({"type": "cancelSession"}), "ok").await;
    let ready = opens(&mut visitor, json!({"kind": "screen"})).await;
    assert_eq!(ready["kind"], "screen");
    let mut alice = site.agent("alice").await;
    let join = json!({"type": "join", "sessionKey": ready["sessionKey"], "kind": "cobrowse"});
    alice.ask(join, "request").await;
    assert_eq!(visitor.expect("offer").await["kind"], "screen", "whoever asks for something else");
    // Where no terms are shown, both have their way in at once.
    let (ticket, viewing) = (visitor.expect("ready").await, alice.expect("ready").await);
    assert_eq!((&ticket["sessionId"], &ticket["kind"]), (&ready["sessionId"], &json!("screen")));
    site.attach("publisher", &ticket).await;
    site.attach("viewer", &viewing).await;
    alice.expect_request("active").await;
}

#[tokio::test]
async fn the_visitor_id_and_a_unique_visitors_code_are_keys_too() {
    let site = Site::start().await;
    let mut alice = site.agent("alice").await;
    assert_eq!(alice.refused(typed(&json!("C-1"))).await, "not_found", "it is not here");
    let mut visitor = site.visitor("C-1").await;
    let ready = opens(&mut visitor, json!({"key": "visitorId"})).await;
    assert_eq!(ready["sessionKey"], "C-1");
    assert_eq!(alice.look("C-1").await.get("code"), None);
    assert_eq!(alice.ask(typed(&json!("C-1")), "request").await["sessionId"], ready["sessionId"]);
    visitor.expect("offer").await;

    let mut unique = site.visitor_as("unique", json!({})).await;
    let code = unique.hello["code"].clone();
    assert_eq!(
        opens(&mut unique, json!({})).await["sessionKey"],
        code,
        "it has something to read out already"
    );
    assert_eq!(alice.ask(typed(&code), "request").await["visitorId"], unique.id());
    unique.expect("offer").await;
}

#[tokio::test]
async fn the_group_says_how_many_digits() {
    let site = Site::start().await;
    for digits in [4, 12] {
        site.settings(|settings| settings.session_key_digits = digits).await;
        let mut visitor = site.visitor(&format!("C-{digits}")).await;
        let ready = opens(&mut visitor, json!({})).await;
        assert_eq!(ready["sessionKey"].as_str().unwrap().len(), digits as usize);
        let unique = site.visitor_as("unique", json!({})).await;
        assert_eq!(unique.hello["code"].as_str().unwrap().len(), digits as usize);
    }
}

#[tokio::test]
async fn a_key_typed_for_a_record_opens_the_records_session() {
    let site = Site::start().await;
    let mut visitor = site.visitor("C-1").await;
    let ready = opens(&mut visitor, json!({})).await;
    let mut alice = site.agent("alice").await;
    let case = json!({"object": "Case", "id": "500"});
    let join = json!({"type": "join", "sessionKey": ready["sessionKey"], "record": case});
    assert_eq!(alice.refused(join.clone()).await, "wrong_state", "the record is not open");
    let open = json!({"type": "openRecord", "record": case, "fields": {}, "parents": {}});
    assert_eq!(alice.ask(open, "record").await["buttons"]["join"]["asksForKey"], true);
    site.settings(|settings| settings.objects[0].join = false).await;
    assert_eq!(alice.refused(join.clone()).await, "forbidden", "the button is off for a Case");
    site.settings(|settings| settings.objects[0].join = true).await;
    alice.ask(join, "request").await;
    visitor.expect("offer").await;
    let sessions = site.running.hub.sessions().list(&group_id("demo"));
    let record = sessions[0].record.as_ref().unwrap();
    assert_eq!((&*record.object, &*record.id), ("Case", "500"));
}

#[tokio::test]
async fn a_key_leads_to_a_visitor_of_another_node() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let mut visitor = one.visitor("C-1").await;
    let ready = opens(&mut visitor, json!({})).await;
    // The visitor's other page is on the node that is not its home.
    let tab = other.visitor_as("tab", json!({"visitorId": "C-1", "visibility": "hidden"})).await;
    assert_eq!(tab.hello["sessionKey"], ready["sessionKey"]);
    let mut bob = other.agent("bob").await;
    let request = bob.ask(typed(&ready["sessionKey"]), "request").await;
    assert_eq!(request["sessionId"], ready["sessionId"]);
    // Whoever looks at the live list knows the other node's visitors, and nothing is read for it.
    bob.ask(json!({"type": "watchLive"}), "live").await;
    assert_eq!(bob.ask(typed(&ready["sessionKey"]), "request").await["sessionId"], ready["sessionId"]);
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    let mut publisher = one.attach("publisher", &visitor.expect("ready").await).await;
    let mut viewer = other.attach("viewer", &bob.expect("ready").await).await;
    viewer.ask(json!({"type": "keyFrameRequest"}), "ok").await;
    all_see(&mut publisher, &mut Picture::new(), &mut [&mut viewer]).await;
}
