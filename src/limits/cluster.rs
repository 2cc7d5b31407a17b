//! The numbers of what nodes know of each other, each with its reason. Part of [`super`], where everybody reads
//! them.

use std::time::Duration;

/// How long a node that falls silent is trusted to be up: its visitors are absent after that. Nine beats may be lost;
/// half would make a stall of Redis look like the death of all, double would keep lamps in doubt for longer than people
/// wait.
pub const NODE_LEASE: Duration = Duration::from_secs(10);

/// Between two renewals of a node's lease. One script each: a hundred nodes are a hundred operations a second.
pub const NODE_BEAT: Duration = Duration::from_secs(1);

/// Beats that fit into a lease at least, so that one lost beat is no news.
pub const NODE_BEATS: u32 = 5;

/// Of ten parts of its lease a node must have so many left; with less its visitors are unknown. With the usual lease
/// three beats in a row are missing then.
pub const NODE_DOUBT_TENTHS: u32 = 6;

/// How long a dead node is listed, so that everybody sees that it is dead.
pub const NODE_REMEMBERED: Duration = Duration::from_secs(600);

/// Longest that an arrival waits for the directory: a page load is not felt to be slower, and a Redis that takes
/// this long is away.
pub const CLAIM_WAIT: Duration = Duration::from_millis(250);

/// Longest that a reading of the directory, or a write to it, takes. Agents wait for readings.
pub const DIRECTORY_ANSWER: Duration = Duration::from_secs(2);

/// Visitors in one write or reading: at most [`super::PRESENCE_DATA`] and some hundred bytes each, about 1 MB.
pub const DIRECTORY_BATCH: usize = 250;

/// Pause after each write while a node tells anew of everybody it has: 250 in 10 ms and the time of the write leave
/// Redis room for the others.
pub const DIRECTORY_PACE: Duration = Duration::from_millis(10);

/// How often what is known of other nodes' visitors is looked through for what nobody watches any more.
pub const ELSEWHERE_TIDY: Duration = Duration::from_secs(30);

/// Wrong tries of one node, within [`super::LOCK_WINDOW`], that are counted for all nodes; further ones only by the
/// node itself. Each takes some 400 bytes of Redis for that time: 80 MB a node under an attack from 20,000 addresses.
pub const WRONG_TOLD: u32 = 200_000;

/// For how long a call is claimed by the node that makes it, which renews that thrice: so long after its death another
/// node makes it again.
pub const CALL_CLAIM: Duration = Duration::from_secs(15);
