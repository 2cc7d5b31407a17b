//! Changes of groups, agents and keys, as the admin service and the settings page ask for them.
//!
//! Decides whether what is asked may be stored. Does not decide who may ask. Each change is in the store
//! first, then in memory, then told to the listeners.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use super::{Accounts, Changed, Group, Member, to_the_end};
use crate::auth::api_key::{self, ApiKeySecret};
use crate::auth::password::{PasswordError, PasswordHash};
use crate::auth::permissions::Permissions;
use crate::ids::{AgentId, AgentKey, GroupId, KeyId};
use crate::limits;
use crate::model::event::{Actor, told};
use crate::model::settings::{Settings, Violation};
use crate::store::{Agent, AgentRow, ApiKeyRow, SettingsChange, StoreError};

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// Values out of range.
    #[error("{}", .0.iter().map(Violation::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Violation>),
    /// The password cannot be taken.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// There is no such agent.
    #[error("no agent {}", .0.agent)]
    NoAgent(AgentKey),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An API key just created: the one time that its secret is shown.
#[derive(Debug)]
pub struct NewApiKey {
    /// What is stored of it.
    pub row: ApiKeyRow,
    /// Its secret.
    pub secret: ApiKeySecret,
}

impl Accounts {
    /// Creates a group.
    pub async fn create_group(
        &self,
        id: &GroupId,
        settings: &Settings,
        by: &str,
    ) -> Result<Arc<Group>, ManageError> {
        self.put_settings(id, settings, None, by).await
    }

    /// Replaces a group's settings if they are still at the version that the caller read.
    pub async fn update_settings(
        &self,
        id: &GroupId,
        settings: &Settings,
        expected: u64,
        by: &str,
    ) -> Result<Arc<Group>, ManageError> {
        self.put_settings(id, settings, Some(expected), by).await
    }

    /// Grants and takes the permissions of one agent.
    pub async fn set_permissions(
        &self,
        key: &AgentKey,
        permissions: Permissions,
        by: &str,
    ) -> Result<Arc<Group>, ManageError> {
        if self.member(key).is_none() {
            return Err(ManageError::NoAgent(key.clone()));
        }
        self.grant(key, permissions, by).await
    }

    /// Past changes of a group's settings, newest first.
    pub async fn settings_changes(
        &self,
        id: &GroupId,
        before: Option<u64>,
    ) -> Result<Vec<SettingsChange>, StoreError> {
        self.inner.store.settings_changes(id, before).await
    }

    /// All agents of a group, by id.
    pub async fn agents(&self, group: &GroupId) -> Result<Vec<AgentRow>, StoreError> {
        self.inner.store.agents(group).await
    }

    /// One agent as stored.
    pub async fn agent(&self, key: &AgentKey) -> Result<Option<AgentRow>, StoreError> {
        self.inner.store.agent(key).await
    }

    /// The agent with this address, in any case: whose page `/at/{address}` is.
    pub async fn agent_at(&self, group: &GroupId, address: &str) -> Result<Option<AgentRow>, StoreError> {
        self.inner.store.agent_by_address(group, &normal_address(address)).await
    }

    /// Creates an agent or changes its description; its credentials stay. The address is kept in lower
    /// case.
    pub async fn upsert_agent(&self, agent: &Agent) -> Result<AgentRow, ManageError> {
        let agent = Agent { address: normal_address(&agent.address), ..agent.clone() };
        check_agent(&agent)?;
        let this = self.clone();
        to_the_end(async move {
            let _writing = this.inner.writing.lock().await;
            let row = this.inner.store.upsert_agent(&agent, this.inner.clock.now().wall).await?;
            this.remember(&row);
            Ok(row)
        })
        .await
    }

    /// Sets an agent's password and revokes its tokens.
    pub async fn set_password(
        &self,
        key: &AgentKey,
        password: SecretString,
    ) -> Result<AgentRow, ManageError> {
        let hash = tokio::task::spawn_blocking(move || PasswordHash::new(password.expose_secret()))
            .await
            .map_err(|error| StoreError::Failed(Arc::new(error)))??;
        self.put_password(key, Some(hash)).await
    }

    /// Deletes an agent's credentials and revokes its tokens; the agent stays.
    pub async fn remove_association(&self, key: &AgentKey) -> Result<AgentRow, ManageError> {
        self.put_password(key, None).await
    }

