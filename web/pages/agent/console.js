// The console: top bar, visitors, the open record and the session, and what happens between them.
//
// Decides how the agent's events move through the page: a row opens a record, a Join becomes progress, a ticket
// becomes a session. Does not decide what any of it looks like (the panels) nor what is allowed (the server).

import { AnswerPanel } from "./answer.js";
import { fill, h, set, write } from "./dom.js";
import { FeedPanel } from "./feed.js";
import { adminLink, narrowNav, recordLink, welcome } from "./frame.js";
import { Handover } from "./handover.js";
import { icon, lantern } from "./icons.js";
import { RecordForm } from "./record-form.js";
import { RecordPanel } from "./record.js";
import { isPending } from "./request.js";
import { isOver, noteOf, takeSeat } from "./seat.js";
import { SessionPanel } from "./session.js";
import { Showing } from "./show.js";
import { Toasts } from "./toasts.js";
import { VisitorTable } from "./visitors.js";
import { Viewing } from "./viewing.js";
import { BACK, endReason, REQUEST, signInEnds } from "./words.js";

/** @import { Pane } from "./frame.js" */
/** @import { Seat } from "./seat.js" */
/** @import { AgentClient, AgentClientState } from "../../agent.js" */
/** @import { JoinInput, JoinRequest, OpenRecord, Ready, RecordInput } from "../../lib/wire.js" */

/** How often "for 2 min" on the record is looked at again. */
const CLOCK_MS = 10_000;

/** @type {Record<AgentClientState, string>} */
const CONNECTION = {
  idle: "Connecting",
  connecting: "Connecting",
  online: "Online",
  reconnecting: "Reconnecting",
  offline: "No network",
  stopped: "Closed",
  signed_out: "Signed out",
};

/** The signed-in page. */
export class Console {
  #options;
  #client;
  #toasts = new Toasts();
  #table;
  #form;
  #panel;
  #answer = new AnswerPanel();
  #feed;
  #showing;
  #viewing;
  #handover;
  /** @type {OpenRecord | null} */
  #record = null;
  /** @type {JoinRequest | null} */
  #request = null;
  /** @type {SessionPanel | null} */
  #session = null;
  /** Taking the seat again that the page before had. @type {Promise<void> | null} */
  #back = null;
  /** @type {any} */
  #clock = null;
  #agent = h("span", { class: "agent truncate", "data-test": "agent-name" });
  #group = h("span", { class: "chip", "data-test": "group" });
  /** For admins. In tabs of their own, which take the sign-in along: a running session stays. */
  #history = adminLink("/history", "history", "History of sessions", "History");
  #settings = adminLink("/settings", "settings", "Company settings", "Settings");
  #connection = h("span", { class: "connection", role: "status", "data-test": "connection" });
  #sessionSlot = h("div", { class: "session-slot" });
  #formCard;
  #nav;
  element;

