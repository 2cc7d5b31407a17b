// Browser interfaces that TypeScript's lib.dom does not declare yet.

/** Chromium, in windows: https://w3c.github.io/mediacapture-transform/ */
declare class MediaStreamTrackProcessor {
  constructor(init: { track: MediaStreamTrack; maxBufferSize?: number });
  readonly readable: ReadableStream<VideoFrame>;
}

interface EncodedVideoChunkMetadata {
  /** Scalable coding: which temporal layer a chunk belongs to. */
  svc?: { temporalLayerId: number };
}

// The library that records and shows pages: npm brings it, the server serves it (build.rs, http/assets.rs).
declare module "*/rrweb/replay.js" {
  export const Replayer: any;
}
