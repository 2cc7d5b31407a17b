//! Sinks and the sync on Redis.
//!
//! Decides how they become keys, and that of several nodes only the newest holder of the runner's lease moves
//! places: each script that moves one compares the lease's number with the newest that wrote in the group. What
//! operators write is compared with what was read before. Groups are the store's, and the records of ended
//! sessions come from whoever keeps them ([`EndedRecords`]).
//!
//! Of a group there are: the rows of its sinks; the places of their lanes with what failed there, in one hash; of
//! each sink the dead letters, as a stream whose ids are their numbers, and their numbers by time; the runs, by
//! beginning and id.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use redis::{FromRedisValue, Script, ScriptInvocation};

use super::super::sync::{
    Cause, DeadLetter, EndedRecords, LaneKey, Progress, RunCursor, RunRow, Sink, SinkBody, SinkRow, SyncStore,
};
use super::super::{Store, StoreError};
use crate::clock::Wall;
use crate::ids::{GroupId, RunId, SinkId};
use crate::limits;
use crate::model::session_record::SessionRecord;
use crate::model::sink::{Lane, Target};
use crate::redis::Link;

/// Others changed the sinks of a group every time; a source of [`StoreError::Failed`].
#[derive(Debug, thiserror::Error)]
#[error("the sinks of the group were changed by others {} times meanwhile", limits::SINK_TRIES)]
struct Crowded;

struct Scripts {
    put: Script,
    delete: Script,
    lane: Script,
    dead_old: Script,
    run: Script,
}

/// Sinks and the sync in a Redis. A clone is the same one.
#[derive(Clone)]
pub struct RedisSync {
    link: Link,
    scripts: Arc<Scripts>,
    groups: Arc<dyn Store>,
    ended: Arc<dyn EndedRecords>,
    /// The number of the runner's lease; 0 without one.
    lease: u64,
}

impl std::fmt::Debug for RedisSync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisSync").field("lease", &self.lease).finish_non_exhaustive()
    }
}

pub(super) fn named(group: &GroupId, name: &str) -> String {
    format!("pl:{{{group}}}:{name}")
}

pub(super) fn sinks_key(group: &GroupId) -> String {
    named(group, "sinks")
}

pub(super) fn lanes_key(group: &GroupId) -> String {
    named(group, "lanes")
}

pub(super) fn dead_keys(group: &GroupId, sink: &SinkId) -> (String, String) {
    (named(group, &format!("dead:{sink}")), named(group, &format!("dead-by-time:{sink}")))
}

/// The field of a lane; a sink's name holds no colon.
pub(super) fn lane_field(sink: &SinkId, lane: Lane) -> String {
    format!("{sink}:{}", lane.as_str())
}

/// The place of a run among those of its group: as text it stands where it belongs.
fn run_place(started_at: Wall, run: RunId) -> String {
    format!("{:016x} {run}", started_at.0)
}

impl RedisSync {
    /// Sinks and runs of these groups.
    pub fn new(link: Link, groups: Arc<dyn Store>, ended: Arc<dyn EndedRecords>) -> Self {
        let scripts = Scripts {
            put: Script::new(concat!(include_str!("lua/stream.lua"), include_str!("lua/sink_put.lua"))),
            delete: Script::new(include_str!("lua/sink_delete.lua")),
            lane: Script::new(concat!(
                include_str!("lua/stream.lua"),
                include_str!("lua/fence.lua"),
                include_str!("lua/lane.lua")
            )),
            dead_old: Script::new(include_str!("lua/dead_old.lua")),
            run: Script::new(concat!(include_str!("lua/fence.lua"), include_str!("lua/run.lua"))),
        };
        Self { link, scripts: Arc::new(scripts), groups, ended, lease: 0 }
    }

