// Reads a track's frames in a worker, where Safari has MediaStreamTrackProcessor, and posts them to the page.
// Answers null where there is none; share/capture.js then goes on reading by <video>.

/** @type {any} */
const scope = globalThis;

scope.onmessage = async (/** @type {MessageEvent<MediaStreamTrack>} */ { data: track }) => {
  if (typeof scope.MediaStreamTrackProcessor !== "function") return scope.postMessage(null);
  const reader = new scope.MediaStreamTrackProcessor({ track }).readable.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    scope.postMessage(value, [value]);
  }
};
