//! The lockouts in front of sign-in and of guests: per agent named, per address that asks, and for the keys
//! that guests type also per group and altogether.
//!
//! Decides whom to turn away before any work is done. A right answer opens the agent's door again but not
//! the address's: else one good account would buy its owner endless guesses at others. An agent that does
//! not exist is locked like one that does.
//!
//! Each node counts what was tried there, and where nodes share a store that counts for all of them: what it locks is
//! locked on every node as soon as that hears of it. A node that has not heard learns it from its next wrong try. While
//! the store is away the node's own counters hold.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Weak;
use std::time::Duration;

use aws_lc_rs::hmac;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::{Accounts, Inner};
use crate::auth::attempts::{Attempts, Locked, Policy};
use crate::auth::opaque::Digest;
use crate::clock::Tick;
use crate::ids::{AgentKey, GroupId};
use crate::limits;
use crate::store::DoorNews;

/// The counters.
pub(super) struct Doors {
    agents: Mutex<Attempts<Digest>>,
    addresses: Mutex<Attempts<IpAddr>>,
    /// Session keys that guests typed: of each group that was named, and of all.
    groups: Mutex<Attempts<GroupId>>,
    all: Mutex<Attempts<()>>,
    /// What doors are called where nodes share them: nobody else learns a name or address by it.
    key: hmac::Key,
    /// What locks an agent and an address.
    policy: Policy,
    /// Doors that were locked for all nodes, and until when.
    locked: Mutex<HashMap<Digest, Tick>>,
    /// Since when so many wrong tries were told to the store.
    told: Mutex<(Tick, u32)>,
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
    pub(super) fn new(doors: &Doors, group: &GroupId, kind: &str, name: &str, from: IpAddr) -> Self {
        // Neither group nor kind can contain a space.
        Self { agent: doors.name("agent", &format!("{group} {kind} {name}")), address: network(from) }
    }
}

impl Doors {
    /// Nothing was tried. Whoever has the key finds the names of doors.
    pub(super) fn new(key: &[u8; 32], policy: Policy) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            policy,
            locked: Mutex::default(),
            told: Mutex::default(),
            agents: Mutex::new(Attempts::new(policy, limits::LOCKOUT_KEYS)),
            addresses: Mutex::new(Attempts::new(policy, limits::LOCKOUT_KEYS)),
            groups: Mutex::new(Attempts::new(
                policy.of_many(limits::WRONG_KEYS_OF_GROUP),
                limits::LOCKOUT_GROUPS,
            )),
            all: Mutex::new(Attempts::new(policy.of_many(limits::WRONG_KEYS), 1)),
        }
    }

    /// What a door is called where nodes share it.
    fn name(&self, kind: &str, what: &str) -> Digest {
        let tag = hmac::sign(&self.key, format!("{kind} {what}").as_bytes());
        tag.as_ref().try_into().expect("an HMAC-SHA256 tag has 32 bytes")
    }

    fn address(&self, address: IpAddr) -> Digest {
        self.name("address", &address.to_string())
    }

    /// The doors that a knock is at, and what locks them.
    fn of_knock(&self, knock: &Knock) -> Vec<(Digest, Policy)> {
        vec![(knock.agent, self.policy), (self.address(knock.address), self.policy)]
    }

    /// The same of a guest's try.
    fn of_guess(&self, guess: Guess<'_>) -> Vec<(Digest, Policy)> {
        let mut doors = vec![(self.address(network(guess.address)), self.policy)];
        if let Some(group) = guess.key {
            doors.push((self.name("all", ""), self.policy.of_many(limits::WRONG_KEYS)));
            let of = |group: &GroupId| self.name("group", group.as_str());
            doors.extend(group.map(|group| (of(group), self.policy.of_many(limits::WRONG_KEYS_OF_GROUP))));
        }
        doors
    }

    /// For how long any of these is locked for all nodes, if one is.
    fn check_shared(&self, now: Tick, doors: &[(Digest, Policy)]) -> Result<(), Duration> {
        let locked = self.locked.lock();
        if locked.is_empty() {
            return Ok(());
        }
        let ends = doors.iter().filter_map(|(door, _)| locked.get(door)).max();
        ends.filter(|ends| now < **ends).map_or(Ok(()), |ends| Err(ends.since(now)))
    }

    /// A door is locked for all nodes.
    fn lock(&self, now: Tick, door: Digest, life: Duration) {
        let mut locked = self.locked.lock();
        if locked.len() >= limits::LOCKOUT_KEYS {
            locked.retain(|_, ends| now < *ends);
        }
        // Who finds no room is told by its next wrong try.
        if locked.len() < limits::LOCKOUT_KEYS {
            locked.insert(door, now.after(life.min(self.policy.lock)));
        }
    }

    /// A right answer on any node opened a door.
    fn open(&self, door: &Digest) {
        self.locked.lock().remove(door);
        self.agents.lock().success(door);
    }

    /// Whether the store may be told of one more wrong try: who tries without end does not fill it.
    fn may_tell(&self, now: Tick) -> bool {
        let mut told = self.told.lock();
        if now >= told.0.after(self.policy.window) {
            *told = (now, 0);
        }
        told.1 += 1;
        told.1 <= limits::WRONG_TOLD
    }

    /// For how long this knock is turned away, if it is.
    pub(super) fn check(&self, now: Tick, knock: &Knock) -> Result<(), Duration> {
        self.check_shared(now, &self.of_knock(knock))?;
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
    fn wrong(&self, now: Tick, knock: &Knock) -> bool {
        let agent = self.agents.lock().wrong(now, knock.agent);
        let address = self.addresses.lock().wrong(now, knock.address);
        agent.is_err() || address.is_err()
    }

    /// A right answer.
    fn right(&self, knock: &Knock) {
        self.open(&knock.agent);
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
        self.check_shared(now, &self.of_guess(guess))?;
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

    /// For how long an agent may not type a session key, if it may not.
    pub(in crate::hub) fn may_type_key(&self, agent: &AgentKey, from: IpAddr) -> Result<(), Duration> {
        self.inner.doors.check(self.inner.clock.tick(), &self.at_keys(agent, from))
    }

    /// A session key that an agent typed led nowhere; says whether that locked a door.
    pub(in crate::hub) async fn wrong_key(&self, agent: &AgentKey, from: IpAddr) -> bool {
        self.wrong_answer(&self.at_keys(agent, from)).await
    }

    fn at_keys(&self, agent: &AgentKey, from: IpAddr) -> Knock {
        Knock::new(&self.inner.doors, &agent.group, "key", agent.agent.as_str(), from)
    }

    /// A guest's key or link led nowhere; says whether that locked a door.
    pub(in crate::hub) async fn wrong_guess(&self, key: Option<Option<&GroupId>>, from: IpAddr) -> bool {
        let guess = Guess { key: self.existing(key), address: from };
        let locked = self.inner.doors.wrong_guess(self.inner.clock.tick(), guess);
        self.count_for_all(self.inner.doors.of_guess(guess)).await || locked
    }

    /// A wrong answer; says whether it locked a door.
    pub(super) async fn wrong_answer(&self, knock: &Knock) -> bool {
        let locked = self.inner.doors.wrong(self.inner.clock.tick(), knock);
        self.count_for_all(self.inner.doors.of_knock(knock)).await || locked
    }

    /// A right answer. Nobody waits until the other nodes know.
    pub(super) fn right_answer(&self, knock: &Knock) {
        self.inner.doors.right(knock);
        let (this, door) = (self.clone(), knock.agent);
        tokio::spawn(async move {
            if let Err(error) = this.inner.store.open_door(&door).await {
                tracing::debug!(%error, "wrong tries before a right one still count on other nodes");
            }
        });
    }

    /// Counts a wrong try at doors that all nodes share; says whether one is locked.
    async fn count_for_all(&self, doors: Vec<(Digest, Policy)>) -> bool {
        if !self.inner.doors.may_tell(self.inner.clock.tick()) {
            return false;
        }
        let tries = doors.iter().map(|(door, policy)| self.inner.store.wrong_try(door, policy));
        let mut any = false;
        for (told, (door, _)) in join_all(tries).await.into_iter().zip(&doors) {
            match told {
                Ok(Some(life)) => {
                    self.inner.doors.lock(self.inner.clock.tick(), *door, life);
                    any = true;
                }
                Ok(None) => {}
                // This node's own counter holds.
                Err(error) => tracing::debug!(%error, "a wrong try is counted on this node alone"),
            }
        }
        any
    }

    /// Without a group that does not exist: nobody fills the counters with names.
    fn existing<'a>(&self, key: Option<Option<&'a GroupId>>) -> Option<Option<&'a GroupId>> {
        key.map(|group| group.filter(|group| self.group(group).is_some()))
    }
}

