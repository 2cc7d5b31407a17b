import assert from "node:assert/strict";
import { test } from "node:test";
import { ceilingKbps, codecOrder, codecString, fitSize, MAX_FPS, onCongestion, onFeedback, onQuiet, startRate, withCeiling } from "../lib/adapt.js";

test("the ladder goes from H.264 to JPEG, as far as the viewers follow", () => {
  assert.deepEqual(codecOrder(undefined), ["avc1", "vp09", "vp8", "jpeg"]);
  assert.deepEqual(codecOrder([]), ["avc1", "vp09", "vp8", "jpeg"]);
  assert.deepEqual(codecOrder(["jpeg", "vp8", "vp09"]), ["vp09", "vp8", "jpeg"]);
  assert.deepEqual(codecOrder(["hevc"]), ["jpeg"]);
});

test("AV1 only by wish, and only when all decode it", () => {
  assert.equal(codecOrder(["avc1", "av01"])[0], "avc1");
  assert.equal(codecOrder(["avc1", "av01"], { av1: true })[0], "av01");
  assert.equal(codecOrder(["avc1"], { av1: true })[0], "avc1");
});

test("H.264 is asked for at a level that has 1080p", () => {
  assert.equal(codecString("avc1"), "avc1.42e028");
  assert.equal(codecString("vp8"), "vp8");
});

test("sizes are even, within level 4.0, and keep their shape", () => {
  assert.deepEqual(fitSize(1280, 720), { width: 1280, height: 720 });
  assert.deepEqual(fitSize(1920, 1080), { width: 1920, height: 1080 });
  assert.deepEqual(fitSize(1001, 601), { width: 1000, height: 600 });
  assert.deepEqual(fitSize(1, 1), { width: 2, height: 2 });
  for (const [width, height] of [[2560, 1440], [3840, 2160], [2880, 1800], [1080, 2400], [5120, 1440], [8000, 300]]) {
    const size = fitSize(width, height);
    assert.ok(Math.ceil(size.width / 16) * Math.ceil(size.height / 16) <= 8192, `${width}x${height}`);
    assert.ok(size.width % 2 === 0 && size.height % 2 === 0);
    assert.ok(Math.abs(size.width / size.height / (width / height) - 1) < 0.02, `${width}x${height} bent`);
    assert.ok(size.width * size.height > 1_500_000, `${width}x${height} is scaled too far`);
  }
});

test("bigger pictures deserve more bits, within bounds", () => {
  assert.equal(ceilingKbps({ width: 1280, height: 720 }), 2000);
  assert.equal(ceilingKbps({ width: 1920, height: 1080 }), 4000);
  assert.equal(ceilingKbps({ width: 200, height: 100 }), 600);
});

test("nobody lags, nothing changes", () => {
  const rate = startRate(2000, 0);
  assert.equal(onFeedback(rate, { kbps: 12, lagging: 0, viewers: 3 }, 5000), rate);
});

test("the only viewer lags: down to what it takes", () => {
  const rate = onFeedback(startRate(2000, 0), { kbps: 800, lagging: 1, viewers: 1 }, 5000);
  assert.equal(rate.kbps, 680);
  assert.ok(rate.fps < MAX_FPS);
});

test("one slow viewer of four is the relay's problem, not the others'", () => {
  const rate = startRate(2000, 0);
  assert.equal(onFeedback(rate, { kbps: 100, medianKbps: 2500, lagging: 1, viewers: 4 }, 5000), rate);
  assert.equal(onFeedback(rate, { kbps: 100, lagging: 1, viewers: 4 }, 5000), rate);
  assert.equal(onFeedback(rate, { kbps: 100, medianKbps: 1000, lagging: 1, viewers: 4 }, 5000).kbps, 850);
});

test("falls once a second at most, never below the floor", () => {
  let rate = startRate(2000, 0);
  rate = onCongestion(rate, 2000);
  assert.equal(rate.kbps, 1400);
  assert.equal(onCongestion(rate, 2500), rate);
  for (let t = 4000; t < 60_000; t += 1000) rate = onCongestion(rate, t);
  assert.equal(rate.kbps, 150);
  assert.equal(rate.fps, 3);
});

test("rises after quiet time, up to the ceiling", () => {
  let rate = onCongestion(startRate(2000, 0), 2000);
  assert.equal(onQuiet(rate, 4000), rate);
  rate = onQuiet(rate, 5000);
  assert.equal(rate.kbps, 1680);
  for (let t = 8000; t < 60_000; t += 3000) rate = onQuiet(rate, t);
  assert.equal(rate.kbps, 2000);
  assert.equal(rate.fps, MAX_FPS);
});

test("a larger picture raises an untouched rate, not one that fell", () => {
  assert.equal(withCeiling(startRate(2000, 0), 4000).kbps, 4000);
  assert.equal(withCeiling(onCongestion(startRate(2000, 0), 2000), 4000).kbps, 1400);
  assert.equal(withCeiling(startRate(4000, 0), 600).kbps, 600);
});
