// A company's own page for agents, of another origin, that shows a visitor's page: where the company says that it may.
import assert from "node:assert/strict";
import http from "node:http";
import { FOREIGN_HOST, stage, until } from "./lib.js";
import { VisitorPage } from "./people.js";
import { assertSame, openShop } from "./shop.js";

const { scene } = stage({ starts: "SESSION_KIND_COBROWSE" });

/** @typedef {import("./lib.js").Scene} Scene */

/** The company's console: signed in elsewhere, it joins a visitor and shows what is shared. @param {string} server */
const CONSOLE = (server) => `<!doctype html><title>CRM</title><div style="width: 900px; height: 600px"><canvas></canvas></div>
  <script type="module">
    import { AgentClient } from "${server}/agent.js";
    import { Viewer, takeKept } from "${server}/view.js";
    window.errors = [];
    window.watches = (seat) => {
      window.viewer = new Viewer({ canvas: document.querySelector("canvas"), keepAs: "crm.session", ...seat });
      viewer.on("error", ({ code, message }) => errors.push([code, message]));
      viewer.open();
    };
    const kept = await takeKept("crm.session");
    if (kept) watches({ resumeToken: kept.resumeToken, sessionId: kept.sessionId, note: kept.note });
    window.joins = async ({ token, expiresAt }, visitorId) => {
      const agent = new AgentClient({ token, expiresAt });
      agent.on("ready", ({ ticket }) => watches({ ticket, note: { visitorId } }));
      await agent.connect();
      await agent.join({ visitorId });
    };
  </script>`;

