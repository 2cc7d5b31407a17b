// An agent's camera as a session's page has to do with it, without a browser.
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { CameraSeat } from "../lib/camera-seat.js";
import { Stream } from "../lib/frame.js";

const ALLOWED = { allowed: true, starts: false };
const PEOPLE = [
  { participantId: "me", name: "Alice" },
  { participantId: "bob", name: "Bob" },
];

/** A session's socket that notes what is said, and refuses what it is told to. */
function fakeSocket() {
  return {
    said: [],
    refuses: null,
    bufferedAmount: 0,
    send(message) {
      this.said.push(message.type);
    },
    sendBinary() {},
    async request(message) {
      this.said.push(message.type);
      if (this.refuses) throw Object.assign(new Error("refused"), { code: this.refuses });
    },
  };
}

describe("camera", () => {
  let socket;
  let seat;
  let events;
  let tracks;

  beforeEach(() => {
    [events, tracks] = [[], []];
    socket = fakeSocket();
    seat = new CameraSeat({ socket, onEvent: (name) => events.push(name) });
    const getUserMedia = async ({ video, audio }) => {
      assert.deepEqual([audio, video.width.ideal, video.height.ideal, video.frameRate.max], [false, 320, 240, 15]);
      const track = { stopped: false, stop: () => (track.stopped = true), onended: null };
      tracks.push(track);
      return { getVideoTracks: () => [track] };
    };
    Object.defineProperty(globalThis, "navigator", { configurable: true, value: { mediaDevices: { getUserMedia } } });
    globalThis.MediaStreamTrackProcessor = class {
      readable = new ReadableStream();
    };
  });

  afterEach(() => {
    seat.close();
    delete globalThis.MediaStreamTrackProcessor;
  });

  const attached = (more) => seat.attached({ participantId: "me", participants: PEOPLE, agentVideo: ALLOWED, ...more });
  const settled = () => new Promise((resolve) => setImmediate(resolve));

  it("is announced before the first frame, and taken back", async () => {
    attached();
    await seat.start();
    assert.deepEqual([seat.isOn, socket.said], [true, ["startCamera"]]);
    seat.receive({ type: "camera", participantId: "me" });
    assert.deepEqual([seat.isOn, seat.name], [true, "Alice"]);
    seat.stop();
    assert.deepEqual([seat.isOn, tracks[0].stopped, socket.said.at(-1)], [false, true, "stopCamera"]);
  });

  it("goes dark where the server refuses it", async () => {
    attached();
    socket.refuses = "forbidden";
    await assert.rejects(seat.start(), { code: "forbidden" });
    assert.deepEqual([seat.isOn, tracks[0].stopped], [false, true]);
  });

  it("goes dark when the server takes it away, and stays so", async () => {
    attached();
    await seat.start();
    seat.receive({ type: "camera", participantId: "me" });
    seat.receive({ type: "camera" });
    assert.deepEqual([seat.isOn, seat.name, tracks[0].stopped], [false, null, true]);
  });

  it("goes on after a lost connection, and not where another shows one by then", async () => {
    attached();
    await seat.start();
    seat.disconnected();
    attached();
    await settled();
    assert.deepEqual([seat.isOn, socket.said], [true, ["startCamera", "startCamera"]]);
    seat.disconnected();
    socket.refuses = "wrong_state";
    attached();
    await settled();
    assert.deepEqual([seat.isOn, tracks[0].stopped, events.at(-1)], [false, true, "error"]);
  });

  it("starts by itself where the profile says so, once", async () => {
    attached({ agentVideo: { allowed: true, starts: true } });
    while (!socket.said.length) await settled();
    await settled();
    seat.receive({ type: "camera", participantId: "me" });
    seat.stop();
    attached({ agentVideo: { allowed: true, starts: true } });
    await settled();
    assert.deepEqual([seat.isOn, tracks.length], [false, 1]);
  });

  it("leaves what is about the screen to others", () => {
    attached();
    for (const type of ["keyFrameRequest", "feedback", "lagging"]) {
      assert.equal(seat.receive({ type, stream: Stream.CAMERA }), true, type);
      assert.equal(seat.receive({ type, stream: Stream.SCREEN }), false, type);
      assert.equal(seat.receive({ type }), false, type);
    }
    assert.equal(seat.receive({ type: "participant", participant: PEOPLE[1] }), false);
  });
});
