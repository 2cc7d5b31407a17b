// A joined session that opens elsewhere: in a tab of its own, or in the agent's client.
//
// Decides how it is handed on, and the way back when nothing answers there. Does not decide where it opens (the server,
// by the agent's profile) nor how it looks there.

import { clientLink, openClient, sessionAddress } from "../../lib/opening.js";
import { h, set, write } from "./dom.js";
import { icon } from "./icons.js";
import { HANDOVER } from "./words.js";

/** @import { AgentClient } from "../../agent.js" */
/** @import { JoinRequest, Ready } from "../../lib/wire.js" */

/**
 * @typedef {object} HandoverOptions
 * @property {AgentClient} client
 * @property {string[]} to what this page hands on: `browser_tab`, `client`; what is named by neither opens here
 * @property {() => void} onShown the card has something to say
 * @property {(title: string, error: unknown) => void} onError
 */

/** The card of the one session that was handed on last, while it runs. */
export class Handover {
  #options;
  #sessionId = "";
  /** Sessions that the agent wants on this page. @type {Set<string>} */
  #here = new Set();
  /** The tabs of sessions. @type {Map<string, Window>} */
  #tabs = new Map();
  #title = h("h2", {});
  #text = h("p", { class: "muted" });
  #openLabel = h("span", {});
  #hereLabel = h("span", {});
  element;

  /** @param {HandoverOptions} options */
  constructor(options) {
    this.#options = options;
    const button = (/** @type {string} */ look, /** @type {string} */ test, /** @type {() => void} */ onclick, /** @type {Node[]} */ ...label) =>
      h("button", { class: `button ${look}`, type: "button", "data-test": test, onclick }, ...label);
    this.element = h(
      "section",
      { class: "handover card", role: "status", hidden: true, "data-test": "handover" },
      icon("screen"),
      h("div", { class: "handover-words" }, this.#title, this.#text),
      h(
        "div",
        { class: "handover-ways" },
        button("primary", "handover-open", () => this.#open(), this.#openLabel),
        button("", "handover-here", () => this.#comeHere(), this.#hereLabel),
        button("danger", "handover-end", () => this.#end(), icon("stop"), h("span", {}, HANDOVER.end)),
      ),
    );
  }

  /** A Join was taken: its tab opens while the agent's click still counts as one. @param {JoinRequest} request */
  joined({ sessionId, joinIn }) {
    if (joinIn === "browser_tab" && this.#elsewhere(sessionId, joinIn)) {
      this.#show(sessionId, joinIn);
      this.#openTab(sessionId);
    }
  }

  /** There is a ticket. @param {Ready} ready @returns {boolean} whether it is dealt with */
  takes(ready) {
    const { sessionId, joinIn } = ready;
    if (!this.#elsewhere(sessionId, joinIn)) {
      this.ended(sessionId);
      return false;
    }
    this.#show(sessionId, joinIn ?? "");
    if (joinIn === "client") openClient(clientLink(ready));
    return true;
  }

  /** It is over, or on screen here. @param {string} sessionId @returns {boolean} whether it was this one */
  ended(sessionId) {
    if (sessionId !== this.#sessionId) return false;
    this.#sessionId = "";
    set(this.element, "hidden", true);
    return true;
  }

  /** The agent left it here; the next Join leads to where the profile says. @param {string} sessionId */
  left(sessionId) {
    this.#here.delete(sessionId);
  }

  /** @param {string} sessionId @param {string | undefined} joinIn */
  #elsewhere(sessionId, joinIn) {
    return joinIn !== undefined && this.#options.to.includes(joinIn) && !this.#here.has(sessionId);
  }

  /** @param {string} sessionId @param {string} joinIn */
  #show(sessionId, joinIn) {
    const words = joinIn === "client" ? HANDOVER.client : HANDOVER.tab;
    const fresh = this.#sessionId !== sessionId;
    this.#sessionId = sessionId;
    write(this.#title, words.title);
    write(this.#text, words.text);
    write(this.#openLabel, words.open);
    write(this.#hereLabel, words.here);
    set(this.element, "data-join-in", joinIn);
    set(this.element, "data-session-id", sessionId);
    set(this.element, "hidden", false);
    if (fresh) this.#options.onShown();
  }

  #open() {
    if (this.element.getAttribute("data-join-in") === "browser_tab") this.#openTab(this.#sessionId);
    // A ticket opens once and not for long: the client gets another one.
    else this.#ask();
  }

  /** With the sign-in of this page, which a tab that it opens takes along. @param {string} sessionId */
  #openTab(sessionId) {
    const open = this.#tabs.get(sessionId);
    if (open && !open.closed) return open.focus();
    const tab = window.open(sessionAddress(sessionId), "_blank");
    if (tab) this.#tabs.set(sessionId, tab);
  }

  #comeHere() {
    this.#here.add(this.#sessionId);
    this.#tabs.get(this.#sessionId)?.close();
    this.#ask();
  }

  async #ask() {
    const sessionId = this.#sessionId;
    try {
      await this.#options.client.join({ sessionId });
    } catch (error) {
      this.#here.delete(sessionId);
      this.#options.onError(HANDOVER.failed, error);
    }
  }

  async #end() {
    try {
      await this.#options.client.endSession(this.#sessionId);
    } catch (error) {
      this.#options.onError(HANDOVER.notEnded, error);
    }
  }
}
