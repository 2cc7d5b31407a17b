//! A span for each call of an operator, which goes on with the trace that its caller names in `traceparent`.
//!
//! Decides what of a call is told: its name, the door it came by, its group and how it went. Neither who called nor what
//! was said. The gate begins the span, so that whoever has no credential fills no collector and decides over no sampling.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::body::{Body, Frame, SizeHint};
use hyper::{Request, Response};
use parking_lot::Mutex;
use tonic::server::NamedService;
use tonic::{Code, Status};

use super::service::Service;
use super::status::reason_of;
use crate::ids::GroupId;
use crate::pb::v1::admin_server::AdminServer;
use crate::telemetry::{Parent, Span, Traces};

/// The header, and the metadata of gRPC, that names the caller's span (W3C Trace Context).
pub(super) const TRACEPARENT: &str = "traceparent";

/// How a call came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Grpc,
    Json,
}

impl Door {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Json => "json",
        }
    }
}

/// The trace of one call, which travels with it to the gate.
#[derive(Clone)]
pub(super) struct CallTrace(Arc<Mutex<State>>);

struct State {
    traces: Traces,
    door: Door,
    method: String,
    parent: Option<Parent>,
    span: Option<Span>,
}

impl CallTrace {
    fn of<B>(traces: &Traces, door: Door, request: &Request<B>) -> Self {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let named = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok());
        let parent = named.and_then(Parent::parse);
        Self(Arc::new(Mutex::new(State { traces: traces.clone(), door, method, parent, span: None })))
    }

    /// The caller's credential is good: the span begins. What others name to be linked to it.
    pub(super) fn passed(&self) -> Option<Parent> {
        let mut state = self.0.lock();
        let method = std::mem::take(&mut state.method);
        let mut span = state.traces.begin(method, state.parent);
        span.tell("porchlight.door", state.door.as_str());
        let named = span.parent();
        state.span = Some(span);
        named
    }

    /// It concerns this group, which is there and in the caller's reach.
    pub(super) fn within(&self, group: &GroupId) {
        if let Some(span) = &mut self.0.lock().span {
            span.tell("porchlight.group", group);
        }
    }

    fn ended(&self, outcome: &str, failed: bool) {
        if let Some(mut span) = self.0.lock().span.take() {
            span.tell("porchlight.outcome", outcome);
            if failed {
                span.fail("the call failed");
            }
        }
    }

    fn answered(&self, status: &Status) {
        let outcome = match status.code() {
            Code::Ok => "ok".to_owned(),
            code => reason_of(status).unwrap_or_else(|| format!("{code:?}")).to_lowercase(),
        };
        let failed = matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss);
        self.ended(&outcome, failed);
    }
}

/// Ends the span with the call, however that ends.
struct Ending(CallTrace);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.ended("cancelled", false);
    }
}

/// The service with a span around each call.
#[derive(Clone)]
pub(super) struct Traced {
    pub(super) service: AdminServer<Service>,
    pub(super) traces: Traces,
    pub(super) door: Door,
}

impl NamedService for Traced {
    const NAME: &'static str = <AdminServer<Service> as NamedService>::NAME;
}

impl<B> tower::Service<Request<B>> for Traced
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if !self.traces.are_sent() {
            return self.service.call(request);
        }
        let trace = CallTrace::of(&self.traces, self.door, &request);
        request.extensions_mut().insert(trace.clone());
        let (ending, answering) = (Ending(trace), self.service.call(request));
        Box::pin(async move {
            let response = answering.await?;
            // A refusal is all in the head.
            if let Some(status) = Status::from_header_map(response.headers()) {
                ending.0.answered(&status);
            }
            Ok(response.map(|body| tonic::body::Body::new(Answer { body, ending })))
        })
    }
}

/// What is answered, whose end says how the call went.
struct Answer {
    body: tonic::body::Body,
    ending: Ending,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(status) = frame.trailers_ref().and_then(Status::from_header_map)
        {
            self.ending.0.answered(&status);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
