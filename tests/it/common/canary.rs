//! Secrets that the tests know of, and everything that the servers say to others: no text of the one is in the
//! other.
//!
//! Whatever a test sends or is sent under a secret's name is learned. When a site ends, the log of all servers
//! of this process is searched for it; what clients are told when they are refused is searched at once.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Once;

use parking_lot::Mutex;
use serde_json::Value;

/// The master secret of every server here: 32 bytes of base64.
pub const MASTER: &str = "Y2FuYXJ5LW1hc3Rlci1zZWNyZXQtb2YtMzItYnl0ZXM";

/// Under these names secrets travel.
const NAMES: &[&str] = &[
    "token",
    "ticket",
    "resumeToken",
    "uniqueSecret",
    "password",
    "loginKey",
    "secret",
    "adminKey",
    "invite",
];

/// Begin every secret of their kind: an API key's, the operator's, and any JSON web token.
const BEGINNINGS: &[&str] = &["plk_", "pla_", "eyJ"];

/// A secret is recognised by its last bytes, which no other text of a test shares.
const TAIL: usize = 12;

/// What is logged where no test asks for more.
const LEVELS: &str = "info,porchlight=debug";

static KNOWN: Mutex<Option<HashMap<[u8; TAIL], String>>> = Mutex::new(None);
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static LISTENING: Once = Once::new();

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps what the servers of this process log, at these levels unless it is kept already.
pub fn listen_at(levels: &str) {
    LISTENING.call_once(|| {
        learn_text(MASTER);
        let log = tracing_subscriber::fmt().with_env_filter(levels).with_ansi(false).with_writer(|| Log);
        tracing::subscriber::set_global_default(log.finish()).expect("nobody else listens");
        // A panic of a server's task is printed and caught; it may tell no more than the log.
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // A test that fails shows all that was said, and has failed anyhow.
            let text = info.to_string();
            if !text.contains("── transcript ──") {
                LOG.lock().extend_from_slice(text.as_bytes());
            }
            before(info);
        }));
    });
}

/// As [`listen_at`] at the usual levels.
pub fn listen() {
    listen_at(LEVELS);
}

/// Everything logged so far.
pub fn log() -> String {
    String::from_utf8_lossy(&LOG.lock()).into_owned()
}

/// Learns one secret; what is too short to be one is passed over.
pub fn learn_text(secret: &str) {
    if let Some(tail) = secret.as_bytes().last_chunk::<TAIL>() {
        KNOWN.lock().get_or_insert_default().insert(*tail, secret.to_owned());
    }
}

/// Learns what a message holds under the names of secrets.
pub fn learn(message: &Value) {
    match message {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(secret) if NAMES.contains(&name.as_str()) => learn_text(secret),
                    value => learn(value),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(learn),
        _ => {}
    }
}

/// The secret in a text, with the line it is in.
pub fn found(text: &str) -> Option<String> {
    let line = |at: usize| {
        let (start, rest) = (text[..at].rfind('\n').map_or(0, |at| at + 1), &text[at..]);
        format!("{:?}", &text[start..at + rest.find('\n').unwrap_or(rest.len())])
    };
    let known = KNOWN.lock();
    if let Some(known) = &*known {
        for (at, window) in text.as_bytes().windows(TAIL).enumerate() {
            if known.contains_key(window) {
                return Some(line(text.floor_char_boundary(at)));
            }
        }
    }
    BEGINNINGS.iter().find_map(|beginning| text.find(beginning)).map(line)
}

/// Fails if what somebody was told when refused holds a secret.
#[track_caller]
pub fn told(what: &str, text: &str) {
    if let Some(line) = found(text) {
        panic!("{what} holds a secret: {line}");
    }
}

/// Fails if the log holds a secret.
#[track_caller]
pub fn check() {
    told("the log", &log());
}
