// What guests read on their page, in English, in one place.
//
// Decides the sentences: for people who have never heard of this product. Does not decide when they are shown.

import { fill } from "../../lib/shadow.js";

/** @import { ViewerState } from "../../view.js" */

export const DOOR = Object.freeze({
  invitedTitle: "You are invited to watch",
  invitedLead: "Somebody wants to show you their screen. It opens on this page, with nothing to install.",
  keyTitle: "Watch a screen",
  keyLead: "Type the session key that you were told.",
  key: "Session key",
  name: "Your name",
  email: "Email",
  optional: "optional",
  nameHelp: "So that they know who is watching.",
  watch: "Watch",
  asking: "One moment…",
  useKey: "I have a session key instead",
  promise: "You only watch: nothing of your own screen, camera or microphone is shared.",
  noKey: "Type the session key first.",
  shortKey: "A session key has at least {count} digits.",
  badEmail: "This email address does not look right.",
  again: "Open the link once more, or type the session key.",
  back: "You were away for too long to take your seat again. Open the link once more, or type the session key.",
});

export const WATCH = Object.freeze({
  someone: "Somebody",
  screen: "The screen that you are shown",
  shows: "{name} shows you their screen",
  you: "You are here as {name}",
  leave: "Leave",
  leaveHint: "Stop watching",
  fit: "Fit",
  actual: "Actual size",
  full: "Full screen",
  people: "{count} watching",
  again: "Come back",
  another: "Type a session key",
  endedTitle: "It is over",
  leftTitle: "You left",
  lostTitle: "The connection is lost",
});

/**
 * The pill, and what lies over the picture.
 * @type {Record<ViewerState, { pill: string, title?: string, text?: string }>}
 */
export const STATES = {
  idle: { pill: "Starting" },
  connecting: { pill: "Connecting", title: "Connecting", text: "Taking your seat." },
  waiting: {
    pill: "Waiting",
    title: "You are in",
    text: "{name} has not begun yet. The picture appears here by itself.",
  },
  live: { pill: "Live" },
  lagging: { pill: "Catching up" },
  paused: { pill: "Paused", title: "Paused", text: "{name} will go on in a moment." },
  reconnecting: { pill: "Reconnecting" },
  ended: { pill: "Ended" },
};

/** Who is away while it says "Reconnecting". */
export const RECONNECTING = Object.freeze({
  viewer: { title: "Your connection is lost", text: "Coming back. Nothing for you to do." },
  publisher: { title: "{name} lost the connection", text: "They have a minute to come back. Please wait here." },
});

/** @type {Record<string, string>} */
const END = {
  agent_ended: "{name} no longer shows the screen.",
  agent_left: "{name} has left.",
  operator_ended: "An operator has ended it.",
  expired: "Nobody came within the time allowed.",
  time_limit: "It has reached the longest time that it may take.",
  capture_denied: "{name} did not choose anything to show.",
  failed: "{name}’s screen could not be shown.",
  drained: "The server is being restarted. Ask for a new link.",
  left: "They may go on without you.",
  replaced: "You are watching in another window.",
};

/** What may be tried again from here, with its own heading. */
const LOST = new Set(["lost", "timeout", "too_slow", "overload", "rate_limited", "unauthorized"]);

/**
 * What is said of an end, and whether coming back may help.
 * @param {string} reason @param {string} name of who shows
 */
export function ending(reason, name) {
  if (reason === "left") return { title: WATCH.leftTitle, text: END.left, again: true };
  if (LOST.has(reason)) {
    return { title: WATCH.lostTitle, text: "Check your network, then come back.", again: true };
  }
  if (reason === "replaced") return { title: WATCH.leftTitle, text: END.replaced, again: true };
  return { title: WATCH.endedTitle, text: fill(END[reason] ?? "Nothing is shown here any more.", { name }), again: false };
}

/**
 * Why the door stays closed. One sentence for every key or link that leads nowhere: the server tells no more.
 * @param {{ code: string, message: string, retryAfterMs?: number }} error
 * @param {"key" | "invite"} way
 */
export function refusal({ code, message, retryAfterMs }, way) {
  switch (code) {
    case "not_found":
      return way === "invite"
        ? "This link leads nowhere any more: what it led to is over. Ask for a new one."
        : "No session has this key. Check the digits; if they are right, it is over.";
    case "rate_limited":
      return `Too many wrong tries. You can try again ${inTime(retryAfterMs)}.`;
    case "too_many":
      return "Everybody’s seat is taken. Ask whoever invited you, or try again in a while.";
    case "unavailable":
    case "overload":
      return "The server is busy right now. Try again in a moment.";
    case "unreachable":
      return "The server cannot be reached. Check your network, then try again.";
    default:
      return message;
  }
}

/** @param {number | undefined} ms */
function inTime(ms) {
  if (!ms) return "later";
  const minutes = Math.ceil(ms / 60_000);
  if (ms < 60_000) return `in ${Math.ceil(ms / 1000)} s`;
  return minutes === 1 ? "in a minute" : `in ${minutes} minutes`;
}
