// Rebuilds a visitor's page and keeps it up to date, inside a frame of the page that shows it.
//
// Decides the order in which frames are applied and how pictures find their places. What may be applied is
// view/safe.js's business, where the frame stands view/page.js's, which hands over a port and the frames.
// Nothing of the visitor's page runs: it is rebuilt in a sandboxed frame without scripts.
import { unpack } from "../../lib/pack.js";
import { assetOf, Safe } from "../../view/safe.js";
import { Replayer } from "../../rrweb/replay.js";

/** @typedef {Record<string, any>} Plain */

const SNAPSHOT = 2;
const CHANGE = 3;
const META = 4;

/** How long a press of the visitor's button is shown. */
const PRESS_MS = 300;

class Replay {
  #port;
  #replayer;
  #safe = new Safe((url, use) => this.#address(url, use));
  /** What pictures and fonts came: address of the visitor's page to one of ours. @type {Map<string, string>} */
  #assets = new Map();
  /** Elements whose picture has not come. @type {Map<string, { id: number, name: string }[]>} */
  #waiting = new Map();
  #shown = false;
  #chain = Promise.resolve();

  /** @param {MessagePort} port */
  constructor(port) {
    this.#port = port;
    this.#replayer = new Replayer([{ type: 5, timestamp: 0, data: { tag: "", payload: null } }], {
      liveMode: true,
      mouseTail: false,
      useVirtualDom: false,
      pauseAnimation: false,
      triggerFocus: false,
      // Where it is scrolled to is the visitor's word alone.
      insertStyleRules: ["html, body, body * { overflow-anchor: none !important; }"],
      showWarning: false,
      showDebug: false,
      logger: { log() {}, warn() {} },
    });
    this.#replayer.startLive(0);
    port.onmessage = ({ data }) => this.#take(data);
    port.postMessage({ type: "ready" });
  }

  /** @param {{ key: boolean, sequence: number, payload: ArrayBuffer }} frame */
  #take({ key, sequence, payload }) {
    this.#chain = this.#chain.then(async () => {
      try {
        const batch = await unpack(new Uint8Array(payload));
        if (key) this.#begin();
        this.#keep(batch.assets);
        for (const event of batch.events) this.#apply(event);
        this.#place(batch.assets);
        this.#paint(batch.canvases);
        if (!this.#shown) throw new Error("changes of a page that never came");
        const { width, height } = this.#replayer.iframe;
        this.#port.postMessage({ type: "drawn", key, sequence, width: Number(width), height: Number(height) });
      } catch (error) {
        this.#port.postMessage({ type: "failed", sequence, message: String(/** @type {any} */ (error)?.message ?? error) });
      }
    });
  }

  /** A snapshot brings everything that it shows. */
  #begin() {
    this.#waiting.clear();
    const old = [...this.#assets.values()];
    this.#assets.clear();
    // Not before the new page is there: a picture that is both here and there must not flicker.
    setTimeout(() => old.forEach((url) => URL.revokeObjectURL(url)), 1_000);
  }

  /** @param {unknown} event */
  #apply(event) {
    const safe = this.#safe.event(event);
    if (!safe) return;
    if (safe.type === CHANGE && [1, 6, 12].includes(safe.data.source)) {
      const [{ x, y, id }] = safe.data.positions;
      if (this.#shown) this.#replayer.moveAndHover(x, y, id, false, safe.data);
      return;
    }
    if (safe.type === CHANGE && safe.data.source === 2) return this.#press(safe.data);
    if (safe.type === CHANGE && !this.#shown) return;
    // Scrolls at once: a smooth one would be behind the visitor, and stands still in a tab behind others.
    this.#replayer.getCastFn(safe, safe.data.source === 3)();
    if (safe.type === SNAPSHOT) this.#shown = true;
    if (safe.type === META || safe.data.source === 4) this.#size(safe.data);
  }

  /** The visitor presses somewhere; what comes of it comes as changes. @param {Plain} data */
  #press({ x, y, id }) {
    if (!this.#shown || (!x && !y)) return;
    this.#replayer.moveAndHover(x, y, id, false, null);
    const { mouse } = this.#replayer;
    mouse.classList.add("active");
    setTimeout(() => mouse.classList.remove("active"), PRESS_MS);
  }

  /** @param {Plain} size */
  #size({ width, height }) {
    document.body.style.width = `${width}px`;
    document.body.style.height = `${height}px`;
  }

  // ---- pictures ---------------------------------------------------------------------------------

  /** @param {unknown} assets */
  #keep(assets) {
    for (const [url, data] of Object.entries(assets ?? {})) {
      const asset = assetOf(data);
      if (asset && !this.#assets.has(url)) this.#assets.set(url, URL.createObjectURL(blobOf(asset)));
    }
  }

  /** @param {string} url @param {{ id: number, name: string }} [use] */
  #address(url, use) {
    const have = this.#assets.get(url) ?? null;
    if (!have && use) this.#waiting.set(url, [...(this.#waiting.get(url) ?? []), use]);
    return have;
  }

  /** Puts pictures where they were awaited. @param {unknown} assets */
  #place(assets) {
    for (const url of Object.keys(assets ?? {})) {
      const places = this.#waiting.get(url);
      const have = this.#assets.get(url);
      if (!places || !have) continue;
      this.#waiting.delete(url);
      for (const { id, name } of places) this.#replayer.getMirror().getNode(id)?.setAttribute(name, have);
    }
  }

  /** Where nothing runs, browsers show what stands inside a canvas: its picture becomes its background. @param {unknown} canvases */
  #paint(canvases) {
    for (const one of Array.isArray(canvases) ? canvases : []) {
      const [id, width, height, data] = Array.isArray(one) ? one : [];
      const canvas = this.#replayer.getMirror().getNode(id);
      const asset = assetOf(data);
      if (canvas?.localName !== "canvas" || !asset || !(width >= 0) || !(height >= 0)) continue;
      const { style } = canvas;
      if (canvas.ownerDocument.defaultView?.getComputedStyle(canvas).display === "inline") style.display = "inline-block";
      style.boxSizing = "border-box";
      style.width = `${Number(width)}px`;
      style.height = `${Number(height)}px`;
      style.backgroundImage = `url("${asset}")`;
      style.backgroundSize = "100% 100%";
    }
  }
}

/** @param {string} data a base64 `data:` address */
function blobOf(data) {
  const comma = data.indexOf(",");
  const bytes = Uint8Array.from(atob(data.slice(comma + 1)), (char) => char.charCodeAt(0));
  return new Blob([bytes], { type: data.slice(5, data.indexOf(";")) });
}

// One port, from the page around it; nobody else is listened to. Which page that is it says itself, and the policy that
// this page came with holds it to it.
const host = new URLSearchParams(location.search).get("in")?.split(",")[0] ?? location.origin;
let taken = false;
addEventListener("message", ({ source, origin, data, ports }) => {
  if (taken || source !== parent || source === window || origin !== host || data !== "porchlight.replay") return;
  taken = true;
  new Replay(ports[0]);
});
parent.postMessage("porchlight.replay", host);
