//! One lane of one sink, a step at a time: what comes next, and what becomes of what is not taken.
//!
//! Decides order, retries and when a letter is dead. The place moves only after a letter was accepted or
//! put aside. What a target of ours does not take waits until it is mended, however long.

use std::sync::Arc;
use std::time::Duration;

use super::letter::Letter;
use super::{Deliver, Trouble, chance};
use crate::clock::Wall;
use crate::limits;
use crate::model::event::Logged;
use crate::model::session_record::SessionRecord;
use crate::model::sink::{Lane, Patience, Target};
use crate::store::events::After;
use crate::store::sync::{DeadLetter, LaneKey, Progress, SinkRow};
use crate::store::{EventLog, StoreError, SyncStore};
use crate::telemetry::Meters;

/// Failures in a row before a letter may be dead, however late it is: a clock that jumps kills none.
const FAILURES: u32 = 20;

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// It moved on; so many letters were accepted.
    Moved(u64),
    /// It moved behind a letter that was put aside.
    PutAside(String),
    /// There is nothing to hand over.
    Idle,
    /// It is tried again after this long.
    Waiting(Duration, String),
    /// The sink takes nothing any more, or is gone.
    Over(Option<String>),
}

/// What every lane works with.
#[derive(Clone)]
pub(super) struct Lanes {
    pub(super) store: Arc<dyn SyncStore>,
    pub(super) log: Arc<dyn EventLog>,
    pub(super) courier: Arc<dyn Deliver>,
    pub(super) meters: Arc<Meters>,
    pub(super) patience: Patience,
}

/// What comes next in a lane.
struct Next {
    letters: Vec<Letter>,
    /// The place when all of them are taken; what lies between was not wanted.
    until: u64,
}

pub(super) fn target_name(target: &Target) -> &'static str {
    match target {
        Target::Webhook { .. } => "webhook",
        Target::File => "file",
        Target::Redis => "redis",
        Target::Salesforce(_) => "salesforce",
    }
}

/// What makes letters of events for a target: most are told everything as it is.
fn letter_of_event(target: &Target) -> fn(&Logged) -> Letter {
    match target {
        #[cfg(feature = "salesforce")]
        Target::Salesforce(_) => super::salesforce::of_event,
        #[cfg(not(feature = "salesforce"))]
        Target::Salesforce(_) => Letter::of_event,
        Target::Webhook { .. } | Target::File | Target::Redis => Letter::of_event,
    }
}

/// See [`letter_of_event`].
fn letter_of_record(target: &Target) -> fn(u64, &SessionRecord) -> Letter {
    match target {
        #[cfg(feature = "salesforce")]
        Target::Salesforce(_) => super::salesforce::of_record,
        #[cfg(not(feature = "salesforce"))]
        Target::Salesforce(_) => Letter::of_record,
        Target::Webhook { .. } | Target::File | Target::Redis => Letter::of_record,
    }
}

impl Lanes {
    /// Goes one step; `eager` does not wait for the time of the next try.
    pub(super) async fn step(
        &self,
        row: &SinkRow,
        lane: Lane,
        now: Wall,
        eager: bool,
    ) -> Result<Step, StoreError> {
        let key = LaneKey { group: row.sink.group.clone(), sink: row.sink.id.clone(), lane };
        let Some(progress) = self.store.progress(&key).await? else { return Ok(Step::Over(None)) };
        if let Some(retry_at) = progress.retry_at.filter(|at| !eager && self.patience.is_early(*at, now)) {
            let wait = Duration::from_millis(retry_at.0 - now.0);
            return Ok(Step::Waiting(wait, progress.error.unwrap_or_default()));
        }
        let next = self.next(row, lane, progress.after).await?;
        if next.letters.is_empty() {
            if next.until > progress.after {
                // Moved by somebody else it is read anew.
                self.store.advance(&key, progress.after, next.until).await?;
                return Ok(Step::Moved(0));
            }
            return Ok(Step::Idle);
        }
        let (taken, trouble) = self.courier.deliver(row, lane, &next.letters, now).await;
        let target = target_name(&row.sink.target);
        let after = match next.letters.get(taken) {
            None => next.until,
            // What is not wanted and lies before the next letter was passed over.
            Some(next) => next.place.saturating_sub(1),
        };
        if taken > 0 {
            self.meters.letters(target, "accepted", taken as u64);
            if after > progress.after && !self.store.advance(&key, progress.after, after).await? {
                // Gone, or moved by the word of a follower that was ended before it heard the answer: the
                // next step tells.
                return Ok(Step::Moved(taken as u64));
            }
            // What was not taken comes first by then, and is asked about once more.
            return Ok(Step::Moved(taken as u64));
        }
        let Some(trouble) = trouble else { return Ok(Step::Moved(0)) };
        self.meters.letters(target, "failed", 1);
        self.failed(&key, row, progress, next.letters.first(), trouble, now).await
    }

