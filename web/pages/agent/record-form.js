// The record simulator's form: which CRM record the agent "opens".
//
// Decides the objects offered and how a record is made up for a visitor. Does not decide its buttons (the server does).

import { h } from "./dom.js";

/** @import { RecordInput } from "../../lib/wire.js" */

/** Objects with their customary id prefix, so that simulated ids look like those of a CRM. */
const OBJECTS = Object.freeze({ Case: "500", Contact: "003", Lead: "00Q", Opportunity: "006" });
/** API name of the visitor ID field unless the agent types another. */
const DEFAULT_FIELD = "visitorId";

/** The parent a simulated record hangs on. */
const PARENT = "Contact";

/** @typedef {keyof typeof OBJECTS} ObjectName */

/** Form that opens a record. */
export class RecordForm {
  #object = h(
    "select",
    { class: "input", name: "object" },
    ...Object.keys(OBJECTS).map((name) => h("option", { value: name }, name)),
  );
  #id = text("recordId", "5001", "Record ID");
  #name = text("recordName", "Question about an order", "Name");
  #visitorId = text("visitorId", "", "For example C-1001");
  #field = text("fieldName", DEFAULT_FIELD, DEFAULT_FIELD);
  element;

  /** @param {{ onOpen: (input: RecordInput) => void }} options */
  constructor({ onOpen }) {
    this.#id.required = true;
    this.#field.required = true;
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
      field("Name", this.#name),
      field("Visitor ID", this.#visitorId, "On the record and on its Contact. Empty: Join asks for a session key."),
      h("details", {}, h("summary", {}, "Field mapping"), field("API name of the field", this.#field)),
      h("button", { class: "button primary", type: "submit", "data-test": "open-record" }, "Open record"),
    );
  }

  /**
   * Makes up a record of the chosen object for a visitor and shows it in the form.
   * @param {string} visitorId
   * @returns {RecordInput}
   */
  forVisitor(visitorId) {
    const object = /** @type {ObjectName} */ (this.#object.value);
    this.#id.value = `${OBJECTS[object]}-${visitorId}`;
    this.#name.value = object === "Case" ? `Case of ${visitorId}` : visitorId;
    this.#visitorId.value = visitorId;
    return this.#read();
  }

  /** @returns {RecordInput} */
  #read() {
    const object = this.#object.value;
    const fields = { [this.#field.value.trim()]: this.#visitorId.value.trim() || null };
    return {
      record: { object, id: this.#id.value.trim(), name: this.#name.value.trim() || undefined },
      fields,
      // Company settings may look for the ID on a parent (the demo group does for Cases); it is the same person there.
      parents: object === PARENT ? {} : { [PARENT]: fields },
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
