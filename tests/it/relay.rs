//! The relay: frames unchanged, a picture at once, and nobody slowed down by anybody.

use std::time::Duration;

use bytes::Bytes;
use porchlight::limits;
use porchlight::wire::frame::flag;
use socket2::SockRef;
use tokio::net::TcpSocket;

use crate::common::client::{Client, request};
use crate::common::frames::{header, sequences};
use crate::common::site::Engagement;
use crate::common::{AgentClient, Heard, ParticipantClient, Picture, Site, json};

#[tokio::test]
async fn frames_arrive_unchanged_and_in_order() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, visitor: _visitor, agent: _agent, .. } =
        site.engage("C-1", json!({})).await;
    let mut bob = site.agent("bob").await;
    let mut other = site.another_viewer("bob", &mut bob, "C-1").await;
    viewer.expect_change("joined", &other.id()).await;
    let (mut screen, mut more) = (Picture::new(), Picture::of_stream(2));
    // The last is the largest there may be.
    let frames = [
        screen.key(0),
        screen.delta(1),
        more.key(70_000),
        screen.layer(125),
        screen.delta(65_536),
        screen.key(limits::FRAME - 32),
    ];
    for frame in frames {
        publisher.send_frame(frame.clone()).await;
        for client in [&mut viewer, &mut other] {
            assert!(client.expect_frame().await == frame, "{:?}", header(&frame));
        }
    }
    // And many at once.
    let burst: Vec<Bytes> = (0..50).map(|n| screen.delta(n * 10)).collect();
    for frame in &burst {
        publisher.send_frame(frame.clone()).await;
    }
    for client in [&mut viewer, &mut other] {
        assert!(client.expect_frames(burst.len()).await == burst);
        client.expect_nothing().await;
    }
}

#[tokio::test]
async fn a_session_has_at_most_four_streams() {
    let site = Site::start().await;
    let Engagement { mut publisher, viewer: _viewer, visitor: _visitor, agent: _agent, .. } =
        site.engage("C-1", json!({})).await;
    for stream in 0..4 {
        publisher.send_frame(Picture::of_stream(stream * 7).key(10)).await;
    }
    publisher.expect_nothing().await;
    publisher.send_frame(Picture::of_stream(99).key(10)).await;
    publisher.expect_close(4400).await;
}

#[tokio::test]
async fn a_viewers_frame_is_refused() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, .. } = site.engage("C-1", json!({})).await;
    viewer.send_frame(Picture::new().key(10)).await;
    viewer.expect_close(4403).await;
    publisher.expect_change("reconnecting", &viewer.id()).await;
    publisher.expect_nothing().await;
}

#[tokio::test]
async fn an_oversize_frame_is_refused_and_reaches_nobody() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, .. } = site.engage("C-1", json!({})).await;
    publisher.send_frame(Picture::new().key(limits::FRAME - 31)).await;
    publisher.expect_close(4400).await;
    viewer.expect_change("reconnecting", &publisher.id()).await;
    viewer.expect_nothing().await;
}

#[tokio::test]
async fn a_late_joiner_sees_the_picture_at_once() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, visitor: _visitor, agent: _agent, .. } =
        site.engage("C-1", json!({})).await;
    let mut picture = Picture::new();
    let old = [picture.key(500), picture.delta(100)];
    let new = [picture.key(500), picture.delta(100), picture.delta(100), picture.delta(100)];
    for frame in old.iter().chain(&new) {
        publisher.send_frame(frame.clone()).await;
        assert_eq!(viewer.expect_frame().await, frame);
    }
    publisher.skip().await;
    let mut bob = site.agent("bob").await;
    let mut late = site.another_viewer("late", &mut bob, "C-1").await;
    assert_eq!(late.hello["live"], json!([{"stream": 0, "seq": 5}]));
    assert_eq!(late.expect_frames(4).await, new, "the last key frame and what follows, nothing before");
    late.expect_nothing().await;
    let asked = publisher.settled("keyFrameRequest").await;
    assert!(asked.is_empty(), "the cache was enough: {asked:?}");
    let next = picture.delta(10);
    publisher.send_frame(next.clone()).await;
    assert_eq!(late.expect_frame().await, next);
}

