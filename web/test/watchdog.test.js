// The publisher's watchdog: whatever an encoder or the browser does not do, a key frame goes out in the end.
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { decodeFrame } from "../lib/frame.js";
import { Publisher } from "../share/publisher.js";
import { FakeEncoder, picture } from "./fake-encoder.js";
import { settle } from "./fake-world.js";

let now;
/** @type {import("../lib/frame.js").Frame[]} */ let sent;
/** @type {FakeEncoder[]} */ let encoders;
/** @type {string[]} */ let unsupported;
let refreshes;
/** What is awaited before an encoder is opened. @type {((order: string[]) => Promise<any> | undefined) | null} */ let opening;
/** @type {Publisher} */ let publisher;

const encoder = () => encoders.at(-1);
const families = () => encoders.map(({ family }) => family);
const never = () => new Promise(() => {});

/** Time passes for the clock and the timers alike. */
async function pass(ms) {
  for (let i = 0; i < ms; i += 10) {
    now += 10;
    mock.timers.tick(10);
    if (i % 100 === 90) await settle();
  }
  await settle();
}

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  mock.method(console, "warn", () => {});
  now = 1_700_000_000_000;
  sent = [];
  encoders = [];
  unsupported = [];
  refreshes = 0;
  opening = null;
  publisher = new Publisher({
    send: (frame) => sent.push(decodeFrame(frame)),
    buffered: () => 0,
    now: () => now,
    refresh: () => (refreshes += 1),
    open: async (order, size, kbps, events) => {
      const before = opening?.(order);
      if (before) await before;
      const family = order.find((one) => !unsupported.includes(one)) ?? "jpeg";
      encoders.push(new FakeEncoder(family, size, kbps, events));
      return encoder();
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
