// The console's icons: 24-pixel line drawings built as DOM, since a strict CSP and plain modules want no sprite.
//
// Decides their shapes. Does not decide size or colour: both follow the text around them (console.css, `.icon`).

const SVG = "http://www.w3.org/2000/svg";

/** Each icon is one path in a 24 × 24 box. */
const PATHS = Object.freeze({
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM15.5 15.5 20 20",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z",
  system: "M4 5h16v11H4zM9 20h6M12 16v4",
  signOut: "M14 4h5v16h-5M4 12h11M8 8l-4 4 4 4",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  fullScreen: "M14 4h6v6M20 4l-7 7M10 20H4v-6M4 20l7-7",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  stats: "M4 20V10M10 20V4M16 20v-7M21 20H3",
  control: "M6 3l13 9-6 1.2L10 19.5z",
  point: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 2v4M12 18v4M2 12h4M18 12h4",
  camera: "M3 7h12v10H3zM15 11l6-3.5v9L15 13",
  chat: "M4 5h16v11h-8l-5 4v-4H4z",
  send: "M4 12 20 4l-5 16-3-6zM20 4l-8 10",
  leave: "M10 4H5v16h5M20 12H9M16 8l4 4-4 4",
  stop: "M6 6h12v12H6z",
  close: "M6 6l12 12M18 6 6 18",
  check: "M5 12.5 10 17.5 19 7",
  verified: "M12 3l7 3v5.5c0 4.3-3 7.6-7 9.5-4-1.9-7-5.2-7-9.5V6zM8.8 12l2.2 2.3 4.2-4.6",
  key: "M8 15.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM11.5 12H21M18 12v3.5M14.5 12v2.5",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12ZM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z",
  show: "M3 5h18v12H3zM8 21h8M12 14V8.5M9.5 11 12 8.5l2.5 2.5",
  people:
    "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM2.5 20c.5-4 3-6 6.5-6s6 2 6.5 6M16 4.5a3.5 3.5 0 0 1 0 6.3M18 14.5c2 .9 3.2 2.7 3.5 5.5",
  copy: "M8 8h12v12H8zM16 8V4H4v12h4",
  back: "M15 5l-7 7 7 7",
  record: "M5 3h9l5 5v13H5zM14 3v5h5M8.5 13h7M8.5 17h5",
  screen: "M3 4h18v12H3zM9 20h6M12 16v4",
  info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM12 11v5M12 7.7v.1",
  alert: "M12 4 2.5 20h19zM12 10v4.5M12 17.2v.1",
  pause: "M8 5v14M16 5v14",
  settings:
    "M4 7h9M17 7h3M15 9.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4ZM4 17h3M11 17h9M9 19.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4Z",
  lamp: "M7.5 10.5h9L15 20H9ZM6.5 10.5 12 5l5.5 5.5M12 5V2.5M12 13.5v3",
  badge:
    "M5 4h14v16H5zM12 12.5a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4ZM8.3 17c.5-1.8 1.9-2.7 3.7-2.7s3.2.9 3.7 2.7M10 4V2.5h4V4",
  history: "M4 12a8 8 0 1 0 2.6-5.9M4 4v4.5h4.5M12 8v4.3l3 1.9",
  arrow: "M4 12h15M13.5 6.5 19 12l-5.5 5.5",
  edit: "M4 20l1-4.2L16.2 4.6a1.8 1.8 0 0 1 2.5 0l.7.7a1.8 1.8 0 0 1 0 2.5L8.2 19ZM14.5 6.5l3 3",
  refresh: "M19.5 12a7.5 7.5 0 1 1-2.2-5.3L20 9.4M20 4.5v4.9h-4.9",
  download: "M12 4v11M7.5 11 12 15.5 16.5 11M4.5 20h15",
  trash: "M4.5 7h15M9.5 7V4h5v3M6.5 7l1 13h9l1-13M10.2 11v5.5M13.8 11v5.5",
});

/** @typedef {keyof typeof PATHS} IconName */

/**
 * Builds an icon; it is decoration, the element around it carries the name.
 * @param {IconName} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  return drawing("0 0 24 24", "icon", [["path", { d: PATHS[name] }]]);
}

/** The porch light; its look follows `data-light` of an ancestor. */
export function lantern() {
  return drawing("0 0 64 80", "lantern", [
    ["circle", { class: "halo", cx: 32, cy: 43, r: 30 }],
    ["path", { class: "frame", d: "M32 4v8M24 12h16" }],
    ["path", { class: "roof", d: "M15 27 32 12l17 15z" }],
    ["path", { class: "glass", d: "M18 27h28l-4.5 36h-19z" }],
    ["path", { class: "flame", d: "M32 35c5 6 7 9.5 7 13.5a7 7 0 0 1-14 0C25 44.5 27 41 32 35z" }],
    ["path", { class: "frame", d: "M18 27h28l-4.5 36h-19zM32 27v5" }],
    ["path", { class: "roof", d: "M22 63h20l-3 8H25z" }],
  ]);
}

/**
 * @param {string} viewBox @param {string} className
 * @param {[string, Record<string, string | number>][]} shapes
 * @returns {SVGSVGElement}
 */
function drawing(viewBox, className, shapes) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", viewBox);
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  for (const [tag, attributes] of shapes) {
    const shape = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, String(value));
    svg.append(shape);
  }
  return svg;
}
