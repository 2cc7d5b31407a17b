// The session panel: the picture, its toolbar, who is in it, and what state it is in.
//
// Decides how a session looks to this agent. Does not decide its state (view.js) nor who may do what (the server).

import { InputCapture } from "../../lib/input.js";
import { Pointing } from "../../lib/pointing.js";
import { forAgent } from "../../lib/steps.js";
import { Viewer } from "../../view.js";
import { Chat } from "./chat.js";
import { fill, h, set, write } from "./dom.js";
import { icon } from "./icons.js";
import { Inviting } from "./inviting.js";
import { KEPT_SEAT } from "./seat.js";
import { CONTROL_LIMITS, endReason, HELD, initials, USES_COMPUTER } from "./words.js";

/** @import { Participant } from "../../lib/wire.js" */
/** @import { Seat } from "./seat.js" */
/** @import { ViewerStateChange } from "../../view/events.js" */

/** How often the figures are read: faster than a person compares them. */
const STATS_MS = 500;
const ZOOM_STEP = 1.25;
/** How long it is said why input is held back: the visitor's own is told anew each half second, and ends a second after the last. */
const HELD_MS = 1_500;

/**
 * What the state pill and the veil over the picture say.
 * @type {Record<string, { pill: string, title?: string, text?: string }>}
 */
const STATES = {
  idle: { pill: "Starting" },
  connecting: { pill: "Connecting", title: "Connecting", text: "Taking your seat in the session." },
  waiting: {
    pill: "Waiting",
    title: "Waiting for the picture",
    text: "What to show may still be being chosen.",
  },
  live: { pill: "Live" },
  lagging: { pill: "Catching up" },
  paused: { pill: "Paused", title: "Paused", text: "{name} will go on in a moment." },
  reconnecting: { pill: "Reconnecting" },
  ended: { pill: "Ended", title: "Session ended" },
};

/**
 * @typedef {object} SessionPanelOptions
 * @property {Seat} ready
 * @property {unknown} [note] what the next page of the tab has to know to take the seat again
 * @property {HTMLElement | null} [record] the way to the session's record, if this page is to open it
 * @property {() => Promise<void>} onEnd ends the session for everyone
 * @property {(agentId: string) => Promise<{ link: string }>} onInvite a colleague
 * @property {(reason: string) => void} onEnded
 * @property {() => void} onClose the panel may go
 * @property {(title: string, error: unknown) => void} onError
 */

