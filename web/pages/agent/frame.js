// What surrounds the console's panels: ways to other pages, the panes of a narrow screen, the first words.
//
// Decides what they look like. Does not decide who is shown a way, nor which pane is in sight (console.js).

import { h } from "./dom.js";
import { icon, lantern } from "./icons.js";

/** The three panes a narrow screen shows one at a time. @typedef {"visitors" | "record" | "session"} Pane */

/** @param {(pane: Pane) => void} onPane */
export function narrowNav(onPane) {
  /** @type {[Pane, import("./icons.js").IconName, string][]} */
  const panes = [
    ["visitors", "people", "Visitors"],
    ["record", "record", "Record"],
    ["session", "screen", "Screen"],
  ];
  return h(
    "nav",
    { class: "narrow-nav", "aria-label": "Panes" },
    ...panes.map(([pane, iconName, label]) =>
      h(
        "button",
        { type: "button", "data-pane": pane, "aria-pressed": String(pane === "visitors"), onclick: () => onPane(pane) },
        icon(iconName),
        label,
      ),
    ),
  );
}

/** The way to a page for admins. @param {string} href @param {import("./icons.js").IconName} name @param {string} title @param {string} label */
export function adminLink(href, name, title, label) {
  return h(
    "a",
    {
      class: "button quiet",
      href,
      target: "_blank",
      rel: "opener",
      hidden: true,
      "data-test": `${name}-link`,
      "aria-label": title,
    },
    icon(name),
    h("span", { class: "wide-only" }, label),
  );
}

/** What a new agent reads before any record is open. */
export function welcome() {
  const site = h("a", { href: "/demo/site?visitor=C-1001", target: "_blank", rel: "noopener" }, "demo site as C-1001");
  return h(
    "section",
    { class: "welcome card", "data-light": "lit", "aria-label": "How it works" },
    lantern(),
    h(
      "div",
      {},
      h("h2", {}, "Open a customer’s record"),
      h("p", {}, "Its porch light tells you whether they are on your site at this moment."),
      h(
        "ol",
        {},
        h("li", {}, h("span", {}, "Somebody visits: try the ", site, ".")),
        h("li", {}, "Pick them from the list, or open a record that carries their visitor ID."),
        h("li", {}, "The light is on: press Join, and they are asked to share their screen."),
      ),
    ),
  );
}

/** The way to a session's record, in a tab of its own. @param {string} sessionId */
export function recordLink(sessionId) {
  return h(
    "a",
    {
      class: "button quiet small",
      href: `/history#session/${sessionId}`,
      target: "_blank",
      rel: "opener",
      title: "The session's record",
      "data-test": "session-record",
    },
    icon("history"),
    "Record",
  );
}
