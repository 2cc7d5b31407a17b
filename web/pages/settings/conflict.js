// Somebody else saved first: both versions side by side, and the choice between them.
//
// Decides how a conflict reads and that every clash is answered by a person. Does not decide what clashes (values.js).

import { actor, ago, counted, moment } from "../admin/words.js";
import { h, set } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { nameOf, wordsFor } from "./fields.js";
import { differences } from "./values.js";

/** @import { Agent, SettingsChange } from "../../lib/company.js" */
/** @import { Difference, Encounter } from "./values.js" */

/**
 * @param {object} options
 * @param {{ encounters: Encounter[], others: Difference[] }} options.comparison
 * @param {SettingsChange[]} options.changes since the edit began, newest first
 * @param {Agent[]} options.agents
 * @param {(edits: Difference[]) => void} options.onKeep saves these of my edits on top of theirs
 * @param {() => void} options.onReload
 */
export function conflictPanel({ comparison, changes, agents, onKeep, onReload }) {
  const { encounters, others } = comparison;
  const clashes = encounters.filter(({ clash }) => clash);
  const rows = encounters.map((encounter, at) => new Choice(encounter, at, author(encounter.mine, changes, agents)));
  const save = h("button", { class: "button primary", type: "button", "data-test": "resolve" }, "Save as chosen");
  const left = h("p", { class: "save-status", role: "status" });
  const draw = () => {
    const open = rows.filter(({ chosen }) => chosen === null).length;
    set(save, "disabled", open > 0);
    left.textContent = open ? `${counted(open, "choice", "choices")} left` : "Everything is chosen";
  };
  const all = (/** @type {"mine" | "theirs"} */ side) => {
    for (const row of rows) row.choose(side);
    draw();
  };
  save.addEventListener("click", () => onKeep(rows.filter(({ chosen }) => chosen === "mine").map(({ edit }) => edit)));
  const [newest] = changes;
  const who = [...new Set(changes.map(({ changedBy }) => actor(changedBy, agents)))].join(", ") || "Somebody";
  const when = newest ? ` ${ago(newest.changedAt)}` : "";
  const panel = h(
    "section",
    { class: "conflict card", tabindex: -1, "aria-label": "Conflict", "data-test": "conflict" },
    h(
      "header",
      { class: "conflict-head" },
      icon("alert"),
      h(
        "div",
        {},
        h("h2", {}, "These settings were changed while you were editing"),
        h(
          "p",
          {},
          `${who} saved${when}. Nothing of yours was saved yet, and nothing you typed is lost. `,
          clashes.length
            ? `Choose which value to keep for ${counted(clashes.length, "setting", "settings")} you both changed.`
            : "You changed different settings, so both can stand.",
        ),
      ),
    ),
    h(
      "div",
      { class: "conflict-rows", onchange: draw },
      h(
        "div",
        { class: "conflict-row titles", "aria-hidden": "true" },
        h("span", {}, "Setting"),
        h("span", {}, "Yours"),
        h("span", {}, "Theirs"),
      ),
      ...rows.map(({ element }) => element),
    ),
    others.length > 0 &&
      h(
        "details",
        { class: "conflict-others" },
        h(
          "summary",
          {},
          `${counted(others.length, "other change")} of theirs ${others.length === 1 ? "stays" : "stay"} as saved`,
        ),
        h(
          "ul",
          {},
          ...others.map((one) =>
            h("li", {}, h("strong", {}, nameOf(one)), ` ${wordsFor(one, one.before)} → ${wordsFor(one, one.after)}`),
          ),
        ),
      ),
    h(
      "footer",
      { class: "conflict-foot" },
      h(
        "button",
        { class: "button quiet small", type: "button", "data-test": "all-mine", onclick: () => all("mine") },
        "All mine",
      ),
      h(
        "button",
        { class: "button quiet small", type: "button", "data-test": "all-theirs", onclick: () => all("theirs") },
        "All theirs",
      ),
      h("div", { class: "spacer" }),
      left,
      h(
        "button",
        { class: "button", type: "button", "data-test": "reload", onclick: onReload },
        "Discard mine and reload",
      ),
      save,
    ),
  );
  draw();
  return panel;
}

/** One edit of mine against what is there now. */
class Choice {
  edit;
  #mine;
  #theirs;
  element;

  /** @param {Encounter} encounter @param {number} at @param {string} by */
  constructor({ mine, theirs, clash }, at, by) {
    this.edit = mine;
    const name = `choice-${at}`;
    this.#mine = h("input", { type: "radio", name, value: "mine" });
    this.#theirs = h("input", { type: "radio", name, value: "theirs" });
    // What only one side changed needs no question; it may still be answered the other way.
    this.#mine.checked = !clash;
    const note = clash ? by : "not changed by anybody else";
    this.element = h(
      "fieldset",
      {
        class: `conflict-row${clash ? " clash" : ""}`,
        "data-test": "conflict-row",
        "data-path": mine.path,
        "data-clash": String(clash),
      },
      h("legend", { class: "visually-hidden" }, nameOf(mine)),
      h(
        "span",
        { class: "conflict-name" },
        nameOf(mine),
        h("span", { class: "muted" }, `was ${wordsFor(mine, mine.before)}`),
      ),
      option(this.#mine, "Yours", wordsFor(mine, mine.after), ""),
      option(this.#theirs, "Theirs", wordsFor(mine, theirs), note),
    );
  }

  /** @returns {"mine" | "theirs" | null} */
  get chosen() {
    return this.#mine.checked ? "mine" : this.#theirs.checked ? "theirs" : null;
  }

  /** @param {"mine" | "theirs"} side */
  choose(side) {
    this.#mine.checked = side === "mine";
    this.#theirs.checked = side === "theirs";
  }
}

/** @param {HTMLInputElement} input @param {string} side @param {string} value @param {string} note */
function option(input, side, value, note) {
  return h(
    "label",
    { class: "conflict-option" },
    input,
    h(
      "span",
      {},
      h("span", { class: "conflict-side" }, side),
      h("span", { class: "conflict-value" }, value),
      note && h("span", { class: "muted" }, note),
    ),
  );
}

/** Who changed this last, and when. @param {Difference} edit @param {SettingsChange[]} changes @param {Agent[]} agents */
function author(edit, changes, agents) {
  const change = changes.find(({ before, after }) =>
    differences(before, after).some(({ path, row }) => path === edit.path && row === edit.row),
  );
  return change ? `${actor(change.changedBy, agents)}, ${moment(change.changedAt)}` : "";
}
