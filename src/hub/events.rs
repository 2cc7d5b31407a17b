//! What happened, on its way to the log: one queue, one task, nobody waits.
//!
//! Decides what becomes of events while the log cannot be written: they wait, in order, and are written
//! when it can. The queue is bounded; what does not fit is refused, counted and said in the log of the
//! process. Long before that, [`Events::is_busy`] keeps new sessions from beginning.
//!
//! Whatever the log acknowledged is never written again nor lost. What waits here when the process is
//! killed was never acknowledged to anybody, and is lost with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::clock::{Now, Tick};
use crate::ids::{EventId, GroupId};
use crate::limits;
use crate::model::event::{Actor, AuthRefused, Door, Ended, Event, What};
use crate::model::session::EndReason;
use crate::store::{EventLog, SessionRecords, StoreError};
use crate::telemetry::Meters;

/// The way to the log. A clone is the same one; the task ends with the last of them, or when closed.
#[derive(Clone)]
pub struct Events {
    inner: Arc<Inner>,
    task: Arc<Task>,
}

struct Inner {
    queue: Mutex<Queue>,
    /// Something was queued, or nothing will be any more.
    wake: Notify,
    refused: DashMap<GroupId, Window>,
    meters: Arc<Meters>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Event>,
    /// Whether the last event did not fit: said once, not for each.
    overflowing: bool,
    closed: bool,
}

/// Refused credentials of one group within a time.
#[derive(Default)]
struct Window {
    since: Tick,
    told: u32,
    untold: u64,
}

/// The writing task; it does not outlive its handle.
struct Task(Mutex<Option<JoinHandle<()>>>);

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = self.0.lock().take() {
            task.abort();
        }
    }
}

impl Events {
    /// Starts writing to a log.
    pub fn start(log: Arc<dyn EventLog>, meters: Arc<Meters>) -> Self {
        let inner =
            Arc::new(Inner { queue: Mutex::default(), wake: Notify::new(), refused: DashMap::new(), meters });
        let task = tokio::spawn(write_all(Arc::clone(&inner), log));
        Self { inner, task: Arc::new(Task(Mutex::new(Some(task)))) }
    }

    /// Queues an event. Never waits.
    pub fn write(&self, event: Event) {
        self.write_together(vec![event]);
    }

    /// Queues events that one word made, posts last. A post is written in one commit with what it tells of.
    pub fn write_together(&self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut queue = self.inner.queue.lock();
        if queue.closed || queue.waiting.len() + events.len() > limits::EVENT_QUEUE {
            let (closed, first) = (queue.closed, !std::mem::replace(&mut queue.overflowing, true));
            drop(queue);
            let (meters, refused) = (&self.inner.meters, events.len() as u64);
            if closed {
                meters.events_refused_ended.increment(refused);
                tracing::error!(refused, "the log is closed, events that come after it are refused");
            } else {
                meters.events_refused_full.increment(refused);
            }
            if first && !closed {
                let limit = limits::EVENT_QUEUE;
                tracing::error!(limit, "events cannot be written and no more can wait, they are refused");
            }
            return;
        }
        queue.waiting.extend(events);
        self.inner.meters.events_waiting.set(queue.waiting.len() as f64);
        drop(queue);
        self.inner.wake.notify_one();
    }

    /// Whether so many events wait that no session should begin.
    pub fn is_busy(&self) -> bool {
        self.inner.queue.lock().waiting.len() >= limits::EVENT_QUEUE_BUSY
    }

    /// Writes of a group, not of a session.
    pub fn write_for(&self, group: &GroupId, now: Now, actor: Actor, what: What) {
        self.write(Event {
            id: EventId::fresh(),
            group: group.clone(),
            at: now.wall,
            session: None,
            request: None,
            actor,
            record: None,
            what,
        });
    }

    /// Writes that somebody was not let in, of a group that exists. A flood is counted rather than told.
    pub fn refused(&self, group: &GroupId, now: Now, door: Door, reason: &str) {
        let untold = {
            let mut window = self.inner.refused.entry(group.clone()).or_default();
            if now.tick.since(window.since) >= limits::AUTH_REFUSED_WINDOW {
                window.since = now.tick;
                window.told = 0;
            }
            if window.told >= limits::AUTH_REFUSED_EVENTS {
                window.untold += 1;
                return;
            }
            window.told += 1;
            std::mem::take(&mut window.untold)
        };
        let refused = AuthRefused { door, reason: reason.to_owned(), untold };
        self.write_for(group, now, Actor::Server, What::AuthRefused(refused));
    }

