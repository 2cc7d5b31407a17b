//! What other nodes tell, on connections of its own.
//!
//! Channels lose whatever is said while nobody listens. So the task here subscribes, waits for the confirmation and
//! only then says that a group is followed. Groups are heard from the primaries that their slots are on, each apart from
//! the others: a group that was not heard for a while, whatever for, is read again once it is. What concerns the node
//! itself, and all nodes, comes over another connection. Sockets die without a word, so it must hear the own node's beats:
//! when it does not, all connections are given up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use redis::RedisError;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::entry::{self, Keys};
use super::table::Standing;
use super::{Inner, beat};
use crate::cluster::Hint;
use crate::ids::{GroupId, VisitorId, VisitorKey};
use crate::limits;
use crate::model::visitor::State;
use crate::redis::{Heard, Said, Shards, Told};
use crate::telemetry::Listener;

/// The groups that are followed.
pub(super) type Wishes = BTreeMap<GroupId, Wish>;

/// A group that is followed.
#[derive(Debug)]
pub(super) struct Wish {
    count: usize,
    confirmed: watch::Sender<bool>,
    /// Somebody was told that it is followed while it was not heard.
    missed: bool,
}

/// The channels of the groups that are followed, and which of them are heard.
type Channels = BTreeMap<String, (GroupId, bool)>;

impl Inner {
    /// Follows a group. Returns when it is subscribed, or when that takes long: then it is read again later.
    pub(super) async fn follow(&self, group: &GroupId) {
        let mut confirmed = {
            let mut wishes = self.wishes.lock();
            let fresh = || Wish { count: 0, confirmed: watch::Sender::new(false), missed: false };
            let wish = wishes.entry(group.clone()).or_insert_with(fresh);
            wish.count += 1;
            wish.confirmed.subscribe()
        };
        self.wanted.notify_one();
        let confirmed = confirmed.wait_for(|confirmed| *confirmed);
        if tokio::time::timeout(limits::CLAIM_WAIT, confirmed).await.is_err()
            && let Some(wish) = self.wishes.lock().get_mut(group)
        {
            wish.missed |= !*wish.confirmed.borrow();
        }
    }

    /// One follower less.
    pub(super) fn unfollow(&self, group: &GroupId) {
        let mut wishes = self.wishes.lock();
        if let Some(wish) = wishes.get_mut(group) {
            wish.count = wish.count.saturating_sub(1);
            if wish.count == 0 {
                wishes.remove(group);
                drop(wishes);
                self.wanted.notify_one();
            }
        }
    }

    /// A group is heard from here on; `anew` if it is so since just now.
    fn confirm(&self, group: &GroupId, anew: bool) {
        let missed = self.wishes.lock().get_mut(group).is_some_and(|wish| {
            let known = wish.confirmed.send_replace(true);
            std::mem::take(&mut wish.missed) || (known && anew)
        });
        if missed {
            self.tell(Hint::Reread(Some(group.clone())));
        }
    }

    /// Whether what is told of a group now is heard.
    pub(super) fn hears(&self, group: &GroupId) -> bool {
        self.wishes.lock().get(group).is_some_and(|wish| *wish.confirmed.borrow())
    }
}

impl Wish {
    /// It is not heard any more.
    fn deny(&mut self) {
        self.missed |= self.confirmed.send_replace(false);
    }
}

/// The listener's life: one connection after the other.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut pause = limits::REDIS_RECONNECT.0;
    loop {
        if let Err(error) = listen(&inner, &mut pause).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "lost touch with other nodes");
        }
        for wish in inner.wishes.lock().values_mut() {
            wish.deny();
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::REDIS_RECONNECT.1);
    }
}

