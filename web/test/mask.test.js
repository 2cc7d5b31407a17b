import assert from "node:assert/strict";
import { test } from "node:test";
import { BLOCK, Cleaner, coverText, isBlocked, isMasked, isSecret, MASK, plainAddress } from "../share/mask.js";

/** As much of a page as masks look at: elements with attributes and parents, texts, shadow roots, frames. */
class Page {
  nodes = new Map();

  /** @param {string} tag */
  element(tag, attributes = {}, parent = null, more = {}) {
    const node = {
      nodeType: 1,
      localName: tag,
      tagName: tag.toUpperCase(),
      parentNode: parent,
      hasAttribute: (name) => name in attributes,
      getAttribute: (name) => attributes[name] ?? null,
      closest: (wanted) => {
        for (let at = node; at; at = at.parentNode) if (at.localName === wanted) return at;
        return null;
      },
      ...more,
    };
    return this.#number(node);
  }

  text(parent) {
    return this.#number({ nodeType: 3, parentNode: parent, parentElement: parent });
  }

  #number(node) {
    node.id = this.nodes.size + 1;
    this.nodes.set(node.id, node);
    return node;
  }

  cleaner(more = {}) {
    return new Cleaner({ node: (id) => this.nodes.get(id) ?? null, ...more });
  }
}

const change = (data) => ({ type: 3, timestamp: 1, data });
const mutation = (more) => change({ source: 0, texts: [], attributes: [], removes: [], adds: [], ...more });
const element = (node, attributes = {}, childNodes = []) => ({ type: 2, id: node.id, tagName: node.localName, attributes, childNodes });
const text = (node, textContent) => ({ type: 3, id: node.id, textContent });

test("covers what is not white space, and values whatever their length", () => {
  assert.equal(coverText("two words\n"), "••• •••••\n");
  assert.equal(plainAddress("https://shop.example/reset?token=1#x"), "https://shop.example/reset");
});

test("a mask holds for everything in it, across shadow roots and frames", () => {
  const page = new Page();
  const masked = page.element("div", { [MASK]: "" });
  const host = page.element("x-card", {}, masked);
  const root = { nodeType: 11, host };
  const inside = page.text(page.element("p", {}, root));
  const frame = page.element("iframe", {}, masked);
  const document = { nodeType: 9, defaultView: { frameElement: frame } };
  const framed = page.text(page.element("p", {}, document));
  const foreign = { nodeType: 9, get defaultView() { throw new Error("another origin"); } };
  assert.deepEqual([inside, framed, page.text(foreign)].map(isMasked), [true, true, false]);
  assert.equal(isBlocked(page.text(page.element("p", {}, page.element("div", { [BLOCK]: "" })))), true);
});

test("values of passwords, codes, cards, hidden and masked fields stay, even when they are shown", () => {
  const page = new Page();
  const field = (type, attributes = {}, parent = null) => page.element("input", attributes, parent, { type });
  for (const secret of [
    field("password"), field("hidden"), field("text", { autocomplete: "section-a one-time-code" }),
    field("text", { autocomplete: "cc-csc" }), field("text", { "data-rr-is-password": "true" }),
    field("text", {}, page.element("label", { [MASK]: "" })),
  ]) assert.equal(isSecret(secret), true);
  for (const open of [field("text"), field("email", { autocomplete: "email" }), field("checkbox")]) assert.equal(isSecret(open), false);
  const shown = field("password");
  isSecret(shown);
  shown.type = "text";
  assert.equal(isSecret(shown), true);
});

test("a snapshot leaves without masked text, values, titles, code, comments and insides of what is blocked", () => {
  const page = new Page();
  const body = page.element("body");
  const masked = page.element("p", { [MASK]: "" }, body);
  const input = page.element("input", {}, masked, { type: "text" });
  const image = page.element("img", {}, masked);
  const blocked = page.element("div", { [BLOCK]: "" }, body);
  const noscript = page.element("noscript", {}, body);
  const link = page.element("a", {}, body);
  const node = element(body, { onload: "run()", class: "shop" }, [
    element(masked, { [MASK]: "", title: "SECRET", style: "color: red", onclick: "SECRET" }, [
      text(page.text(masked), "SECRET words"),
      element(input, { value: "SECRET", placeholder: "SECRET", type: "text" }),
      element(image, { src: "https://x/SECRET.png", alt: "SECRET", width: "10" }),
    ]),
    element(blocked, { class: "b", rr_width: "10px", rr_height: "5px" }, [text(page.text(blocked), "SECRET")]),
    element(noscript, {}, [text(page.text(noscript), "<b>SECRET</b>")]),
    element(link, { href: "https://shop.example/a?t=SECRET", srcdoc: "SECRET" }, [text(page.text(link), "Account")]),
    { type: 5, id: 99, textContent: "SECRET" },
  ]);
  const left = page.cleaner().clean({ type: 2, timestamp: 1, data: { node, initialOffset: { left: 0, top: 0 } } });
  assert.equal(JSON.stringify(left).includes("SECRET"), false, JSON.stringify(left));
  const [first, second] = left.data.node.childNodes;
  assert.equal(first.childNodes[0].textContent, "•••••• •••••");
  assert.deepEqual(first.attributes, { [MASK]: "", style: "color: red" });
  assert.deepEqual(first.childNodes[1].attributes, { value: "••••••••", type: "text" });
  assert.deepEqual([second.attributes.rr_width, second.childNodes], ["10px", []]);
  assert.deepEqual(left.data.node.attributes, { class: "shop" });
});

