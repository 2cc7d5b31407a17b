// An agent's camera, from the browser's made-up device to the guest's page, and what happens without the permission.
import assert from "node:assert/strict";
import { stage, until } from "./lib.js";

// The made-up permission prompt would also answer, and refuse, the picker of screens.
const { scene } = stage({ flags: ["--use-fake-device-for-media-stream"] });

/** Of an agent whose browser was told to let this page have the camera. */
const LET = { permissions: ["camera"] };

/** The picture of a camera on somebody's page. @param {{ page: import("playwright-core").Page }} person */
const boxOf = ({ page }) => page.locator("[data-porchlight=camera] .box");

/**
 * What the picture is: a number that differs from picture to picture, and how many colours are in it.
 * @param {{ page: import("playwright-core").Page }} person
 */
function look(person) {
  return boxOf(person).locator("canvas").evaluate((/** @type {HTMLCanvasElement} */ canvas) => {
    const { data } = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).getImageData(0, 0, canvas.width, canvas.height);
    const colours = new Set();
    let sum = 0;
    for (let at = 0; at < data.length; at += 4) {
      colours.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
      sum = (sum * 31 + data[at] + data[at + 1] + data[at + 2]) | 0;
    }
    return { sum, colours: colours.size, size: [canvas.width, canvas.height] };
  });
}

/** The picture is there, and moves. @param {{ page: import("playwright-core").Page }} person */
async function assertMoving(person) {
  const seen = new Set();
  await until("a camera that moves", async () => {
    const { sum, colours } = await look(person);
    if (colours > 8) seen.add(sum);
    return seen.size >= 4;
  });
  assert.deepEqual((await look(person)).size, [320, 240]);
}

/** Keeps the sockets that a page opens. */
function keepSockets() {
  const Real = window.WebSocket;
  const sockets = /** @type {WebSocket[]} */ (/** @type {any} */ (window).sockets = []);
  window.WebSocket = class extends Real {
    /** @param {string} url @param {string[]} [protocols] */
    constructor(url, protocols) {
      super(url, protocols);
      sockets.push(this);
    }
  };
}

/** A visitor whose screen Alice sees. @param {import("./lib.js").Scene} s */
async function sharing(s) {
  const visitor = await s.visitor({ path: "/demo/site/barcode.html" });
  const alice = await s.agent("alice", { context: LET });
  await alice.joins(visitor.id);
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  return { visitor, alice, camera: alice.page.locator("[data-test=camera]") };
}

scene("the guest and a colleague see the agent's camera move, and it goes when it is stopped", async (s) => {
  const { visitor, alice, camera } = await sharing(s);
  /** @type {string[]} */
  const loaded = [];
  visitor.page.on("request", (request) => loaded.push(request.url()));
  await boxOf(visitor).waitFor({ state: "detached" });
  await camera.click();
  await assertMoving(visitor);
  assert.ok(loaded.some((url) => url.endsWith("/view/camera.js")), "loaded when there is one");
  await visitor.page.getByRole("region", { name: "Camera of Alice" }).waitFor();
  await visitor.page.getByRole("img", { name: "Camera of Alice" }).waitFor();
  assert.equal(await boxOf(alice).count(), 0, "nobody is shown its own");

  // It moves by pointer and by keys, and is put away and fetched.
  const handle = visitor.page.getByRole("button", { name: /^Move the camera of Alice/ });
  const before = await boxOf(visitor).boundingBox();
  await handle.hover();
  await visitor.page.mouse.down();
  await visitor.page.mouse.move(200, 300);
  await visitor.page.mouse.up();
  await handle.press("ArrowDown");
  const after = await boxOf(visitor).boundingBox();
  assert.ok(before && after && after.x < before.x - 100 && after.y < before.y - 100, JSON.stringify([before, after]));
  const picture = boxOf(visitor).locator("canvas");
  await boxOf(visitor).getByRole("button", { name: "Hide" }).click();
  await picture.waitFor({ state: "hidden" });
  await boxOf(visitor).getByRole("button", { name: "Show" }).click();
  await assertMoving(visitor);

  const bob = await s.agent("bob");
  await bob.joins(visitor.id);
  await bob.sees("live");
  await assertMoving(bob);
  // The screen is seen all the same, and paused the camera is not.
  assert.equal((await alice.readings(5)).length, 5);
  await visitor.barButton("pause").click();
  await boxOf(visitor).waitFor({ state: "hidden" });
  await visitor.barButton("pause").click();
  await assertMoving(visitor);

  await camera.click();
  for (const one of [visitor, bob]) await boxOf(one).waitFor({ state: "detached" });
  assert.equal(await camera.getAttribute("aria-pressed"), "false");

  // What the settings take away ends at once.
  await camera.click();
  await assertMoving(visitor);
  const permissions = { user: true, admin: true };
  await s.server.admin("SetPermissions", { agentId: "alice", permissions });
  await boxOf(visitor).waitFor({ state: "detached" });
  await s.server.admin("SetPermissions", { agentId: "alice", permissions: { ...permissions, agentVideo: true } });
});

scene("without the permission there is no button, and a forged frame is refused", async (s) => {
  // What the page still says while it is being closed.
  s.allow(/CLOSING or CLOSED/);
  const { visitor, alice } = await sharing(s);
  const bob = await s.agent("bob", { context: LET, init: keepSockets });
  await bob.joins(visitor.id);
  await bob.sees("live");
  await bob.page.locator("[data-test=no-camera]").waitFor();
  await bob.page.locator("[data-test=camera]").waitFor({ state: "hidden" });
  const refused = await bob.page.evaluate(() => {
    const { camera } = /** @type {any} */ (window).porchlightConsole.session.viewer;
    return camera.start().then(() => "started", (/** @type {any} */ error) => error.code);
  });
  assert.equal(refused, "forbidden");
  const code = await bob.page.evaluate(async () => {
    const { encodeFrame, FrameType, Stream } = await import(/** @type {any} */ ("/web/lib/frame.js"));
    const socket = /** @type {any} */ (window).sockets.findLast((/** @type {WebSocket} */ one) => one.url.endsWith("/v1/session"));
    const facts = { key: true, droppable: false, last: false, encrypted: false, layer: 0, config: null };
    const header = { ...facts, type: FrameType.IMAGE, stream: Stream.CAMERA, sequence: 0, group: 1, time: 1, width: 2, height: 2 };
    const closed = new Promise((resolve) => socket.addEventListener("close", (/** @type {CloseEvent} */ event) => resolve(event.code)));
    socket.send(encodeFrame(header, new Uint8Array(9)));
    return closed;
  });
  assert.equal(code, 4403);
  assert.equal(await bob.seesEnd(), "forbidden");
  await boxOf(visitor).waitFor({ state: "detached" });
  assert.equal((await alice.readings(3)).length, 3);
});

scene("a guest of a Show sees the camera of who shows, also after a reload", async (s) => {
  const alice = await s.agent("alice", { context: LET });
  await s.slides(alice);
  await alice.page.locator("[data-test=show-screen]").click();
  await alice.shows();
  const ann = await s.guest("Ann", (await alice.hands()).link);
  await ann.enters();
  await ann.sees("live");
  await alice.page.locator("[data-test=show-camera]").click();
  await assertMoving(ann);
  await ann.page.reload();
  await ann.sees("live");
  await assertMoving(ann);
  await alice.page.locator("[data-test=show-camera]").click();
  await boxOf(ann).waitFor({ state: "detached" });
});
