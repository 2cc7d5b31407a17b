//! Lets go of what was kept for long enough: events, session records, dead letters, and receipts where the settings
//! say so.
//!
//! Decides the order and the steps: a group at a time, each write bounded, others write in between. How much is
//! kept is the settings' to say, and what a step takes along is the store's. Driven by the server's upkeep.

use std::sync::Arc;
use std::time::Duration;

use super::accounts::Accounts;
use crate::clock::Wall;
use crate::config::Config;
use crate::ids::GroupId;
use crate::limits;
use crate::model::receipt::{self, Link};
use crate::redis::lease::Lease;
use crate::store::events::Retention;
use crate::store::receipts::{Beginning, Cut};
use crate::store::{EventLog, ReceiptLog, SessionRecords, StoreError, SyncStore};

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    events: Retention,
    records: Retention,
    receipts: Option<Duration>,
}

impl Keep {
    /// What the settings of the process say.
    pub fn of(config: &Config) -> Self {
        let (events, records) = (&config.events, &config.records);
        Self {
            events: Retention { age: events.keep, count: events.keep_count },
            records: Retention { age: records.keep, count: records.keep_count },
            receipts: config.receipts.keep,
        }
    }
}

/// Lets go of what is beyond what is kept.
pub struct Keeper {
    /// Whose, and what signs the statements on receipts.
    pub accounts: Arc<Accounts>,
    /// The log of events.
    pub events: Arc<dyn EventLog>,
    /// The records of sessions.
    pub records: Arc<dyn SessionRecords>,
    /// The chains of receipts.
    pub receipts: Arc<dyn ReceiptLog>,
    /// What was put aside for sinks.
    pub sync: Arc<dyn SyncStore>,
    /// How much is kept.
    pub keep: Keep,
    /// Whose turn it is, where several nodes could; without it this one always does.
    pub lease: Option<Arc<Lease>>,
}

impl Keeper {
    /// One round over all groups, as long as it is this node's turn. What fails is said in the log and tried again
    /// in the next.
    pub async fn round(&self, now: Wall) {
        match &self.lease {
            None => self.all(now).await,
            Some(lease) => {
                if let Some(term) = lease.term() {
                    // Each step is whole by itself: the next node goes on where this one was.
                    term.during(self.all(now)).await;
                }
            }
        }
    }

    async fn all(&self, now: Wall) {
        for group in self.accounts.groups() {
            let group = &group.id;
            for (what, done) in [
                ("events", self.events(group, now).await),
                ("session records", self.records(group, now).await),
                ("receipts", self.receipts(group, now).await),
            ] {
                if let Err(error) = done {
                    tracing::warn!(%group, %error, "can't let go of old {what}");
                }
            }
        }
    }

    async fn events(&self, group: &GroupId, now: Wall) -> Result<(), StoreError> {
        while self.events.trim(group, self.keep.events, now).await? >= limits::EVENT_TRIM as u64 {}
        Ok(())
    }

    async fn records(&self, group: &GroupId, now: Wall) -> Result<(), StoreError> {
        loop {
            let gone = self.records.trim_records(group, self.keep.records, now).await?;
            if gone.unsent > 0 {
                tracing::warn!(
                    %group, records = gone.unsent,
                    "session records were let go of that a sink was never handed"
                );
            }
            if gone.records < limits::RECORD_TRIM as u64 {
                break;
            }
        }
        self.sync.forget_dead_letters(group, now.before(self.keep.records.age)).await?;
        Ok(())
    }

    async fn receipts(&self, group: &GroupId, now: Wall) -> Result<(), StoreError> {
        let Some(age) = self.keep.receipts else { return Ok(()) };
        let (signing, whose) = (self.accounts.receipt_key(group), group.clone());
        let cut: Cut = Arc::new(move |next: &Link| Beginning {
            count: next.number - 1,
            at: now,
            line: receipt::start(&whose, next, now, &signing),
        });
        loop {
            let gone = self.receipts.let_receipts_go(group, now.before(age), Arc::clone(&cut)).await?;
            if gone > 0 {
                tracing::info!(%group, receipts = gone, "consent receipts were let go of");
            }
            if gone < limits::RECEIPT_PAGE as u64 {
                return Ok(());
            }
        }
    }
}
