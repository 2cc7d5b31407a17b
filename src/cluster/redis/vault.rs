//! Sessions saved on Redis, for nodes that share it.
//!
//! All keys of a group have one hash tag, and each change of a session is one script. Where a session's group is
//! told by a key of the session, `pl:session:<id>`, and groups that have any by `pl:session_groups`: both are
//! written before the session is, so that whatever is saved is found. Everything ends by itself some time after
//! it was last saved.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{RedisError, Script, ScriptInvocation};

use super::session_keys::KeyScripts;
use crate::auth::opaque::Digest;
use crate::clock;
use crate::cluster::NodeId;
use crate::cluster::vault::{Held, Place, Put, SavedSession, Seen, Vault, VaultError};
use crate::ids::{GroupId, SessionId, VisitorId, VisitorKey};
use crate::limits;
use crate::redis::Link;

/// Saves sessions in a Redis. A clone is the same one.
#[derive(Debug, Clone)]
pub struct RedisVault {
    link: Link,
    life: Duration,
    scripts: Arc<Scripts>,
}

#[derive(Debug)]
struct Scripts {
    put: Script,
    look: Script,
    adopt: Script,
    release: Script,
    end: Script,
    of: Script,
    orphans: Script,
    keys: KeyScripts,
}

/// Which groups have sessions, with when that is forgotten.
const GROUPS: &str = "pl:session_groups";

fn route(session: SessionId) -> String {
    format!("pl:session:{session}")
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A node as it is written; nobody is nothing.
fn named(owner: Option<NodeId>) -> String {
    owner.map(|owner| owner.to_string()).unwrap_or_default()
}

/// A node as it was written.
fn node(text: &str) -> Option<NodeId> {
    u128::from_str_radix(text.strip_prefix('n')?, 16).ok().map(NodeId)
}

impl From<RedisError> for VaultError {
    fn from(error: RedisError) -> Self {
        Self::Away(Box::new(error))
    }
}

impl RedisVault {
    /// One that keeps each session for so long after it was saved.
    pub fn new(link: Link, life: Duration) -> Self {
        macro_rules! script {
            ($name:literal) => {
                Script::new(concat!(
                    include_str!("lua/vault.lua"),
                    include_str!(concat!("lua/", $name, ".lua"))
                ))
            };
        }
        let scripts = Scripts {
            put: script!("vault_put"),
            look: script!("look"),
            adopt: script!("adopt"),
            release: script!("release"),
            end: script!("end"),
            of: script!("of"),
            orphans: script!("orphans"),
            keys: KeyScripts::new(),
        };
        Self { link, life, scripts: Arc::new(scripts) }
    }

    /// A script with the keys of a group.
    fn call<'a>(script: &'a Script, group: &GroupId) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        for name in [
            "sessions",
            "session_homes",
            "session_of",
            "session_ends",
            "sessions_over",
            "sessions_last",
            "session_views",
        ] {
            call.key(format!("pl:{{{group}}}:{name}"));
        }
        call
    }

    async fn group_of(&self, session: SessionId) -> Result<Option<GroupId>, VaultError> {
        let group: Option<String> = self.link.ask(redis::cmd("GET").arg(route(session))).await?;
        Ok(group.and_then(|group| GroupId::new(&group).ok()))
    }

    /// Owner, visitor and, where it is asked for, text of a session.
    async fn look(&self, group: &GroupId, session: SessionId, text: bool) -> Result<Vec<String>, VaultError> {
        let mut call = Self::call(&self.scripts.look, group);
        call.arg(session.to_string()).arg(u8::from(text));
        Ok(self.link.run(&call).await?)
    }
}

