//! How SQLite is driven: one writer thread, a few readers, and what an acknowledgement means.
//!
//! Decides durability and queueing; knows no table. Writes go through a bounded queue to one thread, which
//! gathers what waits into one transaction, each write in its own savepoint, and answers after the
//! commit. With [`Flush::Commit`] (WAL, `synchronous=FULL`) a commit has been flushed to the disk, so what
//! was acknowledged survives the loss of power as well as a kill.
//!
//! A disk that is full or broken fails the writes of the batch, each caller being told, and nothing else:
//! reads go on, and the next batch is tried anew.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use rusqlite_migration::Migrations;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::super::{StoreError, Undone};
use crate::config::Flush;
use crate::limits;

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its folder cannot be created or read.
    #[error("database {path} is out of reach")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite refuses it.
    #[error("database cannot be opened")]
    Sqlite(#[from] rusqlite::Error),
    /// Its schema cannot be brought up to date; a newer server may have written it.
    #[error("schema of the database cannot be brought up to date")]
    Schema(#[from] rusqlite_migration::Error),
    /// Somebody else has it open.
    #[error("database {path} is open elsewhere; stop the server that runs on it")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is only to be read, and its schema is not this version's.
    #[error("database {path} was last opened by another version; start a server of this version on it once")]
    OtherVersion {
        /// The file.
        path: PathBuf,
    },
}

/// Tells a caller how its write went, once it is known whether it was committed.
type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// A write: does its work inside the transaction, if there is one, and leaves the reply for after the
/// commit.
type Job = Box<dyn FnOnce(Result<&mut Transaction<'_>, StoreError>) -> Reply + Send>;

/// An open database.
pub(super) struct Engine {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
    /// None in memory, where the one connection does it all.
    readers: Option<Readers>,
}

struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    all: u32,
}

impl Readers {
    fn new(idle: Vec<Connection>) -> Self {
        let (permits, all) = (Arc::new(Semaphore::new(idle.len())), idle.len() as u32);
        Self { idle: Arc::new(Mutex::new(idle)), permits, all }
    }
}

impl Engine {
    /// Opens or creates the file (mode 600) and brings its schema up to date.
    pub(super) fn open(path: &Path, schema: &Migrations<'_>, flush: Flush) -> Result<Self, OpenError> {
        create(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        let mut writer = connect(Connection::open(path)?)?;
        writer.pragma_update(None, "journal_mode", "WAL")?;
        let synchronous = match flush {
            Flush::Commit => "FULL",
            Flush::Checkpoint => "NORMAL",
        };
        writer.pragma_update(None, "synchronous", synchronous)?;
        schema.to_latest(&mut writer)?;
        let mut idle = Vec::with_capacity(limits::STORE_READERS);
        for _ in 0..limits::STORE_READERS {
            let reader = connect(Connection::open(path)?)?;
            reader.pragma_update(None, "query_only", true)?;
            idle.push(reader);
        }
        Ok(Self::start(writer, Some(Readers::new(idle))))
    }

    /// Opens a file that exists, to be read while nobody else can have it open. What it holds stays as it is.
    pub(super) fn open_alone(path: &Path, schema: &Migrations<'_>) -> Result<Self, OpenError> {
        std::fs::metadata(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        // A lock that keeps others out is one for writing.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(path, flags)?;
        reader.busy_timeout(Duration::ZERO)?;
        reader.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        reader.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        reader.pragma_update(None, "query_only", true)?;
        // The first read takes the lock, which is then kept.
        match reader.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                return Err(OpenError::InUse { path: path.to_owned() });
            }
            read => read?,
        };
        if schema.pending_migrations(&reader)? != 0 {
            return Err(OpenError::OtherVersion { path: path.to_owned() });
        }
        Ok(Self {
            jobs: Mutex::new(None),
            writer: Mutex::new(None),
            readers: Some(Readers::new(vec![reader])),
        })
    }

    /// A database that ends with the process.
    pub(super) fn in_memory(schema: &Migrations<'_>) -> Result<Self, OpenError> {
        let mut writer = connect(Connection::open_in_memory()?)?;
        schema.to_latest(&mut writer)?;
        Ok(Self::start(writer, None))
    }

    fn start(connection: Connection, readers: Option<Readers>) -> Self {
        let (jobs, queue) = mpsc::channel(limits::STORE_QUEUE);
        let writer = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write_all(connection, queue))
            .expect("a thread can be started while the server starts");
        Self { jobs: Mutex::new(Some(jobs)), writer: Mutex::new(Some(writer)), readers }
    }

    /// Runs a write and returns once it is on disk, or undone. It runs even if the caller stops waiting.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_then(work, |_| ()).await
    }

    /// As [`Self::write`], and tells of it once it is committed, even if the caller stopped waiting.
    pub(super) async fn write_then<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        tell: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let jobs = self.jobs.lock().clone().ok_or(StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |transaction| {
            let result = transaction.and_then(|transaction| in_savepoint(transaction, work));
            Box::new(move |committed| {
                let result = committed.and(result);
                if let Ok(value) = &result {
                    tell(value);
                }
                // A caller that is gone needs no answer.
                let _ = answer.send(result);
            })
        });
        jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        drop(jobs);
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs a read on a connection of its own; it sees everything acknowledged before.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Some(readers) = &self.readers else {
            return self.write(work).await;
        };
        let permits = Arc::clone(&readers.permits);
        let permit = permits.acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let idle = Arc::clone(&readers.idle);
        tokio::task::spawn_blocking(move || {
            let connection = idle.lock().pop().ok_or(StoreError::Closed)?;
            let result = work(&connection);
            idle.lock().push(connection);
            drop(permit);
            result
        })
        .await
        .map_err(|error| StoreError::Failed(Arc::new(error)))?
    }

    /// Refuses new work, finishes what was taken, and closes the file.
    pub(super) async fn close(&self) {
        drop(self.jobs.lock().take());
        if let Some(readers) = &self.readers {
            // All permits: the reads in flight are over.
            if let Ok(permits) = readers.permits.acquire_many(readers.all).await {
                permits.forget();
            }
            readers.permits.close();
            readers.idle.lock().clear();
        }
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            // The join fails only if the writer panicked, which its callers have been told by `Closed`.
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
    }
}

