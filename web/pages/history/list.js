// The list of sessions: filtered, paged, and as a file.
//
// Decides when it is read and how a session reads in one line. Does not decide which sessions there are (the server)
// nor what is told of one (detail.js).

import { counted, moment, sentence, sentenceOf, shortName } from "../admin/words.js";
import { fill, h, set, write } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { download, exportRecords, MOST_EXPORTED } from "./export.js";
import { FilterForm } from "./filter-form.js";
import { fits, format, NO_FILTER, parse, query } from "./filters.js";
import { readOn } from "./pages.js";
import { notice, pressed, skeleton } from "./ui.js";
import { dayName, endWords, exactMoment, grouped, kindWords, lasted, others, startOfDay, timeOfDay, verdict } from "./words.js";

/** @import { SessionRecord } from "../../lib/past.js" */
/** @import { Company } from "../admin/company.js" */
/** @import { Form } from "./export.js" */
/** @import { Filter } from "./filters.js" */

/** Sessions read at a time: about three screens. */
const PAGE = 50;
/** As many as the server tells at once, where all are wanted. */
const WHOLE_PAGE = 200;
/** While sessions on the list run: they change within seconds, and nobody stares at the list. */
const FOLLOW_MS = 3_000;
/** So many at once; on a busy day the newest. */
const FOLLOWED = 10;
/** What was left longer ago than this is read again when one comes back. */
const FRESH_MS = 60_000;

/** What the server calls the filter's fields. @type {Record<string, string>} */
const FIELDS = { visitorId: "The visitor ID", agentId: "The agent", "record.object": "The object", "record.id": "The record ID" };

/** The section. */
export class SessionList {
  #company;
  #onError;
  #form = new FilterForm({ onChange: (filter) => this.#go(filter) });
  /** @type {Filter | null} */
  #filter = null;
  /** As of when the filter's days are. */
  #now = 0;
  /** Counts the questions; an answer to an older one is not shown. */
  #asked = 0;
  #next = "";
  /** The filter of what is on screen. */
  #drawn = "";
  #shown = 0;
  /** @type {{ day: number, body: HTMLElement } | null} */
  #last = null;
  /** Sessions on the list that run, with their lines. @type {Map<string, HTMLElement>} */
  #running = new Map();
  /** @type {any} */
  #timer = null;
  #seen = false;
  #readAt = 0;
  /** @type {AbortController | null} */
  #exporting = null;
  #table = h("table", { class: "grid sessions", "data-test": "sessions-table" });
  #note = h("div", { class: "list-note" });
  #status = h("p", { class: "help", role: "status", "data-test": "list-status" });
  #more = h(
    "button",
    { class: "button", type: "button", hidden: true, "data-test": "more-sessions", onclick: () => this.#load(false) },
    "Show older sessions",
  );
  #frame = h("div", { class: "table-frame", hidden: true }, this.#table);
  #progress = h("p", { class: "export-progress", role: "status", hidden: true, "data-test": "export-progress" });
  #refresh;
  /** Beside the title. */
  actions;
  element;

