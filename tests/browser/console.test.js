// The agent's console: signing in and out, a sign-in that ages, the list, and a page that is loaded again.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { assertMoving } from "./barcode.js";
import { stage, until } from "./lib.js";
import { AgentPage } from "./people.js";

const { scene } = stage();

/** @param {import("./lib.js").Scene} s @param {any} [options] */
async function signInPage(s, options) {
  const page = await s.page("agent", options);
  await page.goto(`${s.server.url}/demo/agent`);
  await page.locator("[data-test=sign-in-form]").waitFor();
  return page;
}

/** @param {import("playwright-core").Page} page @param {string} address @param {string} password */
async function signIn(page, address, password) {
  await page.locator("[name=address]").fill(address);
  await page.locator("[name=password]").fill(password);
  await page.locator("[data-test=sign-in]").click();
}

scene("a wrong password is refused, the right one lets in, and a reload asks nobody", async (s) => {
  s.allow(/401/);
  const page = await signInPage(s);
  assert.equal(await page.locator("[name=group]").inputValue(), "demo");
  await signIn(page, "alice", "not-the-password");
  const error = page.locator("[data-test=sign-in-error]");
  await error.getByText("Group, address or password is not right.").waitFor();
  assert.equal(await page.locator("[data-test=sign-in]").isEnabled(), true);
  await signIn(page, "nobody", "not-the-password");
  await error.getByText("Group, address or password is not right.").waitFor();

  await signIn(page, "alice", s.server.password("alice"));
  const alice = new AgentPage(page, "alice", s);
  await alice.online();
  await page.locator("[data-test=agent-name]", { hasText: "Alice" }).waitFor();
  assert.equal(await page.evaluate(() => document.cookie), "");
  assert.equal(new URL(page.url()).search + new URL(page.url()).hash, "");
  await page.reload();
  await alice.online();

  await page.locator("[data-test=sign-out]").click();
  await page.locator("[data-test=sign-in-form]").waitFor();
  await page.reload();
  await page.locator("[data-test=sign-in-form]").waitFor();
});

scene("a token that the server does not take leads back to the form", async (s) => {
  s.allow(/401/);
  const page = await s.page("agent");
  const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
  const kept = JSON.stringify({ group: "demo", token: "made.up.token", expiresAt });
  await page.goto(`${s.server.url}/demo/agent`);
  await page.evaluate((value) => sessionStorage.setItem("porchlight.agent", value), kept);
  await page.reload();
  await page.locator("[data-test=sign-in-form]").waitFor();
  await page.locator("[data-test=sign-in-error]").getByText("Your sign-in has expired").waitFor();
});

/** The shortest login that a group may set, and a moment within it when a page has to have renewed. */
const LOGIN_SECONDS = 60;
const RENEWAL_IS_DUE_MS = 50_000;

/**
 * A scene whose sign-ins are short, by password or login key.
 * @param {string} name @param {(s: import("./lib.js").Scene) => Promise<void>} play
 */
function shortSignInScene(name, play) {
  scene(name, async (s) => {
    const { settings } = await s.server.admin("GetSettings");
    try {
      await setSso(s, { enabled: true, loginExpirationSeconds: LOGIN_SECONDS });
      await play(s);
    } finally {
      await setSso(s, settings.sso);
    }
  });
}

/** @param {import("./lib.js").Scene} s @param {{ enabled: boolean, loginExpirationSeconds?: number }} sso */
async function setSso(s, sso) {
  const { version } = await s.server.admin("GetSettings");
  const updateMask = Object.keys(sso).map((field) => `sso.${field}`).join();
  await s.server.admin("UpdateSettings", { settings: { sso }, updateMask, expectedVersion: version });
}

/**
 * Bob's console on a clock that a test may turn, with an open Case whose visitor is here.
 * @param {import("./lib.js").Scene} s @param {object} credentials
 */
