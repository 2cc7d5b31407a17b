// Session keys and invites as people handle them.
//
// Decides what of a paste counts, where the caret stands, and what in an address is an invite. Does not decide whether
// either leads anywhere (the server does).

/** Fewest and most digits that a session key may have. */
export const KEY_DIGITS = Object.freeze({ fewest: 4, most: 12 });

/** The digits of what was typed or pasted. @param {string} typed */
export function digitsOf(typed) {
  return typed.replace(/\D/g, "").slice(0, KEY_DIGITS.most);
}

/**
 * Where the caret stands in the grouped text so that as many digits are before it as were before.
 * @param {string} text @param {number} digits
 */
export function caretAfter(text, digits) {
  let at = 0;
  for (let seen = 0; at < text.length && seen < digits; at++) if (text[at] !== " ") seen += 1;
  return at;
}

/** Whose own page a path is, or none's. @param {string} path */
export function addressOf(path) {
  const [, address] = /^\/at\/([^/]+)\/?$/.exec(path) ?? [];
  try {
    return address ? decodeURIComponent(address) : null;
  } catch {
    return null;
  }
}

/** The invite in an address's fragment, or none. @param {string} hash */
export function inviteOf(hash) {
  const text = hash.replace(/^#/, "");
  return text || null;
}
