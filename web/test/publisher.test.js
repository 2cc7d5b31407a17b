import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { decodeFrame, FrameType } from "../lib/frame.js";
import { Publisher } from "../share/publisher.js";
import { settle } from "./fake-world.js";

let now;
/** @type {import("../lib/frame.js").Frame[]} */ let sent;
let buffered;
/** @type {FakeEncoder[]} */ let encoders;
/** @type {string[]} */ let unsupported;
let refreshes;
/** What opening an encoder does instead of opening one. @type {((order: string[]) => Promise<any> | undefined) | null} */ let opening;
/** @type {Publisher} */ let publisher;

class FakeEncoder {
  busy = false;
  orders = [];
  rates = [];
  sizes = [];
  closed = false;
  constructor(family, size, kbps, events) {
    this.family = family;
    this.events = events;
    this.configure(size, kbps);
  }
  configure(size, kbps) {
    this.sizes.push(`${size.width}x${size.height}`);
    this.size = size;
    this.setKbps(kbps);
  }
  setKbps(kbps) {
    this.rates.push(kbps);
  }
  encode(picture, order) {
    assert.ok(!picture.closed, "a closed picture was encoded");
    this.orders.push(order);
    this.busy = true;
  }
  /** Lets the encoder finish what it was given last. */
  finish({ layer = 0, bytes = 10 } = {}) {
    const { key, last, time } = this.orders.at(-1);
    const { codec, width, height } = { codec: this.family, ...this.size };
    this.busy = false;
    const jpeg = this.family === "jpeg";
    this.events.onEncoded({
      type: jpeg ? FrameType.IMAGE : FrameType.VIDEO,
      key: key || jpeg,
      last,
      time,
      layer,
      droppable: layer > 0,
      width,
      height,
      config: key && !jpeg ? { codec, width, height } : null,
      payload: new Uint8Array(bytes),
    });
  }
  close() {
    this.closed = true;
  }
}

