//! Whether the process lives and whether it wants work.
//!
//! Alive means that it answers. Ready means that it is not draining and no part is down; a degraded
//! part (a store that is away while local work goes on) is told, but keeps the node in rotation. Asked
//! by probes through the public and the ops listener.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use hyper::StatusCode;
use parking_lot::RwLock;
use serde::Serialize;
use serde_json::json;

/// How a part is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "status", content = "detail", rename_all = "lowercase")]
pub enum PartState {
    /// It works.
    Ok,
    /// It works with losses; the sentence says which.
    Degraded(&'static str),
    /// It does not work; the sentence says why.
    Down(&'static str),
}

type Probe = Box<dyn Fn() -> PartState + Send + Sync>;

/// The parts that are asked, and whether the node drains.
#[derive(Default)]
pub struct Health {
    draining: AtomicBool,
    parts: RwLock<Vec<(&'static str, Probe)>>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").field("draining", &self.draining).finish_non_exhaustive()
    }
}

impl Health {
    /// Asks this part from now on. The probe is called for each request and must not wait.
    pub fn watch(&self, name: &'static str, probe: impl Fn() -> PartState + Send + Sync + 'static) {
        self.parts.write().push((name, Box::new(probe)));
    }

    /// Wants no more work, for good.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the node takes work.
    pub fn is_ready(&self) -> bool {
        self.summary() != "draining" && self.summary() != "down"
    }

    fn summary(&self) -> &'static str {
        if self.draining.load(Ordering::Relaxed) {
            return "draining";
        }
        let worst = self.parts.read().iter().map(|(_, probe)| probe()).max();
        match worst {
            None | Some(PartState::Ok) => "ok",
            Some(PartState::Degraded(_)) => "degraded",
            Some(PartState::Down(_)) => "down",
        }
    }

    /// The answer to `/livez`.
    pub fn livez(&self) -> Response {
        "ok".into_response()
    }

    /// The answer to `/readyz`; the parts one by one when asked for.
    pub fn readyz(&self, verbose: bool) -> Response {
        let summary = self.summary();
        let status = match summary {
            "ok" | "degraded" => StatusCode::OK,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        if !verbose {
            return (status, summary).into_response();
        }
        let parts: serde_json::Map<_, _> =
            self.parts.read().iter().map(|(name, probe)| ((*name).to_owned(), json!(probe()))).collect();
        (status, Json(json!({"status": summary, "parts": parts}))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    async fn ready(health: &Health, verbose: bool) -> (u16, String) {
        let response = health.readyz(verbose);
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_is_that_of_the_worst_part() {
        let health = Health::default();
        assert_eq!(ready(&health, false).await, (200, "ok".into()));
        health.watch("store", || PartState::Ok);
        health.watch("bus", || PartState::Degraded("remote presence is unknown"));
        assert_eq!(ready(&health, false).await, (200, "degraded".into()));
        let (status, body) = ready(&health, true).await;
        assert_eq!(status, 200);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&body).unwrap(),
            json!({"status": "degraded", "parts": {
                "store": {"status": "ok"},
                "bus": {"status": "degraded", "detail": "remote presence is unknown"},
            }})
        );
        health.watch("disk", || PartState::Down("full"));
        assert_eq!(ready(&health, false).await.0, 503);
        assert!(!health.is_ready());
    }

    #[tokio::test]
    async fn a_draining_node_is_alive_but_not_ready() {
        let health = Health::default();
        health.drain();
        assert_eq!(ready(&health, false).await, (503, "draining".into()));
        assert_eq!(health.livez().status(), 200);
    }
}
