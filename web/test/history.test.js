// The history page's own rules: which sessions are asked for, what is said of them, files, receipts, sums.
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { mayControl, pauses, tell } from "../pages/history/events.js";
import { csvRow, exportRecords, recordRow, statsFile } from "../pages/history/export.js";
import { conditions, fits, format, NO_FILTER, parse, query, rangeProblem } from "../pages/history/filters.js";
import { readOn } from "../pages/history/pages.js";
import { place } from "../pages/history/present.js";
import { checkReceipt, readReceipt } from "../pages/history/receipt.js";
import { handedOver, health, nextRun, outcome, progress, running, takes, target } from "../pages/history/runs.js";
import { daysBetween, lastDays, scale, tally } from "../pages/history/tally.js";
import { amount, clock, dayName, endSentence, endWords, lasted, others, verdict } from "../pages/history/words.js";

/** @param {object} [more] */
function sessionRecord(more = {}) {
  return {
    sessionId: "s1",
    requestId: "r1",
    kind: "SESSION_KIND_SCREEN",
    state: "SESSION_STATE_ENDED",
    record: { object: "Case", id: "500", name: "Broken lamp", url: "" },
    visitorId: "C-1",
    agentIds: ["alice", "bob"],
    attendance: [{ participantId: "p1", role: "PARTICIPANT_ROLE_PUBLISHER", agentId: "", name: "C-1", joinedAt: null, leftAt: null }],
    outcome: "REQUEST_OUTCOME_ACCEPTED",
    termsVersion: "2026-1",
    displayedAt: "2026-03-01T10:00:01Z",
    answeredAt: "2026-03-01T10:00:05.5Z",
    connectionId: "c1f",
    receiptId: "rc",
    receiptNumber: "7",
    control: [],
    createdAt: "2026-03-01T10:00:00Z",
    startedAt: "2026-03-01T10:00:08Z",
    endedAt: "2026-03-01T10:01:08Z",
    endReason: "guest_ended",
    durationMs: "60000",
    frames: "12",
    bytes: "3456",
    alsoShown: [],
    ...more,
  };
}

describe("a filter", () => {
  it("is the same behind its address", () => {
    for (const text of [
      "",
      "agent=alice&kind=screen",
      "range=own&from=2026-01-01&until=2026-01-31",
      "visitor=C-1&object=Case&record=500&outcome=declined&state=ended&reason=guest_left",
      "range=all&reason=node_lost",
    ]) {
      const back = new URLSearchParams(format(parse(`?${text}`)));
      assert.deepEqual(Object.fromEntries(back), Object.fromEntries(new URLSearchParams(text)), text);
    }
  });

  it("leaves out what an address cannot mean, and what says nothing", () => {
    assert.deepEqual(parse("range=ages&kind=video&outcome=toString&from=2026-02-31&agent=%20&x=1"), NO_FILTER);
    assert.equal(format({ ...NO_FILTER, from: "2026-01-01", object: "Case" }), "");
    assert.equal(conditions(parse("range=week&agent=a&object=Case&kind=view")), 2);
  });

  it("asks by the days of this place", () => {
    const now = new Date(2026, 2, 1, 15, 30).getTime();
    const at = (/** @type {number[]} */ ...parts) => new Date(...parts).toISOString();
    assert.deepEqual(query(parse("range=today"), now), { from: at(2026, 2, 1) });
    assert.deepEqual(query(parse("range=week"), now), { from: at(2026, 1, 23) });
    assert.deepEqual(query(parse("range=all"), now), {});
    assert.deepEqual(query(parse("range=own&from=2026-01-30&until=2026-01-31"), now), {
      from: at(2026, 0, 30),
      until: at(2026, 1, 1),
    });
    const more = "range=all&agent=bob&visitor=C-1&object=Case&record=500&kind=cobrowse&outcome=visitor_gone&state=active&reason=failed";
    assert.deepEqual(query(parse(more), now), {
      agentId: "bob",
      visitorId: "C-1",
      record: { object: "Case", id: "500" },
      kind: "SESSION_KIND_COBROWSE",
      outcome: "REQUEST_OUTCOME_VISITOR_GONE",
      state: "SESSION_STATE_ACTIVE",
    });
  });

  it("fits by the reason of the end", () => {
    const filter = parse("reason=guest_left");
    assert.equal(fits(filter, sessionRecord()), false);
    assert.equal(fits(filter, sessionRecord({ endReason: "guest_left" })), true);
    assert.equal(fits(NO_FILTER, sessionRecord()), true);
  });

  it("knows a range that ends before it begins", () => {
    assert.notEqual(rangeProblem(parse("range=own&from=2026-02-02&until=2026-02-01")), "");
    assert.equal(rangeProblem(parse("range=own&from=2026-02-01&until=2026-02-01")), "");
    assert.equal(rangeProblem(parse("range=own&until=2026-02-01")), "");
  });
});

