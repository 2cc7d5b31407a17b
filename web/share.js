// The publisher: one participant of a session who shows a screen or a page, from the beginning to the last frame.
//
// Decides the course of a share: attach, choose, publish, pause, come back after a loss, end, and what the visitor
// sees of it. Does not decide whether it may start: a ticket says so. What is shown of a screen is share/screen.js, the
// bar share/bar.js; a session of kind `cobrowse` shows the page itself, by share/page.js, and asks nothing more until the
// visitor wants to show a screen instead. Called by porchlight.js, and by any page that holds a ticket.
import { CameraSeat } from "./lib/camera-seat.js";
import { ALIVE_MS, hold, letGo, RESUME_MS } from "./lib/kept.js";
import { Socket } from "./lib/socket.js";
import { isSystemRefusal } from "./lib/steps.js";
import { openBar, STRINGS } from "./share/bar.js";
import { Hands } from "./share/hands.js";
import { Marks } from "./share/marks.js";
import { PagePublisher } from "./share/page.js";
import { Screen } from "./share/screen.js";
import { openDialog } from "./terms.js";
// What those need in turn, so that the browser asks for all at once: a page that goes on with a session shows nothing before.
import "./lib/adapt.js";
import "./lib/css.js";
import "./lib/frame.js";
import "./lib/pack.js";
import "./lib/shadow.js";
import "./share/assets.js";
import "./share/canvases.js";
import "./share/capture.js";
import "./share/cover.js";
import "./share/encode.js";
import "./share/mask.js";
import "./share/own-input.js";
import "./share/publisher.js";

export { takeKept } from "./lib/kept.js";

/** Where a left page keeps its session for the next page of the tab; porchlight.js reads it. */
const STORAGE_KEY = "porchlight.share";

/** @typedef {import("./share/publisher.js").Publisher} Publisher */
/** @typedef {import("./lib/socket.js").Message} Message */
/** @typedef {"choosing" | "sharing" | "paused" | "reconnecting" | "ended"} ShareState */
/** @typedef {{ participantId: string, role: string, side: string, name: string, state?: string }} Participant */

/**
 * An agent asks for control; nothing is granted until `grant` is called.
 * @typedef {object} ControlRequest
 * @property {string} participantId
 * @property {string} name
 * @property {() => void} grant
 * @property {() => void} reject
 */

/**
 * @typedef {object} ShareOptions
 * @property {string} server origin of the Porchlight server, `https://host`
 * @property {string} [ticket] single use
 * @property {string} [resumeToken] instead of a ticket: comes back into a session
 * @property {string} [sessionId]
 * @property {string} [kind] `cobrowse`: the page is shown, and no screen is chosen
 * @property {string} [agentName] who asked, until the participants are known
 * @property {import("./share/capture.js").CaptureWish} [capture]
 * @property {boolean} [av1] try AV1 first: a slow uplink and a fast processor
 * @property {import("./terms.js").TermsDialog} [dialog] an open dialog to go on with
 * @property {Record<string, string>} [strings]
 * @property {string} [nonce]
 * @property {"guest" | "agent"} [side] who shares; an agent shows to guests
 * @property {boolean} [bar] false: the page shows by itself what is shared, and has buttons to pause and stop
 * @property {string} [keepAs] where the next page of the tab finds the session, if not where porchlight.js looks
 * @property {unknown} [note] what the next page of the tab finds with it
 * @property {(request: ControlRequest) => boolean | void} [onControl] false: not answered. Then the visitor is asked where
 *   this page is shown, itself or as a screen, and else the request is rejected
 * @property {(name: string, detail: any) => void} [onEvent] `share participants participant control input point chat
 *   permission steps camera cameraFailed ended`
 */

/**
 * Starts to share. Call it while a click still counts as one (5 s), or the visitor is asked for another.
 * @param {ShareOptions} options
 */
export function startSharing(options) {
  return new Share(options);
}

