// Addresses that an agent hands to people.
//
// Decides their form and how they are copied. Does not decide where they lead (the server does).

import { h, write } from "./dom.js";
import { icon } from "./icons.js";

/** A link that can be sent: a server that does not know its own address answers without one. @param {string} link @param {string} origin */
export function linkOf(link, origin) {
  return new URL(link, origin).href;
}

/** Where a key is typed, as it is said on the phone: without scheme, and without the invite. @param {string | undefined} link @param {string} origin */
export function joinAddress(link, origin) {
  const { host, pathname } = new URL(link ?? "/join", origin);
  return host + pathname;
}

/**
 * Copies what stands in a field. Without a clipboard, as on plain HTTP, or without leave to use it, it is at least
 * selected.
 * @param {HTMLInputElement} field
 * @param {{ copy: string, copied: string }} words
 * @param {Record<string, string>} attributes
 */
export function copyButton(field, words, attributes) {
  const label = h("span", {}, words.copy);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(field.value);
      write(label, words.copied);
    } catch {
      field.select();
    }
  };
  const button = h("button", { type: "button", onclick: copy, ...attributes }, icon("copy"), label);
  button.addEventListener("blur", () => write(label, words.copy));
  return button;
}
