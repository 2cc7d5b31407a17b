// What the page knows of the company: settings and their version, agents, keys; and who changed what.
//
// Decides when it is read again and who is told. Does not decide how it is shown, nor what may be changed (the server).

import { Emitter } from "../../lib/emitter.js";

/** @import { AdminClient } from "../../lib/admin.js" */
/** @import { Agent, ApiKey, Edition, Settings, SettingsChange } from "../../lib/company.js" */

/** Changes looked through for whose they were: more than anybody makes while somebody else types. */
const LOOK_BACK = 50;

/**
 * @typedef {object} CompanyEvents
 * @property {{ edition: Edition, from?: Edition }} settings read or changed; `from`: what our own save replaced
 * @property {Agent[]} agents
 * @property {ApiKey[]} keys
 */

/** @extends {Emitter<CompanyEvents>} */
export class Company extends Emitter {
  client;
  /** @type {Edition} */
  edition;
  /** @type {Agent[]} */
  agents = [];
  /** @type {ApiKey[]} */
  keys = [];

  /** @param {AdminClient} client @param {Edition} edition the first that was read */
  constructor(client, edition) {
    super();
    this.client = client;
    this.edition = edition;
  }

  /** What controls may offer. */
  get choices() {
    return { agents: this.agents, keys: this.keys };
  }

  /** Reads everything again. */
  async reload() {
    await Promise.all([this.reloadSettings(), this.reloadAgents(), this.reloadKeys()]);
  }

  async reloadSettings() {
    this.#now(await this.client.getSettings());
    return this.edition;
  }

  async reloadAgents() {
    this.agents = await this.client.listAgents();
    this.emit("agents", this.agents);
  }

  async reloadKeys() {
    this.keys = await this.client.listApiKeys();
    this.emit("keys", this.keys);
  }

  /**
   * Saves what the mask names of an edition; rejects with `conflict` when it is no longer the newest.
   * @param {Edition} from @param {Settings} settings @param {string} updateMask @param {string} requestId
   */
  async save(from, settings, updateMask, requestId) {
    const change = { settings, updateMask, expectedVersion: from.version };
    this.#now(await this.client.updateSettings(change, requestId), from);
    return this.edition;
  }

  /** The changes since a version, newest first. @param {string} version @returns {Promise<SettingsChange[]>} */
  async changesSince(version) {
    const { changes } = await this.client.listSettingsChanges({ pageSize: LOOK_BACK });
    return changes.filter((change) => BigInt(change.version) > BigInt(version));
  }

  /** @param {Edition} edition @param {Edition} [from] */
  #now(edition, from) {
    // An answer that was overtaken by a newer one says nothing.
    if (BigInt(edition.version) < BigInt(this.edition.version)) return;
    this.edition = { settings: edition.settings, version: edition.version };
    this.emit("settings", { edition: this.edition, from });
  }
}
