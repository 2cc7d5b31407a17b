// The messages of the agent and session sockets as types (protocol, sections 5 and 6): no code, only shapes.
//
// Decides the names our modules and their callers use for what the server says. Does not decide what it means.
// Used by agent.js, view.js and the agent console.

/** @typedef {"present" | "hidden" | "absent" | "unknown"} PresenceState */
/** @typedef {"lit" | "dim" | "dark" | "in_session"} Light */
/** @typedef {string | number | boolean} DataValue */

/** @typedef {{ url?: string, title?: string, referrer?: string }} Page */
/** @typedef {{ platform?: string, language?: string, screen?: string, userAgent?: string }} ClientFacts */

/**
 * @typedef {object} Visitor
 * @property {string} visitorId
 * @property {PresenceState} state
 * @property {string} since RFC 3339
 * @property {number} version grows with each change of this visitor
 * @property {number} connections
 * @property {{ page?: Page, client?: ClientFacts }} [focused] what the tab with the focus shows
 * @property {Record<string, DataValue>} [data]
 * @property {boolean} [verified]
 * @property {string} [sessionId] running session
 * @property {string} [code] of a visitor without an ID of the company
 */

/** @typedef {{ id: string, name: string, profile?: string, permissions?: string[] }} Agent */

/** A row of a CRM object. @typedef {{ object: string, id: string, name?: string, url?: string }} RecordRef */

/**
 * A post in a record's feed.
 * @typedef {object} FeedItem
 * @property {string} id
 * @property {RecordRef} record
 * @property {string} time RFC 3339
 * @property {{ type: string, id?: string, name?: string }} author
 * @property {string} text
 * @property {string} [link]
 * @property {string} [sessionId]
 */

/**
 * @typedef {object} RecordInput
 * @property {RecordRef} record
 * @property {Record<string, DataValue | null>} [fields]
 * @property {Record<string, Record<string, DataValue | null>>} [parents] fields of parent records by object name
 */

/**
 * @typedef {object} RecordButton
 * @property {boolean} visible
 * @property {boolean} enabled
 * @property {Light} [light] Join only
 * @property {string} [reason] machine-readable
 * @property {string} [message] for people
 * @property {boolean} [asksForKey] Join needs a session key
 */

/**
 * @typedef {object} OpenRecord
 * @property {RecordRef} record
 * @property {string} [visitorId]
 * @property {Visitor} [visitor]
 * @property {{ show: RecordButton, join: RecordButton, view: RecordButton }} buttons
 * @property {string} [sessionId]
 * @property {true} [autoJoin] opening the record joins that session
 * @property {string} [reason]
 */

/**
 * @typedef {"offered" | "displayed" | "accepted" | "connecting" | "active" | "ended" | "declined" | "cancelled"
 *   | "expired" | "visitor_gone" | "failed"} RequestState
 */

/**
 * @typedef {object} JoinRequest
 * @property {string} requestId
 * @property {string} sessionId
 * @property {string} [visitorId]
 * @property {RequestState} state
 * @property {string[]} [steps] what the guest who shows has to do first (lib/steps.js)
 * @property {string} [reason]
 * @property {JoinIn} [joinIn] where the session will open; in the answer to a Join
 */

/** Where a joined session opens: in the page on which Join was pressed, in a tab, in the agent's client. @typedef {"page" | "browser_tab" | "client"} JoinIn */

/**
 * A session this agent may attach to.
 * @typedef {object} Ready
 * @property {string} [requestId]
 * @property {string} sessionId
 * @property {"publisher" | "viewer"} role
 * @property {string} ticket single use
 * @property {string} [ticketExpiresAt]
 * @property {string} [kind]
 * @property {string} [visitorId]
 * @property {string} [sessionKey]
 * @property {string} [link]
 * @property {JoinIn} [joinIn] where to open it (lib/opening.js); of a session that this agent watches
 * @property {boolean} [openRecord] the group wants the session's record opened, and there is one
 */

