// What this tab remembers of a seat, so that a reload or a discarded tab continues.
//
// Decides that it is the resume token and what stands beside the picture, kept only while the page is away: in a page
// that is there a duplicated tab would find it and take the seat. Key and invite are never kept. Does not decide
// whether the token is still good (the server does).

const KEY = "porchlight.guest";

/** @typedef {{ resumeToken: string, title?: string, name?: string }} Seat */

/** @param {Seat} seat */
export function keepSeat(seat) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(seat));
  } catch {
    // Blocked storage: a reload asks again, and all else works.
  }
}

/** Takes the seat out, for whoever looks first. @returns {Seat | null} */
export function takeSeat() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    sessionStorage.removeItem(KEY);
    return typeof kept?.resumeToken === "string" ? kept : null;
  } catch {
    return null;
  }
}
