// What of this page must not be in a picture of it.
//
// Decides what is covered while a screen is shared from the page, and how: by styles, which the browser applies before it
// paints, so that no scroll and no change of the page is ever faster. Whatever was chosen is covered for, since browsers
// let people change over to this tab at any time, and not every browser tells.
// Does not decide what is masked or secret (share/mask.js), nor when pictures are taken (share/screen.js).
import { BLOCK, isMasked, isSecret, MASK } from "./mask.js";

/** Put on what no selector finds: fields that were password fields, and frames that load. */
export const COVER = "data-porchlight-cover";

/** What is covered. */
export const COVERED = [
  ...[MASK, BLOCK, COVER, "data-rr-is-password"].map((name) => `[${name}]`),
  "input[type=password i]",
  ...["current-password", "new-password", "one-time-code"].map((name) => `[autocomplete~="${name}" i]`),
  '[autocomplete^="cc-" i]',
  '[autocomplete*=" cc-" i]',
].join();

/** With the weight of several IDs: the site's own rules about the same elements count less. */
const ALL = `:is(${COVERED}, #_#_#_#_)`;

// One grey field of the element's own size, through which nothing of it shows: neither what it paints, nor its insides,
// nor what sticks out of it. Nothing changes its place, and what is a field can still be typed into.
const CSS = `
  ${ALL} {
    background: #808080 !important; color: transparent !important; -webkit-text-fill-color: transparent !important;
    text-shadow: none !important; filter: contrast(0) !important; clip-path: inset(0) !important; transition: none !important;
  }
  ${ALL} *, ${ALL}::before, ${ALL}::after, svg ${ALL} { opacity: 0 !important; transition: none !important; }
`;

/** Covers of a page, from the first shared picture to the last. */
export class Covers {
  #nonce;
  /** Documents and shadow roots. @type {Map<any, { ensure(): void, close(): void }>} */
  #roots = new Map();
  /** @type {Set<Element>} */
  #marked = new Set();
  #closed = false;

  /** @param {{ nonce?: string }} [options] */
  constructor({ nonce } = {}) {
    this.#nonce = nonce;
    this.#watch(document);
  }

  close() {
    this.#closed = true;
    for (const { close } of this.#roots.values()) close();
    for (const element of this.#marked) element.removeAttribute(COVER);
    this.#roots.clear();
    this.#marked.clear();
  }

  /** Covers a document or shadow root, and whatever comes into it. @param {any} root */
  #watch(root) {
    const view = (root.ownerDocument ?? root).defaultView;
    if (this.#closed || this.#roots.has(root) || !view) return;
    const { sheet, style } = this.#styles(root, view);
    const ensure = () => {
      // Components set their own sheets when they are made, and ours would be gone.
      if (sheet && !root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
      if (style && !style.isConnected) (root.head ?? root.documentElement ?? root).append(style);
    };
    const observer = new view.MutationObserver((/** @type {MutationRecord[]} */ records) => this.#changed(records));
    const onLoad = (/** @type {Event} */ { target }) => this.#look(target);
    const release = root === view.document ? this.#shadows(view) : () => {};
    const close = () => {
      release();
      observer.disconnect();
      root.removeEventListener("load", onLoad, true);
      style?.remove();
      if (sheet) root.adoptedStyleSheets = root.adoptedStyleSheets.filter((/** @type {CSSStyleSheet} */ one) => one !== sheet);
    };
    this.#roots.set(root, { ensure, close });
    ensure();
    const attributeFilter = ["type", "autocomplete", "src", "srcdoc"];
    observer.observe(root, { subtree: true, childList: true, attributes: true, attributeFilter, attributeOldValue: true });
    root.addEventListener("load", onLoad, true);
    this.#lookThrough(root);
  }

  /** @param {any} root @param {any} view @returns {{ sheet?: CSSStyleSheet, style?: HTMLStyleElement }} */
  #styles(root, view) {
    try {
      const sheet = new view.CSSStyleSheet();
      sheet.replaceSync(CSS);
      if (root.adoptedStyleSheets) return { sheet };
    } catch {
      // Before Safari 16.4 there are no constructed style sheets; a strict CSP then needs the page's nonce.
    }
    const style = view.document.createElement("style");
    if (this.#nonce) style.nonce = this.#nonce;
    style.textContent = CSS;
    return { style };
  }

  /** Shadow roots are covered as they are made, closed ones too. @param {any} view @returns {() => void} takes it back */
  #shadows(view) {
    const { prototype } = view.Element;
    const original = prototype.attachShadow;
    const covered = (/** @type {ShadowRoot} */ root) => {
      this.#watch(root);
      const ensure = () => this.#roots.get(root)?.ensure();
      queueMicrotask(ensure);
      view.requestAnimationFrame(ensure);
      return root;
    };
    const mine = function (/** @type {any} */ ...given) {
      // @ts-expect-error the element
      return covered(original.apply(this, given));
    };
    prototype.attachShadow = mine;
    return () => {
      if (prototype.attachShadow === mine) prototype.attachShadow = original;
    };
  }

  /** @param {MutationRecord[]} records called before the browser paints what has changed */
  #changed(records) {
    for (const { type, target, addedNodes, attributeName, oldValue } of records) {
      if (type === "attributes") {
        // A button that shows a password makes a text field of it.
        const shown = attributeName === "type" && oldValue?.toLowerCase() === "password";
        if (shown) this.#mark(/** @type {Element} */ (target));
        this.#look(target);
      }
      addedNodes.forEach((node) => {
        this.#look(node);
        this.#lookThrough(node);
      });
    }
    for (const { ensure } of this.#roots.values()) ensure();
  }

  /** @param {any} parent */
  #lookThrough(parent) {
    parent.querySelectorAll?.("*").forEach((/** @type {Element} */ one) => this.#look(one));
  }

  /** @param {any} element */
  #look(element) {
    if (element.shadowRoot) this.#watch(element.shadowRoot);
    if (element.localName === "input") {
      const covered = element.type === "hidden" || isMasked(element) || element.matches(COVERED);
      if (isSecret(element) && !covered) this.#mark(element);
    } else if (element.localName === "iframe" || element.localName === "frame") this.#frame(element);
  }

  /** Pages of the site in frames; those of other origins are out of reach. @param {HTMLIFrameElement} frame */
  #frame(frame) {
    /** @type {Document | null} */
    let inner = null;
    try {
      inner = frame.contentDocument;
    } catch {
      // Not ours to look into.
    }
    const source = frame.hasAttribute("srcdoc") || !/^(about:blank.*)?$/.test(frame.getAttribute("src") ?? "");
    // Until its page is there and covered, the frame is.
    if (inner?.URL === "about:blank" && source) this.#mark(frame);
    else if (this.#marked.delete(frame)) frame.removeAttribute(COVER);
    if (!inner?.defaultView || this.#roots.has(inner)) return;
    this.#watch(inner);
    inner.defaultView.addEventListener("pagehide", () => {
      this.#roots.get(inner)?.close();
      this.#roots.delete(inner);
      if (frame.isConnected) this.#mark(frame);
    }, { once: true });
  }

  /** @param {Element} element */
  #mark(element) {
    if (this.#closed) return;
    this.#marked.add(element);
    element.setAttribute(COVER, "");
  }
}
