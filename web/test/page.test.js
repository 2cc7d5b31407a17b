import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { decodeFrame, FrameType, MAX_FRAME_BYTES } from "../lib/frame.js";
import { unpack } from "../lib/pack.js";
import { PagePublisher } from "../share/page.js";

const GLOBALS = { innerWidth: 1280, innerHeight: 720, location: { href: "https://shop.example/", origin: "https://shop.example" }, document: { visibilityState: "visible" } };

beforeEach(() => Object.assign(globalThis, GLOBALS));
afterEach(() => {
  for (const name of Object.keys(GLOBALS)) delete globalThis[name];
});

const scroll = (y) => ({ type: 3, timestamp: 1, data: { source: 3, id: -1, x: 0, y } });

/** A recorder of a page of one text, and what is sent of it. */
function play({ text = "hello", buffered = () => 0, now } = {}) {
  const seen = { frames: [], failures: [], emit: null, snapshots: 0, stopped: false };
  const record = (options) => {
    seen.emit = options.emit;
    seen.options = options;
    return () => (seen.stopped = true);
  };
  record.mirror = { getNode: () => null, getId: () => 1 };
  record.takeFullSnapshot = () => {
    seen.snapshots += 1;
    seen.emit({ type: 4, timestamp: 1, data: { href: "https://shop.example/?token=SECRET", width: 1280, height: 720 } });
    const children = [{ type: 3, id: 2, textContent: text }];
    seen.emit({ type: 2, timestamp: 1, data: { node: { type: 0, id: 1, childNodes: children }, initialOffset: { left: 0, top: 0 } } });
  };
  const publisher = new PagePublisher({
    send: (frame) => seen.frames.push(frame),
    buffered,
    load: async () => ({ record }),
    onFailure: (why) => seen.failures.push(String(why)),
    now,
  });
  return { publisher, seen };
}

/** Waits for a fact. */
async function until(fact) {
  for (let n = 0; n < 400; n += 1) {
    if (fact()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.fail(`never: ${fact}`);
}

test("a snapshot comes first, then changes in batches, numbered and in one group", async () => {
  const { publisher, seen } = play();
  await publisher.start();
  assert.equal(seen.frames.length, 0, "nothing before the session can take it");
  publisher.connected();
  await until(() => seen.frames.length === 1);
  for (const y of [1, 2, 3]) seen.emit(scroll(y));
  await until(() => seen.frames.length === 2);
  const [key, delta] = seen.frames.map((frame) => decodeFrame(frame));
  assert.deepEqual([key.type, key.key, delta.key, delta.droppable, delta.layer], [FrameType.DOM, true, false, false, 0]);
  assert.deepEqual([key.width, key.height, delta.group === key.group, delta.sequence - key.sequence], [1280, 720, true, 1]);
  const first = await unpack(key.payload);
  assert.deepEqual(first.events.map(({ type }) => type), [4, 2]);
  assert.equal(first.events[0].data.href, "https://shop.example/");
  assert.deepEqual((await unpack(delta.payload)).events.map(({ data }) => data.y), [1, 2, 3]);
  publisher.close();
  assert.equal(seen.stopped, true);
});

test("a new page counts on from the one before", async () => {
  const first = play({ now: () => 1_800_000_000_000 });
  await first.publisher.start();
  first.publisher.connected();
  await until(() => first.seen.frames.length === 1);
  const second = play({ now: () => 1_800_000_000_500 });
  await second.publisher.start();
  second.publisher.connected();
  await until(() => second.seen.frames.length === 1);
  const [before, after] = [first, second].map(({ seen }) => decodeFrame(seen.frames[0]));
  assert.ok(after.sequence > before.sequence && after.group > before.group);
});

test("what happened while nobody could be told is in the next snapshot, and not told twice", async () => {
  const { publisher, seen } = play();
  await publisher.start();
  publisher.connected();
  await until(() => seen.frames.length === 1);
  for (const [leave, come] of [["disconnected", "connected"], ["pause", "resume"]]) {
    const { length } = seen.frames;
    publisher[leave]();
    seen.emit(scroll(9));
    publisher.requestKey();
    publisher[come]();
    await until(() => seen.frames.length === length + 1);
    const frame = decodeFrame(seen.frames.at(-1));
    assert.equal(frame.key, true, come);
    assert.equal((await unpack(frame.payload)).events.some(({ data }) => data.source === 3), false);
  }
});

test("a full socket is waited for; too many changes become one snapshot", async () => {
  let full = false;
  let asked = 0;
  const { publisher, seen } = play({ buffered: () => ((asked += 1), full ? 10_000_000 : 0) });
  await publisher.start();
  publisher.connected();
  await until(() => seen.frames.length === 1);
  full = true;
  for (let n = 0; n < 100; n += 1) seen.emit(scroll(n));
  const before = asked;
  await until(() => asked > before + 2);
  assert.equal(seen.frames.length, 1);
  full = false;
  await until(() => seen.frames.length === 2);
  assert.equal((await unpack(decodeFrame(seen.frames[1]).payload)).events.length, 100);
  full = true;
  for (let n = 0; n < 5_100; n += 1) seen.emit(scroll(n));
  full = false;
  await until(() => seen.frames.length === 3);
  assert.equal(decodeFrame(seen.frames[2]).key, true);
});

test("a page that no frame holds ends with a reason", async (t) => {
  const noise = Array.from({ length: 6_000_000 }, () => String.fromCharCode(33 + Math.random() * 90)).join("");
  const { publisher, seen } = play({ text: noise });
  t.after(() => publisher.close());
  await publisher.start();
  publisher.connected();
  await until(() => seen.failures.length);
  assert.match(seen.failures[0], new RegExp(`exceeds ${MAX_FRAME_BYTES}`));
  assert.equal(seen.frames.length, 0);
});

test("the recorder is asked to mask and to leave out, and to keep its errors from the page", async () => {
  const { publisher, seen } = play();
  await publisher.start();
  const { blockSelector, maskTextSelector, maskInputOptions, maskTextFn, errorHandler, recordCanvas } = seen.options;
  assert.deepEqual([blockSelector, maskTextSelector], ["[data-porchlight-block], [data-porchlight]", "[data-porchlight-mask]"]);
  assert.equal(maskTextFn("a b"), "• •");
  assert.ok(maskInputOptions.password && maskInputOptions.text && maskInputOptions.textarea && maskInputOptions.select);
  assert.equal(errorHandler(new Error("its own")), true);
  assert.equal(recordCanvas, undefined);
  publisher.close();
});
