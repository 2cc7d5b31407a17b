//! Session keys on Redis: the digits that guests type, which no two sessions of all nodes share.
//!
//! Whoever types a key need not name a group, so that those of all groups are in one place. Kept are keyed digests.

use redis::Script;

use super::vault::millis;
use crate::auth::opaque::Digest;
use crate::cluster::vault::{Held, VaultError};
use crate::ids::SessionId;
use crate::redis::Link;

/// The scripts of session keys.
#[derive(Debug)]
pub(super) struct KeyScripts {
    hold: Script,
    find: Script,
    free: Script,
}

/// Digests of keys with their sessions, and when each is let go of: no group has a `!` in its name.
const KEYS: [&str; 2] = ["pl:{!}:session-keys", "pl:{!}:session-key-ends"];

fn hex(key: &Digest) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl KeyScripts {
    pub(super) fn new() -> Self {
        Self {
            hold: Script::new(include_str!("lua/key_hold.lua")),
            find: Script::new(include_str!("lua/key_find.lua")),
            free: Script::new(include_str!("lua/key_free.lua")),
        }
    }

    pub(super) async fn hold(
        &self,
        link: &Link,
        key: &Digest,
        session: SessionId,
        life: std::time::Duration,
        most: u64,
    ) -> Result<Held, VaultError> {
        let mut call = self.hold.prepare_invoke();
        call.key(KEYS[0]).key(KEYS[1]).arg(hex(key)).arg(session.to_string()).arg(millis(life)).arg(most);
        let told: String = link.run(&call).await?;
        Ok(match told.as_str() {
            "taken" => Held::Taken,
            "full" => Held::Full,
            _ => Held::Held,
        })
    }

    pub(super) async fn find(&self, link: &Link, key: &Digest) -> Result<Option<SessionId>, VaultError> {
        let mut call = self.find.prepare_invoke();
        let id: Option<String> = link.run(call.key(KEYS[0]).key(KEYS[1]).arg(hex(key))).await?;
        Ok(id.and_then(|id| SessionId::parse(&id).ok()))
    }

    pub(super) async fn free(&self, link: &Link, key: &Digest, session: SessionId) -> Result<(), VaultError> {
        let mut call = self.free.prepare_invoke();
        call.key(KEYS[0]).key(KEYS[1]).arg(hex(key)).arg(session.to_string());
        Ok(link.run(&call).await?)
    }
}
