//! The numbers of saved sessions, each with its reason. Part of [`super`], where everybody reads them.

use std::time::Duration;

/// Largest session that is saved. 256 links for guests who are known make 130 KB, the terms twice 16 KB, 64
/// viewers with their tickets 40 KB; escapes may double it.
pub const SAVED_BYTES: usize = 1024 * 1024;

/// How much longer than the longest session a saved one is kept after it was last saved: whoever could have gone
/// on with it did so within minutes. So long it is known of one that ended, too, that it did: a node that stood
/// still cannot bring it back.
pub const SAVED_MARGIN: Duration = Duration::from_secs(3600);

/// Sessions let go of by one write to the vault because their time is over: it stays a write of microseconds.
pub const SAVED_SWEEP: usize = 32;

/// Sessions that are saved at the same time by one node. Redis answers in less than a millisecond, so that a node
/// saves some ten thousand in a second.
pub const SAVES_AT_ONCE: usize = 16;

/// How long a ticket waits for its session to be saved, if the vault answered last time: a Redis that lives
/// answers within milliseconds, and a person who pressed a button waits for a second without wondering.
pub const SAVE_WAIT: Duration = Duration::from_secs(1);

/// Wait before a session is saved again when that failed.
pub const SAVE_RETRY: Duration = Duration::from_secs(1);

/// How long a session that is to be handed over may take to say what it began to say: a receipt and a save, each with
/// a flush of a disk. After that it ends with its node.
pub const HANDOVER_WAIT: Duration = Duration::from_secs(3);

/// How often a node that drains looks whether its visitors have come to other nodes: soon enough that it does not keep
/// its operator waiting, and a few readings at a time.
pub const HANDOVER_LOOK: Duration = Duration::from_millis(500);

/// How long a visitor who is sent to another node is not absent at the least, whatever its group says: it was asked to
/// go, and comes back within a second.
pub const HANDOVER_GRACE: Duration = Duration::from_secs(5);

/// How often the page of an agent whose session lost its node is looked after: whether the session is somewhere again.
pub const FOLLOW_LOOK: Duration = Duration::from_secs(1);

/// How often a node looks for sessions whose node is gone. Nobody waits for it: who comes back is let in at once.
pub const REAP: Duration = Duration::from_secs(10);

/// Sessions of one group that one look takes on: their ends are a few writes each.
pub const REAPED: usize = 100;

/// Sessions read at a time where lists show those of other nodes: at some KB each, Redis is done within milliseconds.
pub const SEEN_READ: usize = 500;

/// How long it is known of a session of another node that it ended, so that no older word brings it back.
pub const FAR_ENDED: Duration = Duration::from_secs(60);

/// Words of this node's visitors to other nodes' agents that wait to be told; further ones are dropped, as they are
/// while Redis is away.
pub const MESSAGES_OUT: usize = 1_024;

/// How long an agent who shows a screen waits for its session key, which no other session may have: without one the
/// guests have the link alone, so that a Redis that is slow for a moment is waited for.
pub const KEY_WAIT: Duration = Duration::from_secs(3);

/// How often an agent's fixed session key is asked for that a session still has: the one before it may be giving it
/// back at this moment. Then the session has a random one.
pub const FIXED_KEY_TRIES: usize = 3;

/// The pause before it is asked for again: several times what a vault takes to give one back, and nothing to an agent
/// who opens a session.
pub const FIXED_KEY_PAUSE: Duration = Duration::from_millis(100);
