//! When things are handed over: events as they come, session records by runs of the sync.
//!
//! Decides that a group has one run at a time, begun when its schedule or an operator says so or when a sink
//! that failed is to be tried again. One task looks at the clock and answers operators; each sink follows
//! its group's events in a task of its own, so that a slow one holds up nobody. All of them end with it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::task::{self, JoinSet};
use tokio::time::Interval;
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::lane::{Lanes, Step};
use super::letter::Letter;
use super::turns::Turns;
use super::{Courier, Trouble};
use crate::auth::random;
use crate::clock::{Clock, Wall};
use crate::hub::accounts::Accounts;
use crate::hub::events::Events;
use crate::hub::sync::{Replayed, SyncCall};
use crate::ids::{GroupId, RunId};
use crate::limits;
use crate::model::event::{Actor, Sync, What};
use crate::model::schedule;
use crate::model::sink::Lane;
use crate::store::sync::{Cause, LaneKey, RunRow, SinkRow, SinkRun};
use crate::store::{EventLog, StoreError, SyncStore};
use crate::telemetry::Meters;

/// What a runner needs.
#[allow(missing_debug_implementations, reason = "parts have none")]
pub struct RunnerParts {
    /// Sinks, places and runs.
    pub store: Arc<dyn SyncStore>,
    /// The log that is followed.
    pub log: Arc<dyn EventLog>,
    /// Groups with their schedules.
    pub accounts: Arc<Accounts>,
    /// The way of `sync.*` events.
    pub events: Events,
    /// How sinks are reached.
    pub courier: Courier,
    /// The hub's clock.
    pub clock: Clock,
    /// Counts what was handed over.
    pub meters: Arc<Meters>,
    /// What operators ask.
    pub calls: mpsc::Receiver<SyncCall>,
    /// Whose turn it is, where several nodes could run the sync; without it this one always does.
    pub turns: Option<Turns>,
}

/// Runs the sync of every group.
pub struct Runner {
    pub(super) work: Work,
    accounts: Arc<Accounts>,
    pub(super) calls: mpsc::Receiver<SyncCall>,
    turns: Option<Turns>,
    /// The sinks of each group as they are followed.
    pub(super) followed: HashMap<GroupId, Vec<SinkRow>>,
    /// The sinks that follow events, each until its token is cancelled.
    followers: HashMap<GroupId, CancellationToken>,
    pub(super) tasks: JoinSet<()>,
    runs: JoinSet<RunRow>,
    /// Whose run a task makes, for the one that fails to say so.
    runs_of: HashMap<task::Id, GroupId>,
    running: HashMap<GroupId, RunRow>,
    /// When the last scheduled run of a group began; none when there was none.
    ran: HashMap<GroupId, Option<Wall>>,
    /// Groups whose records have a sink.
    syncing: HashSet<GroupId>,
    /// When a group's failed sinks are tried again.
    retries: HashMap<GroupId, Wall>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").finish_non_exhaustive()
    }
}

/// What the tasks share.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) lanes: Lanes,
    events: Events,
    clock: Clock,
}

impl Runner {
    /// A runner that has not begun.
    pub fn new(parts: RunnerParts) -> Self {
        let RunnerParts { store, log, accounts, events, courier, clock, meters, calls, turns } = parts;
        let patience = courier.patience;
        let lanes = Lanes { store, log, courier: Arc::new(courier), meters, patience };
        Self {
            work: Work { lanes, events, clock },
            accounts,
            calls,
            turns,
            followed: HashMap::new(),
            followers: HashMap::new(),
            tasks: JoinSet::new(),
            runs: JoinSet::new(),
            runs_of: HashMap::new(),
            running: HashMap::new(),
            ran: HashMap::new(),
            syncing: HashSet::new(),
            retries: HashMap::new(),
        }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        if let Some(turns) = self.turns.take() {
            return self.in_turns(turns).await;
        }
        self.rounds(None).await;
    }

