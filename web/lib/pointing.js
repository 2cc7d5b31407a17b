// From the agent's pointer on the picture to places that the guest is shown.
//
// Decides how often a place is told. Does not decide who may point (the server does), nor how it looks to the guest
// (share/marks.js).

/** A little above the server's spacing, which leaves out what comes sooner. */
const SPACING_MS = 60;

/**
 * @typedef {object} PointingOptions
 * @property {HTMLElement} target usually the canvas
 * @property {(clientX: number, clientY: number) => { x: number, y: number } | null} toFrame
 * @property {(at: { x: number, y: number }) => void} send
 */

/** Tells where the pointer is while enabled. */
export class Pointing {
  #options;
  #enabled = false;
  /** Not told yet. @type {{ x: number, y: number } | null} */
  #at = null;
  /** @type {any} */
  #timer = null;

  /** @param {PointingOptions} options */
  constructor(options) {
    this.#options = options;
  }

  get enabled() {
    return this.#enabled;
  }

  /** @param {boolean} enabled */
  set enabled(enabled) {
    if (enabled === this.#enabled) return;
    this.#enabled = enabled;
    clearTimeout(this.#timer);
    this.#timer = this.#at = null;
    const { target } = this.#options;
    for (const type of ["pointermove", "pointerdown"]) {
      if (enabled) target.addEventListener(type, this.#onMove);
      else target.removeEventListener(type, this.#onMove);
    }
  }

  #onMove = (/** @type {any} */ { clientX, clientY }) => {
    this.#at = this.#options.toFrame(clientX, clientY) ?? this.#at;
    if (this.#timer === null) this.#tell();
  };

  /** The newest place is always told, however soon it came. */
  #tell() {
    this.#timer = null;
    if (!this.#at) return;
    this.#options.send(this.#at);
    this.#at = null;
    this.#timer = setTimeout(() => this.#tell(), SPACING_MS);
  }
}
