// The frame of a page for admins: top bar with the way to the other pages, sections and the way between them.
//
// Decides which section the address names and shows it. Does not decide what a section holds (the page).

import { fill, h, set } from "../agent/dom.js";
import { icon, lantern } from "../agent/icons.js";
import { Toasts } from "../agent/toasts.js";

/** @import { IconName } from "../agent/icons.js" */

/** The group that has a console here: others have theirs in their CRM. */
const DEMO_GROUP = "demo";

/** @type {{ id: string, href: string, title: string, icon: IconName }[]} */
const PAGES = [
  { id: "console", href: "/demo/agent", title: "Console", icon: "lamp" },
  { id: "history", href: "/history", title: "History", icon: "history" },
  { id: "settings", href: "/settings", title: "Settings", icon: "settings" },
];

/**
 * A section of a page. Its address is `#id`, and `#id/rest` where it shows one of several things.
 * @typedef {object} Place
 * @property {string} id
 * @property {HTMLAnchorElement | null} link in the list of sections
 * @property {HTMLElement} element
 * @property {((rest: string) => boolean | void) | undefined} open called whenever it comes on screen; true: it is as it
 *   was left, and is shown where it was left
 * @property {string} under the section that is marked while this one is shown
 * @property {number} top where it was left
 */

/**
 * @typedef {object} FrameOptions
 * @property {"history" | "settings"} at which page this is
 * @property {string} title of the window, behind the section's
 * @property {{ name: string }} agent at the page
 * @property {string} group
 * @property {HTMLElement} theme
 * @property {() => void} onSignOut
 */

/** Top bar, sections, notices. */
export class Frame {
  #options;
  /** @type {Map<string, Place>} */
  #places = new Map();
  #nav = h("nav", { class: "sections", "aria-label": "Sections" });
  #content = h("main", { class: "content" });
  /** @type {Place | null} */
  #shown = null;
  toasts = new Toasts();
  element;

  /** @param {FrameOptions} options */
  constructor(options) {
    this.#options = options;
    this.element = h(
      "div",
      { class: "company" },
      topBar(options),
      h("div", { class: "company-body" }, this.#nav, this.#content),
      this.toasts.element,
    );
  }

  /**
   * Adds a section. One that is `under` another has no place in the list of sections.
   * @param {object} section
   * @param {string} section.id
   * @param {string} section.title
   * @param {IconName} [section.icon]
   * @param {string} [section.lead]
   * @param {string} [section.under]
   * @param {HTMLElement | false | null} [section.action] beside the title
   * @param {HTMLElement[]} section.content
   * @param {(rest: string) => boolean | void} [section.open]
   * @returns {Place}
   */
  add({ id, title, icon: iconName, lead, under = "", action, content, open }) {
    const link = under
      ? null
      : h("a", { href: `#${id}`, "data-test": `go-${id}` }, iconName && icon(iconName), h("span", {}, title));
    const heading = h("h1", { id: `title-${id}`, tabindex: -1 }, title);
    const element = h(
      "section",
      { class: "place", "aria-labelledby": heading.id, "data-test": `section-${id}`, hidden: true },
      !under &&
        h(
          "header",
          { class: "place-head" },
          h("div", {}, heading, lead && h("p", { class: "lead" }, lead)),
          action,
        ),
      ...content,
    );
    const place = { id, link, element, open, under: under || id, top: 0 };
    this.#places.set(id, place);
    if (link) this.#nav.append(link);
    this.#content.append(element);
    return place;
  }

  /** Follows the address from now on. */
  start() {
    history.scrollRestoration = "manual";
    addEventListener("hashchange", this.#onHash);
    this.#show();
  }

  close() {
    removeEventListener("hashchange", this.#onHash);
  }

  /** The section that the address names; the first one when it names none. */
  get current() {
    return this.#asked().place.id;
  }

  /** Names the window after what is on screen. @param {string} title */
  title(title) {
    document.title = `${title} · ${this.#options.title}`;
  }

  #asked() {
    const [, id, rest] = /** @type {RegExpExecArray} */ (/^#?([^/?]*)\/?(.*)$/.exec(location.hash));
    const place = this.#places.get(id);
    if (place) return { place, rest };
    return { place: /** @type {Place} */ (this.#places.values().next().value), rest: "" };
  }

  #show() {
    const { place, rest } = this.#asked();
    this.#shown = place;
    for (const one of this.#places.values()) {
      if (one.link) set(one.link, "aria-current", one.id === place.under ? "page" : null);
      set(one.element, "hidden", one !== place);
    }
    this.title(place.element.querySelector("h1")?.textContent ?? "");
    const kept = place.open?.(rest) === true;
    this.#places.get(place.under)?.link?.scrollIntoView({ block: "nearest", inline: "center" });
    return kept;
  }

  #onHash = () => {
    const left = this.#shown;
    if (left) left.top = scrollY;
    const kept = this.#show();
    const shown = /** @type {Place} */ (this.#shown);
    scrollTo(0, kept && shown !== left ? shown.top : 0);
    if (!kept) shown.element.querySelector("h1")?.focus({ preventScroll: true });
  };
}

/** @param {FrameOptions} options */
function topBar({ at, agent, group, theme, onSignOut }) {
  const pages = PAGES.filter(({ id }) => id !== "console" || group === DEMO_GROUP).map(
    ({ id, href, title, icon: iconName }) =>
      h(
        "a",
        { href, "data-test": `page-${id}`, "aria-current": id === at ? "page" : null, "aria-label": title },
        icon(iconName),
        h("span", {}, title),
      ),
  );
  const logo = h("div", { class: "logo", "data-light": "lit" });
  fill(logo, lantern(), h("span", {}, "Porchlight"));
  return h(
    "header",
    { class: "top" },
    logo,
    h("nav", { class: "pages", "aria-label": "Pages" }, ...pages),
    h("div", { class: "spacer" }),
    h("span", { class: "chip", "data-test": "group" }, group),
    h("span", { class: "agent truncate", "data-test": "agent-name" }, agent.name),
    theme,
    h(
      "button",
      {
        class: "button quiet",
        type: "button",
        "data-test": "sign-out",
        "aria-label": "Sign out",
        onclick: onSignOut,
      },
      icon("signOut"),
      h("span", { class: "wide-only" }, "Sign out"),
    ),
  );
}
