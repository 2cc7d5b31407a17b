//! Feeds, follows and leads in SQLite. Posts and leads are written with their events, see [`super::events`].

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::StoreError;
use super::super::feed::{Feed, Follow, LeadRow, Leads, Posts, PostsQuery};
use super::{SqliteStore, all, one, signed, unreadable, unsigned};
use crate::ids::{AgentKey, EventId, GroupId};
use crate::limits;
use crate::model::event::{Actor, Event, What};
use crate::model::feed::{Item, Place};
use crate::model::lead::folded;

#[async_trait]
impl Feed for SqliteStore {
    async fn posts(
        &self,
        group: &GroupId,
        place: &Place,
        query: PostsQuery,
    ) -> Result<Option<Posts>, StoreError> {
        let (group, place) = (group.clone(), place.clone());
        self.engine.read(move |db| posts(db, &group, &place, query)).await
    }

    async fn post(&self, group: &GroupId, id: EventId) -> Result<Option<Item>, StoreError> {
        let group = group.clone();
        self.engine
            .read(move |db| {
                let sql = "SELECT event FROM feed_posts WHERE grp = ?1 AND id = ?2";
                one(db, sql, params![group.as_str(), id.bytes()], |row| item(row, 0))
            })
            .await
    }

    async fn follow(&self, agent: &AgentKey, place: &Place) -> Result<Follow, StoreError> {
        let (agent, place) = (agent.clone(), place.clone());
        self.engine
            .write(move |db| {
                let (group, agent) = (agent.group.as_str(), agent.agent.as_str());
                // One that is followed already is not another.
                let others = "SELECT count(*) FROM feed_follows
                              WHERE grp = ?1 AND agent = ?2 AND (object, object_id) <> (?3, ?4)";
                let values = params![group, agent, place.object, place.id];
                let others = db.query_row(others, values, |row| unsigned(row, 0))?;
                if others >= limits::FOLLOWS as u64 {
                    return Ok(Follow::TooMany);
                }
                db.execute(
                    "INSERT INTO feed_follows (grp, agent, object, object_id) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO NOTHING",
                    values,
                )?;
                Ok(Follow::Follows)
            })
            .await
    }

    async fn unfollow(&self, agent: &AgentKey, place: &Place) -> Result<(), StoreError> {
        let (agent, place) = (agent.clone(), place.clone());
        self.engine
            .write(move |db| {
                db.execute(
                    "DELETE FROM feed_follows
                     WHERE grp = ?1 AND agent = ?2 AND object = ?3 AND object_id = ?4",
                    params![agent.group.as_str(), agent.agent.as_str(), place.object, place.id],
                )?;
                Ok(())
            })
            .await
    }

    async fn followed(&self, agent: &AgentKey) -> Result<Vec<Place>, StoreError> {
        let agent = agent.clone();
        self.engine
            .read(move |db| {
                let sql = "SELECT object, object_id FROM feed_follows WHERE grp = ?1 AND agent = ?2";
                let values = params![agent.group.as_str(), agent.agent.as_str()];
                all(db, sql, values, |row| Ok(Place { object: row.get(0)?, id: row.get(1)? }))
            })
            .await
    }
}

#[async_trait]
impl Leads for SqliteStore {
    async fn leads(&self, group: &GroupId, after: u64, most: usize) -> Result<Vec<LeadRow>, StoreError> {
        let group = group.clone();
        self.engine
            .read(move |db| {
                let sql = "SELECT sequence, event FROM leads WHERE grp = ?1 AND sequence > ?2
                           ORDER BY sequence LIMIT ?3";
                all(db, sql, params![group.as_str(), signed(after), signed(most as u64)], |row| {
                    let event = event(row, 1)?;
                    let What::LeadCreated(lead) = event.what else { return Err(foreign("lead")) };
                    let number = unsigned(row, 0)?;
                    Ok(LeadRow { number, at: event.at, session: event.session, lead })
                })
            })
            .await
    }
}

