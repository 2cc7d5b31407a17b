// A visitor and an agent as a test speaks of them: what they see and what they press.
//
// Decides selectors, in one place. Does not decide what should be seen: each test says so.

/** @typedef {import("playwright-core").Page} Page */

/** Presses and looks at the page of a visitor. */
export class VisitorPage {
  /** @param {Page} page @param {string} id @param {import("./lib.js").Scene} scene */
  constructor(page, id, scene) {
    this.page = page;
    this.id = id;
    this.scene = scene;
    this.dialog = page.locator("[data-porchlight=dialog] dialog");
    this.bar = page.locator("[data-porchlight=bar] .bar");
  }

  /** @param {string} name accept, decline, choose, … */
  button(name) {
    return this.dialog.locator(`[data-action=${name}]`);
  }

  /** @param {"pause" | "stop" | "instead"} name */
  barButton(name) {
    return this.bar.locator(`[data-action=${name}]`);
  }

  /** Waits for the presence script to be connected. */
  async online() {
    await this.page.waitForFunction(() => /** @type {any} */ (window).Porchlight?.state === "online");
  }

  /** Waits for the question and accepts it with a click, as the browser's picker wants one. */
  async accept() {
    await this.button("accept").click();
  }

  /** Waits for the bar to say so. @param {"sharing" | "paused" | "reconnecting" | "ended"} state */
  async shares(state = "sharing") {
    await this.page.locator(`[data-porchlight=bar] .bar.${state}`).waitFor();
  }

  /**
   * Notes who comes, goes, is lost and is back from now on.
   * @returns {Promise<() => Promise<string[]>>} what was seen so far, by name
   */
  async noticesPeople() {
    const handle = await this.page.evaluateHandle(() => {
      const seen = /** @type {string[]} */ ([]);
      /** @type {any} */ (window).Porchlight.on("participant", (/** @type {any} */ { participant, change }) => seen.push(`${participant.name} ${change}`));
      return seen;
    });
    return () => handle.jsonValue();
  }

  /** Goes to another page of the site. @param {string} path */
  async goes(path) {
    await this.page.goto(new URL(path, this.page.url()).href);
  }

  /** Plays a tab in the background; headless pages are always in front. @param {"hidden" | "visible"} state */
  async becomes(state) {
    await this.page.evaluate((value) => {
      Object.defineProperty(document, "visibilityState", { configurable: true, get: () => value });
      Object.defineProperty(document, "hidden", { configurable: true, get: () => value === "hidden" });
      document.dispatchEvent(new Event("visibilitychange"));
    }, state);
  }

  /** The number the barcode page shows at this moment. */
  async barcode() {
    return Number(await this.page.locator("#value").textContent());
  }

  close() {
    return this.page.close();
  }
}

/** Presses and looks at the console of an agent. */
export class AgentPage {
  /** @param {Page} page @param {string} address @param {import("./lib.js").Scene} scene */
  constructor(page, address, scene) {
    this.page = page;
    this.address = address;
    this.scene = scene;
    this.join = page.locator("[data-test=join]");
    this.viewer = page.locator("[data-test=viewer]");
    this.request = page.locator("[data-test=request-state]");
    this.endReason = page.locator("[data-test=end-reason]");
  }

  async online() {
    await this.page.locator("[data-test=connection][data-state=online]").waitFor();
  }

  /** @param {string} id @param {string} [state] */
  row(id, state) {
    const more = state ? `[data-state=${state}]` : "";
    return this.page.locator(`[data-test=visitor-row][data-visitor-id="${id}"]${more}`);
  }

  /** Opens the record of a visitor from the list. @param {string} id */
  async opens(id) {
    await this.row(id).click();
    await this.page.locator("[data-test=record]").waitFor();
  }

  /** Opens the record of a visitor by the simulator, whether they are here or not. @param {string} id */
  async opensRecord(id) {
    await this.simulates({ id });
  }

