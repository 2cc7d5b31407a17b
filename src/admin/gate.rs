//! Who a caller is and which group it may touch.
//!
//! The credential travels in `authorization: Bearer …` and is looked up anew for each call, so that a
//! revoked one is of no use at once. What a call may do it can only do with a [`Caller`] or a [`Within`],
//! and only this door makes those.

use std::sync::Arc;

use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request};

use super::status::AdminError;
use super::traced::CallTrace;
use crate::hub::accounts::{Accounts, AdminCaller, AdminRefused};
use crate::ids::GroupId;
use crate::limits;
use crate::pb::v1;
use crate::telemetry::{Meters, Parent};

/// Somebody whose credential is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller(AdminCaller);

impl Caller {
    /// Who it is.
    pub(super) fn who(&self) -> &AdminCaller {
        &self.0
    }
}

/// The operator of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operator(Caller);

impl Operator {
    pub(super) fn caller(&self) -> &Caller {
        &self.0
    }
}

/// A caller at a group that exists and that it reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Within {
    caller: Caller,
    group: GroupId,
    trace: Option<Parent>,
}

impl Within {
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) fn group(&self) -> &GroupId {
        &self.group
    }

    /// The span of the call.
    pub(super) fn trace(&self) -> Option<Parent> {
        self.trace
    }
}

/// A request that concerns a group.
pub(super) trait ConcernsGroup: Message {
    /// The group as named; empty when it is left to the credential.
    fn named_group(&self) -> &str;
}

/// A request that changes something.
pub(super) trait Changes: Message {
    /// What the caller chose, to make the call once.
    fn request_id(&self) -> &str;
}

macro_rules! concern_group {
    ($($request:ident),* $(,)?) => {
        $(impl ConcernsGroup for v1::$request {
            fn named_group(&self) -> &str { &self.group }
        })*
    };
}

macro_rules! change {
    ($($request:ident),* $(,)?) => {
        $(impl Changes for v1::$request {
            fn request_id(&self) -> &str { &self.request_id }
        })*
    };
}

concern_group! {
    GetSettingsRequest, UpdateSettingsRequest, ListSettingsChangesRequest,
    CreateApiKeyRequest, ListApiKeysRequest, RevokeApiKeyRequest,
    UpsertAgentRequest, ListAgentsRequest, DeleteAgentRequest, SetPermissionsRequest,
    ListAssociatedUsersRequest, RemoveAssociationRequest, RevokeTokensRequest,
    LookupVisitorsRequest, ListVisitorsRequest, WatchPresenceRequest, SignalVisitorRequest,
    DisconnectVisitorRequest, ListSessionsRequest, GetSessionRequest, EndSessionRequest,
    WatchSessionsRequest, StreamEventsRequest, ListSessionEventsRequest, ListSessionRecordsRequest,
    GetSessionRecordRequest, ListSessionStatsRequest, GetConsentReceiptRequest,
    ExportConsentReceiptsRequest, GetReceiptKeyRequest, ListFeedRequest, PostFeedRequest, ListLeadsRequest,
    SyncNowRequest, ListSyncRunsRequest, GetSyncStatusRequest, PutSinkRequest, ListSinksRequest,
    DeleteSinkRequest, TestSinkRequest, ReplayDeadLettersRequest,
}

change! {
    CreateGroupRequest, UpdateSettingsRequest, CreateApiKeyRequest, RevokeApiKeyRequest,
    UpsertAgentRequest, DeleteAgentRequest, SetPermissionsRequest, RemoveAssociationRequest,
    RevokeTokensRequest, SignalVisitorRequest, DisconnectVisitorRequest, EndSessionRequest, DrainRequest,
    SetLogFilterRequest,
    PostFeedRequest, SyncNowRequest, PutSinkRequest, DeleteSinkRequest, TestSinkRequest,
    ReplayDeadLettersRequest,
}

/// Stands before every call.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) accounts: Arc<Accounts>,
    pub(super) meters: Arc<Meters>,
}

impl Gate {
    /// Passes whoever has a good credential.
    pub(super) fn caller<R>(&self, request: Request<R>) -> Result<(Caller, R), AdminError> {
        let (caller, trace, request) = self.known(request)?;
        if let Some(trace) = trace {
            trace.passed();
        }
        Ok((caller, request))
    }

