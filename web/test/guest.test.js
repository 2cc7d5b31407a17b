// The guest's way in and what is said on it, and what an agent hands to guests.
import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";

import { accept, agentAt, decline, enter, isLetIn } from "../lib/guest.js";
import { joinAddress, linkOf } from "../pages/agent/links.js";
import { initials, showEnd, spelled, viewState } from "../pages/agent/words.js";
import { addressOf, caretAfter, digitsOf, inviteOf } from "../pages/join/key.js";
import { keepSeat, takeSeat } from "../pages/join/store.js";
import { doorWords, ending, refusal } from "../pages/join/words.js";
import { takeKept } from "../share.js";
import { letGo } from "../lib/kept.js";

const SERVER = "https://help.example";

/** A server that answers so, and what it was asked. */
function answering(status, body, headers = {}) {
  const asked = [];
  const fetch = async (url, init) => {
    asked.push({ url, body: JSON.parse(init.body), init });
    return new Response(JSON.stringify(body), { status, headers });
  };
  return { asked, where: { server: SERVER, fetch } };
}

/** A tab's storage. */
function storage(entries = {}) {
  const kept = new Map(Object.entries(entries));
  globalThis.sessionStorage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  };
  return kept;
}

afterEach(() => {
  delete globalThis.sessionStorage;
});

describe("coming in", () => {
  it("shows the key or the invite, tells what was told, and is given a ticket", async () => {
    const letIn = { ticket: "t", sessionId: "s", role: "viewer", kind: "show", steps: [] };
    const { asked, where } = answering(200, letIn);
    assert.deepEqual(await enter({ invite: "i" }, { name: " Ann ", email: "" }, where), letIn);
    await enter({ sessionKey: "123456789", group: "demo" }, {}, where);
    assert.deepEqual(
      asked.map(({ url, body }) => [url, body]),
      [
        [`${SERVER}/v1/guest`, { invite: "i", name: "Ann" }],
        [`${SERVER}/v1/guest`, { sessionKey: "123456789", group: "demo" }],
      ],
    );
    assert.equal(asked[0].init.credentials, "omit");
  });

  it("is asked first where it shows its own screen, and answers what it was asked", async () => {
    const question = {
      sessionId: "s",
      role: "publisher",
      kind: "view",
      requestId: "r",
      agent: { name: "Alice" },
      control: false,
      terms: { required: true, version: "v1" },
      steps: ["terms"],
    };
    const way = { sessionKey: "123456789" };
    const asked = /** @type {any} */ (await enter(way, {}, answering(200, question).where));
    assert.equal(isLetIn(asked), false);
    const letIn = { ticket: "t", sessionId: "s", role: "publisher", kind: "view", steps: [] };
    const yes = answering(200, letIn);
    assert.equal(isLetIn(await accept(way, { name: "Gina" }, asked, yes.where)), true);
    const terms = { requestId: "r", accepted: true, termsVersion: "v1" };
    assert.deepEqual(yes.asked[0].body, { ...way, name: "Gina", terms });
    const no = { asked: /** @type {any[]} */ ([]) };
    const fetch = async (/** @type {any} */ _url, /** @type {any} */ init) => {
      no.asked.push(JSON.parse(init.body));
      return new Response(null, { status: 204 });
    };
    await decline(way, asked, { server: SERVER, fetch: /** @type {any} */ (fetch) });
    assert.deepEqual(no.asked, [{ ...way, terms: { ...terms, accepted: false } }]);
  });

  it("is told whose page an address is, if anybody's", async () => {
    const urls = /** @type {string[]} */ ([]);
    const naming = (/** @type {string | null} */ name) => ({
      server: SERVER,
      fetch: /** @type {any} */ (async (/** @type {string} */ url) => (urls.push(url), new Response(JSON.stringify({ name })))),
    });
    assert.equal(await agentAt("a@b.c", "demo", naming("Alice")), "Alice");
    assert.equal(await agentAt("nobody", null, naming(null)), null);
    assert.deepEqual(urls, [`${SERVER}/v1/at/a%40b.c?group=demo`, `${SERVER}/v1/at/nobody`]);
    assert.equal(await agentAt("a", "demo", { server: SERVER, fetch: () => Promise.reject(new Error("cut")) }), null);
    for (const [path, address] of [["/at/alice", "alice"], ["/at/a%40b.c/", "a@b.c"], ["/join", null], ["/at/%", null]]) {
      assert.equal(addressOf(/** @type {string} */ (path)), address);
    }
  });

  it("reads what it will do before it does it", () => {
    const title = (/** @type {any} */ door) => doorWords(door).title;
    assert.equal(title({ invite: "i", shares: true, agent: "Alice" }), "Alice would like to see your screen");
    assert.equal(title({ invite: null, shares: true }), "Somebody would like to see your screen");
    assert.equal(title({ invite: "i" }), "You are invited to watch");
    // A key may lead to either: nothing is promised that might not be kept.
    assert.doesNotMatch(doorWords({ invite: null }).promise, /only watch/);
    assert.match(doorWords({ invite: "i" }).promise, /only watch/);
    assert.deepEqual(viewState("offered", false), { name: "waiting", label: "Waiting for the guest" });
    assert.equal(viewState("active", true).name, "reconnecting");
    assert.equal(viewState("displayed", true).name, "displayed");
  });

  it("rejects with the server's code, and how long to wait", async () => {
    const error = { code: "rate_limited", message: "wait", requestId: "r" };
    const { where } = answering(429, { error }, { "retry-after": "900" });
    await assert.rejects(enter({ invite: "i" }, {}, where), { code: "rate_limited", retryAfterMs: 900_000 });
    const wrong = answering(404, { error: { ...error, code: "not_found" } });
    await assert.rejects(enter({ invite: "i" }, {}, wrong.where), { code: "not_found", retryAfterMs: undefined });
    const empty = answering(200, { sessionId: "s" });
    await assert.rejects(enter({ invite: "i" }, {}, empty.where), { code: "http_200" });
  });
});

