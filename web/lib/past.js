// What is left of sessions, and the sync that hands it on, as types, in protobuf's JSON mapping: no code, only shapes.
//
// Decides the names our modules use for them. Does not decide what they mean (proto/porchlight/v1/*.proto). Numbers of
// 64 bits are text there, and times are RFC 3339.

/** @typedef {"SESSION_KIND_COBROWSE" | "SESSION_KIND_SCREEN" | "SESSION_KIND_VIEW" | "SESSION_KIND_SHOW"} SessionKind */

/** A row of a CRM object. @typedef {{ object: string, id: string, name: string, url: string }} RecordReference */

/**
 * @typedef {object} Attendance
 * @property {string} participantId
 * @property {string} role
 * @property {string} agentId empty for guests
 * @property {string} name
 * @property {string | null} joinedAt
 * @property {string | null} leftAt
 */

/**
 * @typedef {object} ControlUse
 * @property {string} participantId
 * @property {string} agentId
 * @property {string | null} grantedAt
 * @property {string | null} endedAt
 */

/** @typedef {{ kind: string, shownAt: string | null, endedAt: string | null }} Shown */

/**
 * @typedef {object} SessionRecord
 * @property {string} sessionId
 * @property {string} requestId
 * @property {string} kind
 * @property {string} state
 * @property {RecordReference | null} record
 * @property {string} visitorId
 * @property {string[]} agentIds
 * @property {Attendance[]} attendance
 * @property {string} outcome
 * @property {string} termsVersion
 * @property {string | null} displayedAt
 * @property {string | null} answeredAt
 * @property {string} connectionId
 * @property {string} receiptId
 * @property {string} receiptNumber
 * @property {ControlUse[]} control
 * @property {string | null} createdAt
 * @property {string | null} startedAt
 * @property {string | null} endedAt
 * @property {string} endReason
 * @property {string} durationMs
 * @property {string} frames
 * @property {string} bytes
 * @property {Shown[]} alsoShown what was shown instead of what the kind says
 */

/**
 * Which records; all that is given must hold.
 * @typedef {object} RecordQuery
 * @property {string} [from]
 * @property {string} [until]
 * @property {string} [agentId]
 * @property {string} [visitorId]
 * @property {{ object: string, id: string }} [record]
 * @property {string} [kind]
 * @property {string} [outcome]
 * @property {string} [state]
 */

/** @typedef {{ records: SessionRecord[], nextPageToken: string }} RecordPage */

/**
 * @typedef {object} SessionEvent
 * @property {string} id
 * @property {string} sequence
 * @property {string} time
 * @property {string} kind `EVENT_KIND_…`
 * @property {string} sessionId
 * @property {{ kind: string, id: string } | null} actor
 * @property {RecordReference | null} record
 * @property {{ termsRequired: boolean, termsVersion: string, control: boolean } | null} [offered]
 * @property {{ termsRequired: boolean, termsVersion: string, receiptId: string, receiptNumber: string, connectionId: string, agentIds: string[] } | null} [accepted]
 * @property {{ agentIds: string[], connectionId: string } | null} [asking]
 * @property {{ kind: string, visitorId: string, agentId: string } | null} [created]
 * @property {{ participantId: string, role: string, agentId: string, name: string } | null} [person]
 * @property {{ kind: string } | null} [shows]
 * @property {{ reason: string, frames: string, bytes: string } | null} [ended]
 * @property {{ postId: string, text: string, link: string, author: string } | null} [post]
 * @property {{ leadId: string, email: string, name: string } | null} [lead]
 */

/**
 * @typedef {object} SessionStats
 * @property {string} day `2026-01-31`, in UTC
 * @property {string} agentId
 * @property {string} sessions
 * @property {string} accepted
 * @property {string} declined
 * @property {string} started
 * @property {string} durationMs
 * @property {string} frames
 * @property {string} bytes
 */

/** @typedef {{ receiptId: string, number: string, sessionId: string, acceptedAt: string | null, line: string }} ConsentReceipt */
/** @typedef {{ group: string, keyId: string, algorithm: string, publicKey: string }} ReceiptKey */

/**
 * @typedef {object} Sink
 * @property {string} sinkId
 * @property {{ url: string } | null} [webhook]
 * @property {object | null} [file]
 * @property {object | null} [redis]
 * @property {{ loginUrl: string, username: string } | null} [salesforce]
 * @property {string[]} eventKinds
 * @property {boolean} everyEvent
 * @property {boolean} sessionRecords
 * @property {boolean} disabled
 */

/** @typedef {{ after: string, failures: number, retryAt: string | null, error: string }} SinkLane */

/**
 * @typedef {object} SinkState
 * @property {Sink} sink
 * @property {string | null} createdAt
 * @property {string} disabledWhy
 * @property {SinkLane | null} events
 * @property {SinkLane | null} sessionRecords
 * @property {string} deadLetters
 */

/** @typedef {{ sinkId: string, count: string, error: string }} SinkRun */

/**
 * @typedef {object} SyncRun
 * @property {string} runId
 * @property {string} cause
 * @property {string | null} startedAt
 * @property {string | null} endedAt
 * @property {SinkRun[]} sinks
 * @property {boolean} lost
 */

/** @typedef {{ lastRun: SyncRun | null, nextRunAt: string | null }} SyncStatus */

export {};
