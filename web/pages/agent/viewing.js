// View: waiting for a guest's screen, and what the guest is handed until it is over.
//
// Decides the course of a View as the agent sees it: start, what to read out or send, how far the guest is, and coming
// back after the page was loaded again. Does not decide what the guest has to accept (the server), how the picture
// looks (session.js), nor where on the page it stands (console.js).

import { fill, h, set, write } from "./dom.js";
import { icon } from "./icons.js";
import { forAgent } from "../../lib/steps.js";
import { copyButton, linkOf } from "./links.js";
import { endReason, spelled, VIEW, viewState } from "./words.js";

/** @import { AgentClient } from "../../agent.js" */
/** @import { JoinRequest, RecordRef, Waiting } from "../../lib/wire.js" */
/** @import { Toasts } from "./toasts.js" */

/** Where the page, loaded again in this tab, finds its View. */
const KEPT = "porchlight.view";

/** States of the request in which nobody shows anything any more. */
const OVER = new Set(["ended", "declined", "cancelled", "expired", "failed"]);

/**
 * What the guest is handed.
 * @typedef {{ sessionId: string, requestId: string, sessionKey?: string, address?: string, link?: string, record?: string }} Handed
 */

/**
 * @typedef {object} ViewingOptions
 * @property {AgentClient} client
 * @property {Toasts} toasts
 * @property {() => void} onShown
 * @property {(sessionId: string) => boolean} isWatched whether the session is on screen already
 */

/** The one View that this page waits for or watches, while there is one. */
export class Viewing {
  #options;
  /** @type {Handed | null} */
  #handed = null;
  #state = "none";
  #away = false;
  #starting = false;
  #pill = h("span", { class: "pill", role: "status", "data-test": "view-state" });
  #record = h("span", { class: "muted truncate" });
  /** What the guest is at on its device, before it can show anything. */
  #step = h("p", { class: "muted", role: "status", "data-test": "view-step", hidden: true });
  #key = h("output", { class: "big-key mono", "data-test": "view-key" });
  #address = h("span", { class: "mono", "data-test": "view-address" });
  #keyBox;
  #link = h("input", { class: "input mono", readonly: true, "aria-label": VIEW.link, "data-test": "view-link" });
  /** Stands in the top bar, in sight whatever the page shows. */
  button = h("button", { class: "button quiet", type: "button", "data-test": "view-guest" });
  element;

