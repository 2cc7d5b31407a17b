// The company settings: a switch reaches every open record at once, two admins do not overwrite each other, and keys and
// credentials are handled with the care they need.
import assert from "node:assert/strict";
import { look, PHONE, shoot, stage, until } from "./lib.js";

const { scene } = stage();

/** Refusals that a scene asks for are console errors of the browser too. */
const REFUSED = /status of 4\d\d/;
const ALL = "defaultAdmin,createLeads,logSessionsOutsideCrm,openSessionRecords,syncFrequency,chatterOnStart,sso,presenceEnabled,showTerms,terms,joinStarts,visitorIdentity,visitorOrigins,agentOrigins,loopbackOrigins,graceSeconds,sessionKeyDigits,objects,profiles,permissionSet";

/**
 * A scene after which the settings are as before.
 * @param {string} name @param {(s: import("./lib.js").Scene) => Promise<void>} play
 */
function settingsScene(name, play) {
  scene(name, async (s) => {
    const { settings } = await s.server.admin("GetSettings");
    try {
      await play(s);
    } finally {
      const { version } = await s.server.admin("GetSettings");
      await s.server.admin("UpdateSettings", { settings, updateMask: ALL, expectedVersion: version });
    }
  });
}

/** Bob with an open Case whose visitor is here. @param {import("./lib.js").Scene} s */
async function openCase(s) {
  const visitor = await s.visitor();
  const bob = await s.agent("bob");
  await bob.row(visitor.id).waitFor();
  await bob.simulates({ id: visitor.id });
  await bob.light("lit");
  await bob.page.evaluate(() => Object.assign(window, { neverLoadedAgain: true }));
  const stayed = () => bob.page.evaluate(() => /** @type {any} */ (window).neverLoadedAgain === true);
  return { visitor, bob, stayed };
}

settingsScene("Join switched off for Case leaves an open Case without a reload, and says why", async (s) => {
  const { bob, stayed } = await openCase(s);
  const admin = await s.admin("buttons");
  await admin.edits();
  await admin.cell("Case", "join").uncheck();
  await admin.saves();
  await bob.page.locator("[data-test=join-off]").getByText("This button is switched off for records of this kind.").waitFor();
  await bob.join.waitFor({ state: "hidden" });
  await bob.answered("join", { visible: false, enabled: false, reason: "off_for_object" });
  await bob.answered("show", { visible: true, enabled: true });

  await admin.edits();
  await admin.cell("Case", "join").check();
  await admin.saves();
  await bob.light("lit");
  await bob.join.waitFor();
  assert.ok(await stayed());
});

settingsScene("profile, permission and presence reach an open record as well", async (s) => {
  const { bob, visitor, stayed } = await openCase(s);
  const admin = await s.admin("profiles");
  await admin.edits();
  await admin.cell("Support", "join").uncheck();
  await admin.saves();
  await bob.answered("join", { visible: false, reason: "off_for_profile" });
  await admin.edits();
  await admin.place.locator("[data-test=remove-row]").click();
  await admin.saves();
  await bob.page.locator("[data-test=enablement]").getByText("Your profile has no buttons configured").waitFor();
  await bob.answered("show", { visible: false, reason: "no_profile" });
  await admin.edits();
  await admin.place.locator("[data-test=add-row]").click();
  await admin.place.locator("tbody [name=name]").fill("Support");
  for (const button of ["show", "view", "join"]) await admin.place.locator(`tbody [name=${button}]`).check();
  await admin.saves();
  await bob.light("lit");

  await admin.goes("users");
  await admin.edits();
  await admin.control("user.bob").uncheck();
  await admin.saves();
  await bob.page.locator("[data-test=enablement]").getByText("You do not hold the user permission").waitFor();
  await bob.answered("join", { visible: false, reason: "no_permission" });
  await admin.edits();
  await admin.control("user.bob").check();
  await admin.saves();
  await bob.answered("join", { visible: true, enabled: true });

  await admin.goes("presence");
  await admin.edits();
  await admin.control("presenceEnabled").uncheck();
  await admin.saves();
  await bob.answered("join", { visible: true, enabled: false, reason: "presence_disabled" });
  await bob.page.locator("[data-test=join-reason]").getByText("Presence is switched off").waitFor();
  await admin.edits();
  await admin.control("presenceEnabled").check();
  await admin.saves();
  await visitor.goes("/demo/site");
  await bob.light("lit");
  assert.ok(await stayed());
});