async function agingConsole(s, credentials) {
  const visitor = await s.visitor();
  const answer = await fetch(`${s.server.url}/v1/auth/agent`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ group: "demo", ...credentials }),
  });
  const { token, expiresAt } = await answer.json();
  const page = await s.page("bob");
  await page.clock.install();
  /** What the page says and hears, a list for each agent's socket. @type {any[][]} */
  const sockets = [];
  page.on("websocket", (socket) => {
    if (new URL(socket.url()).pathname !== "/v1/agent") return;
    const frames = /** @type {any[]} */ ([]);
    sockets.push(frames);
    for (const event of /** @type {const} */ (["framesent", "framereceived"])) {
      socket.on(/** @type {"framesent"} */ (event), ({ payload }) => frames.push(JSON.parse(String(payload))));
    }
  });
  await page.addInitScript((kept) => sessionStorage.setItem("porchlight.agent", kept), JSON.stringify({ group: "demo", token, expiresAt }));
  await page.goto(`${s.server.url}/demo/agent`);
  const bob = new AgentPage(page, "bob", s);
  await bob.online();
  await bob.opensRecord(visitor.id);
  await bob.light("lit");
  // Ends are whole seconds: a token of the same second would end with the one before it.
  await until("the next second", () => Date.now() >= Date.parse(expiresAt) - (LOGIN_SECONDS - 1) * 1_000);
  return { visitor, bob, page, sockets, expiresAt };
}

shortSignInScene("an open page renews its sign-in on its own connection and keeps what is open", async (s) => {
  const { visitor, bob, page, sockets, expiresAt } = await agingConsole(s, { address: "bob", password: s.server.password("bob") });
  await page.clock.fastForward(RENEWAL_IS_DUE_MS);
  const renewed = await until("the renewal", () => sockets[0].find(({ type }) => type === "renewed"));
  assert.ok(Date.parse(renewed.expiresAt) > Date.parse(expiresAt));
  const { token } = sockets[0].find(({ type }) => type === "renew");
  const kept = await page.evaluate(() => JSON.parse(sessionStorage.getItem("porchlight.agent") ?? "{}"));
  assert.deepEqual([kept.token, kept.expiresAt], [token, renewed.expiresAt], "for when the page is loaded again");
  await visitor.becomes("hidden");
  await bob.light("dim");
  assert.equal(sockets.length, 1);
  assert.equal(await page.locator("[data-test=toast]").count(), 0);
});

shortSignInScene("a page whose renewal is refused says so in time, and keeps what is open until it is over", async (s) => {
  s.allow(/401/);
  const { partnerUserId } = s.server.facts.agents.find((/** @type {any} */ one) => one.address === "bob");
  const exp = Math.floor(Date.now() / 1000) + LOGIN_SECONDS;
  const mac = createHmac("sha256", s.server.facts.apiKey.secret).update(`demo${partnerUserId}1${exp}`);
  const { visitor, bob, page, sockets } = await agingConsole(s, { partnerUserId, loginKey: `$1$${exp}$${mac.digest("base64url")}` });
  // Whoever came by single sign-on stays as long as it is on, and then to the end of the token.
  await setSso(s, { enabled: false });
  await page.clock.fastForward(RENEWAL_IS_DUE_MS);
  const toast = page.locator("[data-test=toast]", { hasText: "Sign in again soon" });
  await toast.getByText("What is open stays open until then.").waitFor();
  await visitor.becomes("hidden");
  await bob.light("dim");
  assert.equal(sockets.length, 1);
  await s.server.admin("RevokeTokens", { agentId: "bob" });
  s.server.forget("bob");
  await page.locator("[data-test=sign-in-error]").getByText("Your sign-in has expired").waitFor();
});

