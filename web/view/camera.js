// The camera of somebody else: a small box in a corner of the page, which can be moved and put away.
//
// Decides how it looks and reads, what of its frames is drawn, and when a key frame is asked for. Does not decide whose
// camera it is nor when it begins and ends: lib/camera-seat.js does. Loaded when there is one.
import { PictureDecoder } from "../lib/decoder.js";
import { isAfter, Stream } from "../lib/frame.js";
import { Gate } from "../lib/gate.js";
import { addHost, element, fill } from "../lib/shadow.js";
import { release } from "../lib/tiles.js";
import { draw } from "./tiles.js";

/** @import { Frame } from "../lib/frame.js" */
/** @import { Picture } from "../lib/decoder.js" */

/** Every text, in English; `strings` replaces any of them. @type {Readonly<Record<string, string>>} */
export const STRINGS = Object.freeze({
  cameraLabel: "Camera of {name}",
  cameraMove: "Move the camera of {name}: drag it, or use the arrow keys",
  cameraHide: "Hide",
  cameraShow: "Show",
  cameraUnshowable: "This browser can’t show it.",
  someone: "an agent",
});

/** How often the relay is told what was drawn, and asked for a key frame at most. */
const ACK_MS = 250;
const KEY_REQUEST_MS = 1_000;
/** A step of the arrow keys. */
const STEP_PX = 24;
const MARGIN_PX = 8;

// Above the bar of a share, and off the tools that pages have at their top.
const CSS = `
  .box {
    position: fixed; right: 16px; bottom: calc(88px + env(safe-area-inset-bottom)); width: 200px; max-width: calc(100vw - 16px); overflow: hidden;
    color: var(--_text); background: var(--_bg); border: 1px solid var(--_line); border-radius: var(--_radius);
    box-shadow: var(--_shadow); font-size: .8125rem; line-height: 1.3;
  }
  .head { display: flex; align-items: center; gap: 4px; padding: 2px 2px 2px 4px; }
  .move {
    flex: 1; min-width: 0; min-height: 32px; padding: 0 6px; border: 0; text-align: start; font-weight: 600; cursor: move;
    overflow: hidden; text-overflow: ellipsis; white-space: nowrap; touch-action: none;
  }
  .toggle { flex: none; min-height: 32px; padding: 0 10px; border: 0; }
  canvas { display: block; width: 100%; height: auto; background: var(--_soft); }
  p { margin: 0; padding: 4px 10px 10px; color: var(--_muted); }
  @media (forced-colors: active) { .box { border: 2px solid; } }
`;

/**
 * @typedef {object} CameraViewOptions
 * @property {string} name whose it is
 * @property {(message: import("../lib/socket.js").Message) => void} send
 * @property {Record<string, string>} [strings]
 * @property {string} [nonce]
 */

/** One camera as it is seen, from its first frame to its end. */
export class CameraView {
  #send;
  #host;
  #box;
  #canvas = element("canvas", { width: "320", height: "240", role: "img", part: "camera-picture" });
  #note = element("p", { role: "status", hidden: "" });
  #context = this.#canvas.getContext("2d", { alpha: false });
  #decoder;
  #gate = new Gate();
  #hidden = false;
  #paused = false;
  #closed = false;
  /** @type {number | null} */
  #drawn = null;
  #ackedAt = -Infinity;
  #keyAskedAt = -Infinity;
  /** Frames drawn, for tests and developer tools. */
  pictures = 0;

