// What happened in a session, in words for people.
//
// Decides the sentence, the mark and the second line of each kind of event. Does not decide how they are drawn
// (timeline.js) nor what is told (the server); kinds of a newer server are told by their name.

import { shortName } from "../admin/words.js";
import { amount, endSentence, grouped, KINDS, SHARED, spaced } from "./words.js";

/** @import { Agent } from "../../lib/company.js" */
/** @import { SessionEvent, SessionRecord } from "../../lib/past.js" */
/** @import { IconName } from "../agent/icons.js" */

/**
 * @typedef {object} Told
 * @property {IconName} icon
 * @property {"" | "ok" | "warn" | "danger" | "accent"} tone
 * @property {string} text a sentence
 * @property {string} note what there is to say beyond it; empty if nothing
 */

/** Who is who, as far as sentences need it. @typedef {{ record: Pick<SessionRecord, "visitorId" | "attendance" | "kind">, agents: Agent[] }} Cast */

/** @param {string} kind without its prefix */
const WORDS = /** @type {Record<string, (event: SessionEvent, cast: Cast) => Told>} */ ({
  REQUEST_OFFERED: (event, cast) => {
    const { termsRequired = false, termsVersion = "", control = false } = event.offered ?? {};
    const terms = termsRequired
      ? `The terms${termsVersion && ` (version ${termsVersion})`} have to be accepted.`
      : "Nothing has to be accepted.";
    return told("chat", "accent", `${who(event, cast)} asked ${visitor(cast)}.`, [
      terms,
      control && "The agent may ask for control.",
    ]);
  },
  REQUEST_DISPLAYED: (_, cast) => told("eye", "", `The question was on the screen of ${visitor(cast)}.`),
  REQUEST_ACCEPTED: (event, cast) => {
    const { termsRequired = false, termsVersion = "", receiptNumber = "0" } = event.accepted ?? {};
    if (!termsRequired) return told("check", "ok", "Nothing had to be accepted.");
    return told("check", "ok", `${visitor(cast)} accepted the terms.`, [
      termsVersion && `Version ${termsVersion}.`,
      receiptNumber !== "0" && `Receipt no. ${receiptNumber}.`,
    ]);
  },
  REQUEST_DECLINED: (_, cast) => told("close", "danger", `${visitor(cast)} said no.`),
  REQUEST_CANCELLED: (event, cast) => told("close", "", `${who(event, cast)} took the question back.`),
  REQUEST_EXPIRED: () => told("history", "warn", "Nobody answered in time."),
  REQUEST_VISITOR_GONE: (_, cast) => told("leave", "warn", `${visitor(cast)} left before answering.`),
  REQUEST_FAILED: () => told("alert", "danger", "The server could not go on."),
  SESSION_CREATED: (event, cast) => {
    const { kind = "", agentId = "" } = event.created ?? {};
    const by = agentId ? shortName(agentId, cast.agents) : who(event, cast);
    const shared = SHARED[kind] ? `, to see ${SHARED[kind]}` : "";
    const text = kind === "SESSION_KIND_SHOW" ? `${by} began to show a screen.` : `${by} pressed ${verb(kind)}${shared}.`;
    return told("plus", "", text, [event.record && `From the record ${about(event.record)}.`]);
  },
  SESSION_WAITING: (_, cast) =>
    told(
      "history",
      "",
      cast.record.kind === "SESSION_KIND_SHOW" ? "Key and link were handed out." : "Both sides were let in, and are connecting.",
    ),
  SESSION_STARTED: (event, cast) => told("screen", "ok", `${who(event, cast)} shares. The session runs.`),
  SESSION_JOINED: (event, cast) => {
    const publishes = event.person?.role === "PARTICIPANT_ROLE_PUBLISHER";
    return told("people", "", `${person(event, cast)} came to ${publishes ? "share" : "watch"}.`);
  },
  SESSION_LEFT: (event, cast) => told("leave", "", `${person(event, cast)} left.`),
  SESSION_PAUSED: (event, cast) => told("pause", "warn", `${who(event, cast)} paused: nothing was shown.`),
  SESSION_RESUMED: (event, cast) => told("screen", "", `${who(event, cast)} went on.`),
  SESSION_CONTROL_GRANTED: (event, cast) => told("control", "accent", `${person(event, cast)} was given control.`),
  SESSION_CONTROL_REVOKED: () => told("control", "", "Control was over."),
  SESSION_SHOWS: (event, cast) => {
    const screen = event.shows?.kind !== "SESSION_KIND_COBROWSE";
    return told("screen", screen ? "accent" : "", `${who(event, cast)} ${screen ? "shows a screen instead of the page" : "shows the page again"}.`, [
      screen && "Chosen in the browser’s own picker.",
    ]);
  },
  SESSION_ENDED: (event) => {
    const { reason = "", frames = "0", bytes = "0" } = event.ended ?? {};
    const bad = ["failed", "node_lost", "capture_denied"].includes(reason);
    return told("stop", bad ? "danger" : "", endSentence(reason), [
      frames !== "0" && `${grouped(frames)} ${frames === "1" ? "frame" : "frames"}, ${amount(bytes)} relayed.`,
    ]);
  },
  FEED_POSTED: (event) =>
    told("send", "", `Posted to the feed${event.record ? ` of ${about(event.record)}` : ""}.`, [
      event.post?.text && `“${event.post.text}”`,
    ]),
  LEAD_CREATED: (event) =>
    told("badge", "accent", "A guest became a lead.", [
      [event.lead?.name, event.lead?.email].filter(Boolean).join(", "),
    ]),
  RECORD_LOGGED: () => told("record", "", "The session’s record is complete."),
});

