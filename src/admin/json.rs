//! The service as JSON over HTTP, for the pages of admins: `POST /v1/admin/{Method}`.
//!
//! Decides how a call travels, nothing of what it does: JSON by protobuf's own mapping goes in, the very
//! service that gRPC clients call answers, and its status becomes an HTTP error. Open to agents only: keys have
//! no business in a browser. Which groups they reach is said by the gate, as for everybody.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{Request, StatusCode};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::json;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::AdminService;
use super::gate::credential;
use super::status::{AdminError, Details, details_of};
use super::traced::{Door, TRACEPARENT};
use crate::hub::accounts::{AdminCaller, AdminRefused};
use crate::limits;
use crate::model::settings::Audience;
use crate::pb;

/// The service as described in the proto files.
const SERVICE: &str = "porchlight.v1.Admin";

/// The length of a gRPC message's prefix: one byte for compression, four for the length.
const PREFIX: usize = 5;

impl AdminService {
    /// The paths of the door.
    pub fn json_door(&self) -> Router {
        Router::new().route("/v1/admin/{method}", post(call)).with_state(self.clone())
    }

    /// Passes an agent who is an admin, on a page that its group knows. Asked before anything else is looked
    /// at, so that nobody else learns which calls there are.
    fn at_the_door(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let bearer = headers.get(AUTHORIZATION).and_then(|header| credential(header.to_str().ok()?));
        let verified = bearer.map(|token| self.accounts().verify_admin(token));
        let agent = match verified {
            Some(Ok(AdminCaller::Agent(agent))) => agent,
            Some(Err(AdminRefused::Forbidden)) => {
                self.meters().refusal("admin_key");
                return Err(Refused::from(&Status::from(AdminError::Forbidden)));
            }
            _ => {
                self.meters().refusal("admin_key");
                let message = "a valid agent token is needed";
                return Err(Refused::new(StatusCode::UNAUTHORIZED, "unauthorized", message));
            }
        };
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let known = self.accounts().group(&agent.group).is_some_and(|group| {
            origin.to_str().is_ok_and(|origin| group.settings.origin_allowed(Audience::Agent, origin))
        });
        if known {
            Ok(())
        } else {
            self.meters().refusal("origin");
            Err(Refused::new(StatusCode::FORBIDDEN, "forbidden", "pages of this origin may not ask here"))
        }
    }
}

async fn call(
    State(service): State<AdminService>,
    Path(method): Path<String>,
    request: Request<Body>,
) -> Response {
    let answer = tokio::time::timeout(limits::ADMIN_CALL, answer(&service, &method, request)).await;
    let late = || Refused::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "the call took too long");
    match answer.unwrap_or_else(|_| Err(late())) {
        Ok(body) => no_store((StatusCode::OK, axum::Json(body)).into_response()),
        Err(refused) => refused.respond(),
    }
}

async fn answer(
    service: &AdminService,
    method: &str,
    request: Request<Body>,
) -> Result<serde_json::Value, Refused> {
    let (head, body) = request.into_parts();
    service.at_the_door(&head.headers)?;
    let Some(method) = method_of(method) else {
        return Err(Refused::new(StatusCode::NOT_FOUND, "not_found", "there is no such call"));
    };
    if method.is_server_streaming() || method.is_client_streaming() {
        let status = StatusCode::NOT_IMPLEMENTED;
        return Err(Refused::new(status, "unsupported", "this call streams, which only gRPC does"));
    }
    // A page can send JSON to another origin only after asking, and nobody is told yes here.
    if !is_json(&head.headers) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Refused::new(status, "bad_message", "the body must be application/json"));
    }
    let body = Limited::new(body, limits::ADMIN_MESSAGE).collect().await.map_err(|_| {
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "bad_message", "the body is too large or broken")
    })?;
    let message = message_of(&method, &body.to_bytes())?;
    let answer = through(service, &method, &message, &head.headers).await?;
    Ok(pb::dynamic_json(&answer))
}