settingsScene("the second of two saves is refused, and both versions are shown", async (s) => {
  s.allow(REFUSED);
  const [first, second] = [await s.admin("presence"), await s.admin("presence")];
  await first.edits();
  await second.edits();
  await first.control("graceSeconds").fill("12");
  await first.control("terms.text").fill("Terms of the first");
  await first.saves();
  await second.control("graceSeconds").fill("30");
  await second.control("terms.version").fill("2027-1");
  await second.presses();
  await second.conflict.waitFor();
  const clash = second.conflict.locator("[data-test=conflict-row][data-path=graceSeconds]");
  for (const words of ["30 seconds", "12 seconds", "was 5 seconds", /^Alice \(alice\), /]) await clash.getByText(words).waitFor();
  await second.conflict.getByText("1 other change of theirs stays as saved").waitFor();
  assert.equal(await clash.getAttribute("data-clash"), "true");
  assert.equal(await second.conflict.locator("[data-test=resolve]").isEnabled(), false, "a clash wants an answer");
  await shoot(second.page, "settings-conflict");
  await clash.locator("[value=mine]").check();
  await second.conflict.locator("[data-test=resolve]").click();
  await second.place.locator("[data-test=edit]").waitFor();
  const { settings } = await s.server.admin("GetSettings");
  assert.equal(settings.graceSeconds, 30);
  assert.deepEqual([settings.terms.version, settings.terms.text], ["2027-1", "Terms of the first"]);

  await first.edits();
  await second.edits();
  await first.control("graceSeconds").fill("7");
  await first.saves();
  await second.control("graceSeconds").fill("8");
  await second.presses();
  await second.conflict.locator("[data-test=reload]").click();
  await second.setting("graceSeconds").getByText("7 seconds").waitFor();
});

settingsScene("changes of different sections by one admin do not get in each other's way", async (s) => {
  const admin = await s.admin("presence");
  await admin.edits();
  await admin.control("graceSeconds").fill("11");
  await admin.goes("settings");
  await admin.edits();
  await admin.control("openSessionRecords").check();
  await admin.saves();
  await admin.goes("presence");
  assert.equal(await admin.control("graceSeconds").inputValue(), "11");
  await admin.saves();
  const { settings } = await s.server.admin("GetSettings");
  assert.deepEqual([settings.graceSeconds, settings.openSessionRecords], [11, true]);
});

scene("an agent who is no admin is told so", async (s) => {
  s.allow(REFUSED);
  const page = await s.page("bob");
  await page.goto(`${s.server.url}/settings`);
  await page.locator("[name=address]").fill("bob");
  await page.locator("[name=password]").fill(s.server.password("bob"));
  await page.locator("[data-test=sign-in]").click();
  const refusal = page.locator("[data-test=no-admin]");
  await refusal.getByText("This page is for admins").waitFor();
  await refusal.getByText("You are signed in as Bob (bob)").waitFor();
  await shoot(page, "settings-no-admin");
  await refusal.locator("[data-test=sign-out]").click();
  await page.locator("[data-test=sign-in-form]").waitFor();
});

scene("the console leads an admin here, signed in already, and nobody else", async (s) => {
  const alice = await s.agent("alice");
  const opens = alice.page.context().waitForEvent("page");
  await alice.page.locator("[data-test=settings-link]").click();
  const page = await opens;
  await page.locator("[data-test=section-settings]").waitFor();
  const bob = await s.agent("bob");
  await bob.page.locator("[data-test=agent-name]", { hasText: "Bob" }).waitFor();
  assert.equal(await bob.page.locator("[data-test=settings-link]").isVisible(), false);
});

settingsScene("what the server refuses stands beside its field, and nothing is lost", async (s) => {
  s.allow(REFUSED);
  const admin = await s.admin("presence");
  await admin.edits();
  await admin.control("graceSeconds").fill("61");
  await admin.control("visitorOrigins").fill("https://shop.example\nnot an origin");
  await admin.control("terms.version").fill("2026-2");
  await admin.presses();
  await admin.setting("graceSeconds").locator(".field-error").getByText(/0–60/).waitFor();
  await admin.setting("visitorOrigins").locator(".field-error").getByText(/^Line 2: /).waitFor();
  assert.equal(await admin.control("graceSeconds").getAttribute("aria-invalid"), "true");
  assert.equal(await admin.page.evaluate(() => document.activeElement?.getAttribute("name")), "graceSeconds");
  await shoot(admin.page, "settings-refused");
  await admin.control("graceSeconds").fill("6");
  await admin.control("visitorOrigins").fill("https://shop.example");
  await admin.saves();
  await admin.setting("terms.version").getByText("2026-2").waitFor();

  await admin.goes("profiles");
  await admin.edits();
  await admin.place.locator("[data-test=add-row]").click();
  await admin.presses();
  const name = admin.place.locator("tbody tr:last-child td[data-column=name]");
  await name.locator(".field-error:not([hidden])").waitFor();
  await admin.place.locator("[data-test=cancel]").click();
  await admin.confirms(/1 change is not saved/);
  assert.equal(await admin.place.locator("tbody tr").count(), 1);
});

