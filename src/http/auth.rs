//! `POST /v1/auth/agent`: an agent's password, login key or token for a fresh token.
//!
//! Decides how the request is read and how refusals look. Whether a credential is good, `hub::accounts`
//! says. Unknown, foreign and wrong get the same answer, byte for byte and in about the same time; a page
//! of an origin the group does not know is answered like a wrong password.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, HeaderMap,
    HeaderValue, ORIGIN, VARY,
};
use hyper::{Request, StatusCode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::Peer;
use super::error::ApiError;
use super::routes::PublicState;
use crate::auth::permissions::Permissions;
use crate::clock::Wall;
use crate::hub::accounts::{Accounts, Group, SignIn, SignInError, SignedIn};
use crate::ids::{AgentId, GroupId};
use crate::limits;
use crate::model::settings::Audience;
use crate::telemetry::Meters;

/// The body: one of three sets of fields. Never printed, it holds secrets.
#[derive(Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Credentials {
    LoginKey { group: GroupId, partner_user_id: String, login_key: String },
    Password { group: GroupId, address: String, password: String },
    Renew { token: String },
}

impl From<Credentials> for SignIn {
    fn from(credentials: Credentials) -> Self {
        match credentials {
            Credentials::LoginKey { group, partner_user_id, login_key } => {
                Self::LoginKey { group, partner_user_id, login_key: login_key.into() }
            }
            Credentials::Password { group, address, password } => {
                Self::Password { group, address, password: password.into() }
            }
            Credentials::Renew { token } => Self::Renew { token: token.into() },
        }
    }
}

/// The answer to a sign-in.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    token: String,
    expires_at: Wall,
    agent: AnsweredAgent,
}

/// The agent as `connected` tells it too.
#[derive(Serialize)]
struct AnsweredAgent {
    id: AgentId,
    name: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Arc<str>>,
    permissions: Permissions,
}

impl From<SignedIn> for Answer {
    fn from(signed: SignedIn) -> Self {
        let agent = signed.agent;
        Self {
            token: signed.token,
            expires_at: signed.expires_at,
            agent: AnsweredAgent {
                id: agent.agent,
                name: agent.name,
                profile: agent.profile,
                permissions: agent.permissions,
            },
        }
    }
}

/// Whose pages sign in.
pub(super) const AGENTS: &[Audience] = &[Audience::Agent];

const REFUSED: ApiError = ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "sign-in refused");

/// `POST /v1/auth/agent`.
pub(super) async fn sign_in(State(state): State<PublicState>, request: Request<Body>) -> Response {
    let begun = Instant::now();
    let origin = request.headers().get(ORIGIN).cloned();
    let answer = match answer(&state.accounts, request).await {
        Ok(signed) => {
            state.meters.sign_in("ok");
            no_store(Json(Answer::from(signed)).into_response())
        }
        Err(refusal) => {
            count(&state.meters, &refusal);
            refusal.respond()
        }
    };
    state.meters.sign_in_seconds.record(begun.elapsed());
    with_cors(answer, &state.accounts, AGENTS, origin.as_ref())
}

async fn answer(accounts: &Accounts, request: Request<Body>) -> Result<SignedIn, ApiError> {
    let (head, body) = request.into_parts();
    let peer = head.extensions.get::<Peer>().ok_or(ApiError::internal())?;
    // A page can send JSON to another origin only after asking (preflight); a form can't at all.
    if !is_json(&head.headers) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(ApiError::new(status, "bad_message", "the body must be application/json"));
    }
    let body = read(body).await?;
    let credentials: Credentials = serde_json::from_slice(&body)
        .map_err(|_| ApiError::bad_message("the body holds none of the three sets of fields"))?;
    let mut attempt = SignIn::from(credentials);
    if let Some(origin) = head.headers.get(ORIGIN)
        && !knows_origin(accounts, &attempt, origin)
    {
        tracing::info!(?origin, "sign-in from an origin that is not on the group's list");
        spoil(&mut attempt);
    }
    accounts.sign_in(attempt, peer.ip).await.map_err(refusal)
}

