// What agents did, by day and by agent.
//
// Decides which time is looked at and how it is drawn. Does not decide what counts (the server, tally.js).

import { sentenceOf, shortName } from "../admin/words.js";
import { fill, h, set, write } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { download, statsFile } from "./export.js";
import { lastDays, scale, tally } from "./tally.js";
import { notice, skeleton } from "./ui.js";
import { amount, grouped, lasted } from "./words.js";

/** @import { SessionStats } from "../../lib/past.js" */
/** @import { Company } from "../admin/company.js" */
/** @import { Sums } from "./tally.js" */

/** @type {[number, string][]} */
const RANGES = [
  [7, "Last 7 days"],
  [30, "Last 30 days"],
  [90, "Last 90 days"],
  [365, "Last 365 days"],
];

const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

/** The section. */
export class StatsPanel {
  #company;
  #onError;
  /** @type {SessionStats[] | null} */
  #rows = null;
  #span = { from: "", until: "" };
  #asked = 0;
  #range = h(
    "select",
    { class: "input", name: "range", "data-test": "stats-range", onchange: () => this.open() },
    ...RANGES.map(([days, label]) => h("option", { value: days }, label)),
  );
  #agent = h("select", { class: "input", name: "agent", "data-test": "stats-agent", onchange: () => this.#draw() });
  #file = h(
    "button",
    {
      class: "button",
      type: "button",
      disabled: true,
      "data-test": "export-stats",
      "aria-label": "Download these statistics as CSV",
      onclick: () => this.#download(),
    },
    icon("download"),
    "CSV",
  );
  #body = h("div", { class: "stack" });
  actions;
  element;

  /** @param {{ company: Company, onError: (title: string, error: unknown) => void }} options */
  constructor({ company, onError }) {
    this.#company = company;
    this.#onError = onError;
    this.#range.value = "30";
    this.actions = h("div", { class: "place-actions" }, this.#file);
    this.element = h(
      "div",
      { class: "stack" },
      h(
        "form",
        { class: "card filter", "aria-label": "Which statistics", onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
        h("label", { class: "field" }, h("span", { class: "label" }, "Time"), this.#range),
        h("label", { class: "field" }, h("span", { class: "label" }, "Agent"), this.#agent),
      ),
      this.#body,
    );
  }

  /** Reads anew. */
  async open() {
    const asked = ++this.#asked;
    const { from, until } = lastDays(Number(this.#range.value), Date.now());
    if (!this.#rows) fill(this.#body, h("section", { class: "card settings-card" }, skeleton(6)));
    set(this.element, "aria-busy", "true");
    try {
      const rows = await this.#company.client.listSessionStats({ from: `${from}T00:00:00Z` });
      if (asked !== this.#asked) return;
      this.#rows = rows;
      this.#span = { from, until };
      this.#offerAgents(rows);
      this.#draw();
    } catch (error) {
      if (asked !== this.#asked) return;
      if (this.#rows) this.#onError("The statistics could not be read", error);
      else this.#failed(error);
    } finally {
      if (asked === this.#asked) set(this.element, "aria-busy", null);
    }
  }

  /** @param {unknown} error */
  #failed(error) {
    const again = h("button", { class: "button", type: "button", onclick: () => this.open() }, "Try again");
    const said = notice("alert", "The statistics could not be read", sentenceOf(error), again, "stats-error");
    fill(this.#body, h("section", { class: "card settings-card" }, said));
  }

  /** Agents of whom there is something, whether they still are agents or not. @param {SessionStats[]} rows */
  #offerAgents(rows) {
    const { agents } = this.#company;
    const chosen = this.#agent.value;
    const ids = [...new Set([...rows.map(({ agentId }) => agentId), ...(chosen ? [chosen] : [])])].sort();
    const options = ids.map((id) => h("option", { value: id }, shortName(id, agents)));
    fill(this.#agent, h("option", { value: "" }, "All agents"), ...options);
    this.#agent.value = chosen;
  }

  #chosen() {
    const agent = this.#agent.value;
    return (this.#rows ?? []).filter(({ agentId }) => !agent || agentId === agent);
  }

  #draw() {
    const rows = this.#chosen();
    const { from, until } = this.#span;
    set(this.#file, "disabled", rows.length === 0);
    if (!rows.length) {
      const text = "Choose a longer time. Only sessions that are logged are counted.";
      fill(this.#body, h("section", { class: "card settings-card" }, notice("stats", "No sessions", text, false, "stats-empty")));
      return;
    }
    const { days, agents, total } = tally(rows, from, until);
    fill(
      this.#body,
      totals(total),
      h(
        "section",
        { class: "card settings-card", "aria-labelledby": "chart-title" },
        h(
          "header",
          { class: "card-head" },
          h("div", {}, h("h2", { class: "card-title", id: "chart-title" }, "By day"), h("p", { class: "help" }, "Days are in UTC, by when a session was asked for.")),
          legend(),
        ),
        chart(days),
      ),
      h(
        "section",
        { class: "card settings-card", "aria-labelledby": "agents-title", "data-test": "stats-agents" },
        h(
          "header",
          { class: "card-head" },
          h(
            "div",
            {},
            h("h2", { class: "card-title", id: "agents-title" }, "By agent"),
            h("p", { class: "help" }, "Sessions an agent asked for or watched. One with two agents counts for both."),
          ),
        ),
        this.#byAgent(agents),
      ),
      h(
        "details",
        { class: "card settings-card by-day" },
        h("summary", {}, "Each day and agent"),
        this.#byDay(rows),
      ),
    );
  }

  /** @param {(Sums & { agentId: string })[]} sums */
  #byAgent(sums) {
    const most = Math.max(...sums.map(({ sessions }) => sessions));
    const rows = sums.map((one) =>
      h(
        "tr",
        { "data-row": one.agentId },
        h("th", { scope: "row" }, shortName(one.agentId, this.#company.agents)),
        h("td", { "data-label": "Sessions", class: "number" }, h("span", { class: "with-bar" }, share(one.sessions / most), grouped(one.sessions))),
        ...figures(one),
      ),
    );
    return table(["Agent", "Sessions", ...FIGURES], rows);
  }

  /** @param {SessionStats[]} stats */
  #byDay(stats) {
    const rows = [...stats].reverse().map((one) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, one.day),
        h("td", { "data-label": "Agent" }, shortName(one.agentId, this.#company.agents)),
        h("td", { "data-label": "Sessions", class: "number" }, grouped(one.sessions)),
        ...figures(one),
      ),
    );
    return table(["Day", "Agent", "Sessions", ...FIGURES], rows);
  }

  #download() {
    const { from, until } = this.#span;
    download(statsFile(this.#chosen()), `session-stats-${from}-${until}.csv`);
  }
}

const FIGURES = ["Accepted", "Declined", "Began", "Time together", "Relayed"];

/** @param {Record<"accepted" | "declined" | "started" | "durationMs" | "bytes", number | string>} one */
function figures({ accepted, declined, started, durationMs, bytes }) {
  const values = [grouped(accepted), grouped(declined), grouped(started), lasted(Number(durationMs)), amount(bytes)];
  return values.map((value, at) => h("td", { "data-label": FIGURES[at], class: "number" }, value));
}

/** @param {string[]} heads @param {HTMLElement[]} rows */
function table(heads, rows) {
  const cells = heads.map((name) =>
    h("th", { scope: "col", class: ["Agent", "Day"].includes(name) ? "" : "number" }, name),
  );
  return h(
    "div",
    { class: "table-frame" },
    h("table", { class: "grid stats" }, h("thead", {}, h("tr", {}, ...cells)), h("tbody", {}, ...rows)),
  );
}

/** @param {Sums} total */
function totals({ sessions, accepted, started, durationMs, bytes }) {
  const part = sessions ? `${Math.round((accepted / sessions) * 100)} %` : "–";
  const tiles = [
    ["Sessions", grouped(sessions), "sessions"],
    ["Accepted", part, "accepted"],
    ["Began", grouped(started), "started"],
    ["Time together", lasted(durationMs), "lasted"],
    ["Average length", started ? lasted(durationMs / started) : "–", "average"],
    ["Relayed", amount(bytes), "bytes"],
  ];
  return h(
    "dl",
    { class: "tiles", "data-test": "stats-totals" },
    ...tiles.map(([name, value, test]) =>
      h("div", { class: "tile card" }, h("dt", {}, name), h("dd", { "data-test": `total-${test}` }, value)),
    ),
  );
}

/** @param {number} part from 0 to 1 */
function share(part) {
  const inner = h("span", { class: "share-part" });
  inner.style.width = `${Math.round(part * 100)}%`;
  return h("span", { class: "share", "aria-hidden": "true" }, inner);
}

function legend() {
  const parts = [
    ["accepted", "Accepted"],
    ["declined", "Declined"],
    ["other", "Neither"],
  ];
  return h(
    "ul",
    { class: "chart-legend" },
    ...parts.map(([kind, label]) => h("li", {}, h("span", { class: "swatch", "data-kind": kind }), label)),
  );
}

/** Bars, one a day. The tables below hold the same in numbers. @param {(Sums & { day: string })[]} days */
function chart(days) {
  const top = scale(Math.max(1, ...days.map(({ sessions }) => sessions)));
  const busiest = days.reduce((best, day) => (day.sessions > best.sessions ? day : best));
  const bars = days.map(({ day, sessions, accepted, declined }) => {
    const column = h("span", {
      class: "bar-column",
      title: `${DAY.format(Date.parse(day))}: ${sessions} ${sessions === 1 ? "session" : "sessions"}, ${accepted} accepted, ${declined} declined`,
    });
    const parts = { other: sessions - accepted - declined, declined, accepted };
    for (const [kind, count] of Object.entries(parts)) {
      if (count <= 0) continue;
      const part = h("span", { class: "bar-part" });
      set(part, "data-kind", kind);
      part.style.height = `${(count / top) * 100}%`;
      column.append(part);
    }
    return column;
  });
  const middle = days[Math.floor((days.length - 1) / 2)];
  const axis = h("div", { class: "chart-axis", "aria-hidden": "true" });
  for (const one of [days[0], middle, days[days.length - 1]]) {
    const label = h("span", {});
    write(label, DAY.format(Date.parse(one.day)));
    axis.append(label);
  }
  const said = `Sessions on each day from ${days[0].day} until ${days[days.length - 1].day}; the most, ${busiest.sessions}, on ${busiest.day}.`;
  return h(
    "figure",
    { class: "chart", "data-test": "chart" },
    h(
      "div",
      { class: "chart-scale", "aria-hidden": "true" },
      ...[grouped(top), top % 2 ? "" : grouped(top / 2), "0"].map((mark) => h("span", {}, mark)),
    ),
    h("div", { class: "chart-bars", role: "img", "aria-label": said, "data-days": days.length }, ...bars),
    axis,
  );
}
