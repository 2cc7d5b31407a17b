// The cart: what and how many, kept in localStorage.
import { PRODUCTS } from "./products.js";

const STORAGE_KEY = "lantern.cart";

/** @returns {Record<string, number>} pieces by product id */
export function readCart() {
  try {
    const cart = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "{}");
    return Object.fromEntries(Object.entries(cart).filter(([id, n]) => PRODUCTS.some((p) => p.id === id) && Number(n) > 0));
  } catch {
    // Somebody else's value under our key: an empty cart is the best guess.
    return {};
  }
}

/** @param {string} id @param {number} count */
export function setCount(id, count) {
  const cart = { ...readCart(), [id]: Math.max(0, count) };
  if (!cart[id]) delete cart[id];
  localStorage.setItem(STORAGE_KEY, JSON.stringify(cart));
}

/** Pieces and cents. */
export function totals() {
  let pieces = 0;
  let cents = 0;
  for (const [id, count] of Object.entries(readCart())) {
    pieces += count;
    cents += count * (PRODUCTS.find((product) => product.id === id)?.price ?? 0);
  }
  return { pieces, cents };
}
