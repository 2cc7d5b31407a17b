// Webhooks as the company's receiver sees them, however badly it behaves: signed so that the library of the Standard
// Webhooks specification verifies them, also while the secret changes; each at least once, under one id, in order;
// over deaths of the server; and never where a redirect leads.
import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import { after, test } from "node:test";
import standardwebhooks from "../../web/node_modules/standardwebhooks/dist/index.js";
import { Server, until } from "./server.js";

const { Webhook } = standardwebhooks;

const LETTERS = Number(process.env.PORCHLIGHT_WEBHOOKS ?? 300);
const SEED = Number(process.env.PORCHLIGHT_WEBHOOK_SEED ?? 1);
/** Chance that repeats itself: mulberry32. @param {number} seed @returns {(end: number) => number} less than `end` */
function chance(seed) {
  let state = seed >>> 0;
  return (end) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % end;
  };
}

/**
 * A receiver with a will of its own. Answers once it was told its first secret; `heard` is everything that came, in
 * order.
 */
class Receiver {
  /** @type {{ id: string, place: number, type: string, data: any, keys: string, taken: boolean }[]} */
  heard = [];
  /** Newest last. @type {string[]} */
  secrets = [];
  /** Goes wrong as often as not. */
  wild = true;
  gone = false;
  strays = 0;
  /** What it did, by name. @type {Record<string, number>} */
  did = {};
  /** @type {Error | undefined} */
  broken;
  #chance = chance(SEED);
  #server = http.createServer((request, response) => {
    /** @type {Buffer[]} */
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("error", () => {});
    request.on("end", () => {
      try {
        this.#take(request, response, Buffer.concat(parts).toString());
      } catch (error) {
        this.broken ??= /** @type {Error} */ (error);
        response.destroy();
      }
    });
  });
  /** Where redirects lead; nothing may follow them. */
  #elsewhere = http.createServer((_request, response) => {
    this.strays += 1;
    response.end();
  });

  async start() {
    for (const server of [this.#server, this.#elsewhere]) {
      await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
    }
    return this;
  }

  /** @param {http.Server} server */
  #port(server) {
    return /** @type {import("node:net").AddressInfo} */ (server.address()).port;
  }

  get url() {
    return `http://127.0.0.1:${this.#port(this.#server)}/hook?a=b`;
  }

  /** Which of the secrets sign a request, oldest first, as `-` or `+` each. @param {string} body @param {any} headers */
  #keys(body, headers) {
    return this.secrets
      .map((secret) => {
        try {
          new Webhook(secret).verify(body, headers);
          return "+";
        } catch {
          return "-";
        }
      })
      .join("");
  }

  /** @param {http.IncomingMessage} request @param {http.ServerResponse} response @param {string} body */
  #take(request, response, body) {
    assert.equal(request.method, "POST");
    assert.equal(request.url, "/hook?a=b");
    assert.match(String(request.headers["content-type"]), /^application\/json/);
    const keys = this.#keys(body, request.headers);
    assert.match(keys, /\+/, `signed with one of ${this.secrets.length} secrets`);
    // The library is no rubber stamp.
    assert.doesNotMatch(this.#keys(`${body} `, request.headers), /\+/);
    const letter = JSON.parse(body);
    assert.equal(request.headers["webhook-id"], letter.id);
    const note = { id: letter.id, place: letter.place, type: letter.type, data: letter.data, keys, taken: false };
    this.heard.push(note);
    /** @type {[string, () => void][]} */
    const wrong = [
      ["5xx", () => response.writeHead([500, 502, 503][this.#chance(3)]).end("no")],
      ["4xx", () => response.writeHead([400, 401, 404, 409, 422][this.#chance(5)]).end()],
      ["too many", () => response.writeHead(429, { "retry-after": "0" }).end()],
      ["redirect", () => {
        const location = `http://127.0.0.1:${this.#port(this.#elsewhere)}/`;
        response.writeHead([301, 302, 303, 307, 308][this.#chance(5)], { location }).end();
      }],
      ["reset", () => request.socket.resetAndDestroy()],
      ["torn", () => request.socket.end("HTTP/1.1 2")],
      ["junk", () => request.socket.end("hello\r\n\r\n")],
    ];
    /** @type {[string, () => void][]} */
    const right = [
      ["200", () => response.writeHead(200, { "content-type": "text/plain" }).end("x".repeat(this.#chance(50_000)))],
      ["202", () => response.writeHead(202).end()],
      ["204", () => response.writeHead(204).end()],
      // Taken, and nobody hears so: it comes again.
      ["unheard", () => request.socket.resetAndDestroy()],
    ];
    if (this.gone) return void response.writeHead(410).end();
    const kinds = this.wild && this.#chance(2) === 0 ? wrong : right;
    const [name, act] = kinds[this.#chance(this.wild ? kinds.length : 3)];
    // Rarer than the others, as it takes its time.
    if (kinds === wrong && this.#chance(15) === 0) {
      this.did.stall = (this.did.stall ?? 0) + 1;
      return;
    }
    note.taken = kinds === right;
    this.did[name] = (this.did[name] ?? 0) + 1;
    act();
  }

  stop() {
    for (const server of [this.#server, this.#elsewhere]) {
      server.closeAllConnections();
      server.close();
    }
  }
}

const KINDS = ["EVENT_KIND_FEED_POSTED"];

test("letters are verified by the specification's library, come in order and at least once", async () => {
  console.log(`${LETTERS} letters, seed ${SEED}`);
  const receiver = await new Receiver().start();
  const server = new Server();
  after(async () => {
    await server.kill();
    receiver.stop();
    fs.rmSync(server.dir, { recursive: true, force: true });
  });
  await server.start();
  const put = async (/** @type {boolean} */ rotateSecret) => {
    const sink = { sinkId: "crm", webhook: { url: receiver.url }, eventKinds: KINDS };
    const { secret } = await server.admin("PutSink", { group: "demo", sink, rotateSecret });
    if (secret) receiver.secrets.push(secret);
    return secret;
  };
  assert.match(await put(false), /^whsec_/);

  /** Ids of the posts by what they say. @type {Map<string, string>} */
  const made = new Map();
  const post = async (/** @type {string} */ text) => {
    const record = { object: "Case", id: "1" };
    // Repeated by its request ID it is one post: the answer may have died with the server.
    const { item } = await server.admin("PostFeed", { group: "demo", record, text, requestId: text });
    made.set(text, item.postId);
  };
  const thirds = [0, 1, 2].map((third) => [Math.floor((LETTERS * third) / 3), Math.floor((LETTERS * (third + 1)) / 3)]);
  for (const [round, [from, to]] of thirds.entries()) {
    for (let at = from; at < to; at += 4) {
      const texts = Array.from({ length: Math.min(4, to - at) }, (_, index) => `Ünïcode ✓ ${at + index}`);
      await Promise.all(texts.map(post));
      // In the middle of it all the secret is another one.
      if (at === from + 24 && round < 2) assert.match(await put(true), /^whsec_/);
    }
    if (round < 2) {
      await server.kill();
      await server.start();
    }
  }
  const taken = () => new Set(receiver.heard.filter((letter) => letter.taken).map((letter) => letter.id));
  let count = 0;
  while (count < LETTERS) {
    count = await until(`more than ${count} of ${LETTERS} letters`, () => {
      if (receiver.broken) throw receiver.broken;
      const now = taken().size;
      return now > count && now;
    });
  }

  // At least once, under one id for good, and the id is the event's.
  assert.deepEqual([...taken()].sort(), [...made.values()].map((id) => `evt_${id}`).sort());
  const names = new Map();
  let last = 0;
  for (const { id, place, type, data, taken } of receiver.heard) {
    assert.equal(names.get(place) ?? id, id, "a place has one name");
    names.set(place, id);
    assert.equal(type, "feed.posted");
    assert.equal(made.get(data.post.text), data.post.postId);
    // What was taken without the server's hearing so comes again; nothing else does, and nothing is skipped.
    assert.ok(place >= last, `${place} came behind ${last}`);
    if (taken) last = place;
  }
  const order = [...names.keys()];
  assert.deepEqual(order, [...order].sort((one, other) => one - other), "in order");
  // First the first secret, then both, then the second and the third: an old one signs beside its successor only.
  const keys = receiver.heard.map((letter) => letter.keys).filter((keys, at, all) => keys !== all[at - 1]);
  // `-+` and `+-` came between the change and the answer that told of it.
  const course = ["+", "+-", "++", "++-", "-+", "-++"];
  assert.deepEqual([...keys].sort((one, other) => course.indexOf(one) - course.indexOf(other)), keys, keys.join(" "));
  for (const wanted of ["+", "++", "-++"]) assert.ok(keys.includes(wanted), `${wanted} in ${keys}`);
  assert.equal(receiver.strays, 0, "no redirect was followed");
  for (const way of ["5xx", "4xx", "redirect", "reset", "torn", "stall", "unheard"]) {
    assert.ok((receiver.did[way] ?? 0) > 0, `${way} was tried: ${JSON.stringify(receiver.did)}`);
  }
  console.log(`${receiver.heard.length} requests: ${JSON.stringify(receiver.did)}`);

  // A letter that says nothing is signed alike; who answers gone is left alone.
  receiver.wild = false;
  const stands = async () => (await server.admin("ListSinks", { group: "demo" })).sinks[0];
  await until("the last to be noted", async () => Number((await stands()).events.after) >= last);
  assert.equal((await server.admin("TestSink", { group: "demo", sinkId: "crm" })).error, "");
  assert.equal(receiver.heard.at(-1)?.type, "sink.test");
  assert.equal(receiver.heard.at(-1)?.keys, "-++");
  receiver.gone = true;
  await post("gone");
  await until("the end of the sink", async () => {
    const { disabledWhy, sink } = await stands();
    return disabledWhy.includes("410") && sink.disabled;
  });
  assert.equal(receiver.broken, undefined);
  assert.ok(!/whsec_|eyJ|plk_|pla_/.test(server.log), "the server told a secret");
});