scene("the list shows who is here, filtered as asked", async (s) => {
  const one = await s.visitor({ path: "/demo/site/cart.html" });
  const two = await s.visitor({ path: "/demo/site/help.html" });
  const alice = await s.agent();
  await alice.row(one.id, "present").waitFor();
  await alice.row(two.id, "present").waitFor();

  const filter = alice.page.locator("[data-test=visitor-filter]");
  await filter.fill(one.id);
  await alice.row(two.id).waitFor({ state: "detached" });
  assert.equal(await alice.row(one.id).count(), 1);
  await filter.fill("Help");
  await alice.row(two.id).waitFor();
  await alice.row(one.id).waitFor({ state: "detached" });
  // The filter follows the visitors: who comes to a matching page appears, who leaves it goes.
  await one.goes("/demo/site/help.html");
  await alice.row(one.id).waitFor();
  await one.goes("/demo/site/cart.html");
  await alice.row(one.id).waitFor({ state: "detached" });
  await filter.fill("nobody has this name");
  await alice.page.locator("[data-test=visitors-empty]").getByText("Nobody matches").waitFor();
  await filter.fill("");
  await alice.row(one.id).waitFor();
  await alice.row(two.id).waitFor();

  await two.becomes("hidden");
  await alice.page.getByRole("button", { name: "Away", exact: true }).click();
  await alice.row(two.id, "hidden").waitFor();
  await alice.row(one.id).waitFor({ state: "detached" });
});

scene("the keyboard leads from the filter to an open record", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await alice.row(visitor.id).waitFor();
  await alice.page.keyboard.press("/");
  await alice.page.keyboard.type(visitor.id);
  await until("one row", async () => (await alice.page.locator("[data-test=visitor-row]").count()) === 1);
  await alice.row(visitor.id).focus();
  await alice.page.keyboard.press("Enter");
  await alice.light("lit");
  await alice.page.locator("[data-test=record]").getByText(`Case of ${visitor.id}`).waitFor();
});

scene("what a visitor's page says is text, never markup", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await alice.opens(visitor.id);
  await visitor.online();
  await visitor.page.evaluate(() => {
    document.title = `<img src=x onerror="window.broken=1">`;
    /** @type {any} */ (window).Porchlight.update({ data: { name: "<script>window.broken=1</script>" } });
  });
  await alice.row(visitor.id).getByText("<img src=x").waitFor();
  await alice.row(visitor.id).getByText("<script>").waitFor();
  assert.equal(await alice.page.evaluate(() => /** @type {any} */ (window).broken), undefined);
});

scene("a record without a visitor ID asks for a session key, and an unknown one opens nothing", async (s) => {
  const alice = await s.agent();
  await alice.opensRecord("");
  await alice.join.click();
  const form = alice.page.locator("[data-test=key-form]");
  await form.locator("[name=sessionKey]").fill("000 000");
  await form.locator("[type=submit]").click();
  await alice.page.locator("[data-test=toast][data-kind=error]").waitFor();
  assert.equal(await alice.viewer.count(), 0);
});

scene("an agent whose page is loaded again is back in the session by itself, in the same seat and without control", async (s) => {
  const visitor = await s.visitor({ path: "/demo/site/barcode.html" });
  const alice = await s.agent();
  await alice.joins(visitor.id, { control: true });
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  await alice.page.locator("[data-test=request-control]").click();
  await visitor.button("control").click();
  await alice.page.locator("[data-test=viewer][data-control=granted]").waitFor();
  const seat = await alice.seat();
  const seen = await visitor.noticesPeople();

  // A duplicated tab has a copy of what this tab keeps, and takes nothing.
  const copy = await s.page("a copy", alice.page.context());
  const kept = await alice.page.evaluate(() => JSON.stringify({ ...sessionStorage }));
  await copy.addInitScript((all) => Object.entries(JSON.parse(all)).forEach(([key, value]) => sessionStorage.setItem(key, value)), kept);
  await copy.goto(alice.page.url());
  await copy.locator("[data-test=connection][data-state=online]").waitFor();
  await until("the copy's look", () => copy.evaluate(() => sessionStorage.getItem("porchlight.seat") === null));
  assert.equal(await copy.locator("[data-test=viewer]").count(), 0);
  await copy.close();

  for (const times of [1, 2]) {
    await alice.page.reload();
    await alice.sees("live");
    assertMoving(await alice.readings(3), 3);
    assert.equal(await alice.seat(), seat);
    assert.deepEqual(await seen(), Array(times).fill(["Alice reconnecting", "Alice back"]).flat());
  }
  // Control has to be given anew.
  await alice.page.locator("[data-test=viewer][data-control=off]").waitFor();
  await alice.page.locator("[data-test=request-control]").click();
  await visitor.button("control").click();
  await alice.page.locator("[data-test=viewer][data-control=granted]").waitFor();

  // Opening the record brings no second seat.
  await alice.row(visitor.id).click();
  await alice.page.locator("[data-test=record]").waitFor({ state: "attached" });
  await alice.sees("live");
  assert.equal(await alice.seat(), seat);
  assert.equal((await alice.everybody()).length, 2);
  assert.equal(await visitor.dialog.count(), 0);

  // Who leaves stays out, and comes back by the button.
  await alice.page.locator("[data-test=leave]").click();
  await alice.light("in_session");
  await alice.page.getByRole("button", { name: "Join session" }).click();
  await alice.sees("live");
  assert.equal(await visitor.dialog.count(), 0);
});

