//! Session records in SQLite: the record as JSON, and beside it the columns that queries use.

use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::super::StoreError;
use super::super::events::Retention;
use super::super::records::{DayStatistics, LetGo, RecordCursor, RecordPage, RecordQuery, SessionRecords};
use super::{SqliteStore, all, name, one, signed, sync, unreadable, unsigned};
use crate::clock::Wall;
use crate::ids::{AgentId, GroupId, SessionId};
use crate::limits;
use crate::model::session_record::SessionRecord;

#[async_trait]
impl SessionRecords for SqliteStore {
    async fn session_records(&self, group: &GroupId, query: RecordQuery) -> Result<RecordPage, StoreError> {
        let group = group.clone();
        self.engine.read(move |db| find(db, &group, &query)).await
    }

    async fn session_record(
        &self,
        group: &GroupId,
        session: SessionId,
    ) -> Result<Option<SessionRecord>, StoreError> {
        let group = group.clone();
        self.engine.read(move |db| load(db, &group, session)).await
    }

    async fn open_session_records(&self) -> Result<Vec<SessionRecord>, StoreError> {
        self.engine
            .read(|db| {
                let sql =
                    "SELECT body FROM session_records WHERE status <> 'ended' ORDER BY created_at LIMIT ?1";
                let limit = signed(limits::RECORD_PAGE as u64);
                all(db, sql, params![limit], |row| body(row, 0))
            })
            .await
    }

    async fn statistics(
        &self,
        group: &GroupId,
        from: Wall,
        until: Wall,
    ) -> Result<Vec<DayStatistics>, StoreError> {
        let group = group.clone();
        self.engine
            .read(move |db| {
                all(
                    db,
                    "SELECT date(r.created_at / 1000, 'unixepoch') AS day, a.agent, count(*),
                            sum(r.outcome IN ('accepted', 'not_required')), sum(r.outcome = 'declined'),
                            sum(r.started), sum(r.duration_ms), sum(r.frames), sum(r.bytes)
                     FROM session_records r
                     JOIN session_record_agents a ON a.grp = r.grp AND a.session = r.session
                     WHERE r.grp = ?1 AND r.created_at >= ?2 AND r.created_at < ?3
                     GROUP BY day, a.agent ORDER BY day, a.agent",
                    params![group.as_str(), signed(from.0), signed(until.0)],
                    |row| {
                        Ok(DayStatistics {
                            day: row.get(0)?,
                            agent: name(&row.get::<_, String>(1)?, AgentId::new)?,
                            asked: unsigned(row, 2)?,
                            accepted: unsigned(row, 3)?,
                            declined: unsigned(row, 4)?,
                            started: unsigned(row, 5)?,
                            duration_ms: unsigned(row, 6)?,
                            frames: unsigned(row, 7)?,
                            bytes: unsigned(row, 8)?,
                        })
                    },
                )
            })
            .await
    }

    async fn trim_records(&self, group: &GroupId, keep: Retention, now: Wall) -> Result<LetGo, StoreError> {
        let group = group.clone();
        self.engine.write(move |db| trim(db, &group, keep, now)).await
    }
}

/// The numbers of ended sessions follow each other without a gap, and the newest is never let go of, so that none
/// is given twice.
fn trim(db: &Connection, group: &GroupId, keep: Retention, now: Wall) -> Result<LetGo, StoreError> {
    let mut gone = LetGo::default();
    let head = one(
        db,
        "SELECT number FROM ended_sessions WHERE grp = ?1 ORDER BY number DESC LIMIT 1",
        params![group.as_str()],
        |row| Ok(unsigned(row, 0)?),
    )?;
    let Some(head) = head else { return Ok(gone) };
    let handed = sync::records_handed(db, group)?;
    let over = |number: u64, ended: Wall, times: u32| {
        let count = keep.count.saturating_mul(u64::from(times));
        number <= head.saturating_sub(count) || ended < now.before(keep.age.saturating_mul(times))
    };
    let mut last = None;
    {
        let mut look = db.prepare_cached(
            "SELECT e.number, e.session, r.created_at, r.body FROM ended_sessions e
             LEFT JOIN session_records r ON r.grp = e.grp AND r.session = e.session
             WHERE e.grp = ?1 ORDER BY e.number LIMIT ?2",
        )?;
        let mut drop_record =
            db.prepare_cached("DELETE FROM session_records WHERE grp = ?1 AND session = ?2")?;
        let mut drop_agents =
            db.prepare_cached("DELETE FROM session_record_agents WHERE grp = ?1 AND session = ?2")?;
        let mut rows = look.query(params![group.as_str(), signed(limits::RECORD_TRIM as u64)])?;
        let mut sessions = Vec::new();
        while let Some(row) = rows.next()? {
            let (number, session): (u64, [u8; 16]) = (unsigned(row, 0)?, row.get(1)?);
            let Some(created) = row.get::<_, Option<i64>>(2)? else {
                // Only its place is left.
                last = Some(number);
                continue;
            };
            // A record that can't be read is let go of by when it was begun.
            let record = serde_json::from_str::<SessionRecord>(&row.get::<_, String>(3)?).ok();
            let ended = record.and_then(|record| record.ended).unwrap_or(Wall(created.unsigned_abs()));
            let unsent = number > handed;
            if !over(number, ended, if unsent { 2 } else { 1 }) {
                break;
            }
            last = Some(number);
            gone.records += 1;
            gone.unsent += u64::from(unsent);
            sessions.push(session);
        }
        for session in sessions {
            drop_record.execute(params![group.as_str(), session])?;
            drop_agents.execute(params![group.as_str(), session])?;
        }
    }
    if let Some(last) = last {
        db.prepare_cached("DELETE FROM ended_sessions WHERE grp = ?1 AND number <= ?2 AND number < ?3")?
            .execute(params![group.as_str(), signed(last), signed(head)])?;
    }
    Ok(gone)
}

