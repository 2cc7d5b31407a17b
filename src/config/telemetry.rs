//! Where traces go.
//!
//! Decides whether a collector can be told anything by these settings; whether it is there, its connection finds out.

use serde::{Deserialize, Serialize};

use super::Violation;
use crate::telemetry::HAS_TRACES;

/// Section `[telemetry]`: what is told to collectors. Metrics are not here: they are read from the ops listener.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// A collector of OpenTelemetry.
    pub otlp: Otlp,
}

/// Section `[telemetry.otlp]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Otlp {
    /// The collector that takes traces by OTLP over gRPC, `http://127.0.0.1:4317`; with `https://` its certificate must
    /// lead to a well-known root. Absent: no traces are made. Needs a server built with the feature `otel`.
    pub endpoint: Option<String>,
    /// Share of the traces that begin here and are sent, from 0 to 1. One that an agent's page began is sent if the page
    /// says so.
    pub sample: f64,
}

impl Default for Otlp {
    fn default() -> Self {
        Self { endpoint: None, sample: 1.0 }
    }
}

impl Telemetry {
    /// What is wrong with it.
    pub(super) fn check(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut require = |holds: bool, key, problem: &str| {
            if !holds {
                found.push(Violation { key, problem: problem.to_owned() });
            }
        };
        let endpoint = self.otlp.endpoint.as_deref();
        let key = "telemetry.otlp.endpoint";
        require(
            endpoint.is_none_or(is_address),
            key,
            "must be http:// or https://, a host and perhaps a port",
        );
        require(
            endpoint.is_none() || HAS_TRACES,
            key,
            "this binary was built without OpenTelemetry; build it with --features otel, or leave this out",
        );
        let share = (0.0..=1.0).contains(&self.otlp.sample);
        require(share, "telemetry.otlp.sample", "must be from 0 to 1");
        found
    }
}

/// Whether it is a scheme, a host and perhaps a port; who is asked for a password is told by the environment.
fn is_address(text: &str) -> bool {
    let Ok(uri) = text.parse::<axum::http::Uri>() else { return false };
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    scheme && authority && matches!(uri.path(), "" | "/") && uri.query().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(endpoint: Option<&str>, sample: f64) -> Vec<&'static str> {
        let telemetry = Telemetry { otlp: Otlp { endpoint: endpoint.map(str::to_owned), sample } };
        telemetry.check().into_iter().map(|violation| violation.key).collect()
    }

    #[test]
    fn without_a_collector_nothing_is_asked_for() {
        assert!(keys(None, 1.0).is_empty());
        assert!(keys(None, 0.0).is_empty());
        for share in [-0.1, 1.1, f64::NAN] {
            assert_eq!(keys(None, share), ["telemetry.otlp.sample"]);
        }
    }

    #[test]
    fn a_collector_needs_a_binary_that_can_tell_it() {
        let missing = if HAS_TRACES { 0 } else { 1 };
        for good in ["http://127.0.0.1:4317", "https://collector.example", "http://[::1]:4317/"] {
            assert_eq!(keys(Some(good), 1.0).len(), missing, "{good}");
        }
        for bad in [
            "",
            "collector:4317",
            "ftp://collector",
            "http://",
            "http://a:b@c",
            "http://c/v1/traces",
            "http://c?x",
        ] {
            assert_eq!(keys(Some(bad), 1.0).len(), missing + 1, "{bad}");
        }
    }
}
