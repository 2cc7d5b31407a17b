// A browser for tests: WebSockets that the test plays the server of.

/** WebSocket whose server is the test. */
export class FakeWebSocket {
  /** @type {FakeWebSocket[]} */
  static all = [];
  static get last() {
    return FakeWebSocket.all[FakeWebSocket.all.length - 1];
  }

  onopen = null;
  onclose = null;
  onmessage = null;
  bufferedAmount = 0;
  closed = false;
  /** Messages sent and not yet read by the test. @type {any[]} */
  sent = [];
  waiting = [];

  constructor(url, protocols) {
    this.url = url;
    this.protocols = protocols;
    FakeWebSocket.all.push(this);
    queueMicrotask(() => this.onopen?.());
  }

  send(data) {
    const message = typeof data === "string" ? JSON.parse(data) : data;
    const reader = this.waiting.shift();
    if (reader) reader(message);
    else this.sent.push(message);
  }

  close() {
    this.closed = true;
  }

  /** The next message of the client. */
  next() {
    if (this.sent.length) return Promise.resolve(this.sent.shift());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the client sent nothing for 2 s")), 2000);
      this.waiting.push((message) => {
        clearTimeout(timer);
        resolve(message);
      });
    });
  }

  /** The next message, which has to be of this type. */
  async expect(type) {
    const message = await this.next();
    if (message.type !== type) throw new Error(`expected ${type}, got ${JSON.stringify(message)}`);
    return message;
  }

  /** The server says something. */
  push(message) {
    this.onmessage?.({
      data: typeof message === "string" || message instanceof ArrayBuffer ? message : JSON.stringify(message),
    });
  }

  /** The server goes. */
  drop(code = 1006) {
    this.onclose?.({ code });
  }
}

/** What lib/socket.js takes from the browser; time runs, waits for reconnecting are short. */
export function fakeEnvironment() {
  FakeWebSocket.all.length = 0;
  return {
    WebSocket: FakeWebSocket,
    setTimeout: (run, ms) => setTimeout(run, ms),
    clearTimeout: (timer) => clearTimeout(timer),
    now: () => performance.now(),
    random: () => 0,
    isOnline: () => true,
    target: new EventTarget(),
  };
}

/** Resolves with the next WebSocket the client opens. */
export async function nextSocket(count) {
  for (let tries = 0; tries < 400; tries++) {
    if (FakeWebSocket.all.length >= count) return FakeWebSocket.all[count - 1];
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`the client opened ${FakeWebSocket.all.length} connections, not ${count}`);
}
