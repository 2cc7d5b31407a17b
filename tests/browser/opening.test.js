// Where a session opens that an agent joins: in the page, in a tab of its own, or in the agent's client.
import assert from "node:assert/strict";
import { look, stage, until } from "./lib.js";

/** @import { Scene } from "./lib.js" */
/** @import { AgentPage } from "./people.js" */

const { scene } = stage();

/** @param {import("playwright-core").Page} page */
const live = (page) => page.locator("[data-test=viewer][data-state=live]").waitFor();
/** @param {AgentPage} agent @param {string} where */
const handover = (agent, where) => agent.page.locator(`[data-test=handover][data-join-in=${where}]`);
/** @param {AgentPage} agent @param {"open" | "here" | "end"} which */
const press = (agent, which) => agent.page.locator(`[data-test=handover-${which}]`).click();

/** In place of a computer's registry of programs: keeps the links that are opened, and nothing answers. */
function noClient() {
  const opened = (/** @type {any} */ (globalThis).opened = /** @type {string[]} */ ([]));
  const click = HTMLAnchorElement.prototype.click;
  HTMLAnchorElement.prototype.click = function () {
    // The browser's own question covers the page, and here nobody answers it.
    if (this.protocol === "porchlight:") opened.push(this.href);
    else click.call(this);
  };
}

/** The links that a page opened. @param {AgentPage} agent @returns {Promise<string[]>} */
const links = (agent) => agent.page.evaluate(() => /** @type {any} */ (globalThis).opened);

/** Does with a link what a client does that is installed: comes in, and counts frames. @param {Scene} s @param {string} link */
async function client(s, link) {
  const told = new URLSearchParams(new URL(link).hash.slice(1));
  const page = await s.page("the client");
  await page.goto(`${told.get("server")}/join`);
  await page.evaluate(({ server, ticket }) => {
    const seen = (/** @type {any} */ (globalThis).seen = { attached: /** @type {any} */ (null), frames: 0, code: 0 });
    const socket = new WebSocket(`${server.replace(/^http/, "ws")}/v1/session`, ["porchlight.v1"]);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify({ type: "attach", ticket }));
    socket.onclose = ({ code }) => (seen.code = code);
    socket.onmessage = ({ data }) => {
      if (typeof data !== "string") seen.frames += 1;
      else if (JSON.parse(data).type === "attached") seen.attached = JSON.parse(data);
    };
  }, { server: told.get("server") ?? "", ticket: told.get("ticket") ?? "" });
  return { told, seen: () => page.evaluate(() => /** @type {any} */ (globalThis).seen) };
}

scene("a browser tab: Join opens one that shows the session, and the console tells of it", async (s) => {
  await s.server.joinsIn("BROWSER_TAB");
  const visitor = await s.visitor({ id: "C-2001" });
  const alice = await s.agent("alice");
  const opened = alice.page.context().waitForEvent("page");
  await alice.joins("C-2001");
  const tab = await opened;
  // It waits with the agent, and nobody signs in again.
  await tab.locator("[data-test=session-note]", { hasText: "The visitor is being asked" }).waitFor();
  assert.match(new URL(tab.url()).pathname, /^\/s\/[0-9a-f-]{36}$/);
  await visitor.accept();
  await visitor.shares();
  await live(tab);
  await handover(alice, "browser_tab").waitFor();
  assert.equal(await alice.viewer.count(), 0, "it is not shown twice");
  await look(alice.page, "opening-tab");

  // Join again, and the button, lead to the tab that is there.
  await alice.join.click();
  await press(alice, "open");
  assert.equal(alice.page.context().pages().length, 2);

  // Loaded again, it goes on in its seat.
  const seen = await visitor.noticesPeople();
  await tab.reload();
  await live(tab);
  assert.deepEqual(await seen(), ["Alice reconnecting", "Alice back"]);
  // Where that is lost, it joins anew: the session is what it was opened for.
  await tab.addInitScript(() => {
    const kept = JSON.parse(sessionStorage.getItem("porchlight.seat") ?? "null");
    if (kept) sessionStorage.setItem("porchlight.seat", JSON.stringify({ ...kept, resumeToken: "no more" }));
  });
  await tab.reload();
  await live(tab);
  await until("the news", async () => (await seen()).length === 4);
  assert.deepEqual((await seen()).slice(2), ["Alice reconnecting", "Alice joined"]);

  // Closed, it is opened anew; or the session comes to the console, and the tab goes.
  await tab.close();
  const again = alice.page.context().waitForEvent("page");
  await press(alice, "open");
  const second = await again;
  await live(second);
  await press(alice, "here");
  await live(alice.page);
  await handover(alice, "browser_tab").waitFor({ state: "hidden" });
  assert.ok(second.isClosed());
  await visitor.barButton("stop").click();
  await alice.endReason.waitFor();
});

