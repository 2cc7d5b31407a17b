// Payload of a DOM frame: what happened in a page, as JSON, compressed where the browser can.
//
// Decides the bytes behind the header of a frame of type 5. Does not decide what is in them (share/page.js) nor what
// of it may be shown (view/safe.js).

/** First byte of a payload. */
const PLAIN = 0;
const DEFLATED = 1;

/** A snapshot that unpacks to more is no page but an attack on the viewer's memory. */
export const UNPACKED_BYTES = 48 * 1024 * 1024;

/**
 * What one frame holds.
 * @typedef {object} Batch
 * @property {any[]} events of the recorder
 * @property {Record<string, string>} [assets] `data:` addresses by the addresses they stand for
 * @property {[number, number, number, string][]} [canvases] node, width and height on the page, picture
 */

/** @param {Batch} batch @returns {Promise<Uint8Array<ArrayBuffer>>} */
export async function pack(batch) {
  const plain = new TextEncoder().encode(JSON.stringify(batch));
  const deflates = typeof CompressionStream === "function";
  const parts = deflates ? await through(plain, new CompressionStream("deflate-raw"), Infinity) : [plain];
  return joined([Uint8Array.of(deflates ? DEFLATED : PLAIN), ...parts]);
}

/** @param {Uint8Array<ArrayBuffer>} payload @returns {Promise<Batch>} */
export async function unpack(payload) {
  const rest = payload.subarray(1);
  let plain = rest;
  if (payload[0] === DEFLATED) plain = joined(await through(rest, new DecompressionStream("deflate-raw"), UNPACKED_BYTES));
  else if (payload[0] !== PLAIN) throw new Error(`payload of kind ${payload[0]}`);
  const batch = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(plain));
  if (!Array.isArray(batch?.events)) throw new Error("payload without events");
  return batch;
}

/** @param {Uint8Array<ArrayBuffer>} bytes @param {GenericTransformStream} transform @param {number} most */
async function through(bytes, transform, most) {
  const writer = transform.writable.getWriter();
  // Whoever reads hears of errors.
  writer.write(bytes).catch(() => {});
  writer.close().catch(() => {});
  const reader = transform.readable.getReader();
  const parts = [];
  for (let length = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return parts;
    length += value.length;
    if (length > most) {
      reader.cancel().catch(() => {});
      throw new Error(`payload unpacks to more than ${most} bytes`);
    }
    parts.push(value);
  }
}

/** @param {Uint8Array[]} parts @returns {Uint8Array<ArrayBuffer>} */
function joined(parts) {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
