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
