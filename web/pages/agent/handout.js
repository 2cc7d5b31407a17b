// What the agent of a View hands to a guest so that both meet in one session: a key to read out, a link to send.
//
// Decides how they are shown. Does not decide when the guest is there (`ready` does, console.js).

import { h, write } from "./dom.js";
import { icon } from "./icons.js";
import { spelled } from "./words.js";

/** @typedef {{ sessionId: string, sessionKey?: string, link?: string, address?: string }} Handout */

/**
 * @param {Handout} handout
 * @param {() => void} onEnd
 */
export function handoutPanel({ sessionKey, link, address }, onEnd) {
  const title = "Waiting for the guest";
  const text = "Read out the key, or send the link. The screen appears here as soon as they share it.";
  return h(
    "section",
    { class: "handout card", "data-test": "handout", "aria-label": title },
    h(
      "div",
      { class: "handout-text" },
      h("h3", {}, title),
      h("p", { class: "muted" }, text),
      address && h("p", { class: "muted" }, `Your address page: ${address}`),
    ),
    sessionKey && h("output", { class: "session-key mono", "data-test": "session-key" }, spelled(sessionKey)),
    h(
      "div",
      { class: "handout-actions" },
      link && copyButton(link),
      h("button", { class: "button small", type: "button", onclick: onEnd }, "End"),
    ),
  );
}

/** @param {string} link */
function copyButton(link) {
  const label = h("span", {}, "Copy link");
  const copy = () =>
    navigator.clipboard.writeText(link).then(
      () => write(label, "Copied"),
      () => write(label, link),
    );
  return h("button", { class: "button small", type: "button", onclick: copy }, icon("copy"), label);
}
