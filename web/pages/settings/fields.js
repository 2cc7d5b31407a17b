// Every setting of a company: its section, its name in front of people, and one sentence on what it does.
//
// Decides words, order and the kind of control. Does not decide which values are valid (the server) nor how a control
// works (controls.js, tables.js).

/** @import { Difference } from "./values.js" */

/** @typedef {"switch" | "choice" | "number" | "text" | "prose" | "lines" | "agent" | "key" | "objects" | "profiles" | "permissions"} Kind */

/**
 * @typedef {object} Field
 * @property {string} path within the settings
 * @property {Kind} kind
 * @property {string} label
 * @property {string} help
 * @property {[value: string, label: string, help?: string][]} [options] of a choice
 * @property {string} [unit] of a number
 * @property {string} [placeholder]
 */

/** @typedef {{ title: string, help?: string, fields: Field[] }} Card */
/** @typedef {{ id: string, title: string, icon: import("../agent/icons.js").IconName, lead: string, cards: Card[], editOnCard?: boolean }} Section */

/** @type {Section[]} */
export const SECTIONS = [
  {
    id: "settings",
    title: "Settings",
    icon: "settings",
    lead: "What becomes of sessions: records, leads, posts and the hand-over to your CRM.",
    cards: [
      {
        title: "Administration",
        fields: [
          {
            path: "defaultAdmin",
            kind: "agent",
            label: "Default admin",
            help: "Owns what belongs to no agent, such as sync jobs and notices.",
          },
        ],
      },
      {
        title: "Records and leads",
        fields: [
          {
            path: "createLeads",
            kind: "choice",
            label: "Create leads for session guests",
            help: "Makes a lead of a guest of Show and View sessions, one per email address, ever.",
            options: [
              ["CREATE_LEADS_NEVER", "Never"],
              ["CREATE_LEADS_NEW_EMAIL", "When the email is new"],
              ["CREATE_LEADS_NEW_EMAIL_AND_NAME", "When the email is new and a name is given"],
            ],
          },
          {
            path: "logSessionsOutsideCrm",
            kind: "switch",
            label: "Log sessions started outside the CRM",
            help: "Keeps events and records of sessions that belong to no record, too.",
          },
          {
            path: "openSessionRecords",
            kind: "switch",
            label: "Open session records",
            help: "Opens the session’s record for the agent when a session is joined.",
          },
          {
            path: "chatterOnStart",
            kind: "switch",
            label: "Post to the record’s feed",
            help: "Posts the start of a session and each join to the record’s feed, with a link to the session.",
          },
        ],
      },
      {
        title: "Synchronisation",
        fields: [
          {
            path: "syncFrequency",
            kind: "choice",
            label: "Sync frequency",
            help: "How often ended sessions are handed over, counted from the time of installation.",
            options: [
              ["SYNC_FREQUENCY_HOURLY", "Every hour"],
              ["SYNC_FREQUENCY_EVERY_TWO_HOURS", "Every 2 hours"],
              ["SYNC_FREQUENCY_DAILY", "Every day"],
              ["SYNC_FREQUENCY_NEVER", "Never, only when asked"],
            ],
          },
        ],
      },
    ],
  },
  {
    id: "sso",
    title: "Single Sign-On",
    icon: "key",
    lead: "How agents sign in from your CRM, and the API keys of your own systems.",
    cards: [
      {
        title: "Sign-in from the CRM",
        fields: [
          {
            path: "sso.enabled",
            kind: "switch",
            label: "Single sign-on",
            help: "Accepts login keys that your CRM has signed with an API key.",
          },
          {
            path: "sso.partnerUserIdField",
            kind: "text",
            label: "Partner user ID field",
            help: "The field of your CRM’s users that holds the partner user ID; read by the connector.",
            placeholder: "FederationIdentifier",
          },
          {
            path: "sso.apiKeyId",
            kind: "key",
            label: "API key for login keys",
            help: "Accepts login keys signed with this one key only, or with any that was not revoked.",
          },
          {
            path: "sso.loginExpirationSeconds",
            kind: "number",
            label: "Login expiration",
            help: "How long a sign-in lasts before it has to be renewed, however it was made.",
            unit: "seconds",
          },
        ],
      },
    ],
  },
  {
    id: "presence",
    title: "Presence",
    icon: "lamp",
    lead: "Who may be seen on your site, what a visitor is asked, and which pages may connect.",
    cards: [
      {
        title: "Presence and Join",
        fields: [
          {
            path: "presenceEnabled",
            kind: "switch",
            label: "Presence",
            help: "Tracks visitors on your site and lights the Join button of their records.",
          },
          {
            path: "joinStarts",
            kind: "choice",
            label: "Join starts",
            help: "What the visitor is asked to share when an agent presses Join.",
            options: [
              ["SESSION_KIND_UNSPECIFIED", "Co-browsing where available, else the screen"],
              ["SESSION_KIND_COBROWSE", "Co-browsing: this site’s pages only"],
              ["SESSION_KIND_SCREEN", "Screen: a tab, a window or all of it"],
            ],
          },
          {
            path: "graceSeconds",
            kind: "number",
            label: "Grace",
            help: "How long after the last connection a visitor still counts as here, so that page loads do not flicker.",
            unit: "seconds",
          },
          {
            path: "sessionKeyDigits",
            kind: "number",
            label: "Session key",
            help: "How long the key or code is that a visitor reads out to an agent, 4 to 12.",
            unit: "digits",
          },
        ],
      },
      {
        title: "Terms",
        fields: [
          {
            path: "showTerms",
            kind: "switch",
            label: "Show terms before connecting",
            help: "Shares nothing of a visitor’s screen before they have accepted your terms.",
          },
          {
            path: "terms.version",
            kind: "text",
            label: "Version",
            help: "Names this edition in every consent receipt; change it together with the text.",
            placeholder: "2026-1",
          },
          {
            path: "terms.text",
            kind: "prose",
            label: "Text",
            help: "What a visitor reads and accepts.",
          },
          {
            path: "terms.url",
            kind: "text",
            label: "Link",
            help: "Where the full terms can be read; shown below the text.",
            placeholder: "https://www.example.com/terms",
          },
          {
            path: "terms.deadlineSeconds",
            kind: "number",
            label: "Time to answer",
            help: "How long a visitor may think before the request expires; with terms or without.",
            unit: "seconds",
          },
        ],
      },
      {
        title: "Identity and origins",
        fields: [
          {
            path: "visitorIdentity",
            kind: "choice",
            label: "Visitor identity",
            help: "Whether your back end has to vouch for a visitor ID.",
            options: [
              ["VISITOR_IDENTITY_SIGNED", "Signed: a token from your back end is required"],
              ["VISITOR_IDENTITY_OPEN", "Open: taken at its word, shown as not verified"],
            ],
          },
          {
            path: "visitorOrigins",
            kind: "lines",
            label: "Visitor origins",
            help: "Sites whose pages may connect as visitors, one to a line; exact, no patterns.",
            placeholder: "https://www.example.com",
          },
          {
            path: "agentOrigins",
            kind: "lines",
            label: "Agent origins",
            help: "Sites whose pages may connect as agents, such as your CRM and this page; one to a line.",
            placeholder: "https://crm.example.com",
          },
          {
            path: "loopbackOrigins",
            kind: "switch",
            label: "Pages of the server’s own machine",
            help: "Lets pages from localhost connect as either; for development.",
          },
        ],
      },
    ],
  },
  {
    id: "buttons",
    title: "Buttons",
    icon: "show",
    lead: "Which buttons a record has, and where its visitor ID is found. An agent’s profile must have the button too.",
    cards: [
      {
        title: "Per object",
        fields: [{ path: "objects", kind: "objects", label: "Objects", help: "" }],
      },
    ],
  },
  {
    id: "profiles",
    title: "Profiles",
    icon: "badge",
    lead: "Which buttons the agents with a profile have. Agents whose profile is not listed have none, and are told so.",
    cards: [
      {
        title: "Per profile",
        fields: [{ path: "profiles", kind: "profiles", label: "Profiles", help: "" }],
      },
    ],
  },
  {
    id: "users",
    title: "Users",
    icon: "people",
    lead: "Who signs in with a password of their own, and what each agent may do.",
    editOnCard: true,
    cards: [
      {
        title: "Permission set",
        help: "Without the permission User an agent has no buttons at all.",
        fields: [{ path: "permissionSet", kind: "permissions", label: "Permissions", help: "" }],
      },
    ],
  },
];

