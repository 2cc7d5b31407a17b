//! Visitors: who is here, and what may be told to them.

use super::gate::Within;
use super::service::Service;
use super::status::AdminError;
use super::{VisitorFilter, bad, convert};
use crate::ids::VisitorId;
use crate::limits;
use crate::pb::v1;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

pub(super) async fn lookup_visitors(
    service: &Service,
    within: &Within,
    request: v1::LookupVisitorsRequest,
) -> Result<v1::LookupVisitorsResponse, AdminError> {
    let visitors = service.hub.lookup_visitors(within.group(), &visitor_ids(&request.visitor_ids)?).await?;
    Ok(v1::LookupVisitorsResponse { visitors: visitors.into_iter().map(Into::into).collect() })
}

pub(super) async fn list_visitors(
    service: &Service,
    within: &Within,
    request: v1::ListVisitorsRequest,
) -> Result<BoxStream<'static, v1::ListVisitorsResponse>, AdminError> {
    let states = request.states().filter_map(convert::asked_state).collect();
    let filter = VisitorFilter { states, page_contains: request.page_contains };
    let visitors = service.hub.list_visitors(within.group(), filter).await?;
    Ok(visitors.map(|row| v1::ListVisitorsResponse { visitor: Some(row.into()) }).boxed())
}

pub(super) async fn watch_presence(
    _service: &Service,
    _within: &Within,
    _request: v1::WatchPresenceRequest,
) -> Result<BoxStream<'static, v1::WatchPresenceResponse>, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn signal_visitor(
    _service: &Service,
    _within: &Within,
    _request: v1::SignalVisitorRequest,
) -> Result<v1::SignalVisitorResponse, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn disconnect_visitor(
    _service: &Service,
    _within: &Within,
    _request: v1::DisconnectVisitorRequest,
) -> Result<v1::DisconnectVisitorResponse, AdminError> {
    Err(AdminError::Unavailable)
}

fn visitor_ids(texts: &[String]) -> Result<Vec<VisitorId>, AdminError> {
    if texts.len() > limits::WATCHED {
        return Err(bad(
            "visitor_ids",
            format!("are {}, at most {} are taken", texts.len(), limits::WATCHED),
        ));
    }
    texts.iter().map(|text| VisitorId::new(text).map_err(|error| bad("visitor_ids", error))).collect()
}
