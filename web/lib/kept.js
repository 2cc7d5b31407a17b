// What a page that shares or watches leaves to the next one of its tab, and to itself when the browser starts again.
//
// Decides whether the session may be gone on with: its page has left, or is gone without a word, and not for too long.
// Does not decide what is kept (share.js, view/seat.js), nor whether the server still knows of the session.

/** Life of a resume token after the loss. */
export const RESUME_MS = 60_000;
/** How often a page says that it is still there; in the background browsers make a minute of it. */
export const ALIVE_MS = 5_000;

/**
 * `holder`: what the page held, where it is not the session: several may watch one in the same browser.
 * @typedef {{ server: string, sessionId: string, holder?: string, resumeToken: string, lostAt?: number, aliveAt?: number, note?: any }} Kept
 */

/** Sessions or seats in them that this page holds, and what lets go of them. @type {Map<string, () => void>} */
const held = new Map();

/**
 * Takes the session that the page before in this tab has left, if it may still be resumed.
 * @param {string} key as it was given to `keepAs`
 * @returns {Promise<Kept | null>}
 */
export async function takeKept(key) {
  /** @type {Kept | null} */
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
  return recent && (await hold(kept.holder ?? kept.sessionId, { ifAvailable: true })) ? kept : null;
}

/**
 * Holds a session, or a seat in it, as long as this page is there, against copies of the page in other tabs. False if one of them has it,
 * or it cannot be told: browsers know of locks on secure pages only.
 * @param {string} id of it @param {LockOptions} [options] without them, waits for it
 * @returns {Promise<boolean>}
 */
export function hold(id, options = {}) {
  if (held.has(id)) return Promise.resolve(true);
  return new Promise((resolve) => {
    const locks = globalThis.navigator?.locks;
    const had = locks?.request(`porchlight.${id}`, options, (lock) => {
      resolve(!!lock);
      return lock ? new Promise((release) => held.set(id, () => release(null))) : null;
    });
    // Refused to pages of no origin: their copies are told apart by `lostAt` alone.
    if (had) had.catch(() => resolve(false));
    else resolve(false);
  });
}

/** @param {string} id */
export function letGo(id) {
  held.get(id)?.();
  held.delete(id);
}
