// Test page: a barcode per animation frame at the top of the page (lib/barcode.js decides the layout).
import { BARCODE_RANGE, barcodeHeight, drawBarcode } from "../../lib/barcode.js";
import { startPresence } from "./visitor.js";

const query = new URLSearchParams(location.search);
const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById("barcode"));
const output = /** @type {HTMLOutputElement} */ (document.getElementById("value"));
const toggle = /** @type {HTMLButtonElement} */ (document.getElementById("toggle"));
const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));

const fixed = query.has("value") ? Number(query.get("value")) : null;
const counting = query.get("source") === "counter";
const every = Number(query.get("every") ?? 0);
let counter = 0;
let drawing = !query.has("still");
let image = fit();

function fit() {
  canvas.width = Math.max(16 * 24, document.documentElement.clientWidth);
  canvas.height = barcodeHeight(canvas.width);
  return context.createImageData(canvas.width, canvas.height);
}

function draw() {
  const moving = counting ? counter++ : Math.floor(performance.timeOrigin + performance.now());
  const value = fixed ?? moving % BARCODE_RANGE;
  drawBarcode(image, value);
  context.putImageData(image, 0, 0);
  output.value = String(value);
}

function frame() {
  if (!drawing) return;
  draw();
  next();
}

function next() {
  if (every) setTimeout(frame, every);
  else requestAnimationFrame(frame);
}

function setDrawing(/** @type {boolean} */ on) {
  drawing = on;
  toggle.textContent = on ? "Stop" : "Start";
  if (on) next();
}

toggle.onclick = () => setDrawing(!drawing);
addEventListener("resize", () => {
  image = fit();
  draw();
});
draw();
setDrawing(drawing);
startPresence();
