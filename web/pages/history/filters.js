// Which sessions are asked for: as the address has it, as the form has it, and as the server is asked.
//
// Decides these three forms and the ways between them. Does not decide how the form looks (filter-form.js) nor which
// sessions fit (the server, but for the reason of the end, which it is not asked for).

import { ENDS, KINDS, OUTCOMES, startOfDay, STATES } from "./words.js";

/** @import { RecordQuery, SessionRecord } from "../../lib/past.js" */

/**
 * All that is not empty must hold.
 * @typedef {object} Filter
 * @property {string} range one of {@link RANGES}
 * @property {string} from first day of a range of one's own, `2026-01-31`
 * @property {string} until its last day
 * @property {string} agent
 * @property {string} visitor
 * @property {string} object of the CRM record
 * @property {string} record its ID; without one the object says nothing
 * @property {string} kind
 * @property {string} outcome
 * @property {string} state
 * @property {string} reason of the end
 */

/** Names of time ranges, and how many days of today's and before they hold; 0: all. @type {Record<string, { label: string, days: number }>} */
export const RANGES = {
  today: { label: "Today", days: 1 },
  week: { label: "Last 7 days", days: 7 },
  month: { label: "Last 30 days", days: 30 },
  quarter: { label: "Last 90 days", days: 90 },
  all: { label: "Any time", days: 0 },
  own: { label: "From – until …", days: 0 },
};

/** @type {Filter} */
export const NO_FILTER = Object.freeze({
  range: "month",
  from: "",
  until: "",
  agent: "",
  visitor: "",
  object: "",
  record: "",
  kind: "",
  outcome: "",
  state: "",
  reason: "",
});

const CHOICES = {
  range: RANGES,
  kind: named("SESSION_KIND_", KINDS),
  outcome: named("REQUEST_OUTCOME_", OUTCOMES),
  state: named("SESSION_STATE_", STATES),
  reason: ENDS,
};

/** Names as an address has them: `screen` for `SESSION_KIND_SCREEN`. @param {string} prefix @param {Record<string, unknown>} words */
function named(prefix, words) {
  return Object.fromEntries(Object.keys(words).map((name) => [name.slice(prefix.length).toLowerCase(), true]));
}

/** The filter of an address; what it cannot mean is left out. @param {string} text `agent=alice&kind=screen` @returns {Filter} */
export function parse(text) {
  const given = new URLSearchParams(text.replace(/^\?/, ""));
  /** @type {any} */
  const filter = { ...NO_FILTER };
  for (const name of Object.keys(filter)) {
    const value = (given.get(name) ?? "").trim();
    const choices = /** @type {any} */ (CHOICES)[name];
    if (value && (!choices || Object.hasOwn(choices, value))) filter[name] = value;
  }
  for (const name of ["from", "until"]) {
    if (dayStart(filter[name]) === null) filter[name] = "";
  }
  return filter;
}

/** The address of a filter: what is as usual is left out. @param {Filter} filter */
export function format(filter) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) {
    const idle =
      (filter.range !== "own" && (name === "from" || name === "until")) || (name === "object" && !filter.record);
    if (value && !idle && value !== /** @type {any} */ (NO_FILTER)[name]) given.set(name, value);
  }
  return given.toString();
}

/** How many conditions there are beside the time. @param {Filter} filter */
export function conditions(filter) {
  return ["agent", "visitor", "record", "kind", "outcome", "state", "reason"].filter(
    (name) => /** @type {any} */ (filter)[name],
  ).length;
}

/** What the server is asked. @param {Filter} filter @param {number} now ms @returns {RecordQuery} */
export function query(filter, now) {
  const { from, until } = span(filter, now);
  const upper = (/** @type {string} */ prefix, /** @type {string} */ name) => prefix + name.toUpperCase();
  return {
    ...(from !== null && { from: new Date(from).toISOString() }),
    ...(until !== null && { until: new Date(until).toISOString() }),
    ...(filter.agent && { agentId: filter.agent }),
    ...(filter.visitor && { visitorId: filter.visitor }),
    ...(filter.record && { record: { object: filter.object, id: filter.record } }),
    ...(filter.kind && { kind: upper("SESSION_KIND_", filter.kind) }),
    ...(filter.outcome && { outcome: upper("REQUEST_OUTCOME_", filter.outcome) }),
    ...(filter.state && { state: upper("SESSION_STATE_", filter.state) }),
  };
}

/** Whether a record fits what the server is not asked. @param {Filter} filter @param {SessionRecord} record */
export function fits(filter, { endReason }) {
  return !filter.reason || endReason === filter.reason;
}

/**
 * From when until when, by the days here; null where there is no end.
 * @param {Pick<Filter, "range" | "from" | "until">} filter @param {number} now ms
 * @returns {{ from: number | null, until: number | null }}
 */
export function span({ range, from, until }, now) {
  if (range === "own") {
    const last = dayStart(until);
    return { from: dayStart(from), until: last === null ? null : daysAfter(last, 1) };
  }
  const { days } = RANGES[range];
  return { from: days ? daysAfter(startOfDay(now), 1 - days) : null, until: null };
}

/** What is wrong with a range of one's own, if anything. @param {Filter} filter */
export function rangeProblem({ range, from, until }) {
  return range === "own" && from && until && from > until ? "The first day is after the last one." : "";
}

/** Midnight here some days later, also over a change of the clocks. @param {number} day @param {number} days */
function daysAfter(day, days) {
  const date = new Date(day);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + days).getTime();
}

/** @param {string} text `2026-01-31` @returns {number | null} midnight here */
function dayStart(text) {
  const [, year, month, day] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text) ?? [];
  if (!year) return null;
  const date = new Date(Number(year), Number(month) - 1, Number(day));
  return date.getMonth() === Number(month) - 1 ? date.getTime() : null;
}