/** A running share. It ends once and stays ended. */
export class Share {
  /** @type {ShareState} */
  state = "choosing";
  /** @type {string | undefined} */
  sessionId;
  #options;
  #socket;
  /** Of what is shown now. @type {PagePublisher | Publisher} */
  #publisher;
  /** Shows the page itself, in a session that began so. @type {PagePublisher | null} */
  #page = null;
  /** What was chosen, or is about to be. @type {Screen | null} */
  #screen = null;
  /** What every viewer decodes. @type {readonly string[] | undefined} */
  #codecs;
  /** What is shown is known: a screen was chosen, or the page is recorded. */
  #begun = false;
  /** @type {ReturnType<typeof openBar> | null} */
  #bar = null;
  #dialog;
  /** Asks for control. @type {import("./terms.js").TermsDialog | null} */
  #wish = null;
  /** What the system said of seeing the screen. @type {"denied" | "not_needed" | undefined} */
  #device;
  /** Of the agent that has control of this page. @type {Hands | null} */
  #hands = null;
  /** Whose they are. */
  #controller = "";
  /** Whether the visitor was asked for control of this page, and gave it. */
  #forPage = false;
  /** What agents point at. */
  #marks;
  /** Seeing an agent's camera; an agent who shows its screen may show its own. */
  camera;
  /** @type {string | undefined} */
  #resumeToken;
  /** Settles once this page is in the session, or it is over. @type {() => void} */
  #settle = () => {};
  /** @type {Promise<void>} */
  #settled = new Promise((resolve) => (this.#settle = resolve));
  /** @type {Map<string, Participant>} */
  #participants = new Map();
  #me = "";
  /** Says that this page is still there. @type {any} */
  #alive = null;
  #paused = false;
  /** Ended here, and the server does not know yet. @type {string | null} */
  #farewell = null;

