// Tiles: the parts of a picture that changed, each an image of its own (docs/guests.md, "Tiles").
//
// Decides what a well-formed payload is and decodes its images. Does not decide onto which picture they are drawn
// (decoder.js knows its size, view/tiles.js draws), nor which frame may be decoded (gate.js).

/** @import { Frame } from "./frame.js" */
/** @import { Part } from "./decoder.js" */

/** Bytes before each image: where it begins, and its length. */
export const TILE_HEADER_BYTES = 8;
/** Most tiles of one frame: a publisher that has more sends the whole picture. */
export const MAX_TILES = 4096;

/**
 * Reads the payload of a frame of tiles; each image is a view into it, not a copy.
 * Throws where it does not keep to the format.
 * @param {Uint8Array<ArrayBuffer>} payload
 * @returns {{ x: number, y: number, jpeg: Uint8Array<ArrayBuffer> }[]}
 */
export function tilesOf(payload) {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const tiles = [];
  for (let at = 0; at < payload.length; ) {
    const begin = at + TILE_HEADER_BYTES;
    if (begin > payload.length) throw new Error("a tile is shorter than its header");
    const end = begin + view.getUint32(at + 4);
    if (end > payload.length) throw new Error("a tile is longer than its frame");
    if (tiles.length === MAX_TILES) throw new Error(`a frame has more than ${MAX_TILES} tiles`);
    tiles.push({ x: view.getUint16(at), y: view.getUint16(at + 2), jpeg: payload.subarray(begin, end) });
    at = end;
  }
  return tiles;
}

/**
 * Decodes a frame of tiles, one after the other: what is no image, lies outside the picture or is more than the picture
 * is found before much was decoded, and nothing of the frame is drawn.
 * @param {Frame} frame @param {{ width: number, height: number } | null} picture what they are drawn onto
 * @returns {Promise<Part[]>}
 */
export async function decodeTiles({ key, width, height, payload }, picture) {
  if (key) throw new Error("tiles are no whole picture");
  if (picture?.width !== width || picture.height !== height) throw new Error("tiles of another picture");
  /** @type {Part[]} */
  const parts = [];
  let room = width * height;
  try {
    for (const { x, y, jpeg } of tilesOf(payload)) {
      const image = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
      parts.push({ image, x, y });
      if (x + image.width > width || y + image.height > height) throw new Error("a tile lies outside the picture");
      room -= image.width * image.height;
      if (room < 0) throw new Error("tiles lie on each other");
    }
  } catch (error) {
    release(parts);
    throw error;
  }
  return parts;
}

/** @param {readonly Part[]} parts */
export function release(parts) {
  for (const { image } of parts) if ("close" in image) image.close();
}