describe("keys and invites", () => {
  it("takes the digits of whatever was typed or pasted", () => {
    assert.equal(digitsOf("123 456-789"), "123456789");
    assert.equal(digitsOf("Key: 12 34."), "1234");
    assert.equal(digitsOf("1234567890123"), "123456789012");
    assert.equal(digitsOf(""), "");
    assert.equal(spelled(digitsOf("1234567")), "123 456 7");
  });

  it("keeps the caret behind the same digit", () => {
    for (const [text, digits, at] of [
      ["123 456", 0, 0],
      ["123 456", 3, 3],
      ["123 456", 4, 5],
      ["123 456", 6, 7],
      ["", 2, 0],
    ]) {
      assert.equal(caretAfter(text, digits), at, `${digits} digits of "${text}"`);
    }
  });

  it("finds an invite in a fragment", () => {
    assert.equal(inviteOf("#abc"), "abc");
    assert.equal(inviteOf("#"), null);
    assert.equal(inviteOf(""), null);
  });

  it("hands out addresses that can be sent and said", () => {
    assert.equal(linkOf("/join#abc", SERVER), `${SERVER}/join#abc`);
    assert.equal(linkOf("https://other.example/join#abc", SERVER), "https://other.example/join#abc");
    assert.equal(joinAddress(`${SERVER}/join#abc`, "http://x"), "help.example/join");
    assert.equal(joinAddress(undefined, "http://127.0.0.1:7400"), "127.0.0.1:7400/join");
  });
});

