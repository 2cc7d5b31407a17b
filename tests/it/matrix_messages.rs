//! Who may say what on the three sockets: every message that a client may send, from everybody who must not
//! send it. The messages are read from the wire types, so that one without a rule fails here.

use std::collections::BTreeSet;
use std::time::Duration;

use porchlight::auth::api_key::ApiKeySecret;
use porchlight::auth::visitor_token;
use porchlight::clock::wall;
use porchlight::ids::{KeyId, VisitorId};
use porchlight::model::settings::VisitorIdentity;
use porchlight::wire::agent::FromAgent;
use porchlight::wire::session::FromParticipant;
use porchlight::wire::visitor::FromVisitor;
use tokio::net::TcpStream;

use crate::common::client::{Client, Heard, request};
use crate::common::site::{Engagement, agent_key, group_id, mint};
use crate::common::{AgentClient, Site, Value, json, within};

/// An ID that nothing has.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// No message may lack a rule.
fn unruled(kind: &str) -> ! {
    panic!("a client may send {kind}, and no rule here says who must not")
}

/// A visitor's message of this type that is well formed.
fn visitors(kind: &str) -> Value {
    match kind {
        "connect" => json!({"type": kind, "group": "demo", "visitorId": "C-1"}),
        "presence" => json!({"type": kind, "active": true}),
        "offerDisplayed" => json!({"type": kind, "requestId": NOBODY}),
        "terms" => json!({"type": kind, "requestId": NOBODY, "accepted": true}),
        "message" => json!({"type": kind, "name": "n", "data": 1}),
        "extendCode" | "startSession" | "cancelSession" | "leave" => json!({"type": kind}),
        other => unruled(other),
    }
}

/// What an agent without the permission `user` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plain {
    /// It may: looking is for every agent of the group.
    May,
    /// `forbidden`, before anything else is looked at.
    Forbidden,
    /// The thing it names is not its own.
    NotFound,
    /// Not twice on one connection.
    WrongState,
    /// What it shows is no credential of its own.
    Unauthorized,
}

/// An agent's message of this type about somebody, and what an agent without permission is told.
fn agents(kind: &str, visitor: &str, session: &str, asked: &str) -> (Plain, Value) {
    let record = json!({"object": "Case", "id": "1"});
    match kind {
        "connect" => (Plain::WrongState, json!({"type": kind, "token": "x"})),
        "renew" => (Plain::Unauthorized, json!({"type": kind, "token": "x"})),
        "watch" | "unwatch" | "lookup" => (Plain::May, json!({"type": kind, "visitorIds": [visitor]})),
        "watchLive" | "unwatchLive" => (Plain::May, json!({"type": kind})),
        "openRecord" => (
            Plain::May,
            json!({"type": kind, "record": record, "fields": {"VisitorId": visitor}, "parents": {}}),
        ),
        "closeRecord" => (Plain::May, json!({"type": kind, "record": record})),
        "join" => (Plain::Forbidden, json!({"type": kind, "visitorId": visitor})),
        "signal" => (Plain::Forbidden, json!({"type": kind, "visitorId": visitor, "name": "n"})),
        "endSession" => (Plain::Forbidden, json!({"type": kind, "sessionId": session})),
        "cancel" => (Plain::NotFound, json!({"type": kind, "requestId": asked})),
        "show" => (Plain::Forbidden, json!({"type": kind})),
        "view" => (Plain::Forbidden, json!({"type": kind})),
        "invite" => (Plain::Forbidden, json!({"type": kind, "sessionId": session})),
        "follow" | "unfollow" | "feed" => (Plain::May, json!({"type": kind, "record": record})),
        other => unruled(other),
    }
}

/// Who in a session may send a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Publisher,
    Viewer,
    Both,
    /// Nobody in the state that the session is in, whatever the role: with this code.
    Neither(&'static str),
}

/// A participant's message of this type, and who may send it.
fn participants(kind: &str) -> (By, Value) {
    match kind {
        "attach" => (By::Neither("wrong_state"), json!({"type": kind, "ticket": "x"})),
        "keyFrameRequest" => (By::Viewer, json!({"type": kind})),
        "ack" => (By::Viewer, json!({"type": kind, "seq": 0})),
        "requestControl" => (By::Viewer, json!({"type": kind})),
        "grantControl" | "rejectControl" => (By::Publisher, json!({"type": kind, "participantId": NOBODY})),
        "inputHeld" => (By::Publisher, json!({"type": kind, "reason": "own_input"})),
        "permission" => (By::Publisher, json!({"type": kind, "name": "install", "state": "granted"})),
        "revokeControl" | "pause" | "resume" => (By::Publisher, json!({"type": kind})),
        "releaseControl" => (By::Neither("wrong_state"), json!({"type": kind})),
        "input" => (By::Neither("control_not_granted"), json!({"type": kind, "epoch": 0, "events": []})),
        "shows" => (By::Publisher, json!({"type": kind, "kind": "screen"})),
        "point" => (By::Viewer, json!({"type": kind, "x": 0, "y": 0})),
        "startCamera" => (By::Viewer, json!({"type": kind})),
        "stopCamera" => (By::Both, json!({"type": kind})),
        "chat" => (By::Both, json!({"type": kind, "text": "hello"})),
        "leave" | "end" => (By::Both, json!({"type": kind})),
        other => unruled(other),
    }
}

