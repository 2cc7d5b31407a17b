//! What a move reads of SQLite.

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::super::migrate::{Counts, Ends, Source};
use super::super::{CallKey, CallRow, StoreError};
use super::{SqliteStore, all, name, one, signed, unreadable, unsigned};
use crate::clock::Wall;
use crate::ids::{AgentId, GroupId, SessionId};
use crate::limits;
use crate::model::event::Logged;

/// In the order of [`super::super::migrate::PARTS`].
const COUNTS: &str = "
    SELECT coalesce((SELECT version FROM groups WHERE grp = ?1), 0),
           (SELECT count(*) FROM settings_changes WHERE grp = ?1),
           (SELECT count(*) FROM agents WHERE grp = ?1),
           (SELECT count(password) FROM agents WHERE grp = ?1),
           (SELECT count(*) FROM token_generations WHERE grp = ?1),
           (SELECT count(*) FROM api_keys WHERE grp = ?1),
           (SELECT count(*) FROM calls WHERE grp = ?1),
           (SELECT count(*) FROM feed_follows WHERE grp = ?1),
           coalesce((SELECT head FROM event_ends WHERE grp = ?1), 0),
           (SELECT count(*) FROM events WHERE grp = ?1),
           (SELECT count(*) FROM feed_posts WHERE grp = ?1),
           (SELECT count(*) FROM leads WHERE grp = ?1),
           (SELECT count(*) FROM session_records WHERE grp = ?1),
           (SELECT count(*) FROM ended_sessions WHERE grp = ?1),
           coalesce((SELECT max(number) FROM receipts WHERE grp = ?1),
                    (SELECT number FROM receipt_cuts WHERE grp = ?1), 0),
           (SELECT count(*) FROM receipts WHERE grp = ?1),
           (SELECT count(*) FROM sinks WHERE grp = ?1),
           (SELECT count(*) FROM dead_letters WHERE grp = ?1),
           (SELECT count(*) FROM sync_runs WHERE grp = ?1)";

#[async_trait]
impl Source for SqliteStore {
    async fn groups_behind(&self, after: Option<&GroupId>) -> Result<Vec<GroupId>, StoreError> {
        let after = after.cloned();
        self.engine
            .read(move |db| {
                let sql = "SELECT grp FROM groups WHERE grp > ?1 ORDER BY grp LIMIT ?2";
                // No name is empty.
                let after = after.as_ref().map_or("", GroupId::as_str);
                all(db, sql, params![after, page()], |row| name(&row.get::<_, String>(0)?, GroupId::new))
            })
            .await
    }

