// The history of sessions: the list with its filter and files, one session with its course and its receipt, and the sync
// that hands it on.
import assert from "node:assert/strict";
import { PHONE, shoot, stage } from "./lib.js";

const { scene } = stage();

/** Sessions of the first scene, for those behind it. */
const played = { first: "", second: "" };

scene("two sessions are listed, filtered, told and written to a file", async (s) => {
  await s.server.admin("PutSink", { sink: { sinkId: "archive", file: {}, sessionRecords: true, everyEvent: true } });
  const { version } = await s.server.admin("GetSettings");
  const asked = { settings: { openSessionRecords: true }, updateMask: "openSessionRecords", expectedVersion: version };
  await s.server.admin("UpdateSettings", asked);
  const history = await s.history();
  await history.page.locator("[data-test=list-empty]").waitFor();

  const visitor = await s.visitor({ id: "C-1001" });
  const alice = await s.agent("alice");
  await alice.joins("C-1001", { control: true });
  await visitor.accept();
  await visitor.shares();
  await alice.sees("live");
  played.first = (await alice.viewer.getAttribute("data-session-id")) ?? "";
  const record = alice.page.locator("[data-test=session-record]");
  assert.equal(await record.getAttribute("href"), `/history#session/${played.first}`, "the group wants it opened");

  // While it runs it is on the list, is followed by itself, and may be opened.
  await history.page.locator("[data-test=refresh-sessions]").click();
  await history.row(played.first).and(history.page.locator("[data-state=SESSION_STATE_ACTIVE]")).waitFor();
  await history.row(played.first).locator("[data-test=open-session]").click();
  const running = history.page.locator("[data-test=open-running]");
  await running.waitFor();
  assert.equal(await running.getAttribute("href"), `/s/${played.first}`);
  await visitor.barButton("pause").click();
  await visitor.shares("paused");
  await visitor.barButton("pause").click();
  await visitor.shares();
  await visitor.barButton("stop").click();
  await history.page.locator("[data-test=end-reason]", { hasText: "Ended by the guest" }).waitFor();
  assert.equal(await running.isVisible(), false);

  // Its course, in order and once, and the receipt with a signature that the browser has checked.
  await history.page.locator("[data-kind=EVENT_KIND_RECORD_LOGGED]").waitFor();
  const kinds = await history.kinds();
  const expected = ["SESSION_CREATED", "REQUEST_OFFERED", "REQUEST_DISPLAYED", "REQUEST_ACCEPTED", "SESSION_STARTED", "SESSION_PAUSED", "SESSION_RESUMED", "SESSION_ENDED", "RECORD_LOGGED"];
  assert.deepEqual(kinds.filter((kind) => expected.includes(kind ?? "")), expected);
  const texts = await history.happenings.allTextContents();
  assert.ok(texts.some((text) => /C-1001 accepted the terms\..*Receipt no\. 1\./.test(text)), texts.join("\n"));
  const receipt = history.page.locator("[data-test=receipt]");
  await receipt.and(history.page.locator("[data-verdict=good]")).waitFor();
  await receipt.getByText("Receipt no. 1").waitFor();
  await history.page.locator("[data-test=pauses]", { hasText: "Paused once" }).waitFor();
  assert.equal(await history.page.locator("[data-test=stay]").count(), 2);

  // Another one, which the visitor declines; Bob asks.
  const other = await s.visitor({ id: "C-1002" });
  const bob = await s.agent("bob");
  await bob.joins("C-1002");
  await other.button("decline").click();
  await bob.requestIs("declined");
  await history.page.locator("[data-test=back]").click();
  await history.rows.first().waitFor();
  // Bob may be told a moment before the disk has it.
  for (const deadline = Date.now() + 30_000; (await history.rows.count()) < 2; ) {
    assert.ok(Date.now() < deadline, "the second session is on the list");
    await history.page.locator("[data-test=refresh-sessions]").click();
    await history.rows.nth(1).waitFor({ timeout: 1_000 }).catch(() => {});
  }
  played.second = (await history.rows.first().getAttribute("data-session-id")) ?? "";
  await history.lists(played.second, played.first);
  // What is not over yet is followed by itself.
  await history.row(played.second).getByText("Declined", { exact: true }).waitFor();

  await history.chooses("agent", "bob");
  await history.lists(played.second);
  await history.chooses("agent", "");
  await history.chooses("reason", "guest_ended");
  await history.lists(played.first);
  // What is found is in the address, and in the files.
  assert.match(history.page.url(), /#sessions\?reason=guest_ended$/);
  const csv = await history.downloads(history.page.locator("[data-test=export-csv]"));
  assert.match(csv.name, /^sessions-\d{4}-\d\d-\d\d\.csv$/);
  const [head, line, ...rest] = csv.text.trim().split("\r\n");
  assert.ok(head.startsWith("session_id,request_id,kind,") && line.startsWith(`${played.first},`) && rest.length === 0, csv.text);
  await history.page.locator("[data-test=clear-filter]").click();
  await history.lists(played.second, played.first);
  const ndjson = await history.downloads(history.page.locator("[data-test=export-ndjson]"));
  const ids = ndjson.text.trim().split("\n").map((one) => JSON.parse(one).sessionId);
  assert.deepEqual(ids, [played.second, played.first]);
  await history.filter.locator("[name=visitor]").fill("C-9999");
  await history.page.locator("[data-test=list-empty]", { hasText: "No session fits" }).waitFor();
});

scene("Sync now hands the sessions over, and says so without a reload", async (s) => {
  const history = await s.history("sync");
  const sink = history.page.locator("[data-test=sink][data-sink-id=archive]");
  await sink.waitFor();
  await sink.locator("[data-test=test-sink]").click();
  await sink.locator("[data-test=sink-said][data-tone=ok]").waitFor();
  await history.page.locator("[data-test=sync-now]").click();
  const run = history.runs.and(history.page.locator("[data-outcome=Done]"));
  await run.locator("[data-test=run-count]", { hasText: /^2$/ }).waitFor();
  await sink.getByText("Records up to no. 2").waitFor();

  // Asked for elsewhere, it is here after Refresh.
  await s.server.admin("SyncNow");
  await history.page.locator("[data-test=refresh-sync]").click();
  await run.nth(1).waitFor();

  await history.goes("statistics");
  await history.page.locator("[data-test=total-sessions]", { hasText: /^2$/ }).waitFor();
  await history.page.locator("[data-test=stats-agents] [data-row=alice]").waitFor();
});

scene("a session's address opens it on a phone, and a sign-in is asked for first", async (s) => {
  const page = await s.page("alice's phone", PHONE);
  await page.goto(`${s.server.url}/history#session/${played.first}`);
  await page.locator("[name=address]").fill("alice");
  await page.locator("[name=password]").fill(s.server.password("alice"));
  await page.locator("[data-test=sign-in]").click();
  await page.locator("[data-test=receipt][data-verdict=good]").waitFor();
  await shoot(page, "history-after-sign-in-phone");
  await page.locator("[data-test=back]").click();
  await page.locator("[data-test=session-row]").nth(1).waitFor();
  // By the keyboard into a session, and back to where one was.
  await page.locator(`[data-session-id="${played.second}"] a`).press("Enter");
  await page.locator("[data-test=detail-verdict]", { hasText: "Declined" }).waitFor();
  await page.goBack();
  await page.locator("[data-test=session-row]").nth(1).waitFor();
});

scene("many sessions come page by page, and what cannot be read is said and read again", async (s) => {
  s.allow(/status of 5\d\d/);
  const record = (await s.server.admin("GetSessionRecord", { sessionId: played.first })).record;
  const records = Array.from({ length: 130 }, (_, at) => ({
    ...record,
    sessionId: `00000000-0000-7000-8000-${String(at).padStart(12, "0")}`,
    createdAt: new Date(Date.parse(record.createdAt) - at * 3_600_000).toISOString(),
  }));
  let refused = 1;
  const page = await s.page("alice");
  await page.route("**/v1/admin/ListSessionRecords", async (route) => {
    if (refused-- > 0) return route.fulfill({ status: 500, json: { error: { code: "internal", message: "the disk is on fire" } } });
    const { pageToken = "0", pageSize } = route.request().postDataJSON();
    const end = Number(pageToken) + pageSize;
    await route.fulfill({ json: { records: records.slice(Number(pageToken), end), nextPageToken: end < records.length ? String(end) : "" } });
  });
  const kept = JSON.stringify(await s.server.signIn("alice"));
  await page.addInitScript((value) => sessionStorage.setItem("porchlight.agent", value), kept);
  await page.goto(`${s.server.url}/history`);
  const error = page.locator("[data-test=list-error]");
  await error.getByText("The disk is on fire.").waitFor();
  await error.locator("button").click();
  const rows = page.locator("[data-test=session-row]");
  const more = page.locator("[data-test=more-sessions]");
  for (const count of [50, 100, 130]) {
    await rows.nth(count - 1).waitFor();
    assert.equal(await rows.count(), count);
    if (count < 130) await more.click();
  }
  await more.waitFor({ state: "hidden" });
  // Whoever pressed stands at the first of those that came.
  const focused = await page.evaluate(() => document.activeElement?.closest("tr")?.getAttribute("data-session-id"));
  assert.equal(focused, records[100].sessionId);
});

scene("what is not there is said, and who may not is told so", async (s) => {
  s.allow(/status of 4\d\d/);
  const history = await s.history("sessions?visitor=not%20an%20ID");
  await history.page.locator("[data-test=list-refused]", { hasText: "The visitor ID" }).waitFor();
  await history.page.goto(`${s.server.url}/history#session/nothing`);
  await history.page.locator("[data-test=no-session]").waitFor();
  await history.page.locator("[data-test=page-settings]").click();
  await history.page.locator("[data-test=section-settings]").waitFor();
  await history.page.locator("[data-test=page-history]").click();
  await history.at("sessions").waitFor();

  const bob = await s.page("bob");
  await bob.goto(`${s.server.url}/history`);
  await bob.locator("[name=address]").fill("bob");
  await bob.locator("[name=password]").fill(s.server.password("bob"));
  await bob.locator("[data-test=sign-in]").click();
  await bob.locator("[data-test=no-admin]").waitFor();
});
