// The simulator's other half: each button of the open record as the server answers it, with its reason, live.
//
// Decides how an answer reads to whoever tries settings out. Does not decide any of it: every word on visibility, light
// and reason is the server's.

import { fill, h, set, write } from "./dom.js";
import { icon } from "./icons.js";
import { LIGHT } from "./words.js";

/** @import { OpenRecord, RecordButton } from "../../lib/wire.js" */

/** @type {["show" | "view" | "join", string][]} */
const BUTTONS = [
  ["show", "Show"],
  ["view", "View"],
  ["join", "Join"],
];

/** Table of the three buttons. */
export class AnswerPanel {
  #rows = BUTTONS.map(([name, label]) => ({ name, row: new Row(name, label) }));
  #visitor = h("span", { class: "mono", "data-test": "answer-visitor" });
  element;

  constructor() {
    this.element = h(
      "section",
      { class: "answer card", "aria-label": "Buttons as the server answers", "data-test": "answer", hidden: true },
      h("header", { class: "pane-head" }, h("h2", {}, "As the server answers"), h("span", { class: "chip" }, "Live")),
      h("p", { class: "muted" }, "Visitor ID found: ", this.#visitor),
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h("tr", {}, ...["Button", "Visible", "Enabled", "Why"].map((name) => h("th", { scope: "col" }, name))),
        ),
        h("tbody", { "aria-live": "polite" }, ...this.#rows.map(({ row }) => row.element)),
      ),
    );
  }

  /** @param {OpenRecord | null} answer */
  draw(answer) {
    set(this.element, "hidden", answer === null);
    if (!answer) return;
    write(this.#visitor, answer.visitorId ?? "none");
    for (const { name, row } of this.#rows) row.draw(answer.buttons[name]);
  }
}

/** One button. */
class Row {
  #visible = h("td", {});
  #enabled = h("td", {});
  #why = h("td", { class: "why" });
  element;

  /** @param {string} name @param {string} label */
  constructor(name, label) {
    this.element = h(
      "tr",
      { "data-test": `answer-${name}` },
      h("th", { scope: "row" }, label),
      this.#visible,
      this.#enabled,
      this.#why,
    );
  }

  /** @param {RecordButton} button */
  draw({ visible, enabled, light, reason, message, asksForKey }) {
    set(this.element, "data-visible", String(visible));
    set(this.element, "data-enabled", String(enabled));
    set(this.element, "data-reason", reason ?? "");
    mark(this.#visible, visible);
    mark(this.#enabled, enabled);
    const words = message ?? (light ? `The visitor ${LIGHT[light]}.` : "");
    if (this.#why.getAttribute("data-said") === `${words} ${reason} ${asksForKey}`) return;
    set(this.#why, "data-said", `${words} ${reason} ${asksForKey}`);
    fill(this.#why, words || h("span", { class: "muted" }, "–"), reason && h("code", {}, reason));
  }
}

/** @param {HTMLElement} cell @param {boolean} on */
function mark(cell, on) {
  if (cell.getAttribute("data-on") === String(on)) return;
  set(cell, "data-on", String(on));
  fill(cell, on ? icon("check") : "–", h("span", { class: "visually-hidden" }, on ? "yes" : "no"));
}
