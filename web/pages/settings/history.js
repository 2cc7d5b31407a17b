// Who changed which setting when, from what to what.
//
// Decides how a change reads and that older ones are fetched when asked for. Does not decide what is recorded.

import { actor, ago, counted, moment } from "../admin/words.js";
import { fill, h, set } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { nameOf, wordsFor } from "./fields.js";
import { differences } from "./values.js";

/** @import { SettingsChange } from "../../lib/company.js" */
/** @import { Company } from "../admin/company.js" */

/** Changes fetched at a time: about two screens. */
const PAGE = 20;
/** Differences shown before the rest is folded away. */
const SHOWN = 6;

/** The list of changes. */
export class HistoryPanel {
  #company;
  #onError;
  #list = h("ol", { class: "history", "data-test": "history" });
  #more = h(
    "button",
    { class: "button", type: "button", hidden: true, "data-test": "more-history", onclick: () => this.#load() },
    "Show older changes",
  );
  #next = "";
  element;

  /** @param {{ company: Company, onError: (title: string, error: unknown) => void }} options */
  constructor({ company, onError }) {
    this.#company = company;
    this.#onError = onError;
    this.element = h(
      "section",
      { class: "card settings-card", "aria-label": "Changes" },
      this.#list,
      h("div", { class: "more" }, this.#more),
    );
  }

  /** Begins with the newest again. */
  async reload() {
    this.#next = "";
    await this.#load(true);
  }

  async #load(anew = false) {
    try {
      const page = await this.#company.client.listSettingsChanges({
        pageSize: PAGE,
        ...(this.#next && { pageToken: this.#next }),
      });
      const items = page.changes.map((change) => this.#item(change));
      if (anew) fill(this.#list, ...items);
      else this.#list.append(...items);
      if (!anew && items[0]) /** @type {HTMLElement} */ (items[0]).focus();
      this.#next = page.nextPageToken;
      set(this.#more, "hidden", !this.#next);
    } catch (error) {
      this.#onError("The history could not be read", error);
    }
  }

  /** @param {SettingsChange} change */
  #item({ version, changedAt, changedBy, before, after }) {
    const found = before ? differences(before, after) : [];
    const lines = found.map((one) =>
      h(
        "li",
        { class: "difference", "data-path": one.path },
        h("span", { class: "difference-name" }, nameOf(one)),
        h(
          "span",
          { class: "difference-values" },
          h("del", {}, wordsFor(one, one.before)),
          icon("arrow"),
          h("span", { class: "visually-hidden" }, " became "),
          h("ins", {}, wordsFor(one, one.after)),
        ),
      ),
    );
    return h(
      "li",
      { class: "change", tabindex: -1, "data-version": version, "data-test": "change" },
      h(
        "header",
        { class: "change-head" },
        h("strong", {}, actor(changedBy, this.#company.agents)),
        h(
          "time",
          { datetime: changedAt, title: moment(changedAt), class: "muted" },
          [...new Set([ago(changedAt), moment(changedAt)])].join(" · "),
        ),
        h("span", { class: "chip" }, `Version ${version}`),
      ),
      before
        ? h("ul", { class: "differences" }, ...lines.slice(0, SHOWN))
        : h("p", { class: "help" }, "The group was created."),
      lines.length > SHOWN &&
        h(
          "details",
          {},
          h("summary", {}, `${counted(lines.length - SHOWN, "more change")}`),
          h("ul", { class: "differences" }, ...lines.slice(SHOWN)),
        ),
      before && !lines.length && h("p", { class: "help" }, "Nothing that this page shows was changed."),
    );
  }
}
