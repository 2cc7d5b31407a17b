//! Numbers of the process among others: who asks it, whom it tells, and what it uses of the machine.

use std::time::Duration;

/// Time for `porchlight healthcheck` in all. An answer takes a millisecond; half would call a machine sick that
/// swaps for a moment, double would outlast the 5 s that container engines are told to wait.
pub const HEALTHCHECK_TIME: Duration = Duration::from_secs(4);

/// Bytes of a health answer that are read; one is a word.
pub const HEALTHCHECK_ANSWER: usize = 1024;

/// Signs of life within the time after which the service manager ends a silent process. With one, a sign that is
/// late by a moment would end a process that is well; systemd itself advises two.
pub const WATCHDOG_SIGNS: u32 = 2;

/// Most wrong tries that an operator may allow before the door is locked: guessing is then ten times as fast as usual.
pub const WRONG_TRIES_MOST: u32 = 100;

/// How long `porchlight doctor` waits for what browsers would reach: as long as a person looks at a blank page.
pub const DOCTOR_ANSWER: Duration = Duration::from_secs(10);

/// Connections below which `porchlight doctor` finds the file limit worth a look: systemd's own default, 1,024 soft, is
/// raised to 524,288 at the start, so that fewer were chosen by somebody.
pub const DOCTOR_CONNECTIONS: u64 = 10_000;

/// Days that a certificate should still hold, as many as the alert allows.
pub const DOCTOR_CERTIFICATE_DAYS: i64 = 14;

/// Seconds that two clocks may be apart. Login keys may be good for minutes only, and records of nodes are put in order
/// by their time.
pub const DOCTOR_CLOCKS_APART: u64 = 5;

/// Bytes of memory from which on a limit is none. The first edition of control groups tells the largest number of whole
/// pages, just below 2^63, where there is no limit, and another one for each size of a page.
pub const NO_MEMORY_LIMIT: u64 = 1 << 60;

/// Bytes that should be free where the data is, for `porchlight doctor`: a busy group's events of 100 days are a
/// gigabyte.
pub const DOCTOR_FREE_BYTES: u64 = 1 << 30;

/// Share of the file descriptors from which on new connections are refused, in percent. With fewer, a node of 20,000
/// descriptors could not hold the 15,000 connections that it can otherwise; with more, nothing would be left for the
/// ops and admin listeners, the store and the nodes among each other. It is met where other things than connections
/// use descriptors: those have a ceiling of their own, below.
pub const FILES_PERCENT: u32 = 95;

/// Share of the memory from which on new work is refused, in percent. What runs may still grow: a tenth of 1 GiB is the
/// caches of a dozen busy sessions. With more, the kernel would end the process before anybody is refused.
pub const MEMORY_PERCENT: u32 = 90;

/// How far below its mark something must fall before new work is taken again, in percent of the mark. Without a gap each
/// connection that goes would change readiness, and balancers with it.
pub const ROOM_AGAIN_PERCENT: u32 = 5;

/// Between two looks at what the process uses. A look reads three small files of the kernel; at half nobody would see a
/// difference, at double a rush of connections has used up the rest before it is seen.
pub const ROOM_LOOK: Duration = Duration::from_secs(1);

/// Descriptors that the public listener keeps for when there are no others: one at a time is told that there is no room.
pub const PUBLIC_SPARES: usize = 1;

/// Descriptors that the ops and the admin listener each keep for then: a probe, a scrape, and an operator who looks and
/// drains are served all the same.
pub const OPERATOR_SPARES: usize = 8;

/// Connections to the admin listener at once. Consoles, scripts and connectors hold one each; who has no key holds one,
/// too, until it has said nothing for long enough.
pub const ADMIN_CONNECTIONS: usize = 512;

/// How long a connection to the admin listener may take to say that it speaks HTTP/2: as long as over an HTTP head.
pub const ADMIN_PREFACE: Duration = Duration::from_secs(5);

/// Longest log filter that an operator may set under way: some dozen modules by name.
pub const LOG_FILTER_BYTES: usize = 1024;

/// Longest time that it may hold: whoever forgets it has a log of days.
pub const LOG_HOLD: Duration = Duration::from_secs(24 * 3600);

/// Spans that may wait to be sent: those of some 300 joins, a quarter of a megabyte. Beyond them new ones are dropped,
/// so that a collector that is away costs no more.
pub const TRACE_QUEUE: usize = 2_048;

/// Spans in one message to the collector: with 200 bytes each a tenth of a megabyte, far below the 4 MiB that collectors
/// take.
pub const TRACE_BATCH: usize = 512;

/// How long a span waits for others. Half would double the messages of a quiet node; whoever looks for a trace waits
/// longer for the collector.
pub const TRACE_DELAY: Duration = Duration::from_secs(2);

/// How long the collector may take to connect, and to answer. One on the same network takes milliseconds; more would
/// fill the queue behind one that hangs.
pub const TRACE_ANSWER: Duration = Duration::from_secs(5);

/// How long a node that ends waits for its last spans to be taken. A collector that is there needs milliseconds; the
/// unit of systemd leaves 10 s beyond the drain, of which other parts need some.
pub const TRACE_CLOSE: Duration = Duration::from_secs(3);

/// Time between two warnings that the collector is away. Each batch, every few seconds, would say the same; half an hour
/// would let somebody look at the log in vain.
pub const TRACE_WARNING: Duration = Duration::from_secs(600);
