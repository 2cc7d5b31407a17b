// The sync: when it runs, what it handed over, and the sinks it feeds.
//
// Decides when that is read and what may be pressed. Does not decide what is handed over nor when (the server).

import { AdminError, RequestIds } from "../../lib/admin.js";
import { ask } from "../admin/dialog.js";
import { ago, counted, moment, sentence, sentenceOf } from "../admin/words.js";
import { fill, h, set, write } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { CAUSES, FREQUENCIES, handedOver, health, lastRun, nextRun, outcome, progress, running, takes, target } from "./runs.js";
import { notice, pressed, skeleton } from "./ui.js";
import { exactMoment, grouped, lasted } from "./words.js";

/** @import { SinkLane, SinkState, SyncRun, SyncStatus } from "../../lib/past.js" */
/** @import { Company } from "../admin/company.js" */

/** Runs read at a time. */
const PAGE = 20;
/** While a run goes on: a run of a few records takes less than this. */
const FOLLOW_MS = 700;
/** Without anything going on: what it says of times to come stays true. */
const IDLE_MS = 30_000;

/** The section. */
export class SyncPanel {
  #company;
  #onDone;
  #onError;
  #ids = new RequestIds();
  /** Counts openings; what was asked for an older one is dropped. */
  #opening = 0;
  /** @type {any} */
  #timer = null;
  /** @type {SyncStatus | null} */
  #status = null;
  /** The newest runs. @type {SyncRun[]} */
  #runs = [];
  /** Those that were asked for behind them. @type {SyncRun[]} */
  #older = [];
  #next = "";
  /** The run that was asked for here, until its end is told. */
  #asked = "";
  #drawn = "";
  #refresh = h(
    "button",
    { class: "button", type: "button", "aria-label": "Refresh", "data-test": "refresh-sync", onclick: () => this.#reread() },
    icon("refresh"),
    h("span", {}, "Refresh"),
  );
  #now = h(
    "button",
    { class: "button primary", type: "button", "data-test": "sync-now", onclick: () => this.#syncNow() },
    icon("send"),
    "Sync now",
  );
  #said = h("p", { class: "visually-hidden", role: "status" });
  #body = h("div", { class: "stack" });
  #summary = h("dl", { class: "tiles sync-tiles", "data-test": "sync-status" });
  #sinks = h("div", { class: "sinks", "data-test": "sinks" });
  #runTable = h("div", {});
  #more = h(
    "button",
    { class: "button", type: "button", hidden: true, "data-test": "more-runs", onclick: () => this.#loadOlder() },
    "Show older runs",
  );
  actions;
  element;

