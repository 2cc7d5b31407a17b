// Statistics added up: by day, by agent and together.
//
// Decides the sums and that a day without sessions is a day too. Does not decide what counts (the server): a session
// of two agents is one of each.

/** @import { SessionStats } from "../../lib/past.js" */

/** @typedef {{ sessions: number, accepted: number, declined: number, started: number, durationMs: number, bytes: number }} Sums */

/** The longest time the server tells statistics of. */
export const MOST_DAYS = 400;

const DAY_MS = 86_400_000;

/** @returns {Sums} */
function none() {
  return { sessions: 0, accepted: 0, declined: 0, started: 0, durationMs: 0, bytes: 0 };
}

/**
 * @param {SessionStats[]} rows
 * @param {string} from first day, `2026-01-31` @param {string} until last day
 * @returns {{ days: (Sums & { day: string })[], agents: (Sums & { agentId: string })[], total: Sums }} days in order,
 *   agents by how much they did
 */
export function tally(rows, from, until) {
  /** @type {Map<string, Sums & { day: string }>} */
  const days = new Map(daysBetween(from, until).map((day) => [day, { day, ...none() }]));
  /** @type {Map<string, Sums & { agentId: string }>} */
  const agents = new Map();
  const total = none();
  for (const row of rows) {
    const agent = agents.get(row.agentId) ?? { agentId: row.agentId, ...none() };
    agents.set(row.agentId, agent);
    const day = days.get(row.day);
    for (const sums of [agent, total, ...(day ? [day] : [])]) {
      for (const name of /** @type {(keyof Sums)[]} */ (Object.keys(total))) sums[name] += Number(row[name]);
    }
  }
  return {
    days: [...days.values()],
    agents: [...agents.values()].sort(
      (one, other) => other.sessions - one.sessions || one.agentId.localeCompare(other.agentId),
    ),
    total,
  };
}

/** Days in UTC from one to another, both included. @param {string} from @param {string} until */
export function daysBetween(from, until) {
  const days = [];
  for (let at = Date.parse(from); at <= Date.parse(until) && days.length <= MOST_DAYS; at += DAY_MS) {
    days.push(new Date(at).toISOString().slice(0, 10));
  }
  return days;
}

/** The last days up to today, in UTC. @param {number} count @param {number} now ms */
export function lastDays(count, now) {
  const until = new Date(now).toISOString().slice(0, 10);
  const from = new Date(Date.parse(until) - (count - 1) * DAY_MS).toISOString().slice(0, 10);
  return { from, until };
}

/** The end of a scale that holds a number: 1 to 6, 8, 10, 20, 30, … @param {number} most */
export function scale(most) {
  let step = 1;
  for (;;) {
    for (const factor of [1, 2, 3, 4, 5, 6, 8]) if (factor * step >= most) return factor * step;
    step *= 10;
  }
}
