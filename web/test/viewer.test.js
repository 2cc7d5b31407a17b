// A viewer over a session socket whose other end is the test: in what order it hears of frames and of being behind, and
// what it leaves to the next page of its tab. Pictures are images that the test decodes.
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { encodeFrame, FrameType, Stream } from "../lib/frame.js";
import { letGo, takeKept } from "../lib/kept.js";
import { Viewer } from "../view.js";
import { fakeWebSockets } from "./fake-world.js";

const SERVER = "https://help.example";
const KEY = "crm.session";

/** Lets promises, images and the work behind them settle. */
const settled = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

const image = (sequence, more = {}, payload = [1]) =>
  encodeFrame(
    {
      type: FrameType.IMAGE,
      key: true,
      droppable: false,
      last: false,
      encrypted: false,
      layer: 0,
      stream: Stream.SCREEN,
      sequence,
      group: sequence,
      time: 1,
      width: 4,
      height: 2,
      config: null,
      ...more,
    },
    new Uint8Array(payload),
  ).buffer;

/** A tile of one image at a place, in the group of a key frame. */
const tile = (sequence, group, x, length = 1) =>
  image(sequence, { type: FrameType.TILES, key: false, group }, [0, x, 0, 0, 0, 0, 0, length, 1]);

const attached = (more) => ({
  type: "attached",
  sessionId: "s",
  participantId: "me",
  role: "viewer",
  kind: "screen",
  resumeToken: "next",
  control: { state: "off" },
  paused: false,
  participants: [{ participantId: "me", role: "viewer", side: "agent", name: "Alice" }],
  heartbeat: 60,
  ...more,
});

