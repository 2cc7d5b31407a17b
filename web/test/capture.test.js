import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { readPictures } from "../share/capture.js";
import { settle } from "./fake-world.js";

/** @type {FakeProcessor[]} */ let processors;
/** @type {any[]} */ let taken;
let ended;

/** A reader of the track; what the browser sends it is up to the test. */
class FakeProcessor {
  cancelled = false;
  constructor({ track }) {
    if (ended) throw new DOMException("the track has ended", "InvalidStateError");
    this.track = track;
    this.readable = new ReadableStream({
      start: (controller) => void (this.controller = controller),
      cancel: () => void (this.cancelled = true),
    });
    processors.push(this);
  }
  async sends(picture) {
    this.controller.enqueue(picture);
    await settle();
  }
}

/** What a reader is left for the picture that may be on its way to it. */
const LET_GO_MS = 250;

const picture = (name) => ({ name, closed: false, close() { this.closed = true; } });

/** Time passes for the timers. */
async function pass(ms) {
  mock.timers.tick(ms);
  await settle();
}

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  mock.method(console, "warn", () => {});
  processors = [];
  taken = [];
  ended = false;
  /** @type {any} */ (globalThis).MediaStreamTrackProcessor = FakeProcessor;
});
afterEach(() => Reflect.deleteProperty(globalThis, "MediaStreamTrackProcessor"));

const read = () => readPictures(/** @type {any} */ ({}), (one) => taken.push(/** @type {any} */ (one).name));

test("without a first picture it begins to read anew, with growing gaps and never more than two readers", async () => {
  read();
  const begun = [];
  for (let ms = 0; ms < 30_000; ms += 500) {
    if (processors.length > begun.length) begun.push(ms);
    await pass(LET_GO_MS);
    assert.ok(processors.filter(({ cancelled }) => !cancelled).length <= 2);
    await pass(500 - LET_GO_MS);
  }
  assert.deepEqual(begun, [0, 500, 1_500, 3_500, 7_500, 15_500, 23_500]);
});

test("the reader that gives the first picture goes on alone, and nothing more is tried", async () => {
  read();
  await pass(500);
  const [first, second] = processors;
  await second.sends(picture("a"));
  await pass(LET_GO_MS);
  assert.ok(first.cancelled && !second.cancelled);
  await second.sends(picture("b"));
  await pass(60_000);
  assert.deepEqual(taken, ["a", "b"]);
  assert.equal(processors.length, 2);
});

test("the first picture may come late, by the first reader", async () => {
  read();
  await pass(500);
  await processors[0].sends(picture("late"));
  await pass(60_000);
  assert.deepEqual(taken, ["late"]);
  assert.equal(processors.length, 2);
});

test("a refresh brings about a picture of a screen that stands still", async () => {
  const reader = read();
  await processors[0].sends(picture("first"));
  reader.refresh();
  await processors[1].sends(picture("again"));
  assert.deepEqual(taken, ["first", "again"]);
  await pass(LET_GO_MS);
  assert.deepEqual(processors.map(({ cancelled }) => cancelled), [true, false]);
});

test("a picture that cannot be used does not end the reading", async () => {
  const seen = [];
  readPictures(/** @type {any} */ ({}), (one) => {
    seen.push(one);
    if (seen.length === 1) throw new Error("unusable");
  });
  await processors[0].sends(picture("a"));
  await processors[0].sends(picture("b"));
  assert.equal(seen.length, 2);
});

test("a track that has ended cannot be refreshed, and that is no fault", async () => {
  const reader = read();
  ended = true;
  reader.refresh();
  await pass(60_000);
  assert.equal(processors.length, 1);
});

test("stopped, it reads nothing and begins nothing", async () => {
  const reader = read();
  await pass(500);
  reader.stop();
  reader.refresh();
  await pass(60_000);
  assert.equal(processors.length, 2);
  assert.ok(processors.every(({ cancelled }) => cancelled));
});

test("a picture that is on its way when the reading stops is closed, and then it is over", async () => {
  const reader = read();
  await processors[0].sends(picture("first"));
  reader.stop();
  const late = picture("late");
  await processors[0].sends(late);
  assert.deepEqual([taken, late.closed, processors[0].cancelled], [["first"], true, true]);
});

// ---- by <video> -----------------------------------------------------------------------------------

test("a video's only picture is taken another time if it could not be taken at first", async (t) => {
  const scope = /** @type {any} */ (globalThis);
  Reflect.deleteProperty(scope, "MediaStreamTrackProcessor");
  const presented = [];
  let usable = false;
  scope.location = { origin: "null" };
  scope.MediaStream = class {};
  scope.Worker = undefined;
  scope.VideoFrame = class {
    name = "frame";
    constructor() {
      if (!usable) throw new Error("not yet");
    }
  };
  scope.document = {
    hidden: false,
    createElement: () => ({
      readyState: 4,
      getVideoPlaybackQuality: () => ({ totalVideoFrames: 1 }),
      requestVideoFrameCallback: (run) => presented.push(run),
      play: async () => {},
    }),
  };
  t.after(() => ["location", "MediaStream", "Worker", "VideoFrame", "document"].forEach((one) => Reflect.deleteProperty(scope, one)));
  const track = /** @type {any} */ ({ clone: () => ({ stop() {} }) });
  const reader = readPictures(track, (one) => taken.push(/** @type {any} */ (one).name));
  presented.shift()();
  await settle();
  assert.deepEqual(taken, []);
  usable = true;
  presented.shift()();
  await settle();
  assert.deepEqual(taken, ["frame"]);
  reader.stop();
});
