// The agent's side of Porchlight for CRM components and consoles (protocol, section 5).
//
//   const { token, expiresAt } = await signIn({ group, address, password });
//   const client = new AgentClient({ token, expiresAt });
//   client.on("record", (answer) => draw(answer.buttons));
//   await client.connect();
//   await client.openRecord({ record: { object: "Case", id: "500…" }, fields: { visitorId: "C-1001" } });
//
// Decides: what an agent stands for (watched visitors, live list, open and followed records) and that it is said
// again after every reconnect; that older presence is dropped; that a silent connection is questioned.
// Does not decide: how to reconnect (lib/socket.js), when the token is renewed (lib/token.js), what a button looks
// like (the host), how a session is shown (view.js). Nothing here throws into the void: each failure rejects the
// promise of its call or is an event.

import { Emitter } from "./lib/emitter.js";
import { serverUrl } from "./lib/post.js";
import { clientLink, openClient, sessionAddress } from "./lib/opening.js";
import { RequestError, Socket } from "./lib/socket.js";
import { signIn, TokenKeeper } from "./lib/token.js";

export { clientLink, openClient, RequestError as PorchlightError, sessionAddress, signIn };

/** @import { Welcome, Visitor, FeedItem, RecordRef, RecordInput, OpenRecord, JoinRequest, JoinInput, Ready, Waiting,
 *    LiveQuery, LivePage, LiveDiff, SessionEnded } from "./lib/wire.js" */
/** @import { Message, Closing, SocketState, Environment } from "./lib/socket.js" */

/**
 * IDs in one `watch`: 500 of 62 characters stay under half of the server's 64 KiB message limit; all 1,000 an agent
 * may watch would not fit with their quotes.
 */
const WATCH_CHUNK = 500;

/** @typedef {SocketState | "signed_out"} AgentClientState */

/**
 * Why the conversation is over: `name` is that of the close table (protocol, section 7).
 * @typedef {{ name: string, message: string }} SignedOut
 */

/**
 * @typedef {object} AgentEvents
 * @property {{ state: AgentClientState, closing: Closing | null }} state
 * @property {Welcome} connected after each connect and reconnect
 * @property {SignedOut} signedOut the server will not have this agent back without a new sign-in
 * @property {{ token: string, expiresAt: string }} token renewed
 * @property {{ expiresAt: string }} expiring the sign-in can't be renewed any more; everything goes on until then
 * @property {{ visitor: Visitor }} presence of a watched visitor
 * @property {LivePage} live the whole list: after `watchLive`, a reconnect or a reset
 * @property {LiveDiff} liveDiff
 * @property {OpenRecord} record after `openRecord`, a reconnect or any change
 * @property {JoinRequest} request a step of a Join
 * @property {Ready} ready a session waits for this agent to attach
 * @property {SessionEnded} sessionEnded
 * @property {{ visitorId: string, name: string, data: any }} message from a watched visitor
 * @property {{ item: FeedItem }} feedItem of a followed record
 * @property {Record<string, any>} settings of the group changed
 * @property {RequestError} error about the connection, or about an interest the server refused after a reconnect
 */

/**
 * Something said again after every reconnect, until it is taken back or refused.
 * @typedef {object} Interest
 * @property {Message} message
 * @property {(answer: Message) => void} deliver hands the answer to listeners
 */

/**
 * The agent's conversation. Interests (`watch`, `watchLive`, `openRecord`, `follow`) stated while the connection is
 * away reject with `lost` and are kept: their answers arrive as events once it is back.
 * @extends {Emitter<AgentEvents>}
 */
export class AgentClient extends Emitter {
  #socket;
  #keeper;
  /** @type {any} */
  #silenceTimer = null;
  #heardAt = 0;
  /** The token the running connection was opened with. */
  #tokenInUse = "";
  /** @type {RequestError | null} */
  #lastError = null;
  #signedOut = false;
  /** @type {Set<string>} */
  #watched = new Set();
  /** @type {Map<string, Interest>} */
  #interests = new Map();
  /** Newest version seen on this connection by visitor. @type {Map<string, number>} */
  #versions = new Map();
  /** @type {Welcome | null} */
  welcome = null;

