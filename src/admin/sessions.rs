//! Sessions: which there are, how they change, and their end.

use super::convert::session_id;
use super::gate::Within;
use super::service::Service;
use super::status::AdminError;
use super::{Ended, bad};
use crate::ids::VisitorId;
use crate::pb::v1;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

pub(super) async fn list_sessions(
    service: &Service,
    within: &Within,
    request: v1::ListSessionsRequest,
) -> Result<v1::ListSessionsResponse, AdminError> {
    let visitor = named_visitor(&request.visitor_id)?;
    let sessions = service.hub.list_sessions(within.group(), visitor.as_ref()).await?;
    Ok(v1::ListSessionsResponse { sessions: sessions.into_iter().map(Into::into).collect() })
}

pub(super) async fn get_session(
    service: &Service,
    within: &Within,
    request: v1::GetSessionRequest,
) -> Result<v1::GetSessionResponse, AdminError> {
    let session = service.hub.session(within.group(), session_id(&request.session_id)?).await?;
    Ok(v1::GetSessionResponse { session: Some(session.into()) })
}

pub(super) async fn end_session(
    service: &Service,
    within: &Within,
    request: v1::EndSessionRequest,
) -> Result<v1::EndSessionResponse, AdminError> {
    let session = session_id(&request.session_id)?;
    let ended = service.hub.end_session(within.group(), session, within.trace()).await?;
    Ok(v1::EndSessionResponse { ended_now: ended == Ended::Now })
}

pub(super) async fn watch_sessions(
    service: &Service,
    within: &Within,
    request: v1::WatchSessionsRequest,
) -> Result<BoxStream<'static, v1::WatchSessionsResponse>, AdminError> {
    let visitor = named_visitor(&request.visitor_id)?;
    let words = service.hub.watch_sessions(within.group(), visitor.as_ref()).await?;
    Ok(words.map(|row| v1::WatchSessionsResponse { session: Some(row.into()) }).boxed())
}

/// A visitor that may be left out.
fn named_visitor(text: &str) -> Result<Option<VisitorId>, AdminError> {
    if text.is_empty() {
        return Ok(None);
    }
    VisitorId::new(text).map(Some).map_err(|error| bad("visitor_id", error))
}
