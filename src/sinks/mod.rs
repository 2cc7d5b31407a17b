//! What leaves the server by itself: events and records of sessions, handed to the sinks of each group.
//!
//! Decides when a run of the sync begins (`runner`) and on which node (`turns`, `desk`), what comes next and what becomes of what a sink does
//! not take (`lane`), and how each target is reached (`webhook`, `file`, `stream`, `salesforce`). Does not decide who may
//! set sinks up or what they are called: `admin` and the store do. Built and run by `server`.

mod desk;
mod file;
mod guard;
mod lane;
mod letter;
mod reach;
mod runner;
#[cfg(feature = "salesforce")]
mod salesforce;
mod stream;
mod turns;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use runner::{Runner, RunnerParts};
pub use turns::Turns;

use self::guard::Guard;
use self::letter::Letter;
use self::reach::Reach;
#[cfg(feature = "salesforce")]
use self::salesforce::Salesforce;
use self::stream::Streams;
use self::webhook::Webhooks;
use crate::auth::random;
use crate::clock::Wall;
use crate::config::{KeyError, Sinks};
use crate::hub::accounts::Accounts;
use crate::hub::sync::{Offers, signing_generations, webhook_key};
use crate::limits;
use crate::model::sink::{Lane, Patience, Target};
use crate::store::sync::SinkRow;

/// Why a sink did not take a letter. The words go into the history and hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// It may take it later; not before this long, if it said so.
    #[error("{0}")]
    Later(String, Option<Duration>),
    /// It will never take this one.
    #[error("{0}")]
    #[cfg_attr(not(feature = "salesforce"), allow(dead_code, reason = "a webhook may change its mind"))]
    Never(String),
    /// It wants nothing any more.
    #[error("{0}")]
    Gone(String),
}

impl Trouble {
    fn later(error: impl std::fmt::Display) -> Self {
        Self::Later(error.to_string(), None)
    }
}

/// Hands letters to a sink, in order; says how many it took, and why it took no more.
#[async_trait]
trait Deliver: Send + Sync + 'static {
    async fn deliver(
        &self,
        row: &SinkRow,
        lane: Lane,
        letters: &[Letter],
        now: Wall,
    ) -> (usize, Option<Trouble>);

    /// Hands over a letter that is in no lane, or sees whether one could be.
    async fn single(&self, row: &SinkRow, letter: &Letter, now: Wall) -> Result<(), Trouble>;
}

/// How letters reach every target.
pub struct Courier {
    accounts: Arc<Accounts>,
    webhooks: Webhooks,
    directory: Option<PathBuf>,
    streams: Option<Streams>,
    patience: Patience,
    #[cfg(feature = "salesforce")]
    salesforce: Salesforce,
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier").finish_non_exhaustive()
    }
}

