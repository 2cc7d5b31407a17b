// Addresses that an agent hands to people.
//
// Decides their form. Does not decide where they lead (the server does).

/** A link that can be sent: a server that does not know its own address answers without one. @param {string} link @param {string} origin */
export function linkOf(link, origin) {
  return new URL(link, origin).href;
}

/** Where a key is typed, as it is said on the phone: without scheme, and without the invite. @param {string | undefined} link @param {string} origin */
export function joinAddress(link, origin) {
  const { host, pathname } = new URL(link ?? "/join", origin);
  return host + pathname;
}
