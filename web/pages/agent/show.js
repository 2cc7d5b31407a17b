// Show: this agent's own screen, and who watches it.
//
// Decides the course of a Show as the agent sees it: start, what to hand to guests, who came and went, pause, end, and
// coming back after the page was loaded again. Does not decide how a screen is published (share.js), who may come in
// (the server), nor where on the page it stands (console.js).

import { copyButton, joinAddress, linkOf } from "./links.js";
import { fill, h, set, write } from "./dom.js";
import { icon } from "./icons.js";
import { initials, SHOW, SHOW_DIALOG, showEnd, spelled } from "./words.js";

/** @import { AgentClient } from "../../agent.js" */
/** @import { Ready, RecordRef } from "../../lib/wire.js" */
/** @import { Participant, Share } from "../../share.js" */
/** @import { Toasts } from "./toasts.js" */

/** Where the page, loaded again in this tab, finds its Show. */
const KEPT = "porchlight.show";

/** What guests are handed, and for which record. @typedef {{ sessionKey?: string, link?: string, record?: string }} Handed */

/** @typedef {{ client: AgentClient, toasts: Toasts, onShown: () => void }} ShowingOptions */

/** The one Show of this page, while there is one. */
export class Showing {
  #options;
  /** @type {Share | null} */
  #share = null;
  /** The newest one, which the server may still speak of when it is over. @type {string | null} */
  #sessionId = null;
  #starting = false;
  #pill = h("span", { class: "pill", role: "status" });
  #record = h("span", { class: "muted truncate" });
  #key = h("output", { class: "big-key mono", "data-test": "session-key" });
  #keyHelp = h("p", { class: "muted" });
  #keyBox;
  #link = h("input", { class: "input mono", readonly: true, "aria-label": SHOW.link, "data-test": "show-link" });
  #linkBox;
  #count = h("span", { class: "count" });
  #people = h("ul", { class: "showing-people", "aria-label": SHOW.watching, "data-test": "show-people" });
  #nobody = h("p", { class: "muted" }, SHOW.nobody);
  #pause = h("button", { class: "button small", type: "button", "data-test": "show-pause" });
  #camera = h("button", { class: "button small", type: "button", "data-test": "show-camera", hidden: true });
  /** Stands in the top bar, in sight whatever the page shows. */
  button = h("button", { class: "button quiet on-air", type: "button", "data-test": "show-screen" });
  element;