    async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        Ok(self.link.run(call).await?)
    }

    async fn ask<T: FromRedisValue>(&self, name: &str, args: &[&str]) -> Result<T, StoreError> {
        Ok(self.link.ask(redis::cmd(name).arg(args)).await?)
    }

    /// The names and rows of a group's sinks as they lie there, by name.
    async fn rows(&self, group: &GroupId) -> Result<Vec<(String, String)>, StoreError> {
        rows(&self.link, group).await
    }

    /// Writes a sink unless anything changed in its group since `read`.
    async fn save(&self, row: &SinkRow, lanes: bool, read: &[(String, String)]) -> Result<bool, StoreError> {
        let (group, id) = (&row.sink.group, &row.sink.id);
        let mut call = self.scripts.put.key(sinks_key(group));
        call.key(lanes_key(group)).key(named(group, "events"));
        call.arg(id.as_str()).arg(SinkBody::text(row));
        for lane in [Lane::Events, Lane::Records] {
            call.arg(if lanes { lane_field(id, lane) } else { String::new() });
        }
        for (id, text) in read {
            call.arg(id).arg(text);
        }
        self.run(&call).await
    }

    /// What a script about a lane is told first.
    fn lane_call(&self, key: &LaneKey, from: u64) -> ScriptInvocation<'_> {
        let (dead, times) = dead_keys(&key.group, &key.sink);
        let mut call = self.scripts.lane.key(named(&key.group, "fence"));
        call.key(lanes_key(&key.group)).key(dead).key(times);
        call.arg(self.lease).arg(lane_field(&key.sink, key.lane)).arg(from);
        call
    }

    async fn bodies(&self, group: &GroupId, places: &[String]) -> Result<Vec<RunRow>, StoreError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let mut look = redis::cmd("HMGET");
        look.arg(named(group, "run-rows")).arg(places);
        let texts: Vec<Option<String>> = self.link.ask(&look).await?;
        texts
            .iter()
            .flatten()
            .map(|text| serde_json::from_str(text).map_err(|error| unreadable("run of a sync", &error)))
            .collect()
    }

    /// Does something for each group, some at a time.
    async fn each_group<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        work: impl Fn(GroupId) -> F,
    ) -> Result<Vec<T>, StoreError> {
        let groups = self.groups.groups().await?;
        let mut done = Vec::new();
        for some in groups.chunks(limits::REDIS_AT_ONCE) {
            done.extend(try_join_all(some.iter().map(|group| work(group.id.clone()))).await?);
        }
        Ok(done)
    }

    async fn end_lost_runs_of(&self, group: GroupId, at: Wall) -> Result<u64, StoreError> {
        let open: Vec<String> = self.ask("SMEMBERS", &[&named(&group, "runs-open")]).await?;
        let runs = self.bodies(&group, &open).await?;
        for run in &runs {
            let ended_at = Some(at.max(run.started_at));
            self.put_run(&RunRow { ended_at, lost: true, ..run.clone() }).await?;
        }
        Ok(runs.len() as u64)
    }

    async fn forget_old(&self, group: GroupId, sink: SinkId, before: Wall) -> Result<u64, StoreError> {
        let (dead, times) = dead_keys(&group, &sink);
        let mut forgotten = 0;
        loop {
            let mut call = self.scripts.dead_old.key(&dead);
            call.key(&times).arg(before.0).arg(limits::EVENT_TRIM);
            let some: u64 = self.run(&call).await?;
            forgotten += some;
            if some < limits::EVENT_TRIM as u64 {
                return Ok(forgotten);
            }
        }
    }
}

async fn rows(link: &Link, group: &GroupId) -> Result<Vec<(String, String)>, StoreError> {
    let mut rows: Vec<(String, String)> = link.ask(redis::cmd("HGETALL").arg(sinks_key(group))).await?;
    rows.sort();
    Ok(rows)
}

fn parsed(group: &GroupId, rows: Vec<(String, String)>) -> Result<Vec<SinkRow>, StoreError> {
    rows.into_iter().map(|(id, text)| sink_row(group, &id, &text)).collect()
}

fn sink_row(group: &GroupId, id: &str, text: &str) -> Result<SinkRow, StoreError> {
    let id = SinkId::new(id).map_err(|error| unreadable("sink", &error))?;
    SinkBody::row(text, group.clone(), id).map_err(|error| unreadable("sink", &error))
}

fn unreadable(what: &str, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unreadable { what: what.to_owned(), why: why.to_string() }
}

