// The parts of the viewer that need no browser: place on the stage, figures, input.
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Emitter } from "../lib/emitter.js";
import { Figures } from "../lib/figures.js";
import { InputCapture, modifiersOf } from "../lib/input.js";
import { clamped, fitted, zoomed } from "../lib/stage.js";

const FRAME = { width: 1280, height: 720 };

describe("stage", () => {
  it("fits the whole frame, centred", () => {
    assert.deepEqual(fitted(FRAME, { width: 640, height: 640 }), { scale: 0.5, x: 0, y: 140 });
    assert.deepEqual(fitted(FRAME, { width: 2560, height: 720 }), { scale: 1, x: 640, y: 0 });
  });

  it("zooms around a point that stays where it is", () => {
    const from = { scale: 1, x: -100, y: -50 };
    const at = { x: 300, y: 200 };
    const to = zoomed(from, 2, at);
    const pixel = (placement) => ({
      x: (at.x - placement.x) / placement.scale,
      y: (at.y - placement.y) / placement.scale,
    });
    assert.deepEqual(pixel(to), pixel(from));
  });

  it("keeps the scale within reason", () => {
    assert.equal(zoomed({ scale: 1, x: 0, y: 0 }, 1000, { x: 0, y: 0 }).scale, 8);
    assert.equal(zoomed({ scale: 1, x: 0, y: 0 }, 0, { x: 0, y: 0 }).scale, 0.1);
  });

  it("never leaves a gap beside a picture that fills the room, and centres one that does not", () => {
    const room = { width: 640, height: 720 };
    assert.equal(clamped({ scale: 1, x: 500, y: 0 }, FRAME, room).x, 0);
    assert.equal(clamped({ scale: 1, x: -5000, y: 0 }, FRAME, room).x, -640);
    assert.equal(clamped({ scale: 0.25, x: 9, y: 9 }, FRAME, room).x, 160);
  });
});

describe("figures", () => {
  it("counts over a sliding window", () => {
    const figures = new Figures();
    for (let n = 0; n < 30; n++) {
      figures.received(n * 100, 1000);
      figures.drew(n * 100, 1_000_000 + n * 100, (1_000_000 + n * 100 - 80) * 1000);
    }
    const { fps, kbps, delayMs, delayBasis } = figures.rates(2900);
    assert.ok(Math.abs(fps - 10) <= 0.5);
    assert.ok(Math.abs(kbps - 80) <= 4);
    assert.deepEqual([delayMs, delayBasis], [80, "clock"]);
    assert.equal(figures.rates(60_000).fps, 0);
  });

  it("tells only the delay beyond the best when the clocks do not compare", () => {
    const figures = new Figures();
    figures.drew(0, 1_000_000, 5_000_000);
    figures.drew(100, 1_000_250, 5_100_000);
    const { delayMs, delayBasis } = figures.rates(100);
    assert.deepEqual([delayMs, delayBasis], [150, "relative"]);
  });

  it("starts over with a publisher whose clock starts over", () => {
    const figures = new Figures();
    figures.drew(0, 1_000_000, 900_000_000);
    figures.drew(100, 1_000_100, 5_000);
    assert.equal(figures.rates(100).delayMs, 0);
  });
});

describe("input", () => {
  /** A target that is not a browser's. */
  function capture() {
    const sent = [];
    const target = Object.assign(new EventTarget(), { focus() {}, blur() {}, setPointerCapture() {} });
    const input = new InputCapture({
      target: /** @type {any} */ (target),
      toFrame: (x, y) => (x < 0 ? null : { x, y }),
      send: (events) => sent.push(...events),
    });
    const fire = (type, fields = {}) => {
      const event = Object.assign(new Event(type, { cancelable: true }), {
        shiftKey: false,
        ctrlKey: false,
        altKey: false,
        metaKey: false,
        ...fields,
      });
      target.dispatchEvent(event);
      return event;
    };
    return { input, sent, fire };
  }

  it("names modifiers as bits", () => {
    assert.equal(modifiersOf({ shiftKey: true, ctrlKey: true, altKey: true, metaKey: true }), 15);
    assert.equal(modifiersOf({ shiftKey: false, ctrlKey: true, altKey: false, metaKey: false }), 2);
  });

  it("sends nothing while disabled", () => {
    const { input, sent, fire } = capture();
    fire("keydown", { key: "a", code: "KeyA" });
    input.enabled = true;
    input.enabled = false;
    fire("keydown", { key: "a", code: "KeyA" });
    assert.deepEqual(sent, []);
  });

  it("keeps movement before the press it led to, and only the newest", () => {
    const { input, sent, fire } = capture();
    input.enabled = true;
    fire("pointermove", { clientX: 1, clientY: 1 });
    fire("pointermove", { clientX: 5, clientY: 6 });
    fire("pointerdown", { clientX: 5, clientY: 6, button: 0, pointerId: 1 });
    assert.deepEqual(sent, [
      { t: "move", x: 5, y: 6 },
      { t: "down", x: 5, y: 6, button: 0, modifiers: 0 },
    ]);
  });

  it("lets go of everything held when control ends", () => {
    const { input, sent, fire } = capture();
    input.enabled = true;
    fire("keydown", { key: "a", code: "KeyA" });
    fire("pointerdown", { clientX: 5, clientY: 6, button: 0, pointerId: 1 });
    sent.length = 0;
    input.enabled = false;
    assert.deepEqual(sent, [
      { t: "keyup", key: "a", code: "KeyA" },
      { t: "up", x: 5, y: 6, button: 0 },
    ]);
  });

  it("releases a button outside the picture where it was pressed", () => {
    const { input, sent, fire } = capture();
    input.enabled = true;
    fire("pointerdown", { clientX: 5, clientY: 6, button: 0, pointerId: 1 });
    fire("pointerup", { clientX: -1, clientY: 6, button: 0, pointerId: 1 });
    assert.deepEqual(sent.at(-1), { t: "up", x: 5, y: 6, button: 0, modifiers: 0 });
  });

  it("leaves pasting to the browser and sends what was pasted as text", () => {
    const { input, sent, fire } = capture();
    input.enabled = true;
    assert.equal(fire("keydown", { key: "v", code: "KeyV", ctrlKey: true }).defaultPrevented, false);
    fire("paste", { clipboardData: { getData: () => "hello" } });
    assert.deepEqual(sent, [{ t: "text", text: "hello" }]);
  });
});

describe("emitter", () => {
  it("calls each listener until it is taken off", () => {
    const emitter = new Emitter();
    const seen = [];
    const off = emitter.on("x", (detail) => seen.push(detail));
    emitter.emit("x", 1);
    off();
    emitter.emit("x", 2);
    assert.deepEqual(seen, [1]);
  });
});