scene("what ended while the console was away stays ended, and another agent in its tab takes nobody's seat", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await alice.joins(visitor.id);
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  const seen = await visitor.noticesPeople();
  await alice.page.goto(`${s.server.url}/demo/site/help.html?visitor=${s.newVisitorId}`);
  await until("the loss", async () => (await seen()).length === 1);
  const kept = await alice.page.evaluate(() => sessionStorage.getItem("porchlight.seat"));
  const bob = await s.page("bob in her tab");
  const signedIn = JSON.stringify(await s.server.signIn("bob"));
  await bob.addInitScript(([seat, token]) => {
    if (!sessionStorage.getItem("porchlight.agent")) sessionStorage.setItem("porchlight.seat", seat);
    sessionStorage.setItem("porchlight.agent", token);
  }, [String(kept), signedIn]);
  await bob.goto(`${s.server.url}/demo/agent`);
  await until("bob's look", () => bob.evaluate(() => sessionStorage.getItem("porchlight.seat") === null));
  assert.equal(await bob.locator("[data-test=viewer]").count(), 0);
  assert.deepEqual(await seen(), ["Alice reconnecting"]);

  await visitor.barButton("stop").click();
  await alice.page.goto(`${s.server.url}/demo/agent`);
  await alice.told("You are not in the session any more");
  await alice.told("The guest ended the session.");
  assert.equal(await alice.viewer.count(), 0);
  assert.equal(await alice.page.evaluate(() => sessionStorage.getItem("porchlight.seat")), null);
  await alice.page.reload();
  await alice.online();
  assert.equal(await alice.viewer.count(), 0);
});

scene("where the object has no Auto Join, a running session is joined by the button", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await alice.joins(visitor.id);
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  const bob = await s.agent("bob");
  await bob.simulates({ object: "Contact", id: visitor.id });
  await bob.light("in_session");
  await bob.page.getByRole("button", { name: "Join session" }).click();
  await bob.sees("live");
  await visitor.bar.getByText("Alice and Bob").waitFor();
});

scene("words go both ways", async (s) => {
  const visitor = await s.visitor();
  const alice = await s.agent();
  await alice.joins(visitor.id);
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  await visitor.page.evaluate(() => {
    const { Porchlight } = /** @type {any} */ (window);
    Porchlight.on("chat", (/** @type {any} */ said) => (/** @type {any} */ (window).heard = said.text));
  });
  await alice.page.locator("[data-test=chat-toggle]").click();
  await alice.page.locator("[data-test=chat] input").fill("Scroll down a little");
  await alice.page.keyboard.press("Enter");
  await visitor.page.waitForFunction(() => /** @type {any} */ (window).heard === "Scroll down a little");
  await visitor.page.evaluate(() => /** @type {any} */ (window).Porchlight.session.chat("Like this?"));
  await alice.page.locator("[data-test=chat]").getByText("Like this?").waitFor();
});
