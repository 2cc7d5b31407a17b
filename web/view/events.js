// What a viewer tells of itself and its session. Types only: nothing is decided here.

/** @import { CameraSeat } from "../lib/camera-seat.js" */
/** @import { Attached, Control, HeldReason, Participant } from "../lib/wire.js" */
/** @import { RequestError } from "../lib/socket.js" */

/**
 * `waiting`: attached, no picture yet. `lagging`: the picture is old, a key frame is on its way.
 * @typedef {"idle" | "connecting" | "waiting" | "live" | "paused" | "reconnecting" | "lagging" | "ended"} ViewerState
 */

/**
 * `detail`: for `reconnecting` who is away (`viewer` or `publisher`), for `ended` the reason.
 * @typedef {{ state: ViewerState, detail: string | null }} ViewerStateChange
 */

/**
 * Everyone in the session; who changed how, unless it is the list at attaching.
 * @typedef {object} ParticipantsChange
 * @property {Participant[]} participants
 * @property {Participant} [participant]
 * @property {"joined" | "left" | "reconnecting" | "back"} [change]
 */

/**
 * @typedef {object} ViewerEvents
 * @property {ViewerStateChange} state
 * @property {Attached} attached
 * @property {ParticipantsChange} participants
 * @property {Control} control
 * @property {CameraSeat} camera an agent's camera is shown, or no longer
 * @property {{ kind: string | undefined }} shows what the picture is of: `cobrowse` the page itself, `screen` pixels
 * @property {{ reason: HeldReason }} inputHeld the publisher does not apply an agent's input
 * @property {{ steps: string[] }} steps what the guest has to do on its device (../lib/steps.js)
 * @property {{ text: string, participantId: string, participant?: Participant }} chat
 * @property {{ width: number, height: number }} size of the picture changed
 * @property {RequestError} error refusals by the server; `undecodable` when this browser cannot show the picture
 */

export {};
