import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Pointing } from "../lib/pointing.js";

test("the newest place is told, at most every 60 ms, and nothing while it is off", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const target = new EventTarget();
  const told = [];
  const toFrame = (x, y) => (x < 0 ? null : { x, y });
  const pointing = new Pointing({ target, toFrame, send: ({ x }) => told.push(x) });
  const move = (clientX) => target.dispatchEvent(Object.assign(new Event("pointermove"), { clientX, clientY: 1 }));
  move(1);
  pointing.enabled = true;
  for (const x of [2, 3, 4, -1]) move(x);
  assert.deepEqual(told, [2]);
  mock.timers.tick(60);
  assert.deepEqual(told, [2, 4]);
  mock.timers.tick(600);
  assert.deepEqual(told, [2, 4], "a pointer that rests tells nothing");
  move(5);
  move(6);
  pointing.enabled = false;
  mock.timers.tick(600);
  move(7);
  assert.deepEqual(told, [2, 4, 5]);
  mock.timers.reset();
});