test("later changes are held to the same", () => {
  const page = new Page();
  const open = page.element("p");
  const masked = page.element("p", { [MASK]: "" });
  const blocked = page.element("p", { [BLOCK]: "" });
  const added = page.element("b", {}, masked);
  const inside = page.element("b", {}, blocked);
  const left = page.cleaner().clean(
    mutation({
      texts: [page.text(open), page.text(masked), page.text(blocked)].map(({ id }, n) => ({ id, value: n ? "SECRET" : "open" })),
      attributes: [{ id: masked.id, attributes: { title: "SECRET", class: "x" } }, { id: inside.id, attributes: { class: "SECRET" } }],
      adds: [
        { parentId: masked.id, nextId: null, node: element(added, {}, [text(page.text(added), "SECRET")]) },
        { parentId: blocked.id, nextId: null, node: element(inside, {}, [text(page.text(inside), "SECRET")]) },
      ],
    }),
  );
  assert.equal(JSON.stringify(left).includes("SECRET"), false, JSON.stringify(left));
  assert.deepEqual(left.data.texts.map(({ value }) => value), ["open", "••••••"]);
  assert.deepEqual(left.data.attributes, [{ id: masked.id, attributes: { class: "x" } }]);
  assert.equal(left.data.adds.length, 1);
  assert.equal(page.cleaner().clean(mutation({ texts: [{ id: page.text(blocked).id, value: "SECRET" }] })), null);
});

test("what is typed, chosen and pointed at in hidden places is not told", () => {
  const page = new Page();
  const masked = page.element("div", { [MASK]: "" });
  const open = page.element("input", {}, null, { type: "text" });
  const pin = page.element("input", {}, masked, { type: "checkbox" });
  const blocked = page.element("input", { [BLOCK]: "" }, null, { type: "text" });
  const cleaner = page.cleaner();
  const typed = (node, value) => cleaner.clean(change({ source: 5, id: node.id, text: value, isChecked: true }))?.data;
  assert.equal(typed(open, "Mara").text, "Mara");
  assert.deepEqual(typed(pin, "SECRET"), { source: 5, id: pin.id, text: "••••••••", isChecked: false });
  assert.equal(typed(blocked, "SECRET"), undefined);
  assert.equal(cleaner.clean(change({ source: 2, type: 2, id: pin.id, x: 5, y: 5 })), null);
  const moved = cleaner.clean(change({ source: 1, positions: [{ id: open.id, x: 1 }, { id: pin.id, x: 2 }] }));
  assert.deepEqual(moved.data.positions, [{ id: open.id, x: 1 }]);
  for (const source of [7, 9, 10, 11, 16]) assert.equal(cleaner.clean(change({ source, id: open.id })), null, `source ${source}`);
  for (const type of [0, 1, 5, 6]) assert.equal(cleaner.clean({ type, timestamp: 1, data: { tag: "x" } }), null, `type ${type}`);
});

test("what is hidden or shown anew wants a new snapshot", () => {
  const page = new Page();
  const node = page.element("p", { [MASK]: "" });
  let asked = 0;
  const cleaner = page.cleaner({ onStale: () => (asked += 1) });
  cleaner.clean(mutation({ attributes: [{ id: node.id, attributes: { [MASK]: "" } }] }));
  cleaner.clean(mutation({ attributes: [{ id: node.id, attributes: { [BLOCK]: null } }] }));
  cleaner.clean(mutation({ attributes: [{ id: node.id, attributes: { class: "a" } }] }));
  assert.equal(asked, 2);
});

test("the chosen option is told, unless the list is masked", () => {
  const page = new Page();
  const chosen = (attributes) => {
    const option = page.element("option", {}, page.element("select", attributes), { selected: true });
    return page.cleaner().clean(mutation({ adds: [{ parentId: option.parentNode.id, nextId: null, node: element(option) }] })).data.adds[0].node.attributes;
  };
  assert.deepEqual(chosen({}), { selected: true });
  assert.deepEqual(chosen({ [MASK]: "" }), {});
});
