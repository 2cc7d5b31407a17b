//! Who follows a record hears of each start and join there, once, and finds what it missed.

use porchlight::admin::reason_of;
use porchlight::clock::wall;
use porchlight::ids::{AgentId, EventId, ParticipantId};
use porchlight::limits;
use porchlight::model::event::{Actor, Event, Lead, What};
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use tonic::Code;
use tonic::transport::Channel;

use crate::admin::{channel, group_key, operator, with_key};
use crate::common::site::{DEMO, group_id};
use crate::common::{AgentClient, Site, Value, json};

fn case(id: &str) -> Value {
    json!({"object": "Case", "id": id})
}

fn reference(id: &str) -> Option<v1::RecordReference> {
    let (name, url) = (String::new(), String::new());
    Some(v1::RecordReference { object: "Case".into(), id: id.into(), name, url })
}

async fn client(site: &Site) -> AdminClient<Channel> {
    AdminClient::new(channel(site).await)
}

async fn follow(agent: &mut AgentClient, id: &str) {
    agent.ask(json!({"type": "follow", "record": case(id)}), "ok").await;
}

async fn feed(agent: &mut AgentClient, id: &str) -> Value {
    agent.ask(json!({"type": "feed", "record": case(id)}), "feed").await
}

fn texts(feed: &Value) -> Vec<&str> {
    feed["items"].as_array().unwrap().iter().map(|item| item["text"].as_str().unwrap()).collect()
}

fn post(id: &str, text: &str, request_id: &str) -> v1::PostFeedRequest {
    v1::PostFeedRequest {
        group: DEMO.into(),
        record: reference(id),
        text: text.into(),
        link: String::new(),
        request_id: request_id.into(),
    }
}

/// Alice opens the case and joins its visitor.
fn join(id: &str) -> Value {
    json!({"type": "join", "record": case(id)})
}

async fn open(agent: &mut AgentClient, id: &str) {
    let open = json!({"type": "openRecord", "record": case(id),
                      "fields": {"visitorId": "C-1"}, "parents": {"Contact": {"visitorId": "C-1"}}});
    agent.ask(open, "record").await;
}

#[tokio::test]
async fn followers_hear_of_start_and_join_once() {
    let site = Site::start().await;
    let (mut visitor, mut alice) = (site.visitor("C-1").await, site.agent("alice").await);
    let (mut bob, mut other) = (site.agent("bob").await, site.agent("bob").await);
    follow(&mut bob, "500").await;
    open(&mut alice, "500").await;
    let request = alice.ask(join("500"), "request").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    let (ready, ticket) = (visitor.expect("ready").await, alice.expect("ready").await);
    let _publisher = site.attach("publisher", &ready).await;
    let _viewer = site.attach("viewer", &ticket).await;

    let started = bob.expect("feedItem").await["item"].clone();
    assert_eq!(started["text"], "Alice started a session with C-1.");
    assert_eq!(started["author"], json!({"type": "agent", "id": "alice", "name": "Alice"}));
    assert_eq!(started["record"], case("500"));
    assert_eq!(started["sessionId"], request["sessionId"]);
    assert_eq!(started["link"], format!("/s/{}", request["sessionId"].as_str().unwrap()));
    // Whoever follows does so wherever it is signed in.
    assert_eq!(other.expect("feedItem").await["item"], started);

    // Bob comes by the link, goes and comes again.
    for _ in 0..2 {
        bob.ask(json!({"type": "join", "sessionId": request["sessionId"]}), "request").await;
        let ticket = bob.expect("ready").await;
        let mut viewer = site.attach("bob", &ticket).await;
        viewer.send(json!({"type": "leave"})).await;
        viewer.expect_close(4409).await;
    }
    let joined = bob.expect("feedItem").await["item"].clone();
    assert_eq!(joined["text"], "Bob joined a session with C-1.");
    alice.ask(json!({"type": "endSession", "sessionId": request["sessionId"]}), "ok").await;
    alice.expect("sessionEnded").await;
    // The link of a session that is over leads nowhere, and asks nobody anew.
    let join = json!({"type": "join", "sessionId": request["sessionId"]});
    assert_eq!(bob.refused(join).await, "not_found");
    assert!(visitor.settled("offer").await.is_empty());
    assert!(bob.settled("feedItem").await.is_empty(), "a second join posts nothing");
    let feed = feed(&mut bob, "500").await;
    assert_eq!((&feed["items"], &feed["more"]), (&json!([joined, started]), &json!(false)));
    assert_eq!(feed["following"], true);
}

