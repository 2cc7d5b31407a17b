// A number as big black and white cells: proves end to end which picture an agent sees.
//
// Decides the layout: 24 bits and their checksum in two rows of 16 square cells over the whole width of the picture.
// Works on plain pixels. Does not touch a canvas: pages/site/barcode.js draws, tests read an agent's canvas.

const COLUMNS = 16;
const ROWS = 2;
/** Values wrap here: 4.6 hours as milliseconds. */
export const BARCODE_RANGE = 2 ** 24;
/** A cell smaller than this does not survive a lossy picture. */
export const MIN_CELL = 24;
/** Less contrast than this is a picture of something else. */
const MIN_CONTRAST = 64;

/** @typedef {{ data: Uint8ClampedArray, width: number, height: number }} Pixels RGBA, as in ImageData */

/** Height of a barcode in a picture of this width. @param {number} width */
export function barcodeHeight(width) {
  return Math.round((width / COLUMNS) * ROWS);
}

/**
 * Draws a value over the top of a picture.
 * @param {Pixels} pixels at least `barcodeHeight(width)` high
 * @param {number} value 0 to 2^24 - 1
 */
export function drawBarcode({ data, width, height }, value) {
  const cell = width / COLUMNS;
  if (height < barcodeHeight(width) || cell < MIN_CELL) throw new RangeError(`${width}x${height} is too small`);
  if (!(Number.isInteger(value) && value >= 0 && value < BARCODE_RANGE)) throw new RangeError(`${value} is not 24 bits`);
  const word = new Uint32Array(data.buffer, data.byteOffset, width * height);
  const bits = bitsOf(value);
  for (let y = 0; y < barcodeHeight(width); y++) {
    const row = Math.min(ROWS - 1, Math.floor(y / cell));
    for (let column = 0; column < COLUMNS; column++) {
      const from = y * width + Math.round(column * cell);
      const to = y * width + Math.round((column + 1) * cell);
      word.fill(bits[row * COLUMNS + column] ? 0xff000000 : 0xffffffff, from, to);
    }
  }
}

/**
 * Reads the value at the top of a picture, or null when there is none that can be trusted.
 * @param {Pixels} pixels
 * @returns {number | null}
 */
export function readBarcode({ data, width, height }) {
  const cell = width / COLUMNS;
  if (height < barcodeHeight(width) || cell < 4) return null;
  const lights = [];
  for (let row = 0; row < ROWS; row++) {
    for (let column = 0; column < COLUMNS; column++) {
      lights.push(lightOf(data, width, (column + 0.5) * cell, (row + 0.5) * cell, cell / 4));
    }
  }
  const low = Math.min(...lights);
  const high = Math.max(...lights);
  if (high - low < MIN_CONTRAST) return null;
  const middle = (low + high) / 2;
  let word = 0n;
  for (const light of lights) word = (word << 1n) | (light < middle ? 1n : 0n);
  const value = Number(word >> 8n);
  return checksum(value) === Number(word & 0xffn) ? value : null;
}

/** @param {number} value @returns {boolean[]} true = black */
function bitsOf(value) {
  const word = (BigInt(value) << 8n) | BigInt(checksum(value));
  return Array.from({ length: COLUMNS * ROWS }, (_, bit) => ((word >> BigInt(31 - bit)) & 1n) === 1n);
}

/** CRC-8 (polynomial 0x07), started at 0xff so that no plain surface is a number. @param {number} value */
function checksum(value) {
  let crc = 0xff;
  for (const shift of [16, 8, 0]) {
    crc ^= (value >> shift) & 0xff;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : (crc << 1) & 0xff;
  }
  return crc;
}

/**
 * Mean light of the inner part of a cell, 0 to 255.
 * @param {Uint8ClampedArray} data @param {number} width @param {number} x @param {number} y @param {number} reach
 */
function lightOf(data, width, x, y, reach) {
  let sum = 0;
  let count = 0;
  const step = Math.max(1, Math.floor(reach / 2));
  for (let dy = -2; dy <= 2; dy++) {
    for (let dx = -2; dx <= 2; dx++) {
      const at = (Math.floor(y + dy * step) * width + Math.floor(x + dx * step)) * 4;
      sum += (data[at] + data[at + 1] + data[at + 2]) / 3;
      count += 1;
    }
  }
  return sum / count;
}
