import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { FrameType } from "../lib/frame.js";
import { fill } from "../lib/shadow.js";
import { joinNames } from "../share/bar.js";
import { pickScreen } from "../share/capture.js";
import { openEncoder, sizeOf } from "../share/encode.js";

afterEach(() => {
  delete globalThis.VideoEncoder;
  delete globalThis.VideoFrame;
});

// ---- the picker -------------------------------------------------------------------------------

const refusing = (name) => ({ getDisplayMedia: () => Promise.reject(Object.assign(new Error(name), { name })) });

test("says why there is no capture", async () => {
  await assert.rejects(pickScreen(undefined, null), { code: "unsupported" });
  await assert.rejects(pickScreen(undefined, {}), { code: "unsupported" });
  await assert.rejects(pickScreen(undefined, refusing("NotAllowedError")), { code: "denied" });
  await assert.rejects(pickScreen(undefined, refusing("InvalidStateError")), { code: "gesture" });
  await assert.rejects(pickScreen(undefined, refusing("InvalidAccessError")), { code: "gesture" });
  await assert.rejects(pickScreen(undefined, refusing("NotReadableError")), { code: "failed" });
});

test("asks for 15 pictures a second, this tab by wish, anything else as it is", async () => {
  const asked = [];
  const track = { contentHint: "" };
  const devices = {
    getDisplayMedia: async (options) => {
      asked.push(options);
      return { getVideoTracks: () => [track] };
    },
  };
  assert.equal(await pickScreen(undefined, devices), track);
  assert.equal(track.contentHint, "text");
  await pickScreen("tab", devices);
  await pickScreen({ video: { displaySurface: "monitor" } }, devices);
  assert.equal(asked[0].video.frameRate, 15);
  assert.equal(asked[0].preferCurrentTab, undefined);
  assert.equal(asked[1].preferCurrentTab, true);
  assert.deepEqual(asked[2].video, { displaySurface: "monitor" });
});

// ---- encoders ---------------------------------------------------------------------------------

/** WebCodecs as far as the encoder looks at it. */
function fakeWebCodecs(supports) {
  const seen = { probed: [], configured: [], frames: [], encoders: [] };
  globalThis.VideoFrame = class {
    constructor(source, init) {
      seen.frames.push(init);
    }
    close() {}
  };
  globalThis.VideoEncoder = class {
    state = "unconfigured";
    encodeQueueSize = 0;
    static async isConfigSupported(config) {
      seen.probed.push(`${config.codec} ${config.scalabilityMode ?? "-"} ${config.bitrateMode}`);
      return { supported: supports(config) };
    }
    constructor(events) {
      this.events = events;
      seen.encoders.push(this);
    }
    configure(config) {
      this.state = "configured";
      seen.configured.push(config);
    }
    encode() {}
    close() {
      this.state = "closed";
    }
  };
  return seen;
}

const size = { width: 1280, height: 720 };
const nothing = { onEncoded() {}, onError() {} };

test("takes the first family with layers, else without, else the next family", async () => {
  let seen = fakeWebCodecs(() => true);
  assert.equal((await openEncoder(["avc1", "vp09"], size, 2000, nothing)).family, "avc1");
  const [config] = seen.configured;
  assert.deepEqual(
    [config.codec, config.scalabilityMode, config.bitrateMode, config.bitrate, config.avc.format, config.latencyMode, config.contentHint],
    ["avc1.42e028", "L1T2", "constant", 2_000_000, "annexb", "realtime", "text"],
  );
  seen = fakeWebCodecs((one) => one.codec === "avc1.42e028" && !one.scalabilityMode);
  assert.equal((await openEncoder(["avc1", "vp09"], size, 2000, nothing)).family, "avc1");
  assert.equal(seen.configured[0].bitrateMode, "variable");
  seen = fakeWebCodecs((one) => one.codec === "vp8");
  assert.equal((await openEncoder(["avc1", "vp09", "vp8"], size, 2000, nothing)).family, "vp8");
  assert.equal(seen.probed.length, 5);
});

test("a family that was supported and cannot be opened gives way to the next", async (t) => {
  t.mock.method(console, "warn", () => {});
  fakeWebCodecs(() => true);
  const { prototype } = globalThis.VideoEncoder;
  const configure = prototype.configure;
  prototype.configure = function (config) {
    if (config.codec.startsWith("avc1")) throw new DOMException("no", "NotSupportedError");
    configure.call(this, config);
  };
  assert.equal((await openEncoder(["avc1", "vp09"], size, 2000, nothing)).family, "vp09");
});