/// The writer's life: until every sender is gone.
fn write_all(mut connection: Connection, mut queue: mpsc::Receiver<Job>) {
    let mut replies = Vec::with_capacity(limits::STORE_BATCH);
    while let Some(first) = queue.blocking_recv() {
        let committed = commit_batch(&mut connection, first, &mut queue, &mut replies);
        if committed.is_err() {
            // The disk may be full of what the log holds already: moved into the database, where it is
            // smaller, it leaves room. Failing at that as well changes nothing.
            let _ = connection.pragma_query_value(None, "wal_checkpoint(TRUNCATE)", |_| Ok(()));
        }
        for reply in replies.drain(..) {
            reply(committed.clone());
        }
    }
    // Moves the log into the database, so that the file is whole by itself. It is safe without.
    let _ = connection.pragma_query_value(None, "wal_checkpoint(TRUNCATE)", |_| Ok(()));
}

fn commit_batch(
    connection: &mut Connection,
    first: Job,
    queue: &mut mpsc::Receiver<Job>,
    replies: &mut Vec<Reply>,
) -> Result<(), StoreError> {
    let mut transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            replies.push(first(Err(error.into())));
            return Ok(());
        }
    };
    replies.push(first(Ok(&mut transaction)));
    while replies.len() < limits::STORE_BATCH {
        let Ok(job) = queue.try_recv() else { break };
        replies.push(job(Ok(&mut transaction)));
    }
    Ok(transaction.commit()?)
}

/// What fails is undone by itself; the others of the batch stay.
fn in_savepoint<T>(
    transaction: &mut Transaction<'_>,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // A full disk makes SQLite undo the whole transaction. A savepoint would then begin, and its end commit,
    // a transaction of its own, and the caller would be told of the failure of the other one.
    if transaction.is_autocommit() {
        return Err(Undone.into());
    }
    let savepoint = transaction.savepoint()?;
    let value = work(&savepoint)?;
    savepoint.commit()?;
    Ok(value)
}

fn connect(connection: Connection) -> Result<Connection, rusqlite::Error> {
    connection.busy_timeout(limits::STORE_BUSY)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

/// Creates the file private before SQLite does; its log and index files take over its mode.
fn create(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(Arc::new(error))
    }
}
