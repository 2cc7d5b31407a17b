//! How many may read at length at a time. Who reads gives its place back by being dropped.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::status::AdminError;
use crate::limits;
use crate::telemetry::Meters;

/// The places of a node.
#[derive(Clone)]
pub(super) struct Readers {
    free: Arc<Semaphore>,
    meters: Arc<Meters>,
}

/// One place that is taken.
pub(super) struct Reading {
    _permit: OwnedSemaphorePermit,
    meters: Arc<Meters>,
}

impl Readers {
    pub(super) fn new(meters: Arc<Meters>) -> Self {
        Self { free: Arc::new(Semaphore::new(limits::ADMIN_READERS)), meters }
    }

    /// Takes a place.
    pub(super) fn open(&self) -> Result<Reading, AdminError> {
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            self.meters.refusal("admin_readers");
            return Err(AdminError::Unavailable);
        };
        self.meters.admin_readers.increment(1);
        Ok(Reading { _permit: permit, meters: Arc::clone(&self.meters) })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.meters.admin_readers.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let readers = Readers::new(Meters::new().0);
        let all: Vec<_> = (0..limits::ADMIN_READERS).map(|_| readers.open().ok()).collect();
        assert!(all.iter().all(Option::is_some));
        assert!(matches!(readers.open(), Err(AdminError::Unavailable)));
        drop(all);
        assert!(readers.open().is_ok());
    }
}