#[async_trait]
impl Vault for RedisVault {
    async fn put(&self, saved: &SavedSession, owner: NodeId, fence: u64) -> Result<Put, VaultError> {
        let text = saved.write()?;
        let (id, life) = (saved.id(), millis(self.life));
        let mut routed = redis::cmd("SET");
        // It outlives the session, so that whether that is over is told by one clock.
        let routed_for = millis(self.life + limits::SAVED_MARGIN);
        routed.arg(route(id)).arg(saved.group.as_str()).arg("PX").arg(routed_for);
        let mut grouped = redis::cmd("ZADD");
        let until = clock::wall().after(self.life).after(limits::SAVED_MARGIN).0;
        grouped.arg(GROUPS).arg("GT").arg(until).arg(saved.group.as_str());
        tokio::try_join!(self.link.ask::<()>(&routed), self.link.ask::<()>(&grouped))?;
        let mut call = Self::call(&self.scripts.put, &saved.group);
        call.arg(id.to_string())
            .arg(saved.machine.visitor().map_or("", VisitorId::as_str))
            .arg(owner.to_string())
            .arg(fence)
            .arg(text)
            .arg(life)
            .arg(limits::SAVED_SWEEP)
            .arg(saved.seen().map(|seen| seen.write()).unwrap_or_default());
        let told: Vec<String> = self.link.run(&call).await?;
        Ok(match told.first().map(String::as_str) {
            Some("over") => Put::Over,
            Some("stale") => Put::Stale,
            Some("foreign") => Put::Foreign(told.get(1).and_then(|owner| node(owner))),
            _ => Put::Kept,
        })
    }

    async fn find(&self, session: SessionId) -> Result<Option<Place>, VaultError> {
        let Some(group) = self.group_of(session).await? else { return Ok(None) };
        let told = self.look(&group, session, false).await?;
        let [owner, visitor] = told.as_slice() else { return Ok(None) };
        Ok(Some(Place { group, visitor: VisitorId::new(visitor).ok(), owner: node(owner) }))
    }

    async fn ended_on(&self, session: SessionId) -> Result<Option<NodeId>, VaultError> {
        let Some(group) = self.group_of(session).await? else { return Ok(None) };
        let mut look = redis::cmd("HGET");
        look.arg(format!("pl:{{{group}}}:sessions_last")).arg(session.to_string());
        let owner: Option<String> = self.link.ask(&look).await?;
        Ok(owner.and_then(|told| node(told.split(' ').next()?)))
    }

    async fn adopt(
        &self,
        session: SessionId,
        from: Option<NodeId>,
        to: NodeId,
    ) -> Result<Option<SavedSession>, VaultError> {
        let Some(group) = self.group_of(session).await? else { return Ok(None) };
        // Read before it is taken: what this version cannot read is left to one that can.
        if let Some(text) = self.look(&group, session, true).await?.get(2) {
            SavedSession::read(text)?;
        }
        let mut call = Self::call(&self.scripts.adopt, &group);
        call.arg(session.to_string()).arg(named(from)).arg(to.to_string());
        let text: Option<String> = self.link.run(&call).await?;
        text.map(|text| SavedSession::read(&text)).transpose()
    }

    async fn release(&self, session: SessionId, owner: NodeId) -> Result<bool, VaultError> {
        let Some(group) = self.group_of(session).await? else { return Ok(false) };
        let mut call = Self::call(&self.scripts.release, &group);
        call.arg(session.to_string()).arg(owner.to_string());
        Ok(self.link.run(&call).await?)
    }

    async fn end(
        &self,
        group: &GroupId,
        session: SessionId,
        owner: NodeId,
        last: Option<&Seen>,
    ) -> Result<bool, VaultError> {
        let mut call = Self::call(&self.scripts.end, group);
        call.arg(session.to_string())
            .arg(owner.to_string())
            .arg(millis(limits::SAVED_MARGIN.min(self.life)))
            .arg(limits::SAVED_SWEEP)
            .arg(last.map(Seen::write).unwrap_or_default());
        Ok(self.link.run(&call).await?)
    }

    async fn seen(&self, group: &GroupId, session: SessionId) -> Result<Option<Seen>, VaultError> {
        let mut look = redis::pipe();
        for name in ["session_views", "sessions_last"] {
            look.cmd("HGET").arg(format!("pl:{{{group}}}:{name}")).arg(session.to_string());
        }
        let (live, over): (Option<String>, Option<String>) = self.link.ask_all(&look).await?;
        let over = || over.as_deref()?.split_once(' ').map(|(_, seen)| seen).filter(|seen| !seen.is_empty());
        live.as_deref().or_else(over).map(Seen::read).transpose()
    }

