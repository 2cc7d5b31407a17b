// How tests wait, and how the processes that they start are found again should a test be cut off.
import fs from "node:fs";
import path from "node:path";

/** Two shared cores and a debug build: what takes a second here has to be given half a minute. */
export const PATIENCE_MS = 30_000;

/**
 * Waits until `look` gives something true.
 * @template T
 * @param {string} what for the message of the failure
 * @param {() => T | Promise<T>} look
 * @param {number} [ms]
 * @returns {Promise<T>}
 */
export async function until(what, look, ms = PATIENCE_MS) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${ms} ms for ${what}; last seen: ${JSON.stringify(found)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** `run` ends what a test that was cut off has left behind. @param {number | undefined} pid */
export function noted(pid) {
  const dir = process.env.PORCHLIGHT_BROWSER_PIDS;
  if (!dir || !pid) return () => {};
  const note = path.join(dir, String(pid));
  fs.writeFileSync(note, "");
  return () => fs.rmSync(note, { force: true });
}
