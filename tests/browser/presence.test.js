// The porch light: an agent sees who is on the site, and the light neither lies nor flickers.
import assert from "node:assert/strict";
import { stage } from "./lib.js";

const { scene } = stage();

scene("the lamp lights when the visitor's page opens and darkens after the grace", async (s) => {
  const alice = await s.agent();
  const id = s.newVisitorId;
  await alice.opensRecord(id);
  await alice.light("dark");
  const lights = await alice.watches("[data-test=join]", "data-light");

  const visitor = await s.visitor({ id });
  await alice.row(id, "present").waitFor();
  await alice.light("lit");

  const closedAt = Date.now();
  await visitor.close();
  await alice.light("dark");
  // The demo group's grace is 5 s; a light that goes earlier would flicker at each page load.
  assert.ok(Date.now() - closedAt > 4_000, "dark only after the grace");
  await alice.row(id).waitFor({ state: "detached" });
  assert.deepEqual(await lights(), ["dark", "lit", "dark"]);
});

scene("going from page to page does not make the light flicker", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await alice.opens(visitor.id);
  await alice.light("lit");
  const lights = await alice.watches("[data-test=join]", "data-light");
  const states = await alice.watches(`[data-visitor-id="${visitor.id}"]`, "data-state");
  const row = alice.row(visitor.id);

  for (const [path, title] of [
    ["/demo/site/product.html?id=gable", "Gable"],
    ["/demo/site/cart.html", "Cart"],
    ["/demo/site/help.html", "Help"],
  ]) {
    await visitor.goes(path);
    await row.locator(".page-title", { hasText: title }).waitFor();
  }
  assert.deepEqual(await lights(), ["lit"]);
  assert.deepEqual(await states(), ["present"]);
});

scene("a filter of the shop that loads no page is told as a page of its own", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await visitor.page.getByRole("button", { name: "To carry" }).click();
  await alice.row(visitor.id).locator(".page-title", { hasText: "To carry" }).waitFor();
  await alice.row(visitor.id).locator(".page-path", { hasText: "place=portable" }).waitFor();
});

scene("a tab in the background dims the light, and a second tab keeps it lit", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await alice.opens(visitor.id);
  await alice.light("lit");

  await visitor.becomes("hidden");
  await alice.light("dim");
  await alice.row(visitor.id, "hidden").waitFor();

  const second = await s.visitor({ id: visitor.id, path: "/demo/site/help.html", context: visitor.page.context() });
  await alice.light("lit");
  await alice.row(visitor.id).getByText("2 tabs").waitFor();
  await second.close();
  await alice.light("dim");

  await visitor.becomes("visible");
  await alice.light("lit");
});

scene("signing out of the shop darkens the light at once", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await alice.opens(visitor.id);
  await alice.light("lit");
  await visitor.page.evaluate(() => /** @type {any} */ (window).Porchlight.leave());
  const leftAt = Date.now();
  await alice.light("dark");
  await alice.row(visitor.id).waitFor({ state: "detached" });
  assert.equal(await visitor.page.evaluate(() => /** @type {any} */ (window).Porchlight.state), "stopped");
  assert.ok(leftAt > 0);
});

scene("a visitor without an ID gets one with a code, and keeps it on the next page", async (s) => {
  const visitor = await s.visitor({ id: "" });
  await visitor.online();
  const name = () => visitor.page.evaluate(() => /** @type {any} */ (window).Porchlight.visitorId);
  const id = await name();
  assert.match(id, /^unq-/);
  const alice = await s.agent();
  await alice.row(id, "present").locator("[data-test=code]").waitFor();
  await visitor.goes("/demo/site/cart.html");
  await visitor.online();
  assert.equal(await name(), id);
});

scene("the light comes back when the visitor's network does", async (s) => {
  const line = await s.line();
  s.allow(/WebSocket connection/);
  const visitor = await s.visitor({ url: line.url });
  const alice = await s.agent();
  await alice.opens(visitor.id);
  await alice.light("lit");
  line.cut();
  await visitor.page.waitForFunction(() => /** @type {any} */ (window).Porchlight.state === "reconnecting");
  line.mend();
  await visitor.online();
  await alice.light("lit");
});