describe("words", () => {
  const refused = (code, more = {}) => refusal({ code, message: "as the server says", ...more }, "key");

  it("says one thing of every key or link that leads nowhere", () => {
    assert.match(refused("not_found"), /No session has this key/);
    assert.match(refusal({ code: "not_found", message: "" }, "invite"), /This link leads nowhere any more/);
  });

  it("says how long a lockout takes", () => {
    assert.match(refused("rate_limited", { retryAfterMs: 840_001 }), /again in 15 minutes\.$/);
    assert.match(refused("rate_limited", { retryAfterMs: 60_000 }), /again in a minute\.$/);
    assert.match(refused("rate_limited", { retryAfterMs: 4_200 }), /again in 5 s\.$/);
    assert.match(refused("rate_limited"), /again later\.$/);
  });

  it("leaves what it does not know to the server's sentence", () => {
    assert.equal(refused("bad_value"), "as the server says");
  });

  it("tells who ended it, and offers to come back where that may help", () => {
    assert.deepEqual(ending("agent_ended", "Alice"), {
      title: "It is over",
      text: "Alice no longer shows the screen.",
      again: false,
    });
    assert.equal(ending("something_new", "Alice").text, "Nothing is shown here any more.");
    for (const reason of ["left", "lost", "too_slow", "replaced"]) assert.equal(ending(reason, "Alice").again, true, reason);
    for (const reason of ["expired", "time_limit", "not_found"]) assert.equal(ending(reason, "Alice").again, false, reason);
  });

  it("tells an agent why its screen is shown no longer", () => {
    assert.deepEqual(showEnd("agent_ended"), { text: "", own: true });
    assert.equal(showEnd("expired").own, false);
    assert.equal(showEnd("operator_ended").text, "An operator ended the session.");
  });

  it("makes two letters of a name", () => {
    assert.equal(initials("Ann Bee Cole"), "AC");
    assert.equal(initials("ann"), "A");
    assert.equal(initials(""), "?");
  });
});

describe("what a page leaves to the next one of its tab", () => {
  it("is a guest's seat, for whoever looks first", () => {
    storage();
    keepSeat({ resumeToken: "r", title: "Tour", name: "Ann" });
    assert.deepEqual(takeSeat(), { resumeToken: "r", title: "Tour", name: "Ann" });
    assert.equal(takeSeat(), null);
    storage({ "porchlight.guest": "no JSON" });
    assert.equal(takeSeat(), null);
  });

  it("is an agent's Show, of a page that left less than a minute ago", async () => {
    const share = (lostAt) => JSON.stringify({ server: SERVER, sessionId: "s", resumeToken: "r", lostAt });
    const kept = storage({ a: share(Date.now()), b: share(undefined), c: share(Date.now() - 61_000), d: "no JSON" });
    assert.equal((await takeKept("a"))?.resumeToken, "r");
    assert.equal(await takeKept("b"), null, "a page that is still there");
    assert.equal(await takeKept("c"), null, "too late");
    assert.equal(await takeKept("d"), null);
    assert.equal(await takeKept("e"), null);
    assert.deepEqual([...kept.keys()], ["d"].filter((key) => kept.has(key)));
  });

  it("is a share of a browser that started again, once, and not one that a page still holds", async (t) => {
    /** @type {Set<string>} */
    const locked = new Set(["porchlight.in-use"]);
    const request = async (name, { ifAvailable }, run) => {
      if (locked.has(name)) return ifAvailable ? run(null) : undefined;
      locked.add(name);
      await run({ name });
      locked.delete(name);
    };
    Object.defineProperty(globalThis, "navigator", { configurable: true, value: { locks: { request } } });
    t.after(() => delete globalThis.navigator);
    const share = (sessionId, ago) => JSON.stringify({ server: SERVER, sessionId, resumeToken: "r", aliveAt: Date.now() - ago });
    storage({ a: share("gone", 30_000), b: share("in-use", 0), c: share("old", 120_000) });
    assert.equal((await takeKept("a"))?.sessionId, "gone");
    assert.ok(locked.has("porchlight.gone"), "it is held from now on");
    assert.equal(await takeKept("b"), null, "a duplicated tab");
    assert.equal(await takeKept("c"), null, "too late");
    letGo("gone");
    await Promise.resolve();
    await Promise.resolve();
    assert.equal(locked.has("porchlight.gone"), false);
  });
});
