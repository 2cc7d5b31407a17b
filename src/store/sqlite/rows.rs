//! Groups, agents and keys as rows of SQLite: what is selected, and how it is read.

use rusqlite::{Connection, Row};

use super::super::{Agent, AgentRow, ApiKeyRow, GroupRow, StoreError};
use crate::auth::password::PasswordHash;
use crate::clock::Wall;
use crate::ids::{AgentId, AgentKey, BadId, GroupId, KeyId};
use crate::model::settings::Settings;

pub(super) const AGENT: &str = "
    SELECT a.grp, a.agent, a.address, a.partner_user_id, a.name, a.profile, a.subscription, a.password,
           coalesce(t.generation, 0), a.created_at, a.fixed_key
    FROM agents a LEFT JOIN token_generations t ON t.grp = a.grp AND t.agent = a.agent";

pub(super) const API_KEY: &str = "SELECT grp, id, label, created_at, revoked_at, last_used_at FROM api_keys";

pub(super) fn group_row(row: &Row<'_>) -> Result<GroupRow, StoreError> {
    Ok(GroupRow {
        id: name(&row.get::<_, String>(0)?, GroupId::new)?,
        settings: settings_of(&row.get::<_, String>(1)?)?,
        version: unsigned(row, 2)?,
        created_at: Wall(unsigned(row, 3)?),
    })
}

pub(super) fn agent_row(row: &Row<'_>) -> Result<AgentRow, StoreError> {
    let key = AgentKey {
        group: name(&row.get::<_, String>(0)?, GroupId::new)?,
        agent: name(&row.get::<_, String>(1)?, AgentId::new)?,
    };
    let password: Option<String> = row.get(7)?;
    let password = password
        .map(|text| PasswordHash::parse(&text))
        .transpose()
        .map_err(|error| unreadable(format!("password of {}", key.agent), &error))?;
    Ok(AgentRow {
        agent: Agent {
            key,
            address: row.get(2)?,
            partner_user_id: row.get(3)?,
            name: row.get(4)?,
            profile: row.get(5)?,
            subscription: row.get(6)?,
            fixed_key: unsigned_if(row, 10)?.map(Wall),
        },
        password,
        generation: unsigned(row, 8)?,
        created_at: Wall(unsigned(row, 9)?),
    })
}

pub(super) fn api_key_row(row: &Row<'_>) -> Result<ApiKeyRow, StoreError> {
    Ok(ApiKeyRow {
        group: name(&row.get::<_, String>(0)?, GroupId::new)?,
        id: name(&row.get::<_, String>(1)?, KeyId::new)?,
        label: row.get(2)?,
        created_at: Wall(unsigned(row, 3)?),
        revoked_at: unsigned_if(row, 4)?.map(Wall),
        last_used_at: unsigned_if(row, 5)?.map(Wall),
    })
}

pub(super) fn all<T>(
    db: &Connection,
    sql: &str,
    values: &[&dyn rusqlite::ToSql],
    read: fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    db.prepare_cached(sql)?.query_and_then(values, read)?.collect()
}

pub(super) fn one<T>(
    db: &Connection,
    sql: &str,
    values: &[&dyn rusqlite::ToSql],
    read: fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    db.prepare_cached(sql)?.query_and_then(values, read)?.next().transpose()
}

pub(super) fn name<T>(text: &str, read: fn(&str) -> Result<T, BadId>) -> Result<T, StoreError> {
    read(text).map_err(|error| unreadable(format!("name {text:?}"), &error))
}

pub(super) fn settings_of(text: &str) -> Result<Settings, StoreError> {
    serde_json::from_str(text).map_err(|error| unreadable("settings".to_owned(), &error))
}

pub(super) fn json(settings: &Settings) -> String {
    serde_json::to_string(settings).expect("settings have text keys only")
}

pub(super) fn unreadable(what: String, why: &dyn std::error::Error) -> StoreError {
    StoreError::Unreadable { what, why: why.to_string() }
}

/// SQLite's integers are signed; ours stay far below the border.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::unsigned_abs)
}

fn unsigned_if(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    row.get::<_, Option<i64>>(column).map(|number| number.map(i64::unsigned_abs))
}