    async fn counts(&self, group: Option<&GroupId>) -> Result<Counts, StoreError> {
        let group = group.cloned();
        self.engine
            .read(move |db| {
                let owner = group.as_ref().map_or("", GroupId::as_str);
                let read = |row: &Row<'_>| {
                    let mut counts = Counts::default();
                    for (at, count) in counts.iter_mut().enumerate() {
                        *count = unsigned(row, at)?;
                    }
                    Ok(counts)
                };
                let counts = one(db, COUNTS, params![owner], read)?;
                Ok(counts.unwrap_or_default())
            })
            .await
    }

    async fn followers_behind(
        &self,
        group: &GroupId,
        after: Option<&AgentId>,
    ) -> Result<Vec<AgentId>, StoreError> {
        let (group, after) = (group.clone(), after.cloned());
        self.engine
            .read(move |db| {
                let sql = "SELECT DISTINCT agent FROM feed_follows WHERE grp = ?1 AND agent > ?2
                           ORDER BY agent LIMIT ?3";
                let after = after.as_ref().map_or("", AgentId::as_str);
                let read = |row: &Row<'_>| name(&row.get::<_, String>(0)?, AgentId::new);
                all(db, sql, params![group.as_str(), after, page()], read)
            })
            .await
    }

    async fn ends(&self, group: &GroupId) -> Result<Ends, StoreError> {
        let group = group.clone();
        self.engine
            .read(move |db| {
                let sql = "SELECT head, low FROM event_ends WHERE grp = ?1";
                let ends = one(db, sql, params![group.as_str()], |row| {
                    Ok(Ends { head: unsigned(row, 0)?, low: unsigned(row, 1)? })
                })?;
                Ok(ends.unwrap_or_default())
            })
            .await
    }

    async fn posts_behind(&self, group: &GroupId, after: u64) -> Result<Vec<Logged>, StoreError> {
        self.logged(
            "SELECT sequence, event FROM feed_posts WHERE grp = ?1 AND sequence > ?2
             ORDER BY sequence LIMIT ?3",
            group,
            after,
        )
        .await
    }

    async fn leads_behind(&self, group: &GroupId, after: u64) -> Result<Vec<Logged>, StoreError> {
        self.logged(
            "SELECT sequence, event FROM leads WHERE grp = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
            group,
            after,
        )
        .await
    }

    async fn ended_behind(
        &self,
        group: &GroupId,
        after: u64,
    ) -> Result<Vec<(u64, SessionId, Option<Wall>)>, StoreError> {
        let group = group.clone();
        self.engine
            .read(move |db| {
                let sql = "SELECT e.number, e.session, r.created_at FROM ended_sessions e
                           LEFT JOIN session_records r ON r.grp = e.grp AND r.session = e.session
                           WHERE e.grp = ?1 AND e.number > ?2 ORDER BY e.number LIMIT ?3";
                all(db, sql, params![group.as_str(), signed(after), page()], |row| {
                    let created = row.get::<_, Option<i64>>(2)?.map(|at| Wall(at.unsigned_abs()));
                    Ok((unsigned(row, 0)?, SessionId::from_bytes(row.get(1)?), created))
                })
            })
            .await
    }

    async fn generations_behind(
        &self,
        group: &GroupId,
        after: Option<&AgentId>,
    ) -> Result<Vec<(AgentId, u64)>, StoreError> {
        let (group, after) = (group.clone(), after.cloned());
        self.engine
            .read(move |db| {
                let sql = "SELECT agent, generation FROM token_generations WHERE grp = ?1 AND agent > ?2
                           ORDER BY agent LIMIT ?3";
                // No name is empty.
                let after = after.as_ref().map_or("", AgentId::as_str);
                all(db, sql, params![group.as_str(), after, page()], |row| {
                    Ok((name(&row.get::<_, String>(0)?, AgentId::new)?, unsigned(row, 1)?))
                })
            })
            .await
    }

    async fn calls_behind(
        &self,
        group: Option<&GroupId>,
        after: u64,
    ) -> Result<Vec<(u64, CallRow)>, StoreError> {
        let group = group.cloned();
        self.engine
            .read(move |db| {
                let sql = "SELECT number, caller, request_id, digest, answer, at FROM calls
                           WHERE grp = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
                let owner = group.as_ref().map_or("", GroupId::as_str);
                let rows = all(db, sql, params![owner, signed(after), page()], |row| {
                    let key = CallKey { group: None, caller: row.get(1)?, request_id: row.get(2)? };
                    let at = Wall(unsigned(row, 5)?);
                    Ok((unsigned(row, 0)?, CallRow { key, digest: row.get(3)?, answer: row.get(4)?, at }))
                })?;
                let whose = |(number, mut call): (u64, CallRow)| {
                    call.key.group.clone_from(&group);
                    (number, call)
                };
                Ok(rows.into_iter().map(whose).collect())
            })
            .await
    }
}

impl SqliteStore {
    /// Events with their sequences, from a table that keeps them.
    async fn logged(
        &self,
        sql: &'static str,
        group: &GroupId,
        after: u64,
    ) -> Result<Vec<Logged>, StoreError> {
        let group = group.clone();
        let read = |row: &Row<'_>| -> Result<Logged, StoreError> {
            let (sequence, text) = (unsigned(row, 0)?, row.get::<_, String>(1)?);
            let event = serde_json::from_str(&text)
                .map_err(|error| unreadable(format!("event {sequence}"), &error))?;
            Ok(Logged { sequence, event })
        };
        self.engine.read(move |db| all(db, sql, params![group.as_str(), signed(after), page()], read)).await
    }
}

fn page() -> i64 {
    signed(limits::MOVE_ROWS as u64)
}

#[cfg(test)]
mod tests {
    use super::super::super::{Agent, Store as _};
    use super::*;
    use crate::ids::AgentKey;
    use crate::model::settings::Settings;

