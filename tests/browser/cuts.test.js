// Cuts of the network under a shared screen: both pages say so, everybody comes back as who it was, and the agent sees the
// live picture again, read from pixels.
import assert from "node:assert/strict";
import { ahead, assertMoving } from "./barcode.js";
import { stage, until } from "./lib.js";

const { meanwhile } = stage();

/** The barcode is the visitor's clock; a picture this old would be from before the cut. */
const FRESH_MS = 10_000;

/** All sessions run at once. */
const EVERY_MS = "400";

/** @typedef {import("./people.js").VisitorPage} VisitorPage @typedef {import("./people.js").AgentPage} AgentPage */

/** Everybody in the session as both sides know them. @param {VisitorPage} visitor @param {AgentPage} alice */
async function everybody(visitor, alice) {
  const seen = await alice.page.evaluate(() => /** @type {any} */ (window).porchlightConsole.session.viewer.participants);
  const others = await visitor.page.evaluate(() => /** @type {any} */ (window).Porchlight.session.participants);
  return [seen, others].map((people) => people.map((/** @type {any} */ { participantId, role }) => `${role} ${participantId}`).sort());
}

/** Notes what each page is told of the others from now on. @param {VisitorPage} visitor @param {AgentPage} alice */
async function listen(visitor, alice) {
  const atVisitor = await visitor.page.evaluateHandle(() => {
    /** @type {string[]} */
    const told = [];
    const { Porchlight } = /** @type {any} */ (window);
    Porchlight.on("participant", (/** @type {any} */ { participant, change }) => told.push(`${participant.role} ${change}`));
    return told;
  });
  const atAgent = await alice.page.evaluateHandle(() => {
    /** @type {string[]} */
    const told = [];
    const { viewer } = /** @type {any} */ (window).porchlightConsole.session;
    viewer.on("participants", (/** @type {any} */ { participant, change }) => change && told.push(`${participant.role} ${change}`));
    return told;
  });
  return { visitor: () => atVisitor.jsonValue(), agent: () => atAgent.jsonValue() };
}

/**
 * A session in which the networks of these are cut, one after the other.
 * @param {number} seconds @param {("visitor" | "agent")[]} cuts
 */
const outlives = (seconds, cuts) => async (/** @type {import("./lib.js").Scene} */ s) => {
  s.allow(/WebSocket connection/);
  const lines = { visitor: await s.line(), agent: await s.line() };
  const visitor = await s.visitor({ path: "/demo/site/barcode.html", url: lines.visitor.url, query: { every: EVERY_MS } });
  const alice = await s.agent("alice", { url: lines.agent.url });
  await alice.joins(visitor.id);
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  assertMoving(await alice.readings(3), 3);
  const before = await everybody(visitor, alice);
  assert.deepEqual(before.map((people) => people.length), [2, 1]);

  for (const whose of cuts) {
    const told = await listen(visitor, alice);
    const from = await visitor.barcode();
    lines[whose].cut();
    const began = Date.now();
    const away = whose === "visitor" ? "publisher" : "viewer";
    await alice.page.locator(`[data-test=viewer][data-state=reconnecting][data-detail=${away}]`).waitFor();
    if (whose === "visitor") await visitor.shares("reconnecting");
    await new Promise((resolve) => setTimeout(resolve, began + seconds * 1_000 - Date.now()));
    lines[whose].mend();
    await visitor.shares();
    await alice.sees("live");

    const values = await alice.readings(5);
    assertMoving(values, 5);
    const newest = Number(values.at(-1));
    assert.ok(ahead(newest, from) > seconds * 1_000, "the picture is of after the cut");
    const age = ahead(await visitor.barcode(), newest);
    assert.ok(age >= 0 && age < FRESH_MS, `the picture is ${age} ms old`);
    const other = whose === "visitor" ? told.agent : told.visitor;
    await until("the other side's news", async () => (await other()).length >= 2);
    assert.deepEqual(await other(), [`${away} reconnecting`, `${away} back`]);
    assert.deepEqual(await everybody(visitor, alice), before, "everybody once, and who they were");
  }
  await visitor.barButton("stop").click();
  assert.equal(await alice.seesEnd(), "guest_ended");
};

meanwhile("a second without a network, the visitor's and then the agent's", outlives(1, ["visitor", "agent"]));
meanwhile("ten seconds without a network, the visitor's and then the agent's", outlives(10, ["visitor", "agent"]));
meanwhile("fifty seconds without the visitor's network", outlives(50, ["visitor"]));
meanwhile("fifty seconds without the agent's network", outlives(50, ["agent"]));