    /// Removes an agent, its tokens and its permissions; says whether there was one.
    pub async fn remove_agent(&self, key: &AgentKey, by: &str) -> Result<bool, ManageError> {
        let (this, key, by) = (self.clone(), key.clone(), by.to_owned());
        to_the_end(async move {
            let removed = {
                let _writing = this.inner.writing.lock().await;
                let removed = this.inner.store.remove_agent(&key).await?;
                this.inner.members.remove(&key);
                this.tell(vec![Changed::Agent(key.clone())]);
                removed
            };
            // Else an agent that is later created under the same name would inherit them.
            match this.grant(&key, Permissions::default(), &by).await {
                Ok(_) | Err(ManageError::Store(StoreError::NoGroup(_))) => Ok(removed),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Revokes the tokens of one agent, or of all agents of the group.
    pub async fn revoke_tokens(&self, group: &GroupId, agent: Option<&AgentId>) -> Result<(), StoreError> {
        let (this, group, agent) = (self.clone(), group.clone(), agent.cloned());
        to_the_end(async move {
            let _writing = this.inner.writing.lock().await;
            this.inner.store.revoke_tokens(&group, agent.as_ref()).await?;
            let differ = this.load_members(&group).await?;
            this.tell(differ);
            Ok(())
        })
        .await
    }

    /// Creates an API key.
    pub async fn create_api_key(&self, group: &GroupId, label: &str) -> Result<NewApiKey, ManageError> {
        if label.len() > limits::SETTINGS_NAME_BYTES {
            return Err(invalid("label", format!("exceeds {} bytes", limits::SETTINGS_NAME_BYTES)));
        }
        self.add_api_key(group, &api_key::fresh_id(), label).await
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
            let row = this.inner.store.insert_api_key(&group, &id, &label, now).await?;
            this.refresh_group(&group).await?;
            let secret = ApiKeySecret::derive(&this.inner.master, &group, &id);
            this.tell(vec![Changed::Group(group)]);
            Ok(NewApiKey { row, secret })
        })
        .await
    }

    async fn put_settings(
        &self,
        id: &GroupId,
        settings: &Settings,
        expected: Option<u64>,
        by: &str,
    ) -> Result<Arc<Group>, ManageError> {
        let violations = settings.check();
        if !violations.is_empty() {
            return Err(ManageError::Invalid(violations));
        }
        let (this, id, settings, by) = (self.clone(), id.clone(), settings.clone(), by.to_owned());
        to_the_end(async move {
            let _writing = this.inner.writing.lock().await;
            let (before, now) = (this.group(&id), this.inner.clock.now());
            let version = this.inner.store.put_group(&id, &settings, expected, &by, now.wall).await?;
            if let Some(events) = this.inner.events.get() {
                let before = before.as_ref().map(|group| &group.settings);
                let changed = told::settings(before, &settings, version);
                events.write_for(&id, now, Actor::of_audit(&by), changed);
            }
            this.refresh_group(&id).await?;
            this.tell(vec![Changed::Group(id.clone())]);
            Ok(this.group(&id).ok_or(StoreError::NoGroup(id))?)
        })
        .await
    }

    /// Changes one agent's place in the permission set, on top of whatever others change meanwhile.
    async fn grant(
        &self,
        key: &AgentKey,
        permissions: Permissions,
        by: &str,
    ) -> Result<Arc<Group>, ManageError> {
        let mut tries = 0;
        loop {
            let group = self.group(&key.group).ok_or_else(|| StoreError::NoGroup(key.group.clone()))?;
            if group.settings.permissions_of(&key.agent) == permissions {
                return Ok(group);
            }
            let mut settings = group.settings.clone();
            let set = &mut settings.permission_set;
            for (list, held) in [
                (&mut set.user, permissions.user),
                (&mut set.admin, permissions.admin),
                (&mut set.agent_video, permissions.agent_video),
            ] {
                if held {
                    list.insert(key.agent.clone())
                } else {
                    list.remove(&key.agent)
                };
            }
            match self.put_settings(&key.group, &settings, Some(group.version), by).await {
                Err(ManageError::Store(StoreError::Conflict { .. })) if tries < limits::SETTINGS_RETRIES => {
                    tries += 1;
                    self.reload_group(&key.group).await?;
                }
                done => return done,
            }
        }
    }

    async fn put_password(
        &self,
        key: &AgentKey,
        password: Option<PasswordHash>,
    ) -> Result<AgentRow, ManageError> {
        let (this, key) = (self.clone(), key.clone());
        to_the_end(async move {
            let _writing = this.inner.writing.lock().await;
            let row = this.inner.store.set_password(&key, password).await?;
            let row = row.ok_or(ManageError::NoAgent(key))?;
            this.remember(&row);
            Ok(row)
        })
        .await
    }

    fn remember(&self, row: &AgentRow) {
        self.inner.members.insert(row.agent.key.clone(), Arc::new(Member::of(row.clone())));
        self.tell(vec![Changed::Agent(row.agent.key.clone())]);
    }
}

/// An address as it is stored: addresses are typed by people, so their case means nothing.
pub(super) fn normal_address(address: &str) -> String {
    address.trim().to_lowercase()
}

fn check_agent(agent: &Agent) -> Result<(), ManageError> {
    let mut found = Vec::new();
    let mut add = |field: &str, message: String| {
        found.push(Violation { field: field.to_owned(), message });
    };
    let address = &agent.address;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-' | b'@' | b'+');
    if address.is_empty() || address.len() > limits::ADDRESS_BYTES || !address.bytes().all(plain) {
        add("address", format!("must match [a-z0-9._~@+-]{{1,{}}}", limits::ADDRESS_BYTES));
    }
    let texts = [
        ("name", Some(&agent.name)),
        ("partnerUserId", agent.partner_user_id.as_ref()),
        ("profile", agent.profile.as_ref()),
        ("subscription", agent.subscription.as_ref()),
    ];
    for (field, text) in texts {
        let Some(text) = text else { continue };
        if text.trim().is_empty() || text.contains(char::is_control) {
            add(field, "must be a text without control characters".to_owned());
        } else if text.len() > limits::SETTINGS_NAME_BYTES {
            add(field, format!("{} bytes exceed {}", text.len(), limits::SETTINGS_NAME_BYTES));
        }
    }
    if found.is_empty() { Ok(()) } else { Err(ManageError::Invalid(found)) }
}

fn invalid(field: &str, message: String) -> ManageError {
    ManageError::Invalid(vec![Violation { field: field.to_owned(), message }])
}
