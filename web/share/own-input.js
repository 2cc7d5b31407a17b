// The person in front of the page and the agent who controls it: the person wins.
//
// Decides which events are the person's own, and until when an agent's input is held back for them. Does not decide what
// that means for a click or a key: hands.js does. Typing and pointing in frames is not seen from here.

/** Held back for this long after the person's last event: they would fight over pointer and focus. As long as a guest that is a program waits. */
export const OWN_INPUT_MS = 1_000;
/** What only a person does, as the browser vouches by `isTrusted`. */
const EVENTS = ["pointerdown", "pointermove", "wheel", "keydown", "touchstart", "touchmove"];
/** Before the page's own listeners, which may stop an event. */
const FIRST = { capture: true, passive: true };

/** Watches one page for its person. */
export class OwnInput {
  #page;
  #now;
  #onUse;
  #until = -Infinity;
  /** Where the pointer was. @type {string | null} */
  #place = null;

  /**
   * @param {object} options
   * @param {(begins: boolean) => void} options.onUse the person uses the page; `begins`: it was not being held back for them
   * @param {EventTarget} [options.page]
   * @param {() => number} [options.now] milliseconds
   */
  constructor({ onUse, page = window, now = () => performance.now() }) {
    this.#onUse = onUse;
    this.#page = page;
    this.#now = now;
    for (const type of EVENTS) page.addEventListener(type, this.#sees, FIRST);
  }

  /** Whether an agent's input is held back now. */
  get holds() {
    return this.#now() < this.#until;
  }

  close() {
    for (const type of EVENTS) this.#page.removeEventListener(type, this.#sees, FIRST);
  }

  #sees = (/** @type {any} */ event) => {
    if (!event.isTrusted || !this.#isDone(event)) return;
    const begins = !this.holds;
    this.#until = this.#now() + OWN_INPUT_MS;
    this.#onUse(begins);
  };

  /** A page that moves below a resting pointer makes the browser tell of the pointer as well. @param {any} event */
  #isDone({ type, screenX, screenY }) {
    if (!type.startsWith("pointer")) return true;
    const place = `${screenX} ${screenY}`;
    const before = this.#place;
    this.#place = place;
    return type !== "pointermove" || (before !== null && before !== place);
  }
}
