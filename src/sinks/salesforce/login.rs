//! How we sign in to an org: the JWT bearer flow of OAuth 2.0, and requests under the token that it gives.
//!
//! Decides when a token is asked for: when there is none, and once more when the org says that it is over.
//! Tokens are kept in memory only. The assertion names its audience, so whoever it is shown to can use it
//! nowhere else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::reach::{Answer, Asked, Failed, Reach};
use super::Trouble;
use super::answer::{code, words};
use crate::clock::Wall;
use crate::hub::sync::check_url;
use crate::ids::GroupId;
use crate::limits;
use crate::model::sink::Org;

/// What every path of the API begins with.
pub(super) const ROOT: &str = "/services/data/";

/// The version of the API.
pub(super) const VERSION: &str = "v62.0";

/// Where tokens are asked for, below the address to sign in at.
const TOKEN_PATH: &str = "/services/oauth2/token";

const GRANT: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";

const ASKED: Asked = Asked { time: limits::SALESFORCE_TIME, answer: limits::SALESFORCE_ANSWER };

/// The path of a resource of the API.
pub(super) fn path(rest: &str) -> String {
    format!("{ROOT}{VERSION}/{rest}")
}

/// In whose name something is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Who {
    /// Whose key signs.
    pub(super) group: GroupId,
    /// Where, and as whom.
    pub(super) org: Org,
}

/// Something to ask.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Value>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) wait: Option<Duration>,
    /// None when it is no JSON.
    pub(super) body: Option<Value>,
}

impl Reply {
    fn of(answer: Answer) -> Self {
        let body = answer.body.and_then(|body| serde_json::from_slice(&body).ok());
        Self { status: answer.status, wait: answer.wait, body }
    }

    /// The answer to a part of a composite request.
    pub(super) fn part(result: &Value) -> Self {
        let status = result["httpStatusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        // Without a status it was not done.
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, wait: None, body: Some(result["body"].clone()) }
    }

    /// Whether the token is over.
    pub(super) fn is_expired(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED || code(self) == Some("INVALID_SESSION_ID")
    }
}

/// Why there is no answer, or none that helps.
#[derive(Debug)]
pub(super) enum Hitch {
    /// It was surely not done.
    Before(Trouble),
    /// It may have been done.
    Unsure(Trouble),
}

impl Hitch {
    fn of(error: &Failed) -> Self {
        let (error, unsure) = (error.to_string(), error.is_unsure());
        if unsure {
            Self::Unsure(Trouble::Later(error, Some(limits::SALESFORCE_SETTLE)))
        } else {
            Self::Before(Trouble::Later(error, None))
        }
    }

    /// Of something that changes nothing: no need to wait for its end.
    pub(super) fn looking(self) -> Self {
        match self {
            Self::Before(trouble) => Self::Before(trouble),
            Self::Unsure(trouble) => Self::Before(Trouble::later(trouble)),
        }
    }
}

/// A token, and where it is good.
#[derive(Clone)]
struct Login {
    token: SecretString,
    instance: Arc<str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: u64,
}

#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    instance_url: String,
}

/// Signs in, and asks.
pub(super) struct Logins {
    reach: Arc<Reach>,
    keys: BTreeMap<GroupId, EncodingKey>,
    known: Mutex<HashMap<Who, Login>>,
}

