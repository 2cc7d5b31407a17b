//! Frames, words and input across nodes.

use std::sync::atomic::Ordering;

use super::over_each_post;
use super::world::World;
use crate::common::frames::{header, sequences};
use crate::common::{Picture, json};

over_each_post! {
    frames_arrive_byte_for_byte_wherever_the_publisher_is(3);
    frames_travel_only_while_somebody_elsewhere_watches(2);
    after_a_lost_frame_nothing_comes_but_a_key_frame(2);
    a_pause_shows_nothing_on_any_node(2);
    control_and_words_go_both_ways(2);
    who_comes_back_elsewhere_goes_on(3);
    viewers_of_all_nodes_are_counted(3);
    the_record_counts_frames_once(2);
}

async fn frames_arrive_byte_for_byte_wherever_the_publisher_is(world: World) {
    for publisher_at in [0, 1, 2] {
        let mut met = world.meet(0, 1, publisher_at, json!({})).await;
        let mut bob = world.bob(0).await;
        bob.join("C-1").await;
        let ticket = bob.expect("ready").await;
        let mut local = world.attach(0, "bob's viewer", &ticket).await;
        met.publisher.expect_change("joined", &local.id()).await;
        world.hearing(usize::from(publisher_at != 1) + usize::from(publisher_at != 0)).await;
        let mut picture = Picture::new();
        for client in [&mut met.viewer, &mut local] {
            client.ask(json!({"type": "keyFrameRequest"}), "ok").await;
        }
        met.publisher.expect("keyFrameRequest").await;
        let mut sent = vec![picture.key(5_000)];
        sent.extend((0..20).map(|n| picture.delta(500 + n)));
        for frame in &sent {
            met.publisher.send_frame(frame.clone()).await;
        }
        for client in [&mut met.viewer, &mut local] {
            assert_eq!(client.expect_frames(sent.len()).await, sent, "publisher at {publisher_at}");
        }
        met.publisher.send(json!({"type": "end"})).await;
        met.expect_end("guest_ended").await;
        met.visitor.ask(json!({"type": "leave"}), "ok").await;
    }
}

async fn frames_travel_only_while_somebody_elsewhere_watches(world: World) {
    let mut met = world.meet(0, 0, 0, json!({})).await;
    let mut picture = Picture::new();
    met.publisher.send_frame(picture.key(100)).await;
    met.viewer.expect_frame().await;
    assert_eq!(world.post.frames_sent(), 0);
    let mut bob = world.bob(1).await;
    bob.join("C-1").await;
    let ticket = bob.expect("ready").await;
    met.publisher.skip().await;
    let mut far = world.attach(1, "far", &ticket).await;
    world.hearing(1).await;
    met.publisher.expect("keyFrameRequest").await;
    let key = picture.key(100);
    met.publisher.send_frame(key.clone()).await;
    assert_eq!(far.expect_frame().await, key);
    assert_eq!(world.post.frames_sent(), 1);
    far.ask(json!({"type": "leave"}), "ok").await;
    far.expect_close(4409).await;
    met.publisher.expect_change("left", &far.id()).await;
    met.publisher.send_frame(picture.key(100)).await;
    met.viewer.expect_frames(2).await;
    assert_eq!(world.post.frames_sent(), 1);
}

async fn after_a_lost_frame_nothing_comes_but_a_key_frame(world: World) {
    let mut met = world.meet(0, 1, 0, json!({})).await;
    world.hearing(1).await;
    met.publisher.expect("keyFrameRequest").await;
    let mut picture = Picture::new();
    let first = [picture.key(100), picture.delta(100)];
    for frame in &first {
        met.publisher.send_frame(frame.clone()).await;
    }
    assert_eq!(met.viewer.expect_frames(2).await, first);
    world.post.frames.store(1, Ordering::Relaxed);
    for _ in 0..4 {
        met.publisher.send_frame(picture.delta(100)).await;
    }
    met.publisher.expect("keyFrameRequest").await;
    let next = [picture.key(100), picture.delta(100)];
    for frame in &next {
        met.publisher.send_frame(frame.clone()).await;
    }
    let frames = met.viewer.expect_frames(2).await;
    assert!(header(&frames[0]).is_key());
    assert_eq!(sequences(&frames), sequences(&next));
}

async fn a_pause_shows_nothing_on_any_node(world: World) {
    let mut met = world.meet(0, 1, 0, json!({})).await;
    world.hearing(1).await;
    met.publisher.expect("keyFrameRequest").await;
    let mut picture = Picture::new();
    met.publisher.send_frame(picture.key(100)).await;
    met.viewer.expect_frame().await;
    met.publisher.ask(json!({"type": "pause"}), "ok").await;
    assert_eq!(met.viewer.expect("paused").await["paused"], true);
    met.publisher.send_frame(picture.delta(100)).await;
    met.publisher.send_frame(picture.key(100)).await;
    met.publisher.ask(json!({"type": "resume"}), "ok").await;
    assert_eq!(met.viewer.expect("paused").await["paused"], false);
    world.hearing(1).await;
    met.publisher.send_frame(picture.delta(100)).await;
    let key = picture.key(100);
    met.publisher.send_frame(key.clone()).await;
    assert_eq!(met.viewer.expect_frame().await, key, "and nothing of the pause before it");
}

