// Signing in: from what an agent knows to an agent token, and from one token to the next (protocol, section 2).
//
// Decides the HTTP calls, how their failures read and when a token is renewed. Does not decide what becomes of a
// connection whose token was refused (agent.js) nor where a token is kept (the host).

import { post } from "./post.js";

/** @import { Agent } from "./wire.js" */
/** @import { Where } from "./post.js" */
/** @import { RequestError } from "./socket.js" */

/** Part of a token's life after which it is renewed: at half twice the renewals, near 1 no time for a second try. */
const RENEW_AT = 0.8;
/** Longest pause before another try at renewing, and its part of what is left: a short life gets several tries too. */
const RENEW_RETRY_MS = 15_000;
const RENEW_RETRY_PART = 0.25;
/** Two ends closer than this are the same: the server counts in seconds. */
const SAME_END_MS = 1_000;
/** Longest delay a browser timer can hold. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** @typedef {{ group: string, address: string, password: string }} PasswordCredentials */
/** @typedef {{ group: string, partnerUserId: string, loginKey: string }} LoginKeyCredentials */
/** @typedef {{ token: string, expiresAt: string, agent: Agent }} SignedIn */

/**
 * Signs an agent in, with a password or with a login key minted by the company's own systems.
 * Rejects with a {@link RequestError}: the server's code, or `unreachable`.
 * @param {PasswordCredentials | LoginKeyCredentials} credentials
 * @param {Where} [where]
 * @returns {Promise<SignedIn>}
 */
export function signIn(credentials, where) {
  return authenticate(credentials, where);
}

/**
 * Exchanges a token that is still valid for a newer one.
 * @param {string} token
 * @param {Where} [where]
 * @returns {Promise<SignedIn>}
 */
function renew(token, where) {
  return authenticate({ token }, where);
}

/**
 * @typedef {object} KeeperOptions
 * @property {string} token
 * @property {string} [expiresAt] RFC 3339; without it the token is never renewed
 * @property {Where} where
 * @property {(renewed: { token: string, expiresAt: string }) => void} onRenewed
 * @property {(error: RequestError) => void} onError a try at renewing failed; others follow
 * @property {(ending: { expiresAt: string }) => void} [onEnding] nothing will renew the token: it holds until then
 */

/** Holds the newest token and renews it in time, by the server's clock once that is known. */
export class TokenKeeper {
  #options;
  #expiresAt;
  /** Server clock minus ours, ms. */
  #clockOffset = 0;
  /** @type {any} */
  #timer = null;
  token;

  /** @param {KeeperOptions} options */
  constructor(options) {
    this.#options = options;
    this.token = options.token;
    this.#expiresAt = options.expiresAt;
  }

  /** Plans the renewal. @param {string} [serverTime] RFC 3339 */
  start(serverTime) {
    if (serverTime) this.#clockOffset = Date.parse(serverTime) - Date.now() || 0;
    clearTimeout(this.#timer);
    const life = this.#life();
    if (life === null) return;
    const wait = Math.min(Math.max(life * RENEW_AT, 0), MAX_TIMER_MS);
    this.#timer = setTimeout(() => this.#renewInTime(), wait);
  }

  stop() {
    clearTimeout(this.#timer);
  }

  /** Renews now; rejects with a {@link RequestError}. @returns {Promise<SignedIn>} */
  async renew() {
    const signedIn = await renew(this.token, this.#options.where);
    const { token, expiresAt } = signedIn;
    this.token = token;
    this.#expiresAt = expiresAt;
    this.start();
    this.#options.onRenewed({ token, expiresAt });
    return signedIn;
  }

  /** Milliseconds the token has left. */
  #life() {
    if (!this.#expiresAt) return null;
    const life = Date.parse(this.#expiresAt) - (Date.now() + this.#clockOffset);
    return Number.isNaN(life) ? null : life;
  }

  async #renewInTime() {
    const before = this.#expiresAt ?? "";
    try {
      await this.renew();
    } catch (caught) {
      const error = /** @type {RequestError} */ (caught);
      const left = this.#life() ?? 0;
      if (error.code === "unauthorized") {
        this.#end();
      } else if (left > 0) {
        this.#options.onError(error);
        this.#timer = setTimeout(() => this.#renewInTime(), Math.min(RENEW_RETRY_MS, left * RENEW_RETRY_PART));
      }
      return;
    }
    // A token that ends when the last one did: the sign-in is as old as it may get.
    if (Math.abs(Date.parse(this.#expiresAt ?? "") - Date.parse(before)) < SAME_END_MS) this.#end();
  }

  #end() {
    this.stop();
    if (this.#expiresAt) this.#options.onEnding?.({ expiresAt: this.#expiresAt });
  }
}

/** @param {object} body @param {Where} [where] @returns {Promise<SignedIn>} */
function authenticate(body, where) {
  return post("/v1/auth/agent", body, "token", where);
}
