// The agent's SDK against a server played by the test: answers, pushes, reconnects, renewal, sign-out.
import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";

import { AgentClient, PorchlightError, signIn } from "../agent.js";
import { fakeEnvironment, FakeWebSocket, nextSocket } from "./fake-agent-server.js";

const SERVER = "https://help.example.com";
const WELCOME = {
  type: "connected",
  connectionId: "c1",
  agent: { id: "a1", name: "Alice" },
  group: "demo",
  settings: {},
};
const RECORD = { object: "Case", id: "500-1" };
const BUTTONS = {
  show: { visible: true, enabled: true },
  join: { visible: true, enabled: true, light: "lit" },
  view: { visible: true, enabled: true },
};

const visitor = (visitorId, version, state = "present") => ({
  visitorId,
  version,
  state,
  since: "2026-01-01T00:00:00Z",
  connections: 1,
});
/** A renewal that answers as told. */
const respond = (status, body) => async () => new Response(JSON.stringify(body), { status });
const inOneHour = () => new Date(Date.now() + 3_600_000).toISOString();

/** @type {AgentClient[]} */
const open = [];
afterEach(() => open.splice(0).forEach((client) => client.close()));

function newClient(options = {}) {
  const client = new AgentClient({
    token: "t1",
    server: SERVER,
    env: fakeEnvironment(),
    fetch: respond(401, {}),
    ...options,
  });
  open.push(client);
  return client;
}

async function online(options) {
  const client = newClient(options);
  const connected = client.connect();
  const ws = await nextSocket(1);
  assert.deepEqual(await ws.expect("connect"), { type: "connect", token: options?.token ?? "t1" });
  ws.push(WELCOME);
  await connected;
  return { client, ws };
}

/** Loses the connection and plays the welcome of the next. */
async function reconnected(ws) {
  ws.drop();
  const next = await nextSocket(2);
  await next.expect("connect");
  next.push(WELCOME);
  return next;
}

const collect = (client, name) => {
  const seen = [];
  client.on(name, (detail) => seen.push(detail));
  return seen;
};
const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

describe("signing in", () => {
  it("posts the credentials and returns the token", async () => {
    /** @type {any} */
    let asked;
    const answer = await signIn(
      { group: "demo", address: "alice", password: "p" },
      {
        server: SERVER,
        fetch: async (url, init) => (
          (asked = { url, init }),
          new Response(JSON.stringify({ token: "t", expiresAt: "x", agent: { id: "a", name: "A" } }))
        ),
      },
    );
    assert.equal(answer.token, "t");
    assert.equal(asked.url, `${SERVER}/v1/auth/agent`);
    assert.deepEqual(JSON.parse(asked.init.body), { group: "demo", address: "alice", password: "p" });
    assert.equal(asked.init.credentials, "omit");
  });

  it("rejects with the server's code", async () => {
    const refused = respond(401, { error: { code: "unauthorized", message: "no", requestId: "r" } });
    await assert.rejects(
      signIn({ group: "g", partnerUserId: "u", loginKey: "$1$" }, { server: SERVER, fetch: refused }),
      { code: "unauthorized", message: "no" },
    );
  });

  it("tells an unreachable server and one that does not answer in JSON", async () => {
    const credentials = { group: "g", address: "a", password: "p" };
    await assert.rejects(
      signIn(credentials, {
        server: SERVER,
        fetch: async () => {
          throw new TypeError("net");
        },
      }),
      { code: "unreachable" },
    );
    await assert.rejects(
      signIn(credentials, { server: SERVER, fetch: async () => new Response("<html>", { status: 502 }) }),
      { code: "http_502" },
    );
  });
});

