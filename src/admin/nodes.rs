//! The processes of the server.

use super::NodeRow;
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
    service: &Service,
    _operator: &Operator,
    _request: v1::ListNodesRequest,
) -> Result<v1::ListNodesResponse, AdminError> {
    let nodes = service.hub.nodes().await?;
    Ok(v1::ListNodesResponse { nodes: nodes.into_iter().map(Into::into).collect() })
}

pub(super) async fn drain(
    service: &Service,
    _operator: &Operator,
    _request: v1::DrainRequest,
) -> Result<v1::DrainResponse, AdminError> {
    let node = NodeRow { draining: true, ..service.hub.node().await };
    // A node that goes away finishes the calls that are open, this one first of all.
    service.hub.drain();
    Ok(v1::DrainResponse { node: Some(node.into()) })
}
