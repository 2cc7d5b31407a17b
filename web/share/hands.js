// An agent's input, applied to the page itself: pointer, clicks, wheel, typing.
//
// Decides what an event of the wire does here, and where it does nothing: passwords, masked and blocked places, and
// whatever we put on the page ourselves, so that nobody grants themselves anything. Does not decide whether there is a
// grant: the server passes input on under a live one only, and share.js hands it here while it lasts.
// The browser calls all of this untrusted. What it keeps for people does not happen: files, downloads, full screen,
// lists that open, pages of other origins in frames.
import { addHost, element } from "../lib/shadow.js";
import { isBlocked, isMasked, isSecret } from "./mask.js";

/** @import { InputEvent } from "../lib/wire.js" */

/** Largest coordinate of the wire. */
const WIRE_EDGE = 65_535;
const SHIFT = 1;
const CONTROL = 2;
const ALT = 4;
const META = 8;
/** Fields that are typed into. */
const TYPED = new Set(["text", "search", "email", "tel", "url", "number", "date", "datetime-local", "month", "week", "time"]);
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
  /** @type {any} */
  #pressed = null;

  /** @param {{ name: string, nonce?: string }} options */
  constructor({ name, nonce }) {
    const { host, root } = addHost("pointer", CSS, nonce);
    this.#host = host;
    this.#pointer = element("div", { class: "pointer", hidden: "" }, element("span", { class: "name" }, name));
    root.append(this.#pointer);
  }

  /** @param {readonly InputEvent[]} events */
  apply(events) {
    for (const event of events) this.#apply(event);
  }

  close() {
    this.#host.remove();
  }

  /** @param {InputEvent} event */
  #apply(event) {
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
        return void this.#say(this.#focused, KeyboardEvent, "keyup", { key: event.key, code: event.code, ...modifiers(event) });
      case "text":
        return this.#type(event.text ?? "");
    }
  }

  // ---- pointer --------------------------------------------------------------------------------------

  /** What is there, if it may be touched. @param {number} x @param {number} y @returns {any} */
  #at(x, y) {
    /** @type {any} */
    let found = document.elementFromPoint(x, y);
    for (let inner = found?.shadowRoot?.elementFromPoint(x, y); inner && inner !== found; inner = found.shadowRoot?.elementFromPoint(x, y)) found = inner;
    return found && mayTouch(found) ? found : null;
  }

  /** @param {number} x @param {number} y @param {InputEvent} event */
  #move(x, y, event) {
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
    const target = (this.#pressed = this.#at(x, y));
    const where = { clientX: x, clientY: y, button: event.button ?? 0, buttons: 1, detail: 1, ...modifiers(event) };
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
    const target = this.#at(x, y);
    const button = event.button ?? 0;
    const where = { clientX: x, clientY: y, button, detail: 1, ...modifiers(event) };
    this.#say(target, PointerEvent, "pointerup", where);
    this.#say(target, MouseEvent, "mouseup", where);
    const pressed = this.#pressed;
    this.#pressed = null;
    if (!target || !pressed || !(target === pressed || target.contains(pressed) || pressed.contains(target))) return;
    const hit = target.contains(pressed) ? target : pressed;
    // A click on what names a secret field would focus it; a file cannot be chosen for the visitor.
    const field = hit.closest("label")?.control ?? hit;
    if (button === 2) this.#say(hit, MouseEvent, "contextmenu", where);
    else if (button === 0 && !(field.localName === "input" && (field.type === "file" || isSecret(field)))) this.#say(hit, PointerEvent, "click", where);
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

  /** @param {string} text */
  #type(text) {
    const target = this.#focused;
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