#[async_trait]
impl SyncStore for RedisSync {
    async fn put_sink(&self, sink: &Sink, rotate: bool, at: Wall) -> Result<SinkRow, StoreError> {
        if self.groups.group(&sink.group).await?.is_none() {
            return Err(StoreError::NoGroup(sink.group.clone()));
        }
        for _ in 0..limits::SINK_TRIES {
            let read = self.rows(&sink.group).await?;
            let rows = parsed(&sink.group, read.clone())?;
            let (before, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.sink.id == sink.id);
            if others.len() >= limits::SINKS {
                return Err(StoreError::Taken { what: "sinks" });
            }
            if sink.target == Target::Redis && others.iter().any(|other| other.sink.target == Target::Redis) {
                return Err(StoreError::Taken { what: "redis" });
            }
            let row = SinkRow::put(before.into_iter().next(), sink.clone(), rotate, at);
            if self.save(&row, true, &read).await? {
                return Ok(row);
            }
        }
        Err(StoreError::Failed(Arc::new(Crowded)))
    }

    async fn sinks(&self, group: Option<&GroupId>) -> Result<Vec<SinkRow>, StoreError> {
        if let Some(group) = group {
            return parsed(group, self.rows(group).await?);
        }
        let read = async |group: GroupId| parsed(&group, self.rows(&group).await?);
        let mut all: Vec<SinkRow> = self.each_group(read).await?.into_iter().flatten().collect();
        all.sort_by(|a, b| (&a.sink.group, &a.sink.id).cmp(&(&b.sink.group, &b.sink.id)));
        Ok(all)
    }

    async fn sink(&self, group: &GroupId, id: &SinkId) -> Result<Option<SinkRow>, StoreError> {
        let text: Option<String> = self.ask("HGET", &[&sinks_key(group), id.as_str()]).await?;
        text.map(|text| sink_row(group, id.as_str(), &text)).transpose()
    }

    async fn delete_sink(&self, group: &GroupId, id: &SinkId) -> Result<bool, StoreError> {
        let (dead, times) = dead_keys(group, id);
        let mut call = self.scripts.delete.key(sinks_key(group));
        call.key(lanes_key(group)).key(dead).key(times).arg(id.as_str());
        call.arg(lane_field(id, Lane::Events)).arg(lane_field(id, Lane::Records));
        self.run(&call).await
    }

    async fn disable_sink(&self, group: &GroupId, id: &SinkId, why: &str) -> Result<(), StoreError> {
        for _ in 0..limits::SINK_TRIES {
            let read = self.rows(group).await?;
            let Some((_, text)) = read.iter().find(|(name, _)| name == id.as_str()) else { return Ok(()) };
            let mut row = sink_row(group, id.as_str(), text)?;
            row.sink.enabled = false;
            row.disabled = Some(why.to_owned());
            if self.save(&row, false, &read).await? {
                return Ok(());
            }
        }
        Err(StoreError::Failed(Arc::new(Crowded)))
    }

    async fn progress(&self, key: &LaneKey) -> Result<Option<Progress>, StoreError> {
        let field = lane_field(&key.sink, key.lane);
        let mut look = redis::cmd("HMGET");
        look.arg(lanes_key(&key.group)).arg(&field);
        for part in ["failures", "since", "retry", "error"] {
            look.arg(format!("{field}:{part}"));
        }
        let (after, failures, since, retry, error): (
            Option<u64>,
            Option<u32>,
            Option<u64>,
            Option<u64>,
            Option<String>,
        ) = self.link.ask(&look).await?;
        Ok(after.map(|after| Progress {
            after,
            failures: failures.unwrap_or_default(),
            failing_since: since.map(Wall),
            retry_at: retry.map(Wall),
            error,
        }))
    }

    async fn advance(&self, key: &LaneKey, from: u64, to: u64) -> Result<bool, StoreError> {
        let mut call = self.lane_call(key, from);
        self.run(call.arg("move").arg(to)).await
    }

    async fn note_failure(&self, key: &LaneKey, progress: &Progress) -> Result<(), StoreError> {
        let wall = |at: Option<Wall>| at.map(|at| at.0.to_string()).unwrap_or_default();
        let mut call = self.lane_call(key, progress.after);
        call.arg("fail").arg(progress.failures).arg(wall(progress.failing_since));
        call.arg(wall(progress.retry_at)).arg(progress.error.as_deref().unwrap_or_default());
        let _there: bool = self.run(&call).await?;
        Ok(())
    }

    async fn bury(&self, key: &LaneKey, from: u64, to: u64, letter: &DeadLetter) -> Result<bool, StoreError> {
        let mut call = self.lane_call(key, from);
        call.arg("bury").arg(to).arg(&letter.id).arg(&letter.body).arg(letter.at.0).arg(&letter.error);
        self.run(call.arg(limits::DEAD_LETTERS)).await
    }

