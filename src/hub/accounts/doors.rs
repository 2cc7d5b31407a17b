//! The lockouts in front of sign-in and of guests: per agent named, per address that asks, and for the keys
//! that guests type also per group and altogether.
//!
//! Decides whom to turn away before any work is done. A right answer opens the agent's door again but not
//! the address's: else one good account would buy its owner endless guesses at others. An agent that does
//! not exist is locked like one that does.

use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use super::Accounts;
use crate::auth::attempts::{Attempts, Locked, Policy};
use crate::auth::opaque::{self, Digest};
use crate::clock::Tick;
use crate::ids::GroupId;
use crate::limits;

/// The counters.
pub(super) struct Doors {
    agents: Mutex<Attempts<Digest>>,
    addresses: Mutex<Attempts<IpAddr>>,
    /// Session keys that guests typed: of each group that was named, and of all.
    groups: Mutex<Attempts<GroupId>>,
    all: Mutex<Attempts<()>>,
}

/// Who knocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Knock {
    agent: Digest,
    address: IpAddr,
}

impl Knock {
    /// `kind` tells the names of an agent apart: an address is no partner user ID. Kept as a digest, so
    /// that long names cost no memory.
    pub(super) fn new(group: &GroupId, kind: &str, name: &str, from: IpAddr) -> Self {
        // Neither group nor kind can contain a space.
        Self { agent: opaque::digest_of(&format!("{group} {kind} {name}")), address: network(from) }
    }
}

impl Doors {
    pub(super) fn new() -> Self {
        Self {
            agents: Mutex::new(Attempts::new(Policy::STANDARD, limits::LOCKOUT_KEYS)),
            addresses: Mutex::new(Attempts::new(Policy::STANDARD, limits::LOCKOUT_KEYS)),
            groups: Mutex::new(Attempts::new(guesses(limits::WRONG_KEYS_OF_GROUP), limits::LOCKOUT_GROUPS)),
            all: Mutex::new(Attempts::new(guesses(limits::WRONG_KEYS), 1)),
        }
    }

    /// For how long this knock is turned away, if it is.
    pub(super) fn check(&self, now: Tick, knock: &Knock) -> Result<(), Duration> {
        let agent = self.agents.lock().check(now, &knock.agent);
        let address = self.addresses.lock().check(now, &knock.address);
        let until = |locked: Locked| locked.until.since(now);
        match (agent.map_err(until), address.map_err(until)) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(one), Err(two)) => Err(one.max(two)),
            (Err(wait), _) | (_, Err(wait)) => Err(wait),
        }
    }

    /// A wrong answer; says whether it locked a door.
    pub(super) fn wrong(&self, now: Tick, knock: &Knock) -> bool {
        let agent = self.agents.lock().wrong(now, knock.agent);
        let address = self.addresses.lock().wrong(now, knock.address);
        agent.is_err() || address.is_err()
    }

    /// A right answer.
    pub(super) fn right(&self, knock: &Knock) {
        self.agents.lock().success(&knock.agent);
    }
}

/// A guest's try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guess<'a> {
    /// A key was typed, perhaps with a group. A link cannot be guessed, and goes on when keys are locked.
    pub(super) key: Option<Option<&'a GroupId>>,
    /// From where.
    pub(super) address: IpAddr,
}

impl Doors {
    /// For how long a guest's try is turned away, if it is.
    pub(super) fn check_guess(&self, now: Tick, guess: Guess<'_>) -> Result<(), Duration> {
        let address = self.addresses.lock().check(now, &network(guess.address));
        let group = guess.key.flatten().map(|group| self.groups.lock().check(now, group));
        let all = guess.key.map(|_| self.all.lock().check(now, &()));
        let locks = [Some(address), group, all].into_iter().flatten().filter_map(Result::err);
        locks.map(|locked| locked.until.since(now)).max().map_or(Ok(()), Err)
    }

    /// A guest's wrong try; says whether it locked a door. Only groups that exist are counted.
    pub(super) fn wrong_guess(&self, now: Tick, guess: Guess<'_>) -> bool {
        let address = self.addresses.lock().wrong(now, network(guess.address));
        let group = guess.key.flatten().map(|group| self.groups.lock().wrong(now, group.clone()));
        let all = guess.key.map(|_| self.all.lock().wrong(now, ()));
        [Some(address), group, all].into_iter().flatten().any(|try_| try_.is_err())
    }
}

impl Accounts {
    /// For how long a guest is turned away unheard, if it is. `key`: it typed a session key, perhaps with a
    /// group; a link cannot be guessed.
    pub(in crate::hub) fn may_guess(
        &self,
        key: Option<Option<&GroupId>>,
        from: IpAddr,
    ) -> Result<(), Duration> {
        let guess = Guess { key: self.existing(key), address: from };
        self.inner.doors.check_guess(self.inner.clock.tick(), guess)
    }

    /// A guest's key or link led nowhere; says whether that locked a door.
    pub(in crate::hub) fn wrong_guess(&self, key: Option<Option<&GroupId>>, from: IpAddr) -> bool {
        let guess = Guess { key: self.existing(key), address: from };
        self.inner.doors.wrong_guess(self.inner.clock.tick(), guess)
    }

    /// Without a group that does not exist: nobody fills the counters with names.
    fn existing<'a>(&self, key: Option<Option<&'a GroupId>>) -> Option<Option<&'a GroupId>> {
        key.map(|group| group.filter(|group| self.group(group).is_some()))
    }
}

