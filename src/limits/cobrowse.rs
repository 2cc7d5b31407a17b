//! Numbers of cobrowsing: changes of a page are small, far apart, and each is needed for all that follow.

use std::time::Duration;

#[cfg(doc)]
use super::{CACHE_BYTES, OUTBOX_AGE, STUCK};

/// How late a viewer may be with changes of a page before it waits for a snapshot: longer than [`OUTBOX_AGE`],
/// since a snapshot with its pictures takes 6 s at 4 Mbit/s, and what happens meanwhile must not cost another
/// one. Below [`STUCK`], after which the viewer is closed.
pub const DOM_LATE: Duration = Duration::from_secs(15);

/// Changes kept behind one snapshot: some seven minutes of a page that never rests, at 10 a second. With more,
/// who comes late is served a new snapshot; what they take is bounded by [`CACHE_BYTES`] too.
pub const DOM_CHANGES: u64 = 4_096;

/// Bytes of changes behind a snapshot that a late joiner is given with it. They are applied in a moment, however
/// long it took to make them; twice as many would take longer than a new snapshot of the page.
pub const DOM_FRESH_BYTES: usize = 512 * 1024;

/// What an agent points at is passed on this often: 20 a second look smooth, and leave room for everything else under
/// the 50 messages a second that a participant may send. Twice as many would move no better, half of them in leaps.
pub const POINT_SPACING: Duration = Duration::from_millis(50);
