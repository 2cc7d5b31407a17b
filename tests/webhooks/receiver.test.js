// The receiver of docs/examples/webhooks, as it is written there, gets letters of a real server.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { after, test } from "node:test";
import { Server, until } from "./server.js";

const EXAMPLE = path.join(import.meta.dirname, "../../docs/examples/webhooks/receiver.mjs");
const PACKAGES = path.join(import.meta.dirname, "../../web/node_modules");

/** The receiver, in a folder where npm brought what it needs. */
class Receiver {
  told = "";
  /** @type {any[]} */
  letters = [];
  /** @type {import("node:child_process").ChildProcess | undefined} */
  process;

  /** @param {string} dir @param {string} secret @param {number} [port] */
  async start(dir, secret, port = 0) {
    const file = path.join(dir, "receiver.mjs");
    if (!fs.existsSync(file)) {
      fs.copyFileSync(EXAMPLE, file);
      fs.symlinkSync(PACKAGES, path.join(dir, "node_modules"));
    }
    const env = { ...process.env, PORCHLIGHT_WEBHOOK_SECRET: secret, PORT: String(port) };
    this.process = spawn(process.execPath, [file], { env, stdio: ["ignore", "pipe", "pipe"] });
    this.process.stderr?.on("data", (text) => (this.told += text));
    let line = "";
    this.process.stdout?.on("data", (text) => {
      const lines = (line + text).split("\n");
      line = lines.pop() ?? "";
      this.letters.push(...lines.map((one) => JSON.parse(one)));
    });
    const found = await until("the receiver", () => /listening on (\d+)/.exec(this.told));
    this.port = Number(found[1]);
    return this;
  }

  async stop() {
    const gone = new Promise((resolve) => this.process?.once("exit", resolve));
    this.process?.kill();
    await gone;
  }
}

test("the receiver takes what the server signed, once, and nothing else", async () => {
  const server = new Server();
  const dir = fs.mkdtempSync(path.join(server.dir, "receiver-"));
  /** @type {Receiver[]} */
  const started = [];
  after(async () => {
    for (const receiver of started) await receiver.stop();
    await server.kill();
    fs.rmSync(server.dir, { recursive: true, force: true });
  });
  await server.start();
  // Its secret is told when the sink is made, and the port is not known before the receiver has one.
  const first = await new Receiver().start(dir, "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
  await first.stop();
  const sink = { sinkId: "example", webhook: { url: `http://127.0.0.1:${first.port}/` }, eventKinds: ["EVENT_KIND_FEED_POSTED"] };
  const { secret } = await server.admin("PutSink", { group: "demo", sink });
  const record = { object: "Case", id: "1" };
  for (const text of ["one", "two ✓", "three"]) await server.admin("PostFeed", { group: "demo", record, text });

  // It was away, and everything waited for it.
  const receiver = await new Receiver().start(dir, secret, first.port);
  started.push(receiver);
  await until("three letters", () => receiver.letters.length >= 3);
  assert.deepEqual(receiver.letters.map(({ type, data }) => [type, data.post.text]), [
    ["feed.posted", "one"],
    ["feed.posted", "two ✓"],
    ["feed.posted", "three"],
  ]);
  assert.equal((await server.admin("TestSink", { group: "demo", sinkId: "example" })).error, "");
  assert.equal((await until("the test letter", () => receiver.letters[3])).type, "sink.test");

  const url = `http://127.0.0.1:${receiver.port}/`;
  const headers = { "webhook-id": "evt_1", "webhook-timestamp": `${Math.floor(Date.now() / 1000)}`, "webhook-signature": "v1,AAAA" };
  for (const [wrong, status] of /** @type {[RequestInit, number][]} */ ([
    [{ method: "POST", body: "{}", headers }, 401],
    [{ method: "POST", body: "{}" }, 401],
    [{ method: "GET" }, 401],
    [{ method: "POST", body: "x".repeat(2 * 1024 * 1024), headers }, 413],
  ])) {
    assert.equal((await fetch(url, wrong)).status, status);
  }
  assert.equal(receiver.letters.length, 4, "nothing else was taken");

  // One whose secret is another takes nothing.
  await receiver.stop();
  started.pop();
  const stranger = await new Receiver().start(dir, "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", first.port);
  started.push(stranger);
  assert.match((await server.admin("TestSink", { group: "demo", sinkId: "example" })).error, /401/);
  assert.deepEqual(stranger.letters, []);
});
