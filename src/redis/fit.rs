//! Whether a Redis is fit to keep anything, and in which words it is told that it is not.
//!
//! Looked at once for each link, on every primary; whether keys stay is looked at again and again by those who
//! keep something there.

use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::plan::{Plan, Servers};
use super::{LATE, Link, Policy, is_away};
use crate::limits;

/// Why a Redis can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is none, or certificates are none.
    #[error("redis.url is no address of a Redis")]
    Address(#[source] RedisError),
    /// It does not answer, or is not ready to.
    #[error("Redis does not answer")]
    Away(#[source] RedisError),
    /// Its certificate is not trusted, or it does not trust ours.
    #[error("TLS with Redis fails; redis.tls_ca names whose certificates are trusted")]
    Tls(#[source] RedisError),
    /// The user or the password is wrong.
    #[error("Redis refuses the user or the password")]
    Refused(#[source] RedisError),
    /// The user may not do what is needed.
    #[error("the user of Redis may not do what is needed")]
    Forbidden(#[source] RedisError),
    /// It lets go of keys when memory is short, and so of what was acknowledged.
    #[error("maxmemory-policy of Redis is {0}, under which keys may vanish; it must be noeviction")]
    Evicts(String),
    /// It is too old.
    #[error("Redis is of version {0}; it must be 7.0 or later")]
    Old(String),
    /// Whoever is at the address copies another one.
    #[error("redis.url leads to a replica, which can't be written to")]
    Replica,
    /// No Sentinel has heard of the primary.
    #[error("no Sentinel knows a primary called {0}; see redis.master")]
    Unknown(String),
    /// Whoever is asked for the primary is no Sentinel.
    #[error("redis.sentinels lead to no Sentinel")]
    NoSentinel(#[source] RedisError),
    /// The cluster's address is one of a server that belongs to none.
    #[error("redis.cluster leads to a Redis that is no member of a cluster; see redis.url")]
    NoCluster(#[source] RedisError),
    /// The address is a member's socket, which the others are not found by.
    #[error(
        "redis.url leads to a member of a cluster by its socket; name some of its members in redis.cluster"
    )]
    Member,
}

impl OpenError {
    /// Whether it may be otherwise in a moment.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Away(_))
    }

    fn of(error: RedisError) -> Self {
        let code = error.code().unwrap_or_default();
        if error.kind() == ErrorKind::AuthenticationFailed || ["NOAUTH", "WRONGPASS"].contains(&code) {
            return Self::Refused(error);
        }
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoPerm) => Self::Forbidden(error),
            ErrorKind::InvalidClientConfig => Self::Address(error),
            _ if is_tls(&error) => Self::Tls(error),
            _ => Self::Away(error),
        }
    }

    /// Why there is no connection to a cluster.
    pub(super) fn of_cluster(error: RedisError) -> Self {
        let told = error.to_string();
        // All that it says of its own accord, and what the crate makes of it.
        if told.contains("cluster support disabled") { Self::NoCluster(error) } else { Self::of(error) }
    }
}

/// Whether a connection failed for what one side showed the other.
fn is_tls(error: &RedisError) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        // What the crate tells as the cause is its own handle of it.
        let error =
            error.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>().map_or(error, |held| &**held);
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Looks whether what a link leads to can be used.
pub(super) async fn check(link: &Link, plan: &Plan) -> Result<(), OpenError> {
    let told = link.told("default").await.map_err(|error| match (&plan.servers, error.kind()) {
        (Servers::Sentinels { master, .. }, ErrorKind::MasterNameNotFoundBySentinel) => {
            OpenError::Unknown(master.clone())
        }
        (Servers::Sentinels { .. }, ErrorKind::EmptySentinelList) => OpenError::NoSentinel(error),
        _ => OpenError::of(error),
    })?;
    for told in &told {
        check_told(told, matches!(plan.servers, Servers::Cluster(_)))?;
    }
    Ok(())
}

/// Looks at what a server tells of itself.
fn check_told(told: &str, member: bool) -> Result<(), OpenError> {
    let version = value(told, "redis_version").unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < limits::REDIS_MAJOR) {
        return Err(OpenError::Old(version.to_owned()));
    }
    if !member && value(told, "cluster_enabled") == Some("1") {
        return Err(OpenError::Member);
    }
    if value(told, "loading") == Some("1") {
        let loading = ErrorKind::Server(ServerErrorKind::BusyLoading);
        return Err(OpenError::Away(RedisError::from((loading, "it still loads its data"))));
    }
    if value(told, "role").is_some_and(|role| role != "master") {
        return Err(OpenError::Replica);
    }
    match policy(told) {
        Policy::Keeps => Ok(()),
        Policy::Evicts(policy) => Err(OpenError::Evicts(policy)),
    }
}