    /// The caller and the trace of its call, whose span has not begun.
    fn known<R>(&self, request: Request<R>) -> Result<(Caller, Option<CallTrace>, R), AdminError> {
        let (metadata, mut extensions, request): (MetadataMap, Extensions, R) = request.into_parts();
        let verified = match bearer(&metadata) {
            Some(credential) => self.accounts.verify_admin(credential),
            None => Err(AdminRefused::Unknown),
        };
        match verified {
            Ok(caller) => Ok((Caller(caller), extensions.remove(), request)),
            Err(refused) => {
                self.meters.refusal("admin_key");
                Err(match refused {
                    AdminRefused::Unknown => AdminError::Unauthorized,
                    AdminRefused::Forbidden => AdminError::Forbidden,
                })
            }
        }
    }

    /// Passes whoever reaches the group that the request names.
    pub(super) fn group<R: ConcernsGroup>(&self, request: Request<R>) -> Result<(Within, R), AdminError> {
        let (caller, call, request) = self.known(request)?;
        let trace = call.as_ref().and_then(CallTrace::passed);
        let group = group_of(caller.who(), request.named_group())?;
        // A group's own credential always finds its group: it was read from there.
        self.accounts.group(&group).ok_or(AdminError::NotFound)?;
        if let Some(call) = call {
            call.within(&group);
        }
        Ok((Within { caller, group, trace }, request))
    }

    /// Passes operators only.
    pub(super) fn operator<R>(&self, request: Request<R>) -> Result<(Operator, R), AdminError> {
        match self.caller(request)? {
            (caller, request) if *caller.who() == AdminCaller::Operator => Ok((Operator(caller), request)),
            _ => Err(AdminError::Forbidden),
        }
    }
}

/// The group of a call. An operator names it; the others bring their own, and naming any other is answered
/// as if that did not exist.
fn group_of(caller: &AdminCaller, named: &str) -> Result<GroupId, AdminError> {
    match caller.own_group() {
        None if named.is_empty() => {
            Err(AdminError::BadField { field: "group".into(), problem: "is missing".to_owned() })
        }
        None => GroupId::new(named).map_err(|_| AdminError::NotFound),
        Some(own) if named.is_empty() || named == own.as_str() => Ok(own.clone()),
        Some(_) => Err(AdminError::NotFound),
    }
}

/// The request ID of a call that changes something; none when the caller chose none.
pub(super) fn request_id<R: Changes>(request: &R) -> Result<Option<&str>, AdminError> {
    match request.request_id() {
        "" => Ok(None),
        id if id.len() > limits::REQUEST_ID_BYTES => Err(AdminError::BadField {
            field: "request_id".into(),
            problem: format!("is longer than {} bytes", limits::REQUEST_ID_BYTES),
        }),
        id => Ok(Some(id)),
    }
}

/// The credential of a call.
pub(super) fn bearer(metadata: &MetadataMap) -> Option<&str> {
    credential(metadata.get("authorization")?.to_str().ok()?)
}

/// The credential in the value of an `authorization` header.
pub(super) fn credential(header: &str) -> Option<&str> {
    let (scheme, key) = header.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::KeyId;

    #[test]
    fn a_group_key_reaches_its_own_group_only() {
        let own = GroupId::new("acme").unwrap();
        let key = AdminCaller::Key(own.clone(), KeyId::new("k1").unwrap());
        assert_eq!(group_of(&key, ""), Ok(own.clone()));
        assert_eq!(group_of(&key, "acme"), Ok(own));
        assert_eq!(group_of(&key, "other"), Err(AdminError::NotFound));
        assert_eq!(group_of(&key, "not a group"), Err(AdminError::NotFound));
    }

    #[test]
    fn an_operator_names_the_group() {
        let operator = AdminCaller::Operator;
        assert_eq!(group_of(&operator, "acme"), Ok(GroupId::new("acme").unwrap()));
        assert_eq!(group_of(&operator, "not a group"), Err(AdminError::NotFound));
        assert!(matches!(group_of(&operator, ""), Err(AdminError::BadField { .. })));
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
