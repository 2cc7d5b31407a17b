//! Sinks and the sync in SQLite. Places of ended sessions are given by a trigger, in the very commit that
//! ends them.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::super::StoreError;
use super::super::sync::{
    Cause, DeadLetter, EndedRecords, LaneKey, Progress, RunCursor, RunRow, Sink, SinkBody, SinkRow, SinkRun,
    SyncStore,
};
use super::{SqliteStore, all, name, need_group, one, signed, unreadable, unsigned};
use crate::clock::Wall;
use crate::ids::{GroupId, RunId, SinkId};
use crate::limits;
use crate::model::session_record::SessionRecord;
use crate::model::sink::{Lane, Target};

#[derive(Serialize, Deserialize)]
struct RunBody {
    sinks: Vec<SinkRun>,
    #[serde(default)]
    lost: bool,
}

#[async_trait]
impl SyncStore for SqliteStore {
    async fn put_sink(&self, sink: &Sink, rotate: bool, at: Wall) -> Result<SinkRow, StoreError> {
        let sink = sink.clone();
        self.engine.write(move |db| put_sink(db, sink, rotate, at)).await
    }

    async fn sinks(&self, group: Option<&GroupId>) -> Result<Vec<SinkRow>, StoreError> {
        let group = group.cloned();
        self.engine
            .read(move |db| {
                let sql = "SELECT grp, sink, body FROM sinks WHERE ?1 IS NULL OR grp = ?1 ORDER BY grp, sink";
                all(db, sql, params![group.as_ref().map(GroupId::as_str)], sink_row)
            })
            .await
    }

    async fn sink(&self, group: &GroupId, id: &SinkId) -> Result<Option<SinkRow>, StoreError> {
        let (group, id) = (group.clone(), id.clone());
        self.engine.read(move |db| find_sink(db, &group, &id)).await
    }

    async fn delete_sink(&self, group: &GroupId, id: &SinkId) -> Result<bool, StoreError> {
        let (group, id) = (group.clone(), id.clone());
        self.engine
            .write(move |db| {
                let sql = "DELETE FROM sinks WHERE grp = ?1 AND sink = ?2";
                Ok(db.execute(sql, params![group.as_str(), id.as_str()])? > 0)
            })
            .await
    }

    async fn disable_sink(&self, group: &GroupId, id: &SinkId, why: &str) -> Result<(), StoreError> {
        let (group, id, why) = (group.clone(), id.clone(), why.to_owned());
        self.engine
            .write(move |db| {
                let Some(mut row) = find_sink(db, &group, &id)? else { return Ok(()) };
                row.sink.enabled = false;
                row.disabled = Some(why);
                save_sink(db, &row)
            })
            .await
    }

    async fn progress(&self, key: &LaneKey) -> Result<Option<Progress>, StoreError> {
        let key = key.clone();
        self.engine
            .read(move |db| {
                let sql = "SELECT after, failures, failing_since, retry_at, error FROM sink_lanes
                           WHERE grp = ?1 AND sink = ?2 AND lane = ?3";
                one(db, sql, params![key.group.as_str(), key.sink.as_str(), key.lane.as_str()], progress_row)
            })
            .await
    }

    async fn advance(&self, key: &LaneKey, from: u64, to: u64) -> Result<bool, StoreError> {
        let key = key.clone();
        self.engine.write(move |db| advance(db, &key, from, to)).await
    }

    async fn note_failure(&self, key: &LaneKey, progress: &Progress) -> Result<(), StoreError> {
        let (key, now) = (key.clone(), progress.clone());
        self.engine
            .write(move |db| {
                db.execute(
                    "UPDATE sink_lanes SET failures = ?5, failing_since = ?6, retry_at = ?7, error = ?8
                     WHERE grp = ?1 AND sink = ?2 AND lane = ?3 AND after = ?4",
                    params![
                        key.group.as_str(),
                        key.sink.as_str(),
                        key.lane.as_str(),
                        signed(now.after),
                        now.failures,
                        now.failing_since.map(|at| signed(at.0)),
                        now.retry_at.map(|at| signed(at.0)),
                        now.error
                    ],
                )?;
                Ok(())
            })
            .await
    }

