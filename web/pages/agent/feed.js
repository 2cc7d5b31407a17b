// The feed of the open record: who started and joined sessions there, what back ends posted, and whether the agent
// follows it.
//
// Decides how posts are drawn and when they are read. Does not decide what is posted nor who hears of it (the server).

import { h, set, write } from "./dom.js";
import { duration } from "./words.js";

/** @import { AgentClient } from "../../agent.js" */
/** @import { FeedItem, RecordRef } from "../../lib/wire.js" */

/** Posts read at once: as many as a screen shows with some to scroll. */
const PAGE = 10;
/** Posts that pushes may pile up here: a back end that posts all day does not fill the page. */
const KEPT = 200;

/** Panel of one record's feed. */
export class FeedPanel {
  #client;
  #onError;
  /** @type {RecordRef | null} */
  #record = null;
  /** Newest first. @type {FeedItem[]} */
  #items = [];
  #following = false;
  /** What is drawn, by the post's ID: it stays, so that a selection and screen readers are left in peace. @type {Map<string, HTMLElement>} */
  #drawn = new Map();
  #list = h("ol", { class: "feed-list", "aria-live": "polite", "data-test": "feed-items" });
  #empty = h("p", { class: "muted feed-empty" }, "Nothing was posted here yet.");
  #follow = h("button", {
    class: "button small",
    type: "button",
    "data-test": "follow",
    onclick: () => this.#toggle(),
  });
  #older = h(
    "button",
    { class: "button quiet small", type: "button", hidden: true, "data-test": "feed-older", onclick: () => this.#readOlder() },
    "Older posts",
  );
  element = h(
    "section",
    { class: "feed card", "aria-label": "Feed", "data-test": "feed", hidden: true },
    h("header", { class: "feed-head" }, h("h2", {}, "Feed"), this.#follow),
    this.#empty,
    this.#list,
    this.#older,
  );

  /**
   * @param {object} options
   * @param {AgentClient} options.client
   * @param {(title: string, error: unknown) => void} options.onError
   */
  constructor({ client, onError }) {
    this.#client = client;
    this.#onError = onError;
    client.on("feedItem", ({ item }) => this.#isOf(item.record) && this.#pushed(item));
  }

  /** Shows the feed of a record, of none with null. @param {RecordRef | null} record */
  open(record) {
    if (record && this.#isOf(record)) return;
    this.#record = record;
    this.#items = [];
    this.#following = false;
    set(this.element, "hidden", record === null);
    set(this.#older, "hidden", true);
    this.#draw();
    this.refresh();
  }

  /** Reads what is newest: at first, and again after a lost connection. */
  async refresh() {
    const record = this.#record;
    if (!record) return;
    try {
      const { items, more, following } = await this.#client.feed(record, { limit: PAGE });
      if (this.#record !== record) return;
      const known = new Set(this.#items.map(({ id }) => id));
      // More was posted meanwhile than a page holds: what is behind it is read anew.
      if (!items.some(({ id }) => known.has(id))) {
        this.#items = [];
        set(this.#older, "hidden", !more);
      }
      this.#following = following;
      this.#add(items);
    } catch (error) {
      this.#failed("The feed could not be read", error);
    }
  }

  /** Says again how long ago things were. */
  tick() {
    if (this.#record) this.#draw();
  }

  async #readOlder() {
    const record = this.#record;
    const last = this.#items.at(-1);
    if (!record || !last) return;
    try {
      const { items, more } = await this.#client.feed(record, { before: last.id, limit: PAGE });
      if (this.#record !== record) return;
      set(this.#older, "hidden", !more);
      this.#add(items);
    } catch (error) {
      this.#failed("The feed could not be read", error);
    }
  }

  async #toggle() {
    const record = this.#record;
    if (!record) return;
    const follows = !this.#following;
    set(this.#follow, "disabled", true);
    try {
      await (follows ? this.#client.follow(record) : this.#client.unfollow(record));
      if (this.#record === record) this.#following = follows;
    } catch (error) {
      this.#failed(follows ? "The record is not followed" : "The record is still followed", error);
    } finally {
      set(this.#follow, "disabled", false);
      this.#draw();
    }
  }

  /** @param {RecordRef} record */
  #isOf({ object, id }) {
    return this.#record?.object === object && this.#record.id === id;
  }

  /** @param {FeedItem} item */
  #pushed(item) {
    if (this.#items.length >= KEPT) {
      this.#items.pop();
      set(this.#older, "hidden", false);
    }
    this.#add([item]);
  }

  /** @param {FeedItem[]} items */
  #add(items) {
    const known = new Map(this.#items.map((item) => [item.id, item]));
    for (const item of items) known.set(item.id, item);
    this.#items = [...known.values()].sort((a, b) => Date.parse(b.time) - Date.parse(a.time));
    this.#draw();
  }

  #draw() {
    set(this.element, "data-following", String(this.#following));
    set(this.#follow, "aria-pressed", String(this.#following));
    write(this.#follow, this.#following ? "Following" : "Follow");
    set(this.#empty, "hidden", this.#items.length > 0);
    const before = this.#drawn;
    this.#drawn = new Map(this.#items.map((item) => [item.id, before.get(item.id) ?? post(item)]));
    for (const [id, element] of before) if (!this.#drawn.has(id)) element.remove();
    let next = this.#list.firstElementChild;
    for (const element of this.#drawn.values()) {
      if (element === next) next = next.nextElementSibling;
      else this.#list.insertBefore(element, next);
      tellAge(element);
    }
  }

  /** A lost connection is shown elsewhere, and what is missing is read when it is back. @param {string} title @param {unknown} error */
  #failed(title, error) {
    const { code } = /** @type {{ code?: string }} */ (error);
    if (code !== "lost") this.#onError(title, error);
  }
}

/** @param {FeedItem} item */
function post({ id, time, author, text, link }) {
  const when = h("time", { class: "muted", datetime: time, title: new Date(time).toLocaleString() });
  return h(
    "li",
    { class: "feed-item", "data-test": "feed-item", "data-post-id": id },
    h("p", { class: "feed-meta" }, h("strong", {}, author.name ?? author.id ?? author.type), when),
    h("p", { class: "feed-text" }, text),
    anchor(link),
  );
}

/** Says how long ago a post was made. @param {HTMLElement} element */
function tellAge(element) {
  const when = /** @type {HTMLTimeElement} */ (element.querySelector("time"));
  const ago = duration(Date.now() - Date.parse(when.dateTime));
  write(when, ago === "now" ? "just now" : `${ago} ago`);
}

/**
 * The way behind a post. A page of ours takes the sign-in along into its tab; any other learns nothing of this one.
 * @param {string} [link]
 */
function anchor(link) {
  if (!link) return null;
  if (!URL.canParse(link, location.origin)) return null;
  const url = new URL(link, location.origin);
  if (url.protocol !== "https:" && url.protocol !== "http:") return null;
  const session = url.origin === location.origin && url.pathname.startsWith("/s/");
  return h(
    "a",
    {
      href: url.href,
      target: "_blank",
      rel: session ? "opener" : "noopener noreferrer",
      "data-test": "feed-link",
    },
    session ? "Open session" : url.host + (url.pathname === "/" ? "" : url.pathname),
  );
}
