//! The calls of `porchlight.v1.Admin`: check the key, read the request, ask the hub, tell the answer.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status};

use super::gate::Gate;
use super::status::AdminError;
use super::{AdminHub, Ended, VisitorFilter, convert};
use crate::ids::{SessionId, VisitorId};
use crate::limits;
use crate::pb::v1;
use crate::pb::v1::admin_server::Admin;

/// The service over a hub.
pub(super) struct Service {
    pub(super) gate: Gate,
    pub(super) hub: Arc<dyn AdminHub>,
}

fn bad(field: &'static str, problem: impl ToString) -> AdminError {
    AdminError::BadField { field, problem: problem.to_string() }
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

#[tonic::async_trait]
impl Admin for Service {
    async fn lookup_visitors(
        &self,
        request: Request<v1::LookupVisitorsRequest>,
    ) -> Result<Response<v1::LookupVisitorsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let group = self.gate.group(&metadata, &request.group)?;
        let visitors = self.hub.lookup_visitors(&group, &visitor_ids(&request.visitor_ids)?).await?;
        let visitors = visitors.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::LookupVisitorsResponse { visitors }))
    }

    type ListVisitorsStream = BoxStream<'static, Result<v1::ListVisitorsResponse, Status>>;

    async fn list_visitors(
        &self,
        request: Request<v1::ListVisitorsRequest>,
    ) -> Result<Response<Self::ListVisitorsStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        let states = request.states().filter_map(convert::asked_state).collect();
        let group = self.gate.group(&metadata, &request.group)?;
        let filter = VisitorFilter { states, page_contains: request.page_contains };
        let visitors = self.hub.list_visitors(&group, filter).await?;
        let answers = visitors.map(|row| Ok(v1::ListVisitorsResponse { visitor: Some(row.into()) }));
        Ok(Response::new(answers.boxed()))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let group = self.gate.group(&metadata, &request.group)?;
        let visitor = match request.visitor_id.as_str() {
            "" => None,
            text => Some(VisitorId::new(text).map_err(|error| bad("visitor_id", error))?),
        };
        let sessions = self.hub.list_sessions(&group, visitor.as_ref()).await?;
        Ok(Response::new(v1::ListSessionsResponse {
            sessions: sessions.into_iter().map(Into::into).collect(),
        }))
    }

    async fn end_session(
        &self,
        request: Request<v1::EndSessionRequest>,
    ) -> Result<Response<v1::EndSessionResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        if request.request_id.len() > limits::REQUEST_ID_BYTES {
            return Err(
                bad("request_id", format!("is longer than {} bytes", limits::REQUEST_ID_BYTES)).into()
            );
        }
        let group = self.gate.group(&metadata, &request.group)?;
        let session = SessionId::parse(&request.session_id).map_err(|_| bad("session_id", "is no UUID"))?;
        let ended = self.hub.end_session(&group, session).await?;
        tracing::info!(
            target: "audit",
            call = "EndSession",
            %group,
            %session,
            // Quoted and escaped: it is the caller's text.
            request = ?request.request_id,
            ?ended,
        );
        Ok(Response::new(v1::EndSessionResponse { ended_now: ended == Ended::Now }))
    }

    async fn get_node(
        &self,
        request: Request<v1::GetNodeRequest>,
    ) -> Result<Response<v1::GetNodeResponse>, Status> {
        self.gate.operator(request.metadata())?;
        Ok(Response::new(v1::GetNodeResponse { node: Some(self.hub.node().await.into()) }))
    }
}
