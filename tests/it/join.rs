//! Join: asked once, answered by the visitor alone, and over when it is over.

use porchlight::ids::{AgentId, AgentKey};
use porchlight::model::settings::{JoinIn, Profile};
use porchlight::store::Agent;

use crate::common::site::Engagement;
use crate::common::site::group_id;
use crate::common::{AgentClient, Picture, Site, Value, VisitorClient, json};

const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

fn terms(offer: &Value, accepted: bool) -> Value {
    let version = &offer["terms"]["version"];
    json!({"type": "terms", "requestId": offer["requestId"], "accepted": accepted, "termsVersion": version})
}

/// Alice has asked; the visitor has the offer.
async fn asked(site: &Site) -> (VisitorClient, AgentClient, Value) {
    let (mut visitor, mut agent) = (site.visitor("C-1").await, site.agent("alice").await);
    agent.join("C-1").await;
    let offer = visitor.expect("offer").await;
    visitor.expect("focus").await;
    (visitor, agent, offer)
}

#[tokio::test]
async fn a_join_goes_through_every_step() {
    let site = Site::start().await;
    let (mut visitor, mut agent) = (site.visitor("C-1").await, site.agent("alice").await);
    let join = json!({"type": "join", "visitorId": "C-1", "control": true});
    let request = agent.ask(join, "request").await;
    assert_eq!((&request["state"], &request["visitorId"]), (&json!("offered"), &json!("C-1")));
    let offer = visitor.expect("offer").await;
    for field in ["requestId", "sessionId"] {
        assert_eq!(offer[field], request[field]);
    }
    assert_eq!(offer["kind"], "screen");
    assert_eq!(offer["control"], true);
    assert_eq!(offer["agent"], json!({"name": "Alice"}));
    assert_eq!(offer["terms"]["required"], true);
    assert_eq!(offer["terms"]["version"], "2026-1");
    assert!(offer["terms"]["text"].as_str().unwrap().contains("consent"));
    assert!(offer["expiresAt"].as_str().unwrap().ends_with('Z'));
    // Nobody has a ticket before the visitor said yes.
    assert!(agent.settled("ready").await.is_empty());
    assert_eq!(agent.look("C-1").await.get("sessionId"), None);

    let shown = json!({"type": "offerDisplayed", "requestId": offer["requestId"]});
    visitor.ask(shown.clone(), "ok").await;
    agent.expect_request("displayed").await;
    visitor.ask(shown, "ok").await;
    visitor.ask(terms(&offer, true), "ok").await;
    agent.expect_request("accepted").await;
    let (ready, ticket) = (visitor.expect("ready").await, agent.expect("ready").await);
    agent.expect_request("connecting").await;
    for (ready, role) in [(&ready, "publisher"), (&ticket, "viewer")] {
        assert_eq!(ready["role"], role);
        assert_eq!(ready["kind"], "screen");
        assert_eq!(ready["sessionId"], request["sessionId"]);
        assert_eq!(ready["requestId"], request["requestId"]);
        assert_eq!(ready["ticket"].as_str().unwrap().len(), 43);
        assert!(ready["ticketExpiresAt"].as_str().unwrap().ends_with('Z'));
    }
    assert_eq!(ticket["visitorId"], "C-1");
    let publisher = site.attach("publisher", &ready).await;
    agent.expect_request("active").await;
    let viewer = site.attach("viewer", &ticket).await;
    assert_eq!((&publisher.hello["role"], &viewer.hello["role"]), (&json!("publisher"), &json!("viewer")));
    assert_eq!(agent.look("C-1").await["sessionId"], request["sessionId"]);
    agent.expect_nothing().await;
    // An answer twice is an answer too late.
    assert_eq!(visitor.refused(terms(&offer, true)).await, "request_over");
}

