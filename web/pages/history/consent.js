// What the visitor was asked, when it was on the screen and answered, and the receipt of it.
//
// Decides how that is told. Does not decide what a receipt says (receipt.js) nor what is recorded.

import { sentenceOf, shortName } from "../admin/words.js";
import { fill, h } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { download } from "./export.js";
import { checkReceipt, readReceipt } from "./receipt.js";
import { exactMoment, KINDS, lasted, OUTCOMES } from "./words.js";

/** @import { Agent } from "../../lib/company.js" */
/** @import { ConsentReceipt, SessionRecord } from "../../lib/past.js" */
/** @import { Company } from "../admin/company.js" */
/** @import { Receipt, Verdict } from "./receipt.js" */

/** @type {Record<Verdict, { tone: string, label: string, help: string }>} */
const VERDICTS = {
  good: {
    tone: "ok",
    label: "Signature is good",
    help: "Checked in this browser with the group’s public key. Whether the whole chain is complete is checked by “porchlight verify-receipts”.",
  },
  bad: {
    tone: "danger",
    label: "Signature is not good",
    help: "This is not what the server signed. Export the receipts and check them with “porchlight verify-receipts”.",
  },
  unchecked: {
    tone: "",
    label: "Signature not checked",
    help: "This page cannot check it here, or another key signed it. “porchlight verify-receipts” can, without a server.",
  },
};

/** The card. */
export class ConsentCard {
  #company;
  #receiptId = "";
  #steps = h("div", {});
  #receipt = h("div", { class: "receipt-slot" });
  element = h(
    "section",
    { class: "card settings-card", "aria-labelledby": "consent-title", "data-test": "consent" },
    h("h2", { class: "card-title", id: "consent-title" }, "Consent"),
    this.#steps,
    this.#receipt,
  );

  /** @param {Company} company */
  constructor(company) {
    this.#company = company;
  }

  /** @param {SessionRecord} record */
  show(record) {
    const { kind, outcome, termsVersion, createdAt, displayedAt, answeredAt, receiptId } = record;
    const { label, tone = "" } = OUTCOMES[outcome] ?? { label: "Not known" };
    if (kind === "SESSION_KIND_SHOW") {
      fill(this.#steps, h("p", { class: "help" }, "An agent showed its own screen: nobody else had to consent."));
      fill(this.#receipt);
      return;
    }
    const waited = displayedAt && answeredAt ? Date.parse(answeredAt) - Date.parse(displayedAt) : 0;
    fill(
      this.#steps,
      h(
        "ol",
        { class: "steps" },
        step("Asked", createdAt, "Not asked"),
        step(kind === "SESSION_KIND_VIEW" ? "Handed to the guest" : "On the visitor’s screen", displayedAt, "The page did not tell"),
        step(label, answeredAt, "No answer yet", tone, waited > 0 ? `after ${lasted(waited)}` : ""),
      ),
      termsVersion
        ? h("p", { class: "help" }, "Terms, version ", h("strong", {}, termsVersion))
        : h("p", { class: "help" }, "No terms had to be accepted."),
    );
    if (receiptId === this.#receiptId) return;
    this.#receiptId = receiptId;
    fill(this.#receipt);
    if (receiptId) this.#load(record);
  }

  /** @param {SessionRecord} record */
  async #load(record) {
    const { client } = this.#company;
    fill(this.#receipt, h("p", { class: "help", role: "status" }, "Reading the receipt…"));
    try {
      const [receipt, key] = await Promise.all([client.getConsentReceipt(record.receiptId), client.getReceiptKey()]);
      const verdict = await checkReceipt(receipt.line, key);
      const read = readReceipt(receipt.line);
      if (record.receiptId !== this.#receiptId) return;
      if (!read || read.consent.session !== record.sessionId) throw new Error("It is not the receipt of this session.");
      fill(this.#receipt, receiptView(receipt, read, verdict, this.#company.agents));
    } catch (error) {
      const again = h("button", { class: "button small", type: "button", onclick: () => this.#load(record) }, "Try again");
      fill(
        this.#receipt,
        h("p", { class: "problem", role: "alert" }, `The receipt could not be read. ${sentenceOf(error)}`),
        again,
      );
    }
  }
}

/** @param {string} name @param {string | null} at @param {string} missing @param {string} [tone] @param {string} [note] */
function step(name, at, missing, tone = "ok", note = "") {
  return h(
    "li",
    { class: "step", "data-done": at ? "true" : "false", "data-tone": at ? tone : "" },
    h("span", { class: "step-name" }, name),
    at
      ? h("time", { datetime: at, class: "muted" }, exactMoment(at) + (note && ` · ${note}`))
      : h("span", { class: "muted" }, missing),
  );
}

/** @param {ConsentReceipt} receipt @param {Receipt} read @param {Verdict} verdict @param {Agent[]} agents */
function receiptView(receipt, { number, previous, key, consent }, verdict, agents) {
  const { tone, label, help } = VERDICTS[verdict];
  const kind = KINDS[`SESSION_KIND_${consent.kind.toUpperCase()}`] ?? consent.kind;
  const asking = consent.agents.map((id) => shortName(id, agents)).join(", ");
  const attests = [
    ["Who", consent.visitor ?? `${consent.guest?.name ?? ""} (guest)`],
    ["Accepted", `the terms${consent.termsVersion ? `, version ${consent.termsVersion}` : ""}`],
    ["At", exactMoment(consent.acceptedAt)],
    ["Asked by", consent.askedBy + (asking && asking !== consent.askedBy ? ` (${asking})` : "")],
    ["For", `${kind}, ${consent.control ? "control may be asked for" : "watching only"}`],
  ];
  const exact = [
    ["Receipt", receipt.receiptId],
    ["Hash of the terms", consent.termsHash],
    ["Hash of the receipt before", previous],
    ["Key", key],
    ["Connection", consent.connection || "–"],
  ];
  return h(
    "div",
    { class: "receipt", "data-test": "receipt", "data-verdict": verdict },
    h(
      "header",
      { class: "receipt-head" },
      icon("verified"),
      h("h3", {}, `Receipt no. ${number}`),
      h("span", { class: `chip ${tone}`, title: help }, label),
    ),
    h("dl", { class: "receipt-facts" }, ...pairs(attests)),
    h(
      "details",
      {},
      h("summary", {}, "What is signed"),
      h("dl", { class: "receipt-exact" }, ...pairs(exact, "mono")),
      h("p", { class: "help" }, help),
      h(
        "button",
        {
          class: "button small",
          type: "button",
          "data-test": "download-receipt",
          onclick: () => download(new Blob([`${receipt.line}\n`], { type: "application/json" }), `receipt-${number}.json`),
        },
        "Download",
      ),
    ),
  );
}

/** @param {string[][]} rows @param {string} [className] */
function pairs(rows, className = "") {
  return rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", { class: className }, value)]);
}
