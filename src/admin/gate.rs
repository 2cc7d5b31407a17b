//! Who a caller is and which group it may name.
//!
//! The key travels in `authorization: Bearer …` and is looked up anew for each call, so that a revoked
//! key is of no use at once.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tonic::metadata::MetadataMap;

use super::status::AdminError;
use crate::ids::GroupId;
use crate::telemetry::Meters;

/// What a key reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every group, and the node.
    Operator,
    /// One group.
    Group(GroupId),
}

impl Scope {
    /// The group of a call. An operator names it; a group's key brings its own, and naming any other is
    /// answered as if that did not exist.
    pub(super) fn group(self, named: &str) -> Result<GroupId, AdminError> {
        match self {
            Self::Operator if named.is_empty() => {
                Err(AdminError::BadField { field: "group", problem: "is missing".to_owned() })
            }
            Self::Operator => GroupId::new(named).map_err(|_| AdminError::NotFound),
            Self::Group(own) if named.is_empty() || named == own.as_str() => Ok(own),
            Self::Group(_) => Err(AdminError::NotFound),
        }
    }

    /// Passes operators only.
    pub(super) fn operator(self) -> Result<(), AdminError> {
        match self {
            Self::Operator => Ok(()),
            Self::Group(_) => Err(AdminError::Forbidden),
        }
    }
}

/// Looks an admin key up. `Ok(None)` for every kind of wrong key.
pub type VerifyKey =
    Arc<dyn Fn(String) -> BoxFuture<'static, Result<Option<Scope>, AdminError>> + Send + Sync>;

/// Stands before every call.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) verify: VerifyKey,
    pub(super) meters: Arc<Meters>,
}

impl Gate {
    /// Who calls.
    pub(super) async fn scope(&self, metadata: &MetadataMap) -> Result<Scope, AdminError> {
        let Some(key) = bearer(metadata) else { return Err(self.refuse()) };
        (self.verify)(key.to_owned()).await?.ok_or_else(|| self.refuse())
    }

    fn refuse(&self) -> AdminError {
        self.meters.refusal("admin_key");
        AdminError::Unauthorized
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
        let key = Scope::Group(own.clone());
        assert_eq!(key.clone().group(""), Ok(own.clone()));
        assert_eq!(key.clone().group("acme"), Ok(own));
        assert_eq!(key.clone().group("other"), Err(AdminError::NotFound));
        assert_eq!(key.group("not a group"), Err(AdminError::NotFound));
    }

    #[test]
    fn an_operator_names_the_group() {
        assert_eq!(Scope::Operator.group("acme"), Ok(GroupId::new("acme").unwrap()));
        assert_eq!(Scope::Operator.group("not a group"), Err(AdminError::NotFound));
        assert!(matches!(Scope::Operator.group(""), Err(AdminError::BadField { field: "group", .. })));
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