#[tokio::test]
async fn a_visitor_may_decline() {
    let site = Site::start().await;
    let (mut visitor, mut agent, offer) = asked(&site).await;
    visitor.ask(terms(&offer, false), "ok").await;
    agent.expect_request("declined").await;
    assert_eq!(visitor.refused(terms(&offer, true)).await, "request_over");
    visitor.expect_nothing().await;
    agent.expect_nothing().await;
    // And may be asked anew.
    let again = agent.join("C-1").await;
    assert_ne!(again["requestId"], offer["requestId"]);
    assert_eq!(visitor.expect("offer").await["requestId"], again["requestId"]);
}

#[tokio::test]
async fn a_question_expires() {
    let site = Site::start().await;
    site.settings(|settings| settings.terms.deadline_seconds = 5).await;
    let (mut visitor, mut agent, offer) = asked(&site).await;
    let ended = visitor.expect("offerEnded").await;
    assert_eq!((&ended["outcome"], &ended["requestId"]), (&json!("expired"), &offer["requestId"]));
    agent.expect_request("expired").await;
    assert_eq!(visitor.refused(terms(&offer, true)).await, "request_over");
    let shown = json!({"type": "offerDisplayed", "requestId": offer["requestId"]});
    assert_eq!(visitor.refused(shown).await, "request_over");
    agent.expect_nothing().await;
}

#[tokio::test]
async fn an_agent_takes_its_question_back() {
    let site = Site::start().await;
    let (mut visitor, mut agent, offer) = asked(&site).await;
    let cancel = json!({"type": "cancel", "requestId": offer["requestId"]});
    let mut bob = site.agent("bob").await;
    assert_eq!(bob.refused(cancel.clone()).await, "request_over", "it is not his to cancel");
    agent.ask(cancel.clone(), "ok").await;
    let ended = visitor.expect("offerEnded").await;
    assert_eq!((&ended["outcome"], &ended["requestId"]), (&json!("cancelled"), &offer["requestId"]));
    agent.expect_request("cancelled").await;
    assert_eq!(visitor.refused(terms(&offer, true)).await, "request_over");
    assert_eq!(agent.refused(cancel).await, "request_over");
    assert_eq!(agent.refused(json!({"type": "cancel", "requestId": NOBODY})).await, "not_found");
    visitor.expect_nothing().await;
}

#[tokio::test]
async fn only_the_very_question_and_its_terms_can_be_answered() {
    let site = Site::start().await;
    let (mut visitor, mut agent, offer) = asked(&site).await;
    let mut other = terms(&offer, true);
    other["requestId"] = json!(NOBODY);
    assert_eq!(visitor.refused(other).await, "request_over");
    let mut old = terms(&offer, true);
    old["termsVersion"] = json!("2025-9");
    assert_eq!(visitor.refused(old).await, "terms_changed");
    let mut stranger = site.visitor("C-2").await;
    assert_eq!(stranger.refused(terms(&offer, true)).await, "request_over");
    let mut hidden = site.visitor_as("tab", json!({"visitorId": "C-1", "visibility": "hidden"})).await;
    assert_eq!(hidden.refused(terms(&offer, true)).await, "request_over", "it was not asked there");
    agent.expect_nothing().await;
    visitor.ask(terms(&offer, true), "ok").await;
    visitor.expect("ready").await;
    agent.expect("ready").await;
    assert!(hidden.settled("ready").await.is_empty());
    assert!(stranger.settled("ready").await.is_empty());
}

#[tokio::test]
async fn the_question_follows_the_visitor() {
    let site = Site::start().await;
    let (visitor, mut agent, offer) = asked(&site).await;
    // Over a page load …
    visitor.go().await;
    let mut visitor = site.visitor("C-1").await;
    let again = visitor.expect("offer").await;
    assert_eq!(again, offer);
    // … and to another tab.
    let mut tab = site.visitor_as("tab", json!({"visitorId": "C-1"})).await;
    assert_eq!(tab.expect("offer").await, offer);
    let ended = visitor.expect("offerEnded").await;
    assert_eq!((&ended["outcome"], &ended["requestId"]), (&json!("taken"), &offer["requestId"]));
    assert_eq!(visitor.refused(terms(&offer, true)).await, "request_over");
    agent.expect_nothing().await;
    tab.ask(terms(&offer, true), "ok").await;
    tab.expect("ready").await;
    agent.expect("ready").await;
}

