//! Session records folded from the log into Redis, by every node that reads on.
//!
//! Several nodes may fold a group at once: each reads the records that a page of the log changes, and one script
//! writes what they became and the place behind the page, if nobody has moved the place meanwhile. Whoever comes
//! late reads the place anew and goes on from there.

use std::collections::HashMap;

use redis::Script;
use serde::{Deserialize, Serialize};

use super::super::StoreError;
use super::keys::Keys;
use super::rows::{json, read};
use super::store::RedisStore;
use crate::clock::Wall;
use crate::ids::{AgentId, GroupId, SessionId, VisitorId};
use crate::model::event::Logged;
use crate::model::session_record::{Outcome, SessionRecord, Status, concerns};
use crate::wire::visitor::SessionKind;

/// The scripts that change records.
pub(super) struct Scripts {
    fold: Script,
    pub(super) let_go: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            fold: Script::new(include_str!("lua/fold.lua")),
            let_go: Script::new(include_str!("lua/let_go.lua")),
        }
    }
}

/// What queries and statistics read of a record: a tenth of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Facts {
    pub(super) kind: SessionKind,
    pub(super) status: Status,
    pub(super) outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) visitor: Option<VisitorId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) record: Option<(String, String)>,
    pub(super) agents: Vec<AgentId>,
    pub(super) started: bool,
    pub(super) duration_ms: u64,
    pub(super) frames: u64,
    pub(super) bytes: u64,
}

impl From<&SessionRecord> for Facts {
    fn from(record: &SessionRecord) -> Self {
        Self {
            kind: record.kind,
            status: record.status,
            outcome: record.outcome,
            visitor: record.visitor.clone(),
            record: record.record.as_ref().map(|record| (record.object.to_string(), record.id.to_string())),
            agents: record.agents.clone(),
            started: record.started.is_some(),
            duration_ms: record.duration_ms(),
            frames: record.relayed.frames,
            bytes: record.relayed.bytes,
        }
    }
}

/// Where a record stands in every index: six bytes of the time at which it was created, then its session. In the
/// order of bytes it is the order of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub(super) [u8; 22]);

/// The bytes of a time in a place.
pub(super) fn time_bytes(at: Wall) -> [u8; 6] {
    let latest = u64::MAX >> 16;
    let [_, _, bytes @ ..] = at.0.min(latest).to_be_bytes();
    bytes
}

impl Place {
    pub(super) fn new(created: Wall, session: SessionId) -> Self {
        let mut bytes = [0; 22];
        bytes[..6].copy_from_slice(&time_bytes(created));
        bytes[6..].copy_from_slice(&session.bytes());
        Self(bytes)
    }

    pub(super) fn created(&self) -> Wall {
        self.0[..6].iter().fold(Wall(0), |at, byte| Wall(at.0 << 8 | u64::from(*byte)))
    }

    pub(super) fn session(&self) -> SessionId {
        SessionId::from_bytes(*self.0.last_chunk().expect("a session follows the time"))
    }
}

/// The indices that a record names.
pub(super) fn indices(keys: &Keys<'_>, record: &SessionRecord) -> Vec<String> {
    let mut indices: Vec<String> = record.agents.iter().map(|agent| keys.records_with(agent)).collect();
    indices.extend(record.visitor.as_ref().map(|visitor| keys.records_of(visitor)));
    indices.extend(record.record.as_ref().map(|record| keys.records_at(&record.object, &record.id)));
    indices
}

/// Keys that a script names by their place behind those that it always has.
pub(super) struct Named {
    fixed: usize,
    pub(super) keys: Vec<String>,
    places: HashMap<String, usize>,
}

impl Named {
    pub(super) fn behind(fixed: usize) -> Self {
        Self { fixed, keys: Vec::new(), places: HashMap::new() }
    }

    /// The place of a key, from 1.
    pub(super) fn place_of(&mut self, key: String) -> usize {
        let next = self.fixed + self.keys.len() + 1;
        *self.places.entry(key).or_insert_with_key(|key| {
            self.keys.push(key.clone());
            next
        })
    }
}

impl RedisStore {
    /// How far a group's log was folded.
    pub(super) async fn folded(&self, group: &GroupId) -> Result<u64, StoreError> {
        let place: Option<u64> = self.ask(redis::cmd("GET").arg(Keys(group).folded())).await?;
        Ok(place.unwrap_or_default())
    }

    /// Folds events and notes how far they came, both or neither; returns how far the log is folded then. Does
    /// nothing if that is not `from` exactly.
    pub(super) async fn fold(
        &self,
        group: &GroupId,
        from: u64,
        events: Vec<Logged>,
        until: u64,
    ) -> Result<u64, StoreError> {
        let session_of =
            |logged: &Logged| logged.event.session.filter(|_| concerns(logged.event.what.kind()));
        let mut sessions: Vec<SessionId> = events.iter().filter_map(session_of).collect();
        sessions.sort_unstable();
        sessions.dedup();
        // Before the fold, whether it was there, and what it has become.
        let mut folding: HashMap<SessionId, (bool, Option<SessionRecord>)> = HashMap::new();
        let before = self.record_texts(group, &sessions).await?;
        for (session, text) in sessions.iter().zip(before) {
            match text.as_deref().map(|text| read("session record", text)).transpose() {
                Ok(record) => drop(folding.insert(*session, (record.is_some(), record))),
                // The events are worth more than the record, which can be folded anew from the log.
                Err(error) => tracing::error!(%group, %session, %error, "a session record is broken"),
            }
        }
        for logged in events {
            if let Some((_, record)) = session_of(&logged).and_then(|session| folding.get_mut(&session)) {
                *record = SessionRecord::apply(record.take(), &logged);
            }
        }

        let keys = Keys(group);
        let mut call = self.folding.fold.prepare_invoke();
        let fixed = [keys.folded(), keys.records(), keys.facts(), keys.created(), keys.open(), keys.ended()];
        let mut named = Named::behind(fixed.len());
        call.key(&fixed[..]).arg(from).arg(until);
        for session in sessions {
            let Some((known, Some(record))) = folding.remove(&session) else { continue };
            let indices = indices(&keys, &record);
            call.arg(&session.bytes()[..])
                .arg(u8::from(known))
                .arg(json(&record))
                .arg(json(&Facts::from(&record)))
                .arg(&Place::new(record.created, session).0[..])
                .arg(u8::from(record.status == Status::Ended))
                .arg(indices.len());
            for index in indices {
                call.arg(named.place_of(index));
            }
        }
        for key in named.keys {
            call.key(key);
        }
        self.run(&call).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_the_order_of_lists() {
        let place = |at: u64, session: u128| Place::new(Wall(at), SessionId::from_u128(session));
        let ordered = [place(0, 9), place(255, 3), place(256, 1), place(256, 2), place(1 << 40, 0)];
        assert!(ordered.is_sorted());
        for (at, session) in [(0, 0), (1_790_000_000_000, u128::MAX), ((1 << 48) - 1, 7)] {
            let place = place(at, session);
            assert_eq!((place.created(), place.session()), (Wall(at), SessionId::from_u128(session)));
        }
        assert_eq!(place(u64::MAX, 1).created(), Wall((1 << 48) - 1));
    }
}
