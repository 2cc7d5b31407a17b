// The frame of the page: top bar, sections and the way between them.
//
// Decides which section is shown and that nobody leaves with unsaved changes by accident. Does not decide what a
// section holds (fields.js and the panels).

import { h, set } from "../agent/dom.js";
import { icon, lantern } from "../agent/icons.js";
import { Toasts } from "../agent/toasts.js";
import { SECTIONS } from "./fields.js";
import { SectionForm } from "./form.js";
import { HistoryPanel } from "./history.js";
import { KeysPanel } from "./keys.js";
import { UsersPanel } from "./users.js";

/** @import { Company } from "./company.js" */

/** @typedef {{ link: HTMLAnchorElement, element: HTMLElement, form: SectionForm | null, open?: () => void }} Place */

/** The page of an admin. */
export class SettingsPage {
  #company;
  #toasts = new Toasts();
  /** @type {Map<string, Place>} */
  #places = new Map();
  element;

  /**
   * @param {object} options
   * @param {Company} options.company
   * @param {{ id: string, name: string }} options.agent at the page
   * @param {string} options.group
   * @param {HTMLElement} options.theme
   * @param {() => void} options.onSignOut
   */
  constructor({ company, agent, group, theme, onSignOut }) {
    this.#company = company;
    const onDone = (/** @type {string} */ title, /** @type {string} */ text = "") => this.#toasts.show(title, { text });
    const onError = (/** @type {string} */ title, /** @type {unknown} */ error) => this.#toasts.error(title, error);
    const keys = new KeysPanel({ company, onDone });
    const users = new UsersPanel({ company, onDone, onError });
    for (const section of SECTIONS) {
      const form = new SectionForm({
        section,
        company,
        me: agent.id,
        onDone,
        onDirty: (dirty) => set(this.#place(section.id).link, "data-dirty", dirty || null),
      });
      const more = { sso: [form.form, keys.element], users: [users.element, form.form, users.agents] }[section.id];
      this.#add(section, form, more ?? [form.form]);
    }
    /** @type {import("../agent/icons.js").IconName} */
    const historyIcon = "history";
    const history = new HistoryPanel({ company, onError });
    const lead = "Every change of these settings: who made it, when, and each field before and after.";
    this.#add({ id: "history", title: "History", icon: historyIcon, lead }, null, [history.element], () =>
      history.reload(),
    );
    const nav = h(
      "nav",
      { class: "sections", "aria-label": "Sections" },
      ...[...this.#places.values()].map(({ link }) => link),
    );
    this.element = h(
      "div",
      { class: "company" },
      h(
        "header",
        { class: "top" },
        h(
          "div",
          { class: "logo", "data-light": "lit" },
          lantern(),
          h("span", {}, "Porchlight"),
          h("span", { class: "logo-page" }, "Company settings"),
        ),
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
      ),
      h(
        "div",
        { class: "company-body" },
        nav,
        h("main", { class: "content" }, ...[...this.#places.values()].map(({ element }) => element)),
      ),
      this.#toasts.element,
    );
    company.on("settings", () => this.#current() === "history" && history.reload());
  }

  /** Fills the page and follows the address. */
  start() {
    addEventListener("hashchange", this.#onHash);
    addEventListener("beforeunload", this.#onLeave);
    document.addEventListener("visibilitychange", this.#onBack);
    this.#show();
    const failed = (/** @type {unknown} */ error) => this.#toasts.error("Not everything could be read", error);
    Promise.all([this.#company.reloadAgents(), this.#company.reloadKeys()]).catch(failed);
  }

  close() {
    removeEventListener("hashchange", this.#onHash);
    removeEventListener("beforeunload", this.#onLeave);
    document.removeEventListener("visibilitychange", this.#onBack);
  }

  /** Whether something is typed that is not saved. */
  get dirty() {
    return [...this.#places.values()].some(({ form }) => form?.dirty);
  }

  /**
   * @param {{ id: string, title: string, icon: import("../agent/icons.js").IconName, lead: string, editOnCard?: boolean }} section
   * @param {SectionForm | null} form @param {HTMLElement[]} content @param {() => void} [open]
   */
  #add({ id, title, icon: iconName, lead, editOnCard = false }, form, content, open) {
    const link = h("a", { href: `#${id}`, "data-test": `go-${id}` }, icon(iconName), h("span", {}, title));
    const heading = h("h1", { id: `title-${id}`, tabindex: -1 }, title);
    const element = h(
      "section",
      { class: "place", "aria-labelledby": heading.id, "data-test": `section-${id}`, hidden: true },
      h(
        "header",
        { class: "place-head" },
        h("div", {}, heading, h("p", { class: "lead" }, lead)),
        !editOnCard && form?.editButton,
      ),
      ...content,
    );
    this.#places.set(id, { link, element, form, open });
  }

  /** @param {string} id */
  #place(id) {
    return /** @type {Place} */ (this.#places.get(id));
  }

  #current() {
    const asked = location.hash.slice(1);
    return this.#places.has(asked) ? asked : SECTIONS[0].id;
  }

  #show() {
    const current = this.#current();
    for (const [id, { link, element, open }] of this.#places) {
      set(link, "aria-current", id === current ? "page" : null);
      set(element, "hidden", id !== current);
      if (id === current) open?.();
    }
    const { link, element } = this.#place(current);
    link.scrollIntoView({ block: "nearest", inline: "center" });
    document.title = `${element.querySelector("h1")?.textContent} · Porchlight settings`;
  }

  #onHash = () => {
    this.#show();
    scrollTo(0, 0);
    /** @type {HTMLElement | null} */ (this.#place(this.#current()).element.querySelector("h1"))?.focus({
      preventScroll: true,
    });
  };

  /** @param {BeforeUnloadEvent} event */
  #onLeave = (event) => {
    if (this.dirty) event.preventDefault();
  };

  /** Somebody who comes back to the tab sees what is true now. */
  #onBack = () => {
    if (document.visibilityState === "visible") this.#company.reload().catch(() => {});
  };
}
