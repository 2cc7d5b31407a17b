//! `POST /v1/guest`: a session key or an invite for a ticket. `GET /v1/at/{address}`: whose page that is.
//!
//! Decides how the request is read and how refusals look. Whether a key or an invite leads anywhere, `hub::guests`
//! says. Unknown, foreign, wrong and over get the same answer, byte for byte; so does a page of an origin that
//! the session's group does not know. Pages of this server itself may always ask.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::Peer;
use super::auth::{is_json, no_store, preflight_of, read, with_cors};
use super::error::ApiError;
use super::routes::parameter;
use crate::clock::Wall;
use crate::hub::Hub;
use crate::hub::devices::DeviceTold;
use crate::hub::guests::{self, Knock, LetIn, NotLetIn, Way, Welcome};
use crate::ids::{GroupId, ParticipantId, RequestId, SessionId};
use crate::limits;
use crate::model::lead::Guest;
use crate::model::origin::Origin;
use crate::model::settings::Audience;
use crate::wire::permission::{Step, Told};
use crate::wire::session::Role;
use crate::wire::visitor::{AgentName, SessionKind, TermsAnswer, TermsShown};

/// Whose pages let guests in, beside the server's own.
const GUESTS: &[Audience] = &[Audience::Visitor, Audience::Agent];

/// The body. Never printed, it holds secrets.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    #[serde(default)]
    group: Option<GroupId>,
    #[serde(default)]
    session_key: Option<String>,
    #[serde(default)]
    invite: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    platform: Option<String>,
    #[serde(default)]
    permissions: Told,
    /// The answer to the terms, when they were asked.
    #[serde(default)]
    terms: Option<TermsAnswer>,
}

/// The answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    ticket: String,
    ticket_expires_at: Wall,
    session_id: SessionId,
    participant_id: ParticipantId,
    role: Role,
    kind: SessionKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<Arc<str>>,
    /// What the guest has to allow on its device first. Whoever watches has nothing to allow.
    steps: Vec<Step>,
}

impl From<LetIn> for Answer {
    fn from(guest: LetIn) -> Self {
        let LetIn { session, kind, title, ticket, steps } = guest;
        Self {
            ticket: ticket.ticket,
            ticket_expires_at: ticket.expires_at,
            session_id: session,
            participant_id: ticket.participant,
            role: ticket.role,
            kind,
            title,
            steps,
        }
    }
}

/// The answer to who has to accept the terms first, and then asks again with its own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question {
    session_id: SessionId,
    role: Role,
    kind: SessionKind,
    request_id: RequestId,
    agent: AgentName,
    control: bool,
    terms: TermsShown,
    steps: Vec<Todo>,
}

/// What is to be done before there is a ticket, or behind it.
#[derive(Serialize)]
#[serde(untagged)]
enum Todo {
    Device(Step),
    Named(&'static str),
}

impl From<guests::Asked> for Question {
    fn from(asked: guests::Asked) -> Self {
        let guests::Asked { session, kind, asks, steps } = asked;
        // What it accepts is this very question, whichever time it comes.
        let device = steps.into_iter().filter(|step| *step != Step::Allow).map(Todo::Device);
        let steps = device.chain([Todo::Named("terms")]).collect();
        Self {
            session_id: session,
            role: Role::Publisher,
            kind,
            request_id: asks.request,
            agent: AgentName { name: asks.asked_by },
            control: asks.control,
            terms: asks.terms,
            steps,
        }
    }
}

const REFUSED: ApiError =
    ApiError::new(StatusCode::NOT_FOUND, "not_found", "this key or link leads to no session");

/// The door's path.
pub fn guest_router(hub: Arc<Hub>) -> Router {
    let not_allowed = || async { ApiError::method_not_allowed() };
    Router::new()
        .route("/v1/guest", post(enter).options(preflight).fallback(not_allowed))
        .route("/v1/at/{address}", get(whose).fallback(not_allowed))
        .with_state(hub)
}

/// Whose page an address is. An address that nobody has gets the answer of one that somebody has, but for the name;
/// who tries many is turned away like who tries many keys.
#[derive(Serialize)]
struct Whose {
    name: Option<Arc<str>>,
}

async fn whose(
    State(hub): State<Arc<Hub>>,
    Path(address): Path<String>,
    RawQuery(query): RawQuery,
    Extension(peer): Extension<Peer>,
) -> Response {
    let group = parameter(query.as_deref(), "group").and_then(|group| GroupId::new(group).ok());
    match hub.agent_name_at(group.as_ref(), &address, peer.ip).await {
        Ok(name) => no_store(Json(Whose { name }).into_response()),
        Err(why) => {
            let refusal = refusal(why);
            count(&hub, &refusal);
            refusal.respond()
        }
    }
}

async fn preflight(State(hub): State<Arc<Hub>>, headers: HeaderMap) -> Response {
    preflight_of(hub.accounts(), GUESTS, &headers)
}

async fn enter(State(hub): State<Arc<Hub>>, request: Request<Body>) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let answer = match answer(&hub, request).await {
        Ok(Welcome::In(guest)) => {
            hub.meters().guest("ok");
            no_store(Json(Answer::from(guest)).into_response())
        }
        Ok(Welcome::Asked(asked)) => {
            hub.meters().guest("asked");
            no_store(Json(Question::from(asked)).into_response())
        }
        Ok(Welcome::Declined) => {
            hub.meters().guest("declined");
            no_store(StatusCode::NO_CONTENT.into_response())
        }
        Err(refusal) => {
            count(&hub, &refusal);
            refusal.respond()
        }
    };
    with_cors(answer, hub.accounts(), GUESTS, origin.as_ref())
}