/** Pages of records, three in each. @param {number} count */
function library(count) {
  const all = Array.from({ length: count }, (_, at) =>
    sessionRecord({ sessionId: `s${at}`, endReason: at % 4 ? "guest_ended" : "failed" }),
  );
  const asked = /** @type {string[]} */ ([]);
  const load = async (/** @type {string} */ token) => {
    asked.push(token);
    const from = Number(token);
    return { records: all.slice(from, from + 3), nextPageToken: from + 3 < count ? String(from + 3) : "" };
  };
  return { load, asked };
}
const isFailed = (/** @type {any} */ record) => record.endReason === "failed";

describe("reading on", () => {
  it("goes on until enough fit, and skips nothing after that", async () => {
    const { load } = library(30);
    const first = await readOn({ load, fits: isFailed, pageToken: "", wanted: 2 });
    assert.deepEqual(first.records.map(({ sessionId }) => sessionId), ["s0", "s4"]);
    const rest = await readOn({ load, fits: isFailed, pageToken: first.nextPageToken, wanted: 99 });
    assert.deepEqual(rest.records.map(({ sessionId }) => sessionId), ["s8", "s12", "s16", "s20", "s24", "s28"]);
    assert.equal(rest.nextPageToken, "");
  });

  it("stops when enough were looked through, and says so", async () => {
    const { load, asked } = library(30);
    const found = await readOn({ load, fits: () => false, pageToken: "", wanted: 5, most: 6 });
    assert.deepEqual([found.records.length, found.seen, found.nextPageToken, asked.length], [0, 6, "6", 2]);
    assert.equal(found.oldest, "2026-03-01T10:00:00Z");
  });
});

describe("a file", () => {
  const signal = new AbortController().signal;
  const made = (/** @type {any} */ more) =>
    exportRecords({ form: "csv", fits: () => true, onProgress: () => {}, signal, ...more });

  it("is that of the command line", async () => {
    const { blob, count, complete } = await made({ load: library(4).load });
    const lines = (await blob.text()).split("\r\n");
    assert.equal(
      lines[0],
      "session_id,request_id,kind,state,outcome,created_at,started_at,ended_at,end_reason,duration_ms,visitor_id,agent_ids,participants,record_object,record_id,record_name,record_url,terms_version,displayed_at,answered_at,connection_id,receipt_id,receipt_number,frames,bytes,also_shown,also_shown_ms",
    );
    assert.deepEqual([count, complete, lines.length], [4, true, 6]);
    assert.equal(
      recordRow(sessionRecord()),
      "s1,r1,screen,ended,accepted,2026-03-01T10:00:00.000Z,2026-03-01T10:00:08.000Z,2026-03-01T10:01:08.000Z,guest_ended,60000,C-1,alice; bob,C-1,Case,500,Broken lamp,,2026-1,2026-03-01T10:00:01.000Z,2026-03-01T10:00:05.500Z,c1f,rc,7,12,3456,,\r\n",
    );
    assert.match(
      recordRow(sessionRecord({ record: null, receiptId: "", receiptNumber: "0", startedAt: null })),
      /Z,,2026-03-01T10:01:08.000Z,guest_ended,60000,C-1,alice; bob,C-1,,,,,2026-1,.*Z,c1f,,,12,3456,,\r\n$/,
    );
    const screen = (/** @type {string} */ from, /** @type {string | null} */ to) => ({ kind: "SESSION_KIND_SCREEN", shownAt: `2026-03-01T10:00:${from}Z`, endedAt: to && `2026-03-01T10:00:${to}Z` });
    assert.match(recordRow(sessionRecord({ alsoShown: [screen("10", "12.5"), screen("20", "21"), screen("30", null)] })), /,3456,screen,3500\r\n$/);
  });

  it("is read by spreadsheets and not run by them", () => {
    assert.equal(
      csvRow(["a,b", 'a "b"', "=1+1", "  =1", "+1", "@x", "a=1", " a", "a\r\nb", "\t=1"]),
      "\"a,b\",\"a \"\"b\"\"\",'=1+1,\"'  =1\",'+1,'@x,a=1,\" a\",\"a\r\nb\",'\t=1\r\n",
    );
  });

  it("holds what fits, one object a line", async () => {
    const { blob, count } = await made({ form: "ndjson", load: library(10).load, fits: isFailed });
    const ids = (await blob.text()).trim().split("\n").map((line) => JSON.parse(line).sessionId);
    assert.deepEqual([ids, count], [["s0", "s4", "s8"], 3]);
  });

  it("ends at its bound and says so, and does not where nothing is left", async () => {
    assert.deepEqual((({ count, complete }) => [count, complete])(await made({ load: library(10).load, most: 9 })), [9, false]);
    assert.deepEqual((({ count, complete }) => [count, complete])(await made({ load: library(9).load, most: 9 })), [9, true]);
  });

  it("is given up when asked", async () => {
    const stop = new AbortController();
    const { load, asked } = library(10);
    const going = made({ load, signal: stop.signal, onProgress: () => stop.abort() });
    await assert.rejects(going, { name: "AbortError" });
    assert.equal(asked.length, 2);
  });

  it("of statistics has their columns", async () => {
    const row = { day: "2026-03-01", agentId: "a", sessions: "2", accepted: "1", declined: "1", started: "1", durationMs: "5", frames: "6", bytes: "7" };
    assert.equal(
      await statsFile([row]).text(),
      "day,agent_id,sessions,accepted,declined,started,duration_ms,frames,bytes\r\n2026-03-01,a,2,1,1,1,5,6,7\r\n",
    );
  });
});

