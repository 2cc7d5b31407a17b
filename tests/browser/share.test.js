// A shared screen, from the visitor's tab to the agent's canvas: a barcode tells which picture an agent sees.
import assert from "node:assert/strict";
import http from "node:http";
import { ahead, assertMoving } from "./barcode.js";
import { shoot, stage, until } from "./lib.js";
import { points, VisitorPage } from "./people.js";

const { scene, meanwhile } = stage();

/** The barcode is the visitor's clock; a picture this old would be a replay, not a live view. */
const FRESH_MS = 10_000;

/**
 * A visitor on the barcode page whom an agent has joined.
 * @param {import("./lib.js").Scene} s @param {any} [visit] @param {any} [agent] @param {{ control?: boolean }} [join]
 */
async function sharing(s, visit = {}, agent = undefined, join = {}) {
  const visitor = await s.visitor({ path: "/demo/site/barcode.html", ...visit });
  const alice = agent ?? (await s.agent());
  await alice.joins(visitor.id, join);
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  return { visitor, alice };
}

/**
 * The newest picture is of now.
 * @param {import("./people.js").VisitorPage} visitor @param {import("./people.js").AgentPage} agent
 */
async function assertFresh(visitor, agent) {
  const [seen] = await agent.readings(1);
  const age = ahead(await visitor.barcode(), Number(seen));
  assert.ok(age >= 0 && age < FRESH_MS, `the picture is ${age} ms old`);
}

scene("every picture arrives whole, in order and fresh, also for who joins late", async (s) => {
  const { visitor, alice } = await sharing(s);
  assertMoving(await alice.readings(40), 40);
  await assertFresh(visitor, alice);
  const { codec, width, height } = await alice.stats();
  assert.match(codec, /^(avc1|vp09|vp8)/);
  assert.deepEqual([width, height], [1280, 720]);

  const bob = await s.agent("bob");
  await bob.joins(visitor.id);
  await bob.sees("live");
  assertMoving(await bob.readings(10), 10);
  await assertFresh(visitor, bob);
  await visitor.bar.getByText("Alice and Bob").waitFor();

  // One leaves; the other goes on seeing.
  await alice.page.locator("[data-test=leave]").click();
  await visitor.bar.getByText("You’re sharing with Bob").waitFor();
  assertMoving(await bob.readings(5), 5);
});

scene("a still page is shown, also to who joins late", async (s) => {
  const { visitor, alice } = await sharing(s, { query: { still: "1", value: "1234567" } });
  const shows = (/** @type {import("./people.js").AgentPage} */ agent) =>
    until("the number", async () => (await agent.readings(1)).at(-1) === 1234567);
  await shows(alice);
  const bob = await s.agent("bob");
  await bob.joins(visitor.id);
  await bob.sees("live");
  await shows(bob);
});

for (const [name, codec, init] of /** @type {[string, RegExp, () => void][]} */ ([
  ["its only picture was lost", /^(avc1|vp09|vp8)/, () => {
    const { MediaStreamTrackProcessor: Real } = window;
    let readers = 0;
    const read = (/** @type {any} */ wish) => {
      const { readable } = new Real(wish);
      readers += 1;
      if (readers > 1) return { readable };
      const lose = { transform: (/** @type {VideoFrame} */ picture) => picture.close() };
      return { readable: readable.pipeThrough(new TransformStream(lose)) };
    };
    window.MediaStreamTrackProcessor = /** @type {any} */ (function (/** @type {any} */ wish) {
      return read(wish);
    });
  }],
  ["the browser never says what it encodes", /^jpeg$/, () => {
    VideoEncoder.isConfigSupported = () => new Promise(() => {});
  }],
  ["the first encoder swallows everything", /^(vp09|vp8)/, () => {
    const { configure, encode } = VideoEncoder.prototype;
    const broken = new WeakSet();
    VideoEncoder.prototype.configure = function (config) {
      if (config.codec.startsWith("avc1")) broken.add(this);
      configure.call(this, config);
    };
    VideoEncoder.prototype.encode = function (...given) {
      if (!broken.has(this)) encode.apply(this, given);
    };
  }],
])) {
  scene(`a still page is shown although ${name}`, async (s) => {
    const { alice } = await sharing(s, { query: { still: "1", value: "1234567" }, init });
    await until("the number", async () => (await alice.readings(1)).at(-1) === 1234567);
    assert.match((await alice.stats()).codec, codec);
  });
}