  /**
   * @param {object} options
   * @param {string} options.token from {@link signIn}
   * @param {string} [options.expiresAt]
   * @param {string} [options.server] base address; default: where this script came from
   * @param {typeof fetch} [options.fetch]
   * @param {Environment} [options.env] for tests
   */
  constructor({ token, expiresAt, server, fetch: fetchWith, env }) {
    super();
    this.#keeper = new TokenKeeper({
      token,
      expiresAt,
      where: { server, fetch: fetchWith },
      onRenewed: (renewed) => this.#renewed(renewed),
      onError: (error) => this.#report(error),
      onEnding: (ending) => this.emit("expiring", ending),
    });
    this.#socket = new Socket({
      url: serverUrl("/v1/agent", server, "ws"),
      welcome: "connected",
      hello: (reason) => this.#hello(reason),
      onWelcome: (message) => this.#welcomed(message),
      onMessage: (message) => this.#receive(message),
      onState: (state, closing) => this.#stateChanged(state, closing),
      env,
    });
  }

  /** @returns {AgentClientState} */
  get state() {
    return this.#signedOut ? "signed_out" : this.#socket.state;
  }

  get token() {
    return this.#keeper.token;
  }

  /**
   * Connects, and keeps reconnecting until {@link close}. Resolves with the first welcome; rejects when the server
   * will not have this agent.
   * @returns {Promise<Welcome>}
   */
  connect() {
    return new Promise((resolve, reject) => {
      const stop = [
        this.on("connected", (welcome) => settle(() => resolve(welcome))),
        this.on("signedOut", ({ name, message }) => settle(() => reject(new RequestError(name, message)))),
        this.on("state", ({ state }) => {
          if (state === "stopped") settle(() => reject(new RequestError("closed", "the client was closed")));
        }),
      ];
      const settle = (/** @type {() => void} */ done) => {
        for (const off of stop) off();
        done();
      };
      this.#signedOut = false;
      this.#keeper.start();
      const { welcome } = this;
      if (this.#socket.state === "online" && welcome) settle(() => resolve(welcome));
      else this.#socket.open();
    });
  }

  /** Closes for good and forgets every interest. */
  close() {
    this.#interests.clear();
    this.#watched.clear();
    this.#socket.close();
  }

  // --- Presence ------------------------------------------------------------------------------------------------

  /**
   * Starts pushes of `presence` for these visitors.
   * @param {string[]} visitorIds
   * @returns {Promise<{ visitors: Visitor[] }>}
   */
  async watch(visitorIds) {
    for (const id of visitorIds) this.#watched.add(id);
    const answers = await Promise.all(
      chunks(visitorIds, WATCH_CHUNK).map((ids) => this.#ask({ type: "watch", visitorIds: ids })),
    );
    return { visitors: answers.flatMap((answer) => this.#fresh(answer.visitors)) };
  }

  /** @param {string[]} visitorIds */
  async unwatch(visitorIds) {
    for (const id of visitorIds) {
      this.#watched.delete(id);
      this.#versions.delete(id);
    }
    await this.#takeBack({ type: "unwatch", visitorIds });
  }

  /**
   * Opens the group's live list; the answer also arrives as `live`, changes as `liveDiff`. With a `cursor` it is the
   * next page of the same list, which is not said again after a reconnect.
   * @param {LiveQuery} [query]
   * @returns {Promise<LivePage>}
   */
  async watchLive(query = {}) {
    if (query.cursor !== undefined) return this.#livePage(await this.#ask({ type: "watchLive", ...query }));
    const answer = await this.#stand("live", { type: "watchLive", ...query }, (page) => {
      this.emit("live", this.#livePage(page));
    });
    return this.#livePage(answer);
  }

  async unwatchLive() {
    this.#interests.delete("live");
    await this.#takeBack({ type: "unwatchLive" });
  }

  /**
   * Looks without subscribing.
   * @param {string[]} visitorIds
   * @returns {Promise<{ visitors: Visitor[] }>}
   */
  async lookup(visitorIds) {
    const { visitors } = await this.#ask({ type: "lookup", visitorIds });
    return { visitors };
  }

  /**
   * Sends a signal to the visitor's focused page.
   * @param {string} visitorId @param {string} name @param {any} [data]
   * @returns {Promise<{ delivery: "delivered" | "held" }>}
   */
  async signal(visitorId, name, data = null) {
    const { delivery } = await this.#ask({ type: "signal", visitorId, name, data });
    return { delivery };
  }

  // --- Records -------------------------------------------------------------------------------------------------

  /**
   * Opens a record: its buttons now and, as `record`, at each change until {@link closeRecord}. Where the record's
   * object has Auto Join, a running session of its visitor is joined: `request` and `ready` follow.
   * @param {RecordInput} input
   * @returns {Promise<OpenRecord>}
   */
  async openRecord(input) {
    const message = { type: "openRecord", fields: {}, parents: {}, ...input };
    const answer = await this.#stand(recordKey(input.record), message, (record) => this.#deliverRecord(record));
    // Only here: who comes back after a lost connection is in it already, or has left it.
    if (answer.autoJoin) {
      this.join({ sessionId: answer.sessionId }).then(
        (request) => this.emit("request", request),
        (error) => this.#report(error),
      );
    }
    return /** @type {any} */ (answer);
  }

  /** @param {RecordRef} record */
  async closeRecord(record) {
    this.#interests.delete(recordKey(record));
    await this.#takeBack({ type: "closeRecord", record });
  }

  /** Starts pushes of `feedItem`. @param {RecordRef} record */
  async follow(record) {
    await this.#stand(`follow ${recordKey(record)}`, { type: "follow", record }, () => {});
  }

  /** The server remembers follows, so that this one has to hear of it: it rejects while offline. @param {RecordRef} record */
  async unfollow(record) {
    this.#interests.delete(`follow ${recordKey(record)}`);
    await this.#ask({ type: "unfollow", record });
  }

  /**
   * Reads a page of a record's feed, newest first, and whether this agent follows it.
   * @param {RecordRef} record
   * @param {{ before?: string, after?: string, limit?: number }} [range]
   * @returns {Promise<{ items: FeedItem[], more: boolean, following: boolean }>}
   */
  async feed(record, range = {}) {
    const { items, more, following } = await this.#ask({ type: "feed", record, ...range });
    return { items, more, following };
  }

  // --- Sessions ------------------------------------------------------------------------------------------------

  /**
   * Asks the visitor, or attaches to what is already asked or running. Later steps arrive as `request`, the ticket
   * as `ready`.
   * @param {JoinInput} input
   * @returns {Promise<JoinRequest>}
   */
  async join(input) {
    return /** @type {any} */ (await this.#ask({ type: "join", ...input }));
  }

  /** Takes a pending request back. @param {string} requestId */
  async cancel(requestId) {
    await this.#ask({ type: "cancel", requestId });
  }

  /**
   * Opens a session in which this agent publishes.
   * @param {{ record?: RecordRef, title?: string, traceparent?: string }} [input]
   * @returns {Promise<Ready>}
   */
  async show(input = {}) {
    return /** @type {any} */ (await this.#ask({ type: "show", ...input }));
  }

  /**
   * Opens a session that waits for a guest's screen; `ready` follows when the guest is there.
   * @param {{ record?: RecordRef, control?: boolean, traceparent?: string }} [input]
   * @returns {Promise<Waiting>}
   */
  async view(input = {}) {
    return /** @type {any} */ (await this.#ask({ type: "view", ...input }));
  }

  /**
   * @param {{ sessionId: string, agentId?: string, guest?: { name?: string, email?: string } }} input
   * @returns {Promise<{ link: string, expiresAt: string }>}
   */
  async invite(input) {
    const { link, expiresAt } = await this.#ask({ type: "invite", ...input });
    return { link, expiresAt };
  }

  /** Ends the session for everyone in it. @param {string} sessionId */
  async endSession(sessionId) {
    await this.#ask({ type: "endSession", sessionId });
  }

  // --- Conversation --------------------------------------------------------------------------------------------

  /** @param {Message} message */
  #ask(message) {
    return this.#socket.request(message);
  }

  /** Takes an interest back. While offline the server has already forgotten it. @param {Message} message */
  async #takeBack(message) {
    if (this.#socket.state === "online") await this.#ask(message);
  }

  /**
   * States an interest: kept while the connection is away, forgotten when the server refuses it.
   * @param {string} key @param {Message} message @param {(answer: Message) => void} deliver
   */
  async #stand(key, message, deliver) {
    const interest = { message, deliver };
    this.#interests.set(key, interest);
    try {
      const answer = await this.#ask(message);
      if (this.#interests.get(key) === interest) deliver(answer);
      return answer;
    } catch (error) {
      if (!isLoss(error) && this.#interests.get(key) === interest) this.#interests.delete(key);
      throw error;
    }
  }

  /** @param {"first" | "again" | "unauthorized"} reason */
  async #hello(reason) {
    // Refused with the newest token we have: a renewal is the only hope, and its refusal is the end.
    if (reason === "unauthorized" && this.#tokenInUse === this.token) await this.#keeper.renew();
    this.#tokenInUse = this.token;
    return { type: "connect", token: this.token };
  }

  /**
   * Shows the new token on the running connection, which so outlives the old one with all that it stands for. A
   * server that takes none there closes it in time, and the next one is opened with the new token.
   * @param {{ token: string, expiresAt: string }} renewed
   */
  #renewed(renewed) {
    const { token } = renewed;
    this.emit("token", renewed);
    if (this.#socket.state !== "online") return;
    this.#ask({ type: "renew", token }).then(
      () => (this.#tokenInUse = token),
      (error) => error.code === "unknown_type" || this.#report(error),
    );
  }

  /** @param {Message} message */
  #welcomed(message) {
    const welcome = /** @type {Welcome} */ (/** @type {unknown} */ (message));
    this.welcome = welcome;
    this.#lastError = null;
    this.#versions.clear();
    this.#keeper.start(welcome.serverTime);
    this.#watchSilence(welcome.heartbeat);
    this.emit("connected", welcome);
    this.#restate();
  }

  /** Says every interest again, each on its own so that one refusal does not take the others with it. */
  #restate() {
    for (const ids of chunks([...this.#watched], WATCH_CHUNK)) {
      this.#ask({ type: "watch", visitorIds: ids }).then(
        (answer) => this.#fresh(answer.visitors).forEach((visitor) => this.emit("presence", { visitor })),
        (error) => this.#report(error),
      );
    }
    for (const [key, { message }] of this.#interests) this.#restateOne(key, message);
  }

  /** @param {string} key @param {Message} message */
  #restateOne(key, message) {
    const { deliver } = /** @type {Interest} */ (this.#interests.get(key));
    this.#stand(key, message, deliver).catch((error) => this.#report(error));
  }

  /** @param {Message} message */
  #receive(message) {
    this.#heardAt = Date.now();
    const body = /** @type {any} */ (message);
    switch (message.type) {
      case "presence":
        if (this.#fresh([body.visitor]).length) this.emit("presence", body);
        return;
      case "liveDiff":
        return this.#receiveDiff(body);
      case "record":
        return this.#deliverRecord(body);
      case "request":
      case "ready":
      case "sessionEnded":
      case "message":
      case "feedItem":
      case "settings":
        return this.emit(message.type, body);
      case "error":
        this.#lastError = new RequestError(body.code, body.message);
        return this.emit("error", this.#lastError);
    }
  }

  /** @param {LiveDiff} diff */
  #receiveDiff(diff) {
    const live = this.#interests.get("live");
    if (diff.reset && live) return this.#restateOne("live", live.message);
    for (const id of diff.left ?? []) if (!this.#watched.has(id)) this.#versions.delete(id);
    this.emit("liveDiff", {
      ...diff,
      joined: this.#fresh(diff.joined ?? []),
      changed: this.#fresh(diff.changed ?? []),
      left: diff.left ?? [],
    });
  }

  /** @param {any} record */
  #deliverRecord(record) {
    // Closed here while the push was on its way.
    if (!this.#interests.has(recordKey(record.record))) return;
    // Its buttons follow from its visitor; a newer push is on its way.
    if (record.visitor && !this.#fresh([record.visitor]).length) return;
    this.emit("record", record);
  }

  /** @param {any} page @returns {LivePage} */
  #livePage({ visitors, total, cursor }) {
    return { visitors: this.#fresh(visitors), total, cursor };
  }

  /** Keeps the visitors that are not older than what this connection has seen. @param {Visitor[]} visitors */
  #fresh(visitors) {
    return visitors.filter(({ visitorId, version }) => {
      if (version < (this.#versions.get(visitorId) ?? -Infinity)) return false;
      this.#versions.set(visitorId, version);
      return true;
    });
  }

  /** @param {SocketState} state @param {Closing | null} closing */
  #stateChanged(state, closing) {
    if (state !== "online") clearTimeout(this.#silenceTimer);
    if (state === "stopped") {
      this.#keeper.stop();
      this.#signedOut = closing !== null && closing.name !== "closed";
    }
    this.emit("state", { state: this.state, closing });
    if (this.#signedOut && closing) {
      this.emit("signedOut", { name: closing.name, message: this.#lastError?.message ?? closing.name });
    }
  }

  /**
   * A browser sees no WebSocket ping, so after a silent heartbeat the client asks for a sign of life itself.
   * @param {number} [heartbeat] seconds
   */
  #watchSilence(heartbeat) {
    clearTimeout(this.#silenceTimer);
    if (!heartbeat) return;
    const ms = heartbeat * 1000;
    this.#heardAt = Date.now();
    const look = () => {
      if (Date.now() - this.#heardAt >= ms) this.#socket.probe();
      this.#silenceTimer = setTimeout(look, ms);
    };
    this.#silenceTimer = setTimeout(look, ms);
  }

  /** @param {unknown} error */
  #report(error) {
    if (isLoss(error)) return;
    this.emit("error", error instanceof RequestError ? error : new RequestError("failed", String(error)));
  }
}

/** True when the connection went and the interest will be said again on the next one. @param {unknown} error */
function isLoss(error) {
  return error instanceof RequestError && (error.code === "lost" || error.code === "timeout");
}

/** @param {RecordRef} record */
function recordKey(record) {
  return `record ${record.object} ${record.id}`;
}

/** @template T @param {T[]} list @param {number} size @returns {T[][]} */
function chunks(list, size) {
  const parts = [];
  for (let at = 0; at < list.length; at += size) parts.push(list.slice(at, at + size));
  return parts;
}
