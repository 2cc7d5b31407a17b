// The live table of visitors: the group's list as the server has it, patched by its diffs.
//
// Decides order, filter, rows and the keyboard. Does not decide who is present (the server does) nor what opening a
// visitor means (main.js).

import { fill, h, set, write } from "./dom.js";
import { icon } from "./icons.js";
import { VisitorRow } from "./visitor-row.js";

/** @import { LiveDiff, LivePage, LiveQuery, PresenceState, Visitor } from "../../lib/wire.js" */

/** A pause in typing this long means the word is finished: shorter asks the server for every letter. */
const FILTER_MS = 250;
/** How often "2 min" is looked at again. */
const CLOCK_MS = 10_000;

/** @type {{ label: string, states: PresenceState[] | undefined }[]} */
const TABS = [
  { label: "Everyone", states: undefined },
  { label: "Here", states: ["present"] },
  { label: "Away", states: ["hidden", "unknown"] },
];

/**
 * @typedef {object} VisitorTableOptions
 * @property {(query: LiveQuery) => Promise<LivePage>} load asks for the list, or for its next page
 * @property {(visitor: Visitor) => void} onOpen
 * @property {(title: string, error: unknown) => void} onError
 */

/** The table and its filter. */
export class VisitorTable {
  #options;
  /** @type {Map<string, VisitorRow>} */
  #rows = new Map();
  #total = 0;
  /** @type {string | undefined} */
  #cursor;
  /** @type {PresenceState[] | undefined} */
  #states;
  /** @type {string | null} */
  #openId = null;
  /** @type {any} */
  #typing = null;
  #clock = setInterval(() => this.#rows.forEach((row) => row.tick()), CLOCK_MS);
  #count = h("span", { class: "count", "data-test": "visitor-count" }, "0");
  #search = h("input", {
    class: "input",
    type: "search",
    name: "filter",
    placeholder: "Filter by ID or page title",
    "aria-label": "Filter visitors",
    autocomplete: "off",
    spellcheck: "false",
    "data-test": "visitor-filter",
  });
  #body = h("div", { class: "rows", role: "rowgroup" });
  #more = h(
    "button",
    { class: "button quiet small", type: "button", hidden: true, onclick: () => this.#loadMore() },
    "Show more",
  );
  #empty = h("div", { class: "empty", hidden: true, "data-test": "visitors-empty" });
  element;

  /** @param {VisitorTableOptions} options */
  constructor(options) {
    this.#options = options;
    this.#search.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.reload(), FILTER_MS);
    });
    this.#body.addEventListener("keydown", (event) => this.#onKey(event));
    this.element = h(
      "section",
      { class: "visitors card", "aria-label": "Visitors" },
      h("header", { class: "pane-head" }, h("h2", {}, "Visitors"), this.#count),
      h("div", { class: "filters" }, h("label", { class: "search" }, icon("search"), this.#search), this.#tabs()),
      h(
        "div",
        { class: "table", role: "grid", "aria-label": "Visitors on the site" },
        this.#body,
        this.#empty,
        this.#more,
      ),
    );
  }

  close() {
    clearInterval(this.#clock);
    clearTimeout(this.#typing);
  }

  /** The query of the current filter. @returns {LiveQuery} */
  get query() {
    const text = this.#search.value.trim();
    const filter = { ...(text && { text }), ...(this.#states && { states: this.#states }) };
    return Object.keys(filter).length ? { filter } : {};
  }

  /** Asks for the list again, with the current filter; it arrives through {@link replace}. */
  async reload() {
    try {
      await this.#options.load(this.query);
    } catch (error) {
      this.#options.onError("The visitors could not be listed", error);
    }
  }

  /** Takes a whole list. @param {LivePage} page */
  replace({ visitors, total, cursor }) {
    const focusedId = this.#focusedId();
    const stay = new Set(visitors.map(({ visitorId }) => visitorId));
    for (const id of this.#rows.keys()) if (!stay.has(id)) this.#remove(id);
    for (const visitor of visitors) this.#put(visitor, "end");
    this.#cursor = cursor;
    this.#setTotal(total);
    this.#refocus(focusedId);
  }

  /** Takes a change of the list. @param {LiveDiff} diff */
  apply({ joined, changed, left, total }) {
    const focusedId = this.#focusedId();
    for (const id of left) this.#remove(id);
    for (const visitor of joined) this.#put(visitor, "start");
    for (const visitor of changed) this.#put(visitor, "start");
    this.#setTotal(total ?? this.#total + joined.length - left.length);
    this.#refocus(focusedId);
  }

  /** Marks the visitor whose record is open. @param {string | null} visitorId */
  markOpen(visitorId) {
    if (this.#openId) this.#rows.get(this.#openId)?.select(false);
    this.#openId = visitorId;
    if (visitorId) this.#rows.get(visitorId)?.select(true);
    this.#rove();
  }

  #tabs() {
    const group = h("div", { class: "segmented", role: "group", "aria-label": "State" });
    for (const { label, states } of TABS) {
      const button = h("button", { type: "button", "aria-pressed": String(states === undefined) }, label);
      button.addEventListener("click", () => {
        for (const other of group.children) set(other, "aria-pressed", String(other === button));
        this.#states = states;
        this.reload();
      });
      group.append(button);
    }
    return group;
  }

  async #loadMore() {
    try {
      const page = await this.#options.load({ ...this.query, cursor: this.#cursor });
      for (const visitor of page.visitors) this.#put(visitor, "end");
      this.#cursor = page.cursor;
      this.#setTotal(page.total);
    } catch (error) {
      this.#options.onError("The next page could not be loaded", error);
    }
  }

  /** @param {Visitor} visitor @param {"start" | "end"} where */
  #put(visitor, where) {
    const known = this.#rows.get(visitor.visitorId);
    if (known) {
      known.update(visitor);
      return;
    }
    const row = new VisitorRow(visitor, (opened) => this.#options.onOpen(opened));
    this.#rows.set(visitor.visitorId, row);
    row.select(visitor.visitorId === this.#openId);
    if (where === "start") this.#body.prepend(row.element);
    else this.#body.append(row.element);
  }

  /** @param {string} visitorId */
  #remove(visitorId) {
    this.#rows.get(visitorId)?.element.remove();
    this.#rows.delete(visitorId);
  }

  /** @param {number} total */
  #setTotal(total) {
    this.#total = Math.max(total, this.#rows.size);
    write(this.#count, String(this.#total));
    set(this.#more, "hidden", !(this.#cursor && this.#rows.size < this.#total));
    this.#drawEmpty();
    this.#rove();
  }

  #drawEmpty() {
    set(this.#empty, "hidden", this.#rows.size > 0);
    if (this.#rows.size) return;
    if (this.query.filter) {
      fill(
        this.#empty,
        icon("search"),
        h("strong", {}, "Nobody matches"),
        h("p", {}, "No visitor on the site fits this filter."),
      );
      return;
    }
    const site = "/demo/site?visitor=C-1001";
    fill(
      this.#empty,
      icon("people"),
      h("strong", {}, "Nobody is on the site yet"),
      h("p", {}, "Visitors appear here the moment they open a page with the Porchlight script."),
      h("a", { class: "button small", href: site, target: "_blank", rel: "noopener" }, "Open the demo site as C-1001"),
    );
  }

  // --- Keyboard: one row is in the tab order, arrows move it --------------------------------------------------------

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const rows = /** @type {HTMLElement[]} */ ([...this.#body.children]);
    const at = rows.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    rows[Math.min(rows.length - 1, Math.max(0, to))].focus();
    this.#rove();
  }

  #rove() {
    const rows = [...this.#body.children];
    const focused = rows.find((row) => row === document.activeElement);
    const open = this.#openId ? this.#rows.get(this.#openId)?.element : undefined;
    const stop = focused ?? open ?? rows[0];
    for (const row of rows) set(row, "tabindex", row === stop ? 0 : -1);
  }

  #focusedId() {
    const active = document.activeElement;
    return active && this.#body.contains(active) ? active.getAttribute("data-visitor-id") : null;
  }

  /** A row that moved or was rebuilt keeps the focus. @param {string | null} visitorId */
  #refocus(visitorId) {
    if (visitorId && this.#focusedId() === null) this.#rows.get(visitorId)?.element.focus();
  }

  /** Puts the cursor into the filter. */
  focusFilter() {
    this.#search.focus();
    this.#search.select();
  }
}
