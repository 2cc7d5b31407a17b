// What a guest has to do on its device before its screen can be seen or controlled, in words (protocol, section 6).
//
// Decides the sentences: for the guest in the words of its own system, for the agent as what the guest is at. Does not
// decide which step it is: the server does, from what the device tells.

/**
 * One thing that a guest has to do. The server may know more of them than this page.
 * @typedef {"download" | "open" | "allow_screen_recording" | "choose_later" | "reenter" | "allow" | "allow_accessibility"} Step
 */

/** @type {Record<Step, string>} */
const AGENT = {
  download: "The guest downloads the app",
  open: "The guest opens the app",
  allow_screen_recording: "The guest allows Screen Recording",
  choose_later: "The guest is asked to quit the app, and should choose Later",
  reenter: "The guest has to come in again by the same link or code",
  allow: "The guest has to accept once more",
  allow_accessibility: "The guest allows Accessibility, so that you can control",
};

/** Where most systems ask nothing. @type {Record<Step, string>} */
const GUEST = {
  download: "Download the app.",
  open: "Open the app.",
  allow_screen_recording: "Allow it to see the screen.",
  choose_later: "Do not quit it yet.",
  reenter: "Start it anew, and come in again by the same link or code.",
  allow: "Accept once more.",
  allow_accessibility: "Allow it to move the pointer and to type.",
};

/** @type {Partial<Record<Step, string>>} */
const MAC = {
  open: "Open the app. macOS asks whether to open what came from the internet: choose Open.",
  allow_screen_recording: "Open System Settings › Privacy & Security › Screen Recording, and switch it on there.",
  choose_later: "macOS offers to quit it now or later: choose Later.",
  allow_accessibility: "Open System Settings › Privacy & Security › Accessibility, and switch it on there.",
};

/** @param {unknown} step @returns {step is Step} */
function isKnown(step) {
  return typeof step === "string" && Object.hasOwn(AGENT, step);
}

/** Whether this computer is a Mac: what the browser calls it. @param {string} [platform] */
export function isMac(platform = globalThis.navigator?.platform ?? "") {
  return /^mac/i.test(platform);
}

/**
 * The steps that are left, for the guest who has to do them; steps of a newer server are left out.
 * @param {readonly unknown[] | undefined} steps @param {{ mac?: boolean }} [device]
 * @returns {string[]}
 */
export function forGuest(steps, { mac = false } = {}) {
  return (steps ?? []).filter(isKnown).map((step) => (mac && MAC[step]) || GUEST[step]);
}

/**
 * What the guest is at, for the agent who waits; empty when nothing is left to do.
 * @param {readonly unknown[] | undefined} steps
 */
export function forAgent(steps) {
  const step = steps?.find(isKnown);
  return step ? AGENT[step] : "";
}

/**
 * Whether it was the system that did not let the browser see the screen, and not the person.
 * @param {unknown} error of getDisplayMedia @param {{ mac?: boolean }} [device]
 */
export function isSystemRefusal(error, { mac = isMac() } = {}) {
  const { name, message } = /** @type {{ name?: string, message?: string }} */ (error ?? {});
  return mac && name === "NotAllowedError" && /by system/i.test(message ?? "");
}
