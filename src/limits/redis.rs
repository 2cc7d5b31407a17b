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

/// Wait before what another node changed is read again, at first and at most.
pub const NEWS_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
