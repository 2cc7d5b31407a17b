//! The node's beat: renews its lease, learns who else is up, and notices when Redis was away or had forgotten.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::{FromRedisValue, RedisError, Script, Value};
use tokio::time::{Instant, MissedTickBehavior};

use super::table::{Row, Term};
use super::{Inner, Me, entry};
use crate::cluster::{Hint, NodeId};
use crate::limits;
use crate::redis::Link;
use crate::telemetry::Meters;

static BEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/beat.lua")));
static LIVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/live.lua")));

pub(super) const LEASES: &str = "pl:{nodes}:leases";
const FACTS: &str = "pl:{nodes}:facts";
const LAST: &str = "pl:{nodes}:last";
/// The channel on which nodes tell that they came, went, settled or drain.
pub(super) const NEWS: &str = "pl:{nodes}:news";

/// How many nodes hold their lease, for whoever must be alone on a Redis.
pub async fn live_nodes(link: &Link) -> Result<u64, RedisError> {
    link.run(&LIVE.key(LEASES)).await
}

/// This node's own standing.
#[derive(Debug, Default)]
pub(super) struct Own {
    node: Option<NodeId>,
    /// Zero before the first beat.
    epoch: u64,
    /// Counts beats, so that one that comes late is known as such.
    seq: u64,
    /// All visitors were told in this epoch.
    settled: bool,
    /// Something failed: what Redis holds of this node is not known, and the next beat begins a new epoch.
    failed: bool,
    /// Told to others that they are unknown.
    away: bool,
    left: bool,
    /// When the last beat that went through was sent.
    pub(super) heard: Option<Instant>,
    /// When the beats that may still be heard on the own channel were sent: the newest.
    sent: Option<(u64, Instant)>,
}

impl Own {
    /// The term in which this node may speak for visitors.
    pub(super) fn term(&self) -> Option<Term> {
        let node = self.node.filter(|_| self.epoch > 0 && !self.left)?;
        Some(Term { node, epoch: self.epoch })
    }

    /// The same if it is certain that the lease still holds.
    pub(super) fn sure_term(&self, lease: Duration) -> Option<Term> {
        self.term().filter(|_| !self.failed && self.heard.is_some_and(|heard| heard.elapsed() < lease))
    }

    /// Other nodes' visitors are told to be unknown, until a beat goes through.
    pub(super) fn is_away(&self) -> bool {
        self.away
    }

    /// What is told now is told anew after the next beat, and need not be kept.
    pub(super) fn is_failed(&self) -> bool {
        self.failed
    }
}

/// What a beat is answered with.
struct Told {
    /// The own epoch; zero where the beat did not count.
    epoch: u64,
    rows: Vec<Row>,
}

/// The beat's life.
pub(super) async fn run(inner: Arc<Inner>) {
    let ready = inner.ready.lock().take();
    if let Some(mut ready) = ready
        && ready.wait_for(|ready| *ready).await.is_err()
    {
        return;
    }
    inner.found.store(true, Ordering::Relaxed);
    let mut tick = tokio::time::interval(inner.pace.beat);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = tick.tick() => {}
            () = inner.hurry.notified() => {}
        }
        if inner.source().is_none() {
            return;
        }
        inner.beat().await;
    }
}

impl Inner {
    /// Waits, not for long, until it is known who is up.
    pub(super) async fn first_beat(&self) {
        if self.own.lock().epoch == 0 && !self.cut.load(Ordering::Relaxed) {
            let first = async {
                loop {
                    let beaten = self.beaten.notified();
                    if self.own.lock().epoch > 0 {
                        return;
                    }
                    beaten.await;
                }
            };
            let _first = tokio::time::timeout(limits::CLAIM_WAIT, first).await;
            if self.own.lock().epoch == 0 {
                self.trip();
            }
        }
    }

    /// Beats at once, unless a beat began since then. Returns whether one went through: otherwise nothing is known
    /// that was not known before.
    pub(super) async fn refresh(&self, since: Instant) -> bool {
        let _turn = self.turn.lock().await;
        let is_old = || self.own.lock().heard.is_none_or(|heard| heard < since);
        if is_old() {
            self.beat_in_turn().await;
        }
        !is_old()
    }

    /// The node leaves.
    pub(super) async fn leave(&self) {
        self.own.lock().left = true;
        self.beat().await;
    }

    async fn beat(&self) {
        let _turn = self.turn.lock().await;
        self.beat_in_turn().await;
    }

