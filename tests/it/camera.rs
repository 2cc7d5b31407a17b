//! An agent's camera: shown to everybody else in the session, by who holds the permission, and in nobody's way.

use bytes::Bytes;
use porchlight::ids::AgentId;
use porchlight::limits;
use porchlight::wire::frame::FrameType;

use crate::common::redis::Redis;
use crate::common::site::Engagement;
use crate::common::{Heard, ParticipantClient, Picture, Site, json};
use crate::everywhere::sites;
use crate::guests::{enter, invite_of, show};
use crate::kinds_across_nodes::{all_see, meet};

/// It shows its camera, and everybody is told before the first frame.
pub async fn starts(agent: &mut ParticipantClient, others: &mut [&mut ParticipantClient]) {
    agent.ask(json!({"type": "startCamera"}), "ok").await;
    let told = json!({"type": "camera", "participantId": agent.id()});
    assert_eq!(agent.expect("camera").await, told);
    for other in others {
        assert_eq!(other.expect("camera").await, told);
    }
}

/// Everybody is told that nobody shows a camera any more.
async fn all_hear_its_end(all: &mut [&mut ParticipantClient]) {
    for one in all {
        assert_eq!(one.expect("camera").await, json!({"type": "camera"}));
    }
}

fn frames(heard: &[Heard]) -> Vec<&Bytes> {
    heard
        .iter()
        .filter_map(|heard| if let Heard::Frame(frame) = heard { Some(frame) } else { None })
        .collect()
}

#[tokio::test]
async fn guest_and_colleagues_see_an_agents_camera_beside_the_screen_and_who_comes_late_sees_both() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, visitor: _visitor, agent: _agent, .. } =
        site.engage("C-1", json!({})).await;
    assert_eq!(viewer.hello["agentVideo"], json!({"allowed": true, "starts": false}));
    assert_eq!((publisher.hello.get("agentVideo"), viewer.hello.get("camera")), (None, None));
    let mut bob = site.agent("bob").await;
    let mut colleague = site.another_viewer("bob", &mut bob, "C-1").await;
    let (mut screen, mut camera) = (Picture::new(), Picture::of_stream(1));
    starts(&mut viewer, &mut [&mut publisher, &mut colleague]).await;
    let (key, delta) = (camera.key(5_000), camera.delta(300));
    for frame in [&key, &delta] {
        viewer.send_frame(frame.clone()).await;
        assert_eq!(publisher.expect_frame().await, frame);
        assert_eq!(colleague.expect_frame().await, frame);
    }
    let news = viewer.expect_where("feedback", |news| news["stream"] == 1).await;
    assert_eq!((&news["lagging"], &news["viewers"]), (&json!(0), &json!(2)), "all but itself");
    let shown = screen.key(7_000);
    publisher.send_frame(shown.clone()).await;
    assert_eq!(colleague.expect_frame().await, shown);
    assert_eq!(viewer.expect_frame().await, shown, "of the camera nothing comes back to who shows it");
    let mut late = site.another_viewer("late", &mut bob, "C-1").await;
    assert_eq!(late.hello["camera"], viewer.id());
    assert_eq!(late.hello["live"], json!([{"stream": 0, "seq": 0}, {"stream": 1, "seq": 1}]));
    assert_eq!(late.expect_frames(3).await, [shown, key, delta]);
    // A guest that comes back sees it too, and may ask for it.
    let token = publisher.token();
    publisher.vanish();
    let mut publisher = site.resume("back", &token).await;
    assert_eq!(publisher.hello["camera"], viewer.id());
    assert_eq!(publisher.expect_frames(2).await.len(), 2);
    viewer.skip().await;
    publisher.ask(json!({"type": "keyFrameRequest", "stream": 1}), "ok").await;
    assert_eq!(viewer.expect("keyFrameRequest").await["stream"], 1);
    publisher.ask(json!({"type": "ack", "stream": 1, "seq": 1}), "ok").await;
    assert_eq!(publisher.refused(json!({"type": "keyFrameRequest"})).await, "forbidden", "its own screen");
    viewer.ask(json!({"type": "stopCamera"}), "ok").await;
    all_hear_its_end(&mut [&mut viewer, &mut publisher, &mut late]).await;
    // What was on its way reaches nobody and does no harm.
    viewer.send_frame(camera.key(500)).await;
    viewer.skip().await;
    assert!(frames(&publisher.settle().await).is_empty());
    let later = site.another_viewer("later", &mut bob, "C-1").await;
    assert_eq!((later.hello.get("camera"), &later.hello["live"]), (None, &json!([{"stream": 0, "seq": 0}])));
}

