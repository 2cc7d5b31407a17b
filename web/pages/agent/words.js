// What states, reasons and times are called in front of people.
//
// Decides the sentences. Does not decide when they are shown; where the server sent a message of its own, that one is
// shown instead.

/** @import { Light, PresenceState, RequestState, Visitor } from "../../lib/wire.js" */

/** @type {Record<PresenceState, string>} */
export const PRESENCE = {
  present: "On the site",
  hidden: "In a background tab",
  absent: "Not on the site",
  unknown: "Not known right now",
};

/** What the porch light says. @type {Record<Light, string>} */
export const LIGHT = {
  lit: "is on the site now",
  dim: "may be away",
  dark: "is not on the site",
  in_session: "is in a session",
};

/** @type {Record<RequestState, string>} */
export const REQUEST = {
  offered: "Asking the visitor",
  displayed: "The visitor sees the question",
  accepted: "Accepted",
  connecting: "Connecting to the visitor’s screen",
  active: "Connected",
  ended: "The session has ended",
  declined: "The visitor declined",
  cancelled: "Request taken back",
  expired: "The visitor did not answer in time",
  visitor_gone: "The visitor left before answering",
  failed: "The request failed",
};

/** @type {Record<string, string>} */
const END = {
  guest_ended: "The guest ended the session.",
  agent_ended: "An agent ended the session.",
  agent_left: "The agent whose screen it was left.",
  operator_ended: "An operator ended the session.",
  guest_left: "The guest left.",
  expired: "Nobody came within the time allowed.",
  time_limit: "The session reached its longest duration.",
  capture_denied: "No screen was chosen.",
  failed: "The session failed.",
  drained: "The server is being restarted.",
  left: "You left the session.",
  lost: "The connection was lost for too long.",
  timeout: "The connection was lost for too long.",
  unauthorized: "This seat in the session is no longer valid.",
  not_found: "The session is over.",
  replaced: "This session was opened in another window.",
  ended: "The session is over.",
};

/** Why the guest's side holds back what an agent in control does. @type {Record<import("../../lib/wire.js").HeldReason, string>} */
export const HELD = {
  own_input: "The visitor is using the page",
  hidden: "Hidden from you: only the visitor fills this in",
  list: "Lists do not open for you: choose with the arrow keys",
  file: "Only the visitor can choose files",
  frame: "A page of another site: only the visitor can use it",
};

/** Of a guest whose whole computer is shown. */
export const USES_COMPUTER = "The guest is using the computer";

/** What control in a visitor's browser cannot do, in short and in whole. */
export const CONTROL_LIMITS = Object.freeze({
  short: "This page only",
  whole:
    "Control reaches this page of the visitor’s browser, and no other window. Lists do not open (the arrow keys change them), files cannot be chosen, pages of other sites in frames are out of reach, and so is what a browser does on a person’s own click only. Passwords and whatever is hidden from you are the visitor’s.",
});

/** A page that was loaded again, or opened again with its browser, too late for its session. */
export const BACK = Object.freeze({
  title: "You are not in the session any more",
  tooLate: "It is over, or you were away for more than a minute. If it still runs, join it again.",
});

/** @param {string} reason */
export function endReason(reason) {
  return END[reason] ?? `The session is over (${reason.replaceAll("_", " ")}).`;
}

/** @type {Record<string, string>} */
const SIGNED_OUT = {
  unauthorized: "Your sign-in has expired. Sign in again to go on.",
  forbidden: "This page may not be used for this group.",
  ended: "The group was closed or presence was switched off.",
  replaced: "You were signed in elsewhere.",
  not_found: "The group was not found.",
};