/** Panel of one session. */
export class SessionPanel {
  #options;
  #viewer;
  #input;
  #pointing;
  #chat;
  #inviting;
  #pill = h("span", { class: "pill" });
  #who = h("span", { class: "session-who truncate" });
  #canvas = h("canvas", {
    "data-test": "viewer-canvas",
    width: 0,
    height: 0,
    tabindex: 0,
    "aria-label": "The guest’s screen",
  });
  #veil = h("div", { class: "veil", role: "status" });
  #people = h("ul", { class: "people", "aria-label": "In this session", "data-test": "participants" });
  #stats = h("dl", { class: "stats", "data-test": "stats", hidden: true });
  #scale = h("output", { class: "scale", "data-test": "scale" }, "–");
  #fit;
  #actual;
  #controlButton = h("button", { class: "button small", type: "button", "data-test": "request-control" });
  #viewOnly = h(
    "span",
    {
      class: "chip",
      title: "The visitor was asked for a look only. To ask for control, say so before you join.",
      "data-test": "view-only",
      hidden: true,
    },
    "View only",
  );
  #limits = h(
    "span",
    { class: "chip", title: CONTROL_LIMITS.whole, "aria-label": CONTROL_LIMITS.whole, role: "note", "data-test": "control-limits", hidden: true },
    CONTROL_LIMITS.short,
  );
  /** Why the guest's side holds back what this agent does. */
  #held = h("span", { class: "chip warn", role: "status", "data-test": "input-held", hidden: true });
  /** @type {any} */
  #heldTimer = null;
  /** What the guest is at, before there is a picture or control. */
  #step = h("span", { class: "chip", role: "status", "data-test": "guest-step", hidden: true });
  #screen = h(
    "span",
    { class: "chip", role: "status", title: "The visitor shows a screen instead of the page", "data-test": "shows-screen", hidden: true },
    "Screen",
  );
  #point = tool("point", "Point: show where you are on the picture", () => {
    this.#wantsToPoint = !this.#wantsToPoint;
    this.#drawControl();
  });
  #wantsToPoint = false;
  #camera = tool("camera", "Show your camera", () => this.#toggleCamera());
  #noCamera = h("span", { class: "chip", "data-test": "no-camera", hidden: true }, "No camera");
  #live = h("div", { class: "tools" });
  /** @type {any} */
  #statsTimer = null;
  sessionId;
  element;

  /** @param {SessionPanelOptions} options */
  constructor(options) {
    this.#options = options;
    const { ready, note, onError, onInvite } = options;
    const { ticket, resumeToken, sessionId } = ready;
    this.sessionId = sessionId;
    const stageBox = h("div", { class: "stage" }, this.#canvas);
    this.#viewer = new Viewer({ canvas: this.#canvas, ticket, resumeToken, sessionId, keepAs: KEPT_SEAT, note });
    this.#chat = new Chat({ send: (text) => this.#viewer.chat(text), onError });
    this.#inviting = new Inviting({ invite: onInvite, onError });
    this.#fit = tool("fit", "Fit", () => this.#viewer.stage.fit());
    this.#actual = h(
      "button",
      {
        class: "button quiet small",
        type: "button",
        title: "Actual size",
        "data-test": "actual-size",
        onclick: () => this.#viewer.stage.actualSize(),
      },
      "100 %",
    );
    this.#input = new InputCapture({
      target: this.#canvas,
      toFrame: (x, y) => this.#viewer.stage.toFrame(x, y),
      send: (events) => void this.#viewer.sendInput(events),
    });
    this.#pointing = new Pointing({
      target: this.#canvas,
      toFrame: (x, y) => this.#viewer.stage.toFrame(x, y),
      send: (at) => void this.#viewer.point(at),
    });
    this.#controlButton.addEventListener("click", () => this.#toggleControl());
    write(this.#who, ready.visitorId ?? "Guest");
    this.element = h(
      "section",
      {
        class: "session card",
        "aria-label": "Session",
        "data-test": "viewer",
        "data-state": "idle",
        "data-session-id": sessionId,
      },
      this.#toolbar(),
      h("div", { class: "screen" }, h("div", { class: "picture" }, stageBox, this.#veil, this.#stats, this.#inviting.element), this.#chat.element),
    );
    this.#listen();
  }

  /** Takes the seat; call it when the panel is in the document. */
  open() {
    this.#viewer.open();
  }

  get viewer() {
    return this.#viewer;
  }

  /** True where the seat of the page before could not be taken again. */
  get isRefused() {
    return this.#viewer.state === "ended" && !!this.#options.ready.resumeToken && !this.#viewer.attached;
  }

  /** Resolves when the seat is taken, or can't be. @returns {Promise<void>} */
  get seated() {
    return new Promise((resolve) => {
      this.#viewer.on("attached", () => resolve());
      this.#viewer.on("state", ({ state }) => state === "ended" && resolve());
    });
  }

  /** Leaves without a word to the host. */
  close() {
    if (this.#viewer.state !== "ended") this.#viewer.leave();
    this.#input.enabled = this.#pointing.enabled = false;
    this.#viewer.close();
    clearInterval(this.#statsTimer);
    clearTimeout(this.#heldTimer);
  }

  #toolbar() {
    const { stage } = this.#viewer;
    const stats = tool("stats", "Figures", () => this.#toggleStats(stats));
    set(stats, "aria-pressed", "false");
    set(this.#point, "aria-pressed", "false");
    set(this.#point, "data-test", "point");
    set(this.#camera, "data-test", "camera");
    set(this.#camera, "hidden", true);
    set(stats, "data-test", "stats-toggle");
    fill(
      this.#live,
      h(
        "div",
        { class: "tool-group", role: "group", "aria-label": "Size" },
        this.#fit,
        this.#actual,
        h(
          "span",
          { class: "zoom" },
          tool("minus", "Smaller", () => stage.zoomBy(1 / ZOOM_STEP)),
          this.#scale,
          tool("plus", "Larger", () => stage.zoomBy(ZOOM_STEP)),
        ),
      ),
      h(
        "div",
        { class: "tool-group" },
        tool("fullScreen", "Full screen", () => this.#toggleFullScreen()),
        stats,
        this.#point,
        this.#camera,
        this.#chat.toggle,
      ),
      this.#noCamera,
      this.#controlButton,
      this.#limits,
      this.#viewOnly,
      this.#inviting.toggle,
      h(
        "button",
        {
          class: "button small",
          type: "button",
          title: "Leave; the session goes on for the others",
          "data-test": "leave",
          onclick: () => this.#viewer.leave(),
        },
        icon("leave"),
        "Leave",
      ),
      h(
        "button",
        {
          class: "button small danger",
          type: "button",
          title: "End the session for everyone",
          "data-test": "end-session",
          onclick: () => this.#endSession(),
        },
        icon("stop"),
        "End",
      ),
    );
    return h(
      "header",
      { class: "toolbar" },
      h("div", { class: "session-head" }, this.#pill, this.#who, this.#people, this.#screen, this.#step, this.#held, this.#options.record ?? null),
      this.#live,
    );
  }

  #listen() {
    const viewer = this.#viewer;
    viewer.on("state", (change) => this.#drawState(change));
    viewer.on("participants", ({ participants }) => this.#drawPeople(participants));
    viewer.on("control", () => this.#drawControl());
    viewer.on("camera", () => this.#drawCamera());
    viewer.on("shows", ({ kind }) => {
      set(this.#screen, "hidden", kind !== "screen" || viewer.attached?.kind !== "cobrowse");
      set(this.element, "data-shows", kind);
    });
    viewer.on("steps", ({ steps }) => {
      write(this.#step, forAgent(steps));
      set(this.#step, "hidden", !forAgent(steps));
    });
    viewer.on("inputHeld", ({ reason }) => this.#drawHeld(reason === "own_input" && !this.#isInBrowser ? USES_COMPUTER : HELD[reason]));
    viewer.on("chat", ({ text, participantId, participant }) => {
      if (participantId !== viewer.attached?.participantId) this.#chat.add(participant?.name ?? "Guest", text, false);
    });
    viewer.on("error", (error) => this.#options.onError("Session", error));
    viewer.stage.onChange = () => this.#drawScale();
    this.#drawState({ state: "idle", detail: null });
    this.#drawControl();
  }

  /** @param {ViewerStateChange} change */
  #drawState({ state, detail }) {
    const { pill, title, text } = STATES[state];
    set(this.element, "data-state", state);
    set(this.element, "data-detail", detail);
    write(this.#pill, pill);
    const over = state === "ended";
    set(this.#live, "hidden", over);
    if (over) set(this.#inviting.element, "hidden", true);
    set(this.#people, "hidden", over);
    if (over) {
      this.#drawEnd(detail ?? "ended");
      return;
    }
    if (state === "reconnecting") {
      const own = detail === "viewer";
      this.#drawVeil(
        own ? "Connection lost" : `${this.#publisher} is reconnecting`,
        own ? "Coming back to the session…" : "They have a minute to come back.",
      );
    } else if (title) this.#drawVeil(title, text?.replace("{name}", this.#publisher) ?? "");
    else fill(this.#veil);
    this.#drawControl();
  }

  /** Whose screen it is: a visitor's, or that of an agent who shows it. */
  get #publisher() {
    const { ready } = this.#options;
    const shows = ready.kind === "show" && this.#viewer.participants.find(({ role }) => role === "publisher")?.name;
    return shows || (ready.kind === "show" ? "The agent" : "The visitor");
  }

  /** @param {string} title @param {string} text */
  #drawVeil(title, text) {
    const paused = this.#viewer.state === "paused";
    fill(
      this.#veil,
      h(
        "div",
        { class: "veil-card" },
        paused ? icon("pause") : h("span", { class: "spinner", "aria-hidden": "true" }),
        h("strong", {}, title),
        h("p", {}, text),
      ),
    );
  }

  /** @param {string} reason */
  #drawEnd(reason) {
    this.#input.enabled = this.#pointing.enabled = false;
    clearInterval(this.#statsTimer);
    set(this.#stats, "hidden", true);
    fill(
      this.#veil,
      h(
        "div",
        { class: "veil-card" },
        icon("leave"),
        h("strong", {}, "Session ended"),
        h("p", { "data-test": "end-reason", "data-reason": reason }, endReason(reason)),
        h(
          "button",
          {
            class: "button primary",
            type: "button",
            "data-test": "close-session",
            onclick: () => this.#options.onClose(),
          },
          "Close",
        ),
      ),
    );
    if (document.fullscreenElement === this.element) document.exitFullscreen().catch(() => {});
    this.#options.onEnded(reason);
  }

  /** @param {Participant[]} participants */
  #drawPeople(participants) {
    if (this.#options.ready.kind === "show") write(this.#who, this.#publisher);
    const own = this.#viewer.attached?.participantId;
    fill(
      this.#people,
      ...participants.map(({ participantId, name, role, side, state }) =>
        h(
          "li",
          {
            class: "person",
            "data-side": side,
            "data-state": state ?? "here",
            title: role === "publisher" ? `${name} shares the screen` : `${name} watches`,
          },
          h("span", { class: "avatar", "aria-hidden": "true" }, initials(name)),
          h("span", { class: "truncate" }, participantId === own ? "You" : name),
        ),
      ),
    );
  }

  #drawControl() {
    const { control, controlling, attached, state } = this.#viewer;
    const asked = control.state === "requested" && control.participantId === attached?.participantId;
    const label = controlling ? "Give control back" : asked ? "Control asked for…" : "Request control";
    fill(this.#controlButton, icon("control"), label);
    set(this.#controlButton, "disabled", asked || !["live", "lagging"].includes(state));
    set(this.#controlButton, "aria-pressed", String(controlling));
    set(this.#controlButton, "hidden", attached?.controlAllowed === false);
    set(this.#viewOnly, "hidden", attached?.controlAllowed !== false);
    set(this.element, "data-control", controlling ? "granted" : control.state);
    set(this.#limits, "hidden", !this.#isInBrowser || !(asked || controlling));
    if (control.state !== "granted") this.#drawHeld();
    this.#viewer.stage.interactive = !controlling;
    // A picture to look at, until what is pressed in it goes to the guest.
    set(this.#canvas, "role", controlling ? "application" : "img");
    this.#input.enabled = controlling;
    // Who has control moves the guest's own pointer.
    this.#pointing.enabled = this.#wantsToPoint && !controlling;
    set(this.#point, "aria-pressed", String(this.#wantsToPoint));
  }

  /** A visitor's page or screen, and no guest's computer. */
  get #isInBrowser() {
    const kind = this.#viewer.attached?.kind;
    return kind === "cobrowse" || kind === "screen";
  }

  /** @param {string} [text] none: nothing is held back */
  #drawHeld(text = "") {
    clearTimeout(this.#heldTimer);
    write(this.#held, text);
    set(this.#held, "hidden", !text);
    if (text) this.#heldTimer = setTimeout(() => this.#drawHeld(), HELD_MS);
  }

  #drawCamera() {
    const { right, isOn, name } = this.#viewer.camera;
    // One is shown at a time.
    const others = name !== null && !isOn;
    const label = isOn ? "Stop your camera" : others ? `${name || "A colleague"} shows their camera` : "Show your camera";
    set(this.#camera, "hidden", !right?.allowed);
    set(this.#camera, "disabled", others);
    set(this.#camera, "aria-pressed", String(isOn));
    set(this.#camera, "aria-label", label);
    set(this.#camera, "title", label);
    set(this.#noCamera, "hidden", right?.allowed !== false);
    set(this.#noCamera, "title", right?.message ?? null);
  }

  async #toggleCamera() {
    const { camera } = this.#viewer;
    if (camera.isOn) return camera.stop();
    try {
      await camera.start();
    } catch (error) {
      this.#options.onError("Camera", error);
    }
  }

  async #toggleControl() {
    const viewer = this.#viewer;
    try {
      await (viewer.controlling ? viewer.releaseControl() : viewer.requestControl());
    } catch (error) {
      this.#options.onError("Control", error);
    }
  }

  async #endSession() {
    try {
      await this.#options.onEnd();
    } catch (error) {
      this.#options.onError("The session could not be ended", error);
    }
  }

  async #toggleFullScreen() {
    try {
      await (document.fullscreenElement ? document.exitFullscreen() : this.element.requestFullscreen());
    } catch (error) {
      this.#options.onError("Full screen", error);
    }
  }

  #drawScale() {
    const { mode, scale } = this.#viewer.stage;
    // 100 % is one pixel of the frame on one pixel of the screen.
    write(this.#scale, `${Math.round(scale * devicePixelRatio * 100)} %`);
    set(this.#fit, "aria-pressed", String(mode === "fit"));
    set(this.#canvas.parentElement ?? this.#canvas, "data-mode", mode);
  }

  /** @param {HTMLButtonElement} button */
  #toggleStats(button) {
    const open = this.#stats.hidden;
    set(this.#stats, "hidden", !open);
    set(button, "aria-pressed", String(open));
    clearInterval(this.#statsTimer);
    if (!open) return;
    this.#drawStats();
    this.#statsTimer = setInterval(() => this.#drawStats(), STATS_MS);
  }

  #drawStats() {
    const stats = this.#viewer.stats();
    const delay = stats.delayMs === null ? "–" : `${Math.round(stats.delayMs)} ms`;
    fill(
      this.#stats,
      ...figure("Rate", `${stats.fps.toFixed(1)} fps`),
      ...figure("Bandwidth", `${Math.round(stats.kbps)} kbit/s`),
      ...figure(stats.delayBasis === "relative" ? "Delay above best" : "Delay", delay),
      ...figure("Picture", stats.width ? `${stats.width} × ${stats.height}` : "–"),
      ...figure("Codec", stats.codec || "–"),
      ...figure("Drawn", String(stats.drawn)),
      ...figure("Dropped", String(stats.dropped)),
      ...figure("Withheld", String(stats.withheld)),
    );
  }
}

/** @param {import("./icons.js").IconName} name @param {string} label @param {() => void} onClick */
function tool(name, label, onClick) {
  return h(
    "button",
    { class: "button quiet icon", type: "button", "aria-label": label, title: label, onclick: onClick },
    icon(name),
  );
}

/** @param {string} name @param {string} value */
function figure(name, value) {
  return [h("dt", {}, name), h("dd", {}, value)];
}
