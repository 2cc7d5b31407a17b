// What several servers share: a Redis of their own.
import { spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { noted, until } from "./processes.js";

/** `redis-server` on a free port, in a directory that goes with it. */
export class RedisServer {
  #dir = fs.mkdtempSync(path.join(os.tmpdir(), "porchlight-redis-"));
  #port = 0;
  /** @type {import("node:child_process").ChildProcess | undefined} */
  #process;
  /** @type {Promise<unknown>} */
  #exited = Promise.resolve();

  async started() {
    this.#port = await freePort();
    const flags = ["--port", String(this.#port), "--bind", "127.0.0.1", "--dir", this.#dir, "--save", "", "--appendonly", "no"];
    this.#process = spawn("redis-server", flags, { detached: true, stdio: "ignore" });
    const forget = noted(this.#process.pid);
    let ended = false;
    this.#exited = new Promise((resolve) => {
      for (const end of ["exit", "error"]) this.#process?.once(end, () => resolve((ended = true)));
    }).finally(forget);
    await until("redis-server", () => {
      if (ended) throw new Error("redis-server does not run: install it");
      return answers(this.#port);
    });
    return this;
  }

  /** What makes a server share it. */
  get settings() {
    return {
      PORCHLIGHT__REDIS__URL: `redis://127.0.0.1:${this.#port}/`,
      PORCHLIGHT__AUTH__MASTER_SECRET: "0123456789abcdef".repeat(4),
    };
  }

  async stop() {
    this.#process?.kill("SIGKILL");
    await this.#exited;
    fs.rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** A port that nobody listens at. @returns {Promise<number>} */
export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = net.createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = /** @type {net.AddressInfo} */ (probe.address());
      probe.close(() => resolve(port));
    });
  });
}

/** @param {number} port @returns {Promise<boolean>} */
function answers(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    socket.once("data", (data) => (resolve(String(data).startsWith("+PONG")), socket.destroy()));
    socket.once("error", () => resolve(false));
  });
}
