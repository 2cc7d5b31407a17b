// An agent's input, applied to the page itself: pointer, clicks, wheel, typing.
//
// Decides what an event of the wire does here, and where it does nothing: passwords, masked and blocked places, and
// whatever we put on the page ourselves, so that nobody grants themselves anything. The person's own input comes first
// (own-input.js): meanwhile an agent presses, moves and types nothing, and what it held is let go of. Whatever is held back
// is told with its reason. Does not decide whether there is a grant: the server passes input on under a live one only, and
// share.js hands it here while it lasts.
// The browser calls all of this untrusted. What it keeps for people does not happen: files, downloads, full screen,
// lists that open, pages of other origins in frames.
import { addHost, element, fill } from "../lib/shadow.js";
import { isBlocked, isMasked, isSecret } from "./mask.js";
import { OWN_INPUT_MS, OwnInput } from "./own-input.js";

/** @import { HeldReason, InputEvent } from "../lib/wire.js" */

/** Largest coordinate of the wire. */
const WIRE_EDGE = 65_535;
const SHIFT = 1;
const CONTROL = 2;
const ALT = 4;
const META = 8;
/** Fields that are typed into. */
const TYPED = new Set(["text", "search", "email", "tel", "url", "number", "date", "datetime-local", "month", "week", "time"]);
/** The same reason is told again after this long: the agent's page takes it back a little later. */
const TELL_MS = 500;
const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex], [contenteditable]";

const CSS = `
  .pointer {
    position: fixed; left: 0; top: 0; width: 18px; height: 18px; margin: -9px 0 0 -9px; border-radius: 50%; pointer-events: none;
    background: color-mix(in srgb, var(--_accent) 70%, transparent); border: 2px solid #fff; box-shadow: 0 0 0 1px rgb(0 0 0 / .4);
  }
  .name { position: absolute; left: 20px; top: 12px; padding: 0 6px; border-radius: 6px; color: var(--_on-accent); background: var(--_accent); font-size: 12px; white-space: nowrap; }
`;

/** The hands of one agent on this page, while it has control. */
export class Hands {
  #host;
  #pointer;
  /** @type {any} */
  #over = null;
  /** What each button that is held was pressed on, and where the pointer was last. @type {Map<number, any>} */
  #pressed = new Map();
  #place = { clientX: 0, clientY: 0 };
  /** Keys that are held. @type {Map<string, InputEvent>} */
  #keys = new Map();
  #own;
  #now;
  #label;
  #names;
  #onHeld;
  /** When each reason was told. @type {Map<HeldReason, number>} */
  #told = new Map();
  /** @type {any} */
  #waiting = null;

