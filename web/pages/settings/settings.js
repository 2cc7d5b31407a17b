// Entry of the settings page: who is there, whether they may be, and signing in again without losing anything.
//
// Decides which of sign-in, refusal and page is shown. Does not decide who is an admin (the server) nor what the page
// does (page.js).

import { AdminClient, AdminError } from "../../lib/admin.js";
import { TokenKeeper } from "../../lib/token.js";
import { fill, h } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { signInView } from "../agent/signin.js";
import { forgetSignIn, keepSignIn, keptSignIn } from "../agent/store.js";
import { themeButton } from "../agent/theme.js";
import { Company } from "./company.js";
import { sentence } from "./controls.js";
import { openDialog } from "./dialog.js";
import { SettingsPage } from "./page.js";

/** @import { Kept } from "../agent/store.js" */
/** @import { SignedIn } from "../../lib/token.js" */

const LEAD = "Decide what your agents can do, and what your visitors are asked. For admins.";

const app = /** @type {HTMLElement} */ (document.getElementById("app"));
const theme = themeButton();

/** The signed-in agent: its token, and what is done when the server takes it no longer. */
class Seat {
  #keeper;
  /** @type {Promise<boolean> | null} */
  #asking = null;
  #group;
  #agent;
  client = new AdminClient({ token: () => this.#keeper.token, onUnauthorized: () => this.#signInAgain() });

  /** @param {string} group @param {SignedIn} signedIn */
  constructor(group, signedIn) {
    this.#group = group;
    this.#agent = signedIn.agent;
    this.#keeper = this.#keep(signedIn);
  }

  get agent() {
    return this.#agent;
  }

  get group() {
    return this.#group;
  }

  close() {
    this.#keeper.stop();
  }

  /** @param {SignedIn} signedIn */
  #keep({ token, expiresAt }) {
    keepSignIn({ group: this.#group, token, expiresAt });
    const keeper = new TokenKeeper({
      token,
      expiresAt,
      where: {},
      onRenewed: (renewed) => keepSignIn({ group: this.#group, ...renewed }),
      // The next call tells, and asks the person to sign in.
      onError: () => {},
    });
    keeper.start();
    return keeper;
  }

  /** Asks for the password over the page, which stays as it is. */
  #signInAgain() {
    this.#asking ??= new Promise((resolve) => {
      forgetSignIn();
      const done = (/** @type {boolean} */ signedIn) => {
        this.#asking = null;
        resolve(signedIn);
      };
      const view = signInView({
        notice: "Your sign-in has ended. Sign in again to go on; nothing on the page is lost.",
        lead: LEAD,
        onSignedIn: (group, signedIn) => {
          // Somebody else, or another company: nothing of this page is theirs.
          if (group !== this.#group || signedIn.agent.id !== this.#agent.id) {
            this.#group = group;
            this.#keep(signedIn);
            location.reload();
            return;
          }
          this.#keeper.stop();
          this.#keeper = this.#keep(signedIn);
          dialog.close();
          done(true);
        },
      });
      const dialog = openDialog({ title: "Sign in again", test: "sign-in-again", body: [view] });
      dialog.addEventListener("close", () => done(false));
    });
    return this.#asking;
  }
}

/** @param {string} [notice] why the agent has to sign in again */
function showSignIn(notice) {
  const view = signInView({ notice, lead: LEAD, onSignedIn: (group, signedIn) => enter(new Seat(group, signedIn)) });
  theme.classList.add("floating");
  fill(app, view, theme);
}

/** Shows the page, or why not. @param {Seat} seat */
async function enter(seat) {
  try {
    const company = new Company(seat.client, await seat.client.getSettings());
    theme.classList.remove("floating");
    const page = new SettingsPage({
      company,
      agent: seat.agent,
      group: seat.group,
      theme,
      onSignOut: () => {
        page.close();
        leave(seat);
      },
    });
    fill(app, page.element);
    page.start();
  } catch (error) {
    showRefusal(seat, error);
  }
}

/** @param {Seat} seat */
function leave(seat) {
  seat.close();
  forgetSignIn();
  showSignIn();
}

/** @param {Seat} seat @param {unknown} error */
function showRefusal(seat, error) {
  const { name, id, permissions = [] } = seat.agent;
  const refused = error instanceof AdminError && error.code === "forbidden" && !permissions.includes("admin");
  const said = sentence(error instanceof Error ? error.message : String(error));
  const other = h(
    "button",
    { class: "button", type: "button", "data-test": "sign-out", onclick: () => leave(seat) },
    "Sign in as somebody else",
  );
  // A new start asks for a new token, which knows of permissions given meanwhile.
  const again = h("button", { class: "button primary", type: "button", onclick: () => location.reload() }, "Try again");
  theme.classList.add("floating");
  fill(
    app,
    h(
      "main",
      { class: "sign-in" },
      h(
        "section",
        { class: "refusal card", "data-test": refused ? "no-admin" : "unreachable", role: "alert" },
        icon(refused ? "badge" : "alert"),
        h("h1", {}, refused ? "This page is for admins" : "The settings could not be read"),
        refused
          ? h(
              "p",
              {},
              `You are signed in as ${name} (${id}) of ${seat.group}, without the permission “admin”. Ask an admin of your company to give it to you in the permission set.`,
            )
          : h("p", {}, said),
        h("div", { class: "refusal-actions" }, other, again),
      ),
    ),
    theme,
  );
}

/** Who the kept token belongs to; the answer is also a token with a full life. @param {Kept} kept */
async function resume({ group, token }) {
  /** @type {SignedIn | null} */
  let signedIn = null;
  const keeper = new TokenKeeper({ token, where: {}, onRenewed: () => {}, onError: () => {} });
  try {
    signedIn = await keeper.renew();
  } catch (error) {
    const { code, message } = /** @type {import("../../lib/socket.js").RequestError} */ (error);
    if (code === "unauthorized") forgetSignIn();
    showSignIn(code === "unauthorized" ? "Your sign-in has expired. Sign in again to go on." : message);
  }
  keeper.stop();
  if (signedIn) await enter(new Seat(group, signedIn));
}

const kept = keptSignIn();
if (kept) resume(kept);
else showSignIn();
