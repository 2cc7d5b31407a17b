//! Sessions: who is in them, who may say what, and how they end.

use crate::common::site::{Engagement, group_id};
use crate::common::{Client, Picture, Site, Value, http, json};

#[tokio::test]
async fn a_ticket_opens_one_door_once() {
    let site = Site::start().await;
    let (mut visitor, mut agent) = (site.visitor("C-1").await, site.agent("alice").await);
    agent.join("C-1").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    let (ready, ticket) = (visitor.expect("ready").await, agent.expect("ready").await);
    let publisher = site.attach("publisher", &ready).await;
    let viewer = site.attach("viewer", &ticket).await;
    let mut forged = ticket["ticket"].as_str().unwrap().to_owned();
    forged.replace_range(40.., "AAA");
    let unauthorized = [
        json!({"ticket": ready["ticket"]}),
        json!({"ticket": ticket["ticket"]}),
        json!({"resumeToken": ticket["ticket"]}),
        json!({"ticket": publisher.token()}),
        json!({"ticket": forged}),
        json!({"resumeToken": forged}),
        json!({"ticket": "junk"}),
        json!({"ticket": ""}),
    ];
    for credential in unauthorized {
        site.attach_refused("thief", credential, 4401).await;
    }
    // The form of a token for a session that nobody knows, or no longer.
    for credential in [json!({"ticket": "A".repeat(43)}), json!({"resumeToken": "A".repeat(43)})] {
        site.attach_refused("stray", credential, 4404).await;
    }
    for credential in [json!({}), json!({"ticket": ticket["ticket"], "resumeToken": viewer.token()})] {
        site.attach_refused("undecided", credential, 4400).await;
    }
}

#[tokio::test]
async fn attached_tells_everything_one_needs() {
    let site = Site::start().await;
    let Engagement { publisher, viewer, session, .. } = site.engage("C-1", json!({"control": true})).await;
    for (client, role) in [(&publisher, "publisher"), (&viewer, "viewer")] {
        let hello = &client.hello;
        assert_eq!(
            (&hello["sessionId"], &hello["role"], &hello["kind"]),
            (&session, &json!(role), &json!("screen"))
        );
        assert_eq!(hello["control"], json!({"state": "off", "epoch": 0}));
        assert_eq!((&hello["paused"], &hello["live"]), (&json!(false), &json!([])));
        assert_eq!(hello["codecs"], json!(["avc1", "vp09", "vp8", "av01", "jpeg"]));
        assert_eq!(hello["heartbeat"], 60);
    }
    let participants = viewer.hello["participants"].as_array().unwrap();
    assert_eq!(participants.len(), 2);
    let guest = json!({"participantId": publisher.id(), "role": "publisher", "side": "guest", "name": "C-1", "state": "here"});
    assert!(participants.contains(&guest), "{participants:?}");
    let agent = json!({"participantId": viewer.id(), "role": "viewer", "side": "agent", "name": "Alice",
                       "agentId": "alice", "state": "here"});
    assert!(participants.contains(&agent), "{participants:?}");
}

#[tokio::test]
async fn who_loses_its_connection_comes_back_with_its_newest_token() {
    let site = Site::start().await;
    let Engagement { mut publisher, viewer, visitor: _visitor, agent: _agent, .. } =
        site.engage("C-1", json!({})).await;
    let (id, first) = (viewer.id(), viewer.token());
    viewer.vanish();
    assert_eq!(publisher.expect_change("reconnecting", &id).await["participant"]["state"], "reconnecting");
    let mut viewer = site.resume("viewer", &first).await;
    assert_eq!(publisher.expect_change("back", &id).await["participant"]["state"], "here");
    assert_eq!(viewer.id(), id, "the same participant");
    assert_ne!(viewer.token(), first);
    site.attach_refused("old token", json!({"resumeToken": first}), 4401).await;
    viewer.expect_nothing().await;

    let (id, token) = (publisher.id(), publisher.token());
    publisher.vanish();
    viewer.expect_change("reconnecting", &id).await;
    let mut publisher = site.resume("publisher", &token).await;
    viewer.expect_change("back", &id).await;
    let mut picture = Picture::new();
    let frame = picture.key(100);
    publisher.send_frame(frame.clone()).await;
    assert_eq!(viewer.expect_frame().await, frame);
}

