// Who is at a page for admins: signing in, the token while the page is open, and signing in again without losing
// anything.
//
// Decides which of sign-in, refusal and page is shown. Does not decide who is an admin (the server) nor what a page does
// (its own main module).

import { AdminClient, AdminError } from "../../lib/admin.js";
import { TokenKeeper } from "../../lib/token.js";
import { fill, h } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { signInView } from "../agent/signin.js";
import { forgetSignIn, keepSignIn, keptSignIn } from "../agent/store.js";
import { themeButton } from "../agent/theme.js";
import { openDialog } from "./dialog.js";
import { sentenceOf } from "./words.js";

/** @import { SignedIn } from "../../lib/token.js" */
/** @import { Kept } from "../agent/store.js" */

/**
 * What a page is made of.
 * @typedef {object} AdminPage
 * @property {HTMLElement} element
 * @property {() => void} start fills the page, once it is in the document
 * @property {() => void} close
 */

/**
 * @typedef {object} PageOptions
 * @property {string} lead what signing in is good for here
 * @property {string} unread title of the refusal when the page cannot be shown at all
 * @property {(seat: Seat, around: { theme: HTMLElement, onSignOut: () => void }) => Promise<AdminPage>} build rejects
 *   with what the server refuses
 */

/** The signed-in agent: its token, and what is done when the server takes it no longer. */
export class Seat {
  #keeper;
  /** @type {Promise<boolean> | null} */
  #asking = null;
  #group;
  #agent;
  #lead;
  client = new AdminClient({ token: () => this.#keeper.token, onUnauthorized: () => this.#signInAgain() });

  /** @param {string} group @param {SignedIn} signedIn @param {string} lead */
  constructor(group, signedIn, lead) {
    this.#group = group;
    this.#agent = signedIn.agent;
    this.#lead = lead;
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
        lead: this.#lead,
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

/** Shows the page to whoever is signed in, and the sign-in to others. @param {PageOptions} options */
export function openAdminPage(options) {
  const kept = keptSignIn();
  const door = new Door(options);
  if (kept) door.resume(kept);
  else door.showSignIn();
}

/** The way between sign-in, refusal and page. */
class Door {
  #options;
  #app = /** @type {HTMLElement} */ (document.getElementById("app"));
  #theme = themeButton();

  /** @param {PageOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /** @param {string} [notice] why the agent has to sign in again */
  showSignIn(notice) {
    const { lead } = this.#options;
    const onSignedIn = (/** @type {string} */ group, /** @type {SignedIn} */ signedIn) =>
      this.#enter(new Seat(group, signedIn, lead));
    this.#theme.classList.add("floating");
    fill(this.#app, signInView({ notice, lead, onSignedIn }), this.#theme);
  }

  /** Who the kept token belongs to; the answer is also a token with a full life. @param {Kept} kept */
  async resume({ group, token }) {
    /** @type {SignedIn | null} */
    let signedIn = null;
    const keeper = new TokenKeeper({ token, where: {}, onRenewed: () => {}, onError: () => {} });
    try {
      signedIn = await keeper.renew();
    } catch (error) {
      const { code, message } = /** @type {import("../../lib/socket.js").RequestError} */ (error);
      if (code === "unauthorized") forgetSignIn();
      this.showSignIn(code === "unauthorized" ? "Your sign-in has expired. Sign in again to go on." : message);
    }
    keeper.stop();
    if (signedIn) await this.#enter(new Seat(group, signedIn, this.#options.lead));
  }

  /** Shows the page, or why not. @param {Seat} seat */
  async #enter(seat) {
    try {
      const page = await this.#options.build(seat, {
        theme: this.#theme,
        onSignOut: () => {
          page.close();
          this.#leave(seat);
        },
      });
      this.#theme.classList.remove("floating");
      fill(this.#app, page.element);
      page.start();
    } catch (error) {
      this.#showRefusal(seat, error);
    }
  }

  /** @param {Seat} seat */
  #leave(seat) {
    seat.close();
    forgetSignIn();
    this.showSignIn();
  }

  /** @param {Seat} seat @param {unknown} error */
  #showRefusal(seat, error) {
    const { name, id, permissions = [] } = seat.agent;
    const refused = error instanceof AdminError && error.code === "forbidden" && !permissions.includes("admin");
    const other = h(
      "button",
      { class: "button", type: "button", "data-test": "sign-out", onclick: () => this.#leave(seat) },
      "Sign in as somebody else",
    );
    // A new start asks for a new token, which knows of permissions given meanwhile.
    const again = h(
      "button",
      { class: "button primary", type: "button", onclick: () => location.reload() },
      "Try again",
    );
    this.#theme.classList.add("floating");
    fill(
      this.#app,
      h(
        "main",
        { class: "sign-in" },
        h(
          "section",
          { class: "refusal card", "data-test": refused ? "no-admin" : "unreachable", role: "alert" },
          icon(refused ? "badge" : "alert"),
          h("h1", {}, refused ? "This page is for admins" : this.#options.unread),
          refused
            ? h(
                "p",
                {},
                `You are signed in as ${name} (${id}) of ${seat.group}, without the permission “admin”. Ask an admin of your company to give it to you in the permission set.`,
              )
            : h("p", {}, sentenceOf(error)),
          h("div", { class: "refusal-actions" }, other, again),
        ),
      ),
      this.#theme,
    );
  }
}
