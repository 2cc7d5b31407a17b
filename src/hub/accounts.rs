//! Who is who: groups, agents and keys in memory, sign-in, and the checks of every credential.
//!
//! Decides whether a credential opens a door, for whom, and what that agent may do at this moment. Does not
//! store (the store does), compute signatures (`auth` does) or close connections: listeners to
//! [`Accounts::changes`] do. The edges call it; look-ups and token checks need no I/O.
//!
//! Other nodes may share the store. What they change is heard ([`crate::store::News`]), read anew and told to the
//! listeners, as if it had been changed here.
//!
//! Tokens say who, never what: name, profile and permissions are read anew at each check, so that a change
//! holds at once and a removed agent is out.

mod calls;
mod demo;
mod doors;
mod keys;
mod manage;
mod news;
mod sign_in;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::task::AbortOnDropHandle;

use super::events::Events;
pub use calls::{Begun, RunningCall};
pub use demo::{Demo, DemoAgent};
pub use keys::NewApiKey;
pub use manage::{Description, ManageError};
pub use sign_in::{SignIn, SignInError, SignedIn};

use crate::auth::agent_token::AgentTokens;
use crate::auth::api_key::ApiKeySecret;
use crate::auth::attempts::Policy;
use crate::auth::opaque::Digest;
use crate::auth::permissions::Permissions;
use crate::auth::secret::MasterSecret;
use crate::auth::signing::SigningKey;
use crate::auth::{self, Refused, unique, visitor_token};
use crate::clock::{Clock, Wall};
use crate::ids::{AgentId, AgentKey, GroupId, KeyId, VisitorId};
use crate::limits;
use crate::model::event::Door;
use crate::model::settings::Settings;
use crate::store::{AgentRow, CallKey, GroupRow, Store, StoreError};

/// Groups, agents and keys of this server. One for the process; a clone is the same one.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    master: MasterSecret,
    clock: Clock,
    tokens: AgentTokens,
    operator_key: SecretString,
    groups: ArcSwap<HashMap<GroupId, Arc<Group>>>,
    members: DashMap<AgentKey, Arc<Member>>,
    /// Held while store and memory are brought from one state to the next, so that a slow reader never
    /// puts an older row over a newer one.
    writing: tokio::sync::Mutex<()>,
    doors: doors::Doors,
    password_checks: Arc<Semaphore>,
    running: Mutex<HashMap<CallKey, Digest>>,
    used: Mutex<HashMap<(GroupId, KeyId), Wall>>,
    changes: broadcast::Sender<Changed>,
    events: OnceLock<Events>,
    /// Listens to other nodes for as long as anybody has these accounts.
    listening: OnceLock<[AbortOnDropHandle<()>; 2]>,
}

/// A group as kept in memory.
#[derive(Debug)]
pub struct Group {
    /// Its name.
    pub id: GroupId,
    /// Its settings.
    pub settings: Settings,
    /// Counts the changes of its settings.
    pub version: u64,
    /// When it was created; the phase of its sync runs.
    pub created_at: Wall,
    /// Its live API keys, oldest first.
    pub keys: Vec<LiveKey>,
}

/// An API key that was not revoked.
#[derive(Debug)]
pub struct LiveKey {
    /// Its name, `kid` in tokens.
    pub id: KeyId,
    /// Its secret.
    pub secret: ApiKeySecret,
}

impl Group {
    /// The secret of a live API key.
    pub fn key(&self, id: &str) -> Option<&ApiKeySecret> {
        self.keys.iter().find(|key| key.id.as_str() == id).map(|key| &key.secret)
    }
}

/// What is kept in memory of an agent: enough to check a token without I/O.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    /// Name for people.
    pub name: Arc<str>,
    /// What it signs in with and what guests type.
    pub address: Arc<str>,
    /// Its profile in the CRM.
    pub profile: Option<Arc<str>>,
    /// Since when its sessions have the same key each time.
    pub fixed_key: Option<Wall>,
    /// Tokens of another generation are revoked.
    pub generation: u64,
}

