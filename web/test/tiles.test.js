// Tiles of a picture: what a payload says, what is decoded of it, and onto what it is drawn. Images are texts that say
// their size.
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { PictureDecoder } from "../lib/decoder.js";
import { FrameType } from "../lib/frame.js";
import { MAX_TILES, TILE_HEADER_BYTES, tilesOf } from "../lib/tiles.js";
import { draw, Held } from "../view/tiles.js";

/** An image that a fake decoder reads. @param {string} text such as 64x32 */
const jpeg = (text) => new TextEncoder().encode(text);

/** @param {...[number, number, string]} tiles */
function payloadOf(...tiles) {
  const parts = tiles.map(([x, y, text]) => {
    const image = jpeg(text);
    const bytes = new Uint8Array(TILE_HEADER_BYTES + image.length);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, x);
    view.setUint16(2, y);
    view.setUint32(4, image.length);
    bytes.set(image, TILE_HEADER_BYTES);
    return bytes;
  });
  return Uint8Array.from(parts.flatMap((bytes) => [...bytes]));
}

describe("payload of tiles", () => {
  it("is read in order, as views into it", () => {
    // Begins somewhere in a larger buffer, as behind a header.
    const whole = Uint8Array.from([9, 9, 9, ...payloadOf([0, 0, "a"], [0x1234, 0xfffe, "bcd"])]);
    const tiles = tilesOf(whole.subarray(3));
    assert.deepEqual(tiles.map(({ x, y }) => [x, y]), [[0, 0], [0x1234, 0xfffe]]);
    assert.deepEqual(tiles.map((tile) => new TextDecoder().decode(tile.jpeg)), ["a", "bcd"]);
    assert.equal(tiles[0].jpeg.buffer, whole.buffer);
    assert.deepEqual(tilesOf(new Uint8Array(0)), []);
  });

  it("is refused wherever it is cut off, and with too many", () => {
    const payload = payloadOf([1, 2, "abc"], [3, 4, "de"]);
    const second = TILE_HEADER_BYTES + 3;
    for (let length = 1; length < payload.length; length += 1) {
      if (length === second) continue;
      assert.throws(() => tilesOf(payload.subarray(0, length)), /a tile is (shorter|longer)/, `${length}`);
    }
    const long = payloadOf([0, 0, "abc"]);
    long[4] = 0xff;
    assert.throws(() => tilesOf(long), /longer than its frame/);
    const most = new Uint8Array(MAX_TILES * TILE_HEADER_BYTES);
    assert.equal(tilesOf(most).length, MAX_TILES);
    assert.throws(() => tilesOf(new Uint8Array((MAX_TILES + 1) * TILE_HEADER_BYTES)), /more than 4096 tiles/);
  });
});

