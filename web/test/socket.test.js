import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Backoff, CLOSE, closeMeaning, RequestError, Socket, SUBPROTOCOL } from "../lib/socket.js";
import { FakeClock, fakeWebSockets, settle } from "./fake-world.js";

/** @type {FakeClock} */ let clock;
/** @type {ReturnType<typeof fakeWebSockets>} */ let net;
let online = true;
let chance;
let target;
let states;
let hellos;

beforeEach(() => {
  clock = new FakeClock();
  net = fakeWebSockets();
  online = true;
  chance = 0.5;
  target = new EventTarget();
  states = [];
  hellos = [];
});

function open(options = {}) {
  const socket = new Socket({
    url: "ws://host/v1/agent",
    welcome: "connected",
    hello: (reason) => {
      hellos.push(reason);
      return { type: "connect", token: "t" };
    },
    onState: (state, closing) => states.push(closing ? `${state}:${closing.name}` : state),
    env: {
      WebSocket: net.FakeWebSocket,
      setTimeout: clock.setTimeout,
      clearTimeout: clock.clearTimeout,
      now: () => clock.now,
      random: () => chance,
      isOnline: () => online,
      target,
    },
    ...options,
  });
  socket.open();
  return socket;
}

async function welcomed(options) {
  const socket = open(options);
  await settle();
  net.last().open();
  net.last().say({ type: "connected" });
  return socket;
}

