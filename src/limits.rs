//! Every number of the server, once, with its reason.
//!
//! What an operator may change is also a field of [`crate::config`] whose default is the constant here.
//! Related numbers are checked together in `config::Config::check`.

mod cluster;
mod cluster_wires;
mod cobrowse;
mod configured;
mod edge;
mod guests;
mod kept;
mod process;
mod redis;
mod sinks;
mod vault;

use std::time::Duration;

pub use cluster::*;
pub use cluster_wires::*;
pub use cobrowse::*;
pub use configured::{Limits, Rate};
pub use edge::*;
pub use guests::*;
pub use kept::*;
pub use process::*;
pub use redis::*;
pub use sinks::*;
pub use vault::*;

// ── Connections ────────────────────────────────────────────────────────────────────────────────

/// How long a fresh WebSocket may stay silent before its first message. Half: slow phones on a lossy
/// network are cut off; double: twice the silent sockets an attacker can hold.
pub const FIRST_MESSAGE: Duration = Duration::from_secs(10);

/// How long an HTTP client may take over its request head (slowloris).
pub const HTTP_HEADER: Duration = Duration::from_secs(5);

/// Largest HTTP request head.
pub const HTTP_HEAD_BYTES: usize = 8 * 1024;

/// What one HTTP connection may buffer. The head may fill half of it, the rest is the start of a body.
pub const HTTP_BUFFER: usize = 2 * HTTP_HEAD_BYTES;

/// Largest body of an HTTP request: credentials and names only.
pub const HTTP_BODY_BYTES: usize = 16 * 1024;

/// Between two pings of one connection. Below the shortest idle time-out usual in proxies (30–60 s).
pub const HEARTBEAT: Duration = Duration::from_secs(25);

/// Without a byte for this long the peer is taken for dead: two missed heartbeats and some slack.
pub const DEAD_AFTER: Duration = Duration::from_secs(60);

/// Slots of the heartbeat wheel: one slot is served each `HEARTBEAT / WHEEL_SLOTS` = 100 ms, so that
/// pings of many connections are spread evenly and no connection needs a timer of its own.
pub const WHEEL_SLOTS: usize = 250;

/// How long a close handshake may take before the socket is dropped.
pub const CLOSE_HANDSHAKE: Duration = Duration::from_secs(2);

/// Connections from one address. High, because offices and mobile carriers share addresses.
pub const CONNECTIONS_PER_IP: usize = 1_000;

/// Live connections (tabs) of one visitor ID.
pub const CONNECTIONS_PER_VISITOR: usize = 20;

/// File descriptors kept back for the store, the log, and the ops and admin listeners.
pub const RESERVED_FILES: u64 = 200;

/// How long the accept loop waits after running out of file descriptors. Short enough to recover
/// quickly, long enough not to spin.
pub const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

/// What a client is told to wait when the node has no room: long enough to matter, short enough that
/// a person still waits.
pub const COME_BACK: Duration = Duration::from_secs(5);

/// Connections the kernel may hold for the accept loop: a second of arrivals after a restart.
pub const BACKLOG: i32 = 4096;

/// How long a client may take over the body of a request, as long as over its first message.
pub const HTTP_BODY: Duration = Duration::from_secs(10);

/// How long a browser may remember that a page may sign in. Short: a group's list of origins changes.
pub const PREFLIGHT_LIFE: Duration = Duration::from_secs(600);

// ── Messages ───────────────────────────────────────────────────────────────────────────────────

/// Largest message of a visitor. Presence data (4 KiB) in JSON with its envelope fits twice.
pub const VISITOR_MESSAGE: usize = 8 * 1024;

/// Largest presence data of a visitor: page, client facts and custom data together.
pub const PRESENCE_DATA: usize = 4 * 1024;

/// Largest message of an agent: 1,000 visitor IDs of 62 characters fit.
pub const AGENT_MESSAGE: usize = 64 * 1024;

/// Largest text message on a session socket.
pub const SESSION_TEXT: usize = 16 * 1024;

/// Largest frame with its header: a 4K key frame with room to spare.
pub const FRAME: usize = 4 * 1024 * 1024;

/// Bytes that may arrive beyond a message's limit before the message is complete: the headers of 64
/// fragments of 14 bytes. Endless empty fragments end here.
pub const FRAGMENT_OVERHEAD: usize = 64 * 14;

/// Keys in custom presence data; longest key; longest text value.
pub const DATA_KEYS: usize = 32;
/// See [`DATA_KEYS`].
pub const DATA_KEY_BYTES: usize = 64;
/// See [`DATA_KEYS`].
pub const DATA_VALUE_BYTES: usize = 512;