  /**
   * @param {object} options
   * @param {string} options.name
   * @param {string} [options.nonce]
   * @param {string} [options.waits] what its label says while the person uses the page, with `{name}`
   * @param {(reason: HeldReason) => void} [options.onHeld] input is held back; told twice a second at most for each reason
   * @param {() => number} [options.now] milliseconds
   */
  constructor({ name, nonce, waits = "{name}", onHeld = () => {}, now = () => performance.now() }) {
    const { host, root } = addHost("pointer", CSS, nonce);
    this.#host = host;
    this.#names = { plays: name, waits: fill(waits, { name }) };
    this.#label = element("span", { class: "name" }, name);
    this.#pointer = element("div", { class: "pointer", hidden: "" }, this.#label);
    root.append(this.#pointer);
    this.#onHeld = onHeld;
    this.#now = now;
    this.#own = new OwnInput({ onUse: (begins) => this.#yield(begins), now });
  }

  /** @param {readonly InputEvent[]} events */
  apply(events) {
    for (const event of events) this.#apply(event);
  }

  close() {
    this.#release();
    this.#own.close();
    clearTimeout(this.#waiting);
    this.#host.remove();
  }

  /** The person uses the page. @param {boolean} begins */
  #yield(begins) {
    if (begins) {
      this.#release();
      this.#label.textContent = this.#names.waits;
    }
    clearTimeout(this.#waiting);
    this.#waiting = setTimeout(() => (this.#label.textContent = this.#names.plays), OWN_INPUT_MS);
    this.#tell("own_input");
  }

  /** Lets go of whatever is held; nothing is clicked by it. */
  #release() {
    for (const [button, target] of this.#pressed) this.#letGo(target, button, this.#place);
    for (const event of this.#keys.values()) this.#keyUp(event);
    this.#pressed.clear();
    this.#keys.clear();
  }

  /** @param {HeldReason} reason */
  #tell(reason) {
    const now = this.#now();
    if (now - (this.#told.get(reason) ?? -Infinity) < TELL_MS) return;
    this.#told.set(reason, now);
    this.#onHeld(reason);
  }

  /** @param {InputEvent} event */
  #apply(event) {
    // What is let go of is always let go of: it was released when the person came, or it still is pressed.
    if (this.#own.holds && event.t !== "up" && event.t !== "keyup") return this.#tell("own_input");
    const x = ((event.x ?? 0) / WIRE_EDGE) * innerWidth;
    const y = ((event.y ?? 0) / WIRE_EDGE) * innerHeight;
    switch (event.t) {
      case "move":
        return this.#move(x, y, event);
      case "down":
        this.#move(x, y, event);
        return this.#down(x, y, event);
      case "up":
        return this.#up(x, y, event);
      case "wheel":
        return this.#wheel(x, y, event);
      case "keydown":
        return this.#key(event);
      case "keyup":
        if (this.#keys.delete(event.code || event.key || "")) this.#keyUp(event);
        return;
      case "text":
        return this.#type(event.text ?? "");
    }
  }

  // ---- pointer --------------------------------------------------------------------------------------

  /** What is there, if it may be touched. @param {number} x @param {number} y @returns {any} */
  #at(x, y) {
    const found = elementAt(x, y);
    return found && mayTouch(found) ? found : null;
  }

  /** @param {number} x @param {number} y @param {InputEvent} event */
  #move(x, y, event) {
    this.#place = { clientX: x, clientY: y };
    this.#pointer.hidden = false;
    this.#pointer.style.transform = `translate(${x}px, ${y}px)`;
    const target = this.#at(x, y);
    const where = { clientX: x, clientY: y, ...modifiers(event) };
    if (target !== this.#over) {
      this.#say(this.#over, MouseEvent, "mouseout", { ...where, relatedTarget: target });
      this.#over = target;
      this.#say(target, PointerEvent, "pointerover", where);
      this.#say(target, MouseEvent, "mouseover", where);
    }
    this.#say(target, PointerEvent, "pointermove", where);
    this.#say(target, MouseEvent, "mousemove", where);
  }

  /** @param {number} x @param {number} y @param {InputEvent} event */
  #down(x, y, event) {
    const target = this.#at(x, y);
    const button = event.button ?? 0;
    this.#pressed.set(button, target);
    const reason = whyNotPressed(elementAt(x, y));
    if (reason) this.#tell(reason);
    const where = { clientX: x, clientY: y, button, buttons: 1, detail: 1, ...modifiers(event) };
    this.#say(target, PointerEvent, "pointerdown", where);
    if (!this.#say(target, MouseEvent, "mousedown", where)) return;
    const focusable = target?.closest(FOCUSABLE) ?? target?.closest("label")?.control;
    if (focusable && !isSecret(focusable)) {
      const anew = this.#focused !== focusable;
      focusable.focus({ preventScroll: true });
      // Where in the text it was pressed is not to be had; its end is what people mostly want.
      if (anew && isTyped(focusable) && focusable.selectionStart !== null) focusable.setSelectionRange(focusable.value.length, focusable.value.length);
    } else if (target) this.#focused?.blur?.();
  }

  /** @param {number} x @param {number} y @param {InputEvent} event */
  #up(x, y, event) {
    const button = event.button ?? 0;
    // It was let go of already, or held back: a second time would end what the person presses.
    if (!this.#pressed.has(button)) return;
    const pressed = this.#pressed.get(button);
    this.#pressed.delete(button);
    const target = this.#at(x, y);
    const where = { clientX: x, clientY: y, ...modifiers(event) };
    this.#letGo(target, button, where);
    if (!target || !pressed || !(target === pressed || target.contains(pressed) || pressed.contains(target))) return;
    const hit = target.contains(pressed) ? target : pressed;
    // A click on what names a secret field would focus it; a file cannot be chosen for the visitor.
    const field = fieldOf(hit);
    const facts = { ...where, button, detail: 1 };
    if (button === 2) this.#say(hit, MouseEvent, "contextmenu", facts);
    else if (button === 0 && !(field.localName === "input" && (field.type === "file" || isSecret(field)))) this.#say(hit, PointerEvent, "click", facts);
  }

  /** @param {any} target @param {number} button @param {object} where */
  #letGo(target, button, where) {
    const facts = { ...where, button, detail: 1 };
    this.#say(target, PointerEvent, "pointerup", facts);
    this.#say(target, MouseEvent, "mouseup", facts);
  }

  /** @param {number} x @param {number} y @param {InputEvent} event */
  #wheel(x, y, event) {
    const target = this.#at(x, y);
    const { dx = 0, dy = 0 } = event;
    if (!target || !this.#say(target, WheelEvent, "wheel", { clientX: x, clientY: y, deltaX: dx, deltaY: dy, ...modifiers(event) })) return;
    for (let at = target; at && at !== document.documentElement; at = at.parentElement ?? at.getRootNode().host) {
      const { overflowX, overflowY } = getComputedStyle(at);
      const { scrollLeft, scrollTop } = at;
      at.scrollBy({ left: /auto|scroll/.test(overflowX) ? dx : 0, top: /auto|scroll/.test(overflowY) ? dy : 0, behavior: "instant" });
      if (at.scrollLeft !== scrollLeft || at.scrollTop !== scrollTop) return;
    }
    scrollBy({ left: dx, top: dy, behavior: "instant" });
  }

  // ---- keyboard -------------------------------------------------------------------------------------

  /** What has the focus, if it may be typed into. @returns {any} */
  get #focused() {
    /** @type {any} */
    let at = document.activeElement;
    while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
    return at && mayTouch(at) && !isSecret(at) ? at : null;
  }

  /** @param {InputEvent} event */
  #key(event) {
    const { key = "", code = "", modifiers: held = 0 } = event;
    const target = this.#focused;
    this.#keys.set(code || key, event);
    if (!target) this.#tellOfFocus();
    if (!target || !this.#say(target, KeyboardEvent, "keydown", { key, code, ...modifiers(event) })) return;
    if (held & (CONTROL | META | ALT)) return; // shortcuts are the page's own business
    if ([...key].length === 1) return this.#type(key);
    if (key === "Tab") return this.#tab(target, (held & SHIFT) !== 0);
    if (key === "Enter") {
      if (target.localName === "textarea" || target.isContentEditable) return this.#type("\n");
      if (isTyped(target)) return target.form?.requestSubmit();
      return void this.#say(target, PointerEvent, "click", {});
    }
    if (key === "Backspace" || key === "Delete") return this.#erase(target, key === "Delete");
    if (target.localName === "select" && (key === "ArrowDown" || key === "ArrowUp")) return this.#choose(target, key === "ArrowDown" ? 1 : -1);
    if (isTyped(target) && /^(Arrow(Left|Right)|Home|End)$/.test(key)) this.#caret(target, key);
  }

  /** @param {InputEvent} event */
  #keyUp({ key, code, ...event }) {
    this.#say(this.#focused, KeyboardEvent, "keyup", { key, code, ...modifiers(/** @type {InputEvent} */ (event)) });
  }