/**
 * A View that waits for its guest.
 * @typedef {object} Waiting
 * @property {string} sessionId
 * @property {string} requestId by which its steps are told
 * @property {string} [sessionKey]
 * @property {string} [address] the agent's own page, where the key is typed
 * @property {string} [link]
 * @property {string} [expiresAt]
 */

/** @typedef {{ page?: string, states?: PresenceState[], data?: Record<string, DataValue>, text?: string }} LiveFilter */
/** @typedef {{ filter?: LiveFilter, limit?: number, cursor?: string }} LiveQuery */
/** @typedef {{ visitors: Visitor[], total: number, cursor?: string }} LivePage */
/** @typedef {{ joined: Visitor[], changed: Visitor[], left: string[], total?: number, reset?: boolean }} LiveDiff */

/**
 * Whom to join: exactly one of the first four.
 * @typedef {object} JoinInput
 * @property {string} [visitorId]
 * @property {RecordRef} [record]
 * @property {string} [sessionKey]
 * @property {string} [sessionId]
 * @property {string} [kind]
 * @property {boolean} [control] control may be asked for later
 * @property {string} [traceparent] the span of the page that it belongs to (W3C Trace Context)
 */

/**
 * @typedef {object} Welcome
 * @property {string} connectionId
 * @property {Agent} agent
 * @property {string} group
 * @property {Record<string, any>} [settings]
 * @property {number} [heartbeat] seconds
 * @property {string} [serverTime]
 */

/** @typedef {{ sessionId: string, visitorId?: string, reason: string }} SessionEnded */

/** @typedef {"off" | "requested" | "granted" | "rejected" | "revoked"} ControlState */
/** @typedef {{ state: ControlState, participantId?: string, epoch?: number }} Control */
/** Why the publisher holds back input that control allows. @typedef {"own_input" | "hidden" | "list" | "file" | "frame"} HeldReason */

/**
 * @typedef {object} Participant
 * @property {string} participantId
 * @property {"publisher" | "viewer"} role
 * @property {"agent" | "guest"} side
 * @property {string} name
 * @property {string} [agentId]
 * @property {"here" | "reconnecting"} [state]
 */

/**
 * @typedef {object} Attached
 * @property {string} sessionId
 * @property {string} participantId
 * @property {"publisher" | "viewer"} role
 * @property {string} kind
 * @property {string} [shows] what is shown, where a visitor made a screen of its page
 * @property {string} [title] what an agent wrote above its screen
 * @property {string} resumeToken
 * @property {Control} control
 * @property {boolean} [controlAllowed] false: view only, asking for control is refused
 * @property {boolean} paused
 * @property {Participant[]} participants
 * @property {string[]} [steps] what the guest whose screen it is has to do on its device (lib/steps.js)
 * @property {{ stream: number, seq: number }[]} [live] live edge of each stream
 * @property {string} [camera] whose camera is shown, by participant
 * @property {AgentVideo} [agentVideo] whether you may show yours; told to agents
 * @property {number} [heartbeat] seconds
 * @property {string} [serverTime]
 */

/**
 * Whether an agent may show its camera.
 * @typedef {object} AgentVideo
 * @property {boolean} allowed
 * @property {boolean} starts it is to start by itself
 * @property {string} [reason] why not, for programs
 * @property {string} [message] the same for people
 */

/**
 * One event of agent input; `x` and `y` are 0–65535 of the frame.
 * @typedef {object} InputEvent
 * @property {"move" | "down" | "up" | "wheel" | "keydown" | "keyup" | "text"} t
 * @property {number} [x]
 * @property {number} [y]
 * @property {number} [button]
 * @property {number} [dx]
 * @property {number} [dy]
 * @property {string} [key]
 * @property {string} [code]
 * @property {number} [modifiers] bits: 1 shift, 2 control, 4 alt, 8 meta
 * @property {string} [text]
 */

export {};
