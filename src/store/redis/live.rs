//! What Redis says by itself: the newest sequence of each group that somebody follows, and what other nodes
//! change of groups and agents.
//!
//! Channels are hints, and lose whatever is said while nobody listens. So the task here subscribes, waits for
//! the confirmation and only then looks where the group's log ends, or has everything read anew that may have
//! been changed; it does so again after every reconnect.
//! Sockets die without a word, so it sends a word to itself every few seconds: when that is not heard, the
//! connection is given up. The same beat looks whether Redis is still fit to keep anything.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use prost::Message as _;
use redis::RedisError;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::super::StoreError;
use super::super::events::After;
use super::keys::{ACCOUNTS, Keys};
use super::log::Log;
use super::store::RedisStore;
use crate::auth::random;
use crate::ids::GroupId;
use crate::limits;
use crate::redis::{Ear, Heard, Policy};
use crate::telemetry::Listener;

/// All that is read here of a `SessionEvent`.
#[derive(prost::Message)]
struct Place {
    #[prost(uint64, tag = "2")]
    sequence: u64,
}

/// How Redis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisState {
    /// It answers, and keeps what it is given.
    Fine,
    /// It does not answer; what happens waits.
    Away,
    /// It answers, but may let events go when its memory is short.
    Evicts,
}

/// The listening task, and what it learns. The task does not outlive its handle.
pub(super) struct Live {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    log: Log,
    store: Arc<RedisStore>,
    groups: DashMap<GroupId, watch::Sender<u64>>,
    /// Another group is followed.
    wanted: Notify,
    state: AtomicU8,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Live {
    pub(super) fn start(log: Log, store: Arc<RedisStore>) -> Self {
        let state = AtomicU8::new(RedisState::Fine as u8);
        let shared = Arc::new(Shared { log, store, groups: DashMap::new(), wanted: Notify::new(), state });
        Self { task: tokio::spawn(listen(Arc::clone(&shared))), shared }
    }

    /// The newest sequence of a group that Redis has told of.
    pub(super) fn newest(&self, group: &GroupId) -> watch::Receiver<u64> {
        let newest =
            self.shared.groups.entry(group.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe();
        self.shared.wanted.notify_one();
        newest
    }

    pub(super) fn state(&self) -> RedisState {
        match self.shared.state.load(Ordering::Relaxed) {
            state if state == RedisState::Fine as u8 => RedisState::Fine,
            state if state == RedisState::Evicts as u8 => RedisState::Evicts,
            _ => RedisState::Away,
        }
    }
}

impl Shared {
    fn tell(&self, group: &GroupId, sequence: u64) {
        if let Some(newest) = self.groups.get(group) {
            newest.send_if_modified(|known| {
                let later = sequence > *known;
                *known = (*known).max(sequence);
                later
            });
        }
    }

    /// Notes how Redis is, and says it when it changed.
    fn set(&self, state: RedisState) {
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        if before == state as u8 {
            return;
        }
        match state {
            RedisState::Fine => tracing::info!("Redis keeps the log again"),
            RedisState::Away => tracing::error!("Redis is away, events wait"),
            RedisState::Evicts => tracing::error!(
                "maxmemory-policy of Redis lets keys go when memory is short, events may vanish; set it to noeviction"
            ),
        }
    }

    /// Says a word on a channel and looks whether Redis is fit to keep anything.
    async fn probe(&self, channel: &str) -> Result<(), RedisError> {
        let _heard: u64 = self.log.link.ask(redis::cmd("PUBLISH").arg(channel).arg("")).await?;
        self.set(match self.log.link.policy().await? {
            Policy::Keeps => RedisState::Fine,
            Policy::Evicts(_) => RedisState::Evicts,
        });
        Ok(())
    }
}

/// The task's life: one connection after the other.
async fn listen(shared: Arc<Shared>) {
    let mut pause = limits::REDIS_RECONNECT.0;
    loop {
        if let Err(error) = listen_once(&shared, &mut pause).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "lost touch with Redis");
        }
        shared.set(RedisState::Away);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::REDIS_RECONNECT.1);
    }
}

/// One connection's life; it ends with an error.
async fn listen_once(shared: &Shared, pause: &mut Duration) -> Result<(), StoreError> {
    let mut ear = shared.log.link.ear(Listener::Store, limits::STORE_HEARD).await?;
    let probe = format!("pl:probe:{:016x}", u64::from_be_bytes(random::bytes()));
    ear.subscribe(&[&probe, ACCOUNTS]).await?;
    shared.store.hear_all();
    let mut channels = HashMap::new();
    follow(shared, &mut ear, &mut channels).await?;
    *pause = limits::REDIS_RECONNECT.0;
    let (mut heard, mut beat) = (Instant::now(), tokio::time::interval(limits::REDIS_PROBE));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            word = ear.next() => {
                let Some(word) = word else { return Err(gone("the connection ended").into()) };
                heard = Instant::now();
                match word {
                    Heard::Said(said) if said.channel() == ACCOUNTS => shared.store.hear(said.payload()),
                    Heard::Said(said) => {
                        if let Some(group) = channels.get(said.channel())
                            && let Ok(Place { sequence }) = Place::decode(said.payload())
                        {
                            shared.tell(group, sequence);
                        }
                    }
                    Heard::Missed => {
                        shared.store.hear_all();
                        // Each log is looked at anew.
                        channels.clear();
                        follow(shared, &mut ear, &mut channels).await?;
                    }
                }
            }
            () = shared.wanted.notified() => follow(shared, &mut ear, &mut channels).await?,
            _ = beat.tick() => {
                if heard.elapsed() > limits::REDIS_SILENCE {
                    return Err(gone("nothing was heard").into());
                }
                // A word that was not taken is one that is not heard.
                shared.probe(&probe).await?;
            }
        }
    }
}

/// Subscribes to what is followed by now, and then looks where each log ends.
async fn follow(
    shared: &Shared,
    ear: &mut Ear,
    channels: &mut HashMap<String, GroupId>,
) -> Result<(), StoreError> {
    let groups: Vec<GroupId> = shared.groups.iter().map(|group| group.key().clone()).collect();
    for group in groups {
        let channel = Keys(&group).live();
        if channels.contains_key(&channel) {
            continue;
        }
        ear.subscribe(&[&channel]).await?;
        match shared.log.read(&group, After::End).await {
            Ok(page) => shared.tell(&group, page.cursor),
            Err(error) if error.is_passing() => return Err(error),
            // One group's log is broken, not the others'.
            Err(error) => tracing::error!(%group, %error, "can't tell where a log ends"),
        }
        channels.insert(channel, group);
    }
    Ok(())
}

fn gone(why: &'static str) -> RedisError {
    RedisError::from((redis::ErrorKind::Io, why))
}
