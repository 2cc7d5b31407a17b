// Join: an agent asks, the visitor decides, and nothing of the screen moves before.
import assert from "node:assert/strict";
import { stage } from "./lib.js";

const { scene } = stage();

/** Texts of the focused element, through shadow roots. @param {import("playwright-core").Page} page */
const focused = (page) =>
  page.evaluate(() => {
    let at = document.activeElement;
    while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
    return at?.getAttribute("data-action") ?? at?.id ?? at?.tagName ?? "";
  });

scene("the visitor declines, and the agent reads so", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await alice.joins(visitor.id);
  await visitor.dialog.waitFor();
  const text = await visitor.dialog.innerText();
  assert.match(text, /Alice would like to see your screen/);
  assert.match(text, /Your screen, a window or a tab/);
  assert.match(text, /View only/);
  assert.match(text, /Terms, version/);
  assert.match(text, /This request ends in \d:\d\d/);
  await alice.requestIs("displayed");

  await visitor.button("decline").click();
  await alice.requestIs("declined");
  await visitor.dialog.waitFor({ state: "detached" });
  await alice.light("lit");
  assert.equal(await alice.join.isEnabled(), true);
  assert.equal(await alice.viewer.count(), 0);
});

scene("the agent takes the request back, and the question goes away", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await alice.joins(visitor.id);
  await visitor.button("accept").waitFor();
  await alice.requestIs("displayed");
  await alice.page.locator("[data-test=cancel-request]").click();
  await alice.requestIs("cancelled");
  await visitor.dialog.getByText("Alice has taken the request back.").waitFor();
  assert.equal(await visitor.button("accept").count(), 0);
  await visitor.button("close").click();
  await visitor.dialog.waitFor({ state: "detached" });
});

scene("a visitor who does not answer in time is asked no longer, and the agent reads so", async (s) => {
  await s.server.asksFor(5);
  const visitor = await s.visitor();
  const alice = await s.agent();
  await alice.joins(visitor.id);
  await visitor.button("accept").waitFor();
  await alice.requestIs("displayed");
  await alice.requestIs("expired");
  await visitor.dialog.getByText("The request has expired.").waitFor();
  assert.equal(await visitor.button("accept").count(), 0);
  await visitor.button("close").click();
  await alice.light("lit");
  assert.equal(await alice.viewer.count(), 0);
  await s.server.asksFor(60);
});

scene("an agent may say beforehand that control may be asked for", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await alice.opens(visitor.id);
  await alice.page.locator("[name=control]").check();
  await alice.join.click();
  await visitor.dialog.getByText("Alice may ask to click and type for you").waitFor();
  await visitor.button("decline").click();
  await alice.requestIs("declined");
});

scene("the dialog keeps the focus, and Escape declines", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await visitor.page.locator("#who").focus();
  await alice.joins(visitor.id);
  await visitor.button("accept").waitFor();
  const { page } = visitor;
  await page.waitForFunction(() => {
    const root = document.querySelector("[data-porchlight=dialog]")?.shadowRoot;
    return root?.activeElement?.id === "title" && !root.querySelector("[data-action=accept]:disabled");
  });
  const stops = [];
  for (let at = 0; at < 8; at++) {
    await page.keyboard.press("Tab");
    stops.push(await focused(page));
  }
  assert.equal(stops.includes("BODY") || stops.includes("who"), false, `the focus left the dialog: ${stops}`);
  for (const stop of ["accept", "decline"]) assert.ok(stops.includes(stop), `${stop} is in ${stops}`);
  await page.keyboard.press("Shift+Tab");
  assert.notEqual(await focused(page), stops.at(-1));

  await page.keyboard.press("Escape");
  await alice.requestIs("declined");
  await visitor.dialog.waitFor({ state: "detached" });
  assert.equal(await focused(page), "who");
});

scene("the keyboard alone is enough to accept", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await alice.joins(visitor.id);
  await visitor.dialog.locator("[data-action=accept]:enabled").waitFor();
  const { page } = visitor;
  for (let at = 0; at < 6 && (await focused(page)) !== "accept"; at++) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await visitor.shares();
  await alice.sees("live");
  await alice.light("in_session");
  await alice.row(visitor.id).locator("[data-test=in-session]").waitFor();
});

scene("who goes to the next page while asked is asked there again", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await alice.joins(visitor.id);
  await visitor.button("accept").waitFor();
  await alice.requestIs("displayed");
  await visitor.goes("/demo/site/help.html");
  await visitor.dialog.getByText("Alice would like to see your screen").waitFor();
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
});

scene("two tabs: the one in use is asked, and its end closes the question", async (s) => {
  const first = await s.visitor();
  await first.online();
  const second = await s.visitor({ id: first.id, path: "/demo/site/cart.html", context: first.page.context() });
  await second.online();
  const alice = await s.agent();
  await first.page.locator("h1").click();
  await first.page.waitForFunction(() => /** @type {any} */ (window).Porchlight.focused);
  await alice.joins(first.id);
  await first.button("accept").waitFor();
  assert.equal(await second.dialog.count(), 0);
  // The tab that was asked goes: the question moves on.
  await first.close();
  await second.button("accept").waitFor();
  await second.button("decline").click();
  await alice.requestIs("declined");
});

scene("a second agent who presses Join asks nobody twice", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  const bob = await s.agent("bob");
  await alice.joins(visitor.id);
  await visitor.button("accept").waitFor();
  await bob.joins(visitor.id);
  await bob.requestIs("displayed");
  assert.equal(await visitor.dialog.count(), 1);
  assert.match(await visitor.dialog.innerText(), /Alice would like/);
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  await bob.sees("live");
  await visitor.bar.getByText("You’re sharing with").waitFor();
});

scene("a visitor reads a key off the page, and the agent who types it is answered like any other", async (s) => {
  const visitor = await s.visitor({ path: "/demo/site/help.html" });
  await visitor.online();
  await visitor.page.getByRole("button", { name: "Get a number to read out" }).click();
  const widget = visitor.page.locator("[data-porchlight=key] section");
  await widget.getByRole("button", { name: "Get my number" }).click();
  await widget.getByRole("heading", { name: "Read out this number" }).waitFor();
  const shown = (await widget.locator("[data-field=key]").textContent()) ?? "";
  assert.match(shown, /^\d{3} \d{3}$/);
  assert.match((await widget.textContent()) ?? "", /It is good for (10:00|9:\d\d)\./);
  assert.equal(await focused(visitor.page), "title");
  await visitor.page.keyboard.press("Escape");
  await widget.waitFor({ state: "detached" });
  await visitor.goes("/demo/site/cart.html");
  await visitor.online();
  const key = () => visitor.page.evaluate(() => /** @type {any} */ (window).Porchlight.sessionKey);
  assert.equal(await key(), shown.replace(" ", ""), "the next page knows it");

  const alice = await s.agent();
  await alice.opensRecord("");
  await alice.join.click();
  const form = alice.page.locator("[data-test=key-form]");
  await form.locator("[name=sessionKey]").fill(shown);
  await form.locator("[type=submit]").click();
  await visitor.dialog.getByText("Alice would like to see your screen").waitFor();
  await visitor.button("decline").click();
  await visitor.dialog.waitFor({ state: "detached" });
  assert.equal(await key(), undefined, "a key is good for one session");
});

scene("a visitor who leaves while asked is reported as gone", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await alice.joins(visitor.id);
  await visitor.button("accept").waitFor();
  await visitor.page.evaluate(() => /** @type {any} */ (window).Porchlight.leave());
  await alice.requestIs("visitor_gone");
  await alice.light("dark");
});
