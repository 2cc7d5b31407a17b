// From the agent's pointer and keyboard on the picture to input events of the wire (protocol, section 6).
//
// Decides the mapping, how often movement is told, and that nothing stays pressed. Does not decide whether control is
// granted: the host switches capture on and off, and the server drops what has no grant.

/** @import { InputEvent } from "./wire.js" */

/** Movement is told this often: 30 a second look smooth and leave room under the server's 50 messages a second. */
const MOVE_MS = 33;

const SHIFT = 1;
const CONTROL = 2;
const ALT = 4;
const META = 8;

/**
 * @typedef {object} InputOptions
 * @property {HTMLElement} target focusable; usually the canvas
 * @property {(clientX: number, clientY: number) => { x: number, y: number } | null} toFrame
 * @property {(events: InputEvent[]) => void} send
 */

/** @param {{ shiftKey: boolean, ctrlKey: boolean, altKey: boolean, metaKey: boolean }} event */
export function modifiersOf({ shiftKey, ctrlKey, altKey, metaKey }) {
  return (shiftKey ? SHIFT : 0) | (ctrlKey ? CONTROL : 0) | (altKey ? ALT : 0) | (metaKey ? META : 0);
}

/** Captures input while enabled. Shift+Escape gives the keyboard back to the agent's own page. */
export class InputCapture {
  #options;
  #enabled = false;
  /** @type {InputEvent[]} */
  #pending = [];
  /** @type {any} */
  #timer = null;
  /** Keys held, by `code`. @type {Map<string, string>} */
  #keys = new Map();
  /** Buttons held, and where. @type {Map<number, { x: number, y: number }>} */
  #buttons = new Map();
  /** @type {[string, (event: any) => void][]} */
  #listeners;

  /** @param {InputOptions} options */
  constructor(options) {
    this.#options = options;
    this.#listeners = [
      ["pointermove", (event) => this.#moved(event)],
      ["pointerdown", (event) => this.#pressed(event)],
      ["pointerup", (event) => this.#released(event)],
      ["pointercancel", () => this.#releaseAll()],
      ["wheel", (event) => this.#wheeled(event)],
      ["contextmenu", (event) => event.preventDefault()],
      ["keydown", (event) => this.#keyDown(event)],
      ["keyup", (event) => this.#keyUp(event)],
      ["paste", (event) => this.#pasted(event)],
      ["blur", () => this.#releaseAll()],
    ];
  }

  /** @param {boolean} enabled */
  set enabled(enabled) {
    if (enabled === this.#enabled) return;
    const { target } = this.#options;
    if (!enabled) this.#releaseAll();
    this.#enabled = enabled;
    for (const [type, listener] of this.#listeners) {
      if (enabled) target.addEventListener(type, listener, { passive: false });
      else target.removeEventListener(type, listener);
    }
    if (enabled) target.focus();
  }

  get enabled() {
    return this.#enabled;
  }

  /** @param {PointerEvent} event */
  #moved(event) {
    const at = this.#options.toFrame(event.clientX, event.clientY);
    if (!at) return;
    const last = this.#pending.at(-1);
    if (last?.t === "move") Object.assign(last, at);
    else this.#pending.push({ t: "move", ...at });
    this.#timer ??= setTimeout(() => this.#flush(), MOVE_MS);
  }

  /** @param {PointerEvent} event */
  #pressed(event) {
    const at = this.#options.toFrame(event.clientX, event.clientY);
    if (!at) return;
    event.preventDefault();
    this.#options.target.focus();
    this.#options.target.setPointerCapture(event.pointerId);
    this.#buttons.set(event.button, at);
    this.#now({ t: "down", ...at, button: event.button, modifiers: modifiersOf(event) });
  }

  /** @param {PointerEvent} event */
  #released(event) {
    const pressed = this.#buttons.get(event.button);
    if (!pressed) return;
    this.#buttons.delete(event.button);
    const at = this.#options.toFrame(event.clientX, event.clientY) ?? pressed;
    this.#now({ t: "up", ...at, button: event.button, modifiers: modifiersOf(event) });
  }

  /** @param {WheelEvent} event */
  #wheeled(event) {
    const at = this.#options.toFrame(event.clientX, event.clientY);
    if (!at) return;
    event.preventDefault();
    const last = this.#pending.at(-1);
    if (last?.t === "wheel") {
      Object.assign(last, at, { dx: (last.dx ?? 0) + event.deltaX, dy: (last.dy ?? 0) + event.deltaY });
    } else {
      this.#pending.push({ t: "wheel", ...at, dx: event.deltaX, dy: event.deltaY, modifiers: modifiersOf(event) });
    }
    this.#timer ??= setTimeout(() => this.#flush(), MOVE_MS);
  }

  /** @param {KeyboardEvent} event */
  #keyDown(event) {
    if (event.key === "Escape" && event.shiftKey) {
      this.#options.target.blur();
      return;
    }
    // Pasting must reach the browser: only the paste event may read the clipboard.
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "v") return;
    event.preventDefault();
    this.#keys.set(event.code, event.key);
    this.#now({ t: "keydown", key: event.key, code: event.code, modifiers: modifiersOf(event) });
  }

  /** @param {KeyboardEvent} event */
  #keyUp(event) {
    if (!this.#keys.delete(event.code)) return;
    event.preventDefault();
    this.#now({ t: "keyup", key: event.key, code: event.code, modifiers: modifiersOf(event) });
  }

  /** @param {ClipboardEvent} event */
  #pasted(event) {
    event.preventDefault();
    const text = event.clipboardData?.getData("text/plain");
    if (text) this.#now({ t: "text", text });
  }

  /** Whatever is held is let go, or the guest's page would see it pressed for ever. */
  #releaseAll() {
    for (const [code, key] of this.#keys) this.#pending.push({ t: "keyup", key, code });
    for (const [button, at] of this.#buttons) this.#pending.push({ t: "up", ...at, button });
    this.#keys.clear();
    this.#buttons.clear();
    this.#flush();
  }

  /** @param {InputEvent} event */
  #now(event) {
    this.#pending.push(event);
    this.#flush();
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#pending.length) this.#options.send(this.#pending.splice(0));
  }
}
