//! Agents whose visitor is on another node: questions, answers, ends.

use porchlight::hub::guests::{Knock, NotLetIn, Way};
use porchlight::ids::{SessionId, VisitorId, VisitorKey};
use porchlight::model::lead::Guest;
use porchlight::wire::agent::Delivery;
use porchlight::wire::error::ErrorCode;

use super::over_each_post;
use super::world::World;
use crate::common::site::group_id;
use crate::common::{Value, json};
use crate::guests::let_in;

over_each_post! {
    a_join_goes_through_every_step(2);
    a_question_is_taken_back_and_answered_too_late(2);
    a_second_agent_joins_from_a_third_node(3);
    a_session_ends_for_everybody_with_its_reason(2);
    an_agent_signals_a_visitor_elsewhere(2);
    a_show_elsewhere_is_joined_and_its_host_invites(2);
    what_is_nowhere_is_not_found(2);
    operators_reach_every_node(2);
    a_guest_comes_by_a_link_on_any_node(2);
    another_group_reaches_nothing(2);
}

fn terms(offer: &Value, accepted: bool) -> Value {
    let version = &offer["terms"]["version"];
    json!({"type": "terms", "requestId": offer["requestId"], "accepted": accepted, "termsVersion": version})
}

async fn a_join_goes_through_every_step(world: World) {
    let (mut visitor, mut agent) = (world.visitor(0, "C-1").await, world.agent(1).await);
    let record = json!({"object": "Contact", "id": "7", "name": "Ada"});
    let open = json!({"type": "openRecord", "record": record, "fields": {"visitorId": "C-1"}});
    assert_eq!(agent.ask(open, "record").await["buttons"]["join"]["light"], "lit");
    let join = json!({"type": "join", "record": {"object": "Contact", "id": "7"}, "control": true});
    let request = agent.ask(join, "request").await;
    assert_eq!((&request["state"], &request["visitorId"]), (&json!("offered"), &json!("C-1")));
    let offer = visitor.expect("offer").await;
    assert_eq!((&offer["requestId"], &offer["control"]), (&request["requestId"], &json!(true)));
    assert_eq!(offer["agent"]["name"], "Alice");
    let shown = json!({"type": "offerDisplayed", "requestId": offer["requestId"]});
    visitor.ask(shown, "ok").await;
    agent.expect_request("displayed").await;
    visitor.ask(terms(&offer, true), "ok").await;
    agent.expect_request("accepted").await;
    let (ready, ticket) = (visitor.expect("ready").await, agent.expect("ready").await);
    assert_eq!((&ticket["role"], &ticket["visitorId"]), (&json!("viewer"), &json!("C-1")));
    let mut publisher = world.attach(0, "publisher", &ready).await;
    agent.expect_request("active").await;
    let viewer = world.attach(1, "viewer", &ticket).await;
    assert_eq!((&viewer.hello["role"], &viewer.hello["kind"]), (&json!("viewer"), &json!("screen")));
    publisher.expect_change("joined", &viewer.id()).await;
    world.attach_refused(1, json!({"ticket": ticket["ticket"]}), 4401).await;
    let lit = |push: &Value| push["buttons"]["join"]["light"] == "in_session";
    agent.expect_where("record", lit).await;
    assert_eq!(visitor.refused(terms(&offer, true)).await, "request_over");
}

async fn a_question_is_taken_back_and_answered_too_late(world: World) {
    let (mut visitor, mut agent) = (world.visitor(0, "C-1").await, world.agent(1).await);
    let request = agent.join("C-1").await;
    let offer = visitor.expect("offer").await;
    let cancel = json!({"type": "cancel", "requestId": request["requestId"]});
    agent.ask(cancel.clone(), "ok").await;
    assert_eq!(visitor.expect("offerEnded").await["outcome"], "cancelled");
    agent.expect_request("cancelled").await;
    assert_eq!(visitor.refused(terms(&offer, true)).await, "request_over");
    assert!(matches!(agent.refused(cancel).await.as_str(), "request_over" | "not_found"));
    assert!(agent.settled("ready").await.is_empty());
    // And declined.
    agent.join("C-1").await;
    let offer = visitor.expect("offer").await;
    visitor.ask(terms(&offer, false), "ok").await;
    agent.expect_request("declined").await;
    // An agent that goes takes its question along.
    agent.join("C-1").await;
    visitor.expect("offer").await;
    agent.go().await;
    assert_eq!(visitor.expect("offerEnded").await["outcome"], "cancelled");
}

