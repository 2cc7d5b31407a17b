// Frame header of the session socket: 32 big-endian bytes before each payload (protocol, section 6).
//
// Decides what a well-formed frame is, byte for byte as `tests/vectors/frames.json` pins it.
// Does not decide who may send one, what a payload means or when a delta may be decoded.
// Called by the publisher (share/) to encode and by the viewer (view.js) to decode.

/** The only header format there is. */
export const FRAME_VERSION = 1;
/** Bytes before the config block. */
export const HEADER_BYTES = 32;
/** Longest config block: one small JSON object; the field could say 65,535. */
export const MAX_CONFIG_BYTES = 1024;
/** Longest frame, header included: the server closes the connection above it. */
export const MAX_FRAME_BYTES = 4 * 1024 * 1024;

/** What a payload is. */
export const FrameType = Object.freeze({ VIDEO: 1, IMAGE: 2, TILES: 3, AUDIO: 4, DOM: 5 });

/** Well-known streams; others are announced. */
export const Stream = Object.freeze({ SCREEN: 0, CAMERA: 1 });

const KEY = 1;
const CONFIG = 2;
const DROPPABLE = 4;
const LAST = 8;
const ENCRYPTED = 16;
const KNOWN_FLAGS = KEY | CONFIG | DROPPABLE | LAST | ENCRYPTED;

const U8 = 0xff;
const U16 = 0xffff;
const U32 = 0xffffffff;

/**
 * What a decoder needs to know before the first chunk of a group.
 * @typedef {object} FrameConfig
 * @property {string} codec WebCodecs codec string, or `jpeg`
 * @property {number} width
 * @property {number} height
 * @property {string} [description] base64 of the codec's out-of-band description, if it has one
 */

/**
 * The clear part of a frame.
 * @typedef {object} FrameHeader
 * @property {number} type one of {@link FrameType}
 * @property {boolean} key the frame needs no earlier one
 * @property {boolean} droppable nothing later depends on it
 * @property {boolean} last the publisher expects silence after it
 * @property {boolean} encrypted the payload is end-to-end encrypted
 * @property {number} layer temporal layer, 0 = base
 * @property {number} stream 0 screen, 1 camera
 * @property {number} sequence per stream, +1 for each frame before any drop, wraps at 2^32
 * @property {number} group raised at each key frame; a delta is valid only inside its group
 * @property {number} time capture time, microseconds of the publisher's clock
 * @property {number} width
 * @property {number} height
 * @property {FrameConfig | null} config required on a key frame of type video
 */

/** @typedef {FrameHeader & { payload: Uint8Array<ArrayBuffer> }} Frame */

/**
 * Names of what can be wrong with a frame; `tests/vectors/frames.json` uses them.
 * @typedef {"too_short" | "too_long" | "version" | "type" | "flags" | "reserved" | "config_length"
 *   | "config_flag" | "config_missing" | "config_json" | "field"} FrameFault
 */

