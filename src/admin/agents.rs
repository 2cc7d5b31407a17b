//! The agents of a group, their permissions and credentials.

use super::gate::Within;
use super::service::Service;
use super::status::AdminError;
use crate::pb::v1;

pub(super) async fn upsert_agent(
    _service: &Service,
    _within: &Within,
    _request: v1::UpsertAgentRequest,
) -> Result<v1::UpsertAgentResponse, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn list_agents(
    _service: &Service,
    _within: &Within,
    _request: v1::ListAgentsRequest,
) -> Result<v1::ListAgentsResponse, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn delete_agent(
    _service: &Service,
    _within: &Within,
    _request: v1::DeleteAgentRequest,
) -> Result<v1::DeleteAgentResponse, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn set_permissions(
    _service: &Service,
    _within: &Within,
    _request: v1::SetPermissionsRequest,
) -> Result<v1::SetPermissionsResponse, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn list_associated_users(
    _service: &Service,
    _within: &Within,
    _request: v1::ListAssociatedUsersRequest,
) -> Result<v1::ListAssociatedUsersResponse, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn remove_association(
    _service: &Service,
    _within: &Within,
    _request: v1::RemoveAssociationRequest,
) -> Result<v1::RemoveAssociationResponse, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn revoke_tokens(
    _service: &Service,
    _within: &Within,
    _request: v1::RevokeTokensRequest,
) -> Result<v1::RevokeTokensResponse, AdminError> {
    Err(AdminError::Unavailable)
}
