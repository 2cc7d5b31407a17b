// Settings that are tables: buttons per object, buttons per profile, permissions per agent.
//
// Decides how rows are shown, added and taken away. Does not decide what a row means (fields.js) nor what is valid.

import { fill, h, set, write } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { inWords, PERMISSIONS, TABLES } from "./fields.js";

/** @import { Agent } from "../../lib/company.js" */
/** @import { Column } from "./fields.js" */

/** A table whose rows people edit. */
export class RowsTable {
  #path;
  /** @type {{ element: HTMLElement, cells: Map<string, Cell>, rest: any }[]} */
  #rows = [];
  #body = h("tbody", {});
  element;

  /** @param {string} path @param {any[]} value */
  constructor(path, value) {
    this.#path = path;
    const { columns, what } = TABLES[path];
    this.element = h(
      "div",
      { class: "rows-edit" },
      h(
        "div",
        { class: "table-frame" },
        h("table", { class: "grid editing", "data-test": `${path}-table` }, head(columns, true), this.#body),
      ),
      h(
        "button",
        { class: "button small", type: "button", "data-test": "add-row", onclick: () => this.#add() },
        icon("plus"),
        `Add ${what}`,
      ),
      legend(columns),
    );
    for (const row of value) this.#put(row);
  }

  /** @param {string} path @param {any[]} value @returns {HTMLElement} */
  static shown(path, value) {
    const { columns, what, key } = TABLES[path];
    if (!value.length) {
      return h(
        "p",
        { class: "empty-note", "data-test": "value" },
        `No ${what} is listed: the buttons stay off, and agents read why.`,
      );
    }
    const rows = value.map((row) =>
      h(
        "tr",
        { "data-row": row[key] },
        ...columns.map((column) => shownCell(column, row[column.name], column.name === key)),
      ),
    );
    return h(
      "div",
      {},
      h(
        "div",
        { class: "table-frame" },
        h("table", { class: "grid", "data-test": `${path}-table` }, head(columns), h("tbody", {}, ...rows)),
      ),
      legend(columns),
    );
  }

  read() {
    return this.#rows.map(({ cells, rest }) => {
      const values = [...cells].map(([name, cell]) => [name, cell.read()]);
      return { ...rest, ...Object.fromEntries(values) };
    });
  }