#[tokio::test]
async fn nothing_is_posted_with_the_setting_off_or_without_a_record() {
    let site = Site::start().await;
    let mut bob = site.agent("bob").await;
    follow(&mut bob, "500").await;
    let engaged = site.engage("C-1", json!({"type": "join", "visitorId": "C-1"})).await;
    drop(engaged);
    assert!(texts(&feed(&mut bob, "500").await).is_empty());
    site.settings(|settings| settings.chatter_on_start = false).await;
    let (mut visitor, mut alice) = (site.visitor("C-2").await, site.agent("alice").await);
    let record = json!({"type": "openRecord", "record": case("500"),
                        "fields": {"visitorId": "C-2"}, "parents": {"Contact": {"visitorId": "C-2"}}});
    alice.ask(record, "record").await;
    let request = alice.ask(join("500"), "request").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    let (ready, ticket) = (visitor.expect("ready").await, alice.expect("ready").await);
    let _publisher = site.attach("publisher", &ready).await;
    let _viewer = site.attach("viewer", &ticket).await;
    alice.expect_request("active").await;
    alice.ask(json!({"type": "endSession", "sessionId": request["sessionId"]}), "ok").await;
    alice.expect("sessionEnded").await;
    assert!(texts(&feed(&mut bob, "500").await).is_empty());
    assert!(bob.settled("feedItem").await.is_empty());
}

#[tokio::test]
async fn follows_outlive_the_connection_until_they_are_taken_back() {
    let site = Site::start().await;
    let (mut admin, key) = (client(&site).await, group_key(&site));
    let mut bob = site.agent("bob").await;
    follow(&mut bob, "1").await;
    bob.go().await;
    let mut bob = site.agent("bob").await;
    // Answered behind what the connection took up.
    assert_eq!(feed(&mut bob, "1").await["following"], true);
    assert_eq!(feed(&mut bob, "2").await["following"], false);
    let mut alice = site.agent("alice").await;
    for id in ["2", "1"] {
        admin.post_feed(with_key(&key, post(id, "Hello", ""))).await.unwrap();
    }
    assert_eq!(bob.expect("feedItem").await["item"]["record"]["id"], "1");
    bob.ask(json!({"type": "unfollow", "record": case("1")}), "ok").await;
    follow(&mut alice, "1").await;
    admin.post_feed(with_key(&key, post("1", "Again", ""))).await.unwrap();
    assert_eq!(alice.expect("feedItem").await["item"]["text"], "Again");
    assert!(bob.settled("feedItem").await.is_empty());
    assert_eq!(texts(&feed(&mut bob, "1").await), ["Again", "Hello"]);
}

#[tokio::test]
async fn a_feed_is_read_page_by_page_in_both_directions() {
    let site = Site::start().await;
    let (mut admin, key) = (client(&site).await, group_key(&site));
    for number in 1..=5 {
        admin.post_feed(with_key(&key, post("1", &format!("{number}"), ""))).await.unwrap();
    }
    let mut bob = site.agent("bob").await;
    let page = json!({"type": "feed", "record": case("1"), "limit": 2});
    let newest = bob.ask(page.clone(), "feed").await;
    assert_eq!((texts(&newest), &newest["more"]), (vec!["5", "4"], &json!(true)));
    let with = |name: &str, id: &Value| {
        let mut page = page.clone();
        page[name] = id.clone();
        page
    };
    let older = bob.ask(with("before", &newest["items"][1]["id"]), "feed").await;
    assert_eq!((texts(&older), &older["more"]), (vec!["3", "2"], &json!(true)));
    let oldest = bob.ask(with("before", &older["items"][1]["id"]), "feed").await;
    assert_eq!((texts(&oldest), &oldest["more"]), (vec!["1"], &json!(false)));
    let newer = bob.ask(with("after", &oldest["items"][0]["id"]), "feed").await;
    assert_eq!((texts(&newer), &newer["more"]), (vec!["3", "2"], &json!(true)));
    for bad in [json!("x"), json!(EventId::fresh().to_string())] {
        assert_eq!(bob.refused(with("before", &bad)).await, "not_found");
    }
    let long = "x".repeat(limits::RECORD_NAME_BYTES + 1);
    for kind in ["follow", "feed"] {
        assert_eq!(bob.refused(json!({"type": kind, "record": case(&long)})).await, "bad_value");
    }
    let asked = |page_token: String| v1::ListFeedRequest {
        group: DEMO.into(),
        record: reference("1"),
        page_size: 3,
        page_token,
    };
    let first = admin.list_feed(with_key(&key, asked(String::new()))).await.unwrap().into_inner();
    let rest = admin.list_feed(with_key(&key, asked(first.next_page_token.clone()))).await.unwrap();
    let rest = rest.into_inner();
    let listed: Vec<_> = first.items.iter().chain(&rest.items).map(|item| item.text.as_str()).collect();
    assert_eq!(listed, ["5", "4", "3", "2", "1"]);
    assert_eq!(rest.next_page_token, "");
    let elsewhere = v1::ListFeedRequest { record: reference("2"), ..asked(first.next_page_token) };
    let refused = admin.list_feed(with_key(&key, elsewhere)).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::InvalidArgument, Some("BAD_FIELD")));
}

