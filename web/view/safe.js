// What of a visitor's page may be rebuilt in an agent's browser.
//
// Decides which events, elements, attributes and addresses come through; everything not named here does not. What runs,
// posts, loads or leads anywhere is left out, whoever sent it: a page that means harm can send whatever it likes.
// The frame it is rebuilt in runs nothing either (sandbox), nor may it load anything (policy of /replay): each of the
// three alone would do. Does not decide how it is drawn (pages/replay/main.js). Plain values in, new plain values out.

import { withUrls } from "../lib/css.js";

/** @typedef {Record<string, any>} Plain */
/** Puts an address that can be shown for one of the visitor's; null while there is none. @typedef {(url: string, use?: { id: number, name: string }) => string | null} Resolve */

const SNAPSHOT = 2;
const CHANGE = 3;
const META = 4;

/** Nodes of one event: a page with more would stop the agent's browser. */
const MOST_NODES = 200_000;
/** How deep elements may stand in each other: rebuilding goes as deep. */
const MOST_DEPTH = 1_000;
const MOST_PIXELS = 20_000;

/** What takes the place of elements that run or load something; the shape of the page stays. */
const REPLACED = new Set(["object", "embed", "applet", "frame", "frameset", "portal", "fencedframe", "webview", "base"]);
/** Elements without insides here. */
const EMPTIED = new Set(["script", "noscript", "template"]);
/** Attributes that are an address of something to load. */
const LOADS = new Set(["src", "srcset", "poster", "background", "data", "imagesrcset", "lowsrc", "dynsrc", "cite", "longdesc", "manifest", "codebase", "classid", "archive", "profile", "usemap"]);
/** Attributes that run, post, lead or change what the frame may do. */
const LEFT_OUT = new Set(["srcdoc", "action", "formaction", "formtarget", "target", "ping", "nonce", "integrity", "sandbox", "allow", "csp", "is", "autofocus", "autoplay", "http-equiv", "content", "download", "crossorigin", "referrerpolicy", "loading", "fetchpriority", "attributionsrc", "shadowrootmode", "popovertarget", "popovertargetaction", "command", "commandfor", "accesskey", "contenteditable"]);
/** What the library itself understands, and of which type. @type {Record<string, (value: any) => boolean>} */
const SPECIAL = {
  rr_width: isLength,
  rr_height: isLength,
  rr_scrollLeft: Number.isFinite,
  rr_scrollTop: Number.isFinite,
  rr_open_mode: (value) => value === "modal" || value === "non-modal",
};