#[tokio::test]
async fn without_the_permission_nothing_is_shown_and_a_forged_frame_closes_its_sender_alone() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, visitor: _visitor, agent: _agent, .. } =
        site.engage("C-1", json!({})).await;
    let mut bob = site.agent("bob").await;
    let mut colleague = site.another_viewer("bob", &mut bob, "C-1").await;
    let told = &colleague.hello["agentVideo"];
    assert_eq!((&told["allowed"], &told["reason"]), (&json!(false), &json!("no_agent_video")));
    assert_eq!(colleague.refused(json!({"type": "startCamera"})).await, "forbidden");
    assert_eq!(publisher.refused(json!({"type": "startCamera"})).await, "forbidden", "no agent");
    colleague.ask(json!({"type": "stopCamera"}), "ok").await;
    colleague.send_frame(Picture::of_stream(1).key(300)).await;
    colleague.expect_close(4403).await;
    for other in [&mut publisher, &mut viewer] {
        other.expect_change("reconnecting", &colleague.id()).await;
        assert!(frames(&other.settle().await).is_empty());
    }
    // Who may show it has to say so first.
    viewer.send_frame(Picture::of_stream(1).key(300)).await;
    viewer.expect_close(4403).await;
    assert!(frames(&publisher.settle().await).is_empty());
    publisher.send_frame(Picture::of_stream(1).key(300)).await;
    publisher.expect_close(4403).await;
    assert_eq!(site.metric("porchlight_refusals_total{limit=\"camera\"}").await, 3.0);
}

#[tokio::test]
async fn one_agent_at_a_time_shows_a_camera() {
    let site = Site::start().await;
    let bob_may = |may: bool| {
        site.settings(move |settings| {
            let bob = AgentId::new("bob").unwrap();
            let list = &mut settings.permission_set.agent_video;
            if may {
                list.insert(bob)
            } else {
                list.remove(&bob)
            };
        })
    };
    bob_may(true).await;
    let Engagement { mut publisher, mut viewer, visitor: _visitor, agent: _agent, .. } =
        site.engage("C-1", json!({})).await;
    let mut bob = site.agent("bob").await;
    let mut colleague = site.another_viewer("bob", &mut bob, "C-1").await;
    starts(&mut viewer, &mut [&mut publisher, &mut colleague]).await;
    assert_eq!(colleague.refused(json!({"type": "startCamera"})).await, "wrong_state");
    colleague.ask(json!({"type": "stopCamera"}), "ok").await;
    colleague.expect_nothing().await;
    // Its connection is lost, and another may.
    viewer.vanish();
    all_hear_its_end(&mut [&mut publisher, &mut colleague]).await;
    starts(&mut colleague, &mut [&mut publisher]).await;
    let mut camera = Picture::of_stream(1);
    let key = camera.key(900);
    colleague.send_frame(key.clone()).await;
    assert_eq!(publisher.expect_frame().await, key);
    // Until the settings say that it may no longer.
    bob_may(false).await;
    all_hear_its_end(&mut [&mut publisher, &mut colleague]).await;
    colleague.send_frame(camera.key(900)).await;
    colleague.skip().await;
    assert!(frames(&publisher.settle().await).is_empty());
    assert_eq!(colleague.refused(json!({"type": "startCamera"})).await, "forbidden");
}

#[tokio::test]
async fn a_profile_starts_the_camera_where_the_agent_may() {
    let site = Site::start().await;
    site.settings(|settings| settings.profiles[0].start_agent_video = true).await;
    let Engagement { viewer, visitor: _visitor, agent: _agent, publisher: _publisher, .. } =
        site.engage("C-1", json!({})).await;
    assert_eq!(viewer.hello["agentVideo"], json!({"allowed": true, "starts": true}));
    let mut bob = site.agent("bob").await;
    let colleague = site.another_viewer("bob", &mut bob, "C-1").await;
    assert_eq!(colleague.hello["agentVideo"]["starts"], false);
}

#[tokio::test]
async fn a_pause_hides_the_camera_and_what_comes_after_starts_with_a_key_frame() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, visitor: _visitor, agent: _agent, .. } =
        site.engage("C-1", json!({})).await;
    starts(&mut viewer, &mut [&mut publisher]).await;
    let mut camera = Picture::of_stream(1);
    viewer.send_frame(camera.key(900)).await;
    publisher.expect_frame().await;
    publisher.ask(json!({"type": "pause"}), "ok").await;
    viewer.send_frame(camera.delta(90)).await;
    viewer.skip().await;
    assert!(frames(&publisher.settle().await).is_empty());
    publisher.ask(json!({"type": "resume"}), "ok").await;
    viewer.send_frame(camera.delta(90)).await;
    assert_eq!(viewer.expect("keyFrameRequest").await["stream"], 1);
    assert!(frames(&publisher.settle().await).is_empty());
    let key = camera.key(900);
    viewer.send_frame(key.clone()).await;
    assert_eq!(publisher.expect_frame().await, key);
    publisher.ask(json!({"type": "end"}), "ok").await;
    viewer.expect("ended").await;
    viewer.expect_close(4409).await;
}

