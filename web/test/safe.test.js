import assert from "node:assert/strict";
import { test } from "node:test";
import { urlsOf, withUrls } from "../lib/css.js";
import { pack, unpack } from "../lib/pack.js";
import { assetOf, Safe } from "../view/safe.js";

const URL_OF_IT = "https://shop.example/a.png";
const safe = (resolve = () => null) => new Safe(resolve);
let ids = 0;
const element = (tagName, attributes = {}, childNodes = [], more = {}) => ({ type: 2, id: (ids += 1), tagName, attributes, childNodes, ...more });
const snapshot = (...children) => ({
  type: 2,
  timestamp: 1,
  data: { node: { type: 0, id: (ids += 1), childNodes: children }, initialOffset: { left: 3, top: 4 } },
});
/** What becomes of one element. */
const rebuilt = (given, resolve) => safe(resolve).event(snapshot(given)).data.node.childNodes[0];
const change = (data) => safe().event({ type: 3, timestamp: 1, data })?.data;

test("what runs, posts, loads or leads anywhere does not come through", () => {
  for (const [name, value] of Object.entries({
    onclick: "x()", ONERROR: "x()", onanythingnew: "x()", srcdoc: "<script>", formaction: "javascript:x()", action: "https://evil/", target: "_top",
    ping: "https://evil/", srcset: "https://evil/ 2x", background: "https://evil/", data: "https://evil/", is: "x-y", "http-equiv": "refresh",
    content: "0;url=x", nonce: "n", sandbox: "", allow: "camera", manifest: "https://evil/", contenteditable: "", autofocus: "", constructor: "x",
    __proto__x: 1, rr_dataURL: "data:image/png;base64,AA==", rr_src: "https://evil/", rr_mediaState: "played", rr_width: "expression(1)", 'a"b': "x",
  })) {
    const { attributes } = rebuilt(element("div", { [name]: value, class: "kept" }));
    const left = Object.keys(attributes);
    assert.deepEqual(left, name === "__proto__x" ? ["__proto__x", "class"] : ["class"], name);
  }
  assert.equal(Object.getPrototypeOf(rebuilt(element("div", JSON.parse('{"__proto__": {"polluted": 1}}'))).attributes).polluted, undefined);
});

test("elements that run or load something keep their place only", () => {
  for (const tag of ["object", "embed", "applet", "frame", "frameset", "portal", "base", "constructor", "a b", "<x>", 5, null]) {
    assert.equal(rebuilt(element(tag)).tagName, "div", String(tag));
  }
  for (const tag of ["script", "SCRIPT", "noscript", "template"]) {
    const { tagName, childNodes, attributes } = rebuilt(element(tag, { src: "https://evil/", _cssText: "x" }, [{ type: 3, id: 1, textContent: "x()" }]));
    assert.deepEqual([tagName, childNodes, attributes], ["noscript", [], {}]);
  }
  assert.deepEqual(rebuilt(element("link", { rel: "stylesheet", href: "https://evil/", id: "l" })).attributes, { id: "l" });
  assert.deepEqual(rebuilt(element("iframe", { src: "javascript:x()", width: "5" })).attributes, { width: "5" });
  assert.equal(rebuilt(element("animate", { attributeName: "href", to: "javascript:x()" }, [], { isSVG: true })).tagName, "desc");
  assert.equal(rebuilt(element("animate", { attributeName: "x", to: "5" }, [], { isSVG: true })).tagName, "animate");
});

test("links are shown as links, and pictures come with the page or not at all", () => {
  for (const [href, kept] of [["https://a/", true], ["mailto:a@b", true], ["#x", true], ["javascript:x()", false], [" javascript:x()", false], ["data:text/html,x", false], ["JaVaScRiPt:x()", false]]) {
    assert.equal("href" in rebuilt(element("a", { href })).attributes, kept, String(href));
  }
  const uses = [];
  const resolve = (url, use) => (uses.push(use), url === URL_OF_IT ? "blob:ours" : null);
  assert.equal(rebuilt(element("img", { src: URL_OF_IT }), resolve).attributes.src, "blob:ours");
  const { id, attributes } = rebuilt(element("img", { src: "https://evil/x.png" }), resolve);
  assert.equal("src" in attributes, false);
  assert.deepEqual(uses.at(-1), { id, name: "src" });
  assert.equal(rebuilt(element("image", { "xlink:href": URL_OF_IT }, [], { isSVG: true }), resolve).attributes["xlink:href"], "blob:ours");
  assert.equal("href" in rebuilt(element("use", { href: "https://evil/s.svg#a" }, [], { isSVG: true })).attributes, false);
  assert.equal(rebuilt(element("use", { href: "#a" }, [], { isSVG: true })).attributes.href, "#a");
  assert.equal("src" in rebuilt(element("img", { src: "data:text/html,<script>" })).attributes, false);
});

