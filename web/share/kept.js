// What a page that shares leaves to the next one of its tab, and to itself when the browser starts again.
//
// Decides whether the session may be gone on with: its page has left, or is gone without a word, and not for too long.
// Does not decide what is kept (share.js), nor whether the server still knows of the session.

/** Life of a resume token after the loss. */
export const RESUME_MS = 60_000;
/** How often a page says that it is still there; in the background browsers make a minute of it. */
export const ALIVE_MS = 5_000;

/** @typedef {{ server: string, sessionId: string, resumeToken: string, lostAt?: number, aliveAt?: number, note?: any }} KeptShare */

/** Sessions that this page holds, and what lets go of them. @type {Map<string, () => void>} */
const held = new Map();

/**
 * Takes the session that the page before in this tab has left, if it may still be resumed.
 * @param {string} key as it was given to `keepAs`
 * @returns {Promise<KeptShare | null>}
 */
export async function takeKept(key) {
  /** @type {KeptShare | null} */
  let kept;
  try {
    kept = JSON.parse(sessionStorage.getItem(key) ?? "null");
    sessionStorage.removeItem(key);
  } catch {
    return null;
  }
  if (!kept) return null;
  const now = Date.now();
  if (kept.lostAt) return now - kept.lostAt < RESUME_MS ? kept : null;
  // No page has left it. A duplicated tab has a copy of what is in use; after a restart of the browser nobody holds it.
  const recent = now - (kept.aliveAt ?? 0) < 2 * RESUME_MS;
  return recent && (await hold(kept.sessionId, { ifAvailable: true })) ? kept : null;
}

/**
 * Holds a session as long as this page is there, against copies of the page in other tabs. False if one of them has it,
 * or it cannot be told: browsers know of locks on secure pages only.
 * @param {string} sessionId @param {LockOptions} [options] without them, waits for it
 * @returns {Promise<boolean>}
 */
export function hold(sessionId, options = {}) {
  if (held.has(sessionId)) return Promise.resolve(true);
  return new Promise((resolve) => {
    const locks = globalThis.navigator?.locks;
    const had = locks?.request(`porchlight.${sessionId}`, options, (lock) => {
      resolve(!!lock);
      return lock ? new Promise((release) => held.set(sessionId, () => release(null))) : null;
    });
    // Refused to pages of no origin: their copies are told apart by `lostAt` alone.
    if (had) had.catch(() => resolve(false));
    else resolve(false);
  });
}

/** @param {string} sessionId */
export function letGo(sessionId) {
  held.get(sessionId)?.();
  held.delete(sessionId);
}
