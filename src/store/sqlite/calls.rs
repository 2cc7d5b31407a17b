//! The calls that are not made again, as rows.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::{CallKey, CallRow, StoreError};
use super::{signed, unsigned};
use crate::clock::Wall;
use crate::ids::GroupId;
use crate::limits;

/// The operator's calls belong to no group; no group has an empty name.
fn owner(key: &CallKey) -> &str {
    key.group.as_ref().map_or("", GroupId::as_str)
}

pub(super) fn find(db: &Connection, key: CallKey, since: Wall) -> Result<Option<CallRow>, StoreError> {
    let found = db
        .prepare_cached(
            "SELECT digest, answer, at FROM calls
             WHERE grp = ?1 AND caller = ?2 AND request_id = ?3 AND at >= ?4",
        )?
        .query_row(params![owner(&key), key.caller, key.request_id, signed(since.0)], |row| {
            Ok((row.get(0)?, row.get(1)?, Wall(unsigned(row, 2)?)))
        })
        .optional()?;
    Ok(found.map(|(digest, answer, at)| CallRow { key, digest, answer, at }))
}

pub(super) fn remember(db: &Connection, row: &CallRow, since: Wall) -> Result<(), StoreError> {
    let owner = owner(&row.key);
    db.prepare_cached("DELETE FROM calls WHERE at < ?1")?.execute([signed(since.0)])?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO calls (grp, caller, request_id, number, digest, answer, at)
         VALUES (?1, ?2, ?3, (SELECT coalesce(max(number), 0) + 1 FROM calls WHERE grp = ?1), ?4, ?5, ?6)",
    )?
    .execute(params![
        owner,
        row.key.caller,
        row.key.request_id,
        row.digest,
        row.answer,
        signed(row.at.0)
    ])?;
    // Numbers rise with each row of a group, so that this leaves the newest without counting them.
    db.prepare_cached(
        "DELETE FROM calls
         WHERE grp = ?1 AND number <= (SELECT max(number) FROM calls WHERE grp = ?1) - ?2",
    )?
    .execute(params![owner, signed(limits::CALLS_REMEMBERED as u64)])?;
    Ok(())
}
