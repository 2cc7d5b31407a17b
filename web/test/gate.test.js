// What the gate lets through: key frames, groups, the live edge, and what a slow decoder gives up.
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { FrameType } from "../lib/frame.js";
import { Gate, GIVE_UP_ABOVE, GIVE_UP_ABOVE_AT_JOIN, SHED_ABOVE } from "../lib/gate.js";

const key = (sequence, group) => ({ type: FrameType.VIDEO, key: true, droppable: false, sequence, group });
const delta = (sequence, group, droppable = false) => ({
  type: FrameType.VIDEO,
  key: false,
  droppable,
  sequence,
  group,
});
const image = (sequence, group) => ({ type: FrameType.IMAGE, key: false, droppable: false, sequence, group });

/** An open gate: group 1, sequence 10. */
function opened() {
  const gate = new Gate();
  gate.admit(key(10, 1));
  return gate;
}

describe("gate", () => {
  it("decodes nothing before a key frame", () => {
    const gate = new Gate();
    assert.equal(gate.waiting, true);
    assert.deepEqual(gate.admit(delta(1, 1)), {
      decode: false,
      paint: false,
      restart: false,
      reason: "waiting_for_key",
    });
    assert.deepEqual(gate.admit(key(2, 2)), { decode: true, paint: true, restart: false, reason: "ok" });
    assert.equal(gate.admit(delta(3, 2)).decode, true);
    assert.equal(gate.dropped, 1);
  });

  it("takes a gap inside the group as withheld, not as lost", () => {
    const gate = opened();
    assert.equal(gate.admit(delta(11, 1)).decode, true);
    assert.equal(gate.admit(delta(15, 1)).decode, true);
    assert.equal(gate.withheld, 3);
    assert.equal(gate.waiting, false);
  });

  it("waits for a key frame after a delta of another group", () => {
    const gate = opened();
    assert.equal(gate.admit(delta(11, 2)).reason, "other_group");
    assert.equal(gate.admit(delta(12, 1)).reason, "waiting_for_key");
    assert.deepEqual(gate.admit(key(13, 3)), { decode: true, paint: true, restart: true, reason: "ok" });
  });

  it("ignores a repeated or older delta", () => {
    const gate = opened();
    gate.admit(delta(11, 1));
    assert.equal(gate.admit(delta(11, 1)).reason, "stale");
    assert.equal(gate.admit(delta(9, 1)).reason, "stale");
    assert.equal(gate.admit(delta(12, 1)).decode, true);
  });

  it("follows the sequence across its wrap", () => {
    const gate = new Gate();
    gate.admit(key(0xffffffff, 1));
    assert.equal(gate.admit(delta(0, 1)).decode, true);
    assert.equal(gate.admit(delta(2, 1)).decode, true);
    assert.equal(gate.withheld, 1);
  });

  it("accepts a key frame of a publisher that counts anew", () => {
    const gate = new Gate();
    gate.admit(key(5000, 40));
    assert.equal(gate.admit(key(0, 1)).decode, true);
    assert.equal(gate.admit(delta(1, 1)).decode, true);
  });

  it("needs no key flag on a full image", () => {
    const gate = new Gate();
    assert.equal(gate.admit(image(1, 1)).decode, true);
    assert.equal(gate.admit(image(2, 2)).decode, true);
  });

  it("restarts the decoder at the key frame after a loss of its own, once", () => {
    const gate = opened();
    gate.lose();
    assert.equal(gate.admit(delta(11, 1)).reason, "waiting_for_key");
    assert.equal(gate.admit(key(12, 2)).restart, true);
    assert.equal(gate.admit(key(13, 3)).restart, false);
  });
});

describe("live edge", () => {
  it("paints nothing before it and everything from it on", () => {
    const gate = new Gate(12);
    assert.equal(gate.admit(key(10, 1)).paint, false);
    assert.equal(gate.catchingUp, true);
    assert.equal(gate.admit(delta(11, 1)).paint, false);
    assert.equal(gate.admit(delta(12, 1)).paint, true);
    assert.equal(gate.catchingUp, false);
    assert.equal(gate.admit(delta(13, 1)).paint, true);
  });

  it("is reached by a newer frame when the frame itself was withheld", () => {
    const gate = new Gate(12);
    gate.admit(key(10, 1));
    assert.equal(gate.admit(delta(14, 1)).paint, true);
  });

  it("is reached across the wrap", () => {
    const gate = new Gate(1);
    assert.equal(gate.admit(key(0xfffffffe, 1)).paint, false);
    assert.equal(gate.admit(delta(1, 1)).paint, true);
  });

  it("ends early when the page stands still", () => {
    const gate = new Gate(12);
    gate.admit(key(10, 1));
    gate.settle();
    assert.equal(gate.admit(delta(11, 1)).paint, true);
  });
});

describe("a decoder that falls behind", () => {
  it("skips droppable frames first, which costs no key frame", () => {
    const gate = opened();
    assert.equal(gate.admit(delta(11, 1, true), SHED_ABOVE).decode, true);
    assert.equal(gate.admit(delta(12, 1, true), SHED_ABOVE + 1).reason, "shed");
    assert.equal(gate.admit(delta(13, 1), SHED_ABOVE + 1).decode, true);
    assert.equal(gate.waiting, false);
  });

  it("then gives up everything to the next key frame", () => {
    const gate = opened();
    assert.equal(gate.admit(delta(11, 1), GIVE_UP_ABOVE).decode, true);
    assert.equal(gate.admit(delta(12, 1), GIVE_UP_ABOVE + 1).reason, "behind");
    assert.equal(gate.admit(delta(13, 1), 0).reason, "waiting_for_key");
    assert.equal(gate.admit(key(14, 2), GIVE_UP_ABOVE + 1).restart, true);
  });

  it("is not what the burst of the relay's cache is taken for", () => {
    const gate = new Gate(100);
    gate.admit(key(1, 1));
    for (let n = 2; n <= 100; n++) assert.equal(gate.admit(delta(n, 1, true), n).decode, true, `frame ${n}`);
    // Beyond the edge, with the burst still inside.
    assert.equal(gate.admit(delta(101, 1), 90).decode, true);
    // Worked off: the limits of normal running apply again.
    assert.equal(gate.admit(delta(102, 1), SHED_ABOVE).decode, true);
    assert.equal(gate.admit(delta(103, 1), GIVE_UP_ABOVE + 1).reason, "behind");
  });

  it("gives up at last even at joining", () => {
    const gate = new Gate(1000);
    gate.admit(key(1, 1));
    assert.equal(gate.admit(delta(2, 1), GIVE_UP_ABOVE_AT_JOIN + 1).reason, "behind");
  });

  it("never hands on a delta whose reference it left out, whatever the order", () => {
    // Law: between two key frames the decoded deltas are those of the key frame's group, and after a loss none.
    let seed = 7;
    const random = (n) => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) % n;
    for (let run = 0; run < 200; run++) {
      const gate = new Gate(random(2) ? random(40) : null);
      let group = 0;
      let open = null;
      for (let sequence = 0; sequence < 60; sequence++) {
        const isKey = random(8) === 0;
        if (isKey) group += 1;
        const stray = random(20) === 0 ? 1 : 0;
        const frame = isKey ? key(sequence, group) : delta(sequence, group + stray, random(3) === 0);
        if (random(15) === 0) {
          gate.lose();
          open = null;
        }
        const { decode, reason } = gate.admit(frame, random(14));
        if (isKey) open = group;
        else if (decode) assert.equal(frame.group, open);
        else if (reason === "behind" || reason === "other_group") open = null;
      }
    }
  });
});