/** What a part of the agent's picture looks like: its mean colour, and how far any of it is from that. */
const patch = (/** @type {import("./people.js").AgentPage} */ agent, /** @type {number[]} */ [x, y, width, height]) =>
  agent.page.evaluate((box) => {
    const canvas = /** @type {HTMLCanvasElement} */ (document.querySelector("[data-test=viewer-canvas]"));
    const { data } = /** @type {any} */ (canvas.getContext("2d")).getImageData(...box);
    const mean = [0, 1, 2].map((part) => {
      let sum = 0;
      for (let at = part; at < data.length; at += 4) sum += data[at];
      return Math.round((sum / data.length) * 4);
    });
    const off = data.reduce((/** @type {number} */ most, /** @type {number} */ value, /** @type {number} */ at) => (at % 4 === 3 ? most : Math.max(most, Math.abs(value - mean[at % 4]))), 0);
    return { mean, off };
  }, [x + 6, y + 6, width - 12, height - 12]);

const near = (/** @type {number[]} */ mean, /** @type {number[]} */ colour) => mean.every((value, at) => Math.abs(value - colour[at]) < 24);

scene("an agent invites a colleague and leaves, and the picture goes on", async (s) => {
  const { visitor, alice } = await sharing(s);
  const { page } = alice;
  await page.locator("[data-test=invite]").click();
  await page.locator("[data-test=invite-agent]").fill("nobody-here");
  await page.locator("[data-test=invite-make]").click();
  await page.getByText("Nobody here has this ID.").waitFor();
  const { id } = s.server.facts.agents.find((/** @type {any} */ one) => one.address === "bob");
  await page.locator("[data-test=invite-agent]").fill(id);
  await page.locator("[data-test=invite-make]").click();
  await page.locator("[data-test=invite-link]").waitFor();
  await shoot(page, "invite-a-colleague");
  const link = await page.locator("[data-test=invite-link]").inputValue();
  assert.equal(new URL(link).pathname, `/s/${await alice.viewer.getAttribute("data-session-id")}`);

  const bob = await s.agent("bob");
  await bob.page.goto(link);
  await bob.page.locator("[data-test=viewer][data-state=live]").waitFor();
  await visitor.bar.getByText("Alice and Bob").waitFor();
  await page.locator("[data-test=leave]").click();
  await visitor.bar.getByText("You’re sharing with Bob").waitFor();
  // The page of a link has its own viewer: what it draws is read off its canvas.
  const seen = () => bob.page.evaluate(() => /** @type {any} */ (document.querySelector("[data-test=viewer-canvas]")).toDataURL());
  const before = await seen();
  await until("the next picture", async () => (await seen()) !== before);
  await bob.page.locator("[data-test=viewer][data-state=live]").waitFor();
});

