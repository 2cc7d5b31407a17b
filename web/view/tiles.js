// Pictures onto a canvas: whole ones, and tiles of what changed on the one before.
//
// Decides how pictures that come while a viewer catches up become one. Does not decide when that is shown (view.js).

import { FrameType } from "../lib/frame.js";
import { release } from "../lib/tiles.js";

/** @import { Picture } from "../lib/decoder.js" */

/** Draws a picture and frees it. @param {CanvasRenderingContext2D | null} context @param {Picture} picture */
export function draw(context, { parts }) {
  for (const { image, x, y } of parts) context?.drawImage(image, x, y);
  release(parts);
}

/** What is decoded and not shown: the newest whole picture, and what changed on it since. */
export class Held {
  /** @type {Picture | null} */
  #picture = null;
  /** Has all of it, once there was more than one: however many follow, they take no more than one picture does. */
  #canvas = /** @type {HTMLCanvasElement | null} */ (null);

  /** @param {Picture} picture */
  add(picture) {
    const under = this.#picture;
    if (!under || picture.frame.type !== FrameType.TILES) {
      this.release();
      this.#picture = picture;
      return;
    }
    if (!this.#canvas) {
      this.#canvas = Object.assign(document.createElement("canvas"), { width: under.width, height: under.height });
      draw(this.#canvas.getContext("2d"), under);
    }
    draw(this.#canvas.getContext("2d"), picture);
    const frame = { ...picture.frame, key: under.frame.key };
    this.#picture = { ...picture, frame, parts: [{ image: this.#canvas, x: 0, y: 0 }] };
  }

  /** What there is to draw, in one. @returns {Picture | null} */
  take() {
    const picture = this.#picture;
    this.#picture = this.#canvas = null;
    return picture;
  }

  release() {
    release(this.take()?.parts ?? []);
  }
}
