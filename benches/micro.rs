//! Small pieces of the hot paths, one at a time: `cargo bench --bench micro`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use porchlight::clock::{Now, Tick, Wall};
use porchlight::hub::registry::Registry;
use porchlight::hub::relay::Relay;
use porchlight::ids::{ConnectionId, GroupId, VisitorId, VisitorKey};
use porchlight::limits::Limits;
use porchlight::model::facts::Facts;
use porchlight::model::presence::{Input, Presence};
use porchlight::model::relay::Frame;
use porchlight::telemetry::{Meters, SocketKind};
use porchlight::wire::frame::{self, FrameHeader, FrameType, HEADER, Source, flag};
use porchlight::wire::message;
use porchlight::wire::visitor::{FromVisitor, Page, PresenceUpdate, Visibility};

fn header(key: bool, config_len: u16) -> FrameHeader {
    FrameHeader {
        kind: FrameType::Video,
        flags: if key { flag::KEY | flag::CONFIG } else { 0 },
        layer: 0,
        stream: 0,
        sequence: 1_000,
        group: 3,
        captured_us: 1_700_000_000_000_000,
        width: 1920,
        height: 1080,
        config_len,
    }
}

fn frame_of(bytes: usize, header: FrameHeader) -> Vec<u8> {
    let mut frame = Vec::with_capacity(bytes);
    header.encode(&mut frame);
    frame.resize(bytes, 0x5a);
    frame
}

/// What the relay does with each frame before it fans out: once per frame, whatever the viewers.
fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame");
    let delta = frame_of(16 * 1024, header(false, 0));
    group.bench_function("parse a delta", |b| b.iter(|| frame::parse(black_box(&delta))));
    let key = frame_of(128 * 1024, header(true, 60));
    group.bench_function("parse a key frame", |b| b.iter(|| frame::parse(black_box(&key))));
    let short = &delta[..HEADER - 1];
    group.bench_function("refuse a short one", |b| b.iter(|| frame::parse(black_box(short))));
    let written = header(false, 0);
    group.bench_function("encode a header", |b| {
        b.iter_batched_ref(
            || BytesMut::with_capacity(HEADER),
            |out| black_box(written).encode(out),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// What a visitor's message costs before it means anything.
fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("message");
    let connect = r#"{"type":"connect","id":1,"group":"demo","visitorId":"C-1001","page":{"url":
        "https://shop.example/lamps/porch?colour=brass","title":"Porch lamps"},"data":{"plan":"gold","cart":3}}"#;
    group.bench_function("read a connect", |b| b.iter(|| message::read::<FromVisitor>(black_box(connect))));
    let update = r#"{"type":"presence","visibility":"hidden"}"#;
    group.bench_function("read an update", |b| b.iter(|| message::read::<FromVisitor>(black_box(update))));
    group.finish();
}

/// The presence of one visitor, from arrival to absence, and what it costs to tell of it.
fn presence(c: &mut Criterion) {
    let mut group = c.benchmark_group("presence");
    let limits = Limits::default();
    let now = Now { tick: Tick(1_000), wall: Wall(1_893_456_000_000) };
    let key = VisitorKey {
        group: GroupId::new("demo").expect("a valid name"),
        visitor: VisitorId::new("C-1001").expect("a valid name"),
    };
    let page = |n: u32| Page { url: format!("https://shop.example/lamps/{n}"), ..Page::default() };
    let arrived = || Input::Arrived {
        connection: ConnectionId(1),
        verified: true,
        visibility: Visibility::Visible,
        facts: Facts { page: Some(page(1)), ..Facts::default() },
    };
    group.bench_function("fold a visit", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            let mut presence = Presence::new(0);
            presence.handle(now, &limits, arrived(), &mut out);
            let update = PresenceUpdate { page: Some(page(2)), ..PresenceUpdate::default() };
            presence.handle(now, &limits, Input::Updated { connection: ConnectionId(1), update }, &mut out);
            presence.handle(now, &limits, Input::Left { connection: ConnectionId(1) }, &mut out);
            out.drain(..).count()
        });
    });
    let mut here = Presence::new(0);
    here.handle(now, &limits, arrived(), &mut Vec::new());
    group.bench_function("encode a visitor", |b| b.iter(|| black_box(&here).view(&key).snapshot()));
    group.finish();
}

/// One frame from the publisher into every viewer's hands, without sockets.
fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out");
    let (meters, _) = Meters::new();
    for viewers in [1u64, 4, 64] {
        let registry = Arc::new(Registry::new(Arc::default()));
        let relay = Arc::new(Relay::new(Source::Screen, Arc::default()));
        let publisher = registry.admit(SocketKind::Session, Tick(0));
        relay.set_publisher(publisher.id);
        let admitted: Vec<_> = (0..viewers).map(|_| registry.admit(SocketKind::Session, Tick(0))).collect();
        let mut seats: Vec<_> =
            admitted.iter().map(|viewer| relay.watch(Arc::clone(viewer), Arc::clone(&meters))).collect();
        let bytes = Bytes::from(frame_of(16 * 1024, header(true, 60)));
        let mut sequence = 0;
        group.throughput(Throughput::Elements(viewers));
        group.bench_function(BenchmarkId::from_parameter(viewers), |b| {
            b.iter(|| {
                sequence += 1;
                let header = FrameHeader { sequence, group: sequence, ..header(true, 60) };
                relay.publish(publisher.id, Frame { header, bytes: bytes.clone(), at: Tick(0) });
                seats.iter_mut().map(|seat| seat.look(Tick(0), usize::MAX).frames.len()).sum::<usize>()
            });
        });
    }
    group.finish();
}

fn quick() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group!(name = micro; config = quick(); targets = frames, messages, presence, fan_out);
criterion_main!(micro);
