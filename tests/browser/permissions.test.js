// What a guest has to allow on its device, step by step: in words at the agent's, and in those of its own system at the
// guest's.
import assert from "node:assert/strict";
import { shoot, stage } from "./lib.js";

const { scene } = stage();

/** A Mac whose system does not let the browser see the screen, until `allowed` is set. Headless, a tab stands in for one. */
function onMac() {
  Object.defineProperty(navigator, "platform", { configurable: true, value: "MacIntel" });
  const devices = navigator.mediaDevices;
  const pick = devices.getDisplayMedia.bind(devices);
  devices.getDisplayMedia = async (wish) => {
    if (!(/** @type {any} */ (window).allowed)) throw new DOMException("Permission denied by system", "NotAllowedError");
    return pick({ video: { frameRate: /** @type {any} */ (wish)?.video?.frameRate } });
  };
}

scene("a guest whose system refuses its browser is told where to allow it, and its agent what it waits for", async (s) => {
  const alice = await s.agent();
  await alice.page.locator("[data-test=view-guest]").click();
  await alice.awaits("waiting");
  const { key, address } = await alice.handsOut();
  const gina = await s.guest("Gina", address, { init: onMac });
  await s.slides(gina);
  await gina.enters({ key });
  await gina.button("accept").click();
  const steps = gina.page.locator("[data-test=device-steps]");
  await steps.getByText("Open System Settings › Privacy & Security › Screen Recording, and switch it on there.").waitFor({ state: "attached" });
  const step = alice.page.locator("[data-test=guest-step]");
  await step.getByText("The guest allows Screen Recording", { exact: true }).waitFor();

  await gina.page.evaluate(() => Object.assign(window, { allowed: true }));
  await gina.button("again").click();
  await gina.shares();
  await alice.sees("live");
  await step.waitFor({ state: "hidden" });
  await steps.waitFor({ state: "hidden" });
});

/**
 * A guest's program, as the protocol has it: its words go by this page's socket.
 * @param {import("playwright-core").Page} page @param {Record<string, unknown>} body what it tells at the door
 */
const comesIn = (page, body) =>
  page.evaluate(async (way) => {
    const knocks = async (/** @type {any} */ more) => {
      const answer = await fetch("/v1/guest", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ...way, ...more }),
      });
      if (!answer.ok) throw new Error(await answer.text());
      return answer.json();
    };
    const asked = await knocks({});
    const { requestId, terms } = asked;
    const seat = await knocks({ terms: { requestId, accepted: true, termsVersion: terms.version } });
    const socket = new WebSocket(`${location.origin.replace("http", "ws")}/v1/session`, ["porchlight.v1"]);
    const attached = await new Promise((resolve, reject) => {
      socket.onopen = () => socket.send(JSON.stringify({ type: "attach", ticket: seat.ticket }));
      socket.onmessage = ({ data }) => resolve(JSON.parse(data));
      socket.onclose = ({ code }) => reject(new Error(`closed with ${code}`));
    });
    Object.assign(window, { app: socket });
    return { attached: attached.steps ?? [] };
  }, body);

/** @param {import("playwright-core").Page} page @param {string} name @param {string} state */
const tells = (page, name, state) =>
  page.evaluate(([name, state]) => /** @type {any} */ (window).app.send(JSON.stringify({ type: "permission", name, state })), [name, state]);

scene("an agent follows a guest on a Mac from step to step, also in a console that is loaded again", async (s) => {
  const alice = await s.agent();
  await alice.page.locator("[data-test=view-guest]").click();
  await alice.awaits("waiting");
  const { key } = await alice.handsOut();
  const app = await s.page("the app of Gina");
  await app.goto(`${s.server.url}/join`);
  const way = { sessionKey: key.replaceAll(" ", ""), name: "Gina", deviceId: "mac-1", platform: "macos" };

  // Its page finds that the app is not there: what the agent waits for is said before anybody is in.
  const found = await app.evaluate(async (body) => {
    const headers = { "content-type": "application/json" };
    return (await fetch("/v1/guest", { method: "POST", headers, body: JSON.stringify(body) })).json();
  }, { ...way, permissions: { install: "prompt", screen_recording: "prompt", accessibility: "prompt" } });
  assert.deepEqual(found.steps, ["download", "open", "allow_screen_recording", "choose_later", "reenter", "terms"]);
  await alice.page.locator("[data-test=view-step]").getByText("The guest downloads the app", { exact: true }).waitFor();

  const first = await comesIn(app, { ...way, permissions: { install: "granted" } });
  assert.deepEqual(first.attached, ["allow_screen_recording", "choose_later", "reenter", "allow"]);
  const step = alice.page.locator("[data-test=guest-step]");
  const says = (/** @type {string} */ words) => step.getByText(words, { exact: true }).waitFor();
  await says("The guest allows Screen Recording");
  await alice.page.reload();
  await says("The guest allows Screen Recording");
  await tells(app, "screen_recording", "granted");
  await says("The guest is asked to quit the app, and should choose Later");
  await app.evaluate(() => /** @type {any} */ (window).app.close());
  await says("The guest has to come in again by the same link or code");

  // By the same code, the app started anew: nothing is left to do.
  const second = await comesIn(app, { ...way, permissions: { screen_recording: "granted" } });
  assert.deepEqual(second.attached, []);
  await step.waitFor({ state: "hidden" });
  await shoot(alice.page, "permission-steps-done");
});
