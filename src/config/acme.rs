//! The certificate that the public listener gets for itself.
//!
//! Decides whether an authority may be asked for one by these settings; `tls` asks.

use std::path::PathBuf;

use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};

use super::tls::authorities;
use super::{Config, Public, TlsPaths, Violation, texts};
use crate::limits;

/// The setting of who vouches for the authority itself.
const CA: &str = "public.acme.ca";

/// Whether this binary can ask an authority for a certificate.
pub const HAS_ACME: bool = cfg!(feature = "acme");

/// Section `[public.acme]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Acme {
    /// The names that a certificate is asked for, `["help.example.com"]`: each leads to this listener at port 443, where the
    /// authority looks. Empty: none is asked for. Needs a server built with the feature `acme`.
    #[serde(deserialize_with = "texts")]
    pub names: Vec<String>,
    /// The directory of the authority (RFC 8555).
    pub directory: String,
    /// You have read the authority's terms of service, and agree to them.
    pub accept_terms: bool,
    /// Whom the authority may write to, `ops@example.com`.
    pub email: Option<String>,
    /// The file of the certificates (PEM) that vouch for the authority itself, where it is one of your own; absent: those
    /// that browsers trust.
    pub ca: Option<PathBuf>,
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            accept_terms: false,
            email: None,
            ca: None,
        }
    }
}

impl Acme {
    /// Whether a certificate is asked for.
    pub fn is_wanted(&self) -> bool {
        !self.names.is_empty()
    }
}

impl Config {
    /// The directory of what the public listener gets for itself: the account with the authority, and the certificate.
    pub fn acme_folder(&self) -> PathBuf {
        self.store.data_dir.join("acme")
    }

    /// The certificate that the public listener got for itself; none when none is asked for. The file may be still to come.
    pub fn got(&self) -> Option<TlsPaths> {
        let path = self.acme_folder().join("certificate.pem");
        self.public.acme.is_wanted().then(|| TlsPaths::got(path))
    }
}

/// What is wrong with the section.
pub(super) fn check(public: &Public) -> Vec<Violation> {
    let acme = &public.acme;
    let mut found = Vec::new();
    let mut require = |holds: bool, key, problem: &str| {
        if !holds {
            found.push(Violation { key, problem: problem.to_owned() });
        }
    };
    if !acme.is_wanted() {
        return found;
    }
    let key = "public.acme.names";
    require(
        HAS_ACME,
        key,
        "this binary was built without ACME; build it with --features acme, or leave this out",
    );
    require(
        public.tls_cert.is_none() && public.tls_key.is_none(),
        key,
        "public.tls_cert is the listener's certificate; leave one of them out",
    );
    require(
        acme.names.iter().all(|name| is_name(name)),
        key,
        "must be names of hosts, without port and without *",
    );
    require(acme.names.len() <= limits::ACME_NAMES, key, "are more than one certificate holds");
    require(
        acme.accept_terms,
        "public.acme.accept_terms",
        "the authority wants its terms of service agreed to; read them, and set this to true",
    );
    let directory = acme.directory.parse::<axum::http::Uri>();
    let is_secured =
        directory.is_ok_and(|uri| uri.scheme_str() == Some("https") && uri.authority().is_some());
    require(is_secured, "public.acme.directory", "must be an https:// address");
    let is_email = |text: &str| {
        let halves = text.split_once('@');
        let plain =
            text.chars().all(|letter| letter.is_ascii_graphic() && !matches!(letter, ',' | '?' | '<' | '>'));
        plain && halves.is_some_and(|(who, host)| !who.is_empty() && is_name(host))
    };
    require(acme.email.as_deref().is_none_or(is_email), "public.acme.email", "is no address of mail");
    if let Some(Err(error)) = acme.ca.as_deref().map(|path| authorities(CA, path)) {
        found.push(Violation { key: CA, problem: error.to_string() });
    }
    found
}

/// Whether it is the name of a host, and no address.
fn is_name(text: &str) -> bool {
    !text.ends_with('.') && matches!(ServerName::try_from(text), Ok(ServerName::DnsName(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(change: impl FnOnce(&mut Public)) -> Vec<&'static str> {
        let acme = Acme { names: vec!["help.example.com".to_owned()], accept_terms: true, ..Acme::default() };
        let mut public = Public { acme, ..Public::default() };
        change(&mut public);
        let found = check(&public).into_iter().map(|violation| violation.key);
        // The one thing that is wrong with all of them here, in a binary that can't.
        let missing = usize::from(!HAS_ACME && public.acme.is_wanted());
        found.skip(missing).collect()
    }

    #[test]
    fn each_contradiction_names_its_key() {
        type Change = fn(&mut Public);
        let table: &[(Change, &[&str])] = &[
            (|_| (), &[]),
            (|p| p.acme = Acme::default(), &[]),
            (|p| p.acme.email = Some("ops@example.com".into()), &[]),
            (|p| p.acme.names.push("[::1]".into()), &["public.acme.names"]),
            (|p| p.acme.names.push("10.0.0.1".into()), &["public.acme.names"]),
            (|p| p.acme.names.push("*.example.com".into()), &["public.acme.names"]),
            (|p| p.acme.names.push("example.com:443".into()), &["public.acme.names"]),
            (|p| p.acme.names = vec!["a.example".into(); 101], &["public.acme.names"]),
            (|p| p.tls_cert = Some("cert.pem".into()), &["public.acme.names"]),
            (|p| p.acme.accept_terms = false, &["public.acme.accept_terms"]),
            (|p| p.acme.directory = "http://ca.example/directory".into(), &["public.acme.directory"]),
            (|p| p.acme.directory = "ca.example".into(), &["public.acme.directory"]),
            (|p| p.acme.email = Some("ops".into()), &["public.acme.email"]),
            (|p| p.acme.ca = Some("/nowhere".into()), &["public.acme.ca"]),
            (|p| p.acme.email = Some("a@b.example,c@d.example".into()), &["public.acme.email"]),
        ];
        for (number, (change, expected)) in table.iter().enumerate() {
            assert_eq!(keys(change), *expected, "{number}");
        }
    }

    #[test]
    fn a_certificate_needs_a_binary_that_can_ask_for_it() {
        let acme = Acme { names: vec!["help.example.com".to_owned()], accept_terms: true, ..Acme::default() };
        let found = check(&Public { acme, ..Public::default() });
        assert_eq!(found.is_empty(), HAS_ACME, "{found:?}");
    }
}