async fn a_second_agent_joins_from_a_third_node(world: World) {
    let mut met = world.meet(0, 1, 0, json!({})).await;
    let mut bob = world.bob(2).await;
    assert_eq!(bob.join("C-1").await["state"], "active");
    let ticket = bob.expect("ready").await;
    let mut other = world.attach(2, "bob's viewer", &ticket).await;
    met.publisher.expect_change("joined", &other.id()).await;
    met.viewer.expect_change("joined", &other.id()).await;
    let mut by_id = world.bob(1).await;
    let join = json!({"type": "join", "sessionId": met.session});
    assert_eq!(by_id.ask(join, "request").await["sessionId"], met.session);
    by_id.expect("ready").await;
    other.ask(json!({"type": "leave"}), "ok").await;
    other.expect_close(4409).await;
    met.publisher.expect_change("left", &other.id()).await;
    let (end, stranger) =
        (json!({"type": "endSession", "sessionId": met.session}), &mut world.agent(2).await);
    stranger.ask(end, "ok").await;
    met.expect_end("agent_ended").await;
}

async fn a_session_ends_for_everybody_with_its_reason(world: World) {
    let mut met = world.meet(0, 1, 0, json!({})).await;
    met.publisher.send(json!({"type": "end"})).await;
    met.expect_end("guest_ended").await;
    let late = world.attach_refused(1, json!({"resumeToken": met.viewer.token()}), 4409).await;
    assert_eq!(late, "guest_ended");
    met.visitor.go().await;

    let mut met = world.meet(0, 1, 1, json!({})).await;
    met.viewer.send(json!({"type": "end"})).await;
    met.expect_end("agent_ended").await;
    met.visitor.go().await;

    let mut met = world.meet(1, 0, 1, json!({})).await;
    let end = json!({"type": "endSession", "sessionId": met.session});
    assert_eq!(world.bob(0).await.refused(end.clone()).await, "not_found", "it is not his to end");
    met.agent.ask(end.clone(), "ok").await;
    met.expect_end("agent_ended").await;
    assert_eq!(met.agent.refused(end).await, "not_found");
}

async fn an_agent_signals_a_visitor_elsewhere(world: World) {
    let (mut visitor, mut agent) = (world.visitor(0, "C-1").await, world.agent(1).await);
    let signal = json!({"type": "signal", "visitorId": "C-1", "name": "hello", "data": {"n": 1}});
    assert_eq!(agent.ask(signal.clone(), "signalled").await["delivery"], "delivered");
    let got = visitor.expect("signal").await;
    assert_eq!((&got["name"], &got["data"]), (&json!("hello"), &json!({"n": 1})));
    visitor.go().await;
    assert_eq!(agent.ask(signal, "signalled").await["delivery"], "held");
    // It waits for the page that comes, wherever it comes.
    let mut visitor = world.visitor(1, "C-1").await;
    assert_eq!(visitor.expect("signal").await["name"], "hello");
}

async fn a_show_elsewhere_is_joined_and_its_host_invites(world: World) {
    let mut host = world.agent(0).await;
    let ready = host.ask(json!({"type": "show", "title": "Demo"}), "ready").await;
    let mut publisher = world.attach(1, "host", &ready).await;
    assert_eq!(publisher.hello["role"], "publisher");
    let mut bob = world.bob(1).await;
    let request = bob.ask(json!({"type": "join", "sessionId": ready["sessionId"]}), "request").await;
    assert_eq!(request["sessionId"], ready["sessionId"]);
    let ticket = bob.expect("ready").await;
    let viewer = world.attach(1, "bob's viewer", &ticket).await;
    publisher.expect_change("joined", &viewer.id()).await;
    let mut again = world.agent(1).await;
    let invite = json!({"type": "invite", "sessionId": ready["sessionId"], "guest": {"name": "Eve"}});
    assert!(again.ask(invite, "invite").await["link"].as_str().unwrap().contains("/join#"));
}

