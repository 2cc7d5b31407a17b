import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";
import vm from "node:vm";
import { gzipSync } from "node:zlib";
import { FakeClock, fakeWebSockets, settle } from "./fake-world.js";

const source = readFileSync(new URL("../porchlight.js", import.meta.url), "utf8");

/** @type {FakeClock} */ let clock;
/** @type {ReturnType<typeof fakeWebSockets>} */ let net;
let page;
let warnings;
let modules;

class Storage {
  #items = new Map();
  getItem = (key) => this.#items.get(key) ?? null;
  setItem = (key, value) => void this.#items.set(key, String(value));
  removeItem = (key) => void this.#items.delete(key);
}

/** A browser window, as far as the script looks at it. */
function newPage({ dataset = {}, url = "https://shop.example/lamps?x=1#part", storage = {} } = {}) {
  const window = new EventTarget();
  const document = new EventTarget();
  class Clock extends Date {
    static now = () => clock.now;
  }
  Object.assign(document, {
    currentScript: { src: "https://relay.example/porchlight.js", dataset, nonce: "" },
    visibilityState: "visible",
    title: "Lamps",
    referrer: "https://search.example/?q=lamp#3",
    head: {},
  });
  const location = new URL(url);
  const history = {
    pushState(state, title, next) {
      location.href = new URL(next, location.href).href;
      return "result of the page's own";
    },
    replaceState(state, title, next) {
      this.pushState(state, title, next);
    },
  };
  Object.assign(window, {
    document,
    location,
    history,
    navigator: { onLine: true, platform: "Test", language: "de-DE" },
    screen: { width: 1280, height: 720 },
    localStorage: new Storage(),
    sessionStorage: new Storage(),
    WebSocket: net.FakeWebSocket,
    MutationObserver: class {
      constructor(run) {
        window.headChanged = run;
      }
      observe() {}
    },
    setTimeout: clock.setTimeout,
    clearTimeout: clock.clearTimeout,
    console: { warn: (...args) => warnings.push(args.join(" ")) },
    URL,
    Date: Clock,
    Math: Object.assign(Object.create(Math), { random: () => 0.5 }),
    Promise,
    Event,
    importModule: async (href) => {
      const name = href.replace("https://relay.example/web/", "");
      if (!modules[name]) throw new Error(`no module ${href}`);
      return modules[name];
    },
  });
  Object.defineProperties(window, Object.getOwnPropertyDescriptors(storage));
  for (const name of ["addEventListener", "dispatchEvent"]) window[name] = window[name].bind(window);
  window.window = window;
  vm.runInNewContext(source.replace("import(new URL", "importModule(new URL"), window);
  page = window;
  return window.Porchlight;
}

beforeEach(() => {
  clock = new FakeClock();
  net = fakeWebSockets();
  warnings = [];
  modules = {};
});

const connected = { type: "connected", connectionId: "c", heartbeat: 60, grace: 5, serverTime: "2026-01-01T00:00:00Z", focused: false };

async function welcomed(options = { group: "demo", visitorId: "C-1001" }, more = {}, pageOptions = {}) {
  const api = newPage(pageOptions);
  api.start(options);
  await settle();
  net.last().open();
  net.last().say({ ...connected, visitorId: options.visitorId ?? "unq-7", ...more });
  return api;
}

const presences = () => net.last().of("presence");
const fire = (target, name) => target.dispatchEvent(new Event(name));
const plain = (value) => JSON.parse(JSON.stringify(value));

test("is at most 8 KiB gzipped as served", () => {
  assert.ok(gzipSync(source, { level: 9 }).length <= 8192);
});

