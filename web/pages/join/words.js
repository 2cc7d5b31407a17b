// What guests read on their page, in English, in one place.
//
// Decides the sentences: for people who have never heard of this product. Does not decide when they are shown.

import { fill } from "../../lib/shadow.js";

/** @import { ViewerState } from "../../view/events.js" */

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
  enter: "Go on",
  openPromise: "Nothing of your own screen is shared before you were asked and said yes.",
  shareTitle: "{name} would like to see your screen",
  someone: "Somebody",
  shareLead: "Type the session code that you were told. What is shared, and with whom, you are asked next.",
  shareInvited: "It opens on this page, with nothing to install. What is shared, and with whom, you are asked next.",
  declined: "You did not accept, and nothing was shared.",
  phone:
    "This device cannot share its screen: browsers on phones and tablets have no way to. Open this page on a computer, or tell whoever asked you.",
  noKey: "Type the session key first.",
  shortKey: "A session key has at least {count} digits.",
  badEmail: "This email address does not look right.",
  again: "Open the link once more, or type the session key.",
  back: "You were away for too long to take your seat again. Open the link once more, or type the session key.",
});

/**
 * What the form says: of a link or a key, to watch or to share.
 * @param {{ invite: string | null, shares?: boolean, agent?: string | null }} door
 */
export function doorWords({ invite, shares, agent }) {
  if (shares) {
    return {
      title: fill(DOOR.shareTitle, { name: agent || DOOR.someone }),
      lead: invite ? DOOR.shareInvited : DOOR.shareLead,
      promise: DOOR.openPromise,
      verb: DOOR.enter,
    };
  }
  if (invite) return { title: DOOR.invitedTitle, lead: DOOR.invitedLead, promise: DOOR.promise, verb: DOOR.watch };
  return { title: DOOR.keyTitle, lead: DOOR.keyLead, promise: DOOR.openPromise, verb: DOOR.watch };
}

/** A guest shows its own screen. */
export const SHARE = Object.freeze({
  title: "You share your screen",
  nobody: "Nobody is looking at the moment.",
  seenBy: "{names} can see it.",
  stay: "Keep this page open. You may use other windows and programs meanwhile.",
  pause: "Pause",
  resume: "Go on",
  stop: "Stop sharing",
  again: "Type the session code",
  overTitle: "Your screen is no longer shared",
  /** @type {Record<string, string>} */
  states: Object.freeze({
    choosing: "Choosing",
    sharing: "Sharing",
    paused: "Paused",
    reconnecting: "Reconnecting",
    ended: "Ended",
  }),
  /** @type {Record<string, string>} */
  hints: Object.freeze({
    choosing: "Nothing is shared yet. Your browser asks which screen may be seen.",
    paused: "Nothing of your screen can be seen until you go on.",
    reconnecting: "The connection is lost. It comes back by itself.",
  }),
  /** @type {Record<string, string>} */
  why: Object.freeze({
    guest_ended: "You have stopped it.",
    capture_denied: "You chose nothing to share.",
    agent_ended: "{agent} has ended the session.",
    operator_ended: "An operator has ended the session.",
    time_limit: "It has reached the longest time that it may take.",
    expired: "Nobody looked within the time allowed.",
    failed: "Your screen could not be captured, or the session was over.",
    ended: "The session is over, or the connection was lost for too long. The session code may still work.",
    drained: "The server is being restarted. Ask for a new code.",
  }),
});

/** What the picker's dialog (terms.js) says to a guest. */
export const SHARE_DIALOG = Object.freeze({
  chooseText: "Your browser asks which screen {agent} may see. Choose the entire screen.",
  continueText: "You shared your screen with {agent} before this page was loaded again. Nothing is shared until you continue.",
  againText: "No screen was chosen. You can choose again, or leave it.",
  unsupportedTitle: "This browser can’t share its screen",
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
    case "terms_changed":
    case "request_over":
      return "What you were asked has changed meanwhile. Please go on once more.";
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
