// One `porchlight.v1` conversation over WebSockets that come and go (protocol, sections 3 and 7).
//
// Decides when to connect again, when to give up, and which answer belongs to which request.
// Does not decide what is said: the first message comes from `hello`, everything else from the caller.
// Used by agent.js and the publisher (share/); porchlight.js carries its own smaller version, since it is one file.

/** The subprotocol offered at the upgrade. */
export const SUBPROTOCOL = "porchlight.v1";

/** First step of the back-off: half of it hammers a restarting server, double is felt by people. */
const BACKOFF_BASE_MS = 500;
/** Longest step: a node full of clients comes back within a minute, at a trickle per second. */
const BACKOFF_MAX_MS = 30_000;
/** Who has to be back in time tries at least this often within it, or a cut that is almost as long would outlast it. */
const TRIES_IN_TIME = 12;
/** Longest wait for the welcome or an answer; a healthy server needs milliseconds. */
const ANSWER_MS = 10_000;
/** Back-off starts over only after this long online: a server that accepts and drops is not healthy. */
const SETTLED_MS = 5_000;

/**
 * What a client does about a close code:
 * `told` after the announced delay, `soon` with jitter from the start, `backoff` with the grown step,
 * `credential` once with a new credential, `never`.
 * @typedef {"told" | "soon" | "backoff" | "credential" | "never"} Reconnect
 */

/** @typedef {{ name: string, reconnect: Reconnect }} CloseMeaning */

/** @type {Readonly<Record<number, CloseMeaning>>} */
export const CLOSE = Object.freeze({
  4000: { name: "drain", reconnect: "told" },
  4001: { name: "too_slow", reconnect: "soon" },
  4002: { name: "timeout", reconnect: "soon" },
  4003: { name: "overload", reconnect: "backoff" },
  4400: { name: "bad_message", reconnect: "never" },
  4401: { name: "unauthorized", reconnect: "credential" },
  4403: { name: "forbidden", reconnect: "never" },
  4404: { name: "not_found", reconnect: "never" },
  4408: { name: "replaced", reconnect: "never" },
  4409: { name: "ended", reconnect: "never" },
  4429: { name: "rate_limited", reconnect: "backoff" },
});

/**
 * What a close code means; a code outside the table is a network loss unless it is a refusal (44xx).
 * @param {number} code
 * @returns {CloseMeaning}
 */
export function closeMeaning(code) {
  return CLOSE[code] ?? { name: "lost", reconnect: code >= 4400 && code < 4500 ? "never" : "backoff" };
}

/** Full jitter: a random point of a step that doubles from 0.5 s to 30 s. */
export class Backoff {
  /** @param {{ baseMs?: number, maxMs?: number, random?: () => number }} [options] */
  constructor({ baseMs = BACKOFF_BASE_MS, maxMs = BACKOFF_MAX_MS, random = Math.random } = {}) {
    this.baseMs = baseMs;
    this.maxMs = maxMs;
    this.random = random;
    this.tries = 0;
  }

  /** Milliseconds to wait before the next try. */
  next() {
    const step = Math.min(this.maxMs, this.baseMs * 2 ** Math.min(this.tries, 16));
    this.tries += 1;
    return this.random() * step;
  }

  reset() {
    this.tries = 0;
  }
}

/** An `error` message of the server, or a request that got no answer (`code` then is `timeout` or `lost`). */
export class RequestError extends Error {
  /** How long the server asks to wait before the next try. @type {number | undefined} */
  retryAfterMs;

  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.name = "RequestError";
    this.code = code;
  }
}

/** @typedef {"idle" | "connecting" | "online" | "reconnecting" | "offline" | "stopped"} SocketState */
/** @typedef {{ type: string, id?: number, [field: string]: any }} Message */
/** What ended a connection; `reason` is the server's own word for it, if it said one. @typedef {{ code: number, name: string, reason?: string }} Closing */

/**
 * Why `hello` is asked: for the first connection, for another after a loss, or because the server
 * refused the credential (4401). Asked for `unauthorized` twice without a welcome between: never.
 * @typedef {"first" | "again" | "unauthorized"} HelloReason
 */

/**
 * @typedef {object} SocketOptions
 * @property {string} url
 * @property {string} welcome `type` of the answer to the first message: `connected` or `attached`
 * @property {(reason: HelloReason) => Message | null | Promise<Message | null>} hello the first message;
 *   null or a rejection stops the socket
 * @property {(welcome: Message) => void} [onWelcome]
 * @property {(message: Message) => void} [onMessage] every message that answers no request
 * @property {(data: ArrayBuffer) => void} [onBinary]
 * @property {(state: SocketState, closing: Closing | null) => void} [onState]
 * @property {number} [giveUpMs] stop when no welcome came for this long after a loss (default: never)
 * @property {Environment} [env] for tests
 */

/**
 * What the socket takes from the browser.
 * @typedef {object} Environment
 * @property {new (url: string, protocols: string[]) => WebSocket} WebSocket
 * @property {(run: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} now
 * @property {() => number} random
 * @property {() => boolean} isOnline
 * @property {{ addEventListener(type: string, run: () => void): void, removeEventListener(type: string, run: () => void): void }} target
 *   where `online` and `offline` events arrive
 */

