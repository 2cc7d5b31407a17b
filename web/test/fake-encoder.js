// An encoder that puts out what the test wants, and pictures that notice their use after the end.
import assert from "node:assert/strict";
import { FrameType } from "../lib/frame.js";

export class FakeEncoder {
  busy = false;
  orders = [];
  rates = [];
  sizes = [];
  closed = false;
  constructor(family, size, kbps, events) {
    this.family = family;
    this.events = events;
    this.configure(size, kbps);
  }
  configure(size, kbps) {
    this.sizes.push(`${size.width}x${size.height}`);
    this.size = size;
    this.setKbps(kbps);
  }
  setKbps(kbps) {
    this.rates.push(kbps);
  }
  encode(picture, order) {
    assert.ok(!picture.closed, "a closed picture was encoded");
    this.orders.push(order);
    this.busy = true;
  }
  /** Lets the encoder finish what it was given last. */
  finish({ layer = 0, bytes = 10 } = {}) {
    const { key, last, time } = this.orders.at(-1);
    const { codec, width, height } = { codec: this.family, ...this.size };
    this.busy = false;
    const jpeg = this.family === "jpeg";
    this.events.onEncoded({
      type: jpeg ? FrameType.IMAGE : FrameType.VIDEO,
      key: key || jpeg,
      last,
      time,
      layer,
      droppable: layer > 0,
      width,
      height,
      config: key && !jpeg ? { codec, width, height } : null,
      payload: new Uint8Array(bytes),
    });
  }
  close() {
    this.closed = true;
  }
}

export const picture = (displayWidth = 1280, displayHeight = 720) => ({
  displayWidth,
  displayHeight,
  closed: false,
  close() {
    this.closed = true;
  },
});