describe("what happened", () => {
  const cast = { record: sessionRecord(), agents: /** @type {any[]} */ ([{ agentId: "alice", name: "Alice" }]) };
  const event = (/** @type {string} */ kind, /** @type {any} */ more = {}) => ({
    id: "e",
    sequence: "1",
    time: "2026-03-01T10:00:00Z",
    kind: `EVENT_KIND_${kind}`,
    sessionId: "s1",
    actor: { kind: "ACTOR_KIND_VISITOR", id: "C-1" },
    record: null,
    ...more,
  });
  const said = (/** @type {string} */ kind, /** @type {any} */ more) => {
    const { text, note } = tell(event(kind, more), cast);
    return note ? `${text} ${note}` : text;
  };
  const alice = { actor: { kind: "ACTOR_KIND_AGENT", id: "alice" } };

  it("reads as people say it", () => {
    for (const [kind, more, words] of /** @type {[string, any, string][]} */ ([
      ["SESSION_CREATED", { ...alice, created: { kind: "SESSION_KIND_SCREEN", visitorId: "C-1", agentId: "alice" }, record: { object: "Case", id: "500", name: "" } }, "Alice pressed Join, to see the screen. From the record Case 500."],
      ["REQUEST_OFFERED", { ...alice, offered: { termsRequired: true, termsVersion: "2", control: true } }, "Alice asked C-1. The terms (version 2) have to be accepted. The agent may ask for control."],
      ["REQUEST_OFFERED", { ...alice, offered: { termsRequired: false, termsVersion: "", control: false } }, "Alice asked C-1. Nothing has to be accepted."],
      ["REQUEST_ACCEPTED", { accepted: { termsRequired: true, termsVersion: "2", receiptId: "x", receiptNumber: "9", agentIds: [] } }, "C-1 accepted the terms. Version 2. Receipt no. 9."],
      ["REQUEST_ACCEPTED", { actor: { kind: "ACTOR_KIND_SERVER", id: "" }, accepted: { termsRequired: false, termsVersion: "", receiptId: "", receiptNumber: "0", agentIds: [] } }, "Nothing had to be accepted."],
      ["REQUEST_CANCELLED", alice, "Alice took the question back."],
      ["SESSION_JOINED", { person: { participantId: "p2", role: "PARTICIPANT_ROLE_VIEWER", agentId: "zoe", name: "Zoë" } }, "zoe came to watch."],
      ["SESSION_JOINED", { person: { participantId: "p1", role: "PARTICIPANT_ROLE_PUBLISHER", agentId: "", name: "C-1" } }, "C-1 came to share."],
      ["SESSION_STARTED", { actor: { kind: "ACTOR_KIND_GUEST", id: "p1" } }, "C-1 shares. The session runs."],
      ["SESSION_SHOWS", { actor: { kind: "ACTOR_KIND_VISITOR", id: "C-1" }, shows: { kind: "SESSION_KIND_SCREEN" } }, "C-1 shows a screen instead of the page. Chosen in the browser’s own picker."],
      ["SESSION_SHOWS", { actor: { kind: "ACTOR_KIND_VISITOR", id: "C-1" }, shows: { kind: "SESSION_KIND_COBROWSE" } }, "C-1 shows the page again."],
      ["SESSION_ENDED", { ended: { reason: "guest_ended", frames: "1200", bytes: "4200000" } }, "The guest ended the session. 1,200 frames, 4.2 MB relayed."],
      ["SESSION_ENDED", { ended: { reason: "node_lost", frames: "0", bytes: "0" } }, "The server went down while the session ran."],
      ["FEED_POSTED", { post: { postId: "p", text: "Hello", link: "", author: "" }, record: { object: "Case", id: "5", name: "Lamp" } }, "Posted to the feed of Lamp. “Hello”"],
      ["SESSION_TELEPORTED", {}, "Session teleported."],
    ])) {
      assert.equal(said(kind, more), words, kind);
    }
  });

  it("has words for every kind of a session that the proto files name", async () => {
    const { readFile } = await import("node:fs/promises");
    const proto = await readFile(new URL("../../proto/porchlight/v1/event.proto", import.meta.url), "utf8");
    const kinds = [...proto.matchAll(/EVENT_KIND_((?:REQUEST|SESSION)_\w+|RECORD_LOGGED|FEED_POSTED|LEAD_CREATED) =/g)].map((found) => found[1]);
    assert.ok(kinds.length > 18);
    for (const kind of kinds) assert.notEqual(tell(event(kind), cast).icon, "info", kind);
  });

  it("has pauses, of which the last may last", () => {
    const at = (/** @type {string} */ kind, /** @type {number} */ second) => event(kind, { time: `2026-03-01T10:00:0${second}Z` });
    const events = [at("SESSION_PAUSED", 1), at("SESSION_PAUSED", 2), at("SESSION_RESUMED", 3), at("SESSION_RESUMED", 4), at("SESSION_PAUSED", 5)];
    const open = { from: "2026-03-01T10:00:05Z", until: null };
    assert.deepEqual(pauses(events), [{ from: "2026-03-01T10:00:01Z", until: "2026-03-01T10:00:03Z" }, open]);
    assert.deepEqual(pauses([...events, at("SESSION_ENDED", 6)])[1], { ...open, until: "2026-03-01T10:00:06Z" });
    assert.equal(mayControl(events), null);
    assert.equal(mayControl([event("REQUEST_OFFERED", { offered: { control: false } })]), false);
  });
});

