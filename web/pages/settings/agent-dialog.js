// An agent: made, described, given a password and permissions, signed out, removed.
//
// Decides the order of the calls and where a refusal is shown. Does not decide what is valid (the server).

import { AdminError, RequestIds } from "../../lib/admin.js";
import { ask, openDialog } from "../admin/dialog.js";
import { sentence } from "../admin/words.js";
import { h, set, write } from "../agent/dom.js";
import { PERMISSIONS } from "./fields.js";
import { same } from "./values.js";

/** @import { Agent, Permissions } from "../../lib/company.js" */
/** @import { Company } from "../admin/company.js" */

/** @typedef {{ name: "agentId" | "name" | "address" | "partnerUserId" | "profile" | "subscription", label: string, help: string, required?: boolean }} Line */

/** @type {Line[]} */
const LINES = [
  {
    name: "agentId",
    label: "Agent ID",
    help: "Names the agent in settings and history; it stays for good.",
    required: true,
  },
  { name: "name", label: "Name", help: "What visitors and colleagues read.", required: true },
  { name: "address", label: "Address", help: "What the agent signs in with and guests type.", required: true },
  { name: "partnerUserId", label: "Partner user ID", help: "The agent’s user ID in your CRM, for single sign-on." },
  { name: "profile", label: "Profile", help: "Decides about the agent’s buttons." },
  { name: "subscription", label: "Subscription", help: "Shown in the list of users." },
];

const FIXED_KEY = {
  label: "The same key every time",
  help: "Guests of this agent’s sessions type one key that stays, instead of a new one each time. Whoever was told it can try it again: taken off and set again, it is another.",
};

/**
 * @param {object} options
 * @param {Agent | null} options.agent null: a new one
 * @param {Company} options.company
 * @param {(title: string, text?: string) => void} options.onDone
 */
