//! A lease on Redis: of all processes that want it one holds it, for as long as it says so in time.
//!
//! Decides who holds it and when a holder must regard it as lost: a term ends, by the holder's own monotonic clock,
//! some time before Redis would let anybody else have it, unless Redis has confirmed it anew meanwhile. A process
//! that stood still may yet wake up believing that it holds it; so each term has a number greater than those of
//! all terms before, and whatever must not be done by two is refused for the smaller one. What is done under a
//! lease is its users' matter.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::{RedisError, Script};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Link;
use crate::auth::random;
use crate::limits;

/// How long a lease lasts, and how it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long Redis keeps it without a word of its holder.
    pub life: Duration,
    /// How often its holder speaks.
    pub renew: Duration,
    /// How much earlier than Redis its holder takes it for lost.
    pub margin: Duration,
    /// How often those who want it ask, and its holder when it got no answer.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            life: limits::REDIS_LEASE,
            renew: limits::REDIS_LEASE_RENEW,
            margin: limits::REDIS_LEASE_MARGIN,
            retry: limits::REDIS_LEASE_TRY,
        }
    }
}

/// A time during which this process holds the lease. A clone is the same one.
#[derive(Debug, Clone)]
pub struct Term {
    number: u64,
    until: Arc<Mutex<Instant>>,
    lost: CancellationToken,
}

impl Term {
    /// Greater than that of every term before, of this or another process.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether it is over.
    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled() || Instant::now() >= *self.until.lock()
    }

    /// Does something while it lasts; none when it ended first.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        if self.is_lost() {
            return None;
        }
        self.lost.run_until_cancelled(work).await
    }

    /// Waits for its end.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

/// A lease that this process holds or waits for, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    terms: watch::Receiver<Option<Term>>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }
}

impl Lease {
    /// Holds the lease of this name whenever nobody else does.
    pub fn hold(link: Link, name: &str) -> Self {
        Self::hold_with(link, name, Timing::default())
    }

    /// The same with other times than the usual ones.
    pub fn hold_with(link: Link, name: &str, timing: Timing) -> Self {
        let (tell, terms) = watch::channel(None);
        let stop = CancellationToken::new();
        let wanted = Wanted {
            link,
            name: name.to_owned(),
            owner: format!("{:032x}", random::u128()),
            take: Script::new(include_str!("lua/lease_take.lua")),
            renew: Script::new(include_str!("lua/lease_renew.lua")),
            release: Script::new(include_str!("lua/lease_release.lua")),
            timing,
            stop: stop.clone(),
            tell,
        };
        Self { terms, stop, task: Mutex::new(Some(tokio::spawn(wanted.run()))) }
    }

    /// The term that lasts now.
    pub fn term(&self) -> Option<Term> {
        self.terms.borrow().clone().filter(|term| !term.is_lost())
    }

    /// Waits until this process holds it. Never answers after [`Self::give_up`].
    pub async fn gained(&self) -> Term {
        let mut terms = self.terms.clone();
        loop {
            let term = terms.borrow_and_update().clone().filter(|term| !term.is_lost());
            if let Some(term) = term {
                return term;
            }
            if terms.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ends the term, if one lasts, and lets others have the lease at once. Whatever is done under it should have
    /// ended before.
    pub async fn give_up(&self) {
        self.stop.cancel();
        let task = self.task.lock().take();
        if let Some(task) = task {
            // A task that failed holds nothing any more.
            let _ = task.await;
        }
    }
}

/// A key of a lease. Names of groups hold no colon, so that no group has this hash tag.
pub fn key(name: &str, part: &str) -> String {
    format!("pl:{{lease:{name}}}:{part}")
}

/// The task that holds a lease or waits for it.
struct Wanted {
    link: Link,
    name: String,
    owner: String,
    take: Script,
    renew: Script,
    release: Script,
    timing: Timing,
    stop: CancellationToken,
    tell: watch::Sender<Option<Term>>,
}

/// How a term ended.
enum End {
    /// Somebody else has it, or nothing was heard in time.
    Lost(&'static str),
    /// It is not wanted any more.
    GivenUp,
}

impl Wanted {
    async fn run(self) {
        loop {
            let asked = Instant::now();
            match self.stop.run_until_cancelled(self.take()).await {
                None => return self.release().await,
                Some(Ok(0)) => {}
                Some(Ok(number)) => match self.hold(number, asked).await {
                    End::Lost(why) => {
                        tracing::warn!(lease = self.name, number, why, "lost the lease");
                    }
                    End::GivenUp => return self.release().await,
                },
                Some(Err(error)) => {
                    tracing::debug!(lease = self.name, error = &error as &dyn std::error::Error, "no lease");
                }
            }
            if self.stop.run_until_cancelled(sleep(self.timing.retry)).await.is_none() {
                return;
            }
        }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.timing.life.as_millis()).unwrap_or(u64::MAX)
    }

    async fn take(&self) -> Result<u64, RedisError> {
        let mut call = self.take.key(key(&self.name, "owner"));
        call.key(key(&self.name, "number")).arg(&self.owner).arg(self.millis());
        self.link.run(&call).await
    }

    async fn renew(&self) -> Result<bool, RedisError> {
        let mut call = self.renew.key(key(&self.name, "owner"));
        call.arg(&self.owner).arg(self.millis());
        self.link.run(&call).await
    }

    /// One that is not given back ends by itself.
    async fn release(&self) {
        let mut call = self.release.key(key(&self.name, "owner"));
        call.arg(&self.owner);
        if let Err(error) = self.link.run::<u64>(&call).await {
            tracing::debug!(lease = self.name, error = &error as &dyn std::error::Error, "not given back");
        }
    }

    /// One term, whose beginning was asked for at this time; what Redis counts began later.
    async fn hold(&self, number: u64, asked: Instant) -> End {
        let sure = self.timing.life.saturating_sub(self.timing.margin);
        let until = Arc::new(Mutex::new(asked + sure));
        let term = Term { number, until: Arc::clone(&until), lost: CancellationToken::new() };
        let _ended = Ended { tell: &self.tell, lost: term.lost.clone() };
        tracing::info!(lease = self.name, number, "got the lease");
        self.tell.send_replace(Some(term));
        let mut next = asked + self.timing.renew;
        loop {
            let over = *until.lock();
            let renewed = async {
                sleep_until(next).await;
                let asked = Instant::now();
                (asked, self.renew().await)
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return End::GivenUp,
                () = sleep_until(over) => return End::Lost("nothing was heard of Redis in time"),
                (asked, answer) = renewed => match answer {
                    Ok(true) => {
                        *until.lock() = asked + sure;
                        next = asked + self.timing.renew;
                    }
                    Ok(false) => return End::Lost("it is not ours any more"),
                    Err(_) => next = Instant::now() + self.timing.retry,
                },
            }
        }
    }
}

/// Tells the end of a term, however its task ends.
struct Ended<'a> {
    tell: &'a watch::Sender<Option<Term>>,
    lost: CancellationToken,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.lost.cancel();
        self.tell.send_replace(None);
    }
}
