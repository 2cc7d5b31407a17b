// The pump between pictures and the session: what is encoded when, and in which order it is numbered.
//
// Decides pace, skips, key frames, sharpening and the frame header. Does not decide where pictures come from
// (share/capture.js), how they are encoded (share/encode.js) or how bytes travel (share.js and its socket).
// Pictures are only ever skipped before the encoder: after it, every delta is somebody's reference.
import { ceilingKbps, codecOrder, fitSize, onCongestion, onFeedback, onQuiet, startRate, withCeiling } from "../lib/adapt.js";
import { encodeFrame, FrameError, FrameType, Stream } from "../lib/frame.js";
import { openEncoder, sizeOf } from "./encode.js";

/** @typedef {import("./capture.js").Picture} Picture */
/** @typedef {import("./encode.js").Encoded} Encoded */
/** @typedef {import("./encode.js").PictureEncoder} PictureEncoder */

/** More than this waiting in the socket is delay that the agent sees; a key frame at 1080p is half of it. */
const MAX_BUFFERED_BYTES = 512 * 1024;
/** An encoder that keeps its rate may drop a picture and say nothing. */
const BUSY_POLL_MS = 30;
/** How soon a full socket is looked at again. */
const BUFFER_POLL_MS = 50;
/** A page that was still for so long is encoded again at better quality: text was blurred while it moved. */
const SHARPEN_AFTER_MS = 300;
const SHARPEN_TIMES = 2;
/** Changes of the bit rate below this share are not worth a reconfiguration. */
const RATE_STEP = 0.1;

/**
 * @typedef {object} PublisherOptions
 * @property {(frame: Uint8Array<ArrayBuffer>) => void} send
 * @property {() => number} buffered bytes that wait in the socket
 * @property {boolean} [av1] try AV1 first
 * @property {typeof openEncoder} [open] for tests
 * @property {() => number} [now] milliseconds since 1970, with fractions
 */

/** Publishes one stream of pictures. */
export class Publisher {
  #options;
  #open;
  #now;
  /** The newest picture; answers key-frame requests of a still page. @type {Picture | null} */
  #kept = null;
  /** The newest picture was not encoded yet. */
  #dirty = false;
  #wantKey = true;
  /** Deltas of the encoder are of no use until the next key frame went out. */
  #awaitKey = true;
  #sharpenLeft = 0;
  #sharpenAt = 0;
  #nextAt = 0;
  #connected = false;
  #paused = false;
  #closed = false;
  /** @type {PictureEncoder | null} */
  #encoder = null;
  /** An encoder is being chosen; raised when that choice is out of date. */
  #choice = 0;
  #choosing = false;
  #size = { width: 0, height: 0 };
  /** @type {readonly string[] | undefined} */
  #decodable;
  /** Families that failed in this browser after they said they would work. @type {Set<string>} */
  #broken = new Set();
  /** @type {import("../lib/adapt.js").Rate} */
  #rate;
  #encoderKbps = 0;
  #sequence = 0;
  #group = 0;
  #lastTime = 0;
  /** @type {any} */
  #timer = null;

  /** @param {PublisherOptions} options */
  constructor(options) {
    this.#options = options;
    this.#open = options.open ?? openEncoder;
    this.#now = options.now ?? (() => performance.timeOrigin + performance.now());
    this.#rate = startRate(ceilingKbps({ width: 1280, height: 720 }), this.#now());
  }

  get rate() {
    return this.#rate;
  }

  /** Codec family in use, or null before the first picture. */
  get family() {
    return this.#encoder?.family ?? null;
  }

