// One section of settings: View, Edit, Save, Cancel.
//
// Decides the way between those four, that nothing typed is lost by a failure, and what is sent: the fields that were
// edited, with the version they were read at. Does not decide what is valid, nor who wins a conflict (conflict.js asks).

import { AdminError, RequestIds } from "../../lib/admin.js";
import { ask } from "../admin/dialog.js";
import { counted, sentence } from "../admin/words.js";
import { fill, h, set, write } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { conflictPanel } from "./conflict.js";
import { SettingRow } from "./controls.js";
import { sectionOf } from "./fields.js";
import { applied, compare, differences, get, maskOf, put } from "./values.js";

/** @import { Edition, Settings } from "../../lib/company.js" */
/** @import { Company } from "../admin/company.js" */
/** @import { Section } from "./fields.js" */

/**
 * @typedef {object} FormOptions
 * @property {Section} section
 * @property {Company} company
 * @property {string} me ID of the agent at the page
 * @property {(title: string, text?: string) => void} onDone
 * @property {(dirty: boolean) => void} onDirty
 */

/** The form of a section. */
export class SectionForm {
  #options;
  #rows;
  /** What the edits are made of; null while viewing. @type {Edition | null} */
  #base = null;
  #saving = false;
  #ids = new RequestIds();
  #edit;
  #save;
  #status = h("p", { class: "save-status", role: "status" });
  #problem = h("div", { class: "problem", role: "alert", tabindex: -1, hidden: true, "data-test": "form-problem" });
  #conflict = h("div", {});
  #bar;
  form;
  /** Goes into the head of the section, unless it is on the card. */
  editButton;

