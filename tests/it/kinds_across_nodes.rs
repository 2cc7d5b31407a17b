//! Each kind of session with its guest and its agents on different nodes that share a Redis: what is shown, control
//! and its end, who comes back, and who takes over from a colleague.

use porchlight::limits;

use crate::common::redis::Redis;
use crate::common::{AgentClient, ParticipantClient, Picture, Site, Value, VisitorClient, json};
use crate::everywhere::sites;
use crate::guests::{enter, invite_of, show};
use crate::permissions::on_a_mac;
use crate::view::{answering, view};

/// A visitor of one node and an agent of another, and their sockets in the session, each on its own node.
pub struct Met {
    pub visitor: VisitorClient,
    pub agent: AgentClient,
    pub publisher: ParticipantClient,
    pub viewer: ParticipantClient,
    pub session: Value,
}

pub async fn meet([one, other]: [&Site; 2], mut join: Value) -> Met {
    let (mut visitor, mut agent) = (one.visitor("C-1").await, other.agent("alice").await);
    join["type"] = json!("join");
    join["visitorId"] = json!("C-1");
    let request = agent.ask(join, "request").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    let (ready, ticket) = (visitor.expect("ready").await, agent.expect("ready").await);
    assert_eq!((&request["joinIn"], &ticket["joinIn"]), (&json!("page"), &json!("page")));
    let mut publisher = one.attach("publisher", &ready).await;
    let viewer = other.attach("viewer", &ticket).await;
    agent.expect_request("active").await;
    publisher.expect_change("joined", &viewer.id()).await;
    visitor.skip().await;
    agent.skip().await;
    Met { visitor, agent, publisher, viewer, session: ready["sessionId"].clone() }
}

/// Every one of these sees the newest key frame. A node that just began to hear asks for one.
pub async fn all_see(
    publisher: &mut ParticipantClient,
    picture: &mut Picture,
    viewers: &mut [&mut ParticipantClient],
) {
    let mut sent = picture.key(700);
    publisher.send_frame(sent.clone()).await;
    for viewer in viewers {
        loop {
            tokio::select! {
                frame = viewer.expect_frame() => if frame == sent {
                    break;
                },
                _ = publisher.expect("keyFrameRequest") => {
                    sent = picture.key(700);
                    publisher.send_frame(sent.clone()).await;
                }
            }
        }
    }
}

/// Its line is cut, the others hear so, and it comes back on this node as the same.
async fn comes_back(
    gone: ParticipantClient,
    site: &Site,
    others: &mut [&mut ParticipantClient],
) -> ParticipantClient {
    let (id, token) = (gone.id(), gone.token());
    gone.vanish();
    for other in &mut *others {
        other.expect_change("reconnecting", &id).await;
    }
    let back = site.resume("back", &token).await;
    assert_eq!(back.id(), id);
    for other in others {
        other.expect_change("back", &id).await;
    }
    back
}

/// Everybody hears why, and is closed.
async fn all_hear_the_end(all: &mut [&mut ParticipantClient], reason: &str) {
    for one in all {
        assert_eq!(one.expect("ended").await["reason"], reason);
        one.expect_close(4409).await;
    }
}

#[tokio::test]
async fn guests_of_all_nodes_see_what_an_agent_shows_and_all_come_back_elsewhere() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let mut alice = one.agent("alice").await;
    let ready = show(&mut alice, json!({"title": "Demo"})).await;
    let mut host = one.attach("host", &ready).await;
    let by_key = json!({"sessionKey": ready["sessionKey"], "name": "Ann"});
    let by_link = json!({"invite": invite_of(&ready["link"]), "name": "Ben"});
    let mut ann = other.attach("ann", &enter(&other, &by_key).await).await;
    let mut ben = one.attach("ben", &enter(&one, &by_link).await).await;
    for guest in [&ann, &ben] {
        host.expect_change("joined", &guest.id()).await;
    }
    ann.expect_change("joined", &ben.id()).await;
    let mut picture = Picture::new();
    all_see(&mut host, &mut picture, &mut [&mut ann, &mut ben]).await;
    // Each on the node where it was not.
    let mut host = comes_back(host, &other, &mut [&mut ann, &mut ben]).await;
    let mut ann = comes_back(ann, &one, &mut [&mut host, &mut ben]).await;
    let mut ben = comes_back(ben, &other, &mut [&mut host, &mut ann]).await;
    all_see(&mut host, &mut picture, &mut [&mut ann, &mut ben]).await;
    host.ask(json!({"type": "end"}), "ok").await;
    all_hear_the_end(&mut [&mut host, &mut ann, &mut ben], "agent_ended").await;
    assert_eq!(alice.expect("sessionEnded").await["reason"], "agent_ended");
}