  /** @param {ShowingOptions} options */
  constructor(options) {
    this.#options = options;
    this.#pause.addEventListener("click", () => this.#togglePause());
    this.#camera.addEventListener("click", () => this.#toggleCamera());
    this.button.addEventListener("click", () => (this.#share ? this.#options.onShown() : this.start()));
    this.#link.addEventListener("focus", () => this.#link.select());
    this.#keyBox = h("div", { class: "showing-key" }, h("span", { class: "label" }, SHOW.key), this.#key, this.#keyHelp);
    this.#linkBox = h(
      "div",
      { class: "showing-link" },
      h("span", { class: "label" }, SHOW.link),
      h("div", { class: "copy-line" }, this.#link, copyButton(this.#link, SHOW, { class: "button", "data-test": "copy-link" })),
      h("p", { class: "muted" }, SHOW.linkHelp),
    );
    this.element = h(
      "section",
      { class: "showing card", "aria-label": SHOW.title, "data-test": "showing", "data-state": "none", hidden: true },
      h(
        "header",
        { class: "showing-head" },
        this.#pill,
        h("h2", {}, SHOW.title),
        this.#record,
        h("span", { class: "spacer" }),
        this.#camera,
        this.#pause,
        h(
          "button",
          { class: "button small danger", type: "button", title: SHOW.endHint, "data-test": "show-end", onclick: () => this.#share?.stop() },
          icon("stop"),
          SHOW.end,
        ),
      ),
      h("div", { class: "showing-ways" }, this.#keyBox, this.#linkBox),
      h("div", { class: "showing-who" }, h("h3", {}, SHOW.watching, " ", this.#count), this.#people, this.#nobody),
    );
    set(this.button, "hidden", !canShow());
    this.#draw();
  }

  /** The running share, for tests and developer tools. */
  get share() {
    return this.#share;
  }

  /**
   * Shows the screen, on behalf of a record if there is one; the browser's own picker asks which.
   * @param {RecordRef} [record]
   */
  async start(record) {
    const { client, toasts, onShown } = this.#options;
    if (this.#share) return onShown();
    if (!canShow()) return toasts.show(SHOW.unsupported, { kind: "error" });
    if (this.#starting) return;
    this.#starting = true;
    try {
      // Both before the picker: a click counts for a few seconds only.
      const [ready, { startSharing }] = await Promise.all([client.show({ record }), import("../../share.js")]);
      this.#began(startSharing, handed(ready, record), { ticket: ready.ticket, sessionId: ready.sessionId });
    } catch (error) {
      toasts.error(SHOW.failed, error);
    } finally {
      this.#starting = false;
    }
  }

  /** After the page was loaded again: asks whether to go on, as the browser wants a click for that. */
  async resume() {
    if (!sessionStorage.getItem(KEPT)) return;
    const { startSharing, takeKept } = await import("../../share.js");
    const kept = await takeKept(KEPT);
    if (kept && !this.#share) this.#began(startSharing, kept.note ?? {}, kept);
  }

  /** The server says that a session is over. @param {{ sessionId: string, reason: string }} message @returns {boolean} whether it was this one */
  ended(message) {
    this.#share?.ended(message);
    return this.#sessionId === message.sessionId;
  }

  /** Ends it: nobody shows a screen from a page that is signed out. */
  close() {
    this.#share?.stop();
  }

  /**
   * @param {typeof import("../../share.js").startSharing} startSharing
   * @param {Handed} handed
   * @param {{ sessionId: string, ticket?: string, resumeToken?: string }} seat
   */
  #began(startSharing, handed, { sessionId, ticket, resumeToken }) {
    /** @type {Share} */
    const share = startSharing({
      server: location.origin,
      sessionId,
      ticket,
      resumeToken,
      side: "agent",
      bar: false,
      keepAs: KEPT,
      note: handed,
      strings: SHOW_DIALOG,
      onEvent: (name, detail) => share && this.#share === share && this.#heard(name, detail),
    });
    this.#share = share;
    this.#sessionId = sessionId;
    this.#hand(handed);
    this.#draw();
    this.#options.onShown();
  }

  /** @param {string} name @param {any} detail */
  #heard(name, detail) {
    if (name === "ended") return this.#over(detail.reason);
    if (name === "participant") this.#told(detail);
    if (name === "cameraFailed") this.#options.toasts.error(SHOW.camera, detail);
    this.#draw();
  }

  /** @param {{ participant: Participant, change: string }} news */
  #told({ participant: { name, role }, change }) {
    if (role !== "viewer") return;
    if (change === "joined") this.#options.toasts.show(SHOW.joined.replace("{name}", name));
    else if (change === "left") this.#options.toasts.show(SHOW.left.replace("{name}", name));
  }

  /** @param {string} reason */
  #over(reason) {
    this.#share = null;
    const { text, own } = showEnd(reason);
    this.#options.toasts.show(SHOW.ended, { text, kind: own ? "info" : "error", stays: !own });
    this.#draw();
  }

  #togglePause() {
    const share = this.#share;
    if (share?.state === "paused") share.resume();
    else share?.pause();
  }

  async #toggleCamera() {
    const camera = this.#share?.camera;
    if (camera?.isOn) return camera.stop();
    try {
      await camera?.start();
    } catch (error) {
      this.#options.toasts.error(SHOW.camera, error);
    }
  }

  /** @param {Handed} handed */
  #hand({ sessionKey, link, record }) {
    write(this.#record, record ?? "");
    write(this.#key, sessionKey ? spelled(sessionKey) : "");
    write(this.#keyHelp, SHOW.keyHelp.replace("{where}", joinAddress(link, location.origin)));
    this.#link.value = link ?? "";
    set(this.#keyBox, "hidden", !sessionKey);
    set(this.#linkBox, "hidden", !link);
  }

  #draw() {
    const share = this.#share;
    const state = share?.state ?? "none";
    set(this.element, "hidden", !share);
    set(this.element, "data-state", state);
    write(this.#pill, SHOW.states[state] ?? "");
    fill(this.#pause, icon(state === "paused" ? "show" : "pause"), state === "paused" ? SHOW.resume : SHOW.pause);
    const { right, isOn = false } = share?.camera ?? {};
    fill(this.#camera, icon("camera"), SHOW.camera);
    set(this.#camera, "hidden", !right?.allowed);
    set(this.#camera, "aria-pressed", String(isOn));
    set(this.#pause, "disabled", state !== "sharing" && state !== "paused");
    const viewers = share?.participants.filter(({ role }) => role === "viewer") ?? [];
    write(this.#count, String(viewers.length));
    set(this.#nobody, "hidden", viewers.length > 0);
    fill(this.#people, ...viewers.map(person));
    set(this.button, "data-state", state);
    set(this.button, "title", share ? SHOW.title : SHOW.hint);
    set(this.button, "aria-label", share ? `${SHOW.title}: ${SHOW.states[state]}, ${SHOW.watching} ${viewers.length}` : SHOW.hint);
    if (share) fill(this.button, SHOW.states[state], h("span", { class: "wide-only" }, `· ${viewers.length}`));
    else fill(this.button, icon("show"), h("span", { class: "wide-only" }, SHOW.button));
  }
}

/** @param {Participant} participant */
function person({ name, side, state }) {
  return h(
    "li",
    { class: "person", "data-side": side, "data-state": state ?? "here" },
    h("span", { class: "avatar", "aria-hidden": "true" }, initials(name)),
    h("span", { class: "name truncate" }, name),
    state === "reconnecting" && h("span", { class: "muted" }, SHOW.away),
  );
}

/** @param {Ready} ready @param {RecordRef | undefined} record @returns {Handed} */
function handed({ sessionKey, link }, record) {
  const name = record && (record.name || `${record.object} ${record.id}`);
  return { sessionKey, link: link && linkOf(link, location.origin), record: name };
}

function canShow() {
  return typeof navigator.mediaDevices?.getDisplayMedia === "function";
}