#[tokio::test]
async fn a_token_used_elsewhere_replaces_the_old_connection() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, .. } = site.engage("C-1", json!({})).await;
    let token = viewer.token();
    let again = site.resume("viewer again", &token).await;
    viewer.expect_close(4408).await;
    assert_eq!(again.id(), viewer.id());
    publisher.expect_nothing().await;
    // The old connection's end does not hurt its successor.
    let frame = Picture::new().key(10);
    publisher.send_frame(frame.clone()).await;
    let mut again = again;
    assert_eq!(again.expect_frame().await, frame);
}

#[tokio::test]
async fn a_pause_shows_nothing_to_anybody() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, visitor: _visitor, agent: _agent, .. } =
        site.engage("C-1", json!({})).await;
    let mut picture = Picture::new();
    publisher.send_frame(picture.key(100)).await;
    viewer.expect_frame().await;
    assert_eq!(viewer.refused(json!({"type": "pause"})).await, "forbidden");
    assert_eq!(viewer.refused(json!({"type": "resume"})).await, "forbidden");
    publisher.ask(json!({"type": "pause"}), "ok").await;
    for client in [&mut publisher, &mut viewer] {
        assert_eq!(client.expect("paused").await["paused"], true);
    }
    publisher.ask(json!({"type": "pause"}), "ok").await;
    publisher.send_frame(picture.delta(100)).await;
    publisher.send_frame(picture.key(100)).await;
    publisher.skip().await;
    viewer.expect_nothing().await;

    let mut bob = site.agent("bob").await;
    let mut late = site.another_viewer("late", &mut bob, "C-1").await;
    assert_eq!((&late.hello["paused"], &late.hello["live"]), (&json!(true), &json!([])));
    late.expect_nothing().await;
    publisher.ask(json!({"type": "resume"}), "ok").await;
    assert_eq!(late.expect("paused").await["paused"], false);
    // What was shown before the pause does not come back; a delta of it neither.
    publisher.send_frame(picture.delta(100)).await;
    publisher.expect("keyFrameRequest").await;
    late.expect_nothing().await;
    let frame = picture.key(100);
    publisher.send_frame(frame.clone()).await;
    for client in [&mut late, &mut viewer] {
        assert_eq!(client.expect_frame().await, frame);
    }
}

#[tokio::test]
async fn an_agent_may_leave_and_the_session_goes_on() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, visitor: mut page, mut agent, .. } =
        site.engage("C-1", json!({})).await;
    viewer.ask(json!({"type": "leave"}), "ok").await;
    viewer.expect_close(4409).await;
    publisher.expect_change("left", &viewer.id()).await;
    publisher.expect_nothing().await;
    page.expect_nothing().await;
    site.attach_refused("gone", json!({"resumeToken": viewer.token()}), 4401).await;
    // It may come again by Join, and nobody is asked.
    site.another_viewer("viewer again", &mut agent, "C-1").await;
    page.expect_nothing().await;
}

#[tokio::test]
async fn an_agent_hands_its_session_to_a_colleague_and_leaves() {
    let site = Site::start().await;
    let mut engagement = site.engage("C-1", json!({})).await;
    let mut bob = site.agent("bob").await;
    let invite = |agent: &str| json!({"type": "invite", "sessionId": engagement.session, "agentId": agent});
    assert_eq!(bob.refused(invite("bob")).await, "not_found", "it is not his");
    assert_eq!(engagement.agent.refused(invite("nobody")).await, "not_found");
    let sent = engagement.agent.ask(invite("bob"), "invite").await;
    let page = format!("/s/{}", engagement.session.as_str().unwrap());
    assert!(sent["link"].as_str().unwrap().ends_with(&page), "{sent}");
    assert!(sent["expiresAt"].as_str().unwrap().ends_with('Z'));

    // The page behind the link does this.
    bob.ask(json!({"type": "join", "sessionId": engagement.session}), "request").await;
    let ready = bob.expect("ready").await;
    let mut viewer = site.attach("bob's viewer", &ready).await;
    engagement.publisher.expect_change("joined", &viewer.id()).await;
    engagement.viewer.expect_change("joined", &viewer.id()).await;
    engagement.viewer.ask(json!({"type": "leave"}), "ok").await;
    engagement.publisher.expect_change("left", &engagement.viewer.id()).await;
    viewer.expect_change("left", &engagement.viewer.id()).await;
    engagement.visitor.expect_nothing().await;
    bob.ask(json!({"type": "endSession", "sessionId": engagement.session}), "ok").await;
    assert_eq!(engagement.publisher.expect("ended").await["reason"], "agent_ended");
}