/// An agent that proved who it is, with what it may do at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentIdentity {
    /// Its group.
    pub group: GroupId,
    /// Its name there.
    pub agent: AgentId,
    /// Name for people.
    pub name: Arc<str>,
    /// Its profile.
    pub profile: Option<Arc<str>>,
    /// What it may do.
    pub permissions: Permissions,
    /// When the token ends that proved it.
    pub expires_at: Wall,
}

/// Who calls the admin service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminCaller {
    /// The operator of the server.
    Operator,
    /// A group's back end, by an API key.
    Key(GroupId, KeyId),
    /// An agent who may change the group's settings.
    Agent(AgentKey),
}

impl AdminCaller {
    /// The one group within reach; none means all groups are.
    pub fn own_group(&self) -> Option<&GroupId> {
        match self {
            Self::Operator => None,
            Self::Key(group, _) => Some(group),
            Self::Agent(key) => Some(&key.group),
        }
    }
}

impl std::fmt::Display for AdminCaller {
    /// As the audit names the caller.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::Key(_, key) => write!(f, "key {key}"),
            Self::Agent(key) => write!(f, "agent {}", key.agent),
        }
    }
}

/// Why a credential does not open the admin service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdminRefused {
    /// Malformed, unknown, expired or revoked.
    #[error("credential is not good")]
    Unknown,
    /// A good agent's, who may not change the group's settings.
    #[error("agent does not hold the admin permission")]
    Forbidden,
}

/// Something changed that connections were admitted by. A listener reads anew what concerns it, closes
/// what is no longer allowed, and after falling behind looks at everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// Settings or API keys of a group.
    Group(GroupId),
    /// An agent: name, profile, revocation or removal.
    Agent(AgentKey),
}

impl Accounts {
    /// Loads all groups and agents, with the usual policy against wrong tries.
    pub async fn open(store: Arc<dyn Store>, master: MasterSecret, clock: Clock) -> Result<Self, StoreError> {
        Self::guarded(store, master, clock, Policy::STANDARD).await
    }

    /// Loads all groups and agents; `policy` says how many wrong tries lock an agent or an address.
    pub async fn guarded(
        store: Arc<dyn Store>,
        master: MasterSecret,
        clock: Clock,
        policy: Policy,
    ) -> Result<Self, StoreError> {
        let inner = Inner {
            tokens: AgentTokens::new(&master),
            operator_key: auth::api_key::admin_key(&master),
            groups: ArcSwap::default(),
            members: DashMap::new(),
            writing: tokio::sync::Mutex::new(()),
            doors: doors::Doors::new(&master.derive("doors", &[]), policy),
            password_checks: Arc::new(Semaphore::new(limits::PASSWORD_CHECKS)),
            running: Mutex::new(HashMap::new()),
            used: Mutex::new(HashMap::new()),
            changes: broadcast::Sender::new(limits::ACCOUNT_CHANGES),
            events: OnceLock::new(),
            listening: OnceLock::new(),
            store,
            master,
            clock,
        };
        let accounts = Self { inner: Arc::new(inner) };
        // Before anything is read: what is changed after it is heard.
        let heard = accounts.inner.store.news();
        accounts.reload().await?;
        let weak = Arc::downgrade(&accounts.inner);
        let doors = tokio::spawn(doors::listen(weak.clone(), accounts.inner.store.door_news()));
        let listening = [doors, tokio::spawn(news::listen(weak, heard))].map(AbortOnDropHandle::new);
        accounts.inner.listening.set(listening).expect("nobody else has these accounts yet");
        Ok(accounts)
    }

    /// Writes changes of settings and refused credentials down from now on. The first one counts.
    pub fn write_to(&self, events: Events) {
        // A second one would write everything twice.
        let _ = self.inner.events.set(events);
    }

    /// A group. No I/O.
    pub fn group(&self, id: &GroupId) -> Option<Arc<Group>> {
        self.inner.groups.load().get(id).cloned()
    }

