// Light, dark or as the system has it.
//
// Decides which theme is in force and remembers the choice on this device. Does not decide the colours (tokens.css).

import { fill, h, set } from "./dom.js";
import { icon } from "./icons.js";

const KEY = "porchlight.theme";

/** @typedef {"system" | "light" | "dark"} Theme */

/**
 * What the next click chooses, and what the button says.
 * @type {Record<Theme, { next: Theme, icon: import("./icons.js").IconName, label: string }>}
 */
const THEMES = {
  system: { next: "light", icon: "system", label: "Theme: as the system" },
  light: { next: "dark", icon: "sun", label: "Theme: light" },
  dark: { next: "system", icon: "moon", label: "Theme: dark" },
};

/** @returns {Theme} */
function remembered() {
  const stored = localStorage.getItem(KEY);
  return stored === "light" || stored === "dark" ? stored : "system";
}

/** @param {Theme} theme */
function apply(theme) {
  set(document.documentElement, "data-theme", theme === "system" ? null : theme);
}

/** Applies the remembered theme and builds the button that changes it. */
export function themeButton() {
  let theme = remembered();
  const button = h("button", {
    class: "button quiet icon",
    type: "button",
    "data-test": "theme",
    onclick: () => {
      theme = THEMES[theme].next;
      localStorage.setItem(KEY, theme);
      draw();
    },
  });
  const draw = () => {
    apply(theme);
    fill(button, icon(THEMES[theme].icon));
    set(button, "aria-label", THEMES[theme].label);
    set(button, "title", THEMES[theme].label);
  };
  draw();
  return button;
}