  /** @param {ViewingOptions} options */
  constructor(options) {
    this.#options = options;
    this.button.addEventListener("click", () => (this.#handed ? options.onShown() : this.start()));
    this.#link.addEventListener("focus", () => this.#link.select());
    this.#keyBox = h(
      "div",
      { class: "showing-key" },
      h("span", { class: "label" }, VIEW.key),
      this.#key,
      h("p", { class: "muted" }, VIEW.keyHelp, " ", this.#address),
    );
    this.element = h(
      "section",
      { class: "showing card", "aria-label": VIEW.title, "data-test": "viewing", "data-state": "none", hidden: true },
      h(
        "header",
        { class: "showing-head" },
        this.#pill,
        h("h2", {}, VIEW.title),
        this.#record,
        h("span", { class: "spacer" }),
        h(
          "button",
          { class: "button small danger", type: "button", title: VIEW.endHint, "data-test": "view-end", onclick: () => this.#end() },
          icon("stop"),
          VIEW.end,
        ),
      ),
      this.#step,
      h(
        "div",
        { class: "showing-ways" },
        this.#keyBox,
        h(
          "div",
          { class: "showing-link" },
          h("span", { class: "label" }, VIEW.link),
          h("div", { class: "copy-line" }, this.#link, copyButton(this.#link, VIEW, { class: "button" })),
          h("p", { class: "muted" }, VIEW.linkHelp),
        ),
      ),
    );
    // A handout of a page that is there would be found by a duplicated tab.
    addEventListener("pagehide", () => this.#keep());
    this.#draw();
  }

  /**
   * Waits for a guest, on behalf of a record if there is one.
   * @param {RecordRef} [record] @param {boolean} [control] whether control may be asked for
   */
  async start(record, control = false) {
    const { client, toasts, onShown } = this.#options;
    if (this.#handed) return onShown();
    if (this.#starting) return;
    this.#starting = true;
    try {
      this.#begin(handed(await client.view({ record, control }), record), "offered");
      onShown();
    } catch (error) {
      toasts.error(VIEW.failed, error);
    } finally {
      this.#starting = false;
    }
  }

  /** Goes on with the View of the page before in this tab, and after a lost connection. */
  async resume() {
    const kept = this.#handed ?? takeKept();
    if (!kept) return;
    if (this.#options.isWatched(kept.sessionId)) return this.#handed ? undefined : this.#begin(kept, "active");
    try {
      const request = await this.#options.client.join({ sessionId: kept.sessionId });
      this.#begin({ ...kept, requestId: request.requestId }, request.state, request.steps);
    } catch {
      // It was over while nobody looked.
      this.#over("ended");
    }
  }

  /** A step of a request. @param {JoinRequest} request @returns {boolean} whether it was this one */
  requestChanged({ requestId, state, reason, steps }) {
    if (requestId !== this.#handed?.requestId) return false;
    if (OVER.has(state)) this.#over(reason ?? state);
    else {
      this.#state = state;
      this.#atStep(steps);
      this.#draw();
    }
    return true;
  }

  /** The server says that a session is over. @param {{ sessionId: string, reason: string }} message @returns {boolean} whether it was this one */
  ended({ sessionId, reason }) {
    if (sessionId !== this.#handed?.sessionId) return false;
    this.#over(reason);
    return true;
  }

  /** What the viewer says of the guest. @param {string} sessionId @param {boolean} away */
  guestIsAway(sessionId, away) {
    if (sessionId !== this.#handed?.sessionId || away === this.#away) return;
    this.#away = away;
    this.#draw();
  }

  /** @param {string[]} [steps] */
  #atStep(steps) {
    const text = forAgent(steps);
    write(this.#step, text);
    set(this.#step, "hidden", !text);
  }

  /** @param {Handed} handout @param {string} state @param {string[]} [steps] */
  #begin(handout, state, steps) {
    this.#handed = handout;
    this.#state = state;
    this.#away = false;
    this.#atStep(steps);
    const { sessionKey, address, link, record } = handout;
    write(this.#record, record ?? "");
    write(this.#key, sessionKey ? spelled(sessionKey) : "");
    write(this.#address, address ?? "");
    this.#link.value = link ?? "";
    set(this.#keyBox, "hidden", !sessionKey);
    this.#draw();
  }

  async #end() {
    const { client, toasts } = this.#options;
    if (!this.#handed) return;
    try {
      await client.endSession(this.#handed.sessionId);
      // Where nobody has come yet the request says so, and no session.
      this.#over("agent_ended");
    } catch (error) {
      toasts.error(VIEW.notEnded, error);
    }
  }

  /** @param {string} reason */
  #over(reason) {
    if (!this.#handed) return;
    const came = this.#state === "active";
    this.#handed = null;
    this.#state = "none";
    const own = reason === "agent_ended" || reason === "cancelled";
    // What is on screen says itself why it is over.
    if (!came && !own) this.#options.toasts.show(VIEW.over, { text: VIEW.why[reason] ?? endReason(reason), kind: "error", stays: true });
    this.#draw();
  }

  #keep() {
    try {
      if (this.#handed) sessionStorage.setItem(KEPT, JSON.stringify(this.#handed));
    } catch {
      // Blocked storage: the page loaded again does not know of it, and all else works.
    }
  }

  #draw() {
    const state = viewState(this.#handed ? this.#state : "none", this.#away);
    set(this.element, "hidden", !this.#handed);
    set(this.element, "data-state", state.name);
    write(this.#pill, state.label);
    set(this.button, "data-state", state.name);
    set(this.button, "title", this.#handed ? VIEW.title : VIEW.hint);
    fill(this.button, icon("eye"), h("span", { class: "wide-only" }, this.#handed ? state.label : VIEW.button));
  }
}

/** @param {Waiting} waiting @param {RecordRef | undefined} record @returns {Handed} */
function handed({ sessionId, requestId, sessionKey, address, link }, record) {
  const name = record && (record.name || `${record.object} ${record.id}`);
  const whole = (/** @type {string | undefined} */ path) => path && linkOf(path, location.origin);
  return { sessionId, requestId, sessionKey, address: whole(address), link: whole(link), record: name };
}

/** @returns {Handed | null} */
function takeKept() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
    sessionStorage.removeItem(KEPT);
    return typeof kept?.sessionId === "string" ? kept : null;
  } catch {
    return null;
  }
}
