// The admin service as a page speaks to it: JSON over `POST /v1/admin/{Method}` with an agent's token.
//
// Decides how a call is sent, which failures are tried again and how one reads. Does not decide what is called (the
// pages of admins) nor what is allowed or valid (the server, whose words are handed on as they are).

import { serverUrl } from "./post.js";

/** @import { Agent, ApiKey, Edition, Permissions, SettingsChange } from "./company.js" */
/** @import { ConsentReceipt, ReceiptKey, RecordPage, RecordQuery, SessionEvent, SessionRecord, SessionStats, SinkState, SyncRun, SyncStatus } from "./past.js" */

/** A change waits for a disk and, in a cluster, for other nodes; a healthy one takes well under a second. */
const CALL_MS = 15_000;
/** A call in which the server waits for somebody else's webhook: as long as the server lets a call take. */
const LONG_CALL_MS = 30_000;
const LONG_CALLS = new Set(["TestSink", "ReplayDeadLetters"]);
/** Pauses before another try, ms: together as long as a restart of the server takes. More and people press again. */
const RETRY_MS = [300, 1_000, 3_000];
/** Answers that say nothing was decided yet: the same call may be made again. */
const UNDECIDED = new Set(["unreachable", "timeout", "overload", "request_running"]);

/** Rows asked for at once where all of them are wanted; the server's most. */
const MOST_ROWS = 1_000;

/** What is wrong with one field: its path in the request, and a sentence. @typedef {{ field: string, message: string }} Violation */

/** A call that was refused or did not get through; `code` is the server's, or `unreachable`. */
export class AdminError extends Error {
  /**
   * @param {string} code @param {string} message
   * @param {object} [detail]
   * @param {number} [detail.status] of HTTP; 0 when nothing came back
   * @param {string} [detail.requestId] for the server's log
   * @param {Violation[]} [detail.violations] paths as the page has them: `terms.deadlineSeconds`, `profiles[2].name`
   * @param {Record<string, string>} [detail.metadata]
   */
  constructor(code, message, { status = 0, requestId = "", violations = [], metadata = {} } = {}) {
    super(message);
    this.name = "AdminError";
    this.code = code;
    this.status = status;
    this.requestId = requestId;
    this.violations = violations;
    this.metadata = metadata;
  }
}

/**
 * @typedef {object} AdminOptions
 * @property {() => string} token the newest token, read at each try
 * @property {() => Promise<boolean>} [onUnauthorized] the token is not taken: true when there is a new one to try
 * @property {string} [server] base address; default: where this script came from
 * @property {typeof fetch} [fetch]
 * @property {(ms: number) => Promise<void>} [wait] for tests
 */

/** Calls on behalf of one agent; its group is the token's. */
export class AdminClient {
  #options;

  /** @param {AdminOptions} options */
  constructor(options) {
    this.#options = options;
  }

  // --- Settings ------------------------------------------------------------------------------------------------

  /** @returns {Promise<Edition>} */
  getSettings() {
    return this.call("GetSettings", {});
  }

  /**
   * Changes what the mask names; the rest of `settings` is not looked at.
   * @param {{ settings: object, updateMask: string, expectedVersion: string }} change
   * @param {string} requestId
   * @returns {Promise<Edition>}
   */
  updateSettings(change, requestId) {
    return this.call("UpdateSettings", { ...change, requestId });
  }

  /**
   * One page of the history, newest first.
   * @param {{ pageSize?: number, pageToken?: string }} [page]
   * @returns {Promise<{ changes: SettingsChange[], nextPageToken: string }>}
   */
  async listSettingsChanges(page = {}) {
    const { changes = [], nextPageToken = "" } = await this.call("ListSettingsChanges", page);
    return { changes, nextPageToken };
  }

  // --- Keys ----------------------------------------------------------------------------------------------------

  /** @returns {Promise<ApiKey[]>} oldest first */
  async listApiKeys() {
    return (await this.call("ListApiKeys", {})).apiKeys ?? [];
  }

  /** @param {string} label @param {string} requestId @returns {Promise<{ apiKey: ApiKey, secret: string }>} */
  createApiKey(label, requestId) {
    return this.call("CreateApiKey", { label, requestId });
  }

  /** @param {string} keyId @param {string} requestId @returns {Promise<{ apiKey: ApiKey }>} */
  revokeApiKey(keyId, requestId) {
    return this.call("RevokeApiKey", { keyId, requestId });
  }

