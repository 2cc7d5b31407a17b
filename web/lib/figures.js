// What a viewer can say about its picture: rate, bandwidth, delay.
//
// Decides how the figures are computed from what arrived and what was drawn; time is an argument.
// Does not decide how they are shown.

/** Length of the window rates are taken over: shorter jumps with every frame, longer hides a stall. */
const WINDOW_MS = 2_000;
/**
 * A delay outside this range cannot be one: the publisher's clock is not ours (it counts from the page's start, or is
 * set wrong). Half a minute is far beyond what the relay lets a viewer fall behind (20 s).
 */
const PLAUSIBLE_DELAY_MS = 30_000;

/**
 * @typedef {object} ViewerStats
 * @property {number} fps pictures drawn per second; 0 on a page that stands still
 * @property {number} kbps kilobits per second received
 * @property {number | null} delayMs from capture to drawing
 * @property {"clock" | "relative" | null} delayBasis `clock`: both clocks agree well enough to compare them;
 *   `relative`: only the delay beyond the fastest picture so far is known
 * @property {number} width
 * @property {number} height
 * @property {string} codec
 * @property {number} drawn
 * @property {number} dropped frames received and not decoded
 * @property {number} withheld frames the publisher or the relay left out
 * @property {boolean} lagging
 */

/** Sliding counters of one picture. */
export class Figures {
  /** @type {{ at: number, bytes: number }[]} */
  #received = [];
  /** @type {number[]} */
  #drawnAt = [];
  /** Smallest difference of our clock and the publisher's, ms: the fastest picture. @type {number | null} */
  #smallest = null;
  /** @type {number | null} */
  #difference = null;
  #captured = 0;
  drawn = 0;

  /** @param {number} now monotonic ms @param {number} bytes */
  received(now, bytes) {
    this.#received.push({ at: now, bytes });
    this.#trim(now);
  }

  /**
   * @param {number} now monotonic ms
   * @param {number} wallMs Unix time, ms
   * @param {number} captureUs capture time of the picture, µs of the publisher's clock
   */
  drew(now, wallMs, captureUs) {
    this.drawn += 1;
    this.#drawnAt.push(now);
    // A capture time that runs back is another clock: the publisher's page was loaded anew.
    if (captureUs < this.#captured) this.#smallest = null;
    this.#captured = captureUs;
    this.#difference = wallMs - captureUs / 1000;
    this.#smallest = Math.min(this.#smallest ?? Infinity, this.#difference);
    this.#trim(now);
  }

  /** @param {number} now monotonic ms */
  rates(now) {
    this.#trim(now);
    const seconds = WINDOW_MS / 1000;
    const bytes = this.#received.reduce((sum, { bytes }) => sum + bytes, 0);
    return { fps: this.#drawnAt.length / seconds, kbps: (bytes * 8) / 1000 / seconds, ...this.#delay() };
  }

  /** @returns {{ delayMs: number | null, delayBasis: "clock" | "relative" | null }} */
  #delay() {
    if (this.#difference === null || this.#smallest === null) return { delayMs: null, delayBasis: null };
    if (this.#smallest >= 0 && this.#smallest < PLAUSIBLE_DELAY_MS) {
      return { delayMs: this.#difference, delayBasis: "clock" };
    }
    return { delayMs: this.#difference - this.#smallest, delayBasis: "relative" };
  }

  /** @param {number} now */
  #trim(now) {
    const from = now - WINDOW_MS;
    while (this.#received.length && this.#received[0].at < from) this.#received.shift();
    while (this.#drawnAt.length && this.#drawnAt[0] < from) this.#drawnAt.shift();
  }
}