test("one tag is enough", async () => {
  newPage({ dataset: { group: "demo", visitorId: "C-1001", token: "jwt" } });
  await settle();
  assert.equal(net.last().url, "wss://relay.example/v1/visitor");
  assert.deepEqual(plain(net.last().protocols), ["porchlight.v1"]);
  net.last().open();
  assert.deepEqual(net.last().sent, [
    {
      type: "connect",
      group: "demo",
      visitorId: "C-1001",
      token: "jwt",
      page: { url: "https://shop.example/lamps?x=1", title: "Lamps", referrer: "https://search.example/?q=lamp" },
      client: { platform: "Test", language: "de-DE", screen: "1280x720" },
      data: {},
      visibility: "visible",
    },
  ]);
});

test("without data-group it waits for start", async () => {
  const api = newPage();
  await settle();
  assert.equal(api.state, "idle");
  assert.equal(net.made.length, 0);
});

test("walks through its states and tells them", async () => {
  const api = newPage();
  const seen = [];
  api.on("state", ({ state, reason }) => seen.push(reason ? `${state}:${reason}` : state));
  api.start({ group: "demo" });
  await settle();
  net.last().open();
  net.last().say({ ...connected, visitorId: "unq-7" });
  net.last().drop();
  await clock.advance(250);
  net.last().open();
  net.last().say({ ...connected, visitorId: "unq-7" });
  page.navigator.onLine = false;
  net.last().drop();
  page.navigator.onLine = true;
  fire(page, "online");
  await settle();
  net.last().drop(4409);
  assert.deepEqual(seen, ["connecting", "online", "reconnecting", "online", "offline", "reconnecting", "stopped:ended"]);
});

test("reconnects with doubling jitter, and never after a refusal", async () => {
  const api = await welcomed();
  const waits = [];
  for (let i = 0; i < 9; i++) {
    net.last().drop(1006);
    waits.push(clock.nextIn);
    await clock.advance(clock.nextIn);
  }
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
  for (const code of [4400, 4403, 4404, 4408, 4409]) {
    net.last().drop(code);
    assert.equal(api.state, "stopped", code);
    const made = net.made.length;
    await clock.advance(120_000);
    assert.equal(net.made.length, made);
    api.start({ group: "demo", visitorId: "C-1001" });
    await settle();
  }
  for (const code of [4001, 4002, 4003, 4429]) {
    net.last().drop(code);
    assert.equal(api.state, "connecting");
    await clock.advance(clock.nextIn);
  }
});

test("a drain is followed after the told delay, with jitter", async () => {
  await welcomed();
  net.last().say({ type: "reconnect", afterMs: 2000, reason: "drain" });
  net.last().drop(4000);
  assert.equal(clock.nextIn, 3000);
});

test("presence that is switched off is asked for again when the server said so", async () => {
  const api = await welcomed();
  net.last().say({ type: "reconnect", afterMs: 60_000, reason: "presence_disabled" });
  net.last().drop(4409);
  assert.notEqual(api.state, "stopped");
  assert.equal(clock.nextIn, 90_000, "spread over a minute");
  await clock.advance(90_000);
  net.last().open();
  net.last().say(connected);
  assert.equal(api.state, "online");
});

test("a server that never welcomes is left after 10 s", async () => {
  newPage().start({ group: "demo" });
  await settle();
  net.last().open();
  await clock.advance(10_250);
  assert.ok(net.made[0].closed);
  assert.equal(net.made.length, 2);
});

test("back on the network it probes, and replaces what does not answer", async () => {
  await welcomed();
  fire(page, "online");
  assert.equal(net.last().of("ping").length, 1);
  net.last().say({ type: "error", id: 1, code: "unknown_type", message: "?" });
  await clock.advance(30_000);
  assert.equal(net.made.length, 1);
  assert.deepEqual(warnings, []);
  fire(page, "online");
  await clock.advance(10_250);
  assert.equal(net.made.length, 2);
});