    /// All groups, in no order. No I/O.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.inner.groups.load().values().cloned().collect()
    }

    /// An agent. No I/O.
    pub fn member(&self, key: &AgentKey) -> Option<Arc<Member>> {
        self.inner.members.get(key).map(|member| Arc::clone(&member))
    }

    /// Changes from now on.
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.inner.changes.subscribe()
    }

    /// Checks an agent's token and reads who it is and what it may do now.
    pub fn verify_agent(&self, token: &str) -> Result<AgentIdentity, Refused> {
        let claims = self.inner.tokens.verify(token, self.inner.clock.now().wall)?;
        let expires_at = Wall(claims.exp.saturating_mul(1000));
        let key = AgentKey { group: claims.group, agent: claims.sub };
        let member = self.member(&key).ok_or(Refused::Revoked)?;
        if member.generation != claims.generation {
            return Err(Refused::Revoked);
        }
        self.identity(key, &member, expires_at).ok_or(Refused::Revoked)
    }

    /// Checks a token by which a company vouches for a visitor ID of this group. It never vouches for an
    /// id of the server's own.
    pub fn verify_visitor(&self, group: &Group, visitor: &VisitorId, token: &str) -> Result<(), Refused> {
        let mut used = None;
        let find = |kid: &str| {
            used = group.keys.iter().find(|key| key.id.as_str() == kid);
            used.map(|key| &key.secret)
        };
        visitor_token::verify(find, visitor, token, self.inner.clock.now().wall)?;
        if visitor.is_unique() {
            return Err(Refused::OtherSubject);
        }
        if let Some(key) = used {
            self.note_use(&group.id, &key.id);
        }
        Ok(())
    }

    /// What session keys are kept under, the same for all nodes.
    pub fn session_key_pepper(&self) -> [u8; 32] {
        self.inner.master.derive("session-keys", &[])
    }

    /// What the fixed session key of an agent is made of, the same on all nodes; none if its sessions have random
    /// ones.
    pub fn fixed_key(&self, key: &AgentKey) -> Option<[u8; 32]> {
        let since = self.member(key)?.fixed_key?.0.to_string();
        let whose = [key.group.as_str(), key.agent.as_str(), &since];
        Some(self.inner.master.derive("fixed-session-key", &whose))
    }

    /// The secret that a server-issued visitor comes back with.
    pub fn unique_secret(&self, group: &GroupId, visitor: &VisitorId) -> String {
        unique::secret(&self.inner.master, group, visitor)
    }

    /// Whether the secret belongs to that server-issued visitor.
    pub fn verify_unique(&self, group: &GroupId, visitor: &VisitorId, secret: &str) -> bool {
        unique::verify(&self.inner.master, group, visitor, secret)
    }

    /// Checks what follows `Bearer ` in a call of the admin service: the operator's admin key,
    /// `<key id>.<secret>` of a live API key, or the token of an agent who holds `admin`.
    pub fn verify_admin(&self, bearer: &str) -> Result<AdminCaller, AdminRefused> {
        use secrecy::ExposeSecret as _;
        if auth::same_secret(self.inner.operator_key.expose_secret(), bearer) {
            return Ok(AdminCaller::Operator);
        }
        if let Some((id, secret)) = bearer.rsplit_once('.') {
            for group in self.inner.groups.load().values() {
                if let Some(key) = group.keys.iter().find(|key| key.id.as_str() == id)
                    && key.secret.matches(secret)
                {
                    self.note_use(&group.id, &key.id);
                    return Ok(AdminCaller::Key(group.id.clone(), key.id.clone()));
                }
            }
        }
        let agent = self.verify_agent(bearer).map_err(|_| AdminRefused::Unknown)?;
        if !agent.permissions.admin {
            self.note_refused(&agent.group, Door::Admin, "agent without the admin permission");
            return Err(AdminRefused::Forbidden);
        }
        Ok(AdminCaller::Agent(AgentKey { group: agent.group, agent: agent.agent }))
    }

    /// The operator's admin key.
    pub fn admin_key(&self) -> &SecretString {
        &self.inner.operator_key
    }

    /// A key derived from the master secret for a purpose outside of this module.
    pub fn derive(&self, label: &str, context: &[&str]) -> [u8; 32] {
        self.inner.master.derive(label, context)
    }

    /// The key that signs a group's consent receipts. It follows from the master secret.
    pub fn receipt_key(&self, group: &GroupId) -> SigningKey {
        SigningKey::from_seed(&self.derive("receipt-key", &[group.as_str()]))
    }

    /// Writes down when API keys were last used. For a timer, about once a minute, and before the end.
    pub async fn flush_uses(&self) -> Result<(), StoreError> {
        let used = std::mem::take(&mut *self.inner.used.lock());
        for ((group, key), at) in used {
            self.inner.store.touch_api_key(&group, &key, at).await?;
        }
        Ok(())
    }

    fn identity(&self, key: AgentKey, member: &Member, expires_at: Wall) -> Option<AgentIdentity> {
        let permissions = self.group(&key.group)?.settings.permissions_of(&key.agent);
        Some(AgentIdentity {
            group: key.group,
            agent: key.agent,
            name: Arc::clone(&member.name),
            profile: member.profile.clone(),
            permissions,
            expires_at,
        })
    }

    /// Writes down that somebody was not let in, where there is a group to tell.
    fn note_refused(&self, group: &GroupId, door: Door, reason: &str) {
        if let Some(events) = self.inner.events.get().filter(|_| self.group(group).is_some()) {
            events.refused(group, self.inner.clock.now(), door, reason);
        }
    }

    fn note_use(&self, group: &GroupId, key: &KeyId) {
        self.inner.used.lock().insert((group.clone(), key.clone()), self.inner.clock.now().wall);
    }

    fn tell(&self, changes: Vec<Changed>) {
        for change in changes {
            // Without listeners there is nobody to tell.
            let _ = self.inner.changes.send(change);
        }
    }

    async fn load_group(&self, row: GroupRow) -> Result<Group, StoreError> {
        let keys = self.inner.store.api_keys(&row.id).await?;
        let keys = keys
            .into_iter()
            .filter(|key| key.revoked_at.is_none())
            .map(|key| LiveKey {
                secret: ApiKeySecret::derive(&self.inner.master, &row.id, &key.id),
                id: key.id,
            })
            .collect();
        Ok(Group {
            id: row.id,
            settings: row.settings,
            version: row.version,
            created_at: row.created_at,
            keys,
        })
    }

    /// Brings one group in memory up to date. The caller holds `writing`.
    async fn refresh_group(&self, id: &GroupId) -> Result<(), StoreError> {
        let fresh = match self.inner.store.group(id).await? {
            Some(row) => Some(Arc::new(self.load_group(row).await?)),
            None => None,
        };
        self.inner.groups.rcu(|groups| {
            let mut groups = HashMap::clone(groups);
            match &fresh {
                Some(group) => groups.insert(id.clone(), Arc::clone(group)),
                None => groups.remove(id),
            };
            groups
        });
        Ok(())
    }

    /// Brings the agents of one group in memory up to date; returns those that differ. The caller holds
    /// `writing`.
    async fn load_members(&self, group: &GroupId) -> Result<Vec<Changed>, StoreError> {
        let rows = self.inner.store.agents(group).await?;
        let fresh: HashMap<AgentKey, Arc<Member>> =
            rows.into_iter().map(|row| (row.agent.key.clone(), Arc::new(Member::of(row)))).collect();
        let mut differ = Vec::new();
        self.inner.members.retain(|key, _| {
            let stays = &key.group != group || fresh.contains_key(key);
            if !stays {
                differ.push(Changed::Agent(key.clone()));
            }
            stays
        });
        for (key, member) in fresh {
            if self.inner.members.insert(key.clone(), Arc::clone(&member)).is_none_or(|old| old != member) {
                differ.push(Changed::Agent(key));
            }
        }
        Ok(differ)
    }
}

impl Member {
    fn of(row: AgentRow) -> Self {
        Self {
            name: row.agent.name.into(),
            address: row.agent.address.into(),
            profile: row.agent.profile.map(Into::into),
            fixed_key: row.agent.fixed_key,
            generation: row.generation,
        }
    }
}

/// Runs a change as a task of its own, so that it comes to its end when the caller stops waiting: between
/// the store's word and memory's, a revoked token would still open doors.
async fn to_the_end<T, E>(work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending.
            Err(_) => Err(StoreError::Closed.into()),
        },
    }
}

#[cfg(test)]
mod tests;
