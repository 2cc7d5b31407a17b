//! What outlives the process: groups with their settings, agents, API keys, revocations ([`Store`]); what
//! happened ([`EventLog`], [`SessionRecords`], [`Feed`], [`Leads`]); what was consented to ([`ReceiptLog`]).
//!
//! Decides what is kept and what an acknowledgement means: when a call returns `Ok`, what it wrote survives
//! the death of the process and of the machine. Does not decide who may do what; the hub does, the only
//! caller. No secret is kept in clear: passwords are hashed, API key secrets are derived anew.
//!
//! One suite of obligations for each trait: SQLite keeps everything of one node ([`sqlite`]); what nodes share
//! is on Redis ([`redis`]), and each hears what the others change there ([`News`]).

pub mod events;
pub mod feed;
pub mod migrate;
pub mod receipts;
pub mod records;
pub mod redis;
pub mod sqlite;
#[cfg(test)]
pub(crate) mod suite;
pub mod sync;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

pub use events::EventLog;
pub use feed::{Feed, Leads};
pub use receipts::ReceiptLog;
pub use records::SessionRecords;
pub use sync::SyncStore;

use crate::auth::attempts::Policy;
use crate::auth::opaque::Digest;
use crate::auth::password::PasswordHash;
use crate::clock::Wall;
use crate::ids::{AgentId, AgentKey, GroupId, KeyId};
use crate::model::settings::Settings;

/// A group as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRow {
    /// Its name.
    pub id: GroupId,
    /// Its settings.
    pub settings: Settings,
    /// Counts the changes of its settings, from 1.
    pub version: u64,
    /// When it was created; also the phase of its sync runs.
    pub created_at: Wall,
}

/// One change of a group's settings, for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsChange {
    /// The version that it made.
    pub version: u64,
    /// When.
    pub at: Wall,
    /// Who.
    pub by: String,
    /// What was before; none for the creation.
    pub before: Option<Settings>,
    /// What is since.
    pub after: Settings,
}

/// An agent as the administrator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its group and its name there.
    pub key: AgentKey,
    /// What it signs in with and what guests type; unique in the group.
    pub address: String,
    /// Its user ID in the CRM; unique in the group.
    pub partner_user_id: Option<String>,
    /// Name for people.
    pub name: String,
    /// Its profile in the CRM.
    pub profile: Option<String>,
    /// What it is subscribed to, for the list of users.
    pub subscription: Option<String>,
    /// Since when its sessions have the same key each time; none where each has a random one.
    pub fixed_key: Option<Wall>,
}

/// An agent as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRow {
    /// What the administrator wrote.
    pub agent: Agent,
    /// Its password, unless it signs in by login key alone.
    pub password: Option<PasswordHash>,
    /// Tokens of another generation are revoked. Never goes back, not even when the agent is removed and
    /// created again.
    pub generation: u64,
    /// When it was created.
    pub created_at: Wall,
}

/// Which agents of a group to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentsPage {
    /// Only those behind this one.
    pub after: Option<AgentId>,
    /// Only those with a password.
    pub with_password: bool,
    /// At most so many.
    pub most: usize,
}

/// An API key as stored; its secret is derived, not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// Whose it is.
    pub group: GroupId,
    /// Its name.
    pub id: KeyId,
    /// What it is for, in the words of who made it.
    pub label: String,
    /// When it was created.
    pub created_at: Wall,
    /// When it was revoked, for good.
    pub revoked_at: Option<Wall>,
    /// When it was last used, to a minute or so.
    pub last_used_at: Option<Wall>,
}

/// Names a call that changed something: request IDs are each caller's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallKey {
    /// The caller's group; none for the operator of the server.
    pub group: Option<GroupId>,
    /// Who called, as the audit says it.
    pub caller: String,
    /// What the caller chose.
    pub request_id: String,
}

/// A call that was made and is not made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRow {
    /// Which.
    pub key: CallKey,
    /// What was asked, as a keyed digest: requests may hold passwords.
    pub digest: [u8; 32],
    /// What was answered, without secrets.
    pub answer: Vec<u8>,
    /// When.
    pub at: Wall,
}

