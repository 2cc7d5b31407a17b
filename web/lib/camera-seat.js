// An agent's camera in a session, as each participant's page has to do with it: who shows one, seeing it, showing one.
//
// Decides when what is needed for it is loaded, and that a camera that is shown goes on after a lost connection. Does not
// decide who may show one (the server), how it is taken (share/camera.js), nor how it looks (view/camera.js).

import { decodeFrame, FrameError, Stream } from "./frame.js";

/** @import { Frame } from "./frame.js" */
/** @import { AgentVideo, Participant } from "./wire.js" */
/** @import { Socket, Message } from "./socket.js" */

/**
 * @typedef {object} CameraSeatOptions
 * @property {Socket} socket of the session
 * @property {Record<string, string>} [strings]
 * @property {string} [nonce]
 * @property {boolean} [returns] it comes back into a session: no camera starts by itself
 * @property {(name: "camera" | "error", detail: any) => void} [onEvent] `camera`: somebody shows one, or nobody any more;
 *   `error`: one that was to start by itself did not
 */

/** One participant's part in whoever's camera is shown. */
export class CameraSeat {
  #options;
  #me = "";
  /** Whose camera is shown. @type {string | null} */
  #whose = null;
  /** @type {Map<string, string>} */
  #names = new Map();
  /** Shows the camera of somebody else. @type {import("../view/camera.js").CameraView | null} */
  #view = null;
  /** Takes this agent's own. @type {import("../share/camera.js").Camera | null} */
  #camera = null;
  #paused = false;
  #closed = false;
  #wasHere = false;
  /** What this agent may; null for everybody else. @type {AgentVideo | null} */
  right = null;

  /** @param {CameraSeatOptions} options */
  constructor(options) {
    this.#options = options;
    this.#wasHere = !!options.returns;
  }

  /** Whether this page shows its own camera, or is about to. */
  get isOn() {
    return this.#camera !== null;
  }

  /** Who shows a camera, by name; null while nobody does. */
  get name() {
    return this.#whose === null ? null : (this.#names.get(this.#whose) ?? "");
  }

  /** Shows this agent's camera; the browser asks first. Rejects where it, or the server, does not let it. */
  async start() {
    if (this.#camera || this.#closed) return;
    const { Camera } = await import("../share/camera.js");
    const { socket } = this.#options;
    const camera = new Camera({
      send: (frame) => void socket.sendBinary(frame),
      buffered: () => socket.bufferedAmount,
      onStopped: () => this.stop(),
    });
    this.#camera = camera;
    this.#changed();
    try {
      await camera.open();
      if (this.#camera === camera) await this.#announce(camera);
    } catch (error) {
      if (this.#camera === camera) this.#put();
      throw error;
    }
  }

  /** Shows it no longer. */
  stop() {
    if (!this.#camera) return;
    this.#put();
    this.#options.socket.send({ type: "stopCamera" });
  }

  /** The session is over, or the page leaves it. */
  close() {
    this.#closed = true;
    this.#put();
    this.#show(null);
  }

  /** @param {Message} message the answer to `attach` */
  attached(message) {
    this.#me = message.participantId;
    this.#names = new Map(message.participants?.map((/** @type {Participant} */ one) => [one.participantId, one.name]));
    this.right = message.agentVideo ?? null;
    this.#pause(!!message.paused);
    this.#show(message.camera ?? null);
    const first = !this.#wasHere;
    this.#wasHere = true;
    if (this.#camera?.isOpen) {
      const camera = this.#camera;
      this.#announce(camera).catch((error) => this.#camera === camera && (this.#put(), this.#options.onEvent?.("error", error)));
    } else if (first && this.right?.starts && this.#whose === null) {
      this.start().catch((error) => this.#options.onEvent?.("error", error));
    }
    this.#changed();
  }

  /** Takes what is said of cameras; true where it is about nothing else. @param {Message} message @returns {boolean} */
  receive(message) {
    switch (message.type) {
      case "camera":
        if (this.#camera?.isShown && message.participantId !== this.#me) this.#put();
        this.#show(message.participantId ?? null);
        this.#changed();
        return true;
      case "keyFrameRequest":
        if (message.stream === Stream.CAMERA) this.#camera?.publisher.requestKey();
        return message.stream === Stream.CAMERA;
      case "feedback":
        if (message.stream === Stream.CAMERA) this.#camera?.publisher.feedback(/** @type {any} */ (message));
        return message.stream === Stream.CAMERA;
      case "lagging":
      case "caughtUp":
        return message.stream === Stream.CAMERA;
      case "participant":
        this.#names.set(message.participant.participantId, message.participant.name);
        return false;
      case "paused":
        this.#pause(message.paused);
        return false;
      default:
        return false;
    }
  }

  /** The connection is lost: frames of before are of no use to anybody. */
  disconnected() {
    this.#camera?.disconnected();
  }

  /** A binary message, where none but a camera's frames are for this participant. @param {ArrayBuffer} data */
  data(data) {
    try {
      this.frame(decodeFrame(data));
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
    }
  }

  /** @param {Frame} frame */
  frame(frame) {
    if (frame.stream === Stream.CAMERA) this.#view?.frame(frame);
  }

  /** @param {import("../share/camera.js").Camera} camera */
  async #announce(camera) {
    await this.#options.socket.request({ type: "startCamera" });
    if (this.#camera === camera) camera.connected(this.#paused);
  }

  /** The own camera goes dark. */
  #put() {
    if (!this.#camera) return;
    this.#camera.close();
    this.#camera = null;
    this.#changed();
  }

  /** @param {boolean} paused */
  #pause(paused) {
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#camera?.pause(paused);
    this.#view?.pause(paused);
  }

  /** @param {string | null} whose */
  async #show(whose) {
    if (whose === this.#whose && this.#view) return;
    this.#whose = whose;
    this.#view?.close();
    this.#view = null;
    if (whose === null || whose === this.#me) return;
    const { CameraView } = await import("../view/camera.js");
    if (this.#whose !== whose || this.#view || this.#closed) return;
    const { socket, strings, nonce } = this.#options;
    this.#view = new CameraView({
      name: this.#names.get(whose) ?? "",
      send: (message) => void socket.send(message),
      strings,
      nonce,
    });
    this.#view.pause(this.#paused);
  }

  #changed() {
    if (!this.#closed) this.#options.onEvent?.("camera", this);
  }
}
