// Building DOM without markup strings: text is always text, so nothing a visitor sends can become an element.
//
// Decides how properties become attributes and listeners. Does not decide what anything looks like.

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Builds an element. `on…` properties are listeners, true and false set and omit an attribute, the rest are attributes.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [props]
 * @param {...Child} children null, undefined and false are left out
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else set(element, name, value);
  }
  element.append(...nodes(children));
  return element;
}

/**
 * Sets or removes one attribute, only when that changes something.
 * @param {Element} element @param {string} name @param {string | number | boolean | null | undefined} value
 */
export function set(element, name, value) {
  if (value === false || value === null || value === undefined) {
    element.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/**
 * Sets the text, only when it changed, so that a selection and screen readers are left in peace.
 * @param {Node} node @param {string} text
 */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Replaces all children. @param {Element} element @param {...Child} children */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
}

/** @param {Child[]} children */
function nodes(children) {
  return children
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}
