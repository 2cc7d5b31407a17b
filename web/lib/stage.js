// Where the picture stands in its viewport: fit, actual size, zoom, pan.
//
// Decides place and size of a canvas inside its parent, and which point of the frame a point of the screen is.
// Does not decide what is drawn (view.js) nor what a click means (input.js): with `interactive` off it leaves the
// pointer alone. The canvas keeps one pixel per pixel of the frame; size on screen is a matter of style.

/** Smallest and largest scale: beyond them nothing can be read, or nothing but single pixels is seen. */
const MIN_SCALE = 0.1;
const MAX_SCALE = 8;
/** Scale per notch of a wheel (100 px): seven notches double it. */
const WHEEL_STEP = 1.1;
/** Largest coordinate of the wire, the right or bottom edge of the frame. */
const WIRE_EDGE = 65_535;

/** @typedef {"fit" | "free"} StageMode */

/**
 * @typedef {object} Placement
 * @property {number} scale CSS pixels per pixel of the frame
 * @property {number} x left edge of the picture in the viewport
 * @property {number} y
 */

/** A width and a height. @typedef {{ width: number, height: number }} Size */

/**
 * Largest centred placement that shows the whole frame.
 * @param {Size} frame @param {Size} viewport
 * @returns {Placement}
 */
export function fitted(frame, viewport) {
  const scale = Math.min(viewport.width / frame.width, viewport.height / frame.height) || 1;
  return clamped({ scale, x: 0, y: 0 }, frame, viewport);
}

/**
 * Keeps the picture where it can be seen: centred along an axis it does not fill, without a gap along one it does.
 * @param {Placement} placement @param {Size} frame @param {Size} viewport
 * @returns {Placement}
 */
export function clamped({ scale, x, y }, frame, viewport) {
  const along = (/** @type {number} */ at, /** @type {number} */ size, /** @type {number} */ room) =>
    size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at));
  return {
    scale,
    x: along(x, frame.width * scale, viewport.width),
    y: along(y, frame.height * scale, viewport.height),
  };
}

/**
 * Changes the scale so that the point `at` of the viewport keeps showing the same pixel.
 * @param {Placement} from @param {number} scale @param {{ x: number, y: number }} at
 * @returns {Placement}
 */
export function zoomed(from, scale, at) {
  const next = Math.min(MAX_SCALE, Math.max(MIN_SCALE, scale));
  const ratio = next / from.scale;
  return { scale: next, x: at.x - (at.x - from.x) * ratio, y: at.y - (at.y - from.y) * ratio };
}

