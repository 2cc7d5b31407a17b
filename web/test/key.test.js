// The widget with the session key, as far as it needs no browser.
import assert from "node:assert/strict";
import { test } from "node:test";

import { spoken } from "../key.js";

test("digits are shown in groups that people can say, anything else as it is", () => {
  for (const [key, shown] of [
    ["1234", "1234"],
    ["12345", "123 45"],
    ["004217", "004 217"],
    ["12345678", "1234 5678"],
    ["123456789", "123 456 789"],
    ["123456789012", "123 456 789 012"],
    ["C-1001", "C-1001"],
    ["", ""],
  ]) {
    assert.equal(spoken(key), shown, key);
  }
});
