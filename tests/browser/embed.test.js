// The presence script in other people's pages: of another origin, under a strict policy, and unwanted.
import assert from "node:assert/strict";
import http from "node:http";
import { assertMoving } from "./barcode.js";
import { FOREIGN_HOST, stage, until } from "./lib.js";
import { VisitorPage } from "./people.js";

const { scene } = stage();

/** @typedef {import("./lib.js").Scene} Scene */

/**
 * A site of its own on another port, with the script tag that a company would paste. With a nonce, only scripts and
 * styles that carry it may run, wherever they come from.
 * @param {Scene} s @param {{ id: string, scriptFrom?: string, nonce?: string }} visit
 */
async function site(s, { id, scriptFrom = s.server.url, nonce }) {
  const mark = nonce ? ` nonce="${nonce}"` : "";
  const page = (/** @type {string} */ title) => `<!doctype html><html lang="en"><head><title>${title}</title>
    <script${mark} async src="${scriptFrom}/porchlight.js" data-group="demo" data-visitor-id="${id}" data-capture="tab"></script>
    <script${mark} type="module" src="/barcode.js"></script></head>
    <body style="margin:0"><canvas id="barcode" width="1280" height="160"></canvas><h1>${title}</h1><a href="/next">Next</a></body></html>`;
  const script = `import { drawBarcode } from "${scriptFrom}/web/lib/barcode.js";
    const context = document.getElementById("barcode").getContext("2d");
    const image = context.createImageData(1280, 160);
    const draw = () => {
      drawBarcode(image, Math.floor(performance.timeOrigin + performance.now()) % 2 ** 24);
      context.putImageData(image, 0, 0);
      requestAnimationFrame(draw);
    };
    draw();`;
  // What a careful site allows: its own things, and the server's scripts and sockets.
  const policy = [
    "default-src 'self'",
    nonce ? `script-src 'nonce-${nonce}'` : `script-src 'self' ${scriptFrom}`,
    ...(nonce ? [`style-src-elem 'nonce-${nonce}'`] : []),
    `connect-src ${scriptFrom.replace("http", "ws")}`,
    "style-src-attr 'unsafe-inline'",
    "object-src 'none'",
  ].join("; ");
  const server = http.createServer((request, response) => {
    response.setHeader("content-security-policy", policy);
    if (request.url === "/favicon.ico") return response.writeHead(204).end();
    if (request.url === "/barcode.js") return response.writeHead(200, { "content-type": "text/javascript" }).end(script);
    response.writeHead(200, { "content-type": "text/html" }).end(page(request.url === "/next" ? "Next page" : "Other site"));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  s.closes({ close: () => (server.closeAllConnections(), server.close()) });
  return `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}`;
}

scene("a page of another origin where only what bears a nonce may run: asked, shared, stopped", async (s) => {
  const id = s.newVisitorId;
  const url = await site(s, { id, nonce: "cG9yY2hsaWdodA" });
  const page = await s.page(id);
  await page.goto(url);
  const visitor = new VisitorPage(page, id, s);
  const alice = await s.agent();
  await alice.row(id, "present").locator(".page-title", { hasText: "Other site" }).waitFor();
  await alice.joins(id);
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  assertMoving(await alice.readings(10), 10);
  await visitor.barButton("stop").click();
  assert.equal(await alice.seesEnd(), "guest_ended");
});

scene("a Safari-like browser reads its frames in a worker of another origin, or by a video element", async (s) => {
  const id = s.newVisitorId;
  const url = await site(s, { id });
  const page = await s.page(id);
  await page.addInitScript(() => void Reflect.deleteProperty(window, "MediaStreamTrackProcessor"));
  // The policy has no worker-src: the worker is refused, and the video element reads on.
  s.allow(/Content Security Policy/);
  await page.goto(url);
  const visitor = new VisitorPage(page, id, s);
  const alice = await s.agent();
  await alice.joins(id);
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  assertMoving(await alice.readings(5), 5);
});

scene("a page of an origin that is not on the list is refused, and does not notice", async (s) => {
  s.allow(/WebSocket connection/);
  const id = s.newVisitorId;
  const page = await s.page(id);
  await page.goto(`http://${FOREIGN_HOST}:${s.server.port}/demo/site?visitor=${id}`);
  const alice = await s.agent();
  const other = await s.visitor();
  await alice.row(other.id, "present").waitFor();
  // It tries politely and is never let in.
  const states = await page.evaluate(async () => {
    const { Porchlight } = /** @type {any} */ (window);
    const seen = [Porchlight.state];
    Porchlight.on("state", (/** @type {any} */ { state }) => seen.push(state));
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    return seen;
  });
  assert.equal(states.includes("online"), false, String(states));
  assert.equal(await alice.row(id).count(), 0);
  // The shop works as if nothing were there.
  await page.getByRole("button", { name: "To carry" }).click();
  assert.equal(await page.locator("#products li").count(), 2);
  assert.equal(await page.evaluate(() => typeof /** @type {any} */ (window).Porchlight.message("x", 1)), "boolean");
});

scene("a page whose server is gone works as if nothing were there", async (s) => {
  s.allow(/WebSocket connection/, /net::ERR_/);
  const line = await s.line();
  const id = s.newVisitorId;
  const url = await site(s, { id, scriptFrom: line.url });
  line.cut();
  const page = await s.page(id);
  await page.goto(url);
  assert.equal(await page.locator("h1").textContent(), "Other site");
  line.mend();
  await page.getByRole("link", { name: "Next" }).click();
  await page.waitForFunction(() => /** @type {any} */ (window).Porchlight?.state === "online");
  line.cut();
  await page.waitForFunction(() => /** @type {any} */ (window).Porchlight.state === "reconnecting");
  const answers = await page.evaluate(async () => {
    const { Porchlight } = /** @type {any} */ (window);
    Porchlight.update({ data: { cart: 1 } });
    Porchlight.message("hello", {});
    return Porchlight.startSession().then(() => "ready", (/** @type {Error} */ error) => error.message);
  });
  assert.equal(answers, "not connected");
});

scene("nonsense from the page around it does not make the script throw", async (s) => {
  const visitor = await s.visitor();
  await visitor.online();
  const thrown = await visitor.page.evaluate(() => {
    const { Porchlight } = /** @type {any} */ (window);
    const loop = /** @type {any} */ ({});
    loop.loop = loop;
    Porchlight.on("state", () => {
      throw new Error("the page's own fault");
    });
    for (const call of [
      () => Porchlight.update({ data: loop }),
      () => Porchlight.update({ data: { big: "x".repeat(10_000) } }),
      () => Porchlight.update(null),
      () => Porchlight.start(null),
      () => Porchlight.start({ group: "demo", token: () => Promise.reject(new Error("no token")) }),
      () => Porchlight.message("x", 1n),
      () => Porchlight.leave(),
      () => Porchlight.leave(),
    ]) {
      try {
        call();
      } catch (error) {
        return String(error);
      }
    }
    return "";
  });
  assert.equal(thrown, "");
});

scene("two sites of one company see one visitor", async (s) => {
  const visitor = await s.visitor();
  const url = await site(s, { id: visitor.id });
  const page = await s.page(visitor.id);
  await page.goto(url);
  const alice = await s.agent();
  await alice.row(visitor.id).getByText("2 tabs").waitFor();
  await until("the newest page in front", async () =>
    /Other site/.test((await alice.row(visitor.id).locator(".page-title").textContent()) ?? ""),
  );
});
