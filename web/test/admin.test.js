// The client of the admin service against a fake one: calls, refusals, retries, request IDs.
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";

import { AdminClient, AdminError, newRequestId, pagePath, RequestIds } from "../lib/admin.js";
import { FakeAdmin } from "./fake-admin-server.js";

/** @type {FakeAdmin} */
let admin;
const waits = [];
before(async () => (admin = await new FakeAdmin().open()));
after(() => admin.close());
beforeEach(() => {
  waits.length = 0;
  admin.calls.length = 0;
  admin.before.length = 0;
  admin.loses = 0;
});

function client(options = {}) {
  return new AdminClient({
    token: () => "alice-token",
    server: admin.url,
    wait: async (ms) => void waits.push(ms),
    ...options,
  });
}

const refused = (code) => (error) => error instanceof AdminError && error.code === code;

describe("a call", () => {
  it("carries the token and the body, and brings the answer", async () => {
    const { settings, version } = await client().getSettings();
    assert.equal(settings.presenceEnabled, true);
    assert.match(version, /^\d+$/);
    assert.deepEqual(admin.calls, [{ method: "GetSettings", body: {} }]);
  });

  it("reads the newest token each time", async () => {
    let token = "alice-token";
    const one = client({ token: () => token });
    await one.getSettings();
    token = "none";
    await assert.rejects(one.getSettings(), refused("unauthorized"));
  });

  it("brings all pages of a list", async () => {
    const agents = await client().listAgents();
    assert.deepEqual(
      agents.map(({ agentId }) => agentId),
      ["alice", "bob", "carol"],
    );
    assert.deepEqual(
      admin.calls.map(({ body }) => body),
      [{}, { pageToken: "2" }],
    );
  });

  it("asks for the same on every page of a list", async () => {
    const stats = await client().listSessionStats({ from: "2026-03-01T00:00:00Z" });
    assert.deepEqual(
      stats.map(({ agentId, day }) => [agentId, day]),
      ["alice", "bob", "carol"].map((agentId) => [agentId, "2026-03-01"]),
    );
    const asked = { from: "2026-03-01T00:00:00Z", pageSize: 1000 };
    assert.deepEqual(
      admin.calls.map(({ body }) => body),
      [asked, { ...asked, pageToken: "2" }],
    );
  });

  it("brings what is in the answer", async () => {
    assert.deepEqual(await client().getSessionRecord("s1"), { sessionId: "s1" });
    await assert.rejects(client().getSessionRecord("s2"), refused("not_found"));
    assert.deepEqual(await client().syncNow("r9"), { runId: "run-r9" });
  });

  it("changes what the mask names", async () => {
    const { settings, version } = await client().getSettings();
    const answer = await client().updateSettings(
      {
        settings: { ...settings, graceSeconds: 7, presenceEnabled: false },
        updateMask: "graceSeconds",
        expectedVersion: version,
      },
      "r-mask",
    );
    assert.equal(answer.settings.graceSeconds, 7);
    assert.equal(answer.settings.presenceEnabled, true);
    assert.equal(admin.calls[1].body.requestId, "r-mask");
  });
});