/// Everybody hears why, and is closed.
async fn expect_end(mut engagement: Engagement, reason: &str) -> Engagement {
    for client in [&mut engagement.publisher, &mut engagement.viewer] {
        assert_eq!(client.expect("ended").await["reason"], reason);
        client.expect_close(4409).await;
    }
    for client in [&mut engagement.visitor.client, &mut engagement.agent.client] {
        let ended = client.expect("sessionEnded").await;
        assert_eq!((&ended["sessionId"], &ended["reason"]), (&engagement.session, &json!(reason)));
    }
    engagement
}

#[tokio::test]
async fn a_session_ends_for_everybody_with_its_reason() {
    let site = Site::start().await;
    let end = |by_publisher: bool, message: Value, reason: &'static str| {
        let site = &site;
        async move {
            let mut engagement = site.engage("C-1", json!({})).await;
            let by = if by_publisher { &mut engagement.publisher } else { &mut engagement.viewer };
            by.send(message).await;
            expect_end(engagement, reason).await
        }
    };
    end(true, json!({"type": "end"}), "guest_ended").await;
    end(true, json!({"type": "end", "reason": "capture_denied"}), "capture_denied").await;
    end(true, json!({"type": "end", "reason": "anything else"}), "guest_ended").await;
    end(false, json!({"type": "end", "reason": "capture_denied"}), "agent_ended").await;

    let mut engagement = site.engage("C-1", json!({})).await;
    engagement.publisher.ask(json!({"type": "leave"}), "ok").await;
    engagement.publisher.expect_close(4409).await;
    assert_eq!(engagement.viewer.expect("ended").await["reason"], "guest_left");
    engagement.viewer.expect_close(4409).await;
    assert_eq!(engagement.agent.expect("sessionEnded").await["reason"], "guest_left");

    let mut engagement = site.engage("C-1", json!({})).await;
    let stranger = json!({"type": "endSession", "sessionId": engagement.session});
    let mut bob = site.agent("bob").await;
    assert_eq!(bob.refused(stranger.clone()).await, "not_found", "it is not his to end");
    engagement.agent.ask(stranger.clone(), "ok").await;
    let mut engagement = expect_end(engagement, "agent_ended").await;
    assert_eq!(engagement.agent.refused(stranger).await, "not_found", "ended stays ended");
    // Who was in it is told that it is over; a stranger's guess is not.
    site.attach_refused("was in", json!({"resumeToken": engagement.viewer.token()}), 4409).await;
    assert_eq!(engagement.agent.look("C-1").await.get("sessionId"), None);
}

#[tokio::test]
async fn a_ticket_does_not_outlive_its_session() {
    let site = Site::start().await;
    let Engagement { mut publisher, visitor: _visitor, mut agent, .. } = site.engage("C-1", json!({})).await;
    agent.join("C-1").await;
    let unused = agent.expect("ready").await;
    publisher.send(json!({"type": "end"})).await;
    publisher.expect_close(4409).await;
    let late = site.attach_refused("too late", json!({"ticket": unused["ticket"]}), 4409).await;
    assert_eq!(late, "guest_ended", "a good ticket learns what became of the session");
}

#[tokio::test]
async fn everybody_in_a_session_may_chat() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, mut visitor, mut agent, .. } =
        site.engage("C-1", json!({})).await;
    let id = publisher.id();
    publisher.ask(json!({"type": "chat", "text": "hello <b>"}), "ok").await;
    for client in [&mut publisher, &mut viewer] {
        let chat = json!({"type": "chat", "participantId": id, "text": "hello <b>"});
        assert_eq!(client.expect("chat").await, chat);
    }
    viewer.ask(json!({"type": "chat", "text": "ä".repeat(3_000)}), "ok").await;
    assert_eq!(publisher.expect("chat").await["text"], "ä".repeat(2_000), "cut at 4,000 bytes");
    assert_eq!(viewer.refused(json!({"type": "chat"})).await, "bad_message");
    visitor.expect_nothing().await;
    agent.expect_nothing().await;
}

fn control(state: &str, participant: &Value, epoch: u64) -> Value {
    json!({"type": "control", "state": state, "participantId": participant, "epoch": epoch})
}

