//! Who wants to hear of which visitor: watched ids, live lists, open records.
//!
//! Indexes only. An agent's seat puts its wishes in and takes them out; a change of a visitor finds here
//! whom to tell. What a record's buttons look like is decided by the seat's own data, under its lock.

use std::collections::BTreeSet;
use std::sync::Arc;

use dashmap::DashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::registry::Connection;
use crate::ids::{AgentKey, ConnectionId, GroupId, VisitorId, VisitorKey};
use crate::model::live::{Diff, LiveView};
use crate::model::visitor::Snapshot;
use crate::wire::agent::{OpenRecord, ToAgent};
use crate::wire::message::Text;

/// An agent's live list.
#[derive(Debug)]
pub struct LiveList {
    /// Whose.
    pub connection: Arc<Connection>,
    /// What it shows.
    pub view: Mutex<LiveView>,
}

/// A record on an agent's screen.
#[derive(Debug)]
pub struct RecordWatch {
    /// Whose screen.
    pub connection: Arc<Connection>,
    /// The agent.
    pub agent: AgentKey,
    /// The record as the page told it.
    pub open: OpenRecord,
    /// The visitor it leads to, by the settings of the moment.
    pub visitor: Mutex<Option<VisitorId>>,
}

/// All wishes of this node's agents.
#[derive(Debug, Default)]
pub struct Watchers {
    visitors: DashMap<VisitorKey, SmallVec<[Arc<Connection>; 1]>>,
    live: DashMap<GroupId, Vec<Arc<LiveList>>>,
    records: DashMap<VisitorKey, Vec<Arc<RecordWatch>>>,
    open: DashMap<GroupId, Vec<Arc<RecordWatch>>>,
}

impl Watchers {
    /// An agent wants to hear of a visitor.
    pub fn watch(&self, key: VisitorKey, connection: &Arc<Connection>) {
        let mut watching = self.visitors.entry(key).or_default();
        if !watching.iter().any(|other| other.id == connection.id) {
            watching.push(Arc::clone(connection));
        }
    }

    /// It no longer does.
    pub fn unwatch(&self, key: &VisitorKey, connection: ConnectionId) {
        self.visitors.remove_if_mut(key, |_, watching| {
            watching.retain(|other| other.id != connection);
            watching.is_empty()
        });
    }

    /// Whether anybody on this node would be told of a change of this visitor.
    pub fn has_any(&self, key: &VisitorKey) -> bool {
        self.visitors.contains_key(key)
            || self.live.contains_key(&key.group)
            || self.records.contains_key(key)
    }

    /// Whether anybody wants to hear of this very visitor.
    pub fn is_named(&self, key: &VisitorKey) -> bool {
        self.visitors.contains_key(key) || self.records.contains_key(key)
    }

    /// The visitors of a group that somebody wants to hear of by name.
    pub fn named(&self, group: &GroupId) -> Vec<VisitorId> {
        let visitors = self.visitors.iter().map(|entry| entry.key().clone());
        let records = self.records.iter().map(|entry| entry.key().clone());
        visitors.chain(records).filter(|key| key.group == *group).map(|key| key.visitor).collect()
    }

    /// Whether a live list of a group is open.
    pub fn has_live(&self, group: &GroupId) -> bool {
        self.live.contains_key(group)
    }

    /// The groups of which somebody wants to hear anything.
    pub fn groups(&self) -> BTreeSet<GroupId> {
        let visitors = self.visitors.iter().map(|entry| entry.key().group.clone());
        let records = self.records.iter().map(|entry| entry.key().group.clone());
        let live = self.live.iter().map(|entry| entry.key().clone());
        visitors.chain(records).chain(live).collect()
    }

    /// Who watches a visitor.
    pub fn watching(&self, key: &VisitorKey) -> SmallVec<[Arc<Connection>; 1]> {
        self.visitors.get(key).map(|watching| watching.clone()).unwrap_or_default()
    }

