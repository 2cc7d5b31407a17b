// The pictures, fonts and foreign style sheets of a page, fetched by the page itself.
//
// Decides what is fetched: only what the page shows or has loaded itself, within a budget. An agent's browser then
// loads nothing from anywhere. What the page itself may not read (another origin without CORS) is not shown.
// Does not decide where an address stands in the page (share/page.js).

/** All of a page's assets together: with its snapshot they must fit into one frame of 4 MiB. */
const TOTAL_BYTES = 2.5 * 1024 * 1024;
/** One of them: half the budget would leave a page of a photograph without its fonts. */
const ONE_BYTES = 768 * 1024;
/** Pictures above this are made smaller, to the size they are shown in. */
const SHRINK_BYTES = 160 * 1024;
/** Fetched at once: most come from the browser's cache. */
const AT_ONCE = 6;
/** Addresses looked at in one page; a list of thousands of pictures must not fill the memory. */
const MOST = 400;

const FONT_TYPES = /** @type {Record<string, string>} */ ({ woff2: "font/woff2", woff: "font/woff", ttf: "font/ttf", otf: "font/otf" });

/** @typedef {{ text: string } | { data: string }} Asset CSS as text, all else as a `data:` address */

/** The assets of one page. */
export class Assets {
  /** @type {Map<string, Asset | null>} null: cannot be had */
  #have = new Map();
  /** Asked for and not known yet. @type {Set<string>} */
  #asked = new Set();
  /** @type {Map<string, HTMLElement | null>} wanted, with the element that shows it */
  #waiting = new Map();
  #running = 0;
  #bytes = 0;
  #onReady;
  /** @type {(() => void)[]} */
  #idle = [];

  /** @param {(url: string, asset: Asset) => void} onReady */
  constructor(onReady) {
    this.#onReady = onReady;
  }

  /** @param {string} url @returns {Asset | null | undefined} undefined: not known yet, null: cannot be had */
  get(url) {
    return this.#have.get(url);
  }

  /** All that are there. */
  all() {
    /** @type {Record<string, string>} */
    const all = {};
    for (const [url, asset] of this.#have) if (asset && "data" in asset) all[url] = asset.data;
    return all;
  }

  /** @param {string} url absolute @param {HTMLElement | null} [shownBy] */
  want(url, shownBy = null) {
    if (!/^https?:/.test(url) || this.#have.has(url) || this.#asked.has(url)) return;
    if (this.#have.size + this.#asked.size >= MOST) return;
    this.#asked.add(url);
    this.#waiting.set(url, shownBy);
    this.#next();
  }

  /** Resolves when nothing is awaited any more. @returns {Promise<void>} */
  settled() {
    if (!this.#running && !this.#waiting.size) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #next() {
    while (this.#running < AT_ONCE && this.#waiting.size) {
      const [[url, shownBy]] = this.#waiting;
      this.#waiting.delete(url);
      this.#running += 1;
      this.#fetch(url, shownBy)
        .catch(() => null) // The page may not read it, or it is gone: it stays blank.
        .then((asset) => {
          this.#running -= 1;
          this.#asked.delete(url);
          const fits = asset && this.#fits(asset) ? asset : null;
          this.#have.set(url, fits);
          if (fits) this.#onReady(url, fits);
          this.#next();
        });
    }
    if (!this.#running && !this.#waiting.size) for (const done of this.#idle.splice(0)) done();
  }

  /** @param {Asset} asset */
  #fits(asset) {
    const bytes = "text" in asset ? asset.text.length : (asset.data.length * 3) / 4;
    if (bytes > ONE_BYTES || this.#bytes + bytes > TOTAL_BYTES) return false;
    this.#bytes += bytes;
    return true;
  }

  /** @param {string} url @param {HTMLElement | null} shownBy @returns {Promise<Asset | null>} */
  async #fetch(url, shownBy) {
    const same = new URL(url).origin === location.origin;
    /** @type {Blob} */
    let blob;
    try {
      const answer = await fetch(url, { credentials: same ? "same-origin" : "omit", cache: "force-cache" });
      if (!answer.ok) return null;
      blob = await answer.blob();
    } catch {
      // A strict policy of the site may forbid to fetch what it allows to show.
      return { data: drawn(shownBy instanceof HTMLImageElement ? shownBy : await loaded(url)) };
    }
    const type = blob.type.split(";")[0].trim().toLowerCase();
    if (type === "text/css") return { text: await blob.text() };
    const font = /^(font\/|application\/(x-)?font-)/.test(type) || type === "application/octet-stream" || !type;
    if (font) {
      const kind = FONT_TYPES[/\.(\w+)$/.exec(new URL(url).pathname)?.[1] ?? ""] ?? (type.startsWith("font/") ? type : "");
      return kind ? { data: await dataUrl(new Blob([blob], { type: kind })) } : null;
    }
    if (!type.startsWith("image/")) return null;
    if (blob.size > SHRINK_BYTES && type !== "image/svg+xml") return { data: await smaller(blob, shownBy) };
    return { data: await dataUrl(blob) };
  }
}

/** @param {Blob} blob @returns {Promise<string>} */
function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(/** @type {string} */ (reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** A picture as the page may show it; what is none rejects. @param {string} url */
async function loaded(url) {
  const image = new Image();
  image.crossOrigin = "anonymous";
  image.src = url;
  await image.decode();
  return image;
}

/** What an image shows, if it is not of another origin. @param {HTMLImageElement} image */
function drawn(image) {
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  canvas.getContext("2d")?.drawImage(image, 0, 0);
  return canvas.toDataURL("image/webp", 0.8);
}

/** A picture in the size in which it is shown. @param {Blob} blob @param {HTMLElement | null} shownBy */
async function smaller(blob, shownBy) {
  const picture = await createImageBitmap(blob);
  const box = shownBy?.getBoundingClientRect();
  const wanted = box?.width ? Math.max(box.width / picture.width, box.height / picture.height) : 1;
  const most = Math.sqrt(2_000_000 / (picture.width * picture.height));
  const scale = Math.min(1, most, wanted * Math.min(devicePixelRatio || 1, 2));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return canvas.toDataURL("image/webp", 0.8);
}
