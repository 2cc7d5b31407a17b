// A shown screen as a guest sees it: the picture, who shows it, and what state it is in.
//
// Decides how a session looks to a guest, on a phone first. Does not decide its state (view.js), nor what follows when
// it is over (main.js).

import { fill as filled } from "../../lib/shadow.js";
import { Viewer } from "../../view.js";
import { fill, h, set, write } from "../agent/dom.js";
import { icon, lantern } from "../agent/icons.js";
import { ending, RECONNECTING, STATES, WATCH } from "./words.js";

/** @import { ViewerStateChange } from "../../view/events.js" */

/**
 * @typedef {object} WatchOptions
 * @property {string} [ticket]
 * @property {string} [resumeToken] instead of a ticket
 * @property {string} [title] what the agent wrote above the screen
 * @property {HTMLElement} theme
 * @property {(reason: string) => boolean} onEnded true: it is taken care of, and nothing need be said here
 * @property {() => void} onAgain
 * @property {() => void} onKey
 * @property {(message: string) => void} onProblem
 */

/** The page of a guest who was let in. */
export class Watch {
  #options;
  #pill = h("span", { class: "pill", role: "status", "data-test": "pill" });
  #title = h("h1", { class: "truncate" });
  #who = h("p", { class: "truncate muted", "data-test": "who-shows" });
  #people = h("span", { class: "watching muted", "data-test": "watching" });
  #canvas = h("canvas", {
    "data-test": "viewer-canvas",
    width: 0,
    height: 0,
    tabindex: 0,
    role: "img",
    "aria-label": WATCH.screen,
  });
  #veil = h("div", { class: "veil", "aria-live": "polite" });
  #fit = h("button", { class: "button quiet icon", type: "button", "data-test": "fit" }, icon("fit"));
  #tools = h("div", { class: "tools" });
  /** Who shows, kept for the end, when nobody is listed any more. */
  #name = "";
  /** What the veil says. */
  #said = "";
  /** Keeps a phone's screen on. @type {WakeLockSentinel | null} */
  #awake = null;
  viewer;
  element;

  /** @param {WatchOptions} options */
  constructor(options) {
    this.#options = options;
    const stageBox = h("div", { class: "stage" }, this.#canvas);
    const { ticket, resumeToken } = options;
    this.viewer = new Viewer({ canvas: this.#canvas, ticket, resumeToken });
    this.#fit.addEventListener("click", () => this.#toggleSize());
    fill(
      this.#tools,
      this.#fit,
      document.fullscreenEnabled && tool("fullScreen", WATCH.full, () => this.#toggleFullScreen()),
      options.theme,
      h(
        "button",
        {
          class: "button small",
          type: "button",
          title: WATCH.leaveHint,
          "data-test": "leave",
          onclick: () => this.viewer.leave(),
        },
        icon("leave"),
        WATCH.leave,
      ),
    );
    this.element = h(
      "main",
      { class: "session watch", "data-test": "watch-page", "data-state": "idle" },
      h(
        "header",
        { class: "watch-head" },
        h("div", { class: "logo", "data-light": "lit" }, lantern()),
        h("div", { class: "watch-title" }, this.#title, this.#who),
        h("div", { class: "watch-state" }, this.#pill, this.#people),
        this.#tools,
      ),
      h("div", { class: "screen" }, h("div", { class: "picture" }, stageBox, this.#veil)),
    );
    this.#listen();
  }

  /** Takes the seat; call it when the page is in the document. */
  open() {
    this.viewer.open();
    document.addEventListener("visibilitychange", this.#stayAwake);
    this.#stayAwake();
  }

  /** Leaves without a word. */
  close() {
    if (this.viewer.state !== "ended") this.viewer.leave();
    this.viewer.close();
  }

  /** Who shows, as far as it is known. */
  get name() {
    return this.#name || WATCH.someone;
  }

  #listen() {
    const { viewer } = this;
    viewer.on("attached", ({ title }) => this.#drawTitle(title ?? this.#options.title));
    viewer.on("participants", ({ participants }) => {
      this.#name = participants.find(({ role }) => role === "publisher")?.name ?? this.#name;
      const watching = participants.filter(({ role }) => role === "viewer").length;
      write(this.#people, watching > 1 ? filled(WATCH.people, { count: String(watching) }) : "");
      this.#drawTitle(viewer.attached?.title ?? this.#options.title);
      this.#drawState({ state: viewer.state, detail: viewer.detail });
    });
    viewer.on("state", (change) => this.#drawState(change));
    viewer.on("error", (error) => this.#options.onProblem(error.message));
    viewer.stage.onChange = () => this.#drawSize();
    this.#drawTitle(this.#options.title);
    this.#drawState({ state: "idle", detail: null });
    this.#drawSize();
  }

  /** What it is, and who shows it; without a title of its own, who shows it is what it is. @param {string | undefined} title */
  #drawTitle(title) {
    const shows = filled(WATCH.shows, { name: this.name });
    write(this.#title, title || shows);
    write(this.#who, title ? shows : "");
    document.title = `${title || shows} · Porchlight`;
  }

  /** @param {ViewerStateChange} change */
  #drawState({ state, detail }) {
    const { pill, title, text } = STATES[state];
    set(this.element, "data-state", state);
    set(this.element, "data-detail", detail);
    write(this.#pill, pill);
    set(this.#tools, "data-over", state === "ended");
    if (state === "ended") return this.#drawEnd(detail ?? "ended");
    if (state === "reconnecting") {
      const lost = RECONNECTING[detail === "publisher" ? "publisher" : "viewer"];
      this.#drawVeil(lost.title, lost.text, "spinner");
    } else if (title) this.#drawVeil(title, text ?? "", state === "paused" ? "pause" : "spinner");
    else this.#lift();
  }

  #lift() {
    this.#said = "";
    fill(this.#veil);
  }

  /** @param {string} title @param {string} text @param {"spinner" | import("../agent/icons.js").IconName} mark @param {...HTMLElement | false} buttons */
  #drawVeil(title, text, mark, ...buttons) {
    const words = { name: this.name };
    const said = `${filled(title, words)}\n${filled(text, words)}`;
    if (said === this.#said) return;
    this.#said = said;
    fill(
      this.#veil,
      h(
        "div",
        { class: "veil-card", "data-test": "veil" },
        mark === "spinner" ? h("span", { class: "spinner", "aria-hidden": "true" }) : icon(mark),
        h("strong", {}, filled(title, words)),
        h("p", {}, filled(text, words)),
        ...buttons,
      ),
    );
  }

  /** @param {string} reason */
  #drawEnd(reason) {
    document.removeEventListener("visibilitychange", this.#stayAwake);
    this.#sleep();
    if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
    if (this.#options.onEnded(reason)) return;
    const { title, text, again } = ending(reason, this.name);
    set(this.element, "data-reason", reason);
    const button = h(
      "button",
      {
        class: again ? "button primary" : "button",
        type: "button",
        "data-test": again ? "again" : "another",
        onclick: again ? this.#options.onAgain : this.#options.onKey,
      },
      again ? WATCH.again : WATCH.another,
    );
    this.#drawVeil(title, text, "leave", button);
    button.focus({ preventScroll: true });
  }

  /** The whole screen, or one pixel of it on one of this device; two fingers do what lies between. */
  #toggleSize() {
    const { stage } = this.viewer;
    if (stage.mode === "fit") stage.actualSize();
    else stage.fit();
  }

  #drawSize() {
    const fits = this.viewer.stage.mode === "fit";
    const label = fits ? WATCH.actual : WATCH.fit;
    set(this.#fit, "aria-label", label);
    set(this.#fit, "title", label);
    set(this.#fit, "aria-pressed", String(!fits));
    if (this.#canvas.parentElement) set(this.#canvas.parentElement, "data-mode", this.viewer.stage.mode);
  }

  async #toggleFullScreen() {
    try {
      await (document.fullscreenElement ? document.exitFullscreen() : this.element.requestFullscreen());
    } catch (error) {
      this.#options.onProblem(/** @type {Error} */ (error).message);
    }
  }

  /** Who only watches touches nothing, and a phone would go dark. A hidden page loses the lock, and asks again. */
  #stayAwake = async () => {
    if (document.hidden || this.#over) return;
    try {
      this.#awake = (await navigator.wakeLock?.request("screen")) ?? null;
      if (this.#over) this.#sleep();
    } catch {
      // An empty battery, or a browser that knows no such thing: the person keeps it awake.
    }
  };

  get #over() {
    return this.viewer.state === "ended";
  }

  #sleep() {
    this.#awake?.release().catch(() => {});
    this.#awake = null;
  }
}

/** @param {import("../agent/icons.js").IconName} name @param {string} label @param {() => void} onClick */
function tool(name, label, onClick) {
  return h(
    "button",
    { class: "button quiet icon full-screen", type: "button", "aria-label": label, title: label, onclick: onClick },
    icon(name),
  );
}
