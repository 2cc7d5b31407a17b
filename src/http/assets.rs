//! The browser files inside the binary, and with which headers they leave it.
//!
//! Decides caching, content types and the security headers of pages and scripts. Does not decide under
//! which paths they are found; `routes` does. A debug build reads the files from the source tree at each
//! request, so that a change shows at once.

use std::borrow::Cow;
use std::fmt::Write as _;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use rust_embed::RustEmbed;

use super::error::ApiError;
use crate::auth::signing::sha256;
use crate::model::origin::Origin;

/// What is served: code, styles, pages and pictures. Sources of types, tests and packages are not.
#[derive(RustEmbed)]
#[folder = "web/"]
#[allow_missing = true]
#[include = "*.js"]
#[include = "*.css"]
#[include = "*.html"]
#[include = "*.svg"]
#[include = "*.png"]
#[include = "*.ico"]
#[include = "*.woff2"]
#[exclude = "node_modules/*"]
#[exclude = "test/*"]
struct Web;

/// The library that records and shows pages, as the build found it: nothing where npm was missing.
static LIBRARIES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/libraries.rs"));

/// Whether visitors can share their pages: what records and shows them was built in.
pub fn has_cobrowse() -> bool {
    !LIBRARIES.is_empty()
}

/// Nothing from elsewhere, nothing inline, no frame around our pages.
const PAGE_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; \
                           style-src 'self'; script-src 'self'; base-uri 'none'; frame-ancestors 'none'; \
                           object-src 'none'";

/// The page inside an agent's that shows a visitor's page: what it shows brings styles of its own, and its pictures
/// come with it. It loads nothing from anywhere, runs our modules alone, and stands in our own pages and those that are
/// named behind it only. The frame in it, where the visitor's page is rebuilt, inherits all of it and may run nothing.
const REPLAY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                             img-src data: blob:; font-src data: blob:; base-uri 'none'; form-action 'none'; \
                             object-src 'none'; frame-ancestors 'self'";

/// A year, which is as good as for ever.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Keep it, but ask each time; the answer is mostly 304.
const ASK_EACH_TIME: &str = "no-cache";

/// Where a page may stand changes with the settings, and browsers keep the policy that came with what they have.
const NOT_KEPT: &str = "no-store";

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// How a file is used, which decides its headers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Use<'a> {
    /// Fetched by any site: scripts, modules, styles.
    Shared,
    /// Shown as a page of our own.
    Page,
    /// Shown inside a page of our own or of one of these origins, with a page of somebody else's in it.
    Replay(&'a [Origin<'a>]),
}

/// Answers with a file below `web/`. `version` is what the address asks for, if it does.
pub(super) fn serve(path: &str, used: Use<'_>, version: Option<&str>, request: &HeaderMap) -> Response {
    let page = path.ends_with(".html");
    if !is_plain(path) || page != (used != Use::Shared) {
        return ApiError::not_found().respond();
    }
    match find(path) {
        Some(file) => respond(path, file, used, version, request),
        None => ApiError::not_found().respond(),
    }
}

/// A file and its hash.
struct File {
    data: Cow<'static, [u8]>,
    hash: [u8; 32],
}

fn find(path: &str) -> Option<File> {
    if let Some((_, data)) = LIBRARIES.iter().find(|(name, _)| *name == path) {
        return Some(File { data: Cow::Borrowed(data), hash: sha256(data) });
    }
    let file = Web::get(path)?;
    Some(File { hash: file.metadata.sha256_hash(), data: file.data })
}

/// Whether a path names a file downwards only. The embedded table needs no such care, the source tree of
/// a debug build does.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
        && !path.contains(['\\', '\0', ':'])
}

fn respond(path: &str, file: File, used: Use<'_>, version: Option<&str>, request: &HeaderMap) -> Response {
    let hash = short_hash(&file.hash);
    let tag = format!("\"{hash}\"");
    let fresh = request.get_all(IF_NONE_MATCH).iter().any(|sent| names_tag(sent, &tag));
    let mut response = if fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Response::new(Body::from(bytes_of(file.data)));
        response.headers_mut().insert(CONTENT_TYPE, content_type(path));
        response
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::from_str(&tag).expect("hex digits in quotes are visible ASCII"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching(version, &hash)));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    match used {
        Use::Page => {
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
        }
        Use::Replay(around) => {
            headers.insert(CONTENT_SECURITY_POLICY, replay_policy(around));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(NOT_KEPT));
        }
        Use::Shared => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        }
    }
    response
}

/// [`REPLAY_POLICY`] ends with where it may stand.
fn replay_policy(around: &[Origin<'_>]) -> HeaderValue {
    let policy = around.iter().fold(REPLAY_POLICY.to_owned(), |mut text, origin| {
        let _ = write!(text, " {origin}");
        text
    });
    HeaderValue::from_str(&policy).expect("origins are visible ASCII")
}

/// Only an address that names the very content may be kept for ever. Any other version was asked of a
/// newer or older node in a rolling upgrade, and must not stick to this content.
fn caching(version: Option<&str>, hash: &str) -> &'static str {
    let released = !cfg!(debug_assertions) && version == Some(env!("CARGO_PKG_VERSION"));
    if version == Some(hash) || released { FOR_EVER } else { ASK_EACH_TIME }
}

