// The dialog of the visitor's page: the agent's question with its terms, then "choose what to share".
//
// Decides what is asked, how it looks and when it was really displayed. Does not decide what an answer does:
// porchlight.js sends it to the server, share.js opens the browser's picker. Loaded only when there is a question.
import { addHost, element, fill } from "./lib/shadow.js";

/**
 * Every text, in English; `strings` replaces any of them.
 * @type {Readonly<Record<string, string>>}
 */
export const STRINGS = Object.freeze({
  title: "{agent} would like to see your screen",
  titleCobrowse: "{agent} would like to see this page with you",
  someone: "Someone",
  what: "What is shared",
  kindScreen: "Your screen, a window or a tab. You choose which in the next step.",
  kindView: "Your whole screen, after you choose it in the next step.",
  kindCobrowse: "The pages of this website, as you see them here. Nothing else on your computer.",
  controlNo: "View only: {agent} can look, not click or type.",
  controlMay: "{agent} may ask to click and type for you. You decide when asked.",
  stopAny: "You can pause or stop at any time.",
  terms: "Terms",
  termsVersion: "Terms, version {version}",
  termsLink: "Read the full terms",
  countdown: "This request ends in {time}",
  accept: "Accept",
  decline: "Decline",
  connecting: "Connecting…",
  chooseTitle: "Choose what to share",
  chooseText: "Your browser will ask which tab, window or screen {agent} may see.",
  choose: "Share my screen",
  chooseNot: "Don’t share",
  continueTitle: "Continue sharing?",
  continueText: "You were sharing with {agent} on the page before. Nothing is shared until you continue.",
  continue: "Continue sharing",
  continueNot: "Stop sharing",
  againTitle: "Nothing is shared yet",
  againText: "No tab, window or screen was chosen. You can choose again, or leave it.",
  again: "Choose again",
  controlTitle: "{agent} would like to click and type on this page",
  controlText: "Not into passwords or anything that is covered. You see every move, and can take it back at any time.",
  control: "Allow",
  controlNot: "Don’t allow",
  unsupportedTitle: "This browser can’t share its screen",
  cancelled: "{agent} has taken the request back.",
  expired: "The request has expired.",
  failed: "The connection could not be made.",
  ended: "The session has ended.",
  close: "Close",
});

/** @typedef {Record<string, string>} Strings */

/** An accidental press of a key or button that was meant for the page must not accept. */
const ARM_MS = 400;
/** Long enough to read one sentence; the dialog can be closed earlier. */
const NOTICE_MS = 6_000;

const CSS = `
  dialog {
    position: fixed; inset: 0; margin: auto; padding: 0; border: 0; overflow: hidden;
    width: min(30rem, calc(100vw - 24px)); height: fit-content; max-height: min(44rem, calc(100dvh - 24px));
    color: var(--_text); background: var(--_bg); border-radius: var(--_radius); box-shadow: var(--_shadow);
  }
  dialog:focus, h2:focus { outline: none; }
  dialog[open] { display: flex; flex-direction: column; animation: rise .18s ease-out; }
  dialog::backdrop { background: rgb(12 16 22 / .5); animation: fade .18s ease-out; }
  @keyframes rise { from { opacity: 0; transform: translateY(10px); } }
  @keyframes fade { from { opacity: 0; } }
  .body { padding: 24px 24px 4px; overflow: auto; min-height: 0; display: flex; flex-direction: column; gap: 16px; }
  h2 { font-size: 1.25rem; line-height: 1.3; font-weight: 650; margin: 0; overflow-wrap: anywhere; }
  p { margin: 0; overflow-wrap: anywhere; }
  ul { margin: 0; padding: 0; list-style: none; display: grid; gap: 8px; }
  li { display: grid; grid-template-columns: 1.25rem 1fr; gap: 8px; overflow-wrap: anywhere; }
  li::before { content: ""; width: 7px; height: 7px; margin: .55em auto 0; border-radius: 50%; background: var(--_accent); }
  .label { font-size: .8125rem; font-weight: 600; color: var(--_muted); margin-bottom: 6px; }
  .terms {
    flex: 0 1 auto; max-height: 11rem; overflow: auto; padding: 12px 14px; font-size: .875rem; white-space: pre-wrap;
    background: var(--_soft); border: 1px solid var(--_line); border-radius: calc(var(--_radius) * .6); overflow-wrap: anywhere;
  }
  a { color: var(--_accent); font-size: .875rem; text-underline-offset: 2px; }
  .foot { padding: 16px 24px 24px; display: flex; flex-wrap: wrap; align-items: center; gap: 12px; justify-content: flex-end; }
  .countdown { margin-right: auto; font-size: .8125rem; color: var(--_muted); font-variant-numeric: tabular-nums; }
  @media (max-width: 30rem) {
    dialog { width: 100vw; max-width: none; max-height: 92dvh; margin: auto 0 0; border-radius: var(--_radius) var(--_radius) 0 0; }
    .body { padding: 20px 18px 4px; }
    .foot { padding: 14px 18px calc(18px + env(safe-area-inset-bottom)); }
    .foot button { flex: 1 1 40%; }
    .countdown { flex: 1 0 100%; }
  }
  @media (forced-colors: active) { dialog { border: 2px solid; } }
`;