    async fn failed(
        &self,
        key: &LaneKey,
        row: &SinkRow,
        before: Progress,
        letter: Option<&Letter>,
        trouble: Trouble,
        now: Wall,
    ) -> Result<Step, StoreError> {
        let (error, asked, never) = match trouble {
            Trouble::Gone(why) => {
                self.store.disable_sink(&key.group, &key.sink, &why).await?;
                return Ok(Step::Over(Some(why)));
            }
            Trouble::Later(error, asked) => (error, asked, false),
            Trouble::Never(error) => (error, None, true),
        };
        let since = before.failing_since.unwrap_or(now).min(now);
        let failures = before.failures.saturating_add(1);
        let late = now >= since.after(self.patience.give_up) && failures >= FAILURES;
        if let (true, true, Some(letter)) = (row.sink.target.puts_aside(), late || never, letter) {
            let why = format!("{} was put aside: {error}", letter.id);
            let dead =
                DeadLetter { number: 0, id: letter.id.clone(), body: letter.body.clone(), at: now, error };
            if self.store.bury(key, before.after, letter.place, &dead).await? {
                self.meters.letters(target_name(&row.sink.target), "dead", 1);
                tracing::warn!(
                    group = %key.group, sink = %key.sink, letter = letter.id, error = dead.error,
                    "a sink did not take a letter in time or ever, it is put aside"
                );
            }
            return Ok(Step::PutAside(why));
        }
        let pause = self.patience.pause(failures, chance());
        let wait = pause.max(asked.unwrap_or_default()).min(self.patience.most);
        let progress = Progress {
            after: before.after,
            failures,
            failing_since: Some(since),
            retry_at: Some(now.after(wait)),
            error: Some(error.clone()),
        };
        self.store.note_failure(key, &progress).await?;
        Ok(Step::Waiting(wait, error))
    }