  /** @param {string} rest `[2].name` @param {string} message */
  say(rest, message) {
    const [, at, name] = /^\[(\d+)\](?:\.(\w+))?/.exec(rest) ?? [];
    const row = this.#rows[Number(at)];
    const cell = row?.cells.get(name ?? TABLES[this.#path].key);
    cell?.say(message);
    return Boolean(cell);
  }

  clear() {
    for (const { cells } of this.#rows) for (const cell of cells.values()) cell.clear();
  }

  #add() {
    const { columns } = TABLES[this.#path];
    const values = columns.map(({ name, kind, options }) => [
      name,
      kind === "switch" ? false : (options?.[0][0] ?? ""),
    ]);
    const { element, cells } = this.#put(Object.fromEntries(values));
    element.dispatchEvent(new Event("input", { bubbles: true }));
    cells.values().next().value?.focus();
  }

  /** @param {any} value */
  #put(value) {
    const { columns, key, what } = TABLES[this.#path];
    /** @type {Map<string, Cell>} */
    const cells = new Map();
    const rowName = () => String(cells.get(key)?.read() || `new ${what}`);
    for (const column of columns) cells.set(column.name, new Cell(column, value[column.name], rowName));
    const remove = h(
      "button",
      {
        class: "button quiet icon small",
        type: "button",
        title: `Remove this ${what}`,
        "aria-label": `Remove ${value[key] || `new ${what}`}`,
        "data-test": "remove-row",
      },
      icon("trash"),
    );
    const element = h(
      "tr",
      { "data-row": value[key] },
      ...[...cells].map(([name, cell]) => {
        const column = /** @type {Column} */ (columns.find((one) => one.name === name));
        return h(
          "td",
          { "data-column": name, "data-label": column.label, class: column.kind },
          cell.element,
          cell.error,
        );
      }),
      h("td", { class: "row-action" }, remove),
    );
    const row = { element, cells, rest: value };
    remove.addEventListener("click", () => {
      const at = this.#rows.indexOf(row);
      this.#rows.splice(at, 1);
      const table = this.#body;
      element.remove();
      table.dispatchEvent(new Event("input", { bubbles: true }));
      const next = this.#rows[Math.min(at, this.#rows.length - 1)]?.element.querySelector("[data-test=remove-row]");
      /** @type {HTMLElement | null} */ (next ?? this.element.querySelector("[data-test=add-row]"))?.focus();
    });
    this.#rows.push(row);
    this.#body.append(element);
    return row;
  }
}

let cells = 0;

/** One input of a table. */
class Cell {
  #input;
  #read;
  error;
  element;

  /** @param {Column} column @param {any} value @param {() => string} rowName */
  constructor(column, value, rowName) {
    const id = `cell-error-${(cells += 1)}`;
    this.error = h("p", { class: "field-error", id, hidden: true });
    if (column.kind === "switch") {
      const input = h("input", { type: "checkbox", class: "check", name: column.name });
      input.checked = Boolean(value);
      this.#input = input;
      this.#read = () => input.checked;
    } else if (column.kind === "choice") {
      const options = (column.options ?? []).map(([option, label]) => h("option", { value: option }, label));
      const input = h("select", { class: "input", name: column.name }, ...options);
      input.value = value;
      this.#input = input;
      this.#read = () => input.value;
    } else {
      const input = h("input", { class: "input", name: column.name, autocomplete: "off", spellcheck: "false" });
      input.value = value ?? "";
      this.#input = input;
      this.#read = () => input.value;
    }
    const input = this.#input;
    input.addEventListener("focus", () => set(input, "aria-label", `${column.label}, ${rowName()}`));
    set(input, "aria-label", column.label);
    set(input, "aria-describedby", id);
    this.element =
      column.kind === "switch"
        ? h("label", { class: "check-cell" }, input, h("span", { class: "cell-label" }, column.label))
        : input;
  }

  read() {
    return this.#read();
  }

  focus() {
    this.#input.focus();
  }

  /** @param {string} message */
  say(message) {
    set(this.#input, "aria-invalid", "true");
    write(this.error, message.charAt(0).toUpperCase() + message.slice(1));
    set(this.error, "hidden", false);
  }

  clear() {
    set(this.#input, "aria-invalid", null);
    set(this.error, "hidden", true);
  }
}

/** Who holds which permission: a row per agent. */
export class PermissionsTable {
  /** @type {Record<string, string[]>} */
  #before;
  /** @type {Map<string, Map<string, HTMLInputElement>>} */
  #boxes = new Map();
  element;

  /** @param {Record<string, string[]>} value @param {Agent[]} agents */
  constructor(value, agents) {
    this.#before = value;
    const rows = everyone(value, agents).map(({ agentId, name }) => {
      const boxes = new Map();
      const cells = Object.entries(PERMISSIONS).map(([permission, { label }]) => {
        const box = h("input", {
          type: "checkbox",
          class: "check",
          name: `${permission}.${agentId}`,
          "aria-label": `${label}, ${name || agentId}`,
        });
        box.checked = value[permission].includes(agentId);
        boxes.set(permission, box);
        return h(
          "td",
          { class: "switch", "data-label": label },
          h("label", { class: "check-cell" }, box, h("span", { class: "cell-label" }, label)),
        );
      });
      this.#boxes.set(agentId, boxes);
      return h("tr", { "data-row": agentId }, who(agentId, name), ...cells);
    });
    this.element = frame(rows);
  }

  /** @param {Record<string, string[]>} value @param {Agent[]} agents @returns {HTMLElement} */
  static shown(value, agents) {
    const rows = everyone(value, agents).map(({ agentId, name }) =>
      h(
        "tr",
        { "data-row": agentId },
        who(agentId, name),
        ...Object.entries(PERMISSIONS).map(([permission, { label }]) =>
          h("td", { class: "switch", "data-label": label }, mark(value[permission].includes(agentId))),
        ),
      ),
    );
    return rows.length ? frame(rows) : h("p", { class: "empty-note" }, "There is no agent yet.");
  }

  /** Agents in the order they were, new ones at the end: the list changes only where a box did. */
  read() {
    const result = Object.entries(this.#before).map(([permission, before]) => {
      const held = (/** @type {string} */ id) => this.#boxes.get(id)?.get(permission)?.checked ?? before.includes(id);
      const added = [...this.#boxes.keys()].filter((id) => !before.includes(id) && held(id));
      return [permission, [...before.filter(held), ...added]];
    });
    return Object.fromEntries(result);
  }
}

/** @param {HTMLElement[]} rows */
function frame(rows) {
  const columns = Object.values(PERMISSIONS).map(({ label, help }) => ({ label, help, kind: "switch", name: "" }));
  const agent = { label: "Agent", help: "", kind: "text", name: "" };
  return h(
    "div",
    {},
    h(
      "div",
      { class: "table-frame" },
      h(
        "table",
        { class: "grid", "data-test": "permissions-table" },
        head(/** @type {any} */ ([agent, ...columns])),
        h("tbody", {}, ...rows),
      ),
    ),
    legend(columns),
  );
}

/** Agents, and whoever holds a permission without being one any more. @param {Record<string, string[]>} value @param {Agent[]} agents */
function everyone(value, agents) {
  const known = agents.map(({ agentId, name }) => ({ agentId, name }));
  const others = [...new Set(Object.values(value).flat())].filter((id) => !known.some(({ agentId }) => agentId === id));
  return [...known, ...others.map((agentId) => ({ agentId, name: "no such agent" }))];
}

/** @param {string} agentId @param {string} name */
function who(agentId, name) {
  return h(
    "th",
    { scope: "row", class: "who-cell" },
    h("span", {}, name || agentId),
    h("span", { class: "muted" }, agentId),
  );
}

/** One sentence on each column. @param {Pick<Column, "label" | "help">[]} columns */
function legend(columns) {
  return h(
    "dl",
    { class: "legend" },
    ...columns.filter(({ help }) => help).map(({ label, help }) => h("div", {}, h("dt", {}, label), h("dd", {}, help))),
  );
}

/** @param {Column[]} columns @param {boolean} [action] */
function head(columns, action = false) {
  const cells = columns.map(({ label, kind }) => h("th", { scope: "col", class: kind }, label));
  return h(
    "thead",
    {},
    h(
      "tr",
      {},
      ...cells,
      action && h("th", { class: "row-action" }, h("span", { class: "visually-hidden" }, "Remove")),
    ),
  );
}

/** @param {Column} column @param {any} value @param {boolean} names */
function shownCell(column, value, names) {
  const props = { "data-column": column.name, "data-label": column.label, class: column.kind };
  if (names) return h("th", { ...props, scope: "row" }, value);
  if (column.kind === "switch") return h("td", props, mark(value));
  return h(
    "td",
    props,
    value
      ? h("span", { class: column.kind === "text" ? "mono" : "" }, inWords(column, value))
      : h("span", { class: "muted" }, "–"),
  );
}

/** @param {boolean} on */
function mark(on) {
  const element = h("span", { class: `mark${on ? " on" : ""}` });
  fill(element, on ? icon("check") : "–", h("span", { class: "visually-hidden" }, on ? "yes" : "no"));
  return element;
}