/**
 * The `offer` message, as far as the dialog shows it.
 * @typedef {object} Offer
 * @property {string} kind
 * @property {boolean} [control] the agent may ask for control
 * @property {{ name: string }} agent
 * @property {{ version?: string, text?: string, url?: string }} terms
 * @property {string} [expiresAt]
 */

/**
 * @typedef {object} DialogOptions
 * @property {Offer} [offer] the question; without it the dialog waits for `choose`
 * @property {string} [agentName]
 * @property {number} [clockSkewMs] how far the server's clock is ahead
 * @property {Strings} [strings]
 * @property {string} [nonce]
 */

/** @typedef {"choose" | "continue" | "again" | "control"} Step */

/**
 * Opens the dialog over the page.
 * @param {DialogOptions} options
 */
export function openDialog(options) {
  return new TermsDialog(options);
}

/** One dialog from the question to its end; a closed one stays closed. */
export class TermsDialog {
  /** Resolves once the question was painted in a visible page. @type {Promise<void>} */
  displayed = new Promise(() => {});
  /** Resolves with the visitor's answer to the terms. @type {Promise<boolean>} */
  answer = new Promise(() => {});
  /** @type {Strings} */
  #strings;
  #agent;
  #skew;
  #host;
  #dialog;
  #title = element("h2", { id: "title", tabindex: "-1", part: "title" });
  #body = element("div", { class: "body", part: "body" });
  #foot = element("div", { class: "foot", part: "foot" });
  /** What Escape and the second button do in this state. */
  #dismiss = () => {};
  /** @type {number[]} */
  #timers = [];
  /** @type {Element | null} */
  #returnFocus;

