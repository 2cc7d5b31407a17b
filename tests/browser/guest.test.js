// `porchlight guest` shares a real X screen: an agent sees it, moves its pointer and types into a program on it, and does
// neither where it may only look. Of a screen only what changed is sent.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { assertMoving } from "./barcode.js";
import { stage, until } from "./lib.js";
import { noted } from "./processes.js";

const { scene } = stage();

/** A process whose lines are kept, and that ends with its scene. */
class Program {
  /** @type {string[]} */
  lines = [];
  #process;
  exited;

  /** @param {string} command @param {string[]} args @param {Record<string, string>} [env] */
  constructor(command, args, env = {}) {
    this.#process = spawn(command, args, { detached: true, env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "pipe"] });
    const forget = noted(this.#process.pid);
    this.exited = new Promise((resolve) => {
      this.#process.once("error", (error) => (this.lines.push(`${command}: ${error.message}`), resolve(-1)));
      this.#process.once("exit", (code, signal) => (forget(), resolve(code ?? signal)));
    });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      let rest = "";
      stream.setEncoding("utf8").on("data", (text) => {
        const parts = (rest + text).split("\n");
        rest = parts.pop() ?? "";
        this.lines.push(...parts);
      });
    }
  }

  /** @param {string} line */
  types(line) {
    this.#process.stdin.write(`${line}\n`);
  }

  /** Waits for a line. @param {RegExp} pattern */
  async says(pattern) {
    const find = () => this.lines.find((line) => pattern.test(line));
    return until(`${pattern} in\n${this.lines.join("\n")}`, find).catch((error) => {
      throw new Error(`${error.message}\n${this.lines.join("\n")}`);
    });
  }

  close() {
    this.#process.kill("SIGKILL");
  }
}

/** An X server with a program on it. */
class Desk {
  /** @param {import("./lib.js").Scene} s */
  static async open(s) {
    const server = new Program("Xvfb", ["-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp", "-noreset"]);
    s.closes(server);
    const display = `:${await server.says(/^\d+$/)}`;
    const program = new Program("/usr/bin/python3", [fileURLToPath(new URL("xdesk.py", import.meta.url))], { DISPLAY: display });
    s.closes(program);
    const facts = JSON.parse(await program.says(/"ready"/));
    return new Desk(display, program, facts);
  }

  /** @param {string} display @param {Program} program @param {{ width: number, height: number, field: [number, number], patch: [number, number] }} facts */
  constructor(display, program, facts) {
    this.display = display;
    this.program = program;
    this.facts = facts;
  }

  /** What happened to its program. @returns {any[]} */
  get told() {
    return this.program.lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  }

  /** What stands in its field. */
  get text() {
    return this.told.findLast(({ text }) => text !== undefined)?.text ?? "";
  }

  /** Waits for an event. @param {string} what @param {(event: any) => boolean} fits */
  happens(what, fits) {
    return until(what, () => this.told.find(fits)).catch((error) => {
      throw new Error(`${error.message}\n${this.program.lines.slice(-30).join("\n")}`);
    });
  }

  /** Shows it to whoever is waiting. @param {import("./lib.js").Scene} s @param {string} link @param {...string} flags */
  guest(s, link, ...flags) {
    const bin = /** @type {string} */ (process.env.PORCHLIGHT_BIN);
    const guest = new Program(bin, ["guest", "--name", "Gina", "--accept-terms", ...flags], { DISPLAY: this.display });
    s.closes(guest);
    guest.types(link);
    return guest;
  }
}

/** Where a point of the X screen is on the agent's page. @param {any} agent @param {Desk} desk @param {[number, number]} point */
async function onPage(agent, desk, [x, y]) {
  const box = await agent.page.locator("[data-test=viewer-canvas]").boundingBox();
  const { width, height } = desk.facts;
  return /** @type {[number, number]} */ ([box.x + (x * box.width) / width, box.y + (y * box.height) / height]);
}

/** The frames of a screen that a page is sent from now on. @param {any} page */
function framesOf(page) {
  /** @type {{ socket: any, whole: boolean, key: boolean, last: boolean, bytes: number }[]} */
  const frames = [];
  page.on("websocket", (/** @type {any} */ socket) => {
    socket.on("framereceived", (/** @type {any} */ { payload }) => {
      if (typeof payload === "string") return;
      const [, type, flags] = payload;
      assert.ok(type === 2 || type === 3, `a frame of type ${type}`);
      frames.push({ socket, whole: type === 2, key: (flags & 1) !== 0, last: (flags & 8) !== 0, bytes: payload.length });
    });
  });
  return frames;
}

/** @param {ReturnType<typeof framesOf>} frames */
const kinds = (frames) => frames.map(({ whole }) => (whole ? "the picture" : "tiles")).join(", ");