/// Why the store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The settings were changed by somebody else in the meantime.
    #[error("group {group} is at version {actual:?}, not {expected:?}")]
    Conflict {
        /// The group.
        group: GroupId,
        /// What the caller had read; none to create.
        expected: Option<u64>,
        /// What is stored; none when the group does not exist.
        actual: Option<u64>,
    },
    /// A value that must be unique in its group belongs to another row.
    #[error("{what} is taken")]
    Taken {
        /// Which value: `address`, `partner user id`, `key id`.
        what: &'static str,
    },
    /// There are as many as there may be.
    #[error("{most} {what} are there already")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many may be.
        most: usize,
    },
    /// The group does not exist.
    #[error("no group {0}")]
    NoGroup(GroupId),
    /// The store was closed.
    #[error("store is closed")]
    Closed,
    /// A row cannot be read: written by hand or by a newer version.
    #[error("stored {what} cannot be read: {why}")]
    Unreadable {
        /// Which row.
        what: String,
        /// What the reader said.
        why: String,
    },
    /// The store itself failed.
    #[error("store failed")]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

/// A neighbour's failure made the store undo this write as well; a source of [`StoreError::Failed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write was undone with others of its batch")]
pub struct Undone;

impl From<Undone> for StoreError {
    fn from(undone: Undone) -> Self {
        Self::Failed(Arc::new(undone))
    }
}

impl StoreError {
    /// Whether the same write may go through later: a full disk, a lock, a broken cable. Others fail again
    /// however often they are tried.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Failed(source) => {
                if let Some(error) = source.downcast_ref::<rusqlite::Error>() {
                    return !matches!(
                        error.sqlite_error_code(),
                        None | Some(
                            rusqlite::ErrorCode::ConstraintViolation
                                | rusqlite::ErrorCode::TypeMismatch
                                | rusqlite::ErrorCode::TooBig
                                | rusqlite::ErrorCode::ParameterOutOfRange
                        )
                    );
                }
                source.downcast_ref::<::redis::RedisError>().is_none_or(crate::redis::is_passing)
            }
            Self::Conflict { .. }
            | Self::Taken { .. }
            | Self::Full { .. }
            | Self::NoGroup(_)
            | Self::Closed
            | Self::Unreadable { .. } => false,
        }
    }
}

/// What a node changed, this one or another. Whoever hears it reads it anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreNews {
    /// Settings or API keys of a group.
    Group(GroupId),
    /// All agents of a group.
    Agents(GroupId),
    /// An agent.
    Agent(AgentKey),
    /// Perhaps anything: not all was heard.
    All,
}

/// What nodes change, as it happens: nothing is changed that is not told, if only by [`StoreNews::All`]. A node
/// may hear its own changes too.
#[derive(Debug)]
pub struct News(Option<broadcast::Receiver<StoreNews>>);

impl News {
    /// Of a store that no other node has.
    pub const fn never() -> Self {
        Self(None)
    }

    /// What is sent there.
    pub const fn of(heard: broadcast::Receiver<StoreNews>) -> Self {
        Self(Some(heard))
    }

    /// Waits for the next; none when there will be none.
    pub async fn next(&mut self) -> Option<StoreNews> {
        match self.0.as_mut()?.recv().await {
            Ok(news) => Some(news),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(StoreNews::All),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// What became of a door at which wrong tries are counted for all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorNews {
    /// It is locked for so long.
    Locked(Digest, Duration),
    /// A right answer opened it.
    Opened(Digest),
}

/// Who makes a call now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// Whoever asked, for as long as it says so.
    Here,
    /// Somebody else, or the same before.
    There,
    /// Somebody else makes another call of that name.
    Other,
}

/// What every store does. Group ids start every key; there is no look-up without one.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// All groups.
    async fn groups(&self) -> Result<Vec<GroupRow>, StoreError>;

    /// One group.
    async fn group(&self, id: &GroupId) -> Result<Option<GroupRow>, StoreError>;

    /// Creates a group (`expected` none) or replaces its settings if they are still at that version.
    /// Returns the new version and notes the change in the history, both or neither. The history keeps the newest
    /// [`crate::limits::SETTINGS_HISTORY`].
    async fn put_group(
        &self,
        id: &GroupId,
        settings: &Settings,
        expected: Option<u64>,
        by: &str,
        at: Wall,
    ) -> Result<u64, StoreError>;

