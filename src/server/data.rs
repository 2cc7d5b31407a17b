//! The data directory: the secrets of the server and its database.

use std::path::Path;
use std::sync::Arc;

use super::{StartError, StorePlace};
use crate::auth::secret::MasterSecret;
use crate::config::Config;
use crate::store::sqlite::SqliteStore;

/// Opens the secrets and the database that the settings name.
pub(super) async fn open_store(
    config: &Config,
    place: StorePlace,
) -> Result<(MasterSecret, Arc<SqliteStore>), StartError> {
    let given = config.auth.master_secret.as_ref().map(|secret| MasterSecret::from_text(secret.expose()));
    let given = given.transpose()?;
    let (dir, flush) = (config.store.data_dir.clone(), config.store.flush);
    // Opening a database and making keys wait for the disk.
    tokio::task::spawn_blocking(move || -> Result<(MasterSecret, Arc<SqliteStore>), StartError> {
        if place == StorePlace::Memory {
            let store = SqliteStore::in_memory()?;
            return Ok((given.unwrap_or_else(MasterSecret::fresh), Arc::new(store)));
        }
        make_private(&dir)?;
        let master = match given {
            Some(master) => master,
            None => MasterSecret::load_or_create(&dir.join(MASTER_FILE))?,
        };
        let store = SqliteStore::open_with(&dir.join(STORE_FILE), flush)?;
        Ok((master, Arc::new(store)))
    })
    .await?
}

/// The master secret's file in the data directory.
pub const MASTER_FILE: &str = "master.key";

/// The database's file in the data directory.
pub(super) const STORE_FILE: &str = "porchlight.db";

/// Makes a directory that nobody else may look into; one that exists is left as it is.
fn make_private(path: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StartError::DataDir { path: path.to_owned(), source })
}