async fn what_is_nowhere_is_not_found(world: World) {
    const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
    let mut agent = world.agent(1).await;
    assert_eq!(agent.refused(json!({"type": "join", "visitorId": "C-9"})).await, "visitor_not_present");
    for message in [
        json!({"type": "join", "sessionId": NOBODY}),
        json!({"type": "cancel", "requestId": NOBODY}),
        json!({"type": "endSession", "sessionId": NOBODY}),
        json!({"type": "invite", "sessionId": NOBODY}),
    ] {
        assert_eq!(agent.refused(message).await, "not_found");
    }
    let signal = json!({"type": "signal", "visitorId": "C-9", "name": "x"});
    assert_eq!(agent.refused(signal).await, "visitor_not_present");
    world.attach_refused(1, json!({"ticket": "A".repeat(43)}), 4404).await;
}

async fn another_group_reaches_nothing(world: World) {
    let mut met = world.meet(0, 1, 0, json!({})).await;
    let mut carol = world.carol(1).await;
    let (session, visitor) = (&met.session, "C-1");
    for (message, code) in [
        (json!({"type": "join", "visitorId": visitor}), "visitor_not_present"),
        (json!({"type": "join", "sessionId": session}), "not_found"),
        (json!({"type": "endSession", "sessionId": session}), "not_found"),
        (json!({"type": "invite", "sessionId": session}), "not_found"),
        (json!({"type": "signal", "visitorId": visitor, "name": "x"}), "visitor_not_present"),
    ] {
        assert_eq!(carol.refused(message).await, code);
    }
    met.visitor.ask(json!({"type": "presence", "active": true}), "ok").await;
    assert!(met.visitor.settled("signal").await.is_empty());
    carol.expect_nothing().await;
}

async fn operators_reach_every_node(world: World) {
    let mut met = world.meet(0, 1, 0, json!({})).await;
    let (far, here) = (world.cluster.hub(1), world.cluster.hub(0));
    let (group, other) = (group_id("demo"), group_id("other"));
    let session = SessionId::parse(met.session.as_str().unwrap()).unwrap();
    let key = VisitorKey { group: group.clone(), visitor: VisitorId::new("C-1").unwrap() };
    let signalled = far.signal_anywhere(&key, "hello".into(), None, "Ops").await.unwrap();
    assert_eq!(signalled, Delivery::Delivered);
    assert_eq!(met.visitor.expect("signal").await["agent"]["name"], "Ops");
    let no_name = far.signal_anywhere(&key, "".into(), None, "Ops").await.unwrap_err();
    assert_eq!(no_name.code, ErrorCode::BadValue);
    assert_eq!(far.end_anywhere(&other, session, None).await.unwrap_err().code, ErrorCode::NotFound);
    assert!(far.end_anywhere(&group, session, None).await.unwrap());
    met.expect_end("operator_ended").await;
    assert!(!far.end_anywhere(&group, session, None).await.unwrap(), "it has ended before");
    assert_eq!(far.disconnect_anywhere(&key).await.unwrap(), 1);
    met.visitor.expect_close(4409).await;
    assert_eq!(here.visitors(), 0);
    let nobody = far.signal_anywhere(&key, "hello".into(), None, "Ops").await.unwrap_err();
    assert_eq!(nobody.code, ErrorCode::VisitorNotPresent);
}

async fn a_guest_comes_by_a_link_on_any_node(world: World) {
    let mut host = world.agent(0).await;
    let ready = host.ask(json!({"type": "show", "title": "Demo"}), "ready").await;
    let _publisher = world.attach(0, "host", &ready).await;
    let invite = ready["link"].as_str().unwrap().split_once('#').unwrap().1.to_owned();
    let knock = |invite: String| Knock {
        way: Way::Invite(invite),
        guest: Guest { name: Some("Eve".to_owned()), email: None },
        terms: None,
        device: Default::default(),
        from: "127.0.0.1".parse().unwrap(),
        origin: None,
    };
    let let_in = let_in(world.cluster.hub(1).guest(knock(invite.clone())).await.unwrap());
    assert_eq!((&*let_in.title.unwrap(), let_in.session.to_string()), ("Demo", text(&ready["sessionId"])));
    let guest = world.attach(1, "eve", &json!({"ticket": let_in.ticket.ticket})).await;
    assert_eq!((&guest.hello["role"], guest.id()), (&json!("viewer"), json!(let_in.ticket.participant)));
    let mut wrong = invite;
    wrong.replace_range(40.., "AAA");
    let refused = world.cluster.hub(1).guest(knock(wrong)).await.unwrap_err();
    assert_eq!(refused, NotLetIn::NotFound);
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