/// Longest page address, title and referrer; more is cut at a character boundary.
pub const PAGE_URL_BYTES: usize = 2_000;
/// See [`PAGE_URL_BYTES`].
pub const PAGE_TITLE_BYTES: usize = 300;

/// Longest client fact (platform, language, screen) and longest user agent; more is cut at a character
/// boundary. They are kept for each connection, so half a user agent more is a fifth of an idle visitor.
pub const CLIENT_FACT_BYTES: usize = 64;
/// See [`CLIENT_FACT_BYTES`].
pub const USER_AGENT_BYTES: usize = 256;

/// Longest name of a signal or message between page and agent.
pub const SIGNAL_NAME_BYTES: usize = 64;

/// Largest data of a signal or message between page and agent: [`HELD_SIGNALS`] of them may wait for each
/// visitor within grace.
pub const SIGNAL_BYTES: usize = 4 * 1024;

/// Longest object name and longest id of a record.
pub const RECORD_NAME_BYTES: usize = 128;

/// Longest chat text and longest free reason.
pub const CHAT_BYTES: usize = 4_000;

/// Sustained messages a second and burst, per visitor connection.
pub const VISITOR_RATE: (u32, u32) = (5, 20);

/// Sustained messages a second and burst, per agent connection.
pub const AGENT_RATE: (u32, u32) = (50, 200);

/// Sustained messages a second and burst, per session connection. Pointer input arrives at display
/// rate; frames are bounded by bytes instead.
pub const SESSION_RATE: (u32, u32) = (200, 400);

/// Pings and pongs a second and burst that a peer may send.
pub const PING_RATE: (u32, u32) = (10, 20);

/// Messages in a row that came too fast and were refused, after which a connection is closed as
/// `rate_limited`: a client that only stumbles is told and goes on, one that floods is not answered for ever.
pub const TOO_FAST: u32 = 50;

// ── Presence ───────────────────────────────────────────────────────────────────────────────────

/// Absence is told only this long after the last connection went. Page loads take 0.3–3 s; half would
/// flicker on slow sites, double would keep the lamp lit for people who left.
pub const GRACE: Duration = Duration::from_secs(5);

/// Longest grace that a group may set.
pub const GRACE_MAX: Duration = Duration::from_secs(60);

/// Signals held for a visitor within grace.
pub const HELD_SIGNALS: usize = 16;

/// Visitor IDs that one agent connection may watch.
pub const WATCHED: usize = 1_000;

/// Bytes of one visitor ID in a JSON list: 62 characters, quotes and comma.
pub const WATCHED_ENTRY: usize = 65;

/// Records that one agent connection may hold open.
pub const OPEN_RECORDS: usize = 100;

/// Visitors in a page of the live list: default and most.
pub const LIVE_PAGE: usize = 100;
/// See [`LIVE_PAGE`].
pub const LIVE_PAGE_MAX: usize = 500;

/// How long changes are gathered into one `liveDiff`. People read tables; machines watch IDs.
pub const LIVE_DIFF: Duration = Duration::from_millis(250);

/// Changes in one `liveDiff`; more ask the client to read the list again.
pub const LIVE_DIFF_MAX: usize = 500;

/// Digits of what a visitor reads out to an agent, and fewest and most that a group may set: the short code of a
/// unique visitor, and the key of a session that waits. To an agent it is a name within its own group, and no right.
pub const CODE_DIGITS: u32 = 6;
/// See [`CODE_DIGITS`].
pub const CODE_DIGITS_RANGE: (u32, u32) = (4, 12);
/// How long a unique visitor's code lives.
pub const CODE_LIFE: Duration = Duration::from_secs(300);

/// Live codes of one group on a node, and never more than one in ten of all that its digits allow: a
/// mistyped digit then seldom names somebody else. Half turns visitors of a big site away.
pub const CODES_PER_GROUP: usize = 100_000;

// ── Requests and sessions ──────────────────────────────────────────────────────────────────────

/// How long a visitor has to answer an offer.
pub const OFFER_DEADLINE: Duration = Duration::from_secs(60);

/// How long a session waits for its other side to attach.
pub const WAITING: Duration = Duration::from_secs(600);

/// A ticket must be used within this time.
pub const TICKET_LIFE: Duration = Duration::from_secs(60);

/// A participant that lost its connection may come back within this time.
pub const RESUME_WINDOW: Duration = Duration::from_secs(60);