/** What an agent's picture has at a point, and a number that tells the whole of it. @param {any} agent @param {[number, number]} point */
function pixels(agent, point) {
  return agent.page.locator("[data-test=viewer-canvas]").evaluate((canvas, [x, y]) => {
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const at = (y * width + x) * 4;
    let sum = 0;
    for (const byte of data) sum = (Math.imul(sum, 31) + byte) | 0;
    const [red, , blue] = [...data.slice(at, at + 3)].map((part) => (part > 220 ? 1 : part < 35 ? 0 : NaN));
    return { colour: red === blue ? "none" : red ? "red" : "blue", sum };
  }, point);
}

/** Waits until an agent sees the patch in a colour. @param {any} agent @param {Desk} desk @param {string} colour */
async function seesPatch(agent, desk, colour) {
  await until(`${colour} on the agent's page`, async () => (await pixels(agent, desk.facts.patch)).colour === colour);
}

scene("an agent sees a real X screen, moves its pointer and types into a program on it", async (s) => {
  const desk = await Desk.open(s);
  const alice = await s.agent();
  await alice.opensRecord("nobody");
  await alice.page.locator("[name=control]").check();
  await alice.page.locator("[data-test=view]").click();
  await alice.awaits("waiting");
  const { link } = await alice.handsOut();
  const guest = desk.guest(s, link, "--allow-control");
  await guest.says(/Alice would like to see your whole screen, and may ask to control/);
  await alice.sees("live");
  assertMoving(await alice.readings(5), 5);
  const { width, height, codec } = await alice.stats();
  assert.deepEqual([width, height, codec], [1024, 768, "jpeg"]);

  await alice.page.locator("[data-test=request-control]").click();
  await alice.page.locator("[data-test=viewer][data-control=granted]").waitFor();
  const [x, y] = desk.facts.field;
  await alice.page.mouse.move(...(await onPage(alice, desk, [x, y])));
  const near = (/** @type {any} */ event) => Math.abs(event.x - x) <= 2 && Math.abs(event.y - y) <= 2;
  await desk.happens("the pointer over the field", (event) => event.kind === "move" && near(event));
  await alice.page.mouse.down();
  await alice.page.mouse.up();
  await desk.happens("the click on the field", (event) => event.kind === "up" && event.button === 1 && near(event));
  await alice.page.keyboard.type("Porch Light 7!");
  await until("the text in the field", () => desk.text === "Porch Light 7!");
  await alice.page.keyboard.press("Backspace");
  await until("the last character gone", () => desk.text === "Porch Light 7");
  // What the X server's keyboard has no key for.
  await alice.page.locator("[data-test=viewer-canvas]").evaluate((canvas) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", " é€λ");
    canvas.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  });
  await until("the pasted text", () => desk.text === "Porch Light 7 é€λ").catch((error) => {
    throw new Error(`${error.message}; the field has ${JSON.stringify(desk.text)}`);
  });
  await alice.page.mouse.wheel(0, 300);
  await desk.happens("the wheel", (event) => event.kind === "down" && event.button === 5);

  // The person at the computer comes first: what the agent types while the pointer is moved is lost.
  const held = alice.page.locator("[data-test=input-held]");
  const person = { moves: true };
  const moving = (async () => {
    for (let at = 40; person.moves; at = 100 - at) {
      desk.program.types(`${at} 300`);
      await held.waitFor({ timeout: 100 }).catch(() => {});
    }
  })();
  await held.getByText("The guest is using the computer").waitFor();
  await guest.says(/You moved the pointer/);
  await alice.page.keyboard.type("lost");
  person.moves = false;
  await moving;
  await held.waitFor({ state: "hidden" });
  await alice.page.keyboard.type("!");
  await until("what came after", () => desk.text === "Porch Light 7 é€λ!");

  // Taken back, nothing more gets through.
  guest.types("revoke");
  await alice.page.locator("[data-test=viewer][data-control=revoked]").waitFor();
  await guest.says(/Nobody controls your computer any more/);
  const before = desk.told.length;
  await alice.page.evaluate(() => {
    const { viewer } = /** @type {any} */ (window).porchlightConsole.session;
    // As a page would that does not look whether it may.
    viewer.control = { ...viewer.control, state: "granted", participantId: viewer.attached.participantId };
    viewer.sendInput([{ t: "move", x: 9, y: 9 }, { t: "text", text: "no" }]);
  });
  await alice.told("control is not granted");
  assertMoving(await alice.readings(3), 3);
  assert.deepEqual([desk.told.length, desk.text], [before, "Porch Light 7 é€λ!"]);

  guest.types("end");
  assert.equal(await alice.seesEnd(), "guest_ended");
  assert.equal(await guest.exited, 0, guest.lines.join("\n"));
});

