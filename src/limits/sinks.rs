//! The numbers of the sync and its sinks, each with its reason. Part of [`super`], where everybody reads them.

use std::time::Duration;

/// Sinks of a group. Each follows the group's log by itself and costs a task and a read for every event.
pub const SINKS: usize = 10;

/// How often the sync looks whether a run is owed. Runs are told to the minute; a second is not noticed.
pub const SYNC_TICK: Duration = Duration::from_secs(1);

/// Session records read for one step of a run, and letters handed at once to a sink that takes many: one
/// flush of a file, one round trip to Redis.
pub const SINK_BATCH: usize = 100;

/// Wait before a letter that a sink did not take is tried again: at first, and at most. It doubles in
/// between, and half of it is chance, so that sinks that failed together do not come back together.
pub const SINK_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// How long a letter is tried before it is put aside. A receiver that is broken in the evening is mended by
/// the next one.
pub const SINK_PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Dead letters kept of one sink; the oldest go first. What they say is also in the log and the records.
pub const DEAD_LETTERS: usize = 10_000;

/// Dead letters sent again by one call: what a slow receiver takes while somebody waits.
pub const DEAD_LETTER_REPLAY: usize = 20;

/// Time for one webhook, from the look-up of its name to the end of the answer. The specification asks
/// receivers to answer within 15 to 30 s.
pub const WEBHOOK_TIME: Duration = Duration::from_secs(15);

/// How much of a webhook's answer is read. Only its status counts; the rest is courtesy to the connection.
pub const WEBHOOK_ANSWER: usize = 16 * 1024;

/// Longest address of a webhook: what browsers and proxies take.
pub const WEBHOOK_URL_BYTES: usize = 2_048;

/// How long webhooks are signed with the old secret beside the new one.
pub const WEBHOOK_SECRET_OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// A file of a sink is put aside and another begun beyond this size: still opened by an editor.
pub const SINK_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// And beyond this age, so that each day's lines can be fetched and removed.
pub const SINK_FILE_AGE: Duration = Duration::from_secs(24 * 3600);

/// Events that a group's Redis stream keeps, about: those who read it are minutes behind, not months.
pub const REDIS_STREAM_LENGTH: usize = 100_000;

/// How long a group's Redis stream keeps an event, about.
pub const REDIS_STREAM_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Time for one step of a sink's with Redis.
pub const REDIS_TIME: Duration = Duration::from_secs(5);

/// Runs in one page of the history, and at most so many are kept of a group: over a year of hourly runs.
pub const SYNC_RUN_PAGE: usize = 100;
/// See [`SYNC_RUN_PAGE`].
pub const SYNC_RUNS: usize = 10_000;

/// Calls of operators that wait for the sync.
pub const SYNC_CALLS: usize = 64;
