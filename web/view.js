// The viewer: one session seen on a canvas, or a page below one (protocol, section 6).
//
//   const viewer = new Viewer({ canvas, ticket });
//   viewer.on("state", ({ state, detail }) => show(state, detail));
//   viewer.open();
//
// Decides: what state the picture is in, when to ask for a key frame, when to tell the relay what was drawn, and that
// a joining viewer shows nothing older than the live edge. Does not decide which frame may be decoded (lib/gate.js),
// how it is decoded (lib/decoder.js, view/page.js), drawn (view/tiles.js) or placed (lib/stage.js), nor whether control is
// granted: the server does, and drops input without a grant whatever is sent here.

import { CameraSeat } from "./lib/camera-seat.js";
import { decodableFamilies, PictureDecoder } from "./lib/decoder.js";
import { Emitter } from "./lib/emitter.js";
import { Figures } from "./lib/figures.js";
import { decodeFrame, FrameType, isAfter, Stream } from "./lib/frame.js";
import { Gate } from "./lib/gate.js";
import { RESUME_MS } from "./lib/kept.js";
import { serverUrl } from "./lib/post.js";
import { RequestError, Socket } from "./lib/socket.js";
import { Stage } from "./lib/stage.js";
import { release } from "./lib/tiles.js";
import { MOST_QUEUED, PageView } from "./view/page.js";
import { keepSeat } from "./view/seat.js";
import { draw, Held } from "./view/tiles.js";

export { takeKept } from "./lib/kept.js";

/** @import { Frame } from "./lib/frame.js" */
/** @import { Attached, Control, InputEvent, Participant } from "./lib/wire.js" */
/** @import { ViewerEvents, ViewerState, ViewerStateChange } from "./view/events.js" */
/** @import { Closing, Environment, Message, SocketState } from "./lib/socket.js" */
/** @import { Picture } from "./lib/decoder.js" */
/** @import { ViewerStats } from "./lib/figures.js" */

/** The relay expects an `ack` about this often; rarer ones make it think the viewer slow. */
const ACK_MS = 250;
/** Key frame requests of one viewer: one answer takes 0.1–1 s, so more often would ask for what is on its way. */
const KEY_REQUEST_MS = 1_000;
/** Waiting this long without a picture is worth asking: the relay's own request may have met a restarting guest. */
const KEY_PATIENCE_MS = 3_000;
/** Decoding is quiet this long while catching up: the page stands still, and the newest picture is the live one. */
const SETTLE_MS = 250;
/**
 * Longest catching up with the live edge: 300 cached frames at 10 ms each. Then everything is shown, because an edge
 * that is never reached (the publisher counts anew) must not hide the picture.
 */
const CATCH_UP_MS = 3_000;

/** What there is a way to show of. @type {number[]} */
const SHOWN = [FrameType.VIDEO, FrameType.IMAGE, FrameType.TILES, FrameType.DOM];

/** @extends {Emitter<ViewerEvents>} */
export class Viewer extends Emitter {
  #canvas;
  #context;
  #server;
  /** Shows the page of a session of kind `cobrowse`. @type {PageView | null} */
  #page = null;
  #socket;
  #ticket;
  #resumeToken;
  #decoder;
  #gate = new Gate();
  #figures = new Figures();
  /** @type {{ state: ViewerState, detail: string | null }} */
  #shown = { state: "idle", detail: null };
  #paused = false;
  #lagging = false;
  #painted = false;
  /** @type {string | null} */
  #endReason = null;
  #codec = "";
  #toldUnshowable = false;
  /** What the frames are of: a visitor's page may become a screen, and a page again. @type {string | undefined} */
  #shows;
  /** Sequence drawn last, and told last. @type {number | null} */
  #drawnSeq = null;
  /** @type {number | null} */
  #ackedSeq = null;
  #ackedAt = -Infinity;
  #keyAskedAt = -Infinity;
  #heardAt = 0;
  #heartbeatMs = 0;
  /** Decoded while catching up: shown if nothing newer comes. */
  #held = new Held();
  /** @type {any} */
  #settleTimer = null;
  /** @type {any} */
  #catchUpTimer = null;
  /** @type {any} */
  #ackTimer = null;
  /** @type {any} */
  #watchTimer = null;
  /** @type {Map<string, Participant>} */
  #participants = new Map();

