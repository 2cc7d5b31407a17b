// An agent shows its screen, and guests come by link or key: a barcode tells which picture they see.
import assert from "node:assert/strict";
import { assertMoving } from "./barcode.js";
import { PHONE, stage } from "./lib.js";

const { scene } = stage();

/**
 * Alice shows a tab with the barcode.
 * @param {import("./lib.js").Scene} s @param {any} [options] of the agent's page
 */
async function showing(s, options) {
  const alice = await s.agent("alice", options);
  const slides = await s.slides(alice);
  await alice.page.locator("[data-test=show-screen]").click();
  await alice.shows();
  return { alice, slides, ...(await alice.hands()) };
}

scene("guests come by link and by key, see what the agent shows, and are told the end", async (s) => {
  s.allow(/404/);
  const { version } = await s.server.admin("GetSettings");
  const settings = { createLeads: "CREATE_LEADS_NEW_EMAIL" };
  await s.server.admin("UpdateSettings", { settings, updateMask: "createLeads", expectedVersion: version });

  // From a record, as its button says.
  const alice = await s.agent();
  await s.slides(alice);
  await alice.opensRecord("nobody");
  await alice.page.locator("[data-test=show]").click();
  await alice.shows();
  const { key, link } = await alice.hands();
  assert.match(key, /^\d{3} \d{3} \d{3}$/);
  assert.match(link, /^http:\/\/127\.0\.0\.1:\d+\/join#.{20,}$/);

  const ann = await s.guest("Ann", link, { context: PHONE });
  await ann.door.waitFor();
  assert.equal(await ann.page.evaluate(() => location.hash), "", "the invite leaves the address bar");
  await ann.enters({ email: "Ann@example.com" });
  await ann.sees("live");
  assertMoving(await ann.readings(5), 5);
  await ann.page.getByRole("heading", { name: "Alice shows you their screen" }).waitFor();
  await alice.told("Ann is watching");
  await alice.watchedBy("Ann");
  const secrets = [link.split("#")[1], key.replaceAll(" ", "")];
  const kept = await ann.page.evaluate(() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }, document.cookie]));
  assert.ok(!secrets.some((secret) => kept.includes(secret)), kept);

  // A reload continues in the same seat.
  await ann.page.reload();
  await ann.sees("live");
  assertMoving(await ann.readings(3), 3);
  await alice.watchedBy("Ann");

  const ben = await s.guest("Ben", undefined, { query: `?group=${s.server.facts.group}` });
  await ben.enters({ key: "12" });
  await ben.problem.getByText("A session key has at least 4 digits.").waitFor();
  await ben.enters({ key: "000000000" });
  await ben.problem.getByText("No session has this key. Check the digits; if they are right, it is over.").waitFor();
  await ben.enters({ key: secrets[1], email: "ben@" });
  await ben.problem.getByText("This email address does not look right.").waitFor();
  await ben.enters({ key: secrets[1] });
  await ben.sees("live");
  assertMoving(await ben.readings(3), 3);
  await alice.watchedBy("Ann", "Ben");

  // Paused means so for both.
  const pause = alice.page.locator("[data-test=show-pause]");
  await pause.click();
  await alice.shows("paused");
  await ann.sees("paused");
  await ben.veil.getByText("Alice will go on in a moment.").waitFor();
  await pause.click();
  await ann.sees("live");
  await ben.sees("live");

  // Who comes twice is the same lead. A page that was loaded again has forgotten the link.
  await ann.page.locator("[data-test=leave]").click();
  await ann.veil.getByText("You left").waitFor();
  await alice.told("Ann has left");
  await ann.page.locator("[data-test=again]").click();
  await ann.problem.getByText("Open the link once more, or type the session key.").waitFor();
  await ann.enters({ key, email: "ann@EXAMPLE.com" });
  await ann.sees("live");
  await alice.watchedBy("Ben", "Ann");

  await alice.page.locator("[data-test=show-end]").click();
  for (const guest of [ann, ben]) {
    await guest.sees("ended");
    await guest.veil.getByText("Alice no longer shows the screen.").waitFor();
  }
  await alice.told("Your screen is no longer shown");
  await alice.page.locator("[data-test=showing]").waitFor({ state: "hidden" });
  const { leads } = await s.server.admin("ListLeads");
  assert.deepEqual(leads.map(({ email, name }) => [email, name]), [["Ann@example.com", "Ann"]]);

  // The history tells whom it was shown to, and that nobody had to consent.
  const history = await s.history();
  await history.rows.locator("[data-test=open-session]", { hasText: "Ann, Ben" }).click();
  await history.page.getByText("Key and link were handed out.").waitFor();
  await history.page.getByText("An agent showed its own screen: nobody else had to consent.").waitFor();
  assert.ok((await history.kinds()).includes("LEAD_CREATED"));

  // What the link led to is over, and so it says.
  const late = await s.guest("late", link);
  await late.enters();
  await late.problem.getByText("This link leads nowhere any more").waitFor();
});

