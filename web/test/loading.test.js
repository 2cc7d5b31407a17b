// How a browser comes by the modules of a share: a page that goes on with a session shows nothing before it has them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const IMPORT = /^(?:import|export)\b(?:[^";]*\bfrom)? "(\.[^"]+)"/gm;

/** What a module names, as addresses. @param {URL} module */
const namedIn = (module) => [...readFileSync(module, "utf8").matchAll(IMPORT)].map(([, path]) => new URL(path, module).href);

test("whatever a share needs it names itself, so that all is asked for in two steps", () => {
  const first = new URL("../share.js", import.meta.url);
  const second = new Set(namedIn(first));
  assert.ok(second.size > 20, `${second.size} modules`);
  const later = [...second].flatMap((module) => namedIn(new URL(module)).filter((named) => !second.has(named)));
  assert.deepEqual(later, []);
});
