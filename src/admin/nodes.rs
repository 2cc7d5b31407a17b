//! The processes of the server.

use std::time::Duration;

use super::convert::timestamp;
use super::gate::Operator;
use super::service::Service;
use super::status::AdminError;
use super::{NodeRow, bad};
use crate::clock::{Wall, wall};
use crate::limits;
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

pub(super) async fn set_log_filter(
    service: &Service,
    _operator: &Operator,
    request: v1::SetLogFilterRequest,
) -> Result<v1::SetLogFilterResponse, AdminError> {
    let (filter, time) = (request.filter.trim(), Duration::from_secs(request.seconds.into()));
    if filter.len() > limits::LOG_FILTER_BYTES {
        return Err(bad("filter", format!("is longer than {} bytes", limits::LOG_FILTER_BYTES)));
    }
    if time > limits::LOG_HOLD {
        return Err(bad("seconds", format!("is more than {}", limits::LOG_HOLD.as_secs())));
    }
    if filter.is_empty() && !time.is_zero() {
        return Err(bad("seconds", "the filter of the settings holds for good"));
    }
    let time = (!time.is_zero()).then_some(time);
    let row = service.hub.set_log_filter((!filter.is_empty()).then_some(filter), time)?;
    let until = time.map(|time| timestamp(Wall(wall().0 + time.as_millis() as u64)));
    Ok(v1::SetLogFilterResponse { filter: row.filter, configured: row.configured, until })
}
