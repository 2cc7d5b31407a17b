//! A move of the embedded store into the Redis that the settings name.
//!
//! Decides when it may be made: nobody else has the database open, no node runs on the Redis, the master secret is
//! the one known there, and nothing is there but what a move of the same database left. What was begun keeps servers
//! from starting until it is whole. The database is only read. What is written is [`Import`]'s; called by the
//! command line.

use std::path::PathBuf;
use std::sync::Arc;

use super::data::STORE_FILE;
use super::{MASTER_FILE, Reach, StartError};
use crate::auth::secret::{MasterSecret, SecretError};
use crate::cluster::redis::live_nodes;
use crate::config::Config;
use crate::hub::events::end_lost;
use crate::ids::GroupId;
use crate::limits;
use crate::redis::Link;
use crate::store::migrate::Source as _;
use crate::store::redis::{Counted, Import, RedisLog, RedisStore, Stage};
use crate::store::sqlite::{OpenError, SqliteStore};
use crate::store::{SessionRecords as _, Store as _, StoreError};
use crate::telemetry::Meters;

/// Why a move is not made.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is nowhere to move to.
    #[error("no Redis is named in the settings: set redis.url, redis.sentinels or redis.cluster")]
    NoRedis,
    /// The database can't be read.
    #[error("can't read the database")]
    Database(#[from] OpenError),
    /// The secret of the database is not given.
    #[error("there is no master secret: neither auth.master_secret nor {}", path.display())]
    NoSecret {
        /// Where it would be.
        path: PathBuf,
    },
    /// The master secret can't be used.
    #[error("no master secret")]
    Secret(#[from] SecretError),
    /// What both sides share can't be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A store failed.
    #[error("can't read or write a store")]
    Store(#[from] StoreError),
    /// Redis failed.
    #[error("can't ask Redis")]
    Redis(#[from] redis::RedisError),
    /// Another secret is known there: no credential of the database would hold.
    #[error(
        "Redis knows another master secret than that of the database; what is there is another company's"
    )]
    OtherSecret,
    /// Servers work on that Redis.
    #[error(
        "nodes run on this Redis ({nodes} hold their lease): stop them; the lease of one that was killed ends by itself"
    )]
    Live {
        /// How many.
        nodes: u64,
    },
    /// Something else is there.
    #[error("Redis has groups already, and not from this database: {groups}")]
    Taken {
        /// Some of them.
        groups: String,
    },
    /// Something else is there by half.
    #[error(
        "a move of another database, or of this one before it was changed, was begun into this Redis; empty the Redis"
    )]
    OtherMove,
    /// The runtime is shutting down.
    #[error("the runtime is shutting down")]
    Runtime(#[from] tokio::task::JoinError),
}

/// A database and the Redis that it is moved into. While it is open no server can open the database.
pub struct Move {
    from: Arc<SqliteStore>,
    store: Arc<RedisStore>,
    link: Link,
    import: Import,
    master: MasterSecret,
    /// What stands for the database as it is.
    database: String,
    stage: Option<Stage>,
}

impl std::fmt::Debug for Move {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Move").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Move {
    /// Opens both sides and looks whether the move may be made. Writes nothing.
    pub async fn open(config: &Config) -> Result<Self, MoveError> {
        let (meters, _) = Meters::new();
        let reach = Reach::of(&config.redis, &meters)?.ok_or(MoveError::NoRedis)?;
        let (master, from) = open_database(config).await?;
        let link = reach.connect().await?;
        let store = Arc::new(RedisStore::new(link.clone()));
        if store.knows(&master).await? == Some(false) {
            return Err(MoveError::OtherSecret);
        }
        let database = standing_for(&from, &master).await?;
        let stage = match store.moved().await? {
            Some(moved) if moved.database == database => Some(moved.stage),
            Some(moved) if moved.stage != Stage::Done => return Err(MoveError::OtherMove),
            _ => None,
        };
        if stage.is_none() {
            let groups = store.some_groups(limits::MOVE_NAMED).await?;
            if !groups.is_empty() {
                let groups: Vec<&str> = groups.iter().map(GroupId::as_str).collect();
                return Err(MoveError::Taken { groups: groups.join(", ") });
            }
        }
        let import = Import::new(Arc::clone(&from), link.clone());
        Ok(Self { from, store, link, import, master, database, stage })
    }