/// Reads a record.
pub(super) fn load(
    db: &Connection,
    group: &GroupId,
    session: SessionId,
) -> Result<Option<SessionRecord>, StoreError> {
    let sql = "SELECT body FROM session_records WHERE grp = ?1 AND session = ?2";
    let text: Option<String> = db
        .prepare_cached(sql)?
        .query_row(params![group.as_str(), session.bytes()], |row| row.get(0))
        .optional()?;
    text.map(|text| read(&text)).transpose()
}

/// Writes a record.
pub(super) fn save(db: &Connection, record: &SessionRecord) -> Result<(), StoreError> {
    let (group, session) = (record.group.as_str(), record.session.bytes());
    let body = serde_json::to_string(record).expect("names, numbers and texts have a JSON form");
    db.prepare_cached(
        "INSERT INTO session_records
             (grp, session, created_at, status, outcome, kind, visitor, object, object_id, started, duration_ms,
              frames, bytes, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
         ON CONFLICT (grp, session) DO UPDATE SET
             status = ?4, outcome = ?5, started = ?10, duration_ms = ?11, frames = ?12, bytes = ?13, body = ?14",
    )?
    .execute(params![
        group,
        session,
        signed(record.created.0),
        record.status.as_str(),
        record.outcome.as_str(),
        record.kind.as_str(),
        record.visitor.as_ref().map(|visitor| visitor.as_str()),
        record.record.as_ref().map(|record| &*record.object),
        record.record.as_ref().map(|record| &*record.id),
        record.started.is_some(),
        signed(record.duration_ms()),
        signed(record.relayed.frames),
        signed(record.relayed.bytes),
        body
    ])?;
    let mut add = db.prepare_cached(
        "INSERT INTO session_record_agents (grp, session, agent, created_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
    )?;
    for agent in &record.agents {
        add.execute(params![group, session, agent.as_str(), signed(record.created.0)])?;
    }
    Ok(())
}

fn find(db: &Connection, group: &GroupId, query: &RecordQuery) -> Result<RecordPage, StoreError> {
    // Only what is asked for stands in the statement, so that an index fits it.
    let mut sql = String::from("SELECT r.body FROM session_records r");
    let mut values: Vec<Value> = vec![group.as_str().to_owned().into()];
    let created = if let Some(agent) = &query.agent {
        sql.push_str(" JOIN session_record_agents a ON a.grp = r.grp AND a.session = r.session");
        sql.push_str(" WHERE a.grp = ?1 AND a.agent = ?2");
        values.push(agent.as_str().to_owned().into());
        "a"
    } else {
        sql.push_str(" WHERE r.grp = ?1");
        "r"
    };
    let mut also = |condition: String, value: Value| {
        values.push(value);
        sql.push_str(&format!(" AND {}", condition.replace("$", &format!("?{}", values.len()))));
    };
    if let Some(from) = query.from {
        also(format!("{created}.created_at >= $"), signed(from.0).into());
    }
    // The index is searched up to one bound only: behind a place it must not be the span's, or each page
    // would pass over all those before it.
    let reached = query.after.map(|after| after.created.0.saturating_add(1));
    if let Some(until) = query.until {
        let until = reached.map_or(until.0, |reached| reached.min(until.0));
        also(format!("{created}.created_at < $"), signed(until).into());
    }
    if let Some((object, id)) = &query.record {
        also("r.object = $".to_owned(), object.clone().into());
        also("r.object_id = $".to_owned(), id.clone().into());
    }
    for (column, value) in [
        ("visitor", query.visitor.as_ref().map(|visitor| visitor.as_str())),
        ("kind", query.kind.map(|kind| kind.as_str())),
        ("outcome", query.outcome.map(|outcome| outcome.as_str())),
        ("status", query.status.map(|status| status.as_str())),
    ] {
        if let Some(value) = value {
            also(format!("r.{column} = $"), value.to_owned().into());
        }
    }
    if let Some(after) = query.after {
        also(format!("({created}.created_at, {created}.session) < ($, X)"), signed(after.created.0).into());
        let last = sql.len() - "X)".len();
        values.push(after.session.bytes().to_vec().into());
        sql.replace_range(last.., &format!("?{})", values.len()));
    }
    let limit = query.limit.unwrap_or(limits::RECORD_PAGE).clamp(1, limits::RECORD_PAGE);
    // One more than asked for shows whether there is another page.
    values.push(signed(limit as u64 + 1).into());
    sql.push_str(&format!(
        " ORDER BY {created}.created_at DESC, {created}.session DESC LIMIT ?{}",
        values.len()
    ));
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_and_then(params_from_iter(values), |row| body(row, 0))?;
    let mut records = rows.collect::<Result<Vec<_>, StoreError>>()?;
    let more = records.len() > limit;
    records.truncate(limit);
    let next = records
        .last()
        .filter(|_| more)
        .map(|last| RecordCursor { created: last.created, session: last.session });
    Ok(RecordPage { records, next })
}

fn body(row: &Row<'_>, column: usize) -> Result<SessionRecord, StoreError> {
    read(&row.get::<_, String>(column)?)
}

fn read(text: &str) -> Result<SessionRecord, StoreError> {
    serde_json::from_str(text).map_err(|error| unreadable("session record".to_owned(), &error))
}
