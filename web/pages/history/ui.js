// Small parts that the sections of the history page have in common.
//
// Decides how they are built. Does not decide what they say.

import { h } from "../agent/dom.js";
import { icon } from "../agent/icons.js";

/** Grey lines where rows will be. */
export function skeleton(lines = 4) {
  const rows = Array.from({ length: lines }, () => h("span", { class: "skeleton-line" }));
  return h(
    "div",
    { class: "skeleton", role: "status" },
    h("span", { class: "visually-hidden" }, "Reading…"),
    ...rows,
  );
}

/**
 * Something instead of rows.
 * @param {import("../agent/icons.js").IconName} iconName @param {string} title @param {string} text
 * @param {HTMLElement | false} action @param {string} test
 */
export function notice(iconName, title, text, action, test) {
  return h(
    "div",
    { class: "notice", role: "status", "data-test": test },
    icon(iconName),
    h("h2", {}, title),
    h("p", {}, text),
    action,
  );
}

/**
 * Does what a button is for, once at a time. A button that goes grey loses the focus: it gets it back, unless the
 * person went elsewhere meanwhile.
 * @param {HTMLButtonElement} button @param {() => Promise<void>} work
 */
export async function pressed(button, work) {
  const had = document.activeElement === button;
  button.disabled = true;
  await work();
  button.disabled = false;
  if (had && document.activeElement === document.body) button.focus();
}
