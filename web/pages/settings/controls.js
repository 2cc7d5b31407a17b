// One setting on the page: how its value reads, and the control that changes it.
//
// Decides the control of each kind and how a refusal is tied to it. Does not decide what is valid: what the server
// says of a field is shown beside it, word for word.

import { agentName, sentence } from "../admin/words.js";
import { h, set, write } from "../agent/dom.js";
import { inWords } from "./fields.js";
import { PermissionsTable, RowsTable } from "./tables.js";

/** @import { Agent, ApiKey } from "../../lib/company.js" */
/** @import { Field } from "./fields.js" */

/** What a control may offer to choose from. @typedef {{ agents: Agent[], keys: ApiKey[] }} Choices */

/**
 * @typedef {object} Control
 * @property {HTMLElement} element
 * @property {() => any} read
 * @property {(rest: string, message: string) => boolean} [say] shows a refusal inside; false: show it below
 * @property {() => void} [clear]
 */

/** Kinds that need the width of the page. */
const WIDE = new Set(["prose", "objects", "profiles", "permissions"]);

/** A setting: label, help, and its value or its control. */
export class SettingRow {
  field;
  /** @type {Control | null} */
  #control = null;
  #label;
  #value = h("div", { class: "setting-value" });
  #error;
  element;

  /** @param {Field} field */
  constructor(field) {
    this.field = field;
    const id = idOf(field.path);
    this.#label = h("label", { class: "setting-label", id: `${id}-label` }, field.label);
    this.#error = h("p", { class: "field-error", id: `${id}-error`, hidden: true });
    const table = ["objects", "profiles", "permissions"].includes(field.kind);
    this.element = h(
      "div",
      {
        class: `setting${WIDE.has(field.kind) ? " wide" : ""}${table ? " table-setting" : ""}`,
        "data-path": field.path,
        "data-test": "setting",
      },
      !table &&
        h("div", { class: "setting-text" }, this.#label, h("p", { class: "help", id: `${id}-help` }, field.help)),
      h("div", { class: "setting-side" }, this.#value, this.#error),
    );
  }

  /** Shows the value. @param {any} value @param {Choices} choices */
  view(value, choices) {
    this.#control = null;
    this.clear();
    this.#label.removeAttribute("for");
    this.#value.replaceChildren(shown(this.field, value, choices));
  }

  /** Shows the control. @param {any} value @param {Choices} choices */
  edit(value, choices) {
    const control = controlOf(this.field, value, choices);
    this.#control = control;
    const id = idOf(this.field.path);
    const input = control.element.matches("input, select, textarea")
      ? control.element
      : control.element.querySelector("[data-main]");
    if (input) {
      input.id = id;
      set(this.#label, "for", id);
      set(input, "aria-describedby", `${id}-help ${id}-error`);
    }
    this.#value.replaceChildren(control.element);
  }

  /** What the control holds. */
  read() {
    return this.#control?.read();
  }

  /** Shows what the server says of it. @param {string} path as refused @param {string} message @returns {boolean} it was about this setting */
  say(path, message) {
    const own = this.field.path;
    if (path !== own && !path.startsWith(`${own}.`) && !path.startsWith(`${own}[`)) return false;
    const rest = path.slice(own.length);
    if (this.#control?.say?.(rest, message)) return true;
    const line = /^\[(\d+)\]$/.exec(rest);
    const said = line ? `Line ${Number(line[1]) + 1}: ${message}` : message;
    write(this.#error, this.#error.hidden ? sentence(said) : `${this.#error.textContent} ${sentence(said)}`);
    set(this.#error, "hidden", false);
    for (const input of this.element.querySelectorAll("input, select, textarea")) {
      if (input.id === idOf(own)) set(input, "aria-invalid", "true");
    }
    return true;
  }

  clear() {
    set(this.#error, "hidden", true);
    write(this.#error, "");
    for (const input of this.element.querySelectorAll("[aria-invalid]")) set(input, "aria-invalid", null);
    this.#control?.clear?.();
  }
}

/** @param {string} path */
function idOf(path) {
  return `setting-${path.replace(/\W/g, "-")}`;
}

/** @param {Field} field @param {any} value @param {Choices} choices @returns {HTMLElement} */
function shown(field, value, choices) {
  switch (field.kind) {
    case "switch":
      return h("span", { class: `state${value ? " on" : ""}`, "data-test": "value" }, value ? "On" : "Off");
    case "objects":
    case "profiles":
      return RowsTable.shown(field.path, value);
    case "permissions":
      return PermissionsTable.shown(value, choices.agents);
    case "lines":
      return value.length
        ? h(
            "ul",
            { class: "lines mono", "data-test": "value" },
            ...value.map((/** @type {string} */ one) => h("li", {}, one)),
          )
        : nothing("None");
    case "agent":
      return value ? said(agentName(value, choices.agents)) : nothing("Nobody");
    case "key":
      return said(value ? keyName(value, choices.keys) : "Any that was not revoked");
    case "prose":
      return value ? h("p", { class: "prose", "data-test": "value" }, value) : nothing("None");
  }
  return value === "" || value === null || value === undefined ? nothing("Not set") : said(inWords(field, value));
}

/** @param {string} text */
function said(text) {
  return h("span", { class: "said", "data-test": "value" }, text);
}

/** @param {string} text */
function nothing(text) {
  return h("span", { class: "muted", "data-test": "value" }, text);
}

/** @param {Field} field @param {any} value @param {Choices} choices @returns {Control} */
function controlOf(field, value, choices) {
  const name = field.path;
  const { placeholder } = field;
  switch (field.kind) {
    case "switch": {
      const input = h("input", { type: "checkbox", role: "switch", class: "toggle", name });
      input.checked = Boolean(value);
      return { element: input, read: () => input.checked };
    }
    case "number": {
      const input = h("input", { type: "number", class: "input", name, step: 1, required: true, inputmode: "numeric" });
      input.value = String(value ?? "");
      const element = h("div", { class: "with-unit" }, input, h("span", { class: "muted" }, field.unit));
      set(input, "data-main", true);
      return { element, read: () => (input.value === "" ? null : Number(input.value)) };
    }
    case "prose":
    case "lines": {
      const lines = field.kind === "lines";
      const rows = lines ? 3 : 6;
      const area = h("textarea", {
        class: `input area${lines ? " mono" : ""}`,
        name,
        rows,
        placeholder,
        spellcheck: String(!lines),
      });
      area.value = lines ? value.join("\n") : (value ?? "");
      const list = () =>
        area.value
          .split("\n")
          .map((one) => one.trim())
          .filter(Boolean);
      return { element: area, read: () => (lines ? list() : area.value) };
    }
    case "choice":
      return select(
        name,
        value,
        (field.options ?? []).map(([option, label]) => [option, label]),
      );
    case "agent":
      return select(name, value, [
        ["", "Nobody"],
        ...choices.agents.map(
          ({ agentId }) => /** @type {[string, string]} */ ([agentId, agentName(agentId, choices.agents)]),
        ),
      ]);
    case "key":
      return select(name, value, [
        ["", "Any that was not revoked"],
        ...choices.keys
          .filter(({ revokedAt, keyId }) => !revokedAt || keyId === value)
          .map(({ keyId }) => /** @type {[string, string]} */ ([keyId, keyName(keyId, choices.keys)])),
      ]);
    case "objects":
    case "profiles":
      return new RowsTable(name, value);
    case "permissions":
      return new PermissionsTable(value, choices.agents);
  }
  const input = h("input", { class: "input", name, placeholder, autocomplete: "off", spellcheck: "false" });
  input.value = value ?? "";
  return { element: input, read: () => input.value };
}

/** @param {string} name @param {string} value @param {[string, string][]} options @returns {Control} */
function select(name, value, options) {
  // What is stored stays choosable even when it is not known any more.
  const known = options.some(([option]) => option === value)
    ? options
    : [...options, /** @type {[string, string]} */ ([value, value])];
  const element = h(
    "select",
    { class: "input", name },
    ...known.map(([option, label]) => h("option", { value: option }, label)),
  );
  element.value = value;
  return { element, read: () => element.value };
}

/** @param {string} keyId @param {ApiKey[]} keys */
function keyName(keyId, keys) {
  const key = keys.find((one) => one.keyId === keyId);
  const label = key?.label ? `${key.label} (${keyId})` : keyId;
  return key?.revokedAt ? `${label}, revoked` : label;
}
