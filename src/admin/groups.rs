//! Groups and their settings.

use super::gate::{Caller, Operator, Within};
use super::service::Service;
use super::status::AdminError;
use crate::pb::v1;

pub(super) async fn create_group(
    _service: &Service,
    _operator: &Operator,
    _request: v1::CreateGroupRequest,
) -> Result<v1::CreateGroupResponse, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn list_groups(
    _service: &Service,
    _caller: &Caller,
    _request: v1::ListGroupsRequest,
) -> Result<v1::ListGroupsResponse, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn get_settings(
    _service: &Service,
    _within: &Within,
    _request: v1::GetSettingsRequest,
) -> Result<v1::GetSettingsResponse, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn update_settings(
    _service: &Service,
    _within: &Within,
    _request: v1::UpdateSettingsRequest,
) -> Result<v1::UpdateSettingsResponse, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn list_settings_changes(
    _service: &Service,
    _within: &Within,
    _request: v1::ListSettingsChangesRequest,
) -> Result<v1::ListSettingsChangesResponse, AdminError> {
    Err(AdminError::Unavailable)
}
