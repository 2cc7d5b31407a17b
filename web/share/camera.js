// This agent's camera, from the browser's question to frames.
//
// Decides how large and how often it is taken, and by which codec: VP8, which every browser with WebCodecs decodes, since
// who sees it is not asked, and else images. Does not decide whether it may be shown (the server), nor when it begins and
// ends (lib/camera-seat.js).
import { FrameError, Stream } from "../lib/frame.js";
import { readPictures } from "./capture.js";
import { openEncoder } from "./encode.js";
import { Publisher } from "./publisher.js";

/** A face in a corner; twice as large would be four times the bytes for nothing that is looked at. */
const WISH = Object.freeze({
  width: { ideal: 320 },
  height: { ideal: 240 },
  frameRate: { ideal: 15, max: 15 },
  facingMode: "user",
});
/** What a face needs, and how often; the server's feedback lowers the bits. */
const PACE = Object.freeze({ kbps: 300, fps: 15 });
/** The relay takes no larger frame of a camera. */
const MAX_BYTES = 256 * 1024;
const CODECS = Object.freeze(["vp8", "jpeg"]);

/**
 * @typedef {object} CameraOptions
 * @property {(frame: Uint8Array<ArrayBuffer>) => void} send
 * @property {() => number} buffered bytes that wait in the socket
 * @property {() => void} onStopped the device was taken away, or the browser's own switch turned
 */

/** One camera, from the question to the last picture. */
export class Camera {
  publisher;
  #options;
  #closed = false;
  #shown = false;
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** @type {ReturnType<typeof readPictures> | null} */
  #reader = null;

  /** @param {CameraOptions} options */
  constructor(options) {
    this.#options = options;
    this.publisher = new Publisher({
      stream: Stream.CAMERA,
      pace: PACE,
      send: (frame) => {
        if (frame.byteLength > MAX_BYTES) throw new FrameError("too_long", `a camera's frame exceeds ${MAX_BYTES} bytes`);
        options.send(frame);
      },
      buffered: options.buffered,
      refresh: () => this.#reader?.refresh(),
      open: (order, size, kbps, events) => openEncoder(order, size, kbps, events, "motion"),
    });
    this.publisher.setDecodable(CODECS);
  }

  /** Pictures are taken. */
  get isOpen() {
    return this.#track !== null;
  }

  /** The server takes them. */
  get isShown() {
    return this.#shown;
  }

  /** Asks for the camera; pictures are taken when this resolves. */
  async open() {
    const devices = navigator.mediaDevices;
    if (!devices?.getUserMedia) throw new Error("This browser has no camera to show.");
    const stream = await devices.getUserMedia({ video: WISH, audio: false });
    const [track] = stream.getVideoTracks();
    if (this.#closed) return track.stop();
    this.#track = track;
    track.onended = () => this.#options.onStopped();
    this.#reader = readPictures(track, (picture) => this.publisher.picture(picture));
  }

  /** The server takes its frames from now on. @param {boolean} paused */
  connected(paused) {
    this.#shown = true;
    if (paused) this.publisher.pause();
    this.publisher.connected();
  }

  disconnected() {
    this.#shown = false;
    this.publisher.disconnected();
  }

  /** @param {boolean} paused */
  pause(paused) {
    if (paused) this.publisher.pause();
    else this.publisher.resume();
  }

  close() {
    this.#closed = true;
    this.#reader?.stop();
    if (this.#track) {
      this.#track.onended = null;
      this.#track.stop();
    }
    this.publisher.close();
  }
}
