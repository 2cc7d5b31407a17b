// What people look at, as pictures in shots/: light and dark, wide and narrow. Fails when something is cut off.
import assert from "node:assert/strict";
import { shoot, stage } from "./lib.js";

const { scene } = stage();

const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
const NARROW = { viewport: { width: 390, height: 844 } };

/** Nothing sticks out of the window to the right. @param {import("playwright-core").Page} page @param {string} what */
async function assertFits(page, what) {
  const wide = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    return scrollWidth > clientWidth ? `${scrollWidth} in ${clientWidth}` : "";
  });
  assert.equal(wide, "", `${what} is wider than the window`);
}

for (const [scheme, context] of /** @type {[string, any][]} */ ([
  ["light", {}],
  ["dark", { colorScheme: "dark" }],
  ["phone", { ...PHONE }],
  ["phone-dark", { ...PHONE, colorScheme: "dark" }],
])) {
  scene(`the visitor's side: ${scheme}`, async (s) => {
    const visitor = await s.visitor({ id: "C-1001", context });
    const alice = await s.agent();
    const { page } = visitor;
    await visitor.online();
    await page.waitForLoadState("networkidle");
    await shoot(page, `shop-${scheme}`);
    await assertFits(page, "the shop");
    for (const name of ["product.html?id=harbour", "cart.html", "help.html"]) {
      await visitor.goes(`/demo/site/${name}`);
      await visitor.online();
      await shoot(page, `shop-${name.split(".")[0]}-${scheme}`);
      await assertFits(page, name);
    }
    await visitor.goes("/demo/site");
    await visitor.online();
    await alice.joins("C-1001", { control: true });
    await visitor.dialog.locator("[data-action=accept]:enabled").waitFor();
    await shoot(page, `terms-${scheme}`);
    await assertFits(page, "the terms");
    await visitor.accept();
    await visitor.shares();
    await alice.sees("live");
    await shoot(page, `stop-bar-${scheme}`);
    await assertFits(page, "the stop bar");
    await visitor.barButton("pause").click();
    await visitor.shares("paused");
    await shoot(page, `stop-bar-paused-${scheme}`);
    await visitor.barButton("stop").click();
    await visitor.bar.getByText("Sharing has ended").waitFor();
    await shoot(page, `stop-bar-ended-${scheme}`);
  });
}

for (const [scheme, context] of /** @type {[string, any][]} */ ([
  ["light", {}],
  ["dark", { colorScheme: "dark" }],
  ["phone", NARROW],
  ["phone-dark", { ...NARROW, colorScheme: "dark" }],
])) {
  scene(`the agent's side: ${scheme}`, async (s) => {
    const form = await s.page("form", context);
    await form.goto(`${s.server.url}/demo/agent`);
    await form.locator("[data-test=sign-in-form]").waitFor();
    await shoot(form, `console-sign-in-${scheme}`);
    await assertFits(form, "the sign-in form");

    const others = ["C-1002", "C-1003"];
    for (const [at, id] of others.entries()) await s.visitor({ id, path: ["/demo/site/cart.html", "/demo/site/help.html"][at] });
    const away = await s.visitor({ id: "" });
    await away.becomes("hidden");
    const visitor = await s.visitor({ id: "C-1001", path: "/demo/site/product.html", query: { id: "harbour" } });
    const alice = await s.agent("alice", { context });
    const { page } = alice;
    for (const id of [...others, "C-1001"]) await alice.row(id, "present").waitFor({ state: "attached" });
    await page.locator("[data-test=visitor-row][data-state=hidden]").first().waitFor({ state: "attached" });
    await shoot(page, `console-list-${scheme}`);
    await assertFits(page, "the list");
    await alice.opens("C-1001");
    await alice.light("lit");
    await shoot(page, `console-lit-${scheme}`);
    await assertFits(page, "the record");
    await alice.join.click();
    await visitor.button("accept").waitFor();
    await alice.requestIs("displayed");
    await shoot(page, `console-asking-${scheme}`);
    await visitor.accept();
    await visitor.shares();
    await alice.sees("live");
    await alice.readings(3, 5_000);
    await shoot(page, `console-live-${scheme}`);
    await assertFits(page, "the session");
    await page.locator("[data-test=stats-toggle]").click();
    await page.locator("[data-test=chat-toggle]").click();
    await shoot(page, `console-chat-stats-${scheme}`);
    await visitor.barButton("pause").click();
    await alice.sees("paused");
    await shoot(page, `console-paused-${scheme}`);
    await visitor.barButton("stop").click();
    await alice.seesEnd();
    await shoot(page, `console-ended-${scheme}`);
    await assertFits(page, "the end");
  });
}
