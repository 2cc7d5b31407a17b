//! The numbers of letters and frames between nodes, each with its reason. Part of [`super`], where everybody
//! reads them.

use std::time::Duration;

/// Letters that may wait from one node for another. A second of a busy node; more than this waits only where
/// the other has stopped taking them, and then the wires between the two are given up.
pub const LETTERS_WAITING: usize = 16 * 1024;

/// Bytes of letters that may wait from one node for another.
pub const LETTER_BYTES_WAITING: usize = 64 * 1024 * 1024;

/// What was said on one wire and is not yet taken at its home. The edge meters each client at far less a second.
pub const WIRE_SAID: usize = 1_024;

/// Wires of other nodes that one node serves: as many as a large node has sockets.
pub const WIRES_PER_NODE: usize = 500_000;

/// How long another node may take to answer: a round trip takes milliseconds, and a person who presses a button
/// waits no longer than this for a word.
pub const WIRE_ANSWER: Duration = Duration::from_secs(5);

/// Questions of one agent's connection that wait for another node's answer.
pub const WIRE_ASKS: usize = 256;

/// How often a node tells of the viewers it has and the frames it took, at most.
pub const WIRE_FIGURES: Duration = Duration::from_millis(900);

/// How long a node's inbox stays on Redis without its node: three times what a healthy node needs to renew it, and
/// longer than a failover of Redis. Shorter, and a pause would end every wire; longer, and who waits for a dead
/// node waits longer.
pub const INBOX_LIFE: Duration = Duration::from_secs(10);

/// How often a node renews its inbox and looks whether those of the nodes it speaks to are there.
pub const INBOX_BEAT: Duration = Duration::from_secs(1);

/// Entries of an inbox that was not read. A node that reads trims behind itself; one that does not loses letters,
/// and is told.
pub const INBOX_ENTRIES: usize = 16 * 1024;

/// Letters in one entry, and their bytes: one write to Redis.
pub const BUNDLE: (usize, usize) = (256, 512 * 1024);

/// Entries read at once. Bounds what is in memory beside the mailbox.
pub const INBOX_READ: usize = 32;

/// Frames of one session that wait to be sent to other nodes, and their bytes: about a second of a good picture.
pub const FAR_FRAMES: (usize, usize) = (128, 4 * 1024 * 1024);