#[tokio::test]
async fn a_post_is_made_once_for_a_request_id_in_the_callers_name() {
    let site = Site::start().await;
    let (mut admin, key) = (client(&site).await, group_key(&site));
    let token = site.token(DEMO, "alice").await;
    let first = admin.post_feed(with_key(&key, post("1", "Hello", "r1"))).await.unwrap().into_inner();
    let again = admin.post_feed(with_key(&key, post("1", "Hello", "r1"))).await.unwrap().into_inner();
    assert_eq!(first, again);
    let item = first.item.unwrap();
    assert_eq!(item.author.as_ref().unwrap().kind(), v1::ActorKind::ApiKey);
    let other = admin.post_feed(with_key(&key, post("1", "Other", "r1"))).await.unwrap_err();
    assert_eq!(reason_of(&other).as_deref(), Some("REQUEST_ID_REUSED"));
    let by_agent = admin.post_feed(with_key(&token, post("1", "By Alice", "r1"))).await.unwrap();
    let by_agent = by_agent.into_inner().item.unwrap();
    assert_eq!(
        (by_agent.author.as_ref().unwrap().id.as_str(), by_agent.author_name.as_str()),
        ("alice", "Alice")
    );
    let operators = admin.post_feed(with_key(&operator(&site), post("1", "By us", ""))).await.unwrap();
    assert_eq!(operators.into_inner().item.unwrap().author.unwrap().kind(), v1::ActorKind::Operator);
    let mut bob = site.agent("bob").await;
    assert_eq!(texts(&feed(&mut bob, "1").await), ["By us", "By Alice", "Hello"]);
    let script = v1::PostFeedRequest { link: "javascript:alert(1)".into(), ..post("1", "x", "") };
    let refused = admin.post_feed(with_key(&key, script)).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("BAD_FIELD"));
}

#[tokio::test]
async fn another_groups_feed_is_another() {
    let site = Site::start().await;
    site.add_group("other").await;
    site.add_agent("other", "mallory").await;
    let (mut admin, key) = (client(&site).await, group_key(&site));
    let mut mallory = site.agent_of("other", "mallory").await;
    follow(&mut mallory, "1").await;
    let made = admin.post_feed(with_key(&key, post("1", "Ours", ""))).await.unwrap().into_inner();
    assert!(texts(&feed(&mut mallory, "1").await).is_empty());
    let before = json!({"type": "feed", "record": case("1"), "before": made.item.unwrap().post_id});
    assert_eq!(mallory.refused(before).await, "not_found");
    assert!(mallory.settled("feedItem").await.is_empty());
}

#[tokio::test]
async fn leads_are_listed_page_by_page() {
    let site = Site::start().await;
    let lead = |number: u64, email: &str| {
        let id = EventId::fresh();
        Event {
            id,
            group: group_id(DEMO),
            at: wall(),
            session: None,
            request: None,
            actor: Actor::Guest(ParticipantId::from_u128(u128::from(number))),
            record: None,
            what: What::LeadCreated(Lead {
                lead: id.to_string(),
                email: email.to_owned(),
                name: Some(format!("Guest {number}")),
            }),
        }
    };
    let events = vec![lead(1, "Ann@x.y"), lead(2, "ben@x.y"), lead(3, "ann@X.y"), lead(4, "cem@x.y")];
    site.running.stores.events.append(events).await.unwrap();
    let (mut admin, key) = (client(&site).await, group_key(&site));
    let asked = |page_token: String| v1::ListLeadsRequest { group: DEMO.into(), page_size: 2, page_token };
    let first = admin.list_leads(with_key(&key, asked(String::new()))).await.unwrap().into_inner();
    let rest = admin.list_leads(with_key(&key, asked(first.next_page_token.clone()))).await.unwrap();
    let rest = rest.into_inner();
    let leads: Vec<_> =
        first.leads.iter().chain(&rest.leads).map(|one| (one.email.as_str(), one.name.as_str())).collect();
    assert_eq!(leads, [("Ann@x.y", "Guest 1"), ("ben@x.y", "Guest 2"), ("cem@x.y", "Guest 4")]);
    assert_eq!(rest.next_page_token, "");
}

#[tokio::test]
async fn who_was_removed_follows_nothing() {
    let site = Site::start().await;
    site.add_agent(DEMO, "carol").await;
    let mut carol = site.agent("carol").await;
    follow(&mut carol, "1").await;
    let key = porchlight::ids::AgentKey { group: group_id(DEMO), agent: AgentId::new("carol").unwrap() };
    site.running.accounts.remove_agent(&key, "it").await.unwrap();
    carol.expect_close(4401).await;
    site.add_agent(DEMO, "carol").await;
    let mut carol = site.agent("carol").await;
    assert_eq!(feed(&mut carol, "1").await["following"], false);
}
