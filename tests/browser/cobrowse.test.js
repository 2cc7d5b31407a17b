// Cobrowse, from the visitor's page to its replay in the console: the same page, nothing that is private, nothing that runs.
import assert from "node:assert/strict";
import http from "node:http";
import zlib from "node:zlib";
import { shoot, stage, until } from "./lib.js";
import { points, VisitorPage } from "./people.js";
import { assertSame, marked, openShop, replayOf, SECRETS } from "./shop.js";

const { scene } = stage({ starts: "SESSION_KIND_COBROWSE" });

/** @typedef {import("./lib.js").Scene} Scene */
/** @typedef {import("./people.js").AgentPage} AgentPage */

/** Every frame and message of the session that reaches a page. @param {import("playwright-core").Page} page */
function listen(page) {
  /** @type {{ bytes: number, frames: Buffer[], texts: string[] }} */
  const heard = { bytes: 0, frames: [], texts: [] };
  page.on("websocket", (socket) => {
    socket.on("framereceived", ({ payload }) => {
      heard.bytes += payload.length;
      if (typeof payload === "string") heard.texts.push(payload);
      else heard.frames.push(payload);
    });
  });
  return heard;
}

/** What is said on each of a page's session sockets up to its first frame. @param {import("playwright-core").Page} page */
function openings(page) {
  /** @type {string[][]} */
  const opened = [];
  page.on("websocket", (socket) => {
    if (new URL(socket.url()).pathname !== "/v1/session") return;
    /** @type {string[]} */
    const words = [];
    opened.push(words);
    const note = (/** @type {string} */ way, /** @type {string | Buffer} */ payload) => {
      if (words.at(-1) === "> a frame") return;
      words.push(`${way} ${typeof payload === "string" ? JSON.parse(payload).type : "a frame"}`);
    };
    socket.on("framesent", ({ payload }) => note(">", payload));
    socket.on("framereceived", ({ payload }) => note("<", payload));
  });
  return opened;
}

/** What a DOM frame says. @param {Buffer} frame */
function said(frame) {
  assert.equal(frame[1], 5, "a frame of type DOM");
  return frame[32] === 1 ? zlib.inflateRawSync(frame.subarray(33)).toString() : frame.subarray(33).toString();
}

/** @param {Scene} s @param {string} id @param {{ server?: string, policy?: string }} [options] */
async function shop(s, id, { server = s.server.url, policy } = {}) {
  const opened = await openShop(`<script async src="${server}/porchlight.js" data-group="demo" data-visitor-id="${id}" data-capture="tab"></script>`, policy);
  s.closes(opened);
  return opened.url;
}

/**
 * A visitor of the shop, whose page an agent sees.
 * @param {Scene} s @param {{ server?: string, control?: boolean, policy?: string }} [options]
 */
async function sharing(s, { control, ...options } = {}) {
  const id = s.newVisitorId;
  const url = await shop(s, id, options);
  const page = await s.page(id);
  await page.goto(url);
  const visitor = new VisitorPage(page, id, s);
  await visitor.online();
  const alice = await s.agent();
  const heard = listen(alice.page);
  await alice.joins(id, { control });
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  return { visitor, alice, heard };
}