/// Says hello with what must not do, and a message right behind it; returns how it was ended. Nothing else is
/// answered.
async fn turned_away(site: &Site, path: &str, origin: Option<&str>, said: &[Value]) -> (u16, String) {
    let stream = within("a TCP connection", TcpStream::connect(site.running.public)).await.unwrap();
    let request = request(site.running.public, path, origin);
    let mut client = Client::over(&site.transcript, path, stream, request).await;
    for message in said {
        client.send(message.clone()).await;
    }
    match client.hear().await {
        Heard::Closed(Some(code)) => (code, client.reason),
        other => client.fail(format_args!("was to be turned away, and heard {other:?}")),
    }
}

fn id(name: &str) -> VisitorId {
    VisitorId::new(name).unwrap()
}

#[tokio::test]
async fn no_message_comes_before_the_first() {
    let site = Site::start().await;
    let mut answers = BTreeSet::new();
    for kind in FromVisitor::KINDS.iter().filter(|kind| **kind != "connect") {
        answers.insert(turned_away(&site, "/v1/visitor", None, &[visitors(kind)]).await);
    }
    for kind in FromAgent::KINDS.iter().filter(|kind| **kind != "connect") {
        let message = agents(kind, "C-1", NOBODY, NOBODY).1;
        answers.insert(turned_away(&site, "/v1/agent", None, &[message]).await);
    }
    for kind in FromParticipant::KINDS.iter().filter(|kind| **kind != "attach") {
        answers.insert(turned_away(&site, "/v1/session", None, &[participants(kind).1]).await);
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers.first().unwrap().0, 4400);
}

#[tokio::test]
async fn a_visitor_who_is_not_let_in_is_not_heard() {
    let site = Site::start().await;
    site.settings(|settings| settings.visitor_identity = VisitorIdentity::Signed).await;
    site.add_group("other").await;
    let accounts = &site.running.accounts;
    let (kid, secret) = site.running.demo.as_ref().unwrap().api_key.clone();
    let secret = ApiKeySecret::given(secret);
    let other = accounts.create_api_key(&group_id("other"), "it").await.unwrap();
    let revoked = accounts.create_api_key(&group_id("demo"), "it").await.unwrap();
    accounts.revoke_api_key(&group_id("demo"), &revoked.row.id).await.unwrap();
    let now = wall().unix_seconds();
    let token = |kid: &KeyId, secret: &ApiKeySecret, name: &str, exp: u64| {
        json!({"type": "connect", "group": "demo", "visitorId": "C-1",
               "token": visitor_token::mint(kid, secret, &id(name), exp)})
    };
    let unauthorized = [
        ("no credential", json!({"type": "connect", "group": "demo", "visitorId": "C-1"})),
        ("garbage", json!({"type": "connect", "group": "demo", "visitorId": "C-1", "token": "garbage"})),
        ("an expired token", token(&kid, &secret, "C-1", now - 60)),
        ("another visitor's token", token(&kid, &secret, "C-2", now + 600)),
        ("another group's key", token(&other.row.id, &other.secret, "C-1", now + 600)),
        ("a revoked key", token(&revoked.row.id, &revoked.secret, "C-1", now + 600)),
        (
            "an agent's token",
            json!({"type": "connect", "group": "demo", "visitorId": "C-1",
                   "token": mint(&site, &agent_key("demo", "alice"), |_| ())}),
        ),
        ("no unique secret", json!({"type": "connect", "group": "demo", "visitorId": "unq-1"})),
        (
            "a wrong unique secret",
            json!({"type": "connect", "group": "demo", "visitorId": "unq-1", "uniqueSecret": "x".repeat(22)}),
        ),
    ];
    // An origin that no group knows does not even reach the first message; this one another group knows.
    let foreign = "https://shop.example";
    site.settings_of("other", |settings| settings.visitor_origins = vec![foreign.to_owned()]).await;
    let good = token(&kid, &secret, "C-1", now + 600);
    let mut elsewhere = good.clone();
    elsewhere["group"] = json!("nowhere");
    let forbidden = [("an unknown group", &elsewhere), ("a foreign page", &good)];
    let (mut answers_401, mut answers_403) = (BTreeSet::new(), BTreeSet::new());
    for kind in FromVisitor::KINDS {
        for (what, hello) in &unauthorized {
            let answer = turned_away(&site, "/v1/visitor", None, &[hello.clone(), visitors(kind)]).await;
            assert_eq!(answer.0, 4401, "{kind} with {what}");
            answers_401.insert(answer);
        }
        for (what, hello) in forbidden {
            let said = [hello.clone(), visitors(kind)];
            let answer = turned_away(&site, "/v1/visitor", Some(foreign), &said).await;
            assert_eq!(answer.0, 4403, "{kind} with {what}");
            answers_403.insert(answer);
        }
    }
    assert_eq!((answers_401.len(), answers_403.len()), (1, 1), "{answers_401:?} {answers_403:?}");
    let mut agent = site.agent("alice").await;
    assert_eq!(agent.look("C-1").await["state"], "absent", "and no state was made");
}