settingsScene("the history tells who changed what", async (s) => {
  const admin = await s.admin("presence");
  await admin.edits();
  await admin.control("graceSeconds").fill("17");
  await admin.saves();
  await admin.goes("history");
  const change = admin.place.locator("[data-test=change]").first();
  await change.getByText("Alice (alice)").waitFor();
  await change.getByText("Grace").waitFor();
  await change.locator("del").getByText("5 seconds").waitFor();
  await change.locator("ins").getByText("17 seconds").waitFor();
});

scene("an API key is made, its secret shown once, and revoked", async (s) => {
  const admin = await s.admin("sso");
  await admin.place.locator("[data-test=create-key]").click();
  await admin.page.locator("[name=label]").fill("Browser test");
  await admin.page.locator("[data-test=create]").click();
  const secret = admin.page.locator("[data-test=secret]");
  await secret.waitFor();
  assert.ok(((await secret.textContent()) ?? "").length > 20);
  await admin.page.keyboard.press("Escape");
  assert.equal(await secret.isVisible(), true, "only its own button takes it away");
  await shoot(admin.page, "settings-secret");
  const text = (await secret.textContent()) ?? "";
  await admin.page.locator("[data-test=secret-done]").click();
  const row = admin.place.locator("[data-test=keys-table] tr", { hasText: "Browser test" });
  await row.getByText("Never").waitFor();
  await admin.page.reload();
  await row.waitFor();
  assert.equal((await admin.page.content()).includes(text), false);
  await row.locator("[data-test=revoke-key]").click();
  await admin.confirms(/This cannot be undone/);
  await row.getByText("Revoked").waitFor();
  const { apiKeys } = await s.server.admin("ListApiKeys");
  assert.ok(apiKeys.find((/** @type {any} */ key) => key.label === "Browser test").revokedAt);
});

settingsScene("an agent is added with a password and permissions, and Del takes the credentials alone", async (s) => {
  s.allow(REFUSED);
  const admin = await s.admin("users");
  await admin.place.locator("[data-test=add-agent]").click();
  const dialog = admin.page.locator("[data-test=agent-dialog]");
  const values = { agentId: "erin", name: "Erin", address: "erin@example.com", partnerUserId: "005-erin", profile: "Support", subscription: "Support seat" };
  for (const [name, value] of Object.entries(values)) await dialog.locator(`[name=${name}]`).fill(value);
  await dialog.locator("[name=password]").fill("x");
  await dialog.locator("[name=user]").check();
  await dialog.locator("[name=fixedSessionKey]").check();
  await dialog.locator("[data-test=save-agent]").click();
  await dialog.locator("#agent-password-error:not([hidden])").waitFor();
  await dialog.locator("[name=password]").fill("a-long-enough-pass-phrase");
  await shoot(admin.page, "settings-agent");
  await dialog.locator("[data-test=save-agent]").click();
  await dialog.waitFor({ state: "detached" });
  const association = admin.place.locator("[data-test=associations-table] tr[data-row=erin]");
  for (const text of ["erin@example.com", "005-erin", "Support seat"]) await association.getByText(text).waitFor();
  await admin.place.locator("[data-test=permissions-table] tr[data-row=erin] .mark.on").first().waitFor();
  const signIn = () =>
    fetch(`${s.server.url}/v1/auth/agent`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ group: s.server.facts.group, address: "erin@example.com", password: "a-long-enough-pass-phrase" }),
    });
  assert.equal((await signIn()).status, 200);

  await association.locator("[data-test=del]").click();
  await admin.page.locator("[data-test=question]").waitFor();
  await shoot(admin.page, "settings-del");
  await admin.confirms(/The agent stays, with profile and permissions/);
  await association.waitFor({ state: "detached" });
  await admin.place.locator("[data-test=agents-table] tr[data-row=erin]").getByText("Single sign-on", { exact: true }).waitFor();
  assert.equal((await signIn()).status, 401);
  const fixed = async () => (await s.server.admin("ListAgents", {})).agents.find((agent) => agent.agentId === "erin").fixedSessionKey;
  assert.equal(await fixed(), true);
  const edit = admin.place.locator("[data-test=agents-table] tr[data-row=erin] [data-test=edit-agent]");
  await edit.click();
  assert.equal(await dialog.locator("[name=fixedSessionKey]").isChecked(), true);
  await dialog.locator("[name=fixedSessionKey]").uncheck();
  await dialog.locator("[data-test=save-agent]").click();
  await dialog.waitFor({ state: "detached" });
  assert.ok(!(await fixed()));
  await edit.click();
  await dialog.locator("[data-test=delete-agent]").click();
  await admin.confirms(/cannot be undone/);
  await admin.place.locator("[data-test=agents-table] tr[data-row=erin]").waitFor({ state: "detached" });
});