  /**
   * Opens a record of the simulator.
   * @param {{ object?: string, id: string, situation?: string, field?: string }} record `situation`: where its visitor ID is
   */
  async simulates({ object = "Case", id, situation = "everywhere", field }) {
    const form = this.page.locator("[data-test=record-form]");
    await form.locator("[name=object]").selectOption(object);
    await form.locator("[name=recordId]").fill(`500-${id}`);
    await form.locator("[name=visitorId]").fill(id);
    if (field) {
      await form.locator("summary").click();
      await form.locator("[name=fieldName]").fill(field);
    }
    await form.locator("[name=situation]").selectOption(situation);
    await form.locator("[data-test=open-record]").click();
    await this.page.locator("[data-test=record]").waitFor();
  }

  /** Waits for what the server answers of a button. @param {"show" | "view" | "join"} button @param {{ visible?: boolean, enabled?: boolean, reason?: string }} answer */
  async answered(button, { visible, enabled, reason }) {
    const is = (/** @type {string} */ name, /** @type {unknown} */ value) => (value === undefined ? "" : `[data-${name}="${value}"]`);
    const row = `[data-test=answer-${button}]${is("visible", visible)}${is("enabled", enabled)}${is("reason", reason)}`;
    await this.page.locator(row).waitFor({ state: "attached" });
  }

  /** Waits for the porch light; a session covers the record. @param {"lit" | "dim" | "dark" | "in_session"} light */
  async light(light) {
    await this.page.locator(`[data-test=join][data-light=${light}]`).waitFor({ state: "attached" });
  }

  /**
   * Opens the visitor's record and presses Join; a running session is joined by the opening alone.
   * @param {string} id @param {{ control?: boolean }} [wish]
   */
  async joins(id, { control = false } = {}) {
    await this.opens(id);
    if ((await this.join.getAttribute("data-light")) === "in_session") return;
    await this.page.locator("[name=control]").setChecked(control);
    await this.join.click();
  }

  /** Waits for a step of the request. @param {string} state */
  async requestIs(state) {
    await this.page.locator(`[data-test=request-state][data-state=${state}]`).waitFor({ state: "attached" });
  }

  /** The screen this agent shows. @param {string} state */
  async shows(state = "sharing") {
    await this.page.locator(`[data-test=showing][data-state=${state}]`).waitFor();
  }

  /** What guests are handed. */
  async hands() {
    const key = await this.page.locator("[data-test=session-key]").innerText();
    const link = await this.page.locator("[data-test=show-link]").inputValue();
    return { key, link };
  }

  /** Waits for the card of a View. @param {string} state */
  async awaits(state = "waiting") {
    await this.page.locator(`[data-test=viewing][data-state=${state}]`).waitFor();
  }

  /** What the guest of a View is handed. */
  async handsOut() {
    const key = await this.page.locator("[data-test=view-key]").innerText();
    const address = await this.page.locator("[data-test=view-address]").innerText();
    const link = await this.page.locator("[data-test=view-link]").inputValue();
    return { key, address, link };
  }

  /** Waits until these and no others watch what it shows. @param {...string} names */
  async watchedBy(...names) {
    await this.page.waitForFunction((wanted) => {
      const seen = document.querySelectorAll("[data-test=show-people] .person[data-state=here] .name");
      return [...seen].map((one) => one.textContent).join() === wanted;
    }, names.join());
  }

  /** Waits for a notice. @param {string | RegExp} text */
  async told(text) {
    await this.page.locator("[data-test=toast]").getByText(text).first().waitFor();
  }

  /** Waits for the session on screen. @param {string} state */
  async sees(state) {
    await this.page.locator(`[data-test=viewer][data-state=${state}]`).waitFor();
  }

  /** Waits for the end of the session on screen. @returns {Promise<string | null>} its reason */
  async seesEnd() {
    await this.endReason.waitFor();
    return this.endReason.getAttribute("data-reason");
  }

  /**
   * Reads the barcode of as many new pictures as asked, or of what came in time.
   * @param {number} count @param {number} [ms]
   * @returns {Promise<(number | null)[]>}
   */
  readings(count, ms) {
    return readBarcodes(this.page, count, ms);
  }

  /** Everybody in the session on screen. @returns {Promise<{ participantId: string, role: string, state: string, name: string }[]>} */
  everybody() {
    return this.page.evaluate(() => /** @type {any} */ (window).porchlightConsole.session.viewer.participants);
  }

  /** Who this agent is in the session on screen. @returns {Promise<string>} */
  seat() {
    return this.page.evaluate(() => /** @type {any} */ (window).porchlightConsole.session.viewer.attached.participantId);
  }