describe("a receipt", async () => {
  const { subtle } = globalThis.crypto;
  const pair = /** @type {CryptoKeyPair} */ (await subtle.generateKey({ name: "Ed25519" }, true, ["sign", "verify"]));
  const base64url = (/** @type {ArrayBuffer} */ bytes) => Buffer.from(bytes).toString("base64url");
  const key = { group: "g", keyId: "k1", algorithm: "Ed25519", publicKey: base64url(await subtle.exportKey("raw", pair.publicKey)) };
  const consent = { id: "rc", group: "g", session: "s1", visitor: "Zoë, \"the\" guest", kind: "screen", control: false, agents: ["alice"] };
  const body = JSON.stringify({ receipt: { v: 1, number: 7, previous: "0".repeat(64), key: "k1", consent } }).slice(0, -1);
  const signature = base64url(await subtle.sign({ name: "Ed25519" }, pair.privateKey, new TextEncoder().encode(body)));
  const line = `${body},"signature":"${signature}"}`;

  it("tells what it attests", () => {
    const read = readReceipt(line);
    assert.deepEqual([read?.number, read?.consent.visitor, read?.signed], [7, consent.visitor, body]);
    assert.equal(readReceipt("{}"), null);
    assert.equal(readReceipt("no JSON"), null);
  });

  it("is checked, and a changed one is found", async () => {
    assert.equal(await checkReceipt(line, key), "good");
    assert.equal(await checkReceipt(line.replace("alice", "alicf"), key), "bad");
    const other = signature.startsWith("A") ? "B" : "A";
    assert.equal(await checkReceipt(line.replace(signature, other + signature.slice(1)), key), "bad");
    assert.equal(await checkReceipt("{}", key), "bad");
  });

  it("of another key is not judged", async () => {
    assert.equal(await checkReceipt(line, { ...key, keyId: "k2" }), "unchecked");
  });
});

