//! Numbers of guests: the keys they type, the links they are sent, and what is shown to them.

use std::time::Duration;

#[cfg(doc)]
use super::{LOCK_TIME, LOCK_WINDOW, WRONG_TRIES};

/// Digits of a session key that a guest types, and fewest and most that may be set. Whoever types it proves
/// nothing else, so it is a secret; [`WRONG_KEYS`] says what guessing takes.
pub const GUEST_KEY_DIGITS: u32 = 9;
/// See [`GUEST_KEY_DIGITS`].
pub const GUEST_KEY_DIGITS_RANGE: (u32, u32) = (9, 12);

/// Links into one session. One serves any number of guests; more are for guests who are known.
pub const INVITES: usize = 256;

/// Sessions in which one agent may show its own screen at the same time. People show one; a second or third may
/// wait for its guests.
pub const SHOWS_PER_AGENT: usize = 5;

/// Guests whose screens one agent may wait for or watch at the same time, of those it asked for itself. People help
/// one guest; others may have been given a code and not come yet.
pub const VIEWS_PER_AGENT: usize = 5;

/// Longest title above a screen that is shown, and longest name of a guest: a line each.
pub const TITLE_BYTES: usize = 200;
/// See [`TITLE_BYTES`].
pub const GUEST_NAME_BYTES: usize = 128;

/// What a guest is called who tells no name.
pub const GUEST_NAME: &str = "Guest";

/// Longest name of a device and of its platform, as a guest tells them.
pub const DEVICE_BYTES: usize = 64;

/// How long a guest's call waits for its ticket: as long as a receipt may take, and then some.
pub const GUEST_WAIT: Duration = Duration::from_secs(6);

/// Wrong session keys typed by guests who named one group, and of all guests together, within [`LOCK_WINDOW`]
/// before nobody may type one for [`LOCK_TIME`]; links go on. An address is locked after [`WRONG_TRIES`], so that
/// it takes 250 of them for a group and 500 for a server, however many nodes it has. Those 500 can make 5,000 tries each 25 minutes: in a whole
/// day they hit one of 100 live keys of nine digits with 3 in 100, of twelve digits with 3 in 100,000.
pub const WRONG_KEYS_OF_GROUP: u32 = 2_500;
/// See [`WRONG_KEYS_OF_GROUP`].
pub const WRONG_KEYS: u32 = 5_000;

/// Groups whose wrong session keys are counted in each of two generations: those under attack at one time. Each
/// takes up to 20 KB.
pub const LOCKOUT_GROUPS: usize = 500;
