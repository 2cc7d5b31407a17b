//! Small pieces of the hot paths, one at a time: `cargo bench --bench micro`.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use porchlight::wire::frame::{self, FrameHeader, FrameType, HEADER, flag};

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

criterion_group!(micro, frames);
criterion_main!(micro);