scene("a Show outlives the agent's network, the guest's, and a console that is loaded again", async (s) => {
  s.allow(/WebSocket connection/);
  const near = await s.line();
  const far = await s.line();
  const { alice, key, link } = await showing(s, { url: near.url });
  const invite = `${far.url}/join${new URL(link).hash}`;
  const ann = await s.guest("Ann", invite);
  await ann.enters();
  await ann.sees("live");
  near.cut();
  await alice.shows("reconnecting");
  await ann.veil.getByText("Alice lost the connection").waitFor();
  near.mend();
  await alice.shows();
  await ann.sees("live");
  far.cut();
  await ann.veil.getByText("Your connection is lost").waitFor();
  await alice.page.locator("[data-test=show-people] .person[data-state=reconnecting]").waitFor();
  far.mend();
  await ann.sees("live");
  assertMoving(await ann.readings(3), 3);
  await alice.watchedBy("Ann");

  // A link that is opened in the same tab loads nothing anew; the seat is left, and taken again.
  await ann.page.goto(invite);
  await ann.door.waitFor();
  assert.equal(await ann.page.evaluate(() => location.hash), "");
  await alice.watchedBy();
  await ann.enters();
  await ann.sees("live");

  // The page that was loaded again asks whether to go on.
  const dialog = alice.page.locator("[data-porchlight=dialog] dialog");
  await alice.page.reload();
  await dialog.locator("[data-action=continue]").click();
  await alice.shows();
  await ann.sees("live");
  assert.deepEqual(await alice.hands(), { key, link });
  await alice.watchedBy("Ann");
  await alice.page.reload();
  await dialog.locator("[data-action=continueNot]").click();
  await ann.sees("ended");
  await ann.veil.getByText("Alice no longer shows the screen.").waitFor();
});

scene("an agent that chooses nothing shows nothing, and may think again", async (s) => {
  const alice = await s.agent("alice", {
    init: () => {
      navigator.mediaDevices.getDisplayMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
    },
  });
  await alice.page.locator("[data-test=show-screen]").click();
  const dialog = alice.page.locator("[data-porchlight=dialog] dialog");
  await dialog.getByText("Nothing is shown yet").waitFor();
  const { link } = await alice.hands();
  const ann = await s.guest("Ann", link);
  await ann.enters();
  await ann.sees("waiting");
  await ann.veil.getByText("Alice has not begun yet.").waitFor();
  await dialog.locator("[data-action=chooseNot]").click();
  await alice.told("You chose nothing to show.");
  await ann.veil.getByText("Alice did not choose anything to show.").waitFor();
});

// The last one: nobody of this address may type a key any more.
scene("who guesses is locked out, and told for how long", async (s) => {
  s.allow(/404/, /429/);
  const eve = await s.guest("Eve");
  const locked = eve.problem.getByText("Too many wrong tries. You can try again in");
  for (let at = 0; !(await locked.isVisible()); at++) {
    assert.ok(at < 20, "20 wrong keys, and no end");
    const answered = eve.page.waitForResponse(/\/v1\/guest$/);
    await eve.enters({ key: String(100_000_000 + at) });
    await answered;
    await eve.door.locator("[data-test=watch]:enabled").waitFor();
  }
  assert.match(await eve.problem.innerText(), /in 1[45] minutes\.$/);
});