fn input(epoch: u64) -> Value {
    json!({"type": "input", "epoch": epoch, "events": [
        {"t": "move", "x": 65535, "y": 0}, {"t": "down", "x": 1, "y": 2, "button": 0},
        {"t": "wheel", "dx": 0.5, "dy": -1.5}, {"t": "keydown", "key": "a", "code": "KeyA", "modifiers": 1},
        {"t": "text", "text": "ä"},
    ]})
}

#[tokio::test]
async fn control_is_asked_for_granted_and_taken_back() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, visitor: _visitor, agent: _agent, .. } =
        site.engage("C-1", json!({"control": true})).await;
    let mut bob = site.agent("bob").await;
    let mut other = site.another_viewer("bob", &mut bob, "C-1").await;
    publisher.skip().await;
    viewer.skip().await;
    let (me, him) = (viewer.id(), other.id());
    let (grant, reject) = (
        |to: &Value| json!({"type": "grantControl", "participantId": to}),
        |to: &Value| json!({"type": "rejectControl", "participantId": to}),
    );
    let request = json!({"type": "requestControl"});
    let revoke = json!({"type": "revokeControl"});

    // Nobody has it, and who does not publish gives none.
    assert_eq!(viewer.refused(input(0)).await, "control_not_granted");
    let metrics = http::get(site.running.ops, "/metrics").await.body;
    assert!(metrics.contains("porchlight_refusals_total{limit=\"control_grant\"} 1"), "{metrics}");
    assert_eq!(viewer.refused(grant(&me)).await, "forbidden");
    assert_eq!(viewer.refused(revoke.clone()).await, "forbidden");
    assert_eq!(viewer.refused(json!({"type": "releaseControl"})).await, "wrong_state");
    assert_eq!(publisher.refused(request.clone()).await, "forbidden");
    assert_eq!(publisher.refused(grant(&me)).await, "wrong_state", "nobody asked");
    assert_eq!(publisher.refused(revoke.clone()).await, "wrong_state");

    viewer.ask(request.clone(), "ok").await;
    for client in [&mut publisher, &mut viewer, &mut other] {
        assert_eq!(client.expect("control").await, control("requested", &me, 0));
    }
    assert_eq!(other.refused(request.clone()).await, "wrong_state", "another asked first");
    assert_eq!(viewer.refused(input(0)).await, "control_not_granted", "asking is not having");
    assert_eq!(publisher.refused(grant(&him)).await, "wrong_state");
    publisher.ask(reject(&me), "ok").await;
    for client in [&mut publisher, &mut viewer, &mut other] {
        assert_eq!(client.expect("control").await, control("rejected", &me, 0));
    }

    viewer.ask(request.clone(), "ok").await;
    publisher.ask(grant(&me), "ok").await;
    for client in [&mut publisher, &mut viewer, &mut other] {
        client.expect_where("control", |news| *news == control("granted", &me, 1)).await;
    }
    viewer.ask(input(1), "ok").await;
    assert_eq!(publisher.expect("input").await, input(1));
    assert_eq!(viewer.refused(input(0)).await, "control_not_granted", "an old grant's input is dead");
    assert_eq!(viewer.refused(input(2)).await, "control_not_granted");
    assert_eq!(other.refused(input(1)).await, "control_not_granted", "the grant is another's");
    assert_eq!(publisher.refused(input(1)).await, "control_not_granted");
    let mut flood = input(1);
    flood["events"] = json!(vec![json!({"t": "move", "x": 1, "y": 1}); 65]);
    assert_eq!(viewer.refused(flood).await, "too_many");
    assert_eq!(
        viewer.refused(json!({"type": "input", "epoch": 1, "events": [{"t": "dance"}]})).await,
        "bad_message"
    );
    let outside = json!({"type": "input", "epoch": 1, "events": [{"t": "move", "x": 65536, "y": 0}]});
    assert_eq!(viewer.refused(outside).await, "bad_message");

    publisher.ask(revoke, "ok").await;
    viewer.expect_where("control", |news| *news == control("revoked", &me, 2)).await;
    assert_eq!(viewer.refused(input(1)).await, "control_not_granted");
    assert_eq!(viewer.refused(input(2)).await, "control_not_granted");

    // Another agent's turn, who gives it back.
    other.ask(request, "ok").await;
    publisher.ask(grant(&him), "ok").await;
    other.expect_where("control", |news| *news == control("granted", &him, 3)).await;
    other.ask(json!({"type": "releaseControl"}), "ok").await;
    let off = json!({"type": "control", "state": "off", "epoch": 4});
    viewer.expect_where("control", |news| *news == off).await;
    assert!(publisher.settled("input").await.is_empty(), "one input was granted, and one came");
}