  /** Figures of the session on screen. */
  stats() {
    return this.page.evaluate(() => /** @type {any} */ (window).porchlightConsole.session.viewer.stats());
  }

  /**
   * Notes every value that an attribute takes from now on, and every moment its element is not there.
   * @param {string} selector @param {string} attribute
   * @returns {Promise<() => Promise<(string | null)[]>>} what was seen so far
   */
  async watches(selector, attribute) {
    const handle = await this.page.evaluateHandle(([where, name]) => {
      const look = () => document.querySelector(where)?.getAttribute(name) ?? null;
      const seen = [look()];
      const note = () => look() !== seen.at(-1) && seen.push(look());
      new MutationObserver((records) => {
        // Two changes in one go would cancel each other out.
        for (const { target, oldValue, type } of records) {
          const ours = type === "attributes" && /** @type {Element} */ (target).matches(where);
          if (ours && oldValue !== seen.at(-1)) seen.push(oldValue);
        }
        note();
      }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: [name], attributeOldValue: true });
      return seen;
    }, [selector, attribute]);
    return () => handle.jsonValue();
  }
}

/**
 * The agent points at the middle of the picture; the visitor sees its mark there, with its name, until it goes.
 * @param {AgentPage} agent @param {VisitorPage} visitor
 */
export async function points(agent, visitor) {
  const mark = visitor.page.locator("[data-porchlight=marks] .mark");
  await agent.page.locator("[data-test=point]").click();
  await agent.page.locator("[data-test=viewer-canvas]").hover();
  await mark.getByText("Alice").waitFor();
  const box = await mark.boundingBox();
  const { width, height } = visitor.page.viewportSize() ?? { width: 0, height: 0 };
  const off = [box && box.x + 14 - width / 2, box && box.y + 14 - height / 2];
  if (off.some((far) => far === null || Math.abs(far) > 16)) throw new Error(`the mark is off by ${off}`);
  await mark.waitFor({ state: "detached" });
  await agent.page.locator("[data-test=point]").click();
}

/** Presses and looks at the start page of a guest, and what it leads to. */
export class GuestPage {
  /** @param {Page} page @param {string} name */
  constructor(page, name) {
    this.page = page;
    this.name = name;
    this.door = page.locator("[data-test=door]");
    this.problem = page.locator("[data-test=door-problem]");
    this.veil = page.locator("[data-test=veil]");
    this.dialog = page.locator("[data-porchlight=dialog] dialog");
    this.sharing = page.locator("[data-test=share-page]");
  }

  /** @param {string} name accept, decline, continue, … */
  button(name) {
    return this.dialog.locator(`[data-action=${name}]`);
  }

  /** Waits for the state of its own share. @param {string} state */
  async shares(state = "sharing") {
    await this.page.locator(`[data-test=share-page][data-state=${state}]`).waitFor();
  }

  /** Tells what it is asked and comes in. @param {{ key?: string, name?: string, email?: string }} told */
  async enters({ key, name = this.name, email = "" } = {}) {
    if (key !== undefined) await this.door.locator("[name=sessionKey]").fill(key);
    await this.door.locator("[name=name]").fill(name);
    await this.door.locator("[name=email]").fill(email);
    await this.door.locator("[data-test=watch]").click();
  }

  /** Waits for the state of what is shown. @param {string} state */
  async sees(state) {
    await this.page.locator(`[data-test=watch-page][data-state=${state}]`).waitFor();
  }

  /** @param {number} count @param {number} [ms] */
  readings(count, ms) {
    return readBarcodes(this.page, count, ms);
  }
}

/**
 * Reads the barcode of as many new pictures as asked, or of what came in time.
 * @param {Page} page @param {number} count @param {number} [ms]
 * @returns {Promise<(number | null)[]>}
 */