    async fn all_seen(&self, group: &GroupId) -> Result<Vec<Seen>, VaultError> {
        let mut found = HashMap::new();
        let mut place = 0;
        loop {
            let mut look = redis::cmd("HSCAN");
            look.arg(format!("pl:{{{group}}}:session_views")).arg(place).arg("COUNT").arg(limits::SEEN_READ);
            let (next, views): (u64, Vec<(String, String)>) = self.link.ask(&look).await?;
            for (id, view) in views {
                found.insert(id, Seen::read(&view)?);
            }
            if next == 0 {
                return Ok(found.into_values().collect());
            }
            place = next;
        }
    }

    async fn of_visitor(&self, key: &VisitorKey) -> Result<Option<SessionId>, VaultError> {
        let mut call = Self::call(&self.scripts.of, &key.group);
        call.arg(key.visitor.as_str());
        let id: Option<String> = self.link.run(&call).await?;
        Ok(id.and_then(|id| SessionId::parse(&id).ok()))
    }

    async fn hold_key(&self, key: &Digest, session: SessionId, most: u64) -> Result<Held, VaultError> {
        self.scripts.keys.hold(&self.link, key, session, self.life, most).await
    }

    async fn find_key(&self, key: &Digest) -> Result<Option<SessionId>, VaultError> {
        self.scripts.keys.find(&self.link, key).await
    }

    async fn free_key(&self, key: &Digest, session: SessionId) -> Result<(), VaultError> {
        self.scripts.keys.free(&self.link, key, session).await
    }

    async fn groups(&self) -> Result<Vec<GroupId>, VaultError> {
        let now = clock::wall().0;
        let mut late = redis::cmd("ZREMRANGEBYSCORE");
        late.arg(GROUPS).arg("-inf").arg(now);
        self.link.ask::<()>(&late).await?;
        let groups: Vec<String> = self.link.ask(redis::cmd("ZRANGE").arg(GROUPS).arg(0).arg(-1)).await?;
        Ok(groups.iter().filter_map(|group| GroupId::new(group).ok()).collect())
    }