fn method_of(name: &str) -> Option<MethodDescriptor> {
    let service = pb::descriptors().get_service_by_name(SERVICE)?;
    service.methods().find(|method| method.name() == name)
}

fn is_json(headers: &HeaderMap) -> bool {
    let sent = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    sent.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json")
}

/// The request as the proto files describe it; a field they don't know is an error.
fn message_of(method: &MethodDescriptor, json: &[u8]) -> Result<DynamicMessage, Refused> {
    let mut json = serde_json::Deserializer::from_slice(json);
    DynamicMessage::deserialize(method.input(), &mut json)
        .and_then(|message| json.end().map(|()| message))
        .map_err(|error| {
            let kind = method.input().name().to_owned();
            Refused::new(StatusCode::BAD_REQUEST, "bad_message", format!("the body is no {kind}: {error}"))
        })
}

/// One call of the gRPC service within the process.
async fn through(
    service: &AdminService,
    method: &MethodDescriptor,
    message: &DynamicMessage,
    headers: &HeaderMap,
) -> Result<DynamicMessage, Refused> {
    let mut request = Request::post(format!("/{SERVICE}/{}", method.name()))
        .header(CONTENT_TYPE, "application/grpc")
        .body(Full::new(framed(message)))
        .expect("names of calls are paths");
    for name in [AUTHORIZATION, HeaderName::from_static(TRACEPARENT)] {
        if let Some(value) = headers.get(&name) {
            request.headers_mut().insert(name, value.clone());
        }
    }
    let Ok(response) = service.grpc(Door::Json).oneshot(request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|status| Refused::from(&status))?;
    let status =
        body.trailers().and_then(Status::from_header_map).or_else(|| Status::from_header_map(&head.headers));
    if let Some(status) = status.filter(|status| status.code() != Code::Ok) {
        return Err(Refused::from(&status));
    }
    let mut bytes = body.to_bytes();
    bytes.advance(PREFIX.min(bytes.len()));
    Ok(DynamicMessage::decode(method.output(), bytes).expect("the service answers with its own type"))
}

fn framed(message: &DynamicMessage) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).expect("the body's limit is far below 4 GiB"));
    message.encode(&mut frame).expect("there is room for the message");
    frame.freeze()
}

/// A refusal, as every HTTP error of this server looks, with what the service adds.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    code: String,
    message: String,
    details: Box<Details>,
}

impl Refused {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into(), details: Box::default() }
    }

    fn respond(self) -> Response {
        let Details { metadata, violations, .. } = *self.details;
        let id = uuid::Uuid::now_v7();
        tracing::debug!(request = %id, status = self.status.as_u16(), code = self.code, "refused a call");
        let mut error = json!({ "code": self.code, "message": self.message, "requestId": id });
        if !violations.is_empty() {
            let told = violations.iter().map(|(field, message)| json!({"field": field, "message": message}));
            error["violations"] = told.collect();
        }
        if !metadata.is_empty() {
            error["metadata"] = json!(metadata);
        }
        let mut response = no_store((self.status, axum::Json(json!({ "error": error }))).into_response());
        let id = HeaderValue::from_str(&id.to_string()).expect("a UUID is visible ASCII");
        response.headers_mut().insert("x-request-id", id);
        response
    }
}

impl From<&Status> for Refused {
    /// The HTTP status of a gRPC code, by the mapping of google.rpc.Code.
    fn from(status: &Status) -> Self {
        let http = match status.code() {
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::Aborted | Code::AlreadyExists => StatusCode::CONFLICT,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let details = details_of(status);
        // Without details it is the gRPC layer itself that refused, and the fault is here.
        let code = details.as_ref().map_or_else(|| "internal".to_owned(), |told| told.reason.to_lowercase());
        let message = status.message().to_owned();
        Self { status: http, code, message, details: Box::new(details.unwrap_or_default()) }
    }
}

fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