/// As for sign-in, but for so many tries.
const fn guesses(tries: u32) -> Policy {
    Policy { tries, ..Policy::STANDARD }
}

/// What one subscriber commands: an IPv4 address, or an IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knock(name: &str, from: &str) -> Knock {
        Knock::new(&GroupId::new("g").unwrap(), "address", name, from.parse().unwrap())
    }

    fn lock(doors: &Doors, names: impl Fn(u32) -> String, from: impl Fn(u32) -> String) {
        for n in 0..limits::WRONG_TRIES {
            assert!(doors.check(Tick(0), &knock(&names(n), &from(n))).is_ok(), "{n}");
            let locked = doors.wrong(Tick(0), &knock(&names(n), &from(n)));
            assert_eq!(locked, n + 1 == limits::WRONG_TRIES, "{n}");
        }
    }

    #[test]
    fn an_agent_is_locked_from_everywhere() {
        let doors = Doors::new();
        lock(&doors, |_| "alice".to_owned(), |n| format!("10.0.0.{n}"));
        assert_eq!(doors.check(Tick(0), &knock("alice", "10.9.9.9")), Err(limits::LOCK_TIME));
        assert_eq!(doors.check(Tick(0), &knock("bob", "10.0.0.1")), Ok(()));
    }

    #[test]
    fn an_address_is_locked_for_everybody() {
        let doors = Doors::new();
        lock(&doors, |n| format!("agent{n}"), |_| "10.0.0.1".to_owned());
        assert!(doors.check(Tick(0), &knock("fresh", "10.0.0.1")).is_err());
        assert!(doors.check(Tick(0), &knock("fresh", "::ffff:10.0.0.1")).is_err(), "the same, mapped");
        assert!(doors.check(Tick(0), &knock("fresh", "10.0.0.2")).is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let doors = Doors::new();
        lock(&doors, |n| format!("agent{n}"), |n| format!("2001:db8:0:1::{n}"));
        assert!(doors.check(Tick(0), &knock("fresh", "2001:db8:0:1:ffff::1")).is_err());
        assert!(doors.check(Tick(0), &knock("fresh", "2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn a_right_answer_clears_the_agent_only() {
        let doors = Doors::new();
        for _ in 1..limits::WRONG_TRIES {
            doors.wrong(Tick(0), &knock("alice", "10.0.0.1"));
        }
        doors.right(&knock("alice", "10.0.0.1"));
        assert!(!doors.wrong(Tick(0), &knock("alice", "10.0.0.2")), "counts from one again");
        assert!(doors.wrong(Tick(0), &knock("bob", "10.0.0.1")), "the address counts on");
    }

    fn guess<'a>(key: Option<Option<&'a GroupId>>, from: &str) -> Guess<'a> {
        Guess { key, address: from.parse().unwrap() }
    }

    #[test]
    fn guests_and_agents_share_the_doors_of_their_addresses() {
        let doors = Doors::new();
        for _ in 1..limits::WRONG_TRIES {
            assert!(!doors.wrong_guess(Tick(0), guess(Some(None), "10.0.0.1")));
        }
        assert!(doors.wrong(Tick(0), &knock("alice", "10.0.0.1")));
        for way in [None, Some(None)] {
            assert_eq!(doors.check_guess(Tick(0), guess(way, "10.0.0.1")), Err(limits::LOCK_TIME));
            assert_eq!(doors.check_guess(Tick(0), guess(way, "10.0.0.2")), Ok(()));
        }
    }

    #[test]
    fn keys_are_locked_for_all_where_many_guess_and_links_go_on() {
        let (doors, group) = (Doors::new(), GroupId::new("g").unwrap());
        let other = GroupId::new("h").unwrap();
        let from = |n: u32| format!("10.{}.{}.1", n / 256, n % 256);
        for n in 0..limits::WRONG_KEYS_OF_GROUP {
            let locked = doors.wrong_guess(Tick(0), guess(Some(Some(&group)), &from(n)));
            assert_eq!(locked, n + 1 == limits::WRONG_KEYS_OF_GROUP, "{n}");
        }
        let fresh = |key| doors.check_guess(Tick(0), guess(key, "192.0.2.1"));
        assert_eq!(fresh(Some(Some(&group))), Err(limits::LOCK_TIME));
        assert_eq!((fresh(Some(Some(&other))), fresh(Some(None)), fresh(None)), (Ok(()), Ok(()), Ok(())));
        for n in limits::WRONG_KEYS_OF_GROUP..limits::WRONG_KEYS {
            doors.wrong_guess(Tick(0), guess(Some(None), &from(n)));
        }
        for key in [Some(Some(&other)), Some(None)] {
            assert_eq!(fresh(key), Err(limits::LOCK_TIME));
        }
        assert_eq!(fresh(None), Ok(()), "a link is no guess");
        let later = Tick(u64::try_from(limits::LOCK_TIME.as_millis()).unwrap());
        assert_eq!(doors.check_guess(later, guess(Some(None), "192.0.2.1")), Ok(()));
    }

    #[test]
    fn names_of_different_kinds_are_different_doors() {
        let doors = Doors::new();
        lock(&doors, |_| "alice".to_owned(), |n| format!("10.0.0.{n}"));
        let group = GroupId::new("g").unwrap();
        let partner = Knock::new(&group, "partner", "alice", "10.9.9.9".parse().unwrap());
        assert!(doors.check(Tick(0), &partner).is_ok());
    }
}
