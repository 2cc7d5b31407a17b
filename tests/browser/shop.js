// A shop of its own origin for the tests of cobrowsing: what real sites are made of, what must not leave them, and whether
// an agent sees the same.
import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import zlib from "node:zlib";
import { until } from "./processes.js";

/** Values that must not be in any byte that is relayed; each is somewhere on the pages, or is typed. */
export const SECRETS = Object.freeze({
  maskedText: "IBAN-DE02120300000000202051",
  maskedTitle: "title-of-masked-7719",
  maskedField: "masked-field-4410",
  maskedShadow: "shadow-secret-8152",
  maskedLater: "late-secret-3307",
  maskedFrame: "frame-secret-6294",
  password: "hunter2-correct-horse",
  shownPassword: "shown-password-5521",
  card: "4111111111111111",
  hidden: "csrf-0f3b77a1",
  blocked: "blocked-insides-9012",
  blockedLater: "blocked-later-2288",
  query: "token-in-a-link-6613",
  comment: "comment-in-the-source-1183",
  noscript: "noscript-insides-4475",
  handler: "handler-secret-7730",
});

const FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf";

const CSS = `
  @font-face { font-family: "Shop Mono"; src: url("font.ttf") format("truetype"); }
  * { box-sizing: border-box; }
  body { margin: 0; font: 16px/1.5 "DejaVu Sans", sans-serif; color: #222; background: #faf7f0; }
  header { position: sticky; top: 0; padding: 12px 24px; background: #23304a url(pattern.svg) right / 48px repeat-y; color: #fff; }
  header a { color: #ffd89a; margin-right: 16px; }
  main { display: grid; grid-template-columns: 1fr 1fr; gap: 24px; padding: 24px; }
  .mono { font-family: "Shop Mono", monospace; }
  .card { padding: 16px; background: #fff; border: 1px solid #ddd; border-radius: 8px; }
  .card:hover { border-color: #b60; }
  .list { height: 200px; overflow: auto; }
  canvas { width: 240px; height: 120px; background: #eee; }
  dialog { width: 320px; border: 2px solid #b60; border-radius: 8px; }
  dialog::backdrop { background: rgb(0 0 0 / .4); }
  .blank { overflow: hidden; }
  .tall { height: 1200px; background: linear-gradient(#faf7f0, #e7dcc4); }
`;

const svg = (/** @type {string} */ colour) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="48" height="48"><circle cx="24" cy="24" r="16" fill="${colour}"/></svg>`;

/** A picture of one colour, as PNG. */
function png(/** @type {number} */ width, /** @type {number} */ height) {
  const row = Buffer.concat([Buffer.of(0), Buffer.alloc(width * 3, Buffer.of(190, 90, 40))]);
  const chunk = (/** @type {string} */ type, /** @type {Buffer} */ data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const frame = Buffer.alloc(8);
    frame.writeUInt32BE(data.length, 0);
    frame.writeUInt32BE(zlib.crc32?.(body) ?? crc32(body), 4);
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const pixels = zlib.deflateSync(Buffer.concat(Array(height).fill(row)));
  return Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), chunk("IHDR", head), chunk("IDAT", pixels), chunk("IEND", Buffer.alloc(0))]);
}

/** For Node before 20.15. */
function crc32(/** @type {Buffer} */ bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

const SCRIPT = `
  class ShopStars extends HTMLElement {
    connectedCallback() {
      const root = this.attachShadow({ mode: "open" });
      root.innerHTML = '<style>p { color: #b60; margin: 0; font-weight: bold }</style><p data-marked="stars">★★★★☆ 412 ratings</p>' +
        '<p data-porchlight-mask>${SECRETS.maskedShadow}</p><slot></slot>';
    }
  }
  customElements.define("shop-stars", ShopStars);
  const canvas = document.querySelector("canvas");
  if (canvas) {
    const context = canvas.getContext("2d");
    context.fillStyle = "#0a7d4f";
    context.fillRect(20, 20, 100, 60);
    context.fillStyle = "#c22";
    context.beginPath(); context.arc(190, 60, 30, 0, 7); context.fill();
  }
  const list = document.querySelector("#list");
  if (list) list.innerHTML = Array.from({ length: 2000 }, (_, n) => '<li' + (n === 1500 ? ' data-marked="row"' : '') + '>Lamp number ' + n + '</li>').join("");
  document.querySelector("#more")?.addEventListener("click", () => document.querySelector("dialog").showModal());
  document.querySelector("#done")?.addEventListener("click", () => document.querySelector("dialog").close());
  document.querySelector("#show")?.addEventListener("click", () => (document.querySelector("[name=secret]").type = "text"));
  document.querySelector("#add")?.addEventListener("click", () => {
    const one = document.createElement("p");
    one.dataset.marked = "added";
    one.textContent = "Added by a script: " + document.querySelectorAll("li").length;
    document.querySelector("#cart").append(one);
    document.querySelector("[data-porchlight-mask] b").textContent = "${SECRETS.maskedLater}";
    document.querySelector("[data-porchlight-block]").append("${SECRETS.blockedLater}");
    const sheet = document.querySelector("#sheet").sheet;
    sheet.insertRule(".card[data-marked=cart] { padding-left: 40px }", sheet.cssRules.length);
  });
