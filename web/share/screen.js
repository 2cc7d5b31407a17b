// A screen, window or tab as it is shared: chosen, read, encoded.
//
// Decides in which order this happens: what the page covers is covered before the picker opens, and painted so before the
// first picture is read. Does not decide how a screen is asked for and read (share/capture.js), what is covered
// (share/cover.js), how pictures become frames (share/publisher.js), nor when any of it begins: share.js does.
import { pickScreen, readPictures } from "./capture.js";
import { Covers } from "./cover.js";
import { Publisher } from "./publisher.js";

/** A page in the back is not painted: it is not waited for any longer. */
const PAINTED_MS = 250;

/** A browser that quits ends its captures first, and its pages within this time: then nobody stopped anything. */
const QUITS_MS = 500;

/**
 * @typedef {object} ScreenOptions
 * @property {(frame: Uint8Array<ArrayBuffer>) => void} send
 * @property {() => number} buffered bytes that wait in the socket
 * @property {() => void} onStopped the browser's own "stop sharing" was pressed
 * @property {() => void} onChanged another tab may be shown instead, by the browser's own bar
 * @property {import("./capture.js").CaptureWish} [capture]
 * @property {boolean} [av1]
 * @property {string} [nonce]
 */

/** One screen, from the choice to the last picture. */
export class Screen {
  publisher;
  #options;
  #closed = false;
  /** @type {Covers | null} */
  #covers = null;
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** @type {ReturnType<typeof readPictures> | null} */
  #reader = null;
  /** Tells this page from others that could be chosen. */
  #handle = `porchlight-${Math.random().toString(36).slice(2)}`;

  /** @param {ScreenOptions} options */
  constructor(options) {
    this.#options = options;
    const { send, buffered, av1 } = options;
    this.publisher = new Publisher({ send, buffered, refresh: () => this.#reader?.refresh(), av1 });
  }

  /** Lets the visitor choose; pictures flow when this resolves. Throws a `CaptureError` where nothing was chosen. */
  async choose() {
    this.#covers ??= new Covers(this.#options);
    this.#name();
    const track = await pickScreen(this.#options.capture);
    if (this.#closed) return track.stop();
    this.#track = track;
    track.onended = () => setTimeout(() => this.#closed || this.#options.onStopped(), QUITS_MS);
    /** @type {any} */ (track).oncapturehandlechange = () => this.#options.onChanged();
    await painted();
    if (this.#closed) return;
    this.#reader = readPictures(track, (picture) => this.publisher.picture(picture));
  }

  get muted() {
    return !!this.#track?.muted;
  }

  /** Whether the pictures are of this very page, where the browser tells. */
  get isThisPage() {
    return /** @type {any} */ (this.#track)?.getCaptureHandle?.()?.handle === this.#handle;
  }

  close() {
    this.#closed = true;
    this.#reader?.stop();
    if (this.#track) {
      this.#track.onended = null;
      this.#track.stop();
    }
    this.publisher.close();
    // Not before the last picture was taken.
    this.#covers?.close();
  }

  /** A name that a capture of this page has, for nobody but this page. */
  #name() {
    try {
      const devices = /** @type {any} */ (navigator.mediaDevices);
      devices?.setCaptureHandleConfig?.({ handle: this.#handle, exposeOrigin: false, permittedOrigins: [location.origin] });
    } catch {
      // In a frame it may not be named: then it is not known that it is this page.
    }
  }
}

/** What was changed is on the screen, too. */
function painted() {
  return new Promise((resolve) => {
    setTimeout(resolve, PAINTED_MS);
    requestAnimationFrame(() => requestAnimationFrame(resolve));
  });
}
