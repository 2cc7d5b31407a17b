// The settings page: its sections and what they hold.
//
// Decides what is on which section and that nobody leaves with unsaved changes by accident. Does not decide what a
// section's fields are (fields.js) nor how one goes from one to the other (../admin/frame.js).

import { Frame } from "../admin/frame.js";
import { set } from "../agent/dom.js";
import { SECTIONS } from "./fields.js";
import { SectionForm } from "./form.js";
import { HistoryPanel } from "./history.js";
import { KeysPanel } from "./keys.js";
import { UsersPanel } from "./users.js";

/** @import { Company } from "../admin/company.js" */

/** The page of an admin. */
export class SettingsPage {
  #company;
  #frame;
  /** @type {SectionForm[]} */
  #forms = [];

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
    const frame = new Frame({ at: "settings", title: "Porchlight settings", agent, group, theme, onSignOut });
    this.#frame = frame;
    const onDone = (/** @type {string} */ title, /** @type {string} */ text = "") => frame.toasts.show(title, { text });
    const onError = (/** @type {string} */ title, /** @type {unknown} */ error) => frame.toasts.error(title, error);
    const keys = new KeysPanel({ company, onDone });
    const users = new UsersPanel({ company, onDone, onError });
    for (const section of SECTIONS) {
      const form = new SectionForm({
        section,
        company,
        me: agent.id,
        onDone,
        onDirty: (dirty) => place.link && set(place.link, "data-dirty", dirty || null),
      });
      this.#forms.push(form);
      const more = { sso: [form.form, keys.element], users: [users.element, form.form, users.agents] }[section.id];
      const place = frame.add({
        ...section,
        action: !section.editOnCard && form.editButton,
        content: more ?? [form.form],
      });
    }
    const history = new HistoryPanel({ company, onError });
    frame.add({
      id: "history",
      title: "Changes",
      icon: "edit",
      lead: "Every change of these settings: who made it, when, and each field before and after.",
      content: [history.element],
      open: () => void history.reload(),
    });
    company.on("settings", () => frame.current === "history" && history.reload());
  }

  get element() {
    return this.#frame.element;
  }

  /** Fills the page and follows the address. */
  start() {
    addEventListener("beforeunload", this.#onLeave);
    document.addEventListener("visibilitychange", this.#onBack);
    this.#frame.start();
    const failed = (/** @type {unknown} */ error) => this.#frame.toasts.error("Not everything could be read", error);
    Promise.all([this.#company.reloadAgents(), this.#company.reloadKeys()]).catch(failed);
  }

  close() {
    this.#frame.close();
    removeEventListener("beforeunload", this.#onLeave);
    document.removeEventListener("visibilitychange", this.#onBack);
  }

  /** Whether something is typed that is not saved. */
  get dirty() {
    return this.#forms.some(({ dirty }) => dirty);
  }

  /** @param {BeforeUnloadEvent} event */
  #onLeave = (event) => {
    if (this.dirty) event.preventDefault();
  };

  /** Somebody who comes back to the tab sees what is true now. */
  #onBack = () => {
    if (document.visibilityState === "visible") this.#company.reload().catch(() => {});
  };
}
