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

/// Subrequests of one composite request to Salesforce, which takes no more.
pub const SALESFORCE_BATCH: usize = 25;

/// Time for one request to Salesforce: 25 records with the org's own triggers and flows take seconds.
pub const SALESFORCE_TIME: Duration = Duration::from_secs(60);

/// How much of an answer of Salesforce's is read. The description of an object with hundreds of fields, such
/// as a lead, takes half a megabyte; a page of a feed some hundred kilobytes.
pub const SALESFORCE_ANSWER: usize = 8 * 1024 * 1024;

/// How long an assertion is good for. Salesforce wants at most three minutes, and the clocks differ.
pub const SALESFORCE_ASSERTION: Duration = Duration::from_secs(120);

/// Longest consumer key or user's name. Keys have about 85 characters, names at most 80.
pub const SALESFORCE_NAME: usize = 256;

/// Shortest key for Salesforce, in bits: what is still thought to be safe.
pub const SALESFORCE_KEY_BITS: usize = 2_048;

/// Posts in one page of a feed that is searched for a post of ours, and pages: Salesforce gives 100 at most,
/// and who has a thousand newer posts on one record has lost sight of ours.
pub const SALESFORCE_FEED: (usize, usize) = (100, 10);

/// Wait before a post is looked for that nothing was heard of: what is on its way then is there or never
/// will be.
pub const SALESFORCE_SETTLE: Duration = Duration::from_secs(30);

/// Sessions with Salesforce, and lanes whose last post's fate is known, that are remembered; beyond it all
/// are forgotten, which costs a request each.
pub const SALESFORCE_KNOWN: usize = 10_000;

/// How much of Salesforce's words on an error is kept, and the longest word of them: tokens are longer.
pub const SALESFORCE_WORDS: (usize, usize) = (200, 50);

/// Dead letters tried by one call that sends them again, with those that are refused for good once more.
pub const DEAD_LETTER_TRIES: usize = 100;

/// Runs in one page of the history, and at most so many are kept of a group: over a year of hourly runs.
pub const SYNC_RUN_PAGE: usize = 100;
/// See [`SYNC_RUN_PAGE`].
pub const SYNC_RUNS: usize = 10_000;

/// Calls of operators that wait for the sync.
pub const SYNC_CALLS: usize = 64;

/// How often the node that runs the sync looks for questions of other nodes, and they for its answers.
pub const SYNC_LOOK: Duration = Duration::from_millis(200);

/// How long a question waits for a node that runs the sync: a lease may have to end before another node begins.
pub const SYNC_TAKEN: Duration = Duration::from_secs(15);

/// And how long for its answer: the dead letters of one call, each of which may take as long as a webhook.
pub const SYNC_ANSWER: Duration = Duration::from_secs(1_800);

/// How often the node that runs the sync compares the sinks that it follows with those that there are.
pub const SYNC_REREAD: Duration = Duration::from_secs(10);