describe("conversation", () => {
  it("connects to the agent socket with the subprotocol and no secret in the address", async () => {
    const { ws } = await online();
    assert.equal(ws.url, "wss://help.example.com/v1/agent");
    assert.deepEqual(ws.protocols, ["porchlight.v1"]);
  });

  const calls = [
    [
      "lookup",
      (c) => c.lookup(["C-1"]),
      { type: "lookup", visitorIds: ["C-1"] },
      { type: "visitors", visitors: [] },
      { visitors: [] },
    ],
    [
      "join",
      (c) => c.join({ record: RECORD }),
      { type: "join", record: RECORD },
      { type: "request", requestId: "r", sessionId: "s", state: "offered" },
      null,
    ],
    ["cancel", (c) => c.cancel("r"), { type: "cancel", requestId: "r" }, { type: "ok" }, undefined],
    [
      "show",
      (c) => c.show({ title: "T" }),
      { type: "show", title: "T" },
      { type: "ready", sessionId: "s", role: "publisher", ticket: "t" },
      null,
    ],
    [
      "view",
      (c) => c.view({ control: true }),
      { type: "view", control: true },
      { type: "waiting", sessionId: "s", sessionKey: "1" },
      null,
    ],
    [
      "invite",
      (c) => c.invite({ sessionId: "s" }),
      { type: "invite", sessionId: "s" },
      { type: "invite", link: "l", expiresAt: "e" },
      { link: "l", expiresAt: "e" },
    ],
    [
      "signal",
      (c) => c.signal("C-1", "n", { a: 1 }),
      { type: "signal", visitorId: "C-1", name: "n", data: { a: 1 } },
      { type: "signalled", delivery: "held" },
      { delivery: "held" },
    ],
    ["endSession", (c) => c.endSession("s"), { type: "endSession", sessionId: "s" }, { type: "ok" }, undefined],
    ["follow", (c) => c.follow(RECORD), { type: "follow", record: RECORD }, { type: "ok" }, undefined],
    ["unfollow", (c) => c.unfollow(RECORD), { type: "unfollow", record: RECORD }, { type: "ok" }, undefined],
    [
      "feed",
      (c) => c.feed(RECORD, { limit: 5 }),
      { type: "feed", record: RECORD, limit: 5 },
      { type: "feed", items: [1], more: true, following: true },
      { items: [1], more: true, following: true },
    ],
    [
      "watch",
      (c) => c.watch(["C-1"]),
      { type: "watch", visitorIds: ["C-1"] },
      { type: "watching", visitors: [visitor("C-1", 1)] },
      { visitors: [visitor("C-1", 1)] },
    ],
    ["unwatch", (c) => c.unwatch(["C-1"]), { type: "unwatch", visitorIds: ["C-1"] }, { type: "ok" }, undefined],
    [
      "watchLive",
      (c) => c.watchLive({ limit: 1 }),
      { type: "watchLive", limit: 1 },
      { type: "live", visitors: [], total: 0 },
      { visitors: [], total: 0, cursor: undefined },
    ],
    ["unwatchLive", (c) => c.unwatchLive(), { type: "unwatchLive" }, { type: "ok" }, undefined],
    [
      "openRecord",
      (c) => c.openRecord({ record: RECORD }),
      { type: "openRecord", record: RECORD, fields: {}, parents: {} },
      { type: "record", record: RECORD, buttons: BUTTONS },
      null,
    ],
    ["closeRecord", (c) => c.closeRecord(RECORD), { type: "closeRecord", record: RECORD }, { type: "ok" }, undefined],
  ];
  for (const [name, call, request, answer, result] of calls) {
    it(`${name} sends what the contract says and resolves with its answer`, async () => {
      const { client, ws } = await online();
      const promise = call(client);
      const { id, ...sent } = await ws.next();
      assert.deepEqual(sent, request);
      ws.push({ ...answer, id });
      const got = await promise;
      assert.deepEqual(got, result === null ? { ...answer, id } : result);
    });
  }

  it("rejects with the server's error", async () => {
    const { client, ws } = await online();
    const promise = client.signal("C-9", "hello");
    const { id } = await ws.next();
    ws.push({ type: "error", id, code: "visitor_not_present", message: "the visitor is not here" });
    await assert.rejects(promise, (error) => error instanceof PorchlightError && error.code === "visitor_not_present");
  });

  it("emits an error without id", async () => {
    const { client, ws } = await online();
    const errors = collect(client, "error");
    ws.push({ type: "error", code: "rate_limited", message: "slow down" });
    assert.equal(errors[0].code, "rate_limited");
  });

  it("splits a watch of a thousand", async () => {
    const { client, ws } = await online();
    const ids = Array.from({ length: 1000 }, (_, n) => `C-${n}`);
    const promise = client.watch(ids);
    for (let part = 0; part < 2; part++) {
      const { id, visitorIds } = await ws.expect("watch");
      assert.equal(visitorIds.length, 500);
      ws.push({ type: "watching", id, visitors: visitorIds.map((one) => visitor(one, 1)) });
    }
    assert.equal((await promise).visitors.length, 1000);
  });
});