describe("a refusal", () => {
  it("names the fields as the page has them", async () => {
    const { settings, version } = await client().getSettings();
    const change = {
      settings: { ...settings, graceSeconds: 61, profiles: [{ ...settings.profiles[0], name: "" }] },
      updateMask: "graceSeconds,profiles",
      expectedVersion: version,
    };
    await assert.rejects(client().updateSettings(change, newRequestId()), (/** @type {any} */ error) => {
      assert.equal(error.code, "bad_field");
      assert.equal(error.status, 400);
      assert.deepEqual(error.violations, [
        { field: "graceSeconds", message: "61 is outside 0–60" },
        { field: "profiles[0].name", message: "must be a name without space around it" },
      ]);
      return true;
    });
  });

  it("of an old version tells the newest", async () => {
    const { settings } = await client().getSettings();
    const change = { settings, updateMask: "graceSeconds", expectedVersion: "0" };
    await assert.rejects(client().updateSettings(change, newRequestId()), (/** @type {any} */ error) => {
      assert.equal(error.code, "conflict");
      assert.equal(error.metadata.version, String(admin.version));
      return true;
    });
  });

  it("of what is taken names its field", async () => {
    admin.before.push(() => [
      409,
      { error: { code: "already_exists", message: "is taken", metadata: { field: "agent.address" } } },
    ]);
    await assert.rejects(client().upsertAgent({ agentId: "x" }, "", newRequestId()), (/** @type {any} */ error) => {
      assert.deepEqual(error.violations, [{ field: "address", message: "is taken" }]);
      return true;
    });
  });

  it("of somebody without the permission says so", async () => {
    await assert.rejects(client({ token: () => "bob-token" }).getSettings(), refused("forbidden"));
  });

  it("without a body of ours still has a code", async () => {
    admin.before.push(() => [502, "what?"]);
    await assert.rejects(client().getSettings(), refused("http_502"));
  });

  it("paths come without their request", () => {
    assert.equal(pagePath("settings.terms.deadline_seconds"), "terms.deadlineSeconds");
    assert.equal(pagePath("settings.objects[1].visitor_id_field"), "objects[1].visitorIdField");
    assert.equal(pagePath("agent.partner_user_id"), "partnerUserId");
    assert.equal(pagePath("settings.sso.loginExpirationSeconds"), "sso.loginExpirationSeconds");
    assert.equal(pagePath("password"), "password");
  });
});

describe("trying again", () => {
  const overloaded = () => [503, { error: { code: "overload", message: "too much to do" } }];

  it("is done for what reads", async () => {
    admin.before.push(overloaded, overloaded);
    await client().getSettings();
    assert.deepEqual(waits, [300, 1000]);
  });

  it("ends", async () => {
    admin.before.push(overloaded, overloaded, overloaded, overloaded);
    await assert.rejects(client().getSettings(), refused("overload"));
    assert.equal(waits.length, 3);
  });

  it("of a change whose answer was lost makes it once", async () => {
    admin.loses = 1;
    const { apiKey, secret } = await client().createApiKey("lost", "r-lost");
    assert.equal(admin.calls.length, 2);
    assert.equal(admin.keys.filter(({ label }) => label === "lost").length, 1);
    assert.ok(secret.includes(apiKey.keyId));
  });

  it("is not done for a refusal", async () => {
    await assert.rejects(client({ token: () => "bob-token" }).getSettings(), refused("forbidden"));
    assert.equal(admin.calls.length, 1);
  });

  it("is not done for a change without a request ID", async () => {
    admin.before.push(overloaded);
    await assert.rejects(client().call("DeleteAgent", { agentId: "nobody" }), refused("overload"));
    assert.equal(admin.calls.length, 1);
  });

  it("follows a new sign-in, and nothing is asked twice", async () => {
    let token = "expired";
    let asked = 0;
    const one = client({
      token: () => token,
      onUnauthorized: async () => {
        asked += 1;
        token = "alice-token";
        return true;
      },
    });
    assert.ok((await one.getSettings()).version);
    assert.equal(asked, 1);
    const refuses = client({ token: () => "expired", onUnauthorized: async () => false });
    await assert.rejects(refuses.getSettings(), refused("unauthorized"));
  });

  it("gives up on a server that is not there", async () => {
    const away = client({ server: "http://127.0.0.1:9" });
    await assert.rejects(away.getSettings(), refused("unreachable"));
    assert.equal(waits.length, 3);
  });
});

describe("request IDs", () => {
  it("stay while the same is asked and nothing is decided", () => {
    const ids = new RequestIds();
    const first = ids.for({ a: 1 });
    assert.equal(ids.for({ a: 1 }), first);
    ids.failed(new AdminError("unreachable", ""));
    assert.equal(ids.for({ a: 1 }), first, "it may have been done");
    assert.notEqual(ids.for({ a: 2 }), first, "something else");
  });

  it("are new after a decision", () => {
    const ids = new RequestIds();
    const first = ids.for("x");
    ids.failed(new AdminError("bad_field", ""));
    const second = ids.for("x");
    assert.notEqual(second, first);
    ids.decided();
    assert.notEqual(ids.for("x"), second);
    assert.match(second, /^[0-9a-f]{32}$/);
  });
});