scene("what is masked is covered in every picture of the tab, from the first one on", async (s) => {
  const boxes = { masked: [40, 40, 200, 60], inline: [40, 120, 200, 40], password: [40, 180, 200, 40], shadow: [40, 240, 200, 60], beside: [280, 40, 200, 60], later: [40, 320, 200, 60], deep: [40, 400, 200, 60], marker: [280, 320, 200, 60] };
  const at = (/** @type {keyof typeof boxes} */ name, /** @type {string} */ colour) => {
    const [x, y, width, height] = boxes[name];
    return `position: fixed; margin: 0; padding: 0; border: 0; left: ${x}px; top: ${y}px; width: ${width}px; height: ${height}px; font: 30px/40px monospace; color: #fff; transition: all 2s; background: ${colour}`;
  };
  const id = s.newVisitorId;
  const html = `<!doctype html><title>Masked</title><script async src="${s.server.url}/porchlight.js" data-group="demo" data-visitor-id="${id}" data-capture="tab"></script>
    <div data-porchlight-mask style="${at("masked", "#c00")}">SECRET <b style="opacity: 1 !important; color: yellow">TEXT</b></div>
    <div style="${at("beside", "#00c")}">SEEN</div>
    <div style="${at("inline", "#fff")}"><span data-porchlight-mask style="display: block; background: #c0c; color: #000">INLINE 1234</span></div>
    <input id="secret" type="password" value="hunter2hunter2" style="${at("password", "#080")}">
    <x-card><template shadowrootmode="open"><div data-porchlight-mask style="${at("shadow", "#c60")}">IN A SHADOW</div></template></x-card>`;
  const site = http.createServer(({ url }, response) => void response.writeHead(url === "/" ? 200 : 204, { "content-type": "text/html" }).end(url === "/" ? html : undefined));
  await new Promise((resolve) => site.listen(0, "127.0.0.1", () => resolve(undefined)));
  s.closes({ close: () => (site.closeAllConnections(), site.close()) });
  const page = await s.page(id);
  // Looks at the first picture that the browser takes at all.
  await page.addInitScript(([box, field]) => {
    const { MediaStreamTrackProcessor: Real } = window;
    const look = async (/** @type {VideoFrame} */ picture, /** @type {TransformStreamDefaultController} */ out) => {
      const context = /** @type {any} */ (new OffscreenCanvas(picture.displayWidth, picture.displayHeight).getContext("2d"));
      context.drawImage(picture, 0, 0);
      /** @type {any} */ (window).first ??= [box, field].map(([x, y, , height]) => [...context.getImageData(x + 20, y + height - 5, 1, 1).data.slice(0, 3)]);
      out.enqueue(picture);
    };
    window.MediaStreamTrackProcessor = /** @type {any} */ (function (/** @type {any} */ wish) {
      return { readable: new Real(wish).readable.pipeThrough(new TransformStream({ transform: look })) };
    });
  }, [boxes.masked, boxes.password]);
  await page.goto(`http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (site.address()).port}/`);
  const visitor = new VisitorPage(page, id, s);
  await visitor.online();
  const GREY = [128, 128, 128];
  const alice = await s.agent();
  await alice.joins(id);
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  // In its own blue: the first pictures may be those of a page that is still dark behind its dialog.
  await until("what is not masked, and its words", async () => {
    const { mean, off } = await patch(alice, boxes.beside);
    return mean[2] > Math.max(mean[0] + 80, 180) && off > 60;
  });
  for (const name of /** @type {const} */ (["masked", "inline", "password", "shadow"])) {
    const { mean, off } = await patch(alice, boxes[name]);
    assert.ok(near(mean, GREY) && off < 24, `${name} is one grey: ${mean}, off by ${off}`);
  }
  // The dialog may still darken the page in it; what is below would be red and green.
  for (const pixel of await page.evaluate(() => /** @type {any} */ (window).first)) assert.ok(Math.max(...pixel) - Math.min(...pixel) < 24, `the first picture had ${pixel}`);

  // What comes later is covered before it is painted: whoever sees its neighbour sees no more of it.
  await page.evaluate(([later, deep, marker]) => {
    /** @type {any} */ (document.querySelector("#secret")).type = "text";
    document.body.insertAdjacentHTML("beforeend", `<div style="${later}"><p data-porchlight-mask style="margin: 0; height: 100%; background: #c00">LATER</p></div>`);
    const host = document.createElement("x-later");
    document.body.append(host);
    host.attachShadow({ mode: "closed" }).innerHTML = `<div data-porchlight-block style="${deep}">DEEP</div>`;
    document.body.insertAdjacentHTML("beforeend", `<div style="${marker}"></div>`);
  }, [at("later", "#fff"), at("deep", "#0cc"), at("marker", "#0c0")]);
  await until("the new part of the page", async () => {
    const [red, green] = (await patch(alice, boxes.marker)).mean;
    return green > red + 80;
  });
  for (const name of /** @type {const} */ (["password", "later", "deep"])) {
    const { mean, off } = await patch(alice, boxes[name]);
    assert.ok(near(mean, GREY) && off < 24, `${name} is one grey: ${mean}, off by ${off}`);
  }
  await page.locator("#secret").fill("typed all the same");
  await shoot(alice.page, "masked-pixels");
  // The browser tells that it is this page: what the agent points at is marked on it.
  await points(alice, visitor);
  await visitor.barButton("stop").click();
  assert.equal(await alice.seesEnd(), "guest_ended");
  await until("the field as it was", () => page.evaluate(() => getComputedStyle(/** @type {any} */ (document.querySelector("#secret"))).filter === "none"));
});