  /**
   * @param {object} options
   * @param {Company} options.company
   * @param {(title: string, text?: string) => void} options.onDone
   * @param {(title: string, error: unknown) => void} options.onError
   */
  constructor({ company, onDone, onError }) {
    this.#company = company;
    this.#onDone = onDone;
    this.#onError = onError;
    this.actions = h("div", { class: "place-actions" }, this.#refresh, this.#now);
    this.element = h("div", { class: "stack" }, this.#said, this.#body);
  }

  /** Reads, and goes on as long as the section is on screen. */
  open() {
    this.#opening += 1;
    if (!this.#status) fill(this.#body, h("section", { class: "card settings-card" }, skeleton(6)));
    this.#read(this.#opening);
  }

  /** Reads again, because somebody asks. */
  #reread() {
    return pressed(this.#refresh, async () => {
      await this.#read(this.#opening);
      write(this.#said, `As of ${exactMoment(new Date().toISOString())}.`);
    });
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
      const [status, { runs, nextPageToken }, sinks] = await Promise.all([
        client.getSyncStatus(),
        client.listSyncRuns({ pageSize: PAGE }),
        client.listSinks(),
        this.#company.reloadSettings(),
      ]);
      if (opening !== this.#opening) return;
      this.#status = status;
      this.#take(runs, nextPageToken);
      this.#draw(sinks);
      const last = runs[0];
      const mine = runs.find(({ runId }) => runId === this.#asked);
      if (mine && !running(mine)) this.#tellEnd(mine);
      const soon = running(last) ? FOLLOW_MS : untilNext(status);
      this.#timer = setTimeout(() => this.#read(opening), soon);
    } catch (error) {
      if (opening === this.#opening) this.#failed(error, opening);
    }
  }

  /** @param {unknown} error @param {number} opening */
  #failed(error, opening) {
    if (this.#status) {
      this.#onError("The sync could not be read", error);
      // Whoever does not sign in again is not asked over and over.
      const again = !(error instanceof AdminError) || error.code !== "unauthorized";
      if (again) this.#timer = setTimeout(() => this.#read(opening), IDLE_MS);
      return;
    }
    const retry = h("button", { class: "button", type: "button", onclick: () => this.open() }, "Try again");
    const said = notice("alert", "The sync could not be read", sentenceOf(error), retry, "sync-error");
    fill(this.#body, h("section", { class: "card settings-card" }, said));
  }

  /** The newest page, and behind it what was asked for before. @param {SyncRun[]} runs @param {string} next */
  #take(runs, next) {
    const last = runs.at(-1);
    const known = new Set(runs.map(({ runId }) => runId));
    const passed = [...this.#runs, ...this.#older].filter(({ runId }) => !known.has(runId));
    // Runs that new ones have pushed off the page stay, if one had asked for what is behind it.
    this.#older = this.#older.length && last ? passed.filter((run) => before(run, last)) : [];
    this.#runs = runs;
    if (!this.#older.length) this.#next = next;
  }

  async #loadOlder() {
    set(this.#more, "disabled", true);
    try {
      const { runs, nextPageToken } = await this.#company.client.listSyncRuns({ pageSize: PAGE, pageToken: this.#next });
      const known = new Set([...this.#runs, ...this.#older].map(({ runId }) => runId));
      this.#older.push(...runs.filter(({ runId }) => !known.has(runId)));
      this.#next = nextPageToken;
      this.#drawRuns();
    } catch (error) {
      this.#onError("The runs could not be read", error);
    } finally {
      set(this.#more, "disabled", false);
    }
  }

  async #syncNow() {
    set(this.#now, "disabled", true);
    write(this.#said, "The sync begins.");
    try {
      const { runId } = await this.#company.client.syncNow(this.#ids.for("sync"));
      this.#asked = runId;
      this.#ids.decided();
      await this.#read(this.#opening);
    } catch (error) {
      this.#ids.failed(error);
      this.#onError("The sync could not begin", error);
    } finally {
      set(this.#now, "disabled", running(this.#runs[0]));
    }
  }

  /** @param {SyncRun} run */
  #tellEnd(run) {
    this.#asked = "";
    const { label } = outcome(run);
    const count = counted(handedOver(run), "record");
    if (label === "Done") this.#onDone("The sync is done", `${count} handed over.`);
    else this.#onError("The sync did not go through", new Error(`${label}: ${count} handed over.`));
  }

  // --- What is drawn -------------------------------------------------------------------------------------------

  /** @param {SinkState[]} sinks */
  #draw(sinks) {
    const { nextRunAt, lastRun: last } = /** @type {SyncStatus} */ (this.#status);
    const now = Date.now();
    set(this.#now, "disabled", running(last));
    write(/** @type {Node} */ (this.#now.lastChild), running(last) ? "Running…" : "Sync now");
    const { syncFrequency } = this.#company.edition.settings;
    fill(
      this.#summary,
      tile("Next sync", nextRun(nextRunAt, now), nextRunAt ? exactMoment(nextRunAt) : "", "next-sync"),
      tile("Last sync", lastRun(last), last ? exactMoment(last.endedAt ?? last.startedAt) : "", "last-sync"),
      tile(
        "Frequency",
        FREQUENCIES[syncFrequency] ?? syncFrequency,
        h("a", { href: "/settings#settings" }, "Change in settings"),
        "frequency",
      ),
    );
    // Drawn again only when something changed: what has the focus keeps it.
    const drawn = JSON.stringify(sinks);
    if (drawn !== this.#drawn) {
      this.#drawn = drawn;
      fill(this.#sinks, ...(sinks.length ? sinks.map((state) => this.#sink(state, now)) : [noSinks()]));
    }
    this.#drawRuns();
    if (!this.#summary.isConnected) this.#compose();
  }

  #compose() {
    fill(
      this.#body,
      this.#summary,
      h(
        "section",
        { class: "card settings-card", "aria-labelledby": "sinks-title" },
        h(
          "header",
          { class: "card-head" },
          h(
            "div",
            {},
            h("h2", { class: "card-title", id: "sinks-title" }, "Sinks"),
            h("p", { class: "help" }, "Where events and records of ended sessions leave the server by themselves."),
          ),
        ),
        this.#sinks,
      ),
      h(
        "section",
        { class: "card settings-card", "aria-labelledby": "runs-title", "data-test": "runs" },
        h("h2", { class: "card-title", id: "runs-title" }, "Runs"),
        this.#runTable,
        h("div", { class: "more" }, this.#more),
      ),
    );
  }

  #drawRuns() {
    const runs = [...this.#runs, ...this.#older];
    set(this.#more, "hidden", !this.#next);
    if (!runs.length) {
      fill(this.#runTable, h("p", { class: "empty-note" }, "The sync has not run yet."));
      return;
    }
    const heads = ["Began", "Why", "Took", "Records", "Outcome"].map((name) =>
      h("th", { scope: "col", class: name === "Records" || name === "Took" ? "number" : "" }, name),
    );
    fill(
      this.#runTable,
      h(
        "div",
        { class: "table-frame" },
        h(
          "table",
          { class: "grid runs", "data-test": "runs-table" },
          h("thead", {}, h("tr", {}, ...heads)),
          h("tbody", {}, ...runs.map(runRow)),
        ),
      ),
    );
  }

  /** @param {SinkState} state @param {number} now */
  #sink(state, now) {
    const { sink, disabledWhy, deadLetters } = state;
    const { kind, where, icon: iconName } = target(state);
    const { label, tone } = health(state);
    const events = takes(state);
    const test = h(
      "button",
      { class: "button small", type: "button", "data-test": "test-sink", "aria-label": `Test ${sink.sinkId}` },
      "Test",
    );
    const said = h("p", { class: "sink-said", role: "status", hidden: true, "data-test": "sink-said" });
    test.addEventListener("click", () => this.#test(sink.sinkId, test, said));
    const replay =
      deadLetters !== "0" &&
      h(
        "button",
        {
          class: "button small",
          type: "button",
          "data-test": "replay",
          "aria-label": `Send the dead letters of ${sink.sinkId} again`,
          onclick: () => this.#replay(state),
        },
        `Replay ${grouped(deadLetters)}`,
      );
    return h(
      "article",
      { class: "sink", "data-test": "sink", "data-sink-id": sink.sinkId, "aria-label": sink.sinkId },
      h("span", { class: "sink-mark" }, icon(iconName)),
      h(
        "div",
        { class: "sink-body" },
        h("h3", {}, sink.sinkId, h("span", { class: `chip ${tone}`, "data-test": "sink-health" }, label)),
        h("p", { class: "sink-where" }, h("span", { class: "muted" }, `${kind} · `), h("span", { class: kind === "Webhook" ? "mono" : "" }, where)),
        disabledWhy && h("p", { class: "problem" }, `${sentence(disabledWhy)} It goes on where it was when it is put again.`),
        h(
          "ul",
          { class: "lanes" },
          events && laneLine("Events", `${events}. `, state.events, now),
          sink.sessionRecords && laneLine("Records", "", state.sessionRecords, now),
          deadLetters !== "0" &&
            h(
              "li",
              { "data-tone": "warn" },
              `${counted(Number(deadLetters), "letter")} put aside, not taken for 24 hours.`,
            ),
        ),
        said,
      ),
      h("div", { class: "sink-actions" }, test, replay),
    );
  }

  /** @param {string} sinkId @param {HTMLButtonElement} button @param {HTMLElement} said */
  async #test(sinkId, button, said) {
    const ids = new RequestIds();
    button.disabled = true;
    write(button, "Testing…");
    try {
      const error = await this.#company.client.testSink(sinkId, ids.for(sinkId));
      write(said, error ? `It did not take the test: ${error}` : "It took the test.");
      set(said, "data-tone", error ? "danger" : "ok");
    } catch (error) {
      write(said, sentenceOf(error));
      set(said, "data-tone", "danger");
    } finally {
      set(said, "hidden", false);
      button.disabled = false;
      write(button, "Test");
    }
  }

  /** @param {SinkState} state */
  async #replay({ sink, deadLetters }) {
    const ids = new RequestIds();
    let told = "";
    const done = await ask({
      title: `Send dead letters to “${sink.sinkId}” again?`,
      text: [
        `${counted(Number(deadLetters), "letter")} ${deadLetters === "1" ? "was" : "were"} put aside. The oldest 20 are sent again, in order and under their IDs, until one is not taken.`,
      ],
      action: "Send again",
      run: async () => {
        const { delivered, left, error } = await this.#company.client.replayDeadLetters(sink.sinkId, ids.for("replay"));
        ids.decided();
        if (error && delivered === "0") throw new Error(`None was taken: ${error}`);
        told = `${grouped(delivered)} taken, ${grouped(left)} left.${error ? ` Then: ${error}` : ""}`;
      },
    });
    if (done) this.#onDone("Dead letters were sent again", told);
    this.#read(this.#opening);
  }
}

/** @param {SyncStatus} status */
function untilNext({ nextRunAt }) {
  const left = nextRunAt ? Date.parse(nextRunAt) - Date.now() : Infinity;
  // Just behind its time, so that it is seen running.
  return Math.min(IDLE_MS, Math.max(FOLLOW_MS, left + FOLLOW_MS));
}

/** @param {SyncRun} run @param {SyncRun} other */
function before(run, other) {
  return Date.parse(run.startedAt ?? "") <= Date.parse(other.startedAt ?? "");
}

/** @param {string} name @param {string} value @param {Node | string} note @param {string} test */
function tile(name, value, note, test) {
  return h(
    "div",
    { class: "tile card" },
    h("dt", {}, name),
    h("dd", { "data-test": test }, value),
    note && h("dd", { class: "tile-note" }, note),
  );
}

/** @param {string} name @param {string} what @param {SinkLane | null} lane @param {number} now */
function laneLine(name, what, lane, now) {
  const { text, tone, problem } = progress(lane, name, now);
  return h(
    "li",
    { "data-tone": tone },
    what && h("span", { class: "muted" }, sentence(what)),
    what && " ",
    text,
    problem && h("span", { class: "lane-problem" }, sentence(problem)),
  );
}

function noSinks() {
  return h(
    "div",
    { class: "empty-note", "data-test": "no-sinks" },
    h("p", {}, "There is no sink yet: the sync runs, and hands nothing over."),
    h("p", {}, h("code", {}, "porchlight admin put-sink crm --webhook https://… --records")),
  );
}

/** @param {SyncRun} run */
function runRow(run) {
  const { label, tone } = outcome(run);
  const { startedAt, endedAt, cause, sinks } = run;
  const took = startedAt && endedAt ? lasted(Date.parse(endedAt) - Date.parse(startedAt)) : "–";
  const parts = sinks.map(({ sinkId, count, error }) =>
    h(
      "li",
      { "data-tone": error ? "danger" : "" },
      `${sinkId}: ${counted(Number(count), "record")}`,
      error && h("span", { class: "lane-problem" }, sentence(error)),
    ),
  );
  return h(
    "tr",
    { "data-test": "run", "data-run-id": run.runId, "data-outcome": label },
    h(
      "th",
      { scope: "row", class: "who-cell" },
      h("time", { datetime: startedAt ?? "", title: exactMoment(startedAt) }, moment(startedAt)),
      h("span", { class: "muted" }, ago(startedAt)),
    ),
    h("td", { "data-label": "Why" }, CAUSES[cause] ?? "–"),
    h("td", { "data-label": "Took", class: "number" }, took),
    h("td", { "data-label": "Records", class: "number", "data-test": "run-count" }, running(run) ? "–" : grouped(handedOver(run))),
    h(
      "td",
      { "data-label": "Outcome" },
      h(
        "div",
        { class: "run-outcome" },
        h("span", { class: `chip ${tone}` }, label),
        parts.length > 0 && h("ul", { class: "lanes" }, ...parts),
      ),
    ),
  );
}
