//! The numbers of the event log on Redis, each with its reason. Part of [`super`], where everybody reads them.

use std::time::Duration;

/// Time for one command of the log, the way back to a connection included. A script takes milliseconds; what
/// takes longer than this is away, and events wait in memory meanwhile.
pub const REDIS_ANSWER: Duration = Duration::from_secs(5);

/// How often the log sends itself a word through Redis, and looks whether Redis is fit to keep anything.
pub const REDIS_PROBE: Duration = Duration::from_secs(4);

/// Without a word for this long the subscription is dead, whatever its socket says: two words lost, and noticed
/// at the next beat, within 15 s.
pub const REDIS_SILENCE: Duration = Duration::from_secs(10);

/// Wait before Redis is connected to again, at first and at most. It is back within seconds of its restart.
pub const REDIS_RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Wait before what other nodes have of a group is read again when it could not be: a beat or two later Redis is there again.
pub const REREAD_RETRY: Duration = Duration::from_secs(1);

/// Wait before what another node changed is read again, at first and at most.
pub const NEWS_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Places of a chain of receipts that a node tries to take before it gives up. Each time another node took one; ten
/// nodes that append all the time leave one out so often about once in a billion.
pub const RECEIPT_TRIES: usize = 200;

/// Times that the sinks of a group are read anew because others changed some meanwhile: people do, one at a time.
pub const SINK_TRIES: usize = 50;

/// Groups that Redis is asked about at once where all of them are looked at.
pub const REDIS_AT_ONCE: usize = 64;

/// How long a lease lasts without a word of its holder: whoever dies is followed within this time and one more try.
pub const REDIS_LEASE: Duration = Duration::from_secs(10);

/// How often a lease is renewed: two words may be lost before its holder gives it up.
pub const REDIS_LEASE_RENEW: Duration = Duration::from_secs(3);

/// How much earlier than Redis the holder of a lease takes it for lost. Clocks of two machines differ by some
/// milliseconds in ten seconds; the rest is time to stop in.
pub const REDIS_LEASE_MARGIN: Duration = Duration::from_secs(2);

/// How often a lease is asked for by those who do not have it, and again by its holder when it got no answer.
pub const REDIS_LEASE_TRY: Duration = Duration::from_secs(1);
/// The oldest Redis: streams tell what was read of them, and scripts are refused keys that are not theirs.
pub const REDIS_MAJOR: u32 = 7;

/// How long the settings let a start wait for Redis. A machine that is started with everything on it takes about
/// as long; an orchestrator takes the process for hung at twice that.
pub const REDIS_WAIT: Duration = Duration::from_secs(30);

/// Time for a Sentinel to be connected to, and again to answer. All are asked at once: two of these and a
/// connection to the primary fit in [`REDIS_ANSWER`].
pub const REDIS_SENTINEL: Duration = Duration::from_secs(1);

/// Time for a member of a Redis Cluster to be connected to; others wait meanwhile. Two of them fit in
/// [`REDIS_ANSWER`].
pub const REDIS_MEMBER: Duration = Duration::from_secs(2);

/// Wait before a member of a Redis Cluster is asked again what it refused for the slot's sake, at first and at
/// most. A slot is elsewhere within milliseconds; a failover takes seconds.
pub const REDIS_REDIRECT: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// What waits at most for somebody who hears Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    /// How many words.
    pub words: usize,
    /// How many bytes, names of channels included.
    pub bytes: usize,
}

/// Changes of visitors that wait for a node. A storm of arrivals brings some ten thousand a second; who is a second
/// behind reads what it watches faster than it hears it.
pub const PRESENCE_HEARD: Most = Most { words: 10_000, bytes: 16 << 20 };

/// Frames of other nodes that wait for the replicas that feed viewers here. They are passed on at once and dropped there
/// by rules of their own, so that more than some only wait when this node has no time at all.
pub const FRAMES_HEARD: Most = Most { words: 4_000, bytes: 32 << 20 };

/// Words on logs, groups and agents that wait for the store. Each is a few bytes, and reading makes up for all.
pub const STORE_HEARD: Most = Most { words: 10_000, bytes: 4 << 20 };

/// How often a listener sends itself a word over each connection for channels of shards. It is a word a second for each
/// primary, which costs nothing.
pub const SHARD_PROBE: Duration = Duration::from_secs(1);

/// Without such a word for this long a connection is dead, whatever its socket says: what it would have told is read
/// as soon as another one is there.
pub const SHARD_SILENCE: Duration = Duration::from_secs(5);