    async fn bury(&self, key: &LaneKey, from: u64, to: u64, letter: &DeadLetter) -> Result<bool, StoreError> {
        let (key, letter) = (key.clone(), letter.clone());
        self.engine
            .write(move |db| {
                if !advance(db, &key, from, to)? {
                    return Ok(false);
                }
                let (group, sink) = (key.group.as_str(), key.sink.as_str());
                db.execute(
                    "INSERT INTO dead_letters (grp, sink, number, id, body, at, error)
                     SELECT ?1, ?2, coalesce(max(number), 0) + 1, ?3, ?4, ?5, ?6
                     FROM dead_letters WHERE grp = ?1 AND sink = ?2",
                    params![group, sink, letter.id, letter.body, signed(letter.at.0), letter.error],
                )?;
                db.execute(
                    "DELETE FROM dead_letters WHERE grp = ?1 AND sink = ?2 AND number <=
                         (SELECT max(number) FROM dead_letters WHERE grp = ?1 AND sink = ?2) - ?3",
                    params![group, sink, signed(limits::DEAD_LETTERS as u64)],
                )?;
                Ok(true)
            })
            .await
    }

    async fn dead_letters(
        &self,
        group: &GroupId,
        sink: &SinkId,
        after: u64,
        most: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let (group, sink) = (group.clone(), sink.clone());
        self.engine
            .read(move |db| {
                let sql = "SELECT number, id, body, at, error FROM dead_letters
                           WHERE grp = ?1 AND sink = ?2 AND number > ?3 ORDER BY number LIMIT ?4";
                let most = signed(most as u64);
                all(db, sql, params![group.as_str(), sink.as_str(), signed(after), most], |row| {
                    Ok(DeadLetter {
                        number: unsigned(row, 0)?,
                        id: row.get(1)?,
                        body: row.get(2)?,
                        at: Wall(unsigned(row, 3)?),
                        error: row.get(4)?,
                    })
                })
            })
            .await
    }

    async fn count_dead_letters(&self, group: &GroupId, sink: &SinkId) -> Result<u64, StoreError> {
        let (group, sink) = (group.clone(), sink.clone());
        self.engine
            .read(move |db| {
                let sql = "SELECT count(*) FROM dead_letters WHERE grp = ?1 AND sink = ?2";
                let count =
                    one(db, sql, params![group.as_str(), sink.as_str()], |row| Ok(unsigned(row, 0)?))?;
                Ok(count.unwrap_or(0))
            })
            .await
    }

    async fn forget_dead_letter(
        &self,
        group: &GroupId,
        sink: &SinkId,
        number: u64,
    ) -> Result<(), StoreError> {
        let (group, sink) = (group.clone(), sink.clone());
        self.engine
            .write(move |db| {
                db.execute(
                    "DELETE FROM dead_letters WHERE grp = ?1 AND sink = ?2 AND number = ?3",
                    params![group.as_str(), sink.as_str(), signed(number)],
                )?;
                Ok(())
            })
            .await
    }

    async fn forget_dead_letters(&self, group: &GroupId, before: Wall) -> Result<u64, StoreError> {
        let group = group.clone();
        self.engine
            .write(move |db| {
                let sql = "DELETE FROM dead_letters WHERE grp = ?1 AND at < ?2";
                Ok(db.execute(sql, params![group.as_str(), signed(before.0)])? as u64)
            })
            .await
    }

    async fn ended_records(
        &self,
        group: &GroupId,
        after: u64,
        most: usize,
    ) -> Result<Vec<(u64, SessionRecord)>, StoreError> {
        EndedRecords::ended_records(self, group, after, most).await
    }

    async fn put_run(&self, run: &RunRow) -> Result<(), StoreError> {
        let run = run.clone();
        self.engine.write(move |db| put_run(db, &run)).await
    }

    async fn runs(
        &self,
        group: &GroupId,
        before: Option<RunCursor>,
        most: usize,
    ) -> Result<Vec<RunRow>, StoreError> {
        let group = group.clone();
        self.engine
            .read(move |db| {
                let sql = format!(
                    "{RUN} WHERE grp = ?1 AND (?2 IS NULL OR (started_at, run) < (?2, ?3))
                     ORDER BY started_at DESC, run DESC LIMIT ?4"
                );
                let at = before.map(|before| signed(before.started_at.0));
                let run = before.map(|before| before.run.bytes());
                let most = signed(most.min(limits::SYNC_RUN_PAGE) as u64);
                all(db, &sql, params![group.as_str(), at, run, most], run_row)
            })
            .await
    }