/** @returns {Environment} */
function browserEnvironment() {
  return {
    WebSocket,
    setTimeout: (run, ms) => setTimeout(run, ms),
    clearTimeout: (timer) => clearTimeout(timer),
    now: () => performance.now(),
    random: Math.random,
    isOnline: () => navigator.onLine !== false,
    target: globalThis,
  };
}

/** A conversation that survives its WebSockets. */
export class Socket {
  /** @type {SocketState} */
  #state = "idle";
  /** @type {WebSocket | null} */
  #ws = null;
  /** @type {SocketOptions} */
  #options;
  /** @type {Environment} */
  #env;
  #backoff;
  #nextId = 1;
  /** @type {Map<number, { resolve(answer: Message): void, reject(error: RequestError): void, timer: any }>} */
  #pending = new Map();
  /** @type {any} */
  #retryTimer = null;
  /** @type {any} */
  #welcomeTimer = null;
  /** @type {any} */
  #returnTimer = null;
  /** When the server wants us back, on the clock of `env.now`. @type {number | null} */
  #returnAt = null;
  #onlineSince = 0;
  /** @type {number | null} */
  #lostAt = null;
  #welcomed = false;
  /** @type {HelloReason} */
  #reason = "first";
  /** Raised at each try so that a slow `hello` of an abandoned try is dropped. */
  #attempt = 0;

  /** @param {SocketOptions} options */
  constructor(options) {
    this.#options = options;
    this.#env = options.env ?? browserEnvironment();
    const maxMs = Math.min(BACKOFF_MAX_MS, (options.giveUpMs ?? Infinity) / TRIES_IN_TIME);
    this.#backoff = new Backoff({ random: this.#env.random, maxMs });
  }

  get state() {
    return this.#state;
  }

  /** Bytes handed to the browser and not yet on the wire. */
  get bufferedAmount() {
    return this.#ws?.bufferedAmount ?? 0;
  }

