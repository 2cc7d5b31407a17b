// A consent receipt: what it attests, and whether its signature is good.
//
// Decides how its line is read (docs/receipts.md) and checked. Does not decide whether the chain is whole: that takes
// all of it, and `porchlight verify-receipts`.

/** @import { ReceiptKey } from "../../lib/past.js" */

/**
 * What was consented to.
 * @typedef {object} Consent
 * @property {string} id
 * @property {string} group
 * @property {string} session
 * @property {string} request
 * @property {string} [visitor] who, where it was a visitor
 * @property {{ participant: string, name: string }} [guest] who, where it was a guest
 * @property {string} connection
 * @property {string} askedBy
 * @property {string[]} agents
 * @property {string} kind
 * @property {boolean} control
 * @property {string | null} termsVersion
 * @property {string} termsHash
 * @property {string | null} displayedAt
 * @property {string} acceptedAt
 */

/** @typedef {{ number: number, previous: string, key: string, consent: Consent, signature: string, signed: string }} Receipt */

/** From the comma before the signature to the end: `,"signature":"` + 86 characters + `"}`. */
const TAIL = 102;

/** `good`, `bad`, or that this browser cannot tell. @typedef {"good" | "bad" | "unchecked"} Verdict */

/** @param {string} line @returns {Receipt | null} null when it is none */
export function readReceipt(line) {
  try {
    const { receipt, signature } = JSON.parse(line);
    if (!receipt?.consent || typeof signature !== "string") return null;
    const { number, previous, key, consent } = receipt;
    return { number, previous, key, consent, signature, signed: line.slice(0, -TAIL) };
  } catch {
    return null;
  }
}

/**
 * Whether the line is signed with the group's key, by the browser's own Ed25519.
 * @param {string} line @param {ReceiptKey} key
 * @returns {Promise<Verdict>}
 */
export async function checkReceipt(line, key) {
  const receipt = readReceipt(line);
  if (!receipt || !line.slice(-TAIL).startsWith(',"signature":"')) return "bad";
  // Another key signed, before the master secret was changed: that is no forgery, and not ours to judge.
  if (receipt.key !== key.keyId) return "unchecked";
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) return "unchecked"; // a page in clear beyond loopback
  let verifier;
  try {
    verifier = await subtle.importKey("raw", bytes(key.publicKey), { name: "Ed25519" }, false, ["verify"]);
  } catch {
    return "unchecked"; // an older browser
  }
  const message = new TextEncoder().encode(receipt.signed);
  const good = await subtle.verify({ name: "Ed25519" }, verifier, bytes(receipt.signature), message);
  return good ? "good" : "bad";
}

/** @param {string} text base64url without padding @returns {Uint8Array<ArrayBuffer>} */
function bytes(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (one) => one.charCodeAt(0));
}
