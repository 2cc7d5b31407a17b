// Canvases of the recorded page, as pictures: what is painted on them is in no DOM.
//
// Decides how often they are looked at, and that one which did not change costs nothing on the line. Does not decide
// which may be seen (share/mask.js). A canvas that shows pictures of another origin cannot be read and stays blank.

/** A chart that is drawn is seen within half a second; a video on a canvas is not what this is for. */
const LOOK_MS = 500;
/** Looking may take a tenth of the page's time at most. */
const REST = 10;
/** Larger ones take longer than a frame of the page to read. */
const MOST_PIXELS = 4_000_000;

/** Watches the canvases of a page. */
export class Canvases {
  /** @type {Map<number, { width: number, height: number, picture: string }>} */
  #seen = new Map();
  /** @type {Set<number>} */
  #known = new Set();
  #node;
  #onChange;
  /** @type {any} */
  #timer = null;

  /**
   * @param {(id: number) => any} node the canvas of this number, null if it is gone or may not be seen
   * @param {(canvas: [number, number, number, string]) => void} onChange
   */
  constructor(node, onChange) {
    this.#node = node;
    this.#onChange = onChange;
  }

  /** A canvas of the page. @param {number} id */
  found(id) {
    this.#known.add(id);
    this.#timer ??= setTimeout(() => this.#look(), 0);
  }

  /** The newest picture of each. @returns {[number, number, number, string][]} */
  all() {
    return [...this.#seen].map(([id, { width, height, picture }]) => [id, width, height, picture]);
  }

  /** Reads them all now. */
  read() {
    for (const id of this.#known) this.#read(id);
  }

  close() {
    clearTimeout(this.#timer);
    this.#known.clear();
    this.#seen.clear();
  }

  #look() {
    const began = performance.now();
    if (document.visibilityState === "visible") this.read();
    const wait = Math.max(LOOK_MS, (performance.now() - began) * REST);
    this.#timer = this.#known.size ? setTimeout(() => this.#look(), wait) : null;
  }

  /** @param {number} id */
  #read(id) {
    const canvas = this.#node(id);
    if (!canvas) {
      this.#known.delete(id);
      this.#seen.delete(id);
      return;
    }
    const { width, height } = canvas.getBoundingClientRect();
    if (!canvas.width || !canvas.height || canvas.width * canvas.height > MOST_PIXELS) return;
    let picture;
    try {
      picture = canvas.toDataURL("image/webp", 0.85);
    } catch {
      this.#known.delete(id);
      return;
    }
    const before = this.#seen.get(id);
    if (before && before.picture === picture && before.width === width && before.height === height) return;
    this.#seen.set(id, { width, height, picture });
    this.#onChange([id, width, height, picture]);
  }
}