impl Logins {
    pub(super) fn new(reach: Arc<Reach>, keys: BTreeMap<GroupId, EncodingKey>) -> Self {
        Self { reach, keys, known: Mutex::default() }
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &GroupId> {
        self.keys.keys()
    }

    /// Asks, with another token if the one that is known is over.
    pub(super) async fn call(&self, who: &Who, call: &Call, now: Wall) -> Result<Reply, Hitch> {
        let reply = self.call_once(who, call, now).await?;
        if !reply.is_expired() {
            return Ok(reply);
        }
        self.forget(who);
        self.call_once(who, call, now).await
    }

    async fn call_once(&self, who: &Who, call: &Call, now: Wall) -> Result<Reply, Hitch> {
        let login = self.login(who, now).await.map_err(Hitch::Before)?;
        let url = format!("{}{}", login.instance, call.path);
        let mut token = HeaderValue::from_str(&format!("Bearer {}", login.token.expose_secret()))
            .map_err(|_| Hitch::Before(Trouble::later("the token is no text")))?;
        token.set_sensitive(true);
        let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(call.method.clone())
            .header(AUTHORIZATION, token)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .expect("a method and headers that were checked fit a request");
        match self.reach.ask(&url, request, ASKED).await {
            Ok(answer) => Ok(Reply::of(answer)),
            Err(error) => Err(Hitch::of(&error)),
        }
    }

    /// Forgets the token.
    pub(super) fn forget(&self, who: &Who) {
        self.known.lock().remove(who);
    }

    /// Sees to it that there is a token.
    pub(super) async fn sign_in(&self, who: &Who, now: Wall) -> Result<(), Trouble> {
        self.login(who, now).await.map(drop)
    }

    async fn login(&self, who: &Who, now: Wall) -> Result<Login, Trouble> {
        if let Some(known) = self.known.lock().get(who) {
            return Ok(known.clone());
        }
        let login = self.ask_for_token(who, now).await?;
        let mut known = self.known.lock();
        if known.len() >= limits::SALESFORCE_KNOWN {
            known.clear();
        }
        known.insert(who.clone(), login.clone());
        Ok(login)
    }

    async fn ask_for_token(&self, who: &Who, now: Wall) -> Result<Login, Trouble> {
        let Org { login_url, client_id, username, .. } = &who.org;
        let key = self.keys.get(&who.group).ok_or_else(|| Trouble::later("the group has no key"))?;
        let exp = now.after(limits::SALESFORCE_ASSERTION).unix_seconds();
        let claims = Claims { iss: client_id, sub: username, aud: login_url, exp };
        let assertion = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, key)
            .map_err(|_| Trouble::later("the key can't sign"))?;
        let request = Request::post("/")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(format!("{GRANT}{assertion}"))))
            .expect("a constant header fits a request");
        let answer = self.reach.ask(&format!("{login_url}{TOKEN_PATH}"), request, ASKED).await;
        let answer = answer.map_err(|error| Trouble::later(format!("can't sign in: {error}")))?;
        if !answer.status.is_success() {
            return Err(refused(&Reply::of(answer)));
        }
        let granted: Option<Granted> = answer.body.and_then(|body| serde_json::from_slice(&body).ok());
        let granted = granted.ok_or_else(|| Trouble::later("can't sign in: no token in the answer"))?;
        let instance = origin(&granted.instance_url)
            .map_err(|problem| Trouble::later(format!("can't sign in: instance_url {problem}")))?;
        Ok(Login { token: granted.access_token, instance: instance.into() })
    }
}

/// Why there is no token.
fn refused(reply: &Reply) -> Trouble {
    let said = |name: &str| reply.body.as_ref().and_then(|body| body[name].as_str()).map(words);
    let mut why = format!("can't sign in: answered {}", reply.status.as_u16());
    for said in [said("error"), said("error_description")].into_iter().flatten() {
        why.push_str(": ");
        why.push_str(&said);
    }
    Trouble::Later(why, reply.wait)
}

/// Scheme and host of an address; whatever else it has is not ours to follow.
fn origin(url: &str) -> Result<String, &'static str> {
    let uri = check_url(url)?;
    let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or("names no host")?;
    Ok(format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_origin_of_an_instance_is_used() {
        assert_eq!(origin("https://a.my.salesforce.com/x?y=z").unwrap(), "https://a.my.salesforce.com");
        assert_eq!(origin("http://127.0.0.1:8080").unwrap(), "http://127.0.0.1:8080");
        for bad in ["", "a.my.salesforce.com", "ftp://a", "https://user:pass@a/"] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refused_sign_in_tells_why_and_no_secret() {
        let long = "x".repeat(200);
        let body = serde_json::json!({"error": "invalid_grant", "error_description": format!("bad {long}")});
        let reply = Reply { status: StatusCode::BAD_REQUEST, wait: None, body: Some(body) };
        let Trouble::Later(why, None) = refused(&reply) else { panic!() };
        assert_eq!(why, "can't sign in: answered 400: invalid_grant: bad …");
    }
}