  /** The person left the focus where an agent does not type. */
  #tellOfFocus() {
    const { activeElement } = document;
    if (activeElement?.localName === "iframe") this.#tell("frame");
    else if (activeElement && activeElement !== document.body) this.#tell("hidden");
  }

  /** @param {string} text */
  #type(text) {
    const target = this.#focused;
    if (!target) this.#tellOfFocus();
    if (!target || !text) return;
    if (target.isContentEditable) return void document.execCommand("insertText", false, text);
    if (!isTyped(target) || target.readOnly || target.disabled) return;
    this.#replace(target, text, target.selectionStart, target.selectionEnd);
  }

  /** @param {any} field @param {boolean} forward */
  #erase(field, forward) {
    if (field.isContentEditable) return void document.execCommand(forward ? "forwardDelete" : "delete");
    if (!isTyped(field) || field.readOnly || field.disabled) return;
    const { value } = field;
    let start = field.selectionStart ?? value.length;
    let end = field.selectionEnd ?? value.length;
    if (start === end && forward) end = Math.min(value.length, end + 1);
    else if (start === end) start = Math.max(0, start - 1);
    this.#replace(field, "", start, end);
  }

  /** @param {any} field @param {string} text @param {number | null} start @param {number | null} end */
  #replace(field, text, start, end) {
    const { value } = field;
    // Some fields (numbers, dates) tell no caret: at the end.
    const from = start ?? value.length;
    const put = field.localName === "textarea" ? text : text.replace(/[\r\n]+/g, " ");
    setValue(field, value.slice(0, from) + put + value.slice(end ?? value.length));
    if (start !== null) field.setSelectionRange(from + put.length, from + put.length);
    this.#say(field, InputEvent, "input", { data: put || null, inputType: put ? "insertText" : "deleteContentBackward" });
  }

  /** @param {any} list @param {number} step */
  #choose(list, step) {
    const next = Math.min(list.options.length - 1, Math.max(0, list.selectedIndex + step));
    if (next === list.selectedIndex) return;
    list.selectedIndex = next;
    this.#say(list, Event, "input", {});
    this.#say(list, Event, "change", {});
  }

  /** @param {any} field @param {string} key */
  #caret(field, key) {
    if (field.selectionStart === null) return;
    const end = field.value.length;
    const at = { Home: 0, End: end, ArrowLeft: Math.max(0, field.selectionStart - 1), ArrowRight: Math.min(end, field.selectionEnd + 1) }[key] ?? 0;
    field.setSelectionRange(at, at);
  }

  /** @param {any} from @param {boolean} back */
  #tab(from, back) {
    const all = [...document.querySelectorAll(FOCUSABLE)].filter(
      (/** @type {any} */ one) => one.tabIndex >= 0 && !one.disabled && one.getClientRects().length && mayTouch(one) && !isSecret(one),
    );
    const at = all.indexOf(from);
    /** @type {any} */ (all[(at + (back ? -1 : 1) + all.length) % all.length])?.focus();
  }

  /**
   * Tells the page of an event; false when the page keeps the browser from what it would do.
   * @param {any} target
   * @param {any} Kind
   * @param {string} type
   * @param {object} facts
   */
  #say(target, Kind, type, facts) {
    if (!target) return false;
    const pointer = Kind === PointerEvent ? { pointerId: 1, pointerType: "mouse", isPrimary: true } : {};
    return target.dispatchEvent(new Kind(type, { bubbles: true, cancelable: true, composed: true, view: window, ...pointer, ...facts }));
  }
}