fn refusal(error: SignInError) -> ApiError {
    match error {
        SignInError::Refused => REFUSED,
        SignInError::Locked { retry_after } => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            ApiError::new(status, "rate_limited", "too many wrong tries; wait before the next")
                .after(retry_after)
        }
        SignInError::Busy => ApiError::unavailable("too many sign-ins at once").after(limits::COME_BACK),
        SignInError::Store(error) => {
            tracing::error!(%error, "sign-in failed");
            ApiError::unavailable("the server can't sign anybody in now").after(limits::COME_BACK)
        }
    }
}

fn count(meters: &Meters, refusal: &ApiError) {
    meters.sign_in(match refusal.status {
        StatusCode::UNAUTHORIZED => "refused",
        StatusCode::TOO_MANY_REQUESTS => "locked",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        _ => "bad_message",
    });
    if refusal.status == StatusCode::TOO_MANY_REQUESTS {
        meters.refusal("wrong_tries");
    }
}

pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let sent = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = sent.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// The body, within its size and time.
pub(super) async fn read(body: Body) -> Result<bytes::Bytes, ApiError> {
    let limited = Limited::new(body, limits::HTTP_BODY_BYTES);
    match tokio::time::timeout(limits::HTTP_BODY, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            Err(ApiError::new(status, "bad_message", "the body is too large or broken"))
        }
        Err(_) => {
            let status = StatusCode::REQUEST_TIMEOUT;
            Err(ApiError::new(status, "timeout", "the body did not arrive in time"))
        }
    }
}

/// Whether the group that is signed in to knows the page's origin.
fn knows_origin(accounts: &Accounts, attempt: &SignIn, origin: &HeaderValue) -> bool {
    let group = match attempt {
        SignIn::Password { group, .. } | SignIn::LoginKey { group, .. } => Some(group.clone()),
        SignIn::Renew { token } => accounts.verify_agent(expose(token)).ok().map(|agent| agent.group),
    };
    let (Some(group), Ok(origin)) = (group.and_then(|group| accounts.group(&group)), origin.to_str()) else {
        return false;
    };
    group.settings.origin_allowed(Audience::Agent, origin)
}

fn expose(secret: &SecretString) -> &str {
    use secrecy::ExposeSecret as _;
    secret.expose_secret()
}

/// Makes the attempt a wrong one, which is then refused like any other, at the same cost.
fn spoil(attempt: &mut SignIn) {
    match attempt {
        SignIn::Password { password, .. } => *password = String::new().into(),
        SignIn::LoginKey { login_key, .. } => *login_key = String::new().into(),
        SignIn::Renew { token } => *token = String::new().into(),
    }
}

/// `OPTIONS /v1/auth/agent`: whether a page may ask at all. Which group it means is not known yet, so it
/// may if any group knows its origin.
pub(super) async fn preflight(State(state): State<PublicState>, headers: HeaderMap) -> Response {
    preflight_of(&state.accounts, AGENTS, &headers)
}

/// Whether a page of one of these audiences may ask.
pub(super) fn preflight_of(accounts: &Accounts, audiences: &[Audience], headers: &HeaderMap) -> Response {
    let origin = headers.get(ORIGIN);
    if !known_to_any(accounts, audiences, origin) {
        let status = StatusCode::FORBIDDEN;
        return ApiError::new(status, "forbidden", "pages of this origin may not ask here").respond();
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(limits::PREFLIGHT_LIFE.as_secs()));
    with_cors(response, accounts, audiences, origin)
}

fn known_to_any(accounts: &Accounts, audiences: &[Audience], origin: Option<&HeaderValue>) -> bool {
    let Some(Ok(origin)) = origin.map(HeaderValue::to_str) else { return false };
    origin_known(accounts, audiences, origin)
}

/// Whether any group lets people of one of these audiences come from pages of this origin.
pub(super) fn origin_known(accounts: &Accounts, audiences: &[Audience], origin: &str) -> bool {
    let knows = |group: &Group| audiences.iter().any(|who| group.settings.origin_allowed(*who, origin));
    accounts.groups().iter().any(|group| knows(group))
}

/// Lets the page read the answer if any group knows its origin: whether this group does would tell a
/// stranger which groups there are.
pub(super) fn with_cors(
    mut response: Response,
    accounts: &Accounts,
    audiences: &[Audience],
    origin: Option<&HeaderValue>,
) -> Response {
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin
        && known_to_any(accounts, audiences, Some(origin))
    {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    }
    response
}

