// Inviting a colleague into a session: whom, and the link to send.
//
// Decides how it is asked and handed over. Does not decide who may be invited, nor what the link opens: the server does,
// which tells no agent the list of its colleagues, so that one is named here by ID.

import { h, set, write } from "./dom.js";
import { icon } from "./icons.js";
import { copyButton, linkOf } from "./links.js";
import { INVITE } from "./words.js";

/**
 * @typedef {object} InvitingOptions
 * @property {(agentId: string) => Promise<{ link: string }>} invite
 * @property {(title: string, error: unknown) => void} onError
 */

/** A small card over the picture, and the button that opens it. */
export class Inviting {
  #options;
  #agent = h("input", { class: "input", name: "agentId", required: true, maxlength: 128, autocomplete: "off", spellcheck: "false", "data-test": "invite-agent" });
  #link = h("input", { class: "input mono", readonly: true, "aria-label": INVITE.link, "data-test": "invite-link" });
  #handed = h("div", { class: "inviting-link", hidden: true });
  #said = h("p", { class: "muted", role: "status" });
  toggle = h(
    "button",
    { class: "button small", type: "button", title: INVITE.hint, "aria-expanded": "false", "data-test": "invite" },
    icon("people"),
    INVITE.button,
  );
  element;

  /** @param {InvitingOptions} options */
  constructor(options) {
    this.#options = options;
    this.#link.addEventListener("focus", () => this.#link.select());
    this.#handed.append(this.#link, copyButton(this.#link, INVITE, { class: "button small", "data-test": "invite-copy" }));
    this.element = h(
      "form",
      {
        class: "inviting card",
        "aria-label": INVITE.title,
        "data-test": "inviting",
        hidden: true,
        onsubmit: (/** @type {SubmitEvent} */ event) => {
          event.preventDefault();
          this.#invite();
        },
        onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && this.#open(false),
      },
      h("label", { class: "field" }, h("span", { class: "label" }, INVITE.who), this.#agent, h("span", { class: "help" }, INVITE.whoHelp)),
      h("button", { class: "button small primary", type: "submit", "data-test": "invite-make" }, INVITE.make),
      this.#handed,
      this.#said,
    );
    this.toggle.addEventListener("click", () => this.#open(this.element.hidden));
  }

  /** @param {boolean} open */
  #open(open) {
    set(this.element, "hidden", !open);
    set(this.toggle, "aria-expanded", String(open));
    if (open) this.#agent.focus();
    else this.toggle.focus();
  }

  async #invite() {
    const agentId = this.#agent.value.trim();
    set(this.#handed, "hidden", true);
    write(this.#said, "");
    try {
      const { link } = await this.#options.invite(agentId);
      this.#link.value = linkOf(link, location.origin);
      set(this.#handed, "hidden", false);
      write(this.#said, INVITE.linkHelp.replace("{who}", agentId));
      this.#link.focus();
    } catch (error) {
      const { code } = /** @type {import("../../agent.js").PorchlightError} */ (error);
      if (code === "not_found") write(this.#said, INVITE.unknown);
      else this.#options.onError(INVITE.failed, error);
    }
  }
}
