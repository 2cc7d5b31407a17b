// Where a session opens that an agent joined, when not in the page on which Join was pressed.
//
// Decides the address of a session's own page, and the form of the link by which a session is handed to the agent's
// client. Does not decide which of them it is (the server, by the agent's profile: `joinIn`), nor what the page says.

import { serverUrl } from "./post.js";

/** @import { Ready } from "./wire.js" */

/**
 * The page of a session, which joins it by itself.
 * @param {string} sessionId @param {string} [server] base address; default: where this module came from
 */
export function sessionAddress(sessionId, server) {
  return serverUrl(`/s/${encodeURIComponent(sessionId)}`, server);
}

/**
 * The link that hands a session to the agent's client: `porchlight:join#server=…&session=…&ticket=…&expires=…`. No
 * browser sends it anywhere. Its ticket opens one seat, once, within a minute.
 * @param {Ready} ready @param {string} [server] as above
 */
export function clientLink({ sessionId, ticket, ticketExpiresAt }, server) {
  const told = new URLSearchParams({ server: new URL(serverUrl("/", server)).origin, session: sessionId, ticket });
  if (ticketExpiresAt) told.set("expires", ticketExpiresAt);
  return `porchlight:join#${told}`;
}

/**
 * Asks the browser to open the client. Whether one answers no page can tell: offer another way beside it.
 * @param {string} link of {@link clientLink}
 */
export function openClient(link) {
  const anchor = document.createElement("a");
  anchor.href = link;
  anchor.click();
}
