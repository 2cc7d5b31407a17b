// The record simulator's form: which CRM record the agent "opens", with which fields and parents.
//
// Decides the objects offered, the situations a visitor ID can be found in, and how a record is made up for one. Does
// not decide its buttons (the server does; answer.js shows them).

import { h, set } from "./dom.js";
import { icon } from "./icons.js";

/** @import { DataValue, RecordInput } from "../../lib/wire.js" */

/** Objects with their customary id prefix, so that simulated ids look like those of a CRM, and what they hang on. */
const OBJECTS = Object.freeze({
  Case: { prefix: "500", parents: ["Contact", "Account"] },
  Contact: { prefix: "003", parents: ["Account"] },
  Lead: { prefix: "00Q", parents: ["Campaign"] },
  Opportunity: { prefix: "006", parents: ["Contact", "Account"] },
});
/** API name of the visitor ID field unless the agent types another. */
const DEFAULT_FIELD = "visitorId";
/** The situation in which every button finds its visitor, whichever object the company has configured. */
const EVERYWHERE = "everywhere";
/** The fields are as somebody typed them. */
const TYPED = "typed";

/** @typedef {keyof typeof OBJECTS} ObjectName */
/** One field: on the record itself (`""`) or on a parent. A parent's row without a name is the bare parent. @typedef {{ on: string, name: string, value: string }} Line */

/** Where the visitor ID is. @type {Record<string, { label: string, lines: (id: string, field: string, parents: readonly string[]) => Line[] }>} */
const SITUATIONS = {
  [EVERYWHERE]: {
    label: "On the record and on its parent",
    lines: (value, name, [parent]) => [
      { on: "", name, value },
      { on: parent, name, value },
    ],
  },
  own: { label: "On the record only", lines: (value, name) => [{ on: "", name, value }] },
  parent: {
    label: "On the parent only",
    lines: (value, name, [parent]) => [{ on: parent, name, value }],
  },
  several: {
    label: "On several parents, each another visitor",
    lines: (value, name, parents) => parents.map((on, at) => ({ on, name, value: at ? `${value}-${on}` : value })),
  },
  empty: {
    label: "Nowhere: the fields are empty",
    lines: (_, name, [parent]) => [
      { on: "", name, value: "" },
      { on: parent, name, value: "" },
    ],
  },
  missing: {
    label: "Nowhere: the fields are missing",
    lines: (_, __, [parent]) => [
      { on: "", name: "subject", value: "Question" },
      { on: parent, name: "", value: "" },
    ],
  },
  orphan: { label: "Nowhere: there is no parent", lines: () => [{ on: "", name: "subject", value: "Question" }] },
};

/** Form that opens a record. */
export class RecordForm {
  #object = h(
    "select",
    { class: "input", name: "object", onchange: () => this.#objectChosen() },
    ...Object.keys(OBJECTS).map((name) => h("option", { value: name }, name)),
  );
  #id = text("recordId", "5001", "Record ID");
  #name = text("recordName", "Question about an order", "Name");
  #visitorId = text("visitorId", "", "For example C-1001");
  #field = text("fieldName", DEFAULT_FIELD, DEFAULT_FIELD);
  #situation = h(
    "select",
    { class: "input", name: "situation", onchange: () => this.#fill() },
    ...Object.entries(SITUATIONS).map(([value, { label }]) => h("option", { value }, label)),
    h("option", { value: TYPED }, "As typed below"),
  );
  #lines = h("div", { class: "field-lines", "data-test": "field-lines" });
  #parents = h("datalist", { id: "simulator-parents" });
  element;

