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