scene("paused means nothing moves; resumed means it goes on", async (s) => {
  const { visitor, alice } = await sharing(s);
  await visitor.barButton("pause").click();
  await visitor.shares("paused");
  await visitor.bar.getByText("Paused. Alice can’t see your screen").waitFor();
  await alice.sees("paused");
  const { drawn } = await alice.stats();
  const during = await visitor.barcode();
  await until("the visitor's page to go on", async () => ahead(await visitor.barcode(), during) > 1_500);
  assert.equal((await alice.stats()).drawn, drawn, "no picture is drawn while paused");

  // Who joins now sees no old picture either.
  const bob = await s.agent("bob");
  await bob.joins(visitor.id);
  await bob.sees("paused");
  assert.equal((await bob.stats()).drawn, 0);

  await visitor.barButton("pause").click();
  await alice.sees("live");
  await bob.sees("live");
  assertMoving(await alice.readings(5), 5);
  await assertFresh(visitor, alice);
  await assertFresh(visitor, bob);
});

scene("the visitor ends it by the stop bar", async (s) => {
  const { visitor, alice } = await sharing(s);
  await visitor.barButton("stop").click();
  assert.equal(await alice.seesEnd(), "guest_ended");
  await alice.sees("ended");
  await visitor.bar.waitFor({ state: "detached" });
  assert.equal(await visitor.page.evaluate(() => /** @type {any} */ (window).Porchlight.session), null);
  await alice.page.locator("[data-test=close-session]").click();
  await alice.light("lit");
  // What ended can be asked for anew.
  await alice.join.click();
  await visitor.button("accept").waitFor();
});

scene("the agent ends it", async (s) => {
  const { visitor, alice } = await sharing(s);
  await alice.page.locator("[data-test=end-session]").click();
  assert.equal(await alice.seesEnd(), "agent_ended");
  await visitor.bar.getByText("Sharing has ended").waitFor();
  await alice.light("lit");
});

scene("the visitor closes the tab while another one is shown, and the agent is told", async (s) => {
  const visitor = await s.visitor({ query: { capture: "any" } });
  await s.slides(visitor);
  const alice = await s.agent();
  await alice.joins(visitor.id);
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  await visitor.close();
  await alice.page.locator("[data-test=viewer][data-state=reconnecting][data-detail=publisher]").waitFor();
});

scene("the visitor closes the tab that is shown, and the agent is told", async (s) => {
  const { visitor, alice } = await sharing(s);
  await visitor.close();
  // The browser ends the capture of a tab that closes, and closes its page: whether the page can still say that nothing
  // is shown any more is up to which of the two comes first.
  const lost = alice.page.locator("[data-test=viewer][data-state=reconnecting][data-detail=publisher]");
  await lost.or(alice.page.locator("[data-test=end-reason][data-reason=guest_ended]")).first().waitFor();
});

scene("the picture comes back when the visitor's network does", async (s) => {
  const line = await s.line();
  s.allow(/WebSocket connection/);
  const { visitor, alice } = await sharing(s, { url: line.url });
  assertMoving(await alice.readings(5), 5);
  line.cut();
  await visitor.shares("reconnecting");
  await alice.page.locator("[data-test=viewer][data-state=reconnecting][data-detail=publisher]").waitFor();
  line.mend();
  await visitor.shares();
  await alice.sees("live");
  assertMoving(await alice.readings(10), 10);
  await assertFresh(visitor, alice);
});

scene("the agent's seat is kept while their network is away", async (s) => {
  const line = await s.line();
  s.allow(/WebSocket connection/);
  const alice = await s.agent("alice", { url: line.url });
  const { visitor } = await sharing(s, {}, alice);
  line.cut();
  await alice.page.locator("[data-test=viewer][data-state=reconnecting][data-detail=viewer]").waitFor();
  line.mend();
  await alice.sees("live");
  await alice.online();
  assertMoving(await alice.readings(10), 10);
  await assertFresh(visitor, alice);
});

scene("the session goes on, with the visitor's consent, on the next page", async (s) => {
  const { visitor, alice } = await sharing(s);
  await visitor.goes("/demo/site/barcode.html?source=counter");
  await visitor.button("continue").waitFor();
  assert.match(await visitor.dialog.innerText(), /You were sharing with Alice/);
  await visitor.button("continue").click();
  await visitor.shares();
  await alice.sees("live");
  const newest = await until("the new page's barcode", async () => {
    const value = (await alice.readings(1)).at(-1);
    return value && value < 100_000 ? value : 0;
  });
  assert.ok(newest > 0);
  assertMoving(await alice.readings(5), 5);
});

scene("a visitor who would rather not go on ends it on the next page", async (s) => {
  const { visitor, alice } = await sharing(s);
  await visitor.goes("/demo/site/cart.html");
  await visitor.button("continueNot").click();
  assert.equal(await alice.seesEnd(), "guest_ended");
  await visitor.dialog.waitFor({ state: "detached" });
});

