//! Which path leads where on the public listener.
//!
//! Decides paths only; assets, sign-in and health answer. The three socket paths never come here.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::{get, post};
use hyper::HeaderMap;

use super::assets::{self, Use};
use super::auth;
use super::error::ApiError;
use super::health::Health;
use super::receipts;
use crate::hub::accounts::Accounts;
use crate::model::origin::Origin;
use crate::telemetry::Meters;

/// The scripts that sites name in their pages. They lie at the root, and again below `/v1/`, which pins
/// the wire contract they speak.
const SCRIPTS: [&str; 5] = ["porchlight.js", "agent.js", "share.js", "view.js", "terms.js"];

/// Folders of modules that the scripts import relative to themselves.
const MODULES: [&str; 3] = ["lib", "share", "view"];

/// Pages around that page, one in another. Consoles of CRMs have two or three.
const AROUND: usize = 8;

/// What the public routes need.
#[derive(Clone)]
pub struct PublicState {
    /// For the probes of load balancers.
    pub health: Arc<Health>,
    /// Who may sign in.
    pub accounts: Arc<Accounts>,
    /// What is counted.
    pub meters: Arc<Meters>,
    /// Whether the demo pages are served.
    pub demo: bool,
}

/// Every path of the public listener but the sockets.
pub fn public_router(state: PublicState) -> Router {
    let mut router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/v1/auth/agent", post(auth::sign_in).options(auth::preflight))
        .route("/v1/receipts/key", get(receipts::key))
        .route("/web/{*path}", get(web))
        .route("/s/{session}", get(|headers: HeaderMap| async move { page("session", "index", &headers) }))
        .route("/join", get(|headers: HeaderMap| async move { page("join", "index", &headers) }))
        .route("/at/{address}", get(|headers: HeaderMap| async move { page("join", "index", &headers) }))
        .route("/settings", get(|headers: HeaderMap| async move { page("settings", "index", &headers) }))
        .route("/replay", get(replay))
        .route("/history", get(|headers: HeaderMap| async move { page("history", "index", &headers) }));
    for script in SCRIPTS {
        let serve = move |RawQuery(query): RawQuery, headers: HeaderMap| async move {
            assets::serve(script, Use::Shared, version(query.as_deref()), &headers)
        };
        router = router.route(&format!("/{script}"), get(serve)).route(&format!("/v1/{script}"), get(serve));
    }
    for folder in MODULES {
        let serve = move |Path(path): Path<String>, RawQuery(query): RawQuery, headers: HeaderMap| async move {
            assets::serve(&format!("{folder}/{path}"), Use::Shared, version(query.as_deref()), &headers)
        };
        router = router
            .route(&format!("/{folder}/{{*path}}"), get(serve))
            .route(&format!("/v1/{folder}/{{*path}}"), get(serve));
    }
    if state.demo {
        router =
            router
                .route("/demo/site", get(|headers: HeaderMap| async move { page("site", "index", &headers) }))
                .route(
                    "/demo/site/",
                    get(|headers: HeaderMap| async move { page("site", "index", &headers) }),
                )
                .route(
                    "/demo/site/{page}",
                    get(|Path(name): Path<String>, headers: HeaderMap| async move {
                        page("site", &name, &headers)
                    }),
                )
                .route(
                    "/demo/agent",
                    get(|headers: HeaderMap| async move { page("agent", "index", &headers) }),
                );
    }
    router
        .fallback(|| async { ApiError::not_found() })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .with_state(state)
}

async fn livez(State(state): State<PublicState>) -> Response {
    state.health.livez()
}

async fn readyz(State(state): State<PublicState>, RawQuery(query): RawQuery) -> Response {
    state.health.readyz(wants_detail(query.as_deref()))
}

async fn web(Path(path): Path<String>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    assets::serve(&path, Use::Shared, version(query.as_deref()), &headers)
}

/// A page of our own; its name may or may not end in `.html`.
fn page(folder: &str, name: &str, headers: &HeaderMap) -> Response {
    let name = name.strip_suffix(".html").unwrap_or(name);
    assets::serve(&format!("pages/{folder}/{name}.html"), Use::Page, None, headers)
}

/// What stands in a viewer's page and shows the page of a visitor. `in` names the pages around it, which it may stand in
/// if agents may connect from there; whoever names others than are around it is refused by the browser.
async fn replay(State(state): State<PublicState>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let named = parameter(query.as_deref(), "in").unwrap_or_default();
    let known = named
        .split(',')
        .take(AROUND)
        .filter(|origin| auth::origin_known(&state.accounts, auth::AGENTS, origin));
    let around: Vec<Origin<'_>> = known.filter_map(Origin::parse).collect();
    assets::serve("pages/replay/index.html", Use::Replay(&around), None, &headers)
}

/// Whether a probe asks for the parts one by one.
pub(super) fn wants_detail(query: Option<&str>) -> bool {
    parameter(query, "verbose").is_some_and(|value| value != "false" && value != "0")
}

/// The version an address asks for.
fn version(query: Option<&str>) -> Option<&str> {
    parameter(query, "v")
}

/// The first value of a parameter that needs no decoding; empty when it has none.
pub(super) fn parameter<'q>(query: Option<&'q str>, wanted: &str) -> Option<&'q str> {
    query?.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == wanted).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::secret::MasterSecret;
    use crate::clock::Clock;
    use crate::store::sqlite::SqliteStore;
    use axum::body::Body;
    use tower::ServiceExt as _;

    #[test]
    fn parameters_are_found() {
        assert_eq!(version(Some("a=1&v=abc")), Some("abc"));
        assert_eq!(version(Some("vv=abc")), None);
        assert_eq!(version(None), None);
        assert!(wants_detail(Some("verbose")));
        assert!(wants_detail(Some("verbose=1")));
        assert!(!wants_detail(Some("verbose=0")));
        assert!(!wants_detail(Some("v")));
    }

    async fn status(demo: bool, path: &str) -> u16 {
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let master = MasterSecret::from_bytes([4; 32]);
        let accounts = Arc::new(Accounts::open(store, master, Clock::start()).await.unwrap());
        let (meters, _) = Meters::new();
        let router = public_router(PublicState { health: Arc::default(), accounts, meters, demo });
        let request = hyper::Request::get(path).body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn the_paths_of_the_contract_lead_somewhere() {
        for path in [
            "/livez",
            "/readyz?verbose",
            "/porchlight.js",
            "/agent.js",
            "/v1/porchlight.js",
            "/lib/socket.js",
            "/v1/lib/socket.js",
            "/web/lib/socket.js",
            "/web/style/base.css",
            "/settings",
            "/history",
            "/join",
            "/join?group=demo",
            "/replay",
            "/at/alice?group=demo",
            "/s/00000000-0000-0000-0000-000000000000",
            "/demo/site",
            "/demo/site/cart.html",
            "/demo/agent",
        ] {
            assert_eq!(status(true, path).await, 200, "{path}");
        }
        for path in
            ["/", "/web/package.json", "/web/types.d.ts", "/web/%2e%2e/Cargo.toml", "/demo/site/x.html"]
        {
            assert_eq!(status(true, path).await, 404, "{path}");
        }
    }

    #[tokio::test]
    async fn the_demo_is_there_only_when_it_is_on() {
        for path in ["/demo/site", "/demo/site/cart.html", "/demo/agent"] {
            assert_eq!(status(false, path).await, 404, "{path}");
        }
        for path in ["/settings", "/history", "/join"] {
            assert_eq!(status(false, path).await, 200, "{path} is no demo");
        }
    }
}