    async fn next(&self, row: &SinkRow, lane: Lane, after: u64) -> Result<Next, StoreError> {
        let group = &row.sink.group;
        match lane {
            Lane::Records => {
                let records = self.store.ended_records(group, after, limits::SINK_BATCH).await?;
                let until = records.last().map_or(after, |(place, _)| *place);
                let of_record = letter_of_record(&row.sink.target);
                let letters = records.iter().map(|(place, record)| of_record(*place, record));
                Ok(Next { letters: letters.collect(), until })
            }
            Lane::Events => {
                let page = self.log.read(group, After::Sequence(after)).await?;
                if !page.recovered {
                    tracing::warn!(%group, sink = %row.sink.id, "events were let go of before a sink had them");
                }
                let of_event = letter_of_event(&row.sink.target);
                let mut next = Next { letters: Vec::new(), until: page.cursor };
                for logged in &page.events {
                    if !row.sink.takes.event(logged.event.what.kind()) {
                        continue;
                    }
                    if next.letters.len() == limits::SINK_BATCH {
                        next.until = logged.sequence - 1;
                        break;
                    }
                    next.letters.push(of_event(logged));
                }
                Ok(next)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{GroupId, SinkId};
    use crate::model::event::{What, samples};
    use crate::model::settings::Settings;
    use crate::model::sink::Takes;
    use crate::store::Store as _;
    use crate::store::sqlite::SqliteStore;
    use crate::store::sync::Sink;
    use parking_lot::Mutex;

    /// Takes letters one by one, and fails as it is told.
    #[derive(Default)]
    struct Picky {
        got: Mutex<Vec<String>>,
        fail: Mutex<Option<Trouble>>,
        /// A lane that moves on by one while a letter is under way.
        meanwhile: Mutex<Option<(Arc<SqliteStore>, LaneKey)>>,
    }

    #[async_trait::async_trait]
    impl Deliver for Picky {
        async fn deliver(
            &self,
            _row: &SinkRow,
            _lane: Lane,
            letters: &[Letter],
            _now: Wall,
        ) -> (usize, Option<Trouble>) {
            self.got.lock().push(letters[0].id.clone());
            let meanwhile = self.meanwhile.lock().take();
            if let Some((store, key)) = meanwhile {
                let after = letters[0].place;
                assert!(store.advance(&key, after - 1, after).await.unwrap());
            }
            match self.fail.lock().clone() {
                Some(trouble) => (0, Some(trouble)),
                None => (1, None),
            }
        }

        async fn single(&self, _row: &SinkRow, _letter: &Letter, _now: Wall) -> Result<(), Trouble> {
            Ok(())
        }
    }

    async fn lanes(kinds: &[What]) -> (Lanes, Arc<Picky>, Arc<SqliteStore>, SinkRow) {
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let group = GroupId::new("g").unwrap();
        store.put_group(&group, &Settings::default(), None, "it", Wall(1)).await.unwrap();
        let sink = Sink {
            group,
            id: SinkId::new("a").unwrap(),
            target: Target::Webhook { url: "https://example.com/".to_owned() },
            takes: Takes { kinds: kinds.iter().map(What::kind).collect(), ..Takes::default() },
            enabled: true,
        };
        let row = store.put_sink(&sink, false, Wall(1)).await.unwrap();
        let courier = Arc::new(Picky::default());
        let (meters, _) = Meters::new();
        let (log, patience) = (store.clone(), Patience::default());
        let lanes = Lanes { store: store.clone(), log, courier: courier.clone() as _, meters, patience };
        (lanes, courier, store, row)
    }

    fn id(number: u128) -> String {
        format!("evt_{}", samples::event("g", number, What::Paused).id)
    }

    #[tokio::test]
    async fn letters_are_taken_in_order_and_the_rest_is_passed_over() {
        let (lanes, courier, store, row) = lanes(&[What::Paused]).await;
        let events = [What::Resumed, What::Paused, What::Resumed, What::Paused, What::Resumed];
        let events = events.into_iter().zip(1..).map(|(what, number)| samples::event("g", number, what));
        store.append(events.collect()).await.unwrap();
        let step = async || lanes.step(&row, Lane::Events, Wall(9), false).await.unwrap();
        assert_eq!(step().await, Step::Moved(1));
        assert_eq!(step().await, Step::Moved(1));
        assert_eq!(step().await, Step::Idle);
        assert_eq!(*courier.got.lock(), [id(2), id(4)]);
    }

    #[tokio::test]
    async fn what_fails_is_tried_for_a_day_and_put_aside() {
        let (lanes, courier, store, row) = lanes(&[What::Paused]).await;
        store.append((1..=2).map(|at| samples::event("g", at, What::Paused)).collect()).await.unwrap();
        *courier.fail.lock() = Some(Trouble::later("no"));
        let mut now = Wall(1_000);
        let mut tries = 0;
        loop {
            match lanes.step(&row, Lane::Events, now, false).await.unwrap() {
                Step::Waiting(wait, why) => {
                    assert_eq!(why, "no");
                    assert!(wait <= limits::SINK_RETRY.1);
                    let early = lanes.step(&row, Lane::Events, now, false).await.unwrap();
                    assert!(matches!(early, Step::Waiting(..)), "{early:?}");
                    now = now.after(wait);
                    tries += 1;
                }
                step => {
                    assert_eq!(step, Step::PutAside(format!("{} was put aside: no", id(1))));
                    break;
                }
            }
        }
        assert!(now >= Wall(1_000).after(limits::SINK_PATIENCE) && tries >= FAILURES - 1, "{tries} at {now}");
        assert!(courier.got.lock().iter().all(|got| *got == id(1)), "the second waits for the first");
        let dead = store.dead_letters(&row.sink.group, &row.sink.id, 0, 9).await.unwrap();
        assert_eq!(dead.iter().map(|letter| letter.id.clone()).collect::<Vec<_>>(), [id(1)]);
        *courier.fail.lock() = None;
        assert_eq!(lanes.step(&row, Lane::Events, now, false).await.unwrap(), Step::Moved(1));
        assert_eq!(courier.got.lock().last(), Some(&id(2)));
    }

    #[tokio::test]
    async fn what_is_refused_for_good_is_put_aside_at_once() {
        let (lanes, courier, store, row) = lanes(&[What::Paused]).await;
        store.append((1..=2).map(|at| samples::event("g", at, What::Paused)).collect()).await.unwrap();
        *courier.fail.lock() = Some(Trouble::Never("no".to_owned()));
        let step = lanes.step(&row, Lane::Events, Wall(9), false).await.unwrap();
        assert_eq!(step, Step::PutAside(format!("{} was put aside: no", id(1))));
        *courier.fail.lock() = None;
        assert_eq!(lanes.step(&row, Lane::Events, Wall(9), false).await.unwrap(), Step::Moved(1));
        assert_eq!(*courier.got.lock(), [id(1), id(2)]);
        let dead = store.dead_letters(&row.sink.group, &row.sink.id, 0, 9).await.unwrap();
        assert_eq!(dead.iter().map(|letter| letter.error.as_str()).collect::<Vec<_>>(), ["no"]);
    }

    #[tokio::test]
    async fn a_jump_of_the_clock_kills_no_letter() {
        let (lanes, courier, store, row) = lanes(&[What::Paused]).await;
        store.append(vec![samples::event("g", 1, What::Paused)]).await.unwrap();
        *courier.fail.lock() = Some(Trouble::later("no"));
        lanes.step(&row, Lane::Events, Wall(1_000), false).await.unwrap();
        let ahead = Wall(1_000).after(10 * limits::SINK_PATIENCE);
        lanes.step(&row, Lane::Events, ahead, false).await.unwrap();
        // And back again: it is tried at once, not in ten days.
        let tries = courier.got.lock().len();
        let step = lanes.step(&row, Lane::Events, Wall(2_000), false).await.unwrap();
        assert!(matches!(step, Step::Waiting(wait, _) if wait <= limits::SINK_RETRY.1), "{step:?}");
        assert_eq!(courier.got.lock().len(), tries + 1);
        assert_eq!(store.count_dead_letters(&row.sink.group, &row.sink.id).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_place_that_was_moved_meanwhile_ends_nothing() {
        let (lanes, courier, store, row) = lanes(&[What::Paused]).await;
        store.append((1..=2).map(|at| samples::event("g", at, What::Paused)).collect()).await.unwrap();
        let key = LaneKey { group: row.sink.group.clone(), sink: row.sink.id.clone(), lane: Lane::Events };
        // The follower before this one noted the letter, and was ended before it heard so.
        *courier.meanwhile.lock() = Some((store.clone(), key));
        assert_eq!(lanes.step(&row, Lane::Events, Wall(9), false).await.unwrap(), Step::Moved(1));
        assert_eq!(lanes.step(&row, Lane::Events, Wall(9), false).await.unwrap(), Step::Moved(1));
        assert_eq!(*courier.got.lock(), [id(1), id(2)]);
        // A sink that was removed meanwhile is over.
        store.append(vec![samples::event("g", 3, What::Paused)]).await.unwrap();
        store.delete_sink(&row.sink.group, &row.sink.id).await.unwrap();
        assert_eq!(lanes.step(&row, Lane::Events, Wall(9), false).await.unwrap(), Step::Over(None));
    }

    #[tokio::test]
    async fn who_is_gone_is_switched_off() {
        let (lanes, courier, store, row) = lanes(&[What::Paused]).await;
        store.append(vec![samples::event("g", 1, What::Paused)]).await.unwrap();
        *courier.fail.lock() = Some(Trouble::Gone("answered 410 Gone".to_owned()));
        let step = lanes.step(&row, Lane::Events, Wall(9), false).await.unwrap();
        assert!(matches!(step, Step::Over(Some(_))), "{step:?}");
        let row = store.sink(&row.sink.group, &row.sink.id).await.unwrap().unwrap();
        assert!(!row.sink.enabled && row.disabled.is_some());
    }
}
