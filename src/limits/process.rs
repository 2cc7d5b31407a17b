//! Numbers of the process among others: who asks it, and whom it tells.

use std::time::Duration;

/// Time for `porchlight healthcheck` in all. An answer takes a millisecond; half would call a machine sick that
/// swaps for a moment, double would outlast the 5 s that container engines are told to wait.
pub const HEALTHCHECK_TIME: Duration = Duration::from_secs(4);

/// Bytes of a health answer that are read; one is a word.
pub const HEALTHCHECK_ANSWER: usize = 1024;

/// Signs of life within the time after which the service manager ends a silent process. With one, a sign that is
/// late by a moment would end a process that is well; systemd itself advises two.
pub const WATCHDOG_SIGNS: u32 = 2;