#[tokio::test]
async fn a_view_goes_on_on_other_nodes_and_is_ended_from_there() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let mut alice = one.agent("alice").await;
    let waiting = view(&mut alice, json!({})).await;
    let way = json!({"sessionKey": waiting["sessionKey"], "name": "Gina"});
    let asked = enter(&other, &way).await;
    let let_in = enter(&other, &answering(&way, &asked, true)).await;
    let guest = other.attach("gina", &let_in).await;
    let mut watching = one.attach("alice", &alice.expect("ready").await).await;
    let mut picture = Picture::new();
    let mut guest = comes_back(guest, &one, &mut [&mut watching]).await;
    let mut watching = comes_back(watching, &other, &mut [&mut guest]).await;
    all_see(&mut guest, &mut picture, &mut [&mut watching]).await;
    // A colleague of the other node takes over.
    let invite = json!({"type": "invite", "sessionId": waiting["sessionId"], "agentId": "bob"});
    let sent = alice.ask(invite, "invite").await;
    assert!(sent["link"].as_str().unwrap().ends_with(waiting["sessionId"].as_str().unwrap()), "{sent}");
    let mut bob = other.agent("bob").await;
    bob.ask(json!({"type": "join", "sessionId": waiting["sessionId"]}), "request").await;
    let mut colleague = other.attach("bob", &bob.expect("ready").await).await;
    guest.expect_change("joined", &colleague.id()).await;
    let alices = watching.id();
    watching.ask(json!({"type": "leave"}), "ok").await;
    for who in [&mut guest, &mut colleague] {
        who.expect_change("left", &alices).await;
    }
    all_see(&mut guest, &mut picture, &mut [&mut colleague]).await;
    bob.ask(json!({"type": "endSession", "sessionId": waiting["sessionId"]}), "ok").await;
    all_hear_the_end(&mut [&mut guest, &mut colleague], "agent_ended").await;
}

#[tokio::test]
async fn control_is_asked_given_used_and_taken_back_across_nodes() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let Met { mut publisher, mut viewer, visitor: _visitor, agent: _agent, .. } =
        meet([&one, &other], json!({"control": true})).await;
    let click = |epoch: u64| {
        let at = |kind: &str| json!({"t": kind, "x": 10, "y": 20, "button": 0});
        let events = [at("down"), at("up")];
        json!({"type": "input", "epoch": epoch, "events": events})
    };
    assert_eq!(viewer.refused(click(1)).await, "control_not_granted", "nobody gave it");
    let mut known = 0;
    for _ in 0..2 {
        viewer.ask(json!({"type": "requestControl"}), "ok").await;
        let asked = publisher.expect_where("control", |news| news["state"] == "requested").await;
        assert_eq!(asked["participantId"], viewer.id());
        publisher.ask(json!({"type": "grantControl", "participantId": viewer.id()}), "ok").await;
        let granted = viewer.expect_where("control", |news| news["state"] == "granted").await;
        let epoch = granted["epoch"].as_u64().unwrap();
        assert!(epoch > known, "a grant of its own");
        known = epoch;
        viewer.ask(click(epoch), "ok").await;
        assert_eq!(publisher.expect("input").await, click(epoch));
        // What was on its way when it was taken back does not arrive either.
        viewer.send(click(epoch)).await;
        publisher.ask(json!({"type": "revokeControl"}), "ok").await;
        publisher.skip().await;
        assert_eq!(viewer.refused(click(epoch)).await, "control_not_granted");
        assert_eq!(viewer.refused(click(epoch + 1)).await, "control_not_granted");
        viewer.ask(json!({"type": "chat", "text": "thanks"}), "ok").await;
        publisher.expect("chat").await;
        assert!(publisher.settled("input").await.is_empty(), "a click after control was taken back");
    }
    // Who comes back elsewhere has no control, and may ask again.
    let viewer_id = viewer.id();
    viewer.ask(json!({"type": "requestControl"}), "ok").await;
    publisher.expect_where("control", |news| news["state"] == "requested").await;
    publisher.ask(json!({"type": "grantControl", "participantId": viewer_id}), "ok").await;
    viewer.expect_where("control", |news| news["state"] == "granted").await;
    let mut viewer = comes_back(viewer, &one, &mut [&mut publisher]).await;
    assert_eq!(viewer.hello["control"]["state"], "off");
    assert_eq!(viewer.refused(click(known + 1)).await, "control_not_granted");
    assert!(publisher.settled("input").await.is_empty());
}

