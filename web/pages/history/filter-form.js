// The filter above the list of sessions.
//
// Decides its controls and when a choice counts: at once for lists and days, after a pause for what is typed. Does not
// decide what a filter means (filters.js).

import { agentName } from "../admin/words.js";
import { fill, h, set, write } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { conditions, NO_FILTER, RANGES, rangeProblem } from "./filters.js";
import { ENDS, KINDS, OUTCOMES, STATES } from "./words.js";

/** @import { Agent } from "../../lib/company.js" */
/** @import { Filter } from "./filters.js" */

/** After the last key: a pause between words, not between letters. */
const TYPED_MS = 400;

/** Objects that every CRM of the kind we know has; the group's own come with its settings. */
const OBJECTS = ["Case", "Contact", "Lead", "Opportunity"];

/** The form. */
export class FilterForm {
  #onChange;
  /** @type {any} */
  #timer = null;
  /** @type {Record<string, HTMLInputElement | HTMLSelectElement>} */
  #controls = {};
  #own = h("div", { class: "filter-days", hidden: true });
  #problem = h("p", { class: "field-error", id: "filter-problem", role: "alert", hidden: true });
  #count = h("span", { class: "count", hidden: true });
  #clear = h(
    "button",
    { class: "button quiet small filter-clear", type: "button", "data-test": "clear-filter", onclick: () => this.#reset() },
    icon("close"),
    "Clear the filter",
  );
  #rest = h("div", { class: "filter-rest", id: "filter-rest" });
  /** On a narrow screen the rest is behind it. */
  #more = h(
    "button",
    {
      class: "button filter-more",
      type: "button",
      "aria-expanded": "false",
      "aria-controls": "filter-rest",
      "data-test": "more-filters",
      onclick: () => this.#unfold(this.#more.getAttribute("aria-expanded") !== "true"),
    },
    icon("search"),
    "More filters",
    this.#count,
  );
  element;

  /** @param {{ onChange: (filter: Filter) => void }} options */
  constructor({ onChange }) {
    this.#onChange = onChange;
    const ranges = Object.entries(RANGES).map(([value, { label }]) => [value, label]);
    fill(this.#own, this.#field("from", "From", day()), this.#field("until", "Until", day()));
    for (const control of [this.#controls.from, this.#controls.until]) {
      set(control, "aria-describedby", "filter-problem");
    }
    fill(
      this.#rest,
      this.#field("visitor", "Visitor ID", text("C-1001")),
      h(
        "div",
        { class: "field" },
        h("span", { class: "label", id: "filter-record" }, "CRM record"),
        h(
          "div",
          { class: "filter-pair", role: "group", "aria-labelledby": "filter-record" },
          this.#named("object", "Object", choice(OBJECTS.map((name) => [name, name]))),
          this.#named("record", "Record ID", text("500…")),
        ),
      ),
      this.#field("kind", "Kind", choice([["", "Any kind"], ...names("SESSION_KIND_", KINDS)])),
      this.#field("outcome", "Answer", choice([["", "Any answer"], ...names("REQUEST_OUTCOME_", OUTCOMES)])),
      this.#field("reason", "How it ended", choice([["", "Any way"], ...Object.entries(ENDS)])),
      this.#field("state", "State", choice([["", "Any state"], ...names("SESSION_STATE_", STATES)])),
    );
    this.element = h(
      "form",
      {
        class: "card filter",
        role: "search",
        "aria-label": "Filter sessions",
        "data-test": "filter",
        onsubmit: (/** @type {SubmitEvent} */ event) => {
          event.preventDefault();
          this.#tell();
        },
        onchange: () => this.#tell(),
        oninput: (/** @type {Event} */ event) => this.#typed(event),
      },
      this.#field("range", "Time", choice(ranges)),
      this.#field("agent", "Agent", choice([["", "All agents"]])),
      this.#own,
      this.#more,
      this.#rest,
      this.#problem,
      this.#clear,
    );
  }

  /** Agents to choose from. @param {Agent[]} agents */
  offerAgents(agents) {
    const select = this.#controls.agent;
    const options = agents.map(({ agentId }) => [agentId, agentName(agentId, agents)]);
    this.#offer(select, [["", "All agents"], ...options]);
  }

  /** Objects to choose from. @param {string[]} objects */
  offerObjects(objects) {
    const all = [...new Set([...objects, ...OBJECTS])];
    this.#offer(
      this.#controls.object,
      all.map((name) => [name, name]),
    );
  }

  /** Shows a filter. @param {Filter} filter */
  show(filter) {
    clearTimeout(this.#timer);
    for (const [name, control] of Object.entries(this.#controls)) {
      const value = /** @type {any} */ (filter)[name];
      if (control instanceof HTMLSelectElement) pick(control, value);
      else if (control !== document.activeElement || control.value.trim() !== value) control.value = value;
    }
    this.#draw(filter);
    if (["kind", "outcome", "reason", "state", "visitor", "record"].some((name) => /** @type {any} */ (filter)[name])) {
      this.#unfold(true);
    }
  }

  /** @param {boolean} open */
  #unfold(open) {
    set(this.#more, "aria-expanded", String(open));
    set(this.#rest, "data-open", open);
  }

  /** What the form says. @returns {Filter} */
  #read() {
    const given = Object.entries(this.#controls).map(([name, { value }]) => [name, value.trim()]);
    return { ...NO_FILTER, ...Object.fromEntries(given) };
  }

  /** @param {Filter} filter */
  #draw(filter) {
    set(this.#own, "hidden", filter.range !== "own");
    const count = conditions(filter);
    write(this.#count, String(count));
    set(this.#count, "hidden", count === 0);
    set(this.#clear, "hidden", count === 0 && filter.range === NO_FILTER.range);
    const problem = rangeProblem(filter);
    write(this.#problem, problem);
    set(this.#problem, "hidden", !problem);
    set(this.#controls.from, "aria-invalid", problem ? "true" : null);
  }

  /** @param {Event} event */
  #typed({ target }) {
    clearTimeout(this.#timer);
    if (target instanceof HTMLInputElement && target.type !== "date") {
      this.#timer = setTimeout(() => this.#tell(), TYPED_MS);
    }
  }

  #tell() {
    clearTimeout(this.#timer);
    const filter = this.#read();
    this.#draw(filter);
    if (!rangeProblem(filter)) this.#onChange(filter);
  }

  #reset() {
    this.show(NO_FILTER);
    this.#onChange(NO_FILTER);
    this.#controls.range.focus();
  }

  /** @param {string} name @param {string} label @param {HTMLInputElement | HTMLSelectElement} control */
  #field(name, label, control) {
    this.#controls[name] = control;
    set(control, "name", name);
    return h("label", { class: "field" }, h("span", { class: "label" }, label), control);
  }

  /** @param {string} name @param {string} label @param {HTMLInputElement | HTMLSelectElement} control */
  #named(name, label, control) {
    this.#controls[name] = control;
    set(control, "name", name);
    set(control, "aria-label", label);
    return control;
  }

  /** @param {HTMLInputElement | HTMLSelectElement} select @param {string[][]} options */
  #offer(select, options) {
    const { value } = select;
    fill(select, ...options.map(([option, label]) => h("option", { value: option }, label)));
    pick(/** @type {HTMLSelectElement} */ (select), value);
  }
}

/** Chooses a value that may be of an address and not on the list. @param {HTMLSelectElement} select @param {string} value */
function pick(select, value) {
  if (!value && ![...select.options].some((option) => option.value === "")) {
    select.selectedIndex = 0;
    return;
  }
  if (![...select.options].some((option) => option.value === value)) {
    select.append(h("option", { value }, value));
  }
  select.value = value;
}

/** @param {string} prefix @param {Record<string, string | { label: string }>} words */
function names(prefix, words) {
  return Object.entries(words).map(([name, word]) => [
    name.slice(prefix.length).toLowerCase(),
    typeof word === "string" ? word : word.label,
  ]);
}

/** @param {string[][]} options */
function choice(options) {
  return h("select", { class: "input" }, ...options.map(([value, label]) => h("option", { value }, label)));
}

/** @param {string} placeholder */
function text(placeholder) {
  return h("input", { class: "input", placeholder, autocomplete: "off", spellcheck: "false", autocapitalize: "none" });
}

function day() {
  return h("input", { class: "input", type: "date" });
}