  /** Connects; does nothing when already under way. A stopped socket may be opened again. */
  open() {
    if (this.#state !== "idle" && this.#state !== "stopped") return;
    this.#env.target.addEventListener("online", this.#whenOnline);
    this.#env.target.addEventListener("offline", this.#whenOffline);
    this.#backoff.reset();
    this.#welcomed = false;
    this.#lostAt = null;
    this.#reason = "first";
    this.#connect();
  }

  /** Closes for good. */
  close() {
    this.#stop({ code: 1000, name: "closed" });
  }

  /**
   * Sends a text message; false when there is no conversation to send it in.
   * @param {Message} message
   */
  send(message) {
    if (this.#state !== "online" || !this.#ws) return false;
    this.#ws.send(JSON.stringify(message));
    return true;
  }

  /**
   * Sends a binary message; false when there is no conversation to send it in.
   * @param {Uint8Array<ArrayBuffer>} data
   */
  sendBinary(data) {
    if (this.#state !== "online" || !this.#ws) return false;
    this.#ws.send(data);
    return true;
  }

  /**
   * Sends a request and resolves with its answer. Rejects with {@link RequestError}: the server's
   * code, `timeout`, or `lost` when the connection goes first; a lost request may have been done.
   * @param {Message} message
   * @returns {Promise<Message>}
   */
  request(message) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      if (!this.send({ ...message, id })) {
        reject(new RequestError("lost", `no connection for ${message.type}`));
        return;
      }
      const timer = this.#env.setTimeout(() => {
        this.#pending.delete(id);
        reject(new RequestError("timeout", `no answer to ${message.type}`));
      }, ANSWER_MS);
      this.#pending.set(id, { resolve, reject, timer });
    });
  }

  /**
   * Asks the server for a sign of life; without one in 10 s the connection is replaced.
   * An unknown type is always answered with an `error`, which is sign enough.
   */
  probe() {
    const ws = this.#ws;
    this.request({ type: "ping" }).catch((/** @type {RequestError} */ error) => {
      if (error.code === "timeout" && ws === this.#ws) this.#drop(ws, 4002);
    });
  }

  async #connect() {
    this.#clearTimers();
    this.#returnAt = null;
    const attempt = ++this.#attempt;
    this.#setState(this.#away(), null);
    let hello;
    try {
      hello = await this.#options.hello(this.#reason);
    } catch {
      // The caller has no credential to offer and knows why.
      hello = null;
    }
    if (attempt !== this.#attempt) return;
    if (!hello) {
      this.#stop({ code: 4401, name: "unauthorized" });
      return;
    }
    this.#openWebSocket(hello);
  }

  /** @param {Message} hello */
  #openWebSocket(hello) {
    const ws = new this.#env.WebSocket(this.#options.url, [SUBPROTOCOL]);
    ws.binaryType = "arraybuffer";
    this.#ws = ws;
    this.#welcomeTimer = this.#env.setTimeout(() => this.#drop(ws, 4002), ANSWER_MS);
    ws.onopen = () => ws.send(JSON.stringify(hello));
    ws.onclose = (event) => this.#drop(ws, event.code, event.reason);
    ws.onmessage = (event) => {
      if (ws !== this.#ws) return;
      if (typeof event.data === "string") this.#receive(event.data);
      else this.#options.onBinary?.(event.data);
    };
  }

  /** @param {string} text */
  #receive(text) {
    /** @type {Message} */
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      // A message that is not JSON is none of ours; the server's own checks are the place to find it.
      return;
    }
    if (this.#state !== "online" && message.type === this.#options.welcome) {
      this.#env.clearTimeout(this.#welcomeTimer);
      this.#onlineSince = this.#env.now();
      this.#welcomed = true;
      this.#reason = "again";
      this.#lostAt = null;
      this.#setState("online", null);
      this.#options.onWelcome?.(message);
      return;
    }
    if (message.type === "reconnect") this.#comeBack(Number(message.afterMs) || 0);
    const pending = message.id === undefined ? undefined : this.#pending.get(message.id);
    if (!pending) {
      this.#options.onMessage?.(message);
      return;
    }
    this.#pending.delete(Number(message.id));
    this.#env.clearTimeout(pending.timer);
    if (message.type === "error") pending.reject(new RequestError(message.code, message.message));
    else pending.resolve(message);
  }

  /** The server wants us back after `afterMs`; jitter keeps its clients apart. @param {number} afterMs */
  #comeBack(afterMs) {
    const wait = afterMs + this.#env.random() * Math.max(afterMs, BACKOFF_BASE_MS);
    this.#returnAt = this.#env.now() + wait;
    this.#env.clearTimeout(this.#returnTimer);
    const ws = this.#ws;
    this.#returnTimer = this.#env.setTimeout(() => this.#drop(ws, 4000), wait);
  }

  /**
   * Leaves a WebSocket, whether it closed or we gave it up, and decides what is next.
   * @param {WebSocket | null} ws @param {number} code @param {string} [reason] the server's own word
   */
  #drop(ws, code, reason) {
    if (!ws || ws !== this.#ws) return;
    this.#detach(ws);
    const closing = { code, name: closeMeaning(code).name, ...(reason && { reason }) };
    const wasOnline = this.#state === "online";
    const now = this.#env.now();
    if (wasOnline) this.#lostAt = now;
    if (wasOnline && now - this.#onlineSince >= SETTLED_MS) this.#backoff.reset();
    this.#failPending();
    const { reconnect } = closeMeaning(code);
    const { giveUpMs } = this.#options;
    const late = giveUpMs !== undefined && this.#lostAt !== null && now - this.#lostAt > giveUpMs;
    const refusedTwice = reconnect === "credential" && this.#reason === "unauthorized";
    if (reconnect === "never" || late || refusedTwice) {
      this.#stop(closing);
      return;
    }
    this.#reason = reconnect === "credential" ? "unauthorized" : "again";
    let wait = reconnect === "credential" ? 0 : this.#backoff.next();
    if (this.#returnAt !== null) wait = Math.max(0, this.#returnAt - now);
    this.#setState(this.#away(), closing);
    this.#clearTimers();
    this.#retryTimer = this.#env.setTimeout(() => this.#connect(), wait);
  }

  /** @param {Closing} closing */
  #stop(closing) {
    if (this.#state === "stopped") return;
    this.#attempt += 1;
    this.#clearTimers();
    this.#env.target.removeEventListener("online", this.#whenOnline);
    this.#env.target.removeEventListener("offline", this.#whenOffline);
    if (this.#ws) this.#detach(this.#ws);
    this.#failPending();
    this.#setState("stopped", closing);
  }

  /** @param {WebSocket} ws */
  #detach(ws) {
    ws.onopen = ws.onclose = ws.onmessage = null;
    ws.close();
    this.#ws = null;
  }

  #failPending() {
    for (const { reject, timer } of this.#pending.values()) {
      this.#env.clearTimeout(timer);
      reject(new RequestError("lost", "connection lost"));
    }
    this.#pending.clear();
  }

  #clearTimers() {
    for (const timer of [this.#retryTimer, this.#welcomeTimer, this.#returnTimer]) this.#env.clearTimeout(timer);
  }

  /** The network is back: try at once, or find out whether the connection survived. */
  #whenOnline = () => {
    if (this.#state === "online") this.probe();
    else if (!this.#ws) this.#connect();
  };

  #whenOffline = () => {
    if (this.#state !== "online") this.#setState("offline", null);
  };

  /**
   * What not being online is called. A browser that thinks it is offline still tries: it does not
   * know of servers on this computer, and a vain try costs nothing.
   * @returns {SocketState}
   */
  #away() {
    if (!this.#env.isOnline()) return "offline";
    return this.#welcomed ? "reconnecting" : "connecting";
  }

  /** @param {SocketState} state @param {Closing | null} closing */
  #setState(state, closing) {
    if (this.#state === state) return;
    this.#state = state;
    this.#options.onState?.(state, closing);
  }
}
