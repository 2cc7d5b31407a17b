// What kinds, outcomes, ends and amounts of a session are called in front of people.
//
// Decides the words. Does not decide when they are shown.

import { endReason } from "../agent/words.js";

/** @import { SessionRecord } from "../../lib/past.js" */

/** Names of a value, what it is called in a list, and its tone. @typedef {Record<string, { label: string, tone?: "" | "ok" | "warn" | "danger" | "accent" }>} Words */

/** @type {Record<string, string>} */
export const KINDS = {
  SESSION_KIND_COBROWSE: "Cobrowse",
  SESSION_KIND_SCREEN: "Screen",
  SESSION_KIND_VIEW: "View",
  SESSION_KIND_SHOW: "Show",
};

/** What was shown, in few words: the session's kind, and what was shown besides. @param {Pick<SessionRecord, "kind" | "alsoShown">} record */
export function kindWords({ kind, alsoShown }) {
  const besides = new Set(alsoShown.map((one) => KINDS[one.kind]?.toLowerCase()).filter(Boolean));
  return [KINDS[kind] ?? "Session", ...besides].join(" and ");
}

/** What is shared, as part of a sentence. @type {Record<string, string>} */
export const SHARED = {
  SESSION_KIND_COBROWSE: "the page",
  SESSION_KIND_SCREEN: "the screen",
  SESSION_KIND_VIEW: "the whole screen",
  SESSION_KIND_SHOW: "the agent’s screen",
};

/** @type {Words} */
export const OUTCOMES = {
  REQUEST_OUTCOME_PENDING: { label: "Not answered yet", tone: "accent" },
  REQUEST_OUTCOME_ACCEPTED: { label: "Accepted", tone: "ok" },
  REQUEST_OUTCOME_NOT_REQUIRED: { label: "Nothing to accept", tone: "ok" },
  REQUEST_OUTCOME_DECLINED: { label: "Declined", tone: "danger" },
  REQUEST_OUTCOME_CANCELLED: { label: "Taken back", tone: "" },
  REQUEST_OUTCOME_EXPIRED: { label: "Not answered in time", tone: "warn" },
  REQUEST_OUTCOME_VISITOR_GONE: { label: "Visitor left", tone: "warn" },
  REQUEST_OUTCOME_FAILED: { label: "Failed", tone: "danger" },
};

/** @type {Words} */
export const STATES = {
  SESSION_STATE_REQUESTED: { label: "Asking", tone: "accent" },
  SESSION_STATE_CONNECTING: { label: "Connecting", tone: "accent" },
  SESSION_STATE_ACTIVE: { label: "Running", tone: "ok" },
  SESSION_STATE_ENDED: { label: "Ended", tone: "" },
};

/** Why sessions end, in few words. @type {Record<string, string>} */
export const ENDS = {
  guest_ended: "Ended by the guest",
  agent_ended: "Ended by an agent",
  operator_ended: "Ended by an operator",
  agent_left: "The agent left",
  guest_left: "The guest left",
  declined: "The visitor declined",
  cancelled: "The question was taken back",
  visitor_gone: "The visitor left before answering",
  expired: "Nobody came in time",
  time_limit: "Longest duration reached",
  capture_denied: "Nothing was shared",
  drained: "The server was restarted",
  node_lost: "The server went down",
  failed: "Failed",
};

/** @type {Record<string, string>} */
const MORE_ENDS = {
  declined: "The visitor declined.",
  cancelled: "The question was taken back.",
  visitor_gone: "The visitor left before answering.",
  drained: "The server was restarted.",
  node_lost: "The server went down while the session ran.",
};

/** Why a session ended, as a sentence. @param {string} reason */
export function endSentence(reason) {
  return MORE_ENDS[reason] ?? endReason(reason);
}

/** Why a session ended, in few words. @param {string} reason */
export function endWords(reason) {
  return ENDS[reason] ?? spaced(reason);
}

/** Whom a session was with: the visitor, or the guests who came. @param {Pick<SessionRecord, "visitorId" | "attendance" | "kind">} record */
export function others({ visitorId, attendance, kind }) {
  const guests = new Set(attendance.filter(({ agentId }) => !agentId).map(({ name }) => name || "A guest"));
  return visitorId || [...guests].join(", ") || (kind === "SESSION_KIND_SHOW" ? "Nobody" : "A guest");
}

/** What came of a session, in one mark: how far it is while it runs, the answer where there was none, else how it ended. @param {SessionRecord} record */
export function verdict({ state, outcome, endReason: reason, startedAt }) {
  if (state !== "SESSION_STATE_ENDED") return STATES[state] ?? { label: "Not known", tone: "" };
  if (!startedAt && outcome !== "REQUEST_OUTCOME_ACCEPTED" && outcome !== "REQUEST_OUTCOME_NOT_REQUIRED") {
    return OUTCOMES[outcome] ?? { label: "Ended", tone: "" };
  }
  if (!startedAt) return { label: "Never started", tone: "warn" };
  const bad = ["failed", "node_lost", "capture_denied"].includes(reason);
  return bad ? { label: endWords(reason), tone: "danger" } : { label: "Completed", tone: "ok" };
}

/** "0:07", "12:34", "1:02:03". @param {number} ms */
export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** "less than a second", "48 s", "12 min 5 s", "3 h 20 min". @param {number} ms */
export function lasted(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 1) return ms > 0 ? "less than a second" : "–";
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min${seconds % 60 ? ` ${seconds % 60} s` : ""}`;
  const minutes = Math.floor(seconds / 60) % 60;
  return `${Math.floor(seconds / 3600)} h${minutes ? ` ${minutes} min` : ""}`;
}

/** "812 B", "4.2 MB". @param {number | string} bytes */
export function amount(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = Number(bytes);
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

const NUMBER = new Intl.NumberFormat("en-GB");

/** "12,345". @param {number | string} value */
export function grouped(value) {
  return NUMBER.format(Number(value));
}

/** `some_thing` as "Some thing". @param {string} name */
export function spaced(name) {
  const words = name.replaceAll("_", " ").toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

const DAY_NAME = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", year: "numeric" });
const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const TIME_EXACT = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const MOMENT_EXACT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** "14:02". @param {string} time RFC 3339 */
export function timeOfDay(time) {
  return TIME.format(new Date(time));
}

/** "14:02:37". @param {string} time RFC 3339 */
export function exactTime(time) {
  return TIME_EXACT.format(new Date(time));
}

/** "3 Mar 2026, 14:02:37". @param {string | null | undefined} time RFC 3339 */
export function exactMoment(time) {
  return time ? MOMENT_EXACT.format(new Date(time)) : "";
}

/** "Today", "Yesterday", "Tue, 3 Mar 2026", by the clock here. @param {string} time RFC 3339 @param {number} [now] */
export function dayName(time, now = Date.now()) {
  const day = startOfDay(Date.parse(time));
  if (day === startOfDay(now)) return "Today";
  // Noon of today less a day is yesterday on days of 23 and of 25 hours too.
  if (day === startOfDay(startOfDay(now) + 43_200_000 - 86_400_000)) return "Yesterday";
  return DAY_NAME.format(day);
}

/** Midnight here. @param {number} at ms */
export function startOfDay(at) {
  return new Date(at).setHours(0, 0, 0, 0);
}