#[tokio::test]
async fn a_page_is_shared_across_nodes_also_with_who_comes_late_and_after_the_next_page() {
    let redis = Redis::start().await;
    let (one, other) = (Site::with_cobrowse_over(&redis).await, Site::with_cobrowse_over(&redis).await);
    let Met { mut visitor, mut publisher, mut viewer, session, .. } = meet([&one, &other], json!({})).await;
    assert_eq!((&publisher.hello["kind"], &viewer.hello["kind"]), (&json!("cobrowse"), &json!("cobrowse")));
    let mut page = Picture::of_page();
    all_see(&mut publisher, &mut page, &mut [&mut viewer]).await;
    let changes: Vec<_> = (0..20).map(|n| page.delta(100 + n)).collect();
    for change in &changes {
        publisher.send_frame(change.clone()).await;
    }
    assert!(viewer.expect_frames(changes.len()).await == changes, "every change arrives, in order");
    // A colleague of each node comes later, and sees the page as it is by then.
    for (site, name) in [(&one, "bob"), (&other, "bob")] {
        let mut agent = site.agent(name).await;
        agent.ask(json!({"type": "join", "sessionId": session}), "request").await;
        let mut late = site.attach("late", &agent.expect("ready").await).await;
        publisher.expect_change("joined", &late.id()).await;
        let frames = late.expect_frames(1 + changes.len()).await;
        assert!(frames[1..] == changes, "the snapshot and all that changed since");
        late.ask(json!({"type": "leave"}), "ok").await;
        publisher.expect_change("left", &late.id()).await;
    }
    // The next page of the site reaches the other node.
    viewer.skip().await;
    let mut publisher = comes_back(publisher, &other, &mut [&mut viewer]).await;
    assert_eq!(publisher.hello["kind"], "cobrowse");
    all_see(&mut publisher, &mut Picture::of_page(), &mut [&mut viewer]).await;
    visitor.expect_nothing().await;
}

#[tokio::test]
async fn what_a_guests_device_has_to_allow_is_seen_on_the_agents_node() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let mut alice = one.agent("alice").await;
    let waiting = view(&mut alice, json!({"control": true})).await;
    let way = on_a_mac(
        &waiting,
        json!({"install": "granted", "screen_recording": "prompt", "accessibility": "prompt"}),
    );
    let asked = enter(&other, &way).await;
    let steps = json!(["allow_screen_recording", "choose_later", "reenter", "terms"]);
    assert_eq!(asked["steps"], steps);
    let left = json!(["allow_screen_recording", "choose_later", "reenter", "allow"]);
    alice.expect_where("request", |push| push.get("steps") == Some(&left)).await;
    let let_in = enter(&other, &answering(&way, &asked, true)).await;
    let mut guest = other.attach("gina", &let_in).await;
    let mut watching = one.attach("alice", &alice.expect("ready").await).await;
    assert_eq!((&watching.hello["steps"], &guest.hello["steps"]), (&left, &left));
    guest.ask(json!({"type": "permission", "name": "screen_recording", "state": "granted"}), "ok").await;
    for who in [&mut guest, &mut watching] {
        assert_eq!(who.expect("steps").await["steps"], json!(["choose_later", "reenter", "allow"]));
    }
    // Its system quits it, and it comes in by the node where the agent is.
    guest.vanish();
    assert_eq!(watching.expect("steps").await["steps"], json!(["reenter", "allow"]));
    let again = on_a_mac(&waiting, json!({"screen_recording": "granted"}));
    let asked = enter(&one, &again).await;
    assert_eq!((&asked["steps"], &asked["sessionId"]), (&json!(["terms"]), &waiting["sessionId"]));
    let second = enter(&one, &answering(&again, &asked, true)).await;
    assert_eq!(second["participantId"], let_in["participantId"]);
    let mut guest = one.attach("gina again", &second).await;
    watching.expect_where("steps", |told| told["steps"] == json!([])).await;
    watching.expect_change("back", &let_in["participantId"]).await;
    watching.ask(json!({"type": "requestControl"}), "ok").await;
    let told = guest.expect_where("steps", |told| told["steps"] != json!([])).await;
    assert_eq!(told["steps"], json!(["allow_accessibility"]));
}

