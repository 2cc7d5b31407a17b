//! Session records folded from events as the embedded log is appended to.

use std::collections::HashMap;

use rusqlite::Connection;

use super::super::StoreError;
use super::records;
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
