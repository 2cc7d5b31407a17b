// The link that hands a session to an agent's client: what a client reads out of it.
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { clientLink, sessionAddress } from "../agent.js";

const READY = { sessionId: "0199-a", role: /** @type {const} */ ("viewer"), ticket: "tick_et-1", ticketExpiresAt: "2026-01-01T00:01:00Z" };

describe("a session that opens elsewhere", () => {
  it("is told a client by a link, all of it behind the mark that no browser sends", () => {
    const link = new URL(clientLink(READY, "https://help.example.com:8443/anything"));
    assert.equal(link.protocol, "porchlight:");
    assert.equal(link.href.slice(0, -link.hash.length), "porchlight:join");
    assert.deepEqual(Object.fromEntries(new URLSearchParams(link.hash.slice(1))), {
      server: "https://help.example.com:8443",
      session: "0199-a",
      ticket: "tick_et-1",
      expires: "2026-01-01T00:01:00Z",
    });
  });

  it("has a page whose address holds no ticket", () => {
    assert.equal(sessionAddress(READY.sessionId, "https://help.example.com"), "https://help.example.com/s/0199-a");
  });
});
