import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { COVER, COVERED, Covers } from "../share/cover.js";

/** As much of a browser's page as covers touch: roots with sheets, elements with attributes, what is observed. */
class Page {
  observers = [];
  frames = [];

  constructor() {
    const page = this;
    class Element {
      constructor(localName = "div", attributes = {}, children = []) {
        Object.assign(this, { localName, attributes, children, isConnected: true, shadowRoot: null });
      }
      get type() {
        return this.attributes.type ?? "text";
      }
      hasAttribute = (name) => name in this.attributes;
      getAttribute = (name) => this.attributes[name] ?? null;
      setAttribute = (name, value) => void (this.attributes[name] = value);
      removeAttribute = (name) => void delete this.attributes[name];
      matches = () => this.attributes.type === "password";
      querySelectorAll = () => this.children;
      attachShadow({ mode }) {
        const root = page.root([]);
        root.ownerDocument = page.document;
        if (mode === "open") this.shadowRoot = root;
        return root;
      }
    }
    class MutationObserver {
      constructor(run) {
        page.observers.push(this);
        this.run = run;
      }
      observe(root) {
        this.root = root;
      }
      disconnect() {
        this.root = null;
      }
    }
    class CSSStyleSheet {
      replaceSync(text) {
        this.text = text;
      }
    }
    this.view = { Element, MutationObserver, CSSStyleSheet, requestAnimationFrame: (run) => this.frames.push(run) };
    this.document = this.root([]);
    this.document.defaultView = this.view;
    this.view.document = this.document;
    globalThis.document = this.document;
  }

  root(children) {
    const listeners = new Map();
    return {
      adoptedStyleSheets: [],
      children,
      listeners,
      querySelectorAll: () => children,
      addEventListener: (name, run) => listeners.set(name, run),
      removeEventListener: (name) => listeners.delete(name),
    };
  }

  changes(root, ...records) {
    const filled = records.map((record) => ({ type: "childList", addedNodes: [], ...record }));
    this.observers.find((one) => one.root === root).run(filled);
  }
}

afterEach(() => {
  delete globalThis.document;
});

test("styles cover the page and every shadow root, and go with the share", () => {
  const page = new Page();
  const { Element } = page.view;
  const { attachShadow } = Element.prototype;
  const before = new Element("x-before");
  before.attachShadow({ mode: "open" });
  page.document.children.push(before);
  const covers = new Covers();
  const [sheet] = page.document.adoptedStyleSheets;
  assert.ok(sheet.text.includes(COVERED) && sheet.text.includes("filter: contrast(0) !important"));
  assert.equal(before.shadowRoot.adoptedStyleSheets.length, 1);

  // One that is made while it lasts, closed, by a component that then sets its own sheets.
  const closed = new Element("x-closed").attachShadow({ mode: "closed" });
  assert.equal(closed.adoptedStyleSheets.length, 1);
  closed.adoptedStyleSheets = ["its own"];
  page.frames.forEach((run) => run());
  assert.equal(closed.adoptedStyleSheets.length, 2);

  covers.close();
  assert.deepEqual([page.document, before.shadowRoot].map((root) => root.adoptedStyleSheets), [[], []]);
  assert.deepEqual(closed.adoptedStyleSheets, ["its own"]);
  assert.equal(Element.prototype.attachShadow, attachShadow);
  assert.ok(page.observers.every(({ root }) => root === null));
});

test("a password that is shown stays covered, and the site's own marks are left alone", () => {
  const page = new Page();
  const field = new page.view.Element("input", { type: "password" });
  page.document.children.push(field);
  const covers = new Covers();
  assert.equal(field.hasAttribute(COVER), false, "the type says it");
  field.setAttribute("type", "text");
  page.changes(page.document, { type: "attributes", target: field, attributeName: "type", oldValue: "password" });
  assert.ok(field.hasAttribute(COVER));
  const code = new page.view.Element("input", { autocomplete: "one-time-code" });
  page.changes(page.document, { addedNodes: [code] });
  assert.ok(code.hasAttribute(COVER));
  covers.close();
  assert.equal(field.hasAttribute(COVER) || code.hasAttribute(COVER), false);
});

test("a frame is covered while its page loads", () => {
  const page = new Page();
  const blank = { ...page.root([]), URL: "about:blank", defaultView: { ...page.view, addEventListener() {} } };
  const frame = new page.view.Element("iframe", { src: "/inner" });
  frame.contentDocument = blank;
  page.document.children.push(frame);
  const covers = new Covers();
  assert.ok(frame.hasAttribute(COVER));
  /** @type {any} */
  let leaves;
  const view = { ...page.view, Element: class {}, addEventListener: (_name, run) => (leaves = run) };
  const inner = { ...page.root([]), URL: "https://shop.example/inner", defaultView: view };
  inner.adoptedStyleSheets = [];
  frame.contentDocument = inner;
  page.document.listeners.get("load")({ target: frame });
  assert.equal(frame.hasAttribute(COVER), false);
  assert.equal(inner.adoptedStyleSheets.length, 1);
  leaves();
  assert.ok(frame.hasAttribute(COVER), "until the next page is there");
  frame.contentDocument = null; // of another origin
  page.document.listeners.get("load")({ target: frame });
  assert.equal(frame.hasAttribute(COVER), false);
  covers.close();
});
