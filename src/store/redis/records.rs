//! Session records in Redis: lists, statistics, and letting go.
//!
//! A list walks the narrowest index that the query names, page by page, and picks by the facts beside each
//! record what else must hold; whole records are read of those alone that are told.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::super::events::Retention;
use super::super::records::{DayStatistics, LetGo, RecordCursor, RecordPage, RecordQuery, SessionRecords};
use super::super::sync::{EndedRecords, LaneKey};
use super::super::{StoreError, SyncStore};
use super::fold::{Facts, Named, Place, indices, time_bytes};
use super::keys::Keys;
use super::rows::read;
use super::store::RedisStore;
use crate::clock::Wall;
use crate::ids::{AgentId, GroupId, SessionId};
use crate::limits;
use crate::model::session_record::{Outcome, SessionRecord, Status};
use crate::model::sink::Lane;

/// Where an index is walked, newest first: `[` or `(` and bytes, as Redis names such ends.
struct Span {
    from: Vec<u8>,
    until: Vec<u8>,
}

impl Span {
    fn new(from: Option<Wall>, until: Option<Wall>, after: Option<Place>) -> Self {
        let end = |sign: u8, bytes: &[u8]| [&[sign], bytes].concat();
        let until = until.map(|until| time_bytes(until).to_vec());
        let after = after.map(|after| after.0.to_vec());
        // The earlier one of both.
        let until = [until, after].into_iter().flatten().min();
        Self {
            from: from.map_or(b"-".to_vec(), |from| end(b'[', &time_bytes(from))),
            until: until.map_or(b"+".to_vec(), |until| end(b'(', &until)),
        }
    }

    /// What is left behind a place.
    fn go_on(&mut self, place: &Place) {
        self.until = [b"(", &place.0[..]].concat();
    }
}

impl RecordQuery {
    fn fits(&self, facts: &Facts) -> bool {
        self.agent.as_ref().is_none_or(|agent| facts.agents.contains(agent))
            && self.visitor.as_ref().is_none_or(|visitor| facts.visitor.as_ref() == Some(visitor))
            && self.record.as_ref().is_none_or(|record| facts.record.as_ref() == Some(record))
            && self.kind.is_none_or(|kind| facts.kind == kind)
            && self.outcome.is_none_or(|outcome| facts.outcome == outcome)
            && self.status.is_none_or(|status| facts.status == status)
    }

    /// The narrowest index that holds all that may fit.
    fn index(&self, keys: &Keys<'_>) -> String {
        if let Some((object, id)) = &self.record {
            keys.records_at(object, id)
        } else if let Some(visitor) = &self.visitor {
            keys.records_of(visitor)
        } else if self.status.is_some_and(|status| status != Status::Ended) {
            keys.open()
        } else if let Some(agent) = &self.agent {
            keys.records_with(agent)
        } else {
            keys.created()
        }
    }
}

#[async_trait]
impl SessionRecords for RedisStore {
    async fn session_records(&self, group: &GroupId, query: RecordQuery) -> Result<RecordPage, StoreError> {
        let limit = query.limit.unwrap_or(limits::RECORD_PAGE).clamp(1, limits::RECORD_PAGE);
        let index = query.index(&Keys(group));
        let after = query.after.map(|after| Place::new(after.created, after.session));
        let mut span = Span::new(query.from, query.until, after);
        let (mut found, mut looked, mut last) = (Vec::new(), 0, None);
        // One more than asked for shows whether there is another page.
        while found.len() <= limit {
            if looked >= limits::RECORDS_LOOKED {
                // A query that finds next to nothing goes on with the next call.
                found.truncate(limit);
                break;
            }
            let page = self.walk(group, &index, &mut span).await?;
            if page.is_empty() {
                last = None;
                break;
            }
            looked += page.len();
            last = page.last().map(|(place, _)| *place);
            let fitting = page.iter().filter(|(_, facts)| facts.as_ref().is_some_and(|f| query.fits(f)));
            found.extend(fitting.map(|(place, _)| *place));
        }
        if found.len() > limit {
            found.truncate(limit);
            last = found.last().copied();
        }
        let mut records = self.records_of(group, &found).await?;
        // What was let go of or went on meanwhile is as if it had been so before.
        records.retain(|record| query.fits(&Facts::from(record)));
        let next = last.map(|last| RecordCursor { created: last.created(), session: last.session() });
        Ok(RecordPage { records, next })
    }

    async fn session_record(
        &self,
        group: &GroupId,
        session: SessionId,
    ) -> Result<Option<SessionRecord>, StoreError> {
        let text = self.record_texts(group, &[session]).await?.into_iter().flatten().next();
        text.map(|text| read("session record", &text)).transpose()
    }

