// Browsers that are closed and opened again under a session: who was in it goes on in it, and what has ended stays ended.
import assert from "node:assert/strict";
import { assertMoving } from "./barcode.js";
import { stage, until } from "./lib.js";
import { AgentPage, VisitorPage } from "./people.js";
import { assertSame, openShop } from "./shop.js";

const { scene } = stage();

/** @typedef {import("./lib.js").Scene} Scene */

scene("a visitor's and an agent's browser start again, both go on in the session, and what has ended stays ended", async (s) => {
  const theirs = await s.ownBrowser();
  const ours = await s.ownBrowser();
  const before = await s.visitor({ path: "/demo/site/barcode.html", context: theirs.context });
  const alice = await s.agent("alice", { context: ours.context });
  await alice.joins(before.id);
  await before.accept();
  await before.shares();
  await alice.sees("live");
  assertMoving(await alice.readings(3), 3);
  const session = await alice.viewer.getAttribute("data-session-id");
  const publisher = (await alice.everybody()).find(({ role }) => role === "publisher");

  // A duplicated tab has a copy of what this tab keeps, and takes nothing.
  const copy = await s.page("a copy", theirs.context);
  const kept = await before.page.evaluate(() => sessionStorage.getItem("porchlight.share"));
  await copy.addInitScript((value) => sessionStorage.setItem("porchlight.share", value), String(kept));
  await copy.goto(before.page.url());
  await copy.waitForFunction(() => /** @type {any} */ (window).Porchlight?.state === "online");
  await until("the copy's look", () => copy.evaluate(() => sessionStorage.getItem("porchlight.share") === null));
  await copy.close();
  await before.shares();

  await theirs.close();
  await alice.page.locator("[data-test=viewer][data-state=reconnecting][data-detail=publisher]").waitFor();
  await theirs.open();
  const visitor = new VisitorPage(await theirs.restored("the visitor again", `${s.server.url}/demo/site/barcode.html`), before.id, s);
  // Its capture ended with its page: one click begins another.
  await visitor.button("continue").click();
  await visitor.shares();
  await alice.sees("live");
  assertMoving(await alice.readings(5), 5);
  assert.equal(await alice.viewer.getAttribute("data-session-id"), session);
  const again = await alice.everybody();
  assert.deepEqual(again.map(({ role, state }) => `${role} ${state}`).sort(), ["publisher here", "viewer here"]);
  assert.equal(again.find(({ role }) => role === "publisher")?.participantId, publisher?.participantId);

  // The agent's comes back by itself, into the same seat: nobody else ever came.
  const seat = await alice.seat();
  const seen = await visitor.noticesPeople();
  const token = await alice.page.evaluate(() => JSON.parse(sessionStorage.getItem("porchlight.seat") ?? "{}").resumeToken);
  assert.ok(token, "it is kept");
  await ours.close();
  await until("the loss", async () => (await seen()).length === 1);
  await ours.open();
  const back = new AgentPage(await ours.restored("alice again", `${s.server.url}/demo/agent`), "alice", s);
  await back.sees("live");
  assertMoving(await back.readings(5), 5);
  assert.equal(await back.viewer.getAttribute("data-session-id"), session);
  assert.equal(await back.seat(), seat);
  assert.deepEqual(await seen(), ["Alice reconnecting", "Alice back"]);
  assert.deepEqual((await back.everybody()).map(({ role, state }) => `${role} ${state}`).sort(), ["publisher here", "viewer here"]);
  const address = await back.page.evaluate(() => JSON.stringify([location.href, history.state]));
  assert.ok(!address.includes(token) && !s.server.log.join("\n").includes(token), "no token in an address or a log");
  await visitor.shares();

  await theirs.close();
  await back.page.locator("[data-test=viewer][data-state=reconnecting][data-detail=publisher]").waitFor();
  await back.page.locator("[data-test=end-session]").click();
  assert.equal(await back.seesEnd(), "agent_ended");
  await theirs.open();
  const late = new VisitorPage(await theirs.restored("the visitor, too late", `${s.server.url}/demo/site/barcode.html`), before.id, s);
  await late.online();
  await until("the end of it", () => late.page.evaluate(() => sessionStorage.getItem("porchlight.share") === null && !(/** @type {any} */ (window).Porchlight.session)));
  assert.equal(await late.button("continue").count(), 0);
  // The page that came back has no record open.
  await back.opens(before.id);
  await back.light("lit");
});

scene("a page that is shared itself is shared again after its browser started again, without a question", async (s) => {
  await s.server.joinStarts("SESSION_KIND_COBROWSE");
  const id = s.newVisitorId;
  const shop = await openShop(`<script async src="${s.server.url}/porchlight.js" data-group="demo" data-visitor-id="${id}"></script>`);
  s.closes(shop);
  const theirs = await s.ownBrowser();
  const page = await s.page(id, theirs.context);
  await page.goto(shop.url);
  const before = new VisitorPage(page, id, s);
  await before.online();
  const alice = await s.agent();
  await alice.joins(id);
  await before.accept();
  await before.shares();
  await alice.sees("live");
  await theirs.close();
  await alice.page.locator("[data-test=viewer][data-state=reconnecting][data-detail=publisher]").waitFor();
  await theirs.open();
  const visitor = new VisitorPage(await theirs.restored("the visitor again", shop.url), id, s);
  await visitor.shares();
  await alice.sees("live");
  await visitor.page.fill("[name=name]", "Mara again");
  await assertSame(visitor, alice);
  assert.equal(await visitor.dialog.count(), 0);
});
