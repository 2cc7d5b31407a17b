// Who the demo shop takes its visitor for, and the start of the presence script with it.
//
// A real shop knows from its own sign-in; here `?visitor=C-1001` or the selector in the header decides.

const STORAGE_KEY = "lantern.visitor";

/** The demo's customers; any other ID works by `?visitor=`. */
export const CUSTOMERS = Object.freeze([
  { id: "C-1001", name: "Mara Lindqvist" },
  { id: "C-1002", name: "Jonas Weber" },
  { id: "C-1003", name: "Amara Okafor" },
]);

/** @returns {any} the API of porchlight.js; undefined when the script is blocked */
const porchlight = () => /** @type {any} */ (window).Porchlight;

/** Visitor ID of whoever is signed in; empty for a guest. */
export function currentVisitor() {
  const asked = new URLSearchParams(location.search).get("visitor");
  if (asked !== null) localStorage.setItem(STORAGE_KEY, asked);
  return localStorage.getItem(STORAGE_KEY) ?? "";
}

/** @param {string} visitorId */
export function signIn(visitorId) {
  localStorage.setItem(STORAGE_KEY, visitorId);
  startPresence();
}

/**
 * Starts or restarts the presence script. `?capture=tab` (kept for this tab) makes the picker prefer this tab.
 * @param {Record<string, string | number | boolean>} [data] what an agent may know of the visit
 */
export function startPresence(data = {}) {
  const query = new URLSearchParams(location.search);
  const capture = query.get("capture") ?? sessionStorage.getItem("lantern.capture");
  if (capture) sessionStorage.setItem("lantern.capture", capture);
  const visitorId = currentVisitor() || undefined;
  porchlight()?.start({ group: query.get("group") ?? "demo", visitorId, data, capture: capture === "tab" ? "tab" : undefined });
  return porchlight();
}
