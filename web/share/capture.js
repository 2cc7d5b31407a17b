// From the browser's picker to a flow of pictures.
//
// Decides how the screen is asked for and which way of reading frames this browser has: MediaStreamTrackProcessor
// in the window (Chromium), in a worker (Safari 18+), else <video> with requestVideoFrameCallback (Firefox).
// Also decides how a still screen is made to give a picture: it sends one when reading begins, and then nothing.
// Does not decide what becomes of a picture: share/publisher.js does.
import { MAX_FPS } from "../lib/adapt.js";

/** @typedef {VideoFrame | ImageBitmap} Picture whoever receives one closes it */
/** @typedef {"tab" | MediaStreamConstraints | undefined} CaptureWish */

/** The first picture takes 50 to 250 ms; asked for again sooner, a busy computer would be made busier. */
const FIRST_REFRESH_MS = 500;
/** Longest gap between two tries to get a first picture. */
const MAX_REFRESH_MS = 8_000;
/**
 * A reader that is cancelled while a picture is on its way to it loses that picture unclosed, and the capture stalls
 * when too many are. It is waited for so long: a picture takes a few milliseconds, on a busy computer tens of them.
 */
const LET_GO_MS = 250;
/** rVFC stops in hidden pages; browsers then allow about one timer a second. */
const HIDDEN_GRAB_MS = 1_000;

/**
 * Why there is no capture: `denied` by the visitor or a policy, `gesture` when the browser wants a click
 * first, `unsupported` where there is no screen capture (phones), `failed` by the system.
 */
export class CaptureError extends Error {
  /** @param {"denied" | "gesture" | "unsupported" | "failed"} code @param {unknown} [cause] */
  constructor(code, cause) {
    super(`screen capture ${code}`, { cause });
    this.name = "CaptureError";
    this.code = code;
  }
}

/**
 * Lets the visitor choose a screen, window or tab.
 * @param {CaptureWish} wish `tab` prefers this very tab; an object goes to getDisplayMedia as it is
 * @param {MediaDevices | undefined} [devices]
 * @returns {Promise<MediaStreamTrack>}
 */
export async function pickScreen(wish, devices = navigator.mediaDevices) {
  if (!devices?.getDisplayMedia) throw new CaptureError("unsupported");
  const options = {
    video: { frameRate: MAX_FPS },
    audio: false,
    selfBrowserSurface: "include",
    surfaceSwitching: "include",
    ...(wish === "tab" ? { preferCurrentTab: true } : wish),
  };
  try {
    const stream = await devices.getDisplayMedia(options);
    const [track] = stream.getVideoTracks();
    track.contentHint = "text";
    return track;
  } catch (error) {
    const name = /** @type {DOMException} */ (error).name;
    if (name === "NotAllowedError" || name === "AbortError") throw new CaptureError("denied", error);
    if (name === "InvalidStateError" || name === "InvalidAccessError") throw new CaptureError("gesture", error);
    throw new CaptureError("failed", error);
  }
}

/**
 * Reads a track's pictures until `stop`. `refresh` brings about a picture of a screen that stands still: a browser
 * sends one to everybody who begins to read, so another reader is opened, and takes over with its first picture.
 * Until the first picture of all came, this is done without being asked.
 * @param {MediaStreamTrack} track
 * @param {(picture: Picture) => void} onPicture
 * @returns {{ refresh(): void, stop(): void }}
 */
export function readPictures(track, onPicture) {
  const open = typeof MediaStreamTrackProcessor === "function" ? readProcessor : readWorkerOrVideo;
  /** @type {{ stop(): void } | null} */
  let reader = null;
  /** @type {{ stop(): void } | null} */
  let newer = null;
  let wait = FIRST_REFRESH_MS;
  let stopped = false;
  const begin = () => {
    const mine = open(track, (picture) => {
      clearTimeout(timer);
      if (mine === newer) {
        reader?.stop();
        [reader, newer] = [mine, null];
      }
      onPicture(picture);
    });
    return mine;
  };
  const refresh = () => {
    if (stopped) return;
    newer?.stop();
    newer = null;
    try {
      newer = begin();
    } catch {
      // The track has ended; its `ended` event is what the publisher listens to.
    }
  };
  const insist = () => {
    refresh();
    wait = Math.min(wait * 2, MAX_REFRESH_MS);
    timer = setTimeout(insist, wait);
  };
  let timer = setTimeout(insist, wait);
  reader = begin();
  return {
    refresh,
    stop() {
      stopped = true;
      clearTimeout(timer);
      newer?.stop();
      reader?.stop();
    },
  };
}