test("a unique visitor comes back with its secret", async () => {
  const api = await welcomed({ group: "demo" }, { uniqueSecret: "s3", code: "123456", codeExpiresAt: "2026-01-01T00:05:00Z" });
  assert.equal(api.visitorId, "unq-7");
  assert.equal(api.code, "123456");
  net.last().drop();
  await clock.advance(250);
  net.last().open();
  assert.equal(net.last().sent[0].uniqueSecret, "s3");
  assert.equal(net.last().sent[0].visitorId, "unq-7");
});

test("a unique visitor is the same on the next page", async () => {
  const kept = new Map();
  const localStorage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
  await welcomed({ group: "demo" }, { uniqueSecret: "s3" }, { storage: { localStorage } });
  await welcomed({ group: "demo" }, {}, { storage: { localStorage } });
  const [{ visitorId, uniqueSecret }] = net.last().sent;
  assert.deepEqual([visitorId, uniqueSecret], ["unq-7", "s3"]);
  await welcomed({ group: "demo", visitorId: "C-1001" }, {}, { storage: { localStorage } });
  assert.equal(net.last().sent[0].uniqueSecret, undefined);
});

test("a unique secret that is refused is forgotten, once", async () => {
  const api = await welcomed({ group: "demo" }, { uniqueSecret: "s3" });
  net.last().drop(4401);
  await settle();
  net.last().open();
  assert.equal(net.last().sent[0].uniqueSecret, undefined);
  net.last().drop(4401);
  assert.equal(api.state, "stopped");
});

test("an expired token is fetched anew when it can be", async () => {
  let minted = 0;
  const api = newPage();
  api.start({ group: "demo", visitorId: "C-1001", token: () => `jwt-${++minted}` });
  await settle();
  net.last().open();
  net.last().say(connected);
  net.last().drop(4401);
  await settle();
  net.last().open();
  assert.equal(net.last().sent[0].token, "jwt-2");
  const fixed = newPage();
  fixed.start({ group: "demo", visitorId: "C-1001", token: "old" });
  await settle();
  net.last().drop(4401);
  assert.equal(fixed.state, "stopped");
});

test("works without storage", async () => {
  const api = await welcomed({ group: "demo" }, { uniqueSecret: "s3" }, {
    storage: {
      get localStorage() {
        throw new Error("blocked");
      },
    },
  });
  assert.equal(api.state, "online");
  assert.deepEqual(warnings, []);
});

test("updates are merged within 250 ms", async () => {
  const api = await welcomed();
  api.update({ data: { cart: 1 } });
  await clock.advance(0);
  api.update({ data: { cart: 2, name: "x" } });
  page.document.title = "Cart";
  page.document.visibilityState = "hidden";
  fire(page.document, "visibilitychange");
  await clock.advance(249);
  assert.equal(presences().length, 1);
  await clock.advance(1);
  assert.equal(presences().length, 2);
  const { page: told, ...rest } = presences()[1];
  assert.deepEqual(rest, { type: "presence", data: { cart: 2, name: "x" }, visibility: "hidden" });
  assert.equal(told.title, "Cart");
});

test("a page that is left is not told as hidden", async () => {
  await welcomed();
  page.document.visibilityState = "hidden";
  fire(page.document, "visibilitychange");
  await clock.advance(499);
  assert.equal(presences().length, 0);
  await clock.advance(1);
  assert.equal(presences()[0].visibility, "hidden");
  page.document.visibilityState = "visible";
  fire(page.document, "visibilitychange");
  await clock.advance(250);
  assert.equal(presences()[1].visibility, "visible");
});

test("never more than 5 messages a second", async () => {
  const api = await welcomed();
  for (let i = 0; i < 200; i++) {
    api.update({ data: { i } });
    await clock.advance(5);
  }
  assert.ok(presences().length <= 5, `${presences().length}`);
  await clock.advance(250);
  assert.equal(presences().at(-1).data.i, 199);
});

