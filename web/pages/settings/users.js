// Who signs in with a password (the association list), and all agents of the group.
//
// Decides what is listed and what is asked before something is taken away. Does not decide who counts as associated
// (the server): agents that only come by single sign-on are on the second list alone.

import { RequestIds } from "../../lib/admin.js";
import { ask } from "../admin/dialog.js";
import { fill, h, write } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { agentDialog } from "./agent-dialog.js";

/** @import { Agent } from "../../lib/company.js" */
/** @import { Company } from "../admin/company.js" */

/** @typedef {{ company: Company, onDone: (title: string, text?: string) => void, onError: (title: string, error: unknown) => void }} UsersOptions */

/** Both lists. */
export class UsersPanel {
  #options;
  /** @type {Agent[]} */
  #associated = [];
  #count = h("span", { class: "count" }, "0");
  #total = h("span", { class: "count" }, "0");
  #associations = h("div", {});
  #agents = h("div", {});
  /** Above the permission set. */
  element;
  /** Below it. */
  agents;

  /** @param {UsersOptions} options */
  constructor(options) {
    this.#options = options;
    const { company } = options;
    this.element = h(
      "section",
      { class: "card settings-card", "aria-label": "Associated users", "data-test": "associations" },
      h(
        "header",
        { class: "card-head" },
        h(
          "div",
          {},
          h("h2", { class: "card-title" }, "Associated users ", this.#count),
          h(
            "p",
            { class: "help" },
            "Agents with a password of their own. Those who only come by single sign-on are not listed.",
          ),
        ),
        h(
          "button",
          { class: "button", type: "button", "data-test": "add-agent", onclick: () => this.#edit(null) },
          icon("plus"),
          "Add agent",
        ),
      ),
      this.#associations,
    );
    this.agents = h(
      "section",
      { class: "card settings-card", "aria-label": "All agents", "data-test": "agents" },
      h(
        "header",
        { class: "card-head" },
        h(
          "div",
          {},
          h("h2", { class: "card-title" }, "All agents ", this.#total),
          h("p", { class: "help" }, "Everybody who may sign in, however they do."),
        ),
      ),
      this.#agents,
    );
    company.on("agents", () => this.reload());
  }

  /** Reads the list again. */
  async reload() {
    const { company, onError } = this.#options;
    try {
      this.#associated = await company.client.listAssociatedUsers();
    } catch (error) {
      onError("The users could not be listed", error);
    }
    this.#draw();
  }

  #draw() {
    const { agents } = this.#options.company;
    write(this.#count, String(this.#associated.length));
    write(this.#total, String(agents.length));
    if (this.#associated.length) {
      const heads = ["Address", "Partner user ID", "Profile", "Subscription", ""];
      fill(
        this.#associations,
        table(
          "associations-table",
          heads,
          this.#associated.map((agent) => this.#associationRow(agent)),
        ),
      );
    } else {
      fill(this.#associations, h("p", { class: "empty-note" }, "Nobody has a password of their own."));
    }
    const heads = ["Agent", "Signs in", "Profile", ""];
    fill(
      this.#agents,
      table(
        "agents-table",
        heads,
        agents.map((agent) => this.#agentRow(agent)),
      ),
    );
  }

  /** @param {Agent} agent */
  #associationRow(agent) {
    const { agentId, address, partnerUserId, profile, subscription, name } = agent;
    return h(
      "tr",
      { "data-row": agentId },
      h("th", { scope: "row", class: "who-cell" }, h("span", {}, address), h("span", { class: "muted" }, name)),
      cell("Partner user ID", partnerUserId, "mono"),
      cell("Profile", profile),
      cell("Subscription", subscription),
      h(
        "td",
        { class: "row-action" },
        h(
          "button",
          {
            class: "button danger small",
            type: "button",
            "data-test": "del",
            "aria-label": `Delete the association of ${address}`,
            onclick: () => this.#remove(agent),
          },
          "Del",
        ),
      ),
    );
  }

  /** @param {Agent} agent */
  #agentRow(agent) {
    const { agentId, name, profile, hasPassword, partnerUserId } = agent;
    const ways = [hasPassword && "Password", partnerUserId && "Single sign-on"].filter(Boolean).join(", ");
    return h(
      "tr",
      { "data-row": agentId },
      h(
        "th",
        { scope: "row", class: "who-cell" },
        h("span", {}, name || agentId),
        h("span", { class: "muted" }, agentId),
      ),
      cell("Signs in", ways || "Not at all"),
      cell("Profile", profile),
      h(
        "td",
        { class: "row-action" },
        h(
          "button",
          {
            class: "button small",
            type: "button",
            "data-test": "edit-agent",
            "aria-label": `Edit ${name || agentId}`,
            onclick: () => this.#edit(agent),
          },
          "Edit",
        ),
      ),
    );
  }

  /** @param {Agent | null} agent null: a new one */
  #edit(agent) {
    const { company, onDone } = this.#options;
    agentDialog({
      agent,
      company,
      onDone: async (title, text) => {
        onDone(title, text);
        await this.#reread();
      },
    });
  }

  /** @param {Agent} agent */
  async #remove({ agentId, address, name }) {
    const { company, onDone } = this.#options;
    const ids = new RequestIds();
    const done = await ask({
      title: `Delete the association of ${address}?`,
      text: [
        `This deletes the password of ${name || agentId} and signs them out everywhere, nothing else.`,
        "The agent stays, with profile and permissions, and can still come by single sign-on. A new password brings them back to this list.",
      ],
      action: "Delete credentials",
      danger: true,
      run: async () => {
        await company.client.removeAssociation(agentId, ids.for(agentId));
      },
    });
    if (!done) return;
    onDone("Association deleted", `${address} has no password any more. The agent stays.`);
    await this.#reread();
  }

  /** Agents, and the settings that permissions are part of. */
  async #reread() {
    const { company, onError } = this.#options;
    await Promise.all([company.reloadAgents(), company.reloadSettings()]).catch((error) =>
      onError("The users could not be listed", error),
    );
  }
}

/** @param {string} test @param {string[]} heads @param {HTMLElement[]} rows */
function table(test, heads, rows) {
  const cells = heads.map((name) =>
    h("th", { scope: "col" }, name || h("span", { class: "visually-hidden" }, "Action")),
  );
  const element = h(
    "table",
    { class: "grid", "data-test": test },
    h("thead", {}, h("tr", {}, ...cells)),
    h("tbody", {}, ...rows),
  );
  return h("div", { class: "table-frame" }, element);
}

/** @param {string} label @param {string} value @param {string} [className] */
function cell(label, value, className = "") {
  return h(
    "td",
    { "data-label": label },
    value ? h("span", { class: className }, value) : h("span", { class: "muted" }, "–"),
  );
}
