// The sign-in form.
//
// Decides what is asked and how a refusal reads. Does not decide what happens with the token (main.js).

import { signIn } from "../../agent.js";
import { h, set, write } from "./dom.js";
import { lantern } from "./icons.js";

/** @import { SignedIn } from "../../lib/token.js" */

/** The group `porchlight dev` sets up. */
const DEMO_GROUP = "demo";
const GROUP_KEY = "porchlight.group";

/**
 * Builds the sign-in view.
 * @param {object} options
 * @param {string} [options.notice] why the agent is here again
 * @param {string} [options.lead] what signing in is good for here
 * @param {(group: string, signedIn: SignedIn) => void} options.onSignedIn
 */
export function signInView({ notice, lead = "See who is on your site, and help them where they are.", onSignedIn }) {
  const group = input("group", localStorage.getItem(GROUP_KEY) ?? (onLoopback() ? DEMO_GROUP : ""), "organization");
  const address = input("address", "", "username");
  const password = input("password", "", "current-password");
  password.type = "password";
  const hint = h(
    "p",
    { class: "hint", "data-test": "demo-hint" },
    "Demo group: sign in as ",
    h("code", {}, "alice"),
    " or ",
    h("code", {}, "bob"),
    ". ",
    h("code", {}, "porchlight dev"),
    " prints their passwords and keeps them in ",
    h("code", {}, "dev.json"),
    " of its data folder.",
  );
  const problem = h(
    "p",
    { class: "problem", role: "alert", "data-test": "sign-in-error", hidden: !notice },
    notice ?? "",
  );
  const submit = h("button", { class: "button primary", type: "submit", "data-test": "sign-in" }, "Sign in");
  const showHint = () => set(hint, "hidden", group.value.trim() !== DEMO_GROUP);
  group.addEventListener("input", showHint);
  showHint();

  const say = (/** @type {string} */ text) => {
    write(problem, text);
    set(problem, "hidden", !text);
  };

  const send = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    say("");
    submit.disabled = true;
    write(submit, "Signing in…");
    try {
      const credentials = { group: group.value.trim(), address: address.value.trim(), password: password.value };
      const signedIn = await signIn(credentials);
      localStorage.setItem(GROUP_KEY, credentials.group);
      onSignedIn(credentials.group, signedIn);
    } catch (error) {
      say(refusal(/** @type {import("../../agent.js").PorchlightError} */ (error)));
      password.select();
    } finally {
      submit.disabled = false;
      write(submit, "Sign in");
    }
  };

  const form = h(
    "form",
    { class: "sign-in-form", "data-test": "sign-in-form", onsubmit: send },
    h("h1", {}, "Sign in"),
    h("p", { class: "lead" }, lead),
    problem,
    field("Group", group),
    field("Agent address", address),
    field("Password", password),
    submit,
    hint,
  );
  queueMicrotask(() => (group.value ? address : group).focus());
  return h(
    "main",
    { class: "sign-in" },
    h(
      "section",
      { class: "sign-in-card" },
      h("div", { class: "brand-mark", "data-light": "lit" }, lantern()),
      h("p", { class: "brand" }, "Porchlight"),
      form,
    ),
  );
}

/** @param {string} name @param {string} value @param {string} autocomplete */
function input(name, value, autocomplete) {
  return h("input", {
    class: "input",
    name,
    value,
    autocomplete,
    required: true,
    spellcheck: "false",
    autocapitalize: "none",
  });
}

/** @param {string} label @param {HTMLInputElement} control */
function field(label, control) {
  return h("label", { class: "field" }, h("span", { class: "label" }, label), control);
}

/** @param {{ code: string, message: string }} error */
function refusal({ code, message }) {
  if (code === "unauthorized") return "Group, address or password is not right.";
  if (code === "rate_limited") return "Too many tries. Wait a little, then try again.";
  return message;
}

function onLoopback() {
  return ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
}