  /** @param {DialogOptions} options */
  constructor({ offer, agentName, clockSkewMs = 0, strings, nonce }) {
    this.#strings = { ...STRINGS, ...strings };
    this.#agent = offer?.agent.name || agentName || this.#strings.someone;
    this.#skew = clockSkewMs;
    this.#returnFocus = document.activeElement;
    const { host, root } = addHost("dialog", CSS, nonce);
    this.#host = host;
    this.#dialog = element("dialog", {
      role: "dialog",
      part: "dialog",
      "aria-modal": "true",
      "aria-labelledby": "title",
      "aria-describedby": "text",
      tabindex: "-1",
    });
    this.#dialog.append(this.#body, this.#foot);
    root.append(this.#dialog);
    this.#dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.#dismiss();
    });
    // A second Escape closes a <dialog> without asking; the host page must not see our keys either.
    this.#dialog.addEventListener("keydown", (event) => this.#keyDown(event));
    if (offer) this.#ask(offer);
  }

  /** @param {string} name @param {Record<string, string>} [values] */
  #text(name, values = {}) {
    return fill(this.#strings[name] ?? "", { agent: this.#agent, ...values });
  }

  /** @param {Offer} offer */
  #ask(offer) {
    const cobrowse = offer.kind === "cobrowse";
    const kind = cobrowse ? "kindCobrowse" : offer.kind === "view" ? "kindView" : "kindScreen";
    const facts = element("ul", { id: "text", part: "facts" });
    for (const text of [kind, offer.control ? "controlMay" : "controlNo", "stopAny"]) {
      facts.append(element("li", {}, element("span", {}, this.#text(text))));
    }
    const what = element("div", {}, element("p", { class: "label" }, this.#text("what")), facts);
    const accept = this.#button("accept", "primary");
    const decline = this.#button("decline");
    const countdown = element("span", { class: "countdown", part: "countdown", role: "timer" });
    this.#render(cobrowse ? "titleCobrowse" : "title", [what, ...this.#terms(offer.terms)], [countdown, decline, accept]);
    accept.disabled = true;
    this.#later(ARM_MS, () => (accept.disabled = false));
    if (offer.expiresAt) this.#countDown(countdown, accept, Date.parse(offer.expiresAt) - this.#skew);
    this.answer = new Promise((resolve) => {
      accept.onclick = () => {
        this.connecting();
        resolve(true);
      };
      this.#dismiss = () => {
        this.close();
        resolve(false);
      };
      decline.onclick = this.#dismiss;
    });
    this.displayed = painted(this.#dialog);
  }

  /** @param {Offer["terms"]} terms @returns {Node[]} */
  #terms({ version, text, url }) {
    const nodes = [];
    const label = version ? this.#text("termsVersion", { version }) : this.#text("terms");
    if (text) {
      const box = element("div", { class: "terms", part: "terms", tabindex: "0", role: "region", "aria-label": label }, text);
      nodes.push(element("div", {}, element("p", { class: "label" }, label), box));
    }
    const link = url ? httpUrl(url) : null;
    if (link) {
      const attributes = { href: link, target: "_blank", rel: "noopener noreferrer", part: "terms-link" };
      const anchor = element("a", attributes, this.#text("termsLink"));
      nodes.push(text ? anchor : element("div", {}, element("p", { class: "label" }, label), anchor));
    }
    return nodes;
  }

  /** @param {HTMLElement} node @param {HTMLButtonElement} accept @param {number} endsAt */
  #countDown(node, accept, endsAt) {
    const seconds = Math.max(0, Math.ceil((endsAt - Date.now()) / 1000));
    const time = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    node.textContent = this.#text("countdown", { time });
    if (seconds > 0) {
      this.#later(((endsAt - Date.now()) % 1000) + 20, () => this.#countDown(node, accept, endsAt));
    } else {
      // The server says so too, unless the connection is away; an answer now would be refused.
      accept.disabled = true;
      this.#later(2_000, () => this.ended("expired"));
    }
  }

  /** Accepted: the server has not yet said "ready". */
  connecting() {
    this.#render("connecting", [], []);
    this.#dismiss = () => {};
  }

  /**
   * One click that opens the browser's picker, or lets an agent click and type. Resolves with false when the visitor would rather not.
   * @param {Step} step
   * @returns {Promise<boolean>}
   */
  choose(step) {
    const yes = this.#button(step, "primary");
    const no = this.#button(step === "continue" || step === "control" ? `${step}Not` : "chooseNot");
    this.#render(`${step}Title`, [element("p", { id: "text" }, this.#text(`${step}Text`))], [no, yes]);
    // Only a visitor who is in the middle of choosing expects a button under their finger.
    if (step === "again") yes.focus();
    return new Promise((resolve) => {
      yes.onclick = () => resolve(true);
      this.#dismiss = () => resolve(false);
      no.onclick = this.#dismiss;
    });
  }

  /**
   * The question ended elsewhere: a short notice, or nothing when another tab has answered it.
   * @param {string} outcome `cancelled expired failed ended unsupported taken`
   */
  ended(outcome) {
    if (outcome === "taken") return this.close();
    if (outcome === "unsupported") this.#notice("unsupportedTitle");
    else this.#notice(["cancelled", "expired", "ended"].includes(outcome) ? outcome : "failed");
  }

  /** @param {string} text */
  #notice(text) {
    const close = this.#button("close");
    this.#render(text, [], [close]);
    this.#title.setAttribute("role", "status");
    this.#dismiss = () => this.close();
    close.onclick = this.#dismiss;
    this.#later(NOTICE_MS, () => this.close());
  }

  close() {
    this.#clearTimers();
    if (!this.#host.isConnected) return;
    this.#dialog.close();
    this.#host.remove();
    if (this.#returnFocus instanceof HTMLElement) this.#returnFocus.focus({ preventScroll: true });
  }

  /** @param {string} title @param {Node[]} body @param {Node[]} foot */
  #render(title, body, foot) {
    this.#clearTimers();
    this.#title.textContent = this.#text(title);
    this.#title.removeAttribute("role");
    this.#body.replaceChildren(this.#title, ...body);
    this.#foot.replaceChildren(...foot);
    if (!this.#dialog.open && this.#host.isConnected) this.#dialog.showModal();
    // Focus rests on the title: a key meant for the page below presses no button.
    this.#title.focus({ preventScroll: true });
  }

  /** @param {string} name @param {string} [style] */
  #button(name, style = "") {
    return element("button", { type: "button", class: style, part: `button ${name}`, "data-action": name }, this.#text(name));
  }

  /** @param {KeyboardEvent} event */
  #keyDown(event) {
    event.stopPropagation();
    if (event.key === "Escape") {
      event.preventDefault();
      this.#dismiss();
      return;
    }
    if (event.key !== "Tab") return;
    const stops = [...this.#dialog.querySelectorAll("button:not(:disabled), a[href], [tabindex='0']")];
    const first = stops[0];
    const last = stops[stops.length - 1];
    const current = /** @type {ShadowRoot} */ (this.#dialog.getRootNode()).activeElement;
    const leaving = event.shiftKey ? current === first || !stops.includes(/** @type {Element} */ (current)) : current === last;
    if (leaving) {
      event.preventDefault();
      /** @type {HTMLElement | undefined} */ (event.shiftKey ? last : first)?.focus();
    }
  }

  /** @param {number} ms @param {() => void} run */
  #later(ms, run) {
    this.#timers.push(window.setTimeout(run, ms));
  }

  #clearTimers() {
    for (const timer of this.#timers.splice(0)) clearTimeout(timer);
  }
}

/**
 * Resolves when a frame with the element was drawn; hidden pages draw none.
 * @param {HTMLElement} node @returns {Promise<void>}
 */
function painted(node) {
  return new Promise((resolve) => {
    const check = () => {
      if (!node.isConnected) return;
      if (document.visibilityState === "visible" && node.getBoundingClientRect().height > 0) resolve();
      else requestAnimationFrame(check);
    };
    requestAnimationFrame(() => requestAnimationFrame(check));
  });
}

/** Terms may link to the web, not run a script. @param {string} url */
function httpUrl(url) {
  try {
    const { protocol, href } = new URL(url, location.href);
    return protocol === "https:" || protocol === "http:" ? href : null;
  } catch {
    // Not a URL: the text and the version still stand.
    return null;
  }
}
