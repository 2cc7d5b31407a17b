import assert from "node:assert/strict";
import { test } from "node:test";
import { whyNotPressed } from "../share/hands.js";
import { OWN_INPUT_MS, OwnInput } from "../share/own-input.js";

/** A page and its person; `isTrusted` is what a browser alone can set. */
function page() {
  const listeners = new Map();
  const target = {
    addEventListener: (type, listener, how) => {
      assert.deepEqual(how, { capture: true, passive: true });
      listeners.set(type, listener);
    },
    removeEventListener: (type) => listeners.delete(type),
  };
  const clock = { now: 5_000 };
  const uses = [];
  const own = new OwnInput({ page: target, now: () => clock.now, onUse: (begins) => uses.push(begins) });
  const does = (type, facts = {}) => listeners.get(type)?.({ type, isTrusted: true, ...facts });
  return { own, clock, uses, does, listeners };
}

test("the person's own input holds an agent's back for a second after the last of it", () => {
  const { own, clock, uses, does } = page();
  assert.equal(own.holds, false);
  does("pointerdown");
  assert.equal(own.holds, true);
  clock.now += OWN_INPUT_MS - 1;
  does("keydown");
  clock.now += OWN_INPUT_MS - 1;
  assert.equal(own.holds, true);
  clock.now += 1;
  assert.equal(own.holds, false);
  does("wheel");
  assert.deepEqual(uses, [true, false, true], "each beginning is told as one");
});

test("what a script made is nobody's own input", () => {
  const { own, uses, does } = page();
  for (const type of ["pointerdown", "pointermove", "wheel", "keydown", "touchstart", "touchmove"]) does(type, { isTrusted: false });
  assert.equal(own.holds, false);
  assert.deepEqual(uses, []);
});

test("a pointer that rests while the page moves below it uses nothing", () => {
  const { own, does } = page();
  does("pointermove", { screenX: 1, screenY: 1 });
  does("pointermove", { screenX: 1, screenY: 1 });
  assert.equal(own.holds, false);
  does("pointermove", { screenX: 2, screenY: 1 });
  assert.equal(own.holds, true);
});

test("nobody is listened to after the end", () => {
  const { own, listeners } = page();
  assert.equal(listeners.size, 6);
  own.close();
  assert.equal(listeners.size, 0);
});

/** An element as far as it is asked. */
function place(localName, { attributes = {}, within = null, ...facts } = {}) {
  return {
    localName,
    dataset: {},
    parentNode: within,
    hasAttribute: (name) => name in attributes,
    getAttribute: (name) => attributes[name] ?? null,
    closest(selector) {
      for (let at = this; at; at = at.parentNode) if (at.localName === selector) return at;
      return null;
    },
    ...facts,
  };
}

test("what an agent's press does not do is told with its reason", () => {
  const list = place("select", { multiple: false, size: 0 });
  const masked = place("div", { attributes: { "data-porchlight-mask": "" } });
  const told = [
    [place("button"), null],
    [place("input", { type: "text" }), null],
    [null, null],
    [place("input", { type: "password" }), "hidden"],
    [place("input", { type: "text", attributes: { autocomplete: "cc-number" } }), "hidden"],
    [place("button", { within: masked }), "hidden"],
    [place("span", { within: place("div", { attributes: { "data-porchlight-block": "" } }) }), "hidden"],
    [place("b", { within: place("div", { dataset: { porchlight: "bar" } }) }), "hidden"],
    [place("input", { type: "file" }), "file"],
    [place("span", { within: place("label", { control: place("input", { type: "file" }) }) }), "file"],
    [list, "list"],
    [place("option", { within: list }), "list"],
    [place("select", { multiple: false, size: 4 }), null],
    [place("select", { multiple: true, size: 0 }), null],
    [place("iframe"), "frame"],
  ];
  for (const [target, reason] of told) assert.equal(whyNotPressed(target), reason, `${target?.localName} ${target?.type}`);
});
