//! The embedded store: one SQLite file, for one node.
//!
//! Decides how rows become tables. Durability and threads are [`engine`]'s.

mod calls;
mod engine;
mod events;
mod feed;
mod fold;
mod migrate;
mod receipts;
mod records;
mod rows;
mod schema;
mod sync;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};

pub use engine::OpenError;

use rows::{
    AGENT, API_KEY, agent_row, all, api_key_row, group_row, json, name, one, settings_of, signed, unreadable,
    unsigned,
};

use super::{
    Agent, AgentRow, AgentsPage, ApiKeyRow, CallKey, CallRow, GroupRow, SettingsChange, Store, StoreError,
};
use crate::auth::password::PasswordHash;
use crate::clock::Wall;
use crate::config::Flush;
use crate::ids::{AgentId, AgentKey, GroupId, KeyId};
use crate::limits;
use crate::model::settings::Settings;

/// A [`Store`], and the logs beside it, in one SQLite file.
pub struct SqliteStore {
    engine: engine::Engine,
    newest: Arc<events::Newest>,
}

impl SqliteStore {
    /// Opens or creates the file. Blocks.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, Flush::default())
    }

    /// As [`Self::open`], with another answer to when a commit is on disk. Blocks.
    pub fn open_with(path: &Path, flush: Flush) -> Result<Self, OpenError> {
        Ok(Self { engine: engine::Engine::open(path, &schema::MIGRATIONS, flush)?, newest: Arc::default() })
    }

    /// Opens a file that exists, to be read while no server can have it open: writes are refused as by a store that
    /// was closed. Blocks.
    pub fn open_alone(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { engine: engine::Engine::open_alone(path, &schema::MIGRATIONS)?, newest: Arc::default() })
    }

    /// A store that ends with the process, for `--ephemeral` and tests.
    pub fn in_memory() -> Result<Self, OpenError> {
        Ok(Self { engine: engine::Engine::in_memory(&schema::MIGRATIONS)?, newest: Arc::default() })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn groups(&self) -> Result<Vec<GroupRow>, StoreError> {
        self.engine
            .read(|db| all(db, "SELECT grp, settings, version, created_at FROM groups", params![], group_row))
            .await
    }

    async fn group(&self, id: &GroupId) -> Result<Option<GroupRow>, StoreError> {
        let id = id.clone();
        self.engine.read(move |db| find_group(db, &id)).await
    }

    async fn put_group(
        &self,
        id: &GroupId,
        settings: &Settings,
        expected: Option<u64>,
        by: &str,
        at: Wall,
    ) -> Result<u64, StoreError> {
        let (id, settings, by) = (id.clone(), json(settings), by.to_owned());
        self.engine
            .write(move |db| {
                let stored = db
                    .query_row(
                        "SELECT version, settings FROM groups WHERE grp = ?1",
                        params![id.as_str()],
                        |row| Ok((unsigned(row, 0)?, row.get::<_, String>(1)?)),
                    )
                    .optional()?;
                let actual = stored.as_ref().map(|row| row.0);
                if actual != expected {
                    return Err(StoreError::Conflict { group: id, expected, actual });
                }
                let version = actual.unwrap_or(0) + 1;
                db.execute(
                    "INSERT INTO groups (grp, settings, version, created_at) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET settings = ?2, version = ?3",
                    params![id.as_str(), settings, signed(version), signed(at.0)],
                )?;
                db.execute(
                    "INSERT INTO settings_changes (grp, version, at, actor, before, after)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        id.as_str(),
                        signed(version),
                        signed(at.0),
                        by,
                        stored.map(|row| row.1),
                        settings
                    ],
                )?;
                db.execute(
                    "DELETE FROM settings_changes WHERE grp = ?1 AND version <= ?2",
                    params![id.as_str(), signed(version.saturating_sub(limits::SETTINGS_HISTORY as u64))],
                )?;
                Ok(version)
            })
            .await
    }

    async fn settings_changes(
        &self,
        id: &GroupId,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<SettingsChange>, StoreError> {
        let id = id.clone();
        self.engine.read(move |db| changes(db, &id, before, most)).await
    }

    async fn agents(&self, group: &GroupId) -> Result<Vec<AgentRow>, StoreError> {
        let group = group.clone();
        let sql = format!("{AGENT} WHERE a.grp = ?1 ORDER BY a.agent");
        self.engine.read(move |db| all(db, &sql, params![group.as_str()], agent_row)).await
    }

    async fn agents_page(&self, group: &GroupId, page: AgentsPage) -> Result<Vec<AgentRow>, StoreError> {
        let group = group.clone();
        let sql = format!(
            "{AGENT} WHERE a.grp = ?1 AND a.agent > ?2 AND (?3 OR a.password IS NOT NULL)
             ORDER BY a.agent LIMIT ?4"
        );
        self.engine
            .read(move |db| {
                let after = page.after.as_ref().map_or("", AgentId::as_str);
                let most = signed(page.most as u64);
                all(db, &sql, params![group.as_str(), after, !page.with_password, most], agent_row)
            })
            .await
    }

    async fn agent(&self, key: &AgentKey) -> Result<Option<AgentRow>, StoreError> {
        let key = key.clone();
        self.engine.read(move |db| find_agent(db, &key)).await
    }

    async fn agent_by_address(&self, group: &GroupId, address: &str) -> Result<Option<AgentRow>, StoreError> {
        let (group, address) = (group.clone(), address.to_owned());
        let sql = format!("{AGENT} WHERE a.grp = ?1 AND a.address = ?2");
        self.engine.read(move |db| one(db, &sql, params![group.as_str(), address], agent_row)).await
    }

    async fn agent_by_partner(
        &self,
        group: &GroupId,
        partner_user_id: &str,
    ) -> Result<Option<AgentRow>, StoreError> {
        let (group, partner) = (group.clone(), partner_user_id.to_owned());
        let sql = format!("{AGENT} WHERE a.grp = ?1 AND a.partner_user_id = ?2");
        self.engine.read(move |db| one(db, &sql, params![group.as_str(), partner], agent_row)).await
    }

    async fn upsert_agent(&self, agent: &Agent, at: Wall) -> Result<AgentRow, StoreError> {
        let agent = agent.clone();
        self.engine
            .write(move |db| {
                let (group, id) = (agent.key.group.as_str(), agent.key.agent.as_str());
                need_group(db, &agent.key.group)?;
                for (what, column, value) in [
                    ("address", "address", Some(&agent.address)),
                    ("partner user id", "partner_user_id", agent.partner_user_id.as_ref()),
                ] {
                    let sql = format!(
                        "SELECT EXISTS (SELECT 1 FROM agents WHERE grp = ?1 AND agent <> ?2 AND {column} = ?3)"
                    );
                    if db.query_row(&sql, params![group, id, value], |row| row.get(0))? {
                        return Err(StoreError::Taken { what });
                    }
                }
                db.execute(
                    "INSERT INTO agents
                         (grp, agent, address, partner_user_id, name, profile, subscription, fixed_key, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                     ON CONFLICT (grp, agent) DO UPDATE SET
                         address = ?3, partner_user_id = ?4, name = ?5, profile = ?6, subscription = ?7,
                         fixed_key = ?8",
                    params![
                        group,
                        id,
                        agent.address,
                        agent.partner_user_id,
                        agent.name,
                        agent.profile,
                        agent.subscription,
                        agent.fixed_key.map(|since| signed(since.0)),
                        signed(at.0)
                    ],
                )?;
                find_agent(db, &agent.key)?.ok_or_else(|| StoreError::NoGroup(agent.key.group.clone()))
            })
            .await
    }

    async fn set_password(
        &self,
        key: &AgentKey,
        password: Option<PasswordHash>,
    ) -> Result<Option<AgentRow>, StoreError> {
        let key = key.clone();
        self.engine
            .write(move |db| {
                let changed = db.execute(
                    "UPDATE agents SET password = ?3 WHERE grp = ?1 AND agent = ?2",
                    params![
                        key.group.as_str(),
                        key.agent.as_str(),
                        password.as_ref().map(PasswordHash::as_str)
                    ],
                )?;
                if changed > 0 {
                    revoke(db, &key.group, Some(&key.agent))?;
                }
                find_agent(db, &key)
            })
            .await
    }

    async fn remove_agent(&self, key: &AgentKey) -> Result<bool, StoreError> {
        let key = key.clone();
        self.engine
            .write(move |db| {
                revoke(db, &key.group, Some(&key.agent))?;
                db.execute(
                    "DELETE FROM feed_follows WHERE grp = ?1 AND agent = ?2",
                    params![key.group.as_str(), key.agent.as_str()],
                )?;
                let removed = db.execute(
                    "DELETE FROM agents WHERE grp = ?1 AND agent = ?2",
                    params![key.group.as_str(), key.agent.as_str()],
                )?;
                Ok(removed > 0)
            })
            .await
    }

    async fn revoke_tokens(&self, group: &GroupId, agent: Option<&AgentId>) -> Result<(), StoreError> {
        let (group, agent) = (group.clone(), agent.cloned());
        self.engine.write(move |db| revoke(db, &group, agent.as_ref())).await
    }

    async fn api_keys(&self, group: &GroupId) -> Result<Vec<ApiKeyRow>, StoreError> {
        let group = group.clone();
        let sql = format!("{API_KEY} WHERE grp = ?1 ORDER BY created_at, id");
        self.engine.read(move |db| all(db, &sql, params![group.as_str()], api_key_row)).await
    }

    async fn insert_api_key(
        &self,
        group: &GroupId,
        id: &KeyId,
        label: &str,
        at: Wall,
    ) -> Result<ApiKeyRow, StoreError> {
        let row = ApiKeyRow {
            group: group.clone(),
            id: id.clone(),
            label: label.to_owned(),
            created_at: at,
            revoked_at: None,
            last_used_at: None,
        };
        self.engine
            .write(move |db| {
                need_group(db, &row.group)?;
                let good: i64 = db.query_row(
                    "SELECT count(*) FROM api_keys WHERE grp = ?1 AND revoked_at IS NULL AND id <> ?2",
                    params![row.group.as_str(), row.id.as_str()],
                    |row| row.get(0),
                )?;
                if good >= i64::try_from(limits::API_KEYS).expect("it is small") {
                    return Err(StoreError::Full { what: "good api keys", most: limits::API_KEYS });
                }
                let added = db.execute(
                    "INSERT INTO api_keys (grp, id, label, created_at) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO NOTHING",
                    params![row.group.as_str(), row.id.as_str(), row.label, signed(at.0)],
                )?;
                if added == 0 { Err(StoreError::Taken { what: "key id" }) } else { Ok(row) }
            })
            .await
    }

    async fn revoke_api_key(&self, group: &GroupId, id: &KeyId, at: Wall) -> Result<bool, StoreError> {
        let (group, id) = (group.clone(), id.clone());
        self.engine
            .write(move |db| {
                let found = db.execute(
                    "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?3) WHERE grp = ?1 AND id = ?2",
                    params![group.as_str(), id.as_str(), signed(at.0)],
                )?;
                Ok(found > 0)
            })
            .await
    }

    async fn touch_api_key(&self, group: &GroupId, id: &KeyId, at: Wall) -> Result<(), StoreError> {
        let (group, id) = (group.clone(), id.clone());
        self.engine
            .write(move |db| {
                db.execute(
                    "UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, 0), ?3)
                     WHERE grp = ?1 AND id = ?2",
                    params![group.as_str(), id.as_str(), signed(at.0)],
                )?;
                Ok(())
            })
            .await
    }

    async fn call(&self, key: &CallKey, since: Wall) -> Result<Option<CallRow>, StoreError> {
        let key = key.clone();
        self.engine.read(move |db| calls::find(db, key, since)).await
    }

    async fn remember_call(&self, row: &CallRow, since: Wall) -> Result<(), StoreError> {
        let row = row.clone();
        self.engine.write(move |db| calls::remember(db, &row, since)).await
    }

    async fn close(&self) {
        self.engine.close().await;
        self.newest.clear();
    }
}

fn find_group(db: &Connection, id: &GroupId) -> Result<Option<GroupRow>, StoreError> {
    let sql = "SELECT grp, settings, version, created_at FROM groups WHERE grp = ?1";
    one(db, sql, params![id.as_str()], group_row)
}

fn changes(
    db: &Connection,
    id: &GroupId,
    before: Option<u64>,
    most: usize,
) -> Result<Vec<SettingsChange>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT version, at, actor, before, after FROM settings_changes
         WHERE grp = ?1 AND version < ?2 ORDER BY version DESC LIMIT ?3",
    )?;
    let most = signed(most.min(limits::SETTINGS_CHANGES) as u64);
    let mut rows = select.query(params![id.as_str(), before.map_or(i64::MAX, signed), most])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while bytes < limits::SETTINGS_CHANGES_BYTES
        && let Some(row) = rows.next()?
    {
        let (before, after): (Option<String>, String) = (row.get(3)?, row.get(4)?);
        bytes += before.as_ref().map_or(0, String::len) + after.len();
        found.push(SettingsChange {
            version: unsigned(row, 0)?,
            at: Wall(unsigned(row, 1)?),
            by: row.get(2)?,
            before: before.map(|text| settings_of(&text)).transpose()?,
            after: settings_of(&after)?,
        });
    }
    Ok(found)
}