describe("viewer", () => {
  let sockets;
  let page;
  let viewers;

  beforeEach(() => {
    sockets = fakeWebSockets();
    page = new EventTarget();
    viewers = [];
    globalThis.ResizeObserver = class {
      observe() {}
      disconnect() {}
    };
    globalThis.createImageBitmap = async () => ({ width: 4, height: 2, close() {} });
    globalThis.addEventListener = page.addEventListener.bind(page);
    globalThis.removeEventListener = page.removeEventListener.bind(page);
    const kept = new Map();
    globalThis.sessionStorage = {
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => void kept.set(key, value),
      removeItem: (key) => void kept.delete(key),
    };
  });

  afterEach(() => {
    for (const viewer of viewers) viewer.close();
    for (const name of ["ResizeObserver", "createImageBitmap", "addEventListener", "removeEventListener", "sessionStorage"]) delete globalThis[name];
  });

  function opened(options) {
    const env = {
      WebSocket: sockets.FakeWebSocket,
      setTimeout: (run, ms) => setTimeout(run, ms),
      clearTimeout: (timer) => clearTimeout(timer),
      now: () => performance.now(),
      random: () => 0,
      isOnline: () => true,
      target: page,
    };
    const parent = Object.assign(new EventTarget(), { clientWidth: 40, clientHeight: 20 });
    const canvas = { parentElement: parent, width: 0, height: 0, style: {}, getContext: () => ({ drawImage() {} }) };
    const viewer = new Viewer({ canvas: /** @type {any} */ (canvas), server: SERVER, env, ...options });
    viewers.push(viewer);
    viewer.open();
    return viewer;
  }

  /** A viewer that the server has let in. */
  async function seated(options = { ticket: "t" }) {
    const viewer = opened(options);
    await settled();
    sockets.last().open();
    sockets.last().say(attached());
    return viewer;
  }

  const acks = () => sockets.last().of("ack").map(({ seq }) => seq);

  it("is behind until it has drawn a key frame that came after it was told", async () => {
    const viewer = await seated();
    sockets.last().show(image(1));
    await settled();
    assert.equal(viewer.state, "live");
    sockets.last().say({ type: "lagging", since: "2026-01-01T00:00:00Z", stream: 0 });
    assert.equal(viewer.state, "lagging");
    sockets.last().show(image(2));
    await settled();
    assert.equal(viewer.state, "live");
  });

  it("is behind no more on a still page once the relay has heard what was drawn before it was told", async () => {
    const viewer = await seated();
    sockets.last().show(image(1));
    await settled();
    assert.deepEqual(acks(), [1], "which the relay reads after it has said that the viewer lags");
    sockets.last().say({ type: "lagging", since: "2026-01-01T00:00:00Z", stream: 0 });
    assert.equal(viewer.state, "lagging");
    sockets.last().say({ type: "caughtUp", stream: 1 });
    assert.equal(viewer.state, "lagging", "of a camera");
    sockets.last().say({ type: "caughtUp", stream: 0 });
    assert.equal(viewer.state, "live");
  });

  it("draws tiles, and asks for a key frame where they cannot be drawn", async (t) => {
    const clock = performance.now.bind(performance);
    let ahead = 0;
    t.mock.method(performance, "now", () => clock() + ahead);
    const viewer = await seated();
    const decodesTo = (width) => (globalThis.createImageBitmap = async () => ({ width, height: 2, close() {} }));
    const shows = async (frame) => {
      sockets.last().show(frame);
      await settled();
      return [viewer.state, viewer.stats().drawn, sockets.last().of("keyFrameRequest").length];
    };
    assert.deepEqual(await shows(image(1)), ["live", 1, 0]);
    decodesTo(2);
    assert.deepEqual(await shows(tile(2, 1, 2)), ["live", 2, 0]);
    assert.equal(viewer.stats().codec, "jpeg");
    // Longer than its frame, and outside the picture: neither is drawn, nor what depends on it.
    ahead += 2_000;
    assert.deepEqual(await shows(tile(3, 1, 2, 9)), ["lagging", 2, 1]);
    assert.deepEqual(await shows(tile(4, 1, 0)), ["lagging", 2, 1]);
    decodesTo(4);
    assert.deepEqual(await shows(image(5)), ["live", 3, 1]);
    decodesTo(2);
    ahead += 2_000;
    assert.deepEqual(await shows(tile(6, 5, 3)), ["lagging", 3, 2]);
    assert.deepEqual(await shows(tile(7, 5, 0)), ["lagging", 3, 2]);
    decodesTo(4);
    assert.deepEqual(await shows(image(8)), ["live", 4, 2]);
  });

  it("leaves its seat to the next page of its tab, with the newest token, and nothing when it is over", async () => {
    const viewer = await seated({ ticket: "t", keepAs: KEY, note: { row: 7 } });
    assert.equal(await takeKept(KEY), null, "a duplicated tab, where no lock tells it from one that was opened again");
    page.dispatchEvent(new Event("pagehide"));
    const kept = await takeKept(KEY);
    assert.deepEqual([kept?.server, kept?.sessionId, kept?.resumeToken, kept?.note], [SERVER, "s", "next", { row: 7 }]);
    page.dispatchEvent(new Event("pagehide"));
    sockets.last().say({ type: "ended", reason: "guest_ended" });
    assert.equal(viewer.state, "ended");
    assert.equal(await takeKept(KEY), null);
    page.dispatchEvent(new Event("pagehide"));
    assert.equal(await takeKept(KEY), null);
  });

  it("comes back by the token, and keeps that until it is answered", async () => {
    opened({ resumeToken: "old", sessionId: "s", keepAs: KEY });
    page.dispatchEvent(new Event("pagehide"));
    assert.deepEqual([(await takeKept(KEY))?.resumeToken], ["old"]);
    await settled();
    sockets.last().open();
    assert.deepEqual(sockets.last().of("attach"), [{ type: "attach", resumeToken: "old", decodes: ["jpeg"] }]);
    sockets.last().say(attached());
    page.dispatchEvent(new Event("pagehide"));
    assert.equal((await takeKept(KEY))?.resumeToken, "next");
  });

  it("keeps nothing that nobody asked to keep", async () => {
    await seated();
    page.dispatchEvent(new Event("pagehide"));
    assert.equal(await takeKept(KEY), null);
  });

  it("holds its seat, not the session, which others in the same browser may be in, too", async (t) => {
    const locked = new Set(["porchlight.s"]);
    const request = async (name, { ifAvailable }, run) => {
      if (locked.has(name)) return ifAvailable ? run(null) : undefined;
      locked.add(name);
      await run({ name });
      locked.delete(name);
    };
    Object.defineProperty(globalThis, "navigator", { configurable: true, value: { locks: { request } } });
    t.after(() => delete globalThis.navigator);
    await seated({ ticket: "t", keepAs: KEY });
    assert.ok(locked.has("porchlight.me"));
    // The browser starts again: nobody has said that the page goes, and nobody holds the seat.
    letGo("me");
    await settled();
    assert.equal((await takeKept(KEY))?.holder, "me");
    letGo("me");
  });
});