settingsScene("who has to sign in again loses nothing", async (s) => {
  s.allow(REFUSED);
  const admin = await s.admin("presence");
  await admin.edits();
  await admin.control("graceSeconds").fill("23");
  await s.server.admin("RevokeTokens", { agentId: "alice" });
  s.server.forget("alice");
  await admin.presses();
  const dialog = admin.page.locator("[data-test=sign-in-again]");
  await dialog.locator("[name=address]").fill("alice");
  await dialog.locator("[name=password]").fill(s.server.password("alice"));
  await dialog.locator("[data-test=sign-in]").click();
  await admin.setting("graceSeconds").getByText("23 seconds").waitFor();
  const { settings } = await s.server.admin("GetSettings");
  assert.equal(settings.graceSeconds, 23);
});

scene("the simulator plays every place a visitor ID can be", async (s) => {
  const visitor = await s.visitor();
  const bob = await s.agent("bob");
  await bob.row(visitor.id).waitFor();
  const found = (/** @type {string} */ id) => bob.page.locator("[data-test=answer-visitor]", { hasText: new RegExp(`^${id}$`) }).waitFor();
  // The demo group looks for a Case's visitor on its Contact, for a Contact's on itself.
  for (const [object, situation, id] of [
    ["Case", "everywhere", visitor.id],
    ["Case", "parent", visitor.id],
    ["Case", "several", visitor.id],
    ["Contact", "own", visitor.id],
    ["Lead", "own", visitor.id],
    ["Opportunity", "everywhere", visitor.id],
  ]) {
    await bob.simulates({ object, id: visitor.id, situation });
    await found(id);
    await bob.answered("join", { visible: true, enabled: true, reason: "" });
  }
  for (const [object, situation] of [
    ["Case", "own"],
    ["Case", "empty"],
    ["Case", "missing"],
    ["Case", "orphan"],
    ["Contact", "parent"],
  ]) {
    await bob.simulates({ object, id: visitor.id, situation });
    await found("none");
    await bob.answered("join", { visible: true, enabled: true, reason: "no_visitor_id" });
    await bob.answered("show", { visible: true, enabled: true });
  }
  await bob.simulates({ object: "Case", id: "not valid", situation: "parent" });
  await bob.answered("join", { reason: "bad_visitor_id" });
  await shoot(bob.page, "simulator");
});

for (const [size, context] of /** @type {[string, any][]} */ ([
  ["wide", {}],
  ["phone", PHONE],
])) {
  scene(`every section, looked at: ${size}`, async (s) => {
    const admin = await s.admin("settings", { context });
    const { page } = admin;
    await until("agents", async () => (await page.locator("[data-test=agents-table] tbody tr").count()) > 1);
    for (const section of ["settings", "sso", "presence", "buttons", "profiles", "users", "history"]) {
      await admin.goes(section);
      await page.waitForLoadState("networkidle");
      await look(page, `settings-${section}-${size}`);
      if (section === "history") continue;
      await admin.edits();
      await look(page, `settings-${section}-edit-${size}`);
      await admin.place.locator("[data-test=cancel]").click();
    }
    const bob = await s.agent("alice", { context: size === "phone" ? { viewport: PHONE.viewport } : {} });
    await bob.page.locator("[data-pane=record]").first().click({ timeout: 2_000 }).catch(() => {});
    await look(bob.page, `simulator-form-${size}`);
  });
}
