//! Connections to Redis, as the settings ask for them.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::StartError;
use crate::config;
use crate::redis::{Link, Plan, Servers, Tls};
use crate::telemetry::Meters;

/// How the Redis that nodes share is reached.
pub(super) struct Reach {
    plan: Plan,
    wait: Duration,
    meters: Arc<Meters>,
}

impl Reach {
    /// As the settings say; none when they name no Redis.
    pub(super) fn of(settings: &config::Redis, meters: &Arc<Meters>) -> Result<Option<Self>, StartError> {
        if !settings.is_named() {
            return Ok(None);
        }
        Ok(Some(Self { plan: plan(settings)?, wait: settings.wait, meters: Arc::clone(meters) }))
    }

    /// A connection of its own, waited for as long as the settings say.
    pub(super) async fn connect(&self) -> Result<Link, StartError> {
        Ok(Link::connect(&self.plan, self.wait, Some(Arc::clone(&self.meters))).await?)
    }
}

/// How the settings say that Redis is reached.
pub fn plan(settings: &config::Redis) -> Result<Plan, StartError> {
    let secret = |secret: &config::Secret| SecretString::from(secret.expose());
    let servers = match &settings.url {
        Some(url) => Servers::Url(secret(url)),
        None if !settings.sentinels.is_empty() => Servers::Sentinels {
            nodes: settings.sentinels.clone(),
            master: settings.master.clone().unwrap_or_default(),
            user: settings.sentinel_user.clone(),
            password: settings.sentinel_password.as_ref().map(secret),
        },
        None => Servers::Cluster(settings.cluster.clone()),
    };
    let tls = settings.tls().map_err(|error| StartError::Tls { key: error.key(), source: error })?;
    let tls = tls.map(|tls| Tls { ca: tls.ca, client: tls.client.map(|(cert, key)| (cert, secret(&key))) });
    Ok(Plan { servers, user: settings.user.clone(), password: settings.password.as_ref().map(secret), tls })
}