/** @param {string} expiresAt RFC 3339 */
export function signInEnds(expiresAt) {
  const time = new Date(expiresAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return `Your sign-in ends at ${time} and cannot be renewed. What is open stays open until then.`;
}

/** @param {{ name: string, message: string }} reason */
export function signedOutReason({ name, message }) {
  return SIGNED_OUT[name] ?? `You were signed out: ${message}`;
}

/**
 * A duration as people say it: "now", "40 s", "12 min", "3 h", "2 d".
 * @param {number} ms
 */
export function duration(ms) {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 5) return "now";
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** The page of a visitor: title, and address without its origin. @param {Visitor} visitor */
export function pageOf(visitor) {
  const { title, url } = visitor.focused?.page ?? {};
  let path = url ?? "";
  try {
    const parsed = new URL(path);
    path = parsed.pathname + parsed.search;
  } catch {
    // Not an absolute address: shown as it came.
  }
  return { title: title || path || "No page", path: title ? path : "" };
}

/** Platform and language of a visitor, as far as known. @param {Visitor} visitor */
export function clientOf(visitor) {
  const { platform, language } = visitor.focused?.client ?? {};
  return [platform, language].filter(Boolean).join(" · ");
}

/** A unique code in groups of three, easier to read out. @param {string} code */
export function spelled(code) {
  return code.replace(/(\d{3})(?=\d)/g, "$1 ");
}

/** Two letters for a name. @param {string} name */
export function initials(name) {
  const words = name.split(/[\s._-]+/).filter(Boolean);
  return ((words[0]?.[0] ?? "?") + (words.length > 1 ? words[words.length - 1][0] : "")).toUpperCase();
}

/** An agent shows its own screen. */
export const INVITE = Object.freeze({
  title: "Invite a colleague",
  button: "Invite",
  hint: "Invite a colleague; you may leave when they are here",
  who: "Colleague’s agent ID",
  whoHelp: "As the company’s settings name them, under Users",
  make: "Make a link",
  link: "Link for the colleague",
  linkHelp: "Send it to {who}, who signs in and joins. Leave when they are here: the session goes on.",
  unknown: "Nobody here has this ID.",
  failed: "The colleague was not invited",
  copy: "Copy",
  copied: "Copied",
});

export const SHOW = Object.freeze({
  title: "You show your screen",
  button: "Show screen",
  hint: "Show your screen to guests",
  key: "Session key",
  keyHelp: "To read out. Guests type it at {where}",
  link: "Link",
  linkHelp: "To send. It opens on any phone or computer and ends with this session.",
  copy: "Copy",
  copied: "Copied",
  watching: "Watching",
  nobody: "Nobody yet. Read out the key, or send the link.",
  away: "reconnecting",
  pause: "Pause",
  resume: "Go on",
  end: "End",
  endHint: "End it for everyone",
  joined: "{name} is watching",
  left: "{name} has left",
  ended: "Your screen is no longer shown",
  failed: "Your screen can’t be shown",
  unsupported: "This browser can’t show its screen",
  camera: "Camera",
  /** @type {Record<string, string>} */
  states: Object.freeze({
    choosing: "Choosing",
    sharing: "On air",
    paused: "Paused",
    reconnecting: "Reconnecting",
  }),
});

/** What the picker's dialog (terms.js) says to an agent who shows. */
export const SHOW_DIALOG = Object.freeze({
  chooseTitle: "Choose what to show",
  chooseText: "Your browser asks which tab, window or screen your guests may see.",
  choose: "Choose",
  chooseNot: "Show nothing",
  continueTitle: "Go on showing your screen?",
  continueText: "You showed it before this page was loaded again. Nothing is shown until you go on; guests wait for a minute.",
  continue: "Go on",
  continueNot: "End it",
  againTitle: "Nothing is shown yet",
  againText: "No tab, window or screen was chosen. You can choose again, or leave it.",
  unsupportedTitle: "This browser can’t show its screen",
  ended: "Your screen is no longer shown.",
});

/** An agent waits for a guest's screen. */
export const VIEW = Object.freeze({
  title: "You see a guest’s screen",
  button: "View guest",
  hint: "See a guest’s whole screen",
  key: "Session code",
  keyHelp: "To read out. The guest types it at",
  link: "Link",
  linkHelp: "To send. Code and link work again if the guest has to start over, until the session ends.",
  copy: "Copy",
  copied: "Copied",
  end: "End",
  endHint: "End it, or stop waiting",
  failed: "You cannot wait for a guest",
  notEnded: "The session could not be ended",
  over: "No guest’s screen came",
  /** @type {Record<string, string>} */
  why: Object.freeze({
    declined: "The guest did not accept.",
    expired: "Nobody came within the time allowed.",
    failed: "It could not go on.",
    ended: "It is over.",
  }),
});

/** A session that opens elsewhere. */
export const HANDOVER = Object.freeze({
  tab: Object.freeze({
    title: "This session opens in a tab of its own",
    text: "If your browser kept the tab from opening, open it yourself.",
    open: "Go to the tab",
    here: "Show it here instead",
  }),
  client: Object.freeze({
    title: "This session opens in your client",
    text: "Your browser may ask first. If nothing happens, the client may not be installed on this computer.",
    open: "Open the client again",
    here: "Open in this browser instead",
  }),
  end: "End",
  failed: "The session could not be opened",
  notEnded: "The session could not be ended",
});

/** @type {Record<string, string>} */
const VIEW_STATES = {
  none: "",
  offered: "Waiting for the guest",
  displayed: "The guest reads the terms",
  accepted: "Accepted",
  connecting: "The guest chooses what to share",
  active: "The guest is here",
};

/** How far a View is, as its card says it. @param {string} state @param {boolean} away */
export function viewState(state, away) {
  if (state === "active" && away) return { name: "reconnecting", label: "The guest reconnects" };
  return { name: state === "offered" ? "waiting" : state, label: VIEW_STATES[state] ?? "" };
}

/** @type {Record<string, string>} */
const SHOW_END = {
  agent_ended: "",
  capture_denied: "You chose nothing to show.",
  expired: "Nobody came within the time allowed.",
  failed: "The screen could not be captured, or the session was over.",
  ended: "The connection was lost for too long.",
};

/** Why a Show is over, and whether the agent has done it. @param {string} reason */
export function showEnd(reason) {
  const own = reason === "agent_ended" || reason === "capture_denied";
  return { text: SHOW_END[reason] ?? endReason(reason), own };
}
