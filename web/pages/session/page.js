// One session on a page of its own, for an agent who followed a post's link.
//
// Decides when the session is joined and what is said when it can't be. Does not decide how the session looks
// (../agent/session.js), nor who may join: the server answers alike for a session that is over and for one of others.

import { fill, h, set, write } from "../agent/dom.js";
import { Handover } from "../agent/handover.js";
import { icon, lantern } from "../agent/icons.js";
import { isPending } from "../agent/request.js";
import { isOver, noteOf, takeSeat } from "../agent/seat.js";
import { SessionPanel } from "../agent/session.js";
import { Toasts } from "../agent/toasts.js";
import { REQUEST, signInEnds } from "../agent/words.js";

/** @import { AgentClient } from "../../agent.js" */
/** @import { JoinRequest, Ready } from "../../lib/wire.js" */
/** @import { Seat } from "../agent/seat.js" */

/** The signed-in page. */
export class SessionPage {
  #options;
  #client;
  #toasts = new Toasts();
  #handover;
  /** @type {SessionPanel | null} */
  #panel = null;
  /** The agent wants in: at first, and by their own wish once they left. Asked again after a lost connection. */
  #wanted = true;
  /** Taking the seat again that this page had before it was loaded again. @type {Promise<void> | null} */
  #back = null;
  #agent = h("span", { class: "agent truncate", "data-test": "agent-name" });
  #stage = h("main", { class: "session-slot", "data-test": "session-page" });
  element;

  /**
   * @param {object} options
   * @param {AgentClient} options.client
   * @param {string} options.sessionId
   * @param {HTMLElement} options.theme
   * @param {() => void} options.onSignOut
   */
  constructor(options) {
    this.#options = options;
    this.#client = options.client;
    // It is a tab of its own already.
    this.#handover = new Handover({
      client: this.#client,
      to: ["client"],
      onShown: () => fill(this.#stage, this.#handover.element),
      onError: (title, error) => this.#toasts.error(title, error),
    });
    this.element = h("div", { class: "session-page" }, this.#topBar(), this.#stage, this.#toasts.element);
    this.#say("opening", "Opening the session", "Taking your seat.");
  }

  /** Connects and joins. */
  start() {
    const client = this.#client;
    client.on("connected", ({ agent }) => {
      write(this.#agent, agent.name);
      this.#back ??= this.#comeBack();
      this.#back.then(() => {
        if (this.#wanted) this.#join();
      });
    });
    client.on("request", (request) => this.#requestChanged(request));
    client.on("ready", (ready) => this.#ready(ready));
    client.on("sessionEnded", ({ sessionId, reason }) => {
      if (sessionId !== this.#options.sessionId) return;
      this.#handover.ended(sessionId);
      if (this.#panel) this.#panel.viewer.ended(reason);
      else this.#over();
    });
    client.on("expiring", ({ expiresAt }) => {
      this.#toasts.show("Sign in again soon", { text: signInEnds(expiresAt), kind: "error", stays: true });
    });
    client.on("error", (error) => this.#toasts.error("Server", error));
    // A refusal arrives as `signedOut`, which leads back to the sign-in form.
    client.connect().catch(() => {});
  }

  close() {
    this.#panel?.close();
    this.#client.close();
  }

  /** Goes on as the same participant, where the page before in this tab was in the session. */
  async #comeBack() {
    const seat = await takeSeat(this.#client.welcome, this.#options.sessionId);
    if (seat && !this.#panel) await this.#takeSeat(seat).seated;
  }

  async #join() {
    this.#wanted = true;
    this.#say("opening", "Opening the session", "Taking your seat.");
    try {
      this.#requestChanged(await this.#client.join({ sessionId: this.#options.sessionId }));
    } catch (error) {
      const { code, message } = /** @type {import("../../agent.js").PorchlightError} */ (error);
      if (code === "lost") return;
      this.#wanted = false;
      // `bad_message`: the address holds no session's ID.
      if (code === "not_found" || code === "bad_message") this.#over();
      else this.#say("refused", "This session can’t be opened", message, () => this.#join());
    }
  }

  /** @param {JoinRequest} request */
  #requestChanged({ sessionId, state }) {
    if (sessionId !== this.#options.sessionId || this.#panel) return;
    if (["offered", "displayed"].includes(state)) {
      this.#say("opening", "The visitor is being asked", "The session opens as soon as they accept.");
    } else if (!isPending(state) && state !== "active") {
      this.#say("over", REQUEST[state] ?? "This session has ended", "Nothing is shared here any more.");
    }
  }

  /** @param {Ready} ready */
  #ready(ready) {
    if (ready.sessionId !== this.#options.sessionId || ready.role !== "viewer") return;
    this.#wanted = false;
    if (!this.#handover.takes(ready)) this.#takeSeat(ready);
  }

  /** @param {Seat} ready */
  #takeSeat(ready) {
    this.#wanted = false;
    this.#panel?.close();
    const panel = new SessionPanel({
      ready,
      note: noteOf(ready, this.#client.welcome),
      onEnd: () => this.#client.endSession(ready.sessionId),
      onInvite: (agentId) => this.#client.invite({ sessionId: ready.sessionId, agentId }),
      onEnded: (reason) => this.#ended(panel, reason),
      onClose: () => this.#leave(panel),
      onError: (title, error) => this.#toasts.error(title, error),
    });
    this.#panel = panel;
    fill(this.#stage, panel.element);
    panel.open();
    return panel;
  }

  /** @param {SessionPanel} panel @param {string} reason */
  #ended(panel, reason) {
    if (panel.isRefused && !isOver(reason)) {
      // It may go on without this agent, who opened this page to be in it.
      this.#wanted = true;
      this.#panel = null;
      panel.close();
    } else if (reason === "left") queueMicrotask(() => this.#leave(panel));
  }

  /** @param {SessionPanel} panel */
  #leave(panel) {
    if (this.#panel !== panel) return;
    this.#panel = null;
    this.#handover.left(panel.sessionId);
    panel.close();
    this.#say("left", "You are out of the session", "It may still be running.", () => this.#join());
  }

  /** One answer for what is over and for what is not this agent's to see. */
  #over() {
    const text = "It is over, or it is not one that you may open. Ask the agent who posted it.";
    this.#say("over", "There is no such session any more", text);
  }

  /**
   * @param {"opening" | "over" | "refused" | "left"} state @param {string} title @param {string} text
   * @param {() => void} [again]
   */
  #say(state, title, text, again) {
    const mark =
      state === "opening" ? h("span", { class: "spinner", "aria-hidden": "true" }) : icon(state === "left" ? "leave" : "info");
    const button =
      again &&
      h(
        "button",
        { class: "button primary", type: "button", "data-test": "join-again", onclick: again },
        "Join again",
      );
    set(this.#stage, "data-state", state);
    fill(
      this.#stage,
      h(
        "section",
        { class: "session-note card", role: "status", "data-test": "session-note", "data-state": state },
        mark,
        h("h1", {}, title),
        h("p", {}, text),
        button,
      ),
    );
    button?.focus();
  }

  #topBar() {
    return h(
      "header",
      { class: "top" },
      h("div", { class: "logo", "data-light": "lit" }, lantern(), h("span", {}, "Porchlight")),
      h("div", { class: "spacer" }),
      this.#agent,
      this.#options.theme,
      h(
        "button",
        {
          class: "button quiet icon",
          type: "button",
          "data-test": "sign-out",
          "aria-label": "Sign out",
          title: "Sign out",
          onclick: () => this.#options.onSignOut(),
        },
        icon("signOut"),
      ),
    );
  }
}
