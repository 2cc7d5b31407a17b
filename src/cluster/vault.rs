//! Where sessions are saved, so that they outlive their nodes: the trait, and the form of what is saved.
//!
//! A saved session has one owner, the node on which it lives; only its owner saves it, and of many nodes that want
//! to go on with it one wins. Does not decide whether an owner is alive: who adopts names the owner that it knows
//! to be gone. What a session is made of is told by [`crate::model::session::Saved`]; secrets are in neither.

pub mod memory;
#[cfg(test)]
pub(crate) mod suite;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use memory::MemoryVault;

use super::NodeId;
use crate::auth::opaque::Digest;
use crate::ids::{AgentId, GroupId, SessionId, VisitorId, VisitorKey};
use crate::limits;
use crate::model::event::Relayed;
use crate::model::feed::Chatter;
use crate::model::lead::Guest;
use crate::model::session::{Saved, View};
use crate::model::ticket::Lock;
use crate::wire::agent::Record;
use crate::wire::visitor::{SessionKind, TermsShown};

/// The form that this version writes, and the newest that it reads.
const FORM: u32 = 1;

/// A session with all that belongs to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedSession {
    /// Where.
    pub group: GroupId,
    /// The session as its rules know it.
    pub machine: Saved,
    /// What is shared.
    pub kind: SessionKind,
    /// What the visitor is asked, where anybody is.
    pub terms: Option<TermsShown>,
    /// Whether control may be asked for.
    pub control: bool,
    /// The CRM record that the agent had open when it pressed the button.
    pub record: Option<Record>,
    /// The agent that asked first.
    pub asker: AgentId,
    /// Whether its course becomes events and a record.
    pub logged: bool,
    /// What guests read above the screen.
    pub title: Option<Arc<str>>,
    /// What it posted to the record's feed.
    pub chatter: Chatter,
    /// Links by which guests come in.
    pub invites: Vec<SavedInvite>,
    /// What was relayed so far.
    pub relayed: Relayed,
    /// Steps taken so far.
    pub steps: u64,
    /// What lists show of it.
    #[serde(skip)]
    pub view: Option<View>,
    /// What is kept of the key that guests type, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// The span that its trace goes on from, as `traceparent` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Box<str>>,
}

/// A session as lists show it, after so many steps. Kept beside what is saved, and read without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The session.
    pub view: View,
    /// Its steps so far.
    pub step: u64,
}

impl Seen {
    /// As it is kept.
    pub fn write(&self) -> String {
        serde_json::to_string(self).expect("a view is plain values")
    }

    /// Reads what was kept. Fields that are not known are passed over.
    pub fn read(text: &str) -> Result<Self, VaultError> {
        serde_json::from_str(text).map_err(VaultError::Unreadable)
    }
}

/// A link for guests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedInvite {
    /// What its secret opens.
    pub lock: Lock,
    /// Whom it is for, if that is known.
    pub guest: Guest,
}

/// The written form, of which any version reads the number.
#[derive(Serialize, Deserialize)]
struct Written<T> {
    form: u32,
    session: T,
}

/// What any version writes.
#[derive(Deserialize)]
struct Form {
    form: u32,
}

impl SavedSession {
    /// Its id.
    pub fn id(&self) -> SessionId {
        self.machine.session()
    }

    /// The visitor whose screen it is, by its full name.
    pub fn visitor_key(&self) -> Option<VisitorKey> {
        let visitor = self.machine.visitor().cloned()?;
        Some(VisitorKey { group: self.group.clone(), visitor })
    }

    /// What lists show of it.
    pub fn seen(&self) -> Option<Seen> {
        self.view.clone().map(|view| Seen { view, step: self.steps })
    }

    /// As it is kept.
    pub fn write(&self) -> Result<String, VaultError> {
        let text = serde_json::to_string(&Written { form: FORM, session: self });
        let text = text.map_err(VaultError::Unreadable)?;
        if text.len() > limits::SAVED_BYTES {
            return Err(VaultError::TooBig(text.len()));
        }
        Ok(text)
    }

    /// Reads what was kept. Fields that are not known are passed over; a newer form is not guessed at.
    pub fn read(text: &str) -> Result<Self, VaultError> {
        let Form { form } = serde_json::from_str(text).map_err(VaultError::Unreadable)?;
        if form > FORM {
            return Err(VaultError::Newer(form));
        }
        let written: Written<Self> = serde_json::from_str(text).map_err(VaultError::Unreadable)?;
        Ok(written.session)
    }
}