#[tokio::test]
async fn an_agent_hands_its_session_to_a_colleague_of_another_node() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let Met { mut visitor, mut agent, mut publisher, mut viewer, session } =
        meet([&one, &other], json!({})).await;
    let mut bob = one.agent("bob").await;
    let invite = |agent: &str| json!({"type": "invite", "sessionId": session, "agentId": agent});
    assert_eq!(bob.refused(invite("bob")).await, "not_found", "it is not his");
    assert_eq!(agent.refused(invite("nobody")).await, "not_found");
    let sent = agent.ask(invite("bob"), "invite").await;
    let page = format!("/s/{}", session.as_str().unwrap());
    assert!(sent["link"].as_str().unwrap().ends_with(&page), "{sent}");
    bob.ask(json!({"type": "join", "sessionId": session}), "request").await;
    let mut colleague = one.attach("bob's viewer", &bob.expect("ready").await).await;
    for who in [&mut publisher, &mut viewer] {
        who.expect_change("joined", &colleague.id()).await;
    }
    let leaves = viewer.id();
    viewer.ask(json!({"type": "leave"}), "ok").await;
    for who in [&mut publisher, &mut colleague] {
        who.expect_change("left", &leaves).await;
    }
    let mut picture = Picture::new();
    all_see(&mut publisher, &mut picture, &mut [&mut colleague]).await;
    let mut colleague = comes_back(colleague, &other, &mut [&mut publisher]).await;
    all_see(&mut publisher, &mut picture, &mut [&mut colleague]).await;
    visitor.expect_nothing().await;
    bob.ask(json!({"type": "endSession", "sessionId": session}), "ok").await;
    all_hear_the_end(&mut [&mut publisher, &mut colleague], "agent_ended").await;
}

#[tokio::test]
async fn a_page_becomes_a_screen_and_a_page_again_for_agents_of_all_nodes() {
    let redis = Redis::start().await;
    let (one, other) = (Site::with_cobrowse_over(&redis).await, Site::with_cobrowse_over(&redis).await);
    let Met { mut publisher, mut viewer, session, visitor: _visitor, agent: _agent } =
        meet([&one, &other], json!({"control": true})).await;
    let (mut page, mut screen) = (Picture::of_page(), Picture::new());
    all_see(&mut publisher, &mut page, &mut [&mut viewer]).await;
    let shows = |kind: &str| json!({"type": "shows", "kind": kind});
    assert_eq!(viewer.refused(shows("screen")).await, "forbidden");
    viewer.ask(json!({"type": "requestControl"}), "ok").await;
    publisher.expect_where("control", |news| news["state"] == "requested").await;
    publisher.ask(json!({"type": "grantControl", "participantId": viewer.id()}), "ok").await;
    let granted = viewer.expect_where("control", |news| news["state"] == "granted").await;

    publisher.ask(shows("screen"), "ok").await;
    assert_eq!(viewer.expect("shows").await, shows("screen"));
    let click = json!({"type": "input", "epoch": granted["epoch"], "events": [
        {"t": "down", "x": 10, "y": 20, "button": 0},
    ]});
    assert_eq!(viewer.refused(click).await, "control_not_granted", "it was given for the page");
    all_see(&mut publisher, &mut screen, &mut [&mut viewer]).await;
    // A colleague of each node comes now, and finds a screen; so does who comes back elsewhere.
    for site in [&one, &other] {
        let mut bob = site.agent("bob").await;
        bob.ask(json!({"type": "join", "sessionId": session}), "request").await;
        let mut late = site.attach("late", &bob.expect("ready").await).await;
        assert_eq!((&late.hello["kind"], &late.hello["shows"]), (&json!("cobrowse"), &json!("screen")));
        publisher.expect_change("joined", &late.id()).await;
        all_see(&mut publisher, &mut screen, &mut [&mut viewer, &mut late]).await;
        late.ask(json!({"type": "leave"}), "ok").await;
        publisher.expect_change("left", &late.id()).await;
    }
    let mut viewer = comes_back(viewer, &one, &mut [&mut publisher]).await;
    assert_eq!(viewer.hello["shows"], "screen");

    // The next page of the site is shown itself, from the node where the agents were.
    let mut publisher = comes_back(publisher, &other, &mut [&mut viewer]).await;
    assert_eq!(publisher.hello["shows"], "screen");
    publisher.ask(shows("cobrowse"), "ok").await;
    assert_eq!(viewer.expect("shows").await, shows("cobrowse"));
    all_see(&mut publisher, &mut page, &mut [&mut viewer]).await;
    publisher.ask(shows("screen"), "ok").await;
    assert_eq!(viewer.expect("shows").await, shows("screen"));
    all_see(&mut publisher, &mut screen, &mut [&mut viewer]).await;
}