  /** @param {FormOptions} options */
  constructor(options) {
    this.#options = options;
    const { section, company } = options;
    this.#rows = section.cards.flatMap(({ fields }) => fields.map((field) => new SettingRow(field)));
    this.#edit = h(
      "button",
      { class: "button", type: "button", "data-test": "edit", onclick: () => this.#begin() },
      icon("edit"),
      "Edit",
    );
    this.editButton = this.#edit;
    this.#save = h("button", { class: "button primary", type: "submit", "data-test": "save" }, "Save");
    const cancel = h(
      "button",
      { class: "button", type: "button", "data-test": "cancel", onclick: () => this.#cancel() },
      "Cancel",
    );
    this.#bar = h(
      "div",
      { class: "save-bar", hidden: true },
      this.#status,
      h("div", { class: "save-actions" }, cancel, this.#save),
    );
    let at = 0;
    const cards = section.cards.map(({ title, help, fields }) =>
      h(
        "section",
        { class: "card settings-card", "aria-label": title },
        section.editOnCard
          ? h(
              "header",
              { class: "card-head" },
              h("div", {}, h("h2", { class: "card-title" }, title), h("p", { class: "help" }, help)),
              this.#edit,
            )
          : h("h2", { class: "card-title" }, title),
        ...fields.map(() => this.#rows[at++].element),
      ),
    );
    this.form = h(
      "form",
      {
        class: "section-form",
        "data-test": `form-${section.id}`,
        "data-state": "view",
        onsubmit: (/** @type {SubmitEvent} */ event) => {
          event.preventDefault();
          this.#submit();
        },
        oninput: () => this.#touched(),
        onchange: () => this.#touched(),
      },
      this.#problem,
      this.#conflict,
      ...cards,
      this.#bar,
    );
    company.on("settings", ({ edition, from }) => this.#moved(edition, from));
    company.on("agents", () => this.#view());
    company.on("keys", () => this.#view());
    this.#view();
  }

  /** Whether something is typed that is not saved. */
  get dirty() {
    return this.#base !== null && this.#edits().length > 0;
  }

  /** Shows the values, unless they are being edited. */
  #view() {
    if (this.#base) return;
    const { company } = this.#options;
    for (const row of this.#rows) row.view(get(company.edition.settings, row.field.path), company.choices);
  }

  async #begin() {
    const { company } = this.#options;
    set(this.#edit, "disabled", true);
    try {
      // What was on screen may be old by now.
      await company.reloadSettings();
    } catch (error) {
      this.#fail(error);
      return;
    } finally {
      set(this.#edit, "disabled", false);
    }
    this.#open(company.edition, company.edition.settings);
    /** @type {HTMLElement | null} */ (
      this.form.querySelector(".setting input, .setting select, .setting textarea")
    )?.focus();
  }

  /** @param {Edition} base @param {Settings} values */
  #open(base, values) {
    this.#base = base;
    for (const row of this.#rows) row.edit(get(values, row.field.path), this.#options.company.choices);
    this.#set("edit");
    this.#say(null);
    this.#touched();
  }

  #close() {
    this.#base = null;
    fill(this.#conflict);
    this.#say(null);
    this.#set("view");
    this.#view();
    this.#options.onDirty(false);
    this.#edit.focus();
  }

  async #cancel() {
    const count = this.#edits().length;
    const sure =
      count === 0 ||
      (await ask({
        title: "Discard your changes?",
        text: [`${counted(count, "change")} ${count === 1 ? "is" : "are"} not saved.`],
        action: "Discard",
        danger: true,
      }));
    if (sure) this.#close();
  }

  /** The settings as the form has them. @returns {Settings} */
  #mine() {
    const mine = structuredClone(/** @type {Edition} */ (this.#base).settings);
    for (const row of this.#rows) put(mine, row.field.path, row.read());
    return mine;
  }

  #edits() {
    return this.#base ? differences(this.#base.settings, this.#mine()) : [];
  }

  #touched() {
    if (!this.#base) return;
    const count = this.#edits().length;
    write(this.#status, count ? `${counted(count, "change")} not saved` : "No changes yet");
    set(this.#save, "disabled", this.#saving || count === 0);
    this.#options.onDirty(count > 0);
  }

  async #submit() {
    const base = this.#base;
    if (!base || this.#saving) return;
    const [mine, edits] = [this.#mine(), this.#edits()];
    if (edits.length === 0) return;
    const { me, company, section } = this.#options;
    const locksOut = edits.some(({ path, row, after }) => path === "permissionSet.admin" && row === me && !after);
    if (locksOut && !(await this.#sureToLeave())) return;
    this.#say(null);
    this.#busy(true);
    const requestId = this.#ids.for([base.version, edits]);
    try {
      const { version } = await company.save(base, mine, maskOf(edits), requestId);
      this.#ids.decided();
      this.#close();
      this.#options.onDone(`${section.title} saved`, `Version ${version}, in force now.`);
    } catch (error) {
      this.#ids.failed(error);
      if (error instanceof AdminError && error.code === "conflict") await this.#clashed(base, mine);
      else this.#fail(error);
    } finally {
      this.#busy(false);
    }
  }

  #sureToLeave() {
    return ask({
      title: "Take your own admin permission away?",
      text: ["You will not be able to open this page any more. Another admin or an operator can give it back."],
      action: "Take it away",
      danger: true,
    });
  }

  // --- Conflict ------------------------------------------------------------------------------------------------

  /** Somebody else saved first. @param {Edition} base @param {Settings} mine */
  async #clashed(base, mine) {
    const { company } = this.#options;
    try {
      const edition = await company.reloadSettings();
      const changes = await company.changesSince(base.version);
      const comparison = compare(base.settings, mine, edition.settings);
      this.#set("conflict");
      fill(
        this.#conflict,
        conflictPanel({
          comparison,
          changes,
          agents: company.agents,
          onKeep: (edits) => {
            fill(this.#conflict);
            this.#open(edition, applied(edition.settings, mine, edits));
            if (edits.length) this.#submit();
            else this.#close();
          },
          onReload: () => this.#close(),
        }),
      );
      /** @type {HTMLElement} */ (this.#conflict.firstElementChild).focus();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Settings were read again, here or by another section. @param {Edition} edition @param {Edition} [from] */
  #moved(edition, from) {
    // Our own save of another section: nobody else changed anything in between, so the edits here stand on it too.
    if (this.#base && from && this.#base.version === from.version && !this.#saving) this.#base = edition;
    this.#view();
  }

  // --- Words ---------------------------------------------------------------------------------------------------

  /** @param {unknown} error */
  #fail(error) {
    const violations = error instanceof AdminError ? error.violations : [];
    const placed = violations.filter(({ field, message }) => this.#rows.some((row) => row.say(field, message)));
    const elsewhere = violations.filter((one) => !placed.includes(one));
    if (placed.length) {
      const others = elsewhere.map(({ field, message }) => `${sectionOf(field)?.title ?? field}: ${sentence(message)}`);
      this.#say([
        `${counted(placed.length, "field needs", "fields need")} another value. Nothing was saved.`,
        ...others,
      ]);
      /** @type {HTMLElement | null} */ (this.form.querySelector("[aria-invalid=true]"))?.focus();
      return;
    }
    const message = sentence(error instanceof Error ? error.message : String(error));
    const kept = this.#base ? " What you typed is still here." : "";
    const more = elsewhere.map((one) => `${sectionOf(one.field)?.title ?? one.field}: ${sentence(one.message)}`);
    this.#say([message + kept, ...more]);
    this.#problem.focus();
  }

  /** @param {string[] | null} lines */
  #say(lines) {
    for (const row of this.#rows) if (!lines) row.clear();
    fill(this.#problem, ...(lines ?? []).map((line) => h("p", {}, line)));
    set(this.#problem, "hidden", !lines);
  }

  /** @param {boolean} busy */
  #busy(busy) {
    this.#saving = busy;
    write(this.#save, busy ? "Saving…" : "Save");
    set(this.form, "aria-busy", busy ? "true" : null);
    if (this.#base) this.#touched();
  }

  /** @param {"view" | "edit" | "conflict"} state */
  #set(state) {
    set(this.form, "data-state", state);
    set(this.#edit, "hidden", state !== "view");
    set(this.#bar, "hidden", state !== "edit");
    for (const row of this.#rows) set(row.element, "inert", state === "conflict");
  }
}