    async fn last_scheduled_run(&self, group: &GroupId) -> Result<Option<RunRow>, StoreError> {
        let group = group.clone();
        let sql = format!("{RUN} WHERE grp = ?1 AND cause = 'schedule' ORDER BY started_at DESC LIMIT 1");
        self.engine.read(move |db| one(db, &sql, params![group.as_str()], run_row)).await
    }

    async fn end_lost_runs(&self, at: Wall) -> Result<u64, StoreError> {
        self.engine
            .write(move |db| {
                let open = all(db, &format!("{RUN} WHERE ended_at IS NULL"), params![], run_row)?;
                for run in &open {
                    let ended_at = Some(at.max(run.started_at));
                    put_run(db, &RunRow { ended_at, lost: true, ..run.clone() })?;
                }
                Ok(open.len() as u64)
            })
            .await
    }
}

#[async_trait]
impl EndedRecords for SqliteStore {
    async fn ended_records(
        &self,
        group: &GroupId,
        after: u64,
        most: usize,
    ) -> Result<Vec<(u64, SessionRecord)>, StoreError> {
        let group = group.clone();
        self.engine
            .read(move |db| {
                let sql = "SELECT e.number, r.body FROM ended_sessions e
                           JOIN session_records r ON r.grp = e.grp AND r.session = e.session
                           WHERE e.grp = ?1 AND e.number > ?2 ORDER BY e.number LIMIT ?3";
                all(db, sql, params![group.as_str(), signed(after), signed(most as u64)], |row| {
                    let record = serde_json::from_str(&row.get::<_, String>(1)?)
                        .map_err(|error| unreadable("session record".to_owned(), &error))?;
                    Ok((unsigned(row, 0)?, record))
                })
            })
            .await
    }
}

const RUN: &str = "SELECT grp, started_at, run, cause, ended_at, body FROM sync_runs";

fn put_sink(db: &Connection, sink: Sink, rotate: bool, at: Wall) -> Result<SinkRow, StoreError> {
    need_group(db, &sink.group)?;
    let (group, id) = (sink.group.as_str().to_owned(), sink.id.as_str().to_owned());
    let before = find_sink(db, &sink.group, &sink.id)?;
    let others = all(
        db,
        "SELECT grp, sink, body FROM sinks WHERE grp = ?1 AND sink <> ?2",
        params![group, id],
        sink_row,
    )?;
    if others.len() >= limits::SINKS {
        return Err(StoreError::Taken { what: "sinks" });
    }
    if sink.target == Target::Redis && others.iter().any(|other| other.sink.target == Target::Redis) {
        return Err(StoreError::Taken { what: "redis" });
    }
    let row = SinkRow::put(before, sink, rotate, at);
    save_sink(db, &row)?;
    let head =
        one(db, "SELECT head FROM event_ends WHERE grp = ?1", params![group], |row| Ok(unsigned(row, 0)?))?;
    for (lane, after) in [(Lane::Events, head.unwrap_or(0)), (Lane::Records, 0)] {
        db.execute(
            "INSERT INTO sink_lanes (grp, sink, lane, after, failures) VALUES (?1, ?2, ?3, ?4, 0)
             ON CONFLICT (grp, sink, lane) DO UPDATE SET retry_at = NULL",
            params![group, id, lane.as_str(), signed(after)],
        )?;
    }
    Ok(row)
}

/// The place up to which every sink that takes records was handed them; the last of all when none does.
pub(super) fn records_handed(db: &Connection, group: &GroupId) -> Result<u64, StoreError> {
    let sinks =
        all(db, "SELECT grp, sink, body FROM sinks WHERE grp = ?1", params![group.as_str()], sink_row)?;
    let mut handed = u64::MAX;
    for SinkRow { sink, .. } in sinks {
        if sink.enabled && sink.takes.records {
            let sql = "SELECT after FROM sink_lanes WHERE grp = ?1 AND sink = ?2 AND lane = ?3";
            let values = params![group.as_str(), sink.id.as_str(), Lane::Records.as_str()];
            handed = handed.min(one(db, sql, values, |row| Ok(unsigned(row, 0)?))?.unwrap_or(0));
        }
    }
    Ok(handed)
}