test("data is merged, null deletes, and a reconnect tells it all again", async () => {
  const api = await welcomed({ group: "demo", visitorId: "C-1001", data: { plan: "gold", cart: 1 } });
  api.update({ data: { cart: null, name: "x" } });
  await clock.advance(0);
  assert.deepEqual(presences()[0].data, { cart: null, name: "x" });
  net.last().drop();
  await clock.advance(250);
  net.last().open();
  assert.deepEqual(net.last().sent[0].data, { plan: "gold", name: "x" });
});

test("too much data is refused here, where the developer sees it", async () => {
  const api = await welcomed();
  api.update({ data: { big: "x".repeat(5000) } });
  await clock.advance(1000);
  assert.equal(presences().length, 0);
  assert.equal(warnings.length, 1);
});

test("navigation inside the page is seen, and the page's own history works", async () => {
  await welcomed();
  assert.equal(page.history.pushState(null, "", "/cart"), "result of the page's own");
  page.document.title = "Cart";
  await clock.advance(0);
  assert.deepEqual(presences()[0].page, { url: "https://shop.example/cart", title: "Cart", referrer: "https://search.example/?q=lamp" });
  page.history.replaceState(null, "", "/cart#top");
  await clock.advance(250);
  assert.equal(presences().length, 1, "a fragment is no navigation");
  page.document.title = "Cart (2)";
  page.headChanged();
  await clock.advance(250);
  assert.equal(presences()[1].page.title, "Cart (2)");
});

test("what the site says of its page holds until the address changes", async () => {
  const api = await welcomed();
  api.update({ page: { title: "Lamps, page 2" } });
  await clock.advance(0);
  api.update({ data: { a: 1 } });
  await clock.advance(250);
  assert.equal(presences()[0].page.title, "Lamps, page 2");
  assert.equal(presences()[1].page, undefined);
  page.history.pushState(null, "", "/other");
  await clock.advance(250);
  assert.equal(presences()[2].page.title, "Lamps");
});

test("takes the focus when used, at most once a second, not while it has it", async () => {
  await welcomed();
  for (let i = 0; i < 10; i++) {
    fire(page, "pointerdown");
    await clock.advance(100);
  }
  assert.equal(presences().filter(({ active }) => active).length, 1);
  fire(page, "focus");
  await clock.advance(300);
  assert.equal(presences().filter(({ active }) => active).length, 2);
  net.last().say({ type: "focus", focused: true });
  await clock.advance(2000);
  fire(page, "pointerdown");
  await clock.advance(300);
  assert.equal(presences().length, 2);
});

test("leaving is told, final, and not the end of the API", async () => {
  const api = await welcomed();
  api.leave();
  assert.equal(net.last().sent.at(-1).type, "leave");
  assert.ok(net.last().closed);
  assert.equal(api.state, "stopped");
  await clock.advance(60_000);
  assert.equal(net.made.length, 1);
  api.start({ group: "demo", visitorId: "C-1001" });
  await settle();
  assert.equal(net.made.length, 2);
});

test("another visitor ID leaves as the old one first; the same one stays", async () => {
  const api = await welcomed({ group: "demo" });
  api.start({ group: "demo", data: { a: 1 } });
  await clock.advance(0);
  assert.equal(net.made.length, 1);
  assert.deepEqual(presences()[0].data, { a: 1 });
  api.start({ group: "demo", visitorId: "C-1002" });
  await settle();
  assert.equal(net.made[0].sent.at(-1).type, "leave");
  net.last().open();
  assert.equal(net.last().sent[0].visitorId, "C-1002");
});

test("handlers that throw harm nobody, and can be taken off", async () => {
  const api = await welcomed();
  const seen = [];
  api.on("signal", () => {
    throw new Error("site bug");
  });
  const off = api.on("signal", ({ name }) => seen.push(name));
  net.last().say({ type: "signal", name: "hello", data: {}, agent: { name: "Alice" } });
  off();
  net.last().say({ type: "signal", name: "again", data: {}, agent: { name: "Alice" } });
  assert.deepEqual(seen, ["hello"]);
  assert.ok(warnings.every((text) => text.includes("site bug")) && warnings.length === 2);
});

