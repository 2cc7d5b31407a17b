// A visitor's page as a viewer shows it: a frame below the canvas, in the same place and size.
//
// Decides where the page stands, and what becomes of frames that come faster than they can be applied. Does not decide
// which frame may be applied (lib/gate.js), what of it is shown (view/safe.js), nor how (pages/replay/).

/** @import { Frame } from "../lib/frame.js" */

/** Frames handed over and not yet applied: ten seconds of a busy page. With more, a new snapshot is quicker. */
export const MOST_QUEUED = 120;

/**
 * @typedef {object} PageEvents
 * @property {(drawn: { key: boolean, sequence: number, time: number, width: number, height: number }) => void} onDrawn
 * @property {(message: string) => void} onFailure a frame could not be applied: only a snapshot helps
 * @property {(why: string) => void} onBlocked what shows the page does not come up: it stands in agents' pages only
 */

/** Longest wait for it. */
const LOAD_MS = 15_000;
/** It says that it is there before it has loaded; its word may come by another way. */
const WORD_MS = 3_000;

/** The page that one viewer shows. */
export class PageView {
  #canvas;
  #frame;
  #events;
  #server;
  /** @type {MessagePort | null} */
  #port = null;
  #patience;
  /** It did not come up: nothing is kept for it. */
  #blocked = false;
  /** Waits for the frame to load. @type {Frame[]} */
  #early = [];
  /** Handed over, by sequence: when they were taken at the visitor's. @type {Map<number, number>} */
  #queued = new Map();

  /**
   * @param {HTMLCanvasElement} canvas takes the pointer and has the place
   * @param {string} server where /replay is
   * @param {PageEvents} events
   */
  constructor(canvas, server, events) {
    this.#canvas = canvas;
    this.#events = events;
    const frame = (this.#frame = document.createElement("iframe"));
    this.#server = new URL(server, location.href).origin;
    frame.title = "The visitor’s page";
    frame.tabIndex = -1;
    frame.dataset.test = "replay";
    // Its modules run, with the rights of its own address; it opens, downloads, submits and leads to nothing.
    frame.setAttribute("sandbox", "allow-scripts allow-same-origin");
    Object.assign(frame.style, {
      position: "absolute", left: "0", top: "0", border: "0", transformOrigin: "0 0", pointerEvents: "none", background: "#fff",
    });
    addEventListener("message", this.#onMessage);
    const around = pagesAround(this.#server);
    frame.src = `${this.#server}/replay${around.length ? `?in=${around}` : ""}`;
    const block = () => {
      this.#blocked = true;
      this.#early = [];
      const whose = around.length ? `in pages of ${around.join(" in ")}: each has to be on agent_origins` : "here";
      events.onBlocked(`a visitor’s page can’t be shown ${whose}`);
    };
    this.#patience = setTimeout(block, LOAD_MS);
    frame.addEventListener("load", () => {
      clearTimeout(this.#patience);
      if (!this.#port) this.#patience = setTimeout(block, WORD_MS);
    });
    canvas.before(frame);
    canvas.style.opacity = "0";
    this.place();
  }

  /** The frame that shows it, for who wants to look inside. */
  get element() {
    return this.#frame;
  }

  /** Only its coming up helps. */
  get blocked() {
    return this.#blocked;
  }

  get queued() {
    return this.#early.length + this.#queued.size;
  }

  /** @param {Frame} frame */
  apply(frame) {
    if (this.#blocked) return;
    if (!this.#port) {
      if (frame.key) this.#early = [];
      this.#early.push(frame);
      return;
    }
    this.#queued.set(frame.sequence, frame.time);
    const payload = frame.payload.slice().buffer;
    this.#port.postMessage({ key: frame.key, sequence: frame.sequence, payload }, [payload]);
  }

  /** Takes the place of the canvas, which the stage moves and sizes. */
  place() {
    const { width, height, style } = this.#canvas;
    const scale = width ? parseFloat(style.width) / width : 1;
    this.#frame.style.width = `${width}px`;
    this.#frame.style.height = `${height}px`;
    this.#frame.style.transform = `${style.transform} scale(${scale || 1})`;
  }

  close() {
    removeEventListener("message", this.#onMessage);
    clearTimeout(this.#patience);
    this.#port?.close();
    this.#frame.remove();
    this.#canvas.style.opacity = "";
  }

  /** @param {MessageEvent} event */
  #onMessage = ({ source, data, origin }) => {
    if (source !== this.#frame.contentWindow || origin !== this.#server || data !== "porchlight.replay" || this.#port) return;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    clearTimeout(this.#patience);
    port1.onmessage = ({ data: said }) => this.#said(said);
    this.#frame.contentWindow?.postMessage("porchlight.replay", origin, [port2]);
    for (const frame of this.#early.splice(0)) this.apply(frame);
    if (!this.#blocked) return;
    this.#blocked = false;
    this.#events.onFailure("what shows the page came late");
  };

  /** @param {any} said */
  #said(said) {
    const time = this.#queued.get(said.sequence) ?? 0;
    if (said.type === "drawn") {
      this.#queued.delete(said.sequence);
      this.#events.onDrawn({ ...said, time });
    } else if (said.type === "failed") {
      this.#queued.delete(said.sequence);
      this.#events.onFailure(said.message);
    }
  }
}

/**
 * Origins of this page and of those around it, from the inside out; none if all are the server's own. The server lets
 * what shows pages stand where agents' pages may be, and the browser looks at every page around it.
 * @param {string} server
 */
function pagesAround(server) {
  const around = [...new Set([location.origin, .../** @type {any} */ (location.ancestorOrigins ?? [])])];
  return around.every((one) => one === server) ? [] : around;
}