scene("a window of another size is shown as it is", async (s) => {
  const { visitor, alice } = await sharing(s);
  await visitor.page.setViewportSize({ width: 1000, height: 600 });
  await until("the new size", async () => (await alice.stats()).width === 1000);
  // For a moment the tab has its new size and the page its old layout.
  await until("a readable picture", async () => (await alice.readings(1)).at(-1) !== null);
  assertMoving(await alice.readings(5), 5);
  await assertFresh(visitor, alice);
});

scene("a visitor who chooses nothing is asked again, and may leave it", async (s) => {
  const visitor = await s.visitor({
    init: () => {
      navigator.mediaDevices.getDisplayMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
    },
  });
  const alice = await s.agent();
  await alice.joins(visitor.id);
  await visitor.accept();
  await visitor.dialog.getByText("Nothing is shared yet").waitFor();
  await alice.sees("waiting");
  await visitor.button("again").click();
  await visitor.dialog.getByText("Nothing is shared yet").waitFor();
  await visitor.button("chooseNot").click();
  assert.equal(await alice.seesEnd(), "capture_denied");
  await visitor.dialog.waitFor({ state: "detached" });
});

scene("a browser that cannot share its screen says so", async (s) => {
  const visitor = await s.visitor({
    init: () => Object.defineProperty(navigator.mediaDevices, "getDisplayMedia", { value: undefined }),
  });
  const alice = await s.agent();
  await alice.joins(visitor.id);
  await visitor.accept();
  await visitor.dialog.getByText("This browser can’t share its screen").waitFor();
  assert.equal(await alice.seesEnd(), "failed");
});

scene("a session that was joined for a look only says so", async (s) => {
  const { alice } = await sharing(s);
  await alice.page.locator("[data-test=view-only]").waitFor();
  assert.equal(await alice.page.locator("[data-test=request-control]").isVisible(), false);
});

scene("control of a screen is the visitor's to give where it is this tab, and lands on its page", async (s) => {
  const { visitor, alice } = await sharing(s, {}, undefined, { control: true });
  const { page } = visitor;
  const control = alice.page.locator("[data-test=request-control]");
  const states = await alice.watches("[data-test=viewer]", "data-control");
  // What may be another window is refused at once: nothing here could be pressed there.
  const elsewhere = await page.evaluateHandle(() => {
    const { prototype } = /** @type {any} */ (window).BrowserCaptureMediaStreamTrack ?? MediaStreamTrack;
    const { getCaptureHandle } = prototype;
    /** @type {any} */
    let track;
    const begins = () => {
      prototype.getCaptureHandle = function () {
        track = this;
        return null;
      };
    };
    begins();
    const ends = () => (prototype.getCaptureHandle = getCaptureHandle);
    return { ends, switches: () => (begins(), track.dispatchEvent(new Event("capturehandlechange"))) };
  });
  await control.click();
  await until("the refusal", async () => (await states()).includes("rejected"));
  assert.equal(await control.isEnabled(), true);
  assert.equal(await visitor.dialog.count(), 0, "nobody was asked");
  await elsewhere.evaluate(({ ends }) => void ends());

  await page.evaluate(() => {
    document.body.insertAdjacentHTML("beforeend", '<button id="there">There</button><input id="code" type="password"><input id="words">');
    for (const [at, id] of ["there", "code", "words"].entries()) {
      const { style } = /** @type {HTMLElement} */ (document.getElementById(id));
      Object.assign(style, { position: "fixed", top: "40px", left: `${40 + 200 * at}px`, width: "120px", height: "40px", zIndex: 9 });
    }
    const button = /** @type {HTMLElement} */ (document.querySelector("#there"));
    button.onclick = () => (button.textContent += "!");
  });
  const press = async (/** @type {number} */ x) => {
    const canvas = /** @type {any} */ (await alice.page.locator("[data-test=viewer-canvas]").boundingBox());
    await alice.page.mouse.click(canvas.x + (x / 1280) * canvas.width, canvas.y + (60 / 720) * canvas.height);
  };
  await control.click();
  await visitor.button("control").click();
  await alice.page.locator("[data-test=viewer][data-control=granted]").waitFor();
  await visitor.bar.getByText("Alice clicks and types on this page").waitFor();
  await press(100);
  await page.locator("#there").getByText("There!", { exact: true }).waitFor();
  await press(300);
  await alice.page.keyboard.type("evil");
  await alice.page.locator("[data-test=input-held]").getByText("Hidden from you").waitFor();
  await press(500);
  await alice.page.keyboard.type("hello");
  await until("what was typed", async () => (await page.locator("#words").inputValue()) === "hello");
  assert.equal(await page.locator("#code").inputValue(), "");
  await visitor.barButton("takeBack").click();
  await alice.page.locator("[data-test=viewer][data-control=revoked]").waitFor();

  // Another tab is shown instead: control was not given for that.
  await control.click();
  await visitor.button("control").click();
  await alice.page.locator("[data-test=viewer][data-control=granted]").waitFor();
  await elsewhere.evaluate(({ switches }) => void switches());
  await alice.page.locator("[data-test=viewer][data-control=revoked]").waitFor();
  await visitor.bar.getByText("Alice clicks and types on this page").waitFor({ state: "hidden" });
  await elsewhere.evaluate(({ ends }) => void ends());

  // And before the visitor's page heard that it is given.
  const before = (await states()).length;
  await control.click();
  await visitor.button("control").evaluate((/** @type {HTMLElement} */ yes, { switches }) => (yes.click(), void switches()), elsewhere);
  await until("control to end", async () => (await states()).slice(before).join() === "requested,granted,revoked");
  await visitor.bar.getByText("Alice clicks and types on this page").waitFor({ state: "hidden" });
  await elsewhere.evaluate(({ ends }) => void ends());

  // A page that wants to answer is asked, and what it grants is what the agent gets.
  await visitor.page.evaluate(() => {
    const { Porchlight } = /** @type {any} */ (window);
    Porchlight.on("controlRequest", (/** @type {any} */ wish) => wish.grant());
    Porchlight.on("input", ({ events }) => (/** @type {any} */ (window).inputs ??= []).push(...events));
  });
  await control.click();
  await alice.page.locator("[data-test=viewer][data-control=granted]").waitFor();
  await alice.page.locator("[data-test=viewer-canvas]").click();
  await until("the click at the visitor's", () =>
    visitor.page.evaluate(() => (/** @type {any} */ (window).inputs ?? []).some((/** @type {any} */ { t }) => t === "up")),
  );
});

