// What docs/examples/ has for browsers, as it is written there: only the server's address, the group and the customer are
// those of the test.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { stage } from "./lib.js";

const EXAMPLES = path.join(import.meta.dirname, "../../docs/examples");
const TYPES = { ".html": "text/html", ".js": "text/javascript" };

const { scene } = stage();

/** @param {string} text @param {string} secret */
const signature = (text, secret) => crypto.createHmac("sha256", secret).update(text).digest("base64url");

const soon = () => Math.floor(Date.now() / 1000) + 300;

/** What the company's back end vouches with. @param {any} facts @param {string} visitorId */
function visitorToken({ apiKey }, visitorId) {
  const part = (/** @type {object} */ value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256", typ: "JWT", kid: apiKey.id })}.${part({ aud: "visitor", sub: visitorId, exp: soon() })}`;
  return `${text}.${signature(text, apiKey.secret)}`;
}

/** What the CRM vouches with. @param {any} facts @param {string} partnerUserId */
function loginKey({ apiKey, group }, partnerUserId) {
  const expires = soon();
  return `$1$${expires}$${signature(`${group}${partnerUserId}1${expires}`, apiKey.secret)}`;
}

/**
 * Serves a folder of examples on an origin of its own.
 * @param {import("./lib.js").Scene} s @param {string} folder @param {string} visitorId
 * @param {(name: string) => [string, string] | undefined} [more] type and text of what is no file
 */
async function open(s, folder, visitorId, more = () => undefined) {
  const { facts, url } = s.server;
  const token = visitorToken(facts, visitorId);
  const server = http.createServer((request, response) => {
    const name = new URL(request.url ?? "/", "http://x").pathname.slice(1) || "index.html";
    if (name === "favicon.ico") return void response.writeHead(204).end();
    let [type, text] = name === "porchlight-token" ? ["text/plain", token] : (more(name) ?? ["", ""]);
    if (!type) {
      const file = path.join(EXAMPLES, folder, name);
      if (!fs.existsSync(file)) return void response.writeHead(404).end();
      [type, text] = [TYPES[/** @type {".js"} */ (path.extname(name))], fs.readFileSync(file, "utf8")];
    }
    text = text.replaceAll("https://help.example.com", url).replaceAll('"acme"', `"${facts.group}"`);
    text = text.replaceAll("C-1001", visitorId).replaceAll('data-token=""', `data-token="${token}"`);
    response.writeHead(200, { "content-type": type }).end(text);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  s.closes({ close: () => (server.closeAllConnections(), server.close()) });
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return `http://127.0.0.1:${port}/`;
}

scene("the plain site: a customer is seen from page to page, and gets a key to read out", async (s) => {
  const id = s.newVisitorId;
  const home = await open(s, "site", id);
  const alice = await s.agent();
  const page = await s.page(id);
  await page.goto(home);
  const row = alice.row(id, "present");
  await row.locator(".page-title", { hasText: "Acme: garden lamps" }).waitFor();
  await page.getByRole("button", { name: "Show this page to an agent" }).click();
  await page.getByRole("button", { name: "Get my number" }).click();
  await page.locator("[data-field=key]", { hasText: /^\d{3} \d{3}$/ }).waitFor();
  await page.getByRole("link", { name: "Account" }).click();
  await row.locator(".page-title", { hasText: "Acme: your account" }).waitFor();
});

scene("the single-page application: addresses, the basket, signing in and out", async (s) => {
  const id = s.newVisitorId;
  const home = await open(s, "spa", id);
  const alice = await s.agent();
  const page = await s.page(id);
  await page.goto(home);
  await page.getByRole("heading", { name: "Lamps" }).waitFor();
  const help = page.locator("#help");
  assert.equal(await help.textContent(), "off", "nobody is told of before the sign-in");

  await page.getByRole("button", { name: "Sign in" }).click();
  await help.getByText("near").waitFor();
  const row = alice.row(id, "present");
  await row.locator(".page-title", { hasText: "Lamps" }).waitFor();
  await page.getByRole("link", { name: "Basket" }).click();
  await row.locator(".page-title", { hasText: "Basket" }).waitFor();
  await row.locator(".page-path", { hasText: "view=basket" }).waitFor();
  await page.goBack();
  await row.locator(".page-title", { hasText: "Lamps" }).waitFor();
  await page.locator("#add").click();
  await page.locator("#add").click();
  let found;
  do {
    const { visitors } = await s.server.admin("LookupVisitors", { visitorIds: [id] });
    found = visitors[0].data;
  } while (Number(found?.basket) !== 2);
  assert.deepEqual(found, { plan: "gold", basket: 2 });

  await page.getByRole("button", { name: "Sign out" }).click();
  await alice.row(id).waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Sign in" }).click();
  await row.waitFor();
});

scene("the button in Salesforce is lit by the contact's presence, and asks the customer", async (s) => {
  const { version } = await s.server.admin("GetSettings");
  await s.server.admin("UpdateSettings", { settings: { sso: { enabled: true } }, updateMask: "sso.enabled", expectedVersion: version });
  const id = s.newVisitorId;
  const { partnerUserId } = s.server.facts.agents[0];
  const values = { "Case.Id": "500xx000000001", visitorId: id, partnerUserId };
  // What Salesforce makes of the page: its own tags gone, values in their places, and remoting that calls the controller.
  const home = await open(s, "salesforce", id, (name) => {
    if (name === "porchlightCase") return ["text/javascript", fs.readFileSync(path.join(EXAMPLES, "salesforce/porchlightCase.js"), "utf8")];
    if (name !== "index.html") return undefined;
    const source = fs.readFileSync(path.join(EXAMPLES, "salesforce/PorchlightCase.page"), "utf8");
    const text = source.replace(/<\/?apex:page[^>]*>/g, "").replace("{!$Resource.porchlightCase}", "porchlightCase");
    return ["text/html", text.replace(/\{!([\w.]+)\}/g, (_, field) => values[/** @type {"visitorId"} */ (field)] ?? `unknown ${field}`)];
  });
  const page = await s.page("salesforce");
  await page.exposeFunction("callsController", (/** @type {string} */ name) => {
    assert.equal(name, "{!$RemoteAction.PorchlightCaseController.loginKey}");
    return loginKey(s.server.facts, partnerUserId);
  });
  await page.addInitScript(() => {
    const there = /** @type {any} */ (globalThis);
    const invokeAction = (/** @type {string} */ name, /** @type {(key: string, event: object) => void} */ heard) =>
      there.callsController(name).then((/** @type {string} */ key) => heard(key, { status: true }));
    there.Visualforce = { remoting: { Manager: { invokeAction } } };
  });
  await page.goto(home);
  await page.locator("#join[data-light=dark]").waitFor();
  const visitor = await s.visitor({ id });
  await page.locator("#join[data-light=lit]:enabled").click();
  await visitor.accept();
  await visitor.shares();
  const drawn = () => page.evaluate(() => {
    const canvas = /** @type {HTMLCanvasElement} */ (document.querySelector("#screen"));
    const { data } = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).getImageData(0, 0, canvas.width, canvas.height);
    return data.some((value) => value > 0 && value < 255);
  });
  await page.locator("#screen").waitFor();
  const end = Date.now() + 20_000;
  while (!(await drawn())) assert.ok(Date.now() < end, "nothing was drawn of what the customer shows");
});
