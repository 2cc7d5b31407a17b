// The door: what a guest is asked before it comes in, and why it is not let in.
//
// Decides what the form asks and how a refusal reads. Does not decide who is let in (the server), nor what follows
// (main.js).

import { enter } from "../../lib/guest.js";
import { h, set, write } from "../agent/dom.js";
import { icon, lantern } from "../agent/icons.js";
import { spelled } from "../agent/words.js";
import { caretAfter, digitsOf, KEY_DIGITS } from "./key.js";
import { DOOR, doorWords, refusal } from "./words.js";
import { fill as filled } from "../../lib/shadow.js";

/** @import { About, Asked, LetIn, Way } from "../../lib/guest.js" */
/** @import { RequestError } from "../../lib/socket.js" */

/**
 * @typedef {object} DoorOptions
 * @property {string | null} invite from a link; without one the key is asked for
 * @property {boolean} [shares] it is an agent's own page: who comes there shows its screen
 * @property {string | null} [agent] whose page it is, if that is known
 * @property {string | null} group whose keys are meant, if the page knows
 * @property {About} [about] what the guest told before
 * @property {string} [notice] why the guest is here again
 * @property {boolean} [blocked] it cannot do here what it would be asked for: nothing is asked
 * @property {(answer: LetIn | Asked, way: Way, about: About) => void} onIn
 * @property {() => void} onKey rather a key than this link
 */

/** The form of the guest's start page. */
export class Door {
  #options;
  #key = h("input", {
    class: "input key-input mono",
    name: "sessionKey",
    inputmode: "numeric",
    autocomplete: "off",
    autocorrect: "off",
    spellcheck: "false",
    enterkeyhint: "go",
    placeholder: "000 000 000",
    "aria-describedby": "problem",
  });
  #name;
  #email;
  #problem = h("p", { class: "problem", id: "problem", role: "alert", "data-test": "door-problem", hidden: true });
  #verb;
  #submit;
  element;

  /** @param {DoorOptions} options */
  constructor(options) {
    this.#options = options;
    const { invite, about, notice, shares, blocked } = options;
    const words = doorWords(options);
    this.#verb = words.verb;
    this.#submit = h(
      "button",
      { class: "button primary", type: "submit", "data-test": "watch" },
      icon(shares ? "screen" : "eye"),
      words.verb,
    );
    this.#name = input({ name: "name", autocomplete: "name", maxlength: 100, value: about?.name ?? "" });
    this.#email = input({ name: "email", type: "email", inputmode: "email", autocomplete: "email", maxlength: 254 });
    this.#email.value = about?.email ?? "";
    this.#key.addEventListener("input", () => this.#group());
    this.#say(notice ?? "");
    const send = (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      this.#send();
    };
    const form = h(
      "form",
      { class: "sign-in-form door", novalidate: true, "data-test": "door", "data-way": invite ? "invite" : "key", onsubmit: send },
      h("h1", {}, words.title),
      h("p", { class: "lead" }, words.lead),
      this.#problem,
      ...(blocked ? [] : this.#fields(invite)),
      invite && !shares && h("button", { class: "button quiet small", type: "button", onclick: options.onKey }, DOOR.useKey),
      h("p", { class: "hint promise" }, icon("verified"), h("span", {}, words.promise)),
    );
    this.element = h(
      "main",
      { class: "sign-in" },
      h(
        "section",
        { class: "sign-in-card" },
        h("div", { class: "brand-mark", "data-light": "lit" }, lantern()),
        h("p", { class: "brand" }, "Porchlight"),
        form,
      ),
    );
    queueMicrotask(() => (invite ? this.#name : this.#key).focus({ preventScroll: true }));
  }

  /** @param {string | null} invite */
  #fields(invite) {
    return [
      !invite && h("label", { class: "field" }, h("span", { class: "label" }, DOOR.key), this.#key),
      optional(DOOR.name, this.#name, this.#options.shares ? undefined : DOOR.nameHelp),
      optional(DOOR.email, this.#email),
      this.#submit,
    ];
  }

  /** Keeps the digits in groups as they are typed, and the caret where it was among them. */
  #group() {
    const { value, selectionStart } = this.#key;
    const before = digitsOf(value.slice(0, selectionStart ?? value.length)).length;
    const text = spelled(digitsOf(value));
    if (text === value) return;
    this.#key.value = text;
    const at = caretAfter(text, before);
    this.#key.setSelectionRange(at, at);
  }

  /** Checks what can be checked here, then asks. */
  async #send() {
    const { invite, group, onIn } = this.#options;
    const about = { name: this.#name.value.trim(), email: this.#email.value.trim() };
    const key = digitsOf(this.#key.value);
    this.#say("");
    if (!invite && !key) return this.#say(DOOR.noKey, this.#key);
    if (!invite && key.length < KEY_DIGITS.fewest) {
      return this.#say(filled(DOOR.shortKey, { count: String(KEY_DIGITS.fewest) }), this.#key);
    }
    if (!this.#email.validity.valid) return this.#say(DOOR.badEmail, this.#email);
    /** @type {Way} */
    const way = invite ? { invite } : { sessionKey: key, ...(group && { group }) };
    this.#busy(true);
    try {
      onIn(await enter(way, about), way, about);
    } catch (error) {
      const refused = /** @type {RequestError} */ (error);
      const wrongKey = !invite && refused.code === "not_found";
      this.#say(refusal(refused, invite ? "invite" : "key"), wrongKey ? this.#key : undefined);
    } finally {
      this.#busy(false);
    }
  }

  /** @param {boolean} busy */
  #busy(busy) {
    this.#submit.disabled = busy;
    write(/** @type {Node} */ (this.#submit.lastChild), busy ? DOOR.asking : this.#verb);
  }

  /** @param {string} problem @param {HTMLInputElement} [at] the field it is about */
  #say(problem, at) {
    write(this.#problem, problem);
    set(this.#problem, "hidden", !problem);
    for (const field of [this.#key, this.#name, this.#email]) set(field, "aria-invalid", field === at ? "true" : null);
    at?.focus();
    at?.select();
  }
}

/** @param {Record<string, unknown>} attributes */
function input(attributes) {
  return h("input", { class: "input", spellcheck: "false", ...attributes });
}

/** @param {string} label @param {HTMLInputElement} control @param {string} [help] */
function optional(label, control, help) {
  return h(
    "label",
    { class: "field" },
    h("span", { class: "label" }, label, " ", h("span", { class: "optional" }, DOOR.optional)),
    control,
    help && h("span", { class: "help" }, help),
  );
}
