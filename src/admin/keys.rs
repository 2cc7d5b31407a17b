//! The API keys of a group.

use super::gate::Within;
use super::service::Service;
use super::status::AdminError;
use crate::pb::v1;

pub(super) async fn create_api_key(
    _service: &Service,
    _within: &Within,
    _request: v1::CreateApiKeyRequest,
) -> Result<v1::CreateApiKeyResponse, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn list_api_keys(
    _service: &Service,
    _within: &Within,
    _request: v1::ListApiKeysRequest,
) -> Result<v1::ListApiKeysResponse, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn revoke_api_key(
    _service: &Service,
    _within: &Within,
    _request: v1::RevokeApiKeyRequest,
) -> Result<v1::RevokeApiKeyResponse, AdminError> {
    Err(AdminError::Unavailable)
}
