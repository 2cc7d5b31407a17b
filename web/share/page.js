// The pump between the recorder and the session: a page's snapshot and its changes as frames.
//
// Decides when a snapshot is taken, what goes into one frame, and what becomes of changes that cannot be sent. Does not
// decide what may leave the page (share/mask.js), what its pictures are (share/assets.js), nor the bytes (lib/pack.js).
// Stands where share/publisher.js stands for pixels. Nothing is dropped in between: what cannot be sent is replaced
// by a new snapshot as a whole.
import { urlsOf } from "../lib/css.js";
import { encodeFrame, FrameError, FrameType, Stream } from "../lib/frame.js";
import { pack } from "../lib/pack.js";
import { Assets } from "./assets.js";
import { Canvases } from "./canvases.js";
import { BLOCK, BLOCKED, Cleaner, coverText, coverValue, isBlocked, isMasked, isSecret, Kind, MASK, Source } from "./mask.js";

/** Changes of so long share a frame: below what people see as a delay, and a dozen frames a second. */
const BATCH_MS = 80;
/** More than this waiting in the socket is delay that the agent sees. */
const MAX_BUFFERED_BYTES = 512 * 1024;
/** How soon a full socket is looked at again. */
const BUFFER_POLL_MS = 50;
/** Changes kept while the socket is full; a snapshot is shorter than more of them. */
const MOST_EVENTS = 5_000;
/** A snapshot waits so long for the page's pictures; those that come later follow by themselves. */
const ASSETS_MS = 400;
/** Style sheets that came late are shown by one new snapshot for all of them. */
const STALE_MS = 300;

/** What the recorder asks before it tells a value; what is hidden is decided in share/mask.js. */
const VALUES = Object.fromEntries(
  `color date datetime-local email month number range search tel text time url week textarea select password`
    .split(" ")
    .map((type) => [type, true]),
);

/** @typedef {import("../lib/pack.js").Batch} Batch */
/** @typedef {Record<string, any>} Plain */

/**
 * @typedef {object} PageOptions
 * @property {(frame: Uint8Array<ArrayBuffer>) => void} send
 * @property {() => number} buffered bytes that wait in the socket
 * @property {(why: unknown) => void} [onFailure] the page cannot be shown
 * @property {() => Promise<any>} [load] the library, for tests
 * @property {() => number} [now] milliseconds since 1970, with fractions
 */

/** Publishes the page it runs in. */
export class PagePublisher {
  #options;
  #now;
  /** @type {any} */
  #record = null;
  #stop = () => {};
  #cleaner;
  #assets;
  #canvases;
  /** Blocked places keep their size, whatever it becomes. */
  #sizes = typeof ResizeObserver === "function" ? new ResizeObserver((all) => this.#resized(all)) : null;
  /** Addresses in style sheets: what comes for them late is put in by a new snapshot. @type {Set<string>} */
  #inSheets = new Set();
  /** A snapshot waits for its pictures. */
  #gathering = false;
  /** Waits for the next frame. @type {Batch} */
  #batch = { events: [] };
  /** What a snapshot consists of while one is taken. @type {any[] | null} */
  #taking = null;
  #wantKey = true;
  #connected = false;
  #paused = false;
  #closed = false;
  /** Frames in the making, in order. */
  #chain = Promise.resolve();
  #sequence;
  #group;
  /** @type {any} */
  #timer = null;
  /** @type {any} */
  #staleTimer = null;
  #counts = { events: 0, frames: 0, bytes: 0, snapshots: 0 };
  /** @type {string | null} */
  #lastError = null;