describe("presence", () => {
  it("drops what is older than what was seen", async () => {
    const { client, ws } = await online();
    const seen = collect(client, "presence");
    ws.push({ type: "presence", visitor: visitor("C-1", 5) });
    ws.push({ type: "presence", visitor: visitor("C-1", 4, "absent") });
    ws.push({ type: "presence", visitor: visitor("C-1", 6, "hidden") });
    assert.deepEqual(
      seen.map(({ visitor: { version } }) => version),
      [5, 6],
    );
  });

  it("applies the same rule to the live list and to records", async () => {
    const { client, ws } = await online();
    const diffs = collect(client, "liveDiff");
    const records = collect(client, "record");
    const opening = client.openRecord({ record: RECORD });
    const { id } = await ws.next();
    ws.push({ type: "record", id, record: RECORD, visitor: visitor("C-1", 3), buttons: BUTTONS });
    await opening;
    ws.push({ type: "liveDiff", joined: [visitor("C-1", 9)], changed: [], left: [], total: 1 });
    ws.push({ type: "liveDiff", joined: [], changed: [visitor("C-1", 8)], left: [], total: 1 });
    ws.push({ type: "record", record: RECORD, visitor: visitor("C-1", 8), buttons: BUTTONS });
    assert.deepEqual(
      diffs.map(({ joined, changed }) => joined.length + changed.length),
      [1, 0],
    );
    assert.equal(records.length, 1);
  });

  it("asks for the live list again on a reset", async () => {
    const { client, ws } = await online();
    const lists = collect(client, "live");
    const first = client.watchLive({ filter: { text: "a" } });
    ws.push({ type: "live", id: (await ws.next()).id, visitors: [], total: 0 });
    await first;
    ws.push({ type: "liveDiff", joined: [], changed: [], left: [], reset: true });
    const again = await ws.expect("watchLive");
    assert.deepEqual(again.filter, { text: "a" });
    ws.push({ type: "live", id: again.id, visitors: [visitor("C-1", 1)], total: 1 });
    await turn();
    assert.equal(lists.length, 2);
  });

  it("joins a running session where the record says so, once for each opening", async () => {
    const { client, ws } = await online();
    const requests = collect(client, "request");
    const opening = client.openRecord({ record: RECORD });
    const record = { type: "record", record: RECORD, buttons: BUTTONS, sessionId: "s-1", autoJoin: true };
    ws.push({ ...record, id: (await ws.next()).id });
    await opening;
    const join = await ws.expect("join");
    assert.equal(join.sessionId, "s-1");
    ws.push({ type: "request", id: join.id, requestId: "r-1", sessionId: "s-1", state: "active" });
    await turn();
    assert.deepEqual(requests.map(({ requestId }) => requestId), ["r-1"]);
    // That it is running is no reason to come back for whoever has left.
    ws.push(record);
    await turn();
    assert.deepEqual(ws.sent, []);
  });

  it("does not deliver a record that was closed meanwhile", async () => {
    const { client, ws } = await online();
    const records = collect(client, "record");
    const opening = client.openRecord({ record: RECORD });
    ws.push({ type: "record", id: (await ws.next()).id, record: RECORD, buttons: BUTTONS });
    await opening;
    const closing = client.closeRecord(RECORD);
    ws.push({ type: "record", record: RECORD, buttons: BUTTONS });
    ws.push({ type: "ok", id: (await ws.next()).id });
    await closing;
    assert.equal(records.length, 1);
  });
});