/// Why the settings of sinks cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadSinks {
    /// The address of Redis.
    #[error("sinks.redis is no address of a Redis")]
    Redis(#[from] redis::RedisError),
    /// A key for Salesforce.
    #[error("sinks.salesforce can't be used")]
    Salesforce(#[from] KeyError),
}

impl Courier {
    /// A courier by the settings of the process.
    pub fn new(settings: &Sinks, accounts: Arc<Accounts>) -> Result<Self, BadSinks> {
        let streams = settings.redis.as_ref().map(|url| Streams::new(url.expose())).transpose()?;
        let reach = Arc::new(Reach::new(Guard::new(settings.allow.clone())));
        let keys = settings.salesforce_keys()?;
        #[cfg(not(feature = "salesforce"))]
        drop(keys);
        Ok(Self {
            accounts,
            #[cfg(feature = "salesforce")]
            salesforce: Salesforce::new(Arc::clone(&reach), keys),
            webhooks: Webhooks::new(reach, settings.answer_within),
            directory: settings.dir.clone(),
            streams,
            patience: Patience {
                first: settings.retry_first,
                most: settings.retry_most,
                give_up: settings.give_up,
            },
        })
    }

    /// Which targets there are.
    pub fn offers(&self) -> Offers {
        Offers {
            files: self.directory.is_some(),
            redis: self.streams.is_some(),
            #[cfg(feature = "salesforce")]
            salesforce: self.salesforce.groups().cloned().collect(),
            #[cfg(not(feature = "salesforce"))]
            salesforce: Default::default(),
        }
    }

    async fn webhook(&self, url: &str, row: &SinkRow, letter: &Letter, now: Wall) -> Result<(), Trouble> {
        let keys: Vec<_> = signing_generations(row, now)
            .map(|generation| webhook_key(&self.accounts, row, generation))
            .collect();
        self.webhooks.send(url, &keys, letter, now).await
    }

    async fn file(&self, row: &SinkRow, lane: Lane, letters: &[Letter]) -> Result<(), Trouble> {
        let directory = self.directory.as_ref().ok_or_else(|| Trouble::later("no directory is named"))?;
        let folder = file::folder(directory, &row.sink.group, &row.sink.id);
        let letters = letters.to_vec();
        let written = tokio::task::spawn_blocking(move || {
            file::write(&folder, lane, &letters, file::Rotation::default())
        });
        written.await.map_err(Trouble::later)?.map_err(Trouble::later)
    }

    fn streams(&self) -> Result<&Streams, Trouble> {
        self.streams.as_ref().ok_or_else(|| Trouble::later("no Redis is named"))
    }
}

/// An error of Redis in words that do not tell its address.
fn of_redis(error: &redis::RedisError) -> Trouble {
    if error.code() == Some("OWNED") {
        return Trouble::Later("this stream is the log of a server, which writes it".to_owned(), None);
    }
    Trouble::Later(format!("Redis failed: {}", error.category()), None)
}

#[async_trait]
impl Deliver for Courier {
    async fn deliver(
        &self,
        row: &SinkRow,
        lane: Lane,
        letters: &[Letter],
        now: Wall,
    ) -> (usize, Option<Trouble>) {
        let taken = match &row.sink.target {
            // One by one: each is noted before the next is sent.
            Target::Webhook { url } => {
                return match letters.first() {
                    Some(first) => match self.webhook(url, row, first, now).await {
                        Ok(()) => (1, None),
                        Err(trouble) => (0, Some(trouble)),
                    },
                    None => (0, None),
                };
            }
            Target::File => self.file(row, lane, letters).await,
            Target::Redis => match self.streams() {
                Ok(streams) => {
                    let written = streams.write(&row.sink.group, &row.sink.id, letters, now);
                    match tokio::time::timeout(2 * limits::REDIS_TIME, written).await {
                        Ok(written) => written.map_err(|error| of_redis(&error)),
                        Err(late) => Err(Trouble::later(late)),
                    }
                }
                Err(trouble) => Err(trouble),
            },
            #[cfg(feature = "salesforce")]
            Target::Salesforce(org) => return self.salesforce.deliver(row, org, letters, now).await,
            #[cfg(not(feature = "salesforce"))]
            Target::Salesforce(_) => Err(Trouble::later(KeyError::Unsupported)),
        };
        match taken {
            Ok(()) => (letters.len(), None),
            Err(trouble) => (0, Some(trouble)),
        }
    }

    async fn single(&self, row: &SinkRow, letter: &Letter, now: Wall) -> Result<(), Trouble> {
        match &row.sink.target {
            Target::Webhook { url } => self.webhook(url, row, letter, now).await,
            // Nothing to write: the folder is made, or it cannot be.
            Target::File => self.file(row, Lane::Events, &[]).await,
            Target::Redis => {
                let test = tokio::time::timeout(2 * limits::REDIS_TIME, self.streams()?.test());
                test.await.map_err(Trouble::later)?.map_err(|error| of_redis(&error))
            }
            #[cfg(feature = "salesforce")]
            Target::Salesforce(org) => self.salesforce.single(row, org, letter, now).await,
            #[cfg(not(feature = "salesforce"))]
            Target::Salesforce(_) => Err(Trouble::later(KeyError::Unsupported)),
        }
    }
}

/// Chance for pauses and names.
fn chance() -> u64 {
    u64::from_be_bytes(random::bytes())
}
