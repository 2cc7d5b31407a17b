//! Groups, agents, API keys, calls and follows on Redis.
//!
//! Decides how rows become keys. Each change is one script, done or not, and tells the other nodes of itself in
//! the same step: a change that nobody hears of can't be. Whoever listens reads anew, and reads everything
//! after the connection was lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, FromRedisValue, Pipeline, Script, ScriptInvocation};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::super::{
    Agent, AgentRow, AgentsPage, ApiKeyRow, CallKey, CallRow, Claimed, DoorNews, GroupRow, News,
    SettingsChange, Store, StoreError, StoreNews, SyncStore,
};
use super::keys::{CALLS_SINCE, GROUPS, Keys, MASTER, calls};
use super::rows::{
    Described, RawAgent, agent_row, call_name, call_row, change, json, name, number, read, refused,
};
use crate::auth::attempts::Policy;
use crate::auth::opaque::Digest;
use crate::auth::password::PasswordHash;
use crate::auth::secret::MasterSecret;
use crate::clock::Wall;
use crate::ids::{AgentId, AgentKey, GroupId, KeyId};
use crate::limits;
use crate::model::settings::Settings;
use crate::redis::Link;

/// The scripts of rows.
struct Scripts {
    put_group: Script,
    changes: Script,
    agent: Script,
    page: Script,
    upsert: Script,
    password: Script,
    remove: Script,
    revoke: Script,
    insert_key: Script,
    revoke_key: Script,
    touch_key: Script,
    remember: Script,
    forget: Script,
    follow: Script,
}

/// What all nodes share: a [`Store`], and the records that a log is folded into, in a Redis.
pub struct RedisStore {
    pub(super) link: Link,
    scripts: Scripts,
    pub(super) folding: super::fold::Scripts,
    pub(super) shared: super::shared::Shared,
    news: broadcast::Sender<StoreNews>,
    closed: CancellationToken,
    /// The time before which calls are known to be forgotten.
    forgotten: AtomicU64,
    pub(super) sinks: OnceLock<Arc<dyn SyncStore>>,
}

impl RedisStore {
    /// A store over a connection.
    pub fn new(link: Link) -> Self {
        macro_rules! script {
            ($name:literal) => {
                Script::new(include_str!(concat!("lua/accounts/", $name, ".lua")))
            };
            (agents $name:literal) => {
                Script::new(concat!(
                    include_str!("lua/accounts/agents.lua"),
                    include_str!(concat!("lua/accounts/", $name, ".lua"))
                ))
            };
        }
        let scripts = Scripts {
            put_group: script!("put_group"),
            changes: script!("changes"),
            agent: script!(agents "agent"),
            page: script!(agents "page"),
            upsert: script!(agents "upsert"),
            password: script!(agents "password"),
            remove: script!(agents "remove"),
            revoke: script!(agents "revoke"),
            insert_key: script!("insert_key"),
            revoke_key: script!("revoke_key"),
            touch_key: script!("touch_key"),
            remember: script!("remember"),
            forget: script!("forget"),
            follow: script!("follow"),
        };
        Self {
            link,
            scripts,
            folding: super::fold::Scripts::new(),
            shared: super::shared::Shared::new(),
            news: broadcast::Sender::new(limits::ACCOUNT_CHANGES),
            closed: CancellationToken::new(),
            forgotten: AtomicU64::new(0),
            sinks: OnceLock::new(),
        }
    }

    /// Lets records wait for the sinks that take them, from now on. The first one counts.
    pub fn wait_for_sinks(&self, sinks: Arc<dyn SyncStore>) {
        // A second one would be the same sinks.
        let _ = self.sinks.set(sinks);
    }

    /// Whether all nodes that share this Redis have the same master secret: the first one says which. What is
    /// kept of it is a key that follows from it, from which nobody finds it.
    pub async fn agrees(&self, master: &MasterSecret) -> Result<bool, StoreError> {
        let own = standing_for(master);
        let _first: bool = self.ask(redis::cmd("SETNX").arg(MASTER).arg(&own)).await?;
        let common: Option<String> = self.ask(redis::cmd("GET").arg(MASTER)).await?;
        Ok(common.is_some_and(|common| crate::auth::same_secret(&common, &own)))
    }

