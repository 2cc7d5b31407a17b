// The page of a guest who shows its screen: what it has to accept, what it shares, with whom, and the end.
//
// Decides what the guest sees of its share. Does not decide whether it may begin (the server, by the terms), how a screen
// is chosen and published (share.js), nor what follows when it is over (main.js).

import { accept, decline } from "../../lib/guest.js";
import { MAX_FPS } from "../../lib/adapt.js";
import { fill as filled } from "../../lib/shadow.js";
import { forGuest, isMac } from "../../lib/steps.js";
import { fill, h, set, write } from "../agent/dom.js";
import { icon, lantern } from "../agent/icons.js";
import { SHARE, SHARE_DIALOG } from "./words.js";

/** @import { About, Asked, LetIn, Way } from "../../lib/guest.js" */
/** @import { Share } from "../../share.js" */
/** @import { TermsDialog } from "../../terms.js" */

/** Where the page, loaded again in this tab, finds its share. */
const KEPT = "porchlight.guest-share";

/** The whole screen, and not this page in a mirror. @type {any} */
const CAPTURE = {
  video: { frameRate: MAX_FPS, displaySurface: "monitor" },
  monitorTypeSurfaces: "include",
  selfBrowserSurface: "exclude",
};

/** Whether this browser can share a screen at all: phones cannot. */
export function canShare() {
  return typeof navigator.mediaDevices?.getDisplayMedia === "function";
}

/**
 * Shows the terms and takes the answer to the server. Resolves with null when the guest declined.
 * @param {Way} way @param {About} about @param {Asked} asked
 * @returns {Promise<{ letIn: LetIn, dialog: TermsDialog } | null>}
 */
export async function ask(way, about, asked) {
  // The publisher too: a click counts for a few seconds only.
  const [{ openDialog }] = await Promise.all([import("../../terms.js"), import("../../share.js")]);
  const { kind, control, agent, terms } = asked;
  const dialog = openDialog({ offer: { kind, control, agent, terms }, strings: SHARE_DIALOG });
  if (!(await dialog.answer)) {
    await decline(way, asked);
    return null;
  }
  try {
    return { letIn: await accept(way, about, asked), dialog };
  } catch (error) {
    dialog.close();
    throw error;
  }
}

/** The share of the page before in this tab, if it may go on. */
export async function takeShare() {
  try {
    if (!sessionStorage.getItem(KEPT)) return null;
  } catch {
    return null;
  }
  const { takeKept } = await import("../../share.js");
  return takeKept(KEPT);
}

/**
 * @typedef {object} SharingOptions
 * @property {{ ticket: string, sessionId: string } | { resumeToken: string, sessionId: string }} seat
 * @property {string} [agent] who asked
 * @property {TermsDialog} [dialog] an open dialog to go on with
 * @property {HTMLElement} theme
 * @property {() => void} onAgain
 */

/** The page while the screen is shared. */
export class Sharing {
  #options;
  #agent;
  /** @type {Share | null} */
  #share = null;
  #pill = h("span", { class: "pill", role: "status", "data-test": "share-state" });
  #title = h("h1", {}, SHARE.title);
  #who = h("p", { class: "lead", "data-test": "seen-by", "aria-live": "polite" });
  #hint = h("p", { class: "hint" });
  /** What this device has to allow first. */
  #steps = h("ol", { class: "steps", "data-test": "device-steps", "aria-live": "polite", hidden: true });
  #pause = h("button", { class: "button", type: "button", "data-test": "share-pause" });
  #stop = h(
    "button",
    { class: "button danger", type: "button", "data-test": "share-stop", onclick: () => this.#share?.stop() },
    icon("stop"),
    SHARE.stop,
  );
  #again = h("button", { class: "button primary", type: "button", "data-test": "again", hidden: true }, SHARE.again);
  element;

  /** @param {SharingOptions} options */
  constructor(options) {
    this.#options = options;
    this.#agent = options.agent;
    this.#pause.addEventListener("click", () => {
      if (this.#share?.state === "paused") this.#share.resume();
      else this.#share?.pause();
    });
    this.#again.addEventListener("click", options.onAgain);
    this.element = h(
      "main",
      { class: "sign-in sharing", "data-test": "share-page", "data-state": "choosing" },
      h(
        "section",
        { class: "sign-in-card" },
        h("div", { class: "brand-mark", "data-light": "lit" }, lantern()),
        this.#pill,
        this.#title,
        this.#who,
        this.#hint,
        this.#steps,
        h("div", { class: "sharing-tools" }, this.#pause, this.#stop, this.#again),
      ),
    );
    this.#draw();
  }

  /** The running share, for tests and developer tools. */
  get share() {
    return this.#share;
  }

  /** Whether it may still be seen. */
  get isOn() {
    return this.#share !== null && this.#share.state !== "ended";
  }

  /** Begins; call it when the page is in the document. */
  async open() {
    const { seat, dialog } = this.#options;
    const { startSharing } = await import("../../share.js");
    this.#share = startSharing({
      server: location.origin,
      ...seat,
      agentName: this.#agent,
      capture: CAPTURE,
      dialog,
      strings: SHARE_DIALOG,
      bar: false,
      keepAs: KEPT,
      note: { agent: this.#agent },
      onEvent: (name, detail) => {
        if (name === "ended") return this.#over(detail.reason);
        if (name === "steps") this.#todo(detail.steps);
        this.#draw();
      },
    });
    this.#draw();
  }

  /** @param {string[]} steps */
  #todo(steps) {
    const words = forGuest(steps, { mac: isMac() });
    fill(this.#steps, ...words.map((text) => h("li", {}, text)));
    set(this.#steps, "hidden", words.length === 0);
  }

  #draw() {
    const share = this.#share;
    const state = share?.state ?? "choosing";
    if (state === "ended") return;
    set(this.element, "data-state", state);
    write(this.#pill, SHARE.states[state] ?? state);
    const names = (share?.participants ?? []).filter(({ role, state: here }) => role === "viewer" && here !== "reconnecting");
    const seen = names.map(({ name }) => name).join(", ");
    write(this.#who, seen ? filled(SHARE.seenBy, { names: seen }) : SHARE.nobody);
    write(this.#hint, SHARE.hints[state] ?? SHARE.stay);
    fill(this.#pause, icon(state === "paused" ? "show" : "pause"), state === "paused" ? SHARE.resume : SHARE.pause);
    set(this.#pause, "disabled", state !== "sharing" && state !== "paused");
    document.title = `${SHARE.title} · Porchlight`;
  }

  /** @param {string} reason */
  #over(reason) {
    set(this.element, "data-state", "ended");
    set(this.element, "data-reason", reason);
    write(this.#pill, SHARE.states.ended);
    write(this.#title, SHARE.overTitle);
    write(this.#who, filled(SHARE.why[reason] ?? SHARE.why.ended, { agent: this.#agent ?? "" }));
    write(this.#hint, "");
    this.#todo([]);
    set(this.#pause, "hidden", true);
    set(this.#stop, "hidden", true);
    set(this.#again, "hidden", false);
    this.#again.focus({ preventScroll: true });
    document.title = `${SHARE.overTitle} · Porchlight`;
  }
}