scene("where an agent may only look, nothing of it reaches the screen", async (s) => {
  const desk = await Desk.open(s);
  const alice = await s.agent();
  await alice.page.locator("[data-test=view-guest]").click();
  await alice.awaits("waiting");
  const { key, link } = await alice.handsOut();
  // By the code, typed as it is read out; the link's server is the same.
  const guest = desk.guest(s, key, "--server", new URL(link).origin, "--allow-control");
  await alice.sees("live");
  assertMoving(await alice.readings(3), 3);
  await alice.page.locator("[data-test=view-only]").waitFor();
  const refused = await alice.page.evaluate(async () => {
    const { viewer } = /** @type {any} */ (window).porchlightConsole.session;
    const code = await viewer.requestControl().then(() => "granted", (/** @type {any} */ error) => error.code);
    viewer.control = { state: "granted", participantId: viewer.attached.participantId, epoch: viewer.control.epoch };
    viewer.sendInput([{ t: "move", x: 30000, y: 30000 }, { t: "text", text: "no" }]);
    return code;
  });
  assert.equal(refused, "forbidden");
  await alice.told("control is not granted");
  assertMoving(await alice.readings(3), 3);
  assert.deepEqual(desk.told.filter(({ ready }) => !ready), [], "nothing happened to the program");
  await alice.page.locator("[data-test=end-session]").click();
  await guest.says(/The agent ended the session/);
  assert.equal(await guest.exited, 0, guest.lines.join("\n"));
});

scene("of a screen that an agent sees only what changed is sent, and who comes later sees all of it", async (s) => {
  const desk = await Desk.open(s);
  const alice = await s.agent();
  const frames = framesOf(alice.page);
  await alice.page.locator("[data-test=view-guest]").click();
  await alice.awaits("waiting");
  const { key, link } = await alice.handsOut();
  const guest = desk.guest(s, link);
  await alice.sees("live");
  assertMoving(await alice.readings(5), 5);
  const [first] = frames;
  assert.ok(first.whole && first.key, "the first is the whole picture");
  await until("tiles of the barcode", () => frames.some(({ whole }) => !whole));

  // The barcode stands, and what of it was coarse has come sharp.
  desk.program.types("hold");
  const { held } = await desk.happens("the barcode stands", (event) => event.held !== undefined);
  await until("the last of it", async () => frames.at(-1)?.last && (await alice.readings(1))[0] === held);
  const before = frames.length;
  desk.program.types("paint red");
  await seesPatch(alice, desk, "red");
  await until("the patch sharp", () => frames.at(-1)?.last);
  const change = frames.slice(before);
  assert.ok(change.length > 0 && change.every(({ whole, key: isKey }) => !whole && !isKey), kinds(change));
  const bytes = (/** @type {typeof frames} */ some) => some.reduce((sum, one) => sum + one.bytes, 0);
  const picture = Math.max(...frames.filter(({ whole }) => whole).map((one) => one.bytes));
  console.log(`a patch of 40 pixels: ${bytes(change)} bytes in ${change.length} frames of tiles; a whole picture: ${picture}`);
  assert.ok(bytes(change) * 5 < picture, `${bytes(change)} of ${picture} bytes`);

  const bob = await s.agent("bob");
  const late = framesOf(bob.page);
  await bob.simulates({ id: "nobody", situation: "missing" });
  await bob.join.click();
  await bob.page.locator("[data-test=key-form] [name=sessionKey]").fill(key);
  await bob.page.locator("[data-test=key-form] button").click();
  await bob.sees("live");
  assert.ok(late[0].whole && late[0].key, "who comes later begins with the whole picture");
  const alike = async () => {
    const [one, other] = await Promise.all([alice, bob].map((agent) => pixels(agent, desk.facts.patch)));
    return one.sum === other.sum;
  };
  await seesPatch(bob, desk, "red");
  await until("both see the same", alike);
  const now = [frames.length, late.length];
  desk.program.types("paint blue");
  for (const agent of [alice, bob]) await seesPatch(agent, desk, "blue");
  await until("the patch sharp for both", () => frames.at(-1)?.last && late.at(-1)?.last);
  for (const since of [frames.slice(now[0]), late.slice(now[1])]) assert.ok(since.some(({ whole }) => !whole), kinds(since));
  await until("both see the same again", alike);

  // Who comes back begins with what the relay kept, where that is new enough: the picture, and the tiles since.
  let kept = [];
  for (let times = 0; times < 10 && kept.every(({ whole }) => whole); times += 1) {
    const colour = times % 2 ? "blue" : "red";
    desk.program.types(`paint ${colour}`);
    await seesPatch(alice, desk, colour);
    await until("the patch sharp once more", () => frames.at(-1)?.last);
    const left = late.at(-1)?.socket;
    await bob.page.reload();
    await bob.sees("live");
    await seesPatch(bob, desk, colour);
    await until("both see the same in the end", alike);
    kept = late.filter(({ socket }) => socket === late.at(-1)?.socket);
    assert.ok(kept[0].socket !== left && kept[0].whole && kept[0].key, "who comes back begins with the whole picture");
  }
  console.log(`who came back was sent ${kinds(kept)}`);
  assert.ok(kept.some(({ whole }) => !whole), kinds(kept));
  guest.types("end");
  assert.equal(await alice.seesEnd(), "guest_ended");
  assert.equal(await guest.exited, 0, guest.lines.join("\n"));
});