    /// Changes of a group's settings before a version, newest first, without a gap: at most
    /// [`crate::limits::SETTINGS_CHANGES`], or `most` if that is less, and no further one behind
    /// [`crate::limits::SETTINGS_CHANGES_BYTES`].
    async fn settings_changes(
        &self,
        id: &GroupId,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<SettingsChange>, StoreError>;

    /// All agents of a group, by id.
    async fn agents(&self, group: &GroupId) -> Result<Vec<AgentRow>, StoreError>;

    /// Some agents of a group, by id.
    async fn agents_page(&self, group: &GroupId, page: AgentsPage) -> Result<Vec<AgentRow>, StoreError>;

    /// One agent.
    async fn agent(&self, key: &AgentKey) -> Result<Option<AgentRow>, StoreError>;

    /// The agent with this address, in exactly this spelling.
    async fn agent_by_address(&self, group: &GroupId, address: &str) -> Result<Option<AgentRow>, StoreError>;

    /// The agent with this user ID in the CRM.
    async fn agent_by_partner(
        &self,
        group: &GroupId,
        partner_user_id: &str,
    ) -> Result<Option<AgentRow>, StoreError>;

    /// Creates an agent or changes its description. Password and generation stay.
    async fn upsert_agent(&self, agent: &Agent, at: Wall) -> Result<AgentRow, StoreError>;

    /// Sets or deletes an agent's password and revokes its tokens; none when there is no such agent.
    async fn set_password(
        &self,
        key: &AgentKey,
        password: Option<PasswordHash>,
    ) -> Result<Option<AgentRow>, StoreError>;

    /// Removes an agent and revokes its tokens; says whether there was one.
    async fn remove_agent(&self, key: &AgentKey) -> Result<bool, StoreError>;

    /// Revokes the tokens of one agent, or of all agents of the group.
    async fn revoke_tokens(&self, group: &GroupId, agent: Option<&AgentId>) -> Result<(), StoreError>;

    /// All API keys of a group, revoked ones too, oldest first.
    async fn api_keys(&self, group: &GroupId) -> Result<Vec<ApiKeyRow>, StoreError>;

    /// Adds an API key, unless [`crate::limits::API_KEYS`] of the group are good already. A revoked key's id stays
    /// taken.
    async fn insert_api_key(
        &self,
        group: &GroupId,
        id: &KeyId,
        label: &str,
        at: Wall,
    ) -> Result<ApiKeyRow, StoreError>;

    /// Revokes an API key for good; says whether there is one. The first time of revocation stays.
    async fn revoke_api_key(&self, group: &GroupId, id: &KeyId, at: Wall) -> Result<bool, StoreError>;

    /// Notes that an API key was used; an earlier time than the stored one changes nothing.
    async fn touch_api_key(&self, group: &GroupId, id: &KeyId, at: Wall) -> Result<(), StoreError>;

    /// A call made at or after a time.
    async fn call(&self, key: &CallKey, since: Wall) -> Result<Option<CallRow>, StoreError>;

    /// Remembers a call in place of an older one of the same name. Forgets everybody's calls from before a
    /// time, and the oldest of this group beyond [`crate::limits::CALLS_REMEMBERED`].
    async fn remember_call(&self, row: &CallRow, since: Wall) -> Result<(), StoreError>;

    /// Makes a call of this name the holder's for so long, or says who else makes it. A store that no other node has
    /// leaves that to whoever asks.
    async fn claim_call(
        &self,
        _key: &CallKey,
        _digest: &Digest,
        _holder: u128,
        _life: Duration,
    ) -> Result<Claimed, StoreError> {
        Ok(Claimed::Here)
    }

    /// The holder no longer makes a call.
    async fn release_call(&self, _key: &CallKey, _holder: u128) -> Result<(), StoreError> {
        Ok(())
    }

    /// Counts a wrong try at a door for all nodes. For how long it is locked, if it is; a store that no other node has
    /// counts nothing.
    async fn wrong_try(&self, _door: &Digest, _policy: &Policy) -> Result<Option<Duration>, StoreError> {
        Ok(None)
    }

    /// Forgets the wrong tries at a door.
    async fn open_door(&self, _door: &Digest) -> Result<(), StoreError> {
        Ok(())
    }

    /// What becomes of doors from now on, if any other node shares the store. What is missed is told by the next
    /// wrong try.
    fn door_news(&self) -> Option<broadcast::Receiver<DoorNews>> {
        None
    }

    /// What other nodes change from now on, if any share the store.
    fn news(&self) -> News {
        News::never()
    }

    /// Finishes the writes already taken and closes; later calls are refused.
    async fn close(&self);
}

impl From<::redis::RedisError> for StoreError {
    fn from(error: ::redis::RedisError) -> Self {
        Self::Failed(Arc::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_redis_only_a_foreign_key_fails_for_ever() {
        let told = |code: &str| ::redis::make_extension_error(code.to_owned(), None);
        for code in ["OOM", "READONLY", "LOADING", "MISCONF", "FOREIGN", "BUSY", "NOAUTH", "ERR"] {
            assert!(StoreError::from(told(code)).is_passing(), "{code}");
        }
        assert!(StoreError::from(::redis::RedisError::from((::redis::ErrorKind::Io, "x"))).is_passing());
        assert!(!StoreError::from(told("WRONGTYPE")).is_passing());
    }
}
