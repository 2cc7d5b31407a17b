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

/// Devices of guests whose permissions are remembered in each of two generations; each takes some 200 bytes. At half of it a
/// large help desk forgets within a day, at double nobody gains.
pub const DEVICES: usize = 10_000;

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

/// Bits a second of a guest's screen, most and least, in thousands. Pictures of a whole screen take more than video does:
/// at half of the most a page that scrolls comes in jerks, at double it fills the line of a home.
pub const GUEST_KBPS_MAX: u64 = 8_000;
/// See [`GUEST_KBPS_MAX`].
pub const GUEST_KBPS_MIN: u64 = 150;

/// Between two pictures of a guest's screen: at least so long, however small they are (10 a second), and at most so
/// long, however slow the line is.
pub const GUEST_PICTURE_EVERY: Duration = Duration::from_millis(100);
/// See [`GUEST_PICTURE_EVERY`].
pub const GUEST_PICTURE_WITHIN: Duration = Duration::from_secs(3);

/// A guest's rate falls at most this often, or one slow moment would count many times; and rises after a quiet time.
pub const GUEST_FALL: Duration = Duration::from_secs(1);
/// See [`GUEST_FALL`].
pub const GUEST_RISE: Duration = Duration::from_secs(3);

/// What stood still of a guest's screen for so long is shown once more, sharper.
pub const GUEST_STILL: Duration = Duration::from_millis(400);

/// Side of the squares by which a guest's screen is compared: at half of it what each image says of itself outweighs what
/// it shows, at double a blinking caret costs four times the picture that it changes.
pub const GUEST_TILE: u16 = 64;

/// Most tiles of one frame; web/lib/tiles.js draws no more. A screen of 7,680 × 4,320 whose every other square changed has as many.
pub const GUEST_TILES: usize = 4_096;

/// Longest payload of tiles; more is a whole picture. Half of [`super::OUTBOX_BYTES`]: a relay that holds back a longer delta
/// gives it to nobody, while a key frame always fits.
pub const GUEST_TILES_BYTES: usize = 1024 * 1024;

/// Quality of a picture while the screen moves, when it stands still, and of one that was too large.
pub const GUEST_QUALITY: u8 = 70;
/// See [`GUEST_QUALITY`].
pub const GUEST_QUALITY_STILL: u8 = 90;
/// See [`GUEST_QUALITY`].
pub const GUEST_QUALITY_LOW: u8 = 30;

/// How long a guest's program waits for the server's answer, or for a connection.
pub const GUEST_ANSWER: Duration = Duration::from_secs(10);

/// How long the last words of a guest's program may take to go out.
pub const GUEST_LAST_WORD: Duration = Duration::from_secs(2);

/// How often a guest's program looks what its owner has allowed by now.
pub const GUEST_LOOK: Duration = Duration::from_millis(500);

/// First and longest step of coming back after a lost connection; a random part of each is waited.
pub const GUEST_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Characters of text that an agent may type at once, and clicks of the wheel in one event.
pub const GUEST_TEXT_CHARS: usize = 4_096;
/// See [`GUEST_TEXT_CHARS`]. Programs have this long to read a key that was given a character, before it is played.
pub const GUEST_KEY_LENT: Duration = Duration::from_millis(10);
/// See [`GUEST_TEXT_CHARS`].
pub const GUEST_WHEEL_CLICKS: i64 = 20;

/// How long an agent's input is held back after the person at the device moved its pointer. At half of it the two fight over
/// the pointer between one move and the next, at double the agent waits for nobody. As long as `web/share/own-input.js` waits.
pub const GUEST_OWN_INPUT: Duration = Duration::from_secs(1);
