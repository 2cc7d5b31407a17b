// A guest's way in: from what it was told or sent to a ticket (protocol, section 2).
//
// Decides what is asked of `POST /v1/guest`. Does not decide what a refusal is called (the page), nor how the session
// is seen (view.js). Nothing is kept: key and invite are secrets, and stay with who calls.

import { post } from "./post.js";

/** @import { Where } from "./post.js" */

/** What leads into a session: an invite of a link, or the digits somebody typed. @typedef {{ invite: string } | { sessionKey: string, group?: string }} Way */

/** What a guest may tell of itself. @typedef {{ name?: string, email?: string }} About */

/**
 * @typedef {object} LetIn
 * @property {string} ticket single use
 * @property {string} ticketExpiresAt RFC 3339
 * @property {string} sessionId
 * @property {string} participantId
 * @property {"viewer" | "publisher"} role
 * @property {string} kind
 * @property {string} [title] what the agent wrote above the screen
 * @property {string[]} steps what the guest has to allow on its device first
 */

/**
 * Asks to be let in. Rejects with a `RequestError`: `not_found` for every key or link that leads nowhere,
 * `rate_limited` with `retryAfterMs` after too many of them.
 * @param {Way} way @param {About} [about] @param {Where} [where]
 * @returns {Promise<LetIn>}
 */
export function enter(way, { name, email } = {}, where) {
  // What is empty was not told.
  const about = { name: name?.trim() || undefined, email: email?.trim() || undefined };
  return post("/v1/guest", { ...way, ...about }, "ticket", where);
}