scene("the agent's replay is the visitor's page, and what is private never leaves it", async (s) => {
  const { visitor, alice, heard } = await sharing(s);
  const { page } = visitor;
  const sent = listen(page);
  const first = await assertSame(visitor, alice);
  assert.equal(Object.keys(first.found).length, 18);
  const picture = await (await replayOf(alice)).evaluate(() => {
    const photo = /** @type {HTMLImageElement} */ (document.querySelector("[data-marked=photo]"));
    const canvas = /** @type {HTMLElement} */ (document.querySelector("canvas"));
    return { width: photo.naturalWidth, source: photo.src.split(":")[0], font: document.fonts.check('16px "Shop Mono"'), canvas: canvas.style.backgroundImage.slice(0, 20), blank: document.querySelector(".blank")?.outerHTML };
  });
  const blank = '<div class="blank" style="box-sizing: border-box; width: 570px; height: 80px;"></div>';
  assert.deepEqual(picture, { width: 200, source: "blob", font: true, canvas: 'url("data:image/webp', blank });
  await shoot(page, "cobrowse-visitor");
  await shoot(alice.page, "cobrowse-agent");

  await page.fill("[name=name]", "Mara Lindqvist");
  await page.fill("[name=note]", "Twice,\nplease");
  await page.selectOption("[name=colour]", "Brass");
  await page.uncheck("[name=gift]");
  await page.fill("[name=account]", `${SECRETS.maskedField}-typed`);
  await page.fill("[name=secret]", `${SECRETS.password}-typed`);
  await page.click("#show");
  await page.fill("[name=secret]", SECRETS.shownPassword);
  await page.fill("[name=card]", `${SECRETS.card}0`);
  await page.click("#add");
  await assertSame(visitor, alice);
  await page.evaluate(() => {
    /** @type {any} */ (document.querySelector(".list")).scrollTop = 30_000;
    scrollTo(0, 500);
  });
  const scrolled = await assertSame(visitor, alice);
  assert.deepEqual(scrolled.scrolled, [0, 500]);
  await page.evaluate(() => /** @type {any} */ (document.querySelector("#more")).click());
  const open = await assertSame(visitor, alice);
  assert.ok(open.found.dialog.box[2] === 320, "the modal is open");
  await shoot(page, "cobrowse-modal-visitor");
  await shoot(alice.page, "cobrowse-modal-agent");
  await page.click("#done");
  await page.setViewportSize({ width: 900, height: 600 });
  await assertSame(visitor, alice);
  assert.deepEqual(await alice.stats().then(({ width, height, codec }) => [width, height, codec]), [900, 600, "dom"]);

  // What is masked from now on is not even in the next snapshot.
  await page.evaluate(() => document.querySelector("[data-marked=price]")?.setAttribute("data-porchlight-mask", ""));
  await until("the mask", async () => (await replayOf(alice)).evaluate(() => document.querySelector(".price")?.textContent === "• ••••••"));
  const all = [...heard.frames.map(said), ...heard.texts, ...sent.texts];
  for (const [what, secret] of Object.entries(SECRETS)) {
    const leak = all.find((text) => text.includes(secret));
    assert.equal(leak, undefined, `${what} was relayed`);
  }
  assert.ok(all.some((text) => text.includes("Mara Lindqvist")), "what is not masked is seen");
  await visitor.bar.waitFor();
  assert.equal(await (await replayOf(alice)).locator("[data-porchlight]").count(), 0, "the bar is not part of the site");
});

scene("the session goes on from page to page, without another question", async (s) => {
  const { visitor, alice, heard } = await sharing(s);
  await assertSame(visitor, alice);
  const session = await alice.viewer.getAttribute("data-session-id");
  const gaps = [];
  const opened = openings(visitor.page);
  for (const [path, title] of [["/two", "Wall lamps"], ["/", "Lamps for the garden"], ["/two", "Wall lamps"]]) {
    const left = Date.now();
    await visitor.page.locator(`header a[href="${path}"]`).click();
    await until(title, async () => (await replayOf(alice)).evaluate((wanted) => document.querySelector("h1")?.textContent === wanted, title).catch(() => false));
    gaps.push(Date.now() - left);
    await visitor.shares();
    await alice.sees("live");
    assert.equal(await visitor.dialog.count(), 0, "no second question");
  }
  await assertSame(visitor, alice);
  assert.equal(await alice.viewer.getAttribute("data-session-id"), session);
  console.log(`navigation gap, from a click on a link to the next page at the agent's: ${gaps.join(", ")} ms`);
  // The page is on its way with one word there and one back.
  assert.deepEqual(opened, gaps.map(() => ["> attach", "< attached", "> a frame"]));
  assert.equal(heard.frames.map(said).some((text) => text.includes(SECRETS.maskedText)), false);
});

scene("who joins late, comes back or waited sees the page as it is", async (s) => {
  const line = await s.line();
  s.allow(/WebSocket connection/);
  const { visitor, alice } = await sharing(s, { server: line.url });
  await visitor.page.click("#add");
  await assertSame(visitor, alice);
  const bob = await s.agent("bob");
  await bob.joins(visitor.id);
  await bob.sees("live");
  await assertSame(visitor, bob);

  await visitor.barButton("pause").click();
  await visitor.shares("paused");
  await bob.sees("paused");
  await visitor.page.click("#add");
  await visitor.barButton("pause").click();
  await bob.sees("live");
  await assertSame(visitor, bob);

  line.cut();
  await visitor.shares("reconnecting");
  await visitor.page.fill("[name=name]", "Meanwhile");
  line.mend();
  await visitor.shares();
  await alice.sees("live");
  const { fields } = await assertSame(visitor, alice);
  assert.equal(fields[0][1], "Meanwhile");
  await assertSame(visitor, bob);

  await visitor.barButton("stop").click();
  assert.equal(await alice.seesEnd(), "guest_ended");
  assert.equal(await bob.seesEnd(), "guest_ended");
});