  /** @param {{ company: Company, onError: (title: string, error: unknown) => void }} options */
  constructor({ company, onError }) {
    this.#company = company;
    this.#onError = onError;
    this.#refresh = h(
      "button",
      { class: "button", type: "button", "aria-label": "Refresh", "data-test": "refresh-sessions", onclick: () => pressed(this.#refresh, () => this.#load(true)) },
      icon("refresh"),
      h("span", {}, "Refresh"),
    );
    this.actions = h(
      "div",
      { class: "place-actions" },
      this.#refresh,
      this.#exportButton("csv", "CSV"),
      this.#exportButton("ndjson", "NDJSON"),
    );
    this.element = h(
      "div",
      { class: "stack" },
      this.#form.element,
      this.#progress,
      h(
        "section",
        { class: "card settings-card list-card", "aria-label": "Sessions found", "data-test": "sessions" },
        this.#note,
        this.#frame,
        h("div", { class: "list-foot" }, this.#status, this.#more),
      ),
    );
    const offerObjects = () => this.#form.offerObjects(company.edition.settings.objects.map(({ object }) => object));
    company.on("agents", (agents) => this.#form.offerAgents(agents));
    company.on("settings", offerObjects);
    this.#form.offerAgents(company.agents);
    offerObjects();
  }

  /** Shows what an address asks for. @param {string} rest @returns {boolean} whether it is as it was left */
  open(rest) {
    this.#seen = true;
    const filter = parse(rest);
    const same = this.#filter && format(filter) === format(this.#filter);
    this.#form.show(filter);
    if (same && this.#shown && Date.now() - this.#readAt < FRESH_MS) {
      this.#follow();
      return true;
    }
    this.#filter = filter;
    this.#load(true);
    return false;
  }

  /** The address of what is on the list. */
  get address() {
    return addressOf(this.#filter ?? NO_FILTER);
  }

  /** Goes on, after nobody looked. */
  goOn() {
    this.#seen = true;
    if (Date.now() - this.#readAt > FRESH_MS) this.#load(true);
    else this.#follow();
  }

  /** Stops following: another section is on screen, or nobody looks. */
  leave() {
    this.#seen = false;
    clearTimeout(this.#timer);
  }

  /** Looks after those that run, a while from now. */
  #follow() {
    clearTimeout(this.#timer);
    if (!this.#seen || !this.#running.size) return;
    this.#timer = setTimeout(async () => {
      const asked = this.#asked;
      const { client } = this.#company;
      const first = [...this.#running.keys()].slice(0, FOLLOWED);
      const found = await Promise.all(first.map((id) => client.getSessionRecord(id).catch(() => null)));
      if (asked !== this.#asked) return;
      for (const record of found) if (record) this.#renew(record);
      this.#follow();
    }, FOLLOW_MS);
  }

  /** Draws a line again. @param {SessionRecord} record */
  #renew(record) {
    const old = this.#running.get(record.sessionId);
    if (!old || old.getAttribute("data-drawn") === drawn(record)) return;
    const row = this.#row(record, record.createdAt ?? "");
    const focused = old.contains(document.activeElement);
    old.replaceWith(row);
    if (focused) row.querySelector("a")?.focus();
  }

  /** @param {Filter} filter */
  #go(filter) {
    if (this.#filter && format(filter) === format(this.#filter)) return;
    this.#filter = filter;
    // The list stays on screen: this is no other place to go back to.
    history.replaceState(null, "", addressOf(filter));
    this.#load(true);
  }

  /** @param {boolean} anew */
  async #load(anew) {
    const filter = this.#filter ?? NO_FILTER;
    const asked = ++this.#asked;
    if (anew) this.#now = Date.now();
    this.#busy(true, anew);
    try {
      const found = await readOn({
        load: (pageToken) => this.#page(filter, pageToken, filter.reason ? WHOLE_PAGE : PAGE),
        fits: (record) => fits(filter, record),
        pageToken: anew ? "" : this.#next,
        wanted: PAGE,
      });
      if (asked !== this.#asked) return;
      this.#readAt = Date.now();
      this.#drawn = format(filter);
      this.#next = found.nextPageToken;
      const first = this.#put(found.records, anew);
      this.#say(found.seen, found.oldest);
      if (!anew) first?.focus();
      this.#follow();
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#failed(error, anew);
    } finally {
      if (asked === this.#asked) this.#busy(false, anew);
    }
  }

  /** @param {Filter} filter @param {string} pageToken @param {number} pageSize */
  #page(filter, pageToken, pageSize) {
    return this.#company.client.listSessionRecords({
      ...query(filter, this.#now),
      pageSize,
      ...(pageToken && { pageToken }),
    });
  }

  /** @param {boolean} busy @param {boolean} anew */
  #busy(busy, anew) {
    set(this.element, "aria-busy", busy ? "true" : null);
    set(this.#more, "disabled", busy);
    if (busy && anew && !this.#shown) {
      set(this.#frame, "hidden", true);
      fill(this.#note, skeleton());
      write(this.#status, "");
    }
  }

  /** @param {unknown} error @param {boolean} anew */
  #failed(error, anew) {
    const { violations = [] } = /** @type {import("../../lib/admin.js").AdminError} */ (error);
    const stays = this.#shown > 0 && this.#drawn === format(this.#filter ?? NO_FILTER);
    if (!anew || stays) {
      this.#onError("The sessions could not be read", error);
      return;
    }
    // What is on screen is not what was asked for.
    this.#shown = 0;
    this.#running.clear();
    set(this.#frame, "hidden", true);
    if (violations.length) {
      const [{ field, message }] = violations;
      const title = "This cannot be looked for";
      fill(this.#note, notice("search", title, sentence(`${FIELDS[field] ?? field} ${message}`), false, "list-refused"));
      return;
    }
    const again = h("button", { class: "button", type: "button", onclick: () => this.#load(true) }, "Try again");
    fill(this.#note, notice("alert", "The sessions could not be read", sentenceOf(error), again, "list-error"));
  }

  /** @param {SessionRecord[]} records @param {boolean} anew @returns {HTMLElement | null} the first one's link */
  #put(records, anew) {
    if (anew) {
      this.#shown = 0;
      this.#last = null;
      this.#running.clear();
      fill(this.#table, head());
    }
    const rows = records.map((record) => this.#add(record));
    this.#shown += rows.length;
    set(this.#frame, "hidden", this.#shown === 0);
    set(this.#more, "hidden", !this.#next);
    return rows[0]?.querySelector("a") ?? null;
  }

  /** @param {number} seen @param {string | null} oldest */
  #say(seen, oldest) {
    const filter = this.#filter ?? NO_FILTER;
    fill(this.#note);
    if (this.#shown === 0 && !this.#next) {
      const usual = format(filter) === "";
      const clear =
        !usual &&
        h(
          "button",
          { class: "button", type: "button", onclick: () => (this.#form.show(NO_FILTER), this.#go(NO_FILTER)) },
          "Clear the filter",
        );
      const title = usual ? "No sessions in the last 30 days" : "No session fits";
      const text = usual
        ? "Sessions that agents start from a record are listed here. Others are with the setting “Log sessions started outside the CRM”."
        : "Choose a longer time or fewer conditions.";
      fill(this.#note, notice("people", title, text, clear, "list-empty"));
      write(this.#status, "");
      return;
    }
    const sessions = counted(this.#shown, "session");
    // A rare reason: so far was looked, and one may go on.
    const far = filter.reason && this.#next && oldest && seen > 0 ? `, looked through back to ${moment(oldest)}` : "";
    write(this.#status, `${sessions}${this.#next ? " shown" : ""}${far}`);
    write(this.#more, filter.reason ? "Look further back" : "Show older sessions");
  }

  /** @param {SessionRecord} record */
  #add(record) {
    const createdAt = record.createdAt ?? "";
    const day = startOfDay(Date.parse(createdAt));
    if (this.#last?.day !== day) {
      const body = h(
        "tbody",
        {},
        h("tr", { class: "day" }, h("th", { colspan: 6, scope: "rowgroup" }, dayName(createdAt))),
      );
      this.#table.append(body);
      this.#last = { day, body };
    }
    const row = this.#row(record, createdAt);
    this.#last.body.append(row);
    return row;
  }

  /** @param {SessionRecord} record @param {string} createdAt */
  #row(record, createdAt) {
    const { sessionId, state, startedAt, durationMs, endReason, agentIds } = record;
    const { label, tone } = verdict(record);
    const who = others(record);
    const over = state === "SESSION_STATE_ENDED";
    // Where nobody came, the answer says it all.
    const end = over && startedAt && endReason ? endWords(endReason) : "";
    const row = h(
      "tr",
      {
        class: "session-row",
        "data-test": "session-row",
        "data-session-id": sessionId,
        "data-state": state,
        "data-drawn": drawn(record),
      },
      h(
        "th",
        { scope: "row", class: "who-cell" },
        h("a", { class: "row-link", href: `#session/${sessionId}`, "data-test": "open-session" }, who),
        h("span", { class: "muted" }, about(record)),
      ),
      h(
        "td",
        { "data-label": "Asked at" },
        h("time", { datetime: createdAt, title: exactMoment(createdAt) }, timeOfDay(createdAt)),
      ),
      h("td", { "data-label": "Agents" }, agentIds.map((id) => shortName(id, this.#company.agents)).join(", ") || "–"),
      h("td", { "data-label": "Kind" }, kindWords(record)),
      h(
        "td",
        { "data-label": "Lasted", class: "number" },
        over ? lasted(Number(durationMs)) : h("span", { class: "muted" }, "–"),
      ),
      h(
        "td",
        { "data-label": "Outcome", class: "outcome" },
        h(
          "span",
          { class: "outcome-words" },
          h("span", { class: `chip ${tone ?? ""}`, "data-test": "verdict" }, label),
          end && end !== label && h("span", { class: "muted outcome-end" }, end),
        ),
      ),
    );
    if (over) this.#running.delete(sessionId);
    else this.#running.set(sessionId, row);
    return row;
  }

  // --- Files ---------------------------------------------------------------------------------------------------

  /** @param {Form} form @param {string} label */
  #exportButton(form, label) {
    return h(
      "button",
      {
        class: "button",
        type: "button",
        "data-test": `export-${form}`,
        "aria-label": `Download what is found as ${label}`,
        title: `Download what is found as ${label}`,
        onclick: () => this.#export(form),
      },
      icon("download"),
      label,
    );
  }

  /** @param {Form} form */
  async #export(form) {
    if (this.#exporting) return;
    const filter = this.#filter ?? NO_FILTER;
    const stop = new AbortController();
    this.#exporting = stop;
    const count = h("span", {}, "Reading sessions…");
    const cancel = h(
      "button",
      { class: "button small", type: "button", "data-test": "cancel-export", onclick: () => stop.abort() },
      "Cancel",
    );
    fill(this.#progress, h("span", { class: "spinner", "aria-hidden": "true" }), count, cancel);
    set(this.#progress, "hidden", false);
    const now = Date.now();
    try {
      const { blob, count: written, complete } = await exportRecords({
        form,
        load: (pageToken) =>
          this.#company.client.listSessionRecords({
            ...query(filter, now),
            pageSize: WHOLE_PAGE,
            ...(pageToken && { pageToken }),
          }),
        fits: (record) => fits(filter, record),
        onProgress: (read) => write(count, `${counted(read, "session")} read…`),
        signal: stop.signal,
      });
      download(blob, `sessions-${new Date(now).toISOString().slice(0, 10)}.${form}`);
      this.#exported(written, complete, form);
    } catch (error) {
      set(this.#progress, "hidden", true);
      if (!stop.signal.aborted) this.#onError("The file could not be made", error);
    } finally {
      this.#exporting = null;
    }
  }

  /** @param {number} written @param {boolean} complete @param {Form} form */
  #exported(written, complete, form) {
    const done = complete
      ? `The file holds ${grouped(written)} ${written === 1 ? "session" : "sessions"}.`
      : `The file holds the newest ${grouped(MOST_EXPORTED)} sessions and no more: choose a shorter time, or have the command line write them all with “porchlight admin list-session-records --${form}”.`;
    const close = h(
      "button",
      {
        class: "button quiet icon small",
        type: "button",
        "aria-label": "Dismiss",
        onclick: () => set(this.#progress, "hidden", true),
      },
      icon("close"),
    );
    fill(this.#progress, icon(complete ? "check" : "alert"), h("span", { "data-test": "exported" }, done), close);
  }
}

/** @param {Filter} filter */
function addressOf(filter) {
  const text = format(filter);
  return `#sessions${text && `?${text}`}`;
}

/** What a line shows of a session that runs. @param {SessionRecord} record */
function drawn({ state, outcome, agentIds }) {
  return [state, outcome, ...agentIds].join(" ");
}

/** What a session was about: its CRM record. @param {SessionRecord} record */
function about({ record }) {
  return record ? record.name || `${record.object} ${record.id}` : "No CRM record";
}

function head() {
  const cells = ["Visitor", "Asked at", "Agents", "Kind", "Lasted", "Outcome"].map((name) =>
    h("th", { scope: "col", class: name === "Lasted" ? "number" : "" }, name),
  );
  return h("thead", {}, h("tr", {}, ...cells));
}
