//! What a move reads of SQLite.

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::super::migrate::{Ends, Source};
use super::super::{CallKey, CallRow, StoreError};
use super::{SqliteStore, all, name, one, signed, unreadable, unsigned};
use crate::clock::Wall;
use crate::ids::{AgentId, GroupId, SessionId};
use crate::limits;
use crate::model::event::Logged;

#[async_trait]
impl Source for SqliteStore {
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

    async fn ended_behind(&self, group: &GroupId, after: u64) -> Result<Vec<(u64, SessionId)>, StoreError> {
        let group = group.clone();
        self.engine
            .read(move |db| {
                let sql = "SELECT number, session FROM ended_sessions WHERE grp = ?1 AND number > ?2
                           ORDER BY number LIMIT ?3";
                all(db, sql, params![group.as_str(), signed(after), page()], |row| {
                    Ok((unsigned(row, 0)?, SessionId::from_bytes(row.get(1)?)))
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
}
