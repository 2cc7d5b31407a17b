// A server as the quick start sets it up, behind the nginx of deploy/proxy that ends TLS: its commands, its settings and its
// script tag are those of the page, and so are the names and the port that browsers know.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import https from "node:https";
import os from "node:os";
import path from "node:path";
import { after } from "node:test";
import { stage, until } from "./lib.js";
import { VisitorPage } from "./people.js";
import { noted } from "./processes.js";
import { freePort } from "./redis.js";
import { replayOf } from "./shop.js";

const ROOT = path.join(import.meta.dirname, "../..");
const HELP = "https://help.example.com";
const SITE = "https://www.acme.example";
const CRM = "https://crm.example.com";
const PASSWORD = "correct horse battery staple";

/** @typedef {import("node:net").AddressInfo} AddressInfo */

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "porchlight-proxy-"));
const at = (/** @type {string} */ name) => path.join(dir, name);

const names = [HELP, SITE, CRM].map((origin) => `DNS:${new URL(origin).hostname}`).join();
execFileSync("openssl", [
  ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=porchlight"],
  ...["-addext", `subjectAltName=${names}`, "-keyout", at("own.key"), "-out", at("own.pem")],
], { stdio: "ignore" });
const certificate = fs.readFileSync(at("own.pem"));
const spki = new crypto.X509Certificate(certificate).publicKey.export({ type: "spki", format: "der" });

/** The pages of the company's two sites, by origin. @type {Map<string, string>} */
const pages = new Map();
const sites = https.createServer({ cert: certificate, key: fs.readFileSync(at("own.key")) }, (request, response) => {
  if (request.url === "/favicon.ico") return void response.writeHead(204).end();
  response.writeHead(200, { "content-type": "text/html" }).end(pages.get(`https://${request.headers.host}`));
});
await new Promise((resolve) => sites.listen(0, "127.0.0.1", () => resolve(undefined)));
const port = { nginx: await freePort(), public: await freePort(), ops: await freePort(), admin: await freePort() };

const there = [[HELP, port.nginx], ...[SITE, CRM].map((origin) => [origin, /** @type {AddressInfo} */ (sites.address()).port])];
const rules = there.map(([origin, to]) => `MAP ${new URL(String(origin)).hostname}:443 127.0.0.1:${to}`);
const { scene } = stage({
  nodes: 0,
  starts: "",
  flags: [
    `--host-resolver-rules=${rules}`,
    // This certificate is accepted, and no other.
    `--ignore-certificate-errors-spki-list=${crypto.createHash("sha256").update(spki).digest("base64")}`,
  ],
});

