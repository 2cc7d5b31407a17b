// One JSON call over HTTP, for what needs no socket: a sign-in, a guest's way in (protocol, section 2).
//
// Decides how long a call may take and how its failures read. Does not decide what is asked, nor what a refusal is
// called in front of people. Used by token.js and guest.js.

import { RequestError } from "./socket.js";

/** A call that hangs is as bad as one that fails; healthy ones take well under a second. */
const ANSWER_MS = 15_000;

/** @typedef {{ server?: string, fetch?: typeof fetch }} Where */

/**
 * Address of a path on the server.
 * @param {string} path
 * @param {string} [server] base address; default: where this module came from
 * @param {"http" | "ws"} [scheme]
 */
export function serverUrl(path, server = new URL(import.meta.url).origin, scheme = "http") {
  const url = new URL(path, server);
  if (scheme === "ws") url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/**
 * Posts and reads the answer. Rejects with a {@link RequestError}: the server's code, or `unreachable`.
 * @param {string} path @param {object} body
 * @param {string | string[]} expected the field, a text, that every good answer has, or one of them; none: nothing is answered
 * @param {Where} [where]
 * @returns {Promise<any>}
 */
export async function post(path, body, expected, { server, fetch: fetchWith = fetch } = {}) {
  let response;
  try {
    response = await fetchWith(serverUrl(path, server), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      credentials: "omit",
      cache: "no-store",
      signal: AbortSignal.timeout(ANSWER_MS),
    });
  } catch {
    throw new RequestError("unreachable", "The server cannot be reached.");
  }
  const answer = await response.json().catch(() => null);
  const fields = [expected].flat();
  if (response.ok && (!fields.length || fields.some((field) => typeof answer?.[field] === "string"))) return answer;
  const { code, message } = answer?.error ?? {};
  const error = new RequestError(code ?? `http_${response.status}`, message ?? `The server answered ${response.status}.`);
  const seconds = Number(response.headers.get("retry-after"));
  if (seconds > 0) error.retryAfterMs = seconds * 1000;
  throw error;
}
