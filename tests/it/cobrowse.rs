//! Cobrowse: what a Join shares, and that a session carries what was agreed to and nothing else.

use crate::common::site::Engagement;
use crate::common::{Picture, Site, json};
use porchlight::wire::visitor::SessionKind;

#[tokio::test]
async fn a_join_shares_the_page_where_the_server_can_and_the_company_wants_it() {
    for (built, set, asked, shared) in [
        (true, None, None, "cobrowse"),
        (true, None, Some("screen"), "screen"),
        (true, Some(SessionKind::Screen), None, "screen"),
        (true, Some(SessionKind::Screen), Some("cobrowse"), "cobrowse"),
        (true, Some(SessionKind::Cobrowse), None, "cobrowse"),
        (false, None, None, "screen"),
        (false, Some(SessionKind::Cobrowse), None, "screen"),
    ] {
        let site = if built { Site::with_cobrowse().await } else { Site::start().await };
        site.settings(|settings| settings.join_starts = set).await;
        let (mut visitor, mut agent) = (site.visitor("C-1").await, site.agent("alice").await);
        let mut join = json!({"type": "join", "visitorId": "C-1"});
        if let Some(kind) = asked {
            join["kind"] = json!(kind);
        }
        agent.ask(join, "request").await;
        let offer = visitor.expect("offer").await;
        let case = (built, set, asked);
        assert_eq!(offer["kind"], shared, "the visitor is asked for what is shared: {case:?}");
        visitor.accept(&offer).await;
        let (ready, ticket) = (visitor.expect("ready").await, agent.expect("ready").await);
        assert_eq!((&ready["kind"], &ticket["kind"]), (&json!(shared), &json!(shared)), "{case:?}");
    }
}

#[tokio::test]
async fn a_server_without_the_recorder_refuses_what_it_cannot_do() {
    let site = Site::start().await;
    let (_visitor, mut agent) = (site.visitor("C-1").await, site.agent("alice").await);
    let join = json!({"type": "join", "visitorId": "C-1", "kind": "cobrowse"});
    assert_eq!(agent.refused(join).await, "unsupported");
}

#[tokio::test]
async fn a_page_is_relayed_and_shown_to_who_comes_late_as_it_is_now() {
    let site = Site::with_cobrowse().await;
    let Engagement { mut publisher, mut viewer, visitor: _visitor, agent: _agent, .. } =
        site.engage("C-1", json!({})).await;
    assert_eq!((&publisher.hello["kind"], &viewer.hello["kind"]), (&json!("cobrowse"), &json!("cobrowse")));
    let mut page = Picture::of_page();
    let mut frames = vec![page.key(3_000_000)];
    frames.extend((0..200).map(|n| page.delta(100 + n)));
    for frame in &frames {
        publisher.send_frame(frame.clone()).await;
    }
    assert!(viewer.expect_frames(frames.len()).await == frames, "every change arrives, in order");
    let mut bob = site.agent("bob").await;
    let mut late = site.another_viewer("late", &mut bob, "C-1").await;
    assert!(late.expect_frames(frames.len()).await == frames, "the snapshot and all that changed since");
    // Nobody had to ask the page again.
    publisher.expect_change("joined", &late.id()).await;
    assert!(publisher.settled("keyFrameRequest").await.is_empty());
}

#[tokio::test]
async fn who_agreed_to_share_a_page_shares_no_screen_and_the_other_way_round() {
    for (kind, frames) in [("cobrowse", Picture::new()), ("screen", Picture::of_page())] {
        let site = Site::with_cobrowse().await;
        let Engagement { mut publisher, mut viewer, visitor: _visitor, agent: _agent, .. } =
            site.engage("C-1", json!({"kind": kind})).await;
        let mut frames = frames;
        publisher.send_frame(frames.key(100)).await;
        publisher.expect_close(4400).await;
        viewer.expect_change("reconnecting", &publisher.id()).await;
        viewer.expect_nothing().await;
    }
}

#[tokio::test]
async fn the_next_page_of_the_site_goes_on_without_being_asked_again() {
    let site = Site::with_cobrowse().await;
    let Engagement { publisher, mut viewer, mut visitor, agent: _agent, .. } =
        site.engage("C-1", json!({})).await;
    let (id, token) = (publisher.id(), publisher.token());
    publisher.vanish();
    viewer.expect_change("reconnecting", &id).await;
    let mut publisher = site.resume("the next page", &token).await;
    viewer.expect_change("back", &id).await;
    assert_eq!(publisher.hello["kind"], "cobrowse");
    let frame = Picture::of_page().key(500);
    publisher.send_frame(frame.clone()).await;
    assert_eq!(viewer.expect_frame().await, frame);
    visitor.expect_nothing().await;
}

#[tokio::test]
async fn the_visitor_makes_a_screen_of_its_page_and_a_page_again() {
    let site = Site::with_cobrowse().await;
    let Engagement { mut publisher, mut viewer, visitor: _visitor, agent: _agent, .. } =
        site.engage("C-1", json!({})).await;
    let (mut page, mut screen) = (Picture::of_page(), Picture::new());
    publisher.send_frame(page.key(500)).await;
    viewer.expect_frame().await;
    let shows = |kind: &str| json!({"type": "shows", "kind": kind});
    assert_eq!(viewer.refused(shows("screen")).await, "forbidden");
    assert_eq!(publisher.refused(shows("view")).await, "forbidden");
    publisher.ask(shows("screen"), "ok").await;
    assert_eq!(viewer.expect("shows").await, shows("screen"));
    let frame = screen.key(800);
    publisher.send_frame(frame.clone()).await;
    assert_eq!(viewer.expect_frame().await, frame);

    // Who comes now sees the screen, and is told that it is one.
    let mut bob = site.agent("bob").await;
    let mut late = site.another_viewer("late", &mut bob, "C-1").await;
    assert_eq!((&late.hello["kind"], &late.hello["shows"]), (&json!("cobrowse"), &json!("screen")));
    assert_eq!(late.expect_frame().await, frame);

    publisher.ask(shows("cobrowse"), "ok").await;
    let frame = page.key(600);
    publisher.send_frame(frame.clone()).await;
    assert_eq!(viewer.expect_frame().await, frame);
    assert_eq!(late.expect_frame().await, frame);
    // And from here on only that.
    publisher.send_frame(screen.key(100)).await;
    publisher.expect_close(4400).await;
}
