// A group's settings, agents and keys as types, in protobuf's JSON mapping: no code, only shapes.
//
// Decides the names our modules use for them. Does not decide what they mean (proto/porchlight/v1/*.proto).

/**
 * @typedef {object} ObjectButtons
 * @property {string} object
 * @property {boolean} show
 * @property {boolean} join
 * @property {boolean} view
 * @property {string} visitorIdObject
 * @property {string} visitorIdField
 * @property {boolean} autoJoin
 */

/**
 * @typedef {object} Profile
 * @property {string} name
 * @property {boolean} show
 * @property {boolean} view
 * @property {boolean} join
 * @property {string} joinIn
 * @property {boolean} startAgentVideo
 */

/**
 * @typedef {object} Settings
 * @property {string} defaultAdmin
 * @property {string} createLeads
 * @property {boolean} logSessionsOutsideCrm
 * @property {boolean} openSessionRecords
 * @property {string} syncFrequency
 * @property {boolean} chatterOnStart
 * @property {{ enabled: boolean, partnerUserIdField: string, apiKeyId: string, loginExpirationSeconds: number }} sso
 * @property {boolean} presenceEnabled
 * @property {boolean} showTerms
 * @property {{ version: string, text: string, url: string, deadlineSeconds: number }} terms
 * @property {string} joinStarts
 * @property {string} visitorIdentity
 * @property {string[]} visitorOrigins
 * @property {string[]} agentOrigins
 * @property {boolean} loopbackOrigins
 * @property {number} graceSeconds
 * @property {number} sessionKeyDigits
 * @property {ObjectButtons[]} objects
 * @property {Profile[]} profiles
 * @property {{ user: string[], admin: string[], agentVideo: string[] }} permissionSet
 */

/** Settings as they were read together with their version. @typedef {{ settings: Settings, version: string }} Edition */

/**
 * @typedef {object} SettingsChange
 * @property {string} version
 * @property {string} changedAt RFC 3339
 * @property {string} changedBy `operator`, `key <key ID>` or `agent <agent ID>`
 * @property {Settings | null} [before]
 * @property {Settings} after
 */

/** @typedef {{ user: boolean, admin: boolean, agentVideo: boolean }} Permissions */

/**
 * @typedef {object} Agent
 * @property {string} agentId
 * @property {string} address
 * @property {string} partnerUserId
 * @property {string} name
 * @property {string} profile
 * @property {string} subscription
 * @property {boolean} fixedSessionKey
 * @property {Permissions} permissions
 * @property {boolean} hasPassword
 * @property {string} [createdAt]
 */

/**
 * @typedef {object} ApiKey
 * @property {string} keyId
 * @property {string} label
 * @property {string} [createdAt]
 * @property {string | null} [revokedAt]
 * @property {string | null} [lastUsedAt]
 */

export {};