/// Learns what becomes of doors on other nodes.
pub(super) async fn listen(inner: Weak<Inner>, news: Option<broadcast::Receiver<DoorNews>>) {
    let Some(mut news) = news else { return };
    loop {
        let heard = match news.recv().await {
            Ok(heard) => heard,
            // What was missed is told by the next wrong try.
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let Some(inner) = inner.upgrade() else { return };
        match heard {
            DoorNews::Locked(door, life) => inner.doors.lock(inner.clock.tick(), door, life),
            DoorNews::Opened(door) => inner.doors.open(&door),
        }
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

    fn doors() -> Doors {
        Doors::new(&[7; 32], Policy::STANDARD)
    }

    fn knock(name: &str, from: &str) -> Knock {
        Knock::new(&doors(), &GroupId::new("g").unwrap(), "address", name, from.parse().unwrap())
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
        let doors = doors();
        lock(&doors, |_| "alice".to_owned(), |n| format!("10.0.0.{n}"));
        assert_eq!(doors.check(Tick(0), &knock("alice", "10.9.9.9")), Err(limits::LOCK_TIME));
        assert_eq!(doors.check(Tick(0), &knock("bob", "10.0.0.1")), Ok(()));
    }

    #[test]
    fn an_address_is_locked_for_everybody() {
        let doors = doors();
        lock(&doors, |n| format!("agent{n}"), |_| "10.0.0.1".to_owned());
        assert!(doors.check(Tick(0), &knock("fresh", "10.0.0.1")).is_err());
        assert!(doors.check(Tick(0), &knock("fresh", "::ffff:10.0.0.1")).is_err(), "the same, mapped");
        assert!(doors.check(Tick(0), &knock("fresh", "10.0.0.2")).is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let doors = doors();
        lock(&doors, |n| format!("agent{n}"), |n| format!("2001:db8:0:1::{n}"));
        assert!(doors.check(Tick(0), &knock("fresh", "2001:db8:0:1:ffff::1")).is_err());
        assert!(doors.check(Tick(0), &knock("fresh", "2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn a_right_answer_clears_the_agent_only() {
        let doors = doors();
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
        let doors = doors();
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
        let (doors, group) = (doors(), GroupId::new("g").unwrap());
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
        let doors = doors();
        lock(&doors, |_| "alice".to_owned(), |n| format!("10.0.0.{n}"));
        let group = GroupId::new("g").unwrap();
        let partner = Knock::new(&doors, &group, "partner", "alice", "10.9.9.9".parse().unwrap());
        assert!(doors.check(Tick(0), &partner).is_ok());
    }
}
