//! A visitor as it is kept in Redis and told on channels: who speaks for it, its version, its snapshot.
//!
//! The head is text, because scripts compare it; the snapshot is protobuf, because nodes of neighbouring versions
//! must read it. An entry without a snapshot is a claim of somebody who has not told anything yet.

use prost::Message as _;

use super::table::Term;
use crate::clock::Wall;
use crate::cluster::{NodeFacts, NodeId};
use crate::ids::{GroupId, SessionId, VisitorId, VisitorKey};
use crate::model::codes::Code;
use crate::model::visitor::{Snapshot, State, VisitorView};
use crate::pb::cluster as pb;

/// The names of a group's keys, which have one hash tag.
pub(super) struct Keys<'a>(pub(super) &'a GroupId);

impl Keys<'_> {
    /// The visitors of the group.
    pub(super) fn visitors(&self) -> String {
        format!("pl:{{{}}}:v", self.0)
    }

    /// The greatest version told in the group.
    pub(super) fn floor(&self) -> String {
        format!("pl:{{{}}}:v:floor", self.0)
    }

    /// The channel of changes, which is one of the shard that the keys are on.
    pub(super) fn presence(&self) -> String {
        format!("pl:{{{}}}:presence", self.0)
    }
}

/// The name of a node in keys.
pub(super) fn node_name(node: NodeId) -> String {
    format!("{:032x}", node.0)
}

/// Reads what [`node_name`] wrote.
pub(super) fn node_named(name: &str) -> Option<NodeId> {
    u128::from_str_radix(name, 16).ok().map(NodeId)
}

/// The channel of a node.
pub(super) fn node_channel(node: NodeId) -> String {
    format!("pl:node:{}", node_name(node))
}

/// An entry, read.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// Who speaks for the visitor.
    pub(super) home: Term,
    /// The greatest version told of it.
    pub(super) version: u64,
    snapshot: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads an entry; `None` for what no node wrote.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut parts = bytes.splitn(4, |byte| *byte == b':');
        let mut text = || std::str::from_utf8(parts.next()?).ok();
        let (node, epoch, version) = (text()?, text()?, text()?);
        let home = Term { node: node_named(node)?, epoch: epoch.parse().ok()? };
        Some(Self { home, version: version.parse().ok()?, snapshot: parts.next()? })
    }

    /// The visitor; `None` where nothing was told yet, or nothing that can be read.
    pub(super) fn visitor(&self) -> Option<Snapshot> {
        if self.snapshot.is_empty() {
            return None;
        }
        let told = pb::Visitor::decode(self.snapshot).ok()?;
        let state = match told.state() {
            pb::visitor::State::Present => State::Present,
            pb::visitor::State::Hidden => State::Hidden,
            pb::visitor::State::Absent => State::Absent,
            // A newer node knows more; what it is here nobody can say.
            pb::visitor::State::Unspecified => State::Unknown,
        };
        let key = VisitorKey {
            group: GroupId::new(&told.group).ok()?,
            visitor: VisitorId::new(&told.visitor_id).ok()?,
        };
        let is_object = |text: &str| text.is_empty() || serde_json::from_str::<Object>(text).is_ok();
        if ![&told.page, &told.client, &told.data].into_iter().all(|text| is_object(text)) {
            return None;
        }
        let view = VisitorView {
            key: &key,
            state,
            since: Wall(told.since),
            version: self.version.max(told.version),
            connections: told.connections,
            page: &told.page,
            client: &told.client,
            data: &told.data,
            verified: told.verified,
            session: SessionId::parse(&told.session_id).ok(),
            code: Code::parse(&told.code),
        };
        Some(view.snapshot())
    }
}

/// What is spliced into JSON unread must be an object.
type Object = std::collections::BTreeMap<String, serde::de::IgnoredAny>;