scene("a page that means harm runs nothing, loads nothing and leads nowhere in the agent's browser", async (s) => {
  /** @type {string[]} */
  const hits = [];
  const evil = http.createServer(({ url = "" }, response) => (hits.push(url), response.end()));
  await new Promise((resolve) => evil.listen(0, "127.0.0.1", () => resolve(undefined)));
  s.closes({ close: () => (evil.closeAllConnections(), evil.close()) });
  const there = `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (evil.address()).port}`;
  // The recorder is told what to say by the page, as by a visitor whose browser is not one.
  const init = `(() => {
    const E = ${JSON.stringify(there)};
    let ids = 10;
    const run = "top.pwned=1;parent.pwned=1;window.pwned=1;fetch('" + E + "/run')";
    const text = (textContent, more) => ({ type: 3, id: ++ids, textContent, ...more });
    const el = (tagName, attributes = {}, childNodes = [], more = {}) => ({ type: 2, id: ++ids, tagName, attributes, childNodes, ...more });
    const svg = (tag, attributes, children = []) => el(tag, attributes, children, { isSVG: true });
    const bad = () => [
      el("script", {}, [text(run)]), el("script", { src: E + "/script" }), el("img", { src: "x", onerror: run }), el("img", { src: E + "/img", srcset: E + "/srcset 1x" }),
      el("img", { rr_dataURL: E + "/rr" }), el("canvas", { rr_dataURL: E + "/canvas" }), svg("svg", { onload: run }, [svg("script", {}, [text(run)]), svg("image", { href: E + "/image" }),
      svg("use", { href: E + "/use#a" }), svg("animate", { attributeName: "href", values: "javascript:" + run })]), el("a", { href: "javascript:" + run, autofocus: "", onfocus: run }, [text("a")]),
      el("iframe", { src: E + "/iframe" }), el("iframe", { srcdoc: "<script>" + run + "</scr" + "ipt>" }), el("iframe", { src: "javascript:" + run }), el("object", { data: E + "/object" }),
      el("embed", { src: E + "/embed" }), el("base", { href: E + "/base/" }), el("meta", { "http-equiv": "refresh", content: "0;url=" + E + "/refresh" }), el("link", { rel: "stylesheet", href: E + "/link" }),
      el("style", { _cssText: "@import '" + E + "/import'; body { background: url(" + E + "/background) }" }), el("p", { style: "background: url(" + E + "/style)" }, [text("p")]),
      el("form", { action: E + "/form", id: "form" }, [el("input", { type: "submit", formaction: E + "/formaction" })]), el("video", { src: E + "/video", poster: E + "/poster", onerror: run }),
      el("details", { open: "", ontoggle: run }), el("x-evil", { onclick: run }, [], { isCustom: true }), el("constructor"), el("noscript", {}, [text("<img src=x onerror=" + run + ">")]),
    ];
    const end = el("p", { id: "end" }, [text("THE END")]);
    const body = el("body", { onload: run, background: E + "/body" }, [...bad(), end]);
    const node = { type: 0, id: 1, childNodes: [{ type: 1, id: 2, name: "html><script>" + run, publicId: "", systemId: "" }, el("html", {}, [el("head", {}, bad()), body])] };
    const change = (data) => ({ type: 3, timestamp: 1, data });
    const batch = { events: [{ type: 4, timestamp: 1, data: { href: "javascript:" + run, width: 800, height: 600 } }, { type: 2, timestamp: 1, data: { node, initialOffset: {} } },
      change({ source: 0, texts: [], removes: [], attributes: [{ id: end.id, attributes: { onclick: run, style: { background: "url(" + E + "/diff)" }, href: "javascript:" + run } }],
        adds: bad().map((one) => ({ parentId: body.id, nextId: null, node: one })) }),
      change({ source: 9, id: end.id, type: 0, commands: [{ property: "x", args: [{ rr_type: "Function", args: [run] }] }] }),
      change({ source: 10, family: "z", fontSource: "url(" + E + "/font)", buffer: false }), change({ source: 15, id: 1, styleIds: [1], styles: [{ styleId: 1, rules: [{ rule: "p{background:url(" + E + "/adopted)}" }] }] }),
      { type: 6, timestamp: 1, data: { plugin: "rrweb/console@1", payload: {} } }, null, 5],
      assets: { [E + "/img"]: "data:text/html;base64,AAAA", x: "data:image/svg+xml;base64," + btoa("<svg xmlns='http://www.w3.org/2000/svg' onload='" + run.replaceAll("'", '"') + "'/>") },
      canvases: [[end.id, 1, 1, "javascript:" + run], null] };
    const payload = new TextEncoder().encode("\\0" + JSON.stringify(batch));
    const { send } = WebSocket.prototype;
    WebSocket.prototype.send = function (data) {
      if (typeof data === "string" || new Uint8Array(data.buffer ?? data)[1] !== 5) return send.call(this, data);
      const frame = new Uint8Array(32 + payload.length);
      frame.set(new Uint8Array(data.buffer ?? data).subarray(0, 32));
      frame.set(payload, 32);
      return send.call(this, frame);
    };
  })();`;
  const id = s.newVisitorId;
  const url = await shop(s, id);
  const page = await s.page(id);
  await page.addInitScript(init);
  await page.goto(url);
  const visitor = new VisitorPage(page, id, s);
  await visitor.online();
  const alice = await s.agent();
  /** @type {string[]} */
  const asked = [];
  alice.page.on("request", (request) => asked.push(request.url()));
  await alice.joins(id);
  await visitor.accept();
  await alice.sees("live");
  const replay = await replayOf(alice);
  await replay.locator("#end").waitFor({ state: "attached" });
  // Whoever presses there presses the console, not the page; and what would be pressed leads nowhere.
  await replay.evaluate(() => {
    /** @type {any} */ (document.querySelector("a")).click();
    /** @type {any} */ (document.querySelector("#form")).submit();
    /** @type {any} */ (document.querySelector("#end")).click();
  });
  await alice.page.locator("[data-test=viewer-canvas]").click();
  for (const frame of alice.page.frames()) {
    assert.equal(await frame.evaluate(() => /** @type {any} */ (globalThis).pwned), undefined, frame.url());
    const running = await frame.evaluate(() => [...document.querySelectorAll("*")].filter((one) => one.getAttributeNames().some((name) => name.startsWith("on"))).length);
    assert.equal(running, 0, frame.url());
  }
  assert.equal(await alice.page.evaluate(() => sessionStorage.getItem("porchlight.agent") !== null), true);
  assert.deepEqual(asked.filter((address) => address.startsWith("http") && !address.startsWith(s.server.url)), [], "nothing is asked of anybody else");
  assert.deepEqual(hits, []);
  assert.equal(new URL(alice.page.url()).pathname, "/demo/agent");
  // Even who gets past all that is in a frame that runs nothing, under a policy that loads nothing.
  s.allow(/Content Security Policy/, /sandboxed/);
  await replay.evaluate((address) => {
    const script = document.createElement("script");
    script.textContent = "window.pwned = 1";
    const image = document.createElement("img");
    image.id = "last";
    image.setAttribute("onerror", "window.pwned = 1");
    image.src = `${address}/policy`;
    document.body.append(script, image);
  }, there);
  await until("the refusal", () => replay.evaluate(() => /** @type {any} */ (document.querySelector("#last")).complete));
  const inside = await replay.evaluate(() => [/** @type {any} */ (window).pwned, frameElement?.getAttribute("sandbox")]);
  assert.deepEqual(inside, [undefined, "allow-same-origin"]);
  assert.deepEqual(hits, []);
});