/** A frame that does not keep to the format. */
export class FrameError extends Error {
  /** @param {FrameFault} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.name = "FrameError";
    this.code = code;
  }
}

/**
 * Encodes header and config block: the bytes that go before the payload.
 * Throws {@link FrameError} when a field does not fit, since a wrapped number would be a silent lie.
 * @param {FrameHeader} header
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeHeader(header) {
  return encodeFrame(header, new Uint8Array(0));
}

/**
 * Encodes a whole frame into one buffer, ready for `WebSocket.send`.
 * @param {FrameHeader} header
 * @param {Uint8Array} payload
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeFrame(header, payload) {
  const config = header.config ? new TextEncoder().encode(JSON.stringify(header.config)) : new Uint8Array(0);
  if (config.length > MAX_CONFIG_BYTES) {
    throw new FrameError("config_length", `config of ${config.length} bytes exceeds ${MAX_CONFIG_BYTES}`);
  }
  if (header.key && header.type === FrameType.VIDEO && config.length === 0) {
    throw new FrameError("config_missing", "key frame of type video without config");
  }
  const length = HEADER_BYTES + config.length + payload.length;
  if (length > MAX_FRAME_BYTES) {
    throw new FrameError("too_long", `frame of ${length} bytes exceeds ${MAX_FRAME_BYTES}`);
  }
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, FRAME_VERSION);
  view.setUint8(1, knownType(header.type));
  view.setUint8(2, flagsOf(header, config.length > 0));
  view.setUint8(3, fit("layer", header.layer, U8));
  view.setUint32(4, fit("stream", header.stream, U32));
  view.setUint32(8, fit("sequence", header.sequence, U32));
  view.setUint32(12, fit("group", header.group, U32));
  view.setBigUint64(16, BigInt(fit("time", header.time, Number.MAX_SAFE_INTEGER)));
  view.setUint16(24, fit("width", header.width, U16));
  view.setUint16(26, fit("height", header.height, U16));
  view.setUint16(28, config.length);
  bytes.set(config, HEADER_BYTES);
  bytes.set(payload, HEADER_BYTES + config.length);
  return bytes;
}

/**
 * Decodes a frame; the payload is a view into `data`, not a copy.
 * Times beyond 2^53 µs (year 2255) come out rounded.
 * @param {ArrayBuffer | Uint8Array<ArrayBuffer>} data one binary message
 * @returns {Frame}
 */
export function decodeFrame(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  if (bytes.length < HEADER_BYTES) {
    throw new FrameError("too_short", `frame of ${bytes.length} bytes is shorter than its header`);
  }
  if (bytes.length > MAX_FRAME_BYTES) {
    throw new FrameError("too_long", `frame of ${bytes.length} bytes exceeds ${MAX_FRAME_BYTES}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const version = view.getUint8(0);
  if (version !== FRAME_VERSION) throw new FrameError("version", `unknown frame version ${version}`);
  const type = knownType(view.getUint8(1));
  const flags = view.getUint8(2);
  if (flags & ~KNOWN_FLAGS) throw new FrameError("flags", `unknown flags 0x${flags.toString(16)}`);
  if (view.getUint16(30) !== 0) throw new FrameError("reserved", "reserved bytes are not zero");
  const configLength = view.getUint16(28);
  if (configLength > MAX_CONFIG_BYTES) {
    throw new FrameError("config_length", `config of ${configLength} bytes exceeds ${MAX_CONFIG_BYTES}`);
  }
  if ((flags & CONFIG) !== 0 !== configLength > 0) {
    throw new FrameError("config_flag", "config flag and config length disagree");
  }
  const payloadAt = HEADER_BYTES + configLength;
  if (payloadAt > bytes.length) {
    throw new FrameError("too_short", `frame of ${bytes.length} bytes is shorter than its config`);
  }
  const key = (flags & KEY) !== 0;
  if (key && type === FrameType.VIDEO && configLength === 0) {
    throw new FrameError("config_missing", "key frame of type video without config");
  }
  return {
    type,
    key,
    droppable: (flags & DROPPABLE) !== 0,
    last: (flags & LAST) !== 0,
    encrypted: (flags & ENCRYPTED) !== 0,
    layer: view.getUint8(3),
    stream: view.getUint32(4),
    sequence: view.getUint32(8),
    group: view.getUint32(12),
    time: Number(view.getBigUint64(16)),
    width: view.getUint16(24),
    height: view.getUint16(26),
    config: configLength > 0 ? parseConfig(bytes.subarray(HEADER_BYTES, payloadAt)) : null,
    payload: bytes.subarray(payloadAt),
  };
}

/**
 * Tells whether sequence `a` comes after `b`, across the wrap at 2^32.
 * @param {number} a @param {number} b
 */
export function isAfter(a, b) {
  return a !== b && ((a - b) >>> 0) < 0x80000000;
}

/** @param {FrameHeader} header @param {boolean} hasConfig */
function flagsOf(header, hasConfig) {
  return (
    (header.key ? KEY : 0) |
    (hasConfig ? CONFIG : 0) |
    (header.droppable ? DROPPABLE : 0) |
    (header.last ? LAST : 0) |
    (header.encrypted ? ENCRYPTED : 0)
  );
}

/** @param {number} type */
function knownType(type) {
  if (!(Number.isInteger(type) && type >= FrameType.VIDEO && type <= FrameType.DOM)) {
    throw new FrameError("type", `unknown frame type ${type}`);
  }
  return type;
}

/** @param {string} name @param {number} value @param {number} max */
function fit(name, value, max) {
  if (!(Number.isInteger(value) && value >= 0 && value <= max)) {
    throw new FrameError("field", `${name} ${value} is not an integer from 0 to ${max}`);
  }
  return value;
}

/** @param {Uint8Array} bytes @returns {FrameConfig} */
function parseConfig(bytes) {
  let config;
  try {
    config = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new FrameError("config_json", "config is not UTF-8 JSON");
  }
  const size = (/** @type {unknown} */ n) => Number.isInteger(n) && Number(n) > 0 && Number(n) <= U16;
  if (typeof config?.codec !== "string" || !size(config.width) || !size(config.height)) {
    throw new FrameError("config_json", "config lacks codec, width or height");
  }
  if (config.description !== undefined && typeof config.description !== "string") {
    throw new FrameError("config_json", "config description is not a string");
  }
  return config;
}