/** @typedef {{ name: string, label: string, help: string, kind: "switch" | "text" | "choice", options?: [string, string][] }} Column */

/** The columns of the tables. @type {Record<string, { key: string, what: string, columns: Column[] }>} */
export const TABLES = {
  objects: {
    key: "object",
    what: "object",
    columns: [
      { name: "object", label: "Object", help: "Name of the object in your CRM.", kind: "text" },
      { name: "show", label: "Show", help: "The agent shows a screen.", kind: "switch" },
      { name: "join", label: "Join", help: "The agent joins the visitor.", kind: "switch" },
      { name: "view", label: "View", help: "The agent sees a guest’s screen.", kind: "switch" },
      {
        name: "visitorIdObject",
        label: "Visitor ID on",
        help: "The object that holds the visitor ID: a parent’s name. Empty: the record itself.",
        kind: "text",
      },
      {
        name: "visitorIdField",
        label: "Visitor ID field",
        help: "The field that holds it. Empty: Join asks for a session key.",
        kind: "text",
      },
      {
        name: "autoJoin",
        label: "Auto Join",
        help: "Opening the record joins its visitor’s running session without a click.",
        kind: "switch",
      },
    ],
  },
  profiles: {
    key: "name",
    what: "profile",
    columns: [
      { name: "name", label: "Profile", help: "Name of the profile in your CRM.", kind: "text" },
      { name: "show", label: "Show", help: "The agent shows a screen.", kind: "switch" },
      { name: "view", label: "View", help: "The agent sees a guest’s screen.", kind: "switch" },
      { name: "join", label: "Join", help: "The agent joins the visitor.", kind: "switch" },
      {
        name: "joinIn",
        label: "Join in",
        help: "Where a joined session opens.",
        kind: "choice",
        options: [
          ["JOIN_IN_BROWSER_TAB", "Browser tab"],
          ["JOIN_IN_PAGE", "The page itself"],
          ["JOIN_IN_CLIENT", "Client"],
        ],
      },
      {
        name: "startAgentVideo",
        label: "Agent video",
        help: "The agent’s camera starts with the session.",
        kind: "switch",
      },
    ],
  },
};