#[tokio::test]
async fn a_grant_survives_neither_a_loss_nor_a_pause() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, visitor: _visitor, agent: _agent, .. } =
        site.engage("C-1", json!({"control": true})).await;
    let grant = |to: Value| json!({"type": "grantControl", "participantId": to});
    viewer.ask(json!({"type": "requestControl"}), "ok").await;
    publisher.ask(grant(viewer.id()), "ok").await;
    publisher.ask(json!({"type": "pause"}), "ok").await;
    viewer.expect_where("control", |news| news["state"] == "off").await;
    assert_eq!(viewer.refused(input(1)).await, "control_not_granted");
    publisher.ask(json!({"type": "resume"}), "ok").await;

    viewer.ask(json!({"type": "requestControl"}), "ok").await;
    publisher.ask(grant(viewer.id()), "ok").await;
    publisher.expect_where("control", |news| news["epoch"] == 3).await;
    let token = viewer.token();
    viewer.vanish();
    publisher.expect_where("control", |news| news["state"] == "off" && news["epoch"] == 4).await;
    let mut viewer = site.resume("viewer", &token).await;
    assert_eq!(viewer.hello["control"]["state"], "off");
    assert_eq!(viewer.refused(input(3)).await, "control_not_granted");
}

#[tokio::test]
async fn a_view_only_session_forwards_no_input_and_takes_no_question() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, .. } = site.engage("C-1", json!({"control": false})).await;
    assert_eq!(viewer.refused(json!({"type": "requestControl"})).await, "forbidden");
    assert_eq!(viewer.refused(input(0)).await, "control_not_granted");
    let grant = json!({"type": "grantControl", "participantId": viewer.id()});
    assert_eq!(publisher.refused(grant).await, "forbidden");
    publisher.expect_nothing().await;
}

#[tokio::test]
async fn roles_and_states_are_checked_for_each_message() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, .. } = site.engage("C-1", json!({})).await;
    assert_eq!(publisher.refused(json!({"type": "keyFrameRequest"})).await, "forbidden");
    assert_eq!(publisher.refused(json!({"type": "ack", "seq": 1})).await, "forbidden");
    for client in [&mut publisher, &mut viewer] {
        let attach = json!({"type": "attach", "ticket": "x"});
        assert_eq!(client.refused(attach).await, "wrong_state");
        client.expect_nothing().await;
    }
    viewer.ask(json!({"type": "ack", "stream": 0, "seq": 1}), "ok").await;
    viewer.ask(json!({"type": "keyFrameRequest"}), "ok").await;
    assert_eq!(publisher.expect("keyFrameRequest").await["stream"], 0);
}

#[tokio::test]
async fn the_publisher_hears_what_every_viewer_decodes() {
    let site = Site::start().await;
    let Engagement { mut publisher, viewer: _viewer, visitor: _visitor, agent: _agent, .. } =
        site.engage("C-1", json!({})).await;
    let mut bob = site.agent("bob").await;
    bob.join("C-1").await;
    let ready = bob.expect("ready").await;
    let mut client: Client = site.open("picky", "/v1/session").await;
    let attach =
        json!({"type": "attach", "ticket": ready["ticket"], "decodes": ["jpeg", "vp8", "of tomorrow"]});
    client.send(attach).await;
    assert_eq!(client.expect("attached").await["codecs"], json!(["vp8", "jpeg"]));
    assert_eq!(publisher.expect("codecs").await["codecs"], json!(["vp8", "jpeg"]));
    client.send(json!({"type": "leave"})).await;
    client.expect_close(4409).await;
    let all = json!(["avc1", "vp09", "vp8", "av01", "jpeg"]);
    assert_eq!(publisher.expect("codecs").await["codecs"], all);
}

#[tokio::test]
async fn another_groups_session_does_not_exist() {
    let site = Site::start().await;
    site.add_group("other").await;
    let engagement = site.engage("C-1", json!({})).await;
    let mut carol = site.agent_of("other", "carol").await;
    let nobody = "00000000-0000-0000-0000-000000000000";
    for kind in ["endSession", "join"] {
        let mut answers = Vec::new();
        for session in [&engagement.session, &json!(nobody)] {
            answers.push(carol.call(json!({"type": kind, "sessionId": session})).await);
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0]["code"], "not_found");
    }
    assert!(site.running.accounts.group(&group_id("other")).is_some());
}
