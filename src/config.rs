//! The settings of the process: where it listens, where it keeps its data, and its limits.
//!
//! Decides which settings exist, their defaults, where they may come from ([`load()`]) and which of them
//! contradict each other ([`Config::check`]). Settings of a group (terms, origins, grace, buttons) are
//! not here: they live in the store and change at run time. Read by the command line, handed to the
//! server once; nobody below reads files or the environment.

mod check;
mod load;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

pub use check::Violation;
pub use load::{LoadError, Loaded, Sources, load};

use crate::limits;
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
    /// What is logged, and how.
    pub log: Log,
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
    /// Serves plain text beyond loopback. Only behind a proxy that terminates TLS.
    pub insecure: bool,
    /// Does not count connections from this machine against `limits.connections_per_ip`.
    pub exempt_loopback: bool,
}

impl Default for Public {
    fn default() -> Self {
        Self {
            addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), limits::PUBLIC_PORT),
            insecure: false,
            exempt_loopback: false,
        }
    }
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
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), limits::ADMIN_PORT),
            insecure: false,
            reflection: false,
        }
    }
}

/// Section `[store]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// The directory of the database and of generated secrets; made if it is missing.
    pub data_dir: PathBuf,
}

impl Default for Store {
    fn default() -> Self {
        Self { data_dir: PathBuf::from(".porchlight") }
    }
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

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Sustained, a second.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

impl From<(u32, u32)> for Rate {
    fn from((per_second, burst): (u32, u32)) -> Self {
        Self { per_second, burst }
    }
}

/// Declares [`Limits`]: each field with its help, its type and the constant that is its default.
macro_rules! limits {
    ($($(#[$attr:meta])* $field:ident: $type:ty = $default:expr;)*) => {
        /// Section `[limits]`. The reason for each default stands beside its constant in
        /// [`crate::limits`].
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $($(#[$attr])* pub $field: $type,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

limits! {
    /// Connections at once; absent: what the file limit leaves.
    connections: Option<usize> = None;
    /// Connections from one address.
    connections_per_ip: usize = limits::CONNECTIONS_PER_IP;
    /// Connections (tabs) of one visitor ID.
    connections_per_visitor: usize = limits::CONNECTIONS_PER_VISITOR;
    /// Time for an HTTP request head.
    #[serde(with = "humantime_serde")]
    http_header: Duration = limits::HTTP_HEADER;
    /// Silence of a fresh WebSocket before its first message.
    #[serde(with = "humantime_serde")]
    first_message: Duration = limits::FIRST_MESSAGE;
    /// Between two pings of one connection.
    #[serde(with = "humantime_serde")]
    heartbeat: Duration = limits::HEARTBEAT;
    /// Silence after which a peer is taken for dead.
    #[serde(with = "humantime_serde")]
    dead_after: Duration = limits::DEAD_AFTER;
    /// Bytes of a visitor's message.
    visitor_message: usize = limits::VISITOR_MESSAGE;
    /// Bytes of a visitor's presence data.
    presence_data: usize = limits::PRESENCE_DATA;
    /// Bytes of an agent's message.
    agent_message: usize = limits::AGENT_MESSAGE;
    /// Bytes of a text message in a session.
    session_text: usize = limits::SESSION_TEXT;
    /// Bytes of a frame with its header.
    frame: usize = limits::FRAME;
    /// Keys in custom presence data.
    data_keys: usize = limits::DATA_KEYS;
    /// Bytes of such a key.
    data_key_bytes: usize = limits::DATA_KEY_BYTES;
    /// Bytes of such a value.
    data_value_bytes: usize = limits::DATA_VALUE_BYTES;
    /// Messages of one visitor connection.
    visitor_rate: Rate = limits::VISITOR_RATE.into();
    /// Messages of one agent connection.
    agent_rate: Rate = limits::AGENT_RATE.into();
    /// Messages of one session connection.
    session_rate: Rate = limits::SESSION_RATE.into();
    /// Visitor IDs that one agent connection may watch.
    watched: usize = limits::WATCHED;
    /// Life of the short code of a unique visitor.
    #[serde(with = "humantime_serde")]
    code_life: Duration = limits::CODE_LIFE;
    /// How long a session waits for its other side.
    #[serde(with = "humantime_serde")]
    waiting: Duration = limits::WAITING;
    /// Life of a ticket.
    #[serde(with = "humantime_serde")]
    ticket_life: Duration = limits::TICKET_LIFE;
    /// Time to come back after a loss.
    #[serde(with = "humantime_serde")]
    resume_window: Duration = limits::RESUME_WINDOW;
    /// Longest session.
    #[serde(with = "humantime_serde")]
    session_length: Duration = limits::SESSION_LENGTH;
    /// Viewers of one session.
    viewers: usize = limits::VIEWERS;
    /// Bytes of frames kept per stream for late joiners.
    cache_bytes: usize = limits::CACHE_BYTES;
    /// Span of frames kept per stream for late joiners.
    #[serde(with = "humantime_serde")]
    cache_span: Duration = limits::CACHE_SPAN;
    /// Bytes behind which a viewer gets only the base temporal layer.
    shed_bytes: usize = limits::SHED_BYTES;
    /// Age behind which a viewer gets only the base temporal layer.
    #[serde(with = "humantime_serde")]
    shed_age: Duration = limits::SHED_AGE;
    /// Bytes behind which a viewer waits for a key frame.
    outbox_bytes: usize = limits::OUTBOX_BYTES;
    /// Age behind which a viewer waits for a key frame.
    #[serde(with = "humantime_serde")]
    outbox_age: Duration = limits::OUTBOX_AGE;
    /// Standstill after which a viewer is closed.
    #[serde(with = "humantime_serde")]
    stuck: Duration = limits::STUCK;
    /// Control messages waiting for one connection.
    control_lane: usize = limits::CONTROL_LANE;
    /// Between two key-frame requests of one session.
    #[serde(with = "humantime_serde")]
    key_frame_spacing: Duration = limits::KEY_FRAME_SPACING;
    /// How long a drain lets connections finish.
    #[serde(with = "humantime_serde")]
    drain: Duration = limits::DRAIN;
}

impl Config {
    /// The settings as a TOML file would hold them, with every secret hidden.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("numbers, texts and tables always fit TOML")
    }
}
