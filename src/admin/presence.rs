//! Visitors: who is here, and what may be told to them.

use super::gate::Within;
use super::service::Service;
use super::status::AdminError;
use super::{SignalRow, VisitorFilter, bad, convert};
use crate::hub::accounts::AdminCaller;
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
    service: &Service,
    within: &Within,
    request: v1::WatchPresenceRequest,
) -> Result<BoxStream<'static, v1::WatchPresenceResponse>, AdminError> {
    let visitors = visitor_ids(&request.visitor_ids)?;
    let words = service.hub.watch_presence(within.group(), &visitors).await?;
    Ok(words.map(|row| v1::WatchPresenceResponse { visitor: Some(row.into()) }).boxed())
}

pub(super) async fn signal_visitor(
    service: &Service,
    within: &Within,
    request: v1::SignalVisitorRequest,
) -> Result<v1::SignalVisitorResponse, AdminError> {
    let visitor = visitor_id(&request.visitor_id)?;
    let data = request.data.map(convert::json_object).transpose().map_err(|error| bad("data", error))?;
    let signal = SignalRow { name: request.name, data, from: sender(service, within) };
    let delivery = service.hub.signal_visitor(within.group(), &visitor, signal).await?;
    Ok(v1::SignalVisitorResponse { delivery: v1::SignalDelivery::from(delivery).into() })
}

/// Who a signal comes from, as the visitor's page is told: an agent by its name; a back end or an operator
/// speaks for the company, and no key's name leaves the server.
fn sender(service: &Service, within: &Within) -> String {
    let agent = match within.caller().who() {
        AdminCaller::Agent(key) => service.accounts.member(key),
        AdminCaller::Operator | AdminCaller::Key(..) => None,
    };
    agent.map_or_else(|| within.group().to_string(), |member| member.name.to_string())
}

pub(super) async fn disconnect_visitor(
    service: &Service,
    within: &Within,
    request: v1::DisconnectVisitorRequest,
) -> Result<v1::DisconnectVisitorResponse, AdminError> {
    let visitor = visitor_id(&request.visitor_id)?;
    let connections = service.hub.disconnect_visitor(within.group(), &visitor).await?;
    Ok(v1::DisconnectVisitorResponse { connections })
}

fn visitor_id(text: &str) -> Result<VisitorId, AdminError> {
    VisitorId::new(text).map_err(|error| bad("visitor_id", error))
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