#[tokio::test]
async fn a_cameras_frames_are_small_pictures() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, visitor: _visitor, mut agent, .. } =
        site.engage("C-1", json!({})).await;
    starts(&mut viewer, &mut [&mut publisher]).await;
    let largest = Picture::of_stream(1).key(limits::CAMERA_FRAME - 32);
    viewer.send_frame(largest.clone()).await;
    assert!(publisher.expect_frame().await == largest);
    viewer.send_frame(Picture::of_stream(1).key(limits::CAMERA_FRAME - 31)).await;
    viewer.expect_close(4400).await;
    all_hear_its_end(&mut [&mut publisher]).await;
    let mut again = site.another_viewer("again", &mut agent, "C-1").await;
    starts(&mut again, &mut [&mut publisher]).await;
    again.send_frame(Picture { kind: FrameType::Dom, ..Picture::of_stream(1) }.key(10)).await;
    again.expect_close(4400).await;
    all_hear_its_end(&mut [&mut publisher]).await;
}

#[tokio::test]
async fn guests_of_a_show_see_the_camera_of_who_shows() {
    let site = Site::start().await;
    let mut alice = site.agent("alice").await;
    let ready = show(&mut alice, json!({})).await;
    let mut host = site.attach("host", &ready).await;
    let by_link = json!({"invite": invite_of(&ready["link"]), "name": "Ann"});
    let mut ann = site.attach("ann", &enter(&site, &by_link).await).await;
    starts(&mut host, &mut [&mut ann]).await;
    let (screen, camera) = (Picture::new().key(900), Picture::of_stream(1).key(400));
    for frame in [&screen, &camera] {
        host.send_frame(frame.clone()).await;
        assert_eq!(ann.expect_frame().await, frame);
    }
    assert_eq!(ann.refused(json!({"type": "startCamera"})).await, "forbidden");
    assert!(frames(&host.settle().await).is_empty());
    ann.send_frame(Picture::of_stream(1).key(400)).await;
    ann.expect_close(4403).await;
}

#[tokio::test]
async fn a_camera_is_seen_on_other_nodes_and_ends_there_too() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let mut met = meet([&one, &other], json!({})).await;
    let (mut screen, mut camera) = (Picture::new(), Picture::of_stream(1));
    all_see(&mut met.publisher, &mut screen, &mut [&mut met.viewer]).await;
    starts(&mut met.viewer, &mut [&mut met.publisher]).await;
    all_see(&mut met.viewer, &mut camera, &mut [&mut met.publisher]).await;
    // A colleague of each node comes late, and sees both.
    for site in [&one, &other] {
        let mut bob = site.agent("bob").await;
        bob.ask(json!({"type": "join", "sessionId": met.session}), "request").await;
        let mut late = site.attach("late", &bob.expect("ready").await).await;
        assert_eq!(late.hello["camera"], met.viewer.id());
        assert_eq!(late.hello["agentVideo"]["allowed"], false);
        all_see(&mut met.viewer, &mut camera, &mut [&mut late, &mut met.publisher]).await;
        all_see(&mut met.publisher, &mut screen, &mut [&mut late, &mut met.viewer]).await;
        assert_eq!(late.refused(json!({"type": "startCamera"})).await, "forbidden");
        late.send_frame(Picture::of_stream(1).key(10)).await;
        late.expect_close(4403).await;
    }
    // The guest comes back where the agent is, and the camera goes on.
    let token = met.publisher.token();
    met.publisher.vanish();
    let mut guest = other.resume("guest", &token).await;
    assert_eq!(guest.hello["camera"], met.viewer.id());
    all_see(&mut met.viewer, &mut camera, &mut [&mut guest]).await;
    met.viewer.ask(json!({"type": "stopCamera"}), "ok").await;
    all_hear_its_end(&mut [&mut met.viewer, &mut guest]).await;
    guest.skip().await;
    met.viewer.send_frame(camera.key(500)).await;
    met.viewer.skip().await;
    assert!(frames(&guest.settle().await).is_empty());
    // Its node takes the right away although the agent is on the other.
    starts(&mut met.viewer, &mut [&mut guest]).await;
    all_see(&mut met.viewer, &mut camera, &mut [&mut guest]).await;
    one.settings(|settings| settings.permission_set.agent_video.clear()).await;
    all_hear_its_end(&mut [&mut met.viewer, &mut guest]).await;
    assert_eq!(met.viewer.refused(json!({"type": "startCamera"})).await, "forbidden");
}
