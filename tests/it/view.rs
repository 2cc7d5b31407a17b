//! Agents see a guest's screen: by a code or a link, after the guest accepted, and again after it started anew.

use porchlight::model::event::{Kind, What};
use porchlight::model::session_record::{Outcome, Status};
use porchlight::model::settings::CreateLeads;
use porchlight::store::events::{After, Tail};

use crate::common::http::{self, Answer};
use crate::common::redis::Redis;
use crate::common::site::{DEMO, group_id};
use crate::common::{AgentClient, ParticipantClient, Picture, Site, Value, canary, json, within};
use crate::everywhere::sites;
use crate::guests::{enter, knock};

/// Alice waits for a guest.
pub async fn view(agent: &mut AgentClient, mut view: Value) -> Value {
    view["type"] = json!("view");
    let waiting = agent.ask(view, "waiting").await;
    canary::learn_text(waiting["link"].as_str().unwrap());
    waiting
}

pub fn invite_of(waiting: &Value) -> &str {
    waiting["link"].as_str().unwrap().split_once('#').expect("a link has its invite in the fragment").1
}

/// What a guest brings that says yes or no to what it was asked.
pub fn answering(way: &Value, asked: &Value, accepted: bool) -> Value {
    let mut body = way.clone();
    let version = &asked["terms"]["version"];
    body["terms"] = json!({"requestId": asked["requestId"], "accepted": accepted, "termsVersion": version});
    body
}

/// A guest who accepts what it is asked.
async fn accepts(site: &Site, way: &Value) -> Value {
    let asked = enter(site, way).await;
    assert_eq!((&asked["steps"], asked.get("ticket")), (&json!(["terms"]), None), "{asked}");
    enter(site, &answering(way, &asked, true)).await
}

