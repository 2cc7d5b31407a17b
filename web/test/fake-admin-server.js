// An admin service for tests: real HTTP, settings in memory, and as many of its rules as the page has to cope with.
//
// Keeps versions, history, request IDs, keys and agents; refuses as the service does. Not a second implementation: what
// is valid is asked of it in two or three places only.

import http from "node:http";

/** Settings of a group with two agents, as protobuf's JSON mapping tells them. */
export function companySettings() {
  const object = (name, visitorIdObject = "") => ({
    object: name,
    show: true,
    join: true,
    view: true,
    visitorIdObject,
    visitorIdField: "visitorId",
    autoJoin: false,
  });
  return {
    defaultAdmin: "alice",
    createLeads: "CREATE_LEADS_NEVER",
    logSessionsOutsideCrm: true,
    openSessionRecords: false,
    syncFrequency: "SYNC_FREQUENCY_HOURLY",
    chatterOnStart: true,
    sso: { enabled: true, partnerUserIdField: "", apiKeyId: "", loginExpirationSeconds: 3600 },
    presenceEnabled: true,
    showTerms: true,
    terms: {
      version: "2026-1",
      text: "With your consent, our support agent sees what you choose to share, live, until you or the agent end the session. Nothing else is shown, and nothing is recorded. You can stop at any time.",
      url: "",
      deadlineSeconds: 60,
    },
    joinStarts: "SESSION_KIND_UNSPECIFIED",
    visitorIdentity: "VISITOR_IDENTITY_OPEN",
    visitorOrigins: [],
    agentOrigins: [],
    loopbackOrigins: true,
    graceSeconds: 5,
    sessionKeyDigits: 6,
    objects: [object("Case", "Contact"), object("Contact"), object("Lead"), object("Opportunity")],
    profiles: [
      { name: "Support", show: true, view: true, join: true, joinIn: "JOIN_IN_BROWSER_TAB", startAgentVideo: false },
    ],
    permissionSet: { user: ["alice", "bob"], admin: ["alice"], agentVideo: ["alice"] },
  };
}

class Refused extends Error {
  constructor(status, code, message, detail = {}) {
    super(message);
    Object.assign(this, { status, body: { error: { code, message, requestId: "r1", ...detail } } });
  }
}

export class FakeAdmin {
  settings = companySettings();
  version = 1;
  changes = [
    { version: "1", changedAt: "2026-03-01T09:00:00Z", changedBy: "operator", before: null, after: companySettings() },
  ];
  agents = [
    agent("alice", "Alice", true),
    agent("bob", "Bob", true),
    { ...agent("carol", "Carol", false), partnerUserId: "005xx0000012Q9z" },
  ];
  keys = [{ keyId: "demo", label: "", createdAt: "2026-03-01T09:00:00Z", revokedAt: null, lastUsedAt: null }];
  /** Every call that arrived: method and body. */
  calls = [];
  /** Tokens and whose they are. */
  tokens = new Map([
    ["alice-token", "alice"],
    ["bob-token", "bob"],
  ]);
  /** Answers to give before any other, first come first served: a function of the request. */
  before = [];
  /** Whether answers get lost on the way back. */
  loses = 0;
  #made = new Map();
  #server = http.createServer((request, response) => this.handle(request, response));

