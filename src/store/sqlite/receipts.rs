//! Chains of receipts in SQLite. The one writer seals, so that two receipts never take the same place.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::StoreError;
use super::super::receipts::{Beginning, Cut, ReceiptLog, Seal};
use super::{SqliteStore, all, one, signed, unsigned};
use crate::clock::Wall;
use crate::ids::{GroupId, ReceiptId, SessionId};
use crate::limits;
use crate::model::receipt::{Link, Sealed};

const RECEIPT: &str = "SELECT id, number, session, at, line FROM receipts";

#[async_trait]
impl ReceiptLog for SqliteStore {
    async fn append_receipt(&self, group: &GroupId, seal: Seal) -> Result<Sealed, StoreError> {
        let group = group.clone();
        self.engine
            .write(move |db| {
                let sealed = seal(&next(db, &group)?);
                let added = db
                    .prepare_cached(
                        "INSERT INTO receipts (grp, number, id, session, at, line)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (grp, id) DO NOTHING",
                    )?
                    .execute(params![
                        group.as_str(),
                        signed(sealed.number),
                        sealed.id.bytes(),
                        sealed.session.bytes(),
                        signed(sealed.at.0),
                        sealed.line
                    ])?;
                if added > 0 {
                    return Ok(sealed);
                }
                find(db, &group, sealed.id)?.ok_or_else(|| StoreError::Unreadable {
                    what: format!("receipt {}", sealed.id),
                    why: "its place is taken".to_owned(),
                })
            })
            .await
    }

    async fn receipt(&self, group: &GroupId, id: ReceiptId) -> Result<Option<Sealed>, StoreError> {
        let group = group.clone();
        self.engine.read(move |db| find(db, &group, id)).await
    }

    async fn receipts(&self, group: &GroupId, after: u64) -> Result<Vec<Sealed>, StoreError> {
        let group = group.clone();
        self.engine
            .read(move |db| {
                let sql = format!("{RECEIPT} WHERE grp = ?1 AND number > ?2 ORDER BY number LIMIT ?3");
                let limit = signed(limits::RECEIPT_PAGE as u64);
                all(db, &sql, params![group.as_str(), signed(after), limit], row)
            })
            .await
    }

    async fn next_receipt(&self, group: &GroupId) -> Result<Link, StoreError> {
        let group = group.clone();
        self.engine.read(move |db| next(db, &group)).await
    }

    async fn beginning(&self, group: &GroupId) -> Result<Option<Beginning>, StoreError> {
        let group = group.clone();
        self.engine
            .read(move |db| {
                let sql = "SELECT number, at, line FROM receipt_cuts WHERE grp = ?1";
                one(db, sql, params![group.as_str()], |row| {
                    Ok(Beginning { count: unsigned(row, 0)?, at: Wall(unsigned(row, 1)?), line: row.get(2)? })
                })
            })
            .await
    }

    async fn let_receipts_go(&self, group: &GroupId, before: Wall, cut: Cut) -> Result<u64, StoreError> {
        let group = group.clone();
        self.engine.write(move |db| let_go(db, &group, before, &cut)).await
    }
}

fn let_go(db: &Connection, group: &GroupId, before: Wall, cut: &Cut) -> Result<u64, StoreError> {
    // In the order of the chain: what stands behind a younger one stays, a clock that was set back or not.
    let sql = format!("{RECEIPT} WHERE grp = ?1 ORDER BY number LIMIT ?2");
    let oldest = all(db, &sql, params![group.as_str(), signed(limits::RECEIPT_PAGE as u64)], row)?;
    let gone = oldest.iter().take_while(|sealed| sealed.at < before);
    let Some((count, last)) = gone.enumerate().last().map(|(at, last)| (at as u64 + 1, last)) else {
        return Ok(0);
    };
    let next = Link::behind(last.number, &last.line);
    let beginning = cut(&next);
    db.execute(
        "INSERT INTO receipt_cuts (grp, number, hash, at, line) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (grp) DO UPDATE SET number = ?2, hash = ?3, at = ?4, line = ?5",
        params![group.as_str(), signed(last.number), next.previous, signed(beginning.at.0), beginning.line],
    )?;
    db.execute(
        "DELETE FROM receipts WHERE grp = ?1 AND number <= ?2",
        params![group.as_str(), signed(last.number)],
    )?;
    Ok(count)
}

fn find(db: &Connection, group: &GroupId, id: ReceiptId) -> Result<Option<Sealed>, StoreError> {
    one(db, &format!("{RECEIPT} WHERE grp = ?1 AND id = ?2"), params![group.as_str(), id.bytes()], row)
}

fn next(db: &Connection, group: &GroupId) -> Result<Link, StoreError> {
    let sql = "SELECT number, line FROM receipts WHERE grp = ?1 ORDER BY number DESC LIMIT 1";
    let last = db
        .prepare_cached(sql)?
        .query_row(params![group.as_str()], |row| Ok((unsigned(row, 0)?, row.get::<_, String>(1)?)))
        .optional()?;
    if let Some((number, line)) = last {
        return Ok(Link::behind(number, &line));
    }
    // There is none: there never was, or all were let go of.
    let sql = "SELECT number, hash FROM receipt_cuts WHERE grp = ?1";
    let cut = one(db, sql, params![group.as_str()], |row| {
        Ok(Link { number: unsigned(row, 0)? + 1, previous: row.get(1)? })
    })?;
    Ok(cut.unwrap_or_else(Link::first))
}

fn row(row: &Row<'_>) -> Result<Sealed, StoreError> {
    Ok(Sealed {
        id: ReceiptId::from_bytes(row.get(0)?),
        number: unsigned(row, 1)?,
        session: SessionId::from_bytes(row.get(2)?),
        at: Wall(unsigned(row, 3)?),
        line: row.get(4)?,
    })
}