scene("an agent with control clicks and types on the page, and without it does not", async (s) => {
  const { visitor, alice } = await sharing(s, { control: true });
  const { page } = visitor;
  const press = async (/** @type {import("playwright-core").Locator} */ what) => {
    const there = /** @type {any} */ (await what.boundingBox());
    const canvas = /** @type {any} */ (await alice.page.locator("[data-test=viewer-canvas]").boundingBox());
    const scale = canvas.width / 1280;
    await alice.page.mouse.click(canvas.x + (there.x + there.width / 2) * scale, canvas.y + (there.y + there.height / 2) * scale);
  };
  const value = (/** @type {string} */ name) => page.locator(`[name=${name}]`).inputValue();
  await assertSame(visitor, alice);
  await alice.page.locator("[data-test=request-control]").click();
  await visitor.dialog.getByText("Alice would like to click and type on this page").waitFor();
  await visitor.button("controlNot").click();
  await alice.page.locator("[data-test=viewer][data-control=rejected]").waitFor();
  await press(page.locator("#add"));
  await alice.page.locator("[data-test=request-control]").click();
  await visitor.button("control").click();
  await alice.page.locator("[data-test=viewer][data-control=granted]").waitFor();
  await visitor.bar.getByText("Alice clicks and types on this page").waitFor();
  assert.equal(await page.locator("[data-marked=added]").count(), 0, "a click before the grant went nowhere");

  await press(page.locator("#add"));
  await page.locator("[data-marked=added]").waitFor();
  await press(page.locator("[name=name]"));
  await alice.page.keyboard.type(" Lindqvist");
  await until("what was typed", async () => (await value("name")) === "Mara Lindqvist");
  await press(page.locator("[name=gift]"));
  await until("the tick", async () => !(await page.locator("[name=gift]").isChecked()));
  // Secrets are nobody's but the visitor's, and so is what asks the visitor.
  for (const name of ["secret", "account", "card"]) {
    await press(page.locator(`[name=${name}]`));
    await alice.page.keyboard.type("evil");
  }
  const held = alice.page.locator("[data-test=input-held]");
  await held.getByText("Hidden from you").waitFor();
  await press(visitor.barButton("stop"));
  await press(page.locator("[name=colour]"));
  await held.getByText("Lists do not open").waitFor();
  assert.match((await alice.page.locator("[data-test=control-limits]").getAttribute("title")) ?? "", /files cannot be chosen/);

  // The visitor's own click comes first: for a while the agent's lands nowhere, and both are told.
  const [mouse, pointer] = [page.mouse, page.locator("[data-porchlight=pointer]")];
  const title = /** @type {any} */ (await page.locator("h1").first().boundingBox());
  await page.evaluate(() => {
    const there = /** @type {any} */ (window);
    there.Porchlight.on("input", ({ events }) => (there.ups ??= []).push(...events.filter((/** @type {any} */ { t }) => t === "up")));
  });
  await mouse.click(title.x + 2, title.y + 2);
  await held.getByText("The visitor is using the page").waitFor();
  await pointer.getByText("Alice waits for you").waitFor();
  let usesIt = true;
  const using = (async () => {
    for (let at = 2; usesIt; at = 7 - at) await mouse.move(title.x + at, title.y + 2);
  })();
  await press(page.locator("#add"));
  await until("the click at the visitor's", () => page.evaluate(() => !!(/** @type {any} */ (window).ups)));
  usesIt = false;
  await using;
  await held.waitFor({ state: "hidden" });
  await pointer.getByText("Alice", { exact: true }).waitFor();
  assert.equal(await page.locator("[data-marked=added]").count(), 1, "a click while the visitor used the page went nowhere");
  await press(page.locator("#add"));
  await until("the next click", async () => (await page.locator("[data-marked=added]").count()) === 2);

  await press(page.locator("[name=note]"));
  await alice.page.keyboard.type("!");
  await until("the note", async () => (await value("note")) === "Please ring twice!");
  assert.deepEqual([await value("secret"), await value("account"), await value("card")], [SECRETS.password, SECRETS.maskedField, SECRETS.card]);
  await visitor.shares();
  await assertSame(visitor, alice);

  await visitor.bar.locator("[data-action=takeBack]").click();
  await alice.page.locator("[data-test=viewer][data-control=revoked]").waitFor();
  await press(page.locator("#add"));
  await page.fill("[name=note]", "after");
  await until("what came after", async () => (await (await replayOf(alice)).evaluate(marked)).fields.some(([, text]) => text === "after"));
  assert.equal(await page.locator("[data-marked=added]").count(), 2, "a click after the revoke went nowhere");
});

