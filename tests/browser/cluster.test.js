// Nodes that share a Redis: the visitor is on one, the agents are on another, and the visitor's node drains or dies.
import assert from "node:assert/strict";
import { ahead, assertMoving } from "./barcode.js";
import { stage, until } from "./lib.js";

const { scene } = stage({ nodes: 3 });

/** A dead node is noticed when its lease is over, and clients come back with a pause in between. */
const TAKEN_OVER_MS = 60_000;

/** @param {import("./lib.js").Scene} s @param {string} address */
const onTheOther = (s, address) => s.agent(address, { url: s.nodes[1].url });

scene("a visitor on one node lights the lamp, and is asked and seen, on the other", async (s) => {
  const bob = await onTheOther(s, "bob");
  const visitor = await s.visitor({ path: "/demo/site/barcode.html" });
  await bob.opens(visitor.id);
  await bob.light("lit");
  await bob.joins(visitor.id);
  await visitor.button("decline").click();
  await bob.requestIs("declined");

  await visitor.page.reload();
  await visitor.online();
  await bob.joins(visitor.id);
  await visitor.accept();
  await visitor.shares();
  await bob.sees("live");
  assertMoving(await bob.readings(20), 20);
  await visitor.barButton("stop").click();
  await bob.seesEnd();
  await visitor.close();
  await bob.light("dark");
});

scene("the visitor's node drains: the picture goes on, on the other, and nobody hears of an end", async (s) => {
  const [, other, home] = s.nodes;
  // Browsers say in their consoles that a server is away.
  s.allow(/WebSocket|ERR_|Failed to load/);
  const line = await s.line(home);
  const visitor = await s.visitor({ path: "/demo/site/barcode.html", url: line.url });
  const alice = await onTheOther(s, "alice");
  await alice.joins(visitor.id);
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  assertMoving(await alice.readings(10), 10);
  const lamps = await alice.watches("[data-test=join]", "data-light");
  const requests = await alice.watches("[data-test=request-state]", "data-state");

  line.to(other.port);
  const gone = home.drain();
  const notice = await visitor.barcode();
  await until("the agent to see what is there now", async () => {
    const [seen] = await alice.readings(1, 5_000);
    return typeof seen === "number" && ahead(seen, notice) > 0;
  }, TAKEN_OVER_MS);
  assert.equal(await gone, 0, "it ends well");
  // What was taken since the process ended cannot have come through it.
  const end = await visitor.barcode();
  await until("the agent to see what was taken after the end", async () => {
    const [seen] = await alice.readings(1, 5_000);
    return typeof seen === "number" && ahead(seen, end) > 0;
  });
  assertMoving(await alice.readings(10), 10);
  await visitor.shares();
  assert.equal(await visitor.dialog.isVisible(), false, "what was accepted stays accepted");
  assert.deepEqual((await requests()).filter((state) => state !== "active"), []);
  assert.deepEqual((await lamps()).filter((light) => light === "dark"), [], "the visitor was never away");

  await alice.page.locator("[data-test=end-session]").click();
  assert.ok(await alice.seesEnd());
});

scene("the visitor's node dies: the session goes on, on the other, and nobody is asked again", async (s) => {
  const [home, other] = s.nodes;
  // Browsers say in their consoles that a server is away.
  s.allow(/WebSocket|ERR_|Failed to load/);
  const line = await s.line(home);
  const visitor = await s.visitor({ path: "/demo/site/barcode.html", url: line.url });
  const [alice, bob] = [await onTheOther(s, "alice"), await onTheOther(s, "bob")];
  await alice.joins(visitor.id, { control: true });
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  await bob.joins(visitor.id);
  await bob.sees("live");
  await visitor.bar.getByText("Alice and Bob").waitFor();

  await visitor.page.evaluate(() => {
    const { Porchlight } = /** @type {any} */ (window);
    Porchlight.on("controlRequest", (/** @type {any} */ wish) => wish.grant());
    Porchlight.on("input", ({ events }) => (/** @type {any} */ (window).inputs ??= []).push(...events));
  });
  const control = alice.page.locator("[data-test=request-control]");
  const granted = alice.page.locator("[data-test=viewer][data-control=granted]");
  const clicks = () => visitor.page.evaluate(() =>
    (/** @type {any} */ (window).inputs ?? []).filter((/** @type {any} */ { t }) => t === "up").length);
  await control.click();
  await granted.waitFor();
  await alice.page.locator("[data-test=viewer-canvas]").click();
  await until("the click at the visitor's", clicks);
  assertMoving(await alice.readings(10), 10);
  const dialogs = await alice.watches("[data-test=request-state]", "data-state");

  line.to(other.port);
  await home.kill();

  // Whoever watches sees pictures that were taken after the node had died.
  for (const agent of [alice, bob]) {
    const death = await visitor.barcode();
    await until(`${agent.address} to see what is there now`, async () => {
      const [seen] = await agent.readings(1, 5_000);
      return typeof seen === "number" && ahead(seen, death) > 0;
    }, TAKEN_OVER_MS);
    assertMoving(await agent.readings(10), 10);
  }
  await visitor.shares();
  assert.equal(await visitor.dialog.isVisible(), false, "what was accepted stays accepted");
  assert.deepEqual((await dialogs()).filter((state) => state === "offered"), []);
  await bob.light("in_session");

  // Control does not outlive the cut; it can be had again.
  assert.equal(await granted.count(), 0);
  const before = await clicks();
  await control.click();
  await granted.waitFor();
  await alice.page.locator("[data-test=viewer-canvas]").click();
  await until("the click at the visitor's", async () => (await clicks()) > before);

  await alice.page.locator("[data-test=end-session]").click();
  assert.ok(await bob.seesEnd());
});