describe("who took part", () => {
  const whole = { from: Date.parse("2026-03-01T10:00:00Z"), until: Date.parse("2026-03-01T10:00:10Z") };

  it("is placed within the session", () => {
    assert.deepEqual(place({ from: "2026-03-01T10:00:02Z", until: "2026-03-01T10:00:07Z" }, whole), { left: 20, width: 50 });
    assert.deepEqual(place({ from: "2026-03-01T10:00:05Z", until: null }, whole), { left: 50, width: 50 });
  });

  it("is never outside nor too small to see", () => {
    const late = place({ from: "2026-03-01T10:00:10Z", until: "2026-03-01T10:00:30Z" }, whole);
    assert.ok(late.left + late.width <= 100.001 && late.width > 0.5);
    const early = place({ from: "2026-03-01T09:00:00Z", until: "2026-03-01T10:00:00Z" }, whole);
    assert.ok(early.left === 0 && early.width > 0.5);
  });
});

describe("statistics", () => {
  const row = (/** @type {string} */ day, /** @type {string} */ agentId, /** @type {number} */ sessions) => ({
    day,
    agentId,
    sessions: String(sessions),
    accepted: "1",
    declined: "0",
    started: "1",
    durationMs: "1000",
    frames: "2",
    bytes: "3",
  });

  it("add up by day, by agent and together", () => {
    const { days, agents, total } = tally([row("2026-02-27", "bob", 2), row("2026-03-01", "alice", 3), row("2026-03-01", "bob", 2)], "2026-02-27", "2026-03-01");
    assert.deepEqual(days.map(({ day, sessions }) => [day, sessions]), [["2026-02-27", 2], ["2026-02-28", 0], ["2026-03-01", 5]]);
    assert.deepEqual(agents.map(({ agentId, sessions }) => [agentId, sessions]), [["bob", 4], ["alice", 3]]);
    assert.deepEqual(total, { sessions: 7, accepted: 3, declined: 0, started: 3, durationMs: 3000, bytes: 9 });
  });

  it("know days in UTC", () => {
    assert.deepEqual(lastDays(7, Date.parse("2026-03-01T23:59:59Z")), { from: "2026-02-23", until: "2026-03-01" });
    assert.equal(daysBetween("2026-01-01", "2026-12-31").length, 365);
    assert.ok(daysBetween("1970-01-01", "2026-01-01").length <= 401);
  });

  it("fit under a round number", () => {
    assert.deepEqual([0, 1, 7, 9, 23, 100, 101].map(scale), [1, 1, 8, 10, 30, 100, 200]);
  });
});