/// The place of the post or the lead that an event would make again; none when it makes none, or a new one.
pub(super) fn known(db: &Connection, event: &Event) -> Result<Option<u64>, StoreError> {
    let group = event.group.as_str();
    let known = match &event.what {
        What::FeedPosted(_) => {
            let (session, agent) = on_session(event).unzip();
            db.prepare_cached(
                "SELECT sequence FROM feed_posts WHERE grp = ?1 AND id = ?2
                 UNION ALL SELECT sequence FROM feed_posts WHERE grp = ?1 AND session = ?3 AND agent = ?4",
            )?
            .query_row(params![group, event.id.bytes(), session, agent], |row| unsigned(row, 0))
            .optional()?
        }
        What::LeadCreated(lead) => db
            .prepare_cached("SELECT sequence FROM leads WHERE grp = ?1 AND folded = ?2")?
            .query_row(params![group, folded(&lead.email)], |row| unsigned(row, 0))
            .optional()?,
        _ => None,
    };
    Ok(known)
}

/// Writes the post or the lead that a new event makes; `text` is the event.
pub(super) fn fold(db: &Connection, sequence: u64, event: &Event, text: &str) -> Result<(), StoreError> {
    let group = event.group.as_str();
    match (&event.what, &event.record) {
        (What::FeedPosted(_), Some(record)) => {
            let (session, agent) = on_session(event).unzip();
            db.prepare_cached(
                "INSERT INTO feed_posts (grp, object, object_id, sequence, id, session, agent, event)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                group,
                record.object,
                record.id,
                signed(sequence),
                event.id.bytes(),
                session,
                agent,
                text
            ])?;
            db.prepare_cached(
                "DELETE FROM feed_posts WHERE grp = ?1 AND object = ?2 AND object_id = ?3 AND sequence <=
                     (SELECT sequence FROM feed_posts WHERE grp = ?1 AND object = ?2 AND object_id = ?3
                      ORDER BY sequence DESC LIMIT 1 OFFSET ?4)",
            )?
            .execute(params![
                group,
                record.object,
                record.id,
                signed(limits::FEED_POSTS as u64)
            ])?;
        }
        (What::LeadCreated(lead), _) => {
            db.prepare_cached("INSERT INTO leads (grp, sequence, folded, event) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![group, signed(sequence), folded(&lead.email), text])?;
        }
        _ => {}
    }
    Ok(())
}

/// The session and the agent of a post on a session: there is one for each pair.
fn on_session(event: &Event) -> Option<([u8; 16], &str)> {
    match (event.session, &event.actor) {
        (Some(session), Actor::Agent(agent)) => Some((session.bytes(), agent.as_str())),
        _ => None,
    }
}

fn posts(
    db: &Connection,
    group: &GroupId,
    place: &Place,
    query: PostsQuery,
) -> Result<Option<Posts>, StoreError> {
    // One look: a post that goes meanwhile is there or not, not both.
    let _look = if db.is_autocommit() { Some(db.unchecked_transaction()?) } else { None };
    let end = |id: Option<EventId>, open: u64| -> Result<Option<u64>, StoreError> {
        let Some(id) = id else { return Ok(Some(open)) };
        let sql = "SELECT sequence FROM feed_posts
                   WHERE grp = ?1 AND id = ?2 AND object = ?3 AND object_id = ?4";
        let values = params![group.as_str(), id.bytes(), place.object, place.id];
        Ok(db.prepare_cached(sql)?.query_row(values, |row| unsigned(row, 0)).optional()?)
    };
    let (Some(from), Some(until)) = (end(query.after, 0)?, end(query.before, u64::MAX)?) else {
        return Ok(None);
    };
    let forward = query.after.is_some() && query.before.is_none();
    let order = if forward { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT event FROM feed_posts WHERE grp = ?1 AND object = ?2 AND object_id = ?3
             AND sequence > ?4 AND sequence < ?5 ORDER BY sequence {order} LIMIT ?6"
    );
    let most = query.most.clamp(1, limits::FEED_PAGE.0);
    // One more than asked for shows whether there is another page.
    let limit = signed(most as u64 + 1);
    let values = params![group.as_str(), place.object, place.id, signed(from), signed(until), limit];
    let mut items = all(db, &sql, values, |row| item(row, 0))?;
    let more = items.len() > most;
    items.truncate(most);
    if forward {
        items.reverse();
    }
    Ok(Some(Posts { items, more }))
}

fn item(row: &Row<'_>, column: usize) -> Result<Item, StoreError> {
    Item::of(&event(row, column)?).ok_or_else(|| foreign("post"))
}

fn event(row: &Row<'_>, column: usize) -> Result<Event, StoreError> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable("event of a feed".to_owned(), &error))
}

fn foreign(what: &str) -> StoreError {
    StoreError::Unreadable { what: what.to_owned(), why: "it is another event".to_owned() }
}