/** What is there, inside shadow roots too. @param {number} x @param {number} y @returns {any} */
function elementAt(x, y) {
  /** @type {any} */
  let found = document.elementFromPoint(x, y);
  for (let inner = found?.shadowRoot?.elementFromPoint(x, y); inner && inner !== found; inner = found.shadowRoot?.elementFromPoint(x, y)) found = inner;
  return found;
}

/** The field that is meant, by its label too. @param {any} target */
const fieldOf = (target) => target.closest?.("label")?.control ?? target;

/**
 * Why pressing it does not do what it would do for a person.
 * @param {any} target @returns {HeldReason | null}
 */
export function whyNotPressed(target) {
  if (!target) return null;
  const field = fieldOf(target);
  if (!mayTouch(target) || (field.localName === "input" && isSecret(field))) return "hidden";
  if (field.localName === "input" && field.type === "file") return "file";
  const list = target.closest?.("select") ?? field;
  if (list.localName === "select" && !list.multiple && !(list.size > 1)) return "list";
  return field.localName === "iframe" || field.localName === "object" || field.localName === "embed" ? "frame" : null;
}

/** Not what is hidden from the agent, nor what asks the visitor. @param {any} target */
function mayTouch(target) {
  if (isMasked(target) || isBlocked(target)) return false;
  for (let at = target; at; at = at.parentNode ?? at.host) if (at.dataset?.porchlight) return false;
  return true;
}

/** @param {any} field */
const isTyped = (field) => field.localName === "textarea" || (field.localName === "input" && TYPED.has(field.type));

/** As a browser sets it: libraries that watch the property on the element itself would miss it. @param {any} field @param {string} value */
function setValue(field, value) {
  const { prototype } = field.localName === "textarea" ? HTMLTextAreaElement : HTMLInputElement;
  Object.getOwnPropertyDescriptor(prototype, "value")?.set?.call(field, value);
}

/** @param {InputEvent} event */
function modifiers({ modifiers: held = 0 }) {
  return { shiftKey: !!(held & SHIFT), ctrlKey: !!(held & CONTROL), altKey: !!(held & ALT), metaKey: !!(held & META) };
}