/// The next events of the group until one of this kind, which is the last of them.
async fn told(site: &Site, last: Kind) -> Vec<What> {
    let mut tail = Tail::new(site.running.stores.events.clone(), group_id(DEMO), After::Start);
    let mut all: Vec<What> = Vec::new();
    while !all.iter().any(|what| what.kind() == last) {
        let page = within("an event", tail.next()).await.unwrap();
        all.extend(page.events.into_iter().map(|logged| logged.event.what));
    }
    all
}

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"]["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_guest_accepts_and_agents_see_its_screen() {
    let site = Site::start().await;
    // Nobody on the website need be tracked for it.
    site.settings(|settings| settings.presence_enabled = false).await;
    site.settings(|settings| settings.log_sessions_outside_crm = true).await;
    let (mut alice, mut bob) = (site.agent("alice").await, site.agent("bob").await);
    let waiting = view(&mut alice, json!({"control": true})).await;
    let (session, key) = (&waiting["sessionId"], waiting["sessionKey"].as_str().unwrap());
    assert!(key.len() == 9 && key.bytes().all(|digit| digit.is_ascii_digit()), "{key}");
    let page = format!("http://{}/at/alice?group={DEMO}", site.running.public);
    assert_eq!((waiting["address"].as_str().unwrap(), &waiting["kind"]), (page.as_str(), &json!("view")));
    assert!(waiting["link"].as_str().unwrap().starts_with(&format!("{page}#")), "{waiting}");

    // Nothing but the question before the yes.
    let way = json!({"sessionKey": key, "name": "Gina"});
    let asked = enter(&site, &way).await;
    let question = (&asked["role"], &asked["kind"], &asked["agent"]["name"], &asked["control"]);
    assert_eq!(question, (&json!("publisher"), &json!("view"), &json!("Alice"), &json!(true)));
    assert!(asked["terms"]["required"] == true && asked["terms"]["text"].is_string(), "{asked}");
    assert_eq!((&asked["sessionId"], asked.get("ticket")), (session, None));
    assert_eq!(alice.expect("request").await["state"], "displayed");
    let mut other = answering(&way, &asked, true);
    other["terms"]["termsVersion"] = json!("another");
    assert_eq!(refusal(&knock(&site, None, &other).await), (409, "terms_changed".to_owned()));
    let mut other = answering(&way, &asked, true);
    other["terms"]["requestId"] = session.clone();
    assert_eq!(refusal(&knock(&site, None, &other).await), (409, "request_over".to_owned()));
    alice.expect_nothing().await;

    let let_in = enter(&site, &answering(&way, &asked, true)).await;
    assert_eq!((&let_in["role"], &let_in["steps"]), (&json!("publisher"), &json!([])));
    for state in ["accepted", "connecting"] {
        let step = alice.expect("request").await;
        assert_eq!((&step["state"], &step["requestId"]), (&json!(state), &waiting["requestId"]));
    }
    let ready = alice.expect("ready").await;
    assert_eq!((&ready["role"], &ready["kind"]), (&json!("viewer"), &json!("view")));
    let mut watching = site.attach("alice", &ready).await;
    let mut guest = site.attach("gina", &let_in).await;
    assert_eq!(guest.id(), let_in["participantId"]);
    let mut picture = Picture::new();
    let key_frame = picture.key(400);
    guest.send_frame(key_frame.clone()).await;
    assert_eq!(watching.expect_frame().await, key_frame);
    // A colleague, who is read the code out; nobody else shows in the guest's place.
    let request = bob.ask(json!({"type": "join", "sessionKey": key}), "request").await;
    assert_eq!(&request["sessionId"], session);
    let mut colleague = site.attach("bob", &bob.expect("ready").await).await;
    assert_eq!(colleague.expect_frame().await, key_frame);
    assert_eq!(refusal(&knock(&site, None, &way).await), (409, "too_many".to_owned()));
    colleague.send_frame(picture.key(10)).await;
    colleague.expect_close(4403).await;
    guest.send(json!({"type": "end"})).await;
    assert_eq!(watching.expect("ended").await["reason"], "guest_ended");
    assert_eq!(alice.expect("sessionEnded").await["reason"], "guest_ended");
    assert_eq!(knock(&site, None, &way).await.status, 404, "ended stays ended");

    let told = told(&site, Kind::RecordLogged).await;
    let kinds: Vec<Kind> = told.iter().map(What::kind).collect();
    for kind in [Kind::Created, Kind::Offered, Kind::Displayed, Kind::Accepted, Kind::Started, Kind::Ended] {
        assert_eq!(kinds.iter().filter(|told| **told == kind).count(), 1, "{kind:?} in {kinds:?}");
    }
    let accepted = told.iter().find_map(|what| match what {
        What::Accepted(accepted) => Some(accepted),
        _ => None,
    });
    assert!(accepted.unwrap().receipt.is_some(), "a consent has its receipt");
    let (records, group) = (&site.running.stores.records, group_id(DEMO));
    let id = porchlight::ids::SessionId::parse(session.as_str().unwrap()).unwrap();
    let record = records.session_record(&group, id).await.unwrap().unwrap();
    assert_eq!(
        (record.kind.as_str(), record.status, record.outcome),
        ("view", Status::Ended, Outcome::Accepted)
    );
    assert_eq!((record.visitor, record.attendance.len()), (None, 3));
}

#[tokio::test]
async fn a_guest_who_starts_anew_comes_back_by_the_same_code() {
    let site = Site::start().await;
    site.settings(|settings| {
        settings.create_leads = CreateLeads::NewEmail;
        settings.log_sessions_outside_crm = true;
    })
    .await;
    let mut alice = site.agent("alice").await;
    let waiting = view(&mut alice, json!({})).await;
    let by_link = json!({"invite": invite_of(&waiting), "name": "Gina", "email": "Gina@example.com"});
    let first = accepts(&site, &by_link).await;
    let guest = site.attach("gina", &first).await;
    let mut watching = site.attach("alice", &alice.expect("ready").await).await;
    guest.vanish();
    watching.expect_change("reconnecting", &first["participantId"]).await;
    // Another browser, the same code: the same seat, and the terms again.
    let by_key = json!({"sessionKey": waiting["sessionKey"], "name": "Gina", "email": "gina@example.com"});
    let again = accepts(&site, &by_key).await;
    assert_eq!(again["participantId"], first["participantId"]);
    let mut guest = site.attach("gina again", &again).await;
    let news = watching.expect_change("back", &first["participantId"]).await;
    assert_eq!(news["participant"]["role"], "publisher");
    assert_eq!(guest.hello["participants"].as_array().unwrap().len(), 2, "{}", guest.hello);
    let frame = Picture::new().key(300);
    guest.send_frame(frame.clone()).await;
    assert_eq!(watching.expect_frame().await, frame);
    // Who comes then and declines ends nothing.
    let token = guest.token();
    guest.vanish();
    watching.expect_change("reconnecting", &first["participantId"]).await;
    let asked = enter(&site, &by_key).await;
    assert_eq!(knock(&site, None, &answering(&by_key, &asked, false)).await.status, 204);
    let mut guest = site.resume("gina back", &token).await;
    watching.expect_change("back", &first["participantId"]).await;
    alice.ask(json!({"type": "endSession", "sessionId": waiting["sessionId"]}), "ok").await;
    assert_eq!(guest.expect("ended").await["reason"], "agent_ended");
    let told = told(&site, Kind::RecordLogged).await;
    let count = |kind: Kind| told.iter().filter(|what| what.kind() == kind).count();
    // One guest, one seat, one lead; and each coming has accepted.
    assert_eq!((count(Kind::LeadCreated), count(Kind::Started), count(Kind::Accepted)), (1, 1, 2));
}