test("junk from the wire is reported, never thrown", async () => {
  const api = await welcomed();
  net.last().say("{");
  net.last().say("null");
  assert.equal(warnings.length, 2);
  assert.equal(api.state, "online");
});

test("requests resolve with their answer and reject with the server's code", async () => {
  const api = await welcomed({ group: "demo" });
  const renewed = api.extendCode();
  net.last().say({ type: "code", id: 1, code: "123456", codeExpiresAt: "2026-01-01T00:10:00Z" });
  assert.equal((await renewed).codeExpiresAt, api.codeExpiresAt);
  const failing = api.startSession();
  assert.deepEqual(net.last().sent.at(-1), { type: "startSession", id: 2 });
  net.last().say({ type: "error", id: 2, code: "rate_limited", message: "slow down" });
  await assert.rejects(failing, { code: "rate_limited" });
});

test("a session that waits has a key, told when it changes, and no way in before an agent is there", async () => {
  const seen = fakeModules();
  const api = await welcomed();
  const keys = [];
  api.on("sessionKey", ({ sessionKey }) => keys.push(sessionKey));
  const waiting = { sessionId: "s1", role: "publisher", kind: "screen", sessionKey: "123456", sessionKeyExpiresAt: "2026-01-01T00:10:00Z" };
  const started = api.startSession({ key: "random" });
  assert.deepEqual(net.last().sent.at(-1), { type: "startSession", key: "random", id: 1 });
  net.last().say({ type: "ready", id: 1, ...waiting });
  assert.equal((await started).sessionKey, "123456");
  assert.deepEqual([api.sessionKey, api.sessionKeyExpiresAt], ["123456", waiting.sessionKeyExpiresAt]);
  await settle();
  assert.equal(seen.shares.length, 0, "nothing is shared");

  // The next page is told by `connected`, and one that was away for long is told that it is over.
  net.last().drop();
  await clock.advance(1_000);
  net.last().open();
  net.last().say({ ...connected, visitorId: "C-1001", sessionKey: "123456", sessionKeyExpiresAt: waiting.sessionKeyExpiresAt });
  assert.deepEqual(keys, ["123456"], "the same key is no news");

  net.last().say({ ...offer, sessionId: "s1" });
  await settle();
  net.last().say({ type: "offerEnded", requestId: "q1", outcome: "expired" });
  assert.equal(api.sessionKey, undefined);
  api.startSession();
  net.last().say({ type: "ready", id: 2, ...waiting, sessionKey: "654321" });
  const cancelled = api.cancelSession();
  assert.deepEqual(net.last().sent.at(-1), { type: "cancelSession", id: 3 });
  net.last().say({ type: "ok", id: 3 });
  await cancelled;
  assert.deepEqual(keys, ["123456", undefined, "654321", undefined]);
  api.startSession();
  net.last().say({ type: "ready", id: 4, ...waiting });
  api.leave();
  assert.equal(api.sessionKey, undefined, "who leaves waits no longer");
});

test("the widget with the key is loaded when it is asked for, by call or by a click", async () => {
  const opened = [];
  modules["key.js"] = { openKey: (options) => opened.push(options) };
  const api = await welcomed({ group: "demo", visitorId: "C-1001", nonce: "n" });
  await api.showKey();
  assert.equal(opened.length, 1);
  assert.deepEqual([opened[0].api, opened[0].nonce], [api, "n"]);
  for (const marked of [true, false]) {
    const click = new Event("click");
    Object.defineProperty(click, "target", { value: { closest: (name) => (marked && name === "[data-porchlight-key]" ? {} : null) } });
    page.dispatchEvent(click);
  }
  page.dispatchEvent(Object.defineProperty(new Event("click"), "target", { value: page }));
  await settle();
  assert.equal(opened.length, 2);
  assert.deepEqual(warnings, []);
});