const encoder = () => encoders.at(-1);
const picture = (displayWidth = 1280, displayHeight = 720) => ({
  displayWidth,
  displayHeight,
  closed: false,
  close() {
    this.closed = true;
  },
});

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
  refreshes = 0;
  opening = null;
  mock.method(console, "warn", () => {});
  publisher = new Publisher({
    send: (frame) => sent.push(decodeFrame(frame)),
    buffered: () => buffered,
    now: () => now,
    refresh: () => (refreshes += 1),
    open: async (order, size, kbps, events) => {
      const instead = opening?.(order);
      if (instead) await instead;
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

// ---- nothing may end in silence -----------------------------------------------------------------

const never = () => new Promise(() => {});
const families = () => encoders.map(({ family }) => family);

test("a key frame asked for while no picture is kept asks the capture for one", async () => {
  publisher.connected();
  assert.equal(refreshes, 1);
  publisher.requestKey();
  assert.equal(refreshes, 2);
  await running();
  publisher.requestKey();
  assert.equal(refreshes, 3, "asked by running(), before its picture");
  publisher.close();
  publisher.requestKey();
  assert.equal(refreshes, 3);
});

test("a choice that is refused is followed by JPEG, and by the next try if that is refused too", async () => {
  const tried = [];
  opening = (order) => (tried.push(order[0]), tried.length < 3 ? Promise.reject(new Error("no")) : undefined);
  publisher.connected();
  publisher.picture(picture());
  await settle();
  assert.deepEqual(tried, ["avc1", "jpeg"]);
  assert.match(publisher.stats().lastError, /no encoder: no/);
  await pass(1_000);
  encoder().finish();
  assert.ok(sent[0].key);
});

test("a choice that is never answered is followed by JPEG; what it opens too late is closed", async () => {
  let answer;
  opening = (order) => (order[0] === "jpeg" ? undefined : new Promise((resolve) => (answer = resolve)));
  publisher.connected();
  publisher.picture(picture());
  await pass(10_000);
  assert.deepEqual(families(), ["jpeg"]);
  encoder().finish();
  assert.ok(sent[0].key);
  answer();
  await settle();
  assert.deepEqual(encoders.map(({ family, closed }) => [family, closed]), [["jpeg", false], ["avc1", true]]);
});

test("a better choice that is never answered leaves the present encoder at work", async () => {
  await running();
  opening = never;
  publisher.setDecodable(["avc1", "vp8"]);
  for (let i = 0; i < 100; i++) {
    await pass(100);
    if (encoder().busy) encoder().finish();
  }
  publisher.requestKey();
  encoder().finish();
  assert.ok(sent.at(-1).key);
  assert.deepEqual(families(), ["avc1"]);
  opening = null;
  encoder().events.onError(new Error("broken"));
  await settle();
  assert.deepEqual(families(), ["avc1", "vp8"]);
});

test("a viewer who does not decode the present family gets JPEG if a better choice is never answered", async () => {
  await running();
  opening = (order) => (order[0] === "jpeg" ? undefined : never());
  publisher.setDecodable(["vp8", "jpeg"]);
  for (let i = 0; i < 100; i++) {
    await pass(100);
    publisher.picture(picture());
    if (encoder().busy) encoder().finish();
  }
  assert.deepEqual(families(), ["avc1", "jpeg"]);
});

test("what the viewers decode counts, even if it is told while an encoder is chosen", async () => {
  let answer;
  opening = () => new Promise((resolve) => (answer = resolve));
  publisher.connected();
  publisher.picture(picture());
  const first = answer;
  opening = null;
  publisher.setDecodable(["vp8"]);
  await settle();
  first();
  await settle();
  assert.equal(publisher.family, "vp8");
  assert.deepEqual(encoders.map(({ family, closed }) => [family, closed]), [["vp8", false], ["avc1", true]]);
});

test("an encoder that fails while a better one is chosen does not come back by that choice", async () => {
  await running();
  let answer;
  opening = () => new Promise((resolve) => (answer = resolve));
  publisher.setDecodable(["avc1", "vp8"]);
  const late = answer;
  opening = null;
  encoder().events.onError(new Error("broken"));
  await settle();
  late();
  await settle();
  assert.equal(publisher.family, "vp8");
});

test("an error told before the encoder was handed over counts", async () => {
  publisher = new Publisher({
    send: (frame) => sent.push(decodeFrame(frame)),
    buffered: () => 0,
    now: () => now,
    open: async (order, size, kbps, events) => {
      encoders.push(new FakeEncoder(order[0], size, kbps, events));
      if (order[0] === "avc1") events.onError(new Error("early"));
      return encoder();
    },
  });
  await running();
  assert.deepEqual(families(), ["avc1", "vp09"]);
  assert.ok(sent[0].key);
});

test("an encoder that takes a picture and puts nothing out is replaced by the next of the ladder", async () => {
  publisher.connected();
  publisher.picture(picture());
  await pass(20_000); // nobody finishes anything
  assert.deepEqual(families().slice(0, 4), ["avc1", "vp09", "vp8", "jpeg"]);
  assert.ok(encoders[0].closed && encoders[1].closed && encoders[2].closed);
  encoder().finish();
  assert.ok(sent[0].key);
  assert.match(publisher.stats().lastError, /vp8 encoder: nothing came out/);
});

test("a slow encoder is left alone as long as something comes out", async () => {
  await running();
  for (let i = 0; i < 6; i++) {
    publisher.picture(picture());
    await pass(4_500);
    encoder().finish();
  }
  assert.deepEqual(families(), ["avc1"]);
});

test("a delta that was swallowed on a page that then stands still is made good", async () => {
  await running();
  await pass(2_000);
  publisher.picture(picture());
  await pass(50);
  const given = encoder().orders.length;
  encoder().busy = false; // no output
  await pass(2_000);
  assert.equal(encoder().orders.length, given + 1);
});

test("a key frame that was swallowed is made again; an encoder that makes none is replaced", async () => {
  publisher.connected();
  publisher.picture(picture());
  await settle();
  encoder().busy = false; // no output
  await pass(1_100);
  encoder().finish(); // a sharpened delta, of no use to anybody
  assert.equal(sent.length, 0);
  const [swallowing] = encoders;
  for (let i = 0; i < 100 && encoders.length === 1; i++) {
    await pass(100);
    swallowing.busy = false;
  }
  assert.ok(swallowing.orders.filter(({ key }) => key).length > 1);
  assert.deepEqual(families(), ["avc1", "vp09"]);
  encoder().finish();
  assert.ok(sent[0].key);
});

test("a pause or a loss is not held against the encoder", async () => {
  for (const [away, back] of /** @type {const} */ ([["pause", "resume"], ["disconnected", "connected"]])) {
    await running();
    publisher.requestKey();
    publisher[away]();
    encoder().busy = false; // the key frame was swallowed
    await pass(20_000);
    publisher[back]();
    encoder().finish();
  }
  assert.deepEqual(families(), ["avc1"]);
});

test("an encoder that the browser takes back comes again, unless it never worked", async () => {
  const quota = Object.assign(new Error("reclaimed"), { name: "QuotaExceededError" });
  await running();
  encoder().events.onError(quota);
  await settle();
  encoder().events.onError(quota);
  await settle();
  assert.deepEqual(families(), ["avc1", "avc1", "vp09"]);
});

test("an encoder that throws at a new rate or size is replaced, and the picture goes on", async () => {
  await running();
  await pass(2000);
  encoder().setKbps = encoder().configure = () => {
    throw new Error("closed codec");
  };
  publisher.feedback({ kbps: 500, lagging: 1, viewers: 1 });
  await settle();
  encoder().finish();
  encoder().configure = () => {
    throw new Error("closed codec");
  };
  await pass(100);
  publisher.picture(picture(1000, 600));
  await settle();
  encoder().finish();
  assert.deepEqual(families(), ["avc1", "vp09", "vp8"]);
  assert.ok(sent.every(({ key }) => key));
  assert.equal(encoder().sizes.at(-1), "1000x600");
});

test("a picture that even JPEG cannot show is dropped, and another one asked for, not at once", async () => {
  unsupported = ["avc1", "vp09", "vp8"];
  const bad = picture();
  publisher.connected();
  publisher.picture(bad);
  await settle();
  const before = refreshes;
  encoder().events.onError(new Error("no JPEG"));
  await settle();
  assert.ok(bad.closed);
  assert.equal(refreshes, before);
  await pass(1_000);
  assert.equal(refreshes, before + 1);
  publisher.picture(picture());
  await settle();
  encoder().finish();
  assert.equal(sent.length, 1);
});

test("its figures tell how far pictures came", async () => {
  const nothing = { pictures: 0, encoded: 0, frames: 0, codec: null, encoding: false, lastError: null };
  assert.deepEqual(publisher.stats(), nothing);
  await running();
  assert.deepEqual(publisher.stats(), { ...nothing, pictures: 1, encoded: 1, frames: 1, codec: "avc1" });
});
