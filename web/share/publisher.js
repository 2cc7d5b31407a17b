// The pump between pictures and the session: what is encoded when, and in which order it is numbered.
//
// Decides pace, skips, key frames, sharpening, the frame header, and when an encoder is given up. Does not decide
// where pictures come from (share/capture.js), how they are encoded (share/encode.js) or how bytes travel (share.js
// and its socket).
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
/** What did not come out after so long was dropped by the encoder to keep its rate, and is not waited for. */
const SWALLOWED_MS = 1_000;
/**
 * The watchdog's step. It counts steps and not the clock's time: after a computer slept, an encoder that is about to
 * go on must not look like one that hangs.
 */
const WATCH_MS = 1_000;
/** Steps without a result after which an encoder is given up: software on a busy computer took 4.5 s for a picture. */
const STALL_STEPS = 6;
/** Changes of the bit rate below this share are not worth a reconfiguration. */
const RATE_STEP = 0.1;

/**
 * @typedef {object} PublisherOptions
 * @property {(frame: Uint8Array<ArrayBuffer>) => void} send
 * @property {() => number} buffered bytes that wait in the socket
 * @property {() => void} [refresh] asks the capture for a picture although its screen stands still
 * @property {boolean} [av1] try AV1 first
 * @property {number} [stream] what its frames are of, if not the screen
 * @property {{ kbps: number, fps: number }} [pace] the most bits and the pictures a second, if not what a screen of this size deserves
 * @property {typeof openEncoder} [open] in place of a screen's encoders
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
  /** A key frame went into the encoder and did not come out yet. */
  #owesKey = false;
  /** The present encoder has put something out. */
  #proven = false;
  /** Steps that the watchdog waits for a result. */
  #stalled = 0;
  /** @type {any} */
  #watchTimer = null;
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
  #counts = { pictures: 0, encoded: 0, frames: 0 };
  /** @type {string | null} */
  #lastError = null;
  /** @type {any} */
  #timer = null;

  /** @param {PublisherOptions} options */
  constructor(options) {
    this.#options = options;
    this.#open = options.open ?? openEncoder;
    this.#now = options.now ?? (() => performance.timeOrigin + performance.now());
    this.#rate = startRate(this.#ceiling({ width: 1280, height: 720 }), this.#now());
  }

  get rate() {
    return this.#rate;
  }

  /** Codec family in use, or null before the first picture. */
  get family() {
    return this.#encoder?.family ?? null;
  }

  /**
   * Figures: pictures the capture gave, frames that encoders put out, frames handed to the socket, the bits and frames a
   * second that are aimed at, and what went wrong last.
   */
  stats() {
    const { kbps, fps } = this.#rate;
    return { ...this.#counts, codec: this.family, encoding: !!this.#encoder?.busy, kbps, fps, lastError: this.#lastError };
  }

  /** Takes a picture over. @param {Picture} picture */
  picture(picture) {
    if (this.#closed) return picture.close();
    this.#counts.pictures += 1;
    this.#kept?.close();
    this.#kept = picture;
    this.#dirty = true;
    this.#setRate(onQuiet(this.#rate, this.#now()));
    this.#pump();
  }

  /** Somebody needs a key frame: of the last picture, if the page is still. */
  requestKey() {
    this.#wantKey = true;
    if (!this.#kept && !this.#closed) this.#options.refresh?.();
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
    if (this.#encoder || this.#choosing) this.#choose();
  }

  /** @param {{ kbps: number, medianKbps?: number, lagging: number, viewers: number }} feedback */
  feedback(feedback) {
    this.#setRate(onFeedback(this.#rate, feedback, this.#now()));
  }

  close() {
    this.#closed = true;
    this.#choice += 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#watchTimer);
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
    const resized = size.width !== this.#size.width || size.height !== this.#size.height;
    const key = this.#wantKey || resized;
    if (sharpen) this.#sharpenLeft -= 1;
    else this.#sharpenLeft = encoder.family === "jpeg" ? 0 : SHARPEN_TIMES;
    this.#sharpenAt = now + SWALLOWED_MS;
    // One interval may be caught up: pictures come in uneven steps, and a strict spacing would lose every other.
    const interval = 1000 / (this.#options.pace?.fps ?? this.#rate.fps);
    this.#nextAt = Math.max(this.#nextAt, now - interval) + interval;
    this.#dirty = this.#wantKey = false;
    this.#lastTime = Math.max(this.#lastTime + 1, Math.round(now * 1000));
    this.#owesKey ||= key;
    this.#watch();
    try {
      if (resized) {
        this.#setSize(size);
        encoder.configure(size, this.#rate.kbps);
        this.#encoderKbps = this.#rate.kbps;
      }
      encoder.encode(picture, { key, last: sharpen && this.#sharpenLeft === 0, time: this.#lastTime });
    } catch (error) {
      return this.#failed(encoder, error);
    }
    this.#pump(); // of a still page this was the last picture: sharpening makes good what is swallowed
  }

  /** @param {PictureEncoder} encoder @param {Encoded} encoded */
  #encoded(encoder, { payload, ...facts }) {
    if (encoder !== this.#encoder || this.#closed) return;
    this.#counts.encoded += 1;
    this.#proven = true;
    if (facts.key) this.#owesKey = false;
    if (!this.#owesKey && !this.#choosing) this.#stalled = 0;
    if (facts.time === this.#lastTime) this.#sharpenAt = facts.time / 1000 + SHARPEN_AFTER_MS;
    if (facts.key) this.#group = (this.#group + 1) >>> 0;
    const stream = this.#options.stream ?? Stream.SCREEN;
    const header = { ...facts, stream, sequence: this.#sequence, group: this.#group, encrypted: false };
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
      this.#counts.frames += 1;
      this.#awaitKey = false;
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      // Too large for the relay: what follows would hang in the air, so the next one is a smaller key frame.
      this.#setRate(onCongestion(this.#rate, this.#now()));
      this.#awaitKey = this.#wantKey = true;
    }
  }

  /**
   * Opens the best encoder that this browser and the viewers share; a better one replaces the present one.
   * @param {readonly string[]} [order]
   */
  async #choose(order = this.#order()) {
    const choice = ++this.#choice;
    this.#choosing = !!this.#kept && !this.#closed;
    if (!this.#kept || !this.#choosing) return;
    this.#stalled = 0;
    this.#watch();
    const { width, height } = sizeOf(this.#kept);
    const size = fitSize(width, height);
    /** @type {PictureEncoder | null} */
    let encoder = null;
    /** @type {unknown} */
    let early = null;
    try {
      encoder = await this.#open(order, size, Math.min(this.#rate.kbps, this.#ceiling(size)), {
        onEncoded: (encoded) => encoder && this.#encoded(encoder, encoded),
        onError: (error) => (encoder ? this.#failed(encoder, error) : (early = error)),
      });
    } catch (error) {
      if (choice === this.#choice) this.#unopened(order, error);
      return;
    }
    if (choice !== this.#choice) return encoder.close();
    this.#choosing = false;
    if (encoder.family === this.#encoder?.family) {
      encoder.close();
    } else {
      this.#encoder?.close();
      this.#encoder = encoder;
      this.#setSize(size);
      this.#encoderKbps = this.#rate.kbps;
      this.#wantKey = this.#awaitKey = true;
      this.#owesKey = this.#proven = false;
      this.#stalled = 0;
      if (early) return this.#failed(encoder, early);
    }
    this.#pump();
  }

  #order() {
    return codecOrder(this.#decodable, { av1: this.#options.av1 }).filter((family) => !this.#broken.has(family));
  }

  /** A choice came to nothing: JPEG needs no answer of the browser. @param {readonly string[]} order @param {unknown} error */
  #unopened(order, error) {
    this.#choice += 1;
    this.#choosing = false;
    this.#note("no encoder", error);
    if (this.#encoder && this.#order().includes(this.#encoder.family)) return;
    if (order[0] === "jpeg") this.#pumpIn(WATCH_MS);
    else this.#choose(["jpeg"]);
  }

  /** @param {PictureEncoder} encoder @param {unknown} error */
  #failed(encoder, error) {
    if (encoder !== this.#encoder || this.#closed) return;
    this.#note(`${encoder.family} encoder`, error);
    // Browsers take encoders back from pages that seem to rest; one that has worked will work again.
    const reclaimed = this.#proven && /** @type {any} */ (error)?.name === "QuotaExceededError";
    if (encoder.family !== "jpeg" && !reclaimed) this.#broken.add(encoder.family);
    encoder.close();
    this.#encoder = null;
    this.#owesKey = false;
    this.#dirty = true;
    if (encoder.family !== "jpeg") return void this.#choose();
    // What even JPEG cannot show is not a picture. Others are not awaited in a circle without a pause.
    this.#kept?.close();
    this.#kept = null;
    this.#choose(); // ends a choice that is under way for the picture that is gone
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.requestKey(), WATCH_MS);
  }

  /** @param {string} what @param {unknown} error */
  #note(what, error) {
    this.#lastError = `${what}: ${/** @type {any} */ (error)?.message ?? error}`;
    console.warn(`Porchlight: ${what} failed, trying the next`, error);
  }

  /** Whether a picture that is given now would be encoded. */
  #flows() {
    return this.#connected && !this.#paused && this.#options.buffered() <= MAX_BUFFERED_BYTES;
  }

  // ---- the watchdog: what neither works nor fails -----------------------------------------------

  #watch() {
    this.#watchTimer ??= setTimeout(() => {
      this.#watchTimer = null;
      this.#step();
    }, WATCH_MS);
  }

  #step() {
    const encoder = this.#encoder;
    const owes = this.#owesKey && this.#flows();
    if (this.#closed || !(this.#choosing || owes || encoder?.busy)) {
      this.#stalled = 0;
      return;
    }
    this.#watch();
    this.#stalled += 1;
    if (this.#stalled >= STALL_STEPS) {
      const error = new Error(`nothing came out for ${STALL_STEPS} s`);
      this.#stalled = 0;
      if (encoder && !this.#choosing) this.#failed(encoder, error);
      else this.#unopened(this.#order(), error);
    } else if (owes && !encoder?.busy && this.#stalled >= STALL_STEPS / 2) {
      // Swallowed, as it seems: a still page would not bring another, and deltas without it are of no use.
      this.requestKey();
    }
  }

  /** @param {{ width: number, height: number }} size */
  #setSize(size) {
    this.#size = size;
    this.#rate = withCeiling(this.#rate, this.#ceiling(size));
  }

  /** @param {{ width: number, height: number }} size */
  #ceiling(size) {
    return this.#options.pace?.kbps ?? ceilingKbps(size);
  }

  /** @param {import("../lib/adapt.js").Rate} rate */
  #setRate(rate) {
    this.#rate = rate;
    if (!this.#encoder || Math.abs(rate.kbps - this.#encoderKbps) < this.#encoderKbps * RATE_STEP) return;
    this.#encoderKbps = rate.kbps;
    try {
      this.#encoder.setKbps(rate.kbps);
    } catch (error) {
      this.#failed(this.#encoder, error);
    }
  }
}
