// Short notices in a corner: what happened just now and concerns nobody's current view.
//
// Decides how long a notice stays and how many are shown. Does not decide what deserves one.

import { fill, h } from "./dom.js";
import { icon } from "./icons.js";

/** Long enough to read two lines; an error has to be understood, not just noticed. */
const STAY_MS = { info: 5_000, error: 9_000 };
/** More would cover the record; the oldest goes first. */
const MAX_TOASTS = 4;

/** @typedef {"info" | "error"} ToastKind */

/** The stack of notices. */
export class Toasts {
  element = h("div", { class: "toasts", role: "status", "aria-live": "polite", "data-test": "toasts" });

  /**
   * @param {string} title
   * @param {{ text?: string, kind?: ToastKind, stays?: boolean }} [options] one that stays is closed by hand
   */
  show(title, { text = "", kind = "info", stays = false } = {}) {
    // The same words again say nothing new.
    const said = `${title}\n${text}`;
    if ([...this.element.children].some((toast) => toast.getAttribute("data-said") === said)) return;
    const toast = h("div", { class: `toast ${kind}`, "data-test": "toast", "data-kind": kind, "data-said": said });
    const close = () => toast.remove();
    fill(
      toast,
      icon(kind === "error" ? "alert" : "info"),
      h("div", { class: "toast-body" }, h("strong", {}, title), text && h("p", {}, text)),
      h(
        "button",
        { class: "button quiet icon small", type: "button", "aria-label": "Dismiss", onclick: close },
        icon("close"),
      ),
    );
    this.element.append(toast);
    while (this.element.childElementCount > MAX_TOASTS) this.element.firstElementChild?.remove();
    if (stays) return;
    let timer = setTimeout(close, STAY_MS[kind]);
    // A notice being read stays.
    toast.addEventListener("pointerenter", () => clearTimeout(timer));
    toast.addEventListener("pointerleave", () => (timer = setTimeout(close, STAY_MS.info)));
  }

  /** Shows a failed call. @param {string} title @param {unknown} error */
  error(title, error) {
    this.show(title, { text: error instanceof Error ? error.message : String(error), kind: "error" });
  }
}
