//! Counts wrong tries and locks who makes too many of them.
//!
//! Decides whether a key (an agent, an address) may try now. Does not decide what a try is, nor keep
//! time. Sans-IO; [`crate::hub`] asks before and tells after each try.
//!
//! Memory is bounded by two generations of keys: when the younger is full it becomes the older, and what
//! the older held is forgotten. Every touch moves a key into the younger, so a key under attack stays.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::clock::Tick;

/// How many wrong tries within which time lock for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Wrong tries that lock.
    pub tries: u32,
    /// The time within which they count together.
    pub window: Duration,
    /// How long the lock holds.
    pub lock: Duration,
}

impl Policy {
    /// The policy for sign-in and session keys, unless the operator sets another.
    pub const STANDARD: Self = Self {
        tries: crate::limits::WRONG_TRIES,
        window: crate::limits::LOCK_WINDOW,
        lock: crate::limits::LOCK_TIME,
    };

    /// The same for a door that many people share: only the number of tries is another.
    pub const fn of_many(self, tries: u32) -> Self {
        Self { tries, ..self }
    }
}

impl From<&crate::limits::Limits> for Policy {
    fn from(limits: &crate::limits::Limits) -> Self {
        Self { tries: limits.wrong_tries, window: limits.lock_window, lock: limits.lock_time }
    }
}

/// The key is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("locked after too many wrong tries")]
pub struct Locked {
    /// When it opens again.
    pub until: Tick,
}

/// Wrong tries per key.
#[derive(Debug)]
pub struct Attempts<K> {
    policy: Policy,
    capacity: usize,
    young: HashMap<K, Entry>,
    old: HashMap<K, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    /// When the tries that still count were made, oldest first.
    wrong: Vec<Tick>,
    locked_until: Option<Tick>,
}

impl<K: Eq + Hash> Attempts<K> {
    /// An empty counter that remembers at least `capacity` and at most twice as many keys.
    pub fn new(policy: Policy, capacity: usize) -> Self {
        Self { policy, capacity: capacity.max(1), young: HashMap::new(), old: HashMap::new() }
    }

    /// Whether the key may try now.
    pub fn check(&self, now: Tick, key: &K) -> Result<(), Locked> {
        let entry = self.young.get(key).or_else(|| self.old.get(key));
        match entry.and_then(|entry| entry.locked_until) {
            Some(until) if now < until => Err(Locked { until }),
            _ => Ok(()),
        }
    }

    /// Counts a wrong try; says so when it locks the key, or when the key was locked already.
    ///
    /// A try during a lock does not prolong it: who is locked out by somebody else's guesses gets back in.
    pub fn wrong(&mut self, now: Tick, key: K) -> Result<(), Locked> {
        let mut entry = self.young.remove(&key).or_else(|| self.old.remove(&key)).unwrap_or_default();
        if entry.locked_until.is_some_and(|until| until <= now) {
            entry = Entry::default();
        }
        if entry.locked_until.is_none() {
            entry.wrong.retain(|tried| now < tried.after(self.policy.window));
            entry.wrong.push(now);
            if entry.wrong.len() >= self.policy.tries as usize {
                entry.wrong = Vec::new();
                entry.locked_until = Some(now.after(self.policy.lock));
            }
        }
        let locked = entry.locked_until;
        self.insert(key, entry);
        locked.map_or(Ok(()), |until| Err(Locked { until }))
    }

    /// Forgets the key's wrong tries.
    pub fn success(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// Keys remembered now.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn insert(&mut self, key: K, entry: Entry) {
        if self.young.len() >= self.capacity {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: Policy =
        Policy { tries: 3, window: Duration::from_secs(10), lock: Duration::from_secs(60) };

    fn counter() -> Attempts<u32> {
        Attempts::new(POLICY, 4)
    }

    fn s(seconds: u64) -> Tick {
        Tick(seconds * 1000)
    }

    #[test]
    fn the_third_wrong_try_locks() {
        let mut tries = counter();
        assert_eq!(tries.wrong(s(0), 1), Ok(()));
        assert_eq!(tries.wrong(s(1), 1), Ok(()));
        assert_eq!(tries.check(s(1), &1), Ok(()));
        assert_eq!(tries.wrong(s(2), 1), Err(Locked { until: s(62) }));
        assert_eq!(tries.check(s(61), &1), Err(Locked { until: s(62) }));
        assert_eq!(tries.check(s(61), &2), Ok(()), "another key is free");
        assert_eq!(tries.check(s(62), &1), Ok(()));
    }

    #[test]
    fn tries_in_a_lock_do_not_prolong_it_and_after_it_count_anew() {
        let mut tries = counter();
        for at in 0..3 {
            let _ = tries.wrong(s(at), 1);
        }
        assert_eq!(tries.wrong(s(30), 1), Err(Locked { until: s(62) }));
        assert_eq!(tries.wrong(s(62), 1), Ok(()));
        assert_eq!(tries.wrong(s(63), 1), Ok(()));
        assert_eq!(tries.wrong(s(64), 1), Err(Locked { until: s(124) }));
    }

    #[test]
    fn only_tries_within_the_window_count() {
        let mut tries = counter();
        assert_eq!(tries.wrong(s(0), 1), Ok(()));
        assert_eq!(tries.wrong(s(9), 1), Ok(()));
        assert_eq!(tries.wrong(s(10), 1), Ok(()), "the first has left the window");
        assert!(tries.wrong(s(11), 1).is_err());
    }

    #[test]
    fn success_clears() {
        let mut tries = counter();
        let _ = tries.wrong(s(0), 1);
        let _ = tries.wrong(s(1), 1);
        tries.success(&1);
        assert!(tries.is_empty());
        assert_eq!(tries.wrong(s(2), 1), Ok(()));
    }

    #[test]
    fn a_key_that_keeps_trying_outlives_a_flood() {
        let mut tries = counter();
        let _ = tries.wrong(s(0), 1);
        for other in 100..103 {
            let _ = tries.wrong(s(0), other);
        }
        let _ = tries.wrong(s(1), 1);
        for other in 200..203 {
            let _ = tries.wrong(s(1), other);
        }
        assert!(tries.wrong(s(2), 1).is_err());
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_nobody_gets_more_tries(
            keys in proptest::collection::vec(0u32..3, 0..60)
        ) {
            let mut tries = counter();
            let mut free = [0u32; 3];
            for key in keys {
                if tries.check(s(5), &key).is_ok() {
                    free[key as usize] += 1;
                    let _ = tries.wrong(s(5), key);
                }
                prop_assert!(tries.len() <= 8);
            }
            prop_assert!(free.iter().all(|count| *count <= POLICY.tries));
        }

        #[test]
        fn a_flood_of_keys_is_bounded(keys in proptest::collection::vec(any::<u32>(), 0..200)) {
            let mut tries = counter();
            for key in keys {
                let _ = tries.wrong(s(0), key);
                prop_assert!(tries.len() <= 8);
            }
        }
    }
}