#[tokio::test]
async fn a_no_and_an_end_are_told_while_nobody_shows() {
    let site = Site::start().await;
    let mut alice = site.agent("alice").await;
    let waiting = view(&mut alice, json!({})).await;
    let way = json!({"sessionKey": waiting["sessionKey"]});
    let asked = enter(&site, &way).await;
    assert_eq!(alice.expect("request").await["state"], "displayed");
    assert_eq!(knock(&site, None, &answering(&way, &asked, false)).await.status, 204);
    assert_eq!(alice.expect("request").await["state"], "declined");
    assert_eq!(knock(&site, None, &way).await.status, 404);
    let waiting = view(&mut alice, json!({})).await;
    alice.ask(json!({"type": "endSession", "sessionId": waiting["sessionId"]}), "ok").await;
    assert_eq!(alice.expect("request").await["state"], "cancelled");
    let way = json!({"sessionKey": waiting["sessionKey"]});
    assert_eq!(knock(&site, None, &way).await.status, 404);
    // Where nothing has to be accepted, nothing is asked.
    site.settings(|settings| settings.show_terms = false).await;
    let waiting = view(&mut alice, json!({})).await;
    let let_in = enter(&site, &json!({"sessionKey": waiting["sessionKey"]})).await;
    assert_eq!((&let_in["role"], &let_in["steps"]), (&json!("publisher"), &json!([])));
}

#[tokio::test]
async fn who_may_view_the_buttons_say() {
    let site = Site::start().await;
    let mut alice = site.agent("alice").await;
    let case = json!({"object": "Case", "id": "500-1"});
    assert_eq!(alice.refused(json!({"type": "view", "record": case})).await, "wrong_state");
    alice.ask(json!({"type": "openRecord", "record": case, "fields": {}, "parents": {}}), "record").await;
    view(&mut alice, json!({"record": case})).await;
    site.settings(|settings| settings.objects[0].view = false).await;
    assert_eq!(alice.refused(json!({"type": "view", "record": case})).await, "forbidden");
    for _ in 1..porchlight::limits::VIEWS_PER_AGENT {
        view(&mut alice, json!({})).await;
    }
    assert_eq!(alice.refused(json!({"type": "view"})).await, "too_many");
    site.settings(|settings| settings.profiles.iter_mut().for_each(|profile| profile.view = false)).await;
    assert_eq!(alice.refused(json!({"type": "view"})).await, "forbidden");
}

#[tokio::test]
async fn an_address_tells_a_name_and_nothing_else() {
    let site = Site::start().await;
    let whose = async |address: &str| {
        let answer = http::get(site.running.public, &format!("/v1/at/{address}")).await;
        (answer.status, answer.json())
    };
    assert_eq!(whose(&format!("alice?group={DEMO}")).await, (200, json!({"name": "Alice"})));
    assert_eq!(whose(&format!("ALICE?group={DEMO}")).await, (200, json!({"name": "Alice"})));
    for nobodys in ["alice", "alice?group=other", "alice?group=%20"] {
        assert_eq!(whose(nobodys).await, (200, json!({"name": null})), "{nobodys}");
    }
    assert_eq!(http::get(site.running.public, "/at/nobody?group=x").await.status, 200);
    let mut status = 200;
    for at in 0..=porchlight::limits::WRONG_TRIES {
        status = whose(&format!("nobody-{at}?group={DEMO}")).await.0;
    }
    assert_eq!(status, 429, "who tries many is turned away");
}

