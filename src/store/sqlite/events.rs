//! The event log in SQLite, and what is folded from it in the same transaction: session records, posts, leads.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use dashmap::DashMap;
use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::watch;

use super::super::StoreError;
use super::super::events::{After, EventLog, Page, Retention};
use super::fold::Folding;
use super::{SqliteStore, feed, signed, unreadable, unsigned};
use crate::clock::Wall;
use crate::ids::{EventId, GroupId, SessionId};
use crate::limits;
use crate::model::event::{Event, Logged};

/// The newest sequence of each group that somebody follows or appended to.
pub(super) type Newest = DashMap<GroupId, watch::Sender<u64>>;

/// The ends of a group's log.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ends {
    /// The newest sequence that was given.
    pub(super) head: u64,
    /// The newest sequence that was trimmed.
    low: u64,
}

#[async_trait]
impl EventLog for SqliteStore {
    async fn append(&self, events: Vec<Event>) -> Result<Vec<u64>, StoreError> {
        let newest = Arc::clone(&self.newest);
        let groups: Vec<GroupId> = events.iter().map(|event| event.group.clone()).collect();
        let tell = move |sequences: &Vec<u64>| {
            for (group, sequence) in groups.iter().zip(sequences) {
                // Kept before anybody follows: who comes next hears what is there.
                let followed = newest.entry(group.clone()).or_insert_with(|| watch::Sender::new(0));
                followed.send_if_modified(|known| {
                    let later = *sequence > *known;
                    *known = (*known).max(*sequence);
                    later
                });
            }
        };
        self.engine.write_then(move |db| append(db, events), tell).await
    }

    async fn read(&self, group: &GroupId, after: After) -> Result<Page, StoreError> {
        let group = group.clone();
        self.engine.read(move |db| read(db, &group, after)).await
    }

    async fn timeline(&self, group: &GroupId, session: SessionId, after: u64) -> Result<Page, StoreError> {
        let group = group.clone();
        self.engine
            .read(move |db| {
                let sql = "SELECT sequence, event FROM events
                           WHERE grp = ?1 AND session = ?2 AND sequence > ?3 ORDER BY sequence LIMIT ?4";
                let limit = signed(limits::EVENT_PAGE as u64);
                let values = params![group.as_str(), session.bytes(), signed(after), limit];
                page(db, sql, values, after, true)
            })
            .await
    }

