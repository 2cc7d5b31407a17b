//! The settings of the process: where it listens, where it keeps its data, and its limits.
//!
//! Decides which settings exist, their defaults, where they may come from ([`load()`]) and which of them
//! contradict each other ([`Config::check`]). Settings of a group (terms, origins, grace, buttons) are
//! not here: they live in the store and change at run time. Read by the command line, handed to the
//! server once; nobody below reads files or the environment.

mod acme;
mod check;
mod load;
mod redis;
mod salesforce;
mod telemetry;
mod tls;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

pub use acme::{Acme, HAS_ACME};
pub use check::Violation;
pub use load::{LoadError, Loaded, Sources, load};
pub use redis::{Redis, RedisTls};
pub use salesforce::{KeyError, SalesforceKey};
pub use telemetry::{Otlp, Telemetry};
pub use tls::{TlsError, TlsFiles, TlsPaths, authorities};

use crate::limits::{self, Limits};
use crate::telemetry::LogFormat;

/// Everything that may be set. Every field has a default, so that an empty file is a valid one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The listener for browsers.
    pub public: Public,
    /// The listener for probes and scrapes.
    pub ops: Ops,
    /// The listener for operators.
    pub admin: Admin,
    /// Where data is kept.
    pub store: Store,
    /// What is shared with other nodes.
    pub redis: Redis,
    /// How much is kept of what happened.
    pub events: Events,
    /// How much is kept of what is left of sessions.
    pub records: Records,
    /// How long proofs of consent are kept.
    pub receipts: Receipts,
    /// What leaves the server by itself, and where it may go.
    pub sinks: Sinks,
    /// What is logged, and how.
    pub log: Log,
    /// What is told to collectors.
    pub telemetry: Telemetry,
    /// Secrets of the server itself.
    pub auth: Auth,
    /// The demo group and its pages.
    pub demo: Demo,
    /// Every number with a bound.
    pub limits: Limits,
}

/// Section `[public]`: HTTP, WebSockets, scripts and pages.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Public {
    /// Address and port; port 0 takes a free one.
    pub addr: SocketAddr,
    /// What browsers reach this listener by, `https://help.example.com`: stands in the links that guests are
    /// sent, and its pages may let guests in. Absent: links are paths, and each page knows its own host.
    pub url: Option<String>,
    /// The file of the certificate to serve TLS with (PEM), with those between it and its root. Taken anew when it
    /// changes.
    pub tls_cert: Option<PathBuf>,
    /// The file of its private key (PEM).
    pub tls_key: Option<PathBuf>,
    /// The certificate that the listener gets for itself.
    pub acme: Acme,
    /// Serves plain text beyond loopback. Only behind a proxy that terminates TLS.
    pub insecure: bool,
    /// Does not count connections from this machine against `limits.connections_per_ip`.
    pub exempt_loopback: bool,
    /// Networks of proxies that are believed when they tell whom they saw: lockouts and limits by address then count
    /// that address, the right-most that is not in these networks. Nobody is believed by default, and clients must not
    /// be in them.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Where these proxies tell it: `x-forwarded-for`, or `forwarded` (RFC 7239). The other header is not read, for
    /// anybody may send it through them. Each must add whom it saw at the right, whatever stands there already.
    pub forwarded_header: ForwardedHeader,
    /// Every connection comes from one of these proxies and begins with a header of the PROXY protocol, version 1 or
    /// 2, which tells whom the proxy saw. Any other is refused.
    pub proxy_protocol: bool,
}

impl Default for Public {
    fn default() -> Self {
        Self {
            addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), limits::PUBLIC_PORT),
            url: None,
            tls_cert: None,
            tls_key: None,
            acme: Acme::default(),
            insecure: false,
            exempt_loopback: false,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            proxy_protocol: false,
        }
    }
}

/// Where proxies tell whom they saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: what most proxies write.
    #[default]
    XForwardedFor,
    /// `Forwarded` of RFC 7239.
    Forwarded,
}

/// Section `[ops]`: `/livez`, `/readyz` and `/metrics`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ops {
    /// Address and port; port 0 takes a free one. Nothing on it is secret, nor is it for the public.
    pub addr: SocketAddr,
}

impl Default for Ops {
    fn default() -> Self {
        Self { addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), limits::OPS_PORT) }
    }
}

/// Section `[admin]`: gRPC.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Address and port; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Serves plain text beyond loopback: admin keys then cross the network in clear.
    pub insecure: bool,
    /// Tells callers the service's description (gRPC reflection).
    pub reflection: bool,
    /// The file of the certificate to serve TLS with (PEM), with those between it and its root. Taken anew when it
    /// changes.
    pub tls_cert: Option<PathBuf>,
    /// The file of its private key (PEM).
    pub tls_key: Option<PathBuf>,
    /// The file of the authority (PEM) whose certificates clients must show, beside their key.
    pub client_ca: Option<PathBuf>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), limits::ADMIN_PORT),
            insecure: false,
            reflection: false,
            tls_cert: None,
            tls_key: None,
            client_ca: None,
        }
    }
}

/// Section `[store]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// The directory of the database and of generated secrets; made if it is missing.
    pub data_dir: PathBuf,
    /// When what was acknowledged is on the disk.
    pub flush: Flush,
}