#[tokio::test]
async fn an_agent_who_is_not_let_in_is_not_heard() {
    let site = Site::start().await;
    site.add_group("other").await;
    let demo = site.running.demo.as_ref().unwrap();
    let alice = agent_key("demo", "alice");
    site.add_agent("demo", "gone").await;
    let of_gone = mint(&site, &agent_key("demo", "gone"), |_| ());
    site.running.accounts.remove_agent(&agent_key("demo", "gone"), "it").await.unwrap();
    let now = wall().unix_seconds();
    let visitors = visitor_token::mint(
        &demo.api_key.0,
        &ApiKeySecret::given(demo.api_key.1.clone()),
        &id("alice"),
        now + 600,
    );
    let unauthorized = [
        ("no credential", String::new()),
        ("garbage", "garbage".to_owned()),
        ("an expired token", mint(&site, &alice, |claims| claims.exp = now - 1)),
        ("a revoked token", mint(&site, &alice, |claims| claims.generation += 1)),
        ("a removed agent's token", of_gone),
        ("an agent of no group", mint(&site, &alice, |claims| claims.group = group_id("nowhere"))),
        ("an agent of another group", mint(&site, &alice, |claims| claims.group = group_id("other"))),
        ("a visitor's token", visitors),
        ("the operator's key", demo.admin_key.clone()),
        ("a group's key", format!("{}.{}", demo.api_key.0, demo.api_key.1)),
    ];
    let mut answers = BTreeSet::new();
    let foreign = "https://crm.example";
    site.settings_of("other", |settings| settings.agent_origins = vec![foreign.to_owned()]).await;
    for kind in FromAgent::KINDS {
        let message = agents(kind, "C-1", NOBODY, NOBODY).1;
        for (what, token) in &unauthorized {
            let hello = json!({"type": "connect", "token": token});
            let answer = turned_away(&site, "/v1/agent", None, &[hello, message.clone()]).await;
            assert_eq!(answer.0, 4401, "{kind} with {what}");
            answers.insert(answer);
        }
        let hello = json!({"type": "connect", "token": mint(&site, &alice, |_| ())});
        let said = [hello, message];
        let (code, _) = turned_away(&site, "/v1/agent", Some(foreign), &said).await;
        assert_eq!(code, 4403, "{kind} of a foreign page");
    }
    assert_eq!(answers.len(), 1, "one answer for all: {answers:?}");
}

/// An agent past hello, with a token of its own.
async fn agent(site: &Site, group: &str, name: &str) -> AgentClient {
    let token = mint(site, &agent_key(group, name), |_| ());
    AgentClient::connect(site.open(name, "/v1/agent").await, &token).await
}

async fn refused_without_permission(agent: &mut AgentClient, session: &str) {
    for kind in FromAgent::KINDS {
        let (rule, message) = agents(kind, "C-1", session, NOBODY);
        let answer = agent.call(message).await;
        let code = match rule {
            Plain::May => {
                assert_ne!(answer["type"], "error", "{kind}: {answer}");
                continue;
            }
            Plain::Forbidden => "forbidden",
            Plain::NotFound => "not_found",
            Plain::WrongState => "wrong_state",
            Plain::Unauthorized => "unauthorized",
        };
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{kind}: {answer}");
    }
}

