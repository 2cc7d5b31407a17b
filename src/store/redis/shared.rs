//! What is counted and claimed for all nodes at once: wrong tries at doors, and who makes a call.
//!
//! Decides how both are kept: a door is one key with the tries that still count, a call one key with its holder. Each
//! ends by itself. Doors and calls are named by keyed digests and request IDs; nobody reads an address here.

use std::time::Duration;

use redis::Script;
use tokio::sync::broadcast;

use super::super::{CallKey, Claimed, DoorNews, StoreError};
use super::keys;
use super::rows::call_name;
use super::store::RedisStore;
use crate::auth::attempts::Policy;
use crate::auth::opaque::{self, Digest};
use crate::auth::random;
use crate::limits;

/// The scripts, and what is heard.
pub(super) struct Shared {
    wrong: Script,
    open: Script,
    claim: Script,
    release: Script,
    doors: broadcast::Sender<DoorNews>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Digest> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut digest = Digest::default();
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(digest)
}

impl Shared {
    pub(super) fn new() -> Self {
        macro_rules! script {
            ($name:literal) => {
                Script::new(include_str!(concat!("lua/accounts/", $name, ".lua")))
            };
        }
        Self {
            wrong: script!("wrong_try"),
            open: script!("open_door"),
            claim: script!("claim_call"),
            release: script!("release_call"),
            doors: broadcast::Sender::new(limits::ACCOUNT_CHANGES),
        }
    }

    /// What becomes of doors from now on.
    pub(super) fn news(&self) -> broadcast::Receiver<DoorNews> {
        self.doors.subscribe()
    }

    /// Takes what a node told, if it is about a door.
    pub(super) fn hear(&self, told: &str) -> bool {
        let Some(told) = told.strip_prefix("!door ") else { return false };
        let mut words = told.split(' ');
        let door = words.next().and_then(unhex);
        let locked = words.next().and_then(|millis| millis.parse().ok()).map(Duration::from_millis);
        if let Some(door) = door {
            let news = locked.map_or(DoorNews::Opened(door), |life| DoorNews::Locked(door, life));
            // Without listeners there is nobody to tell.
            drop(self.doors.send(news));
        }
        true
    }
}

impl RedisStore {
    pub(super) async fn count_wrong(
        &self,
        door: &Digest,
        policy: &Policy,
    ) -> Result<Option<Duration>, StoreError> {
        let name = hex(door);
        let mut call = self.shared.wrong.prepare_invoke();
        call.key(keys::door(&name)).arg(&name).arg(format!("{:032x}", random::u128())).arg(policy.tries);
        let left: u64 = self.run(call.arg(millis(policy.window)).arg(millis(policy.lock))).await?;
        Ok((left > 0).then(|| Duration::from_millis(left)))
    }

    pub(super) async fn forget_wrong(&self, door: &Digest) -> Result<(), StoreError> {
        let name = hex(door);
        let mut call = self.shared.open.prepare_invoke();
        self.run(call.key(keys::door(&name)).arg(&name)).await
    }

    pub(super) async fn claim(
        &self,
        key: &CallKey,
        digest: &Digest,
        holder: u128,
        life: Duration,
    ) -> Result<Claimed, StoreError> {
        let mut call = self.shared.claim.prepare_invoke();
        call.key(claim_key(key)).arg(format!("{holder:032x}")).arg(hex(digest)).arg(millis(life));
        let told: String = self.run(&call).await?;
        Ok(match told.as_str() {
            "here" => Claimed::Here,
            "there" => Claimed::There,
            _ => Claimed::Other,
        })
    }

    pub(super) async fn release(&self, key: &CallKey, holder: u128) -> Result<(), StoreError> {
        let mut call = self.shared.release.prepare_invoke();
        self.run(call.key(claim_key(key)).arg(format!("{holder:032x}"))).await
    }
}

/// A call's own key: names of any length become one.
fn claim_key(key: &CallKey) -> String {
    keys::claim(key.group.as_ref(), &hex(&opaque::digest_of(&call_name(key))))
}