scene("a browser tab: what the agent takes back is asked no longer, though two pages asked", async (s) => {
  await s.server.joinsIn("BROWSER_TAB");
  const visitor = await s.visitor({ id: "C-2002" });
  const alice = await s.agent("alice");
  const opened = alice.page.context().waitForEvent("page");
  await alice.joins("C-2002");
  const tab = await opened;
  await tab.locator("[data-test=session-note]", { hasText: "The visitor is being asked" }).waitFor();
  await visitor.button("accept").waitFor();
  await alice.page.locator("[data-test=cancel-request]").click();
  await visitor.dialog.waitFor({ state: "detached" });
  await tab.locator("[data-test=session-note][data-state=over]").waitFor();
  await handover(alice, "browser_tab").waitFor({ state: "hidden" });
});

scene("a client: it is handed a link that works once, and there is a way back when none answers", async (s) => {
  await s.server.joinsIn("CLIENT");
  const visitor = await s.visitor({ id: "C-2003" });
  const alice = await s.agent("alice", { init: noClient });
  await alice.joins("C-2003");
  assert.deepEqual(await links(alice), [], "no ticket before the visitor said yes");
  await visitor.accept();
  await visitor.shares();
  await handover(alice, "client").waitFor();
  await until("the link", async () => (await links(alice)).length === 1);
  assert.equal(await alice.viewer.count(), 0);
  assert.equal(alice.page.context().pages().length, 1);
  await look(alice.page, "opening-client");

  const [link] = await links(alice);
  const { told, seen } = await client(s, link);
  assert.deepEqual([told.get("server"), link.split("#")[0]], [s.server.url, "porchlight:join"]);
  assert.ok(Date.parse(told.get("expires") ?? "") - Date.now() <= 60_000);
  await until("a picture at the client", async () => (await seen()).frames > 0);
  const { attached } = await seen();
  assert.deepEqual([attached.sessionId, attached.role], [told.get("session"), "viewer"]);
  assert.ok(attached.participants.some((/** @type {any} */ one) => one.agentId === "alice" && one.role === "viewer"));
  const late = await client(s, link);
  await until("the refusal", async () => (await late.seen()).code >= 4000);
  assert.equal((await late.seen()).attached, null, "a link opens one seat");

  // Another client, by another ticket; or this browser after all.
  await press(alice, "open");
  await until("another link", async () => (await links(alice)).length === 2);
  const [, other] = await links(alice);
  assert.notEqual(new URL(other).hash, new URL(link).hash);
  await press(alice, "here");
  await live(alice.page);
  await handover(alice, "client").waitFor({ state: "hidden" });
  assert.equal((await links(alice)).length, 2);

  // The link of a post opens the same way, with the same way back.
  const { page } = await s.agent("bob", { init: noClient });
  await page.goto(`${s.server.url}/s/${told.get("session")}`);
  const card = page.locator("[data-test=handover][data-join-in=client]");
  await card.waitFor();
  await look(page, "opening-client-page");
  await page.locator("[data-test=handover-here]").click();
  await live(page);

  // Once left, the profile says anew where it opens.
  await alice.page.locator("[data-test=leave]").click();
  await alice.join.click();
  await handover(alice, "client").waitFor();
  await press(alice, "end");
  await handover(alice, "client").waitFor({ state: "hidden" });
  await page.locator("[data-test=end-reason]").waitFor();
});
