//! An agent shows its own screen, and guests come by a key or a link to see it.

use std::time::Duration;

use porchlight::hub::guests::{LetIn, Welcome};
use porchlight::limits;
use porchlight::model::event::{Actor, Kind, What};
use porchlight::model::session_record::{Outcome, Status};
use porchlight::store::events::{After, Tail};
use tokio::net::TcpStream;

use crate::common::client::{Client, request};
use crate::common::http::{Answer, exchange};
use crate::common::site::{DEMO, group_id};
use crate::common::{AgentClient, ParticipantClient, Picture, Site, Value, canary, http, json, within};

/// An ID that nothing has.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Alice shows her screen; what the call says more is in `show`.
pub async fn show(agent: &mut AgentClient, mut show: Value) -> Value {
    show["type"] = json!("show");
    let ready = agent.ask(show, "ready").await;
    canary::learn_text(ready["link"].as_str().unwrap());
    ready
}

/// The invite in a link.
pub fn invite_of(link: &Value) -> &str {
    link.as_str().unwrap().split_once("/join#").expect("a link has its invite in the fragment").1
}

/// A guest at the door, from a page of this origin or from none.
pub async fn knock(site: &Site, origin: Option<&str>, body: &Value) -> Answer {
    canary::learn(body);
    let body = body.to_string();
    let origin = origin.map(|origin| format!("origin: {origin}\r\n")).unwrap_or_default();
    let request = format!(
        "POST /v1/guest HTTP/1.1\r\nhost: help.example\r\nconnection: close\r\n{origin}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(site.running.public, &request).await
}

/// What the hub tells a guest that it lets in.
pub fn let_in(welcome: Welcome) -> LetIn {
    match welcome {
        Welcome::In(let_in) => let_in,
        other => panic!("was to be let in: {other:?}"),
    }
}

/// A guest that is let in.
pub async fn enter(site: &Site, body: &Value) -> Value {
    let answer = knock(site, None, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// A refusal as it reads but for the name of the request.
fn plain(answer: &Answer) -> (u16, Value) {
    let mut body = answer.json();
    assert!(body["error"].as_object_mut().unwrap().remove("requestId").unwrap().is_string());
    (answer.status, body["error"].clone())
}

async fn refused(site: &Site, body: Value) -> (u16, String) {
    let (status, error) = plain(&knock(site, None, &body).await);
    (status, error["code"].as_str().unwrap().to_owned())
}

/// Alice shows, and has attached.
async fn on_air(site: &Site) -> (AgentClient, ParticipantClient, Value) {
    let mut alice = site.agent("alice").await;
    let ready = show(&mut alice, json!({})).await;
    let publisher = site.attach("publisher", &ready).await;
    (alice, publisher, ready)
}

#[tokio::test]
async fn guests_see_what_an_agent_shows() {
    let site = Site::start().await;
    // It is no visitor's screen: nobody need be tracked.
    site.settings(|settings| settings.presence_enabled = false).await;
    let (mut alice, mut bob) = (site.agent("alice").await, site.agent("bob").await);
    let ready = show(&mut alice, json!({"title": " Your new contract "})).await;
    assert_eq!((&ready["role"], &ready["kind"]), (&json!("publisher"), &json!("show")));
    let key = ready["sessionKey"].as_str().unwrap();
    assert!(key.len() == 9 && key.bytes().all(|digit| digit.is_ascii_digit()), "{key}");
    let base = format!("http://{}/join#", site.running.public);
    assert!(ready["link"].as_str().unwrap().starts_with(&base), "{ready}");
    let mut publisher = site.attach("publisher", &ready).await;
    assert_eq!(publisher.hello["participants"][0]["agentId"], "alice");
    let mut picture = Picture::new();
    let key_frame = picture.key(500);
    publisher.send_frame(key_frame.clone()).await;

    let spaced = format!("{} {}-{}", &key[..3], &key[3..6], &key[6..]);
    let ann = json!({"sessionKey": spaced, "name": " Ann ", "deviceId": "d-1", "platform": "linux"});
    let let_in = enter(&site, &ann).await;
    assert_eq!(
        (&let_in["role"], &let_in["kind"], &let_in["sessionId"], &let_in["steps"], &let_in["title"]),
        (&json!("viewer"), &json!("show"), &ready["sessionId"], &json!([]), &json!("Your new contract"))
    );
    let mut ann = site.attach("ann", &let_in).await;
    assert_eq!((&ann.hello["title"], &ann.id()), (&json!("Your new contract"), &let_in["participantId"]));
    assert_eq!(ann.expect_frame().await, key_frame);
    let news = publisher.expect_change("joined", &ann.id()).await;
    let person = &news["participant"];
    assert_eq!(
        (&person["name"], &person["side"], &person["role"]),
        (&json!("Ann"), &json!("guest"), &json!("viewer"))
    );

    // By the link, without a name, with the group named for a key, and a colleague.
    let mut ben =
        site.attach("ben", &enter(&site, &json!({"invite": invite_of(&ready["link"])})).await).await;
    let with_group = json!({"group": DEMO, "sessionKey": key});
    let _cem = site.attach("cem", &enter(&site, &with_group).await).await;
    let request = bob.ask(json!({"type": "join", "sessionId": ready["sessionId"]}), "request").await;
    assert_eq!((&request["state"], request.get("visitorId")), (&json!("active"), None));
    let ticket = bob.expect("ready").await;
    let mut colleague = site.attach("bob", &ticket).await;
    let delta = picture.delta(70);
    publisher.send_frame(delta.clone()).await;
    assert_eq!(ann.expect_frame().await, delta);
    for late in [&mut ben, &mut colleague] {
        assert_eq!(late.expect_frames(2).await, [key_frame.clone(), delta.clone()]);
    }
    assert_eq!(ben.refused(json!({"type": "end"})).await, "forbidden");
    assert_eq!(ben.refused(json!({"type": "requestControl"})).await, "forbidden");
    ben.send_frame(picture.key(10)).await;
    ben.expect_close(4403).await;
    ann.send(json!({"type": "leave"})).await;
    ann.expect_close(4409).await;
    publisher.expect_change("left", &ann.id()).await;

    alice.ask(json!({"type": "endSession", "sessionId": ready["sessionId"]}), "ok").await;
    assert_eq!(alice.expect("sessionEnded").await["reason"], "agent_ended");
    assert_eq!(colleague.expect("ended").await["reason"], "agent_ended");
    for over in [json!({"sessionKey": key}), json!({"invite": invite_of(&ready["link"])})] {
        assert_eq!(refused(&site, over).await, (404, "not_found".to_owned()));
    }
}

#[tokio::test]
async fn a_guests_page_may_be_the_servers_own() {
    let site = Site::start().await;
    site.settings(|settings| settings.loopback_origins = false).await;
    let (_alice, _publisher, ready) = on_air(&site).await;
    let body = json!({"sessionKey": ready["sessionKey"]});
    let own = format!("http://{}", site.running.public);
    for (origin, status) in [
        ("http://help.example", 200),
        (own.as_str(), 200),
        ("https://evil.example", 404),
        ("http://help.example.evil", 404),
        ("null", 404),
    ] {
        assert_eq!(knock(&site, Some(origin), &body).await.status, status, "{origin}");
    }
    site.settings(|settings| settings.visitor_origins = vec!["https://shop.example".into()]).await;
    let answer = knock(&site, Some("https://shop.example"), &body).await;
    assert_eq!(answer.status, 200);
    // And so may the page that attaches.
    let stream = within("a TCP connection", TcpStream::connect(site.running.public)).await.unwrap();
    let hello = request(site.running.public, "/v1/session", Some(&own));
    let client = Client::over(&site.transcript, "guest", stream, hello).await;
    let ticket = json!({"ticket": answer.json()["ticket"]});
    assert_eq!(ParticipantClient::attach(client, ticket).await.hello["role"], "viewer");
}

#[tokio::test]
async fn unknown_foreign_wrong_and_over_get_the_same_answer() {
    let site = Site::start().await;
    site.add_group("other").await;
    site.settings_of("other", |settings| settings.visitor_origins = vec!["https://shop.example".into()])
        .await;
    let (mut alice, _publisher, ready) = on_air(&site).await;
    let over = show(&mut alice, json!({})).await;
    alice.ask(json!({"type": "endSession", "sessionId": over["sessionId"]}), "ok").await;
    let engagement = site.engage("C-1", json!({})).await;
    let (key, invite) = (&ready["sessionKey"], invite_of(&ready["link"]));
    let changed = format!("{}{}", if invite.starts_with('A') { 'B' } else { 'A' }, &invite[1..]);
    let foreign = Some("https://shop.example");
    let table = [
        ("an unknown key", None, json!({"sessionKey": "000000000"})),
        ("no key at all", None, json!({"sessionKey": "hello"})),
        ("another group's", None, json!({"group": "other", "sessionKey": key})),
        ("no group's", None, json!({"group": "nowhere", "sessionKey": key})),
        ("a foreign page", foreign, json!({"sessionKey": key})),
        ("a foreign page with a link", foreign, json!({"invite": invite})),
        ("over", None, json!({"sessionKey": over["sessionKey"]})),
        ("a wrong link", None, json!({"invite": changed})),
        ("a resume token", None, json!({"invite": engagement.viewer.token()})),
    ];
    let mut answers = Vec::new();
    for (what, origin, body) in &table {
        let answer = knock(&site, *origin, body).await;
        answers.push(plain(&answer));
        assert_eq!(answers[0], *answers.last().unwrap(), "{what}");
    }
    assert_eq!((answers[0].0, &answers[0].1["code"]), (404, &json!("not_found")));
    assert_eq!(site.metric(r#"porchlight_guests_total{outcome="refused"}"#).await, table.len() as f64);
}

#[tokio::test]
async fn too_many_wrong_keys_lock_the_address_at_every_door() {
    let site = Site::start().await;
    let (_alice, _publisher, ready) = on_air(&site).await;
    for n in 0..limits::WRONG_TRIES {
        let wrong = json!({"group": DEMO, "sessionKey": format!("{n:09}")});
        assert_eq!(refused(&site, wrong).await.0, 404, "{n}");
    }
    for right in [json!({"sessionKey": ready["sessionKey"]}), json!({"invite": invite_of(&ready["link"])})] {
        assert_eq!(refused(&site, right).await, (429, "rate_limited".to_owned()));
    }
    let sign_in = json!({"group": DEMO, "address": "alice", "password": site.password(DEMO, "alice")});
    assert_eq!(http::post(site.running.public, "/v1/auth/agent", &sign_in).await.status, 429);
    let mut tail = Tail::new(site.running.stores.events.clone(), group_id(DEMO), After::Start);
    let told = loop {
        let page = within("a refusal that is told", tail.next()).await.unwrap();
        let found = page.events.into_iter().find_map(|logged| match logged.event.what {
            What::AuthRefused(refused) => Some(refused),
            _ => None,
        });
        if let Some(refused) = found {
            break refused;
        }
    };
    assert_eq!(told.door.as_str(), "guest");
}

#[tokio::test]
async fn what_a_guest_tells_is_bounded() {
    let site = Site::start().await;
    let (_alice, _publisher, ready) = on_air(&site).await;
    let with = |name: &str, value: Value| {
        let mut body = json!({"sessionKey": ready["sessionKey"]});
        body[name] = value;
        body
    };
    let long = |bytes: usize| json!("x".repeat(bytes));
    let bad = (422, "bad_value".to_owned());
    for body in [
        with("name", long(limits::GUEST_NAME_BYTES + 1)),
        with("name", json!("Ann\nBen")),
        with("email", json!("nobody")),
        with("email", json!(format!("{}@x.y", "x".repeat(limits::EMAIL_BYTES)))),
        with("deviceId", long(limits::DEVICE_BYTES + 1)),
        with("platform", json!("a\u{7}")),
    ] {
        assert_eq!(refused(&site, body.clone()).await, bad, "{body}");
    }
    let bad = (400, "bad_message".to_owned());
    for body in [
        json!({}),
        json!([]),
        json!({"name": "Ann"}),
        json!({"sessionKey": 7}),
        json!({"sessionKey": "1", "invite": "x"}),
        json!({"group": DEMO, "invite": "x"}),
        json!({"group": "not a group", "sessionKey": "1"}),
    ] {
        assert_eq!(refused(&site, body.clone()).await, bad, "{body}");
    }
    let head = "GET /v1/guest HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(exchange(site.running.public, head).await.status, 405);
    let form = "POST /v1/guest HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(exchange(site.running.public, form).await.status, 415);
    let fits = json!({"sessionKey": ready["sessionKey"], "name": "x".repeat(limits::GUEST_NAME_BYTES), "email": " "});
    enter(&site, &fits).await;
}

#[tokio::test]
async fn a_session_has_as_many_guests_as_viewers() {
    let site = Site::with(|config| config.limits.viewers = 2).await;
    let (_alice, mut publisher, ready) = on_air(&site).await;
    let key = json!({"sessionKey": ready["sessionKey"]});
    let ann = site.attach("ann", &enter(&site, &key).await).await;
    // A ticket that is not used yet takes a place as well.
    let ticket = enter(&site, &key).await;
    assert_eq!(refused(&site, key.clone()).await, (409, "too_many".to_owned()));
    let id = ann.id();
    let mut ann = ann;
    ann.send(json!({"type": "leave"})).await;
    publisher.expect_change("left", &id).await;
    enter(&site, &key).await;
    site.attach("ben", &ticket).await;
}

#[tokio::test]
async fn show_is_pressed_by_who_has_the_button() {
    let site = Site::start().await;
    let (mut alice, case) = (site.agent("alice").await, json!({"object": "Case", "id": "1"}));
    let on_case = json!({"type": "show", "record": case});
    assert_eq!(alice.refused(on_case.clone()).await, "wrong_state", "the record is not open");
    let open = json!({"type": "openRecord", "record": case, "fields": {}, "parents": {}});
    alice.ask(open, "record").await;
    for title in ["x".repeat(limits::TITLE_BYTES + 1), "two\nlines".to_owned()] {
        assert_eq!(alice.refused(json!({"type": "show", "title": title})).await, "bad_value");
    }
    show(&mut alice, json!({"record": case})).await;
    let set = async |on_object: bool, in_profile: bool| {
        site.settings(|settings| {
            settings.objects.iter_mut().for_each(|object| object.show = on_object);
            settings.profiles.iter_mut().for_each(|profile| profile.show = in_profile);
        })
        .await;
    };
    set(false, true).await;
    assert_eq!(alice.refused(on_case.clone()).await, "forbidden");
    show(&mut alice, json!({})).await;
    set(true, false).await;
    assert_eq!(alice.refused(on_case).await, "forbidden");
    assert_eq!(alice.refused(json!({"type": "show"})).await, "forbidden");
    set(true, true).await;
    for _ in 2..limits::SHOWS_PER_AGENT {
        show(&mut alice, json!({})).await;
    }
    assert_eq!(alice.refused(json!({"type": "show"})).await, "too_many");
    show(&mut site.agent("bob").await, json!({})).await;
}

#[tokio::test]
async fn an_agent_invites_guests_into_its_own_sessions() {
    let site = Site::start().await;
    let (mut alice, mut publisher, ready) = on_air(&site).await;
    let mut bob = site.agent("bob").await;
    let invite = |session: &Value| json!({"type": "invite", "sessionId": session, "guest": {"name": "Ann", "email": "ann@x.y"}});
    let sent = alice.ask(invite(&ready["sessionId"]), "invite").await;
    canary::learn_text(sent["link"].as_str().unwrap());
    assert!(sent["expiresAt"].as_str().unwrap().ends_with('Z'));
    assert_ne!(sent["link"], ready["link"]);
    let let_in = enter(&site, &json!({"invite": invite_of(&sent["link"])})).await;
    let guest = site.attach("ann", &let_in).await;
    let news = publisher.expect_change("joined", &guest.id()).await;
    assert_eq!(news["participant"]["name"], "Ann", "as the link knows it");
    let bad = json!({"type": "invite", "sessionId": ready["sessionId"], "guest": {"email": "nobody"}});
    assert_eq!(alice.refused(bad).await, "bad_value");
    let both = json!({"type": "invite", "sessionId": ready["sessionId"], "agentId": "bob", "guest": {}});
    assert_eq!(alice.refused(both).await, "bad_message");
    assert_eq!(bob.refused(invite(&ready["sessionId"])).await, "not_found", "it is not his");
    assert_eq!(alice.refused(invite(&json!(NOBODY))).await, "not_found");
    let mut engagement = site.engage("C-1", json!({})).await;
    assert_eq!(engagement.agent.refused(invite(&engagement.session)).await, "unsupported");
}

#[tokio::test]
async fn what_is_shown_is_written_down() {
    let site = Site::start().await;
    let mut tail = Tail::new(site.running.stores.events.clone(), group_id(DEMO), After::Start);
    let (mut alice, mut bob) = (site.agent("alice").await, site.agent("bob").await);
    let case = json!({"object": "Case", "id": "500"});
    bob.ask(json!({"type": "follow", "record": case}), "ok").await;
    alice.ask(json!({"type": "openRecord", "record": case, "fields": {}, "parents": {}}), "record").await;
    let ready = show(&mut alice, json!({"record": case})).await;
    let mut publisher = site.attach("publisher", &ready).await;
    let post = bob.expect("feedItem").await["item"].clone();
    assert_eq!(
        (&post["text"], &post["sessionId"]),
        (&json!("Alice started a screen share."), &ready["sessionId"])
    );
    let guest = enter(&site, &json!({"sessionKey": ready["sessionKey"], "name": "Ann"})).await;
    let ann = site.attach("ann", &guest).await;
    publisher.expect_change("joined", &ann.id()).await;
    publisher.send(json!({"type": "end"})).await;
    alice.expect("sessionEnded").await;
    let mut events = Vec::new();
    while !events.iter().any(|what: &(Kind, Actor, What)| what.0 == Kind::RecordLogged) {
        let page = within("the session's events", tail.next()).await.unwrap();
        let of_session = page.events.into_iter().map(|logged| logged.event).filter(|e| e.session.is_some());
        events.extend(of_session.map(|event| {
            assert_eq!(event.record.as_ref().unwrap().id.as_ref(), "500");
            (event.what.kind(), event.actor, event.what)
        }));
    }
    let kinds: Vec<Kind> = events.iter().map(|event| event.0).collect();
    let wanted = [
        Kind::Created,
        Kind::Waiting,
        Kind::Joined,
        Kind::Started,
        Kind::FeedPosted,
        Kind::Joined,
        Kind::Ended,
        Kind::RecordLogged,
    ];
    assert_eq!(kinds, wanted);
    assert!(matches!(&events[5].1, Actor::Guest(id) if json!(id) == ann.id()), "{:?}", events[5]);
    assert!(matches!(&events[5].2, What::Joined(person) if &*person.name == "Ann"));
    let id = porchlight::ids::SessionId::parse(ready["sessionId"].as_str().unwrap()).unwrap();
    let record = site.running.stores.records.session_record(&group_id(DEMO), id).await.unwrap().unwrap();
    assert_eq!((record.status, record.outcome), (Status::Ended, Outcome::NotRequired));
    assert_eq!((record.receipt, record.visitor), (None, None));
    let people: Vec<_> = record.attendance.iter().map(|a| &*a.person.name).collect();
    assert_eq!(people, ["Alice", "Ann"]);
}

#[tokio::test]
async fn a_screen_that_nobody_comes_to_see_expires() {
    let site = Site::with(|config| config.limits.waiting = Duration::from_millis(300)).await;
    let (mut alice, mut publisher, ready) = on_air(&site).await;
    assert_eq!(publisher.expect("ended").await["reason"], "expired");
    assert_eq!(alice.expect("sessionEnded").await["reason"], "expired");
    assert_eq!(refused(&site, json!({"sessionKey": ready["sessionKey"]})).await.0, 404);
}

#[tokio::test]
async fn a_host_that_does_not_come_back_ends_it_for_its_guests() {
    let site = Site::with(|config| config.limits.resume_window = Duration::from_millis(300)).await;
    let (_alice, publisher, ready) = on_air(&site).await;
    let mut ann = site.attach("ann", &enter(&site, &json!({"sessionKey": ready["sessionKey"]})).await).await;
    let id = publisher.id();
    publisher.vanish();
    ann.expect_change("reconnecting", &id).await;
    assert_eq!(ann.expect("ended").await["reason"], "agent_left");
    ann.expect_close(4409).await;
}