impl Default for Store {
    fn default() -> Self {
        Self { data_dir: PathBuf::from(".porchlight"), flush: Flush::default() }
    }
}

/// When what the store acknowledged is on the disk. Either way it survives the death of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flush {
    /// Before it is acknowledged: it survives the loss of power.
    #[default]
    Commit,
    /// Now and then: the loss of power may take the last seconds, and never leaves a half.
    Checkpoint,
}

/// Section `[events]`: how much of each group's event log is kept, whichever is met first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// No longer than this.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// And no more than this many.
    pub keep_count: u64,
}

impl Default for Events {
    fn default() -> Self {
        Self { keep: limits::EVENTS_KEPT, keep_count: limits::EVENTS_KEPT_COUNT }
    }
}

/// Section `[records]`: how much is kept of each group's session records, whichever is met first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Records {
    /// No longer than this behind a session's end. Dead letters of sinks go with the records.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// And no more than this many.
    pub keep_count: u64,
}

impl Default for Records {
    fn default() -> Self {
        Self { keep: limits::RECORDS_KEPT, keep_count: limits::RECORDS_KEPT_COUNT }
    }
}

/// Section `[receipts]`: how long consent receipts are kept. How long a consent must be proven, and from when on
/// the proof must be erased, differs by country and trade; the server does not guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Receipts {
    /// No longer than this behind the acceptance; absent: for good.
    #[serde(with = "humantime_serde")]
    pub keep: Option<Duration>,
}

/// Section `[sinks]`: where the sinks of groups may lead. Groups choose among what is named here, and name
/// neither paths nor servers of ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sinks {
    /// The directory of files of lines; without it no group has such files.
    pub dir: Option<PathBuf>,
    /// The Redis of streams, as `redis://user:password@host:port/`; without it no group has a stream.
    pub redis: Option<Secret>,
    /// The file that holds `redis`.
    pub redis_file: Option<PathBuf>,
    /// Networks that webhooks and Salesforce may lead to although they are not public, and in clear too.
    #[serde(deserialize_with = "networks")]
    pub allow: Vec<IpNet>,
    /// Wait before what a sink did not take is tried again, at first; it doubles.
    #[serde(with = "humantime_serde")]
    pub retry_first: Duration,
    /// And at most.
    #[serde(with = "humantime_serde")]
    pub retry_most: Duration,
    /// How long a webhook is tried before it is put aside.
    #[serde(with = "humantime_serde")]
    pub give_up: Duration,
    /// Time for one webhook, from the look-up of its name to the end of the answer.
    #[serde(with = "humantime_serde")]
    pub answer_within: Duration,
    /// The keys that groups sign in to Salesforce with; without one a group has no Salesforce sink.
    pub salesforce: Vec<SalesforceKey>,
}

impl Default for Sinks {
    fn default() -> Self {
        Self {
            dir: None,
            redis: None,
            redis_file: None,
            allow: Vec::new(),
            retry_first: limits::SINK_RETRY.0,
            retry_most: limits::SINK_RETRY.1,
            give_up: limits::SINK_PATIENCE,
            answer_within: limits::WEBHOOK_TIME,
            salesforce: Vec::new(),
        }
    }
}

/// Networks as a list, or as one text with commas between.
fn networks<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<IpNet>, D::Error> {
    texts(d)?
        .iter()
        .map(|text| text.parse().map_err(|_| serde::de::Error::custom(format!("{text} is no network"))))
        .collect()
}

/// Texts as a list, or as one with commas between: the environment has no lists.
fn texts<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Told {
        List(Vec<String>),
        Text(String),
    }
    let texts = match Told::deserialize(d)? {
        Told::List(texts) => texts,
        Told::Text(text) => text.split(',').map(str::to_owned).collect(),
    };
    Ok(texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).map(str::to_owned).collect())
}

/// Section `[log]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// Levels, overall and by module: `info,porchlight::ws=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// Section `[auth]`. The secret is better given in a file; one that is not given is made at the first
/// start and kept in the data directory.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// What API keys, the admin key and the keys of tokens follow from. All nodes of a cluster share it.
    pub master_secret: Option<Secret>,
    /// The file that holds `master_secret`.
    pub master_secret_file: Option<PathBuf>,
}

/// Section `[demo]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Demo {
    /// Makes the group `demo` and serves the demo site and the agent console, as `porchlight dev` does.
    pub enabled: bool,
}

/// A secret that shows itself to nobody who does not ask for it by name.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct Secret(SecretString);

impl Secret {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// What stands in for a secret in print.
const HIDDEN: &str = "<hidden>";

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(HIDDEN)
    }
}

impl Config {
    /// What stands before the paths in links for people; empty where nothing is known of it. A trial is reached
    /// where it listens.
    pub fn public_url(&self, listens: SocketAddr) -> String {
        let trial = || {
            self.demo
                .enabled
                .then(|| format!("{}://{listens}", if self.public.has_tls() { "https" } else { "http" }))
        };
        self.public.url.clone().or_else(trial).unwrap_or_default()
    }

    /// The settings as a TOML file would hold them, with every secret hidden.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("numbers, texts and tables always fit TOML")
    }
}