scene("a site under a strict policy is shown, with the pictures that can be read off its page", async (s) => {
  const { url } = s.server;
  s.allow(/Content Security Policy/);
  const policy = `default-src 'self'; script-src 'self' ${url}; connect-src ${url.replace("http", "ws")}; style-src 'self' 'unsafe-inline'; object-src 'none'`;
  const { visitor, alice } = await sharing(s, { policy });
  const photo = (await replayOf(alice)).locator("[data-marked=photo]");
  await until("the picture", () => photo.evaluate((/** @type {HTMLImageElement} */ one) => one.naturalWidth === 200 && one.src.startsWith("blob:")));
  const [there, seen] = [await visitor.page.evaluate(marked), await (await replayOf(alice)).evaluate(marked)];
  // Its font could not be fetched.
  for (const name of ["title", "photo", "cart", "canvas", "stars", "footer"]) assert.deepEqual(seen.found[name], there.found[name], name);
});

scene("the visitor makes a screen of the page, and the page again, and agents go on looking", async (s) => {
  const { visitor, alice } = await sharing(s, { control: true });
  const { page } = visitor;
  await assertSame(visitor, alice);
  const session = await alice.viewer.getAttribute("data-session-id");
  const shows = (/** @type {AgentPage} */ agent, /** @type {string} */ kind) => agent.page.locator(`[data-test=viewer][data-shows=${kind}][data-state=live]`).waitFor();
  await points(alice, visitor);
  await visitor.barButton("instead").click();
  await shows(alice, "screen");
  await until("pixels", async () => /^(avc1|vp09|vp8)/.test((await alice.stats()).codec));
  await alice.page.locator("[data-test=replay]").waitFor({ state: "detached" });
  await alice.page.locator("[data-test=shows-screen]").waitFor();
  await visitor.bar.getByText("You’re sharing your screen with Alice").waitFor();
  // Who joins now sees pixels, too; it is this tab, so the visitor is asked for control.
  const bob = await s.agent("bob");
  await bob.joins(visitor.id);
  await shows(bob, "screen");
  const states = await alice.watches("[data-test=viewer]", "data-control");
  await alice.page.locator("[data-test=request-control]").click();
  await visitor.button("controlNot").click();
  await until("the refusal", async () => (await states()).includes("rejected"));
  await shoot(alice.page, "cobrowse-screen");

  await visitor.barButton("instead").click();
  await page.fill("[name=name]", "A page again");
  for (const agent of [alice, bob]) {
    await shows(agent, "cobrowse");
    await assertSame(visitor, agent);
  }

  // A capture ends with its page, and the next one is shown itself.
  await visitor.barButton("instead").click();
  await shows(alice, "screen");
  await page.locator('header a[href="/two"]').click();
  await visitor.shares();
  await shows(alice, "cobrowse");
  await assertSame(visitor, alice);
  assert.equal(await visitor.dialog.count(), 0, "no second question");
  assert.equal(await alice.viewer.getAttribute("data-session-id"), session);

  // The history tells of both times, and that the session began as a page.
  const history = await s.history(`session/${session}`);
  await history.page.locator("[data-test=detail-kind]", { hasText: "Cobrowse and screen" }).waitFor();
  await history.page.locator("[data-test=also-shown]").waitFor();
  const told = history.page.locator("[data-kind=EVENT_KIND_SESSION_SHOWS]");
  await until("four changes", async () => (await told.count()) === 4);
  assert.match((await told.allTextContents()).join("\n"), /shows a screen instead of the page.*\n.*shows the page again/s);
});

