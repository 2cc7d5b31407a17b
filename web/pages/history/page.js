// The history page: sessions, one session, statistics, sync.
//
// Decides which section is on which address, and that nothing is read for a section nobody looks at. Does not decide
// what a section shows (its own module).

import { Frame } from "../admin/frame.js";
import { SessionDetail } from "./detail.js";
import { SessionList } from "./list.js";
import { StatsPanel } from "./stats.js";
import { SyncPanel } from "./sync.js";

/** @import { Company } from "../admin/company.js" */

/** The page of an admin. */
export class HistoryPage {
  #company;
  #frame;
  #list;
  #detail;
  #sync;

  /**
   * @param {object} options
   * @param {Company} options.company
   * @param {{ id: string, name: string }} options.agent at the page
   * @param {string} options.group
   * @param {HTMLElement} options.theme
   * @param {() => void} options.onSignOut
   */
  constructor({ company, agent, group, theme, onSignOut }) {
    this.#company = company;
    const frame = new Frame({ at: "history", title: "Porchlight history", agent, group, theme, onSignOut });
    this.#frame = frame;
    const onDone = (/** @type {string} */ title, /** @type {string} */ text = "") => frame.toasts.show(title, { text });
    const onError = (/** @type {string} */ title, /** @type {unknown} */ error) => frame.toasts.error(title, error);
    const list = new SessionList({ company, onError });
    const stats = new StatsPanel({ company, onError });
    this.#list = list;
    this.#sync = new SyncPanel({ company, onDone, onError });
    this.#detail = new SessionDetail({
      company,
      back: () => list.address,
      onTitle: (title) => frame.current === "session" && frame.title(title),
      onError,
    });
    frame.add({
      id: "sessions",
      title: "Sessions",
      icon: "people",
      lead: "Every session that was logged: who asked whom, what came of it and how it ended.",
      action: list.actions,
      content: [list.element],
      open: (rest) => (this.#leave(), list.open(rest)),
    });
    frame.add({
      id: "session",
      title: "Session",
      under: "sessions",
      content: [this.#detail.element],
      open: (sessionId) => {
        this.#leave();
        this.#detail.open(sessionId);
      },
    });
    frame.add({
      id: "statistics",
      title: "Statistics",
      icon: "stats",
      lead: "How much your agents and visitors met, by day and by agent.",
      action: stats.actions,
      content: [stats.element],
      open: () => {
        this.#leave();
        stats.open();
      },
    });
    frame.add({
      id: "sync",
      title: "Sync",
      icon: "send",
      lead: "What is handed over to your CRM and other systems, and when.",
      action: this.#sync.actions,
      content: [this.#sync.element],
      open: () => {
        this.#leave();
        this.#sync.open();
      },
    });
  }

  get element() {
    return this.#frame.element;
  }

  /** Fills the page and follows the address. */
  start() {
    document.addEventListener("visibilitychange", this.#onSeen);
    this.#frame.start();
  }

  close() {
    this.#leave();
    this.#frame.close();
    document.removeEventListener("visibilitychange", this.#onSeen);
  }

  #leave() {
    this.#list.leave();
    this.#detail.leave();
    this.#sync.leave();
  }

  /** Whoever comes back to the tab sees what is true now; while nobody looks nothing is asked. */
  #onSeen = () => {
    if (document.visibilityState !== "visible") {
      this.#leave();
      return;
    }
    const { current } = this.#frame;
    this.#company.reloadAgents().catch(() => {});
    if (current === "sessions") this.#list.goOn();
    if (current === "session") this.#detail.goOn();
    if (current === "sync") this.#sync.open();
  };
}
