// What browser tests stand on: a server of their own, a Chromium, and scenes with visitors and agents in them.
//
// Decides how processes begin and end, that every wait has a deadline, what a failure shows, and that no page may
// throw or break its own content security policy. Does not decide what is tested.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { chromium } from "../../web/node_modules/playwright-core/index.mjs";
import { Line } from "./line.js";
import { AdminPage, AgentPage, GuestPage, HistoryPage, VisitorPage } from "./people.js";
import { noted, PATIENCE_MS, until } from "./processes.js";
import { RedisServer } from "./redis.js";

export { PATIENCE_MS, until };

/** A scene with several waits of its own. */
const SCENE_MS = 150_000;
/** Enough of a conversation to see what went wrong. */
const KEPT_LINES = 60;
const SHOTS = fileURLToPath(new URL("./shots/", import.meta.url));

/** A name that is not loopback and leads here: pages of it have an origin the demo group does not know. */
export const FOREIGN_HOST = "shop.example";

/** The tab of this title is what an agent's picker chooses. */
export const SHOWN_TITLE = "What the agent shows";

/** How often a barcode is drawn. Without a graphics card each picture costs some 10 ms of a processor on its way. */
const PICTURE_MS = "100";

/** A browser context like a phone's. */
export const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };

/**
 * What Playwright switches off, as a second list takes the place of the first; and the parts of the browser's own window
 * that are pages with a process of their own, in every window that nobody looks at.
 */
const SWITCHED_OFF = [
  ...["AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades", "HttpsFirstBalancedModeAutoEnable"],
  ...["LensOverlay", "MediaRouter", "PaintHolding", "ThirdPartyStoragePartitioning", "AvoidCorsURLLoaderRestartOnRedirect"],
  ...["OptimizationHints", "NetworkTimeServiceQuerying", "AimEnabled", "PreconnectToSearch"],
  ...["InitialWebUI", "PreloadTopChromeWebUI", "PreloadTopChromeWebUILessNavigations"],
  ...["WebUIReloadButton", "WebUIToolbar", "WebUILocationBar", "WebUIOmniboxPopup"],
];

const BROWSER_FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  `--disable-features=${SWITCHED_OFF}`,
  "--auto-accept-this-tab-capture",
  `--auto-select-tab-capture-source-by-title=${SHOWN_TITLE}`,
  `--host-resolver-rules=MAP ${FOREIGN_HOST} 127.0.0.1`,
];

// ---- processes ------------------------------------------------------------------------------------------------

/** `porchlight dev` on free ports, in a data directory that goes with it. */
class Server {
  /** @type {string[]} */
  log = [];
  /** The server's log without what `dev` tells people. */
  told = "";
  /** What `dev.json` says. @type {any} */
  facts;
  #process;
  #dir;
  #exited;
  #tokens = new Map();

