import assert from "node:assert/strict";
import test from "node:test";
import { forAgent, forGuest, isMac, isSystemRefusal } from "../lib/steps.js";

test("a guest reads every step in the words of its system, an agent the first", () => {
  const steps = ["allow_screen_recording", "choose_later", "reenter", "allow"];
  const mac = forGuest(steps, { mac: true });
  assert.equal(mac.length, 4);
  assert.match(mac[0], /Privacy & Security › Screen Recording/);
  assert.match(mac[1], /choose Later/);
  assert.match(forGuest(["allow_accessibility"], { mac: true })[0], /Accessibility/);
  assert.doesNotMatch(forGuest(steps).join(), /System Settings|macOS/);
  assert.match(forAgent(steps), /Screen Recording/);
});

test("nothing to do says nothing, and what a newer server says is left out", () => {
  for (const none of [undefined, [], ["terms"], ["toString"]]) {
    assert.equal(forAgent(none), "");
    assert.deepEqual(forGuest(none), []);
  }
  assert.match(forAgent(["juggle", "reenter"]), /come in again/);
});

test("a Mac's own refusal is told from a person's", () => {
  const refused = (message) => Object.assign(new Error(message), { name: "NotAllowedError" });
  assert.ok(isSystemRefusal(refused("Permission denied by system"), { mac: true }));
  assert.ok(!isSystemRefusal(refused("Permission denied by system"), { mac: false }));
  assert.ok(!isSystemRefusal(refused("Permission denied"), { mac: true }));
  assert.ok(!isSystemRefusal(null, { mac: true }));
  assert.ok(isMac("MacIntel") && !isMac("Linux x86_64") && !isMac("Win32"));
});