  /** @type {Attached | null} */
  attached = null;
  /** @type {Control} */
  control = { state: "off" };
  /** Fit, zoom and pan. */
  stage;
  /** Seeing an agent's camera, and showing one. */
  camera;

  /**
   * @param {object} options
   * @param {HTMLCanvasElement} options.canvas its parent element is the viewport
   * @param {string} [options.ticket]
   * @param {string} [options.resumeToken] instead of a ticket: comes back into a session
   * @param {string} [options.sessionId] with a resume token: of what
   * @param {string} [options.keepAs] where the next page of the tab finds the seat; not kept without
   * @param {unknown} [options.note] what the next page of the tab finds with it
   * @param {string} [options.server] base address; default: where this script came from
   * @param {Environment} [options.env] for tests
   */
  constructor({ canvas, ticket, resumeToken = "", sessionId = "", keepAs, note, server, env }) {
    super();
    this.#canvas = canvas;
    this.#server = serverUrl("/", server);
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#ticket = ticket;
    this.#resumeToken = resumeToken;
    this.stage = new Stage(canvas);
    this.#decoder = new PictureDecoder({
      onPicture: (picture) => this.#pictureDecoded(picture),
      onError: (error) => this.#decodingFailed(error),
    });
    this.#socket = new Socket({
      url: serverUrl("/v1/session", server, "ws"),
      welcome: "attached",
      hello: (reason) => this.#hello(reason),
      onWelcome: (message) => this.#attach(/** @type {any} */ (message)),
      onMessage: (message) => this.#receive(message),
      onBinary: (data) => this.#receiveFrame(data),
      onState: (state, closing) => this.#socketChanged(state, closing),
      giveUpMs: RESUME_MS,
      env,
    });
    const onEvent = (/** @type {"camera" | "error"} */ name, /** @type {any} */ detail) => this.emit(name, detail);
    this.camera = new CameraSeat({ socket: this.#socket, returns: !!resumeToken, onEvent });
    if (keepAs) keepSeat(this, { server: new URL(this.#server).origin, sessionId, keepAs, note });
  }

  get state() {
    return this.#shown.state;
  }

  /** Reason of the end, or who is reconnecting. */
  get detail() {
    return this.#shown.detail;
  }

  get participants() {
    return [...this.#participants.values()];
  }

  /** What a page that is left comes back with, within a minute; replaced at each attach. */
  get resumeToken() {
    return this.#resumeToken;
  }

  /** True while the server forwards this viewer's input. */
  get controlling() {
    return this.control.state === "granted" && this.control.participantId === this.attached?.participantId;
  }

  /** Connects and attaches. */
  open() {
    this.#socket.open();
    this.#show();
  }

  /** @returns {ViewerStats} */
  stats() {
    return {
      ...this.#figures.rates(performance.now()),
      width: this.#painted ? this.#canvas.width : 0,
      height: this.#painted ? this.#canvas.height : 0,
      codec: this.#codec,
      drawn: this.#figures.drawn,
      dropped: this.#gate.dropped,
      withheld: this.#gate.withheld,
      lagging: this.#lagging,
    };
  }

  /** Asks the guest for control; the answer arrives as `control`. */
  async requestControl() {
    await this.#socket.request({ type: "requestControl" });
  }

  async releaseControl() {
    await this.#socket.request({ type: "releaseControl" });
  }

  /**
   * Sends input to the guest; false without a grant.
   * @param {InputEvent[]} events
   */
  sendInput(events) {
    if (!this.controlling) return false;
    return this.#socket.send({ type: "input", epoch: this.control.epoch, events });
  }

  /** Shows the guest a place of the picture, without touching anything. @param {{ x: number, y: number }} at 0–65535 of the frame */
  point({ x, y }) {
    return this.#socket.send({ type: "point", x, y });
  }

  /** Says something to everyone in the session. @param {string} text */
  async chat(text) {
    await this.#socket.request({ type: "chat", text });
  }

  /** Leaves; the session goes on for the others. */
  leave() {
    this.#socket.send({ type: "leave" });
    this.#end("left");
  }

  /** Ends the session for everyone in it. */
  async end() {
    try {
      await this.#socket.request({ type: "end" });
    } catch (error) {
      // The end itself may close the connection before the answer is read.
      if (this.state !== "ended") throw error;
    }
  }

  // --- Conversation --------------------------------------------------------------------------------------------

  /** @param {"first" | "again" | "unauthorized"} reason */
  async #hello(reason) {
    if (reason === "unauthorized") return null;
    const credential = this.#resumeToken ? { resumeToken: this.#resumeToken } : { ticket: this.#ticket };
    return { type: "attach", ...credential, decodes: await decodableFamilies() };
  }

  /** @param {Attached} attached */
  #attach(attached) {
    this.attached = attached;
    this.#shows = attached.shows ?? attached.kind;
    this.#resumeToken = attached.resumeToken;
    this.#paused = attached.paused;
    this.#lagging = false;
    this.control = attached.control;
    this.#participants = new Map(attached.participants.map((one) => [one.participantId, one]));
    // What comes now starts at a key frame again; the old picture stays until the new one is live.
    this.#forgetDecoding(attached.live?.find(({ stream }) => stream === Stream.SCREEN)?.seq ?? null);
    this.#drawnSeq = this.#ackedSeq = null;
    this.#watch((attached.heartbeat ?? 0) * 1000);
    this.emit("attached", attached);
    this.emit("participants", { participants: this.participants });
    this.emit("control", this.control);
    this.emit("steps", { steps: attached.steps ?? [] });
    this.emit("shows", { kind: this.#shows });
    this.camera.attached(/** @type {any} */ (attached));
    this.#show();
  }

  /** @param {Message} message */
  #receive(message) {
    this.#heardAt = performance.now();
    if (this.camera.receive(message)) return;
    const body = /** @type {any} */ (message);
    switch (message.type) {
      case "participant":
        return this.#participantChanged(body.participant, body.change);
      case "control":
        this.control = { state: body.state, participantId: body.participantId, epoch: body.epoch };
        return this.emit("control", this.control);
      case "paused":
        this.#paused = body.paused;
        // Nothing is relayed while paused and the cache is dropped: what follows is a key frame.
        if (this.#paused) this.#gate.lose();
        return this.#show();
      case "shows":
        return this.#change(body.kind);
      case "lagging":
      case "caughtUp":
        this.#lagging = message.type === "lagging";
        return this.#show();
      case "steps":
      case "inputHeld":
        return this.emit(message.type, body);
      case "chat":
        return this.emit("chat", { ...body, participant: this.#participants.get(body.participantId) });
      case "ended":
        return this.#end(body.reason);
      case "error":
        return this.emit("error", new RequestError(body.code, body.message));
    }
  }

  /** The old picture stays until the first of the other kind is there. @param {string} kind */
  #change(kind) {
    this.#shows = kind;
    this.#drawnSeq = this.#ackedSeq = null;
    this.#forgetDecoding(null);
    this.emit("shows", { kind });
    this.#show();
  }

  /** @param {Participant} participant @param {"joined" | "left" | "reconnecting" | "back"} change */
  #participantChanged(participant, change) {
    const { participantId } = participant;
    if (change === "left") this.#participants.delete(participantId);
    else this.#participants.set(participantId, { ...participant, state: change === "reconnecting" ? change : "here" });
    this.emit("participants", { participants: this.participants, participant, change });
    this.#show();
  }

  /** @param {SocketState} state @param {Closing | null} closing */
  #socketChanged(state, closing) {
    // Who comes when it is over hears why from the close alone.
    const said = closing?.name === "ended" ? closing.reason : undefined;
    if (state !== "online") this.camera.disconnected();
    if (state === "stopped") this.#end(this.#endReason ?? said ?? closing?.name ?? "lost");
    else this.#show();
  }

  /** @param {string} reason */
  #end(reason) {
    if (this.#shown.state === "ended") return;
    this.#endReason = reason;
    for (const timer of [this.#ackTimer, this.#settleTimer, this.#catchUpTimer, this.#watchTimer]) clearTimeout(timer);
    this.#held.release();
    this.camera.close();
    this.#decoder.close();
    this.#show();
    this.#socket.close();
  }

  /** The server says on the agent socket that the session ended, and why. @param {string} reason */
  ended(reason) {
    this.#end(reason);
  }

  /** Frees the canvas and its listeners once the host no longer shows it. */
  close() {
    this.#end("left");
    this.#page?.close();
    this.stage.close();
  }

  /**
   * Looks once a second after what no message tells: a silent connection, a picture that does not come.
   * @param {number} heartbeatMs
   */
  #watch(heartbeatMs) {
    this.#heartbeatMs = heartbeatMs;
    this.#heardAt = performance.now();
    clearTimeout(this.#watchTimer);
    const look = () => {
      const now = performance.now();
      if (this.#heartbeatMs && now - this.#heardAt >= this.#heartbeatMs) {
        this.#heardAt = now;
        this.#socket.probe();
      }
      if (now - this.#keyAskedAt >= KEY_PATIENCE_MS) this.#askForKeyWhileWaiting();
      this.#watchTimer = setTimeout(look, 1_000);
    };
    this.#keyAskedAt = performance.now();
    this.#watchTimer = setTimeout(look, 1_000);
  }

  // --- Frames --------------------------------------------------------------------------------------------------

  /** @param {ArrayBuffer} data */
  #receiveFrame(data) {
    const now = (this.#heardAt = performance.now());
    this.#figures.received(now, data.byteLength);
    let frame;
    try {
      frame = decodeFrame(data);
    } catch (error) {
      this.#gate.lose();
      this.emit("error", new RequestError("bad_frame", error instanceof Error ? error.message : String(error)));
      return;
    }
    if (frame.stream === Stream.SCREEN) this.#admit(frame);
    else this.camera.frame(frame);
  }

  /** @param {Frame} frame */
  #admit(frame) {
    const page = frame.type === FrameType.DOM;
    const agreed = page === (this.#shows === "cobrowse");
    if (!agreed && this.attached?.kind === "cobrowse") {
      // The word on it and the frames may come by ways of their own.
      this.#gate.lose();
      return this.#askForKeyFrame();
    }
    if (frame.encrypted || !agreed || !SHOWN.includes(frame.type)) {
      const why = frame.encrypted ? "the picture is end-to-end encrypted" : `frames of type ${frame.type} are no pictures`;
      return this.#cannotShow(why);
    }
    if (page) return this.#admitPage(frame);
    const verdict = this.#gate.admit(frame, this.#decoder.queued);
    if (verdict.decode) {
      if (frame.config) this.#codec = frame.config.codec;
      else if (frame.type === FrameType.IMAGE) this.#codec = "jpeg";
      this.#decoder.decode(frame, verdict);
    } else if (this.#gate.waiting) {
      this.#askForKeyFrame();
      this.#show();
    }
  }

  /** @param {Frame} frame */
  #admitPage(frame) {
    this.#page ??= new PageView(this.#canvas, this.#server, {
      onDrawn: (drawn) => this.#pageDrawn(drawn),
      onFailure: (message) => this.#decodingFailed(new Error(message)),
      onBlocked: (why) => this.#cannotShow(why),
    });
    this.stage.onPlace = () => this.#page?.place();
    // Too far behind: the next snapshot is the page as it is now.
    if (this.#page.queued > MOST_QUEUED) this.#gate.lose();
    if (this.#gate.admit(frame).decode) {
      this.#codec = "dom";
      this.#page.apply(frame);
    } else if (this.#gate.waiting) {
      this.#askForKeyFrame();
      this.#show();
    }
  }

  /** @param {{ key: boolean, sequence: number, time: number, width: number, height: number }} drawn */
  #pageDrawn({ key, sequence, time, width, height }) {
    if (this.#shown.state === "ended" || this.#shows !== "cobrowse") return;
    this.#resize(width, height);
    this.#drew(key, sequence, time);
  }

  /** Says once in a session that there is something this viewer has no way to show. @param {string} why */
  #cannotShow(why) {
    if (this.#toldUnshowable) return;
    this.#toldUnshowable = true;
    this.emit("error", new RequestError("undecodable", why));
  }

  /** @param {Picture} picture */
  #pictureDecoded(picture) {
    clearTimeout(this.#settleTimer);
    this.#held.add(picture);
    if (picture.paint) this.#paint();
    else this.#settleTimer = setTimeout(() => this.#settle(), SETTLE_MS);
  }

  /** Ends catching up and shows what was held back. */
  #settle() {
    this.#gate.settle();
    this.#paint();
  }

  #paint() {
    const picture = this.#held.take();
    if (!picture) return;
    const { width, height, frame } = picture;
    // Two decoders may finish out of order; an older picture never replaces a newer one.
    const stale = this.#drawnSeq !== null && isAfter(this.#drawnSeq, frame.sequence) && !frame.key;
    if (this.#shows === "cobrowse" || this.#paused || stale) return release(picture.parts);
    this.#page?.close();
    this.#page = null;
    this.#resize(width, height);
    draw(this.#context, picture);
    this.#drew(frame.key, frame.sequence, frame.time);
  }

  /** @param {number} width @param {number} height */
  #resize(width, height) {
    const canvas = this.#canvas;
    if (canvas.width === width && canvas.height === height) return;
    canvas.width = width;
    canvas.height = height;
    this.stage.frameChanged();
    this.emit("size", { width, height });
  }

  /** @param {boolean} key @param {number} sequence @param {number} time */
  #drew(key, sequence, time) {
    this.#painted = true;
    if (key) this.#lagging = false;
    this.#drawnSeq = sequence;
    this.#figures.drew(performance.now(), Date.now(), time);
    this.#acknowledge();
    this.#show();
  }

  /**
   * Tells the relay what was drawn. Driven by drawing, not by an interval: timers of a hidden tab are slowed down to
   * one a minute, messages are not.
   */
  #acknowledge() {
    clearTimeout(this.#ackTimer);
    if (this.#drawnSeq === this.#ackedSeq) return;
    const wait = this.#ackedAt + ACK_MS - performance.now();
    if (wait > 0) {
      this.#ackTimer = setTimeout(() => this.#acknowledge(), wait);
      return;
    }
    if (!this.#socket.send({ type: "ack", stream: Stream.SCREEN, seq: this.#drawnSeq })) return;
    this.#ackedSeq = this.#drawnSeq;
    this.#ackedAt = performance.now();
  }

  /** @param {Error} error */
  #decodingFailed(error) {
    this.#gate.lose();
    if (this.#decoder.hopeless) this.#cannotShow(`${this.#codec}: ${error.message}`);
    else this.#askForKeyFrame();
    this.#show();
  }

  #askForKeyWhileWaiting() {
    const publisherIsHere = this.participants.some(({ role, state }) => role === "publisher" && state !== "reconnecting");
    const hopeless = this.#page ? this.#page.blocked : this.#decoder.hopeless;
    if (publisherIsHere && (this.#gate.waiting || !this.#painted) && !hopeless) this.#askForKeyFrame();
  }

  #askForKeyFrame() {
    const now = performance.now();
    if (this.#paused || now - this.#keyAskedAt < KEY_REQUEST_MS) return;
    this.#keyAskedAt = now;
    // A refusal needs no report: as long as the picture is missing, the next request follows.
    this.#socket.request({ type: "keyFrameRequest", stream: Stream.SCREEN }).catch(() => {});
  }

  /** @param {number | null} edge */
  #forgetDecoding(edge) {
    const { dropped, withheld } = this.#gate;
    this.#gate = Object.assign(new Gate(edge), { dropped, withheld });
    this.#decoder.reset();
    this.#held.release();
    clearTimeout(this.#settleTimer);
    clearTimeout(this.#catchUpTimer);
    this.#catchUpTimer = setTimeout(() => this.#settle(), CATCH_UP_MS);
  }

  // --- State ---------------------------------------------------------------------------------------------------

  /** @returns {ViewerStateChange} */
  #derive() {
    if (this.#endReason !== null) return { state: "ended", detail: this.#endReason };
    if (this.#socket.state === "idle") return { state: "idle", detail: null };
    if (!this.attached) return { state: "connecting", detail: null };
    if (this.#socket.state !== "online") return { state: "reconnecting", detail: "viewer" };
    const publisher = this.participants.find(({ role }) => role === "publisher");
    if (publisher?.state === "reconnecting") return { state: "reconnecting", detail: "publisher" };
    if (this.#paused) return { state: "paused", detail: null };
    if (!this.#painted) return { state: "waiting", detail: null };
    if (this.#lagging || this.#gate.waiting) return { state: "lagging", detail: null };
    return { state: "live", detail: null };
  }

  #show() {
    const next = this.#derive();
    if (next.state === this.#shown.state && next.detail === this.#shown.detail) return;
    this.#shown = next;
    this.emit("state", next);
  }
}
