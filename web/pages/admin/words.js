// Times, people and refusals as the pages of admins say them.

import { duration } from "../agent/words.js";

/** @import { Agent } from "../../lib/company.js" */

const DAY = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
});

/** "3 Mar 2026, 14:02". @param {string | null | undefined} time RFC 3339 */
export function moment(time) {
  return time ? DAY.format(new Date(time)) : "";
}

/** "just now", "12 min ago", and the date when that is long ago. @param {string | null | undefined} time RFC 3339 */
export function ago(time) {
  if (!time) return "never";
  const passed = Date.now() - Date.parse(time);
  if (passed > 7 * 86_400_000) return moment(time);
  const said = duration(Math.max(0, passed));
  return said === "now" ? "just now" : `${said} ago`;
}

/** Who made a change: `agent alice`, `key k1`, `operator`. @param {string} by @param {Agent[]} agents */
export function actor(by, agents) {
  const [kind, id] = by.split(/ (.*)/);
  if (kind === "agent" && id) return agentName(id, agents);
  if (kind === "key" && id) return `API key ${id}`;
  if (kind === "operator") return "An operator";
  return by || "Somebody";
}

/** "1 change", "3 changes". @param {number} count @param {string} one @param {string} [many] */
export function counted(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/** A refusal begins with a capital and ends with a full stop. @param {string} text */
export function sentence(text) {
  const trimmed = text.trim();
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

/** @param {string} agentId @param {Agent[]} agents */
export function agentName(agentId, agents) {
  const name = agents.find((one) => one.agentId === agentId)?.name;
  return name && name !== agentId ? `${name} (${agentId})` : agentId;
}

/** An agent in a list, where there is no room for more. @param {string} agentId @param {Agent[]} agents */
export function shortName(agentId, agents) {
  return agents.find((one) => one.agentId === agentId)?.name || agentId;
}

/** A failure as a sentence. @param {unknown} error */
export function sentenceOf(error) {
  return sentence(error instanceof Error ? error.message : String(error));
}
