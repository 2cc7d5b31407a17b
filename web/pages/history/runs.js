// Runs of the sync and sinks in words for people.
//
// Decides the words. Does not decide when they are shown (sync.js).

import { ago, counted } from "../admin/words.js";
import { duration } from "../agent/words.js";
import { grouped, spaced } from "./words.js";

/** @import { SinkLane, SinkState, SyncRun } from "../../lib/past.js" */

/** @typedef {"" | "ok" | "warn" | "danger" | "accent"} Tone */

/** @type {Record<string, string>} */
export const CAUSES = {
  SYNC_CAUSE_SCHEDULE: "On schedule",
  SYNC_CAUSE_ASKED: "Asked for",
  SYNC_CAUSE_RETRY: "Again after a failure",
};

/** @type {Record<string, string>} */
export const FREQUENCIES = {
  SYNC_FREQUENCY_HOURLY: "Every hour",
  SYNC_FREQUENCY_EVERY_TWO_HOURS: "Every 2 hours",
  SYNC_FREQUENCY_DAILY: "Every day",
  SYNC_FREQUENCY_NEVER: "Never, only when asked",
};

/** Whether a run goes on. @param {SyncRun | null | undefined} run */
export function running(run) {
  return Boolean(run && !run.endedAt && !run.lost);
}

/** What became of a run. @param {SyncRun} run @returns {{ label: string, tone: Tone }} */
export function outcome(run) {
  if (running(run)) return { label: "Running", tone: "accent" };
  if (run.lost) return { label: "Broken off", tone: "danger" };
  const failed = run.sinks.filter(({ error }) => error).length;
  if (failed === 0) return { label: "Done", tone: "ok" };
  return failed === run.sinks.length ? { label: "Failed", tone: "danger" } : { label: "Partly failed", tone: "warn" };
}

/** Records that all sinks of a run took. @param {SyncRun} run */
export function handedOver({ sinks }) {
  return sinks.reduce((sum, { count }) => sum + Number(count), 0);
}

/** When the next run begins. @param {string | null} at @param {number} now ms */
export function nextRun(at, now) {
  if (!at) return "Not planned";
  const left = Date.parse(at) - now;
  const said = duration(Math.max(0, left));
  return said === "now" ? "any moment now" : `in ${said}`;
}

/** Where a sink leads. @param {SinkState} state @returns {{ kind: string, where: string, icon: import("../agent/icons.js").IconName }} */
export function target({ sink }) {
  if (sink.webhook) return { kind: "Webhook", where: sink.webhook.url, icon: "send" };
  if (sink.redis) return { kind: "Redis stream", where: "The group’s stream in the server’s Redis", icon: "stats" };
  if (sink.file) return { kind: "File", where: "Files of lines in the server’s directory", icon: "record" };
  if (sink.salesforce) return { kind: "Salesforce", where: sink.salesforce.loginUrl, icon: "people" };
  return { kind: "Sink", where: "Of a kind that this page does not know", icon: "arrow" };
}

/** What a sink is handed as it happens. @param {SinkState} state */
export function takes({ sink }) {
  if (sink.everyEvent) return "every event";
  if (!sink.eventKinds.length) return "";
  const kinds = sink.eventKinds.map((kind) => spaced(kind.replace(/^EVENT_KIND_/, "")).toLowerCase());
  return kinds.length > 3 ? counted(kinds.length, "kind of event", "kinds of events") : kinds.join(", ");
}

/** How far a lane is. @param {SinkLane | null} lane @param {string} what @param {number} now ms @returns {{ text: string, tone: Tone, problem: string }} */
export function progress(lane, what, now) {
  const after = lane?.after ?? "0";
  const text = after === "0" ? "Nothing was handed over yet" : `${what} up to no. ${grouped(after)}`;
  if (!lane?.failures) return { text, tone: after === "0" ? "" : "ok", problem: "" };
  const times = `failed ${lane.failures === 1 ? "once" : `${lane.failures} times`} in a row`;
  const again = lane.retryAt ? `, tried again ${nextRun(lane.retryAt, now)}` : "";
  return { text, tone: "danger", problem: `${times}${again}${lane.error ? `: ${lane.error}` : ""}` };
}

/** How a sink is, in one mark. @param {SinkState} state @returns {{ label: string, tone: Tone }} */
export function health(state) {
  if (state.disabledWhy) return { label: "Switched off by the server", tone: "danger" };
  if (state.sink.disabled) return { label: "Switched off", tone: "" };
  const failing = [state.events, state.sessionRecords].some((lane) => lane?.failures);
  if (failing) return { label: "Failing", tone: "danger" };
  if (state.deadLetters !== "0") return { label: "Has dead letters", tone: "warn" };
  return { label: "In order", tone: "ok" };
}

/** The last run in a few words. @param {SyncRun | null} run */
export function lastRun(run) {
  if (!run) return "There was none yet";
  if (running(run)) return "Running now";
  return `${ago(run.endedAt ?? run.startedAt)}, ${counted(handedOver(run), "record")}`;
}
