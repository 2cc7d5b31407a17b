// What of a page may leave it.
//
// Decides which text, fields and places are covered or left out, and what no agent needs: hidden fields, addresses'
// queries, code. Works on the recorder's events before anything is sent, and asks the page itself where a node
// stands, so that a mask holds across shadow roots and frames, and for what is added or changed later.
// Does not decide what the recorder sees (share/page.js), nor what of it may be shown: that is view/safe.js.

/** Text and fields in it are covered; the recorder sees their shape only. */
export const MASK = "data-porchlight-mask";
/** What is in it stays blank, and its insides are never read. */
export const BLOCK = "data-porchlight-block";
/** What the recorder leaves out: blocked places, and what we put on the page ourselves. */
export const BLOCKED = `[${BLOCK}], [data-porchlight]`;

const DOT = "•";
/** What a covered field says, however long its value is. */
const COVERED = DOT.repeat(8);

/** Fields whose value is a secret though they are no password fields. */
const SECRET_AUTOCOMPLETE = /(^|\s)(current-password|new-password|one-time-code|cc-[a-z-]+)(\s|$)/i;

/** Attributes of what is masked that say nothing of what it contains; values, titles, alternatives and sources do. */
const SHAPE = new Set(
  `class style id type width height hidden dir lang disabled readonly multiple rows cols size colspan rowspan role open
   viewbox xmlns preserveaspectratio x y rx ry r cx cy rr_width rr_height rr_scrollleft rr_scrolltop rr_open_mode
   ${MASK}`.split(/\s+/),
);

const FIELDS = new Set(["input", "textarea", "select", "button", "option"]);

/** Attributes that run, post or lead somewhere; none changes how the page looks. */
const DROPPED = new Set(["srcdoc", "nonce", "integrity", "ping", "action", "formaction", "data-rr-is-password"]);

/** Numbers of the recorder's events. */
export const Kind = Object.freeze({ SNAPSHOT: 2, CHANGE: 3, META: 4 });
export const Source = Object.freeze({
  MUTATION: 0,
  MOUSE_MOVE: 1,
  MOUSE: 2,
  SCROLL: 3,
  RESIZE: 4,
  INPUT: 5,
  TOUCH_MOVE: 6,
  MEDIA: 7,
  STYLE_RULE: 8,
  CANVAS: 9,
  FONT: 10,
  LOG: 11,
  DRAG: 12,
  STYLE: 13,
  SELECTION: 14,
  SHEETS: 15,
  ELEMENT: 16,
});
const ELEMENT = 2;
const TEXT = 3;
const COMMENT = 5;

/** What leaves the page as it is, once it is known to come from a place that may be seen. */
const PASSED = new Set([Source.SCROLL, Source.RESIZE, Source.STYLE_RULE, Source.STYLE, Source.SELECTION, Source.SHEETS]);

/** @typedef {Record<string, any>} Plain a value as JSON has it */

/** @param {string} text */
export const coverText = (text) => text.replace(/\S/g, DOT);

/** @param {string} value */
export const coverValue = (value) => (value ? COVERED : "");

/**
 * The node, then everything around it, out of shadow roots and frames too.
 * @param {Node | null | undefined} node
 * @returns {Generator<Node>}
 */
function* around(node) {
  for (let at = node; at; ) {
    yield at;
    /** @type {any} */
    const here = at;
    at = here.parentNode ?? here.host ?? (here.nodeType === 9 ? frameOf(here) : null);
  }
}

/** @param {Document} document */
function frameOf(document) {
  try {
    return document.defaultView?.frameElement ?? null;
  } catch {
    return null; // another origin's page holds this one
  }
}

/** @param {Node | null | undefined} node @param {string} attribute */
function isInside(node, attribute) {
  for (const at of around(node)) if (/** @type {any} */ (at).hasAttribute?.(attribute)) return true;
  return false;
}

/** @param {Node | null | undefined} node */
export const isMasked = (node) => isInside(node, MASK);

/** @param {Node | null | undefined} node */
export const isBlocked = (node) => isInside(node, BLOCK);

/** Fields that were password fields once: a button that shows a password makes a text field of it. @type {WeakSet<object>} */
const passwords = new WeakSet();

/**
 * Whether a field's value stays in the page.
 * @param {any} field
 */
export function isSecret(field) {
  const type = String(field.type ?? "").toLowerCase();
  if (type === "password") passwords.add(field);
  return (
    type === "hidden" ||
    passwords.has(field) ||
    field.hasAttribute?.("data-rr-is-password") ||
    SECRET_AUTOCOMPLETE.test(field.getAttribute?.("autocomplete") ?? "") ||
    isMasked(field)
  );
}

