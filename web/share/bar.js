// The stop bar: always in sight while something is shared, so that nobody shares without knowing.
//
// Decides how it looks and reads. Does not decide what pause and stop do: share.js does.
import { addHost, element, fill } from "../lib/shadow.js";

/**
 * Every text, in English; `strings` replaces any of them.
 * @type {Readonly<Record<string, string>>}
 */
export const STRINGS = Object.freeze({
  barLabel: "Screen share",
  barNobody: "You’re sharing. Waiting for an agent",
  barOne: "You’re sharing with {names}",
  barScreen: "You’re sharing your screen with {names}",
  barControl: "{name} clicks and types on this page",
  controlWaits: "{name} waits for you",
  barPaused: "Paused. {names} can’t see your screen",
  barPausedNobody: "Sharing is paused",
  barReconnecting: "Connection lost. Reconnecting…",
  barEnded: "Sharing has ended",
  someone: "an agent",
  and: " and ",
  others: "{count} others",
  takeBack: "Take back",
  showScreen: "Show screen",
  showPage: "Show page only",
  pause: "Pause",
  resume: "Resume",
  stop: "Stop",
});

/** Long enough to notice; nothing is shared any more. */
const ENDED_MS = 4_000;

// Nothing here may move by itself: in a capture of this tab it would be a new picture for ever.
const CSS = `
  .bar {
    position: fixed; left: 50%; bottom: calc(var(--porchlight-bar-offset, 16px) + env(safe-area-inset-bottom));
    transform: translateX(-50%); display: flex; align-items: center; gap: 6px; max-width: calc(100vw - 24px);
    padding: 6px 6px 6px 16px; color: var(--_text); background: var(--_bg); border: 1px solid var(--_line);
    border-radius: 999px; box-shadow: var(--_shadow); font-size: .9375rem; line-height: 1.3;
  }
  .dot { flex: none; width: 10px; height: 10px; margin-right: 4px; border-radius: 50%; background: var(--_danger); }
  .paused .dot, .reconnecting .dot, .ended .dot { background: transparent; border: 2px solid var(--_muted); }
  .text { min-width: 0; margin-right: 8px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .ended .text { margin: 6px 14px 6px 0; }
  button { flex: none; min-height: 36px; padding: 0 14px; border-radius: 999px; font-size: .9375rem; }
  .stop { color: var(--_bg); background: var(--_danger); border-color: transparent; }
  .stop:hover { background: var(--_danger); filter: brightness(1.1); }
  @media (max-width: 30rem) {
    .bar { width: max-content; padding-left: 12px; font-size: .875rem; }
    .text { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; white-space: normal; }
    button { padding: 0 11px; }
  }
  @media (forced-colors: active) { .bar { border: 2px solid; } .dot { forced-color-adjust: none; } }
`;

/** @typedef {"sharing" | "paused" | "reconnecting"} BarState */

/**
 * @typedef {object} BarOptions
 * @property {Record<string, string>} [strings]
 * @property {string} [nonce]
 * @property {() => void} onPause pressed "Pause" or "Resume"
 * @property {() => void} onStop
 * @property {() => void} [onTakeBack] pressed "Take back"
 * @property {() => void} [onInstead] pressed "Show screen" or "Show page only"
 */

/**
 * Puts the bar at the bottom of the page.
 * @param {BarOptions} options
 */
export function openBar({ strings, nonce, onPause, onStop, onTakeBack, onInstead }) {
  const texts = { ...STRINGS, ...strings };
  const { host, root } = addHost("bar", CSS, nonce);
  const text = element("span", { class: "text", role: "status", part: "bar-text" });
  const pause = element("button", { type: "button", part: "button pause", "data-action": "pause" });
  const stop = element("button", { type: "button", part: "button stop", class: "stop", "data-action": "stop" }, texts.stop);
  const back = element("button", { type: "button", part: "button take-back", "data-action": "takeBack", hidden: "" }, texts.takeBack);
  const other = element("button", { type: "button", part: "button instead", "data-action": "instead", hidden: "" });
  const dot = element("span", { class: "dot", "aria-hidden": "true" });
  const bar = element("div", { part: "bar", role: "region", "aria-label": texts.barLabel }, dot, text, back, other, pause, stop);
  root.append(bar);
  pause.onclick = onPause;
  stop.onclick = onStop;
  back.onclick = () => onTakeBack?.();
  other.onclick = () => onInstead?.();

  /** @param {string} value */
  const say = (value) => {
    // Only a change is read out by a screen reader.
    if (text.textContent !== value) text.textContent = value;
    text.title = value;
  };

  return {
    /**
     * @param {BarState} state
     * @param {readonly string[]} names of the agents who watch
     * @param {string | null} [hands] of whom control was given to
     * @param {"screen" | "page" | null} [instead] what may be shown instead
     */
    update(state, names, hands = null, instead = null) {
      bar.className = `bar ${state}`;
      pause.hidden = state === "reconnecting";
      back.hidden = hands === null || state !== "sharing";
      other.hidden = instead === null || state !== "sharing";
      other.textContent = instead === "page" ? texts.showPage : texts.showScreen;
      pause.textContent = state === "paused" ? texts.resume : texts.pause;
      if (state === "reconnecting") return say(texts.barReconnecting);
      const who = joinNames(names, texts);
      if (state === "paused") return say(who ? fill(texts.barPaused, { names: who }) : texts.barPausedNobody);
      if (hands !== null) return say(fill(texts.barControl, { name: hands || texts.someone }));
      say(who ? fill(instead === "page" ? texts.barScreen : texts.barOne, { names: who }) : texts.barNobody);
    },
    /** Says that it is over, then goes. */
    ended() {
      bar.className = "bar ended";
      pause.hidden = stop.hidden = back.hidden = other.hidden = true;
      say(texts.barEnded);
      setTimeout(() => host.remove(), ENDED_MS);
    },
    remove() {
      host.remove();
    },
  };
}

/**
 * "Alice", "Alice and Bob", "Alice and 2 others".
 * @param {readonly string[]} names @param {Readonly<Record<string, string>>} texts
 */
export function joinNames(names, texts = STRINGS) {
  const [first, second, ...more] = names.map((name) => name || texts.someone);
  if (!first) return "";
  if (!second) return first;
  return first + texts.and + (more.length ? fill(texts.others, { count: String(more.length + 1) }) : second);
}
