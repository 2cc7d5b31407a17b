// The widget with the session key: a visitor who wants help gets digits to read out, and waits until an agent types them.
//
// Decides how it looks and reads, and counts down. Does not decide what a key leads to (the server) nor what is shared: once
// an agent is there the dialog asks. Loaded by porchlight.js when somebody wants it; there is one in a page.
import { addHost, element, fill } from "./lib/shadow.js";

/**
 * Every text, in English; `strings` replaces any of them.
 * @type {Readonly<Record<string, string>>}
 */
export const STRINGS = Object.freeze({
  keyTitle: "Show this page to an agent",
  keyText: "You get a number to read out. Nothing is shown before you agree to it.",
  keyStart: "Get my number",
  keyWaitingTitle: "Read out this number",
  keyWaiting: "Waiting for the agent. It is good for {time}.",
  keyCancel: "Stop waiting",
  keyOver: "This number is no longer good.",
  keyFailed: "That did not work. Try again in a moment.",
  close: "Close",
});

const CSS = `
  section {
    position: fixed; right: 16px; bottom: calc(16px + env(safe-area-inset-bottom)); width: min(22rem, calc(100vw - 32px));
    padding: 20px; display: grid; gap: 12px; color: var(--_text); background: var(--_bg); border: 1px solid var(--_line);
    border-radius: var(--_radius); box-shadow: var(--_shadow);
  }
  h2 { font-size: 1.0625rem; line-height: 1.3; font-weight: 650; margin: 0; }
  h2:focus { outline: none; }
  p { margin: 0; font-size: .9375rem; color: var(--_muted); overflow-wrap: anywhere; }
  output { font-size: 1.75rem; font-weight: 650; letter-spacing: .08em; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
  .foot { display: flex; flex-wrap: wrap; gap: 8px; justify-content: flex-end; }
  @media (forced-colors: active) { section { border: 2px solid; } }
`;

/** Takes the last widget away. @type {(() => void) | null} */
let closeOpen = null;

/** Digits in groups that people can say; anything else as it is. @param {string} key */
export function spoken(key) {
  if (!/^\d{4,12}$/.test(key)) return key;
  const size = key.length % 3 === 0 ? 3 : key.length % 4 === 0 ? 4 : 3;
  return key.match(new RegExp(`\\d{1,${size}}`, "g"))?.join(" ") ?? key;
}

/**
 * Opens the widget; one that is open is replaced.
 * @param {{ api: any, clockSkewMs?: number, strings?: Record<string, string>, nonce?: string }} options
 */
export function openKey({ api, clockSkewMs = 0, strings, nonce }) {
  closeOpen?.();
  const texts = { ...STRINGS, ...strings };
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  const { host, root } = addHost("key", CSS, nonce);
  const title = element("h2", { id: "title", tabindex: "-1", part: "title" });
  const digits = element("output", { part: "key", "data-field": "key" });
  const text = element("p", { part: "text" });
  // What is read out when it changes; the countdown is not, or it would be read out each second.
  const status = element("p", { role: "status", part: "text" });
  const button = (/** @type {string} */ name, /** @type {string} */ label, look = "") =>
    element("button", { type: "button", class: look, part: "button", "data-action": name }, label);
  const start = button("start", texts.keyStart, "primary");
  const cancel = button("cancel", texts.keyCancel);
  const close = button("close", texts.close);
  const foot = element("div", { class: "foot" }, close, cancel, start);
  root.append(element("section", { "aria-labelledby": "title", part: "key-panel" }, title, digits, text, status, foot));

  /** @type {any} */
  let timer;
  let had = false;
  const show = () => {
    const key = api.sessionKey ?? "";
    had ||= !!key;
    title.textContent = key ? texts.keyWaitingTitle : texts.keyTitle;
    if (digits.textContent !== spoken(key)) digits.textContent = spoken(key);
    digits.hidden = cancel.hidden = !key;
    start.hidden = !!key;
    clearTimeout(timer);
    if (!key) {
      text.textContent = texts.keyText;
      if (had) status.textContent = texts.keyOver;
      return;
    }
    status.textContent = "";
    const seconds = Math.max(0, Math.round((Date.parse(api.sessionKeyExpiresAt) - Date.now() - clockSkewMs) / 1_000));
    const time = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    text.textContent = fill(texts.keyWaiting, { time });
    timer = setTimeout(show, 1_000);
  };
  /** @param {() => unknown} ask */
  const asking = async (ask) => {
    status.textContent = "";
    start.disabled = cancel.disabled = true;
    try {
      await ask();
      had = false;
      status.textContent = "";
      show();
    } catch {
      status.textContent = texts.keyFailed;
    }
    start.disabled = cancel.disabled = false;
    title.focus();
  };
  // Who is asked, or shares already, is busy with that.
  const offs = [api.on("sessionKey", show), ...["offer", "session"].map((name) => api.on(name, () => shut()))];
  const shut = () => {
    clearTimeout(timer);
    for (const off of offs) off();
    host.remove();
    if (closeOpen === shut) closeOpen = null;
    before?.focus?.();
  };
  closeOpen = shut;
  start.onclick = () => asking(() => api.startSession());
  cancel.onclick = () => asking(() => api.cancelSession());
  close.onclick = shut;
  root.addEventListener("keydown", (event) => {
    if (/** @type {KeyboardEvent} */ (event).key === "Escape") shut();
  });
  show();
  title.focus();
}
