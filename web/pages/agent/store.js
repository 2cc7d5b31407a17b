// What this tab remembers of a sign-in, so that a reload does not ask again.
//
// Decides where the token is kept: in the tab's session storage, never in a cookie or an address, gone with the tab.
// Does not decide whether it is still good (the server does).

const KEY = "porchlight.agent";

/** @typedef {{ group: string, token: string, expiresAt: string }} Kept */

/** @returns {Kept | null} */
export function keptSignIn() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    return kept && Date.parse(kept.expiresAt) > Date.now() ? kept : null;
  } catch {
    return null;
  }
}

/** @param {Kept} kept */
export function keepSignIn(kept) {
  sessionStorage.setItem(KEY, JSON.stringify(kept));
}

export function forgetSignIn() {
  sessionStorage.removeItem(KEY);
}