/// 64 bits are plenty against chance, and nobody gains from a collision with our own files.
fn short_hash(hash: &[u8; 32]) -> String {
    hash[..8].iter().fold(String::with_capacity(16), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether an `If-None-Match` header names this tag; comparison is weak (RFC 9110, 13.1.2).
fn names_tag(sent: &HeaderValue, tag: &str) -> bool {
    let Ok(sent) = sent.to_str() else { return false };
    sent.split(',').map(|one| one.trim().trim_start_matches("W/")).any(|one| one == tag || one == "*")
}

fn content_type(path: &str) -> HeaderValue {
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    let text = match (mime.type_(), mime.subtype()) {
        (mime_guess::mime::TEXT, _) => format!("{}; charset=utf-8", mime.essence_str()),
        _ => mime.essence_str().to_owned(),
    };
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"))
}

fn bytes_of(data: Cow<'static, [u8]>) -> Bytes {
    match data {
        Cow::Borrowed(data) => Bytes::from_static(data),
        Cow::Owned(data) => Bytes::from(data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "abababababababab";

    fn file() -> File {
        File { data: Cow::Borrowed(b"export {};"), hash: [0xab; 32] }
    }

    fn answer(path: &str, used: Use<'_>, version: Option<&str>, none_match: Option<&str>) -> Response {
        let mut request = HeaderMap::new();
        if let Some(tags) = none_match {
            request.insert(IF_NONE_MATCH, tags.parse().unwrap());
        }
        respond(path, file(), used, version, &request)
    }

    #[test]
    fn scripts_may_be_imported_from_any_site() {
        let response = answer("agent.js", Use::Shared, None, None);
        let headers = response.headers();
        assert_eq!(headers[CONTENT_TYPE], "text/javascript; charset=utf-8");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(headers[CROSS_ORIGIN_RESOURCE_POLICY], "cross-origin");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(!headers.contains_key(CONTENT_SECURITY_POLICY));
    }

    #[test]
    fn pages_carry_the_policy_and_stay_at_home() {
        let response = answer("pages/agent/index.html", Use::Page, None, None);
        let headers = response.headers();
        assert_eq!(headers[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(headers[CONTENT_SECURITY_POLICY], PAGE_POLICY);
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    }

    #[test]
    fn what_shows_pages_of_others_may_load_nothing_and_stand_nowhere_else() {
        let response = answer("pages/replay/index.html", Use::Replay(&[]), None, None);
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert_eq!(policy, REPLAY_POLICY);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        for (part, there) in [
            ("default-src 'none'", true),
            ("script-src 'self';", true),
            ("frame-ancestors 'self'", true),
            ("form-action 'none'", true),
            ("unsafe-eval", false),
            ("http", false),
            ("*", false),
        ] {
            assert_eq!(policy.contains(part), there, "{part}");
        }
        assert!(!policy.split(';').any(|rule| rule.contains("script-src") && rule.contains("unsafe")));
        assert!(!response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    }

    #[test]
    fn what_shows_pages_of_others_stands_in_pages_of_the_origins_it_is_given() {
        let around =
            ["https://crm.example:8443", "HTTP://Desk.example"].map(|one| Origin::parse(one).unwrap());
        let response = answer("pages/replay/index.html", Use::Replay(&around), None, None);
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let stands = "frame-ancestors 'self' https://crm.example:8443 http://Desk.example:80";
        assert_eq!(policy.split("; ").last(), Some(stands));
    }

    #[test]
    fn libraries_are_there_whole_or_not_at_all() {
        assert_eq!(LIBRARIES.len(), if has_cobrowse() { 2 } else { 0 });
        for (path, data) in LIBRARIES {
            assert_eq!(serve(path, Use::Shared, None, &HeaderMap::new()).status(), StatusCode::OK, "{path}");
            assert!(data.len() > 10_000 && data.starts_with(b"/*! @rrweb/"), "{path}");
        }
    }

    #[test]
    fn only_an_address_that_names_the_content_is_kept_for_ever() {
        let caching =
            |version| answer("agent.js", Use::Shared, version, None).headers()[CACHE_CONTROL].clone();
        assert_eq!(caching(Some(HASH)), FOR_EVER);
        assert_eq!(caching(Some("0123456789abcdef")), ASK_EACH_TIME);
        assert_eq!(caching(None), ASK_EACH_TIME);
    }

    #[test]
    fn what_the_browser_has_is_not_sent_again() {
        let tag = format!("\"{HASH}\"");
        for sent in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let response = answer("agent.js", Use::Shared, None, Some(&sent));
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{sent}");
            assert_eq!(response.headers()[ETAG], *tag);
        }
        assert_eq!(answer("agent.js", Use::Shared, None, Some("\"other\"")).status(), StatusCode::OK);
    }

    #[test]
    fn paths_lead_down_only() {
        for bad in ["../Cargo.toml", "lib/../../x.js", ".npmrc", "lib//x.js", "lib\\x.js", "", "c:x.js"] {
            assert!(!is_plain(bad), "{bad}");
        }
        assert!(is_plain("lib/socket.js"));
    }

    #[test]
    fn pages_are_found_only_as_pages() {
        let status = |path, used| serve(path, used, None, &HeaderMap::new()).status();
        assert_eq!(status("pages/agent/index.html", Use::Shared), StatusCode::NOT_FOUND);
        assert_eq!(status("package.json", Use::Shared), StatusCode::NOT_FOUND);
    }
}