    /// How far a move of this very database is; none when none was begun.
    pub fn stage(&self) -> Option<Stage> {
        self.stage
    }

    /// The names of the groups of the database behind a name, a page of them.
    pub async fn groups_behind(&self, after: Option<&GroupId>) -> Result<Vec<GroupId>, MoveError> {
        Ok(self.from.groups_behind(after).await?)
    }

    /// Counts what a group, or the operators, have on both sides.
    pub async fn count(&self, group: Option<&GroupId>) -> Result<Vec<Counted>, MoveError> {
        Ok(self.import.count(group).await?)
    }

    /// Looks that no node runs on the Redis.
    pub async fn alone(&self) -> Result<(), MoveError> {
        match live_nodes(&self.link).await? {
            0 => Ok(()),
            nodes => Err(MoveError::Live { nodes }),
        }
    }

    /// Begins it, or goes on with one that died. From now on no server starts on the Redis.
    pub async fn begin(&mut self) -> Result<(), MoveError> {
        if self.stage.is_none() {
            let noted = self.store.note_moved(Stage::Begun, &self.database).await?;
            if noted.is_none_or(|noted| noted.database != self.database) {
                return Err(MoveError::OtherMove);
            }
        }
        // A node that came before the note shows by its lease.
        if let Err(error) = self.alone().await {
            if self.stage.is_none() {
                self.store.forget_move().await?;
            }
            return Err(error);
        }
        self.stage.get_or_insert(Stage::Begun);
        if self.store.agrees(&self.master).await? { Ok(()) } else { Err(MoveError::OtherSecret) }
    }

    /// Moves all that a group, or the operators, have, and counts it.
    pub async fn group(&self, group: Option<&GroupId>) -> Result<Vec<Counted>, MoveError> {
        self.alone().await?;
        Ok(match group {
            Some(group) => self.import.group(group).await?,
            None => self.import.operators().await?,
        })
    }

    /// Ends a move of which everything is there: ends the sessions that did not outlive the last server, of which no
    /// node would know, and lets servers start. Answers how many sessions these were.
    pub async fn finish(&mut self) -> Result<u64, MoveError> {
        self.alone().await?;
        self.store.note_moved(Stage::Whole, &self.database).await?;
        let mut lost = 0;
        if !self.store.open_session_records().await?.is_empty() {
            let log = RedisLog::open(Arc::clone(&self.store)).await?;
            lost = end_lost(&*self.store, &log).await?;
        }
        self.store.note_moved(Stage::Done, &self.database).await?;
        self.stage = Some(Stage::Done);
        Ok(lost)
    }
}

async fn open_database(config: &Config) -> Result<(MasterSecret, Arc<SqliteStore>), MoveError> {
    let given = config.auth.master_secret.as_ref().map(|secret| MasterSecret::from_text(secret.expose()));
    let (given, dir) = (given.transpose()?, config.store.data_dir.clone());
    tokio::task::spawn_blocking(move || {
        let from = SqliteStore::open_alone(&dir.join(STORE_FILE))?;
        let (master, path) = (given, dir.join(MASTER_FILE));
        let master = match master {
            Some(master) => master,
            // What it has signed and minted would hold nowhere under a fresh one.
            None if !path.exists() => return Err(MoveError::NoSecret { path }),
            None => MasterSecret::load_or_create(&path)?,
        };
        Ok((master, Arc::new(from)))
    })
    .await?
}

/// Tells a database, as it is, from others and from what it was before it was changed.
async fn standing_for(from: &SqliteStore, master: &MasterSecret) -> Result<String, StoreError> {
    let (mut text, mut after) = (String::new(), None);
    loop {
        let groups = from.groups_behind(after.as_ref()).await?;
        let Some(last) = groups.last() else { return Ok(text) };
        after = Some(last.clone());
        for id in &groups {
            let Some(group) = from.group(id).await? else { continue };
            let head = from.ends(id).await?.head;
            let [created, version, head] = [group.created_at.0, group.version, head].map(|n| n.to_string());
            let next = master.derive("moved-database", &[&text, id.as_str(), &created, &version, &head]);
            text = next.iter().map(|byte| format!("{byte:02x}")).collect();
        }
    }
}
