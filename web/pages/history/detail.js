// One session: what is left of it, and its course.
//
// Decides when it is read, and that it follows a session that runs. Does not decide what is recorded (the server), how
// the course reads (events.js) nor how consent does (consent.js).

import { AdminError } from "../../lib/admin.js";
import { sentenceOf, shortName } from "../admin/words.js";
import { fill, h, set, write } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { ConsentCard } from "./consent.js";
import { mayControl, pauses } from "./events.js";
import { presentCard } from "./present.js";
import { Timeline } from "./timeline.js";
import { notice, pressed, skeleton } from "./ui.js";
import { amount, endWords, exactMoment, grouped, kindWords, lasted, others, verdict } from "./words.js";

/** @import { RecordReference, SessionEvent, SessionRecord } from "../../lib/past.js" */
/** @import { Company } from "../admin/company.js" */

/** While a session runs: often enough to follow it, and less than a page load each. */
const FOLLOW_MS = 2_000;
/** After it could not be read. */
const AGAIN_MS = 10_000;
/** Pages of events read before people are asked: thousands, more than sessions have. */
const PAGES_AT_ONCE = 8;

/** The section. */
export class SessionDetail {
  #company;
  #onError;
  #onTitle;
  #back;
  #sessionId = "";
  /** Counts openings; what was asked for an older one is dropped. */
  #opening = 0;
  /** @type {any} */
  #timer = null;
  /** @type {SessionRecord | null} */
  #record = null;
  /** @type {SessionEvent[]} */
  #events = [];
  #drawn = "";
  #timeline = new Timeline();
  #consent;
  #title = h("h1", { id: "title-session", tabindex: -1 }, "Session");
  #backLink = h("a", { class: "back", href: "#sessions", "data-test": "back" }, icon("back"), "Sessions");
  #marks = h("p", { class: "detail-marks" });
  #open = h(
    "a",
    { class: "button primary", target: "_blank", rel: "opener", hidden: true, "data-test": "open-running" },
    icon("screen"),
    "Open session",
  );
  #refresh;
  #body = h("div", { class: "stack" });
  #facts = h("dl", { class: "facts" });
  #present = h("div", { class: "present-slot" });
  #trimmed = h("p", { class: "help", hidden: true }, "Older events of this session are no longer kept.");
  #moreEvents;
  element;

  /**
   * @param {object} options
   * @param {Company} options.company
   * @param {() => string} options.back address of the list as it was left
   * @param {(title: string) => void} options.onTitle
   * @param {(title: string, error: unknown) => void} options.onError
   */
  constructor({ company, back, onTitle, onError }) {
    this.#company = company;
    this.#back = back;
    this.#onTitle = onTitle;
    this.#onError = onError;
    this.#consent = new ConsentCard(company);
    this.#refresh = h(
      "button",
      { class: "button", type: "button", "aria-label": "Refresh", "data-test": "refresh-session", onclick: () => this.#reread() },
      icon("refresh"),
      h("span", {}, "Refresh"),
    );
    this.#moreEvents = h(
      "button",
      { class: "button", type: "button", hidden: true, onclick: () => this.#read(this.#opening) },
      "Show what came later",
    );
    this.element = h(
      "div",
      { class: "stack", "data-test": "session-detail" },
      h(
        "header",
        { class: "detail-head" },
        this.#backLink,
        h("div", { class: "detail-title" }, this.#title, this.#marks),
        h("div", { class: "place-actions" }, this.#open, this.#refresh),
      ),
      this.#body,
    );
  }

  /** Shows a session. @param {string} sessionId */
  open(sessionId) {
    set(this.#backLink, "href", this.#back());
    if (sessionId !== this.#sessionId) {
      this.#sessionId = sessionId;
      this.#record = null;
      this.#events = [];
      this.#drawn = "";
      this.#timeline = new Timeline();
      this.#consent = new ConsentCard(this.#company);
      write(this.#title, "Session");
      fill(this.#marks);
      set(this.#open, "hidden", true);
      fill(this.#body, h("section", { class: "card settings-card" }, skeleton(6)));
    }
    this.#opening += 1;
    this.#read(this.#opening);
  }

  /** Reads again what is on screen, after it was away. */
  goOn() {
    this.open(this.#sessionId);
  }

  #reread() {
    return pressed(this.#refresh, () => this.#read(this.#opening));
  }

  /** Stops following: another section is on screen, or nobody looks. */
  leave() {
    this.#opening += 1;
    clearTimeout(this.#timer);
  }

  /** @param {number} opening */
  async #read(opening) {
    clearTimeout(this.#timer);
    const { client } = this.#company;
    try {
      // The record first: what it tells is in the events by then.
      const record = await client.getSessionRecord(this.#sessionId);
      const { events, more } = await this.#readEvents(opening);
      if (opening !== this.#opening) return;
      this.#show(record, events, more);
      if (record.state !== "SESSION_STATE_ENDED") {
        this.#timer = setTimeout(() => this.#read(opening), FOLLOW_MS);
      }
    } catch (error) {
      if (opening === this.#opening) this.#failed(error, opening);
    }
  }

  /** @param {number} opening */
  async #readEvents(opening) {
    /** @type {SessionEvent[]} */
    const events = [];
    let more = true;
    for (let pages = 0; more && pages < PAGES_AT_ONCE && opening === this.#opening; pages++) {
      const after = events.at(-1)?.sequence ?? this.#timeline.after;
      const page = await this.#company.client.listSessionEvents(this.#sessionId, after);
      events.push(...page.events);
      more = page.more;
    }
    return { events, more };
  }

  /** @param {unknown} error @param {number} opening */
  #failed(error, opening) {
    const code = error instanceof AdminError ? error.code : "";
    if (this.#record) {
      this.#onError("The session could not be read again", error);
      // Whoever does not sign in again is not asked over and over.
      const follows = this.#record.state !== "SESSION_STATE_ENDED" && code !== "unauthorized";
      if (follows) this.#timer = setTimeout(() => this.#read(opening), AGAIN_MS);
      return;
    }
    // `bad_field`: the address holds no session's ID.
    const none = code === "not_found" || code === "bad_field";
    const again = h("button", { class: "button", type: "button", onclick: () => this.#read(opening) }, "Try again");
    const text = none
      ? "It never was, belongs to another company, or was started outside the CRM and not logged."
      : sentenceOf(error);
    fill(
      this.#body,
      h(
        "section",
        { class: "card settings-card" },
        notice(
          none ? "search" : "alert",
          none ? "There is no record of this session" : "The session could not be read",
          text,
          !none && again,
          none ? "no-session" : "session-error",
        ),
      ),
    );
  }

  /** @param {SessionRecord} record @param {SessionEvent[]} events @param {boolean} more */
  #show(record, events, more) {
    const first = !this.#record;
    this.#record = record;
    this.#events.push(...events.filter(({ sequence }) => BigInt(sequence) > BigInt(this.#timeline.after)));
    const { agents } = this.#company;
    this.#timeline.add(events, { record, agents });
    const running = record.state !== "SESSION_STATE_ENDED";
    // Drawn again only when something changed: a selection and the focus stay.
    const drawn = JSON.stringify([record, this.#events.length]);
    const changed = drawn !== this.#drawn;
    this.#drawn = drawn;
    if (changed) {
      this.#head(record);
      fill(this.#facts, ...this.#factsOf(record));
      this.#consent.show(record);
    }
    // The bars grow as long as it runs.
    if (changed || running) fill(this.#present, presentCard(record, pauses(this.#events), agents, Date.now()));
    set(this.#trimmed, "hidden", this.#events[0]?.kind === "EVENT_KIND_SESSION_CREATED");
    set(this.#moreEvents, "hidden", !more);
    if (first) this.#compose();
  }

  /** Puts the cards in place. */
  #compose() {
    fill(
      this.#body,
      h(
        "section",
        { class: "card settings-card", "aria-label": "Facts", "data-test": "facts" },
        this.#facts,
      ),
      h(
        "div",
        { class: "detail-columns" },
        h("div", { class: "stack detail-side" }, this.#consent.element, this.#present),
        h(
          "section",
          { class: "card settings-card detail-main", "aria-labelledby": "timeline-title" },
          h("h2", { class: "card-title", id: "timeline-title" }, "What happened"),
          this.#trimmed,
          this.#timeline.element,
          this.#moreEvents,
        ),
      ),
    );
  }

  /** @param {SessionRecord} record */
  #head(record) {
    const { agents } = this.#company;
    const who = others(record);
    const by = record.agentIds[0];
    const title = by ? `${who} with ${shortName(by, agents)}` : who;
    const { label, tone } = verdict(record);
    const running = record.state !== "SESSION_STATE_ENDED";
    const chips = [
      h("span", { class: `chip ${tone ?? ""}`, "data-test": "detail-verdict" }, label),
      h("span", { class: "chip", "data-test": "detail-kind" }, kindWords(record)),
      h("span", { class: "muted" }, exactMoment(record.createdAt)),
    ];
    if (this.#title.textContent !== title) {
      write(this.#title, title);
      this.#onTitle(title);
    }
    fill(this.#marks, ...chips);
    set(this.#open, "hidden", !running || record.state === "SESSION_STATE_REQUESTED");
    set(this.#open, "href", `/s/${record.sessionId}`);
  }

  /** @param {SessionRecord} record */
  #factsOf(record) {
    const { agents } = this.#company;
    const control = mayControl(this.#events);
    const over = record.state === "SESSION_STATE_ENDED";
    const used = record.control.length;
    const shows = record.kind === "SESSION_KIND_SHOW";
    const views = record.kind === "SESSION_KIND_VIEW";
    return [
      fact(shows ? "Shown by" : "Asked by", record.agentIds[0] ? shortName(record.agentIds[0], agents) : "–"),
      shows ? fact("Guests", others(record)) : views ? fact("Guest", others(record)) : fact("Visitor", record.visitorId || "–"),
      fact("CRM record", record.record ? recordLink(record.record) : "None"),
      fact("Lasted", over ? lasted(Number(record.durationMs)) : "Still running", "lasted"),
      fact(shows ? "Opened" : "Asked at", exactMoment(record.createdAt)),
      fact("Began", exactMoment(record.startedAt) || "Never"),
      fact("Ended", exactMoment(record.endedAt) || "–"),
      fact("Why it ended", record.endReason ? endWords(record.endReason) : "–", "end-reason"),
      fact("Relayed", relayed(record), "relayed"),
      fact(
        "Control",
        used ? `Given ${used === 1 ? "once" : `${used} times`}` : control === false ? "Watching only" : "Never given",
      ),
      fact("Session ID", h("code", {}, record.sessionId), "session-id"),
      fact("Request ID", record.requestId ? h("code", {}, record.requestId) : "–"),
    ];
  }
}

/** @param {SessionRecord} record */
function relayed({ state, frames, bytes }) {
  if (state !== "SESSION_STATE_ENDED") return "Told at the end";
  return frames === "0" ? "Nothing" : `${grouped(frames)} ${frames === "1" ? "frame" : "frames"}, ${amount(bytes)}`;
}

/** @param {RecordReference} record */
function recordLink({ object, id, name, url }) {
  const said = name ? `${name} (${object} ${id})` : `${object} ${id}`;
  // What is told as an address comes from an agent's page: only what leads to a page is made a link.
  return /^https?:\/\//i.test(url) ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, said) : said;
}

/** @param {string} name @param {Node | string} value @param {string} [test] */
function fact(name, value, test) {
  return h("div", { class: "fact" }, h("dt", {}, name), h("dd", test ? { "data-test": test } : {}, value));
}
