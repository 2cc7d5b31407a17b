//! Coming back after a lost connection, as the contract asks of clients: after the delay that the server told, else
//! with full jitter, doubling, and never after a *no*.
//!
//! Counts who came back and why. Decides neither what is said on the new connection nor what a loss means.

use std::time::{Duration, Instant};

use super::report::{Latency, Tally};
use super::socket::{Fault, patiently};
use crate::auth::random;
use crate::limits;

/// The first pause, which doubles with each try; the same that our own clients keep.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Who is not back after this time is lost: a resume token is good for no longer.
const GIVE_UP: Duration = limits::RESUME_WINDOW;

/// Connections that were lost and made anew.
#[derive(Debug, Default)]
pub(super) struct Comebacks {
    causes: Tally,
    took: Latency,
}

impl Comebacks {
    /// Connects again until it succeeds. `told` is the delay of the server's `reconnect`, if one was heard.
    ///
    /// # Errors
    /// The fault itself when nobody should come back after it, or the last one of the tries.
    pub(super) async fn back<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        who: &str,
        fault: Fault,
        told: Option<Duration>,
        mut connect: impl FnMut() -> F,
    ) -> Result<T, Fault> {
        let (lost, cause) = (Instant::now(), fault.cause());
        let mut fault = fault;
        let mut pause = FIRST_PAUSE;
        let mut wait = match told {
            // As our own clients do: enough jitter to keep a node's connections apart.
            Some(after) => after + part_of(after.max(FIRST_PAUSE)),
            None => part_of(pause),
        };
        while fault.may_return() && lost.elapsed() + wait < GIVE_UP {
            tokio::time::sleep(wait).await;
            match patiently(connect()).await {
                Ok(connection) => {
                    self.causes.add(format!("{who}: {cause}"));
                    self.took.since(lost);
                    return Ok(connection);
                }
                Err(again) => fault = again,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            wait = part_of(pause);
        }
        Err(fault)
    }

    /// Moves the counts, by who and why, out of here.
    pub(super) fn take(&self) -> Tally {
        let causes = Tally::default();
        causes.take_from(&self.causes);
        causes
    }

    /// How long those who came back were away.
    pub(super) fn took(&self) -> &Latency {
        &self.took
    }
}

/// Any part of a time, each equally likely.
fn part_of(time: Duration) -> Duration {
    time.mul_f64(f64::from(u32::from_be_bytes(random::bytes())) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn closed(code: u16) -> Fault {
        Fault::Closed { code, reason: String::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drained_client_keeps_the_delay_and_tries_until_it_is_in() {
        let comebacks = Comebacks::default();
        let (begun, tries) = (tokio::time::Instant::now(), Cell::new(0));
        let after = Duration::from_secs(3);
        let back = comebacks.back("visitor", closed(4000), Some(after), || {
            assert!(begun.elapsed() >= after);
            tries.set(tries.get() + 1);
            std::future::ready(if tries.get() < 3 { Err(Fault::Http(503)) } else { Ok(()) })
        });
        back.await.unwrap();
        assert_eq!(tries.get(), 3);
        assert_eq!(comebacks.take().to_string(), "visitor: 4000 drain × 1");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_comes_back_after_a_no() {
        let comebacks = Comebacks::default();
        for code in [4400, 4401, 4403, 4404, 4408, 4409] {
            let tried = Cell::new(false);
            let back = comebacks.back("viewer", closed(code), None, || {
                tried.set(true);
                std::future::ready(Ok(()))
            });
            assert!(back.await.is_err() && !tried.get(), "{code}");
        }
        // A no while trying ends it as well.
        let back =
            comebacks.back("viewer", Fault::Lost, None, || std::future::ready(Err::<(), _>(closed(4404))));
        assert!(matches!(back.await, Err(Fault::Closed { code: 4404, .. })));
        assert_eq!(comebacks.take().total(), 0);
    }
}
