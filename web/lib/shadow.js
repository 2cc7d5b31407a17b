// A corner of somebody else's page that is ours: a host element with a shadow root and its own style.
//
// Decides how styles get in under a strict CSP. Does not decide what is shown there: terms.js and share/bar.js do.

/** Above everything a page may have made; the dialog is in the top layer anyway. */
const Z_INDEX = "2147483647";

/**
 * Texts, colours and shapes that dialog and bar share. A site may set the `--porchlight-*` properties on
 * any ancestor, or style the parts with `::part()`.
 */
export const BASE_CSS = `
  :host {
    all: initial;
    --_bg: var(--porchlight-background, #ffffff);
    --_text: var(--porchlight-text, #1f1c17);
    --_muted: var(--porchlight-muted, #575146);
    --_line: var(--porchlight-line, #e0dbd1);
    --_soft: var(--porchlight-soft, #f7f5f0);
    --_accent: var(--porchlight-accent, #2d4a8f);
    --_on-accent: var(--porchlight-on-accent, #ffffff);
    --_danger: var(--porchlight-danger, #ab2b21);
    --_radius: var(--porchlight-radius, 14px);
    --_shadow: 0 1px 2px rgb(0 0 0 / .16), 0 12px 40px rgb(0 0 0 / .24);
    color: var(--_text);
    font: 400 16px/1.5 var(--porchlight-font, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif);
  }
  @media (prefers-color-scheme: dark) {
    :host {
      --_bg: var(--porchlight-background, #181d2a);
      --_text: var(--porchlight-text, #edeae3);
      --_muted: var(--porchlight-muted, #b4b2ac);
      --_line: var(--porchlight-line, #384157);
      --_soft: var(--porchlight-soft, #212838);
      --_accent: var(--porchlight-accent, #a3b8f7);
      --_on-accent: var(--porchlight-on-accent, #0d1430);
      --_danger: var(--porchlight-danger, #ff958a);
    }
  }
  *, *::before, *::after { box-sizing: border-box; }
  [hidden] { display: none !important; }
  button {
    font: inherit; font-weight: 600; min-height: 44px; padding: 0 20px; cursor: pointer;
    color: var(--_text); background: transparent; border: 1px solid var(--_line);
    border-radius: calc(var(--_radius) * .7); transition: filter .12s ease, background .12s ease;
  }
  button:hover { background: var(--_soft); }
  button.primary { color: var(--_on-accent); background: var(--_accent); border-color: transparent; }
  button.primary:hover { filter: brightness(1.08); }
  button:disabled { opacity: .55; cursor: default; }
  :focus-visible { outline: 3px solid var(--_accent); outline-offset: 2px; }
  @media (prefers-reduced-motion: reduce) { *, *::before { transition: none !important; animation: none !important; } }
`;

/**
 * Adds a host element at the end of the page.
 * @param {string} name tells the host apart in the page (`data-porchlight`)
 * @param {string} css
 * @param {string} [nonce] for browsers without constructed style sheets
 * @returns {{ host: HTMLElement, root: ShadowRoot }}
 */
export function addHost(name, css, nonce) {
  const host = document.createElement("div");
  host.dataset.porchlight = name;
  host.style.setProperty("position", "relative");
  host.style.setProperty("z-index", Z_INDEX);
  const root = host.attachShadow({ mode: "open" });
  try {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(BASE_CSS + css);
    root.adoptedStyleSheets = [sheet];
  } catch {
    // Before Safari 16.4 there are no constructed style sheets; a strict CSP then needs the page's nonce.
    const style = document.createElement("style");
    if (nonce) style.nonce = nonce;
    style.textContent = BASE_CSS + css;
    root.append(style);
  }
  (document.body ?? document.documentElement).append(host);
  return { host, root };
}

/**
 * Builds an element; texts only ever become text nodes.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/**
 * Fills `{name}` places of a text.
 * @param {string} text @param {Record<string, string>} values
 */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
}
