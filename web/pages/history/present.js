// Who took part in a session, from when to when, as bars over the session's time.
//
// Decides how stays, control and pauses are drawn. Does not decide who was there (the record).

import { shortName } from "../admin/words.js";
import { h, set } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { clock, exactTime, lasted } from "./words.js";

/** @import { Agent } from "../../lib/company.js" */
/** @import { Attendance, SessionRecord } from "../../lib/past.js" */

/** Narrower parts could not be seen. */
const LEAST_PERCENT = 0.8;

/** @typedef {{ from: string, until: string | null }} Stretch */

/**
 * Where a stretch of time lies in another, in percent.
 * @param {Stretch} part @param {{ from: number, until: number }} whole ms
 */
export function place(part, { from, until }) {
  const length = Math.max(1, until - from);
  const at = (/** @type {number} */ time) => Math.min(100, Math.max(0, ((time - from) / length) * 100));
  const left = Math.min(at(Date.parse(part.from)), 100 - LEAST_PERCENT);
  const right = part.until ? at(Date.parse(part.until)) : 100;
  return { left, width: Math.max(LEAST_PERCENT, right - left) };
}

/** The card. @param {SessionRecord} record @param {Stretch[]} paused @param {Agent[]} agents @param {number} now ms */
export function presentCard(record, paused, agents, now) {
  const { attendance } = record;
  const begin = Math.min(...attendance.map(({ joinedAt }) => Date.parse(joinedAt ?? "")).filter(Number.isFinite));
  const whole = { from: begin, until: record.endedAt ? Date.parse(record.endedAt) : now };
  const together = lengthOf(paused, whole.until);
  return h(
    "section",
    { class: "card settings-card", "aria-labelledby": "present-title", "data-test": "present" },
    h("h2", { class: "card-title", id: "present-title" }, "Who took part"),
    attendance.length
      ? h("ul", { class: "present" }, ...attendance.map((one) => stay(one, record, paused, agents, whole)))
      : h("p", { class: "empty-note" }, "Nobody came: the session never began."),
    record.alsoShown.length > 0 &&
      h("p", { class: "help", "data-test": "also-shown" }, `A screen was shown instead of the page, for ${lasted(lengthOf(screens(record), whole.until))} in all.`),
    paused.length > 0 &&
      h(
        "p",
        { class: "help", "data-test": "pauses" },
        `Paused ${paused.length === 1 ? "once" : `${paused.length} times`}, ${lasted(together)} in all.`,
      ),
  );
}

/** When something else was shown than the session's kind says. @param {SessionRecord} record @returns {Stretch[]} */
function screens({ alsoShown, endedAt }) {
  return alsoShown.map((one) => ({ from: one.shownAt ?? "", until: one.endedAt ?? endedAt }));
}

/** In ms. @param {Stretch[]} parts @param {number} end of what lasts */
function lengthOf(parts, end) {
  return parts.reduce((sum, { from, until }) => sum + (until ? Date.parse(until) : end) - Date.parse(from), 0);
}

/**
 * @param {Attendance} one @param {SessionRecord} record @param {Stretch[]} paused @param {Agent[]} agents
 * @param {{ from: number, until: number }} whole
 */
function stay(one, record, paused, agents, whole) {
  const { participantId, role, agentId, name, joinedAt, leftAt } = one;
  const publishes = role === "PARTICIPANT_ROLE_PUBLISHER";
  const from = joinedAt ?? "";
  // Who was there at the end has left with it.
  const until = leftAt ?? record.endedAt;
  const control = record.control
    .filter((use) => use.participantId === participantId && use.grantedAt)
    .map((use) => ({ from: use.grantedAt ?? "", until: use.endedAt ?? record.endedAt }));
  const length = (until ? Date.parse(until) : whole.until) - Date.parse(from);
  // As the course of the session counts.
  const since = (/** @type {string} */ time) => clock(Date.parse(time) - Date.parse(record.createdAt ?? ""));
  return h(
    "li",
    { class: "stay", "data-test": "stay" },
    h("span", { class: "stay-mark" }, icon(publishes ? "screen" : agentId ? "badge" : "eye")),
    h(
      "div",
      { class: "stay-who" },
      h("strong", {}, agentId ? shortName(agentId, agents) : name || "A guest"),
      h("span", { class: "muted" }, `${agentId ? "Agent" : "Guest"}, ${publishes ? "shared" : "watched"}`),
    ),
    h(
      "span",
      { class: "stay-when" },
      `${exactTime(from)} – ${until ? exactTime(until) : "now"}`,
      h("span", { class: "muted" }, lasted(length)),
    ),
    bar([
      { ...place({ from, until }, whole), kind: publishes ? "shared" : "watched" },
      ...control.map((use) => ({ ...place(use, whole), kind: "control" })),
      ...(publishes ? screens(record).map((part) => ({ ...place(part, whole), kind: "screen" })) : []),
      ...(publishes ? paused.map((pause) => ({ ...place(pause, whole), kind: "paused" })) : []),
    ]),
    control.length > 0 &&
      h(
        "span",
        { class: "stay-note muted" },
        `Had control from ${control.map((use) => `+${since(use.from)} to ${use.until ? `+${since(use.until)}` : "now"}`).join(", ")}`,
      ),
  );
}

/** @param {{ left: number, width: number, kind: string }[]} parts in percent */
function bar(parts) {
  const element = h("span", { class: "stay-bar", "aria-hidden": "true" });
  for (const { left, width, kind } of parts) {
    const part = h("span", { class: "stay-part" });
    set(part, "data-kind", kind);
    part.style.left = `${left}%`;
    part.style.width = `${width}%`;
    element.append(part);
  }
  return element;
}