  /** @param {PageOptions} options */
  constructor(options) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.timeOrigin + performance.now());
    // The next page of the site counts on from here, whatever this one has sent.
    this.#sequence = Math.floor(this.#now() / 10) >>> 0;
    this.#group = Math.floor(this.#now() / 100) >>> 0;
    const node = (/** @type {number} */ id) => this.#record?.mirror.getNode(id) ?? null;
    this.#cleaner = new Cleaner({
      node,
      onElement: (element, tag, attributes) => this.#element(element, tag, attributes),
      onStale: () => this.#stale(),
    });
    this.#assets = new Assets((url, asset) => this.#arrived(url, asset));
    const visible = (/** @type {number} */ id) => {
      const canvas = node(id);
      return canvas?.isConnected && !isMasked(canvas) && !isBlocked(canvas) ? canvas : null;
    };
    this.#canvases = new Canvases(visible, (canvas) => this.#add({ events: [], canvases: [canvas] }));
  }

  /** What is shared, where others say their codec. */
  get family() {
    return "dom";
  }

  stats() {
    return { ...this.#counts, codec: this.family, lastError: this.#lastError };
  }

  /** Loads the recorder and begins. */
  async start() {
    const { record } = await (this.#options.load ?? (() => import(/** @type {any} */ ("../rrweb/record.js"))))();
    if (this.#closed) return;
    this.#record = record;
    this.#stop = record({
      emit: (/** @type {Plain} */ event) => this.#emitted(event),
      blockSelector: BLOCKED,
      maskTextSelector: `[${MASK}]`,
      maskTextFn: coverText,
      maskInputOptions: VALUES,
      maskInputFn: (/** @type {string} */ value, /** @type {any} */ field) => (isSecret(field) ? coverValue(value) : value),
      slimDOMOptions: "all",
      inlineStylesheet: true,
      sampling: { mousemove: 50, mousemoveCallback: BATCH_MS, scroll: BATCH_MS, media: 800 },
      errorHandler: (/** @type {unknown} */ error) => {
        this.#lastError = String(error);
        return true; // the page must not notice
      },
    }) ?? this.#stop;
    this.#flush();
  }

  /** Somebody needs a snapshot. */
  requestKey() {
    this.#wantKey = true;
    this.#flush();
  }

  /** The session can take frames; the relay's cache may be gone, so a snapshot comes first. */
  connected() {
    this.#connected = true;
    this.requestKey();
  }

  disconnected() {
    this.#connected = false;
    this.#forget();
  }

  pause() {
    this.#paused = true;
    this.#forget();
  }

  resume() {
    this.#paused = false;
    this.requestKey();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#staleTimer);
    this.#canvases.close();
    this.#sizes?.disconnect();
    this.#stop();
  }

  // A page has one form only, and no rate that could be lowered: changes are as many as there are.
  setDecodable() {}
  feedback() {}

  get #flows() {
    return this.#connected && !this.#paused && !this.#closed && this.#record !== null;
  }

  #forget() {
    this.#batch = { events: [] };
    this.#wantKey = true;
  }

  // ---- what the recorder says -------------------------------------------------------------------

  /** @param {Plain} event */
  #emitted(event) {
    if (!this.#flows) return;
    if (!this.#taking && this.#wantKey) return; // a snapshot will say it
    const cleaned = this.#cleaner.clean(event);
    if (!cleaned) return;
    this.#counts.events += 1;
    this.#addresses(cleaned);
    if (this.#taking) this.#taking.push(cleaned);
    else this.#add({ events: [cleaned] });
  }

  /** @param {Batch} more */
  #add({ events, assets, canvases }) {
    if (!this.#flows || this.#wantKey) return;
    const batch = this.#batch;
    batch.events.push(...events);
    if (assets) batch.assets = { ...batch.assets, ...assets };
    if (canvases) batch.canvases = [...(batch.canvases ?? []), ...canvases];
    if (batch.events.length > MOST_EVENTS) this.#forget();
    this.#timer ??= setTimeout(() => this.#flush(), BATCH_MS);
  }

  /** What was hidden or shown anew is told by a new snapshot, once for all that changes together. */
  #stale() {
    this.#staleTimer ??= setTimeout(() => {
      this.#staleTimer = null;
      this.requestKey();
    }, STALE_MS);
  }

  // ---- frames -----------------------------------------------------------------------------------

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (!this.#flows) return;
    if (this.#options.buffered() > MAX_BUFFERED_BYTES) {
      this.#timer = setTimeout(() => this.#flush(), BUFFER_POLL_MS);
      return;
    }
    if (this.#wantKey) return this.#snapshot();
    const batch = this.#batch;
    if (!batch.events.length && !batch.assets && !batch.canvases) return;
    this.#batch = { events: [] };
    this.#post(batch, false);
  }

  #snapshot() {
    this.#batch = { events: [] };
    const events = (this.#taking = /** @type {any[]} */ ([]));
    try {
      this.#record.takeFullSnapshot();
    } finally {
      this.#taking = null;
    }
    if (!events.some(({ type }) => type === Kind.SNAPSHOT)) return this.#failed("the page could not be recorded");
    this.#wantKey = false;
    this.#counts.snapshots += 1;
    this.#canvases.read();
    // What the canvases just told is in the snapshot already.
    this.#batch = { events: [] };
    this.#post({ events }, true);
  }

  /** @param {Batch} batch @param {boolean} key */
  #post(batch, key) {
    this.#gathering ||= key;
    this.#chain = this.#chain.then(async () => {
      if (key) {
        const late = new Promise((resolve) => setTimeout(resolve, ASSETS_MS));
        await Promise.race([this.#assets.settled(), late]);
        this.#gathering = false;
        batch.canvases = this.#canvases.all();
        batch.assets = this.#assets.all();
        for (const event of batch.events) this.#styles(event);
      }
      await this.#send(batch, key);
    }).catch((error) => this.#failed(error));
  }

  /** @param {Batch} batch @param {boolean} key */
  async #send(batch, key) {
    const payload = await pack(batch);
    if (!this.#flows) return;
    try {
      const frame = encodeFrame(this.#header(key), payload);
      this.#sequence = (this.#sequence + 1) >>> 0;
      this.#options.send(frame);
      this.#counts.frames += 1;
      this.#counts.bytes += frame.length;
    } catch (error) {
      if (!(error instanceof FrameError) || error.code !== "too_long") throw error;
      // The page goes without its pictures rather than not at all; what changed in one go is in a snapshot, too.
      if (!key) return this.requestKey();
      if (!batch.assets && !batch.canvases) throw error;
      await this.#send({ events: batch.events }, key);
    }
  }

  /** @param {boolean} key */
  #header(key) {
    if (key) this.#group = (this.#group + 1) >>> 0;
    const size = (/** @type {number} */ pixels) => Math.min(0xffff, Math.max(1, Math.round(pixels)));
    return {
      type: FrameType.DOM,
      key,
      droppable: false,
      last: false,
      encrypted: false,
      layer: 0,
      stream: Stream.SCREEN,
      sequence: this.#sequence,
      group: this.#group,
      time: Math.round(this.#now() * 1000),
      width: size(innerWidth),
      height: size(innerHeight),
      config: null,
    };
  }

  /** @param {unknown} why */
  #failed(why) {
    if (this.#closed) return;
    this.#lastError = String(/** @type {any} */ (why)?.message ?? why);
    this.#options.onFailure?.(why);
  }

  // ---- pictures, fonts, style sheets ------------------------------------------------------------

  /** @param {ResizeObserverEntry[]} all */
  #resized(all) {
    const attributes = all.flatMap(({ target }) => {
      const id = this.#record?.mirror.getId(target) ?? -1;
      const { width, height } = target.getBoundingClientRect();
      return id > 0 && target.isConnected ? [{ id, attributes: { style: { width: `${width}px`, height: `${height}px` } } }] : [];
    });
    const data = { source: Source.MUTATION, texts: [], attributes, removes: [], adds: [] };
    if (attributes.length) this.#add({ events: [{ type: Kind.CHANGE, timestamp: Math.round(this.#now()), data }] });
  }

  /** Addresses of an element that may be seen. @param {any} element @param {string} tag @param {Plain} attributes */
  #element(element, tag, attributes) {
    if (element.hasAttribute?.(BLOCK)) {
      this.#sizes?.observe(element);
      attributes.style = "box-sizing: border-box";
    }
    if (tag === "canvas") return this.#canvases.found(this.#record.mirror.getId(element));
    if (tag === "source") return void delete attributes.srcset;
    if (tag === "img") {
      if ("src" in attributes || "srcset" in attributes) this.#image(element, attributes);
    } else if (tag === "input" && attributes.type === "image") {
      this.#want(attributes.src, element);
    } else if (tag === "video") {
      delete attributes.src;
      this.#want(attributes.poster, element);
    } else if (tag === "image") {
      this.#want(attributes.href ?? attributes["xlink:href"], element);
    } else if (tag === "link" && /(^|\s)stylesheet(\s|$)/i.test(attributes.rel ?? "")) {
      this.#want(attributes.href);
    }
  }

  /** @param {HTMLImageElement} image @param {Plain} attributes */
  #image(image, attributes) {
    const url = image.currentSrc || attributes.src;
    delete attributes.srcset;
    if (!url) return;
    attributes.src = url;
    this.#want(url, image);
    // What cannot be had must not move what stands around it.
    const { width, height } = image.getBoundingClientRect();
    if (this.#assets.get(url) === null && width && height) Object.assign(attributes, { rr_width: `${width}px`, rr_height: `${height}px` });
  }

  /** @param {unknown} url @param {HTMLElement | null} [element] */
  #want(url, element = null) {
    if (typeof url === "string" && url) this.#assets.want(url, element);
  }

  /** Addresses in the style sheets of an event. @param {Plain} event */
  #addresses({ type, data }) {
    if (type === Kind.SNAPSHOT) return this.#nodes(data.node);
    if (type !== Kind.CHANGE) return;
    for (const { node } of data.adds ?? []) this.#nodes(node);
    for (const { attributes } of data.attributes ?? []) this.#sheet(attributes._cssText, attributes.style);
    if (data.source === Source.STYLE_RULE) for (const { rule } of data.adds ?? []) this.#sheet(rule);
    if (data.source === Source.STYLE) this.#sheet(data.set?.value);
    if (data.source === Source.SHEETS) for (const { rules } of data.styles ?? []) for (const { rule } of rules) this.#sheet(rule);
  }

  /** @param {Plain} node */
  #nodes(node) {
    const { _cssText, style } = node?.attributes ?? {};
    this.#sheet(_cssText, style);
    if (node?.isStyle) this.#sheet(node.textContent);
    for (const child of node?.childNodes ?? []) this.#nodes(child);
  }

  /** @param {...unknown} sheets */
  #sheet(...sheets) {
    for (const css of sheets) {
      if (typeof css !== "string" || !css.includes("url(")) continue;
      for (const url of urlsOf(css)) {
        if (!this.#isLoaded(url)) continue;
        const { href } = new URL(url, location.href);
        this.#inSheets.add(href);
        this.#want(href);
      }
    }
  }

  /** A sheet names many pictures and fonts that this page does not use: only what the page has loaded is fetched. */
  #isLoaded(/** @type {string} */ url) {
    if (url.startsWith("data:") || url.startsWith("#") || !URL.canParse(url, location.href)) return false;
    return performance.getEntriesByName(new URL(url, location.href).href, "resource").length > 0;
  }

  /** Style sheets of other origins, which the recorder could not read. @param {Plain} event */
  #styles({ type, data }) {
    const put = (/** @type {Plain} */ node) => {
      const { attributes } = node;
      const asset = node.tagName === "link" && attributes?.href ? this.#assets.get(attributes.href) : null;
      if (asset && "text" in asset) attributes._cssText = absolute(asset.text, attributes.href);
      node.childNodes?.forEach(put);
    };
    if (type === Kind.SNAPSHOT) put(data.node);
  }

  /** @param {string} url @param {import("./assets.js").Asset} asset */
  #arrived(url, asset) {
    if (this.#gathering) return;
    if (!("data" in asset) || this.#inSheets.has(url)) return this.#stale();
    this.#add({ events: [], assets: { [url]: asset.data } });
  }
}

/** @param {string} css @param {string} base */
function absolute(css, base) {
  return css.replace(/url\(\s*["']?([^"')\s]+)["']?\s*\)/gi, (all, url) =>
    /^(data:|#)/.test(url) || !URL.canParse(url, base) ? all : `url("${new URL(url, base).href}")`,
  );
}
