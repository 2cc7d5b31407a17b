// Time and network by value, for tests of the visitor side and of lib/socket.js.

/** A clock that moves only when told, with its timers. */
export class FakeClock {
  now = 1_000_000;
  #timers = new Map();
  #next = 1;

  setTimeout = (run, ms = 0) => {
    const id = this.#next++;
    this.#timers.set(id, { at: this.now + Math.max(0, ms), run });
    return id;
  };

  clearTimeout = (id) => void this.#timers.delete(id);

  /** Runs what is due in the next `ms`, in order, and lets promises settle in between. */
  async advance(ms) {
    const end = this.now + ms;
    await settle();
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.now = Math.max(this.now, due[1].at);
      due[1].run();
      await settle();
    }
    this.now = end;
  }

  /** Milliseconds until the next timer, or null. */
  get nextIn() {
    const times = [...this.#timers.values()].map(({ at }) => at - this.now);
    return times.length ? Math.min(...times) : null;
  }
}

/** WebSockets whose other end is the test; each one made is in `made`. */
export function fakeWebSockets() {
  const made = [];
  class FakeWebSocket {
    sent = [];
    binary = [];
    closed = false;
    bufferedAmount = 0;
    onopen = null;
    onclose = null;
    onmessage = null;
    constructor(url, protocols) {
      this.url = url;
      this.protocols = protocols;
      made.push(this);
    }
    send(data) {
      if (typeof data === "string") this.sent.push(JSON.parse(data));
      else this.binary.push(data);
    }
    close() {
      this.closed = true;
    }
    // The server's side.
    open() {
      this.onopen?.({});
    }
    say(message) {
      this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
    }
    show(frame) {
      this.onmessage?.({ data: frame });
    }
    drop(code = 1006) {
      this.closed = true;
      this.onclose?.({ code });
    }
    of(type) {
      return this.sent.filter((message) => message.type === type);
    }
  }
  return { made, FakeWebSocket, last: () => made[made.length - 1] };
}

/** Lets every promise that can settle do so. */
export async function settle() {
  for (let i = 0; i < 12; i++) await Promise.resolve();
}
