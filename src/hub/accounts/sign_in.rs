//! Sign-in: by password, by login key, by a token that has not yet expired.
//!
//! Unknown, foreign and wrong get the same answer and cost the same work: a missing agent is checked
//! against a dummy hash, a missing group against no key, and both count towards the lockouts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::doors::Knock;
use super::{Accounts, AgentIdentity, Group, Member};
use crate::auth::agent_token::AgentClaims;
use crate::auth::login_key::{self, LoginKeyError};
use crate::auth::{Refused, password};
use crate::clock::Wall;
use crate::ids::{AgentKey, GroupId};
use crate::limits;
use crate::model::event::Door;
use crate::store::{AgentRow, StoreError};

/// How an agent proves who it is.
#[derive(Debug)]
pub enum SignIn {
    /// With its address and password.
    Password {
        /// Its group.
        group: GroupId,
        /// Its address there, in any case.
        address: String,
        /// Its password.
        password: SecretString,
    },
    /// With a login key that its CRM minted.
    LoginKey {
        /// Its group.
        group: GroupId,
        /// Its user ID in the CRM.
        partner_user_id: String,
        /// The login key.
        login_key: SecretString,
    },
    /// With a token, to have a fresh one.
    Renew {
        /// The token.
        token: SecretString,
    },
}

/// An agent signed in.
#[derive(Clone)]
pub struct SignedIn {
    /// Its token. A secret: it belongs into the answer and nowhere else.
    pub token: String,
    /// When the token ends.
    pub expires_at: Wall,
    /// Who it is.
    pub agent: AgentIdentity,
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedIn").field("agent", &self.agent).finish_non_exhaustive()
    }
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Unknown, foreign, wrong or expired: one answer.
    #[error("sign-in refused")]
    Refused,
    /// Too many wrong tries for this agent or from this address.
    #[error("sign-in locked for {} s after too many wrong tries", retry_after.as_secs())]
    Locked {
        /// How long the lock still holds.
        retry_after: Duration,
    },
    /// More passwords are waiting to be checked than can be.
    #[error("too many sign-ins at once")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an agent showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Password,
    LoginKey,
}

impl Way {
    /// As the log says it.
    fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::LoginKey => "login key",
        }
    }
}

/// When and how an agent last showed a credential.
#[derive(Debug, Clone, Copy)]
struct Proof {
    at: Wall,
    way: Way,
}

impl Accounts {
    /// Signs an agent in. `from` is the client's own address, seen through trusted proxies.
    ///
    /// A password guess that waits while others fail is turned away before it is checked, so that at most
    /// [`limits::PASSWORD_CHECKS`] guesses beyond the limit are ever answered.
    pub async fn sign_in(&self, request: SignIn, from: IpAddr) -> Result<SignedIn, SignInError> {
        match request {
            SignIn::Password { group, address, password } => {
                let address = super::manage::normal_address(&address);
                let knock = Knock::new(&self.inner.doors, &group, "address", &address, from);
                self.knock(&knock)?;
                let permit = Arc::clone(&self.inner.password_checks).acquire_owned();
                let permit = tokio::time::timeout(limits::PASSWORD_WAIT, permit).await;
                let Ok(Ok(permit)) = permit else {
                    return Err(SignInError::Busy);
                };
                self.knock(&knock)?;
                let row = self.inner.store.agent_by_address(&group, &address).await?;
                let hash = row.as_ref().and_then(|row| row.password.clone());
                // The permit goes along: a caller that stops waiting does not free the thread.
                let right = tokio::task::spawn_blocking(move || {
                    let right = password::verify(hash.as_ref(), password.expose_secret());
                    drop(permit);
                    right
                })
                .await
                .map_err(|_| SignInError::Busy)?;
                let row = row.filter(|_| right);
                self.admit(&knock, &group, Way::Password, row.ok_or("unknown agent or wrong password")).await
            }
            SignIn::LoginKey { group, partner_user_id, login_key } => {
                let knock = Knock::new(&self.inner.doors, &group, "partner", &partner_user_id, from);
                self.knock(&knock)?;
                let row = self.inner.store.agent_by_partner(&group, &partner_user_id).await?;
                let proof = self.check_login_key(&group, &partner_user_id, login_key.expose_secret());
                if let Err(error @ (LoginKeyError::Expired | LoginKeyError::TooFarAhead)) = proof {
                    // Minted by a holder of the key, so this was no guess: it does not count.
                    tracing::info!(%group, %error, "sign-in by login key refused");
                    self.note_refused(&group, Door::SignIn, &error.to_string());
                    return Err(SignInError::Refused);
                }
                let row = match proof {
                    Ok(()) => row.ok_or("unknown agent"),
                    Err(_) => Err("login key malformed or not genuine"),
                };
                self.admit(&knock, &group, Way::LoginKey, row).await
            }
            SignIn::Renew { token } => self.renew(token.expose_secret()).map_err(|error| {
                tracing::info!(%error, "renewal refused");
                SignInError::Refused
            }),
        }
    }