    fn newest(&self, group: &GroupId) -> watch::Receiver<u64> {
        self.newest.entry(group.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    async fn trim(&self, group: &GroupId, keep: Retention, now: Wall) -> Result<u64, StoreError> {
        let group = group.clone();
        let oldest = u64::try_from(keep.age.as_millis()).map_or(0, |age| now.0.saturating_sub(age));
        self.engine.write(move |db| trim(db, &group, oldest, keep.count)).await
    }
}

fn append(db: &Connection, events: Vec<Event>) -> Result<Vec<u64>, StoreError> {
    let mut ends: HashMap<GroupId, Ends> = HashMap::new();
    let mut folding = Folding::default();
    let mut sequences = Vec::with_capacity(events.len());
    let mut insert = db.prepare_cached(
        "INSERT INTO events (grp, sequence, id, at, session, event) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (grp, id) DO NOTHING",
    )?;
    for event in events {
        if !ends.contains_key(&event.group) {
            ends.insert(event.group.clone(), ends_of(db, &event.group)?);
        }
        let end = ends.get_mut(&event.group).expect("it was just put there");
        if let Some(known) = feed::known(db, &event)? {
            sequences.push(known);
            continue;
        }
        let text = serde_json::to_string(&event).expect("names, numbers and texts have a JSON form");
        let added = insert.execute(params![
            event.group.as_str(),
            signed(end.head + 1),
            event.id.bytes(),
            signed(event.at.0),
            event.session.map(SessionId::bytes),
            text
        ])?;
        if added == 0 {
            let known = sequence_of(db, &event.group, event.id)?;
            sequences.push(known.unwrap_or(end.head));
            continue;
        }
        end.head += 1;
        sequences.push(end.head);
        feed::fold(db, end.head, &event, &text)?;
        folding.take(db, Logged { sequence: end.head, event })?;
    }
    for (group, end) in &ends {
        db.prepare_cached(
            "INSERT INTO event_ends (grp, head, low) VALUES (?1, ?2, 0) ON CONFLICT DO UPDATE SET head = ?2",
        )?
        .execute(params![group.as_str(), signed(end.head)])?;
    }
    folding.save(db)?;
    Ok(sequences)
}

fn ends_of(db: &Connection, group: &GroupId) -> Result<Ends, StoreError> {
    let ends = db
        .prepare_cached("SELECT head, low FROM event_ends WHERE grp = ?1")?
        .query_row(params![group.as_str()], |row| {
            Ok(Ends { head: unsigned(row, 0)?, low: unsigned(row, 1)? })
        })
        .optional()?;
    Ok(ends.unwrap_or_default())
}

fn sequence_of(db: &Connection, group: &GroupId, id: EventId) -> Result<Option<u64>, StoreError> {
    let sql = "SELECT sequence FROM events WHERE grp = ?1 AND id = ?2";
    let mut found = db.prepare_cached(sql)?;
    Ok(found.query_row(params![group.as_str(), id.bytes()], |row| unsigned(row, 0)).optional()?)
}

fn read(db: &Connection, group: &GroupId, after: After) -> Result<Page, StoreError> {
    // One look at the log: what is appended or trimmed meanwhile belongs to the next.
    let _look = if db.is_autocommit() { Some(db.unchecked_transaction()?) } else { None };
    let ends = ends_of(db, group)?;
    let (from, recovered) = match after {
        After::Start => (ends.low, true),
        After::End => (ends.head, true),
        After::Sequence(sequence) if (ends.low..=ends.head).contains(&sequence) => (sequence, true),
        After::Sequence(_) => (ends.low, false),
        After::Id(id) => match sequence_of(db, group, id)? {
            Some(sequence) => (sequence, true),
            None => (ends.low, false),
        },
    };
    let sql = "SELECT sequence, event FROM events
               WHERE grp = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3";
    let limit = signed(limits::EVENT_PAGE as u64);
    page(db, sql, params![group.as_str(), signed(from), limit], from, recovered)
}

fn page(
    db: &Connection,
    sql: &str,
    values: &[&dyn rusqlite::ToSql],
    from: u64,
    recovered: bool,
) -> Result<Page, StoreError> {
    let mut page = Page { events: Vec::new(), cursor: from, recovered };
    let mut bytes = 0;
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    while let Some(row) = rows.next()? {
        let sequence = unsigned(row, 0)?;
        let text = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        bytes += text.len();
        if bytes > limits::EVENT_PAGE_BYTES && !page.events.is_empty() {
            break;
        }
        let event =
            serde_json::from_str(text).map_err(|error| unreadable(format!("event {sequence}"), &error))?;
        page.events.push(Logged { sequence, event });
        page.cursor = sequence;
    }
    Ok(page)
}

fn trim(db: &Connection, group: &GroupId, oldest: u64, count: u64) -> Result<u64, StoreError> {
    let ends = ends_of(db, group)?;
    let kept = ends.head.saturating_sub(count);
    let mut low = ends.low;
    {
        let mut look = db.prepare_cached(
            "SELECT sequence, at FROM events WHERE grp = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
        )?;
        let limit = signed(limits::EVENT_TRIM as u64);
        let mut rows = look.query(params![group.as_str(), signed(ends.low), limit])?;
        while let Some(row) = rows.next()? {
            let (sequence, at) = (unsigned(row, 0)?, unsigned(row, 1)?);
            if sequence > kept && at >= oldest {
                break;
            }
            low = sequence;
        }
    }
    if low > ends.low {
        let values = params![group.as_str(), signed(low)];
        db.prepare_cached("DELETE FROM events WHERE grp = ?1 AND sequence <= ?2")?.execute(values)?;
        db.prepare_cached("UPDATE event_ends SET low = ?2 WHERE grp = ?1")?.execute(values)?;
    }
    Ok(low - ends.low)
}