/// When a visitor's page may ask again after its group's presence was switched off. A hundred thousand open
/// pages are then about a thousand refusals a second, each before any state; at half of it the wait for a
/// group that is switched on again is less than that for a page load.
pub const PRESENCE_RETRY: Duration = Duration::from_secs(60);

/// Longest session.
pub const SESSION_LENGTH: Duration = Duration::from_secs(8 * 3600);

/// Viewers of one session.
pub const VIEWERS: usize = 64;

/// Sessions that a node may have pending or active.
pub const SESSIONS_PER_NODE: usize = 10_000;

// ── Relay ──────────────────────────────────────────────────────────────────────────────────────

/// Streams in one session: screen, camera, and two announced ones.
pub const STREAMS: usize = 4;

/// One frame of a camera: four key frames of 640x480. Half of it refuses a noisy one, twice serves nobody.
pub const CAMERA_FRAME: usize = 256 * 1024;

/// What a stream keeps for late joiners and slow viewers: bytes, and span between its key frame and
/// its newest frame. One group of pictures of scrolling 1080p is about 2 MB in 10 s.
pub const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// See [`CACHE_BYTES`].
pub const CACHE_SPAN: Duration = Duration::from_secs(10);

/// A late joiner is served the cache, but a fresh key frame is asked for as well when the cached group
/// is longer than this: older pictures are history, not the screen.
pub const FRESH_SPAN: Duration = Duration::from_secs(2);
/// See [`FRESH_SPAN`].
pub const FRESH_BYTES: usize = 1024 * 1024;

/// A viewer behind by more than this gets only the base temporal layer.
pub const SHED_BYTES: usize = 256 * 1024;
/// See [`SHED_BYTES`].
pub const SHED_AGE: Duration = Duration::from_millis(150);

/// A viewer behind by more than this gets nothing until a key frame.
pub const OUTBOX_BYTES: usize = 2 * 1024 * 1024;
/// See [`OUTBOX_BYTES`].
pub const OUTBOX_AGE: Duration = Duration::from_secs(2);

/// A viewer that makes no progress for this long is closed as `too_slow`.
pub const STUCK: Duration = Duration::from_secs(20);

/// Control messages waiting for one connection. At 50 a second it is five seconds of silence.
pub const CONTROL_LANE: usize = 256;

/// Between two key-frame requests of one session.
pub const KEY_FRAME_SPACING: Duration = Duration::from_millis(300);

/// Between two feedback messages to a publisher.
pub const FEEDBACK: Duration = Duration::from_secs(1);

/// Events in one input message, and input messages waiting for a publisher.
pub const INPUT_EVENTS: usize = 64;

// ── Operators and listeners ────────────────────────────────────────────────────────────────────

/// Calls at once on one admin connection. Consoles hold a few streams; scripts run one after another.
pub const ADMIN_CALLS: u32 = 64;

/// Watches of presence or sessions that operators may hold open on a node. Each remembers what its reader
/// was told: some hundred bytes for each visitor of a group. Back ends hold one or two.
pub const ADMIN_WATCHES: usize = 64;

/// Streams of events and exports of receipts that operators may have open on a node. Each holds one page of
/// at most [`EVENT_PAGE_BYTES`]: 64 MiB in the worst case. A connector holds one.
pub const ADMIN_READERS: usize = 64;

/// Longest time that statistics are made of in one call: a year with some days to compare. Its rows are read
/// anew for each page.
pub const STATS_SPAN: Duration = Duration::from_secs(400 * 24 * 3600);

/// The time that statistics are made of when the caller names none.
pub const STATS_DEFAULT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Longest admin call up to its first answer.
pub const ADMIN_CALL: Duration = Duration::from_secs(30);

/// Between two pings of an idle admin connection, and how long one may stay unanswered.
pub const ADMIN_KEEPALIVE: Duration = Duration::from_secs(30);
/// See [`ADMIN_KEEPALIVE`].
pub const ADMIN_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest request of an operator: gRPC's own usual limit. The largest settings that pass their check fit,
/// so that whoever may read them may write them back; a test adds them up.
pub const ADMIN_MESSAGE: usize = 4 * 1024 * 1024;

/// Entries in a page of an operator's list: the server's choice, and most.
pub const ADMIN_PAGE: usize = 100;
/// See [`ADMIN_PAGE`].
pub const ADMIN_PAGE_MAX: usize = 1_000;

/// Fields that one refusal names: gRPC tells errors in headers, of which clients take 8 KiB.
pub const VIOLATIONS: usize = 20;