    /// Does what comes next, again and again, until nobody can ask for anything any more; a desk is where other
    /// nodes ask.
    pub(super) async fn rounds(&mut self, desk: Option<&Desk>) {
        if let Err(error) = self.begin().await {
            tracing::error!(error = &error as &dyn std::error::Error, "the sync cannot read its sinks");
        }
        let mut tick = every(limits::SYNC_TICK);
        let (mut questions, mut sinks) = (every(limits::SYNC_LOOK), every(limits::SYNC_REREAD));
        loop {
            tokio::select! {
                biased;
                Some(done) = self.runs.join_next_with_id() => match done {
                    Ok((task, run)) => {
                        self.runs_of.remove(&task);
                        self.ended(&run).await;
                    }
                    Err(error) => {
                        tracing::error!(%error, "a run of the sync failed");
                        self.failed(error.id()).await;
                    }
                },
                Some(_) = self.tasks.join_next() => {}
                call = self.calls.recv() => match call {
                    Some(call) => self.answer(call).await,
                    None => return,
                },
                _ = tick.tick() => self.look().await,
                _ = questions.tick() => if let Some(desk) = desk {
                    self.take_questions(desk).await;
                },
                _ = sinks.tick() => if desk.is_some() {
                    self.look_at_sinks().await;
                },
            }
        }
    }

    /// Works for the lease of this number.
    pub(super) fn take_over(&mut self, lease: u64) {
        if let Some(store) = self.work.lanes.store.held_by(lease) {
            self.work.lanes.store = store;
        }
    }

    /// Ends all that goes on, and forgets what it knew.
    pub(super) async fn let_go(&mut self) {
        self.followers.clear();
        self.tasks.shutdown().await;
        self.runs.shutdown().await;
        self.runs_of.clear();
        self.running.clear();
        self.ran.clear();
        self.syncing.clear();
        self.retries.clear();
        self.followed.clear();
    }

    async fn begin(&mut self) -> Result<(), StoreError> {
        let lost = self.work.lanes.store.end_lost_runs(self.work.clock.now().wall).await?;
        if lost > 0 {
            tracing::warn!(lost, "runs of the sync did not outlive the node, they are ended");
        }
        let sinks = self.work.lanes.store.sinks(None).await?;
        let groups: HashSet<GroupId> = sinks.into_iter().map(|row| row.sink.group).collect();
        for group in groups {
            self.follow(&group).await?;
        }
        Ok(())
    }