export function agentDialog({ agent, company, onDone }) {
  const upserts = new RequestIds();
  const permits = new RequestIds();
  /** @type {Map<string, { input: HTMLInputElement, error: HTMLElement }>} */
  const fields = new Map();
  /** Permissions the server has told last. @type {Permissions} */
  let held = agent?.permissions ?? { user: false, admin: false, agentVideo: false };

  const line = (/** @type {Line} */ { name, label, help, required = false }) => {
    const fixed = name === "agentId" && agent !== null;
    const input = h("input", {
      class: "input",
      name,
      id: `agent-${name}`,
      required,
      readonly: fixed,
      autocomplete: "off",
      autocapitalize: "none",
      spellcheck: "false",
    });
    input.value = agent?.[name] ?? "";
    if (name === "profile") set(input, "list", "profiles");
    return labelled(name, label, help, input);
  };
  const labelled = (
    /** @type {string} */ name,
    /** @type {string} */ label,
    /** @type {string} */ help,
    /** @type {HTMLInputElement} */ input,
  ) => {
    const error = h("p", { class: "field-error", id: `agent-${name}-error`, hidden: true });
    set(input, "aria-describedby", `agent-${name}-help agent-${name}-error`);
    fields.set(name, { input, error });
    return h(
      "div",
      { class: "field" },
      h("label", { class: "label", for: input.id }, label),
      input,
      h("span", { class: "help", id: `agent-${name}-help` }, help),
      error,
    );
  };
  const password = h("input", {
    class: "input",
    type: "password",
    name: "password",
    id: "agent-password",
    autocomplete: "new-password",
  });
  const passwordHelp = agent?.hasPassword
    ? "Leave empty to keep the one there is; a new one signs the agent out everywhere."
    : "Leave empty for an agent who only comes by single sign-on.";
  const boxes = Object.entries(PERMISSIONS).map(([name, { label, help }]) =>
    box(name, label, help, held[/** @type {keyof Permissions} */ (name)]),
  );
  const fixedKey = box("fixedSessionKey", FIXED_KEY.label, FIXED_KEY.help, agent?.fixedSessionKey ?? false);
  const problem = h("p", { class: "problem", role: "alert", hidden: true, "data-test": "agent-problem" });
  const save = h(
    "button",
    { class: "button primary", type: "submit", "data-test": "save-agent" },
    agent ? "Save" : "Add agent",
  );
  const form = h(
    "form",
    { class: "dialog-form", "data-test": "agent-form" },
    h(
      "div",
      { class: "dialog-body" },
      problem,
      h(
        "div",
        { class: "agent-fields" },
        ...LINES.map(line),
        labelled("password", agent?.hasPassword ? "New password" : "Password", passwordHelp, password),
      ),
      h(
        "datalist",
        { id: "profiles" },
        ...company.edition.settings.profiles.map(({ name }) => h("option", { value: name })),
      ),
      h("fieldset", { class: "permissions" }, h("legend", { class: "label" }, "Session keys"), fixedKey.element),
      h(
        "fieldset",
        { class: "permissions" },
        h("legend", { class: "label" }, "Permissions"),
        ...boxes.map(({ element }) => element),
      ),
      agent && dangers(agent),
    ),
    h(
      "footer",
      { class: "dialog-foot" },
      h("button", { class: "button", type: "button", onclick: () => dialog.close() }, "Cancel"),
      save,
    ),
  );
  const dialog = openDialog({
    title: agent ? `Edit ${agent.name || agent.agentId}` : "Add an agent",
    test: "agent-dialog",
    body: [form],
  });
  /** @type {HTMLInputElement} */ (form.querySelector("input:not([readonly])")).focus();

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clear();
    save.disabled = true;
    try {
      await store();
      dialog.close();
      onDone(agent ? "Agent saved" : "Agent added", value("name"));
    } catch (error) {
      show(error);
    } finally {
      save.disabled = false;
    }
  });

  const value = (/** @type {string} */ name) => fields.get(name)?.input.value.trim() ?? "";

  async function store() {
    const texts = Object.fromEntries(LINES.map(({ name }) => [name, value(name)]));
    const described = { ...texts, agentId: value("agentId"), fixedSessionKey: fixedKey.input.checked };
    if (!agent) {
      // The call would change an agent that is there already, and give it this password.
      await company.reloadAgents();
      if (company.agents.some(({ agentId }) => agentId === described.agentId)) {
        throw new AdminError("already_exists", "", {
          violations: [{ field: "agentId", message: "is taken: edit that agent instead" }],
        });
      }
    }
    try {
      await company.client.upsertAgent(described, password.value, upserts.for([described, password.value]));
    } catch (error) {
      upserts.failed(error);
      throw error;
    }
    const wanted = /** @type {Permissions} */ (
      /** @type {unknown} */ (Object.fromEntries(boxes.map(({ name, input }) => [name, input.checked])))
    );
    if (same(wanted, pick(held))) return;
    try {
      await company.client.setPermissions(described.agentId, wanted, permits.for(wanted));
      held = wanted;
    } catch (error) {
      permits.failed(error);
      const { message } = /** @type {Error} */ (error);
      // It is there now: pressing again may change it.
      agent ??= /** @type {Agent} */ ({ ...texts, ...described, permissions: held, hasPassword: false });
      throw new Error(`The agent was saved, the permissions were not: ${message}`);
    }
  }

  function clear() {
    problem.hidden = true;
    for (const { input, error } of fields.values()) {
      set(input, "aria-invalid", null);
      error.hidden = true;
    }
  }

  /** @param {unknown} error */
  function show(error) {
    const violations = error instanceof AdminError ? error.violations : [];
    const rest = violations.filter(({ field, message }) => {
      const at = fields.get(field);
      if (!at) return true;
      write(at.error, sentence(message));
      at.error.hidden = false;
      set(at.input, "aria-invalid", "true");
      return false;
    });
    /** @type {HTMLElement | null} */ (form.querySelector("[aria-invalid=true]"))?.focus();
    if (violations.length && !rest.length) return;
    const said = rest.length
      ? rest.map(({ field, message }) => `${field} ${message}`).join("; ")
      : String(/** @type {Error} */ (error).message);
    write(problem, sentence(said));
    problem.hidden = false;
    problem.scrollIntoView({ block: "nearest" });
  }

  /** @param {Agent} of */
  function dangers({ agentId, name }) {
    const act = (/** @type {string} */ test, /** @type {string} */ label, /** @type {() => void} */ run) =>
      h("button", { class: "button danger small", type: "button", "data-test": test, onclick: run }, label);
    return h(
      "div",
      { class: "dangers" },
      act("revoke-tokens", "Sign out everywhere", async () => {
        const ids = new RequestIds();
        const done = await ask({
          title: `Sign ${name || agentId} out everywhere?`,
          text: ["Open consoles and sessions of this agent are closed. They can sign in again."],
          action: "Sign out",
          danger: true,
          run: () => company.client.revokeTokens(agentId, ids.for(agentId)),
        });
        if (done) onDone("Signed out everywhere", name);
      }),
      act("delete-agent", "Delete agent", async () => {
        const ids = new RequestIds();
        const done = await ask({
          title: `Delete ${name || agentId}?`,
          text: ["The agent is removed with password, sign-ins and permissions. This cannot be undone."],
          action: "Delete agent",
          danger: true,
          run: () => company.client.deleteAgent(agentId, ids.for(agentId)),
        });
        if (!done) return;
        dialog.close();
        onDone("Agent deleted", name);
      }),
    );
  }
}

/** @param {string} name @param {string} label @param {string} help @param {boolean} checked */
function box(name, label, help, checked) {
  const input = h("input", { type: "checkbox", class: "check", name });
  input.checked = checked;
  const words = h("span", {}, h("strong", {}, label), h("span", { class: "help" }, help));
  return { name, input, element: h("label", { class: "permission" }, input, words) };
}

/** @param {Permissions} from */
function pick({ user, admin, agentVideo }) {
  return { user, admin, agentVideo };
}