    fn knock(&self, knock: &Knock) -> Result<(), SignInError> {
        let now = self.inner.clock.tick();
        self.inner.doors.check(now, knock).map_err(|retry_after| SignInError::Locked { retry_after })
    }

    /// Counts the outcome and, if it was right, issues the token.
    async fn admit(
        &self,
        knock: &Knock,
        group: &GroupId,
        way: Way,
        proven: Result<AgentRow, &'static str>,
    ) -> Result<SignedIn, SignInError> {
        match proven {
            Ok(row) => {
                self.right_answer(knock);
                let key = row.agent.key.clone();
                let now = self.inner.clock.now().wall;
                let proof = Proof { at: now, way };
                self.issue(key, &Member::of(row), now, proof).ok_or(SignInError::Refused)
            }
            Err(reason) => {
                let locked = self.wrong_answer(knock).await;
                tracing::info!(%group, by = way.name(), reason, locked, "sign-in refused");
                self.note_refused(group, Door::SignIn, &format!("{}: {reason}", way.name()));
                Err(SignInError::Refused)
            }
        }
    }

    fn check_login_key(
        &self,
        group: &GroupId,
        partner_user_id: &str,
        login_key: &str,
    ) -> Result<(), LoginKeyError> {
        let group_id = group;
        let group = self.group(group_id).filter(|group| group.settings.sso.enabled);
        let keys: Vec<_> = group
            .iter()
            .flat_map(|group| {
                let only = group.settings.sso.api_key_id.as_ref();
                group.keys.iter().filter(move |key| only.is_none_or(|only| *only == key.id))
            })
            .collect();
        let now = self.inner.clock.now().wall;
        if keys.is_empty() {
            // One signature's work all the same, and its verdict thrown away.
            let _ = login_key::verify([""], group_id.as_str(), partner_user_id, login_key, now);
            return Err(LoginKeyError::NotGenuine);
        }
        let secrets = keys.iter().map(|key| key.secret.expose());
        let genuine = login_key::verify(secrets, group_id.as_str(), partner_user_id, login_key, now)?;
        if let Some(key) = keys.get(genuine.secret) {
            self.note_use(group_id, &key.id);
        }
        Ok(())
    }

    /// A fresh token for one that still holds, until the sign-in is a day old.
    fn renew(&self, token: &str) -> Result<SignedIn, Refused> {
        let now = self.inner.clock.now().wall;
        self.verify_agent(token)?;
        let claims = self.inner.tokens.verify(token, now)?;
        let key = AgentKey { group: claims.group, agent: claims.sub };
        let member = self.member(&key).ok_or(Refused::Revoked)?;
        let proven = Wall(claims.auth_time.saturating_mul(1000));
        if proven.after(limits::SIGN_IN_CHAIN).unix_seconds() <= now.unix_seconds() {
            return Err(Refused::Expired);
        }
        let sso_on = |group: Arc<Group>| group.settings.sso.enabled;
        if claims.sso && !self.group(&key.group).is_some_and(sso_on) {
            return Err(Refused::Revoked);
        }
        let way = if claims.sso { Way::LoginKey } else { Way::Password };
        self.issue(key, &member, now, Proof { at: proven, way }).ok_or(Refused::Revoked)
    }

    /// Mints a token; none when the group is gone.
    fn issue(&self, key: AgentKey, member: &Member, now: Wall, proof: Proof) -> Option<SignedIn> {
        let life = self.group(&key.group)?.settings.login_expiration();
        let exp = now.after(life).min(proof.at.after(limits::SIGN_IN_CHAIN)).unix_seconds();
        let expires_at = Wall(exp * 1000);
        let agent = self.identity(key, member, expires_at)?;
        let token = self.inner.tokens.mint(&AgentClaims {
            sub: agent.agent.clone(),
            group: agent.group.clone(),
            profile: agent.profile.as_deref().map(str::to_owned),
            permissions: agent.permissions,
            iat: now.unix_seconds(),
            exp,
            auth_time: proof.at.unix_seconds(),
            sso: proof.way == Way::LoginKey,
            generation: member.generation,
        });
        Some(SignedIn { token, expires_at, agent })
    }
}