for (const [name, init] of /** @type {[string, () => void][]} */ ([
  ["without a video encoder, as JPEG", () => void Reflect.deleteProperty(window, "VideoEncoder")],
  ["without a track processor, by a video element", () => void Reflect.deleteProperty(window, "MediaStreamTrackProcessor")],
  ["without any of WebCodecs", () => {
    for (const one of ["VideoEncoder", "VideoFrame", "MediaStreamTrackProcessor"]) Reflect.deleteProperty(window, one);
  }],
])) {
  scene(`pictures are published ${name}`, async (s) => {
    const { visitor, alice } = await sharing(s, { init });
    assertMoving(await alice.readings(10), 10);
    await assertFresh(visitor, alice);
    assert.equal((await alice.stats()).codec === "jpeg", String(init).includes("VideoEncoder"));
  });
}

scene("an agent whose browser decodes no video sees JPEG, and the others with them", async (s) => {
  const init = () => void Reflect.deleteProperty(window, "VideoDecoder");
  const { visitor, alice } = await sharing(s);
  const bob = await s.agent("bob", { init });
  await bob.joins(visitor.id);
  await bob.sees("live");
  assertMoving(await bob.readings(5), 5);
  assert.equal((await bob.stats()).codec, "jpeg");
  assertMoving(await alice.readings(5), 5);
});

// Rides along with the longest file: it waits for a minute.
meanwhile("an unanswered question expires, and the visitor is left in peace", async (s) => {
  const visitor = await s.visitor();
  const bob = await s.agent("bob");
  await bob.joins(visitor.id);
  await visitor.button("accept").waitFor();
  // The demo group's deadline is 60 s.
  const expired = bob.page.locator("[data-test=request-state][data-state=expired]");
  await expired.waitFor({ state: "attached", timeout: 100_000 });
  await visitor.dialog.getByText("The request has expired.").waitFor();
  assert.equal(await visitor.button("accept").count(), 0);
  await visitor.dialog.waitFor({ state: "detached" });
  await bob.light("lit");
  assert.equal(await bob.join.isEnabled(), true);
});