describe("reconnecting", () => {
  it("says every interest again, and forgets the versions of before", async () => {
    const { client, ws } = await online();
    const seen = collect(client, "presence");
    const records = collect(client, "record");
    const answers = {
      watch: { type: "watching", visitors: [visitor("C-1", 90)] },
      watchLive: { type: "live", visitors: [], total: 0 },
      openRecord: { type: "record", record: RECORD, buttons: BUTTONS },
      follow: { type: "ok" },
    };
    const asked = [
      client.watch(["C-1"]),
      client.watchLive(),
      client.openRecord({ record: RECORD }),
      client.follow(RECORD),
    ];
    for (let n = 0; n < asked.length; n++) {
      const { id, type } = await ws.next();
      ws.push({ ...answers[type], id });
    }
    await Promise.all(asked);
    const next = await reconnected(ws);
    const types = [];
    for (let n = 0; n < 4; n++) {
      const { id, type } = await next.next();
      types.push(type);
      next.push({ ...answers[type], visitors: [visitor("C-1", 2, "hidden")], total: 1, id });
    }
    await turn();
    assert.deepEqual(types.sort(), ["follow", "openRecord", "watch", "watchLive"]);
    assert.equal(seen.at(-1).visitor.version, 2);
    assert.equal(records.length, 2);
  });

  it("does not say again what was taken back, refused or paged", async () => {
    const { client, ws } = await online();
    const refused = client.openRecord({ record: RECORD });
    ws.push({ type: "error", id: (await ws.next()).id, code: "forbidden", message: "no" });
    await assert.rejects(refused, { code: "forbidden" });
    const page = client.watchLive({ cursor: "2" });
    ws.push({ type: "live", id: (await ws.next()).id, visitors: [], total: 0 });
    await page;
    const watched = client.watch(["C-1"]);
    ws.push({ type: "watching", id: (await ws.next()).id, visitors: [] });
    await watched;
    const unwatched = client.unwatch(["C-1"]);
    ws.push({ type: "ok", id: (await ws.next()).id });
    await unwatched;
    const next = await reconnected(ws);
    await turn();
    assert.deepEqual(next.sent, []);
  });

  it("rejects a pending call as lost and keeps an interest stated while away", async () => {
    const { client, ws } = await online();
    const pending = client.join({ visitorId: "C-1" });
    await ws.next();
    ws.drop();
    await assert.rejects(pending, { code: "lost" });
    await assert.rejects(client.openRecord({ record: RECORD }), { code: "lost" });
    const next = await nextSocket(2);
    await next.expect("connect");
    next.push(WELCOME);
    assert.deepEqual((await next.expect("openRecord")).record, RECORD);
  });
});

