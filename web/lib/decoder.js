// From admitted frames of one stream to pictures, in order.
//
// Decides how a codec is configured and what becomes of a decoder that fails. Does not decide which frame may be
// decoded (gate.js) nor when a picture is shown (view.js). Whoever gets a picture closes its image.

import { FrameType } from "./frame.js";

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

/**
 * @typedef {object} Picture
 * @property {VideoFrame | ImageBitmap} image
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

/** Decodes video chunks and JPEG images of one stream. */
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
    if (frame.type === FrameType.IMAGE) this.#decodeImage(frame, paint);
    else this.#decodeVideo(frame, paint);
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
        this.#deliver(image, image.displayWidth, image.displayHeight, entry.frame, entry.paint);
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
    const decoded = createImageBitmap(new Blob([frame.payload], { type: "image/jpeg" }));
    // Chained, because a small image may be ready before the large one sent first.
    this.#imageChain = this.#imageChain.then(async () => {
      try {
        const image = await decoded;
        if (era === this.#era) this.#deliver(image, image.width, image.height, frame, paint);
        else image.close();
      } catch (error) {
        if (era === this.#era) this.#failed(error);
      } finally {
        this.#images -= 1;
      }
    });
  }

  /**
   * @param {VideoFrame | ImageBitmap} image @param {number} width @param {number} height
   * @param {Frame} frame @param {boolean} paint
   */
  #deliver(image, width, height, frame, paint) {
    this.#failures = 0;
    this.#options.onPicture({ image, width, height, frame, paint });
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