test("back-off doubles from 0.5 s to 30 s, with full jitter", () => {
  const steps = (random) => {
    const backoff = new Backoff({ random });
    return Array.from({ length: 9 }, () => backoff.next());
  };
  assert.deepEqual(steps(() => 1), [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  assert.deepEqual(steps(() => 0), Array(9).fill(0));
  const backoff = new Backoff({ random: () => 1 });
  backoff.next();
  backoff.next();
  backoff.reset();
  assert.equal(backoff.next(), 500);
});

test("the close table is the protocol's", () => {
  assert.deepEqual(
    Object.fromEntries(Object.entries(CLOSE).map(([code, { name, reconnect }]) => [code, `${name} ${reconnect}`])),
    {
      4000: "drain told",
      4001: "too_slow soon",
      4002: "timeout soon",
      4003: "overload backoff",
      4400: "bad_message never",
      4401: "unauthorized credential",
      4403: "forbidden never",
      4404: "not_found never",
      4408: "replaced never",
      4409: "ended never",
      4429: "rate_limited backoff",
    },
  );
  assert.equal(closeMeaning(1006).reconnect, "backoff");
  assert.equal(closeMeaning(4477).reconnect, "never");
});

test("says hello first, then is online", async () => {
  const socket = open();
  await settle();
  assert.deepEqual(net.last().protocols, [SUBPROTOCOL]);
  assert.equal(socket.send({ type: "early" }), false);
  net.last().open();
  assert.deepEqual(net.last().sent, [{ type: "connect", token: "t" }]);
  net.last().say({ type: "connected" });
  assert.equal(socket.state, "online");
  assert.deepEqual(states, ["connecting", "online"]);
});

test("gives up on a server that accepts and says nothing", async () => {
  open();
  await settle();
  net.last().open();
  await clock.advance(10_000);
  assert.ok(net.made[0].closed);
  await clock.advance(250);
  assert.equal(net.made.length, 2);
});

test("matches answers to requests and errors to rejections", async () => {
  const seen = [];
  const socket = await welcomed({ onMessage: (message) => seen.push(message) });
  const good = socket.request({ type: "watch" });
  const bad = socket.request({ type: "join" });
  net.last().say({ type: "error", id: 2, code: "visitor_not_present", message: "gone" });
  net.last().say({ type: "watching", id: 1, visitors: [] });
  net.last().say({ type: "presence", visitor: {} });
  assert.equal((await good).type, "watching");
  await assert.rejects(bad, (error) => error instanceof RequestError && error.code === "visitor_not_present");
  assert.deepEqual(seen, [{ type: "presence", visitor: {} }]);
});

test("a request ends with its connection, or after 10 s", async () => {
  const socket = await welcomed();
  const slow = assert.rejects(socket.request({ type: "a" }), { code: "timeout" });
  await clock.advance(10_000);
  await slow;
  const lost = assert.rejects(socket.request({ type: "b" }), { code: "lost" });
  net.last().drop();
  await lost;
  await assert.rejects(socket.request({ type: "c" }), { code: "lost" });
});

test("comes back after a loss, and the step grows until it stayed online", async () => {
  await welcomed();
  const waits = [];
  for (let i = 0; i < 3; i++) {
    net.last().drop();
    waits.push(clock.nextIn);
    await clock.advance(clock.nextIn);
  }
  assert.deepEqual(waits, [250, 500, 1000]);
  net.last().open();
  net.last().say({ type: "connected" });
  await clock.advance(5_000);
  net.last().drop();
  assert.equal(clock.nextIn, 250);
  assert.deepEqual(states, ["connecting", "online", "reconnecting:lost", "online", "reconnecting:lost"]);
});

test("a refusal is final", async () => {
  const socket = await welcomed();
  net.last().drop(4409);
  assert.equal(socket.state, "stopped");
  assert.equal(states.at(-1), "stopped:ended");
  await clock.advance(60_000);
  assert.equal(net.made.length, 1);
});

test("an old credential is replaced once, not twice", async () => {
  const socket = await welcomed();
  net.last().drop(4401);
  await clock.advance(0);
  assert.deepEqual(hellos, ["first", "unauthorized"]);
  net.last().open();
  net.last().drop(4401);
  assert.equal(socket.state, "stopped");
});

test("without a credential it stops", async () => {
  const socket = open({ hello: () => Promise.reject(new Error("no token")) });
  await settle();
  assert.equal(socket.state, "stopped");
  assert.equal(net.made.length, 0);
});

test("a drain is followed at the told time, with jitter", async () => {
  await welcomed();
  net.last().say({ type: "reconnect", afterMs: 2000, reason: "drain" });
  await clock.advance(1000);
  net.last().drop(4000);
  assert.equal(clock.nextIn, 2000);
  await clock.advance(2000);
  assert.equal(net.made.length, 2);
});

test("a told delay is followed even if the server never closes", async () => {
  await welcomed();
  net.last().say({ type: "reconnect", afterMs: 2000 });
  await clock.advance(3000);
  assert.ok(net.made[0].closed);
  assert.equal(net.made.length, 2);
});

test("offline is a name for being away: it still tries, and at once when the network is back", async () => {
  const socket = await welcomed();
  online = false;
  net.last().drop();
  assert.equal(socket.state, "offline");
  await clock.advance(250);
  assert.equal(net.made.length, 2);
  net.last().drop();
  assert.equal(socket.state, "offline");
  online = true;
  chance = 0.5;
  target.dispatchEvent(new Event("online"));
  await settle();
  assert.equal(net.made.length, 3);
  assert.equal(socket.state, "reconnecting");
});

test("back online it asks for a sign of life, and replaces a dead connection", async () => {
  const socket = await welcomed();
  target.dispatchEvent(new Event("online"));
  assert.equal(net.last().of("ping").length, 1);
  net.last().say({ type: "error", id: net.last().of("ping")[0].id, code: "unknown_type", message: "?" });
  await clock.advance(20_000);
  assert.equal(net.made.length, 1);
  socket.probe();
  await clock.advance(10_250);
  assert.ok(net.made[0].closed);
  assert.equal(net.made.length, 2);
});

test("gives up when it was away too long", async () => {
  const socket = await welcomed({ giveUpMs: 60_000 });
  net.last().drop();
  for (let i = 0; i < 40 && socket.state !== "stopped"; i++) {
    await clock.advance(3_000);
    if (!net.last().closed) net.last().drop();
  }
  assert.equal(socket.state, "stopped");
});

test("who has to be back within a minute is, also after 50 s without a network", async () => {
  const socket = await welcomed({ giveUpMs: 60_000 });
  chance = 1;
  const lost = clock.now;
  net.last().drop();
  while (clock.now - lost < 50_000) {
    await clock.advance(100);
    if (!net.last().closed) net.last().drop();
  }
  const tries = net.made.length;
  await clock.advance(5_000);
  assert.equal(net.made.length, tries + 1);
  net.last().open();
  net.last().say({ type: "connected" });
  assert.equal(socket.state, "online");
});

test("a closed socket stays closed and can be opened anew", async () => {
  const socket = await welcomed();
  socket.close();
  assert.ok(net.last().closed);
  assert.equal(socket.state, "stopped");
  target.dispatchEvent(new Event("online"));
  await clock.advance(60_000);
  assert.equal(net.made.length, 1);
  socket.open();
  await settle();
  assert.equal(net.made.length, 2);
});

test("late words of a left connection are not heard", async () => {
  const seen = [];
  await welcomed({ onMessage: (message) => seen.push(message) });
  const old = net.last();
  const late = old.onmessage;
  old.drop();
  late({ data: '{"type":"presence"}' });
  assert.deepEqual(seen, []);
});
