import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { decodeFrame, FrameType, Stream } from "../lib/frame.js";
import { Publisher } from "../share/publisher.js";
import { FakeEncoder, picture } from "./fake-encoder.js";
import { settle } from "./fake-world.js";

let now;
/** @type {import("../lib/frame.js").Frame[]} */ let sent;
let buffered;
/** @type {FakeEncoder[]} */ let encoders;
/** @type {string[]} */ let unsupported;
/** @type {Publisher} */ let publisher;

const encoder = () => encoders.at(-1);

/** Time passes for the clock and the timers alike. */
async function pass(ms) {
  for (let i = 0; i < ms; i++) {
    now += 1;
    mock.timers.tick(1);
    if (i % 100 === 99) await settle();
  }
  await settle();
}

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  now = 1_700_000_000_000;
  sent = [];
  buffered = 0;
  encoders = [];
  unsupported = [];
  mock.method(console, "warn", () => {});
  publisher = new Publisher({
    send: (frame) => sent.push(decodeFrame(frame)),
    buffered: () => buffered,
    now: () => now,
    open: async (order, size, kbps, events) => {
      const family = order.find((one) => !unsupported.includes(one)) ?? "jpeg";
      encoders.push(new FakeEncoder(family, size, kbps, events));
      return encoders.at(-1);
    },
  });
});

/** A publisher that has sent its first key frame. */
async function running() {
  publisher.connected();
  publisher.picture(picture());
  await settle();
  encoder().finish();
}

test("encodes nothing before the session takes frames", async () => {
  publisher.picture(picture());
  await settle();
  assert.equal(encoders.length, 0);
  publisher.connected();
  await settle();
  assert.equal(encoder().orders[0].key, true);
});

test("the first frame is a key frame with its config; numbers go up by one", async () => {
  await running();
  for (let i = 0; i < 3; i++) {
    await pass(70);
    publisher.picture(picture());
    encoder().finish({ layer: i % 2 });
  }
  assert.deepEqual(sent.map(({ key, sequence, group, layer, droppable }) => [key, sequence, group, layer, droppable]), [
    [true, 0, 1, 0, false],
    [false, 1, 1, 0, false],
    [false, 2, 1, 1, true],
    [false, 3, 1, 0, false],
  ]);
  assert.deepEqual(sent[0].config, { codec: "avc1", width: 1280, height: 720 });
  assert.ok(sent.every(({ time }, i) => i === 0 || time > sent[i - 1].time), "times rise");
});

test("a busy encoder gets nothing; the newest picture follows, the others are closed", async () => {
  await running();
  await pass(100);
  const [a, b, c] = [picture(), picture(), picture()];
  publisher.picture(a);
  await pass(100);
  publisher.picture(b);
  await pass(100);
  publisher.picture(c);
  assert.equal(encoder().orders.length, 2);
  assert.ok(a.closed && b.closed && !c.closed);
  encoder().finish();
  assert.equal(encoder().orders.length, 3);
});

test("an encoder that swallows a picture does not stop the pump", async () => {
  await running();
  await pass(100);
  publisher.picture(picture());
  publisher.picture(picture());
  encoder().busy = false; // no output
  await pass(100);
  assert.equal(encoder().orders.length, 3);
});

test("a full socket stops encoding before the encoder, lowers the rate, and the last picture still arrives", async () => {
  await running();
  buffered = 600 * 1024;
  await pass(2000);
  const before = encoder().orders.length;
  publisher.picture(picture());
  await pass(500);
  assert.equal(encoder().orders.length, before);
  assert.ok(publisher.rate.kbps < 2000);
  assert.equal(encoder().rates.at(-1), publisher.rate.kbps);
  buffered = 0;
  await pass(60);
  assert.equal(encoder().orders.length, before + 1);
  assert.equal(encoder().orders.at(-1).key, false, "skipping before the encoder breaks no reference");
});

test("a still page is sharpened twice, and the last frame says so; then silence", async () => {
  await running();
  for (let i = 0; i < 20; i++) {
    await pass(100);
    if (encoder().busy) encoder().finish();
  }
  assert.deepEqual(sent.map(({ key, last }) => [key, last]), [[true, false], [false, false], [false, true]]);
});

test("a key-frame request on a still page is answered from the kept picture", async () => {
  await running();
  for (let i = 0; i < 10; i++) {
    await pass(100);
    if (encoder().busy) encoder().finish();
  }
  const before = sent.length;
  publisher.requestKey();
  encoder().finish();
  assert.equal(sent.length, before + 1);
  assert.ok(sent.at(-1).key);
  assert.equal(sent.at(-1).group, 2);
});

test("many key-frame requests while one is in the encoder make one more", async () => {
  await running();
  publisher.requestKey();
  for (let i = 0; i < 5; i++) publisher.requestKey();
  encoder().finish();
  encoder().finish();
  assert.equal(encoder().orders.length, 3);
});

