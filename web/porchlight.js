// Porchlight's visitor script: tells the server that this visitor is here, and puts an agent's question to them.
//
// <script async src="https://host/porchlight.js" data-group="acme" data-visitor-id="C-1001" data-token="…"></script>
// or, without data-group, Porchlight.start({ group, visitorId, token, data, capture, strings, nonce }).
//
// Decides when to connect, what of the page is told, and when a dialog opens. Does not decide whether a
// session may start: that is the server's. Dialog and screen share are modules loaded only when asked for.
// Runs inside other people's pages: it never throws into them. At most 8 KiB gzipped as served.
(() => {
  "use strict";
  /** @type {any} */
  const win = window;
  if (win.Porchlight) return;

  const BACKOFF_MS = 500; // first step of the jittered back-off
  const BACKOFF_MAX_MS = 30_000;
  const SETTLED_MS = 5_000; // online this long starts the back-off over
  const ANSWER_MS = 10_000; // longest wait for `connected` or a sign of life
  const COALESCE_MS = 250; // 4 updates a second stay under the server's 5
  const ACTIVE_MS = 1_000; // at most one `active` a second
  const LEAVING_MS = 500; // a page that is left turns hidden first: told at once, the light would flicker
  const PROBE_AFTER_MS = 30_000; // hidden this long, the connection may have died unseen
  const DATA_BYTES = 4_096; // the server refuses more presence data
  const URL_CHARS = 1_024;
  const TEXT_CHARS = 256;
  const SHARE_KEY = "porchlight.share"; // written by share.js, per tab

  /** @typedef {"idle" | "connecting" | "online" | "reconnecting" | "offline" | "stopped"} State */
  /** @typedef {{ type: string, [field: string]: any }} Message */
  /**
   * @typedef {object} Options
   * @property {string} group
   * @property {string} [visitorId] the company's name for the visitor; absent: the server issues one
   * @property {string | (() => string | Promise<string>)} [token] minted by the company's back end
   * @property {Record<string, string | number | boolean | null>} [data] custom presence data
   * @property {"tab" | MediaStreamConstraints} [capture] what the browser's picker prefers
   * @property {Record<string, string>} [strings] texts of the dialog and the stop bar
   * @property {string} [nonce] of the page's CSP, for browsers without constructed style sheets
   */

  const script = /** @type {HTMLScriptElement | null} */ (document.currentScript);
  const base = new URL("/web/", (script && script.src) || location.href);

  /** @type {State} */
  let state = "idle";
  /** @type {Options} */
  let options = { group: "" };
  /** @type {WebSocket | null} */
  let socket = null;
  /** @type {Message} */
  let welcome = { type: "" }; // the last `connected`
  /** Of a visitor without an ID: the server's name for it and what proves it. @type {{ visitorId?: string, uniqueSecret?: string }} */
  let unique = {};
  let focused = false;
  let attempt = 0; // tells a late token from the current one
  let tries = 0;
  let onlineSince = 0;
  let wasOnline = false;
  let refused = false;
  let returnAt = 0;
  let requestId = 0;
  /** @type {any} */ let retryTimer;
  /** @type {any} */ let watchTimer;
  /** @type {any} */ let returnTimer;
  /** @type {any} */ let updateTimer;

  /** @type {Record<string, any>} */
  let data = {};
  /** @type {Record<string, any>} */
  let pending = {}; // fields of the next `presence`
  let page = { url: "", title: "", referrer: "" }; // as the server knows it
  /** @type {{ href: string, page: Partial<typeof page> }} */
  let told = { href: "", page: {} }; // what the site says of this URL itself
  let lastUpdate = 0;
  let lastActive = 0;
  let hiddenSince = 0;

  /** @type {Message & { dialog?: any, displayed?: boolean, accepted?: boolean } | null} */
  let offer = null;
  /** @type {any} */
  let share = null;
  /** @type {Map<number, { resolve(answer: Message): void, reject(error: Error): void }>} */
  const requests = new Map();
  /** @type {Map<string, Set<(detail: any) => void>>} */
  const handlers = new Map();

  // ---- guards -------------------------------------------------------------------------------

  /** @param {unknown} error */
  const report = (error) => console.warn("Porchlight:", error);

  /**
   * @template {any[]} A
   * @param {(...args: A) => any} run
   */
  const guard = (run) => (/** @type {A} */ ...args) => {
    try {
      const result = run(...args);
      if (result && result.catch) result.catch(report); // marks it handled; a caller still sees it
      return result;
    } catch (error) {
      report(error);
    }
  };

  /** @param {string} name @param {any} [detail] */
  function emit(name, detail) {
    for (const handler of [...(handlers.get(name) || [])]) guard(handler)(detail);
  }

  /** @param {"localStorage" | "sessionStorage"} kind @param {string} key @param {string | null} [value] */
  function stored(kind, key, value) {
    try {
      if (value) win[kind].setItem(key, value);
      else if (value === null) win[kind].removeItem(key);
      else return win[kind].getItem(key);
    } catch {
      // Blocked storage: the visitor is a new one on each page, and all else works.
    }
    return null;
  }

  const load = (/** @type {string} */ module) => import(new URL(module, base).href);

  // ---- connection ---------------------------------------------------------------------------

  /** @param {State} next @param {string} [reason] */
  function setState(next, reason) {
    if (state === next) return;
    state = next;
    emit("state", { state, reason });
  }

  const running = () => state !== "idle" && state !== "stopped";
  const uniqueKey = () => `porchlight.unique.${options.group}`;

  /** @param {Options} next */
  function start(next) {
    if (running()) {
      const same = next.group === options.group && String(next.visitorId || "") === String(options.visitorId || "");
      if (same) {
        options = { ...options, ...next };
        return update({ data: next.data });
      }
      leave();
    }
    options = { ...next };
    data = {};
    merge(next.data);
    const [name, secret] = (stored("localStorage", uniqueKey()) || "").split(" ");
    unique = secret ? { visitorId: name, uniqueSecret: secret } : {};
    tries = 0;
    wasOnline = refused = false;
    connect();
    guard(resume)();
  }

  /** A browser that thinks it is offline still tries: it does not know of servers on this computer. @returns {State} */
  const away = () => (navigator.onLine === false ? "offline" : wasOnline ? "reconnecting" : "connecting");

  function connect() {
    clearTimeout(retryTimer);
    returnAt = 0;
    setState(away());
    const mine = ++attempt;
    const { token } = options;
    Promise.resolve(typeof token === "function" ? token() : token)
      .then((value) => {
        if (mine === attempt) open(value);
      })
      .catch((error) => {
        report(error);
        if (mine === attempt) retry(BACKOFF_MS);
      });
  }

  /** @param {string | undefined} token */
  function open(token) {
    const ws = new WebSocket(base.origin.replace(/^http/, "ws") + "/v1/visitor", ["porchlight.v1"]);
    socket = ws;
    const live = (/** @type {(event: any) => void} */ run) =>
      guard((event) => {
        if (ws === socket) run(event);
      });
    ws.onopen = live(() => {
      page = currentPage();
      pending = {};
      const { visitorId } = options;
      ws.send(
        JSON.stringify({
          type: "connect",
          group: options.group,
          ...(visitorId ? { visitorId: String(visitorId) } : unique),
          token,
          page,
          client: {
            platform: win.navigator.userAgentData?.platform || navigator.platform,
            language: navigator.language,
            screen: `${screen.width}x${screen.height}`,
          },
          data,
          visibility: visibility(),
        }),
      );
    });
    ws.onmessage = live((event) => {
      clearTimeout(watchTimer);
      if (state !== "online") watch();
      receive(JSON.parse(event.data));
    });
    ws.onclose = live((event) => closed(event.code));
    watch();
  }

  /** Replaces a connection that stays silent although something was asked. */
  function watch() {
    clearTimeout(watchTimer);
    watchTimer = setTimeout(guard(() => closed(4002)), ANSWER_MS);
  }

  /** Browsers hide pings, so a doubtful connection is asked; an unknown type is always answered. */
  function probe() {
    if (state !== "online") return;
    request({ type: "ping" }).catch(() => {}); // "unknown_type" is the sign of life
    watch();
  }

  function detach() {
    const ws = socket;
    socket = null;
    for (const timer of [retryTimer, watchTimer, returnTimer, updateTimer]) clearTimeout(timer);
    for (const { reject } of requests.values()) reject(new Error("connection lost"));
    requests.clear();
    updateTimer = 0;
    focused = false;
    if (ws) ws.close();
  }

  /** Follows the close table of the protocol. @param {number} code */
  function closed(code) {
    if (state === "online" && Date.now() - onlineSince >= SETTLED_MS) tries = 0;
    detach();
    if (code === 4401 && !refused) {
      // Once more with a new credential: a fresh token, or a fresh unique visitor.
      refused = true;
      if (!options.visitorId) stored("localStorage", uniqueKey(), null);
      unique = {};
      if (!options.visitorId || typeof options.token === "function") return connect();
    }
    // Ended, but asked to come back: presence is off for the company, and may be switched on again.
    if (code >= 4400 && code < 4500 && code !== 4429 && !(code === 4409 && returnAt)) {
      return setState("stopped", { 4401: "unauthorized", 4403: "forbidden", 4409: "ended" }[code] || String(code));
    }
    retry(returnAt ? returnAt - Date.now() : Math.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** tries++));
  }

  /** @param {number} ms */
  function retry(ms) {
    setState(away());
    clearTimeout(retryTimer);
    retryTimer = setTimeout(guard(connect), Math.max(0, ms));
  }

  /** Logout: absent at once. */
  function leave() {
    if (!running()) return;
    send({ type: "leave" });
    if (offer && offer.dialog) offer.dialog.close();
    offer = null;
    setKey();
    if (share) share.stop("guest_left");
    attempt++;
    detach();
    setState("stopped", "left");
  }

  /** @param {Message} message @returns {boolean} whether there was a conversation to say it in */
  function send(message) {
    if (state !== "online" || !socket) return false;
    socket.send(JSON.stringify(message));
    return true;
  }

  /** @param {Message} message @returns {Promise<Message>} */
  function request(message) {
    return new Promise((resolve, reject) => {
      const id = ++requestId;
      if (!send({ ...message, id })) return reject(new Error("not connected"));
      requests.set(id, { resolve, reject });
    });
  }

  // ---- presence -----------------------------------------------------------------------------

  const visibility = () => (document.visibilityState === "hidden" ? "hidden" : "visible");

  function currentPage() {
    const clean = (/** @type {string} */ url) => url.split("#")[0].slice(0, URL_CHARS);
    return {
      url: clean(location.href),
      title: document.title.slice(0, TEXT_CHARS),
      referrer: clean(document.referrer),
      ...(told.href === location.href ? told.page : {}),
    };
  }

  /** Merges custom data as the server does: null deletes a key. @param {Options["data"]} more */
  function merge(more) {
    const next = { ...data, ...more };
    for (const key in next) if (next[key] == null) delete next[key];
    if (JSON.stringify(next).length > DATA_BYTES) throw new Error(`presence data exceeds ${DATA_BYTES} bytes`);
    data = next;
  }

  /** @param {{ page?: Partial<typeof page>, data?: Options["data"] }} [change] */
  function update(change = {}) {
    if (change.data) {
      merge(change.data);
      pending.data = { ...pending.data, ...change.data };
    }
    if (change.page) told = { href: location.href, page: change.page };
    flushSoon();
  }

  function flushSoon(atLeast = 0) {
    if (!updateTimer) updateTimer = setTimeout(guard(flush), Math.max(atLeast, lastUpdate + COALESCE_MS - Date.now()));
  }

  function flush() {
    updateTimer = 0;
    const now = currentPage();
    if (JSON.stringify(now) !== JSON.stringify(page)) pending.page = now;
    if (state !== "online" || !Object.keys(pending).length) return; // `connect` tells it all again
    page = now;
    lastUpdate = Date.now();
    send({ type: "presence", ...pending });
    pending = {};
  }

  function active() {
    if (focused || Date.now() - lastActive < ACTIVE_MS) return;
    lastActive = Date.now();
    pending.active = true;
    flushSoon();
  }

  function visibilityChanged() {
    const now = visibility();
    pending.visibility = now;
    flushSoon(now === "hidden" ? LEAVING_MS : 0);
    if (now === "hidden") hiddenSince = Date.now();
    else if (state === "online" && Date.now() - hiddenSince > PROBE_AFTER_MS) probe();
    else if (running() && !socket) connect();
  }

  /** Sees navigations inside the page: by the Navigation API, or by wrapping what has no event. */
  function followNavigation() {
    const navigated = guard(() => flushSoon());
    // Titles change after the address does.
    const all = { childList: true, subtree: true, characterData: true };
    if (document.head) new MutationObserver(navigated).observe(document.head, all);
    addEventListener("popstate", navigated);
    if (win.navigation) return win.navigation.addEventListener("currententrychange", navigated);
    for (const name of /** @type {const} */ (["pushState", "replaceState"])) {
      const original = history[name];
      history[name] = function (...args) {
        const result = original.apply(this, args);
        navigated();
        return result;
      };
    }
  }

  // ---- messages -----------------------------------------------------------------------------

  /** @param {Message} message */
  function receive(message) {
    const waiting = requests.get(message.id);
    if (waiting) {
      requests.delete(message.id);
      if (message.type === "error") return waiting.reject(Object.assign(new Error(message.message), { code: message.code }));
      waiting.resolve(message);
    }
    switch (message.type) {
      case "connected":
        clearTimeout(watchTimer);
        setKey(message);
        welcome = message;
        focused = !!message.focused;
        wasOnline = true;
        refused = false;
        onlineSince = Date.now();
        if (message.uniqueSecret) {
          const { visitorId, uniqueSecret } = message;
          unique = { visitorId, uniqueSecret };
          stored("localStorage", uniqueKey(), `${visitorId} ${uniqueSecret}`);
        }
        setState("online");
        return flush();
      case "focus":
        focused = !!message.focused;
        return emit("focus", { focused });
      case "offer":
        return guard(ask)(message);
      case "offerEnded":
        return endOffer(message);
      case "ready":
        return guard(publish)(message);
      case "sessionEnded":
        setKey();
        if (share) share.ended(message);
        else emit("ended", message);
        return;
      case "reconnect": {
        // Twice the delay at most: enough jitter to keep a node's visitors apart.
        const wait = (message.afterMs || 0) + Math.random() * Math.max(message.afterMs || 0, BACKOFF_MS);
        returnAt = Date.now() + wait;
        clearTimeout(returnTimer);
        returnTimer = setTimeout(guard(() => closed(4000)), wait);
        return;
      }
      case "error":
        return emit("error", message);
      default:
        if (message.codeExpiresAt) Object.assign(welcome, { code: message.code, codeExpiresAt: message.codeExpiresAt });
        emit(message.type, message);
    }
  }

  /** Puts the agent's question to the visitor; the same offer again only repeats what was said. @param {Message} message */
  async function ask(message) {
    if (offer && offer.requestId === message.requestId) return answer(offer);
    if (offer && offer.dialog) offer.dialog.close();
    const mine = (offer = { ...message });
    emit("offer", message);
    load("share.js").catch(report); // so that the click of acceptance still counts when the picker opens
    if (!message.terms.required) return;
    const { openDialog } = await load("terms.js");
    if (offer !== mine) return;
    mine.dialog = openDialog({ offer: message, clockSkewMs: skew(), strings: options.strings, nonce: options.nonce });
    mine.dialog.displayed.then(() => {
      mine.displayed = true;
      if (offer === mine) answer(mine);
    });
    mine.dialog.answer.then((/** @type {boolean} */ accepted) => {
      mine.accepted = accepted;
      if (offer === mine) answer(mine);
    });
  }

  /** How far the server's clock is ahead of ours. */
  const skew = () => Date.parse(welcome.serverTime) - onlineSince || 0;

  /** @param {NonNullable<typeof offer>} mine */
  function answer(mine) {
    const { requestId, terms, accepted, displayed } = mine;
    if (accepted === undefined) {
      if (displayed) send({ type: "offerDisplayed", requestId });
      return;
    }
    request({ type: "terms", requestId, accepted, termsVersion: terms.version }).catch((error) => {
      if (error.code && offer === mine) endOffer({ type: "offerEnded", requestId, outcome: "failed" });
    });
    if (!accepted) offer = null;
    if (!accepted) setKey();
  }

  /** What the visitor reads out while it waits for an agent. @param {Partial<Message>} [now] */
  function setKey({ sessionKey, sessionKeyExpiresAt } = {}) {
    if (sessionKey === welcome.sessionKey) return;
    Object.assign(welcome, { sessionKey, sessionKeyExpiresAt });
    emit("sessionKey", { sessionKey, sessionKeyExpiresAt });
  }

  /** The widget with the key, for those who ask for it. */
  const showKey = async () =>
    (await load("key.js")).openKey({ api: win.Porchlight, clockSkewMs: skew(), strings: options.strings, nonce: options.nonce });

  /** @param {Message} message */
  function endOffer(message) {
    if (!offer || offer.requestId !== message.requestId) return;
    setKey();
    if (offer.dialog) offer.dialog.ended(message.outcome);
    offer = null;
    emit("offerEnded", message);
  }

  // ---- sharing ------------------------------------------------------------------------------

  /** @param {Message} ready */
  async function publish(ready) {
    if (ready.sessionKey) return setKey(ready); // the way in comes with an agent
    if (ready.role !== "publisher") return;
    const asked = offer && offer.requestId === ready.requestId ? offer : null;
    if (asked) offer = null;
    const { ticket, sessionId, kind } = ready;
    const dialog = asked?.dialog;
    try {
      await begin({ ticket, sessionId, kind, agentName: asked?.agent.name, dialog });
    } catch (error) {
      if (dialog) dialog.ended("failed");
      throw error;
    }
  }

  /** @param {Record<string, any>} session ticket or resume token, and who asked */
  async function begin(session) {
    const { startSharing } = await load("share.js");
    if (share) share.stop("guest_left");
    const { capture, strings, nonce } = options;
    const mine = (share = startSharing({
      ...session,
      server: base.origin,
      capture: capture || session.capture,
      strings,
      nonce,
      onControl: (/** @type {any} */ wish) => {
        if (!handlers.get("controlRequest")?.size) return false;
        emit("controlRequest", wish);
      },
      onEvent: (/** @type {string} */ name, /** @type {any} */ detail) => {
        if (name === "ended" && share === mine) share = null;
        emit(name, detail);
      },
    }));
    emit("session", mine);
  }

  /** A page that was left while sharing hands its session to the next one in this tab. */
  async function resume() {
    if (share || !stored("sessionStorage", SHARE_KEY)) return;
    const { takeKept } = await load("share.js");
    const kept = share ? null : await takeKept(SHARE_KEY);
    if (kept && kept.server === base.origin && !share) await begin(kept);
  }

  // ---- the page's side ----------------------------------------------------------------------

  addEventListener("online", guard(() => {
    if (state === "online") probe();
    else if (running() && !socket) connect();
  }));
  addEventListener("offline", guard(() => {
    if (running() && state !== "online") setState("offline");
  }));
  document.addEventListener("visibilitychange", guard(visibilityChanged));
  addEventListener("focus", guard(active));
  addEventListener("pointerdown", guard(active), { capture: true, passive: true });
  addEventListener("click", guard((/** @type {any} */ event) => event.target.closest?.("[data-porchlight-key]") && showKey()));
  guard(followNavigation)();

  win.Porchlight = Object.freeze({
    get state() { return state; },
    get visitorId() { return welcome.visitorId; },
    get code() { return welcome.code; },
    get codeExpiresAt() { return welcome.codeExpiresAt; },
    /** What the visitor reads out to an agent, while it waits for one. */
    get sessionKey() { return welcome.sessionKey; },
    get sessionKeyExpiresAt() { return welcome.sessionKeyExpiresAt; },
    get focused() { return focused; },
    /** The running share, or null. */
    get session() { return share; },
    start: guard(start),
    update: guard(update),
    leave: guard(leave),
    /** Tells the agents who watch this visitor. */
    message: guard((/** @type {string} */ name, /** @type {any} */ data) => send({ type: "message", name, data })),
    /** Opens a session that waits for an agent; the answer has the `sessionKey` to read out. */
    startSession: guard((/** @type {{ kind?: string, key?: "random" | "visitorId" }} */ wish) => request({ ...wish, type: "startSession" })),
    cancelSession: guard(() => request({ type: "cancelSession" }).then(() => setKey())),
    /** Opens the widget that does both, as a click on an element with `data-porchlight-key` does. */
    showKey: guard(showKey),
    /** Renews the unique visitor's code. */
    extendCode: guard(() => request({ type: "extendCode" })),
    /**
     * Listens for `state focus signal sessionKey offer offerEnded session share participant controlRequest control
     * input point chat ended error`. Returns the function that stops listening.
     * @param {string} name @param {(detail: any) => void} handler
     */
    on(name, handler) {
      const set = handlers.get(name) || new Set();
      handlers.set(name, set.add(handler));
      return () => set.delete(handler);
    },
  });

  const { group, visitorId, token, capture, nonce } = script ? script.dataset : /** @type {DOMStringMap} */ ({});
  if (group) {
    const begun = guard(() =>
      start({ group, visitorId, token, capture: /** @type {any} */ (capture), nonce: nonce || script?.nonce }),
    );
    // A prerendered page is not yet a visit.
    if (win.document.prerendering) document.addEventListener("prerenderingchange", begun, { once: true });
    else begun();
  }
})();
