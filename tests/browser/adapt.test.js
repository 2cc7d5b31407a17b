// What a publisher sends follows what its viewers can take: less while one of them is slow, and as before once it left.
import assert from "node:assert/strict";
import { assertMoving } from "./barcode.js";
import { stage, until } from "./lib.js";

const { scene } = stage();

/** A tenth of what a publisher aims at on a good line. */
const SLOW_LINE = 25_000;

/** Fills a part of the page with noise, which costs as many bits as there are. */
function makeNoise() {
  const canvas = document.createElement("canvas");
  const [width, height] = [(canvas.width = 640), (canvas.height = 240)];
  document.body.append(canvas);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  setInterval(() => {
    for (let at = 0; at < pixels.length; at += 1) pixels[at] = 0xff000000 + Math.random() * 0xffffff;
    context.putImageData(image, 0, 0);
  }, 150);
}

scene("a slow viewer makes the publisher send less, and once it has left all is as before", async (s) => {
  const line = await s.line();
  const visitor = await s.visitor({ path: "/demo/site/barcode.html" });
  const stats = () => visitor.page.evaluate(() => /** @type {any} */ (window).Porchlight.session.stats());
  await visitor.page.evaluate(makeNoise);
  const alice = await s.agent();
  await alice.joins(visitor.id);
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  assertMoving(await alice.readings(5), 5);
  const before = await stats();
  const bob = await s.agent("bob", { url: line.url });
  await bob.joins(visitor.id);
  await bob.sees("live");
  assertMoving(await bob.readings(3), 3);

  line.slow(SLOW_LINE);
  const low = await until("a lower rate", async () => {
    const now = await stats();
    return now.kbps <= before.kbps / 4 && now.fps <= before.fps / 2 ? now : null;
  }, 60_000);
  // It is obeyed: of the pictures that the page gives not all are sent.
  const later = await until("more pictures", async () => {
    const now = await stats();
    return now.pictures >= low.pictures + 40 ? now : null;
  });
  const [given, sent] = [later.pictures - low.pictures, later.frames - low.frames];
  assert.ok(sent > 0 && sent < given * 0.8, `${sent} of ${given} pictures were sent`);
  assertMoving(await alice.readings(3), 3);

  await bob.page.close();
  await visitor.bar.getByText("You’re sharing with Alice").waitFor();
  await until("the rate as before", async () => {
    const { kbps, fps } = await stats();
    return kbps === before.kbps && fps === before.fps;
  }, 90_000);
  assertMoving(await alice.readings(5), 5);
});