    async fn beat_in_turn(&self) {
        if !self.found.load(Ordering::Relaxed) {
            return;
        }
        let (Some(me), Some(source)) = (self.me(), self.source()) else { return };
        let facts = source.facts();
        let (mut call, sent, fresh) = (BEAT.key(LEASES), Instant::now(), {
            let mut own = self.own.lock();
            own.node = Some(me.node);
            own.seq += 1;
            own.sent = Some((own.seq, Instant::now()));
            if own.epoch == 0 {
                own.settled = true;
            }
            own.failed
        });
        {
            let own = self.own.lock();
            let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            call.key(FACTS)
                .key(LAST)
                .arg(entry::node_name(me.node))
                .arg(own.epoch)
                .arg(own.seq)
                .arg(millis(self.pace.lease))
                .arg(u8::from(own.settled && !fresh))
                .arg(u8::from(facts.draining))
                .arg(entry::facts_written(&facts))
                .arg(millis(self.pace.silence()))
                .arg(millis(limits::NODE_REMEMBERED))
                .arg(u8::from(fresh))
                .arg(u8::from(own.left))
                .arg(NEWS)
                .arg(entry::node_channel(me.node));
        }
        drop(source);
        match self.run::<Vec<Value>>(&call).await.and_then(read) {
            Ok(told) => self.beaten(me, told, sent, fresh),
            Err(error) => self.missed(&error),
        }
    }

    fn beaten(&self, me: &Me, told: Told, sent: Instant, fresh: bool) {
        let Told { epoch, rows } = told;
        let others = rows.into_iter().filter(|row| row.term.node != me.node).collect();
        let news = self.table.write().take(others, Instant::now(), (self.wall)());
        let (began, anew, away) = {
            let mut own = self.own.lock();
            if own.left || epoch == 0 {
                return;
            }
            let began = own.epoch == 0;
            let anew = fresh || (own.epoch != epoch && !began);
            own.epoch = epoch;
            own.heard = Some(sent);
            if fresh {
                own.failed = false;
            }
            if anew {
                own.settled = false;
            }
            (began, anew, std::mem::take(&mut own.away))
        };
        self.cut.store(false, Ordering::Relaxed);
        if anew || began {
            self.tell(Hint::Term(epoch));
        }
        if anew {
            tracing::info!(epoch, "tells all visitors of this node anew");
            self.tell_anew();
        }
        self.beaten.notify_waiters();
        for node in &news.gone {
            tracing::info!(%node, "a node is gone");
            self.tell(Hint::NodeGone(*node));
        }
        if away {
            tracing::info!("Redis is back");
            self.tell(Hint::Back);
        } else if news.moved || anew {
            self.tell(Hint::Reread(None));
        }
        if !news.gone.is_empty() && self.table.read().first().is_none_or(|first| me.node < first) {
            self.swept.notify_one();
        }
        for group in std::mem::take(&mut *self.doubtful.lock()) {
            self.tell(Hint::Reread(Some(group)));
        }
    }

    fn missed(&self, error: &RedisError) {
        if !self.cut.swap(true, Ordering::Relaxed) {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "Redis is away, presence goes on without it"
            );
        }
        let silent = {
            let mut own = self.own.lock();
            own.failed = true;
            let silence = own.heard.map(|heard| heard.elapsed());
            let silent = silence.filter(|silence| *silence > self.pace.silence() && !own.away);
            own.away |= silent.is_some();
            silent
        };
        self.queue.lock().clear();
        if let Some(silence) = silent {
            self.tell(Hint::Away((self.wall)().before(silence)));
        }
    }

    /// A write failed: what Redis holds of this node is not known.
    pub(super) fn fail(&self, error: &RedisError) {
        tracing::warn!(error = error as &dyn std::error::Error, "Redis did not take what it was told");
        self.own.lock().failed = true;
        self.queue.lock().clear();
        self.trip();
    }

    /// All visitors were told in this epoch.
    pub(super) fn settle(&self, epoch: u64) {
        let mut own = self.own.lock();
        if own.epoch == epoch && !own.settled && !own.failed {
            own.settled = true;
            drop(own);
            self.hurry.notify_one();
        }
    }

    /// The own beat was heard: so long a hint takes.
    pub(super) fn heard_own(&self, seq: u64, meters: &Meters) {
        if let Some((sent, at)) = self.own.lock().sent
            && sent == seq
        {
            meters.hint_seconds.record(at.elapsed().as_secs_f64());
        }
    }
}

/// Reads what the script answered.
fn read(answer: Vec<Value>) -> Result<Told, RedisError> {
    let mut answer = answer.into_iter();
    let mut own = || answer.next().ok_or((redis::ErrorKind::UnexpectedReturnType, "an empty answer"));
    let epoch = FromRedisValue::from_redis_value(own()?)?;
    let mut rows = Vec::new();
    while let Some(name) = answer.next() {
        let mut next = || answer.next().ok_or((redis::ErrorKind::UnexpectedReturnType, "half a node"));
        let (left, term, settled, draining, facts) = (next()?, next()?, next()?, next()?, next()?);
        let name: String = FromRedisValue::from_redis_value(name)?;
        let Some(node) = entry::node_named(&name) else { continue };
        let facts: Vec<u8> = FromRedisValue::from_redis_value(facts)?;
        rows.push(Row {
            term: Term { node, epoch: FromRedisValue::from_redis_value(term)? },
            left: Duration::from_millis(FromRedisValue::from_redis_value(left)?),
            settled: FromRedisValue::from_redis_value(settled)?,
            draining: FromRedisValue::from_redis_value(draining)?,
            facts: entry::facts_read(node, &facts),
        });
    }
    Ok(Told { epoch, rows })
}
