//! The names of the keys.

use crate::ids::{AgentId, GroupId, SessionId, VisitorId};
use crate::model::feed::Place;
use crate::redis::escaped;

/// The names of a group's keys. All of a group have one hash tag, so that one script may use them.
pub(super) struct Keys<'a>(pub(super) &'a GroupId);

impl Keys<'_> {
    fn named(&self, name: &str) -> String {
        format!("pl:{{{}}}:{name}", self.0)
    }

    /// The stream of events; public.
    pub(super) fn stream(&self) -> String {
        self.named("events")
    }

    /// The channel of events as they happen; public.
    pub(super) fn live(&self) -> String {
        self.named("live")
    }

    /// The feed of a record; public. What is not plain in the record's names is escaped as in a URL, so that no
    /// two records share a key.
    pub(super) fn feed(&self, place: &Place) -> String {
        self.named(&format!("feed:{}:{}", escaped(&place.object), escaped(&place.id)))
    }

    /// The sequence of each event id.
    pub(super) fn ids(&self) -> String {
        self.named("ids")
    }

    /// The sequences of a session's events.
    pub(super) fn timeline(&self, session: SessionId) -> String {
        self.named(&format!("timeline:{session}"))
    }

    /// The sequence and the feed of each post's id.
    pub(super) fn posts(&self) -> String {
        self.named("posts")
    }

    /// The sequence of the post of each agent on each session.
    pub(super) fn posted(&self) -> String {
        self.named("posted")
    }

    /// The stream of leads.
    pub(super) fn leads(&self) -> String {
        self.named("leads")
    }

    /// The sequence of the lead of each email.
    pub(super) fn emails(&self) -> String {
        self.named("emails")
    }

    /// Settings, version and time of creation.
    pub(super) fn group(&self) -> String {
        self.named("group")
    }

    /// The changes of the settings by version.
    pub(super) fn changes(&self) -> String {
        self.named("changes")
    }

    /// What the scripts of agents use: the group, then descriptions, names in order, passwords, generations,
    /// and the agent of each address and partner user ID.
    pub(super) fn agents(&self) -> [String; 7] {
        let own = ["agents", "agent-names", "passwords", "generations", "addresses", "partners"];
        let [agents, names, passwords, generations, addresses, partners] = own.map(|name| self.named(name));
        [self.group(), agents, names, passwords, generations, addresses, partners]
    }

    /// What an agent follows.
    pub(super) fn follows(&self, agent: &AgentId) -> String {
        self.named(&format!("follows:{agent}"))
    }

    /// API keys, when they were revoked, and when they were last used.
    pub(super) fn api_keys(&self) -> [String; 3] {
        ["keys", "keys-revoked", "keys-used"].map(|name| self.named(name))
    }

    /// How far the log was folded.
    pub(super) fn folded(&self) -> String {
        self.named("folded")
    }

    /// The records by session.
    pub(super) fn records(&self) -> String {
        self.named("records")
    }

    /// What queries and statistics read of each record.
    pub(super) fn facts(&self) -> String {
        self.named("records:facts")
    }

    /// The places of all records.
    pub(super) fn created(&self) -> String {
        self.named("records:created")
    }

    /// The places of those whose session has not ended.
    pub(super) fn open(&self) -> String {
        self.named("records:open")
    }

    /// The places of those whose session has ended, numbered in the order in which they did.
    pub(super) fn ended(&self) -> String {
        self.named("records:ended")
    }

    /// The places of an agent's records.
    pub(super) fn records_with(&self, agent: &AgentId) -> String {
        self.named(&format!("records:agent:{agent}"))
    }

    /// The places of a visitor's records.
    pub(super) fn records_of(&self, visitor: &VisitorId) -> String {
        self.named(&format!("records:visitor:{visitor}"))
    }

    /// The places of the records of a CRM record.
    pub(super) fn records_at(&self, object: &str, id: &str) -> String {
        self.named(&format!("records:at:{}:{}", escaped(object), escaped(id)))
    }
}

/// The ids of all groups that there may be.
pub(super) const GROUPS: &str = "pl:groups";

/// Before this time no call is remembered.
pub(super) const CALLS_SINCE: &str = "pl:calls";

/// A call that is being made.
pub(super) fn claim(group: Option<&GroupId>, name: &str) -> String {
    format!("pl:{{{}}}:call:{name}", group.map_or("!", GroupId::as_str))
}

/// A door at which wrong tries are counted.
pub(super) fn door(name: &str) -> String {
    format!("pl:door:{name}")
}

/// What stands for the master secret that all nodes have.
pub(super) const MASTER: &str = "pl:master";

/// How far a move into this Redis is, and of which database.
pub(super) const MOVED: &str = "pl:moved";

/// The channel on which nodes tell each other of changes of groups and agents.
pub(super) const ACCOUNTS: &str = "pl:accounts";

/// The calls of a group's callers and their order, or those of the operators: no group has a `!` in its name.
pub(super) fn calls(group: Option<&GroupId>) -> [String; 2] {
    let owner = group.map_or("!", GroupId::as_str);
    ["calls", "calls-order"].map(|name| format!("pl:{{{owner}}}:{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_records_share_a_key() {
        let group = GroupId::new("g").unwrap();
        let key = |object: &str, id: &str| Keys(&group).feed(&Place { object: object.into(), id: id.into() });
        assert_eq!(key("Case", "500-1.A"), "pl:{g}:feed:Case:500-1.A");
        let names = ["a", "a:b", "b", "a%3Ab", "a{b}", "é", "a\0", ""];
        let keys: std::collections::HashSet<String> = names
            .iter()
            .flat_map(|object| names.iter().map(move |id| (object, id)))
            .map(|(o, i)| key(o, i))
            .collect();
        assert_eq!(keys.len(), names.len() * names.len());
        assert!(keys.iter().all(|key| key.starts_with("pl:{g}:feed:") && key.matches(":").count() == 4));
    }
}