/** Everything that the test starts, ended in the reverse order. @type {(() => Promise<unknown>)[]} */
const ends = [];
after(async () => {
  for (const end of ends.reverse()) await end();
  sites.closeAllConnections();
  sites.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

/** A process whose output is kept until it fails. @param {string} program @param {string[]} words */
function starts(program, words) {
  const env = { PATH: `${process.env.PATH}:/usr/sbin` };
  const child = spawn(program, words, { cwd: dir, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  const forget = noted(child.pid);
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (said += text));
  const over = new Promise((resolve) => child.once("exit", resolve)).finally(forget);
  ends.push(() => (child.kill("SIGTERM"), over));
  return {
    /** @param {string} what @param {() => Promise<boolean>} look */
    until: (what, look) =>
      until(what, () => {
        assert.equal(child.exitCode, null, `${program} ended: ${said}`);
        return look().catch(() => false);
      }),
  };
}

/** A file of deploy/ with what stands in this test for what is there. @param {string} file @param {[string, string | number][]} pairs */
function adapted(file, pairs) {
  let text = fs.readFileSync(path.join(ROOT, file), "utf8");
  for (const [old, now] of pairs) {
    assert.ok(text.includes(old), `${file} has no ${old}`);
    text = text.replaceAll(old, String(now));
  }
  return text;
}

/** A block of the quick start, the first of its language below a heading unless told. @param {string} heading @param {string} language */
function block(heading, language, which = 0) {
  const section = fs.readFileSync(path.join(ROOT, "docs/quickstart.md"), "utf8").split(`\n## ${heading}\n`)[1]?.split("\n## ")[0];
  const found = [...(section?.matchAll(new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``, "g")) ?? [])][which]?.[1];
  assert.ok(found, `the quick start has no ${language} under ${heading}`);
  return found;
}

async function server() {
  const settings = adapted("deploy/porchlight.toml", [
    ['# url = "https://help.example.com"', 'url = "https://help.example.com"'],
    ["127.0.0.1:7400", `127.0.0.1:${port.public}`],
    ["127.0.0.1:7401", `127.0.0.1:${port.ops}`],
    ["127.0.0.1:7402", `127.0.0.1:${port.admin}`],
    ["/var/lib/porchlight", at("data")],
  ]);
  fs.writeFileSync(at("porchlight.toml"), settings);
  const bin = String(process.env.PORCHLIGHT_BIN);
  const words = ["--config", at("porchlight.toml")];
  execFileSync(bin, ["check-config", ...words], { stdio: "pipe" });
  const ready = async () => (await fetch(`http://127.0.0.1:${port.ops}/readyz`)).ok;
  await starts(bin, ["serve", ...words]).until("the server", ready);
}

async function nginx() {
  fs.writeFileSync(at("site.conf"), adapted("deploy/proxy/nginx-one.conf", [
    ["listen 443 ssl", `listen 127.0.0.1:${port.nginx} ssl`],
    ["listen 7443 ssl", `listen unix:${at("admin.sock")} ssl`],
    ["/etc/ssl/help.example.com.pem", at("own.pem")],
    ["/etc/ssl/help.example.com.key", at("own.key")],
    ["127.0.0.1:7400", `127.0.0.1:${port.public}`],
    ["127.0.0.1:7402", `127.0.0.1:${port.admin}`],
  ]));
  const kept = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `  ${kind}_temp_path ${at(kind)};`);
  const user = process.getuid?.() === 0 ? ["user root;"] : [];
  const main = ["daemon off;", `pid ${at("pid")};`, "error_log stderr warn;", "events {}", "http {", "  access_log off;"];
  fs.writeFileSync(at("nginx.conf"), [...user, ...main, ...kept, `  include ${at("site.conf")};`, "}", ""].join("\n"));
  const answers = () =>
    new Promise((resolve, reject) => {
      const options = { host: "127.0.0.1", port: port.nginx, path: "/readyz", servername: "help.example.com", ca: certificate };
      https.get(options, (answer) => resolve(answer.resume().statusCode === 200)).once("error", reject);
    });
  await starts("nginx", ["-p", dir, "-c", at("nginx.conf")]).until("nginx", /** @type {() => Promise<boolean>} */ (answers));
}

/** Runs commands of the documents as their reader does, with a `porchlight` that is this one. @param {string} commands */
function shell(commands) {
  fs.mkdirSync(at("bin"), { recursive: true });
  fs.rmSync(at("bin/porchlight"), { force: true });
  fs.symlinkSync(String(process.env.PORCHLIGHT_BIN), at("bin/porchlight"));
  const env = {
    PATH: `${at("bin")}:${process.env.PATH}`,
    PORCHLIGHT_ADMIN_ADDR: `127.0.0.1:${port.admin}`,
    PORCHLIGHT_ADMIN_KEY_FILE: "admin-key",
  };
  const text = commands.replaceAll("/var/lib/private/porchlight", at("data"));
  return execFileSync("sh", ["-euc", text], { cwd: dir, env, input: PASSWORD, encoding: "utf8", stdio: ["pipe", "pipe", "pipe"] });
}

/** The company's CRM: Alice signs in, a record is open, and its button asks the visitor. @param {string} visitorId */
const record = (visitorId) => `<!doctype html><title>CRM</title>
  <form><input name="password" type="password"><button>Sign in</button></form>
  <button id="join" disabled>Join</button><div style="width: 640px; height: 400px"><canvas></canvas></div>
  <script type="module">
    import { AgentClient, signIn } from "${HELP}/agent.js";
    import { Viewer } from "${HELP}/view.js";
    const [form, join] = [document.querySelector("form"), document.querySelector("#join")];
    const record = { object: "Contact", id: "003" };
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const password = form.elements.password.value;
      const { token, expiresAt } = await signIn({ group: "acme", address: "alice@acme.example", password });
      form.remove();
      const agent = new AgentClient({ token, expiresAt });
      agent.on("record", ({ buttons }) => {
        join.dataset.light = buttons.join.light;
        join.dataset.reason = buttons.join.reason ?? "";
        join.disabled = !buttons.join.enabled;
      });
      agent.on("ready", ({ ticket }) => {
        const viewer = new Viewer({ canvas: document.querySelector("canvas"), ticket });
        viewer.on("state", ({ state, detail }) => Object.assign(document.body.dataset, { viewer: state, detail }));
        viewer.open();
      });
      await agent.connect();
      await agent.openRecord({ record, fields: { visitorId: "${visitorId}" } });
      join.onclick = () => agent.join({ record });
    });
  </script>`;

scene("what the quick start tells lights the lamp and shows the page, over https and behind nginx", async (s) => {
  await server();
  await nginx();
  const said = shell(block("Your group", "sh"));
  shell(block("Your CRM", "sh"));
  const key = JSON.parse(shell("porchlight admin --group acme list-api-keys --json"));
  assert.ok(said.includes(key.keyId), said);
  const token = shell(block("Your site", "sh").replace("KEY", key.keyId)).trim();

  const script = block("Your site", "html").replace('data-token="eyJ…"', `data-token="${token}"`);
  assert.ok(script.includes(token));
  pages.set(SITE, `<!doctype html><html lang="en"><head><title>Acme</title>${script}</head><body><h1>Lamps</h1><p id="count"></p>
    <script>let count = 0; setInterval(() => document.querySelector("#count").textContent = ++count, 100)</script></body></html>`);
  pages.set(CRM, record("C-1001"));

  const crm = await s.page("alice");
  await crm.goto(CRM);
  await crm.locator("[name=password]").fill(PASSWORD);
  await crm.getByRole("button", { name: "Sign in" }).click();
  await crm.locator("#join[data-light=dark]").waitFor();

  const page = await s.page("C-1001");
  await page.goto(SITE);
  assert.equal(await page.evaluate(() => isSecureContext), true);
  await crm.locator("#join[data-light=lit]:enabled").waitFor();
  assert.match(shell(block("Your site", "sh", 1)), /present/);
  await crm.locator("#join").click();

  const visitor = new VisitorPage(page, "C-1001", s);
  await visitor.dialog.getByText("An agent of Acme will see this page and what you do on it.").waitFor();
  await visitor.accept();
  await visitor.shares();
  await crm.locator("body[data-viewer=live]").waitFor();
  const replay = await replayOf({ page: crm });
  const shown = () => replay.evaluate(() => ({
    title: document.querySelector("h1")?.textContent,
    count: Number(document.querySelector("#count")?.textContent),
  }));
  const counted = () => page.locator("#count").innerText().then(Number);
  const before = await counted();
  await until("what the page counted since", async () => (await shown()).count > before);
  assert.equal((await shown()).title, "Lamps");
  assert.ok((await shown()).count <= (await counted()));
  await visitor.barButton("stop").click();
  await crm.locator("body[data-viewer=ended][data-detail=guest_ended]").waitFor();
});
