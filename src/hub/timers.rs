//! One timer for everything that waits: machines tell when they want to be called, one task calls them.
//!
//! Entries are never taken out. A machine that is called too early has nothing to do and says when to call
//! it next; that is cheaper than finding and moving entries.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::{Clock, Tick};
use crate::ids::{ConnectionId, GroupId, SessionId, VisitorKey};

/// Who wants to be called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// The presence of a visitor: grace.
    Visitor(VisitorKey),
    /// A session: deadlines of request, waiting, resume, length.
    Session(SessionId),
    /// A session's key-frame request that had to wait.
    KeyFrame(SessionId),
    /// An ended session may be forgotten.
    Forget(SessionId),
    /// A live list has changes to tell.
    Live(ConnectionId),
    /// Codes of a group end.
    Codes(GroupId),
    /// A session that a visitor opened has waited long enough.
    Opened(VisitorKey),
    /// A question to another node, on this wire and of this number, was to be answered by now.
    Asked(u64, u64),
}

/// Everything that waits, earliest first.
#[derive(Debug, Default)]
pub struct Timers {
    waiting: Mutex<BinaryHeap<Reverse<(Tick, Due)>>>,
    earlier: Notify,
}

impl Timers {
    /// Calls `due` at `at` or a little later.
    pub fn at(&self, at: Tick, due: Due) {
        let mut waiting = self.waiting.lock();
        let first = waiting.peek().is_none_or(|Reverse((first, _))| at < *first);
        waiting.push(Reverse((at, due)));
        drop(waiting);
        if first {
            self.earlier.notify_one();
        }
    }

    /// Waits for what is due next. Cancel-safe.
    pub async fn next(&self, clock: &Clock) -> Due {
        loop {
            let wait_until = {
                let mut waiting = self.waiting.lock();
                match waiting.peek().map(|Reverse((at, _))| *at) {
                    Some(at) if at <= clock.tick() => {
                        let Reverse((_, due)) = waiting.pop().expect("it was just seen");
                        return due;
                    }
                    at => at,
                }
            };
            let earlier = self.earlier.notified();
            match wait_until {
                Some(at) => {
                    let sleep = tokio::time::sleep_until(clock.instant(at).into());
                    tokio::select! { () = sleep => {} () = earlier => {} }
                }
                None => earlier.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_earliest_comes_first_and_a_new_first_wakes_the_waiter() {
        let clock = Clock::start();
        let timers = std::sync::Arc::new(Timers::default());
        let session = |n| Due::Session(SessionId::from_u128(n));
        timers.at(Tick(clock.tick().0 + 60_000), session(2));
        let waiter = tokio::spawn({
            let timers = std::sync::Arc::clone(&timers);
            async move { timers.next(&clock).await }
        });
        tokio::task::yield_now().await;
        timers.at(clock.tick(), session(1));
        assert_eq!(waiter.await.unwrap(), session(1));
    }
}