/** A canvas in its viewport, the canvas's parent element. */
export class Stage {
  /** @type {StageMode} */
  #mode = "fit";
  /** @type {Placement} */
  #placement = { scale: 1, x: 0, y: 0 };
  #canvas;
  #viewport;
  #resize;
  /** Pointers held down on the viewport. @type {Map<number, { x: number, y: number }>} */
  #held = new Map();
  /** Off while the pointer belongs to the guest's page. */
  interactive = true;
  /** Called after each change of mode or scale. @type {() => void} */
  onChange = () => {};
  /** Called whenever the canvas was placed: for what stands where it does. @type {() => void} */
  onPlace = () => {};

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    const viewport = canvas.parentElement;
    if (!viewport) throw new Error("the canvas needs a parent element as its viewport");
    this.#canvas = canvas;
    this.#viewport = viewport;
    this.#resize = new ResizeObserver(() => this.#place());
    this.#resize.observe(viewport);
    viewport.addEventListener("wheel", this.#onWheel, { passive: false });
    viewport.addEventListener("pointerdown", this.#onDown);
    viewport.addEventListener("pointermove", this.#onMove);
    viewport.addEventListener("pointerup", this.#onUp);
    viewport.addEventListener("pointercancel", this.#onUp);
  }

  get mode() {
    return this.#mode;
  }

  /** CSS pixels per pixel of the frame. */
  get scale() {
    return this.#placement.scale;
  }

  /** Takes up the frame's size after the canvas got it. */
  frameChanged() {
    this.#place();
  }

  /** Shows the whole frame, whatever size the viewport has. */
  fit() {
    this.#mode = "fit";
    this.#place();
  }

  /** Shows one pixel of the frame on one pixel of the screen. */
  actualSize() {
    this.#zoom(1 / devicePixelRatio, this.#centre());
  }

  /** @param {number} factor */
  zoomBy(factor) {
    this.#zoom(this.#placement.scale * factor, this.#centre());
  }

  /** @param {number} dx @param {number} dy CSS pixels */
  panBy(dx, dy) {
    if (this.#mode === "fit") return;
    this.#placement.x += dx;
    this.#placement.y += dy;
    this.#place();
  }

  /**
   * The point of the frame under a point of the screen, 0–65535, or null beside the picture.
   * @param {number} clientX @param {number} clientY
   */
  toFrame(clientX, clientY) {
    const box = this.#canvas.getBoundingClientRect();
    const x = (clientX - box.left) / box.width;
    const y = (clientY - box.top) / box.height;
    if (!(x >= 0 && x <= 1 && y >= 0 && y <= 1)) return null;
    return { x: Math.round(x * WIRE_EDGE), y: Math.round(y * WIRE_EDGE) };
  }

  close() {
    this.#resize.disconnect();
    const viewport = this.#viewport;
    viewport.removeEventListener("wheel", this.#onWheel);
    viewport.removeEventListener("pointerdown", this.#onDown);
    viewport.removeEventListener("pointermove", this.#onMove);
    viewport.removeEventListener("pointerup", this.#onUp);
    viewport.removeEventListener("pointercancel", this.#onUp);
  }

  /** @returns {Size} */
  #room() {
    return { width: this.#viewport.clientWidth, height: this.#viewport.clientHeight };
  }

  #centre() {
    const { width, height } = this.#room();
    return { x: width / 2, y: height / 2 };
  }

  /** @param {number} scale @param {{ x: number, y: number }} at */
  #zoom(scale, at) {
    this.#mode = "free";
    this.#placement = zoomed(this.#placement, scale, at);
    this.#place();
  }

  #place() {
    const canvas = this.#canvas;
    const room = this.#room();
    if (!canvas.width || !room.width || !room.height) return;
    this.#placement = this.#mode === "fit" ? fitted(canvas, room) : clamped(this.#placement, canvas, room);
    const { scale, x, y } = this.#placement;
    canvas.style.width = `${canvas.width * scale}px`;
    canvas.style.height = `${canvas.height * scale}px`;
    canvas.style.transform = `translate(${x}px, ${y}px)`;
    this.onPlace();
    this.onChange();
  }

  /** @param {{ clientX: number, clientY: number }} event */
  #inViewport({ clientX, clientY }) {
    const box = this.#viewport.getBoundingClientRect();
    return { x: clientX - box.left, y: clientY - box.top };
  }

  /** @param {WheelEvent} event */
  #onWheel = (event) => {
    if (!this.interactive) return;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      const factor = WHEEL_STEP ** (-event.deltaY / 100);
      this.#zoom(this.#placement.scale * factor, this.#inViewport(event));
    } else if (this.#mode === "free") {
      event.preventDefault();
      this.panBy(-event.deltaX, -event.deltaY);
    }
  };

  /** @param {PointerEvent} event */
  #onDown = (event) => {
    if (!this.interactive || event.button !== 0) return;
    this.#held.set(event.pointerId, this.#inViewport(event));
    this.#viewport.setPointerCapture(event.pointerId);
  };

  /** One pointer pans, two zoom around the point between them. @param {PointerEvent} event */
  #onMove = (event) => {
    const from = this.#held.get(event.pointerId);
    if (!from || !this.interactive) return;
    const to = this.#inViewport(event);
    this.#held.set(event.pointerId, to);
    const other = [...this.#held].find(([id]) => id !== event.pointerId)?.[1];
    if (!other) {
      this.panBy(to.x - from.x, to.y - from.y);
      return;
    }
    const distance = (/** @type {{ x: number, y: number }} */ p) => Math.hypot(p.x - other.x, p.y - other.y) || 1;
    const middle = { x: (to.x + other.x) / 2, y: (to.y + other.y) / 2 };
    this.#zoom((this.#placement.scale * distance(to)) / distance(from), middle);
  };

  /** @param {PointerEvent} event */
  #onUp = (event) => {
    this.#held.delete(event.pointerId);
  };
}
