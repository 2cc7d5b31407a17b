//! The numbers of what is kept and let go of, each with its reason. Part of [`super`], where everybody reads them.

use std::time::Duration;

use super::STATS_SPAN;

/// How long session records are kept, and what was put aside for sinks: what [`STATS_SPAN`] can count, a year with
/// some days to compare. They name visitors and agents, so that for ever is no answer.
pub const RECORDS_KEPT: Duration = STATS_SPAN;

/// How many records of one group are kept: at about 2 KiB it is 2 GB of disk, and 2,500 sessions a day.
pub const RECORDS_KEPT_COUNT: u64 = 1_000_000;

/// Fewest days and fewest records that may be kept. A session lasts hours, and its record must outlive it; below,
/// lists and statistics would show holes of today.
pub const RECORDS_KEPT_LEAST: (Duration, u64) = (Duration::from_secs(24 * 3600), 10_000);

/// Times that a session's record tells of in which a visitor showed a screen instead of its page: more than anybody
/// does in earnest. Each is some 70 bytes of a record that is written with every event; a script that toggles would
/// make it grow without end.
pub const ALSO_SHOWN: usize = 100;

/// Records let go of in one write: some ten milliseconds of the writer's time.
pub const RECORD_TRIM: usize = 200;

/// Rows read at once by a move to another store: some megabytes at most.
pub const MOVE_ROWS: usize = 500;

/// Groups that stand in the way of a move, as many as are named: enough to know whose they are.
pub const MOVE_NAMED: usize = 5;

/// Longest line of a file of receipts. One has about 1 KiB, and 70 bytes more for each agent that asked: ten
/// thousand of them fit. Whoever verifies a file holds one line of it.
pub const RECEIPT_LINE: usize = 1024 * 1024;

/// Changes of settings that a group's history keeps: years of a busy company's. A change of small settings is some
/// 10 KiB, so that it is 20 MB of disk; without a bound a script that toggles would fill the disk.
pub const SETTINGS_HISTORY: usize = 2_000;

/// Places of records read from Redis at once, with some 200 bytes of each: 200 KB.
pub const RECORDS_WALKED: usize = 1_000;

/// Records looked at for one page of a list on Redis, some tenths of a second; a query of which so many fit not
/// at all gets a page that is not full, and goes on behind it.
pub const RECORDS_LOOKED: usize = 50_000;

/// Agents read from Redis at once: milliseconds of everybody's time there.
pub const AGENTS_READ: usize = 500;

/// Posts that a record's feed keeps: years of a busy one. Beyond it the oldest go. An agent's post on a session
/// is also what keeps it from posting there again, so that twice as few would still outlive any session.
pub const FEED_POSTS: usize = 1_000;

/// Posts in one page, and in one that is asked for without a number.
pub const FEED_PAGE: (usize, usize) = (100, 20);

/// Records that one agent may follow. All are looked up when it connects.
pub const FOLLOWS: usize = 500;

/// Longest text of a post, and longest link.
pub const POST_BYTES: (usize, usize) = (4_096, 2_048);
