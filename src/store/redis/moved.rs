//! Whether a database was moved into this Redis, and how far that is.
//!
//! Decides that one move at a time is made, of one database, and that its end is known: until then no server may
//! run on what is there by half. Does not move anything; [`super::Import`] does.

use super::super::StoreError;
use super::keys::{Keys, MOVED};
use super::rows::unreadable;
use super::store::RedisStore;
use crate::auth::secret::MasterSecret;
use crate::ids::GroupId;

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Some of it may be there.
    Begun,
    /// All of it is there, but not yet what no node would do about it.
    Whole,
    /// It is over: servers may run.
    Done,
}

/// A move into a Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// How far it is.
    pub stage: Stage,
    /// What stands for the database that is moved.
    pub database: String,
}

impl Stage {
    const ALL: [Self; 3] = [Self::Begun, Self::Whole, Self::Done];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Whole => "whole",
            Self::Done => "done",
        }
    }
}

impl RedisStore {
    /// The move that was made into this Redis, if one was begun.
    pub async fn moved(&self) -> Result<Option<Moved>, StoreError> {
        let text: Option<String> = self.ask(redis::cmd("GET").arg(MOVED)).await?;
        let read = |text: String| {
            let (word, database) = text.split_once(' ')?;
            let stage = Stage::ALL.into_iter().find(|stage| stage.as_str() == word)?;
            Some(Moved { stage, database: database.to_owned() })
        };
        text.map(|text| read(text).ok_or_else(|| unreadable("move", &"its stage is unknown"))).transpose()
    }

    /// Notes how far the move of a database is. One that begins is noted where none was; answers with what is
    /// noted then.
    pub async fn note_moved(&self, stage: Stage, database: &str) -> Result<Option<Moved>, StoreError> {
        let mut note = redis::cmd("SET");
        note.arg(MOVED).arg(format!("{} {database}", stage.as_str()));
        if stage == Stage::Begun {
            note.arg("NX");
        }
        let _noted: Option<String> = self.ask(&note).await?;
        self.moved().await
    }

    /// Takes the note of a move back, of which nothing was written yet.
    pub async fn forget_move(&self) -> Result<(), StoreError> {
        self.ask(redis::cmd("DEL").arg(MOVED)).await
    }

    /// Groups that are there, as many as are asked for at most.
    pub async fn some_groups(&self, most: usize) -> Result<Vec<GroupId>, StoreError> {
        let mut found = Vec::new();
        for group in self.group_ids().await? {
            if found.len() == most {
                break;
            }
            let key = Keys(&group).group();
            if self.ask::<bool>(redis::cmd("HEXISTS").arg(key).arg("settings")).await? {
                found.push(group);
            }
        }
        Ok(found)
    }

    /// Whether the nodes on this Redis have this master secret; none when none is known there yet.
    pub async fn knows(&self, master: &MasterSecret) -> Result<Option<bool>, StoreError> {
        let common: Option<String> = self.ask(redis::cmd("GET").arg(super::keys::MASTER)).await?;
        Ok(common.map(|common| crate::auth::same_secret(&common, &super::store::standing_for(master))))
    }
}