/** Address without what may be private in it. @param {unknown} url */
export const plainAddress = (url) => String(url).split(/[?#]/, 1)[0];

/** Cleans the recorder's events of one page. */
export class Cleaner {
  #node;
  #onElement;
  #onStale;

  /**
   * @param {object} options
   * @param {(id: number) => Node | null} options.node what the recorder calls by this number
   * @param {(element: any, tag: string, attributes: Plain) => void} [options.onElement] may change what is told of an element that may be seen
   * @param {() => void} [options.onStale] what may be seen has changed: only a new snapshot tells it right
   */
  constructor({ node, onElement = () => {}, onStale = () => {} }) {
    this.#node = node;
    this.#onElement = onElement;
    this.#onStale = onStale;
  }

  /**
   * What of an event may leave; null: nothing.
   * @param {Plain} event @returns {Plain | null}
   */
  clean({ type, data, timestamp }) {
    if (type === Kind.META) {
      return { type, timestamp, data: { href: plainAddress(data.href), width: data.width, height: data.height } };
    }
    if (type === Kind.SNAPSHOT) {
      const node = this.#serialized(data.node, false);
      return node && { type, timestamp, data: { node, initialOffset: data.initialOffset } };
    }
    if (type !== Kind.CHANGE) return null;
    const change = this.#change(data);
    return change && { type, timestamp, data: change };
  }

  /** @param {Plain} data @returns {Plain | null} */
  #change(data) {
    const { source } = data;
    switch (source) {
      case Source.MUTATION:
        return this.#mutation(data);
      case Source.INPUT: {
        const field = /** @type {any} */ (this.#seen(data.id));
        if (!field) return null;
        const secret = isSecret(field);
        return { source, id: data.id, text: secret ? coverValue(data.text) : data.text, isChecked: !secret && data.isChecked };
      }
      case Source.MOUSE:
        return this.#touchable(data.id) ? data : null;
      case Source.MOUSE_MOVE:
      case Source.TOUCH_MOVE:
      case Source.DRAG: {
        const positions = data.positions.filter((/** @type {Plain} */ { id }) => this.#touchable(id));
        return positions.length ? { source, positions } : null;
      }
      default:
        return PASSED.has(source) && (data.id === undefined || data.id < 0 || this.#seen(data.id)) ? data : null;
    }
  }

  /** The node, unless it is in a blocked place or gone. @param {number} id */
  #seen(id) {
    const node = this.#node(id);
    return node && !isBlocked(node) ? node : null;
  }

  /** Whether it may be told where somebody points: not on the keys of a masked number pad. @param {number} id */
  #touchable(id) {
    const node = this.#seen(id);
    return node !== null && !isMasked(node);
  }

  /** @param {Plain} data @returns {Plain | null} */
  #mutation({ source, texts, attributes, removes, adds, isAttachIframe }) {
    const change = {
      source,
      texts: texts.flatMap((/** @type {Plain} */ one) => this.#text(one)),
      attributes: attributes.flatMap((/** @type {Plain} */ one) => this.#attributes(one)),
      removes,
      adds: adds.flatMap((/** @type {Plain} */ one) => this.#added(one)),
      ...(isAttachIframe ? { isAttachIframe } : {}),
    };
    const { length } = [...change.texts, ...change.attributes, ...removes, ...change.adds];
    return length ? change : null;
  }

  /** @param {Plain} text */
  #text({ id, value }) {
    const node = this.#seen(id);
    if (!node || node.parentElement?.tagName === "NOSCRIPT") return [];
    const covered = value && node.parentElement?.tagName !== "STYLE" && isMasked(node);
    return [{ id, value: covered ? coverText(value) : value }];
  }

  /** @param {Plain} change */
  #attributes({ id, attributes }) {
    const element = /** @type {any} */ (this.#seen(id));
    if (MASK in attributes || BLOCK in attributes) this.#onStale();
    if (!element) return [];
    const left = this.#cleaned(element, element.localName, attributes, isMasked(element));
    return Object.keys(left).length ? [{ id, attributes: left }] : [];
  }

  /** @param {Plain} added */
  #added({ parentId, nextId, node }) {
    const place = this.#node(node.id) ?? this.#node(parentId);
    if (!place || isBlocked(this.#node(parentId))) return [];
    const cleaned = this.#serialized(node, isMasked(place) || isMasked(this.#node(parentId)));
    return cleaned ? [{ parentId, nextId, node: cleaned }] : [];
  }

  /**
   * @param {Plain} node as the recorder has serialised it
   * @param {boolean} masked
   * @param {string} [parent] its tag
   * @returns {Plain | null}
   */
  #serialized(node, masked, parent = "") {
    if (node.type === COMMENT) return null;
    if (node.type === TEXT) {
      const covered = masked && parent !== "style" && !node.isStyle;
      return covered ? { ...node, textContent: coverText(node.textContent) } : node;
    }
    if (!node.childNodes) return node;
    const element = /** @type {any} */ (this.#node(node.id));
    const hides = masked || (node.type === ELEMENT ? MASK in node.attributes : isMasked(element));
    const left = { ...node };
    if (node.type === ELEMENT) left.attributes = this.#cleaned(element, node.tagName, node.attributes, hides);
    const empty = node.tagName === "noscript" || (element && isBlocked(element));
    left.childNodes = empty
      ? []
      : node.childNodes.flatMap((/** @type {Plain} */ child) => this.#serialized(child, hides, node.tagName) ?? []);
    return left;
  }

  /**
   * @param {any} element
   * @param {string} tag
   * @param {Plain} attributes
   * @param {boolean} masked
   */
  #cleaned(element, tag, attributes, masked) {
    /** @type {Plain} */
    const left = {};
    for (const [name, value] of Object.entries(attributes)) {
      const lower = name.toLowerCase();
      if (lower.startsWith("on") || DROPPED.has(lower)) continue;
      if (masked && !SHAPE.has(lower) && name !== "_cssText" && !(lower === "value" && FIELDS.has(tag))) continue;
      if (masked && lower === "style" && String(JSON.stringify(value)).includes("url(")) continue;
      if (tag === "meta" && lower !== "charset" && lower !== "name") continue;
      left[name] = (tag === "a" || tag === "area") && lower.endsWith("href") && value ? plainAddress(value) : value;
    }
    if (FIELDS.has(tag)) {
      if (typeof left.value === "string" && (masked || !element || isSecret(element))) left.value = coverValue(left.value);
      if (left.type === "hidden" || left.type === "file") delete left.value;
      // Notes that it is a password field, before it may become another.
      if (element) isSecret(element);
    }
    // The recorder leaves it out of every list when it is to ask about values.
    if (tag === "option" && element?.selected && !masked && element.closest?.("select")) left.selected = true;
    if (element && !masked) this.#onElement(element, tag, left);
    return left;
  }
}
