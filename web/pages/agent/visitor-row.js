// One row of the live table.
//
// Decides what of a visitor is shown and patches only what changed. Does not decide order or selection (visitors.js).

import { fill, h, set, write } from "./dom.js";
import { icon } from "./icons.js";
import { clientOf, duration, pageOf, PRESENCE, spelled } from "./words.js";

/** @import { Visitor } from "../../lib/wire.js" */

/** Chips shown before "+3": more wrap into a third line on a narrow pane. */
const MAX_CHIPS = 3;

/** Row of one visitor. */
export class VisitorRow {
  #visitor;
  #id = h("span", { class: "visitor-id truncate" });
  #marks = h("span", { class: "marks" });
  #since = h("time", { class: "since" });
  #title = h("span", { class: "page-title truncate" });
  #path = h("span", { class: "page-path truncate mono" });
  #client = h("span", { class: "client truncate" });
  #chips = h("span", { class: "chips" });
  #drawnMarks = "";
  #drawnChips = "";
  element;

  /** @param {Visitor} visitor @param {(visitor: Visitor) => void} onOpen */
  constructor(visitor, onOpen) {
    this.#visitor = visitor;
    const open = () => onOpen(this.#visitor);
    this.element = h(
      "div",
      {
        class: "visitor-row",
        role: "row",
        tabindex: -1,
        "data-test": "visitor-row",
        onclick: open,
        onkeydown: (/** @type {KeyboardEvent} */ event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          open();
        },
      },
      h("span", { class: "light", role: "gridcell" }),
      h("span", { class: "who", role: "gridcell" }, this.#id, this.#marks),
      h("span", { class: "when", role: "gridcell" }, this.#since),
      h("span", { class: "where", role: "gridcell" }, this.#title, this.#path),
      h("span", { class: "what", role: "gridcell" }, this.#client, this.#chips),
    );
    this.update(visitor);
  }

  /** @param {Visitor} visitor */
  update(visitor) {
    this.#visitor = visitor;
    const { element } = this;
    set(element, "data-visitor-id", visitor.visitorId);
    set(element, "data-state", visitor.state);
    set(element, "data-in-session", visitor.sessionId ? "true" : null);
    set(element.children[0], "aria-label", PRESENCE[visitor.state]);
    set(element.children[0], "title", PRESENCE[visitor.state]);
    write(this.#id, visitor.visitorId);
    const { title, path } = pageOf(visitor);
    write(this.#title, title);
    write(this.#path, path);
    set(this.#path, "title", visitor.focused?.page?.url);
    write(this.#client, clientOf(visitor));
    set(this.#since, "datetime", visitor.since);
    this.#drawMarks();
    this.#drawChips();
    this.tick();
  }

  /** Brings "2 min" up to date. */
  tick() {
    write(this.#since, duration(Date.now() - Date.parse(this.#visitor.since)));
  }

  /** @param {boolean} selected */
  select(selected) {
    set(this.element, "aria-selected", String(selected));
  }

  #drawMarks() {
    const { verified, code, sessionId, connections } = this.#visitor;
    const key = [verified, code, Boolean(sessionId), connections].join();
    if (key === this.#drawnMarks) return;
    this.#drawnMarks = key;
    fill(
      this.#marks,
      verified &&
        h(
          "span",
          { class: "verified", title: "The company vouches for this visitor ID", "data-test": "verified" },
          icon("verified"),
          h("span", { class: "visually-hidden" }, "verified"),
        ),
      sessionId && h("span", { class: "chip accent", "data-test": "in-session" }, "In session"),
      code &&
        h(
          "span",
          { class: "chip mono", title: "Code the visitor can read out", "data-test": "code" },
          icon("key"),
          spelled(code),
        ),
      connections > 1 && h("span", { class: "chip", title: "Open tabs of this visitor" }, `${connections} tabs`),
    );
  }

  #drawChips() {
    const entries = Object.entries(this.#visitor.data ?? {});
    const key = JSON.stringify(entries);
    if (key === this.#drawnChips) return;
    this.#drawnChips = key;
    const more = entries.length - MAX_CHIPS;
    fill(
      this.#chips,
      ...entries.slice(0, MAX_CHIPS).map(([name, value]) => dataChip(name, value)),
      more > 0 &&
        h(
          "span",
          {
            class: "chip",
            title: entries
              .slice(MAX_CHIPS)
              .map(([name, value]) => `${name}: ${value}`)
              .join("\n"),
          },
          `+${more}`,
        ),
    );
  }
}

/** One entry of a visitor's data. @param {string} name @param {string | number | boolean} value */
export function dataChip(name, value) {
  return h(
    "span",
    { class: "chip data", title: `${name}: ${value}` },
    h("span", { class: "data-name" }, name),
    h("span", { class: "truncate" }, String(value)),
  );
}
