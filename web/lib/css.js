// The addresses in style sheets.
//
// Decides how `url(…)` is found and put. Does not decide which of them may be loaded (share/assets.js, view/safe.js).

const URLS = /url\(\s*(?:"([^"]*)"|'([^']*)'|([^"'()\s]*))\s*\)/gi;
const IMPORTS = /@import\s[^;]*;?/gi;

/** Addresses in a style sheet, each once. @param {string} css */
export function urlsOf(css) {
  const urls = new Set();
  for (const [, double, single, bare] of css.matchAll(URLS)) urls.add(double ?? single ?? bare ?? "");
  urls.delete("");
  return [...urls];
}

/**
 * The sheet with other addresses in it, and without imports.
 * @param {string} css
 * @param {(url: string) => string | null} put null: an empty one
 */
export function withUrls(css, put) {
  return css.replace(IMPORTS, "").replace(URLS, (_, double, single, bare) => {
    const url = double ?? single ?? bare ?? "";
    return `url("${(url.startsWith("#") ? url : (put(url) ?? "data:,")).replace(/["\\\n]/g, "")}")`;
  });
}