    async fn open_session_records(&self) -> Result<Vec<SessionRecord>, StoreError> {
        let mut open = Vec::new();
        for group in self.group_ids().await? {
            let mut look = redis::cmd("ZRANGEBYLEX");
            look.arg(Keys(&group).open()).arg("-").arg("+").arg("LIMIT").arg(0).arg(limits::RECORD_PAGE);
            let places: Vec<Vec<u8>> = self.ask(&look).await?;
            open.extend(places.iter().filter_map(|bytes| Some((place(bytes)?, group.clone()))));
        }
        open.sort_unstable();
        open.truncate(limits::RECORD_PAGE);
        let mut records = Vec::with_capacity(open.len());
        for (place, group) in open {
            records.extend(self.session_record(&group, place.session()).await?);
        }
        Ok(records)
    }

    async fn statistics(
        &self,
        group: &GroupId,
        from: Wall,
        until: Wall,
    ) -> Result<Vec<DayStatistics>, StoreError> {
        let index = Keys(group).created();
        let mut span = Span::new(Some(from), Some(until), None);
        let mut days: BTreeMap<(String, AgentId), DayStatistics> = BTreeMap::new();
        loop {
            let page = self.walk(group, &index, &mut span).await?;
            if page.is_empty() {
                return Ok(days.into_values().collect());
            }
            for (place, facts) in page {
                let Some(facts) = facts else { continue };
                let day = &place.created().to_string()[..10];
                for agent in &facts.agents {
                    let row = days.entry((day.to_owned(), agent.clone()));
                    add(row.or_insert_with(|| nothing(day, agent)), &facts);
                }
            }
        }
    }

    async fn trim_records(&self, group: &GroupId, keep: Retention, now: Wall) -> Result<LetGo, StoreError> {
        let mut gone = LetGo::default();
        let oldest = self.ended(group, 0, limits::RECORD_TRIM).await?;
        let mut look = redis::cmd("ZREVRANGE");
        look.arg(Keys(group).ended()).arg(0).arg(0).arg("WITHSCORES");
        let newest: Vec<(Vec<u8>, u64)> = self.ask(&look).await?;
        let Some((_, head)) = newest.first() else { return Ok(gone) };
        let handed = self.handed(group).await?;
        let over = |number: u64, ended: Wall, times: u32| {
            let count = keep.count.saturating_mul(u64::from(times));
            number <= head.saturating_sub(count) || ended < now.before(keep.age.saturating_mul(times))
        };
        let keys = Keys(group);
        let mut call = self.folding.let_go.prepare_invoke();
        let fixed = [keys.records(), keys.facts(), keys.created(), keys.ended()];
        let mut named = Named::behind(fixed.len());
        call.key(&fixed[..]);
        let sessions: Vec<SessionId> = oldest.iter().map(|(place, _)| place.session()).collect();
        let mut unsent = Vec::new();
        for ((place, number), text) in oldest.iter().zip(self.record_texts(group, &sessions).await?) {
            // A record that can't be read is let go of by when it was begun.
            let record = text.as_deref().and_then(|text| read::<SessionRecord>("", text).ok());
            if text.is_some() {
                let ended =
                    record.as_ref().and_then(|record| record.ended).unwrap_or_else(|| place.created());
                let times = if *number > handed { 2 } else { 1 };
                if !over(*number, ended, times) {
                    break;
                }
            }
            unsent.push(*number > handed);
            let indices = record.map(|record| indices(&keys, &record)).unwrap_or_default();
            call.arg(&place.session().bytes()[..])
                .arg(text.unwrap_or_default())
                .arg(&place.0[..])
                .arg(indices.len());
            for index in indices {
                call.arg(named.place_of(index));
            }
        }
        if unsent.is_empty() {
            return Ok(gone);
        }
        for key in named.keys {
            call.key(key);
        }
        let went: Vec<bool> = self.run(&call).await?;
        for (_, unsent) in went.into_iter().zip(unsent).filter(|(went, _)| *went) {
            gone.records += 1;
            gone.unsent += u64::from(unsent);
        }
        Ok(gone)
    }
}

#[async_trait]
impl EndedRecords for RedisStore {
    async fn ended_records(
        &self,
        group: &GroupId,
        after: u64,
        most: usize,
    ) -> Result<Vec<(u64, SessionRecord)>, StoreError> {
        let (mut found, mut after) = (Vec::new(), after);
        // Places whose record is gone are passed over.
        while found.len() < most {
            let places = self.ended(group, after, most - found.len()).await?;
            let Some((_, last)) = places.last() else { break };
            after = *last;
            let sessions: Vec<SessionId> = places.iter().map(|(place, _)| place.session()).collect();
            for ((_, number), text) in places.iter().zip(self.record_texts(group, &sessions).await?) {
                if let Some(text) = text {
                    found.push((*number, read("session record", &text)?));
                }
            }
        }
        Ok(found)
    }
}

