// The feed of a record: who follows it sees a post at once, and its link opens the session, on a phone as well.
import assert from "node:assert/strict";
import { look, PHONE, stage } from "./lib.js";

const { scene } = stage();

/** Looks at a page that nothing may have scrolled. @param {import("playwright-core").Page} page @param {string} what */
async function lookInPlace(page, what) {
  await look(page, what);
  assert.equal(await page.evaluate(() => document.scrollingElement?.scrollTop), 0, `${what} has left its place`);
}

/** Follows the open record. @param {import("./people.js").AgentPage} agent */
async function follow(agent) {
  await agent.page.locator("[data-test=follow]").click();
  await agent.page.locator("[data-test=feed][data-following=true]").waitFor();
}

/** @param {import("playwright-core").Page} page @param {string} state */
function note(page, state) {
  return page.locator(`[data-test=session-note][data-state=${state}]`);
}

scene("a follower sees the post at once, and its link opens the session", async (s) => {
  const visitor = await s.visitor({ id: "C-1001" });
  const [alice, bob] = [await s.agent("alice"), await s.agent("bob")];
  await bob.opens("C-1001");
  await follow(bob);
  await alice.joins("C-1001");
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  const posts = bob.page.locator("[data-test=feed-item]");
  await posts.getByText("Alice started a session with C-1001.").waitFor({ timeout: 1_000 });
  await lookInPlace(bob.page, "feed-wide");

  // By the keyboard, into a tab of its own that takes the sign-in along.
  await bob.page.locator("[data-test=feed-link]").focus();
  const opened = bob.page.context().waitForEvent("page");
  await bob.page.keyboard.press("Enter");
  const page = await opened;
  await page.locator("[data-test=viewer][data-state=live]").waitFor();
  assert.match(new URL(page.url()).pathname, /^\/s\/[0-9a-f-]{36}$/);
  await lookInPlace(page, "session-page-wide");
  await posts.getByText("Bob joined a session with C-1001.").waitFor({ timeout: 1_000 });

  // Whoever leaves may come back, and does not post again.
  await page.locator("[data-test=leave]").click();
  await page.locator("[data-test=join-again]").click();
  await page.locator("[data-test=viewer][data-state=live]").waitFor();
  assert.equal(await posts.count(), 2);

  await visitor.barButton("stop").click();
  await page.locator("[data-test=end-reason]").waitFor();
  await page.reload();
  await note(page, "over").waitFor();
  await lookInPlace(page, "session-over-wide");
});

scene("on a phone the link asks to sign in and opens the session", async (s) => {
  const visitor = await s.visitor({ id: "C-1002" });
  const alice = await s.agent("alice");
  await alice.joins("C-1002");
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  const id = await alice.viewer.getAttribute("data-session-id");

  const page = await s.page("bob's phone", PHONE);
  await page.goto(`${s.server.url}/s/${id}`);
  await page.locator("[data-test=sign-in-form]").waitFor();
  await lookInPlace(page, "session-sign-in-phone");
  await page.locator("[name=address]").fill("bob");
  await page.locator("[name=password]").fill(s.server.password("bob"));
  await page.locator("[data-test=sign-in]").click();
  await page.locator("[data-test=viewer][data-state=live]").waitFor();
  await lookInPlace(page, "session-page-phone");
  // The same tab keeps the sign-in.
  await page.reload();
  await page.locator("[data-test=viewer][data-state=live]").waitFor();
  await alice.page.locator("[data-test=end-session]").click();
  await page.locator("[data-test=end-reason]").waitFor();
  await lookInPlace(page, "session-ended-phone");
  await page.locator("[data-test=close-session]").click();
  await page.locator("[data-test=join-again]").click();
  await note(page, "over").waitFor();
  await lookInPlace(page, "session-over-phone");
});

scene("what is over, what never was and what is no ID get the same answer", async (s) => {
  s.allow(/401/);
  const { page } = await s.agent("bob");
  await page.clock.install();
  const texts = [];
  for (const id of ["00000000-0000-4000-8000-000000000000", "nothing"]) {
    await page.goto(`${s.server.url}/s/${id}`);
    await note(page, "over").waitFor();
    texts.push(await note(page, "over").textContent());
  }
  assert.equal(texts[0], texts[1]);
  // The page says in time when its sign-in can be renewed no more.
  const refusal = { error: { code: "unauthorized", message: "no", requestId: "r" } };
  await page.route("**/v1/auth/agent", (route) => route.fulfill({ status: 401, json: refusal }));
  await page.clock.fastForward("50:00");
  await page.locator("[data-test=toast]", { hasText: "Sign in again soon" }).waitFor();
});

scene("who comes back while the line is down is in the session when it is up", async (s) => {
  s.allow(/WebSocket|ERR_/);
  const visitor = await s.visitor();
  const alice = await s.agent("alice");
  await alice.joins(visitor.id);
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  const id = await alice.viewer.getAttribute("data-session-id");
  const line = await s.line();
  const { page } = await s.agent("bob", { url: line.url });
  await page.goto(`${line.url}/s/${id}`);
  await page.locator("[data-test=viewer][data-state=live]").waitFor();
  await page.locator("[data-test=leave]").click();
  await note(page, "left").waitFor();
  line.cut();
  await page.locator("[data-test=join-again]").click();
  await note(page, "opening").waitFor();
  line.mend();
  await page.locator("[data-test=viewer][data-state=live]").waitFor();
});

scene("a post that is drawn stays while time goes by, and only its age is told anew", async (s) => {
  const bob = await s.agent("bob");
  const { page } = bob;
  await page.clock.install();
  await page.reload();
  await bob.online();
  await bob.opensRecord("C-1004");
  await follow(bob);
  await s.server.admin("PostFeed", { record: { object: "Case", id: "500-C-1004" }, text: "Called back." });
  const item = page.locator("[data-test=feed-item]");
  await item.getByText("Called back.").waitFor();
  await item.evaluate((element) => Object.assign(element, { isTheSame: true }));
  await page.clock.fastForward("02:00");
  await item.locator("time").getByText(/^\d+ min ago$/).waitFor();
  assert.ok(await item.evaluate((element) => /** @type {any} */ (element).isTheSame));
});

scene("a record is followed until that is taken back, also over a reload", async (s) => {
  await s.visitor({ id: "C-1003" });
  const bob = await s.agent("bob", { context: PHONE });
  const { page } = bob;
  await bob.opens("C-1003");
  await follow(bob);
  await lookInPlace(page, "feed-phone");
  await page.reload();
  await bob.online();
  await bob.opens("C-1003");
  await page.locator("[data-test=feed][data-following=true]").waitFor();
  await page.locator("[data-test=follow]").click();
  await page.locator("[data-test=feed][data-following=false]").waitFor();
});
