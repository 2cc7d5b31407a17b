// Agents see a guest's screen: by code or link, after the guest accepted, and again after it started anew. A barcode
// tells which picture they see.
import assert from "node:assert/strict";
import { assertMoving } from "./barcode.js";
import { PHONE, stage } from "./lib.js";

const { scene } = stage();

/** Headless browsers have no screen: a tab stands in for it, and the page's wish is noted. */
function tabForScreen() {
  const devices = navigator.mediaDevices;
  const pick = devices?.getDisplayMedia?.bind(devices);
  if (!pick) return;
  devices.getDisplayMedia = (wish) => {
    Object.assign(window, { wished: wish });
    const { monitorTypeSurfaces: _, ...rest } = /** @type {any} */ (wish);
    return pick({ ...rest, video: { frameRate: wish?.video?.frameRate } });
  };
}

/** Phones have none of it. */
function noCapture() {
  Object.defineProperty(navigator.mediaDevices, "getDisplayMedia", { configurable: true, value: undefined });
}

scene("a guest types the code at the agent's address, two agents see its screen, and it comes back by the same code", async (s) => {
  s.allow(/409/, /WebSocket connection/);
  const alice = await s.agent();
  await alice.page.locator("[data-test=view-guest]").click();
  await alice.awaits("waiting");
  const { key, address, link } = await alice.handsOut();
  assert.match(key, /^\d{3} \d{3} \d{3}$/);
  assert.equal(address, `${s.server.url}/at/alice?group=${s.server.facts.group}`);
  assert.ok(link.startsWith(`${address}#`), link);

  const gina = await s.guest("Gina", address, { init: tabForScreen });
  await s.slides(gina);
  await gina.page.getByRole("heading", { name: "Alice would like to see your screen" }).waitFor();
  await gina.enters({ key });
  // Nothing is asked of the browser before the terms are accepted.
  await gina.dialog.getByText("Your whole screen, after you choose it in the next step.").waitFor();
  await alice.awaits("displayed");
  assert.equal(await gina.page.evaluate(() => /** @type {any} */ (window).wished), undefined);
  await gina.button("accept").click();
  await gina.shares();
  const wished = await gina.page.evaluate(() => /** @type {any} */ (window).wished);
  assert.deepEqual([wished.video.displaySurface, wished.selfBrowserSurface], ["monitor", "exclude"]);
  await alice.awaits("active");
  await alice.sees("live");
  assertMoving(await alice.readings(5), 5);
  await gina.sharing.getByText("Alice can see it.").waitFor();
  const kept = await gina.page.evaluate(() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }, document.cookie]));
  assert.ok(!kept.includes(key.replaceAll(" ", "")), kept);

  // A colleague is told the code, and types it where a record has no visitor ID.
  const bob = await s.agent("bob");
  await bob.simulates({ id: "nobody", situation: "missing" });
  await bob.join.click();
  await bob.page.locator("[data-test=key-form] [name=sessionKey]").fill(key);
  await bob.page.locator("[data-test=key-form] button").click();
  await bob.sees("live");
  assertMoving(await bob.readings(3), 3);
  await gina.sharing.getByText("Alice, Bob can see it.").waitFor();

  // The page that was loaded again asks whether to go on, in the same seat.
  await gina.page.reload();
  await gina.button("continue").click();
  await gina.shares();
  await alice.awaits("active");
  assertMoving(await alice.readings(3), 3);

  // So does the agent's, whose card is there again.
  const seat = await alice.seat();
  await alice.page.reload();
  await alice.awaits("active");
  await alice.sees("live");
  assertMoving(await alice.readings(3), 3);
  assert.equal(await alice.seat(), seat);
  assert.equal((await alice.handsOut()).key, key);

  // Another browser of the same guest: the same code, and the terms once more.
  await gina.page.close();
  await alice.awaits("reconnecting");
  const again = await s.guest("Gina again", address, { init: tabForScreen });
  await s.slides(again);
  await again.enters({ key, name: "Gina" });
  await again.button("accept").click();
  await again.shares();
  await alice.awaits("active");
  await alice.sees("live");
  for (const agent of [alice, bob]) assertMoving(await agent.readings(3), 3);
  const people = await alice.page.locator("[data-test=participants] li").allInnerTexts();
  assert.deepEqual(people.map((one) => one.trim()).sort(), ["A", "B", "G"], "each once");
  // Nobody else shows in its place.
  const eve = await s.guest("Eve", address);
  await eve.enters({ key });
  await eve.problem.getByText("Everybody’s seat is taken.").waitFor();

  await again.page.locator("[data-test=share-stop]").click();
  await again.shares("ended");
  await again.sharing.getByText("You have stopped it.").waitFor();
  for (const agent of [alice, bob]) assert.equal(await agent.seesEnd(), "guest_ended");
  await alice.page.locator("[data-test=viewing]").waitFor({ state: "hidden" });
});

scene("a guest who declines shares nothing, a console that is loaded again goes on waiting, and a phone says what it cannot", async (s) => {
  s.allow(/404/);
  const alice = await s.agent();
  await alice.opensRecord("nobody");
  await alice.page.locator("[data-test=view]").click();
  await alice.awaits("waiting");
  const first = await alice.handsOut();
  await alice.page.reload();
  await alice.awaits("waiting");
  assert.deepEqual(await alice.handsOut(), first);

  const phone = await s.guest("phone", first.link, { context: PHONE, init: noCapture });
  await phone.problem.getByText("This device cannot share its screen").waitFor();
  assert.equal(await phone.page.evaluate(() => location.hash), "", "the invite leaves the address bar");
  const width = await phone.page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 390, `${width} pixels`);
  assert.equal(await phone.door.locator("input, [data-test=watch]").count(), 0, "nothing is asked that could not be done");

  const gina = await s.guest("Gina", first.link, { init: tabForScreen });
  await gina.enters();
  await gina.button("decline").click();
  await gina.problem.getByText("You did not accept, and nothing was shared.").waitFor();
  await alice.told("The guest did not accept.");
  await alice.page.locator("[data-test=viewing]").waitFor({ state: "hidden" });
  // It is over, for every code and link of it.
  await gina.enters({ key: first.key });
  await gina.problem.getByText("No session has this key.").waitFor();
});