  async open() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  close() {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(resolve));
  }

  async handle(request, response) {
    let text = "";
    for await (const part of request) text += part;
    const method = /^\/v1\/admin\/(\w+)$/.exec(request.url)?.[1];
    const send = (status, body) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };
    if (!method || request.method !== "POST")
      return send(404, { error: { code: "not_found", message: "there is nothing here" } });
    const body = JSON.parse(text);
    this.calls.push({ method, body });
    try {
      const early = this.before.shift();
      if (early) return send(...early(method, body));
      const who = this.tokens.get((request.headers.authorization ?? "").replace("Bearer ", ""));
      if (!who) throw new Refused(401, "unauthorized", "the token is not valid");
      if (!this.settings.permissionSet.admin.includes(who))
        throw new Refused(403, "forbidden", "the permission admin is needed");
      const answer = this.#once(who, method, body);
      if (this.loses-- > 0) return request.socket.destroy();
      send(200, answer);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      send(error.status, error.body);
    }
  }

  #once(who, method, body) {
    if (!body.requestId) return this.#do(who, method, body);
    const known = this.#made.get(body.requestId);
    const said = JSON.stringify([method, body]);
    if (known && known.said !== said)
      throw new Refused(409, "request_id_reused", "this request ID was used for another call");
    if (!known) this.#made.set(body.requestId, { said, answer: this.#do(who, method, body) });
    return this.#made.get(body.requestId).answer;
  }

  #do(who, method, body) {
    const run = this[method[0].toLowerCase() + method.slice(1)];
    if (!run) throw new Refused(501, "unsupported", `${method} is not supported`);
    return structuredClone(run.call(this, body, who));
  }

  // --- The calls -------------------------------------------------------------------------------------------------

  getSettings() {
    return { settings: this.settings, version: String(this.version) };
  }

  updateSettings({ settings, updateMask, expectedVersion }, who) {
    if (expectedVersion !== String(this.version)) {
      throw new Refused(409, "conflict", "the settings were changed meanwhile", {
        metadata: { version: String(this.version) },
      });
    }
    const next = structuredClone(this.settings);
    for (const path of updateMask.split(",")) {
      const names = path.split(".");
      const last = names.pop();
      const [into, from] = [next, settings].map((at) => names.reduce((value, name) => value[name], at));
      into[last] = from[last];
    }
    const violations = broken(next);
    if (violations.length) throw new Refused(400, "bad_field", "some fields can't be taken", { violations });
    return this.become(next, `agent ${who}`);
  }

  listSettingsChanges({ pageSize = 20, pageToken = "" }) {
    const all = [...this.changes].reverse();
    const from = Number(pageToken || 0);
    const next = from + (pageSize || 20);
    return { changes: all.slice(from, next), nextPageToken: next < all.length ? String(next) : "" };
  }

  listApiKeys() {
    return { apiKeys: this.keys };
  }

  createApiKey({ label }) {
    const apiKey = {
      keyId: `k${this.keys.length}`,
      label,
      createdAt: new Date().toISOString(),
      revokedAt: null,
      lastUsedAt: null,
    };
    this.keys.push(apiKey);
    return { apiKey, secret: `secret-of-${apiKey.keyId}-4f9c1d77aa20` };
  }

  revokeApiKey({ keyId }) {
    const apiKey = this.keys.find((key) => key.keyId === keyId);
    apiKey.revokedAt ??= new Date().toISOString();
    return { apiKey };
  }

  listAgents({ pageToken = "" }) {
    // Two to a page, so that paging is seen to work.
    const from = Number(pageToken || 0);
    return {
      agents: this.#told(this.agents.slice(from, from + 2)),
      nextPageToken: from + 2 < this.agents.length ? String(from + 2) : "",
    };
  }

  listAssociatedUsers() {
    return { agents: this.#told(this.agents.filter(({ hasPassword }) => hasPassword)), nextPageToken: "" };
  }

  upsertAgent({ agent: given, password }) {
    const violations = [];
    if (!/^[\w.~-]+$/.test(given.agentId))
      violations.push({ field: "agent.agent_id", message: "must be letters, digits and ._~-" });
    if (password && password.length < 8)
      violations.push({ field: "password", message: "must have 8 to 128 characters" });
    if (violations.length) throw new Refused(400, "bad_field", "some fields can't be taken", { violations });
    const known = this.agents.find(({ agentId }) => agentId === given.agentId) ?? agent(given.agentId, "", false);
    Object.assign(known, given);
    if (password) known.hasPassword = true;
    if (!this.agents.includes(known)) this.agents.push(known);
    return { agent: this.#told([known])[0] };
  }

  setPermissions({ agentId, permissions }, who) {
    const next = structuredClone(this.settings);
    for (const [name, held] of Object.entries(permissions)) {
      const rest = next.permissionSet[name].filter((id) => id !== agentId);
      next.permissionSet[name] = held ? [...rest, agentId].sort() : rest;
    }
    this.become(next, `agent ${who}`);
    return { agent: this.#told(this.agents.filter((one) => one.agentId === agentId))[0] };
  }

  removeAssociation({ agentId }) {
    const known = this.agents.find((one) => one.agentId === agentId);
    known.hasPassword = false;
    return { agent: this.#told([known])[0] };
  }

  deleteAgent({ agentId }) {
    this.agents = this.agents.filter((one) => one.agentId !== agentId);
    return {};
  }

  revokeTokens() {
    return {};
  }

  listSessionStats({ from, pageToken = "" }) {
    const rows = ["alice", "bob", "carol"].map((agentId) => ({ day: from.slice(0, 10), agentId, sessions: "1" }));
    const at = Number(pageToken || 0);
    return { stats: rows.slice(at, at + 2), nextPageToken: at + 2 < rows.length ? String(at + 2) : "" };
  }

  getSessionRecord({ sessionId }) {
    if (sessionId !== "s1") throw new Refused(404, "not_found", "no such session");
    return { record: { sessionId } };
  }

  syncNow({ requestId }) {
    return { run: { runId: `run-${requestId}` } };
  }

  /** Takes settings over, in somebody's name. */
  become(next, by) {
    const changed = JSON.stringify(next) !== JSON.stringify(this.settings);
    if (changed) {
      this.version += 1;
      this.changes.push({
        version: String(this.version),
        changedAt: new Date().toISOString(),
        changedBy: by,
        before: this.settings,
        after: next,
      });
      this.settings = next;
    }
    return this.getSettings();
  }

  #told(agents) {
    const { permissionSet: set } = this.settings;
    return agents.map((one) => ({
      ...one,
      permissions: {
        user: set.user.includes(one.agentId),
        admin: set.admin.includes(one.agentId),
        agentVideo: set.agentVideo.includes(one.agentId),
      },
    }));
  }
}

function agent(agentId, name, hasPassword) {
  return {
    agentId,
    address: agentId,
    partnerUserId: `demo-${agentId}`,
    name,
    profile: "Support",
    subscription: "",
    hasPassword,
    createdAt: "2026-03-01T09:00:00Z",
  };
}

function broken(settings) {
  const violations = [];
  const add = (field, message) => violations.push({ field: `settings.${field}`, message });
  if (settings.graceSeconds > 60) add("grace_seconds", `${settings.graceSeconds} is outside 0–60`);
  if (settings.showTerms && !settings.terms.version) add("terms.version", "is required while terms are shown");
  settings.visitorOrigins.forEach((origin, at) => {
    if (!/^https?:\/\/[^/]+$/.test(origin))
      add(`visitor_origins[${at}]`, "must be scheme://host[:port] with http or https");
  });
  settings.profiles.forEach(({ name }, at) => {
    if (!name) add(`profiles[${at}].name`, "must be a name without space around it");
  });
  return violations;
}
