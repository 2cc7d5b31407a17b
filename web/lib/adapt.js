// What the publisher sends: which codec, which size, how many bits and frames a second.
//
// Pure functions and values; time is an argument. Does not touch an encoder, a socket or a clock:
// share/publisher.js asks and obeys. The figures behind the numbers were measured (design, browser side).

/** Codec families, cheapest first for a visitor's unknown computer; JPEG is the floor that always works. */
export const LADDER = Object.freeze(["avc1", "vp09", "vp8", "jpeg"]);

/** More frames cost a visitor's computer more than they tell an agent. */
export const MAX_FPS = 15;
/** Below this a pointer is hard to follow; better fewer bits a frame. */
const MIN_FPS = 3;
/** Enough for 720p screen text at 15 frames a second. */
const KBPS_AT_720P = 2_000;
const PIXELS_AT_720P = 1280 * 720;
const MAX_KBPS = 4_000;
const MIN_KBPS = 150;
/** A fall is decided at most this often, or one slow moment would be punished many times. */
const FALL_EVERY_MS = 1_000;
/** Quiet time before the rate is tried upwards, and between two tries. */
const RISE_EVERY_MS = 3_000;
const RISE = 1.2;
const FALL = 0.7;

/**
 * Largest picture: the macroblocks of 16x16 that level 4.0 allows (1920x1088). Software encoders fall
 * behind above it, so a bigger screen is scaled down; at half of it, text on a 1080p screen gets unreadable.
 */
const MAX_MACROBLOCKS = 8_192;

/** @type {Readonly<Record<string, string>>} */
const CODEC_STRINGS = Object.freeze({
  avc1: "avc1.42e028", // constrained baseline, level 4.0: every decoder has it
  vp09: "vp09.00.40.08",
  vp8: "vp8",
  av01: "av01.0.08M.08",
});

/**
 * The families worth trying, best first: what the viewers decode, in the order of the ladder.
 * AV1 only leads when the host asked for it (slow uplink, fast processor).
 * @param {readonly string[] | undefined} decodable what every viewer decodes; absent or empty: all
 * @param {{ av1?: boolean }} [wish]
 * @returns {string[]}
 */
export function codecOrder(decodable, { av1 = false } = {}) {
  const ladder = av1 ? ["av01", ...LADDER] : [...LADDER];
  if (!decodable?.length) return ladder;
  const common = ladder.filter((family) => decodable.includes(family));
  return common.length ? common : ["jpeg"];
}

/** The WebCodecs string of a family. @param {string} family */
export function codecString(family) {
  return CODEC_STRINGS[family] ?? family;
}

/**
 * The size to encode: even (4:2:0 halves both sides), never larger than the picture or the limit.
 * @param {number} width @param {number} height
 * @returns {{ width: number, height: number }}
 */
export function fitSize(width, height) {
  const even = (/** @type {number} */ n) => Math.max(2, Math.floor(n / 2) * 2);
  const blocks = (/** @type {number} */ n) => Math.ceil(n / 16);
  const scaled = (/** @type {number} */ scale) => ({ width: even(width * scale), height: even(height * scale) });
  let scale = Math.min(1, Math.sqrt((MAX_MACROBLOCKS * 256) / (width * height)));
  let size = scaled(scale);
  while (blocks(size.width) * blocks(size.height) > MAX_MACROBLOCKS) {
    scale *= 0.99;
    size = scaled(scale);
  }
  return size;
}

/**
 * The rate a picture of this size deserves on a good line.
 * @param {{ width: number, height: number }} size
 */
export function ceilingKbps({ width, height }) {
  return Math.round(Math.min(MAX_KBPS, Math.max(600, (KBPS_AT_720P * width * height) / PIXELS_AT_720P)));
}

/**
 * @typedef {object} Rate
 * @property {number} kbps
 * @property {number} fps
 * @property {number} ceiling highest kbps to try
 * @property {number} changedAt when it last fell or rose, ms
 */

/** @param {number} ceiling @param {number} now @returns {Rate} */
export function startRate(ceiling, now) {
  return { kbps: ceiling, fps: fpsFor(ceiling), ceiling, changedAt: now };
}

/**
 * A new picture size moves the ceiling; what was learnt about the line stays.
 * @param {Rate} rate @param {number} ceiling @returns {Rate}
 */
export function withCeiling(rate, ceiling) {
  const kbps = rate.kbps === rate.ceiling ? ceiling : Math.min(rate.kbps, ceiling);
  return { ...rate, ceiling, kbps, fps: fpsFor(kbps) };
}

/**
 * Answers the server's `feedback`. While only a minority lags, the median viewer is the measure: the relay
 * already drops for the slow ones, and one of them must not blur the picture for all.
 * @param {Rate} rate
 * @param {{ kbps: number, medianKbps?: number, lagging: number, viewers: number }} feedback
 * @param {number} now
 * @returns {Rate}
 */
export function onFeedback(rate, { kbps, medianKbps = 0, lagging, viewers }, now) {
  if (!(lagging > 0)) return rate;
  const measured = lagging * 2 < viewers ? medianKbps : kbps;
  if (lagging * 2 < viewers && !(measured > 0 && measured < rate.kbps)) return rate;
  return fall(rate, measured > 0 ? Math.min(rate.kbps * FALL, measured * 0.85) : rate.kbps * FALL, now);
}

/**
 * Our own uplink is full: frames wait in the socket.
 * @param {Rate} rate @param {number} now @returns {Rate}
 */
export function onCongestion(rate, now) {
  return fall(rate, rate.kbps * FALL, now);
}

/**
 * Tries upwards after a quiet time; called for each frame, changes something every few seconds at most.
 * @param {Rate} rate @param {number} now @returns {Rate}
 */
export function onQuiet(rate, now) {
  if (rate.kbps >= rate.ceiling || now - rate.changedAt < RISE_EVERY_MS) return rate;
  const kbps = Math.min(rate.ceiling, Math.round(rate.kbps * RISE));
  return { ...rate, kbps, fps: fpsFor(kbps), changedAt: now };
}

/** @param {Rate} rate @param {number} wanted @param {number} now @returns {Rate} */
function fall(rate, wanted, now) {
  if (now - rate.changedAt < FALL_EVERY_MS || rate.kbps <= MIN_KBPS) return rate;
  const kbps = Math.max(MIN_KBPS, Math.round(wanted));
  return { ...rate, kbps, fps: fpsFor(kbps), changedAt: now };
}

/** Few bits are better spent on few sharp frames. @param {number} kbps */
function fpsFor(kbps) {
  return Math.max(MIN_FPS, Math.min(MAX_FPS, Math.round(kbps / 60)));
}
