// A viewer's seat in its session, as the page leaves it to the next one of its tab.
//
// Decides when it is kept: from the first attach to the end, with the newest resume token. Does not decide who may take
// it (lib/kept.js), nor whether it is still good (the server).

import { ALIVE_MS, hold, letGo } from "../lib/kept.js";

/** @import { Viewer } from "../view.js" */

/**
 * Keeps the seat of a viewer until its session is over or it leaves.
 * @param {Viewer} viewer
 * @param {{ server: string, sessionId: string, keepAs: string, note: unknown }} what `sessionId`: until it is attached
 */
export function keepSeat(viewer, { server, sessionId, keepAs, note }) {
  let holder = "";
  /** Says that this page is still there. @type {any} */
  let alive = null;

  /** @param {number} [lostAt] */
  const keep = (lostAt) => {
    const { attached, resumeToken } = viewer;
    if (!resumeToken || viewer.state === "ended") return;
    const seat = { server, sessionId: attached?.sessionId ?? sessionId, holder, resumeToken, note, lostAt, aliveAt: Date.now() };
    store(keepAs, seat);
  };
  // A page that leaves leaves `lostAt`: what has none is of a page that is still there, or went with its browser.
  const pageHides = () => keep(Date.now());

  addEventListener("pagehide", pageHides);
  viewer.on("attached", ({ participantId }) => {
    holder = participantId;
    hold(holder);
    keep();
    alive ??= setInterval(keep, ALIVE_MS);
  });
  viewer.on("state", ({ state }) => {
    if (state !== "ended") return;
    clearInterval(alive);
    removeEventListener("pagehide", pageHides);
    letGo(holder);
    store(keepAs, null);
  });
}

/** @param {string} key @param {object | null} value */
function store(key, value) {
  try {
    if (value) sessionStorage.setItem(key, JSON.stringify(value));
    else sessionStorage.removeItem(key);
  } catch {
    // Blocked storage: a page loaded again has to join again, and all else works.
  }
}