#[tokio::test]
async fn key_frame_requests_are_coalesced() {
    const JOINERS: usize = 10;
    let site = Site::start().await;
    let Engagement { mut publisher, visitor: _visitor, mut agent, .. } = site.engage("C-1", json!({})).await;
    // Nothing was shown yet, so that each joiner needs a key frame. Each agent has one ticket at a time.
    let begun = std::time::Instant::now();
    let mut joiners = Vec::new();
    for n in 0..JOINERS {
        let mut joiner = site.another_viewer(&format!("joiner {n}"), &mut agent, "C-1").await;
        joiner.ask(json!({"type": "keyFrameRequest"}), "ok").await;
        joiners.push(joiner);
    }
    publisher.expect("keyFrameRequest").await;
    let took = begun.elapsed();
    let more = publisher.settled("keyFrameRequest").await.len();
    let most = 1 + usize::try_from(took.as_millis() / limits::KEY_FRAME_SPACING.as_millis()).unwrap();
    assert!(more < JOINERS * 2 && more <= most, "{more} more requests in {took:?}");
    // The one that waited is asked in time, unless a key frame comes first.
    let key = Picture::new().key(10);
    publisher.send_frame(key.clone()).await;
    for joiner in &mut joiners {
        assert_eq!(joiner.expect_frame().await, key);
    }
}

/// A viewer whose kernel takes little and who reads only when told to.
async fn slow_viewer(site: &Site, agent: &mut AgentClient) -> ParticipantClient {
    agent.join("C-1").await;
    let ready = agent.expect("ready").await;
    let socket = TcpSocket::new_v4().unwrap();
    SockRef::from(&socket).set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(site.running.public).await.unwrap();
    let request = request(site.running.public, "/v1/session", None);
    let client = Client::over(&site.transcript, "stalled", stream, request).await;
    ParticipantClient::attach(client, json!({"ticket": ready["ticket"]})).await
}