/// An entry as it is kept and told.
pub(super) fn written(home: Term, snapshot: &Snapshot) -> Vec<u8> {
    let view = snapshot.view();
    let state = match view.state {
        State::Present => pb::visitor::State::Present,
        State::Hidden => pb::visitor::State::Hidden,
        State::Absent => pb::visitor::State::Absent,
        State::Unknown => pb::visitor::State::Unspecified,
    };
    let told = pb::Visitor {
        group: view.key.group.to_string(),
        visitor_id: view.key.visitor.to_string(),
        state: state.into(),
        since: view.since.0,
        version: view.version,
        connections: view.connections,
        page: view.page.to_owned(),
        client: view.client.to_owned(),
        data: view.data.to_owned(),
        verified: view.verified,
        session_id: view.session.map(|session| session.to_string()).unwrap_or_default(),
        code: view.code.map(|code| code.to_string()).unwrap_or_default(),
    };
    let mut bytes = format!("{}:{}:", home, view.version).into_bytes();
    told.encode(&mut bytes).expect("a vector takes what is written");
    bytes
}

/// A node's facts as they are kept.
pub(super) fn facts_written(facts: &NodeFacts) -> Vec<u8> {
    let [visitor_connections, agent_connections, session_connections] = facts.connections;
    let told = pb::Facts {
        version: facts.version.to_string(),
        started: facts.started.0,
        draining: facts.draining,
        visitor_connections,
        agent_connections,
        session_connections,
        visitors: facts.visitors,
        sessions: facts.sessions,
    };
    told.encode_to_vec()
}

/// Reads what [`facts_written`] wrote; what cannot be read is left out.
pub(super) fn facts_read(node: NodeId, bytes: &[u8]) -> NodeFacts {
    let told = pb::Facts::decode(bytes).unwrap_or_default();
    NodeFacts {
        node,
        version: told.version.into(),
        started: Wall(told.started),
        draining: told.draining,
        connections: [told.visitor_connections, told.agent_connections, told.session_connections],
        visitors: told.visitors,
        sessions: told.sessions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Term {
        Term { node: NodeId(0xab), epoch: 7 }
    }

    fn key() -> VisitorKey {
        VisitorKey { group: GroupId::new("g").unwrap(), visitor: VisitorId::new("C-1").unwrap() }
    }

    #[test]
    fn what_is_written_is_read() {
        let key = key();
        let full = VisitorView {
            key: &key,
            state: State::Hidden,
            since: Wall(5),
            version: 9,
            connections: 2,
            page: r#"{"url":"/a"}"#,
            client: r#"{"language":"de"}"#,
            data: r#"{"plan":"gold"}"#,
            verified: true,
            session: Some(SessionId::from_u128(1)),
            code: Code::parse("004217"),
        };
        for view in [full, VisitorView::absent(&key, Wall(8), 10)] {
            let snapshot = view.snapshot();
            let bytes = written(home(), &snapshot);
            let entry = Entry::read(&bytes).unwrap();
            assert_eq!((entry.home, entry.version), (home(), view.version));
            assert_eq!(entry.visitor(), Some(snapshot));
        }
    }

    #[test]
    fn a_claim_and_what_nobody_wrote_are_no_visitors() {
        let claim = format!("{}:5:", home());
        let entry = Entry::read(claim.as_bytes()).unwrap();
        assert_eq!((entry.version, entry.visitor()), (5, None));
        for junk in ["", "x", "1:2", "1:2:3", "zz:1:2:", "1:x:2:", "1:2:x:"] {
            assert!(Entry::read(junk.as_bytes()).is_none(), "{junk}");
        }
        let mut junk = claim.into_bytes();
        junk.extend([0xff, 0xff, 0xff]);
        assert_eq!(Entry::read(&junk).unwrap().visitor(), None);
    }

    #[test]
    fn what_would_break_the_json_is_not_taken() {
        let told = pb::Visitor {
            group: "g".into(),
            visitor_id: "C-1".into(),
            data: r#"{}},"x":{"#.into(),
            ..pb::Visitor::default()
        };
        let mut bytes = format!("{}:5:", home()).into_bytes();
        told.encode(&mut bytes).unwrap();
        assert_eq!(Entry::read(&bytes).unwrap().visitor(), None);
    }

    #[test]
    fn unknown_fields_and_states_of_newer_nodes_are_lived_with() {
        let told =
            pb::Visitor { group: "g".into(), visitor_id: "C-1".into(), state: 99, ..pb::Visitor::default() };
        let mut bytes = format!("{}:5:", home()).into_bytes();
        told.encode(&mut bytes).unwrap();
        // Field 100, a number.
        bytes.extend([0xa0, 0x06, 0x01]);
        assert_eq!(Entry::read(&bytes).unwrap().visitor().unwrap().state(), State::Unknown);
    }
}