#[tokio::test]
async fn a_ticket_that_was_not_used_follows_the_visitor_and_the_old_one_is_void() {
    let site = Site::start().await;
    let (mut visitor, _agent, offer) = asked(&site).await;
    visitor.ask(terms(&offer, true), "ok").await;
    let old = visitor.expect("ready").await;
    visitor.go().await;
    let mut visitor = site.visitor("C-1").await;
    let new = visitor.expect("ready").await;
    assert_eq!(new["sessionId"], old["sessionId"]);
    site.attach_refused("old ticket", json!({"ticket": old["ticket"]}), 4401).await;
    site.attach("publisher", &new).await;
}

#[tokio::test]
async fn a_visitor_that_goes_ends_the_question() {
    let site = Site::start().await;
    let (mut visitor, mut agent, _) = asked(&site).await;
    visitor.ask(json!({"type": "leave"}), "ok").await;
    agent.expect_request("visitor_gone").await;
    assert_eq!(agent.refused(json!({"type": "join", "visitorId": "C-1"})).await, "visitor_not_present");
}

#[tokio::test]
async fn a_question_that_nobody_asks_any_more_is_taken_back() {
    let site = Site::start().await;
    let (mut visitor, agent, _) = asked(&site).await;
    agent.go().await;
    assert_eq!(visitor.expect("offerEnded").await["outcome"], "cancelled");
}

#[tokio::test]
async fn a_second_agent_attaches_and_the_visitor_is_asked_once() {
    let site = Site::start().await;
    site.add_agent("demo", "erin").await;
    site.settings(|settings| {
        settings.permission_set.user.insert(AgentId::new("erin").unwrap());
    })
    .await;
    let (mut visitor, mut alice, offer) = asked(&site).await;
    let (mut bob, mut erin) = (site.agent("bob").await, site.agent("erin").await);
    for agent in [&mut bob, &mut erin] {
        let request = agent.join("C-1").await;
        assert_eq!((&request["requestId"], &request["state"]), (&offer["requestId"], &json!("offered")));
    }
    visitor.expect_nothing().await;
    // Erin's wish ends alone.
    erin.ask(json!({"type": "cancel", "requestId": offer["requestId"]}), "ok").await;
    erin.expect_request("cancelled").await;
    visitor.expect_nothing().await;
    visitor.ask(terms(&offer, true), "ok").await;
    let ready = visitor.expect("ready").await;
    let tickets = [alice.expect("ready").await, bob.expect("ready").await];
    assert_ne!(tickets[0]["ticket"], tickets[1]["ticket"]);
    let mut publisher = site.attach("publisher", &ready).await;
    for ticket in &tickets {
        site.attach("viewer", ticket).await;
    }
    erin.expect_nothing().await;
    // Who joins the running session gets in at once, and the visitor is not asked.
    visitor.skip().await;
    assert_eq!(erin.join("C-1").await["state"], "active");
    let viewer = {
        let ready = erin.expect("ready").await;
        site.attach("late viewer", &ready).await
    };
    publisher.expect_change("joined", &viewer.id()).await;
    visitor.expect_nothing().await;
    // By the session's id as well.
    let by_id = json!({"type": "join", "sessionId": ready["sessionId"]});
    assert_eq!(bob.ask(by_id, "request").await["requestId"], offer["requestId"]);
    bob.expect("ready").await;
}