pub(super) fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::super::admission::{Admission, Ceilings};
    use super::super::routes::public_router;
    use super::*;
    use crate::auth::login_key;
    use crate::auth::secret::MasterSecret;
    use crate::clock::{self, Clock};
    use crate::hub::accounts::Demo;
    use crate::store::sqlite::SqliteStore;
    use serde_json::{Value, json};
    use std::time::Duration;
    use tower::ServiceExt as _;

    struct Door {
        router: axum::Router,
        demo: Demo,
        scrape: metrics_exporter_prometheus::PrometheusHandle,
    }

    async fn door() -> Door {
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let master = MasterSecret::from_bytes([4; 32]);
        let accounts = Arc::new(Accounts::open(store, master, Clock::start()).await.unwrap());
        let demo = accounts.ensure_demo().await.unwrap();
        let (meters, scrape) = Meters::new();
        let health = Arc::default();
        let router = public_router(PublicState { health, accounts, meters, demo: true });
        Door { router, demo, scrape }
    }

    impl Door {
        async fn send(&self, request: Request<Body>) -> (u16, HeaderMap, Value) {
            let ip = "192.0.2.1".parse().unwrap();
            let guard = Arc::new(Admission::new(Ceilings::none()).admit(ip).unwrap());
            let mut request = request;
            request.extensions_mut().insert(Peer { ip, guard, share: None });
            let response = self.router.clone().oneshot(request).await.unwrap();
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (head.status.as_u16(), head.headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
        }

        async fn post(&self, origin: Option<&str>, body: &Value) -> (u16, HeaderMap, Value) {
            let mut request =
                Request::post("/v1/auth/agent").header(CONTENT_TYPE, "application/json; charset=utf-8");
            if let Some(origin) = origin {
                request = request.header(ORIGIN, origin);
            }
            self.send(request.body(Body::from(body.to_string())).unwrap()).await
        }

        fn by_password(&self, password: &str) -> Value {
            json!({"group": "demo", "address": "alice", "password": password})
        }

        fn good(&self) -> Value {
            self.by_password(&self.demo.agents[0].password)
        }
    }

    const HOME: Option<&str> = Some("http://127.0.0.1:7400");

    #[tokio::test]
    async fn an_agent_signs_in_and_renews() {
        let door = door().await;
        let (status, headers, body) = door.post(HOME, &door.good()).await;
        assert_eq!(status, 200);
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], HOME.unwrap());
        let agent = json!({
            "id": "alice", "name": "Alice", "profile": "Support",
            "permissions": ["user", "admin", "agent_video"],
        });
        assert_eq!(body["agent"], agent);
        assert!(body["expiresAt"].as_str().unwrap().ends_with('Z'));
        let (status, _, again) = door.post(None, &json!({"token": body["token"]})).await;
        assert_eq!((status, &again["agent"]), (200, &agent));
    }

    #[tokio::test]
    async fn an_agent_signs_in_by_login_key() {
        let door = door().await;
        let expires = clock::wall().after(Duration::from_secs(60)).unix_seconds();
        let user = &door.demo.agents[1].partner_user_id;
        let key = login_key::mint(&door.demo.api_key.1, "demo", user, expires);
        let body = json!({"group": "demo", "partnerUserId": user, "loginKey": key});
        let (status, _, body) = door.post(None, &body).await;
        assert_eq!((status, &body["agent"]["id"]), (200, &json!("bob")));
    }

    #[tokio::test]
    async fn unknown_foreign_and_wrong_get_the_same_answer() {
        let door = door().await;
        let password = &door.demo.agents[0].password;
        let table = [
            (HOME, door.by_password("wrong")),
            (HOME, json!({"group": "demo", "address": "nobody", "password": password})),
            (HOME, json!({"group": "nowhere", "address": "alice", "password": password})),
            (HOME, json!({"group": "demo", "partnerUserId": "x", "loginKey": "$1$2$3"})),
            (HOME, json!({"token": "junk"})),
        ];
        let mut answers = Vec::new();
        for (origin, body) in &table {
            let (status, mut headers, mut answer) = door.post(*origin, body).await;
            assert_eq!(status, 401, "{body}");
            answer["error"].as_object_mut().unwrap().remove("requestId").unwrap();
            headers.remove("x-request-id");
            answers.push((headers, answer));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
        assert_eq!(answers[0].1, json!({"error": {"code": "unauthorized", "message": "sign-in refused"}}));
        assert!(door.scrape.render().contains(r#"porchlight_sign_ins_total{outcome="refused"} 5"#));
    }

    #[tokio::test]
    async fn a_foreign_origin_is_a_wrong_password() {
        let door = door().await;
        for origin in ["https://evil.example", "null", "http://127.0.0.1.evil.example"] {
            let (status, headers, _) = door.post(Some(origin), &door.good()).await;
            assert_eq!(status, 401, "{origin}");
            assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), "{origin}");
        }
        let (_, _, signed) = door.post(HOME, &door.good()).await;
        let renewal = json!({"token": signed["token"]});
        assert_eq!(door.post(Some("https://evil.example"), &renewal).await.0, 401);
    }

    #[tokio::test]
    async fn too_many_wrong_tries_are_told_when_to_come_back() {
        let door = door().await;
        for _ in 0..limits::WRONG_TRIES {
            assert_eq!(door.post(None, &door.by_password("wrong")).await.0, 401);
        }
        let (status, headers, body) = door.post(None, &door.good()).await;
        assert_eq!((status, &body["error"]["code"]), (429, &json!("rate_limited")));
        let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(wait > 0 && wait <= limits::LOCK_TIME.as_secs());
    }

    #[tokio::test]
    async fn what_is_no_sign_in_is_refused_before_any_check() {
        let door = door().await;
        let post = || Request::post("/v1/auth/agent");
        let json_type = "application/json";
        let table = [
            (post().header(CONTENT_TYPE, "text/plain").body(Body::from("{}")), 415),
            (post().body(Body::from("{}")), 415),
            (post().header(CONTENT_TYPE, json_type).body(Body::from("{}")), 400),
            (post().header(CONTENT_TYPE, json_type).body(Body::from("no JSON")), 400),
            (
                post()
                    .header(CONTENT_TYPE, json_type)
                    .body(Body::from(r#"{"group":"a b","address":"a","password":"p"}"#)),
                400,
            ),
            (
                post()
                    .header(CONTENT_TYPE, json_type)
                    .body(Body::from(" ".repeat(limits::HTTP_BODY_BYTES + 1))),
                413,
            ),
            (Request::get("/v1/auth/agent").body(Body::empty()), 405),
        ];
        for (request, expected) in table {
            let request = request.unwrap();
            let shown = format!("{} {:?}", request.method(), request.headers());
            let (status, _, body) = door.send(request).await;
            assert_eq!(status, expected, "{shown}");
            assert!(body["error"]["requestId"].is_string(), "{shown}: {body}");
        }
    }

    #[tokio::test]
    async fn a_visitors_page_is_shown_where_agents_pages_may_be() {
        let door = door().await;
        for (named, stands) in [
            ("", ""),
            ("?in=", ""),
            ("?in=http://localhost:3000", " http://localhost:3000"),
            ("?in=https://evil.example,http://127.0.0.1:80", " http://127.0.0.1:80"),
            ("?in=null", ""),
            ("?in=*", ""),
            ("?in=http://localhost:3000;", ""),
        ] {
            let request = Request::get(format!("/replay{named}")).body(Body::empty()).unwrap();
            let (status, headers, _) = door.send(request).await;
            let policy = headers["content-security-policy"].to_str().unwrap();
            let stands = format!("frame-ancestors 'self'{stands}");
            assert_eq!((status, policy.split("; ").last()), (200, Some(stands.as_str())), "{named}");
        }
    }

    #[tokio::test]
    async fn pages_of_known_origins_may_ask() {
        let door = door().await;
        let ask = |origin: &str| {
            Request::options("/v1/auth/agent")
                .header(ORIGIN, origin)
                .header("access-control-request-method", "POST")
                .body(Body::empty())
                .unwrap()
        };
        let (status, headers, _) = door.send(ask("http://localhost:3000")).await;
        assert_eq!(status, 204);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "http://localhost:3000");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], "POST");
        assert_eq!(headers[VARY], "origin");
        let (status, headers, _) = door.send(ask("https://evil.example")).await;
        assert_eq!(status, 403);
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    }
}