function readBarcodes(page, count, ms = 30_000) {
  return page.evaluate(async ([wanted, patience]) => {
    const { barcodeHeight, readBarcode } = await import(/** @type {any} */ ("/web/lib/barcode.js"));
    const canvas = /** @type {HTMLCanvasElement} */ (document.querySelector("[data-test=viewer-canvas]"));
    const { porchlightConsole, porchlightWatch } = /** @type {any} */ (window);
    const { viewer } = porchlightWatch ?? porchlightConsole.session;
    const end = performance.now() + patience;
    const values = [];
    let drawn = -1;
    while (values.length < wanted && performance.now() < end) {
      const now = viewer.stats().drawn;
      if (now !== drawn && canvas.width > 0) {
        drawn = now;
        const { width, height } = canvas;
        const pixels = canvas.getContext("2d")?.getImageData(0, 0, width, Math.min(height, barcodeHeight(width) + 2));
        values.push(readBarcode(pixels));
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return values;
  }, [count, ms]);
}

/** Presses and looks at the company settings. */
export class AdminPage {
  /** @param {Page} page @param {string} section */
  constructor(page, section) {
    this.page = page;
    this.section = section;
  }

  /** The section on screen. */
  get place() {
    return this.page.locator(`[data-test=section-${this.section}]`);
  }

  get form() {
    return this.place.locator("form.section-form");
  }

  get conflict() {
    return this.place.locator("[data-test=conflict]");
  }

  /** Waits for the section. */
  async ready() {
    await this.place.waitFor();
  }

  /** @param {string} section */
  async goes(section) {
    await this.page.locator(`[data-test=go-${section}]`).click();
    this.section = section;
    await this.ready();
  }

  /** @param {string} path */
  setting(path) {
    return this.place.locator(`[data-test=setting][data-path="${path}"]`);
  }

  /** The control of a setting. @param {string} path */
  control(path) {
    return this.place.locator(`[name="${path}"]`);
  }

  /** A cell of a table. @param {string} row @param {string} column */
  cell(row, column) {
    return this.place.locator(`tr[data-row="${row}"] [name="${column}"]`);
  }

  async edits() {
    await this.place.locator("[data-test=edit]").click();
    await this.place.locator("[data-test=save]").waitFor();
  }

  /** Presses Save, whatever comes of it. */
  async presses() {
    await this.place.locator("[data-test=save]").click();
  }

  /** Saves, which works. */
  async saves() {
    await this.presses();
    await this.place.locator("[data-test=edit]").waitFor();
  }

  /** Answers the question on screen with yes. @param {RegExp} [says] what it has to say */
  async confirms(says) {
    const question = this.page.locator("[data-test=question]");
    await question.waitFor();
    if (says) await question.getByText(says).first().waitFor();
    await question.locator("[data-test=confirm]").click();
    await question.waitFor({ state: "detached" });
  }
}

/** Presses and looks at the history of sessions. */
export class HistoryPage {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.rows = page.locator("[data-test=session-row]");
    this.filter = page.locator("[data-test=filter]");
    this.happenings = page.locator("[data-test=happening]");
    this.runs = page.locator("[data-test=run]");
  }

  /** A section. @param {string} section */
  at(section) {
    return this.page.locator(`[data-test=section-${section}]`);
  }

  /** @param {"sessions" | "statistics" | "sync"} section */
  async goes(section) {
    await this.page.locator(`[data-test=go-${section}]`).click();
    await this.at(section).waitFor();
  }

  /** A line of the list. @param {string | null} sessionId */
  row(sessionId) {
    return this.page.locator(`[data-test=session-row][data-session-id="${sessionId}"]`);
  }

  /** Waits for the list to hold these and no others. @param {...(string | null)} sessionIds newest first */
  async lists(...sessionIds) {
    for (const id of sessionIds) await this.row(id).waitFor();
    await this.page.waitForFunction((count) => document.querySelectorAll("[data-test=session-row]").length === count, sessionIds.length);
  }

  /** Chooses from a list of the filter. @param {string} name @param {string} value */
  async chooses(name, value) {
    await this.filter.locator(`[name=${name}]`).selectOption(value);
  }

  /** The text of the file that a button gives. @param {import("playwright-core").Locator} button */
  async downloads(button) {
    const [download] = await Promise.all([this.page.waitForEvent("download"), button.click()]);
    const parts = [];
    for await (const part of await download.createReadStream()) parts.push(part);
    return { name: download.suggestedFilename(), text: Buffer.concat(parts).toString() };
  }

  /** The kinds of what happened, in the order on screen. */
  kinds() {
    return this.happenings.evaluateAll((items) => items.map((item) => item.getAttribute("data-kind")?.replace("EVENT_KIND_", "")));
  }
}