describe("token", () => {
  it("is renewed before it expires, by the server's clock", async () => {
    const renewed = { token: "t2", expiresAt: inOneHour(), agent: { id: "a", name: "A" } };
    const client = newClient({ expiresAt: inOneHour(), fetch: respond(200, renewed) });
    const tokens = collect(client, "token");
    const connected = client.connect();
    const ws = await nextSocket(1);
    await ws.expect("connect");
    // The server is two hours ahead: what looks fresh here has expired there.
    ws.push({ ...WELCOME, serverTime: new Date(Date.now() + 7_200_000).toISOString() });
    await connected;
    await turn();
    await turn();
    assert.equal(tokens[0].token, "t2");
    assert.equal(client.token, "t2");
  });

  it("renewed, is shown on the running connection, which stays", async () => {
    const soon = new Date(Date.now() + 1_000).toISOString();
    const { client, ws } = await online({
      expiresAt: soon,
      fetch: respond(200, { token: "t2", expiresAt: inOneHour(), agent: {} }),
    });
    const watching = client.watch(["C-1"]);
    const { id } = await ws.expect("watch");
    ws.push({ type: "watching", id, visitors: [visitor("C-1", 1)] });
    await watching;
    const ending = collect(client, "expiring");
    const renew = await ws.expect("renew");
    assert.equal(renew.token, "t2");
    ws.push({ type: "renewed", id: renew.id, expiresAt: inOneHour() });
    const seen = collect(client, "presence");
    ws.push({ type: "presence", visitor: visitor("C-1", 2) });
    assert.equal(seen.length, 1);
    assert.equal(FakeWebSocket.all.length, 1);
    assert.deepEqual(ending, []);
  });

  it("a server that renews no connection is no error: the next one opens with the new token", async () => {
    const { client, ws } = await online({
      expiresAt: new Date(Date.now() + 500).toISOString(),
      fetch: respond(200, { token: "t2", expiresAt: inOneHour(), agent: {} }),
    });
    const errors = collect(client, "error");
    const { id } = await ws.expect("renew");
    ws.push({ type: "error", id, code: "unknown_type", message: "?" });
    ws.drop(4401);
    assert.equal((await (await nextSocket(2)).expect("connect")).token, "t2");
    assert.deepEqual(errors, []);
  });

  const endings = [
    ["is refused", 401, () => ({ error: { code: "unauthorized", message: "no" } })],
    ["ends when the last one did", 200, (expiresAt) => ({ token: "t2", expiresAt, agent: {} })],
  ];
  for (const [what, status, body] of endings) {
    it(`tells once that the sign-in ends when a renewal ${what}, and stays until then`, async () => {
      const expiresAt = new Date(Date.now() + 1_000).toISOString();
      let asked = 0;
      const { client, ws } = await online({
        expiresAt,
        fetch: async () => ((asked += 1), new Response(JSON.stringify(body(expiresAt)), { status })),
      });
      const errors = collect(client, "error");
      const ending = await new Promise((resolve) => client.on("expiring", resolve));
      assert.deepEqual(ending, { expiresAt });
      assert.equal(client.state, "online");
      ws.push({ type: "presence", visitor: visitor("C-1", 1) });
      await new Promise((resolve) => setTimeout(resolve, 300));
      assert.equal(asked, 1, "nobody asks again");
      assert.deepEqual(errors, []);
    });
  }

  it("gets a second chance after 4401 and goes on", async () => {
    const { client, ws } = await online({
      expiresAt: inOneHour(),
      fetch: respond(200, { token: "t2", expiresAt: inOneHour(), agent: {} }),
    });
    ws.drop(4401);
    const next = await nextSocket(2);
    assert.equal((await next.expect("connect")).token, "t2");
    next.push(WELCOME);
    await turn();
    assert.equal(client.state, "online");
  });

  it("refused twice signs the agent out, once, with the reason", async () => {
    const { client, ws } = await online({
      fetch: respond(401, { error: { code: "unauthorized", message: "expired" } }),
    });
    const ends = collect(client, "signedOut");
    ws.drop(4401);
    await turn();
    await turn();
    assert.deepEqual(
      ends.map(({ name }) => name),
      ["unauthorized"],
    );
    assert.equal(client.state, "signed_out");
    assert.equal(FakeWebSocket.all.length, 1);
  });

  it("a refusal at the first connect rejects it", async () => {
    const client = newClient();
    const connected = client.connect();
    (await nextSocket(1)).drop(4403);
    await assert.rejects(connected, { code: "forbidden" });
  });

  it("closing is not a sign-out", async () => {
    const { client } = await online();
    const ends = collect(client, "signedOut");
    client.close();
    assert.equal(client.state, "stopped");
    assert.deepEqual(ends, []);
  });
});
