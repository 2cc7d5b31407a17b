// The shop's range. Prices in cents.

/**
 * @typedef {object} Product
 * @property {string} id also the name of its illustration
 * @property {string} name
 * @property {"portable" | "wall" | "garden"} place
 * @property {number} price
 * @property {string} line one line for the grid
 * @property {string} text
 * @property {[string, string][]} facts
 */

/** @type {readonly Product[]} */
export const PRODUCTS = Object.freeze([
  {
    id: "harbour",
    name: "Harbour",
    place: "portable",
    price: 8900,
    line: "Hand lantern, brass and glass",
    text: "The lantern that started it. A brass frame, four panes that slide out for cleaning, and a warm flame that is not one.",
    facts: [["Light", "320 lm, 2,200 K"], ["Runs for", "18 hours"], ["Made of", "brass, glass"], ["Sealed", "IP44"]],
  },
  {
    id: "gable",
    name: "Gable",
    place: "wall",
    price: 12900,
    line: "Wall lamp with a dusk sensor",
    text: "Beside the door, on from dusk to dawn at a tenth of its light, and fully on when somebody comes up the path.",
    facts: [["Light", "600 lm, 2,700 K"], ["Power", "230 V"], ["Made of", "powder-coated steel"], ["Sealed", "IP65"]],
  },
  {
    id: "meadow",
    name: "Meadow",
    place: "garden",
    price: 15900,
    line: "Path lights, a set of three",
    text: "Low enough to light the path and leave the sky dark. Charges by day; a grey week is no reason to go out.",
    facts: [["Light", "3 × 120 lm, 2,700 K"], ["Power", "solar, replaceable cell"], ["Made of", "steel"], ["Sealed", "IP65"]],
  },
  {
    id: "festoon",
    name: "Festoon",
    place: "garden",
    price: 7400,
    line: "Ten bulbs on a rubber cable",
    text: "Ten metres, ten bulbs, and a cable that forgives a winter on the tree. Bulbs screw out; spares come in the box.",
    facts: [["Light", "10 × 40 lm, 2,200 K"], ["Power", "24 V"], ["Made of", "rubber, glass"], ["Sealed", "IP54"]],
  },
  {
    id: "avenue",
    name: "Avenue",
    place: "garden",
    price: 34900,
    line: "Post lamp, 2.40 m",
    text: "A street lamp for a street of one. The head opens with two screws, and the lamp inside is a standard one.",
    facts: [["Light", "1,100 lm, 2,700 K"], ["Power", "230 V"], ["Made of", "galvanised steel, glass"], ["Sealed", "IP65"]],
  },
  {
    id: "picnic",
    name: "Picnic",
    place: "portable",
    price: 5900,
    line: "Rechargeable table lamp",
    text: "Small enough for the basket, steady enough for the blanket. Three steps of light and a foot that finds its level.",
    facts: [["Light", "180 lm, 2,200 K"], ["Runs for", "9 hours at half light"], ["Made of", "aluminium"], ["Sealed", "IP44"]],
  },
]);

/** @param {number} cents */
export function price(cents) {
  return new Intl.NumberFormat("en-IE", { style: "currency", currency: "EUR" }).format(cents / 100);
}