  /** Takes a picture over. @param {Picture} picture */
  picture(picture) {
    if (this.#closed) return picture.close();
    this.#kept?.close();
    this.#kept = picture;
    this.#dirty = true;
    this.#setRate(onQuiet(this.#rate, this.#now()));
    this.#pump();
  }

  /** Somebody needs a key frame: of the last picture, if the page is still. */
  requestKey() {
    this.#wantKey = true;
    this.#pump();
  }

  /** The session can take frames; the relay's cache may be gone, so a key frame comes first. */
  connected() {
    this.#connected = true;
    this.#awaitKey = true;
    this.requestKey();
  }

  disconnected() {
    this.#connected = false;
  }

  pause() {
    this.#paused = true;
  }

  resume() {
    this.#paused = false;
    this.#awaitKey = true;
    this.requestKey();
  }

  /** What every present viewer decodes. @param {readonly string[] | undefined} families */
  setDecodable(families) {
    this.#decodable = families;
    if (this.#encoder) this.#choose();
  }

  /** @param {{ kbps: number, medianKbps?: number, lagging: number, viewers: number }} feedback */
  feedback(feedback) {
    this.#setRate(onFeedback(this.#rate, feedback, this.#now()));
  }

  close() {
    this.#closed = true;
    this.#choice += 1;
    clearTimeout(this.#timer);
    this.#encoder?.close();
    this.#kept?.close();
    this.#kept = null;
  }

  /** Encodes the kept picture if there is a reason to and nothing is in the way; else comes back when it may be. */
  #pump() {
    clearTimeout(this.#timer);
    if (!this.#kept || !this.#connected || this.#paused || this.#closed) return;
    const sharpen = !this.#dirty && !this.#wantKey;
    if (sharpen && this.#sharpenLeft === 0) return;
    if (!this.#encoder) {
      if (!this.#choosing) this.#choose();
      return;
    }
    if (this.#encoder.busy) return this.#pumpIn(BUSY_POLL_MS); // its output pumps too, if there is one
    const now = this.#now();
    const due = this.#wantKey ? now : sharpen ? this.#sharpenAt : this.#nextAt;
    if (due > now) return this.#pumpIn(due - now);
    if (this.#options.buffered() > MAX_BUFFERED_BYTES) {
      this.#setRate(onCongestion(this.#rate, now));
      return this.#pumpIn(BUFFER_POLL_MS);
    }
    this.#encode(this.#kept, this.#encoder, sharpen, now);
  }

  /** @param {number} ms */
  #pumpIn(ms) {
    this.#timer = setTimeout(() => this.#pump(), ms);
  }

  /** @param {Picture} picture @param {PictureEncoder} encoder @param {boolean} sharpen @param {number} now */
  #encode(picture, encoder, sharpen, now) {
    const { width, height } = sizeOf(picture);
    const size = fitSize(width, height);
    let key = this.#wantKey;
    if (size.width !== this.#size.width || size.height !== this.#size.height) {
      this.#setSize(size);
      encoder.configure(size, this.#rate.kbps);
      this.#encoderKbps = this.#rate.kbps;
      key = true;
    }
    if (sharpen) this.#sharpenLeft -= 1;
    else this.#sharpenLeft = encoder.family === "jpeg" ? 0 : SHARPEN_TIMES;
    this.#sharpenAt = now + SHARPEN_AFTER_MS;
    // One interval may be caught up: pictures come in uneven steps, and a strict spacing would lose every other.
    const interval = 1000 / this.#rate.fps;
    this.#nextAt = Math.max(this.#nextAt, now - interval) + interval;
    this.#dirty = this.#wantKey = false;
    this.#lastTime = Math.max(this.#lastTime + 1, Math.round(now * 1000));
    try {
      encoder.encode(picture, { key, last: sharpen && this.#sharpenLeft === 0, time: this.#lastTime });
    } catch (error) {
      this.#failed(encoder, error);
    }
  }

  /** @param {PictureEncoder} encoder @param {Encoded} encoded */
  #encoded(encoder, { payload, ...facts }) {
    if (encoder !== this.#encoder) return;
    if (facts.key) this.#group = (this.#group + 1) >>> 0;
    const header = { ...facts, stream: Stream.SCREEN, sequence: this.#sequence, group: this.#group, encrypted: false };
    this.#sequence = (this.#sequence + 1) >>> 0;
    const usable = this.#connected && !this.#paused && (facts.key || !this.#awaitKey);
    if (usable) this.#send(header, payload);
    // Images have no rate control: their bytes decide how many a second the line carries.
    if (facts.type === FrameType.IMAGE) {
      this.#nextAt = Math.max(this.#nextAt, this.#now() + (payload.length * 8) / this.#rate.kbps);
    }
    this.#pump();
  }

  /** @param {import("../lib/frame.js").FrameHeader} header @param {Uint8Array} payload */
  #send(header, payload) {
    try {
      this.#options.send(encodeFrame(header, payload));
      this.#awaitKey = false;
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      // Too large for the relay: what follows would hang in the air, so the next one is a smaller key frame.
      this.#setRate(onCongestion(this.#rate, this.#now()));
      this.#awaitKey = this.#wantKey = true;
    }
  }

  /** Opens the best encoder that this browser and the viewers share; a better one replaces the present one. */
  async #choose() {
    const choice = ++this.#choice;
    if (!this.#kept) return;
    this.#choosing = true;
    const { width, height } = sizeOf(this.#kept);
    const size = fitSize(width, height);
    const order = codecOrder(this.#decodable, { av1: this.#options.av1 }).filter((family) => !this.#broken.has(family));
    /** @type {PictureEncoder} */
    const encoder = await this.#open(order, size, Math.min(this.#rate.kbps, ceilingKbps(size)), {
      onEncoded: (encoded) => this.#encoded(encoder, encoded),
      onError: (error) => this.#failed(encoder, error),
    });
    if (choice !== this.#choice || encoder.family === this.#encoder?.family) {
      encoder.close();
    } else {
      this.#encoder?.close();
      this.#encoder = encoder;
      this.#setSize(size);
      this.#encoderKbps = this.#rate.kbps;
      this.#wantKey = this.#awaitKey = true;
    }
    if (choice === this.#choice) {
      this.#choosing = false;
      this.#pump();
    }
  }

  /** @param {PictureEncoder} encoder @param {unknown} error */
  #failed(encoder, error) {
    if (encoder !== this.#encoder || this.#closed) return;
    console.warn(`Porchlight: ${encoder.family} encoder failed, trying the next`, error);
    if (encoder.family !== "jpeg") this.#broken.add(encoder.family);
    encoder.close();
    this.#encoder = null;
    this.#dirty = true;
    this.#pump();
  }

  /** @param {{ width: number, height: number }} size */
  #setSize(size) {
    this.#size = size;
    this.#rate = withCeiling(this.#rate, ceilingKbps(size));
  }

  /** @param {import("../lib/adapt.js").Rate} rate */
  #setRate(rate) {
    this.#rate = rate;
    if (!this.#encoder || Math.abs(rate.kbps - this.#encoderKbps) < this.#encoderKbps * RATE_STEP) return;
    this.#encoderKbps = rate.kbps;
    this.#encoder.setKbps(rate.kbps);
  }
}