/// What a server does when memory is short.
pub(super) fn policy(told: &str) -> Policy {
    match value(told, "maxmemory_policy") {
        None | Some("noeviction") => Policy::Keeps,
        Some(other) => Policy::Evicts(other.to_owned()),
    }
}

fn value<'a>(told: &'a str, name: &str) -> Option<&'a str> {
    told.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

/// What kind of failure one is, for those who count.
pub(super) fn kind_of(error: &RedisError) -> &'static str {
    let code = error.code().unwrap_or_default();
    match error.kind() {
        _ if error.is_timeout() || error.to_string().contains(LATE) => "late",
        _ if is_away(error) => "away",
        ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::EmptySentinelList => "away",
        ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => "refused",
        ErrorKind::Server(
            ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::ReadOnly,
        ) => "moved",
        _ if ["NOAUTH", "WRONGPASS"].contains(&code) => "refused",
        _ if code == "OOM" => "full",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_judged_by_what_it_tells_of_itself() {
        let told = |version: &str, rest: &str| {
            format!(
                "# Server\r\nredis_version:{version}\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n{rest}\r\n"
            )
        };
        let of = |version: &str, rest: &str, member| check_told(&told(version, rest), member);
        for version in ["7.0.15", "7.2.4", "8.2.0", "10.0.0"] {
            assert!(of(version, "valkey_version:8.1.0\r\nrole:master", false).is_ok(), "{version}");
        }
        for version in ["6.2.14", "2.8.0", "", "unknown"] {
            let refused = of(version, "", false).unwrap_err();
            assert!(matches!(&refused, OpenError::Old(told) if told == version), "{refused:?}");
        }
        let loading = of("7.0.0", "loading:1\r\nrole:master", false).unwrap_err();
        assert!(loading.is_passing(), "{loading:?}");
        assert!(matches!(of("7.0.0", "role:slave", false), Err(OpenError::Replica)));
        assert!(matches!(of("7.0.0", "cluster_enabled:1", false), Err(OpenError::Member)));
        assert!(of("7.0.0", "cluster_enabled:1", true).is_ok());
        let evicts = check_told("redis_version:7.0.0\nmaxmemory_policy:volatile-ttl", false);
        assert!(matches!(evicts, Err(OpenError::Evicts(policy)) if policy == "volatile-ttl"));
    }

    #[test]
    fn failures_are_told_apart() {
        let io = |kind| RedisError::from(std::io::Error::from(kind));
        assert_eq!(kind_of(&super::super::late()), "late");
        assert_eq!(kind_of(&io(std::io::ErrorKind::ConnectionRefused)), "away");
        assert_eq!(kind_of(&RedisError::from((ErrorKind::Server(ServerErrorKind::ReadOnly), "x"))), "moved");
        assert_eq!(kind_of(&RedisError::from((ErrorKind::AuthenticationFailed, "x"))), "refused");
        assert_eq!(kind_of(&redis::make_extension_error("OOM".into(), None)), "full");
        assert_eq!(kind_of(&redis::make_extension_error("ERR".into(), None)), "other");
    }
}