    async fn dead_letters(
        &self,
        group: &GroupId,
        sink: &SinkId,
        after: u64,
        most: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let mut look = redis::cmd("XRANGE");
        look.arg(dead_keys(group, sink).0).arg(format!("{}-0", after.saturating_add(1))).arg("+");
        let entries: Vec<(String, Vec<(String, String)>)> =
            self.link.ask(look.arg("COUNT").arg(most)).await?;
        entries.into_iter().map(|(id, fields)| dead_letter(&id, fields)).collect()
    }

    async fn count_dead_letters(&self, group: &GroupId, sink: &SinkId) -> Result<u64, StoreError> {
        self.ask("XLEN", &[&dead_keys(group, sink).0]).await
    }

    async fn forget_dead_letter(
        &self,
        group: &GroupId,
        sink: &SinkId,
        number: u64,
    ) -> Result<(), StoreError> {
        let (dead, times) = dead_keys(group, sink);
        let mut both = redis::pipe();
        both.atomic();
        both.cmd("XDEL").arg(dead).arg(format!("{number}-0")).ignore();
        both.cmd("ZREM").arg(times).arg(number).ignore();
        Ok(self.link.ask_all(&both).await?)
    }

    async fn ended_records(
        &self,
        group: &GroupId,
        after: u64,
        most: usize,
    ) -> Result<Vec<(u64, SessionRecord)>, StoreError> {
        self.ended.ended_records(group, after, most).await
    }

    async fn put_run(&self, run: &RunRow) -> Result<(), StoreError> {
        let group = &run.group;
        let body = serde_json::to_string(run).expect("names, numbers and texts have a JSON form");
        let mut call = self.scripts.run.key(named(group, "fence"));
        for name in ["runs", "run-rows", "runs-open", "run-scheduled"] {
            call.key(named(group, name));
        }
        call.arg(self.lease).arg(run_place(run.started_at, run.id)).arg(body);
        call.arg(u8::from(run.ended_at.is_none())).arg(u8::from(run.cause == Cause::Schedule));
        self.run(call.arg(limits::SYNC_RUNS)).await
    }

    async fn runs(
        &self,
        group: &GroupId,
        before: Option<RunCursor>,
        most: usize,
    ) -> Result<Vec<RunRow>, StoreError> {
        let from = match before {
            Some(before) => format!("({}", run_place(before.started_at, before.run)),
            None => "+".to_owned(),
        };
        let most = most.min(limits::SYNC_RUN_PAGE).to_string();
        let args = [&*named(group, "runs"), &from, "-", "LIMIT", "0", &most];
        let places: Vec<String> = self.ask("ZREVRANGEBYLEX", &args).await?;
        self.bodies(group, &places).await
    }

    async fn last_scheduled_run(&self, group: &GroupId) -> Result<Option<RunRow>, StoreError> {
        let place: Option<String> = self.ask("GET", &[&named(group, "run-scheduled")]).await?;
        Ok(self.bodies(group, place.as_slice()).await?.pop())
    }

    async fn end_lost_runs(&self, at: Wall) -> Result<u64, StoreError> {
        Ok(self.each_group(|group| self.end_lost_runs_of(group, at)).await?.into_iter().sum())
    }

    async fn forget_dead_letters(&self, group: &GroupId, before: Wall) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        for row in self.sinks(Some(group)).await? {
            forgotten += self.forget_old(group.clone(), row.sink.id, before).await?;
        }
        Ok(forgotten)
    }

    fn held_by(&self, lease: u64) -> Option<Arc<dyn SyncStore>> {
        Some(Arc::new(Self { lease, ..self.clone() }))
    }
}

fn dead_letter(id: &str, fields: Vec<(String, String)>) -> Result<DeadLetter, StoreError> {
    let mut letter =
        DeadLetter { number: 0, id: String::new(), body: String::new(), at: Wall(0), error: String::new() };
    let number = |text: &str| text.parse().map_err(|error| unreadable("dead letter", &error));
    letter.number = number(id.split('-').next().unwrap_or_default())?;
    for (name, value) in fields {
        match &*name {
            "i" => letter.id = value,
            "b" => letter.body = value,
            "t" => letter.at = Wall(number(&value)?),
            "x" => letter.error = value,
            _ => {}
        }
    }
    Ok(letter)
}

#[cfg(test)]
mod tests;