fn find_agent(db: &Connection, key: &AgentKey) -> Result<Option<AgentRow>, StoreError> {
    let sql = format!("{AGENT} WHERE a.grp = ?1 AND a.agent = ?2");
    one(db, &sql, params![key.group.as_str(), key.agent.as_str()], agent_row)
}

fn need_group(db: &Connection, id: &GroupId) -> Result<(), StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM groups WHERE grp = ?1)";
    if db.query_row(sql, params![id.as_str()], |row| row.get(0))? {
        Ok(())
    } else {
        Err(StoreError::NoGroup(id.clone()))
    }
}

fn revoke(db: &Connection, group: &GroupId, agent: Option<&AgentId>) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO token_generations (grp, agent, generation)
         SELECT grp, agent, 1 FROM agents WHERE grp = ?1 AND (?2 IS NULL OR agent = ?2)
         ON CONFLICT (grp, agent) DO UPDATE SET generation = generation + 1",
        params![group.as_str(), agent.map(AgentId::as_str)],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use tempfile::TempDir;

    crate::store::events::suite::obligations!(events_in_memory, async || {
        (SqliteStore::in_memory().unwrap(), ())
    });
    crate::store::events::suite::obligations!(events_in_a_file, async || {
        let folder = TempDir::new().unwrap();
        (SqliteStore::open(&folder.path().join("store.db")).unwrap(), folder)
    });
    crate::store::records::suite::obligations!(records_in_memory, async || {
        (SqliteStore::in_memory().unwrap(), ())
    });
    crate::store::records::suite::obligations!(records_in_a_file, async || {
        let folder = TempDir::new().unwrap();
        (SqliteStore::open(&folder.path().join("store.db")).unwrap(), folder)
    });
    crate::store::feed::suite::obligations!(feed_in_memory, async || {
        (SqliteStore::in_memory().unwrap(), ())
    });
    crate::store::feed::suite::obligations!(feed_in_a_file, async || {
        let folder = TempDir::new().unwrap();
        (SqliteStore::open(&folder.path().join("store.db")).unwrap(), folder)
    });
    crate::store::receipts::suite::obligations!(receipts_in_memory, async || {
        (SqliteStore::in_memory().unwrap(), ())
    });
    crate::store::receipts::suite::obligations!(receipts_in_a_file, async || {
        let folder = TempDir::new().unwrap();
        (SqliteStore::open(&folder.path().join("store.db")).unwrap(), folder)
    });
    crate::store::sync::suite::obligations!(sync_in_memory, async || (SqliteStore::in_memory().unwrap(), ()));
    crate::store::sync::suite::obligations!(sync_in_a_file, async || {
        let folder = TempDir::new().unwrap();
        (SqliteStore::open(&folder.path().join("store.db")).unwrap(), folder)
    });
    crate::store::suite::obligations!(memory, async || (SqliteStore::in_memory().unwrap(), ()));
    crate::store::suite::obligations!(file, async || {
        let folder = TempDir::new().unwrap();
        (SqliteStore::open(&folder.path().join("store.db")).unwrap(), folder)
    });

    fn group() -> GroupId {
        GroupId::new("g").unwrap()
    }

    const AT: Wall = Wall(1);

    #[tokio::test]
    async fn what_was_acknowledged_survives_a_kill() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("deep/store.db");
        let store = SqliteStore::open(&path).unwrap();
        store.put_group(&group(), &Settings::default(), None, "t", AT).await.unwrap();
        // What the disk holds at this very moment, without a close or a checkpoint.
        let copy = folder.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        for name in ["store.db", "store.db-wal"] {
            std::fs::copy(path.with_file_name(name), copy.join(name)).unwrap();
        }
        let revived = SqliteStore::open(&copy.join("store.db")).unwrap();
        assert_eq!(revived.group(&group()).await.unwrap().unwrap().version, 1);
        store.close().await;
    }

    #[tokio::test]
    async fn closing_leaves_one_whole_and_private_file() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("store.db");
        let store = SqliteStore::open(&path).unwrap();
        store.put_group(&group(), &Settings::default(), None, "t", AT).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            std::fs::metadata(path.with_extension("db-wal")).unwrap().permissions().mode() & 0o777,
            0o600
        );
        store.close().await;
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the log is gone");
        let again = SqliteStore::open(&path).unwrap();
        assert!(again.group(&group()).await.unwrap().is_some());
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("store.db");
        let db = Connection::open(&path).unwrap();
        db.pragma_update(None, "user_version", 1_000).unwrap();
        drop(db);
        assert!(matches!(SqliteStore::open(&path), Err(OpenError::Schema(_))));
    }

    #[tokio::test]
    async fn commits_are_flushed() {
        let folder = TempDir::new().unwrap();
        let store = SqliteStore::open(&folder.path().join("store.db")).unwrap();
        let modes = |db: &Connection| {
            let journal: String = db.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
            let synchronous: i64 = db.pragma_query_value(None, "synchronous", |row| row.get(0))?;
            Ok((journal, synchronous))
        };
        let full = 2;
        // Inside a transaction, as each write runs.
        assert_eq!(store.engine.write(modes).await.unwrap(), ("wal".to_owned(), full));
    }

    #[tokio::test]
    async fn a_lock_held_by_another_process_fails_the_write_alone() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("store.db");
        let store = SqliteStore::open(&path).unwrap();
        let other = Connection::open(&path).unwrap();
        store.engine.write(|db| Ok(db.busy_timeout(std::time::Duration::ZERO)?)).await.unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let refused = store.put_group(&group(), &Settings::default(), None, "t", AT).await;
        assert!(matches!(refused, Err(StoreError::Failed(_))), "{refused:?}");
        other.execute_batch("ROLLBACK").unwrap();
        store.put_group(&group(), &Settings::default(), None, "t", AT).await.unwrap();
    }

    #[tokio::test]
    async fn unreadable_settings_are_told_not_guessed() {
        let store = SqliteStore::in_memory().unwrap();
        store.put_group(&group(), &Settings::default(), None, "t", AT).await.unwrap();
        store
            .engine
            .write(|db| Ok(db.execute("UPDATE groups SET settings = '{\"graceSeconds\":\"x\"}'", [])?))
            .await
            .unwrap();
        assert!(matches!(store.group(&group()).await, Err(StoreError::Unreadable { .. })));
    }

    #[tokio::test]
    async fn the_history_of_settings_keeps_the_newest() {
        let store = SqliteStore::in_memory().unwrap();
        let most = limits::SETTINGS_HISTORY as u64;
        let mut version = None;
        for _ in 0..most + 3 {
            let put = store.put_group(&group(), &Settings::default(), version, "t", AT).await;
            version = Some(put.unwrap());
        }
        let oldest = store.settings_changes(&group(), Some(6), 9).await.unwrap();
        assert_eq!(oldest.iter().map(|change| change.version).collect::<Vec<_>>(), [5, 4]);
        let newest = store.settings_changes(&group(), None, 1).await.unwrap();
        assert_eq!(newest[0].version, most + 3);
    }
}