    async fn orphans(
        &self,
        group: &GroupId,
        alive: &[NodeId],
        most: usize,
    ) -> Result<Vec<(SessionId, Option<NodeId>)>, VaultError> {
        let mut call = Self::call(&self.scripts.orphans, group);
        call.arg(most);
        for node in alive {
            call.arg(node.to_string());
        }
        let told: Vec<(String, String)> = self.link.run(&call).await?;
        let lost = |(id, owner): &(String, String)| Some((SessionId::parse(id).ok()?, node(owner)));
        Ok(told.iter().filter_map(lost).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::vault::suite;
    use crate::redis::server::Redis;

    async fn fresh(life: Duration) -> (RedisVault, Redis) {
        let redis = Redis::start().await;
        let link = redis.link().await;
        (RedisVault::new(link, life), redis)
    }

    suite::obligations!(obligations, fresh);

    const LIFE: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_redis_that_forgot_everything_learns_it_again() {
        let (vault, redis) = fresh(LIFE).await;
        let (owner, saved) = (NodeId(1), suite::saved("g", 1, Some("C-1")));
        assert_eq!(vault.put(&saved, owner, 1).await.unwrap(), Put::Kept);
        let mut connection = redis.connect().await;
        redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.unwrap();
        assert_eq!(vault.find(saved.id()).await.unwrap(), None);
        assert_eq!(vault.groups().await.unwrap(), []);
        assert_eq!(vault.put(&saved, owner, 1).await.unwrap(), Put::Kept);
        assert_eq!(vault.find(saved.id()).await.unwrap().unwrap().owner, Some(owner));
        assert_eq!(vault.groups().await.unwrap(), std::slice::from_ref(&saved.group));
        let lost = vault.orphans(&saved.group, &[], 9).await.unwrap();
        assert_eq!(lost, [(saved.id(), Some(owner))]);
    }

    #[tokio::test]
    async fn a_redis_that_is_away_is_told_and_comes_back() {
        let (vault, mut redis) = fresh(LIFE).await;
        let saved = suite::saved("g", 1, None);
        vault.put(&saved, NodeId(1), 1).await.unwrap();
        redis.kill();
        assert!(matches!(vault.find(saved.id()).await, Err(VaultError::Away(_))));
        assert!(matches!(vault.put(&saved, NodeId(1), 1).await, Err(VaultError::Away(_))));
        redis.revive().await;
        let found = async {
            loop {
                if let Ok(Some(place)) = vault.find(saved.id()).await {
                    return place;
                }
            }
        };
        let place = tokio::time::timeout(Duration::from_secs(30), found).await.expect("it comes back");
        assert_eq!(place.owner, Some(NodeId(1)), "it kept what it answered to");
    }

    #[tokio::test]
    async fn everything_ends_and_no_secret_is_told() {
        let (vault, redis) = fresh(LIFE).await;
        vault.put(&suite::saved("g", 1, Some("C-1")), NodeId(1), 1).await.unwrap();
        vault.put(&suite::saved("g", 2, None), NodeId(1), 1).await.unwrap();
        vault.end(&GroupId::new("g").unwrap(), SessionId::from_u128(2), NodeId(1), None).await.unwrap();
        vault.hold_key(&[7; 32], SessionId::from_u128(1), 9).await.unwrap();
        let mut connection = redis.connect().await;
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
        assert_eq!(keys.len(), 12, "{keys:?}");
        for key in keys.iter().filter(|key| *key != GROUPS) {
            let left: i64 = redis::cmd("PTTL").arg(key).query_async(&mut connection).await.unwrap();
            assert!(left > 0, "{key} stays for ever");
        }
    }

    #[tokio::test]
    async fn what_a_later_version_saved_is_left_to_it() {
        let (vault, redis) = fresh(LIFE).await;
        let saved = suite::saved("g", 1, None);
        vault.put(&saved, NodeId(1), 1).await.unwrap();
        let mut connection = redis.connect().await;
        let id = saved.id().to_string();
        let mut later = redis::cmd("HSET");
        later.arg("pl:{g}:sessions").arg(id).arg("{\"form\":9,\"all\":\"different\"}");
        later.query_async::<()>(&mut connection).await.unwrap();
        let refused = vault.adopt(saved.id(), Some(NodeId(1)), NodeId(2)).await;
        assert!(matches!(refused, Err(VaultError::Newer(9))), "{refused:?}");
        assert_eq!(vault.find(saved.id()).await.unwrap().unwrap().owner, Some(NodeId(1)));
    }

    #[tokio::test]
    async fn what_a_later_version_says_beside_what_is_known_does_no_harm() {
        let (vault, redis) = fresh(LIFE).await;
        let saved = suite::saved("g", 1, Some("C-1"));
        vault.put(&saved, NodeId(1), 1).await.unwrap();
        let mut connection = redis.connect().await;
        let id = saved.id().to_string();
        let mut look = redis::cmd("HGET");
        look.arg("pl:{g}:session_homes").arg(&id);
        let home: String = look.query_async(&mut connection).await.unwrap();
        let mut later = redis::cmd("HSET");
        later.arg("pl:{g}:session_homes").arg(&id).arg(format!("{home} zone=eu more"));
        later.query_async::<()>(&mut connection).await.unwrap();
        let mut text: serde_json::Value = serde_json::from_str(&saved.write().unwrap()).unwrap();
        for place in ["", "/session", "/session/machine"] {
            text.pointer_mut(place).unwrap()["later"] = serde_json::json!({"a": [1]});
        }
        let mut later = redis::cmd("HSET");
        later.arg("pl:{g}:sessions").arg(&id).arg(text.to_string());
        later.query_async::<()>(&mut connection).await.unwrap();

        let place = vault.find(saved.id()).await.unwrap().unwrap();
        assert_eq!((place.owner, place.visitor), (Some(NodeId(1)), Some(VisitorId::new("C-1").unwrap())));
        let adopted = vault.adopt(saved.id(), Some(NodeId(1)), NodeId(2)).await.unwrap().unwrap();
        assert_eq!(adopted.id(), saved.id());
        assert_eq!(vault.put(&adopted, NodeId(2), 2).await.unwrap(), Put::Kept);
        assert_eq!(vault.put(&saved, NodeId(1), 9).await.unwrap(), Put::Foreign(Some(NodeId(2))));
        let home: String = look.query_async(&mut connection).await.unwrap();
        assert!(home.ends_with(" C-1 zone=eu more"), "{home}");
        assert!(vault.end(&saved.group, saved.id(), NodeId(2), None).await.unwrap());
        assert_eq!(vault.find(saved.id()).await.unwrap(), None);
    }
}