/** An event in words. @param {SessionEvent} event @param {Cast} cast @returns {Told} */
export function tell(event, cast) {
  const kind = event.kind.replace(/^EVENT_KIND_/, "");
  return WORDS[kind]?.(event, cast) ?? told("info", "", `${spaced(kind)}.`);
}

/** @param {IconName} icon @param {Told["tone"]} tone @param {string} text @param {(string | false | null | undefined)[]} notes */
function told(icon, tone, text, notes = []) {
  return { icon, tone, text, note: notes.filter(Boolean).join(" ") };
}

/** Who did it. @param {SessionEvent} event @param {Cast} cast */
function who({ actor }, cast) {
  const id = actor?.id ?? "";
  switch (actor?.kind) {
    case "ACTOR_KIND_AGENT":
      return shortName(id, cast.agents);
    case "ACTOR_KIND_VISITOR":
      return id || visitor(cast);
    case "ACTOR_KIND_GUEST":
      return cast.record.attendance.find(({ participantId }) => participantId === id)?.name || "A guest";
    case "ACTOR_KIND_OPERATOR":
      return "An operator";
    case "ACTOR_KIND_API_KEY":
      return `API key ${id}`;
  }
  return "The server";
}

/** @param {SessionEvent} event @param {Cast} cast */
function person({ person: one }, cast) {
  if (one?.agentId) return shortName(one.agentId, cast.agents);
  return one?.name || "A guest";
}

/** @param {Cast} cast */
function visitor({ record }) {
  return record.visitorId || "The guest";
}

/** The button that begins sessions of a kind. @param {string} kind */
function verb(kind) {
  return kind === "SESSION_KIND_VIEW" ? KINDS[kind] : "Join";
}

/** @param {import("../../lib/past.js").RecordReference} record */
function about({ object, id, name }) {
  return name || `${object} ${id}`;
}

/**
 * The times in which the publisher paused, in order; the last one may still last.
 * @param {SessionEvent[]} events
 * @returns {{ from: string, until: string | null }[]}
 */
export function pauses(events) {
  /** @type {{ from: string, until: string | null }[]} */
  const found = [];
  for (const { kind, time } of events) {
    const last = found.at(-1);
    const open = last && last.until === null;
    if (kind === "EVENT_KIND_SESSION_PAUSED" && !open) found.push({ from: time, until: null });
    if (["EVENT_KIND_SESSION_RESUMED", "EVENT_KIND_SESSION_ENDED"].includes(kind) && open) last.until = time;
  }
  return found;
}

/** Whether control may have been asked for; null when it is no longer known. @param {SessionEvent[]} events */
export function mayControl(events) {
  return events.find(({ offered }) => offered)?.offered?.control ?? null;
}
