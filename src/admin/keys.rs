//! The API keys of a group.

use super::bad;
use super::convert::api_key_message;
use super::gate::Within;
use super::service::Service;
use super::status::AdminError;
use crate::ids::KeyId;
use crate::pb::v1;

pub(super) async fn create_api_key(
    service: &Service,
    within: &Within,
    request: v1::CreateApiKeyRequest,
) -> Result<v1::CreateApiKeyResponse, AdminError> {
    let v1::CreateApiKeyRequest { group: _, label, request_id } = request;
    let accounts = &service.accounts;
    let made = if request_id.is_empty() {
        accounts.create_api_key(within.group(), &label).await?
    } else {
        accounts.create_api_key_for(within.group(), &label, within.caller().who(), &request_id).await?
    };
    Ok(v1::CreateApiKeyResponse {
        api_key: Some(api_key_message(made.row)),
        secret: made.secret.expose().to_owned(),
    })
}

pub(super) async fn list_api_keys(
    service: &Service,
    within: &Within,
    _request: v1::ListApiKeysRequest,
) -> Result<v1::ListApiKeysResponse, AdminError> {
    let rows = service.accounts.api_keys(within.group()).await?;
    Ok(v1::ListApiKeysResponse { api_keys: rows.into_iter().map(api_key_message).collect() })
}

pub(super) async fn revoke_api_key(
    service: &Service,
    within: &Within,
    request: v1::RevokeApiKeyRequest,
) -> Result<v1::RevokeApiKeyResponse, AdminError> {
    let id = KeyId::new(&request.key_id).map_err(|error| bad("key_id", error))?;
    if !service.accounts.revoke_api_key(within.group(), &id).await? {
        return Err(AdminError::NotFound);
    }
    let rows = service.accounts.api_keys(within.group()).await?;
    let row = rows.into_iter().find(|row| row.id == id).ok_or(AdminError::NotFound)?;
    Ok(v1::RevokeApiKeyResponse { api_key: Some(api_key_message(row)) })
}
