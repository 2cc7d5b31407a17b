// Settings as values: what differs between two versions, what of it clashes, and how it is put together again.
//
// Decides the unit in which people think of a change: one switch, one origin, one permission of one agent, one cell of
// a table. Does not decide what is valid (the server), nor touch the page.

/** @import { Settings } from "../../lib/company.js" */

/** Lists whose order means nothing and whose entries are names. */
const SETS = new Set([
  "visitorOrigins",
  "agentOrigins",
  "permissionSet.user",
  "permissionSet.admin",
  "permissionSet.agentVideo",
]);
/** Tables, and the column that names a row. */
const TABLES = new Map([
  ["objects", "object"],
  ["profiles", "name"],
]);

/**
 * One difference. `row` is the entry of a list, `field` the cell of a table's row; a value that is not there is
 * undefined.
 * @typedef {object} Difference
 * @property {string} path what a field mask calls it
 * @property {string} [row]
 * @property {string} [field]
 * @property {any} before
 * @property {any} after
 */

/** The other's change of what was edited here. @typedef {{ mine: Difference, theirs: any, clash: boolean }} Encounter */

/** @param {any} from @param {string} path */
export function get(from, path) {
  return path.split(".").reduce((value, name) => value?.[name], from);
}

/** @param {any} into @param {string} path @param {any} value */
export function put(into, path, value) {
  const names = path.split(".");
  const last = /** @type {string} */ (names.pop());
  const holder = names.reduce((at, name) => (at[name] ??= {}), into);
  holder[last] = value;
}

/**
 * What is different in `after`, in its order. @param {any} before nothing at all: everything is new
 * @param {any} after
 * @returns {Difference[]}
 */
export function differences(before, after) {
  const from = before ?? {};
  return leaves(from, after).flatMap((path) => {
    const [old, now] = [get(from, path), get(after, path)];
    if (SETS.has(path)) return ofSet(path, old ?? [], now ?? []);
    const key = TABLES.get(path);
    if (key) return ofTable(path, key, old ?? [], now ?? []);
    return same(old, now) ? [] : [{ path, before: old, after: now }];
  });
}

/** The field mask of these differences: each path once. @param {Difference[]} found */
export function maskOf(found) {
  return [...new Set(found.map(({ path }) => path))].join(",");
}

/**
 * Holds my edits against what somebody else has made of the settings meanwhile.
 * @param {Settings} base what I began with
 * @param {Settings} mine
 * @param {Settings} theirs
 * @returns {{ encounters: Encounter[], others: Difference[] }} one encounter per edit of mine; `others`: what they
 *   changed that I did not touch
 */
export function compare(base, mine, theirs) {
  const edits = differences(base, mine);
  const changes = differences(base, theirs);
  const encounters = edits.map((edit) => {
    const now = valueOf(theirs, edit);
    const clash = changes.some((change) => touches(change, edit)) && !same(now, edit.after);
    return { mine: edit, theirs: now, clash };
  });
  return { encounters, others: changes.filter((change) => !edits.some((edit) => touches(change, edit))) };
}

/**
 * Their settings with these edits of mine. @param {Settings} theirs @param {Settings} mine @param {Difference[]} edits
 * @returns {Settings}
 */
export function applied(theirs, mine, edits) {
  const result = structuredClone(theirs);
  for (const edit of edits) apply(result, mine, edit);
  return result;
}

/** The value of that unit in other settings. @param {any} settings @param {Difference} unit @returns {any} */
export function valueOf(settings, { path, row, field }) {
  const value = get(settings, path);
  if (row === undefined) return value;
  if (SETS.has(path)) return value?.includes(row) ? true : undefined;
  const key = /** @type {string} */ (TABLES.get(path));
  const found = value?.find((/** @type {any} */ one) => one[key] === row);
  return field === undefined ? found : found?.[field];
}

/** @param {any} one @param {any} other @returns {boolean} */
export function same(one, other) {
  if (Object.is(one, other)) return true;
  if (typeof one !== "object" || typeof other !== "object" || !one || !other) return false;
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...names].every((name) => same(one[name], other[name]));
}

/**
 * Whether two differences are about the same thing, or one about a row and the other about a cell of it.
 * @param {Difference} one @param {Difference} other
 */
function touches(one, other) {
  if (one.path !== other.path || one.row !== other.row) return false;
  return one.field === undefined || other.field === undefined || one.field === other.field;
}

/**
 * Paths of everything that is no group of settings itself.
 * @param {any} before @param {any} after @param {string} [prefix]
 * @returns {string[]}
 */
function leaves(before, after, prefix = "") {
  const names = new Set([...Object.keys(after ?? {}), ...Object.keys(before ?? {})]);
  return [...names].flatMap((name) => {
    const path = prefix + name;
    const value = after?.[name] ?? before?.[name];
    const group = value !== null && typeof value === "object" && !Array.isArray(value);
    return group ? leaves(before?.[name], after?.[name], `${path}.`) : [path];
  });
}

/** @param {string} path @param {string[]} old @param {string[]} now @returns {Difference[]} */
function ofSet(path, old, now) {
  return [
    ...now.filter((row) => !old.includes(row)).map((row) => ({ path, row, before: undefined, after: true })),
    ...old.filter((row) => !now.includes(row)).map((row) => ({ path, row, before: true, after: undefined })),
  ];
}

/** @param {string} path @param {string} key @param {any[]} old @param {any[]} now @returns {Difference[]} */
function ofTable(path, key, old, now) {
  /** @type {(entry: any, at: number) => Difference[]} */
  const ofRow = (entry, at) => {
    const row = entry[key];
    const was = old.find((one) => one[key] === row);
    // A second row of the same name is one too many; the server has to see it to say so.
    const twice = now.findIndex((one) => one[key] === row) < at;
    if (!was || twice) return [{ path, row, before: undefined, after: entry }];
    return Object.keys(entry)
      .filter((field) => !same(was[field], entry[field]))
      .map((field) => ({ path, row, field, before: was[field], after: entry[field] }));
  };
  const gone = old.filter((entry) => !now.some((one) => one[key] === entry[key]));
  return [...now.flatMap(ofRow), ...gone.map((entry) => ({ path, row: entry[key], before: entry, after: undefined }))];
}

/** @param {any} result @param {any} mine @param {Difference} edit */
function apply(result, mine, edit) {
  const { path, row, field, after } = edit;
  if (row === undefined) return put(result, path, structuredClone(after));
  const list = get(result, path) ?? [];
  if (SETS.has(path)) {
    const rest = list.filter((/** @type {string} */ one) => one !== row);
    return put(result, path, after ? (list.includes(row) ? list : [...list, row]) : rest);
  }
  const key = /** @type {string} */ (TABLES.get(path));
  const at = list.findIndex((/** @type {any} */ one) => one[key] === row);
  if (field !== undefined && at >= 0) list[at][field] = after;
  else if (field === undefined && after === undefined) list.splice(at, at < 0 ? 0 : 1);
  else {
    // A new row, or a cell of one that was taken away meanwhile: my row as a whole.
    const own = structuredClone(valueOf(mine, { path, row, before: undefined, after: undefined }));
    list.splice(at < 0 ? list.length : at, at < 0 ? 0 : 1, own);
  }
  put(result, path, list);
}
