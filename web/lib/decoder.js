// From admitted frames of one stream to pictures, in order.
//
// Decides how a codec is configured and what becomes of a decoder that fails. Does not decide which frame may be
// decoded (gate.js) nor when a picture is shown (view.js). Whoever gets a picture frees its parts.

import { FrameType } from "./frame.js";
import { decodeTiles, release } from "./tiles.js";

/** @import { Frame, FrameConfig } from "./frame.js" */

/**
 * A codec string of each family that every encoder of the publisher's ladder stays within; sizes are left open.
 * JPEG needs no decoder object and works everywhere.
 */
const FAMILIES = Object.freeze({
  avc1: "avc1.42e028",
  vp09: "vp09.00.40.08",
  vp8: "vp8",
  av01: "av01.0.08M.08",
});

/**
 * Failures in a row after which a codec counts as not decodable here. One may be a damaged group and two bad luck;
 * at ten an agent would look at a dead picture for long while everybody's bandwidth goes into key frames.
 */
const MAX_FAILURES = 3;

/** What is drawn, and where. @typedef {{ image: VideoFrame | ImageBitmap | HTMLCanvasElement, x: number, y: number }} Part */

/**
 * @typedef {object} Picture
 * @property {Part[]} parts the whole of it in one, or what changed on the picture before
 * @property {number} width
 * @property {number} height
 * @property {boolean} paint false while catching up with the live edge
 * @property {Frame} frame the frame it came from, without its payload's meaning
 */

/**
 * @typedef {object} DecoderOptions
 * @property {(picture: Picture) => void} onPicture
 * @property {(error: Error) => void} onError nothing but a key frame can be decoded after it
 */

/**
 * Names the codec families this browser decodes, as `attach.decodes` wants them.
 * @returns {Promise<string[]>}
 */
export async function decodableFamilies() {
  const found = await Promise.all(
    Object.entries(FAMILIES).map(async ([family, codec]) => {
      if (typeof VideoDecoder === "undefined") return null;
      const { supported } = await VideoDecoder.isConfigSupported({ codec }).catch(() => ({ supported: false }));
      return supported ? family : null;
    }),
  );
  return [...found.filter((family) => family !== null), "jpeg"];
}

/** Decodes video chunks, JPEG images and tiles of one stream. */
export class PictureDecoder {
  #options;
  /** @type {VideoDecoder | null} */
  #video = null;
  #configured = "";
  /**
   * Frames inside the video decoder by the timestamp they carry there.
   * @type {Map<number, { frame: Frame, paint: boolean }>}
   */
  #inside = new Map();
  #stamp = 0;
  #images = 0;
  /** Raised at each reset so that an image of before is dropped. */
  #era = 0;
  /** @type {Promise<void>} */
  #imageChain = Promise.resolve();
  #failures = 0;
  /** Size of the picture delivered last, which tiles are drawn onto. @type {{ width: number, height: number } | null} */
  #size = null;

  /** @param {DecoderOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /** Frames handed in and not yet taken up. */
  get queued() {
    return (this.#video?.decodeQueueSize ?? 0) + this.#images;
  }

  /** True when this codec failed so often that another key frame will not help. */
  get hopeless() {
    return this.#failures >= MAX_FAILURES;
  }

  /**
   * Decodes a frame the gate has admitted.
   * @param {Frame} frame
   * @param {{ paint: boolean, restart: boolean }} verdict
   */
  decode(frame, { paint, restart }) {
    if (restart) this.reset();
    if (frame.type === FrameType.VIDEO) this.#decodeVideo(frame, paint);
    else this.#decodeImage(frame, paint);
  }

  /** Drops everything that is not yet a picture. */
  reset() {
    this.#era += 1;
    this.#inside.clear();
    this.#configured = "";
    if (this.#video && this.#video.state !== "closed") this.#video.reset();
  }

  close() {
    this.reset();
    if (this.#video && this.#video.state !== "closed") this.#video.close();
    this.#video = null;
  }

  /** @param {Frame} frame @param {boolean} paint */
  #decodeVideo(frame, paint) {
    try {
      if (frame.config) this.#configure(frame.config);
      const timestamp = ++this.#stamp;
      this.#inside.set(timestamp, { frame, paint });
      this.#video?.decode(new EncodedVideoChunk({ type: frame.key ? "key" : "delta", timestamp, data: frame.payload }));
    } catch (error) {
      this.#failed(error);
    }
  }

  /** @param {FrameConfig} config */
  #configure({ codec, width, height, description }) {
    const wanted = JSON.stringify([codec, width, height, description]);
    if (this.#video && this.#video.state !== "closed" && wanted === this.#configured) return;
    if (!this.#video || this.#video.state === "closed") this.#video = this.#newVideoDecoder();
    this.#video.configure({
      codec,
      codedWidth: width,
      codedHeight: height,
      description: description === undefined ? undefined : bytesOfBase64(description),
      optimizeForLatency: true,
    });
    this.#configured = wanted;
  }

  #newVideoDecoder() {
    const video = new VideoDecoder({
      output: (image) => {
        const entry = this.#inside.get(image.timestamp);
        this.#inside.delete(image.timestamp);
        if (!entry || video !== this.#video) return image.close();
        const { displayWidth: width, displayHeight: height } = image;
        this.#deliver({ parts: [{ image, x: 0, y: 0 }], width, height, ...entry });
      },
      error: (error) => {
        if (video === this.#video) this.#failed(error);
      },
    });
    return video;
  }

  /** @param {Frame} frame @param {boolean} paint */
  #decodeImage(frame, paint) {
    const era = this.#era;
    this.#images += 1;
    const whole = frame.type === FrameType.IMAGE && createImageBitmap(new Blob([frame.payload], { type: "image/jpeg" }));
    // Chained, because a small image may be ready before the large one sent first, and tiles need what they are drawn onto.
    this.#imageChain = this.#imageChain.then(async () => {
      try {
        const image = await whole;
        const parts = image ? [{ image, x: 0, y: 0 }] : await decodeTiles(frame, this.#size);
        const { width, height } = image || frame;
        if (era === this.#era) this.#deliver({ parts, width, height, frame, paint });
        else release(parts);
      } catch (error) {
        if (era === this.#era) this.#failed(error);
      } finally {
        this.#images -= 1;
      }
    });
  }

  /** @param {Picture} picture */
  #deliver(picture) {
    this.#failures = 0;
    this.#size = { width: picture.width, height: picture.height };
    this.#options.onPicture(picture);
  }

  /** @param {unknown} error */
  #failed(error) {
    this.#failures += 1;
    this.close();
    this.#options.onError(error instanceof Error ? error : new Error(String(error)));
  }
}

/** @param {string} text @returns {Uint8Array<ArrayBuffer>} */
function bytesOfBase64(text) {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
