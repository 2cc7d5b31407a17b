//! Session keys: the digits that a guest types to come into a session.
//!
//! Decides their form, that no two live sessions of a node have the same one, and which session a key leads to.
//! Does not decide who may try, nor how often: that is the caller's, as is chance, and that no other node gave the
//! same key out.
//!
//! A key that a guest types is a secret, and so only its digest is kept, over a pepper that only the server's nodes
//! know: the same for all, so that each finds the keys of all.

use std::collections::HashMap;

use crate::auth::opaque::{self, Digest};
use crate::ids::SessionId;

/// The keys of the live sessions of one node, of all its groups: whoever types a key need not name a group.
pub struct SessionKeys {
    pepper: String,
    sessions: HashMap<Digest, SessionId>,
    keys: HashMap<SessionId, Digest>,
}

/// How often a key that is taken already is drawn anew. With one in ten of all keys taken, fewer than one in
/// 10^32 sessions goes without.
const DRAWS: usize = 32;

/// What was typed, without the blanks and hyphens that people put between digits.
pub fn plain(typed: &str) -> String {
    typed.chars().filter(|c| !matches!(c, ' ' | '-')).collect()
}

/// So many keys of so many digits may be in use: one in ten.
pub fn most(digits: u32) -> u64 {
    10u64.saturating_pow(digits) / 10
}

/// The key that a secret stands for, always the same of so many digits.
pub fn of_secret(secret: &[u8; 32], digits: u32) -> String {
    let (head, _) = secret.split_first_chunk().expect("32 bytes begin with 16");
    let number = u128::from_be_bytes(*head) % 10u128.pow(digits);
    format!("{number:0width$}", width = digits as usize)
}

impl SessionKeys {
    /// None yet. The pepper is a secret.
    pub fn new(pepper: &[u8]) -> Self {
        let pepper = pepper.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { pepper, sessions: HashMap::new(), keys: HashMap::new() }
    }

    /// A fresh key for a session that has none, of so many digits, which `draw` yields. None when one in ten
    /// of all keys is in use, so that a mistyped digit seldom opens another door.
    pub fn issue(
        &mut self,
        session: SessionId,
        digits: u32,
        mut draw: impl FnMut(u32) -> String,
    ) -> Option<String> {
        if self.is_full(digits) {
            return None;
        }
        let (key, digest) = (0..DRAWS)
            .map(|_| draw(digits))
            .map(|key| (self.digest(&key), key))
            .find_map(|(digest, key)| (!self.sessions.contains_key(&digest)).then_some((key, digest)))?;
        self.sessions.insert(digest, session);
        self.keys.insert(session, digest);
        Some(key)
    }

    /// This very key for a session that has none. None when another session has it, and as [`SessionKeys::issue`].
    pub fn claim(&mut self, session: SessionId, key: &str, digits: u32) -> Option<Digest> {
        let digest = self.digest(key);
        if self.is_full(digits) || self.sessions.contains_key(&digest) {
            return None;
        }
        self.keep(session, digest);
        Some(digest)
    }

    fn is_full(&self, digits: u32) -> bool {
        self.sessions.len() as u64 >= most(digits)
    }

    /// A session that began on another node keeps its key.
    pub fn keep(&mut self, session: SessionId, key: Digest) {
        self.sessions.insert(key, session);
        self.keys.insert(session, key);
    }

    /// The session that a key leads to. People may put blanks and hyphens between the digits.
    pub fn find(&self, typed: &str) -> Option<SessionId> {
        self.lookup(&self.digest_of(typed))
    }

    /// The same by what is kept of a key.
    pub fn lookup(&self, key: &Digest) -> Option<SessionId> {
        self.sessions.get(key).copied()
    }

    /// What is kept of what somebody typed.
    pub fn digest_of(&self, typed: &str) -> Digest {
        self.digest(&plain(typed))
    }

    /// What is kept of a session's key.
    pub fn of(&self, session: SessionId) -> Option<Digest> {
        self.keys.get(&session).copied()
    }

    /// The session has ended: its key leads nowhere, and may be drawn again.
    pub fn free(&mut self, session: SessionId) -> Option<Digest> {
        let digest = self.keys.remove(&session)?;
        self.sessions.remove(&digest);
        Some(digest)
    }