test("a prerendered page is no visit until it is shown", async () => {
  newPage({ dataset: { group: "demo" }, storage: {} });
  await settle();
  const before = net.made.length;
  class Prerendered extends EventTarget {
    prerendering = true;
    currentScript = { src: "https://relay.example/porchlight.js", dataset: { group: "demo" } };
    visibilityState = "visible";
    title = "";
    referrer = "";
    head = {};
  }
  const document = new Prerendered();
  newPage({ storage: { document } });
  await settle();
  assert.equal(net.made.length, before);
  fire(document, "prerenderingchange");
  await settle();
  assert.equal(net.made.length, before + 1);
});

// ---- the agent's question ---------------------------------------------------------------------

const offer = Object.freeze({
  type: "offer",
  requestId: "q1",
  sessionId: "s1",
  kind: "screen",
  control: false,
  agent: { name: "Alice" },
  terms: { required: true, version: "v2", text: "…" },
  expiresAt: "2026-01-01T00:01:00Z",
});

/** terms.js and share.js, with the visitor's part played by the test. */
function fakeModules() {
  const seen = { dialogs: [], shares: [], kept: null };
  modules["terms.js"] = {
    openDialog(options) {
      const dialog = { options, outcome: null, closed: false };
      dialog.displayed = new Promise((resolve) => (dialog.show = resolve));
      dialog.answer = new Promise((resolve) => (dialog.say = resolve));
      dialog.ended = (outcome) => (dialog.outcome = outcome);
      dialog.close = () => (dialog.closed = true);
      seen.dialogs.push(dialog);
      return dialog;
    },
  };
  modules["share.js"] = {
    startSharing(options) {
      const share = { options, stopped: null, ends: [] };
      share.stop = (reason) => (share.stopped = reason);
      share.ended = (message) => share.ends.push(message);
      seen.shares.push(share);
      return share;
    },
    takeKept: async (key) => seen.kept?.(key),
  };
  return seen;
}

test("asks, says when it was displayed, and carries the acceptance with its version", async () => {
  const seen = fakeModules();
  const api = await welcomed();
  net.last().say(offer);
  await settle();
  const [dialog] = seen.dialogs;
  assert.equal(dialog.options.offer.agent.name, "Alice");
  assert.equal(net.last().of("offerDisplayed").length, 0, "not before it is seen");
  dialog.show();
  await settle();
  assert.deepEqual(net.last().of("offerDisplayed"), [{ type: "offerDisplayed", requestId: "q1" }]);
  dialog.say(true);
  await settle();
  assert.deepEqual(net.last().of("terms"), [{ type: "terms", requestId: "q1", accepted: true, termsVersion: "v2", id: 1 }]);
  assert.equal(seen.shares.length, 0, "nothing is shared before the server is ready");
  net.last().say({ type: "ready", requestId: "q1", sessionId: "s1", role: "publisher", ticket: "t" });
  await settle();
  const { ticket, server, agentName, dialog: handed } = seen.shares[0].options;
  assert.deepEqual([ticket, server, agentName, handed], ["t", "https://relay.example", "Alice", dialog]);
  assert.equal(api.session, seen.shares[0]);
  net.last().say({ type: "sessionEnded", sessionId: "s1", reason: "agent_ended" });
  assert.equal(seen.shares[0].ends[0].reason, "agent_ended");
});

test("a refusal is told and final", async () => {
  const seen = fakeModules();
  await welcomed();
  net.last().say(offer);
  await settle();
  seen.dialogs[0].say(false);
  await settle();
  assert.equal(net.last().of("terms")[0].accepted, false);
});

test("an offer that ended closes the dialog with its outcome", async () => {
  const seen = fakeModules();
  await welcomed();
  net.last().say(offer);
  await settle();
  net.last().say({ type: "offerEnded", requestId: "other", outcome: "cancelled" });
  assert.equal(seen.dialogs[0].outcome, null);
  net.last().say({ type: "offerEnded", requestId: "q1", outcome: "cancelled" });
  assert.equal(seen.dialogs[0].outcome, "cancelled");
});