#[tokio::test]
async fn what_was_not_agreed_to_is_refused_on_every_node() {
    let redis = Redis::start().await;
    let (one, other) = (Site::with_cobrowse_over(&redis).await, Site::with_cobrowse_over(&redis).await);
    for (kind, wrong) in [("cobrowse", Picture::new()), ("screen", Picture::of_page())] {
        let Met { publisher, mut viewer, visitor, agent, .. } =
            meet([&one, &other], json!({"kind": kind})).await;
        let (id, mut wrong) = (publisher.id(), wrong);
        let mut publisher = comes_back(publisher, &other, &mut [&mut viewer]).await;
        publisher.send_frame(wrong.key(100)).await;
        publisher.expect_close(4400).await;
        viewer.expect_change("reconnecting", &id).await;
        viewer.expect_nothing().await;
        if kind == "cobrowse" {
            let mut publisher = other.resume("back", &publisher.token()).await;
            viewer.expect_change("back", &id).await;
            // Said in one breath with the first frame of it.
            publisher.send(json!({"type": "shows", "kind": "screen"})).await;
            all_see(&mut publisher, &mut wrong, &mut [&mut viewer]).await;
            publisher.send_frame(Picture::of_page().key(100)).await;
            publisher.expect_close(4400).await;
        }
        viewer.ask(json!({"type": "end"}), "ok").await;
        drop((visitor, agent));
    }
}

/// The agent points until the guest is shown where: what comes too soon after the last place is left out.
async fn points(viewer: &mut ParticipantClient, publisher: &mut ParticipantClient, y: u16) {
    let mut pace = tokio::time::interval(limits::POINT_SPACING);
    let mut x = 0;
    let seen = loop {
        tokio::select! {
            seen = publisher.expect_where("point", |point| point["y"] == y) => break seen,
            _ = pace.tick() => {
                x += 1;
                viewer.send(json!({"type": "point", "x": x, "y": y})).await;
            }
        }
    };
    assert_eq!(seen["participantId"], viewer.id(), "{seen}");
    assert!((1..=x).any(|x| seen["x"] == x), "{seen}");
}

#[tokio::test]
async fn what_agents_of_other_nodes_point_at_is_shown_to_the_guest_alone() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let Met { mut publisher, mut viewer, session, visitor: _visitor, agent: _agent } =
        meet([&one, &other], json!({})).await;
    let mut bob = one.agent("bob").await;
    bob.ask(json!({"type": "join", "sessionId": session}), "request").await;
    let mut colleague = one.attach("bob's viewer", &bob.expect("ready").await).await;
    viewer.expect_change("joined", &colleague.id()).await;
    points(&mut viewer, &mut publisher, 1).await;
    points(&mut colleague, &mut publisher, 2).await;
    assert_eq!(publisher.refused(json!({"type": "point", "x": 1, "y": 1})).await, "forbidden");
    assert_eq!(viewer.refused(json!({"type": "point", "x": 65_536, "y": 1})).await, "bad_message");
    for who in [&mut viewer, &mut colleague] {
        assert!(who.settled("point").await.is_empty(), "it is shown to the guest alone");
    }
    // The guest comes back on the node of one, who comes back on that of the other.
    let mut publisher = comes_back(publisher, &other, &mut [&mut viewer, &mut colleague]).await;
    points(&mut viewer, &mut publisher, 3).await;
    points(&mut colleague, &mut publisher, 4).await;
    let mut viewer = comes_back(viewer, &one, &mut [&mut publisher, &mut colleague]).await;
    points(&mut viewer, &mut publisher, 5).await;
    // Nothing is shown of a picture that is paused.
    publisher.ask(json!({"type": "pause"}), "ok").await;
    viewer.expect_where("paused", |news| news["paused"] == true).await;
    viewer.ask(json!({"type": "point", "x": 1, "y": 6}), "ok").await;
    viewer.ask(json!({"type": "chat", "text": "there"}), "ok").await;
    publisher.expect("chat").await;
    assert!(publisher.settled("point").await.iter().all(|point| point["y"] != 6));
}
