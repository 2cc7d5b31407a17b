// Pictures to bytes: WebCodecs where there is a video encoder, JPEG where there is none.
//
// Decides the encoder's configuration. Does not decide when to encode, which pictures to skip or what the frame
// header says of order: share/publisher.js does. Both encoders have the same shape, {@link PictureEncoder}.
import { codecString, MAX_FPS } from "../lib/adapt.js";
import { FrameType } from "../lib/frame.js";

/** @typedef {import("./capture.js").Picture} Picture */
/** @typedef {{ width: number, height: number }} Size */

/**
 * One encoded picture, all but its place in the order.
 * @typedef {object} Encoded
 * @property {number} type
 * @property {boolean} key
 * @property {boolean} droppable
 * @property {boolean} last
 * @property {number} layer
 * @property {number} time microseconds
 * @property {number} width
 * @property {number} height
 * @property {import("../lib/frame.js").FrameConfig | null} config
 * @property {Uint8Array} payload
 */

/** @typedef {{ key: boolean, last: boolean, time: number }} Order what to make of a picture */

/**
 * @typedef {object} PictureEncoder
 * @property {string} family
 * @property {boolean} busy a picture given now would only wait
 * @property {(size: Size, kbps: number) => void} configure a new size makes the next frame a key frame
 * @property {(kbps: number) => void} setKbps never makes a key frame
 * @property {(picture: Picture, order: Order) => void} encode leaves the picture open
 * @property {() => void} close
 */

/** @typedef {{ onEncoded(encoded: Encoded): void, onError(error: unknown): void }} EncoderEvents */

/** Readable text at a third of the bytes of 0.9. */
const JPEG_QUALITY = 0.7;

/**
 * The first family of the order that this browser encodes at this size.
 * @param {readonly string[]} order
 * @param {Size} size
 * @param {number} kbps
 * @param {EncoderEvents} events
 * @param {"text" | "motion"} [hint] what the pictures are of
 * @returns {Promise<PictureEncoder>}
 */
export async function openEncoder(order, size, kbps, events, hint = "text") {
  if (typeof VideoEncoder === "function") {
    for (const family of order) {
      if (family === "jpeg") break;
      const config = await supportedConfig(family, size, kbps, hint);
      try {
        if (config) return new ChunkEncoder(family, config, events);
      } catch (error) {
        console.warn(`Porchlight: ${family} was supported and cannot be opened`, error);
      }
    }
  }
  return new ImageEncoder(size, events);
}

/**
 * @param {string} family @param {Size} size @param {number} kbps @param {"text" | "motion"} hint
 * @returns {Promise<VideoEncoderConfig | null>}
 */
async function supportedConfig(family, size, kbps, hint) {
  /** @type {VideoEncoderConfig} */
  const base = {
    codec: codecString(family),
    ...size,
    bitrate: kbps * 1000,
    framerate: MAX_FPS,
    latencyMode: "realtime",
    contentHint: hint,
    hardwareAcceleration: "no-preference",
    ...(family === "avc1" ? { avc: { format: "annexb" } } : {}),
  };
  // With layers a variable rate overshoots by far (w3c/webcodecs#584).
  const layered = { ...base, scalabilityMode: "L1T2", bitrateMode: /** @type {const} */ ("constant") };
  for (const config of [layered, { ...base, bitrateMode: /** @type {const} */ ("variable") }]) {
    try {
      if ((await VideoEncoder.isConfigSupported(config)).supported) return config;
    } catch {
      // A browser that does not know a member of the configuration rejects instead of answering no.
    }
  }
  return null;
}

/** @implements {PictureEncoder} */
class ChunkEncoder {
  /** @type {VideoEncoder} */
  #encoder;
  /** @type {VideoEncoderConfig} */
  #config;
  /**
   * What each picture in the encoder was given with, by time: a new size may be configured before the
   * frames of the old one come out. @type {Map<number, { last: boolean, config: VideoEncoderConfig }>}
   */
  #inside = new Map();

