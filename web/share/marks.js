// What agents point at, on the visitor's page: a named mark each, which goes by itself.
//
// Decides how a mark looks and when it goes. Does not decide whether a place of the picture is one of this page: share.js
// knows what is shown. A mark touches nothing: pointing is no control.
import { addHost, element } from "../lib/shadow.js";

/** Long enough to look there; a mark that stayed would be in the way. */
const GOES_MS = 2_000;
/** Largest coordinate of the wire. */
const WIRE_EDGE = 65_535;

// Nothing here moves by itself: in a capture of this tab each step would be a picture.
const CSS = `
  .mark {
    position: fixed; left: 0; top: 0; width: 28px; height: 28px; margin: -14px 0 0 -14px; border-radius: 50%; pointer-events: none;
    background: color-mix(in srgb, var(--_accent) 25%, transparent); border: 3px solid var(--_accent); box-shadow: 0 0 0 2px #fff;
  }
  .name { position: absolute; left: 30px; top: 12px; padding: 0 6px; border-radius: 6px; color: var(--_on-accent); background: var(--_accent); font-size: 12px; white-space: nowrap; }
`;

/** The marks on one page. */
export class Marks {
  #nonce;
  /** @type {ReturnType<typeof addHost> | null} */
  #place = null;
  /** By participant. @type {Map<string, { mark: HTMLElement, name: HTMLElement, timer: any }>} */
  #marks = new Map();

  /** @param {{ nonce?: string }} options */
  constructor({ nonce }) {
    this.#nonce = nonce;
  }

  /** @param {{ participantId: string, name: string, x: number, y: number }} point 0–65535 of the window */
  show({ participantId, name, x, y }) {
    const here = this.#marks.get(participantId) ?? this.#add(participantId);
    here.name.textContent = name;
    here.name.hidden = !name;
    here.mark.style.transform = `translate(${(x / WIRE_EDGE) * innerWidth}px, ${(y / WIRE_EDGE) * innerHeight}px)`;
    clearTimeout(here.timer);
    here.timer = setTimeout(() => this.#remove(participantId), GOES_MS);
  }

  close() {
    for (const participantId of [...this.#marks.keys()]) this.#remove(participantId);
  }

  /** @param {string} participantId */
  #add(participantId) {
    this.#place ??= addHost("marks", CSS, this.#nonce);
    const name = element("span", { class: "name" });
    const mark = element("div", { class: "mark", "aria-hidden": "true" }, name);
    this.#place.root.append(mark);
    const here = { mark, name, timer: null };
    this.#marks.set(participantId, here);
    return here;
  }

  /** @param {string} participantId */
  #remove(participantId) {
    const here = this.#marks.get(participantId);
    clearTimeout(here?.timer);
    here?.mark.remove();
    this.#marks.delete(participantId);
    if (this.#marks.size) return;
    this.#place?.host.remove();
    this.#place = null;
  }
}
