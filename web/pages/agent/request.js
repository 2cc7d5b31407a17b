// How far a Join has come: asked, seen, accepted, connecting, connected, or why not.
//
// Decides how each state is drawn. Does not decide the state (the server does) nor when a Join is asked (record.js).

import { fill, h, set, write } from "./dom.js";
import { icon } from "./icons.js";
import { REQUEST } from "./words.js";

/** @import { JoinRequest, RequestState } from "../../lib/wire.js" */

/** @type {{ state: RequestState, label: string }[]} */
const STEPS = [
  { state: "offered", label: "Asked" },
  { state: "displayed", label: "Seen" },
  { state: "accepted", label: "Accepted" },
  { state: "connecting", label: "Connecting" },
  { state: "active", label: "Live" },
];

/** States in which the visitor is still being asked, so that it can be taken back. */
const PENDING = new Set(["offered", "displayed", "accepted", "connecting"]);

/** @param {RequestState | undefined} state */
export function isPending(state) {
  return state !== undefined && PENDING.has(state);
}

/** Progress of the request of the open record. */
export class RequestProgress {
  #title = h("strong", {});
  #reason = h("p", { class: "muted" });
  #steps = STEPS.map(({ label }) => h("li", {}, h("span", { class: "dot" }), h("span", {}, label)));
  #list = h("ol", { class: "steps", "aria-hidden": "true" }, ...this.#steps);
  #cancel;
  #dismiss;
  element;

  /** @param {{ onCancel: () => void }} options */
  constructor({ onCancel }) {
    this.#cancel = h(
      "button",
      { class: "button small", type: "button", "data-test": "cancel-request", onclick: onCancel },
      "Cancel",
    );
    this.#dismiss = h(
      "button",
      { class: "button quiet icon small", type: "button", "aria-label": "Dismiss", onclick: () => this.draw(null) },
      icon("close"),
    );
    this.element = h(
      "section",
      { class: "request", "data-test": "request-state", "data-state": "none", hidden: true, role: "status" },
      h("div", { class: "request-text" }, this.#title, this.#reason),
      this.#list,
      this.#cancel,
      this.#dismiss,
    );
  }

  /** @param {Pick<JoinRequest, "state" | "reason"> | null} request */
  draw(request) {
    const { element } = this;
    set(element, "hidden", request === null);
    set(element, "data-state", request?.state ?? "none");
    if (!request) return;
    const { state, reason } = request;
    const pending = isPending(state);
    set(element, "data-outcome", pending ? "pending" : state === "active" ? "good" : "over");
    write(this.#title, REQUEST[state]);
    write(this.#reason, reason ? reason.replaceAll("_", " ") : "");
    set(this.#reason, "hidden", !reason);
    const at = STEPS.findIndex((step) => step.state === state);
    set(this.#list, "hidden", at < 0);
    this.#steps.forEach((step, index) => {
      const done = index < at || state === "active";
      set(step, "data-step", done ? "done" : index === at ? "now" : "next");
      fill(step.children[0], done && icon("check"));
    });
    set(this.#cancel, "hidden", !pending);
    set(this.#dismiss, "hidden", pending || state === "active");
  }
}