#[tokio::test]
async fn join_is_refused_without_permission_profile_or_button() {
    let site = Site::start().await;
    site.add_agent("demo", "dave").await;
    let nameless = Agent {
        key: AgentKey { group: group_id("demo"), agent: AgentId::new("frank").unwrap() },
        address: "frank".to_owned(),
        partner_user_id: None,
        name: "Frank".to_owned(),
        profile: None,
        subscription: None,
        fixed_key: None,
    };
    site.running.accounts.upsert_agent(&nameless).await.unwrap();
    let password = crate::common::site::PASSWORD.to_owned();
    site.running.accounts.set_password(&nameless.key, password.into()).await.unwrap();
    site.settings(|settings| {
        settings.permission_set.user.insert(nameless.key.agent.clone());
    })
    .await;
    let mut visitor = site.visitor("C-1").await;
    let join = json!({"type": "join", "visitorId": "C-1"});
    for agent in ["dave", "frank"] {
        let mut agent = site.agent(agent).await;
        assert_eq!(agent.refused(join.clone()).await, "forbidden");
    }
    let mut alice = site.agent("alice").await;
    site.settings(|settings| settings.profiles[0].join = false).await;
    assert_eq!(alice.refused(join.clone()).await, "forbidden");
    site.settings(|settings| settings.profiles.clear()).await;
    assert_eq!(alice.refused(join).await, "forbidden");
    visitor.expect("focus").await;
    visitor.expect_nothing().await;
}

#[tokio::test]
async fn join_is_refused_for_who_is_not_here_and_for_what_is_not_offered() {
    let site = Site::start().await;
    let mut agent = site.agent("alice").await;
    let join = |fields: Value| {
        let mut join = fields;
        join["type"] = json!("join");
        join
    };
    assert_eq!(agent.refused(join(json!({"visitorId": "C-1"}))).await, "visitor_not_present");
    let _visitor = site.visitor("C-1").await;
    // This one was built without what pages are recorded with.
    for kind in ["cobrowse", "view", "show"] {
        let join = join(json!({"visitorId": "C-1", "kind": kind}));
        assert_eq!(agent.refused(join).await, "unsupported", "{kind}");
    }
    let table = [
        (json!({"sessionKey": "123456"}), "not_found"),
        (json!({"sessionId": NOBODY}), "not_found"),
        (json!({}), "bad_message"),
        (json!({"visitorId": "C-1", "sessionId": NOBODY}), "bad_message"),
        (json!({"visitorId": "C 1"}), "bad_message"),
        (json!({"visitorId": "C-1", "kind": "telepathy"}), "bad_message"),
        (json!({"record": {"object": "Case", "id": "5"}}), "wrong_state"),
    ];
    for (fields, code) in table {
        assert_eq!(agent.refused(join(fields.clone())).await, code, "{fields}");
    }
    assert_eq!(agent.refused(json!({"type": "endSession", "sessionId": NOBODY})).await, "not_found");
    assert_eq!(agent.refused(json!({"type": "connect", "token": "x"})).await, "wrong_state");
}

#[tokio::test]
async fn without_terms_the_page_connects_at_once() {
    let site = Site::start().await;
    site.settings(|settings| settings.show_terms = false).await;
    let (mut visitor, mut agent) = (site.visitor("C-1").await, site.agent("alice").await);
    agent.join("C-1").await;
    let offer = visitor.expect("offer").await;
    assert_eq!(offer["terms"]["required"], false);
    assert!(offer["terms"].get("text").is_none());
    let (ready, ticket) = (visitor.expect("ready").await, agent.expect("ready").await);
    site.attach("publisher", &ready).await;
    site.attach("viewer", &ticket).await;
    agent.expect_request("active").await;
}

#[tokio::test]
async fn where_presence_is_off_nobody_is_tracked_or_joined() {
    let site = Site::start().await;
    let mut agent = site.agent("alice").await;
    site.settings(|settings| settings.presence_enabled = false).await;
    assert_eq!(agent.refused(json!({"type": "join", "visitorId": "C-1"})).await, "presence_disabled");
    site.visitor_refused("C-1", json!({"visitorId": "C-1"}), 4409).await;
}

