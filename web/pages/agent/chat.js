// Chat beside the picture.
//
// Decides how lines are shown. Does not decide who gets them (the server passes them to everyone in the session).

import { h, set, write } from "./dom.js";
import { icon } from "./icons.js";

/** Lines kept: a long session must not grow the page without end. */
const MAX_LINES = 500;

/** Drawer with the conversation and a field to write in. */
export class Chat {
  #lines = h("ol", { class: "chat-lines", role: "log", "aria-label": "Chat" });
  #text = h("input", {
    class: "input",
    name: "chat",
    placeholder: "Message to everyone",
    autocomplete: "off",
    maxlength: 2000,
    "aria-label": "Message",
  });
  #empty = h("p", { class: "muted chat-empty" }, "What is written here reaches everyone in this session.");
  /** Lines that came while the drawer was closed. */
  #unread = 0;
  toggle;
  element;

  /** @param {{ send: (text: string) => Promise<void>, onError: (title: string, error: unknown) => void }} options */
  constructor({ send, onError }) {
    const badge = h("span", { class: "badge", hidden: true });
    this.toggle = h(
      "button",
      {
        class: "button quiet icon",
        type: "button",
        "aria-pressed": "false",
        "aria-label": "Chat",
        title: "Chat",
        "data-test": "chat-toggle",
      },
      icon("chat"),
      badge,
    );
    const form = h(
      "form",
      {
        class: "chat-form",
        onsubmit: async (/** @type {SubmitEvent} */ event) => {
          event.preventDefault();
          const text = this.#text.value.trim();
          if (!text) return;
          try {
            await send(text);
            this.#text.value = "";
            this.add("You", text, true);
          } catch (error) {
            onError("The message was not sent", error);
          }
        },
      },
      this.#text,
      h("button", { class: "button icon", type: "submit", "aria-label": "Send" }, icon("send")),
    );
    this.element = h("aside", { class: "chat", hidden: true, "data-test": "chat" }, this.#empty, this.#lines, form);
    this.toggle.addEventListener("click", () => {
      const open = this.element.hidden;
      set(this.element, "hidden", !open);
      set(this.toggle, "aria-pressed", String(open));
      this.#unread = 0;
      set(badge, "hidden", true);
      if (open) this.#text.focus();
    });
    this.onUnread = () => {
      write(badge, String(this.#unread));
      set(badge, "hidden", this.#unread === 0);
    };
  }

  /** @param {string} from @param {string} text @param {boolean} own */
  add(from, text, own) {
    set(this.#empty, "hidden", true);
    this.#lines.append(
      h("li", { class: own ? "own" : "" }, h("span", { class: "from" }, from), h("span", { class: "text" }, text)),
    );
    while (this.#lines.childElementCount > MAX_LINES) this.#lines.firstElementChild?.remove();
    this.#lines.scrollTop = this.#lines.scrollHeight;
    if (!this.element.hidden) return;
    this.#unread += 1;
    this.onUnread();
  }
}
