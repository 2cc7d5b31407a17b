// The open record: who its visitor is, the porch light, and the three buttons as the server answers them.
//
// Decides how an answer of `openRecord` is drawn. Does not decide whether a button is on, nor the light: both come
// from the server, with a reason and a sentence of its own.

import { fill, h, set, write } from "./dom.js";
import { icon, lantern } from "./icons.js";
import { RequestProgress } from "./request.js";
import { dataChip } from "./visitor-row.js";
import { clientOf, duration, LIGHT, pageOf, PRESENCE } from "./words.js";

/** @import { JoinInput, JoinRequest, OpenRecord, RecordButton, Visitor } from "../../lib/wire.js" */

/**
 * @typedef {object} RecordPanelOptions
 * @property {(input: JoinInput) => void} onJoin
 * @property {() => void} onShow
 * @property {(control: boolean) => void} onView
 * @property {() => void} onCancel
 * @property {() => void} onClose
 */

/** Panel of the open record. */
export class RecordPanel {
  #options;
  /** @type {OpenRecord | null} */
  #record = null;
  #pending = false;
  #object = h("span", { class: "record-object" });
  #name = h("h2", { class: "truncate" });
  #id = h("span", { class: "mono muted truncate" });
  #headline = h("strong", { class: "light-headline" });
  #subline = h("p", { class: "muted light-subline" });
  #facts = h("div", { class: "facts" });
  #join = h("button", { class: "join", type: "button", "data-test": "join" });
  #joinReason = h("p", { class: "muted reason", "data-test": "join-reason" });
  #control = h("input", { type: "checkbox", name: "control" });
  #key = h("input", {
    class: "input mono",
    name: "sessionKey",
    inputmode: "numeric",
    pattern: "[A-Za-z0-9._~ \\-]{1,62}",
    autocomplete: "off",
    placeholder: "Session key",
    "aria-label": "Session key",
    required: true,
  });
  #keyForm;
  #light = h("div", { class: "light-card", "data-light": "dark" });
  #show;
  #view;
  #sides = h("div", { class: "sides" });
  #enablement = h("div", { class: "notice", hidden: true, "data-test": "enablement" });
  /** Where the light would be, had the record the button. */
  #joinOff = h("p", { class: "muted reason", hidden: true, "data-test": "join-off" });
  progress;
  element;

  /** @param {RecordPanelOptions} options */
  constructor(options) {
    this.#options = options;
    this.progress = new RequestProgress({ onCancel: options.onCancel });
    this.#show = side("show", "Show", "Show your screen to a guest", "show", options.onShow);
    this.#view = side("eye", "View", "See a guest’s whole screen", "view", () => options.onView(this.#control.checked));
    this.#join.addEventListener("click", () => this.#joinClicked());
    this.#keyForm = h(
      "form",
      {
        class: "key-form",
        hidden: true,
        "data-test": "key-form",
        onsubmit: (/** @type {SubmitEvent} */ event) => this.#keyGiven(event),
      },
      this.#key,
      h("button", { class: "button primary", type: "submit" }, "Join with key"),
    );
    fill(
      this.#light,
      h("div", { class: "light-lamp" }, lantern()),
      h("div", { class: "light-text" }, this.#headline, this.#subline, this.#facts),
      h(
        "div",
        { class: "light-action" },
        this.#join,
        h("label", { class: "switch" }, this.#control, h("span", {}, "May ask for control")),
      ),
      this.#joinReason,
      this.#keyForm,
    );
    fill(this.#sides, this.#show.element, this.#view.element);
    this.element = h(
      "section",
      { class: "record card", "aria-label": "Record", "data-test": "record", hidden: true },
      h(
        "header",
        { class: "record-head" },
        h("span", { class: "record-icon" }, icon("record")),
        h("div", { class: "record-title" }, h("div", { class: "record-line" }, this.#object, this.#id), this.#name),
        h(
          "button",
          {
            class: "button quiet icon",
            type: "button",
            "aria-label": "Close record",
            title: "Close record",
            "data-test": "close-record",
            onclick: options.onClose,
          },
          icon("close"),
        ),
      ),
      this.#enablement,
      this.#light,
      this.#joinOff,
      this.progress.element,
      this.#sides,
    );
  }

  /** @param {OpenRecord | null} answer */
  draw(answer) {
    const another =
      answer?.record.id !== this.#record?.record.id || answer?.record.object !== this.#record?.record.object;
    this.#record = answer;
    set(this.element, "hidden", answer === null);
    if (!answer) return;
    if (another) set(this.#keyForm, "hidden", true);
    const { record, buttons, reason } = answer;
    write(this.#object, record.object);
    write(this.#id, record.id);
    write(this.#name, record.name || record.id);
    const anyVisible = buttons.show.visible || buttons.join.visible || buttons.view.visible;
    set(this.#enablement, "hidden", anyVisible);
    const why = buttons.join.message ?? buttons.join.reason ?? reason ?? "No button is switched on for this record.";
    if (!anyVisible) fill(this.#enablement, icon("info"), h("p", {}, why));
    const joinOff = anyVisible && !buttons.join.visible;
    write(this.#joinOff, joinOff ? `No Join here: ${buttons.join.message ?? buttons.join.reason ?? ""}` : "");
    set(this.#joinOff, "hidden", !joinOff);
    set(this.#sides, "hidden", !buttons.show.visible && !buttons.view.visible);
    this.#drawLight(answer);
    this.#drawJoin(buttons.join);
    this.#show.draw(buttons.show);
    this.#view.draw(buttons.view);
  }

  /** @param {JoinRequest | null} request @param {boolean} pending */
  drawRequest(request, pending) {
    this.#pending = pending;
    this.progress.draw(request);
    if (this.#record) this.#drawJoin(this.#record.buttons.join);
  }

  /** @param {OpenRecord} answer */
  #drawLight({ visitor, visitorId, buttons }) {
    const { join } = buttons;
    const light = join.light ?? "dark";
    set(this.#light, "hidden", !join.visible);
    set(this.#light, "data-light", join.asksForKey ? "key" : light);
    const who = visitorId ?? "The visitor";
    if (join.asksForKey) {
      write(this.#headline, "No visitor ID on this record");
      write(this.#subline, "Ask the visitor for the session key on their screen.");
      fill(this.#facts);
      return;
    }
    write(this.#headline, `${who} ${LIGHT[light]}`);
    write(this.#subline, visitor ? subline(visitor) : "Nobody is here under this ID.");
    fill(this.#facts, ...(visitor ? facts(visitor) : []));
  }

  /** @param {RecordButton} join */
  #drawJoin(join) {
    const light = join.light ?? "dark";
    set(this.#join, "data-light", light);
    set(this.#join, "disabled", !join.enabled || this.#pending);
    fill(
      this.#join,
      icon(join.asksForKey ? "key" : "screen"),
      this.#pending ? "Asking…" : light === "in_session" ? "Join session" : "Join",
    );
    const message = join.enabled ? "" : (join.message ?? join.reason ?? "");
    write(this.#joinReason, message);
    set(this.#joinReason, "hidden", !message);
  }

  #joinClicked() {
    const record = this.#record;
    if (!record) return;
    if (record.buttons.join.asksForKey) {
      set(this.#keyForm, "hidden", false);
      this.#key.focus();
      return;
    }
    this.#options.onJoin({ record: record.record, control: this.#control.checked });
  }

  /** @param {SubmitEvent} event */
  #keyGiven(event) {
    event.preventDefault();
    const sessionKey = this.#key.value.replaceAll(" ", "");
    this.#options.onJoin({ sessionKey, record: this.#record?.record, control: this.#control.checked });
    this.#key.value = "";
  }
}

/** Absent, and nothing is known of an earlier visit. @param {Visitor} visitor */
function isUnseen(visitor) {
  return visitor.state === "absent" && !visitor.focused?.page;
}

/** @param {Visitor} visitor */
function subline(visitor) {
  const since = duration(Date.now() - Date.parse(visitor.since));
  if (isUnseen(visitor)) return "Nobody is here under this ID.";
  if (visitor.state === "absent") return since === "now" ? "Left just now" : `Left ${since} ago`;
  const { title } = pageOf(visitor);
  const how = visitor.state === "present" ? "Looking at" : `${PRESENCE[visitor.state]} ·`;
  return `${how} “${title}” · ${since === "now" ? "just now" : `for ${since}`}`;
}

/** @param {Visitor} visitor */
function facts(visitor) {
  if (isUnseen(visitor)) return [];
  const { path } = pageOf(visitor);
  const client = clientOf(visitor);
  return [
    visitor.verified
      ? h("span", { class: "chip ok" }, icon("verified"), "Verified")
      : h("span", { class: "chip warn", title: "The visitor ID was taken at its word" }, icon("alert"), "Not verified"),
    path && h("span", { class: "chip mono" }, h("span", { class: "truncate" }, path)),
    client && h("span", { class: "chip" }, client),
    ...Object.entries(visitor.data ?? {}).map(([name, value]) => dataChip(name, value)),
  ];
}

/**
 * One of the two quieter buttons, with its reason.
 * @param {import("./icons.js").IconName} iconName @param {string} label @param {string} hint @param {string} test
 * @param {() => void} onClick
 */
function side(iconName, label, hint, test, onClick) {
  const button = h(
    "button",
    { class: "button", type: "button", "data-test": test, onclick: onClick },
    icon(iconName),
    label,
  );
  const reason = h("span", { class: "muted" }, hint);
  const element = h("div", { class: "side" }, button, reason);
  return {
    element,
    /** @param {RecordButton} answer */
    draw(answer) {
      set(element, "hidden", !answer.visible);
      set(button, "disabled", !answer.enabled);
      write(reason, answer.enabled ? hint : (answer.message ?? answer.reason ?? ""));
    },
  };
}