#[tokio::test]
async fn an_agent_types_the_key_of_a_session_and_is_locked_after_wrong_ones() {
    let site = Site::start().await;
    site.add_group("other").await;
    let (mut alice, mut bob) = (site.agent("alice").await, site.agent("bob").await);
    let waiting = view(&mut alice, json!({})).await;
    let key = waiting["sessionKey"].as_str().unwrap();
    let spaced = format!("{} {}-{}", &key[..3], &key[3..6], &key[6..]);
    let request = bob.ask(json!({"type": "join", "sessionKey": spaced}), "request").await;
    assert_eq!((&request["sessionId"], &request["state"]), (&waiting["sessionId"], &json!("offered")));
    assert_eq!(
        bob.refused(json!({"type": "join", "sessionKey": key, "visitorId": "C-1"})).await,
        "bad_message"
    );
    for at in 0..porchlight::limits::WRONG_TRIES {
        let wrong = json!({"type": "join", "sessionKey": format!("{at:09}")});
        assert_eq!(bob.refused(wrong).await, "not_found", "{at}");
    }
    assert_eq!(bob.refused(json!({"type": "join", "sessionKey": key})).await, "rate_limited");
    // One lockout for every door: the address is locked for guests and their links as well.
    for way in [json!({"sessionKey": key}), json!({"invite": invite_of(&waiting)})] {
        assert_eq!(knock(&site, None, &way).await.status, 429);
    }
}

#[tokio::test]
async fn another_groups_key_is_no_key() {
    let site = Site::start().await;
    site.add_group("other").await;
    let mut alice = site.agent("alice").await;
    let waiting = view(&mut alice, json!({})).await;
    let mut carol = site.agent_of("other", "carol").await;
    let typed = json!({"type": "join", "sessionKey": waiting["sessionKey"]});
    assert_eq!(carol.refused(typed).await, "not_found");
}

// ── On two nodes ───────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn guest_and_agents_are_on_different_nodes() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let (mut alice, mut bob) = (one.agent("alice").await, other.agent("bob").await);
    let waiting = view(&mut alice, json!({})).await;
    let way = json!({"sessionKey": waiting["sessionKey"], "name": "Gina"});
    let let_in = accepts(&other, &way).await;
    let mut guest: ParticipantClient = other.attach("gina", &let_in).await;
    let mut watching = one.attach("alice", &alice.expect("ready").await).await;
    let request = bob.ask(json!({"type": "join", "sessionKey": waiting["sessionKey"]}), "request").await;
    assert_eq!(request["sessionId"], waiting["sessionId"]);
    let mut colleague = other.attach("bob", &bob.expect("ready").await).await;
    let mut picture = Picture::new();
    let frame = picture.key(500);
    guest.send_frame(frame.clone()).await;
    assert_eq!(watching.expect_frame().await, frame);
    assert_eq!(colleague.expect_frame().await, frame);
    // The guest starts anew, and comes by the node where the session is.
    guest.vanish();
    watching.expect_change("reconnecting", &let_in["participantId"]).await;
    let again = accepts(&one, &json!({"invite": invite_of(&waiting)})).await;
    assert_eq!(again["participantId"], let_in["participantId"]);
    let mut guest = one.attach("gina again", &again).await;
    for agent in [&mut watching, &mut colleague] {
        agent.expect_change("back", &let_in["participantId"]).await;
    }
    let busy = knock(&other, None, &way).await;
    assert_eq!(refusal(&busy), (409, "too_many".to_owned()));
    let frame = picture.key(600);
    guest.send_frame(frame.clone()).await;
    assert_eq!(watching.expect_frame().await, frame);
    assert_eq!(bob.refused(json!({"type": "join", "sessionKey": "000000001"})).await, "not_found");
    guest.send(json!({"type": "end"})).await;
    for agent in [&mut watching, &mut colleague] {
        assert_eq!(agent.expect("ended").await["reason"], "guest_ended");
    }
}
