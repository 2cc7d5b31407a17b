// The sessions that are found as a file: comma-separated values or one JSON object a line.
//
// Decides the two forms, which are those of `porchlight admin list-session-records`, and how much is read. Does not
// decide which sessions (filters.js).

/** @import { RecordPage, SessionRecord, SessionStats } from "../../lib/past.js" */

/** Records in one file: some tens of megabytes, which a page can hold. Beyond, the command line writes as it reads. */
export const MOST_EXPORTED = 20_000;

/** What a spreadsheet takes for the beginning of a formula, or skips before one. */
const FORMULA = /^ *[=+\-@\t\r]/;

/** As a file has them; none is ever taken away, new ones stand at the end. @type {[string, (record: SessionRecord) => string][]} */
const RECORD_COLUMNS = [
  ["session_id", (one) => one.sessionId],
  ["request_id", (one) => one.requestId],
  ["kind", (one) => word(one.kind, "SESSION_KIND_")],
  ["state", (one) => word(one.state, "SESSION_STATE_")],
  ["outcome", (one) => word(one.outcome, "REQUEST_OUTCOME_")],
  ["created_at", (one) => time(one.createdAt)],
  ["started_at", (one) => time(one.startedAt)],
  ["ended_at", (one) => time(one.endedAt)],
  ["end_reason", (one) => one.endReason],
  ["duration_ms", (one) => one.durationMs],
  ["visitor_id", (one) => one.visitorId],
  ["agent_ids", (one) => one.agentIds.join("; ")],
  ["participants", (one) => one.attendance.map(({ name }) => name).join("; ")],
  ["record_object", (one) => one.record?.object ?? ""],
  ["record_id", (one) => one.record?.id ?? ""],
  ["record_name", (one) => one.record?.name ?? ""],
  ["record_url", (one) => one.record?.url ?? ""],
  ["terms_version", (one) => one.termsVersion],
  ["displayed_at", (one) => time(one.displayedAt)],
  ["answered_at", (one) => time(one.answeredAt)],
  ["connection_id", (one) => one.connectionId],
  ["receipt_id", (one) => one.receiptId],
  ["receipt_number", (one) => (one.receiptNumber === "0" ? "" : one.receiptNumber)],
  ["frames", (one) => one.frames],
  ["bytes", (one) => one.bytes],
  ["also_shown", (one) => [...new Set(one.alsoShown.map(({ kind }) => word(kind, "SESSION_KIND_")))].join("; ")],
  ["also_shown_ms", shownMs],
];

/** @type {[string, (row: SessionStats) => string][]} */
const STATS_COLUMNS = [
  ["day", (row) => row.day],
  ["agent_id", (row) => row.agentId],
  ["sessions", (row) => row.sessions],
  ["accepted", (row) => row.accepted],
  ["declined", (row) => row.declined],
  ["started", (row) => row.started],
  ["duration_ms", (row) => row.durationMs],
  ["frames", (row) => row.frames],
  ["bytes", (row) => row.bytes],
];

/** @typedef {"csv" | "ndjson"} Form */

/** Content type of each form. @type {Record<Form, string>} */
const TYPES = { csv: "text/csv;charset=utf-8", ndjson: "application/x-ndjson" };

/**
 * Reads all that is found, page by page, into a file.
 * @param {object} options
 * @param {Form} options.form
 * @param {(pageToken: string) => Promise<RecordPage>} options.load
 * @param {(record: SessionRecord) => boolean} options.fits
 * @param {(count: number) => void} options.onProgress
 * @param {AbortSignal} options.signal
 * @param {number} [options.most]
 * @returns {Promise<{ blob: Blob, count: number, complete: boolean }>}
 */
export async function exportRecords({ form, load, fits, onProgress, signal, most = MOST_EXPORTED }) {
  const parts = form === "csv" ? [csvRow(RECORD_COLUMNS.map(([name]) => name))] : [];
  let count = 0;
  let pageToken = "";
  do {
    const page = await load(pageToken);
    signal.throwIfAborted();
    for (const record of page.records.filter(fits)) {
      if (count === most) return { blob: new Blob(parts, { type: TYPES[form] }), count, complete: false };
      parts.push(form === "csv" ? recordRow(record) : `${JSON.stringify(record)}\n`);
      count += 1;
    }
    onProgress(count);
    pageToken = page.nextPageToken;
  } while (pageToken);
  return { blob: new Blob(parts, { type: TYPES[form] }), count, complete: true };
}

/** @param {SessionStats[]} rows */
export function statsFile(rows) {
  const lines = rows.map((row) => csvRow(STATS_COLUMNS.map(([, read]) => read(row))));
  return new Blob([csvRow(STATS_COLUMNS.map(([name]) => name)), ...lines], { type: TYPES.csv });
}

/** @param {SessionRecord} record */
export function recordRow(record) {
  return csvRow(RECORD_COLUMNS.map(([, read]) => read(record)));
}

/** One row with its line end (RFC 4180). @param {string[]} cells */
export function csvRow(cells) {
  return `${cells.map(cell).join(",")}\r\n`;
}

/** Names come from visitors and agents: what a spreadsheet would take for a formula gets an apostrophe. @param {string} text */
function cell(text) {
  const guard = FORMULA.test(text) ? "'" : "";
  const quoted = /[",\r\n]|^ | $/.test(text);
  return quoted ? `"${guard}${text.replaceAll('"', '""')}"` : guard + text;
}

/** Hands a file to the person. @param {Blob} blob @param {string} name */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** How long something else was shown, without what lasts; empty where nothing was. @param {SessionRecord} record */
function shownMs({ alsoShown }) {
  const ended = alsoShown.filter(({ endedAt }) => endedAt);
  const sum = ended.reduce((ms, { shownAt, endedAt }) => ms + Date.parse(endedAt ?? "") - Date.parse(shownAt ?? ""), 0);
  return alsoShown.length ? String(sum) : "";
}

/** @param {string} name @param {string} prefix */
function word(name, prefix) {
  return name.startsWith(prefix) ? name.slice(prefix.length).toLowerCase() : name;
}

/** @param {string | null} at RFC 3339, with milliseconds then */
function time(at) {
  return at ? new Date(at).toISOString() : "";
}
