//! The one connection to Redis, as the settings ask for it.

use std::sync::Arc;

use secrecy::SecretString;

use super::StartError;
use crate::config;
use crate::redis::{Link, Plan, Servers, Tls};
use crate::telemetry::Meters;

/// Connects to the Redis that nodes share; none when the settings name none.
pub(super) async fn connect(
    settings: &config::Redis,
    meters: &Arc<Meters>,
) -> Result<Option<Link>, StartError> {
    if !settings.is_named() {
        return Ok(None);
    }
    let plan = plan(settings)?;
    Ok(Some(Link::connect(&plan, settings.wait, Some(Arc::clone(meters))).await?))
}

fn plan(settings: &config::Redis) -> Result<Plan, StartError> {
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
