// Which frame of one stream a viewer may decode, and which it may paint.
//
// Decides, frame by frame and without touching a decoder: waiting for a key frame, groups, the live edge, and what
// to give up when decoding falls behind. Does not decide when to ask for a key frame (view.js) nor how to decode.
//
// Why gaps in the sequence are legal here: one WebSocket is ordered and reliable, so a missing number was withheld
// on purpose, by the publisher (before encoding) or by the relay. The relay takes higher temporal layers away at any
// frame, gives them back only at a base-layer frame, and after any other loss sends nothing but a key frame. So what
// arrives inside a group is decodable as it stands, unless this viewer itself has left something out: that is what
// `lose` is for. A gap is only counted.

import { FrameType, isAfter } from "./frame.js";

/**
 * Frames waiting in the decoder before droppable ones are skipped: at 15 fps four are a quarter of a second, the most
 * an agent does not notice. At two a single late task would cost frames, at eight the next limit is reached first.
 */
export const SHED_ABOVE = 4;
/**
 * Frames waiting in the decoder before everything up to the next key frame is given up: half a second at 15 fps.
 * At four ordinary hiccups would cost a key frame for everybody, at sixteen the picture is a second old.
 */
export const GIVE_UP_ABOVE = 8;
/**
 * The same limit while the relay's cache is being worked off: it arrives in one burst of at most 10 s, which is 300
 * frames at 30 fps and says nothing about this viewer's speed. With half of it a busy page could not be joined.
 */
export const GIVE_UP_ABOVE_AT_JOIN = 300;

/**
 * Why a frame was or was not decoded.
 * @typedef {"ok" | "waiting_for_key" | "other_group" | "stale" | "shed" | "behind"} GateReason
 */

/**
 * What to do with one frame.
 * @typedef {object} Verdict
 * @property {boolean} decode hand it to the decoder
 * @property {boolean} paint show it; false while catching up with the live edge
 * @property {boolean} restart a key frame after a loss: throw away what the decoder still holds
 * @property {GateReason} reason
 */

/** @import { FrameHeader } from "./frame.js" */

/** What the gate needs of a header. @typedef {Pick<FrameHeader, "type" | "key" | "droppable" | "sequence" | "group">} GateHeader */

/** The gate of one stream. */
export class Gate {
  /** Group of the key frame decoded last; null while waiting for one. @type {number | null} */
  #group = null;
  /** Sequence seen last inside the group. @type {number | null} */
  #last = null;
  /** Live edge at the time of joining; null once reached. @type {number | null} */
  #edge;
  /** The cache's burst is still in the decoder, so the limits of normal running do not apply yet. */
  #burst;
  #restart = false;

  /** Frames that never arrived: withheld by publisher or relay. */
  withheld = 0;
  /** Frames that arrived and were not decoded. */
  dropped = 0;

  /** @param {number | null} [edge] newest sequence the relay had when this viewer joined */
  constructor(edge = null) {
    this.#edge = edge;
    this.#burst = edge !== null;
  }

  /** True while nothing but a key frame can be decoded. */
  get waiting() {
    return this.#group === null;
  }

  /** True while frames are decoded but older than the live edge at the time of joining. */
  get catchingUp() {
    return this.#edge !== null;
  }

  /**
   * Judges the next frame of the stream.
   * @param {GateHeader} header
   * @param {number} [queued] frames the decoder has not finished yet
   * @returns {Verdict}
   */
  admit(header, queued = 0) {
    // A full image depends on nothing, whatever its flag says.
    if (header.key || header.type === FrameType.IMAGE) return this.#open(header);
    if (this.#group === null) return this.#refuse("waiting_for_key");
    if (header.group !== this.#group) {
      this.lose();
      return this.#refuse("other_group");
    }
    if (this.#last !== null && !isAfter(header.sequence, this.#last)) return this.#refuse("stale");
    if (this.#last !== null) this.withheld += ((header.sequence - this.#last) >>> 0) - 1;
    this.#last = header.sequence;
    if (this.#edge === null && queued <= SHED_ABOVE) this.#burst = false;
    if (queued > (this.#burst ? GIVE_UP_ABOVE_AT_JOIN : GIVE_UP_ABOVE)) {
      this.lose();
      return this.#refuse("behind");
    }
    if (header.droppable && queued > SHED_ABOVE && !this.#burst) return this.#refuse("shed");
    return { decode: true, paint: this.#reachEdge(header.sequence), restart: false, reason: "ok" };
  }

  /** Something that later frames depend on was left out or failed: only a key frame helps. */
  lose() {
    this.#group = null;
    this.#last = null;
    this.#restart = true;
  }

  /** Ends catching up: the newest decoded frame is as live as it gets, for example on a page that stands still. */
  settle() {
    this.#edge = null;
  }

  /** @param {GateHeader} header @returns {Verdict} */
  #open(header) {
    const restart = this.#restart;
    this.#restart = false;
    this.#group = header.group;
    this.#last = header.sequence;
    return { decode: true, paint: this.#reachEdge(header.sequence), restart, reason: "ok" };
  }

  /** @param {GateReason} reason @returns {Verdict} */
  #refuse(reason) {
    this.dropped += 1;
    return { decode: false, paint: false, restart: false, reason };
  }

  /** @param {number} sequence */
  #reachEdge(sequence) {
    if (this.#edge !== null && !isAfter(this.#edge, sequence)) this.#edge = null;
    return this.#edge === null;
  }
}