test("keeps to its frame rate, and lets uneven pictures catch up", async () => {
  await running();
  for (let i = 0; i < 60; i++) {
    await pass(i % 2 ? 10 : 23); // 60 pictures a second, unevenly, for 1 s
    publisher.picture(picture());
    if (encoder().busy) encoder().finish();
  }
  assert.ok(sent.length >= 14 && sent.length <= 17, `${sent.length} frames`);
});

test("a new size is configured and begins a group", async () => {
  await running();
  await pass(100);
  publisher.picture(picture(1001, 601));
  encoder().finish();
  assert.deepEqual(encoder().sizes, ["1280x720", "1000x600"]);
  assert.ok(sent.at(-1).key);
  assert.deepEqual(sent.at(-1).config, { codec: "avc1", width: 1000, height: 600 });
});

test("paused, nothing leaves, not even what was in the encoder; resumed, a key frame of the newest picture", async () => {
  await running();
  await pass(100);
  publisher.picture(picture());
  publisher.pause();
  encoder().finish();
  await pass(100);
  publisher.picture(picture());
  publisher.requestKey();
  assert.equal(sent.length, 1);
  publisher.resume();
  encoder().finish();
  assert.equal(sent.length, 2);
  assert.ok(sent[1].key);
});

test("after a reconnect no delta goes out before a key frame", async () => {
  await running();
  await pass(100);
  publisher.picture(picture());
  publisher.disconnected();
  publisher.connected();
  encoder().finish(); // the delta of before
  assert.equal(sent.length, 1);
  encoder().finish();
  assert.deepEqual(sent.map(({ key }) => key), [true, true]);
});

test("follows what the viewers decode", async () => {
  await running();
  publisher.setDecodable(["vp8", "jpeg"]);
  await settle();
  encoder().finish();
  assert.equal(encoders.length, 2);
  assert.ok(encoders[0].closed);
  assert.equal(sent.at(-1).config.codec, "vp8");
  publisher.setDecodable(["vp8"]);
  await settle();
  assert.ok(!encoders[1].closed, "the same family stays");
});

test("a broken encoder is replaced by the next of the ladder", async () => {
  await running();
  encoder().events.onError(new Error("broken"));
  await settle();
  encoder().finish();
  assert.deepEqual(encoders.map(({ family }) => family), ["avc1", "vp09"]);
  assert.ok(sent.at(-1).key);
});

test("without a video encoder it sends images, as many as the rate carries", async () => {
  unsupported = ["avc1", "vp09", "vp8"];
  publisher.connected();
  for (let i = 0; i < 50; i++) {
    publisher.picture(picture());
    await pass(20);
    if (encoder().busy) encoder().finish({ bytes: 100_000 }); // 800 kbit at 2,000 kbit/s
  }
  assert.equal(sent[0].type, FrameType.IMAGE);
  assert.ok(sent.length >= 2 && sent.length <= 4, `${sent.length} images in 1 s`);
});

test("feedback moves the bit rate without a new size", async () => {
  await running();
  await pass(2000);
  publisher.feedback({ kbps: 500, lagging: 1, viewers: 1 });
  assert.deepEqual(encoder().rates, [2000, 425]);
  assert.deepEqual(encoder().sizes, ["1280x720"]);
});

test("closed, it keeps no picture and wakes no more", async () => {
  await running();
  const late = picture();
  publisher.close();
  publisher.picture(late);
  await pass(1000);
  assert.ok(late.closed && encoder().closed);
  assert.equal(sent.length, 1);
});

test("its figures tell how far pictures came", async () => {
  const nothing = { pictures: 0, encoded: 0, frames: 0, codec: null, encoding: false, kbps: 2000, fps: 15, lastError: null };
  assert.deepEqual(publisher.stats(), nothing);
  await running();
  assert.deepEqual(publisher.stats(), { ...nothing, pictures: 1, encoded: 1, frames: 1, codec: "avc1" });
});

test("a camera has its own stream, bits and pace", async () => {
  const camera = new Publisher({
    stream: Stream.CAMERA,
    pace: { kbps: 300, fps: 15 },
    send: (frame) => sent.push(decodeFrame(frame)),
    buffered: () => 0,
    now: () => now,
    open: async (order, size, kbps, events) => {
      encoders.push(new FakeEncoder(order[0], size, kbps, events));
      return encoders.at(-1);
    },
  });
  camera.setDecodable(["vp8", "jpeg"]);
  camera.connected();
  camera.picture(picture(320, 240));
  await settle();
  encoder().finish();
  assert.deepEqual([sent[0].stream, sent[0].key, sent[0].width, encoder().family, encoder().rates[0]], [1, true, 320, "vp8", 300]);
  for (let n = 0; n < 20; n++) {
    await pass(67);
    camera.picture(picture(320, 240));
    if (encoder().busy) encoder().finish();
  }
  assert.ok(sent.length >= 18, `${sent.length} pictures`);
  camera.close();
});