  /** @param {string} family @param {VideoEncoderConfig} config @param {EncoderEvents} events */
  constructor(family, config, events) {
    this.family = family;
    this.#config = config;
    this.#encoder = new VideoEncoder({
      output: (chunk, metadata) => events.onEncoded(this.#encoded(chunk, metadata)),
      error: (error) => events.onError(error),
    });
    this.#encoder.configure(config);
  }

  get busy() {
    return this.#encoder.state !== "configured" || this.#encoder.encodeQueueSize > 0;
  }

  /** @param {Size} size @param {number} kbps */
  configure(size, kbps) {
    this.#config = { ...this.#config, ...size, bitrate: kbps * 1000 };
    this.#encoder.configure(this.#config);
  }

  /** @param {number} kbps */
  setKbps(kbps) {
    this.configure({ width: this.#config.width, height: this.#config.height }, kbps);
  }

  /** @param {Picture} picture @param {Order} order */
  encode(picture, { key, last, time }) {
    const frame = new VideoFrame(picture, { timestamp: time, ...crop(picture, this.#config) });
    this.#inside.set(time, { last, config: this.#config });
    try {
      this.#encoder.encode(frame, { keyFrame: key });
    } finally {
      frame.close();
    }
  }

  close() {
    if (this.#encoder.state !== "closed") this.#encoder.close();
  }

  /**
   * @param {EncodedVideoChunk} chunk @param {EncodedVideoChunkMetadata} [metadata]
   * @returns {Encoded}
   */
  #encoded(chunk, metadata) {
    const payload = new Uint8Array(chunk.byteLength);
    chunk.copyTo(payload);
    const key = chunk.type === "key";
    const { last, config } = this.#inside.get(chunk.timestamp) ?? { last: false, config: this.#config };
    // Frames come out in order; an earlier picture that is still here was swallowed.
    for (const time of this.#inside.keys()) if (time <= chunk.timestamp) this.#inside.delete(time);
    const { codec, width, height, scalabilityMode } = config;
    const layer = metadata?.svc?.temporalLayerId ?? 0;
    const description = metadata?.decoderConfig?.description;
    return {
      type: FrameType.VIDEO,
      key,
      droppable: scalabilityMode === "L1T2" && layer === 1 && !key,
      last,
      layer: key ? 0 : layer,
      time: chunk.timestamp,
      width,
      height,
      config: key ? { codec, width, height, ...(description ? { description: base64(description) } : {}) } : null,
      payload,
    };
  }
}

/** @implements {PictureEncoder} */
class ImageEncoder {
  family = "jpeg";
  busy = false;
  #canvas = document.createElement("canvas");
  #context = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d", { alpha: false }));
  #events;
  #closed = false;

  /** @param {Size} size @param {EncoderEvents} events */
  constructor(size, events) {
    this.#events = events;
    this.configure(size);
  }

  /** @param {Size} size */
  configure(size) {
    Object.assign(this.#canvas, size);
  }

  /** Images have no rate of their own; the publisher spaces them by their bytes. */
  setKbps() {}

  /** @param {Picture} picture @param {Order} order */
  encode(picture, { last, time }) {
    const { width, height } = this.#canvas;
    this.#context.drawImage(picture, 0, 0, width, height);
    this.busy = true;
    this.#canvas.toBlob(async (blob) => {
      const payload = blob && new Uint8Array(await blob.arrayBuffer());
      this.busy = false;
      if (this.#closed) return;
      if (!payload) return this.#events.onError(new Error("the canvas gave no JPEG"));
      const facts = { key: true, droppable: false, layer: 0, config: null };
      this.#events.onEncoded({ type: FrameType.IMAGE, ...facts, last, time, width, height, payload });
    }, "image/jpeg", JPEG_QUALITY);
  }

  close() {
    this.#closed = true;
  }
}

/** Width and height of a picture as it is meant to be seen. @param {Picture} picture @returns {Size} */
export function sizeOf(picture) {
  return "displayWidth" in picture
    ? { width: picture.displayWidth, height: picture.displayHeight }
    : { width: picture.width, height: picture.height };
}

/**
 * An odd column or row is cut off; letting the encoder scale by one pixel would blur all text.
 * @param {Picture} picture @param {Size} size
 * @returns {VideoFrameInit}
 */
function crop(picture, size) {
  if (!("visibleRect" in picture) || !picture.visibleRect) return {};
  const { x, y, width, height } = picture.visibleRect;
  const oddOnly = width - size.width <= 1 && height - size.height <= 1;
  if (!oddOnly || (width === size.width && height === size.height)) return {};
  const visibleRect = { x, y, width: size.width, height: size.height };
  return { visibleRect, displayWidth: size.width, displayHeight: size.height };
}

/** @param {AllowSharedBufferSource} source */
function base64(source) {
  const bytes = ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
    : new Uint8Array(source);
  return btoa(String.fromCharCode(...bytes));
}