    /// Takes no more, and waits a while for what waits to be written.
    pub async fn close(&self) {
        self.close_within(limits::EVENT_FLUSH).await;
    }

    async fn close_within(&self, patience: Duration) {
        self.inner.queue.lock().closed = true;
        self.inner.wake.notify_one();
        let task = self.task.0.lock().take();
        if let Some(mut task) = task {
            let done = tokio::time::timeout(patience, &mut task).await;
            task.abort();
            let left = self.inner.queue.lock().waiting.len();
            if done.is_err() || left > 0 {
                self.inner.meters.events_refused_ended.increment(left as u64);
                tracing::error!(left, "events could not be written before the end");
            }
        }
    }
}

/// The task's life: until it is closed and nothing waits.
async fn write_all(inner: Arc<Inner>, log: Arc<dyn EventLog>) {
    let (mut most, mut pause) = (limits::EVENT_BATCH, limits::EVENT_RETRY.0);
    loop {
        let batch: Vec<Event> = {
            let queue = inner.queue.lock();
            if queue.waiting.is_empty() && queue.closed {
                return;
            }
            let tells_on = |event: &Event| matches!(event.what, What::FeedPosted(_));
            let mut count = most.min(queue.waiting.len());
            while queue.waiting.get(count).is_some_and(tells_on) {
                count += 1;
            }
            queue.waiting.range(..count).cloned().collect()
        };
        let count = batch.len();
        if count == 0 {
            inner.wake.notified().await;
            continue;
        }
        match log.append(batch).await {
            Ok(_) => {
                if pause > limits::EVENT_RETRY.0 {
                    tracing::info!("events are written again");
                }
                (most, pause) = ((most * 2).min(limits::EVENT_BATCH), limits::EVENT_RETRY.0);
                inner.meters.events.increment(count as u64);
                inner.done(count);
            }
            Err(error) if error.is_passing() => {
                inner.meters.event_failures.increment(1);
                if pause == limits::EVENT_RETRY.0 {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "events cannot be written, they wait"
                    );
                }
                tokio::time::sleep(pause).await;
                pause = next_pause(pause);
            }
            Err(StoreError::Closed) => return,
            // One of them will never be taken: alone it is found.
            Err(_) if count > 1 && most > 1 => most = 1,
            Err(error) => {
                inner.meters.event_failures.increment(1);
                inner.meters.events_refused_unwritable.increment(count as u64);
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an event cannot be written, it is refused"
                );
                inner.done(count);
            }
        }
    }
}

fn next_pause(pause: Duration) -> Duration {
    (pause * 2).min(limits::EVENT_RETRY.1)
}

impl Inner {
    /// The oldest are in the log.
    fn done(&self, count: usize) {
        let mut queue = self.queue.lock();
        queue.waiting.drain(..count);
        queue.overflowing = false;
        self.meters.events_waiting.set(queue.waiting.len() as f64);
    }
}

/// Ends the sessions that a node did not outlive, as of their last sign of life. Called before the node's
/// own first session, while nobody else writes.
pub async fn end_lost(records: &dyn SessionRecords, log: &dyn EventLog) -> Result<u64, StoreError> {
    let mut ended = 0;
    loop {
        let open = records.open_session_records().await?;
        if open.is_empty() {
            return Ok(ended);
        }
        ended += open.len() as u64;
        let words = open.into_iter().flat_map(|record| {
            let over = What::Ended(Ended { reason: EndReason::NodeLost, relayed: record.relayed });
            [over, What::RecordLogged].map(|what| Event {
                id: EventId::fresh(),
                group: record.group.clone(),
                at: record.touched,
                session: Some(record.session),
                request: record.request,
                actor: Actor::Server,
                record: record.record.clone(),
                what,
            })
        });
        log.append(words.collect()).await?;
    }
}

#[cfg(test)]
mod tests;
