// A server whose sinks reach receivers on this machine, and waiting for facts.
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

/** Two shared cores and a debug build. */
const PATIENCE_MS = 30_000;
/** The same settings as in production, but that nobody waits for seconds. */
const SETTINGS = {
  PORCHLIGHT__SINKS__ALLOW: "127.0.0.0/8",
  PORCHLIGHT__SINKS__RETRY_FIRST: "2ms",
  PORCHLIGHT__SINKS__RETRY_MOST: "40ms",
  PORCHLIGHT__SINKS__ANSWER_WITHIN: "400ms",
};

/** Waits until `look` gives something true. @template T @param {string} what @param {() => T | Promise<T>} look */
export async function until(what, look) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${PATIENCE_MS} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** `porchlight dev` in a directory that outlives its deaths. */
export class Server {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "porchlight-webhooks-"));
  log = "";
  /** @type {import("node:child_process").ChildProcess | undefined} */
  process;
  #exited = Promise.resolve();

  async start() {
    const free = ["--public-addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"];
    const env = { ...process.env, ...SETTINGS };
    const child = spawn(/** @type {string} */ (process.env.PORCHLIGHT_BIN), ["dev", "--data-dir", this.dir, ...free], {
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.process = child;
    this.#exited = new Promise((resolve) => child.once("exit", () => resolve()));
    child.stderr.on("data", (text) => (this.log += text));
    // The last line is there when everything is.
    await new Promise((resolve, reject) => {
      let told = "";
      child.stdout.on("data", (text) => ((told += text), told.includes("Ctrl+C") && resolve(undefined)));
      child.once("exit", (status) => reject(new Error(`the server ended with ${status}\n${this.log}`)));
    });
    this.facts = JSON.parse(fs.readFileSync(path.join(this.dir, "dev.json"), "utf8"));
    const [{ address, password }] = this.facts.agents;
    const { token } = await this.#post("/v1/auth/agent", { group: this.facts.group, address, password });
    this.token = token;
    return this;
  }

  /** @param {string} path @param {object} body */
  async #post(path, body) {
    const headers = { "content-type": "application/json", authorization: `Bearer ${this.token}` };
    const answer = await fetch(`http://${this.facts.public}${path}`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${path} was refused: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /** @param {string} method @param {object} body */
  admin(method, body) {
    return this.#post(`/v1/admin/${method}`, body);
  }

  async kill() {
    this.process?.kill("SIGKILL");
    await this.#exited;
  }
}