async fn control_and_words_go_both_ways(world: World) {
    // The publisher's socket is on the viewer's node, its home is the other.
    for publisher_at in [0, 1] {
        let mut met = world.meet(0, 1, publisher_at, json!({"control": true})).await;
        let me = met.viewer.id();
        met.viewer.ask(json!({"type": "requestControl"}), "ok").await;
        met.publisher.expect_where("control", |news| news["state"] == "requested").await;
        met.publisher.ask(json!({"type": "grantControl", "participantId": me}), "ok").await;
        met.viewer.expect_where("control", |news| news["state"] == "granted").await;
        let input = json!({"type": "input", "epoch": 1, "events": [{"t": "move", "x": 1, "y": 2}]});
        met.viewer.ask(input.clone(), "ok").await;
        assert_eq!(met.publisher.expect("input").await, input);
        met.publisher.ask(json!({"type": "revokeControl"}), "ok").await;
        assert_eq!(met.viewer.refused(input).await, "control_not_granted");
        assert_eq!(met.viewer.refused(json!({"type": "pause"})).await, "forbidden");
        assert_eq!(met.viewer.refused(json!({"type": "attach", "ticket": "x"})).await, "wrong_state");
        met.publisher.ask(json!({"type": "chat", "text": "hello"}), "ok").await;
        assert_eq!(met.viewer.expect("chat").await["text"], "hello");
        met.viewer.ask(json!({"type": "chat", "text": "hi"}), "ok").await;
        met.publisher.expect_where("chat", |chat| chat["text"] == "hi").await;
        met.viewer.ask(json!({"type": "end"}), "ok").await;
        met.expect_end("agent_ended").await;
        met.visitor.ask(json!({"type": "leave"}), "ok").await;
    }
}

async fn who_comes_back_elsewhere_goes_on(world: World) {
    let mut met = world.meet(0, 1, 0, json!({})).await;
    let (id, token) = (met.viewer.id(), met.viewer.token());
    met.viewer.vanish();
    met.publisher.expect_change("reconnecting", &id).await;
    let mut viewer = world.resume(2, "viewer", &token).await;
    assert_eq!(viewer.id(), id);
    met.publisher.expect_change("back", &id).await;
    let mut picture = Picture::new();
    let (id, token) = (met.publisher.id(), met.publisher.token());
    met.publisher.vanish();
    viewer.expect_change("reconnecting", &id).await;
    let mut publisher = world.resume(1, "publisher", &token).await;
    viewer.expect_change("back", &id).await;
    world.hearing(1).await;
    viewer.ask(json!({"type": "keyFrameRequest"}), "ok").await;
    publisher.expect("keyFrameRequest").await;
    let key = picture.key(1_000);
    publisher.send_frame(key.clone()).await;
    assert_eq!(viewer.expect_frame().await, key);
    let again = world.resume(0, "viewer again", &viewer.token()).await;
    viewer.expect_close(4408).await;
    assert_eq!(again.id(), viewer.id());
}

async fn viewers_of_all_nodes_are_counted(world: World) {
    for publisher_at in [0, 1] {
        let mut met = world.meet(0, 2, publisher_at, json!({})).await;
        let mut bob = world.bob(0).await;
        bob.join("C-1").await;
        let ticket = bob.expect("ready").await;
        let _local = world.attach(0, "bob's viewer", &ticket).await;
        met.publisher.expect_where("feedback", |told| told["viewers"] == 2 && told["lagging"] == 0).await;
        met.publisher.send(json!({"type": "end"})).await;
        met.expect_end("guest_ended").await;
        met.visitor.ask(json!({"type": "leave"}), "ok").await;
    }
}

async fn the_record_counts_frames_once(world: World) {
    let mut met = world.meet(0, 1, 1, json!({})).await;
    let mut bob = world.bob(0).await;
    bob.join("C-1").await;
    let ticket = bob.expect("ready").await;
    let mut local = world.attach(0, "bob's viewer", &ticket).await;
    world.hearing(1).await;
    local.ask(json!({"type": "keyFrameRequest"}), "ok").await;
    met.publisher.expect("keyFrameRequest").await;
    let mut picture = Picture::new();
    for frame in [picture.key(968), picture.delta(968), picture.delta(968)] {
        met.publisher.send_frame(frame).await;
    }
    for client in [&mut local, &mut met.viewer] {
        client.expect_frames(3).await;
    }
    let session = porchlight::ids::SessionId::parse(met.session.as_str().unwrap()).unwrap();
    let live = world.cluster.hub(0).sessions().routed(session).unwrap();
    met.publisher.send(json!({"type": "end"})).await;
    met.expect_end("guest_ended").await;
    let relayed = live.relay.relayed();
    assert_eq!((relayed.frames, relayed.bytes), (3, 3_000));
}