const TAG = /^[a-z][a-z0-9_:-]{0,63}$/i;
const ATTRIBUTE = /^[a-z_][\w:.-]{0,127}$/i;
const LINK = /^(https?:|mailto:|tel:|#)/i;
const ASSET = /^data:(image\/(png|jpeg|webp|gif|avif|bmp|x-icon|vnd\.microsoft\.icon|svg\+xml)|font\/(woff2?|ttf|otf|sfnt|collection));base64,[a-z0-9+/=]*$/i;
const DATA_IMAGE = /^data:image\/[a-z0-9.+-]+[;,]/i;

/** @param {unknown} value */
function isLength(value) {
  return typeof value === "string" && /^\d{1,5}(\.\d+)?px$/.test(value);
}

/** @param {unknown} value @returns {value is Plain} */
const isPlain = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {unknown} value */
const list = (value) => (Array.isArray(value) ? value : []);

/** @param {unknown} value @param {number} [otherwise] */
const number = (value, otherwise = 0) => (Number.isFinite(value) ? /** @type {number} */ (value) : otherwise);

/** @param {unknown} value */
const pixels = (value) => Math.min(MOST_PIXELS, Math.max(0, number(value)));

/** An address that a picture or font of the page came with, or null. @param {unknown} data */
export function assetOf(data) {
  return typeof data === "string" && ASSET.test(data) ? data : null;
}

/** Checks the events of one page. */
export class Safe {
  #resolve;
  #nodes = 0;

  /** @param {Resolve} resolve */
  constructor(resolve) {
    this.#resolve = resolve;
  }

  /**
   * What of an event may be applied; null: nothing.
   * @param {unknown} event @returns {Plain | null}
   */
  event(event) {
    if (!isPlain(event) || !isPlain(event.data)) return null;
    this.#nodes = 0;
    const { type, data } = event;
    const timestamp = number(event.timestamp);
    if (type === META) return { type, timestamp, data: { href: "", width: pixels(data.width), height: pixels(data.height) } };
    if (type === SNAPSHOT) {
      const node = this.#node(data.node, 0, "");
      if (node?.type !== 0) return null;
      const { left, top } = isPlain(data.initialOffset) ? data.initialOffset : { left: 0, top: 0 };
      return { type, timestamp, data: { node, initialOffset: { left: number(left), top: number(top) } } };
    }
    const change = type === CHANGE ? this.#change(data) : null;
    return change && { type, timestamp, data: change };
  }

  /** @param {Plain} data @returns {Plain | null} */
  #change(data) {
    const { source } = data;
    const id = number(data.id, -1);
    switch (source) {
      case 0:
        return this.#mutation(data);
      case 1:
      case 6:
      case 12: {
        const last = list(data.positions).at(-1);
        return isPlain(last) ? { source, positions: [{ x: number(last.x), y: number(last.y), id: number(last.id, -1), timeOffset: 0 }] } : null;
      }
      case 2:
        return { source, id, type: number(data.type), x: number(data.x), y: number(data.y) };
      case 3:
        return { source, id, x: number(data.x), y: number(data.y) };
      case 4:
        return { source, width: pixels(data.width), height: pixels(data.height) };
      case 5:
        return { source, id, text: String(data.text ?? ""), isChecked: data.isChecked === true };
      case 8:
        return {
          source,
          ...ids(data),
          ...(data.adds ? { adds: list(data.adds).filter(isPlain).map(({ rule, index }) => ({ rule: this.#css(rule), index: place(index) })) } : {}),
          ...(data.removes ? { removes: list(data.removes).filter(isPlain).map(({ index }) => ({ index: place(index) })) } : {}),
          ...(typeof data.replace === "string" ? { replace: this.#css(data.replace) } : {}),
          ...(typeof data.replaceSync === "string" ? { replaceSync: this.#css(data.replaceSync) } : {}),
        };
      case 13: {
        const { set, remove } = data;
        return {
          source,
          ...ids(data),
          index: list(data.index).map((one) => number(one)),
          ...(isPlain(set) ? { set: { property: String(set.property), value: set.value == null ? null : this.#css(set.value), priority: set.priority === "important" ? "important" : undefined } } : {}),
          ...(isPlain(remove) ? { remove: { property: String(remove.property) } } : {}),
        };
      }
      case 14:
        return {
          source,
          ranges: list(data.ranges).filter(isPlain).map(({ start, startOffset, end, endOffset }) => ({
            start: number(start, -1), startOffset: number(startOffset), end: number(end, -1), endOffset: number(endOffset),
          })),
        };
      case 15:
        return {
          source,
          id,
          styleIds: list(data.styleIds).map((one) => number(one)),
          ...(data.styles
            ? {
                styles: list(data.styles).filter(isPlain).map(({ styleId, rules }) => ({
                  styleId: number(styleId),
                  rules: list(rules).filter(isPlain).map(({ rule, index }) => ({ rule: this.#css(rule), index: place(index) })),
                })),
              }
            : {}),
        };
      default:
        return null;
    }
  }

  /** @param {Plain} data @returns {Plain} */
  #mutation(data) {
    return {
      source: 0,
      texts: list(data.texts).filter(isPlain).map(({ id, value }) => ({ id: number(id, -1), value: value == null ? null : this.#css(value) })),
      attributes: list(data.attributes).filter(isPlain).map(({ id, attributes }) => ({
        id: number(id, -1),
        attributes: this.#attributes(isPlain(attributes) ? attributes : {}, "", number(id, -1)),
      })),
      removes: list(data.removes).filter(isPlain).map(({ parentId, id, isShadow }) => ({
        parentId: number(parentId, -1), id: number(id, -1), ...(isShadow === true ? { isShadow } : {}),
      })),
      adds: list(data.adds).filter(isPlain).flatMap(({ parentId, nextId, previousId, node }) => {
        const safe = this.#node(node, 0, "");
        const next = nextId == null ? null : number(nextId, -1);
        const previous = previousId == null ? {} : { previousId: number(previousId, -1) };
        return safe ? [{ parentId: number(parentId, -1), nextId: next, ...previous, node: safe }] : [];
      }),
      ...(data.isAttachIframe === true ? { isAttachIframe: true } : {}),
    };
  }

  /** @param {unknown} given @param {number} depth @param {string} parent @returns {Plain | null} */
  #node(given, depth, parent) {
    if (!isPlain(given) || depth > MOST_DEPTH || ++this.#nodes > MOST_NODES) return null;
    const id = number(given.id, -1);
    if (id < 1) return null;
    const rootId = Number.isInteger(given.rootId) ? { rootId: given.rootId } : {};
    const children = (/** @type {string} */ tag) => list(given.childNodes).flatMap((child) => this.#node(child, depth + 1, tag) ?? []);
    switch (given.type) {
      case 0:
        return { type: 0, id, ...rootId, childNodes: children(""), ...(given.compatMode === "BackCompat" ? { compatMode: "BackCompat" } : {}) };
      case 1:
        return { type: 1, id, ...rootId, name: TAG.test(given.name) ? given.name : "html", publicId: "", systemId: "" };
      case 2:
        return this.#element(given, id, rootId, children);
      case 3: {
        const style = given.isStyle === true || parent === "style" ? { isStyle: true } : {};
        const text = String(given.textContent ?? "");
        return { type: 3, id, ...rootId, ...shadow(given), ...style, textContent: parent === "style" || given.isStyle ? this.#css(text) : text };
      }
      case 4:
      case 5:
        return { type: 5, id, ...rootId, textContent: "" };
      default:
        return null;
    }
  }

  /**
   * @param {Plain} given @param {number} id @param {Plain} rootId
   * @param {(tag: string) => Plain[]} children
   * @returns {Plain}
   */
  #element(given, id, rootId, children) {
    // The library looks names up in plain objects, where some are there always.
    const named = typeof given.tagName === "string" && TAG.test(given.tagName) && !(given.tagName in {}) ? given.tagName : "div";
    const lower = named.toLowerCase();
    const tag = REPLACED.has(lower) ? "div" : EMPTIED.has(lower) ? "noscript" : moves(lower, given.attributes) ? "desc" : named;
    const attributes = this.#attributes(isPlain(given.attributes) ? given.attributes : {}, lower, id);
    return {
      type: 2,
      id,
      ...rootId,
      tagName: tag,
      attributes: tag === "noscript" ? {} : attributes,
      childNodes: tag === "noscript" ? [] : children(lower),
      ...(given.isSVG === true ? { isSVG: true } : {}),
      ...(given.isCustom === true && lower.includes("-") ? { isCustom: true } : {}),
      ...(given.isShadowHost === true ? { isShadowHost: true } : {}),
      ...shadow(given),
    };
  }

  /** @param {Plain} given @param {string} tag @param {number} id @returns {Plain} */
  #attributes(given, tag, id) {
    /** @type {Plain} */
    const safe = {};
    for (const [name, value] of Object.entries(given)) {
      const lower = name.toLowerCase();
      if (lower.startsWith("rr_")) {
        if (Object.hasOwn(SPECIAL, name) && SPECIAL[name](value)) safe[name] = value;
        continue;
      }
      if (name === "_cssText") {
        safe[name] = this.#css(value);
        continue;
      }
      if (!ATTRIBUTE.test(name) || lower.startsWith("on") || LEFT_OUT.has(lower) || name in {}) continue;
      if (lower === "style") safe[name] = this.#style(value);
      else if (LOADS.has(lower)) this.#load(safe, name, lower, value, id);
      else if (lower === "href" || lower === "xlink:href" || lower.endsWith(":href")) this.#reference(safe, name, tag, value, id);
      else if (value === null || typeof value === "boolean" || typeof value === "number") safe[name] = value;
      else if (typeof value === "string") safe[name] = value.includes("url(") ? this.#css(value) : value;
    }
    // A link is a style sheet that came with the page, or nothing.
    if (tag === "link" && safe._cssText === undefined) return { ...(safe.id ? { id: safe.id } : {}) };
    return safe;
  }

  /** @param {Plain} safe @param {string} name @param {string} lower @param {unknown} value @param {number} id */
  #load(safe, name, lower, value, id) {
    if (value === null) safe[name] = null;
    else if ((lower === "src" || lower === "poster") && typeof value === "string") {
      const shown = this.#shown(value, { id, name: lower });
      if (shown) safe[name] = shown;
    }
  }

  /** @param {Plain} safe @param {string} name @param {string} tag @param {unknown} value @param {number} id */
  #reference(safe, name, tag, value, id) {
    if (value === null) safe[name] = null;
    if (typeof value !== "string") return;
    if (tag === "image" || tag === "feimage") {
      const shown = this.#shown(value, { id, name: "href" });
      if (shown) safe[name] = shown;
    } else if (value.startsWith("#")) safe[name] = value;
    // Shown as a link; nobody follows it here.
    else if ((tag === "a" || tag === "area" || tag === "") && LINK.test(value)) safe[name] = value;
  }

  /** @param {string} url @param {{ id: number, name: string }} [use] */
  #shown(url, use) {
    if (/^data:/i.test(url)) return DATA_IMAGE.test(url) ? url : null;
    return this.#resolve(url, use);
  }

  /** A style attribute: a text, or what changed of it. @param {unknown} value */
  #style(value) {
    if (!isPlain(value)) return value == null || value === false ? null : this.#css(value);
    /** @type {Plain} */
    const changes = {};
    for (const [property, set] of Object.entries(value)) {
      if (!/^-{0,2}[a-z][\w-]*$/i.test(property)) continue;
      if (typeof set === "string") changes[property] = this.#css(set);
      else if (Array.isArray(set)) changes[property] = [this.#css(set[0]), set[1] === "important" ? "important" : ""];
      else if (set === false) changes[property] = false;
    }
    return changes;
  }

  /** @param {unknown} css */
  #css(css) {
    const text = String(css ?? "");
    return /url\(|@import/i.test(text) ? withUrls(text, (url) => this.#shown(url)) : text;
  }
}

/** Numbers of a style sheet. @param {Plain} data */
function ids({ id, styleId }) {
  return { ...(Number.isInteger(id) ? { id } : {}), ...(Number.isInteger(styleId) ? { styleId } : {}) };
}

/** Where a rule stands in its sheet. @param {unknown} index */
function place(index) {
  return Array.isArray(index) ? index.map((one) => number(one)) : index == null ? undefined : number(index);
}

/** @param {Plain} given */
function shadow({ isShadow }) {
  return isShadow === true ? { isShadow: true } : {};
}

/** Animations that set where something leads. @param {string} tag @param {unknown} attributes */
function moves(tag, attributes) {
  if (!["set", "animate", "animatemotion", "animatetransform"].includes(tag) || !isPlain(attributes)) return false;
  const name = Object.entries(attributes).find(([name]) => name.toLowerCase() === "attributename")?.[1];
  return typeof name !== "string" || /href|src|^on/i.test(name);
}