/** @param {MediaStreamTrack} track @param {(picture: Picture) => void} onPicture */
function readProcessor(track, onPicture) {
  return readStream(new MediaStreamTrackProcessor({ track }).readable, onPicture);
}

/** @param {MediaStreamTrack} track @param {(picture: Picture) => void} onPicture */
function readWorkerOrVideo(track, onPicture) {
  // The worker tells within a moment whether it can; until then, and if not, the <video> reads.
  const video = readVideo(track, onPicture);
  const worker = readInWorker(track, onPicture, video.stop);
  return {
    stop() {
      video.stop();
      worker.stop();
    },
  };
}

/**
 * @param {ReadableStream<VideoFrame>} stream
 * @param {(picture: Picture) => void} onPicture
 */
function readStream(stream, onPicture) {
  const reader = stream.getReader();
  let stopped = false;
  const letGo = () => void reader.cancel().catch(() => {});
  (async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      if (stopped) {
        value.close();
        return letGo();
      }
      try {
        onPicture(value);
      } catch (error) {
        // One picture that could not be used must not end the reading of all others.
        console.warn("Porchlight: a picture was lost", error);
      }
    }
  })().catch(() => {
    // The track ended in the middle of a read; its `ended` event is what the publisher listens to.
  });
  return {
    stop() {
      stopped = true;
      setTimeout(letGo, LET_GO_MS);
    },
  };
}

/**
 * @param {MediaStreamTrack} track
 * @param {(picture: Picture) => void} onPicture
 * @param {() => void} onFirst called before the first picture: nobody else need read now
 */
function readInWorker(track, onPicture, onFirst) {
  const url = new URL("./capture-worker.js", import.meta.url).href;
  // A worker of another origin is refused, one of our own making that imports it is not.
  const sameOrigin = new URL(url).origin === location.origin;
  const loader = new Blob([`import ${JSON.stringify(url)};`], { type: "text/javascript" });
  const wrapper = sameOrigin ? url : URL.createObjectURL(loader);
  /** @type {Worker | null} */
  let worker = null;
  const copy = track.clone();
  const stop = () => {
    worker?.terminate();
    worker = null;
    copy.stop();
    if (!sameOrigin) URL.revokeObjectURL(wrapper);
  };
  try {
    worker = new Worker(wrapper, { type: "module" });
    let first = true;
    worker.onmessage = ({ data }) => {
      if (data === null) return stop();
      if (first) onFirst();
      first = false;
      onPicture(data);
    };
    worker.onerror = stop;
    worker.postMessage(copy, [/** @type {any} */ (copy)]);
  } catch {
    // Tracks cannot be transferred here (Firefox), or the page's CSP forbids workers: the <video> goes on reading.
    stop();
  }
  return { stop };
}

/**
 * @param {MediaStreamTrack} track
 * @param {(picture: Picture) => void} onPicture
 */
function readVideo(track, onPicture) {
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  video.srcObject = new MediaStream([track]);
  let stopped = false;
  let drawn = -1;
  const grab = async () => {
    const frames = video.getVideoPlaybackQuality().totalVideoFrames;
    if (stopped || video.readyState < 2 || frames === drawn) return;
    drawn = frames;
    /** @type {Picture} */
    let picture;
    try {
      // A browser without WebCodecs still has ImageBitmap, which is enough for JPEG.
      picture = typeof VideoFrame === "function" ? new VideoFrame(video) : await createImageBitmap(video);
    } catch (error) {
      drawn = -1; // of a still screen this is the only one: it has to be taken another time
      throw error;
    }
    if (stopped) picture.close();
    else onPicture(picture);
  };
  const next = () => {
    if (stopped) return;
    video.requestVideoFrameCallback(next);
    grab().catch(ignoreUnready);
  };
  const timer = setInterval(() => document.hidden && grab().catch(ignoreUnready), HIDDEN_GRAB_MS);
  video.requestVideoFrameCallback(next);
  video.play().catch(ignoreUnready);
  return {
    stop() {
      stopped = true;
      clearInterval(timer);
      video.srcObject = null;
    },
  };
}

/** A picture that could not be taken is followed by another, or a refresh is asked for; play() is interrupted by `stop`. */
function ignoreUnready() {}