fn save_sink(db: &Connection, row: &SinkRow) -> Result<(), StoreError> {
    let body = SinkBody::text(row);
    db.execute(
        "INSERT INTO sinks (grp, sink, body) VALUES (?1, ?2, ?3) ON CONFLICT (grp, sink) DO UPDATE SET body = ?3",
        params![row.sink.group.as_str(), row.sink.id.as_str(), body],
    )?;
    Ok(())
}

fn find_sink(db: &Connection, group: &GroupId, id: &SinkId) -> Result<Option<SinkRow>, StoreError> {
    let sql = "SELECT grp, sink, body FROM sinks WHERE grp = ?1 AND sink = ?2";
    one(db, sql, params![group.as_str(), id.as_str()], sink_row)
}

fn sink_row(row: &Row<'_>) -> Result<SinkRow, StoreError> {
    let (group, id) =
        (name(&row.get::<_, String>(0)?, GroupId::new)?, name(&row.get::<_, String>(1)?, SinkId::new)?);
    SinkBody::row(&row.get::<_, String>(2)?, group, id).map_err(|error| unreadable("sink".to_owned(), &error))
}

fn progress_row(row: &Row<'_>) -> Result<Progress, StoreError> {
    let wall = |column| -> Result<Option<Wall>, StoreError> {
        Ok(row.get::<_, Option<i64>>(column)?.map(|at| Wall(at.unsigned_abs())))
    };
    Ok(Progress {
        after: unsigned(row, 0)?,
        failures: row.get(1)?,
        failing_since: wall(2)?,
        retry_at: wall(3)?,
        error: row.get(4)?,
    })
}

fn advance(db: &Connection, key: &LaneKey, from: u64, to: u64) -> Result<bool, StoreError> {
    let moved = db
        .prepare_cached(
            "UPDATE sink_lanes
             SET after = ?5, failures = 0, failing_since = NULL, retry_at = NULL, error = NULL
             WHERE grp = ?1 AND sink = ?2 AND lane = ?3 AND after = ?4 AND ?5 >= ?4",
        )?
        .execute(params![
            key.group.as_str(),
            key.sink.as_str(),
            key.lane.as_str(),
            signed(from),
            signed(to)
        ])?;
    Ok(moved > 0)
}

const fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Schedule => "schedule",
        Cause::Asked => "asked",
        Cause::Retry => "retry",
    }
}

fn put_run(db: &Connection, run: &RunRow) -> Result<(), StoreError> {
    let body = RunBody { sinks: run.sinks.clone(), lost: run.lost };
    let body = serde_json::to_string(&body).expect("names, numbers and texts have a JSON form");
    db.execute(
        "INSERT INTO sync_runs (grp, started_at, run, cause, ended_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (grp, started_at, run) DO UPDATE SET ended_at = ?5, body = ?6",
        params![
            run.group.as_str(),
            signed(run.started_at.0),
            run.id.bytes(),
            cause_name(run.cause),
            run.ended_at.map(|at| signed(at.0)),
            body
        ],
    )?;
    db.execute(
        "DELETE FROM sync_runs WHERE grp = ?1 AND started_at < (SELECT started_at FROM sync_runs
             WHERE grp = ?1 ORDER BY started_at DESC LIMIT 1 OFFSET ?2)",
        params![run.group.as_str(), signed(limits::SYNC_RUNS as u64 - 1)],
    )?;
    Ok(())
}

fn run_row(row: &Row<'_>) -> Result<RunRow, StoreError> {
    let body: RunBody = serde_json::from_str(&row.get::<_, String>(5)?)
        .map_err(|error| unreadable("run of a sync".to_owned(), &error))?;
    let cause = match row.get::<_, String>(3)?.as_str() {
        "schedule" => Cause::Schedule,
        "retry" => Cause::Retry,
        _ => Cause::Asked,
    };
    Ok(RunRow {
        id: RunId::from_bytes(row.get(2)?),
        group: name(&row.get::<_, String>(0)?, GroupId::new)?,
        cause,
        started_at: Wall(unsigned(row, 1)?),
        ended_at: row.get::<_, Option<i64>>(4)?.map(|at| Wall(at.unsigned_abs())),
        sinks: body.sinks,
        lost: body.lost,
    })
}