impl RedisStore {
    /// Places of ended sessions behind a number.
    async fn ended(&self, group: &GroupId, after: u64, most: usize) -> Result<Vec<(Place, u64)>, StoreError> {
        let mut look = redis::cmd("ZRANGEBYSCORE");
        look.arg(Keys(group).ended()).arg(format!("({after}")).arg("+inf").arg("WITHSCORES");
        let rows: Vec<(Vec<u8>, u64)> = self.ask(look.arg("LIMIT").arg(0).arg(most)).await?;
        Ok(rows.iter().filter_map(|(bytes, number)| Some((place(bytes)?, *number))).collect())
    }

    /// Up to which number every sink that takes records and is switched on has been handed them.
    async fn handed(&self, group: &GroupId) -> Result<u64, StoreError> {
        let mut handed = u64::MAX;
        let Some(store) = self.sinks.get() else { return Ok(handed) };
        for row in SyncStore::sinks(&**store, Some(group)).await? {
            if row.sink.enabled && row.sink.takes.records {
                let key = LaneKey { group: group.clone(), sink: row.sink.id, lane: Lane::Records };
                handed = handed.min(store.progress(&key).await?.map_or(0, |progress| progress.after));
            }
        }
        Ok(handed)
    }

    /// The next places of an index, newest first, with what stands beside their records; none at the end.
    async fn walk(
        &self,
        group: &GroupId,
        index: &str,
        span: &mut Span,
    ) -> Result<Vec<(Place, Option<Facts>)>, StoreError> {
        let mut look = redis::cmd("ZREVRANGEBYLEX");
        look.arg(index).arg(&span.until[..]).arg(&span.from[..]);
        look.arg("LIMIT").arg(0).arg(limits::RECORDS_WALKED);
        let members: Vec<Vec<u8>> = self.ask(&look).await?;
        let places: Vec<Place> = members.iter().filter_map(|bytes| place(bytes)).collect();
        let Some(last) = places.last() else { return Ok(Vec::new()) };
        span.go_on(last);
        let mut look = redis::cmd("HMGET");
        look.arg(Keys(group).facts());
        for place in &places {
            look.arg(&place.session().bytes()[..]);
        }
        let texts: Vec<Option<String>> = self.ask(&look).await?;
        let facts = |text: Option<String>| text.map(|text| read("session record", &text)).transpose();
        places.into_iter().zip(texts).map(|(place, text)| Ok((place, facts(text)?))).collect()
    }

    /// The records at some places.
    async fn records_of(&self, group: &GroupId, places: &[Place]) -> Result<Vec<SessionRecord>, StoreError> {
        let sessions: Vec<SessionId> = places.iter().map(Place::session).collect();
        let texts = self.record_texts(group, &sessions).await?;
        texts.iter().flatten().map(|text| read("session record", text)).collect()
    }

    /// Records of some sessions as they are stored.
    pub(super) async fn record_texts(
        &self,
        group: &GroupId,
        sessions: &[SessionId],
    ) -> Result<Vec<Option<String>>, StoreError> {
        if sessions.is_empty() {
            return Ok(Vec::new());
        }
        let mut look = redis::cmd("HMGET");
        look.arg(Keys(group).records());
        for session in sessions {
            look.arg(&session.bytes()[..]);
        }
        self.ask(&look).await
    }
}

/// The place that a member of an index is; none when somebody else wrote it.
fn place(bytes: &[u8]) -> Option<Place> {
    bytes.try_into().ok().map(Place)
}

fn nothing(day: &str, agent: &AgentId) -> DayStatistics {
    DayStatistics {
        day: day.to_owned(),
        agent: agent.clone(),
        asked: 0,
        accepted: 0,
        declined: 0,
        started: 0,
        duration_ms: 0,
        frames: 0,
        bytes: 0,
    }
}

fn add(row: &mut DayStatistics, facts: &Facts) {
    row.asked += 1;
    row.accepted += u64::from(matches!(facts.outcome, Outcome::Accepted | Outcome::NotRequired));
    row.declined += u64::from(facts.outcome == Outcome::Declined);
    row.started += u64::from(facts.started);
    row.duration_ms += facts.duration_ms;
    row.frames += facts.frames;
    row.bytes += facts.bytes;
}
