// A network that a test can take away: what runs over it, and when it is cut.
//
// Decides how a cut looks to both sides. Does not decide when it comes: each test says so.
import { once } from "node:events";
import net from "node:net";
import { setTimeout as after } from "node:timers/promises";

/** What a slow line carries at once. */
const PIECE_BYTES = 1_024;

/** A line to the server that can be cut: everything on it ends at once, and nothing new gets through. */
export class Line {
  #server;
  /** @type {Set<net.Socket>} */
  #sockets = new Set();
  #up = true;
  #port;
  /** Bytes a second from the server; 0: all that come. */
  #pace = 0;

  /** @param {number} port */
  constructor(port) {
    this.#port = port;
    this.#server = net.createServer((near) => {
      if (!this.#up) return near.destroy();
      const far = net.connect({ port: this.#port, host: "127.0.0.1", noDelay: true });
      near.setNoDelay(true);
      for (const [one, other] of [[near, far], [far, near]]) {
        this.#sockets.add(one);
        one.on("error", () => other.destroy());
        one.on("close", () => (this.#sockets.delete(one), other.destroy()));
      }
      near.pipe(far);
      this.#carry(far, near).catch(() => near.destroy());
    });
  }

  async open() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", () => resolve(undefined)));
    return this;
  }

  get url() {
    return `http://127.0.0.1:${/** @type {net.AddressInfo} */ (this.#server.address()).port}`;
  }

  cut() {
    this.#up = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend() {
    this.#up = true;
  }

  /** Carries what the server says at this pace from now on. @param {number} bytesPerSecond 0: as it comes */
  slow(bytesPerSecond) {
    this.#pace = bytesPerSecond;
  }

  /** @param {net.Socket} far @param {net.Socket} near */
  async #carry(far, near) {
    for await (const bytes of far) {
      for (let at = 0; at < bytes.length; ) {
        const piece = this.#pace ? bytes.subarray(at, at + PIECE_BYTES) : bytes.subarray(at);
        at += piece.length;
        if (!near.write(piece)) await once(near, "drain");
        if (this.#pace) await after((piece.length / this.#pace) * 1_000);
      }
    }
    near.end();
  }

  /** Leads elsewhere from now on, as a load balancer does; what runs over it goes on. @param {number} port */
  to(port) {
    this.#port = port;
  }

  close() {
    this.cut();
    this.#server.close();
  }
}
