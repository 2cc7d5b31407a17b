// Entry of the session page, which the link of a feed's post opens: sign-in, then the session.
//
// Decides which of the two is shown. Does not decide who may see the session (the server) nor how it looks (page.js).

import { AgentClient } from "../../agent.js";
import { fill } from "../agent/dom.js";
import { signInView } from "../agent/signin.js";
import { forgetSignIn, keepSignIn, keptSignIn } from "../agent/store.js";
import { themeButton } from "../agent/theme.js";
import { signedOutReason } from "../agent/words.js";
import { SessionPage } from "./page.js";

/** @import { Kept } from "../agent/store.js" */

const app = /** @type {HTMLElement} */ (document.getElementById("app"));
const theme = themeButton();
const sessionId = location.pathname.split("/").filter(Boolean).at(-1) ?? "";

/** @param {string} [notice] why the agent has to sign in again */
function showSignIn(notice) {
  const view = signInView({
    notice,
    lead: "You were invited to a session. Sign in to open it.",
    onSignedIn: (group, { token, expiresAt }) => {
      const kept = { group, token, expiresAt };
      keepSignIn(kept);
      showSession(kept);
    },
  });
  theme.classList.add("floating");
  fill(app, view, theme);
}

/** @param {Kept} kept */
function showSession({ group, token, expiresAt }) {
  const client = new AgentClient({ token, expiresAt });
  const signOut = (/** @type {string} */ notice) => {
    forgetSignIn();
    page.close();
    showSignIn(notice);
  };
  theme.classList.remove("floating");
  const page = new SessionPage({ client, sessionId, theme, onSignOut: () => signOut("") });
  client.on("token", (renewed) => keepSignIn({ group, ...renewed }));
  client.on("signedOut", (reason) => signOut(signedOutReason(reason)));
  fill(app, page.element);
  page.start();
}

const kept = keptSignIn();
if (kept) showSession(kept);
else showSignIn();
