//! The API keys of a group: making, listing, revoking.
//!
//! Decides how many there may be and that a request makes one only. Secrets are derived, never stored.

use super::manage::{ManageError, invalid};
use super::{Accounts, AdminCaller, Changed, to_the_end};
use crate::auth::api_key::{self, ApiKeySecret};
use crate::ids::{GroupId, KeyId};
use crate::limits;
use crate::store::{ApiKeyRow, StoreError};

/// An API key just created: the one time that its secret is shown.
#[derive(Debug)]
pub struct NewApiKey {
    /// What is stored of it.
    pub row: ApiKeyRow,
    /// Its secret.
    pub secret: ApiKeySecret,
}

impl Accounts {
    /// Creates an API key.
    pub async fn create_api_key(&self, group: &GroupId, label: &str) -> Result<NewApiKey, ManageError> {
        check_label(label)?;
        self.add_api_key(group, &api_key::fresh_id(), label).await
    }

    /// Creates an API key for a request. Its id follows from caller and request, so that the same request
    /// finds the key that it made before the process died.
    pub async fn create_api_key_for(
        &self,
        group: &GroupId,
        label: &str,
        caller: &AdminCaller,
        request_id: &str,
    ) -> Result<NewApiKey, ManageError> {
        check_label(label)?;
        let own = caller.own_group().map_or("", GroupId::as_str);
        let context = [group.as_str(), own, &caller.to_string(), request_id];
        let [chance @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            self.inner.master.derive("api-key-id", &context);
        let id = api_key::id_of(u128::from_be_bytes(chance));
        let rows = self.inner.store.api_keys(group).await?;
        let since = self.inner.clock.now().wall.before(limits::CALL_MEMORY);
        match rows.into_iter().find(|row| row.id == id) {
            None => self.add_api_key(group, &id, label).await,
            // The request ID is free again, the key id is not.
            Some(row) if row.created_at < since => self.create_api_key(group, label).await,
            Some(row) if row.label != label => Err(ManageError::OtherRequest),
            Some(row) => self.whole_key(row),
        }
    }

    /// A key made before, with its secret, as long as it is good.
    pub async fn api_key(&self, group: &GroupId, id: &KeyId) -> Result<NewApiKey, ManageError> {
        let rows = self.inner.store.api_keys(group).await?;
        match rows.into_iter().find(|row| row.id == *id) {
            Some(row) => self.whole_key(row),
            None => Err(ManageError::Revoked(id.clone())),
        }
    }

    /// All API keys of a group, revoked ones too.
    pub async fn api_keys(&self, group: &GroupId) -> Result<Vec<ApiKeyRow>, StoreError> {
        self.flush_uses().await?;
        self.inner.store.api_keys(group).await
    }

    /// Revokes an API key for good; says whether there is one.
    pub async fn revoke_api_key(&self, group: &GroupId, id: &KeyId) -> Result<bool, StoreError> {
        let (this, group, id) = (self.clone(), group.clone(), id.clone());
        to_the_end(async move {
            let _writing = this.inner.writing.lock().await;
            let found = this.inner.store.revoke_api_key(&group, &id, this.inner.clock.now().wall).await?;
            this.refresh_group(&group).await?;
            this.tell(vec![Changed::Group(group)]);
            Ok(found)
        })
        .await
    }

    pub(super) async fn add_api_key(
        &self,
        group: &GroupId,
        id: &KeyId,
        label: &str,
    ) -> Result<NewApiKey, ManageError> {
        let (this, group, id, label) = (self.clone(), group.clone(), id.clone(), label.to_owned());
        to_the_end(async move {
            let _writing = this.inner.writing.lock().await;
            let now = this.inner.clock.now().wall;
            let added = this.inner.store.insert_api_key(&group, &id, &label, now).await;
            let row = added.map_err(|error| match error {
                StoreError::Full { .. } => ManageError::TooManyKeys,
                error => error.into(),
            })?;
            this.refresh_group(&group).await?;
            let secret = ApiKeySecret::derive(&this.inner.master, &group, &id);
            this.tell(vec![Changed::Group(group)]);
            Ok(NewApiKey { row, secret })
        })
        .await
    }

    fn whole_key(&self, row: ApiKeyRow) -> Result<NewApiKey, ManageError> {
        if row.revoked_at.is_some() {
            return Err(ManageError::Revoked(row.id));
        }
        Ok(NewApiKey { secret: ApiKeySecret::derive(&self.inner.master, &row.group, &row.id), row })
    }
}

fn check_label(label: &str) -> Result<(), ManageError> {
    if label.len() > limits::SETTINGS_NAME_BYTES {
        return Err(invalid("label", format!("exceeds {} bytes", limits::SETTINGS_NAME_BYTES)));
    }
    if label.contains(char::is_control) {
        return Err(invalid("label", "must be a text without control characters".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Clock, MasterSecret};
    use super::*;
    use crate::model::settings::Settings;
    use crate::store::sqlite::SqliteStore;
    use std::sync::Arc;

    async fn over(store: Arc<SqliteStore>) -> Accounts {
        Accounts::open(store, MasterSecret::from_bytes([4; 32]), Clock::start()).await.unwrap()
    }

    #[tokio::test]
    async fn a_request_makes_one_key_even_when_its_answer_was_lost() {
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let (accounts, group) = (over(Arc::clone(&store)).await, GroupId::new("g").unwrap());
        accounts.create_group(&group, &Settings::default(), "t").await.unwrap();
        let operator = AdminCaller::Operator;
        let first = accounts.create_api_key_for(&group, "site", &operator, "r1").await.unwrap();
        let revived = over(store).await;
        let again = revived.create_api_key_for(&group, "site", &operator, "r1").await.unwrap();
        assert_eq!(again.row, first.row);
        assert_eq!(again.secret.expose(), first.secret.expose());
        assert_eq!(revived.api_keys(&group).await.unwrap().len(), 1);
        let other = revived.create_api_key_for(&group, "shop", &operator, "r1").await;
        assert!(matches!(other, Err(ManageError::OtherRequest)), "{other:?}");
        for (caller, id) in
            [(operator.clone(), "r2"), (AdminCaller::Key(group.clone(), first.row.id.clone()), "r1")]
        {
            let own = revived.create_api_key_for(&group, "site", &caller, id).await.unwrap();
            assert_ne!(own.row.id, first.row.id);
        }
        revived.revoke_api_key(&group, &first.row.id).await.unwrap();
        let late = revived.create_api_key_for(&group, "site", &operator, "r1").await;
        assert!(matches!(late, Err(ManageError::Revoked(_))), "{late:?}");
    }

    #[tokio::test]
    async fn good_keys_are_bounded() {
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let (accounts, group) = (over(store).await, GroupId::new("g").unwrap());
        accounts.create_group(&group, &Settings::default(), "t").await.unwrap();
        for _ in 0..limits::API_KEYS {
            accounts.create_api_key(&group, "").await.unwrap();
        }
        let refused = accounts.create_api_key(&group, "").await;
        assert!(matches!(refused, Err(ManageError::TooManyKeys)), "{refused:?}");
        let oldest = accounts.group(&group).unwrap().keys[0].id.clone();
        accounts.revoke_api_key(&group, &oldest).await.unwrap();
        accounts.create_api_key(&group, "").await.unwrap();
        let refused = accounts.create_api_key(&group, "line\nfeed").await;
        assert!(matches!(refused, Err(ManageError::Invalid(_))), "{refused:?}");
    }
}
