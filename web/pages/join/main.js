// Entry of the guest's start page and of agents' own pages: the door, then the screen that is shown, or the guest's own.
//
// Decides which of the two is on the page, and that a secret stays nowhere but in this page's memory: an invite leaves
// the address bar as soon as it is read. Does not decide who is let in (the server) nor how anything looks.

import { fill } from "../agent/dom.js";
import { themeButton } from "../agent/theme.js";
import { Toasts } from "../agent/toasts.js";
import { Door } from "./door.js";
import { agentAt, isLetIn } from "../../lib/guest.js";
import { addressOf, inviteOf } from "./key.js";
import { ask, canShare, Sharing, takeShare } from "./share.js";
import { keepSeat, takeSeat } from "./store.js";
import { Watch } from "./watch.js";
import { DOOR, doorWords, refusal } from "./words.js";

/** @import { About, Asked, Way } from "../../lib/guest.js" */
/** @import { RequestError } from "../../lib/socket.js" */
/** @import { SharingOptions } from "./share.js" */

const app = /** @type {HTMLElement} */ (document.getElementById("app"));
const theme = themeButton();
const toasts = new Toasts();
const group = new URLSearchParams(location.search).get("group");
/** Whose own page this is, if it is one's. */
const address = addressOf(location.pathname);

/** The seat this page has or wants. @type {Watch | null} */
let watch = null;
/** @type {About} */
let told = {};
let title = "";
/** The name of the agent whose page this is. @type {string | null} */
let agent = null;
/** This guest's own share, the newest. @type {Sharing | null} */
let sharing = null;

/** Reads the invite, and takes it out of the address bar and the tab's history. */
function readInvite() {
  const invite = inviteOf(location.hash);
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  return invite;
}

/** @param {string | null} invite @param {string} [notice] */
function showDoor(invite, notice) {
  closeWatch();
  const shares = address !== null;
  document.title = `${doorWords({ invite, shares, agent }).title} · Porchlight`;
  const door = new Door({
    invite,
    shares,
    agent,
    group,
    // Better said before anything is typed.
    notice: notice ?? (shares && !canShare() ? DOOR.phone : undefined),
    blocked: shares && !canShare(),
    about: told,
    onIn: (answer, way, about) => {
      told = about;
      if (!isLetIn(answer)) askToShare(answer, way);
      else if (answer.role === "publisher") showShare({ seat: answer });
      else {
        title = answer.title ?? "";
        showScreen({ ticket: answer.ticket }, way);
      }
    },
    onKey: () => showDoor(null),
  });
  theme.classList.add("floating");
  fill(app, door.element, theme, toasts.element);
}

/** Somebody wants to see this guest's screen. @param {Asked} asked @param {Way} way */
async function askToShare(asked, way) {
  const invite = "invite" in way ? way.invite : null;
  if (!canShare()) return showDoor(invite, DOOR.phone);
  try {
    const accepted = await ask(way, told, asked);
    if (accepted) showShare({ seat: accepted.letIn, agent: asked.agent.name, dialog: accepted.dialog });
    else showDoor(null, DOOR.declined);
  } catch (error) {
    showDoor(invite, refusal(/** @type {RequestError} */ (error), invite ? "invite" : "key"));
  }
}

/** @param {Pick<SharingOptions, "seat" | "agent" | "dialog">} share */
function showShare(share) {
  closeWatch();
  const page = new Sharing({ ...share, theme, onAgain: () => showDoor(null) });
  sharing = page;
  theme.classList.add("floating");
  fill(app, page.element, theme, toasts.element);
  page.open();
  Object.assign(window, { porchlightShare: page });
}

/**
 * @param {{ ticket: string } | { resumeToken: string }} credential
 * @param {Way | null} way what it was given for; null after a reload, which does not know it any more
 */
function showScreen(credential, way) {
  closeWatch();
  theme.classList.remove("floating");
  const invite = way && "invite" in way ? way.invite : null;
  /** @type {Watch} */
  const mine = new Watch({
    ...credential,
    title,
    theme,
    onEnded: () => {
      // Refused before anything was seen: a page that came back too late.
      const late = way === null && !mine.viewer.attached;
      if (late) queueMicrotask(() => watch === mine && showDoor(null, DOOR.back));
      return late;
    },
    onAgain: () => showDoor(invite, way ? undefined : DOOR.again),
    onKey: () => showDoor(null),
    onProblem: (message) => toasts.show(message, { kind: "error" }),
  });
  watch = mine;
  // While nobody looks the seat is left already, with a token that a reconnect has replaced.
  mine.viewer.on("attached", () => document.hidden && pageAway());
  fill(app, mine.element, toasts.element);
  mine.open();
  // A handle for tests and for looking into a problem from the developer tools.
  Object.assign(window, { porchlightWatch: mine });
}

function closeWatch() {
  const old = watch;
  watch = null;
  old?.close();
}

/** A page that goes, or may be discarded while nobody looks, leaves its seat to the next one of this tab. */
function pageAway() {
  const viewer = watch?.viewer;
  if (!viewer?.resumeToken || viewer.state === "ended") return;
  keepSeat({ resumeToken: viewer.resumeToken, title, name: told.name });
}

addEventListener("pagehide", pageAway);
addEventListener("pageshow", (event) => event.persisted && takeSeat());
document.addEventListener("visibilitychange", () => (document.hidden ? pageAway() : takeSeat()));
// Another link, opened in this tab, loads nothing anew.
addEventListener("hashchange", () => {
  const invite = readInvite();
  // Nobody's screen is shared behind another page.
  if (invite && !sharing?.isOn) showDoor(invite);
});

const invite = readInvite();
const seat = takeSeat();
const share = invite ? null : await takeShare();
if (address) agent = await agentAt(address, group);
if (share) {
  showShare({ seat: { sessionId: share.sessionId, resumeToken: share.resumeToken }, agent: share.note?.agent });
} else if (seat && !invite) {
  title = seat.title ?? "";
  told = { name: seat.name };
  showScreen({ resumeToken: seat.resumeToken }, null);
} else {
  showDoor(invite);
}
