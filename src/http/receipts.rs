//! `GET /v1/receipts/key?group=…`: what a group's consent receipts are verified with.
//!
//! Public: whoever holds a receipt may verify it, and needs no account for that. A group that does not exist
//! is answered like a path that does not.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use hyper::header::{CACHE_CONTROL, HeaderValue};
use serde_json::json;

use super::error::ApiError;
use super::routes::{PublicState, parameter};
use crate::auth::signing::ALGORITHM;
use crate::ids::GroupId;

/// Tells the key.
pub(super) async fn key(State(state): State<PublicState>, RawQuery(query): RawQuery) -> Response {
    // Names of groups are plain, so that nothing in one needs to be decoded.
    let named = GroupId::new(parameter(query.as_deref(), "group").unwrap_or_default());
    let Some(group) = named.ok().and_then(|group| state.accounts.group(&group)) else {
        return ApiError::not_found().respond();
    };
    let key = state.accounts.receipt_key(&group.id).public();
    let told = json!({
        "group": group.id,
        "keyId": key.id(),
        "algorithm": ALGORITHM,
        "publicKey": key.to_string(),
    });
    let mut response = Json(told).into_response();
    // It may change with the master secret, and is asked for seldom.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