  /**
   * @param {object} options
   * @param {AgentClient} options.client
   * @param {HTMLElement} options.theme
   * @param {() => void} options.onSignOut
   */
  constructor(options) {
    this.#options = options;
    this.#client = options.client;
    const onError = (/** @type {string} */ title, /** @type {unknown} */ error) => this.#toasts.error(title, error);
    this.#table = new VisitorTable({
      load: (query) => this.#client.watchLive(query),
      onOpen: ({ visitorId }) => this.openRecord(this.#form.forVisitor(visitorId)),
      onError,
    });
    this.#form = new RecordForm({ onOpen: (input) => this.openRecord(input) });
    this.#panel = new RecordPanel({
      onJoin: (input) => this.join(input),
      onShow: () => this.#showing.start(this.#record?.record),
      onView: (control) => this.#viewing.start(this.#record?.record, control),
      onCancel: () => this.#cancel(),
      onClose: () => this.closeRecord(),
    });
    this.#feed = new FeedPanel({ client: this.#client, onError });
    this.#showing = new Showing({ client: this.#client, toasts: this.#toasts, onShown: () => this.#bring(this.#showing.element) });
    this.#viewing = new Viewing({
      client: this.#client,
      toasts: this.#toasts,
      onShown: () => this.#bring(this.#viewing.element),
      isWatched: (sessionId) => this.#watching(sessionId),
    });
    this.#handover = new Handover({
      client: this.#client,
      to: ["browser_tab", "client"],
      onShown: () => this.#bring(this.#handover.element),
      onError,
    });
    this.#formCard = h(
      "section",
      { class: "opener card", "aria-label": "Record simulator" },
      h("header", { class: "pane-head" }, h("h2", {}, "Record simulator")),
      h("p", { class: "muted" }, "Stands in for your CRM: describe the record an agent would open."),
      this.#form.element,
    );
    this.#nav = narrowNav((pane) => this.#showPane(pane));
    this.element = h(
      "div",
      { class: "console", "data-pane": "visitors", "data-session": "none", "data-record": "none" },
      this.#topBar(),
      h(
        "main",
        { class: "panes" },
        h("h1", { class: "visually-hidden" }, "Agent console"),
        this.#table.element,
        h(
          "div",
          { class: "work" },
          this.#showing.element,
          this.#viewing.element,
          this.#handover.element,
          welcome(),
          this.#panel.element,
          this.#feed.element,
          this.#sessionSlot,
          this.#answer.element,
          this.#formCard,
        ),
      ),
      this.#nav,
      this.#toasts.element,
    );
  }

  get client() {
    return this.#client;
  }

  /** The screen this agent shows, for tests and developer tools. */
  get showing() {
    return this.#showing;
  }

  /** The session on screen, for tests and developer tools. */
  get session() {
    return this.#session;
  }

  /** Connects and fills the page. */
  start() {
    const client = this.#client;
    client.on("state", ({ state }) => this.#drawConnection(state));
    client.on("connected", ({ agent, group }) => {
      write(this.#agent, agent.name);
      write(this.#group, group);
      for (const link of [this.#history, this.#settings]) {
        set(link, "hidden", !agent.permissions?.includes("admin"));
      }
      this.#resumeRequest();
      this.#back ??= this.#comeBack();
      this.#back.then(() => this.#viewing.resume());
      this.#feed.refresh();
    });
    client.on("live", (page) => this.#table.replace(page));
    client.on("liveDiff", (diff) => this.#table.apply(diff));
    client.on("record", (answer) => this.#recordChanged(answer));
    client.on("request", (request) => this.#viewing.requestChanged(request) || this.#requestChanged(request));
    client.on("ready", (ready) => this.#ready(ready));
    client.on("sessionEnded", ({ sessionId, reason }) => this.#sessionEnded(sessionId, reason));
    client.on("message", ({ visitorId, name, data }) => {
      this.#toasts.show(`${visitorId}: ${name}`, {
        text: data === null || data === undefined ? "" : JSON.stringify(data),
      });
    });
    client.on("expiring", ({ expiresAt }) => {
      this.#toasts.show("Sign in again soon", { text: signInEnds(expiresAt), kind: "error", stays: true });
    });
    client.on("error", (error) => this.#toasts.error("Server", error));
    this.#drawConnection(client.state);
    this.#clock = setInterval(() => {
      if (this.#record) this.#panel.draw(this.#record);
      this.#feed.tick();
    }, CLOCK_MS);
    document.addEventListener("keydown", this.#onKey);
    // A refusal arrives as `signedOut`, which leads back to the sign-in form.
    client.connect().then(
      () => {
        this.#table.reload();
        this.#showing.resume();
      },
      () => {},
    );
  }

  /** Leaves everything. */
  close() {
    clearInterval(this.#clock);
    document.removeEventListener("keydown", this.#onKey);
    this.#session?.close();
    this.#showing.close();
    this.#table.close();
    this.#client.close();
  }

  // --- Record --------------------------------------------------------------------------------------------------

  /** @param {RecordInput} input */
  async openRecord(input) {
    if (this.#record && !sameRecord(this.#record, input)) this.closeRecord();
    this.#showPane("record");
    try {
      // The answer is also the first `record` event, which draws it.
      await this.#client.openRecord(input);
      // The form that opened it may have pushed it out of sight.
      this.#panel.element.scrollIntoView({ block: "start" });
    } catch (error) {
      this.#toasts.error("The record could not be opened", error);
    }
  }

  closeRecord() {
    const record = this.#record;
    if (!record) return;
    this.#record = null;
    this.#panel.draw(null);
    this.#answer.draw(null);
    this.#feed.open(null);
    this.#setRequest(null);
    this.#table.markOpen(null);
    set(this.element, "data-record", "none");
    this.#client.closeRecord(record.record).catch((error) => this.#toasts.error("Record", error));
  }

  /** @param {OpenRecord} answer */
  #recordChanged(answer) {
    this.#record = answer;
    this.#panel.draw(answer);
    this.#answer.draw(answer);
    this.#feed.open(answer.record);
    this.#table.markOpen(answer.visitorId ?? null);
    set(this.element, "data-record", "open");
  }

  // --- Join ----------------------------------------------------------------------------------------------------

  /** @param {JoinInput} input */
  async join(input) {
    if (this.#watching(this.#record?.sessionId)) {
      this.#showPane("session");
      return;
    }
    try {
      const request = await this.#client.join(input);
      this.#requestChanged(request, true);
      this.#handover.joined(request);
    } catch (error) {
      this.#toasts.error("Join", error);
    }
  }

  async #cancel() {
    if (!this.#request) return;
    try {
      await this.#client.cancel(this.#request.requestId);
    } catch (error) {
      this.#toasts.error("The request could not be taken back", error);
    }
  }

  /** @param {JoinRequest} request @param {boolean} [own] answers our own join */
  #requestChanged(request, own = false) {
    const known = this.#request?.requestId === request.requestId;
    if (!known && !own) return;
    this.#setRequest(request);
    if (!isPending(request.state) && request.state !== "active") this.#handover.ended(request.sessionId);
    // On a narrow screen the record may be out of sight when the answer comes.
    const unseen = this.#panel.element.offsetParent === null;
    if (unseen && ["declined", "expired", "visitor_gone", "failed"].includes(request.state)) {
      this.#toasts.show(REQUEST[request.state]);
    }
  }

  /** @param {JoinRequest | null} request */
  #setRequest(request) {
    this.#request = request;
    this.#panel.drawRequest(request, isPending(request?.state));
  }

  /**
   * After a lost connection: attach to what was pending, by its session, so that a visitor who has declined meanwhile
   * is not asked again.
   */
  async #resumeRequest() {
    const request = this.#request;
    if (!request || !isPending(request.state)) return;
    try {
      this.#requestChanged(await this.#client.join({ sessionId: request.sessionId }), true);
    } catch {
      this.#setRequest({ ...request, state: "failed", reason: "It was decided while you were offline." });
    }
  }

  // --- Session -------------------------------------------------------------------------------------------------

  /** @param {Ready} ready */
  #ready(ready) {
    // A second ticket for the seat this page already has.
    if (ready.role !== "viewer" || this.#watching(ready.sessionId) || this.#handover.takes(ready)) return;
    this.#takeSeat(ready);
  }

  /** Goes on in the session that the page before in this tab showed: as the same participant, and without a click. */
  async #comeBack() {
    const seat = await takeSeat(this.#client.welcome);
    if (seat && !this.#session) await this.#takeSeat(seat).seated;
  }

  /** @param {Seat} ready */
  #takeSeat(ready) {
    this.#closeSession();
    // The group wants the session's record opened. A tab that opens by itself would cover the screen that is watched.
    const opens = ready.openRecord && !this.#history.hidden;
    const panel = new SessionPanel({
      ready,
      note: noteOf(ready, this.#client.welcome),
      record: opens ? recordLink(ready.sessionId) : null,
      onEnd: () => this.#endSession(ready.sessionId),
      onInvite: (agentId) => this.#client.invite({ sessionId: ready.sessionId, agentId }),
      onEnded: (reason) => this.#panelEnded(panel, reason),
      onClose: () => this.#closeSession(),
      onError: (title, error) => this.#toasts.error(title, error),
    });
    this.#session = panel;
    panel.viewer.on("state", ({ state, detail }) => {
      this.#viewing.guestIsAway(ready.sessionId, state === "reconnecting" && detail === "publisher");
    });
    fill(this.#sessionSlot, panel.element);
    set(this.element, "data-session", "open");
    this.#showPane("session");
    panel.open();
    return panel;
  }

  /** True while the session on screen is this one and has not ended. @param {string | undefined} sessionId */
  #watching(sessionId) {
    const session = this.#session;
    return session !== null && session.sessionId === sessionId && session.viewer.state !== "ended";
  }

  /** @param {string} sessionId */
  #endSession(sessionId) {
    return this.#client.endSession(sessionId);
  }

  /** @param {SessionPanel} panel @param {string} reason */
  #panelEnded(panel, reason) {
    set(this.element, "data-session", "ended");
    if (this.#request?.sessionId === panel.sessionId) this.#setRequest(null);
    // After a lost connection the session's socket alone says so.
    if (isOver(reason)) this.#viewing.ended({ sessionId: panel.sessionId, reason });
    if (panel.isRefused) this.#toasts.show(BACK.title, { text: isOver(reason) ? endReason(reason) : BACK.tooLate });
    if (reason === "left" || panel.isRefused) queueMicrotask(() => this.#session === panel && this.#closeSession());
  }

  #closeSession() {
    if (!this.#session) return;
    const panel = this.#session;
    this.#session = null;
    panel.close();
    this.#handover.left(panel.sessionId);
    fill(this.#sessionSlot);
    set(this.element, "data-session", "none");
    this.#showPane(this.#record ? "record" : "visitors");
  }

  /** @param {string} sessionId @param {string} reason */
  #sessionEnded(sessionId, reason) {
    if (this.#showing.ended({ sessionId, reason })) return;
    this.#handover.ended(sessionId);
    const viewed = this.#viewing.ended({ sessionId, reason });
    const pending = this.#request?.sessionId === sessionId && isPending(this.#request.state);
    if (pending && this.#request) this.#setRequest({ ...this.#request, state: "ended", reason });
    // A session may be over before its ticket was used; the refusal would not say why.
    if (this.#session?.sessionId === sessionId) this.#session.viewer.ended(reason);
    else if (!pending && !viewed) this.#toasts.show("Session ended", { text: endReason(reason) });
  }

  // --- Frame of the page ---------------------------------------------------------------------------------------

  #topBar() {
    return h(
      "header",
      { class: "top" },
      h("div", { class: "logo", "data-light": "lit" }, lantern(), h("span", {}, "Porchlight")),
      this.#connection,
      h("div", { class: "spacer" }),
      this.#showing.button,
      this.#viewing.button,
      this.#group,
      this.#agent,
      this.#history,
      this.#settings,
      this.#options.theme,
      h(
        "button",
        {
          class: "button quiet",
          type: "button",
          "data-test": "sign-out",
          "aria-label": "Sign out",
          onclick: () => this.#options.onSignOut(),
        },
        icon("signOut"),
        h("span", { class: "wide-only" }, "Sign out"),
      ),
    );
  }

  /** @param {Pane} pane */
  #showPane(pane) {
    set(this.element, "data-pane", pane);
    for (const button of this.#nav.children)
      set(button, "aria-pressed", String(button.getAttribute("data-pane") === pane));
  }

  /** Brings what guests are handed, and who they are, into sight. @param {HTMLElement} card */
  #bring(card) {
    this.#showPane("record");
    card.scrollIntoView({ block: "start" });
  }

  /** @param {AgentClientState} state */
  #drawConnection(state) {
    set(this.#connection, "data-state", state);
    set(this.element, "data-connection", state);
    write(this.#connection, CONNECTION[state]);
  }

  /** "/" goes to the filter, as in most lists. @param {KeyboardEvent} event */
  #onKey = (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key !== "/" || event.ctrlKey || event.metaKey || target.closest("input, select, textarea, canvas"))
      return;
    event.preventDefault();
    this.#showPane("visitors");
    this.#table.focusFilter();
  };
}

/** @param {OpenRecord} open @param {RecordInput} input */
function sameRecord(open, input) {
  return open.record.object === input.record.object && open.record.id === input.record.id;
}