describe("the sync", () => {
  const run = (/** @type {any} */ more = {}) => ({ runId: "r", cause: "SYNC_CAUSE_ASKED", startedAt: "2026-03-01T10:00:00Z", endedAt: "2026-03-01T10:00:01Z", lost: false, sinks: [], ...more });
  const sink = (/** @type {any} */ more = {}, /** @type {any} */ of = {}) => ({ sink: { sinkId: "a", eventKinds: [], everyEvent: false, sessionRecords: true, disabled: false, ...of }, createdAt: null, disabledWhy: "", events: null, sessionRecords: null, deadLetters: "0", ...more });
  const failed = { sinkId: "b", count: "0", error: "answered 503" };

  it("has runs that go on, went through, or did not", () => {
    const taken = { sinkId: "a", count: "3", error: "" };
    assert.deepEqual(
      [run({ endedAt: null }), run(), run({ sinks: [taken] }), run({ sinks: [taken, failed] }), run({ sinks: [failed] }), run({ endedAt: null, lost: true })].map((one) => outcome(one).label),
      ["Running", "Done", "Done", "Partly failed", "Failed", "Broken off"],
    );
    assert.equal(handedOver(run({ sinks: [taken, { ...taken, count: "4" }] })), 7);
    assert.equal(running(null), false);
  });

  it("says when it runs next", () => {
    const now = Date.parse("2026-03-01T10:00:00Z");
    assert.deepEqual([null, "2026-03-01T09:59:00Z", "2026-03-01T10:23:00Z"].map((at) => nextRun(at, now)), ["Not planned", "any moment now", "in 23 min"]);
  });

  it("tells how sinks are", () => {
    const lane = { after: "12", failures: 2, retryAt: null, error: "answered 500" };
    assert.deepEqual(
      [sink(), sink({ disabledWhy: "gone" }), sink({}, { disabled: true }), sink({ events: lane }), sink({ deadLetters: "3" })].map((one) => health(one).label),
      ["In order", "Switched off by the server", "Switched off", "Failing", "Has dead letters"],
    );
    assert.equal(progress(lane, "Events", 0).problem, "failed 2 times in a row: answered 500");
    assert.equal(progress({ ...lane, failures: 0, error: "" }, "Records", 0).text, "Records up to no. 12");
    assert.equal(progress(null, "Records", 0).text, "Nothing was handed over yet");
  });

  it("tells where sinks lead and what they are handed", () => {
    const kinds = ["EVENT_KIND_SESSION_STARTED", "EVENT_KIND_SESSION_ENDED"];
    assert.deepEqual(
      [sink({}, { webhook: { url: "https://x" } }), sink({}, { file: {} }), sink({}, { redis: {} }), sink({}, { salesforce: { loginUrl: "https://l", username: "u" } }), sink()].map((one) => target(one).kind),
      ["Webhook", "File", "Redis stream", "Salesforce", "Sink"],
    );
    assert.equal(takes(sink({}, { eventKinds: kinds })), "session started, session ended");
    assert.equal(takes(sink({}, { eventKinds: [...kinds, ...kinds] })), "4 kinds of events");
    assert.equal(takes(sink({}, { everyEvent: true })), "every event");
    assert.equal(takes(sink()), "");
  });
});

describe("words", () => {
  it("say whom a session was with", () => {
    const stay = (/** @type {string} */ agentId, /** @type {string} */ name) => ({ participantId: name, role: "", agentId, name, joinedAt: null, leftAt: null });
    const show = (/** @type {any[]} */ attendance) => others({ kind: "SESSION_KIND_SHOW", visitorId: "", attendance });
    assert.equal(others(sessionRecord()), "C-1");
    assert.equal(show([stay("alice", "Alice"), stay("", "Ann"), stay("", ""), stay("", "Ann")]), "Ann, A guest");
    assert.equal(show([stay("alice", "Alice")]), "Nobody");
  });

  it("say amounts and lengths", () => {
    assert.deepEqual([0, 999, 1000, 85_200, 4_200_000, 250_000_000].map(amount), ["0 B", "999 B", "1.0 kB", "85.2 kB", "4.2 MB", "250 MB"]);
    assert.deepEqual([0, 400, 48_000, 120_000, 725_000, 12_000_000].map(lasted), ["–", "less than a second", "48 s", "2 min", "12 min 5 s", "3 h 20 min"]);
    assert.deepEqual([0, 7_900, 754_000, 3_723_000].map(clock), ["0:00", "0:07", "12:34", "1:02:03"]);
  });

  it("say days from here", () => {
    const now = new Date(2026, 2, 30, 0, 30).getTime();
    assert.equal(dayName(new Date(2026, 2, 30, 0, 10).toISOString(), now), "Today");
    assert.equal(dayName(new Date(2026, 2, 29, 23, 59).toISOString(), now), "Yesterday");
    assert.equal(dayName(new Date(2026, 2, 28, 12).toISOString(), now), "Sat, 28 Mar 2026");
  });

  it("say what came of a session", () => {
    for (const [more, label] of /** @type {[any, string][]} */ ([
      [{}, "Completed"],
      [{ state: "SESSION_STATE_ACTIVE" }, "Running"],
      [{ outcome: "REQUEST_OUTCOME_DECLINED", startedAt: null, endReason: "declined" }, "Declined"],
      [{ startedAt: null, endReason: "expired" }, "Never started"],
      [{ endReason: "node_lost" }, "The server went down"],
    ])) {
      assert.equal(verdict(sessionRecord(more)).label, label);
    }
    assert.equal(endWords("some_new_reason"), "Some new reason");
    assert.match(endSentence("some_new_reason"), /some new reason/);
  });
});