/** A site of its own on a port of a host that is not this machine's. @param {Scene} s @param {string} html */
async function site(s, html) {
  const server = http.createServer(({ url }, response) => {
    if (url === "/favicon.ico") return response.writeHead(204).end();
    response.writeHead(200, { "content-type": "text/html" }).end(html);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  s.closes({ close: () => (server.closeAllConnections(), server.close()) });
  return `http://${FOREIGN_HOST}:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}`;
}

/** A page around another. @param {string} url */
const around = (url) => `<!doctype html><title>Around</title><iframe src="${url}" width="1000" height="700"></iframe>`;

/** A visitor of the shop. @param {Scene} s */
async function visiting(s) {
  const id = s.newVisitorId;
  const opened = await openShop(`<script async src="${s.server.url}/porchlight.js" data-group="demo" data-visitor-id="${id}" data-capture="tab"></script>`);
  s.closes(opened);
  const page = await s.page(id);
  await page.goto(opened.url);
  const visitor = new VisitorPage(page, id, s);
  await visitor.online();
  return visitor;
}

/**
 * Alice joins the visitor from a page, or a frame in one, of the console.
 * @param {Scene} s @param {VisitorPage} visitor @param {string} console @param {string} [url] what is opened
 */
async function joins(s, visitor, console, url = console) {
  const page = await s.page("alice");
  await page.goto(url);
  const frame = await until("the console", () => page.frames().find((one) => one.url().startsWith(console)));
  await frame.waitForFunction(() => "joins" in window);
  const signedIn = await s.server.signIn("alice");
  await frame.evaluate(([kept, id]) => /** @type {any} */ (window).joins(kept, id), [signedIn, visitor.id]);
  await visitor.accept();
  await visitor.shares();
  return { page, frame };
}

/** The viewer's state in a console. @param {import("playwright-core").Frame} frame @param {string} state */
const sees = (frame, state) => frame.waitForFunction((wanted) => /** @type {any} */ (window).viewer?.state === wanted, state);

/** What the viewer says of a page that it can't show. @param {import("playwright-core").Frame} frame */
async function refused(frame) {
  await frame.waitForFunction(() => /** @type {any} */ (window).errors.length > 0);
  return frame.evaluate(() => /** @type {any} */ (window).errors);
}

scene("a company's own page shows a visitor's page once its origin is on the list, and neither reaches into the other", async (s) => {
  const crm = await site(s, CONSOLE(s.server.url));
  await s.server.agentsAreOn(crm);
  const visitor = await visiting(s);
  const alice = await joins(s, visitor, crm);
  await sees(alice.frame, "live");
  await assertSame(visitor, alice);
  await visitor.page.click("#add");
  await visitor.page.fill("[name=name]", "Mara Lindqvist");
  await assertSame(visitor, alice);
  assert.deepEqual(await alice.frame.evaluate(() => /** @type {any} */ (window).errors), []);

  const replay = await until("the frame", () => alice.page.frames().find((one) => new URL(one.url()).pathname === "/replay"));
  const outwards = await replay.evaluate(() => {
    try {
      return typeof parent.document;
    } catch (error) {
      return /** @type {Error} */ (error).name;
    }
  });
  assert.equal(outwards, "SecurityError");
  const inwards = await alice.frame.evaluate(() => /** @type {HTMLIFrameElement} */ (document.querySelector("iframe")).contentDocument);
  assert.equal(inwards, null);
  const boxes = await replay.evaluate(() => [...document.querySelectorAll("iframe")].map((one) => one.getAttribute("sandbox")));
  assert.deepEqual(boxes, ["allow-same-origin"]);
});

scene("a company's own page that is loaded again is back in its seat, where it asked for that", async (s) => {
  const crm = await site(s, CONSOLE(s.server.url));
  await s.server.agentsAreOn(crm);
  const visitor = await visiting(s);
  const alice = await joins(s, visitor, crm);
  await sees(alice.frame, "live");
  const seat = () => alice.page.evaluate(() => /** @type {any} */ (window).viewer.attached.participantId);
  const before = await seat();
  const seen = await visitor.noticesPeople();
  await alice.page.reload();
  await sees(alice.page.mainFrame(), "live");
  await assertSame(visitor, alice);
  assert.equal(await seat(), before);
  await until("the news", async () => (await seen()).length === 2);
  assert.deepEqual(await seen(), ["Alice reconnecting", "Alice back"]);
  await visitor.barButton("stop").click();
  await sees(alice.page.mainFrame(), "ended");
  await alice.page.reload();
  await alice.page.waitForFunction(() => "joins" in window);
  assert.equal(await alice.page.evaluate(() => "viewer" in window), false, "what has ended stays ended");
});

scene("a page around the company's own that is on no list keeps the visitor's page away, and the viewer says why", async (s) => {
  s.allow(/Content Security Policy/, /frame-ancestors/);
  const crm = await site(s, CONSOLE(s.server.url));
  const other = await site(s, around(crm));
  await s.server.agentsAreOn(crm);
  const visitor = await visiting(s);
  const alice = await joins(s, visitor, crm, other);
  const why = `a visitor’s page can’t be shown in pages of ${crm} in ${other}: each has to be on agent_origins`;
  assert.deepEqual(await refused(alice.frame), [["undecodable", why]]);
  assert.equal(alice.page.frames().some((one) => one.url().startsWith(s.server.url)), false, "nothing of the visitor is there");
  await alice.page.close();

  // Whoever is added to the list may, and who is taken off it may no more.
  await s.server.agentsAreOn(crm, other);
  const nested = await visiting(s);
  const again = await joins(s, nested, crm, other);
  await sees(again.frame, "live");
  await assertSame(nested, again);
  await again.page.close();
  await s.server.agentsAreOn(crm);
  const last = await visiting(s);
  const late = await joins(s, last, crm, other);
  assert.equal((await refused(late.frame))[0][0], "undecodable");
});

scene("who is on no list gets nothing, whatever it says of itself", async (s) => {
  s.allow(/Content Security Policy/, /frame-ancestors/, /postMessage/, /WebSocket connection/);
  const crm = await site(s, CONSOLE(s.server.url));
  await s.server.agentsAreOn(crm);
  const policy = async (/** @type {string} */ query) => {
    const { headers } = await fetch(`${s.server.url}/replay${query}`);
    return (headers.get("content-security-policy") ?? "").split("; ").at(-1);
  };
  assert.equal(await policy(""), "frame-ancestors 'self'");
  assert.equal(await policy(`?in=${crm}`), `frame-ancestors 'self' ${crm}`);
  for (const wrong of ["*", "null", `http://${FOREIGN_HOST}:1`, `${crm};`, `${crm}%20*`, `${crm}/`, "https:", "'self'"]) {
    assert.equal(await policy(`?in=${wrong}`), "frame-ancestors 'self'", wrong);
  }

  // It lies about where it is.
  const liar = await s.page("liar");
  await liar.goto(await site(s, `<!doctype html><title>Liar</title><script>window.heard = []; addEventListener("message", ({ data }) => heard.push(data));</script>
    <iframe src="${s.server.url}/replay?in=${crm}"></iframe>`));
  await liar.waitForLoadState("load");
  assert.equal(liar.frames().some((one) => one.url().startsWith(s.server.url)), false);
  assert.deepEqual(await liar.evaluate(() => /** @type {any} */ (window).heard), []);

  // Where it may stand, it listens to the page that was named and to no other.
  const own = await s.agent();
  const answered = await own.page.evaluate(async (named) => {
    /** @type {unknown[]} */
    const heard = [];
    addEventListener("message", ({ data }) => heard.push(data));
    for (const query of [`?in=${named}`, ""]) {
      const frame = document.createElement("iframe");
      frame.src = `/replay${query}`;
      const loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
      document.body.append(frame);
      await loaded;
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = ({ data }) => heard.push([query, data.type]);
      frame.contentWindow?.postMessage("porchlight.replay", "*", [port2]);
    }
    while (!heard.some((one) => Array.isArray(one))) await new Promise((resolve) => setTimeout(resolve, 20));
    return heard;
  }, crm);
  assert.deepEqual(answered, ["porchlight.replay", ["", "ready"]]);

  // A console that is on no list does not even get in.
  const stranger = await s.page("stranger");
  await stranger.goto(await site(s, CONSOLE(s.server.url)));
  await stranger.waitForFunction(() => "joins" in window);
  const visitor = await visiting(s);
  const states = await stranger.evaluate(async ([kept, id]) => {
    const { joins } = /** @type {any} */ (window);
    const late = new Promise((resolve) => setTimeout(() => resolve("not let in"), 2_000));
    return Promise.race([joins(kept, id).then(() => "in"), late]);
  }, [await s.server.signIn("alice"), visitor.id]);
  assert.equal(states, "not let in");
  assert.equal(await visitor.dialog.count(), 0);
});
