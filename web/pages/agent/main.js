// Entry of the agent console: sign-in or console, and the way between them.
//
// Decides which of the two is on the page. Does not decide what the console does (console.js).

import { AgentClient } from "../../agent.js";
import { Console } from "./console.js";
import { fill } from "./dom.js";
import { signInView } from "./signin.js";
import { forgetSignIn, keepSignIn, keptSignIn } from "./store.js";
import { themeButton } from "./theme.js";
import { signedOutReason } from "./words.js";

/** @import { Kept } from "./store.js" */

const app = /** @type {HTMLElement} */ (document.getElementById("app"));
const theme = themeButton();

/** @param {string} [notice] why the agent has to sign in again */
function showSignIn(notice) {
  const view = signInView({
    notice,
    onSignedIn: (group, { token, expiresAt }) => {
      const kept = { group, token, expiresAt };
      keepSignIn(kept);
      showConsole(kept);
    },
  });
  theme.classList.add("floating");
  fill(app, view, theme);
}

/** @param {Kept} kept */
function showConsole({ group, token, expiresAt }) {
  const client = new AgentClient({ token, expiresAt });
  const signOut = (/** @type {string} */ notice) => {
    forgetSignIn();
    console_.close();
    showSignIn(notice);
  };
  theme.classList.remove("floating");
  const console_ = new Console({ client, theme, onSignOut: () => signOut("") });
  client.on("token", (renewed) => keepSignIn({ group, ...renewed }));
  client.on("signedOut", (reason) => signOut(signedOutReason(reason)));
  fill(app, console_.element);
  console_.start();
  // A handle for tests and for looking into a problem from the developer tools.
  Object.assign(window, { porchlightConsole: console_ });
}

const kept = keptSignIn();
if (kept) showConsole(kept);
else showSignIn();
