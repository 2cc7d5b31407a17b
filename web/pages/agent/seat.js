// An agent's seat in a session, over a page that is loaded again and a browser that starts again.
//
// Decides whose seat it was: nobody else who signs in in this tab takes it. Does not decide when it is kept (view/seat.js),
// nor what follows where it can't be taken again (console.js, ../session/page.js).

import { letGo } from "../../lib/kept.js";
import { takeKept } from "../../view.js";

/** @import { Ready, Welcome } from "../../lib/wire.js" */

/** Where a page of this tab finds it. */
export const KEPT_SEAT = "porchlight.seat";

/** Ends of a viewer after which the session may go on. */
const ONLY_HERE = new Set(["left", "lost", "timeout", "unauthorized", "not_found", "forbidden", "replaced", "bad_message"]);

/** A session as an agent takes its seat in it: with a ticket, or again with the token that the page before left. @typedef {Omit<Ready, "ticket"> & { ticket?: string, resumeToken?: string }} Seat */

/** What the next page has to know of a seat besides. @param {Seat} seat @param {Welcome | null} welcome */
export function noteOf({ sessionId, role, kind, visitorId, openRecord }, welcome) {
  return { agentId: welcome?.agent.id, group: welcome?.group, seat: { sessionId, role, kind, visitorId, openRecord } };
}

/**
 * Takes the seat that the page before in this tab had, if it was the same agent's.
 * @param {Welcome | null} welcome @param {string} [sessionId] if no other will do
 * @returns {Promise<Seat | null>}
 */
export async function takeSeat(welcome, sessionId) {
  const kept = await takeKept(KEPT_SEAT);
  const { agentId, group, seat } = kept?.note ?? {};
  const isOurs = welcome && agentId === welcome.agent.id && group === welcome.group;
  if (kept && seat && isOurs && (sessionId ?? seat.sessionId) === seat.sessionId) return { ...seat, resumeToken: kept.resumeToken };
  letGo(kept?.holder ?? "");
  return null;
}

/** Whether a viewer ended with its session. @param {string} reason */
export function isOver(reason) {
  return !ONLY_HERE.has(reason);
}