    fn digest(&self, key: &str) -> Digest {
        opaque::digest_of(&format!("{} {key}", self.pepper))
    }
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionKeys({} live)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn session(number: u128) -> SessionId {
        SessionId::from_u128(number)
    }

    /// Draws the numbers one after the other.
    fn counting(first: u64) -> impl FnMut(u32) -> String {
        let mut next = first;
        move |digits| {
            next += 1;
            format!("{:0width$}", next - 1, width = digits as usize)
        }
    }

    #[test]
    fn a_key_leads_to_its_session_until_it_is_freed() {
        let mut keys = SessionKeys::new(&[7]);
        let key = keys.issue(session(1), 9, counting(42)).unwrap();
        assert_eq!(key, "000000042");
        for typed in ["000000042", "000 000 042", "000-000-042"] {
            assert_eq!(keys.find(typed), Some(session(1)), "{typed}");
        }
        for wrong in ["", "42", "000000043", "0000000420", "000000042\n"] {
            assert_eq!(keys.find(wrong), None, "{wrong}");
        }
        assert_eq!(keys.issue(session(2), 9, counting(42)).as_deref(), Some("000000043"), "the next one");
        keys.free(session(1));
        assert_eq!(keys.find("000000042"), None);
        assert_eq!(keys.issue(session(3), 9, counting(42)).as_deref(), Some("000000042"), "free again");
    }

    #[test]
    fn a_key_that_is_asked_for_is_given_while_no_other_session_has_it() {
        let mut keys = SessionKeys::new(&[7]);
        assert!(keys.claim(session(1), "000000042", 9).is_some());
        assert_eq!(keys.find("000 000 042"), Some(session(1)));
        assert_eq!(keys.claim(session(2), "000000042", 9), None);
        assert_eq!(
            keys.issue(session(2), 9, counting(42)).as_deref(),
            Some("000000043"),
            "none is drawn twice"
        );
        keys.free(session(1));
        assert_eq!(keys.claim(session(3), "000000042", 9), keys.of(session(3)));
        assert_eq!(keys.find("000000042"), Some(session(3)));
    }

    #[test]
    fn a_secret_stands_for_a_key_of_any_length() {
        let mut secret = [0; 32];
        secret[15] = 42;
        assert_eq!(of_secret(&secret, 9), "000000042");
        for digits in 4..=12 {
            assert_eq!(of_secret(&[0xff; 32], digits).len(), digits as usize);
        }
        assert_eq!(of_secret(&[0xff; 32], 9), "768211455", "the end of 2^128 - 1");
    }

    #[test]
    fn a_tenth_of_all_keys_is_the_most() {
        let mut keys = SessionKeys::new(&[7]);
        let mut draw = counting(0);
        for number in 0..1_000 {
            assert!(keys.issue(session(number), 4, &mut draw).is_some(), "{number}");
        }
        assert_eq!(keys.issue(session(1_000), 4, &mut draw), None);
        assert_eq!(keys.find("0001"), Some(session(1)));
        keys.free(session(5));
        assert!(keys.issue(session(1_000), 4, &mut draw).is_some());
    }

    #[test]
    fn no_key_is_printed() {
        let mut keys = SessionKeys::new(&[7]);
        keys.issue(session(1), 9, counting(123_456_789)).unwrap();
        assert_eq!(format!("{keys:?}"), "SessionKeys(1 live)");
    }

    proptest! {
        #[test]
        fn live_keys_differ(draws in prop::collection::vec((0u64..40, any::<bool>()), 1..200)) {
            let mut keys = SessionKeys::new(&[1]);
            let mut live: HashMap<String, SessionId> = HashMap::new();
            for (number, (first, frees)) in draws.into_iter().enumerate() {
                let this = session(number as u128);
                if let Some(key) = keys.issue(this, 4, counting(first)) {
                    prop_assert_eq!(key.len(), 4);
                    prop_assert!(live.insert(key, this).is_none(), "two sessions with one key");
                }
                if frees {
                    keys.free(this);
                    live.retain(|_, session| *session != this);
                }
                for (key, session) in &live {
                    prop_assert_eq!(keys.find(key), Some(*session));
                }
            }
        }
    }
}