/// How long a call is remembered by its request ID: longer than any script or person tries again.
pub const CALL_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// Calls remembered of one group's callers, and of the operators; beyond it the oldest are forgotten before
/// their day is over. A script that sets up [`PERMISSION_LIST`] agents with two calls each fits. Answers are
/// kept without what is long in them, at most about 2 KiB each, so that one group takes 40 MiB at worst.
pub const CALLS_REMEMBERED: usize = 20_000;

/// Longest request id a caller may choose: a UUID with a prefix fits.
pub const REQUEST_ID_BYTES: usize = 64;

/// Streams a client may reset before they were served (rapid reset, CVE-2023-44487).
pub const ADMIN_RESETS: usize = 20;

/// Ports of the three listeners: neighbours, above the privileged ones, below the ephemeral ones.
pub const PUBLIC_PORT: u16 = 7400;
/// See [`PUBLIC_PORT`].
pub const OPS_PORT: u16 = 7401;
/// See [`PUBLIC_PORT`].
pub const ADMIN_PORT: u16 = 7402;

// ── Process ────────────────────────────────────────────────────────────────────────────────────

/// Between two rounds of housekeeping: tidying metrics, noting uses of API keys.
pub const UPKEEP: Duration = Duration::from_secs(30);

/// How long a drain lets connections finish.
pub const DRAIN: Duration = Duration::from_secs(30);

/// Wrong passwords and login keys from one address, or for one agent, within [`LOCK_WINDOW`] before
/// the door is locked for [`LOCK_TIME`].
pub const WRONG_TRIES: u32 = 10;
/// See [`WRONG_TRIES`].
pub const LOCK_WINDOW: Duration = Duration::from_secs(600);
/// See [`WRONG_TRIES`].
pub const LOCK_TIME: Duration = Duration::from_secs(900);

/// Life of a login, and so of an agent's token, unless the group says otherwise.
pub const LOGIN_EXPIRATION: Duration = Duration::from_secs(3600);

/// Furthest expiry that a login key or a visitor token may name.
pub const TOKEN_AHEAD: Duration = Duration::from_secs(24 * 3600);

/// Difference between two machines' wall clocks that is forgiven.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// Longest time that one sign-in may be stretched by renewing its token. A working day with overtime; after
/// it the agent proves itself again, so that who left the company loses access within a day.
pub const SIGN_IN_CHAIN: Duration = Duration::from_secs(24 * 3600);

/// Keys that a lockout counter remembers in each of its two generations (about 200 bytes a key). One
/// address adds ten keys before it is locked itself, so that forgetting takes thousands of addresses.
pub const LOCKOUT_KEYS: usize = 50_000;

// ── Passwords ──────────────────────────────────────────────────────────────────────────────────

/// Argon2id memory in KiB, passes and lanes: the first choice of OWASP's password storage sheet. About
/// 20 ms on a server core; half the memory doubles what a cracker's card can hold.
pub const PASSWORD_COST: (u32, u32, u32) = (19 * 1024, 2, 1);

/// Shortest and longest password in bytes. NIST SP 800-63B asks for 8 at least and 64 at most or more.
pub const PASSWORD_BYTES: (usize, usize) = (8, 256);

/// Passwords checked at the same time: each holds a blocking thread and 19 MiB.
pub const PASSWORD_CHECKS: usize = 4;

/// How long a sign-in waits for its turn to be checked: 4 × 250 checks, after which a browser has
/// given up anyway.
pub const PASSWORD_WAIT: Duration = Duration::from_secs(5);

// ── Company settings ───────────────────────────────────────────────────────────────────────────

/// Shortest and longest time to answer an offer that a group may set. Below it nobody can read terms;
/// above it the agent has long hung up, and the question would surprise.
pub const OFFER_DEADLINE_RANGE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// Shortest and longest login that a group may set: a renewal needs some time, and a day is
/// [`SIGN_IN_CHAIN`].
pub const LOGIN_EXPIRATION_RANGE: (Duration, Duration) = (Duration::from_secs(60), SIGN_IN_CHAIN);

/// Entries in one list of a group's settings: origins of an audience, objects, profiles.
pub const SETTINGS_LIST: usize = 500;

/// Longest origin in settings: a host name has at most 253 characters.
pub const ORIGIN_BYTES: usize = 300;

/// Agents in one list of a group's permission set. All settings travel in one message of
/// [`ADMIN_MESSAGE`] and each change keeps a copy of them: ten times as many would be 40 MB a change.
pub const PERMISSION_LIST: usize = 8_000;

