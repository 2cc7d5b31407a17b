import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { decodeFrame, encodeFrame, encodeHeader, FrameError, FrameType, HEADER_BYTES, isAfter, MAX_FRAME_BYTES } from "../lib/frame.js";

const vectors = JSON.parse(readFileSync(new URL("../../tests/vectors/frames.json", import.meta.url), "utf8"));
const bytesOf = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));

/** A valid header to change one thing of. */
const plain = Object.freeze({
  type: FrameType.VIDEO,
  key: false,
  droppable: false,
  last: false,
  encrypted: false,
  layer: 0,
  stream: 0,
  sequence: 1,
  group: 1,
  time: 1,
  width: 2,
  height: 2,
  config: null,
});

const faultOf = (run) => {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof FrameError, String(error));
    return error.code;
  }
  return null;
};

test("golden frames decode to what they say, and encode to the same bytes", () => {
  for (const { name, hex, header, payload } of vectors.filter(({ valid }) => valid)) {
    const { payload: got, ...facts } = decodeFrame(bytesOf(hex));
    assert.deepEqual(facts, header, name);
    assert.equal(Buffer.from(got).toString("hex"), payload, name);
    assert.equal(Buffer.from(encodeFrame(header, bytesOf(payload))).toString("hex"), hex, name);
  }
});

test("golden faults are refused by name", () => {
  for (const { name, hex, error } of vectors.filter(({ valid }) => !valid)) {
    assert.equal(faultOf(() => decodeFrame(bytesOf(hex))), error, name);
  }
});

test("a frame is decoded from an ArrayBuffer and from the middle of another buffer", () => {
  const frame = encodeFrame(plain, new Uint8Array([7, 8, 9]));
  const around = new Uint8Array(frame.length + 10);
  around.set(frame, 5);
  assert.deepEqual([...decodeFrame(frame.buffer).payload], [7, 8, 9]);
  assert.deepEqual([...decodeFrame(around.subarray(5, 5 + frame.length)).payload], [7, 8, 9]);
});

test("the payload is a view, not a copy", () => {
  const frame = encodeFrame(plain, new Uint8Array([7]));
  assert.equal(decodeFrame(frame).payload.buffer, frame.buffer);
});

test("a field that does not fit is an error, never a wrapped number", () => {
  const cases = {
    layer: [-1, 256, 0.5],
    stream: [-1, 2 ** 32],
    sequence: [-1, 2 ** 32, NaN],
    group: [2 ** 32],
    time: [-1, 2 ** 53, 0.1],
    width: [65_536],
    height: [65_536, Infinity],
  };
  for (const [field, values] of Object.entries(cases)) {
    for (const value of values) {
      assert.equal(faultOf(() => encodeHeader({ ...plain, [field]: value })), "field", `${field} ${value}`);
    }
  }
  assert.equal(faultOf(() => encodeHeader({ ...plain, type: 6 })), "type");
  assert.equal(faultOf(() => encodeHeader({ ...plain, key: true })), "config_missing");
  const config = { codec: "x".repeat(1024), width: 1, height: 1 };
  assert.equal(faultOf(() => encodeHeader({ ...plain, config })), "config_length");
});

test("the limit of a frame counts its header", () => {
  assert.equal(encodeFrame(plain, new Uint8Array(MAX_FRAME_BYTES - HEADER_BYTES)).length, MAX_FRAME_BYTES);
  assert.equal(faultOf(() => encodeFrame(plain, new Uint8Array(MAX_FRAME_BYTES - HEADER_BYTES + 1))), "too_long");
  assert.equal(faultOf(() => decodeFrame(new Uint8Array(MAX_FRAME_BYTES + 1))), "too_long");
});

test("a config that is not what a decoder needs is refused", () => {
  const withConfig = (text) => {
    const config = new TextEncoder().encode(text);
    const frame = new Uint8Array(HEADER_BYTES + config.length);
    frame.set(encodeHeader({ ...plain, type: FrameType.IMAGE, key: true }));
    frame[2] |= 2;
    new DataView(frame.buffer).setUint16(28, config.length);
    frame.set(config, HEADER_BYTES);
    return frame;
  };
  for (const text of ["{", "null", "[]", '"x"', "{}", '{"codec":1,"width":1,"height":1}', '{"codec":"vp8","width":0,"height":1}', '{"codec":"vp8","width":1,"height":70000}', '{"codec":"vp8","width":1,"height":1,"description":2}']) {
    assert.equal(faultOf(() => decodeFrame(withConfig(text))), "config_json", text);
  }
  const broken = withConfig('{"codec":"vp8","width":1,"height":1}');
  broken[HEADER_BYTES + 12] = 0xff;
  assert.equal(faultOf(() => decodeFrame(broken)), "config_json");
});

test("junk is refused or decoded, and throws nothing else", () => {
  let seed = 42;
  const random = () => (seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff) / 0x80000000;
  for (let i = 0; i < 5_000; i++) {
    const junk = Uint8Array.from({ length: Math.floor(random() * 80) }, () => Math.floor(random() * 256));
    if (i % 2 && junk.length > 2) junk.set([1, 1 + (i % 5), i % 32]);
    faultOf(() => decodeFrame(junk));
  }
});

test("sequences compare across the wrap", () => {
  assert.ok(isAfter(1, 0));
  assert.ok(!isAfter(0, 1));
  assert.ok(!isAfter(5, 5));
  assert.ok(isAfter(0, 2 ** 32 - 1));
  assert.ok(!isAfter(2 ** 32 - 1, 0));
});
