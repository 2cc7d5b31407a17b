//! The ops listener: probes and scrapes.
//!
//! Serves what operators' machines ask and browsers must not. Built by `server`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::IntoResponse as _;
use axum::routing::get;
use hyper::header::CONTENT_TYPE;
use metrics_exporter_prometheus::PrometheusHandle;

use super::error::ApiError;
use super::health::Health;
use super::routes::wants_detail;

/// The content type of the Prometheus text format.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/livez`, `/readyz` and `/metrics`.
pub fn ops_router(health: Arc<Health>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/livez", get(|State(health): State<Arc<Health>>| async move { health.livez() }))
        .route(
            "/readyz",
            get(|State(health): State<Arc<Health>>, RawQuery(query): RawQuery| async move {
                health.readyz(wants_detail(query.as_deref()))
            }),
        )
        .route(
            "/metrics",
            get(move || async move { ([(CONTENT_TYPE, PROMETHEUS_TEXT)], metrics.render()).into_response() }),
        )
        .fallback(|| async { ApiError::not_found() })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .with_state(health)
}