/// Bytes the relay keeps for the only session.
fn kept(site: &Site) -> usize {
    let group = crate::common::site::group_id("demo");
    site.running.hub.sessions().list(&group).iter().map(|session| session.relay.kept_bytes()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_viewer_costs_the_others_nothing() {
    const ROUNDS: usize = 40;
    const DELTAS: usize = 9;
    const SIZE: usize = 50_000;
    let site = Site::start().await;
    let Engagement { mut publisher, viewer, visitor: _visitor, mut agent, .. } =
        site.engage("C-1", json!({})).await;
    let mut bob = site.agent("bob").await;
    let mut fast = vec![viewer];
    for n in 0..2 {
        fast.push(site.another_viewer(&format!("fast {n}"), &mut agent, "C-1").await);
    }
    let mut stalled = slow_viewer(&site, &mut bob).await;
    stalled.skip().await;
    publisher.skip().await;
    let bound = limits::CACHE_BYTES + limits::OUTBOX_BYTES + limits::FRAME;
    let mut picture = Picture::new();
    let mut sent = Vec::new();
    let mut most = 0;
    for _ in 0..ROUNDS {
        let round = sent.len();
        sent.push(picture.key(SIZE));
        sent.extend((0..DELTAS).map(|_| picture.delta(SIZE)));
        for frame in &sent[round..] {
            publisher.send_frame(frame.clone()).await;
        }
        // The others take every frame while one takes none.
        for viewer in &mut fast {
            let got = viewer.expect_frames(sent.len() - round).await;
            assert!(got == sent[round..], "{} {:?}", viewer.name, sequences(&got));
        }
        most = most.max(kept(&site));
    }
    assert!(most <= bound, "the relay kept {most} bytes");
    let news = publisher.expect_where("feedback", |news| news["lagging"] == 1).await;
    assert_eq!(news["viewers"], 4);
    assert_eq!(site.metric("porchlight_frames_in_total").await as usize, sent.len());

    // Reading again, it is told, and gets only what it can decode, up to the newest picture.
    let lagging = stalled.expect("lagging").await;
    assert_eq!(lagging["stream"], 0);
    assert!(lagging["since"].as_str().unwrap().ends_with('Z'));
    let last = picture.key(SIZE);
    publisher.send_frame(last.clone()).await;
    let mut got = Vec::new();
    while got.last() != Some(&last) {
        got.push(stalled.expect_frame().await);
    }
    assert!(got.len() < sent.len(), "it lost frames: {} of {}", got.len(), sent.len());
    expect_decodable(&got);
    let lost = site.metric("porchlight_frames_shed_total{reason=\"lagging\"}").await;
    assert!(
        lost >= (sent.len() + 1 - got.len()) as f64,
        "{lost} counted of {} lost",
        sent.len() + 1 - got.len()
    );
    for viewer in &mut fast {
        assert!(viewer.settled("lagging").await.is_empty());
    }
}

/// Each delta stands behind its key frame, and nothing is missing between them.
fn expect_decodable(frames: &[Bytes]) {
    let mut before: Option<(u32, u32)> = None;
    for frame in frames {
        let header = header(frame);
        if !header.is_key() {
            let (group, sequence) = before.expect("a key frame comes first");
            assert_eq!((group, sequence + 1), (header.group, header.sequence), "{:?}", sequences(frames));
        }
        before = Some((header.group, header.sequence));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_is_a_little_late_loses_higher_layers_first() {
    const PAIRS: usize = 60;
    const SIZE: usize = 10_000;
    let site = Site::start().await;
    let Engagement { mut publisher, visitor: _visitor, mut agent, .. } = site.engage("C-1", json!({})).await;
    let mut slow = slow_viewer(&site, &mut agent).await;
    slow.skip().await;
    let mut picture = Picture::new();
    let mut base = vec![picture.key(SIZE)];
    publisher.send_frame(base[0].clone()).await;
    for _ in 0..PAIRS {
        let (delta, layer) = (picture.delta(SIZE), picture.layer(SIZE));
        publisher.send_frame(delta.clone()).await;
        publisher.send_frame(layer).await;
        base.push(delta);
    }
    publisher.ask(json!({"type": "chat", "text": "that was it"}), "ok").await;
    let mut got = Vec::new();
    while got.last() != base.last() {
        let frame = slow.expect_frame().await;
        got.push(frame);
    }
    let layers = got.iter().filter(|frame| header(frame).flags & flag::DROPPABLE != 0).count();
    got.retain(|frame| header(frame).flags & flag::DROPPABLE == 0);
    assert!(got == base, "every frame of the base layer: {:?}", sequences(&got));
    assert!(layers < PAIRS, "{layers} of {PAIRS} higher ones");
    let shed = site.metric("porchlight_frames_shed_total{reason=\"layer\"}").await;
    assert!(shed >= (PAIRS - layers - 1) as f64, "{shed}");
}

#[tokio::test]
async fn a_viewer_that_is_stuck_is_closed_as_too_slow() {
    let site = Site::with(|config| config.limits.stuck = Duration::from_secs(3)).await;
    let Engagement { mut publisher, visitor: _visitor, mut agent, .. } = site.engage("C-1", json!({})).await;
    let mut stalled = slow_viewer(&site, &mut agent).await;
    stalled.skip().await;
    publisher.skip().await;
    let mut picture = Picture::new();
    for _ in 0..8 {
        publisher.send_frame(picture.key(500_000)).await;
    }
    publisher.expect_change("reconnecting", &stalled.id()).await;
    // It still finds the code, behind what the kernel holds.
    stalled.expect_close(4001).await;
    let closed = publisher.settled("ended").await;
    assert!(closed.is_empty(), "the session goes on");
}

#[tokio::test]
async fn a_viewer_that_lagged_is_told_once_it_has_drawn_all_though_nothing_more_is_shown() {
    let site = Site::with(|config| config.limits.outbox_age = Duration::from_millis(500)).await;
    let Engagement { mut publisher, mut viewer, visitor: _visitor, agent: _agent, .. } =
        site.engage("C-1", json!({})).await;
    let mut picture = Picture::new();
    for drawn in [true, false] {
        let key = picture.key(10);
        let sequence = header(&key).sequence;
        publisher.send_frame(key).await;
        viewer.expect_frame().await;
        if drawn {
            viewer.send(json!({"type": "ack", "seq": sequence})).await;
            continue;
        }
        assert_eq!(viewer.expect("lagging").await["stream"], 0);
        publisher.expect_where("feedback", |news| news["lagging"] == 1).await;
        viewer.send(json!({"type": "ack", "seq": sequence})).await;
        assert_eq!(viewer.expect("caughtUp").await["stream"], 0);
        publisher.expect_where("feedback", |news| news["lagging"] == 0).await;
    }
    viewer.expect_nothing().await;
}

#[tokio::test]
async fn the_publisher_is_told_how_many_watch() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, visitor: _visitor, mut agent, .. } =
        site.engage("C-1", json!({})).await;
    let mut other = site.another_viewer("other", &mut agent, "C-1").await;
    let news = publisher.expect_where("feedback", |news| news["viewers"] == 2).await;
    assert_eq!((&news["lagging"], &news["kbps"]), (&json!(0), &json!(0)));
    other.ask(json!({"type": "leave"}), "ok").await;
    publisher.expect_where("feedback", |news| news["viewers"] == 1).await;
    viewer.expect_change("left", &other.id()).await;
}

#[tokio::test]
async fn a_delta_without_its_key_frame_asks_for_one_and_reaches_nobody() {
    let site = Site::start().await;
    let Engagement { mut publisher, mut viewer, .. } = site.engage("C-1", json!({})).await;
    let mut picture = Picture::new();
    publisher.send_frame(picture.delta(10)).await;
    assert_eq!(publisher.expect("keyFrameRequest").await["stream"], 0);
    let heard = viewer.settle().await;
    assert!(!heard.iter().any(|heard| matches!(heard, Heard::Frame(_))), "{heard:?}");
}
