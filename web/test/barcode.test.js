import assert from "node:assert/strict";
import { test } from "node:test";
import { BARCODE_RANGE, barcodeHeight, drawBarcode, readBarcode } from "../lib/barcode.js";

const picture = (width, height, fill = 200) => ({ data: new Uint8ClampedArray(width * height * 4).fill(fill), width, height });

test("what is drawn is read, at any width", () => {
  for (const width of [384, 1000, 1280, 1919]) {
    for (const value of [0, 1, 0x555555, 0xaaaaaa, 123_456, BARCODE_RANGE - 1]) {
      const pixels = picture(width, barcodeHeight(width) + 40);
      drawBarcode(pixels, value);
      assert.equal(readBarcode(pixels), value, `${value} at ${width}`);
    }
  }
});

test("noise, blur and low contrast do not change the number", () => {
  const pixels = picture(1280, 400);
  drawBarcode(pixels, 987_654);
  let seed = 7;
  for (let i = 0; i < pixels.data.length; i++) {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff;
    pixels.data[i] = 60 + pixels.data[i] * 0.5 + ((seed >> 8) % 40) - 20;
  }
  assert.equal(readBarcode(pixels), 987_654);
});

test("a plain surface, a small picture and a wrong cell are no number", () => {
  assert.equal(readBarcode(picture(1280, 720)), null);
  assert.equal(readBarcode(picture(1280, 100)), null);
  const pixels = picture(1280, 200);
  drawBarcode(pixels, 42);
  for (let y = 0; y < 80; y++) {
    const at = (y * 1280 + 80) * 4;
    for (let i = at; i < at + 320; i++) pixels.data[i] = 255 - pixels.data[i];
  }
  assert.equal(readBarcode(pixels), null);
});

test("values and sizes out of range are refused", () => {
  assert.throws(() => drawBarcode(picture(1280, 200), BARCODE_RANGE), RangeError);
  assert.throws(() => drawBarcode(picture(1280, 100), 1), RangeError);
  assert.throws(() => drawBarcode(picture(300, 200), 1), RangeError);
});