    pub(super) async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        self.check()?;
        Ok(self.link.run(call).await?)
    }

    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.check()?;
        Ok(self.link.ask(command).await?)
    }

    pub(super) async fn ask_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, StoreError> {
        self.check()?;
        Ok(self.link.ask_all(commands).await?)
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.closed.is_cancelled() { Err(StoreError::Closed) } else { Ok(()) }
    }

    /// The ids of all groups that there may be.
    pub(super) async fn group_ids(&self) -> Result<Vec<GroupId>, StoreError> {
        let names: Vec<String> = self.ask(redis::cmd("SMEMBERS").arg(GROUPS)).await?;
        names.iter().map(|text| name(text, GroupId::new)).collect()
    }

    /// Notes that there may be a group of this name.
    pub(super) async fn note_group(&self, group: &GroupId) -> Result<(), StoreError> {
        let _added: u64 = self.ask(redis::cmd("SADD").arg(GROUPS).arg(group.as_str())).await?;
        Ok(())
    }

    /// Passes on what a node told, this one too: a change of its own whose answer was lost is known by this alone.
    pub(super) fn hear(&self, told: &[u8]) {
        let told = String::from_utf8_lossy(told);
        if self.shared.hear(&told) {
            return;
        }
        let Some((group, agent)) = told.split_once(' ') else { return self.hear_all() };
        let news = GroupId::new(group).and_then(|group| {
            Ok(match agent {
                "" => StoreNews::Group(group),
                "*" => StoreNews::Agents(group),
                agent => StoreNews::Agent(AgentKey { group, agent: AgentId::new(agent)? }),
            })
        });
        match news {
            // Without listeners there is nobody to tell.
            Ok(news) => drop(self.news.send(news)),
            Err(_) => self.hear_all(),
        }
    }

    /// Passes on that anything may have changed.
    pub(super) fn hear_all(&self) {
        let _ = self.news.send(StoreNews::All);
    }

    fn on_agents<'a>(&self, script: &'a Script, group: &GroupId) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        Keys(group).agents().into_iter().for_each(|key| {
            call.key(key);
        });
        call
    }

    async fn find_agent(
        &self,
        group: &GroupId,
        by: &str,
        name: &str,
    ) -> Result<Option<AgentRow>, StoreError> {
        let mut call = self.on_agents(&self.scripts.agent, group);
        let row: Option<RawAgent> = self.run(call.arg(by).arg(name)).await?;
        row.map(|row| agent_row(group, row)).transpose()
    }

    /// What an agent follows.
    pub(super) async fn followed(&self, agent: &AgentKey) -> Result<Vec<(String, String)>, StoreError> {
        let key = Keys(&agent.group).follows(&agent.agent);
        let texts: Vec<String> = self.ask(redis::cmd("SMEMBERS").arg(key)).await?;
        let mut places: Vec<(String, String)> =
            texts.iter().map(|text| read("followed record", text)).collect::<Result<_, _>>()?;
        places.sort_unstable();
        Ok(places)
    }

    /// Follows a record; whether there was room.
    pub(super) async fn follow(&self, agent: &AgentKey, place: (&str, &str)) -> Result<bool, StoreError> {
        let mut call = self.scripts.follow.prepare_invoke();
        call.key(Keys(&agent.group).follows(&agent.agent)).arg(json(&place)).arg(limits::FOLLOWS);
        self.run(&call).await
    }

    /// No longer follows a record.
    pub(super) async fn unfollow(&self, agent: &AgentKey, place: (&str, &str)) -> Result<(), StoreError> {
        let key = Keys(&agent.group).follows(&agent.agent);
        let _gone: u64 = self.ask(redis::cmd("SREM").arg(key).arg(json(&place))).await?;
        Ok(())
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn groups(&self) -> Result<Vec<GroupRow>, StoreError> {
        let mut rows = Vec::new();
        for id in self.group_ids().await? {
            rows.extend(self.group(&id).await?);
        }
        Ok(rows)
    }

    async fn group(&self, id: &GroupId) -> Result<Option<GroupRow>, StoreError> {
        let mut look = redis::cmd("HMGET");
        look.arg(Keys(id).group()).arg("settings").arg("version").arg("created");
        let (settings, version, created): (Option<String>, Option<u64>, Option<u64>) =
            self.ask(&look).await?;
        let (Some(settings), Some(version), Some(created)) = (settings, version, created) else {
            return Ok(None);
        };
        let settings = read("settings", &settings)?;
        Ok(Some(GroupRow { id: id.clone(), settings, version, created_at: Wall(created) }))
    }

    async fn put_group(
        &self,
        id: &GroupId,
        settings: &Settings,
        expected: Option<u64>,
        by: &str,
        at: Wall,
    ) -> Result<u64, StoreError> {
        if expected.is_none() {
            // Before it is there, so that none is there unnamed.
            self.note_group(id).await?;
        }
        let mut call = self.scripts.put_group.prepare_invoke();
        call.key(Keys(id).group()).key(Keys(id).changes()).arg(told(id));
        match expected {
            Some(version) => call.arg(version),
            None => call.arg(""),
        };
        call.arg(json(settings)).arg(at.0).arg(json(&by)).arg(limits::SETTINGS_HISTORY);
        let (done, version): (bool, String) = self.run(&call).await?;
        let version = version.parse().ok();
        match version {
            Some(version) if done => Ok(version),
            actual => Err(StoreError::Conflict { group: id.clone(), expected, actual }),
        }
    }

    async fn settings_changes(
        &self,
        id: &GroupId,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<SettingsChange>, StoreError> {
        let mut call = self.scripts.changes.prepare_invoke();
        call.key(Keys(id).group()).key(Keys(id).changes());
        match before {
            Some(version) => call.arg(version),
            None => call.arg(""),
        };
        call.arg(most.min(limits::SETTINGS_CHANGES)).arg(limits::SETTINGS_CHANGES_BYTES);
        let rows: Vec<(u64, String)> = self.run(&call).await?;
        rows.into_iter().map(|(version, text)| change(version, &text)).collect()
    }

    async fn agents(&self, group: &GroupId) -> Result<Vec<AgentRow>, StoreError> {
        self.agents_page(group, AgentsPage { after: None, with_password: false, most: usize::MAX }).await
    }

    async fn agents_page(&self, group: &GroupId, page: AgentsPage) -> Result<Vec<AgentRow>, StoreError> {
        let mut rows: Vec<AgentRow> = Vec::new();
        let mut after = page.after;
        while rows.len() < page.most {
            let mut call = self.on_agents(&self.scripts.page, group);
            call.arg(after.as_ref().map_or("", AgentId::as_str)).arg(limits::AGENTS_READ);
            let (looked, found): (usize, Vec<RawAgent>) = self.run(&call).await?;
            for row in found {
                let row = agent_row(group, row)?;
                after = Some(row.agent.key.agent.clone());
                if row.password.is_some() || !page.with_password {
                    rows.push(row);
                }
            }
            if looked < limits::AGENTS_READ {
                break;
            }
        }
        rows.truncate(page.most);
        Ok(rows)
    }

    async fn agent(&self, key: &AgentKey) -> Result<Option<AgentRow>, StoreError> {
        self.find_agent(&key.group, "id", key.agent.as_str()).await
    }

    async fn agent_by_address(&self, group: &GroupId, address: &str) -> Result<Option<AgentRow>, StoreError> {
        self.find_agent(group, "address", address).await
    }

    async fn agent_by_partner(
        &self,
        group: &GroupId,
        partner_user_id: &str,
    ) -> Result<Option<AgentRow>, StoreError> {
        self.find_agent(group, "partner", partner_user_id).await
    }

    async fn upsert_agent(&self, agent: &Agent, at: Wall) -> Result<AgentRow, StoreError> {
        let group = &agent.key.group;
        let mut call = self.on_agents(&self.scripts.upsert, group);
        call.arg(told(group))
            .arg(agent.key.agent.as_str())
            .arg(&agent.address)
            .arg(agent.partner_user_id.as_deref().unwrap_or_default())
            .arg(json(&Described::from(agent)))
            .arg(at.0);
        let (done, row): (String, Option<RawAgent>) = self.run(&call).await?;
        match row {
            Some(row) => agent_row(group, row),
            None => Err(refused(&done, group)),
        }
    }

    async fn set_password(
        &self,
        key: &AgentKey,
        password: Option<PasswordHash>,
    ) -> Result<Option<AgentRow>, StoreError> {
        let mut call = self.on_agents(&self.scripts.password, &key.group);
        call.arg(told(&key.group)).arg(key.agent.as_str());
        call.arg(password.as_ref().map_or("", PasswordHash::as_str));
        let row: Option<RawAgent> = self.run(&call).await?;
        row.map(|row| agent_row(&key.group, row)).transpose()
    }

    async fn remove_agent(&self, key: &AgentKey) -> Result<bool, StoreError> {
        let mut call = self.on_agents(&self.scripts.remove, &key.group);
        call.key(Keys(&key.group).follows(&key.agent));
        self.run(call.arg(told(&key.group)).arg(key.agent.as_str())).await
    }

    async fn revoke_tokens(&self, group: &GroupId, agent: Option<&AgentId>) -> Result<(), StoreError> {
        let mut call = self.on_agents(&self.scripts.revoke, group);
        self.run(call.arg(told(group)).arg(agent.map_or("", AgentId::as_str))).await
    }

    async fn api_keys(&self, group: &GroupId) -> Result<Vec<ApiKeyRow>, StoreError> {
        type Times = std::collections::HashMap<String, u64>;
        let mut look = redis::pipe();
        look.atomic();
        for key in Keys(group).api_keys() {
            look.cmd("HGETALL").arg(key);
        }
        let (keys, revoked, used): (Vec<(String, String)>, Times, Times) = self.ask_all(&look).await?;
        let row = |(id, text): (String, String)| {
            let (created, label) = text.split_once('\n').unwrap_or((&text, ""));
            Ok(ApiKeyRow {
                group: group.clone(),
                label: label.to_owned(),
                created_at: Wall(number("api key", created)?),
                revoked_at: revoked.get(&id).copied().map(Wall),
                last_used_at: used.get(&id).copied().map(Wall),
                id: name(&id, KeyId::new)?,
            })
        };
        let mut rows = keys.into_iter().map(row).collect::<Result<Vec<_>, StoreError>>()?;
        rows.sort_unstable_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        Ok(rows)
    }

    async fn insert_api_key(
        &self,
        group: &GroupId,
        id: &KeyId,
        label: &str,
        at: Wall,
    ) -> Result<ApiKeyRow, StoreError> {
        let [keys, revoked, _] = Keys(group).api_keys();
        let mut call = self.scripts.insert_key.prepare_invoke();
        call.key(Keys(group).group()).key(keys).key(revoked).arg(told(group)).arg(id.as_str());
        let done: String = self.run(call.arg(format!("{}\n{label}", at.0)).arg(limits::API_KEYS)).await?;
        if done != "ok" {
            return Err(refused(&done, group));
        }
        let (group, id, label) = (group.clone(), id.clone(), label.to_owned());
        Ok(ApiKeyRow { group, id, label, created_at: at, revoked_at: None, last_used_at: None })
    }

    async fn revoke_api_key(&self, group: &GroupId, id: &KeyId, at: Wall) -> Result<bool, StoreError> {
        let [keys, revoked, _] = Keys(group).api_keys();
        let mut call = self.scripts.revoke_key.prepare_invoke();
        self.run(call.key(keys).key(revoked).arg(told(group)).arg(id.as_str()).arg(at.0)).await
    }

    async fn touch_api_key(&self, group: &GroupId, id: &KeyId, at: Wall) -> Result<(), StoreError> {
        let [keys, _, used] = Keys(group).api_keys();
        let mut call = self.scripts.touch_key.prepare_invoke();
        self.run(call.key(keys).key(used).arg(id.as_str()).arg(at.0)).await
    }

    async fn call(&self, key: &CallKey, since: Wall) -> Result<Option<CallRow>, StoreError> {
        let forgotten: Option<u64> = self.ask(redis::cmd("GET").arg(CALLS_SINCE)).await?;
        let [calls, _] = calls(key.group.as_ref());
        let text: Option<Vec<u8>> = self.ask(redis::cmd("HGET").arg(calls).arg(call_name(key))).await?;
        let row = text.map(|text| call_row(key, &text)).transpose()?;
        Ok(row.filter(|row| row.at.0 >= since.0.max(forgotten.unwrap_or_default())))
    }

    async fn remember_call(&self, row: &CallRow, since: Wall) -> Result<(), StoreError> {
        // What others made is out of this script's reach: the time says that it is forgotten.
        if self.forgotten.load(Ordering::Relaxed) < since.0 {
            let mut call = self.scripts.forget.prepare_invoke();
            let () = self.run(call.key(CALLS_SINCE).arg(since.0)).await?;
            self.forgotten.fetch_max(since.0, Ordering::Relaxed);
        }
        let mut text = format!("{} ", row.at.0).into_bytes();
        text.extend_from_slice(&row.digest);
        text.extend_from_slice(&row.answer);
        let [calls, order] = calls(row.key.group.as_ref());
        let mut call = self.scripts.remember.prepare_invoke();
        call.key(calls).key(order).arg(call_name(&row.key)).arg(text);
        call.arg(since.0).arg(limits::CALLS_REMEMBERED).arg(limits::CALL_MEMORY.as_secs());
        self.run(&call).await
    }

    async fn claim_call(
        &self,
        key: &CallKey,
        digest: &Digest,
        holder: u128,
        life: Duration,
    ) -> Result<Claimed, StoreError> {
        self.claim(key, digest, holder, life).await
    }

    async fn release_call(&self, key: &CallKey, holder: u128) -> Result<(), StoreError> {
        self.release(key, holder).await
    }

    async fn wrong_try(&self, door: &Digest, policy: &Policy) -> Result<Option<Duration>, StoreError> {
        self.count_wrong(door, policy).await
    }

    async fn open_door(&self, door: &Digest) -> Result<(), StoreError> {
        self.forget_wrong(door).await
    }

    fn door_news(&self) -> Option<broadcast::Receiver<DoorNews>> {
        Some(self.shared.news())
    }

    fn news(&self) -> News {
        News::of(self.news.subscribe())
    }

    async fn close(&self) {
        self.closed.cancel();
    }
}

/// A key that follows from a master secret, from which nobody finds it.
pub(super) fn standing_for(master: &MasterSecret) -> String {
    master.derive("same-secret", &[]).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What all nodes are told of a group; behind it stands an agent, `*` for all, or nothing.
fn told(group: &GroupId) -> String {
    format!("{group} ")
}