fn case(id: &str, visitor: Value) -> Value {
    json!({"type": "openRecord", "record": {"object": "Case", "id": id, "name": "Broken"},
           "fields": {"Subject": "x"}, "parents": {"Contact": {"visitorId": visitor}}})
}

#[tokio::test]
async fn a_record_shows_its_buttons_and_leads_to_its_visitor() {
    let site = Site::start().await;
    site.settings(|settings| settings.grace_seconds = 0).await;
    let mut agent = site.agent("alice").await;
    let record = agent.ask(case("500", json!("C-1")), "record").await;
    assert_eq!(record["record"], json!({"object": "Case", "id": "500", "name": "Broken"}));
    assert_eq!((&record["visitorId"], &record["visitor"]["state"]), (&json!("C-1"), &json!("absent")));
    let join = &record["buttons"]["join"];
    assert_eq!((&join["visible"], &join["light"]), (&json!(true), &json!("dark")));
    assert_eq!(record["buttons"]["show"]["enabled"], true);

    let by_record = json!({"type": "join", "record": {"object": "Case", "id": "500"}});
    assert_eq!(agent.refused(by_record.clone()).await, "visitor_not_present");
    let mut visitor = site.visitor("C-1").await;
    let light = |light: &'static str| move |push: &Value| push["buttons"]["join"]["light"] == light;
    let lit = agent.expect_where("record", light("lit")).await;
    assert_eq!(lit["buttons"]["join"]["enabled"], true);
    visitor.ask(json!({"type": "presence", "visibility": "hidden"}), "ok").await;
    agent.expect_where("record", light("dim")).await;
    agent.ask(by_record, "request").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    let busy = agent.expect_where("record", light("in_session")).await;
    assert_eq!(busy["sessionId"], offer["sessionId"]);
    let mut colleague = site.agent("bob").await;
    let opened = colleague.ask(case("500", json!("C-1")), "record").await;
    assert_eq!((&opened["sessionId"], &opened["autoJoin"]), (&offer["sessionId"], &json!(true)));
    let mut contact = case("501", json!("C-1"));
    contact["record"]["object"] = json!("Contact");
    contact["fields"] = json!({"visitorId": "C-1"});
    let opened = colleague.ask(contact, "record").await;
    assert_eq!((&opened["sessionId"], opened.get("autoJoin")), (&offer["sessionId"], None));
    agent.ask(json!({"type": "endSession", "sessionId": offer["sessionId"]}), "ok").await;
    let over = agent.expect_where("record", light("dim")).await;
    assert!(over.get("sessionId").is_none());

    agent.skip().await;
    agent.ask(json!({"type": "closeRecord", "record": {"object": "Case", "id": "500"}}), "ok").await;
    visitor.go().await;
    agent.expect_nothing().await;
    let closed = json!({"type": "join", "record": {"object": "Case", "id": "500"}});
    assert_eq!(agent.refused(closed).await, "wrong_state");
}

#[tokio::test]
async fn a_record_without_a_visitor_asks_for_a_key_and_says_why() {
    let site = Site::start().await;
    site.add_agent("demo", "dave").await;
    let mut agent = site.agent("alice").await;
    for (visitor, reason) in
        [(Value::Null, "no_visitor_id"), (json!(""), "no_visitor_id"), (json!("a b"), "bad_visitor_id")]
    {
        let record = agent.ask(case("500", visitor), "record").await;
        let join = &record["buttons"]["join"];
        assert_eq!((&join["enabled"], &join["asksForKey"]), (&json!(true), &json!(true)));
        assert_eq!(join["reason"], reason);
        let by_record = json!({"type": "join", "record": {"object": "Case", "id": "500"}});
        assert_eq!(agent.refused(by_record).await, "bad_value");
    }
    let empty = json!({"type": "openRecord", "record": {"object": "", "id": "1"}});
    assert_eq!(agent.refused(empty).await, "bad_value");
    let unknown = json!({"type": "openRecord", "record": {"object": "Invoice", "id": "1"}});
    assert_eq!(agent.ask(unknown, "record").await["buttons"]["join"]["visible"], false);
    let mut dave = site.agent("dave").await;
    let record = dave.ask(case("500", json!("C-1")), "record").await;
    assert_eq!(record["reason"], "no_permission");
    for n in 0..100 {
        agent.ask(case(&format!("r{n}"), json!("C-1")), if n < 98 { "record" } else { "error" }).await;
    }
}