`;

/** @param {string} title @param {string} tag of the presence script @param {string} body */
const page = (title, tag, body) => `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>
  <meta name="csrf" content="${SECRETS.hidden}"><link rel="stylesheet" href="/style.css"><style id="sheet">.price { color: #0a7d4f }</style>
  ${tag}</head><body><!-- ${SECRETS.comment} --><noscript><p>${SECRETS.noscript}</p></noscript>
  <header><a href="/">Lamps</a><a href="/two">Wall lamps</a><a href="/account?token=${SECRETS.query}">Account</a></header>
  ${body}<script type="module" src="/shop.js"></script></body></html>`;

const HOME = `<main>
  <section class="card" data-marked="head"><h1 data-marked="title">Lamps for the garden</h1><img data-marked="photo" src="/photo.png" alt="A lamp">
    <p class="mono" data-marked="mono">Order no. 77-12-9</p><p class="price" data-marked="price">€ 129.00</p></section>
  <section class="card" id="cart" data-marked="cart"><h2>Cart</h2><button id="add">Add one</button><button id="more">Details</button>
    <dialog data-marked="dialog"><p data-marked="dialog-text">Brass, glass, 4 kg</p><button id="done">Close</button></dialog></section>
  <form class="card" data-marked="form">
    <label>Name <input name="name" value="Mara"></label>
    <label>Account <input name="account" data-porchlight-mask value="${SECRETS.maskedField}"></label>
    <label>Password <input name="secret" type="password" value="${SECRETS.password}"></label><button type="button" id="show">Show</button>
    <label>Card <input name="card" autocomplete="cc-number" value="${SECRETS.card}"></label>
    <input type="hidden" name="csrf" value="${SECRETS.hidden}">
    <label>Colour <select name="colour"><option>Brass</option><option selected>Black</option></select></label>
    <label><input type="checkbox" name="gift" checked> A gift</label>
    <textarea name="note" rows="2">Please ring twice</textarea></form>
  <section class="card" data-marked="shapes"><canvas width="240" height="120" data-marked="canvas"></canvas>
    <svg data-marked="drawing" width="120" height="60" viewBox="0 0 120 60"><rect x="5" y="5" width="50" height="50" fill="#23304a"/><text x="62" y="36">SVG</text></svg>
    <shop-stars><em data-marked="slotted">by the way</em></shop-stars></section>
  <section class="card" data-marked="private"><p data-porchlight-mask title="${SECRETS.maskedTitle}" onclick="void '${SECRETS.handler}'">${SECRETS.maskedText} <b>x</b></p>
    <iframe data-porchlight-mask title="frame" srcdoc="<p>${SECRETS.maskedFrame}</p>" width="200" height="60"></iframe>
    <div data-porchlight-block class="blank" style="height:80px"><p>${SECRETS.blocked}</p></div></section>
  <section class="card list" data-marked="list"><ul id="list"></ul></section></main>
  <div class="tall"></div><footer data-marked="footer">Lantern &amp; Co.</footer>`;

const TWO = `<main><section class="card"><h1 data-marked="title">Wall lamps</h1><p data-marked="second">The second page</p>
  <p data-porchlight-mask>${SECRETS.maskedText}</p></section></main>`;

/**
 * Opens the shop.
 * @param {string} tag of the presence script
 * @param {string} [policy] of its pages
 */
export async function openShop(tag, policy) {
  /** @type {Record<string, [string, string | Buffer]>} */
  const files = {
    "/": ["text/html", page("Lamps", tag, HOME)],
    "/two": ["text/html", page("Wall lamps", tag, TWO)],
    "/style.css": ["text/css", CSS],
    "/shop.js": ["text/javascript", SCRIPT],
    "/pattern.svg": ["image/svg+xml", svg("#ffd89a")],
    "/photo.png": ["image/png", png(200, 120)],
    "/font.ttf": ["font/ttf", fs.readFileSync(FONT)],
  };
  const server = http.createServer(({ url = "/" }, response) => {
    const file = files[url.split("?")[0]];
    if (!file) return response.writeHead(url === "/favicon.ico" ? 204 : 404).end();
    if (policy) response.setHeader("content-security-policy", policy);
    response.writeHead(200, { "content-type": file[0], "cache-control": "max-age=60" }).end(file[1]);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return { url: `http://127.0.0.1:${port}`, close: () => (server.closeAllConnections(), server.close()) };
}

/** Text and place of each marked element, in shadow roots too. */
export function marked() {
  /** @type {Record<string, any>} */
  const found = {};
  const look = (/** @type {any} */ root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.shadowRoot) look(element.shadowRoot);
      const name = element.dataset?.marked;
      if (!name) continue;
      const { x, y, width, height } = element.getBoundingClientRect();
      const covered = element.querySelector("[data-porchlight-mask], [data-porchlight-block]");
      const text = covered || element.matches("[data-porchlight-block]") ? null : element.textContent.replace(/\s+/g, " ").trim();
      found[name] = { text, box: [x, y, width, height].map((value) => Math.round(value)) };
    }
  };
  look(document);
  const fields = [...document.querySelectorAll("input, select, textarea")]
    .filter((/** @type {any} */ one) => ["name", "colour", "note", "gift"].includes(one.name))
    .map((/** @type {any} */ one) => [one.name, one.type === "checkbox" ? one.checked : one.value]);
  return { found, fields, scrolled: [scrollX, scrollY].map(Math.round) };
}

/** The rebuilt page in the page of an agent. @param {{ page: import("playwright-core").Page }} agent */
export const replayOf = (agent) => until("the replay", () => agent.page.frames().find((frame) => frame.parentFrame()?.url().match(/\/replay(\?|$)/)));

/** Waits until the agent sees what the visitor does. @param {{ page: import("playwright-core").Page }} visitor @param {{ page: import("playwright-core").Page }} agent */
export async function assertSame(visitor, agent) {
  let seen;
  let there;
  try {
    await until("the same page", async () => {
      there = await visitor.page.evaluate(marked);
      seen = await (await replayOf(agent)).evaluate(marked).catch(() => null);
      return JSON.stringify(seen) === JSON.stringify(there);
    });
  } catch {
    assert.deepEqual(seen, there);
  }
  return /** @type {any} */ (there);
}