  // --- Agents --------------------------------------------------------------------------------------------------

  /** Every agent of the group, by ID. @returns {Promise<Agent[]>} */
  listAgents() {
    return this.#all("ListAgents", "agents");
  }

  /** The agents with a password of their own. @returns {Promise<Agent[]>} */
  listAssociatedUsers() {
    return this.#all("ListAssociatedUsers", "agents");
  }

  /**
   * Makes an agent or changes its description; an empty password leaves the one there is.
   * @param {Partial<Agent>} agent @param {string} password @param {string} requestId
   * @returns {Promise<{ agent: Agent }>}
   */
  upsertAgent(agent, password, requestId) {
    return this.call("UpsertAgent", { agent, password, requestId });
  }

  /** @param {string} agentId @param {Permissions} permissions @param {string} requestId */
  setPermissions(agentId, permissions, requestId) {
    return this.call("SetPermissions", { agentId, permissions, requestId });
  }

  /** Deletes the password and revokes the tokens; the agent stays. @param {string} agentId @param {string} requestId */
  removeAssociation(agentId, requestId) {
    return this.call("RemoveAssociation", { agentId, requestId });
  }

  /** @param {string} agentId @param {string} requestId */
  deleteAgent(agentId, requestId) {
    return this.call("DeleteAgent", { agentId, requestId });
  }

  /** @param {string} agentId @param {string} requestId */
  revokeTokens(agentId, requestId) {
    return this.call("RevokeTokens", { agentId, requestId });
  }

  // --- Sessions ------------------------------------------------------------------------------------------------

  /**
   * One page of the sessions' records, newest first.
   * @param {RecordQuery & { pageSize?: number, pageToken?: string }} query
   * @returns {Promise<RecordPage>}
   */
  async listSessionRecords(query) {
    const { records = [], nextPageToken = "" } = await this.call("ListSessionRecords", query);
    return { records, nextPageToken };
  }

  /** @param {string} sessionId @returns {Promise<SessionRecord>} */
  async getSessionRecord(sessionId) {
    return (await this.call("GetSessionRecord", { sessionId })).record;
  }

  /**
   * What happened in a session, in order, behind a place in the log.
   * @param {string} sessionId @param {string} [afterSequence]
   * @returns {Promise<{ events: SessionEvent[], more: boolean }>}
   */
  async listSessionEvents(sessionId, afterSequence = "0") {
    const { events = [], more = false } = await this.call("ListSessionEvents", { sessionId, afterSequence });
    return { events, more };
  }

  /**
   * What each agent did on each day, by day and agent.
   * @param {{ from: string, until?: string }} range
   * @returns {Promise<SessionStats[]>}
   */
  listSessionStats(range) {
    return this.#all("ListSessionStats", "stats", { ...range, pageSize: MOST_ROWS });
  }

  /** @param {string} receiptId @returns {Promise<ConsentReceipt>} */
  async getConsentReceipt(receiptId) {
    return (await this.call("GetConsentReceipt", { receiptId })).receipt;
  }

  /** What the group's receipts are verified with. @returns {Promise<ReceiptKey>} */
  async getReceiptKey() {
    return (await this.call("GetReceiptKey", {})).key;
  }

  // --- Sync ----------------------------------------------------------------------------------------------------

  /** @returns {Promise<SyncStatus>} */
  getSyncStatus() {
    return this.call("GetSyncStatus", {});
  }

  /**
   * One page of the runs, newest first.
   * @param {{ pageSize?: number, pageToken?: string }} [page]
   * @returns {Promise<{ runs: SyncRun[], nextPageToken: string }>}
   */
  async listSyncRuns(page = {}) {
    const { runs = [], nextPageToken = "" } = await this.call("ListSyncRuns", page);
    return { runs, nextPageToken };
  }

  /** Begins a run, or tells the one that runs. @param {string} requestId @returns {Promise<SyncRun>} */
  async syncNow(requestId) {
    return (await this.call("SyncNow", { requestId })).run;
  }

  /** @returns {Promise<SinkState[]>} by ID */
  async listSinks() {
    return (await this.call("ListSinks", {})).sinks ?? [];
  }

  /** Tries a sink. @param {string} sinkId @param {string} requestId @returns {Promise<string>} what went wrong, if anything */
  async testSink(sinkId, requestId) {
    return (await this.call("TestSink", { sinkId, requestId })).error ?? "";
  }

