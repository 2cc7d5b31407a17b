// The course of a session: one line per event, with the time since the beginning and the time of day.
//
// Decides how events are drawn and that they stay in order. Does not decide what they say (events.js).

import { h, set } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { tell } from "./events.js";
import { clock, dayName, exactMoment, exactTime, startOfDay } from "./words.js";

/** @import { SessionEvent } from "../../lib/past.js" */
/** @import { Cast } from "./events.js" */

/** The list. */
export class Timeline {
  /** @type {number | null} */
  #begin = null;
  #day = 0;
  #after = 0n;
  element = h("ol", { class: "timeline", "data-test": "timeline" });

  /** The place of the last event, to read on from. */
  get after() {
    return String(this.#after);
  }

  /** Adds what came later. @param {SessionEvent[]} events in order @param {Cast} cast */
  add(events, cast) {
    for (const event of events) {
      // Two questions may have been answered in one go.
      if (BigInt(event.sequence) <= this.#after) continue;
      this.#after = BigInt(event.sequence);
      this.#put(event, cast);
    }
  }

  /** @param {SessionEvent} event @param {Cast} cast */
  #put(event, cast) {
    const at = Date.parse(event.time);
    this.#begin ??= at;
    if (startOfDay(at) !== this.#day) {
      this.#day = startOfDay(at);
      this.element.append(h("li", { class: "timeline-day" }, dayName(event.time)));
    }
    const { icon: iconName, tone, text, note } = tell(event, cast);
    const item = h(
      "li",
      { class: "happening", "data-test": "happening", "data-kind": event.kind, "data-sequence": event.sequence },
      h("span", { class: "happening-mark" }, icon(iconName)),
      h("div", { class: "happening-body" }, h("p", {}, text), note && h("p", { class: "happening-note" }, note)),
      h(
        "time",
        { class: "happening-time", datetime: event.time, title: exactMoment(event.time) },
        h("span", { class: "happening-since" }, `+${clock(at - this.#begin)}`),
        h("span", { class: "happening-clock" }, exactTime(event.time)),
      ),
    );
    if (tone) set(item, "data-tone", tone);
    this.element.append(item);
  }
}