/// Longest name in settings: of an object, a field, a profile, a terms version.
pub const SETTINGS_NAME_BYTES: usize = 255;

/// Longest terms text. It goes out in one offer, and people read it on a phone.
pub const TERMS_TEXT_BYTES: usize = 16 * 1024;

// ── Store ──────────────────────────────────────────────────────────────────────────────────────

/// Writes that wait for the store's one writer. When it is full the callers wait: what they write is
/// asked for by people or bounded elsewhere, and must not be lost.
pub const STORE_QUEUE: usize = 1024;

/// Writes that share one commit, and so one flush of the disk. None waits for another to arrive.
pub const STORE_BATCH: usize = 128;

/// Reads of the store at the same time; each has a connection and a blocking thread.
pub const STORE_READERS: usize = 4;

/// How long the store waits for a lock that another process holds (a back-up, a shell).
pub const STORE_BUSY: Duration = Duration::from_secs(5);

/// Entries of a settings history in one answer.
pub const SETTINGS_CHANGES: usize = 100;

/// Bytes of a settings history after which an answer ends early, behind at least one entry: settings may be
/// of any size up to [`ADMIN_MESSAGE`], and a hundred changes of them are no answer.
pub const SETTINGS_CHANGES_BYTES: usize = 2 * 1024 * 1024;

// ── Events ─────────────────────────────────────────────────────────────────────────────────────

/// Events that wait to be written. A busy node has about 100 a second, so that ten minutes of a full disk
/// fit; at about 1 KiB each it is 64 MiB of memory at most.
pub const EVENT_QUEUE: usize = 65_536;

/// Above this many waiting events no session begins, so that those that run have room for theirs: a session
/// has about 20, and [`SESSIONS_PER_NODE`] of them never all at once.
pub const EVENT_QUEUE_BUSY: usize = EVENT_QUEUE / 2;

/// Events in one append. A commit costs one flush however many it holds; more would only make the others
/// that share the writer wait.
pub const EVENT_BATCH: usize = 256;

/// Wait before an append that failed is tried again: at first, and at most. Space comes back by people's
/// hands, not within milliseconds.
pub const EVENT_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long a server that ends waits for its last events to be written.
pub const EVENT_FLUSH: Duration = Duration::from_secs(5);

/// Events in one page, and about how many bytes of them.
pub const EVENT_PAGE: usize = 500;
/// See [`EVENT_PAGE`].
pub const EVENT_PAGE_BYTES: usize = 1024 * 1024;

/// Events trimmed in one write: some milliseconds of the writer's time.
pub const EVENT_TRIM: usize = 1_000;

/// How long events are kept: a quarter, with some days for whoever reads once a quarter.
pub const EVENTS_KEPT: Duration = Duration::from_secs(100 * 24 * 3600);

/// How many events of one group are kept: at about 600 bytes it is 600 MB of disk, and some 50,000 sessions.
pub const EVENTS_KEPT_COUNT: u64 = 1_000_000;

/// Refused credentials of one group that become an event each, a minute; the others are counted. A flood of
/// guesses must not push what matters out of the log.
pub const AUTH_REFUSED_EVENTS: u32 = 30;
/// See [`AUTH_REFUSED_EVENTS`].
pub const AUTH_REFUSED_WINDOW: Duration = Duration::from_secs(60);

/// Session records in one page.
pub const RECORD_PAGE: usize = 200;

/// Longest email (RFC 5321, 4.5.3.1.3, without its brackets).
pub const EMAIL_BYTES: usize = 254;

/// Consent receipts in one page.
pub const RECEIPT_PAGE: usize = 500;

/// How long a visitor's acceptance waits for its receipt to be on the disk. A flush takes some milliseconds;
/// a disk that takes longer than this is broken, and the session fails.
pub const RECEIPT_WAIT: Duration = Duration::from_secs(5);

// ── Accounts ───────────────────────────────────────────────────────────────────────────────────

/// Changes of accounts that a slow listener may fall behind; beyond it reads everything anew.
pub const ACCOUNT_CHANGES: usize = 256;

/// How often a change of settings is tried again when another node was quicker.
pub const SETTINGS_RETRIES: usize = 5;

/// Longest address of an agent: it is typed by people and stands in a URL path.
pub const ADDRESS_BYTES: usize = 128;

/// API keys of a group that may be good at once: each back end has its own, twice while it is renewed. All
/// are tried for a login key that names none, and looked through at every call of the admin service.
pub const API_KEYS: usize = 50;