  /** @param {ShareOptions} options */
  constructor(options) {
    this.#options = options;
    this.sessionId = options.sessionId;
    this.#resumeToken = options.resumeToken;
    this.#dialog = options.dialog;
    this.#marks = new Marks(options);
    this.#socket = new Socket({
      url: `${options.server.replace(/^http/, "ws")}/v1/session`,
      welcome: "attached",
      hello: (reason) => this.#attach(reason),
      onWelcome: (message) => this.#attached(message),
      onMessage: (message) => this.#receive(message),
      onState: (state, closing) => this.#socketState(state, closing?.name),
      onBinary: (data) => this.camera.data(data),
      giveUpMs: RESUME_MS,
    });
    const onEvent = (/** @type {string} */ name, /** @type {any} */ detail) => {
      if (name === "camera") this.#emit(name, { name: this.camera.name });
      else this.#emit("cameraFailed", detail);
    };
    this.camera = new CameraSeat({ ...options, socket: this.#socket, onEvent });
    if (options.kind === "cobrowse") {
      this.#publisher = this.#page = new PagePublisher({ ...this.#line, onFailure: (why) => this.#failed(why) });
    } else {
      // The browser's own "stop sharing" ends it.
      this.#screen = new Screen({ ...options, ...this.#line, onStopped: () => this.stop(), onChanged: this.#moved });
      this.#publisher = this.#screen.publisher;
    }
    addEventListener("pagehide", this.#pageHides);
    document.addEventListener("visibilitychange", this.#visibilityChanged);
    this.#socket.open();
    const beginning = this.#page ? this.#page.start().then(() => this.#begin()) : this.#capture();
    beginning.catch((error) => this.#failed(error));
  }

  /** Everybody else in the session. @returns {Participant[]} */
  get participants() {
    return [...this.#participants.values()].filter(({ participantId }) => participantId !== this.#me);
  }

  /** Codec family in use, or null before the first picture. */
  get codec() {
    return this.#publisher.family;
  }

  /** Figures of the share: what to look at when an agent sees nothing. */
  stats() {
    const { state, bufferedAmount } = this.#socket;
    return { state: this.state, connection: state, bufferedAmount, muted: !!this.#screen?.muted, ...this.#publisher.stats() };
  }

  pause() {
    if (this.#paused || this.state === "ended") return;
    this.#paused = true;
    this.#publisher.pause();
    this.#socket.send({ type: "pause" });
    this.#show();
  }

  resume() {
    if (!this.#paused || this.state === "ended") return;
    this.#paused = false;
    this.#socket.send({ type: "resume" });
    this.#publisher.resume();
    this.#show();
  }

  /**
   * Ends the session for everybody; capture stops at once, even while the connection is away.
   * @param {string} [reason]
   */
  stop(reason = this.#ownEnd) {
    if (this.state === "ended") return;
    const told = this.#socket.send({ type: "end", reason });
    this.#finish(reason);
    if (told) this.#socket.close();
    else this.#farewell = reason;
  }

  /** The server says on the visitor socket that a session ended. @param {{ sessionId: string, reason: string }} message */
  ended({ sessionId, reason }) {
    if (sessionId !== this.sessionId || this.state === "ended") return;
    this.#finish(reason);
    this.#socket.close();
  }

  /** Shows a screen instead of the page, of the visitor's choice. Call it on a click, as the browser's picker wants one. */
  async showScreen() {
    if (!this.#page || this.#screen || this.state !== "sharing") return;
    const ways = { ...this.#line, onStopped: () => this.showPage(), onChanged: this.#moved };
    const screen = (this.#screen = new Screen({ ...this.#options, ...ways }));
    try {
      await screen.choose();
    } catch (error) {
      // Nothing was chosen: the page stays what is shown.
      if (/** @type {any} */ (error).code !== "denied") console.warn("Porchlight: no screen is shown", error);
      screen.close();
      if (this.#screen === screen) this.#screen = null;
      return;
    }
    if (this.#screen === screen && !this.#ended()) this.#change(screen.publisher);
  }

  /** Shows the page again. */
  showPage() {
    if (!this.#page || !this.#screen || this.#ended()) return;
    this.#screen.close();
    this.#screen = null;
    if (this.#publisher !== this.#page) this.#change(this.#page);
  }

  /** @param {string} text */
  chat(text) {
    return this.#socket.send({ type: "chat", text });
  }

  revokeControl() {
    return this.#socket.send({ type: "revokeControl" });
  }

  /** The way of frames to the server. */
  #line = {
    send: (/** @type {Uint8Array<ArrayBuffer>} */ frame) => void this.#socket.sendBinary(frame),
    buffered: () => this.#socket.bufferedAmount,
  };

  /** What is shown now. */
  get #shown() {
    return this.#publisher === this.#page ? "cobrowse" : "screen";
  }

  /** Whether a place of the picture is one of this page: it is what is shown, or the screen that was chosen is this tab. */
  get #isHere() {
    return this.#shown === "cobrowse" || !!this.#screen?.isThisPage;
  }

  /** Control was given for this page, and the visitor lets the browser show another tab. */
  #moved = () => {
    if (this.#hands && !this.#isHere) this.revokeControl();
  };

  /** Frames are of something else from now on; the server is told before the first of them. @param {PagePublisher | Publisher} publisher */
  #change(publisher) {
    this.#publisher.pause();
    this.#publisher = publisher;
    this.#controlled({});
    this.#socket.send({ type: "shows", kind: this.#shown });
    publisher.setDecodable(this.#codecs);
    if (this.#paused) publisher.pause();
    if (this.#socket.state === "online") publisher.connected();
    else publisher.disconnected();
    if (!this.#paused) publisher.resume();
    this.#show();
  }

  // ---- session ------------------------------------------------------------------------------

  /** @param {import("./lib/socket.js").HelloReason} reason @returns {Message | null} */
  #attach(reason) {
    // A refused ticket or token does not get better.
    if (reason === "unauthorized") return null;
    if (this.#resumeToken) return { type: "attach", resumeToken: this.#resumeToken };
    return { type: "attach", ticket: this.#options.ticket };
  }

  /** @param {Message} message */
  #attached(message) {
    this.sessionId = message.sessionId;
    this.#resumeToken = message.resumeToken;
    if (this.#farewell) {
      this.#socket.send({ type: "end", reason: this.#farewell });
      this.#socket.close();
      return;
    }
    this.#me = message.participantId;
    this.#participants = new Map(message.participants?.map((/** @type {Participant} */ one) => [one.participantId, one]));
    this.#emit("participants", { participants: this.participants });
    if ((message.kind === "cobrowse") !== (this.#options.kind === "cobrowse")) return this.stop("failed");
    hold(message.sessionId);
    this.#settle();
    this.#allows();
    this.#keep();
    this.#alive ??= setInterval(() => this.#keep(), ALIVE_MS);
    this.#codecs = message.codecs;
    this.#publisher.setDecodable(message.codecs);
    // The page before may have shown a screen, which ended with it.
    if (this.#page && (message.shows ?? message.kind) !== this.#shown) this.#socket.send({ type: "shows", kind: this.#shown });
    if (!!message.paused !== this.#paused) this.#socket.send({ type: this.#paused ? "pause" : "resume" });
    this.#publisher.connected();
    this.#controlled(message.control ?? {});
    this.camera.attached(message);
    this.#show();
  }

  /** @param {Message} message */
  #receive(message) {
    if (this.camera.receive(message)) return;
    switch (message.type) {
      case "keyFrameRequest":
        return this.#publisher.requestKey();
      case "feedback":
        return this.#publisher.feedback(/** @type {any} */ (message));
      case "codecs":
        this.#codecs = message.codecs;
        return this.#publisher.setDecodable(message.codecs);
      case "participant":
        return this.#participant(message);
      case "control":
        return this.#control(message);
      case "ended":
        this.#finish(message.reason);
        return this.#socket.close();
      case "input":
        if (this.state === "sharing" && this.#isHere) this.#hands?.apply(message.events);
        return this.#emit(message.type, message);
      case "point":
        return this.#point(/** @type {any} */ (message));
      case "chat":
      case "permission":
      case "steps":
      case "error":
        return this.#emit(message.type, message);
      default:
      // Additions of a newer server are none of our business.
    }
  }

  /** @param {Message} message */
  #participant({ participant, change }) {
    const { participantId } = participant;
    if (change === "left") this.#participants.delete(participantId);
    else this.#participants.set(participantId, { ...participant, state: change === "reconnecting" ? change : "here" });
    this.#emit("participant", { participant, change });
    this.#show();
  }

  /** @param {Message} message */
  #control(message) {
    const { participantId } = message;
    if (message.state !== "requested") {
      this.#controlled(message);
      this.#show();
      return this.#emit("control", message);
    }
    const { onControl } = this.#options;
    const answer = (/** @type {string} */ type) => () => void this.#socket.send({ type, participantId });
    const reject = answer("rejectControl");
    const name = this.#participants.get(participantId)?.name ?? "";
    const wish = { participantId, name, grant: answer("grantControl"), reject };
    if (onControl && onControl(wish) !== false) return;
    if (this.#isHere) this.#askControl(wish).catch((error) => console.warn("Porchlight:", error));
    else reject();
  }

  /** Marks what an agent points at, if it is a place of this page. @param {{ participantId: string, x: number, y: number }} point */
  #point({ participantId, x, y }) {
    const name = this.#participants.get(participantId)?.name ?? "";
    const here = this.#isHere;
    if (here && this.state === "sharing") this.#marks.show({ participantId, name, x, y });
    this.#emit("point", { participantId, name, x, y, here });
  }

  /** @param {ControlRequest} wish */
  async #askControl({ name, grant, reject }) {
    this.#wish?.close();
    const { strings, nonce } = this.#options;
    const dialog = (this.#wish = openDialog({ agentName: name, strings, nonce }));
    const yes = await dialog.choose("control");
    dialog.close();
    this.#forPage = yes;
    if (yes) grant();
    else reject();
  }

  /** Control was given, taken back or never granted; each ends what was before. @param {{ [field: string]: any }} control */
  #controlled({ state, participantId = "" }) {
    this.#wish?.close();
    this.#wish = null;
    this.#hands?.close();
    this.#hands = null;
    // What was given for this page ends where another tab was let be shown meanwhile.
    if (state === "granted" && this.#forPage && !this.#isHere) this.revokeControl();
    if (state !== "granted") this.#forPage = false;
    if (state !== "granted" || !this.#isHere) return;
    const { strings, nonce } = this.#options;
    this.#controller = this.#participants.get(participantId)?.name ?? "";
    const name = this.#controller || (strings?.someone ?? STRINGS.someone);
    const waits = strings?.controlWaits ?? STRINGS.controlWaits;
    const onHeld = (/** @type {string} */ reason) => void this.#socket.send({ type: "inputHeld", reason });
    this.#hands = new Hands({ name, nonce, waits, onHeld });
  }

  /** @param {import("./lib/socket.js").SocketState} state @param {string} [reason] */
  #socketState(state, reason) {
    if (state === "online") return;
    this.#publisher.disconnected();
    this.camera.disconnected();
    // Whoever was in the session once and is refused now comes too late.
    if (state === "stopped") this.#finish(reason === "ended" || this.#resumeToken ? "ended" : "failed");
    else this.#show();
  }

  // ---- capture ------------------------------------------------------------------------------

  async #capture() {
    const returning = !!this.#options.resumeToken;
    // Without a live click the browser would refuse; where it cannot be known, it is tried.
    const clicked = navigator.userActivation?.isActive !== false;
    /** @type {import("./terms.js").Step | null} */
    let step = returning ? "continue" : clicked ? null : "choose";
    // Nobody is asked to go on with what may have ended meanwhile.
    if (returning) await this.#settled;
    while (this.state !== "ended") {
      if (step && !(await this.#ask(step))) {
        this.stop(returning ? this.#ownEnd : "capture_denied");
        return;
      }
      try {
        await this.#screen?.choose();
        // Seen is seen: a browser that was let in while it runs need not be started anew, as an app had to.
        if (this.#device) this.#allows("not_needed");
        return this.#begin();
      } catch (error) {
        const code = /** @type {import("./share/capture.js").CaptureError} */ (error).code;
        if (code === "unsupported") {
          this.#openDialog().ended("unsupported");
          this.#dialog = undefined;
          this.stop("failed");
          return;
        }
        if (code === undefined) throw error;
        // What the system refuses no choice helps with: everybody hears what the guest has to do first.
        if (isSystemRefusal(/** @type {Error} */ (error).cause)) {
          this.#allows("denied");
        }
        if (code === "failed") console.warn("Porchlight: screen capture failed", error);
        step = code === "gesture" ? (returning ? "continue" : "choose") : "again";
      }
    }
  }

  /** Tells whether the system lets this browser see the screen; who is not in the session yet tells it then. @param {"denied" | "not_needed"} [state] */
  #allows(state = this.#device) {
    this.#device = state;
    if (state) this.#socket.send({ type: "permission", name: "screen_recording", state });
  }

  /** @param {import("./terms.js").Step} step */
  async #ask(step) {
    const answer = await this.#openDialog().choose(step);
    return answer && this.state !== "ended";
  }

  #openDialog() {
    const { agentName, strings, nonce } = this.#options;
    this.#dialog ??= openDialog({ agentName: agentName ?? this.#names()[0], strings, nonce });
    return this.#dialog;
  }

  /** From now on something is shown. */
  #begin() {
    if (this.#ended()) return;
    this.#begun = true;
    this.#dialog?.close();
    this.#dialog = undefined;
    const { strings, nonce, bar } = this.#options;
    if (bar !== false) {
      const onPause = () => (this.#paused ? this.resume() : this.pause());
      const onInstead = () => (this.#shown === "screen" ? this.showPage() : void this.showScreen());
      this.#bar = openBar({ strings, nonce, onPause, onInstead, onStop: () => this.stop(), onTakeBack: () => this.revokeControl() });
    }
    this.#keep();
    this.#show();
  }

  /** @param {unknown} error */
  #failed(error) {
    console.warn("Porchlight: sharing failed", error);
    this.stop("failed");
  }

  /** A session may end while the picker is open. */
  #ended() {
    return this.state === "ended";
  }

  // ---- what the visitor and the page see ------------------------------------------------------

  /** Who sees it. */
  #names() {
    const viewers = this.participants.filter(({ role, state }) => role === "viewer" && state !== "reconnecting");
    return viewers.map(({ name }) => name);
  }

  get #ownEnd() {
    return this.#options.side === "agent" ? "agent_ended" : "guest_ended";
  }

  #show() {
    if (this.#ended()) return;
    const before = this.state;
    if (!this.#begun) this.state = "choosing";
    else if (this.#socket.state !== "online") this.state = "reconnecting";
    else this.state = this.#paused ? "paused" : "sharing";
    const may = this.#page && typeof navigator.mediaDevices?.getDisplayMedia === "function";
    const instead = may ? (this.#shown === "screen" ? "page" : "screen") : null;
    if (this.state !== "choosing") this.#bar?.update(this.state, this.#names(), this.#hands && this.#controller, instead);
    if (before !== this.state) this.#emit("share", { state: this.state, sessionId: this.sessionId });
  }

  /** @param {string} reason */
  #finish(reason) {
    if (this.#ended()) return;
    this.state = "ended";
    this.#settle();
    clearInterval(this.#alive);
    letGo(this.sessionId ?? "");
    removeEventListener("pagehide", this.#pageHides);
    document.removeEventListener("visibilitychange", this.#visibilityChanged);
    this.#screen?.close();
    this.#page?.close();
    this.#marks.close();
    this.camera.close();
    this.#controlled({});
    const here = [this.#ownEnd, "capture_denied", "guest_left"].includes(reason);
    if (here) this.#dialog?.close();
    else this.#dialog?.ended(reason === "failed" ? "failed" : "ended");
    this.#bar?.ended();
    this.#store(null);
    this.#emit("ended", { sessionId: this.sessionId, reason });
  }

  /** @param {string} name @param {any} detail */
  #emit(name, detail) {
    this.#options.onEvent?.(name, detail);
  }

  /** Keeps the newest resume token where the tab's next page finds it. @param {number} [lostAt] */
  #keep(lostAt) {
    const { server, kind, agentName, capture, note, resumeToken: handedOver } = this.#options;
    if (!this.#resumeToken || this.#ended() || !(this.#begun || handedOver)) return;
    const { sessionId } = this;
    const name = this.#names()[0] ?? agentName;
    this.#store({ server, sessionId, kind, resumeToken: this.#resumeToken, agentName: name, capture, note, lostAt, aliveAt: Date.now() });
  }

  /** @param {Record<string, unknown> | null} value */
  #store(value) {
    const { keepAs = STORAGE_KEY } = this.#options;
    try {
      if (value) sessionStorage.setItem(keepAs, JSON.stringify(value));
      else sessionStorage.removeItem(keepAs);
    } catch {
      // Blocked storage: the session cannot follow to the next page, and all else works.
    }
  }

  /** A page that leaves leaves `lostAt`: what has none is of a page that is still there, or went with its browser. */
  #pageHides = () => this.#keep(Date.now());

  #visibilityChanged = () => {
    if (document.visibilityState === "visible" && this.#socket.state === "online") this.#socket.probe();
  };
}