test("style sheets load nothing", () => {
  assert.deepEqual(urlsOf(`a{b:url( "x y.png" )} c{d:url('e')} f{g:url(h)} i{j:url(h)}`), ["x y.png", "e", "h"]);
  assert.equal(withUrls(`@import "evil.css"; @import url(evil2.css);a{b:url(x)}c{d:url(#g)}`, () => null), ` a{b:url("data:,")}c{d:url("#g")}`);
  assert.equal(withUrls("a{b:url(x)}", () => 'blob:"\\\n'), 'a{b:url("blob:")}');
  const bad = "https://evil/x";
  const css = `@import "${bad}"; p { background: URL(${bad}) }`;
  for (const given of [
    element("style", { _cssText: css }), element("p", { style: css }), element("link", { _cssText: css }),
    element("style", {}, [{ type: 3, id: 5, textContent: css }]), element("p", { fill: `url(${bad})` }),
  ]) assert.equal(JSON.stringify(rebuilt(given)).includes("evil"), false, JSON.stringify(given));
  for (const data of [
    { source: 8, id: 1, adds: [{ rule: css, index: 0 }] },
    { source: 13, id: 1, index: [0], set: { property: "background", value: `url(${bad})` } },
    { source: 15, id: 1, styleIds: [1], styles: [{ styleId: 1, rules: [{ rule: css, index: 0 }] }] },
    { source: 0, attributes: [{ id: 1, attributes: { style: { background: `url(${bad})` } } }] },
  ]) assert.equal(JSON.stringify(change(data)).includes("evil"), false, JSON.stringify(data));
});

test("events are what is known of them, and nothing else", () => {
  for (const junk of [null, 5, "x", [], {}, { type: 2 }, { type: 2, data: null }, { type: 2, data: { node: null } }, { type: 2, data: { node: element("html") } },
    { type: 5, data: { tag: "x" } }, { type: 6, data: { plugin: "x" } }, { type: 7, data: {} }, { type: 3, data: { source: 9, commands: [] } }, { type: 3, data: { source: 10 } },
    { type: 3, data: { source: 99 } }]) assert.equal(safe().event(junk), null, JSON.stringify(junk));
  assert.deepEqual(safe().event({ type: 4, data: { href: "javascript:x()", width: 1e9, height: "x" } }), { type: 4, timestamp: 0, data: { href: "", width: 20_000, height: 0 } });
  assert.deepEqual(change({ source: 3, id: 5, x: 1, y: "2", extra: 1 }), { source: 3, id: 5, x: 1, y: 0 });
  assert.deepEqual(change({ source: 1, positions: [{ x: 1, y: 1, id: 1 }, { x: 2, y: 3, id: 4, debugData: {} }] }).positions, [{ x: 2, y: 3, id: 4, timeOffset: 0 }]);
  assert.deepEqual(change({ source: 0 }), { source: 0, texts: [], attributes: [], removes: [], adds: [] });
});

test("a page that is too deep or too large is cut", () => {
  let deep = element("i");
  for (let n = 0; n < 5_000; n += 1) deep = element("div", {}, [deep]);
  let depth = 0;
  for (let at = rebuilt(deep); at; at = at.childNodes[0]) depth += 1;
  assert.equal(depth, 1_000);
});

test("only pictures and fonts are taken for such", () => {
  for (const good of ["data:image/png;base64,AAAA", "data:image/svg+xml;base64,AA==", "data:font/woff2;base64,AA=="]) assert.equal(assetOf(good), good);
  for (const bad of ["data:text/html;base64,AA==", "data:image/png,x", "https://a/", "data:image/svg+xml;base64,<svg>", 5, null]) assert.equal(assetOf(bad), null);
});

test("what was packed is unpacked, and what unpacks to too much is not", async () => {
  const batch = { events: [{ type: 3, data: { text: "Zwölf ".repeat(1_000) } }], assets: { a: "b" } };
  const payload = await pack(batch);
  assert.ok(payload.length < 500, `${payload.length} bytes`);
  assert.deepEqual(await unpack(payload), batch);
  const plain = new TextEncoder().encode(JSON.stringify(batch));
  assert.deepEqual(await unpack(Uint8Array.of(0, ...plain)), batch);
  for (const bad of [[], [9, 1], [0], [1, 255, 255], [0, ...new TextEncoder().encode("{}")]]) await assert.rejects(unpack(Uint8Array.from(bad)));
  const bomb = await pack({ events: ["x".repeat(60 * 1024 * 1024)] });
  assert.ok(bomb.length < 100_000);
  await assert.rejects(unpack(bomb), /more than/);
});
