//! What a refusal of the accounts means to an operator.
//!
//! The one place where their errors become ours. Paths of settings are told as the proto file names them.

use super::convert::proto_path;
use super::status::AdminError;
use crate::hub::accounts::ManageError;
use crate::limits;
use crate::model::settings::Violation;
use crate::store::StoreError;

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { actual: Some(version), .. } => Self::Conflict { version },
            StoreError::Conflict { actual: None, .. } | StoreError::NoGroup(_) => Self::NotFound,
            StoreError::Taken { what } => Self::AlreadyExists { field: what },
            StoreError::Full { what, most } => Self::TooMany { what, most },
            StoreError::Closed => Self::Unavailable,
            // A full disk, a Redis that is away: nothing was changed, and the same call may go through later.
            error if error.is_passing() => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the store can't serve an operator now"
                );
                Self::Unavailable
            }
            StoreError::Unreadable { .. } | StoreError::Failed(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the store failed an operator");
                Self::Internal
            }
        }
    }
}

impl From<ManageError> for AdminError {
    fn from(error: ManageError) -> Self {
        match error {
            ManageError::Invalid(found) => Self::Invalid(found),
            ManageError::Password(error) => {
                Self::Invalid(vec![Violation { field: "password".to_owned(), message: error.to_string() }])
            }
            ManageError::NoAgent(_) | ManageError::Revoked(_) => Self::NotFound,
            ManageError::TooManyKeys => Self::TooMany { what: "good API keys", most: limits::API_KEYS },
            ManageError::OtherRequest => Self::RequestIdReused,
            ManageError::Busy => Self::Unavailable,
            ManageError::Store(error) => error.into(),
        }
    }
}

/// A refusal of settings.
pub(super) fn of_settings(error: ManageError) -> AdminError {
    renamed(error, |path| format!("settings.{}", proto_path(path)))
}

/// A refusal of an agent's description.
pub(super) fn of_agent(error: ManageError) -> AdminError {
    match error {
        ManageError::Store(StoreError::Taken { what: "address" }) => {
            AdminError::AlreadyExists { field: "agent.address" }
        }
        ManageError::Store(StoreError::Taken { .. }) => {
            AdminError::AlreadyExists { field: "agent.partner_user_id" }
        }
        other => renamed(other, |path| match path {
            // Stands beside the agent in the request.
            "password" => path.to_owned(),
            _ => format!("agent.{}", proto_path(path)),
        }),
    }
}

/// A refusal of an agent's permissions: lists of the permission set that are full.
pub(super) fn of_permissions(error: ManageError) -> AdminError {
    renamed(error, |path| match path.strip_prefix("permissionSet.") {
        Some(list) => format!("permissions.{}", proto_path(list)),
        None => format!("settings.{}", proto_path(path)),
    })
}

fn renamed(error: ManageError, name: impl Fn(&str) -> String) -> AdminError {
    match error {
        ManageError::Invalid(found) => AdminError::Invalid(
            found.into_iter().map(|one| Violation { field: name(&one.field), ..one }).collect(),
        ),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AgentId, AgentKey, GroupId, KeyId};

    #[test]
    fn every_refusal_has_its_meaning() {
        let group = GroupId::new("g").unwrap();
        let violation = |field: &str| Violation { field: field.to_owned(), message: "is odd".to_owned() };
        let agent = AgentKey { group: group.clone(), agent: AgentId::new("a").unwrap() };
        let conflict = |actual| StoreError::Conflict { group: group.clone(), expected: Some(1), actual };
        let table = [
            (ManageError::NoAgent(agent), AdminError::NotFound),
            (ManageError::Revoked(KeyId::new("k").unwrap()), AdminError::NotFound),
            (ManageError::OtherRequest, AdminError::RequestIdReused),
            (ManageError::Busy, AdminError::Unavailable),
            (conflict(Some(7)).into(), AdminError::Conflict { version: 7 }),
            (conflict(None).into(), AdminError::NotFound),
            (StoreError::NoGroup(group.clone()).into(), AdminError::NotFound),
            (StoreError::Closed.into(), AdminError::Unavailable),
            (
                StoreError::Failed(std::sync::Arc::new(std::io::Error::other("full"))).into(),
                AdminError::Unavailable,
            ),
            (
                StoreError::Unreadable { what: "x".to_owned(), why: "y".to_owned() }.into(),
                AdminError::Internal,
            ),
        ];
        for (error, wanted) in table {
            assert_eq!(AdminError::from(error), wanted);
        }
        let found = || ManageError::Invalid(vec![violation("permissionSet.agentVideo")]);
        let invalid = |field: &str| AdminError::Invalid(vec![violation(field)]);
        assert_eq!(of_settings(found()), invalid("settings.permission_set.agent_video"));
        assert_eq!(of_permissions(found()), invalid("permissions.agent_video"));
        let found = ManageError::Invalid(vec![violation("partnerUserId")]);
        assert_eq!(of_agent(found), invalid("agent.partner_user_id"));
        assert_eq!(of_agent(ManageError::Invalid(vec![violation("password")])), invalid("password"));
        for (what, field) in [("address", "agent.address"), ("partner user id", "agent.partner_user_id")] {
            let taken = of_agent(StoreError::Taken { what }.into());
            assert_eq!(taken, AdminError::AlreadyExists { field });
        }
    }
}