test("an offer that ends while the dialog still loads is never shown", async () => {
  const seen = fakeModules();
  await welcomed();
  net.last().say(offer);
  net.last().say({ type: "offerEnded", requestId: "q1", outcome: "cancelled" });
  await settle();
  assert.equal(seen.dialogs.length, 0);
});

test("an answer lost with the connection is said again when the offer comes again", async () => {
  const seen = fakeModules();
  await welcomed();
  net.last().say(offer);
  await settle();
  seen.dialogs[0].show();
  await settle();
  net.last().drop();
  seen.dialogs[0].say(true);
  await clock.advance(250);
  net.last().open();
  net.last().say(connected);
  net.last().say(offer);
  await settle();
  assert.equal(seen.dialogs.length, 1);
  assert.equal(net.last().of("terms")[0].accepted, true);
});

test("a late acceptance that the server refuses is shown as failed", async () => {
  const seen = fakeModules();
  await welcomed();
  net.last().say(offer);
  await settle();
  seen.dialogs[0].say(true);
  await settle();
  net.last().say({ type: "error", id: 1, code: "request_expired", message: "too late" });
  await settle();
  assert.equal(seen.dialogs[0].outcome, "failed");
});

test("without terms it waits for ready and asks nothing", async () => {
  const seen = fakeModules();
  await welcomed();
  net.last().say({ ...offer, terms: { required: false, version: "v2" } });
  await settle();
  assert.equal(seen.dialogs.length, 0);
  net.last().say({ type: "ready", requestId: "q1", sessionId: "s1", role: "publisher", ticket: "t" });
  await settle();
  assert.equal(seen.shares[0].options.agentName, "Alice");
});

test("requests for control are left to the share unless the site listens", async () => {
  const seen = fakeModules();
  const api = await welcomed();
  net.last().say({ type: "ready", sessionId: "s1", role: "publisher", ticket: "t" });
  await settle();
  const asked = [];
  const wish = { reject: () => asked.push("rejected"), grant: () => asked.push("granted") };
  assert.equal(seen.shares[0].options.onControl(wish), false);
  api.on("controlRequest", ({ grant }) => grant());
  assert.notEqual(seen.shares[0].options.onControl(wish), false);
  assert.deepEqual(asked, ["granted"]);
});

test("a session of the page before goes on in this tab, if it may", async () => {
  const seen = fakeModules();
  const kept = { server: "https://relay.example", sessionId: "s1", resumeToken: "r9", agentName: "Alice" };
  const start = async (found, value = kept) => {
    const taken = [];
    seen.kept = (key) => (taken.push(key), found);
    const sessionStorage = new Storage();
    if (value) sessionStorage.setItem("porchlight.share", JSON.stringify(value));
    newPage({ storage: { sessionStorage } }).start({ group: "demo" });
    await settle();
    return { taken, shares: seen.shares.splice(0) };
  };
  const { taken, shares } = await start(kept);
  assert.deepEqual(taken, ["porchlight.share"]);
  assert.equal(shares[0].options.resumeToken, "r9");
  assert.equal((await start(null)).shares.length, 0, "too late, or a copy");
  assert.equal((await start({ ...kept, server: "https://other.example" })).shares.length, 0, "another server");
  assert.equal((await start(kept, null)).taken.length, 0, "nothing is loaded for nothing");
});

test("a module that does not load is reported, and the dialog says so", async () => {
  const seen = fakeModules();
  await welcomed();
  net.last().say(offer);
  await settle();
  delete modules["share.js"];
  net.last().say({ type: "ready", requestId: "q1", sessionId: "s1", role: "publisher", ticket: "t" });
  await settle();
  assert.equal(seen.dialogs[0].outcome, "failed");
  assert.equal(warnings.length, 1);
});