  /**
   * Sends some of a webhook's oldest dead letters again.
   * @param {string} sinkId @param {string} requestId
   * @returns {Promise<{ delivered: string, left: string, error: string }>}
   */
  replayDeadLetters(sinkId, requestId) {
    return this.call("ReplayDeadLetters", { sinkId, requestId });
  }

  // --- The call itself -----------------------------------------------------------------------------------------

  /**
   * Makes one call. One that reads, or that carries a request ID, is tried again while nothing is decided.
   * @param {string} method @param {Record<string, any>} body
   * @returns {Promise<any>} the answer; rejects with an {@link AdminError}
   */
  async call(method, body) {
    const repeatable = "requestId" in body || /^(Get|List|Lookup)/.test(method);
    for (let tries = 0; ; tries++) {
      try {
        return await this.#once(method, body);
      } catch (error) {
        const { code } = /** @type {AdminError} */ (error);
        // Refused before anything was done, so that any call may be made again.
        if (code === "unauthorized" && (await this.#options.onUnauthorized?.())) continue;
        const again = repeatable && UNDECIDED.has(code) && tries < RETRY_MS.length;
        if (!again) throw error;
        await (this.#options.wait ?? pause)(RETRY_MS[tries]);
      }
    }
  }

  /**
   * @param {string} method @param {string} list name of the repeated field @param {object} [asked]
   * @returns {Promise<any[]>}
   */
  async #all(method, list, asked = {}) {
    const found = [];
    let pageToken = "";
    do {
      const page = await this.call(method, pageToken ? { ...asked, pageToken } : asked);
      found.push(...(page[list] ?? []));
      pageToken = page.nextPageToken ?? "";
    } while (pageToken);
    return found;
  }

  /** @param {string} method @param {object} body */
  async #once(method, body) {
    const { token, server, fetch: fetchWith = fetch } = this.#options;
    let response;
    try {
      response = await fetchWith(serverUrl(`/v1/admin/${method}`, server), {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${token()}` },
        body: JSON.stringify(body),
        credentials: "omit",
        cache: "no-store",
        signal: AbortSignal.timeout(LONG_CALLS.has(method) ? LONG_CALL_MS : CALL_MS),
      });
    } catch {
      throw new AdminError("unreachable", "The server cannot be reached.");
    }
    const answer = await response.json().catch(() => null);
    if (response.ok && answer) return answer;
    throw refusal(response.status, answer?.error ?? {});
  }
}

/**
 * The ID of a change that a person asked for: the same as long as they ask for the same, so that pressing again after
 * a failure cannot do it twice; a new one after it was decided or when something else is asked.
 */
export class RequestIds {
  #said = "";
  #id = "";

  /** @param {unknown} asked what the change would be @returns {string} */
  for(asked) {
    const said = JSON.stringify(asked);
    if (said !== this.#said || !this.#id) this.#id = newRequestId();
    this.#said = said;
    return this.#id;
  }

  /** The change was made or refused: asking for it again means doing it again. */
  decided() {
    this.#id = "";
  }

  /** Decided, unless the failure left it open. @param {unknown} error */
  failed(error) {
    if (!(error instanceof AdminError) || !UNDECIDED.has(error.code)) this.decided();
  }
}

/** 128 random bits; `crypto.randomUUID` is only there in secure contexts, a page on plain HTTP has to work too. */
export function newRequestId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * A path of the request as the page has it: `settings.terms.deadline_seconds` is `terms.deadlineSeconds` here.
 * @param {string} path
 */
export function pagePath(path) {
  return path.replace(/^(settings|agent)\./, "").replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());
}

/** @param {number} status @param {any} error */
function refusal(status, { code, message, requestId, violations, metadata }) {
  const fallback = status === 503 ? "overload" : status === 401 ? "unauthorized" : status === 403 ? "forbidden" : "";
  const said = message || `The server answered ${status}.`;
  // What is taken is told as one field, not as a violation of a rule; beside the field is where people look.
  const taken = metadata?.field ? [{ field: metadata.field, message: said }] : [];
  const found = Array.isArray(violations) && violations.length ? violations : taken;
  return new AdminError(code || fallback || `http_${status}`, said, {
    status,
    requestId,
    metadata,
    violations: found.map((/** @type {Violation} */ { field, message: why }) => ({
      field: pagePath(field),
      message: why,
    })),
  });
}

/** @param {number} ms @returns {Promise<void>} */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
