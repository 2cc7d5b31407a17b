// The group's API keys: made, listed, revoked.
//
// Decides that a secret is shown once and copied from there, and that revoking is asked for twice. Does not decide what
// a key is good for (the server).

import { RequestIds } from "../../lib/admin.js";
import { ask, openDialog } from "../admin/dialog.js";
import { ago, moment, sentence } from "../admin/words.js";
import { fill, h, set, write } from "../agent/dom.js";
import { icon } from "../agent/icons.js";

/** @import { ApiKey } from "../../lib/company.js" */
/** @import { Company } from "../admin/company.js" */

/** How long the button says that it copied. */
const COPIED_MS = 2_000;

/** The list and what is done with it. */
export class KeysPanel {
  #company;
  #onDone;
  #list = h("div", {});
  element;

  /** @param {{ company: Company, onDone: (title: string, text?: string) => void }} options */
  constructor({ company, onDone }) {
    this.#company = company;
    this.#onDone = onDone;
    this.element = h(
      "section",
      { class: "card settings-card", "aria-label": "API keys", "data-test": "keys" },
      h(
        "header",
        { class: "card-head" },
        h(
          "div",
          {},
          h("h2", { class: "card-title" }, "API keys"),
          h(
            "p",
            { class: "help" },
            "Your systems sign login keys and visitor tokens with them, and call the admin service.",
          ),
        ),
        h(
          "button",
          { class: "button", type: "button", "data-test": "create-key", onclick: () => this.#create() },
          icon("plus"),
          "Create key",
        ),
      ),
      this.#list,
    );
    company.on("keys", (keys) => this.#draw(keys));
    this.#draw(company.keys);
  }

  /** @param {ApiKey[]} keys */
  #draw(keys) {
    if (!keys.length) {
      fill(this.#list, h("p", { class: "empty-note" }, "There is no key yet. Single sign-on needs one."));
      return;
    }
    // Good ones first, the newest on top: that is what one looks for.
    const order = [...keys]
      .reverse()
      .sort((one, other) => Number(Boolean(one.revokedAt)) - Number(Boolean(other.revokedAt)));
    const head = ["Key", "Created", "Last used", ""].map((name) =>
      h("th", { scope: "col" }, name || h("span", { class: "visually-hidden" }, "Revoke")),
    );
    fill(
      this.#list,
      h(
        "div",
        { class: "table-frame" },
        h(
          "table",
          { class: "grid keys", "data-test": "keys-table" },
          h("thead", {}, h("tr", {}, ...head)),
          h("tbody", {}, ...order.map((key) => this.#row(key))),
        ),
      ),
    );
  }

  /** @param {ApiKey} key */
  #row(key) {
    const { keyId, label, createdAt, revokedAt, lastUsedAt } = key;
    const revoke = h(
      "button",
      {
        class: "button danger small",
        type: "button",
        "data-test": "revoke-key",
        "aria-label": `Revoke ${label || keyId}`,
        onclick: () => this.#revoke(key),
      },
      "Revoke",
    );
    return h(
      "tr",
      { "data-row": keyId, class: revokedAt ? "revoked" : "" },
      h(
        "th",
        { scope: "row", class: "who-cell" },
        h("span", {}, label || keyId),
        label && h("span", { class: "muted mono" }, keyId),
      ),
      h("td", { "data-label": "Created" }, moment(createdAt) || "–"),
      h(
        "td",
        { "data-label": "Last used", title: moment(lastUsedAt) },
        lastUsedAt ? ago(lastUsedAt) : h("span", { class: "muted" }, "Never"),
      ),
      h(
        "td",
        { class: "row-action" },
        revokedAt ? h("span", { class: "chip", title: moment(revokedAt) }, "Revoked") : revoke,
      ),
    );
  }

  /** @param {ApiKey} key */
  async #revoke({ keyId, label }) {
    const ids = new RequestIds();
    const named = label ? `“${label}”` : keyId;
    const { sso } = this.#company.edition.settings;
    const done = await ask({
      title: `Revoke ${named}?`,
      text: [
        "Everything signed with it is refused from now on: login keys, visitor tokens, and calls of the admin service. This cannot be undone.",
        ...(sso.enabled && sso.apiKeyId === keyId
          ? ["It is the key that single sign-on accepts: agents will not be able to sign in from the CRM."]
          : []),
      ],
      action: "Revoke key",
      danger: true,
      run: async () => {
        await this.#company.client.revokeApiKey(keyId, ids.for(keyId));
        await this.#company.reloadKeys();
      },
    });
    if (done) this.#onDone("API key revoked", named);
  }

  #create() {
    const ids = new RequestIds();
    const label = h("input", {
      class: "input",
      id: "key-label",
      name: "label",
      autocomplete: "off",
      placeholder: "CRM production",
      "aria-describedby": "key-help key-error",
    });
    const problem = h("p", { class: "field-error", id: "key-error", role: "alert", hidden: true });
    const create = h("button", { class: "button primary", type: "submit", "data-test": "create" }, "Create key");
    const form = h(
      "form",
      { class: "dialog-form" },
      h(
        "div",
        { class: "dialog-body" },
        h(
          "label",
          { class: "field" },
          h("span", { class: "label" }, "What is it for?"),
          label,
          h("span", { class: "help", id: "key-help" }, "Only people read this."),
        ),
        problem,
      ),
      h(
        "footer",
        { class: "dialog-foot" },
        h("button", { class: "button", type: "button", onclick: () => dialog.close() }, "Cancel"),
        create,
      ),
    );
    const dialog = openDialog({ title: "Create an API key", test: "create-key-dialog", body: [form] });
    label.focus();
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      create.disabled = true;
      set(problem, "hidden", true);
      set(label, "aria-invalid", null);
      const text = label.value.trim();
      try {
        const made = await this.#company.client.createApiKey(text, ids.for(text));
        dialog.close();
        this.#shown(made.apiKey, made.secret);
        await this.#company.reloadKeys();
      } catch (error) {
        ids.failed(error);
        const { violations = [], message } = /** @type {import("../../lib/admin.js").AdminError} */ (error);
        const about = violations.find(({ field }) => field === "label");
        write(problem, sentence(about?.message ?? message));
        set(problem, "hidden", false);
        if (about) set(label, "aria-invalid", "true");
      } finally {
        create.disabled = false;
      }
    });
  }

  /** The one time that the secret is seen. @param {ApiKey} key @param {string} secret */
  #shown(key, secret) {
    const text = h("output", { class: "secret mono", "data-test": "secret" }, secret);
    const copy = h("button", { class: "button", type: "button", "data-test": "copy-secret" }, icon("copy"), "Copy");
    const said = h("p", { class: "help", role: "status" }, "");
    copy.addEventListener("click", async () => {
      const copied = await copyText(secret, text);
      write(said, copied ? "Copied." : "Select the secret and copy it yourself.");
      if (copied) setTimeout(() => write(said, ""), COPIED_MS);
    });
    const dialog = openDialog({
      title: "Copy the secret now",
      test: "secret-dialog",
      stays: true,
      body: [
        h(
          "div",
          { class: "dialog-body" },
          h(
            "p",
            {},
            "It is shown this once and never again; a lost secret means a new key.",
          ),
          h(
            "dl",
            { class: "pairs" },
            h("dt", {}, "Key ID"),
            h("dd", { class: "mono" }, key.keyId),
            h("dt", {}, "Secret"),
            h("dd", { class: "secret-line" }, text, copy),
          ),
          said,
        ),
        h(
          "footer",
          { class: "dialog-foot" },
          h(
            "button",
            { class: "button primary", type: "button", "data-test": "secret-done", onclick: () => dialog.close() },
            "I have stored it",
          ),
        ),
      ],
    });
    dialog.addEventListener("close", () => write(text, ""));
    copy.focus();
  }
}

/** Pages on plain HTTP have no clipboard; there the text is at least selected. @param {string} text @param {HTMLElement} element */
async function copyText(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection()?.selectAllChildren(element);
    return false;
  }
}
