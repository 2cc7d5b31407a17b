//! Session records folded from events: from the embedded log as it is appended to, or from a log elsewhere.
//!
//! With the log elsewhere the embedded one is empty, and its end says how far the other one was folded. So the
//! numbers go on where one log takes over from the other.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::super::StoreError;
use super::events::ends_of;
use super::{SqliteStore, records, signed};
use crate::ids::{GroupId, SessionId};
use crate::model::event::Logged;
use crate::model::session_record::{SessionRecord, concerns};

/// Records that the events of one transaction change.
#[derive(Default)]
pub(super) struct Folding(HashMap<(GroupId, SessionId), Option<SessionRecord>>);

impl Folding {
    /// Takes the next event.
    pub(super) fn take(&mut self, db: &Connection, logged: Logged) -> Result<(), StoreError> {
        let event = &logged.event;
        let Some(session) = event.session.filter(|_| concerns(event.what.kind())) else { return Ok(()) };
        let key = (event.group.clone(), session);
        let before = match self.0.remove(&key) {
            Some(before) => before,
            None => match records::load(db, &event.group, session) {
                Ok(before) => before,
                // The event is worth more than the record, which can be folded anew from the log.
                Err(error @ StoreError::Unreadable { .. }) => {
                    tracing::error!(group = %event.group, %session, %error, "a session record is broken");
                    return Ok(());
                }
                Err(error) => return Err(error),
            },
        };
        self.0.insert(key, SessionRecord::apply(before, &logged));
        Ok(())
    }

    /// Writes what they became.
    pub(super) fn save(self, db: &Connection) -> Result<(), StoreError> {
        self.0.into_values().flatten().try_for_each(|record| records::save(db, &record))
    }
}

impl SqliteStore {
    /// How far a group's log elsewhere was folded.
    pub(in super::super) async fn folded(&self, group: &GroupId) -> Result<u64, StoreError> {
        let group = group.clone();
        self.engine.read(move |db| Ok(ends_of(db, &group)?.head)).await
    }

    /// Folds events of a log elsewhere and notes how far it came, both or neither; returns how far that is.
    /// Does nothing if the log was not folded up to `from` exactly.
    pub(in super::super) async fn fold(
        &self,
        group: &GroupId,
        from: u64,
        events: Vec<Logged>,
        until: u64,
    ) -> Result<u64, StoreError> {
        let group = group.clone();
        self.engine
            .write(move |db| {
                let folded = ends_of(db, &group)?.head;
                if folded != from {
                    return Ok(folded);
                }
                let mut folding = Folding::default();
                for logged in events {
                    folding.take(db, logged)?;
                }
                folding.save(db)?;
                db.prepare_cached(
                    "INSERT INTO event_ends (grp, head, low) VALUES (?1, ?2, ?2)
                     ON CONFLICT DO UPDATE SET head = ?2, low = ?2",
                )?
                .execute(params![group.as_str(), signed(until)])?;
                Ok(until)
            })
            .await
    }
}
