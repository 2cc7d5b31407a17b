//! Errors over HTTP: a status and one JSON shape for all of them.
//!
//! Decides the shape and nothing else. Every handler answers refusals with an [`ApiError`].

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::json;
use uuid::Uuid;

use crate::limits;

/// Names one request in the answer and in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A refusal: `{"error":{"code","message","requestId"}}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// For machines, in the words of the close table where they fit.
    pub code: &'static str,
    /// For people; never holds a secret or what the caller sent.
    pub message: &'static str,
    /// When to come back, if at all.
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// A refusal that waiting does not mend.
    pub const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message, retry_after: None }
    }

    /// The request can't be read.
    pub const fn bad_message(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_message", message)
    }

    /// There is nothing at this path.
    pub const fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
    }

    /// The path exists, the method does not.
    pub const fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
    }

    /// Its address has all the connections that one may have.
    pub const fn too_many_connections() -> Self {
        let message = "too many connections from one address";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).after(limits::COME_BACK)
    }

    /// The server can't do it now.
    pub const fn unavailable(message: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// The server failed; the log has the cause.
    pub const fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server could not do this")
    }

    /// The same refusal with a time to come back.
    #[must_use]
    pub const fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The refusal as a response. The request id is fresh and written to the log with it.
    pub fn respond(&self) -> Response<Body> {
        let id = Uuid::now_v7();
        tracing::debug!(request = %id, status = self.status.as_u16(), code = self.code, "refused a request");
        let body = json!({"error": {"code": self.code, "message": self.message, "requestId": id}});
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        let id = HeaderValue::from_str(&id.to_string()).expect("a UUID is visible ASCII");
        headers.insert(REQUEST_ID, id);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = self.retry_after {
            // Rounded up: a client that comes back a moment early is refused again.
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1000) as u64));
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.respond()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn the_shape_is_pinned() {
        let response = ApiError::unavailable("busy").after(Duration::from_millis(1500)).respond();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()["content-type"], "application/json");
        let id = response.headers()[REQUEST_ID].to_str().unwrap().to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, json!({"error": {"code": "unavailable", "message": "busy", "requestId": id}}));
    }
}
