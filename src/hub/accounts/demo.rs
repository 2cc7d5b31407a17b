//! The demo group of `porchlight dev`: two agents and an API key, the same at each start.
//!
//! Passwords follow from the master secret, so that they can be printed again without being stored. What
//! a developer changed in the group's settings stays.

use std::sync::Arc;

use crate::auth::api_key::ApiKeySecret;
use crate::auth::password;
use crate::ids::{AgentId, AgentKey, GroupId, KeyId};
use crate::model::settings::Settings;
use crate::store::{Agent, StoreError};

use super::manage::ManageError;
use super::{Accounts, Group};

/// The group's name.
const GROUP: &str = "demo";
/// The agents' profile.
const PROFILE: &str = "Support";
/// In the history of settings.
const ACTOR: &str = "dev";

/// Everything that `porchlight dev` prints: secrets included.
pub struct Demo {
    /// The group.
    pub group: Arc<Group>,
    /// A live API key: id and secret text.
    pub api_key: (KeyId, String),
    /// The agents, the admin first.
    pub agents: Vec<DemoAgent>,
    /// The operator's admin key.
    pub admin_key: String,
}

/// An agent of the demo group.
pub struct DemoAgent {
    /// Its id.
    pub id: AgentId,
    /// What it signs in with.
    pub address: String,
    /// Its password.
    pub password: String,
    /// Its user ID in the CRM, for login keys.
    pub partner_user_id: String,
    /// Its profile.
    pub profile: String,
}

impl Accounts {
    /// Makes sure of the demo group and returns what opens it. Changes nothing that is there already,
    /// except a password that is not the printed one.
    pub async fn ensure_demo(&self) -> Result<Demo, StoreError> {
        use secrecy::ExposeSecret as _;
        let group = GroupId::new(GROUP).expect("the demo group's name is unreserved");
        let ids = ["alice", "bob"].map(|id| AgentId::new(id).expect("the demo agents' names are unreserved"));
        if self.group(&group).is_none() {
            match self.create_group(&group, &Settings::dev(&ids), ACTOR).await {
                // Another node was there before.
                Err(ManageError::Store(StoreError::Conflict { .. })) => self.reload_group(&group).await?,
                made => drop(made.map_err(stored)?),
            }
        }
        let mut agents = Vec::with_capacity(ids.len());
        for id in ids {
            agents.push(self.ensure_demo_agent(&group, id).await?);
        }
        let api_key = self.ensure_demo_key(&group).await?;
        let group = self.group(&group).ok_or(StoreError::NoGroup(group))?;
        Ok(Demo { group, api_key, agents, admin_key: self.admin_key().expose_secret().to_owned() })
    }

    async fn ensure_demo_agent(&self, group: &GroupId, id: AgentId) -> Result<DemoAgent, StoreError> {
        let key = AgentKey { group: group.clone(), agent: id.clone() };
        let row = match self.agent(&key).await? {
            Some(row) => row,
            None => {
                let name = id.as_str();
                let agent = Agent {
                    key: key.clone(),
                    address: name.to_owned(),
                    partner_user_id: Some(format!("demo-{name}")),
                    name: name[..1].to_uppercase() + &name[1..],
                    profile: Some(PROFILE.to_owned()),
                    subscription: None,
                    fixed_key: None,
                };
                self.upsert_agent(&agent).await.map_err(stored)?
            }
        };
        let password = self.demo_password(&key);
        let (hash, printed) = (row.password, password.clone());
        let right = tokio::task::spawn_blocking(move || password::verify(hash.as_ref(), &printed))
            .await
            .map_err(|error| StoreError::Failed(Arc::new(error)))?;
        if !right {
            self.set_password(&key, password.clone().into()).await.map_err(stored)?;
        }
        Ok(DemoAgent {
            id,
            address: row.agent.address,
            password,
            partner_user_id: row.agent.partner_user_id.unwrap_or_default(),
            profile: row.agent.profile.unwrap_or_default(),
        })
    }

    /// The oldest live key, or a new one: under a telling name the first time.
    async fn ensure_demo_key(&self, group: &GroupId) -> Result<(KeyId, String), StoreError> {
        let live = self
            .group(group)
            .and_then(|group| group.keys.first().map(|key| (key.id.clone(), key.secret.expose().to_owned())));
        if let Some(live) = live {
            return Ok(live);
        }
        let named = KeyId::new(GROUP).expect("the demo group's name is unreserved");
        let made = match self.add_api_key(group, &named, ACTOR).await {
            Err(ManageError::Store(StoreError::Taken { .. })) => self.create_api_key(group, ACTOR).await,
            made => made,
        }
        .map_err(stored)?;
        let secret: ApiKeySecret = made.secret;
        Ok((made.row.id, secret.expose().to_owned()))
    }

    /// 80 bits in letters and digits that cannot be mistaken for each other.
    fn demo_password(&self, key: &AgentKey) -> String {
        const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let bytes = self.inner.master.derive("demo-password", &[key.group.as_str(), key.agent.as_str()]);
        let text: Vec<char> =
            bytes[..16].iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
        text.chunks(4).map(String::from_iter).collect::<Vec<_>>().join("-")
    }
}

/// The demo's own values are in range, so that only the store can refuse them.
fn stored(error: ManageError) -> StoreError {
    match error {
        ManageError::Store(error) => error,
        other => StoreError::Failed(Arc::new(other)),
    }
}
