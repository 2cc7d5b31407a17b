// What barcodes read from an agent's canvas prove: that pictures arrive whole, in order and fresh.
import assert from "node:assert/strict";
import { BARCODE_RANGE } from "../../web/lib/barcode.js";

/** How far `later` is ahead of `earlier`, across the wrap; negative when it is behind. @param {number} later @param {number} earlier */
export function ahead(later, earlier) {
  const steps = (later - earlier + BARCODE_RANGE) % BARCODE_RANGE;
  return steps < BARCODE_RANGE / 2 ? steps : steps - BARCODE_RANGE;
}

/**
 * Every picture could be read, none was older than the one before, and time went on.
 * @param {(number | null)[]} values @param {number} count
 */
export function assertMoving(values, count) {
  assert.ok(values.length >= count, `${values.length} of ${count} pictures came`);
  assert.deepEqual(values.filter((value) => value === null), [], "every picture is readable");
  const steps = values.slice(1).map((value, at) => ahead(Number(value), Number(values[at])));
  assert.ok(steps.every((step) => step >= 0), `no picture is older than the one before: ${values}`);
  assert.ok(steps.some((step) => step > 0), `the picture moves: ${values}`);
}