/// One connection's life; it ends with an error.
async fn listen(inner: &Arc<Inner>, pause: &mut Duration) -> Result<(), RedisError> {
    let Some(me) = inner.me() else { return Err(over("nobody listens")) };
    let mut ear = inner.link.ear(Listener::Presence, limits::PRESENCE_HEARD).await?;
    let own = entry::node_channel(me.node);
    ear.subscribe(&[own.as_str(), beat::NEWS]).await?;
    let mut shards = inner.link.shards(Listener::Presence, limits::PRESENCE_HEARD);
    let mut channels = Channels::new();
    follow(inner, &shards, &mut channels);
    *pause = limits::REDIS_RECONNECT.0;
    let silence = inner.pace.silence().max(limits::DIRECTORY_ANSWER);
    let mut look = tokio::time::interval(inner.pace.beat);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        // In this order, so that what is seldom is not kept waiting by what is not.
        tokio::select! {
            biased;
            _ = look.tick() => {
                if heard.elapsed() > silence {
                    return Err(over("the own beat was not heard"));
                }
            }
            () = inner.wanted.notified() => follow(inner, &shards, &mut channels),
            said = ear.next() => match said {
                None => return Err(over("the connection ended")),
                Some(Heard::Missed) => {
                    heard = Instant::now();
                    inner.tell(Hint::Reread(None));
                    inner.hurry.notify_one();
                }
                Some(Heard::Said(said)) if said.channel() == own => {
                    heard = Instant::now();
                    hear_own(inner, said.payload());
                }
                Some(Heard::Said(said)) => {
                    if said.payload() != entry::node_name(me.node).as_bytes() {
                        inner.hurry.notify_one();
                    }
                }
            },
            told = shards.next() => match told {
                Told::Said(said) => {
                    if let Some((group, _)) = channels.get(said.channel()) {
                        hear(inner, group, &said);
                    }
                }
                Told::Missed => inner.tell(Hint::Reread(None)),
                Told::Open(channel) => {
                    if let Some((group, open)) = channels.get_mut(&channel) {
                        *open = true;
                        inner.confirm(group, true);
                    }
                }
                Told::Closed(channel) => {
                    if let Some((group, open)) = channels.get_mut(&channel) {
                        *open = false;
                        inner.wishes.lock().get_mut(group).into_iter().for_each(Wish::deny);
                    }
                }
            },
        }
    }
}

/// Follows what is wished by now, and leaves what is not.
fn follow(inner: &Inner, shards: &Shards, channels: &mut Channels) {
    let groups: BTreeSet<GroupId> = inner.wishes.lock().keys().cloned().collect();
    channels.retain(|channel, (group, _)| {
        let is_wished = groups.contains(group);
        if !is_wished {
            shards.leave(channel);
        }
        is_wished
    });
    for group in groups {
        let channel = Keys(&group).presence();
        match channels.get(&channel) {
            // Somebody may wish it anew.
            Some((_, open)) if *open => inner.confirm(&group, false),
            Some(_) => {}
            None => {
                shards.follow(&channel);
                channels.insert(channel, (group, false));
            }
        }
    }
}

/// The own node's channel: its beat, or a greater version of a visitor of this node than it has.
fn hear_own(inner: &Inner, payload: &[u8]) {
    let Ok(payload) = std::str::from_utf8(payload) else { return };
    if let Some(seq) = payload.strip_prefix('b').and_then(|seq| seq.parse().ok()) {
        inner.heard_own(seq, &inner.meters);
    }
    let Some(raise) = payload.strip_prefix("r ") else { return };
    let mut words = raise.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (group, visitor, version) = (word(), word(), word());
    if let (Ok(group), Ok(visitor), Ok(version)) =
        (GroupId::new(group), VisitorId::new(visitor), version.parse())
    {
        inner.tell(Hint::Raise(VisitorKey { group, visitor }, version));
    }
}

/// A visitor of the group changed.
fn hear(inner: &Inner, group: &GroupId, said: &Said) {
    if inner.hear_aside(group, said.payload()) {
        return;
    }
    let Some(entry) = entry::Entry::read(said.payload()) else { return };
    let Some(visitor) = entry.visitor().filter(|visitor| visitor.key().group == *group) else { return };
    if inner.me().is_some_and(|me| me.node == entry.home.node) {
        // While this node drains, an absence counts only once nobody has taken the visitor over.
        if visitor.state() == State::Absent && inner.source().is_some_and(|source| source.facts().draining) {
            inner.tell(Hint::Visitor(Arc::new(visitor)));
        }
        return;
    }
    // Who was told that nobody can be heard is told otherwise only once it is known who is up.
    let standing =
        if inner.own.lock().is_away() { Standing::Stranger } else { inner.table.read().standing(entry.home) };
    match standing {
        Standing::Sure => inner.tell(Hint::Visitor(Arc::new(visitor))),
        // It speaks, and so it is up: or it did, and is not. The next beat tells.
        Standing::Doubt(_) | Standing::Stranger => {
            inner.doubtful.lock().insert(group.clone());
            inner.hurry.notify_one();
        }
        Standing::Gone => {}
    }
}

fn over(why: &'static str) -> RedisError {
    RedisError::from((redis::ErrorKind::Io, why))
}