/** @type {Record<string, { label: string, help: string }>} */
export const PERMISSIONS = {
  user: { label: "User", help: "May show, view and join." },
  admin: { label: "Admin", help: "May change these settings." },
  agentVideo: { label: "Agent video", help: "May send their camera." },
};

const FIELDS = new Map(
  SECTIONS.flatMap(({ cards }) => cards.flatMap(({ fields }) => fields)).map((field) => [field.path, field]),
);

/** Section whose form holds this path. @param {string} path */
export function sectionOf(path) {
  return SECTIONS.find(({ cards }) =>
    cards.some(({ fields }) => fields.some((field) => path === field.path || path.startsWith(`${field.path}.`))),
  );
}

/** A difference by name: "Case · Join". @param {Difference} difference */
export function nameOf({ path, row, field }) {
  if (path.startsWith("permissionSet.")) return `${row} · ${PERMISSIONS[path.split(".")[1]]?.label ?? path}`;
  const label = FIELDS.get(path)?.label ?? path;
  if (row === undefined) return label;
  const column = field && TABLES[path]?.columns.find(({ name }) => name === field);
  if (TABLES[path]) return column ? `${row} · ${column.label}` : `${row} (${TABLES[path].what})`;
  return `${label} · ${row}`;
}

/** A value of it in words. @param {Difference} difference @param {any} value @returns {string} */
export function wordsFor({ path, row, field }, value) {
  if (row !== undefined && field === undefined) {
    if (TABLES[path]) return value === undefined ? "not listed" : `listed: ${rowInWords(path, value)}`;
    return path.startsWith("permissionSet.") ? (value ? "yes" : "no") : value ? "listed" : "not listed";
  }
  const of = field ? TABLES[path].columns.find(({ name }) => name === field) : FIELDS.get(path);
  return inWords(of, value);
}

/** @param {{ kind?: string, options?: [string, string, string?][], unit?: string } | undefined} of @param {any} value @returns {string} */
export function inWords(of, value) {
  if (typeof value === "boolean") return value ? "on" : "off";
  if (value === undefined || value === null || value === "" || (Array.isArray(value) && !value.length)) return "empty";
  const option = of?.options?.find(([known]) => known === value);
  if (option) return option[1];
  return of?.unit ? `${value} ${of.unit}` : String(value);
}

/** @param {string} path @param {any} row */
function rowInWords(path, row) {
  const on = TABLES[path].columns.filter(({ name, kind }) => kind === "switch" && row[name]).map(({ label }) => label);
  return on.length ? on.join(", ") : "no buttons";
}
