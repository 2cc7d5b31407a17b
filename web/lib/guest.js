// A guest's way in: from what it was told or sent to a ticket (protocol, section 2).
//
// Decides what is asked of `POST /v1/guest`, and what the terms are answered. Does not decide what a refusal is called (the page), nor how the session
// is seen (view.js). Nothing is kept: key and invite are secrets, and stay with who calls.

import { post, serverUrl } from "./post.js";

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
 * What a guest has to accept before it shows its screen.
 * @typedef {object} Asked
 * @property {string} sessionId
 * @property {"publisher"} role
 * @property {string} kind
 * @property {string} requestId what the answer names
 * @property {{ name: string }} agent who asks
 * @property {boolean} control the agent may ask for control
 * @property {{ required: boolean, version: string, text?: string, url?: string }} terms
 * @property {string[]} steps
 */

/**
 * Asks to be let in. Whoever is to show its own screen is answered with the terms first, and has no ticket yet:
 * `accept` or `decline` follows. Rejects with a `RequestError`: `not_found` for every key or link that leads nowhere,
 * `rate_limited` with `retryAfterMs` after too many of them.
 * @param {Way} way @param {About} [about] @param {Where} [where]
 * @returns {Promise<LetIn | Asked>}
 */
export function enter(way, about, where) {
  return post("/v1/guest", { ...way, ...told(about) }, ["ticket", "requestId"], where);
}

/** Whether an answer has a ticket, or asks first. @param {LetIn | Asked} answer @returns {answer is LetIn} */
export function isLetIn(answer) {
  return "ticket" in answer;
}

/**
 * The guest says yes to the terms that it was shown.
 * @param {Way} way @param {About | undefined} about @param {Asked} asked @param {Where} [where]
 * @returns {Promise<LetIn>}
 */
export function accept(way, about, asked, where) {
  return post("/v1/guest", { ...way, ...told(about), terms: answer(asked, true) }, "ticket", where);
}

/** The guest says no. @param {Way} way @param {Asked} asked @param {Where} [where] @returns {Promise<void>} */
export async function decline(way, asked, where) {
  await post("/v1/guest", { ...way, terms: answer(asked, false) }, [], where);
}

/**
 * The name of the agent whose page an address is; null where nobody has it.
 * @param {string} address @param {string | null} group @param {Where} [where]
 * @returns {Promise<string | null>}
 */
export async function agentAt(address, group, { server, fetch: fetchWith = fetch } = {}) {
  const query = group ? `?group=${encodeURIComponent(group)}` : "";
  try {
    const url = serverUrl(`/v1/at/${encodeURIComponent(address)}${query}`, server);
    const response = await fetchWith(url, { credentials: "omit", cache: "no-store" });
    const { name } = await response.json();
    return typeof name === "string" ? name : null;
  } catch {
    // The page says the same without a name.
    return null;
  }
}

/** What is empty was not told. @param {About} [about] */
function told({ name, email } = {}) {
  return { name: name?.trim() || undefined, email: email?.trim() || undefined };
}

/** @param {Asked} asked @param {boolean} accepted */
function answer({ requestId, terms }, accepted) {
  return { requestId, accepted, termsVersion: terms.version };
}