#[tokio::test]
async fn a_session_opens_where_the_profile_of_its_agent_says_as_it_joins() {
    let site = Site::start().await;
    site.add_agent("demo", "dave").await;
    let dave = AgentId::new("dave").unwrap();
    let agent = Agent {
        key: AgentKey { group: group_id("demo"), agent: dave.clone() },
        address: "dave".into(),
        partner_user_id: None,
        name: "dave".into(),
        profile: Some("Phone".into()),
        subscription: None,
        fixed_key: None,
    };
    site.running.accounts.upsert_agent(&agent).await.unwrap();
    site.settings(|settings| {
        settings.permission_set.user.insert(dave);
        let phone = Profile { name: "Phone".into(), join_in: JoinIn::Client, ..settings.profiles[0].clone() };
        settings.profiles.push(phone);
    })
    .await;
    for (join_in, told) in
        [(JoinIn::Page, "page"), (JoinIn::BrowserTab, "browser_tab"), (JoinIn::Client, "client")]
    {
        site.settings(|settings| settings.profiles[0].join_in = join_in).await;
        let (mut visitor, mut agent) = (site.visitor(told).await, site.agent("alice").await);
        // What a page would like is not asked.
        let join = json!({"type": "join", "visitorId": told, "joinIn": "elsewhere"});
        assert_eq!(agent.ask(join, "request").await["joinIn"], told);
        let offer = visitor.expect("offer").await;
        visitor.accept(&offer).await;
        assert_eq!(agent.expect_request("accepted").await.get("joinIn"), None, "it is told to all who ask");
        assert_eq!(agent.expect("ready").await["joinIn"], told);
        assert_eq!(visitor.expect("ready").await.get("joinIn"), None);
        let mut dave = site.agent("dave").await;
        assert_eq!(dave.join(told).await["joinIn"], "client");
        assert_eq!(dave.expect("ready").await["joinIn"], "client");
    }
    let mut alice = site.agent("alice").await;
    let shows = alice.ask(json!({"type": "show"}), "ready").await;
    assert_eq!(shows.get("joinIn"), None, "nobody joins an own screen");
}

#[tokio::test]
async fn an_agents_client_goes_on_without_the_page_that_handed_the_session_to_it() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, agent, visitor: _visitor, .. } =
        site.engage("C-1", json!({})).await;
    agent.go().await;
    let frame = Picture::new().key(300);
    publisher.send_frame(frame.clone()).await;
    assert_eq!(viewer.expect_frame().await, frame);
}

#[tokio::test]
async fn an_agent_that_asks_from_two_pages_takes_its_question_back_from_one() {
    let site = Site::start().await;
    let (mut visitor, mut agent, offer) = asked(&site).await;
    let mut tab = site.agent("alice").await;
    tab.ask(json!({"type": "join", "sessionId": offer["sessionId"]}), "request").await;
    agent.ask(json!({"type": "cancel", "requestId": offer["requestId"]}), "ok").await;
    assert_eq!(visitor.expect("offerEnded").await["outcome"], "cancelled");
    for page in [&mut agent, &mut tab] {
        page.expect_request("cancelled").await;
    }
}
