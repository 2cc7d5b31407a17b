//! Changes of groups, agents and keys, as the admin service and the settings page ask for them.
//!
//! Decides whether what is asked may be stored. Does not decide who may ask. Each change is in the store
//! first, then in memory, then told to the listeners.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use super::{Accounts, Changed, Group, Member, to_the_end};
use crate::auth::password::{self, PasswordError, PasswordHash};
use crate::auth::permissions::Permissions;
use crate::clock::Wall;
use crate::ids::{AgentId, AgentKey, GroupId, KeyId};
use crate::limits;
use crate::model::event::{Actor, told};
use crate::model::settings::{Settings, Violation};
use crate::store::{Agent, AgentRow, AgentsPage, SettingsChange, StoreError};

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
    /// As many API keys are good as may be.
    #[error("{} api keys are good already", limits::API_KEYS)]
    TooManyKeys,
    /// The API key that the request made was revoked since.
    #[error("api key {0} was revoked")]
    Revoked(KeyId),
    /// The request ID has made an API key of another description.
    #[error("request id was used for another api key")]
    OtherRequest,
    /// More passwords are waiting to be hashed than can be.
    #[error("too many passwords at once")]
    Busy,
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
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

    /// Replaces a group's settings if they are still at the version that the caller read. Settings that do
    /// not differ make no new version. What is newly named in them must exist; what was named before may
    /// have gone since.
    pub async fn update_settings(
        &self,
        id: &GroupId,
        settings: &Settings,
        expected: u64,
        by: &str,
    ) -> Result<Arc<Group>, ManageError> {
        let group = self.group(id).ok_or_else(|| StoreError::NoGroup(id.clone()))?;
        if group.version == expected && group.settings == *settings {
            return Ok(group);
        }
        let mut violations = settings.check();
        violations.extend(self.unknown_names(&group, settings));
        if !violations.is_empty() {
            return Err(ManageError::Invalid(violations));
        }
        self.put_settings(id, settings, Some(expected), by).await
    }

    /// Names in new settings that nothing bears. An agent must be there before it is granted anything: else
    /// whoever is later created under that name would hold what nobody gave to that person.
    fn unknown_names(&self, group: &Group, settings: &Settings) -> Vec<Violation> {
        let (before, mut found) = (&group.settings, Vec::new());
        let mut add = |field: &str, message: String| {
            found.push(Violation { field: field.to_owned(), message });
        };
        let unknown = |agent: &&AgentId| {
            self.member(&AgentKey { group: group.id.clone(), agent: (*agent).clone() }).is_none()
        };
        if settings.default_admin != before.default_admin
            && let Some(agent) = settings.default_admin.as_ref().filter(unknown)
        {
            add("defaultAdmin", format!("{agent} is no agent of the group"));
        }
        if settings.sso.api_key_id != before.sso.api_key_id
            && let Some(key) =
                settings.sso.api_key_id.as_ref().filter(|key| group.key(key.as_str()).is_none())
        {
            add("sso.apiKeyId", format!("{key} is no good key of the group"));
        }
        let (old, new) = (&before.permission_set, &settings.permission_set);
        for (field, old, new) in [
            ("permissionSet.user", &old.user, &new.user),
            ("permissionSet.admin", &old.admin, &new.admin),
            ("permissionSet.agentVideo", &old.agent_video, &new.agent_video),
        ] {
            if let Some(agent) = new.difference(old).find(unknown) {
                add(field, format!("{agent} is no agent of the group"));
            }
        }
        found
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
        self.amend(&key.group, by, |settings| grant(settings, &key.agent, permissions)).await
    }

    /// Past changes of a group's settings, newest first.
    pub async fn settings_changes(
        &self,
        id: &GroupId,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<SettingsChange>, StoreError> {
        self.inner.store.settings_changes(id, before, most).await
    }

    /// Some agents of a group, by id.
    pub async fn agents_page(&self, group: &GroupId, page: AgentsPage) -> Result<Vec<AgentRow>, StoreError> {
        self.inner.store.agents_page(group, page).await
    }

    /// All agents of a group, by id.
    pub async fn agents(&self, group: &GroupId) -> Result<Vec<AgentRow>, StoreError> {
        self.inner.store.agents(group).await
    }

    /// One agent as stored.
    pub async fn agent(&self, key: &AgentKey) -> Result<Option<AgentRow>, StoreError> {
        self.inner.store.agent(key).await
    }

    /// An agent's address, which is the name of its page.
    pub(in crate::hub) fn address_of(&self, key: &AgentKey) -> Option<Arc<str>> {
        self.member(key).map(|member| Arc::clone(&member.address))
    }

    /// The agent with this address, in any case: whose page `/at/{address}` is.
    pub async fn agent_at(&self, group: &GroupId, address: &str) -> Result<Option<AgentRow>, StoreError> {
        self.inner.store.agent_by_address(group, &normal_address(address)).await
    }

    /// Creates an agent or changes its description; its credentials stay, and so does a fixed session key that it
    /// has. The address is kept in lower case.
    pub async fn upsert_agent(&self, agent: &Agent) -> Result<AgentRow, ManageError> {
        let agent = Agent { address: normal_address(&agent.address), ..agent.clone() };
        check_agent(&agent)?;
        let this = self.clone();
        to_the_end(async move {
            let _writing = this.inner.writing.lock().await;
            let agent = Agent { fixed_key: this.fixed_since(&agent).await?, ..agent };
            let row = this.inner.store.upsert_agent(&agent, this.inner.clock.now().wall).await?;
            this.remember(&row);
            Ok(row)
        })
        .await
    }

    /// Since when an agent that is about to be stored has the key it will have.
    async fn fixed_since(&self, agent: &Agent) -> Result<Option<Wall>, StoreError> {
        let Some(asked) = agent.fixed_key else { return Ok(None) };
        let known = self.inner.store.agent(&agent.key).await?;
        Ok(known.and_then(|row| row.agent.fixed_key).or(Some(asked)))
    }

    /// As [`Accounts::upsert_agent`] for an agent as a caller describes it, and sets a password if one is
    /// given. All that can't be taken is told at once, and changes nothing.
    pub async fn describe_agent(
        &self,
        group: &GroupId,
        described: Description,
    ) -> Result<AgentRow, ManageError> {
        let (agent, password) = described.check(group, self.inner.clock.now().wall)?;
        let Some(password) = password else {
            return self.upsert_agent(&agent).await;
        };
        let hash = self.hash(password).await?;
        self.upsert_agent(&agent).await?;
        self.put_password(&agent.key, Some(hash)).await
    }

    /// Sets an agent's password and revokes its tokens.
    pub async fn set_password(
        &self,
        key: &AgentKey,
        password: SecretString,
    ) -> Result<AgentRow, ManageError> {
        let hash = self.hash(password).await?;
        self.put_password(key, Some(hash)).await
    }

    /// Hashes a password off the async threads, and no more at once than are checked.
    async fn hash(&self, password: SecretString) -> Result<PasswordHash, ManageError> {
        let permit = Arc::clone(&self.inner.password_checks).acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(limits::PASSWORD_WAIT, permit).await else {
            return Err(ManageError::Busy);
        };
        let hashed = tokio::task::spawn_blocking(move || {
            let hash = PasswordHash::new(password.expose_secret());
            drop(permit);
            hash
        });
        Ok(hashed.await.map_err(|error| StoreError::Failed(Arc::new(error)))??)
    }

    /// Deletes an agent's credentials and revokes its tokens; the agent stays.
    pub async fn remove_association(&self, key: &AgentKey) -> Result<AgentRow, ManageError> {
        self.put_password(key, None).await
    }

    /// Removes an agent, its tokens, its permissions and its place as default admin; says whether there was
    /// one.
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
            let withdraw = |settings: &mut Settings| {
                grant(settings, &key.agent, Permissions::default());
                settings.default_admin.take_if(|admin| *admin == key.agent);
            };
            match this.amend(&key.group, &by, withdraw).await {
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
            // The event tells what changed: from the version that is changed, not from one that another node
            // has left behind.
            if this.group(&id).map(|group| group.version) != expected {
                this.renew_group(&id).await?;
            }
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

    /// Changes settings on top of whatever others change meanwhile.
    async fn amend(
        &self,
        id: &GroupId,
        by: &str,
        change: impl Fn(&mut Settings) + Send + Sync,
    ) -> Result<Arc<Group>, ManageError> {
        let mut tries = 0;
        loop {
            let group = self.group(id).ok_or_else(|| StoreError::NoGroup(id.clone()))?;
            let mut settings = group.settings.clone();
            change(&mut settings);
            if settings == group.settings {
                return Ok(group);
            }
            match self.put_settings(id, &settings, Some(group.version), by).await {
                Err(ManageError::Store(StoreError::Conflict { .. })) if tries < limits::SETTINGS_RETRIES => {
                    tries += 1;
                    self.reload_group(id).await?;
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

/// Changes one agent's place in the permission set.
fn grant(settings: &mut Settings, agent: &AgentId, permissions: Permissions) {
    let set = &mut settings.permission_set;
    for (list, held) in [
        (&mut set.user, permissions.user),
        (&mut set.admin, permissions.admin),
        (&mut set.agent_video, permissions.agent_video),
    ] {
        if held {
            list.insert(agent.clone())
        } else {
            list.remove(agent)
        };
    }
}

/// An address as it is stored: addresses are typed by people, so their case means nothing.
pub(super) fn normal_address(address: &str) -> String {
    address.trim().to_lowercase()
}

/// An agent as a caller describes it, not yet looked at.
#[derive(Debug)]
pub struct Description {
    /// Its ID.
    pub id: String,
    /// What it signs in with, in any case.
    pub address: String,
    /// Its user ID in the CRM.
    pub partner_user_id: Option<String>,
    /// Its name for people.
    pub name: String,
    /// Its profile.
    pub profile: Option<String>,
    /// Its subscription.
    pub subscription: Option<String>,
    /// Whether its sessions have the same key each time.
    pub fixed_key: bool,
    /// Its new password.
    pub password: Option<SecretString>,
}

impl Description {
    /// The agent and its new password, or all that can't be taken.
    fn check(self, group: &GroupId, now: Wall) -> Result<(Agent, Option<SecretString>), ManageError> {
        let Self { id, address, partner_user_id, name, profile, subscription, fixed_key, password } = self;
        let address = normal_address(&address);
        let mut found = Vec::new();
        let mut add = |field: &str, message: String| {
            found.push(Violation { field: field.to_owned(), message });
        };
        let id = AgentId::new(&id).map_err(|error| add("agentId", error.to_string()));
        let secret = password.as_ref().map(|password| password::may_be(password.expose_secret()));
        if let Some(Err(error)) = secret {
            add("password", error.to_string());
        }
        let texts = [&partner_user_id, &profile, &subscription].map(Option::as_deref);
        found.extend(faults(&address, &name, texts));
        match id {
            Ok(id) if found.is_empty() => {
                let key = AgentKey { group: group.clone(), agent: id };
                let fixed_key = fixed_key.then_some(now);
                Ok((
                    Agent { key, address, partner_user_id, name, profile, subscription, fixed_key },
                    password,
                ))
            }
            _ => Err(ManageError::Invalid(found)),
        }
    }
}

fn check_agent(agent: &Agent) -> Result<(), ManageError> {
    let texts = [&agent.partner_user_id, &agent.profile, &agent.subscription].map(Option::as_deref);
    let found = faults(&agent.address, &agent.name, texts);
    if found.is_empty() { Ok(()) } else { Err(ManageError::Invalid(found)) }
}

/// What can't be taken of an agent's address, name, partner user ID, profile and subscription.
fn faults(address: &str, name: &str, [partner, profile, subscription]: [Option<&str>; 3]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut add = |field: &str, message: String| {
        found.push(Violation { field: field.to_owned(), message });
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-' | b'@' | b'+');
    if address.is_empty() || address.len() > limits::ADDRESS_BYTES || !address.bytes().all(plain) {
        add("address", format!("must match [a-z0-9._~@+-]{{1,{}}}", limits::ADDRESS_BYTES));
    }
    let texts = [
        ("name", Some(name)),
        ("partnerUserId", partner),
        ("profile", profile),
        ("subscription", subscription),
    ];
    for (field, text) in texts {
        let Some(text) = text else { continue };
        if text.trim().is_empty() || text.contains(char::is_control) {
            add(field, "must be a text without control characters".to_owned());
        } else if text.len() > limits::SETTINGS_NAME_BYTES {
            add(field, format!("{} bytes exceed {}", text.len(), limits::SETTINGS_NAME_BYTES));
        }
    }
    found
}

pub(super) fn invalid(field: &str, message: String) -> ManageError {
    ManageError::Invalid(vec![Violation { field: field.to_owned(), message }])
}
