//! The lockouts in front of sign-in: per agent named, and per address that asks.
//!
//! Decides whom to turn away before any work is done. A right answer opens the agent's door again but not
//! the address's: else one good account would buy its owner endless guesses at others. An agent that does
//! not exist is locked like one that does.

use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use crate::auth::attempts::{Attempts, Locked, Policy};
use crate::auth::opaque::{self, Digest};
use crate::clock::Tick;
use crate::ids::GroupId;
use crate::limits;

/// The counters.
pub(super) struct Doors {
    agents: Mutex<Attempts<Digest>>,
    addresses: Mutex<Attempts<IpAddr>>,
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

    #[test]
    fn names_of_different_kinds_are_different_doors() {
        let doors = Doors::new();
        lock(&doors, |_| "alice".to_owned(), |n| format!("10.0.0.{n}"));
        let group = GroupId::new("g").unwrap();
        let partner = Knock::new(&group, "partner", "alice", "10.9.9.9".parse().unwrap());
        assert!(doors.check(Tick(0), &partner).is_ok());
    }
}