    #[tokio::test]
    async fn what_nobody_asks_for_is_read_page_by_page() {
        let store = SqliteStore::in_memory().unwrap();
        let group = GroupId::new("g").unwrap();
        store.put_group(&group, &Settings::default(), None, "it", Wall(1)).await.unwrap();
        let mut names = Vec::new();
        for number in 0..limits::MOVE_ROWS + 3 {
            let agent = AgentId::new(&format!("a{number:05}")).unwrap();
            let key = AgentKey { group: group.clone(), agent: agent.clone() };
            let row = Agent {
                key: key.clone(),
                address: agent.to_string(),
                partner_user_id: None,
                name: "A".to_owned(),
                profile: None,
                subscription: None,
                fixed_key: None,
            };
            store.upsert_agent(&row, Wall(1)).await.unwrap();
            // What was revoked stays so when the agent is gone.
            store.remove_agent(&key).await.unwrap();
            names.push(agent);
        }
        let first = store.generations_behind(&group, None).await.unwrap();
        assert_eq!(first.len(), limits::MOVE_ROWS);
        let rest = store.generations_behind(&group, first.last().map(|(name, _)| name)).await.unwrap();
        assert!(rest.iter().all(|(_, generation)| *generation > 0));
        let read: Vec<_> = first.into_iter().chain(rest).map(|(name, _)| name).collect();
        assert_eq!(read, names);

        for (number, of) in [(1, Some(group.clone())), (2, None), (3, Some(group.clone()))] {
            let key = CallKey { group: of, caller: "it".to_owned(), request_id: format!("r{number}") };
            let call = CallRow { key, digest: [number; 32], answer: vec![number], at: Wall(number.into()) };
            store.remember_call(&call, Wall(0)).await.unwrap();
        }
        let of = async |group: Option<&GroupId>, after| -> Vec<u8> {
            let calls = store.calls_behind(group, after).await.unwrap();
            calls.iter().map(|(_, call)| call.digest[0]).collect()
        };
        assert_eq!(of(Some(&group), 0).await, [1, 3]);
        assert_eq!(of(Some(&group), 1).await, [3]);
        assert_eq!(of(None, 0).await, [2]);
        assert_eq!(store.ends(&group).await.unwrap(), Ends::default());
    }

    #[tokio::test]
    async fn a_database_that_is_moved_is_nobody_elses_and_stays_as_it_is() {
        use super::super::OpenError;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("porchlight.db");
        assert!(matches!(SqliteStore::open_alone(&path), Err(OpenError::Io { .. })), "none is made");
        let store = SqliteStore::open(&path).unwrap();
        let group = GroupId::new("g").unwrap();
        store.put_group(&group, &Settings::default(), None, "it", Wall(1)).await.unwrap();
        assert!(matches!(SqliteStore::open_alone(&path), Err(OpenError::InUse { .. })));
        // As after a kill: what was written last is in the log beside the database.
        let copy = folder.path().join("copy.db");
        for end in ["", "-wal"] {
            let named = |path: &std::path::Path| format!("{}{end}", path.display());
            std::fs::copy(named(&path), named(&copy)).unwrap();
        }
        store.close().await;
        let bytes = std::fs::read(&copy).unwrap();
        let alone = SqliteStore::open_alone(&copy).unwrap();
        assert_eq!(alone.groups_behind(None).await.unwrap(), std::slice::from_ref(&group));
        assert_eq!(alone.counts(Some(&group)).await.unwrap()[..3], [1, 1, 0]);
        assert!(matches!(
            alone.put_group(&group, &Settings::default(), Some(1), "it", Wall(2)).await,
            Err(StoreError::Closed)
        ));
        let other = rusqlite::Connection::open(&copy).unwrap();
        other.busy_timeout(std::time::Duration::ZERO).unwrap();
        let read = other.query_row("SELECT count(*) FROM groups", [], |row| row.get::<_, i64>(0));
        assert_eq!(read.unwrap_err().sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy));
        drop(other);
        alone.close().await;
        assert_eq!(std::fs::read(&copy).unwrap(), bytes);
        let again = SqliteStore::open(&copy).unwrap();
        assert_eq!(again.groups_behind(None).await.unwrap(), [group]);
        again.close().await;
        rusqlite::Connection::open(&copy).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(SqliteStore::open_alone(&copy), Err(OpenError::OtherVersion { .. })));
    }
}
