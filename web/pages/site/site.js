// The demo shop's pages. Presence and screen share come from porchlight.js; visitor.js says who the visitor is.
import { readCart, setCount, totals } from "./cart.js";
import { price, PRODUCTS } from "./products.js";
import { CUSTOMERS, currentVisitor, signIn, startPresence } from "./visitor.js";

const PLACES = Object.freeze({ all: "All lamps", portable: "To carry", wall: "On the wall", garden: "In the garden" });

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);

/**
 * @param {string} tag @param {Record<string, string>} attributes @param {...(Node | string)} children
 * @returns {any}
 */
function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const illustration = (/** @type {string} */ id) => `/web/pages/site/${id}.svg`;
const productPage = (/** @type {string} */ id) => `/demo/site/product.html?id=${id}`;

/** @param {import("./products.js").Product} product */
function card(product) {
  const { id, name, line } = product;
  const image = make("img", { src: illustration(id), alt: "", width: "400", height: "300", loading: "lazy" });
  const cost = make("p", { class: "price" }, price(product.price));
  const text = make("div", {}, make("h3", {}, name), make("p", {}, line), cost);
  return make("li", {}, make("a", { class: "card lamp", href: productPage(id) }, image, text));
}

/** The grid, with filters that change the address without loading a page. */
function showProducts() {
  const grid = byId("products");
  const filters = byId("filters");
  const show = () => {
    const wanted = new URLSearchParams(location.search).get("place") ?? "all";
    filters.replaceChildren(
      ...Object.entries(PLACES).map(([place, label]) => {
        const button = make("button", { type: "button", "aria-pressed": String(place === wanted) }, label);
        button.onclick = () => {
          history.pushState(null, "", place === "all" ? "/demo/site" : `/demo/site?place=${place}`);
          document.title = `${label} · Lantern & Co.`;
          show();
        };
        return button;
      }),
    );
    grid.replaceChildren(...PRODUCTS.filter(({ place }) => wanted === "all" || place === wanted).map(card));
  };
  addEventListener("popstate", show);
  show();
}

/** @returns {Record<string, string>} what an agent may know of this page */
function showProduct() {
  const id = new URLSearchParams(location.search).get("id");
  const product = PRODUCTS.find((one) => one.id === id) ?? PRODUCTS[0];
  document.title = `${product.name} · Lantern & Co.`;
  byId("crumb").textContent = `/ ${product.name}`;
  const add = make("button", { type: "button", class: "button" }, "Add to cart");
  const added = make("span", { role: "status", class: "fine" });
  add.onclick = () => {
    setCount(product.id, (readCart()[product.id] ?? 0) + 1);
    added.textContent = "In your cart.";
    showCount();
  };
  const facts = make("dl", {});
  for (const [name, value] of product.facts) facts.append(make("dt", {}, name), make("dd", {}, value));
  const text = make(
    "div",
    {},
    make("h1", {}, product.name),
    make("p", { class: "lead" }, product.text),
    make("p", { class: "price" }, price(product.price)),
    make("p", { class: "buy" }, add, added),
    facts,
  );
  const image = make("img", { src: illustration(product.id), alt: product.line, width: "400", height: "300" });
  byId("product").replaceChildren(image, text);
  const others = PRODUCTS.filter(({ id }) => id !== product.id).sort((a) => (a.place === product.place ? -1 : 1));
  byId("others").replaceChildren(...others.slice(0, 3).map(card));
  return { product: product.id };
}

function showCart() {
  const list = make("ul", { class: "lines" });
  for (const [id, count] of Object.entries(readCart())) {
    const product = PRODUCTS.find((one) => one.id === id) ?? PRODUCTS[0];
    const label = `Pieces of ${product.name}`;
    const input = make("input", { type: "number", min: "0", max: "99", value: String(count), "aria-label": label });
    input.onchange = () => {
      setCount(id, Number(input.value));
      showCart();
      showCount();
    };
    const image = make("img", { src: illustration(id), alt: "", width: "96", height: "72" });
    const name = make("a", { href: productPage(id) }, product.name);
    const cost = make("span", { class: "price" }, price(count * product.price));
    list.append(make("li", {}, image, name, input, cost));
  }
  const { pieces, cents } = totals();
  byId("cart").replaceChildren(
    ...(pieces
      ? [list, make("p", { class: "total" }, make("span", {}, "Total, delivery included"), make("strong", {}, price(cents)))]
      : [make("p", { class: "empty" }, "Nothing here yet. ", make("a", { href: "/demo/site" }, "See the lamps"))]),
  );
  byId("checkout").onsubmit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    byId("placed").textContent = "Thank you. It would be on its way if this were a shop.";
  };
  startPresence({ cartPieces: pieces, cartEuro: cents / 100 });
}

function showCount() {
  const { pieces } = totals();
  for (const node of document.querySelectorAll("[data-cart-count]")) node.textContent = pieces ? String(pieces) : "";
}

function showWho() {
  const select = byId("who");
  const current = currentVisitor();
  const known = CUSTOMERS.some(({ id }) => id === current);
  select.append(make("option", { value: "" }, "Guest"));
  for (const { id, name } of CUSTOMERS) select.append(make("option", { value: id }, `${name} (${id})`));
  if (current && !known) select.append(make("option", { value: current }, current));
  select.value = current;
  select.onchange = () => signIn(select.value);
}

/** @param {any} porchlight */
function showPresence(porchlight) {
  const node = byId("presence");
  if (!porchlight) {
    node.textContent = "Porchlight’s script is not loaded.";
    return;
  }
  const show = () => {
    const { state, visitorId, code } = porchlight;
    node.dataset.state = state;
    const who = state === "online" ? ` as ${visitorId}${code ? `, code ${code}` : ""}` : "";
    node.textContent = `Porchlight: ${state}${who}`;
  };
  porchlight.on("state", show);
  show();
}

showWho();
showCount();
const data = { cartPieces: totals().pieces, ...(byId("product") ? showProduct() : {}) };
if (byId("products")) showProducts();
if (byId("cart")) showCart();
showPresence(startPresence(data));