test("a new bit rate is configured at the same size", async () => {
  const seen = fakeWebCodecs(() => true);
  const encoder = await openEncoder(["vp8"], size, 2000, nothing);
  encoder.setKbps(500);
  const { bitrate, ...rest } = seen.configured[1];
  assert.equal(bitrate, 500_000);
  assert.deepEqual(rest, (({ bitrate: _, ...same }) => same)(seen.configured[0]));
});

test("tells key frames, layers and the last frame from chunk and metadata", async () => {
  const seen = fakeWebCodecs(() => true);
  const out = [];
  const encoder = await openEncoder(["avc1"], size, 2000, { ...nothing, onEncoded: (encoded) => out.push(encoded) });
  const chunk = (type, timestamp) => ({ type, timestamp, byteLength: 3, copyTo: (to) => to.set([1, 2, 3]) });
  encoder.encode({ displayWidth: 1280, displayHeight: 720 }, { key: false, last: true, time: 30 });
  const { output } = seen.encoders[0].events;
  output(chunk("key", 10), { decoderConfig: {}, svc: { temporalLayerId: 0 } });
  output(chunk("delta", 20), { svc: { temporalLayerId: 1 } });
  output(chunk("delta", 30), {});
  assert.deepEqual(out.map(({ type, key, layer, droppable, last, time }) => [type, key, layer, droppable, last, time]), [
    [FrameType.VIDEO, true, 0, false, false, 10],
    [FrameType.VIDEO, false, 1, true, false, 20],
    [FrameType.VIDEO, false, 0, false, true, 30],
  ]);
  assert.deepEqual(out[0].config, { codec: "avc1.42e028", width: 1280, height: 720 });
  assert.equal(out[1].config, null);
  assert.deepEqual([...out[0].payload], [1, 2, 3]);
});

test("a frame that comes out after a new size was configured keeps its own", async () => {
  const seen = fakeWebCodecs(() => true);
  const out = [];
  const encoder = await openEncoder(["vp8"], size, 2000, { ...nothing, onEncoded: (encoded) => out.push(encoded) });
  const picture = { displayWidth: 1280, displayHeight: 720 };
  encoder.encode(picture, { key: true, last: false, time: 10 });
  encoder.configure({ width: 640, height: 360 }, 1000);
  encoder.encode(picture, { key: true, last: false, time: 20 });
  for (const timestamp of [10, 20]) {
    seen.encoders[0].events.output({ type: "key", timestamp, byteLength: 1, copyTo() {} }, {});
  }
  assert.deepEqual(out.map(({ width, config }) => [width, config.width]), [[1280, 1280], [640, 640]]);
});

test("an out-of-band description travels with the key frame", async () => {
  const seen = fakeWebCodecs(() => true);
  const out = [];
  await openEncoder(["av01"], size, 2000, { ...nothing, onEncoded: (encoded) => out.push(encoded) });
  const description = new Uint8Array([0x81, 0x08]).buffer;
  seen.encoders[0].events.output({ type: "key", timestamp: 1, byteLength: 1, copyTo() {} }, { decoderConfig: { description } });
  assert.equal(out[0].config.description, "gQg=");
});

test("an odd column is cut off, not scaled away", async () => {
  const seen = fakeWebCodecs(() => true);
  const encoder = await openEncoder(["vp8"], { width: 1000, height: 600 }, 2000, nothing);
  const order = { key: false, last: false, time: 1 };
  encoder.encode({ displayWidth: 1001, visibleRect: { x: 0, y: 0, width: 1001, height: 601 } }, order);
  encoder.encode({ displayWidth: 1000, visibleRect: { x: 0, y: 0, width: 1000, height: 600 } }, order);
  encoder.encode({ displayWidth: 4000, visibleRect: { x: 0, y: 0, width: 4000, height: 2400 } }, order);
  assert.deepEqual(seen.frames[0].visibleRect, { x: 0, y: 0, width: 1000, height: 600 });
  assert.equal(seen.frames[1].visibleRect, undefined);
  assert.equal(seen.frames[2].visibleRect, undefined);
});

test("pictures of both kinds have a size", () => {
  assert.deepEqual(sizeOf({ displayWidth: 3, displayHeight: 4 }), { width: 3, height: 4 });
  assert.deepEqual(sizeOf({ width: 5, height: 6 }), { width: 5, height: 6 });
});

// ---- the bar ----------------------------------------------------------------------------------

test("names the agents who watch", () => {
  assert.equal(joinNames([]), "");
  assert.equal(joinNames(["Alice"]), "Alice");
  assert.equal(joinNames(["Alice", "Bob"]), "Alice and Bob");
  assert.equal(joinNames(["Alice", "Bob", "Carol"]), "Alice and 2 others");
  assert.equal(joinNames([""]), "an agent");
});

test("fills places in texts, and leaves unknown ones", () => {
  assert.equal(fill("{a} and {b}", { a: "x" }), "x and {b}");
});