describe("frames of tiles", () => {
  /** @type {any[]} */
  let images;
  /** @type {any[]} */
  let pictures;
  /** @type {string[]} */
  let errors;
  let decoder;
  let sequence;

  beforeEach(() => {
    [images, pictures, errors, sequence] = [[], [], [], 0];
    globalThis.createImageBitmap = async (blob) => {
      const text = await blob.text();
      const size = /^(\d+)x(\d+)$/.exec(text);
      if (!size) throw new Error("no image");
      const image = { text, width: Number(size[1]), height: Number(size[2]), closed: 0, close: () => (image.closed += 1) };
      images.push(image);
      return image;
    };
    decoder = new PictureDecoder({ onPicture: (picture) => pictures.push(picture), onError: ({ message }) => errors.push(message) });
  });

  afterEach(() => {
    delete globalThis.createImageBitmap;
    delete globalThis.document;
  });

  const decodes = (type, payload, { key = type === FrameType.IMAGE, width = 100, height = 80, restart = false } = {}) =>
    decoder.decode({ type, key, width, height, payload, sequence: sequence++ }, { paint: true, restart });
  const whole = (text = "100x80", more) => decodes(FrameType.IMAGE, jpeg(text), more);
  const tiles = (...parts) => decodes(FrameType.TILES, payloadOf(...parts));

  async function settled() {
    for (let turns = 0; decoder.queued > 0; turns += 1) {
      assert.ok(turns < 10_000, "it is decoded in the end");
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  it("come as one picture each, in order, behind the one that they are drawn onto", async () => {
    whole();
    tiles([64, 0, "36x80"], [0, 64, "64x16"]);
    tiles();
    await settled();
    assert.deepEqual(errors, []);
    const seen = pictures.map(({ parts, width, height, frame }) => [frame.sequence, width, height, ...parts.map(({ image, x, y }) => [x, y, image.text])]);
    assert.deepEqual(seen, [[0, 100, 80, [0, 0, "100x80"]], [1, 100, 80, [64, 0, "36x80"], [0, 64, "64x16"]], [2, 100, 80]]);
  });

  it("are given up whole, with what was decoded of them, when anything of them is wrong", async () => {
    const wrong = {
      "a tile lies outside the picture": [[0, 0, "1x1"], [64, 0, "37x1"]],
      "tiles lie on each other": [[0, 0, "100x80"], [0, 0, "1x1"], [0, 0, "100x80"]],
      "no image": [[0, 0, "1x1"], [1, 1, ""]],
    };
    for (const [message, parts] of Object.entries(wrong)) {
      whole();
      await settled();
      [pictures, errors, images] = [[], [], []];
      tiles(.../** @type {any} */ (parts));
      await settled();
      assert.deepEqual([pictures, errors], [[], [message]]);
      assert.ok(images.length > 0 && images.length < parts.length + 1, message);
      assert.deepEqual(images.filter(({ closed }) => closed !== 1), [], message);
      assert.equal(decoder.hopeless, false);
    }
    whole();
    const cut = payloadOf([0, 0, "1x1"]).subarray(0, 9);
    decodes(FrameType.TILES, cut);
    await settled();
    assert.deepEqual(errors.splice(0), ["no image", "a tile is longer than its frame"]);
  });

  it("are of the picture before them and of no other", async () => {
    tiles([0, 0, "1x1"]);
    await settled();
    whole("90x80");
    tiles([0, 0, "1x1"]);
    await settled();
    whole();
    decodes(FrameType.TILES, payloadOf([0, 0, "1x1"]), { key: true });
    await settled();
    assert.deepEqual(errors, ["tiles of another picture", "tiles of another picture", "tiles are no whole picture"]);
    assert.equal(pictures.length, 2);
  });

  it("of before a loss are dropped", async () => {
    whole();
    tiles([0, 0, "1x1"]);
    whole("100x80", { restart: true });
    await settled();
    assert.deepEqual([pictures.map(({ frame }) => frame.sequence), errors], [[2], []]);
    assert.equal(images.filter(({ closed }) => closed === 1).length, images.length - 1);
  });

  /** A canvas that notes what is drawn. */
  function fakeCanvas() {
    const drawn = [];
    const context = { drawImage: (image, x, y) => drawn.push([image.text ?? image.drawn, x, y]) };
    return { drawn, width: 0, height: 0, getContext: () => context };
  }

  it("that nobody saw yet are one picture with what they are drawn onto, and take the place of one", async () => {
    const made = [];
    globalThis.document = { createElement: () => (made.push(fakeCanvas()), made.at(-1)) };
    const held = new Held();
    assert.equal(held.take(), null);
    whole();
    for (let times = 0; times < 20; times += 1) tiles([64, 0, "36x80"]);
    await settled();
    for (const picture of pictures) held.add(picture);
    assert.equal(made.length, 1);
    const picture = held.take();
    assert.deepEqual([picture.frame.sequence, picture.frame.key, picture.width, picture.height], [20, true, 100, 80]);
    assert.deepEqual([made[0].width, made[0].height, made[0].drawn.length], [100, 80, 21]);
    assert.deepEqual(made[0].drawn.slice(0, 2), [["100x80", 0, 0], ["36x80", 64, 0]]);
    assert.deepEqual(images.filter(({ closed }) => closed !== 1), []);
    const shown = fakeCanvas();
    draw(shown.getContext(), picture);
    assert.deepEqual(shown.drawn, [[made[0].drawn, 0, 0]]);
    assert.equal(held.take(), null);
  });

  it("that nobody saw yet are forgotten with the next whole picture", async () => {
    const made = [];
    globalThis.document = { createElement: () => (made.push(fakeCanvas()), made.at(-1)) };
    const held = new Held();
    whole();
    tiles([0, 0, "1x1"]);
    whole();
    await settled();
    for (const picture of pictures) held.add(picture);
    const picture = held.take();
    assert.deepEqual([picture, picture.parts[0].image.closed], [pictures[2], 0]);
    held.add(picture);
    held.release();
    assert.deepEqual([held.take(), ...images.map(({ closed }) => closed)], [null, 1, 1, 1]);
  });
});