/// Where a saved session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its group.
    pub group: GroupId,
    /// The visitor whose screen it is, if it is one's.
    pub visitor: Option<VisitorId>,
    /// The node on which it lives; nobody once it gave the session up.
    pub owner: Option<NodeId>,
}

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is kept.
    Kept,
    /// The session is another node's, or was given up: it is not this node's to save.
    Foreign(Option<NodeId>),
    /// This node has saved it in a later term of its own.
    Stale,
    /// The session has ended.
    Over,
}

/// Whether a session has a key now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It has, and nobody else.
    Held,
    /// Another session has it.
    Taken,
    /// As many keys are held as may be.
    Full,
}

/// Why the vault did not do it.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// It cannot be reached.
    #[error("the vault of sessions cannot be reached")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The session is larger than any may be.
    #[error("a session of {0} bytes exceeds {limit}", limit = limits::SAVED_BYTES)]
    TooBig(usize),
    /// A later version of the server wrote it.
    #[error("the session was saved by a later version, in form {0}")]
    Newer(u32),
    /// It is no session.
    #[error("what is saved is no session")]
    Unreadable(#[source] serde_json::Error),
}

/// Where sessions are saved.
#[async_trait]
pub trait Vault: Send + Sync + 'static {
    /// Saves a session for its owner, the newest word on it. A session that is not known becomes the owner's.
    /// The fence is the owner's term: what it says in an earlier term than it said before is not taken.
    async fn put(&self, saved: &SavedSession, owner: NodeId, fence: u64) -> Result<Put, VaultError>;

    /// Finds a session by its id alone.
    async fn find(&self, session: SessionId) -> Result<Option<Place>, VaultError>;

    /// The node on which a session ended lately, which can say why.
    async fn ended_on(&self, session: SessionId) -> Result<Option<NodeId>, VaultError>;

    /// Makes a session that is `from`'s, or nobody's, that of `to`: of many that try, one is handed it. A session
    /// that cannot be read stays where it is.
    async fn adopt(
        &self,
        session: SessionId,
        from: Option<NodeId>,
        to: NodeId,
    ) -> Result<Option<SavedSession>, VaultError>;

    /// Its owner gives a session up for others to adopt; true if it was the owner's.
    async fn release(&self, session: SessionId, owner: NodeId) -> Result<bool, VaultError>;

    /// Its owner ended a session: it is dropped for good, but for what lists last show of it. True if it was the owner's.
    async fn end(
        &self,
        group: &GroupId,
        session: SessionId,
        owner: NodeId,
        last: Option<&Seen>,
    ) -> Result<bool, VaultError>;

    /// What lists show of a session that is saved, or ended lately.
    async fn seen(&self, group: &GroupId, session: SessionId) -> Result<Option<Seen>, VaultError>;

    /// The same of all that are saved.
    async fn all_seen(&self, group: &GroupId) -> Result<Vec<Seen>, VaultError>;

    /// The session of a visitor that was saved last.
    async fn of_visitor(&self, key: &VisitorKey) -> Result<Option<SessionId>, VaultError>;

    /// Gives a session the key that guests type, of which there is a digest, unless another one has it or `most` are
    /// held. It is kept as long as a session that is saved now.
    async fn hold_key(&self, key: &Digest, session: SessionId, most: u64) -> Result<Held, VaultError>;

    /// The session that a key leads to.
    async fn find_key(&self, key: &Digest) -> Result<Option<SessionId>, VaultError>;

    /// The session gives its key back.
    async fn free_key(&self, key: &Digest, session: SessionId) -> Result<(), VaultError>;

    /// Groups that may have saved sessions.
    async fn groups(&self) -> Result<Vec<GroupId>, VaultError>;

    /// Sessions of a group whose owner is none of these, with that owner, and never more than `most`.
    async fn orphans(
        &self,
        group: &GroupId,
        alive: &[NodeId],
        most: usize,
    ) -> Result<Vec<(SessionId, Option<NodeId>)>, VaultError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_by_its_number() {
        let saved = suite::saved("g", 1, Some("C-1"));
        let text = saved.write().unwrap();
        assert_eq!(SavedSession::read(&text).unwrap().write().unwrap(), text);
        let mut later: serde_json::Value = serde_json::from_str(&text).unwrap();
        later["session"]["mood"] = "good".into();
        assert!(SavedSession::read(&later.to_string()).is_ok(), "a field more is passed over");
        later["form"] = 2.into();
        assert!(matches!(SavedSession::read(&later.to_string()), Err(VaultError::Newer(2))));
        later["session"] = "something else".into();
        assert!(matches!(SavedSession::read(&later.to_string()), Err(VaultError::Newer(2))));
        later["form"] = 1.into();
        assert!(matches!(SavedSession::read(&later.to_string()), Err(VaultError::Unreadable(_))));
        assert!(matches!(SavedSession::read("{}"), Err(VaultError::Unreadable(_))));
    }
}
