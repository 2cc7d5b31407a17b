//! Sessions: which there are, and their end.

use super::gate::Within;
use super::service::Service;
use super::status::AdminError;
use super::{Ended, bad};
use crate::ids::{SessionId, VisitorId};
use crate::pb::v1;
use futures_util::stream::BoxStream;

pub(super) async fn list_sessions(
    service: &Service,
    within: &Within,
    request: v1::ListSessionsRequest,
) -> Result<v1::ListSessionsResponse, AdminError> {
    let visitor = match request.visitor_id.as_str() {
        "" => None,
        text => Some(VisitorId::new(text).map_err(|error| bad("visitor_id", error))?),
    };
    let sessions = service.hub.list_sessions(within.group(), visitor.as_ref()).await?;
    Ok(v1::ListSessionsResponse { sessions: sessions.into_iter().map(Into::into).collect() })
}

pub(super) async fn get_session(
    _service: &Service,
    _within: &Within,
    _request: v1::GetSessionRequest,
) -> Result<v1::GetSessionResponse, AdminError> {
    Err(AdminError::Unavailable)
}

pub(super) async fn end_session(
    service: &Service,
    within: &Within,
    request: v1::EndSessionRequest,
) -> Result<v1::EndSessionResponse, AdminError> {
    let session = SessionId::parse(&request.session_id).map_err(|_| bad("session_id", "is no UUID"))?;
    let ended = service.hub.end_session(within.group(), session).await?;
    Ok(v1::EndSessionResponse { ended_now: ended == Ended::Now })
}

pub(super) async fn watch_sessions(
    _service: &Service,
    _within: &Within,
    _request: v1::WatchSessionsRequest,
) -> Result<BoxStream<'static, v1::WatchSessionsResponse>, AdminError> {
    Err(AdminError::Unavailable)
}
