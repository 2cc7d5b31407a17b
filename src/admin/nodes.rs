//! The processes of the server.

use super::gate::Operator;
use super::service::Service;
use super::status::AdminError;
use crate::pb::v1;

pub(super) async fn get_node(
    service: &Service,
    _operator: &Operator,
    _request: v1::GetNodeRequest,
) -> Result<v1::GetNodeResponse, AdminError> {
    Ok(v1::GetNodeResponse { node: Some(service.hub.node().await.into()) })
}

pub(super) async fn list_nodes(
    _service: &Service,
    _operator: &Operator,
    _request: v1::ListNodesRequest,
) -> Result<v1::ListNodesResponse, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn drain(
    _service: &Service,
    _operator: &Operator,
    _request: v1::DrainRequest,
) -> Result<v1::DrainResponse, AdminError> {
    Err(AdminError::Unavailable)
}
