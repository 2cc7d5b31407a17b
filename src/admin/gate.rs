//! Who a caller is and which group it may name.
//!
//! The key travels in `authorization: Bearer …` and is looked up anew for each call, so that a revoked
//! key is of no use at once.

use std::sync::Arc;

use tonic::metadata::MetadataMap;

use super::status::AdminError;
use crate::hub::accounts::{Accounts, AdminScope};
use crate::ids::GroupId;
use crate::telemetry::Meters;

/// The group of a call. An operator names it; a group's key brings its own, and naming any other is
/// answered as if that did not exist.
pub(super) fn group_of(scope: AdminScope, named: &str) -> Result<GroupId, AdminError> {
    match scope {
        AdminScope::Operator if named.is_empty() => {
            Err(AdminError::BadField { field: "group", problem: "is missing".to_owned() })
        }
        AdminScope::Operator => GroupId::new(named).map_err(|_| AdminError::NotFound),
        AdminScope::Group(own) if named.is_empty() || named == own.as_str() => Ok(own),
        AdminScope::Group(_) => Err(AdminError::NotFound),
    }
}

/// Stands before every call.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) accounts: Arc<Accounts>,
    pub(super) meters: Arc<Meters>,
}

impl Gate {
    /// Who calls.
    pub(super) fn scope(&self, metadata: &MetadataMap) -> Result<AdminScope, AdminError> {
        bearer(metadata).and_then(|key| self.accounts.verify_admin(key)).ok_or_else(|| {
            self.meters.refusal("admin_key");
            AdminError::Unauthorized
        })
    }

    /// The group that a call concerns.
    pub(super) fn group(&self, metadata: &MetadataMap, named: &str) -> Result<GroupId, AdminError> {
        let group = group_of(self.scope(metadata)?, named)?;
        self.accounts.group(&group).map(|_| group).ok_or(AdminError::NotFound)
    }

    /// Passes operators only.
    pub(super) fn operator(&self, metadata: &MetadataMap) -> Result<(), AdminError> {
        match self.scope(metadata)? {
            AdminScope::Operator => Ok(()),
            AdminScope::Group(_) => Err(AdminError::Forbidden),
        }
    }
}

fn bearer(metadata: &MetadataMap) -> Option<&str> {
    let (scheme, key) = metadata.get("authorization")?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_key_reaches_its_own_group_only() {
        let own = GroupId::new("acme").unwrap();
        let key = AdminScope::Group(own.clone());
        assert_eq!(group_of(key.clone(), ""), Ok(own.clone()));
        assert_eq!(group_of(key.clone(), "acme"), Ok(own));
        assert_eq!(group_of(key.clone(), "other"), Err(AdminError::NotFound));
        assert_eq!(group_of(key, "not a group"), Err(AdminError::NotFound));
    }

    #[test]
    fn an_operator_names_the_group() {
        assert_eq!(group_of(AdminScope::Operator, "acme"), Ok(GroupId::new("acme").unwrap()));
        assert_eq!(group_of(AdminScope::Operator, "not a group"), Err(AdminError::NotFound));
        assert!(matches!(
            group_of(AdminScope::Operator, ""),
            Err(AdminError::BadField { field: "group", .. })
        ));
    }

    #[test]
    fn only_bearer_is_understood() {
        let key = |value: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", value.parse().unwrap());
            bearer(&metadata).map(ToOwned::to_owned)
        };
        assert_eq!(key("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(key("bearer abc").as_deref(), Some("abc"));
        for bad in ["abc", "Basic abc", "Bearer ", "Bearer"] {
            assert_eq!(key(bad), None, "{bad}");
        }
    }
}