#[tokio::test]
async fn an_agent_without_permission_may_look_and_nothing_else() {
    let site = Site::start().await;
    site.add_agent("demo", "dave").await;
    let mut engagement = site.engage("C-1", json!({})).await;
    let session = engagement.session.as_str().unwrap().to_owned();
    let mut dave = agent(&site, "demo", "dave").await;
    let mut bob = agent(&site, "demo", "bob").await;
    refused_without_permission(&mut dave, &session).await;
    let opened =
        json!({"type": "openRecord", "record": {"object": "Case", "id": "1"}, "fields": {}, "parents": {}});
    let record = dave.ask(opened, "record").await;
    for button in ["show", "join", "view"] {
        assert_eq!(record["buttons"][button]["visible"], false, "{record}");
    }
    // What is taken from somebody who is connected is gone at once.
    site.settings(|settings| {
        settings.permission_set.user.remove(&agent_key("demo", "bob").agent);
    })
    .await;
    refused_without_permission(&mut bob, &session).await;
    for client in [&mut engagement.publisher.client, &mut engagement.viewer.client] {
        client.expect_nothing().await;
    }
    engagement.visitor.expect_nothing().await;
}

#[tokio::test]
async fn what_is_another_groups_is_what_does_not_exist() {
    let site = Site::start().await;
    site.add_group("other").await;
    let mut engagement = site.engage("C-1", json!({})).await;
    let session = engagement.session.as_str().unwrap().to_owned();
    let mut asked = site.visitor("C-2").await;
    let request = engagement.agent.join("C-2").await["requestId"].as_str().unwrap().to_owned();
    asked.expect("offer").await;
    asked.skip().await;
    // An answer without what it repeats of the question, and without the moment it was given.
    let plain = |answer: Value, visitor: &str| {
        let mut answer = answer;
        for seen in answer["visitors"].as_array_mut().into_iter().flatten() {
            for moment in ["since", "version"] {
                seen.as_object_mut().unwrap().remove(moment);
            }
        }
        if let Some(seen) = answer["visitor"].as_object_mut() {
            seen.retain(|name, _| name != "since" && name != "version");
        }
        // What an agent shows or waits for is its own session, each time another one.
        if answer["type"] == "ready" || answer["type"] == "waiting" {
            answer
                .as_object_mut()
                .unwrap()
                .retain(|name, _| name == "type" || name == "role" || name == "kind");
        }
        answer.to_string().replace(visitor, "V")
    };
    for kind in FromAgent::KINDS {
        let mut answers = Vec::new();
        // Each on a connection of its own, so that neither answer is of the second time.
        for (visitor, session, request) in
            [("C-1", session.as_str(), request.as_str()), ("C-0", NOBODY, NOBODY)]
        {
            let mut carol = agent(&site, "other", "carol").await;
            let answer = carol.call(agents(kind, visitor, session, request).1).await;
            answers.push(plain(answer, visitor));
        }
        assert_eq!(answers[0], answers[1], "{kind}");
    }
    for client in [&mut engagement.publisher.client, &mut engagement.viewer.client] {
        client.expect_nothing().await;
    }
    engagement.visitor.expect_nothing().await;
    asked.expect_nothing().await;
}

#[tokio::test]
async fn a_revoked_agent_is_closed_whatever_it_says() {
    let site = Site::start().await;
    let _visitor = site.visitor("C-1").await;
    let mut talkers = Vec::new();
    for kind in FromAgent::KINDS {
        talkers.push((kind, agent(&site, "demo", "alice").await));
    }
    site.running
        .accounts
        .revoke_tokens(&group_id("demo"), Some(&agent_key("demo", "alice").agent))
        .await
        .unwrap();
    for (kind, mut agent) in talkers {
        agent.expect_close(4401).await;
        agent.send(agents(kind, "C-1", NOBODY, NOBODY).1).await;
        assert_eq!(agent.hear().await, Heard::Closed(Some(4401)), "{kind}");
    }
}