  /** @param {{ onOpen: (input: RecordInput) => void }} options */
  constructor({ onOpen }) {
    this.#id.required = true;
    for (const input of [this.#visitorId, this.#field]) input.addEventListener("input", () => this.#fill());
    this.#lines.addEventListener("input", () => (this.#situation.value = TYPED));
    this.element = h(
      "form",
      {
        class: "record-form",
        "data-test": "record-form",
        onsubmit: (/** @type {SubmitEvent} */ event) => {
          event.preventDefault();
          onOpen(this.#read());
        },
      },
      field("Object", this.#object),
      field("Record ID", this.#id),
      field("Visitor ID", this.#visitorId, "Empty: Join asks for a session key."),
      field("Where the visitor ID is", this.#situation),
      field("Name", this.#name),
      h(
        "details",
        { class: "field-details" },
        h("summary", {}, "Fields and parents"),
        h(
          "div",
          {},
          field("API name of the visitor ID field", this.#field),
          this.#lines,
          h(
            "button",
            {
              class: "button small",
              type: "button",
              "data-test": "add-field",
              onclick: () => {
                this.#situation.value = TYPED;
                this.#put({ on: "", name: "", value: "" }).focus();
              },
            },
            icon("plus"),
            "Add field",
          ),
          this.#parents,
        ),
      ),
      h("button", { class: "button primary", type: "submit", "data-test": "open-record" }, "Open record"),
    );
    this.#objectChosen();
  }

  /**
   * Makes up a record of the chosen object for a visitor and shows it in the form.
   * @param {string} visitorId
   * @returns {RecordInput}
   */
  forVisitor(visitorId) {
    const object = /** @type {ObjectName} */ (this.#object.value);
    this.#id.value = `${OBJECTS[object].prefix}-${visitorId}`;
    this.#name.value = object === "Case" ? `Case of ${visitorId}` : visitorId;
    this.#visitorId.value = visitorId;
    this.#situation.value = EVERYWHERE;
    this.#fill();
    return this.#read();
  }

  #objectChosen() {
    const { parents } = OBJECTS[/** @type {ObjectName} */ (this.#object.value)];
    this.#parents.replaceChildren(...parents.map((value) => h("option", { value })));
    this.#fill();
  }

  /** Writes the fields of the chosen situation; what was typed by hand stays. */
  #fill() {
    const situation = SITUATIONS[this.#situation.value];
    if (!situation) return;
    const { parents } = OBJECTS[/** @type {ObjectName} */ (this.#object.value)];
    this.#lines.replaceChildren();
    const name = this.#field.value.trim() || DEFAULT_FIELD;
    for (const line of situation.lines(this.#visitorId.value.trim(), name, parents)) this.#put(line);
  }

  /** @param {Line} line */
  #put({ on, name, value }) {
    const holder = text("on", on, "Record itself");
    set(holder, "list", this.#parents.id);
    set(holder, "aria-label", "Parent object; empty: the record itself");
    const field = text("name", name, "Field");
    set(field, "aria-label", "Field");
    const content = text("value", value, "empty");
    set(content, "aria-label", "Value");
    const line = h(
      "div",
      { class: "field-line", "data-test": "field-line" },
      holder,
      field,
      content,
      h(
        "button",
        {
          class: "button quiet icon small",
          type: "button",
          "aria-label": "Remove this field",
          onclick: () => {
            this.#situation.value = TYPED;
            line.remove();
          },
        },
        icon("close"),
      ),
    );
    this.#lines.append(line);
    return holder;
  }

  /** @returns {RecordInput} */
  #read() {
    /** @type {Record<string, DataValue | null>} */
    const fields = {};
    /** @type {Record<string, Record<string, DataValue | null>>} */
    const parents = {};
    for (const line of this.#lines.children) {
      const [on, name, value] = [...line.querySelectorAll("input")].map((input) => input.value.trim());
      const into = on ? (parents[on] ??= {}) : fields;
      if (name) into[name] = value || null;
    }
    return {
      record: { object: this.#object.value, id: this.#id.value.trim(), name: this.#name.value.trim() || undefined },
      fields,
      parents,
    };
  }
}

/** @param {string} name @param {string} value @param {string} placeholder */
function text(name, value, placeholder) {
  return h("input", { class: "input", name, value, placeholder, autocomplete: "off", spellcheck: "false" });
}

/** @param {string} label @param {HTMLElement} control @param {string} [help] */
function field(label, control, help) {
  return h(
    "label",
    { class: "field" },
    h("span", { class: "label" }, label),
    control,
    help && h("span", { class: "help" }, help),
  );
}