async fn answer(hub: &Arc<Hub>, request: Request<Body>) -> Result<Welcome, ApiError> {
    let (head, body) = request.into_parts();
    let peer = head.extensions.get::<Peer>().ok_or(ApiError::internal())?;
    // A page can send JSON to another origin only after asking (preflight); a form can't at all.
    if !is_json(&head.headers) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(ApiError::new(status, "bad_message", "the body must be application/json"));
    }
    let body = read(body).await?;
    let asked: Asked = serde_json::from_slice(&body)
        .map_err(|_| ApiError::bad_message("the body is not what a guest sends"))?;
    for text in [&asked.device_id, &asked.platform].into_iter().flatten() {
        if text.len() > limits::DEVICE_BYTES || text.contains(char::is_control) {
            return Err(bad_value("a device and its platform are named in at most 64 bytes"));
        }
    }
    let way = match (asked.session_key, asked.invite) {
        (Some(key), None) => Way::Key { group: asked.group, key },
        (None, Some(invite)) if asked.group.is_none() => Way::Invite(invite),
        _ => return Err(ApiError::bad_message("a guest shows a session key or an invite")),
    };
    let guest = Guest { name: asked.name, email: asked.email };
    let device = DeviceTold { id: asked.device_id, permissions: asked.permissions };
    let (from, origin) = (peer.ip, foreign(hub, &head.headers));
    let knock = Knock { way, guest, terms: asked.terms, device, from, origin };
    hub.guest(knock).await.map_err(refusal)
}

/// The origin of the page that asks, unless it is one of this server's own.
fn foreign(hub: &Hub, headers: &HeaderMap) -> Option<String> {
    // What is no text is no origin that any group knows.
    let origin = headers.get(ORIGIN)?.to_str().unwrap_or("null");
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let own = Origin::parse(origin).is_some_and(|page| hub.is_own_page(page, host));
    (!own).then(|| origin.to_owned())
}

const fn bad_value(message: &'static str) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_value", message)
}

fn refusal(why: NotLetIn) -> ApiError {
    match why {
        NotLetIn::BadValue(message) => bad_value(message),
        NotLetIn::Locked { retry_after } => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            ApiError::new(status, "rate_limited", "too many wrong tries; wait before the next")
                .after(retry_after)
        }
        NotLetIn::NotFound => REFUSED,
        NotLetIn::Full(_) => {
            let status = StatusCode::CONFLICT;
            ApiError::new(status, "too_many", "the session has as many viewers as it may")
                .after(limits::COME_BACK)
        }
        NotLetIn::Taken => {
            let status = StatusCode::CONFLICT;
            ApiError::new(status, "too_many", "somebody shows their screen in this session already")
                .after(limits::COME_BACK)
        }
        NotLetIn::TermsChanged => {
            let message = "the accepted terms are not the ones that were asked";
            ApiError::new(StatusCode::CONFLICT, "terms_changed", message)
        }
        NotLetIn::OtherRequest => {
            ApiError::new(StatusCode::CONFLICT, "request_over", "the answer names another request")
        }
        NotLetIn::Unavailable => {
            ApiError::unavailable("the server can't let anybody in now").after(limits::COME_BACK)
        }
    }
}

fn count(hub: &Hub, refusal: &ApiError) {
    hub.meters().guest(match refusal.status {
        StatusCode::NOT_FOUND => "refused",
        StatusCode::TOO_MANY_REQUESTS => "locked",
        StatusCode::CONFLICT if refusal.code == "too_many" => "full",
        StatusCode::CONFLICT => "refused",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        _ => "bad_message",
    });
    if refusal.status == StatusCode::TOO_MANY_REQUESTS {
        hub.meters().refusal("wrong_tries");
    }
}