  /** @param {CameraViewOptions} options */
  constructor({ name, send, strings, nonce }) {
    const texts = { ...STRINGS, ...strings };
    const words = { name: name || texts.someone };
    this.#send = send;
    const { host, root } = addHost("camera", CSS, nonce);
    this.#host = host;
    const label = fill(texts.cameraLabel, words);
    this.#canvas.setAttribute("aria-label", label);
    this.#note.textContent = texts.cameraUnshowable;
    const move = element("button", { type: "button", class: "move", part: "camera-name" }, words.name);
    move.setAttribute("aria-label", fill(texts.cameraMove, words));
    const toggle = element("button", { type: "button", class: "toggle", part: "button", "data-action": "toggle", "aria-expanded": "true" });
    toggle.textContent = texts.cameraHide;
    toggle.onclick = () => {
      this.#hidden = !this.#hidden;
      toggle.textContent = this.#hidden ? texts.cameraShow : texts.cameraHide;
      toggle.setAttribute("aria-expanded", String(!this.#hidden));
      this.#draw();
    };
    this.#box = element("div", { class: "box", role: "region", part: "camera", "aria-label": label }, element("div", { class: "head" }, move, toggle), this.#canvas, this.#note);
    root.append(this.#box);
    this.#movable(move);
    this.#decoder = new PictureDecoder({
      onPicture: (picture) => this.#picture(picture),
      onError: () => {
        this.#gate.lose();
        this.#draw();
        this.#askForKeyFrame();
      },
    });
    // What came while this was loaded was not seen.
    this.#askForKeyFrame();
  }

  /** @param {Frame} frame */
  frame(frame) {
    if (this.#closed || frame.encrypted) return;
    const verdict = this.#gate.admit(frame, this.#decoder.queued);
    if (verdict.decode) this.#decoder.decode(frame, verdict);
    else if (this.#gate.waiting) this.#askForKeyFrame();
  }

  /** While the session is paused there is nothing to see. @param {boolean} paused */
  pause(paused) {
    this.#paused = paused;
    if (paused) this.#gate.lose();
    this.#draw();
  }

  close() {
    this.#closed = true;
    this.#decoder.close();
    this.#host.remove();
  }

  /** @param {Picture} picture */
  #picture(picture) {
    const { width, height, frame } = picture;
    const stale = this.#drawn !== null && isAfter(this.#drawn, frame.sequence) && !frame.key;
    if (this.#closed || this.#paused || stale) return release(picture.parts);
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    draw(this.#context, picture);
    this.#drawn = frame.sequence;
    this.pictures += 1;
    const now = performance.now();
    if (now - this.#ackedAt < ACK_MS) return;
    this.#ackedAt = now;
    this.#send({ type: "ack", stream: Stream.CAMERA, seq: frame.sequence });
  }

  #askForKeyFrame() {
    const now = performance.now();
    if (this.#paused || this.#decoder.hopeless || now - this.#keyAskedAt < KEY_REQUEST_MS) return;
    this.#keyAskedAt = now;
    this.#send({ type: "keyFrameRequest", stream: Stream.CAMERA });
  }

  #draw() {
    const { hopeless } = this.#decoder;
    this.#host.style.setProperty("display", this.#paused ? "none" : "block");
    this.#canvas.hidden = this.#hidden || hopeless;
    this.#note.hidden = this.#hidden || !hopeless;
  }

  /** Follows a pointer and the arrow keys, and stays on the page. @param {HTMLElement} handle */
  #movable(handle) {
    /** @type {{ x: number, y: number } | null} */
    let held = null;
    handle.onpointerdown = (event) => {
      if (event.button !== 0) return;
      const { left, top } = this.#box.getBoundingClientRect();
      held = { x: event.clientX - left, y: event.clientY - top };
      handle.setPointerCapture(event.pointerId);
    };
    handle.onpointermove = (event) => held && this.#place(event.clientX - held.x, event.clientY - held.y);
    handle.onpointerup = handle.onpointercancel = () => (held = null);
    handle.onkeydown = (event) => {
      const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
      if (!dx && !dy) return;
      event.preventDefault();
      const { left, top } = this.#box.getBoundingClientRect();
      this.#place(left + dx * STEP_PX, top + dy * STEP_PX);
    };
  }

  /** @param {number} x @param {number} y */
  #place(x, y) {
    const { width, height } = this.#box.getBoundingClientRect();
    const within = (/** @type {number} */ at, /** @type {number} */ room) => Math.max(MARGIN_PX, Math.min(at, room - MARGIN_PX));
    for (const side of ["right", "bottom"]) this.#box.style.setProperty(side, "auto");
    this.#box.style.setProperty("left", `${within(x, innerWidth - width)}px`);
    this.#box.style.setProperty("top", `${within(y, innerHeight - height)}px`);
  }
}