    /// Follows the events for a group's sinks as they are by now.
    pub(super) async fn follow(&mut self, group: &GroupId) -> Result<(), StoreError> {
        if let Some(before) = self.followers.remove(group) {
            before.cancel();
        }
        let rows = self.work.lanes.store.sinks(Some(group)).await?;
        self.followed.insert(group.clone(), rows.clone());
        let rows: Vec<SinkRow> = rows.into_iter().filter(|row| row.sink.enabled).collect();
        if rows.iter().any(|row| row.sink.takes.records) {
            self.syncing.insert(group.clone());
        } else {
            self.syncing.remove(group);
        }
        self.plan_retry(group, &rows).await?;
        let token = CancellationToken::new();
        for row in rows.into_iter().filter(|row| row.sink.takes.events()) {
            let (work, token) = (self.work.clone(), token.clone());
            self.tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = token.cancelled() => {}
                    () = work.follow(&row) => {}
                }
            });
        }
        self.followers.insert(group.clone(), token);
        Ok(())
    }

    async fn plan_retry(&mut self, group: &GroupId, rows: &[SinkRow]) -> Result<(), StoreError> {
        self.retries.remove(group);
        for row in rows.iter().filter(|row| row.sink.takes.records) {
            let progress = self.work.lanes.store.progress(&key(row, Lane::Records)).await?;
            if let Some(at) = progress.and_then(|progress| progress.retry_at) {
                let first = self.retries.get(group).map_or(at, |first| at.min(*first));
                self.retries.insert(group.clone(), first);
            }
        }
        Ok(())
    }

    /// Begins the runs that are owed.
    async fn look(&mut self) {
        let now = self.work.clock.now().wall;
        let groups: Vec<GroupId> = self.syncing.iter().cloned().collect();
        for id in groups {
            if self.running.contains_key(&id) {
                continue;
            }
            let Some(group) = self.accounts.group(&id) else { continue };
            let cause = match self.last_run(&id).await {
                Ok(ran) if schedule::is_due(group.created_at, group.settings.sync_frequency, ran, now) => {
                    Cause::Schedule
                }
                Ok(_) if self.is_retry_due(&id, now) => Cause::Retry,
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(group = %id, %error, "can't tell when the sync ran last");
                    continue;
                }
            };
            if let Err(error) = self.start(&id, cause, now).await {
                tracing::warn!(group = %id, %error, "can't begin a run of the sync");
            }
        }
    }

    fn is_retry_due(&self, group: &GroupId, now: Wall) -> bool {
        self.retries.get(group).is_some_and(|at| !self.work.lanes.patience.is_early(*at, now))
    }

    async fn last_run(&mut self, group: &GroupId) -> Result<Option<Wall>, StoreError> {
        if let Some(ran) = self.ran.get(group) {
            return Ok(*ran);
        }
        let ran = self.work.lanes.store.last_scheduled_run(group).await?.map(|run| run.started_at);
        self.ran.insert(group.clone(), ran);
        Ok(ran)
    }

    async fn start(&mut self, group: &GroupId, cause: Cause, now: Wall) -> Result<RunRow, StoreError> {
        if let Some(running) = self.running.get(group) {
            return Ok(running.clone());
        }
        let run = RunRow {
            id: RunId::fresh(),
            group: group.clone(),
            cause,
            started_at: now,
            ended_at: None,
            sinks: Vec::new(),
            lost: false,
        };
        self.work.lanes.store.put_run(&run).await?;
        if cause == Cause::Schedule {
            self.ran.insert(group.clone(), Some(now));
        }
        self.running.insert(group.clone(), run.clone());
        let (work, begun) = (self.work.clone(), run.clone());
        let task = self.runs.spawn(async move { work.sync(begun).await });
        self.runs_of.insert(task.id(), group.clone());
        Ok(run)
    }

    /// Ends the run of a task that failed; the next one goes on where it was.
    async fn failed(&mut self, task: task::Id) {
        let run = self.runs_of.remove(&task).and_then(|group| self.running.get(&group).cloned());
        let Some(mut run) = run else { return };
        run.ended_at = Some(self.work.clock.now().wall.max(run.started_at));
        run.lost = true;
        if let Err(error) = self.work.lanes.store.put_run(&run).await {
            tracing::warn!(group = %run.group, %error, "can't note the end of a run of the sync");
        }
        self.ended(&run).await;
    }

    async fn ended(&mut self, run: &RunRow) {
        self.running.remove(&run.group);
        let rows = self.work.lanes.store.sinks(Some(&run.group)).await;
        let planned = match rows {
            Ok(mut rows) => {
                rows.retain(|row| row.sink.enabled);
                self.plan_retry(&run.group, &rows).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = planned {
            tracing::warn!(group = %run.group, %error, "can't tell when failed sinks are tried again");
        }
    }

    pub(super) async fn answer(&mut self, call: SyncCall) {
        let now = self.work.clock.now().wall;
        match call {
            SyncCall::Run(group, answer) => {
                let run = self.start(&group, Cause::Asked, now).await;
                // Who asked may be gone; the run goes on.
                let _ = answer.send(run);
            }
            SyncCall::Changed(group) => {
                if let Err(error) = self.follow(&group).await {
                    tracing::warn!(%group, %error, "can't read the sinks of a group");
                }
            }
            SyncCall::Test(row, answer) => {
                let courier = Arc::clone(&self.work.lanes.courier);
                self.tasks.spawn(async move {
                    let letter = Letter::test(now, random::u128());
                    let taken = courier.single(&row, &letter, now).await;
                    let _ = answer.send(taken.map_err(|trouble| trouble.to_string()));
                });
            }
            SyncCall::Replay(row, answer) => {
                let work = self.work.clone();
                self.tasks.spawn(async move {
                    let _ = answer.send(work.replay(&row).await);
                });
            }
        }
    }
}

fn every(time: Duration) -> Interval {
    let mut tick = tokio::time::interval(time);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick
}

fn key(row: &SinkRow, lane: Lane) -> LaneKey {
    LaneKey { group: row.sink.group.clone(), sink: row.sink.id.clone(), lane }
}

impl Work {
    /// Hands a sink the events of its group as they come, until it takes no more.
    async fn follow(&self, row: &SinkRow) {
        let mut newest = self.lanes.log.newest(&row.sink.group);
        loop {
            // Looked at before the step: what is appended after it wakes the wait below.
            newest.borrow_and_update();
            match self.lanes.step(row, Lane::Events, self.clock.now().wall, false).await {
                Ok(Step::Moved(_) | Step::PutAside(_)) => {}
                Ok(Step::Idle) => {
                    if newest.changed().await.is_err() {
                        return;
                    }
                }
                Ok(Step::Waiting(wait, _)) => tokio::time::sleep(wait).await,
                Ok(Step::Over(_)) | Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(group = %row.sink.group, sink = %row.sink.id, %error, "a sink cannot go on");
                    tokio::time::sleep(limits::EVENT_RETRY.1).await;
                }
            }
        }
    }

    /// Makes a run: every sink by itself, at the same time.
    async fn sync(&self, mut run: RunRow) -> RunRow {
        match self.lanes.store.sinks(Some(&run.group)).await {
            Ok(rows) => {
                let rows = rows.iter().filter(|row| row.sink.enabled && row.sink.takes.records);
                run.sinks = join_all(rows.map(|row| self.sync_one(&run, row))).await;
            }
            Err(error) => tracing::warn!(group = %run.group, %error, "a run of the sync has no sinks"),
        }
        run.ended_at = Some(self.clock.now().wall.max(run.started_at));
        if let Err(error) = self.lanes.store.put_run(&run).await {
            tracing::warn!(group = %run.group, %error, "can't note the end of a run of the sync");
        }
        run
    }

    async fn sync_one(&self, run: &RunRow, row: &SinkRow) -> SinkRun {
        let tell = |count: u64, error: Option<String>, what: fn(Sync) -> What| {
            let sync = Sync { run: run.id.to_string(), sink: row.sink.id.to_string(), count, error };
            self.events.write_for(&run.group, self.clock.now(), Actor::Server, what(sync));
        };
        tell(0, None, What::SyncStarted);
        // A retry is for the sinks whose time has come; the others are asked at once.
        let mut eager = run.cause != Cause::Retry;
        let (mut count, mut error) = (0, None);
        loop {
            match self.lanes.step(row, Lane::Records, self.clock.now().wall, eager).await {
                Ok(Step::Moved(more)) => count += more,
                // The first is told, and the others come all the same.
                Ok(Step::PutAside(why)) => {
                    error.get_or_insert(why);
                }
                Ok(Step::Idle) => break,
                Ok(Step::Waiting(_, why)) => {
                    error = Some(why);
                    break;
                }
                Ok(Step::Over(why)) => {
                    error = why;
                    break;
                }
                Err(failed) => {
                    error = Some(failed.to_string());
                    break;
                }
            }
            eager = false;
        }
        self.lanes.meters.sync_run(if error.is_none() { "ok" } else { "failed" });
        let what = if error.is_none() { What::SyncFinished } else { What::SyncFailed };
        tell(count, error.clone(), what);
        SinkRun { sink: row.sink.id.clone(), count, error }
    }

    /// Sends the oldest dead letters of a sink again, until one is not taken that may be later. Those that
    /// are refused for good once more stay, and hold up no other.
    async fn replay(&self, row: &SinkRow) -> Result<Replayed, StoreError> {
        let (group, sink) = (&row.sink.group, &row.sink.id);
        let store = &self.lanes.store;
        let mut replayed = Replayed::default();
        if row.sink.target.puts_aside() {
            let dead = store.dead_letters(group, sink, 0, limits::DEAD_LETTER_TRIES).await?;
            for letter in dead {
                let again = Letter::again(letter.id, letter.body);
                let now = self.clock.now().wall;
                match self.lanes.courier.single(row, &again, now).await {
                    Ok(()) => {}
                    Err(trouble) => {
                        replayed.error.get_or_insert(trouble.to_string());
                        if matches!(trouble, Trouble::Never(_)) {
                            continue;
                        }
                        break;
                    }
                }
                store.forget_dead_letter(group, sink, letter.number).await?;
                replayed.delivered += 1;
                if replayed.delivered == limits::DEAD_LETTER_REPLAY as u64 {
                    break;
                }
            }
        }
        replayed.left = store.count_dead_letters(group, sink).await?;
        Ok(replayed)
    }
}