scene("what a minute costs, beside pixels", async (s) => {
  /** @param {VisitorPage} visitor */
  const browse = async ({ page }) => {
    for (let round = 0; round < 4; round += 1) {
      await page.locator("[name=name]").pressSequentially("Mara ", { delay: 40 });
      for (let step = 0; step < 8; step += 1) await page.mouse.wheel(0, 60);
      await page.evaluate(() => /** @type {any} */ (document.querySelector("#more")).click());
      await page.click("#done");
      await page.evaluate(() => scrollTo(0, 0));
    }
  };
  /** @type {Record<string, string>} */
  const told = {};
  for (const kind of ["COBROWSE", "SCREEN"]) {
    await s.server.joinStarts(`SESSION_KIND_${kind}`);
    const { visitor, alice, heard } = await sharing(s);
    const first = heard.bytes;
    const began = Date.now();
    await browse(visitor);
    const { bytes } = heard;
    const minutes = (Date.now() - began) / 60_000;
    assert.ok(bytes > first, "something was seen");
    told[kind] = `${Math.round(first / 1000)} kB at first, then ${Math.round((bytes - first) / 1000 / minutes)} kB a minute`;
    await alice.page.locator("[data-test=end-session]").click();
    await alice.seesEnd();
    await visitor.close();
    await alice.page.close();
  }
  console.log(`typing, scrolling and a modal: the page ${told.COBROWSE}; pixels ${told.SCREEN}`);
});