#[tokio::test]
async fn a_participant_who_is_not_let_in_is_not_heard() {
    let site = Site::start().await;
    let mut engagement = site.engage("C-1", json!({})).await;
    // A ticket that was used, the token of before the last return, and a secret of the wrong session.
    engagement.agent.join("C-1").await;
    let ticket = engagement.agent.expect("ready").await["ticket"].clone();
    let first = site.attach("used", &json!({"ticket": ticket})).await;
    let old = first.token();
    let back = site.resume("used", &old).await;
    let mut wrong = back.token().as_str().unwrap().to_owned();
    let flipped = if wrong.ends_with('A') { "B" } else { "A" };
    wrong.replace_range(wrong.len() - 2..wrong.len() - 1, flipped);
    let agents_token = mint(&site, &agent_key("demo", "alice"), |_| ());
    let unauthorized = [
        ("garbage", json!({"type": "attach", "ticket": "garbage"})),
        ("an empty ticket", json!({"type": "attach", "ticket": ""})),
        ("a used ticket", json!({"type": "attach", "ticket": ticket})),
        ("a ticket as a token", json!({"type": "attach", "resumeToken": ticket})),
        ("an old token", json!({"type": "attach", "resumeToken": old})),
        ("a token as a ticket", json!({"type": "attach", "ticket": back.token()})),
        ("a token with another secret", json!({"type": "attach", "resumeToken": wrong})),
        ("an agent's token", json!({"type": "attach", "ticket": agents_token})),
    ];
    let nothing = json!({"type": "attach"});
    let mut answers = BTreeSet::new();
    for kind in FromParticipant::KINDS {
        let message = participants(kind).1;
        for (what, hello) in &unauthorized {
            let answer = turned_away(&site, "/v1/session", None, &[hello.clone(), message.clone()]).await;
            assert_eq!(answer.0, 4401, "{kind} with {what}");
            answers.insert(answer);
        }
        let answer = turned_away(&site, "/v1/session", None, &[nothing.clone(), message]).await;
        assert_eq!(answer.0, 4400, "{kind} with no credential");
    }
    assert_eq!(answers.len(), 1, "one answer for all: {answers:?}");
    assert!(!engagement.viewer.settled("chat").await.iter().any(|chat| chat["text"] == "hello"));
    engagement.publisher.send(json!({"type": "end"})).await;
    engagement.publisher.expect_close(4409).await;
    let over = json!({"type": "attach", "resumeToken": back.token()});
    for kind in FromParticipant::KINDS {
        let said = [over.clone(), participants(kind).1];
        let (code, _) = turned_away(&site, "/v1/session", None, &said).await;
        assert!(matches!(code, 4404 | 4409), "{kind} after the end: {code}");
    }
}

#[tokio::test]
async fn a_ticket_that_has_expired_opens_nothing() {
    let site = Site::with(|config| config.limits.ticket_life = Duration::ZERO).await;
    let (mut visitor, mut agent) = (site.visitor("C-1").await, site.agent("alice").await);
    agent.join("C-1").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    for ready in [visitor.expect("ready").await, agent.expect("ready").await] {
        let hello = json!({"type": "attach", "ticket": ready["ticket"]});
        for kind in FromParticipant::KINDS {
            let said = [hello.clone(), participants(kind).1];
            assert_eq!(turned_away(&site, "/v1/session", None, &said).await.0, 4401, "{kind}");
        }
    }
}

#[tokio::test]
async fn a_participant_says_only_what_its_role_allows() {
    let site = Site::start().await;
    for kind in FromParticipant::KINDS {
        let (by, message) = participants(kind);
        let wrong: &[(bool, &str)] = match by {
            By::Publisher => &[(false, "forbidden")],
            By::Viewer => &[(true, "forbidden")],
            By::Neither(code) => &[(true, code), (false, code)],
            By::Both => continue,
        };
        let name = format!("C-{kind}");
        let Engagement { mut publisher, mut viewer, .. } = site.engage(&name, json!({"control": true})).await;
        for (publishes, code) in wrong {
            let (sender, witness) =
                if *publishes { (&mut publisher, &mut viewer) } else { (&mut viewer, &mut publisher) };
            assert_eq!(sender.refused(message.clone()).await, *code, "{kind}");
            witness.expect_nothing().await;
        }
    }
}

#[tokio::test]
async fn no_socket_takes_the_messages_of_another() {
    let site = Site::start().await;
    let Engagement { visitor, agent, publisher, .. } = site.engage("C-1", json!({})).await;
    let (mut visitor, mut agent, mut publisher) = (visitor.client, agent.client, publisher.client);
    let all =
        [(FromVisitor::KINDS, "visitor"), (FromAgent::KINDS, "agent"), (FromParticipant::KINDS, "session")];
    let sample = |kind: &str, of: &str| match of {
        "visitor" => visitors(kind),
        "agent" => agents(kind, "C-1", NOBODY, NOBODY).1,
        _ => participants(kind).1,
    };
    for (kinds, of) in all {
        for kind in kinds {
            for (client, (own, place)) in [&mut visitor, &mut agent, &mut publisher].into_iter().zip(all) {
                if own.contains(kind) {
                    continue;
                }
                let code = client.refused(sample(kind, of)).await;
                // A visitor may say little in a second; nothing was acted on either way.
                assert!(
                    matches!(code.as_str(), "unknown_type" | "rate_limited"),
                    "{kind} at {place}: {code}"
                );
            }
        }
    }
}