    /// Opens a live list in place of an earlier one of the same connection.
    pub fn watch_live(&self, group: &GroupId, list: Arc<LiveList>) {
        let mut lists = self.live.entry(group.clone()).or_default();
        lists.retain(|other| other.connection.id != list.connection.id);
        lists.push(list);
    }

    /// Closes it.
    pub fn unwatch_live(&self, group: &GroupId, connection: ConnectionId) {
        self.live.remove_if_mut(group, |_, lists| {
            lists.retain(|other| other.connection.id != connection);
            lists.is_empty()
        });
    }

    /// The live lists of a group.
    pub fn live(&self, group: &GroupId) -> Vec<Arc<LiveList>> {
        self.live.get(group).map(|lists| lists.clone()).unwrap_or_default()
    }

    /// Finds a connection's live list.
    pub fn live_of(&self, connection: ConnectionId) -> Option<Arc<LiveList>> {
        self.live.iter().find_map(|lists| lists.iter().find(|list| list.connection.id == connection).cloned())
    }

    /// A record is on the screen.
    pub fn open_record(&self, record: &Arc<RecordWatch>) {
        self.open.entry(record.agent.group.clone()).or_default().push(Arc::clone(record));
        self.lead(record, None);
    }

    /// It is no longer.
    pub fn close_record(&self, record: &Arc<RecordWatch>) {
        self.open.remove_if_mut(&record.agent.group, |_, open| {
            open.retain(|other| !Arc::ptr_eq(other, record));
            open.is_empty()
        });
        let visitor = record.visitor.lock().take();
        self.unlead(record, visitor);
    }

    /// A record leads to another visitor than before, or to one at all: `before` is the former.
    pub fn lead(&self, record: &Arc<RecordWatch>, before: Option<VisitorId>) {
        self.unlead(record, before);
        if let Some(visitor) = record.visitor.lock().clone() {
            let key = VisitorKey { group: record.agent.group.clone(), visitor };
            self.records.entry(key).or_default().push(Arc::clone(record));
        }
    }

    /// The records that lead to a visitor.
    pub fn records(&self, key: &VisitorKey) -> Vec<Arc<RecordWatch>> {
        self.records.get(key).map(|records| records.clone()).unwrap_or_default()
    }

    /// All open records of a group.
    pub fn open_records(&self, group: &GroupId) -> Vec<Arc<RecordWatch>> {
        self.open.get(group).map(|open| open.clone()).unwrap_or_default()
    }

    /// Tells everyone who watches this visitor by its id. One encoding for all. Returns how many.
    pub fn tell_presence(&self, snapshot: &Snapshot) -> usize {
        let watching = self.watching(snapshot.key());
        if watching.is_empty() {
            return 0;
        }
        let text = Text::from_json(format!(r#"{{"type":"presence","visitor":{}}}"#, snapshot.json()));
        for connection in &watching {
            connection.outbox.push_news(&snapshot.key().visitor, text.clone());
        }
        watching.len()
    }

    fn unlead(&self, record: &Arc<RecordWatch>, visitor: Option<VisitorId>) {
        if let Some(visitor) = visitor {
            let key = VisitorKey { group: record.agent.group.clone(), visitor };
            self.records.remove_if_mut(&key, |_, records| {
                records.retain(|other| !Arc::ptr_eq(other, record));
                records.is_empty()
            });
        }
    }
}

/// Encodes the changes of a live list.
pub fn live_diff(diff: &Diff) -> Text {
    let joined = diff.joined.iter().map(|snapshot| raw(snapshot)).collect();
    let changed = diff.changed.iter().map(|snapshot| raw(snapshot)).collect();
    Text::of(&ToAgent::LiveDiff {
        joined,
        changed,
        left: diff.left.clone(),
        total: diff.total,
        reset: diff.reset,
    })
}

/// A snapshot's JSON, to be spliced into a message unread.
pub fn raw(snapshot: &Snapshot) -> &serde_json::value::RawValue {
    serde_json::from_str(snapshot.json()).expect("a snapshot holds one JSON object")
}