  /** @param {Record<string, string>} [settings] more of the environment */
  constructor(settings = {}) {
    const bin = process.env.PORCHLIGHT_BIN;
    if (!bin) throw new Error("PORCHLIGHT_BIN is not set: start the tests with tests/browser/run");
    this.#dir = fs.mkdtempSync(path.join(os.tmpdir(), "porchlight-server-"));
    const free = "127.0.0.1:0";
    const addrs = ["--public-addr", free, "--ops-addr", free, "--admin-addr", free];
    const env = { ...process.env, PORCHLIGHT__SINKS__DIR: path.join(this.#dir, "sinks"), ...settings };
    this.#process = spawn(bin, ["dev", "--data-dir", this.#dir, ...addrs], { detached: true, env, stdio: ["ignore", "pipe", "pipe"] });
    const forget = noted(this.#process.pid);
    this.#exited = new Promise((resolve) => this.#process.once("exit", (code, signal) => (forget(), resolve(code ?? signal))));
    this.#process.stderr.on("data", (text) => (this.told += text));
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => this.log.push(...text.split("\n").filter(Boolean)));
    }
  }

  async started() {
    let exit;
    this.#exited.then((status) => (exit = status));
    const file = path.join(this.#dir, "dev.json");
    await until("the server's dev.json", () => {
      if (exit !== undefined) throw new Error(`the server ended with ${exit}\n${this.log.join("\n")}`);
      return fs.existsSync(file);
    });
    this.facts = JSON.parse(fs.readFileSync(file, "utf8"));
    return this;
  }

  get port() {
    return Number(this.facts.public.split(":").at(-1));
  }

  get url() {
    return `http://${this.facts.public}`;
  }

  /** @param {string} address */
  password(address) {
    return this.facts.agents.find((/** @type {any} */ one) => one.address === address).password;
  }

  /** What the console keeps of a sign-in; one sign-in per agent, as password hashes take their time. @param {string} address */
  signIn(address) {
    if (!this.#tokens.has(address)) this.#tokens.set(address, this.#signIn(address));
    return this.#tokens.get(address);
  }

  /** @param {string} address */
  async #signIn(address) {
    const { group } = this.facts;
    const answer = await fetch(`${this.url}/v1/auth/agent`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ group, address, password: this.password(address) }),
    });
    if (!answer.ok) throw new Error(`${address} could not sign in: ${answer.status} ${await answer.text()}`);
    const { token, expiresAt } = await answer.json();
    return { group, token, expiresAt };
  }

  /** No secret is in the log or the metrics: none that these tests know, and none of the kinds that have a beginning. */
  async assertSecretsKept() {
    const metrics = await fetch(`http://${this.facts.ops}/metrics`).then((answer) => answer.text(), () => "");
    const known = [this.facts.adminKey, this.facts.apiKey.secret, ...this.facts.agents.map((/** @type {any} */ one) => one.password)];
    for (const signedIn of this.#tokens.values()) known.push((await signedIn).token);
    const leaks = `${this.told}\n${metrics}`
      .split("\n")
      .filter((line) => /plk_|pla_|eyJ/.test(line) || known.some((secret) => line.includes(secret)));
    if (leaks.length) throw new Error(`the server told secrets:\n${leaks.join("\n")}`);
  }

  /** Calls the admin service as an agent does whose page asks. @param {string} method @param {object} [body] @param {string} [address] */
  async admin(method, body = {}, address = "alice") {
    const { token } = await this.signIn(address);
    const answer = await fetch(`${this.url}/v1/admin/${method}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${method} was refused: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /** @param {string} kind */
  joinStarts(kind) {
    return this.#set("joinStarts", { joinStarts: kind });
  }

  /** Where pages of agents may be, besides this machine. @param {...string} agentOrigins */
  agentsAreOn(...agentOrigins) {
    return this.#set("agentOrigins", { agentOrigins });
  }

  /** Where sessions open that agents join. @param {"PAGE" | "BROWSER_TAB" | "CLIENT"} where */
  async joinsIn(where) {
    const { settings } = await this.admin("GetSettings");
    const profiles = settings.profiles.map((/** @type {object} */ profile) => ({ ...profile, joinIn: `JOIN_IN_${where}` }));
    await this.#set("profiles", { profiles });
  }

  /** How long a visitor has to answer. @param {number} seconds */
  asksFor(seconds) {
    return this.#set("terms.deadlineSeconds", { terms: { deadlineSeconds: seconds } });
  }

  /** @param {string} updateMask @param {object} settings */
  async #set(updateMask, settings) {
    const { version } = await this.admin("GetSettings");
    await this.admin("UpdateSettings", { settings, updateMask, expectedVersion: version });
  }

  /** Signs in anew next time, as after a token was revoked. @param {string} address */
  forget(address) {
    this.#tokens.delete(address);
  }

  /** Ends it at once, as a machine that fails. */
  async kill() {
    this.#process.kill("SIGKILL");
    await this.#exited;
  }

  /** Ends it as an operator does who replaces it. Resolves with its exit code. @returns {Promise<number | string>} */
  drain() {
    this.#process.kill("SIGTERM");
    return this.#exited;
  }

  async stop() {
    await this.assertSecretsKept().finally(() => this.#end());
  }

  async #end() {
    this.#process.kill("SIGTERM");
    const patience = setTimeout(() => this.#process.kill("SIGKILL"), 10_000);
    await this.#exited;
    clearTimeout(patience);
    fs.rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** Starts Chromium in a process group of its own. @param {string[]} flags more of them */
async function launch(flags) {
  const executablePath = process.env.PORCHLIGHT_CHROMIUM ?? "/usr/bin/chromium";
  const launched = await chromium.launchServer({ executablePath, headless: true, args: [...BROWSER_FLAGS, ...flags], timeout: 60_000 });
  const forget = noted(launched.process().pid);
  const browser = await chromium.connect(launched.wsEndpoint());
  const stop = async () => {
    await launched.close();
    forget();
  };
  return { browser, stop };
}

// ---- scenes -----------------------------------------------------------------------------------------------------

/** @typedef {(scene: Scene) => Promise<void>} Play */

/**
 * Gives a test file its server (or several that share a Redis) and browser, and returns what declares its scenes: `scene`, one after another, and
 * `meanwhile`, which begins with the file and is declared last, for what mostly waits. `starts`: what Join shares, empty
 * for what a new group has. `flags`: more of the browser's.
 */
export function stage({ nodes = 1, starts = "SESSION_KIND_SCREEN", flags = /** @type {string[]} */ ([]) } = {}) {
  /** @type {Server[]} */
  let servers = [];
  /** @type {RedisServer | undefined} */
  let redis;
  /** @type {Awaited<ReturnType<typeof launch>>} */
  let launched;
  /** @type {(() => void)[]} */
  const beginnings = [];
  before(async () => {
    if (nodes > 1) redis = await new RedisServer().started();
    // One after the other: the first makes the demo group.
    for (let node = 0; node < nodes; node += 1) servers.push(await new Server(redis?.settings).started());
    if (starts) await servers[0].joinStarts(starts);
    launched = await launch(flags);
    for (const begin of beginnings) begin();
  }, { timeout: 120_000 });
  after(async () => {
    await launched?.stop();
    for (const server of servers) await server.stop();
    await redis?.stop();
  }, { timeout: 60_000 });

  /** Plays to the end; the runner's own time-out would leave nothing to look at. @param {Scene} scene @param {Play} play */
  const perform = async (scene, play) => {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("the scene took too long")), SCENE_MS - 20_000);
    });
    try {
      await Promise.race([play(scene), late]);
      scene.assertClean();
    } finally {
      clearTimeout(timer);
    }
  };

  /** @param {string} name @param {() => Promise<unknown>} result @param {() => Scene} scene */
  const declare = (name, result, scene) =>
    test(name, { timeout: SCENE_MS }, async (t) => {
      try {
        await result();
      } catch (error) {
        t.diagnostic(await scene().describe(name));
        throw error;
      } finally {
        await scene().close();
      }
    });

  return {
    /** @param {string} name @param {Play} play */
    scene(name, play) {
      /** @type {Scene} */
      let scene;
      declare(name, () => perform((scene = new Scene(servers, launched.browser)), play), () => scene);
    },
    /** @param {string} name @param {Play} play */
    meanwhile(name, play) {
      /** @type {Scene} */
      let scene;
      /** @type {Promise<unknown>} */
      let result;
      beginnings.push(() => {
        result = perform((scene = new Scene(servers, launched.browser)), play);
        result.catch(() => {}); // reported when its turn comes
      });
      declare(name, () => result, () => scene);
    },
  };
}

let visitors = 0;

/** The people of one test, each in a browser context of their own. */
export class Scene {
  server;
  /** All that share what they know. */
  nodes;
  #browser;
  /** @type {{ name: string, page: import("playwright-core").Page, lines: string[], faults: string[] }[]} */
  #seats = [];
  #contexts = new Set();
  /** @type {{ close(): void }[]} */
  #closers = [];
  /** @type {RegExp[]} */
  #allowed = [];

  /** @param {Server[]} nodes @param {import("playwright-core").Browser} browser */
  constructor(nodes, browser) {
    this.nodes = nodes;
    this.server = nodes[0];
    this.#browser = browser;
  }

  /** A visitor ID that no other scene has. */
  get newVisitorId() {
    visitors += 1;
    return `V-${visitors}`;
  }

  /**
   * Opens the demo site as a visitor.
   * @param {object} [options]
   * @param {string} [options.id]
   * @param {string} [options.path] page of the demo site
   * @param {Record<string, string>} [options.query]
   * @param {string} [options.url] base address, if not the server's own
   * @param {any} [options.context] of the browser
   * @param {() => void} [options.init] runs in each page before its own scripts
   */
  async visitor({ id = this.newVisitorId, path: where = "/demo/site", query = {}, url = this.server.url, context, init } = {}) {
    const page = await this.page(id, context);
    if (init) await page.addInitScript(init);
    const search = new URLSearchParams({ visitor: id, capture: "tab", every: PICTURE_MS, ...query });
    await page.goto(`${url}${where}?${search}`);
    return new VisitorPage(page, id, this);
  }

  /**
   * Opens the console, already signed in.
   * @param {string} address
   * @param {{ url?: string, context?: any, init?: () => void }} [options]
   */
  async agent(address = "alice", { url = this.server.url, context, init } = {}) {
    const page = await this.page(address, context);
    if (init) await page.addInitScript(init);
    const kept = JSON.stringify(await this.server.signIn(address));
    await page.addInitScript((value) => sessionStorage.setItem("porchlight.agent", value), kept);
    await page.goto(`${url}/demo/agent`);
    const agent = new AgentPage(page, address, this);
    await agent.online();
    return agent;
  }

  /**
   * Opens a page in another tab of somebody's browser, which the picker will choose there.
   * @param {{ page: import("playwright-core").Page }} agent @param {Record<string, string>} [query]
   */
  async slides(agent, query = {}) {
    const page = await this.page("slides", agent.page.context());
    await page.setViewportSize({ width: 1280, height: 720 });
    await page.goto(`${this.server.url}/demo/site/barcode.html?${new URLSearchParams({ visitor: this.newVisitorId, every: PICTURE_MS, ...query })}`);
    await page.evaluate((title) => (document.title = title), SHOWN_TITLE);
    return new VisitorPage(page, "slides", this);
  }

  /**
   * Opens the guest's start page.
   * @param {string} name @param {string} [link] with it the page is opened by an invite
   * @param {{ context?: any, query?: string, init?: () => void }} [options]
   */
  async guest(name, link, { context, query = "", init } = {}) {
    const page = await this.page(name, context);
    if (init) await page.addInitScript(init);
    await page.goto(link ?? `${this.server.url}/join${query}`);
    return new GuestPage(page, name);
  }

  /**
   * Opens a section of the company settings, already signed in.
   * @param {string} [section] @param {{ address?: string, context?: any }} [options]
   */
  async admin(section = "settings", { address = "alice", context } = {}) {
    const page = await this.page(`${address}'s settings`, context);
    const kept = JSON.stringify(await this.server.signIn(address));
    await page.addInitScript((value) => sessionStorage.getItem("porchlight.agent") ?? sessionStorage.setItem("porchlight.agent", value), kept);
    await page.goto(`${this.server.url}/settings#${section}`);
    const admin = new AdminPage(page, section);
    await admin.ready();
    return admin;
  }

  /**
   * Opens a section of the history, already signed in.
   * @param {string} [address] `sessions`, `session/ID`, … @param {{ context?: any }} [options]
   */
  async history(address = "sessions", { context } = {}) {
    const page = await this.page("the history", context);
    const kept = JSON.stringify(await this.server.signIn("alice"));
    await page.addInitScript((value) => sessionStorage.getItem("porchlight.agent") ?? sessionStorage.setItem("porchlight.agent", value), kept);
    await page.goto(`${this.server.url}/history#${address}`);
    const history = new HistoryPage(page);
    await history.at(address.split(/[/?]/)[0]).waitFor();
    return history;
  }

  /**
   * A page in a new context, listened to.
   * @param {string} name @param {any} [options] of the context, or an existing context
   */
  async page(name, options = {}) {
    // What glows and turns is painted by the processor, sixty times a second.
    const still = { viewport: { width: 1280, height: 720 }, reducedMotion: "reduce" };
    const context = options.newPage ? options : await this.#browser.newContext({ ...still, ...options });
    this.#contexts.add(context);
    return this.#listen(name, await context.newPage());
  }

  /** @param {string} name @param {import("playwright-core").Page} page */
  #listen(name, page) {
    page.setDefaultTimeout(PATIENCE_MS);
    const seat = { name, page, lines: /** @type {string[]} */ ([]), faults: /** @type {string[]} */ ([]) };
    this.#seats.push(seat);
    const start = Date.now();
    const say = (/** @type {string} */ line) => seat.lines.push(`${String(Date.now() - start).padStart(6)} ${line.slice(0, 400)}`);
    page.on("pageerror", (error) => (say(`THROWN ${error.stack}`), seat.faults.push(String(error))));
    page.on("console", (message) => {
      say(`console.${message.type()} ${message.text()}`);
      if (message.type() === "error") seat.faults.push(message.text());
    });
    page.on("crash", () => (say("CRASHED"), seat.faults.push("the page crashed")));
    page.on("websocket", (socket) => {
      const where = new URL(socket.url()).pathname;
      say(`${where} opens`);
      socket.on("framesent", ({ payload }) => typeof payload === "string" && say(`${where} > ${payload}`));
      socket.on("framereceived", ({ payload }) => typeof payload === "string" && say(`${where} < ${payload}`));
      socket.on("close", () => say(`${where} closed`));
    });
    return page;
  }

  /**
   * A browser of its own for one person, which can be closed and opened again, with the pages that were open.
   * @returns {Promise<OwnBrowser>}
   */
  async ownBrowser() {
    const own = await new OwnBrowser((name, page) => this.#listen(name, page)).open();
    this.#contexts.add(own);
    return own;
  }

  /** Faults that this scene brings about on purpose. @param {...RegExp} patterns of console errors */
  allow(...patterns) {
    this.#allowed.push(...patterns);
  }

  /** A line to the server that can be cut. */
  async line(server = this.server) {
    const line = await new Line(server.port).open();
    this.#closers.push(line);
    return line;
  }

  /** Has something closed with the scene. @param {{ close(): void }} closer */
  closes(closer) {
    this.#closers.push(closer);
  }

  /** No page threw, and none reported an error, a broken policy among them. */
  assertClean() {
    const faults = this.#seats.flatMap(({ name, faults }) =>
      faults.filter((fault) => !this.#allowed.some((pattern) => pattern.test(fault))).map((fault) => `${name}: ${fault}`),
    );
    if (faults.length) throw new Error(`pages reported errors:\n${faults.join("\n")}`);
  }

  /** Everything that helps to understand a failure. @param {string} title */
  async describe(title) {
    const parts = [];
    for (const [at, { name, page, lines }] of this.#seats.entries()) {
      const file = `failed-${title.replace(/\W+/g, "-").slice(0, 60)}-${at}-${name}`;
      const shot = await shoot(page, file).catch((error) => `no picture: ${error.message}`);
      parts.push(`--- ${name} at ${page.isClosed() ? "a closed page" : page.url()} (${shot})`);
      parts.push(`sharing: ${await sharing(page)}`, ...lines.slice(-KEPT_LINES));
    }
    for (const node of this.nodes) parts.push("--- server", ...node.log.slice(-KEPT_LINES));
    return parts.join("\n");
  }

  async close() {
    for (const context of this.#contexts) await context.close().catch(() => {});
    for (const closer of this.#closers) closer.close();
  }
}

/** A browser with a profile of its own. */
class OwnBrowser {
  #dir = fs.mkdtempSync(path.join(os.tmpdir(), "porchlight-profile-"));
  /** @type {import("playwright-core").BrowserContext | null} */
  #context = null;
  #listen;

  /** @param {(name: string, page: import("playwright-core").Page) => import("playwright-core").Page} listen */
  constructor(listen) {
    this.#listen = listen;
  }

  async open() {
    const executablePath = process.env.PORCHLIGHT_CHROMIUM ?? "/usr/bin/chromium";
    const args = [...BROWSER_FLAGS, "--restore-last-session"];
    const options = { executablePath, headless: true, args, viewport: { width: 1280, height: 720 }, reducedMotion: /** @type {const} */ ("reduce") };
    this.#context = await chromium.launchPersistentContext(this.#dir, options);
    return this;
  }

  /** For those who open pages in it. */
  get context() {
    if (!this.#context) throw new Error("the browser is closed");
    return this.#context;
  }

  /** The page that was open when the browser was closed. @param {string} name @param {string} start of its address */
  async restored(name, start) {
    const page = await until("the restored page", () => this.context.pages().find((one) => one.url().startsWith(start)));
    return this.#listen(name, page);
  }

  /** As a person does who closes its last window. */
  async close() {
    await this.#context?.close();
    this.#context = null;
  }
}

/** The figures of the page's running share, if it has one. @param {import("playwright-core").Page} page */
async function sharing(page) {
  const ask = page.evaluate(() => JSON.stringify(/** @type {any} */ (window).Porchlight?.session?.stats() ?? null));
  // A page that hangs must not keep the others from being described.
  const late = new Promise((resolve) => setTimeout(() => resolve("no answer"), 5_000));
  return Promise.race([ask, late]).catch((error) => error.message);
}

/**
 * Writes a PNG into `shots/`.
 * @param {import("playwright-core").Page} page @param {string} name
 */
export async function shoot(page, name) {
  const file = path.join(SHOTS, `${name}.png`);
  await page.screenshot({ path: file, timeout: 20_000, animations: "disabled" });
  return file;
}

/**
 * Takes a picture in each scheme. Nothing sticks out of the window to the right.
 * @param {import("playwright-core").Page} page @param {string} what
 */
export async function look(page, what) {
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    await page.emulateMedia({ colorScheme });
    await shoot(page, `${what}-${colorScheme}`);
  }
  const wide = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    return scrollWidth > clientWidth ? `${scrollWidth} in ${clientWidth}` : "";
  });
  assert.equal(wide, "", `${what} is wider than the window`);
}
